"""What several threads ask for at once is one answer."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pytest

from curation.aligned import Kept
from curation.viewer import payload
from embeddings.schema import Atlas

THREADS = 8
T = TypeVar("T")


def at_once(ask: Callable[[int], T]) -> list[T]:
    """Ask in eight threads that all begin together."""
    gate = threading.Barrier(THREADS)

    def asked(number: int) -> T:
        gate.wait(20)
        return ask(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(asked, range(THREADS)))


def test_eight_threads_that_ask_for_one_thing_share_what_is_made_once() -> None:
    kept, made = Kept(4), []

    def make() -> object:
        made.append(threading.get_ident())
        threading.Event().wait(0.05)  # the others come meanwhile
        return object()

    found = at_once(lambda _: kept.get("key", make))
    assert len(made) == 1
    assert len({id(one) for one in found}) == 1


def test_each_of_eight_threads_gets_what_belongs_to_its_key_though_few_are_kept() -> None:
    kept = Kept(2)

    def ask(number: int) -> list[int]:
        keys = [(number + step) % 5 for step in range(300)]
        return [kept.get(key, lambda key=key: 10 * key + 1) - 10 * key for key in keys]

    assert all(answer == [1] * 300 for answer in at_once(ask))
    assert len(kept._found) <= 2


def test_a_key_whose_making_failed_can_be_asked_for_again() -> None:
    kept = Kept(2)
    with pytest.raises(ZeroDivisionError):
        kept.get("key", lambda: 1 // 0)
    assert at_once(lambda _: kept.get("key", lambda: 7)) == [7] * THREADS


def test_eight_threads_see_one_wire_order_of_each_atlas() -> None:
    def drawn(seed: int) -> Atlas:
        xy = np.random.default_rng(seed).random((3000, 2)).astype(np.float32)
        zero = np.zeros(3000, np.float32)
        ids = np.array([f"item{row:05d}" for row in range(3000)])
        return Atlas(ids, xy, np.zeros(3000, np.int32), zero, zero, f"at once {seed}", "test")

    atlases = [drawn(seed) for seed in range(3)]
    found = at_once(lambda number: [payload.order_of(atlas) for atlas in atlases])
    for at, atlas in enumerate(atlases):
        order, levels = payload.wire_order(atlas.xy)
        for answer in found:
            np.testing.assert_array_equal(answer[at][0], order)
            assert answer[at][1] == levels
            assert not answer[at][0].flags.writeable
        bodies = set(at_once(lambda _, one=atlas: payload.pack_points(one)))
        assert len(bodies) == 1
