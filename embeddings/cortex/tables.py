"""Cortex records and a dataset's tables: imported ones are kept, and any image has one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embeddings.cortex.files import loads
from embeddings.cortex.record import STAGES, CortexRecord, to_cortex, to_time
from embeddings.errors import CurationError

if TYPE_CHECKING:
    from embeddings.store import Store

CHUNK = 1000  # images whose rows are in memory at once
NOTE = "note"  # the key in which a record says what does not fit together
_COLUMNS = ("image_id", "sha256", "width", "height", "first_seen", "source", "url")


class Kept:
    """The imported records of a store. Of an image's record with one id the newest text counts."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        rows = store.read("records", ["image_id", "record_id", "record"])
        self._known = {  # hashes and no texts: a million records are half a gigabyte
            (row["image_id"], row["record_id"]): hash(row["record"])
            for batch in rows.to_batches(max_chunksize=CHUNK)
            for row in batch.to_pylist()
        }

    def add(self, rows: Iterable[tuple[str, str, str]], made_at: str) -> int:
        """Keep records given as (image id, path, JSON text) and return how many were new.

        What is there already, word for word, is left out.

        Raises
        ------
        CurationError
            When a text is no Cortex record.
        """
        fresh = []
        for image_id, path, text in rows:
            record_id = loads(text).record_id
            if self._known.get((image_id, record_id)) != hash(text):
                self._known[image_id, record_id] = hash(text)
                row = {"image_id": image_id, "path": path, "record_id": record_id}
                fresh.append({**row, "record": text, "made_at": made_at})
        if fresh:
            self._store.add_records(fresh)
        return len(fresh)


def of_image(store: "Store", image_id: str) -> dict[str, Any]:
    """Return the Cortex record of one image; see `of_images`."""
    return next(iter(of_images(store, [image_id])))


def of_images(store: "Store", image_ids: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the Cortex record of each image, in the order asked for.

    An image that came with a record keeps that record's id, flags, analyses, label quality and
    address; size and hash are those of the bytes held here, and `datetime` is the earlier one.
    A record about other bytes than those held is left as it is, with a ``note`` that says so. Of
    several records of one image the first that came counts. An image that came with none gets an
    id made of its own.

    Raises
    ------
    CurationError
        When there is no such image, or a kept record is damaged.
    """
    asked = list(image_ids)
    images = _offsets(store, "images", ["image_id"])
    imported = _imported(store)
    places: dict[str, str] | None = None
    for start in range(0, len(asked), CHUNK):
        chunk = asked[start : start + CHUNK]
        if unknown := [image_id for image_id in chunk if image_id not in images]:
            raise CurationError(f"no image {unknown[0][:40]!r} in this dataset; reload the page")
        rows = _rows(store, "images", [images[image_id] for image_id in chunk], _COLUMNS)
        offsets = [imported[image_id] for image_id in chunk if image_id in imported]
        texts = _rows(store, "records", offsets, ("image_id", "record"))
        for image_id in chunk:
            text = texts.get(image_id)
            record = None if text is None else loads(text["record"])
            row = rows[image_id]
            if not _published(row["url"]) and not (record and _published(record.url)):
                places = _places(store) if places is None else places
                row["url"] = places[image_id]
            made = _made(row)
            yield to_cortex(made if record is None else _merged(record, made))


def _offsets(store: "Store", name: str, keys: Sequence[str]) -> dict[Any, int]:
    """Return the row of each key, the newest where it has several: tables only grow."""
    columns = [column.to_pylist() for column in store.read(name, list(keys)).columns]
    values = columns[0] if len(keys) == 1 else zip(*columns, strict=True)
    return {value: offset for offset, value in enumerate(values)}


def _imported(store: "Store") -> dict[str, int]:
    """Return the row of each image's record: the newest of the id that it came with first."""
    newest = _offsets(store, "records", ["image_id", "record_id"])  # in the order they came
    chosen: dict[str, int] = {}
    for (image_id, _), offset in newest.items():
        chosen.setdefault(image_id, offset)
    return chosen


def _rows(
    store: "Store", name: str, offsets: list[int], columns: Sequence[str]
) -> dict[str, dict[str, Any]]:
    found = store.take(name, sorted(set(offsets)), columns).to_pylist()
    return {row["image_id"]: row for row in found}


def _published(url: str | None) -> bool:
    return url is not None and "://" in url and not url.startswith("file:")


def _places(store: "Store") -> dict[str, str]:
    """Return an address of each image: where it was published, else where it is, else was."""
    found: dict[str, tuple[int, str]] = {}
    for location in store.locations():
        if location.image_id is None:
            continue
        address = location.url or location.path
        rank = 0 if _published(address) else 1 if location.status == "ok" else 2
        place = (rank, address if _published(address) else Path(location.path).as_uri())
        found[location.image_id] = min(found.get(location.image_id, place), place)
    return {image_id: address for image_id, (_, address) in found.items()}


def _made(row: dict[str, Any]) -> CortexRecord:
    return CortexRecord(
        record_id=f"PT::{row['image_id'][:24]}",
        url=row["url"],
        first_seen=row["first_seen"],
        stages=dict.fromkeys(STAGES, False),
        source=_source(row["source"]),
        width=row["width"],
        height=row["height"],
        sha256=row["sha256"],
    )


def _source(source: str | None) -> str | None:
    """Return a source that has a name, e.g. commoncrawl: a folder of this machine tells nobody."""
    local = source is None or source.startswith(("/", "\\", "file:")) or source[1:3] == ":\\"
    return None if local else source


def _merged(record: CortexRecord, made: CortexRecord) -> CortexRecord:
    """Return an imported record with what is known here."""
    first_seen = min(record.first_seen, made.first_seen, key=to_time)
    url = record.url if _published(record.url) else made.url
    source = record.source or made.source
    merged = replace(record, url=url, first_seen=first_seen, source=source)
    if record.sha256 != made.sha256:
        held = f"{made.sha256}, {made.width} x {made.height} pixels"
        return _noted(merged, f"about other bytes than those held here ({held})")
    if (record.width, record.height) == (made.width, made.height):
        return merged
    merged = replace(merged, width=made.width, height=made.height)
    if not any(record.analyses):
        return merged
    return _noted(merged, f"boxes are for {record.width} x {record.height} pixels")


def _noted(record: CortexRecord, note: str) -> CortexRecord:
    return replace(record, extra={**record.extra, NOTE: note})
