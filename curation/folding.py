"""The journal folded into arrays over item_no and over seq: what stands, and what it rests on."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from curation.mentions import Mentions
from curation.schema import FIELDS, FLAGS, SOURCES, Decision
from embeddings.schema import Int32

Int64 = npt.NDArray[np.int64]

NONE = -1  # the code of no label, the number of no person and of no channel
NOTHING = -2  # the code of a label that is in no legend
NOBODY = 0  # the seq of no decision: the first one is 1
CHANNELS = (*FIELDS, *FLAGS)  # things that can stand on an item, each by itself
REPLACED = len(SOURCES) + 1  # in `Folded.sources`: an act that renamed, merged or deleted a label

# What an undo gives back is often near: so many acts are looked at one by one, among the decisions
# of a window before it, and only then all decisions about an item, which may be many.
NEAR, WINDOW = 16, 1024

# The seq and the items of every decision up to a seq, in order, a part of them at a time.
Read = Callable[[int], Iterator[list[tuple[int, BitMap]]]]
# The same of the decisions of some numbers.
ReadSome = Callable[[Sequence[int]], list[tuple[int, BitMap]]]
# All refusals of a field, undone ones too: seq, refused value, items, in order of seq.
ReadRefusals = Callable[[str], list[tuple[int, str, BitMap]]]


@dataclass
class Channel:
    """One thing that can stand on an item: a field's label, or one flag.

    `winner` (n,) int32 is the seq of the act that stands on each item, 0 for none; `acts` (n,)
    int32 how many acts that are not undone name it; `legend` the code of each value. `giver` (n,)
    int32 holds where the winner renamed or merged a label: the seq of the act that gave it.
    """

    winner: Int32 = field(default_factory=lambda: np.empty(0, np.int32))
    acts: Int32 = field(default_factory=lambda: np.empty(0, np.int32))
    giver: Int32 = field(default_factory=lambda: np.empty(0, np.int32))
    legend: dict[str, int] = field(default_factory=dict)

    def code(self, value: str | None) -> int:
        """Return the code of `value`; a new one gets the next."""
        return NONE if value is None else self.legend.setdefault(value, len(self.legend))

    def add(self, items: Int64, seqs: Int32) -> None:
        """Let acts count, those that were undone too: on each item the newest stands."""
        np.maximum.at(self.winner, items, seqs)  # an item may be there several times
        np.add.at(self.acts, items, np.int32(1))  # a plain 1 is int64, and a hundred times slower


class Folded:
    """The replay, in the order of `seq`, of the acts that are not undone.

    An undone act counts as if it had never been: what others decided later stays, what stood
    before returns. Arrays over seq have room for more; element 0 answers for "nobody".

    Parameters
    ----------
    read : callable
        Returns the bitmaps of the decisions: only an undo, and a look back, need them all.
    read_some : callable
        Returns those of a few: what an undo gives back is often near.
    read_refusals : callable
        Returns what was refused of a field: only after an undo or a new name it is needed.
    """

    def __init__(self, read: Read, read_some: ReadSome, read_refusals: ReadRefusals) -> None:
        self._read, self._read_some, self._read_refusals = read, read_some, read_refusals
        self.index: Mentions | None = None  # made when it is first asked for
        self._reach = 0  # the newest decision that is being folded
        self.head = 0
        self.life = object()  # what was worked out for a state of another life does not hold here
        self.identity: str | None = None  # the random id of the decision at the head
        self.channels = {name: Channel() for name in CHANNELS}
        self.names: dict[str, int] = {}  # of people
        self.dismissed: Counter[str] = Counter()
        self.refused: dict[tuple[str, str], BitMap] = {}
        self.stale: set[str] = set()  # fields whose refusals must be read again
        self.replaced: dict[int, str] = {}  # by seq, what each act of REPLACED took the place of
        self.named: Int32 = np.empty(0, np.int32)  # (n,) the newest seq that names each item
        # by seq
        self.codes: Int32 = np.full(1, NONE, np.int32)
        self.people: Int32 = np.full(1, NONE, np.int32)
        self.times: npt.NDArray[np.bytes_] = np.zeros(1, "S32")
        self.kinds: npt.NDArray[np.int8] = np.full(1, NONE, np.int8)  # which of CHANNELS
        self.sources: npt.NDArray[np.int8] = np.zeros(1, np.int8)  # 1 + place in SOURCES
        self.undone: npt.NDArray[np.bool_] = np.zeros(1, np.bool_)

    def grow(self, n: int) -> None:
        """Make room for `n` items."""
        if len(self.named) >= n:
            return  # not copied for nothing: 4 MB each at 1,000,000 items
        self.named = _longer(self.named, n, NOBODY)
        for channel in self.channels.values():
            channel.winner = _longer(channel.winner, n, NOBODY)
            channel.acts = _longer(channel.acts, n, 0)
            channel.giver = _longer(channel.giver, n, NOBODY)

    def fold(self, tail: Sequence[Decision]) -> None:
        """Let decisions count that come after all that were folded before."""
        if not tail:
            return
        self._describe(tail)
        items, seqs = flat((decision.seq, decision.items) for decision in tail)
        np.maximum.at(self.named, items, seqs)
        self._reach = tail[-1].seq
        if self.index is not None:
            self.index.add(items, seqs)
        for plain, run in groupby(tail, lambda each: each.is_act and each.replaces is None):
            if plain:
                self._add([(act.seq, act) for act in run])
                continue
            for decision in run:
                self._take(decision)
        self.head, self.identity = tail[-1].seq, tail[-1].decision_id

    # -- looking back ---------------------------------------------------------------------------

    def counting(self, name: str) -> Int64:
        """Return the seqs of the acts on a channel that are not undone, ascending."""
        end = self.head + 1
        ours = (self.kinds[:end] == CHANNELS.index(name)) & ~self.undone[:end]
        return np.flatnonzero(ours)

    def mentions(self, items: Int64) -> tuple[Int64, Int32]:
        """Return the decisions that name `items` (m,) sorted: place in `items`, and seq (k,).

        They are in order of the item, then of the seq.
        """
        if self.index is None:
            until = max(self.head, self._reach)
            self.index = Mentions.of_pairs(flat(part) for part in self._read(until))
        return self.index.of(items)

    def earlier(self, name: str, act: int, items: Int64, without: Sequence[int] = ()) -> Int32:
        """Return what would stand on `items` (m,) sorted if `act` were undone: seqs (m,).

        Acts of `without` count as undone too. Only acts before `act` are looked at.
        """
        found = np.full(len(items), NOBODY, np.int32)
        many = np.flatnonzero(self.channels[name].acts[items] > 1)
        if not len(many):  # nothing but this act named them: no need to look at the others
            return found
        left = BitMap(items[many].astype(np.uint32))
        for seq, named in reversed(self._read_some(self._near(name, act, without))):
            hit = left & named
            found[np.searchsorted(items, numbers(hit))] = seq
            left -= hit
        if left:
            rest = numbers(left)
            at, seqs = self._counting_on(name, rest)
            ours = (seqs < act) & ~np.isin(seqs, without)
            np.maximum.at(found, np.searchsorted(items, rest)[at[ours]], seqs[ours])
        return found

    def _near(self, name: str, act: int, without: Sequence[int]) -> list[int]:
        """Return the newest of the acts on a channel shortly before `act` that count."""
        first = max(0, act - WINDOW)
        ours = self.kinds[first:act] == CHANNELS.index(name)
        seqs = np.flatnonzero(ours & ~self.undone[first:act]) + first
        return seqs[~np.isin(seqs, without)][-NEAR:].tolist()  # type: ignore[no-any-return]

    def givers(self, name: str, items: Int64, winners: Int32) -> Int32:
        """Return the seq of the act that gave each label of `winners` (m,), by what name ever.

        Whoever renames or merges a label gives it to no item: it stays its giver's word.
        """
        found = winners.copy()
        renamed = self.sources[winners] == REPLACED
        found[renamed] = self.channels[name].giver[items[renamed]]
        return found

    def codes_today(self, name: str, seqs: Int64) -> Int32:
        """Return the code that each act of `counting` (m,) gave, by what was renamed after it."""
        legend, found = self.channels[name].legend, self.codes[seqs]
        now = np.append(np.arange(len(legend), dtype=np.int32), np.int32(NONE))
        end = len(seqs)
        for at in np.flatnonzero(self.sources[seqs] == REPLACED)[::-1].tolist():
            found[at:end] = now[found[at:end]]
            end, act = at, int(seqs[at])
            gone = legend.get(self.replaced[act])
            if gone is not None:
                now[gone] = now[self.codes[act]]
        found[:end] = now[found[:end]]
        return found

    def channel_of(self, act: int) -> str | None:
        """Return the channel that an act is about; None for a refusal or a dismissal."""
        kind = int(self.kinds[act])
        return None if kind == NONE else CHANNELS[kind]

    def label(self, name: str, seqs: Int32) -> npt.NDArray[np.object_]:
        """Return the value that each of the acts `seqs` (m,) gave; None for none."""
        legend = np.array([*self.channels[name].legend, None], dtype=object)
        return legend[self.codes[seqs]]

    def refused_of(self, name: str) -> dict[str, BitMap]:
        """Return the items that were refused, by the value's name of today.

        What was renamed or merged later is refused by the new name; a deleted one keeps its own.
        """
        if name in self.stale:
            anew = self._refused_anew(name)
            self.refused = {key: held for key, held in self.refused.items() if key[0] != name}
            self.refused |= {(name, value): items for value, items in anew.items()}
            self.stale.discard(name)
        return {key[1]: items for key, items in self.refused.items() if key[0] == name}

    # -- folding --------------------------------------------------------------------------------

    def _describe(self, tail: Sequence[Decision]) -> None:
        """Write down, by seq, what is known of each decision alone."""
        self._lengthen(tail[-1].seq + 1)
        at = np.array([decision.seq for decision in tail], np.int64)
        self.times[at] = [decision.made_at.encode() for decision in tail]
        names = self.names
        self.people[at] = [names.setdefault(each.made_by, len(names)) for each in tail]
        acts = [each for each in tail if each.is_act]
        at = np.array([act.seq for act in acts], np.int64)
        self.kinds[at] = [_kind(act) for act in acts]
        self.codes[at] = [self._code(act) for act in acts]
        self.sources[at] = [_source(act) for act in acts]
        self.replaced |= {act.seq: act.replaces for act in acts if act.replaces is not None}

    def _lengthen(self, n: int) -> None:
        if n <= len(self.codes):
            return
        n = max(n, len(self.codes) + len(self.codes) // 2)  # so that one more is not a copy of all
        self.codes, self.people = _longer(self.codes, n, NONE), _longer(self.people, n, NONE)
        self.kinds, self.sources = _longer(self.kinds, n, NONE), _longer(self.sources, n, 0)
        self.times, self.undone = _longer(self.times, n, b""), _longer(self.undone, n, False)

    def _code(self, act: Decision) -> int:
        kind = _kind(act)
        if kind == NONE or act.action == "unflag":
            return NONE
        return self.channels[CHANNELS[kind]].code(act.value)

    def _add(self, acts: Sequence[tuple[int, Decision]]) -> None:
        """Let acts count, given by their seq and a decision that repeats what they said."""
        by_kind: dict[int, list[tuple[int, BitMap]]] = {}
        for seq, act in acts:
            kind = int(self.kinds[seq])
            if kind != NONE:
                by_kind.setdefault(kind, []).append((seq, act.items))
            elif act.field == "finding":
                self.dismissed[str(act.value)] += 1
            else:
                key = (str(act.field), str(act.value))
                self.refused[key] = self.refused.get(key, BitMap()) | act.items
        for kind, pairs in by_kind.items():
            self.channels[CHANNELS[kind]].add(*flat(pairs))

    def _take(self, decision: Decision) -> None:
        """Fold an act that replaces a label, an undo or a redo."""
        gone, fresh = decision.replaces, decision.value
        if decision.action == "undo":
            gone, fresh = fresh, gone
        trades = decision.replaces is not None and gone is not None and fresh is not None
        unused = trades and not self._stands(decision.field, fresh)
        if decision.replaces is not None:
            self.stale.add(str(decision.field))
        if decision.action == "undo":
            self._withdraw(decision)
        else:
            self._restore(decision)
        if unused and not self._stands(decision.field, gone):
            self._trade(str(decision.field), str(gone), str(fresh))

    def _restore(self, decision: Decision) -> None:
        """Let an act count: a new one, or one of before in its old place in the order."""
        seq = decision.undoes or decision.seq
        self.undone[seq] = False
        if decision.is_act:
            self._hand_on(decision)
        self._add([(seq, decision)])
        if not decision.is_act:
            self._trace(seq, decision.items)
        if self.kinds[seq] == NONE and decision.field != "finding":
            self.stale.add(str(decision.field))  # it may have another name by now

    def _withdraw(self, undo: Decision) -> None:
        """Give the items on which the act stood back to the newest earlier act that counts."""
        act = int(undo.undoes or 0)
        kind = int(self.kinds[act])
        self.undone[act] = True
        if kind != NONE:
            channel, items = self.channels[CHANNELS[kind]], numbers(undo.items)
            lost = items[channel.winner[items] == act]
            channel.winner[lost] = self.earlier(CHANNELS[kind], act, lost)
            channel.acts[items] -= 1
            self._trace(act, undo.items)
        elif undo.field == "finding":
            self.dismissed[str(undo.value)] -= 1
        else:
            self.stale.add(str(undo.field))

    def _hand_on(self, act: Decision) -> None:
        """Write down, before an act replaces labels, who gave them."""
        name, items = str(act.field), numbers(act.items)
        channel = self.channels[name]
        before = channel.winner[items]
        same = self.codes[before] == channel.legend.get(str(act.replaces), NOTHING)
        channel.giver[items] = np.where(same, self.givers(name, items, before), act.seq)

    def _trace(self, act: int, named: BitMap) -> None:
        """Find anew who gave the labels that were renamed, where an act was undone or redone."""
        if self.kinds[act] == NONE:
            return
        name = CHANNELS[self.kinds[act]]
        channel, items = self.channels[name], numbers(named)
        items = items[self.sources[channel.winner[items]] == REPLACED]
        if not len(items):
            return
        at, seqs = self._counting_on(name, items)
        past = seqs <= channel.winner[items][at]
        at, seqs = at[past], seqs[past]
        channel.giver[items[at]] = self._first_of(name, at, seqs)

    def _counting_on(self, name: str, items: Int64) -> tuple[Int64, Int32]:
        """Return the acts on a channel that are not undone and name `items`, as `mentions` does."""
        at, seqs = self.mentions(items)
        ours = (self.kinds[seqs] == CHANNELS.index(name)) & ~self.undone[seqs]
        return at[ours], seqs[ours]

    def _first_of(self, name: str, at: Int64, seqs: Int32) -> Int32:
        """Return of each act (k,), in order of item and seq, which one gave the label it renamed.

        It is the act itself unless it replaces the very label that the one before it left.
        """
        legend = self.channels[name].legend
        gone = {act: legend.get(self.replaced[act], NOTHING)
                for act in np.unique(seqs[self.sources[seqs] == REPLACED]).tolist()}  # fmt: skip
        wanted = np.array([gone.get(seq, NOTHING) for seq in seqs.tolist()], np.int32)
        same = np.zeros(len(seqs), np.bool_)
        same[1:] = (at[1:] == at[:-1]) & (self.codes[seqs[:-1]] == wanted[1:])
        return seqs[np.maximum.accumulate(np.where(same, 0, np.arange(len(seqs))))]

    def _refused_anew(self, name: str) -> dict[str, BitMap]:
        """Replay the refusals of a field, and what was renamed between them."""
        found: dict[str, BitMap] = {}
        ours = self.counting(name)
        renamed = ours[self.sources[ours] == REPLACED]
        fresh = self.label(name, renamed.astype(np.int32))
        names = [(int(at), self.replaced[at], new) for at, new in zip(renamed, fresh, strict=True)]
        said = [
            (seq, value, items)
            for seq, value, items in self._read_refusals(name)
            if seq <= self.head and not self.undone[seq]
        ]
        for _, value, what in sorted([*said, *names], key=itemgetter(0)):
            if isinstance(what, BitMap):
                found[value] = found.get(value, BitMap()) | what
            elif what is not None and value in found:
                found[what] = found.pop(value) | found.get(what, BitMap())
        return found

    def _stands(self, name: str | None, value: str | None) -> bool:
        channel = self.channels[str(name)]
        code = channel.legend.get(str(value))
        return code is not None and bool((self.codes[channel.winner] == code).any())

    def _trade(self, name: str, gone: str, fresh: str) -> None:
        """Give a label the code, and so the colour, of the one that it took the place of.

        Neither is on any item but those that the decision names, so nobody else's code changes.
        """
        channel, ours = self.channels[name], self.kinds == CHANNELS.index(name)
        a, b = channel.code(gone), channel.code(fresh)
        old, new = ours & (self.codes == a), ours & (self.codes == b)
        self.codes[old], self.codes[new] = b, a
        by_code = list(channel.legend)
        by_code[a], by_code[b] = fresh, gone
        channel.legend = {value: code for code, value in enumerate(by_code)}


def flat(pairs: Iterable[tuple[int, BitMap]]) -> tuple[Int64, Int32]:
    """Return the items of decisions in one array (k,), and the seq of the decision of each (k,)."""
    items, seqs, sizes = array("I"), [], []
    for seq, bitmap in pairs:
        items += bitmap.to_array()
        seqs.append(seq)
        sizes.append(len(bitmap))
    held = np.frombuffer(items, np.uint32) if items else np.empty(0, np.uint32)
    return held.astype(np.int64), np.repeat(np.array(seqs, np.int32), sizes)


def numbers(items: BitMap) -> Int64:
    """Return a bitmap as item numbers (m,), ascending."""
    return np.asarray(items.to_array(), dtype=np.int64)


def _kind(act: Decision) -> int:
    """Return the channel of an act. Each flag is one: setting one leaves the others alone."""
    if act.action == "label":
        return CHANNELS.index(str(act.field))
    return CHANNELS.index(str(act.value)) if act.field == "flag" else NONE


def _source(act: Decision) -> int:
    if act.replaces is not None:
        return REPLACED
    return 0 if act.source is None else 1 + SOURCES.index(act.source)


def _longer(values: npt.NDArray[Any], n: int, fill: object) -> npt.NDArray[Any]:
    # zeros take no memory before something is written: most channels of most datasets stay empty
    longer = np.full(n, fill, values.dtype) if fill else np.zeros(n, values.dtype)
    longer[: len(values)] = values
    return longer
