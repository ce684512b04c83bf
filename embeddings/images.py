"""Image files decoded once: what they are, or why they cannot be read."""

import hashlib
import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from embeddings import formats, pixels
from embeddings.files import Candidate as Candidate
from embeddings.files import find as find
from embeddings.files import read as read
from embeddings.formats import SUFFIXES as SUFFIXES
from embeddings.formats import UnreadableImage as UnreadableImage
from embeddings.schema import ID_LENGTH

MAX_PIXELS = 250_000_000  # the largest medium-format sensors have 150 million
BOMB_PIXELS = 50_000_000  # above this, more than BOMB_RATIO pixels a byte is no photograph
BOMB_RATIO = 1000
MAX_SCANNED = 5_000_000_000  # pixels x passes of a progressive JPEG: half a minute's decoding
MAX_FRAMES = 1000  # counted; each costs a look into the file
# what Pillow's readers raise on damaged files: they trust the lengths and types that they read
_DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError,
    AssertionError, ArithmeticError, RuntimeError, MemoryError, struct.error, zlib.error,
    PIL.Image.DecompressionBombError,
)  # fmt: skip
_EXIF_IFD, _EXIF_TIMES = 0x8769, (0x9003, 0x9004)  # DateTimeOriginal, DateTimeDigitized
_ORIENTATION = 0x0112
_ONE_GIANT = threading.Lock()  # several giants at once would not fit into memory

JpegDecoder = Callable[[bytes, int], PIL.Image.Image | None]

# Pillow warns from 89 million pixels on and refuses 179 million; our own caps come first
PIL.Image.MAX_IMAGE_PIXELS = MAX_PIXELS
# what a curator can use of Pillow's warnings is in the note or the reason
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class Decoded:
    """One image, decoded once.

    `rgb` is upright RGB, possibly reduced by a power of two while decoding; `width` and `height`
    are the full size in pixels. `histogram` (3, 256) int64 sums to ``width * height`` per channel;
    from a reduced decode it is scaled up. `note` says what was left out or assumed.
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


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data`, 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def decode(
    data: bytes,
    *,
    min_side: int | None = None,
    digest: str | None = None,
    name: str | None = None,
    jpegs: JpegDecoder | None = None,
) -> Decoded:
    """Decode the bytes of one image file, by what they are and not by what they are called.

    Parameters
    ----------
    data : bytes
        The file's bytes.
    min_side : int, optional
        Shortest side in pixels that is needed. A JPEG is then decoded at the smallest of 1/1, 1/2,
        1/4 and 1/8 of its size whose short side is still at least twice that.
    digest : str, optional
        The SHA-256 of `data` where it is known already.
    name : str, optional
        The file's name or path: where its suffix promises another kind of image, the note says so.
    jpegs : callable, optional
        Decodes JPEGs elsewhere than in Pillow: bytes and how many times to reduce -> RGB, not yet
        upright, or None where Pillow must.

    Raises
    ------
    UnreadableImage
        With a reason that a person can read.
    """
    kind = _reader(data)
    try:
        with PIL.Image.open(io.BytesIO(data), formats=(kind,)) as opened:
            decoded = _decode(opened, data, min_side, digest or sha256(data), jpegs)
    except _DAMAGE as error:
        lean = formats.without_texts(data) if kind == "PNG" else data
        if lean == data:
            raise UnreadableImage(formats.explain(data, kind, error)) from error
        # a text or colour profile that is damaged, or unpacks without end, harms no pixel
        digest = digest or sha256(data)
        decoded = decode(lean, min_side=min_side, digest=digest)
        decoded = replace(decoded, bytes=len(data), note=_join(decoded.note, "its texts left out"))
    promised = formats.READERS.get(os.path.splitext(name or "")[1].lower(), kind)
    if promised == kind:
        return decoded
    return replace(decoded, note=_join(decoded.note, f"named like {promised}, but {kind} inside"))


def _reader(data: bytes) -> str:
    kind = formats.reader(data)
    if kind is None:
        reason = formats.stranger(data)
        if reason is not None:
            raise UnreadableImage(reason)
        return "TGA"  # which has no mark of its own to be known by
    if kind == "JPEG" and data.endswith(b"\0") and (reason := formats.zero_filled(data)):
        raise UnreadableImage(reason)
    if kind == "HEIF" and not formats.reads_heif():
        raise UnreadableImage(formats.NO_HEIF)
    if kind == "TIFF" and formats.raw_photograph(data):
        raise UnreadableImage(formats.RAW)
    return kind


def _join(*notes: str | None) -> str | None:
    return "; ".join(note for note in notes if note) or None


def _decode(
    opened: PIL.Image.Image,
    data: bytes,
    min_side: int | None,
    digest: str,
    jpegs: JpegDecoder | None,
) -> Decoded:
    _refuse_bomb(opened, data)
    kind = opened.format or "unknown"
    size = opened.size
    jpeg = kind in ("JPEG", "MPO")
    if min_side is not None and jpeg:
        opened.draft(opened.mode, _draft_size(size, 2 * min_side))
    giant = size[0] * size[1] > BOMB_PIXELS
    with _ONE_GIANT if giant else nullcontext():
        elsewhere = jpegs and kind == "JPEG" and opened.mode in ("L", "RGB") and not giant
        reduced = jpegs(data, round(size[0] / opened.width)) if jpegs and elsewhere else None
        if reduced is None:
            opened.load()  # before EXIF, which a PNG may have after its pixels
        orientation, taken_at, broken = _exif(opened)
        rgb, assumed = pixels.to_rgb(opened, data) if reduced is None else (reduced, None)
        rgb = pixels.upright(rgb, orientation)  # Pillow has turned a TIFF and says so
        # only a draft is smaller than the image; an icon's directory may be wrong about its size
        width, height = size if jpeg else rgb.size
        if jpeg and pixels.sideways(orientation):
            width, height = height, width
        histogram = pixels.histogram(rgb, width * height)
    return Decoded(
        sha256=digest,
        width=width,
        height=height,
        bytes=len(data),
        format=kind,
        taken_at=taken_at,
        note=_join(_frames(opened), assumed, broken),
        histogram=histogram,
        rgb=rgb,
    )


def _refuse_bomb(opened: PIL.Image.Image, data: bytes) -> None:
    sizes = [opened.size]
    if opened.format == "ICO":
        sizes += formats.icon_sizes(data)
    for width, height in sizes:
        count = width * height
        if count > MAX_PIXELS:
            raise UnreadableImage(f"too many pixels ({width} x {height}; at most {MAX_PIXELS:,})")
        if count > BOMB_PIXELS and count > BOMB_RATIO * len(data):
            size = f"{count:,} pixels in {len(data):,} bytes"
            raise UnreadableImage(f"a decompression bomb ({size})")
        if opened.info.get("progressive") and count * data.count(b"\xff\xda") > MAX_SCANNED:
            scans = data.count(b"\xff\xda")
            raise UnreadableImage(f"a decompression bomb ({scans:,} passes over {count:,} pixels)")


def _draft_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = max(1.0, min(size) / side)
    return max(1, int(size[0] / scale)), max(1, int(size[1] / scale))


def _exif(image: PIL.Image.Image) -> tuple[Any, str | None, str | None]:
    # orientation, time taken, and a note where it is damaged: that makes no picture unreadable
    orientation = None
    try:
        exif = image.getexif()
        orientation = exif.get(_ORIENTATION)
        return orientation, _taken_at(exif.get_ifd(_EXIF_IFD)), None
    except _DAMAGE:
        return orientation, None, "its EXIF data is damaged"


def _taken_at(details: Any) -> str | None:
    for tag in _EXIF_TIMES:
        text = str(details.get(tag, "")).strip("\0 ")
        try:
            return datetime.strptime(text[:19], "%Y:%m:%d %H:%M:%S").isoformat()
        except ValueError:
            continue
    return None


def _frames(image: PIL.Image.Image) -> str | None:
    if image.format not in ("GIF", "TIFF"):  # the others know their number
        count = getattr(image, "n_frames", 1)
        return f"first of {count:,} frames" if count > 1 else None
    count = 1
    try:
        while count <= MAX_FRAMES:
            image.seek(count)
            count += 1
    except EOFError:
        return f"first of {count:,} frames" if count > 1 else None
    except _DAMAGE:
        return "first frame; those after it are damaged"
    return f"first of more than {MAX_FRAMES:,} frames"


def printable(path: str) -> str:
    """Return a path that can be shown and stored: bytes that are no UTF-8 are escaped."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
