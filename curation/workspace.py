"""The one object that the app, the command line and a notebook talk to."""

import threading
from collections.abc import Callable
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyroaring import BitMap

from curation import checks, exporters
from curation.acts import Acts
from curation.journal import Journal
from curation.labels import LabelState
from curation.nearby import Nearby, grown, outwards
from curation.people import allow, whoami
from curation.query import Selector, compile_query, parse_selector
from curation.records import image_reader, known_rows, records
from curation.schema import Decision, Finding, Selection, clean_label
from embeddings import cortex
from embeddings import dataset as datasets
from embeddings.errors import CurationError
from embeddings.schema import Atlas, Ids, Int32, Neighbours, Vectors
from embeddings.store import Store

Int64 = npt.NDArray[np.int64]
EXPORTS = Path.home() / "curation-exports"  # where the app writes unless told otherwise
_KEPT = 4  # atlases held in RAM: the newest, and those that open tabs still show


class Workspace(Acts):
    """One dataset, open: its tables, its journal, and the acts of a curator.

    Parameters
    ----------
    name : str
        The dataset's name.
    made_by : str, optional
        Who decides; default `whoami()`.

    Raises
    ------
    CurationError
        When there is no such dataset, or it was written by a newer version.
    """

    def __init__(self, name: str, made_by: str | None = None) -> None:
        self.dataset = datasets.open_dataset(name)
        self.name = name
        self.keyboard = made_by or whoami()
        self.store = Store(self.dataset.tables)
        self.journal = Journal(self.dataset.journal)
        self.labels = LabelState(self.journal, self.dataset.path / "labels.npz")
        self._lock = threading.RLock()
        self._vectors_lock = threading.Lock()  # 2 GB are read under it: nothing else may wait
        self._atlases: dict[str, Atlas] = {}
        self._nos: dict[str, Int64] = {}
        self._vectors: dict[str, Vectors] = {}
        self._nearby = Nearby(self.store)
        self._register()

    def _register(self) -> None:
        if self.store.count("items") > self.journal.n_items:
            self.journal.register(self.store.item_ids())

    # ---- atlases

    def runs(self) -> list[dict[str, Any]]:
        """Return what made each atlas, newest first."""
        return self.store.atlas_runs()[::-1]

    def newest_version(self) -> str:
        """Return the version of the newest atlas; CurationError when there is none yet."""
        runs = self.runs()
        if not runs:
            raise CurationError(
                f"dataset {self.name!r} has no atlas yet; finish it with: "
                f"curate build FOLDER -d {self.name}"
            )
        return str(runs[0]["version"])

    def atlas(self, version: str | None = None) -> Atlas:
        """Return one atlas, the newest unless `version` says which; CurationError when gone."""
        with self._lock:
            version = version or self.newest_version()
            atlas = self._atlases.get(version)
            if atlas is None:
                atlas = self.store.atlas(version)
                self._nos[version] = self._numbered(atlas.item_ids)
            self._atlases.pop(version, None)
            self._atlases[version] = atlas  # the last is the one asked for last
            for old in list(self._atlases)[:-_KEPT]:
                del self._atlases[old], self._nos[old]
            return atlas

    def is_open(self, version: str) -> bool:
        """Return whether an atlas is in RAM already."""
        return version in self._atlases

    def _numbered(self, item_ids: Ids) -> Int64:
        """Return the journal's number of each item, (n,) int64; a new one gets the next.

        Tables built anew may hold fewer items than the journal, and others. To look a million up
        takes a second, so they are looked up again only where one is unknown.
        """
        try:
            return self.journal.item_nos(item_ids)
        except CurationError:
            self.journal.register(item_ids)
            return self.journal.item_nos(item_ids)

    def item_nos(self, version: str) -> Int64:
        """Return the journal's number of each row of an atlas, (n,) int64."""
        with self._lock:
            self.atlas(version)
            return self._nos[version]

    def vectors(self, space: str) -> Vectors:
        """Return the vectors of one space; kept in RAM."""
        with self._vectors_lock:
            if space not in self._vectors:
                self._vectors[space] = self.store.vectors(space)
            found = self._vectors[space]
            if len(found) < self.store.count(f"vectors_{space}"):
                found = self._vectors[space] = self.store.vectors(space)
            return found

    def graph(self, space: str) -> Neighbours | None:
        """Return the stored k-NN graph of one space."""
        return self.store.neighbours(space)

    # ---- selections

    def select(self, selector: str, version: str | None = None) -> Selection:
        """Return the items that `selector` names on an atlas (see `curation.query.Selector`).

        Raises
        ------
        CurationError
            When the selector cannot be read or names nothing.
        """
        atlas = self.atlas(version)
        rows = self._rows(atlas, parse_selector(selector))
        if not len(rows):
            raise CurationError(f"{selector[:80]!r} selects no item of {self.name!r}")
        return Selection.of(atlas, np.sort(rows).astype(np.int32))

    def _rows(self, atlas: Atlas, selector: Selector) -> npt.NDArray[Any]:
        if selector.kind == "all":
            return np.arange(len(atlas))
        if selector.kind == "cluster":
            return atlas.members(selector.value)
        if selector.kind == "id":
            rows = atlas.rows_of(np.array(selector.value, dtype=np.str_))
            unknown = [item for item, row in zip(selector.value, rows, strict=True) if row < 0]
            if unknown:
                raise CurationError(f"no item {unknown[0][:80]!r} in {self.name!r}; check the id")
            return np.unique(rows)
        if selector.kind in ("label", "flag"):
            return self._decided(atlas, selector)
        matches = compile_query(selector.value)
        found = [matches(record) for record in self.records(atlas.version).to_pylist()]
        return np.flatnonzero(found)

    def _decided(self, atlas: Atlas, selector: Selector) -> npt.NDArray[Any]:
        self.labels.refresh()
        if selector.kind == "flag":
            items = self.labels.flagged(selector.value)
        else:
            items = self.labels.items_with("category", clean_label(selector.value))
        return self.rows_with(items, atlas.version)

    def typical_first(self, selection: Selection) -> tuple[Ids, npt.NDArray[np.float32]]:
        """Return a selection's ids from its medoid outwards, and each one's distance to it.

        The distance is cosine, in the original space, (m,) float32; see `nearby.outwards`.
        """
        atlas = self.atlas(selection.atlas_version)
        vectors = self.vectors(atlas.space)
        rows = self._nearby.vector_rows(atlas, vectors)[self.rows_of(selection)]
        order, distance = outwards(vectors.rows, rows)
        return selection.item_ids[order], distance

    def grown(self, rows: Int32, atlas: Atlas, k: int) -> Int32:
        """Return `rows` of an atlas and the `k` nearest of each in the space, sorted."""
        return grown(rows, self._nearby.rows(atlas), k)

    def rows_of(self, selection: Selection) -> Int32:
        """Return the rows of a selection on its atlas, (m,) int32."""
        if selection.rows is not None:
            return selection.rows
        return known_rows(self.atlas(selection.atlas_version).item_ids, selection.item_ids)

    def rows_with(self, items: BitMap, version: str) -> Int32:
        """Return the rows of an atlas that hold the items of these numbers, (m,) int32, sorted."""
        held = self.item_nos(version)
        mask = np.zeros(int(held.max(initial=-1)) + 1, np.bool_)
        numbers = np.asarray(items.to_array(), dtype=np.int64)
        mask[numbers[numbers < len(mask)]] = True
        return np.flatnonzero(mask[held]).astype(np.int32)

    def nos_of(self, selection: Selection) -> Int64:
        """Return the journal's number of each item of a selection, (m,) int64."""
        if selection.rows is None:
            return self.journal.item_nos(selection.item_ids)
        return self.item_nos(selection.atlas_version)[selection.rows]

    # ---- views

    def records(self, version: str | None = None) -> pa.Table:
        """Return everything that is known of every item (see `curation.records.records`)."""
        return self._records(self.atlas(version))[0]

    def _records(self, atlas: Atlas) -> tuple[pa.Table, int]:
        self.labels.refresh()
        return records(self.store, self.labels, atlas, self.item_nos(atlas.version))

    # ---- checks

    def check(self, name: str, version: str | None = None, **params: Any) -> list[Finding]:
        """Run one check on one atlas, keep its findings, and return those not dismissed."""
        atlas = self.atlas(version)
        graph = self.graph(atlas.space)
        if graph is None:
            raise CurationError(f"{self.name!r} has too few images to compare them; add some")
        self.labels.refresh()
        context = checks.CheckContext(
            vectors=self.vectors(atlas.space),
            graph=graph,
            atlas=atlas,
            categories=self.labels.category(self.item_nos(atlas.version)),
        )
        found = checks.run(name, context, **params)
        made_at = datasets.now()
        rows = [{**finding.__dict__, "made_at": made_at} for finding in found]
        self.store.save_findings(name, [{**r, "item_ids": list(r["item_ids"])} for r in rows])
        dismissed = self.labels.dismissed()
        return [finding for finding in found if finding.finding_id not in dismissed]

    def dismiss(self, finding: Finding, *, made_by: str | None = None) -> Decision:
        """Say that a finding is none; it stays dismissed when the check runs again."""
        ids = np.array(sorted(finding.item_ids), dtype=np.str_)
        selection = Selection(ids, self.newest_version())
        return self._append("dismiss", selection, "finding", finding.finding_id, None, made_by)

    # ---- export

    def export(
        self,
        format: str,
        to: Path,
        *,
        version: str | None = None,
        overwrite: bool = False,
        progress: Callable[[int, int], None] | None = None,
        **options: Any,
    ) -> Path:
        """Write the dataset in one format to the folder `to`; nothing half is ever left there.

        `options` are the exporter's own (docs/exporters.md). Where people log in, it takes the role
        label, and to write elsewhere than below `EXPORTS`, or over something, admin.
        """
        allow("label")
        if overwrite or EXPORTS not in Path(to).expanduser().resolve().parents:
            allow("admin")
        rows = self.export_rows(version)
        snapshot = ["item_id", "category", "instance", "flags", "labelled_by", "labelled_at"]
        path = exporters.export(format, rows, to, overwrite=overwrite, progress=progress, **options)
        self.store.save_labels(rows.columns.select(snapshot))
        return path

    def export_rows(self, version: str | None = None) -> exporters.ExportRows:
        """Return what an exporter is given: columns, manifest, and the source files' bytes."""
        atlas = self.atlas(version)
        columns, head = self._records(atlas)
        read_image = image_reader(self.store, self.dataset.downloads, columns)
        return exporters.ExportRows(
            columns,
            self._manifest(atlas, head),
            read_image,
            lambda image_ids: cortex.of_images(self.store, image_ids),
        )

    def _manifest(self, atlas: Atlas, head: int) -> dict[str, Any]:
        return {
            "dataset": self.name,
            "dataset_id": self.dataset.dataset_id,
            "head": head,
            "atlas_version": atlas.version,
            "space": atlas.space,
            "encoder": atlas.params.get("encoder"),
            "versions": {
                "curation-atlas": installed("curation-atlas"),
                **atlas.params.get("libraries", {}),
            },
            "created_at": datasets.now(),
        }


_open: dict[str, Workspace] = {}
_open_lock = threading.Lock()


def shared(name: str) -> Workspace:
    """Return this process's workspace of a dataset: pages and routes share one."""
    dataset = datasets.open_dataset(name)
    with _open_lock:
        found = _open.get(name)
        # deleted and built anew under the name, or its journal put back from a backup
        if found is None or found.dataset != dataset or found.labels.restored():
            found = _open[name] = Workspace(name)
        return found
