"""What a file's bytes are, told by their content: an image with a reader, or a thing with a name.

Every function here is handed bytes that nobody vouches for. Nothing is decoded: a header is looked
at, and what is said is meant for the curator whose folder it is.
"""

import functools
import importlib
import re
import struct
from collections.abc import Iterator

import PIL.Image
from PIL import UnidentifiedImageError

_NAMED = {
    "JPEG": "jpg jpeg jpe jfif",
    "PNG": "png apng",
    "GIF": "gif",
    "BMP": "bmp dib",
    "TIFF": "tif tiff",
    "WEBP": "webp",
    "AVIF": "avif",
    "HEIF": "heic heif hif",
    "PPM": "ppm pgm pbm pnm",
    "TGA": "tga",
    "ICO": "ico",
    "JPEG2000": "jp2 j2k jpf jpx",
    "PCX": "pcx",
    "SGI": "sgi",
    "QOI": "qoi",
}
READERS = {f".{suffix}": reader for reader, names in _NAMED.items() for suffix in names.split()}
# pictures to a curator, though none of our readers takes them: met, and given a reason
_OTHERS = "jxl psd dng cr2 cr3 nef arw orf rw2 raf"
SUFFIXES = frozenset(READERS) | {f".{name}" for name in _OTHERS.split()}

_STARTS: tuple[tuple[str, tuple[bytes, ...]], ...] = (
    ("JPEG", (b"\xff\xd8\xff",)),
    ("PNG", (b"\x89PNG",)),
    ("GIF", (b"GIF87a", b"GIF89a")),
    ("TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ("JPEG2000", (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    ("QOI", (b"qoif",)),
    ("ICO", (b"\0\0\1\0",)),
    ("SGI", (b"\x01\xda",)),
    ("PCX", (b"\n\0\1", b"\n\2\1", b"\n\3\1", b"\n\4\1", b"\n\5\1")),
)
_PORTABLE = re.compile(rb"P[1-6]\s+[#\d]")  # and not "P1 is where we parked"
_BMP_HEADERS = (
    12,
    16,
    40,
    52,
    56,
    64,
    108,
    124,
)  # every length that a BMP's second header can have
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

RAW = "not readable here: a camera's RAW file; export it as JPEG or TIFF"
# reasons by the first bytes; the more exact ones first
_STRANGERS: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "not an image: a PDF document"),
    (b"%!PS", "not an image: a PostScript document"),
    (b"\xc5\xd0\xd3\xc6", "not an image: a PostScript document"),
    (b"8BPS", "not readable here: a Photoshop document; save it as PNG or TIFF"),
    (b"gimp xcf", "not readable here: a GIMP document; export it as PNG or TIFF"),
    (b"FUJIFILMCCD-RAW", RAW),
    (b"IIRO", RAW),
    (b"IIRS", RAW),
    (b"IIU\0", RAW),
    (b"FOVb", RAW),
    (b"\xff\x0a", "not readable here: a JPEG XL image; save it as PNG or JPEG"),
    (b"\0\0\0\x0cJXL ", "not readable here: a JPEG XL image; save it as PNG or JPEG"),
    (b"DDS ", "not readable here: a DDS texture; save it as PNG"),
    (b"icns", "not readable here: a Mac icon file; save it as PNG"),
    (b"\x76\x2f\x31\x01", "not readable here: an OpenEXR image; save it as 16-bit TIFF"),
    (b"#?RADIANCE", "not readable here: a Radiance HDR image; save it as 16-bit TIFF"),
    (b"SIMPLE  =", "not readable here: a FITS image; save it as 16-bit TIFF"),
    (b"\x1aE\xdf\xa3", "not an image: a video, Matroska or WebM"),
    (b"\0\0\1\xba", "not an image: a video, MPEG"),
    (b"\0\0\1\xb3", "not an image: a video, MPEG"),
    (b"FLV\1", "not an image: a video, Flash"),
    (b"0&\xb2u\x8ef\xcf\x11", "not an image: a video, Windows Media"),
    (b"ID3", "not an image: a sound file"),
    (b"fLaC", "not an image: a sound file"),
    (b"OggS", "not an image: a sound or video file"),
    (b"PK\3\4", "not an image: a ZIP archive or Office document; unpack it"),
    (b"\x1f\x8b", "not an image: an archive; unpack it"),
    (b"7z\xbc\xaf", "not an image: an archive; unpack it"),
    (b"Rar!", "not an image: an archive; unpack it"),
    (b"BZh", "not an image: an archive; unpack it"),
    (b"\xfd7zXZ", "not an image: an archive; unpack it"),
    (b"\0\5\x16\7", "not an image: a Mac's side file; the photograph has the name without '._'"),
    (b"bplist00", "not an image: a property list, perhaps of a photograph left in iCloud"),
    (b"L\0\0\0\1\x14\2\0", "not an image: a Windows shortcut; give the file that it points to"),
    (b"MZ", "not an image: a program"),
    (b"\x7fELF", "not an image: a program"),
    (b"\x93NUMPY", "not an image: a NumPy array"),
    (b"SQLite format 3", "not an image: a database"),
    (b"\xd0\xcf\x11\xe0", "not an image: an Office document or Windows thumbnail cache"),
)
_TEXTS: tuple[tuple[str, str], ...] = (
    ("version https://git-lfs", "not an image: a Git LFS pointer to it; run: git lfs pull"),
    ("/annex/objects/", "not an image: a git-annex pointer to it; run: git annex get"),
    ("[internetshortcut]", "not an image: a link to a web page; download the picture itself"),
    ("<svg", "not readable here: an SVG drawing; export it as PNG"),
    ("<!doctype html", "not an image: a web page (HTML), perhaps an error page; download it again"),
    ("<html", "not an image: a web page (HTML), perhaps an error page; download it again"),
    ("<?xml", "not an image: XML text, perhaps a server's error message; download it again"),
    ("data:image/", "not an image: an image written out as text (data URL)"),
    ('{"', "not an image: JSON text, perhaps a cloud placeholder or a server's error message"),
)
_NOT_COPIED = "not an image: nothing but zeros, so never copied or downloaded; copy it again"
NO_HEIF = "not readable yet: a HEIC image; pip install pillow-heif, then build again"


_PARTICULARS = re.compile(r" \([^()]*\d[^()]*\)$")


class UnreadableImage(Exception):
    """One file's failure: data for its row, never the end of a run.

    The text is for curators. Numbers that differ from file to file stand in brackets at its end, so
    that `reason_group` can count alike what is alike.
    """


def reason_group(reason: str) -> str:
    """Return a reason without the particulars in brackets at its end."""
    return _PARTICULARS.sub("", reason)


def worth_retrying(reason: str) -> bool:
    """Whether a file refused for `reason` may be readable though its bytes have not changed.

    Permissions, a link's target, a disk's error and an installed library leave no trace in size
    and time of change.
    """
    return reason.startswith(("cannot be opened", "changed while", "not readable yet"))


def reader(data: bytes) -> str | None:
    """Return Pillow's name of the reader for `data` (its first 64 bytes are enough), or None."""
    for name, starts in _STARTS:
        if data.startswith(starts):
            return name
    if data[:4] == b"RIFF":
        return "WEBP" if data[8:12] == b"WEBP" else None
    if data[:2] == b"BM":
        return "BMP" if data[14:18] in _BMP_LENGTHS else None
    if data[4:8] == b"ftyp":
        return _boxed(data)
    return "PPM" if _PORTABLE.match(data) else None


_BMP_LENGTHS = frozenset(struct.pack("<I", length) for length in _BMP_HEADERS)


def _boxed(data: bytes) -> str | None:
    if data[8:12] in (b"avif", b"avis") or b"avif" in data[16:64]:
        return "AVIF"
    return "HEIF" if data[8:12] in _HEIC else None


@functools.cache
def reads_heif() -> bool:
    """Whether HEIC can be decoded: pillow-heif is there and has been made known to Pillow."""
    try:
        library = importlib.import_module("pillow_heif")
    except ImportError:
        return False
    library.register_heif_opener()
    return True


def stranger(data: bytes) -> str | None:
    """Return the reason why bytes without a reader are no image, or None when they say nothing."""
    for start, reason in _STRANGERS:
        if data.startswith(start):
            return reason
    if data[:4] == b"RIFF":
        return f"not an image: a {'video' if data[8:12] == b'AVI ' else 'sound'} file"
    if data[4:8] == b"ftyp":
        raw = data[8:12] == b"crx "
        return RAW if raw else "not an image: a video, MP4 or QuickTime"
    if data[128:132] == b"DICM":
        return "not readable here: a DICOM image; export it as PNG or TIFF"
    if not data.strip(b"\0"):
        return _NOT_COPIED
    return _text(data[:4096])


def _text(head: bytes) -> str | None:
    codecs = ("utf-16",) if head[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8", "cp1252")
    for codec in codecs:
        # an incomplete last letter is the cut's doing
        text = head.decode(codec, "replace").rstrip("\ufffd").lstrip("\ufeff")
        if text and all(c.isprintable() or c in "\t\n\r\f" for c in text.replace("\ufffd", "\0")):
            foreign = sum(ord(c) > 126 for c in text)
            if codec != "cp1252" or 5 * foreign < len(text):  # most bytes are letters in cp1252
                return _kind_of_text(text.strip().lower())
    return None


def _kind_of_text(text: str) -> str:
    for mark, reason in _TEXTS:
        # a mark that opens a file counts; one inside does where it cannot mean anything else
        if text.startswith(mark) or (mark in ("<svg", "<html", "/annex/objects/") and mark in text):
            return reason
    return "not an image: text"


def raw_photograph(data: bytes) -> bool:
    """Whether TIFF bytes are a camera's RAW file: its first picture is only a small preview."""
    tags = dict(_tiff_tags(data))
    preview = tags.get(_NEW_SUBFILE_TYPE, 0) & 1 and _SUB_IFDS in tags and _MAKE in tags
    return data[8:10] == b"CR" or _DNG_VERSION in tags or bool(preview)


_NEW_SUBFILE_TYPE, _MAKE, _SUB_IFDS, _DNG_VERSION = 254, 271, 330, 50706


def _tiff_tags(data: bytes) -> Iterator[tuple[int, int]]:
    # classic TIFF only: no camera writes its RAW as BigTIFF
    order = "<" if data[:2] == b"II" else ">"
    if len(data) < 8 or data[2:4] not in (b"*\0", b"\0*"):
        return
    (start,) = struct.unpack_from(order + "I", data, 4)
    count = struct.unpack(order + "H", data[start : start + 2])[0] if start + 2 <= len(data) else 0
    for at in range(start + 2, start + 2 + 12 * count, 12):
        if at + 12 > len(data):
            return
        tag, kind, _, value = struct.unpack_from(order + "HHII", data, at)
        short = order == ">" and kind == 3
        yield tag, value >> 16 if short else value


def explain(data: bytes, kind: str, error: BaseException) -> str:
    """Return why `data`, which begins like an image of `kind`, could not be decoded."""
    if isinstance(error, PIL.Image.DecompressionBombError):
        return "too many pixels for a photograph"
    if isinstance(error, MemoryError):
        return "too big for the memory of this machine"
    zeros = len(data) - len(data.rstrip(b"\0"))
    if zeros > 4096 and 10 * zeros > len(data):
        return (
            f"damaged: not copied to its end (zeros in the last {zeros:,} of {len(data):,} bytes)"
        )
    total = _declared(data, kind)
    if total is not None and total > len(data):
        return f"damaged: cut short (at {len(data):,} of {total:,} bytes)"
    if _endless(data, kind) or "runcated" in str(error) or "not enough" in str(error):
        return f"damaged: cut short (it ends after {len(data):,} bytes)"
    if isinstance(error, UnidentifiedImageError):
        return _unopened(data, kind)
    return f"damaged: its {kind} data cannot be decoded"


def _unopened(data: bytes, kind: str) -> str:
    if kind == "AVIF":
        return "not readable here: an AVIF image of a kind that this Pillow cannot decode"
    text = _text(data[:4096])
    if text is not None and kind in ("PPM", "BMP", "GIF"):  # these begin with letters
        return text
    if kind == "TGA":
        return "not an image, or of a kind that is not known"
    if kind == "TIFF":
        return "damaged, or not readable here: a TIFF of a rare kind; save it as 8-bit TIFF or PNG"
    return f"not an image, or its beginning is damaged: it only starts like {kind}"


def zero_filled(data: bytes) -> str | None:
    """Return why a JPEG whose copying stopped half-way is refused, or None.

    Its length is right and the rest is zeros, which a decoder takes for pixels.
    """
    zeros = len(data) - len(data.rstrip(b"\0"))
    if zeros < 512 or b"\xff\xd9" in data[_scan(data) : len(data) - zeros]:
        return None
    return _unfinished(zeros, data)


def _unfinished(zeros: int, data: bytes) -> str:
    return f"damaged: not copied to its end ({zeros:,} of {len(data):,} bytes are zeros)"


def _declared(data: bytes, kind: str) -> int | None:
    # how many bytes the file itself says that it has
    if kind == "WEBP" and len(data) >= 8:
        return 8 + int(struct.unpack_from("<I", data, 4)[0])
    if kind == "BMP" and len(data) >= 6:
        return int(struct.unpack_from("<I", data, 2)[0])
    if kind == "ICO":
        return max((offset + size for offset, size in _icons(data)), default=22)
    return None


def _endless(data: bytes, kind: str) -> bool:
    if kind == "JPEG":
        scan = _scan(data)
        return scan == len(data) or (b"\xff\xda" in data[scan:] and b"\xff\xd9" not in data[scan:])
    if kind == "PNG":
        return b"IEND" not in data[-65536:]
    if kind == "GIF":
        return not data.rstrip(b"\0").endswith(b";")
    return kind in ("AVIF", "HEIF", "JPEG2000") and _boxes_walk_off(data)


def _scan(data: bytes) -> int:
    # where a JPEG's segments end and its first scan begins; the end of the bytes if none does
    at = 2
    while at + 4 <= len(data):
        length = int(struct.unpack_from(">H", data, at + 2)[0])
        if data[at] != 0xFF or length < 2 or data[at + 1] == 0xDA:
            return at
        at += 2 + length
    return len(data)


def _boxes_walk_off(data: bytes) -> bool:
    if data[:2] == b"\xff\x4f":  # a bare JPEG 2000 code stream
        return not data.rstrip(b"\0").endswith(b"\xff\xd9")
    at = 0
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if length < 8:  # to the end of the file, or 64 bits long: nothing to hold against it
            return not data.rstrip(b"\0").endswith(b"\xff\xd9") and length == 0
        at += length
    return at > len(data)


def _icons(data: bytes) -> Iterator[tuple[int, int]]:
    # offset and size in bytes of every picture in an icon file
    count = struct.unpack_from("<H", data, 4)[0] if len(data) >= 6 else 0
    for at in range(6, min(6 + 16 * count, len(data) - 15), 16):
        size, offset = struct.unpack_from("<II", data, at + 8)
        yield offset, size


def icon_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield width and height of the pictures inside an icon file.

    The file's own directory says at most 256 x 256, whatever the PNG inside holds.
    """
    for offset, _ in _icons(data):
        if data[offset : offset + 8] == b"\x89PNG\r\n\x1a\n" and len(data) >= offset + 24:
            yield struct.unpack_from(">II", data, offset + 16)
        elif len(data) >= offset + 12:
            width, height = struct.unpack_from("<ii", data, offset + 4)
            yield abs(width), abs(height)


def without_texts(data: bytes) -> bytes:
    """Return a PNG without its texts and colour profile, which may unpack to any size."""
    kept, at = [data[:8]], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length
        if data[at + 4 : at + 8] not in (b"zTXt", b"iTXt", b"tEXt", b"iCCP"):
            kept.append(data[at:end])
        at = end
    return b"".join(kept)
