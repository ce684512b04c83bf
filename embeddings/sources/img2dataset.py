"""What img2dataset has downloaded: shards of images, and a table of what it could not download.

A shard is ``00000.tar`` or the folder ``00000/``, with ``00000.parquet`` (one row for each URL) and
``00000_stats.json``. Each row is a candidate; a URL that failed is one that cannot be read, with
the reason that img2dataset gave. Without a table the side files of the images say what they can.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from embeddings import archives, files
from embeddings.archives import packed
from embeddings.errors import CurationError
from embeddings.files import Brought, Candidate
from embeddings.formats import UnreadableImage
from embeddings.sources import Context, archive

RANK = 20
ROWS = 1000  # read at a time
LONGEST = 200  # letters of an error that is passed on

_SHARD = re.compile(r"(\d{3,})(\.tar|\.parquet|_stats\.json)?")
# said by us about the bytes that are here, or said of every image
_OURS = ("status", "error_message", "width", "height")
# of the bytes before img2dataset resized them
_ORIGINAL = {name: f"original_{name}" for name in ("md5", "sha256", "sha512")}


def claims(spec: str) -> bool:
    """Say whether `spec` is a folder with a shard and its table or statistics."""
    kinds = _shards(os.path.expanduser(spec)).values()
    return any(found & {".tar", ""} and found & {".parquet", "_stats.json"} for found in kinds)


def find(spec: str, context: Context) -> Iterator[Candidate]:
    """Yield a candidate for each row of each shard's table, and for each image without a row."""
    folder = os.path.abspath(os.path.expanduser(spec))
    complete = True
    for name in sorted(_shards(folder)):
        shard = _Shard(folder, name, context)
        yield from shard.candidates()
        complete = complete and shard.complete
    if complete:
        context.listed(folder)


def _shards(folder: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    try:
        names = os.listdir(folder)
    except (OSError, ValueError):
        return found
    for name in names:
        match = _SHARD.fullmatch(name)
        if match is not None:
            found.setdefault(match[1], set()).add(match[2] or "")
    return found


class _Shard:
    """One shard: its images by key, and then the rows of its table."""

    def __init__(self, folder: str, name: str, context: Context) -> None:
        self.folder, self.context = folder, context
        self.complete = True
        self.table = os.path.join(folder, f"{name}.parquet")
        tar, files_of_it = os.path.join(folder, f"{name}.tar"), os.path.join(folder, name)
        self.packed = os.path.isfile(tar)
        self.place = tar if self.packed else files_of_it

    def candidates(self) -> Iterator[Candidate]:
        """Yield what the table lists, then what it does not; or what the side files say."""
        rows = self._rows()
        first = next(rows, None)
        if first is None:
            yield from self._images(sides=True)
            return
        found: dict[str, list[Candidate]] = {}
        for image in self._images(sides=False):
            found.setdefault(_key(os.path.basename(image.path)), []).append(image)
        yield from self._row(first, found)
        for row in rows:
            yield from self._row(row, found)
        for images in found.values():
            yield from images

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not os.path.isfile(self.table):
            return
        try:
            with pq.ParquetFile(self.table) as table:
                wanted = [
                    column.name
                    for column in table.schema_arrow
                    if not (
                        pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
                    )
                ]
                for batch in table.iter_batches(ROWS, columns=wanted):
                    yield from batch.to_pylist()
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            why = (str(error).splitlines() or [type(error).__name__])[0][:LONGEST]
            self.context.note(
                f"{self.table} cannot be read to its end; the images are taken without it: {why}"
            )

    def _row(
        self, row: Mapping[str, Any], found: dict[str, list[Candidate]]
    ) -> Iterator[Candidate]:
        key = str(row.get("key"))
        status = row.get("status") or "success"
        images = found.pop(_key(key), []) if status == "success" else []
        brought = _brought(row)
        for image in images:
            yield replace(image, brought=replace(brought, read=image.brought.read))
        if not images:
            absent = f"img2dataset lists it, but it is not in its shard ({self.place})"
            why = _failure(row) if status != "success" else absent
            path = brought.url if status != "success" else None
            path = path or f"{self.place}/{archive.text(key)}.jpg"
            yield Candidate(path, 0, 0, self.folder, replace(brought, read=_Refusal(why).read))

    def _images(self, sides: bool) -> Iterator[Candidate]:
        unread: Counter[str] = Counter()
        if self.packed:
            try:
                yield from self._members(sides, unread)
            except CurationError as error:
                yield self._refused(error)
        elif os.path.isdir(self.place):
            for image in files.find(Path(self.place)):
                brought = _brought(_beside(image.path, unread)) if sides else image.brought
                yield replace(image, root=self.folder, brought=brought)
        archive.note_unread(self.place, unread, self.context)

    def _members(self, sides: bool, unread: Counter[str]) -> Iterator[Candidate]:
        for group in archive.groups(archives.members(self.place)):
            images = [member for member in group if archive.may_be_image(member)]
            record = archive.sides(group, unread) if images and sides else {}
            for member in images:
                self.complete = self.complete and not member.is_rest
                yield archive.candidate(member, self.folder, _kept(record))

    def _refused(self, error: CurationError) -> Candidate:
        self.complete = False
        path = f"{self.place}/{packed.THE_REST}"
        read = _Refusal(str(error).removeprefix(f"{self.place} ")).read
        return Candidate(path, 0, 0, self.folder, Brought(read=read))


class _Refusal:
    """Stands for bytes that are not there."""

    __slots__ = ("why",)

    def __init__(self, why: str) -> None:
        self.why = why

    def read(self) -> bytes:
        raise UnreadableImage(self.why)


def _key(name: str) -> str:
    # the first versions wrote the number 7 in the table and 000000007 in the shard
    return name.partition(".")[0].lstrip("0")


def _kept(row: Mapping[str, Any]) -> dict[str, Any]:
    return {_ORIGINAL.get(name, name): one for name, one in row.items() if name not in _OURS}


def _brought(row: Mapping[str, Any]) -> Brought:
    return archive.brought(_kept(row))


def _failure(row: Mapping[str, Any]) -> str:
    said = " ".join(archive.text(str(row.get("error_message") or "it did not say why")).split())
    work = "resize" if row.get("status") == "failed_to_resize" else "download"
    return f"img2dataset could not {work} it: {said[:LONGEST]}"


def _beside(path: str, unread: Counter[str]) -> dict[str, Any]:
    """Return what the side files next to an image say."""
    record: dict[str, Any] = {}
    for suffix in archive.SIDES:
        beside = f"{os.path.splitext(path)[0]}.{suffix}"
        if not os.path.isfile(beside):
            continue
        try:
            length = os.path.getsize(beside)
            if length > archive.MOST_BYTES:
                raise UnreadableImage(archive.TOO_LONG)
            record.update(archive.side(suffix, files.read(beside) if length else b""))
        except UnreadableImage as error:
            unread[str(error)] += 1
    return record
