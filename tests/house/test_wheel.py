"""The published files, and a life in a clean environment: what a stranger gets from pip."""

import http.client
import json
import os
import re
import socket
import subprocess
import tarfile
import time
import zipfile
from urllib.parse import urlsplit

import pytest
from map_site import launch
from playwright.sync_api import sync_playwright

PACKAGES = ("embeddings", "curation")


def _names_in(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_both_packages_and_nothing_else(dist, root):
    files = {f for package in PACKAGES for f in (root / package).rglob("*") if f.is_file()}
    ours = {str(f.relative_to(root)) for f in files if "__pycache__" not in f.parts}
    packed = {name for name in _names_in(dist.wheel) if ".dist-info/" not in name}
    assert packed == ours
    assert any(name.startswith("curation/viewer/static/") for name in packed)


@pytest.mark.slow
def test_the_licence_travels_with_the_wheel(dist):
    with zipfile.ZipFile(dist.wheel) as archive:
        (licence,) = [n for n in archive.namelist() if n.endswith(".dist-info/licenses/LICENSE")]
        (metadata,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        assert "Apache License" in archive.read(licence).decode()
        assert "License-Expression: Apache-2.0" in archive.read(metadata).decode()


@pytest.mark.slow
def test_the_sdist_holds_neither_datasets_nor_an_environment(dist):
    with tarfile.open(dist.sdist) as archive:
        tops = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert {*PACKAGES, "LICENSE", "README.md", "app.py", "constraints.txt"} <= tops
    assert not tops & {"data", ".venv", "tests", "shared"}


# The first of the tests below pays for the clean install, 2 GB of wheels: hence the time limit.


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_clean_install_imports_both_packages_from_site_packages(installed):
    code = (
        "import json, embeddings, curation, importlib.metadata as m\n"
        "owners = m.packages_distributions()\n"
        "files = [embeddings.__file__, curation.__file__]\n"
        "print(json.dumps([*files, owners['embeddings'], owners['curation']]))"
    )
    *files, ours, theirs = json.loads(installed.python(code))
    assert all("site-packages" in file for file in files)
    assert set(ours) == set(theirs) == {"curation-atlas"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_clean_install_needs_no_test_tools(installed):
    found = installed.python("import importlib.util as u; print(u.find_spec('pytest'))")
    assert found.strip() == "None"
    assert "build" in installed.curate("--help")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_clean_install_tells_what_a_bug_report_needs(installed):
    told = json.loads(installed.curate("info", "--json"))
    assert "site-packages" in told["embeddings"]
    assert "site-packages" in told["curation"]
    assert "builtin" in told["encoders"]


@pytest.fixture(scope="module")
def sample(installed):
    """Return what is listed once the clean install has built the sample dataset."""
    installed.curate("demo", "--no-serve", timeout=900)
    (dataset,) = json.loads(installed.curate("list", "--json"))["datasets"]
    return dataset


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_clean_install_builds_the_sample_dataset(sample):
    assert (sample["images"], sample["items"], sample["atlases"]) == (1797, 1797, 1)


@pytest.fixture
def port(installed, sample):
    """Serve the sample from the clean install and return the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    env = {**os.environ, "CURATE_HOME": str(installed.home / "datasets"), "PYTHONPATH": ""}
    command = [installed.bin / "curate", "serve", "-d", sample["name"], "--no-browser"]
    server = subprocess.Popen([*command, "--port", str(free)], cwd=installed.home, env=env)
    try:
        _wait(free, server)
        yield free
    finally:
        server.terminate()
        assert server.wait(30) is not None


def _wait(port, server, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert server.poll() is None, "the server ended before it answered"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.2)
    pytest.fail(f"no answer on port {port} after {seconds} s")


def _status(port, path, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_installed_app_answers_this_machine_and_no_rebound_name(port):
    socket_headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    here = f"127.0.0.1:{port}"
    assert _status(port, "/", {"Host": here}) == 200
    stream = "/_stcore/stream"
    assert _status(port, stream, {**socket_headers, "Host": here}) == 101
    assert _status(port, stream, {**socket_headers, "Host": f"evil.example:{port}"}) == 403
    foreign = {**socket_headers, "Host": here, "Origin": "http://evil.example"}
    assert _status(port, stream, foreign) == 403


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(1800)
def test_no_page_of_the_installed_app_loads_anything_from_another_host(port):
    asked = []
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda stream: asked.append(stream.url))
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector("[data-ready]", timeout=90_000)
        for name in ("Labels", "Export", "Map"):
            page.get_by_role("link", name=name, exact=True).first.click()
            path = "" if name == "Map" else name.lower()
            page.wait_for_url(re.compile(rf"/{path}(\?|$)"))
            page.wait_for_load_state("networkidle")
        browser.close()
    hosts = {urlsplit(url).netloc for url in asked if not url.startswith(("blob:", "data:"))}
    assert any(url.startswith("ws:") for url in asked)
    assert hosts == {f"127.0.0.1:{port}"}
