"""What one browser tab remembers, without a browser."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from curation.app import state
from curation.app.components import acts
from curation.schema import Selection
from curation.viewer.component import sheet_version
from curation.viewer.payload import encode_selection
from curation.workspace import Workspace
from embeddings.schema import Atlas


@pytest.fixture
def workspace(digits: str) -> Workspace:
    """Digits with some labels on cluster 2, so that there are names to choose."""
    opened = Workspace(digits)
    some = opened.select("cluster:2")
    opened.label(Selection(some.item_ids[:5], some.atlas_version), "zero")
    opened.label(Selection(some.item_ids[5:8], some.atlas_version), "one")
    return opened


# ---- a callback is done to its end


def interrupted() -> None:
    """A page whose dataset is slow: the script is asked to run again in the middle of an act."""
    import numpy as np
    import streamlit as st
    from streamlit.runtime.scriptrunner import get_script_run_ctx
    from streamlit.runtime.scriptrunner_utils.script_requests import RerunData

    from curation.app import state
    from curation.app.components import acts
    from curation.viewer import payload
    from curation.workspace import shared

    class Slow:
        def __getattr__(self, name: str) -> object:
            context = get_script_run_ctx()
            if context is not None and st.session_state.get("busy") and name in ("atlas", "label"):
                context.script_requests.request_rerun(RerunData())
            return getattr(shared("digits"), name)

    @state.undivided()
    def lasso() -> None:
        atlas = shared("digits").atlas()
        bits = payload.encode_selection(np.arange(10), atlas)
        message = {"version": atlas.version, "n": len(atlas), "count": 10, "bits": bits, "seq": 7}
        state.take_message(Slow(), message)

    st.session_state["busy"] = True
    st.session_state.setdefault("label-category", "zero")
    st.button("lasso", on_click=lasso)
    st.button("label", on_click=lambda: acts._label(Slow()))
    held, said = state.selection(), state.said()
    if said is not None:
        st.session_state["toast"] = said[1]
    st.text(f"{0 if held is None else len(held)} {state.heard()} {st.session_state.get('toast')}")


def test_what_happens_in_the_page_meanwhile_ends_no_act_in_its_middle(digits: str) -> None:
    page = AppTest.from_function(interrupted, default_timeout=60).run()
    page.button[0].click().run()
    assert page.text[0].value == "10 7 None", "the selection was taken, and is told as heard"
    page.button[1].click().run()
    assert page.text[0].value == "0 7 category: zero · 10 items", "done, said and cleared"
    assert Workspace(digits).journal.head == 1 and not page.exception


# ---- what a tab remembers


@pytest.fixture
def tab(workspace: Workspace) -> Iterator[Workspace]:
    """A tab without a browser: Streamlit then keeps one state for the process."""
    st.session_state.clear()
    yield workspace
    st.session_state.clear()


def message(atlas: Atlas, rows: list[int], **other: object) -> dict[str, Any]:
    """A selection as the map sends it."""
    bits = encode_selection(np.array(rows, np.int64), atlas)
    return {"version": atlas.version, "n": len(atlas), "bits": bits, "count": len(rows), **other}


def test_a_selection_of_the_map_is_taken_with_the_version_it_was_drawn_on(tab: Workspace) -> None:
    atlas = tab.atlas()
    state.take_message(tab, message(atlas, [4, 7, 1200]))
    held = state.selection()
    assert held is not None and held.atlas_version == atlas.version
    assert held.item_ids.tolist() == atlas.item_ids[[4, 7, 1200]].tolist()
    state.take_message(tab, None)
    assert state.selection() is held, "no message is no change"
    state.take_message(tab, message(atlas, []))
    assert state.selection() is None and state.said() is None


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({"version": "0123456789abcdef"}, "is gone; reload the page and select again"),
        ({"version": None}, "is gone; reload the page and select again"),
        ({"n": 12}, "over 12 items, expected 1797; reload the page"),
        ({"count": 3}, "says 3 items and holds 2; select again"),
        ({"bits": "!"}, "bits are not base64; select again"),
        ({"bits": None}, "bits are missing or too long; select again"),
    ],
    ids=str,
)
def test_a_stale_or_false_selection_is_refused_and_the_old_one_stays(
    tab: Workspace, lie: dict[str, object], reason: str
) -> None:
    atlas = tab.atlas()
    state.take_message(tab, message(atlas, [1, 2, 3]))
    held = state.selection()
    state.take_message(tab, message(atlas, [8, 9], **lie))
    assert state.selection() is held
    said = state.said()
    kind = "gone" if "version" in lie else "error"
    assert said is not None and said[0] == kind and reason in said[1]
    assert state.said() is None, "it is said once"


def test_a_selection_of_an_older_atlas_is_decoded_with_its_own(tab: Workspace, made_anew) -> None:
    old = tab.atlas()
    newer = made_anew(tab)
    assert state.atlas(tab).version == newer.version
    state.take_message(tab, message(old, [4, 7, 1200]))
    held = state.selection()
    assert held is not None and held.atlas_version == old.version
    assert held.item_ids.tolist() == old.item_ids[[4, 7, 1200]].tolist()


def test_a_newer_atlas_does_not_take_the_place_of_the_one_that_is_shown(
    tab: Workspace, made_anew
) -> None:
    old = state.atlas(tab)
    assert not state.newer(tab)
    newer = made_anew(tab)
    assert state.atlas(tab).version == old.version
    assert state.newer(tab) and not state.newer(tab), "it is said once"
    state.open_atlas(newer.version)
    assert state.atlas(tab).version == newer.version
    made_anew(tab)
    state.reload()
    assert state.atlas(tab).version == tab.newest_version() != newer.version
    assert "atlas" not in st.query_params or st.query_params["atlas"] == tab.newest_version()


def test_trouble_that_was_told_stays_when_others_decide(tab: Workspace) -> None:
    state.say("it went wrong", "error")
    assert state.said() is not None
    state.others_decided()
    assert state.said() == ("error", "it went wrong")
    assert state.said() is None
    state.others_decided()
    state.say("done")
    assert state.said() == ("success", "done")
    state.others_decided()
    assert state.said() is None, "a toast is not told twice"


def test_strays_are_dropped_from_what_is_shown_and_can_be_taken_back(tab: Workspace) -> None:
    ids = tab.select("cluster:0").item_ids.tolist()
    state.select(tab.select("cluster:0"))
    shown, others = ids[:10], ids[10:20]
    state.take_strays({"version": sheet_version(shown), "dropped": [0, 3]}, shown)
    state.take_strays({"version": sheet_version(others), "dropped": [1]}, others)
    assert state.dropped() == {ids[0], ids[3], ids[11]}, "the first sheet's strays stay dropped"
    state.take_strays({"version": sheet_version(shown), "dropped": [3]}, shown)
    assert state.dropped() == {ids[3], ids[11]}
    rest = state.kept()
    assert rest is not None and rest.item_ids.tolist() == sorted({*ids} - {ids[3], ids[11]})
    state.take_strays({"version": "old", "dropped": [0], "seq": 7}, shown)
    assert state.strays_heard() == 7, "a refused message is heard too: the sheet must not repeat it"
    assert state.dropped() == {ids[3], ids[11]}
    assert state.said() == ("error", "the strays belong to another contact sheet; drop them again")
    state.select(tab.select("cluster:1"))
    assert state.dropped() == frozenset(), "strays belong to one selection"


def test_strays_stay_dropped_while_a_selection_grows_or_shrinks(tab: Workspace) -> None:
    atlas = tab.atlas()
    state.take_message(tab, message(atlas, [1, 2, 3, 4]))
    ids = atlas.item_ids[[1, 2, 3, 4]].tolist()
    state.take_strays({"version": sheet_version(ids), "dropped": [0, 2]}, ids)
    state.take_message(tab, message(atlas, [1, 2, 3, 4, 50]))
    assert state.dropped() == {ids[0], ids[2]}
    state.take_message(tab, message(atlas, [1, 2]))
    assert state.dropped() == {ids[0]}
    state.take_message(tab, message(atlas, [1, 60, 61]))
    assert state.dropped() == frozenset(), "another selection: nothing of it is dropped yet"


def test_when_every_item_is_a_stray_nothing_is_left_to_act_on(tab: Workspace) -> None:
    chosen = tab.select("cluster:0")
    state.select(chosen)
    ids = chosen.item_ids.tolist()
    state.take_strays({"version": sheet_version(ids), "dropped": list(range(len(ids)))}, ids)
    assert state.selection() is chosen and state.kept() is None


def test_every_command_to_the_map_has_a_number_of_its_own(tab: Workspace) -> None:
    assert state.command() is None
    state.send("fit")
    acts.select_cluster(tab, 1)
    command = state.command()
    assert command is not None and (command["seq"], command["op"]) == (2, "select")
    held = state.selection()
    assert held is not None
    assert held.item_ids.tolist() == tab.select("cluster:1").item_ids.tolist()
    state.select(None)
    state.take_message(tab, {**command, "n": 1797})
    taken = state.selection()
    assert taken is not None and taken.item_ids.tolist() == held.item_ids.tolist()


def test_what_the_curator_can_act_on_is_said_and_everything_else_is_raised(tab: Workspace) -> None:
    state.act(lambda: str(tab.label(tab.select("cluster:0"), "<b>")))
    said = state.said()
    assert said is not None and said[0] == "error" and "may not contain '<'" in said[1]
    state.act(lambda: "done")
    assert state.said() == ("success", "done")
    state.act(lambda: None)
    assert state.said() is None
    with pytest.raises(ZeroDivisionError):
        state.act(lambda: str(1 // 0))


def test_another_dataset_takes_nothing_of_the_old_one_along(tab: Workspace) -> None:
    state.select(tab.select("cluster:0"))
    state.send("fit")
    state.say("something")
    state.open_dataset("other")
    assert (state.selection(), state.kept(), state.command(), state.said()) == (None,) * 4
    assert st.query_params["dataset"] == "other"
