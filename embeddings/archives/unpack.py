"""The bytes of an archive by offset: as it lies on the disk, or unpacked where it is compressed.

A compressed tar is unpacked once, as far as it is read, into a temporary file without a name (in
TMPDIR), which is gone with this process however it ends.
"""

import bz2
import gzip
import io
import lzma
import os
import shutil
import tempfile
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from embeddings.errors import CurationError

CHUNK = 1 << 20  # bytes unpacked at a time
ROOM = 1 << 30  # bytes left free on the disk of TMPDIR
ALWAYS = 1 << 30  # bytes: below that, no ratio makes a bomb
MOST_TIMES = 200  # photographs do not shrink to less than that
XZ_MEMORY = 1 << 28  # bytes; xz -9 needs 65 MiB

EARLY = "the archive ends early; copy or download it again"
DAMAGED = "the archive is damaged; copy or download it again"
BOMB = (
    "unpacks to many times its size, like a decompression bomb; unpack it yourself if you know it"
)

MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
# everything that the standard library raises for bytes that do not unpack
TROUBLE = (zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, ValueError)


class Store(Protocol):
    """Bytes that any thread may read at any offset; `trouble` is why they end where they do."""

    trouble: str | None

    def at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes; less at the end."""

    def reaches(self, end: int) -> bool:
        """Say whether there are `end` bytes."""


class Plain:
    """An archive of `size` bytes as it lies on the disk, open as `fd`, which it closes."""

    def __init__(self, fd: int, size: int) -> None:
        self.fd, self.size = fd, size
        self.trouble: str | None = None
        weakref.finalize(self, os.close, fd)  # when the last thread lets go of it

    def at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes; less at the end."""
        return os.pread(self.fd, length, offset)

    def reaches(self, end: int) -> bool:
        """Say whether there are `end` bytes."""
        return end <= self.size


class Unpacked:
    """A compressed file of `size` bytes, open as `fd`, unpacked as far as somebody has read.

    Raises
    ------
    CurationError
        When the disk of TMPDIR has no room for it.
    """

    def __init__(self, fd: int, size: int, kind: str, path: str) -> None:
        self.trouble: str | None = None
        self._path, self._size = path, size
        source = open(fd, "rb")  # noqa: SIM115 - closed when nobody reads it any more
        weakref.finalize(self, source.close)
        self._check_room(size)
        self._copy = tempfile.TemporaryFile(prefix="curate-", buffering=0)  # noqa: SIM115
        weakref.finalize(self, self._copy.close)
        self._pieces = pieces(source, kind)
        self._length = self._checked = 0
        self._waiting: bytes | None = None
        self._lock = threading.Lock()

    def at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes; less at the end."""
        self.reaches(offset + length)
        return os.pread(self._copy.fileno(), length, offset)

    def reaches(self, end: int) -> bool:
        """Unpack that far; say whether there are `end` bytes."""
        if end > self._length:
            with self._lock:
                while end > self._length and self._unpack():
                    pass
        return end <= self._length

    def _unpack(self) -> bool:
        if self.trouble is not None:
            return False
        try:
            piece = self._waiting or next(self._pieces, None)
        except TROUBLE as error:
            self.trouble = EARLY if isinstance(error, EOFError) else DAMAGED
            return False
        except OSError as error:
            self.trouble = f"cannot be opened: the system says: {error.strerror}"
            return False
        if piece is None:
            return False
        if self._length + len(piece) > max(ALWAYS, MOST_TIMES * self._size):
            self.trouble = BOMB
            return False
        self._waiting = piece  # until there is room for it
        try:
            self._keep(piece)
        except OSError as error:
            raise CurationError(self._no_room()) from error
        self._waiting = None
        return True

    def _keep(self, piece: bytes) -> None:
        end = self._length + len(piece)
        if end >= self._checked + 64 * CHUNK:
            self._check_room(0)
            self._checked = end
        if piece.strip(b"\0"):
            os.pwrite(self._copy.fileno(), piece, self._length)
        else:
            self._copy.truncate(end)  # zeros, as bombs are made of, take no room on the disk
        self._length = end

    def _check_room(self, wanted: int) -> None:
        if shutil.disk_usage(tempfile.gettempdir()).free < wanted + ROOM:
            raise CurationError(self._no_room())

    def _no_room(self) -> str:
        return (
            f"no room to unpack {self._path} in {tempfile.gettempdir()}; set TMPDIR to a folder "
            "on a larger disk, or unpack it yourself and give the folder"
        )


def pieces(file: io.BufferedReader, kind: str) -> Iterator[bytes]:
    """Yield the bytes of a gzip, bzip2 or xz file, at most `CHUNK` at a time."""
    if kind == "gzip":
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield from iter(lambda: unpacked.read1(CHUNK), b"")
    elif kind == "bzip2":
        yield from _streams(file, bz2.BZ2Decompressor)
    else:
        yield from _streams(file, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY))


def _streams(file: io.BufferedReader, begin: Callable[[], Any]) -> Iterator[bytes]:
    # programs that pack with several threads write many streams one after the other
    data = file.read(CHUNK)
    while data.strip(b"\0"):  # xz fills up with zeros
        unpacker = begin()
        while not unpacker.eof:
            if unpacker.needs_input:
                data = data or file.read(CHUNK)
                if not data:
                    raise EOFError("the stream is cut")
            yield _some(unpacker, data)
            data = b""
        data = unpacker.unused_data.lstrip(b"\0") or file.read(CHUNK)


def _some(unpacker: Any, data: bytes) -> bytes:
    try:
        return bytes(unpacker.decompress(data, CHUNK))
    except OSError as error:  # what bz2 raises for bytes that are not its own
        raise ValueError("the stream is damaged") from error
