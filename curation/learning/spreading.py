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
BLOCK = 1 << 26  # items x labels that flow at once: 256 MB, three times over
HELD_OUT = 5  # folds of labelled items that take turns to be guessed


@dataclass(frozen=True)
class Spread:
    """Where labels came: `proposals` of the items that had none, and how the guessing went.

    `held_out` is the share of labelled items that were guessed right when theirs was hidden and
    the guess was sure enough to be told; `judged` how many those are.
    """

    proposals: Proposals
    held_out: float
    judged: int


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
    weights = _weights(near)
    guessed, right = _guessed(weights, codes, labelled, random_state)
    odds = Odds()
    odds.observe(guessed, right)
    reached, share = _flow(weights, codes)
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
    weights: Any, codes: Int32, labelled: npt.NDArray[np.int64], seed: int
) -> tuple[Float32, npt.NDArray[np.bool_]]:
    """Guess labelled items whose label is hidden; return how sure, and which were hit."""
    fold = np.random.default_rng(seed).permutation(len(labelled)) % HELD_OUT
    guessed = np.full(len(labelled), NONE, np.int32)
    share = np.zeros(len(labelled), np.float32)
    for turn in range(HELD_OUT):
        hidden = labelled[fold == turn]
        seen = codes.copy()
        seen[hidden] = NONE
        reached, sure = _flow(weights, seen)
        guessed[fold == turn], share[fold == turn] = reached[hidden], sure[hidden]
    return share, guessed == codes[labelled]


def _weights(near: Int32) -> Any:
    """Return the graph both ways as a symmetric, normalised sparse matrix (n, n)."""
    from scipy.sparse import coo_array, diags_array

    n, k = near.shape
    at = np.repeat(np.arange(n), k)
    to = near.ravel()
    there = to >= 0
    one = coo_array((np.ones(int(there.sum()), np.float32), (at[there], to[there])), (n, n)).tocsr()
    both = one + one.T
    degree = np.asarray(both.sum(axis=1)).ravel()
    scale = diags_array(1.0 / np.sqrt(np.maximum(degree, 1e-9)).astype(np.float32))
    return scale @ both @ scale


def _flow(weights: Any, codes: Int32) -> tuple[Int32, Float32]:
    """Return the code of which most reaches each item, (n,), -1 = none, and its share of all.

    The labels flow in blocks: together they need items x labels numbers.
    """
    best, most = np.full(len(codes), NONE, np.int32), np.zeros(len(codes), np.float32)
    total = np.zeros(len(codes), np.float32)
    counts = np.bincount(codes[codes != NONE])
    labels = np.flatnonzero(counts)
    width = max(BLOCK // max(len(codes), 1), 1)
    for some in np.split(labels, range(width, len(labels), width)):
        held = _held(weights, codes, some, counts)
        first = held.argmax(axis=1)
        mine = held[np.arange(len(held)), first]
        more = mine > most
        best[more], most[more] = some[first[more]], mine[more]
        total += held.sum(axis=1)
    reached = total > 1e-12
    share: Float32 = np.where(reached, most / np.maximum(total, 1e-12), 0).astype(np.float32)
    return np.where(reached, best, NONE).astype(np.int32), share


def _held(
    weights: Any, codes: Int32, labels: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
) -> Float32:
    """Return how much of each of some labels reaches each item, (n, labels)."""
    source = np.zeros((len(codes), len(labels)), np.float32)
    known = np.flatnonzero(np.isin(codes, labels))
    at = np.searchsorted(labels, codes[known])
    # a common label has no louder voice than a rare one
    source[known, at] = 1.0 / np.sqrt(counts[codes[known]])
    held = source.copy()
    for _ in range(ROUNDS):
        held = REACH * (weights @ held) + (1 - REACH) * source
    return np.asarray(held, np.float32)
