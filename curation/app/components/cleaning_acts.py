"""What the curator decides on the Clean page: each act once, in order, and how it went."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from curation.app.components import cleaning_sheets as sheets
from curation.app.components import cleaning_wire as wire
from curation.app.components.cleaning import ANSWERS, Answer, Desk, Result, Stale
from curation.app.components.cleaning_wire import Told
from curation.journal import Overtaken
from curation.learning.batches import Batch
from curation.overview import likely_labels
from curation.schema import FIELDS, Decision, Forecast, clean_label
from embeddings.errors import CurationError
from embeddings.schema import Int32

# What one answers about another name, about one that is gone by now, and about a new one; and
# what is asked about a new one.
GIVING = ("Use {}", "{} again", "New: {}", "{!r} is a new label. Did you mean one that there is?")
REFUSING = (*("Not {}",) * 3, "No item is called {!r} yet. Which is it not?")


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
        return Answer(told.seq, "ask", str(question), choices=question.choices)
    except Stale as trouble:
        return Answer(told.seq, "stale", str(trouble))
    except CurationError as error:
        return Answer(told.seq, "refused", str(error))


def confirm(desk: Desk, told: Told) -> Result:
    """Label what is kept of a sheet and refuse what was taken out, as one step."""
    batch = desk.sheet_of(told)
    labels = _named(desk, told, batch)
    kept, refused = _sides(batch, told)
    while True:
        head = desk.helper.refresh()
        _ask_names(desk, told, labels)
        over = _changed(desk, told, labels, kept)
        try:
            done = desk.helper.decide(
                head, labels, kept, refused, over=over, proposed=batch.proposed
            )
        except Overtaken:
            continue  # what was asked about may be otherwise by now
        return _confirmed(desk, told, batch, labels, len(kept), done)


def _named(desk: Desk, told: Told, batch: Batch) -> dict[str, str]:
    """Return the label that the sheet gets, and that of the other field where one was typed."""
    typed = {name: label.strip() for name, label in (told.labels or {}).items() if label.strip()}
    name = typed.get(desk.field) or batch.proposed
    if not name:
        raise CurationError("name the sheet first: press L and type, or a number key")
    others = [kind for kind in FIELDS if kind in typed and kind != desk.field]
    return {desk.field: clean_label(name)} | {kind: clean_label(typed[kind]) for kind in others}


def _sides(batch: Batch, told: Told) -> tuple[Int32, Int32]:
    """Return what is kept and what is refused: taken out, or left behind the cut and looked at."""
    kept = np.arange(len(batch)) < told.cut
    refused = ~kept & told.looked
    kept[list(told.out)], refused[list(told.out)] = False, True
    kept[list(told.picked)], refused[list(told.picked)] = True, False
    return batch.rows[kept], batch.rows[refused]


def _ask_names(
    desk: Desk, told: Told, labels: dict[str, str], words: tuple[str, str, str, str] = GIVING
) -> None:
    """A slip must not become a second label, nor one come back that somebody did away with."""
    other, again, new, unknown = words
    for kind, label in labels.items():
        said = f"name:{kind}:{label}"
        if said in told.sure:
            continue
        sure = {"sure": [*told.sure, said]}
        now = desk.now_called(label, kind)
        if now is None:
            still = (again.format(label), sure)
            raise Ask(f"The {kind} {label!r} was deleted by now.", ("Leave it", None), still)
        near = [now] if now != label else likely_labels(desk.workspace, label, kind)
        others = [(other.format(one), {"labels": {**labels, kind: one}}) for one in near]
        if now != label:
            still = (again.format(label), sure)
            raise Ask(f"{label!r} is called {now!r} by now.", *others, still)
        if near:
            made = (new.format(label), sure)
            raise Ask(unknown.format(label), *others, made)


def _changed(desk: Desk, told: Told, labels: dict[str, str], kept: Int32) -> list[str]:
    """Return the fields in which labels that people gave are to change; that is never unasked."""
    over = []
    for kind, label in labels.items():
        if not len(kept):
            continue
        forecast = desk.workspace.forecast(desk.helper.selection(kept), label, kind)
        asked = f"{kind}:{forecast.overwrites}"
        if forecast.overwrites and f"overwrite:{asked}" in told.sure:
            over.append(kind)
        elif forecast.overwrites and f"keep:{asked}" not in told.sure:
            _ask_overwriting(desk, told, (kind, label), forecast)
    return over


def _ask_overwriting(desk: Desk, told: Told, named: tuple[str, str], forecast: Forecast) -> None:
    """Ask whether labels change; not where some are free, who labelled the others keep theirs."""
    kind, label = named
    mine, said = kind == desk.field, f"overwrite:{kind}:"
    free = forecast.overwrites + forecast.unchanged < forecast.items
    if mine and free and not any(one.startswith(said) for one in told.sure):
        return
    held = ", ".join(f"{n:,} {one}" for one, n in forecast.relabels.items())
    keep = {"sure": [*told.sure, f"keep:{kind}:{forecast.overwrites}"]}
    raise Ask(
        f"{forecast.overwrites:,} of these {forecast.items:,} have another {kind} by now: "
        f"{held[:200]}.",
        ("Keep theirs", None if mine and not free else keep),
        (f"Change them to {label}", {"sure": [*told.sure, f"{said}{forecast.overwrites}"]}),
    )


def _confirmed(
    desk: Desk,
    told: Told,
    batch: Batch,
    labels: dict[str, str],
    kept: int,
    done: list[Decision],
) -> Result:
    counts = {one.field: one.n_items for one in done if one.action == "label"}
    mine, name = counts.get(desk.field, 0), labels[desk.field]
    if done:
        desk.keep(done, batch, mine)
    desk.use(name)
    desk.turn(told, batch)
    late = kept - mine
    words = [f"{mine:,} labelled {name}."]
    words += [f"{late:,} had a label by now and keep it."] if late else []
    for kind, label in labels.items():
        given = counts.get(kind, 0)
        words += [f"{given:,} got the {kind} {label}."] if given != mine else []
    return "done", " ".join(words)


def refuse(desk: Desk, told: Told) -> Result:
    """Say that nothing on the sheet is what it was proposed as."""
    batch = desk.sheet_of(told)
    name = (told.labels or {}).get(desk.field, "").strip() or batch.proposed
    if not name:
        raise CurationError("this sheet has no name to refuse: S splits it, N skips it")
    labels = {desk.field: clean_label(name)}
    while True:
        head = desk.helper.refresh()
        _ask_names(desk, told, labels, REFUSING)
        try:
            step = desk.helper.decide(head, labels, batch.rows[:0], batch.rows)
        except Overtaken:
            continue  # it may be called otherwise by now
        break
    if batch.proposed is None:  # a cluster would be the first again; others get their second guess
        desk.keep(step, batch, passed=batch.rows)
        sheets.pass_over(desk, told, batch)
    else:
        desk.keep(step, batch)
        desk.turn(told, batch)
    return "done", f"{len(batch):,} are not {labels[desk.field]}: back in the pool."


def _flagged(desk: Desk, told: Told, flag: str, note: str | None) -> Result:
    """Flag the chosen items, which leave the sheet, or else the whole sheet."""
    batch = desk.sheet_of(told)
    rows = batch.rows[list(told.chosen)] if told.chosen else batch.rows
    left = ~np.isin(batch.rows, rows)
    cut = int(np.count_nonzero(left[: batch.cut]))
    rest = replace(batch, rows=batch.rows[left], cut=cut) if left.any() else None
    step = [desk.workspace.flag(desk.helper.selection(rows), flag, note=note)]
    desk.keep(step, batch, passed=rows, rest=rest)
    if rest is None:
        sheets.pass_over(desk, told, batch)
    else:
        desk.current = rest
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
    step = workspace.journal.parts(newest, "undo")
    workspace.undo(seq=newest.seq)
    key = ""
    if mine is not None and newest.seq in mine.seqs:  # else it is of another page or day
        desk.done.pop()
        desk.undone.append(mine)
        desk.count(-mine.labelled)
        key = desk.bring_back(mine)
    return "done", f"undone: {_words(step)}", key


def redo(desk: Desk, told: Told) -> Result:
    """Do again what was undone last, as one; its sheet goes again."""
    workspace, mine = desk.workspace, desk.undone[-1] if desk.undone else None
    newest = workspace.journal.redoable(workspace.made_by)
    if newest is None:
        return "note", "there is nothing to do again"
    step = workspace.journal.parts(newest, "redo")
    workspace.redo(seq=newest.seq)
    key = ""
    if mine is not None and newest.seq in mine.seqs:
        desk.undone.pop()
        desk.done.append(mine)
        desk.count(mine.labelled)
        key = desk.take_away(mine)
    return "done", f"done again: {_words(step)}", key


def _words(step: list[Decision]) -> str:
    return ", ".join(f"{part.words} · {part.n_items:,}" for part in step)


OPS: dict[str, Callable[[Desk, Told], Result]] = {
    "confirm": confirm,
    "refuse": refuse,
    "unsure": unsure,
    "exclude": exclude,
    "undo": undo,
    "redo": redo,
    **sheets.OPS,
}
