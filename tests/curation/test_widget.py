"""The widget as a kernel drives it: messages in, messages out, decisions in the journal."""

import gc
import json
import re
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import comm.base_comm
import numpy as np
import pyarrow as pa
import pytest

import curation
from curation.journal import Journal
from curation.notebook import OpenDataset
from curation.viewer import answers, payload, widget
from curation.viewer.widget import AtlasMap
from curation.workspace import Workspace
from embeddings.errors import CurationError

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "notebook.md"


class Page(comm.base_comm.BaseComm):
    """A browser's end of the messages: what it is told, in order."""

    opened: ClassVar[list["Page"]] = []

    def publish_msg(self, msg_type: str, data: Any = None, buffers: Any = None, **_: Any) -> None:
        if msg_type == "comm_open":
            self.told: list[tuple[Any, list[bytes]]] = []
            Page.opened.append(self)
        if (data or {}).get("method") == "custom":
            self.told.append((data["content"], [bytes(part) for part in buffers or ()]))

    def say(self, content: dict[str, Any], *bodies: bytes) -> None:
        message = {"content": {"data": {"method": "custom", "content": content}}}
        self.handle_msg({**message, "buffers": [memoryview(body) for body in bodies]})

    def ask(self, number: int, path: str, *bodies: bytes) -> tuple[dict[str, Any], bytes]:
        self.say({"id": number, "path": path}, *bodies)
        return self.answer(number)

    def answer(self, number: int) -> tuple[dict[str, Any], bytes]:
        def found() -> list[tuple[Any, list[bytes]]]:
            return [one for one in self.told if one[0].get("id") == number]

        wait_for(lambda: bool(found()))
        ((content, (body,)),) = found()
        return content, body


def wait_for(holds: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def shown(digits: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[AtlasMap]:
    monkeypatch.setattr(comm, "create_comm", Page)
    Page.opened = []
    made = curation.open(digits).map()
    yield made
    made.close()


@pytest.fixture
def page(shown: AtlasMap) -> Page:
    return Page.opened[-1]


def drawn(shown: AtlasMap, rows: list[int], **other: Any) -> dict[str, Any]:
    """The message that the map sends when these rows are selected."""
    atlas = Workspace("digits").atlas(shown.version)
    bits = payload.encode_selection(rows, atlas)
    told = {"version": atlas.version, "n": len(atlas), "count": len(rows), "bits": bits, "seq": 1}
    return {"selection": {**told, **other}}


# ---- questions


def test_a_question_is_answered_with_the_bytes_of_the_http_route(
    shown: AtlasMap, page: Page
) -> None:
    workspace = Workspace("digits")
    content, body = page.ask(7, f"points/{shown.version}?format=2")
    assert content == {"id": 7, "status": 200}
    assert body == answers.answer(workspace, f"points/{shown.version}", {}).body
    atlas = workspace.atlas()
    three = np.arange(3, dtype="<u4").tobytes()
    _, sheet = page.ask(8, f"sheet/{shown.version}?cell=64", three)
    assert sheet == answers.answer(workspace, f"sheet/{atlas.version}", {"cell": "64"}, three).body


def test_a_refused_question_gets_its_status_and_line(shown: AtlasMap, page: Page) -> None:
    content, body = page.ask(1, "points/gone")
    assert (content["status"], body) == (404, b"")
    assert "gone" in content["error"]
    assert page.ask(2, "nothing/like/this")[0]["status"] == 404


def test_a_bug_answers_500_and_keeps_its_traceback(
    shown: AtlasMap,
    page: Page,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(answers, "answer", broken)
    assert page.ask(1, "head")[0] == {"id": 1, "status": 500}
    wait_for(lambda: "ZeroDivisionError: a bug" in caplog.text)


def test_a_question_that_the_map_has_forgotten_is_not_worked_on(
    shown: AtlasMap, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, begun, real = threading.Event(), [], answers.answer

    def slow(workspace: Workspace, path: str, *rest: Any) -> answers.Answer:
        begun.append(path)
        gate.wait(20)
        return real(workspace, path, *rest)

    monkeypatch.setattr(answers, "answer", slow)
    for number in range(4):
        page.say({"id": number, "path": "head"})
    wait_for(lambda: len(begun) == 4)
    page.say({"id": 4, "path": f"points/{shown.version}"})
    page.say({"id": 5, "path": "head"})
    page.say({"forget": 4})
    gate.set()
    assert page.answer(5)[0]["status"] == 200
    assert begun == ["head"] * 5


# ---- selections


def test_a_selection_of_the_map_is_a_list_of_ids_and_is_counted(
    shown: AtlasMap, page: Page
) -> None:
    counts: list[int] = []
    shown.observe(lambda change: counts.append(change["new"]), "selected_count")
    assert shown.selection == []
    page.say(drawn(shown, [3, 5, 1700]))
    ids = Workspace("digits").atlas().item_ids
    assert shown.selection == [str(ids[row]) for row in (3, 5, 1700)]
    assert "3 selected" in repr(shown) and "1,797 items" in repr(shown)
    page.say(drawn(shown, []))
    assert shown.selection == []
    assert counts == [3, 0]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"version": "older"}, "drawn on atlas older"),
        ({"n": 12}, "is over 12 items"),
        ({"count": 9}, "says 9 items"),
        ({"bits": "!"}, "not base64"),
    ],
)
def test_a_selection_that_does_not_fit_is_refused_on_the_map(
    shown: AtlasMap, page: Page, other: dict[str, Any], words: str
) -> None:
    page.say(drawn(shown, [1]))
    page.say(drawn(shown, [2, 3], **other))
    assert shown.selected_count == 1
    assert words in page.told[-1][0]["trouble"]


def test_what_is_selected_from_python_is_a_command_to_the_map(shown: AtlasMap) -> None:
    atlas = Workspace("digits").atlas()
    before = shown.data["command"]["seq"]
    shown.select("cluster:3")
    assert shown.selection == atlas.item_ids[atlas.members(3)].tolist()
    command = shown.data["command"]
    assert (command["seq"], command["op"]) == (before + 1, "select")
    assert command["bits"] == payload.encode_selection(atlas.members(3), atlas)
    ids = atlas.item_ids[[9, 4]].tolist()
    shown.select([*ids, ids[0]])
    assert shown.selection == sorted(ids)
    shown.select([])
    assert shown.selection == []
    assert shown.data["command"]["seq"] == before + 3


def test_what_is_not_on_the_map_cannot_be_selected(shown: AtlasMap) -> None:
    shown.select("cluster:0")
    for what in ("cluster:9999", "id:nobody", "sneakers", ["nobody"]):
        with pytest.raises(CurationError):
            shown.select(what)
    assert shown.selected_count == len(Workspace("digits").atlas().members(0))


def test_a_page_that_is_loaded_again_is_told_what_the_kernel_holds(
    shown: AtlasMap, page: Page
) -> None:
    page.say(drawn(shown, [3, 5]))
    _, body = page.ask(1, "selection")
    held = json.loads(body)
    atlas = Workspace("digits").atlas()
    assert held["bits"] == payload.encode_selection([3, 5], atlas)
    assert (held["op"], held["version"]) == ("select", atlas.version)
    assert held["seq"] == shown.data["command"]["seq"]


# ---- decisions


def test_a_decision_stands_in_the_journal_and_is_told_to_the_map(
    shown: AtlasMap, page: Page
) -> None:
    page.say(drawn(shown, [3, 5]))
    decision = shown.label("seven", note="clear")
    assert (decision.n_items, decision.value, decision.note) == (2, "seven", "clear")
    assert {f["name"]: f["seq"] for f in shown.data["fields"]}["category"] == decision.seq
    workspace = Workspace("digits")
    held = workspace.journal.item_ids(workspace.labels.items_with("category", "seven"))
    assert sorted(held.tolist()) == shown.selection
    assert workspace.log()[0].atlas_version == shown.version
    shown.label("writer 7", field="instance")
    shown.flag("outlier")
    shown.flag("outlier", remove=True)
    shown.clear_label()
    shown.undo()
    shown.redo()
    shown.undo()
    done = [decision.action for decision in Workspace("digits").log()[::-1]]
    assert done == ["label", "label", "flag", "unflag", "label", "undo", "redo", "undo"]
    assert Workspace("digits").labels.counts("category") == {"seven": 2}


def test_a_step_of_several_acts_is_taken_back_and_brought_back_whole(
    shown: AtlasMap, page: Page
) -> None:
    for row, value in ((3, "one"), (5, "uno")):
        page.say(drawn(shown, [row]))
        shown.label(value)
    workspace = Workspace("digits")
    workspace.merge(["one", "uno"], "1")
    undone = shown.undo()
    assert [(act.action, act.replaces) for act in undone] == [("undo", "uno"), ("undo", "one")]
    workspace.labels.refresh()
    assert workspace.labels.counts("category") == {"one": 1, "uno": 1}
    assert [act.action for act in shown.redo()] == ["redo", "redo"]
    workspace.labels.refresh()
    assert workspace.labels.counts("category") == {"1": 2}
    seqs = {field["name"]: field["seq"] for field in shown.data["fields"]}
    assert seqs["category"] == workspace.journal.head, "the map shows it"


def test_decisions_have_the_refusals_of_the_workspace(shown: AtlasMap, page: Page) -> None:
    for act in (lambda: shown.label("seven"), lambda: shown.flag("outlier"), shown.clear_label):
        with pytest.raises(CurationError, match="nothing is selected on the map"):
            act()
    with pytest.raises(CurationError):
        shown.undo()
    page.say(drawn(shown, [3, 5]))
    shown.label("seven")
    with pytest.raises(CurationError, match="2 of 2 items have another category already"):
        shown.label("nine")
    with pytest.raises(CurationError):
        shown.flag("bad")
    assert shown.label("nine", overwrite=True).n_items == 2


def test_others_decisions_are_told_at_the_second_look_at_the_latest(
    shown: AtlasMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert widget.BEAT <= 1  # so within two seconds, where the machine is not loaded
    looks, told = [0], []
    real = AtlasMap.follow

    def counted(one: AtlasMap) -> None:
        looks[0] += one is shown
        real(one)

    monkeypatch.setattr(AtlasMap, "follow", counted)
    shown.observe(lambda change: told.append((looks[0], change["new"]["fields"][1])), "data")
    other = Workspace("digits", "somebody else")
    decision = other.label(other.select("cluster:0"), "zero")
    before = looks[0]
    wait_for(lambda: bool(told))
    assert (told[0][1]["name"], told[0][1]["seq"]) == ("category", decision.seq)
    assert told[0][0] - before <= 2  # one may have been under way


@pytest.mark.parametrize(
    "error", [CurationError("the table is away"), RuntimeError("lance error: Not found"), OSError()]
)
def test_news_that_could_not_be_read_is_told_when_it_can(
    shown: AtlasMap, page: Page, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    other = Workspace("digits", "somebody else")

    def away(*_: object) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(widget, "fields", away)
        decision = other.label(other.select("cluster:0"), "zero")
        wait_for(lambda: bool(page.told))
    said = page.told[0][0]["trouble"]
    assert (str(error) or "OSError") in said and "\n" not in said
    wait_for(lambda: shown.data["fields"][1]["seq"] == decision.seq)
    wait_for(lambda: page.told[-1][0] == {"trouble": ""})


def test_a_decision_that_the_map_cannot_follow_yet_is_returned(
    shown: AtlasMap, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OSError("stale file handle")

    page.say(drawn(shown, [3, 5]))
    with monkeypatch.context() as broken:
        broken.setattr(widget, "fields", away)
        assert shown.label("seven").n_items == 2
    wait_for(lambda: shown.data["fields"][1]["seq"] == 1)


# ---- life


def test_a_closed_map_ends_its_threads_and_is_let_go(
    digits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comm, "create_comm", Page)
    made = curation.open(digits).map()
    Page.opened[-1].ask(1, "head")
    assert [t for t in threading.enumerate() if t.name.startswith("map")]
    Page.opened.clear()
    gone = weakref.ref(made)
    made.close()
    del made
    gc.collect()
    assert gone() is None
    wait_for(lambda: not [t for t in threading.enumerate() if t.name.startswith("map")])


def test_what_a_page_says_to_a_closed_map_is_not_answered(shown: AtlasMap, page: Page) -> None:
    shown.close()
    assert widget._heard(shown, {"id": 1, "path": "head"}, []) is None
    shown._ask(1, "head", b"")  # it was closed while the message was being read
    widget._heard(shown, drawn(shown, [3]), [])
    assert shown.selected_count == 0
    assert [content for content, _ in page.told if "id" in content] == []
    shown.close()


def test_a_journal_that_cannot_be_read_is_said_on_the_map_until_it_can(
    shown: AtlasMap, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    def head(_: Journal) -> int:
        raise CurationError("the journal is busy; try again")

    with monkeypatch.context() as broken:
        broken.setattr(Journal, "head", property(head))
        wait_for(lambda: bool(page.told))
    wait_for(lambda: len(page.told) > 1)
    assert [content for content, _ in page.told] == [
        {"trouble": "the journal is busy; try again"},
        {"trouble": ""},
    ]


def test_the_colour_must_be_a_field_of_the_items(shown: AtlasMap, page: Page) -> None:
    shown.color_by = "category"
    assert (shown.color_by, shown.data["color_by"]) == ("category", "category")
    assert page.told[-1][0] == {"color_by": "category"}
    with pytest.raises(CurationError, match=r"no field 'colour'; there are: cluster, category"):
        shown.color_by = "colour"
    with pytest.raises(CurationError, match="no field"):
        curation.open("digits").map(color_by="colour")


def test_metadata_joined_later_is_offered_without_a_decision(shown: AtlasMap) -> None:
    workspace = Workspace("digits")
    ids = pa.array(workspace.atlas().item_ids.tolist())
    workspace.store.save_fields(pa.table({"item_id": ids, "no": pa.array(range(len(ids)))}))
    wait_for(lambda: "field.no" in [field["name"] for field in shown.data["fields"]])
    assert shown.data["fields"][1]["seq"] == 0


def test_the_colour_may_be_a_field_that_was_joined_later(shown: AtlasMap, page: Page) -> None:
    workspace = Workspace("digits")
    ids = workspace.atlas().item_ids
    sides = pa.array(["left" if k % 2 else "right" for k in range(len(ids))])
    shown._over.set()  # nobody looks for news: the choice itself must
    workspace.store.save_fields(pa.table({"item_id": pa.array(ids.tolist()), "side": sides}))
    shown.color_by = "field.side"
    assert "field.side" in [field["name"] for field in shown.data["fields"]]
    assert page.told[-1][0] == {"color_by": "field.side"}


def test_an_atlas_that_is_not_there_is_refused(digits: str) -> None:
    with pytest.raises(CurationError):
        curation.open(digits).map("nowhere")
    with pytest.raises(CurationError):
        curation.open("nobody's")


def test_without_anywidget_the_message_says_what_to_install(
    digits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = curation.open(digits)
    assert isinstance(dataset, OpenDataset)
    assert repr(dataset) == "<dataset 'digits': 1,797 items, tester decides>"
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "curation.viewer.widget")
    with pytest.raises(CurationError, match=r'pip install "curation-atlas\[notebook\]"'):
        dataset.map()


def test_the_guide_works_as_written(digits: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comm, "create_comm", Page)
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    scope: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(GUIDE), "exec"), scope)
    assert isinstance(scope["m"], AtlasMap)
    assert Workspace("digits").log(), "the guide decides nothing"
    scope["m"].close()
