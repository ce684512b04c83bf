"""The k-NN graph against brute force, and every corner of it."""

import numpy as np
import pytest

from embeddings import CurationError, neighbours
from embeddings.neighbours import knn_graph, outlier_score
from embeddings.schema import Neighbours, Vectors


def make_vectors(rows: np.ndarray) -> Vectors:
    rows = np.asarray(rows, np.float32)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return Vectors(np.array([f"{i:08d}" for i in range(len(rows))]), rows, "test")


def brute_force(vectors: Vectors, k: int) -> tuple[np.ndarray, np.ndarray]:
    rows = vectors.rows.astype(np.float64)
    similarity = np.stack([np.clip((rows * row).sum(axis=1), -1, 1) for row in rows])
    similarity = similarity.astype(np.float32)
    ranked = similarity.copy()
    np.fill_diagonal(ranked, -np.inf)
    order = np.argsort(-ranked, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(similarity, order, axis=1)


def check(vectors: Vectors, k: int) -> Neighbours:
    graph = knn_graph(vectors, k, device="cpu")
    rows, similarity = brute_force(vectors, k)
    np.testing.assert_array_equal(graph.rows, rows)
    np.testing.assert_array_equal(graph.similarity, similarity)
    return graph


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "CPU_TILE", (37, 64))
    monkeypatch.setattr(neighbours, "RERANK_BYTES", 4096)


@pytest.mark.parametrize("bfloat16", [True, False])
def test_the_graph_is_what_brute_force_finds(small_tiles, monkeypatch, bfloat16):
    monkeypatch.setattr(neighbours, "_bfloat16_is_faster", lambda rows: bfloat16)
    check(make_vectors(np.random.default_rng(0).normal(size=(700, 24))), 30)


@pytest.mark.parametrize("bfloat16", [True, False])
def test_neighbours_closer_than_the_arithmetic_can_tell_are_still_exact(
    small_tiles, monkeypatch, bfloat16
):
    # All within 1e-3 of one direction: bfloat16 sees one value, the error bound must notice.
    monkeypatch.setattr(neighbours, "_bfloat16_is_faster", lambda rows: bfloat16)
    rng = np.random.default_rng(1)
    check(make_vectors(np.ones((400, 16)) + 1e-3 * rng.normal(size=(400, 16))), 10)


def test_ties_go_to_the_lower_row_beyond_any_number_of_candidates(small_tiles):
    axes = np.eye(8)[np.arange(500) % 8]  # 62 exact copies of each of 8 directions
    graph = check(make_vectors(axes), 12)
    assert graph.rows[0].tolist() == [8 * i for i in range(1, 13)]


def test_an_item_is_never_its_own_neighbour_among_exact_duplicates():
    graph = check(make_vectors(np.ones((300, 5))), 20)
    assert (graph.rows != np.arange(300)[:, None]).all()


def test_the_answer_does_not_depend_on_the_tiles(monkeypatch):
    vectors = make_vectors(np.random.default_rng(2).normal(size=(900, 48)))
    whole = knn_graph(vectors, device="cpu")
    monkeypatch.setattr(neighbours, "CPU_TILE", (100, 128))
    pieces = knn_graph(vectors, device="cpu")
    assert whole.rows.tobytes() == pieces.rows.tobytes()
    assert whole.similarity.tobytes() == pieces.similarity.tobytes()


@pytest.mark.parametrize(("n", "k"), [(1, 30), (2, 30), (2, 1), (5, 4), (5, 5), (31, 30)])
def test_k_is_clipped_to_the_others_there_are(n, k):
    vectors = make_vectors(np.random.default_rng(3).normal(size=(n, 6)))
    graph = knn_graph(vectors, k, device="cpu")
    assert graph.k == min(k, n - 1)
    np.testing.assert_array_equal(graph.rows, brute_force(vectors, graph.k)[0])


def test_no_items_make_an_empty_graph():
    empty = Vectors(np.array([], dtype=np.str_), np.zeros((0, 4), np.float32), "test")
    assert knn_graph(empty).rows.shape == (0, 0)


def test_opposite_and_orthogonal_vectors_are_ranked_by_cosine():
    graph = knn_graph(make_vectors([[1, 0], [-1, 0], [0, 1], [1, 1]]), 3)
    assert graph.rows[0].tolist() == [3, 2, 1]
    np.testing.assert_allclose(graph.similarity[0], [2**-0.5, 0, -1], atol=1e-7)


def test_progress_counts_every_item(small_tiles):
    seen: list[tuple[int, int]] = []
    knn_graph(
        make_vectors(np.random.default_rng(4).normal(size=(100, 4))),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(37, 100), (74, 100), (100, 100)]


def test_read_only_vectors_are_fine():
    vectors = make_vectors(np.random.default_rng(5).normal(size=(20, 4)))
    vectors.rows.flags.writeable = False
    check(vectors, 3)


def test_the_float32_precision_of_others_is_respected_and_put_back():
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")  # bfloat16 products where there are such
    try:
        check(make_vectors(np.random.default_rng(6).normal(size=(300, 64))), 10)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("bad", [np.nan, 0.0, 3.0])
def test_rows_that_are_not_of_unit_length_are_refused_by_number(bad):
    vectors = make_vectors(np.random.default_rng(7).normal(size=(10, 4)))
    vectors.rows[6] *= bad
    with pytest.raises(ValueError, match="row 6 has"):
        knn_graph(vectors)


def test_k_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        knn_graph(make_vectors(np.eye(3)), 0)


def test_cuda_where_there_is_none_is_refused_with_the_way_out():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(CurationError, match="use device 'cpu' or 'auto'"):
        knn_graph(make_vectors(np.eye(3)), device="cuda")


def test_cuda_finds_the_same_graph():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    vectors = make_vectors(np.random.default_rng(8).normal(size=(3000, 64)))
    rows, _ = brute_force(vectors, 30)
    np.testing.assert_array_equal(knn_graph(vectors, device="cuda").rows, rows)


def test_the_odd_one_out_has_the_highest_outlier_score():
    rng = np.random.default_rng(9)
    rows = np.vstack([np.ones((60, 8)) + 0.05 * rng.normal(size=(60, 8)), -np.ones((1, 8))])
    score = outlier_score(knn_graph(make_vectors(rows), 10))
    assert score.argmax() == 60
    assert score[60] == 1.0  # distance 2, clipped
    assert score[:60].max() < 0.05
    assert score.dtype == np.float32


def test_an_item_alone_is_no_outlier():
    assert outlier_score(knn_graph(make_vectors([[1, 0]]))).tolist() == [0.0]
