"""A file of Cortex records: each record's image, found by its hash, beside the file, or fetched."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

from embeddings import cortex, files
from embeddings.cortex import Broken, CortexRecord
from embeddings.files import Brought, Candidate
from embeddings.formats import UnreadableImage
from embeddings.originals import kept
from embeddings.sources import Context

if TYPE_CHECKING:
    from embeddings.downloads import Downloaded

RANK = 30
SUFFIXES = (".json", ".jsonl", ".ndjson")
DIFFERS = "record_hash_differs"  # the field of an image whose record has another hash
HEAD = 1 << 16  # bytes that are looked at: a record is about 500
CHUNK = 20_000  # records whose downloads run beside each other: some 60 MB
_PAGE = re.compile(rb'\s*\{\s*"output"\s*:\s*\[')
_KEYS = [re.compile(rb'"%s"\s*:' % key) for key in (b"_id", b"hash", b"object_analysis_processed")]
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def claims(spec: str) -> bool:
    """Take a look at the head of a JSON file: are there Cortex records in it?"""
    path = os.path.expanduser(spec)
    if not path.lower().endswith(SUFFIXES) or not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError:  # whoever takes it says why it cannot be read
        return False
    return bool(_PAGE.match(head)) or (
        head.startswith((b"{", b"[")) and all(key.search(head) for key in _KEYS)
    )


def find(spec: str, context: Context) -> Iterator[Candidate]:
    """Yield the image of every record, in their order.

    Bytes that the dataset knows already are taken by the record's hash; an address that is a path
    beside the file is read there; any other is downloaded. An image whose bytes have another hash
    than its record says is brought with the field `record_hash_differs`.

    Raises
    ------
    CurationError
        When the file cannot be read, or is no JSON, or holds nothing of Cortex's.
    """
    finder = _Finder(os.path.abspath(os.path.expanduser(spec)), context)
    chunk: list[CortexRecord | Broken] = []
    for record in cortex.read(Path(finder.root)):
        chunk.append(record)
        if len(chunk) == CHUNK:
            yield from finder.candidates(chunk)
            chunk = []
    yield from finder.candidates(chunk)
    context.listed(finder.root)
    if finder.repeated:
        context.note(f"{spec}: passed over as copies of another record of it: {finder.repeated:,}")


@dataclass
class _Finder:
    """Makes candidates of one file's records."""

    root: str
    context: Context
    repeated: int = 0
    seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.folder = os.path.dirname(self.root)
        self.changed = _mtime(self.root)

    def candidates(self, chunk: list[CortexRecord | Broken]) -> Iterator[Candidate]:
        """Yield one candidate a record; what has to be downloaded is downloaded together."""
        found = [self._here(record) for record in chunk]
        missing = [
            files.web_address(record.url) or record.url
            for record, here in zip(chunk, found, strict=True)
            if here is None and isinstance(record, CortexRecord)
        ]
        fetched = self._download(list(dict.fromkeys(missing)))
        for record, here in zip(chunk, found, strict=True):
            if here is None and isinstance(record, CortexRecord):
                here = self._fetched(record, fetched.get(files.web_address(record.url) or ""))
            yield from self._once(here, record)

    def _once(
        self, candidate: Candidate | None, record: CortexRecord | Broken
    ) -> Iterator[Candidate]:
        """Yield a candidate under a path of its own: two records may share an address."""
        assert candidate is not None, "a record that is not here has been downloaded"
        if candidate.path in self.seen and isinstance(record, CortexRecord):
            read = candidate.brought.read or partial(files.read, candidate.path)
            brought = replace(candidate.brought, read=read)
            path = f"{self.root}/{record.record_id}"
            candidate = Candidate(path, candidate.size, candidate.mtime_ns, self.root, brought)
        if candidate.path in self.seen:
            self.repeated += 1
            return
        self.seen.add(candidate.path)
        yield candidate

    # ---- one record

    def _here(self, record: CortexRecord | Broken) -> Candidate | None:
        """Return the candidate of a record that needs no download, else None."""
        if isinstance(record, Broken):
            reason = f"its Cortex record cannot be used ({record.reason})"
            return self._refused(f"{self.root}/{record.where}", reason, self.changed)
        if address := files.web_address(record.url):
            return self._kept(record) or self._stored(record, address)
        scheme = _SCHEME.match(record.url)
        if scheme and scheme[1].lower() != "file":
            reason = f"{scheme[1].lower()}:// addresses are not downloaded; download it yourself"
            return self._stored(record, record.url) or self._refused(record.url, reason)
        return self._beside(record)

    def _kept(self, record: CortexRecord) -> Candidate | None:
        # what an earlier run has downloaded keeps its time of change, and so stays unchanged
        path = kept(self.context.keep, record.sha256)
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        brought = _brought(record, partial(files.read, str(path)))
        address = files.web_address(record.url) or record.url
        return Candidate(address, status.st_size, status.st_mtime_ns, self.root, brought)

    def _stored(self, record: CortexRecord, path: str) -> Candidate | None:
        data = self.context.stored(record.sha256)
        if data is None:
            return None
        read = partial(_again, self.context, record.sha256)
        return Candidate(path, len(data), self.changed, self.root, _brought(record, read))

    def _beside(self, record: CortexRecord) -> Candidate:
        """Return the candidate of a record whose address is a path below the file's folder."""
        inside = f"{self.root}/{record.record_id}"
        path = _path(record.url, self.folder)
        if path is None:
            reason = "its record names a place outside the folder of the JSON file; put it inside"
            return self._stored(record, inside) or self._refused(inside, reason)
        digest, size, mtime_ns = _look(path)
        if digest != record.sha256 and (known := self._stored(record, inside)):
            return known
        if digest is None:
            reason = "cannot be opened: its record names a file that is not there, or not readable"
            return self._refused(path, reason)
        brought = _brought(record, None, differs=digest != record.sha256)
        return Candidate(path, size, mtime_ns, self.root, brought)

    def _fetched(self, record: CortexRecord, done: "Downloaded | None") -> Candidate:
        if done is None or done.error is not None or done.path is None:
            reason = (done and done.error) or "cannot be opened: the download gave nothing"
            return self._refused(record.url, reason)
        read = partial(files.read, str(done.path))
        brought = _brought(record, read, differs=done.sha256 != record.sha256)
        return Candidate(done.url, done.size, done.mtime_ns, self.root, brought)

    def _download(self, urls: list[str]) -> "dict[str, Downloaded]":
        if not urls:
            return {}
        from embeddings.downloads import download

        context = self.context
        done = download(urls, context.keep, context.limits, context.progress)
        return {found.url: found for found in done}

    def _refused(self, path: str, reason: str, changed: int = 0) -> Candidate:
        return Candidate(path, 0, changed, self.root, Brought(read=partial(_refuse, reason)))


def _brought(
    record: CortexRecord, read: Callable[[], bytes] | None, *, differs: bool = False
) -> Brought:
    return Brought(
        read=read,
        url=files.web_address(record.url),
        source=record.source,
        first_seen=record.first_seen,
        fields={DIFFERS: True} if differs else {},
        record=cortex.dumps(record),
    )


def _refuse(reason: str) -> bytes:
    raise UnreadableImage(reason)


def _again(context: Context, sha256: str) -> bytes:
    data = context.stored(sha256)
    if data is None:
        raise UnreadableImage("cannot be opened: it is gone since the records were read")
    return data


def _path(url: str, folder: str) -> str | None:
    """Return the path that an address means, None when it is not below `folder`.

    Links are followed before it is decided: a record must not lead to files that nobody gave.
    """
    if _SCHEME.match(url):
        try:
            parts = urlsplit(url)
        except ValueError:  # a host in brackets that is none
            return None
        if parts.netloc not in ("", "localhost"):
            return None
        url = os.fsdecode(unquote_to_bytes(parts.path))
    path = os.path.normpath(os.path.join(folder, url))
    if "\0" in path:
        return None
    inside = os.path.join(os.path.realpath(folder), "")
    return path if os.path.realpath(path).startswith(inside) else None


def _look(path: str) -> tuple[str | None, int, int]:
    """Return a file's SHA-256, size and time of change; no SHA-256 when it cannot be read."""
    if not os.path.isfile(path):  # a pipe would wait for a writer for ever
        return None, 0, 0
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None, 0, 0
    return digest, status.st_size, status.st_mtime_ns


def _mtime(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:  # `cortex.read` says what is wrong with it
        return 0
