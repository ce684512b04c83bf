"""Which stages are done for which image: worked out from the tables, and kept nowhere."""

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from embeddings.cortex.record import STAGES

if TYPE_CHECKING:
    from embeddings.store import Store

EMBEDDED = "embedded:"  # and the name of the space
# as `cortex.dumps` writes it: found by columns, a million texts need not be parsed
_TEXT = r'"(?:[^"\\]|\\.)*"'
_HEAD = rf'^\{{"_id": {_TEXT}, "url": {_TEXT}, "datetime": {_TEXT}'


def stages(store: "Store") -> pa.Table:
    """Return one row an image, by image id: `image_id` and a boolean column for each stage.

    decoded, fingerprinted (its hash and histogram are known), thumbnail, ``embedded:<space>`` for
    each space (of the image and of every crop of it), and, as imported records say,
    object_analysis; pose_estimation and face_analysis where a record has them.
    """
    images = store.read("images", ["image_id", "sha256"]).sort_by("image_id")
    image_ids = images["image_id"].combine_chunks()
    items = store.read("items", ["item_id", "image_id"])
    columns = {
        "image_id": image_ids,
        "decoded": pc.is_valid(image_ids),
        "fingerprinted": pc.is_valid(images["sha256"]),
        "thumbnail": _among(image_ids, items["image_id"]),
    }
    for space in store.spaces():
        columns[EMBEDDED + space] = _embedded(store, space, image_ids, items)
    return pa.table({**columns, **_recorded(store, image_ids)})


def summary(store: "Store") -> dict[str, tuple[int, int]]:
    """Return how many images each stage is done for, and of how many.

    `decoded` is of all that was met: files that cannot be read count there, and nowhere else.
    """
    flags = stages(store)
    total = flags.num_rows
    done = {
        name: (int(pc.sum(flags[name]).as_py() or 0), total)
        for name in flags.column_names
        if name != "image_id"
    }
    unreadable = sum(location.status == "unreadable" for location in store.locations())
    return {**done, "decoded": (total, total + unreadable)}


def _among(values: pa.Array, known: pa.ChunkedArray) -> pa.Array:
    return pc.is_in(values, value_set=known.combine_chunks())


def _embedded(store: "Store", space: str, image_ids: pa.Array, items: pa.Table) -> pa.Array:
    vectors = store.read(f"vectors_{space}", ["item_id"])["item_id"]
    without = items.filter(pc.invert(_among(items["item_id"], vectors)))
    complete = pc.invert(_among(image_ids, without["image_id"]))
    return pc.and_(complete, _among(image_ids, items["image_id"]))


def _recorded(store: "Store", image_ids: pa.Array) -> dict[str, pa.Array]:
    records = store.read("records", ["image_id", "record"])
    found: dict[str, pa.Array] = {}
    between = ""
    for stage in STAGES:
        has = rf'{_HEAD}{between}, "{stage}_processed": "true"'
        between += rf', "{stage}_processed": {_TEXT}'
        done = records.filter(pc.match_substring_regex(records["record"], has))
        flags = _among(image_ids, done["image_id"])
        if stage == STAGES[0] or pc.any(flags).as_py():
            found[stage] = flags
    return found
