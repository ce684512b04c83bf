"""A journal of an older schema is brought forward whole, and says what it said."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from pyroaring import BitMap

from curation import journal_file
from curation.journal import Journal
from curation.journal_file import APPLICATION_ID, SCHEMA_VERSION, STEPS
from curation.labels import LabelState
from embeddings.errors import CurationError


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A journal as version 1 wrote it: two labels, the second undone."""
    path = tmp_path / "decisions.sqlite"
    with closing(sqlite3.connect(path)) as file:
        file.executescript(STEPS[1])
        file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        file.execute("PRAGMA user_version = 1")
        file.executemany("INSERT INTO items VALUES (?, ?)", [(0, "a"), (1, "b")])
        row = "INSERT INTO decisions VALUES (NULL, ?, '2026-01-01T00:00:00.000+00:00', 'ann', ?, "
        row += "'category', ?, ?, 1, 'v1', ?, 'why')"
        items = BitMap([1]).serialize()
        for values in [
            ("x", "label", "shirt", items, None),
            ("y", "label", "skirt", items, None),
            ("z", "undo", "skirt", items, 2),
        ]:
            file.execute(row, values)
        file.commit()
    return path


def rows(path: Path, columns: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as file:
        return file.execute(f"SELECT {columns} FROM decisions ORDER BY seq").fetchall()


FIRST = "seq, decision_id, made_at, made_by, action, field, value, items, n_items, atlas_version, "
FIRST += "undoes, note"


def test_an_older_journal_is_brought_forward_and_keeps_every_row(old: Path) -> None:
    before = rows(old, FIRST)
    with Journal(old) as journal:
        assert LabelState(journal).category([0, 1]).tolist() == [None, "shirt"]
        assert journal.redo("ann").value == "skirt"
        assert [decision.source for decision in journal.since()] == [None] * 4
        assert journal._pragma("user_version") == SCHEMA_VERSION
    assert rows(old, FIRST.replace("atlas_version", "atlas"))[:3] == before
    with closing(sqlite3.connect(old)) as file, pytest.raises(sqlite3.IntegrityError):
        file.execute("UPDATE decisions SET source = 'review'")


def test_a_process_of_an_older_version_can_neither_read_nor_write_on(old: Path) -> None:
    """It looks at the version only when it opens: what it does afterwards must fail."""
    with closing(sqlite3.connect(old)) as running:
        running.execute(f"SELECT {FIRST} FROM decisions").fetchall()
        with Journal(old) as journal:
            head = journal.head
            for statement in (
                f"SELECT {FIRST} FROM decisions",
                f"INSERT INTO decisions ({FIRST}) SELECT 99{', NULL' * 11}",
            ):
                with pytest.raises(sqlite3.OperationalError, match="atlas_version"):
                    running.execute(statement)
            assert journal.head == head


def test_a_step_that_fails_leaves_the_journal_as_it_was(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = old.read_bytes()
    broken = STEPS[2] + "CREATE TABLE items (again);\n"
    monkeypatch.setitem(journal_file.STEPS, 2, broken)
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        Journal(old)
    with closing(sqlite3.connect(old)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (1,)
        names = [row[1] for row in file.execute("PRAGMA table_info(decisions)")]
    assert "source" not in names and before
    monkeypatch.setitem(journal_file.STEPS, 2, broken.removesuffix("CREATE TABLE items (again);\n"))
    with Journal(old) as journal:
        assert journal.head == 3


def test_several_may_bring_one_journal_forward_at_once(old: Path) -> None:
    def head(_: int) -> int:
        with Journal(old) as journal:
            return journal.head

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(head, range(6))) == [3] * 6


def test_a_new_journal_and_one_brought_forward_have_the_same_tables(
    old: Path, tmp_path: Path
) -> None:
    Journal(old).close()
    Journal(tmp_path / "new.sqlite").close()
    made = "SELECT name, sql FROM sqlite_schema ORDER BY name"
    with (
        closing(sqlite3.connect(old)) as one,
        closing(sqlite3.connect(tmp_path / "new.sqlite")) as two,
    ):
        assert one.execute(made).fetchall() == two.execute(made).fetchall()


def test_a_newer_journal_is_refused_and_left_alone(old: Path) -> None:
    Journal(old).close()
    with closing(sqlite3.connect(old)) as file:
        file.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = rows(old, "*")
    with pytest.raises(CurationError, match=r"newer version .* upgrade curation-atlas"):
        Journal(old)
    assert rows(old, "*") == before
