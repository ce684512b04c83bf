"""The Clean page: sheets of items that probably share a label, one after the other."""

from typing import Any

import streamlit as st

from curation.app import state
from curation.app.components import together
from curation.app.components.cleaning import Desk
from curation.app.components.cleaning_acts import take
from curation.viewer import component
from curation.workspace import Workspace

TRIES = 2  # a sheet in hand that somebody else has too stays: nothing of it is lost
HEIGHT = 760  # pixels, where the page does not say how high it is


def page(workspace: Workspace) -> None:
    """Draw the sheet in hand, the queue beside it, and how far the work is."""
    desk = _desk(workspace)
    key = f"clean-{workspace.name}"

    @state.undivided()
    def act() -> None:
        take(desk, state.value(key).act)
        if desk.leave_for:
            state.turn_to(desk.leave_for)
            desk.leave_for = ""

    with st.spinner("Looking at what is alike"):
        shown = _shown(desk)
    if not desk.sheets and len(desk.taken):
        st.info(
            "What is left is on the sheets of others, or of another tab of yours: see who is "
            "here, at the top."
        )
    component.cleaning_sheet(
        key,
        base=f"/api/v1/{workspace.name}",
        session=f"{state.session(workspace)}-{desk.token}",
        shown=shown,
        height=HEIGHT,
        on_act=act,
    )


def _shown(desk: Desk) -> dict[str, Any]:
    """Return what the desk shows, its sheets claimed; anew where somebody came first."""
    for _ in range(TRIES):
        desk.taken = together.taken(desk.workspace, desk.version, desk.field)
        shown = desk.shown()
        if together.hold(desk.workspace, desk.version, desk.field, desk.sheets):
            break
    return shown


def _desk(workspace: Workspace) -> Desk:
    """Return this tab's desk on the atlas that it shows."""
    version = state.atlas(workspace).version
    desk: Desk | None = state.value("desk")
    if desk is None or desk.workspace is not workspace or desk.version != version:
        desk = Desk(workspace, version)
        state.set_value("desk", desk)
    brought = state.value("to-clean")
    if brought is not None:
        state.set_value("to-clean", None)
        if not desk.bring(*brought):
            st.toast(f"{brought[1]}: nothing is open any more", icon=":material/check:")
    return desk
