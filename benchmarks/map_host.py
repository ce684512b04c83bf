"""Serves `map_app` and the bytes of the points: ``streamlit run benchmarks/map_host.py``."""

import os
from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route


def points(request: Request) -> FileResponse:
    """Return the packed points of one size, as our own server sends them."""
    file = Path(os.environ["BENCH_ATLASES"]) / f"{int(request.path_params['n'])}.points"
    headers = {"Content-Encoding": "identity", "Cache-Control": "no-store"}
    return FileResponse(file, media_type="application/octet-stream", headers=headers)


app = st.App(
    str(Path(__file__).with_name("map_app.py")), routes=[Route("/bench/points/{n}", points)]
)
