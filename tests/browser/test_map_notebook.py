"""The map as a notebook's page holds it: messages of a kernel that is late, refuses or is gone."""

import json
from typing import Any

import pytest
from map_site import FEW, MAP, Site, map_data, show_map, take, told_after
from playwright.sync_api import Page

pytestmark = pytest.mark.browser

# The kernel's end of the messages: what is asked waits in `asked` until `reply` fetches it.
KERNEL = """async (data) => {
  const { default: mapHost } = await import('/map.mjs');
  const heard = [];
  const buffers = async (path) => [new DataView(await (await fetch(`/${path}`)).arrayBuffer())];
  window.asked = [];
  window.told = [];
  const give = (content, parts) => heard.forEach((does) => does(content, parts));
  window.reply = async ({ id, path }, status = 200) => {
    const held = JSON.stringify({ seq: 0, op: 'select', bits: '', version: data.version });
    const text = new DataView(new TextEncoder().encode(held).buffer);
    const found = path === 'selection' ? [text] : await buffers(path);
    give({ id, status }, status === 200 ? found : [new DataView(new ArrayBuffer(0))]);
  };
  window.answerAll = () => {
    for (const one of window.asked.splice(0)) window.reply(one);
    window.asked.push = (...all) => all.forEach((one) => window.reply(one));
  };
  const model = {
    get: () => data,
    on: (name, does) => name === 'msg:custom' && heard.push(does),
    send: (content) => (content.path ? window.asked.push(content) : window.told.push(content)),
  };
  const host = document.querySelector('#host').appendChild(document.createElement('div'));
  window.end = mapHost().render({ model, el: host });
  return typeof window.end;
}"""


def render(page: Page) -> str:
    return page.evaluate(KERNEL, map_data(FEW, command={"seq": 1, "op": "fit"}, session="one"))


def test_a_kernel_that_does_not_answer_is_waited_for_in_words(page: Page, site: Site) -> None:
    page.clock.install()
    render(page)
    veil = page.locator(".veil")
    veil.get_by_text("Loading the map").wait_for()
    page.clock.run_for(10_000)
    veil.get_by_text("Waiting for the kernel").wait_for()
    page.clock.resume()
    page.evaluate("window.answerAll()")
    page.wait_for_selector(f"{MAP}[data-ready][data-points='100']")
    veil.wait_for(state="hidden")


def test_a_cell_closed_before_the_kernel_answers_leaves_nothing_behind(
    page: Page, site: Site
) -> None:
    assert render(page) == "function"  # what ends the map is there before any answer
    page.wait_for_function("window.asked.length === 1")
    number = page.evaluate("window.asked[0].id")
    page.evaluate("window.end()")
    assert page.locator(MAP).count() == 0
    assert page.evaluate("window.told") == [{"forget": number}]
    page.evaluate("window.reply(window.asked[0])")
    assert page.evaluate("window.asked.length") == 1  # nothing more is asked


def test_a_question_that_is_refused_is_said_and_can_be_tried_again(page: Page, site: Site) -> None:
    render(page)
    page.wait_for_function("window.asked.length === 1")
    page.evaluate("window.reply(window.asked.shift(), 500)")
    again = page.locator(".veil").get_by_role("button", name="Try again")
    again.click()
    page.wait_for_function("window.asked.length === 1")
    page.evaluate("window.answerAll()")
    page.wait_for_selector(f"{MAP}[data-ready][data-points='100']")
    assert again.is_hidden()


# ---- the tab's storage --------------------------------------------------------------------------

STORED = "() => Object.fromEntries(Object.entries(sessionStorage))"


def stored(page: Page) -> dict[str, Any]:
    page.evaluate("document.querySelector('.atlas-map').atlasMap.keeper.write()")
    return {name: json.loads(text) for name, text in page.evaluate(STORED).items()}


def test_a_notebook_leaves_the_selection_to_its_kernel(page: Page, site: Site) -> None:
    render(page)
    page.evaluate("window.answerAll()")
    page.wait_for_selector(f"{MAP}[data-ready]")
    told_before = page.evaluate("window.told.length")
    take(page, 3)
    page.wait_for_function(f"window.told.length > {told_before}")
    page.wait_for_function("document.querySelector('.atlas-map').atlasMap.memory.kept !== null")
    ((name, kept),) = stored(page).items()
    assert not name.endswith("selected")
    assert kept["version"] == "few"


FULL = """(room) => { const put = Storage.prototype.setItem;
  Storage.prototype.setItem = function (name, text) {
    const others = Object.keys(this).filter((other) => other !== name);
    const size = others.reduce((sum, other) => sum + this.getItem(other).length, text.length);
    if (size > room) throw new DOMException('full', 'QuotaExceededError');
    put.call(this, name, text);
  } }"""


def test_where_the_storage_is_full_what_other_maps_left_goes_first(page: Page, site: Site) -> None:
    page.evaluate(
        """() => { for (let k = 0; k < 3; k++)
        sessionStorage.setItem(`curation-atlas old ${k}`, 'x'.repeat(2000));
        sessionStorage.setItem('of the page', 'x'); }"""
    )
    page.evaluate(FULL, 6100)
    show_map(page, FEW)
    told_after(page, lambda: take(page, 3))
    page.wait_for_function("document.querySelector('.atlas-map').atlasMap.memory.kept !== null")
    page.evaluate("document.querySelector('.atlas-map').atlasMap.keeper.write()")
    names = list(page.evaluate(STORED))
    assert "of the page" in names
    assert not [name for name in names if "old" in name]
    assert len([name for name in names if name.endswith("selected")]) == 1


def test_what_found_no_room_is_written_when_there_is_some(page: Page, site: Site) -> None:
    page.evaluate("() => { window.put = Storage.prototype.setItem }")
    page.evaluate(FULL, 0)
    show_map(page, FEW)
    told_after(page, lambda: take(page, 3))
    page.wait_for_function("document.querySelector('.atlas-map').atlasMap.memory.kept !== null")
    page.evaluate("document.querySelector('.atlas-map').atlasMap.keeper.write()")
    assert page.evaluate(STORED) == {}
    page.evaluate("() => { Storage.prototype.setItem = window.put }")
    assert len(stored(page)) == 2
