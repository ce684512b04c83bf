"""A light classifier on frozen vectors: it learns each decision at once and knows how sure it is.

Four parts, each cheap to bring up to date. *Ridge*: kernel ridge regression on a Nystroem map of
the vectors (Williams and Seeger 2001), whose normal equations take each label in and out again.
*Votes*: how many of an item's neighbours in the stored k-NN graph carry each label. *Clusters*: how
many of its cluster on the atlas do. *Calibration*: how much to believe each is learned from
leave-one-out answers of labelled items, and the confidence that comes of it is corrected by what
happened: every decision is first compared with what had been proposed for the item (Platt 1999 in
the odds, judged before it is learned).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.learning.calibration import Odds, softmax, stack
from embeddings.schema import Float32, Int32

Float64 = npt.NDArray[np.float64]
Pairs = tuple[Int32, Int32]  # rows and codes, (m,) each

NONE = -1
LANDMARKS = 256
MAP_BYTES = 1 << 29  # of the Nystroem map: fewer landmarks beyond half a million items
CHUNK = 50_000
DENSE = 1 << 24  # items x labels up to which every label is weighed for every item
HEARD = 15  # neighbours that are heard beyond it
RIDGE = 0.3
WIDTH = 2.0  # the kernel falls by exp(-2) over the usual distance of two items
JUDGED = 1_500  # labelled items whose leave-one-out answers say how much to believe what


@dataclass(frozen=True)
class Proposals:
    """What is proposed for each of n items, by row.

    `codes` (n,) int32, -1 = nothing; `confidence` (n,) float32 in [0, 1]: how often such a
    proposal is right; 0 where there is none.
    """

    codes: Int32
    confidence: Float32

    def __post_init__(self) -> None:
        if self.codes.shape != self.confidence.shape:
            raise ValueError(
                f"confidence must have shape {self.codes.shape}, got {self.confidence.shape}"
            )

    def __len__(self) -> int:
        return len(self.codes)


class Classifier:
    """Learns codes of items from the items that have one; `tell` it all codes after each decision.

    Parameters
    ----------
    rows : (n, d) float32
        Vectors of unit length.
    near : (n, k) int32
        Their neighbours, nearest first, -1 = none; k may be 0.
    parts : (n,) int32
        The clusters, -1 = noise. Nothing is proposed for an item before one of its neighbours or
        one of its cluster is labelled.
    random_state : int
        Decides which items are the landmarks.
    """

    def __init__(self, rows: Float32, near: Int32, parts: Int32, *, random_state: int = 0) -> None:
        self._chance = np.random.default_rng(random_state)
        self._near, self._parts = near, parts
        self._map = nystroem(rows, self._chance)
        n, m = self._map.shape
        self._codes: Int32 = np.full(n, NONE, np.int32)
        self._gram: Float64 = np.zeros((m, m))
        self._sums: Float64 = np.zeros((m, 0))
        self._votes: Float32 = np.zeros((n, 0), np.float32)
        self._refused: Pairs = (np.zeros(0, np.int32), np.zeros(0, np.int32))
        self._likely: Float32 = np.zeros((n, 0), np.float32)
        self._classes = 0
        self._wide = False
        self._proposals = Proposals(np.full(n, NONE, np.int32), np.zeros(n, np.float32))
        self.odds = Odds()

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def classes(self) -> int:
        """How many codes there are; they are 0 to classes - 1."""
        return self._classes

    @property
    def known(self) -> Int32:
        """The code of each item as told, (n,), -1 = none; not to be written to."""
        return self._codes

    def tell(self, codes: Int32, refused: Pairs | None = None) -> int:
        """Learn which code (n,) each item has now, -1 = none; return how many changed.

        `refused` are rows and codes (m,) of which somebody said: this item is not that. All that
        stand are told each time; without it, those told last stand on.
        """
        if codes.shape != self._codes.shape:
            raise ValueError(f"codes must have shape {self._codes.shape}, got {codes.shape}")
        changed = np.flatnonzero(codes != self._codes)
        told = self._refused if refused is None else refused
        same = all(map(np.array_equal, told, self._refused))
        if not len(changed) and same:
            return 0
        self._judge(changed, codes, told)
        self._widen(int(codes.max(initial=NONE)) + 1)
        self._learn(changed, codes)
        self._refused = told
        self._answer()
        return len(changed)

    def likeliest(self, rows: npt.NDArray[np.integer[Any]], most: int) -> tuple[Int32, Float32]:
        """Return the likeliest codes of each of `rows`, best first, and how likely each is.

        Both (m, most or fewer); -1 and 0 where nothing more is likely. Of a row they sum to at
        most 1. Memory goes with `rows`, not with the labels, where there are very many of these.
        """
        if not self._wide:
            return _highest(self._likely[rows], most)
        some, back = np.unique(rows, return_inverse=True)
        heard = self._heard(some)[back]
        votes = np.zeros(heard.shape, np.float32)
        for at, column in enumerate(heard.T):
            first = (column != NONE) & ~(heard[:, :at] == column[:, None]).any(axis=1)
            votes[first, at] = (heard == column[:, None]).sum(axis=1)[first]
        order = np.lexsort((heard, -votes))[:, :most]  # the lowest code first of several
        codes = np.take_along_axis(heard, order, 1)
        share = np.take_along_axis(votes, order, 1) / np.float32(max(heard.shape[1], 1))
        return np.where(share > 0, codes, NONE).astype(np.int32), share

    def proposals(self) -> Proposals:
        """Return the likeliest code of every item, labelled ones too, and how likely it is."""
        return self._proposals

    @cached_property
    def _reverse(self) -> tuple[npt.NDArray[np.int64], Int32]:
        """Who has whom for a neighbour: where each item's stretch begins, and the items."""
        n, k = self._near.shape
        flat = self._near.ravel()
        order = np.argsort(flat, kind="stable")
        begins = np.searchsorted(flat[order], np.arange(n + 1))
        return begins, (order // max(k, 1)).astype(np.int32)

    # ---- learning

    def _judge(self, changed: npt.NDArray[np.int64], codes: Int32, told: Pairs) -> None:
        """Compare what was proposed with what people say, before it is learned."""
        if not self.classes:
            return
        fresh = changed[(self._codes[changed] == NONE) & (codes[changed] != NONE)]
        rows, no = _without(told, self._refused)
        again = self._proposals.codes[rows] == no  # only what was proposed can be refuted
        judged = np.concatenate([fresh, rows[again]])
        truth = np.concatenate([codes[fresh], np.full(int(again.sum()), NONE)])
        said = self._proposals.confidence[judged]
        right = self._proposals.codes[judged] == truth
        # a label that was never given could not be proposed
        telling = np.isin(truth, np.append(self._codes, NONE))
        asked = said > 0
        self.odds.observe(said[asked], right[asked], telling[asked])

    def _widen(self, classes: int) -> None:
        more = classes - self._votes.shape[1]
        self._classes = max(self._classes, classes)
        self._wide = self._wide or len(self) * self._classes > DENSE
        if self._wide:
            # not views of what was held, which would keep it
            self._votes = self._likely = np.zeros((len(self), 0), np.float32)
            self._sums = np.zeros((len(self._gram), 0))
        elif more > 0:
            self._sums = np.pad(self._sums, ((0, 0), (0, more)))
            self._votes = np.pad(self._votes, ((0, 0), (0, more)))

    def _learn(self, changed: npt.NDArray[np.int64], codes: Int32) -> None:
        """Take the old labels of the changed rows out of the sums and the new ones in."""
        for held, sign in ((self._codes, -1.0), (codes, 1.0)):
            rows = changed[held[changed] != NONE]
            for start in range(0, 0 if self._wide else len(rows), CHUNK):
                self._count(rows[start : start + CHUNK], held, sign)
        self._codes = codes.copy()

    def _count(self, rows: npt.NDArray[np.int64], codes: Int32, sign: float) -> None:
        mapped = self._map[rows].astype(np.float64)
        self._gram += sign * (mapped.T @ mapped)
        one_hot = np.zeros((len(rows), self.classes))
        one_hot[np.arange(len(rows)), codes[rows]] = sign
        self._sums += mapped.T @ one_hot
        self._vote(rows, codes[rows], sign)

    def _vote(self, rows: npt.NDArray[np.int64], codes: Int32, sign: float) -> None:
        begins, users = self._reverse
        counts = begins[rows + 1] - begins[rows]
        starts = np.repeat(begins[rows] - np.cumsum(counts) + counts, counts)
        at = users[starts + np.arange(len(starts))]
        np.add.at(self._votes, (at, np.repeat(codes, counts)), np.float32(sign))

    # ---- answering

    def _answer(self) -> None:
        if self._wide:
            self._answer_wide()
            return
        labelled = np.flatnonzero(self._codes != NONE)
        touched = np.unique(self._parts[labelled])
        familiar = np.isin(self._parts, touched[touched >= 0])
        familiar |= self._votes.sum(axis=1) > 0
        if np.count_nonzero(np.bincount(self._codes[labelled], minlength=1)) < 2:
            # nothing to tell apart yet: only neighbours speak
            self._likely = self._votes / np.float32(max(self._near.shape[1], 1))
        else:
            self._likely = self._fitted(labelled)
        self._likely[~familiar] = 0  # it may be of a kind that nobody has named yet
        self._refuse()
        self._proposals = _likeliest(self._likely)

    def _answer_wide(self) -> None:
        """Let the neighbours alone speak: too many labels to weigh each for every item."""
        heard = self._heard(slice(None))
        codes, votes = most_voted(heard)
        share = votes / np.float32(max(heard.shape[1], 1))
        known = votes > 0
        share[known] = self.odds.corrected(share[known])
        self._proposals = Proposals(codes, np.where(known, share, 0).astype(np.float32))

    def _heard(self, rows: Any) -> Int32:
        """Return the codes of the neighbours of `rows`, each once: (m, k), -1 = none or refused."""
        found: Int32 = np.append(self._codes, np.int32(NONE))[self._near[rows][:, :HEARD]]
        at, no = self._refused
        place = np.full(len(self), NONE)
        place[rows] = np.arange(len(found))
        inside = place[at] >= 0
        at, no = place[at[inside]], no[inside]
        hit, column = np.nonzero(found[at] == no[:, None])  # an item may be refused several codes
        found[at[hit], column] = NONE
        return found

    def _fitted(self, labelled: npt.NDArray[np.int64]) -> Float32:
        n_map = self._map.shape[1]
        inverse = np.linalg.inv(self._gram + RIDGE * np.eye(n_map))
        weights = inverse @ self._sums
        scores = self._map @ weights.astype(np.float32)
        shares = vote_logs(self._votes)
        some = labelled
        if len(some) > JUDGED:
            some = self._chance.choice(labelled, JUDGED, replace=False)
        mapped = self._map[some].astype(np.float64)
        pull = np.einsum("ij,jk,ik->i", mapped, inverse, mapped, optimize=True)
        own = np.zeros((len(some), self.classes))
        own[np.arange(len(some)), self._codes[some]] = 1.0
        left_out = scores[some] - (pull / (1 - pull))[:, None] * (own - scores[some])
        counts = self._counts(labelled)
        others = vote_logs(
            (counts[self._parts[some]] - own * self._inside(some)).astype(np.float32)
        )
        belief = stack([left_out, shares[some], others], self._codes[some]).astype(np.float32)
        logits = belief[0] * scores + belief[1] * shares
        logits += belief[2] * vote_logs(counts)[self._parts]
        logits[:, np.bincount(self._codes[labelled], minlength=self.classes) == 0] = -np.inf
        return self._corrected(softmax(logits))

    def _counts(self, labelled: npt.NDArray[np.int64]) -> Float32:
        """Return how many of each cluster carry each code; the last row, of the noise, has none."""
        inside = labelled[self._parts[labelled] >= 0]
        counts = np.zeros((int(self._parts.max(initial=-1)) + 2, self.classes), np.float32)
        np.add.at(counts, (self._parts[inside], self._codes[inside]), np.float32(1))
        return counts

    def _inside(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = self._parts[rows, None] >= 0
        return found

    def _corrected(self, likely: Float32) -> Float32:
        """Correct the likeliest of each row by what happened before; the others share the rest."""
        most = likely.max(axis=1)
        best = likely.argmax(axis=1)
        right = self.odds.corrected(most)
        scale = (1 - right) / np.maximum(1 - most, 1e-6)
        likely *= np.minimum(scale, 1.0).astype(np.float32)[:, None]
        likely[np.arange(len(likely)), best] = right
        return likely

    def _refuse(self) -> None:
        rows, codes = self._refused
        inside = codes < self.classes
        rows, codes = rows[inside], codes[inside]
        if not len(rows):
            return
        self._likely[rows, codes] = 0
        these = np.unique(rows)
        total = self._likely[these].sum(axis=1, keepdims=True)
        self._likely[these] /= np.maximum(total, 1e-6)
        self._likely[these] *= np.float32(0.9)  # it may be something that nobody has named yet


def _likeliest(likely: Float32) -> Proposals:
    if not likely.shape[1]:
        return Proposals(np.full(len(likely), NONE, np.int32), np.zeros(len(likely), np.float32))
    codes = likely.argmax(axis=1).astype(np.int32)
    confidence = np.take_along_axis(likely, codes[:, None], 1)[:, 0]
    said = confidence > 0
    return Proposals(np.where(said, codes, NONE).astype(np.int32), np.where(said, confidence, 0))


def _highest(shares: Float32, most: int) -> tuple[Int32, Float32]:
    """Return the columns of the highest shares of each row (m, c), highest first, and these."""
    few = np.argpartition(-shares, most - 1, axis=1)[:, :most] if shares.shape[1] > most else None
    columns = np.arange(shares.shape[1])[None].repeat(len(shares), 0) if few is None else few
    columns = np.sort(columns, axis=1)
    held = np.take_along_axis(shares, columns, 1)
    order = np.argsort(-held, axis=1, kind="stable")
    best: Float32 = np.take_along_axis(held, order, 1)
    codes = np.take_along_axis(columns, order, 1)
    return np.where(best > 0, codes, NONE).astype(np.int32), best


def most_voted(heard: Int32) -> tuple[Int32, Float32]:
    """Return the most common code of each row (m, k) and its votes; ties go to the nearest."""
    codes = np.full(len(heard), NONE, np.int32)
    votes = np.zeros(len(heard), np.float32)
    for column in heard.T:
        count = (heard == column[:, None]).sum(axis=1)
        better = (column != NONE) & (count > votes)
        codes[better], votes[better] = column[better], count[better]
    return codes, votes


def _without(told: Pairs, before: Pairs) -> Pairs:
    """Return the pairs that were not told before."""
    keys = [rows.astype(np.int64) << 32 | codes for rows, codes in (told, before)]
    fresh = ~np.isin(keys[0], keys[1])
    return told[0][fresh], told[1][fresh]


def nystroem(rows: Float32, chance: np.random.Generator) -> Float32:
    """Return (n, m) float32 whose inner products are about exp(-WIDTH (1 - cosine) / usual)."""
    n = len(rows)
    if not n:
        return np.zeros((0, 1), np.float32)
    m = max(min(LANDMARKS, n, MAP_BYTES // (4 * max(n, 1))), 1)
    at = np.sort(chance.choice(n, m, replace=False))
    marks = rows[at]
    between = 1.0 - marks @ marks.T
    usual = float(np.median(between[~np.eye(m, dtype=np.bool_)])) if m > 1 else 1.0
    sharp = WIDTH / max(usual, 1e-3)
    values, axes = np.linalg.eigh(np.exp(-sharp * between).astype(np.float64))
    keep = values > 1e-6 * values[-1]
    whiten = (axes[:, keep] / np.sqrt(values[keep])).astype(np.float32)
    mapped = np.empty((n, int(keep.sum())), np.float32)
    for start in range(0, n, CHUNK):
        part = slice(start, start + CHUNK)
        mapped[part] = np.exp(-sharp * (1.0 - rows[part] @ marks.T)) @ whiten
    return mapped


def vote_logs(votes: Float32) -> Float32:
    """Return the logarithm of each code's share of the votes, half a vote added to each."""
    total = votes.sum(axis=1, keepdims=True) + 0.5 * votes.shape[1]
    found: Float32 = np.log((votes + np.float32(0.5)) / total).astype(np.float32)
    return found
