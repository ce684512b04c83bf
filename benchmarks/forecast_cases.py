"""Random lassos on real data with true labels, and a curator who was at work before."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import sources
from benchmarks.measure import Clock, Size
from curation.learning.classifier import Classifier, Proposals
from curation.learning.forecast import Calibration, Purity, forecast
from curation.learning.likeness import Likeness, likeness

STAGES = (0.0, 0.01, 0.05, 0.2)  # shares of the items that are labelled


@dataclass(frozen=True)
class Space:
    """One data set with its vectors, graph, map, clusters and true labels, by row."""

    name: str
    vectors: npt.NDArray[np.float32]
    near: npt.NDArray[np.int32]
    xy: npt.NDArray[np.float32]
    cluster: npt.NDArray[np.int32]
    truth: npt.NDArray[np.int32]
    tree: Likeness


@dataclass(frozen=True)
class Case:
    """One set at one stage: what is known when it is drawn."""

    space: Space
    stage: float
    rows: npt.NDArray[np.int32]
    codes: npt.NDArray[np.int32]
    proposals: Proposals | None
    legend: dict[int, int]

    @property
    def most(self) -> int:
        """The true label of most."""
        return int(np.bincount(self.space.truth[self.rows]).argmax())

    @property
    def purity(self) -> float:
        """The true share of it."""
        return float((self.space.truth[self.rows] == self.most).mean())

    def forecast(self, calibrated: dict[bool, Calibration], label: int | None = None) -> Purity:
        """What is said before anything is looked at."""
        space = self.space
        return forecast(
            self.rows, space.tree, space.near, space.vectors, self.codes, self.proposals,
            label=label, calibrated=calibrated,
        )  # fmt: skip


# ---- data


def _space(name: str, vectors: Any, truth: Any) -> Space:
    from embeddings.cluster import cluster
    from embeddings.neighbours import knn_graph
    from embeddings.project import project
    from embeddings.schema import Vectors

    ids = np.array([f"{row:08d}" for row in range(len(vectors))], np.str_)
    held = Vectors(ids, vectors, name)
    graph = knn_graph(held)
    xy = project("umap", held, graph)
    tree = likeness(vectors, graph.rows, graph.similarity)
    numbers, _ = cluster("hdbscan", xy)
    return Space(name, vectors, graph.rows, xy, numbers, np.asarray(truth, np.int32), tree)


def _encoded(name: str, rows: list[tuple[Path, str]], encoder: str) -> Space:
    from benchmarks.encoders import _encoded as encoded
    from embeddings import encoders

    batches = encoded([file for file, _ in rows], encoders.load(encoder), Clock(), Clock())
    return _space(
        name, np.concatenate(list(batches)), np.unique([y for _, y in rows], return_inverse=True)[1]
    )


def _digits(name: str, folder: Path, size: Size) -> Space:
    from embeddings.samples import digits

    place = digits.render(folder / "digits")
    lines = (place / "labels.csv").read_text("utf-8").split()[1:]
    pairs = [line.split(",") for line in lines]
    rows = sources.stratified(
        [(place / file, digit) for file, digit in pairs], size.pick(900, 1797)
    )
    return _encoded(name, rows, "builtin")


def _clothing(name: str, folder: Path, size: Size) -> Space:
    rows = sources.clothing(size.pick(600, 3781))
    return _encoded(name, rows, _onnx(folder / "onnx-clothing"))


def _grocery(name: str, folder: Path, size: Size) -> Space:
    place = sources.real("identity_grocery")
    with (place / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = [(place / row["path"], row["identity"]) for row in csv.DictReader(file)]
    rows = sources.stratified(rows, size.pick(400, 1182))
    return _encoded(name, rows, _onnx(folder / "onnx-grocery"))


def _onnx(folder: Path) -> str:
    folder.mkdir()
    found: str = sources.examples().mobilenet_onnx(folder, sources.real)
    return found


def _cifar(name: str, folder: Path, size: Size) -> Space:
    place = sources.real("scale_cifar10")
    some = slice(0, size.pick(5_000, 60_000))
    vectors = np.load(place / "resnet20_embedding_f16.npy")[some].astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return _space(name, vectors, np.load(place / "cifar10_jpeg.npz")["label"][some])


DATA: dict[str, Callable[[str, Path, Size], Space]] = {
    "digits": _digits,
    "grocery": _grocery,
    "clothing": _clothing,
    "cifar10": _cifar,
}


# ---- lassos, and a curator who was at work before


def cases_of(space: Space, lassos: int, seed: int) -> Iterator[Case]:
    for at, (stage, codes, proposals, legend) in enumerate(_curated(space, seed)):
        chance = np.random.default_rng((seed, at))
        for _ in range(lassos):
            rows = _drawn(space, chance)
            yield Case(space, stage, rows, codes, proposals, legend)


def _drawn(space: Space, chance: np.random.Generator) -> npt.NDArray[np.int32]:
    """A circle or a polygon with eight corners around some item, or every fifth time a cluster."""
    kind = chance.choice(["circle", "polygon", "cluster"], p=[0.4, 0.4, 0.2])
    sizes = np.bincount(space.cluster[space.cluster >= 0], minlength=1)
    if kind == "cluster" and sizes.max() >= 20:
        return np.flatnonzero(space.cluster == chance.choice(np.flatnonzero(sizes >= 20))).astype(
            np.int32
        )
    n = len(space.truth)
    items = int(np.exp(chance.uniform(np.log(20), np.log(min(3000, n // 4)))))
    away = space.xy - space.xy[chance.integers(n)] - chance.normal(0, 0.01, 2)
    reach = np.hypot(away[:, 0], away[:, 1])
    if kind == "polygon":
        corner = np.sort(chance.uniform(-np.pi, np.pi, 8))
        radius = chance.uniform(0.4, 1.6, 8)
        angle = np.arctan2(away[:, 1], away[:, 0])
        reach /= np.interp(angle, corner, radius, period=2 * np.pi)
    return np.sort(np.argsort(reach, kind="stable")[:items]).astype(np.int32)


def _curated(
    space: Space, seed: int
) -> Iterator[tuple[float, npt.NDArray[np.int32], Proposals | None, dict[int, int]]]:
    """What is labelled and proposed at each stage: cluster medoids first, then pages of 60.

    Two pages of three show the most certain proposals for one label, drawn by what they promise;
    the third the most typical open items of a cluster. What fits is confirmed, half of what does
    not is labelled rightly, and the rest is refused.
    """
    n = len(space.truth)
    hand = _Hand(space, np.random.default_rng(seed))
    yield 0.0, hand.codes.copy(), None, {}
    for stage in STAGES[1:]:
        while hand.done < int(stage * n):
            hand.act(int(stage * n) - hand.done)
        yield stage, hand.codes.copy(), hand.classifier.proposals(), dict(hand.legend)


class _Hand:
    def __init__(self, space: Space, chance: np.random.Generator) -> None:
        self.space, self.chance = space, chance
        self.codes = np.full(len(space.truth), -1, np.int32)
        self.legend: dict[int, int] = {}
        self.refused: tuple[list[int], list[int]] = ([], [])
        self.classifier = Classifier(space.vectors, space.near, space.cluster)
        self.typical = [self._typical(c) for c in range(int(space.cluster.max()) + 1)]
        self.page = 60 if len(space.truth) < 20_000 else 200
        self.turns = 0

    @property
    def done(self) -> int:
        return int(np.count_nonzero(self.codes >= 0))

    def _typical(self, cluster: int) -> npt.NDArray[np.int64]:
        rows = np.flatnonzero(self.space.cluster == cluster)
        vectors = self.space.vectors[rows]
        return rows[np.argsort(-(vectors @ vectors.sum(axis=0)), kind="stable")]

    def act(self, at_most: int) -> None:
        """Label no more than so many items."""
        if not self.turns:
            self._label(np.array([rows[0] for rows in self.typical[:at_most]], np.int64))
        elif self.turns % 3 == 0:
            self._confirm(*self._cluster_page(), at_most)
        else:
            self._confirm(*self._proposal_page(), at_most)
        self.turns += 1
        refused = tuple(np.array(held, np.int32) for held in self.refused)
        self.classifier.tell(self.codes.copy(), (refused[0], refused[1]))

    def _label(self, rows: npt.NDArray[np.int64]) -> None:
        for row in rows.tolist():
            truth = int(self.space.truth[row])
            self.codes[row] = self.legend.setdefault(truth, len(self.legend))

    def _cluster_page(self) -> tuple[npt.NDArray[np.int64], int]:
        open_ = [rows[self.codes[rows] < 0] for rows in self.typical]
        sizes = np.array([len(rows) for rows in open_], float)
        if not sizes.sum():
            return self._proposal_page()
        rows = open_[self.chance.choice(len(open_), p=sizes / sizes.sum())][: self.page]
        return rows, int(np.bincount(self.space.truth[rows]).argmax())

    def _proposal_page(self) -> tuple[npt.NDArray[np.int64], int]:
        proposed = self.classifier.proposals()
        free = np.flatnonzero((self.codes < 0) & (proposed.codes >= 0))
        if not len(free):  # nothing is proposed: any open item, alone
            some = self.chance.choice(np.flatnonzero(self.codes < 0), 1)
            return some, int(self.space.truth[some[0]])
        gain = np.bincount(proposed.codes[free], proposed.confidence[free])
        code = int(self.chance.choice(len(gain), p=gain / gain.sum()))
        rows = free[proposed.codes[free] == code]
        rows = rows[np.argsort(-proposed.confidence[rows], kind="stable")][: self.page]
        return rows, next(truth for truth, held in self.legend.items() if held == code)

    def _confirm(self, rows: npt.NDArray[np.int64], truth: int, at_most: int) -> None:
        fits = self.space.truth[rows] == truth
        half = self.chance.random(len(rows)) < 0.5
        self._label(np.concatenate([rows[fits], rows[~fits & half]])[:at_most])
        if truth in self.legend:
            rest = rows[~fits & ~half].tolist()
            self.refused[0].extend(rest)
            self.refused[1].extend([self.legend[truth]] * len(rest))
