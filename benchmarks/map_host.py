"""Serves `map_app` and the bytes of the points: ``streamlit run benchmarks/map_host.py``."""

import os
import sys
from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # map_app.py imports its neighbours


def points(request: Request) -> FileResponse:
    """Return the packed points of one size, as our own server sends them."""
    file = Path(os.environ["BENCH_ATLASES"]) / f"{int(request.path_params['n'])}.points"
    kept = (
        "private, max-age=31536000, immutable" if "version" in request.path_params else "no-store"
    )
    headers = {"Content-Encoding": "identity", "Cache-Control": kept}
    return FileResponse(file, media_type="application/octet-stream", headers=headers)


app = st.App(
    str(Path(__file__).with_name("map_app.py")),
    routes=[Route("/bench/points/{n}", points), Route("/bench/{n}/points/{version}", points)],
)
