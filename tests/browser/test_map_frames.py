"""How frames are made: heaps as density, only what is near, and never all at once."""

from base64 import b64decode
from typing import Any

import numpy as np
import pytest
from map_site import MAP, Site, make_atlas, near, rgb, show_map
from playwright.sync_api import Page

from curation.viewer.palette import color

pytestmark = pytest.mark.browser

RNG = np.random.default_rng(3)
HEAPS = make_atlas(
    np.concatenate(
        [
            [[0, 0], [1, 1]],
            RNG.normal([0.3, 0.5], 0.02, (120_000, 2)),  # cluster 0: a dense heap
            RNG.normal([0.7, 0.5], 0.06, (60_000, 2)),  # cluster 1: a thin one
        ]
    ),
    np.repeat([0, 0, 1], [2, 120_000, 60_000]),
    "heaps",
)

# The last picture as base64: an array of numbers would take seconds to come over.
PICTURE = """root => { const map = root.atlasMap; const { gl } = map; map.dirty = true; map.paint();
    const [w, h] = [gl.drawingBufferWidth, gl.drawingBufferHeight];
    const all = new Uint8Array(4 * w * h);
    gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, all);
    let text = '';
    for (let i = 0; i < all.length; i += 8192) {
      text += String.fromCharCode(...all.subarray(i, i + 8192));
    }
    return [w, h, btoa(text)]; }"""


@pytest.fixture
def heaps(page: Page, site: Site) -> Page:
    site.atlases["heaps"] = HEAPS
    show_map(page, HEAPS)
    drawn_all(page)
    return page


def drawn_all(page: Page) -> None:
    page.wait_for_function(
        "() => { const map = document.querySelector('.atlas-map').atlasMap;"
        " return !map.moving && !map.stale && map.drawn === map.chosen.count; }"
    )


def picture(page: Page) -> np.ndarray:
    """The canvas as (height, width, 4), the first row on top."""
    wide, high, values = page.locator(MAP).evaluate(PICTURE)
    return np.frombuffer(b64decode(values), np.uint8).reshape(high, wide, 4)[::-1]


def run(page: Page, script: str, argument: Any = None) -> Any:
    return page.locator(MAP).evaluate(
        f"(root, given) => {{ const map = root.atlasMap; {script} }}", argument
    )


def at(page: Page, x: float, y: float) -> tuple[int, int]:
    """The pixel where a place of the unit box is drawn."""
    left, top = run(
        page, "return map.camera.toScreen(...given)", [float(65535 * x), float(65535 * y)]
    )
    return int(left), int(top)


def test_a_heap_is_shaded_by_how_many_there_are(heaps: Page) -> None:
    seen = picture(heaps)
    xy = HEAPS.xy[2:120_002]
    low, span = HEAPS.xy.min(axis=0), (HEAPS.xy.max(axis=0) - HEAPS.xy.min(axis=0)).max()
    middle = (np.median(xy, axis=0) - low) / span
    alphas = []
    for away in (0.0, 0.06, 0.08):
        x, y = at(heaps, middle[0] + away, middle[1])
        alphas.append(seen[y - 2 : y + 3, x - 2 : x + 3, 3].mean())
    assert alphas[0] > alphas[1] + 20 > alphas[2] + 40  # dots would be as opaque everywhere
    x, y = at(heaps, *middle)
    hue = seen[y, x, :3] / max(1, seen[y, x, 3]) * 255
    wanted = np.array(rgb(color(0)))
    assert np.argmax(hue) == np.argmax(wanted)


def test_without_half_floats_dots_stay_dots(heaps: Page) -> None:
    run(heaps, "map.layer.shades = false; map.drawNow()")
    drawn_all(heaps)
    x, y = at(heaps, 0.3, 0.5)
    seen = picture(heaps)[y, x]
    assert seen[3] > 200


def test_zoomed_in_only_what_is_near_is_drawn_and_the_picture_is_the_same(heaps: Page) -> None:
    run(heaps, "map.camera.zoomAt(...given, 9); map.draw()", at(heaps, 0.75, 0.5))
    drawn_all(heaps)
    assert 0 < int(heaps.locator(MAP).get_attribute("data-drawn") or 0) < len(HEAPS) / 2
    # the same camera with every item in the list: one look, so that the density's unit is one too
    few = picture(heaps)
    run(
        heaps,
        """const all = { count: map.n, total: map.n, items: null };
        map.layer.add(map.painted, all, 0, map.n);""",
    )
    everything = picture(heaps)
    assert few[..., 3].max() > 0
    assert np.abs(few.astype(int) - everything).max() <= 2


def test_a_picture_added_in_parts_is_the_one_drawn_at_once(heaps: Page) -> None:
    run(heaps, "map.budget = 4e6; map.drawNow()")
    whole = picture(heaps)
    begun = run(heaps, "map.budget = 20000; map.drawNow(); return root.dataset.drawn")
    assert begun == "20000"  # the rest comes in later frames
    drawn_all(heaps)
    assert heaps.locator(MAP).get_attribute("data-drawn") == str(len(HEAPS))
    assert np.abs(whole.astype(int) - picture(heaps)).max() <= 3


def test_a_card_over_an_item_does_not_draw_the_points_again(heaps: Page) -> None:
    run(
        heaps,
        """map.added = 0; const add = map.layer.add;
        map.layer.add = (...given) => { map.added++; return add.apply(map.layer, given); };""",
    )
    x, y = at(heaps, 0.5, 0.5)
    heaps.mouse.move(x + 1, y + 1)
    heaps.wait_for_selector(f"{MAP} .card:not([hidden])")
    assert run(heaps, "return map.added") == 0


def test_what_the_filter_greys_lies_under_what_passes(page: Page, site: Site) -> None:
    """Both kinds at the same places: grey may not cover colour, whatever the wire order."""
    spots = RNG.random((60, 2)) * 0.9
    pairs = make_atlas(np.repeat(spots, 2, axis=0), np.tile([0, 1], 60), "pairs")
    site.atlases["pairs"] = pairs
    show_map(page, pairs)
    run(
        page,
        """const { codes } = map.columns.get('cluster');
        map.hidden = Uint8Array.from(codes, (code) => +(code === 1));
        map.pushState(); map.drawNow();""",
    )
    seen = picture(page)
    for x, y in (at(page, *place) for place in quantised(pairs)[::2]):
        assert near(seen[y, x].tolist(), rgb(color(0))), (x, y)


def quantised(atlas: Any) -> np.ndarray:
    low = atlas.xy.min(axis=0)
    return (atlas.xy - low) / (atlas.xy.max(axis=0) - low).max()
