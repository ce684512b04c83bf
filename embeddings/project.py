"""k-NN graph to coordinates: where every item stands on the map."""

import os
import sys
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from embeddings.errors import CurationError
from embeddings.registry import Registry
from embeddings.schema import Float32, Neighbours, Vectors

PLACE_NEIGHBOURS = 15
UMAP_NEIGHBOURS = 15  # umap-learn's default; it counts the item itself
MIN_UMAP_ITEMS = 5  # below, a graph says nothing that the principal components do not
MIN_TSNE_ITEMS = 6


class Layout(Protocol):
    """What a registry entry is."""

    def __call__(
        self,
        vectors: Vectors,
        graph: Neighbours,
        *,
        dims: int,
        random_state: int,
        **params: Any,
    ) -> Float32:
        """Coordinates (n, dims); any finite ones do: `project` fits them into the unit box."""


LAYOUTS: Registry[Layout] = Registry("layout", "curation_atlas.layouts")


def project(
    name: str,
    vectors: Vectors,
    graph: Neighbours,
    *,
    dims: int = 2,
    random_state: int = 0,
    **params: Any,
) -> Float32:
    """Lay the items out, (n, dims) float32 in the unit box; the same input gives the same bits.

    The longest axis spans [0, 1] exactly, the others keep their proportion and are centred on
    0.5; items that all coincide stand at 0.5. `params` go to the layout called `name`.

    Raises
    ------
    CurationError
        When the layout is unknown or `dims` is neither 2 nor 3.
    ValueError
        When the graph is of other items than the vectors, or the layout misbehaves.
    """
    if dims not in (2, 3):
        raise CurationError(f"dims must be 2 or 3, got {dims}")
    if not np.array_equal(vectors.item_ids, graph.item_ids):
        raise ValueError("vectors and graph must be of the same items: build the graph again")
    layout = LAYOUTS.get(name)
    xy = layout(vectors, graph, dims=dims, random_state=random_state, **params)
    if xy.shape != (len(vectors), dims) or not np.isfinite(xy).all():
        raise ValueError(
            f"layout {name!r} must return finite ({len(vectors)}, {dims}), got {xy.shape}"
        )
    return unit_box(xy)


def unit_box(xy: Float32) -> Float32:
    """Move and scale (n, d) coordinates into [0, 1], every axis by the same factor."""
    if not len(xy):
        return np.zeros(xy.shape, np.float32)
    low, high = xy.min(axis=0).astype(np.float64), xy.max(axis=0).astype(np.float64)
    extent = float((high - low).max())
    if extent == 0.0:
        return np.full(xy.shape, 0.5, np.float32)
    fitted = (xy - (low + high) / 2) / extent + 0.5
    return np.asarray(np.clip(fitted, 0.0, 1.0), np.float32)


def place(neighbour_xy: Float32) -> Float32:
    """Where new items belong on an atlas that nobody wants moved, (m, d) float32.

    Parameters
    ----------
    neighbour_xy : ndarray
        (m, k, d) coordinates of each new item's neighbours, nearest first; the median of the
        first 15, axis by axis, is the place. A median is not pulled between two clusters.
    """
    if neighbour_xy.ndim != 3 or neighbour_xy.shape[1] == 0:
        raise ValueError(f"neighbour_xy must have shape (m, k >= 1, d), got {neighbour_xy.shape}")
    return np.median(neighbour_xy[:, :PLACE_NEIGHBOURS], axis=1).astype(np.float32)


def pca_layout(
    vectors: Vectors, graph: Neighbours, *, dims: int, random_state: int, **params: Any
) -> Float32:
    """Principal components: no chance, no graph, there at once."""
    _refuse_unknown("pca", params)
    return _principal(vectors.rows, dims)


def umap_layout(
    vectors: Vectors,
    graph: Neighbours,
    *,
    dims: int,
    random_state: int,
    n_neighbors: int = UMAP_NEIGHBOURS,
    min_dist: float = 0.1,
    epochs: int | None = None,
    init: Float32 | None = None,
) -> Float32:
    """UMAP from the stored graph (McInnes, Healy and Melville 2018), starting from PCA.

    umap-learn never builds a graph of its own here: pynndescent compiles for the better part of
    a minute in every process. `init` (n, dims) starts from an older layout instead, for a re-fit
    after growth (with ``epochs=100``).
    """
    if len(vectors) < MIN_UMAP_ITEMS:
        return _principal(vectors.rows, dims)
    _cache_compiled_code()
    from umap.umap_ import find_ab_params, fuzzy_simplicial_set, simplicial_set_embedding

    chance = np.random.RandomState(random_state)
    start = _spread(_principal(vectors.rows, dims) if init is None else init, 10.0, chance)
    rows, distance = _with_self(graph, n_neighbors - 1)
    weights, _, _ = fuzzy_simplicial_set(
        vectors.rows,
        n_neighbors=rows.shape[1],
        random_state=chance,
        metric="cosine",
        knn_indices=rows,
        knn_dists=distance,
    )
    a, b = find_ab_params(1.0, min_dist)
    xy, _ = simplicial_set_embedding(
        vectors.rows,
        weights,
        n_components=dims,
        initial_alpha=1.0,
        a=a,
        b=b,
        gamma=1.0,
        negative_sample_rate=5,
        n_epochs=epochs,
        init=start,
        random_state=chance,
        metric="cosine",
        metric_kwds={},
        densmap=False,
        densmap_kwds={},
        output_dens=False,
        parallel=False,  # threads race, and the bits with them
        tqdm_kwds={"disable": True},
    )
    return np.asarray(xy, np.float32)


def tsne_layout(
    vectors: Vectors, graph: Neighbours, *, dims: int, random_state: int, **params: Any
) -> Float32:
    """t-SNE (van der Maaten 2014) from the stored graph, starting from PCA.

    The graph decides the perplexity, (k - 1) / 3: t-SNE looks at three times as many neighbours.
    """
    _refuse_unknown("tsne", params)
    if len(vectors) < MIN_TSNE_ITEMS:
        return _principal(vectors.rows, dims)
    from scipy.sparse import csr_matrix
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    rows, distance = _with_self(graph, graph.k)
    n, m = rows.shape
    euclidean = np.sqrt(2.0 * distance)  # of unit vectors whose cosine distance this is
    neighbours = csr_matrix((euclidean.ravel(), rows.ravel(), np.arange(0, n * m + 1, m)), (n, n))
    chance = np.random.RandomState(random_state)
    tsne = TSNE(
        n_components=dims,
        perplexity=(graph.k - 1) / 3,
        metric="precomputed",
        init=_spread(_principal(vectors.rows, dims), 1e-4, chance),
        random_state=chance,
    )
    # Threads add the gradient's terms in the order in which they finish.
    with threadpool_limits(1):
        return np.asarray(tsne.fit_transform(neighbours), np.float32)


def _principal(rows: Float32, dims: int) -> Float32:
    """The first principal components, (n, dims); signs fixed, zeros where there are fewer."""
    n, d = rows.shape
    if not n:
        return np.zeros((0, dims), np.float32)
    mean = rows.mean(axis=0, dtype=np.float64)
    scatter = np.zeros((d, d))
    for start in range(0, n, 4096):  # float64 copies of a part at a time
        centred = rows[start : start + 4096] - mean
        scatter += centred.T @ centred
    axes = np.linalg.eigh(scatter)[1][:, ::-1][:, :dims]
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.where(axes[largest, np.arange(axes.shape[1])] < 0, -1.0, 1.0)
    found = rows @ axes.astype(np.float32) - (mean @ axes).astype(np.float32)
    return np.pad(found, ((0, 0), (0, dims - found.shape[1])))


def _spread(xy: Float32, size: float, chance: np.random.RandomState) -> Float32:
    """Scale to +-`size` with a trace of noise: coincident items and flat axes must part."""
    widest = float(np.abs(xy - xy.mean(axis=0)).max())
    scaled = (xy - xy.mean(axis=0)) * (size / widest if widest > 1e-6 else 0.0)
    return np.asarray(scaled + chance.normal(scale=1e-4 * size, size=xy.shape), np.float32)


def _with_self(graph: Neighbours, k: int) -> tuple[Any, Float32]:
    """Rows (n, k + 1) and cosine distances with the item itself first, as both libraries expect."""
    own = np.arange(len(graph), dtype=np.int32)[:, None]
    rows = np.hstack([own, graph.rows[:, :k]])
    distance = np.clip(1.0 - graph.similarity[:, :k], 0.0, 2.0)
    return rows, np.pad(distance, ((0, 0), (1, 0))).astype(np.float32)


def _cache_compiled_code() -> None:
    """Tell numba where to keep what it compiles: importing umap takes 2 s then instead of 17.

    numba reads the variable once, when it is first imported; a choice of the user's stands.
    """
    if "numba" in sys.modules or "NUMBA_CACHE_DIR" in os.environ:
        return
    from platformdirs import user_cache_dir

    os.environ["NUMBA_CACHE_DIR"] = str(Path(user_cache_dir("curation-atlas")) / "numba")


def _refuse_unknown(name: str, params: dict[str, Any]) -> None:
    if params:
        raise TypeError(f"layout {name!r} has no parameters, got {', '.join(sorted(params))}")
