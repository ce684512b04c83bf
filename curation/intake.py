"""What a dataset was fed: files by status, why some are no images, and how the last build went."""

import json
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from curation.workspace import Workspace
from embeddings.dataset import REPORT
from embeddings.errors import CurationError
from embeddings.formats import reason_group
from embeddings.images import printable
from embeddings.schema import Location
from embeddings.store import Store

STATUSES = ("ok", "unreadable", "missing", "moved")


@dataclass(frozen=True)
class Reason:
    """Why some files are no images: the reason without its particulars, and the files."""

    reason: str
    files: tuple[Location, ...]


@dataclass(frozen=True)
class Intake:
    """The files a dataset was fed.

    `images` counts those of missing files too; `duplicates` are files whose bytes another file has.
    """

    files: int
    images: int
    duplicates: int
    missing: tuple[Location, ...]
    unreadable: tuple[Reason, ...]

    @property
    def unreadable_files(self) -> int:
        """How many files are no images."""
        return sum(len(reason.files) for reason in self.unreadable)


def intake(workspace: Workspace) -> Intake:
    """Return what the newest state of every file adds up to, the most common reason first."""
    # read once for each change: a million rows take seconds
    version = workspace.store.version("locations")
    return _intake(workspace.dataset.tables, workspace.dataset.dataset_id, version)


def files(workspace: Workspace, status: str) -> list[Location]:
    """Return the files of one status, ordered by path; CurationError for an unknown status."""
    if status not in STATUSES:
        raise CurationError(f"unknown status {status!r}; known: {', '.join(STATUSES)}")
    return [row for row in workspace.store.locations() if row.status == status]


def last_build(workspace: Workspace) -> dict[str, Any] | None:
    """Return the report of the last build or add; None when there is none that can be read."""
    try:
        text = (workspace.dataset.path / REPORT).read_text(encoding="utf-8")
        report: dict[str, Any] = json.loads(text)
    except (OSError, ValueError):  # it is for people: a build that was killed has none
        return None
    return report


def shown(location: Location) -> dict[str, str]:
    """Return a file as people read it: where it is, and what is the matter."""
    return {"file": _plain(printable(location.path)), "reason": _plain(location.error or "")}


def _plain(text: str) -> str:
    """Return `text` in one line, without what a terminal would obey: names are strangers' too."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


@lru_cache(maxsize=4)
def _intake(tables: Path, dataset_id: str, version: int) -> Intake:
    del dataset_id, version  # part of the key
    # a file that moved is counted where it is now
    rows = [row for row in Store(tables).locations() if row.status != "moved"]
    by_reason: dict[str, list[Location]] = defaultdict(list)
    for row in rows:
        if row.status == "unreadable":
            by_reason[reason_group(row.error or "unknown")].append(row)
    ordered = sorted(by_reason.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    ok = [row.image_id for row in rows if row.status == "ok"]
    return Intake(
        files=len(rows),
        images=len({row.image_id for row in rows if row.image_id is not None}),
        duplicates=len(ok) - len(set(ok)),
        missing=tuple(row for row in rows if row.status == "missing"),
        unreadable=tuple(Reason(reason, tuple(found)) for reason, found in ordered),
    )
