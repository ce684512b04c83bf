"""Labels that spread along the k-NN graph, and stop where they are not sure any more."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.learning.calibration import Odds
from curation.learning.classifier import NONE, Proposals
from embeddings.errors import CurationError
from embeddings.schema import Float32, Int32

REACH = 0.9  # how much an item takes from its neighbours, against its own label
ROUNDS = 30
LEAST = 0.02  # of what reached an item: a label with less of it flows no further from there
BLOCK = 10_000  # items that are given what flows to them at once
HELD_OUT = 5  # folds of labelled items that take turns to be guessed
ENOUGH = 2_000  # guesses to judge by: no more folds are guessed


@dataclass(frozen=True)
class Spread:
    """Where labels came: `proposals` of the items that had none, and how the guessing went.

    `held_out` is the share of labelled items that were guessed right when theirs was hidden and
    the guess was sure enough to be told; `judged` how many those are. `behind` is how many labels
    changed while it was computed, and are not counted.
    """

    proposals: Proposals
    held_out: float
    judged: int
    behind: int = 0


def spread(near: Int32, codes: Int32, *, at_least: float = 0.95, random_state: int = 0) -> Spread:
    """Return the labels that reach each item without one along the graph.

    Label spreading (Zhou et al. 2003) on the mutual graph. What is told of an item is how sure
    such guesses turned out to be for labelled items whose label was hidden meanwhile; below
    `at_least` the label stops.

    Parameters
    ----------
    near : (n, k) int32
        Neighbours, -1 = none.
    codes : (n,) int32
        The labels that stand, -1 = none.

    Raises
    ------
    CurationError
        With fewer than two labels, or fewer than 20 labelled items: too few to hide any.
    """
    labelled = np.flatnonzero(codes != NONE)
    if len(labelled) < 20 or len(np.unique(codes[labelled])) < 2:
        raise CurationError(
            f"labels spread from two labels and 20 labelled items on, got {len(labelled)} items "
            f"of {len(np.unique(codes[labelled]))} labels; label some more"
        )
    graph = _graph(near)
    guessed, right = _guessed(graph, codes, labelled, random_state)
    odds = Odds()
    odds.observe(guessed, right)
    reached, share = _flow(graph, codes)
    sure = odds.corrected(share)
    told = (codes == NONE) & (reached != NONE) & (sure >= at_least)
    proposals = Proposals(
        np.where(told, reached, NONE).astype(np.int32),
        np.where(told, sure, 0).astype(np.float32),
    )
    enough = odds.corrected(guessed) >= at_least
    hits = right[enough]
    return Spread(proposals, float(hits.mean()) if len(hits) else 0.0, len(hits))


def _guessed(
    graph: list[Any], codes: Int32, labelled: npt.NDArray[np.int64], seed: int
) -> tuple[Float32, npt.NDArray[np.bool_]]:
    """Guess labelled items whose label is hidden; return how sure, and which were hit."""
    order = np.random.default_rng(seed).permutation(labelled)
    shares: list[Float32] = []
    rights: list[npt.NDArray[np.bool_]] = []
    for hidden in np.array_split(order, HELD_OUT):
        seen = codes.copy()
        seen[hidden] = NONE
        reached, sure = _flow(graph, seen)
        shares.append(sure[hidden])
        rights.append(reached[hidden] == codes[hidden])
        if sum(map(len, shares)) >= ENOUGH:
            break
    return np.concatenate(shares), np.concatenate(rights)


def _graph(near: Int32) -> list[Any]:
    """Return what items take of each item's (n,) and own label (n,), in blocks of items."""
    from scipy.sparse import csr_array, diags_array, hstack

    n = len(near)
    there = near >= 0
    begins = np.append(0, np.cumsum(there.sum(axis=1)))
    one = csr_array((np.ones(int(begins[-1]), np.float32), near[there], begins), (n, n))
    both = (one + one.T).tocsr()
    degree = np.asarray(both.sum(axis=1)).ravel()
    scale = (1.0 / np.sqrt(np.maximum(degree, 1e-9))).astype(np.float32)
    both.data *= np.float32(REACH) * np.repeat(scale, np.diff(both.indptr)) * scale[both.indices]
    own = diags_array(np.full(n, 1 - REACH, np.float32), format="csr")
    starts = range(0, n, BLOCK)
    return [hstack([part[at : at + BLOCK] for part in (both, own)], "csr") for at in starts]


def _flow(graph: list[Any], codes: Int32) -> tuple[Int32, Float32]:
    """Return the code of which most reaches each item, (n,), -1 = none, and its share of all.

    What all labels together bring is one column, whatever their number. Of each label by itself an
    item keeps only those with at least `LEAST` of it, 50 at most.
    """
    from scipy.sparse import csr_array, vstack

    n = len(codes)
    known = np.flatnonzero(codes != NONE)
    labels, at = np.unique(codes[known], return_inverse=True)
    # a common label has no louder voice than a rare one
    voice = (1.0 / np.sqrt(np.bincount(at)))[at].astype(np.float32)
    own = np.zeros(n, np.float32)
    own[known] = voice
    held = source = csr_array((voice, (known, at)), (n, len(labels)))
    total = own
    for _ in range(ROUNDS):
        everything, flowing = np.append(total, own), vstack([held, source], "csr")
        parts = [block @ everything for block in graph]
        pairs = zip(graph, parts, strict=True)
        held = vstack([_kept(block @ flowing, part) for block, part in pairs], "csr")
        total = np.concatenate(parts)
    return _most(held, total, labels)


def _kept(held: Any, total: Float32) -> Any:
    """Return the labels that hold at least `LEAST` of what reached each item (m,)."""
    from scipy.sparse import csr_array

    keep = held.data >= np.repeat(LEAST * total, np.diff(held.indptr))
    begins = np.append(0, np.cumsum(keep))[held.indptr]
    return csr_array((held.data[keep], held.indices[keep], begins), held.shape)


def _most(held: Any, total: Float32, labels: npt.NDArray[np.integer[Any]]) -> tuple[Int32, Float32]:
    """Return the label that holds most of each item, the lowest of several, and its share."""
    row = np.repeat(np.arange(len(total)), np.diff(held.indptr))
    order = np.lexsort((held.indices, -held.data, row))
    reached, first = np.unique(row[order], return_index=True)
    best = order[first]
    heard = total[reached] > 1e-12
    reached, best = reached[heard], best[heard]
    code, share = np.full(len(total), NONE, np.int32), np.zeros(len(total), np.float32)
    code[reached] = labels[held.indices[best]]
    share[reached] = np.minimum(held.data[best] / total[reached], 1)
    return code, share
