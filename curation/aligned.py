"""Columns of a dataset's tables in the order of an atlas, read once for each state of a table."""

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.workspace import Workspace
from embeddings.schema import Atlas, Int32
from embeddings.store import Store

QUALITY = "label_quality"  # the column that `read` makes of the table of records
KEY = {"items": "item_id", "images": "image_id", "records": "image_id", "fields": "item_id"}
_IN_RECORD = "label_quality_estimation"  # the key in a Cortex record
_IN_TEXT = rf'"{_IN_RECORD}"\s*:\s*-?[0-9]'
_ROWS_KEPT = 12  # arrays of row numbers in RAM: 4 MB each at 1,000,000 items

T = TypeVar("T")


class Kept:
    """The answers asked for last, by key; only one is made at a time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._found: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock, self._making = Lock(), Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what was made for `key`, now or before."""
        found = self._at(key)
        if found is None:
            with self._making:  # two that ask for one thing must not both read the tables
                found = self._at(key)
                if found is None:
                    found = make()
                    self._put(key, found)
        answer: T = found
        return answer

    def _at(self, key: Hashable) -> Any:
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def _put(self, key: Hashable, made: Any) -> None:
        with self._lock:
            self._found[key] = made
            while len(self._found) > self.most:
                self._found.popitem(last=False)


_rows = Kept(_ROWS_KEPT)


def joined(
    workspace: Workspace, atlas: Atlas, table: str, name: str
) -> tuple[pa.ChunkedArray, Int32]:
    """Return one column of a table, and the row in it of each item (n,) int32, -1 = none."""

    def look() -> tuple[pa.ChunkedArray, Int32]:
        at = rows_in(workspace, atlas, table)
        return read(workspace.store, table, (name,))[name], at

    return still(workspace.store, table, look)


def still(store: Store, table: str, look: Callable[[], T]) -> T:
    """Return what `look` reads while nobody changes the table: a build may replace it meanwhile."""
    while True:
        before = store.version(table)
        found = look()
        if store.version(table) == before:
            return found


def state_of(workspace: Workspace, table: str) -> tuple[Hashable, ...]:
    """Return what changes with every change of one table: a key for what is read from it.

    No table is one that never changes: what an atlas holds. The folder tells a dataset from a copy
    of it, which has the same id and the same versions.
    """
    store = workspace.store
    version = store.version(table) if table else 0
    return workspace.dataset.dataset_id, str(store.folder), table, version


def rows_in(workspace: Workspace, atlas: Atlas, table: str) -> Int32:
    """Return the row of each item of an atlas in a table, (n,) int32; -1 where it has none."""
    store = workspace.store
    key = (*state_of(workspace, table), atlas.version)

    def look() -> Int32:
        wanted = pa.array(atlas.item_ids)
        if table in ("images", "records", "locations"):
            items = store.read("items", ["item_id", "image_id"])
            wanted = items["image_id"].take(pc.index_in(wanted, value_set=items["item_id"]))
        ids = _ids(store, table)
        found = pc.index_in(wanted, value_set=ids, skip_nulls=True).fill_null(-1)
        rows = np.array(found, dtype=np.int32)
        rows.flags.writeable = False
        return rows

    return _rows.get(key, lambda: still(store, table, look))


def read(store: Store, table: str, names: Sequence[str] | None = None) -> pa.Table:
    """Return columns of a table; of the records, the label quality of each image."""
    return _qualities(store) if table == "records" else store.read(table, names)


def one(
    workspace: Workspace, atlas: Atlas, row: int, table: str, names: Sequence[str]
) -> dict[str, Any]:
    """Return one item's row of a table, read alone; nothing where it has none.

    Dates and times come as text, to the second: Arrow holds years that Python does not.
    """

    def look() -> dict[str, Any]:
        at = int(rows_in(workspace, atlas, table)[row])
        if at < 0:
            return {}
        taken = workspace.store.take(table, [at], names)
        return {name: _said(taken[name]).to_pylist()[0] for name in taken.column_names}

    return still(workspace.store, table, look)


def _said(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return dates and times as text to the second; any other column as it is."""
    kind = column.type
    if pa.types.is_date(kind):
        return column.cast(pa.string())
    if not pa.types.is_timestamp(kind):
        return column
    return pc.replace_substring_regex(column.cast(pa.string()), r"\.[0-9]+", "")


def _ids(store: Store, table: str) -> pa.ChunkedArray:
    """Return whose each row of a table is; null for a location that counts no more."""
    if table != "locations":
        return read(store, table, (KEY[table],))[KEY[table]]
    rows = store.read(table, ["path_bytes", "image_id", "status"])
    paths = pc.dictionary_encode(rows["path_bytes"]).combine_chunks().indices.to_numpy()
    newest = np.zeros(paths.max(initial=-1) + 1, np.int64)
    newest[paths] = np.arange(len(paths))  # of a path met again the last row counts
    counts = np.zeros(len(paths), np.bool_)
    counts[newest] = True
    counts &= np.array(pc.equal(rows["status"], "ok").fill_null(False))
    return pc.if_else(pa.array(counts), rows["image_id"], pa.scalar(None, pa.string()))


def _qualities(store: Store) -> pa.Table:
    """Return the label quality of each image whose Cortex record tells it.

    Of several records that do, the first that came counts, with the newest text of its id.
    """
    rows = store.read("records", ["image_id", "record_id", "record"])
    rows = rows.filter(pc.match_substring_regex(rows["record"], _IN_TEXT))
    newest: dict[str, tuple[str, str]] = {}
    for row in rows.to_pylist():
        if newest.get(row["image_id"], (row["record_id"],))[0] == row["record_id"]:
            newest[row["image_id"]] = (row["record_id"], row["record"])
    values = [_quality(text) for _, text in newest.values()]
    columns = {"image_id": pa.array(newest, pa.string()), QUALITY: pa.array(values, pa.float64())}
    return pa.table(columns)


def _quality(text: str) -> float | None:
    """Return the label quality that a Cortex record tells, when that is a finite number."""
    record = json.loads(text, parse_int=float)  # whole numbers may be longer than any int64
    told = record.get(_IN_RECORD) if isinstance(record, dict) else None
    return told if isinstance(told, float) and math.isfinite(told) else None
