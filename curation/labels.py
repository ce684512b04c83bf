"""What stands now: the journal folded into arrays over item_no, kept up to date by its tail."""

import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from curation.journal import Journal
from curation.schema import FIELDS, FLAG_BITS, FLAGS, Decision
from embeddings.errors import CurationError
from embeddings.schema import Int32

Objects = npt.NDArray[np.object_]
ItemNos = npt.NDArray[np.integer[Any]] | Sequence[int]

NONE = -1  # the code of no label, and the position of no decision


@dataclass
class _Channel:
    """One thing that can stand on an item: a field's label, or one flag.

    `winner` (n,) int32 is the position of the decision that stands on each item, -1 for none;
    `acts` the positions of all decisions about this channel, ascending; `legend` its values.
    """

    winner: Int32 = field(default_factory=lambda: np.empty(0, np.int32))
    acts: list[int] = field(default_factory=list)
    legend: dict[str, int] = field(default_factory=dict)

    def code(self, value: str | None) -> int:
        """Return the code of `value`; a new one gets the next, and keeps it for ever."""
        return NONE if value is None else self.legend.setdefault(value, len(self.legend))


class LabelState:
    """The labels, flags and dismissed findings that stand now.

    The state is the replay, in the order of `seq`, of the acts that are not undone. An undone act
    counts as if it had never been: what others decided later stays, what stood before returns.
    All methods may be called from several threads.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.RLock()
        self._channels = {name: _Channel() for name in (*FIELDS, *FLAGS)}
        self._decisions: list[Decision] = []
        self._seqs: list[int] = []
        self._undone: set[int] = set()  # positions of acts that do not count now
        self._dismissed: Counter[str] = Counter()
        # By position. The last element answers for position -1, "nobody decided".
        self._codes: Int32 = np.full(1, NONE, np.int32)
        self._people: Objects = np.array([None], dtype=object)
        self._times: Objects = np.array([None], dtype=object)
        self.refresh()

    def refresh(self) -> int:
        """Fold what was decided since the last call; return the newest seq known."""
        with self._lock:
            tail = self._journal.since(self._seqs[-1] if self._seqs else 0)
            self._grow(self._journal.n_items)
            first = len(self._decisions)
            self._decisions += tail
            self._seqs += [decision.seq for decision in tail]
            self._extend(tail)
            for position, decision in enumerate(tail, start=first):
                self._fold(position, decision)
            return self._seqs[-1] if self._seqs else 0

    @contextmanager
    def still(self) -> Iterator[int]:
        """Let nobody fold more in meanwhile; yield the seq of the newest decision that counts.

        Several answers taken inside show one state: without it, another thread may come between.
        """
        with self._lock:
            yield self._seqs[-1] if self._seqs else 0

    # -- what stands on items -------------------------------------------------------------------

    def category(self, item_nos: ItemNos) -> Objects:
        """Return the category of each item (m,), None where there is none."""
        return self._values("category", item_nos)

    def instance(self, item_nos: ItemNos) -> Objects:
        """Return the instance of each item (m,), None where there is none."""
        return self._values("instance", item_nos)

    def flags(self, item_nos: ItemNos) -> npt.NDArray[np.uint8]:
        """Return the flags of each item (m,), a sum of `FLAG_BITS`."""
        with self._lock:
            bits = np.zeros(len(item_nos), np.uint8)
            for flag, bit in FLAG_BITS.items():
                bits[self._codes[self._winners(flag, item_nos)] != NONE] |= bit
            return bits

    def made_by(self, item_nos: ItemNos, field: str) -> Objects:
        """Return who gave each item its label or flag (m,); None where nothing stands.

        `field` is ``"category"``, ``"instance"`` or the name of a flag.
        """
        with self._lock:
            return self._people[self._standing(field, item_nos)]

    def decided_at(self, item_nos: ItemNos, field: str) -> Objects:
        """Return when (ISO 8601 UTC) each label or flag was given (m,); None where none stands."""
        with self._lock:
            return self._times[self._standing(field, item_nos)]

    def codes(self, field: str) -> tuple[Int32, list[str]]:
        """Return the code of each item (n_items,) int32, -1 = none, and the label of each code.

        A label keeps its code for the life of the journal; the legend may hold labels that stand
        on no item any more.
        """
        with self._lock:
            channel = self._channel(field)
            return self._codes[channel.winner], list(channel.legend)

    def counts(self, field: str) -> dict[str, int]:
        """Return how many items carry each label, labels of no item left out."""
        codes, legend = self.codes(field)
        numbers = np.bincount(codes[codes != NONE], minlength=len(legend)).tolist()
        return {label: n for label, n in zip(legend, numbers, strict=True) if n}

    def tally(self, field: str, item_nos: ItemNos) -> dict[str, int]:
        """Return how many of the items (m,) carry each label, labels of none left out."""
        with self._lock:
            codes = self._codes[self._winners(field, item_nos)]
            legend = list(self._channel(field).legend)
        numbers = np.bincount(codes[codes != NONE], minlength=len(legend)).tolist()
        return {label: n for label, n in zip(legend, numbers, strict=True) if n}

    def items_with(self, field: str, value: str | None) -> BitMap:
        """Return the numbers of the items labelled `value`; None = those without a label."""
        codes, legend = self.codes(field)
        if value is not None and value not in legend:
            return BitMap()
        code = NONE if value is None else legend.index(value)
        return BitMap(np.flatnonzero(codes == code).astype(np.uint32))

    def flagged(self, flag: str) -> BitMap:
        """Return the numbers of the items that carry `flag`; CurationError for an unknown one."""
        if flag not in FLAGS:
            raise CurationError(f"unknown flag {flag!r}; known: {', '.join(FLAGS)}")
        return self.items_with(flag, flag)

    # -- what happened --------------------------------------------------------------------------

    def dismissed(self) -> set[str]:
        """Return the ids of the findings that somebody dismissed."""
        with self._lock:
            return {finding for finding, times in self._dismissed.items() if times}

    def changed_since(self, seq: int) -> BitMap:
        """Return the numbers of the items that decisions after `seq` name, undo and redo too."""
        with self._lock:
            start = bisect_right(self._seqs, seq)
            return BitMap().union(*(decision.items for decision in self._decisions[start:]))

    def history(self, item_no: int) -> list[Decision]:
        """Return every decision that names the item, oldest first, undo and redo too."""
        with self._lock:
            return [decision for decision in self._decisions if item_no in decision.items]

    # -- folding --------------------------------------------------------------------------------

    def _fold(self, position: int, decision: Decision) -> None:
        """Let one decision count: a new act wins, an undo withdraws, a redo restores."""
        if decision.undoes is None:
            act, restoring = position, True
        else:
            act = bisect_right(self._seqs, decision.undoes) - 1
            restoring = decision.action == "redo"
            (self._undone.discard if restoring else self._undone.add)(act)
        named = self._decisions[act]
        if named.field == "finding":
            self._dismissed[str(named.value)] += 1 if restoring else -1
            return
        channel = self._channels[_channel_name(named)]
        if act == position:
            channel.acts.append(act)
        (self._restore if restoring else self._withdraw)(channel, act)

    def _restore(self, channel: _Channel, act: int) -> None:
        """Let `act` win where nothing later stands; its place in the order never changes."""
        items = _numbers(self._decisions[act].items)
        channel.winner[items[channel.winner[items] < act]] = act

    def _withdraw(self, channel: _Channel, act: int) -> None:
        """Give the items on which `act` stood back to the newest earlier act that counts."""
        items = _numbers(self._decisions[act].items)
        items = items[channel.winner[items] == act]
        channel.winner[items] = NONE
        bare = BitMap(items)
        for earlier in self._counting_before(channel, act):
            if not bare:
                return
            found = bare & self._decisions[earlier].items
            channel.winner[_numbers(found)] = earlier
            bare -= found

    def _counting_before(self, channel: _Channel, act: int) -> Iterator[int]:
        for at in range(bisect_right(channel.acts, act) - 2, -1, -1):
            if channel.acts[at] not in self._undone:
                yield channel.acts[at]

    def _extend(self, tail: list[Decision]) -> None:
        """Append code, person and time of each decision, the answer for "nobody" staying last."""
        codes = [self._code(decision) for decision in tail]
        people = [decision.made_by for decision in tail]
        times = [decision.made_at for decision in tail]
        self._codes = np.concatenate([self._codes[:-1], np.array([*codes, NONE], np.int32)])
        self._people = np.concatenate([self._people[:-1], np.array([*people, None], object)])
        self._times = np.concatenate([self._times[:-1], np.array([*times, None], object)])

    def _code(self, decision: Decision) -> int:
        if decision.field == "finding" or not decision.is_act or decision.action == "unflag":
            return NONE
        return self._channels[_channel_name(decision)].code(decision.value)

    def _grow(self, n: int) -> None:
        for channel in self._channels.values():
            if len(channel.winner) == n:
                continue  # not copied for nothing: 4 MB each at 1,000,000 items
            fresh = np.full(n - len(channel.winner), NONE, np.int32)
            channel.winner = np.concatenate([channel.winner, fresh])

    # -- looking up -----------------------------------------------------------------------------

    def _channel(self, name: str) -> _Channel:
        channel = self._channels.get(name)
        if channel is None:
            raise CurationError(f"unknown field {name!r}; known: {', '.join(self._channels)}")
        return channel

    def _winners(self, name: str, item_nos: ItemNos) -> Int32:
        """Return the position that stands on each item; -1 for items registered since refresh."""
        winner = self._channel(name).winner
        numbers = np.asarray(item_nos, dtype=np.int64)
        if len(numbers) and numbers.min() < 0:
            raise ValueError(f"item numbers start at 0, got {numbers.min()}")
        known = numbers < len(winner)
        found = np.full(len(numbers), NONE, np.int32)
        found[known] = winner[numbers[known]]
        return found

    def _standing(self, name: str, item_nos: ItemNos) -> Int32:
        winners = self._winners(name, item_nos)
        return np.where(self._codes[winners] == NONE, NONE, winners).astype(np.int32)

    def _values(self, name: str, item_nos: ItemNos) -> Objects:
        with self._lock:
            legend = np.array([*self._channels[name].legend, None], dtype=object)
            return legend[self._codes[self._winners(name, item_nos)]]


def _channel_name(decision: Decision) -> str:
    """Each flag is a channel of its own: setting one leaves the others alone."""
    return str(decision.value if decision.field == "flag" else decision.field)


def _numbers(items: BitMap) -> npt.NDArray[np.int64]:
    return np.asarray(items.to_array(), dtype=np.int64)
