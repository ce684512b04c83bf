"""Every field of an item that the map can be coloured and filtered by, and one item in words."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from curation import aligned, coding
from curation.aligned import QUALITY, Kept
from curation.coding import Int64
from curation.records import FIELD
from curation.schema import FIELDS, FLAGS
from curation.workspace import Workspace
from embeddings.errors import CurationError
from embeddings.metadata import FOLDER
from embeddings.schema import NOISE, Atlas, Float32, Int32
from embeddings.store import Store

DECIDED = (*FIELDS, "flags")
JOINED = ("fields", "records")  # tables that are joined to the items of an atlas that is there
LINES = 8  # metadata fields that a hover card shows
CATALOGS_KEPT = 16  # one for each of the four tables of a dataset
DAY = 86400  # seconds
COLUMNS_KEPT = 8  # machine columns in RAM: 4 MB each at 1,000,000 items

_LAYOUT = ("membership", "outlier_score")
_IMAGE = ("width", "height", "format", "source", "batch", "taken_at", "first_seen")
_ITEM = ("class_name", "confidence")
_SHOWN = {"images": _IMAGE, "items": _ITEM}  # of the other tables every column
_TITLES = {"class_name": "detected class", "taken_at": "taken"}


@dataclass(frozen=True)
class Field:
    """One field that items can be coloured, filtered and laid out by.

    `coding` is ``"category"`` (a `CodeColumn` of names), ``"bits"`` (of flags) or ``"value"`` (a
    `ValueColumn`). `group` is ``"decided"``, ``"layout"``, ``"image"`` or ``"metadata"``. `seq` is
    the journal's head for what people decided, the version of its table for what a machine knows,
    and 0 for what the atlas itself holds.
    """

    name: str
    title: str
    coding: str
    group: str
    seq: int = 0


@dataclass(frozen=True)
class CodeColumn:
    """A field as codes, by row number of an atlas.

    `coding` says how `codes` (n,) int32 are read: ``"category"`` (an index into `legend`, -1 =
    none) or ``"bits"`` (bit b set = legend entry b holds). `seq` is the journal's head they show.
    `met` (len(legend),) says when each name was first met, where its colour depends on that: a
    name then keeps it when others come. Without it the code decides the colour.
    """

    field: str
    codes: Int32
    legend: Sequence[str]
    seq: int
    coding: str = "category"
    met: Int64 | None = None

    def __post_init__(self) -> None:
        if self.coding not in ("category", "bits"):
            raise ValueError(f"coding must be 'category' or 'bits', got {self.coding!r}")
        limit = len(self.legend) if self.coding == "category" else 1 << len(self.legend)
        low = NOISE if self.coding == "category" else 0
        if len(self.codes) and not low <= self.codes.min() <= self.codes.max() < limit:
            raise ValueError(f"codes of {self.field} must be in [{low}, {limit})")
        if self.met is not None and len(self.met) != len(self.legend):
            raise ValueError(f"met of {self.field} must have shape ({len(self.legend)},)")

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True)
class ValueColumn:
    """A field as numbers, by row number of an atlas: `values` (n,) float32, NaN = none.

    With the unit ``"time"`` values are seconds since `zero`, a midnight in seconds since 1970 UTC:
    so the midnights of 68 years are exact. `exact` (n,) float64 are all times since 1970, NaN =
    none: what decides on which side of a midnight an item stands.
    """

    field: str
    values: Float32
    seq: int
    unit: str = ""
    zero: float = 0.0
    exact: coding.Float64 | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 1 or self.values.dtype != np.float32:
            kind = f"{self.values.dtype} {self.values.shape}"
            raise ValueError(f"values of {self.field} must be float32 (n,), got {kind}")
        if self.unit not in ("", "time"):
            raise ValueError(f"unit must be '' or 'time', got {self.unit!r}")

    def __len__(self) -> int:
        return len(self.values)


def fields(workspace: Workspace, version: str | None = None) -> list[Field]:
    """Return the fields of the items of an atlas, in the order to offer them.

    Fields that hold nothing are left out, and texts that differ nearly everywhere.
    """
    atlas = workspace.atlas(version)
    head = workspace.labels.refresh()
    decided = [
        Field(name, name, "bits" if name == "flags" else "category", "decided", head)
        for name in DECIDED
    ]
    cluster = Field("cluster", "cluster", "category", "layout")
    return [cluster, *decided, *_layout(atlas), *_known(workspace)]


def stamp(workspace: Workspace) -> str:
    """Return a text that changes when metadata or records are joined again.

    Not with the tables that grow while a build runs: what is new there is on no atlas yet.
    """
    return "-".join(str(workspace.store.version(name)) for name in JOINED)


def column(workspace: Workspace, name: str, version: str | None = None) -> CodeColumn | ValueColumn:
    """Return one field of the items of an atlas, in its row order.

    Raises
    ------
    CurationError
        When there is no such field; the message lists those there are.
    """
    atlas = workspace.atlas(version)
    if name in DECIDED:
        return _decided(workspace, atlas, name)
    table = _source(name)[0]
    near = _catalog(workspace, table).fields if table else _layout(atlas)
    if name != "cluster" and name not in [field.name for field in near]:
        there = [field.name for field in (*_layout(atlas), *_known(workspace))]
        names = ", ".join(["cluster", *DECIDED, *there])
        raise CurationError(f"no field {name[:80]!r}; there are: {names[:400]}")
    key = (*aligned.state_of(workspace, table), atlas.version, name)
    # before the reading: a newer table may be told as an older one, and is asked for again
    seq = workspace.store.version(table) if table else 0
    return _columns.get(key, lambda: _machine(workspace, atlas, Field(name, "", "", "", seq)))


def title(name: str) -> str:
    """Return a field's name as people read it."""
    if name.startswith(FIELD):
        return coding.short(name.removeprefix(FIELD))
    return _TITLES.get(name, name.replace("_", " "))


# ---- what is there ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Catalog:
    """The fields that one table holds, and the names of its columns, to colour by or not."""

    fields: list[Field]
    columns: list[str]


_catalogs, _columns = Kept(CATALOGS_KEPT), Kept(COLUMNS_KEPT)


def _layout(atlas: Atlas) -> list[Field]:
    """Return the fields that the atlas itself holds, but `cluster`."""
    there = [name for name in _LAYOUT if np.isfinite(getattr(atlas, name)).any()]
    return [Field(name, title(name), "value", "layout") for name in there]


def _known(workspace: Workspace) -> list[Field]:
    """Return the fields that the tables hold, in the order to offer them."""
    metadata = _catalog(workspace, "fields").fields
    folder = [replace(field, group="image") for field in metadata if field.title == FOLDER]
    return [
        *_catalog(workspace, "images").fields,
        *folder,
        *_catalog(workspace, "items").fields,
        *_catalog(workspace, "records").fields,
        *(field for field in metadata if field.title != FOLDER),
    ]


def _catalog(workspace: Workspace, table: str) -> _Catalog:
    """Return what one table holds: looked through once for each state of it, and of no other."""
    key = aligned.state_of(workspace, table)
    return _catalogs.get(key, lambda: _looked_through(workspace.store, table))


def _looked_through(store: Store, table: str) -> _Catalog:
    seq = store.version(table)  # before the reading, as in `column`
    rows = aligned.read(store, table, _SHOWN.get(table))
    names = [name for name in rows.column_names if name != aligned.KEY[table]]
    group, prefix = ("metadata", FIELD) if table == "fields" else ("image", "")
    return _Catalog(_shown_of(rows, names, group, prefix, seq), names)


def _shown_of(
    rows: pa.Table, names: Sequence[str], group: str, prefix: str, seq: int
) -> list[Field]:
    found = []
    for name in names:
        kind = coding.kind_of(rows[name])
        if kind is not None:
            shown = prefix + name
            code = "category" if kind == "codes" else "value"
            found.append(Field(shown, title(shown), code, group, seq))
    return found


def _source(name: str) -> tuple[str, str]:
    """Return the table and the column of a machine field; no table for what the atlas holds."""
    if name.startswith(FIELD):
        return "fields", name.removeprefix(FIELD)
    if name == QUALITY:
        return "records", name
    return ("images" if name in _IMAGE else "items" if name in _ITEM else ""), name


# ---- columns ------------------------------------------------------------------------------------


def _decided(workspace: Workspace, atlas: Atlas, name: str) -> CodeColumn:
    item_nos = workspace.item_nos(atlas.version)
    workspace.labels.refresh()
    with workspace.labels.still() as head:
        if name == "flags":
            bits = workspace.labels.flags(item_nos).astype(np.int32)
            return CodeColumn(name, bits, FLAGS, head, "bits")
        codes, legend = workspace.labels.codes(name)
        return CodeColumn(name, codes[item_nos], legend, head)


def _machine(workspace: Workspace, atlas: Atlas, field: Field) -> CodeColumn | ValueColumn:
    name, seq = field.name, field.seq
    if name == "cluster":
        numbers = atlas.clusters[atlas.clusters != NOISE]
        codes = np.where(atlas.cluster == NOISE, NOISE, np.searchsorted(numbers, atlas.cluster))
        return CodeColumn(name, _frozen(codes.astype(np.int32)), [str(no) for no in numbers], 0)
    table, source = _source(name)
    if not table:
        return ValueColumn(name, _frozen(getattr(atlas, name).astype(np.float32)), 0)
    whole, at = aligned.joined(workspace, atlas, table, source)
    kind = coding.kind_of(whole)
    if kind == "codes":
        found, legend = coding.codes(whole)
        codes = _frozen(np.append(found, np.int32(NOISE))[at])
        met = coding.first_met(codes, len(legend), workspace.item_nos(atlas.version))
        return CodeColumn(name, codes, legend, seq, met=met)
    if kind is None:
        raise CurationError(f"the field {name[:80]!r} was replaced just now; reload the page")
    if kind == "numbers":
        return ValueColumn(name, _small(coding.numbers(whole), at), seq)
    values = coding.seconds(whole)
    zero = float(np.floor(np.nanmin(values) / DAY)) * DAY
    exact = _frozen(np.append(values, np.nan)[at])
    return ValueColumn(name, _small(values - zero, at), seq, "time", zero, exact)


def _small(values: coding.Float64, at: Int32) -> Float32:
    """Return the values of the rows `at` (n,) as float32; NaN for -1 and what is too large."""
    with np.errstate(over="ignore"):
        found = np.append(values, np.nan)[at].astype(np.float32)
    found[~np.isfinite(found)] = np.nan
    small: Float32 = _frozen(found)
    return small


def _frozen(array: Any) -> Any:
    array.flags.writeable = False
    return array


# ---- one item in words --------------------------------------------------------------------------


def details(workspace: Workspace, version: str | None, row: int) -> dict[str, Any]:
    """Return what a card beside the pointer says of the item at a row number of an atlas.

    ``{"item_id", "title", "lines": [{"name", "value"}]}``; what is not known has no line.

    Raises
    ------
    CurationError
        When there is no such atlas or row.
    """
    atlas = workspace.atlas(version)
    if not 0 <= row < len(atlas):
        raise CurationError(f"no item {row}, expected 0 to {len(atlas) - 1}; reload the page")
    image = aligned.one(workspace, atlas, row, "images", ("width", "height", "taken_at"))
    item = aligned.one(workspace, atlas, row, "items", _ITEM)
    path = str(aligned.one(workspace, atlas, row, "locations", ("path",)).get("path") or "")
    item_id = str(atlas.item_ids[row])
    lines = [
        *_stands(workspace, atlas, row),
        ("detected class", item.get("class_name")),
        ("confidence", _number(item.get("confidence"))),
        ("size", f"{image['width']} x {image['height']}" if image else None),
        ("taken", _shown(image.get("taken_at")).replace("T", " ")),
        ("outlier score", _number(float(atlas.outlier_score[row]))),
        ("membership", _number(float(atlas.membership[row]))),
        *_metadata(workspace, atlas, row),
        ("path", path),
    ]
    said = [{"name": name, "value": value} for name, value in lines if value]
    return {"item_id": item_id, "title": os.path.basename(path) or item_id, "lines": said}


def _stands(workspace: Workspace, atlas: Atlas, row: int) -> list[tuple[str, str | None]]:
    cluster = int(atlas.cluster[row])
    item = workspace.item_nos(atlas.version)[row : row + 1]
    workspace.labels.refresh()
    with workspace.labels.still():
        bits = int(workspace.labels.flags(item)[0])
        labels = [workspace.labels.category(item)[0], workspace.labels.instance(item)[0]]
    return [
        ("cluster", "noise" if cluster == NOISE else str(cluster)),
        ("category", labels[0]),
        ("instance", labels[1]),
        ("flags", ", ".join(flag for bit, flag in enumerate(FLAGS) if bits >> bit & 1)),
    ]


def _metadata(workspace: Workspace, atlas: Atlas, row: int) -> list[tuple[str, str]]:
    names = _catalog(workspace, "fields").columns
    found = aligned.one(workspace, atlas, row, "fields", names) if names else {}
    shown = [(coding.short(name), _shown(value)) for name, value in found.items()]
    return [(name, value) for name, value in shown if value][:LINES]


def _number(value: float | None) -> str | None:
    return None if value is None or not np.isfinite(value) else f"{value:.2f}"


def _shown(value: Any) -> str:
    """Return a value of a table as one short line; nothing for what says nothing."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        value = value.isoformat(" ", "seconds")
    elif isinstance(value, bool):
        value = "true" if value else "false"
    return coding.short(str(value))
