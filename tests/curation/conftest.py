"""The command line in this process, through the function that the script `curate` calls."""

import dataclasses
import hashlib
import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from curation.cli import main
from curation.workspace import Workspace
from embeddings import dataset as datasets
from embeddings.schema import Atlas


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> dict[str, Any]:
        """The one JSON object on standard output; fails when there is anything else."""
        assert len(self.out.splitlines()) == 1, self.out
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


@pytest.fixture
def curate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Run `curate` with these arguments and return what came of it."""

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["curate", *map(str, arguments)])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        assert isinstance(code, int)
        return Outcome(code, out, err)

    return run


@pytest.fixture
def tree() -> Callable[[Path], dict[str, str]]:
    """Return a function that tells what a folder holds, so that two moments can be compared."""
    return contents


def contents(folder: Path) -> dict[str, str]:
    """Return a digest of every file below a folder; of a journal, of what it says."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.name.endswith(("-wal", "-shm")):
            continue  # SQLite's own, there only while somebody has the journal open
        if path.suffix == ".sqlite":
            with closing(sqlite3.connect(path)) as journal:
                said = "\n".join(journal.iterdump()).encode()
        else:
            said = path.read_bytes() if path.is_file() else b""
        found[path.relative_to(folder).as_posix()] = hashlib.sha256(said).hexdigest()
    return found


@pytest.fixture
def made_anew() -> Callable[[Workspace], Atlas]:
    """Return what leaves another, newer atlas of the same items, as a second build does."""

    def make(workspace: Workspace) -> Atlas:
        atlas = workspace.atlas()
        version = hashlib.sha256(atlas.version.encode()).hexdigest()[:16]
        turned = dataclasses.replace(atlas, version=version, xy=atlas.xy[:, ::-1].copy())
        workspace.store.save_atlas(turned, datasets.now())
        return turned

    return make
