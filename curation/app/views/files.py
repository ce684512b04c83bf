"""The Files page: what was read, what could not be and why, and how the last build went."""

from typing import Any

import streamlit as st

from curation.app.components.frame import literal
from curation.intake import Intake, Reason, intake, last_build, shown
from curation.workspace import Workspace

ROWS = 1000  # of one reason; the rest by the command line
STAGE_COLUMNS = {
    "items/s": st.column_config.NumberColumn(format="localized"),
    "items": st.column_config.NumberColumn(format="localized"),
}


def page(workspace: Workspace) -> None:
    """Show counts, reasons with their files, and the last build."""
    found = intake(workspace)
    _counts(found)
    left, right = st.columns([3, 2], gap="large")
    with left:
        _unreadable(workspace, found)
        _missing(workspace, found)
    with right:
        _last_build(last_build(workspace))


def _counts(found: Intake) -> None:
    counts = {
        "Files": found.files,
        "Images": found.images,
        "Exact duplicates": found.duplicates,
        "Unreadable": found.unreadable_files,
        "Missing": len(found.missing),
    }
    for column, (name, count) in zip(st.columns(len(counts)), counts.items(), strict=True):
        column.metric(name, f"{count:,}")


def _unreadable(workspace: Workspace, found: Intake) -> None:
    st.subheader("Unreadable files")
    if not found.unreadable:
        st.success("Every file could be read.", icon=":material/check:")
        return
    chosen = st.dataframe(
        [{"reason": each.reason, "files": len(each.files)} for each in found.unreadable],
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"reasons-{workspace.name}",
        column_config={
            "files": st.column_config.ProgressColumn(
                "files",
                format="localized",
                min_value=0,
                max_value=max(len(each.files) for each in found.unreadable),
            )
        },
    )
    marked = chosen["selection"]["rows"]
    if not marked:
        st.caption(
            "Choose a reason to see its files. Mend them and build again: only they are read."
        )
        return
    _files(workspace, found.unreadable[marked[0]])


def _files(workspace: Workspace, reason: Reason) -> None:
    st.dataframe([shown(row) for row in reason.files[:ROWS]], hide_index=True)
    if len(reason.files) > ROWS:
        st.caption(
            f"The first {ROWS:,} of {len(reason.files):,}; all of them: "
            f"`curate files -d {workspace.name} --status unreadable`"
        )


def _missing(workspace: Workspace, found: Intake) -> None:
    if not found.missing:
        return
    st.subheader("Missing files")
    st.caption(
        "Their images and labels stay. If a folder has moved: "
        f"`curate relocate OLD NEW -d {workspace.name}`"
    )
    st.dataframe([shown(row) for row in found.missing[:ROWS]], hide_index=True)


def _last_build(report: dict[str, Any] | None) -> None:
    st.subheader("Last build")
    if report is None:
        st.caption("No build has come to its end yet.")
        return
    timings = report["timings"]
    st.caption(
        f"{report['made_at'][:19].replace('T', ' ')} UTC · {timings['wall_seconds']:,.1f} s on "
        f"{report['device']} · encoder {literal(report['encoder'])} · "
        f"peak memory {timings['peak_memory_bytes'] / 2**20:,.0f} MiB"
    )
    busy = report.get("encoder_busy")
    if busy is not None:
        st.progress(min(busy, 1.0), f"The encoder worked {busy:.0%} of scan to store")
    for note in report.get("notes", []):
        st.info(literal(note))
    st.dataframe(
        [
            {
                "stage": stage,
                "items": row["items"],
                "seconds": row["seconds"],
                "items/s": row["items_per_second"],
            }
            for stage, row in timings["stages"].items()
            if row["items"]
        ],
        hide_index=True,
        column_config=STAGE_COLUMNS,
    )
