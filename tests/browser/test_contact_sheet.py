"""The contact sheet in a real Chromium."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from map_site import SHEET
from playwright.sync_api import Page

from curation.viewer import component

pytestmark = pytest.mark.browser


def show_sheet(page: Page, ids: list[str], **more: Any) -> None:
    data = {
        "key": "sheet",
        "version": component.sheet_version(ids),
        "ids": ids,
        "thumb_url": "/thumb/{id}",
        "height": 400,
        **more,
    }
    page.evaluate("data => window.show('sheet', data)", data)
    page.wait_for_selector(f"{SHEET}[data-ready][data-version='{data['version']}']")


def strays_after(page: Page, ids: list[str], act: Callable[[], object]) -> list[int]:
    before = int(page.locator(SHEET).get_attribute("data-seq") or 0)
    act()
    page.wait_for_selector(f"{SHEET}[data-seq='{before + 1}']")
    message = page.evaluate("window.told.at(-1).value")
    return np.flatnonzero(component.decode_strays(message, ids)).tolist()


IDS = [f"item{row:06d}" for row in range(60)]


def test_a_click_drops_and_a_shift_click_drops_the_range(page: Page) -> None:
    show_sheet(page, IDS, clusters=[4] * 60, labels=[None] * 59 + ["cat"])
    tile = page.locator(".tile")
    assert strays_after(page, IDS, tile.nth(5).click) == [5]
    assert tile.nth(5).get_attribute("aria-label") == "Item 6 of 60, cluster 4, no label, dropped"
    ranged = strays_after(page, IDS, lambda: tile.nth(8).click(modifiers=["Shift"]))
    assert ranged == [5, 6, 7, 8]
    assert strays_after(page, IDS, tile.nth(6).click) == [5, 7, 8]
    assert page.locator(f"{SHEET} output").inner_text() == "57 kept · 3 dropped"
    assert strays_after(page, IDS, page.get_by_role("button", name="Keep all").click) == []


def test_the_sheet_is_worked_by_keyboard_alone(page: Page) -> None:
    show_sheet(page, IDS)
    page.locator(".tile").first.focus()
    across = page.evaluate(
        """() => { const all = [...document.querySelectorAll('.tile')];
        return all.filter((one) => one.offsetTop === all[0].offsetTop).length }"""
    )
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert strays_after(page, IDS, lambda: page.keyboard.press("Space")) == [across + 1]
    dropped = strays_after(page, IDS, lambda: page.keyboard.press("Delete"))
    assert dropped == [across + 1]
    assert strays_after(page, IDS, lambda: page.keyboard.press("Delete")) == [
        across + 1,
        across + 2,
    ]
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.dataset.index") == "59"
    assert page.evaluate("document.querySelectorAll('.tile[tabindex=\"0\"]').length") == 1
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert outline == "3px"


def test_thousands_of_items_are_added_as_one_scrolls(page: Page) -> None:
    many = [f"item{row:06d}" for row in range(3000)]
    show_sheet(page, many)
    first = int(page.locator(SHEET).get_attribute("data-shown") or 0)
    assert 0 < first < 1000
    page.locator(".scroll").evaluate("box => box.scrollTo(0, box.scrollHeight)")
    page.wait_for_function(f"Number(document.querySelector('{SHEET}').dataset.shown) > {first}")
    page.locator(".tile").first.focus()
    page.keyboard.press("End")
    assert strays_after(page, many, lambda: page.keyboard.press("Space")) == [2999]


def test_dropped_items_survive_a_new_label_but_not_another_sheet(page: Page) -> None:
    show_sheet(page, IDS)
    strays_after(page, IDS, page.locator(".tile").nth(5).click)
    show_sheet(page, IDS, labels=["cat"] * 60)
    assert page.locator(".tile").nth(5).get_attribute("aria-pressed") == "true"
    assert page.locator(".badge").first.inner_text() == "cat"
    show_sheet(page, IDS[:30], dropped=[2, 3])
    assert page.locator(SHEET).get_attribute("data-dropped") == "2"
    assert len(page.evaluate("window.told")) == 1


def test_a_sheet_that_appears_anew_drops_what_the_host_says(page: Page) -> None:
    show_sheet(page, IDS)
    strays_after(page, IDS, page.locator(".tile").nth(5).click)
    page.evaluate("window.leave('sheet')")
    show_sheet(page, IDS, dropped=[5, 7])
    assert page.locator(SHEET).get_attribute("data-dropped") == "2"
    page.evaluate("window.leave('sheet')")
    show_sheet(page, IDS)
    assert page.locator(".tile[aria-pressed='true']").count() == 0, "selected anew, all are kept"


def test_a_sheet_that_stayed_takes_what_the_host_says_once_it_has_heard_everything(
    page: Page,
) -> None:
    show_sheet(page, IDS, told=0)
    strays_after(page, IDS, page.locator(".tile").nth(5).click)
    show_sheet(page, IDS, told=1, dropped=[])  # let go and selected again before it could leave
    assert page.locator(".tile[aria-pressed='true']").count() == 0
    assert page.locator(SHEET).get_attribute("data-kept") == "60"
    assert len(page.evaluate("window.told")) == 1


def test_what_the_host_has_not_heard_stays_dropped_and_is_told_once_more(page: Page) -> None:
    show_sheet(page, IDS, told=0)
    strays_after(page, IDS, page.locator(".tile").nth(5).click)
    for _ in range(3):  # runs that began before the click
        show_sheet(page, IDS, told=0, dropped=[])
    assert page.locator(".tile[aria-pressed='true']").count() == 1
    first, *again = page.evaluate("window.told.map((one) => one.value)")
    assert again == [first] and first["dropped"] == [5] and first["seq"] == 1


def test_a_message_on_its_way_about_other_items_never_wipes_a_tap(page: Page) -> None:
    show_sheet(page, IDS, told=0)
    strays_after(page, IDS, page.locator(".tile").nth(5).click)
    other = IDS[:30]
    show_sheet(page, other, told=0)  # the first tap has not been heard
    assert strays_after(page, other, page.locator(".tile").nth(2).click) == [2]
    show_sheet(page, other, told=1, dropped=[])  # it was, and was refused
    assert page.locator(".tile[aria-pressed='true']").count() == 1
    first, second, *again = page.evaluate("window.told.map((one) => one.value)")
    assert (first["seq"], second["seq"]) == (1, 2) and again == [second]
    show_sheet(page, other, told=2, dropped=[2, 4])
    assert page.locator(SHEET).get_attribute("data-dropped") == "2"


def test_where_only_other_items_are_waited_for_the_host_is_followed_in_silence(page: Page) -> None:
    show_sheet(page, IDS, told=0)
    strays_after(page, IDS, page.locator(".tile").nth(5).click)
    for told, dropped in ((0, []), (0, [3]), (1, [3, 4])):
        show_sheet(page, IDS[:30], told=told, dropped=dropped)
        assert page.locator(SHEET).get_attribute("data-dropped") == str(len(dropped))
    assert len(page.evaluate("window.told")) == 1


def test_a_range_begins_on_the_items_that_are_shown(page: Page) -> None:
    show_sheet(page, IDS)
    strays_after(page, IDS, page.locator(".tile").nth(50).click)
    few = IDS[:20]
    show_sheet(page, few)
    tile = page.locator(".tile")
    assert strays_after(page, few, lambda: tile.nth(3).click(modifiers=["Shift"])) == [3]
    assert strays_after(page, few, lambda: tile.nth(5).click(modifiers=["Shift"])) == [3, 4, 5]


def test_flags_are_shown_and_a_part_cannot_be_swapped(page: Page) -> None:
    flags = ["excluded", "outlier, unclear", *[None] * 58]
    show_sheet(page, IDS, flags=flags, total=4000)
    tile = page.locator(".tile")
    assert tile.nth(0).locator(".flag").inner_text() == "excluded"
    assert tile.nth(1).get_attribute("aria-label") == (
        "Item 2 of 60, no label, outlier, unclear, kept"
    )
    assert page.locator(".tile.excluded").count() == 1
    assert page.locator(f"{SHEET} output").inner_text() == "60 of 4,000 shown"
    assert page.get_by_role("button", name="Swap").is_disabled()
    assert strays_after(page, IDS, tile.nth(5).click) == [5]
    assert page.locator(f"{SHEET} output").inner_text() == "60 of 4,000 shown · 1 dropped"


def test_a_picture_that_does_not_come_leaves_a_plain_tile(page: Page) -> None:
    show_sheet(page, IDS)
    page.wait_for_selector(".tile.absent[data-index='7']")
    assert page.locator(".tile.absent").count() == 1


FORCED = """([tile, what]) => {
    const cross = document.querySelectorAll('.tile')[tile].querySelector('.cross');
    const style = getComputedStyle(cross, what);
    return [style.backgroundColor, style.boxShadow]; }"""
INK = """() => { const probe = document.body.appendChild(document.createElement('i'));
    probe.style = 'color: CanvasText; background: Canvas';
    const { color, backgroundColor: paper } = getComputedStyle(probe); return [color, paper]; }"""


def test_a_cross_is_seen_where_colours_are_forced(page: Page) -> None:
    show_sheet(page, IDS)
    strays_after(page, IDS, page.locator(".tile").nth(5).click)
    page.emulate_media(forced_colors="active")
    ink, paper = page.evaluate(INK)
    assert page.evaluate(FORCED, [5, "::before"])[0] == ink != paper
    assert ink in page.evaluate(FORCED, [5, None])[1], "its ring"


def test_the_cut_and_what_is_taken_in_are_seen_where_colours_are_forced(page: Page) -> None:
    """The Clean page's own style sheet, on tiles as it dresses them."""
    page.add_style_tag(content=component.style("clean"))
    show_sheet(page, IDS)
    page.evaluate(
        """() => { const [tile, first] = document.querySelectorAll('.tile');
        document.querySelector('#host').classList.add('cleaning');
        tile.classList.add('behind', 'picked');
        first.classList.add('behind', 'first');
        first.parentElement.classList.add('flowing'); }"""
    )
    page.emulate_media(forced_colors="active")
    ink, paper = page.evaluate(INK)
    assert ink in page.evaluate(FORCED, [0, None])[1] and ink != paper
    assert page.evaluate(FORCED, [0, "::after"])[0] == ink, "its tick"
    edge = page.locator(".tile.first").evaluate("tile => getComputedStyle(tile).boxShadow")
    assert edge != "none", "the cut while it is dragged"
