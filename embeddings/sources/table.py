"""Bring your own: a table or .npz of images with their vectors, places or clusters.

Rows name images by path, URL or hash; the images themselves are read as from any other source.
"""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote_to_bytes, urlsplit

import numpy as np

from embeddings import archives, files, precomputed
from embeddings.errors import CurationError
from embeddings.files import Brought, Candidate
from embeddings.formats import UnreadableImage
from embeddings.metadata import field_name
from embeddings.precomputed import CLUSTER_NAME, NONE, Precomputed
from embeddings.sources import Context

if TYPE_CHECKING:
    from embeddings.downloads import Downloaded

RANK = 5  # before archives: an .npz is a zip
CHUNK = 10_000  # rows whose downloads run beside each other
# formats.worth_retrying: the image's own bytes do not change when its row is put right
NO_VECTOR = "not readable yet: its row has no usable vector"
NO_IMAGE = "not readable yet: its row names no image"
ABSENT = "cannot be opened: a table names it, and it is not there"
UNKNOWN = "cannot be opened: the dataset knows no image with the hash that a table names"
NO_HASH = "not readable yet: its hash is no SHA-256, which has 64 hex digits"


def claims(spec: str) -> bool:
    """Take a look at the names of the columns: do they bring a vector, a place or a cluster?"""
    try:
        path = Path(spec).expanduser()
        if path.suffix.lower() not in precomputed.SUFFIXES or not path.is_file():
            return False
        found = precomputed.look(path)
    except (CurationError, OSError, RuntimeError, ValueError):  # whoever takes it says why
        return False
    return path.suffix.lower() == ".npz" or (found is not None and found.brings)


def find(spec: str, context: Context) -> Iterator[Candidate]:
    """Yield the image of every row, in their order, with what the row brings.

    An image that two rows are about has what the first says. Paths count from the table's folder.

    Raises
    ------
    CurationError
        When the file cannot be used: see `precomputed.read`.
    """
    path = Path(spec).expanduser().absolute()
    finder = _Finder(path, precomputed.read(path), context)
    yield from finder.candidates()
    context.listed(str(path))
    for note in finder.notes():
        context.note(f"{path.name}: {note}")


@dataclass
class _Finder:
    """Makes candidates of one file's rows."""

    path: Path
    own: Precomputed
    context: Context
    contradicting: int = 0
    seen: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder, self.root = str(self.path.parent), str(self.path)
        self.changed = self.path.stat().st_mtime_ns
        vectors = self.own.vectors
        self.sound = None if vectors is None else precomputed.sound(vectors)

    def candidates(self) -> Iterator[Candidate]:
        """Yield one candidate an image; what has to be downloaded is downloaded together."""
        for start in range(0, len(self.own), CHUNK):
            rows = range(start, min(start + CHUNK, len(self.own)))
            fields = self.own.fields.slice(start, len(rows)).to_pylist()
            urls = [self._url(row) for row in rows]
            fetched = self._download([url for url in urls if url])
            for row, url, values in zip(rows, urls, fields, strict=True):
                candidate = self._candidate(row, url, fetched)
                if self._is_first(candidate.path, row):
                    yield self._with_brought(candidate, row, values)

    def notes(self) -> Iterator[str]:
        """Yield what the curator should know of the file as a whole."""
        if self.contradicting:
            count = f"{self.contradicting:,}"
            yield f"{count} rows contradict another about the same image; the first counts"
        if self.own.unused:
            names = ", ".join(self.own.unused)[:200]
            yield f"not kept, being no text and no numbers: {names}"

    def _is_first(self, path: str, row: int) -> bool:
        first = self.seen.setdefault(path, row)
        if first != row and not self._same(first, row):
            self.contradicting += 1
        return first == row

    def _same(self, one: int, other: int) -> bool:
        own = self.own
        arrays = (own.vectors, own.places, own.clusters)
        return all(
            array is None or np.array_equal(array[one], array[other], equal_nan=True)
            for array in arrays
        ) and own.fields.slice(one, 1).equals(own.fields.slice(other, 1))

    # ---- where the bytes are

    def _url(self, row: int) -> str | None:
        for value in (self.own.paths[row], self.own.urls[row]):
            if value:
                return files.web_address(value)
        return None

    def _candidate(self, row: int, url: str | None, fetched: "dict[str, Downloaded]") -> Candidate:
        place = self.own.paths[row] or self.own.urls[row]
        if url is not None:
            return self._fetched(url, fetched.get(url))
        if place is not None:
            return self._on_disk(place, row)
        if self.own.hashes[row] is not None:
            return self._stored(str(self.own.hashes[row]).lower())
        return self._refused(f"{self.root}/row {row + 1}", NO_IMAGE)

    def _on_disk(self, value: str, row: int) -> Candidate:
        path = _path(value, self.folder)
        if path is None:
            return self._refused(f"{self.root}/row {row + 1}", NO_IMAGE)
        try:
            status = os.stat(path)
        except NotADirectoryError:  # a member of an archive
            read = partial(archives.read, path)
            return Candidate(path, 0, self.changed, self.root, Brought(read=read))
        except OSError as error:
            if isinstance(error, PermissionError) or os.path.islink(path):
                return Candidate(path, 0, 0, self.root)  # files.read knows the reason
            return self._refused(path, ABSENT)
        return Candidate(path, status.st_size, status.st_mtime_ns, self.root)

    def _fetched(self, url: str, got: "Downloaded | None") -> Candidate:
        if got is None or got.path is None:
            return self._refused(url, (got and got.error) or "cannot be opened: no download came")
        brought = Brought(read=partial(files.read, str(got.path)), url=url)
        return Candidate(url, got.size, got.mtime_ns, self.root, brought)

    def _stored(self, sha256: str) -> Candidate:
        inside = f"{self.root}/{sha256[:80]}"
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            return self._refused(inside, NO_HASH)
        data = self.context.stored(sha256)
        if data is None:
            return self._refused(inside, UNKNOWN)
        read = partial(_again, self.context, sha256)
        return Candidate(inside, len(data), self.changed, self.root, Brought(read=read))

    def _refused(self, path: str, reason: str) -> Candidate:
        return Candidate(path, 0, 0, self.root, Brought(read=partial(_refuse, reason)))

    def _download(self, urls: list[str]) -> "dict[str, Downloaded]":
        if not urls:
            return {}
        from embeddings.downloads import download

        context = self.context
        done = download(urls, context.keep, context.limits, context.progress)
        return {got.url: got for got in done}

    # ---- what its row brings

    def _with_brought(self, candidate: Candidate, row: int, values: Mapping[str, Any]) -> Candidate:
        own, read, vector = self.own, candidate.brought.read, None
        if self.sound is not None and own.vectors is not None:
            if self.sound[row]:
                vector = own.vectors[row]
            elif read is None or candidate.size:
                read = partial(_refuse, NO_VECTOR)
        place, cluster = None, None
        if own.places is not None and not np.isnan(own.places[row]).any():
            place = tuple(own.places[row].tolist())
        if own.clusters is not None and own.clusters[row] != NONE:
            cluster = int(own.clusters[row])
        told = {field_name(name): _plain(value) for name, value in values.items() if name}
        if own.cluster_names is not None:
            told[CLUSTER_NAME] = own.cluster_names[row]
        url = candidate.brought.url or files.web_address(own.urls[row] or "")
        brought = Brought(
            read=read, url=url, fields=told, vector=vector, place=place, cluster=cluster
        )
        return Candidate(candidate.path, candidate.size, candidate.mtime_ns, self.root, brought)


def _refuse(reason: str) -> NoReturn:
    raise UnreadableImage(reason)


def _again(context: Context, sha256: str) -> bytes:
    data = context.stored(sha256)
    if data is None:
        raise UnreadableImage(UNKNOWN)
    return data


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _path(value: str, folder: str) -> str | None:
    """Return the path that a cell means, absolute; None when it can be none."""
    if value.lower().startswith("file://"):
        try:
            value = os.fsdecode(unquote_to_bytes(urlsplit(value).path))
        except ValueError:  # brackets that are no host
            return None
    if "\0" in value:
        return None
    return os.path.normpath(os.path.join(folder, value))
