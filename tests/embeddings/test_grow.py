"""New items take their place on the atlas that is there, and nobody moves."""

import numpy as np
import pytest

from embeddings.grow import grow, refit
from embeddings.neighbours import knn_graph
from embeddings.schema import Atlas, Vectors

CENTRES = np.array([[0.2, 0.2], [0.8, 0.3], [0.5, 0.9]], np.float32)


def groups(n: int, seed: int = 0) -> tuple[Vectors, np.ndarray]:
    """Three groups in 16 dimensions, and which group each row is of."""
    chance = np.random.default_rng(seed)
    group = chance.integers(0, 3, n)
    rows = np.eye(16, dtype=np.float32)[group * 5] + chance.normal(size=(n, 16)) * 0.08
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    item_ids = np.array(sorted(f"{chance.integers(2**60):016x}" for _ in range(n)))
    return Vectors(item_ids, rows, "test"), group


def atlas_of(vectors: Vectors, group: np.ndarray, rows: np.ndarray) -> Atlas:
    chance = np.random.default_rng(1)
    xy = (CENTRES[group[rows]] + chance.normal(size=(len(rows), 2)) * 0.02).astype(np.float32)
    ones = np.ones(len(rows), np.float32)
    params = {"layout": "umap", "cluster": "hdbscan", "seed": 0}
    return Atlas(
        vectors.item_ids[rows], xy, group[rows].astype(np.int32), ones, ones, "a" * 16, "s", params
    )


def test_nobody_moves_and_new_items_stand_in_their_group() -> None:
    vectors, group = groups(300)
    old = np.sort(np.random.default_rng(2).choice(300, 240, replace=False))
    base = atlas_of(vectors, group, old)
    grown = grow(base, vectors)
    assert len(grown) == 300
    at = grown.rows_of(base.item_ids)
    assert np.array_equal(grown.xy[at], base.xy)
    assert np.array_equal(grown.cluster[at], base.cluster)
    new = np.setdiff1d(np.arange(300), old)
    assert np.linalg.norm(grown.xy[new] - CENTRES[group[new]], axis=1).max() < 0.05
    assert np.array_equal(grown.cluster[new], group[new])
    assert (grown.outlier_score[new] < 0.3).all()


def test_growing_twice_by_the_same_items_gives_the_same_version_and_once_more_nothing() -> None:
    vectors, group = groups(120)
    base = atlas_of(vectors, group, np.arange(0, 120, 2))
    grown = grow(base, vectors)
    assert grow(base, vectors).version == grown.version != base.version
    assert grow(grown, vectors) is grown
    assert grown.params["base"] == base.version


def test_an_item_between_groups_is_noise_and_not_a_member() -> None:
    vectors, group = groups(90)
    middle = vectors.rows[group == 0].mean(axis=0) + vectors.rows[group == 1].mean(axis=0)
    middle = middle + vectors.rows[group == 2].mean(axis=0)
    rows = np.vstack([vectors.rows, middle / np.linalg.norm(middle)]).astype(np.float32)
    more = Vectors(np.append(vectors.item_ids, "z" * 16), rows, "test")
    base = atlas_of(vectors, group, np.arange(90))
    grown = grow(base, more)
    votes = base.cluster[np.argsort(-(vectors.rows @ rows[-1]), kind="stable")[:15]]
    assert np.bincount(votes).max() <= 15
    expected = np.bincount(votes).argmax() if np.bincount(votes).max() > 7.5 else -1
    assert grown.cluster[-1] == expected


def test_an_atlas_of_fewer_items_than_neighbours_can_grow() -> None:
    vectors, group = groups(6)
    grown = grow(atlas_of(vectors, group, np.arange(2)), vectors)
    assert len(grown) == 6 and np.isfinite(grown.xy).all()


def test_vectors_of_another_space_are_refused() -> None:
    vectors, group = groups(30)
    base = atlas_of(vectors, group, np.arange(30))
    fewer = Vectors(vectors.item_ids[:20], vectors.rows[:20], "test")
    with pytest.raises(ValueError, match="of another space"):
        grow(base, fewer)


def test_a_refit_starts_from_the_old_arrangement() -> None:
    vectors, group = groups(300)
    base = atlas_of(vectors, group, np.arange(0, 300, 2))
    grown = grow(base, vectors)
    xy, cluster, _ = refit(grown, vectors, knn_graph(vectors, 15))
    assert xy.shape == (300, 2) and len(np.unique(cluster)) >= 3
    for group_number in range(3):
        mine = xy[group == group_number].mean(axis=0)
        others = [xy[group == other].mean(axis=0) for other in range(3) if other != group_number]
        apart = min(np.linalg.norm(mine - other) for other in others)
        assert np.linalg.norm(xy[group == group_number] - mine, axis=1).mean() < apart / 2
