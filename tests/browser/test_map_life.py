"""A map comes, goes, loses its context and its server."""

import numpy as np
import pytest
from map_site import (
    FEW,
    MANY,
    MAP,
    Site,
    launch,
    map_data,
    near,
    pixel_of,
    place_of,
    rgb,
    rows_after,
    show_map,
    take,
    told_after,
)
from playwright.sync_api import Page, Playwright

from curation.viewer import payload
from curation.viewer.palette import color

pytestmark = pytest.mark.browser


def test_camera_and_selection_survive_a_remount_and_nothing_is_told_again(page: Page) -> None:
    show_map(page, FEW)
    told_after(page, lambda: take(page, 3))
    page.mouse.move(400, 300)
    page.mouse.wheel(0, -400)
    page.wait_for_function("document.querySelector('.atlas-map').atlasMap.camera.zoom > 1.3")
    before = place_of(page, FEW, 44)
    page.evaluate("window.leave('map')")
    assert page.locator(MAP).count() == 0
    show_map(page, FEW)
    assert place_of(page, FEW, 44) == pytest.approx(before, abs=0.01)
    assert page.locator(MAP).get_attribute("data-selected") == str((FEW.cluster == 3).sum())
    assert len(page.evaluate("window.told")) == 1


def test_another_atlas_drops_the_selection(page: Page) -> None:
    show_map(page, FEW)
    told_after(page, lambda: take(page, 3))
    show_map(page, MANY)
    assert page.locator(MAP).get_attribute("data-selected") == "0"
    assert page.locator(MAP).get_attribute("data-points") == "400"


def test_a_new_server_session_is_told_the_selection_again(page: Page) -> None:
    show_map(page, FEW, session="one")
    told_after(page, lambda: take(page, 3))
    message = told_after(page, lambda: show_map(page, FEW, session="two"))
    assert message["count"] == (FEW.cluster == 3).sum()


def test_eighteen_maps_one_after_the_other_leave_no_context_behind(page: Page) -> None:
    warnings: list[str] = []
    page.on("console", lambda message: warnings.append(message.text))
    for _ in range(18):
        show_map(page, FEW)
        page.evaluate("window.leave('map')")
    show_map(page, FEW)
    assert near(pixel_of(page, FEW, 40), rgb(color(int(FEW.cluster[40]))))
    assert not [text for text in warnings if "Too many active WebGL contexts" in text]


def test_a_lost_context_says_so_and_comes_back(page: Page) -> None:
    show_map(page, FEW)
    told_after(page, lambda: take(page, 3))
    page.evaluate(
        """() => { window.loss = document.querySelector('.atlas-map').atlasMap.gl
        .getExtension('WEBGL_lose_context'); window.loss.loseContext() }"""
    )
    page.wait_for_selector(f"{MAP}[data-error='context lost']")
    page.evaluate("window.loss.restoreContext()")
    page.wait_for_selector(f"{MAP}:not([data-error])")
    row = int(np.flatnonzero(FEW.cluster == 3)[0])
    assert near(pixel_of(page, FEW, row), rgb(color(3)))
    assert pixel_of(page, FEW, row)[3] > 230


def test_without_webgl2_a_sentence_says_what_to_do(playwright: Playwright, site: Site) -> None:
    bare = launch(playwright, "--disable-3d-apis")
    page = bare.new_page()
    page.goto(site.url)
    page.wait_for_selector("html[data-loaded]", state="attached")
    page.evaluate("data => window.show('map', data)", map_data(FEW))
    page.wait_for_selector(f"{MAP}[data-error]")
    assert "hardware acceleration" in page.locator(".veil").inner_text()
    bare.close()


def test_without_webgl2_the_legend_still_selects_and_the_host_is_told(
    playwright: Playwright, site: Site
) -> None:
    bare = launch(playwright, "--disable-3d-apis")
    page = bare.new_page(viewport={"width": 940, "height": 700})
    page.goto(site.url)
    page.wait_for_selector("html[data-loaded]", state="attached")
    show_map(page, FEW)
    assert "legend still selects" in page.locator(".veil").inner_text()
    rows = rows_after(page, FEW, lambda: take(page, 3))
    assert rows == set(np.flatnonzero(FEW.cluster == 3).tolist())
    rows = rows_after(page, FEW, lambda: page.locator("[data-act='invert']").click())
    assert rows == set(np.flatnonzero(FEW.cluster != 3).tolist())
    assert page.locator(MAP).get_attribute("data-error")
    assert page.locator(".tools").is_hidden()
    bare.close()


# ---- what outlives the page ---------------------------------------------------------------------


def again(page: Page, *before: str) -> None:
    """Load the page anew, as F5 does."""
    for script in before:
        page.evaluate(script)
    page.reload()
    page.wait_for_selector("html[data-loaded]", state="attached")


def test_a_reload_keeps_what_was_chosen_and_tells_the_new_session_once(page: Page) -> None:
    show_map(page, FEW, session="one")
    of_three = int((FEW.cluster == 3).sum())
    told_after(page, lambda: take(page, 3))
    page.locator(MAP).focus()
    page.keyboard.press("d")
    page.keyboard.press("]")
    page.keyboard.press("n")
    page.mouse.move(400, 300)
    page.mouse.wheel(0, -400)
    page.wait_for_function("document.querySelector('.atlas-map').atlasMap.camera.zoom > 1.3")
    place = place_of(page, FEW, 44)
    again(page)
    show_map(page, FEW, session="two")
    page.wait_for_function("window.told.length === 1")
    message = page.evaluate("window.told[0].value")
    assert message["count"] == of_three
    assert (FEW.cluster[payload.decode_selection(message, FEW).rows] == 3).all()
    assert page.locator(MAP).get_attribute("data-selected") == str(of_three)
    assert page.locator(MAP).get_attribute("data-tool") == "brush"
    assert page.locator(MAP).get_attribute("data-names") == "0"
    assert place_of(page, FEW, 44) == pytest.approx(place, abs=0.01)
    memory = "document.querySelector('.atlas-map').atlasMap.memory"
    assert page.evaluate(f"{memory}.radius") == pytest.approx(24 * 1.2)
    show_map(page, FEW, session="two")
    assert page.evaluate("window.told.length") == 1


def test_a_reload_onto_another_atlas_drops_selection_and_view(page: Page) -> None:
    show_map(page, FEW, session="one")
    told_after(page, lambda: take(page, 3))
    again(page)
    show_map(page, MANY, session="two")
    assert page.locator(MAP).get_attribute("data-selected") == "0"
    assert page.evaluate("window.told") == []


def test_rubbish_in_the_storage_is_ignored_piece_by_piece(page: Page) -> None:
    show_map(page, FEW)
    told_after(page, lambda: take(page, 3))
    page.locator(MAP).focus()
    page.keyboard.press("l")
    page.wait_for_function("Object.keys(sessionStorage).length === 2")
    again(
        page,
        """addEventListener('pagehide', () => { // after the map has written
        for (const name of Object.keys(sessionStorage)) {
          const kept = JSON.parse(sessionStorage.getItem(name));
          if (name.endsWith('selected')) kept.bits = '%% no base64';
          else Object.assign(kept, { view: { x: 'left' }, names: 7, filters: [1], seq: -3 });
          sessionStorage.setItem(name, JSON.stringify(kept));
        } })""",
    )
    show_map(page, FEW)
    assert page.locator(MAP).get_attribute("data-tool") == "lasso"  # this piece was sound
    assert page.locator(MAP).get_attribute("data-selected") == "0"
    assert int(page.locator(MAP).get_attribute("data-names") or 0) > 0
    assert len(rows_after(page, FEW, lambda: take(page, 3))) == (FEW.cluster == 3).sum()


def test_where_the_storage_is_full_the_selection_goes_first(page: Page) -> None:
    page.evaluate(
        """() => { const put = Storage.prototype.setItem;
        Storage.prototype.setItem = function (name, text) {
          if (name.endsWith('selected')) throw new DOMException('full', 'QuotaExceededError');
          put.call(this, name, text);
        } }"""
    )
    show_map(page, FEW, session="one")
    told_after(page, lambda: take(page, 3))
    page.locator(MAP).focus()
    page.keyboard.press("b")
    again(page)
    show_map(page, FEW, session="two")
    assert page.locator(MAP).get_attribute("data-tool") == "box"
    assert page.locator(MAP).get_attribute("data-selected") == "0"
    assert page.evaluate("window.told") == []


def test_a_frame_without_storage_works_as_before(page: Page) -> None:
    page.evaluate(
        """Object.defineProperty(window, 'sessionStorage', { get() {
        throw new DOMException('sandboxed', 'SecurityError') } })"""
    )
    show_map(page, FEW)
    rows = rows_after(page, FEW, lambda: take(page, 3))
    assert rows == set(np.flatnonzero(FEW.cluster == 3).tolist())
    page.evaluate("window.leave('map')")
    show_map(page, FEW)
    assert page.locator(MAP).get_attribute("data-selected") == str(len(rows))


# ---- screens and cards --------------------------------------------------------------------------


def test_a_context_that_does_not_come_back_is_taken_anew_by_a_button(page: Page) -> None:
    show_map(page, FEW)
    told_after(page, lambda: take(page, 3))
    page.evaluate(
        """() => { const map = document.querySelector('.atlas-map').atlasMap; map.patience = 50;
        window.old = map.canvas; map.gl.getExtension('WEBGL_lose_context').loseContext() }"""
    )
    page.get_by_role("button", name="Draw again").click()
    page.wait_for_selector(f"{MAP}:not([data-error])")
    row = int(np.flatnonzero(FEW.cluster == 3)[0])
    assert near(pixel_of(page, FEW, row), rgb(color(3)))
    assert page.locator(f"{MAP} canvas.points").count() == 1
    assert page.evaluate("!window.old.isConnected")
    assert page.locator(MAP).get_attribute("data-selected") == str((FEW.cluster == 3).sum())


def test_a_window_moved_to_a_finer_screen_is_drawn_with_its_pixels(page: Page) -> None:
    page.evaluate(
        """() => { const real = window.matchMedia; window.screens = []; // Chromium without a screen
        window.matchMedia = (query) => { // tells nobody that it has moved, so the test does
          const found = real.call(window, query);
          if (query.includes('resolution')) window.screens.push(found);
          return found;
        } }"""
    )
    show_map(page, FEW)
    size = "(one => [one.width, one.clientWidth])(document.querySelector('canvas.points'))"
    wide, room = page.evaluate(size)
    assert wide == room
    page.evaluate(
        """() => { Object.defineProperty(window, 'devicePixelRatio', { value: 2 });
        window.screens.at(-1).dispatchEvent(new Event('change')) }"""
    )
    assert page.evaluate("window.screens.at(-1).media") == "(resolution: 2dppx)"  # the next move
    assert page.evaluate(size) == [2 * room, room]
    assert near(pixel_of(page, FEW, 40), rgb(color(int(FEW.cluster[40]))))


def test_a_server_that_is_gone_is_named_and_can_be_tried_again(page: Page, site: Site) -> None:
    site.broken = True
    page.evaluate("data => window.show('map', data)", map_data(FEW))
    page.wait_for_selector(f"{MAP}[data-error]")
    assert "This atlas is gone" in page.locator(".veil").inner_text()
    site.broken = False
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(f"{MAP}[data-ready]:not([data-error])")
    assert near(pixel_of(page, FEW, 40), rgb(color(int(FEW.cluster[40]))))
