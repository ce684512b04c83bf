"""How pure a set of items is, before it gets one label: a guess, and what a few samples make of it.

The guess is worth a handful of samples (docs/benchmarks.md, forecast): how much of the set stands
in one branch of the space's tree, how well its neighbours agree, and what the classifier proposes.
The samples are what makes it sure. They are drawn at even steps along the tree (systematic
sampling), so that every part of the set is asked in proportion to its size; answers that change
seldom along the line are worth more than as many at random (successive differences, Wolter 1984).
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.learning.classifier import NONE, Proposals
from curation.learning.likeness import Likeness
from embeddings.schema import Int32

Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.integer[Any]]

SHOWN = 30
STRAYS = 6  # of those shown: the least likely, asked for their own sake
MOST = 10_000  # of a larger set an even sample of so many is judged
NEAR = 15
LEVEL = 0.92  # of the posterior, which is a little too sure, holds the truth nine times in ten
GRID: Float64 = (np.arange(400) + 0.5) / 400
PURE = (40.0, 0.4)  # the Beta prior of a set that is pure but for slips


@dataclass(frozen=True)
class Calibration:
    """How the evidence is weighed: coefficients of log odds of the share, of the log of the samples
    that this is worth, and of the log odds that the set is pure.
    """

    share: tuple[float, ...]
    worth: tuple[float, ...]
    pure: tuple[float, float]


# What the coefficients belong to, after a constant; with proposals and without.
SHARE = {True: ("likely", "voted", "agree", "fine"), False: ("coarse", "fine", "inside")}
WORTH: dict[bool, tuple[str, ...]] = {True: ("labelled", "sure"), False: ()}
# Fitted on digits, groceries, clothing and CIFAR-10 (`fitted_on_all` of the forecast benchmark).
CALIBRATED = {
    True: Calibration((0.48, 0.13, 0.24, 0.14, 0.56), (1.04, 0.49, 0.81), (-2.02, 0.71)),
    False: Calibration((0.2, 0.41, 0.58, 0.17), (0.92,), (-2.97, 0.94)),
}


@dataclass(frozen=True)
class Ground:
    """What is known of a set: answers of the pool's items in the order of the tree, -1 = not asked.

    `pool` (u,) int32 are the rows without a label, `known` how many of the others carry the label,
    `strays` marks the pool's items that are asked for their own sake. `terms` are what the guess is
    made of, `prior` (400,) over `GRID` is the guess.
    """

    pool: Int32
    answers: npt.NDArray[np.int8]
    strays: npt.NDArray[np.bool_]
    known: int
    labelled: int
    terms: dict[str, float]
    prior: Float64


@dataclass(frozen=True)
class Purity:
    """The share of a set's items that carry one label, the label of most unless it was given.

    `low` to `high` holds it in nine of ten cases. `samples` (k,) int32 are rows to look at next: a
    spread over the set, then suspected strays. `label` is the code that is asked for, -1 = that of
    most, whatever it may be; `answered` how many samples were looked at.
    """

    estimate: float
    low: float
    high: float
    samples: Int32
    label: int = NONE
    answered: int = 0
    ground: Ground = field(repr=False, compare=False, kw_only=True)


def forecast(
    rows: Rows,
    likeness: Likeness,
    near: Int32,
    vectors: npt.NDArray[np.floating[Any]],
    codes: Int32,
    proposals: Proposals | None = None,
    *,
    label: int | None = None,
    shown: int = SHOWN,
    calibrated: dict[bool, Calibration] = CALIBRATED,
) -> Purity:
    """Return how pure the items in `rows` probably are, and which to look at.

    Parameters
    ----------
    rows : (m,) int
        Rows of the atlas, each once.
    likeness : Likeness
        The tree of the space.
    near : (n, k) int32
        Neighbours by row, nearest first, -1 = none.
    vectors : (n, d) float16 or float32
        Of unit length.
    codes : (n,) int32
        Labels that people gave, -1 = none.
    proposals : Proposals, optional
        What the classifier thinks of all n items; without it the graph alone speaks.
    label : int, optional
        The code that the set is about to get; without it, that which most seem to have.
    shown : int
        How many samples to name, a fifth of them strays.
    calibrated : dict
        How to weigh the evidence with proposals (True) and without.

    Raises
    ------
    ValueError
        For no rows.
    """
    if not len(rows):
        raise ValueError("rows must name at least one item, got none")
    some = _judged_rows(rows)
    held = codes[some]
    said, sure = _said(some, held, proposals)
    most = _most(said, sure)
    asked = most if label is None else label
    alike = _alike(vectors, some)
    proposed = proposals is not None and most != NONE
    terms = _evidence(some, likeness, near, said, sure, most)
    terms["labelled"] = float((held != NONE).mean())
    prior = _prior(terms, proposed, calibrated[proposed])
    if proposed and asked != most and (codes == asked).any():
        prior = prior[::-1]  # at most the rest carries what most do not seem to have
    pool = np.flatnonzero(held == NONE)
    pool = pool[np.lexsort((alike[pool], likeness.line[some[pool]]))]
    fits = np.where(said == asked, sure, -sure) if asked != NONE else _in_main(some, likeness)
    strays = np.zeros(len(pool), np.bool_)
    strays[np.lexsort((alike[pool], fits[pool]))[: _strays(len(pool), shown)]] = True
    ground = Ground(
        pool=some[pool],
        answers=np.full(len(pool), NONE, np.int8),
        strays=strays,
        known=int(np.count_nonzero(held[held != NONE] == asked)),
        labelled=int(np.count_nonzero(held != NONE)),
        terms=terms,
        prior=prior,
    )
    return _judged(ground, asked, shown)


def updated(purity: Purity, answers: npt.NDArray[Any]) -> Purity:
    """Return what the answers about `purity.samples` make of it, and the samples to look at next.

    Parameters
    ----------
    answers : (k,) bool or int8
        For each sample whether it carries the label; -1 = not looked at, or not sure.

    Raises
    ------
    ValueError
        When there is not one answer for each sample.
    """
    given = np.asarray(answers).astype(np.int8)
    if given.shape != purity.samples.shape:
        raise ValueError(
            f"answers must have shape {purity.samples.shape}, one a sample, got {given.shape}"
        )
    if not np.isin(given, (-1, 0, 1)).all():
        raise ValueError(f"answers must be 1, 0 or -1, got {np.unique(given)[:5].tolist()}")
    ground = purity.ground
    by_row = np.argsort(ground.pool, kind="stable")
    at = by_row[np.searchsorted(ground.pool, purity.samples, sorter=by_row)]
    merged = ground.answers.copy()
    merged[at] = given
    return _judged(replace(ground, answers=merged), purity.label, max(len(given), 1))


# ---- what the evidence is


def _judged_rows(rows: Rows) -> Int32:
    if len(rows) > MOST:
        rows = rows[np.linspace(0, len(rows) - 1, MOST).astype(np.int64)]
    return rows.astype(np.int32)


def _said(rows: Int32, held: Int32, proposals: Proposals | None) -> tuple[Int32, Float64]:
    """The label of each row (m,), given or else proposed, -1 = none; and how sure it is."""
    if proposals is None:
        return held, (held != NONE).astype(np.float64)
    said = np.where(held != NONE, held, proposals.codes[rows]).astype(np.int32)
    sure = np.where(held != NONE, 1.0, proposals.confidence[rows])
    return said, np.where(said == NONE, 0.0, sure)


def _most(said: Int32, sure: Float64) -> int:
    known = said != NONE
    if not known.any():
        return NONE
    return int(np.bincount(said[known], weights=sure[known]).argmax())


def _alike(vectors: npt.NDArray[np.floating[Any]], rows: Int32) -> Float64:
    """How near each row is to the middle of the set."""
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), 1000)).astype(np.int64)]
    middle = vectors[some].astype(np.float32).mean(axis=0)
    return np.asarray(vectors[rows].astype(np.float32) @ middle, np.float64)


def _in_main(rows: Int32, likeness: Likeness) -> Float64:
    """In how many of the tree's cuts each row stands in the branch that holds most of the set."""
    groups = likeness.groups[:, rows]
    return np.asarray(sum(group == np.bincount(group).argmax() for group in groups), np.float64)


def _strays(pool: int, shown: int) -> int:
    return min(STRAYS, shown // 5) if pool > shown else 0


def _evidence(
    rows: Int32, likeness: Likeness, near: Int32, said: Int32, sure: Float64, asked: int
) -> dict[str, float]:
    """What the guess is made of: shares as log odds."""
    m = len(rows)
    inside = np.zeros(len(likeness) + 1, np.bool_)  # the last answers for -1
    inside[rows] = True
    names = np.full(len(inside), NONE, np.int32)
    names[rows] = said
    around = near[rows, :NEAR]
    within = inside[around]
    agree = names[around][within] == np.repeat(said, within.sum(axis=1))
    coarse, fine = (np.bincount(group).max() / m for group in likeness.groups[:, rows])
    return {
        "coarse": _odds(coarse, m),
        "fine": _odds(fine, m),
        "inside": _odds(within.mean() if within.size else 1.0, m),
        "likely": _odds(sure[said == asked].sum() / m, m),
        "voted": _odds((said == asked).mean(), m),
        "agree": _odds(agree.mean() if agree.size else 1.0, m),
        "sure": float(sure.mean()),
    }


def _odds(share: float, m: int) -> float:
    """Log odds of a share among m, half an item added to either side, within 4 of even."""
    smooth = (float(share) * m + 0.5) / (m + 1)
    return float(np.clip(np.log(smooth / (1 - smooth)), -4, 4))


# ---- what follows from it


def _prior(terms: dict[str, float], proposed: bool, by: Calibration) -> Float64:
    lean = by.share[0] + sum(
        weight * terms[name] for weight, name in zip(by.share[1:], SHARE[proposed], strict=True)
    )
    worth = by.worth[0] + sum(
        weight * terms[name] for weight, name in zip(by.worth[1:], WORTH[proposed], strict=True)
    )
    return beliefs(_expit(lean), float(np.exp(worth)), _expit(by.pure[0] + by.pure[1] * lean))


def beliefs(share: float, worth: float, pure: float) -> Float64:
    """Return the prior over `GRID`: a Beta of this mean and this many samples, or nearly all."""
    share, worth = float(np.clip(share, 0.01, 0.99)), float(np.clip(worth, 0.6, 150))
    mixed = (1 - pure) * _beta(share * worth, (1 - share) * worth) + pure * _beta(*PURE)
    found: Float64 = mixed / mixed.sum()
    return found


def _beta(a: float, b: float) -> Float64:
    from scipy.special import betaln

    found: Float64 = np.exp((a - 1) * np.log(GRID) + (b - 1) * np.log1p(-GRID) - betaln(a, b))
    return found


def _expit(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def _judged(ground: Ground, label: int, shown: int) -> Purity:
    """The posterior: what is labelled or answered is counted, the rest follows the spread."""
    seen = ground.answers != NONE
    spread = ground.answers[seen & ~ground.strays].astype(np.float64)
    weight = ground.prior
    if len(spread):
        worth, yes = _worth(spread), spread.mean()
        logs = np.log(weight) + worth * (yes * np.log(GRID) + (1 - yes) * np.log1p(-GRID))
        weight = np.exp(logs - logs.max())
    rest = np.array(_middle_and_ends(weight))
    m = len(ground.pool) + ground.labelled
    certain = ground.known + int(ground.answers[seen].sum())
    estimate, low, high = (certain + rest * np.count_nonzero(~seen)) / m
    return Purity(
        estimate=float(estimate),
        low=float(np.floor(low * m + 1e-9) / m),
        high=float(np.ceil(high * m - 1e-9) / m),
        samples=_next(ground, shown),
        label=label,
        answered=int(seen.sum()),
        ground=ground,
    )


def _middle_and_ends(weight: Float64) -> tuple[float, float, float]:
    """Median and interval of a posterior; where all alike is likeliest, that is its end."""
    below = np.concatenate([[0.0], np.cumsum(weight) / weight.sum()])
    tail = (1 - LEVEL) / 2
    edges = np.linspace(0, 1, len(below))
    middle, low, high = np.interp([0.5, tail, 1 - tail], below, edges).tolist()
    return middle, low, 1.0 if weight.argmax() == len(weight) - 1 else high


def _worth(answers: Float64) -> float:
    """As how many at random these answers at even steps count, by their successive differences."""
    k = len(answers)
    share = answers.mean()
    steps = np.abs(np.diff(answers)).sum() / (2 * max(k - 1, 1))
    ratio = (steps + 0.05) / (share * (1 - share) + 0.05)
    return float(k / np.clip(ratio, 0.4, 1.25))


def _next(ground: Ground, shown: int) -> Int32:
    """Rows to look at: at even steps between those seen, then the strays that nobody saw."""
    open_ = ground.answers == NONE
    strays = np.flatnonzero(open_ & ground.strays)
    line = np.flatnonzero(~ground.strays)
    free = line[open_[line]]
    count = min(max(shown - len(strays), 0), len(free))
    at = ((np.arange(count) + 0.5) * len(free) / max(count, 1)).astype(np.int64)
    found: Int32 = ground.pool[np.concatenate([free[at], strays])]
    return found
