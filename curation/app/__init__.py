"""The Streamlit pages: a page draws, the workspace acts."""
