"""The Review page: settle conflicts, see how far curators agree, judge a random sample."""

import streamlit as st

from curation.app.components import agreeing, conflicts, second_look
from curation.schema import FIELDS
from curation.workspace import Workspace

PARTS = {
    "Conflicts": conflicts.page,
    "Agreement": agreeing.page,
    "Second look": second_look.page,
}
ABOUT = {
    "Conflicts": "Items about which curators differ, those with the same labels together.",
    "Agreement": "How far curators mean the same by the same label, beyond chance.",
    "Second look": "Labels of other people, drawn at random: is each one right?",
}


def page(workspace: Workspace) -> None:
    """Draw one of the three parts, for the kind of label that is chosen."""
    left, right = st.columns([3, 2], vertical_alignment="center")
    with left:
        part = _choice("Part", tuple(PARTS), "review-part")
    with right:
        field = _choice("Kind of label", FIELDS, "review-field")
    st.caption(ABOUT[part])
    PARTS[part](workspace, field)


def _choice(label: str, options: tuple[str, ...], key: str) -> str:
    return st.segmented_control(
        label,
        options,
        default=options[0],
        key=key,
        required=True,
        label_visibility="collapsed",
    )
