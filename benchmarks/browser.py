"""Chromium from outside: its processor time and memory, what it sent, and how long a frame took."""

import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from playwright.sync_api import Page, Playwright, sync_playwright

from benchmarks.sources import Absent

FLAGS = (
    "--headless=new --no-sandbox --use-gl=angle --use-angle=swiftshader "
    "--enable-unsafe-swiftshader --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
WINDOW = {"width": 1500, "height": 950}
TICK = os.sysconf("SC_CLK_TCK")
QUIET = 0.25  # seconds with less than a tenth of a core: the page has come to rest
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)

# Runs before any script of a page. Counting in the page costs nothing that is worth telling;
# the debugger's own counting would copy every message, and Plotly's are megabytes.
WATCH = """
(() => {
  const size = (data) => data.byteLength ?? data.size ?? data.length;
  const bench = { sent: 0, received: 0, largest: 0, dots: 0, draws: 0 };
  window.bench = bench;
  performance.setResourceTimingBufferSize(5000);
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    bench.sent += size(data);
    return send.call(this, data);
  };
  window.WebSocket = class extends WebSocket {
    constructor(...words) {
      super(...words);
      this.addEventListener('message', ({ data }) => {
        bench.received += size(data);
        bench.largest = Math.max(bench.largest, size(data));
      });
    }
  };
  for (const Kind of [WebGLRenderingContext, WebGL2RenderingContext]) {
    for (const [name, at] of [
      ['drawArrays', 2], ['drawElements', 1],
      ['drawArraysInstanced', 2], ['drawElementsInstanced', 1],
    ]) {
      const draw = Kind.prototype[name];
      if (!draw) continue;
      Kind.prototype[name] = function (...words) {
        if (words[0] === this.POINTS) bench.dots += words[at];
        bench.draws++;
        return draw.apply(this, words);
      };
    }
  }
  const later = requestAnimationFrame;
  bench.frame = () => new Promise((done) => later(() => later(done)));
  // The times of the frames before which something was drawn: the others cost nothing.
  bench.record = () => {
    bench.times = [];
    let drawn = bench.draws;
    const step = (time) => {
      if (!bench.times) return;
      if (bench.draws !== drawn) bench.times.push(time);
      drawn = bench.draws;
      later(step);
    };
    later(step);
  };
  bench.recorded = () => {
    const { times } = bench;
    bench.times = null;
    return times.slice(1).map((time, at) => time - times[at]);
  };
  // From the next release of the pointer until `test` holds, asked at each change of the page,
  // and until that is on the screen.
  bench.arm = (test, root = document.body) => {
    bench.took = null;
    const up = () => {
      const started = performance.now();
      const look = async () => {
        if (!test()) return;
        watch.disconnect();
        await bench.frame();
        bench.took = performance.now() - started;
      };
      const watch = new MutationObserver(look);
      const all = { subtree: true, childList: true, characterData: true, attributes: true };
      watch.observe(root, all);
    };
    addEventListener('pointerup', up, { once: true, capture: true });
  };
})();
"""


class Browser:
    """One Chromium with an empty profile, and one page in it.

    `page` is blank at first; `blank_cpu` (seconds) and `blank_memory` (bytes) are of that moment.
    """

    def __init__(self, playwright: Playwright, script: str = "") -> None:
        path = shutil.which("chromium")
        if path is None:
            raise Absent("chromium is not installed: apt-get install chromium")
        self._folder = tempfile.TemporaryDirectory(prefix="bench-browser-")
        self._context = playwright.chromium.launch_persistent_context(
            self._folder.name, executable_path=path, args=FLAGS, headless=True, viewport=WINDOW
        )
        self._context.add_init_script(WATCH + script)
        self.main = _main_process(self._folder.name)
        self.page = self._context.pages[0]
        self.page.goto("about:blank")
        self.rest()
        self.blank_cpu, self.blank_memory = self.cpu(), self.memory()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._context.close()
        self._folder.cleanup()

    def cpu(self) -> float:
        """Return the seconds that all its processes have run, those that have ended too."""
        return sum(ticks for _, ticks in _tree(self.main)) / TICK

    def memory(self) -> int:
        """Return the proportional set size of its page and graphics processes, in bytes."""
        return sum(_pss(pid) for pid, _ in _tree(self.main) if _draws(pid))

    def rest(self, most: float = 8.0) -> None:
        """Wait until hardly anything runs, at most `most` seconds."""
        until = time.perf_counter() + most
        while time.perf_counter() < until:
            before = self.cpu()
            time.sleep(QUIET)
            if self.cpu() - before < QUIET / 10:
                return

    def other_page(self) -> Page:
        """Return another page of the same profile: it has what the first one has cached."""
        return self._context.new_page()


def playwright() -> Any:
    """Return the context in which browsers can be started."""
    return sync_playwright()


def _main_process(folder: str) -> int:
    for entry in Path("/proc").iterdir():
        words = _words(entry.name) if entry.name.isdigit() else []
        if f"--user-data-dir={folder}" in words and not any("--type=" in word for word in words):
            return int(entry.name)
    raise RuntimeError(f"no browser uses {folder}")


def _words(pid: int | str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return []


def _draws(pid: int) -> bool:
    line = " ".join(_words(pid))  # some processes write their words with spaces between
    return "--type=renderer" in line or "--type=gpu-process" in line


def _stat(pid: int | str) -> tuple[int, int] | None:
    """Return the parent of a process, and the ticks that it and its ended children ran."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    found = text.rpartition(")")[2].split()
    return int(found[1]), sum(int(ticks) for ticks in found[11:15])


def _tree(main: int) -> list[tuple[int, int]]:
    """Return the process `main` and all below it, each with its ticks."""
    known = {int(entry.name): _stat(entry.name) for entry in Path("/proc").iterdir()
             if entry.name.isdigit()}  # fmt: skip
    below: dict[int, list[int]] = {}
    for pid, stat in known.items():
        if stat is not None:
            below.setdefault(stat[0], []).append(pid)
    found, waiting = [], [main]
    while waiting:
        pid = waiting.pop()
        stat = known.get(pid)
        if stat is not None:
            found.append((pid, stat[1]))
            waiting += below.get(pid, [])
    return found


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = _PSS.search(text)
    return int(found[1]) * 1024 if found else 0
