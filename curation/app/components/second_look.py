"""The review of a random sample: each label is right, wrong, or should be another."""

from dataclasses import dataclass

import streamlit as st

from curation import review
from curation.app import state
from curation.app.components import acts, sheets
from curation.app.components.conflicts import (
    NOTHING_LEFT,
    settled_by_others,
    still_open,
    while_open,
)
from curation.app.components.frame import literal
from curation.opinions import opinions
from curation.schema import Selection
from curation.workspace import Workspace
from embeddings.errors import CurationError

SHEET = "look"
EACH, MOST_EACH = 50, 10_000
MODES = ("As sheets", "One by one")
WRONG_KEY, LATER_KEY = "X", "S"


@dataclass(frozen=True)
class Settings:
    """What is drawn: so many labels of `each` person in all, those reviewed before counted in."""

    dataset: str
    field: str
    version: str
    each: int
    seed: int


@dataclass(frozen=True)
class Hand:
    """What is judged at once: items (m,) and what people say of them, all the same labels."""

    item_ids: list[str]
    labels: list[str]
    people: dict[str, list[str]]


def page(workspace: Workspace, field: str) -> None:
    """Draw what is to be judged next, and below how right each person is so far."""
    settings = _settings(workspace, field)
    done = reviewed(workspace, field)
    try:
        waiting = _waiting(workspace, settings, done)
    except CurationError as error:
        waiting = []
        if not done:
            st.info(literal(str(error)))
    if waiting:
        _judge(workspace, field, waiting)
    elif done:
        st.success("Every label that was drawn is judged. For more, raise the number of labels.")
    if workspace.journal.head:
        acts.history_buttons(workspace)
    _results(workspace, field, done, settings.each)


def reviewed(workspace: Workspace, field: str) -> dict[str, int]:
    """Return how many labels of each person were judged so far."""
    return {
        score.person: score.given
        for score in review.scores(workspace, field)
        if score.label is None
    }


def draw(workspace: Workspace, settings: Settings, done: dict[str, int]) -> list[str]:
    """Return the ids of items to judge, in a random order: as many as are missing of each person.

    Raises
    ------
    CurationError
        When no label of another person is left.
    """
    said = opinions(workspace, settings.field)
    missing = {who: settings.each - done.get(who, 0) for who in said.people}
    missing[workspace.made_by] = 0
    most = max(missing.values())
    if most <= 0 and done:
        return []
    drawn = review.sample(
        workspace, settings.field, each=max(most, 1), seed=settings.seed, version=settings.version
    )
    ids = workspace.atlas(settings.version).item_ids[drawn.rows].tolist()
    kept = []
    for item_id, item in zip(ids, workspace.journal.item_nos(ids).tolist(), strict=True):
        people = said.of(item)
        if any(missing[who] > 0 for who in people):
            kept.append(item_id)
            for who in people:
                missing[who] -= 1
    return kept


def _settings(workspace: Workspace, field: str) -> Settings:
    left, right = st.columns(2)
    each = left.number_input(
        "Labels of each person to judge",
        min_value=1,
        max_value=MOST_EACH,
        value=EACH,
        key="look-each",
        help="In all: those judged before are counted in, also after a reload",
    )
    seed = right.number_input(
        "Seed", min_value=0, value=0, key="look-seed", help="The same seed draws the same labels"
    )
    version = state.atlas(workspace).version
    return Settings(workspace.name, field, version, int(each), int(seed))


def _waiting(workspace: Workspace, settings: Settings, done: dict[str, int]) -> list[str]:
    """Return what of the sample is not judged yet; it stays as drawn while there is any."""
    kept = state.value("look-drawn")
    if kept is not None and kept[0] == settings:
        ids = still_open(workspace, settings.field, kept[1])
        if ids:
            return ids
    ids = draw(workspace, settings, done)
    state.set_value("look-drawn", (settings, ids))
    return ids


def hand(workspace: Workspace, field: str, waiting: list[str], *, single: bool) -> Hand:
    """Return what to judge next: one item, or all that have the very labels of the first."""
    said = opinions(workspace, field)
    numbers = workspace.journal.item_nos(waiting).tolist()
    of = [said.of(item) for item in numbers]
    first = set(of[0].values())
    same = [at for at in range(len(waiting)) if set(of[at].values()) == first]
    if single or len(first) > 1:  # what people differ about is looked at one by one
        same = same[:1]
    same = same[: sheets.MOST]
    labels = sorted(first)
    people = {
        label: sorted({who for at in same for who, name in of[at].items() if name == label})
        for label in labels
    }
    return Hand([waiting[at] for at in same], labels, people)


def _judge(workspace: Workspace, field: str, waiting: list[str]) -> None:
    mode = st.segmented_control(
        "How", MODES, default=MODES[0], key="look-mode", label_visibility="collapsed"
    )
    held = hand(workspace, field, waiting, single=mode == MODES[1])
    single = len(held.item_ids) == 1
    told = " | ".join(f"{label} ({', '.join(held.people[label])})" for label in held.labels)
    st.markdown(f"##### Said to be {literal(told)}")
    st.caption(f"{len(held.item_ids):,} here, {len(waiting):,} to judge in all")
    right, wrong = sheets.parted(SHEET, held.item_ids)
    if single:
        right = wrong = held.item_ids
    _answers(workspace, field, held, right, wrong)
    _instead(workspace, field, held, wrong)
    if single:
        url = f"/api/v1/{workspace.name}/thumb/{held.item_ids[0]}"
        st.html(f'<img src="{url}" alt="The item to judge" class="look-item">')
    else:
        sheets.draw(workspace, SHEET, held.item_ids, labels=[held.labels[0]] * len(held.item_ids))
        st.caption("Tap the ones that are wrong.")


def _answers(
    workspace: Workspace, field: str, held: Hand, right: list[str], wrong: list[str]
) -> None:
    """Draw a button for each label that may be right, then Wrong and Later."""
    key = sheets.mark(held.item_ids)
    columns = st.columns(len(held.labels) + 2)
    for at, label in enumerate(held.labels):
        count = "" if len(held.item_ids) == 1 else f"{len(right):,} "
        columns[at].button(
            f"{count}right: {literal(label)}" if count else f"Right: {literal(label)}",
            key=f"look-right-{at}-{key}",
            shortcut=str(at + 1) if at < 9 else None,
            type="primary",
            disabled=not right,
            width="stretch",
            on_click=lambda label=label: _answer(workspace, field, held, label, tapped=False),
        )
    columns[-2].button(
        f"{len(wrong):,} wrong" if len(held.item_ids) > 1 else "Wrong",
        icon=":material/close:",
        key=f"look-wrong-{key}",
        shortcut=WRONG_KEY,
        disabled=not wrong,
        width="stretch",
        help="Takes the label away; to say what it is instead, choose a label below",
        on_click=lambda: _answer(workspace, field, held, None, tapped=True),
    )
    columns[-1].button(
        "Later",
        icon=":material/skip_next:",
        key=f"look-later-{key}",
        shortcut=LATER_KEY,
        width="stretch",
        help="Puts these behind all others",
        on_click=lambda: _later(held),
    )


def _instead(workspace: Workspace, field: str, held: Hand, wrong: list[str]) -> None:
    """Draw the label that the wrong ones should have."""
    sheets.other_label(
        workspace,
        field,
        f"look-other-{field}",
        words=("Should be", "should be: type a label", "Should be this"),
        ids=held.item_ids,
        disabled=not wrong,
        on_click=lambda: _should_be(workspace, field, held),
    )


@state.undivided()
def _should_be(workspace: Workspace, field: str, held: Hand) -> None:
    label = state.value(f"look-other-{field}")
    if not label:
        state.say("type or choose what it should be", "error")
        return
    _answer(workspace, field, held, label, tapped=True)


@state.undivided()
def _answer(
    workspace: Workspace, field: str, held: Hand, label: str | None, *, tapped: bool
) -> None:
    """Keep the answer about what was shown: about the tapped ones, or about the others."""
    ids = held.item_ids
    if len(ids) > 1:
        ids = sheets.parted(SHEET, ids)[tapped]

    def work() -> str:
        def judge(chosen: Selection, head: int) -> None:
            review.answer(workspace, chosen, label, field=field, head=head)

        rest = while_open(workspace, field, ids, judge)
        if not rest:
            return NOTHING_LEFT
        state.set_value(f"look-other-{field}", None)
        items = "item" if len(rest) == 1 else "items"
        told = f"judged: {label or 'wrong'} · {len(rest):,} {items}"
        return told + settled_by_others(ids, rest)

    state.act(work)


@state.undivided()
def _later(held: Hand) -> None:
    settings, ids = state.value("look-drawn")
    late = set(held.item_ids)
    order = sorted(ids, key=lambda item_id: item_id in late)
    state.set_value("look-drawn", (settings, order))


def _results(workspace: Workspace, field: str, done: dict[str, int], each: int) -> None:
    st.subheader("How right each person is")
    if not done:
        st.caption("Nothing is judged yet: the figures come with the first answers.")
        return
    st.caption(
        literal(" · ".join(f"{who}: {count:,} of {each:,} judged" for who, count in done.items()))
    )
    st.dataframe(
        [
            {
                "who": score.person,
                "label": "(all)" if score.label is None else score.label,
                "given": score.given,
                "true": score.true,
                "precision": score.precision,
                "recall": score.recall,
                "F1": score.f1,
            }
            for score in review.scores(workspace, field)
        ],
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(name, format="percent")
            for name in ("precision", "recall", "F1")
        },
    )
    st.caption(
        "Precision: of what somebody called so, how much is. Recall: of what is so among their "
        "judged items, how much they called so. F1 joins the two."
    )
