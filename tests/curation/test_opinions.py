"""Several curators side by side: opinions, conflicts, agreement, a second look."""

import itertools
import math
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pyroaring import BitMap

from curation import review
from curation.agreement import agreement
from curation.journal import Journal
from curation.labels import LabelState
from curation.opinions import Opinions, conflicts, opinions, settle_by_vote
from curation.schema import Selection
from curation.workspace import Workspace
from embeddings.errors import CurationError

People = dict[str, Workspace]


@pytest.fixture
def people(digits: str) -> People:
    """Four people on one dataset; the last one reviews."""
    return {who: Workspace(digits, made_by=who) for who in ("ann", "bob", "eve", "tom")}


def rows(workspace: Workspace, *wanted: int) -> Selection:
    return Selection.of(workspace.atlas(), np.array(sorted(wanted), np.int32))


def say(people: People, who: str, value: str | None, *wanted: int, **more: object) -> None:
    mine = people[who]
    if value is None:
        mine.clear(rows(mine, *wanted))
    else:
        mine.label(rows(mine, *wanted), value, overwrite=True, **more)


def said(workspace: Workspace, row: int) -> dict[str, str]:
    item = int(workspace.item_nos(workspace.newest_version())[row])
    return opinions(workspace).of(item)


def queue(workspace: Workspace) -> list[int]:
    return conflicts(workspace).rows.tolist()


def test_a_label_that_somebody_else_changed_stays_its_givers_opinion(people: People) -> None:
    say(people, "ann", "3", 0, 1, 2)
    say(people, "bob", "8", 1)
    say(people, "ann", "5", 2)
    tom = people["tom"]
    assert said(tom, 0) == {"ann": "3"}
    assert said(tom, 1) == {"ann": "3", "bob": "8"}
    assert said(tom, 2) == {"ann": "5"}, "what she corrected herself is not"
    assert queue(tom) == [1]
    assert conflicts(tom).said(0) == {"ann": "3", "bob": "8"}
    people["bob"].undo()
    assert said(tom, 1) == {"ann": "3"}
    assert queue(tom) == []
    say(people, "ann", None, 0)
    assert said(tom, 0) == {}


def test_the_most_divided_come_first_and_excluded_ones_not_at_all(people: People) -> None:
    for who, value in (("ann", "1"), ("bob", "1"), ("eve", "7")):
        say(people, who, value, 10)
    for who, value in (("ann", "1"), ("bob", "4"), ("eve", "7")):
        say(people, who, value, 20)
    for who, value in (("ann", "1"), ("bob", "4")):
        say(people, who, value, 30, 31)
    for who in ("ann", "bob", "eve"):
        say(people, who, "9", 40)
    tom = people["tom"]
    assert queue(tom) == [20, 30, 31, 10]
    tom.flag(rows(tom, 31), "excluded")
    assert queue(tom) == [20, 30, 10]


def test_a_renamed_label_is_no_conflict_with_the_name_it_had(people: People) -> None:
    say(people, "ann", "one", 0, 1, 5)
    say(people, "bob", "one", 1)
    say(people, "bob", "two", 0)
    say(people, "eve", "uno", 1)
    tom = people["tom"]
    tom.merge(["one", "uno"], "1")
    assert said(tom, 1) == {"ann": "1", "bob": "1", "eve": "1"}
    assert said(tom, 0) == {"ann": "1", "bob": "two"}, "though the item carried another name"
    assert queue(tom) == [0]
    tom.undo()
    assert said(tom, 1) == {"ann": "one", "bob": "one", "eve": "uno"}
    tom.delete_label("two")
    assert said(tom, 0) == {"ann": "one"}


def test_a_vote_settles_where_there_is_a_majority_and_ties_stay(people: People) -> None:
    for who, value in (("ann", "1"), ("bob", "7"), ("eve", "7")):
        say(people, who, value, 0)
    for who, value in (("ann", "2"), ("bob", "2"), ("eve", "3")):
        say(people, who, value, 1)
    for who, value in (("ann", "4"), ("bob", "9")):
        say(people, who, value, 2)
    tom = people["tom"]
    decided = settle_by_vote(tom)
    assert {(act.value, act.n_items, act.source) for act in decided} == {
        ("7", 1, "consensus"),
        ("2", 1, "consensus"),
    }
    items = tom.item_nos(tom.newest_version())[:3]
    assert tom.labels.category(items).tolist() == ["7", "2", "9"]
    assert queue(tom) == [2]
    assert settle_by_vote(tom) == []
    assert said(tom, 0) == {"ann": "1", "bob": "7", "eve": "7"}, "a vote is nobody's opinion"
    say(people, "eve", "1", 0)  # somebody thinks again: it is open again
    assert queue(tom) == [2, 0]
    people["eve"].undo()
    assert queue(tom) == [2]
    tom.undo()
    assert queue(tom) == [2, 0, 1], "the vote is taken back in one step"


def test_one_conflict_is_settled_by_hand(people: People) -> None:
    say(people, "ann", "4", 2)
    say(people, "bob", "9", 2)
    tom = people["tom"]
    say(people, "tom", "9", 2, source="consensus")
    assert queue(tom) == []
    assert said(tom, 2) == {"ann": "4", "bob": "9"}


def test_opinions_are_the_newest_of_each_person_however_they_interleave(people: People) -> None:
    chance, truth = random.Random(0), {}
    for _ in range(60):
        who, row = chance.choice(["ann", "bob", "eve"]), chance.randrange(6)
        if chance.random() < 0.2 and people[who].journal.undoable(who):
            people[who].undo()
            truth[who].pop()
            continue
        value = chance.choice(["1", "2", "3", None])
        say(people, who, value, row)
        truth.setdefault(who, []).append((row, value))
    wanted = {who: {} for who in truth}
    for who, acts in truth.items():
        wanted[who] = dict(acts)
    for row in range(6):
        expected = {who: held[row] for who, held in wanted.items() if held.get(row)}
        assert said(people["tom"], row) == expected


def same(found: Opinions, other: Opinions) -> None:
    for name in ("item_no", "person", "code"):
        np.testing.assert_array_equal(getattr(found, name), getattr(other, name))
    assert (found.people, found.legend) == (other.people, other.legend)
    assert (found.settled, found.judged) == (other.settled, other.judged)


def test_what_is_followed_decision_by_decision_is_what_is_read_at_once(people: People) -> None:
    chance, tom = random.Random(3), people["tom"]
    for turn in range(120):
        who, wanted = chance.choice(["ann", "bob", "eve"]), chance.sample(range(12), 3)
        what = chance.choice(["say", "say", "say", "undo", "redo", "rename", "flag"])
        new = chance.choice("1234")
        tom.labels.refresh()
        labels = sorted({*tom.labels.counts("category")} - {new})
        if what == "undo" and people[who].journal.undoable(who):
            people[who].undo()
        elif what == "redo" and people[who].journal.redoable(who):
            people[who].redo()
        elif what == "rename" and labels:
            people[who].merge([chance.choice(labels)], new)
        elif what == "flag":
            people[who].flag(rows(tom, *wanted), "unclear")
        else:
            source = chance.choice([None, None, "review", "consensus"])
            value = chance.choice(["1", "2", "3", None])
            say(people, who, value, *wanted, **({} if value is None else {"source": source}))
        if turn % 3:  # so that some are followed several at a time
            same(opinions(tom), opinions(Workspace(tom.name)))


def test_after_a_decision_only_its_items_are_read_again(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(people, "ann", "1", *range(50))
    say(people, "tom", "2", 0, 1, source="review")
    tom = people["tom"]
    first, scored = opinions(tom), review.scores(tom)
    asked, naming = [], LabelState.naming
    monkeypatch.setattr(
        LabelState, "naming", lambda state, items: asked.append(len(items)) or naming(state, items)
    )
    assert opinions(tom) is first and review.scores(tom) is scored and asked == []
    say(people, "bob", "2", 3, 4, 5)
    assert len(opinions(tom)) == len(first) + 3
    assert asked == [3]
    assert review.scores(tom) == scored and asked == [3, 2], "those that were judged"


def test_opinions_of_a_journal_that_was_put_back_are_read_anew(tmp_path: Path) -> None:
    def label(value: str) -> None:
        journal.append("label", items=BitMap([1]), made_by="ann", field="category", value=value)

    with (
        Journal(tmp_path / "decisions.sqlite") as journal,
        closing(sqlite3.connect(tmp_path / "backup.sqlite")) as backup,
    ):
        journal.register(["a", "b"])
        label("before")
        journal._db.backup(backup)
        label("lost")
        bare: Any = SimpleNamespace(labels=LabelState(journal), journal=journal)
        assert opinions(bare).of(1) == {"ann": "lost"}
        backup.backup(journal._db)
        label("after")
        assert opinions(bare).of(1) == {"ann": "after"}, "though as many decisions were made"


def test_an_unknown_field_is_refused(people: People) -> None:
    with pytest.raises(CurationError, match="unknown field 'colour'; known: category, instance"):
        opinions(people["tom"], "colour")


# -- agreement ---------------------------------------------------------------------------------


def nominal_alpha(units: list[list[str]]) -> float:
    """Return Krippendorff's alpha by the definition: 1 - observed / expected disagreement."""
    units = [unit for unit in units if len(unit) > 1]
    n = sum(map(len, units))
    observed = sum(
        sum(a != b for a, b in itertools.permutations(unit, 2)) / (len(unit) - 1) for unit in units
    )
    pooled = [value for unit in units for value in unit]
    expected = sum(a != b for a, b in itertools.permutations(pooled, 2)) / (n - 1)
    return 1 - observed / expected


def kappa(first: list[str], second: list[str]) -> float:
    """Return Cohen's kappa by the definition."""
    n = len(first)
    agreed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    chance = sum(first.count(v) * second.count(v) for v in {*first, *second}) / n**2
    return (agreed - chance) / (1 - chance)


def fleiss(units: list[list[str]]) -> float:
    """Return Fleiss' kappa by the definition, for as many voices on each unit."""
    n, k = len(units), len(units[0])
    pooled = [value for unit in units for value in unit]
    chance = sum((pooled.count(value) / (n * k)) ** 2 for value in {*pooled})
    share = sum(a == b for unit in units for a, b in itertools.permutations(unit, 2))
    return (share / (n * k * (k - 1)) - chance) / (1 - chance)


def test_agreement_is_what_the_textbooks_define(people: People) -> None:
    chance = random.Random(1)
    given: dict[str, dict[int, str]] = {"ann": {}, "bob": {}, "eve": {}}
    for row in range(40):
        true = chance.choice("123")
        for who in given if row < 25 else chance.sample(list(given), 2):
            given[who][row] = true if chance.random() < 0.7 else chance.choice("123")
    for who, labels in given.items():
        for value in "123":
            say(people, who, value, *(row for row, label in labels.items() if label == value))
    found = agreement(people["tom"])
    units = [[labels[row] for labels in given.values() if row in labels] for row in range(40)]
    assert found.people == ("ann", "bob", "eve")
    assert found.items == 40
    assert found.alpha == pytest.approx(nominal_alpha(units))
    assert found.alpha_items == 40
    full = [unit for unit in units if len(unit) == 3]
    assert (found.fleiss_items, found.fleiss_raters) == (25, 3)
    assert found.fleiss == pytest.approx(fleiss(full))
    for pair in found.pairs:
        both = sorted(given[pair.first].keys() & given[pair.second].keys())
        one, other = ([given[who][row] for row in both] for who in (pair.first, pair.second))
        assert pair.items == len(both)
        assert pair.kappa == pytest.approx(kappa(one, other))
        assert pair.agreed == pytest.approx(
            np.mean([a == b for a, b in zip(one, other, strict=True)])
        )


def test_what_is_not_defined_is_none_and_no_number(people: People) -> None:
    nobody = agreement(people["tom"])
    assert (nobody.items, nobody.pairs, nobody.fleiss, nobody.alpha) == (0, (), None, None)
    say(people, "ann", "1", 0, 1)
    say(people, "bob", "1", 1, 2)
    alike = agreement(people["tom"])
    assert (alike.items, alike.fleiss, alike.alpha) == (1, None, None)
    assert [(pair.agreed, pair.kappa) for pair in alike.pairs] == [(1.0, None)]


def test_alpha_of_very_many_items_is_of_some_drawn_at_random(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    for who, shift in (("ann", 0), ("bob", 20)):
        say(people, who, "1", *range(300 + shift))
        say(people, who, "2", *range(300 + shift, 600))
    whole = agreement(people["tom"])
    assert (whole.items, whole.alpha_items) == (600, 600)
    monkeypatch.setattr("curation.agreement.MOST_CELLS", 400 * 2**2)
    drawn, again = agreement(people["tom"]), agreement(people["tom"])
    assert drawn == again
    assert (drawn.items, drawn.alpha_items) == (600, 400)
    assert drawn.alpha == pytest.approx(whole.alpha, abs=0.03)
    monkeypatch.setattr("curation.agreement.MOST_COUNTS", 100 * 2)
    few = agreement(people["tom"])
    assert (few.items, few.alpha_items, few.fleiss_items) == (600, 100, 100)


# -- review ------------------------------------------------------------------------------------


def test_a_sample_is_drawn_of_each_other_person_and_is_the_same_for_a_seed(people: People) -> None:
    say(people, "ann", "1", *range(100))
    say(people, "bob", "2", *range(100, 130))
    say(people, "tom", "3", *range(200, 260))
    tom = people["tom"]
    drawn = review.sample(tom, each=20, seed=7)
    assert drawn.drawn == {"ann": 20, "bob": 20}
    assert (drawn.rows < 100).sum() == 20 and ((drawn.rows >= 100) & (drawn.rows < 130)).sum() == 20
    assert review.sample(tom, each=20, seed=7).rows.tolist() == drawn.rows.tolist()
    assert review.sample(tom, each=20, seed=8).rows.tolist() != drawn.rows.tolist()
    assert drawn.rows.tolist() != sorted(drawn.rows.tolist()), "order must tell nothing"
    tom.flag(rows(tom, *range(10)), "excluded")
    for row in drawn.rows.tolist():
        review.answer(tom, rows(tom, row), "1") if row >= 10 else None
    again = review.sample(tom, each=200, seed=7)
    assert not {*again.rows.tolist()} & {*drawn.rows.tolist(), *range(10)}


def test_nothing_to_review_says_so(people: People) -> None:
    say(people, "tom", "3", 1)
    with pytest.raises(CurationError, match="no category of another person is left to review"):
        review.sample(people["tom"])


def test_scores_are_precision_and_recall_against_the_reviewer(people: People) -> None:
    say(people, "ann", "1", *range(10))
    say(people, "ann", "2", *range(10, 20))
    say(people, "bob", "1", *range(10, 12))
    tom = people["tom"]
    review.answer(tom, rows(tom, *range(8)), "1")
    review.answer(tom, rows(tom, 8), "2")
    review.answer(tom, rows(tom, 9), None, note="no digit at all")
    review.answer(tom, rows(tom, *range(10, 14)), "2")
    found = {(score.person, score.label): score for score in review.scores(tom)}
    one = found["ann", "1"]
    assert (one.given, one.true) == (10, 8)
    assert one.precision == pytest.approx(0.8) and one.recall == 1.0
    two = found["ann", "2"]
    assert two.precision == 1.0 and two.recall == pytest.approx(4 / 5)
    assert two.f1 == pytest.approx(2 * 1.0 * 0.8 / 1.8)
    total = found["ann", None]
    assert total.given == 14 and total.precision == pytest.approx(0.9)
    assert found["bob", "1"].precision == 0.0 and found["bob", "1"].recall is None
    assert "tom" not in {person for person, _ in found}
    assert [act.source for act in tom.log(4)] == ["review"] * 4


def test_a_correction_after_the_review_does_not_change_the_score(people: People) -> None:
    say(people, "ann", "1", 0, 1)
    tom = people["tom"]
    review.answer(tom, rows(tom, 0, 1), "2")
    say(people, "ann", "2", 0, 1)
    tom.rename("2", "two")
    found = {score.label: score for score in review.scores(tom)}
    assert found["1"].precision == 0.0
    assert found["two"].true == 2 and found["two"].recall == 0.0
    tom.undo()
    people["ann"].undo()
    tom.undo()
    assert review.scores(tom) == []


def test_no_score_is_not_a_number(people: People) -> None:
    say(people, "ann", "1", 0)
    tom = people["tom"]
    review.answer(tom, rows(tom, 0), None)
    for score in review.scores(tom):
        for value in (score.precision, score.recall, score.f1):
            assert value is None or not math.isnan(value)
