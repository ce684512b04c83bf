"""Hands on the map: brush, modes, the way back, moving, the overview, keys and fingers."""

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
    in_box,
    make_atlas,
    place_of,
    rows_after,
    shape,
    show_map,
    star,
    take,
    told_after,
)
from playwright.sync_api import Page

from curation.fields import ValueColumn
from curation.viewer import payload
from embeddings.schema import Atlas

pytestmark = pytest.mark.browser

OF_MAP = "document.querySelector('.atlas-map').atlasMap"


def near_path(grid: np.ndarray, path: list[float], radius: float) -> set[int]:
    """Row numbers at most `radius` away from a path, segment by segment, in double precision."""
    corners = np.asarray(path).reshape(-1, 2)
    hit = np.zeros(len(grid), bool)
    for a, b in zip(corners, [*corners[1:], corners[-1]], strict=True):
        d, at = b - a, grid - a
        long = float(d @ d)
        along = np.clip((at @ d) / long, 0, 1) if long else np.zeros(len(grid))
        hit |= ((at - along[:, None] * d) ** 2).sum(axis=1) <= radius * radius
    return set(np.flatnonzero(hit).tolist())


def grid_of(atlas: Atlas) -> np.ndarray:
    return payload.quantise(atlas.xy).astype(np.float64)


def press(page: Page, *keys: str) -> None:
    page.locator(MAP).focus()
    for key in keys:
        page.keyboard.press(key)


def zoom_of(page: Page) -> float:
    return page.evaluate(f"{OF_MAP}.camera.zoom")


def wave(count: int, left: float = 200, middle: float = 300) -> list[tuple[float, float]]:
    return [(left + 26 * k, middle + 70 * float(np.sin(k))) for k in range(count)]


# ---- brush and modes ----------------------------------------------------------------------------


def test_the_brush_takes_exactly_what_lies_within_its_reach_of_the_painted_path(page: Page) -> None:
    show_map(page, CLOUD)
    press(page, "d", "]", "]")
    grid = grid_of(CLOUD)
    expected: set[int] = set()
    for keys, left in (([], 200.0), (["Shift"], 330.0), (["Alt"], 280.0)):
        path = wave(12, left)
        rows = rows_after(page, CLOUD, lambda p=path, k=keys: drag(page, p, *k))
        hit = near_path(grid, shape(page), page.evaluate(f"{OF_MAP}.reach"))
        assert 200 < len(hit) < 12_000
        expected = expected | hit if "Shift" in keys else expected - hit if keys else hit
        assert rows == expected
    radius = page.evaluate(f"{OF_MAP}.reach * {OF_MAP}.camera.scale")
    assert radius == pytest.approx(24 * 1.2**2)


def test_a_dab_of_the_brush_takes_a_disc_and_two_dabs_no_cluster(page: Page) -> None:
    show_map(page, CLOUD)
    press(page, "d")
    rows = rows_after(page, CLOUD, lambda: page.mouse.click(400, 300))
    assert rows == near_path(grid_of(CLOUD), shape(page), page.evaluate(f"{OF_MAP}.reach"))
    assert len(rows) > 20
    told_after(page, lambda: page.mouse.click(404, 300))
    assert page.evaluate("window.told").__len__() == 2


def test_what_the_brush_takes_shows_before_it_is_lifted_and_escape_drops_it(page: Page) -> None:
    show_map(page, CLOUD)
    press(page, "d")
    page.mouse.move(300, 300)
    page.mouse.down()
    page.mouse.move(420, 320, steps=4)
    page.wait_for_function("Number(document.querySelector('.atlas-map').dataset.selected) > 50")
    assert page.evaluate("window.told") == []
    page.keyboard.press("Escape")
    page.wait_for_selector(f"{MAP}[data-selected='0']")
    page.mouse.up()
    rows = rows_after(page, CLOUD, lambda: drag(page, wave(3)))
    assert rows == near_path(grid_of(CLOUD), shape(page), page.evaluate(f"{OF_MAP}.reach"))


def test_keys_and_alt_wheel_change_the_brush_and_a_ring_shows_it(page: Page) -> None:
    show_map(page, FEW)
    press(page, "d")
    page.mouse.move(400, 300)
    ring = page.locator(".badge i")
    ring.wait_for(state="visible")
    box = ring.bounding_box()
    assert box is not None
    assert box["width"] == pytest.approx(48, abs=1)
    assert box["x"] + box["width"] / 2 == pytest.approx(400, abs=1.5)
    page.keyboard.press("[")
    assert page.evaluate(f"{OF_MAP}.memory.radius") == pytest.approx(20)
    zoom = zoom_of(page)
    page.keyboard.down("Alt")
    page.mouse.wheel(0, -300)
    page.wait_for_function(f"{OF_MAP}.memory.radius > 25")
    page.keyboard.up("Alt")
    assert zoom_of(page) == zoom
    page.mouse.move(400, 690)
    ring.wait_for(state="hidden")


def test_shift_and_alt_together_keep_what_both_have(page: Page) -> None:
    show_map(page, CLOUD)
    press(page, "b")
    grid = payload.quantise(CLOUD.xy).astype(np.int64)
    first = rows_after(page, CLOUD, lambda: drag(page, [(200, 150), (450, 400)]))
    rows = rows_after(page, CLOUD, lambda: drag(page, [(300, 250), (600, 500)], "Shift", "Alt"))
    assert rows == first & in_box(grid, shape(page))
    assert 10 < len(rows) < len(first)


def test_the_buttons_and_a_sign_at_the_pointer_show_the_mode_that_is_held(page: Page) -> None:
    show_map(page, FEW)
    press(page, "l")
    page.mouse.move(400, 300)
    pressed = page.locator(".group.mode [aria-pressed='true']")
    for keys, name, sign in (
        (["Shift"], "add", "+"),
        (["Alt"], "subtract", "−"),
        (["Shift", "Alt"], "intersect", "∩"),
        ([], "set", ""),
    ):
        for key in keys:
            page.keyboard.down(key)
        page.wait_for_selector(f"{MAP}[data-mode='{name}']")
        assert pressed.get_attribute("data-act") == name
        assert page.locator(".badge b").text_content() == sign
        for key in keys:
            page.keyboard.up(key)
    page.locator("[data-act='intersect']").click()
    take(page, 3)
    assert page.locator(MAP).get_attribute("data-selected") == "0"  # nothing was selected before


@pytest.fixture(scope="module")
def million() -> Atlas:
    rng = np.random.default_rng(11)
    n = 1_000_000
    return make_atlas(rng.random((n, 2)), rng.integers(-1, 60, n), "million")


def test_every_tool_and_mode_is_exact_on_a_million_random_points(
    page: Page, site: Site, million: Atlas
) -> None:
    site.atlases["million"] = million
    page.set_default_timeout(60_000)
    show_map(page, million)
    grid = grid_of(million)
    selected = np.zeros(len(million), bool)
    rng = np.random.default_rng(12)
    whole = np.zeros(len(million), bool)
    steps: list[tuple[str, list[str]]] = [
        ("l", []),
        ("l", ["Shift"]),
        ("d", ["Alt"]),
        ("b", ["Shift", "Alt"]),
    ]
    for key, held in steps:
        press(page, key)
        path = {"l": star(rng), "d": wave(8, 260), "b": [(180.0, 160.0), (620.0, 470.0)]}[key]
        message = told_after(page, lambda p=path, k=held: drag(page, p, *k))
        if key == "d":
            hit = near_path(grid, shape(page), page.evaluate(f"{OF_MAP}.reach"))
        else:
            hit = (even_odd if key == "l" else in_box)(grid, shape(page))
        mask = whole.copy()
        mask[list(hit)] = True
        if held == ["Shift"]:
            selected |= mask
        elif held == ["Alt"]:
            selected &= ~mask
        else:
            selected = selected & mask if held else mask
        rows = payload.decode_selection(message, million).rows
        assert len(rows) > 1000
        np.testing.assert_array_equal(np.sort(rows), np.flatnonzero(selected))


# ---- grow, and the way back ---------------------------------------------------------------------


def test_grow_adds_what_the_server_finds_near_and_tells_the_host(page: Page, site: Site) -> None:
    show_map(page, FEW)
    of = set(np.flatnonzero(FEW.cluster == 3).tolist())
    rows_after(page, FEW, lambda: take(page, 3))
    rows = rows_after(page, FEW, lambda: press(page, "e"))
    assert rows == of | {(row + 1) % len(FEW) for row in of}
    assert page.locator(".note").inner_text() == f"{len(rows) - len(of)} more selected."
    assert page.locator("[data-act='grow']").get_attribute("aria-busy") == "false"


def test_grow_of_nothing_says_what_to_do_and_asks_nobody(page: Page, site: Site) -> None:
    show_map(page, FEW)
    site.asked.clear()
    press(page, "e")
    page.locator(".note", has_text="Select something first").wait_for()
    assert not [path for path in site.asked if "grow" in path]


def test_backspace_goes_back_through_selections_and_shift_backspace_forth(page: Page) -> None:
    show_map(page, FEW)
    of = {number: set(np.flatnonzero(FEW.cluster == number).tolist()) for number in (2, 3)}
    take_one = lambda code, *keys: take(page, code, modifiers=list(keys))  # noqa: E731
    assert rows_after(page, FEW, lambda: take_one(2)) == of[2]
    assert rows_after(page, FEW, lambda: take_one(3, "Shift")) == of[2] | of[3]
    assert rows_after(page, FEW, lambda: press(page, "Backspace")) == of[2]
    assert rows_after(page, FEW, lambda: press(page, "Shift+Backspace")) == of[2] | of[3]
    assert rows_after(page, FEW, lambda: press(page, "Backspace")) == of[2]
    back = page.locator("[data-act='back']")
    assert rows_after(page, FEW, back.click) == set()
    assert back.get_attribute("aria-disabled") == "true"
    press(page, "Backspace")
    page.locator(".note", has_text="no selection before").wait_for()


# ---- moving -------------------------------------------------------------------------------------


def throw(page: Page) -> None:
    """Drag and let go in full motion."""
    page.mouse.move(420, 320)
    page.mouse.down()
    page.evaluate(
        """() => { // in one task: how busy this machine is must not slow the hand
        const root = document.querySelector('.atlas-map');
        const pointer = { pointerId: 1, pointerType: 'mouse', clientY: 320, bubbles: true };
        for (let k = 1; k < 8; k++) {
          const moved = { ...pointer, clientX: 420 - 14 * k };
          root.dispatchEvent(new PointerEvent('pointermove', moved));
          for (const end = performance.now() + 9; performance.now() < end; );
        }
        root.dispatchEvent(new PointerEvent('pointerup', { ...pointer, clientX: 322 })) }"""
    )
    page.mouse.up()


def test_a_thrown_map_runs_on_comes_to_rest_and_then_everything_is_drawn(open_page: Open) -> None:
    page = open_page(reduced_motion="no-preference")
    show_map(page, CLOUD)
    page.evaluate(f"{OF_MAP}.budget = 5000")
    held = page.evaluate(f"{OF_MAP}.camera.x")
    throw(page)
    page.wait_for_function(f"!{OF_MAP}.flight && !{OF_MAP}.moving")
    page.wait_for_selector(f"{MAP}[data-drawn='20000']")
    rest = page.evaluate(f"{OF_MAP}.camera.x")
    moved = (rest - held) * page.evaluate(f"{OF_MAP}.camera.scale")
    assert moved > 98 + 10  # the hand alone moved it by 98 pixels
    page.wait_for_timeout(100)
    assert page.evaluate(f"{OF_MAP}.camera.x") == rest


def test_a_press_stops_a_thrown_map_at_once(open_page: Open) -> None:
    page = open_page(reduced_motion="no-preference")
    show_map(page, FEW)
    page.evaluate(f"{OF_MAP}.glide(4, 0)")
    assert page.evaluate(f"{OF_MAP}.flight") > 0
    page.mouse.move(300, 300)
    page.mouse.down()
    assert page.evaluate(f"{OF_MAP}.flight") == 0
    page.mouse.up()


def test_with_reduced_motion_a_thrown_map_stays_where_it_is(page: Page) -> None:
    show_map(page, FEW)
    throw(page)
    assert page.evaluate(f"{OF_MAP}.flight ?? 0") == 0


def test_turns_of_the_wheel_add_up_to_their_exact_factor(open_page: Open) -> None:
    page = open_page(reduced_motion="no-preference")
    show_map(page, FEW)
    before = zoom_of(page)
    x, y = place_of(page, FEW, 44)
    page.mouse.move(x, y)
    for _ in range(3):
        page.mouse.wheel(0, -120)
    page.wait_for_function(f"{OF_MAP}.camera.zoom > {before * np.exp(0.57)} && !{OF_MAP}.flight")
    assert zoom_of(page) == pytest.approx(before * float(np.exp(360 * 0.0016)), rel=1e-6)
    assert place_of(page, FEW, 44) == pytest.approx((x, y), abs=1)


def test_the_middle_of_the_view_stays_on_the_atlas_however_far_one_pans(page: Page) -> None:
    show_map(page, FEW)
    page.evaluate(f"for (let k = 0; k < 60; k++) {OF_MAP}.panBy(-400, 400)")
    camera, extent = page.evaluate(f"[[{OF_MAP}.camera.x, {OF_MAP}.camera.y], {OF_MAP}.extent]")
    assert camera == pytest.approx(extent[:2])


# ---- overview -----------------------------------------------------------------------------------


def test_the_overview_appears_when_zoomed_in_shows_the_view_and_moves_it(page: Page) -> None:
    show_map(page, CLOUD)
    overview = page.locator(".minimap")
    assert overview.is_hidden()
    page.evaluate(f"{OF_MAP}.zoomBy(4)")
    overview.wait_for(state="visible")
    assert overview.get_attribute("data-items") == "20000"
    drawn = page.evaluate(
        """() => { const {picture} = document.querySelector('.atlas-map').atlasMap.minimap;
        const {data} = picture.getContext('2d').getImageData(0, 0, picture.width, picture.height);
        return new Set(data.filter((_, k) => k % 4 === 0)).size }"""
    )
    assert drawn > 8  # colours of clusters, not one block
    land = page.locator(".minimap .land").bounding_box()
    frame = page.locator(".minimap .frame").bounding_box()
    assert land is not None
    assert frame is not None
    assert frame["width"] < land["width"]
    extent = page.evaluate(f"{OF_MAP}.extent")
    page.mouse.click(
        land["x"] + 5 + (land["width"] - 10) * 0.85, land["y"] + 5 + (land["height"] - 10) * 0.15
    )
    x, y = page.evaluate(f"[{OF_MAP}.camera.x / {extent[0]}, {OF_MAP}.camera.y / {extent[1]}]")
    assert (x, y) == pytest.approx((0.85, 0.85), abs=0.03)
    assert page.evaluate("window.told") == []  # it selects nothing
    page.keyboard.press("f")
    overview.wait_for(state="hidden")


def test_the_overview_folds_by_keyboard_and_stays_folded_after_a_reload(page: Page) -> None:
    show_map(page, FEW)
    page.evaluate(f"{OF_MAP}.zoomBy(4)")
    page.locator(".minimap .land").wait_for(state="visible")
    fold = page.locator(".minimap .toggle")
    fold.focus()
    page.keyboard.press("Enter")
    page.locator(".minimap .land").wait_for(state="hidden")
    assert fold.get_attribute("aria-expanded") == "false"
    page.reload()
    page.wait_for_selector("html[data-loaded]", state="attached")
    show_map(page, FEW)
    page.locator(".minimap").wait_for(state="visible")
    assert page.locator(".minimap .land").is_hidden()


def test_a_narrow_map_has_no_overview(open_page: Open) -> None:
    page = open_page(viewport={"width": 400, "height": 700})
    page.add_style_tag(content="#host { width: 380px !important }")
    show_map(page, FEW)
    page.evaluate(f"{OF_MAP}.zoomBy(4)")
    assert zoom_of(page) > 3
    assert page.locator(".minimap").is_hidden()


# ---- keys and fingers ---------------------------------------------------------------------------


def test_a_toolbar_is_one_stop_of_tab_and_arrows_walk_inside_it(page: Page) -> None:
    show_map(page, FEW)
    for bar, first in ((".tools", "pan"), (".acts", "zoom")):
        stops = page.locator(f"{bar} button:not([tabindex='-1'])")
        assert [one.get_attribute("data-act") for one in stops.all()] == [first]
    page.locator("[data-act='pan']").focus()
    focused = "document.activeElement.dataset.act"
    for key, act in (
        ("ArrowDown", "lasso"),
        ("End", "keys"),
        ("ArrowDown", "pan"),
        ("ArrowUp", "keys"),
    ):
        page.keyboard.press(key)
        assert page.evaluate(focused) == act
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator(MAP).get_attribute("data-tool") == "lasso"


def test_the_question_mark_opens_a_sheet_of_all_keys_and_escape_gives_the_focus_back(
    page: Page,
) -> None:
    show_map(page, FEW)
    page.locator("[data-act='box']").focus()
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keys of the map")
    sheet.wait_for(state="visible")
    text = sheet.inner_text()
    keys = page.locator(f"{MAP} .group [aria-keyshortcuts]").evaluate_all(
        "all => all.map(one => one.getAttribute('aria-label'))"
    )
    assert len(keys) > 10
    assert [label for label in keys if label not in text] == []
    page.keyboard.press("l")  # the map does not listen behind it
    assert page.locator(MAP).get_attribute("data-tool") == "pan"
    page.keyboard.press("Escape")
    sheet.wait_for(state="hidden")
    assert page.evaluate("document.activeElement.dataset.act") == "box"


@pytest.mark.parametrize("where", ["dd >> nth=0", "body"])
def test_escape_closes_the_sheet_of_keys_wherever_one_clicked_and_keeps_the_selection(
    page: Page, where: str
) -> None:
    show_map(page, FEW)
    told_after(page, lambda: take(page, 3))
    press(page, "?")
    sheet = page.get_by_role("dialog", name="Keys of the map")
    if where == "body":  # the focus is behind the sheet, as a script of the page may put it
        page.locator(MAP).focus()
    else:
        sheet.locator(where).click()
    page.keyboard.press("i")
    page.keyboard.press("Escape")
    sheet.wait_for(state="hidden")
    assert page.locator(MAP).get_attribute("data-selected") == str((FEW.cluster == 3).sum())
    assert len(page.evaluate("window.told")) == 1


def test_when_the_modes_go_the_stop_and_the_focus_go_to_the_tool_in_hand(page: Page) -> None:
    show_map(page, FEW)
    press(page, "l")
    stops = page.locator(".tools button:not([tabindex='-1'])")
    focused = "document.activeElement.dataset.act"
    page.locator("[data-act='subtract']").focus()
    page.keyboard.press("p")
    assert [one.get_attribute("data-act") for one in stops.all()] == ["pan"]
    assert page.evaluate(focused) == "pan"
    press(page, "l")
    page.locator("[data-act='add']").click()
    press(page, "p")  # the focus is on the map: it stays there
    assert [one.get_attribute("data-act") for one in stops.all()] == ["pan"]
    assert page.evaluate(f"document.activeElement.matches('{MAP}')")


RINGS = """() => {
  const root = document.querySelector('.atlas-map');
  const ring = (one) => ['', '::before'].map((part) => {
    const style = getComputedStyle(one, part);
    return [style.outlineStyle, style.outlineWidth, style.outlineColor, style.boxShadow].join();
  }).join();
  const stops = [root, ...root.querySelectorAll('button, select, input, [tabindex]')];
  return stops.filter((one) => one.checkVisibility() && !one.disabled).map((one) => {
    document.activeElement.blur();
    const bare = ring(one);
    one.focus();
    const name = one.dataset.act ?? one.getAttribute('aria-label') ?? one.className;
    const there = document.activeElement === one && one.matches(':focus-visible');
    return { name, there, seen: ring(one) !== bare };
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_whatever_the_keyboard_comes_to_is_seen_to_have_the_focus(
    open_page: Open, site: Site, scheme: str
) -> None:
    page = open_page(color_scheme=scheme)
    site.columns["score"] = ValueColumn("score", np.linspace(0, 1, 100, dtype=np.float32), 0)
    fields = [field_of("cluster"), field_of("score", 0, "value")]
    show_map(page, FEW, fields=fields)
    assert ("dark" in (page.locator(MAP).get_attribute("class") or "")) == (scheme == "dark")
    told_after(page, lambda: take(page, 3))
    page.locator("[data-code='3']").press("Enter")  # a filter, and its chip
    press(page, "l")  # the modes of the lasso
    found = page.evaluate(RINGS)
    page.get_by_label("Colour the items by").select_option("score")
    page.wait_for_selector(f"{MAP}[data-color='score']")
    page.keyboard.press("Tab")  # from here on it is the keyboard that moves the focus
    found += page.evaluate(RINGS)
    press(page, "?")
    page.get_by_role("dialog", name="Keys of the map").wait_for(state="visible")
    found += page.evaluate(RINGS)
    names = {one["name"] for one in found}
    assert {"lasso", "add", "zoom", "keys", "Lowest value", "Colour the items by"} <= names
    assert len(names) > 30
    assert [one["name"] for one in found if not (one["there"] and one["seen"])] == []


@pytest.mark.parametrize(("touch", "least"), [(False, 32), (True, 44)])
def test_buttons_are_large_enough_to_hit(open_page: Open, touch: bool, least: int) -> None:
    page = open_page(has_touch=touch, is_mobile=touch)
    show_map(page, FEW, height=400)
    press(page, "l")
    boxes = page.locator(f"{MAP} .group button").evaluate_all(
        """all => all.filter(one => one.offsetParent).map(one => [one.offsetWidth, one.offsetHeight,
        one.getBoundingClientRect().bottom])"""
    )
    assert len(boxes) > 12
    assert min(min(wide, high) for wide, high, _ in boxes) >= least
    assert max(bottom for _, _, bottom in boxes) < 400


def test_a_finger_that_rests_shows_the_card_and_a_tap_selects(open_page: Open) -> None:
    page = open_page(has_touch=True)
    show_map(page, FEW)
    x, y = place_of(page, FEW, 44)
    cdp = page.context.new_cdp_session(page)
    point = [{"x": x, "y": y, "id": 0}]
    cdp.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": point})
    page.locator(".card").wait_for(state="visible")
    cdp.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert page.locator(".card").is_visible()  # it stays to be read
    assert rows_after(page, FEW, lambda: page.touchscreen.tap(*place_of(page, FEW, 17))) == {17}
    assert len(page.evaluate("window.told")) == 1
