"""The map in a real JupyterLab: shown, drawn on, labelled with, and followed by others."""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from map_site import MAP, even_odd, near, rgb, wire_index
from playwright.sync_api import Locator, Page, expect

from curation.viewer import payload
from curation.workspace import Workspace
from embeddings.schema import Atlas

pytestmark = pytest.mark.browser
PATIENCE = 30_000  # milliseconds: the machine is shared
CELLS = (
    'import curation\nm = curation.open("digits").map(height=420)\nm',
    'print(len(m.selection), "selected,", m.selected_count, "counted")',
    'print("labelled", m.label("seven").n_items); m.color_by = "category"',
    "m",
    'm.select("cluster:1"); print("done")',
)
QUIET = (  # nothing is asked of another machine
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)


class Lab:
    """JupyterLab as a process of its own, on this machine only, with folders of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = secrets.token_hex(16)
        self.folder = folder / "notebooks"
        self.folder.mkdir()
        (self.folder / "map.ipynb").write_text(json.dumps(notebook(CELLS)))
        news = folder / "settings" / "@jupyterlab" / "apputils-extension"
        news.mkdir(parents=True)
        (news / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
        own = {
            name: str(folder / name.lower())
            for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
        }
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", *QUIET]
        command += [f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0"]
        command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={self.folder}"]
        command += [f"--IdentityProvider.token={self.token}"]
        own["JUPYTERLAB_SETTINGS_DIR"] = str(folder / "settings")
        env = {**os.environ, **own, "IPYTHONDIR": str(folder / "ipython")}
        self.log = (folder / "lab.log").open("w")
        self.process = subprocess.Popen(command, env=env, stdout=self.log, stderr=subprocess.STDOUT)
        try:
            self.wait()
        except BaseException:
            self.stop()
            raise

    def wait(self) -> None:
        for _ in range(300):
            if self.process.poll() is not None:
                raise AssertionError(f"JupyterLab ended: {Path(self.log.name).read_text()}")
            try:
                with urllib.request.urlopen(f"{self.url}/api?token={self.token}", timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("JupyterLab did not come up")

    def stop(self) -> None:
        """End the server and every kernel, whatever state they are in."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for left in psutil.wait_procs(family, timeout=5)[1]:
            left.kill()
        self.log.close()


def notebook(sources: tuple[str, ...]) -> dict:
    cells = [
        {
            "cell_type": "code",
            "id": f"cell{at}",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": source,
        }
        for at, source in enumerate(sources)
    ]
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def lab(digits: str, tmp_path: Path) -> Iterator[Lab]:
    running = Lab(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def desk(browser, lab: Lab) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1300, "height": 1000}, reduced_motion="reduce")
    asked: list[str] = []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page.goto(f"{lab.url}/lab/tree/map.ipynb?token={lab.token}")
    # the editors are made anew until the kernel is there
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']")
    yield page
    context.close()
    away = [url for url in asked if not url.startswith((lab.url, "data:", "blob:"))]
    assert not away, f"the page asked another machine: {away}"


def cell(page: Page, at: int) -> Locator:
    return page.locator(".jp-Notebook .jp-CodeCell").nth(at)


def run(page: Page, at: int) -> Locator:
    """Run a cell; return its outputs."""
    editor = cell(page, at).locator(".cm-content")
    editor.click()  # scrolls, and asks anew where the editor was made anew meanwhile
    page.keyboard.press("Control+Enter")
    return cell(page, at).locator(".jp-OutputArea-output")


def lasso(page: Page, one: Locator, atlas: Atlas, cluster: int) -> set[str]:
    """Draw around the middle of a cluster; return the ids that NumPy finds inside."""
    items = [wire_index(atlas, int(row)) for row in atlas.members(cluster)]
    one.scroll_into_view_if_needed()
    points = np.array(
        one.evaluate(
            """(root, items) => { const { camera, places } = root.atlasMap;
            const { left, top } = root.querySelector('canvas').getBoundingClientRect();
            return items.map((i) => { const [x, y] = camera.toScreen(places.x[i], places.y[i]);
            return [x + left, y + top]; }); }""",
            items,
        )
    )
    middle, turn = np.median(points, axis=0), np.linspace(0, 2 * np.pi, 24)
    ring = middle + 40 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    before = int(one.get_attribute("data-seq") or 0)
    page.mouse.move(*ring[0])
    page.mouse.down()
    for x, y in ring[1:]:
        page.mouse.move(x, y)
    page.mouse.up()
    expect(one).to_have_attribute("data-seq", str(before + 1))
    drawn = one.evaluate("root => root.atlasMap.shape")
    rows = even_odd(payload.quantise(atlas.xy), drawn)
    return set(atlas.item_ids[sorted(rows)].tolist())


def pixel(one: Locator, item: int) -> list[int]:
    """The colour in the middle of an item, without its transparency."""
    red, green, blue, alpha = one.evaluate(
        """(root, item) => { const map = root.atlasMap; map.drawNow();
        const { gl, camera, dpr, places } = map; const rgba = new Uint8Array(4);
        const [x, y] = camera.toScreen(places.x[item], places.y[item]);
        gl.readPixels(Math.floor(x * dpr), Math.floor((camera.height - y) * dpr), 1, 1,
          gl.RGBA, gl.UNSIGNED_BYTE, rgba); return [...rgba]; }""",
        item,
    )
    return [min(255, value * 255 // max(1, alpha)) for value in (red, green, blue)]


def labelled(label: str) -> set[str]:
    """Read what stands in the journal with a workspace of this process."""
    workspace = Workspace("digits")
    return set(workspace.journal.item_ids(workspace.labels.items_with("category", label)).tolist())


def first_map(page: Page) -> Locator:
    """Run the first cell; return its map, ready, with the lasso in hand."""
    run(page, 0)
    shown = cell(page, 0).locator(f"{MAP}[data-ready='true']")
    shown.focus()
    page.keyboard.press("l")
    expect(shown).to_have_attribute("data-tool", "lasso")
    return shown


def test_the_map_in_a_notebook_labels_what_is_lassoed_and_shows_what_others_decide(
    desk: Page, lab: Lab
) -> None:
    atlas = Workspace("digits").atlas()
    shown = first_map(desk)
    expect(shown).to_have_attribute("data-points", str(len(atlas)))
    inside = lasso(desk, shown, atlas, 3)
    assert 5 < len(inside) < 1000
    said = f"{len(inside)} selected, {len(inside)} counted"
    expect(run(desk, 1)).to_contain_text(said)
    expect(run(desk, 2)).to_contain_text(f"labelled {len(inside)}")
    assert labelled("seven") == inside
    expect(shown).to_have_attribute("data-color", "category")

    # somebody else, in another process; no cell is run
    curate = [sys.executable, "-m", "curation.cli", "label", "cluster:0", "zero", "-d", "digits"]
    env = {**os.environ, "CURATE_USER": "somebody else"}
    subprocess.run([*curate, "--overwrite"], env=env, check=True, capture_output=True)
    expect(shown).to_have_attribute("data-head", "2")
    color = shown.evaluate(
        """root => { const { atlasMap } = root; atlasMap.clear();
        return atlasMap.column.legend.find(({ name }) => name === 'zero').color; }"""
    )
    items = [wire_index(atlas, int(row)) for row in atlas.members(0)[:40]]
    seen = [near(pixel(shown, item), rgb(color)) for item in items]
    assert sum(seen) > len(seen) / 2, "others' points may lie over a few of them"


def test_two_cells_and_a_page_that_is_loaded_again_show_one_selection(desk: Page, lab: Lab) -> None:
    atlas = Workspace("digits").atlas()
    shown = first_map(desk)
    cells = desk.locator(".jp-Notebook .jp-CodeCell").count()
    desk.keyboard.press("b")  # the map's own key: the notebook would insert a cell
    expect(shown).to_have_attribute("data-tool", "box")
    expect(shown).not_to_have_class(re.compile("dark"))
    assert desk.locator(".jp-Notebook .jp-CodeCell").count() == cells

    expect(run(desk, 4)).to_have_text("done")  # m.select("cluster:1")
    expect(shown).to_have_attribute("data-selected", str(len(atlas.members(1))))
    run(desk, 3)
    second = cell(desk, 3).locator(f"{MAP}[data-ready='true']")
    expect(second).to_have_attribute("data-selected", str(len(atlas.members(1))))
    second.focus()
    desk.keyboard.press("l")
    inside = lasso(desk, second, atlas, 4)
    expect(shown).to_have_attribute("data-selected", str(len(inside)))

    desk.evaluate(  # what JupyterLab does for its dark theme
        """() => { document.documentElement.style.setProperty('--jp-layout-color0', '#111');
        document.body.dataset.jpThemeLight = 'false'; }"""
    )
    expect(second).to_have_class(re.compile("dark"))

    desk.keyboard.press("Control+s")  # the notebook's own key, while the map has the focus
    for _ in range(100):
        written = (lab.folder / "map.ipynb").read_text()  # empty while JupyterLab writes it
        if written and json.loads(written)["cells"][3]["outputs"]:
            break
        desk.wait_for_timeout(100)
    again = load_again(desk, 3)
    expect(again).to_have_attribute("data-selected", str(len(inside)))


def load_again(page: Page, at: int) -> Locator:
    """Load the page again; return the map of a cell.

    JupyterLab gives the kernel four seconds to tell which widgets it has, which a loaded machine
    may miss: what it then says instead is no map, and a second load is what a person does.
    """
    again = cell(page, at).locator(f"{MAP}[data-ready='true']")
    lost = cell(page, at).get_by_text("model not found")
    for _ in range(3):
        page.reload()
        again.or_(lost).first.wait_for()
        if again.count():
            break
    return again
