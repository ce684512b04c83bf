"""Pages drawn without a browser, through Streamlit's own AppTest, and how the tests read them."""

import json
from typing import Any

from streamlit.testing.v1 import AppTest

from curation.schema import Selection

SECONDS = 60  # the first page imports what all of them use


def draw(name: str) -> None:
    """One page as main.py draws it; AppTest runs this function's source as a script."""
    from importlib import import_module

    from curation.app import state
    from curation.app.components import frame

    workspace = state.workspace()
    assert workspace is not None
    frame.words()
    frame.guarded(import_module(f"curation.app.views.{name}").page, workspace)


def page(name: str, selection: Selection | None = None, **held: object) -> AppTest:
    """Draw one page with `selection` selected, and what its widgets hold."""
    test = AppTest.from_function(draw, default_timeout=SECONDS, args=(name,))
    for key, value in {"selection": selection, **held}.items():
        test.session_state[key] = value
    return drawn(test)


def drawn(test: AppTest) -> AppTest:
    """Run the script; whatever it shows, it is no traceback."""
    test.run()
    assert not test.exception, [error.value for error in test.exception]
    return test


def press(test: AppTest, label: str) -> AppTest:
    """Press the one button whose label begins so."""
    (button,) = [button for button in test.button if button.label.startswith(label)]
    assert not button.disabled
    button.click()
    return drawn(test)


def words(test: AppTest) -> list[str]:
    return [part.value for part in (*test.markdown, *test.caption)]


def told(test: AppTest) -> list[str]:
    return [toast.value for toast in test.toast]


def component(test: AppTest, name: str) -> dict[str, Any]:
    """What a page hands to one of our components, once."""
    (found,) = [
        part.proto
        for part in test.get("bidi_component")
        if part.proto.component_name == f"curation_atlas_{name}"
    ]
    value = json.loads(found.json)
    assert isinstance(value, dict)
    return value
