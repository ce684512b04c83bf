"""Where datasets live, what they are called, and which schema version wrote them."""

import json
import logging
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from embeddings import disk, migrations
from embeddings.errors import CurationError

SCHEMA_VERSION = max(migrations.STEPS)
_log = logging.getLogger(__name__)
_CARD = "dataset.json"
REPORT = "last_build.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOLDER = re.compile(r"process (\d+) since \S+")
_WAIT = 30.0  # seconds: another process may be bringing the dataset forward at this moment


@dataclass(frozen=True)
class Dataset:
    """A dataset's directory and its card (`dataset.json`)."""

    name: str
    path: Path
    dataset_id: str
    created_at: str
    schema_version: int

    @property
    def tables(self) -> Path:
        """The LanceDB directory."""
        return self.path / "tables"

    @property
    def downloads(self) -> Path:
        """The folder of downloaded images, each file named by the SHA-256 of its bytes."""
        return self.path / "downloads"

    @property
    def journal(self) -> Path:
        """The SQLite file of people's decisions."""
        return self.path / "decisions.sqlite"


def home() -> Path:
    """Return the folder of all datasets.

    ``CURATE_HOME`` where it is set, else ``data`` in a checkout, else the platform's user data
    directory.
    """
    chosen = os.environ.get("CURATE_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "app.py").is_file():
        return checkout / "data"
    import platformdirs

    return Path(platformdirs.user_data_dir("curation-atlas", appauthor=False))


def names() -> list[str]:
    """Return the names of the datasets at home, sorted."""
    folder = home()
    if not folder.is_dir():
        return []
    found = [entry.parent.name for entry in folder.glob(f"*/{_CARD}")]
    return sorted(name for name in found if _NAME.fullmatch(name))  # no "digits (copy)"


def newest() -> str:
    """Return the name of the dataset that was built last; CurationError when there is none."""
    known = names()
    if not known:
        raise CurationError(f"no datasets in {home()}; make one with: curate demo")
    return max(known, key=lambda name: (_built_at(home() / name), name))


def _built_at(folder: Path) -> float:
    report = folder / REPORT
    return (report if report.is_file() else folder / _CARD).stat().st_mtime


def open_dataset(name: str) -> Dataset:
    """Return the dataset called `name`; one of an older schema is brought forward first.

    Raises
    ------
    CurationError
        When there is none (the message lists those there are), its card is damaged, it was
        written by a newer version, or it is of an older schema and cannot be written.
    """
    path = home() / check_name(name)
    card = path / _CARD
    if not card.is_file():
        known = ", ".join(names()) or "none yet"
        raise CurationError(f"no dataset {name!r} in {home()}; there are: {known}")
    found = _read_card(name, card)
    return _brought_forward(found) if found.schema_version < SCHEMA_VERSION else found


def create_dataset(name: str) -> Dataset:
    """Return the dataset called `name`, made when there is none."""
    path = home() / check_name(name)
    if (path / _CARD).is_file():
        return open_dataset(name)
    card = {
        "schema_version": SCHEMA_VERSION,
        "dataset_id": uuid.uuid4().hex,
        "name": name,
        "created_at": now(),
    }
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / _CARD, card)
    except OSError as error:
        raise CurationError(
            f"cannot write {path}: {error.strerror}; set CURATE_HOME to a folder you can write"
        ) from error
    return _read_card(name, path / _CARD)


@contextmanager
def building(dataset: Dataset, wait: float = 0.0) -> Iterator[None]:
    """Hold the dataset for one build at a time; a second is refused with who holds it.

    `wait` is how many seconds to wait for the other one. What a killed process held is free.
    """
    import filelock

    holder = dataset.path / "build.holder"
    lock = filelock.FileLock(dataset.path / "build.lock", timeout=wait)
    try:
        with disk.writing(dataset.path):
            lock.acquire()
    except filelock.Timeout as error:
        raise CurationError(
            f"dataset {dataset.name!r} is being built by {_held_by(holder)}; wait for it to end"
        ) from error
    try:
        with disk.writing(dataset.path):
            holder.write_text(f"process {os.getpid()} since {now()}", encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _held_by(holder: Path) -> str:
    """Return who holds a dataset; what a process that was killed left behind is not quoted."""
    try:
        who = holder.read_text(encoding="utf-8")
    except FileNotFoundError:
        who = ""
    found = _HOLDER.fullmatch(who)
    return who if found and lives(int(found.group(1))) else "another process"


def lives(pid: int) -> bool:
    """Whether a process of this machine runs, by its number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _brought_forward(old: Dataset) -> Dataset:
    if not os.access(old.path, os.W_OK):
        raise CurationError(
            f"dataset {old.name!r} is of an older version (schema {old.schema_version}, this one "
            f"writes {SCHEMA_VERSION}) and {old.path} cannot be written to bring it forward; "
            "change its permissions, or copy it to a folder you can write and set CURATE_HOME"
        )
    card = old.path / _CARD
    with building(old, wait=_WAIT), disk.writing(old.path):
        found = _read_card(old.name, card)  # again: another process may have been first
        for version in migrations.steps_from(found.schema_version, old.tables):
            value = json.loads(card.read_text(encoding="utf-8"))
            write_json(card, {**value, "schema_version": version})
            _log.warning(
                "dataset %r was brought forward from schema %d to %d; restart what still has it "
                "open in an older version of curation-atlas",
                *(old.name, found.schema_version, version),
            )
    return _read_card(old.name, card)


def check_name(name: str) -> str:
    """Return `name` when it can name a dataset, else raise CurationError."""
    if not _NAME.fullmatch(name):
        raise CurationError(
            f"{name[:80]!r} cannot name a dataset; use up to 64 letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    return name


def now() -> str:
    """Return the time as ISO 8601 UTC, microseconds included."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` under a temporary name, then rename.

    Raises
    ------
    CurationError
        When the disk is full or may not be written; `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk.writing(path.parent):
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(value, file, indent=2, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _read_card(name: str, card: Path) -> Dataset:
    try:
        value = json.loads(card.read_text(encoding="utf-8"))
        found = Dataset(
            name=name,
            path=card.parent,
            dataset_id=str(value["dataset_id"]),
            created_at=str(value["created_at"]),
            schema_version=int(value["schema_version"]),
        )
        if found.schema_version < 1:
            raise ValueError(f"schema {found.schema_version}")
    except (ValueError, KeyError, TypeError) as error:
        raise CurationError(f"{card} is damaged ({error!r}); restore it from a backup") from error
    if found.schema_version > SCHEMA_VERSION:
        raise CurationError(
            f"dataset {name!r} was written by a newer version of curation-atlas (schema "
            f"{found.schema_version}, this one knows {SCHEMA_VERSION}); upgrade curation-atlas"
        )
    return found
