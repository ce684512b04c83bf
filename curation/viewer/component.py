"""The map and the contact sheet as Streamlit components (version 2); see docs/protocol.md.

The only module of the viewer that knows Streamlit, and only inside the functions that mount.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embeddings.errors import CurationError

STATIC = Path(__file__).parent / "static"
# Every file after the files that it uses: the modules are joined into one scope.
MAP_FILES = (
    "data.js",
    "transport.js",
    "camera.js",
    "targets.js",
    "points.js",
    "names.js",
    "lasso.js",
    "brush.js",
    "chrome.js",
    "keys.js",
    "minimap.js",
    "filter.js",
    "avatars.js",
    "held.js",
    "news.js",
    "legend.js",
    "card.js",
    "gestures.js",
    "stage.js",
    "travel.js",
    "remember.js",
    "script.js",
    "selector.js",
    "cells.js",
    "sprites.js",
    "orbit.js",
    "layouts.js",
    "map.js",
    "hosts.js",
    "map_host.js",
)
SHEET_FILES = ("sheet.js", "hosts.js", "sheet_host.js")
CLEAN_FILES = (
    "sheet.js",
    "clean_drafts.js",
    "clean_tiles.js",
    "clean_field.js",
    "clean_rail.js",
    "clean_keys.js",
    "clean_ask.js",
    "clean.js",
    "hosts.js",
    "clean_host.js",
)
TYPED_FILES = ("typed.js",)
LIVE_FILES = ("script.js", "avatars.js", "news.js", "live.js")
LEAST_HEIGHT = 260  # pixels under which the toolbar no longer fits

_IMPORT = re.compile(r"^import .* from '\./[\w.]+';\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)(?=async function|function|class|const)", re.MULTILINE)


def joined(files: Sequence[str]) -> str:
    """Return static modules as one: no imports left, one default export, the last file's."""
    source = "\n".join((STATIC / name).read_text(encoding="utf-8") for name in files)
    return _EXPORT.sub("", _IMPORT.sub("", source))


@cache
def map_module() -> str:
    """Return the map as one ES module; its default export is a Streamlit component."""
    return joined(MAP_FILES)


@cache
def sheet_module() -> str:
    """Return the contact sheet as one ES module; its default export is a Streamlit component."""
    return joined(SHEET_FILES)


@cache
def clean_module() -> str:
    """Return the Clean page's sheet as one ES module; its default export is a component."""
    return joined(CLEAN_FILES)


@cache
def typed_module() -> str:
    """Return what keeps typed labels as one ES module; it draws nothing."""
    return joined(TYPED_FILES)


@cache
def live_module() -> str:
    """Return what asks for other people's decisions as one ES module; it draws who is here."""
    return joined(LIVE_FILES)


@cache
def style(name: str) -> str:
    """Return the style sheet of ``"map"``, ``"sheet"`` or ``"clean"``."""
    files = ("sheet", "clean") if name == "clean" else (name,)  # its tiles are the contact sheet's
    return "\n".join((STATIC / f"{one}.css").read_text(encoding="utf-8") for one in files)


@cache
def _renderer(name: str) -> Callable[..., Any]:
    """Declare a component once; a second declaration of one name would remount every instance."""
    import streamlit as st

    modules = {
        "map": map_module,
        "sheet": sheet_module,
        "clean": clean_module,
        "typed": typed_module,
        "live": live_module,
    }
    module = modules[name]()
    css = style(name) if (STATIC / f"{name}.css").exists() else None
    renderer: Callable[..., Any] = st.components.v2.component(
        f"curation_atlas_{name}", js=module, css=css
    )
    return renderer


def atlas_map(
    key: str,
    *,
    base: str,
    version: str,
    fields: Sequence[Mapping[str, Any]] = (),
    color_by: str = "cluster",
    command: Mapping[str, Any] | None = None,
    session: str = "",
    journal: str = "",
    heard: int | None = None,
    height: int = 640,
    on_selection: Callable[[], None] | None = None,
) -> Mapping[str, Any] | None:
    """Mount the map and return the selection message of this run, or None.

    Parameters
    ----------
    key : str
        Names the instance; camera and selection are kept under it in the browser.
    base : str
        The address that everything is asked below: ``/api/v1/{dataset}``.
    version : str
        The atlas.
    fields : sequence of mapping
        What can be coloured and filtered by, each a `curation.fields.Field` as a dict, in the
        order to offer. A `seq` newer than the browser's makes it fetch what changed.
    color_by : str
        The name of a field; a change recolours, the curator may choose another.
    command : mapping, optional
        ``{"seq": int, "op": "clear" | "fit" | "invert" | "select", "bits": str}``; obeyed once
        for each rising `seq`. `bits` is `payload.encode_selection`; with a ``"version"`` it is
        ignored on another atlas.
    session : str
        Any text that differs for every server session: a page may outlive one (a restart, a lost
        connection). Where it changes, the map counts commands anew and tells its selection again.
    journal : str
        The dataset's id: columns of another journal are fetched whole.
    heard : int, optional
        The `seq` of the last selection message that was taken; the map tells a newer one again,
        once. Without it every message counts as heard.
    height : int
        Pixels.
    on_selection : callable, optional
        Called before the script runs again; the message is then in
        ``st.session_state[key].selection``, for `payload.decode_selection`.
    """
    result = _renderer("map")(
        key=key,
        data={
            "key": key,
            "version": version,
            "base": base,
            "fields": [dict(field) for field in fields],
            "color_by": color_by,
            "command": dict(command) if command else None,
            "session": session,
            "journal": journal,
            "told": heard,
            "height": max(LEAST_HEIGHT, height),
        },
        on_selection_change=on_selection or _nothing,
    )
    message: Mapping[str, Any] | None = result.selection
    return message


def contact_sheet(
    key: str,
    *,
    item_ids: Sequence[str],
    thumb_url: str,
    labels: Sequence[str | None] | None = None,
    flags: Sequence[str | None] | None = None,
    clusters: Sequence[int] | None = None,
    dropped: Sequence[int] = (),
    told: int = 0,
    total: int | None = None,
    height: int = 520,
    on_strays: Callable[[], None] | None = None,
) -> Mapping[str, Any] | None:
    """Mount the contact sheet and return the strays message of this run, or None.

    Parameters
    ----------
    key : str
        Names the instance.
    item_ids : sequence of str
        What to show, in this order; ``{id}`` in `thumb_url` stands for one of them.
    labels, flags, clusters : sequences, optional
        One for each item, for its badges and its accessible name.
    dropped : sequence of int
        Positions that are dropped, as the strays messages up to `told` left them.
    told : int
        The `seq` of the last strays message that was taken, 0 before the first; what was dropped
        after it stays on the sheet, which tells it again once.
    total : int, optional
        How many are selected where `item_ids` are only some of them: that is said, and the kept
        and the dropped cannot be swapped.
    height : int
        Pixels.
    on_strays : callable, optional
        Called before the script runs again; the message is then in
        ``st.session_state[key].strays``, for `decode_strays`.
    """
    result = _renderer("sheet")(
        key=key,
        data={
            "key": key,
            "version": sheet_version(item_ids),
            "ids": [str(item_id) for item_id in item_ids],
            "thumb_url": thumb_url,
            "labels": list(labels) if labels is not None else None,
            "flags": list(flags) if flags is not None else None,
            "total": len(item_ids) if total is None else total,
            "clusters": [int(number) for number in clusters] if clusters is not None else None,
            "dropped": [int(position) for position in dropped],
            "told": told,
            "height": height,
        },
        on_strays_change=on_strays or _nothing,
    )
    message: Mapping[str, Any] | None = result.strays
    return message


def cleaning_sheet(
    key: str,
    *,
    base: str,
    session: str,
    shown: Mapping[str, Any],
    height: int = 760,
    on_act: Callable[[], None] | None = None,
) -> Mapping[str, Any] | None:
    """Mount the sheet of the Clean page and return the message of this run, or None.

    Parameters
    ----------
    key : str
        Names the instance; what is typed and tapped is kept under it in the browser.
    base : str
        The address that thumbnails are asked below: ``/api/v1/{dataset}``.
    session : str
        A text that differs for every server session, as for `atlas_map`: acts are counted anew.
    shown : mapping
        The sheets and everything beside them (docs/clean.md).
    height : int
        Pixels.
    on_act : callable, optional
        Called before the script runs again; the message ``{"acts": [...]}`` is then in
        ``st.session_state[key].act``. It brings every act that was not `heard` yet.
    """
    data = {"key": key, "base": base, "session": session, "height": height, **shown}
    result = _renderer("clean")(key=key, data=data, on_act_change=on_act or _nothing)
    message: Mapping[str, Any] | None = result.act
    return message


def keep_typed(key: str, fields: Sequence[str]) -> None:
    """Mount what commits a label that was typed into a select box and not confirmed.

    `fields` are the keys of the select boxes, each a CSS name.
    """
    _renderer("typed")(key=key, data={"fields": list(fields)})


def follow_journal(
    key: str,
    url: str,
    *,
    known: Mapping[str, Any],
    here: Mapping[str, str],
    on_news: Callable[[], None] | None = None,
) -> None:
    """Mount what looks once a second for what others decided or built, and draws who they are.

    `url` is the route ``here`` of the dataset, which is told `here` (session, page, place); `known`
    is what this run of the script knows of its answer (`answers.news`). Where that differs, the
    script runs again, `on_news` before it; what is half typed stays as it is.
    """
    data = {"url": url, "known": dict(known), "here": dict(here)}
    _renderer("live")(key=key, data=data, on_news_change=on_news or _nothing)


def sheet_version(item_ids: Sequence[str]) -> str:
    """Return what a strays message quotes: a hash of the items in their order."""
    return hashlib.blake2b("\n".join(item_ids).encode(), digest_size=12).hexdigest()


def message_number(message: object) -> int:
    """Return the `seq` of a message of a sheet; 0 where it has none."""
    seq = message.get("seq") if isinstance(message, Mapping) else None
    return seq if isinstance(seq, int) else 0


def decode_strays(message: object, item_ids: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which of `item_ids` were dropped, (n,) bool.

    Raises
    ------
    CurationError
        When the message speaks of another sheet, or of positions that it does not have.
    """
    if not isinstance(message, Mapping) or message.get("version") != sheet_version(item_ids):
        raise CurationError("the strays belong to another contact sheet; drop them again")
    positions = message.get("dropped")
    if not isinstance(positions, list) or not all(
        _is_position(p, len(item_ids)) for p in positions
    ):
        raise CurationError(
            f"strays must be positions from 0 to {len(item_ids) - 1}; drop them again"
        )
    mask = np.zeros(len(item_ids), np.bool_)
    mask[np.asarray(positions, dtype=np.int64)] = True
    return mask


def _is_position(value: object, count: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count


def _nothing() -> None:
    """Streamlit returns a trigger's value only where it has a callback."""
