"""The columns of each LanceDB table, and the nouns to and from them."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embeddings.images import printable
from embeddings.schema import Atlas, Float32, Image, Item, Location, Neighbours

_STRING = pa.string()

SCHEMAS: dict[str, pa.Schema] = {
    "images": pa.schema(
        {
            "image_id": _STRING,
            "sha256": _STRING,
            "width": pa.int32(),
            "height": pa.int32(),
            "bytes": pa.int64(),
            "format": _STRING,
            "first_seen": _STRING,
            "taken_at": _STRING,
            "source": _STRING,
            "url": _STRING,
            "batch": _STRING,
            "note": _STRING,
            "histogram": pa.list_(pa.int32(), 768),
        }
    ),
    "locations": pa.schema(
        {
            "path": _STRING,  # for people: what is not UTF-8 is escaped
            "path_bytes": pa.binary(),  # the name itself
            "size": pa.int64(),
            "mtime_ns": pa.int64(),
            "status": _STRING,
            "first_seen": _STRING,
            "image_id": _STRING,
            "error": _STRING,
            "source": _STRING,
            "url": _STRING,
        }
    ),
    "items": pa.schema(
        {
            "item_id": _STRING,
            "image_id": _STRING,
            "x1": pa.float32(),
            "y1": pa.float32(),
            "x2": pa.float32(),
            "y2": pa.float32(),
            "class_name": _STRING,
            "confidence": pa.float32(),
            "track_id": _STRING,
            "thumbnail": pa.large_binary(),
        }
    ),
    "records": pa.schema(
        {
            "image_id": _STRING,
            "path": _STRING,  # of the location it came with, for people
            "record_id": _STRING,
            "record": _STRING,  # JSON text
            "made_at": _STRING,
        }
    ),
    "atlases": pa.schema(
        {
            "version": _STRING,
            "item_id": _STRING,
            "x": pa.float32(),
            "y": pa.float32(),
            "z": pa.float32(),
            "cluster": pa.int32(),
            "membership": pa.float32(),
            "outlier_score": pa.float32(),
        }
    ),
    "atlas_runs": pa.schema(
        {"version": _STRING, "space": _STRING, "params": _STRING, "made_at": _STRING}
    ),
    "fields": pa.schema({"item_id": _STRING}),
    "findings": pa.schema(
        {
            "finding_id": _STRING,
            "check": _STRING,
            "item_ids": pa.list_(_STRING),
            "score": pa.float32(),
            "detail": _STRING,
            "made_at": _STRING,
        }
    ),
    "labels": pa.schema(
        {
            "item_id": _STRING,
            "category": _STRING,
            "instance": _STRING,
            "flags": pa.list_(_STRING),
            "labelled_by": _STRING,
            "labelled_at": _STRING,
        }
    ),
}


def images(rows: Iterable[Image]) -> pa.Table:
    """Return images as rows."""
    records = [
        {**row.__dict__, "histogram": row.histogram.reshape(-1).astype(np.int32)} for row in rows
    ]
    return pa.Table.from_pylist(records, schema=SCHEMAS["images"])


def locations(rows: Iterable[Location]) -> pa.Table:
    """Return locations as rows."""
    records = [
        {**row.__dict__, "path": printable(row.path), "path_bytes": os.fsencode(row.path)}
        for row in rows
    ]
    for record in records:
        for name in ("source", "error"):
            if record[name] is not None:
                record[name] = printable(record[name])
    return pa.Table.from_pylist(records, schema=SCHEMAS["locations"])


def to_locations(rows: pa.Table) -> list[Location]:
    """Return the rows of the locations table as nouns, in row order."""
    found = []
    for row in rows.to_pylist():
        row["path"] = os.fsdecode(row.pop("path_bytes"))
        found.append(Location(**row))
    return found


def items(rows: Iterable[Item], thumbnails: Iterable[bytes]) -> pa.Table:
    """Return items and their thumbnails as rows."""
    records = []
    for row, thumbnail in zip(rows, thumbnails, strict=True):
        x1, y1, x2, y2 = row.xyxy or (None, None, None, None)
        records.append(
            {**row.__dict__, "x1": x1, "y1": y1, "x2": x2, "y2": y2, "thumbnail": thumbnail}
        )
    return pa.Table.from_pylist(records, schema=SCHEMAS["items"])


def records(rows: Iterable[Mapping[str, str]]) -> pa.Table:
    """Return imported records as rows: image_id, path, record_id, record, made_at."""
    kept = [{**row, "path": printable(row["path"])} for row in rows]
    return pa.Table.from_pylist(kept, schema=SCHEMAS["records"])


def vectors(item_ids: Sequence[str], rows: Float32, metadata: dict[str, str]) -> pa.Table:
    """Return vectors (n, d) as float16 rows."""
    dim = rows.shape[1]
    schema = pa.schema(
        {"item_id": _STRING, "vector": pa.list_(pa.float16(), dim)}, metadata=metadata
    )
    flat = pa.array(rows.astype(np.float16).reshape(-1))
    columns = [pa.array(item_ids, _STRING), pa.FixedSizeListArray.from_arrays(flat, dim)]
    return pa.Table.from_arrays(columns, schema=schema)


def matrix(column: pa.ChunkedArray, width: int) -> npt.NDArray[Any]:
    """Return a fixed-size-list column as an array (n, width)."""
    flat = column.combine_chunks().flatten() if column.num_chunks else pa.array([])
    return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(-1, width)


def neighbours(graph: Neighbours, metadata: dict[str, str]) -> pa.Table:
    """Return a k-NN graph as rows."""
    k = graph.k
    schema = pa.schema(
        {
            "item_id": _STRING,
            "rows": pa.list_(pa.int32(), k),
            "similarity": pa.list_(pa.float32(), k),
        },
        metadata=metadata,
    )
    columns = [
        pa.array(graph.item_ids.tolist(), _STRING),
        pa.FixedSizeListArray.from_arrays(pa.array(graph.rows.reshape(-1)), k),
        pa.FixedSizeListArray.from_arrays(pa.array(graph.similarity.reshape(-1)), k),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def to_neighbours(rows: pa.Table) -> Neighbours:
    """Return the rows of a neighbours table as a graph."""
    k = rows.schema.field("rows").type.list_size
    return Neighbours(
        np.array(rows["item_id"].to_pylist(), dtype=np.str_),
        matrix(rows["rows"], k).astype(np.int32),
        matrix(rows["similarity"], k).astype(np.float32),
    )


def atlas(value: Atlas) -> pa.Table:
    """Return an atlas as rows."""
    n = len(value)
    third = value.xy[:, 2] if value.dims == 3 else None
    columns = [
        pa.array([value.version] * n, _STRING),
        pa.array(value.item_ids.tolist(), _STRING),
        pa.array(value.xy[:, 0]),
        pa.array(value.xy[:, 1]),
        pa.nulls(n, pa.float32()) if third is None else pa.array(third),
        pa.array(value.cluster),
        pa.array(value.membership.astype(np.float32)),
        pa.array(value.outlier_score.astype(np.float32)),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMAS["atlases"])


def atlas_run(value: Atlas, made_at: str) -> pa.Table:
    """Return what made an atlas as one row."""
    row = {
        "version": value.version,
        "space": value.space,
        "params": json.dumps(value.params, sort_keys=True),
        "made_at": made_at,
    }
    return pa.Table.from_pylist([row], schema=SCHEMAS["atlas_runs"])


def to_atlas(rows: pa.Table, run: dict[str, Any]) -> Atlas:
    """Return the rows of one version as an atlas, sorted by item id."""
    item_ids = np.array(rows["item_id"].to_pylist(), dtype=np.str_)
    order = np.arange(len(item_ids))
    if not (item_ids[:-1] < item_ids[1:]).all():  # nearly always they are: to sort takes a second
        # a run that was killed between its rows and its record wrote the rows twice: keep one
        item_ids, order = np.unique(item_ids, return_index=True)
    axes = ["x", "y"] if rows["z"].null_count == rows.num_rows else ["x", "y", "z"]
    xy = np.stack([rows[axis].to_numpy() for axis in axes], axis=1).astype(np.float32)
    return Atlas(
        item_ids,
        xy[order],
        rows["cluster"].to_numpy()[order].astype(np.int32),
        rows["membership"].to_numpy()[order].astype(np.float32),
        rows["outlier_score"].to_numpy()[order].astype(np.float32),
        run["version"],
        run["space"],
        run["params"],
    )


def findings(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Return findings as rows."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMAS["findings"])
