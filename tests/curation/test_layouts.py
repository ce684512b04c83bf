"""The grid and the columns: every item in a cell of its own, near those it is near on the map."""

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.spatial import cKDTree

from curation import fields
from curation.fields import CodeColumn, ValueColumn
from curation.viewer import layouts, payload
from curation.workspace import Workspace
from embeddings.errors import CurationError
from embeddings.schema import Atlas

EMPTY = np.zeros(0, np.float32)


def make_atlas(xy: np.ndarray, cluster: np.ndarray | None = None) -> Atlas:
    n = len(xy)
    zero = np.zeros(n, np.float32)
    codes = np.zeros(n, np.int32) if cluster is None else cluster.astype(np.int32)
    ids = np.array([f"item{row:08d}" for row in range(n)], dtype=np.str_)
    return Atlas(ids, xy.astype(np.float32), codes, zero, zero, f"v{n}", "test")


def clouds(n: int, seed: int = 3) -> np.ndarray:
    """Forty clusters of uneven size and width, as an atlas has them."""
    rng = np.random.default_rng(seed)
    middle, width = rng.random((40, 2)), rng.uniform(0.005, 0.04, 40)
    member = rng.choice(40, n, p=rng.dirichlet(np.ones(40)))
    return (middle[member] + rng.normal(size=(n, 2)) * width[member, None]).astype(np.float32)


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    _, _, size, _ = payload.PREAMBLE.unpack_from(data)
    body = payload.PREAMBLE.size + size
    header = json.loads(data[payload.PREAMBLE.size : body])
    columns = {
        one["name"]: np.frombuffer(data, "<" + one["type"], one["length"], body + one["at"])
        for one in header["columns"]
    }
    return header, columns


def cells(found: layouts.Places) -> np.ndarray:
    """The places as (column, row), after a look that they are exact centres of cells."""
    at = np.stack([found.x, found.y], 1).astype(np.int64)
    assert (at % found.cell == found.cell // 2).all()
    return at // found.cell


def overlaps(found: layouts.Places) -> int:
    return len(found.x) - len(np.unique(cells(found), axis=0))


# ---- the grid -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 12, 13, 100, 4001])
def test_every_item_has_a_cell_of_its_own_in_a_full_rectangle(n: int) -> None:
    found = layouts.grid_places(clouds(n))
    assert len(found.x) == n and overlaps(found) == 0
    taken = {tuple(cell) for cell in cells(found).tolist()}
    columns, rows = layouts._grid_shape(n)
    spare = columns * rows - n
    whole = {(x, y) for x in range(columns) for y in range(rows)}
    assert taken == whole - {(columns - 1 - k, 0) for k in range(spare)} or n == 0
    assert n < 100 or 1.2 < columns / rows < 1.6


@pytest.mark.parametrize("dims", [2, 3])
def test_items_in_one_place_get_cells_of_their_own_too(dims: int) -> None:
    assert overlaps(layouts.grid_places(np.full((77, dims), 0.5, np.float32))) == 0


def test_the_grid_is_the_same_every_time_and_by_row_number_alone() -> None:
    xy = clouds(3000)
    once, again = layouts.grid_places(xy), layouts.grid_places(xy.copy())
    assert np.array_equal(once.x, again.x) and np.array_equal(once.y, again.y)


def test_left_stays_left_and_up_stays_up() -> None:
    side = np.arange(40, dtype=np.float32)
    xy = np.stack(np.meshgrid(side * 4 / 3, side), -1).reshape(-1, 2)
    at = cells(layouts.grid_places(xy))
    for axis in (0, 1):
        assert np.corrcoef(xy[:, axis], at[:, axis])[0, 1] > 0.99


def quality(xy: np.ndarray, at: np.ndarray) -> tuple[float, float]:
    """Mean move between normalised places; share of 8 neighbours kept among 24 nearest cells."""
    before = (xy - xy.min(0)) / np.ptp(xy, axis=0)
    after = (at - at.min(0)) / np.ptp(at, axis=0)
    moved = float(np.hypot(*(before - after).T).mean())
    some = np.random.default_rng(1).choice(len(xy), 1000, replace=False)
    near = cKDTree(xy).query(xy[some], 9)[1][:, 1:]
    beside = cKDTree(at).query(at[some], 25)[1]
    kept = np.mean([len(np.intersect1d(a, b)) / 8 for a, b in zip(near, beside, strict=True)])
    return moved, float(kept)


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_the_grid_keeps_neighbours_far_better_than_sorting_into_rows(seed: int) -> None:
    xy = clouds(10_000, seed)
    columns, _ = layouts._grid_shape(len(xy))
    by_y = np.argsort(xy[:, 1], kind="stable")
    row = np.empty(len(xy), np.int64)
    row[by_y] = np.arange(len(xy)) // columns
    rows = np.empty((len(xy), 2))
    rows[np.lexsort((xy[:, 0], row))] = np.stack(np.divmod(np.arange(len(xy)), columns)[::-1], 1)
    moved, kept = quality(xy, cells(layouts.grid_places(xy)).astype(float))
    moved_rows, kept_rows = quality(xy, rows)
    assert moved < 0.8 * moved_rows
    assert kept > 0.75 and kept > 1.5 * kept_rows


def test_a_layout_too_large_for_the_coordinates_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        layouts._placed(np.zeros(1, np.int64), np.zeros(1, np.int64), 70_000, 1)


# ---- columns ------------------------------------------------------------------------------------


def named(codes: list[int], legend: list[str], coding: str = "category") -> CodeColumn:
    return CodeColumn("category", np.array(codes, np.int32), legend, 7, coding)


def test_columns_stand_biggest_first_and_none_last() -> None:
    column = named([1] * 5 + [0] * 9 + [-1] * 20 + [2], ["cat", "dog", "owl", "never"])
    found = layouts.column_places(make_atlas(clouds(35)), column)
    said = [(caption.name, caption.count) for caption in found.captions]
    assert said == [("cat", 9), ("dog", 5), ("owl", 1), ("no category", 20)]
    assert overlaps(found) == 0 and found.seq == 7
    xs = [caption.x for caption in found.captions]
    assert xs == sorted(xs) and {caption.y for caption in found.captions} == {0}
    nearest = np.abs(found.x[:, None].astype(int) - xs).argmin(1)
    assert nearest.tolist() == [1] * 5 + [0] * 9 + [3] * 20 + [2]


def test_columns_are_filled_from_the_baseline_without_holes() -> None:
    rng = np.random.default_rng(2)
    column = named(rng.integers(0, 6, 5000).tolist(), list("abcdef"))
    found = layouts.column_places(make_atlas(clouds(5000)), column)
    at = cells(found)
    for code in range(6):
        mine = at[column.codes == code]
        left, wide = mine[:, 0].min(), np.ptp(mine[:, 0]) + 1
        place = np.sort(mine[:, 1] * wide + mine[:, 0] - left)
        assert place.tolist() == list(range(len(mine)))
    wide, high = np.ptp(at, axis=0) + 1
    assert 0.9 < wide / high / layouts.ASPECT < 1.1


def test_a_cluster_stays_together_within_its_column() -> None:
    cluster = np.random.default_rng(5).integers(-1, 3, 600)
    column = named([0] * 600, ["all"])
    at = cells(layouts.column_places(make_atlas(clouds(600), cluster), column))
    seen = cluster[np.lexsort((at[:, 0], at[:, 1]))]
    assert [seen[0], *seen[1:][np.diff(seen) != 0]] == [0, 1, 2, -1]


def test_rare_values_share_one_column() -> None:
    codes = np.repeat(np.arange(60), np.arange(60, 0, -1))
    column = named(codes.tolist(), [f"n{code}" for code in range(60)])
    _, names = layouts.stacks(column)
    assert len(names) == layouts.MOST_NAMES
    assert names[:2] == ["n0", "n1"] and names[-1] == "other"
    found = layouts.column_places(make_atlas(clouds(len(codes))), column)
    assert sum(caption.count for caption in found.captions) == len(codes)
    assert found.captions[-1].count == sum(range(1, 22))


def test_flags_stand_by_their_lowest_bit() -> None:
    stack, names = layouts.stacks(named([0, 1, 2, 3, 6, 0, 4, 1], ["x", "y", "z"], "bits"))
    assert [names[at] for at in stack] == [
        "no category",
        "x",
        "y",
        "x",
        "y",
        "no category",
        "z",
        "x",
    ]


def test_noise_and_metadata_are_named_as_people_read_them() -> None:
    nothing = np.full(3, -1, np.int32)
    assert layouts.stacks(CodeColumn("cluster", nothing, [], 0))[1] == ["noise"]
    assert layouts.stacks(CodeColumn("field.site", nothing, [], 0))[1] == ["no site"]


# ---- intervals ----------------------------------------------------------------------------------


def bins(values: Any, **more: Any) -> list[tuple[str, int]]:
    column = ValueColumn("score", np.asarray(values, np.float32), 0, **more)
    stack, names = layouts.stacks(column)
    return list(zip(names, np.bincount(stack, minlength=len(names)).tolist(), strict=True))


def test_numbers_fall_into_round_intervals_and_the_highest_into_the_last() -> None:
    found = bins(np.linspace(0, 1, 101))
    assert [name for name, _ in found[:2]] == ["0.00–0.05", "0.05–0.10"]
    assert found[-1] == ("0.95–1.00", 6)
    assert [count for _, count in found[:-1]] == [5] * 19


def test_whole_numbers_are_named_whole_and_empty_intervals_stay() -> None:
    assert bins([1, 1, 2, 5]) == [("1", 2), ("2", 1), ("3", 0), ("4", 0), ("5", 1)]
    assert bins(np.arange(0, 100))[0] == ("0–4", 5)


def test_numbers_without_a_spread_stand_in_one_column_and_nan_in_the_last() -> None:
    assert bins([0.5, 0.5, np.nan]) == [("0–1", 2), ("no score", 1)]
    assert bins([np.nan, np.nan]) == [("no score", 2)]


def test_a_few_that_stray_far_do_not_squeeze_all_others_into_one_column() -> None:
    values = np.r_[np.linspace(10, 20, 1000), 1e6]
    found = bins(values)
    assert found[-1][0].startswith("≥ ") and len(found) > 8
    assert max(count for _, count in found) < 200


@pytest.mark.parametrize(
    ("first", "last", "names"),
    [
        ("2021-03-01T10:00", "2021-03-01T15:59", ["2021-03-01 10:00", "2021-03-01 15:45"]),
        ("2021-03-01T00:00", "2021-03-01T20:00", ["2021-03-01 00:00", "2021-03-01 20:00"]),
        ("2021-03-01", "2021-03-20", ["2021-03-01", "2021-03-20"]),
        ("2021-03-01", "2021-07-01", ["week of 2021-03-01", "week of 2021-06-28"]),
        ("2021-03-05", "2022-11-05", ["2021-03", "2022-11"]),
        ("2017-03-05", "2021-11-05", ["2017 Q1", "2021 Q4"]),
        ("2003-03-05", "2021-11-05", ["2003", "2021"]),
        ("1950-01-01", "2021-11-05", ["1950–1954", "2020–2024"]),
    ],
)
def test_times_fall_into_calendar_units(first: str, last: str, names: list[str]) -> None:
    ends = [datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() for text in (first, last)]
    found = bins(np.linspace(0, ends[1] - ends[0], 50), unit="time", zero=ends[0])
    assert [found[0][0], found[-1][0]] == names
    assert len(found) <= layouts.MOST_BINS and sum(count for _, count in found) == 50


@pytest.mark.parametrize(
    "first", ["2015-03-01T10:00:15", "2015-03-01T10:00:11", "2014-07-03T12:34:56"]
)
def test_dates_stand_in_their_own_year_whatever_the_first_time_is(digits: str, first: str) -> None:
    workspace = Workspace(digits)
    ids = workspace.atlas().item_ids.tolist()
    days = ["2022-01-01", "2023-01-01", "2024-01-01T00:00:00", "2023-12-31T23:59:59"]
    texts = [first, *(days[k % 4] for k in range(len(ids) - 1))]
    workspace.store.save_fields(pa.table({"item_id": ids, "at": texts}))
    stack, names = layouts.stacks(fields.column(workspace, "field.at"))
    years = [names[code].removeprefix("≤ ").removeprefix("≥ ")[:4] for code in stack[1:]]
    assert years == [text[:4] for text in texts[1:]]


@pytest.mark.parametrize("top", [1e17, 1e20, float(np.finfo(np.float32).max)])
def test_numbers_beyond_all_bounds_stand_in_the_last_column(top: float) -> None:
    for values in (np.linspace(0, 1, 995), np.arange(995)):
        found = bins(np.r_[values, [top] * 5])
        assert found[-1][0].startswith("≥ ") and found[-1][1] >= 5
        assert len(found) <= layouts.MOST_BINS and sum(count for _, count in found) == 1000
        assert max(len(name) for name, _ in found) < 30
    assert bins([top, top])[0][1] == 2
    assert sum(count for _, count in bins([-top, 0, top])) == 3


@pytest.mark.parametrize(
    ("zero", "name"),
    [(253402300800, "10000-01-01 00:00"), (-62167219200 - 86400, "-001-12-31 00:00")],
)
def test_times_outside_the_years_of_a_calendar_are_named_too(zero: float, name: str) -> None:
    assert bins([0, 5], unit="time", zero=zero) == [(name, 2)]
    assert len(bins([0, 4e11], unit="time", zero=zero)) <= layouts.MOST_BINS


# ---- a dataset ----------------------------------------------------------------------------------


def test_a_layout_is_kept_until_its_field_changes_and_only_a_few_are(digits: str) -> None:
    workspace = Workspace(digits)
    atlas = workspace.atlas()
    grid = layouts.places(workspace, atlas, "grid")
    by = layouts.places(workspace, atlas, "by", "category")
    assert layouts.places(workspace, atlas, "grid") is grid
    assert layouts.places(workspace, atlas, "by", "category") is by
    assert [one["name"] for one in unpack(by)[0]["captions"]] == ["no category"]
    workspace.label(workspace.select("cluster:0"), "zero")
    after, _ = unpack(layouts.places(workspace, atlas, "by", "category"))
    assert {one["name"] for one in after["captions"]} == {"zero", "no category"}
    assert after["seq"] > unpack(by)[0]["seq"]
    for field in ("cluster", "outlier_score", "width", "flags"):
        layouts.places(workspace, atlas, "by", field)
    assert len(layouts._kept) == layouts.KEPT
    assert layouts.places(workspace, atlas, "grid") is not grid


@pytest.mark.parametrize(
    ("layout", "field", "words"),
    [("rings", None, "grid, by"), ("by", None, "needs a field"), ("by", "nose", "no field 'nose'")],
)
def test_what_cannot_be_laid_out_is_refused_in_words(
    digits: str, layout: str, field: str | None, words: str
) -> None:
    workspace = Workspace(digits)
    with pytest.raises(CurationError, match=words):
        layouts.places(workspace, workspace.atlas(), layout, field)


# ---- the bytes ----------------------------------------------------------------------------------


def test_packed_places_are_in_wire_order() -> None:
    atlas = make_atlas(clouds(500))
    found = layouts.grid_places(atlas.xy)
    header, columns = unpack(layouts.packed(atlas, "grid", found))
    order, _ = payload.order_of(atlas)
    assert np.array_equal(columns["x"], found.x[order])
    assert np.array_equal(columns["y"], found.y[order])
    assert columns["x"].dtype == np.uint16
    assert header["kind"] == "places" and header["layout"] == "grid" and header["n"] == 500
    assert header["extent"] == [int(found.x.max()), int(found.y.max())]
    assert header["cell"] == found.cell and header["captions"] == []


@pytest.mark.parametrize("n", [0, 1])
def test_hardly_any_items_have_their_columns_too(n: int) -> None:
    atlas = make_atlas(np.zeros((n, 2), np.float32))
    found = layouts.column_places(atlas, named([0] * n, ["cat"]))
    header, columns = unpack(layouts.packed(atlas, "by", found))
    assert len(columns["x"]) == n
    assert [caption["name"] for caption in header["captions"]] == ["cat"][:n]
    values = ValueColumn("score", EMPTY if not n else np.ones(1, np.float32), 0)
    assert len(layouts.column_places(atlas, values).x) == n
