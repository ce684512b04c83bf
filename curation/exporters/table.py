"""One table of all items, as CSV or Parquet."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.exporters import ExportRows, Progress

if TYPE_CHECKING:
    import pyarrow as pa

FLAG_SEPARATOR = ";"  # no flag's name holds one
# what a spreadsheet may run when a cell begins with it; the last four are full-width = + - @
_FORMULA = r"^([=+\-@\t\r\n\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}])"


def export_parquet(
    rows: ExportRows, target: Path, *, progress: Progress | None = None
) -> Mapping[str, Any] | None:
    """Write `items.parquet`, every column with its type; the manifest is in its metadata too."""
    import pyarrow.parquet as pq

    about = json.dumps(rows.manifest, ensure_ascii=False)
    table = rows.columns.replace_schema_metadata({"curation_atlas": about})
    pq.write_table(table, target / "items.parquet", compression="zstd")
    _done(rows, progress)
    return None


def export_csv(
    rows: ExportRows,
    target: Path,
    *,
    progress: Progress | None = None,
    spreadsheet: bool = False,
) -> Mapping[str, Any] | None:
    """Write `items.csv` in UTF-8: an empty cell is null, ``""`` an empty text.

    By default every value stands as it is, for programs to read back. For a `spreadsheet`, text
    that would run as a formula gets an apostrophe, and the file begins with a byte-order mark,
    without which Excel takes UTF-8 for something else.
    """
    import pyarrow as pa
    from pyarrow import csv

    names = rows.columns.column_names
    flat = [_flat(column, spreadsheet) for column in rows.columns.columns]
    with (target / "items.csv").open("wb") as stream:
        stream.write(b"\xef\xbb\xbf" if spreadsheet else b"")
        csv.write_csv(pa.table(flat, names=names), stream)
    _done(rows, progress)
    return None


def _flat(column: "pa.ChunkedArray", spreadsheet: bool) -> "pa.ChunkedArray":
    """Return a column that fits into cells: lists of text joined, other nested values as JSON."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_list(column.type) and pa.types.is_string(column.type.value_type):
        column = pc.binary_join(column, FLAG_SEPARATOR)
    elif pa.types.is_nested(column.type):
        values = column.to_pylist()
        texts = [None if value is None else _json(value) for value in values]
        column = pa.chunked_array([pa.array(texts, pa.string())])
    if spreadsheet and _is_text(column.type):
        column = pc.replace_substring_regex(column, _FORMULA, r"'\1")
    return column


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)  # str: times and decimals


def _done(rows: ExportRows, progress: Progress | None) -> None:
    if progress is not None:
        progress(len(rows), len(rows))
