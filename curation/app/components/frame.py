"""What stands around every page: style, chooser, words to the curator."""

import re
from collections.abc import Callable
from pathlib import Path

import streamlit as st

from curation.app import state
from curation.workspace import Workspace
from embeddings import dataset as datasets
from embeddings.errors import CurationError

ICON = str(Path(__file__).with_name("icon.png"))  # a named icon would be fetched from a web host
SIDEBAR = 220  # pixels
_CSS = Path(__file__).with_name("frame.css")
_MARKDOWN = re.compile(r"[\\`*_\[\]$~#|]|:(?=\S)|^[-+]|^\d+[.)]")


def literal(text: str) -> str:
    """Return `text` so that Markdown shows it as it is: a label may come from somebody's table.

    ``![](https://...)`` in a button's label would be fetched, ``a_b_c`` would lose letters.
    """
    return _MARKDOWN.sub(lambda found: f"{found.group()[:-1]}\\{found.group()[-1]}", text)


def style() -> None:
    """Give the map the room that Streamlit's margins take."""
    st.html(_CSS)


def guarded(draw: Callable[[Workspace], None], workspace: Workspace) -> None:
    """Draw a page; what the curator can act on is one line, not a traceback."""
    try:
        draw(workspace)
    except CurationError as error:
        st.error(literal(str(error)), icon=":material/error:")


def refused(reason: str) -> None:
    """Say why a dataset cannot be opened, and offer the others."""
    st.error(literal(reason), icon=":material/error:")
    st.sidebar.selectbox(
        "Dataset",
        datasets.names(),
        index=None,
        key="dataset-instead",
        on_change=lambda: state.open_dataset(state.value("dataset-instead")),
    )


def sidebar(workspace: Workspace) -> None:
    """Choose a dataset and one of its atlases."""
    names = datasets.names()
    with st.sidebar:
        st.markdown("#### Curation Atlas")
        st.selectbox(
            "Dataset",
            names,
            index=names.index(workspace.name),
            key=f"dataset-{workspace.name}",
            on_change=lambda: state.open_dataset(state.value(f"dataset-{workspace.name}")),
        )
        _choose_atlas(workspace)
        images = workspace.store.count("images")
        st.caption(f"{images:,} images · you are **{literal(workspace.made_by)}**")


def _choose_atlas(workspace: Workspace) -> None:
    runs = workspace.runs()
    if len(runs) < 2:
        return
    shown = state.atlas(workspace).version
    names = {run["version"]: _run_name(run) for run in runs}
    st.selectbox(
        "Atlas",
        list(names),
        index=list(names).index(shown),
        format_func=lambda version: names[version],
        key=f"atlas-{shown}",
        on_change=lambda: state.open_atlas(state.value(f"atlas-{shown}")),
    )


def _run_name(run: dict[str, object]) -> str:
    params = run["params"]
    assert isinstance(params, dict)
    when = str(run["made_at"])[:16].replace("T", " ")
    return f"{params['encoder']} · {params['layout']} · {params['cluster']} ({when})"


def words() -> None:
    """Say what the last act did, or why it did not."""
    told = state.said()
    if told is None:
        return
    kind, text = told
    if kind == "error":
        st.error(literal(text), icon=":material/error:")
    else:
        st.toast(literal(text), icon=":material/check:")
