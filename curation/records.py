"""One row an item: everything that is known of it, machine's and people's, as columns."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curation.labels import LabelState
from curation.schema import FLAGS
from embeddings.errors import CurationError
from embeddings.images import printable
from embeddings.originals import Originals
from embeddings.schema import Atlas, Ids, Int32, rows_of
from embeddings.store import Store

FIELD = "field."  # prefix of metadata fields: a table's "label" is not a curator's label


def records(store: Store, labels: LabelState, atlas: Atlas, item_nos: Any) -> tuple[pa.Table, int]:
    """Return one row for each item of `atlas`, in its order, and the seq of the labels they show.

    Columns: item_id, image_id, sha256, path, width, height, format, taken_at, first_seen, source,
    url, batch, x1, y1, x2, y2, class_name, confidence, category, instance, flags, labelled_by,
    labelled_at, cluster, membership, outlier_score, x, y, and the metadata fields as
    ``field.<name>``. `item_nos` (n,) are the atlas's items in the journal.
    """
    items = _items(store, atlas.item_ids)
    with labels.still() as head:
        decided = _decisions(labels, item_nos)
    images = _images(store, items["image_id"].to_pylist())
    columns: dict[str, Any] = {
        "item_id": pa.array(atlas.item_ids.tolist(), pa.string()),
        **{name: items[name] for name in items.column_names if name != "item_id"},
        **images,
        **decided,
        "cluster": pa.array(atlas.cluster),
        "membership": pa.array(atlas.membership),
        "outlier_score": pa.array(atlas.outlier_score),
        "x": pa.array(atlas.xy[:, 0]),
        "y": pa.array(atlas.xy[:, 1]),
        **_fields(store, atlas.item_ids),
    }
    order = [name for name in _ORDER if name in columns]
    order += [name for name in columns if name not in _ORDER]
    return pa.table({name: columns[name] for name in order}), head


_ORDER = (
    "item_id image_id sha256 path width height format taken_at first_seen source url batch x1 y1 "
    "x2 y2 class_name confidence category instance flags labelled_by labelled_at cluster "
    "membership outlier_score x y"
).split()


def _aligned(rows: pa.Table, keys: list[str], wanted: Any) -> pa.Table:
    """Return `rows` (keyed by `keys`) in the order of `wanted`; absent ones are null."""
    order = np.argsort(np.array(keys, dtype=np.str_)) if keys else np.empty(0, np.int64)
    ranked = np.array(keys, dtype=np.str_)[order]
    at = rows_of(ranked, np.asarray(wanted, dtype=np.str_))
    chosen = pa.array([int(order[row]) if row >= 0 else None for row in at], pa.int64())
    return rows.take(chosen)


def _items(store: Store, item_ids: Ids) -> pa.Table:
    names = ["item_id", "image_id", "x1", "y1", "x2", "y2", "class_name", "confidence"]
    rows = store.read("items", names)
    return _aligned(rows, rows["item_id"].to_pylist(), item_ids)


def _images(store: Store, image_ids: list[str]) -> dict[str, Any]:
    names = "image_id sha256 width height format taken_at first_seen source url batch".split()
    rows = store.read("images", names)
    found = _aligned(rows, rows["image_id"].to_pylist(), image_ids)
    columns = {name: found[name] for name in names if name != "image_id"}
    places = store.places()
    paths = [places.get(image_id, [None])[0] for image_id in image_ids]
    columns["path"] = pa.array([path and printable(path) for path in paths], pa.string())
    return columns


def image_reader(store: Store, downloads: Path, columns: pa.Table) -> Callable[[int], bytes]:
    """Return what reads the image of a row of `records`: exactly its bytes, or CurationError."""
    originals = Originals(store, downloads)
    digests, paths = columns["sha256"].to_pylist(), columns["path"].to_pylist()

    def read_image(row: int) -> bytes:
        data = originals.read(digests[row])
        if data is None:
            raise CurationError(
                f"the image {digests[row][:12]} is not at {paths[row] or 'any known place'} any "
                "more, or has changed; put the file back, or exclude the item"
            )
        return data

    return read_image


def known_rows(item_ids: Ids, wanted: Ids) -> Int32:
    """Row numbers of `wanted` in `item_ids`; CurationError when one is not there."""
    rows = rows_of(item_ids, wanted)
    if (rows < 0).any():
        missing = str(np.asarray(wanted)[rows < 0][0])
        raise CurationError(f"no item {missing!r} on this atlas; reload the page")
    return rows


def _decisions(labels: LabelState, item_nos: Any) -> dict[str, Any]:
    bits = labels.flags(item_nos)
    names = [[flag for bit, flag in enumerate(FLAGS) if value >> bit & 1] for value in bits]
    return {
        "category": pa.array(labels.category(item_nos).tolist(), pa.string()),
        "instance": pa.array(labels.instance(item_nos).tolist(), pa.string()),
        "flags": pa.array(names, pa.list_(pa.string())),
        "labelled_by": pa.array(labels.made_by(item_nos, "category").tolist(), pa.string()),
        "labelled_at": pa.array(labels.decided_at(item_nos, "category").tolist(), pa.string()),
    }


def _fields(store: Store, item_ids: Ids) -> dict[str, Any]:
    rows = store.fields()
    if rows.num_columns <= 1:
        return {}
    found = _aligned(rows, rows["item_id"].to_pylist(), item_ids)
    return {FIELD + name: found[name] for name in found.column_names if name != "item_id"}
