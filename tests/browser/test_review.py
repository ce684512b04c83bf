"""Labels renamed, conflicts settled and samples judged in a real browser, by hand and by key."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from app_site import PATIENCE, App, wait_for
from map_site import SHEET
from playwright.sync_api import Page, expect

from curation.opinions import conflicts
from curation.review import scores
from curation.schema import Selection
from curation.workspace import Workspace

pytestmark = pytest.mark.browser
TILES = f"{SHEET} [data-index]"


def say(who: str, value: str, *rows: int) -> None:
    mine = Workspace("digits", made_by=who)
    chosen = Selection.of(mine.atlas(), np.array(rows, np.int32))
    mine.label(chosen, value, overwrite=True)


@pytest.fixture
def app(digits: str) -> Iterator[App]:
    """Ann calls rows 0-5 three, bob calls 3-5 eight."""
    say("ann", "three", *range(6))
    say("bob", "eight", 3, 4, 5)
    running = App()
    yield running
    running.stop()


@pytest.fixture
def tab(browser, app: App) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield page
    context.close()


def newest() -> tuple[str, int, str | None, str]:
    decision = Workspace("digits").log(1)[0]
    return decision.words, decision.n_items, decision.source, decision.made_by


def counts() -> dict[str, int]:
    return Workspace("digits").labels.counts("category")


def test_a_label_is_renamed_as_it_was_shown_undone_and_found_in_the_log(
    tab: Page, app: App, tmp_path: Path
) -> None:
    tab.goto(f"{app.url}/labels")
    labels = tab.get_by_role("combobox", name="Labels")
    labels.click()
    tab.get_by_role("option", name="eight").click()
    tab.keyboard.press("Escape")
    field = tab.get_by_role("combobox", name="become")
    field.click()
    field.fill("ate")
    field.press("Enter")
    wait_for(tab, "3 items: category eight → ate")
    wait_for(tab, "given by bob 3")
    tab.get_by_role("button", name="Rename").click()
    wait_for(tab, "3 items: category ate → eight")
    assert counts() == {"three": 3, "ate": 3}
    assert newest() == ("category: eight is now ate", 3, None, "tester")
    tab.keyboard.press("Control+z")
    wait_for(tab, "Redo category: eight is now ate")
    wait_for(tab, "3 items: category eight → ate")
    assert counts() == {"three": 3, "eight": 3}
    with tab.expect_download() as told:
        tab.get_by_role("button", name="Whole log as CSV").click()
    told.value.save_as(tmp_path / "log.csv")
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert len(lines) == 1 + 4 and "eight,3," in lines[2]


def test_conflicts_are_settled_by_taps_and_number_keys(tab: Page, app: App) -> None:
    atlas = Workspace("digits").atlas()
    tab.goto(f"{app.url}/review")
    wait_for(tab, "3 items to settle, in 1 group")
    tiles = tab.locator(TILES)
    expect(tiles).to_have_count(3)
    expect(tiles.first).to_have_accessible_name(re.compile(r"Item 1 of 3, .*bob \| ann, kept"))
    picture = tiles.nth(1).locator("img").get_attribute("src") or ""
    tiles.nth(1).click()
    wait_for(tab, "Rest 2: three")
    tab.get_by_text("to settle, in").click()  # the focus is nowhere: keys are shortcuts
    tab.keyboard.press("2")
    wait_for(tab, "1 item to settle")
    assert newest() == ("category: three", 2, "consensus", "tester")
    (row,) = conflicts(Workspace("digits")).rows
    assert picture.endswith(str(atlas.item_ids[row]))
    tab.keyboard.press("1")
    wait_for(tab, "The curators agree, or all is settled")
    assert newest() == ("category: eight", 1, "consensus", "tester")
    tab.keyboard.press("Control+z")
    wait_for(tab, "1 item to settle")


def test_a_sample_is_judged_by_key_and_goes_on_after_a_reload(tab: Page, app: App) -> None:
    tab.goto(f"{app.url}/review")
    tab.get_by_text("Second look", exact=True).click()
    tab.get_by_text("One by one", exact=True).click()
    wait_for(tab, "6 to judge in all")
    tab.locator("img.look-item").wait_for()
    size = tab.locator("img.look-item").evaluate("image => image.naturalWidth")
    assert size > 0, "the picture is there"
    tab.get_by_text("to judge in all").click()
    tab.keyboard.press("1")
    wait_for(tab, "5 to judge in all")
    tab.keyboard.press("x")
    wait_for(tab, "4 to judge in all")
    assert Workspace("digits").log(1)[0].source == "review"
    tab.reload()
    tab.get_by_text("Second look", exact=True).click()
    wait_for(tab, "4 to judge in all")
    found = {(one.person, one.given) for one in scores(Workspace("digits")) if one.label is None}
    assert sum(given for who, given in found if who == "ann") == 2
    wait_for(tab, "ann: 2 of 50 judged")
