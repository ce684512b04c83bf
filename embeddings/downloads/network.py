"""The network's side of downloads: which machines may be talked to, and how they are asked.

A list of URLs comes from strangers. A name in it may lead to this machine, to the router or to a
cloud's secrets, at once or after a redirect, and may lead elsewhere the second time one asks. So
the rule is applied to the very address that a socket is about to be connected to, and nowhere else.
"""

import asyncio
import contextlib
import hashlib
import random
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from embeddings import __version__
from embeddings.downloads import Downloaded, Job, Limits, Shelf, Turns

LOOKUPS = 32  # names looked up at the same time
CHUNK = 1 << 16  # bytes
MOVED = (301, 302, 303, 307, 308)
_UNICAST = ip_network("2000::/3")  # all of IPv6 that is given out to the public
_TRANSLATED = ip_network("64:ff9b::/96")  # IPv4 seen from a network that has none, RFC 6052
_LOCAL = tuple(
    ip_network(block)
    for block in (
        "192.0.0.0/24",  # of the provider itself; Python 3.11 takes most of it for public
        "192.88.99.0/24",  # relays to IPv6, withdrawn in 2015
        "168.63.129.16/32",  # Azure's own services, from inside any of its machines
        "2001::/23",  # tunnels (Teredo) and benchmarks
        "3fff::/20",  # for documentation
    )
)

AddrInfo = tuple[int, int, int, str, tuple[object, ...]]


class Refused(OSError):
    """A connection that was not made, because of where it leads."""


def is_public(address: str) -> bool:
    """Say whether `address` (an IP address in its usual spelling) is one of the public internet.

    Private, loopback, link-local, shared (RFC 6598), multicast, reserved and unspecified addresses
    are not, nor is an IPv6 address that carries one of these as IPv4: mapped, 6to4 or translated.
    """
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        inner = _inner(ip)
        if inner is not None:
            return is_public(str(inner))
        if ip not in _UNICAST or ip.scope_id is not None:
            return False
    if any(ip.version == block.version and ip in block for block in _LOCAL):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


def _inner(ip: IPv6Address) -> IPv4Address | None:
    if ip in _TRANSLATED:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour


def guard(*, private: bool, allow: frozenset[tuple[str, int]]) -> Callable[..., socket.socket]:
    """Return what makes sockets for aiohttp: `Refused` instead of one that leads inside.

    `private` lets everything through, `allow` single (address, port) pairs.
    """

    def open_socket(info: AddrInfo) -> socket.socket:
        family, kind, protocol, _, target = info
        host, port = str(target[0]), int(str(target[1]))
        if not (private or (host, port) in allow or is_public(host)):
            raise Refused(f"refused: leads to a private address ({host})")
        return socket.socket(family, kind, protocol)

    return open_socket


class Names(AbstractResolver):
    """Looks names up with the system's own means, in threads that nobody has to wait for.

    asyncio's own threads are waited for when the program ends, and a lookup may take half a
    minute; and it has so few that one slow name server holds up every download.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._slots = asyncio.Semaphore(LOOKUPS)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of `host`; OSError when it has none or nobody answers in time."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[ResolveResult]] = loop.create_future()

        def settle(found: list[ResolveResult] | OSError) -> None:
            if future.done():  # nobody waits any more
                return
            if isinstance(found, OSError):
                future.set_exception(found)
            else:
                future.set_result(found)

        def look() -> None:
            found = _look_up(host, port, family)
            with contextlib.suppress(RuntimeError):  # the loop has ended since: nobody waits
                loop.call_soon_threadsafe(settle, found)

        async with self._slots, asyncio.timeout(self._seconds):
            threading.Thread(target=look, daemon=True).start()
            return await future

    async def close(self) -> None:
        """Do nothing: there is nothing to hand back."""


def _look_up(host: str, port: int, family: int) -> list[ResolveResult] | OSError:
    try:
        infos = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    except UnicodeError:  # no name can be spelled like this
        return socket.gaierror(socket.EAI_NONAME, "no such host")
    except OSError as error:
        return error
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return [
        ResolveResult(
            hostname=host,
            host=str(target[0]),
            port=port,
            family=family,
            proto=protocol,
            flags=flags,
        )
        for family, _, protocol, _, target in infos
    ]


def meaning(error: aiohttp.ClientError | OSError) -> tuple[str, bool]:
    """Return why a request failed, in words, and whether trying again soon may help."""
    if isinstance(error, TimeoutError):
        return "the server did not answer in time", True
    if isinstance(error, aiohttp.ClientSSLError):
        return "no safe connection: its certificate or encryption is not accepted", False
    if isinstance(error, aiohttp.ClientConnectorError):
        return _unconnected(error.os_error)
    if isinstance(error, aiohttp.InvalidURL):
        return "not a URL that leads anywhere", False
    if isinstance(error, aiohttp.ClientResponseError):
        return "the server's answer makes no sense", True
    return "the connection broke off", True


def _unconnected(error: OSError) -> tuple[str, bool]:
    if isinstance(error, Refused):
        return str(error), False
    if isinstance(error, socket.gaierror):
        passing = error.errno == socket.EAI_AGAIN
        return ("its name cannot be looked up now" if passing else "no such host"), passing
    return "no connection to the server", True


# -- asking ----------------------------------------------------------------------------------------


@dataclass(eq=False)
class Failure(Exception):
    """One try that brought nothing.

    `again` says when a later run asks once more: ``"soon"``, when the rules (`Limits.rules`) are no
    longer these, or never (""). `now`: trying again in this run may help, `after` seconds if said.
    """

    reason: str
    again: str = ""
    now: bool = False
    after: float | None = None


class Crew:
    """Fetches URLs in an event loop; every method but the constructor is called in that loop."""

    def __init__(
        self, limits: Limits, shelf: Shelf, deliver: Callable[[tuple[int, Downloaded]], None]
    ) -> None:
        self._limits = limits
        self._shelf = shelf
        self._deliver = deliver
        self._turns = Turns(limits.per_host)
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(limits.connections)
        self._stopped = asyncio.Event()
        self._trouble: BaseException | None = None
        self._web: aiohttp.ClientSession | None = None

    async def work(self) -> None:
        """Fetch what is added until `stop`; raise what went wrong on this machine."""
        async with self._session() as self._web:
            self._start()
            await self._stopped.wait()
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._trouble is not None:
            raise self._trouble

    def stop(self) -> None:
        """End `work`; what is in flight is given up."""
        self._stopped.set()

    def add(self, job: Job) -> None:
        """Fetch `job` when its turn comes, and deliver the result under its number."""
        self._turns.add(job)
        self._start()

    def _session(self) -> aiohttp.ClientSession:
        limits = self._limits
        connector = aiohttp.TCPConnector(
            limit=limits.connections,
            limit_per_host=limits.per_host,  # of hosts that redirects lead to, too
            resolver=Names(limits.connect),
            ttl_dns_cache=60,
            socket_factory=guard(private=limits.private, allow=limits.allow),
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect),
            auto_decompress=False,  # `_unpacker` stops in time, aiohttp does not
            headers={
                "User-Agent": f"curation-atlas/{__version__}",
                "Accept": "image/*,*/*;q=0.5",
                "Accept-Encoding": "identity",
            },
        )

    def _start(self) -> None:
        # more tasks than connections: some of them only wait for their next try
        while self._web and not self._stopped.is_set():
            if len(self._tasks) >= 4 * self._limits.connections:
                return
            job = self._turns.take()
            if job is None:
                return
            task = asyncio.create_task(self._fetch(job))
            self._tasks.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._trouble = self._trouble or task.exception()
            self.stop()
        self._start()

    async def _fetch(self, job: Job) -> None:
        try:
            tries, got = await self._tries(job)
        finally:
            self._turns.done(job.host)
        again = ""
        if isinstance(got, Failure):
            again, got = got.again, Downloaded(job.url, error=got.reason)
        self._shelf.write(got, again, tries)
        self._deliver((job.number, got))

    async def _tries(self, job: Job) -> tuple[int, Downloaded | Failure]:
        for tries in range(1, self._limits.tries + 1):
            if self._turns.is_dead(job.host):
                return tries - 1, Failure("its server answers nobody; run again to ask it", "soon")
            async with self._slots:
                try:
                    return tries, await self._try(job)
                except Failure as failure:
                    last = failure
            wait = self._wait(tries, last)
            if wait is None:
                break
            await asyncio.sleep(wait)
        return tries, last

    def _wait(self, tries: int, failure: Failure) -> float | None:
        # seconds until the next try, None: there is none
        if not failure.now or tries == self._limits.tries:
            return None
        if failure.after is not None:
            return failure.after if failure.after <= self._limits.longest_wait else None
        wait = self._limits.backoff * 2.0 ** (tries - 1) * random.uniform(0.5, 1.5)
        return min(wait, self._limits.longest_wait)

    async def _try(self, job: Job) -> Downloaded:
        job.answered = False
        try:
            async with asyncio.timeout(self._limits.timeout) as clock:
                return await self._follow(job)
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            reason, now = meaning(error)
            refused = reason.startswith("refused") and not clock.expired()
            if not (job.answered or refused):
                self._turns.heard(job.host, False)
            if clock.expired():
                reason = f"took longer than {self._limits.timeout:g} s"
                raise Failure(reason, "soon", now=True) from error
            raise Failure(reason, self._limits.rules if refused else "soon", now) from error

    async def _follow(self, job: Job) -> Downloaded:
        assert self._web is not None
        at = _address(job.url)
        for _ in range(self._limits.redirects + 1):
            async with self._web.get(at, allow_redirects=False) as response:
                job.answered = True
                self._turns.heard(job.host, True)
                if response.status not in MOVED:
                    _check(response)
                    return await self._keep(job, response)
                at = _target(at, response.headers.get("Location", ""))
        reason = f"redirected more than {self._limits.redirects} times"
        raise Failure(reason, self._limits.rules)

    async def _keep(self, job: Job, response: aiohttp.ClientResponse) -> Downloaded:
        size, digest = response.content_length or 0, hashlib.sha256()
        self._check_size(size)
        unpack = _unpacker(response.headers.get("Content-Encoding", ""))
        size = 0
        with self._shelf.begin(job.number) as (path, file):
            while True:
                chunk = await response.content.read(CHUNK)
                for piece in unpack(chunk):
                    size += len(piece)
                    self._check_size(size)
                    digest.update(piece)
                    self._shelf.put(file, piece)
                if not chunk:
                    break
            return self._shelf.take_in(job.url, path, digest.hexdigest(), size)

    def _check_size(self, size: int) -> None:
        most = self._limits.max_bytes
        if size > most:
            words = f"{most >> 20} MiB" if most % (1 << 20) == 0 else f"{most:,} bytes"
            raise Failure(f"larger than {words}", self._limits.rules)


def _address(text: str) -> URL:
    # what is spelled as the web wants it is sent as it is: some servers sign the spelling
    as_it_is = text.isascii() and not set(text) & set(' "<>\\^`{|}')
    try:
        return URL(text, encoded=as_it_is)
    except ValueError as error:
        raise Failure("not a URL that leads anywhere") from error


def _target(at: URL, location: str) -> URL:
    astray = "redirected to something that is not on the web"
    try:
        target = (
            at.join(_address(location)).with_fragment(None).with_user(None)
        )  # no password goes on
        leads = target.scheme in ("http", "https") and target.host and target.port
    except ValueError as error:  # yarl finds a name or a port that is none only when asked for it
        raise Failure(astray) from error
    if not leads:
        raise Failure(astray)
    return target


def _check(response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status in (200, 203):
        return
    if status in (404, 410):
        raise Failure(f"not found ({status})")
    if status in (401, 402, 403, 407, 451):
        raise Failure(f"refused by the server ({status})")
    if status in (408, 425, 429) or status >= 500:
        reason = "the server is too busy" if status in (429, 503) else "the server failed"
        after = _seconds(response.headers.get("Retry-After", ""))
        raise Failure(f"{reason} ({status})", "soon", now=True, after=after)
    raise Failure(f"the server answered without a file ({status})")


def _seconds(retry_after: str) -> float | None:
    # seconds, or a date
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        date = parsedate_to_datetime(retry_after)
        return float(max(0.0, date.timestamp() - time.time()))
    except (ValueError, OverflowError):
        return None


def _unpacker(encoding: str) -> Callable[[bytes], Iterator[bytes]]:
    # piece by piece, so that a few kilobytes that unpack to gigabytes are found out at once; no
    # bytes stand for the end
    name = encoding.strip().lower()
    if name in ("br", "zstd", "compress"):
        raise Failure(f"sent packed in a way that was not asked for: {name}")
    if name not in ("gzip", "x-gzip", "deflate"):
        return lambda chunk: iter((chunk,))
    machine = zlib.decompressobj(wbits=47)  # gzip or zlib, as its head says

    def unpack(chunk: bytes) -> Iterator[bytes]:
        if not (chunk or machine.eof):
            raise Failure("sent packed and not to its end", "soon")
        if machine.eof:
            return
        try:
            piece = machine.decompress(chunk, CHUNK)
            yield piece
            while machine.unconsumed_tail or len(piece) == CHUNK:  # there may be more inside
                piece = machine.decompress(machine.unconsumed_tail, CHUNK)
                yield piece
        except zlib.error as error:
            raise Failure("sent packed and damaged", "soon") from error

    return unpack
