"""The items of a space on one line, alike beside alike: from the k-NN graph, without any label."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embeddings.schema import Float32, Int32

CELLS = 2_000  # of which the tree is exact; it takes the square of that in memory
GROUPS = (10, 40)  # how many groups the tree is cut into
CHUNK = 50_000

Vectors = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Likeness:
    """A tree over the n items of a space.

    `line` (n,) int32 is the place of each item's cell among the leaves: a stretch of it is a
    branch. `groups` (2, n) int32 is the branch of each item where the tree has `GROUPS` of them.
    """

    line: Int32
    groups: Int32

    def __len__(self) -> int:
        return len(self.line)


def likeness(vectors: Vectors, near: Int32, similarity: Float32) -> Likeness:
    """Build the tree of a space, once: 2 s for 100,000 items.

    Each item joins its nearest neighbour, and each cell that comes of it the cell with which it
    shares the strongest edges, until `CELLS` are left (the first neighbours of Sarfraz, Sharma
    and Stiefelhagen 2019, on the stored graph); Ward's tree joins their means.

    Parameters
    ----------
    vectors : (n, d) float16 or float32
        Of unit length.
    near : (n, k) int32
        Neighbours by row, nearest first, -1 = none.
    similarity : (n, k) float32
        Cosine of each.
    """
    from scipy.cluster.hierarchy import fcluster, leaves_list, linkage

    cell = _few_cells(vectors, near, similarity)
    means = _means(vectors, cell)
    if len(means) < 2:
        return Likeness(np.zeros(len(near), np.int32), np.zeros((2, len(near)), np.int32))
    tree = linkage(means, "ward")
    place = np.empty(len(means), np.int32)
    place[leaves_list(tree)] = np.arange(len(means), dtype=np.int32)
    groups = [fcluster(tree, min(most, len(means)), "maxclust") - 1 for most in GROUPS]
    return Likeness(place[cell], np.stack(groups)[:, cell].astype(np.int32))


def _few_cells(vectors: Vectors, near: Int32, similarity: Float32) -> Int32:
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(near)
    cell = np.arange(n, dtype=np.int32)
    count = n
    while count > CELLS:
        partner = near[:, 0] if count == n and near.shape[1] else _partners(cell, near, similarity)
        partner = np.where(partner < 0, np.arange(count), partner)
        links = csr_matrix((np.ones(count), (np.arange(count), partner)), shape=(count, count))
        joined, of = connected_components(links, directed=False)
        if joined == count:
            return _along_main_axis(vectors, cell)
        cell, count = of[cell].astype(np.int32), joined
    return cell


def _partners(cell: Int32, near: Int32, similarity: Float32) -> npt.NDArray[np.int64]:
    """The cell (m,) with which each shares most similarity for its size; -1 = with none."""
    from scipy.sparse import csr_matrix

    count = int(cell.max(initial=-1)) + 1
    own = np.repeat(cell, near.shape[1])
    other = np.where(near >= 0, cell[near], -1).ravel()
    across = (other >= 0) & (own != other)
    edges = (similarity.ravel()[across].astype(np.float64), (own[across], other[across]))
    weights = csr_matrix(edges, shape=(count, count))
    weights = (weights + weights.T).tocsr()
    size = np.bincount(cell, minlength=count)
    weights.data /= np.sqrt(size[weights.indices])
    best = np.asarray(weights.argmax(axis=1)).ravel().astype(np.int64)
    return np.where(np.diff(weights.indptr) > 0, best, -1)


def _along_main_axis(vectors: Vectors, cell: Int32) -> Int32:
    """Cells that no edge joins, stretch by stretch along the first principal axis."""
    means = _means(vectors, cell)
    axis = np.linalg.svd(means[:CELLS] - means.mean(axis=0), full_matrices=False)[2][0]
    rank = np.empty(len(means), np.int64)
    rank[np.argsort(means @ axis, kind="stable")] = np.arange(len(means))
    return (rank * CELLS // len(means)).astype(np.int32)[cell]


def _means(vectors: Vectors, cell: Int32) -> npt.NDArray[np.float32]:
    from scipy.sparse import csr_matrix

    count = int(cell.max(initial=-1)) + 1
    total = np.zeros((count, vectors.shape[1]), np.float32)
    for start in range(0, len(cell), CHUNK):
        part = cell[start : start + CHUNK]
        ones = np.ones(len(part), np.float32)
        sums = csr_matrix((ones, (part, np.arange(len(part)))), shape=(count, len(part)))
        total += sums @ vectors[start : start + CHUNK].astype(np.float32)
    size = np.bincount(cell, minlength=count)[:, None]
    return np.asarray(total / size, np.float32)
