"""Several people on one dataset: seen by each other, kept apart, let in by a login, by role."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from app_site import PATIENCE, App, choose_label, open_map, wait_for
from map_site import MAP
from oidc_site import Provider
from playwright.sync_api import BrowserContext, Page, expect
from pyroaring import BitMap

from curation.presence import presence
from curation.workspace import Workspace

pytestmark = pytest.mark.browser
PEOPLE = ".atlas-people"
CLEAN = ".cleaning"
ROLES = """[people]
"ada@example.org" = "admin"
"lea@example.org" = "label"
"vic@example.org" = "view"
"""


@pytest.fixture
def context(browser) -> Iterator[Callable[[], BrowserContext]]:
    """Open a browser context of its own, as another person's browser is."""
    contexts: list[BrowserContext] = []

    def opened() -> BrowserContext:
        size = {"width": 1500, "height": 950}
        contexts.append(browser.new_context(viewport=size, reduced_motion="reduce"))
        contexts[-1].set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        return contexts[-1]

    yield opened
    for one in contexts:
        one.close()


# ---- two people, each at their own server of one dataset


@pytest.fixture
def two(digits: str, context: Callable[[], BrowserContext]) -> Iterator[tuple[Page, Page]]:
    """The map as Ann Bee and Bob Cee see it."""
    with ThreadPoolExecutor() as starting:
        apps = list(starting.map(lambda name: App(CURATE_USER=name), ("Ann Bee", "Bob Cee")))
    pages = [context().new_page() for _ in apps]
    for page, app in zip(pages, apps, strict=True):
        open_map(page, app)
    yield pages[0], pages[1]
    for page in pages:
        page.close()
    for app in apps:
        app.stop()


def turn_to(page: Page, title: str) -> None:
    page.get_by_role("link", name=title).first.click()


def select_cluster(page: Page, digits: str, cluster: int) -> int:
    count = len(Workspace(digits).select(f"cluster:{cluster}"))
    page.locator(f"{MAP} [data-code='{cluster}']").press("Shift+Enter")
    wait_for(page, f"{count:,} selected")
    return count


def open_clean(page: Page) -> None:
    page.goto(page.evaluate("location.origin") + "/clean")
    page.wait_for_selector(f"{CLEAN}[data-ready='true']:not([data-sheet=''])")


def items_shown(page: Page) -> set[str]:
    """The items of the sheet in hand."""
    sources = page.locator(f"{CLEAN} .contact-sheet .tile img").evaluate_all(
        "all => all.map((one) => one.getAttribute('src').split('/').at(-1))"
    )
    assert sources
    return set(sources)


def test_two_people_see_each_other_where_they_are_and_when_they_leave(
    two: tuple[Page, Page], digits: str
) -> None:
    ann, bob = two
    expect(bob.locator(f"{PEOPLE} [aria-label='Ann Bee: Map']")).to_have_text("AB")
    expect(ann.locator(f"{PEOPLE} [aria-label='Bob Cee: Map']")).to_have_text("BC")
    select_cluster(ann, digits, 0)
    expect(bob.get_by_label("Ann Bee: Map, cluster 0")).to_be_visible()
    turn_to(ann, "Labels")
    expect(bob.get_by_label("Ann Bee: Labels")).to_be_visible()
    ann.close()
    expect(bob.locator(f"{PEOPLE} [data-person]")).to_have_count(0)


def test_labels_of_two_people_on_the_same_items_are_both_kept_and_the_second_is_asked(
    two: tuple[Page, Page], digits: str
) -> None:
    ann, bob = two
    for page, label in ((ann, "zero"), (bob, "null")):
        count = select_cluster(page, digits, 0)
        choose_label(page, label)
    ann.get_by_role("button", name="Label").first.click()
    ann.wait_for_selector(f"{MAP}[data-head='1']")
    bob.wait_for_selector(f"{MAP}[data-head='1']")
    expect(bob.get_by_role("combobox", name="Label").first).to_have_value("null")
    bob.get_by_role("button", name="Label").first.click()
    wait_for(bob, f"{count:,} of {count:,} items have another category by hand")
    bob.get_by_role("button", name="Change them").click()
    ann.wait_for_selector(f"{MAP}[data-head='2']")
    told = [(one.made_by, one.value, one.n_items) for one in Workspace(digits).log()]
    assert told == [("Bob Cee", "null", count), ("Ann Bee", "zero", count)]


def test_two_people_clean_different_sheets_and_what_one_leaves_the_other_gets(
    two: tuple[Page, Page], digits: str
) -> None:
    ann, bob = two
    for page in two:
        open_clean(page)
    hers, his = items_shown(ann), items_shown(bob)
    assert not hers & his
    claims = presence(Workspace(digits).dataset).claims().values()
    numbers = [one.items for one in claims if one.person == "Ann Bee"]
    others = [one.items for one in claims if one.person == "Bob Cee"]
    assert numbers and others
    assert not BitMap().union(*numbers) & BitMap().union(*others), "those that follow too"
    title = next(iter(presence(Workspace(digits).dataset).others(""))).place
    expect(bob.get_by_label(f"Ann Bee: Clean, {title}")).to_be_visible()
    ann.close()
    bob.reload()
    bob.wait_for_selector(f"{CLEAN}[data-ready='true']:not([data-sheet=''])")
    assert items_shown(bob) == hers, "the best sheet is free again"


def test_the_map_marks_the_clusters_that_somebody_cleans_until_they_go_on(
    two: tuple[Page, Page], digits: str
) -> None:
    ann, bob = two
    root = bob.locator(MAP).element_handle()
    cluster = int(Workspace(digits).atlas().cluster.max())
    row = bob.locator(f"{MAP} [data-code='{cluster}']")
    plain = row.get_attribute("aria-label")
    asked: list[str] = []
    bob.on("request", lambda one: asked.append(one.url))
    select_cluster(ann, digits, cluster)
    ann.get_by_role("button", name="Clean these").click()
    ann.wait_for_selector(f"{CLEAN}[data-ready='true']:not([data-sheet=''])")
    expect(row).to_have_attribute("aria-label", f"{plain}, being cleaned by Ann Bee")
    mark = bob.get_by_role("img", name=f"Cluster {cluster}, being cleaned by Ann Bee")
    expect(mark).to_have_text("AB")
    avatar = bob.locator(f"{PEOPLE} [data-person='Ann Bee']")
    colour = "one => getComputedStyle(one).backgroundColor"
    assert mark.locator("i").evaluate(colour) == avatar.evaluate(colour)
    turn_to(ann, "Labels")
    expect(row).to_have_attribute("aria-label", plain or "")
    expect(mark).to_have_count(0)
    assert {url.split("/")[-1] for url in asked} == {"here"}, "nothing more is asked for it"
    assert bob.locator(MAP).element_handle().evaluate("(now, then) => now === then", root)


# ---- a login


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture
def app(digits: str, home: Path, tmp_path: Path, provider: Provider) -> Iterator[App]:
    (home / "roles.toml").write_text(ROLES)
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "secrets.toml").write_text(provider.secrets)
    running = App(cwd=tmp_path)
    yield running
    running.stop()


@pytest.fixture
def log_in(
    context: Callable[[], BrowserContext], app: App, provider: Provider
) -> Callable[..., Page]:
    """Log in as the provider says in a browser of one's own."""

    def logged_in(**person: Any) -> Page:
        provider.person = {"sub": "17", "name": "Somebody", "email_verified": True, **person}
        page = context().new_page()
        page.goto(app.url)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{app.url}/**")
        return page

    return logged_in


def status_of(page: Page, path: str) -> int:
    """What our routes answer this browser, with its cookies."""
    return page.evaluate("path => fetch(path).then((answer) => answer.status)", path)


def test_without_a_login_nothing_is_shown_and_nothing_is_served(
    context: Callable[[], BrowserContext], app: App, digits: str
) -> None:
    page = context().new_page()
    page.goto(app.url)
    page.get_by_role("button", name="Log in").wait_for()
    assert page.locator(MAP).count() == 0
    assert page.get_by_text(digits).count() == 0, "not even the name of a dataset"
    item = Workspace(digits).atlas().item_ids[0]
    for path in ("head", f"thumb/{item}", f"points/{Workspace(digits).newest_version()}"):
        assert status_of(page, f"/api/v1/{digits}/{path}") == 401, path
    assert status_of(page, "/media/0123.png") == 401
    forged = {"name": "_streamlit_user", "value": "e30.forged.signature", "url": app.url}
    page.context.add_cookies([forged])
    assert status_of(page, f"/api/v1/{digits}/head") == 401


def test_who_logs_in_decides_under_their_address_and_is_seen_by_it(
    log_in: Callable[..., Page], digits: str
) -> None:
    lea = log_in(email="Lea@Example.org", email_verified=True)
    lea.wait_for_selector(f"{MAP}[data-ready='true']")
    wait_for(lea, "you are lea@example.org")
    assert status_of(lea, f"/api/v1/{digits}/head") == 200
    vic = log_in(email="vic@example.org")
    expect(lea.get_by_label("vic@example.org: Map")).to_be_visible()
    count = select_cluster(lea, digits, 0)
    choose_label(lea, "zero")
    lea.get_by_role("button", name="Label").first.click()
    vic.wait_for_selector(f"{MAP}[data-head='1']")
    (decision,) = Workspace(digits).log()
    assert (decision.made_by, decision.n_items) == ("lea@example.org", count)


def until(page: Page, done: Callable[[], bool]) -> None:
    """Wait for what is to be seen on the disk; a toast may have come and gone."""
    for _ in range(PATIENCE // 200):
        if done():
            return
        page.wait_for_timeout(200)
    raise AssertionError("it did not come")


def test_a_role_is_asked_at_every_act_and_changed_while_the_page_is_open(
    log_in: Callable[..., Page], digits: str, home: Path
) -> None:
    vic = log_in(email="vic@example.org")
    vic.wait_for_selector(f"{MAP}[data-ready='true']")
    select_cluster(vic, digits, 0)
    choose_label(vic, "zero")
    vic.get_by_role("button", name="Label").first.click()
    wait_for(vic, "vic@example.org may not decide anything")
    assert Workspace(digits).log() == []
    ada = log_in(email="ada@example.org")
    ada.get_by_role("button", name="Roles").click()
    ada.get_by_label("Person").fill("vic@example.org")
    ada.get_by_label("Person").press("Enter")
    ada.get_by_role("button", name="Give this role").click()
    until(ada, lambda: '"vic@example.org" = "label"' in (home / "roles.toml").read_text())
    vic.get_by_role("button", name="Label").first.click()
    vic.wait_for_selector(f"{MAP}[data-head='1']")
    assert Workspace(digits).log()[0].made_by == "vic@example.org"


@pytest.mark.parametrize(
    ("person", "name"),
    [
        ({"email": "ada@example.org", "email_verified": False}, "Somebody (17 at 127.0.0.1)"),
        ({"name": "ada@example.org"}, "ada@example.org (17 at 127.0.0.1)"),
        ({"email": "nobody@example.org"}, "nobody@example.org"),
    ],
)
def test_nobody_comes_in_as_somebody_else(
    log_in: Callable[..., Page], digits: str, person: dict[str, Any], name: str
) -> None:
    page = log_in(**person)
    wait_for(page, f"{name} has no role here")
    assert page.locator(MAP).count() == 0
    assert status_of(page, f"/api/v1/{digits}/head") == 403


def test_who_logs_out_is_out(log_in: Callable[..., Page], digits: str) -> None:
    page = log_in(email="lea@example.org")
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("button", name="Log in").wait_for()
    assert status_of(page, f"/api/v1/{digits}/head") == 401
    assert json.dumps(page.context.cookies()).count("_streamlit_user") == 0
