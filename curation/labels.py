"""What stands now: the journal folded into arrays over item_no, kept up to date by its tail."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from curation.folding import CHANNELS, NOBODY, NONE, Channel, Folded, numbers
from curation.journal import CHUNK, Journal
from curation.schema import FLAG_BITS, FLAGS, SOURCES, Decision
from curation.snapshot import Snapshot
from embeddings.errors import CurationError
from embeddings.schema import Int32

Objects = npt.NDArray[np.object_]
ItemNos = npt.NDArray[np.integer[Any]] | Sequence[int]

KEEP_EVERY = 10_000  # decisions after which the state is kept anew: read and folded in under 1 s


@dataclass(frozen=True)
class Change:
    """What an act, its undo or its redo would change: `items` go from one value to another.

    `field` is ``"category"``, ``"instance"`` or the name of a flag; None = no value.
    """

    field: str
    before: str | None
    after: str | None
    items: BitMap


@dataclass(frozen=True)
class StandingActs:
    """The acts on one field that are not undone, oldest first, as parallel arrays (m,).

    `today` is `code` after what was renamed, merged or deleted since.
    `person` is an index into `people`, `code` into `legend` (-1 = the label was taken away),
    `source` 1 + the place in `schema.SOURCES`, 0 for a label that was just given, and
    `folding.REPLACED` where a label was renamed, merged or deleted. `head` is the newest seq known;
    `life` is another object once the journal was folded anew, so that nothing known holds.
    """

    seq: Int32
    person: Int32
    code: Int32
    today: Int32
    source: npt.NDArray[np.int8]
    people: tuple[str, ...]
    legend: tuple[str, ...]
    head: int
    life: object


class LabelState:
    """The labels, flags, refusals and dismissed findings that stand now.

    The state is the replay, in the order of `seq`, of the acts that are not undone. An undone act
    counts as if it had never been: what others decided later stays, what stood before returns.
    All methods may be called from several threads.

    Parameters
    ----------
    kept : Path, optional
        Where the state is kept, so that a long journal need not be folded from its beginning.
    """

    def __init__(self, journal: Journal, kept: Path | None = None) -> None:
        self._journal = journal
        self._lock = threading.RLock()
        self._kept = None if kept is None else Snapshot(kept)
        self._state: Folded | None = None  # None where a decision was folded in part only
        self._anew = False  # whether the journal went another way than the one read first
        self.refresh()

    def refresh(self) -> int:
        """Fold what was decided since the last call; return the newest seq known."""
        with self._lock:
            folded = self._follow(self._from_kept() if self._state is None else self._state)
            if self._kept is not None and folded.head - self._kept.head >= KEEP_EVERY:
                self._kept.save(folded)
            return folded.head

    def restored(self) -> bool:
        """Return whether the journal is not the one read first: another file, or put back."""
        with self._lock:
            folded = self._folded
            other = self._journal.identity(folded.head) != folded.identity
            return other or self._anew or self._journal.replaced()

    def settle(self) -> None:
        """Return once the state that is being kept has been written."""
        if self._kept is not None:
            self._kept.wait()

    @contextmanager
    def still(self) -> Iterator[int]:
        """Let nobody fold more in meanwhile; yield the seq of the newest decision that counts.

        Several answers taken inside show one state: without it, another thread may come between.
        """
        with self._lock:
            yield self._folded.head

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
                bits[self._folded.codes[self._winners(flag, item_nos)] != NONE] |= bit
            return bits

    def made_by(self, item_nos: ItemNos, field: str) -> Objects:
        """Return who gave each item its label or flag (m,); None where nothing stands.

        Also where somebody else renamed the label, or merged it into another, since then.
        `field` is ``"category"``, ``"instance"`` or the name of a flag.
        """
        with self._lock:
            names = np.array([*self._folded.names, None], dtype=object)
            found: Objects = names[self._folded.people[self._standing(field, item_nos)]]
            return found

    def decided_at(self, item_nos: ItemNos, field: str) -> Objects:
        """Return when (ISO 8601 UTC) each label or flag was given (m,); None where none stands."""
        with self._lock:
            seqs = self._standing(field, item_nos)
            told = np.full(self._folded.head + 1, None, dtype=object)
            used = np.flatnonzero(np.bincount(seqs, minlength=1)[1:]) + 1  # without NOBODY
            told[used] = self._folded.times[used].astype(np.str_)
            return told[seqs]

    def sources(self, item_nos: ItemNos, field: str) -> Objects:
        """Return the source (`schema.SOURCES`) of each label (m,); None where it was just given."""
        with self._lock:
            names = np.array([None, *SOURCES, None], dtype=object)
            found: Objects = names[self._folded.sources[self._standing(field, item_nos)]]
            return found

    def codes(self, field: str) -> tuple[Int32, list[str]]:
        """Return the code of each item (n_items,) int32, -1 = none, and the label of each code.

        A label keeps its code, and one that is renamed hands it on; the legend may hold labels
        that stand on no item any more. The code of an item changes only with a decision that
        names the item.
        """
        with self._lock:
            channel = self._channel(field)
            return self._folded.codes[channel.winner], list(channel.legend)

    def counts(self, field: str) -> dict[str, int]:
        """Return how many items carry each label, labels of no item left out."""
        codes, legend = self.codes(field)
        numbers = np.bincount(codes[codes != NONE], minlength=len(legend)).tolist()
        return {label: n for label, n in zip(legend, numbers, strict=True) if n}

    def tally(self, field: str, item_nos: ItemNos) -> dict[str, int]:
        """Return how many of the items (m,) carry each label, labels of none left out."""
        with self._lock:
            codes = self._folded.codes[self._winners(field, item_nos)]
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

    def refused(self, field: str) -> dict[str, BitMap]:
        """Return the items of which a person said that they are not `value`, by value.

        An item that carries the value now is left out: whoever gave it thought again. A value that
        was renamed or merged since goes by its new name.
        """
        with self._lock:
            self._channel(field)
            pairs = self._folded.refused_of(field).items()
            found = {value: items - self.items_with(field, value) for value, items in pairs}
        return {value: items for value, items in found.items() if items}

    # -- what happened --------------------------------------------------------------------------

    def dismissed(self) -> set[str]:
        """Return the ids of the findings that somebody dismissed."""
        with self._lock:
            return {finding for finding, times in self._folded.dismissed.items() if times}

    def changed_since(self, seq: int) -> BitMap:
        """Return the numbers of the items that decisions after `seq` name, undo and redo too."""
        with self._lock:
            return BitMap(np.flatnonzero(self._folded.named > seq).astype(np.uint32))

    def history(self, item_no: int) -> list[Decision]:
        """Return every decision that names the item, oldest first, undo and redo too."""
        return self._journal.decisions(self.naming(np.array([item_no]))[1])

    def preview(self, parts: Sequence[Decision], *, undo: bool) -> list[Change]:
        """Return what the undo, or the redo, of acts of one step would change; nothing is done."""
        found: list[Change] = []
        with self._lock:
            later: dict[str, BitMap] = {}  # of one step the last act about an item counts
            for part in reversed(parts):
                name = self._folded.channel_of(part.seq)
                if name is not None:
                    items = part.items if undo else part.items - later.get(name, BitMap())
                    later[name] = later.get(name, BitMap()) | part.items
                    found += self._changes(name, part.seq, items, parts if undo else ())
        return found[::-1]

    # -- for those who look behind the labels -----------------------------------------------------

    @property
    def n_items(self) -> int:
        """How many items were registered when the state was folded last."""
        with self._lock:
            return len(self._folded.named)

    def naming(self, item_nos: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Int32]:
        """Return what decided about `item_nos` (m,) sorted: place in them and seq, (k,) each.

        Every decision that names an item, undo and redo too, in order of the item and the seq. The
        first call reads the whole journal; from then on what is new is followed.
        """
        with self._lock:
            return self._folded.mentions(item_nos)

    def standing_acts(self, field: str) -> StandingActs:
        """Return all acts on a field that are not undone, oldest first."""
        with self._lock:
            folded, channel = self._folded, self._channel(field)
            seqs = folded.counting(field)
            return StandingActs(
                seqs.astype(np.int32),
                folded.people[seqs],
                folded.codes[seqs],
                folded.codes_today(field, seqs),
                folded.sources[seqs],
                tuple(folded.names),
                tuple(channel.legend),
                folded.head,
                folded.life,
            )

    # -- inside ---------------------------------------------------------------------------------

    @property
    def _folded(self) -> Folded:
        """The state, folded again first where the last fold ended half-way."""
        return self._follow(self._from_kept()) if self._state is None else self._state

    def _from_kept(self) -> Folded:
        folded = Folded(self._journal.bitmaps, self._journal.items_of, self._journal.refusals)
        if self._kept is not None:
            self._kept.load(folded, self._journal)
        return folded

    def _follow(self, folded: Folded) -> Folded:
        """Fold what was decided since; all anew where the journal was put back meanwhile."""
        while True:
            tail = self._tail(folded)
            if tail is None:
                folded, self._anew = self._from_kept(), True
                continue
            self._state = None  # what is folded in part must never be folded on
            folded.grow(self._journal.n_items)
            folded.fold(tail)
            self._state = folded
            if len(tail) < CHUNK:
                return folded

    def _tail(self, folded: Folded) -> list[Decision] | None:
        """Return what follows the state; None where the journal is not the one it was read from."""
        if not folded.head:
            return self._journal.since(0, CHUNK)
        # one read, the newest known decision too: nobody can put the journal back in between
        found = self._journal.since(folded.head - 1, CHUNK + 1)
        return found[1:] if found and found[0].decision_id == folded.identity else None

    def _changes(
        self, name: str, act: int, named: BitMap, undone: Sequence[Decision]
    ) -> Iterator[Change]:
        """Yield what becomes of items when the step `undone` is, or, without one, `act` redone."""
        folded, items = self._folded, numbers(named)
        winner = folded.channels[name].winner[items]
        moves = winner == act if undone else winner < act
        items, winner = items[moves], winner[moves]
        if undone:
            later = folded.earlier(name, act, items, [part.seq for part in undone])
        else:
            later = np.full(len(items), act, np.int32)
        before, after = folded.codes[winner], folded.codes[later]
        legend = [*folded.channels[name].legend, None]
        for a, b in np.unique(np.stack([before, after]), axis=1).T.tolist():
            if a != b:
                chosen = items[(before == a) & (after == b)]
                yield Change(name, legend[a], legend[b], BitMap(chosen.astype(np.uint32)))

    def _channel(self, name: str) -> Channel:
        channel = self._folded.channels.get(name)
        if channel is None:
            raise CurationError(f"unknown field {name!r}; known: {', '.join(CHANNELS)}")
        return channel

    def _winners(self, name: str, item_nos: ItemNos) -> Int32:
        """Return the seq of what stands on each item; 0 for items registered since refresh."""
        winner = self._channel(name).winner
        wanted = np.asarray(item_nos, dtype=np.int64)
        if len(wanted) and wanted.min() < 0:
            raise ValueError(f"item numbers start at 0, got {wanted.min()}")
        known = wanted < len(winner)
        found = np.full(len(wanted), NOBODY, np.int32)
        found[known] = winner[wanted[known]]
        return found

    def _standing(self, name: str, item_nos: ItemNos) -> Int32:
        """Return the seq of what gave each item what stands, and 0 where nothing does."""
        winners = self._winners(name, item_nos)
        givers = self._folded.givers(name, np.asarray(item_nos, dtype=np.int64), winners)
        bare = self._folded.codes[winners] == NONE
        return np.where(bare, NOBODY, givers).astype(np.int32)

    def _values(self, name: str, item_nos: ItemNos) -> Objects:
        with self._lock:
            return self._folded.label(name, self._winners(name, item_nos))
