"""The desk of the Clean page: acts come once, in order, on the sheet that was shown."""

from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from curation.app.components.cleaning import Desk
from curation.app.components.cleaning_acts import OPS, take
from curation.app.components.cleaning_wire import decode_acts
from curation.fields import CodeColumn, column, fields
from curation.viewer.component import sheet_version
from curation.workspace import Workspace
from embeddings.errors import CurationError


@pytest.fixture
def desk(digits: str) -> Desk:
    workspace = Workspace(digits)
    return Desk(workspace, workspace.newest_version())


def act(desk: Desk, op: str, sheet: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Tell one act as the browser does, and return the answer; the page is drawn before it."""
    known = {} if sheet is None else {"key": sheet["key"], "version": sheet["version"]}
    told = {"seq": desk.heard + 1, "op": op, "field": desk.field, **known, **more}
    told.setdefault("cut", (sheet or {}).get("cut", 0))
    take(desk, {"acts": [told]})
    return vars(desk.answers[-1])


def first(desk: Desk) -> dict[str, Any]:
    found: dict[str, Any] = desk.shown()["sheets"][0]
    return found


def digit_of(desk: Desk) -> dict[str, str]:
    """What the digits are, by item."""
    (field,) = [one for one in fields(desk.workspace, desk.version) if one.title == "digit"]
    found = column(desk.workspace, field.name, desk.version)
    assert isinstance(found, CodeColumn)
    ids = desk.helper.atlas.item_ids.tolist()
    return {one: str(found.legend[code]) for one, code in zip(ids, found.codes, strict=True)}


def labelled(desk: Desk, name: str, field: str = "category") -> set[str]:
    workspace = Workspace(desk.workspace.name)  # reads the journal as another process does
    return set(workspace.journal.item_ids(workspace.labels.items_with(field, name)).tolist())


def test_what_is_before_the_cut_is_labelled_less_the_tapped_and_with_the_picked(desk: Desk) -> None:
    sheet = first(desk)
    more = {"labels": {"category": "zero"}, "cut": 20, "out": [3, 5], "picked": [22]}
    told = act(desk, "confirm", sheet, **more)
    assert (told["kind"], told["text"]) == ("done", "19 labelled zero.")
    kept = [at for at in [*range(20), 22] if at not in (3, 5)]
    assert labelled(desk, "zero") == {sheet["ids"][at] for at in kept}
    refused = desk.workspace.labels.refused("category")["zero"]
    assert set(desk.workspace.journal.item_ids(refused).tolist()) == {
        sheet["ids"][3],
        sheet["ids"][5],
    }


def test_what_stands_behind_the_cut_is_refused_only_where_it_was_looked_at(desk: Desk) -> None:
    sheet = first(desk)
    act(desk, "confirm", sheet, labels={"category": "zero"}, cut=20)
    assert "zero" not in desk.workspace.labels.refused("category")
    sheet = first(desk)
    act(desk, "confirm", sheet, labels={"category": "one"}, cut=20, looked=True)
    refused = desk.workspace.labels.refused("category")["one"]
    assert set(desk.workspace.journal.item_ids(refused).tolist()) == set(sheet["ids"][20:])


def test_category_and_instance_are_two_labels_of_one_act(desk: Desk) -> None:
    sheet = first(desk)
    act(desk, "confirm", sheet, labels={"category": "zero", "instance": "my zero"}, out=[0])
    assert labelled(desk, "zero") == labelled(desk, "my zero", "instance") == set(sheet["ids"][1:])
    assert act(desk, "undo")["kind"] == "done"
    assert not labelled(desk, "zero") and not labelled(desk, "my zero", "instance")
    assert not desk.workspace.labels.refused("category")
    assert first(desk)["ids"] == sheet["ids"], "undone, the sheet is back as it was"
    assert act(desk, "redo")["kind"] == "done"
    assert labelled(desk, "my zero", "instance") == set(sheet["ids"][1:])
    assert desk.workspace.labels.refused("category")


def test_an_act_that_is_told_twice_is_done_once(desk: Desk) -> None:
    sheet = first(desk)
    known = {"key": sheet["key"], "version": sheet["version"]}
    told = {"seq": 1, "op": "unsure", "field": "category", **known, "chosen": [4]}
    take(desk, {"acts": [told]})
    take(desk, {"acts": [told, {"seq": 2, "op": "skip", "field": "category", **known}]})
    assert [one.words for one in desk.workspace.log()] == ["flag unclear"]
    assert desk.heard == 2


def test_a_sheet_that_was_handed_out_with_the_one_before_can_be_answered_at_once(
    desk: Desk,
) -> None:
    one, two, three = desk.shown()["sheets"]
    acts = [
        {"seq": seq, "op": "confirm", "field": "category",
         "key": this["key"], "version": this["version"],
         "next": [following["key"], following["version"]], "labels": {"category": name},
         "cut": this["cut"]}
        for seq, this, following, name in ((1, one, two, "a1"), (2, two, three, "b2"))
    ]  # fmt: skip
    take(desk, {"acts": acts})
    assert [answer.kind for answer in desk.answers] == ["done", "done"]
    assert labelled(desk, "a1") == set(one["ids"][: one["cut"]])
    assert labelled(desk, "b2") == set(two["ids"][: two["cut"]])
    assert first(desk)["key"] == three["key"], "what the browser shows stays"


def test_another_sheet_than_was_shown_is_refused_and_shown_again_as_far_as_it_is_open(
    desk: Desk,
) -> None:
    sheet = first(desk)
    other = Desk(desk.workspace, desk.version)  # the server was started again
    answer = act(other, "confirm", sheet, labels={"category": "zero"})
    assert answer["kind"] == "stale" and not labelled(desk, "zero")
    turned = {**sheet, "version": sheet_version(sheet["ids"][::-1])}
    assert act(desk, "confirm", turned, labels={"category": "zero"})["kind"] == "stale"
    act(desk, "confirm", sheet, labels={"category": "one"}, cut=5)
    act(other, "reopen", None, ids=sheet["ids"], key=sheet["key"], cut=8)
    again = first(other)
    assert (again["ids"], again["cut"]) == (sheet["ids"][5:], 3)


def test_labels_of_another_curator_stand_unless_they_are_to_change(desk: Desk) -> None:
    sheet, workspace = first(desk), desk.workspace
    rows = desk.helper.atlas.rows_of(np.array(sheet["ids"][:10]))
    workspace.label(desk.helper.selection(rows), "theirs", made_by="other")
    answer = act(desk, "confirm", sheet, labels={"category": "mine"}, cut=20)
    assert answer["text"] == "10 labelled mine. 10 had a label by now and keep it."
    assert labelled(desk, "theirs") == set(sheet["ids"][:10])
    sheet = first(desk)
    rows = desk.helper.atlas.rows_of(np.array(sheet["ids"]))
    workspace.label(desk.helper.selection(rows), "theirs", made_by="other")
    answer = act(desk, "confirm", sheet, labels={"category": "mine"})
    assert answer["kind"] == "ask"
    assert [words for words, _ in answer["choices"]] == ["Keep theirs", "Change them to mine"]
    assert set(sheet["ids"]) <= labelled(desk, "theirs")
    act(desk, "confirm", sheet, labels={"category": "mine"}, **answer["choices"][1][1])
    assert set(sheet["ids"]) <= labelled(desk, "mine")


def test_a_slip_of_a_label_is_asked_about_before_it_becomes_a_second_one(desk: Desk) -> None:
    act(desk, "confirm", first(desk), labels={"category": "seven"})
    sheet = first(desk)
    answer = act(desk, "confirm", sheet, labels={"category": "sevn"})
    assert answer["kind"] == "ask" and not labelled(desk, "sevn")
    words, change = answer["choices"][0]
    assert words == "Use seven"
    act(desk, "confirm", sheet, **{"labels": {"category": "sevn"}, **change})
    assert set(sheet["ids"][: sheet["cut"]]) <= labelled(desk, "seven")


@pytest.mark.parametrize(("op", "flag"), [("unsure", "unclear"), ("exclude", "excluded")])
def test_flags_go_to_the_tapped_which_leave_the_sheet(desk: Desk, op: str, flag: str) -> None:
    sheet = first(desk)
    act(desk, op, sheet, chosen=[2, 4], value="blurred")
    flagged = desk.workspace.journal.item_ids(desk.workspace.labels.flagged(flag))
    assert set(flagged.tolist()) == {sheet["ids"][2], sheet["ids"][4]}
    assert desk.workspace.log(1)[0].note == "blurred"
    again = first(desk)
    assert again["key"] == sheet["key"] and again["version"] != sheet["version"]
    assert again["ids"] == [one for at, one in enumerate(sheet["ids"]) if at not in (2, 4)]


def test_a_refused_sheet_goes_back_to_the_pool(desk: Desk) -> None:
    sheet = first(desk)
    head = desk.workspace.journal.head
    assert act(desk, "refuse", sheet)["kind"] == "refused", "there is no name to refuse"
    assert desk.workspace.journal.head == head
    act(desk, "refuse", sheet, labels={"category": "nine"})
    refused = desk.workspace.labels.refused("category")["nine"]
    assert set(desk.workspace.journal.item_ids(refused).tolist()) == set(sheet["ids"])
    assert first(desk)["key"] != sheet["key"]


def test_a_skipped_sheet_comes_round_again_when_the_others_are_done(desk: Desk) -> None:
    away = desk.helper.selection(np.arange(400, len(desk.helper.atlas)))
    desk.workspace.flag(away, "excluded")
    keys = []
    for _ in range(60):
        sheet = first(desk)
        if sheet["key"] in keys:
            break
        keys.append(sheet["key"])
        act(desk, "skip", sheet)
    assert len(keys) > 5 and sheet["key"] == keys[0]
    act(desk, "back")
    assert first(desk)["key"] == keys[-1]


def test_skipping_by_chance_brings_other_sheets_and_a_second_curator_has_some(desk: Desk) -> None:
    act(desk, "mode", value="random")
    seen: set[str] = set()
    for _ in range(4):
        sheet = first(desk)
        assert not seen & set(sheet["ids"])
        seen |= set(sheet["ids"])
        act(desk, "skip", sheet)
    other = Desk(desk.workspace, desk.version)
    other.mode = "random"
    other.taken = desk.helper.atlas.rows_of(np.array(first(other)["ids"])).astype(np.int32)
    other.current = None
    theirs = set(other.helper.atlas.item_ids[other.taken].tolist())
    assert not theirs & set(first(other)["ids"])


def test_a_long_sheet_comes_in_pieces_and_nothing_of_it_is_lost(desk: Desk) -> None:
    rows = np.arange(len(desk.helper.atlas))
    assert desk.bring(desk.helper.selection(rows), "lasso")
    one, two = desk.shown()["sheets"][:2]
    assert (one["title"], two["title"]) == ("lasso, 1 of 2", "lasso, 2 of 2")
    assert sorted(one["ids"] + two["ids"]) == sorted(desk.helper.atlas.item_ids.tolist())
    act(desk, "confirm", one, labels={"category": "zero"}, next=[two["key"], two["version"]])
    assert first(desk)["ids"] == two["ids"]
    act(desk, "undo")
    assert [sheet["ids"] for sheet in desk.shown()["sheets"][:2]] == [one["ids"], two["ids"]]


def test_a_sheet_is_split_in_place_and_put_together_again(desk: Desk) -> None:
    sheet = first(desk)
    assert act(desk, "split", sheet)["kind"] == "note"
    parts = desk.shown()["sheets"]
    both = set(parts[0]["ids"]) | set(parts[1]["ids"])
    assert both <= set(sheet["ids"]) and len(parts[0]["ids"]) < len(sheet["ids"])
    act(desk, "merge", parts[0])
    assert set(first(desk)["ids"]) == both


def test_more_like_these_begins_with_these(desk: Desk) -> None:
    sheet = first(desk)
    act(desk, "like", sheet, chosen=[1, 0])
    found = desk.shown()["sheets"]
    assert found[0]["ids"][:2] == [sheet["ids"][1], sheet["ids"][0]]
    assert len(found[0]["ids"]) > 20
    assert found[1]["key"] == sheet["key"], "the sheet that it came from follows"


def test_twins_come_next_and_no_item_is_on_two_sheets(desk: Desk) -> None:
    sheet = first(desk)
    act(desk, "twins", sheet)
    shown = desk.shown()
    assert shown["sheets"][0]["key"] == sheet["key"]
    assert "alike" in shown["sheets"][1]["title"]
    ids = [one for each in shown["sheets"] for one in each["ids"]]
    assert len(ids) == len(set(ids))


def test_what_was_selected_elsewhere_is_shown_first_as_far_as_it_is_open(desk: Desk) -> None:
    waiting, chosen = first(desk), desk.workspace.select("cluster:3")
    labelled_first = chosen.part(np.arange(len(chosen)) < 5)
    desk.workspace.label(labelled_first, "done")
    assert desk.bring(chosen, "cluster 3")
    shown = desk.shown()["sheets"]
    assert set(shown[0]["ids"]) == set(chosen.item_ids.tolist()) - set(
        labelled_first.item_ids.tolist()
    )
    assert shown[1]["key"] == waiting["key"]
    assert not desk.bring(labelled_first, "these")


def test_labels_spread_as_sheets_and_never_by_themselves(desk: Desk) -> None:
    assert act(desk, "spread")["kind"] == "refused", "nothing can spread yet"
    truth = digit_of(desk)
    for _ in range(4):
        sheet = first(desk)
        name = f"digit {truth[sheet['ids'][0]]}"
        act(desk, "confirm", sheet, labels={"category": name}, sure=[f"name:category:{name}"])
    head = desk.workspace.journal.head
    answer = act(desk, "spread")
    assert "came back right" in answer["text"]
    sheet = first(desk)
    assert sheet["title"].startswith("spread: ") and sheet["proposed"]
    assert desk.workspace.journal.head == head


def test_a_label_keeps_its_number_key_while_it_is_in_use(desk: Desk) -> None:
    for name in "abcdefghi":
        desk.use(name)
    before = list(desk.slots)
    desk.use("a")
    assert desk.slots == before
    desk.use("z")
    assert desk.slots == [one if one != "b" else "z" for one in before]


def test_the_last_item_done_leaves_nothing_open(desk: Desk) -> None:
    rows = np.arange(len(desk.helper.atlas), dtype=np.int32)
    desk.workspace.label(desk.helper.selection(rows), "all")
    shown = desk.shown()
    assert shown["sheets"] == [] and shown["progress"]["open"] == 0
    assert "doubt" in act(desk, "review")["text"]
    act(desk, "export")
    assert desk.leave_for == "export"


def test_doubtful_labels_are_reviewed_and_change_only_when_that_is_said(desk: Desk) -> None:
    truth = digit_of(desk)
    names = np.array([f"digit {truth[one]}" for one in desk.helper.atlas.item_ids])
    names[::40] = "digit 3"
    for name in np.unique(names):
        rows = np.flatnonzero(names == name).astype(np.int32)
        desk.workspace.label(desk.helper.selection(rows), name)
    act(desk, "review")
    sheet = first(desk)
    assert sheet["key"].startswith("review-") and sheet["proposed"] != "digit 3"
    other = Desk(desk.workspace, desk.version)  # the page was loaded anew
    lost = {"ids": sheet["ids"], "key": sheet["key"], "value": sheet["proposed"]}
    act(other, "reopen", **lost)
    assert first(other)["ids"] == sheet["ids"]
    away = desk.helper.atlas.rows_of(np.array(sheet["ids"][:1]))
    desk.workspace.flag(desk.helper.selection(away), "excluded")
    assert first(desk)["ids"] == sheet["ids"][1:]
    sheet = first(desk)
    told = act(desk, "confirm", sheet, labels={"category": sheet["proposed"]})
    assert told["kind"] == "ask"
    change = told["choices"][1][1]
    act(desk, "confirm", sheet, labels={"category": sheet["proposed"]}, **change)
    assert set(sheet["ids"]) <= labelled(desk, sheet["proposed"])


@pytest.mark.parametrize(
    "message",
    [
        None,
        {},
        {"acts": "confirm"},
        {"acts": [{"op": "skip"}]},
        {"acts": [{"seq": True, "op": "skip"}]},
        {"acts": [{"seq": 1, "op": "skip"}, "skip"]},
    ],
)
def test_a_message_that_no_page_sends_is_refused_in_one_line(message: object) -> None:
    with pytest.raises(CurationError, match="reload the page"):
        decode_acts(message)


@pytest.mark.parametrize(
    "wrong",
    [
        {"op": 3},
        {"out": [-1]},
        {"out": [1.5]},
        {"cut": 2**60},
        {"labels": {"category": 3}},
        {"next": ["key"]},
        {"field": None},
    ],
)
def test_an_act_that_cannot_be_read_is_refused_alone(desk: Desk, wrong: dict[str, Any]) -> None:
    sheet = first(desk)
    known = {"field": "category", "key": sheet["key"], "version": sheet["version"]}
    good = {"seq": 2, "op": "unsure", **known, "chosen": [1]}
    take(desk, {"acts": [{"seq": 1, "op": "confirm", **known, **wrong}, good]})
    assert [one.kind for one in desk.answers] == ["refused", "done"]
    assert desk.heard == 2


def test_of_a_thousand_acts_the_first_are_heard_and_the_others_when_told_again() -> None:
    acts = [{"seq": seq, "op": "undo"} for seq in range(1000, 0, -1)]
    assert [one.seq for one in decode_acts({"acts": acts})] == list(range(1, 201))


def test_an_act_on_a_sheet_of_the_other_field_is_stale(desk: Desk) -> None:
    sheet = first(desk)
    act(desk, "kind", value="instance")
    for op in ("confirm", "refuse"):
        told = act(desk, op, sheet, field="category", labels={"category": "zero"})
        assert told["kind"] == "stale" and desk.workspace.journal.head == 0
    act(desk, "reopen", field="category", ids=sheet["ids"], key=sheet["key"])
    assert desk.field == "category" and first(desk)["ids"] == sheet["ids"]


def test_changing_labels_of_one_field_leaves_the_other_and_what_came_after(desk: Desk) -> None:
    sheet, workspace = first(desk), desk.workspace
    rows = desk.helper.atlas.rows_of(np.array(sheet["ids"]))
    workspace.label(desk.helper.selection(rows), "theirs", made_by="other")
    workspace.label(desk.helper.selection(rows[:7]), "old", field="instance", made_by="other")
    named = {"labels": {"category": "mine", "instance": "new"}, "out": [9]}
    answer = act(desk, "confirm", sheet, **named)
    sure = answer["choices"][1][1]["sure"]
    assert answer["kind"] == "ask" and answer["choices"][1][0] == "Change them to mine"
    answer = act(desk, "confirm", sheet, **named, sure=sure)
    assert answer["kind"] == "ask" and answer["text"].startswith("7 of these")
    workspace.label(desk.helper.selection(rows[10:12]), "x", field="instance", made_by="other")
    late = act(desk, "confirm", sheet, **named, sure=answer["choices"][1][1]["sure"])
    assert late["kind"] == "ask" and late["text"].startswith("9 of these")
    assert not labelled(desk, "mine") and not labelled(desk, "new", "instance")
    words, keep = late["choices"][0]
    assert words == "Keep theirs"
    act(desk, "confirm", sheet, **named, **keep)
    assert labelled(desk, "mine") == set(sheet["ids"]) - {sheet["ids"][9]}
    assert labelled(desk, "old", "instance") == set(sheet["ids"][:7])
    assert labelled(desk, "new", "instance") == {*sheet["ids"][7:9], *sheet["ids"][12:]}
    refused = workspace.labels.refused("category")["mine"]
    assert set(workspace.journal.item_ids(refused).tolist()) == {sheet["ids"][9]}


def test_an_instance_is_given_where_all_have_a_category_by_now(desk: Desk) -> None:
    sheet, workspace = first(desk), desk.workspace
    rows = desk.helper.atlas.rows_of(np.array(sheet["ids"]))
    workspace.label(desk.helper.selection(rows), "zero", made_by="other")
    told = act(desk, "confirm", sheet, labels={"category": "zero", "instance": "one of mine"})
    assert labelled(desk, "one of mine", "instance") == set(sheet["ids"])
    assert f"{len(rows)} got the instance one of mine." in told["text"]


def test_an_act_is_one_step_that_another_session_takes_back_whole(desk: Desk) -> None:
    sheet = first(desk)
    act(desk, "confirm", sheet, labels={"category": "zero", "instance": "a"}, out=[0])
    assert desk.shown()["undo"] == "category: zero"
    other = Desk(desk.workspace, desk.version)
    assert act(other, "undo")["text"].count("·") == 3
    assert not labelled(desk, "zero") and not labelled(desk, "a", "instance")
    assert not desk.workspace.labels.refused("category")
    act(other, "redo")
    assert len(labelled(desk, "a", "instance")) == len(labelled(desk, "zero")) > 0


def test_where_one_label_cannot_be_nothing_of_the_act_is_written(desk: Desk) -> None:
    sheet = first(desk)
    bad = {"category": "zero", "instance": "<b>"}
    assert act(desk, "confirm", sheet, labels=bad, out=[0])["kind"] == "refused"
    assert desk.workspace.journal.head == 0


def test_a_label_that_was_renamed_or_deleted_comes_back_only_when_that_is_said(
    desk: Desk,
) -> None:
    act(desk, "confirm", first(desk), labels={"category": "two"})
    desk.workspace.rename("two", "Quux")
    assert desk.shown()["slots"][0] == "Quux"
    sheet = first(desk)
    told = act(desk, "confirm", sheet, labels={"category": "two"})
    assert told["kind"] == "ask"
    assert [words for words, _ in told["choices"]] == ["Use Quux", "two again"]
    assert not labelled(desk, "two")
    desk.workspace.delete_label("Quux")
    assert desk.shown()["slots"][0] == ""
    told = act(desk, "confirm", sheet, labels={"category": "two"})
    assert [words for words, _ in told["choices"]] == ["Leave it", "two again"]
    act(desk, "confirm", sheet, labels={"category": "two"}, **told["choices"][1][1])
    assert labelled(desk, "two") == set(sheet["ids"][: sheet["cut"]])
    assert desk.shown()["slots"][0] == "two"


def test_a_label_that_was_taken_back_can_be_given_again_unasked(desk: Desk) -> None:
    act(desk, "confirm", first(desk), labels={"category": "zero"})
    act(desk, "undo")
    assert act(desk, "confirm", first(desk), labels={"category": "zero"})["kind"] == "done"


def test_a_name_that_is_refused_is_asked_about_where_it_is_another_by_now(desk: Desk) -> None:
    act(desk, "confirm", first(desk), labels={"category": "two"})
    desk.workspace.rename("two", "Quux")
    sheet = first(desk)
    told = act(desk, "refuse", sheet, labels={"category": "two"})
    assert (told["kind"], told["text"]) == ("ask", "'two' is called 'Quux' by now.")
    assert not desk.workspace.labels.refused("category")
    answer = act(desk, "refuse", sheet, **told["choices"][0][1])
    assert answer["text"] == f"{len(sheet['ids'])} are not Quux: back in the pool."
    assert set(desk.workspace.labels.refused("category")) == {"Quux"}
    slip = act(desk, "refuse", first(desk), labels={"category": "Quxu"})
    assert slip["text"] == "No item is called 'Quxu' yet. Which is it not?"
    assert [words for words, _ in slip["choices"]] == ["Not Quux", "Not Quxu"]
    desk.workspace.delete_label("Quux")
    told = act(desk, "refuse", first(desk), labels={"category": "Quux"})
    assert [words for words, _ in told["choices"]] == ["Leave it", "Not Quux"]


@pytest.mark.parametrize("op", ["refuse", "unsure", "confirm"])
def test_done_again_a_sheet_is_gone_as_it_was_before_it_was_undone(desk: Desk, op: str) -> None:
    sheet = first(desk)
    act(desk, op, sheet, labels={"category": "nine"}, cut=5, out=[0])
    after = first(desk)
    assert after["key"] != sheet["key"]
    assert act(desk, "undo")["sheet"] == sheet["key"] == first(desk)["key"]
    assert act(desk, "redo")["sheet"] == sheet["key"]
    assert first(desk)["key"] == after["key"]


def test_done_again_an_exclusion_leaves_the_rest_of_its_sheet(desk: Desk) -> None:
    sheet = first(desk)
    act(desk, "exclude", sheet, chosen=[0])
    rest = first(desk)
    assert rest["ids"] == sheet["ids"][1:]
    act(desk, "undo")
    assert first(desk)["ids"] == sheet["ids"]
    assert act(desk, "redo")["sheet"] == "", "something of it is still to be answered"
    assert first(desk)["ids"] == rest["ids"]


def test_positions_that_the_sheet_does_not_have_are_refused(desk: Desk) -> None:
    sheet = first(desk)
    for wrong in ({"out": [5000]}, {"picked": [5000]}, {"cut": 5000}, {"chosen": [5000]}):
        answer = act(desk, "confirm", sheet, **{"labels": {"category": "x"}, **wrong})
        assert answer["kind"] == "refused" and desk.workspace.journal.head == 0
    assert act(desk, "no such act", sheet)["kind"] == "refused"
    assert "no such act" not in OPS


def draw() -> None:
    from curation.app import state
    from curation.app.components import frame
    from curation.app.views import clean

    workspace = state.workspace()
    assert workspace is not None
    frame.guarded(clean.page, workspace)


def test_the_page_draws_and_keeps_its_desk(digits: str) -> None:
    test = AppTest.from_function(draw, default_timeout=60)
    test.run()
    assert not test.exception, [error.value for error in test.exception]
    desk = test.session_state["desk"]
    test.run()
    assert test.session_state["desk"] is desk
