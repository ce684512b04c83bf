"""The Map page: the atlas, and beside it what is selected and what can be done with it."""

import streamlit as st

from curation.app import state
from curation.app.components import acts
from curation.fields import fields
from curation.overview import clusters_of, composition
from curation.schema import FLAG_BITS, Selection
from curation.viewer import component
from curation.workspace import Workspace
from embeddings.schema import NOISE, Atlas

HEIGHT = 720  # pixels of the map
SHEET_HEIGHT = 430
NAMED = 3  # clusters of a selection that are told by name
TYPICAL, ODD = 300, 900  # of a larger selection the sheet shows so many from each end


def page(workspace: Workspace) -> None:
    """Draw the map to the left, the selection to the right."""
    atlas = state.atlas(workspace)
    state.follow(atlas)
    left, right = st.columns([8, 5], gap="small")
    with left:
        _map(workspace, atlas)
    with right:
        _selection(workspace)
    acts.ask_before_overwriting(workspace)


def _map(workspace: Workspace, atlas: Atlas) -> None:
    key = f"map-{workspace.name}"

    @state.undivided()
    def take() -> None:
        state.take_message(workspace, state.value(key).selection)

    component.atlas_map(
        key,
        base=f"/api/v1/{workspace.name}",
        version=atlas.version,
        fields=[vars(field) for field in fields(workspace, atlas.version)],
        command=state.command(),
        session=state.session(workspace),
        journal=workspace.dataset.dataset_id,
        heard=state.heard(),
        height=HEIGHT,
        on_selection=take,
    )


def _selection(workspace: Workspace) -> None:
    held = state.selection()
    chosen = state.kept()
    _headline(workspace, held, chosen)
    acts.label_bar(workspace)
    acts.flag_bar(workspace)
    acts.history_buttons(workspace)
    acts.restore_bar(workspace)
    if held is None:
        st.info(
            "Draw around some points (lasso: **L**, box: **B**), or double-click one to take its "
            "whole cluster. Hold Shift to add, Alt to take away.",
            icon=":material/gesture:",
        )
    else:
        _sheet(workspace, held)


def _headline(workspace: Workspace, held: Selection | None, chosen: Selection | None) -> None:
    if held is None:
        st.markdown("##### Nothing selected")
        _line(workspace, f"{sum(workspace.labels.counts('category').values()):,} labelled so far")
        return
    count = 0 if chosen is None else len(chosen)
    strays = len(held) - count
    dropped = f" · {strays:,} {'stray' if strays == 1 else 'strays'} dropped" if strays else ""
    st.markdown(f"##### {count:,} selected{dropped}")
    _line(workspace, _where(workspace, held))


def _line(workspace: Workspace, words: str) -> None:
    """Say one line, always as high: what is below must not move under the curator's hand."""
    likely = acts.likely(workspace)
    with st.container(key="line", horizontal=True, vertical_alignment="center", wrap=False):
        if likely:
            acts.offer(likely)
        else:
            st.caption(words)


def _where(workspace: Workspace, held: Selection) -> str:
    parts = composition(workspace, held)
    words = [
        f"{count:,} in {'noise' if cluster == NOISE else f'cluster {cluster}'}"
        for cluster, count in parts[:NAMED]
    ]
    more = f" and {len(parts) - NAMED} more clusters" if len(parts) > NAMED else ""
    return " · ".join(words) + more


def flags_in(bits: int) -> str | None:
    """Return the flags of one item in words."""
    return ", ".join(flag for flag, bit in FLAG_BITS.items() if bits & bit) or None


def _sheet(workspace: Workspace, held: Selection) -> None:
    order = state.ordered(workspace)
    total, tip = len(order), "Most typical first. Click strays to drop them."
    ids = order[: TYPICAL + ODD].tolist()
    if total > TYPICAL + ODD:
        tip = (
            f"The {TYPICAL} most, then the {ODD} least typical. Acts go to all {total:,}, "
            "labels not to excluded ones."
        )
        ids = order[:TYPICAL].tolist() + order[-ODD:].tolist()
    gone = state.dropped()
    items = workspace.journal.item_nos(ids)
    instance = state.value("field") == "instance"
    names = workspace.labels.instance(items) if instance else workspace.labels.category(items)
    key = f"sheet-{workspace.name}"

    @state.undivided()
    def take() -> None:
        state.take_strays(state.value(key).strays, ids)

    component.contact_sheet(
        key,
        item_ids=ids,
        thumb_url=f"/api/v1/{workspace.name}/thumb/{{id}}",
        labels=names.tolist(),
        flags=[flags_in(bits) for bits in workspace.labels.flags(items).tolist()],
        clusters=clusters_of(workspace, held, ids),
        dropped=[at for at, item_id in enumerate(ids) if item_id in gone],
        told=state.strays_heard(),
        total=total,
        height=SHEET_HEIGHT,
        on_strays=take,
    )
    with st.container(key="tip", horizontal=True, vertical_alignment="center", wrap=False):
        st.caption(tip)
        acts.clean_button()
