"""Agreement of neighbours and clusters with labels, on cases worked out by hand."""

import numpy as np
import pytest

from embeddings.neighbours import knn_graph
from embeddings.purity import cluster_purity, knn_accuracy
from embeddings.schema import Neighbours

from .test_neighbours import make_vectors


def graph_of(rows: list[list[int]]) -> Neighbours:
    at = np.array(rows, np.int32)
    ids = np.array([f"{i:03d}" for i in range(len(at))])
    return Neighbours(ids, at, np.ones(at.shape, np.float32))


CASE = graph_of([[1, 2, 3], [0, 2, 3], [3, 0, 1], [2, 1, 0]])


def test_the_nearest_neighbour_is_asked():
    assert knn_accuracy(CASE, ["a", "a", "b", "b"]) == (1.0, 0.5, 4)
    assert knn_accuracy(CASE, ["a", "b", "a", "b"]) == (0.0, 0.5, 4)


def test_the_majority_of_k_decides_and_ties_go_to_the_nearest():
    assert knn_accuracy(CASE, ["a", "a", "a", "b"], k=3) == (0.75, 0.75, 4)
    assert knn_accuracy(CASE, ["a", "a", "b", "b"], k=2) == (1.0, 0.5, 4)


def test_items_without_a_label_neither_vote_nor_count():
    accuracy, chance, n = knn_accuracy(CASE, ["a", None, "a", "b"])
    assert (accuracy, n) == (pytest.approx(1 / 3), 3)  # 0 asks 2: right; 2 asks 3; 3 asks 2
    assert chance == pytest.approx(2 / 3)


def test_an_item_whose_neighbours_have_no_label_counts_as_wrong():
    assert knn_accuracy(CASE, ["a", None, None, None]) == (0.0, 1.0, 1)


def test_no_labels_at_all_score_nothing():
    assert knn_accuracy(CASE, [None] * 4) == (0.0, 0.0, 0)
    assert cluster_purity(np.zeros(4, np.int32), [None] * 4).n == 0


def test_gaussian_noise_scores_at_chance_and_classes_score_high():
    rng = np.random.default_rng(0)
    labels = [str(label) for label in rng.integers(0, 5, 2000)]
    noise = rng.normal(size=(2000, 12))
    accuracy, _, n = knn_accuracy(knn_graph(make_vectors(noise)), labels, k=5)
    assert n == 2000
    assert abs(accuracy - 0.2) < 0.036  # four standard errors
    signal = noise + 4 * np.eye(12)[[int(label) for label in labels]]
    assert knn_accuracy(knn_graph(make_vectors(signal)), labels, k=5)[0] > 0.9


def test_labels_for_another_number_of_items_are_refused():
    with pytest.raises(ValueError, match="each of 4 items, got 3"):
        knn_accuracy(CASE, ["a"] * 3)
    with pytest.raises(ValueError, match="at least 1"):
        knn_accuracy(CASE, ["a"] * 4, k=0)


def test_cluster_purity_counts_what_each_cluster_is_made_of():
    cluster = np.array([0, 0, 0, 0, 1, 1, 2, -1, -1], np.int32)
    labels = ["a", "a", "b", None, "b", "b", None, "a", None]
    found = cluster_purity(cluster, labels)
    assert found.cluster.tolist() == [0, 1]  # nobody labelled anything in cluster 2
    assert found.label.tolist() == ["a", "b"]
    assert found.labelled.tolist() == [3, 2]
    np.testing.assert_allclose(found.share, [2 / 3, 1.0])
    assert found.purity == pytest.approx(4 / 5)
    assert found.coverage == pytest.approx(5 / 6)
    assert found.n == 6
