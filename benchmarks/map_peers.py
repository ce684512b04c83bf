"""LightlyStudio and Renumics Spotlight, where they install: how long until they draw the items.

Each gets an environment of its own below a temporary folder; nothing of this project imports them.
What they are asked for is the least: places are given, and only the first drawing is timed.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Error

from benchmarks import scenery
from benchmarks.browser import Browser, playwright
from benchmarks.sources import ROOT, Absent

PEERS = {"renumics-spotlight": "1.7.1", "lightly-studio": "1.2.0"}
# 1.7.1 answers with a TypeError beside a newer fastapi, which it allows
BESIDE = {"renumics-spotlight": ["fastapi<0.116"]}
INSTALL_SECONDS = 600
START_SECONDS = 300  # to read the items and answer
DRAW_SECONDS = 180


def run(counts: list[int]) -> list[dict[str, Any]]:
    """Return one row for each peer and size; where it gets no further, the row says where."""
    with tempfile.TemporaryDirectory(prefix="bench-map-peers-") as folder:
        scratch = Path(folder)
        for n in counts:
            _write(n, scratch)
        return [row for name in PEERS for row in _peer(name, counts, scratch)]


def _write(n: int, scratch: Path) -> None:
    atlas = scenery.synthetic_atlas(n)
    picture = np.frombuffer(scenery.pictures()[0], np.uint8)
    x, y = atlas.xy.T
    np.savez(scratch / f"{n}.npz", x=x, y=y, cluster=atlas.cluster, picture=picture)


def _peer(name: str, counts: list[int], scratch: Path) -> list[dict[str, Any]]:
    reason = _installed(name, scratch)
    rows = []
    for n in counts:
        row: dict[str, Any] = {"items": n, "who": name, "version": PEERS[name]}
        row |= {"ready_s": None, "first_draw_s": None, "CPU s": None, "memory_mb": None}
        rows.append({**row, **({} if reason else _measured(name, n, scratch))})
        rows[-1].setdefault("note", reason)
    return rows


def _installed(name: str, scratch: Path) -> str:
    """Install one peer; return why it cannot be had, or nothing."""
    home = scratch / name
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "-q"]
    # the torch that is tested here: another would bring gigabytes of CUDA
    words = [f"{name}=={PEERS[name]}", f"torch=={version('torch').partition('+')[0]}"]
    words += BESIDE.get(name, [])
    problem = ""
    for pins in (["-c", str(ROOT / "constraints.txt")], []):
        try:
            told = subprocess.run(
                [*pip, *pins, *words], capture_output=True, text=True, timeout=INSTALL_SECONDS
            )
        except subprocess.TimeoutExpired:
            return f"pip did not install it in {INSTALL_SECONDS} s"
        if told.returncode == 0:
            return ""
        lines = [line for line in told.stderr.splitlines() if line.startswith("ERROR")]
        problem = f"pip cannot install it: {(lines or ['no reason given'])[-1][:160]}"
    return problem


def _measured(name: str, n: int, scratch: Path) -> dict[str, Any]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    child = ROOT / "benchmarks" / "map_peer_child.py"
    words = [str(scratch / name / "bin" / "python"), str(child), name, str(n), str(scratch)]
    started = time.perf_counter()
    env = {**os.environ, "HOME": str(scratch / "home")}
    process = subprocess.Popen(
        [*words, str(port)], cwd=scratch, env=env, stdout=sys.stderr, start_new_session=True
    )
    try:
        if not _answers(process, f"http://127.0.0.1:{port}/"):
            return {"note": f"its server does not answer in {START_SECONDS} s, or ended"}
        ready = round(time.perf_counter() - started, 1)
        return {"ready_s": ready, **_drawn(name, f"http://127.0.0.1:{port}/")}
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its own session: it and the workers it started
        process.wait()


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    until = time.perf_counter() + START_SECONDS
    while time.perf_counter() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return True
        except OSError:
            time.sleep(0.2)
    return False


def _drawn(name: str, url: str) -> dict[str, Any]:
    try:
        with playwright() as driver, Browser(driver) as browser:
            started = time.perf_counter()
            browser.page.goto(url)
            note = OPENED[name](browser)
            browser.page.evaluate("bench.frame()")
            found = {
                "first_draw_s": round(time.perf_counter() - started, 2),
                "CPU s": round(browser.cpu() - browser.blank_cpu, 2),
            }
            browser.rest()
            memory = round((browser.memory() - browser.blank_memory) / 1e6, 1)
            return {**found, "memory_mb": memory, "note": note}
    except (Absent, Error) as error:
        return {"note": f"no drawing: {str(error).splitlines()[0][:160]}"}


def _spotlight(browser: Browser) -> str:
    """Its page shows the plot that its layout names; no WebGL call of the page tells when."""
    browser.page.wait_for_selector("canvas", timeout=1000 * DRAW_SECONDS)
    browser.rest(DRAW_SECONDS)
    return "timed until its page came to rest"


def _lightly(browser: Browser) -> str:
    page = browser.page
    page.get_by_role("button", name="Dismiss").click(timeout=1000 * DRAW_SECONDS)  # a tour
    page.get_by_text("Embed", exact=True).click()
    page.wait_for_function("bench.draws > 0", timeout=1000 * DRAW_SECONDS)
    return "it lays the items out anew"


OPENED = {"renumics-spotlight": _spotlight, "lightly-studio": _lightly}
