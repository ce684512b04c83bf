"""What happens while something is on its way, comes late, or does not come at all."""

from typing import Any

import numpy as np
import pytest
from map_site import (
    FEW,
    MAP,
    Open,
    Site,
    field_of,
    make_atlas,
    map_data,
    place_of,
    rows_after,
    show_map,
    wire_index,
)
from playwright.sync_api import Page, Route

from curation.fields import CodeColumn
from curation.viewer import layouts, payload
from embeddings.schema import Atlas

pytestmark = pytest.mark.browser

OTHER = make_atlas(FEW.xy[::-1].copy(), np.arange(100) % 12 - 1, "other")
SOLID = make_atlas(
    np.random.default_rng(3).random((300, 3)),
    np.random.default_rng(4).integers(-1, 5, 300),
    "solid",
)


@pytest.fixture(autouse=True)
def more_atlases(site: Site) -> None:
    site.atlases |= {OTHER.version: OTHER, SOLID.version: SOLID}


def state(page: Page, expression: str) -> Any:
    return page.evaluate(f"(map => {expression})(document.querySelector('.atlas-map').atlasMap)")


def until(page: Page, condition: str) -> None:
    page.wait_for_function(f"(map => {condition})(document.querySelector('.atlas-map').atlasMap)")


def decided(site: Site, seq: int, cats: int = 50) -> list[dict[str, Any]]:
    """Let the site know a category of so many cats, the rest dogs; return the fields."""
    codes = (np.arange(100) >= cats).astype(np.int32)
    site.columns["category"] = CodeColumn("category", codes, ["cat", "dog"], seq)
    site.changed = np.arange(100)
    return [field_of("cluster"), field_of("category", seq)]


def hand_over(page: Page, atlas: Atlas, **more: Any) -> None:
    """Give the map data without waiting for it."""
    page.evaluate("data => void window.show('map', data)", map_data(atlas, **more))


def by_category(page: Page) -> None:
    page.locator(".layouts select").select_option("category")
    page.wait_for_selector(f"{MAP}[data-layout='by']:not([data-arranging])")


class Held:
    """Requests of one address that wait until they are let go."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.routes: list[Route] = []
        page.route(address, lambda route: self.routes.append(route))

    def arrived(self) -> None:
        while not self.routes:
            self.page.wait_for_timeout(10)

    def let_go(self) -> None:
        for route in self.routes:
            route.continue_()
        self.page.unroute(self.address)


def shown(page: Page) -> np.ndarray:
    return np.array(state(page, "[...map.places.x].map((one, i) => [one, map.places.y[i]])"))


def in_wire_order(atlas: Atlas, found: layouts.Places) -> np.ndarray:
    return np.stack([found.x, found.y], 1)[payload.order_of(atlas)[0]].astype(int)


# ---- another atlas ------------------------------------------------------------------------------


def test_until_another_atlas_is_here_everything_is_of_the_one_that_is_shown(page: Page) -> None:
    show_map(page, FEW)
    page.locator(".layouts [data-layout='grid']").click()
    page.wait_for_selector(f"{MAP}[data-layout='grid']")
    held = Held(page, "**/places/other/**")
    hand_over(page, OTHER)
    held.arrived()
    pick = f"(hit => {{ hit[{wire_index(FEW, 0)}] = 1; map.select(hit, 'set') }})"
    rows = rows_after(page, FEW, lambda: state(page, f"{pick}(new Uint8Array(100))"))
    assert rows == {0}
    state(page, "map.keeper.write()")
    assert state(page, "[map.version, map.memory.version]") == ["few", "few"]
    state(page, "map.brushTo([400, 300], 'set')")
    held.let_go()
    page.wait_for_selector(f"{MAP}[data-version='other'][data-ready]")
    assert state(page, "map.memory.selected.reduce((a, b) => a + b)") == 0
    assert state(page, "[map.stroke, map.preview, map.memory.past.length]") == [None, None, 1]
    assert np.array_equal(shown(page), in_wire_order(OTHER, layouts.grid_places(OTHER.xy)))
    state(page, "map.keeper.write()")
    kept = page.evaluate("Object.values(sessionStorage).map(text => JSON.parse(text).version)")
    assert set(kept) == {"other"}


def test_while_another_atlas_is_on_its_way_no_layout_can_be_chosen(page: Page, site: Site) -> None:
    show_map(page, FEW)
    held = Held(page, "**/points/other*")
    hand_over(page, OTHER)
    held.arrived()
    site.asked.clear()
    page.locator(".layouts [data-layout='grid']").click()
    assert "being loaded" in page.locator(".note").inner_text()
    held.let_go()
    page.wait_for_selector(f"{MAP}[data-version='other'][data-ready]")
    assert page.locator(MAP).get_attribute("data-layout") == "map"
    assert not [path for path in site.asked if path.startswith("/places")]


def test_the_layout_of_another_atlas_is_not_shown(page: Page) -> None:
    show_map(page, FEW)
    grid = f"{page.url}places/other/grid"
    page.route("**/places/few/grid", lambda route: route.fulfill(response=route.fetch(url=grid)))
    page.locator(".layouts [data-layout='grid']").click()
    page.wait_for_selector(".note:not([hidden])")
    assert "another atlas" in page.locator(".note").inner_text()
    assert page.locator(MAP).get_attribute("data-layout") == "map"


# ---- columns ------------------------------------------------------------------------------------


def test_a_column_out_of_use_is_forgotten_and_never_shown_outdated(page: Page, site: Site) -> None:
    show_map(page, FEW, fields=decided(site, 1, cats=100), color_by="category")
    state(page, "map.setColor('cluster')")
    until(page, "!map.columns.has('category')")
    show_map(page, FEW, fields=decided(site, 2, cats=0), color_by="category")
    page.mouse.move(*place_of(page, FEW, 44))
    page.wait_for_selector(".card:not([hidden])")
    assert "cat" not in page.locator(".card .facts").inner_text().split("\n")
    assert state(page, "[...map.columns.keys()]") == ["cluster"]


def test_an_older_answer_does_not_replace_a_newer_column(page: Page, site: Site) -> None:
    show_map(page, FEW, fields=decided(site, 1))
    late: list[tuple[Route, Any]] = []

    def first_waits(route: Route) -> None:
        if late:
            route.continue_()
        else:
            late.append((route, route.fetch()))

    page.route("**/column/**", first_waits)
    page.evaluate(
        "() => { const map = document.querySelector('.atlas-map').atlasMap;"
        " window.done = false; map.setColor('category').then(() => { window.done = true }) }"
    )
    while not late:
        page.wait_for_timeout(10)
    hand_over(page, FEW, fields=decided(site, 2))
    until(page, "map.columns.get('category')?.seq === 2")
    late[0][0].fulfill(response=late[0][1])
    page.wait_for_function("window.done")
    assert state(page, "map.columns.get('category').seq") == 2


def test_a_column_that_fails_leaves_the_map_usable_and_can_be_asked_for_again(
    page: Page, site: Site
) -> None:
    show_map(page, FEW, fields=decided(site, 1))
    page.route("**/column/**", lambda route: route.abort())
    state(page, "map.setColor('category')")
    note = page.locator(".note").inner_text()
    assert "category could not be loaded" in note and "show cluster" in note
    assert page.locator(".veil").is_hidden()
    assert page.locator(".legend select").input_value() == "cluster"
    page.unroute("**/column/**")
    page.locator(".legend select").select_option("category")
    page.wait_for_selector(f"{MAP}[data-color='category']")
    assert page.locator(".veil").is_hidden()


def test_what_is_gone_after_a_reload_is_done_without(page: Page, site: Site) -> None:
    fields = [field_of("cluster"), field_of("broken")]
    site.columns["broken"] = CodeColumn("broken", np.zeros(100, np.int32), ["one"], 0)
    show_map(page, FEW, fields=fields)
    state(page, "map.setColor('broken')")
    page.wait_for_selector(f"{MAP}[data-color='broken']")
    state(page, "map.filters.set('broken', {codes: ['one']})")
    page.locator(".layouts select").select_option("broken")
    page.wait_for_selector(f"{MAP}[data-layout='by']")
    page.reload()
    page.wait_for_selector("html[data-loaded]", state="attached")
    for address in ("**/column/**", "**/places/**"):
        page.route(address, lambda route: route.fulfill(status=404, body="absent"))
    show_map(page, FEW, fields=fields)
    assert page.locator(MAP).get_attribute("data-layout") == "map"
    assert page.locator(MAP).get_attribute("data-color") == "cluster"
    assert page.locator(MAP).get_attribute("data-filters") == "0"
    assert page.locator(".veil").is_hidden()
    note = page.locator(".note").inner_text()
    assert "no longer has it" in note and "atlas is gone" not in note
    assert state(page, "[map.memory.color, map.memory.arrangement.kind]") == ["cluster", "map"]
    assert state(page, "Object.keys(map.memory.filters).length") == 0


def test_a_change_in_narrower_codes_is_not_mixed_into_wider_ones(page: Page) -> None:
    follows = page.evaluate(
        """async () => {
          const source = `${await (await fetch('/map.mjs')).text()};export { Column };`;
          const made = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
          const { Column } = await import(made);
          const header = { legend: [], none: { name: 'none', count: 0, color: '#888888' } };
          const wide = new Column('one', new Uint32Array([70000, 5]), { ...header, seq: 1 });
          const change = (codes) => wide.after({
            header: { ...header, form: 'delta', since: 1, seq: 2 },
            columns: { indices: new Uint32Array([0]), codes } });
          return [change(new Uint16Array([0xffff])), change(new Uint32Array([6]))?.code(0)];
        }"""
    )
    assert follows == [None, 6]


# ---- layouts ------------------------------------------------------------------------------------


def test_a_layout_that_comes_after_one_has_left_it_is_not_shown(page: Page, site: Site) -> None:
    show_map(page, FEW, fields=decided(site, 1))
    by_category(page)
    held = Held(page, "**/places/**")
    hand_over(page, FEW, fields=decided(site, 2, cats=20))
    held.arrived()
    page.locator(".layouts [data-layout='map']").click()
    page.wait_for_selector(f"{MAP}[data-layout='map']")
    held.let_go()
    state(page, "map.work")
    assert page.locator(MAP).get_attribute("data-layout") == "map"


def test_a_layout_that_fails_to_follow_a_label_stays(page: Page, site: Site) -> None:
    show_map(page, FEW, fields=decided(site, 1))
    by_category(page)
    before = shown(page)
    page.route("**/places/**", lambda route: route.abort())
    show_map(page, FEW, fields=decided(site, 2, cats=20))
    state(page, "map.work")
    assert "layout by category could not be loaded" in page.locator(".note").inner_text()
    assert page.locator(".veil").is_hidden()
    assert np.array_equal(shown(page), before)


def test_a_layout_that_fails_leaves_the_one_before(page: Page) -> None:
    show_map(page, FEW)
    page.route("**/places/**", lambda route: route.abort())
    page.locator(".layouts [data-layout='grid']").click()
    page.wait_for_selector(".note:not([hidden])")
    assert page.locator(".veil").is_hidden()
    pressed = page.locator(".layouts [aria-pressed='true']")
    assert pressed.get_attribute("data-layout") == "map"
    page.unroute("**/places/**")
    page.locator(".layouts [data-layout='grid']").click()
    page.wait_for_selector(f"{MAP}[data-layout='grid']")


def test_a_label_leaves_the_camera_to_the_hand(open_page: Open, site: Site) -> None:
    page = open_page(reduced_motion="no-preference")
    show_map(page, FEW, fields=decided(site, 1))
    by_category(page)
    state(page, "map.zoomAt(400, 300, 2)")
    hand_over(page, FEW, fields=decided(site, 2, cats=20))
    page.wait_for_selector(f"{MAP}[data-arranging]")
    wanted = state(page, "(map.panBy(90, 0), map.camera.view)")
    page.wait_for_selector(f"{MAP}:not([data-arranging])")
    assert state(page, "map.camera.view") == wanted
    assert state(page, "map.untouched") is False


def test_the_card_goes_when_its_item_goes_elsewhere(page: Page) -> None:
    show_map(page, FEW)
    page.mouse.move(*place_of(page, FEW, 44))
    page.wait_for_selector(".card:not([hidden])")
    state(page, "map.arrangement.show('grid')")
    page.wait_for_selector(f"{MAP}[data-layout='grid']")
    assert page.locator(".card").is_hidden()


def test_the_overview_turns_with_the_orbit(page: Page) -> None:
    show_map(page, SOLID)
    page.locator(".layouts [data-layout='orbit']").click()
    state(page, "map.zoomBy(2)")
    page.wait_for_selector(".minimap:not([hidden]) canvas")
    picture = "document.querySelector('.minimap canvas').toDataURL()"
    until(page, "map.minimap.drawn.length && !map.moving")
    before = page.evaluate(picture)
    state(page, "map.arrangement.orbit.turnBy(300, 80)")
    until(page, "!map.arrangement.orbit.stale")
    assert page.evaluate(picture) != before


def test_what_is_hit_right_after_a_turn_is_what_stands_there(page: Page) -> None:
    show_map(page, SOLID)
    state(page, "(map.memory.thumbnails = false, map.arrangement.show('orbit'))")
    page.wait_for_selector(f"{MAP}[data-layout='orbit']")
    found = state(
        page,
        """{
          map.itemAt([400, 300]); // makes the index
          map.arrangement.orbit.turnBy(300, 80);
          const item = map.itemAt([400, 300], 600);
          const away = [...Array(map.n).keys()].map((i) => {
            const [x, y] = map.camera.toScreen(map.places.x[i], map.places.y[i]);
            return Math.hypot(x - 400, y - 300);
          });
          const { x } = map.places;
          const turned = [...x];
          map.arrangement.orbit.project(map.n);
          return [away[item] - Math.min(...away), turned.every((one, i) => one === x[i])];
        }""".replace("{\n", "(() => {\n", 1)
        + ")()",
    )
    assert found == [0, True]


def test_the_list_of_fields_is_written_only_when_they_change(page: Page, site: Site) -> None:
    fields = decided(site, 1)
    show_map(page, FEW, fields=fields)
    page.evaluate("window.option = document.querySelector('.by option:nth-child(2)')")
    show_map(page, FEW, fields=decided(site, 2))
    assert page.evaluate("window.option.isConnected")
    show_map(page, FEW, fields=[*fields, field_of("another")])
    titles = page.locator(".by option").all_inner_texts()
    assert titles == ["field…", "cluster", "category", "another"]
