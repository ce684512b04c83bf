"""How much to believe a score: weights from leave-one-out answers, odds from what happened."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embeddings.schema import Float32, Int32

Float64 = npt.NDArray[np.float64]
Outcomes = tuple[Float64, npt.NDArray[np.bool_]]  # what was said, and whether it was right

RECENT = (200, 6_000)  # outcomes that the correction is learned from, fewest and most
BINS = 15
_PRIOR = np.array([0.0, 1.0])  # before anything happened, a confidence is taken as it is
_STIFF = np.array([4.0, 8.0])  # as if so many outcomes had said so
# how much scores, votes and clusters are believed before any answer, how freely, and at least
_USUAL, _FREE = np.array([8.0, 0.5, 0.3]), np.array([4.0, 0.5, 0.5])
_LEAST = np.array([0.5, 0.0, 0.0])
_EDGE = 1e-4


def softmax(logits: Float32) -> Float32:
    """Return probabilities (n, c) that each row's logits stand for."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Float32 = (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


def stack(kinds: Sequence[Float32], codes: Int32) -> Float64:
    """Return the weights (3,) of scores, vote shares and cluster shares (m, c) each.

    Those that make `codes` (m,) likeliest, penalised, by Newton's method; none is negative.
    """
    terms = np.stack(kinds).astype(np.float64)
    own = terms[:, np.arange(len(codes)), codes]
    weights = _USUAL.copy()
    stiff = np.diag(1.0 / _FREE**2)
    for _ in range(12):
        likely = softmax(np.einsum("k,kmc->mc", weights, terms).astype(np.float32))
        mean = np.einsum("mc,kmc->km", likely, terms)
        spread = np.einsum("mc,kmc,lmc->kl", likely, terms, terms, optimize=True) - mean @ mean.T
        slope = (mean - own).sum(axis=1) + stiff @ (weights - _USUAL)
        step = np.linalg.solve(spread + stiff, slope)
        weights = np.maximum(weights - np.clip(step, -5, 5), _LEAST)
        if np.abs(step).max() < 1e-2:
            break
    return weights


class Odds:
    """What came of earlier proposals: a straight line in the odds, learned from the newest ones.

    One line for all labels. A shift of it for each label was tried: what one sheet taught of a
    label did not hold for its next, and the error of the confidence rose from 0.04 to 0.13.
    """

    def __init__(self) -> None:
        self._lessons: list[Outcomes] = []
        self._outcomes: list[Outcomes] = []
        self._line = _PRIOR.copy()

    def observe(
        self,
        said: Float32,
        right: npt.NDArray[np.bool_],
        telling: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Learn that proposals of these corrected confidences (m,) were right or not.

        All of them count among the outcomes; those not `telling` (m,) teach nothing.
        """
        if not len(said):
            return
        self._outcomes.append((said.astype(np.float64), right))
        taught = np.ones(len(said), np.bool_) if telling is None else telling
        if taught.any():
            raw = (_logit(said[taught]) - self._line[0]) / self._line[1]
            self._lessons.append((raw, right[taught]))
            self._line = _fit(*self._recent())

    def corrected(self, sure: Float32) -> Float32:
        """Return how often a proposal of this raw confidence (m,) is right."""
        odds = self._line[0] + self._line[1] * _logit(sure)
        found: Float32 = (1 / (1 + np.exp(-odds))).astype(np.float32)
        return found

    def outcomes(self) -> Outcomes:
        """Return what was said of every proposal that somebody decided on, and what came of it."""
        return _joined(self._outcomes)

    def _recent(self) -> Outcomes:
        """Return the newest half of the lessons: early ones tell of a classifier long gone."""
        sizes = [len(one) for one, _ in self._lessons]
        wanted = min(max(sum(sizes) // 2, RECENT[0]), RECENT[1])
        count, start = 0, len(sizes)
        while start and count < wanted:
            start -= 1
            count += sizes[start]
        return _joined(self._lessons[start:])


def _joined(parts: list[Outcomes]) -> Outcomes:
    numbers, right = zip((np.zeros(0), np.zeros(0, np.bool_)), *parts, strict=True)
    return np.concatenate(numbers), np.concatenate(right)


def expected_calibration_error(said: Float64, right: npt.NDArray[np.bool_]) -> float:
    """Return the mean gap between confidence and share right over 15 even bins (Guo et al. 2017).

    Weighted by the number in each bin; 0 with nothing to judge.
    """
    at = np.clip((said * BINS).astype(np.int64), 0, BINS - 1)
    counts = np.bincount(at, minlength=BINS)
    gaps = np.abs(
        np.bincount(at, weights=said, minlength=BINS)
        - np.bincount(at, weights=right.astype(np.float64), minlength=BINS)
    )
    return float(gaps.sum() / max(counts.sum(), 1))


def _fit(logit: Float64, right: npt.NDArray[np.bool_]) -> Float64:
    """Return the line (2,) that makes the outcomes likeliest, penalised, by Newton's method."""
    line = _PRIOR.copy()
    terms = np.stack([np.ones_like(logit), logit])
    for _ in range(12):
        likely = 1 / (1 + np.exp(-(line @ terms)))
        slope = terms @ (likely - right) + _STIFF * (line - _PRIOR)
        bend = (terms * (likely * (1 - likely))) @ terms.T + np.diag(_STIFF)
        step = np.linalg.solve(bend, slope)
        line = line - np.clip(step, -1, 1)
        line[1] = max(line[1], 0.2)  # surer never means less often right
        if np.abs(step).max() < 1e-3:
            break
    return line


def _logit(share: Float32) -> Float64:
    bounded = np.clip(share.astype(np.float64), _EDGE, 1 - _EDGE)
    return np.asarray(np.log(bounded / (1 - bounded)))
