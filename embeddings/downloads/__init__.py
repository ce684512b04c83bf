"""Download what URLs lead to: politely, each once, and nothing from inside the own network.

What came is kept for good under the SHA-256 of its bytes, and an index remembers every answer, so
that a second run asks only for what is missing. A proxy named by the environment is not used: it
would connect on our behalf, and where to could not be checked.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import queue
import secrets
import sqlite3
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sized
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import urlsplit

from embeddings.errors import CurationError
from embeddings.stages import Progress, silent

WINDOW = 20_000  # URLs looked ahead, so that one slow host does not hold up the others
SILENT = 20  # tries in a row without any answer, after which a host is left alone in this run


@dataclass(frozen=True)
class Limits:
    """What downloads may take: connections at once, seconds, bytes, and where they may lead.

    `connect` is the seconds until a connection stands, `timeout` until an image is there. A try
    that failed for a reason that may pass is repeated after about `backoff`, 2 x `backoff` ...
    seconds, or when the server says, unless that is more than `longest_wait` seconds away.
    `private` lets downloads into the own network, `allow` to single (IP address, port) pairs of it.
    """

    connections: int = 64
    per_host: int = 4
    tries: int = 3
    backoff: float = 1.0
    longest_wait: float = 60.0
    connect: float = 10.0
    timeout: float = 60.0
    max_bytes: int = 1 << 26
    redirects: int = 5
    private: bool = False
    allow: frozenset[tuple[str, int]] = frozenset()

    def __post_init__(self) -> None:
        for name in ("connections", "per_host", "tries", "connect", "timeout", "max_bytes"):
            if not getattr(self, name) > 0:
                raise CurationError(f"{name} must be above 0, got {getattr(self, name)}")

    @property
    def rules(self) -> str:
        """What decides a refusal, as text: a refusal by other rules is no refusal now."""
        return f"{self.max_bytes} {self.redirects} {self.private} {sorted(self.allow)}"


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What became of one URL: a kept file of `size` bytes, or an `error` and no path."""

    url: str
    path: Path | None = None
    sha256: str | None = None
    size: int = 0
    mtime_ns: int = 0
    error: str | None = None


def download(
    urls: Iterable[str], keep: Path, limits: Limits | None = None, progress: Progress = silent
) -> Iterator[Downloaded]:
    """Yield what became of each of `urls`, in their order; a URL met again is passed over.

    Kept files are ``keep/<first 2 of sha256>/<sha256>``. What an earlier run kept is not asked for
    again, nor what it was refused for good; what may have passed since is. Works in a thread of its
    own, while the caller is busy with what was yielded; memory does not grow with the count.

    Raises
    ------
    CurationError
        When `keep` cannot be written: the disk is full, say. What was kept stays.
    """
    total = len(urls) if isinstance(urls, Sized) else None
    done = 0
    with Shelf(keep) as shelf, _Engine(limits or Limits(), shelf) as engine:
        for done, downloaded in enumerate(_in_order(urls, shelf, engine), start=1):
            progress("download", done, total)
            yield downloaded
    progress("download", done, done)


def fault(url: str) -> str | None:
    """Return why `url` is not the address of something on the web, or None."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        url.encode()
    except ValueError:  # brackets or a port that are none, half a character
        return "not a URL"
    if parts.scheme not in ("http", "https") or not host or not url.isprintable():
        return "not a URL"
    return "a URL with a user name or password; take them out" if "@" in parts.netloc else None


def _in_order(urls: Iterable[str], shelf: "Shelf", engine: "_Engine") -> Iterator[Downloaded]:
    waiting: deque[int | Downloaded] = deque()
    for url in urls:
        if shelf.is_new(url):
            waiting.append(_at_hand(url, shelf, engine.limits) or engine.submit(url))
        while waiting and (len(waiting) >= WINDOW or isinstance(waiting[0], Downloaded)):
            yield engine.result(waiting.popleft())
    while waiting:
        yield engine.result(waiting.popleft())


def _at_hand(url: str, shelf: "Shelf", limits: Limits) -> Downloaded | None:
    why = fault(url)
    if why is not None:
        return Downloaded(url, error=why)
    row = shelf.find(url)
    if row is None:
        return None
    sha256, size, error, again = row
    if sha256 is not None:
        return shelf.kept(url, sha256, size)
    return Downloaded(url, error=error) if again in ("", limits.rules) else None


# -- what is kept ----------------------------------------------------------------------------------


@contextlib.contextmanager
def _plain(keep: Path) -> Iterator[None]:
    # local trouble in words; trouble of the network never comes through here
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise CurationError(_words(keep, full, error.strerror or str(error))) from error
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            path = keep / "index.sqlite"
            raise CurationError(f"{path} is damaged; delete it, and all is asked anew") from error
        raise CurationError(_words(keep, code == sqlite3.SQLITE_FULL, str(error))) from error


def _words(keep: Path, full: bool, why: str) -> str:
    if full:
        return f"the disk of {keep} is full; free some space and run again: what is there stays"
    return f"{keep} cannot be written ({why}); check its permissions and its disk, and run again"


_SCHEMA = """
CREATE TABLE IF NOT EXISTS downloads (
    url TEXT PRIMARY KEY, sha256 TEXT, size INTEGER, error TEXT, again TEXT, tries INTEGER,
    fetched_at TEXT
) WITHOUT ROWID;
CREATE TEMP TABLE met (url BLOB PRIMARY KEY) WITHOUT ROWID;
"""
_WRITE = """
INSERT INTO downloads VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (url) DO UPDATE SET
    sha256 = excluded.sha256, size = excluded.size, error = excluded.error,
    again = excluded.again, tries = tries + excluded.tries, fetched_at = excluded.fetched_at
"""


class Shelf:
    """The folder of kept files with its index, and this run's own corner for unfinished ones.

    A corner holds a lock for as long as its process lives: one that is not locked was left behind.
    """

    def __init__(self, keep: Path) -> None:
        from filelock import FileLock

        self.keep = keep
        self._mutex = threading.Lock()  # the connection is used by the caller and by the engine
        self._made: set[str] = set()
        self._corner = keep / f".partial-{secrets.token_hex(8)}"
        with _plain(keep):
            keep.mkdir(parents=True, exist_ok=True)
            with FileLock(keep / ".lock"):
                self._sweep()
                self._corner.mkdir()
                self._lock = FileLock(self._corner / "lock", thread_local=False)
                self._lock.acquire()
                self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        # each statement commits itself; a killed process loses none of them, a power cut the last
        db = sqlite3.connect(
            self.keep / "index.sqlite", timeout=30, isolation_level=None, check_same_thread=False
        )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_SCHEMA)
        return db

    def _sweep(self) -> None:
        from filelock import FileLock, Timeout

        for corner in self.keep.glob(".partial-*"):
            try:
                with FileLock(corner / "lock", timeout=0):
                    _clear(corner)
            except Timeout:  # of a process that is alive
                continue

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with _plain(self.keep):
            self._db.close()
            self._lock.release()
            _clear(self._corner)

    def _run(self, sql: str, *values: object) -> list[Any]:
        with self._mutex, _plain(self.keep):
            return self._db.execute(sql, values).fetchall()

    def is_new(self, url: str) -> bool:
        """Say whether `url` is met for the first time in this run; told on disk, not in memory."""
        key = hashlib.sha256(url.encode("utf-8", "surrogatepass")).digest()[:16]
        return bool(self._run("INSERT OR IGNORE INTO met VALUES (?) RETURNING 1", key))

    def find(self, url: str) -> tuple[str | None, int, str | None, str] | None:
        """Return sha256, size, error and when to ask again, as the index has them."""
        rows = self._run("SELECT sha256, size, error, again FROM downloads WHERE url = ?", url)
        return rows[0] if rows else None

    def write(self, result: Downloaded, again: str, tries: int) -> None:
        """Note what became of a URL."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._run(_WRITE, result.url, result.sha256, result.size, result.error, again, tries, now)

    def kept(self, url: str, sha256: str, size: int) -> Downloaded | None:
        """Return the kept file, or None when it is not there with its `size` bytes."""
        path = self.keep / sha256[:2] / sha256
        try:
            status = os.stat(path)
        except OSError:
            return None
        whole = status.st_size == size
        return Downloaded(url, path, sha256, size, status.st_mtime_ns) if whole else None

    @contextlib.contextmanager
    def begin(self, number: int) -> Iterator[tuple[Path, BinaryIO]]:
        """Open a file for what comes; it is gone afterwards unless it was kept."""
        path = self._corner / str(number)
        with _plain(self.keep):
            file = open(path, "wb", buffering=0)  # noqa: SIM115 - closed below, errors in words
        try:
            yield path, file
        finally:
            file.close()
            path.unlink(missing_ok=True)

    def put(self, file: BinaryIO, piece: bytes) -> None:
        """Write `piece`."""
        with _plain(self.keep):
            written = file.write(piece)
            while written < len(piece):  # a disk that is nearly full takes a part of it first
                written += file.write(piece[written:])

    def take_in(self, url: str, path: Path, sha256: str, size: int) -> Downloaded:
        """Keep the whole file at `path`; where its bytes are kept already, that file stays."""
        kept = self.kept(url, sha256, size)
        if kept is not None:
            return kept
        folder = self.keep / sha256[:2]
        with _plain(self.keep):
            if sha256[:2] not in self._made:
                folder.mkdir(exist_ok=True)
                self._made.add(sha256[:2])
            status = os.stat(path)
            os.replace(path, folder / sha256)
        return Downloaded(url, folder / sha256, sha256, size, status.st_mtime_ns)


def _clear(corner: Path) -> None:
    # nothing but what we put there: a folder with anything else in it stays
    for file in corner.iterdir():
        if file.name.isdigit() or file.name == "lock":
            file.unlink()
    with contextlib.suppress(OSError):
        corner.rmdir()


# -- whose turn it is ------------------------------------------------------------------------------


@dataclass(eq=False)
class Job:
    """A URL to fetch, and whether its server has given any answer to the present try."""

    number: int
    url: str
    answered: bool = False

    @property
    def host(self) -> str:
        """The name of the URL's host, in lower case."""
        return urlsplit(self.url).hostname or ""


@dataclass(eq=False)
class _Host:
    waiting: deque[Job] = field(default_factory=deque)
    active: int = 0
    unheard: int = 0


class Turns:
    """URLs that wait, host by host: hosts take turns, and none has more than its share at once."""

    def __init__(self, per_host: int) -> None:
        self._per_host = per_host
        self._hosts: dict[str, _Host] = {}
        self._ready: deque[str] = deque()

    def add(self, job: Job) -> None:
        """Let `job` wait for its turn."""
        name = job.host
        host = self._hosts.setdefault(name, _Host())
        host.waiting.append(job)
        if len(host.waiting) == 1 and host.active < self._per_host:
            self._ready.append(name)

    def take(self) -> Job | None:
        """Return the next URL whose host is not busy; its turn ends with `done`."""
        if not self._ready:
            return None
        name = self._ready.popleft()
        host = self._hosts[name]
        host.active += 1
        job = host.waiting.popleft()
        if host.waiting and host.active < self._per_host:
            self._ready.append(name)
        return job

    def done(self, name: str) -> None:
        """Free one turn of a host."""
        host = self._hosts[name]
        host.active -= 1
        if host.waiting and host.active == self._per_host - 1:
            self._ready.append(name)
        elif not (host.waiting or host.active or host.unheard):
            del self._hosts[name]

    def heard(self, name: str, answer: bool) -> None:
        """Note whether a host gave any answer."""
        self._hosts[name].unheard = 0 if answer else self._hosts[name].unheard + 1

    def is_dead(self, name: str) -> bool:
        """Say whether a host is left alone in this run."""
        return self._hosts[name].unheard >= SILENT


# -- the caller's side of the thread ---------------------------------------------------------------


class _Engine:
    """Takes URLs from the caller's thread and gives back results; begins with the first URL."""

    def __init__(self, limits: Limits, shelf: Shelf) -> None:
        self.limits = limits
        self._shelf = shelf
        self._count = 0
        self._here: dict[int, Downloaded] = {}
        self._arrived: queue.SimpleQueue[tuple[int, Downloaded] | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: Future[None]

    def submit(self, url: str) -> int:
        """Have `url` fetched; return the number to ask for its result with."""
        if self._loop is None:
            self._begin()
        assert self._loop is not None
        self._count += 1
        self._loop.call_soon_threadsafe(self._crew.add, Job(self._count, url))
        return self._count

    def _begin(self) -> None:
        from embeddings.downloads.network import Crew

        self._loop = asyncio.new_event_loop()
        self._crew: Crew = Crew(self.limits, self._shelf, self._arrived.put)
        # a daemon, and no pool: the program must be able to end while a server keeps us waiting
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._ended = asyncio.run_coroutine_threadsafe(self._crew.work(), self._loop)
        self._ended.add_done_callback(lambda _: self._arrived.put(None))

    def result(self, number: int | Downloaded) -> Downloaded:
        """Wait for the result of `number`; what went wrong in the thread is raised here."""
        if isinstance(number, Downloaded):
            return number
        while number not in self._here:
            arrived = self._arrived.get()
            if arrived is None:
                self._ended.result()
                raise RuntimeError("the downloads ended before they were told to")
            self._here[arrived[0]] = arrived[1]
        return self._here.pop(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._crew.stop)
        with contextlib.suppress(CurationError):  # raised where the result was asked for
            self._ended.result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()
