"""The app, for `curate serve`: what `app.py` is in a checkout."""

import streamlit as st

from curation.server import MAIN, lifespan, middleware, routes

app = st.App(MAIN, routes=routes(), middleware=middleware(), lifespan=lifespan)
