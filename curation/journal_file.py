"""The SQLite file of the journal: its tables, how it is opened, brought forward and written."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from embeddings.errors import CurationError

SCHEMA_VERSION = 3
APPLICATION_ID = 0x43_41_4A_31  # "CAJ1": tells our file from any other program's SQLite database

_TABLES = """
CREATE TABLE items (
    item_no INTEGER PRIMARY KEY,
    item_id TEXT NOT NULL UNIQUE
);
CREATE TABLE decisions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    decision_id TEXT NOT NULL,
    made_at TEXT NOT NULL,
    made_by TEXT NOT NULL,
    action TEXT NOT NULL,
    field TEXT,
    value TEXT,
    items BLOB NOT NULL,
    n_items INTEGER NOT NULL CHECK (n_items > 0),
    atlas_version TEXT,
    undoes INTEGER REFERENCES decisions (seq),
    note TEXT,
    CHECK ((undoes IS NOT NULL) = (action IN ('undo', 'redo')))
);
CREATE INDEX acts_of_a_person ON decisions (made_by, seq) WHERE undoes IS NULL;
CREATE INDEX undone ON decisions (undoes, seq) WHERE undoes IS NOT NULL;
CREATE TRIGGER decisions_stay BEFORE UPDATE ON decisions
    BEGIN SELECT RAISE(ABORT, 'decisions are added, never changed'); END;
CREATE TRIGGER decisions_remain BEFORE DELETE ON decisions
    BEGIN SELECT RAISE(ABORT, 'decisions are added, never deleted'); END;
-- INSERT OR REPLACE deletes without firing the DELETE trigger
CREATE TRIGGER decisions_keep_their_seq BEFORE INSERT ON decisions
    WHEN EXISTS (SELECT 1 FROM decisions WHERE seq = NEW.seq)
    BEGIN SELECT RAISE(ABORT, 'decisions are added, never replaced'); END;
CREATE TRIGGER items_stay BEFORE UPDATE ON items
    BEGIN SELECT RAISE(ABORT, 'an item keeps its number'); END;
CREATE TRIGGER items_remain BEFORE DELETE ON items
    BEGIN SELECT RAISE(ABORT, 'an item keeps its number'); END;
"""
# A new file takes every step too, so that an old one and a new one cannot differ. A step changes
# no row: what was decided stays as it was written.
STEPS: dict[int, str] = {
    1: _TABLES,
    2: """
ALTER TABLE decisions ADD COLUMN source TEXT;
ALTER TABLE decisions ADD COLUMN replaces TEXT;
ALTER TABLE decisions ADD COLUMN part_of INTEGER REFERENCES decisions (seq);
CREATE INDEX parts ON decisions (part_of, seq) WHERE part_of IS NOT NULL;
CREATE INDEX refusals ON decisions (field, value, seq) WHERE action = 'refuse';
""",
    # a process of an older version that has the file open would take a refusal for a label, and
    # half an undo for a whole one: without the column that it asks for, all that it does fails
    3: "ALTER TABLE decisions RENAME COLUMN atlas_version TO atlas;\n",
}

DAMAGED = "is damaged; restore it from a backup, or move it away to start a new one"
_REMEDIES = {
    sqlite3.SQLITE_FULL: "cannot be written: the disk is full; free some space and try again",
    sqlite3.SQLITE_READONLY: "cannot be written: it is read-only; give yourself write permission",
    sqlite3.SQLITE_BUSY: "is locked by another program; close that program or try again",
    sqlite3.SQLITE_LOCKED: "is locked by another program; close that program or try again",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check that its folder exists and is writable",
    sqlite3.SQLITE_PERM: "cannot be opened; check that its folder exists and is writable",
    sqlite3.SQLITE_NOTADB: "is not a decisions journal; move it away to start a new one",
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_IOERR: "cannot be read or written; check the disk and try again",
}


def _inode(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another of its name; nothing where it is absent or empty."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (found.st_dev, found.st_ino) if found.st_size else None


class JournalFile:
    """An open journal file; safe from several threads and several processes.

    Parameters
    ----------
    path : Path
        The SQLite file; created when it is not there, its folder must be.
    busy_seconds : float
        How long to wait for another process that is writing.

    Raises
    ------
    CurationError
        From any method when the file cannot be read or written: nothing half is ever left.
    """

    def __init__(self, path: Path, *, busy_seconds: float = 20.0) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        with self._plain_errors():
            # isolation_level=None: transactions are ours to begin, the module opens none of its own
            self._db = sqlite3.connect(
                self.path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
            )
        try:
            self._prepare(busy_seconds)
        except BaseException:
            self._db.close()
            raise
        self._inode = _inode(self.path)

    def replaced(self) -> bool:
        """Return whether another file stands at the path now; not while there is none, or a void.

        Somebody who puts a backup in its place is then not done yet.
        """
        there = _inode(self.path)
        return there is not None and there != self._inode

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with self._lock, self._plain_errors():
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        with self._lock, self._plain_errors():
            return self._db.execute(sql, parameters).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._plain_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            # the low byte is the error's family; the module's own misuse errors carry no code
            remedy = _REMEDIES.get(getattr(error, "sqlite_errorcode", -1) & 0xFF)
            if remedy is None:
                raise
            raise CurationError(f"{self.path} {remedy}") from error

    def _prepare(self, busy_seconds: float) -> None:
        with self._plain_errors():
            self._db.execute("PRAGMA synchronous = FULL")
            # 64 MiB holds the index of 1M ids: with the default 2 MiB registering them took twice
            # as long. Registering leaves a log as large as the file, which the limit trims.
            self._db.execute("PRAGMA cache_size = -65536")
            self._db.execute("PRAGMA journal_size_limit = 16777216")
            self._refuse_foreign()
            self._use_wal(busy_seconds)
            if self._pragma("user_version") < SCHEMA_VERSION:
                self._bring_forward()
        version = self._pragma("user_version")
        if version > SCHEMA_VERSION:
            raise CurationError(
                f"{self.path} was written by a newer version (schema {version}, this one reads "
                f"{SCHEMA_VERSION}); upgrade curation-atlas"
            )

    def _refuse_foreign(self) -> None:
        tables = self._read("SELECT count(*) FROM sqlite_schema")[0][0]
        if tables and self._pragma("application_id") != APPLICATION_ID:
            raise CurationError(f"{self.path} {_REMEDIES[sqlite3.SQLITE_NOTADB]}")

    def _use_wal(self, busy_seconds: float) -> None:
        # SQLite's own waiting does not cover this switch: while another process makes it, ours is
        # answered "busy" at once
        give_up = time.monotonic() + busy_seconds
        while self._read("PRAGMA journal_mode")[0][0] != "wal":
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)

    def _bring_forward(self) -> None:
        """Make the tables, or bring older ones to this schema: wholly or not at all."""
        with self._transaction() as db:
            reached = self._pragma("user_version")  # another process may have come between
            for version, script in STEPS.items():
                if version > reached:
                    for statement in _statements(script):
                        db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            if reached < SCHEMA_VERSION:
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _pragma(self, name: str) -> int:
        return int(self._read(f"PRAGMA {name}")[0][0])


def _statements(script: str) -> Iterator[str]:
    """Yield the statements one by one: executescript would commit our transaction first."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
