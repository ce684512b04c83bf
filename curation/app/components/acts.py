"""The acts of a curator as buttons and keys: label, exclude, flag, undo, redo."""

from collections.abc import Callable, Sequence

import streamlit as st
from pyroaring import BitMap

from curation.app import state
from curation.app.components.frame import literal
from curation.overview import flag_counts, label_names, likely_labels
from curation.schema import FIELDS, FLAGS, Decision, Selection
from curation.viewer.component import keep_typed
from curation.workspace import Workspace

LABEL_KEY, EXCLUDE_KEY, FLAG_KEY = "Ctrl+Enter", "Alt+X", "Alt+F"
CLEAR_KEY, CLEAN_KEY = "Alt+U", "Alt+K"
EXCLUDED = FLAGS[0]
LONGEST_REASON = 200  # characters
UNDO_KEY, REDO_KEY = "Ctrl+Z", "Ctrl+Shift+Z"


def label_bar(workspace: Workspace) -> None:
    """Draw the label field with completion, and the buttons Label and Exclude."""
    kind, text = st.columns([5, 7], vertical_alignment="center")
    field = kind.segmented_control(
        "Kind of label", FIELDS, default=FIELDS[0], key="field", label_visibility="collapsed"
    )
    text.selectbox(
        "Label",
        label_names(workspace, field or FIELDS[0]),
        index=None,
        key=f"label-{field or FIELDS[0]}",
        placeholder="type a label",
        accept_new_options=True,
        label_visibility="collapsed",
    )
    keep_typed("typed", [f"label-{one}" for one in FIELDS])
    label, exclude = st.columns(2)
    label.button(
        "Label",
        type="primary",
        icon=":material/label:",
        key="act-label",
        shortcut=LABEL_KEY,
        disabled=state.kept() is None,
        width="stretch",
        on_click=lambda: _label(workspace),
    )
    exclude.button(
        "Exclude",
        icon=":material/block:",
        key="act-exclude",
        shortcut=EXCLUDE_KEY,
        disabled=state.kept() is None,
        width="stretch",
        help="Leave these out of exports; they stay in the dataset and can be restored",
        on_click=lambda: _flag(workspace, EXCLUDED),
    )


def likely(workspace: Workspace) -> list[str]:
    """Return the labels in use that the new one nearly is: a slip must not become a second."""
    field = state.value("field") or FIELDS[0]
    return likely_labels(workspace, state.value(f"label-{field}") or "", field)


def offer(labels: list[str]) -> None:
    """Draw labels to take instead of the typed one, in a line that is there anyway."""
    field = state.value("field") or FIELDS[0]
    st.caption("Did you mean", width="content")
    for label in labels:
        st.button(
            literal(label),
            key=f"likely-{label}",
            type="tertiary",
            on_click=lambda label=label: state.set_value(f"label-{field}", label),
        )


def flag_bar(workspace: Workspace) -> None:
    """Draw the other flags, and the reason for any flag."""
    left, middle, right = st.columns(3, vertical_alignment="bottom")
    others = [flag for flag in FLAGS if flag != EXCLUDED]
    flag = left.selectbox("Flag", others, key="flag-kind", label_visibility="collapsed")
    middle.text_input(
        "Reason",
        key="flag-reason",
        placeholder="reason (optional)",
        max_chars=LONGEST_REASON,
        label_visibility="collapsed",
    )
    right.button(
        "Flag",
        icon=":material/flag:",
        key="act-flag",
        shortcut=FLAG_KEY,
        disabled=state.kept() is None,
        width="stretch",
        on_click=lambda: _flag(workspace, flag),
    )


def restore_bar(workspace: Workspace) -> None:
    """Draw what takes flags and labels of the selection away again, where it has any."""
    chosen, field = state.kept(), state.value("field") or FIELDS[0]
    if chosen is None:
        return
    held = flag_counts(workspace, chosen)
    labels = workspace.labels.tally(field, workspace.nos_of(chosen))
    if not held and not labels:
        return
    row = st.container(key="restore", horizontal=True)
    if labels:
        row.button(
            f"Take label away ({sum(labels.values()):,})",
            icon=":material/label_off:",
            key="act-clear",
            shortcut=CLEAR_KEY,
            width="stretch",
            help=literal(", ".join(f"{count:,} {label}" for label, count in labels.items())),
            on_click=lambda: _clear(workspace, field),
        )
    for flag, count in held.items():
        row.button(
            f"Restore {count:,} excluded" if flag == EXCLUDED else f"Unflag {count:,} {flag}",
            icon=":material/restore_from_trash:" if flag == EXCLUDED else ":material/flag_2:",
            key=f"act-unflag-{flag}",
            width="stretch",
            on_click=lambda flag=flag: _flag(workspace, flag, remove=True),
        )


def clean_button() -> None:
    """Draw what takes the selection to the Clean page, as a sheet with its strays at the end."""
    st.button(
        "Clean these", key="clean-these", type="tertiary", shortcut=CLEAN_KEY, on_click=_clean
    )


@state.undivided()
def _clean() -> None:
    chosen = state.kept()
    if chosen is not None:
        state.set_value("to-clean", (chosen, "selected on the map"))
        state.turn_to("clean")


def history_buttons(workspace: Workspace) -> None:
    """Draw Undo and Redo; each says what it would take back or bring back."""
    back = workspace.journal.undoable(workspace.made_by)
    again = workspace.journal.redoable(workspace.made_by)
    takes = [] if back is None else workspace.journal.parts(back, "undo")
    brings = [] if again is None else workspace.journal.parts(again, "redo")
    left, right = st.columns(2)
    left.button(
        f"Undo {literal(_words(takes))} ({len(_items(takes)):,})" if takes else "Undo",
        icon=":material/undo:",
        key="act-undo",
        shortcut=UNDO_KEY,
        disabled=back is None,
        width="stretch",
        help=f"Undo {literal(_told(*takes))}" if takes else None,
        on_click=lambda: _undo(workspace, takes),
    )
    right.button(
        f"Redo {literal(_words(brings))} ({len(_items(brings)):,})" if brings else "Redo",
        icon=":material/redo:",
        key="act-redo",
        shortcut=REDO_KEY,
        disabled=again is None,
        width="stretch",
        help=f"Redo {literal(_told(*brings))}" if brings else None,
        on_click=lambda: _redo(workspace, brings),
    )


@state.undivided()
def select_cluster(workspace: Workspace, cluster: int) -> None:
    """Select one cluster, on the map too."""
    atlas = state.atlas(workspace)
    state.show(atlas, atlas.members(cluster))


# What is selected and typed is read when a button is pressed: the page may have been drawn before
# the last stray was dropped.


@state.undivided()
def _label(workspace: Workspace) -> None:
    field = str(state.value("field") or FIELDS[0])
    chosen, name = state.kept(), state.value(f"label-{field}")
    if chosen is None:
        return
    if not name:
        state.say("type or choose a label first", "error")
        return

    def work() -> str | None:
        if workspace.forecast(chosen, name, field).overwrites:
            state.set_value("ask", (chosen, name, field))
            return None
        return _labelled(workspace.label(chosen, name, field=field), chosen)

    state.act(work)


@state.undivided()
def _flag(workspace: Workspace, flag: str, *, remove: bool = False) -> None:
    chosen, reason = state.kept(), state.value("flag-reason") or None
    if chosen is not None:
        state.act(lambda: _finish(workspace.flag(chosen, flag, remove=remove, note=reason)))


@state.undivided()
def _clear(workspace: Workspace, field: str) -> None:
    """Take the label from those of the selection that have one, excluded ones too."""
    chosen = state.kept()
    named = None if chosen is None else workspace.with_label(chosen, field)
    if named is not None:
        state.act(lambda: _finish(workspace.clear(named, field=field)))


@state.undivided()
def _undo(workspace: Workspace, shown: list[Decision]) -> None:
    """Undo the step that the button showed and no other; its items are selected again."""
    if not shown:
        return

    def work() -> str:
        undone, atlas = workspace.back("undo", seq=shown[-1].seq), state.atlas(workspace)
        state.give_back(atlas, workspace.rows_with(_items(undone), atlas.version))
        return f"undone: {_told(*shown)}"

    state.act(work)


@state.undivided()
def _redo(workspace: Workspace, shown: list[Decision]) -> None:
    """Redo the step that the button showed, and no other."""
    if not shown:
        return

    def work() -> str:
        workspace.redo(seq=shown[0].seq)
        return f"done again: {_told(*shown)}"

    state.act(work)


def _finish(decision: Decision) -> str:
    """Say what was done and make room for the next selection and its label."""
    state.select(None)
    for field in FIELDS:
        state.set_value(f"label-{field}", None)
    state.set_value("flag-reason", "")
    state.send("clear", version=decision.atlas_version)
    return _told(decision)


def _told(*step: Decision) -> str:
    count = len(_items(step))
    return f"{_words(step)} · {count:,} {'item' if count == 1 else 'items'}"


def _words(step: Sequence[Decision]) -> str:
    more = len(step) - 1
    return f"{step[0].words} and {more:,} more" if more else step[0].words


def _items(step: Sequence[Decision]) -> BitMap:
    return BitMap().union(*(decision.items for decision in step))


def _labelled(decision: Decision, chosen: Selection) -> str:
    """Say what was labelled, and that excluded items were not."""
    left = len(chosen.item_ids) - decision.n_items
    more = f"; {left:,} excluded left out" if left else ""
    return _finish(decision) + more


def ask_before_overwriting(workspace: Workspace) -> None:
    """Open the question that `Label` asks before it changes labels people gave."""
    asked = state.value("ask")
    if asked is not None:
        _ask(workspace, *asked)


@st.dialog("Some of these are labelled already", on_dismiss=lambda: state.set_value("ask", None))
def _ask(workspace: Workspace, chosen: Selection, name: str, field: str) -> None:
    forecast = workspace.forecast(chosen, name, field)
    held = ", ".join(f"{count:,} {label}" for label, count in forecast.relabels.items())
    st.markdown(
        f"{forecast.overwrites:,} of {forecast.items:,} items have another {field} by hand:"
    )
    st.text(held)
    st.caption(f"Each would become {literal(name)}.")
    answers: dict[str, Callable[[], str | None]] = {
        "Change them": lambda: _labelled(
            workspace.label(chosen, name, field=field, overwrite=True), chosen
        ),
        "Only the others": lambda: _label_the_rest(workspace, chosen, name, field),
        "Cancel": lambda: None,
    }
    if forecast.overwrites == forecast.items:
        del answers["Only the others"]  # there are none
    pressed = [
        column.button(
            answer,
            key=f"ask-{answer}",
            type="primary" if answer == "Change them" else "secondary",
            width="stretch",
            on_click=lambda work=work: _answer(work),
        )
        for column, (answer, work) in zip(st.columns(len(answers)), answers.items(), strict=True)
    ]
    if any(pressed):
        st.rerun()  # a dialog runs alone: this closes it


@state.undivided()
def _answer(work: Callable[[], str | None]) -> None:
    """Do as answered before the page is drawn: afterwards its fields could not be emptied."""
    state.set_value("ask", None)
    state.act(work)


def _label_the_rest(workspace: Workspace, chosen: Selection, name: str, field: str) -> str | None:
    rest = workspace.without_label(chosen, field)
    if rest is None:
        return f"all of them have a {field} already; nothing was changed"
    return _labelled(workspace.label(rest, name, field=field), rest)
