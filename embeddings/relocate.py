"""Files that were moved: the images stay what they are, only their places change."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from embeddings import archives, images
from embeddings.dataset import building, open_dataset
from embeddings.errors import CurationError
from embeddings.schema import Location
from embeddings.stages import Progress, silent
from embeddings.store import Store


@dataclass(frozen=True)
class Relocated:
    """How many files were found in their new place, and which were not: absent or changed."""

    found: int
    absent: tuple[str, ...]
    changed: tuple[str, ...]


def relocate(name: str, old: Path, new: Path, progress: Progress = silent) -> Relocated:
    """Look for the files that were met below `old` below `new` instead.

    A file is taken for the same only when its bytes are: every one is read and its SHA-256
    compared. What is not found keeps its old place; labels are of images and never change.

    Raises
    ------
    CurationError
        When no file was met below `old`, or `new` is not there.
    """
    dataset = open_dataset(name)
    before, after = os.path.abspath(old), os.path.abspath(new)
    if not os.path.exists(after):
        raise CurationError(f"no such file or folder: {new}; check the path")
    with building(dataset):
        store = Store(dataset.tables)
        known = [row for row in store.locations() if _below(row.path, before) and row.image_id]
        if not known:
            raise CurationError(f"no image of {name!r} was met below {old}; check the path")
        rows: list[Location] = []
        absent: list[str] = []
        changed: list[str] = []
        for done, location in enumerate(known, start=1):
            place = after + location.path[len(before) :]
            moved = _moved(location, place, before, after)
            if moved is None:
                (changed if os.path.exists(place) else absent).append(images.printable(place))
            else:
                rows += [moved, replace(location, status="moved", error=f"to {place}")]
            progress("relocate", done, len(known))
        store.add_locations(rows)
    return Relocated(len(rows) // 2, tuple(absent), tuple(changed))


def _moved(location: Location, place: str, before: str, after: str) -> Location | None:
    try:
        data = images.read(place) if os.path.lexists(place) else archives.read(place)
        status = os.stat(_file(place))
    except (OSError, images.UnreadableImage):
        return None
    if images.sha256(data)[: len(str(location.image_id))] != location.image_id:
        return None
    source = location.source
    if source is not None and _below(source, before):
        source = after + source[len(before) :]
    return replace(
        location,
        path=place,
        size=len(data),
        mtime_ns=status.st_mtime_ns,
        status="ok",
        error=None,
        source=source,
    )


def _file(place: str) -> str:
    """Return the file at `place`, or the archive that holds it."""
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    return place


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
