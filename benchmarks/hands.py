"""A curator simulated: eyes that see the truth (or slip), and hands whose acts are counted.

The keystroke-level model (Card, Moran and Newell 1980) gives the seconds: a key 0.28, pointing at
something 1.1, making up one's mind 1.35; and 0.15 for each thumbnail looked at. Every judgement
about one image by itself, every name and every sheet to confirm costs a mind; clicking away what
was just seen not to belong does not, nor does scrolling on.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curation.assistant import Assistant, Batch

KEY, POINT, MIND, LOOK = 0.28, 1.1, 1.35, 0.15
SCREEN = 60  # thumbnails on a screen
KEYS_BELOW = 1.0  # labels an act, from which on a key for each item is faster
WORTH_A_KEY = 3  # strays of one kind on a sheet, from which on they are named together
WORTH_A_DRAG = 3  # clicks that a better cut spares
RECENT = 10  # labels that have a number key


@dataclass
class Hands:
    """What was done so far: acts by kind, thumbnails looked at, seconds."""

    acts: Counter[str] = field(default_factory=Counter)
    looked: int = 0
    seconds: float = 0.0
    known: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.acts.values())

    def look(self, thumbnails: int) -> None:
        self.looked += thumbnails
        self.seconds += LOOK * thumbnails

    def scroll(self, times: int) -> None:
        self._did("scroll", times, KEY)

    def click(self, times: int) -> None:
        self._did("click", times, POINT + KEY)

    def confirm(self) -> None:
        self._did("confirm", 1, MIND + KEY)

    def drag(self) -> None:
        """Press somewhere, release somewhere else: the cut of a sheet, a lasso."""
        self._did("drag", 1, 2 * (POINT + KEY))

    def name(self, label: str) -> None:
        """Give what is meant a name: by its number key, or typed, with Return at the end."""
        if label in self.known[:RECENT]:
            self._did("key", 1, MIND + KEY)
        else:
            self._did("typed", 1, MIND + KEY * (len(label) + 1))
        if label not in self.known:
            self.known.append(label)

    def _did(self, kind: str, times: int, seconds: float) -> None:
        if times:
            self.acts[kind] += times
            self.seconds += times * seconds


class Eyes:
    """See whether an image is of a kind; with `slips` > 0 each judgement errs that often."""

    def __init__(self, truth: np.ndarray, slips: float, seed: int) -> None:
        self.truth = truth
        self.slips = slips
        self._chance = np.random.default_rng(seed)
        self._kinds = np.unique(truth)

    def _errs(self, count: int) -> np.ndarray:
        return self._chance.random(count) < self.slips

    def belong(self, rows: np.ndarray, label: str) -> np.ndarray:
        """Which of `rows` are judged to be of the kind, (m,)."""
        return (self.truth[rows] == label) ^ self._errs(len(rows))

    def named(self, label: str) -> str:
        """The name that is given where `label` is meant: a slip presses another one's key."""
        if not self._errs(1)[0]:
            return label
        return str(self._chance.choice(self._kinds[self._kinds != label]))


class Plain:
    """Ways of labelling without the assistant; what they gave is kept by row, "" = none."""

    def __init__(self, truth: np.ndarray, slips: float, seed: int) -> None:
        self.hands = Hands()
        self.eyes = Eyes(truth, slips, seed)
        self.given = np.full(len(truth), "", truth.dtype)

    @property
    def labelled(self) -> int:
        return int((self.given != "").sum())

    @property
    def coverage(self) -> float:
        return round(self.labelled / len(self.given), 5)

    @property
    def accuracy(self) -> float:
        known = self.given != ""
        return round(float((self.given == self.eyes.truth)[known].mean()), 5)

    def keyed(self, rows: np.ndarray) -> None:
        """Each item alone on the screen, and a key."""
        for row in rows.tolist():
            self.hands.look(1)
            label = self.eyes.named(str(self.eyes.truth[row]))
            self.hands.name(label)
            self.given[row] = label

    def missing(self, until: float) -> int:
        """How many more items must be labelled."""
        return max(0, int(np.ceil(until * len(self.given))) - self.labelled)


class OneByOne(Plain):
    """Every item by itself."""

    def work(self, until: float) -> None:
        self.keyed(np.arange(self.missing(until)))


class ByCluster(Plain):
    """Cluster by cluster as HDBSCAN made them: name it, drop the strays; the rest one by one."""

    def __init__(self, truth: np.ndarray, cluster: np.ndarray, slips: float, seed: int) -> None:
        super().__init__(truth, slips, seed)
        self.cluster = cluster

    def work(self, until: float) -> None:
        for number in range(int(self.cluster.max()) + 1):
            if self.missing(until):
                self._confirm(np.flatnonzero(self.cluster == number))
        rest = np.flatnonzero(self.given == "")
        self.keyed(rest[: self.missing(until)])

    def _confirm(self, rows: np.ndarray) -> None:
        self.hands.look(len(rows))
        self.hands.scroll(-(-len(rows) // SCREEN) - 1)
        kinds, counts = np.unique(self.eyes.truth[rows], return_counts=True)
        label = str(kinds[counts.argmax()])
        belong = self.eyes.belong(rows, label)
        self.hands.click(min(int((~belong).sum()), int(belong.sum())))
        self.hands.name(label)
        self.given[rows[belong]] = label


class Session:
    """A curator at work with an assistant, until a share of the items is labelled."""

    def __init__(self, helper: Assistant, truth: np.ndarray, slips: float, seed: int) -> None:
        self.helper = helper
        self.hands = Hands()
        self.eyes = Eyes(truth, slips, seed)
        self.curve: list[dict[str, Any]] = []
        self.single = 0  # items that were named one by one

    @property
    def labelled(self) -> int:
        return self.helper.progress().labelled

    @property
    def coverage(self) -> float:
        return round(self.labelled / len(self.helper.atlas), 5)

    @property
    def accuracy(self) -> float:
        held, names = self.standing()
        right = np.array([*names, ""])[held] == self.eyes.truth
        return round(float(right[held >= 0].mean()), 5) if (held >= 0).any() else 0.0

    def work(self, until: float) -> None:
        while self.labelled < until * len(self.helper.atlas):
            queue = self.helper.queue(limit=1)
            if not queue:
                return
            self._decide(queue[0])
            self._note()

    def _decide(self, sheet: Batch) -> None:
        if sheet.proposed is None:
            self.unnamed(sheet)
        elif sheet.gain < KEYS_BELOW:  # the app tells the gain beside the sheet
            self.one_by_one(sheet.rows[:SCREEN])
        else:
            self.proposed(sheet)

    def unnamed(self, sheet: Batch) -> None:
        """Name what most of a sheet is; drop the rest of it, or pick the most where it is less."""
        rows = sheet.rows
        if sheet.key.startswith("representative"):
            self.one_by_one(rows)
            return
        self._look_through(len(rows))
        kinds, counts = np.unique(self.eyes.truth[rows], return_counts=True)
        label = str(kinds[counts.argmax()])
        belong = self.eyes.belong(rows, label)
        strays = rows[~belong]
        if len(strays) <= len(rows) // 2:
            self._dropped(strays)
            self.hands.name(label)  # Return names and confirms
            self.helper.confirm(sheet, strays, value=label, cut=len(rows))
        else:
            self.hands.click(int(belong.sum()))
            self.hands.name(label)
            picked = rows[belong]
            self.helper.confirm(sheet, value=label, cut=0, picked=picked, refuse_rest=True)

    def proposed(self, sheet: Batch) -> None:
        """Confirm a proposal: click away what does not belong, pick what does behind the cut."""
        assert sheet.proposed is not None
        self._look_through(len(sheet))
        belong = self.eyes.belong(sheet.rows, sheet.proposed)
        cut = self._cut(sheet.cut, belong)
        strays = sheet.rows[:cut][~belong[:cut]]
        self._dropped(strays)
        picked = sheet.rows[cut:][belong[cut:]]
        self.hands.click(len(picked))
        self.hands.confirm()
        self.helper.confirm(sheet, strays, cut=cut, picked=picked, refuse_rest=True)

    def _cut(self, cut: int, belong: np.ndarray) -> int:
        """Drag the cut to where the fewest are left to click, where that is worth the act."""
        wrong = np.concatenate([[0], np.cumsum(~belong)])  # before each place of the cut
        right = belong.sum() - np.concatenate([[0], np.cumsum(belong)])  # behind it
        best = int((wrong + right).argmin())
        if (wrong + right)[cut] - (wrong + right)[best] < WORTH_A_DRAG:
            return cut
        self.hands.drag()
        return best

    def one_by_one(self, rows: np.ndarray) -> None:
        """Each item alone on the screen, and a key."""
        labels = []
        for row in rows.tolist():
            self.hands.look(1)
            label = self.eyes.named(str(self.eyes.truth[row]))
            self.hands.name(label)
            labels.append(label)
        self.single += len(rows)
        workspace, given = self.helper.workspace, np.array(labels)
        for label in np.unique(given).tolist():
            workspace.label(self.helper.selection(rows[given == label]), label)

    def _look_through(self, thumbnails: int) -> None:
        self.hands.look(thumbnails)
        self.hands.scroll(-(-thumbnails // SCREEN) - 1)

    def _dropped(self, strays: np.ndarray) -> None:
        """Click strays away; those that are several of a kind get its name at once."""
        self.hands.click(len(strays))
        truth = self.eyes.truth[strays]
        kinds, counts = np.unique(truth, return_counts=True)
        for kind in kinds[counts >= WORTH_A_KEY].tolist():
            label = self.eyes.named(str(kind))
            self.hands.name(label)
            mine = self.helper.selection(strays[truth == kind])
            self.helper.workspace.label(mine, label)

    def _note(self) -> None:
        self.curve.append(
            {
                "acts": self.hands.total,
                "seconds": round(self.hands.seconds, 1),
                "coverage": self.coverage,
                "accuracy": self.accuracy,
            }
        )

    def standing(self) -> tuple[np.ndarray, list[str]]:
        """The code of each item as the journal has it, -1 = none, and the names."""
        labels = self.helper.workspace.labels
        codes, names = labels.codes(self.helper.field)
        return codes[self.helper.workspace.item_nos(self.helper.version)], names
