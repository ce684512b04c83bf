"""Which decisions name each item, however they came and were sorted in."""

import numpy as np
import pytest

from curation.mentions import Mentions


@pytest.mark.parametrize("late", [0, 30, 10_000])
def test_each_item_has_its_decisions_in_order(late: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.mentions.LATE", late)
    chance, found = np.random.default_rng(late), Mentions()
    said: list[tuple[int, int]] = []
    for seq in range(1, 200, 3):  # items that are registered later have larger numbers
        items = np.unique(chance.integers(0, 20 + seq // 4, chance.integers(1, 9)))
        found.add(items, np.full(len(items), seq, np.int32))
        said += [(item, seq) for item in items.tolist()]
        for asked in ([3], [], [0, 5, 900], range(100)):
            wanted = np.array(asked, np.int64)
            at, seqs = found.of(wanted)
            told = list(zip(wanted[at].tolist(), seqs.tolist(), strict=True))
            assert told == sorted(pair for pair in said if pair[0] in asked)
    assert seqs.dtype == np.int32


def test_what_is_read_at_once_is_what_came_one_by_one() -> None:
    parts = [
        (np.array([0, 4, 4]), np.array([1, 1, 2], np.int32)),
        (np.array([2]), np.array([3], np.int32)),
    ]
    one, other = Mentions.of_pairs(parts), Mentions()
    for part in parts:
        other.add(*part)
    everything = np.arange(6)
    for found in (one, other):
        at, seqs = found.of(everything)
        assert (at.tolist(), seqs.tolist()) == ([0, 2, 4, 4], [1, 3, 1, 2])
    assert len(Mentions.of_pairs([]).of(everything)[0]) == 0
