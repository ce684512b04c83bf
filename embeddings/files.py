"""Find image files, and read them once: never written to, and nothing but files ever opened."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embeddings import formats
from embeddings.errors import CurationError
from embeddings.formats import SUFFIXES, UnreadableImage
from embeddings.schema import Float32

WEB = ("http://", "https://")
MAX_BYTES = 1 << 30  # 250 million pixels uncompressed; more is a video or a disk image


def web_address(text: str) -> str | None:
    """Return an address of the web, its scheme in small letters; None for any other text."""
    scheme, colon, rest = text.partition(":")
    address = f"{scheme.lower()}{colon}{rest}"
    return address if address.startswith(WEB) else None


@dataclass(frozen=True, slots=True)
class Brought:
    """What a source brings along with the bytes of an image.

    `read` returns bytes that are no file of their own, or raises UnreadableImage; it is called in
    worker threads. `url` is where the image was published, `first_seen` ISO 8601 UTC, `record` the
    Cortex record it came with, as JSON. `vector` (d,) float32, `place` (x, y) or (x, y, z) and
    `cluster` (-1 = noise) stand for what would be computed.
    """

    read: Callable[[], bytes] | None = None
    url: str | None = None
    source: str | None = None
    first_seen: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    record: str | None = None
    vector: Float32 | None = None
    place: tuple[float, ...] | None = None
    cluster: int | None = None


NOTHING = Brought()


@dataclass(frozen=True, slots=True)
class Candidate:
    """Bytes that may be an image: `size` bytes, `mtime_ns` nanoseconds.

    `path` says where they are: a file, a member of an archive (``/abs/shard.tar/inner/a.jpg``) or
    a URL. `root` is the source it was found below.
    """

    path: str
    size: int
    mtime_ns: int
    root: str
    brought: Brought = NOTHING

    def read(self) -> bytes:
        """Return the bytes; UnreadableImage says why not."""
        return read(self.path) if self.brought.read is None else self.brought.read()


def find(source: Path) -> Iterator[Candidate]:
    """Yield the files below `source` that may be images, in a stable order.

    Hidden files and folders are passed over, and so are files that neither carry an image's suffix
    nor begin like one. Links are followed; a folder reached twice is read once. What cannot be
    read, or is no file though it is named like an image, is yielded too: `read` says why not.

    Raises
    ------
    CurationError
        When `source` does not exist, cannot be listed, or is a file that is no image.
    """
    try:
        status = source.stat()
        if stat.S_ISDIR(status.st_mode):
            os.scandir(source).close()
    except PermissionError as error:
        raise CurationError(f"{source} cannot be read; change its permissions") from error
    except OSError as error:
        raise CurationError(f"no such file or folder: {source}; check the path") from error
    if stat.S_ISDIR(status.st_mode):
        yield from _walk(str(source))
    elif stat.S_ISREG(status.st_mode) and _may_be_image(str(source)):
        yield Candidate(str(source), status.st_size, status.st_mtime_ns, str(source.parent))
    else:
        raise CurationError(f"{source} is not an image; give an image or a folder of images")


def _walk(root: str) -> Iterator[Candidate]:
    # a stack and no recursion: folders may lie deeper than Python's calls can
    seen: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        path = waiting.pop()
        try:
            status = os.stat(path)
            folder = stat.S_ISDIR(status.st_mode)
            key = (status.st_dev, status.st_ino)
            below = _below(path) if folder and key not in seen else []
        except OSError:  # gone, a link to nowhere, or no permission: `read` finds the reason
            yield Candidate(path, 0, _mtime(path), root)
            continue
        if folder:
            seen.add(key)
            waiting += below
        elif stat.S_ISREG(status.st_mode) and not _may_be_image(path):
            continue
        else:
            yield Candidate(path, status.st_size, status.st_mtime_ns, root)


def _below(folder: str) -> list[str]:
    # last first, as the stack wants them; what is no image's name and no file is left out here
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if not entry.name.startswith(".") and _counts(entry)]
    found.sort(key=lambda entry: os.fsencode(entry.name), reverse=True)
    return [entry.path for entry in found]


def _counts(entry: os.DirEntry[str]) -> bool:
    if _named_like_image(entry.name):
        return True
    try:
        return entry.is_file() or entry.is_dir()
    except OSError:  # a link that leads to itself, under a name that promises no image
        return False


def _mtime(path: str) -> int:
    try:
        return os.lstat(path).st_mtime_ns
    except OSError:
        return 0


def _named_like_image(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in SUFFIXES


def _may_be_image(path: str) -> bool:
    if _named_like_image(path):
        return True
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            return formats.reader(file.read(64)) is not None
    except OSError:
        return False


def _without_waiting(path: str, flags: int) -> int:
    # a named pipe put there since the look would wait for a writer for ever
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read(path: str) -> bytes:
    """Return the bytes of the file at `path`; UnreadableImage says why not.

    Only a regular file is opened, and never for writing.
    """
    try:
        _refuse_special(os.stat(path).st_mode)
        with open(path, "rb", buffering=0, opener=_without_waiting) as file:
            before = os.fstat(file.fileno())
            _refuse_special(before.st_mode)
            if before.st_size > MAX_BYTES:
                _refuse_giant(before.st_size, file.read(4096))
            data = file.readall()
            after = os.fstat(file.fileno())
    except OSError as error:
        raise UnreadableImage(f"cannot be opened: {_why_closed(path, error)}") from error
    if (len(data), before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise UnreadableImage("changed while it was being read; build again")
    if not data:
        raise UnreadableImage("empty file (0 bytes)")
    return data


_SPECIAL = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def _refuse_special(mode: int) -> None:
    for test, name in _SPECIAL:
        if test(mode):
            folder = "that may not be listed; change its permissions"
            why = folder if name == "a folder" else "and no file, though it is named like an image"
            raise UnreadableImage(f"cannot be opened: {name} {why}")


def _refuse_giant(size: int, head: bytes) -> None:
    known = formats.stranger(head) if formats.reader(head) is None and head.strip(b"\0") else None
    limit = f"{size:,} bytes; at most {MAX_BYTES:,}"
    raise UnreadableImage(known or f"too many bytes for a photograph ({limit})")


def _why_closed(path: str, error: OSError) -> str:
    if os.path.islink(path):
        return "a link whose target is not there or not allowed"
    if isinstance(error, PermissionError):
        return "no permission to read it; change its permissions"
    if isinstance(error, FileNotFoundError):
        return "it is gone since the folder was listed"
    return f"the system says: {error.strerror}"
