"""A folder that nobody cleaned: every kind of file that curators bring, with what becomes of it.

Everything is made here from known colours, so that a picture is right or wrong and not merely
decoded: four quarters in four colours, or a few pixels whose values are written in the file.
"""

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from .writers import (
    ARITHMETIC,
    HEIC,
    chunk,
    deep,
    interlaced,
    png,
    tiff,
    with_segment,
    without_segment,
)

Colour = tuple[int, int, int]
RED, GREEN, BLUE, GOLD = (220, 30, 30), (30, 200, 60), (40, 60, 210), (230, 210, 40)
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
QUARTERS = (RED, GREEN, BLUE, GOLD)  # upper left, upper right, lower left, lower right
SIZE = (48, 32)
GREY = tuple((round(0.299 * r + 0.587 * g + 0.114 * b),) * 3 for r, g, b in QUARTERS)
# upright quarters of QUARTERS as stored, by EXIF orientation, after the figure in the standard
ORIENTED = {
    1: (RED, GREEN, BLUE, GOLD),
    2: (GREEN, RED, GOLD, BLUE),
    3: (GOLD, BLUE, GREEN, RED),
    4: (BLUE, GOLD, RED, GREEN),
    5: (RED, BLUE, GREEN, GOLD),
    6: (BLUE, RED, GOLD, GREEN),
    7: (GOLD, GREEN, BLUE, RED),
    8: (GREEN, GOLD, RED, BLUE),
}
CUT = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")


@dataclass(frozen=True)
class Kind:
    """One file and what must become of it.

    `reason` begins the reason of an unreadable one; empty for a readable one. `pixels` maps (x, y)
    of the upright picture to its colour, met within `tolerance`. `note` must occur in the note.
    """

    name: str
    data: bytes
    reason: str = ""
    size: tuple[int, int] | None = None
    pixels: tuple[tuple[tuple[int, int], Colour], ...] = ()
    tolerance: int = 0
    note: str | None = None


def quarters(size: tuple[int, int] = SIZE) -> PIL.Image.Image:
    """Return the picture of four colours."""
    width, height = size
    image = PIL.Image.new("RGB", size)
    for number, colour in enumerate(QUARTERS):
        x, y = number % 2 * (width // 2), number // 2 * (height // 2)
        image.paste(colour, (x, y, x + width // 2, y + height // 2))
    return image


def noise(width: int = 60, height: int = 40) -> PIL.Image.Image:
    """Return a picture that compresses badly, so that every tenth of its file carries pixels."""
    values = np.random.default_rng(5).integers(0, 256, (height, width, 3))
    return PIL.Image.fromarray(values.astype(np.uint8))


def rubbish_bytes(count: int) -> bytes:
    """Return bytes that mean nothing, the same every time."""
    return np.random.default_rng(count).bytes(count)


def saved(image: PIL.Image.Image, kind: str, **options: object) -> bytes:
    """Return `image` as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def good(
    name: str,
    data: bytes,
    colours: tuple[Colour, ...] = QUARTERS,
    *,
    size: tuple[int, int] = SIZE,
    tolerance: int = 0,
    note: str | None = None,
) -> Kind:
    """Return a kind that is readable and shows `colours` in its quarters."""
    width, height = size
    centres = [(x, y) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]
    pixels = tuple(zip(centres, colours, strict=True))
    return Kind(name, data, "", size, pixels, tolerance, note)


def row(name: str, data: bytes, *colours: Colour, note: str | None = None) -> Kind:
    """Return a readable kind one pixel high, with exactly these pixels."""
    pixels = tuple(((x, 0), colour) for x, colour in enumerate(colours))
    return Kind(name, data, "", (len(colours), 1), pixels, 0, note)


def grey(*values: int) -> tuple[Colour, ...]:
    """Return greys as colours."""
    return tuple((value, value, value) for value in values)


# ---- JPEG


def _cmyk() -> PIL.Image.Image:
    channels = [band.point(lambda value: 255 - value) for band in quarters().split()]
    return PIL.Image.merge("CMYK", (*channels, PIL.Image.new("L", SIZE, 0)))


def _ycck() -> bytes:
    # stored channels are what Pillow is given, upside down; Adobe's YCC is of the inks upside down
    inks = PIL.Image.merge("RGB", _cmyk().split()[:3]).convert("YCbCr").split()
    upside = [band.point(lambda value: 255 - value) for band in inks]
    data = saved(PIL.Image.merge("CMYK", (*upside, PIL.Image.new("L", SIZE, 0))), "JPEG")
    at = data.index(b"Adobe")
    return data[: at + 11] + b"\2" + data[at + 12 :]


def _exif(**tags: object) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    for name, value in tags.items():
        exif[{"orientation": 0x0112, "maker": 0x010F, "text": 0x010E}[name]] = value
    return exif


def jpegs() -> Iterator[Kind]:
    """Yield what calls itself a JPEG."""
    plain = saved(quarters(), "JPEG", quality=95, subsampling=0)
    near = {"tolerance": 6}
    yield good("jpeg/plain.jpg", plain, **near)
    yield good("jpeg/progressive.jpg", saved(quarters(), "JPEG", progressive=True), **near)
    yield good("jpeg/arithmetic.jpg", ARITHMETIC, **near)
    yield good("jpeg/grey.jpg", saved(quarters().convert("L"), "JPEG"), GREY, **near)
    yield good("jpeg/rgb inside.jpg", saved(quarters(), "JPEG", keep_rgb=True), **near)
    yield good("jpeg/cmyk.jpg", saved(_cmyk(), "JPEG", quality=95), tolerance=8)
    yield good("jpeg/ycck.jpg", _ycck(), tolerance=8)
    bare = without_segment(saved(_cmyk(), "JPEG", quality=95), 0xEE)
    yield good("jpeg/cmyk without Adobe's mark.jpg", bare, tolerance=8)
    yield good("jpeg/restart.jpg", saved(quarters(), "JPEG", restart_marker_blocks=1), **near)
    pair = saved(quarters(), "MPO", save_all=True, append_images=[noise(*SIZE)], quality=95)
    yield good("jpeg/two pictures.mpo.jpg", pair, tolerance=6, note="first of 2 frames")
    yield good("jpeg/garbage after the end.jpg", plain + rubbish_bytes(5000), **near)
    yield good("jpeg/video after the end.jpg", plain + b"\0\0\0\x18ftypmp42" + b"\0" * 9000, **near)
    yield good(
        "jpeg/huge exif.jpg", saved(quarters(), "JPEG", exif=_exif(text="x" * 65000)), **near
    )
    broken = with_segment(plain, 0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xee" * 40)
    yield good("jpeg/exif that points nowhere.jpg", broken, **near)
    rubbish = with_segment(plain, 0xE1, b"Exif\0\0" + b"\x12\x34\x56" * 30)
    yield good("jpeg/exif of rubbish.jpg", rubbish, **near)
    odd = saved(quarters(), "JPEG", exif=_exif(orientation=99))
    yield good("jpeg/orientation 99.jpg", odd, **near)
    icc = saved(quarters(), "JPEG", icc_profile=b"this is no colour profile" * 9)
    yield good("jpeg/broken colour profile.jpg", icc, **near)
    yield good("jpeg/comment.jpg", with_segment(plain, 0xFE, b"caf\xe9 \xff\xfe" * 9), **near)
    big = saved(noise(400, 300), "JPEG", quality=95)
    half = big[: len(big) // 2]
    yield Kind(
        "jpeg/half copied.jpg", half.ljust(len(big), b"\0"), "damaged: not copied to its end"
    )
    yield Kind("jpeg/no end.jpg", plain[:-2], "damaged: cut short")
    yield Kind("jpeg/header only.jpg", b"\xff\xd8\xff\xe0" + b"\0" * 40, "not an image, or")
    passes = _many_passes(saved(noise(800, 800), "JPEG", progressive=True))
    yield Kind("jpeg/passes without number.jpg", passes, "a decompression bomb")


def _many_passes(jpeg: bytes) -> bytes:
    # a scan needs no data to be counted: its header ten thousand times, a file of 100 kB
    at = jpeg.index(b"\xff\xda")
    (length,) = struct.unpack_from(">H", jpeg, at + 2)
    return jpeg[:at] + jpeg[at : at + 2 + length] * 10_000 + b"\xff\xd9"


def turned() -> Iterator[Kind]:
    """Yield the eight ways to hold a camera, in the four formats that carry EXIF."""
    ways = {
        "JPEG": {"quality": 95, "subsampling": 0},
        "PNG": {},
        "WEBP": {"lossless": True},
        "TIFF": {},
    }
    for kind, options in ways.items():
        for number, colours in ORIENTED.items():
            data = saved(quarters(), kind, exif=_exif(orientation=number), **options)
            size = SIZE if number < 5 else (SIZE[1], SIZE[0])
            tolerance = 6 if kind == "JPEG" else 0
            name = f"turned/{number}.{kind.lower()}"
            yield good(name, data, colours, size=size, tolerance=tolerance)


# ---- PNG


def pngs() -> Iterator[Kind]:
    """Yield what calls itself a PNG."""
    image = quarters()
    yield good("png/rgb.png", saved(image, "PNG"))
    yield good("png/grey.png", saved(image.convert("L"), "PNG"), GREY)
    yield good("png/interlaced.png", interlaced(np.asarray(image)))
    yield good("png/palette.png", saved(image.quantize(4), "PNG"))
    clear = image.convert("RGBA")
    clear.paste((9, 9, 9, 0), (0, 0, 24, 16))
    yield good("png/rgba.png", saved(clear, "PNG"), (WHITE, GREEN, BLUE, GOLD))
    half = PIL.Image.new("RGBA", SIZE, (0, 0, 0, 128))
    yield good("png/half clear.png", saved(half, "PNG"), grey(127, 127, 127, 127))
    pale = PIL.Image.merge("LA", (PIL.Image.new("L", SIZE, 90), PIL.Image.new("L", SIZE, 0)))
    yield good("png/la.png", saved(pale, "PNG"), (WHITE,) * 4)
    colours = b"".join(bytes(colour) for colour in QUARTERS)
    rows = b"".join(b"\0" + bytes((y // 16 * 2 + x // 24) for x in range(48)) for y in range(32))
    parts = (chunk(b"PLTE", colours), chunk(b"tRNS", b"\xff\0"))
    some = (RED, WHITE, BLUE, GOLD)
    yield good("png/palette with a clear colour.png", png(*SIZE, 8, 3, rows, *parts), some)
    yield row("png/1 bit.png", png(8, 1, 1, 0, b"\0\xa5"), *grey(255, 0, 255, 0, 0, 255, 0, 255))
    yield row("png/2 bit.png", png(4, 1, 2, 0, b"\0\x1b"), *grey(0, 85, 170, 255))
    yield row("png/4 bit.png", png(2, 1, 4, 0, b"\0\x2f"), *grey(34, 255))
    values = (0, 2560, 32768, 65535)
    yield row("png/16 bit.png", png(4, 1, 16, 0, deep(*values)), *grey(0, 10, 128, 255))
    yield row("png/16 bit rgb.png", png(1, 1, 16, 2, deep(0, 2560, 65535)), (0, 10, 255))
    yield row("png/16 bit la.png", png(2, 1, 16, 4, deep(2560, 65535, 7, 0)), *grey(10, 255))
    full = png(2, 1, 16, 6, deep(0, 2560, 65535, 65535, 1, 2, 3, 0))
    yield row("png/16 bit rgba.png", full, (0, 10, 255), WHITE)
    key = chunk(b"tRNS", struct.pack(">H", 2560))
    yield row("png/16 bit clear.png", png(2, 1, 16, 0, deep(2560, 0), key), WHITE, BLACK)
    key = chunk(b"tRNS", struct.pack(">H", 7))
    yield row("png/grey clear.png", png(2, 1, 8, 0, b"\0\7\x08", key), WHITE, *grey(8))
    key = chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))
    one = png(2, 1, 8, 2, b"\0\1\2\3\1\2\4", key)
    yield row("png/rgb clear.png", one, WHITE, (1, 2, 4))
    key = chunk(b"tRNS", struct.pack(">HHH", 0, 2560, 65535))
    yield row("png/16 bit rgb clear.png", png(1, 1, 16, 2, deep(0, 2560, 65535), key), WHITE)
    frames = [quarters(), noise(*SIZE), noise(*SIZE)]
    moving = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    yield good("png/animated.png", moving, note="first of 3 frames")
    yield row("png/one pixel.png", png(1, 1, 8, 0, b"\0\x40"), *grey(64))
    long = PIL.Image.new("RGB", (30_000, 20), RED)
    yield good("png/long.png", saved(long, "PNG"), (RED,) * 4, size=(30_000, 20))
    yield from _png_trouble()


def _png_trouble() -> Iterator[Kind]:
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(60_000_000), 9))
    yield row("png/text bomb.png", png(1, 1, 8, 0, b"\0\7", text), *grey(7), note="texts left out")
    profile = chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(60_000_000), 9))
    bomb = png(1, 1, 8, 0, b"\0\7", profile)
    yield row("png/profile bomb.png", bomb, *grey(7), note="texts left out")
    bad = chunk(b"iCCP", b"name\0\0this is not compressed")
    yield row("png/broken profile.png", png(1, 1, 8, 0, b"\0\7", bad), *grey(7))
    wrong = chunk(b"tEXt", b"Title\0hello")[:-4] + b"\0\0\0\0"
    text = png(1, 1, 8, 0, b"\0\7", wrong)
    yield row("png/wrong checksum of a text.png", text, *grey(7), note="texts left out")
    exif = chunk(b"tEXt", b"Raw profile type exif\0\nexif\n  9\nno digits at all\n")
    rubbish = png(1, 1, 8, 0, b"\0\7", exif)
    yield row("png/exif of rubbish.png", rubbish, *grey(7), note="EXIF data is damaged")
    plain = saved(noise(), "PNG")
    yield Kind("png/no end mark.png", plain[:-12], "", (60, 40))
    yield Kind("png/garbage after the end.png", plain + rubbish_bytes(3000), "", (60, 40))
    middle = len(plain) // 2
    bit = plain[:middle] + bytes((plain[middle] ^ 16,)) + plain[middle + 1 :]
    yield Kind("png/one bit wrong.png", bit, "damaged: its PNG data cannot be decoded")
    lines = plain.replace(b"\r\n", b"\n")
    yield Kind("png/sent as text.png", lines, "not an image, or its beginning is damaged")
    yield Kind("png/no width.png", png(0, 4, 8, 0, b"\0"), "not an image, or")
    flat = saved(PIL.Image.new("1", (9400, 9400)), "PNG")
    yield Kind("png/bomb of 88 megapixels.png", flat, "a decompression bomb")
    claims = png(60_000, 60_000, 8, 2, b"\0")
    yield Kind("png/claims 3,600 megapixels.png", claims, "too many pixels")


# ---- TIFF, GIF, WebP and the rest


def tiffs() -> Iterator[Kind]:
    """Yield what calls itself a TIFF."""
    image = quarters()
    for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "tiff_lzma", "zstd"):
        yield good(f"tiff/{name}.tif", saved(image, "TIFF", compression=name))
    packed = saved(image, "TIFF", compression="jpeg", quality=95)
    yield good("tiff/jpeg inside.tif", packed, tolerance=12)
    fax = saved(image.convert("L").point(lambda v: 255 * (v > 110)).convert("1"), "TIFF",
                compression="group4")  # fmt: skip
    yield good("tiff/fax.tif", fax, tuple(WHITE if g[0] > 110 else BLACK for g in GREY))
    yield good("tiff/cmyk.tif", saved(_cmyk(), "TIFF"))
    yield good("tiff/palette.tif", saved(image.quantize(4), "TIFF"))
    yield good("tiff/big.tif", saved(image, "TIFF", big_tiff=True))
    pages = saved(image, "TIFF", save_all=True, append_images=[noise(*SIZE)])
    yield good("tiff/two pages.tif", pages, note="first of 2 frames")
    ramp = np.array([[0, 2560, 32768, 65535]], np.uint16)
    for order, name in (("<", "intel"), (">", "motorola")):
        data = tiff(ramp, 1, order=order)
        yield row(f"tiff/16 bit {name}.tif", data, *grey(0, 10, 128, 255))
        data = tiff(np.array([[[0, 2560, 65535]]], np.uint16), 2, order=order)
        yield row(f"tiff/16 bit rgb {name}.tif", data, (0, 10, 255))
    yield row("tiff/white is zero.tif", tiff(np.array([[0, 255]], np.uint8), 0), *grey(255, 0))
    yield row(
        "tiff/float.tif", tiff(np.array([[0, 0.5, 1]], np.float32), 1, sample=3), *grey(0, 128, 255)
    )
    heights = np.array([[-50, np.nan, np.inf, 150]], np.float32)
    note = "values from -50 to 150 shown as black to white"
    yield row("tiff/heights.tif", tiff(heights, 1, sample=3), *grey(0, 0, 255, 255), note=note)
    signed = np.array([[-1000, 0, 1000]], np.int32)
    yield row("tiff/signed.tif", tiff(signed, 1, sample=2), *grey(0, 128, 255), note="values from")
    clear = np.array([[[100, 0, 0, 128], [9, 9, 9, 0]]], np.uint8)
    yield row("tiff/clear.tif", tiff(clear, 2, extra=2), (177, 127, 127), WHITE)
    once = np.array([[[100, 0, 0, 128], [0, 0, 0, 0]]], np.uint8)
    yield row("tiff/premultiplied.tif", tiff(once, 2, extra=1), (227, 127, 127), WHITE)
    yield from _tiff_trouble()


def _tiff_trouble() -> Iterator[Kind]:
    small = np.zeros((4, 4, 3), np.uint8)
    dng = tiff(small, 2, tags=((50706, 4, 1),))
    yield Kind("tiff/raw photograph.dng.tif", dng, "not readable here: a camera's RAW file")
    preview = tiff(small, 2, tags=((254, 4, 1), (271, 4, 8), (330, 4, 8)))
    yield Kind("tiff/raw with a preview.nef", preview, "not readable here: a camera's RAW file")
    canon = b"II*\0\x10\0\0\0CR\2\0" + b"\0" * 60
    yield Kind("tiff/raw of another maker.cr2", canon, "not readable here: a camera's RAW file")
    floats = tiff(np.zeros((2, 2, 3), np.float32), 2, sample=3)
    yield Kind("tiff/float rgb.tif", floats, "damaged, or not readable here: a TIFF")
    loop = saved(quarters(), "TIFF")
    (at,) = struct.unpack_from("<I", loop, 4)
    end = at + 2 + 12 * struct.unpack_from("<H", loop, at)[0]
    loop = loop[:end] + struct.pack("<I", at) + loop[end + 4 :]
    yield good("tiff/pages in a ring.tif", loop)
    vast = tiff(small, 2)
    for tag in (256, 257):
        at = vast.rindex(struct.pack("<HHI", tag, 4, 1)) + 8
        vast = vast[:at] + struct.pack("<I", 60_000) + vast[at + 4 :]
    yield Kind("tiff/claims 3,600 megapixels.tif", vast, "too many pixels")
    nowhere = b"II*\0\xff\xff\xff\x7f" + b"\0" * 100
    yield Kind("tiff/directory outside.tif", nowhere, "damaged")


def moving() -> Iterator[Kind]:
    """Yield GIF and WebP."""
    image = quarters().quantize(4)
    plain = saved(image, "GIF")
    yield good("gif/still.gif", plain)
    frames = [noise(*SIZE).quantize(16), noise(*SIZE).quantize(8)]
    film = saved(image, "GIF", save_all=True, append_images=frames)
    yield good("gif/animated.gif", film, note="first of 3 frames")
    yield good("gif/second frame cut.gif", film[: len(film) * 2 // 3])
    yield good("gif/garbage after the end.gif", plain + rubbish_bytes(2000))
    clear = saved(image, "GIF", transparency=image.getpixel((30, 2)))
    yield good("gif/clear.gif", clear, (RED, WHITE, BLUE, GOLD))
    vast = plain[:6] + struct.pack("<HH", 65535, 65535) + plain[10:]
    yield Kind("gif/claims 4,295 megapixels.gif", vast, "too many pixels")
    at = plain.index(b",\0\0\0\0") + 5
    wide = plain[:at] + struct.pack("<HH", 60_000, 60_000) + plain[at + 4 :]
    yield Kind("gif/frame beyond the screen.gif", wide, "too many pixels")
    one = plain[plain.index(b",\0\0\0\0") : -1]
    many = plain[:-1] + one * 3000 + b";"
    yield good("gif/3,001 frames.gif", many, note="first of more than 1,000 frames")
    yield good("webp/lossy.webp", saved(quarters(), "WEBP", quality=95), tolerance=12)
    half = quarters().convert("RGBA")
    half.putalpha(0)
    yield good("webp/clear.webp", saved(half, "WEBP", lossless=True), (WHITE,) * 4)
    film = saved(
        quarters(), "WEBP", save_all=True, append_images=[noise(*SIZE)], lossless=True, duration=90
    )
    yield good("webp/animated.webp", film, note="first of 2 frames")


def others() -> Iterator[Kind]:
    """Yield the rarer formats."""
    image = quarters()
    yield good("bmp/plain.bmp", saved(image, "BMP"))
    yield good("bmp/palette.bmp", saved(image.quantize(4), "BMP"))
    data = saved(image.transpose(PIL.Image.Transpose.FLIP_TOP_BOTTOM), "BMP")
    data = data[:22] + struct.pack("<i", -SIZE[1]) + data[26:]
    yield good("bmp/top first.bmp", data)
    icon = saved(quarters((64, 64)), "ICO", sizes=[(16, 16), (64, 64)])
    yield good("icon.ico", icon, size=(64, 64), tolerance=2)
    flat = saved(PIL.Image.new("1", (9400, 9400)), "PNG")
    head = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(flat), 22)
    yield Kind("icon with a bomb.ico", head + flat, "a decompression bomb")
    for kind, suffix in (("PCX", "pcx"), ("SGI", "sgi"), ("TGA", "tga"), ("QOI", "qoi")):
        yield good(f"rare/picture.{suffix}", saved(image, kind))
    yield good("rare/picture.jp2", saved(image, "JPEG2000"))
    yield good("rare/picture.j2k", saved(image, "JPEG2000", no_jp2=True))
    yield good("rare/packed.tga", saved(image, "TGA", compression="tga_rle"))
    yield good("rare/picture.ppm", saved(image, "PPM"))
    yield row("rare/words.pgm", b"P2 # comment\n2 1 1000\n500 1000\n", *grey(128, 255))
    yield row("rare/16 bit.pgm", b"P5 2 1 65535\n\x0a\x00\xff\xff", *grey(10, 255))
    if "AVIF" in PIL.Image.SAVE or _knows_avif():
        yield good("rare/picture.avif", saved(image, "AVIF", quality=95), tolerance=12)
    else:
        yield Kind("rare/picture.avif", b"\0\0\0\x1cftypavif" + b"\0" * 40, "not readable here")


def _knows_avif() -> bool:
    PIL.Image.init()
    return "AVIF" in PIL.Image.SAVE


def heic() -> Kind:
    """Return the telephone's picture: readable where pillow-heif is installed."""
    try:
        import pillow_heif  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        return Kind("telephone.heic", HEIC, "not readable yet: a HEIC image; pip install")
    return good("telephone.heic", HEIC, tolerance=12)


def cut() -> Iterator[Kind]:
    """Yield a file of each format that ends at every tenth of its length."""
    for kind in CUT:
        data = saved(noise(), kind, **({"quality": 90} if kind == "JPEG" else {}))
        for tenth in range(1, 10):
            yield Kind(
                f"cut/{tenth}.{kind.lower()}", data[: len(data) * tenth // 10], "damaged: cut"
            )


# ---- what is no image at all


def strangers() -> Iterator[Kind]:
    """Yield files under an image's name that hold something else."""
    box = b"\0\0\0\x18ftyp%s\0\0\0\0isommp42" + b"\0" * 99
    html = b"<!DOCTYPE html>\n<html><title>404 Not Found</title></html>"
    for name, data, reason in (
        ("empty.jpg", b"", "empty file"),
        ("zeros.jpg", bytes(70_000), "not an image: nothing but zeros"),
        ("text.jpg", "Caf\u00e9 du coin, 3 images".encode(), "not an image: text"),
        ("old text.jpg", "Caf\u00e9 du coin, 3 images".encode("latin-1"), "not an image: text"),
        ("wide text.jpg", "Bilder".encode("utf-16"), "not an image: text"),
        ("BMW.bmp", b"BMW 320d, photographs to follow", "not an image: text"),
        ("P1 list.pgm", b"P1 see the list below\n", "not an image: text"),
        ("error page.jpg", html, "not an image: a web page (HTML)"),
        ("error page too.png", b"\n  <html lang=fr>\xe9t\xe9", "not an image: a web page (HTML)"),
        ("error.jpg", b"<?xml version='1.0'?><Error>AccessDenied</Error>", "not an image: XML"),
        ("error.png", b'{"error": "quota exceeded"}', "not an image: JSON text"),
        ("pointer.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n",
         "not an image: a Git LFS pointer"),
        ("annexed.jpg", b"/annex/objects/SHA256E-s31390--f50d", "not an image: a git-annex"),
        ("drive.jpg", b'{"doc_id": "1x", "resource_key": ""}', "not an image: JSON text, perhaps"),
        ("icloud.jpg", b"bplist00\xd4\1\2\3\4NSURLNameKey", "not an image: a property list"),
        ("link.jpg", b"[InternetShortcut]\r\nURL=http://example.org/a.jpg\r\n", "not an image: a"),
        ("data url.png", b"data:image/png;base64,iVBORw0KGgo=", "not an image: an image written"),
        ("side file.jpg", b"\0\5\x16\7\0\2\0\0Mac OS X", "not an image: a Mac's side file"),
        ("drawing.png", b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>",
         "not readable here: an SVG drawing"),
        ("document.jpg", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "not an image: a PDF document"),
        ("script.tif", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image: a"),
        ("layers.jpg", b"8BPS\0\1" + b"\0" * 40, "not readable here: a Photoshop document"),
        ("fuji.raf", b"FUJIFILMCCD-RAW 0201", "not readable here: a camera's RAW file"),
        ("canon.cr3", box % b"crx ", "not readable here: a camera's RAW file"),
        ("film.jpg", box % b"isom", "not an image: a video"),
        ("live photo.jpg", box % b"qt  ", "not an image: a video"),
        ("film.png", b"RIFF\0\1\0\0AVI LIST", "not an image: a video"),
        ("film.webp", b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x1f", "not an image: a video"),
        ("sound.jpg", b"ID3\4\0\0\0\0\0\x23TSSE", "not an image: a sound"),
        ("modern.jxl", b"\xff\x0a\x7a\x1f\0\x90\1\0", "not readable here: a JPEG XL image"),
        ("packed.jpg", b"PK\3\4\x14\0\0\0\x08\0", "not an image: a ZIP archive"),
        ("archive.jpg", b"\x1f\x8b\x08\0\0\0\0\0", "not an image: an archive"),
        ("program.jpg", b"MZ\x90\0\3\0\0\0", "not an image: a program"),
        ("rubbish.jpg", np.random.default_rng(2).bytes(4000), "not an image, or of a kind"),
    ):  # fmt: skip
        yield Kind(f"strangers/{name}", data, reason)


def misnamed() -> Iterator[Kind]:
    """Yield images under another format's name, or under none."""
    image = quarters()
    note = "named like JPEG, but PNG inside"
    yield good("misnamed/png.jpg", saved(image, "PNG"), note=note)
    jpeg = saved(image, "JPEG", quality=95, subsampling=0)
    yield good("misnamed/jpeg.PNG", jpeg, tolerance=6, note="named like PNG, but JPEG inside")
    yield good("misnamed/webp.gif", saved(image, "WEBP", lossless=True), note="but WEBP inside")
    yield good("misnamed/no suffix", saved(image, "PNG"))
    yield good("misnamed/unknown.suffix", saved(image, "BMP"))
    yield good("misnamed/SHOUTED.TIFF", saved(image, "TIFF"))


def names() -> Iterator[Kind]:
    """Yield good pictures under names that programs stumble over."""
    picture = saved(quarters(), "PNG")
    long = "n" * 251 + ".png"
    for name in (
        "\u5199\u771f \u6771\u4eac.png", "\u0635\u0648\u0631\u0629.png", "\U0001f98a\u200d.png",
        "two\nlines.png", "tab\there.png", "'quoted\" `name`.png", "-rf.png", " space .png",
        "100%25 %s {x}.png", "back\\slash.png", "<script>.png", "$(reboot);.png", "\x1b[31mred.png",
        "caf\u00e9.png", "cafe\u0301.png", "caf\\xe9.png", os.fsdecode(b"caf\xe9.png"),
        os.fsdecode(b"\xff\xfe.png"), long, "/".join(["deep"] * 300) + "/below.png",
        "folder.jpg/inside.png",
    ):  # fmt: skip
        yield good(f"names/{name}", picture)


def kinds() -> list[Kind]:
    """Return every kind of file whose bytes are what matters."""
    parts = (jpegs, turned, pngs, tiffs, moving, others, cut, strangers, misnamed, names)
    return [heic(), *(kind for part in parts for kind in part())]


# ---- what is no ordinary file


@dataclass(frozen=True)
class Oddity:
    """Something in a folder that is no ordinary file. `status` None: no row is made of it."""

    name: str
    make: Callable[[Path], None]
    status: str | None
    reason: str = ""


def _socket(path: Path) -> None:
    # the system takes at most 108 bytes of a socket's path
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(path.parent)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)


def _giant(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(3 << 30)  # a hole: no byte of it is on the disk


def _forbidden(path: Path) -> None:
    path.write_bytes(saved(quarters(), "PNG"))
    path.chmod(0)


def oddities(outside: Path) -> list[Oddity]:
    """Return what else a folder may hold; `outside` is a folder beside it with `good.png`."""
    closed = "ok" if os.geteuid() == 0 else "unreadable"
    link = "cannot be opened: a link"
    return [
        Oddity("odd/pipe.jpg", os.mkfifo, "unreadable", "cannot be opened: a named pipe"),
        Oddity("odd/pipe", os.mkfifo, None),
        Oddity("odd/socket.jpg", _socket, "unreadable", "cannot be opened: a socket"),
        Oddity("odd/device.jpg", lambda p: p.symlink_to("/dev/zero"), "unreadable",
               "cannot be opened: a device"),
        Oddity("odd/to nowhere.jpg", lambda p: p.symlink_to("gone.jpg"), "unreadable", link),
        Oddity("odd/to itself.jpg", lambda p: p.symlink_to(p.name), "unreadable", link),
        Oddity("odd/to nowhere", lambda p: p.symlink_to("gone"), None),
        Oddity("odd/ring", lambda p: p.symlink_to(".."), None),
        Oddity("odd/outside.png", lambda p: p.symlink_to(outside / "good.png"), "ok"),
        Oddity("odd/secret.jpg", lambda p: p.symlink_to("/etc/passwd"), "unreadable",
               "not an image: text"),
        Oddity("odd/giant.jpg", _giant, "unreadable", "too many bytes for a photograph"),
        Oddity("odd/forbidden.png", _forbidden, closed, "" if closed == "ok" else "cannot be"),
        Oddity("odd/.hidden.png", lambda p: p.write_bytes(b"x") and None, None),
        Oddity("odd/labels.csv", lambda p: p.write_bytes(b"path,name\n") and None, None),
        Oddity("odd/sound.wav", lambda p: p.write_bytes(b"RIFF\0\0\0\0WAVE") and None, None),
    ]  # fmt: skip


def plant(folder: Path) -> dict[str, tuple[str, str] | None]:
    """Fill `folder` and return (status, reason) of every path in it; None: no row is expected."""
    expected: dict[str, tuple[str, str] | None] = {}
    for kind in kinds():
        path = folder / kind.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(kind.data)
        expected[str(path)] = ("unreadable" if kind.reason else "ok", kind.reason)
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "good.png").write_bytes(saved(quarters(), "PNG"))
    (folder / "odd").mkdir()
    for oddity in oddities(outside):
        path = folder / oddity.name
        oddity.make(path)
        expected[str(path)] = None if oddity.status is None else (oddity.status, oddity.reason)
    return expected
