"""One set of server settings, whichever way the app is started."""

import os
import socket
import tomllib

import pytest

import curation.cli.serve

# What differs on purpose: where it listens and whether a browser opens are asked of `curate serve`.
ASKED = {"server.port", "server.headless", "server.showEmailPrompt"}


def _flat(table, prefix=""):
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


@pytest.fixture
def checkout(root):
    """Return what `.streamlit/config.toml` says, by option name."""
    return dict(_flat(tomllib.loads((root / ".streamlit" / "config.toml").read_text())))


@pytest.fixture
def served(monkeypatch):
    """Return the options as Streamlit understands the command that `curate serve` becomes."""
    from streamlit import config
    from streamlit.web import bootstrap, cli

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    became = []
    monkeypatch.setattr(os, "execv", lambda program, words: became.extend(words))
    curation.cli.serve.open_app(None, free, browser=False)
    flags = became[became.index("run") + 2 :]
    context = cli.main_run.make_context("run", [__file__, *flags])
    given = {k: v for k, v in context.params.items() if k not in ("target", "args")}
    monkeypatch.chdir("/")  # a .streamlit folder of the checkout would hide what a wheel lacks
    bootstrap.load_config_options(given)
    yield config.get_option
    config.get_config_options(force_reparse=True)


def test_serving_from_a_wheel_has_the_settings_of_the_checkout(checkout, served):
    assert len(checkout) > 10
    for name in checkout.keys() - ASKED:
        found = served(name)
        assert (list(found) if isinstance(found, tuple) else found) == checkout[name], name


def test_the_server_keeps_to_this_machine(checkout):
    assert checkout["server.address"] == "127.0.0.1"
    assert set(checkout["server.allowedHosts"]) == {"127.0.0.1", "localhost"}
    assert checkout["server.enableCORS"] is checkout["server.enableXsrfProtection"] is True
    assert checkout["server.enableStaticServing"] is False
    assert checkout["browser.gatherUsageStats"] is False


def test_every_setting_is_one_that_streamlit_knows(checkout):
    from streamlit import config

    assert not checkout.keys() - config.get_config_options().keys()
