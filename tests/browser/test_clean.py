"""The Clean page in a real browser: a sheet after the other, by keyboard alone and by touch."""

import json
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_site import PATIENCE, App, wait_for
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from curation.workspace import Workspace

pytestmark = pytest.mark.browser
CLEAN = ".cleaning"


class Name(str):
    """What a dataset is called, and how far its journal was when the test began."""

    began: int = 0


@pytest.fixture(scope="module")
def server(built_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """One server for all of these tests."""
    home = tmp_path_factory.mktemp("clean") / "home"
    shutil.copytree(built_home, home)
    running = App(CURATE_HOME=str(home), CURATE_USER="tester")
    yield running
    running.stop()


@pytest.fixture
def name(server: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[Name]:
    """The digits on the server, nothing of them decided; what a test decides is taken back.

    The server has read them for the test before: of a dataset of its own each page waits for that.
    """
    monkeypatch.setenv("CURATE_HOME", server.env["CURATE_HOME"])
    found = Name("digits")
    found.began = Workspace(found).journal.head
    yield found
    workspace = Workspace(found)
    for who in ("tester", "other"):
        while workspace.journal.undoable(who) is not None:
            workspace.undo(who)


@pytest.fixture
def own(server: App, monkeypatch: pytest.MonkeyPatch) -> Name:
    """A dataset of digits that no other test has had."""
    home = Path(server.env["CURATE_HOME"])
    monkeypatch.setenv("CURATE_HOME", str(home))
    shutil.copytree(home / "digits", home / "own", ignore=shutil.ignore_patterns("*.sqlite*"))
    card = json.loads((home / "own" / "dataset.json").read_text())
    card |= {"name": "own", "dataset_id": uuid.uuid4().hex}
    (home / "own" / "dataset.json").write_text(json.dumps(card))
    return Name("own")


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    found = browser.new_context(
        viewport={"width": 1400, "height": 900}, reduced_motion="reduce", has_touch=True
    )
    yield found
    for page in found.pages:
        page.goto("about:blank")  # it says that it goes, as a tab that is closed does
    found.close()


@pytest.fixture
def desk(context: BrowserContext, server: App, name: Name) -> Iterator[Page]:
    thrown: list[str] = []
    page = opened(context, server, name, thrown)
    yield page
    assert not thrown


def opened(
    context: BrowserContext, server: App, name: Name, thrown: list[str] | None = None
) -> Page:
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    if thrown is not None:
        page.on("pageerror", lambda error: thrown.append(str(error)))
    page.goto(f"{server.url}/clean?dataset={name}")
    page.wait_for_selector(f"{CLEAN}[data-ready='true']:not([data-sheet=''])")
    ready(page)
    return page


def ready(page: Page) -> None:
    """The sheet stands there for a while: Return would be meant for it."""
    page.wait_for_function(
        "sheet => performance.now() - sheet > 400",
        arg=page.evaluate("performance.now()"),
    )


def told(page: Page) -> dict[str, str]:
    found: dict[str, str] = page.locator(CLEAN).evaluate("root => ({...root.dataset})")
    return found


def ids(page: Page) -> list[str]:
    """The items of the sheet, in its order."""
    sources = page.locator(f"{CLEAN} .contact-sheet .tile img").evaluate_all(
        "all => all.map((one) => one.getAttribute('src').split('/').at(-1))"
    )
    return [str(one) for one in sources]


def heard(page: Page, acts: int) -> None:
    """Wait until the server has answered so many acts."""
    page.wait_for_selector(f"{CLEAN}[data-seq='{acts}'][data-pending='0']")


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def journal(name: Name) -> list[tuple[str, str | None, set[str]]]:
    """Every decision since the test began, oldest first: in words, why, about what."""
    workspace = Workspace(name)
    return [
        (one.words, one.note, set(workspace.journal.item_ids(one.items).tolist()))
        for one in workspace.log()[::-1]
        if one.seq > name.began
    ]


def drafts(page: Page) -> list[tuple[str, dict[str, Any]]]:
    """What is kept of each sheet in the tab's storage, once it was written."""
    page.wait_for_timeout(300)
    (kept,) = page.evaluate(
        "Object.entries(sessionStorage).filter(([k]) => k.includes('clean ')).map(([, v]) => v)"
    )
    return [(key, draft) for key, draft in json.loads(kept)["drafts"]]


def test_the_whole_loop_is_done_by_keyboard_alone(desk: Page, name: Name) -> None:
    sheet = ids(desk)
    assert len(sheet) > 20 and int(told(desk)["cut"]) == len(sheet)
    press(desk, "Space", "[", "[", "r")
    assert (told(desk)["cut"], told(desk)["kept"]) == (str(len(sheet)),) * 2
    press(desk, "ArrowRight", "Space", "ArrowRight", "ArrowRight", "Space", "[", "[", "[")
    assert (told(desk)["cut"], told(desk)["kept"]) == (str(len(sheet) - 3), str(len(sheet) - 5))
    press(desk, "l")
    desk.keyboard.type("my zero")
    press(desk, "Enter")
    heard(desk, 1)
    kept = {one for at, one in enumerate(sheet[:-3]) if at not in (1, 3)}
    refused = {sheet[1], sheet[3], *sheet[-3:]}
    assert journal(name) in (
        [("category: my zero", None, kept), ("category: not my zero", None, refused)],
        [("category: my zero", None, kept), ("category: not my zero", None, {sheet[1], sheet[3]})],
    ), "what is behind the cut is refused where it was in view long enough"
    wait_for(desk, f"{len(kept)} labelled my zero.")

    press(desk, "Control+z")
    heard(desk, 2)
    assert ids(desk) == sheet, "the sheet is back"
    assert (told(desk)["cut"], told(desk)["label"]) == (str(len(sheet) - 3), "my zero")
    assert desk.locator(f"{CLEAN} .crossed").count() == 2
    assert not Workspace(name).labels.items_with("category", "my zero")
    key = told(desk)["sheet"]
    assert any(key in of and draft["cut"] for of, draft in drafts(desk))
    press(desk, "Control+Shift+z")
    heard(desk, 3)
    assert told(desk)["sheet"] != key
    assert not any(key in of for of, _ in drafts(desk)), "the act stands, its draft has served"

    before = len(journal(name))
    ready(desk)
    second = ids(desk)
    press(desk, "1")
    assert told(desk)["label"] == "my zero"
    press(desk, "Delete")
    heard(desk, 4)
    assert journal(name)[before:] == [("category: not my zero", None, set(second))]
    third = ids(desk)
    assert not set(third) & set(second)
    ready(desk)
    press(desk, "u")
    heard(desk, 5)
    fourth = ids(desk)
    ready(desk)
    press(desk, "Space", "x")
    desk.keyboard.type("too dark")
    press(desk, "Enter")
    heard(desk, 6)
    assert journal(name)[before + 1 :] == [
        ("flag unclear", None, set(third)),
        ("flag excluded", "too dark", {fourth[0]}),
    ]
    assert ids(desk) == fourth[1:], "excluded, it leaves the sheet"
    press(desk, "n")
    heard(desk, 7)
    assert not set(ids(desk)) & set(fourth)
    press(desk, "p")
    heard(desk, 8)
    assert ids(desk) == fourth[1:]


def test_sheets_are_split_merged_and_made_of_what_is_alike_by_keys(desk: Page) -> None:
    sheet = ids(desk)
    press(desk, "s")
    heard(desk, 1)
    part = ids(desk)
    assert set(part) < set(sheet)
    press(desk, "m")
    heard(desk, 2)
    assert set(part) < set(ids(desk)) <= set(sheet)
    whole = told(desk)["sheet"]
    press(desk, "t")
    heard(desk, 3)
    assert told(desk)["sheet"] == whole
    expect(desk.locator(f"{CLEAN} .card").first).to_contain_text("alike")
    focused = ids(desk)[2]
    press(desk, "ArrowRight", "ArrowRight", "g")
    heard(desk, 4)
    assert ids(desk)[0] == focused
    assert desk.locator(f"{CLEAN} .card").first.get_attribute("data-key") == whole


def test_the_next_sheet_is_there_before_the_server_has_answered(desk: Page) -> None:
    sheet = ids(desk)
    second = desk.locator(f"{CLEAN} .card").first.get_attribute("data-key")
    press(desk, "l")
    desk.keyboard.type("early")
    key = desk.evaluate(
        """() => { const field = document.activeElement.shadowRoot?.activeElement ??
        document.activeElement;
        field.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}));
        return [...document.querySelectorAll('*')].map((one) => one.shadowRoot)
          .find((one) => one?.querySelector('.cleaning')).querySelector('.cleaning')
          .dataset.sheet; }"""
    )
    assert key == second, "in the same task of the browser"
    assert not set(ids(desk)) & set(sheet)
    heard(desk, 1)
    assert told(desk)["sheet"] == second, "what is shown stays"


def test_a_refused_label_brings_the_sheet_back_and_nothing_is_lost(desk: Page, name: Name) -> None:
    sheet = ids(desk)
    press(desk, "ArrowRight", "Space", "[", "i")
    desk.keyboard.type("mine")
    press(desk, "Escape", "l")
    desk.keyboard.type("<b>bold</b>")
    press(desk, "Enter")
    heard(desk, 1)
    expect(desk.locator(f"{CLEAN} .trouble")).to_contain_text("may not contain '<'")
    assert ids(desk) == sheet
    assert told(desk)["label"] == "<b>bold</b>" and told(desk)["kept"] == str(len(sheet) - 2)
    assert journal(name) == []
    press(desk, "l")
    desk.keyboard.type("plain")
    ready(desk)
    press(desk, "Enter")
    heard(desk, 2)
    assert len(Workspace(name).labels.items_with("category", "plain")) == len(sheet) - 2
    assert len(Workspace(name).labels.items_with("instance", "mine")) == len(sheet) - 2


def test_the_cut_is_dragged_and_what_is_behind_it_is_taken_in_by_a_tap(
    desk: Page, name: Name
) -> None:
    sheet = ids(desk)
    bar, tile = desk.locator(f"{CLEAN} .cut"), desk.locator(f"{CLEAN} .tile")
    place = bar.bounding_box()
    assert place and place["height"] >= 32
    desk.mouse.move(place["x"] + 60, place["y"] + 15)
    desk.mouse.down()
    goal = tile.nth(12).bounding_box()
    assert goal
    desk.mouse.move(goal["x"] + 2, goal["y"] + goal["height"] / 2, steps=6)
    desk.mouse.up()
    assert told(desk)["cut"] == "12"
    assert bar.get_attribute("aria-valuetext") == f"12 of {len(sheet)} before the cut"
    top, first = bar.bounding_box(), tile.nth(12).bounding_box()
    assert top and first and top["y"] + top["height"] <= first["y"] + 1
    tile.nth(14).tap()
    tile.nth(3).tap()
    assert tile.nth(14).get_attribute("aria-label") == f"Item 15 of {len(sheet)}, taken in"
    assert tile.nth(3).get_attribute("aria-label") == f"Item 4 of {len(sheet)}, crossed out"
    press(desk, "l")
    desk.keyboard.type("half")
    press(desk, "Enter")
    heard(desk, 1)
    wanted = {one for at, one in enumerate(sheet) if at in {*range(12), 14} - {3}}
    assert journal(name)[0] == ("category: half", None, wanted)


def test_a_forecast_below_the_limit_is_asked_about_once(desk: Page, name: Name) -> None:
    """Digits of several clusters on one sheet: the forecast cannot be good."""
    desk.get_by_label("Order of the queue").select_option("random")
    heard(desk, 1)
    expect(desk.locator(f"{CLEAN} .forecast")).to_have_class("forecast low")
    ready(desk)
    press(desk, "l")
    desk.keyboard.type("mixed")
    press(desk, "Enter")
    question = desk.get_by_role("alertdialog")
    expect(question).to_contain_text("strays left among 60")
    assert journal(name) == []
    press(desk, "Escape")
    expect(question).to_be_hidden()
    press(desk, "Enter")
    heard(desk, 2)
    assert journal(name)[-1][0] == "category: mixed"


def test_another_curator_was_first_and_is_asked_about(desk: Page, name: Name) -> None:
    sheet = ids(desk)
    press(desk, "Space", "l")
    desk.keyboard.type("mine")
    other = Workspace(name, made_by="other")
    desk.route("**/head*", lambda route: route.abort())  # the news has not come yet
    desk.route("**/here*", lambda route: route.abort())
    other.label(other.select(f"id:{','.join(sheet)}"), "theirs")
    press(desk, "Enter")
    heard(desk, 1)
    question = desk.get_by_role("alertdialog")
    expect(question).to_contain_text(f"{len(sheet) - 1} theirs")
    assert ids(desk) == sheet and told(desk)["label"] == "mine"
    ready(desk)
    press(desk, "2")
    heard(desk, 2)
    assert len(Workspace(name).labels.items_with("category", "mine")) == len(sheet) - 1


def test_a_restart_of_the_server_loses_nothing_that_was_typed(
    context: BrowserContext, server: App, own: Name
) -> None:
    desk = opened(context, server, own)
    sheet = ids(desk)
    press(desk, "ArrowRight", "Space", "[", "[", "l")
    desk.keyboard.type("typed before")
    server.stop()
    server.start()
    desk.reload()
    desk.wait_for_selector(f"{CLEAN}[data-ready='true'][data-sheet='{told(desk)['sheet']}']")
    assert ids(desk) == sheet
    assert (told(desk)["label"], told(desk)["cut"]) == ("typed before", str(len(sheet) - 2))
    assert desk.locator(f"{CLEAN} .crossed").count() == 1
    ready(desk)
    press(desk, "Enter")
    heard(desk, 1)
    assert len(Workspace(own).labels.items_with("category", "typed before")) == len(sheet) - 3


def test_two_tabs_have_two_sheets_and_never_label_one_item_twice(
    desk: Page, context: BrowserContext, server: App, name: Name
) -> None:
    other = opened(context, server, name)
    assert not set(ids(other)) & set(ids(desk))
    desk.bring_to_front()
    count = told(desk)["kept"]
    press(desk, "l")
    desk.keyboard.type("alpha")
    press(desk, "Enter")
    heard(desk, 1)
    other.bring_to_front()
    other.wait_for_selector(f"{CLEAN}[data-labelled='{count}']")
    ready(other)
    press(other, "l")
    other.keyboard.type("zebra")
    press(other, "Enter")
    heard(other, 1)
    done = journal(name)
    assert [words for words, *_ in done] == [
        "category: alpha",
        "category: zebra",
    ]
    assert not done[0][2] & done[1][2]


def test_every_control_has_a_name_and_is_large_enough(desk: Page) -> None:
    controls = desk.locator(f"{CLEAN} :is(button, input, select, [role=slider]):visible")
    for control in controls.all():
        assert control.evaluate(
            "node => node.getAttribute('aria-label') || node.textContent.trim()"
        ), control.evaluate("node => node.outerHTML")
        box = control.bounding_box()
        assert box and box["height"] >= 32 and box["width"] >= 32, control.evaluate(
            "node => node.outerHTML"
        )


def test_keys_are_listed_and_text_fields_keep_their_own(desk: Page, name: Name) -> None:
    press(desk, "?")
    sheet = desk.get_by_role("dialog", name="Keys of the Clean page")
    expect(sheet).to_contain_text("Move the cut up")
    press(desk, "Escape")
    expect(sheet).to_be_hidden()
    press(desk, "l")
    desk.keyboard.type("nxsz12u")
    press(desk, "Control+z", "Escape")
    assert "pending" in told(desk) and told(desk)["seq"] == "0", "no letter was an act"
    press(desk, "z")
    look = larger_look(desk)
    expect(look).to_have_attribute("data-state", "whole")
    assert "/picture/" in str(look.locator("img").get_attribute("src"))
    press(desk, "Escape", "+")
    expect(look).to_be_hidden()
    press(desk, "Shift+Comma")
    assert told(desk)["cut"] == "0"
    press(desk, "Shift+Period")
    assert told(desk)["cut"] == str(len(ids(desk)))
    press(desk, ";")
    assert told(desk)["cut"] == str(len(ids(desk))), "on some keyboards a key of its own"
    assert journal(name) == []


def larger_look(desk: Page) -> Locator:
    return desk.get_by_role("group", name="larger")


def test_a_larger_look_that_does_not_come_says_so_and_is_tried_again(desk: Page) -> None:
    look = larger_look(desk)
    desk.route("**/picture/**", lambda route: route.fulfill(status=404))
    press(desk, "z")
    expect(look.get_by_role("status")).to_contain_text("Only the thumbnail")
    assert "/thumb/" in str(look.get_by_role("img").get_attribute("src"))
    desk.unroute("**/picture/**")
    press(desk, "z", "z")
    expect(look).to_have_attribute("data-state", "whole")
    expect(look.get_by_role("status")).to_be_empty()


def test_of_items_that_are_passed_by_no_file_is_fetched_for_a_larger_look(desk: Page) -> None:
    asked: list[str] = []
    desk.on("request", lambda one: asked.append(one.url) if "/picture/" in one.url else None)
    desk.route(f"**/picture/*/{ids(desk)[0]}", lambda route: None)  # it takes for ever
    with desk.expect_request("**/picture/**"):
        press(desk, "z")
    with desk.expect_event("requestfailed", lambda one: "/picture/" in one.url):
        desk.evaluate(
            """() => { for (let k = 0; k < 6; k++) document.body.dispatchEvent(
            new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true, repeat: k > 0})); }"""
        )
    expect(larger_look(desk)).to_have_attribute("data-state", "whole")
    assert [url.split("/")[-1] for url in asked] == [ids(desk)[0], ids(desk)[6]]


def test_what_others_took_of_a_sheet_goes_and_the_taps_stay_with_their_items(
    desk: Page, name: Name
) -> None:
    sheet, key = ids(desk), told(desk)["sheet"]
    press(desk, "ArrowRight", "ArrowRight", "Space", "[", "[", "l")
    desk.keyboard.type("mine")
    press(desk, "Escape")
    other = Workspace(name, made_by="other")
    other.label(other.select(f"id:{sheet[0]},{sheet[-1]}"), "theirs")
    expect(desk.locator(f"{CLEAN} .tile")).to_have_count(len(sheet) - 2)
    assert (told(desk)["sheet"], told(desk)["label"]) == (key, "mine")
    assert told(desk)["cut"] == str(len(sheet) - 3), "one before it went, and one behind it"
    assert ids(desk)[1] == sheet[2]
    crossed = desk.locator(f"{CLEAN} .tile").nth(1)
    expect(crossed).to_have_class(re.compile("crossed"))
    other.label(other.select(f"id:{','.join(sheet[1:-1])}"), "theirs")
    wait_for(desk, "Somebody else has done that sheet meanwhile")
    assert told(desk)["sheet"] != key and told(desk)["label"] != "mine"
    assert not set(ids(desk)) & set(sheet)


def test_an_act_is_of_the_field_that_was_shown_though_another_was_chosen_since(
    desk: Page, name: Name
) -> None:
    sheet = ids(desk)
    press(desk, "Space", "l")
    desk.keyboard.type("kept")
    field = desk.get_by_label("Field that is worked on")
    field.evaluate(
        """node => {
          node.value = 'instance';
          node.dispatchEvent(new Event('change'));
          const root = node.closest('.cleaning');
          const input = root.querySelector('[data-field=category] input');
          input.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}));
        }"""
    )
    heard(desk, 2)
    expect(desk.locator(f"{CLEAN} .status")).to_contain_text("nothing was done")
    assert journal(name) == []
    field.select_option("category")
    heard(desk, 3)
    desk.wait_for_selector(f"{CLEAN}[data-label='kept']")
    assert ids(desk) == sheet and told(desk)["kept"] == str(len(sheet) - 1)


def test_of_two_names_it_is_asked_which_one_is_refused(
    context: BrowserContext, server: App, name: Name
) -> None:
    workspace = Workspace(name)
    for cluster in range(3):
        some = workspace.select(f"cluster:{cluster}")
        workspace.label(some.part(np.arange(len(some)) < 30), f"kind {cluster}")
    desk = opened(context, server, name)
    if not told(desk)["label"]:
        desk.locator(f"{CLEAN} .card:has(.proposed)").first.click()
        desk.wait_for_selector(f"{CLEAN}[data-label^='kind']")
        ready(desk)
    sheet, proposed, before = ids(desk), told(desk)["label"], len(journal(name))
    press(desk, "l")
    desk.keyboard.type("lamp")
    press(desk, "Escape", "Delete")
    question = desk.get_by_role("alertdialog")
    expect(question).to_contain_text(f"{proposed} was proposed and you named it lamp")
    assert len(journal(name)) == before
    press(desk, "2")
    desk.wait_for_selector(f"{CLEAN}[data-pending='0']:not([data-label='lamp'])")
    assert journal(name)[before:] == [(f"category: not {proposed}", None, set(sheet))]


def test_where_nothing_is_open_it_says_so_and_offers_what_is_left_to_do(
    desk: Page, name: Name
) -> None:
    workspace = Workspace(name)
    workspace.label(workspace.select("all"), "all of them")
    wait_for(desk, "Nothing is open: 1,797 items labelled, 0 excluded.")
    assert desk.locator(f"{CLEAN} .tile").count() == 0
    desk.get_by_role("button", name="Export").last.click()
    wait_for(desk, "Folder to write")


def test_it_fits_a_telephone(name: Name, server: App, browser: Browser) -> None:
    small = browser.new_context(viewport={"width": 400, "height": 800}, has_touch=True)
    page = opened(small, server, name)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 400
    wide: Any = page.locator(CLEAN).bounding_box()
    assert wide["x"] >= 0 and wide["x"] + wide["width"] <= 400
    page.locator(f"{CLEAN} .tile").first.tap()
    expect(page.locator(f"{CLEAN} .crossed")).to_have_count(1)
    small.close()


def test_an_act_that_was_not_heard_is_told_again(desk: Page, name: Name) -> None:
    """The page goes while the server cannot answer; what is open of the sheet is asked for."""
    sheet = told(desk)["sheet"]
    press(desk, "Space")
    desk.wait_for_function("() => Object.keys(sessionStorage).some((k) => k.includes('clean '))")
    (box,) = [
        one for one in desk.evaluate("Object.keys(sessionStorage)") if "curation-clean" in one
    ]
    kept = json.loads(desk.evaluate("box => sessionStorage.getItem(box)", box))
    lost = {"seq": 7, "op": "confirm", "value": "", "key": sheet, "ids": ids(desk), "cut": 9}
    desk.add_init_script(
        "if (!sessionStorage.getItem('once')) { sessionStorage.setItem('once', '1');"
        f"sessionStorage.setItem({box!r}, {json.dumps({**kept, 'unheard': [lost]})!r}); }}"
    )
    desk.reload()
    desk.wait_for_selector(f"{CLEAN}[data-ready='true'][data-seq='1']")
    expect(desk.locator(f"{CLEAN} .trouble")).to_contain_text("had not answered")
    assert told(desk)["sheet"] == sheet
    assert journal(name) == []
