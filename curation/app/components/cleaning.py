"""The desk of one curator on the Clean page: the sheet that is shown, those that wait, the acts."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from curation.app.components import cleaning_wire as wire
from curation.app.components.cleaning_wire import Told
from curation.assistant import Assistant, assistant
from curation.learning.batches import MODES, Batch
from curation.overview import label_names
from curation.schema import FIELDS, Decision, Selection
from curation.workspace import Workspace
from embeddings.errors import CurationError
from embeddings.schema import Int32

# The kind of an answer, its words, and the sheet that came back or went again, if any.
Result = tuple[str, str] | tuple[str, str, str]
WHOLE = 3  # sheets that the browser has in full: the one it shows, and two that follow at once
CARDS = 9
HANDED = 120  # sheets that acts may come back about
ANSWERS = 50
SLOTS = 9  # labels on number keys
OFFERED = 2_000  # labels to complete from
RENAMES = 50  # decisions about a label in which its new name is looked for
PACE = 300.0  # seconds over which labels per minute are counted


@dataclass(frozen=True)
class Answer:
    """What the browser is told of one act.

    `kind` is ``"done"``, ``"note"`` (nothing was decided), ``"refused"`` or ``"ask"`` (nothing was
    done, the sheet comes back) or ``"stale"`` (the sheet is not known here). `sheet` is the key of
    what an undo brought back, or a redo took away again. `choices` are what can be answered: words,
    and what of the act they change; None drops it.
    """

    seq: int
    kind: str
    text: str
    sheet: str = ""
    choices: tuple[tuple[str, dict[str, Any] | None], ...] = ()


class Stale(CurationError):
    """An act on a sheet that this desk does not know."""


@dataclass(frozen=True)
class Done:
    """What one act decided, and the sheet as it was: to be taken back as one.

    `passed` are the rows that wait till the end since, `rest` is what the act left of the sheet.
    """

    seqs: tuple[int, ...]
    batch: Batch | None
    labelled: int = 0
    passed: Int32 | None = None
    rest: Batch | None = None


class Desk:
    """What one tab of the browser holds on the Clean page: `shown` says what stands.

    The browser shows the next sheet before it is answered: what it shows stays, whatever the queue
    makes of it meanwhile, and each act names the sheet it was done on by key and by a hash of its
    items.
    """

    def __init__(self, workspace: Workspace, version: str) -> None:
        self.workspace = workspace
        self.version = version
        self.token = uuid.uuid4().hex  # acts are counted anew at another desk
        self.field = FIELDS[0]
        self.mode = "gain"
        self.heard = 0
        self.answers: list[Answer] = []
        self.slots: list[str] = []
        self.taken: Int32 = np.zeros(0, np.int32)  # rows on the sheets of others
        self.sheets: list[Batch] = []  # what the browser was given in full
        self.leave_for = ""  # another page to open after an act
        self.current: Batch | None = None
        self.front: list[Batch] = []  # parts, twins, what was asked for: before the queue
        self._handed: dict[tuple[str, str], Batch] = {}
        self.before: list[Batch] = []
        self.passed: Int32 = np.zeros(0, np.int32)  # rows of sheets that were skipped
        self.done: list[Done] = []  # newest last
        self.undone: list[Done] = []
        self._labelled: list[tuple[float, int]] = []
        self._queued: tuple[tuple[int, str, str, bytes], list[Batch]] | None = None
        self._helper: Assistant | None = None
        self._used: list[str] = []

    @property
    def helper(self) -> Assistant:
        """The assistant of the field that is worked on."""
        if self._helper is None or self._helper.field != self.field:
            self._helper = assistant(self.workspace, self.version, self.field)
        return self._helper

    # ---- what the page shows

    def shown(self) -> dict[str, Any]:
        """Return what the browser needs: sheets, queue, progress, labels, answers."""
        helper = self.helper
        line = self.line_up()
        self.sheets = line[:WHOLE]
        known = {name: label_names(self.workspace, name)[:OFFERED] for name in FIELDS}
        back = self.workspace.journal.undoable(self.workspace.made_by)
        again = self.workspace.journal.redoable(self.workspace.made_by)
        return {
            "atlas": self.version,
            "field": self.field,
            "mode": self.mode,
            "modes": list(MODES),
            "sheets": [self._hand_out(batch) for batch in self.sheets],
            "waiting": [wire.card(helper, batch) for batch in line[WHOLE : WHOLE + CARDS]],
            "progress": self._progress(),
            "known": known,
            "slots": self._slots(known[self.field]),
            "heard": self.heard,
            "answers": [vars(answer) for answer in self.answers],
            "undo": None if back is None else self.workspace.journal.parts(back, "undo")[0].words,
            "redo": None if again is None else again.words,
        }

    def _hand_out(self, batch: Batch) -> dict[str, Any]:
        told = wire.whole(self.helper, batch)
        self._handed.pop((batch.key, told["version"]), None)
        self._handed[(batch.key, told["version"])] = batch
        for old in list(self._handed)[:-HANDED]:
            del self._handed[old]
        return told

    def line_up(self) -> list[Batch]:
        """Return the sheets in their order, no item on two of them."""
        waits = wire.still_open(self.helper)
        free = np.ones(len(waits), np.bool_)
        line: list[Batch] = []
        hand = [part for one in (*self.in_hand(), *self.front) for part in wire.pieces(one)]
        mine = {batch.key for batch in hand}
        for at, batch in enumerate(hand + self._queue()):
            rest = self._rest(batch, waits, free)
            if rest is None or (line and at >= len(hand) and 2 * len(rest) < len(batch)):
                continue  # mostly on sheets before it: it is made anew when those are done
            free[rest.rows] = False
            line.append(rest)
        if not line and len(self.passed):
            self.passed = self.passed[:0]  # all that is left was skipped: it comes round again
            return self.line_up()
        self.current = line[0] if line else None
        self.front = [batch for batch in line[1:] if batch.key in mine]
        return line

    def _queue(self) -> list[Batch]:
        """Return the assistant's sheets of what was not skipped and is on no sheet of others."""
        away = np.union1d(self.passed, self.taken).astype(np.int32)
        state = (self.helper.refresh(), self.mode, self.field, away.tobytes())
        if self._queued is None or self._queued[0] != state:
            found = self.helper.queue(self.mode, limit=WHOLE + CARDS, without=away)
            self._queued = (state, found)
        return self._queued[1]

    def _rest(self, batch: Batch, waits: wire.Mask, free: wire.Mask) -> Batch | None:
        """Return what of a sheet is still open and on no other; its key stays."""
        keep = free[batch.rows]
        keep &= self.disputed(batch) if is_review(batch) else waits[batch.rows]
        if keep.all():
            return batch
        if not keep.any():
            return None
        cut = int(np.count_nonzero(keep[: batch.cut]))
        return replace(batch, rows=batch.rows[keep], cut=cut)

    def disputed(self, batch: Batch) -> wire.Mask:
        """Which items of a sheet of doubtful labels (m,) still carry another than is proposed."""
        codes, names = wire.codes_of(self.helper)[batch.rows], self.helper_names()
        held = names.index(batch.proposed) if batch.proposed in names else -1
        excluded = self.workspace.excluded(self.workspace.item_nos(self.version)[batch.rows])
        found: wire.Mask = (codes >= 0) & (codes != held) & ~excluded
        return found

    def helper_names(self) -> list[str]:
        """Return the labels in use, by code."""
        return self.workspace.labels.codes(self.field)[1]

    def _progress(self) -> dict[str, Any]:
        counts = self.helper.progress()
        now = time.monotonic()
        self._labelled = [(at, n) for at, n in self._labelled if now - at < PACE]
        pace = None
        if len(self._labelled) > 1:
            minutes = max(now - self._labelled[0][0], 20.0) / 60
            pace = sum(n for _, n in self._labelled[1:]) / minutes
        left = counts.open / pace if pace else None
        return {
            "items": counts.items,
            "labelled": counts.labelled,
            "excluded": counts.excluded,
            "open": counts.open,
            "pace": pace,
            "left": left,
        }

    def _slots(self, known: Sequence[str]) -> list[str]:
        """Return the labels on keys 1 to 9; each keeps its key while it is in use."""
        if not self.slots:
            used = self.workspace.labels.counts(self.field)
            self.slots = [name for name in known if used.get(name)][:SLOTS]
            self._used = list(self.slots)
        now = [self.now_called(name, self.field) for name in self.slots]
        once = [name if name not in now[:at] else None for at, name in enumerate(now)]
        self.slots = [name or "" for name in once]  # what is gone leaves its key free
        return self.slots

    def now_called(self, label: str, field: str) -> str | None:
        """Return what a label is called since somebody renamed it; None where it was deleted."""
        counts, seen = self.workspace.labels.counts(field), set[str]()
        while not counts.get(label) and label not in seen:
            seen.add(label)
            acts = self.workspace.journal.newest(RENAMES, label=label)
            went = [one for one in acts if one.field == field and one.replaces == label]
            if not went or went[0].action == "undo":
                return label
            if went[0].value is None:
                return None
            label = went[0].value
        return label

    def use(self, name: str) -> None:
        """Give a label a number key: a free one, or that of the label not used for longest."""
        self._slots(label_names(self.workspace, self.field))
        if name in self._used:
            self._used.remove(name)
        self._used.append(name)
        if name in self.slots:
            return
        if "" in self.slots:
            self.slots[self.slots.index("")] = name
            return
        if len(self.slots) < SLOTS:
            self.slots.append(name)
            return
        oldest = next(one for one in self._used if one in self.slots)
        self.slots[self.slots.index(oldest)] = name

    # ---- what the acts use

    def sheet_of(self, told: Told) -> Batch:
        """Return the sheet that an act was done on, as it was handed out."""
        batch = self._handed.get((told.key, told.version))
        if batch is None or told.field != self.field:
            raise Stale(
                "this sheet is another by now: what is still open of it is shown, with all you "
                "typed and tapped; look, and do it again"
            )
        if max((told.cut - 1, *told.out, *told.picked, *told.chosen), default=0) >= len(batch):
            raise CurationError(wire.NOWHERE)
        return batch

    def turn(self, told: Told, batch: Batch | None) -> None:
        """Show the sheet that the browser turned to; `batch` is the one it left."""
        if batch is not None:
            self.before = [*self.before[-HANDED:], batch]
            self.front = [one for one in self.front if one.key != batch.key]
        self.current = self._handed.get(told.next)

    def work_on(self, field: str) -> None:
        """Label the other field from now on; sheets and number keys are those of the field."""
        self.field = field
        self.current, self.front, self.before, self._handed = None, [], [], {}
        self.done = [replace(one, batch=None) for one in self.done]  # sheets are of a field
        self.undone = [replace(one, batch=None) for one in self.undone]
        self.slots, self._used, self.passed = [], [], self.passed[:0]

    def put(self, batches: Sequence[Batch], *, then: Sequence[Batch] = ()) -> None:
        """Show these sheets first, one after the other, and `then` what was in hand."""
        self.current = None
        keys = {batch.key for batch in batches}
        self.front = [*batches, *(one for one in (*then, *self.front) if one.key not in keys)]

    def bring(self, selection: Selection, title: str = "selected") -> bool:
        """Show what of a selection is open before everything else; False where nothing is."""
        rows = self.helper.atlas.rows_of(selection.item_ids)
        sheet = self.helper.sheet(rows[rows >= 0], title)
        if sheet is not None:
            self.put([sheet], then=self.in_hand())
        return sheet is not None

    def in_hand(self) -> list[Batch]:
        """Return the sheet that is shown, if any, as it is now."""
        return [] if self.current is None else [self.current]

    def keep(
        self,
        step: Sequence[Decision],
        batch: Batch | None,
        labelled: int = 0,
        *,
        passed: Int32 | None = None,
        rest: Batch | None = None,
    ) -> None:
        """Remember one act, to be taken back as one."""
        seqs = tuple(decision.seq for decision in step)
        self.done = [*self.done[-HANDED:], Done(seqs, batch, labelled, passed, rest)]
        self.undone = []
        self.count(labelled)

    def bring_back(self, act: Done) -> str:
        """Show the sheet of an act as it was before; return its key."""
        if act.batch is None:
            return ""
        self.passed = np.setdiff1d(self.passed, act.batch.rows)
        self.put([act.batch], then=self.in_hand())
        return act.batch.key

    def take_away(self, act: Done) -> str:
        """Leave of the sheet of an act what the act left; return its key where that is nothing."""
        if act.batch is None:
            return ""
        if act.passed is not None:
            self.passed = np.union1d(self.passed, act.passed).astype(np.int32)
        line, self.current = [*self.in_hand(), *self.front], None
        left = [act.rest if one.key == act.batch.key else one for one in line]
        self.front = [one for one in left if one is not None]
        return "" if act.rest is not None else act.batch.key

    def count(self, labelled: int) -> None:
        """Count labels for the pace; those that were taken back count less than none."""
        if labelled:
            self._labelled.append((time.monotonic(), labelled))


def is_review(batch: Batch) -> bool:
    """Whether a sheet shows items that carry a label already."""
    return batch.key.startswith("review-")
