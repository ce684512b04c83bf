"""One Chromium for each file of browser tests, and the viewer's own little server."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from map_site import Open, Site, launch
from playwright.sync_api import Browser, Page, Playwright, sync_playwright


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    server = Site()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    started = launch(playwright)
    yield started
    started.close()


@pytest.fixture
def open_page(browser: Browser, site: Site) -> Iterator[Open]:
    """Open the page in a context of its own; at the end nothing may have been thrown in it."""
    thrown: list[str] = []
    contexts = []
    site.broken = False
    site.columns = {}
    site.delta_from = None

    def opened(**options: Any) -> Page:
        options = {"viewport": {"width": 940, "height": 700}, "reduced_motion": "reduce", **options}
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(8000)
        page.on("pageerror", lambda error: thrown.append(str(error)))
        page.goto(site.url)
        page.wait_for_selector("html[data-loaded]", state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert thrown == []


@pytest.fixture
def page(open_page: Open) -> Page:
    return open_page()
