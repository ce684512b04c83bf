"""What a curator makes of a sheet: its parts, its twins, more of its kind."""

from typing import Any

import numpy as np
import numpy.typing as npt

from curation.learning.batches import Batch, Pool, batch, core_first, k_means, typical
from curation.learning.classifier import NONE
from embeddings import cluster as clusters
from embeddings.errors import CurationError
from embeddings.schema import NOISE, Float32, Int32

MOST_PARTS = 6
JUDGED = 1_000  # members on which the number of parts is decided
SEEDS = 64  # of many items, so many say what is like them
EXAMPLES = 20_000  # members that are enough for the middle of a cluster


def sheet(pool: Pool, rows: Int32, title: str, proposed: str | None = None) -> Batch:
    """Return any rows as a sheet, from their densest place outwards, strays last.

    With a label that the classifier knows, the likeliest stand first and the cut is where another
    label is likelier. Without one it is where `typical` puts it.
    """
    if proposed is not None and proposed in pool.names:
        return _by_proposal(pool, rows, title, proposed)
    ordered = core_first(pool.vectors, rows)
    cut = typical(pool.vectors, ordered)
    return batch("sheet", title, ordered, cut, proposed, 0.0, 0.0)


def _by_proposal(pool: Pool, rows: Int32, title: str, proposed: str) -> Batch:
    code = list(pool.names).index(proposed)
    codes, sure = pool.proposals.codes[rows], pool.proposals.confidence[rows]
    fits = np.where(codes == code, sure, -sure)
    order = np.argsort(-fits, kind="stable")
    cut = int(np.count_nonzero(fits > 0))
    confidence = float(fits[order][:cut].mean()) if cut else 0.0
    return batch("sheet", title, rows[order], cut, proposed, confidence, 0.0)


def split(
    pool: Pool, rows: Int32, parts: int | None = None, *, xy: Float32 | None = None
) -> list[Batch]:
    """Return the parts of a mixed sheet, the largest first.

    Their vectors are clustered again: into `parts`, or into as many of 2 to 6 as stand apart best
    (silhouette). With `xy` (n, 2), the places on the map, HDBSCAN cuts the same tree finer there;
    what belongs to no part comes last.

    Raises
    ------
    CurationError
        For fewer than two items, or fewer than `parts`, or parts that cannot be told apart.
    """
    wanted = parts or 2
    if wanted < 2 or len(np.unique(pool.vectors[rows], axis=0)) < wanted:
        raise CurationError(
            f"{len(rows)} items cannot be split into {wanted} parts; select more, or other ones"
        )
    found = _on_map(xy[rows]) if xy is not None else _in_space(pool.vectors[rows], parts)
    numbered = clusters.number_by_size(found)
    numbers = [number for number in np.unique(numbered).tolist() if number >= 0]
    if xy is not None and len(numbers) < 2:
        raise CurationError("the map shows no finer parts here; split by the vectors instead")
    groups = [rows[numbered == number] for number in numbers]
    sheets = [
        sheet(pool, group, f"part {at} of {len(groups)}") for at, group in enumerate(groups, 1)
    ]
    rest = rows[numbered == NOISE]
    return [*sheets, sheet(pool, rest, "the rest")] if len(rest) else sheets


def _in_space(vectors: Float32, parts: int | None) -> Int32:
    if parts is not None:
        return k_means(vectors, parts, 0)[0]
    from sklearn.metrics import silhouette_score

    some = np.linspace(0, len(vectors) - 1, min(len(vectors), JUDGED)).astype(np.int64)
    best, best_score = None, -np.inf
    for wanted in range(2, min(MOST_PARTS, len(some) - 1, len(vectors) - 1) + 1):
        found, _ = k_means(vectors, wanted, 0)
        if len(np.unique(found[some])) < 2:
            continue
        score = float(silhouette_score(vectors[some], found[some]))
        if score > best_score:
            best, best_score = found, score
    return k_means(vectors, 2, 0)[0] if best is None else best


def _on_map(xy: Float32) -> Int32:
    smallest = max(3, round(len(xy) / 40))
    return clusters.cluster(
        "hdbscan", xy, min_cluster_size=smallest, min_samples=3, max_cluster_size=len(xy) // 2 + 1
    )[0]


def merge(pool: Pool, sheets: list[Batch]) -> Batch:
    """Return several sheets as one, with the label that they agree on where they do."""
    rows = np.unique(np.concatenate([one.rows for one in sheets])).astype(np.int32)
    proposed = {one.proposed for one in sheets}
    (name,) = proposed if len(proposed) == 1 else (None,)
    return sheet(pool, rows, " + ".join(dict.fromkeys(one.title for one in sheets)), name)


def twins(pool: Pool, rows: Int32, limit: int = 3) -> list[Batch]:
    """Return the clusters most like these rows, as far as their items are open, nearest first.

    Alike is how near the middles are; the clusters that hold most of `rows` are left out.
    """
    here = pool.cluster[rows]
    own = [number for number in np.unique(here).tolist() if (here == number).mean() >= 0.2]
    middle = _middle(pool.vectors, rows)
    found: list[tuple[float, int]] = []
    for number in np.unique(pool.cluster[pool.open]).tolist():
        if number != NOISE and number not in own:
            members = np.flatnonzero(pool.cluster == number)
            found.append((float(middle @ _middle(pool.vectors, members)), number))
    near = sorted(found, reverse=True)[:limit]
    return [
        sheet(pool, _open_of(pool, number), f"cluster {number}, {alike:.2f} alike")
        for alike, number in near
    ]


def _open_of(pool: Pool, number: int) -> Int32:
    return np.flatnonzero(pool.open & (pool.cluster == number)).astype(np.int32)


def _middle(vectors: Float32, rows: npt.NDArray[np.integer[Any]]) -> Float32:
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), EXAMPLES)).astype(np.int64)]
    mean = vectors[some].mean(axis=0)
    found: Float32 = mean / max(float(np.linalg.norm(mean)), 1e-9)
    return found


def more_like(pool: Pool, rows: Int32, limit: int = 60) -> Batch | None:
    """Return the open items nearest to any of `rows`, nearest first; None when none is open."""
    outside = pool.open.copy()
    outside[rows] = False
    candidates = np.flatnonzero(outside)
    if not len(candidates):
        return None
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), SEEDS)).astype(np.int64)]
    alike = (pool.vectors[candidates] @ pool.vectors[some].T).max(axis=1)
    order = np.argsort(-alike, kind="stable")[:limit]
    held = pool.labelled[rows]
    held = held[held != NONE]
    name = pool.names[int(np.bincount(held).argmax())] if len(held) else None
    title = f"more like these {len(rows)}"
    return batch("like", title, candidates[order], None, name, 0.0, 0.0)
