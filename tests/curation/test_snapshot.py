"""The kept state: opening with it is opening without it, whatever became of the file."""

import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from pyroaring import BitMap

import curation.labels
from curation.journal import Journal
from curation.labels import LabelState
from curation.schema import FLAGS, Act

N = 50
ALL = np.arange(N)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the state after 10 decisions, not after 10,000."""
    monkeypatch.setattr(curation.labels, "KEEP_EVERY", 10)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "decisions.sqlite") as opened:
        opened.register([f"item-{number}" for number in range(N)])
        yield opened


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "labels.npz"


def live(journal: Journal, turns: int, seed: int = 0) -> None:
    """Let three people do all there is to do, at random but the same each time."""
    chance = random.Random(seed)
    for _ in range(turns):
        who, items = chance.choice("abc"), BitMap(chance.sample(range(N), 5))
        what = chance.choice(["label", "label", "flag", "refuse", "dismiss", "undo", "redo"])
        if what == "undo":
            if journal.undoable(who):
                journal.undo(who)
        elif what == "redo":
            if journal.redoable(who):
                journal.redo(who)
        else:
            field = {"flag": "flag", "dismiss": "finding"}.get(what, "category")
            value = chance.choice(FLAGS if what == "flag" else ["x", "y", "é"])
            journal.append(what, items=items, made_by=who, field=field, value=value)


def told(state: LabelState) -> dict[str, object]:
    codes, legend = state.codes("category")
    return {
        "codes": codes.tolist(),
        "legend": legend,
        "flags": state.flags(ALL).tolist(),
        "people": state.made_by(ALL, "category").tolist(),
        "times": state.decided_at(ALL, "category").tolist(),
        "refused": state.refused("category"),
        "dismissed": state.dismissed(),
        "changed": [list(state.changed_since(seq)) for seq in range(0, 60, 7)],
    }


def state_of(journal: Journal, kept: Path) -> LabelState:
    state = LabelState(journal, kept)
    state.settle()
    return state


def read_from(state: LabelState) -> int:
    """Return the newest decision that was not read from the journal."""
    assert state._kept is not None
    return state._kept.head


def test_a_state_from_the_kept_file_and_the_tail_is_the_whole_replay(
    journal: Journal, kept: Path
) -> None:
    live(journal, 60)
    assert not kept.exists()
    assert told(state_of(journal, kept)) == told(LabelState(journal))
    head = journal.head
    live(journal, 8, seed=1)
    opened = state_of(journal, kept)
    assert read_from(opened) == head
    assert told(opened) == told(LabelState(journal))
    for who in "abc":  # undo needs what was before the file was written
        while journal.undoable(who):
            journal.undo(who)
    opened.refresh()
    assert told(opened) == told(LabelState(journal))


def test_the_file_follows_and_each_opening_reads_a_short_tail(journal: Journal, kept: Path) -> None:
    state = LabelState(journal, kept)
    assert not kept.exists()
    (left := kept.with_name(".labels.npz.killed")).write_bytes(b"half")
    os.utime(left, (0, 0))
    for turn in range(40):
        journal.append("label", items=BitMap([turn]), made_by="a", field="category", value="x")
        state.refresh()
        state.settle()
    assert read_from(state_of(journal, kept)) == 40
    assert [path.name for path in kept.parent.glob(".*")] == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-200]),
        lambda path: path.write_bytes(path.read_bytes()[:200]),
        lambda path: path.write_bytes(b"no snapshot " * 100),
    ],
)
def test_a_damaged_file_is_as_if_it_were_not_there(
    journal: Journal, kept: Path, damage: object
) -> None:
    live(journal, 60)
    state_of(journal, kept)
    assert callable(damage)
    damage(kept)
    whole = told(LabelState(journal))
    assert told(state_of(journal, kept)) == whole
    assert told(state_of(journal, kept)) == whole, "and it is made anew"
    assert read_from(state_of(journal, kept)) == journal.head


def test_every_flipped_byte_is_noticed(journal: Journal, kept: Path) -> None:
    live(journal, 60)
    state_of(journal, kept)
    content, whole, chance = kept.read_bytes(), told(LabelState(journal)), random.Random(0)
    for at in chance.sample(range(len(content)), 60):
        changed = bytearray(content)
        changed[at] ^= 0xFF
        kept.write_bytes(changed)
        state = LabelState(journal, kept)
        assert told(state) == whole, at
        state.settle()
        assert kept.read_bytes() != bytes(changed), "it was made anew"


def test_a_file_of_another_journal_is_not_read(
    journal: Journal, kept: Path, tmp_path: Path
) -> None:
    live(journal, 60)
    state_of(journal, kept)
    with Journal(tmp_path / "other.sqlite") as other:
        other.register([f"item-{number}" for number in range(N)])
        live(other, 70, seed=2)
        assert told(LabelState(other, kept)) == told(LabelState(other))


def test_a_journal_restored_from_a_backup_does_not_take_the_newer_file(
    journal: Journal, kept: Path, tmp_path: Path
) -> None:
    live(journal, 30)
    with closing(sqlite3.connect(tmp_path / "backup.sqlite")) as backup:
        journal._db.backup(backup)
    live(journal, 40, seed=3)
    state_of(journal, kept)
    with Journal(tmp_path / "backup.sqlite") as restored:
        assert told(LabelState(restored, kept)) == told(LabelState(restored))
        live(restored, 80, seed=4)
        assert told(LabelState(restored, kept)) == told(LabelState(restored))


def test_a_file_that_cannot_be_written_hinders_nobody(journal: Journal, tmp_path: Path) -> None:
    live(journal, 60)
    gone = tmp_path / "gone" / "labels.npz"
    assert told(state_of(journal, gone)) == told(LabelState(journal))
    assert not gone.parent.exists()


def test_a_renamed_label_keeps_its_code_in_the_file_too(journal: Journal, kept: Path) -> None:
    for value in ("x", "y", "z"):
        journal.append("label", items=BitMap([ord(value) - 100]), made_by="a", field="category",
                       value=value)  # fmt: skip
    journal.append_step(
        [Act("label", BitMap([ord("x") - 100]), "category", "new", replaces="x")], made_by="eve"
    )
    live(journal, 20)
    state_of(journal, kept)
    opened = state_of(journal, kept)
    assert read_from(opened) == journal.head
    assert opened.codes("category")[1][:3] == ["new", "y", "z"]


def test_a_journal_put_back_in_place_under_an_open_state_is_folded_anew(
    journal: Journal, kept: Path, tmp_path: Path
) -> None:
    def label(value: str, items: list[int]) -> None:
        journal.append("label", items=BitMap(items), made_by="a", field="category", value=value)

    label("before", [0])
    with closing(sqlite3.connect(tmp_path / "backup.sqlite")) as backup:
        journal._db.backup(backup)
        label("lost", [1, 2])
        state = LabelState(journal, kept)
        assert not state.restored()
        backup.backup(journal._db)
    for item in range(10, 30):  # by others, past the old head before anybody asks again
        label("after", [item])
    assert state.restored(), "so that a server opens the dataset anew"
    state.refresh()
    state.settle()
    assert told(state) == told(LabelState(journal)) == told(state_of(journal, kept))
    assert state.counts("category") == {"before": 1, "after": 20}
    assert state.restored(), "others may still hold what was"
    assert read_from(state_of(journal, kept)) == journal.head


def given_and_renamed(journal: Journal) -> None:
    journal.append("label", items=BitMap([1, 2]), made_by="a", field="category", value="x")
    act = Act("label", BitMap([1, 2]), "category", "new", replaces="x")
    journal.append_step([act], made_by="eve")
    for item in range(10, 20):
        journal.append("label", items=BitMap([item]), made_by="b", field="category", value="y")


def test_whoever_gave_a_renamed_label_is_known_from_the_file(journal: Journal, kept: Path) -> None:
    given_and_renamed(journal)
    state_of(journal, kept)
    opened = state_of(journal, kept)
    assert read_from(opened) == journal.head
    assert opened.made_by([1, 2, 10], "category").tolist() == ["a", "a", "b"]
    assert told(opened) == told(LabelState(journal))


def test_what_an_undo_looks_for_is_in_the_file_too(
    journal: Journal, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_whole(state: LabelState) -> list[int]:
        return [one.seq for one in state.history(3)]

    live(journal, 60)
    state = LabelState(journal)
    wanted = read_whole(state)
    state._kept = curation.labels.Snapshot(kept)
    state.refresh()
    state.settle()
    live(journal, 30, seed=1)
    reads, bitmaps = [], journal.bitmaps
    monkeypatch.setattr(journal, "bitmaps", lambda until: reads.append(until) or bitmaps(until))
    opened = LabelState(journal, kept)
    assert reads == [] and read_whole(opened)[: len(wanted)] == wanted
    assert told(opened) == told(LabelState(journal))
    assert read_whole(opened) == read_whole(LabelState(journal)) and len(reads) > 0
    assert opened.history(3) == [one for one in journal.since() if 3 in one.items]


def test_a_file_of_an_older_format_is_folded_anew(
    journal: Journal, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_and_renamed(journal)
    with monkeypatch.context() as older:  # which did not know who gave a renamed label
        older.setattr("curation.snapshot.FORMAT", 2)
        older.setattr("curation.folding.Folded._hand_on", lambda *_: None)
        state_of(journal, kept)
        assert state_of(journal, kept).made_by([1], "category").tolist() == [None]
    opened = LabelState(journal, kept)
    assert opened.made_by([1, 2, 10], "category").tolist() == ["a", "a", "b"]
    opened.settle()
    assert read_from(state_of(journal, kept)) == journal.head


def test_what_was_refused_goes_by_its_new_name_with_the_file_too(
    journal: Journal, kept: Path
) -> None:
    journal.append("refuse", items=BitMap([1]), made_by="a", field="category", value="x")
    journal.append("label", items=BitMap([2]), made_by="a", field="category", value="x")
    act = Act("label", BitMap([2]), "category", "new", replaces="x")
    journal.append_step([act], made_by="eve")
    for item in range(10, 20):
        journal.append("label", items=BitMap([item]), made_by="a", field="category", value="y")
    state_of(journal, kept)
    opened = state_of(journal, kept)
    assert read_from(opened) == journal.head
    assert opened.refused("category") == {"new": BitMap([1])}
    journal.undo("eve")
    opened.refresh()
    assert opened.refused("category") == {"x": BitMap([1])}
