"""What stands around every page: style, chooser, words to the curator."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from curation.app import state
from curation.app.components import together
from curation.viewer.component import follow_journal
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
    names = _run_names(runs)
    st.selectbox(
        "Atlas",
        list(names),
        index=list(names).index(shown),
        format_func=lambda version: names[version],
        key=f"atlas-{shown}",
        on_change=lambda: state.open_atlas(state.value(f"atlas-{shown}")),
    )
    (run,) = [run for run in runs if run["version"] == shown]
    st.caption(literal(" · ".join(_facts(run))))


def _facts(run: dict[str, Any]) -> list[str]:
    """Return what tells one atlas from another: encoder, layout, clusterer, and when."""
    params = run["params"]
    when = str(run["made_at"])[:16].replace("T", " ")
    return [str(params["encoder"]), str(params["layout"]), str(params["cluster"]), when]


def _run_names(runs: list[dict[str, Any]]) -> dict[str, str]:
    """Name atlases by what differs among them: the field is narrow."""
    facts = {str(run["version"]): _facts(run) for run in runs}
    telling = [at for at in range(4) if len({fact[at] for fact in facts.values()}) > 1]
    distinct = [telling[:upto] for upto in range(1, len(telling) + 1)]
    for places in distinct:
        names = {version: " · ".join(fact[at] for at in places) for version, fact in facts.items()}
        if len(set(names.values())) == len(names):
            return names
    return {version: f"{fact[3]} · {version[:6]}" for version, fact in facts.items()}


def words() -> None:
    """Say what the last act did, or why it did not."""
    said = state.said()
    if said is None:
        return
    kind, text = said
    if kind == "success":
        st.toast(literal(text), icon=":material/check:")
        return
    told = st.container(key="told")
    told.error(literal(text), icon=":material/error:")
    if kind == "gone":
        told.button("Reload", icon=":material/refresh:", key="reload", on_click=state.reload)


def live(workspace: Workspace, known: Mapping[str, Any], page: str) -> None:
    """Draw who else is here, and the page again when others decide more than is `known`.

    Says when an atlas is newer.
    """
    url, here = f"/api/v1/{workspace.name}/here", together.sign(workspace, page)
    follow_journal("live", url, known=known, here=here, on_news=state.others_decided)
    if state.newer(workspace):
        st.toast("There is a newer atlas: choose it on the left.", icon=":material/auto_awesome:")
