"""`decisions.sqlite`: the append-only journal of what people decided, one transaction an act."""

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from curation.journal_file import DAMAGED, JournalFile
from curation.schema import ACTIONS, FLAGS, SOURCES, Act, Decision, clean_label
from embeddings.errors import CurationError
from embeddings.schema import Ids

Int64 = npt.NDArray[np.int64]

LOOKUP = 50_000  # ids per SQL statement, sent as one JSON array: 1.8 MB of text
CHUNK = 10_000  # decisions in RAM at a time where all of them are read

_COLUMNS = (
    "seq, decision_id, made_at, made_by, action, field, value, n_items, items, atlas, "
    "undoes, note, source, replaces, part_of"
)
# A person's acts are undone newest first and redone oldest first, so the top of the undo stack is
# the newest act that is not undone now ...
_UNDOABLE = f"""
SELECT {_COLUMNS} FROM decisions AS act
WHERE made_by = :who AND undoes IS NULL AND coalesce(
    (SELECT action FROM decisions AS later WHERE later.undoes = act.seq
     ORDER BY later.seq DESC LIMIT 1), 'redo') = 'redo'
ORDER BY seq DESC LIMIT 1
"""
# ... and the top of the redo stack is the oldest of those undone since the person's last act.
_REDOABLE = f"""
SELECT {_COLUMNS} FROM decisions WHERE seq = (
    SELECT min(step.undoes) FROM decisions AS step
    WHERE step.made_by = :who AND step.action = 'undo'
    AND step.seq > (SELECT coalesce(max(seq), 0) FROM decisions
                    WHERE made_by = :who AND undoes IS NULL)
    AND NOT EXISTS (SELECT 1 FROM decisions AS later
                    WHERE later.undoes = step.undoes AND later.seq > step.seq))
"""
# Of a step, what an undo or a redo has not done already.
_PARTS = f"""
SELECT {_COLUMNS} FROM decisions AS act
WHERE (seq = :root OR part_of = :root) AND (:not_now IS NULL OR :not_now <> coalesce(
    (SELECT action FROM decisions AS later WHERE later.undoes = act.seq
     ORDER BY later.seq DESC LIMIT 1), 'redo'))
ORDER BY seq
"""
_STACK = {"undo": _UNDOABLE, "redo": _REDOABLE}


class Overtaken(CurationError):
    """Somebody decided between looking and acting."""


class Journal(JournalFile):
    """The decisions of one dataset; safe from several threads and several processes."""

    # -- items ---------------------------------------------------------------------------------

    def register(self, item_ids: Sequence[str] | Ids) -> None:
        """Give every new id the next item_no, in the order given; known ids keep theirs."""
        ids = [str(item_id) for item_id in item_ids]
        new = self._unknown(ids)
        if not new:
            return
        with self._transaction() as db:
            new = self._unknown(new)  # another process may have come between
            rows = enumerate(dict.fromkeys(new), start=self.n_items)
            db.executemany("INSERT INTO items (item_no, item_id) VALUES (?, ?)", rows)

    @property
    def n_items(self) -> int:
        """How many ids are registered; their numbers are 0 to n_items - 1."""
        return int(self._read("SELECT coalesce(max(item_no) + 1, 0) FROM items")[0][0])

    def item_nos(self, item_ids: Sequence[str] | Ids) -> Int64:
        """Return the numbers of `item_ids` (m,) int64; CurationError names an unknown one."""
        ids = [str(item_id) for item_id in item_ids]
        numbers = self._lookup("item_no", "item_id", ids)
        if None in numbers:
            unknown = ids[numbers.index(None)]
            raise CurationError(f"unknown item {unknown!r}; build the dataset again to add it")
        return np.array(numbers, dtype=np.int64)

    def item_ids(self, item_nos: Sequence[int] | npt.NDArray[np.integer[Any]] | BitMap) -> Ids:
        """Return the ids of `item_nos` (m,) str; CurationError names an unknown number."""
        numbers = np.asarray(item_nos, dtype=np.int64).tolist()
        ids = self._lookup("item_id", "item_no", numbers)
        if None in ids:
            unknown = numbers[ids.index(None)]
            raise CurationError(f"unknown item number {unknown}; the journal has {self.n_items}")
        return np.array(ids, dtype=np.str_)

    # -- decisions -----------------------------------------------------------------------------

    def append(
        self,
        action: str,
        *,
        items: BitMap,
        made_by: str,
        field: str | None = None,
        value: str | None = None,
        atlas_version: str | None = None,
        note: str | None = None,
        source: str | None = None,
        head: int | None = None,
        watched: BitMap | None = None,
    ) -> Decision:
        """Append one act and return it once it is safe on disk; raises as `append_step` does."""
        act = Act(action, items, field, value, atlas_version, note, source)
        return self.append_step([act], made_by=made_by, head=head, watched=watched)[0]

    def append_step(
        self,
        acts: Sequence[Act],
        *,
        made_by: str,
        head: int | None = None,
        watched: BitMap | None = None,
    ) -> list[Decision]:
        """Append acts that are undone as one step; return them once they are safe on disk.

        Raises
        ------
        Overtaken
            When `head` is given and is not the newest seq: somebody has decided meanwhile. With
            `watched`, only where it was about one of these items.
        CurationError
            For no act, an action, field, value or source that does not exist, an empty selection,
            an item that is not registered, a text that `clean_label` refuses, or a file that
            cannot be written. Nothing is appended then.
        """
        clean = [_clean(act) for act in acts]
        if not clean:
            raise CurationError("a step needs an act, got none; say what is to be decided")
        who = clean_label(made_by, "name")
        with self._transaction():
            if head is not None and self._overtaken(head, watched):
                raise Overtaken("somebody has decided meanwhile; look again")
            largest = max(act.items.max() for act in clean)
            if largest >= self.n_items:
                raise CurationError(
                    f"unknown item number {largest}; the journal has {self.n_items} items, "
                    f"select again"
                )
            first = self._insert(who, clean[0])
            return [first, *(self._insert(who, act, part_of=first.seq) for act in clean[1:])]

    def undo(self, made_by: str, seq: int | None = None) -> Decision:
        """Take back the newest standing act of `made_by`, which must be `seq` where it is given.

        Raises
        ------
        CurationError
            When there is none, or it is another: one made in another tab, say.
        """
        return self.back("undo", made_by, seq)[0]

    def redo(self, made_by: str, seq: int | None = None) -> Decision:
        """Bring back what `made_by` undid last, which must be `seq` where it is given.

        Raises
        ------
        CurationError
            When there is nothing, or it is another act.
        """
        return self.back("redo", made_by, seq)[0]

    def back(self, action: str, made_by: str, seq: int | None = None) -> list[Decision]:
        """Do what `undo` or `redo` does, as `action` says; return one decision for each act.

        Raises
        ------
        CurationError
            As they do.
        """
        who = clean_label(made_by, "name")
        with self._transaction():
            act = self._first(_STACK[action], {"who": who})
            if act is None:
                raise CurationError(f"nothing to {action} by {who}")
            if seq not in (None, act.seq):
                raise CurationError(
                    f"another act would be meant now (decision {act.seq}); look, and {action} again"
                )
            parts = self.parts(act, action)
            if action == "undo":
                parts.reverse()
            return [self._insert(who, _repeated(part, action), part.seq) for part in parts]

    def undoable(self, made_by: str) -> Decision | None:
        """Return the act that `undo` would take back."""
        return self._first(_UNDOABLE, {"who": clean_label(made_by, "name")})

    def redoable(self, made_by: str) -> Decision | None:
        """Return the act that `redo` would bring back; none after a new act."""
        return self._first(_REDOABLE, {"who": clean_label(made_by, "name")})

    def parts(self, act: Decision, action: str | None = None) -> list[Decision]:
        """Return the acts that were done in one step with `act`, itself too, in order.

        With ``"undo"`` only those that stand, with ``"redo"`` only those that do not.
        """
        root = act.part_of or act.seq
        rows = self._read(_PARTS, {"root": root, "not_now": action})
        return [self._decision(row) for row in rows]

    def since(
        self, seq: int = 0, limit: int | None = None, *, made_by: str | None = None
    ) -> list[Decision]:
        """Return the decisions after `seq` in order, at most `limit` of them, of one person."""
        who = "" if made_by is None else "AND made_by = :who"
        sql = f"SELECT {_COLUMNS} FROM decisions WHERE seq > :seq {who} ORDER BY seq LIMIT :limit"
        limit = -1 if limit is None else limit
        rows = self._read(sql, {"seq": seq, "who": made_by, "limit": limit})
        return [self._decision(row) for row in rows]

    def newest(
        self, limit: int | None = None, *, made_by: str | None = None, label: str | None = None
    ) -> list[Decision]:
        """Return the decisions newest first, at most `limit`, of one person, about one label."""
        sql = f"""SELECT {_COLUMNS} FROM decisions WHERE coalesce(made_by = :who, 1)
        AND (:label IS NULL OR field IN ('category', 'instance') AND :label IN (value, replaces))
        ORDER BY seq DESC LIMIT :limit"""
        limit = -1 if limit is None else limit
        rows = self._read(sql, {"who": made_by, "label": label, "limit": limit})
        return [self._decision(row) for row in rows]

    def each(self, *, made_by: str | None = None) -> Iterator[Decision]:
        """Yield all decisions in order, read in parts."""
        seq = 0
        while part := self.since(seq, CHUNK, made_by=made_by):
            yield from part
            seq = part[-1].seq

    def decisions(self, seqs: Sequence[int] | npt.NDArray[np.integer[Any]]) -> list[Decision]:
        """Return the decisions of these numbers that there are, in order."""
        wanted = json.dumps([int(seq) for seq in seqs])
        sql = (
            f"SELECT {_COLUMNS} FROM decisions "
            "WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq"
        )
        return [self._decision(row) for row in self._read(sql, (wanted,))]

    def bitmaps(self, until: int) -> Iterator[list[tuple[int, BitMap]]]:
        """Yield the seq and the items of every decision up to a seq, in order, in parts."""
        sql = "SELECT seq, items FROM decisions WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
        seq = 0
        while rows := self._read(sql, (seq, until, CHUNK)):
            yield [(at, self._bitmap(at, blob)) for at, blob in rows]
            seq = rows[-1][0]

    def items_of(self, seqs: Sequence[int]) -> list[tuple[int, BitMap]]:
        """Return the items of the decisions of these numbers, in order of seq."""
        sql = (
            "SELECT seq, items FROM decisions "
            "WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq"
        )
        rows = self._read(sql, (json.dumps(list(seqs)),))
        return [(seq, self._bitmap(seq, blob)) for seq, blob in rows]

    def refusals(self, field: str) -> list[tuple[int, str, BitMap]]:
        """Return the seq, the value and the items of all refusals, undone ones too, in order."""
        sql = (
            "SELECT seq, value, items FROM decisions "
            "WHERE action = 'refuse' AND field = ? ORDER BY seq"
        )
        rows = self._read(sql, (field,))
        return [(seq, value, self._bitmap(seq, blob)) for seq, value, blob in rows]

    @property
    def head(self) -> int:
        """The newest seq, 0 when nothing has been decided."""
        return int(self._read("SELECT coalesce(max(seq), 0) FROM decisions")[0][0])

    def identity(self, seq: int) -> str | None:
        """Return the random id of one decision, which no other journal holds at that number."""
        rows = self._read("SELECT decision_id FROM decisions WHERE seq = ?", (seq,))
        return str(rows[0][0]) if rows else None

    # -- inside --------------------------------------------------------------------------------

    def _overtaken(self, head: int, watched: BitMap | None) -> bool:
        if watched is None:
            return head != self.head
        return any(watched & decision.items for decision in self.since(head))

    def _insert(
        self, who: str, act: Act, undoes: int | None = None, part_of: int | None = None
    ) -> Decision:
        packed = BitMap(act.items)  # ours alone: the caller's bitmap may change later
        packed.run_optimize()
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        row = (uuid.uuid4().hex, now, who, act.action, act.field, act.value, len(packed))
        tail = (act.atlas_version, undoes, act.note, act.source, act.replaces, part_of)
        cursor = self._db.execute(
            f"INSERT INTO decisions ({_COLUMNS}) VALUES (NULL{', ?' * 14})",
            (*row, packed.serialize(), *tail),
        )
        assert cursor.lastrowid is not None  # an INSERT that did not raise has set it
        return Decision(cursor.lastrowid, *row, packed, *tail)

    def _first(self, sql: str, parameters: dict[str, str]) -> Decision | None:
        rows = self._read(sql, parameters)
        return self._decision(rows[0]) if rows else None

    def _decision(self, row: tuple[Any, ...]) -> Decision:
        return Decision(*(*row[:8], self._bitmap(row[0], row[8]), *row[9:]))

    def _bitmap(self, seq: int, blob: bytes) -> BitMap:
        try:
            return BitMap.deserialize(blob)
        except ValueError as error:
            raise CurationError(f"{self.path} {DAMAGED} (decision {seq})") from error

    def _unknown(self, ids: list[str]) -> list[str]:
        numbers = self._lookup("item_no", "item_id", ids)
        return [item_id for item_id, no in zip(ids, numbers, strict=True) if no is None]

    def _lookup(self, wanted: str, given: str, keys: list[Any]) -> list[Any]:
        """Return column `wanted` for each key of column `given`, None where there is none."""
        sql = (
            f"SELECT keys.key, items.{wanted} FROM json_each(?) AS keys "
            f"JOIN items ON items.{given} = keys.value"
        )
        found: list[Any] = [None] * len(keys)
        for start in range(0, len(keys), LOOKUP):
            for at, answer in self._read(sql, (json.dumps(keys[start : start + LOOKUP]),)):
                found[start + at] = answer
        return found


def _repeated(act: Decision, action: str) -> Act:
    """Return the undo or redo of an act: it says again what the act said, to be read alone."""
    return Act(
        action,
        act.items,
        act.field,
        act.value,
        act.atlas_version,
        source=act.source,
        replaces=act.replaces,
    )


def _clean(act: Act) -> Act:
    """Return the act as it is kept; CurationError for one that cannot be."""
    value = _clean_value(act.action, act.field, act.value)
    if not act.items:
        raise CurationError(f"nothing is selected to {act.action}; select at least one item")
    if act.source not in (None, *SOURCES):
        raise CurationError(f"unknown source {act.source!r}; known: {', '.join(SOURCES)}")
    note = None if act.note is None else clean_label(act.note, "note")
    replaced = None if act.replaces is None else clean_label(act.replaces)
    return replace(act, value=value, note=note, replaces=replaced)


def _clean_value(action: str, field: str | None, value: str | None) -> str | None:
    acts = [name for name, fields in ACTIONS.items() if fields]
    if action not in acts:
        raise CurationError(f"unknown action {action!r}; known: {', '.join(acts)}")
    if field not in ACTIONS[action]:
        raise CurationError(f"{action} expects a field {' or '.join(ACTIONS[action])}, got {field}")
    if value is None and action == "label":
        return None  # clears the label
    cleaned = clean_label(value or "", field)
    if field == "flag" and cleaned not in FLAGS:
        raise CurationError(f"unknown flag {cleaned!r}; known: {', '.join(FLAGS)}")
    return cleaned
