"""Tar and zip archives, read where they lie: nothing is ever unpacked into a folder.

Every member of a tar or zip is read at its offset, so that any thread may read any member in any
order. A compressed tar has no such offsets and is unpacked first, see `unpack`: that
bounds the memory, and the disk by the two archives that are kept unpacked.
"""

import functools
import itertools
import os
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from embeddings import files
from embeddings.archives import packed, unpack
from embeddings.archives.packed import LINK, THE_REST, Entry
from embeddings.archives.unpack import BOMB, Store
from embeddings.errors import CurationError
from embeddings.formats import UnreadableImage
from embeddings.images import printable

KEPT_OPEN = 8  # archives
KEPT_UNPACKED = 2  # compressed tars: the one that is read, and the one before it
SWOLLEN = 1 << 26  # bytes: below that, no ratio makes a bomb
CHANGED = "changed while it was being read; build again"

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive as it was when it was listed; `kind` is tar, gzip, bzip2, xz or zip."""

    path: str
    kind: str
    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive, where its `name` is unique."""

    archive: Archive
    name: str
    entry: Entry

    @property
    def path(self) -> str:
        """Where it is: ``/abs/shard.tar/inner/a.jpg``."""
        return f"{self.archive.path}/{self.name}"

    @property
    def size(self) -> int:
        """Its length in bytes; of the rest of a damaged archive, the archive's."""
        return self.archive.size if self.is_rest else self.entry.size

    @property
    def is_rest(self) -> bool:
        """Whether it stands for all that cannot be listed."""
        return self.entry.why is not None and self.entry.name == THE_REST

    def read(self) -> bytes:
        """Return the bytes, from any thread; UnreadableImage says why not."""
        entry = self.entry
        if entry.why is not None:
            raise UnreadableImage(entry.why)
        if not entry.size:
            raise UnreadableImage("empty file (0 bytes)")
        length = max(entry.size, entry.packed)
        if length > files.MAX_BYTES:
            limit = f"{length:,} bytes; at most {files.MAX_BYTES:,}"
            raise UnreadableImage(f"too many bytes for a photograph ({limit})")
        if entry.size > max(SWOLLEN, unpack.MOST_TIMES * entry.packed):
            raise UnreadableImage(BOMB)
        return _guarded(self, packed.whole)

    def head(self, length: int = 64) -> bytes:
        """Return the first `length` bytes, or none where they cannot be had."""
        if self.entry.why is not None or not self.entry.size:
            return b""
        try:
            return _guarded(self, functools.partial(packed.begin, length=min(length, self.size)))
        except UnreadableImage:
            return b""


def kind(path: str) -> str | None:
    """Return what kind of archive the file at `path` is by its content; None for all else."""
    try:
        archive = _identify(path)
    except (OSError, ValueError):
        return None
    return None if archive is None else archive.kind


def members(path: str) -> Iterator[Member]:
    """Yield the regular files in an archive, in its order; those with a hidden name are left out.

    A name is cleaned: ``/`` at its start and ``.`` go, ``..`` becomes ``__``, and bytes that are no
    UTF-8 are escaped. A name used again becomes ``a#2.jpg``, so that both can be read. What cannot
    be listed, for the archive is cut or damaged, is one member called "the rest of the archive".

    Raises
    ------
    CurationError
        When there is no archive at `path`, or no room to unpack it.
    """
    try:
        archive = _identify(path)
        if archive is None:
            raise CurationError(f"{path} is not a tar or zip archive; check the path")
        opened = _opened(archive)
        for number in itertools.count():
            member = opened.nth(number)
            if member is None:
                return
            yield member
    except (OSError, UnreadableImage) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise CurationError(f"{path} cannot be read as an archive: {why}") from error


def read(path: str) -> bytes:
    """Return the bytes of ``/abs/shard.tar/inner/a.jpg``; UnreadableImage says why not."""
    outer = path
    while not _is_file(outer):
        shorter = os.path.dirname(outer)
        if shorter == outer:
            raise UnreadableImage("cannot be opened: it is gone, and so is its archive")
        outer = shorter
    try:
        archive = _identify(outer)
        if archive is None or outer == path:
            raise UnreadableImage("not in a tar or zip archive")
        member = _opened(archive).named(path[len(outer) :].lstrip("/"))
    except OSError as error:
        raise UnreadableImage(f"cannot be opened: the system says: {error.strerror}") from error
    if member is None:
        raise UnreadableImage("its archive does not hold it any more")
    return member.read()


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _identify(path: str) -> Archive | None:
    path = os.path.abspath(path)
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe would wait for ever
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return None
        found = packed.kind(file)
    if found is None:
        return None
    return Archive(path, found, status.st_size, status.st_mtime_ns, status.st_ino)


# ---- open archives


class _Open:
    """An open archive and the members met so far."""

    def __init__(self, archive: Archive) -> None:
        fd = os.open(archive.path, os.O_RDONLY | os.O_NONBLOCK)
        status = os.fstat(fd)
        self.store: Store
        if archive.kind in unpack.MAGIC.values():
            self.store = unpack.Unpacked(fd, archive.size, archive.kind, archive.path)
        else:
            self.store = unpack.Plain(fd, archive.size)
        if _stamp(status) != (archive.size, archive.mtime_ns, archive.inode):
            raise UnreadableImage(CHANGED)
        self._archive = archive
        self._walk = self._from(0)
        self._taken = 0
        self._members: list[Member] = []
        self._names: dict[str, Member] = {}
        self._times: dict[str, int] = {}
        self._lock = threading.Lock()

    def _from(self, number: int) -> Iterator[Entry]:
        zipped = self._archive.kind == "zip"
        walk = (
            packed.in_zip(self.store, self._archive.path) if zipped else packed.in_tar(self.store)
        )
        return itertools.islice(walk, number, None)

    def nth(self, number: int) -> Member | None:
        """Return the member of that number, or None behind the last."""
        with self._lock:
            while number >= len(self._members) and self._advance():
                pass
        return self._members[number] if number < len(self._members) else None

    def named(self, name: str) -> Member | None:
        """Return the member of that name."""
        with self._lock:
            while name not in self._names and self._advance():
                pass
        return self._names.get(name)

    def _advance(self) -> bool:
        try:
            entry = next(self._walk, None)
        except (OSError, CurationError):
            self._walk = self._from(self._taken)  # there may be room the next time
            raise
        if entry is None:
            return False
        self._taken += 1
        name = _clean(entry.name)
        if entry.link is not None:
            first = self._names.get(_clean(entry.link))
            entry = replace(entry, why=LINK) if first is None else first.entry
        if not _hidden(name):
            member = Member(self._archive, self._unused(name), entry)
            self._members.append(member)
            self._names[member.name] = member
        return True

    def _unused(self, name: str) -> str:
        unused = name
        while unused in self._names:
            self._times[name] = self._times.get(name, 1) + 1
            folder, slash, file = name.rpartition("/")
            stem, dot, suffix = file.partition(".")
            unused = f"{folder}{slash}{stem}#{self._times[name]}{dot}{suffix}"
        return unused


def _clean(name: str) -> str:
    parts = [part for part in printable(name).replace("\0", "\ufffd").split("/") if part]
    return "/".join("__" if part == ".." else part for part in parts if part != ".") or "_"


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino


_open = functools.lru_cache(KEPT_OPEN)(_Open)
_open_unpacked = functools.lru_cache(KEPT_UNPACKED)(_Open)
_LOCK = threading.Lock()  # or two threads would unpack the same archive


def _opened(archive: Archive) -> _Open:
    with _LOCK:
        return (_open_unpacked if archive.kind in unpack.MAGIC.values() else _open)(archive)


def forget() -> None:
    """Close every archive that is kept open and delete what was unpacked of it."""
    with _LOCK:
        _open.cache_clear()
        _open_unpacked.cache_clear()


def _guarded(member: Member, work: Callable[[Store, Entry], Answer]) -> Answer:
    """Return what `work` makes of an open archive that is still as it was listed."""
    archive = member.archive
    try:
        answer = work(_opened(archive).store, member.entry)
        now = os.stat(archive.path)
    except FileNotFoundError as error:
        raise UnreadableImage(
            "cannot be opened: its archive is gone since it was listed"
        ) from error
    except OSError as error:
        raise UnreadableImage(f"cannot be opened: the system says: {error.strerror}") from error
    if _stamp(now) != (archive.size, archive.mtime_ns, archive.inode):
        raise UnreadableImage(CHANGED)
    return answer
