"""Bytes of image files that Pillow cannot write."""

import base64
import struct
import zlib

import numpy as np
import numpy.typing as npt

# QUARTERS by arithmetic coding, which Pillow reads and cannot write (made with jpegtran)
ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsL"
    "EBYQERMUFRUVDA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"
    "FBQUFBQUFBQUFBQUFBQUFBQUFBT/yQARCAAgADADAREAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/ANH0"
    "57/aycJSLF7h2Ct9CThlDUDD3gZBsKgK4XXrvWDU2wadjt6I6K2wjDPqvKT/2Q=="
)
# QUARTERS as a telephone would keep them (made with pillow-heif)
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAA"
    "AAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABoQABAAAAAAAAANkAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABo"
    "dmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEA"
    "GEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAA"
    "AwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAADAAAAAB"
    "AAAAIAAAAAH////wAAAAAv///+AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAAOFt"
    "ZGF0AAAA1SgBrwngITip//It3/8THZe5ipKoEHmj7J4g//csKDXCQ2JnhgkJLAf6FEB6TOX+l0+QMM8QwGlUUJm//K2J"
    "+bZzmY5KL7xWxR/1iw/NS7BgNdBCp29KZ3MEIfkPbRLcvbQ/T853Nfz96MqFquZdk+7b9tqrNQYkGBJbnYjDnh5v0/T5"
    "hWHz96MqFqwNZHvj/x7DTV5ZikmVLR65kFbth6aqltsx2ObNlWIM80ewJ0xYGBDaC60hePWHH0PwTTYAVimxyFb+Gnwm"
    "qEZa5D0RbXAV6ObRgA=="
)


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return one part of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes, interlace: int = 0
) -> bytes:
    """Return a PNG of raw rows, each with its filter byte."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    parts = [chunk(b"IHDR", head), *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def deep(*values: int) -> bytes:
    """Return one unfiltered PNG row of 16-bit values."""
    return b"\0" + struct.pack(f">{len(values)}H", *values)


def interlaced(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return pixels (h, w, 3) as an interlaced PNG: seven passes, coarse to fine."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
              (0, 1, 1, 2))  # fmt: skip
    rows = b""
    for x, y, dx, dy in passes:
        rows += b"".join(b"\0" + line.tobytes() for line in pixels[y::dy, x::dx])
    return png(pixels.shape[1], pixels.shape[0], 8, 2, rows, interlace=1)


def tiff(
    values: npt.NDArray[np.generic],
    photometric: int,
    *,
    sample: int = 1,
    extra: int | None = None,
    order: str = "<",
    tags: tuple[tuple[int, int, int], ...] = (),
) -> bytes:
    """Return values (h, w) or (h, w, channels) as an uncompressed TIFF.

    `sample` is 1 for unsigned, 2 for signed, 3 for floating values; `extra` says what a channel
    beyond the colours is; `tags` are further (tag, type, value) of the directory.
    """
    height, width, channels = (*values.shape, 1)[:3]
    bits = 8 * values.dtype.itemsize
    data = np.ascontiguousarray(values, values.dtype.newbyteorder(order)).tobytes()
    lists = struct.pack(f"{order}{channels}H", *[bits] * channels)
    lists += struct.pack(f"{order}{channels}H", *[sample] * channels)
    lists = lists.ljust(16, b"\0")
    # type 3 is 16 bits, type 4 is 32 bits; two values of 16 bits stand in the entry itself
    inline = channels > 2
    entries = [(256, 4, 1, width), (257, 4, 1, height), (259, 3, 1, 1), (262, 3, 1, photometric)]
    entries += [(258, 3, channels, 8 if inline else bits), (273, 4, 1, 8 + len(lists))]
    entries += [(277, 3, 1, channels), (278, 4, 1, height), (279, 4, 1, len(data))]
    entries += [(339, 3, channels, 8 + 2 * channels if inline else sample)]
    entries += [(338, 3, 1, extra)] if extra is not None else []
    entries += [(tag, kind, 1, value) for tag, kind, value in tags]
    body = lists + data
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(body))
    found = struct.pack(order + "H", len(entries))
    for tag, kind, count, value in sorted(entries):
        short = kind == 3 and count <= 2
        packed = struct.pack(order + ("HH" if short else "I"), *([value] * (2 if short else 1)))
        found += struct.pack(order + "HHI", tag, kind, count) + packed
    return head + body + found + b"\0\0\0\0"


def segment(marker: int, body: bytes) -> bytes:
    """Return one segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """Return a JPEG with one more segment at its beginning."""
    return jpeg[:2] + segment(marker, body) + jpeg[2:]


def without_segment(jpeg: bytes, marker: int) -> bytes:
    """Return a JPEG without its first segment of a marker."""
    at = jpeg.index(bytes((0xFF, marker)))
    (length,) = struct.unpack_from(">H", jpeg, at + 2)
    return jpeg[:at] + jpeg[at + 2 + length :]
