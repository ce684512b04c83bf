"""Which sheet the curator sees next on the Clean page: parts, twins, more like these, a review."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from curation.app.components import cleaning_wire as wire
from curation.app.components.cleaning import Desk, Result, is_review
from curation.app.components.cleaning_wire import Told
from curation.learning.batches import MODES, Batch, batch
from curation.learning.classifier import Proposals
from curation.schema import FIELDS
from embeddings.errors import CurationError
from embeddings.schema import Int32

SPREAD = 600  # items of one sheet of spread labels
DOUBTFUL = 0.5  # a proposal surer than this speaks against another label


def pass_over(desk: Desk, told: Told, left: Batch) -> None:
    """Leave a sheet: it comes again when nothing else is left."""
    desk.passed = np.union1d(desk.passed, left.rows).astype(np.int32)
    desk.turn(told, left)


def skip(desk: Desk, told: Told) -> Result:
    """Go on without deciding anything."""
    pass_over(desk, told, desk.sheet_of(told))
    return "note", ""


def back(desk: Desk, told: Told) -> Result:
    """Show the sheet before this one, as far as it is open."""
    while desk.before:
        last = desk.before.pop()
        if _waits(desk, last):
            desk.passed = np.setdiff1d(desk.passed, last.rows)
            desk.put([last], then=desk.in_hand())
            return "note", ""
    return "note", "no sheet before this one is open; Ctrl+Z takes labels back"


def _waits(desk: Desk, sheet: Batch) -> bool:
    """Whether something of a sheet is still to be decided."""
    if is_review(sheet):
        return bool(desk.disputed(sheet).any())
    return bool(wire.still_open(desk.helper)[sheet.rows].any())


def show(desk: Desk, told: Told) -> Result:
    """Show a sheet of the queue now; the one in hand waits."""
    for waiting in desk.line_up():
        if waiting.key == told.value:
            desk.put([waiting], then=desk.in_hand())
            return "note", ""
    return "note", "that sheet is done by now"


def split(desk: Desk, told: Told) -> Result:
    """Put the parts of a mixed sheet in its place."""
    mixed = desk.sheet_of(told)
    parts = desk.helper.split(mixed.rows)
    desk.put(parts)
    return "note", f"{len(parts)} parts; M puts this one and the next together again"


def twins(desk: Desk, told: Told) -> Result:
    """Put the clusters most like a sheet after it."""
    here = desk.sheet_of(told)
    alike = desk.helper.twins(here.rows)
    if not alike:
        return "note", "no other cluster is open"
    desk.put([here, *alike])
    return "note", f"{len(alike)} most alike come next; M puts this one and the next together"


def merge(desk: Desk, told: Told) -> Result:
    """Make one sheet of this one and the next."""
    here = desk.sheet_of(told)
    others = [one for one in desk.line_up() if one.key != here.key]
    if not others:
        return "note", "there is no other sheet to put it together with"
    both = desk.helper.merge([here, others[0]])
    desk.put([both])
    desk.front = [one for one in desk.front if one.key not in (here.key, others[0].key)]
    return "note", f"{len(here):,} and {len(others[0]):,} on one sheet; S splits them again"


def like(desk: Desk, told: Told) -> Result:
    """Make a sheet of the chosen items and of those most like them."""
    here = desk.sheet_of(told)
    chosen = here.rows[list(told.chosen)]
    found = desk.helper.more_like(chosen) if len(chosen) else None
    if found is None:
        return "note", "nothing else is open"
    rows = np.concatenate([chosen, found.rows])
    made = batch("like", found.title, rows, None, found.proposed, 0.0, 0.0)
    desk.put([made], then=[here])
    return "note", f"{len(chosen):,} and what is most like them; the sheet before comes next"


def spread(desk: Desk, told: Told) -> Result:
    """Put what labels reach along the graph on sheets, one a label; nothing is labelled yet."""
    found = desk.helper.spread()
    codes = _most(found.proposals, np.flatnonzero(found.proposals.codes >= 0).astype(np.int32))
    made = [_one_label(found.proposals, desk.helper_names()[code], code) for code in codes]
    if not made:
        return "note", "no label reaches another item surely enough; label some more"
    desk.put(made, then=desk.in_hand())
    said = ", ".join(f"{one.proposed} {len(one):,}" for one in made)
    right = f"{found.held_out:.0%} of {found.judged:,} labels that were hidden came back right"
    since = f" {found.behind:,} labels that changed meanwhile are not counted."
    text = f"Labels reach {sum(map(len, made)):,} items: {said}. {right}. Confirm each."
    return "note", text + (since if found.behind else "")


def _one_label(proposals: Proposals, name: str, code: int) -> Batch:
    rows = np.flatnonzero(proposals.codes == code)
    sure = proposals.confidence[rows]
    order = np.argsort(-sure, kind="stable")[:SPREAD]
    mean = float(sure[order].mean())
    return batch("spread", f"spread: {name}", rows[order], None, name, mean, float(len(order)))


def review(desk: Desk, told: Told) -> Result:
    """Show labelled items that look like something else, a sheet for each other label."""
    proposals, names = desk.helper.proposals()
    codes = wire.codes_of(desk.helper)
    odd = (codes >= 0) & (proposals.codes >= 0) & (proposals.codes != codes)
    odd &= ~desk.workspace.excluded(desk.workspace.item_nos(desk.version))
    rows = np.flatnonzero(odd & (proposals.confidence > DOUBTFUL)).astype(np.int32)
    if not len(rows):
        return "note", "no label is in doubt: each item looks like what it is labelled"
    desk.put([_doubted(desk, proposals, names, rows, code) for code in _most(proposals, rows)])
    return "note", f"{len(rows):,} labelled items look like something else. ⌫ keeps their labels."


def _most(proposals: Proposals, rows: Int32) -> list[int]:
    codes, counts = np.unique(proposals.codes[rows], return_counts=True)
    found: list[int] = codes[np.argsort(-counts, kind="stable")].tolist()
    return found


def _doubted(
    desk: Desk, proposals: Proposals, names: list[str], rows: npt.NDArray[np.int32], code: int
) -> Batch:
    mine = rows[proposals.codes[rows] == code]
    sure = proposals.confidence[mine]
    mine = mine[np.argsort(-sure, kind="stable")]
    title = f"labelled otherwise, looks like {names[code]}"
    return batch("review", title, mine, None, names[code], float(sure.mean()), 0.0)


def reopen(desk: Desk, told: Told) -> Result:
    """Show what is open of a sheet that this desk does not know any more, in its old order."""
    if told.field in FIELDS and told.field != desk.field:
        desk.work_on(told.field)  # the sheet is of that field: the page was left there
    rows = desk.helper.atlas.rows_of(np.array(told.ids, np.str_))
    known = rows >= 0
    cut = int(np.count_nonzero(known[: told.cut]))
    rows = rows[known].astype(np.int32)
    name = told.value or None
    sheet = Batch(told.key or "again", "again", rows, cut, name, 0.0, 0.0)
    if not len(rows) or not _waits(desk, sheet):
        return "note", "nothing of that sheet is open any more: all of it was decided"
    desk.put([sheet], then=desk.in_hand())
    return "note", ""


def mode(desk: Desk, told: Told) -> Result:
    """Order the queue otherwise, from the next sheet on."""
    if told.value not in MODES:
        raise CurationError(f"unknown mode of the queue {told.value[:40]!r}; reload the page")
    desk.mode = told.value
    desk.put([])
    desk.front = []
    return "note", ""


def kind(desk: Desk, told: Told) -> Result:
    """Work on the other field: category or instance."""
    if told.value not in FIELDS:
        raise CurationError(f"unknown field {told.value[:40]!r}; reload the page")
    desk.work_on(told.value)
    return "note", ""


def export(desk: Desk, told: Told) -> Result:
    """Turn to the Export page."""
    desk.leave_for = "export"
    return "note", ""


OPS: dict[str, Callable[[Desk, Told], Result]] = {
    "skip": skip,
    "back": back,
    "show": show,
    "split": split,
    "twins": twins,
    "merge": merge,
    "like": like,
    "spread": spread,
    "review": review,
    "reopen": reopen,
    "mode": mode,
    "kind": kind,
    "export": export,
}
