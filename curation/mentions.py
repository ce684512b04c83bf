"""Which decisions name each item: what the journal says by decision, here by item."""

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from embeddings.schema import Int32

Int64 = npt.NDArray[np.int64]

LATE = 100_000  # pairs that are looked through as they came before they are sorted in
_SHARE = 8  # ... or this part of those that are sorted: sorting must stay rare as they grow


class Mentions:
    """The seqs of all decisions that name each item, undo and redo too; 4 bytes for each pair."""

    def __init__(self) -> None:
        self._starts: Int64 = np.zeros(1, np.int64)  # (n + 1,) where each item's seqs begin
        self._seqs: Int32 = np.empty(0, np.int32)
        self._late = [_no_pairs()]  # newer ones, by seq
        self._n_late = 0

    @classmethod
    def of_pairs(cls, parts: Iterable[tuple[Int64, Int32]]) -> Self:
        """Return what `add` would make of all these, sorted once."""
        found = cls()
        found._late += [(items.astype(np.int32), seqs) for items, seqs in parts]
        found._sort()
        return found

    @classmethod
    def of_arrays(cls, starts: Int64, seqs: Int32, named: Int32, newer: Int32) -> Self:
        """Return what `arrays` were taken of."""
        found = cls()
        found._starts, found._seqs = starts, seqs
        found._late, found._n_late = [(named, newer)], len(named)
        return found

    def arrays(self) -> list[npt.NDArray[Any]]:
        """Return all that is held, to be kept; none of the arrays is ever changed."""
        return [self._starts, self._seqs, *self._waiting()]

    def add(self, items: Int64, seqs: Int32) -> None:
        """Take in pairs (k,) of decisions that are newer than all before, in order of seq."""
        self._late.append((items.astype(np.int32), seqs))
        self._n_late += len(items)
        if self._n_late > max(LATE, len(self._seqs) // _SHARE):
            self._sort()

    def of(self, items: Int64) -> tuple[Int64, Int32]:
        """Return the pairs of `items` (m,) sorted: the place in `items` and the seq, (k,) each.

        They are in order of the item, then of the seq.
        """
        if self._n_late and len(items) > len(self._starts) // _SHARE:
            self._sort()
        known = items[items < len(self._starts) - 1]  # the first ones: they are sorted
        first, sizes = np.zeros((2, len(items)), np.int64)
        first[: len(known)] = self._starts[known]
        sizes[: len(known)] = self._starts[known + 1] - self._starts[known]
        at = np.repeat(np.arange(len(items)), sizes)
        skipped = np.repeat(first - (np.cumsum(sizes) - sizes), sizes)
        seqs = self._seqs[np.arange(len(at)) + skipped]
        late, newer = self._late_of(items)
        if not len(late):
            return at, seqs
        at = np.concatenate([at, late])
        order = np.argsort(at, kind="stable")
        return at[order], np.concatenate([seqs, newer])[order]

    def _late_of(self, items: Int64) -> tuple[Int64, Int32]:
        if not self._n_late or not len(items):
            return np.empty(0, np.int64), np.empty(0, np.int32)
        named, seqs = self._waiting()
        at = np.minimum(np.searchsorted(items, named), len(items) - 1)
        hit = items[at] == named
        return at[hit], seqs[hit]

    def _waiting(self) -> tuple[Int32, Int32]:
        """Return the pairs that are not sorted in yet, as two arrays."""
        named, seqs = (np.concatenate(part) for part in zip(*self._late, strict=True))
        self._late = [(named, seqs)]
        return named, seqs

    def _sort(self) -> None:
        """Sort in what came late: of each item what was known first, then what is newer."""
        starts, seqs = _by_item(*self._waiting())
        n = max(len(starts), len(self._starts))
        old, new = _longer(self._starts, n), _longer(starts, n)
        found = np.empty(len(self._seqs) + len(seqs), np.int32)
        found[np.arange(len(self._seqs)) + np.repeat(new[:-1], np.diff(old))] = self._seqs
        found[np.arange(len(seqs)) + np.repeat(old[1:], np.diff(new))] = seqs
        self._starts, self._seqs = old + new, found
        self._late, self._n_late = [_no_pairs()], 0


def _no_pairs() -> tuple[Int32, Int32]:
    return np.empty(0, np.int32), np.empty(0, np.int32)


def _by_item(named: Int32, seqs: Int32) -> tuple[Int64, Int32]:
    """Return where the seqs of each item begin, (n + 1,), and the seqs; given in order of seq."""
    from scipy.sparse import csr_array

    first, n = int(seqs[0]) if len(seqs) else 0, int(named.max(initial=-1)) + 1
    sizes = np.bincount(seqs - first)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    ones = np.ones(len(seqs), np.bool_)  # a matrix of decisions by items, turned about
    table = csr_array((ones, named, ends), shape=(len(sizes), n)).tocsc()
    return table.indptr.astype(np.int64), table.indices.astype(np.int32) + np.int32(first)


def _longer(starts: Int64, n: int) -> Int64:
    return np.concatenate([starts, np.full(n - len(starts), starts[-1])])
