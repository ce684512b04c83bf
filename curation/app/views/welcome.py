"""The page of an empty home: how to make the first dataset."""

import streamlit as st

from embeddings import dataset as datasets


def page() -> None:
    """Say how to make a dataset; the page looks again by itself."""
    st.title("Curation Atlas")
    st.markdown("There is no dataset yet. Make one in a terminal; this page then shows it.")
    st.code("curate demo --no-serve                                   # 1,797 scanned digits")
    st.code("curate build FOLDER -d NAME --encoder builtin            # your own photographs")
    st.caption(f"Datasets are looked for in {datasets.home()} (CURATE_HOME).")
    _look_again()


@st.fragment(run_every=2)
def _look_again() -> None:
    if datasets.names():
        st.rerun()
