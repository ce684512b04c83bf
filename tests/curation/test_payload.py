"""The wire: what Python packs can be read back, what a browser sends cannot hurt."""

import base64
import json
import shutil
import subprocess
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.fields import CodeColumn, ValueColumn
from curation.viewer import component, palette, payload
from curation.viewer.palette import NONE_COLOR, color, ramp
from embeddings.errors import CurationError
from embeddings.schema import Atlas


def make_atlas(n: int, *, seed: int = 0, dims: int = 2, clusters: int = 5) -> Atlas:
    rng = np.random.default_rng(seed)
    xy = rng.random((n, dims)).astype(np.float32)
    zero = np.zeros(n, np.float32)
    return Atlas(
        np.array([f"item{row:08d}" for row in range(n)], dtype=np.str_),
        xy,
        rng.integers(-1, clusters, n).astype(np.int32),
        zero,
        zero,
        f"atlas-{n}-{seed}-{dims}-{clusters}",
        "test",
    )


def unpack(data: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    """Read the wire format as docs/protocol.md describes it."""
    magic, version, size, _ = payload.PREAMBLE.unpack_from(data)
    assert (magic, version) == (b"CMAP", 2)
    body = payload.PREAMBLE.size + size
    assert body % 8 == 0
    header = json.loads(data[payload.PREAMBLE.size : body])
    columns = {}
    for column in header["columns"]:
        assert column["at"] % 8 == 0
        dtype = np.dtype("<" + column["type"])
        columns[column["name"]] = np.frombuffer(data, dtype, column["length"], body + column["at"])
    return header, columns


# ---- order --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_the_order_is_a_permutation_and_levels_end_at_the_last_row(n: int) -> None:
    order, offsets = payload.wire_order(make_atlas(n).xy)
    assert order.dtype == np.int32
    assert np.array_equal(np.sort(order), np.arange(n))
    assert offsets[0] == 0 and offsets[-1] == n
    assert offsets == sorted(offsets)


def test_rows_in_one_place_are_ordered_too() -> None:
    order, offsets = payload.wire_order(np.full((50, 2), 0.5, np.float32))
    assert sorted(order) == list(range(50))
    assert offsets[1] == 1  # one stands for all of them


def test_a_prefix_that_ends_with_a_level_holds_one_row_for_every_occupied_cell() -> None:
    atlas = make_atlas(20_000)
    order, offsets = payload.wire_order(atlas.xy)
    grid = payload.quantise(atlas.xy).astype(np.int64)
    for level in range(8):
        cell = grid >> (14 - level)
        occupied = {tuple(one) for one in cell.tolist()}
        prefix = cell[order[: offsets[level + 1]]].tolist()
        assert len(prefix) == len(occupied)
        assert {tuple(one) for one in prefix} == occupied


def test_a_selected_region_compresses_far_better_than_in_row_order() -> None:
    atlas = make_atlas(50_000)
    inside = (atlas.xy[:, 0] < 0.4) & (atlas.xy[:, 1] < 0.6)
    sent = len(payload.encode_selection(np.flatnonzero(inside), atlas)) * 3 / 4
    as_rows = len(zlib.compress(np.packbits(inside).tobytes(), 6))
    assert sent < as_rows / 4


def test_the_order_of_an_atlas_is_made_once_and_cannot_be_written_to() -> None:
    atlas = make_atlas(100)
    order, _ = payload.order_of(atlas)
    assert payload.order_of(atlas)[0] is order
    with pytest.raises(ValueError, match="read-only"):
        order[0] = 1


def test_the_order_never_changes_because_browsers_keep_it_for_ever() -> None:
    k = np.arange(40)
    order, offsets = payload.wire_order(np.stack([k * k % 97, k**3 % 89], 1).astype(np.float32))
    assert order[:12].tolist() == [10, 36, 3, 18, 21, 17, 39, 24, 33, 25, 20, 11]
    assert offsets[:5] == [0, 15, 27, 37, 39]


def test_a_million_rows_are_ordered(capsys: pytest.CaptureFixture[str]) -> None:
    xy = np.random.default_rng(0).normal(size=(1_000_000, 2)).astype(np.float32)
    begun = time.process_time()
    order, offsets = payload.wire_order(xy)
    with capsys.disabled():
        print(f"\n1,000,000 rows in wire order: {time.process_time() - begun:.2f} CPU s")
    assert len(order) == offsets[-1] == 1_000_000
    assert len(np.unique(order)) == 1_000_000


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_coordinates_that_are_no_numbers_are_a_bug(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        payload.quantise(np.array([[0, 0], [bad, 1]], np.float32))


# ---- points and columns -------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [2, 3])
def test_points_come_back_in_wire_order(dims: int) -> None:
    atlas = make_atlas(500, dims=dims)
    header, columns = unpack(payload.pack_points(atlas))
    order, levels = payload.order_of(atlas)
    assert (header["n"], header["version"], header["levels"]) == (500, atlas.version, levels)
    for axis in range(dims):
        sent = columns["xyz"[axis]]
        assert np.array_equal(sent, payload.quantise(atlas.xy)[order, axis])
        back = atlas.xy[:, axis].min() + sent / 65535 * (np.ptp(atlas.xy, axis=0).max())
        assert np.abs(back - atlas.xy[order, axis]).max() < 1 / 65535
    assert np.array_equal(
        np.where(columns["cluster"] == 0xFFFF, -1, columns["cluster"].astype(int)),
        atlas.cluster[order],
    )
    assert [entry["count"] for entry in header["legend"]] == [
        int((atlas.cluster == number).sum()) for number in range(5)
    ]
    assert header["none"]["count"] == int((atlas.cluster == -1).sum())


def test_cluster_numbers_with_gaps_keep_their_names() -> None:
    atlas = make_atlas(50)
    cluster = np.where(atlas.cluster == 2, 9, atlas.cluster).astype(np.int32)
    atlas = Atlas(
        atlas.item_ids, atlas.xy, cluster, atlas.membership, atlas.membership, "gaps", "t"
    )
    header, columns = unpack(payload.pack_points(atlas))
    names = np.array([int(entry["name"]) for entry in header["legend"]])
    sent = columns["cluster"]
    shown = np.where(sent == 0xFFFF, -1, names[np.minimum(sent, len(names) - 1)])
    assert np.array_equal(shown, cluster[payload.order_of(atlas)[0]])


def test_an_empty_atlas_is_packed() -> None:
    header, columns = unpack(payload.pack_points(make_atlas(0)))
    assert header["n"] == 0 and len(columns["x"]) == 0


def test_more_codes_than_sixteen_bits_hold_are_sent_with_thirty_two() -> None:
    atlas = make_atlas(70_000, clusters=1)
    codes = np.arange(70_000, dtype=np.int32) - 1
    column = CodeColumn("instance", codes, [str(k) for k in range(69_999)], 1)
    _, columns = unpack(payload.pack_column(atlas, column))
    sent = columns["codes"].astype(np.int64)
    assert columns["codes"].dtype == np.uint32
    assert np.array_equal(np.where(sent == 0xFFFFFFFF, -1, sent), codes[payload.order_of(atlas)[0]])


def test_a_delta_turns_the_old_column_into_the_new_one() -> None:
    atlas = make_atlas(400)
    rng = np.random.default_rng(1)
    before = rng.integers(-1, 3, 400).astype(np.int32)
    after = before.copy()
    changed = rng.choice(400, 40, replace=False)
    after[changed] = 3
    names = ["a", "b", "c", "d"]
    old = CodeColumn("category", before, names[:3], 7)
    new = CodeColumn("category", after, names, 9)
    held = unpack(payload.pack_column(atlas, old))[1]["codes"].copy()
    delta = payload.pack_column(atlas, new, since=7, changed=changed)
    header, columns = unpack(delta)
    assert (header["form"], header["since"], header["seq"]) == ("delta", 7, 9)
    assert [entry["count"] for entry in header["legend"]] == [
        int((after == k).sum()) for k in range(4)
    ]
    held[columns["indices"]] = columns["codes"]
    assert np.array_equal(held, unpack(payload.pack_column(atlas, new))[1]["codes"])
    assert len(delta) < len(payload.pack_column(atlas, new)) + 200


def test_a_delta_longer_than_the_column_is_sent_as_the_column() -> None:
    atlas = make_atlas(90)
    column = CodeColumn("category", np.zeros(90, np.int32), ["a"], 2)
    header, _ = unpack(payload.pack_column(atlas, column, since=1, changed=np.arange(60)))
    assert header["form"] == "full"


def test_a_machine_column_has_no_delta() -> None:
    atlas = make_atlas(90)
    column = CodeColumn("field.label", np.zeros(90, np.int32), ["a"], 0)
    header, _ = unpack(payload.pack_column(atlas, column, since=0, changed=[1]))
    assert (header["form"], header["none"]["name"]) == ("full", "no label")
    values = ValueColumn("outlier_score", np.zeros(90, np.float32), 0)
    header, _ = unpack(payload.pack_column(atlas, values, since=0, changed=[1]))
    assert (header["form"], header["none"]["name"]) == ("full", "no outlier score")
    clusters = CodeColumn("cluster", np.zeros(90, np.int32), ["0"], 0)
    assert unpack(payload.pack_column(atlas, clusters))[0]["none"]["name"] == "noise"


def test_flags_are_bit_sets_counted_flag_by_flag() -> None:
    atlas = make_atlas(8)
    bits = np.array([0, 1, 2, 3, 3, 8, 0, 9], np.int32)
    flags = CodeColumn("flags", bits, ["excluded", "outlier", "duplicate", "unclear"], 3, "bits")
    header, columns = unpack(payload.pack_column(atlas, flags))
    assert [entry["count"] for entry in header["legend"]] == [4, 3, 0, 2]
    assert header["none"]["count"] == 2
    assert np.array_equal(columns["codes"], bits[payload.order_of(atlas)[0]])


@pytest.mark.parametrize(
    ("codes", "coding"),
    [([0, 2], "category"), ([-2, 0], "category"), ([-1, 0], "bits"), ([0, 4], "bits")],
)
def test_codes_outside_the_legend_are_a_bug(codes: list[int], coding: str) -> None:
    with pytest.raises(ValueError, match="codes of category"):
        CodeColumn("category", np.array(codes, np.int32), ["a", "b"], 1, coding)


@pytest.mark.parametrize("column", [CodeColumn, ValueColumn])
def test_a_column_of_another_atlas_is_a_bug(column: type) -> None:
    if column is CodeColumn:
        short = CodeColumn("category", np.zeros(9, np.int32), ["a"], 1)
    else:
        short = ValueColumn("width", np.zeros(9, np.float32), 0)
    with pytest.raises(ValueError, match=r"must have shape \(10,\), got \(9,\)"):
        payload.pack_column(make_atlas(10), short)


@pytest.mark.parametrize(
    ("values", "unit", "words"),
    [
        (np.zeros(3), "", "must be float32"),
        (np.zeros((3, 1), np.float32), "", "must be float32"),
        (np.zeros(3, np.float32), "metres", "unit must be"),
    ],
)
def test_values_of_another_kind_are_a_bug(values: np.ndarray, unit: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ValueColumn("width", values, 0, unit)


numbers = st.one_of(
    st.floats(width=32), st.sampled_from([0.0, -0.0, 1.0, 3.4e38, -3.4e38, 1e-45, float("nan")])
)


@given(st.lists(numbers, max_size=80))
def test_any_values_are_packed_and_described(drawn: list[float]) -> None:
    atlas = make_atlas(len(drawn))
    column = ValueColumn("field.price", np.array(drawn, np.float32), 0)
    data = payload.pack_column(atlas, column)
    assert b"NaN" not in data[: -4 * len(drawn) or None] and b"Infinity" not in data
    header, columns = unpack(data)
    sent = columns["values"]
    expected = column.values[payload.order_of(atlas)[0]]
    finite = np.isfinite(expected)
    assert sent.dtype == np.float32
    assert np.array_equal(np.isnan(sent), ~finite)
    assert np.array_equal(sent[finite], expected[finite])
    assert header["none"]["count"] == int((~finite).sum())
    assert sum(header["bins"]) == int(finite.sum()) and len(header["bins"]) == 48
    low, high, bottom, top = (header[name] for name in ("low", "high", "min", "max"))
    assert bottom <= low <= high <= top
    assert (bottom, top) == (
        (expected[finite].min(), expected[finite].max()) if finite.any() else (0, 0)
    )
    assert (low == high) == (bottom == top)


def test_the_ramp_spans_the_middle_of_the_values_and_the_bins_all_of_them() -> None:
    atlas = make_atlas(1000)
    values = np.arange(1000, dtype=np.float32)
    values[999] = 48_000.0
    header, _ = unpack(payload.pack_column(atlas, ValueColumn("width", values, 0, "time", 5.0)))
    assert (header["min"], header["max"]) == (0.0, 48_000.0)
    assert (header["low"], header["high"]) == pytest.approx((19.98, 979.02))
    assert header["bins"] == [999, *[0] * 46, 1]
    assert (header["coding"], header["unit"], header["zero"]) == ("value", "time", 5.0)
    assert header["ramp"] == list(ramp(32))


@pytest.mark.parametrize("n", [1, 7])
def test_values_that_are_all_equal_have_one_bin(n: int) -> None:
    column = ValueColumn("width", np.full(n, 2.5, np.float32), 0)
    header, _ = unpack(payload.pack_column(make_atlas(n), column))
    assert [header[name] for name in ("low", "high", "min", "max")] == [2.5] * 4
    assert header["bins"] == [n, *[0] * 47]


def test_where_nearly_all_values_are_equal_the_ramp_spans_the_others_too() -> None:
    values = np.zeros(1000, np.float32)
    values[3] = 9.0
    header, _ = unpack(payload.pack_column(make_atlas(1000), ValueColumn("width", values, 0)))
    assert (header["low"], header["high"]) == (0.0, 9.0)


def test_a_million_values_are_packed(capsys: pytest.CaptureFixture[str]) -> None:
    atlas = make_atlas(1_000_000)
    payload.order_of(atlas)
    column = ValueColumn("width", np.random.default_rng(0).normal(size=1_000_000).astype("f4"), 0)
    begun = time.process_time()
    data = payload.pack_column(atlas, column)
    with capsys.disabled():
        print(f"\n1,000,000 values packed: {time.process_time() - begun:.3f} CPU s")
    assert 4_000_000 < len(data) < 4_010_000


def test_etags_differ_where_the_content_may() -> None:
    assert payload.etag("v", "category", 4) == payload.etag("v", "category", 4)
    assert (
        len(
            {
                payload.etag("v", "category", 4),
                payload.etag("v", "category", 5),
                payload.etag("v4", "category", ""),
            }
        )
        == 3
    )


def test_every_code_has_a_colour_of_its_own_and_none_is_grey() -> None:
    colors = [color(code) for code in range(-1, 60)]
    assert colors[0] == NONE_COLOR
    assert len(set(colors)) == len(colors)
    assert all(len(text) == 7 and int(text[1:], 16) >= 0 for text in colors)


@given(st.lists(st.text(max_size=6), unique=True, max_size=30))
def test_names_have_colours_of_their_own_whichever_come_after_them(names: list[str]) -> None:
    numbers = palette.numbers(names)
    assert {*numbers[:8]} <= {*range(8)}
    assert len(set(numbers)) == len(names)
    for size in range(len(names)):
        assert palette.numbers(names[:size]) == numbers[:size]


def lightness(colour: str) -> float:
    """Return the lightness of OKLab (Ottosson, "A perceptual color space", 2020)."""
    rgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    return float(np.array([0.2104542553, 0.7936177850, -0.0040720468]) @ np.cbrt(cones @ linear))


def test_the_ramp_grows_lighter_in_nearly_even_steps() -> None:
    steps = np.diff([lightness(colour) for colour in ramp()])
    assert len(ramp()) == 32 and len(set(ramp())) == 32
    assert steps.min() > 0
    assert steps.max() < 2 * steps.min()
    assert lightness(ramp()[-1]) - lightness(ramp()[0]) > 0.5
    assert ramp(2) == (ramp()[0], ramp()[-1])


# ---- selections ---------------------------------------------------------------------------------


def message(atlas: Atlas, rows: list[int], **other: object) -> dict[str, object]:
    bits = payload.encode_selection(rows, atlas)
    return {
        "version": atlas.version,
        "n": len(atlas),
        "count": len(set(rows)),
        "bits": bits,
        **other,
    }


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_selection_comes_back_as_sorted_rows(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 300))
    rows = data.draw(st.lists(st.integers(0, n - 1), max_size=n))
    atlas = make_atlas(n)
    found = payload.decode_selection(message(atlas, rows), atlas)
    assert found.rows.tolist() == sorted(set(rows))
    assert found.atlas_version == atlas.version


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["version", "n", "count", "bits"]),
        st.one_of(
            st.none(),
            st.integers(),
            st.text(max_size=40),
            st.binary(max_size=9),
            st.lists(st.integers(), max_size=2),
        ),
    )
)
def test_no_message_does_more_than_be_refused(change: dict[str, object]) -> None:
    atlas = make_atlas(33)
    sent = {**message(atlas, [1, 2, 32]), **change}
    try:
        found = payload.decode_selection(sent, atlas)
    except CurationError as error:
        assert "\n" not in str(error)
        assert "again" in str(error)
    else:
        assert len(found) <= 33


def squeezed(raw: bytes) -> str:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    return base64.b64encode(squeeze.compress(raw) + squeeze.flush()).decode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "older"}, "drawn on atlas older"),
        ({"n": 19}, "is over 19 items, expected 20"),
        ({"count": 7}, "says 7 items and holds 2"),
        ({"bits": "***"}, "not base64"),
        ({"bits": "é"}, "not base64"),
        ({"bits": None}, "missing or too long"),
        ({"bits": "A" * 5000}, "missing or too long"),
        ({"bits": base64.b64encode(b"\xff\xff\xff").decode()}, "not deflate"),
        ({"bits": squeezed(bytes(2))}, "must hold 3 bytes"),
        ({"bits": squeezed(bytes(4))}, "must hold 3 bytes"),
        ({"bits": squeezed(bytes(300_000))}, "must hold 3 bytes"),
        ({"bits": squeezed(b"\0\0\xf0")}, "bits beyond item 20"),
    ],
)
def test_a_selection_that_is_not_what_the_map_sends_is_refused(
    change: dict[str, object], words: str
) -> None:
    atlas = make_atlas(20)
    with pytest.raises(CurationError, match=words):
        payload.decode_selection({**message(atlas, [3, 4]), **change}, atlas)


def test_a_bomb_is_not_unpacked() -> None:
    atlas = make_atlas(200_000)
    sent = {**message(atlas, []), "bits": squeezed(bytes(30_000_000))}  # 30 MB in 39 kB of text
    tracemalloc.start()
    with pytest.raises(CurationError, match="must hold 25000 bytes"):
        payload.decode_selection(sent, atlas)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("indices", [[-1], [20], [0, 10**12]])
def test_a_wire_index_that_is_not_on_the_atlas_is_refused(indices: list[int]) -> None:
    with pytest.raises(CurationError, match="expected 0 to 19"):
        payload.rows_at(make_atlas(20), indices)


# ---- the modules --------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [component.map_module, component.sheet_module])
def test_the_joined_module_has_one_export_and_nothing_to_import(source, tmp_path: Path) -> None:
    text = source()
    lines = [line for line in text.splitlines() if line.startswith(("import", "export"))]
    assert len(lines) == 1 and lines[0].startswith("export default ")
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed; the browser tests load the module too")
    (tmp_path / "module.mjs").write_text(text)
    subprocess.run([node, "--check", tmp_path / "module.mjs"], check=True)


def test_every_static_file_is_shipped_and_checked() -> None:
    scripts = {path.name for path in component.STATIC.glob("*.js")}
    hidden = component.TYPED_FILES + component.LIVE_FILES
    joined = component.MAP_FILES + component.SHEET_FILES + component.CLEAN_FILES + hidden
    assert scripts == set(joined)
    for name in scripts:
        text = (component.STATIC / name).read_text()
        assert text.startswith("// @ts-check\n")


@pytest.mark.parametrize(
    "files", [component.MAP_FILES, component.SHEET_FILES, component.CLEAN_FILES]
)
def test_a_module_stands_after_what_it_imports(files: tuple[str, ...]) -> None:
    for at, name in enumerate(files):
        for line in (component.STATIC / name).read_text().splitlines():
            if line.startswith("import "):
                assert line.split("'./")[1].rstrip("';") in files[:at], (name, line)


def test_strays_are_positions_on_the_sheet_they_were_dropped_on() -> None:
    ids = ["a", "b", "c"]
    sent = {"version": component.sheet_version(ids), "dropped": [2, 0], "seq": 1}
    assert component.decode_strays(sent, ids).tolist() == [True, False, True]
    with pytest.raises(CurationError, match="another contact sheet"):
        component.decode_strays(sent, ["a", "c", "b"])
    for bad in ([3], [-1], ["a"], [True], [0.0], None, "0"):
        with pytest.raises(CurationError, match="positions from 0 to 2"):
            component.decode_strays({**sent, "dropped": bad}, ids)
