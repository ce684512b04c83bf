"""The app, for `streamlit run app.py`; `curate serve` runs the same from the package."""

import streamlit as st

from curation.server import MAIN, lifespan, middleware, routes

app = st.App(MAIN, routes=routes(), middleware=middleware(), lifespan=lifespan)
