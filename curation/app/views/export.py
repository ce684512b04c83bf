"""The Export page: a labelled set on disk, with a manifest of checksums."""

from pathlib import Path

import streamlit as st

from curation.app import state
from curation.exporters import EXPORTERS
from curation.workspace import EXPORTS, Workspace

ABOUT = {
    "csv": "One row an item: ids, paths, labels, flags, cluster and metadata, as text.",
    "parquet": "The same columns, typed, for pandas, DuckDB or a training script.",
    "imagefolder": "The labelled images copied into a folder a category; excluded ones stay out.",
    "urls": "The URLs the images came from, with labels; for curate build or img2dataset.",
    "cortex": "One Cortex record an image, as a page of JSON.",
}


def page(workspace: Workspace) -> None:
    """Choose a format and a folder, write, and say what was written."""
    atlas = state.atlas(workspace)
    counts = workspace.labels.counts("category")
    st.subheader(f"Export {workspace.name}")
    st.caption(
        f"{len(atlas):,} items, {sum(counts.values()):,} labelled in {len(counts)} categories, "
        f"{len(workspace.labels.flagged('excluded')):,} excluded; "
        f"journal at decision {workspace.journal.head}"
    )
    formats = _formats()
    captions = [ABOUT.get(name, "") for name in formats]
    usual = {name: _usual_target(workspace, name) for name in formats}
    target = f"export-to-{workspace.name}"
    format = st.radio(
        "Format",
        formats,
        captions=captions,
        key="export-format",
        on_change=lambda: _follow(target, usual),
    )
    # one field for all formats: a key for each would show two of them while the page is redrawn
    if state.value(target) is None:
        state.set_value(target, usual[format])
    to = st.text_input("Folder to write", key=target)
    overwrite = st.checkbox("Replace the folder when it is there", key="export-overwrite")
    if st.button("Export", type="primary", icon=":material/download:", key="export-go"):
        _write(workspace, atlas.version, format, to, overwrite)


def _formats() -> list[str]:
    """Return the formats as they stand in `ABOUT`, the first being the usual one, plug-ins last."""
    known = list(ABOUT)
    return sorted(EXPORTERS.names(), key=lambda name: (*known, name).index(name))


def _usual_target(workspace: Workspace, format: str) -> str:
    return str(EXPORTS / f"{workspace.name}-{format}")


def _follow(target: str, usual: dict[str, str]) -> None:
    """Name the usual folder of the format just chosen, unless the curator has named another."""
    if state.value(target) in usual.values():
        state.set_value(target, usual[state.value("export-format")])


def _write(workspace: Workspace, version: str, format: str, to: str, overwrite: bool) -> None:
    bar = st.progress(0.0, "writing")

    def progress(done: int, total: int) -> None:
        bar.progress(done / max(total, 1), f"{done:,} of {total:,} items")

    target = Path(to).expanduser()
    try:
        path = workspace.export(
            format, target, version=version, overwrite=overwrite, progress=progress
        )
    finally:
        bar.empty()
    st.success(f"Written to {path}; manifest.json there has every file's checksum.")
