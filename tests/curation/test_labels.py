"""The state of the labels is the replay of the acts that are not undone."""

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from curation import folding
from curation.journal import Journal
from curation.labels import LabelState
from curation.schema import FLAG_BITS, FLAGS, Act, Decision
from embeddings.errors import CurationError

N = 6
ALL = np.arange(N)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "decisions.sqlite") as opened:
        opened.register([f"item-{number}" for number in range(N)])
        yield opened


def label(
    journal: Journal, value: str | None, *items: int, by: str = "ann", field: str = "category"
) -> Decision:
    return journal.append("label", items=BitMap(items), made_by=by, field=field, value=value)


def flag(journal: Journal, value: str, *items: int, action: str = "flag") -> Decision:
    return journal.append(action, items=BitMap(items), made_by="ann", field="flag", value=value)


def test_the_last_label_stands(journal: Journal) -> None:
    label(journal, "shirt", 0, 1, 2)
    label(journal, "skirt", 1, by="bob")
    label(journal, None, 2)
    label(journal, "Blue one", 1, field="instance")
    state = LabelState(journal)
    assert state.category(ALL).tolist() == ["shirt", "skirt", None, None, None, None]
    assert state.instance([1, 0]).tolist() == ["Blue one", None]
    assert state.made_by(ALL, "category").tolist() == ["ann", "bob", None, None, None, None]
    assert state.counts("category") == {"shirt": 1, "skirt": 1}
    assert list(state.items_with("category", "shirt")) == [0]
    assert list(state.items_with("category", None)) == [2, 3, 4, 5]
    assert list(state.items_with("category", "never used")) == []


def test_each_label_knows_when_it_was_given(journal: Journal) -> None:
    first, second = label(journal, "shirt", 0, 1), label(journal, "skirt", 1)
    times = LabelState(journal).decided_at([0, 1, 2], "category").tolist()
    assert times == [first.made_at, second.made_at, None]


def test_undo_returns_what_stood_before_and_keeps_what_others_did_later(journal: Journal) -> None:
    label(journal, "shirt", 0, 1, 2, by="ann")
    label(journal, "skirt", 1, 2, 3, by="bob")
    label(journal, "dress", 2, 4, by="ann")
    state = LabelState(journal)
    journal.undo("bob")
    state.refresh()
    assert state.category(ALL).tolist() == ["shirt", "shirt", "dress", None, "dress", None]
    journal.undo("ann")
    state.refresh()
    assert state.category(ALL).tolist() == ["shirt", "shirt", "shirt", None, None, None]
    journal.redo("bob")
    state.refresh()
    assert state.category(ALL).tolist() == ["shirt", "skirt", "skirt", "skirt", None, None]


def test_a_redo_does_not_cover_what_another_did_in_between(journal: Journal) -> None:
    label(journal, "shirt", 0, 1, by="ann")
    journal.undo("ann")
    label(journal, "skirt", 1, by="bob")
    journal.redo("ann")
    assert LabelState(journal).category([0, 1]).tolist() == ["shirt", "skirt"]


def renamed(journal: Journal, state: LabelState, gone: str, fresh: str | None, by: str) -> None:
    acts = [Act("label", state.items_with("category", gone), "category", fresh, replaces=gone)]
    journal.append_step(acts, made_by=by)
    state.refresh()


def givers(state: LabelState) -> list[object]:
    return state.made_by(ALL, "category").tolist()


def test_a_renamed_or_merged_label_stays_with_whoever_gave_it(journal: Journal) -> None:
    given = journal.append("label", items=BitMap([0, 1]), made_by="ann", field="category",
                           value="shirt", source="proposed")  # fmt: skip
    label(journal, "tee", 2, by="bob")
    state = LabelState(journal)
    renamed(journal, state, "shirt", "top", by="tom")
    renamed(journal, state, "top", "tee", by="eve")
    for known in (state, LabelState(journal)):
        assert known.category(ALL).tolist() == ["tee", "tee", "tee", None, None, None]
        assert givers(known) == ["ann", "ann", "bob", None, None, None]
        assert known.decided_at([0], "category").tolist() == [given.made_at]
        assert known.sources([0, 2], "category").tolist() == ["proposed", None]
    renamed(journal, state, "tee", None, by="eve")
    assert givers(state) == [None] * N, "a label that was deleted leaves nothing"
    journal.undo("eve")
    state.refresh()
    assert givers(state) == ["ann", "ann", "bob", None, None, None]


def test_a_renamed_label_has_the_giver_that_the_undo_of_either_act_leaves(
    journal: Journal,
) -> None:
    label(journal, "shirt", 0, 1, 2, by="bob")
    label(journal, "dress", 1, by="bob")
    label(journal, "shirt", 0, 1, 3, by="ann")
    state = LabelState(journal)
    renamed(journal, state, "shirt", "top", by="tom")
    assert givers(state) == ["ann", "ann", "bob", "ann", None, None]
    journal.undo("ann")
    state.refresh()
    assert state.category(ALL).tolist() == ["top", "top", "top", "top", None, None]
    assert givers(state) == ["bob", "tom", "bob", "tom", None, None], "nobody else said so"
    assert givers(state) == givers(LabelState(journal))
    journal.undo("tom")
    state.refresh()
    assert givers(state) == ["bob", "bob", "bob", None, None, None]
    journal.redo("tom")
    journal.redo("ann")
    state.refresh()
    assert givers(state) == ["ann", "ann", "bob", "ann", None, None]


def test_each_flag_stands_by_itself(journal: Journal) -> None:
    flag(journal, "excluded", 0, 1)
    flag(journal, "unclear", 1, 2)
    flag(journal, "excluded", 0, action="unflag")
    state = LabelState(journal)
    excluded, unclear = FLAG_BITS["excluded"], FLAG_BITS["unclear"]
    assert state.flags(ALL).tolist() == [0, excluded | unclear, unclear, 0, 0, 0]
    assert state.flags(ALL).dtype == np.uint8
    assert list(state.flagged("excluded")) == [1]
    assert list(state.flagged("duplicate")) == []
    assert state.made_by([0, 1], "excluded").tolist() == [None, "ann"]


def test_a_label_keeps_its_code_for_the_life_of_the_journal(journal: Journal) -> None:
    label(journal, "shirt", 0)
    label(journal, "skirt", 1)
    journal.undo("ann")
    label(journal, "dress", 2)
    early = LabelState(journal)
    label(journal, None, 0)
    label(journal, "skirt", 3)
    early.refresh()
    for state in (early, LabelState(journal)):
        codes, legend = state.codes("category")
        assert legend == ["shirt", "skirt", "dress"]
        assert codes.tolist() == [-1, -1, 2, 1, -1, -1]
        assert codes.dtype == np.int32


def test_a_dismissed_finding_stays_dismissed_until_everyone_took_it_back(journal: Journal) -> None:
    for who in ("ann", "bob"):
        journal.append(
            "dismiss", items=BitMap([1]), made_by=who, field="finding", value="finding-1"
        )
    state = LabelState(journal)
    journal.undo("ann")
    state.refresh()
    assert state.dismissed() == {"finding-1"}
    journal.undo("bob")
    state.refresh()
    assert state.dismissed() == set()
    journal.redo("ann")
    state.refresh()
    assert state.dismissed() == {"finding-1"}
    assert state.category(ALL).tolist() == [None] * N


def test_what_changed_names_undo_and_redo_too(journal: Journal) -> None:
    state = LabelState(journal)
    assert state.refresh() == 0
    label(journal, "shirt", 0, 1)
    seen = state.refresh()
    label(journal, "skirt", 4)
    journal.undo("ann")
    journal.undo("ann")
    assert state.refresh() == journal.head == 4
    assert list(state.changed_since(seen)) == [0, 1, 4]
    assert list(state.changed_since(0)) == [0, 1, 4]
    assert list(state.changed_since(journal.head)) == []


def test_the_history_of_an_item_tells_everything_that_named_it(journal: Journal) -> None:
    label(journal, "shirt", 0, 1)
    label(journal, "skirt", 2)
    flag(journal, "unclear", 1)
    journal.undo("ann")
    acts = [(step.action, step.value) for step in LabelState(journal).history(1)]
    assert acts == [("label", "shirt"), ("flag", "unclear"), ("undo", "unclear")]


def test_items_registered_later_are_there_after_a_refresh(journal: Journal) -> None:
    state = LabelState(journal)
    journal.register(["late"])
    assert state.category([6]).tolist() == [None]
    label(journal, "shirt", 6)
    assert state.category([6]).tolist() == [None]
    state.refresh()
    assert state.category([6]).tolist() == ["shirt"]
    assert len(state.codes("category")[0]) == N + 1


def test_unknown_fields_and_numbers_are_refused(journal: Journal) -> None:
    state = LabelState(journal)
    with pytest.raises(CurationError, match="unknown field 'colour'; known: category, instance"):
        state.codes("colour")
    with pytest.raises(ValueError, match="start at 0, got -1"):
        state.category([-1])


def test_labels_that_look_like_code_are_texts(journal: Journal) -> None:
    label(journal, "zzz' OR '1'='1", 0)
    label(journal, "shirt", 1)
    state = LabelState(journal)
    assert list(state.items_with("category", "zzz' OR '1'='1")) == [0]
    assert state.counts("category") == {"zzz' OR '1'='1": 1, "shirt": 1}


# -- against a naive replay --------------------------------------------------------------------

PEOPLE = ("ann", "bob", "eve")
ITEMS = st.sets(st.integers(0, N - 1), min_size=1)
ACT = st.one_of(
    st.tuples(st.just("label"), st.just("category"), st.sampled_from(["a", "b", "c", None]), ITEMS),
    st.tuples(st.just("label"), st.just("instance"), st.sampled_from(["a", None]), ITEMS),
    st.tuples(st.sampled_from(["flag", "unflag"]), st.just("flag"), st.sampled_from(FLAGS), ITEMS),
    st.tuples(st.just("dismiss"), st.just("finding"), st.sampled_from(["f1", "f2"]), ITEMS),
    st.tuples(st.just("refuse"), st.just("category"), st.sampled_from(["a", "b"]), ITEMS),
)
NAMES = st.sampled_from(["a", "b", "c", "d"])
REPLACE = st.tuples(st.lists(NAMES, min_size=1, max_size=2, unique=True), st.none() | NAMES)
BACK = st.sampled_from(["undo", "redo", "undo"])  # more undos: deep stacks are the hard case
STEPS = st.lists(
    st.tuples(st.sampled_from(PEOPLE), st.one_of(ACT, BACK, REPLACE), st.booleans()), max_size=30
)


def standing(decisions: list[Decision]) -> list[Decision]:
    undone = set()
    for decision in decisions:
        if decision.action == "undo":
            undone.add(decision.undoes)
        elif decision.action == "redo":
            undone.remove(decision.undoes)
    return [act for act in decisions if act.is_act and act.seq not in undone]


def replay(decisions: list[Decision]) -> dict[str, object]:
    """Return the state by the definition: play every act that is not undone, from scratch."""
    state: dict[str, list[str | None]] = {name: [None] * N for name in ("category", "instance")}
    people: list[str | None] = [None] * N
    flags = [0] * N
    acts = standing(decisions)
    for act in acts:
        for item in act.items:
            if (act.action, act.field) == ("label", "category"):
                renamed = act.replaces is not None and act.replaces == state["category"][item]
                giver = people[item] if renamed else act.made_by
                people[item] = giver if act.value else None
            if act.action == "label":
                state[str(act.field)][item] = act.value
            if act.field == "flag":
                flags[item] &= ~FLAG_BITS[str(act.value)]
                flags[item] |= FLAG_BITS[str(act.value)] if act.action == "flag" else 0
    dismissed = {act.value for act in acts if act.action == "dismiss"}
    refused = {
        value: left
        for value, items in replay_refusals(acts).items()
        if (left := {item for item in items if state["category"][item] != value})
    }
    told = {"people": people, "flags": flags, "dismissed": dismissed, "refused": refused}
    return {**state, **told}


def replay_refusals(acts: list[Decision]) -> dict[str | None, set[int]]:
    refused: dict[str | None, set[int]] = {}
    for act in acts:
        if act.action == "refuse":
            refused[act.value] = refused.get(act.value, set()) | set(act.items)
        elif act.replaces in refused and act.value is not None:
            gone = refused.pop(act.replaces)
            refused[act.value] = refused.get(act.value, set()) | gone
    return refused


def folded(state: LabelState) -> dict[str, object]:
    return {
        "category": state.category(ALL).tolist(),
        "instance": state.instance(ALL).tolist(),
        "people": state.made_by(ALL, "category").tolist(),
        "flags": state.flags(ALL).tolist(),
        "dismissed": state.dismissed(),
        "refused": {value: set(items) for value, items in state.refused("category").items()},
    }


def replace_labels(journal: Journal, who: str, labels: list[str], new: str | None) -> None:
    state = LabelState(journal)
    acts = [
        Act("label", items, "category", new, replaces=old)
        for old in labels
        if old != new and (items := state.items_with("category", old))
    ]
    if acts:
        journal.append_step(acts, made_by=who)


def named_codes(state: LabelState) -> list[tuple[int, str | None]]:
    codes, legend = state.codes("category")
    return [(code, None if code < 0 else legend[code]) for code in codes.tolist()]


def take(journal: Journal, who: str, step: object) -> None:
    if step == "undo" and journal.undoable(who):
        journal.undo(who)
    elif step == "redo" and journal.redoable(who):
        journal.redo(who)
    elif isinstance(step, tuple) and len(step) == 2:
        replace_labels(journal, who, *step)
    elif isinstance(step, tuple):
        action, field, value, items = step
        journal.append(action, items=BitMap(items), made_by=who, field=field, value=value)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(steps=STEPS, window=st.sampled_from([0, 3, folding.WINDOW]))
def test_the_state_is_the_replay_however_people_interleave(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, object, bool]], window: int
) -> None:
    folder = tmp_path_factory.mktemp("replay")
    with Journal(folder / "decisions.sqlite") as journal, pytest.MonkeyPatch.context() as patch:
        patch.setattr(folding, "WINDOW", window)  # what stood before is found near, or far
        journal._db.execute("PRAGMA synchronous = OFF")  # many files, none of them kept
        journal.register([f"item-{number}" for number in range(N)])
        state = LabelState(journal)
        for who, step, looking in steps:
            take(journal, who, step)
            if looking:  # so that the tail comes in parts of any length
                state.refresh()
                assert folded(state) == replay(journal.since())
        state.refresh()
        assert folded(state) == folded(LabelState(journal)) == replay(journal.since())
        assert named_codes(state) == named_codes(LabelState(journal))
        assert state.codes("category")[1] == LabelState(journal).codes("category")[1]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(steps=STEPS)
def test_a_code_changes_only_with_a_decision_that_names_its_item(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, object, bool]]
) -> None:
    """So that a browser that was told what changed shows every colour rightly."""
    with Journal(tmp_path_factory.mktemp("codes") / "decisions.sqlite") as journal:
        journal._db.execute("PRAGMA synchronous = OFF")
        journal.register([f"item-{number}" for number in range(N)])
        state = LabelState(journal)
        seen, before = 0, named_codes(state)
        for who, step, _ in steps:
            take(journal, who, step)
            head = state.refresh()
            after, changed = named_codes(state), state.changed_since(seen)
            rest = [item for item in range(N) if item not in changed]
            assert [after[item] for item in rest] == [before[item] for item in rest]
            seen, before = head, after


@settings(deadline=None, derandomize=True, max_examples=60)
@given(steps=STEPS)
def test_a_preview_says_what_undo_and_redo_then_do(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, object, bool]]
) -> None:
    with Journal(tmp_path_factory.mktemp("preview") / "decisions.sqlite") as journal:
        journal._db.execute("PRAGMA synchronous = OFF")
        journal.register([f"item-{number}" for number in range(N)])
        state = LabelState(journal)
        for who, step, _ in steps:
            top = {"undo": journal.undoable, "redo": journal.redoable}.get(str(step))
            act = top and top(who)
            if act is None:
                take(journal, who, step)
                continue
            state.refresh()
            before = values_of(state)
            changes = state.preview(journal.parts(act), undo=step == "undo")
            assert values_of(state) == before, "nothing is done by looking"
            take(journal, who, step)
            state.refresh()
            told = dict(before)
            for change in changes:
                for item in change.items:
                    assert before[change.field, item] == change.before != change.after
                    told[change.field, item] = change.after
            assert told == values_of(state)


def values_of(state: LabelState) -> dict[tuple[str, int], str | None]:
    found = {("category", item): value for item, value in enumerate(state.category(ALL))}
    found |= {("instance", item): value for item, value in enumerate(state.instance(ALL))}
    for flag, bit in FLAG_BITS.items():
        bits = state.flags(ALL).tolist()
        found |= {(flag, item): flag if bits[item] & bit else None for item in range(N)}
    return found


# -- size and threads --------------------------------------------------------------------------


def test_a_thousand_decisions_over_a_million_items_fold_quickly(tmp_path: Path) -> None:
    n, chance = 1_000_000, np.random.default_rng(0)
    with Journal(tmp_path / "decisions.sqlite") as journal:
        journal._db.execute("PRAGMA synchronous = OFF")
        journal.register([f"{number:08d}" for number in range(n)])
        for turn in range(1000):
            items = BitMap(chance.integers(0, n, 2000).astype(np.uint32))
            journal.append(
                "label", items=items, made_by="ann", field="category", value=f"label {turn % 50}"
            )
        started = time.process_time()
        state = LabelState(journal)
        folding = time.process_time() - started
        for _ in range(20):
            journal.undo("ann")
        started = time.process_time()
        state.refresh()
        undoing = time.process_time() - started
        assert folding < 2.0, f"{folding:.2f} s"
        assert undoing < 1.0, f"{undoing:.2f} s"
        assert state.category(np.arange(n)).tolist().count(None) < n


def test_reads_are_whole_while_another_thread_refreshes(journal: Journal) -> None:
    state, stop, torn = LabelState(journal), threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            seen = set(state.category(ALL).tolist())
            if len(seen) != 1:
                torn.append(seen)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for turn in range(100):
        label(journal, f"label {turn}", *range(N))
        state.refresh()
    stop.set()
    for reader in readers:
        reader.join()
    assert not torn
    assert state.category([0]).tolist() == ["label 99"]


def test_a_fold_that_fails_half_way_is_not_folded_on(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = LabelState(journal)
    for who, value in (("ann", "x"), ("bob", "y"), ("eve", "z")):
        label(journal, value, 0, 1, by=who)
    head = state.refresh()
    journal.undo("eve")
    journal.undo("bob")
    calls = []

    def once(seqs: Sequence[int]) -> list[tuple[int, BitMap]]:
        calls.append(seqs)
        raise CurationError("the disk was away")

    assert state._state is not None
    monkeypatch.setattr(state._state, "_read_some", once)
    with pytest.raises(CurationError, match="the disk was away"):
        state.refresh()
    assert state.category([0, 1]).tolist() == ["x", "x"], "whole even before the next refresh"
    assert state.refresh() == head + 2 and len(calls) == 1
    journal.redo("bob")
    state.refresh()
    assert folded(state) == folded(LabelState(journal)) == replay(journal.since())


def test_undone_acts_that_nothing_stood_before_need_no_look_at_the_others(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for item in range(N):
        label(journal, "x", item)
    for _ in range(N):
        journal.undo("ann")
    asked: list[object] = []
    monkeypatch.setattr("curation.folding.Folded.mentions", lambda *given: asked.append(given))
    assert LabelState(journal).category(ALL).tolist() == [None] * N
    assert asked == []


def test_what_stood_just_before_is_found_without_a_look_at_all_that_named_the_items(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(journal, "x", *ALL, by="bob")
    for _ in range(40):  # all of them name all items: a look at them would take longer each time
        label(journal, "y", *ALL)
        journal.undo("ann")
    asked: list[object] = []
    monkeypatch.setattr("curation.folding.Folded.mentions", lambda *given: asked.append(given))
    assert LabelState(journal).category(ALL).tolist() == ["x"] * N
    assert asked == []


def test_undone_refusals_are_read_once_and_not_for_each(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for item in range(N):
        journal.append("refuse", items=BitMap([item]), made_by="ann", field="category", value="x")
    for _ in range(N - 1):
        journal.undo("ann")
    reads, read = [], journal.refusals
    monkeypatch.setattr(journal, "refusals", lambda field: reads.append(field) or read(field))
    state = LabelState(journal)
    assert state.refused("category") == state.refused("category") == {"x": BitMap([0])}
    assert reads == ["category"]
