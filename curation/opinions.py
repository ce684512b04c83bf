"""What each curator says of each item, side by side: where they differ, and how it is settled."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from curation.folding import NONE, REPLACED, Int64, flat
from curation.journal import CHUNK, Overtaken
from curation.labels import LabelState, StandingActs
from curation.schema import FIELDS, SOURCES, Act, Decision
from curation.workspace import Workspace
from embeddings.errors import CurationError
from embeddings.schema import Int32

REVIEW, CONSENSUS = 1 + SOURCES.index("review"), 1 + SOURCES.index("consensus")
TIE = -2  # in `Votes.code`: no label has more voices than every other


@dataclass(frozen=True)
class Opinions:
    """Each person's own newest label of each item that has one; parallel arrays (k,).

    Sorted by `item_no`, then by `person` (an index into `people`); `code` is an index into
    `legend`. A label that somebody else changed is still its giver's opinion; one that was renamed
    or merged goes by the new name. `settled` are the items about which a reviewer, or a vote, has
    spoken after everybody else.
    """

    item_no: Int64
    person: Int32
    code: Int32
    people: tuple[str, ...]
    legend: tuple[str, ...]
    settled: BitMap

    def __len__(self) -> int:
        return len(self.item_no)

    def of(self, item_no: int) -> dict[str, str]:
        """Return what each person says of one item."""
        start, end = np.searchsorted(self.item_no, [item_no, item_no + 1])
        pairs = zip(self.person[start:end].tolist(), self.code[start:end].tolist(), strict=True)
        return {self.people[person]: self.legend[code] for person, code in pairs}

    def votes(self) -> "Votes":
        """Return the label with most voices of each item."""
        items, at, sizes = np.unique(self.item_no, return_inverse=True, return_counts=True)
        size = max(len(self.legend), 1)
        said, voices = np.unique(at * size + self.code, return_counts=True)
        item, code = said // size, (said % size).astype(np.int32)
        order = np.lexsort((-voices, item))
        item, code, voices = item[order], code[order], voices[order]
        first = np.searchsorted(item, np.arange(len(items)))
        labels = np.bincount(item, minlength=len(items))
        second = np.minimum(first + 1, max(len(item) - 1, 0))
        tied = (labels > 1) & (voices[second] == voices[first])
        winner = np.where(tied, TIE, code[first]).astype(np.int32)
        return Votes(items, winner, voices[first] / sizes, labels > 1)


@dataclass(frozen=True)
class Votes:
    """The outcome of a vote on each item; parallel arrays (m,), sorted by item.

    `code` is the label with most voices, `TIE` where two have as many; `share` of the voices that
    the strongest label has; `differ` where not all say the same.
    """

    item_no: Int64
    code: Int32
    share: npt.NDArray[np.float64]
    differ: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Conflicts:
    """Items about which people differ, on one atlas, the most divided first.

    `rows` (m,) int32 are their rows on the atlas, `item_nos` (m,) their numbers in the journal.
    """

    rows: Int32
    item_nos: Int64
    opinions: Opinions

    def __len__(self) -> int:
        return len(self.rows)

    def said(self, at: int) -> dict[str, str]:
        """Return what each person says of one of the items."""
        return self.opinions.of(int(self.item_nos[at]))


_kept: WeakKeyDictionary[LabelState, dict[str, tuple[int, Opinions]]] = WeakKeyDictionary()


def opinions(workspace: Workspace, field: str = "category") -> Opinions:
    """Return what each person says of each item; read again only when somebody has decided."""
    if field not in FIELDS:
        raise CurationError(f"unknown field {field!r}; known: {', '.join(FIELDS)}")
    head = workspace.labels.refresh()
    known = _kept.setdefault(workspace.labels, {})
    if field not in known or known[field][0] != head:
        known[field] = (head, _opinions(workspace, field))
    return known[field][1]


def conflicts(
    workspace: Workspace, field: str = "category", version: str | None = None
) -> Conflicts:
    """Return the items about which people differ, those left out that are settled or excluded."""
    atlas, found = workspace.atlas(version), opinions(workspace, field)
    votes = found.votes()
    order = np.lexsort((votes.item_no, votes.share))
    order = order[votes.differ[order]]
    away = found.settled | workspace.labels.flagged("excluded")
    items = votes.item_no[order]
    items = items[~np.isin(items, _array(away))]
    rows = _rows_of(workspace.item_nos(atlas.version), items)
    return Conflicts(rows[rows >= 0], items[rows >= 0], found)


def settle_by_vote(
    workspace: Workspace, field: str = "category", *, made_by: str | None = None
) -> list[Decision]:
    """Give every item about which people differ the label with most voices, as one step.

    Where two labels have as many voices nothing is decided. Returns one decision for each label,
    none where there is no majority anywhere.
    """
    while True:
        queue = conflicts(workspace, field)
        with workspace.labels.still() as head:
            found = opinions(workspace, field)
        if found is not queue.opinions:
            continue
        votes = found.votes()
        open_now = np.isin(votes.item_no, queue.item_nos)
        acts = [
            Act("label", _bitmap(votes.item_no[open_now & (votes.code == code)]), field,
                found.legend[code], source="consensus")
            for code in np.unique(votes.code[open_now & (votes.code != TIE)]).tolist()
        ]  # fmt: skip
        if not acts:
            return []
        try:
            return workspace.step(acts, made_by=made_by, head=head)
        except Overtaken:
            continue  # by another curator: the vote may be another now


# ---- from the journal


@dataclass(frozen=True)
class Said:
    """Every label that stands in somebody's name, oldest first; parallel arrays (k,).

    One row for each item of each act that is not undone. `code` is the label by its name of today,
    -1 where it was taken away; `source` as in `labels.StandingActs`. Acts that renamed, merged or
    deleted a label are nobody's.
    """

    item_no: Int64
    seq: Int32
    person: Int32
    code: Int32
    source: npt.NDArray[np.int8]

    def take(self, rows: npt.NDArray[np.bool_] | Int64) -> "Said":
        """Return some rows, given by a mask (k,) or by their places."""
        return Said(
            self.item_no[rows], self.seq[rows], self.person[rows], self.code[rows],
            self.source[rows],
        )  # fmt: skip

    def newest(self, key: Int64) -> "Said":
        """Return the last row of each `key` (k,), in the order of the keys."""
        _, back = np.unique(key[::-1], return_index=True)
        return self.take(len(key) - 1 - back)


def said(workspace: Workspace, field: str) -> tuple[Said, StandingActs]:
    """Return every label that stands in somebody's name, and the acts it was read from."""
    acts = workspace.labels.standing_acts(field)
    codes = _named_today(workspace, acts)
    at = np.flatnonzero(acts.source != REPLACED)
    items, seqs = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    for start in range(0, len(at), CHUNK):
        part = workspace.journal.items_of(acts.seq[at[start : start + CHUNK]])
        held, of = flat(part.items())
        items.append(held)
        seqs.append(of)
    item, seq = np.concatenate(items), np.concatenate(seqs)
    act = np.searchsorted(acts.seq, seq)
    return Said(item, seq, acts.person[act], codes[act], acts.source[act]), acts


def _opinions(workspace: Workspace, field: str) -> Opinions:
    rows, acts = said(workspace, field)
    spoken = np.isin(rows.source, (REVIEW, CONSENSUS))
    settles = rows.take(spoken)
    own = rows.take(~spoken)
    own = own.newest(own.item_no * max(len(acts.people), 1) + own.person)
    last = settles.newest(settles.item_no)
    at = np.searchsorted(last.item_no, own.item_no)
    hit = at < len(last.item_no)
    hit[hit] = last.item_no[at[hit]] == own.item_no[hit]
    later = np.zeros(len(own.item_no), np.bool_)  # somebody spoke after the matter was settled
    later[hit] = own.seq[hit] > last.seq[at[hit]]
    settled = _bitmap(last.item_no) - _bitmap(own.item_no[later])
    own = own.take(own.code != NONE)
    return Opinions(own.item_no, own.person, own.code, acts.people, acts.legend, settled)


def _named_today(workspace: Workspace, acts: StandingActs) -> Int32:
    """Return the code of each act (m,) with what was renamed, merged or deleted after it."""
    codes = acts.code.copy()
    code_of = {label: code for code, label in enumerate(acts.legend)}
    replacing = acts.seq[acts.source == REPLACED]
    for act in workspace.journal.decisions(replacing):
        before = (acts.seq < act.seq) & (codes == code_of.get(str(act.replaces), NONE - 1))
        codes[before] = NONE if act.value is None else code_of[act.value]
    return codes


def _rows_of(held: Int64, items: Int64) -> Int32:
    """Return the row of each item number in those of an atlas; -1 where it has none."""
    size = 1 + max(int(held.max(initial=-1)), int(items.max(initial=-1)))
    rows = np.full(size, -1, np.int32)
    rows[held] = np.arange(len(held), dtype=np.int32)
    found: Int32 = rows[items]
    return found


def _array(items: BitMap) -> Int64:
    return np.asarray(items.to_array(), dtype=np.int64)


def _bitmap(items: Int64) -> BitMap:
    return BitMap(items.astype(np.uint32))
