"""Ways out: write the items and their labels in a format that other programs read."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from curation.exporters.folder import MANIFEST, publish, verify
from embeddings.errors import CurationError
from embeddings.registry import Registry

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MANIFEST", "ExportRows", "Exporter", "Progress", "EXPORTERS", "export", "verify"]

Progress = Callable[[int, int], None]  # told how many rows of how many are written

COLUMNS = (
    *("item_id", "image_id", "sha256", "path", "width", "height", "x1", "y1", "x2", "y2"),
    *(
        "url",
        "class_name",
        "confidence",
        "category",
        "instance",
        "flags",
        "labelled_by",
        "labelled_at",
    ),
    *("cluster", "membership", "outlier_score", "x", "y"),
)


@dataclass(frozen=True)
class ExportRows:
    """What an exporter is given: one row an item, sorted by item_id.

    `columns` has at least the columns `COLUMNS` (x1 to y2 null for whole images, `flags` a list of
    strings) and the metadata fields as ``field.<name>``; `manifest` says where the rows come from;
    ``read_image(row)`` returns the bytes of a row's source file, CurationError if it vanished or
    changed; ``cortex_records(image_ids)`` yields the Cortex record of each image.
    """

    columns: "pa.Table"
    manifest: dict[str, Any]
    read_image: Callable[[int], bytes]
    cortex_records: Callable[[Iterable[str]], Iterator[dict[str, Any]]]

    def __post_init__(self) -> None:
        missing = [name for name in COLUMNS if name not in self.columns.column_names]
        if missing:
            raise ValueError(f"columns must hold {', '.join(missing)}")
        ids = self.columns["item_id"].to_pylist()
        if any(later <= earlier for earlier, later in pairwise(ids)):
            raise ValueError("rows must be sorted by item_id, each id once")

    def __len__(self) -> int:
        return int(self.columns.num_rows)


class Exporter(Protocol):
    """One format: a registry entry of the group ``curation_atlas.exporters``."""

    def __call__(
        self, rows: ExportRows, target: Path, *, progress: Progress | None = None, **options: Any
    ) -> Mapping[str, Any] | None:
        """Write `rows` into the empty directory `target`; return what the manifest should add."""


EXPORTERS: Registry[Exporter] = Registry("exporter", "curation_atlas.exporters")


def export(
    name: str,
    rows: ExportRows,
    to: Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Path:
    """Write `rows` with the exporter `name` to the new directory `to`, and return its path.

    The files are written beside `to`, listed with their SHA-256 in ``manifest.json``, flushed to
    disk and renamed: `to` is complete or was not touched. `overwrite` replaces an earlier export,
    and nothing else. `options` are the exporter's own.

    Raises
    ------
    CurationError
        When the name or an option is unknown, `to` is in the way, an image is gone, or the disk
        refuses.
    """
    exporter = EXPORTERS.get(name)
    _refuse_unknown_options(name, exporter, options)
    paths = rows.columns["path"].to_pylist()
    about = {"format": name, "rows": len(rows), "options": options, "source": rows.manifest}
    with publish(to, overwrite=overwrite, sources=paths) as (folder, manifest):
        manifest.update(about, **(exporter(rows, folder, progress=progress, **options) or {}))
    return Path(to)


def _refuse_unknown_options(name: str, exporter: Exporter, options: Mapping[str, Any]) -> None:
    parameters = inspect.signature(exporter).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "progress"]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise CurationError(
            f"exporter {name!r} has no option {unknown[0]!r}; known: {', '.join(known) or 'none'}"
        )
