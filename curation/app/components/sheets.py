"""A contact sheet of a page's own: tapping parts its items into those left alone and the rest."""

from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st

from curation.app import state
from curation.overview import clusters_of, label_names
from curation.schema import Selection
from curation.viewer import component
from curation.workspace import Workspace
from embeddings.schema import Int32

MOST = 240  # items on one sheet; acts go to those that are shown
HEIGHT = 380  # pixels
OTHER_KEY = "Ctrl+Enter"


def draw(
    workspace: Workspace,
    name: str,
    ids: Sequence[str],
    *,
    labels: Sequence[str | None] | None = None,
    total: int | None = None,
) -> None:
    """Draw the items `ids`, those crossed that were tapped on the sheet of this name before."""
    key = f"{name}-sheet"

    @state.undivided()
    def take() -> None:
        state.act(lambda: _take(key, ids))

    away = _tapped(key)
    with st.container(key=f"own-sheet-{name}"):
        component.contact_sheet(
            key,
            item_ids=ids,
            thumb_url=f"/api/v1/{workspace.name}/thumb/{{id}}",
            labels=labels,
            clusters=clusters_of(workspace, chosen(workspace, ids), ids),
            dropped=[at for at, item_id in enumerate(ids) if item_id in away],
            told=state.value(f"told-{key}", 0),
            total=total,
            height=HEIGHT,
            on_strays=take,
        )


def other_label(
    workspace: Workspace,
    field: str,
    key: str,
    *,
    words: tuple[str, str, str],
    ids: Sequence[str],
    disabled: bool,
    on_click: Callable[[], None],
) -> None:
    """Draw a field for a label that no button offers, and the button that gives it to `ids`.

    `words` are the field's name, what stands in it while it is empty, and the button's.
    """
    name, empty, button = words
    left, right = st.columns([5, 2], vertical_alignment="bottom")
    left.selectbox(
        name,
        label_names(workspace, field),
        index=None,
        key=key,
        placeholder=empty,
        accept_new_options=True,
        label_visibility="collapsed",
    )
    component.keep_typed("typed", [key])
    right.button(
        button,
        icon=":material/label:",
        key=f"{key}-{mark(ids)}",
        shortcut=OTHER_KEY,
        disabled=disabled,
        width="stretch",
        on_click=on_click,
    )


def parted(name: str, ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return which of the items were left alone, and which were tapped."""
    away = _tapped(f"{name}-sheet")
    return [one for one in ids if one not in away], [one for one in ids if one in away]


def chosen(workspace: Workspace, ids: Sequence[str]) -> Selection:
    """Return some items as a selection on the atlas that this tab shows."""
    return Selection.of(state.atlas(workspace), rows(workspace, ids))


def rows(workspace: Workspace, ids: Sequence[str]) -> Int32:
    """Return the rows of some items on the atlas that this tab shows, (m,) int32, sorted."""
    found = state.atlas(workspace).rows_of(np.array(ids, dtype=np.str_))
    return np.sort(found[found >= 0]).astype(np.int32)


def mark(ids: Sequence[str]) -> str:
    """Return a part of a button's key: a press counts only for the items that were seen."""
    return component.sheet_version(ids)


def _tapped(key: str) -> frozenset[str]:
    found: frozenset[str] = state.value(f"tapped-{key}", frozenset())
    return found


def _take(key: str, ids: Sequence[str]) -> None:
    """Keep what was tapped; CurationError for a message about another sheet."""
    message = state.value(key).strays
    if message is None:
        return
    state.set_value(f"told-{key}", component.message_number(message))
    mask = component.decode_strays(message, ids)
    away = {item_id for item_id, gone in zip(ids, mask, strict=True) if gone}
    state.set_value(f"tapped-{key}", (_tapped(key) - frozenset(ids)) | away)


def forget(name: str) -> None:
    """Take the taps on a sheet back: what is left of it is looked at anew."""
    state.set_value(f"tapped-{name}-sheet", frozenset())
