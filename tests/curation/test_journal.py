"""Appending, undoing, refusing: what the journal promises one process."""

import sqlite3
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from curation.journal import Journal, Overtaken
from curation.journal_file import SCHEMA_VERSION
from curation.schema import Act, Selection, clean_label
from embeddings.errors import CurationError

IDS = [f"{number:032x}" for number in range(100)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal(path) as opened:
        opened.register(IDS)
        yield opened


def label(journal: Journal, value: str | None, *items: int, by: str = "ann") -> int:
    return journal.append(
        "label", items=BitMap(items or (1,)), made_by=by, field="category", value=value
    ).seq


def test_an_item_keeps_its_number_for_ever(journal: Journal) -> None:
    journal.register([IDS[5], "new-b", IDS[0], "new-a", "new-b"])
    assert journal.item_nos([IDS[0], IDS[99], "new-b", "new-a"]).tolist() == [0, 99, 100, 101]
    assert journal.n_items == 102
    assert journal.item_ids([101, 0, 101]).tolist() == ["new-a", IDS[0], "new-a"]


def test_ids_are_taken_from_arrays_and_bitmaps_too(journal: Journal) -> None:
    numbers = journal.item_nos(np.array(IDS[3:6]))
    assert numbers.dtype == np.int64
    assert journal.item_ids(BitMap([4, 3])).tolist() == IDS[3:5]
    assert journal.item_ids([]).dtype.kind == "U"


def test_lookups_span_several_statements(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.journal.LOOKUP", 7)
    assert journal.item_nos(IDS[::-1]).tolist() == list(range(99, -1, -1))


def test_unknown_items_are_named(journal: Journal) -> None:
    with pytest.raises(CurationError, match="unknown item 'nobody'"):
        journal.item_nos([IDS[0], "nobody"])
    with pytest.raises(CurationError, match="unknown item number 100"):
        journal.item_ids([3, 100])


def test_a_decision_about_an_unregistered_item_is_refused(journal: Journal) -> None:
    with pytest.raises(CurationError, match="unknown item number 100"):
        label(journal, "shirt", 3, 100)
    assert journal.head == 0


def test_a_decision_reads_back_as_it_was_appended(journal: Journal, path: Path) -> None:
    given = journal.append(
        "flag",
        items=BitMap([3, 1, 99]),
        made_by="  ann  lee ",
        field="flag",
        value="excluded",
        atlas_version="v1",
        note="out of focus",
    )
    assert (given.seq, given.made_by, given.n_items) == (1, "ann lee", 3)
    assert given.note == "out of focus"
    assert given.made_at.endswith("+00:00")
    journal.close()
    with Journal(path) as again:
        assert again.since() == [given]
        assert list(again.since()[0].items) == [1, 3, 99]


def test_the_callers_bitmap_may_change_afterwards(journal: Journal) -> None:
    items = BitMap([1])
    decision = journal.append("label", items=items, made_by="ann", field="category", value="shirt")
    items.add(2)
    assert list(decision.items) == list(journal.since()[0].items) == [1]


def test_the_tail_is_read_in_order_and_in_parts(journal: Journal) -> None:
    seqs = [label(journal, f"label {number}") for number in range(5)]
    assert [decision.seq for decision in journal.since(seqs[1])] == seqs[2:]
    assert [decision.seq for decision in journal.since(seqs[1], limit=2)] == seqs[2:4]
    assert journal.head == seqs[-1]


@pytest.mark.parametrize(
    ("action", "field", "value", "message"),
    [
        ("paint", "category", "x", "unknown action 'paint'; known: label, flag"),
        ("undo", None, None, "unknown action 'undo'"),
        ("label", "colour", "x", "label expects a field category or instance, got colour"),
        ("label", None, "x", "got None"),
        ("flag", "category", "excluded", "flag expects a field flag"),
        ("flag", "flag", "ugly", "unknown flag 'ugly'; known: excluded, outlier"),
        ("flag", "flag", None, "empty"),
        ("label", "category", "", "empty"),
        ("refuse", "category", None, "empty"),
        ("refuse", "flag", "excluded", "refuse expects a field category or instance"),
        ("dismiss", "finding", None, "empty"),
    ],
)
def test_what_is_no_act_is_refused(
    journal: Journal, action: str, field: str | None, value: str | None, message: str
) -> None:
    with pytest.raises(CurationError, match=message):
        journal.append(action, items=BitMap([1]), made_by="ann", field=field, value=value)
    assert journal.head == 0


def test_an_empty_selection_is_refused(journal: Journal) -> None:
    with pytest.raises(CurationError, match="nothing is selected to label"):
        journal.append("label", items=BitMap(), made_by="ann", field="category", value="x")


@pytest.mark.parametrize("who", ["", "a<b>", "x" * 201])
def test_a_name_is_held_to_the_rules_of_labels(journal: Journal, who: str) -> None:
    with pytest.raises(CurationError, match="name"):
        label(journal, "shirt", by=who)
    with pytest.raises(CurationError, match="name"):
        journal.undo(who)
    with pytest.raises(CurationError, match="note"):
        journal.append(
            "flag", items=BitMap([1]), made_by="ann", field="flag", value="unclear", note="\0"
        )


# -- undo and redo -----------------------------------------------------------------------------


def test_undo_takes_back_newest_first_and_redo_returns_them(journal: Journal) -> None:
    first, second, third = (label(journal, name) for name in "abc")
    assert [journal.undo("ann").undoes for _ in range(3)] == [third, second, first]
    assert [journal.redo("ann").undoes for _ in range(3)] == [first, second, third]
    with pytest.raises(CurationError, match="nothing to redo by ann"):
        journal.redo("ann")


def test_undo_and_redo_repeat_the_act(journal: Journal) -> None:
    label(journal, "shirt", 4, 5)
    for step in (journal.undo("ann"), journal.redo("ann")):
        assert (step.field, step.value, list(step.items)) == ("category", "shirt", [4, 5])
        assert not step.is_act


def test_a_new_act_clears_the_redo_of_its_person_only(journal: Journal) -> None:
    label(journal, "a", by="ann")
    label(journal, "b", by="bob")
    journal.undo("ann")
    journal.undo("bob")
    kept = label(journal, "c", by="ann")
    assert journal.redoable("ann") is None
    with pytest.raises(CurationError, match="nothing to redo"):
        journal.redo("ann")
    assert journal.redo("bob").value == "b"
    assert journal.undo("ann").undoes == kept
    with pytest.raises(CurationError, match="nothing to undo by ann"):
        journal.undo("ann")  # "a" was undone already, and its redo given up


def test_only_ones_own_acts_are_undone(journal: Journal) -> None:
    mine = label(journal, "a", by="ann")
    label(journal, "b", by="bob")
    assert journal.undo("ann").undoes == mine
    with pytest.raises(CurationError, match="nothing to undo by eve"):
        journal.undo("eve")


def test_the_stacks_are_there_after_reopening(journal: Journal, path: Path) -> None:
    first, second = label(journal, "a"), label(journal, "b")
    journal.undo("ann")
    journal.close()
    with Journal(path) as again:
        undoable, redoable = again.undoable("ann"), again.redoable("ann")
        assert undoable is not None
        assert redoable is not None
        assert (undoable.seq, redoable.seq) == (first, second)
        assert again.redo("ann").undoes == second


STEPS = st.lists(st.sampled_from(["act", "undo", "redo"]), max_size=25)


@settings(deadline=None, derandomize=True)
@given(steps=STEPS)
def test_undo_and_redo_behave_like_two_stacks(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    done: list[int] = []
    undone: list[int] = []
    with Journal(tmp_path_factory.mktemp("stacks") / "decisions.sqlite") as journal:
        journal._db.execute(
            "PRAGMA synchronous = OFF"
        )  # hundreds of files: durability is not asked
        journal.register(IDS)
        for step in steps:
            if step == "act":
                done.append(label(journal, "x"))
                undone.clear()
            elif step == "undo" and done:
                undone.append(done.pop())
                assert journal.undo("ann").undoes == undone[-1]
            elif step == "redo" and undone:
                done.append(undone.pop())
                assert journal.redo("ann").undoes == done[-1]
            tops = journal.undoable("ann"), journal.redoable("ann")
            seqs = [None if top is None else top.seq for top in tops]
            assert seqs == [done[-1] if done else None, undone[-1] if undone else None]


def test_a_decision_is_flushed_before_it_is_acknowledged(journal: Journal) -> None:
    # a power cut cannot be tested here; these two settings are what SQLite's promise rests on
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# -- what the file refuses ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE decisions SET value = 'other'",
        "DELETE FROM decisions",
        "INSERT OR REPLACE INTO decisions SELECT seq, decision_id, made_at, 'eve', action, field, "
        "value, items, n_items, atlas, undoes, note, source, replaces, part_of "
        "FROM decisions",
        "UPDATE items SET item_no = 500",
        "DELETE FROM items",
    ],
)
def test_nothing_that_was_decided_can_be_changed(journal: Journal, path: Path, sql: str) -> None:
    label(journal, "shirt")
    before = journal.since()
    other = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match=r"never|keeps its number"):
        other.execute(sql)
    other.close()
    assert journal.since() == before
    assert journal.n_items == len(IDS)


def test_a_journal_of_a_newer_version_is_refused(journal: Journal, path: Path) -> None:
    journal.close()
    other = sqlite3.connect(path)
    other.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    other.close()
    with pytest.raises(CurationError, match=r"was written by a newer version .* upgrade"):
        Journal(path)


@pytest.mark.parametrize("content", [b"not a database " * 100, b"\0" * 5000])
def test_a_file_that_is_no_database_is_refused_and_kept(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(CurationError, match="is not a decisions journal"):
        Journal(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_and_kept(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE decisions (seq)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(CurationError, match="is not a decisions journal"):
        Journal(path)
    assert path.read_bytes() == before


def test_a_damaged_journal_says_so(journal: Journal, path: Path) -> None:
    for number in range(200):
        label(journal, f"label {number}")
    journal.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(CurationError, match="is damaged; restore it"), Journal(path) as damaged:
        damaged.since()


def test_a_damaged_bitmap_names_its_decision(journal: Journal, path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute(
        "INSERT INTO decisions (decision_id, made_at, made_by, action, field, items, n_items) "
        "VALUES ('x', '', 'eve', 'label', 'category', x'00', 1)"
    )
    other.commit()
    other.close()
    with pytest.raises(CurationError, match=r"is damaged; .* \(decision 1\)"):
        journal.since()


def test_a_locked_journal_says_so(journal: Journal, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with (
        Journal(path, busy_seconds=0.05) as waiting,
        pytest.raises(CurationError, match="is locked by another program"),
    ):
        label(waiting, "shirt")
    other.execute("ROLLBACK")
    other.close()
    assert label(journal, "shirt") == 1


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CurationError, match=r"nowhere/decisions\.sqlite cannot be opened"):
        Journal(tmp_path / "nowhere" / "decisions.sqlite")


def test_threads_share_one_journal(journal: Journal) -> None:
    acknowledged: list[int] = []

    def work(who: str) -> None:
        for _ in range(25):
            acknowledged.append(label(journal, "x", by=who))
            journal.since(journal.head - 1)

    threads = [threading.Thread(target=work, args=(f"curator {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(acknowledged) == [decision.seq for decision in journal.since()]
    assert len(set(acknowledged)) == 100


# -- labels ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("  T-shirt \t red\n", "T-shirt red"),
        ("zzz' OR '1'='1", "zzz' OR '1'='1"),
        ('"; DROP TABLE decisions; --', '"; DROP TABLE decisions; --'),
        ("קפה שחור", "קפה שחור"),
        ("قميص أزرق", "قميص أزرق"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # Persian needs the zero-width non-joiner
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
        ("cafe\u0301", "caf\u00e9"),
        ("\u2003wide\u00a0space", "wide space"),
        ("x" * 200, "x" * 200),
    ],
)
def test_a_label_is_kept_as_typed_but_for_white_space_and_form(
    journal: Journal, typed: str, kept: str
) -> None:
    label(journal, typed)
    assert journal.since()[0].value == kept
    assert journal.head == 1


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("<script>", "may not contain '<'"),
        ("a>b", "may not contain '>'"),
        ("   \t", "empty"),
        ("\u200d", "empty"),
        ("x" * 201, "at most 200 characters, got 201"),
        ("x" * 10_240, "at most 200 characters, got 10240"),
        ("e\u0301\u0316" * 4000, "at most 200 characters"),
        ("bell\a", r"U\+0007"),
        ("nul\0", r"U\+0000"),
        ("half \ud83d", r"U\+D83D"),
        ("red\u202egnp", r"U\+202E"),  # would be shown backwards
        ("red\u200b", r"U\+200B"),  # would look like "red"
    ],
)
def test_a_label_that_would_mislead_is_refused(journal: Journal, typed: str, message: str) -> None:
    with pytest.raises(CurationError, match=message):
        label(journal, typed)
    assert journal.head == 0


@settings(deadline=None, derandomize=True)
@given(st.text(max_size=250))
def test_a_clean_label_is_clean(text: str) -> None:
    try:
        cleaned = clean_label(text)
    except CurationError:
        return
    assert clean_label(cleaned) == cleaned
    assert clean_label(unicodedata.normalize("NFD", cleaned)) == cleaned
    assert cleaned.encode().decode() == cleaned


def test_a_selection_is_sorted_and_unique() -> None:
    assert len(Selection(np.array(["a", "b"]), "v1")) == 2
    with pytest.raises(ValueError, match="sorted ascending and unique"):
        Selection(np.array(["a", "a"]), "v1")


def test_acts_of_one_step_name_the_first_and_are_undone_together(journal: Journal) -> None:
    label(journal, "before")
    step = journal.append_step(
        [Act("label", BitMap([item]), "category", "x", note="one step") for item in (3, 4, 5)],
        made_by="ann",
    )
    assert [act.part_of for act in step] == [None, step[0].seq, step[0].seq]
    assert journal.parts(step[1]) == step
    assert journal.undo("ann", step[-1].seq).undoes == step[-1].seq
    tail = journal.since(step[-1].seq)
    assert [(row.action, row.undoes) for row in tail] == [
        ("undo", act.seq) for act in reversed(step)
    ]
    top = journal.undoable("ann")
    assert top is not None and top.value == "before"
    assert journal.redo("ann").undoes == step[0].seq
    assert journal.redoable("ann") is None
    assert [row.undoes for row in journal.since()[-3:]] == [act.seq for act in step]


def test_a_step_is_refused_whole_when_somebody_was_faster(journal: Journal) -> None:
    seen = journal.head
    label(journal, "x", by="bob")
    with pytest.raises(Overtaken, match="decided meanwhile"):
        journal.append("label", items=BitMap([1]), made_by="ann", field="category", value="y",
                       head=seen)  # fmt: skip
    assert journal.head == 1


def test_decisions_are_read_newest_first_in_parts_and_by_number(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curation.journal.CHUNK", 3)
    for number in range(8):
        label(journal, f"label {number}", number, by="ann" if number % 2 else "bob")
    assert [one.seq for one in journal.each()] == list(range(1, 9))
    assert [one.seq for one in journal.each(made_by="ann")] == [2, 4, 6, 8]
    assert [one.seq for one in journal.newest(2)] == [8, 7]
    assert [one.seq for one in journal.newest(made_by="bob")] == [7, 5, 3, 1]
    assert [one.value for one in journal.decisions([5, 2, 99])] == ["label 1", "label 4"]
    parts = [[(seq, list(items)) for seq, items in part] for part in journal.bitmaps(4)]
    assert parts == [[(1, [0]), (2, [1]), (3, [2])], [(4, [3])]]
    assert journal.identity(3) == journal.decisions([3])[0].decision_id
    assert journal.identity(9) is None


def test_a_step_of_no_act_is_refused(journal: Journal) -> None:
    with pytest.raises(CurationError, match="a step needs an act, got none"):
        journal.append_step([], made_by="ann")
    assert journal.head == 0


def test_only_decisions_about_what_is_watched_overtake(journal: Journal) -> None:
    label(journal, "x", 5, by="bob")
    more = {"made_by": "ann", "head": 0}
    act = Act("label", BitMap([1]), "category", "y")
    assert journal.append_step([act], watched=BitMap([1, 2]), **more)[0].seq == 2
    with pytest.raises(Overtaken):
        journal.append_step([act], watched=BitMap([2, 5]), **more)


def test_a_part_that_is_undone_already_is_not_undone_again(journal: Journal) -> None:
    """As a process of an older version leaves it, which knows no steps."""
    step = journal.append_step(
        [Act("label", BitMap([item]), "category", "x") for item in (3, 4)], made_by="ann"
    )
    journal._insert("ann", Act("undo", BitMap([4]), "category", "x"), step[1].seq)
    assert [act.seq for act in journal.parts(step[0], "undo")] == [step[0].seq]
    assert [act.undoes for act in journal.back("undo", "ann")] == [step[0].seq]
    assert [act.undoes for act in journal.back("redo", "ann")] == [act.seq for act in step]
    assert journal.parts(step[0], "redo") == []
