"""Other places for the same items: a grid without overlaps, and columns by the values of a field.

Both are packed like the points (see docs/protocol.md): quantised coordinates in wire order, so
that the browser swaps them in without knowing an item's id.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from curation import fields
from curation.fields import CodeColumn, ValueColumn
from curation.records import FIELD
from curation.viewer import payload
from curation.viewer.payload import FULL_SCALE
from curation.workspace import Workspace
from embeddings.errors import CurationError
from embeddings.schema import NOISE, Atlas, Float32, Int32

LAYOUTS = ("grid", "by")
ASPECT = 4 / 3  # width : height of a layout as a whole
MOST_NAMES = 40  # columns of a categorical field, "other" included and none not
MOST_BINS = 24  # columns of numbers or times
GAP = 0.18  # of a column's width, between two columns
FAR = 4  # ends that stretch the range this many times over are put into open first and last bins
LONG = 1e15  # numbers from here on are written with an exponent
TO = "\N{EN DASH}"  # between the ends of an interval
KEPT = 4  # packed layouts in RAM: 4 MB each at 1,000,000 items

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Caption:
    """What stands below a column: the middle of its foot in world units, its name and count."""

    x: int
    y: int
    name: str
    count: int


@dataclass(frozen=True)
class Places:
    """Where every item of an atlas stands in one layout: `x`, `y` (n,) uint16 in row order.

    Every place is the centre of a cell of its own; `cell` is the cells' side in world units.
    """

    x: payload.UInt16
    y: payload.UInt16
    cell: int
    captions: Sequence[Caption] = field(default_factory=tuple)
    seq: int = 0


_kept: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()
_kept_lock = Lock()


def places(workspace: Workspace, atlas: Atlas, layout: str, field: str | None = None) -> bytes:
    """Return a layout of an atlas as wire bytes, kept for the last few.

    Parameters
    ----------
    layout : str
        ``"grid"``, or ``"by"`` with the `field` whose values become columns.

    Raises
    ------
    CurationError
        For another layout, or a field that the dataset does not have.
    """
    if layout not in LAYOUTS:
        raise CurationError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    if layout == "by" and not field:
        raise CurationError("layout 'by' needs a field: add ?field=cluster")
    if layout == "grid":
        key = (workspace.dataset.dataset_id, atlas.version, "")
        return _cached(key, lambda: packed(atlas, layout, grid_places(atlas.xy)))
    column = fields.column(workspace, str(field), atlas.version)
    key = (workspace.dataset.dataset_id, atlas.version, _digest(column))
    return _cached(key, lambda: packed(atlas, layout, column_places(atlas, column)))


def _digest(column: CodeColumn | ValueColumn) -> str:
    """Return a hash of a column: metadata joined later changes one without a decision."""
    values = column.codes if isinstance(column, CodeColumn) else _exact(column)
    said = [column.field, column.seq, list(getattr(column, "legend", ()))]
    return hashlib.blake2b(values.tobytes() + json.dumps(said).encode(), digest_size=12).hexdigest()


def _exact(column: ValueColumn) -> Float64:
    """Return numbers, or seconds since 1970, as exactly as they are known."""
    if column.exact is not None:
        return column.exact
    return column.values.astype(np.float64) + column.zero


def _cached(key: tuple[str, str, str], make: Callable[[], bytes]) -> bytes:
    with _kept_lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    made = make()
    with _kept_lock:
        _kept[key] = made
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return made


def packed(atlas: Atlas, layout: str, found: Places) -> bytes:
    """Return places as wire bytes."""
    order, _ = payload.order_of(atlas)
    header: dict[str, Any] = {
        "kind": "places",
        "layout": layout,
        "version": atlas.version,
        "n": len(atlas),
        "extent": [int(axis.max()) if len(atlas) else 0 for axis in (found.x, found.y)],
        "cell": found.cell,
        "captions": [vars(caption) for caption in found.captions],
        "seq": found.seq,
    }
    return payload.pack(header, [("x", found.x[order]), ("y", found.y[order])])


def _placed(across: Int64, up: Int64, wide: int, high: int, **more: Any) -> Places:
    """Return the centres of cells, counted from the left and from below, as places."""
    cell = FULL_SCALE // max(wide, high, 1)
    if cell < 1:
        raise ValueError(f"a layout of {wide} x {high} cells does not fit {FULL_SCALE} units")
    x, y = ((part * cell + cell // 2).astype(np.uint16) for part in (across, up))
    return Places(x, y, cell, **more)


# ---- the grid -----------------------------------------------------------------------------------


def grid_places(xy: Float32) -> Places:
    """Give every item a cell of its own in one grid, neighbours on the map near each other.

    The rectangle of cells and the items are halved together, the rectangle across its longer side
    and the items at the same share along that axis, until a cell is left for each: a balanced k-d
    split, all blocks of a level at once by one sort. Deterministic. On 100,000 items in 40 uneven
    clusters an item moves 0.13 of the picture's side on average and keeps 84 % of its 8 nearest
    neighbours among its 24 nearest cells; sorting into rows by y and then by x moves it 0.22 and
    keeps 40 %. 1,000,000 items take 1.2 s on one core.
    """
    n = len(xy)
    columns, rows = _grid_shape(n)
    cells = _split(payload.quantise(xy[:, :2]).astype(np.uint64).T, columns, rows)
    return _placed(cells[0], cells[1], columns, rows)


def _grid_shape(n: int) -> tuple[int, int]:
    columns = max(1, int(np.ceil(np.sqrt(n * ASPECT))))
    return columns, max(1, -(-n // columns))


def _split(at: payload.UInt64, columns: int, rows: int) -> Int64:
    """Return the cell (column, row) of every item, (2, n); `at` (2, n) is where they stand.

    The cells left over are the last ones of the lowest row.
    """
    n = at.shape[1]
    bits = np.uint64(n.bit_length())
    order = np.arange(n, dtype=np.uint64)
    left, low, wide, high = (np.array([value]) for value in (0, 0, columns, rows))
    spare_from = columns - (columns * rows - n)
    capacity = np.array([n])
    while n and max(wide.max(), high.max()) > 1:
        level = wide >= high  # split across: left and right; else below and above
        block = np.repeat(np.arange(len(left), dtype=np.uint64), capacity)
        axis = np.repeat(np.where(level, 0, 1), capacity)
        # One integer to sort by: block, coordinate, item. 20 + 16 + 20 bits at 1,000,000.
        key = (block << np.uint64(16) | at[axis, order.astype(np.int64)]) << bits | order
        key.sort()
        order = key & ((np.uint64(1) << bits) - np.uint64(1))
        near_wide, near_high = np.where(level, wide // 2, wide), np.where(level, high, high // 2)
        left, low, wide, high = (
            np.stack(pair, 1).ravel()
            for pair in (
                (left, np.where(level, left + near_wide, left)),
                (low, np.where(level, low, low + near_high)),
                (near_wide, np.where(level, wide - near_wide, wide)),
                (near_high, np.where(level, high, high - near_high)),
            )
        )
        spare = np.where(low == 0, np.maximum(0, left + wide - np.maximum(left, spare_from)), 0)
        capacity = wide * high - np.where((wide > 0) & (high > 0), spare, 0)
        some = capacity > 0
        left, low, wide, high, capacity = (part[some] for part in (left, low, wide, high, capacity))
    cells = np.zeros((2, n), np.int64)
    cells[:, order.astype(np.int64)] = left[:n], low[:n]
    return cells


# ---- columns ------------------------------------------------------------------------------------


def column_places(atlas: Atlas, column: CodeColumn | ValueColumn) -> Places:
    """Stand the items in columns by value: a histogram made of items.

    One column for each value, biggest first, none last; for each round interval where the values
    are numbers or times. Within a column items of a cluster stay together, and there neighbours on
    the map do (Morton order).
    """
    stack, names = stacks(column)
    counts = np.bincount(stack, minlength=len(names))
    wide, gap, high = _stack_shape(counts)
    morton = payload.morton_of(atlas.xy)
    cluster = np.where(atlas.cluster == NOISE, np.iinfo(np.int32).max, atlas.cluster)
    order = np.lexsort((morton, cluster, stack))
    starts = np.cumsum(counts) - counts
    within = np.empty(len(atlas), np.int64)
    within[order] = np.arange(len(atlas)) - np.repeat(starts, counts)
    across = stack * (wide + gap) + within % wide
    total = len(names) * (wide + gap) - gap
    found = _placed(across, within // wide, total, high)
    middles = (np.arange(len(names)) * (wide + gap) + wide / 2) * found.cell
    captions = [
        Caption(int(x), 0, name, int(count))
        for x, name, count in zip(middles, names, counts, strict=True)
    ]
    return Places(found.x, found.y, found.cell, captions, column.seq)


def _stack_shape(counts: Int64) -> tuple[int, int, int]:
    """Return width and gap of the columns and height of the tallest, in cells, near 4 : 3."""
    tallest, columns = max(1, int(counts.max(initial=0))), max(1, len(counts))

    def shape(wide: int) -> tuple[int, int, int]:
        return wide, max(1, round(wide * GAP)), -(-tallest // wide)

    def off(wide: int) -> float:
        _, gap, high = shape(wide)
        return abs(float(np.log((columns * (wide + gap) - gap) / high / ASPECT)))

    about = int(np.sqrt(ASPECT * tallest / columns / (1 + GAP)))
    return shape(min(range(max(1, about - 3), about + 4), key=off))


def stacks(column: CodeColumn | ValueColumn) -> tuple[Int64, list[str]]:
    """Return the column of the layout that every item stands in, (n,), and the columns' names."""
    codes, names = _bins(column) if isinstance(column, ValueColumn) else _named(column)
    if (codes < 0).any():
        names = [*names, _none_name(column.field)]
        codes = np.where(codes < 0, len(names) - 1, codes)
    return codes, names


def _none_name(field: str) -> str:
    return "noise" if field == "cluster" else f"no {field.removeprefix(FIELD)}"


def _named(column: CodeColumn) -> tuple[Int64, list[str]]:
    """Return columns by code, biggest first; the rarest values share one."""
    codes = column.codes.astype(np.int64)
    if column.coding == "bits":
        codes = _lowest_bit(column.codes)
    counts = np.bincount(codes[codes >= 0], minlength=len(column.legend))
    ranked = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    shown = ranked if len(ranked) <= MOST_NAMES else ranked[: MOST_NAMES - 1]
    place = np.full(len(column.legend) + 1, len(shown), np.int64)
    place[shown] = np.arange(len(shown))
    place[-1] = -1  # code -1, none
    names = [str(column.legend[code]) for code in shown]
    return place[codes], names if len(shown) == len(ranked) else [*names, "other"]


def _lowest_bit(sets: Int32) -> Int64:
    """Return the number of the lowest bit set, -1 where none is."""
    lowest = (sets & -sets).astype(np.float64)
    found: Int64 = np.where(sets == 0, -1, np.frexp(lowest)[1] - 1).astype(np.int64)
    return found


# ---- intervals ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """A way to cut a range into intervals: their number by value, their name by number.

    The numbers are whole but float64: those of the largest values do not fit an int64.
    """

    number: Callable[[Float64], Float64]
    name: Callable[[int], str]


def _bins(column: ValueColumn) -> tuple[Int64, list[str]]:
    """Return columns by round intervals of numbers or times, ascending; -1 where there is none."""
    values = _exact(column)
    there = np.isfinite(values)
    codes = np.full(len(values), -1, np.int64)
    if not there.any():
        return codes, []
    some = values[there]
    low, high = _range(some)
    scales = _times() if column.unit == "time" else _numbers(some, low, high)
    for scale in scales:
        first, last = (int(end) for end in scale.number(np.array([low, high])))
        if last - first < MOST_BINS:
            break
    numbers = scale.number(some)
    names = [scale.name(number) for number in range(first, last + 1)]
    if (numbers < first).any():
        names[0] = f"≤ {names[0]}"
    if (numbers > last).any():
        names[-1] = f"≥ {names[-1]}"
    codes[there] = (np.clip(numbers, first, last) - first).astype(np.int64)
    return codes, names


def _range(values: Float64) -> tuple[float, float]:
    """Return lowest and highest; where a few stray far, what holds all but 1 % at each end."""
    low, inner_low, inner_high, high = np.quantile(values, [0, 0.01, 0.99, 1])
    if inner_high > inner_low and high - low > FAR * (inner_high - inner_low):
        return float(inner_low), float(inner_high)
    return float(low), float(high)


def _numbers(values: Float64, low: float, high: float) -> Iterator[Scale]:
    """Yield steps of 1, 2 and 5 times powers of ten, finest first."""
    whole, span = bool((values == np.round(values)).all()), high - low
    power = int(np.floor(np.log10(span / MOST_BINS))) if span > 0 else 0
    power = max(0, power) if whole else power
    while True:
        for step in (1, 2, 5):
            yield _step(step, power, whole, high)
        power += 1


def _step(step: int, power: int, whole: bool, highest: float) -> Scale:
    size, digits = step * 10.0**power, max(0, -power)
    top = float(np.floor(highest / size + 1e-5))
    # The highest value belongs to the last interval, as in every histogram, when it is its end.
    closed = not whole and abs(highest / size - top) < 1e-5

    def number(values: Float64) -> Float64:
        found: Float64 = np.floor(values / size + 1e-5)  # float32 ends just below 0.7
        ends = closed & (np.abs(values / size - top) < 1e-5)
        return np.where(ends, top - 1, found)

    def name(at: int) -> str:
        low, high = at * size, (at + 1) * size
        if not whole:
            return f"{_plain(low, digits)}{TO}{_plain(high, digits)}"
        return _plain(low) if size == 1 else f"{_plain(low)}{TO}{_plain(high - 1)}"

    return Scale(number, name)


def _plain(value: float, digits: int = 0) -> str:
    """Return a number as people write it, also a very large one."""
    return f"{value:.{digits}f}" if abs(value) < LONG else f"{value:.8g}"


HOUR, DAY = 3600, 86400
MONDAY = 4 * DAY  # the first Monday of 1970, in seconds
UNITS = (
    *((60 * k, 0, "{day} {time}") for k in (1, 5, 15)),
    *((HOUR * k, 0, "{day} {time}") for k in (1, 3, 6)),
    (DAY, 0, "{day}"),
    (7 * DAY, MONDAY, "week of {day}"),
)  # (seconds, where one begins, how it is written)


def _times() -> Iterator[Scale]:
    """Yield minutes, hours, days, weeks, months, quarters and years (UTC), finest first."""
    for seconds, begin, form in UNITS:
        yield _seconds(seconds, begin, form)
    yield _calendar("M", 1, lambda at: f"{1970 + at // 12}-{at % 12 + 1:02d}")
    yield _calendar("M", 3, lambda at: f"{1970 + at // 4} Q{at % 4 + 1}")
    yield _calendar("M", 12, lambda at: f"{1970 + at}")
    years = 1
    while True:
        for k in (2, 5, 10):
            yield _years(k * years)
        years *= 10


def _seconds(size: int, begin: int, form: str) -> Scale:
    def number(values: Float64) -> Float64:
        found: Float64 = np.floor((values - begin) / size)
        return found

    def name(at: int) -> str:
        # not datetime, which ends with the year 9999
        day, time = str(np.datetime64(at * size + begin, "s")).split("T")
        return form.format(day=day, time=time[:5])

    return Scale(number, name)


def _calendar(unit: str, size: int, name: Callable[[int], str], begin: int = 0) -> Scale:
    def number(values: Float64) -> Float64:
        # floor: the cast alone would move what is before 1970 up to the next second
        whole = np.floor(values).astype("datetime64[s]").astype(f"datetime64[{unit}]")
        return ((whole.astype(np.int64) + begin) // size).astype(np.float64)

    return Scale(number, name)


def _years(size: int) -> Scale:
    return _calendar("Y", size, lambda at: f"{at * size}{TO}{at * size + size - 1}", 1970)
