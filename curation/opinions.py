"""What each curator says of each item, side by side: where they differ, and how it is settled."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from curation.folding import NONE, REPLACED, Int64
from curation.journal import Overtaken
from curation.labels import LabelState, StandingActs
from curation.schema import FIELDS, SOURCES, Act, Decision
from curation.workspace import Workspace
from embeddings.errors import CurationError
from embeddings.schema import Int32

REVIEW, CONSENSUS = 1 + SOURCES.index("review"), 1 + SOURCES.index("consensus")
CELLS = 4_000_000  # people by items that are looked at at once: 16 MB
TIE = -2  # in `Votes.code`: no label has more voices than every other


@dataclass(frozen=True)
class Opinions:
    """Each person's own newest label of each item that has one; parallel arrays (k,).

    Sorted by `item_no`, then by `person` (an index into `people`); `code` is an index into
    `legend`. A label that somebody else changed is still its giver's opinion; one that was renamed
    or merged goes by the new name. `settled` are the items about which a reviewer, or a vote, has
    spoken after everybody else, `judged` those about which they ever have.
    """

    item_no: Int64
    person: Int32
    code: Int32
    people: tuple[str, ...]
    legend: tuple[str, ...]
    settled: BitMap
    judged: BitMap

    def __len__(self) -> int:
        return len(self.item_no)

    def of(self, item_no: int) -> dict[str, str]:
        """Return what each person says of one item."""
        start, end = np.searchsorted(self.item_no, [item_no, item_no + 1])
        pairs = zip(self.person[start:end].tolist(), self.code[start:end].tolist(), strict=True)
        return {self.people[person]: self.legend[code] for person, code in pairs}

    @cached_property
    def votes(self) -> "Votes":
        """The label with most voices of each item."""
        starts, size = np.flatnonzero(np.diff(self.item_no, prepend=-1)), max(len(self.legend), 1)
        sizes = np.diff(np.append(starts, len(self)))
        at = np.repeat(np.arange(len(starts)), sizes)
        said, voices = np.unique(at * size + self.code, return_counts=True)
        item, code = said // size, (said % size).astype(np.int32)
        first = np.flatnonzero(np.diff(item, prepend=-1))
        labels = np.diff(np.append(first, len(item)))
        most = np.maximum.reduceat(voices, first)
        strongest = voices == np.repeat(most, labels)
        alone = strongest & np.repeat(
            np.add.reduceat(strongest, first, dtype=np.int64) == 1, labels
        )
        winner = np.full(len(starts), TIE, np.int32)
        winner[item[alone]] = code[alone]
        return Votes(self.item_no[starts], winner, most / sizes, labels > 1)


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


_kept: WeakKeyDictionary[LabelState, dict[str, "_Known"]] = WeakKeyDictionary()


def opinions(workspace: Workspace, field: str = "category") -> Opinions:
    """Return what each person says of each item; after a decision only its items are read again."""
    if field not in FIELDS:
        raise CurationError(f"unknown field {field!r}; known: {', '.join(FIELDS)}")
    labels = workspace.labels
    labels.refresh()
    known = _kept.setdefault(labels, {})
    with labels.still():
        known[field] = _followed(labels, field, known.get(field))
        return known[field].opinions


def conflicts(
    workspace: Workspace, field: str = "category", version: str | None = None
) -> Conflicts:
    """Return the items about which people differ, those left out that are settled or excluded."""
    atlas, found = workspace.atlas(version), opinions(workspace, field)
    votes = found.votes
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
        votes = found.votes
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


def said(labels: LabelState, field: str, items: Int64) -> tuple[Said, StandingActs]:
    """Return what is said of `items` (m,) sorted, and all acts of the field."""
    with labels.still():
        acts = labels.standing_acts(field)
        return _said(labels, acts, items), acts


def _said(labels: LabelState, acts: StandingActs, items: Int64) -> Said:
    at, seq = labels.naming(items)
    own = np.flatnonzero(acts.source != REPLACED)
    act_of = np.full(acts.head + 1, NONE, np.int32)  # by seq: much else names an item too
    act_of[acts.seq[own]] = own
    act = act_of[seq]
    ours = act != NONE
    at, seq, act = at[ours], seq[ours], act[ours]
    return Said(items[at], seq, acts.person[act], acts.today[act], acts.source[act])


@dataclass(frozen=True)
class _Rows:
    """The newest act of each person about each item; parallel arrays (k,), sorted by both."""

    item_no: Int64
    person: Int32
    seq: Int32

    def spliced(self, items: Int64, fresh: "_Rows") -> "_Rows":
        """Return these rows with those of `items` (m,) sorted replaced by the rows `fresh`."""
        first, last = np.searchsorted(self.item_no, [items, items + 1])
        until = np.searchsorted(fresh.item_no, items, side="right")
        ends = np.append(np.flatnonzero(first[1:] != last[:-1]), len(items) - 1)  # of what adjoins
        starts = np.append(0, ends[:-1] + 1)
        bounds = (first[starts].tolist(), last[ends].tolist(), until[ends].tolist())

        def joined(old: npt.NDArray[Any], new: npt.NDArray[Any]) -> npt.NDArray[Any]:
            parts, at, of_new = [], 0, 0
            for start, end, upto in zip(*bounds, strict=True):
                parts += [old[at:start], new[of_new:upto]]
                at, of_new = end, upto
            return np.concatenate([*parts, old[at:]])

        return _Rows(
            joined(self.item_no, fresh.item_no),
            joined(self.person, fresh.person),
            joined(self.seq, fresh.seq),
        )


@dataclass(frozen=True)
class _Known:
    """What was read of a field up to `head`: never changed, so that threads may share it.

    `spoke` and `settled` (n,) int32 are the newest act about each item that is somebody's own word,
    and that is a reviewer's or a vote's.
    """

    head: int
    life: object
    own: _Rows
    spoke: Int32
    settled: Int32
    opinions: Opinions


def _followed(labels: LabelState, field: str, known: _Known | None) -> _Known:
    """Return what is known now: read anew about the items that were decided about since."""
    acts = labels.standing_acts(field)
    if known is None or known.life is not acts.life:
        own, spoke, settled = _newest(labels, acts, np.arange(labels.n_items))
    elif known.head == acts.head:
        return known
    else:
        items = _array(labels.changed_since(known.head))
        fresh, spoke, settled = _newest(labels, acts, items)
        own = known.own.spliced(items, fresh)
        spoke, settled = _put(known.spoke, items, spoke), _put(known.settled, items, settled)
    found = _opinions(acts, own, spoke, settled)
    return _Known(acts.head, acts.life, own, spoke, settled, found)


def _newest(labels: LabelState, acts: StandingActs, items: Int64) -> tuple[_Rows, Int32, Int32]:
    """Return the newest acts about `items` (m,): each person's, anybody's (m,), a judge's (m,)."""
    size, n = max(len(acts.people), 1), len(items)
    spoke, settled = np.zeros(n, np.int32), np.zeros(n, np.int32)
    parts = [_Rows(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32))]
    for start in range(0, n, step := max(CELLS // size, 1)):
        part = items[start : start + step]
        rows = _said(labels, acts, part)
        at = start + np.searchsorted(part, rows.item_no)
        judge = np.isin(rows.source, (REVIEW, CONSENSUS))
        np.maximum.at(settled, at[judge], rows.seq[judge])
        np.maximum.at(spoke, at[~judge], rows.seq[~judge])
        newest = np.zeros(len(part) * size, np.int32)
        cells = (at[~judge] - start) * size + rows.person[~judge]
        np.maximum.at(newest, cells, rows.seq[~judge])
        held = np.flatnonzero(newest)
        parts.append(_Rows(part[held // size], (held % size).astype(np.int32), newest[held]))
    names = ("item_no", "person", "seq")
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
    return _Rows(*columns), spoke, settled


def _put(old: Int32, items: Int64, new: Int32) -> Int32:
    """Return `old` by item with `new` (m,) at `items` (m,)."""
    found = np.zeros(max(len(old), int(items.max(initial=-1)) + 1), np.int32)
    found[: len(old)] = old
    found[items] = new
    return found


def _opinions(acts: StandingActs, own: _Rows, spoke: Int32, settled: Int32) -> Opinions:
    today = np.full(acts.head + 1, NONE, np.int32)
    today[acts.seq] = acts.today
    code, item, person = today[own.seq], own.item_no, own.person
    held = code != NONE
    if not held.all():
        code, item, person = code[held], item[held], person[held]
    judged = _bitmap(np.flatnonzero(settled))
    closed = _bitmap(np.flatnonzero(settled > spoke))
    return Opinions(item, person, code, acts.people, acts.legend, closed, judged)


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
