"""What was decided: undo and redo with what comes back, the log, and the items of a decision."""

import tempfile
from functools import partial
from pathlib import Path

import streamlit as st

from curation.acts import Preview
from curation.app import state
from curation.app.components import acts, sheets
from curation.app.components.frame import literal
from curation.audit import FORMATS, export_log
from curation.schema import FIELDS, Decision
from curation.workspace import Workspace

LOG_ROWS = 200
LINES = 4  # kinds of change that are told one by one


def back_and_forth(workspace: Workspace) -> None:
    """Draw Undo and Redo, and under each what would become of which items."""
    acts.history_buttons(workspace)
    columns = st.columns(2)
    for column, found in zip(
        columns, (workspace.preview_undo(), workspace.preview_redo()), strict=True
    ):
        with column:
            for line in lines(found):
                st.caption(literal(line))


def lines(found: Preview | None) -> list[str]:
    """Return what an undo or redo would change, a line a kind of change; none without an act."""
    if found is None:
        return []
    told = [line.replace("->", "→") for line in found.words]
    if len(told) > LINES:
        told[LINES:] = [f"and {len(told) - LINES:,} other kinds of change"]
    return told or ["no item would change: something later stands"]


def log(workspace: Workspace) -> None:
    """Draw the decisions, newest first, those of one person or about one label where asked."""
    if not workspace.journal.head:
        st.caption("No decision has been made yet.")
        return
    who, label = _filters(workspace)
    decisions = workspace.log(LOG_ROWS, made_by=who, label=label)
    if not decisions:
        st.caption("No decision is like that: choose everybody, or any label.")
        return
    chosen = st.dataframe(
        [_row(decision) for decision in decisions],
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="log",
    )
    if len(decisions) == LOG_ROWS:
        st.caption(f"The newest {LOG_ROWS}; the downloads hold all of them.")
    _downloads(workspace)
    marked = chosen["selection"]["rows"]
    if marked and marked[0] < len(decisions):
        _items(workspace, decisions[marked[0]])


def _filters(workspace: Workspace) -> tuple[str | None, str | None]:
    """Draw the choice of a person and of a label; None for all of them."""
    left, right = st.columns(2)
    people = sorted(workspace.labels.standing_acts(FIELDS[0]).people)
    known = sorted({name for field in FIELDS for name in workspace.labels.codes(field)[1]})
    who = left.selectbox("Who", people, index=None, key="log-who", placeholder="everybody")
    label = right.selectbox("Label", known, index=None, key="log-label", placeholder="any label")
    return who, label


def _row(decision: Decision) -> dict[str, str | int]:
    return {
        "seq": decision.seq,
        "when (UTC)": decision.made_at[:19].replace("T", " "),
        "who": decision.made_by,
        "act": decision.words,
        "items": decision.n_items,
        "how": decision.source or "",
        "note": decision.note or "",
    }


def _downloads(workspace: Workspace) -> None:
    row = st.container(horizontal=True)
    for format in FORMATS:
        row.download_button(
            f"Whole log as {format.upper()}",
            partial(written, workspace, format),  # made when it is asked for, not at each drawing
            file_name=f"{workspace.name}-log.{format}",
            mime="text/csv" if format == "csv" else "application/json",
            icon=":material/download:",
            key=f"log-{format}",
            on_click="ignore",
        )


def written(workspace: Workspace, format: str) -> bytes:
    """Return the whole log in one format, as `audit.export_log` writes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        export_log(workspace, format, path)
        return path.read_bytes()


def _items(workspace: Workspace, decision: Decision) -> None:
    """Draw the items of one decision, and the way to them on the map."""
    atlas = state.atlas(workspace)
    rows = workspace.rows_with(decision.items, atlas.version)
    st.markdown(f"##### Decision {decision.seq}: {literal(decision.words)}")
    if decision.note:
        st.caption(literal(decision.note))
    if not len(rows):
        st.caption("None of its items is on this atlas.")
        return
    ids = atlas.item_ids[rows[: sheets.MOST]].tolist()
    held = workspace.journal.item_nos(ids)
    instance = decision.field == "instance"
    labels = workspace.labels.instance(held) if instance else workspace.labels.category(held)
    kept, tapped = sheets.parted("decision", ids)
    st.button(
        f"Select {'these' if not tapped else 'those left'} on the map",
        icon=":material/bubble_chart:",
        key=f"decision-select-{sheets.mark(ids)}",
        disabled=not kept,
        help=f"All {len(rows):,} but the {len(tapped):,} that you tapped",
        on_click=lambda: _select(workspace, decision, ids),
    )
    sheets.draw(workspace, "decision", ids, labels=labels.tolist(), total=len(rows))


@state.undivided()
def _select(workspace: Workspace, decision: Decision, ids: list[str]) -> None:
    atlas = state.atlas(workspace)
    rows = workspace.rows_with(decision.items, atlas.version)
    tapped = sheets.parted("decision", ids)[1]
    if tapped:
        away = set(sheets.rows(workspace, tapped).tolist())
        rows = rows[[row not in away for row in rows.tolist()]]
    state.show(atlas, rows)
    state.turn_to("map")
