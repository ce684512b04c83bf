"""How far curators agree beyond chance: Cohen's and Fleiss' kappa, Krippendorff's alpha.

Cohen (1960) is scikit-learn's, Fleiss (1971) statsmodels', alpha (Krippendorff 1970, nominal, with
missing labels) the package krippendorff's.
"""

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from curation.opinions import Opinions, opinions
from curation.workspace import Workspace

Counts = npt.NDArray[np.int16]
Int64 = npt.NDArray[np.int64]

# The package makes a matrix of all labels by all labels for each item: 32 MB and a second at most.
MOST_CELLS = 4_000_000
# Of items by labels, two bytes each, in the table that all figures begin with.
MOST_COUNTS = 50_000_000


@dataclass(frozen=True)
class Pair:
    """Two people: the items that both labelled, the share with one label, Cohen's kappa."""

    first: str
    second: str
    items: int
    agreed: float
    kappa: float | None


@dataclass(frozen=True)
class Agreement:
    """How far people agree about one field.

    `items` have the labels of two or more of `people`. Fleiss' kappa needs as many raters of each
    item: it is of the `fleiss_items` that exactly `fleiss_raters` people labelled, the number that
    most items have. Alpha is of `alpha_items`: all, unless there are very many, then some drawn at
    random, the same each time. None stands for what is not defined: too few labels, or only one.
    """

    field: str
    people: tuple[str, ...]
    items: int
    pairs: tuple[Pair, ...]
    fleiss: float | None
    fleiss_items: int
    fleiss_raters: int
    alpha: float | None
    alpha_items: int


def agreement(workspace: Workspace, field: str = "category") -> Agreement:
    """Return how far the people agree who labelled a field.

    A label counts for whoever gave it, also where somebody changed it later. What reviewers and
    votes settled is no voice.
    """
    found = opinions(workspace, field)
    counts, items = _counts(found)
    voices = counts.sum(axis=1)
    raters = _usual(voices)
    even, drawn = counts[voices == raters], _drawn(counts)
    return Agreement(
        field,
        tuple(found.people[person] for person in np.unique(found.person)),
        items,
        tuple(_pairs(found)),
        _fleiss(even),
        len(even),
        raters,
        _alpha(drawn),
        len(drawn),
    )


def _counts(found: Opinions) -> tuple[Counts, int]:
    """Return how many people give each label, (items, labels), and how many items there are.

    They are the items with two voices or more, or as many of them at random as memory allows.
    """
    _, at, voices = np.unique(found.item_no, return_inverse=True, return_counts=True)
    several = np.flatnonzero(voices > 1)
    most = max(MOST_COUNTS // max(len(np.unique(found.code)), 1), 2)
    drawn = several
    if len(several) > most:
        drawn = np.random.default_rng(0).choice(several, most, replace=False)
    shared = np.isin(at, drawn)
    items, at = np.unique(at[shared], return_inverse=True)
    labels, code = np.unique(found.code[shared], return_inverse=True)
    counts = np.zeros((len(items), len(labels)), np.int16)
    cells, held = np.unique(at * max(len(labels), 1) + code, return_counts=True)
    counts.flat[cells] = held
    return counts, len(several)


def _usual(voices: Int64) -> int:
    """Return the number of voices that most items have, the larger of equals; 0 for no items."""
    numbers, items = np.unique(voices, return_counts=True)
    return int(numbers[items == items.max()][-1]) if len(numbers) else 0


def _pairs(found: Opinions) -> list[Pair]:
    own = {
        person: (found.item_no[found.person == person], found.code[found.person == person])
        for person in np.unique(found.person).tolist()
    }
    pairs = []
    for first, second in combinations(own, 2):
        both, a, b = np.intersect1d(
            own[first][0], own[second][0], assume_unique=True, return_indices=True
        )
        if len(both):
            said, other = own[first][1][a], own[second][1][b]
            agreed = float((said == other).mean())
            names = found.people[first], found.people[second]
            pairs.append(Pair(*names, len(both), agreed, _cohen(said, other)))
    return pairs


def _cohen(first: npt.NDArray[np.int32], second: npt.NDArray[np.int32]) -> float | None:
    from sklearn.metrics import cohen_kappa_score

    if len(np.unique(np.concatenate([first, second]))) < 2:
        return None
    return _defined(cohen_kappa_score(first, second))


def _fleiss(counts: Counts) -> float | None:
    from statsmodels.stats.inter_rater import fleiss_kappa

    if (counts.sum(axis=0) > 0).sum() < 2:
        return None
    return _defined(fleiss_kappa(counts, method="fleiss"))


def _alpha(counts: Counts) -> float | None:
    import krippendorff

    counts = counts[:, (counts > 0).any(axis=0)]
    if counts.shape[1] < 2:
        return None
    return _defined(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def _drawn(counts: Counts) -> Counts:
    """Return the items that alpha is computed on: all, or as many at random as memory allows."""
    most = max(MOST_CELLS // max(counts.shape[1] ** 2, 1), 2)
    if len(counts) <= most:
        return counts
    drawn: Counts = counts[np.random.default_rng(0).choice(len(counts), most, replace=False)]
    return drawn


def _defined(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
