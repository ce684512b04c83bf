"""Layouts: finite, in the box, bit-identical, and near what the vectors say."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from embeddings import CurationError
from embeddings.neighbours import knn_graph
from embeddings.project import LAYOUTS, place, project, unit_box
from embeddings.purity import knn_accuracy
from embeddings.schema import Neighbours, Vectors

from .test_neighbours import make_vectors

NAMES = ("pca", "tsne", "umap")

IN_ANOTHER_PROCESS = """
import hashlib, sys
import numpy as np
from embeddings.neighbours import knn_graph
from embeddings.project import project
from embeddings.schema import Vectors
rows = np.load(sys.argv[1])
vectors = Vectors(np.array([f"{i:08d}" for i in range(len(rows))]), rows, "test")
xy = project("umap", vectors, knn_graph(vectors, device="cpu"))
print(hashlib.sha256(xy.tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def digits() -> tuple[Vectors, list[str], Neighbours]:
    from sklearn.datasets import load_digits

    data = load_digits()
    vectors = make_vectors(data.data[:600])
    return vectors, [str(d) for d in data.target[:600]], knn_graph(vectors, device="cpu")


@pytest.fixture(scope="module")
def umap_xy(digits) -> np.ndarray:
    vectors, _, graph = digits
    return project("umap", vectors, graph)


def accuracy_on_map(xy: np.ndarray, labels: list[str]) -> float:
    distance = ((xy[:, None] - xy[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    names = np.array(labels)
    return float((names[distance.argmin(axis=1)] == names).mean())


def test_the_registry_knows_the_three_layouts():
    assert LAYOUTS.names() == sorted(NAMES)


def test_an_unknown_layout_lists_the_known_ones(digits):
    with pytest.raises(CurationError, match="unknown layout 'ivis'; known: pca, tsne, umap"):
        project("ivis", digits[0], digits[2])


@pytest.mark.parametrize("name", ["tsne", "umap"])
def test_the_map_keeps_the_classes_that_the_vectors_have(name, digits, umap_xy):
    vectors, labels, graph = digits
    xy = umap_xy if name == "umap" else project(name, vectors, graph)
    in_space, chance, _ = knn_accuracy(graph, labels)
    assert in_space > 0.95
    assert chance < 0.12
    assert accuracy_on_map(xy, labels) > in_space - 0.03


def test_noise_stays_noise_on_the_map():
    # Null control: labels drawn by lot agree with neighbours at chance, before and after.
    rng = np.random.default_rng(0)
    vectors = make_vectors(rng.normal(size=(800, 16)))
    labels = [str(label) for label in rng.integers(0, 4, 800)]
    graph = knn_graph(vectors, device="cpu")
    accuracy, chance, _ = knn_accuracy(graph, labels)
    assert chance < 0.3
    assert abs(accuracy - 0.25) < 0.06  # four standard errors
    assert abs(accuracy_on_map(project("umap", vectors, graph), labels) - 0.25) < 0.06


def test_umap_gives_the_same_bits_twice_and_in_another_process(digits, umap_xy, tmp_path):
    vectors, _, graph = digits
    assert project("umap", vectors, graph).tobytes() == umap_xy.tobytes()
    np.save(tmp_path / "rows.npy", vectors.rows)
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, str(tmp_path / "rows.npy")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == hashlib.sha256(umap_xy.tobytes()).hexdigest()


@pytest.mark.parametrize("name", ["tsne", "pca"])
def test_the_other_layouts_give_the_same_bits_twice(name, digits):
    rows = digits[0].rows[:300]
    vectors = make_vectors(rows)
    graph = knn_graph(vectors, device="cpu")
    first, second = (project(name, vectors, graph).tobytes() for _ in range(2))
    assert first == second


def test_another_random_state_gives_another_umap(digits, umap_xy):
    vectors, _, graph = digits
    other = project("umap", vectors, graph, random_state=1, epochs=20)
    assert not np.array_equal(other, umap_xy)


def test_a_refit_stays_near_the_layout_that_it_starts_from(digits, umap_xy):
    vectors, _, graph = digits
    mirrored = umap_xy[:, ::-1].copy()  # as good a layout, far from where PCA would begin
    again = project("umap", vectors, graph, random_state=3, init=mirrored, epochs=100)
    moved = np.median(np.linalg.norm(again - mirrored, axis=1))
    assert moved < 0.25
    assert moved < 0.6 * np.median(np.linalg.norm(umap_xy - mirrored, axis=1))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 12, 40])
def test_small_degenerate_and_disconnected_sets_get_finite_places(name, dims, n):
    rng = np.random.default_rng(n)
    far_apart = np.kron(np.eye(4), np.ones((max(n // 4, 1), 1)))[:n]
    for rows in (
        rng.normal(size=(n, 5)),
        np.ones((n, 5)),  # all identical
        np.eye(2)[np.arange(n) % 2],  # two places, fewer axes than dims
        np.vstack([far_apart, rng.normal(size=(n - len(far_apart), 4))]),  # cliques
    ):
        vectors = make_vectors(rows)
        xy = project(name, vectors, knn_graph(vectors, 3, device="cpu"), dims=dims)
        assert xy.shape == (n, dims)
        assert xy.dtype == np.float32
        assert np.isfinite(xy).all()
        assert xy.min() >= 0.0
        assert xy.max() <= 1.0


def test_a_sixth_dimension_is_refused(digits):
    with pytest.raises(CurationError, match="dims must be 2 or 3, got 6"):
        project("pca", digits[0], digits[2], dims=6)


def test_a_graph_of_other_items_is_refused(digits):
    other = make_vectors(np.eye(3))
    with pytest.raises(ValueError, match="same items"):
        project("pca", other, digits[2])


def test_a_misspelt_parameter_is_not_ignored(digits):
    with pytest.raises(TypeError, match="no parameters, got perplexty"):
        project("tsne", digits[0], digits[2], perplexty=3)


def test_the_unit_box_keeps_the_proportions():
    xy = unit_box(np.array([[10, 0], [14, 1], [12, 2]], np.float32))
    assert xy.tolist() == [[0.0, 0.25], [1.0, 0.5], [0.5, 0.75]]
    assert unit_box(np.full((3, 2), 7, np.float32)).tolist() == [[0.5, 0.5]] * 3
    assert unit_box(np.zeros((0, 2), np.float32)).shape == (0, 2)


def test_new_items_go_to_the_median_of_their_fifteen_nearest():
    line = np.stack([np.arange(40.0), np.zeros(40)], axis=1).astype(np.float32)
    assert place(line[None]).tolist() == [[7.0, 0.0]]  # of rows 0 to 14 only
    pulled = np.vstack([np.zeros((8, 2)), np.full((7, 2), 100.0)]).astype(np.float32)
    assert place(pulled[None]).tolist() == [[0.0, 0.0]]  # the majority's, not between
    with pytest.raises(ValueError, match="k >= 1"):
        place(np.zeros((3, 0, 2), np.float32))


def run_with(environment: dict[str, str], code: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**kept, **environment},
    )
    return done.stdout.strip()


def test_compiled_code_is_kept_where_caches_belong_unless_the_user_says_where(tmp_path):
    code = (
        "import os; from embeddings.project import _cache_compiled_code as f; f(); "
        "print(os.environ['NUMBA_CACHE_DIR'])"
    )
    cache = {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    assert "curation-atlas" in run_with(cache, code)
    assert run_with({**cache, "NUMBA_CACHE_DIR": "/elsewhere"}, code) == "/elsewhere"


def test_importing_the_stages_loads_nothing_heavy():
    code = (
        "import sys, embeddings.neighbours, embeddings.project, embeddings.cluster, "
        "embeddings.purity, embeddings.samples.digits, embeddings.samples.scenes; "
        "print(sorted({'torch', 'umap', 'numba', 'hdbscan', 'sklearn'} & set(sys.modules)))"
    )
    assert run_with({}, code) == "[]"
