"""The app's frame: header, chooser of datasets, and the page that is open."""

from functools import partial

import streamlit as st

from curation.app import login, state
from curation.app.components import frame
from curation.app.views import clean, export, files, labels, map, review, welcome
from curation.viewer.answers import news
from embeddings.errors import CurationError

PAGES = (
    (map.page, "Map", "map", ":material/bubble_chart:"),
    (clean.page, "Clean", "clean", ":material/cleaning_services:"),
    (labels.page, "Labels", "labels", ":material/label:"),
    (review.page, "Review", "review", ":material/rate_review:"),
    (files.page, "Files", "files", ":material/folder_open:"),
    (export.page, "Export", "export", ":material/download:"),
)


def main() -> None:
    """Draw the page that is open; without a dataset, say how to make one."""
    st.set_page_config(
        page_title="Curation Atlas",
        page_icon=frame.ICON,
        layout="wide",
        initial_sidebar_state=frame.SIDEBAR,
    )
    frame.style()
    if not login.admitted():
        return
    try:
        workspace = state.workspace()
    except CurationError as error:
        page = st.Page(partial(frame.refused, str(error)), title="Refused")
        st.navigation([page], position="hidden").run()
        return
    if workspace is None:
        st.navigation([st.Page(welcome.page, title="Welcome")], position="hidden").run()
        return
    pages = {
        path: st.Page(
            partial(frame.guarded, draw, workspace), title=title, url_path=path, icon=icon
        )
        for draw, title, path, icon in PAGES
    }
    chosen = st.navigation(list(pages.values()), position="top")
    wanted = state.turned_to()
    if wanted is not None:
        st.switch_page(pages[wanted])
    frame.words()
    known = news(workspace)  # before anything is drawn: what is decided meanwhile is news
    chosen.run()  # what one came for reaches the browser first
    frame.sidebar(workspace)
    with st.sidebar:
        login.account()
    frame.live(workspace, known, chosen.title)


main()
