"""What another component of the page tells the map: who cleans what, and what others decided."""

from typing import Any

import numpy as np
import pytest
from map_site import FEW, MAP, Site, field_of, show_map
from playwright.sync_api import Page, expect

from curation.fields import CodeColumn

pytestmark = pytest.mark.browser
MARK = f"{MAP} .held .holders"
HELD = {"3": ["Ann Bee"], "-1": ["bob.cee@example.org", "Ann Bee"]}
ADDED = """() => { const { layer } = document.querySelector('.atlas-map').atlasMap;
  window.drawn = 0;
  for (const name of ['add', 'direct', 'raise', 'show']) {
    const does = layer[name].bind(layer);
    layer[name] = (...words) => { window.drawn += 1; return does(...words); };
  } }"""


def tell(page: Page, held: dict[str, list[str]] | None = None, **more: Any) -> None:
    news = {"url": "/here", "journal": "j", "seq": 0, "shown": "few", "held": held or {}, **more}
    page.evaluate(
        "news => document.dispatchEvent(new CustomEvent('curation-news', { detail: news }))", news
    )
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def row(page: Page, code: int) -> Any:
    return page.locator(f"[data-code='{code}']")


def test_who_cleans_a_cluster_stands_at_its_name_and_in_its_row_until_the_claim_ends(
    page: Page,
) -> None:
    show_map(page, FEW)
    root = page.locator(MAP).element_handle()
    before = row(page, 3).get_attribute("aria-label") or ""
    tell(page, HELD)
    expect(page.get_by_role("img", name="Cluster 3, being cleaned by Ann Bee")).to_have_text("AB")
    assert page.locator(MARK).count() == 1, "noise has no name on the map"
    expect(row(page, 3)).to_have_attribute("aria-label", f"{before}, being cleaned by Ann Bee")
    expect(row(page, 3).locator(".holders")).to_have_text("AB")
    row(page, 3).locator(".holders").hover()
    expect(row(page, 3).locator(".holders")).to_have_attribute("title", "being cleaned by Ann Bee")
    assert page.locator(MARK).get_attribute("title") is None, "no pointer reaches it on the map"
    expect(row(page, -1).locator(".holders i")).to_have_text(["BC", "AB"])
    noise = row(page, -1).get_attribute("aria-label") or ""
    assert noise.endswith("being cleaned by bob.cee@example.org and Ann Bee")
    tell(page, {"4": ["Ann Bee"]})
    expect(page.get_by_role("img", name="Cluster 4, being cleaned by Ann Bee")).to_be_visible()
    expect(row(page, 3)).to_have_attribute("aria-label", before)
    tell(page)
    assert page.locator(f"{MAP} .holders").count() == 0
    assert page.locator(MAP).element_handle().evaluate("(now, then) => now === then", root)


def test_marks_come_and_go_without_the_points_being_drawn_again(page: Page) -> None:
    show_map(page, FEW)
    tell(page)
    page.wait_for_timeout(400)  # what the first picture has still to do
    page.evaluate(ADDED)
    tell(page, HELD)
    page.locator(MARK).wait_for()
    tell(page)
    assert page.evaluate("window.drawn") == 0
    page.evaluate("document.querySelector('.atlas-map').atlasMap.draw()")
    tell(page)
    assert page.evaluate("window.drawn") > 0, "it would have been seen"


def test_a_mark_goes_with_its_name_and_stands_beside_it(page: Page) -> None:
    show_map(page, FEW)
    tell(page, HELD)
    before = page.locator(MARK).bounding_box()
    end = page.evaluate("document.querySelector('.atlas-map').atlasMap.lettering.ends.get('3')")
    assert 0 <= before["x"] - 1 - end["x"] < 8
    assert abs(before["y"] - 1 + before["height"] / 2 - end["y"]) < 2
    page.locator(MAP).focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "x => document.querySelector('.held .holders').getBoundingClientRect().x < x - 20",
        arg=before["x"],
    )
    page.keyboard.press("n")
    expect(page.locator(MARK)).to_have_count(0)
    expect(row(page, 3).locator(".holders")).to_have_text("AB")


def test_marks_are_of_clusters_of_this_atlas_of_this_dataset_only(page: Page, site: Site) -> None:
    kinds = (np.arange(100) % 2).astype(np.int32)
    site.columns = {"kind": CodeColumn("kind", kinds, ["3", "4"], 0)}
    show_map(page, FEW, fields=[field_of("cluster"), field_of("kind")])
    tell(page, HELD, url="/api/v1/another/here")
    assert page.locator(f"{MAP} .holders").count() == 0
    tell(page, HELD)
    assert page.locator(MARK).count() == 1
    tell(page, HELD, shown="many")
    assert page.locator(f"{MAP} .holders").count() == 0
    tell(page, HELD)
    page.get_by_label("Colour the items by").select_option("kind")
    page.wait_for_selector(f"{MAP}[data-color='kind']")
    expect(page.locator(f"{MAP} .holders")).to_have_count(0)
    page.get_by_label("Colour the items by").select_option("cluster")
    expect(page.locator(MARK)).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_mark_can_be_read_in_each_theme_and_has_an_edge_where_colours_are_forced(
    page: Page, scheme: Any
) -> None:
    page.emulate_media(color_scheme=scheme)
    show_map(page, FEW)
    tell(page, HELD)
    styles = """mark => { const { color, backgroundColor: paper, borderTopColor: edge,
        borderTopWidth: wide } = getComputedStyle(mark); return { color, paper, edge, wide }; }"""
    look = page.locator(f"{MARK} i").evaluate(styles)
    paper = [int(part) for part in look["paper"].strip("rgb()").split(",")]
    assert look["color"] == "rgb(255, 255, 255)" and contrast(paper) >= 4.5
    page.emulate_media(color_scheme=scheme, forced_colors="active")
    look = page.locator(f"{MARK} i").evaluate(styles)
    assert look["wide"] == "1px" and look["edge"] != look["paper"] != look["color"]


def contrast(paper: list[int]) -> float:
    """Of white letters, as WCAG has it."""
    parts = np.array(paper) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return 1.05 / (float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05)


# ---- decisions


@pytest.fixture
def labelled(page: Page, site: Site) -> Page:
    """A map coloured by category; on the server there is one more decision than it knows."""
    codes = np.full(100, -1, np.int32)
    codes[:10] = 0
    site.columns = {"category": CodeColumn("category", codes.copy(), ["cat"], 1)}
    fields = [field_of("cluster"), field_of("category", 1)]
    show_map(page, FEW, fields=fields, color_by="category", journal="j")
    page.wait_for_selector(f"{MAP}[data-color='category'][data-head='1']")
    codes[10:30] = 1
    site.columns["category"] = CodeColumn("category", codes, ["cat", "dog"], 2)
    site.changed = np.arange(10, 30)
    site.asked.clear()
    return page


def test_a_decision_is_fetched_and_shown_at_once_and_only_what_changed(
    labelled: Page, site: Site
) -> None:
    tell(labelled, seq=2)
    labelled.wait_for_selector(f"{MAP}[data-head='2']")
    assert site.asked == ["/column/few/category?since=1"]
    legend = "document.querySelector('.atlas-map').atlasMap.columns.get('category').legend"
    assert [(one["name"], one["count"]) for one in labelled.evaluate(legend)] == [
        ("cat", 10),
        ("dog", 20),
    ]
    expect(labelled.locator("[data-code='1']")).to_have_attribute("aria-label", "dog, 20 items")
    tell(labelled, seq=2)
    tell(labelled, seq=1)
    fields = [field_of("cluster"), field_of("category", 2)]
    show_map(labelled, FEW, fields=fields, color_by="category", journal="j")
    assert len(site.asked) == 1, "neither the next news nor the script's makes it ask again"


def test_a_run_of_the_script_that_began_before_the_news_takes_nothing_back(
    labelled: Page, site: Site
) -> None:
    tell(labelled, seq=2)
    labelled.wait_for_selector(f"{MAP}[data-head='2']")
    told_by_script(labelled, 1)
    assert labelled.locator(MAP).get_attribute("data-head") == "2"
    assert site.asked == ["/column/few/category?since=1"]
    told_by_script(labelled, 3)
    assert labelled.locator(MAP).get_attribute("data-head") == "3"


def test_a_journal_restored_from_a_backup_is_believed(labelled: Page, site: Site) -> None:
    tell(labelled, seq=2)
    labelled.wait_for_selector(f"{MAP}[data-head='2']")
    tell(labelled, seq=1)
    told_by_script(labelled, 1)
    assert labelled.locator(MAP).get_attribute("data-head") == "1"
    assert site.asked[1:] == ["/column/few/category?since=2"]


def told_by_script(page: Page, seq: int) -> None:
    """Show the map as a run of the script does that knows the decisions up to `seq`."""
    fields = [field_of("cluster"), field_of("category", seq)]
    show_map(page, FEW, fields=fields, color_by="category", journal="j")
    page.evaluate("document.querySelector('.atlas-map').atlasMap.work")


def test_news_of_another_journal_or_dataset_are_left_to_the_script(
    labelled: Page, site: Site
) -> None:
    tell(labelled, seq=2, journal="made anew under the same name")
    tell(labelled, seq=2, url="/api/v1/another/here")
    labelled.wait_for_timeout(200)
    assert site.asked == [] and labelled.locator(MAP).get_attribute("data-head") == "1"
