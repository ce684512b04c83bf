"""How a sheet travels to the Clean page and how an act comes back (docs/clean.md)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from curation import fields
from curation.assistant import Assistant
from curation.learning import forecast as purities
from curation.learning import names
from curation.learning.batches import Batch
from curation.learning.likeness import Likeness, likeness
from curation.overview import LABEL_COLUMNS
from curation.schema import LABEL_LENGTH
from curation.viewer.component import sheet_version
from embeddings.errors import CurationError
from embeddings.schema import Int32

LONGEST = 1200  # thumbnails of one sheet; a longer one comes in pieces, one after the other
MOST_ACTS = 200  # that one message may bring: what a page did while the server was away
CARD = 4  # thumbnails of a sheet that waits
CHUNK = 10_000
T = TypeVar("T")

Mask = npt.NDArray[np.bool_]
NOWHERE = "what the page sent cannot be read; reload the page"


@dataclass(frozen=True)
class Told:
    """One act of the curator on the Clean page, as the browser tells it.

    `field`, `key` and `version` are of the sheet that it was done on, `next` of the one that the
    browser turned to. `out` and `picked` are positions on the sheet that were taken out before the
    cut and taken in behind it, `chosen` those that an act on some items is about. `looked` says
    that what stands behind the cut was looked at. `sure` are the answers that questions got.
    """

    seq: int
    op: str
    field: str = ""
    key: str = ""
    version: str = ""
    next: tuple[str, str] = ("", "")
    labels: Mapping[str, str] | None = None
    cut: int = 0
    out: tuple[int, ...] = ()
    picked: tuple[int, ...] = ()
    chosen: tuple[int, ...] = ()
    looked: bool = False
    value: str = ""
    ids: tuple[str, ...] = ()
    sure: tuple[str, ...] = ()


def decode_acts(message: object) -> list[Told]:
    """Return the first acts that a message brings, in their order.

    One that cannot be read has no `op`, so that it is refused alone.

    Raises
    ------
    CurationError
        For a message of no acts, or an act without a number: nobody could be answered.
    """
    acts = message.get("acts") if isinstance(message, Mapping) else None
    if not isinstance(acts, list) or not all(isinstance(act, Mapping) for act in acts):
        raise CurationError(NOWHERE)
    told = sorted(((_number(act.get("seq")), act) for act in acts), key=lambda one: one[0])
    return [_read(seq, act) for seq, act in told[:MOST_ACTS]]


def _read(seq: int, act: Mapping[str, object]) -> Told:
    try:
        return _decoded(act)
    except CurationError:
        return Told(seq, "")


def _decoded(act: Mapping[str, Any]) -> Told:
    following = act.get("next") or ("", "")
    return Told(
        seq=_number(act.get("seq")),
        op=_text(act.get("op")),
        field=_text(act.get("field", "")),
        key=_text(act.get("key", "")),
        version=_text(act.get("version", "")),
        next=_pair(following),
        labels=_labels(act.get("labels") or {}),
        cut=_number(act.get("cut", 0)),
        out=_each(_number, act.get("out", [])),
        picked=_each(_number, act.get("picked", [])),
        chosen=_each(_number, act.get("chosen", [])),
        looked=act.get("looked") is True,
        value=_text(act.get("value", "")),
        ids=_each(_text, act.get("ids", [])),
        sure=_each(_text, act.get("sure", [])),
    )


def _number(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53:
        return value
    raise CurationError(NOWHERE)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise CurationError(NOWHERE)


def _each(read: Callable[[object], T], values: object) -> tuple[T, ...]:
    if not isinstance(values, list) or len(values) > LONGEST:
        raise CurationError(NOWHERE)
    return tuple(read(value) for value in values)


def _pair(value: object) -> tuple[str, str]:
    if isinstance(value, Sequence) and len(value) == 2:
        return _text(value[0]), _text(value[1])
    raise CurationError(NOWHERE)


def _labels(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise CurationError(NOWHERE)
    return {_text(field): _text(label)[: 2 * LABEL_LENGTH] for field, label in value.items()}


# ---- what the browser is given


def pieces(batch: Batch) -> list[Batch]:
    """Return a sheet as sheets that the browser can show, in its order."""
    if len(batch) <= LONGEST:
        return [batch]
    starts = range(0, len(batch), LONGEST)
    return [
        replace(
            batch,
            key=f"{batch.key}-{at}",
            title=f"{batch.title}, {at} of {len(starts)}",
            rows=batch.rows[start : start + LONGEST],
            cut=min(max(batch.cut - start, 0), len(batch.rows[start : start + LONGEST])),
        )
        for at, start in enumerate(starts, 1)
    ]


def shown_ids(helper: Assistant, batch: Batch) -> list[str]:
    """Return the ids of the items of a sheet in its order."""
    found: list[str] = helper.atlas.item_ids[batch.rows].tolist()
    return found


def card(helper: Assistant, batch: Batch) -> dict[str, Any]:
    """Return what the queue shows of a sheet that waits."""
    return {
        "key": batch.key,
        "title": batch.title,
        "count": len(batch),
        "cut": batch.cut,
        "proposed": batch.proposed,
        "ids": shown_ids(helper, batch)[:CARD],
    }


def whole(helper: Assistant, batch: Batch) -> dict[str, Any]:
    """Return everything of a sheet: what is shown now, or at once when its turn comes."""
    ids = shown_ids(helper, batch)
    return card(helper, batch) | {
        "version": sheet_version(ids),
        "ids": ids,
        "confidence": round(batch.confidence, 3),
        "where": _where(helper, batch),
        "purity": _purity(helper, batch),
        "doubt": [round(float(doubt), 3) for doubt in _doubt(helper, batch)],
        "guesses": _guesses(helper, batch),
        "names": [vars(name) for name in suggested(helper, batch)],
    }


def _where(helper: Assistant, batch: Batch) -> str:
    """Say on which part of the map the sheet lies."""
    numbers, counts = np.unique(helper.atlas.cluster[batch.rows], return_counts=True)
    most = int(numbers[counts.argmax()])
    name = "noise" if most < 0 else f"cluster {most}"
    if len(numbers) == 1:
        return name
    if 2 * counts.max() > len(batch):
        return f"mostly {name}"
    return f"from {len(numbers):,} places on the map"


def _purity(helper: Assistant, batch: Batch) -> dict[str, float] | None:
    """Forecast the share before the cut that carries the label, nine times in ten."""
    if not batch.cut:
        return None
    proposals, known = helper.proposals()
    code = known.index(batch.proposed) if batch.proposed in known else None
    found = purities.forecast(
        batch.rows[: batch.cut],
        _tree(helper),
        helper.near,
        helper.vectors,
        codes_of(helper),
        proposals,
        label=code,
    )
    return {"estimate": found.estimate, "low": found.low, "high": found.high}


_trees: WeakKeyDictionary[Assistant, Likeness] = WeakKeyDictionary()


def _tree(helper: Assistant) -> Likeness:
    """Return the tree of the space, grown once."""
    if helper not in _trees:
        near, vectors = helper.near, helper.vectors
        alike = np.empty(near.shape, np.float32)
        for start in range(0, len(near), CHUNK):
            part = slice(start, start + CHUNK)
            alike[part] = np.einsum("nd,nkd->nk", vectors[part], vectors[near[part]])
        _trees[helper] = likeness(vectors, near, alike)
    return _trees[helper]


def _doubt(helper: Assistant, batch: Batch) -> npt.NDArray[np.float64]:
    """How much each position (m,) adds to the strays that are expected, against the others.

    With a proposal the classifier says it; without one, it grows from the middle outwards.
    """
    proposals, known = helper.proposals()
    if batch.proposed in known:
        fits = proposals.codes[batch.rows] == known.index(str(batch.proposed))
        sure = proposals.confidence[batch.rows].astype(np.float64)
        return np.where(fits, 1 - sure, 0.5 + sure / 2) + 0.005
    ramp = np.linspace(0.5, 1.5, len(batch))
    ramp[batch.cut :] *= 3
    return ramp


def _guesses(helper: Assistant, batch: Batch) -> list[str | None]:
    """What the items behind the cut may be instead; the first ones need no second name."""
    likely = helper.guesses(batch.rows[batch.cut :], most=2)
    other = [[one.label for one in few if one.label != batch.proposed] for few in likely]
    return [None] * batch.cut + [few[0] if few else None for few in other]


def codes_of(helper: Assistant) -> Int32:
    """Return the code of the label that each row of the atlas carries, -1 = none."""
    helper.refresh()  # the journal first: labels that were never read have no codes
    codes, _ = helper.workspace.labels.codes(helper.field)
    found: Int32 = codes[helper.workspace.item_nos(helper.version)]
    return found


def suggested(helper: Assistant, batch: Batch) -> list[names.Name]:
    """Return names for a sheet: by labels nearby, by what was imported, by the encoder's words.

    Words are for a sheet that has no proposed label.
    """
    rows = batch.rows
    _, legend = helper.workspace.labels.codes(helper.field)
    column = _called(helper)
    imported = None
    if column is not None:
        imported = np.array([*column.legend, None], np.object_)[column.codes[rows]]
    words = None if batch.proposed else helper.words()
    return names.suggest(
        rows,
        helper.vectors,
        helper.near,
        codes_of(helper),
        legend,
        imported=imported,
        vocabulary=words,
    )


def _called(helper: Assistant) -> fields.CodeColumn | None:
    """Return the names that metadata or a detector gave the items, if any did."""
    wanted = (*LABEL_COLUMNS, "detected class")
    for field in fields.fields(helper.workspace, helper.version):
        if field.title.lower() in wanted and field.group in ("image", "metadata"):
            column = fields.column(helper.workspace, field.name, helper.version)
            if isinstance(column, fields.CodeColumn):
                return column
    return None


def still_open(helper: Assistant) -> Mask:
    """Return which rows of the atlas (n,) wait for a label: they have none, nor are excluded."""
    numbers = helper.workspace.item_nos(helper.version)
    found: Mask = (codes_of(helper) < 0) & ~helper.workspace.excluded(numbers)
    return found
