"""What a curator sees next: sheets of items that probably share a label, and the queue of them.

A sheet is worth its *gain*: labels won per act, an act being a screen to look through, a stray to
click away, a name to give. The queue is ordered by it, so whole screens of the surest proposals
come first, while the classifier still learns, and the doubtful ones when it has learned most.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.learning.classifier import NONE, Proposals
from embeddings.errors import CurationError
from embeddings.schema import Float32, Int32

Mask = npt.NDArray[np.bool_]

SCREEN = 60  # thumbnails that stand on a screen at once
MOST = 10 * SCREEN  # items of the largest sheet
STRAY_ACTS = 1.1  # a stray is clicked away, and named with a few like it
DOUBT = 0.5  # less likely than this, an item stands behind the cut
FALL = 0.1  # a sheet ends where its items are so much less likely than its first
AT_ONCE = 3  # sheets of a mode that picks items one after the other, a screen a sheet
HOPE = 0.9  # share of an unnamed cluster's core that is taken to be of one kind
# Items that stand for all where each is compared with many: a skip waits for it.
FARTHEST, AGAINST, MIDDLES = 8_000, 300, 5_000
DENSEST = 2_000, 1 << 29  # items of a cluster, and multiplications to compare them with each other
ROUNDS = 10  # of k-means: what more would find is no better a middle


@dataclass(frozen=True)
class Batch:
    """A sheet of items that probably share a label.

    `rows` (m,) int32 of the atlas, most typical first; those from `cut` on are suspected strays.
    `proposed` is the label to confirm, None = somebody must name them. `confidence` is the share
    of `rows` before the cut that `proposed` should fit; `gain` the labels that an act should win:
    below 1 naming the items one by one is faster.
    `key` stays the same while the sheet does.
    """

    key: str
    title: str
    rows: Int32
    cut: int
    proposed: str | None
    confidence: float
    gain: float

    def __post_init__(self) -> None:
        if not 0 <= self.cut <= len(self.rows):
            raise ValueError(f"cut must be in 0 to {len(self.rows)}, got {self.cut}")

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Pool:
    """What is known when sheets are made, by row of the atlas.

    `vectors` (n, d) of unit length; `near` (n, k) neighbours, -1 = none; `cluster` (n,), -1 =
    noise; `open` (n,) which items wait for a label; `labelled` (n,) the codes that stand, -1 =
    none; `proposals` of all items; `names` of the codes; `begun` the clusters of which a part is
    on other sheets.
    """

    vectors: Float32
    near: Int32
    cluster: Int32
    open: Mask
    labelled: Int32
    proposals: Proposals
    names: Sequence[str]
    begun: Int32 = field(default_factory=lambda: np.zeros(0, np.int32))

    def __len__(self) -> int:
        return len(self.open)

    def without(self, rows: Int32) -> "Pool":
        """Return what is left when these rows, (m,), are on other sheets."""
        left = self.open.copy()
        left[rows] = False
        return replace(self, open=left, begun=np.unique(self.cluster[rows]))


# ---- the queue


def queue(
    pool: Pool, mode: str = "gain", *, limit: int = 12, size: int = MOST, random_state: int = 0
) -> list[Batch]:
    """Return the sheets to look at next, best first, at most `limit`; none when all is done.

    Parameters
    ----------
    mode : str
        ``gain``: the most labels per act. ``uncertain``: the least sure first. ``diverse``: items
        far from each other and from what is labelled. ``representative``: the middles of what is
        not labelled. ``random``: chance.
    size : int
        Items of the largest sheet.

    Raises
    ------
    CurationError
        For an unknown mode.
    """
    if mode not in MODES:
        raise CurationError(f"unknown mode of the queue {mode!r}; known: {', '.join(MODES)}")
    if not pool.open.any():
        return []
    return MODES[mode](pool, size, limit, np.random.default_rng(random_state))[:limit]


def by_gain(pool: Pool, size: int, limit: int, chance: np.random.Generator) -> list[Batch]:
    """Return a sheet for each proposed label and each cluster that nobody touched, by gain.

    Clusters of half a screen and more come first, the largest before the others: a kind that
    nobody has named cannot be proposed, and spoils what is. Of those that somebody has before them
    or passed over, the rest waits for its turn.
    """
    untouched = fresh(pool, size, limit)
    first = [batch for batch in untouched if len(batch) >= SCREEN // 2]
    rest = fresh(pool, size, limit, begun=True)
    others = [*untouched[len(first) :], *rest, *proposed(pool, size)]
    found = [*first, *sorted(others, key=lambda batch: -batch.gain)]
    return found or representative(pool, size, limit, chance)


def proposed(pool: Pool, size: int = MOST) -> list[Batch]:
    """Return for each label the surest of the items that it is proposed for."""
    codes = np.where(pool.open, pool.proposals.codes, NONE)
    rows = np.flatnonzero(codes != NONE)
    rows = rows[np.lexsort((-pool.proposals.confidence[rows], codes[rows]))]
    groups = np.split(rows, np.flatnonzero(np.diff(codes[rows])) + 1) if len(rows) else []
    known = np.bincount(pool.labelled[pool.labelled != NONE], minlength=len(pool.names))
    return [
        _sure_sheet(pool, group, max(int(known[codes[group[0]]]), SCREEN), size) for group in groups
    ]


def _sure_sheet(pool: Pool, rows: npt.NDArray[np.int64], known: int, size: int) -> Batch:
    """Return the first of `rows`, all of one code: whole screens, no more than are `known`."""
    sure = pool.proposals.confidence[rows]
    most = min(size, MOST, known)
    alike = int(np.count_nonzero(sure >= sure[0] - FALL))
    take = max(SCREEN, min(alike, most) // SCREEN * SCREEN)
    if take + SCREEN // 2 >= len(rows):
        take = len(rows)
    rows, sure = rows[:take], sure[:take]
    name = pool.names[pool.proposals.codes[rows[0]]]
    cut = int(np.count_nonzero(sure >= DOUBT))
    gain = worth(sure)
    part = sure[:cut] if cut else sure
    return batch("label", name, rows, cut, name, float(part.mean()), gain)


def worth(sure: Float32) -> float:
    """Return the labels that an act wins on a sheet of items of these confidences, (m,).

    Acts are a screen each and whatever stands on the wrong side of the cut. A stray before the cut
    wins its label too, by a little more than its click: several of a kind are named together, and
    the others come back with their second guess.
    """
    wrong = np.minimum(sure, 1 - sure)
    won = np.where(sure >= DOUBT, 1, sure).sum()
    return float(won / (-(-len(sure) // SCREEN) + STRAY_ACTS * wrong.sum()))


def fresh(pool: Pool, size: int, limit: int, *, begun: bool = False) -> list[Batch]:
    """Return the cores of clusters in which nobody has labelled anything yet, largest first.

    At most `limit`, either of the clusters that are `begun` or of the others.
    """
    several = int(pool.cluster.max(initial=NONE)) + 2  # the noise is counted too, first
    waiting = np.bincount(pool.cluster[pool.open] + 1, minlength=several)[1:]
    touched = np.bincount(pool.cluster[pool.labelled != NONE] + 1, minlength=several)[1:]
    numbers = np.flatnonzero((waiting > 0) & (touched == 0))
    numbers = numbers[np.isin(numbers, pool.begun) == begun]
    numbers = numbers[np.argsort(-waiting[numbers], kind="stable")][:limit]
    rows = np.flatnonzero(pool.open & np.isin(pool.cluster, numbers))
    rows = rows[np.argsort(pool.cluster[rows], kind="stable")]
    ends = np.cumsum(waiting[np.sort(numbers)])[:-1]
    groups = {int(pool.cluster[mine[0]]): mine for mine in np.split(rows, ends) if len(mine)}
    return [_core_sheet(pool, number, groups[number], size) for number in numbers.tolist()]


def _core_sheet(pool: Pool, number: int, rows: npt.NDArray[np.int64], size: int) -> Batch:
    ordered = core_first(pool.vectors, rows)[: min(size, SCREEN)]
    gain = worth(np.full(len(ordered), HOPE, np.float32))
    cut = typical(pool.vectors, ordered)
    return batch("cluster", f"cluster {number}", ordered, cut, None, HOPE, gain)


def uncertain(pool: Pool, size: int, limit: int, chance: np.random.Generator) -> list[Batch]:
    """Return the least sure items, one sheet for each label that is proposed for them."""
    rows = np.flatnonzero(pool.open)
    least = rows[np.argsort(pool.proposals.confidence[rows], kind="stable")][:size]
    found = []
    for code in np.unique(pool.proposals.codes[least]).tolist():
        mine = least[pool.proposals.codes[least] == code][::-1]
        sure = pool.proposals.confidence[mine]
        name = None if code == NONE else pool.names[code]
        cut = int(np.count_nonzero(sure >= DOUBT))
        gain = worth(sure)
        title = f"unsure: {name or 'no proposal'}"
        found.append(batch("unsure", title, mine, cut, name, float(sure.mean()), gain))
    return sorted(found, key=lambda one: one.confidence)


def diverse(pool: Pool, size: int, limit: int, chance: np.random.Generator) -> list[Batch]:
    """Return sheets of items far from each other and from what is labelled (k-centre)."""
    rows = np.flatnonzero(pool.open)
    some = chance.choice(rows, min(len(rows), FARTHEST), replace=False)
    held = np.flatnonzero(pool.labelled != NONE)
    held = chance.choice(held, min(len(held), AGAINST), replace=False)
    vectors = pool.vectors[some]
    nearest = np.full(len(some), -1.0, np.float32)
    if len(held):
        nearest = (vectors @ pool.vectors[held].T).max(axis=1)
    picked = []
    for _ in range(min(min(size, SCREEN) * min(limit, AT_ONCE), len(some))):
        at = int(nearest.argmin())
        picked.append(at)
        nearest = np.maximum(nearest, vectors @ vectors[at])
        nearest[at] = np.inf
    return _screens("diverse", "far from all others", some[picked], size)


def representative(pool: Pool, size: int, limit: int, chance: np.random.Generator) -> list[Batch]:
    """Return sheets of the middles of what is not labelled (k-means, one item a part and sheet)."""
    rows = np.flatnonzero(pool.open)
    some = np.sort(chance.choice(rows, min(len(rows), MIDDLES), replace=False))
    wanted = min(size, SCREEN, len(some))
    vectors = pool.vectors[some]
    seed = int(chance.integers(2**31))
    _, centres = k_means(vectors, wanted, seed, init="random", max_iter=ROUNDS)
    alike = vectors @ centres.T
    found: list[Batch] = []
    while len(found) < min(limit, AT_ONCE) and np.isfinite(alike[:, 0]).any():
        middles = np.unique(alike.argmax(axis=0))
        found.append(batch("representative", "the middles", some[middles], None, None, 0.0, 1.0))
        alike[middles] = -np.inf
    return found


def at_random(pool: Pool, size: int, limit: int, chance: np.random.Generator) -> list[Batch]:
    """Return sheets of items picked by chance."""
    rows = np.flatnonzero(pool.open)
    most = min(size, SCREEN) * min(limit, AT_ONCE)
    return _screens("random", "by chance", chance.permutation(rows)[:most], size)


def _screens(kind: str, title: str, rows: npt.NDArray[np.int64], size: int) -> list[Batch]:
    """Return rows, in their order, as sheets of a screen."""
    most = min(size, SCREEN)
    parts = [rows[start : start + most] for start in range(0, len(rows), most)]
    return [batch(kind, title, part, None, None, 0.0, 1.0) for part in parts]


MODES: dict[str, Callable[[Pool, int, int, np.random.Generator], list[Batch]]] = {
    "gain": by_gain,
    "uncertain": uncertain,
    "diverse": diverse,
    "representative": representative,
    "random": at_random,
}


# ---- parts


def batch(
    kind: str,
    title: str,
    rows: npt.NDArray[np.integer[Any]],
    cut: int | None,
    proposed: str | None,
    confidence: float,
    gain: float,
) -> Batch:
    """Return a batch whose key tells its kind, its label and its rows; no cut means no strays."""
    ordered = rows.astype(np.int32)
    digest = hashlib.sha256(np.sort(ordered).tobytes()).hexdigest()[:16]
    return Batch(
        f"{kind}-{digest}",
        title,
        ordered,
        len(ordered) if cut is None else cut,
        proposed,
        confidence,
        gain,
    )


def core_first(vectors: Float32, rows: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """Return `rows` ordered outwards from their densest place, not from their mean.

    The mean of two kinds lies between them, where an item of either is least typical.
    """
    most = min(len(rows), DENSEST[0], int((DENSEST[1] / vectors.shape[1]) ** 0.5))
    some = rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
    alike = vectors[some] @ vectors[some].T
    k = min(len(some), 15)
    nearest = np.partition(alike, -k, axis=1)[:, -k:].mean(axis=1)
    middle = some[np.argsort(-alike[nearest.argmax()], kind="stable")[:k]]
    order = np.argsort(-(vectors[rows] @ vectors[middle].mean(axis=0)), kind="stable")
    return np.asarray(rows[order], np.int64)


def typical(vectors: Float32, ordered: npt.NDArray[np.integer[Any]]) -> int:
    """Return how many of the items, from the core outwards, are not suspected to be strays.

    A stray is farther from the core than three deviations (MAD) of the others.
    """
    alike = vectors[ordered] @ vectors[ordered[: min(15, len(ordered))]].mean(axis=0)
    middle = float(np.median(alike))
    deviation = 1.4826 * float(np.median(np.abs(alike - middle)))
    return int(np.count_nonzero(alike >= middle - 3 * max(deviation, 1e-6)))


def k_means(rows: Float32, parts: int, random_state: int, **options: Any) -> tuple[Int32, Float32]:
    """Return the part of each row (m,) and the centres (parts, d); `options` are scikit-learn's."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # threads add up centres in the order in which they finish
        fitted = KMeans(parts, n_init=1, random_state=random_state, **options).fit(rows)
    return fitted.labels_.astype(np.int32), fitted.cluster_centers_.astype(np.float32)
