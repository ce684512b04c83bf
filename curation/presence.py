"""Who is where in a dataset now, and which sheets are in whose hands.

Kept in `presence.sqlite` beside the journal, which never waits for it. All of it may be lost at any
time: decisions are safe without, two people would only see the same sheet.
"""

import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pyroaring import BitMap

from embeddings.dataset import Dataset, lives

T = TypeVar("T")
FILE = "presence.sqlite"
LEASE = 120.0  # seconds that a claim holds without a sign of life
HERE = 12.0  # seconds without a sign of life after which somebody is gone
AGAIN = 2.0  # seconds in which the same sign of life is not written twice
BUSY = 5.0  # seconds to wait for others that write: each takes a millisecond, but they may be many
REST = 30.0  # seconds until a file that cannot be used is tried again
_RUN = f"{os.getpid()} {uuid.uuid4().hex}"  # a number of a process is given again

_TABLES = """
CREATE TABLE IF NOT EXISTS here (
    session TEXT PRIMARY KEY, person TEXT NOT NULL, page TEXT NOT NULL, place TEXT NOT NULL,
    seen REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held (
    key TEXT PRIMARY KEY, person TEXT NOT NULL, session TEXT NOT NULL, run TEXT NOT NULL,
    field TEXT NOT NULL, items BLOB NOT NULL, renewed REAL NOT NULL
) WITHOUT ROWID;
"""
# A time in the future is as old as one in the past: a clock that was set back frees what was
# claimed by the old one, and nothing is held for longer than a lease.
_LIVE_CLAIMS = "SELECT key, person, session, run, field, items FROM held WHERE abs(? - renewed) < ?"
_NEAR = f"{_LIVE_CLAIMS} AND (key = ? OR field = ?)"
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)  # the file is sound


@dataclass(frozen=True)
class Present:
    """Somebody who looks at the dataset: on which page, and at what (``""``: nothing of note)."""

    person: str
    page: str
    place: str


@dataclass(frozen=True)
class Claim:
    """A sheet in the hands of one tab (`session`); `items` are the numbers of what is on it.

    `run` is of the process that serves the tab, empty until the tab gave a sign of life.
    """

    key: str
    person: str
    session: str
    run: str
    field: str
    items: BitMap

    def bars(self, person: str, session: str) -> bool:
        """Whether this keeps the sheet from a person in a tab: it is another's, or of another tab.

        What somebody held at a server that ended, or in a session that no tab came to know, is
        theirs at once: the tab has come back in another session, or is gone.
        """
        return self.session != session and (self.person != person or not _ended(self.run))


class _Resting(Exception):
    """The file could not be used a moment ago."""


class Presence:
    """The presence file of one dataset; safe from several threads and several processes.

    No method raises for the file's sake: where it cannot be used nobody else is here, every claim
    is granted, and `trouble` says why.

    Parameters
    ----------
    dataset : Dataset
        Whose directory holds the file.
    lease : float
        Seconds that a claim holds without a sign of life.
    clock : callable
        The time in seconds; wall time, which the processes of a machine share.
    """

    def __init__(
        self, dataset: Dataset, *, lease: float = LEASE, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = dataset.path / FILE
        self.trouble: str | None = None
        self._lease, self._clock = lease, clock
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None
        self._rest_until = 0.0
        self._told: dict[str, tuple[tuple[str, str, str], float]] = {}

    # ---- who is here

    def here(self, person: str, session: str, page: str, place: str = "") -> None:
        """Take a sign of life of one tab: where it is; what it has claimed holds on."""
        now, told = time.monotonic(), (person, page, place)
        with self._lock:
            before = self._told.get(session)
            if before is not None and before[0] == told and now - before[1] < AGAIN:
                return
            self._told[session] = (told, now)
            self._told = {one: say for one, say in self._told.items() if now - say[1] < HERE}
        self._write(lambda db: self._seen(db, person, session, page, place))

    def _seen(
        self, db: sqlite3.Connection, person: str, session: str, page: str, place: str
    ) -> None:
        at = self._clock()
        db.execute("DELETE FROM here WHERE abs(? - seen) >= ?", (at, HERE))
        db.execute(
            "INSERT OR REPLACE INTO here VALUES (?, ?, ?, ?, ?)", (session, person, page, place, at)
        )
        db.execute(
            "UPDATE held SET renewed = ?, run = ? WHERE session = ? AND abs(? - renewed) < ?",
            (at, _RUN, session, at, self._lease),
        )

    def others(self, session: str) -> list[Present]:
        """Return who else is here, by name."""
        sql = "SELECT person, page, place FROM here WHERE session <> ? AND abs(? - seen) < ?"
        parameters = (session, self._clock(), HERE)
        rows = self._read(lambda db: db.execute(sql, parameters).fetchall()) or []
        return [Present(*row) for row in sorted(rows)]

    def leave(self, session: str) -> None:
        """Say that a tab was closed: what it had claimed is free at once."""
        with self._lock:
            self._told.pop(session, None)
        self._write(lambda db: _forget(db, session))

    # ---- sheets in hand

    def claim(
        self,
        key: str,
        person: str,
        session: str,
        *,
        items: BitMap | None = None,
        field: str = "",
    ) -> Claim | None:
        """Claim a sheet for a while; None where another tab has it, or some of its items.

        Claimed again it holds on, with these items. Only claims of the same `field` are in each
        other's way, and none that `Claim.bars` nobody.
        """
        run = _RUN if session in self._told else ""
        mine = Claim(key, person, session, run, field, items or BitMap())
        granted = self._write(lambda db: self._grant(db, mine))
        return None if granted is False else mine  # None: nobody is known to have it

    def _grant(self, db: sqlite3.Connection, mine: Claim) -> bool:
        at = self._clock()
        for one in _claims(db, _NEAR, (at, self._lease, mine.key, mine.field)):
            same = one.key == mine.key or one.items.intersect(mine.items)
            if same and one.bars(mine.person, mine.session):
                return False
        claim = (mine.key, mine.person, mine.session, mine.run, mine.field, mine.items.serialize())
        db.execute("INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?, ?, ?, ?)", (*claim, at))
        db.execute("DELETE FROM held WHERE abs(? - renewed) >= ?", (at, self._lease))
        return True

    def release(self, session: str, *, but: frozenset[str] = frozenset()) -> None:
        """Let go of what a session has claimed, except the keys in `but`."""
        held = [one for one in self.claims().values() if one.session == session]
        gone = [(one.key, session) for one in held if one.key not in but]
        if gone:
            sql = "DELETE FROM held WHERE key = ? AND session = ?"
            self._write(lambda db: db.executemany(sql, gone))

    def claims(self) -> dict[str, Claim]:
        """Return what is claimed now, by key."""
        parameters = (self._clock(), self._lease)
        live = self._read(lambda db: _claims(db, _LIVE_CLAIMS, parameters)) or []
        return {one.key: one for one in live}

    # ---- inside

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Do `work` with the open file; None where it cannot be used."""
        with self._lock:
            try:
                done = work(self._open())
            except _Resting:
                return None
            except sqlite3.Error as error:
                self._give_up(error)
                return None
            self.trouble = None
            return done

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Do `work` as one transaction."""

        def whole(db: sqlite3.Connection) -> T:
            db.execute("BEGIN IMMEDIATE")
            try:
                done = work(db)
                db.execute("COMMIT")
                return done
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

        return self._read(whole)

    def _open(self) -> sqlite3.Connection:
        """Return the open file; another one where it was deleted or replaced meanwhile."""
        if time.monotonic() < self._rest_until:
            raise _Resting
        if self._db is not None and self._opened == _inode(self.path):
            return self._db
        self._close()
        self._db = sqlite3.connect(
            self.path, timeout=BUSY, isolation_level=None, check_same_thread=False
        )
        self._db.execute("PRAGMA synchronous = OFF")
        self._use_wal(self._db)
        for statement in filter(str.strip, _TABLES.split(";")):
            self._db.execute(statement)
        self._opened = _inode(self.path)
        return self._db

    @staticmethod
    def _use_wal(db: sqlite3.Connection) -> None:
        give_up = time.monotonic() + BUSY
        while True:
            try:  # SQLite does not wait while another process makes this switch
                db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode not in _PASSING or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
        self._db = self._opened = None

    def _give_up(self, error: sqlite3.Error) -> None:
        """Go on without for a while; a damaged file is thrown away."""
        code = getattr(error, "sqlite_errorcode", -1) & 0xFF
        self.trouble = (
            f"who else is here cannot be told: {self.path.name} cannot be used ({error}); "
            "decisions are kept as ever"
        )
        self._rest_until = time.monotonic() + REST
        if code not in _PASSING:
            self._close()
        if code in _DAMAGED and _removed(self.path):
            self._rest_until = 0.0


_kept: dict[Path, Presence] = {}
_kept_lock = threading.Lock()


def presence(dataset: Dataset) -> Presence:
    """Return this process's presence file of a dataset."""
    with _kept_lock:
        return _kept.setdefault(dataset.path, Presence(dataset))


def _forget(db: sqlite3.Connection, session: str) -> None:
    db.execute("DELETE FROM here WHERE session = ?", (session,))
    db.execute("DELETE FROM held WHERE session = ?", (session,))


def _claims(db: sqlite3.Connection, sql: str, parameters: tuple[Any, ...]) -> list[Claim]:
    return [
        Claim(key, person, session, run, field, _items(packed))
        for key, person, session, run, field, packed in db.execute(sql, parameters).fetchall()
    ]


def _ended(run: str) -> bool:
    """Whether the process of a claim is gone, or the claim of none yet."""
    number = run.partition(" ")[0]
    if run == _RUN:
        return False
    return number == str(os.getpid()) or not number.isdecimal() or not lives(int(number))


def _items(packed: bytes) -> BitMap:
    """Return a claim's items; none where the file, which is never synced, was torn."""
    try:
        return BitMap.deserialize(packed)
    except ValueError:
        return BitMap()


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _removed(path: Path) -> bool:
    """Delete the file and its logs; return whether that could be done."""
    try:
        for name in ("", "-wal", "-shm"):
            path.with_name(path.name + name).unlink(missing_ok=True)
    except OSError:
        return False
    return True
