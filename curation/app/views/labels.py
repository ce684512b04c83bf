"""The Labels page: how far the labelling is, whole labels changed, and the log."""

import streamlit as st

from curation.app import state
from curation.app.components import acts, history, names, together
from curation.overview import ClusterProgress, progress
from curation.schema import Selection
from curation.workspace import Workspace
from embeddings.schema import NOISE


def page(workspace: Workspace) -> None:
    """Show the progress, what can be done with whole labels, and the log."""
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
    if workspace.journal.head:
        names.form(workspace)
    st.subheader("Log")
    history.back_and_forth(workspace)
    history.log(workspace)


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
    with_others = together.holders(workspace, state.atlas(workspace).version)
    table = [
        {
            "cluster": "noise" if row.cluster < 0 else str(row.cluster),
            "items": row.items,
            "labelled": row.labelled / row.items,
            "excluded": row.excluded,
            "labels": list(row.labels),
            "in hand": ", ".join(with_others.get(row.cluster, ())),
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
        name = "the noise" if cluster == NOISE else f"cluster {cluster}"
        st.button(
            f"Select {name} on the map",
            icon=":material/bubble_chart:",
            on_click=lambda: _open_cluster(workspace, cluster),
        )
        st.button(
            f"Clean {name}",
            icon=":material/cleaning_services:",
            on_click=lambda: _clean_cluster(workspace, cluster, name),
        )


def _open_cluster(workspace: Workspace, cluster: int) -> None:
    acts.select_cluster(workspace, cluster)
    state.turn_to("map")


@state.undivided()
def _clean_cluster(workspace: Workspace, cluster: int, name: str) -> None:
    atlas = state.atlas(workspace)
    state.set_value("to-clean", (Selection.of(atlas, atlas.members(cluster)), name))
    state.turn_to("clean")
