"""Thumbnails on the map: which, which picture, how big, and what is asked of the server."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from map_site import (
    CLOUD,
    FEW,
    MAP,
    Open,
    Site,
    halves,
    lattice,
    make_atlas,
    near,
    show_map,
    told_after,
)
from playwright.sync_api import Page

from embeddings.schema import Atlas

pytestmark = pytest.mark.browser

GRID = make_atlas(lattice(8100), np.zeros(8100, np.int64), "grid")
STEP = 65535 / 89  # world units from one item of GRID to the next
THE_MAP = "document.querySelector('.atlas-map').atlasMap"
SETTLED = f"""() => {{ const map = {THE_MAP}, {{ sprites, spritesWanted }} = map.root.dataset;
  return !map.moving && !map.frame && !map.flight && sprites === spritesWanted }}"""


@pytest.fixture(autouse=True)
def sheets(site: Site) -> Iterator[list[tuple[int, list[int]]]]:
    site.atlases[GRID.version] = GRID
    site.sheets_broken = False
    site.sheets.clear()
    yield site.sheets
    site.sheets_free.set()


def go(page: Page, x: float, y: float, scale: float) -> None:
    """Look at a place of the world, in pixels a unit."""
    page.evaluate(
        f"view => {{ const map = {THE_MAP}; map.camera.view = view; map.moved(); }}",
        {"x": x, "y": y, "scale": scale},
    )


def closer(page: Page, atlas: Atlas, zoom: float = 2.5) -> None:
    """Show the middle of an atlas, so near that thumbnails appear, and wait for all of them."""
    show_map(page, atlas)
    page.evaluate(
        f"zoom => {{ const map = {THE_MAP}; const {{ width, height }} = map.camera; "
        "map.zoomAt(width / 2, height / 2, zoom) }",
        zoom,
    )
    settle(page)


def settle(page: Page) -> None:
    page.wait_for_function(SETTLED, polling=20)


def drawn(page: Page) -> int:
    return int(page.locator(MAP).get_attribute("data-sprites") or 0)


def sprites(page: Page) -> list[dict[str, Any]]:
    """The thumbnails wholly on the screen: item, place in pixels, and their common side."""
    return page.evaluate(
        f"""() => {{ const map = {THE_MAP}, {{ camera, thumbnails }} = map, {{ side }} = thumbnails;
        return thumbnails.inView().filter(({{ stays }}) => stays).map(({{ item, x, y }}) => {{
          const [left, top] = camera.toScreen(x, y); return {{ item, x: left, y: top, side }} }})
        .filter(({{ x, y }}) => Math.min(x, y) > side && x < camera.width - side
          && y < camera.height - side) }}"""
    )


def colours(page: Page, places: list[tuple[float, float]]) -> list[list[int]]:
    """Pixels of the canvas, read in the task that drew them."""
    return page.evaluate(
        f"""places => {{ const map = {THE_MAP}, {{ gl, dpr, canvas }} = map; map.drawNow();
        return places.map(([x, y]) => {{ const rgba = new Uint8Array(4);
          gl.readPixels(Math.floor(x * dpr), canvas.height - 1 - Math.floor(y * dpr), 1, 1,
            gl.RGBA, gl.UNSIGNED_BYTE, rgba); return [...rgba] }}) }}""",
        places,
    )


def half_colours(page: Page, shown: list[dict[str, Any]]) -> list[tuple[list[int], list[int]]]:
    """What is seen in the middle of the upper and of the lower half of each thumbnail."""
    at = [(s["x"], s["y"] + part * s["side"]) for s in shown for part in (-0.22, 0.22)]
    seen = colours(page, at)
    return list(zip(seen[::2], seen[1::2], strict=True))


# ---- what is seen -------------------------------------------------------------------------------


def test_far_out_there_are_points_and_nothing_is_asked_of_the_server(
    page: Page, site: Site
) -> None:
    show_map(page, CLOUD)
    settle(page)
    assert page.locator(MAP).get_attribute("data-sprites") is None
    assert site.sheets == []


@pytest.mark.parametrize("dpr", [1, 2])
def test_every_thumbnail_shows_the_picture_of_its_own_item_and_not_a_block(
    open_page: Open, dpr: int
) -> None:
    page = open_page(device_scale_factor=dpr)
    closer(page, CLOUD, 4)
    shown = sprites(page)
    assert len(shown) > 100
    for sprite, (upper, lower) in zip(shown, half_colours(page, shown), strict=True):
        above, below = halves(sprite["item"])
        assert near(upper, list(above), 22), sprite
        assert near(lower, list(below), 22), sprite


def test_close_up_the_pictures_come_from_the_sharp_cells(page: Page, site: Site) -> None:
    closer(page, FEW, 4)
    go(page, 32768, 32768, 0.05)
    settle(page)
    page.wait_for_function(f"{THE_MAP}.thumbnails.pictures.sharp.slots.size > 3")
    shown = sprites(page)
    assert {cell for cell, _ in site.sheets} == {64, 128}
    assert shown[0]["side"] > 80
    for sprite, (upper, lower) in zip(shown, half_colours(page, shown), strict=True):
        assert near(upper, list(halves(sprite["item"])[0]), 22)
        assert near(lower, list(halves(sprite["item"])[1]), 22)


@pytest.mark.parametrize("zoom", [3, 9, 40])
def test_no_two_thumbnails_overlap(page: Page, zoom: float) -> None:
    closer(page, CLOUD, zoom)
    shown = sprites(page)
    at = np.array([[s["x"], s["y"]] for s in shown])
    away = np.abs(at[:, None] - at[None]).max(axis=2)
    np.fill_diagonal(away, np.inf)
    assert away.min() >= shown[0]["side"]


def test_what_has_no_room_stays_a_point(page: Page) -> None:
    closer(page, CLOUD, 4)
    taken = {s["item"] for s in page.evaluate(f"[...{THE_MAP}.thumbnails.sprites.values()]")}
    inside = page.evaluate(f"[...{THE_MAP}.located.within({THE_MAP}.viewBox(-60), 20000)]")
    bare = [item for item in inside if item not in taken]
    assert 0 < len(taken) < len(bare)
    assert page.evaluate(f"{THE_MAP}.drawn") == len(CLOUD)


def test_a_thumbnail_that_has_not_arrived_is_a_tinted_square(page: Page, site: Site) -> None:
    site.sheets_free.clear()
    show_map(page, FEW)
    go(page, 32768, 32768, 0.03)
    page.wait_for_selector(f"{MAP}[data-sprites='0']:not([data-sprites-wanted='0'])")
    page.wait_for_function(f"!{THE_MAP}.moving && !{THE_MAP}.frame")
    waiting = half_colours(page, sprites(page))
    assert all(pixel[3] > 250 for pair in waiting for pixel in pair)
    assert all(min(upper[:3]) > 170 and upper == lower for upper, lower in waiting)


def test_the_border_says_the_colour_and_the_selected_one_has_a_ring(page: Page) -> None:
    closer(page, FEW)
    one, other = sprites(page)[:2]
    edge = [(s["x"] - s["side"] / 2 + 1, s["y"]) for s in (one, other)]
    codes = page.evaluate(
        f"items => items.map((i) => {THE_MAP}.column.code(i))", [one["item"], other["item"]]
    )
    paint = page.evaluate(f"codes => codes.map((c) => {THE_MAP}.layer.colors[c + 1])", codes)
    for seen, text in zip(colours(page, edge), paint, strict=True):
        assert near(seen, [int(text[k : k + 2], 16) for k in (1, 3, 5)], 24)
    told_after(page, lambda: page.mouse.click(one["x"] + 1, one["y"] + 1))
    ring, faint = colours(page, edge)
    assert max(ring[:3]) < 110  # the ink of the light theme
    assert ring[3] > 250
    assert faint[3] < 160


def test_filtered_items_are_grey_and_excluded_ones_faint(page: Page) -> None:
    closer(page, FEW)
    plain, grey, faint = sprites(page)[:3]
    page.evaluate(
        f"""([grey, faint]) => {{ const map = {THE_MAP}; const state = new Uint8Array(map.n);
        state[grey] = 4; state[faint] = 2; map.state = state; map.layer.setState(state);
        map.draw() }}""",
        [grey["item"], faint["item"]],
    )
    settle(page)
    (upper, _), (first, second), (pale, _) = half_colours(page, [plain, grey, faint])
    assert upper[3] > 250
    assert max(first[:3]) - min(first[:3]) < 40
    assert max(second[:3]) - min(second[:3]) < 40
    assert first[3] < 170
    assert pale[3] < 170


def test_a_click_on_the_corner_of_a_thumbnail_takes_its_item(page: Page) -> None:
    closer(page, FEW, 4)
    sprite = sprites(page)[3]
    off = sprite["side"] / 2 - 3
    told_after(page, lambda: page.mouse.click(sprite["x"] + 1 + off, sprite["y"] + 1 - off))
    assert page.evaluate(f"{THE_MAP}.memory.selected[{sprite['item']}]") == 1


# ---- staying ------------------------------------------------------------------------------------


def test_panning_keeps_every_thumbnail_that_stays_in_view(page: Page) -> None:
    closer(page, CLOUD, 5)
    before = {s["item"] for s in sprites(page)}
    for _ in range(4):
        page.evaluate(f"{THE_MAP}.panBy(-31, 17)")
        settle(page)
    inside = set(page.evaluate(f"[...{THE_MAP}.located.within({THE_MAP}.viewBox(), 20000)]"))
    kept = {s["item"] for s in page.evaluate(f"{THE_MAP}.thumbnails.inView()")}
    assert len(before & inside) > 50
    assert before & inside <= kept


def test_zooming_in_keeps_what_is_shown_and_adds_to_it(page: Page) -> None:
    closer(page, CLOUD, 5)
    page.evaluate(f"{THE_MAP}.zoomAt(450, 320, 1.3)")
    settle(page)
    before = {s["item"] for s in sprites(page)}
    page.evaluate(f"{THE_MAP}.zoomAt(450, 320, 1.5)")
    settle(page)
    inside = set(page.evaluate(f"[...{THE_MAP}.located.within({THE_MAP}.viewBox(), 20000)]"))
    after = {s["item"] for s in page.evaluate(f"{THE_MAP}.thumbnails.inView()")}
    assert before & inside < after


def test_in_a_layout_of_cells_every_item_in_view_fills_its_cell(page: Page) -> None:
    show_map(page, GRID)
    page.evaluate(f"{THE_MAP}.cell = {STEP}")
    go(page, 32768, 32768, 30 / STEP)
    settle(page)
    shown = sprites(page)
    assert shown[0]["side"] == pytest.approx(29)
    assert drawn(page) >= (900 // 30) * (640 // 30)
    for sprite, (upper, lower) in zip(shown, half_colours(page, shown), strict=True):
        assert near(upper, list(halves(sprite["item"])[0]), 22)
        assert near(lower, list(halves(sprite["item"])[1]), 22)
    go(page, 32768, 32768, 9 / STEP)
    page.wait_for_selector(f"{MAP}[data-sprites-wanted='0']")


# ---- what is asked ------------------------------------------------------------------------------


def test_the_cache_is_bounded_however_far_one_wanders(page: Page, site: Site) -> None:
    page.set_default_timeout(30000)  # four thousand pictures, twice
    show_map(page, GRID)
    page.evaluate(f"{THE_MAP}.cell = {STEP}")
    for corner in (20000, 45000):
        go(page, corner, corner, 12.5 / STEP)
        settle(page)
        assert drawn(page) > 3000
    asked = {item for _, items in site.sheets for item in items}
    assert len(asked) > 5000
    layers, held = page.evaluate(
        f"(({{ layers, slots }}) => [layers, slots.size])({THE_MAP}.thumbnails.pictures.small)"
    )
    assert (layers, held) == (16, 4096)
    shown = sprites(page)[::40]
    for sprite, (upper, lower) in zip(shown, half_colours(page, shown), strict=True):
        assert near(upper, list(halves(sprite["item"])[0]), 40)
        assert near(lower, list(halves(sprite["item"])[1]), 40)


def test_sheets_are_asked_nearest_first_and_three_at_a_time(page: Page, site: Site) -> None:
    site.sheets_free.clear()
    show_map(page, GRID)
    page.evaluate(f"{THE_MAP}.cell = {STEP}")
    go(page, 32768, 32768, 16 / STEP)
    page.wait_for_function(
        f"{THE_MAP}.thumbnails.pictures?.flights.size === 3 && !{THE_MAP}.moving"
    )
    page.wait_for_function(f"!{THE_MAP}.frame")
    xs, ys = (np.array(page.evaluate(f"[...{THE_MAP}.places.{axis}]")) for axis in "xy")
    away = [np.hypot(xs[items] - 32768, ys[items] - 32768) for _, items in site.sheets]
    away.sort(key=np.min)  # they arrive in any order
    assert [len(items) for _, items in site.sheets] == [128, 128, 128]
    assert away[0].max() <= away[1].min() + STEP < away[2].min() + 2 * STEP
    site.sheets_free.set()
    settle(page)


def wait_until(page: Page, holds: Callable[[], bool]) -> None:
    """Let the page go on until something outside of it holds."""
    for _ in range(160):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it never came to hold")


def test_what_has_left_the_view_is_called_back_and_the_new_view_is_asked_at_once(
    page: Page, site: Site
) -> None:
    aborted: list[str] = []
    page.on("requestfailed", lambda request: aborted.append(request.url))
    site.sheets_free.clear()
    show_map(page, GRID)
    page.evaluate(f"{THE_MAP}.cell = {STEP}")
    go(page, 12000, 12000, 30 / STEP)
    page.wait_for_function(
        f"{THE_MAP}.thumbnails.pictures?.flights.size === 3 && !{THE_MAP}.moving"
    )
    wait_until(page, lambda: len(site.sheets) == 3)  # the browser sends before the server hears
    old = {item for _, items in site.sheets for item in items}
    go(page, 52000, 52000, 30 / STEP)
    page.wait_for_function(
        f"old => !{THE_MAP}.moving && {THE_MAP}.thumbnails.pictures.flights.size === 3 && "
        f"[...{THE_MAP}.thumbnails.pictures.flights].every((one) => !one.items.includes(old))",
        arg=min(old),
    )
    wait_until(page, lambda: len(aborted) == 3)
    site.sheets_free.set()
    settle(page)
    newer = [set(items) for _, items in site.sheets[3:]]
    assert all(not items & old for items in newer)
    go(page, 12000, 12000, 30 / STEP)  # what was called back is asked for when it is wanted again
    settle(page)
    assert drawn(page) > 300


def test_what_fails_is_asked_once_more_later_and_then_left_grey(page: Page, site: Site) -> None:
    site.sheets_broken = True
    show_map(page, FEW)
    go(page, 32768, 32768, 0.03)
    page.wait_for_function(
        f"""() => {{ const failed = {THE_MAP}.thumbnails.pictures?.small.failed;
        return failed?.size && [...failed.values()].every((times) => times === 2) }}"""
    )
    asked = len(site.sheets)
    assert asked >= 2, "twice, and one that was called back while the view came to rest"
    page.evaluate(f"{THE_MAP}.panBy(3, 3)")
    page.wait_for_function(f"!{THE_MAP}.moving && !{THE_MAP}.frame")
    assert len(site.sheets) == asked
    assert drawn(page) == 0
    assert page.locator(f"{MAP}:not([data-error])").count() == 1


FAILED = f"{THE_MAP}.thumbnails.pictures?.small.failed"
GIVEN_UP = f"""() => {{ const failed = {FAILED};
  return failed?.size && [...failed.values()].every((times) => times === 2) }}"""


def test_what_stayed_grey_is_asked_for_once_more_after_half_a_minute(
    page: Page, site: Site
) -> None:
    site.sheets_broken = True
    page.clock.install()
    show_map(page, FEW)
    go(page, 32768, 32768, 0.03)
    page.wait_for_function(f"() => {FAILED}?.size > 0")
    page.clock.run_for(6_000)
    page.wait_for_function(GIVEN_UP)
    asked = len(site.sheets)
    page.clock.run_for(20_000)
    assert len(site.sheets) == asked
    page.clock.run_for(6_000)
    page.wait_for_function(GIVEN_UP)
    assert len(site.sheets) == asked + 1
    site.sheets_broken = False
    page.clock.run_for(32_000)
    page.clock.resume()
    settle(page)
    assert drawn(page) > 0


def test_a_sheet_that_arrives_brings_back_what_stayed_grey(page: Page, site: Site) -> None:
    site.sheets_broken = True
    show_map(page, GRID)
    go(page, 12000, 12000, 30 / STEP)
    page.wait_for_function(GIVEN_UP, timeout=20_000)
    site.sheets_broken = False
    page.wait_for_function(f"performance.now() > {THE_MAP}.thumbnails.pictures.pausedUntil")
    go(page, 50000, 50000, 30 / STEP)  # others are asked for, and come
    settle(page)
    go(page, 12000, 12000, 30 / STEP)
    settle(page)
    assert drawn(page) > 100


# ---- switches -----------------------------------------------------------------------------------


def test_a_key_turns_them_off_and_on(page: Page, site: Site) -> None:
    closer(page, FEW)
    assert drawn(page) > 0
    page.locator(MAP).focus()
    page.keyboard.press("t")
    page.wait_for_selector(f"{MAP}[data-sprites='0'][data-sprites-wanted='0']")
    page.keyboard.press("t")
    page.wait_for_selector(f"{MAP}:not([data-sprites='0'])")
    assert len(site.sheets) == 1  # they were still there


def test_a_lost_context_brings_them_back(page: Page, site: Site) -> None:
    closer(page, FEW)
    before = drawn(page)
    page.evaluate(
        f"window.loss = {THE_MAP}.gl.getExtension('WEBGL_lose_context'); window.loss.loseContext()"
    )
    page.wait_for_selector(f"{MAP}[data-error='context lost']")
    page.evaluate("window.loss.restoreContext()")
    page.wait_for_selector(f"{MAP}:not([data-error])")
    settle(page)
    assert drawn(page) == before
    assert len(site.sheets) == 2
    shown = sprites(page)
    for sprite, (upper, _) in zip(shown, half_colours(page, shown), strict=True):
        assert near(upper, list(halves(sprite["item"])[0]), 22)


def test_a_map_that_is_left_calls_back_what_is_on_its_way(page: Page, site: Site) -> None:
    aborted: list[str] = []
    page.on("requestfailed", lambda request: aborted.append(request.url))
    site.sheets_free.clear()
    show_map(page, FEW)
    go(page, 32768, 32768, 0.03)
    page.wait_for_function(f"{THE_MAP}.thumbnails.pictures?.flights.size")
    with page.expect_event("requestfailed"):
        page.evaluate("window.leave('map')")
    assert len(aborted) == 1


@pytest.mark.parametrize(("motion", "least"), [("reduce", 1.0), ("no-preference", 0.0)])
def test_they_fade_in_unless_less_motion_is_wanted(
    open_page: Open, motion: str, least: float
) -> None:
    page = open_page(reduced_motion=motion)
    show_map(page, FEW)
    alphas = page.evaluate(
        f"""() => {{ const map = {THE_MAP}; map.camera.view = {{ x: 32768, y: 32768, scale: 0.03 }};
        map.drawNow(); return [...map.thumbnails.sprites.values()].map((one) => one.alpha) }}"""
    )
    assert alphas
    assert all(alpha == 1 if least else alpha < 1 for alpha in alphas)
    settle(page)
    page.wait_for_function(
        f"[...{THE_MAP}.thumbnails.sprites.values()].every((one) => one.alpha === 1)"
    )


def test_the_hovered_one_is_raised_and_its_card_shown(page: Page) -> None:
    closer(page, FEW, 4)
    sprite = sprites(page)[2]
    beside = (sprite["x"], sprite["y"] - sprite["side"] * 0.53)
    assert colours(page, [beside])[0][3] < 200
    page.mouse.move(sprite["x"] + 1, sprite["y"] + 1)
    page.wait_for_function(f"{THE_MAP}.hovered === {sprite['item']}")
    assert colours(page, [beside])[0][3] > 250
    page.wait_for_selector(".card:not([hidden])")
