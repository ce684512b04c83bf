"""The map in a notebook: a Jupyter widget around the same module as the app's (docs/notebook.md).

No server: what the map would ask over HTTP comes as messages of the kernel (docs/protocol.md) and
is answered by `curation.viewer.answers`. Threads meet here. The kernel hands messages to its main
thread or to one of its own (ipykernel 7), answers are made by a few threads of the widget, and one
more looks for other people's decisions. All may send: ipykernel queues what any thread sends.
"""

import json
import sqlite3
import threading
import uuid
import weakref
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, TypeVar

import anywidget
import numpy as np
import traitlets

from curation.fields import fields, stamp
from curation.schema import Decision, Selection
from curation.viewer import answers
from curation.viewer.component import LEAST_HEIGHT, map_module, style
from curation.viewer.payload import decode_selection, encode_selection
from curation.workspace import Workspace
from embeddings.errors import CurationError

BEAT = 1.0  # seconds between two looks for other people's decisions
ANSWERERS = 4  # threads: as many questions are answered at once
# What a disk, the journal and lance raise where files are away, replaced or locked just now; lance
# has no class of its own.
_PASSING = (OSError, sqlite3.Error, RuntimeError, ValueError)
Decided = TypeVar("Decided", Decision, list[Decision])
_RESTORE = "selection"  # the one question that `answers` does not know: what is selected


class AtlasMap(anywidget.AnyWidget):
    """One atlas on the screen of a notebook, and what a curator does with it.

    Parameters
    ----------
    workspace : Workspace
        The dataset.
    version : str, optional
        Which atlas; default the newest.
    color_by : str
        ``"cluster"`` or another field of the items.
    height : int
        Pixels.

    Attributes
    ----------
    selected_count : int
        How many items are selected; can be observed.
    data : dict
        What the map is told (docs/protocol.md, "State, downwards").
    """

    _esm = map_module()
    _css = style("map")
    data = traitlets.Dict().tag(sync=True)
    selected_count = traitlets.Int(0, read_only=True)

    def __init__(
        self,
        workspace: Workspace,
        version: str | None = None,
        *,
        color_by: str = "cluster",
        height: int = 640,
    ) -> None:
        self._over = threading.Event()
        self._answerers = ThreadPoolExecutor(ANSWERERS, "map")
        self._questions: dict[int, Future[None]] = {}
        self._lock = threading.RLock()  # held while `data` changes
        self._workspace = workspace
        self._atlas = workspace.atlas(version)
        self._selection: Selection | None = None
        self._seen = self._state()
        offered = self._fields()
        _check_offered(color_by, offered)
        key = uuid.uuid4().hex
        data = {
            "key": key,
            "version": self.version,
            "base": "",
            "fields": offered,
            "color_by": color_by,
            "command": {"seq": 1, "op": "fit"},
            "session": key,
            "height": max(LEAST_HEIGHT, height),
        }
        super().__init__(data=data)
        self.on_msg(_heard)
        threading.Thread(
            target=_watch, args=(weakref.ref(self), self._over), name="map-watch", daemon=True
        ).start()

    def __repr__(self) -> str:
        count, selected = f"{len(self._atlas):,} items", f"{self.selected_count:,} selected"
        return f"<map of {self._workspace.name!r}: {count}, {selected}>"

    @property
    def version(self) -> str:
        """The atlas that is shown."""
        return self._atlas.version

    @property
    def color_by(self) -> str:
        """The field that was last asked for here; the curator may have chosen another since."""
        return str(self.data["color_by"])

    @color_by.setter
    def color_by(self, field: str) -> None:
        offered = self._fields()  # metadata may have been joined since
        _check_offered(field, offered)
        self._tell(color_by=field, fields=offered)
        self.send({"color_by": field})  # also where the curator went elsewhere meanwhile

    # ---- what is selected

    @property
    def selection(self) -> list[str]:
        """The ids of the items that are selected on the map; empty when none is."""
        held = self._selection
        return [] if held is None else [str(item_id) for item_id in held.item_ids]

    def select(self, what: str | Iterable[str]) -> None:
        """Select on the map what a selector such as ``"cluster:3"`` names, or these item ids.

        Raises
        ------
        CurationError
            When the selector cannot be read or names nothing, and for an id that is not here.
        """
        if isinstance(what, str):
            chosen = self._workspace.select(what, self.version).item_ids
        else:
            chosen = np.unique(np.array([str(item_id) for item_id in what], dtype=np.str_))
        rows = self._atlas.rows_of(chosen)
        if (rows < 0).any():
            raise CurationError(
                f"no item {str(chosen[rows < 0][0])[:80]!r} on this map; check the id"
            )
        self._hold(Selection.of(self._atlas, np.sort(rows).astype(np.int32)))
        with self._lock:
            seq = self.data["command"]["seq"] + 1
            self._tell(command={"seq": seq, "op": "select", **self._held_bits()})

    # ---- decisions, with the words and refusals of the workspace

    def label(
        self,
        value: str,
        *,
        field: str = "category",
        overwrite: bool = False,
        note: str | None = None,
    ) -> Decision:
        """Give what is selected one label, as one decision; see `Workspace.label`."""
        chosen = self._chosen()
        return self._decided(
            self._workspace.label(chosen, value, field=field, overwrite=overwrite, note=note)
        )

    def clear_label(self, *, field: str = "category", note: str | None = None) -> Decision:
        """Take the label from what is selected, as one decision."""
        return self._decided(self._workspace.clear(self._chosen(), field=field, note=note))

    def flag(self, flag: str, *, remove: bool = False, note: str | None = None) -> Decision:
        """Set a flag (excluded, outlier, duplicate, unclear) on what is selected, or take it."""
        chosen = self._chosen()
        return self._decided(self._workspace.flag(chosen, flag, remove=remove, note=note))

    def undo(self) -> list[Decision]:
        """Take back your newest step, wherever you made it; return a decision for each act of it.

        A step has several acts where it merged labels, say, or was made on the Clean page.
        """
        return self._decided(self._workspace.back("undo"))

    def redo(self) -> list[Decision]:
        """Bring back the step that you undid last; return as `undo` does."""
        return self._decided(self._workspace.back("redo"))

    # ---- life

    def follow(self) -> None:
        """Show what was decided and joined since the last look, by whomever."""
        state = self._state()
        with self._lock:
            if state != self._seen:
                self._tell(fields=self._fields())
                self._seen = state  # last: what could not be read is news at the next look

    def close(self) -> None:
        """Take the map off the page and end its threads."""
        with self._lock:
            self._over.set()
            self._answerers.shutdown(wait=False, cancel_futures=True)
        super().close()

    # ---- inside

    def _trouble(self) -> str:
        """Follow, and return in one line why that is not possible; empty where it is."""
        try:
            self.follow()
        except CurationError as error:
            return str(error)
        except _PASSING as error:
            line = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            return f"What others decide cannot be read just now; the map tries again. ({line})"
        return ""

    def _state(self) -> tuple[int, str]:
        """Return what changes with decisions, and with metadata that is joined."""
        return self._workspace.journal.head, stamp(self._workspace)

    def _fields(self) -> list[dict[str, Any]]:
        return [asdict(field) for field in fields(self._workspace, self.version)]

    def _tell(self, **changes: Any) -> None:
        with self._lock:
            self.data = {**self.data, **changes}

    def _chosen(self) -> Selection:
        if self._selection is None:
            raise CurationError(
                'nothing is selected on the map; draw around some items or .select("cluster:3")'
            )
        return self._selection

    def _decided(self, what: Decided) -> Decided:
        self._trouble()  # it stands in the journal whatever hinders the map: the watch says that
        return what

    def _hold(self, chosen: Selection) -> None:
        self._selection = chosen if len(chosen) else None
        self.set_trait("selected_count", len(chosen))

    def _held_bits(self) -> dict[str, str]:
        """Return what is selected as a command carries it."""
        held = self._selection
        rows = np.zeros(0, np.int32) if held is None else self._workspace.rows_of(held)
        return {"bits": encode_selection(rows, self._atlas), "version": self.version}

    def _take(self, message: Mapping[str, Any]) -> None:
        """Take a selection message of the map; one that is refused is said on the map."""
        try:
            rows = decode_selection(message, self._atlas).rows
        except CurationError as error:
            self.send({"trouble": str(error)})
            return
        self._hold(Selection.of(self._atlas, rows))

    def _ask(self, number: int, address: str, body: bytes) -> None:
        """Let a thread answer a question of the map."""
        with self._lock:
            if self._over.is_set():
                return
            asked = self._answerers.submit(self._answer, number, address, body)
            self._questions[number] = asked
        asked.add_done_callback(lambda done: self._answered(number, done))

    def _answered(self, number: int, done: "Future[None]") -> None:
        self._questions.pop(number, None)
        if not done.cancelled():
            done.result()  # a bug keeps its traceback: concurrent.futures logs what this raises

    def _answer(self, number: int, address: str, body: bytes) -> None:
        reply: dict[str, Any] = {"id": number, "status": 500}
        found = b""
        try:
            found = self._found(address, body)
            reply["status"] = 200
        except answers.Refused as error:
            reply.update(status=error.status, error=str(error))
        finally:  # whatever happens, the map does not wait for ever
            self.send(reply, [found])

    def _found(self, address: str, body: bytes) -> bytes:
        if address == _RESTORE:
            command = {"seq": self.data["command"]["seq"], "op": "select", **self._held_bits()}
            return json.dumps(command).encode()
        return answers.answer(self._workspace, *answers.parsed(address), body).body

    def _forget(self, number: int) -> None:
        """The map has moved on: do not begin with this answer."""
        asked = self._questions.get(number)
        if asked is not None:
            asked.cancel()


def _heard(shown: AtlasMap, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
    """Hear a message of the map; bodies come as memoryviews."""
    if shown._over.is_set():
        return  # a page may have spoken before it heard that the map is closed
    if "selection" in content:
        shown._take(content["selection"])
    elif "forget" in content:
        shown._forget(content["forget"])
    else:
        body = bytes(buffers[0]) if buffers else b""
        shown._ask(content["id"], content["path"], body)


def _check_offered(field: str, offered: Sequence[Mapping[str, Any]]) -> None:
    names = [str(one["name"]) for one in offered]
    if field not in names:
        raise CurationError(f"no field {str(field)[:80]!r}; there are: {', '.join(names)[:400]}")


def _watch(one: "weakref.ref[AtlasMap]", over: threading.Event) -> None:
    """Look for news until the map is closed or nobody holds it any more."""
    trouble = ""
    while not over.wait(BEAT):
        shown = one()
        if shown is None:
            return
        before, trouble = trouble, shown._trouble()
        if trouble != before:
            shown.send({"trouble": trouble})
        del shown  # or the map would live as long as this thread
