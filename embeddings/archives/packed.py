"""What a tar or a zip holds, and the bytes of each thing in it; `embeddings.archives` is for use.

Everything here is handed bytes that nobody vouches for. Names are as they were written.
"""

import bz2
import contextlib
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from embeddings import formats
from embeddings.archives import unpack
from embeddings.archives.unpack import BOMB, DAMAGED, EARLY, Store
from embeddings.formats import UnreadableImage

BLOCK = 512  # bytes; everything in a tar begins at a multiple
HEADER = 1 << 20  # bytes; the longest header that is read: a name, and what a system adds to it
PADDING = 1 << 20  # bytes of zeros that may stand between two tars written one after the other
LZMA_MEMORY = 1 << 28  # bytes
THE_REST = "the rest of the archive"  # the name of what cannot be listed

CHECKSUM = "damaged in its archive: the checksum differs; copy or download the archive again"
LOCKED = "locked with a password; unpack the archive yourself and give the folder"
LINK = "a link to something that is not in the archive before it; pack the files themselves"
SPARSE = "stored as a sparse file; pack the archive again without --sparse"
METHOD = "packed in a way that is not readable here; pack the archive again as an ordinary ZIP"

_ZIP = (b"PK\3\4", b"PK\5\6")
_STORED, _DEFLATED, _BZIP2, _LZMA, _TAR = 0, 8, 12, 14, -1
_LOCAL = struct.Struct("<4s5H3I2H")  # what stands before each member of a zip
# everything that the standard library raises for bytes that are no tar or zip
_TAR_TROUBLE = (tarfile.TarError, ValueError, IndexError, OverflowError, RecursionError)
_ZIP_TROUBLE = (
    zipfile.BadZipFile,
    ValueError,
    IndexError,
    EOFError,
    OverflowError,
    NotImplementedError,
    struct.error,
    OSError,  # a place before the beginning; a disk's own error is met again when bytes are read
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file in an archive.

    It is `size` bytes long and takes `packed` bytes at offset `at`. `why` says why it cannot be
    read; `link` is the name of the file that it stands for.
    """

    name: str
    size: int
    at: int = 0
    packed: int = 0
    method: int = _TAR
    crc: int | None = None
    why: str | None = None
    link: str | None = None


def kind(file: io.BufferedReader) -> str | None:
    """Return tar, gzip, bzip2, xz (of a tar) or zip; None for all else."""
    head = file.read(BLOCK)
    if formats.reader(head) is not None:
        return None  # an image may have a zip behind it
    if head.startswith(_ZIP):
        return "zip"
    for start, name in unpack.MAGIC.items():
        if head.startswith(start):
            file.seek(0)
            block = _first_block(file, name)
            # what does not unpack at all is an archive too, and has a reason
            return name if block is None or _is_header(block) else None
    return "tar" if _is_header(head) else None


def _first_block(file: io.BufferedReader, name: str) -> bytes | None:
    block = b""
    try:
        for piece in unpack.pieces(file, name):
            block += piece
            if len(block) >= BLOCK:
                break
    except unpack.TROUBLE:
        return None
    return block[:BLOCK]


def _is_header(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


# ---- tar


class _Headers(io.RawIOBase):
    """A tar for `tarfile`, which is to read headers and nothing else."""

    def __init__(self, store: Store, start: int) -> None:
        self.store, self.position = store, start

    def seek(self, offset: int, whence: int = 0) -> int:
        if offset < 0 or whence:
            raise ValueError(f"no place in a tar: {offset}")
        self.position = offset
        return offset

    def tell(self) -> int:
        return self.position

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= HEADER:
            raise ValueError(f"no header is {size} bytes long")
        data = self.store.at(self.position, size)
        self.position += len(data)
        return data


def in_tar(store: Store) -> Iterator[Entry]:
    """Yield the files in a tar, or in several written one after the other."""
    start: int | None = 0
    count = 0
    while start is not None:
        end = start
        try:
            headers = _Headers(store, start)
            with tarfile.open(
                fileobj=headers, mode="r:", encoding="utf-8", errors="surrogateescape"
            ) as tar:
                while (info := tar.next()) is not None and store.reaches(_end(info, end)):
                    end = tar.offset
                    setattr(tar, "members", [])  # noqa: B010 - or they would all stay
                    entry = _tar_entry(info)
                    if entry is not None:
                        count += 1
                        yield entry
            trouble = store.trouble or _ending(store, end, info)
        except _TAR_TROUBLE:
            trouble = store.trouble or (DAMAGED if store.reaches(end + 1) else EARLY)
        if trouble is not None:
            yield _rest(trouble, count)
            return
        start = _next_tar(store, end)


def _end(info: tarfile.TarInfo, start: int) -> int:
    if info.size < 0 or info.offset_data <= start:
        raise ValueError("a tar that leads back to where it was")
    return info.offset_data + (info.size if info.isreg() else 0)


def _ending(store: Store, end: int, info: tarfile.TarInfo | None) -> str | None:
    """Return why a tar has ended without the block of zeros that stands at the end of each."""
    block = store.at(end, BLOCK)
    if info is not None or len(block) < BLOCK:
        return EARLY
    return DAMAGED if block.strip(b"\0") else None


def _rest(trouble: str, count: int) -> Entry:
    return Entry(THE_REST, 0, why=f"{trouble} (after {count:,} files)")


def _next_tar(store: Store, start: int) -> int | None:
    for offset in range(start, start + PADDING, BLOCK):
        block = store.at(offset, BLOCK)
        if len(block) < BLOCK or block.strip(b"\0"):
            return offset if len(block) == BLOCK and _is_header(block) else None
    return None


def _tar_entry(info: tarfile.TarInfo) -> Entry | None:
    entry = Entry(info.name, info.size, info.offset_data, info.size)
    if info.issparse():
        return replace(entry, why=SPARSE)
    if info.islnk():
        return replace(entry, link=info.linkname)
    if info.issym():
        return replace(
            entry, link=os.path.normpath(f"{os.path.dirname(info.name)}/{info.linkname}")
        )
    return entry if info.isreg() else None


# ---- zip


def in_zip(store: Store, path: str) -> Iterator[Entry]:
    """Yield the files in a zip; where the list at its end is lost, those found from the start."""
    try:
        with zipfile.ZipFile(path) as listed:
            found = listed.infolist()
    except _ZIP_TROUBLE:
        yield from _salvaged(store)
        return
    for info in found:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if not info.filename.endswith("/") and kind in (0, stat.S_IFREG, stat.S_IFLNK):
            yield _zip_entry(info, LINK if kind == stat.S_IFLNK else None)


def _zip_entry(info: zipfile.ZipInfo, why: str | None) -> Entry:
    name = info.filename
    if not info.flag_bits & 0x800:
        with contextlib.suppress(UnicodeEncodeError):  # from the Unicode extra field: Python 3.12+
            name = _guessed(name.encode("cp437"))
    if info.create_system == 0:  # DOS and Windows
        name = name.replace("\\", "/")
    place = (info.header_offset, info.compress_size, info.compress_type)
    why = why or _unreadable(info.flag_bits, info.compress_type)
    return Entry(name, info.file_size, *place, info.CRC, why)


def _guessed(name: bytes) -> str:
    # the Mac's own packer writes UTF-8 and does not say so
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("cp437")


def _unreadable(flags: int, method: int) -> str | None:
    if flags & 0x2041:
        return LOCKED
    known = method in (_STORED, _DEFLATED, _BZIP2, _LZMA)
    return None if known else f"{METHOD} (method {method})"


def _salvaged(store: Store) -> Iterator[Entry]:
    at = count = 0
    while (local := _local(store, at)) is not None:
        _, _, flags, method, _, _, crc, packed, size, named, extra = local
        start = at + _LOCAL.size + named + extra
        unknown = flags & 8 and not packed  # written behind the bytes
        if unknown or packed == 0xFFFFFFFF or not store.reaches(start + packed):
            break
        name = store.at(at + _LOCAL.size, named)
        if not name.endswith(b"/"):
            why = _unreadable(flags, method)
            yield Entry(_guessed(name), size, at, packed, method, crc, why)
            count += 1
        at = start + packed
    trouble = EARLY if store.at(at, 4) in (b"", _ZIP[0]) else DAMAGED
    yield _rest(trouble, count)


def _local(store: Store, at: int) -> tuple[int, ...] | None:
    head = store.at(at, _LOCAL.size) if at >= 0 else b""
    whole = len(head) == _LOCAL.size and head.startswith(_ZIP[0])
    return _LOCAL.unpack(head) if whole else None


# ---- the bytes of a member


def whole(store: Store, entry: Entry) -> bytes:
    """Return the bytes of an entry; UnreadableImage says why not."""
    if entry.method == _TAR:
        data = store.at(entry.at, entry.size)
        if len(data) < entry.size:
            raise UnreadableImage(store.trouble or EARLY)
        return data
    data = _expanded(store, entry, entry.packed, entry.size + 1)
    if len(data) > entry.size:
        raise UnreadableImage(BOMB)
    if len(data) < entry.size or zlib.crc32(data) != entry.crc:
        raise UnreadableImage(CHECKSUM)
    return data


def begin(store: Store, entry: Entry, length: int) -> bytes:
    """Return the first `length` bytes of an entry; UnreadableImage says why not."""
    if entry.method == _TAR:
        return store.at(entry.at, length)
    return _expanded(store, entry, min(entry.packed, 1 << 16), length)


def _expanded(store: Store, entry: Entry, packed: int, most: int) -> bytes:
    local = _local(store, entry.at)
    if local is None:
        raise UnreadableImage(DAMAGED)
    start = entry.at + _LOCAL.size + local[-2] + local[-1]
    data = store.at(start, packed)
    if len(data) < packed:
        raise UnreadableImage(EARLY)
    try:
        return _EXPAND[entry.method](data, most)
    except (zlib.error, lzma.LZMAError, EOFError, ValueError, OSError) as error:
        raise UnreadableImage(CHECKSUM) from error


def _lzma(data: bytes, most: int) -> bytes:
    # a zip says the length of the settings; a file of xz's older kind says the length of the bytes
    (length,) = struct.unpack_from("<H", data.ljust(4, b"\0"), 2)
    alone = data[4 : 4 + length] + b"\xff" * 8 + data[4 + length :]
    return lzma.LZMADecompressor(lzma.FORMAT_ALONE, LZMA_MEMORY).decompress(alone, most)


_EXPAND: dict[int, Callable[[bytes, int], bytes]] = {
    _STORED: lambda data, most: data[:most],
    _DEFLATED: lambda data, most: zlib.decompressobj(-15).decompress(data, most),
    _BZIP2: lambda data, most: bz2.BZ2Decompressor().decompress(data, most),
    _LZMA: _lzma,
}
