"""The pages that are compared, and how each is used: the only place that knows their insides."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from playwright.sync_api import Page

from benchmarks.sources import ROOT

LASSO, PAN = "lasso", "pan"
PATIENCE = 60_000  # milliseconds until a page has not answered
HEADLINE = (
    "[...document.querySelectorAll('h5')].map((h) => h.textContent)"
    ".find((text) => /^[\\d,]+ selected/.test(text)) ?? ''"
)


class Server:
    """A server of its own process and free port, until the end of ``with``."""

    def __init__(self, words: list[str], env: dict[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, *(word.replace("PORT", str(port)) for word in words)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **env}, stdout=sys.stderr, stderr=sys.stderr
        )
        self._come_up()

    def _come_up(self) -> None:
        for _ in range(600):
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended with {self._process.returncode}")
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        self.__exit__(None, None, None)
        raise RuntimeError("the server did not come up in a minute")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def our_server(home: Path, name: str) -> Server:
    """Serve the datasets below `home` as a curator does."""
    words = ["-m", "curation.cli", "serve", "-d", name, "--no-browser", "--port", "PORT"]
    return Server(words, {"CURATE_HOME": str(home)})


def peer_server(atlases: Path) -> Server:
    """Serve the peer's page with the same settings of Streamlit as ours."""
    from curation.settings import server_flags

    app = ROOT / "benchmarks" / "map_host.py"
    port = "--server.port="
    flags = [flag.split("=")[0] + "=PORT" if flag.startswith(port) else flag
             for flag in server_flags("127.0.0.1", 0, browser=False)]  # fmt: skip
    words = ["-m", "streamlit", "run", str(app), *flags]
    return Server(words, {"BENCH_ATLASES": str(atlases)})


@dataclass(frozen=True)
class Ours:
    """The Map page of Curation Atlas."""

    server: str
    name: str
    items: int
    atlas: str = ""  # a version; else the newest
    solid: str = ""  # the version in three dimensions
    who = "curation-atlas"
    root = ".atlas-map"

    @property
    def address(self) -> str:
        """Return where the page is."""
        atlas = f"&atlas={self.atlas}" if self.atlas else ""
        return f"{self.server}/?dataset={self.name}{atlas}"

    def open(self, page: Page, patience: float = PATIENCE) -> None:
        """Go there and wait until every point is drawn, as of the others."""
        page.goto(self.address)
        drawn = f"{self.root}[data-points='{self.items}'][data-drawn='{self.items}']"
        page.wait_for_selector(drawn, timeout=patience)

    def ready(self, page: Page, patience: float = PATIENCE) -> None:
        """Wait until the panels are there too, and one can work."""
        page.wait_for_selector(f"{self.root}[data-ready='true']", timeout=patience)

    def box(self, page: Page) -> tuple[float, float, float, float]:
        """Return where the map is free of panels: left, top, width, height in pixels."""
        x, y, width, height = _box(page, self.root)
        insets = page.locator(self.root).evaluate("root => root.atlasMap.insets")
        return (
            x + insets["left"],
            y + insets["top"],
            width - insets["left"] - insets["right"],
            height - insets["top"] - insets["bottom"],
        )

    def take(self, page: Page, tool: str) -> None:
        """Choose a tool, as a curator does: by its key."""
        page.locator(self.root).focus()
        page.keyboard.press({LASSO: "l", PAN: "p"}[tool])
        page.locator(f"{self.root}[data-tool='{tool}']").wait_for()

    def arrange(self, page: Page, layout: str) -> None:
        """Choose a layout, and wait until every item is in its place."""
        if layout == "by":
            page.get_by_label("Columns by a field").select_option("cluster")
        else:
            page.locator(self.root).focus()
            page.keyboard.press({"map": "m", "grid": "g", "orbit": "o"}[layout])
        there = f"{self.root}[data-layout='{layout}']:not([data-arranging])"
        page.wait_for_selector(f"{there}[data-drawn='{self.items}']", timeout=PATIENCE)

    def clear(self, page: Page) -> None:
        """Select nothing."""
        page.locator(self.root).focus()
        page.keyboard.press("Escape")

    def points_bytes(self, page: Page) -> int:
        """Return how many bytes of points came over the wire."""
        return int(page.evaluate(_TRANSFERRED, "/points/"))

    def prepare_label(self, page: Page) -> None:
        """Colour by label, and type one."""
        page.locator(f"{self.root} .legend select").first.select_option("category")
        page.locator(f"{self.root}[data-color='category']").wait_for()
        field = page.get_by_role("combobox", name="Label").first
        field.click()
        field.fill("bench")
        page.keyboard.press("Enter")
        page.locator(".st-key-act-label button:enabled").wait_for()
        page.wait_for_timeout(300)  # the run of the script that Enter began

    def arm_label(self, page: Page) -> None:
        """Wait for colours newer than the map shows now."""
        page.locator(self.root).evaluate(
            """root => { const before = Number(root.dataset.head);
            window.bench.arm(() => Number(root.dataset.head) > before, root); }"""
        )

    def press_label(self, page: Page) -> None:
        """Press the button that labels."""
        page.locator(".st-key-act-label button").click()

    def undo(self, page: Page) -> None:
        """Take the label back, so that the next visit finds what this one found."""
        head = int(page.locator(self.root).get_attribute("data-head") or 0)
        page.locator(".st-key-act-undo button").first.click()
        page.locator(f"{self.root}[data-head='{head + 1}']").wait_for()


@dataclass(frozen=True)
class Alone(Ours):
    """Our map in the place of the chart: like beside like, without the rest of our page."""

    who = "our map alone"

    @property
    def address(self) -> str:
        """Return where the page is."""
        return f"{self.server}/?map={self.items}"


@dataclass(frozen=True)
class Plotly:
    """`st.plotly_chart(..., on_select="rerun")` in an app of its own."""

    server: str
    items: int
    who = "st.plotly_chart"
    root = ".js-plotly-plot"

    def open(self, page: Page, patience: float = PATIENCE) -> None:
        """Go there and wait until WebGL has drawn points."""
        page.goto(f"{self.server}/?n={self.items}")
        page.wait_for_function("window.bench.dots > 0", timeout=patience)

    def ready(self, page: Page, patience: float = PATIENCE) -> None:
        """Wait until one can work: its mode bar comes with the points."""
        page.wait_for_selector(f"{self.root} .modebar-btn", state="attached", timeout=patience)

    def box(self, page: Page) -> tuple[float, float, float, float]:
        """Return where the plot is: left, top, width, height in pixels."""
        return _box(page, f"{self.root} .nsewdrag")

    def take(self, page: Page, tool: str) -> None:
        """Choose a tool of the mode bar."""
        title = {LASSO: "Lasso Select", PAN: "Pan"}[tool]
        page.locator(self.root).hover()
        page.locator(f"{self.root} .modebar-btn[data-title='{title}']").click()

    def clear(self, page: Page) -> None:
        """Select nothing: a double click does."""
        left, top, _, _ = self.box(page)
        page.mouse.dblclick(left + 5, top + 5)

    def points_bytes(self, page: Page) -> int:
        """Return the largest message that came: the figure."""
        return int(page.evaluate("window.bench.largest"))


@dataclass(frozen=True)
class Empty:
    """The least a map can be: fetch the same bytes, draw them once."""

    server: str
    address: str
    items: int
    streamlit: bool

    @property
    def who(self) -> str:
        """Return what it is called in the table."""
        return f"empty WebGL page{' in Streamlit' if self.streamlit else ''}"

    def open(self, page: Page, patience: float = PATIENCE) -> None:
        """Go there and wait until the points are drawn."""
        if self.streamlit:
            page.goto(f"{self.server}/?points={self.items}")
        else:
            page.goto(f"{self.server}/_stcore/health")
            page.evaluate(_EMPTY_PAGE, self.address)
        page.wait_for_function("window.bench.dots > 0", timeout=patience)

    def click(self, page: Page) -> None:
        """Send what a lasso sends; the page's headline answers."""
        page.locator("canvas").click()


Subject = Ours | Plotly


def _box(page: Page, selector: str) -> tuple[float, float, float, float]:
    found: Any = page.locator(selector).first.bounding_box()
    return found["x"], found["y"], found["width"], found["height"]


_TRANSFERRED = """(part) => performance.getEntriesByType('resource')
  .filter(({ name }) => name.includes(part))
  .reduce((sum, { transferSize }) => sum + transferSize, 0)"""
_EMPTY_PAGE = """(url) => {
  const canvas = document.createElement('canvas');
  canvas.style.cssText = 'width: 900px; height: 720px';
  document.body.replaceChildren(canvas);
  window.bench.empty(canvas, url);
}"""

# Added to what runs before a page's own scripts.
EMPTY = """
window.bench.empty = async (canvas, url) => {
  const bytes = await (await fetch(url)).arrayBuffer();
  const length = new DataView(bytes).getUint32(8, true);
  const { columns } = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 16, length)));
  const values = (wanted) => {
    const found = columns.find(({ name }) => name === wanted);
    return new Uint16Array(bytes, 16 + length + found.at, found.length);
  };
  canvas.width = canvas.clientWidth;
  canvas.height = canvas.clientHeight;
  const gl = canvas.getContext('webgl2', { antialias: false });
  const program = gl.createProgram();
  const sources = [
    [gl.VERTEX_SHADER, `#version 300 es
      layout(location = 0) in float x; layout(location = 1) in float y;
      layout(location = 2) in float cluster; out vec3 color;
      void main() {
        gl_Position = vec4(2.0 * x - 1.0, 2.0 * y - 1.0, 0.0, 1.0); gl_PointSize = 3.0;
        color = 0.5 + 0.4 * cos(cluster * vec3(1.0, 2.0, 3.0));
      }`],
    [gl.FRAGMENT_SHADER, `#version 300 es
      precision mediump float; in vec3 color; out vec4 result;
      void main() { result = vec4(color, 1.0); }`],
  ];
  for (const [kind, text] of sources) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  gl.viewport(0, 0, canvas.width, canvas.height);
  for (const [place, name] of ['x', 'y', 'cluster'].entries()) {
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, values(name), gl.STATIC_DRAW);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, 1, gl.UNSIGNED_SHORT, name !== 'cluster', 0, 0);
  }
  gl.drawArrays(gl.POINTS, 0, values('x').length);
};
"""
