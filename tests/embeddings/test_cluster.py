"""Clusterers: known answers, numbering, and sets too small to cluster."""

import numpy as np
import pytest

from embeddings import CurationError
from embeddings import cluster as module
from embeddings.cluster import CLUSTERERS, cluster, number_by_size

NAMES = ("dbscan", "hdbscan", "kmeans")


def blobs(*sizes: int, gap: float = 12.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * np.arange(len(sizes)) / len(sizes)
    centres = gap * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    xy = centres[truth] + rng.normal(size=(len(truth), 2))
    return (xy / (2 * gap)).astype(np.float32), truth


def ari(truth: np.ndarray, found: np.ndarray) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(truth, found))


def test_the_registry_knows_the_three_clusterers():
    assert CLUSTERERS.names() == list(NAMES)


def test_an_unknown_clusterer_lists_the_known_ones():
    with pytest.raises(CurationError, match="known: dbscan, hdbscan, kmeans"):
        cluster("birch", np.zeros((3, 2), np.float32))


def test_numbers_go_by_size_then_first_row_and_noise_stays():
    found = np.array([7, 7, 3, -1, 3, 9, 9, 9, -1, 4])
    assert number_by_size(found).tolist() == [1, 1, 2, -1, 2, 0, 0, 0, -1, 3]


@pytest.mark.parametrize(
    ("name", "params"), [("hdbscan", {}), ("dbscan", {"eps": 0.05}), ("kmeans", {"k": 4})]
)
def test_four_blobs_are_found_biggest_first(name, params):
    xy, truth = blobs(50, 200, 120, 80)
    found, membership = cluster(name, xy, **params)
    assert ari(truth, found) > 0.95
    assert np.argsort(-np.bincount(truth)).tolist() == [
        np.bincount(truth[found == number]).argmax() for number in range(4)
    ]
    assert found.dtype == np.int32
    assert membership.dtype == np.float32
    assert membership.min() >= 0.0
    assert membership.max() <= 1.0
    assert (membership[found == -1] == 0).all()
    assert np.median(membership[found >= 0]) > 0.5


@pytest.mark.parametrize("sizes", [(300, 300), (800, 100, 100)])
def test_one_or_two_big_lumps_are_not_torn_by_the_limit_on_size(sizes):
    xy, truth = blobs(*sizes)
    found, _ = cluster("hdbscan", xy)
    assert ari(truth, found) > 0.98


def test_scattered_items_are_noise():
    xy, truth = blobs(300, 300, 300)
    # Fewer than the 15 that make a cluster among 910.
    far = np.random.default_rng(1).uniform(2, 6, (10, 2)).astype(np.float32)
    found, _ = cluster("hdbscan", np.vstack([xy, far]))
    assert ari(truth, found[:900]) > 0.95
    assert (found[900:] == -1).all()


def test_the_smallest_cluster_grows_with_the_root_of_the_collection():
    sizes = [module._from_root(n, 2, module.MIN_CLUSTER_SIZE) for n in (10, 1797, 10**4, 10**6)]
    assert sizes == [5, 21, 50, 300]


def test_digits_cluster_into_their_classes():
    from sklearn.datasets import load_digits

    from embeddings.neighbours import knn_graph
    from embeddings.project import project

    from .test_neighbours import make_vectors

    data = load_digits()
    vectors = make_vectors(data.data)
    xy = project("umap", vectors, knn_graph(vectors, device="cpu"))
    found, membership = cluster("hdbscan", xy)
    agreement, coverage = ari(data.target, found), float((found >= 0).mean())
    print(f"digits: ARI over all {agreement:.3f}, coverage {coverage:.3f}, {found.max() + 1}")
    assert agreement > 0.8
    assert coverage > 0.93
    assert 8 <= found.max() + 1 <= 16
    again, membership_again = cluster("hdbscan", xy)
    assert (again == found).all()
    assert (membership_again == membership).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 6, 9, 20])
def test_small_and_coincident_sets_never_crash(name, n):
    rng = np.random.default_rng(n)
    for xy in (rng.random((n, 2)), np.zeros((n, 3)), rng.integers(0, 2, (n, 2))):
        found, membership = cluster(name, xy.astype(np.float32))
        assert found.shape == membership.shape == (n,)
        assert np.isfinite(membership).all()


def test_fewer_items_than_the_smallest_cluster_are_all_noise():
    found, membership = cluster("hdbscan", blobs(2, 2)[0])
    assert found.tolist() == [-1] * 4
    assert membership.tolist() == [0.0] * 4


@pytest.mark.parametrize("name", NAMES)
def test_items_that_coincide_are_one_cluster(name):
    found, membership = cluster(name, np.full((30, 2), 0.5, np.float32))
    assert found.tolist() == [0] * 30
    assert membership.tolist() == [1.0] * 30


@pytest.mark.parametrize("name", NAMES)
def test_the_same_items_get_the_same_clusters_twice(name):
    xy, _ = blobs(100, 90, 80, 70)
    first, second = cluster(name, xy), cluster(name, xy)
    assert (first[0] == second[0]).all()
    assert first[1].tobytes() == second[1].tobytes()


def test_coordinates_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        cluster("kmeans", np.array([[0.0, np.nan]], np.float32))
