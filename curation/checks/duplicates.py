"""Groups of items that look the same."""

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.checks import CheckContext
from curation.schema import Finding
from embeddings.errors import CurationError

Rows = npt.NDArray[np.integer[Any]]


def run(context: CheckContext, *, threshold: float = 0.97) -> list[Finding]:
    """Return one finding for each group that neighbours of cosine >= `threshold` link together.

    The score is the strongest link of the group. A group of more items than the graph has
    neighbours may come in parts.
    """
    if not 0.0 < threshold <= 1.0:
        raise CurationError(f"threshold must be above 0 and at most 1, got {threshold}")
    graph = context.graph
    # float32 cosines of identical vectors end up at 1 - 1e-7, so 1.0 could never be asked for
    first, rank = np.nonzero(graph.similarity >= threshold - 1e-6)
    second = graph.rows[first, rank]
    links = np.clip(graph.similarity[first, rank], 0.0, 1.0)
    root = connected(len(graph), first, second)
    groups: dict[int, list[int]] = defaultdict(list)
    for row in np.union1d(first, second).tolist():
        groups[int(root[row])].append(row)
    weakest, strongest = np.ones(len(graph), np.float32), np.zeros(len(graph), np.float32)
    np.minimum.at(weakest, root[first], links)
    np.maximum.at(strongest, root[first], links)
    categories = context.graph_categories()
    return [
        Finding.of(
            "duplicates",
            graph.item_ids[rows].tolist(),
            float(strongest[group]),
            _detail(float(weakest[group]), float(strongest[group]), categories[rows]),
        )
        for group, rows in groups.items()
    ]


def connected(n: int, first: Rows, second: Rows) -> npt.NDArray[np.int64]:
    """Return for each of `n` rows the smallest row that it is linked to, directly or not.

    Union-find in whole arrays: hang every root under the smallest root it is linked to, follow the
    chains to their ends, and repeat with the links that still join two trees.
    """
    root = np.arange(n)
    while len(first):
        low = np.minimum(root[first], root[second])
        high = np.maximum(root[first], root[second])
        np.minimum.at(root, high, low)
        while (root != root[root]).any():
            root = root[root]
        open_links = root[first] != root[second]
        first, second = first[open_links], second[open_links]
    return root


def _detail(weakest: float, strongest: float, categories: npt.NDArray[np.object_]) -> str:
    count = f"{len(categories)} items"
    ends = dict.fromkeys((f"{weakest:.3f}", f"{strongest:.3f}"))  # once where they read the same
    labels = sorted({str(label) for label in categories if label is not None})
    differ = f"; labelled differently: {', '.join(labels)}" if len(labels) > 1 else ""
    return f"{count}, cosine {' to '.join(ends)}{differ}"
