"""Labels changed as a whole, the log, conflicts, agreement and second looks, on their pages."""

import csv
import io
import json
from typing import Any

import numpy as np
import pytest
from drawn_pages import component, drawn, page, press, told, words
from streamlit.testing.v1 import AppTest

from curation import overview
from curation.app.components import agreeing, conflicts, history, names
from curation.opinions import conflicts as open_conflicts
from curation.review import scores
from curation.schema import Selection
from curation.workspace import Workspace

People = dict[str, Workspace]


@pytest.fixture
def people(digits: str) -> People:
    """Three curators and `tester`, who opens the pages."""
    return {who: Workspace(digits, made_by=who) for who in ("ann", "bob", "eve", "tester")}


def say(people: People, who: str, value: str, *rows: int, **more: Any) -> None:
    mine = people[who]
    chosen = Selection.of(mine.atlas(), np.array(sorted(rows), np.int32))
    mine.label(chosen, value, overwrite=True, **more)


def ids(workspace: Workspace, *rows: int) -> list[str]:
    return [str(one) for one in workspace.atlas().item_ids[sorted(rows)]]


def counts(field: str = "category") -> dict[str, int]:
    return Workspace("digits").labels.counts(field)


def head() -> int:
    return Workspace("digits").journal.head


def part(name: str) -> AppTest:
    """Draw one part of the Review page."""
    test = page("review")
    test.session_state["review-part"] = name
    return drawn(test)


def tap(test: AppTest, sheet: str, *item_ids: str) -> AppTest:
    """Tap items on a sheet, as its message would."""
    test.session_state[f"tapped-{sheet}-sheet"] = frozenset(item_ids)
    return drawn(test)


# ---- whole labels


def filled(*labels: str, into: str | None = None, field: str = "category") -> AppTest:
    """The Labels page with its form filled in."""
    form = {f"names-of-{field}": list(labels), f"names-into-{field}": into}
    return page("labels", **{"names-field": field, **form})


@pytest.fixture
def digit_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer what the digits are as labels: AppTest knows no other text in a select box."""
    monkeypatch.setattr(overview, "LABEL_COLUMNS", ("digit",))


@pytest.mark.usefixtures("digit_names")
def test_a_rename_says_what_it_changes_does_it_and_is_undone(people: People) -> None:
    say(people, "tester", "three", 0, 1, 2)
    say(people, "ann", "three", 3)
    test = filled("three", into="3")
    assert {"4 items: category three → 3", "given by ann 1, tester 3"} <= set(words(test))
    press(test, "Rename")
    assert counts() == {"3": 4}
    assert told(test) == ["category: three is now 3 · 4 items. You can undo this at any time."]
    assert "4 items: category 3 → three" in words(test), "what undo would bring back"
    press(test, "Undo")
    assert counts() == {"three": 4}
    assert "4 items: category three → 3" in words(test), "what redo would bring back"


def test_a_label_in_use_is_merged_into_and_several_become_one(people: People) -> None:
    say(people, "tester", "shirt", 0, 1)
    say(people, "tester", "t-shirt", 2)
    say(people, "tester", "dress", 3)
    test = filled("shirt", "t-shirt", into="dress")
    assert {
        "2 items: category shirt → dress",
        "1 item: category t-shirt → dress",
        "1 item with dress already",
    } <= set(words(test))
    press(test, "Merge")
    assert counts() == {"dress": 4}
    press(test, "Undo")
    assert counts() == {"shirt": 2, "t-shirt": 1, "dress": 1}, "one step"


def test_an_instance_is_deleted_and_its_category_stays(people: People) -> None:
    say(people, "tester", "shirt", 0, 1)
    say(people, "tester", "my shirt", 0, field="instance")
    test = filled("my shirt", field="instance")
    assert "1 item: instance my shirt → none" in words(test)
    press(test, "Delete")
    assert (counts("instance"), counts()) == ({}, {"shirt": 2})


def test_many_labels_of_other_people_are_not_lost_without_a_question(people: People) -> None:
    many = range(names.SIGHT + 1)
    say(people, "ann", "shirt", *many)
    test = press(filled("shirt"), "Delete")
    assert counts() == {"shirt": len(many)} and head() == 1
    assert f"{len(many)} items: category shirt → none" in [text.value for text in test.text]
    press(test, "Cancel")
    assert head() == 1 and not test.text
    press(test, "Delete")
    (answer,) = [button for button in test.button if button.key == "names-ask-Delete"]
    answer.click()
    drawn(test)
    assert counts() == {}


def test_labels_that_i_renamed_are_still_those_of_other_people(people: People) -> None:
    many = range(names.SIGHT + 1)
    say(people, "ann", "shirt", *many)
    people["tester"].rename("shirt", "tee")
    given = people["tester"].records().column("labelled_by").to_pylist()
    assert [given.count(who) for who in ("ann", "tester")] == [len(many), 0]
    press(filled("tee"), "Delete")
    assert counts() == {"tee": len(many)} and head() == 2, "it asks first"


@pytest.mark.usefixtures("digit_names")
def test_a_rename_to_a_name_that_came_into_use_meanwhile_asks_before_it_merges(
    people: People,
) -> None:
    say(people, "ann", "three", 0, 1)
    test = filled("three", into="3")
    say(people, "bob", "3", 500)
    press(test, "Rename")
    assert counts() == {"three": 2, "3": 1} and head() == 2
    assert "1 item with 3 already" in [text.value for text in test.text]
    press(test, "Cancel")
    assert head() == 2


def test_a_name_that_cannot_be_one_is_said_in_a_line(people: People) -> None:
    say(people, "tester", "shirt", 0)
    test = filled("shirt", into="<b>")
    assert "may not contain" in test.error[0].value
    assert head() == 1


def test_labels_are_taken_away_from_the_selected_items_that_have_one(people: People) -> None:
    workspace = people["tester"]
    say(people, "tester", "shirt", 0, 1)
    chosen = Selection.of(workspace.atlas(), np.arange(4, dtype=np.int32))
    test = press(page("map", chosen), "Take label away (2)")
    assert counts() == {}
    newest = Workspace("digits").log(1)[0]
    assert (newest.words, newest.n_items) == ("category: cleared", 2)
    press(test, "Undo")
    assert counts() == {"shirt": 2}


# ---- the log


def log_of(test: AppTest) -> Any:
    return next(frame.value for frame in test.dataframe if "seq" in frame.value)


def test_the_log_shows_notes_and_is_filtered_by_person_and_label(people: People) -> None:
    say(people, "ann", "shirt", 0, note="by the tag")
    say(people, "bob", "shirt", 1)
    say(people, "bob", "dress", 2)
    people["bob"].rename("dress", "gown")
    test = page("labels")
    assert log_of(test)["note"].tolist() == ["", "", "", "by the tag"]
    test.selectbox(key="log-who").select("bob")
    assert log_of(drawn(test))["seq"].tolist() == [4, 3, 2]
    test.selectbox(key="log-label").select("dress")
    assert log_of(drawn(test))["seq"].tolist() == [4, 3], "renamed from it, too"
    test.selectbox(key="log-who").set_value(None)
    test.selectbox(key="log-label").select("shirt")
    assert log_of(drawn(test))["seq"].tolist() == [2, 1]


def test_the_whole_log_is_downloaded_with_the_items_of_each_decision(people: People) -> None:
    say(people, "ann", "shirt", 0, 5)
    say(people, "bob", "dress", 0)
    wanted = [ids(people["ann"], 0, 5), ids(people["ann"], 0)]
    rows = json.loads(history.written(people["tester"], "json"))
    assert [row["item_ids"] for row in rows] == wanted
    assert [row["before"] for row in rows] == [{"": 2}, {"shirt": 1}]
    text = history.written(people["tester"], "csv").decode()
    assert [row["item_ids"].split() for row in csv.DictReader(io.StringIO(text))] == wanted
    labels = [one.proto.label for one in page("labels").get("download_button")]
    assert labels == ["Whole log as CSV", "Whole log as JSON"]


def test_the_items_of_a_decision_are_shown_and_selected_without_those_tapped(
    people: People,
) -> None:
    say(people, "ann", "shirt", 3, 7, 9)
    test = page("labels")
    test.session_state["log"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    drawn(test)
    shown = ids(people["ann"], 3, 7, 9)
    sheet = component(test, "sheet")
    assert (sheet["ids"], sheet["labels"]) == (shown, ["shirt"] * 3)
    tap(test, "decision", shown[1])
    press(test, "Select those left on the map")
    assert test.session_state["selection"].item_ids.tolist() == ids(people["ann"], 3, 9)


# ---- conflicts


@pytest.fixture
def divided(people: People) -> People:
    """Rows 0-4 are cat to ann and dog to bob, 5-6 cat or cow, 7 cat to two and dog to one."""
    say(people, "ann", "cat", *range(8))
    say(people, "bob", "dog", *range(5))
    say(people, "bob", "cow", 5, 6)
    say(people, "bob", "dog", 7)
    say(people, "eve", "cat", 7, 8)
    return people


def left(people: People) -> set[int]:
    return set(open_conflicts(people["tester"]).rows.tolist())


def test_conflicts_with_the_same_labels_come_together_with_both_opinions(divided: People) -> None:
    test = page("review")
    assert "##### 8 items to settle, in 2 groups" in words(test)
    assert test.selectbox(key="conflict-group").options == ["cat | dog (6)", "cat | cow (2)"]
    assert {"**cat** :small[ann 6 · eve 1]", "**dog** :small[bob 6]"} <= set(words(test))
    sheet = component(test, "sheet")
    assert sheet["ids"] == ids(divided["tester"], *range(5), 7)
    assert sheet["labels"] == ["ann | bob"] * 5 + ["ann, eve | bob"]


def test_a_press_settles_those_not_tapped_and_the_others_stay(divided: People) -> None:
    test = tap(page("review"), "conflict", *ids(divided["tester"], 0, 1))
    press(test, "Rest 4: dog")
    assert left(divided) == {0, 1, 5, 6}
    newest = Workspace("digits").log(1)[0]
    assert (newest.words, newest.n_items, newest.source, newest.made_by) == (
        "category: dog", 4, "consensus", "tester",
    )  # fmt: skip
    assert test.selectbox(key="conflict-group").value == ("cat", "dog"), "it is not done"
    press(test, "All 2: cat")
    assert left(divided) == {5, 6}
    test.selectbox(key="conflict-other-category").select("dog")
    press(drawn(test), "Label")
    assert left(divided) == set()
    assert "The curators agree" in test.info[0].value
    press(test, "Undo")
    assert left(divided) == {5, 6}


def test_later_shows_the_next_group_and_leaves_this_one_open(divided: People) -> None:
    test = press(page("review"), "Later")
    assert test.selectbox(key="conflict-group").value == ("cat", "cow")
    press(test, "All 2: cow")
    assert test.selectbox(key="conflict-group").value == ("cat", "dog")


def test_the_majority_settles_what_has_one_and_says_before_what_that_is(divided: People) -> None:
    say(divided, "eve", "dog", 0, 1)
    test = page("review")
    assert {
        "3 items: cat: 1, dog: 2",
        "5 items with as many voices on each side would stay open.",
    } <= (set(words(test)))
    press(test, "Settle 3 by majority")
    assert told(test) == ["settled by majority: 3 items"]
    assert left(divided) == {2, 3, 4, 5, 6}
    press(test, "Undo")
    assert left(divided) == set(range(8))


def test_what_somebody_else_settled_meanwhile_stays_as_it_is(divided: People) -> None:
    test = page("review")
    say(divided, "eve", "dog", 0, source="review")
    press(test, "All 6: cat")
    assert left(divided) == {5, 6}
    assert counts()["dog"] == 1
    assert told(test) == [
        "settled: category: cat · 5 items; 1 settled by somebody else meanwhile, left as it is"
    ]


def test_what_somebody_settles_while_it_is_being_settled_stays_as_it_is(
    divided: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, late = Workspace.label, [True]

    def slow(self: Workspace, *given: Any, **more: Any) -> Any:
        if late:  # between the look at what is open and the act
            late.clear()
            say(divided, "eve", "dog", 0, source="review")
        return real(self, *given, **more)

    test = page("review")
    monkeypatch.setattr(Workspace, "label", slow)
    press(test, "All 6: cat")
    assert left(divided) == {5, 6}
    assert counts()["dog"] == 1, "eve's answer is newer, and stays"


def test_what_others_settled_altogether_is_said_and_nothing_written(divided: People) -> None:
    test = page("review")
    say(divided, "eve", "dog", *left(divided), source="review")
    head = divided["eve"].journal.head
    press(test, "All 6: cat")
    assert divided["eve"].journal.head == head
    assert told(test) == ["somebody else has settled these meanwhile; nothing was changed"]


@pytest.mark.parametrize("name", ["Conflicts", "Agreement"])
def test_one_curator_alone_is_told_how_a_second_one_joins(people: People, name: str) -> None:
    say(people, "tester", "cat", 0)
    test = part(name)
    assert "Only one curator" in test.info[0].value
    assert test.code[0].value == "CURATE_USER=name curate serve -d digits --port 8511"


def test_the_queue_is_that_of_the_field(divided: People) -> None:
    say(divided, "ann", "tom", 100, field="instance")
    say(divided, "bob", "tim", 100, field="instance")
    version = divided["tester"].newest_version()
    found = conflicts.queue(divided["tester"], "instance", version)
    assert [(group.labels, len(group.item_ids)) for group in found.groups] == [(("tim", "tom"), 1)]
    assert (found.by_vote, found.ties) == ({}, 1)


# ---- agreement


def test_agreement_is_told_in_figures_and_in_words(people: People) -> None:
    for value, start in (("a", 0), ("b", 10)):
        say(people, "ann", value, *range(start, start + 10))
        say(people, "bob", value, *range(start, start + 10))
    say(people, "eve", "a", 30)
    test = part("Agreement")
    figures = {metric.label: metric.value for metric in test.metric}
    assert figures == {"Krippendorff's alpha": "1.000", "Fleiss' kappa": "1.000"}
    assert any("reliable: the curators nearly always" in text for text in words(test))
    pairs, voices = (frame.value.to_dict("records") for frame in test.dataframe)
    assert (pairs[0]["one"], pairs[0]["other"], pairs[0]["items"]) == ("ann", "bob", 20)
    assert voices == [
        {"people": 0, "items": 1776},
        {"people": 1, "items": 1},
        {"people": 2, "items": 20},
    ]


@pytest.mark.parametrize(
    ("value", "begins"),
    [(0.8, "reliable"), (0.7, "enough"), (0.2, "weak"), (-0.1, "worse"), (None, "not defined")],
)
def test_every_figure_has_a_meaning(value: float | None, begins: str) -> None:
    assert agreeing.meaning(value).startswith(begins)


# ---- the second look


@pytest.fixture
def given(people: People) -> People:
    """Ann called rows 0-3 cat and 4-5 dog; bob called 10 and 11 cow."""
    say(people, "ann", "cat", 0, 1, 2, 3)
    say(people, "ann", "dog", 4, 5)
    say(people, "bob", "cow", 10, 11)
    return people


def right(who: str) -> dict[str | None, tuple[int, float | None]]:
    found = scores(Workspace("digits"))
    return {one.label: (one.given, one.precision) for one in found if one.person == who}


def judge(test: AppTest) -> str:
    (title,) = [text for text in words(test) if text.startswith("##### Said to be ")]
    return title.removeprefix("##### Said to be ").replace("\\", "")


def test_a_sample_is_judged_in_sheets_with_taps_and_scored(given: People) -> None:
    test = part("Second look")
    seen = set()
    while any(text.startswith("##### Said to be") for text in words(test)):
        said = judge(test)
        seen.add(said)
        shown = component(test, "sheet")["ids"]
        if said == "cat (ann)":
            tap(test, "look", shown[0])
            press(test, "3 right: cat")
            assert component_or_none(test) is None, "the tapped one is looked at closely"
            test.selectbox(key="look-other-category").select("dog")
            press(drawn(test), "Should be this")
        else:
            press(test, "2 right")
    assert seen == {"cat (ann)", "dog (ann)", "cow (bob)"}
    assert right("ann")["cat"] == (4, 0.75)
    assert right("ann")["dog"] == (2, 1.0)
    assert right("bob") == {None: (2, 1.0), "cow": (2, 1.0)}
    assert test.success[0].value.startswith("Every label that was drawn is judged")
    assert all(one.source == "review" for one in Workspace("digits").log(4))
    table = next(frame.value for frame in test.dataframe)
    row = table[(table["who"] == "ann") & (table["label"] == "dog")].iloc[0]
    assert (row["given"], row["true"], round(row["recall"], 3)) == (2, 3, 0.667)


def component_or_none(test: AppTest) -> dict[str, Any] | None:
    found = [one.proto.component_name for one in test.get("bidi_component")]
    return component(test, "sheet") if "curation_atlas_sheet" in found else None


def test_judging_goes_on_where_it_was_after_a_reload(given: People) -> None:
    test = part("Second look")
    test.session_state["look-mode"] = "One by one"
    test.number_input(key="look-each").set_value(3)
    drawn(test)
    waiting = len(test.session_state["look-drawn"][1])
    assert waiting == 5, "three of ann's, both of bob's"
    press(test, "Right")
    press(test, "Wrong")
    done = {who: right(who)[None][0] for who in ("ann", "bob") if right(who)}
    assert sum(done.values()) == 2
    again = part("Second look")
    again.number_input(key="look-each").set_value(3)
    drawn(again)
    assert len(again.session_state["look-drawn"][1]) == 3
    assert set(again.session_state["look-drawn"][1]) <= set(ids(given["ann"], *range(6), 10, 11))


def test_later_puts_an_item_behind_all_others(given: People) -> None:
    test = part("Second look")
    test.session_state["look-mode"] = "One by one"
    drawn(test)
    order = list(test.session_state["look-drawn"][1])
    press(test, "Later")
    assert test.session_state["look-drawn"][1] == [*order[1:], order[0]]
    assert head() == 3


def test_what_people_differ_about_is_judged_one_by_one(given: People) -> None:
    say(given, "bob", "dog", 0, 1, 2, 3)
    test = part("Second look")
    while not judge(test).startswith("cat"):
        press(test, "2 right")
    assert judge(test) == "cat (ann) | dog (bob)"
    assert component_or_none(test) is None
    press(test, "Right: dog")
    assert right("ann")["cat"] == (1, 0.0)


def test_without_labels_of_others_there_is_nothing_to_judge(people: People) -> None:
    say(people, "tester", "cat", 0)
    test = part("Second look")
    assert "no category of another person is left to review" in test.info[0].value
