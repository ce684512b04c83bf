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
    show_map,
    told_after,
)
from playwright.sync_api import Page, Playwright

from curation.viewer.palette import color

pytestmark = pytest.mark.browser


def test_camera_and_selection_survive_a_remount_and_nothing_is_told_again(page: Page) -> None:
    show_map(page, FEW)
    told_after(page, lambda: page.locator("[data-code='3']").click())
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
    told_after(page, lambda: page.locator("[data-code='3']").click())
    show_map(page, MANY)
    assert page.locator(MAP).get_attribute("data-selected") == "0"
    assert page.locator(MAP).get_attribute("data-points") == "400"


def test_a_new_server_session_is_told_the_selection_again(page: Page) -> None:
    show_map(page, FEW, session="one")
    told_after(page, lambda: page.locator("[data-code='3']").click())
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
    told_after(page, lambda: page.locator("[data-code='3']").click())
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


def test_a_server_that_is_gone_is_named_and_can_be_tried_again(page: Page, site: Site) -> None:
    site.broken = True
    page.evaluate("data => window.show('map', data)", map_data(FEW))
    page.wait_for_selector(f"{MAP}[data-error]")
    assert "This atlas is gone" in page.locator(".veil").inner_text()
    site.broken = False
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(f"{MAP}[data-ready]:not([data-error])")
    assert near(pixel_of(page, FEW, 40), rgb(color(int(FEW.cluster[40]))))
