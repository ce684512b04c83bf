"""Several tabs and curators: what one decides the others see, without a reload."""

import dataclasses
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest
from app_site import PATIENCE, App, choose_label, open_map, wait_for
from map_site import MAP
from playwright.sync_api import Page, Response, expect

from curation.workspace import Workspace
from embeddings import dataset as datasets

pytestmark = pytest.mark.browser
SECONDS = 20  # for what takes 2: the machine is shared
BUSY = 2  # answers that may come while a slow machine draws


@pytest.fixture
def app(digits: str) -> Iterator[App]:
    running = App()
    yield running
    running.stop()


@pytest.fixture
def tab(browser, app: App) -> Iterator[Callable[[], Page]]:
    """Open the app as another curator would: in a browser context of its own."""
    contexts = []

    def opened() -> Page:
        size = {"width": 1500, "height": 950}
        contexts.append(browser.new_context(viewport=size, reduced_motion="reduce"))
        page: Page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        open_map(page, app)
        return page

    yield opened
    for context in contexts:
        context.close()


def answered(page: Page, times: int) -> None:
    """Wait until the page has asked so many times for what is new, and been answered."""
    for _ in range(times):
        page.wait_for_event("response", lambda answer: answer.url.endswith("/here"))


class Heads:
    """What a page was answered when it asked for what is new: the journal's head, each time."""

    def __init__(self, page: Page) -> None:
        self.page, self.answers = page, list[Response]()
        page.on("response", lambda one: self.answers.append(one) if self._is_head(one) else None)

    @staticmethod
    def _is_head(answer: Response) -> bool:
        return answer.url.endswith("/here")

    def shown(self, head: int) -> None:
        """Wait until the map shows a decision: one run after the first answer that tells it."""
        self.page.wait_for_selector(f"{MAP}[data-head='{head}']")
        told = [answer.json()["seq"] >= head for answer in list(self.answers)]
        # one more where the script was busy or the answer of the first came while it ran
        assert sum(told) <= 2 + BUSY, "the first or the second answer that tells it is obeyed"


def script_runs(page: Page) -> None:
    """Count how often the script of a page runs again: Streamlit says so in an attribute."""
    page.evaluate(
        """() => { window.runs = 0;
        const app = document.querySelector('[data-testid="stApp"]');
        new MutationObserver(() => {
          if (app.dataset.testScriptState === 'running') window.runs += 1;
        }).observe(app, { attributes: true, attributeFilter: ['data-test-script-state'] }); }"""
    )


def legend_counts(page: Page) -> dict[str, int]:
    """What the map's column of categories says, as its legend would."""
    found = page.locator(MAP).evaluate(
        "root => Object.fromEntries((root.atlasMap.columns.get('category')?.legend ?? [])"
        ".map(({ name, count }) => [name, count]))"
    )
    return dict(found)


def test_a_label_given_in_one_tab_is_seen_in_the_other(
    tab: Callable[[], Page], digits: str
) -> None:
    mine, hers = tab(), tab()
    hers.get_by_label("Colour the items by").select_option("category")
    count = len(Workspace(digits).select("cluster:0"))
    mine.locator(f"{MAP} [data-code='0']").press("Shift+Enter")
    wait_for(mine, f"{count:,} selected")
    choose_label(mine, "zero")
    heads = Heads(hers)
    mine.get_by_role("button", name="Label").first.click()
    heads.shown(1)
    wait_for(hers, "Undo category: zero")
    expect(hers.locator(f"{MAP} .atlas-legend, {MAP}").first).to_contain_text("zero")
    assert legend_counts(hers) == {"zero": count}
    wait_for(mine, "Undo category: zero")
    answered(mine, 2)  # on a busy machine one's own act may be news, once
    script_runs(mine)
    answered(mine, 3)
    assert mine.evaluate("window.runs") == 0, "what is known already wakes nobody"


def test_a_label_given_on_the_command_line_is_seen_in_the_browser(
    tab: Callable[[], Page], digits: str
) -> None:
    page = tab()
    heads = Heads(page)
    command = [sys.executable, "-m", "curation.cli", "label", "-d", digits, "cluster:1", "one"]
    subprocess.run(command, check=True, env=dict(os.environ), capture_output=True)
    heads.shown(1)
    wait_for(page, "Undo category: one")
    count = len(Workspace(digits).select("cluster:1"))
    assert Workspace(digits).labels.counts("category") == {"one": count}


def test_what_is_half_typed_survives_what_others_decide(
    tab: Callable[[], Page], digits: str
) -> None:
    page, other = tab(), Workspace(digits)
    reason = page.get_by_label("Reason")
    reason.click()
    reason.press_sequentially("because")
    other.label(other.select("cluster:0"), "a label that was not there")
    page.wait_for_selector(f"{MAP}[data-head='1']")
    wait_for(page, "Undo category: a label")
    expect(reason).to_have_value("because")
    field = page.get_by_role("combobox", name="Label").first
    field.click()
    field.press_sequentially("half a wo")
    other.label(other.select("cluster:1"), "another")
    page.wait_for_selector(f"{MAP}[data-head='2']")
    wait_for(page, "Undo category: another")
    expect(field).to_have_value("half a wo")
    expect(field).to_be_focused()
    field.press_sequentially("rd")
    field.press("Enter")
    expect(field).to_have_value("half a word")


def test_nothing_moves_while_the_pointer_is_down(tab: Callable[[], Page], digits: str) -> None:
    page, other = tab(), Workspace(digits)
    script_runs(page)
    page.mouse.move(20, 500)
    page.mouse.down()
    other.label(other.select("cluster:0"), "zero")
    answered(page, 3)
    assert page.evaluate("window.runs") == 0
    page.mouse.up()
    page.wait_for_selector(f"{MAP}[data-head='1']", timeout=SECONDS * 1000)


def test_the_map_shows_at_once_what_others_decide_and_ends_nothing_that_the_script_is_doing(
    tab: Callable[[], Page], digits: str
) -> None:
    page, other = tab(), Workspace(digits)
    page.get_by_label("Colour the items by").select_option("category")
    page.wait_for_selector(f"{MAP}[data-color='category']")
    script_runs(page)
    state = """state => document.querySelector('[data-testid="stApp"]')
        .setAttribute('data-test-script-state', state)"""
    page.evaluate(state, "running")
    page.evaluate("window.runs = 0")
    decision = other.label(other.select("cluster:0"), "zero")
    heads = Heads(page)
    page.wait_for_selector(f"{MAP}[data-head='1']")
    told = [answer.json()["seq"] for answer in list(heads.answers)]
    assert told.count(1) <= BUSY, "the first answer that tells it is enough"
    assert legend_counts(page) == {"zero": decision.n_items}
    answered(page, 3)
    assert page.evaluate("window.runs") == 0
    page.evaluate(state, "notRunning")
    wait_for(page, "Undo category: zero")


def test_a_selection_that_got_lost_on_the_way_is_told_again_once(
    tab: Callable[[], Page], digits: str
) -> None:
    page, other = tab(), Workspace(digits)
    count = len(other.select("cluster:0"))
    page.locator(MAP).evaluate("root => { root.atlasMap.onSelection = () => {}; }")
    page.locator(f"{MAP} [data-code='0']").press("Shift+Enter")
    page.wait_for_selector(f"{MAP}[data-selected='{count}'][data-seq='1']")
    wait_for(page, "Nothing selected")
    other.label(other.select("cluster:1"), "one")  # whatever lets the script run again
    wait_for(page, f"{count:,} selected")
    script_runs(page)
    answered(page, 3)
    assert page.evaluate("window.runs") == 0, "it was heard, and is not told for ever"


def test_metadata_joined_again_is_shown_without_a_reload(
    tab: Callable[[], Page], digits: str
) -> None:
    page, other = tab(), Workspace(digits)
    page.get_by_label("Colour the items by").select_option("field.digit")
    page.wait_for_selector(f"{MAP}[data-color='field.digit']")
    ids = other.atlas().item_ids.tolist()
    names = ["odd" if k % 2 else "even" for k in range(len(ids))]
    other.store.save_fields(pa.table({"item_id": ids, "digit": names}))
    page.locator(f"{MAP}").get_by_text("odd").first.wait_for()
    assert page.locator(MAP).get_attribute("data-head") == "0", "nobody has decided anything"


def test_a_newer_atlas_is_told_and_the_one_that_is_shown_stays(
    tab: Callable[[], Page], digits: str
) -> None:
    page, other = tab(), Workspace(digits)
    atlas = other.atlas()
    version = hashlib.sha256(b"newer").hexdigest()[:16]
    turned = dataclasses.replace(atlas, version=version, xy=atlas.xy[:, ::-1].copy())
    other.store.save_atlas(turned, datasets.now())
    wait_for(page, "There is a newer atlas")
    assert page.locator(MAP).get_attribute("data-version") == atlas.version
    page.reload()
    page.wait_for_selector(f"{MAP}[data-ready][data-version='{version}']")


def test_a_page_that_nobody_looks_at_asks_nothing_and_one_without_a_server_waits(
    tab: Callable[[], Page], app: App, digits: str
) -> None:
    page = tab()
    asked: list[float] = []
    page.on("request", lambda one: asked.append(0) if one.url.endswith("/here") else None)
    hide = """hidden => { Object.defineProperty(document, 'visibilityState',
        { value: hidden ? 'hidden' : 'visible', configurable: true });
        document.dispatchEvent(new Event('visibilitychange')); }"""
    page.evaluate(hide, True)
    page.wait_for_timeout(1000)  # what was on its way
    asked.clear()
    page.wait_for_timeout(2500)  # nothing tells of what is not asked
    assert asked == []
    other = Workspace(digits)
    other.label(other.select("cluster:0"), "zero")
    page.evaluate(hide, False)
    page.wait_for_selector(f"{MAP}[data-head='1']", timeout=SECONDS * 1000)
    thrown: list[str] = []
    page.on("pageerror", lambda error: thrown.append(str(error)))
    page.route("**/here", lambda route: route.abort())
    page.wait_for_timeout(1500)
    asked.clear()
    page.wait_for_timeout(4000)
    assert len(asked) <= 1, "a server that does not answer is asked less often"
    page.unroute("**/here")
    other.label(other.select("cluster:1"), "one")
    page.wait_for_selector(f"{MAP}[data-head='2']", timeout=SECONDS * 1000)
    assert thrown == []


def test_what_was_drawn_on_an_atlas_that_is_gone_is_refused_with_a_way_on(
    tab: Callable[[], Page], digits: str
) -> None:
    page = tab()
    workspace = Workspace(digits)
    version = workspace.newest_version()
    page.locator(MAP).evaluate(
        """root => { const map = root.atlasMap; const tell = map.onSelection;
        map.onSelection = (message) => tell({ ...message, version: '0123456789abcdef' }); }"""
    )
    page.locator(f"{MAP} [data-code='0']").press("Shift+Enter")
    page.get_by_text("is gone; reload the page").wait_for()
    page.locator(".st-key-reload button").click()
    expect(page.get_by_text("is gone; reload the page")).to_have_count(0)
    page.wait_for_selector(f"{MAP}[data-ready][data-version='{version}'][data-selected='0']")
