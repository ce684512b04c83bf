"""New images onto the atlas that is there: each takes its place, nobody moves."""

import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from embeddings import cluster as clusters
from embeddings import project
from embeddings.schema import NOISE, Atlas, Float32, Int32, Neighbours, Vectors, rows_of

NEIGHBOURS = project.PLACE_NEIGHBOURS
CHUNK = 1 << 25  # similarities held at once: 128 MiB
REFIT_EPOCHS = 100  # enough from an old layout; a new one takes 200 to 500


def grow(base: Atlas, vectors: Vectors) -> Atlas:
    """Return `base` with the items of `vectors` that it lacks; those it has stay where they are.

    A new item stands at the coordinate-wise median of its 15 nearest placed neighbours, in the
    cluster that more than half of them belong to, else in noise. The version is a content hash of
    the base's version and of the vectors added.
    """
    placed = rows_of(vectors.item_ids, base.item_ids)
    if (placed < 0).any():
        raise ValueError("the atlas has items that the vectors lack: they are of another space")
    new = np.setdiff1d(np.arange(len(vectors)), placed)
    if not len(new):
        return base
    place = _Places(base, vectors.rows[placed])
    parts = [place(vectors.rows[new[rows]]) for rows in _chunks(len(new), len(base))]
    xy, cluster, membership, outlier = (np.concatenate(part) for part in zip(*parts, strict=True))
    item_ids = np.concatenate([base.item_ids, vectors.item_ids[new]])
    order = np.argsort(item_ids)
    return Atlas(
        item_ids[order],
        np.concatenate([base.xy, xy])[order],
        np.concatenate([base.cluster, cluster])[order],
        np.concatenate([base.membership, membership])[order],
        np.concatenate([base.outlier_score, outlier])[order],
        _version(base, vectors, new),
        base.space,
        {**base.params, "base": base.version, "added": len(new)},
    )


def refit(base: Atlas, vectors: Vectors, graph: Neighbours) -> tuple[Float32, Int32, Float32]:
    """Lay grown items out anew from where they stand: coordinates, clusters, membership.

    The arrangement stays recognisable; it is a new version that the curator chooses.
    """
    params = base.params
    more = {"init": base.xy, "epochs": REFIT_EPOCHS} if params["layout"] == "umap" else {}
    xy = project.project(
        params["layout"], vectors, graph, dims=base.dims, random_state=params["seed"], **more
    )
    cluster, membership = clusters.cluster(params["cluster"], xy, random_state=params["seed"])
    return xy, cluster, membership


class _Places:
    """Finds places among the items (n, d) `rows` of an atlas."""

    def __init__(self, base: Atlas, rows: Float32) -> None:
        self.base, self.rows = base, rows

    def __call__(self, new: Float32) -> tuple[Float32, Int32, Float32, Float32]:
        """Return coordinates, cluster, membership and outlier score of new vectors (m, d)."""
        similarity = new @ self.rows.T
        k = min(NEIGHBOURS, len(self.rows))
        near = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        near.sort(axis=1)  # ties go by row number, whatever the partition did
        order = np.argsort(-np.take_along_axis(similarity, near, axis=1), axis=1, kind="stable")
        near = np.take_along_axis(near, order, axis=1)
        mean = np.take_along_axis(similarity, near, axis=1).mean(axis=1)
        outlier = np.clip(1.0 - mean, 0.0, 1.0).astype(np.float32)
        cluster, share = _vote(self.base.cluster[near])
        return project.place(self.base.xy[near]), cluster, share, outlier


def _vote(votes: Int32) -> tuple[Int32, Float32]:
    """Return the cluster that more than half of each row's votes name, and its share."""
    winner = np.sort(votes, axis=1)[:, votes.shape[1] // 2]  # a majority is the median
    share = (votes == winner[:, None]).mean(axis=1).astype(np.float32)
    sure = (share > 0.5) & (winner != NOISE)
    return (
        np.where(sure, winner, NOISE).astype(np.int32),
        np.where(sure, share, 0.0).astype(np.float32),
    )


def _chunks(count: int, width: int) -> Iterator[slice]:
    step = max(1, CHUNK // max(width, 1))
    for start in range(0, count, step):
        yield slice(start, start + step)


def _version(base: Atlas, vectors: Vectors, new: npt.NDArray[np.intp]) -> str:
    digest = hashlib.sha256(base.version.encode())
    digest.update("\n".join(vectors.item_ids[new].tolist()).encode())
    digest.update(np.ascontiguousarray(vectors.rows[new]).data)
    return digest.hexdigest()[:16]
