"""The map in a real browser, beside `st.plotly_chart` and an empty page, in the same run."""

import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from playwright.sync_api import Error, Page, Playwright

from benchmarks import scenery
from benchmarks.browser import Browser, playwright
from benchmarks.map_pages import (
    EMPTY,
    HEADLINE,
    LASSO,
    PAN,
    PATIENCE,
    Alone,
    Empty,
    Ours,
    Plotly,
    Subject,
    our_server,
    peer_server,
)
from benchmarks.measure import percentile95
from benchmarks.sources import Absent
from curation.viewer import payload
from embeddings.schema import Atlas

STEPS = 60  # moves of the pointer in one drag
SHARES = {"": 0.1, "wide_": 0.3}  # of the items that a lasso takes: 100,000 of a million, and more
LASSOS = 3
DRAG_SECONDS = 60  # after which a drag is let go

Measured = dict[str, Any]
Button = Literal["left", "middle"]


@dataclass(frozen=True)
class Plan:
    """What is measured: sizes, visits of each page, and up to which size the peer is tried.

    Without `cold` nothing is told of the first visit after a start: the one that is measured is it.
    """

    counts: list[int]
    visits: int
    peer_up_to: int
    cold: bool


def run(plan: Plan) -> list[Measured]:
    """Return one case for each page and size, or one that says why there is none."""
    with tempfile.TemporaryDirectory(prefix="bench-map-") as folder, playwright() as driver:
        scratch = Path(folder)
        try:
            Browser(driver).__exit__(None, None, None)
        except Absent as reason:
            return [{"who": "all", "items": 0, "skipped": str(reason)}]
        atlases = {n: _made(n, scratch) for n in plan.counts}
        name = f"scenery{plan.counts[0]}"
        with our_server(scratch / "home", name) as ours, peer_server(scratch) as peer:
            cases: list[Measured] = []
            for atlas in atlases.values():
                cases += _size(driver, plan, (ours.url, peer.url), atlas)
            return cases


def _made(n: int, scratch: Path) -> Atlas:
    """Make the same items for each page: a dataset, packed bytes, and arrays for Plotly."""
    with _home(scratch / "home"):
        atlas = scenery.make(n, f"scenery{n}")
    (scratch / f"{n}.points").write_bytes(payload.pack_points(atlas))
    cluster = atlas.cluster.astype(np.int16)
    np.savez(scratch / f"{n}.npz", x=atlas.xy[:, 0], y=atlas.xy[:, 1], cluster=cluster)
    return atlas


@contextmanager
def _home(folder: Path) -> Iterator[None]:
    before = os.environ.get("CURATE_HOME")
    os.environ["CURATE_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["CURATE_HOME"]
        else:
            os.environ["CURATE_HOME"] = before


def _size(driver: Playwright, plan: Plan, servers: tuple[str, str], atlas: Atlas) -> list[Measured]:
    """Measure every page at one size, in turn, visit by visit."""
    n = len(atlas)
    mine = Ours(servers[0], f"scenery{n}", n, solid=scenery.solid(atlas).version)
    points = f"/api/v1/{mine.name}/points/{atlas.version}?format={payload.FORMAT}&bench"
    pages: list[Subject | Empty] = [mine]
    pages += [Empty(servers[0], points, n, False), Empty(servers[1], "", n, True)]
    pages.append(Alone(servers[1], "", n))
    if n <= plan.peer_up_to:
        pages.append(Plotly(servers[1], n))
    cold: Measured = {}
    if plan.cold:
        cold = {page.who: _visited(driver, page, whole=False).get("first_draw_s") for page in pages}
    visits: dict[str, list[Measured]] = {page.who: [] for page in pages}
    for _ in range(plan.visits):
        for page in pages:
            if "no_answer" not in (visits[page.who] or [{}])[-1]:
                visits[page.who].append(_visited(driver, page))
    return [
        {
            "who": who,
            "items": n,
            "cold_first_draw_s": cold.get(who),
            **_middle(found),
            "visits": found,
        }
        for who, found in visits.items()
    ]


def _middle(visits: list[Measured]) -> Measured:
    """Return the median of each number over the visits, and of other things the last."""
    keys = list(dict.fromkeys(key for visit in visits for key in visit))
    middle = {}
    for key in keys:
        values = [visit[key] for visit in visits if visit.get(key) is not None]
        number = values and all(isinstance(value, int | float) for value in values)
        middle[key] = round(statistics.median(values), 4) if number else (values or [None])[-1]
    return middle


# ---- one visit


def _visited(driver: Playwright, subject: Subject | Empty, whole: bool = True) -> Measured:
    """Open a page in a fresh browser and do with it what a curator does."""
    found: Measured = {}
    with Browser(driver, EMPTY) as browser:
        steps: list[Callable[[], Measured]] = [lambda: _first_draw(browser, subject)]
        if whole and isinstance(subject, Empty):
            steps += [lambda: _answered(browser, subject)] if subject.streamlit else []
        elif whole:
            assert not isinstance(subject, Empty)
            steps += [
                lambda: _rested(browser),
                lambda: _revisited(browser, subject),
                lambda: _panned(browser, subject),
                lambda: _lassoed(browser.page, subject, "wide_"),
                lambda: _lassoed(browser.page, subject, ""),
                lambda: _labelled(browser.page, subject) if type(subject) is Ours else {},
                lambda: {"memory_after_mb": _memory(browser)},
                lambda: _arranged(browser, subject) if type(subject) is Ours else {},
                lambda: _orbited(browser, subject) if type(subject) is Ours else {},
            ]
        for step in steps:
            try:
                found |= step()
            except Error as error:  # of the browser: the page is stuck or gone
                found["no_answer"] = str(error).splitlines()[0]
                break
    return found


def _first_draw(browser: Browser, subject: Subject | Empty) -> Measured:
    started = time.perf_counter()
    subject.open(browser.page)
    browser.page.evaluate("window.bench.frame()")
    found = {
        "first_draw_s": round(time.perf_counter() - started, 3),
        "first_draw_cpu_s": round(browser.cpu() - browser.blank_cpu, 2),
    }
    if not isinstance(subject, Empty):
        subject.ready(browser.page)
        browser.page.evaluate("window.bench.frame()")
        found["ready_s"] = round(time.perf_counter() - started, 3)
        found["points_bytes"] = subject.points_bytes(browser.page)
    return found


def _answered(browser: Browser, subject: Empty) -> Measured:
    """Click, again and again: what the host itself takes from a message to the page's answer."""
    browser.rest()
    page = browser.page
    took = []
    for number in range(1, LASSOS + 2):
        page.evaluate(f"window.bench.arm(() => ({HEADLINE}) === '{number} selected')")
        subject.click(page)
        page.wait_for_function("window.bench.took !== null", timeout=PATIENCE)
        took.append(page.evaluate("window.bench.took"))
    middle = round(statistics.median(took[1:]), 1)
    return {"lasso_ms": middle, "wide_lasso_ms": middle}


def _rested(browser: Browser) -> Measured:
    browser.rest()
    return {
        "settled_cpu_s": round(browser.cpu() - browser.blank_cpu, 2),
        "memory_mb": _memory(browser),
    }


def _memory(browser: Browser) -> float:
    return round((browser.memory() - browser.blank_memory) / 1e6, 1)


def _revisited(browser: Browser, subject: Subject) -> Measured:
    """Open the page again in the same profile: what is kept need not come again."""
    page = browser.other_page()
    started = time.perf_counter()
    subject.open(page)
    page.evaluate("window.bench.frame()")
    found = {
        "revisit_draw_s": round(time.perf_counter() - started, 3),
        "revisit_points_bytes": subject.points_bytes(page),
    }
    page.close()
    browser.page.bring_to_front()
    browser.rest()
    return found


def _panned(browser: Browser, subject: Subject) -> Measured:
    subject.take(browser.page, PAN)
    return panned(browser, subject.box(browser.page))


def panned(
    browser: Browser, box: tuple[float, float, float, float], button: Button = "left"
) -> Measured:
    """Drag a plot in a figure of eight; each move waits until the page comes to a frame.

    `box` is where it is: left, top, width, height in pixels.
    """
    page, (left, top, width, height) = browser.page, box
    middle = left + width / 2, top + height / 2
    page.mouse.move(*middle)
    page.mouse.down(button=button)
    page.evaluate("window.bench.record()")
    started, cpu = time.perf_counter(), browser.cpu()
    for step in range(1, STEPS + 1):
        turn = 2 * math.pi * step / STEPS
        page.mouse.move(middle[0] + 150 * math.sin(turn), middle[1] + 90 * math.sin(2 * turn))
        page.evaluate("new Promise(requestAnimationFrame)")
        if time.perf_counter() - started > DRAG_SECONDS:
            break
    took, used = time.perf_counter() - started, browser.cpu() - cpu
    frames = page.evaluate("window.bench.recorded()")
    page.mouse.up(button=button)
    browser.rest()
    return {
        "pan_steps": step,
        "pan_step_ms": round(1000 * took / step, 1),
        "pan_cpu_ms": round(1000 * used / step, 1),
        "pan_frames": len(frames),
        "pan_frame_ms": round(statistics.median(frames), 1) if frames else None,
        "pan_frame_p95_ms": percentile95(frames, 1) if frames else None,
    }


def _arranged(browser: Browser, subject: Ours) -> Measured:
    """Go from the map to the grid, from there to columns, and back: items fly to their places.

    All layouts were shown once before, so that nothing is fetched meanwhile.
    """
    page, tour = browser.page, {"grid": "grid", "columns": "by", "map": "map"}
    for layout in tour.values():
        subject.arrange(page, layout)
    found: Measured = {}
    for name, layout in tour.items():
        browser.rest()
        page.evaluate("window.bench.record()")
        cpu = browser.cpu()
        subject.arrange(page, layout)
        used = browser.cpu() - cpu
        frames = page.evaluate("window.bench.recorded()")
        found |= {
            f"to_{name}_frames": len(frames),
            f"to_{name}_frame_ms": round(statistics.median(frames), 1) if frames else None,
            f"to_{name}_frame_p95_ms": percentile95(frames, 1) if frames else None,
            f"to_{name}_cpu_ms": round(1000 * used, 1),
        }
    return found


def _orbited(browser: Browser, subject: Ours) -> Measured:
    """Turn the atlas in three dimensions as a map is panned."""
    solid = replace(subject, atlas=subject.solid)
    solid.open(browser.page)
    solid.ready(browser.page)
    solid.arrange(browser.page, "orbit")
    turned = panned(browser, solid.box(browser.page))
    solid.arrange(browser.page, "map")
    return {key.replace("pan_", "orbit_"): value for key, value in turned.items()}


def _lassoed(page: Page, subject: Subject, kind: str) -> Measured:
    """Lasso a share of the items, again and again; the first time is told apart."""
    subject.take(page, LASSO)
    _, _, width, height = subject.box(page)
    radius = 0.2 * min(width, height)
    rounds: list[Measured] = []
    for number in range(LASSOS + 2):
        found = _lasso(page, subject, radius)
        rounds.append(found)
        if number < 2:  # two to find how wide the share is
            radius *= math.sqrt(SHARES[kind] * subject.items / max(1, found["selected"]))
        if number < LASSOS + 1 or kind:
            _cleared(page, subject)
    last = rounds[2:]
    return {
        f"first_{kind}lasso_ms": rounds[0]["ms"],
        f"{kind}lasso_ms": round(statistics.median(one["ms"] for one in last), 1),
        f"{kind}lasso_bytes": int(statistics.median(one["bytes"] for one in last)),
        f"{kind}lasso_selected": last[-1]["selected"],
        f"{kind}lassos": rounds,
    }


def _cleared(page: Page, subject: Subject) -> None:
    """Select nothing: Plotly would move a selection that a lasso begins in."""
    subject.clear(page)
    page.wait_for_function(f"() => !({HEADLINE})", timeout=PATIENCE)
    page.evaluate("window.bench.frame()")


def _lasso(page: Page, subject: Subject, radius: float) -> Measured:
    """Draw a circle; return how long until the page says how many are selected."""
    left, top, width, height = subject.box(page)
    ring = [
        (left + width / 2 + radius * math.cos(turn), top + height / 2 + radius * math.sin(turn))
        for turn in np.linspace(0, 2 * math.pi, 36)
    ]
    page.mouse.move(*ring[0])
    page.mouse.down()
    started = time.perf_counter()
    for x, y in ring[1:]:
        if time.perf_counter() - started < DRAG_SECONDS:
            page.mouse.move(x, y)
    sent = page.evaluate(
        f"() => {{ window.bench.arm(() => {HEADLINE}); return window.bench.sent; }}"
    )
    page.mouse.up()
    page.wait_for_function("window.bench.took !== null", timeout=PATIENCE)
    took, after, told = page.evaluate(f"[window.bench.took, window.bench.sent, {HEADLINE}]")
    selected = int(told.split(" ")[0].replace(",", ""))
    return {"ms": round(took, 1), "bytes": after - sent, "selected": selected}


def _labelled(page: Page, subject: Ours) -> Measured:
    """Label what is selected; return how long until the colour is on the screen."""
    subject.prepare_label(page)
    sent = page.evaluate("window.bench.sent")
    subject.arm_label(page)
    subject.press_label(page)
    page.wait_for_function("window.bench.took !== null", timeout=PATIENCE)
    took, after = page.evaluate("[window.bench.took, window.bench.sent]")
    subject.undo(page)
    return {"label_ms": round(took, 1), "label_bytes": after - sent}
