"""The peer's page: `st.plotly_chart` with a lasso, and an empty WebGL page in the same host.

Served by Streamlit, as ours is. ``?n=100000`` is the chart, ``?map=100000`` our map in its place,
``?points=100000`` the empty page;
``BENCH_ATLASES`` names the folder of the atlases (benchmarks/map_browser.py writes them).
"""

import os
from pathlib import Path

import numpy as np
import streamlit as st

from benchmarks.scenery import synthetic_atlas
from curation.viewer import component
from curation.viewer.payload import decode_selection
from embeddings.schema import Atlas

HEIGHT = 720
ROOT = Path(os.environ.get("BENCH_ATLASES", "."))


@st.cache_resource
def places(n: int) -> dict[str, np.ndarray]:
    """Return x, y (float32) and cluster (int16): the types that make the smallest message."""
    with np.load(ROOT / f"{n}.npz") as found:
        return {name: found[name] for name in found.files}


def chart(n: int) -> None:
    """Draw the map to the left, how many are selected to the right."""
    import plotly.graph_objects as go

    found = places(n)
    trace = go.Scattergl(
        x=found["x"],
        y=found["y"],
        mode="markers",
        marker={
            "size": 3,
            "color": found["cluster"] % 10,
            "colorscale": "Turbo",
            "cmin": 0,
            "cmax": 9,
        },
        hoverinfo="skip",
    )
    figure = go.Figure(trace)
    figure.update_layout(
        height=HEIGHT,
        dragmode="lasso",
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        uirevision="same",
    )
    left, right = st.columns([8, 5], gap="small")
    with left:
        event = st.plotly_chart(figure, on_select="rerun", selection_mode=("lasso",), key="chart")
    chosen = event["selection"]["point_indices"]
    with right:
        st.markdown(f"##### {len(chosen):,} selected" if chosen else "##### Nothing selected")
        st.button("Label")
        st.button("Again", key="again")


@st.cache_resource
def held(n: int) -> Atlas:
    """Return the atlas whose points are served."""
    return synthetic_atlas(n)


def ours(n: int) -> None:
    """Draw our map where the chart would be, and nothing else of our page."""
    atlas = held(n)

    def take() -> None:
        rows = decode_selection(st.session_state["map"].selection, atlas).rows
        st.session_state["chosen"] = len(rows)

    left, right = st.columns([8, 5], gap="small")
    with left:
        component.atlas_map(
            "map",
            base=f"/bench/{n}",
            version=atlas.version,
            fields=[{"name": "cluster", "title": "cluster", "coding": "category", "seq": 0}],
            height=HEIGHT,
            on_selection=take,
        )
    count = st.session_state.get("chosen", 0)
    with right:
        st.markdown(f"##### {count:,} selected" if count else "##### Nothing selected")
        st.button("Label")
        st.button("Again", key="again")


EMPTY = """
export default ({ parentElement, data, setTriggerValue }) => {
  if (parentElement.querySelector('canvas')) return;
  const canvas = document.createElement('canvas');
  canvas.style.cssText = `width: 100%; height: ${data.height}px`;
  parentElement.append(canvas);
  window.bench.empty(canvas, data.url);
  const bits = 'x'.repeat(data.bytes);
  canvas.addEventListener('pointerup', () => setTriggerValue('selection', { bits }));
};
"""
MESSAGE = 1300  # bytes: what a lasso of ours over 10 % of 100,000 items sends


def empty(url: str) -> None:
    """Draw the points at `url` with the least there can be: the floor of a map in this host.

    A click sends as much as a lasso does, and only the page's headline answers.
    """

    def take() -> None:
        st.session_state["clicks"] = st.session_state.get("clicks", 0) + 1

    left, right = st.columns([8, 5], gap="small")
    with left:
        mount = st.components.v2.component("bench_empty", js=EMPTY)
        data = {"url": url, "height": HEIGHT, "bytes": MESSAGE}
        mount(key="empty", data=data, on_selection_change=take)
    clicks = st.session_state.get("clicks", 0)
    with right:
        st.markdown(f"##### {clicks:,} selected" if clicks else "##### Nothing selected")


def main() -> None:
    """Draw the page that the address asks for."""
    st.set_page_config(layout="wide")
    query = st.query_params
    if "points" in query:
        empty(f"/bench/points/{int(query['points'])}")
    elif "map" in query:
        ours(int(query["map"]))
    elif "n" in query:
        chart(int(query["n"]))


if __name__ == "__main__":
    main()
