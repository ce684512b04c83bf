"""The map in a real Chromium, against the bytes that Python packs."""

import numpy as np
import pytest
from map_site import (
    CLOUD,
    FEW,
    MANY,
    MAP,
    Open,
    Site,
    drag,
    even_odd,
    field_of,
    in_box,
    near,
    pixel_of,
    pixels_of,
    place_of,
    rgb,
    rows_after,
    shape,
    show_map,
    star,
    take,
    told_after,
)
from playwright.sync_api import Page

from curation.fields import CodeColumn
from curation.viewer import payload
from curation.viewer.palette import color
from embeddings.schema import Atlas

pytestmark = pytest.mark.browser


# ---- what is drawn ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("atlas", "dpr"),
    [(FEW, 1), (FEW, 2), (MANY, 1)],
    ids=["twelve clusters", "a fine screen", "four hundred clusters"],
)
def test_every_item_is_drawn_in_the_colour_of_its_cluster(
    open_page: Open, atlas: Atlas, dpr: int
) -> None:
    page = open_page(device_scale_factor=dpr)
    show_map(page, atlas)
    rows = range(0, len(atlas), 7)
    for row, seen in zip(rows, pixels_of(page, atlas, rows), strict=True):
        assert near(seen, rgb(color(int(atlas.cluster[row])))), (row, seen)
    assert page.locator(MAP).get_attribute("data-points") == str(len(atlas))
    assert page.locator(MAP).get_attribute("data-drawn") == str(len(atlas))


def test_recolouring_by_a_label_keeps_the_selection_and_a_label_fetches_only_what_changed(
    page: Page, site: Site
) -> None:
    codes = np.full(len(FEW), -1, np.int32)
    codes[:50] = 0
    site.columns["category"] = CodeColumn("category", codes, ["cat"], 4)
    fields = [field_of("cluster"), field_of("category", 4)]
    show_map(page, FEW, fields=fields, color_by="category")
    page.wait_for_selector(f"{MAP}[data-color='category']")
    assert near(pixel_of(page, FEW, 20), rgb(color(0)))
    assert near(pixel_of(page, FEW, 80), rgb("#9aa0a6"))
    told_after(page, lambda: take(page, 0))
    assert page.locator(MAP).get_attribute("data-selected") == "50"

    codes = codes.copy()
    codes[80:90] = 1
    site.columns["category"] = CodeColumn("category", codes, ["cat", "dog"], 5)
    site.changed = np.arange(80, 90)
    site.asked.clear()
    fields[1]["seq"] = 5
    show_map(page, FEW, fields=fields, color_by="category")
    page.wait_for_selector("[data-code='1']")
    assert site.asked == ["/column/few/category?since=4"]
    page.mouse.move(2, 690)  # off the legend, whose row stands out while the pointer is on it
    page.locator(MAP).evaluate("root => root.atlasMap.clear()")
    page.wait_for_function("document.querySelector('.atlas-map').atlasMap.pick === null")
    assert near(pixel_of(page, FEW, 80), rgb(color(1)))
    assert near(pixel_of(page, FEW, 20), rgb(color(0)))
    assert page.locator("[data-code='1']").inner_text().split() == ["dog", "10"]


def test_a_delta_that_does_not_follow_is_replaced_by_the_whole_column(
    page: Page, site: Site
) -> None:
    codes = np.zeros(len(FEW), np.int32)
    site.columns["category"] = CodeColumn("category", codes, ["cat"], 1)
    fields = [field_of("cluster"), field_of("category", 1)]
    show_map(page, FEW, fields=fields, color_by="category")
    site.columns["category"] = CodeColumn("category", codes + 1, ["a", "b"], 3)
    site.delta_from, site.changed = 2, np.arange(5)  # the page has 1 and asks for "since=1"
    fields[1]["seq"] = 3
    site.asked.clear()
    show_map(page, FEW, fields=fields, color_by="category")
    page.wait_for_selector("[data-code='1']")
    assert site.asked == ["/column/few/category?since=1", "/column/few/category"]
    assert near(pixel_of(page, FEW, 60), rgb(color(1)))


def test_excluded_items_stay_on_the_map_but_faint(page: Page, site: Site) -> None:
    codes = np.zeros(len(FEW), np.int32)
    codes[30] = 1
    flags = CodeColumn("flags", codes, ["excluded", "outlier"], 1, "bits")
    site.columns["flags"] = flags
    show_map(page, FEW, fields=[field_of("flags", 1, "bits")])
    assert 0 < pixel_of(page, FEW, 30)[3] < 120
    assert pixel_of(page, FEW, 31)[3] > 230


def test_what_is_not_selected_is_dimmed(page: Page) -> None:
    show_map(page, FEW)
    told_after(page, lambda: take(page, 3))
    chosen, other = (int(np.flatnonzero(FEW.cluster == number)[0]) for number in (3, 4))
    assert pixel_of(page, FEW, chosen)[3] > 230
    assert pixel_of(page, FEW, other)[3] < 90


def test_moving_draws_a_prefix_that_ends_with_a_level_and_rest_draws_everything(page: Page) -> None:
    show_map(page, CLOUD)
    drawn = page.evaluate(
        """() => { const map = document.querySelector('.atlas-map').atlasMap;
        map.budget = 5000; map.panBy(5, 5); map.drawNow();
        return Number(map.root.dataset.drawn) }"""
    )
    assert drawn in payload.order_of(CLOUD)[1]
    assert 1000 < drawn <= 5000
    page.wait_for_selector(f"{MAP}[data-drawn='20000']")


def test_names_stand_where_they_do_not_overlap_and_can_be_hidden(page: Page) -> None:
    show_map(page, CLOUD)
    shown = int(page.locator(MAP).get_attribute("data-names") or 0)
    assert 2 < shown <= 40
    page.locator(MAP).focus()
    page.keyboard.press("n")
    page.wait_for_selector(f"{MAP}[data-names='0']")


def test_the_dark_theme_lifts_dark_colours(open_page: Open) -> None:
    page = open_page(color_scheme="dark")
    show_map(page, FEW)
    row = int(np.flatnonzero(FEW.cluster == 2)[0])
    seen = pixel_of(page, FEW, row)
    assert sum(seen[:3]) > sum(rgb(color(2))) + 40
    assert "dark" in (page.locator(MAP).get_attribute("class") or "")


# ---- selecting ----------------------------------------------------------------------------------


def test_lasso_box_add_subtract_invert_and_clear_give_exactly_numpys_items(page: Page) -> None:
    show_map(page, CLOUD)
    grid = payload.quantise(CLOUD.xy).astype(np.int64)
    rng = np.random.default_rng(3)
    page.locator(MAP).focus()
    page.keyboard.press("l")
    expected: set[int] = set()
    for keys in ([], ["Shift"], ["Alt"], ["Shift"]):
        path = star(rng)
        rows = rows_after(page, CLOUD, lambda p=path, k=keys: drag(page, p, *k))
        hit = even_odd(grid, shape(page))
        assert 100 < len(hit) < 15_000
        expected = expected | hit if "Shift" in keys else expected - hit if "Alt" in keys else hit
        assert rows == expected
    page.keyboard.press("b")
    corners = [(250.0, 200.0), (480.0, 390.0)]
    rows = rows_after(page, CLOUD, lambda: drag(page, corners, "Alt"))
    expected -= in_box(grid, shape(page))
    assert rows == expected
    rows = rows_after(page, CLOUD, lambda: page.keyboard.press("i"))
    assert rows == set(range(len(CLOUD))) - expected
    assert rows_after(page, CLOUD, lambda: page.keyboard.press("Escape")) == set()


def test_a_lasso_after_zoom_and_move_is_as_exact(page: Page) -> None:
    show_map(page, CLOUD)
    page.mouse.move(350, 250)
    page.mouse.wheel(0, -700)
    drag(page, [(400, 300), (440, 350)])
    grid = payload.quantise(CLOUD.xy).astype(np.int64)
    path = star(np.random.default_rng(9))
    rows = rows_after(page, CLOUD, lambda: drag(page, path, "Shift"))
    assert rows == even_odd(grid, shape(page))
    assert len(rows) > 10


def test_the_wheel_zooms_at_the_pointer(page: Page) -> None:
    show_map(page, FEW)
    x, y = place_of(page, FEW, 44)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -500)
    page.wait_for_function("document.querySelector('.atlas-map').atlasMap.camera.zoom > 1.5")
    after = place_of(page, FEW, 44)
    assert abs(after[0] - x) < 1 and abs(after[1] - y) < 1


def test_click_selects_one_and_double_click_its_cluster(page: Page) -> None:
    show_map(page, FEW)
    assert rows_after(page, FEW, lambda: page.mouse.click(*place_of(page, FEW, 41))) == {41}

    def with_shift() -> None:
        page.keyboard.down("Shift")
        page.mouse.click(*place_of(page, FEW, 17))
        page.keyboard.up("Shift")

    assert rows_after(page, FEW, with_shift) == {17, 41}
    rows = rows_after(page, FEW, lambda: page.mouse.dblclick(*place_of(page, FEW, 41)))
    assert rows == set(np.flatnonzero(FEW.cluster == FEW.cluster[41]).tolist())
    assert len(page.evaluate("window.told")) == 3  # the clicks of a double click are not told


def test_a_click_beside_all_items_keeps_the_selection(page: Page) -> None:
    show_map(page, FEW)
    told_after(page, lambda: take(page, 3))
    (xa, ya), (xb, yb) = place_of(page, FEW, 41), place_of(page, FEW, 52)
    page.mouse.click((xa + xb) / 2, (ya + yb) / 2)
    page.wait_for_timeout(400)  # longer than a click waits for its double
    assert len(page.evaluate("window.told")) == 1


def test_the_legend_selects_adds_and_takes_away(page: Page) -> None:
    show_map(page, FEW)
    of = {number: set(np.flatnonzero(FEW.cluster == number).tolist()) for number in (-1, 2, 3)}
    assert rows_after(page, FEW, lambda: take(page, 2)) == of[2]
    assert rows_after(page, FEW, lambda: take(page, -1, modifiers=["Shift"])) == of[2] | of[-1]
    assert rows_after(page, FEW, lambda: take(page, 2, modifiers=["Alt"])) == of[-1]


def test_commands_are_obeyed_once_and_a_known_selection_is_not_told_back(page: Page) -> None:
    bits = payload.encode_selection([3, 5, 8], FEW)
    show_map(page, FEW, command={"seq": 1, "op": "select", "bits": bits})
    page.wait_for_selector(f"{MAP}[data-selected='3']")
    show_map(page, FEW, command={"seq": 1, "op": "clear"})
    page.wait_for_timeout(100)
    assert page.locator(MAP).get_attribute("data-selected") == "3"
    assert page.evaluate("window.told") == []
    command = {"seq": 2, "op": "invert"}
    rows = rows_after(page, FEW, lambda: show_map(page, FEW, command=command))
    assert rows == set(range(100)) - {3, 5, 8}
    show_map(page, FEW, command={"seq": 3, "op": "clear"})
    page.wait_for_selector(f"{MAP}[data-selected='0']")


def test_fingers_draw_with_the_tool_and_two_of_them_zoom(open_page: Open) -> None:
    page = open_page(has_touch=True)
    show_map(page, CLOUD)
    page.locator("[data-act='lasso']").click()
    cdp = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        fingers = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(points)]
        cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    def lasso() -> None:
        path = star(np.random.default_rng(5))
        touch("touchStart", path[0])
        for point in path[1:]:
            touch("touchMove", point)
        touch("touchEnd")

    rows = rows_after(page, CLOUD, lasso)
    assert rows == even_odd(payload.quantise(CLOUD.xy).astype(np.int64), shape(page))
    touch("touchStart", (350, 300), (450, 300))
    touch("touchMove", (300, 300), (500, 300))
    touch("touchEnd")
    page.wait_for_function(
        "Math.abs(document.querySelector('.atlas-map').atlasMap.camera.zoom - 2) < 0.05"
    )
    assert len(page.evaluate("window.told")) == 1


def test_everything_has_a_key_and_says_whether_it_is_on(page: Page) -> None:
    show_map(page, FEW)
    page.keyboard.press("Tab")
    for key, tool in (("l", "lasso"), ("b", "box"), ("p", "pan")):
        page.locator(MAP).focus()
        page.keyboard.press(key)
        button = page.locator(f"[data-act='{tool}']")
        assert button.get_attribute("aria-pressed") == "true"
        assert button.get_attribute("aria-label")
    camera = (
        "(({x, y, zoom}) => ({x, y, zoom}))(document.querySelector('.atlas-map').atlasMap.camera)"
    )
    home = page.evaluate(camera)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("+")
    away = page.evaluate(camera)
    assert away["x"] > home["x"] and away["zoom"] > home["zoom"]
    page.keyboard.press("f")
    assert page.evaluate(camera) == home
    rows = rows_after(page, FEW, lambda: page.keyboard.press("Enter"))
    assert len(rows) == 1
    names = page.locator(f"{MAP} button").evaluate_all(
        "all => all.map(one => one.getAttribute('aria-label') || one.textContent)"
    )
    assert all(name.strip() for name in names)
