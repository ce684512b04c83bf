"""Who is near whom in the space of an atlas, by row number: growing and ordering selections."""

import threading

import numpy as np
import numpy.typing as npt

from curation.records import known_rows
from embeddings.errors import CurationError
from embeddings.schema import Atlas, Float32, Int32, Neighbours, Vectors, rows_of
from embeddings.store import Store

SAMPLE = 20_000  # members that are enough to find the middle of a larger selection
CHUNK = 50_000  # vectors copied at a time: 100 MB at 512 dimensions


class Nearby:
    """The k-NN graph of the atlas that was asked for last, kept in RAM: 60 MB at a million items.

    Safe from several threads; nobody else waits while a graph is read.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._kept: tuple[str, int, Int32] | None = None
        self._aligned: tuple[str, int, Int32] | None = None

    def rows(self, atlas: Atlas) -> Int32:
        """Return `near_rows` of an atlas; CurationError where its space has no graph."""
        with self._lock:
            table = self._store.version(f"neighbours_{atlas.space}")
            if self._kept is None or self._kept[:2] != (atlas.version, table):
                self._kept = None  # room for the next
                graph = self._store.neighbours(atlas.space)
                if graph is None:
                    raise CurationError("there are too few images to compare them; add some")
                self._kept = (atlas.version, table, near_rows(atlas, graph))
            return self._kept[2]

    def vector_rows(self, atlas: Atlas, vectors: Vectors) -> Int32:
        """Return the row in `vectors` of each row of its atlas, (n,) int32; also kept.

        Raises
        ------
        CurationError
            When an item of the atlas has no vector.
        """
        with self._lock:
            if self._aligned is None or self._aligned[:2] != (atlas.version, len(vectors)):
                rows = np.arange(len(atlas), dtype=np.int32)
                if not np.array_equal(atlas.item_ids, vectors.item_ids):
                    rows = known_rows(vectors.item_ids, atlas.item_ids)
                self._aligned = (atlas.version, len(vectors), rows)
            return self._aligned[2]


def near_rows(atlas: Atlas, graph: Neighbours) -> Int32:
    """Return the graph by rows of the atlas, (n, k) int32: nearest first, -1 = not on the atlas.

    The graph is of a space and may know more items than the atlas, or fewer.
    """
    if np.array_equal(atlas.item_ids, graph.item_ids):
        return graph.rows
    here = np.append(atlas.rows_of(graph.item_ids), np.int32(-1))
    there = rows_of(graph.item_ids, atlas.item_ids)
    found = np.full((len(atlas), graph.k), -1, np.int32)
    found[there >= 0] = here[graph.rows[there[there >= 0]]]
    return found


def grown(rows: Int32, near: Int32, k: int) -> Int32:
    """Return the union of `rows` and the `k` nearest of each of them, sorted."""
    mask = np.zeros(len(near) + 1, np.bool_)  # the last answers for -1
    mask[rows] = True
    mask[near[rows, :k]] = True
    return np.flatnonzero(mask[:-1]).astype(np.int32)


def outwards(vectors: Float32, rows: Int32) -> tuple[npt.NDArray[np.int64], Float32]:
    """Return positions in `rows` from their medoid outwards, and the cosine distance of each.

    The medoid is the member whose summed distance to all the others is least, which for vectors
    of unit length is the one nearest to their sum. Of more than `SAMPLE` members an even sample
    of that many gives both the sum and the candidates.
    """
    some = np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE)).astype(np.int64)
    sample = vectors[rows[some]]
    medoid = int(some[np.argmax(sample @ sample.sum(axis=0))])
    distance = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), CHUNK):
        part = slice(start, start + CHUNK)
        distance[part] = 1.0 - vectors[rows[part]] @ vectors[rows[medoid]]
    np.maximum(distance, 0.0, out=distance)
    distance[medoid] = 0.0
    order = np.argsort(distance, kind="stable")
    return order, distance[order]
