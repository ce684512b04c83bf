"""A second look at a random sample: how right each curator is, by label."""

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from pyroaring import BitMap

from curation.folding import NONE, Int64, numbers
from curation.labels import LabelState
from curation.opinions import CONSENSUS, REVIEW, Opinions, Said, opinions, said
from curation.schema import Selection
from curation.workspace import Workspace
from embeddings.errors import CurationError
from embeddings.schema import Int32


@dataclass(frozen=True)
class Sample:
    """Items to look at again: `rows` (m,) int32 of an atlas, in the order to show them.

    `drawn` tells how many were drawn of each person's labels.
    """

    rows: Int32
    drawn: dict[str, int]


@dataclass(frozen=True)
class Score:
    """How right one person's label is on the reviewed items; `label` None = all labels together.

    `given` items have the label from this person, `true` have it from the reviewer. Precision,
    recall and F1 (macro means over labels for None) are 0 to 1, None where nothing was given or
    nothing was true.
    """

    person: str
    label: str | None
    given: int
    true: int
    precision: float | None
    recall: float | None
    f1: float | None


def sample(
    workspace: Workspace,
    field: str = "category",
    *,
    each: int = 50,
    seed: int = 0,
    version: str | None = None,
) -> Sample:
    """Draw `each` labels of every other person at random: the same ones for the same seed.

    Left out are excluded items and those whose labels a reviewer or a vote has settled, so that
    what was reviewed is not drawn again. The reviewer's own labels are not drawn.

    Raises
    ------
    CurationError
        When there is nothing to review.
    """
    atlas, found = workspace.atlas(version), opinions(workspace, field)
    away = found.settled | workspace.labels.flagged("excluded")
    row_of = np.full(workspace.journal.n_items, -1, np.int32)
    row_of[workspace.item_nos(atlas.version)] = np.arange(len(atlas), dtype=np.int32)
    row_of[np.asarray(away.to_array(), dtype=np.int64)] = -1
    chance = np.random.default_rng(seed)
    drawn, parts = {}, [np.empty(0, np.int32)]
    for person in np.unique(found.person).tolist():
        rows = row_of[found.item_no[found.person == person]]
        rows = rows[rows >= 0]
        if len(rows) and found.people[person] != workspace.made_by:
            parts.append(chance.choice(rows, min(each, len(rows)), replace=False))
            drawn[found.people[person]] = len(parts[-1])
    rows = np.unique(np.concatenate(parts))
    if not len(rows):
        raise CurationError(
            f"no {field} of another person is left to review in {workspace.name!r}; label first"
        )
    return Sample(chance.permutation(rows), drawn)


def answer(
    workspace: Workspace,
    selection: Selection,
    value: str | None,
    *,
    field: str = "category",
    note: str | None = None,
    head: int | None = None,
) -> int:
    """Keep a reviewer's answer, the true label or None for none; return the decision's seq.

    The answer stands from now on; what it overrules stays its giver's opinion, and is what the
    score counts. Raises `Overtaken` where somebody has decided about these items after `head`.
    """
    said: dict[str, Any] = {"field": field, "note": note, "source": "review", "head": head}
    if value is None:
        return workspace.clear(selection, **said).seq
    return workspace.label(selection, value, overwrite=True, **said).seq


def scores(workspace: Workspace, field: str = "category") -> list[Score]:
    """Return precision, recall and F1 of each person and label on the reviewed items.

    The newest answer about an item is the truth; what a person said of it before is judged, not
    what the person corrected afterwards.
    """
    known, found = _kept.setdefault(workspace.labels, {}), opinions(workspace, field)
    if field not in known or known[field][0] is not found:
        known[field] = (found, _judged_scores(workspace.labels, field, found.judged))
    return known[field][1]


_kept: WeakKeyDictionary[LabelState, dict[str, tuple[Opinions, list[Score]]]] = WeakKeyDictionary()


def _judged_scores(labels: LabelState, field: str, items: BitMap) -> list[Score]:
    rows, acts = said(labels, field, numbers(items))
    answers = rows.take(rows.source == REVIEW)
    answers = answers.newest(answers.item_no)
    judged, truth = _judged(rows, answers, len(acts.people))
    found = []
    for person in np.unique(judged.person).tolist():
        own = judged.person == person
        found += _scores(acts.people[person], judged.code[own], truth[own], acts.legend)
    return found


def _judged(rows: Said, answers: Said, people: int) -> tuple[Said, Int32]:
    """Return what each person said of an item before it was reviewed, and the true code of each."""
    own = rows.take(~np.isin(rows.source, (REVIEW, CONSENSUS)))
    at, hit = _places(answers.item_no, own.item_no)
    hit &= own.seq < np.append(answers.seq, 0)[at]
    hit &= own.person != np.append(answers.person, NONE)[at]
    own = own.take(hit)
    own = own.newest(own.item_no * max(people, 1) + own.person)
    own = own.take(own.code != NONE)
    at, _ = _places(answers.item_no, own.item_no)
    return own, answers.code[at]


def _places(held: Int64, items: Int64) -> tuple[Int64, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Return where each item is in `held`, sorted, and whether it is there."""
    at = np.searchsorted(held, items)
    return at, np.append(held, NONE)[at] == items


def _scores(person: str, given: Int32, truth: Int32, legend: tuple[str, ...]) -> list[Score]:
    from sklearn.metrics import precision_recall_fscore_support

    codes = np.unique(np.concatenate([given, truth[truth != NONE]]))
    precision, recall, f1, true = precision_recall_fscore_support(
        truth, given, labels=codes, zero_division=np.nan
    )
    means = [_mean(values) for values in (precision, recall, f1)]
    found = [Score(person, None, len(given), int((truth != NONE).sum()), *means)]
    for at, code in enumerate(codes.tolist()):
        values = [_mean(values[at : at + 1]) for values in (precision, recall, f1)]
        n = int((given == code).sum())
        found.append(Score(person, legend[code], n, int(true[at]), *values))
    return found


def _mean(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> float | None:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else None
