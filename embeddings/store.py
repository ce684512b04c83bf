"""The LanceDB tables of one dataset: what machines computed, as columns.

Tables only grow: items are immutable after ingest, so an item's row offset never changes. Rows are
found by our own ids and offsets, never by SQL built from what a person typed.
"""

import hashlib
import json
import random
import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from embeddings import disk, tables
from embeddings.errors import CurationError
from embeddings.schema import Atlas, Float32, Ids, Image, Item, Location, Neighbours, Vectors

_KEEP = timedelta(days=7)  # versions that another process may still be reading
_VERSION = re.compile(r"[0-9a-f]{16}")
REPLACE_TRIES = 20
COMPACT_AT = 8  # fragments; fewer cost less than rewriting the table, which is kept seven days
_OVERTAKEN = re.compile("commit conflict|already exists")  # another thread or process was first


class Store:
    """One dataset's tables. Every read sees what other processes have committed.

    Parameters
    ----------
    folder : Path
        The LanceDB directory; made when absent.
    """

    def __init__(self, folder: Path) -> None:
        import lancedb

        with disk.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        # the default never sees other processes' commits
        self._db = lancedb.connect(str(folder), read_consistency_interval=timedelta(0))
        self._open: dict[str, Any] = {}
        self._offsets: dict[str, int] = {}
        self._lock = threading.Lock()

    # ---- tables

    def names(self) -> list[str]:
        """Return the names of the tables there are, sorted; one that was never finished is none."""
        found: list[str] = []
        token: str | None = None
        while True:
            page = self._db.list_tables(page_token=token)
            found += page.tables
            token = page.page_token
            if not token:
                return sorted(name for name in found if disk.finished(self.folder, name))

    def _table(self, name: str, schema: pa.Schema | None = None) -> Any:
        table = self._open.get(name)
        if table is None:
            if name in self.names():
                table = self._db.open_table(name)
            elif schema is not None:
                table = self._db.create_table(name, schema=schema, exist_ok=True)
            else:
                return None
            self._open[name] = table
        return table

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the columns of a table, in row order; an unknown table has no rows."""
        table = self._table(name)
        if table is None:
            return tables.SCHEMAS[name].empty_table().select(columns or tables.SCHEMAS[name].names)
        query = table.search()
        return (query.select(list(columns)) if columns else query).to_arrow()

    def count(self, name: str) -> int:
        """Return how many rows a table has."""
        table = self._table(name)
        return 0 if table is None else int(table.count_rows())

    def version(self, name: str) -> int:
        """Return a number that rises with every change of a table; 0 when there is none."""
        table = self._table(name)
        return 0 if table is None else int(table.version)

    def _append(self, name: str, rows: pa.Table) -> None:
        if rows.num_rows:
            with disk.writing(self.folder):
                self._table(name, rows.schema).add(rows)

    def _replace(self, name: str, rows: pa.Table) -> None:
        for left in reversed(range(REPLACE_TRIES)):
            mode = "overwrite" if name in self.names() else "create"
            try:
                with disk.writing(self.folder):
                    self._open[name] = self._db.create_table(name, data=rows, mode=mode)
                return
            except (RuntimeError, ValueError) as error:  # lance has no class of its own for it
                if not left or not _OVERTAKEN.search(str(error)):
                    raise
                time.sleep(random.uniform(0.01, 0.1))  # two that met must not meet again

    def compact(self) -> None:
        """Merge small fragments and drop versions older than seven days."""
        for name in self.names():
            table = self._table(name)
            if table.stats()["fragment_stats"]["num_fragments"] not in range(2, COMPACT_AT):
                with disk.writing(self.folder):
                    table.optimize(cleanup_older_than=_KEEP)

    # ---- images, locations, items

    def add_images(self, images: Iterable[Image]) -> None:
        """Append images; the caller has left out those that are there."""
        self._append("images", tables.images(images))

    def add_locations(self, locations: Iterable[Location]) -> None:
        """Append locations; the newest row of a path counts."""
        self._append("locations", tables.locations(locations))

    def add_items(self, items: Iterable[Item], thumbnails: Iterable[bytes]) -> None:
        """Append items with their thumbnails (JPEG bytes)."""
        self._append("items", tables.items(items, thumbnails))

    def add_records(self, rows: Iterable[Mapping[str, str]]) -> None:
        """Append imported records; the newest row of an image and record id counts."""
        self._append("records", tables.records(rows))

    def take(self, name: str, offsets: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Return the rows at `offsets`, which count as `read` orders them; not in their order."""
        if not offsets:
            return tables.SCHEMAS[name].empty_table().select(list(columns))
        return self._table(name).take_offsets(list(offsets)).select(list(columns)).to_arrow()

    def ids(self, name: str, column: str) -> set[str]:
        """Return the ids in one column of a table."""
        return set(self.read(name, [column])[column].to_pylist())

    def locations(self) -> list[Location]:
        """Return the newest row of each path, ordered by path."""
        newest: dict[str, Location] = {}
        for location in tables.to_locations(self.read("locations")):
            newest[location.path] = location
        return [newest[path] for path in sorted(newest)]

    def places(self) -> dict[str, list[str]]:
        """Return where each image was met and should still be, by image id: `Location.path`."""
        found: dict[str, list[str]] = {}
        for location in self.locations():
            if location.image_id is not None and location.status == "ok":
                found.setdefault(location.image_id, []).append(location.path)
        return found

    def item_ids(self) -> Ids:
        """Return all item ids, sorted."""
        return np.array(sorted(self.ids("items", "item_id")), dtype=np.str_)

    def thumbnails(self, item_ids: Sequence[str]) -> dict[str, bytes]:
        """Return the thumbnails of the items asked for; an unknown id is left out."""
        offsets = self._item_offsets(item_ids)
        if not offsets:
            return {}
        found = self.take("items", offsets, ["item_id", "thumbnail"])
        return dict(zip(found["item_id"].to_pylist(), found["thumbnail"].to_pylist(), strict=True))

    def _item_offsets(self, item_ids: Sequence[str]) -> list[int]:
        if any(item_id not in self._offsets for item_id in item_ids):
            rows = self.read("items", ["item_id"])["item_id"].to_pylist()
            self._offsets = {item_id: offset for offset, item_id in enumerate(rows)}
        return [self._offsets[item_id] for item_id in item_ids if item_id in self._offsets]

    # ---- spaces

    def spaces(self) -> dict[str, dict[str, Any]]:
        """Return what made each space, by the space's name, oldest first."""
        found = {}
        for name in self.names():
            if name.startswith("vectors_"):
                found[name.removeprefix("vectors_")] = _details(self._table(name).schema)
        return dict(sorted(found.items(), key=lambda entry: (entry[1].get("made_at", ""), entry)))

    def add_vectors(
        self, space: str, item_ids: Sequence[str], rows: Float32, details: dict[str, Any]
    ) -> None:
        """Append vectors (n, d) to a space; `details` is kept when the space is new."""
        name = f"vectors_{space}"
        self._append(name, tables.vectors(item_ids, rows, {"details": json.dumps(details)}))

    def vectors(self, space: str) -> Vectors:
        """Return one space, rows sorted by item id, unit length.

        Raises
        ------
        CurationError
            When there is no such space.
        """
        table = self._table(f"vectors_{space}")
        if table is None:
            known = ", ".join(self.spaces()) or "none yet"
            raise CurationError(f"no space {space!r}; there are: {known}")
        found = table.search().select(["item_id", "vector"]).to_arrow()
        item_ids = np.array(found["item_id"].to_pylist(), dtype=np.str_)
        dim = table.schema.field("vector").type.list_size
        rows = tables.matrix(found["vector"], dim).astype(np.float32)
        order = np.argsort(item_ids)
        rows = rows[order]
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        encoder = str(_details(table.schema).get("encoder", space))
        return Vectors(item_ids[order], rows, encoder)

    def save_neighbours(self, space: str, graph: Neighbours, digest: str) -> None:
        """Keep the k-NN graph of a space; `digest` names the vectors it was made from."""
        rows = tables.neighbours(graph, {"digest": digest})
        self._replace(f"neighbours_{space}", rows)

    def neighbours(self, space: str, digest: str | None = None) -> Neighbours | None:
        """Return the stored k-NN graph, or None when there is none or it is of other vectors."""
        table = self._table(f"neighbours_{space}")
        if table is None:
            return None
        kept = (table.schema.metadata or {}).get(b"digest", b"").decode()
        if digest is not None and kept != digest:
            return None
        return tables.to_neighbours(table.search().to_arrow())

    # ---- atlases

    def save_atlas(self, atlas: Atlas, made_at: str) -> None:
        """Append an atlas; of one that is there already only the run, to make it the newest."""
        versions = [run["version"] for run in self.atlas_runs()]
        if atlas.version not in versions:
            self._append("atlases", tables.atlas(atlas))
        if versions[-1:] != [atlas.version]:
            self._append("atlas_runs", tables.atlas_run(atlas, made_at))

    def atlas_runs(self) -> list[dict[str, Any]]:
        """Return what made each atlas, the one asked for last at the end, each version once.

        The rows of an atlas are written before its run.
        """
        rows: list[dict[str, Any]] = self.read("atlas_runs").to_pylist()
        rows.sort(key=lambda run: (run["made_at"], run["version"]))
        runs = list({run["version"]: run for run in reversed(rows)}.values())[::-1]
        for run in runs:
            run["params"] = json.loads(run["params"])
        return runs

    def atlas(self, version: str) -> Atlas:
        """Return one atlas by its version.

        Raises
        ------
        CurationError
            When there is no such version.
        """
        runs = {run["version"]: run for run in self.atlas_runs()}
        if version not in runs or not _VERSION.fullmatch(version):
            raise CurationError(
                f"atlas version {version[:40]!r} is gone; reload the page and select again"
            )
        table = self._table("atlases")
        found = table.search().where(f"version = '{version}'", prefilter=True).to_arrow()
        return tables.to_atlas(found, runs[version])

    # ---- fields, findings, labels

    def save_fields(self, fields: pa.Table) -> None:
        """Replace the metadata fields: `item_id` and one column a field."""
        self._replace("fields", fields)

    def fields(self) -> pa.Table:
        """Return the metadata fields, in no particular order."""
        return self.read("fields")

    def save_findings(self, check: str, rows: Sequence[dict[str, Any]]) -> None:
        """Replace the findings of one check."""
        with self._lock:  # another check of this process may be keeping its findings too
            kept = [row for row in self.findings() if row["check"] != check]
            self._replace("findings", tables.findings([*kept, *rows]))

    def findings(self) -> list[dict[str, Any]]:
        """Return all findings, most suspicious first."""
        rows: list[dict[str, Any]] = self.read("findings").to_pylist()
        return sorted(rows, key=lambda row: (-row["score"], row["finding_id"]))

    def save_labels(self, labels: pa.Table) -> None:
        """Replace the snapshot of the journal's labels, for queries and exports."""
        self._replace("labels", labels)


def vectors_digest(vectors: Vectors) -> str:
    """Return a digest of the ids and values of a space: the key of everything made from it."""
    digest = hashlib.sha256("\n".join(vectors.item_ids.tolist()).encode())
    digest.update(np.ascontiguousarray(vectors.rows).data)
    return digest.hexdigest()[:32]


def _details(schema: pa.Schema) -> dict[str, Any]:
    text = (schema.metadata or {}).get(b"details", b"{}")
    details: dict[str, Any] = json.loads(text)
    return details
