"""Acts on whole labels, refusals and proposals: one step each, taken back whole."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_pages import page, press, told
from pyroaring import BitMap

from curation.acts import Acts
from curation.journal import Journal
from curation.labels import LabelState
from curation.people import Person, acting_as
from curation.schema import Act, Selection
from curation.workspace import Workspace
from embeddings.errors import CurationError

N = 8
ALL = np.arange(N)


class Desk(Acts):
    """A curator with a journal and nothing else: no atlas is needed for these acts."""

    def __init__(self, journal: Journal, made_by: str) -> None:
        self.journal, self.keyboard, self.labels = journal, made_by, LabelState(journal)

    def nos_of(self, selection: Selection) -> np.ndarray:
        return self.journal.item_nos(selection.item_ids)

    def give(self, value: str, *items: int, **more: object) -> int:
        return self.label(chosen(*items), value, **more).seq

    def held(self) -> list[str | None]:
        self.labels.refresh()
        return self.labels.category(ALL).tolist()


def chosen(*items: int) -> Selection:
    return Selection(np.array([f"item-{item}" for item in sorted(items)]), "v1")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "decisions.sqlite") as opened:
        opened.register([f"item-{number}" for number in range(N)])
        yield opened


@pytest.fixture
def ann(journal: Journal) -> Desk:
    return Desk(journal, "ann")


@pytest.fixture
def bob(journal: Journal) -> Desk:
    return Desk(journal, "bob")


def test_a_label_is_renamed_wherever_it_stands_and_back(ann: Desk, bob: Desk) -> None:
    ann.give("shrt", 0, 1)
    bob.give("shrt", 2)
    bob.flag(chosen(2), "excluded")
    bob.give("dress", 3)
    act = ann.rename("shrt", "shirt", note="a slip")
    assert (act.words, act.note, act.n_items) == ("category: shrt is now shirt", "a slip", 3)
    assert ann.held()[:4] == ["shirt", "shirt", "shirt", "dress"]
    ann.undo()
    assert ann.held()[:4] == ["shrt", "shrt", "shrt", "dress"]
    Desk(ann.journal, "ann").redo()
    assert ann.held()[:4] == ["shirt", "shirt", "shirt", "dress"]


def test_a_renamed_label_hands_on_its_code_and_an_undo_gives_it_back(ann: Desk) -> None:
    ann.give("shrt", 0)
    ann.give("dress", 1)
    ann.rename("shrt", "shirt")
    assert ann.labels.codes("category")[1] == ["shirt", "dress", "shrt"]
    assert ann.labels.codes("category")[0][:2].tolist() == [0, 1]
    ann.undo()
    assert ann.labels.codes("category")[1] == ["shrt", "dress", "shirt"]
    ann.redo()
    ann.give("shirt", 2)
    ann.undo()
    assert LabelState(ann.journal).codes("category")[1] == ["shirt", "dress", "shrt"]


def test_a_code_is_not_handed_on_to_a_label_that_others_carry(ann: Desk, bob: Desk) -> None:
    ann.give("shrt", 0)
    bob.give("shirt", 1)
    ann.merge(["shrt"], "shirt")
    assert ann.labels.codes("category")[1] == ["shrt", "shirt"]
    assert ann.labels.codes("category")[0][:2].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("none such", "x", "no item has the category 'none such'"),
        ("shirt", "dress", "there is a category 'dress' already; merge the two instead"),
        ("shirt", " ", "empty"),
    ],
)
def test_a_rename_that_cannot_be_is_refused(ann: Desk, old: str, new: str, message: str) -> None:
    ann.give("shirt", 0)
    ann.give("dress", 1)
    with pytest.raises(CurationError, match=message):
        ann.rename(old, new)
    assert ann.journal.head == 2


def test_labels_are_merged_in_one_step_and_taken_apart_in_one(ann: Desk, bob: Desk) -> None:
    ann.give("tee", 0, 1)
    bob.give("t-shirt", 2)
    bob.give("shirt", 3)
    before = ann.held()
    parts = ann.merge(["tee", "t-shirt", "shirt"], "shirt", note="one thing")
    assert [(part.replaces, part.n_items) for part in parts] == [("tee", 2), ("t-shirt", 1)]
    assert [part.note for part in ann.log(2)] == ["one thing"] * 2
    assert ann.held()[:4] == ["shirt"] * 4
    shown = ann.journal.undoable("ann")
    assert shown is not None
    ann.undo(seq=shown.seq)
    assert ann.held() == before
    assert [step.action for step in ann.log(2)] == ["undo", "undo"]
    again = ann.journal.redoable("ann")
    assert again is not None
    ann.redo(seq=again.seq)
    assert ann.held()[:4] == ["shirt"] * 4
    ann.undo()
    ann.undo()
    assert ann.held()[:4] == [None, None, "t-shirt", "shirt"], "her merge, then her own label"
    with pytest.raises(CurationError, match="nothing to merge into 'shirt'"):
        ann.merge(["shirt"], "shirt")


def test_a_step_of_several_acts_is_written_whole_or_not_at_all(ann: Desk) -> None:
    acts = [Act("label", BitMap([0]), "category", "x"), Act("label", BitMap([99]), "category", "y")]
    with pytest.raises(CurationError, match="unknown item number 99"):
        ann.step(acts)
    with pytest.raises(CurationError, match="nothing is selected"):
        ann.step([acts[0], Act("label", BitMap(), "category", "y")])
    assert ann.journal.head == 0


def test_a_deleted_label_leaves_its_items_without_one(ann: Desk, bob: Desk) -> None:
    bob.give("shirt", 0, 1)
    bob.give("shirt", 0, field="instance")
    assert ann.delete_label("shirt").words == "category: shirt deleted"
    assert ann.held() == [None] * N
    assert ann.labels.counts("instance") == {"shirt": 1}
    bob.labels.refresh()
    ann.undo()
    assert ann.held()[:2] == ["shirt", "shirt"]


def test_a_label_given_between_looking_and_renaming_is_renamed_too(
    ann: Desk, bob: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann.give("shrt", 0)
    append = ann.journal.append_step

    def late(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(ann.journal, "append_step", append)
        bob.give("shrt", 5)
        return append(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ann.journal, "append_step", late)
    assert ann.rename("shrt", "shirt").n_items == 2
    assert ann.labels.counts("category") == {"shirt": 2}


def test_what_was_refused_is_known_until_it_is_undone_or_labelled_so(ann: Desk, bob: Desk) -> None:
    assert ann.refuse(chosen(0, 1, 2), "shirt", note="sleeves").words == "category: not shirt"
    bob.refuse(chosen(2, 3), "shirt")
    bob.refuse(chosen(4), "dress")
    assert refused(ann) == {"shirt": [0, 1, 2, 3], "dress": [4]}
    assert ann.held() == [None] * N
    ann.give("shirt", 1)
    assert refused(ann) == {"shirt": [0, 2, 3], "dress": [4]}
    ann.undo()
    ann.undo()
    assert refused(ann) == {"shirt": [2, 3], "dress": [4]}
    ann.redo()
    assert refused(ann) == {"shirt": [0, 1, 2, 3], "dress": [4]}
    assert ann.labels.refused("instance") == {}
    with pytest.raises(CurationError, match="unknown field"):
        ann.labels.refused("colour")


def refused(desk: Desk) -> dict[str, list[int]]:
    desk.labels.refresh()
    return {value: list(items) for value, items in desk.labels.refused("category").items()}


def test_an_accepted_proposal_can_be_told_from_a_typed_label(ann: Desk) -> None:
    ann.give("shirt", 0)
    ann.give("shirt", 1, 2, source="proposed")
    assert ann.labels.sources([0, 1, 2, 3], "category").tolist() == [
        None, "proposed", "proposed", None,
    ]  # fmt: skip
    assert [decision.source for decision in ann.log()] == ["proposed", None]
    assert ann.undo().source == "proposed", "a row can be read alone"
    with pytest.raises(CurationError, match="unknown source 'guessed'; known: proposed"):
        ann.give("dress", 4, source="guessed")


def test_undo_and_redo_are_shown_before_they_are_done(ann: Desk, bob: Desk) -> None:
    assert ann.preview_undo() is None
    bob.give("dress", 0, 1)
    ann.give("shirt", 0, 1, 2, overwrite=True)
    bob.give("skirt", 2, overwrite=True)
    preview = ann.preview_undo()
    assert preview is not None
    assert [act.value for act in preview.acts] == ["shirt"]
    assert preview.words == ["2 items: category shirt -> dress"]
    assert list(preview.items) == [0, 1], "what bob changed since stays as it is"
    assert ann.journal.head == 3
    ann.undo()
    assert ann.held()[:3] == ["dress", "dress", "skirt"]
    back = ann.preview_redo()
    assert back is not None and back.words == ["2 items: category dress -> shirt"]
    assert bob.preview_redo() is None


def test_a_preview_of_a_merge_shows_the_whole_step(ann: Desk) -> None:
    ann.give("tee", 0)
    ann.give("top", 1, 2)
    ann.merge(["tee", "top"], "shirt")
    preview = ann.preview_undo()
    assert preview is not None
    assert sorted(preview.words) == [
        "1 item: category shirt -> tee",
        "2 items: category shirt -> top",
    ]


def test_a_preview_of_a_step_that_names_an_item_twice_shows_where_it_ends(ann: Desk) -> None:
    ann.give("before", 0)
    ann.step([Act("label", BitMap([0, 1]), "category", value) for value in ("x", "y")])
    preview = ann.preview_undo()
    assert preview is not None
    assert sorted(preview.words) == [
        "1 item: category y -> before",
        "1 item: category y -> none",
    ]
    ann.undo()
    assert ann.held()[:2] == ["before", None]
    preview = ann.preview_redo()
    assert preview is not None
    assert sorted(preview.words) == [
        "1 item: category before -> y",
        "1 item: category none -> y",
    ]


def test_the_log_of_one_person_is_hers_alone(ann: Desk, bob: Desk) -> None:
    first, second = ann.give("shirt", 0), bob.give("dress", 1)
    ann.flag(chosen(2), "unclear", note="dark")
    assert [decision.seq for decision in ann.log()] == [3, second, first]
    assert [decision.seq for decision in ann.log(made_by="ann")] == [3, first]
    assert [decision.seq for decision in bob.log(1, made_by="ann")] == [3]
    assert ann.log(made_by="eve") == []


def test_a_rename_does_not_merge_into_a_label_given_between_looking_and_renaming(
    ann: Desk, bob: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann.give("shrt", 0)
    append = ann.journal.append_step

    def late(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(ann.journal, "append_step", append)
        bob.give("shirt", 5)
        return append(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ann.journal, "append_step", late)
    with pytest.raises(CurationError, match="there is a category 'shirt' already"):
        ann.rename("shrt", "shirt")
    assert ann.labels.counts("category") == {"shrt": 1, "shirt": 1}


def test_refusals_follow_what_is_renamed_merged_and_taken_back(ann: Desk, bob: Desk) -> None:
    bob.refuse(chosen(0, 1), "tee")
    bob.refuse(chosen(2), "shirt")
    ann.give("tee", 5)
    ann.give("shirt", 6)
    ann.merge(["tee"], "shirt")
    assert refused(ann) == {"shirt": [0, 1, 2]}
    bob.refuse(chosen(3), "tee")
    assert refused(ann) == {"shirt": [0, 1, 2], "tee": [3]}, "a label of that name came later"
    ann.rename("shirt", "top")
    assert refused(ann) == {"top": [0, 1, 2], "tee": [3]}
    bob.undo()
    assert refused(ann) == {"top": [0, 1, 2]}
    ann.delete_label("top")
    assert refused(ann) == {"top": [0, 1, 2]}
    for _ in range(3):
        ann.undo()
    assert refused(ann) == {"tee": [0, 1], "shirt": [2]}
    ann.redo()
    assert refused(ann) == refused(bob) == {"shirt": [0, 1, 2]}


def test_what_an_admin_did_to_a_whole_label_only_an_admin_takes_back(ann: Desk) -> None:
    ann.give("tee", 0)
    ann.give("top", 1)
    (first, _) = ann.merge(["tee", "top"], "shirt")
    labeller, admin = Person("ann", "label"), Person("ann", "admin")
    for seq in (None, first.seq + 1):
        with acting_as(labeller), pytest.raises(CurationError, match="admin"):
            ann.undo(seq=seq)
    with acting_as(admin):
        assert [act.undoes for act in ann.back("undo")] == [first.seq + 1, first.seq]
    with acting_as(labeller), pytest.raises(CurationError, match="admin"):
        ann.redo()
    assert ann.labels.counts("category") == {"tee": 1, "top": 1}
    with acting_as(labeller):
        ann.undo()
    assert ann.labels.counts("category") == {"tee": 1}


def test_a_label_is_not_held_up_by_decisions_about_other_items(
    ann: Desk, bob: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, tries = ann.journal.append_step, []

    def busy(*arguments: object, **options: object) -> object:
        tries.append(arguments)
        assert len(tries) < 3, "tried again and again"
        with monkeypatch.context() as patch:
            patch.setattr(ann.journal, "append_step", append)
            bob.flag(chosen(7), "unclear")
        return append(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ann.journal, "append_step", busy)
    ann.give("shirt", 0, 1)
    assert len(tries) == 1


# ---- in the app and on the command line


@pytest.fixture
def merged(digits: str) -> Workspace:
    """Digits with two labels that were merged into a third, as one step."""
    opened = Workspace(digits)
    for cluster, name in enumerate(("zero", "one")):
        opened.label(opened.select(f"cluster:{cluster}"), name)
    opened.merge(["zero", "one"], "digit")
    return opened


def test_the_app_undoes_a_step_of_several_acts_as_what_it_is(merged: Workspace) -> None:
    both = set(merged.select("label:digit").item_ids)
    step = "category: zero is now digit and 1 more"
    test = press(page("map"), f"Undo {step} ({len(both)})")
    assert told(test) == [f"undone: {step} · {len(both)} items"]
    assert set(test.session_state["selection"].item_ids) == both
    assert sorted(Workspace("digits").labels.counts("category")) == ["one", "zero"]
    test = press(test, f"Redo {step} ({len(both)})")
    assert told(test) == [f"done again: {step} · {len(both)} items"]
    assert Workspace("digits").labels.counts("category") == {"digit": len(both)}


def test_the_command_line_tells_each_act_of_a_step(
    curate: Callable[..., Any], merged: Workspace
) -> None:
    undone = curate("undo", "-d", merged.name, "--json").value
    assert [part["undoes"] for part in undone["parts"]] == [4, 3] and undone["undoes"] == 4
    assert [line.split(": ")[0] for line in curate("redo", "-d", merged.name).out.splitlines()] == [
        "redo of 3",
        "redo of 4",
    ]
