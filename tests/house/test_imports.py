"""What is imported when, and by whom."""

import importlib.metadata
import json
import re
import sys
from pathlib import Path

import pytest

HEAVY = {
    "torch", "torchvision", "open_clip", "umap", "numba", "hdbscan", "sklearn", "streamlit",
    "lancedb", "cv2", "onnxruntime", "plotly", "aiohttp", "anywidget", "ipywidgets",
}  # fmt: skip
MAY_KNOW_STREAMLIT = ("curation.app", "curation.server", "curation.viewer.component")
NOT_IN_A_PAGE = {"numpy", "lancedb", "pyarrow", "os", "io", "sqlite3", "shutil"}

HELP = """
import sys
from importlib.metadata import entry_points
(script,) = entry_points(group="console_scripts", name="curate")
sys.argv = ["curate", "--help"]
try:
    script.load()()
except SystemExit as end:
    assert not end.code, end.code
"""


@pytest.mark.parametrize("start", ["import embeddings", "import curation", HELP])
def test_starting_loads_nothing_heavy(run, start):
    ask = "\nimport json, sys; print(); print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(run([sys.executable, "-c", start + ask]).splitlines()[-1])
    assert "json" in loaded
    assert not HEAVY & {name.partition(".")[0] for name in loaded}


def test_both_packages_come_from_one_place_and_no_other_distribution_claims_their_names():
    import curation
    import embeddings

    assert Path(curation.__file__).parents[1] == Path(embeddings.__file__).parents[1]
    # An editable install lists no packages, so "nobody else" is what can be asked here; the
    # installed wheel is asked who owns them in test_wheel.py.
    owners = importlib.metadata.packages_distributions()
    claims = {*owners.get("embeddings", ()), *owners.get("curation", ())}
    assert claims <= {"curation-atlas"}


@pytest.fixture(scope="module")
def graph():
    import grimp

    return grimp.build_graph(
        "embeddings", "curation", include_external_packages=True, cache_dir=None
    )


def test_every_library_that_is_imported_is_a_declared_dependency(graph):
    used = {m for m in graph.modules if graph.is_module_squashed(m)} - sys.stdlib_module_names
    owners = importlib.metadata.packages_distributions()
    needs = importlib.metadata.requires("curation-atlas")
    declared = {_plain(need) for need in needs if not re.search(r"extra == .test", need)}
    undeclared = {m for m in used if not declared & {_plain(name) for name in owners.get(m, ())}}
    assert {"numpy", "pyarrow"} <= used
    assert not undeclared, "add what is imported to [project] dependencies, with its reason"


def _plain(requirement):
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def test_streamlit_is_known_to_the_app_the_server_and_the_component_only(graph):
    users = graph.find_modules_that_directly_import("streamlit")
    assert users, "no module imports streamlit: this test looks at the wrong graph"
    assert not [m for m in sorted(users) if not m.startswith(MAY_KNOW_STREAMLIT)]


def test_a_page_draws_and_leaves_the_data_to_the_workspace(graph):
    pages = [m for m in graph.modules if m.startswith("curation.app.views.")]
    assert pages
    reach = {page: graph.find_modules_directly_imported_by(page) & NOT_IN_A_PAGE for page in pages}
    assert not {page: found for page, found in reach.items() if found}


def test_one_module_touches_the_session_state(root):
    app = root / "curation" / "app"
    users = {f.name for f in app.rglob("*.py") if "session_state" in f.read_text()}
    assert users == {"state.py"}
