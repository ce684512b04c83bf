"""Find image files, read them once, and say what they are or why they cannot be read."""

import hashlib
import io
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageOps, UnidentifiedImageError

from embeddings.errors import CurationError
from embeddings.schema import ID_LENGTH

_NAMES = (
    "jpg jpeg jpe jfif png apng gif bmp dib tif tiff webp avif heic heif ppm pgm pbm pnm tga ico "
    "jp2 j2k pcx sgi qoi"
)
SUFFIXES = frozenset(f".{name}" for name in _NAMES.split())
MAX_PIXELS = 250_000_000  # the largest medium-format sensors have 150 million
BOMB_PIXELS = 50_000_000  # above this, more than BOMB_RATIO pixels a byte is no photograph
BOMB_RATIO = 1000
ALPHA_BACKGROUND = (255, 255, 255)
_MAGIC = (
    b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF",
)  # fmt: skip
# what Pillow's readers raise on damaged files
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error)
_EXIF_IFD, _EXIF_TIMES = 0x8769, (0x9003, 0x9004)  # DateTimeOriginal, DateTimeDigitized
_ORIENTATION, _SIDEWAYS = 0x0112, (5, 6, 7, 8)


class UnreadableImage(Exception):
    """One file's failure: data for its row, never the end of a run."""


@dataclass(frozen=True)
class Candidate:
    """A file that may be an image: `size` bytes, `mtime_ns` nanoseconds."""

    path: str
    size: int
    mtime_ns: int
    root: str


@dataclass(frozen=True)
class Decoded:
    """One image, decoded once.

    `rgb` is upright RGB, possibly reduced by a power of two while decoding; `width` and `height`
    are the full size in pixels. `histogram` (3, 256) int64 sums to ``width * height`` per channel;
    from a reduced decode it is scaled up.
    """

    sha256: str
    width: int
    height: int
    bytes: int
    format: str
    taken_at: str | None
    note: str | None
    histogram: npt.NDArray[np.int64]
    rgb: PIL.Image.Image

    @property
    def image_id(self) -> str:
        """First 32 hex digits of the SHA-256 of the bytes."""
        return self.sha256[:ID_LENGTH]


def find(source: Path) -> Iterator[Candidate]:
    """Yield the files below `source` that may be images, in a stable order.

    Hidden files and folders are passed over, and so are files that neither carry an image's suffix
    nor begin like one. A folder reached twice through links is read once.

    Raises
    ------
    CurationError
        When `source` does not exist, cannot be listed, or is a file that is no image.
    """
    if not source.exists():
        raise CurationError(f"no such file or folder: {source}; check the path")
    if source.is_file():
        if not _may_be_image(str(source)):
            raise CurationError(f"{source} is not an image; give an image or a folder of images")
        status = source.stat()
        yield Candidate(str(source), status.st_size, status.st_mtime_ns, str(source.parent))
        return
    try:
        os.listdir(source)
    except PermissionError as error:
        raise CurationError(f"{source} cannot be read; change its permissions") from error
    yield from _walk(str(source), str(source), set())


def _walk(folder: str, root: str, seen: set[tuple[int, int]]) -> Iterator[Candidate]:
    status = os.stat(folder)
    key = (status.st_dev, status.st_ino)
    if key in seen:
        return
    seen.add(key)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    except PermissionError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            status = entry.stat()
        except OSError:  # a link to nowhere, or gone since it was listed
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(entry.path, root, seen)
        elif stat.S_ISREG(status.st_mode) and _may_be_image(entry.path):
            yield Candidate(entry.path, status.st_size, status.st_mtime_ns, root)


def _may_be_image(path: str) -> bool:
    suffix = os.path.splitext(path)[1].lower()
    if suffix in SUFFIXES:
        return True
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    return head.startswith(_MAGIC) or (head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"heic"))


def read(path: str) -> bytes:
    """Return the bytes of the file at `path`; UnreadableImage says why not."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise UnreadableImage(f"cannot be opened: {error.strerror}") from error
    if not data:
        raise UnreadableImage("empty file (0 bytes)")
    return data


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data`, 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def decode(data: bytes, *, min_side: int | None = None, digest: str | None = None) -> Decoded:
    """Decode the bytes of one image file.

    Parameters
    ----------
    data : bytes
        The file's bytes.
    min_side : int, optional
        Shortest side in pixels that is needed. A JPEG is then decoded at the smallest of 1/1, 1/2,
        1/4 and 1/8 of its size whose short side is still at least twice that.
    digest : str, optional
        The SHA-256 of `data` where it is known already.

    Raises
    ------
    UnreadableImage
        With a reason that a person can read.
    """
    try:
        with PIL.Image.open(io.BytesIO(data)) as opened:
            return _decode(opened, data, min_side, digest or sha256(data))
    except UnidentifiedImageError as error:
        raise UnreadableImage("not an image file, or of a kind that is not known") from error
    except PIL.Image.DecompressionBombError as error:
        raise UnreadableImage("too many pixels for its size (decompression bomb)") from error
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        IndexError,
        TypeError,
        struct.error,
    ) as error:
        # what Pillow's readers raise on damaged files
        raise UnreadableImage(f"damaged: {error}") from error


def _decode(opened: PIL.Image.Image, data: bytes, min_side: int | None, digest: str) -> Decoded:
    _refuse_bomb(opened.size, len(data))
    kind = opened.format or "unknown"
    orientation = opened.getexif().get(_ORIENTATION)
    full = opened.size
    if min_side is not None and kind == "JPEG":
        opened.draft(opened.mode, _draft_size(full, 2 * min_side))
    opened.load()
    rgb = ImageOps.exif_transpose(opened) if orientation not in (None, 1) else opened
    rgb = _to_rgb(rgb)
    width, height = full if orientation not in _SIDEWAYS else (full[1], full[0])
    frames = getattr(opened, "n_frames", 1)
    return Decoded(
        sha256=digest,
        width=width,
        height=height,
        bytes=len(data),
        format=kind,
        taken_at=_taken_at(opened),
        note=f"first of {frames} frames" if frames > 1 else None,
        histogram=_histogram(rgb, width * height),
        rgb=rgb,
    )


def _refuse_bomb(size: tuple[int, int], n_bytes: int) -> None:
    pixels = size[0] * size[1]
    if pixels > MAX_PIXELS:
        raise UnreadableImage(f"{size[0]} x {size[1]} is more than {MAX_PIXELS:,} pixels")
    if pixels > BOMB_PIXELS and pixels > BOMB_RATIO * n_bytes:
        raise UnreadableImage(f"{pixels:,} pixels in {n_bytes:,} bytes: a decompression bomb")


def _draft_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = max(1.0, min(size) / side)
    return max(1, int(size[0] / scale)), max(1, int(size[1] / scale))


def _to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode == "RGB":
        return image.copy()  # independent of the file that closes behind it
    if image.mode.startswith("I") or image.mode == "F":
        return _rescale(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        paper = PIL.Image.new("RGBA", rgba.size, (*ALPHA_BACKGROUND, 255))
        return PIL.Image.alpha_composite(paper, rgba).convert("RGB")
    return image.convert("RGB")


def _rescale(image: PIL.Image.Image) -> PIL.Image.Image:
    # Pillow clips 16-bit values at 255: 2560 and 65535 would both be white
    values = np.nan_to_num(np.asarray(image).astype(np.float64))
    top = 65535.0 if image.mode.startswith("I;16") else float(values.max(initial=0.0))
    if top > 255:
        values *= 255.0 / (65535.0 if top <= 65535 else top)
    grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return PIL.Image.fromarray(grey).convert("RGB")


def _histogram(rgb: PIL.Image.Image, pixels: int) -> npt.NDArray[np.int64]:
    counts = np.array(rgb.histogram(), np.int64).reshape(3, 256)
    seen = rgb.width * rgb.height
    if seen == pixels:
        return counts
    # largest remainders, so that every channel sums to exactly `pixels`
    exact = counts * (pixels / seen)
    whole: npt.NDArray[np.int64] = np.floor(exact).astype(np.int64)
    for channel in range(3):
        short = pixels - int(whole[channel].sum())
        order = np.argsort(-(exact[channel] - whole[channel]), kind="stable")[:short]
        whole[channel, order] += 1
    return whole


def _taken_at(image: PIL.Image.Image) -> str | None:
    exif: Any = image.getexif()
    details = exif.get_ifd(_EXIF_IFD)
    for tag in _EXIF_TIMES:
        text = str(details.get(tag, "")).strip("\0 ")
        try:
            return datetime.strptime(text[:19], "%Y:%m:%d %H:%M:%S").isoformat()
        except ValueError:
            continue
    return None


def printable(path: str) -> str:
    """Return a path that can be shown and stored: bytes that are no UTF-8 are escaped."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
