"""What the map can be coloured by: every kind of column, kept until a table or a label changes."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import aligned, coding, fields
from curation.fields import CodeColumn, ValueColumn
from curation.schema import Selection
from curation.viewer import payload
from curation.workspace import Workspace
from embeddings import tables
from embeddings.build import Options, build
from embeddings.errors import CurationError
from embeddings.store import Store


@pytest.fixture
def workspace(digits: str) -> Workspace:
    return Workspace(digits)


def join(workspace: Workspace, **columns: list[Any]) -> None:
    """Replace the metadata by these columns, one value for each item of the atlas."""
    ids = workspace.atlas().item_ids
    shuffled = np.random.default_rng(1).permutation(len(ids))
    rows = {"item_id": pa.array(ids.tolist()), **{k: pa.array(v) for k, v in columns.items()}}
    workspace.store.save_fields(pa.table(rows).take(pa.array(shuffled)))


def some(workspace: Workspace, *rows: int) -> Selection:
    atlas = workspace.atlas()
    return Selection(atlas.item_ids[np.array(rows)], atlas.version)


def shown(workspace: Workspace) -> dict[str, str]:
    return {field.name: field.coding for field in fields.fields(workspace)}


def names_of(found: CodeColumn | ValueColumn) -> list[str | None]:
    assert isinstance(found, CodeColumn)
    return [found.legend[code] if code >= 0 else None for code in found.codes]


def values_of(found: CodeColumn | ValueColumn) -> list[float | None]:
    assert isinstance(found, ValueColumn)
    return [None if np.isnan(value) else value + found.zero for value in found.values.tolist()]


# ---- which fields there are ---------------------------------------------------------------------


def test_cluster_comes_first_then_decisions_layout_image_and_metadata(workspace: Workspace) -> None:
    found = fields.fields(workspace)
    assert [field.name for field in found][:6] == [
        *("cluster", "category", "instance", "flags", "membership", "outlier_score")
    ]
    assert [field.name for field in found if field.group == "image"] == [
        *("width", "height", "format", "source", "first_seen", "field.folder")
    ]
    assert [(field.name, field.title) for field in found if field.group == "metadata"] == [
        ("field.digit", "digit")
    ]
    groups = [field.group for field in found[1:]]
    assert groups == sorted(groups, key=["decided", "layout", "image", "metadata"].index)


def test_every_field_that_is_offered_has_a_column_of_its_coding(workspace: Workspace) -> None:
    n = len(workspace.atlas())
    for field in fields.fields(workspace):
        found = fields.column(workspace, field.name)
        assert (len(found), found.field, found.seq) == (n, field.name, field.seq)
        assert (found.coding if isinstance(found, CodeColumn) else "value") == field.coding


def test_an_unknown_field_is_refused_with_the_known_ones(workspace: Workspace) -> None:
    for name in ("nope", "field.nope", "digit", "item_id", "field.item_id", "taken_at", ""):
        with pytest.raises(CurationError, match="there are: cluster, category, .*field.digit"):
            fields.column(workspace, name)


def test_fields_that_hold_nothing_or_differ_everywhere_are_not_offered(
    workspace: Workspace,
) -> None:
    n = len(workspace.atlas())
    join(
        workspace,
        empty=[None] * n,
        blank=[" "] * n,
        nan=[float("nan")] * n,
        caption=[f"photo {k} of it" for k in range(n)],
        half=[f"shop {k // 2}" for k in range(n)],
        less=[f"shop {k // 3}" for k in range(n)],
        tags=[["a"]] * n,
    )
    # half of 1,797 items is 898.5: 899 shops are more, 599 are not
    assert [name for name in shown(workspace) if name.startswith("field.")] == ["field.less"]


@pytest.mark.parametrize(("n", "distinct", "offered"), [(50, 50, True), (51, 26, False)])
def test_a_text_that_differs_nearly_everywhere_is_a_note(n: int, distinct: int, offered: bool):
    texts = [f"text {k % distinct}" for k in range(n)]
    assert (coding.kind_of(pa.chunked_array([texts])) is not None) == offered


def test_more_than_4096_texts_cannot_be_told_apart() -> None:
    for distinct, kind in ((4096, "codes"), (4097, None)):
        texts = [f"text {k % distinct}" for k in range(20_000)]
        assert coding.kind_of(pa.chunked_array([texts])) == kind


# ---- what is in them ----------------------------------------------------------------------------

BERLIN = datetime.fromisoformat("2024-05-01T14:00:00+02:00")
KINDS: dict[str, tuple[list[Any], list[Any]]] = {
    "whole numbers": ([10, 9, None, 9], ["10", "9", None, "9"]),
    "whole floats": ([2.0, float("nan"), 1.0, -1.0], ["2", None, "1", "-1"]),
    "texts of few numbers": (["10", "9", " ", "9.0"], ["10", "9", None, "9"]),
    "truth": ([True, None, False, True], ["true", None, "false", "true"]),
    "texts": (["b", " a ", "", None], ["b", "a", None, None]),
    "leading zeros": (["007", "12", "7", ""], ["007", "12", "7", None]),
    "one that is no number": (["1", "2", "n/a", None], ["1", "2", "n/a", None]),
    "one name in two spellings": (["a  b", "a b", "a\tb", "c"], ["a b", "a b", "a b", "c"]),
    "a line break": (["a\nb", None, "c", "c"], ["a b", None, "c", "c"]),
    "numbers": ([0.5, None, float("inf"), 3.0], [0.5, None, None, 3.0]),
    "too large": ([0.5, 1e300, 2.0, 1.0], [0.5, None, 2.0, 1.0]),
    "texts of numbers": (["0.5", "nan", "-inf", "1e3"], [0.5, None, None, 1000.0]),
    "times": (
        [datetime(2024, 5, 1, 12), None, datetime(2024, 5, 1, 12, 0, 1), datetime(1969, 12, 31)],
        [1714564800.0, None, 1714564801.0, -86400.0],
    ),
    "zoned": ([BERLIN, None, None, None], [1714564800.0, None, None, None]),
    "dates": ([date(1970, 1, 2), None, date(1970, 1, 3), None], [86400.0, None, 172800.0, None]),
    "texts of times": (
        ["1970-01-02", "1970-01-02T00:00:10Z", "1970-01-02 01:00:00+01:00", ""],
        [86400.0, 86410.0, 86400.0, None],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_of_the_metadata_is_read_as_what_it_is(kind: str, workspace: Workspace) -> None:
    given_values, expected = KINDS[kind]
    n = len(workspace.atlas())
    times = n // len(given_values) + 1
    join(workspace, it=(given_values * times)[:n])
    found = fields.column(workspace, "field.it")
    values: list[Any] = names_of(found) if isinstance(found, CodeColumn) else values_of(found)
    close = 64 if kind == "times" else 1e-6  # 54 years of seconds in a float32
    assert values[:40] == pytest.approx((expected * times)[:40], abs=close)
    assert isinstance(found, CodeColumn) == isinstance(expected[0], str)
    if isinstance(found, ValueColumn):
        assert found.unit == ("time" if "times" in kind or kind in ("zoned", "dates") else "")


def test_thirteen_whole_numbers_are_a_quantity_and_twelve_are_names() -> None:
    for distinct, kind in ((12, "codes"), (13, "numbers")):
        assert coding.kind_of(pa.chunked_array([[k % distinct for k in range(99)]])) == kind
    assert coding.kind_of(pa.chunked_array([[0.5, 1.0]])) == "numbers"


def test_a_time_is_exact_near_the_first_one(workspace: Workspace) -> None:
    n = len(workspace.atlas())
    join(workspace, at=[datetime.fromtimestamp(1.7e9 + k, UTC) for k in range(n)])
    found = fields.column(workspace, "field.at")
    assert isinstance(found, ValueColumn)
    assert (found.zero % 86400, found.unit) == (0, "time")
    assert values_of(found) == [1.7e9 + k for k in range(n)]


def test_midnights_of_fifty_years_are_exact_and_times_are_kept_whole(workspace: Workspace) -> None:
    n = len(workspace.atlas())
    first = datetime(1975, 3, 1, 10, 0, 15, tzinfo=UTC)
    days = [datetime(1975, 3, 2, tzinfo=UTC) + timedelta(days=10 * k) for k in range(n - 2)]
    last = datetime(2024, 12, 31, 23, 59, 59, tzinfo=UTC)
    join(workspace, at=[first, *days, last])
    found = fields.column(workspace, "field.at")
    assert isinstance(found, ValueColumn) and found.exact is not None
    assert values_of(found)[1:-1] == [day.timestamp() for day in days]
    assert found.exact.tolist() == [day.timestamp() for day in (first, *days, last)]


def test_metadata_joined_again_has_another_number_and_stamp(workspace: Workspace) -> None:
    def told() -> tuple[str, dict[str, int]]:
        return fields.stamp(workspace), {one.name: one.seq for one in fields.fields(workspace)}

    stamp, before = told()
    join(workspace, digit=[k % 3 for k in range(len(workspace.atlas()))])
    again, after = told()
    assert again != stamp and after["field.digit"] != before["field.digit"]
    assert fields.column(workspace, "field.digit").seq == after["field.digit"]
    assert {name for name in after if after[name] != before.get(name)} == {"field.digit"}


def test_digits_in_names_are_sorted_as_numbers() -> None:
    names = ["b", "Shop 10", "shop 9", "shop 9b", "a", "10", "9", "9a"]
    order = ["9", "9a", "10", "a", "b", "shop 9", "shop 9b", "Shop 10"]
    codes, legend = coding.codes(pa.chunked_array([names]))
    assert legend == order
    assert [legend[code] for code in codes] == names


@given(st.lists(st.one_of(st.none(), st.text(max_size=8)), min_size=1, max_size=60))
def test_any_texts_are_read_back_or_left_out(texts: list[str | None]) -> None:
    column = pa.chunked_array([pa.array(texts, pa.string())])
    kind = coding.kind_of(column)
    if kind == "codes":
        codes, legend = coding.codes(column)
        assert len(codes) == len(texts)
        assert set(codes.tolist()) - {-1} == set(range(len(legend)))
        assert len(set(zip(texts, codes.tolist(), strict=True))) == len(set(texts))
    elif kind is not None:
        read = coding.seconds if kind == "times" else coding.numbers
        assert np.isfinite(read(column)).any()


def test_what_a_detector_said_is_offered_where_it_said_something(workspace: Workspace) -> None:
    assert not {"class_name", "confidence", "label_quality"} & set(shown(workspace))
    items = workspace.store.read("items")
    n = items.num_rows
    names = pa.array(["cat" if k % 2 else None for k in range(n)])
    at = items.schema.get_field_index("class_name")
    items = items.set_column(at, "class_name", names)
    at = items.schema.get_field_index("confidence")
    items = items.set_column(at, "confidence", pa.array(np.arange(n, dtype=np.float32) / n))
    expected = dict(zip(items["item_id"].to_pylist(), names.to_pylist(), strict=True))
    workspace.store._replace("items", items)
    assert {"class_name": "category", "confidence": "value"}.items() <= shown(workspace).items()
    found = names_of(fields.column(workspace, "class_name"))
    assert found == [expected[item] for item in workspace.atlas().item_ids]


def test_label_quality_comes_from_the_first_record_of_an_image(workspace: Workspace) -> None:
    ids = workspace.atlas().item_ids
    texts = [(0, "a", 0.5), (0, "b", 0.9), (1, "a", None), (2, "a", 0.1), (2, "a", 0.25)]
    workspace.store.add_records(
        {
            "image_id": str(ids[row]),
            "path": "x",
            "record_id": record,
            "record": json.dumps({"label_quality_estimation": quality, "id": record}),
            "made_at": "2024-01-01",
        }
        for row, record, quality in texts
    )
    assert shown(workspace)["label_quality"] == "value"
    found = values_of(fields.column(workspace, "label_quality"))
    assert found[:4] == [0.5, None, 0.25, None]
    assert not any(value is not None for value in found[3:])


@pytest.mark.parametrize(
    "quality", ["9" * 30, "9" * 5000, "1e999", '"high"', "true", "[1]", '{"of": 1}', "NaN"]
)
def test_a_label_quality_that_is_no_finite_number_is_none(
    workspace: Workspace, quality: str
) -> None:
    ids = workspace.atlas().item_ids
    # a number further inside the record makes every one of them look as if it told one
    inside = '{"label_quality_estimation": 1}'
    told = [quality, "0.5", "1"]
    workspace.store.add_records(
        {
            "image_id": str(ids[row]),
            "path": "x",
            "record_id": "a",
            "record": f'{{"other": {inside}, "label_quality_estimation": {text}}}',
            "made_at": "2024-01-01",
        }
        for row, text in enumerate(told)
    )
    read = aligned.read(workspace.store, "records")["label_quality"].to_pylist()
    assert read == [1e30 if quality == "9" * 30 else None, 0.5, 1.0]
    assert shown(workspace)["label_quality"] == "value"


def test_columns_are_in_the_order_of_the_atlas_asked_for(workspace: Workspace) -> None:
    atlas = workspace.atlas()
    records = workspace.records()
    for name in ("field.digit", "width", "format", "source"):
        found = fields.column(workspace, name)
        read = names_of(found) if isinstance(found, CodeColumn) else values_of(found)
        expected = records[name].to_pylist()
        assert read == [str(one) if isinstance(found, CodeColumn) else one for one in expected]
    assert names_of(fields.column(workspace, "cluster")) == [
        None if number < 0 else str(number) for number in atlas.cluster.tolist()
    ]
    assert values_of(fields.column(workspace, "membership")) == atlas.membership.tolist()


# ---- what stays and what changes ----------------------------------------------------------------


def test_a_label_changes_the_decided_column_and_keeps_its_code(workspace: Workspace) -> None:
    workspace.label(some(workspace, 0, 1), "zebra")
    before = fields.column(workspace, "category")
    workspace.label(some(workspace, 2), "ant")
    after = fields.column(workspace, "category")
    assert isinstance(before, CodeColumn) and isinstance(after, CodeColumn)
    assert names_of(after)[:4] == ["zebra", "zebra", "ant", None]
    assert list(before.legend) == ["zebra"] and list(after.legend) == ["zebra", "ant"]
    assert before.codes[0] == after.codes[0]
    assert after.seq > before.seq == fields.fields(workspace)[1].seq - 1
    workspace.flag(some(workspace, 3), "unclear")
    flags = fields.column(workspace, "flags")
    assert isinstance(flags, CodeColumn)
    assert flags.codes[:4].tolist() == [0, 0, 0, 8]
    known = {field.name: field.seq for field in fields.fields(workspace)}
    assert fields.column(workspace, "field.digit").seq == known["field.digit"]


def test_new_metadata_changes_the_machine_column(tmp_path: Path, digits: str) -> None:
    workspace = Workspace(digits)
    images = workspace.store.read("images", ["source"])["source"][0].as_py()
    first = fields.column(workspace, "field.digit")
    table = tmp_path / "more.csv"
    ids = workspace.atlas().item_ids
    table.write_text("sha256,mood\n" + "".join(f"{one},{'glad'}\n" for one in ids[:9]))
    build(digits, [Path(images)], Options(encoder="builtin", metadata=(table,)))
    assert "field.mood" in shown(workspace)
    assert names_of(fields.column(workspace, "field.mood"))[:10] == [*["glad"] * 9, None]
    again = fields.column(workspace, "field.digit")
    assert again is not first and names_of(again) == names_of(first)


def test_tables_are_read_again_only_when_they_have_changed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, found = fields.fields(workspace), fields.column(workspace, "field.digit")
    read: list[str] = []
    original = Store.read

    def counted(store: Store, name: str, columns: Any = None) -> pa.Table:
        read.append(name)
        return original(store, name, columns)

    monkeypatch.setattr(Store, "read", counted)
    assert fields.fields(workspace) == listed
    assert fields.column(workspace, "field.digit") is found
    assert not set(read) & {*aligned.KEY, "atlases"}
    join(workspace, digit=["x"] * len(workspace.atlas()))
    assert names_of(fields.column(workspace, "field.digit"))[:2] == ["x", "x"]
    assert "fields" in read


def grow(store: Store, table: str, workspace: Workspace) -> None:
    """Let something come to a table that none of its rows told before."""
    if table == "fields":
        join(workspace, digit=[1] * len(workspace.atlas()), mood=["glad"] * len(workspace.atlas()))
        return
    row = store.read(table).slice(0, 1).to_pylist() or [{"path": "x", "made_at": "2024-01-01"}]
    news = {
        "items": {"item_id": "f" * 32, "class_name": "cat"},
        "images": {"image_id": "f" * 32, "batch": "monday"},
        "records": {
            "image_id": str(workspace.atlas().item_ids[0]),
            "record_id": "a",
            "record": '{"label_quality_estimation": 0.5}',
        },
    }
    store._append(table, pa.Table.from_pylist([{**row[0], **news[table]}], tables.SCHEMAS[table]))


@pytest.mark.parametrize(
    ("table", "news"),
    [
        ("items", "class_name"),
        ("images", "batch"),
        ("records", "label_quality"),
        ("fields", "field.mood"),
    ],
)
def test_what_comes_to_one_table_is_seen_and_no_other_is_read_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, table: str, news: str
) -> None:
    of = {"images": "width", "fields": "field.digit"}
    listed = {field.name: field for field in fields.fields(workspace)}
    kept = {name: fields.column(workspace, name) for name in of.values()}
    assert news not in listed
    grow(workspace.store, table, workspace)
    read: list[str] = []
    original = Store.read

    def counted(store: Store, name: str, columns: Any = None) -> pa.Table:
        read.append(name)
        return original(store, name, columns)

    monkeypatch.setattr(Store, "read", counted)
    after = {field.name: field for field in fields.fields(workspace)}
    others = [name for at, name in of.items() if at != table]
    assert [fields.column(workspace, name) is kept[name] for name in others] == [True] * len(others)
    assert {*aligned.KEY} & {*read} == {table}
    assert news in after and after[news].seq == workspace.store.version(table)
    assert [after[name] == listed[name] for name in others] == [True] * len(others)
    for name in (of[table],) if table in of else ():
        assert after[name].seq > listed[name].seq
        assert fields.column(workspace, name).seq == after[name].seq


# ---- colours that stay --------------------------------------------------------------------------


def painted(workspace: Workspace, name: str) -> dict[str, str]:
    """Return the colour of each value that a browser is told."""
    packed = payload.pack_column(workspace.atlas(), fields.column(workspace, name))
    size = int.from_bytes(packed[8:12], "little")
    return {one["name"]: one["color"] for one in json.loads(packed[16 : 16 + size])["legend"]}


def test_a_value_that_comes_later_leaves_the_colours_of_the_others_alone(
    workspace: Workspace,
) -> None:
    """Whatever its name and wherever its items stand in the table and on the atlas."""
    n = len(workspace.atlas())
    first = np.argsort(workspace.item_nos(workspace.atlas().version))  # rows, oldest item first
    shops = np.array([f"shop {k % 10}" for k in range(n)], dtype=object)
    before = shops.copy()
    before[first[n // 2 :]] = None
    join(workspace, shop=before.tolist())
    told = painted(workspace, "field.shop")
    assert len(told) == len(set(told.values())) == 10
    shops[first[-3:]] = ["a shop", "shop 4b", "zoo"]
    join(workspace, shop=shops.tolist())
    after = painted(workspace, "field.shop")
    assert told.items() <= after.items()
    assert len(after) == len(set(after.values())) == 13


def test_a_value_keeps_its_colour_where_the_oldest_items_are_given_another(
    workspace: Workspace,
) -> None:
    n = len(workspace.atlas())
    join(workspace, mood=["sad"] * n)
    sad = painted(workspace, "field.mood")["sad"]
    join(workspace, mood=["glad"] * (n - 1) + ["sad"])
    assert painted(workspace, "field.mood")["sad"] == sad


def test_only_the_last_columns_are_kept_and_none_can_be_written_to(workspace: Workspace) -> None:
    n = len(workspace.atlas())
    join(workspace, **{f"f{k}": [k] * n for k in range(20)})
    for k in range(20):
        fields.column(workspace, f"field.f{k}")
    assert len(fields._columns._found) == fields.COLUMNS_KEPT
    found = fields.column(workspace, "field.f0")
    assert isinstance(found, CodeColumn)
    with pytest.raises(ValueError, match="read-only"):
        found.codes[0] = 1


def test_a_table_replaced_while_it_is_read_is_read_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows found in one state of a table must not be looked up in the next."""
    n = len(workspace.atlas())
    join(workspace, it=[f"old {k % 9}" for k in range(n)])
    original = Store.read
    meddled: list[bool] = []

    def meddling(store: Store, name: str, columns: Any = None) -> pa.Table:
        if name == "fields" and columns == ("it",) and not meddled:
            meddled.append(True)
            ids = workspace.atlas().item_ids.tolist()[::-1]
            rows = {"item_id": ids, "it": [f"new {k % 9}" for k in range(n)][::-1]}
            store.save_fields(pa.table(rows))
        return original(store, name, columns)

    fields.fields(workspace)
    monkeypatch.setattr(Store, "read", meddling)
    assert names_of(fields.column(workspace, "field.it")) == [f"new {k % 9}" for k in range(n)]
    assert meddled


# ---- one item in words --------------------------------------------------------------------------


def lines(workspace: Workspace, row: int) -> dict[str, str]:
    said = fields.details(workspace, None, row)["lines"]
    return {line["name"]: line["value"] for line in said}


def test_a_card_says_what_is_known_of_one_item_in_order(workspace: Workspace) -> None:
    atlas, records = workspace.atlas(), workspace.records().to_pylist()
    workspace.label(some(workspace, 7), "seven")
    workspace.flag(some(workspace, 7), "unclear")
    workspace.flag(some(workspace, 7), "duplicate")
    said = fields.details(workspace, atlas.version, 7)
    assert (said["item_id"], said["title"]) == (
        atlas.item_ids[7],
        Path(records[7]["path"]).name,
    )
    found = lines(workspace, 7)
    assert list(found) == [
        *("cluster", "category", "flags", "size", "outlier score", "membership"),
        *("digit", "folder", "path"),
    ]
    assert found["category"] == "seven" and found["flags"] == "duplicate, unclear"
    assert found["size"] == f"{records[7]['width']} x {records[7]['height']}"
    assert found["outlier score"] == f"{records[7]['outlier_score']:.2f}"
    assert (found["digit"], found["path"]) == (str(records[7]["field.digit"]), records[7]["path"])
    assert found["cluster"] == str(atlas.cluster[7])
    noise = np.full(len(atlas), -1, np.int32)
    workspace._atlases[atlas.version] = replace(atlas, cluster=noise)
    assert lines(workspace, 7)["cluster"] == "noise"


def test_a_card_shows_at_most_eight_fields_that_hold_something(workspace: Workspace) -> None:
    n = len(workspace.atlas())
    more = {f"f{k}": [k + 0.5] * n for k in range(12)}
    join(workspace, aa=[None] * n, ab=[""] * n, ac=["one\ntwo " + "x" * 900] * n, **more)
    found = lines(workspace, 0)
    assert [name for name in found if name.startswith(("a", "f"))] == [
        *("ac", "f0", "f1", "f2", "f3", "f4", "f5", "f6")
    ]
    assert found["ac"].startswith("one two xxx") and len(found["ac"]) == 200
    assert found["f0"] == "0.5"


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (pa.timestamp("us"), 253402300800_000000, "10000-01-01 00:00:00"),
        (pa.timestamp("us"), -62198755200_500000, "-0002-12-31 23:59:59"),
        (pa.timestamp("us", "UTC"), 1714564801_000005, "2024-05-01 12:00:01Z"),
        (pa.timestamp("ns"), 1714564801_000000005, "2024-05-01 12:00:01"),
        (pa.date32(), 2932897, "10000-01-01"),
    ],
)
def test_a_card_shows_times_that_python_cannot_hold(
    kind: pa.DataType, value: int, text: str, workspace: Workspace
) -> None:
    ids = workspace.atlas().item_ids
    whole = pa.int32() if kind == pa.date32() else pa.int64()
    when = pa.array([value] * len(ids), whole).cast(kind)
    rows = pa.table({"item_id": pa.array(ids.tolist()), "when": when})
    workspace.store.save_fields(rows)
    assert lines(workspace, 0)["when"] == text


@pytest.mark.parametrize("row", [-1, 1797, 10**12])
def test_a_row_that_is_not_on_the_atlas_is_refused(row: int, workspace: Workspace) -> None:
    with pytest.raises(CurationError, match="expected 0 to 1796; reload"):
        fields.details(workspace, None, row)


def test_a_card_reads_rows_and_not_tables(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields.details(workspace, None, 0)
    read: list[str] = []
    monkeypatch.setattr(Store, "locations", lambda store: pytest.fail("every location was read"))
    original = Store.read
    monkeypatch.setattr(
        Store,
        "read",
        lambda store, name, *more: (read.append(name), original(store, name, *more))[1],
    )
    assert lines(workspace, 1796)["path"]
    assert set(read) <= {"atlas_runs"}


def test_a_card_names_where_the_image_is_now_and_not_where_it_was(workspace: Workspace) -> None:
    item_id = str(workspace.atlas().item_ids[3])
    known = next(one for one in workspace.store.locations() if one.image_id == item_id)
    moved = known.__class__(**{**known.__dict__, "path": "/new/é\udcff.png"})
    gone = known.__class__(**{**known.__dict__, "status": "moved"})
    workspace.store.add_locations([gone, moved])
    said = fields.details(workspace, None, 3)
    assert said["title"] == "é\\xff.png"
    assert said["lines"][-1] == {"name": "path", "value": "/new/é\\xff.png"}
    workspace.store.add_locations([known.__class__(**{**moved.__dict__, "status": "missing"})])
    assert "path" not in lines(workspace, 3)
    assert fields.details(workspace, None, 3)["title"] == item_id
