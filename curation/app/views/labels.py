"""The Labels page: how far the labelling is, by label and by cluster, and the log."""

import streamlit as st

from curation.app import state
from curation.app.components import acts
from curation.overview import ClusterProgress, progress
from curation.workspace import Workspace
from embeddings.schema import NOISE

LOG_ROWS = 200


def page(workspace: Workspace) -> None:
    """Show the progress and the log."""
    atlas = state.atlas(workspace)
    rows = progress(workspace, atlas.version)
    items, labelled = len(atlas), sum(row.labelled for row in rows)
    share = labelled / items if items else 0.0
    st.progress(share, f"{labelled:,} of {items:,} items labelled ({share:.0%})")
    left, right = st.columns([2, 3], gap="large")
    with left:
        _by_label(workspace)
    with right:
        _by_cluster(workspace, rows)
    _log(workspace)


def _by_label(workspace: Workspace) -> None:
    st.subheader("Labels")
    for field in ("category", "instance"):
        counts = workspace.labels.counts(field)
        if not counts:
            if field == "category":
                st.info("Nothing is labelled yet: lasso a cluster on the Map and name it.")
            continue
        ordered = sorted(counts, key=lambda name: (-counts[name], name))
        st.dataframe(
            {field: ordered, "items": [counts[name] for name in ordered]},
            hide_index=True,
            column_config={
                "items": st.column_config.ProgressColumn(
                    "items", format="localized", min_value=0, max_value=max(counts.values())
                )
            },
        )


def _by_cluster(workspace: Workspace, rows: list[ClusterProgress]) -> None:
    st.subheader("Clusters")
    table = [
        {
            "cluster": "noise" if row.cluster < 0 else str(row.cluster),
            "items": row.items,
            "labelled": row.labelled / row.items,
            "excluded": row.excluded,
            "labels": list(row.labels),
        }
        for row in rows
    ]
    chosen = st.dataframe(
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="clusters",
        column_config={
            "labelled": st.column_config.ProgressColumn("labelled", format="percent"),
            "labels": st.column_config.ListColumn("labels"),
        },
    )
    marked = chosen["selection"]["rows"]
    if marked:
        cluster = rows[marked[0]].cluster
        st.button(
            f"Select {'the noise' if cluster == NOISE else f'cluster {cluster}'} on the map",
            icon=":material/bubble_chart:",
            on_click=lambda: _open_cluster(workspace, cluster),
        )


def _open_cluster(workspace: Workspace, cluster: int) -> None:
    acts.select_cluster(workspace, cluster)
    state.turn_to("map")


def _log(workspace: Workspace) -> None:
    st.subheader("Log")
    acts.history_buttons(workspace)
    decisions = workspace.log(LOG_ROWS)
    if not decisions:
        st.caption("No decision has been made yet.")
        return
    st.dataframe(
        [
            {
                "seq": decision.seq,
                "when (UTC)": decision.made_at[:19].replace("T", " "),
                "who": decision.made_by,
                "act": decision.words,
                "items": decision.n_items,
                "note": decision.note or "",
            }
            for decision in decisions
        ],
        hide_index=True,
    )
    if workspace.journal.head > LOG_ROWS:
        st.caption(f"The newest {LOG_ROWS}; all of them: curate log -d {workspace.name}")
