"""What one browser tab remembers: the only module that touches `st.session_state`.

A tab's state dies with the tab. What must last (labels) is in the journal at once; what should
survive a reload (dataset, atlas) is in the address.
"""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np
import streamlit as st
from streamlit.runtime.scriptrunner import RerunException, get_script_run_ctx

from curation.schema import Selection
from curation.viewer.component import decode_strays, message_number
from curation.viewer.payload import decode_selection, encode_selection
from curation.workspace import Workspace, shared
from embeddings import dataset as datasets
from embeddings.errors import CurationError
from embeddings.schema import Atlas, Ids, Int32, rows_of

T = TypeVar("T")
_wishes: ContextVar[list[RerunException] | None] = ContextVar("wishes", default=None)


@contextmanager
def undivided() -> Iterator[None]:
    """Do a callback to its end, also where the script is asked to run again meanwhile.

    Streamlit ends a callback at its next look at the tab's state once something else happens in
    the page (somebody's decision, the next stroke), and what it was called for is gone: half of
    an act would be done. Here the wish waits until all is done.
    """
    waiting: list[RerunException] = []
    token = _wishes.set(waiting)
    try:
        yield
    finally:
        _wishes.reset(token)
    context = get_script_run_ctx()
    for wish in waiting[:-1]:
        if context is not None and context.script_requests is not None:
            context.script_requests.request_rerun(wish.rerun_data)  # the last joins them
    if waiting:
        raise waiting[-1]


def _patiently(step: Callable[[], T]) -> T:
    """Do one step with the tab's state, again where the wish to run the script ended it."""
    while True:
        try:
            return step()
        except RerunException as wish:
            waiting = _wishes.get()
            if waiting is None:
                raise
            waiting.append(wish)


class _Session:
    """The tab's state; every look at it is a place where Streamlit may end a callback."""

    def get(self, name: str, default: Any = None) -> Any:
        return _patiently(lambda: st.session_state.get(name, default))

    def pop(self, name: str) -> Any:
        """Return and forget a value, None where there is none."""
        found = self.get(name)
        _patiently(lambda: st.session_state.pop(name, None))
        return found

    def __setitem__(self, name: str, new: Any) -> None:
        _patiently(lambda: st.session_state.__setitem__(name, new))


class _Address:
    """What stands in the address after the question mark; another such place."""

    def get(self, name: str) -> str | None:
        return _patiently(lambda: st.query_params.get(name))

    def pop(self, name: str) -> None:
        _patiently(lambda: st.query_params.pop(name, None))

    def __setitem__(self, name: str, new: str) -> None:
        _patiently(lambda: st.query_params.__setitem__(name, new))


_session, _address = _Session(), _Address()


def workspace() -> Workspace | None:
    """Return the dataset this tab shows, or None when there is none at all."""
    known = datasets.names()
    if not known:
        return None
    wanted = _kept("dataset", os.environ.get("CURATE_DATASET"))
    return shared(wanted if wanted in known else datasets.newest())


def open_dataset(name: str) -> None:
    """Show another dataset: selection and atlas of the old one are let go."""
    with undivided():
        _patiently(st.query_params.clear)
        _patiently(st.session_state.clear)
        _address["dataset"] = name


def _kept(name: str, default: str | None = None) -> str | None:
    """Return a choice from the address; Streamlit clears that between pages, so also from here."""
    asked = _address.get(name)
    if asked is not None:
        _session[f"kept-{name}"] = asked
    found: str | None = _session.get(f"kept-{name}", default)
    if found is not None:
        _address[name] = found
    return found


def atlas(workspace: Workspace) -> Atlas:
    """Return the atlas this tab shows: the one in the address, or the newest when it was opened.

    A newer one never takes its place by itself: the curator may be in the middle of something.
    """
    wanted = _kept("atlas") or _session.get("shown-atlas")
    known = {run["version"] for run in workspace.runs()}
    found = workspace.atlas(wanted if wanted in known else None)
    _session["shown-atlas"] = found.version
    return found


def newer(workspace: Workspace) -> bool:
    """Whether an atlas was made since this tab last asked, and another one is shown; said once."""
    runs = workspace.runs()
    newest = str(runs[0]["version"]) if runs else None
    before = _session.get("newest-atlas", newest)
    _session["newest-atlas"] = newest
    return before not in (None, newest) and atlas(workspace).version != newest


@undivided()
def reload() -> None:
    """Show the newest atlas with nothing selected, as if the page had been opened anew."""
    for name in ("atlas", "kept-atlas", "shown-atlas"):
        _session.pop(name)
    _address.pop("atlas")
    select(None)
    send("clear")


# ---- selection


def selection() -> Selection | None:
    """Return what is selected, strays included; None when nothing is."""
    found: Selection | None = _session.get("selection")
    return found


def take_message(workspace: Workspace, message: Mapping[str, Any] | None) -> None:
    """Take a selection message of the map; one that is refused is said, never guessed.

    Its number is told back to the map, which tells again what was not heard.
    """
    if message is None:
        return
    _session["heard"] = message.get("seq") if isinstance(message, Mapping) else None
    version = message.get("version") if isinstance(message, Mapping) else None
    try:
        drawn = workspace.atlas(str(version))
    except CurationError as error:
        say(str(error), "gone")
        return
    try:
        rows = decode_selection(message, drawn).rows
    except CurationError as error:
        say(str(error), "error")
        return
    before, away = selection(), dropped()
    select(Selection.of(drawn, rows) if len(rows) else None)
    if not away or before is None or before.atlas_version != drawn.version:
        return
    if _is_part(drawn, workspace.rows_of(before), rows):
        _session["dropped"] = away & frozenset(drawn.item_ids[rows].tolist())


def _is_part(drawn: Atlas, one: Int32, other: Int32) -> bool:
    """Whether one holds the other: the selection was added to or taken from, not made anew."""
    mask = np.zeros(len(drawn), np.bool_)
    mask[one] = True
    both = int(np.count_nonzero(mask[other]))
    return both in (len(one), len(other))


def select(value: Selection | None) -> None:
    """Select these items; nothing of them is dropped yet."""
    _session["selection"] = value
    _session["dropped"] = frozenset()


def show(drawn: Atlas, rows: Int32) -> None:
    """Select these sorted rows of an atlas, on the map too."""
    select(Selection.of(drawn, rows) if len(rows) else None)
    send("select", bits=encode_selection(rows, drawn), version=drawn.version)


def follow(drawn: Atlas) -> None:
    """Carry the selection over to the atlas that is drawn: the map and the words agree."""
    held, away = selection(), dropped()
    if held is not None and held.atlas_version != drawn.version:
        rows = drawn.rows_of(held.item_ids)
        show(drawn, np.sort(rows[rows >= 0]))
        _session["dropped"] = away


def give_back(drawn: Atlas, rows: Int32) -> None:
    """Select what an undo freed, unless the curator holds a selection of their own."""
    if selection() is None or selection() is _session.get("given-back"):
        show(drawn, rows)
        _session["given-back"] = selection()


def dropped() -> frozenset[str]:
    """Return the ids that the curator threw out of the selection."""
    found: frozenset[str] = _session.get("dropped", frozenset())
    return found


def heard() -> int:
    """Return the number of the selection message that was taken last, 0 when none was."""
    found = _session.get("heard")
    return found if isinstance(found, int) else 0


def take_strays(message: Mapping[str, Any] | None, shown: Sequence[str]) -> None:
    """Take what was dropped on the contact sheet that shows the ids `shown`.

    Its number is told back to the sheet, which tells again what was not heard.
    """
    if message is None:
        return
    _session["strays_heard"] = message_number(message)
    try:
        mask = decode_strays(message, shown)
    except CurationError as error:
        say(str(error), "error")
        return
    away = {item_id for item_id, gone in zip(shown, mask, strict=True) if gone}
    _session["dropped"] = (dropped() - frozenset(shown)) | away


def strays_heard() -> int:
    """Return the number of the last message of the contact sheet; 0 before the first."""
    found: int = _session.get("strays_heard", 0)
    return found


def ordered(workspace: Workspace) -> Ids:
    """Return the selected ids from the medoid outwards; worked out once a selection."""
    held = selection()
    assert held is not None, "pages ask only when something is selected"
    kept_order = _session.get("ordered")
    if kept_order is None or kept_order[0] is not held:
        kept_order = (held, workspace.typical_first(held)[0])
        _session["ordered"] = kept_order
    found: Ids = kept_order[1]
    return found


def kept() -> Selection | None:
    """Return the selection without its strays; None when nothing is left."""
    held, away = selection(), dropped()
    if held is None or not away:
        return held
    gone = rows_of(held.item_ids, np.array(sorted(away), dtype=np.str_))
    mask = np.ones(len(held), np.bool_)
    mask[gone[gone >= 0]] = False
    return held.part(mask) if mask.any() else None


# ---- commands to the map, and words to the curator


def session(workspace: Workspace) -> str:
    """Return a text that is new for every server session and dataset.

    A page outlives a restart of the server; by this the map knows to count commands anew.
    """
    token = _session.get("session")
    if token is None:
        token = _session["session"] = uuid.uuid4().hex
    return f"{token}-{workspace.name}"


def command() -> dict[str, Any] | None:
    """Return the newest command to the map; it acts on each `seq` once."""
    found: dict[str, Any] | None = _session.get("command")
    return found


def send(op: str, **details: Any) -> None:
    """Tell the map to do something: clear, fit, select."""
    seq = (command() or {"seq": 0})["seq"] + 1
    _session["command"] = {"seq": seq, "op": op, **details}


def say(text: str, kind: str = "success") -> None:
    """Tell the curator something at the next drawing of the page."""
    _session["message"] = (kind, text)


def said() -> tuple[str, str] | None:
    """Return what is to be told, once."""
    found: tuple[str, str] | None = _session.pop("message")
    _session["told"] = found
    return found


@undivided()
def others_decided() -> None:
    """Before the page is drawn anew because of others: trouble that was told stays to be read."""
    told: tuple[str, str] | None = _session.get("told")
    if told is not None and told[0] != "success":
        say(told[1], told[0])


def act(work: Callable[[], str | None]) -> None:
    """Do something that can fail for a reason the curator can act on, and say how it went."""
    try:
        text = work()
    except CurationError as error:
        say(str(error), "error")
        return
    if text:
        say(text)


def value(key: str, default: Any = None) -> Any:
    """Return what a widget holds."""
    return _session.get(key, default)


def set_value(key: str, new: Any) -> None:
    """Give a widget another value before it is drawn."""
    _session[key] = new


def open_atlas(version: str) -> None:
    """Show another atlas of the same dataset; the selection follows."""
    _address["atlas"] = version


def turn_to(path: str) -> None:
    """Open another page at the end of this callback."""
    _session["turn-to"] = path


def turned_to() -> str | None:
    """Return the page to open, once."""
    found: str | None = _session.pop("turn-to")
    return found
