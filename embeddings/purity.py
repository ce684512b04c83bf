"""How well a space or its clusters agree with labels: the figures that the scorecard is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embeddings.schema import NOISE, Float32, Int32, Neighbours

UNKNOWN = -1  # the code of an item that has no label

Labels = Sequence[str | None] | npt.NDArray[Any]


@dataclass(frozen=True)
class ClusterPurity:
    """What the clusters of an atlas are made of, noise left out.

    Parallel arrays, one row a cluster that has a labelled item: `cluster` (m,) int32 ascending,
    `label` (m,) its most common label (ties: the first in order), `share` (m,) float32 of its
    labelled items that carry it, `labelled` (m,) int32 how many are labelled. `purity` is the
    share over all labelled items in clusters, `coverage` the share of labelled items that are in
    one, `n` the number of labelled items. Shares of nothing are 0.
    """

    cluster: Int32
    label: npt.NDArray[np.object_]
    share: Float32
    labelled: Int32
    purity: float
    coverage: float
    n: int


def knn_accuracy(graph: Neighbours, labels: Labels, k: int = 1) -> tuple[float, float, int]:
    """Leave-one-out accuracy of the vote of the `k` nearest labelled neighbours.

    Parameters
    ----------
    graph : Neighbours
        Of the space to judge (judge the vectors, not the map drawn from them).
    labels : sequence of str or None
        One for each item of `graph`; None = not labelled, neither judged nor voting.
    k : int
        Voters. A tied vote goes to the label whose voter is nearest.

    Returns
    -------
    accuracy : float
        Share of labelled items whose neighbours name their label; an item without a labelled
        neighbour in the graph counts as wrong.
    chance : float
        Share of the most common label: what naming it always would score.
    n : int
        Labelled items. With none of them both shares are 0.

    Raises
    ------
    ValueError
        When the number of labels is not the number of items, or `k` < 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    codes, _ = label_codes(labels, len(graph))
    mine = np.flatnonzero(codes != UNKNOWN)
    if not len(mine):
        return 0.0, 0.0, 0
    chance = float(np.bincount(codes[mine]).max() / len(mine))
    winner = _vote(codes[graph.rows[mine]], k)
    return float((winner == codes[mine]).mean()), chance, len(mine)


def cluster_purity(cluster: Int32, labels: Labels) -> ClusterPurity:
    """Count the labels in every cluster; see `ClusterPurity`."""
    codes, legend = label_codes(labels, len(cluster))
    known = codes != UNKNOWN
    inside = known & (cluster != NOISE)
    numbers, row = np.unique(cluster[inside], return_inverse=True)
    counts = np.zeros((len(numbers), max(len(legend), 1)), np.int64)
    np.add.at(counts, (row, codes[inside]), 1)
    most = counts.argmax(axis=1)
    best, labelled = counts.max(axis=1), counts.sum(axis=1)
    return ClusterPurity(
        cluster=numbers.astype(np.int32),
        label=np.array([legend[code] for code in most], dtype=object),
        share=(best / np.maximum(labelled, 1)).astype(np.float32),
        labelled=labelled.astype(np.int32),
        purity=float(best.sum() / max(inside.sum(), 1)),
        coverage=float(inside.sum() / max(known.sum(), 1)),
        n=int(known.sum()),
    )


def label_codes(labels: Labels, n: int) -> tuple[Int32, list[str]]:
    """Code (n,) int32 of every label in the sorted legend, -1 where there is none."""
    if len(labels) != n:
        raise ValueError(f"labels must have one entry for each of {n} items, got {len(labels)}")
    legend = sorted({str(label) for label in labels if label is not None})
    code = {label: number for number, label in enumerate(legend)}
    found = [UNKNOWN if label is None else code[str(label)] for label in labels]
    return np.array(found, np.int32), legend


def _vote(votes: Int32, k: int) -> Int32:
    """Most common of the first `k` known votes in each row (m, any), -1 where there is none."""
    heard = (votes != UNKNOWN) & (np.cumsum(votes != UNKNOWN, axis=1) <= k)
    winner = np.full(len(votes), UNKNOWN, np.int32)
    most = np.zeros(len(votes), np.int64)
    # From the nearest on: a later label wins with more votes only, so ties go to the nearest.
    for column in range(votes.shape[1]):
        vote = votes[:, column]
        count = (heard & (votes == vote[:, None])).sum(axis=1)
        better = heard[:, column] & (count > most)
        winner[better], most[better] = vote[better], count[better]
    return winner
