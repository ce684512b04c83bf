"""What crosses to the browser and back: points, columns, selections (see docs/protocol.md).

Everything is in wire order, which is level-of-detail order: the rows that stand for a coarse grid
cell come first, so that a prefix cut at a level is an even sample of the map. Python keeps the
permutation; the browser never sees an item id.
"""

import base64
import binascii
import hashlib
import json
import struct
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.fields import DECIDED, CodeColumn, ValueColumn, title
from curation.viewer import palette
from curation.viewer.palette import NONE_COLOR, color, ramp
from embeddings.errors import CurationError
from embeddings.schema import NOISE, Atlas, Float32, Int32

FORMAT = 2  # the layout of the bytes *and* the wire order; a browser may keep both for ever
MAGIC = b"CMAP"
PREAMBLE = struct.Struct("<4sIII")  # magic, format, bytes of the header, 0
ALIGN = 8  # columns start at multiples of this, so that typed arrays need no copy
NONE_U16, NONE_U32 = 0xFFFF, 0xFFFFFFFF  # "no cluster", "no label"
FULL_SCALE = 65535  # coordinates are integers 0..65535, one scale for all axes
FIRST_GRID_BITS = 2  # level 0 is a grid of 4 x 4 cells, every level has half the cell
LEVELS = 15  # the last level is the full 65536 x 65536; what still shares a cell comes after
BINS = 48  # of the histogram under a ramp
COLORED = (2, 98)  # percentiles that the ramp spans: a stray value must not grey out the rest
ORDERS_KEPT = 8  # permutations in RAM: 4 MB each at 1,000,000 items

UInt16 = npt.NDArray[np.uint16]
UInt64 = npt.NDArray[np.uint64]
Column = tuple[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class RowSelection:
    """What was selected, as sorted row numbers (m,) int32 of the atlas `atlas_version`."""

    rows: Int32
    atlas_version: str

    def __len__(self) -> int:
        return len(self.rows)


# ---- wire order -----------------------------------------------------------------------------


def quantise(xy: Float32) -> UInt16:
    """Return coordinates as integers 0..65535, (n, d) uint16: one origin and scale for all axes."""
    if not np.isfinite(xy).all():
        raise ValueError("xy must be finite")
    if not len(xy):
        return np.zeros(xy.shape, np.uint16)
    low = xy.min(axis=0).astype(np.float64)
    span = float((xy.max(axis=0) - low).max()) or 1.0
    grid: UInt16 = np.floor((xy - low) / span * FULL_SCALE + 0.5).astype(np.uint16)
    return grid


def wire_order(xy: Float32) -> tuple[Int32, list[int]]:
    """Return the row number of each wire index, (n,) int32, and where each level starts.

    A row's level is the first grid level at which it represents its cell; one random row (the
    same on every machine) represents each occupied cell, and goes on doing so at finer levels.
    ``order[: offsets[level + 1]]`` is one row for every occupied cell of that level's grid.
    Rows of one level follow the Morton curve, so that a selected region compresses well.
    """
    n = len(xy)
    morton = morton_of(xy)
    along = np.argsort(morton, kind="stable")
    morton = morton[along]
    rank = _shuffled(along.astype(np.uint64))
    level = np.full(n, LEVELS, np.uint8)
    for depth in reversed(range(LEVELS)):
        level[_representatives(morton >> np.uint32(28 - 2 * depth), rank)] = depth
    by_level = np.argsort(level, kind="stable")
    offsets = np.searchsorted(level[by_level], np.arange(LEVELS + 2)).tolist()
    return along[by_level].astype(np.int32), offsets


def morton_of(xy: Float32) -> npt.NDArray[np.uint32]:
    """Return each place's number along the Morton curve over the quantised first two axes, (n,)."""
    grid = quantise(xy[:, :2]).astype(np.uint32)
    return _spread(grid[:, 0]) | (_spread(grid[:, 1]) << np.uint32(1))


def _spread(values: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Put a zero bit between the 16 low bits: half of a Morton code."""
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        values = (values | (values << np.uint32(shift))) & np.uint32(mask)
    return values


def _shuffled(numbers: UInt64) -> UInt64:
    """Map numbers one to one to random-looking ones (SplitMix64, Steele et al., OOPSLA 2014).

    Not NumPy's generator: its streams may change between versions, and this order may not.
    """
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _representatives(cell: npt.NDArray[np.uint32], rank: UInt64) -> npt.NDArray[np.bool_]:
    """Mark, in rows sorted by cell, the one of lowest rank in each cell."""
    if not len(cell):
        return np.zeros(0, np.bool_)
    starts = np.flatnonzero(np.r_[True, cell[1:] != cell[:-1]])
    lowest = np.minimum.reduceat(rank, starts)
    mine: npt.NDArray[np.bool_] = rank == np.repeat(lowest, np.diff(np.r_[starts, len(cell)]))
    return mine


_orders: OrderedDict[tuple[str, int], tuple[Int32, list[int]]] = OrderedDict()
_orders_lock = Lock()


def order_of(atlas: Atlas) -> tuple[Int32, list[int]]:
    """Return `wire_order` of an atlas, kept for the last few versions."""
    key = (atlas.version, len(atlas))
    with _orders_lock:
        if key in _orders:
            _orders.move_to_end(key)
            return _orders[key]
    made = wire_order(atlas.xy)
    made[0].flags.writeable = False
    with _orders_lock:
        _orders[key] = made
        while len(_orders) > ORDERS_KEPT:
            _orders.popitem(last=False)
    return made


def rows_at(atlas: Atlas, wire_indices: npt.ArrayLike) -> Int32:
    """Return the row numbers behind wire indices, (m,) int32.

    Raises
    ------
    CurationError
        When an index is not on this atlas.
    """
    indices = np.asarray(wire_indices, dtype=np.int64)
    if indices.size and not 0 <= indices.min() <= indices.max() < len(atlas):
        raise CurationError(
            f"wire index out of range: expected 0 to {len(atlas) - 1}; reload the page"
        )
    return order_of(atlas)[0][indices]


# ---- down: points and columns ---------------------------------------------------------------


def pack_points(atlas: Atlas) -> bytes:
    """Return the geometry of an atlas as wire bytes; they never change for one version."""
    order, levels = order_of(atlas)
    grid = quantise(atlas.xy)
    numbers = atlas.clusters[atlas.clusters != NOISE]
    codes = np.where(atlas.cluster == NOISE, NOISE, np.searchsorted(numbers, atlas.cluster))
    codes = codes.astype(np.int32)
    counts = np.bincount(codes[codes >= 0], minlength=len(numbers))
    header = {
        "kind": "points",
        "version": atlas.version,
        "n": len(atlas),
        "extent": grid.max(axis=0).tolist() if len(atlas) else [0] * atlas.dims,
        "levels": levels,
        "legend": _legend([str(number) for number in numbers], counts, range(len(numbers))),
        "none": _none("noise", int((codes == NOISE).sum())),
    }
    axes: list[Column] = [("xyz"[axis], grid[order, axis]) for axis in range(atlas.dims)]
    return pack(header, [*axes, ("cluster", _encoded(codes[order], len(numbers)))])


def pack_column(
    atlas: Atlas,
    column: CodeColumn | ValueColumn,
    *,
    since: int | None = None,
    changed: npt.ArrayLike | None = None,
    journal: str = "",
) -> bytes:
    """Return a column as wire bytes: whole, or, of what people decided, what changed.

    Parameters
    ----------
    since : int, optional
        The sequence number that the reader has; with `changed` makes a delta.
    changed : array of int, optional
        Row numbers whose value may differ from what it was at `since`. Where the delta would be
        longer than the whole column, the whole column is sent.
    journal : str
        Whose `seq` it is: the dataset's id. A reader of another journal needs the whole column.
    """
    if len(column) != len(atlas):
        raise ValueError(f"{column.field} must have shape ({len(atlas)},), got ({len(column)},)")
    order, _ = order_of(atlas)
    header = {
        "kind": "column",
        "field": column.field,
        "version": atlas.version,
        "seq": column.seq,
        "n": len(atlas),
    }
    if journal:
        header["journal"] = journal
    if isinstance(column, ValueColumn):
        values, described = _described_values(column)
        return pack({**header, **described, "form": "full"}, [("values", values[order])])
    header |= _described_codes(column)
    size = len(column.legend) if column.coding == "category" else 0
    whole = since is None or changed is None or 3 * np.size(changed) > len(atlas)
    if whole or column.field not in DECIDED:
        return pack({**header, "form": "full"}, [("codes", _encoded(column.codes[order], size))])
    touched = np.zeros(len(atlas), np.bool_)
    touched[np.asarray(changed, dtype=np.int64)] = True
    wire = np.flatnonzero(touched[order]).astype(np.uint32)
    return pack(
        {**header, "form": "delta", "since": since, "changed": len(wire)},
        [("indices", wire), ("codes", _encoded(column.codes[order[wire]], size))],
    )


def etag(*parts: object) -> str:
    """Return a strong HTTP entity tag: the hash of what the answer depends on."""
    text = json.dumps([FORMAT, *map(str, parts)]).encode()
    return f'"{hashlib.blake2b(text, digest_size=12).hexdigest()}"'


def _described_codes(column: CodeColumn) -> dict[str, Any]:
    if column.coding == "bits":
        sets = np.bincount(column.codes, minlength=1)
        held = np.flatnonzero(sets)
        counts = np.array([sets[held[held >> b & 1 == 1]].sum() for b in range(len(column.legend))])
        bare = int(sets[0])
    else:
        counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.legend))
        bare = len(column) - int(counts.sum())
    none = "noise" if column.field == "cluster" else f"no {title(column.field)}"
    return {
        "coding": column.coding,
        "legend": _legend(column.legend, counts, _colors(column)),
        "none": _none(none, bare),
    }


def _described_values(column: ValueColumn) -> tuple[Float32, dict[str, Any]]:
    """Return the values with NaN for none, and what their header says of them."""
    finite = np.isfinite(column.values)
    values = np.where(finite, column.values, np.float32(np.nan))
    low, high, bottom, top, bins = _spread_of(values[finite].astype(np.float64))
    return values, {
        "coding": "value",
        "min": bottom,
        "max": top,
        "low": low,
        "high": high,
        "bins": bins,
        "unit": column.unit,
        "zero": column.zero,
        "ramp": ramp(),
        "none": _none(f"no {title(column.field)}", len(values) - int(finite.sum())),
    }


def _spread_of(values: npt.NDArray[np.float64]) -> tuple[float, float, float, float, list[int]]:
    """Return low, high (what the ramp spans), min, max, and counts in equal steps between these."""
    if not len(values):
        return 0.0, 0.0, 0.0, 0.0, [0] * BINS
    bottom, top = float(values.min()), float(values.max())
    if bottom == top:
        return bottom, bottom, bottom, bottom, [len(values)] + [0] * (BINS - 1)
    low, high = (float(one) for one in np.percentile(values, COLORED))
    if low == high:  # nearly all are equal: the ramp must still tell the others from them
        low, high = bottom, top
    step = ((values - bottom) * (BINS / (top - bottom))).astype(np.int64)
    return low, high, bottom, top, np.bincount(step.clip(0, BINS - 1), minlength=BINS).tolist()


def _colors(column: CodeColumn) -> Sequence[int]:
    """Return the number of each code's colour: by name where it is known which came first."""
    if column.met is None:
        return range(len(column.legend))
    oldest = np.argsort(column.met, kind="stable")
    found = np.empty(len(oldest), np.int64)
    found[oldest] = palette.numbers([column.legend[code] for code in oldest])
    return found.tolist()


def _legend(
    names: Sequence[str], counts: npt.NDArray[Any], colors: Sequence[int]
) -> list[dict[str, Any]]:
    return [
        {"name": name, "count": int(count), "color": color(number)}
        for name, count, number in zip(names, counts, colors, strict=True)
    ]


def _none(name: str, count: int) -> dict[str, Any]:
    return {"name": name, "count": count, "color": NONE_COLOR}


def _encoded(codes: Int32, size: int) -> npt.NDArray[Any]:
    """Return codes as uint16, or uint32 when there are too many; the highest value is none."""
    if size < NONE_U16:
        return np.where(codes < 0, NONE_U16, codes).astype("<u2")
    return np.where(codes < 0, NONE_U32, codes.astype(np.int64)).astype("<u4")


def pack(header: Mapping[str, Any], columns: Sequence[Column]) -> bytes:
    """Return preamble, JSON header and aligned little-endian columns; see docs/protocol.md."""
    directory, chunks, at = [], [], 0
    for name, values in columns:
        raw = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
        kind = {"u": "u", "i": "i", "f": "f"}[values.dtype.kind] + str(values.dtype.itemsize)
        directory.append({"name": name, "type": kind, "at": at, "length": len(values)})
        chunks.append(raw + bytes(-len(raw) % ALIGN))
        at += len(chunks[-1])
    text = json.dumps({**header, "columns": directory}, separators=(",", ":")).encode()
    text += b" " * (-(PREAMBLE.size + len(text)) % ALIGN)
    return b"".join([PREAMBLE.pack(MAGIC, FORMAT, len(text), 0), text, *chunks])


# ---- up: selections -------------------------------------------------------------------------


def encode_selection(rows: npt.ArrayLike, atlas: Atlas) -> str:
    """Return row numbers as the text that a command or a selection message carries."""
    return base64.b64encode(squeezed_rows(rows, atlas)).decode()


def squeezed_rows(rows: npt.ArrayLike, atlas: Atlas) -> bytes:
    """Return row numbers as raw deflate of a bit set over the wire order."""
    mask = np.zeros(len(atlas), np.bool_)
    mask[np.asarray(rows, dtype=np.int64)] = True
    packed = np.packbits(mask[order_of(atlas)[0]], bitorder="little").tobytes()
    squeeze = zlib.compressobj(6, zlib.DEFLATED, -15)
    return squeeze.compress(packed) + squeeze.flush()


def rows_in(squeezed: bytes, atlas: Atlas) -> Int32:
    """Return the sorted row numbers that `squeezed_rows` made so; CurationError for other bytes."""
    rows: Int32 = np.sort(order_of(atlas)[0][_unsqueezed(squeezed, len(atlas))])
    return rows


def most_squeezed(n: int) -> int:
    """Return how many bytes `squeezed_rows` has at most for n items."""
    size = (n + 7) // 8
    return size + size // 1000 + 1024  # deflate grows by 5 in 16,383


def decode_selection(message: object, atlas: Atlas) -> RowSelection:
    """Return what a selection message of the map selects.

    Raises
    ------
    CurationError
        When the message was drawn on another atlas, or is not what the map sends. Nothing that a
        browser can send makes this read more than one bit for every item.
    """
    if not isinstance(message, Mapping):
        raise CurationError(f"a selection must be an object, got {type(message).__name__}")
    if message.get("version") != atlas.version:
        raise CurationError(
            f"the selection was drawn on atlas {_short(message.get('version'))}, expected "
            f"{atlas.version}; reload the page and select again"
        )
    if message.get("n") != len(atlas):
        raise CurationError(
            f"the selection is over {_short(message.get('n'))} items, expected {len(atlas)}; "
            f"reload the page and select again"
        )
    mask = _unpacked_bits(message.get("bits"), len(atlas))
    rows = np.sort(order_of(atlas)[0][mask])
    if message.get("count", len(rows)) != len(rows):
        raise CurationError(
            f"the selection says {_short(message['count'])} items and holds {len(rows)}; "
            f"select again"
        )
    return RowSelection(rows, atlas.version)


def _short(value: object) -> str:
    """Return what a browser sent as one line that cannot grow."""
    return " ".join(str(value).split())[:40]


def _unpacked_bits(text: object, n: int) -> npt.NDArray[np.bool_]:
    """Return the mask (n,) in wire order that a bit set in base64 stands for."""
    if not isinstance(text, str) or len(text) > 2 * most_squeezed(n):  # base64 grows by a third
        raise CurationError("the selection's bits are missing or too long; select again")
    try:
        squeezed = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise CurationError("the selection's bits are not base64; select again") from error
    return _unsqueezed(squeezed, n)


def _unsqueezed(squeezed: bytes, n: int) -> npt.NDArray[np.bool_]:
    raw = _inflated(squeezed, (n + 7) // 8)
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
    if bits[n:].any():
        raise CurationError(f"the selection has bits beyond item {n}; select again")
    return bits[:n].astype(np.bool_)


def _inflated(squeezed: bytes, size: int) -> bytes:
    """Decompress raw deflate to exactly `size` bytes, reading not one more."""
    inflate = zlib.decompressobj(-15)
    try:
        raw = inflate.decompress(squeezed, size + 1)
    except zlib.error as error:
        raise CurationError("the selection's bits are not deflate; select again") from error
    if len(raw) != size or not inflate.eof or inflate.unused_data:
        raise CurationError(f"the selection must hold {size} bytes of bits; select again")
    return raw
