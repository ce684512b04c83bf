"""Whole labels: rename, merge, delete, each with what it would change before it is done."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
from pyroaring import BitMap

from curation.app import state
from curation.app.components.frame import literal
from curation.overview import label_names
from curation.schema import FIELDS, Decision, clean_label
from curation.viewer.component import keep_typed
from curation.workspace import Workspace
from embeddings.errors import CurationError

KEPT = "You can undo this at any time."
SIGHT = 100  # items of other people up to which a merge or deletion is done without a question


@dataclass(frozen=True)
class Plan:
    """What the form says: `labels` become `into`, or nothing (None: they are deleted).

    `merges` tells whether other items carry `into` already, or several labels become one.
    """

    field: str
    labels: tuple[str, ...]
    into: str | None
    merges: bool


@dataclass(frozen=True)
class Effect:
    """What a plan would change: items by label, how many of them are excluded, whose labels."""

    counts: dict[str, int]
    joins: int  # items that carry the new label already
    excluded: int
    givers: dict[str, int]

    @property
    def items(self) -> int:
        """How many items would change."""
        return sum(self.counts.values())


def effect(workspace: Workspace, plan: Plan) -> Effect:
    """Return what `plan` would change now."""
    labels = workspace.labels
    labels.refresh()
    gone = [label for label in plan.labels if label != plan.into]
    held = {label: labels.items_with(plan.field, label) for label in gone}
    items = BitMap().union(*held.values())
    numbers = np.asarray(items.to_array(), dtype=np.int64)
    names, counts = np.unique(
        labels.made_by(numbers, plan.field).astype(np.str_), return_counts=True
    )
    return Effect(
        {label: len(found) for label, found in held.items()},
        0 if plan.into is None else len(labels.items_with(plan.field, plan.into)),
        len(items & labels.flagged("excluded")),
        dict(zip(names.tolist(), counts.tolist(), strict=True)),
    )


def form(workspace: Workspace) -> None:
    """Draw the choice of labels, what becomes of them, and the buttons."""
    st.subheader("Change a label", help=KEPT)
    kind, which, new = st.columns([2, 4, 4], vertical_alignment="bottom")
    field = kind.segmented_control("Kind of label", FIELDS, default=FIELDS[0], key="names-field")
    counts = workspace.labels.counts(field or FIELDS[0])
    which.multiselect(
        "Labels",
        sorted(counts, key=lambda name: (-counts[name], name)),
        key=f"names-of-{field or FIELDS[0]}",
        placeholder="choose one or more",
        help="Choose several to merge them into one",
    )
    new.selectbox(
        "become",
        label_names(workspace, field or FIELDS[0]),
        index=None,
        key=f"names-into-{field or FIELDS[0]}",
        placeholder="a new name, or a label in use",
        accept_new_options=True,
    )
    keep_typed("typed", [f"names-into-{one}" for one in FIELDS])
    _buttons(workspace)
    asked = state.value("names-ask")
    if asked is not None:
        _ask(workspace, asked)


def _plan(workspace: Workspace, *, delete: bool) -> Plan:
    """Return what the form says at this moment; CurationError for a name that cannot be one."""
    field = state.value("names-field") or FIELDS[0]
    labels = tuple(state.value(f"names-of-{field}") or ())
    into = None if delete else state.value(f"names-into-{field}")
    into = into and clean_label(into)
    workspace.labels.refresh()
    used = into is not None and bool(workspace.labels.items_with(field, into))
    return Plan(field, labels, into, used or len(labels) > 1)


def _buttons(workspace: Workspace) -> None:
    try:
        change, away = _plan(workspace, delete=False), _plan(workspace, delete=True)
    except CurationError as error:  # a name that cannot be one
        st.error(literal(str(error)), icon=":material/error:")
        return
    left, right = st.columns(2)
    ready = change.into is not None and any(label != change.into for label in change.labels)
    with left:
        st.button(
            _verb(change) if ready else "Rename or merge",
            icon=":material/edit:",
            type="primary",
            key="names-change",
            disabled=not change.labels,
            width="stretch",
            on_click=lambda: _pressed(workspace, change, delete=False),
        )
        if ready:
            _preview(workspace, change)
    with right:
        st.button(
            "Delete",
            icon=":material/label_off:",
            key="names-delete",
            disabled=len(away.labels) != 1,
            width="stretch",
            help="Choose one label: its items become unlabelled, no image is deleted",
            on_click=lambda: _pressed(workspace, away, delete=True),
        )
        if len(away.labels) == 1:
            _preview(workspace, away)


def _verb(plan: Plan) -> str:
    if plan.into is None:
        return "Delete"
    return "Merge" if plan.merges else "Rename"


def lines(plan: Plan, found: Effect) -> list[str]:
    """Return what would change in words: a line a label, then what is not seen at a glance."""
    told = [
        f"{_items(count)}: {plan.field} {label} → {plan.into or 'none'}"
        for label, count in found.counts.items()
    ]
    if found.joins:
        told.append(f"{_items(found.joins)} with {plan.into} already")
    if found.excluded:
        told.append(f"{found.excluded:,} of them are excluded")
    people = ", ".join(f"{name} {count:,}" for name, count in found.givers.items())
    return [*told, f"given by {people}"] if people else told


def _preview(workspace: Workspace, plan: Plan) -> None:
    for line in lines(plan, effect(workspace, plan)):
        st.caption(literal(line))


def _items(count: int) -> str:
    return f"{count:,} {'item' if count == 1 else 'items'}"


@state.undivided()
def _pressed(workspace: Workspace, shown: Plan, *, delete: bool) -> None:
    """Do what was shown; ask first where something else is meant, or more than one can see."""

    def work() -> str | None:
        plan = _plan(workspace, delete=delete)
        if plan.into is None and not delete:
            raise CurationError("type or choose what the label becomes")
        if plan != shown or _asks(workspace, plan):
            state.set_value("names-ask", plan)
            return None
        return _do(workspace, plan)

    state.act(work)


def _asks(workspace: Workspace, plan: Plan) -> bool:
    """Whether many labels of other people would be lost in another, or altogether."""
    if plan.into is not None and not plan.merges:
        return False  # every label stays, under another name
    givers = effect(workspace, plan).givers
    return sum(givers.values()) - givers.get(workspace.made_by, 0) > SIGHT


def _do(workspace: Workspace, plan: Plan) -> str:
    field, labels, into = plan.field, plan.labels, plan.into
    if into is None:
        done: Sequence[Decision] = [workspace.delete_label(labels[0], field=field)]
    elif plan.merges:
        done = workspace.merge(labels, into, field=field)
    else:
        done = [workspace.rename(labels[0], into, field=field)]
    state.set_value(f"names-of-{field}", [])
    state.set_value(f"names-into-{field}", None)
    told = "; ".join(f"{one.words} · {_items(one.n_items)}" for one in done)
    return f"{told}. {KEPT}"


@st.dialog("Look once more", on_dismiss=lambda: state.set_value("names-ask", None))
def _ask(workspace: Workspace, plan: Plan) -> None:
    for line in lines(plan, effect(workspace, plan)):
        st.text(line)
    st.caption(KEPT)
    verb = _verb(plan)
    answers: dict[str, Callable[[], str | None]] = {
        verb: lambda: _do(workspace, plan),
        "Cancel": lambda: None,
    }
    pressed = [
        column.button(
            answer,
            key=f"names-ask-{answer}",
            type="secondary" if answer == "Cancel" else "primary",
            width="stretch",
            on_click=lambda work=work: _answer(work),
        )
        for column, (answer, work) in zip(st.columns(2), answers.items(), strict=True)
    ]
    if any(pressed):
        st.rerun()  # a dialog runs alone: this closes it


@state.undivided()
def _answer(work: Callable[[], str | None]) -> None:
    state.set_value("names-ask", None)
    state.act(work)
