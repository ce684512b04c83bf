"""Map, grid, columns and orbit in a real Chromium: the same items in other places."""

import math
from typing import Any

import numpy as np
import pytest
from map_site import (
    CLOUD,
    FEW,
    MAP,
    Open,
    Site,
    drag,
    even_odd,
    field_of,
    make_atlas,
    near,
    pixels_of,
    rgb,
    rows_after,
    shape,
    show_map,
    star,
    told_after,
    wire_index,
)
from playwright.sync_api import Page

from curation.fields import CodeColumn
from curation.viewer import layouts, payload
from curation.viewer.palette import color
from embeddings.schema import Atlas

pytestmark = pytest.mark.browser

GRID = ".layouts [data-layout='grid']"
SOLID = make_atlas(
    np.random.default_rng(3).random((300, 3)),
    np.random.default_rng(4).integers(-1, 5, 300),
    "solid",
)


@pytest.fixture(autouse=True)
def solid(site: Site) -> None:
    site.atlases[SOLID.version] = SOLID


def show_dots(page: Page, atlas: Atlas, **more: Any) -> None:
    """Show an atlas without thumbnails, so that a pixel has the colour of its item."""
    show_map(page, atlas, **more)
    page.evaluate("document.querySelector('.atlas-map').atlasMap.memory.thumbnails = false")


def arrived(page: Page, layout: str) -> None:
    page.wait_for_selector(f"{MAP}[data-layout='{layout}']:not([data-arranging])")


def shown(page: Page) -> np.ndarray:
    """Where the items of the map are now, (n, 2), in wire order."""
    return np.array(
        page.evaluate(
            "(({x, y}) => [...x].map((one, i) => [one, y[i]]))(document.querySelector('.atlas-map')"
            ".atlasMap.places)"
        )
    )


def in_wire_order(atlas: Atlas, found: layouts.Places) -> np.ndarray:
    order, _ = payload.order_of(atlas)
    return np.stack([found.x, found.y], 1)[order].astype(int)


def state(page: Page, expression: str) -> Any:
    return page.evaluate(f"(map => {expression})(document.querySelector('.atlas-map').atlasMap)")


# ---- the grid -----------------------------------------------------------------------------------


def test_the_grid_puts_every_item_into_its_cell_in_its_colour(page: Page) -> None:
    show_dots(page, FEW)
    page.locator(GRID).click()
    arrived(page, "grid")
    found = layouts.grid_places(FEW.xy)
    assert np.array_equal(shown(page), in_wire_order(FEW, found))
    for row, seen in enumerate(pixels_of(page, FEW, range(len(FEW)))):
        assert near(seen, rgb(color(int(FEW.cluster[row])))), row
    assert page.locator(GRID).get_attribute("aria-pressed") == "true"


def test_the_grid_is_a_mosaic_of_squares(page: Page) -> None:
    show_dots(page, FEW)
    page.locator(GRID).click()
    arrived(page, "grid")
    wire = wire_index(FEW, 44)
    corners = page.evaluate(
        """item => {
          const map = document.querySelector('.atlas-map').atlasMap;
          map.drawNow();
          const [x, y] = map.camera.toScreen(map.places.x[item], map.places.y[item]);
          const away = 0.4 * map.cell * map.camera.scale;
          return [[-1, -1], [1, -1], [-1, 1], [1, 1]].map(([a, b]) => {
            const rgba = new Uint8Array(4);
            const at = [x + a * away, map.camera.height - (y + b * away)].map(Math.floor);
            map.gl.readPixels(...at, 1, 1, map.gl.RGBA, map.gl.UNSIGNED_BYTE, rgba);
            return [...rgba];
          });
        }""",
        wire,
    )
    for seen in corners:
        assert near(seen, rgb(color(int(FEW.cluster[44]))))


def test_all_of_the_grid_is_in_view_and_clear_of_the_tools(page: Page) -> None:
    show_dots(page, FEW)
    page.locator(GRID).click()
    arrived(page, "grid")
    found = layouts.grid_places(FEW.xy)
    low = state(page, "map.camera.toScreen(0, 0)")
    high = state(page, f"map.camera.toScreen({int(found.x.max())}, {int(found.y.max())})")
    insets = state(page, "map.insets")
    assert low[0] >= insets["left"] - 1 and low[1] <= 640 - insets["bottom"] + 1
    box = page.locator(".layouts").bounding_box()
    assert box is not None and high[1] > box["y"] + box["height"]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_lasso_on_the_grid_selects_what_numpy_selects_there(page: Page, seed: int) -> None:
    show_dots(page, CLOUD)
    page.locator(MAP).focus()
    page.keyboard.press("g")
    arrived(page, "grid")
    page.keyboard.press("l")
    path = star(np.random.default_rng(seed))
    rows = rows_after(page, CLOUD, lambda: drag(page, [*path, path[0]]))
    found = layouts.grid_places(CLOUD.xy)
    grid = np.stack([found.x, found.y], 1)
    assert rows == even_odd(grid, shape(page)) and rows


def test_hover_finds_the_item_that_stands_there_now(page: Page) -> None:
    show_dots(page, FEW)
    state(page, "map.itemAt([400, 300])")  # makes the index of the old places
    page.locator(GRID).click()
    arrived(page, "grid")
    for row in (0, 37, 99):
        wire = wire_index(FEW, row)
        at = page.evaluate("item => window.placeOf(item)", wire)
        assert (
            page.evaluate("at => document.querySelector('.atlas-map').atlasMap.itemAt(at)", at)
            == wire
        )


def test_selection_and_colour_survive_every_layout(page: Page) -> None:
    show_dots(page, FEW)
    told_after(
        page,
        lambda: page.evaluate("document.querySelector('.atlas-map').atlasMap.selectCode(3, 'set')"),
    )
    before = state(page, "[...map.memory.selected]")
    for key, layout in (("g", "grid"), ("m", "map")):
        page.locator(MAP).focus()
        page.keyboard.press(key)
        arrived(page, layout)
        assert state(page, "[...map.memory.selected]") == before
    page.locator(".layouts select").select_option("cluster")
    arrived(page, "by")
    assert state(page, "[...map.memory.selected]") == before
    assert page.locator(MAP).get_attribute("data-color") == "cluster"
    chosen, other = (int(np.flatnonzero(FEW.cluster == number)[0]) for number in (3, 5))
    seen = pixels_of(page, FEW, [chosen, other])
    assert seen[0][3] > 230 and seen[1][3] < 90


def test_the_key_g_goes_to_the_grid_and_back_to_the_very_same_places(page: Page) -> None:
    show_dots(page, FEW)
    before = shown(page)
    page.locator(MAP).focus()
    page.keyboard.press("g")
    arrived(page, "grid")
    assert not np.array_equal(shown(page), before)
    page.keyboard.press("g")
    arrived(page, "map")
    assert np.array_equal(shown(page), before)


def test_a_change_of_layout_is_animated_and_ends_at_the_exact_places(open_page: Open) -> None:
    page = open_page(reduced_motion="no-preference")
    show_dots(page, FEW)
    page.evaluate(
        """() => {
          const map = document.querySelector('.atlas-map').atlasMap;
          window.parts = [];
          const paint = map.paint.bind(map);
          map.paint = () => { window.parts.push(map.part); paint(); };
        }"""
    )
    page.locator(GRID).click()
    page.wait_for_selector(f"{MAP}[data-arranging]")
    arrived(page, "grid")
    parts = page.evaluate("window.parts")
    begun = next(k for k, part in enumerate(parts) if part < 1)  # after a frame before the flight
    assert any(0 < part < 1 for part in parts) and state(page, "map.part") == 1
    assert sorted(parts[begun:]) == parts[begun:]
    assert np.array_equal(shown(page), in_wire_order(FEW, layouts.grid_places(FEW.xy)))
    assert state(page, "map.camera.view") == state(page, "map.wholeView()")
    for row, seen in enumerate(pixels_of(page, FEW, range(len(FEW)))):
        assert near(seen, rgb(color(int(FEW.cluster[row])))), row


def test_a_click_in_mid_flight_goes_on_from_there(open_page: Open) -> None:
    page = open_page(reduced_motion="no-preference")
    show_dots(page, FEW)
    before = shown(page)
    page.locator(GRID).click()
    page.wait_for_function("document.querySelector('.atlas-map').atlasMap.part < 1")
    page.locator(".layouts [data-layout='map']").click()
    arrived(page, "map")
    assert np.array_equal(shown(page), before)


def test_a_map_that_comes_back_shows_the_layout_it_had(page: Page) -> None:
    show_dots(page, FEW)
    page.locator(GRID).click()
    arrived(page, "grid")
    page.evaluate("window.leave('map')")
    show_dots(page, FEW)
    arrived(page, "grid")
    assert np.array_equal(shown(page), in_wire_order(FEW, layouts.grid_places(FEW.xy)))
    assert page.locator(GRID).get_attribute("aria-pressed") == "true"


# ---- columns ------------------------------------------------------------------------------------


def test_columns_have_their_captions_below_them(page: Page) -> None:
    show_dots(page, FEW)
    page.locator(".layouts select").select_option("cluster")
    arrived(page, "by")
    header = layouts.stacks(CodeColumn("cluster", FEW.cluster, [str(k) for k in range(11)], 0))[1]
    assert page.locator(MAP).get_attribute("data-captions") == str(len(header))
    assert page.locator(MAP).get_attribute("data-names") == "0"  # captions stand for them
    for row, seen in enumerate(pixels_of(page, FEW, range(len(FEW)))):
        assert near(seen, rgb(color(int(FEW.cluster[row])))), row


def test_a_label_moves_its_items_to_their_new_column(page: Page, site: Site) -> None:
    codes = np.zeros(len(FEW), np.int32)
    site.columns["category"] = CodeColumn("category", codes, ["cat"], 1)
    fields = [field_of("cluster"), field_of("category", 1)]
    show_dots(page, FEW, fields=fields)
    page.locator(".layouts select").select_option("category")
    arrived(page, "by")
    assert page.locator(MAP).get_attribute("data-captions") == "1"
    codes = codes.copy()
    codes[:30] = 1
    column = site.columns["category"] = CodeColumn("category", codes, ["cat", "dog"], 2)
    site.changed = np.arange(30)
    show_dots(page, FEW, fields=[field_of("cluster"), field_of("category", 2)])
    page.wait_for_selector(f"{MAP}[data-captions='2']")
    assert np.array_equal(shown(page), in_wire_order(FEW, layouts.column_places(FEW, column)))


def test_a_remembered_field_that_is_gone_shows_the_map(page: Page, site: Site) -> None:
    site.columns["category"] = CodeColumn("category", np.zeros(len(FEW), np.int32), ["cat"], 1)
    show_dots(page, FEW, fields=[field_of("cluster"), field_of("category", 1)])
    before = shown(page)
    page.locator(".layouts select").select_option("category")
    arrived(page, "by")
    page.evaluate("window.leave('map')")
    show_dots(page, FEW)
    arrived(page, "map")
    assert np.array_equal(shown(page), before)


# ---- orbit --------------------------------------------------------------------------------------


def turned(yaw: float, pitch: float) -> np.ndarray:
    """Where the items of SOLID stand, seen from elsewhere, from the middle; in wire order."""
    order, _ = payload.order_of(SOLID)
    grid = payload.quantise(SOLID.xy).astype(float)
    middle = grid.max(axis=0) / 2
    x, y, z = (grid[order] - middle).T
    x, z = math.cos(yaw) * x + math.sin(yaw) * z, math.cos(yaw) * z - math.sin(yaw) * x
    y, z = math.cos(pitch) * y - math.sin(pitch) * z, math.sin(pitch) * y + math.cos(pitch) * z
    radius = float(np.hypot(np.hypot(*middle[:2]), middle[2]))
    near = 1 + 0.3 * (1 - math.cos(yaw) * math.cos(pitch)) / 2 * z / radius
    return np.stack([x * near, y * near], 1) * 32767.5 / (radius * 1.3)


def test_a_flat_atlas_offers_no_orbit(page: Page) -> None:
    show_dots(page, FEW)
    assert page.locator(".layouts [data-layout='orbit']").is_hidden()
    page.locator(MAP).focus()
    page.keyboard.press("o")
    assert page.locator(MAP).get_attribute("data-layout") == "map"


def test_an_orbit_begins_with_the_very_picture_of_the_map(page: Page) -> None:
    show_dots(page, SOLID)
    places = (
        "[...Array(map.n).keys()].map(i => map.camera.toScreen(map.places.x[i], map.places.y[i]))"
    )
    before = np.array(state(page, places))
    page.locator(".layouts [data-layout='orbit']").click()
    arrived(page, "orbit")
    assert np.abs(np.array(state(page, places)) - before).max() < 0.1


def test_a_drag_turns_the_items_as_the_rotation_says(page: Page) -> None:
    show_dots(page, SOLID)
    page.locator(".layouts [data-layout='orbit']").click()
    arrived(page, "orbit")
    view = state(page, "map.camera.view")
    drag(page, [(400, 300), (450, 300), (500, 340)])
    page.wait_for_function("!document.querySelector('.atlas-map').atlasMap.arrangement.orbit.stale")
    yaw, pitch = state(page, "[map.arrangement.orbit.yaw, map.arrangement.orbit.pitch]")
    assert (yaw, pitch) == pytest.approx((0.75, 0.3))
    assert np.abs(shown(page) - 32767.5 - turned(yaw, pitch)).max() <= 1
    assert state(page, "map.camera.view") == view
    for row, seen in enumerate(pixels_of(page, SOLID, range(40))):
        behind = np.abs(shown(page) - shown(page)[wire_index(SOLID, row)]).max(1)
        if np.sort(behind)[1] > 900:  # nothing stands over it
            assert near(
                seen, rgb(color(int(SOLID.cluster[row])) if SOLID.cluster[row] >= 0 else "#9aa0a6")
            )

    page.locator(MAP).dblclick(position={"x": 700, "y": 600})
    page.wait_for_function(
        "document.querySelector('.atlas-map').atlasMap.arrangement.orbit.yaw === 0"
    )
    page.wait_for_function("!document.querySelector('.atlas-map').atlasMap.arrangement.orbit.stale")
    assert np.abs(shown(page) - 32767.5 - turned(0, 0)).max() <= 1


def test_a_lasso_takes_what_it_encloses_of_the_turned_picture(page: Page) -> None:
    show_dots(page, SOLID)
    page.locator(MAP).focus()
    page.keyboard.press("o")
    arrived(page, "orbit")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    page.wait_for_function("!document.querySelector('.atlas-map').atlasMap.arrangement.orbit.stale")
    assert state(page, "map.arrangement.orbit.yaw") != 0
    page.keyboard.press("l")
    path = star(np.random.default_rng(5))
    rows = rows_after(page, SOLID, lambda: drag(page, [*path, path[0]]))
    order, _ = payload.order_of(SOLID)
    at = np.empty((len(SOLID), 2), int)
    at[order] = shown(page)
    assert rows == even_odd(at, shape(page)) and rows


def test_shift_and_drag_moves_an_orbit(page: Page) -> None:
    show_dots(page, SOLID)
    page.locator(".layouts [data-layout='orbit']").click()
    arrived(page, "orbit")
    before = state(page, "map.camera.toScreen(30000, 30000)")
    drag(page, [(400, 300), (450, 320), (500, 340)], "Shift")
    after = state(page, "map.camera.toScreen(30000, 30000)")
    assert np.allclose(np.array(after) - before, [100, 40])
    assert state(page, "map.arrangement.orbit.yaw") == 0


def test_an_orbit_is_remembered(page: Page) -> None:
    show_dots(page, SOLID)
    page.locator(".layouts [data-layout='orbit']").click()
    arrived(page, "orbit")
    drag(page, [(400, 300), (450, 300), (500, 340)])
    page.wait_for_function("!document.querySelector('.atlas-map').atlasMap.arrangement.orbit.stale")
    before = shown(page)
    page.evaluate("window.leave('map')")
    show_dots(page, SOLID)
    arrived(page, "orbit")
    assert np.array_equal(shown(page), before)
