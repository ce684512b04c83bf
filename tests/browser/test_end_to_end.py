"""The whole job in a real browser: lasso, drop strays, label, undo, redo, restart, export."""

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from app_site import PATIENCE, App, choose_label, open_map, wait_for
from map_site import MAP, SHEET, even_odd, wire_index
from PIL import Image
from playwright.sync_api import Page, expect

from curation.viewer import payload
from curation.workspace import Workspace

pytestmark = pytest.mark.browser
SHAPE = "root => root.atlasMap.shape"


@pytest.fixture
def app(digits: str) -> Iterator[App]:
    running = App()
    yield running
    running.stop()


@pytest.fixture
def desk(browser, app: App) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1500, "height": 950}, reduced_motion="reduce")
    asked: list[str] = []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    open_map(page, app)
    yield page
    away = [url for url in asked if not url.startswith((app.url, "data:", "blob:"))]
    context.close()
    assert not away, f"the page asked another machine: {away}"


def places(page: Page, items: list[int]) -> np.ndarray:
    """Where items (wire indices) stand on the screen, (m, 2) pixels of the page."""
    found = page.locator(MAP).evaluate(
        """(root, items) => { const { camera, places } = root.atlasMap;
        const { left, top } = root.querySelector('canvas').getBoundingClientRect();
        return items.map((i) => { const [x, y] = camera.toScreen(places.x[i], places.y[i]);
        return [x + left, y + top]; }); }""",
        items,
    )
    return np.array(found)


def lonely_cluster(workspace: Workspace) -> int:
    """The cluster that a circle holds with the fewest others in it."""
    atlas = workspace.atlas()
    shares = {}
    for cluster in atlas.clusters[atlas.clusters >= 0]:
        mine = atlas.xy[atlas.cluster == cluster]
        away = np.linalg.norm(atlas.xy - mine.mean(axis=0), axis=1)
        reach = np.linalg.norm(mine - mine.mean(axis=0), axis=1).max()
        shares[int(cluster)] = len(mine) / (away <= reach).sum()
    return max(shares, key=lambda cluster: shares[cluster])


def lasso(page: Page, workspace: Workspace, cluster: int) -> None:
    atlas = workspace.atlas()
    page.locator(MAP).focus()
    page.keyboard.press("l")
    items = [wire_index(atlas, int(row)) for row in atlas.members(cluster)]
    points = places(page, items)
    middle = points.mean(axis=0)
    reach = np.linalg.norm(points - middle, axis=1).max() + 5
    turn = np.linspace(0, 2 * np.pi, 40)
    ring = middle + reach * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    page.mouse.move(*ring[0])
    page.mouse.down()
    for x, y in ring[1:]:
        page.mouse.move(x, y)
    page.mouse.up()


def labelled(name: str, label: str) -> set[str]:
    """Read what stands in the journal with a workspace of this process."""
    workspace = Workspace(name)
    items = workspace.labels.items_with("category", label)
    return set(workspace.journal.item_ids(items).tolist()) if items else set()


def test_a_cluster_is_lassoed_cleaned_labelled_undone_redone_and_exported(
    desk: Page, app: App, digits: str, tmp_path: Path
) -> None:
    workspace = Workspace(digits)
    cluster = lonely_cluster(workspace)
    lasso(desk, workspace, cluster)
    tiles = desk.locator(f"{SHEET} [data-index]")
    tiles.first.wait_for()
    picked = int(desk.locator(MAP).get_attribute("data-selected") or 0)
    members = set(workspace.select(f"cluster:{cluster}").item_ids.tolist())
    assert picked >= len(members) > 20

    strays = []
    for place in (1, 4):
        picture = tiles.nth(place).locator("img").get_attribute("src") or ""
        strays.append(picture.rsplit("/", 1)[-1])
        tiles.nth(place).click()
    wait_for(desk, f"{picked - 2:,} selected")
    wait_for(desk, "2 strays dropped")

    choose_label(desk, "my digit")
    desk.get_by_role("button", name="Label").first.click()
    wait_for(desk, "Nothing selected")
    marked = labelled(digits, "my digit")
    assert len(marked) == picked - 2
    assert not marked & set(strays)
    assert members - set(strays) <= marked

    desk.get_by_role("button", name="Undo").click()
    wait_for(desk, "Redo category: my digit")
    assert labelled(digits, "my digit") == set()
    desk.get_by_role("button", name="Redo").click()
    wait_for(desk, "Undo category: my digit")
    assert labelled(digits, "my digit") == marked

    desk.reload()
    desk.wait_for_selector(f"{MAP}[data-ready='true']")
    wait_for(desk, "Undo category: my digit")
    app.stop()
    app.start()
    open_map(desk, app)
    wait_for(desk, "Undo category: my digit")
    desk.get_by_label("Colour the items by").select_option("category")
    wait_for(desk, "my digit")

    desk.get_by_role("link", name="Labels").click()
    wait_for(desk, f"{len(marked):,} of 1,797 items labelled")
    export_and_compare(desk, workspace, marked, tmp_path)


def export_and_compare(desk: Page, workspace: Workspace, marked: set[str], tmp_path: Path) -> None:
    desk.get_by_role("link", name="Export").click()
    desk.get_by_text("imagefolder", exact=True).click()
    target = tmp_path / "my set"
    field = desk.get_by_label("Folder to write")
    expect(field).to_have_value(str(Path.home() / "curation-exports" / "digits-imagefolder"))
    field.fill(str(target))
    field.press("Tab")
    desk.get_by_role("button", name="Export").click()
    wait_for(desk, "Written to")
    source = {row["item_id"]: row["path"] for row in workspace.records().to_pylist()}
    wanted = sorted(Path(source[item_id]).read_bytes() for item_id in marked)
    files = sorted(target.rglob("*.png"))
    assert sorted(path.read_bytes() for path in files) == wanted
    assert {path.parent.name for path in files} == {"my digit"}
    manifest = json.loads((target / "manifest.json").read_text())
    assert manifest["source"]["head"] == workspace.journal.head

    desk.get_by_role("button", name="Export").click()
    wait_for(desk, "exists; choose another folder")


def colours(page: Page, points: np.ndarray) -> np.ndarray:
    """What is on the screen at places of the page, (m, 3) int, with the pointer away from them."""
    page.mouse.move(2, 2)
    page.locator(f"{MAP} .card").wait_for(state="hidden")
    picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
    column, row = np.floor(points).astype(int).T
    return np.asarray(picture)[row, column].astype(int)


def test_a_selection_survives_another_page_on_the_map_and_on_the_server(
    desk: Page, digits: str
) -> None:
    workspace = Workspace(digits)
    atlas = workspace.atlas()
    lasso(desk, workspace, lonely_cluster(workspace))
    desk.locator(f"{SHEET} [data-index]").first.wait_for()
    rows = even_odd(payload.quantise(atlas.xy), desk.locator(MAP).evaluate(SHAPE))
    wanted = set(atlas.item_ids[sorted(rows)].tolist())
    count = desk.locator(MAP).get_attribute("data-selected")
    assert count == str(len(wanted))
    spread = [wire_index(atlas, row) for row in range(0, len(atlas), 12)]
    points = places(desk, spread)
    before = colours(desk, points)

    desk.get_by_role("link", name="Labels").click()
    wait_for(desk, "of 1,797 items labelled")
    expect(desk.locator(MAP)).to_have_count(0)
    desk.get_by_role("link", name="Map").click()
    desk.wait_for_selector(f"{MAP}[data-ready='true'][data-selected='{count}']")
    wait_for(desk, f"{len(wanted):,} selected")
    np.testing.assert_allclose(places(desk, spread), points, atol=0.5)
    after = colours(desk, points)
    assert (np.abs(after - before).max(axis=1) > 14).mean() < 0.02

    choose_label(desk, "kept")
    desk.get_by_role("button", name="Label").first.click()
    wait_for(desk, "Nothing selected")
    assert labelled(digits, "kept") == wanted
    desk.wait_for_selector(f"{MAP}[data-selected='0']")
    let_go = colours(desk, points)
    assert (np.abs(let_go - before).max(axis=1) > 14).mean() > 0.5, "what is seen tells the two"


def test_everything_can_be_done_by_keyboard(desk: Page, digits: str) -> None:
    workspace = Workspace(digits)
    lasso(desk, workspace, lonely_cluster(workspace))
    desk.locator(f"{SHEET} [data-index]").first.wait_for()
    picked = int(desk.locator(MAP).get_attribute("data-selected") or 0)
    desk.keyboard.press("Alt+x")
    wait_for(desk, "Undo flag excluded")
    assert len(Workspace(digits).labels.flagged("excluded")) == picked
    desk.keyboard.press("Control+z")
    wait_for(desk, "Redo flag excluded")
    assert not Workspace(digits).labels.flagged("excluded")


def test_a_label_with_a_tag_is_refused_in_words_and_nothing_is_written(
    desk: Page, digits: str
) -> None:
    workspace = Workspace(digits)
    lasso(desk, workspace, lonely_cluster(workspace))
    desk.locator(f"{SHEET} [data-index]").first.wait_for()
    choose_label(desk, "<script>alert(1)</script>")
    desk.get_by_role("button", name="Label").first.click()
    desk.get_by_role("alert").first.wait_for()
    assert Workspace(digits).journal.head == 0


def test_a_label_that_is_typed_and_not_confirmed_is_the_one_given(desk: Page, digits: str) -> None:
    workspace = Workspace(digits)
    lasso(desk, workspace, lonely_cluster(workspace))
    desk.locator(f"{SHEET} [data-index]").first.wait_for()
    choose_label(desk, "seven")
    field = desk.get_by_role("combobox", name="Label").first
    expect(field).to_have_value("seven")
    field.fill("eight")
    desk.locator(".st-key-act-label button:visible").click(force=True)
    wait_for(desk, "Undo category: eight")
    assert not labelled(digits, "seven")


def test_strays_of_a_selection_let_go_are_kept_when_it_is_made_again(
    desk: Page, digits: str
) -> None:
    workspace = Workspace(digits)
    cluster = desk.locator(f"{MAP} [data-code='0']")
    tiles = desk.locator(f"{SHEET} [data-index]")
    cluster.press("Shift+Enter")
    tiles.nth(2).click()
    wait_for(desk, "1 stray dropped")
    desk.locator(MAP).focus()
    desk.keyboard.press("Escape")
    wait_for(desk, "Nothing selected")
    cluster.press("Shift+Enter")
    wait_for(desk, f"{len(workspace.select('cluster:0')):,} selected")
    expect(desk.locator(f"{SHEET}[data-dropped='0']")).to_be_visible()


def test_labels_by_hand_are_not_overwritten_unasked(desk: Page, digits: str) -> None:
    workspace = Workspace(digits)
    cluster = lonely_cluster(workspace)
    first = workspace.select(f"cluster:{cluster}")
    workspace.label(first, "old")
    lasso(desk, workspace, cluster)
    desk.locator(f"{SHEET} [data-index]").first.wait_for()
    choose_label(desk, "new")
    desk.get_by_role("button", name="Label").first.click()
    wait_for(desk, "Some of these are labelled already")
    assert len(labelled(digits, "old")) == len(first.item_ids)
    desk.get_by_role("button", name="Change them").click()
    wait_for(desk, "Undo category: new")
    assert not labelled(digits, "old")
