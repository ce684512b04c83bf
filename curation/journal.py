"""`decisions.sqlite`: the append-only journal of what people decided, one transaction an act."""

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from curation.schema import ACTIONS, FLAGS, Decision, clean_label
from embeddings.errors import CurationError
from embeddings.schema import Ids

Int64 = npt.NDArray[np.int64]

SCHEMA_VERSION = 1
APPLICATION_ID = 0x43_41_4A_31  # "CAJ1": tells our file from any other program's SQLite database
LOOKUP = 50_000  # ids per SQL statement, sent as one JSON array: 1.8 MB of text

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

_COLUMNS = (
    "seq, decision_id, made_at, made_by, action, field, value, n_items, items, atlas_version, "
    "undoes, note"
)
# A person's acts are undone newest first and redone oldest first, so the top of the undo stack is
# the newest act that is not undone now ...
_UNDOABLE = f"""
SELECT {_COLUMNS} FROM decisions AS act
WHERE made_by = :who AND undoes IS NULL AND coalesce(
    (SELECT action FROM decisions AS later WHERE later.undoes = act.seq
     ORDER BY later.seq DESC LIMIT 1), 'redo') = 'redo'
ORDER BY seq DESC LIMIT 1
"""
# ... and the top of the redo stack is the oldest of those undone since the person's last act.
_REDOABLE = f"""
SELECT {_COLUMNS} FROM decisions WHERE seq = (
    SELECT min(step.undoes) FROM decisions AS step
    WHERE step.made_by = :who AND step.action = 'undo'
    AND step.seq > (SELECT coalesce(max(seq), 0) FROM decisions
                    WHERE made_by = :who AND undoes IS NULL)
    AND NOT EXISTS (SELECT 1 FROM decisions AS later
                    WHERE later.undoes = step.undoes AND later.seq > step.seq))
"""

_DAMAGED = "is damaged; restore it from a backup, or move it away to start a new one"
_REMEDIES = {
    sqlite3.SQLITE_FULL: "cannot be written: the disk is full; free some space and try again",
    sqlite3.SQLITE_READONLY: "cannot be written: it is read-only; give yourself write permission",
    sqlite3.SQLITE_BUSY: "is locked by another program; close that program or try again",
    sqlite3.SQLITE_LOCKED: "is locked by another program; close that program or try again",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check that its folder exists and is writable",
    sqlite3.SQLITE_PERM: "cannot be opened; check that its folder exists and is writable",
    sqlite3.SQLITE_NOTADB: "is not a decisions journal; move it away to start a new one",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_IOERR: "cannot be read or written; check the disk and try again",
}


class Overtaken(CurationError):
    """Somebody decided between looking and acting."""


class Journal:
    """The decisions of one dataset; safe from several threads and several processes.

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

    # -- items ---------------------------------------------------------------------------------

    def register(self, item_ids: Sequence[str] | Ids) -> None:
        """Give every new id the next item_no, in the order given; known ids keep theirs."""
        ids = [str(item_id) for item_id in item_ids]
        new = self._unknown(ids)
        if not new:
            return
        with self._transaction() as db:
            new = self._unknown(new)  # another process may have come between
            rows = enumerate(dict.fromkeys(new), start=self.n_items)
            db.executemany("INSERT INTO items (item_no, item_id) VALUES (?, ?)", rows)

    @property
    def n_items(self) -> int:
        """How many ids are registered; their numbers are 0 to n_items - 1."""
        return int(self._read("SELECT coalesce(max(item_no) + 1, 0) FROM items")[0][0])

    def item_nos(self, item_ids: Sequence[str] | Ids) -> Int64:
        """Return the numbers of `item_ids` (m,) int64; CurationError names an unknown one."""
        ids = [str(item_id) for item_id in item_ids]
        numbers = self._lookup("item_no", "item_id", ids)
        if None in numbers:
            unknown = ids[numbers.index(None)]
            raise CurationError(f"unknown item {unknown!r}; build the dataset again to add it")
        return np.array(numbers, dtype=np.int64)

    def item_ids(self, item_nos: Sequence[int] | npt.NDArray[np.integer[Any]] | BitMap) -> Ids:
        """Return the ids of `item_nos` (m,) str; CurationError names an unknown number."""
        numbers = np.asarray(item_nos, dtype=np.int64).tolist()
        ids = self._lookup("item_id", "item_no", numbers)
        if None in ids:
            unknown = numbers[ids.index(None)]
            raise CurationError(f"unknown item number {unknown}; the journal has {self.n_items}")
        return np.array(ids, dtype=np.str_)

    # -- decisions -----------------------------------------------------------------------------

    def append(
        self,
        action: str,
        *,
        items: BitMap,
        made_by: str,
        field: str | None = None,
        value: str | None = None,
        atlas_version: str | None = None,
        note: str | None = None,
        head: int | None = None,
    ) -> Decision:
        """Append one act and return it once it is safe on disk.

        Raises
        ------
        Overtaken
            When `head` is given and is not the newest seq: somebody has decided meanwhile.
        CurationError
            For an action, field or value that does not exist, an empty selection, an item that is
            not registered, a text that `clean_label` refuses, or a file that cannot be written.
        """
        value = _clean_value(action, field, value)
        who = clean_label(made_by, "name")
        note = None if note is None else clean_label(note, "note")
        if not items:
            raise CurationError(f"nothing is selected to {action}; select at least one item")
        with self._transaction():
            if head is not None and head != self.head:
                raise Overtaken("somebody has decided meanwhile; look again")
            if items.max() >= self.n_items:
                raise CurationError(
                    f"unknown item number {items.max()}; the journal has {self.n_items} items, "
                    f"select again"
                )
            return self._insert(who, action, field, value, items, atlas_version, None, note)

    def undo(self, made_by: str, seq: int | None = None) -> Decision:
        """Take back the newest standing act of `made_by`, which must be `seq` where it is given.

        Raises
        ------
        CurationError
            When there is none, or it is another: one made in another tab, say.
        """
        return self._step("undo", made_by, seq)

    def redo(self, made_by: str, seq: int | None = None) -> Decision:
        """Bring back what `made_by` undid last, which must be `seq` where it is given.

        Raises
        ------
        CurationError
            When there is nothing, or it is another act.
        """
        return self._step("redo", made_by, seq)

    def undoable(self, made_by: str) -> Decision | None:
        """Return the act that `undo` would take back."""
        return self._first(_UNDOABLE, {"who": clean_label(made_by, "name")})

    def redoable(self, made_by: str) -> Decision | None:
        """Return the act that `redo` would bring back; none after a new act."""
        return self._first(_REDOABLE, {"who": clean_label(made_by, "name")})

    def since(self, seq: int = 0, limit: int | None = None) -> list[Decision]:
        """Return the decisions after `seq` in order, at most `limit` of them."""
        sql = f"SELECT {_COLUMNS} FROM decisions WHERE seq > ? ORDER BY seq LIMIT ?"
        rows = self._read(sql, (seq, -1 if limit is None else limit))
        return [self._decision(row) for row in rows]

    @property
    def head(self) -> int:
        """The newest seq, 0 when nothing has been decided."""
        return int(self._read("SELECT coalesce(max(seq), 0) FROM decisions")[0][0])

    # -- inside --------------------------------------------------------------------------------

    def _step(self, action: str, made_by: str, seq: int | None) -> Decision:
        who = clean_label(made_by, "name")
        with self._transaction():
            act = self._first(_UNDOABLE if action == "undo" else _REDOABLE, {"who": who})
            if act is None:
                raise CurationError(f"nothing to {action} by {who}")
            if seq not in (None, act.seq):
                raise CurationError(
                    f"another act would be meant now (decision {act.seq}); look, and {action} again"
                )
            return self._insert(
                who, action, act.field, act.value, act.items, act.atlas_version, act.seq, None
            )

    def _insert(
        self,
        who: str,
        action: str,
        field: str | None,
        value: str | None,
        items: BitMap,
        atlas_version: str | None,
        undoes: int | None,
        note: str | None,
    ) -> Decision:
        packed = BitMap(items)  # ours alone: the caller's bitmap may change later
        packed.run_optimize()
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        row = (uuid.uuid4().hex, now, who, action, field, value, len(packed))
        tail = (atlas_version, undoes, note)
        cursor = self._db.execute(
            f"INSERT INTO decisions ({_COLUMNS}) VALUES (NULL{', ?' * 11})",
            (*row, packed.serialize(), *tail),
        )
        assert cursor.lastrowid is not None  # an INSERT that did not raise has set it
        return Decision(cursor.lastrowid, *row, packed, *tail)

    def _first(self, sql: str, parameters: dict[str, str]) -> Decision | None:
        rows = self._read(sql, parameters)
        return self._decision(rows[0]) if rows else None

    def _decision(self, row: tuple[Any, ...]) -> Decision:
        seq, identity, made_at, made_by, action, field, value, n_items, blob, *tail = row
        try:
            items = BitMap.deserialize(blob)
        except ValueError as error:
            raise CurationError(f"{self.path} {_DAMAGED} (decision {seq})") from error
        return Decision(
            seq, identity, made_at, made_by, action, field, value, n_items, items, *tail
        )

    def _unknown(self, ids: list[str]) -> list[str]:
        numbers = self._lookup("item_no", "item_id", ids)
        return [item_id for item_id, no in zip(ids, numbers, strict=True) if no is None]

    def _lookup(self, wanted: str, given: str, keys: list[Any]) -> list[Any]:
        """Return column `wanted` for each key of column `given`, None where there is none."""
        sql = (
            f"SELECT keys.key, items.{wanted} FROM json_each(?) AS keys "
            f"JOIN items ON items.{given} = keys.value"
        )
        found: list[Any] = [None] * len(keys)
        for start in range(0, len(keys), LOOKUP):
            for at, answer in self._read(sql, (json.dumps(keys[start : start + LOOKUP]),)):
                found[start + at] = answer
        return found

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
            if self._pragma("user_version") == 0:
                self._create()
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

    def _create(self) -> None:
        with self._transaction() as db:
            if self._pragma("user_version"):
                return  # another process made them while we waited
            for statement in _statements(_TABLES):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
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


def _clean_value(action: str, field: str | None, value: str | None) -> str | None:
    acts = [name for name, fields in ACTIONS.items() if fields]
    if action not in acts:
        raise CurationError(f"unknown action {action!r}; known: {', '.join(acts)}")
    if field not in ACTIONS[action]:
        raise CurationError(f"{action} expects a field {' or '.join(ACTIONS[action])}, got {field}")
    if value is None and action == "label":
        return None  # clears the label
    cleaned = clean_label(value or "", field)
    if field == "flag" and cleaned not in FLAGS:
        raise CurationError(f"unknown flag {cleaned!r}; known: {', '.join(FLAGS)}")
    return cleaned
