"""What the curator decides on the Clean page: each act once, in order, and how it went."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from curation.app.components import cleaning_sheets as sheets
from curation.app.components import cleaning_wire as wire
from curation.app.components.cleaning import ANSWERS, Answer, Desk, Done, Result, Stale
from curation.app.components.cleaning_wire import Told
from curation.learning.batches import Batch
from curation.overview import likely_labels
from curation.schema import FIELDS, clean_label
from embeddings.errors import CurationError
from embeddings.schema import Int32


class Ask(CurationError):
    """A question instead of an act: nothing was done, `choices` are what can be answered."""

    def __init__(self, text: str, *choices: tuple[str, dict[str, Any] | None]) -> None:
        super().__init__(text)
        self.choices = choices


def take(desk: Desk, message: object) -> None:
    """Do what the browser tells, each act once, in order; the answers say how it went."""
    for told in wire.decode_acts(message):
        if told.seq <= desk.heard:
            continue  # told again, because the answer had not arrived
        desk.heard = told.seq
        desk.answers = [*desk.answers[1 - ANSWERS :], _answered(desk, told)]


def _answered(desk: Desk, told: Told) -> Answer:
    try:
        if told.op not in OPS:
            raise CurationError(wire.NOWHERE)
        return Answer(told.seq, *OPS[told.op](desk, told))
    except Ask as question:
        return Answer(told.seq, "ask", str(question), question.choices)
    except Stale as trouble:
        return Answer(told.seq, "stale", str(trouble))
    except CurationError as error:
        return Answer(told.seq, "refused", str(error))


def confirm(desk: Desk, told: Told) -> Result:
    """Label what is kept of a sheet; what was taken out is refused."""
    batch = desk.sheet_of(told)
    typed = {name: label.strip() for name, label in (told.labels or {}).items() if label.strip()}
    name = typed.get(desk.field) or batch.proposed
    if not name:
        raise CurationError("name the sheet first: press L and type, or a number key")
    labels = {kind: clean_label(typed[kind]) for kind in FIELDS if kind in typed}
    labels[desk.field] = clean_label(name)
    _ask_spelling(desk, told, labels)
    kept = _kept(batch, told)
    free = kept[wire.still_open(desk.helper)[kept]]
    _ask_overwriting(desk, told, labels, kept, free)
    return _label(desk, told, batch, labels, kept, free)


def _kept(batch: Batch, told: Told) -> Int32:
    mask = np.zeros(len(batch), np.bool_)
    mask[: told.cut] = True
    mask[list(told.out)] = False
    mask[list(told.picked)] = True
    return batch.rows[mask]


def _ask_spelling(desk: Desk, told: Told, labels: dict[str, str]) -> None:
    """A slip must not become a second label."""
    for kind, label in labels.items():
        near = likely_labels(desk.workspace, label, kind)
        if near and "spelling" not in told.sure:
            sure = [*told.sure, "spelling"]
            others = [
                (f"Use {one}", {"labels": {**labels, kind: one}, "sure": sure}) for one in near
            ]
            new = (f"New: {label}", {"sure": sure})
            raise Ask(f"{label!r} is a new label. Did you mean one that there is?", *others, new)


def _ask_overwriting(
    desk: Desk, told: Told, labels: dict[str, str], kept: Int32, free: Int32
) -> None:
    """What people labelled is not changed unasked."""
    if "overwrite" in told.sure or not len(kept):
        return
    for kind, label in labels.items():
        if kind == desk.field and len(free):
            continue  # those that somebody labelled meanwhile keep theirs: that is said
        forecast = desk.workspace.forecast(desk.helper.selection(kept), label, kind)
        if forecast.overwrites:
            held = ", ".join(f"{n:,} {one}" for one, n in forecast.relabels.items())
            raise Ask(
                f"{forecast.overwrites:,} of these {len(kept):,} have another {kind} by now: "
                f"{held[:200]}.",
                ("Keep theirs", None),
                (f"Change them to {label}", {"sure": [*told.sure, "overwrite"]}),
            )


def _label(
    desk: Desk, told: Told, batch: Batch, labels: dict[str, str], kept: Int32, free: Int32
) -> Result:
    helper, head = desk.helper, desk.workspace.journal.head
    name = labels.pop(desk.field)
    rows = kept if "overwrite" in told.sure else free
    if "overwrite" in told.sure and len(kept):
        desk.workspace.label(helper.selection(kept), name, field=desk.field, overwrite=True)
    else:
        helper.confirm(
            batch,
            batch.rows[list(told.out)],
            value=name,
            cut=told.cut,
            picked=batch.rows[list(told.picked)],
            refuse_rest=told.looked,
        )
    for kind, label in labels.items():
        if len(rows):
            overwrite = "overwrite" in told.sure
            desk.workspace.label(helper.selection(rows), label, field=kind, overwrite=overwrite)
    desk.keep(desk.since(head), batch, len(rows))
    desk.use(name)
    desk.turn(told, batch)
    late = len(kept) - len(rows)
    more = f" {late:,} had a label by now and keep it." if late else ""
    return "done", f"{len(rows):,} labelled {name}.{more}"


def refuse(desk: Desk, told: Told) -> Result:
    """Say that nothing on the sheet is what it was proposed as."""
    batch = desk.sheet_of(told)
    name = (told.labels or {}).get(desk.field, "").strip() or batch.proposed
    if not name:
        raise CurationError("this sheet has no name to refuse: S splits it, N skips it")
    head = desk.workspace.journal.head
    desk.helper.refuse(batch.rows, clean_label(name))
    desk.keep(desk.since(head), batch)
    if batch.proposed is None:  # a cluster would be the first again; others get their second guess
        sheets.pass_over(desk, told, batch)
    else:
        desk.turn(told, batch)
    return "done", f"{len(batch):,} are not {name}: back in the pool."


def _flagged(desk: Desk, told: Told, flag: str, note: str | None) -> Result:
    """Flag the chosen items, which leave the sheet, or else the whole sheet."""
    batch = desk.sheet_of(told)
    rows = batch.rows[list(told.chosen)] if told.chosen else batch.rows
    head = desk.workspace.journal.head
    desk.workspace.flag(desk.helper.selection(rows), flag, note=note)
    desk.keep(desk.since(head), batch)
    if len(rows) == len(batch):
        sheets.pass_over(desk, told, batch)
    else:
        rest = ~np.isin(batch.rows, rows)
        cut = int(np.count_nonzero(rest[: batch.cut]))
        desk.current = replace(batch, rows=batch.rows[rest], cut=cut)
        desk.passed = np.union1d(desk.passed, rows).astype(np.int32)
    items = "item" if len(rows) == 1 else "items"
    return "done", f"{len(rows):,} {items} marked {flag}."


def unsure(desk: Desk, told: Told) -> Result:
    """Flag as unclear: a third answer beside yes and no."""
    return _flagged(desk, told, "unclear", told.value or None)


def exclude(desk: Desk, told: Told) -> Result:
    """Leave items out of exports, with a reason."""
    return _flagged(desk, told, "excluded", told.value or None)


def undo(desk: Desk, told: Told) -> Result:
    """Take back the newest act as one, and show its sheet as it was."""
    workspace, mine = desk.workspace, desk.done[-1] if desk.done else None
    newest = workspace.journal.undoable(workspace.made_by)
    if newest is None:
        return "note", "there is nothing to undo"
    if mine is None or newest.seq not in mine.seqs:
        workspace.undo(seq=newest.seq)  # of another page or day: it is a step of its own
        return "done", f"undone: {newest.words} · {newest.n_items:,}"
    desk.done.pop()
    parts = []
    while newest is not None and newest.seq in mine.seqs:
        parts.append(newest)
        workspace.undo(seq=newest.seq)
        newest = workspace.journal.undoable(workspace.made_by)
    desk.undone.append(mine)
    desk.count(-mine.labelled)
    if mine.batch is not None:
        desk.passed = np.setdiff1d(desk.passed, mine.batch.rows)
        desk.put([mine.batch], then=desk.in_hand())
    return "done", "undone: " + ", ".join(f"{part.words} · {part.n_items:,}" for part in parts)


def redo(desk: Desk, told: Told) -> Result:
    """Do again what was undone last, as one."""
    workspace, mine = desk.workspace, desk.undone[-1] if desk.undone else None
    newest = workspace.journal.redoable(workspace.made_by)
    if newest is None:
        return "note", "there is nothing to do again"
    if mine is None or newest.seq not in mine.seqs:
        workspace.redo(seq=newest.seq)
        return "done", f"done again: {newest.words} · {newest.n_items:,}"
    desk.undone.pop()
    parts = []
    while newest is not None and newest.seq in mine.seqs:
        parts.append(newest)
        workspace.redo(seq=newest.seq)
        newest = workspace.journal.redoable(workspace.made_by)
    desk.done.append(Done(mine.seqs, mine.batch, mine.labelled))
    desk.count(mine.labelled)
    return "done", "done again: " + ", ".join(f"{part.words} · {part.n_items:,}" for part in parts)


OPS: dict[str, Callable[[Desk, Told], Result]] = {
    "confirm": confirm,
    "refuse": refuse,
    "unsure": unsure,
    "exclude": exclude,
    "undo": undo,
    "redo": redo,
    **sheets.OPS,
}
