"""The map: the server's side alone, and in a real browser beside `st.plotly_chart`."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import map_browser, map_peers
from benchmarks.measure import Size, columns, median, timed
from benchmarks.scenery import synthetic_atlas
from curation.viewer import payload
from embeddings.schema import Atlas

COUNTS = (10_000, 100_000, 1_000_000)
QUICK = 2  # of the counts in a browser
OURS, ALONE = "curation-atlas", "our map alone"
PLOTLY, EMPTY = "st.plotly_chart", "empty WebGL page"


def run(size: Size) -> dict[str, Any]:
    """Measure the server's side, every page in a browser, and the peers that were asked for."""
    counts = sorted({size.pick(count, count) for count in COUNTS})
    repeats = 3 if size.quick or size.limit else 7
    server = [_server(synthetic_atlas(count), repeats) for count in counts]
    plan = map_browser.Plan(
        counts=counts[:QUICK] if size.quick else counts,
        visits=1 if size.quick or size.limit else 3,
        peer_up_to=COUNTS[-1] if size.full else COUNTS[1],
        cold=not size.limit,
    )
    browser = map_browser.run(plan)
    return {
        "cases": server,
        "browser": browser,
        "targets": list(_targets(browser)),
        "peers": map_peers.run(plan.counts) if size.peers else [],
    }


def table(result: dict[str, Any]) -> str:
    """Show the server's side, the pages, the targets and the other peers, one table each."""
    parts = [columns([_short(case, SERVER) for case in result["cases"]])]
    pages = [case for case in result["browser"] if "skipped" not in case]
    parts += [f"browser: {case['skipped']}" for case in result["browser"] if "skipped" in case]
    parts += [columns([_short(case, names) for case in pages]) for names in PAGES]
    parts.append(columns([_short(case, MOVES) for case in pages if "to_grid_frame_ms" in case]))
    parts += [
        f"{case['who']} at {case['items']:,}: stopped: {case['no_answer']}"
        for case in pages
        if "no_answer" in case
    ]
    parts.append(columns([{**row, "met": ("no", "yes")[row["met"]]} for row in result["targets"]]))
    parts.append(columns(result["peers"]))
    return "\n\n".join(part for part in parts if part)


SERVER = {
    "items": "items",
    "wire_order ms": "wire_order_ms",
    "pack_points ms": "pack_points_ms",
    "bytes": "bytes",
    "bytes/item": "bytes_per_item",
    "selected": "selected",
    "message bytes": "message_bytes",
    "decode_selection ms": "decode_selection_ms",
}
PAGES = (
    {
        "items": "items",
        "who": "who",
        "first draw s": "first_draw_s",
        "ready s": "ready_s",
        "CPU s": "first_draw_cpu_s",
        "CPU s settled": "settled_cpu_s",
        "points bytes": "points_bytes",
        "again": "revisit_points_bytes",
        "memory MB": "memory_mb",
        "after MB": "memory_after_mb",
    },
    {
        "items": "items",
        "who": "who",
        "pan frame ms": "pan_frame_ms",
        "p95": "pan_frame_p95_ms",
        "a step ms": "pan_step_ms",
        "CPU ms": "pan_cpu_ms",
        "lasso ms": "lasso_ms",
        "wide ms": "wide_lasso_ms",
        "selected": "lasso_selected",
        "message bytes": "lasso_bytes",
        "wide bytes": "wide_lasso_bytes",
        "label ms": "label_ms",
        "label bytes": "label_bytes",
    },
)
MOVES = {
    "items": "items",
    "to grid, frame ms": "to_grid_frame_ms",
    "grid p95": "to_grid_frame_p95_ms",
    "grid CPU ms": "to_grid_cpu_ms",
    "to columns, frame ms": "to_columns_frame_ms",
    "columns p95": "to_columns_frame_p95_ms",
    "columns CPU ms": "to_columns_cpu_ms",
    "to map, frame ms": "to_map_frame_ms",
    "map p95": "to_map_frame_p95_ms",
    "map CPU ms": "to_map_cpu_ms",
    "orbit frame ms": "orbit_frame_ms",
    "orbit p95": "orbit_frame_p95_ms",
    "orbit CPU ms": "orbit_cpu_ms",
}


def _short(case: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {head: case.get(key) for head, key in names.items()}


# ---- targets


def _targets(cases: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Say of each target that was measured whether it is met."""
    by = {(case["who"], case["items"]): case for case in cases if "skipped" not in case}
    most = COUNTS[-1]
    ours = by.get((OURS, most), {})
    for who in (f"{EMPTY} in Streamlit", EMPTY):
        empty = by.get((who, most), {})
        for name in (ALONE, OURS):
            mine = by.get((name, most), {})
            what = f"{name}: first draw over {who}"
            yield from _ratio(most, what, mine, empty, "first_draw_s", at_most=2)
    yield from _limit(most, "lasso ms", ours, "lasso_ms", 1000)
    yield from _limit(most, "label to colour ms", ours, "label_ms", 1500)
    yield from _limit(most, "memory MB over a blank page", ours, "memory_mb", 400)
    yield from _limit(most, "the same after all acts", ours, "memory_after_mb", 400)
    for count in COUNTS:
        theirs = by.get((PLOTLY, count), {})
        for who in (ALONE, OURS):  # the map in the chart's place, and the whole page
            mine = by.get((who, count), {})
            for what, key, wanted in AGAINST:
                yield from _ratio(count, f"{PLOTLY}: {what} over {who}", theirs, mine, key, wanted)
        yield from _beyond_the_host(count, by, theirs)


def _beyond_the_host(
    count: int, by: dict[tuple[str, int], dict[str, Any]], theirs: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Say what is left without what the host takes for a page that does next to nothing.

    The first row of each is the most that any component in this host could reach.
    """
    host = by.get((f"{EMPTY} in Streamlit", count), {})
    for what, key, wanted in AGAINST:
        if theirs.get(key) and host.get(key):
            yield from _ratio(count, f"{PLOTLY}: {what} over {EMPTY}", theirs, host, key, wanted)
            for who in (ALONE, OURS):
                mine = by.get((who, count), {})
                own = {key: mine[key] - host[key]} if mine.get(key) else {}
                beyond = {key: theirs[key] - host[key]}
                title = f"{PLOTLY}: {what} over {who}, both beyond the host"
                yield from _ratio(count, title, beyond, own, key, wanted)


AGAINST = (
    ("lasso", "lasso_ms", 5),
    ("lasso message", "lasso_bytes", 5),
    ("lasso of 30 %", "wide_lasso_ms", 5),
    ("lasso message of 30 %", "wide_lasso_bytes", 5),
    ("first draw", "first_draw_s", 4),
    ("first draw in CPU", "first_draw_cpu_s", 4),
    ("panning, a frame", "pan_frame_ms", 3),
    ("panning, CPU a step", "pan_cpu_ms", 3),
    ("bytes of points", "points_bytes", 1),
)


def _ratio(
    items: int,
    what: str,
    above: dict[str, Any],
    below: dict[str, Any],
    key: str,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Iterator[dict[str, Any]]:
    if not above or not below:
        return  # one of the pages was not to be measured at this size
    over, under = above.get(key), below.get(key)
    target = f">= {at_least}" if at_least is not None else f"<= {at_most}"
    row = {"items": items, "what": what, "target": target}
    if over is None or not under:  # a page that gave no answer has not met its target
        yield {**row, "value": None, "met": False}
        return
    value = round(over / under, 2)
    met = value >= at_least if at_least is not None else value <= (at_most or 0)
    yield {**row, "value": value, "met": met}


def _limit(
    items: int, what: str, case: dict[str, Any], key: str, most: float
) -> Iterator[dict[str, Any]]:
    if case:
        value = case.get(key)
        met = value is not None and value < most
        yield {"items": items, "what": what, "target": f"< {most}", "value": value, "met": met}


# ---- the server's side


def _server(atlas: Atlas, repeats: int) -> dict[str, Any]:
    order = timed(lambda: payload.wire_order(atlas.xy), repeats)
    points = payload.pack_points(atlas)  # keeps the order, so that packing alone is timed below
    pack = timed(lambda: payload.pack_points(atlas), repeats)
    # a lasso: a disc around the middle of the map
    rows = np.flatnonzero(((atlas.xy - 0.5) ** 2).sum(axis=1) < 0.15**2)
    bits = payload.encode_selection(rows, atlas)
    message = {"version": atlas.version, "n": len(atlas), "count": len(rows), "bits": bits}
    decode = timed(lambda: payload.decode_selection(message, atlas), repeats)
    if not np.array_equal(payload.decode_selection(message, atlas).rows, rows):
        raise AssertionError("a selection did not come back as it was sent")
    return {
        "items": len(atlas),
        "wire_order_ms": median(order, 2),
        "pack_points_ms": median(pack, 2),
        "bytes": len(points),
        "bytes_per_item": round(len(points) / len(atlas), 3),
        "selected": len(rows),
        "message_bytes": len(bits),
        "decode_selection_ms": median(decode, 3),
    }
