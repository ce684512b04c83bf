"""Legend, filters, hover card and names of the map, in a real Chromium."""

import numpy as np
import pytest
from map_site import (
    CLOUD,
    FEW,
    MANY,
    MAP,
    Site,
    drag,
    even_odd,
    field_of,
    make_atlas,
    near,
    pixel_of,
    place_of,
    rgb,
    rows_after,
    shape,
    show_map,
    star,
    take,
    told_after,
)
from playwright.sync_api import Page, expect

from curation.fields import CodeColumn, ValueColumn
from curation.viewer import payload
from curation.viewer.palette import color, ramp
from embeddings.schema import Atlas

pytestmark = pytest.mark.browser

RNG = np.random.default_rng(11)
SCORES = RNG.random(len(CLOUD)).astype(np.float32) * 10
SCORES[RNG.random(len(CLOUD)) < 0.1] = np.nan
KINDS = RNG.integers(-1, 3, len(CLOUD)).astype(np.int32)
DAY, START = 86400, 1_577_836_800.0  # the first second of 2020
DAYS = np.arange(100, dtype=np.float32) * DAY
MASK = "[...document.querySelector('.atlas-map').atlasMap.hidden ?? []]"


def towns() -> Atlas:
    """Sixty tight clusters, far from each other and of many sizes."""
    rng = np.random.default_rng(2)
    sizes = np.geomspace(20, 400, 60).astype(int)
    middles = np.stack([np.arange(60) % 10, np.arange(60) // 10], 1) * 10.0
    cluster = np.repeat(np.arange(60), sizes)
    width = np.sqrt(sizes)[cluster] / 14
    spread = rng.normal(size=(len(cluster), 2)) * width[:, None]
    return make_atlas(middles[cluster] + spread, cluster, "towns")


@pytest.fixture
def cloud(page: Page, site: Site) -> Page:
    site.columns = {
        "score": ValueColumn("score", SCORES, 0),
        "kind": CodeColumn("kind", KINDS, ["cat", "dog", "eel"], 0),
    }
    fields = [field_of("cluster"), field_of("score", 0, "value"), field_of("kind")]
    show_map(page, CLOUD, fields=fields)
    return page


def row(page: Page, code: int) -> None:
    page.locator(f"[data-code='{code}']").click()


def recolour(page: Page, field: str) -> None:
    page.get_by_label("Colour the items by").select_option(field)
    page.wait_for_selector(f"{MAP}[data-color='{field}']")


def passing(page: Page, atlas: Atlas) -> set[int]:
    """Return the rows that pass the filters, as the map has it, and check that it says as many."""
    hidden = np.array(page.evaluate(MASK), dtype=bool)
    order = payload.order_of(atlas)[0]
    rows = set(order[~hidden].tolist()) if len(hidden) else set(range(len(atlas)))
    assert page.locator(MAP).get_attribute("data-passing") == str(len(rows))
    return rows


def where(mask: np.ndarray) -> set[int]:
    return set(np.flatnonzero(mask).tolist())


def within(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return (values >= low) & (values <= high)


def typed(page: Page, name: str, text: str) -> None:
    page.get_by_label(f"{name} value").fill(text)
    page.get_by_label(f"{name} value").press("Enter")


# ---- the legend filters -------------------------------------------------------------------------


def test_a_click_shows_only_this_value_and_the_others_turn_grey_but_stay(page: Page) -> None:
    show_map(page, FEW)
    kept, other = (int(np.flatnonzero(FEW.cluster == number)[0]) for number in (3, 5))
    row(page, 3)
    page.mouse.move(2, 690)
    page.wait_for_function("document.querySelector('.atlas-map').atlasMap.pick === null")
    assert passing(page, FEW) == where(FEW.cluster == 3)
    assert near(pixel_of(page, FEW, kept), rgb(color(3)))
    red, green, blue, alpha = pixel_of(page, FEW, other)
    assert 10 < alpha < 120 and max(red, green, blue) - min(red, green, blue) <= 6
    assert page.locator(MAP).get_attribute("data-drawn") == "100"
    assert page.evaluate("window.told") == []


def test_further_clicks_add_and_remove_and_the_last_one_taken_away_ends_the_filter(
    page: Page,
) -> None:
    show_map(page, FEW)
    row(page, 3)
    row(page, -1)
    assert passing(page, FEW) == where((FEW.cluster == 3) | (FEW.cluster == -1))
    row(page, 3)
    assert passing(page, FEW) == where(FEW.cluster == -1)
    expect(page.locator("[data-code='-1']")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("[data-code='3']")).to_have_attribute("aria-pressed", "false")
    row(page, -1)
    assert passing(page, FEW) == set(range(100))
    expect(page.locator(MAP)).to_have_attribute("data-filters", "0")
    expect(page.locator(".chips")).to_be_hidden()


def test_flags_pass_where_any_of_the_chosen_holds(page: Page, site: Site) -> None:
    codes = np.arange(100, dtype=np.int32) % 8
    site.columns["flags"] = CodeColumn("flags", codes, ["excluded", "outlier", "odd"], 1, "bits")
    show_map(page, FEW, fields=[field_of("cluster"), field_of("flags", 1, "bits")])
    recolour(page, "flags")
    row(page, 0)
    row(page, 2)
    assert passing(page, FEW) == where((codes & 5) != 0)
    row(page, -1)
    assert passing(page, FEW) == where((codes & 5 != 0) | (codes == 0))
    rows = rows_after(page, FEW, lambda: take(page, 2))
    assert rows == where(codes & 4 != 0)


def test_filters_of_several_fields_must_all_pass_and_each_has_a_chip(cloud: Page) -> None:
    row(cloud, 4)
    row(cloud, 7)
    recolour(cloud, "kind")
    row(cloud, 1)
    expected = where(np.isin(CLOUD.cluster, (4, 7)) & (KINDS == 1))
    assert passing(cloud, CLOUD) == expected
    expect(cloud.locator("[data-chip='cluster']")).to_contain_text("4, 7")
    expect(cloud.locator("[data-chip='kind']")).to_contain_text("dog")
    expect(cloud.locator(".passing")).to_contain_text(f"{len(expected)} of 20,000 pass the filters")
    cloud.locator("[data-off='cluster']").click()
    assert passing(cloud, CLOUD) == where(KINDS == 1)
    row(cloud, 2)
    recolour(cloud, "cluster")
    row(cloud, 0)
    cloud.get_by_role("button", name="Clear all").click()
    assert passing(cloud, CLOUD) == set(range(len(CLOUD)))


def test_the_key_h_clears_all_filters(cloud: Page) -> None:
    row(cloud, 4)
    cloud.locator(MAP).focus()
    cloud.keyboard.press("h")
    assert passing(cloud, CLOUD) == set(range(len(CLOUD)))


# ---- ranges -------------------------------------------------------------------------------------


def test_a_typed_range_gives_numpys_items_and_no_value_can_be_switched(cloud: Page) -> None:
    recolour(cloud, "score")
    typed(cloud, "Lowest", "2.5")
    typed(cloud, "Highest", "7")
    chosen = within(SCORES, 2.5, 7)
    assert passing(cloud, CLOUD) == where(chosen)
    expect(cloud.locator("[data-chip='score']")).to_contain_text("2.5 – 7")
    expect(cloud.locator("[data-code='-1']")).to_contain_text(f"{np.isnan(SCORES).sum():,}")
    row(cloud, -1)
    assert passing(cloud, CLOUD) == where(chosen | np.isnan(SCORES))
    cloud.get_by_role("button", name="Clear this filter").click()
    row(cloud, -1)
    assert passing(cloud, CLOUD) == where(~np.isnan(SCORES))
    typed(cloud, "Lowest", "no number")
    assert passing(cloud, CLOUD) == where(~np.isnan(SCORES))


def test_the_handles_move_by_keys_and_by_the_pointer(cloud: Page) -> None:
    recolour(cloud, "score")
    low, high = cloud.locator("[data-end='0']"), cloud.locator("[data-end='1']")
    low.focus()
    for _ in range(3):
        cloud.keyboard.press("PageUp")
    cloud.wait_for_selector(f"{MAP}[data-filters='1']")
    box = cloud.locator(".bars").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    drag(cloud, [(box["x"] + box["width"] - 4, y), (box["x"] + box["width"] * 0.6, y)])
    cloud.wait_for_function(
        "document.querySelector('.atlas-map').atlasMap.legend.range.frame === 0"
    )
    ends = [float(one.get_attribute("aria-valuenow") or 0) for one in (low, high)]
    bottom, top = float(np.nanmin(SCORES)), float(np.nanmax(SCORES))
    assert ends[0] == pytest.approx(bottom + 0.3 * (top - bottom), abs=1e-4)
    assert ends[1] == pytest.approx(bottom + 0.6 * (top - bottom), abs=0.1)
    assert passing(cloud, CLOUD) == where(within(SCORES, *ends))
    low.focus()
    cloud.keyboard.press("Home")
    high.focus()
    cloud.keyboard.press("End")
    cloud.wait_for_selector(f"{MAP}[data-filters='0']")


def test_the_histogram_is_numpys_and_coloured_by_the_ramp(cloud: Page) -> None:
    recolour(cloud, "score")
    bars = cloud.locator(".bars i")
    counts = [int(n) for n in bars.evaluate_all("all => all.map((one) => one.dataset.count)")]
    found = SCORES[~np.isnan(SCORES)].astype(np.float64)
    assert counts == np.histogram(found, bins=48)[0].tolist()
    first, last = (
        rgb(bars.nth(k).evaluate("b => b.style.getPropertyValue('--c')")) for k in (0, 47)
    )
    assert near(first, rgb(ramp()[0])) and near(last, rgb(ramp()[-1]))


def test_days_are_typed_and_shown_as_days(page: Page, site: Site) -> None:
    site.columns["taken"] = ValueColumn("taken", DAYS, 0, "time", START)
    fields = [field_of("cluster"), field_of("taken", 0, "value")]
    show_map(page, FEW, fields=fields, color_by="taken")
    lowest = page.get_by_label("Lowest value")
    expect(lowest).to_have_value("2020-01-01")
    typed(page, "Lowest", "2020-02-01")
    typed(page, "Highest", "2020-02")
    assert passing(page, FEW) == where((DAYS >= 31 * DAY) & (DAYS < 60 * DAY))
    expect(page.locator("[data-chip='taken']")).to_contain_text("2020-02-01 – 2020-02-29")


# ---- filters and selections ---------------------------------------------------------------------


def test_lasso_and_invert_take_exactly_what_passes(cloud: Page) -> None:
    recolour(cloud, "kind")
    row(cloud, 0)
    row(cloud, -1)
    passes = where((KINDS == 0) | (KINDS == -1))
    cloud.locator(MAP).focus()
    cloud.keyboard.press("l")
    path = star(np.random.default_rng(4))
    rows = rows_after(cloud, CLOUD, lambda: drag(cloud, path))
    grid = payload.quantise(CLOUD.xy).astype(np.int64)
    hit = even_odd(grid, shape(cloud))
    assert rows == hit & passes
    assert 50 < len(rows) < len(hit)
    assert rows_after(cloud, CLOUD, lambda: cloud.keyboard.press("i")) == passes - hit


def test_a_grey_item_is_out_of_reach_of_the_pointer(page: Page) -> None:
    show_map(page, FEW)
    lone = int(np.flatnonzero(FEW.cluster == FEW.cluster[41] + 1)[0])
    reach = """at => document.querySelector('.atlas-map').atlasMap.itemAt(at)"""
    x, y = place_of(page, FEW, 41)
    assert page.evaluate(reach, [x - 1, y - 1]) >= 0
    row(page, int(FEW.cluster[41]) + 1)
    assert page.evaluate(reach, [x - 1, y - 1]) == -1
    page.mouse.click(x, y)
    assert rows_after(page, FEW, lambda: page.mouse.click(*place_of(page, FEW, lone))) == {lone}
    assert len(page.evaluate("window.told")) == 1


def test_the_selection_survives_a_filter_and_the_map_says_how_much_of_it_is_hidden(
    page: Page,
) -> None:
    show_map(page, FEW)
    told_after(page, lambda: take(page, 3))
    told_after(page, lambda: take(page, 4, modifiers=["Shift"]))
    row(page, 3)
    chosen = int((FEW.cluster == 4).sum())
    both = chosen + int((FEW.cluster == 3).sum())
    expect(page.locator(MAP)).to_have_attribute("data-selected", str(both))
    expect(page.locator(".passing")).to_contain_text(f"{chosen} of the selected are filtered out")
    assert len(page.evaluate("window.told")) == 2


def test_counts_say_how_many_pass_the_other_filters_or_are_selected(cloud: Page) -> None:
    number = cloud.locator("[data-code='4'] .number")
    of_four = (CLOUD.cluster == 4).sum()
    expect(number).to_have_text(f"{of_four}")
    recolour(cloud, "kind")
    row(cloud, 1)
    expect(cloud.locator("[data-code='0'] .number")).to_have_text(f"{(KINDS == 0).sum():,}")
    recolour(cloud, "cluster")
    dogs = ((CLOUD.cluster == 4) & (KINDS == 1)).sum()
    expect(number).to_have_text(f"{dogs} / {of_four}")
    row(cloud, 5)  # a value's own field does not take from the counts
    expect(cloud.locator(MAP)).to_have_attribute("data-filters", "2")
    row(cloud, 4)
    expect(number).to_have_text(f"{dogs} / {of_four}")
    row(cloud, 5)
    cats = ((CLOUD.cluster == 6) & (KINDS == 1)).sum()
    six = cloud.locator("[data-code='6'] .number")
    expect(six).to_have_text(f"{cats} / {(CLOUD.cluster == 6).sum()}")
    told_after(cloud, lambda: take(cloud, 4))
    expect(number).to_have_text(f"{dogs} / {of_four}")
    expect(cloud.locator("[data-code='5'] .number")).to_contain_text("0 / ")


def test_filters_survive_recolouring_a_remount_and_a_label_given(page: Page, site: Site) -> None:
    codes = np.full(len(FEW), -1, np.int32)
    codes[:50] = 0
    site.columns["category"] = CodeColumn("category", codes, ["cat"], 4)
    fields = [field_of("cluster"), field_of("category", 4)]
    show_map(page, FEW, fields=fields, color_by="category")
    row(page, 0)
    recolour(page, "cluster")
    assert passing(page, FEW) == set(range(50))
    page.evaluate("window.leave('map')")
    # Meanwhile "cat" has another code, and more items.
    site.columns["category"] = CodeColumn("category", np.where(codes < 0, 0, 1), ["ant", "cat"], 5)
    site.columns["category"].codes[60:70] = 1
    fields[1]["seq"] = 5
    show_map(page, FEW, fields=fields, color_by="category")
    assert passing(page, FEW) == {*range(50), *range(60, 70)}
    site.changed = np.array([70])
    site.columns["category"].codes[70] = 1
    site.columns["category"] = CodeColumn(
        "category", site.columns["category"].codes, ["ant", "cat"], 6
    )
    fields[1]["seq"] = 6
    show_map(page, FEW, fields=fields, color_by="category")
    page.wait_for_selector(f"{MAP}[data-passing='61']")
    expect(page.locator("[data-chip='category']")).to_contain_text("cat")


# ---- a list to work in --------------------------------------------------------------------------


def test_a_long_legend_shows_a_part_and_finds_the_rest(page: Page) -> None:
    show_map(page, MANY)
    assert page.locator("[data-code]").count() == 200
    expect(page.locator(".rows p")).to_contain_text("200 more")
    page.get_by_label("Search the legend").fill("ter 39")
    assert page.locator("[data-code]").count() == 11
    row(page, 395)
    assert passing(page, MANY) == {395}


def test_the_legend_is_worked_by_keys(page: Page) -> None:
    show_map(page, FEW)
    page.get_by_label("Search the legend").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert passing(page, FEW) == where(FEW.cluster == 1)
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    rows = rows_after(page, FEW, lambda: page.keyboard.press("Shift+Enter"))
    assert rows == where(FEW.cluster == -1)
    assert page.locator("[data-code][tabindex='0']").count() == 1


def test_the_list_is_sorted_by_name_or_by_count(cloud: Page) -> None:
    names = lambda: cloud.locator("[data-code] .name").all_inner_texts()  # noqa: E731
    assert names()[:3] == ["Cluster 0", "Cluster 1", "Cluster 2"]
    cloud.get_by_role("button", name="sort by count").click()
    counts = np.bincount(CLOUD.cluster[CLOUD.cluster >= 0])
    assert names()[0] == f"Cluster {counts.argmax()}"
    assert names()[-1] == "noise"


# ---- the hover card -----------------------------------------------------------------------------


def hovered(page: Page, point: tuple[float, float]) -> None:
    page.mouse.move(*point)
    page.wait_for_selector(".card[data-told='true']")


def test_the_card_shows_picture_cluster_value_and_what_the_server_tells(
    page: Page, site: Site
) -> None:
    site.columns["score"] = ValueColumn("score", np.linspace(0, 1, 100, dtype=np.float32), 0)
    fields = [field_of("cluster"), field_of("score", 0, "value")]
    show_map(page, FEW, fields=fields, color_by="score")
    page.mouse.move(*place_of(page, FEW, 44))
    card = page.locator(".card")
    expect(card).to_contain_text(f"Cluster {FEW.cluster[44]}")
    expect(card).to_contain_text("score: 0.44")
    expect(card).to_contain_text("photo44.jpg")
    expect(card).to_contain_text("640 x 480")
    expect(card).not_to_contain_text("99")  # the cluster is not told twice
    page.wait_for_function("document.querySelector('.card img').naturalWidth === 128")
    assert (card.locator("img").get_attribute("src") or "").startswith("blob:")
    page.mouse.move(2, 690)
    expect(card).to_be_hidden()


def test_what_a_card_has_told_is_not_asked_again(page: Page, site: Site) -> None:
    show_map(page, FEW)
    site.asked.clear()
    hovered(page, place_of(page, FEW, 44))
    page.wait_for_function("document.querySelector('.card img').naturalWidth === 128")
    page.mouse.move(2, 690)
    expect(page.locator(".card")).to_be_hidden()
    hovered(page, place_of(page, FEW, 44))
    kinds = [path.split("/")[1] for path in site.asked]
    assert sorted(kinds) == ["item", "thumb_at"]


@pytest.mark.parametrize(
    ("wide", "items"), [(900, (40, 49, 4, 94, 44)), (270, (44, 55))], ids=["wide", "narrow"]
)
def test_the_card_stays_inside_the_map_and_off_the_pointer(
    page: Page, wide: int, items: tuple[int, ...]
) -> None:
    page.evaluate("wide => { document.querySelector('#host').style.width = `${wide}px` }", wide)
    show_map(page, FEW)
    if wide > 600:
        page.get_by_role("button", name="Legend").click()
    bounds = page.locator(MAP).bounding_box()
    assert bounds is not None
    for item in items:
        x, y = place_of(page, FEW, item)
        hovered(page, (x, y))
        page.wait_for_function("document.querySelector('.card img').naturalWidth === 128")
        box = page.locator(".card").bounding_box()
        assert box is not None
        assert box["x"] >= bounds["x"] and box["y"] >= bounds["y"]
        assert box["x"] + box["width"] <= bounds["x"] + bounds["width"]
        assert box["y"] + box["height"] <= bounds["y"] + bounds["height"]
        covered = box["x"] < x < box["x"] + box["width"] and box["y"] < y < box["y"] + box["height"]
        assert not covered
        page.mouse.move(2, 690)
        expect(page.locator(".card")).to_be_hidden()


def test_the_card_is_there_for_the_keyboard_too(page: Page) -> None:
    show_map(page, FEW)
    page.locator(MAP).focus()
    (only,) = rows_after(page, FEW, lambda: page.keyboard.press("Enter"))
    expect(page.locator(".card")).to_contain_text(f"photo{only}.jpg")


# ---- names --------------------------------------------------------------------------------------


def boxes(page: Page) -> list[list[float]]:
    return page.evaluate("document.querySelector('.atlas-map').atlasMap.lettering.boxes")


def written(page: Page) -> set[str]:
    found = page.evaluate(
        """() => { const map = document.querySelector('.atlas-map').atlasMap; map.drawNow();
        return [...map.lettering.written].filter(([, one]) => one.stands).map(([name]) => name) }"""
    )
    return set(found)


@pytest.fixture
def sixty(page: Page, site: Site) -> Page:
    site.atlases["towns"] = towns()
    show_map(page, site.atlases["towns"])
    return page


def apart(found: list[list[float]]) -> bool:
    return all(
        a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]
        for k, a in enumerate(found)
        for b in found[:k]
    )


def test_names_do_not_overlap_and_more_of_them_appear_further_in(sixty: Page) -> None:
    seen = sixty.evaluate(
        """() => { const map = document.querySelector('.atlas-map').atlasMap;
        const { camera } = map;
        return [1, 1.6, 2.6].map((zoom) => { camera.scale = camera.fitted * zoom; map.drawNow();
          const [x0, y0, x1, y1] = map.viewBox();
          const inView = map.anchors.filter(({ x, y }) => x > x0 && x < x1 && y > y0 && y < y1);
          return [map.lettering.boxes, inView.length] }) }"""
    )
    assert all(apart(found) for found, _ in seen)
    shares = [len(found) / inside for found, inside in seen]
    assert 0.05 < shares[0] < shares[-1]
    assert shares[-1] > 0.7


def test_names_that_would_overlap_are_left_out(page: Page) -> None:
    show_map(page, CLOUD)  # forty clusters whose middles are all near the middle
    assert 1 < len(boxes(page)) < 20
    assert apart(boxes(page))


def test_names_keep_clear_of_the_tools_and_the_legend(sixty: Page) -> None:
    sixty.evaluate("document.querySelector('.atlas-map').atlasMap.drawNow()")
    obstacles = sixty.evaluate("document.querySelector('.atlas-map').atlasMap.obstacles")
    assert len(obstacles) >= 3
    for box in boxes(sixty):
        assert all(apart([box, other]) for other in obstacles)


def test_names_that_stand_stay_while_the_map_moves(sixty: Page) -> None:
    before = written(sixty)
    for _ in range(6):
        moved = sixty.evaluate(
            """() => { const map = document.querySelector('.atlas-map').atlasMap; map.panBy(7, 4);
            return map.anchors.filter(({ x, y }) => { const [sx, sy] = map.camera.toScreen(x, y);
            return sx > 90 && sx < 600 && sy > 90 && sy < 540 }).map(({ name }) => name) }"""
        )
        after = written(sixty)
        assert (before & set(moved)) <= after
        before = after


def test_names_are_of_what_passes_and_numbers_leave_the_clusters_theirs(
    sixty: Page, site: Site
) -> None:
    atlas = site.atlases["towns"]
    site.columns["score"] = ValueColumn("score", np.arange(len(atlas), dtype=np.float32), 0)
    show_map(sixty, atlas, fields=[field_of("cluster"), field_of("score", 0, "value")])
    recolour(sixty, "score")
    assert {"59", "58"} & written(sixty)
    recolour(sixty, "cluster")
    sixty.get_by_label("Search the legend").fill("59")
    row(sixty, 59)
    sixty.wait_for_function(
        "document.querySelector('.atlas-map').atlasMap.anchors.length === 1", timeout=3000
    )
    assert written(sixty) == {"59"}


def test_a_name_fades_in_and_out(page: Page) -> None:
    show_map(page, FEW)
    alphas = page.evaluate(
        """() => { const { lettering, anchors, pen, camera } = (
          document.querySelector('.atlas-map').atlasMap);
        const fresh = new lettering.constructor();
        return [[0, true], [60, true], [120, true], [500, true],
          [600, false], [660, false], [720, false]]
          .map(([now, stands]) => {
            const ink = { ink: '#000', paper: '#fff', font: 'sans-serif' };
            const shown = stands ? anchors.slice(0, 1) : [];
            const count = fresh.write(pen, shown, camera, ink, { now, still: false });
            return [count, [...fresh.written.values()].map(({ alpha }) => alpha)] }) }"""
    )
    assert alphas == [
        [1, [0]],
        [1, [0.5]],
        [1, [1]],
        [1, [1]],
        [0, [1]],
        [0, [0.5]],
        [0, []],
    ]
