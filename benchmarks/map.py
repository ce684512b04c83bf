"""The server's side of the map: wire order, packing, and selections that come back."""

from typing import Any

import numpy as np

from benchmarks.measure import Size, columns, median, timed
from curation.viewer import payload
from embeddings.schema import Atlas

COUNTS = (10_000, 100_000, 1_000_000)
CLUSTERS = 200


def run(size: Size) -> dict[str, Any]:
    counts = sorted({size.pick(count, count) for count in COUNTS})
    repeats = 3 if size.quick or size.limit else 7
    return {"cases": [_case(_atlas(count), repeats) for count in counts]}


def table(result: dict[str, Any]) -> str:
    return columns(
        [
            {
                "items": case["items"],
                "wire_order ms": case["wire_order_ms"],
                "pack_points ms": case["pack_points_ms"],
                "bytes": case["bytes"],
                "bytes/item": case["bytes_per_item"],
                "selected": case["selected"],
                "message bytes": case["message_bytes"],
                "decode_selection ms": case["decode_selection_ms"],
            }
            for case in result["cases"]
        ]
    )


def _atlas(n: int) -> Atlas:
    """Round clusters of unequal size, a tenth of the items strewn as noise."""
    random = np.random.default_rng(0)
    share = random.dirichlet(np.ones(CLUSTERS))
    cluster = random.choice(CLUSTERS, n, p=share).astype(np.int32)
    centres = random.uniform(0.05, 0.95, (CLUSTERS, 2))
    xy = centres[cluster] + random.normal(0, 0.015, (n, 2))
    noise = random.random(n) < 0.1
    xy[noise] = random.random((int(noise.sum()), 2))
    cluster[noise] = -1
    return Atlas(
        item_ids=np.array([f"{number:032x}" for number in range(n)], np.str_),
        xy=np.clip(xy, 0, 1).astype(np.float32),
        cluster=cluster,
        membership=np.ones(n, np.float32),
        outlier_score=np.zeros(n, np.float32),
        version=f"{n:016x}",
        space="bench",
    )


def _case(atlas: Atlas, repeats: int) -> dict[str, Any]:
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
