"""What the machine suggests to a curator, bound to a workspace: `assistant(workspace)`.

The Clean page, the command line and the simulated curator of `benchmarks/curator` use the same
calls::

    helper = assistant(workspace)                # cached by workspace, atlas and field; thread-safe
    sheet = helper.queue()[0]                    # a Batch: rows, cut, proposed, confidence, gain
    helper.guesses(sheet.rows[sheet.cut :])      # for strays: the likeliest labels, best first
    helper.confirm(sheet, strays=[...])          # labels what is before the cut, refuses the strays
    helper.confirm(sheet, value="cat")           # the same where the sheet had no name
    workspace.label(helper.selection(rows), "dog")  # any other act goes to the workspace as ever
    helper.refuse(rows, "cat")                   # "not a cat": back to the pool, never proposed so

Every answer follows the journal: what this process, another one or an undo decided is learned when
the next question is asked, in well under 200 ms at 100,000 items. Nothing that the machine
proposes is a label before somebody accepts it.

Rows are those of the assistant's atlas, int32. Items that carry a label of the field, or are
excluded, are in no sheet of the queue.
"""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from curation.journal import Overtaken
from curation.learning import batches, parts
from curation.learning.batches import Batch, Pool
from curation.learning.calibration import expected_calibration_error
from curation.learning.classifier import NONE, Classifier, Pairs, Proposals
from curation.learning.names import Vocabulary, Words
from curation.learning.spreading import Spread, spread
from curation.schema import FIELDS, Act, Decision, Selection
from curation.workspace import Workspace
from embeddings.errors import CurationError
from embeddings.schema import Atlas, Float32, Int32

RELIVED = 12  # steps in which a new process learns what stands already
KEPT = 2  # assistants of one workspace: each holds a map of the vectors, 100 MB at 100,000 items

__all__ = ["Assistant", "Batch", "Calibration", "Guess", "Progress", "assistant"]


@dataclass(frozen=True)
class Guess:
    """A label that an item may have, and how likely that is."""

    label: str
    confidence: float


@dataclass(frozen=True)
class Progress:
    """How far a field is: counts of the items of the atlas, and the newest decision counted."""

    seq: int
    items: int
    labelled: int
    excluded: int
    open: int


@dataclass(frozen=True)
class Calibration:
    """How right the proposals were that people decided on: `error` is the ECE over 15 bins."""

    judged: int
    right: float
    error: float


class Assistant:
    """Proposals and sheets for one field of one atlas. Make it with `assistant`.

    `version` and `field` say of which; `atlas` is the atlas itself. `random_state` decides which
    items are the landmarks of the classifier.
    """

    def __init__(
        self, workspace: Workspace, atlas: Atlas, field: str, random_state: int = 0
    ) -> None:
        self.workspace = workspace
        self.atlas = atlas
        self.field = field
        self.version = atlas.version
        self._lock = threading.RLock()
        vectors = workspace.vectors(atlas.space)
        near = workspace._nearby
        at = near.vector_rows(atlas, vectors)
        same = np.array_equal(at, np.arange(len(vectors)))
        self._vectors = vectors.rows if same else vectors.rows[at]
        alone = workspace.graph(atlas.space) is None  # too few images to have neighbours
        self._near = np.zeros((len(atlas), 0), np.int32) if alone else near.rows(atlas)
        self._learner = Classifier(
            self._vectors, self._near, atlas.cluster, random_state=random_state
        )
        self._names: list[str] = []
        self._codes: Int32 = np.full(len(atlas), NONE, np.int32)
        self._excluded = np.zeros(len(atlas), np.bool_)
        self._seq = -1
        self._words: Words | None = None

    @property
    def near(self) -> Int32:
        """The neighbours of each row of the atlas, (n, k), nearest first, -1 = none."""
        return self._near

    @property
    def vectors(self) -> Float32:
        """The vector of each row of the atlas, (n, d) of unit length."""
        return self._vectors

    # ---- following the journal

    def refresh(self) -> int:
        """Learn what was decided since the last call; return the newest seq that counts.

        Every other call does this first.
        """
        with self._lock:
            labels = self.workspace.labels
            labels.refresh()
            with labels.still() as seq:
                if seq == self._seq:
                    return seq
                numbers = self.workspace.item_nos(self.version)
                codes, names = labels.codes(self.field)
                self._codes = codes[numbers]
                self._excluded = self.workspace.excluded(numbers)
                refused = labels.refused(self.field)
                times = labels.decided_at(numbers, self.field) if self._seq < 0 else None
            self._names = names
            self._seq = seq
            learned = np.where(self._excluded, NONE, self._codes).astype(np.int32)
            if times is not None:
                self._relive(learned, times)
            self._learner.tell(learned, self._pairs(refused))
            return seq

    def _relive(self, learned: Int32, times: npt.NDArray[np.object_]) -> None:
        """Tell what stands in the order in which it was decided, in a few steps.

        Confidence is corrected by what came of earlier proposals; a process that has just begun
        makes them anew, roughly: many decisions are one step, and chance has moved on.
        """
        labelled = np.flatnonzero(learned != NONE)
        order = labelled[np.argsort(times[labelled].astype(np.str_), kind="stable")]
        seen = np.full(len(learned), NONE, np.int32)
        for part in np.array_split(order, RELIVED)[:-1]:
            seen[part] = learned[part]
            self._learner.tell(seen)

    def _pairs(self, refused: Mapping[str, BitMap]) -> Pairs:
        """Return the rows and the codes (m,) that were refused; a label nobody gave has no code."""
        known = {name: code for code, name in enumerate(self._names)}
        rows = {
            known[name]: self.workspace.rows_with(items, self.version)
            for name, items in refused.items()
            if name in known
        }
        codes = [np.full(len(those), code, np.int32) for code, those in rows.items()]
        nothing = np.zeros(0, np.int32)
        return np.concatenate([nothing, *rows.values()]), np.concatenate([nothing, *codes])

    def _pool(self) -> Pool:
        self.refresh()
        return Pool(
            self._vectors,
            self._near,
            self.atlas.cluster,
            (self._codes == NONE) & ~self._excluded,
            self._codes,
            self._learner.proposals(),
            self._names,
        )

    # ---- questions

    def progress(self) -> Progress:
        """Return how far the field is."""
        with self._lock:
            self.refresh()
            labelled = (self._codes != NONE) & ~self._excluded
            counts = int(labelled.sum()), int(self._excluded.sum())
            return Progress(self._seq, len(self.atlas), *counts, len(self.atlas) - sum(counts))

    def proposals(self) -> tuple[Proposals, list[str]]:
        """Return what is proposed for each row of the atlas, and the label of each code.

        Items that have a label already get a proposal too: where the two differ, look again.
        """
        with self._lock:
            self.refresh()
            return self._learner.proposals(), list(self._names)

    def guesses(
        self, rows: Sequence[int] | npt.NDArray[np.integer[Any]], most: int = 3
    ) -> list[list[Guess]]:
        """Return the likeliest labels of each of `rows`, best first, at most `most` of each."""
        with self._lock:
            self.refresh()
            codes, sure = self._learner.likeliest(np.asarray(rows, np.int64), most)
            return [
                [Guess(self._names[code], one) for code, one in zip(*mine, strict=True) if one > 0]
                for mine in zip(codes.tolist(), sure.tolist(), strict=True)
            ]

    def words(self) -> Vocabulary | None:
        """Return the encoder's words; None until they are made, in a thread."""
        with self._lock:
            if self._words is None:
                made = self.workspace.store.spaces()[self.atlas.space]
                spec, folder = str(made.get("spec", made["encoder"])), self.workspace.dataset.path
                self._words = Words(spec, made["encoder"], self._vectors.shape[1], folder / "words")
            return self._words.ready()

    def queue(
        self,
        mode: str = "gain",
        *,
        limit: int = 12,
        size: int = batches.MOST,
        seed: int = 0,
        without: Sequence[int] | npt.NDArray[np.integer[Any]] = (),
    ) -> list[Batch]:
        """Return the sheets to look at next, best first; none when nothing is open.

        `mode` is ``gain``, ``uncertain``, ``diverse``, ``representative`` or ``random``; see
        `curation.learning.batches.queue`. `size` is the most items of a sheet. `without`
        are rows that are on no sheet: others have them before them, or they were passed over.
        """
        with self._lock:
            pool = self._pool()
            if len(without):
                pool = pool.without(np.asarray(without, np.int32))
            return batches.queue(pool, mode, limit=limit, size=size, random_state=seed)

    def sheet(
        self, rows: Int32, title: str = "selected", proposed: str | None = None
    ) -> Batch | None:
        """Return any rows as a sheet, a lasso say; None when none of them is open."""
        with self._lock:
            pool = self._pool()
            mine = self._open(pool, rows)
            return parts.sheet(pool, mine, title, proposed) if len(mine) else None

    def cluster(self, number: int) -> Batch | None:
        """Return the open items of one cluster as a sheet; None when there are none."""
        members = np.flatnonzero(self.atlas.cluster == number).astype(np.int32)
        return self.sheet(members, f"cluster {number}")

    def split(self, rows: Int32, into: int | None = None, *, on_map: bool = False) -> list[Batch]:
        """Return the parts of a mixed sheet, the largest first (`curation.learning.parts.split`).

        `on_map` cuts the tree of the map's clusters finer, else the vectors are clustered again.
        """
        with self._lock:
            pool = self._pool()
            xy = self.atlas.xy if on_map else None
            return parts.split(pool, self._open(pool, rows), into, xy=xy)

    def merge(self, sheets: Sequence[Batch]) -> Batch:
        """Return several sheets as one, with the label that they agree on where they do."""
        with self._lock:
            return parts.merge(self._pool(), list(sheets))

    def twins(self, rows: Int32, limit: int = 3) -> list[Batch]:
        """Return the clusters most like these rows, as far as they are open, nearest first."""
        with self._lock:
            return parts.twins(self._pool(), rows, limit)

    def more_like(self, rows: Int32, limit: int = batches.SCREEN) -> Batch | None:
        """Return the open items nearest to any of `rows`, nearest first; None when none is open."""
        with self._lock:
            return parts.more_like(self._pool(), rows, limit)

    def spread(self, at_least: float = 0.95) -> Spread:
        """Return the labels that reach open items along the k-NN graph, surely enough.

        They are proposals: `curation.learning.spreading.spread` says how they are judged. What is
        labelled is easier than what is open, so the classifier, which is judged by what it
        proposed for items that were open, must say the same and be as sure. Others go on working
        meanwhile: what got a label since is left out, and `behind` counts what changed.
        """
        with self._lock:
            self.refresh()
            known = self._learner.known
        found = spread(self._near, known, at_least=at_least)  # long: nobody else waits for it
        with self._lock:
            pool = self._pool()
            reached, said = found.proposals, pool.proposals
            sure = np.minimum(reached.confidence, said.confidence)
            told = pool.open & (reached.codes == said.codes) & (sure >= at_least)
            codes = np.where(told, reached.codes, NONE).astype(np.int32)
            proposals = Proposals(codes, np.where(told, sure, 0).astype(np.float32))
            behind = int(np.count_nonzero(known != self._learner.known))
            return replace(found, proposals=proposals, behind=behind)

    def calibration(self) -> Calibration:
        """Return how right the proposals were of which people decided, in this process."""
        with self._lock:
            self.refresh()
            said, right = self._learner.odds.outcomes()
            error = expected_calibration_error(said, right)
            return Calibration(len(said), float(right.mean()) if len(said) else 0.0, error)

    def selection(self, rows: Sequence[int] | npt.NDArray[np.integer[Any]]) -> Selection:
        """Return these rows as a selection, which the acts of a workspace take."""
        return Selection.of(self.atlas, np.unique(np.asarray(rows, np.int32)))

    # ---- acts

    def confirm(
        self,
        sheet: Batch,
        strays: Sequence[int] | npt.NDArray[np.integer[Any]] = (),
        *,
        value: str | None = None,
        cut: int | None = None,
        picked: Sequence[int] | npt.NDArray[np.integer[Any]] = (),
        refuse_rest: bool = False,
        made_by: str | None = None,
    ) -> Decision | None:
        """Label what stands before the cut with `value`, or with what the sheet proposes.

        `strays` are rows before the cut that were clicked away: they are refused, and go back to
        the pool. `picked` are rows behind the cut that belong after all. `cut` is where the
        curator drew it. What remains behind the cut was not decided on, and nothing happens to
        it, unless `refuse_rest` says that it was looked at and is not of the kind. None when
        nothing was left to label: what has a label by now, of this curator or another, keeps it.
        Label and refusal are one step, which undo takes back whole.

        Raises
        ------
        CurationError
            When the sheet has no name and none is given; else as `Workspace.label`.
        """
        name = value or sheet.proposed
        if name is None:
            raise CurationError(f"{sheet.title!r} has no label yet; name it to confirm it")
        before, behind = np.split(sheet.rows, [sheet.cut if cut is None else cut])
        kept = np.union1d(np.setdiff1d(before, np.asarray(strays, np.int32)), picked)
        rest = np.setdiff1d(behind, picked) if refuse_rest else behind[:0]
        labels, refused = {self.field: name}, np.union1d(strays, rest).astype(np.int32)
        kept, said = kept.astype(np.int32), sheet.proposed
        while True:
            head = self.refresh()
            try:
                done = self.decide(head, labels, kept, refused, proposed=said, made_by=made_by)
            except Overtaken:
                continue  # what was open may not be any more
            return next((one for one in done if one.action == "label"), None)

    def decide(
        self,
        head: int,
        labels: Mapping[str, str],
        kept: Int32,
        refused: Int32,
        *,
        over: Collection[str] = (),
        proposed: str | None = None,
        made_by: str | None = None,
    ) -> list[Decision]:
        """Label `kept` by field and refuse `refused` in this one, as one step or not at all.

        What has a label of a field keeps it, unless `over` names the field; what is excluded gets
        none. Empty where nothing was left to decide; `Overtaken` where somebody has decided since
        `head`, which `refresh` returned.
        """
        numbers = self.workspace.item_nos(self.version)
        acts = []
        for field, label in labels.items():
            mine = numbers[kept[~self.workspace.excluded(numbers[kept])]]
            if field not in over:
                mine = mine[self.workspace.labels.codes(field)[0][mine] < 0]
            source = "proposed" if (field, label) == (self.field, proposed) else None
            items = BitMap(mine.astype(np.uint32))
            acts.append(Act("label", items, field, label, self.version, source=source))
        away, name = BitMap(numbers[refused].astype(np.uint32)), labels[self.field]
        acts.append(Act("refuse", away, self.field, name, self.version))
        acts = [act for act in acts if act.items]
        return self.workspace.step(acts, made_by=made_by, head=head) if acts else []

    def refuse(
        self,
        rows: Sequence[int] | npt.NDArray[np.integer[Any]],
        label: str,
        *,
        made_by: str | None = None,
    ) -> Decision:
        """Say that these rows are not `label`: a decision; it is not proposed for them again."""
        return self.workspace.refuse(self.selection(rows), label, field=self.field, made_by=made_by)

    def _open(self, pool: Pool, rows: Int32) -> Int32:
        unique = np.unique(np.asarray(rows, np.int32))
        return unique[pool.open[unique]]


class _Place:
    """Where one assistant is kept: who comes while it is made waits for it, and for no other."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.found: Assistant | None = None


_kept: WeakKeyDictionary[Workspace, dict[tuple[str, str], _Place]] = WeakKeyDictionary()
_kept_lock = threading.Lock()


def assistant(
    workspace: Workspace, version: str | None = None, field: str = "category"
) -> Assistant:
    """Return the assistant of one field of one atlas, the newest unless `version` says which.

    Raises
    ------
    CurationError
        For an unknown field or an atlas that is gone.
    """
    if field not in FIELDS:
        raise CurationError(f"unknown field {field!r}; known: {', '.join(FIELDS)}")
    atlas = workspace.atlas(version)
    with _kept_lock:
        held = _kept.setdefault(workspace, {})
        place = held.pop((atlas.version, field), None) or _Place()
        held[(atlas.version, field)] = place  # the last is the one asked for last
        for old in list(held)[:-KEPT]:
            del held[old]
    with place.lock:
        if place.found is None:
            place.found = Assistant(workspace, atlas, field)
        return place.found
