"""LightlyStudio and Renumics Spotlight, where they install: drawing and panning the same items.

Each gets an environment of its own below a temporary folder; nothing of this project imports them.
Sizes are tried in order, up to the first that a peer does not survive: its row says why.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Error, Page

from benchmarks import scenery
from benchmarks.browser import Browser, playwright
from benchmarks.map_browser import Button, panned
from benchmarks.sources import ROOT, Absent

INSTALL_SECONDS = 900
START_SECONDS = 900  # to read the items and answer
DRAW_SECONDS = 300
# Spotlight draws its dots with the 2-D canvas: counted as the watched calls of WebGL are.
CANVAS = """
(() => {
  const { clearRect, arc } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.clearRect = function (...words) {
    bench.draws++;
    return clearRect.apply(this, words);
  };
  CanvasRenderingContext2D.prototype.arc = function (...words) {
    bench.dots++;
    return arc.apply(this, words);
  };
})();
"""


@dataclass(frozen=True)
class Peer:
    """One peer: its package, what pip is told beside it, and how its page is used.

    `script` runs before those of its page, `buttons` stand before its plot, and `button` of the
    mouse moves it.
    """

    name: str
    version: str
    beside: tuple[str, ...] = ()
    buttons: tuple[str, ...] = ()
    script: str = ""
    button: Button = "left"
    note: str = ""

    def open(self, page: Page, n: int) -> None:
        """Come to the plot, and wait until all `n` items are drawn."""
        for name in self.buttons:
            page.get_by_text(name, exact=True).click(timeout=1000 * DRAW_SECONDS)
        page.wait_for_function(f"bench.dots >= {n}", timeout=1000 * DRAW_SECONDS)

    def box(self, page: Page) -> tuple[float, float, float, float]:
        """Return where its plot is: left, top, width, height in pixels."""
        found = page.locator("canvas").last.bounding_box()
        assert found is not None  # it has just been drawn
        return found["x"], found["y"], found["width"], found["height"]


PEERS = (
    # 1.7.1 answers with a TypeError beside a newer fastapi, which it allows
    Peer("renumics-spotlight", "1.7.1", ("fastapi<0.116",), script=CANVAS, button="middle"),
    Peer(  # a tour stands before it
        "lightly-studio",
        "1.2.0",
        buttons=("Dismiss", "Embed"),
        note="it lays the items out anew",
    ),
)


def run(counts: list[int]) -> list[dict[str, Any]]:
    """Return one row for each peer and size, up to the first that it does not survive."""
    with tempfile.TemporaryDirectory(prefix="bench-map-peers-") as folder:
        scratch = Path(folder)
        for n in counts:
            _write(n, scratch)
        return [row for peer in PEERS for row in _rows(peer, counts, scratch)]


def _write(n: int, scratch: Path) -> None:
    atlas = scenery.synthetic_atlas(n)
    picture = np.frombuffer(scenery.pictures()[0], np.uint8)
    x, y = atlas.xy.T
    np.savez(scratch / f"{n}.npz", x=x, y=y, cluster=atlas.cluster, picture=picture)


def _rows(peer: Peer, counts: list[int], scratch: Path) -> Iterator[dict[str, Any]]:
    trouble = _installed(peer, scratch)
    for n in counts:
        found = {"note": trouble} if trouble else _measured(peer, n, scratch)
        names = ("ready_s", "first_draw_s", "CPU s", "memory_mb", "pan_step_ms", "pan_cpu_ms")
        row = {name: found.get(name) for name in (*names, "pan_frame_ms", "note")}
        yield {"items": n, "who": peer.name, "version": peer.version, **row}
        if "first_draw_s" not in found:
            return


def _installed(peer: Peer, scratch: Path) -> str:
    """Install one peer; return why it cannot be had, or nothing."""
    home = scratch / peer.name
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "-q"]
    # the torch that is tested here: another would bring gigabytes of CUDA
    words = [f"{peer.name}=={peer.version}", f"torch=={version('torch').partition('+')[0]}"]
    problem = ""
    for pins in (["-c", str(ROOT / "constraints.txt")], []):
        try:
            told = subprocess.run(
                [*pip, *pins, *words, *peer.beside],
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return f"pip did not install it in {INSTALL_SECONDS} s"
        if told.returncode == 0:
            return ""
        lines = [line for line in told.stderr.splitlines() if line.startswith("ERROR")]
        problem = f"pip cannot install it: {(lines or ['no reason given'])[-1][:160]}"
    return problem


def _measured(peer: Peer, n: int, scratch: Path) -> dict[str, Any]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url, log = f"http://127.0.0.1:{port}/", scratch / f"{peer.name}-{n}.log"
    started = time.perf_counter()
    with _served(peer, n, scratch, port, log) as process:
        if not _answers(process, url):
            if process.poll() is None:
                return {"note": f"its server does not answer in {START_SECONDS} s{_last(log)}"}
            return {"note": f"its server ended with {process.returncode}{_last(log)}"}
        ready = round(time.perf_counter() - started, 1)
        found = {"ready_s": ready, **_drawn(peer, n, url)}
        if process.poll() is not None:
            found["note"] += f"; its server ended with {process.returncode}{_last(log)}"
        return found


@contextmanager
def _served(
    peer: Peer, n: int, scratch: Path, port: int, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    child = ROOT / "benchmarks" / "map_peer_child.py"
    words = [str(scratch / peer.name / "bin" / "python"), str(child), peer.name, str(n)]
    env = {**os.environ, "HOME": str(scratch / "home")}
    with log.open("wb") as told:
        process = subprocess.Popen(
            [*words, str(scratch), str(port)],
            cwd=scratch,
            env=env,
            stdout=told,
            stderr=told,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # its own session: it and what it started
            process.wait()


def _last(log: Path) -> str:
    """Return the last line that a server wrote, as the end of a note."""
    lines = log.read_text("utf-8", "replace").replace("\r", "\n").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return f"; its last words: {said[-1][:160]}" if said else ""


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    until = time.perf_counter() + START_SECONDS
    while time.perf_counter() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return True
        except OSError:
            time.sleep(0.2)
    return False


def _drawn(peer: Peer, n: int, url: str) -> dict[str, Any]:
    """Return how the items were drawn and moved; a note in the place of what did not come."""
    found: dict[str, Any] = {"note": peer.note}
    try:
        with playwright() as driver, Browser(driver, peer.script) as browser:
            started = time.perf_counter()
            browser.page.goto(url)
            peer.open(browser.page, n)
            browser.page.evaluate("bench.frame()")
            found["first_draw_s"] = round(time.perf_counter() - started, 2)
            found["CPU s"] = round(browser.cpu() - browser.blank_cpu, 2)
            browser.rest()
            found["memory_mb"] = round((browser.memory() - browser.blank_memory) / 1e6, 1)
            found |= panned(browser, peer.box(browser.page), peer.button)
    except (Absent, Error) as error:
        step = "panning" if "memory_mb" in found else "drawing"
        found["note"] = f"no {step}: {str(error).splitlines()[0][:160]}"
    return found
