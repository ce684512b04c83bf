"""Coordinates to clusters, numbered by size."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from embeddings.registry import Registry
from embeddings.schema import NOISE, Float32, Int32

MIN_CLUSTER_SIZE = (5, 300)
MIN_SAMPLES = (5, 30)
MAX_CLUSTERS = 100  # of k-means, by default
TOO_MUCH_NOISE = 0.45
BORDER_MEMBERSHIP = 0.5


class Clusterer(Protocol):
    """What a registry entry is."""

    def __call__(self, xy: Float32, *, random_state: int, **params: Any) -> tuple[Int32, Float32]:
        """Cluster and membership (n,); any numbers do, negative is noise: `cluster` renumbers."""


CLUSTERERS: Registry[Clusterer] = Registry("clusterer", "curation_atlas.clusterers")


def cluster(
    name: str, xy: Float32, *, random_state: int = 0, **params: Any
) -> tuple[Int32, Float32]:
    """Cluster (n, d) coordinates: cluster (n,) int32 and membership (n,) float32 in [0, 1].

    Clusters are numbered by size, the biggest 0, equal ones by their first row; noise is -1 with
    membership 0. Coincident items are one cluster; with fewer items than the smallest cluster
    that the clusterer allows, all are noise.

    Raises
    ------
    CurationError
        When the clusterer is unknown.
    ValueError
        When `xy` is not finite and two-dimensional, or the clusterer misbehaves.
    """
    if xy.ndim != 2 or not np.isfinite(xy).all():
        raise ValueError(f"xy must be finite with shape (n, d), got {xy.shape}")
    clusterer = CLUSTERERS.get(name)
    n = len(xy)
    if not n:
        return np.zeros(0, np.int32), np.zeros(0, np.float32)
    found, membership = clusterer(xy, random_state=random_state, **params)
    if found.shape != (n,) or membership.shape != (n,):
        raise ValueError(
            f"clusterer {name!r} must return two arrays of shape ({n},), "
            f"got {found.shape} and {membership.shape}"
        )
    numbered = number_by_size(found)
    membership = np.clip(np.nan_to_num(membership), 0.0, 1.0).astype(np.float32)
    return numbered, np.where(numbered == NOISE, np.float32(0.0), membership)


def number_by_size(found: npt.NDArray[np.integer[Any]]) -> Int32:
    """Renumber clusters (n,): the biggest is 0, ties go to the earlier first row, noise stays."""
    names, first, inverse, count = np.unique(
        found, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -count))
    order = order[names[order] >= 0]
    number = np.full(len(names), NOISE, np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    return np.asarray(number[inverse], np.int32)


def hdbscan_clusters(
    xy: Float32,
    *,
    random_state: int,
    min_cluster_size: int | None = None,
    min_samples: int | None = None,
    max_cluster_size: int | None = None,
) -> tuple[Int32, Float32]:
    """HDBSCAN (Campello, Moulavi and Sander 2013); membership is its own probability.

    `min_cluster_size` defaults to half the square root of n, 5 to 300, and `min_samples` to an
    eighth of it, 5 to 30: a class shrinks slower than the collection grows, and more samples only
    make more noise. `max_cluster_size` 0 is no limit. By default a cluster of over a third of the
    items gives way to its parts, because excess of mass likes two or three super-clusters best
    (clothing photographs: two clusters of 92 and 8 % against 33 of purity 0.79; CIFAR-10: ARI
    0.09 to 0.23 against 0.56 and more); unless it has no parts: a dense lump would be torn, with
    over 45 % of it left as noise.
    """
    n = len(xy)
    smallest = min_cluster_size or _from_root(n, 2, MIN_CLUSTER_SIZE)
    samples = min_samples or _from_root(n, 8, MIN_SAMPLES)
    if n < smallest:
        return np.full(n, NOISE, np.int32), np.zeros(n, np.float32)
    if not np.ptp(xy, axis=0).any():
        return np.zeros(n, np.int32), np.ones(n, np.float32)
    found, membership = _hdbscan(xy, smallest, samples, max_cluster_size or 0)
    if max_cluster_size is not None:
        return found, membership
    return _with_parts(xy, found, membership, smallest, samples)


def _with_parts(
    xy: Float32, found: Int32, membership: Float32, smallest: int, samples: int
) -> tuple[Int32, Float32]:
    """Replace each cluster of over a third of the items by its parts, where it has any."""
    sizes = np.bincount(found[found >= 0], minlength=1)
    big = np.flatnonzero(sizes > len(xy) // 3)
    if not len(big):
        return found, membership
    parts, part_membership = _hdbscan(xy, smallest, samples, len(xy) // 3)
    for cluster in big:
        mine = found == cluster
        if (parts[mine] == NOISE).mean() <= TOO_MUCH_NOISE:
            found = np.where(mine & (parts >= 0), len(sizes) + parts, found)
            found = np.where(mine & (parts < 0), NOISE, found).astype(np.int32)
            membership = np.where(mine, part_membership, membership)
    return found, membership


def dbscan_clusters(
    xy: Float32, *, random_state: int, eps: float | None = None, min_samples: int | None = None
) -> tuple[Int32, Float32]:
    """DBSCAN (Ester et al. 1996); membership is 1 for core items and 0.5 at the border.

    `eps` defaults to the knee of the sorted distances to the `min_samples`-th neighbour, the
    point farthest below their chord (Satopaa et al. 2011).
    """
    from sklearn.cluster import DBSCAN

    n = len(xy)
    samples = min_samples or _from_root(n, 5, MIN_SAMPLES)
    if n < max(samples, 2):
        return np.full(n, NOISE, np.int32), np.zeros(n, np.float32)
    reach = eps if eps is not None else _knee(_kth_distance(xy, samples))
    fitted = DBSCAN(eps=max(reach, np.finfo(np.float32).tiny), min_samples=samples).fit(
        xy.astype(np.float64)
    )
    membership = np.full(n, BORDER_MEMBERSHIP, np.float32)
    membership[fitted.core_sample_indices_] = 1.0
    return fitted.labels_.astype(np.int32), membership


def kmeans_clusters(
    xy: Float32, *, random_state: int, k: int | None = None
) -> tuple[Int32, Float32]:
    """k-means; membership is 1 at the item's own centre, 0 halfway to the next one.

    `k` defaults to the square root of n / 2 (Mardia, Kent and Bibby 1979), 100 at most: small
    clusters are quick to check and to merge.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    n = len(xy)
    wanted = k or min(MAX_CLUSTERS, max(1, round(float(np.sqrt(n / 2)))))
    wanted = min(wanted, len(np.unique(xy, axis=0)))
    # Threads add up the centres in the order in which they finish.
    with threadpool_limits(1):
        fitted = KMeans(wanted, n_init=3, random_state=random_state).fit(xy.astype(np.float64))
        distance = fitted.transform(xy.astype(np.float64))
    if wanted == 1:
        return np.zeros(n, np.int32), np.ones(n, np.float32)
    nearest, second = np.partition(distance, 1, axis=1)[:, :2].T
    membership = 1.0 - nearest / np.maximum(second, np.finfo(np.float64).tiny)
    return fitted.labels_.astype(np.int32), membership.astype(np.float32)


def _hdbscan(xy: Float32, smallest: int, samples: int, largest: int) -> tuple[Int32, Float32]:
    import hdbscan

    # float64: float32 takes a slower path. One process: forking for core distances costs more
    # than it saves in two dimensions, and dies beside a running web server.
    fitted = hdbscan.HDBSCAN(
        min_cluster_size=smallest,
        min_samples=min(samples, len(xy) - 1),
        max_cluster_size=largest,
        core_dist_n_jobs=1,
    ).fit(xy.astype(np.float64))
    return fitted.labels_.astype(np.int32), fitted.probabilities_.astype(np.float32)


def _from_root(n: int, divisor: int, bounds: tuple[int, int]) -> int:
    low, high = bounds
    return min(max(round(float(np.sqrt(n)) / divisor), low), high)


def _kth_distance(xy: Float32, k: int) -> npt.NDArray[np.float64]:
    """Distance of every item to its k-th nearest, itself counted as DBSCAN counts, sorted (n,)."""
    from sklearn.neighbors import NearestNeighbors

    others = max(k - 1, 1)
    distance, _ = NearestNeighbors(n_neighbors=others).fit(xy.astype(np.float64)).kneighbors()
    return np.sort(np.asarray(distance[:, -1], np.float64))


def _knee(ascending: npt.NDArray[np.float64]) -> float:
    chord = np.linspace(ascending[0], ascending[-1], len(ascending))
    return float(ascending[np.argmax(chord - ascending)])
