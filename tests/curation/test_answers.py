"""What a browser may ask, with no web server in between, and what it is refused."""

import io
import json

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import fields
from curation.viewer import answers, layouts, payload
from curation.viewer.answers import Answer, Refused
from curation.workspace import Workspace

GONE = "0123456789abcdef"


@pytest.fixture
def workspace(digits: str) -> Workspace:
    return Workspace(digits)


@pytest.fixture
def version(workspace: Workspace) -> str:
    return workspace.newest_version()


def ask(workspace: Workspace, address: str, body: bytes = b"", known: str = "") -> Answer:
    return answers.answer(workspace, *answers.parsed(address), body, known)


def status_of(workspace: Workspace, address: str, body: bytes = b"") -> int:
    with pytest.raises(Refused) as refused:
        ask(workspace, address, body)
    assert len(str(refused.value).splitlines()) == 1 and len(str(refused.value)) < 500
    return refused.value.status


def header(packed: bytes) -> dict[str, object]:
    length = payload.PREAMBLE.unpack_from(packed)[2]
    found = json.loads(packed[payload.PREAMBLE.size : payload.PREAMBLE.size + length])
    assert isinstance(found, dict)
    return found


# ---- what is there


def test_points_are_the_packed_atlas(workspace: Workspace, version: str) -> None:
    found = ask(workspace, f"points/{version}?format=2")
    assert found.body == payload.pack_points(workspace.atlas())
    assert (found.kind, found.cache) == (answers.PACKED, answers.FOR_EVER)


@pytest.mark.parametrize(
    ("path", "layout", "field"),
    [("grid", "grid", None), ("by?field=cluster", "by", "cluster")],
)
def test_other_layouts_are_answered_as_they_are_worked_out(
    workspace: Workspace, version: str, path: str, layout: str, field: str | None
) -> None:
    found = ask(workspace, f"places/{version}/{path}")
    assert found.body == layouts.places(workspace, workspace.atlas(), layout, field)
    assert found.cache == answers.ASK_AGAIN, "what people decide moves items"


def test_a_layout_by_a_decided_field_is_made_anew_after_a_decision(
    workspace: Workspace, version: str
) -> None:
    address = f"places/{version}/by?field=category"
    before = ask(workspace, address)
    assert ask(workspace, address, known=before.tag).status == 304
    workspace.label(workspace.select("cluster:0"), "zero")
    after = ask(workspace, address, known=before.tag)
    assert after.status == 200 and after.tag != before.tag


def test_every_field_that_is_offered_is_answered(workspace: Workspace, version: str) -> None:
    offered = fields.fields(workspace)
    assert {"value", "category", "bits"} == {field.coding for field in offered}
    for field in offered:
        found = ask(workspace, f"column/{version}/{field.name}")
        said = header(found.body)
        assert (said["field"], said["coding"], said["seq"]) == (field.name, field.coding, field.seq)


def test_what_the_asker_has_is_not_sent_again(workspace: Workspace, version: str) -> None:
    for path in ("points/{v}", "column/{v}/category", "column/{v}/cluster", "places/{v}/grid"):
        address = path.format(v=version)
        first = ask(workspace, address)
        again = ask(workspace, address, known=f'"other", {first.tag}')
        assert (again.status, again.body, again.tag) == (304, b"", first.tag), path
        assert ask(workspace, address, known='"other"').body == first.body


def test_a_delta_names_what_changed_and_nothing_else(workspace: Workspace, version: str) -> None:
    first = workspace.select("cluster:0")
    workspace.label(first, "zero")
    since = workspace.journal.head
    some = workspace.select("cluster:1")
    workspace.label(some, "one")
    found = header(ask(workspace, f"column/{version}/category?since={since}").body)
    assert (found["form"], found["since"], found["changed"]) == ("delta", since, len(some))
    assert found["seq"] == since + 1
    other = header(ask(workspace, f"column/{version}/category?since=0").body)
    assert other["changed"] == len(first) + len(some)


def test_who_knows_a_later_journal_than_this_one_gets_the_whole_column(
    workspace: Workspace, version: str
) -> None:
    found = header(ask(workspace, f"column/{version}/category?since=99").body)
    assert (found["form"], found["seq"]) == ("full", 0)


def test_who_knows_a_journal_made_anew_under_the_name_gets_the_whole_column(
    workspace: Workspace, version: str
) -> None:
    for number in range(3):
        workspace.label(workspace.select(f"cluster:{number}"), str(number))
    mine = workspace.dataset.dataset_id
    same = header(ask(workspace, f"column/{version}/category?since=2&journal={mine}").body)
    assert (same["form"], same["journal"]) == ("delta", mine)
    found = ask(workspace, f"column/{version}/category?since=2&journal={'f' * 32}")
    assert header(found.body)["form"] == "full"


def test_metadata_joined_again_is_news_and_another_column(
    workspace: Workspace, version: str
) -> None:
    def told() -> tuple[object, object, bytes]:
        column = ask(workspace, f"column/{version}/field.digit?since=1").body
        return json.loads(ask(workspace, "head").body)["tables"], header(column)["seq"], column

    before = told()
    ids = workspace.atlas().item_ids.tolist()
    digits = [k % 3 for k in range(len(ids))]
    workspace.store.save_fields(pa.table({"item_id": ids, "digit": digits}))
    assert all(old != new for old, new in zip(before, told(), strict=True))


def test_a_machine_field_is_whole_whatever_the_asker_knows(
    workspace: Workspace, version: str
) -> None:
    assert header(ask(workspace, f"column/{version}/cluster?since=0").body)["form"] == "full"


def test_the_hover_card_is_told_of_the_item_at_a_wire_index(
    workspace: Workspace, version: str
) -> None:
    atlas = workspace.atlas()
    row = int(payload.rows_at(atlas, [7])[0])
    found = ask(workspace, f"item/{version}/7")
    said = json.loads(found.body)
    assert said == fields.details(workspace, version, row)
    assert said["item_id"] == atlas.item_ids[row] and found.cache == "no-store"


def test_a_selection_grows_by_the_nearest_of_each_of_its_items(
    workspace: Workspace, version: str
) -> None:
    atlas, graph = workspace.atlas(), workspace.graph("builtin")
    assert graph is not None
    rows = np.random.default_rng(4).choice(len(atlas), 40, replace=False)
    for k in (1, 5, 100):
        found = ask(workspace, f"grow/{version}?k={k}", payload.squeezed_rows(rows, atlas))
        at = {item_id: row for row, item_id in enumerate(graph.item_ids.tolist())}
        near = [graph.rows[at[item_id], :k] for item_id in atlas.item_ids[rows].tolist()]
        oracle = {*atlas.item_ids[rows], *graph.item_ids[np.concatenate(near)]}
        assert set(atlas.item_ids[payload.rows_in(found.body, atlas)]) == oracle
    nothing = ask(workspace, f"grow/{version}", payload.squeezed_rows([], atlas))
    assert len(payload.rows_in(nothing.body, atlas)) == 0


def test_thumbnails_are_found_by_id_and_by_wire_index(workspace: Workspace, version: str) -> None:
    atlas = workspace.atlas()
    item_id = atlas.item_ids[payload.rows_at(atlas, [5])[0]]
    by_id, by_index = ask(workspace, f"thumb/{item_id}"), ask(workspace, f"thumb_at/{version}/5")
    assert by_id == by_index and by_id.kind == answers.JPEG
    assert PIL.Image.open(io.BytesIO(by_id.body)).size == (64, 64)


@pytest.mark.parametrize(
    ("cell", "size"), [("", (1024, 192)), ("?cell=64", (1024, 192)), ("?cell=128", (1024, 640))]
)
def test_a_sheet_has_cells_of_the_size_asked_for(
    workspace: Workspace, version: str, cell: str, size: tuple[int, int]
) -> None:
    found = ask(workspace, f"sheet/{version}{cell}", np.arange(40, dtype="<u4").tobytes())
    assert PIL.Image.open(io.BytesIO(found.body)).size == size


def test_the_head_tells_the_newest_decision_and_atlas_and_folds_nothing(
    workspace: Workspace, version: str
) -> None:
    journal = workspace.dataset.dataset_id
    known = {"journal": journal, "seq": 0, "version": version, "tables": fields.stamp(workspace)}
    assert json.loads(ask(workspace, "head").body) == known
    other = Workspace(workspace.name)
    other.label(other.select("cluster:0"), "zero")
    statements: list[str] = []
    workspace.journal._db.set_trace_callback(statements.append)
    assert json.loads(ask(workspace, "head").body) == {**known, "seq": 1}
    workspace.journal._db.set_trace_callback(None)
    assert statements == ["SELECT coalesce(max(seq), 0) FROM decisions"]
    assert workspace.labels.counts("category") == {}, "nothing was replayed"


# ---- what is refused


@pytest.mark.parametrize(
    "address",
    [
        "",
        "points",
        "points/",
        "nothing/{v}",
        "head/more",
        "points/{gone}",
        "points/{v}/more",
        "points/..%2f..%2fdataset.json",
        "places/{v}/spiral",
        "places/{gone}/grid",
        "places/{v}/by",
        "places/{v}/by?field=secret",
        "column/{v}",
        "column/{v}/secret",
        "column/{v}/field.digit%00",
        "column/{gone}/category",
        "item/{v}/99999",
        "item/{gone}/0",
        "thumb/nobody",
        "thumb/' OR '1'='1",
        "thumb/..%2f..%2fdecisions.sqlite",
        "thumb_at/{v}/99999",
        "thumb_at/{gone}/0",
        "sheet/{gone}",
    ],
)
def test_what_is_not_there_is_one_line(workspace: Workspace, version: str, address: str) -> None:
    body = np.zeros(1, "<u4").tobytes()
    assert status_of(workspace, address.format(v=version, gone=GONE), body) == 404


@pytest.mark.parametrize(
    "address",
    [
        "item/{v}/-1",
        "item/{v}/1.5",
        "item/{v}/\u0661",
        "thumb_at/{v}/0x1",
        "thumb_at/{v}/9999999999999999",
        "column/{v}/category?since=-1",
        "column/{v}/category?since=later",
        "grow/{v}?k=0",
        "grow/{v}?k=101",
        "grow/{v}?k=a",
        "sheet/{v}?cell=65",
        "sheet/{v}?cell=0",
    ],
)
def test_a_number_that_is_none_is_refused(workspace: Workspace, version: str, address: str) -> None:
    assert status_of(workspace, address.format(v=version), b"\0" * 4) == 400


@pytest.mark.parametrize("body", [b"", b"abc", b"\0" * 4 * 5000])
def test_a_sheet_wants_whole_indices_and_not_too_many(
    workspace: Workspace, version: str, body: bytes
) -> None:
    assert status_of(workspace, f"sheet/{version}", body) == 400


def test_a_body_may_be_as_long_as_the_question_needs(workspace: Workspace, version: str) -> None:
    n = len(workspace.atlas())
    assert answers.most_bytes(workspace, f"sheet/{version}", {}) == 4 * 4096
    assert answers.most_bytes(workspace, f"sheet/{version}", {"cell": "128"}) == 4 * 1024
    assert n / 8 < answers.most_bytes(workspace, f"grow/{version}", {}) < n / 8 + 1100
    assert answers.most_bytes(workspace, "head", {}) == 0
    with pytest.raises(Refused, match="is gone"):
        answers.most_bytes(workspace, f"grow/{GONE}", {})
    noise = np.random.default_rng(0).random(n) < 0.5
    longest = payload.squeezed_rows(np.flatnonzero(noise), workspace.atlas())
    assert len(longest) <= answers.most_bytes(workspace, f"grow/{version}", {})


@pytest.fixture(scope="module")
def lasting(built_home, tmp_path_factory) -> Workspace:
    """One workspace for many examples; they only read."""
    import shutil

    home = tmp_path_factory.mktemp("fuzzed") / "home"
    shutil.copytree(built_home, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURATE_HOME", str(home))
        return Workspace("digits")


PARTS = st.sampled_from([*answers.ANSWERS, "VERSION", "grid", "by", "category", "0", "", "..", "%"])
WORDS = st.one_of(PARTS, st.text(max_size=12))
QUERIES = st.dictionaries(st.sampled_from(["field", "since", "k", "cell"]), st.text(max_size=8))


@settings(max_examples=250)
@given(st.lists(WORDS, max_size=4), QUERIES, st.binary(max_size=80), st.text(max_size=20))
def test_nothing_that_is_asked_breaks_more_than_its_own_answer(
    lasting: Workspace, words: list[str], query: dict[str, str], body: bytes, known: str
) -> None:
    version = lasting.newest_version()
    path = "/".join(version if word == "VERSION" else word for word in words)
    try:
        found = answers.answer(lasting, path, query, body, known)
    except Refused as refused:
        assert refused.status in (400, 404) and len(str(refused)) < 1000
    else:
        assert found.status in (200, 304)


@settings(max_examples=150)
@given(st.binary(max_size=300))
def test_bytes_that_are_no_selection_do_not_grow(lasting: Workspace, body: bytes) -> None:
    assert status_of(lasting, f"grow/{lasting.newest_version()}", body) == 400


def test_a_bomb_is_not_inflated(lasting: Workspace) -> None:
    import zlib

    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = squeeze.compress(bytes(50_000_000)) + squeeze.flush()
    assert status_of(lasting, f"grow/{lasting.newest_version()}", bomb) == 400
