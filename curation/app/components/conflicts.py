"""The queue of items about which curators differ: one group of labels after the other."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import streamlit as st

from curation.app import state
from curation.app.components import acts, sheets
from curation.app.components.frame import literal
from curation.journal import Overtaken
from curation.opinions import TIE, Opinions, conflicts, opinions, settle_by_vote
from curation.schema import Selection
from curation.workspace import Workspace
from embeddings.schema import Ids

Sides = tuple[tuple[str, ...], ...]  # who gave an item each label of its group

NOTHING_LEFT = "somebody else has settled these meanwhile; nothing was changed"
SHEET = "conflict"
SLOTS = 9  # labels of one group that have a number key
SKIP_KEY, VOTE_KEY = "S", "Alt+M"


@dataclass(frozen=True)
class Group:
    """Items (m,) that people gave the same several labels: `labels`, by how many gave them."""

    labels: tuple[str, ...]
    item_ids: Ids

    @property
    def name(self) -> str:
        """The labels and how many items there are, to choose the group by."""
        return f"{' | '.join(self.labels)} ({len(self.item_ids):,})"


@dataclass(frozen=True)
class Queue:
    """The groups, largest first; what a vote would decide: items by label, and undecided ones."""

    groups: tuple[Group, ...]
    by_vote: dict[str, int]
    ties: int


_kept: WeakKeyDictionary[Workspace, dict[tuple[str, str], tuple[Opinions, Queue]]] = (
    WeakKeyDictionary()
)


def queue(workspace: Workspace, field: str, version: str) -> Queue:
    """Return what is open on an atlas; worked out again only when somebody has decided."""
    said = opinions(workspace, field)
    known = _kept.setdefault(workspace, {})
    if (field, version) not in known or known[field, version][0] is not said:
        known[field, version] = (said, _queue(workspace, field, version))
    return known[field, version][1]


def _queue(workspace: Workspace, field: str, version: str) -> Queue:
    found, atlas = conflicts(workspace, field, version), workspace.atlas(version)
    if not len(found):
        return Queue((), {}, 0)
    said, size = found.opinions, len(found.opinions.legend)
    mine = np.isin(said.item_no, found.item_nos)
    pairs, voices = np.unique(said.item_no[mine] * size + said.code[mine], return_counts=True)
    item, code = pairs // size, pairs % size
    starts = np.flatnonzero(np.diff(item, prepend=-1))
    row_of = dict(zip(found.item_nos.tolist(), found.rows.tolist(), strict=True))
    rows: dict[tuple[int, ...], list[int]] = {}
    for one, codes in zip(item[starts].tolist(), np.split(code, starts[1:]), strict=True):
        rows.setdefault(tuple(codes.tolist()), []).append(row_of[one])
    weight = np.bincount(code, weights=voices, minlength=size)

    def order(one: int) -> tuple[float, str]:
        return -float(weight[one]), said.legend[one]

    groups = [
        Group(
            tuple(said.legend[one] for one in sorted(codes, key=order)),
            atlas.item_ids[sorted(held)],
        )
        for codes, held in rows.items()
    ]
    groups.sort(key=lambda group: (-len(group.item_ids), group.labels))
    votes = said.votes
    won = votes.code[np.isin(votes.item_no, found.item_nos)]
    codes, counts = np.unique(won[won != TIE], return_counts=True)
    names = [said.legend[one] for one in codes.tolist()]
    by_vote = dict(zip(names, counts.tolist(), strict=True))
    return Queue(tuple(groups), by_vote, int((won == TIE).sum()))


def page(workspace: Workspace, field: str) -> None:
    """Draw the group in hand with both opinions, what settles it, and the vote on all."""
    version = state.atlas(workspace).version
    found = queue(workspace, field, version)
    if not found.groups:
        _nothing(workspace, field)
        acts.history_buttons(workspace)
        return
    items = sum(len(group.item_ids) for group in found.groups)
    groups = "1 group" if len(found.groups) == 1 else f"{len(found.groups):,} groups"
    st.markdown(f"##### {_items(items)} to settle, in {groups}")
    group = _choose(found)
    ids, sides = sided(workspace, field, group)
    _opinions(group, sides)
    _buttons(workspace, field, group, ids)
    badges = [" | ".join(", ".join(side) for side in one) for one in sides]
    sheets.draw(workspace, SHEET, ids, labels=badges, total=len(group.item_ids))
    st.caption(
        literal(f"On each item: who says {' | '.join(group.labels)}. ")
        + "Tap those that are something else; a button settles the others."
    )
    acts.history_buttons(workspace)
    _vote(workspace, field, found)


def _nothing(workspace: Workspace, field: str) -> None:
    people = np.unique(opinions(workspace, field).person)
    if len(people) > 1:
        st.info(f"The curators agree, or all is settled: no {field} is in conflict.")
    else:
        alone(workspace)


def alone(workspace: Workspace) -> None:
    """Say how a second curator joins."""
    st.info(
        "Only one curator has labelled so far. A second one joins under a name of their own, on "
        "this machine with the line below, and labels the same items; where the two differ, the "
        "items come here."
    )
    st.code(f"CURATE_USER=name curate serve -d {workspace.name} --port 8511", language="sh")


def _choose(found: Queue) -> Group:
    """Draw the choice of a group, and the way to the next; the first unless one was chosen."""
    names = {group.labels: group for group in found.groups}
    left, right = st.columns([5, 2], vertical_alignment="bottom")
    if state.value("conflict-group") not in names:
        state.set_value("conflict-group", found.groups[0].labels)
    labels = left.selectbox(
        "Group", list(names), key="conflict-group", format_func=lambda one: names[one].name
    )
    order = list(names)
    after = order[(order.index(labels) + 1) % len(order)]
    right.button(
        "Later",
        icon=":material/skip_next:",
        key="conflict-skip",
        shortcut=SKIP_KEY,
        disabled=len(order) < 2,
        width="stretch",
        help="Leave this group open and show the next",
        on_click=lambda: _later(after),
    )
    return names[labels]


@state.undivided()
def _later(after: tuple[str, ...]) -> None:
    state.set_value("conflict-group", after)


def sided(workspace: Workspace, field: str, group: Group) -> tuple[list[str], list[Sides]]:
    """Return the items of one sheet, and of each who gave it the first label, the second ...

    Items about which the same people say the same stand together.
    """
    found, ids = opinions(workspace, field), group.item_ids[: sheets.MOST].tolist()
    sides = {}
    for item_id, item in zip(ids, workspace.journal.item_nos(ids).tolist(), strict=True):
        said = found.of(item)
        sides[item_id] = tuple(
            tuple(sorted(who for who, name in said.items() if name == label))
            for label in group.labels
        )
    ordered = sorted(ids, key=lambda item_id: sides[item_id])
    return ordered, [sides[item_id] for item_id in ordered]


def _opinions(group: Group, sides: list[Sides]) -> None:
    """Draw the labels side by side, under each who gave it to how many."""
    for at, (column, label) in enumerate(
        zip(st.columns(len(group.labels)), group.labels, strict=True)
    ):
        givers = Counter(who for one in sides for who in one[at])
        told = literal(" · ".join(f"{who} {n:,}" for who, n in givers.most_common()))
        column.markdown(f"**{literal(label)}** :small[{told}]")


def _buttons(workspace: Workspace, field: str, group: Group, ids: list[str]) -> None:
    """Draw what settles the items that are not tapped: each label, or another."""
    kept, tapped = sheets.parted(SHEET, ids)
    what = "rest" if tapped else "all"
    labels = group.labels[:SLOTS]
    for at, (column, label) in enumerate(zip(st.columns(len(labels)), labels, strict=True)):
        column.button(
            f"{what.capitalize()} {len(kept):,}: {literal(label)}",
            key=f"settle-{at}-{sheets.mark(ids)}",
            shortcut=str(at + 1),
            type="primary",
            disabled=not kept,
            width="stretch",
            on_click=lambda label=label: _settle(workspace, field, ids, label),
        )
    key = f"conflict-other-{field}"
    sheets.other_label(
        workspace,
        field,
        key,
        words=("Another label", "neither: type a label", "Label"),
        ids=ids,
        disabled=not kept,
        on_click=lambda: _settle(workspace, field, ids, state.value(key)),
    )


@state.undivided()
def _settle(workspace: Workspace, field: str, ids: list[str], label: str | None) -> None:
    """Settle what was shown and is not tapped; the others stay in the queue."""
    if not label:
        state.say("type or choose a label first", "error")
        return
    kept, _ = sheets.parted(SHEET, ids)

    def work() -> str:
        def settle(chosen: Selection, head: int) -> None:
            said: dict[str, Any] = {"field": field, "source": "consensus", "head": head}
            workspace.label(chosen, label, overwrite=True, **said)

        done = while_open(workspace, field, kept, settle)
        if not done:
            return NOTHING_LEFT
        state.set_value(f"conflict-other-{field}", None)
        sheets.forget(SHEET)
        told = f"settled: {field}: {label} · {_items(len(done))}"
        return told + settled_by_others(kept, done)

    state.act(work)


def still_open(workspace: Workspace, field: str, ids: list[str]) -> list[str]:
    """Return which of the items nobody has settled, excluded or taken the labels from."""
    said = opinions(workspace, field)
    away = said.settled | workspace.labels.flagged("excluded")
    numbers = workspace.journal.item_nos(ids).tolist()
    return [
        item_id
        for item_id, item in zip(ids, numbers, strict=True)
        if item not in away and said.of(item)
    ]


def while_open(
    workspace: Workspace, field: str, ids: list[str], act: Callable[[Selection, int], object]
) -> list[str]:
    """Let something be decided about those of the items that are open; return their ids.

    `act` is given the newest decision too, and done again where somebody came in between.
    """
    while True:
        head = workspace.labels.refresh()
        rest = still_open(workspace, field, ids)
        if not rest:
            return []
        try:
            act(sheets.chosen(workspace, rest), head)
        except Overtaken:
            continue
        return rest


def settled_by_others(wanted: list[str], done: list[str]) -> str:
    """Return in words how many of the items others had settled meanwhile; they stay as they are."""
    left = len(wanted) - len(done)
    return f"; {left:,} settled by somebody else meanwhile, left as it is" if left else ""


def _vote(workspace: Workspace, field: str, found: Queue) -> None:
    """Draw what a vote would decide, and the button that does it."""
    items = sum(found.by_vote.values())
    told = ", ".join(f"{label}: {count:,}" for label, count in found.by_vote.items())
    st.markdown("##### All groups by majority")
    if items:
        st.caption(literal(f"{_items(items)}: {told}"))
    st.caption(f"{_items(found.ties)} with as many voices on each side would stay open.")
    st.button(
        f"Settle {items:,} by majority",
        icon=":material/how_to_vote:",
        key=f"settle-vote-{items}-{found.ties}",
        shortcut=VOTE_KEY,
        disabled=not items,
        help="One step: Undo takes all of it back",
        on_click=lambda: _settle_by_vote(workspace, field),
    )


@state.undivided()
def _settle_by_vote(workspace: Workspace, field: str) -> None:
    def work() -> str:
        done = settle_by_vote(workspace, field)
        return f"settled by majority: {_items(sum(one.n_items for one in done))}"

    state.act(work)


def _items(count: int) -> str:
    return f"{count:,} {'item' if count == 1 else 'items'}"
