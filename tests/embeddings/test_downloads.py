"""Downloads from real servers on this machine: limits, retries, refusals, kills, a full disk."""

import asyncio
import gzip
import hashlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from embeddings.downloads import Downloaded, Limits, download, fault
from embeddings.errors import CurationError

OPEN = Limits(private=True, backoff=0.01, timeout=5)
NOBODY = "no connection to the server"
Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers by the first part of the path; sends the whole path's bytes unless told otherwise."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Web"

    def do_GET(self) -> None:
        web = self.server
        with web.mutex:
            web.asked[self.path] += 1
            web.headers_seen.append(dict(self.headers))
            web.now += 1
            web.most = max(web.most, web.now)
        try:
            web.answers.get(self.path.split("/")[1], whole)(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with web.mutex:
                web.now -= 1

    def send(self, status: int, body: bytes = b"", **headers: object) -> None:
        self.send_response(status)
        for name, value in ({"Content_Length": len(body)} | headers).items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Web(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), Handler)
        self.answers: dict[str, Answer] = {}
        self.asked: Counter[str] = Counter()
        self.headers_seen: list[dict[str, str]] = []
        self.mutex = threading.Lock()
        self.now = self.most = 0
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server_port}/{path}"


def whole(handler: Handler) -> None:
    handler.send(200, handler.path.encode())


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def keep(tmp_path: Path) -> Path:
    return tmp_path / "downloads"


def one(url: str, keep: Path, limits: Limits = OPEN) -> Downloaded:
    (got,) = download([url], keep, limits)
    return got


def kept(keep: Path) -> list[Path]:
    return sorted(path for path in keep.glob("??/*"))


# -- what comes and is kept ------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_list_and_files_carry_their_hash(
    web: Web, keep: Path
) -> None:
    web.answers["slow"] = lambda handler: (time.sleep(0.3), whole(handler))[0]
    urls = [web.url(f"{'slow' if n % 7 == 0 else 'quick'}/{n}") for n in range(60)]
    told: list[tuple[str, int, int | None]] = []
    results = list(download(urls, keep, OPEN, lambda *step: told.append(step)))
    assert [got.url for got in results] == urls
    for got in results:
        body = "/" + got.url.split("/", 3)[3]
        assert got.error is None and got.path is not None
        assert got.path.read_bytes() == body.encode()
        assert got.sha256 == hashlib.sha256(body.encode()).hexdigest() == got.path.name
        assert got.path.parent == keep / got.sha256[:2]
        assert (got.size, got.mtime_ns) == (len(body), got.path.stat().st_mtime_ns)
    assert told[0] == ("download", 1, 60) and told[-1] == ("download", 60, 60)


def test_the_same_bytes_from_two_urls_are_one_file_and_a_url_met_again_is_passed_over(
    web: Web, keep: Path
) -> None:
    web.answers["same"] = lambda handler: handler.send(200, b"picture")
    urls = [web.url("same/1"), web.url("same/2"), web.url("same/1")]
    first, second = download(urls, keep, OPEN)
    assert first.path == second.path and first.mtime_ns == second.mtime_ns
    assert len(kept(keep)) == 1
    assert set(web.asked.values()) == {1}


def test_a_second_run_asks_for_nothing_that_is_there(web: Web, keep: Path) -> None:
    urls = [web.url(f"{n}") for n in range(50)]
    first = list(download(urls, keep, OPEN))
    assert list(download(urls, keep, OPEN)) == first
    assert set(web.asked.values()) == {1}


def test_a_kept_file_that_was_removed_or_cut_short_is_fetched_again(web: Web, keep: Path) -> None:
    urls = [web.url("a"), web.url("bb"), web.url("ccc")]
    first = list(download(urls, keep, OPEN))
    assert first[0].path and first[1].path
    first[0].path.unlink()
    first[1].path.write_bytes(b"/")
    assert [got.sha256 for got in download(urls, keep, OPEN)] == [got.sha256 for got in first]
    assert web.asked == {"/a": 2, "/bb": 2, "/ccc": 1}
    assert first[1].path.read_bytes() == b"/bb"


def test_only_what_may_have_passed_is_asked_for_again(web: Web, keep: Path) -> None:
    for status in (404, 403, 500, 429, 204):
        web.answers[str(status)] = lambda handler, status=status: handler.send(status)
    urls = [web.url(name) for name in ("404", "403", "500", "429", "204")]
    limits = replace(OPEN, tries=2)
    reasons = [got.error for got in download(urls, keep, limits)]
    assert reasons == [
        "not found (404)",
        "refused by the server (403)",
        "the server failed (500)",
        "the server is too busy (429)",
        "the server answered without a file (204)",
    ]
    assert web.asked == {"/404": 1, "/403": 1, "/500": 2, "/429": 2, "/204": 1}
    web.answers.clear()
    again = [got.error for got in download(urls, keep, limits)]
    assert again == [reasons[0], reasons[1], None, None, reasons[4]]
    assert web.asked == {"/404": 1, "/403": 1, "/500": 3, "/429": 3, "/204": 1}


def test_it_works_where_a_loop_is_running_and_says_who_it_is(web: Web, keep: Path) -> None:
    async def within() -> Downloaded:
        return one(web.url("a"), keep)

    assert asyncio.run(within()).error is None
    (headers,) = web.headers_seen
    assert headers["User-Agent"].startswith("curation-atlas/")
    assert headers["Accept-Encoding"] == "identity"


def test_no_cookie_is_kept_and_no_proxy_of_the_environment_is_used(
    web: Web, keep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    web.answers["set"] = lambda handler: handler.send(200, b"x", Set_Cookie="a=b; Path=/")
    results = list(download([web.url("set/1"), web.url("set/2")], keep, replace(OPEN, per_host=1)))
    assert [got.error for got in results] == [None, None]
    assert not [seen for seen in web.headers_seen if "Cookie" in seen]


def test_a_url_is_sent_as_it_is_spelled(web: Web, keep: Path) -> None:
    spelled = ["a%3Ab%2fc?x=%2B+1&sig=%3D%7E", "b/../c", "with blank/ü.jpg"]
    assert [got.error for got in download(map(web.url, spelled), keep, OPEN)] == [None] * 3
    assert set(web.asked) == {"/" + spelled[0], "/" + spelled[1], "/with%20blank/%C3%BC.jpg"}


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["named", "redirected"])
def test_a_host_is_asked_by_no_more_connections_at_once_than_allowed(
    web: Web, keep: Path, way: str
) -> None:
    web.answers["slow"] = lambda handler: (time.sleep(0.02), whole(handler))[0]
    urls = [web.url(f"slow/{n}") for n in range(40)]
    if way == "redirected":  # from many hosts to one
        hosts = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
        gates = [Web(host) for host in hosts]
        for gate in gates:
            gate.answers["go"] = lambda handler: handler.send(
                302, Location=web.url(handler.path.split("/", 2)[2])
            )
        urls = [gates[n % 4].url(f"go/slow/{n}", hosts[n % 4]) for n in range(40)]
    results = list(download(urls, keep, replace(OPEN, per_host=3)))
    assert [got.error for got in results] == [None] * 40
    assert web.most == 3


def test_one_slow_host_does_not_hold_up_the_others(web: Web, keep: Path) -> None:
    web2, all_quick = Web("127.0.0.2"), threading.Event()

    def quick(handler: Handler) -> None:
        whole(handler)
        if len(web2.asked) == 40:
            all_quick.set()

    web.answers["slow"] = lambda handler: (all_quick.wait(60), whole(handler))[0]
    web2.answers["quick"] = quick
    urls = [web.url(f"slow/{n}") for n in range(40)]
    urls += [web2.url(f"quick/{n}", "127.0.0.2") for n in range(40)]
    limits = replace(OPEN, connections=4, per_host=2, timeout=60)
    assert [got.error for got in download(urls, keep, limits)] == [None] * 80
    assert all_quick.is_set(), "they came while the slow host kept its two connections"


def busy_once(handler: Handler) -> None:
    first = handler.server.asked[handler.path] == 1
    after = handler.path.rsplit("/", 1)[1]
    headers = {"Retry_After": after} if after else {}
    handler.send(503, **headers) if first else whole(handler)


def test_a_busy_server_is_asked_again_when_it_says(web: Web, keep: Path) -> None:
    web.answers["busy"] = busy_once
    assert one(web.url("busy/"), keep).error is None
    started = time.monotonic()
    assert one(web.url("busy/1"), keep).error is None
    assert time.monotonic() - started >= 1
    date = time.strftime("%a,%%20%d%%20%b%%20%Y%%20%H:%M:%S%%20GMT", time.gmtime(time.time() - 9))
    assert one(web.url(f"busy/{date}"), keep).error is None


def test_a_server_that_wants_to_be_left_alone_for_long_is_left_alone(web: Web, keep: Path) -> None:
    web.answers["busy"] = busy_once
    assert one(web.url("busy/3600"), keep).error == "the server is too busy (503)"
    assert sum(web.asked.values()) == 1


def drop(handler: Handler) -> None:
    if handler.server.asked[handler.path] < 3:
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)
    else:
        whole(handler)


def cut(handler: Handler) -> None:
    handler.send(200, b"abc", Content_Length=10)
    handler.close_connection = True


def test_a_broken_connection_is_tried_again_and_half_a_file_is_never_kept(
    web: Web, keep: Path
) -> None:
    web.answers |= {"drop": drop, "cut": cut}
    dropped, halved = download([web.url("drop"), web.url("cut")], keep, OPEN)
    assert dropped.error is None
    assert halved.error == "the connection broke off"
    assert web.asked["/cut"] == 3
    assert [path.read_bytes() for path in kept(keep)] == [b"/drop"]


def chunks(handler: Handler) -> None:
    handler.send(200, Content_Length=None, Transfer_Encoding="chunked")
    for _ in range(200):
        handler.wfile.write(b"400\r\n" + bytes(0x400) + b"\r\n")
    handler.wfile.write(b"0\r\n\r\n")


def packed(body: bytes) -> Answer:
    return lambda handler: handler.send(200, body, Content_Encoding="gzip")


def test_no_more_bytes_are_kept_than_allowed_whatever_the_server_declares(
    web: Web, keep: Path
) -> None:
    bomb = gzip.compress(bytes(50 << 20))
    assert len(bomb) < 60_000
    web.answers |= {
        "declared": lambda handler: handler.send(200, b"", Content_Length=1 << 40),
        "chunks": chunks,
        "bomb": packed(bomb),
        "exact": lambda handler: handler.send(200, bytes(64 << 10)),
        "over": lambda handler: handler.send(200, bytes((64 << 10) + 1)),
    }
    names = ("declared", "chunks", "bomb", "exact", "over")
    limits = replace(OPEN, max_bytes=64 << 10)
    errors = [got.error for got in download(map(web.url, names), keep, limits)]
    refused = "larger than 65,536 bytes"
    assert errors == [refused, refused, refused, None, refused]
    assert len(kept(keep)) == 1
    larger = replace(OPEN, max_bytes=1 << 20)  # another limit is another answer
    errors = [got.error for got in download(map(web.url, names), keep, larger)]
    assert errors == ["larger than 1 MiB", None, "larger than 1 MiB", None, None]


def test_what_comes_packed_is_unpacked_and_damage_is_said(web: Web, keep: Path) -> None:
    body = gzip.compress(b"picture" * 20_000)
    web.answers |= {"good": packed(body), "cut": packed(body[:-9]), "bad": packed(b"picture")}
    good, short, bad = download(map(web.url, ("good", "cut", "bad")), keep, OPEN)
    assert good.path and good.path.read_bytes() == b"picture" * 20_000
    assert short.error == "sent packed and not to its end"
    assert bad.error == "sent packed and damaged"


def drip(handler: Handler) -> None:
    handler.send(200, Content_Length=1000)
    while True:
        handler.wfile.write(b"x")
        time.sleep(0.05)


def test_a_server_that_drips_is_given_up_in_time(web: Web, keep: Path) -> None:
    web.answers["drip"] = drip
    started = time.monotonic()
    got = one(web.url("drip"), keep, replace(OPEN, timeout=0.5, tries=2))
    assert got.error == "took longer than 0.5 s"
    assert time.monotonic() - started >= 1
    assert web.asked["/drip"] == 2


def test_a_server_that_answers_nobody_is_left_alone(web: Web, keep: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        urls = [f"http://127.0.0.1:{port}/{n}" for n in range(200)]
        reasons = Counter(got.error for got in download(urls, keep, OPEN))
    assert set(reasons) == {
        "no connection to the server",
        "its server answers nobody; run again to ask it",
    }
    assert reasons["no connection to the server"] < 30


def test_every_url_of_a_private_host_is_told_that_it_is_private(web: Web, keep: Path) -> None:
    urls = [web.url(str(number)) for number in range(60)]
    reasons = Counter(got.error for got in download(urls, keep, Limits()))
    assert reasons == {"refused: leads to a private address (127.0.0.1)": 60}
    assert not web.asked


@pytest.mark.parametrize(
    "answer",
    [b"", b"\0\xff\n\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
     b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n",
     b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe://\r\nContent-Length: 0\r\n\r\n",
     b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
     b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
     b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"],
)  # fmt: skip
def test_an_answer_that_makes_no_sense_is_one_failed_url(keep: Path, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        port = server.getsockname()[1]
        got = one(f"http://127.0.0.1:{port}/a", keep, replace(OPEN, timeout=2))
        server.shutdown(socket.SHUT_RDWR)
    assert got.error and got.path is None and "\n" not in got.error
    assert kept(keep) == []


def test_a_redirect_is_followed_but_not_for_ever(web: Web, keep: Path) -> None:
    def down(handler: Handler) -> None:
        left = int(handler.path.rsplit("/", 1)[1])
        handler.send(302, Location=f"/down/{left - 1}") if left else whole(handler)

    web.answers["down"] = down
    near, far = download([web.url("down/5"), web.url("down/6")], keep, OPEN)
    assert near.path and near.path.read_bytes() == b"/down/0"
    assert far.error == "redirected more than 5 times"


@pytest.mark.parametrize(
    "url",
    ["", "a.jpg", "ftp://example.org/a", "file:///etc/passwd", "http://", "http:///a", "http://[::1",
     "http://a:b/c", "http://a:99999/c", "javascript:1", "http://a/\n", "http://a/\ud800"],
)  # fmt: skip
def test_what_is_no_web_address_is_never_asked_for(keep: Path, url: str) -> None:
    assert one(url, keep).error == fault(url) == "not a URL"


def test_a_url_with_a_password_is_refused_and_the_password_not_written_down(
    web: Web, keep: Path
) -> None:
    got = one(web.url("a").replace("://", "://ann:secret@"), keep)
    assert got.error and "secret" not in got.error
    assert not web.asked
    assert b"secret" not in (keep / "index.sqlite").read_bytes()
    web.answers["go"] = lambda handler: handler.send(
        302, Location=web.url("b").replace("://", "://ann:secret@")
    )
    assert one(web.url("go"), keep).error is None
    assert not [seen for seen in web.headers_seen if "Authorization" in seen]


# -- kills, full disks, impatience -----------------------------------------------------------------

RUN = """
import sys
from pathlib import Path
from embeddings.downloads import Limits, download
limits = Limits(private=True, per_host=8)
urls = [f"{sys.argv[1]}{n}" for n in range(int(sys.argv[3]))]
for got in download(urls, Path(sys.argv[2]), limits):
    print(got.url if got.error is None else got.error, flush=True)
"""


def runner(base: str, keep: Path, count: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", RUN, base, str(keep), str(count)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_run_loses_at_most_what_was_in_flight(web: Web, keep: Path) -> None:
    web.answers["p"] = lambda handler: (time.sleep(0.004), whole(handler))[0]
    for kill in range(3):
        child = runner(web.url("p/"), keep, 600)
        while len(web.asked) < 150 * (kill + 1):
            time.sleep(0.005)
        child.kill()
        child.communicate()
    assert list(keep.glob(".partial-*"))
    there = {path.read_bytes().decode() for path in kept(keep)}
    before = Counter(web.asked)
    assert 300 < len(there) < 600
    results = list(download([web.url(f"p/{n}") for n in range(600)], keep, OPEN))
    assert [got.error for got in results] == [None] * 600
    assert len(kept(keep)) == 600
    again = {path for path in there if web.asked[path] > before[path]}
    assert len(again) <= 3 * 8  # between the file's name and the note about it
    assert sum(web.asked.values()) <= 600 + 3 * 8
    assert not list(keep.glob(".partial-*")), "what was left behind is swept up"


def test_the_unfinished_files_of_a_run_that_lives_are_left_alone(web: Web, keep: Path) -> None:
    waits = threading.Event()
    web.answers["wait"] = lambda handler: (waits.wait(5), whole(handler))[0]
    results = download([web.url("a"), web.url("wait")], keep, replace(OPEN, per_host=1))
    next(results)
    assert one(web.url("b"), keep).error is None
    assert len(list(keep.glob(".partial-*"))) == 1
    waits.set()
    assert [got.error for got in results] == [None]
    assert not list(keep.glob(".partial-*"))


def test_a_run_that_is_left_early_ends_at_once(web: Web, keep: Path) -> None:
    waits = threading.Event()
    web.answers["wait"] = lambda handler: (waits.wait(300), whole(handler))[0]
    results = download([web.url("a"), web.url("wait")], keep, replace(OPEN, timeout=300))
    next(results)
    started = time.monotonic()
    results.close()
    waits.set()
    assert time.monotonic() - started < 60, "the server was still to answer"
    assert not list(keep.glob(".partial-*"))


def test_ctrl_c_ends_a_run_at_once(web: Web, keep: Path) -> None:
    waits = threading.Event()
    web.answers["wait"] = lambda handler: waits.wait(30)
    child = runner(web.url("wait/"), keep, 5)
    while not web.asked:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=30)
    waits.set()
    assert "KeyboardInterrupt" in errors


@pytest.mark.parametrize("damage", [b"no database at all" * 100, None])
def test_a_folder_that_cannot_be_used_is_a_plain_error(keep: Path, damage: bytes | None) -> None:
    if damage:
        keep.mkdir()
        (keep / "index.sqlite").write_bytes(damage)
    else:
        keep.write_text("a file in the way")
    with pytest.raises(CurationError, match=r"is damaged; delete it|cannot be written"):
        one("http://127.0.0.1:9/", keep)


@pytest.fixture
def small_disk(tmp_path: Path) -> list[str]:
    """The command that runs its arguments with a 3 MB disk mounted on tmp_path/disk."""
    (tmp_path / "disk").mkdir()
    mount = 'mount -t tmpfs -o size=3m none "$0" && exec "$@"'
    for prefix in (["unshare", "-rm"], ["unshare", "-m"]):  # the mount ends with its process
        command = [*prefix, "sh", "-c", mount, str(tmp_path / "disk")]
        if shutil.which("unshare") and shutil.which("mount"):
            done = subprocess.run([*command, "true"], check=False, capture_output=True)
            if done.returncode == 0:
                return command
    pytest.skip("a small disk needs root or user namespaces, and this machine gives neither")


FILL = """
import sys
from pathlib import Path
from embeddings.downloads import Limits, download
from embeddings.errors import CurationError
keep, limits = Path(sys.argv[2]), Limits(private=True)
urls = [f"{sys.argv[1]}{n}" for n in range(100)]
(keep / "ballast").write_bytes(bytes(1 << 20))
try:
    print(sum(got.error is None for got in download(urls, keep, limits)))
except CurationError as error:
    print(error)
print(len(list(keep.glob("??/*"))), len(list(keep.glob(".partial-*"))))
(keep / "ballast").unlink()
few = sum(1 for path in keep.glob("??/*"))
print([got.error for got in download(urls[:30], keep, limits)].count(None))
"""


def test_a_full_disk_is_a_plain_error_and_what_is_there_stays(
    small_disk: list[str], web: Web, tmp_path: Path
) -> None:
    web.answers["p"] = lambda handler: handler.send(200, handler.path.encode().ljust(50_000))
    run = [*small_disk, sys.executable, "-c", FILL, web.url("p/"), str(tmp_path / "disk")]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    refusal, count, resumed = done.stdout.splitlines()
    assert "is full; free some space and run again" in refusal
    assert 10 < int(count.split()[0]) < 45 and count.split()[1] == "0"
    assert resumed == "30"


def test_memory_does_not_grow_with_the_count(keep: Path) -> None:
    import tracemalloc

    def peak(count: int) -> int:
        tracemalloc.start()
        for _ in download((f"{n}" for n in range(count)), keep, OPEN):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few = peak(2_000)
    assert peak(20_000) < few + 200_000


def test_no_more_is_looked_ahead_than_the_window_holds(
    web: Web, keep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embeddings.downloads.WINDOW", 20)
    pulled: list[str] = []

    def urls() -> Iterator[str]:
        for n in range(200):
            pulled.append(web.url(f"{n}"))
            yield pulled[-1]

    for given, got in enumerate(download(urls(), keep, OPEN)):
        assert got.error is None
        assert len(pulled) - given <= 20


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(CurationError, match="per_host must be above 0, got 0"):
        Limits(per_host=0)
