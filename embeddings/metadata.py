"""Metadata tables (CSV, Parquet) and folder names become fields of items."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from embeddings.errors import CurationError
from embeddings.files import WEB
from embeddings.images import printable
from embeddings.schema import ID_LENGTH, Location

PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "image", "image_path")
HASH_COLUMNS = ("sha256", "hash", "image_id")
FOLDER = "folder"
_NOT_UTF_8 = "{} is not UTF-8; save it as UTF-8 (in Excel: CSV UTF-8)"
_TAKEN = ("item_id", "_rowid", "_rowaddr", "_rowoffset")  # by our own key, and by LanceDB


@dataclass(frozen=True)
class Joined:
    """Fields joined to items.

    `columns` maps an item id to its fields; `rows` is how many rows the table had, `unmatched` how
    many of them met no image, `conflicts` how many contradicted another row about the same image.
    """

    columns: dict[str, dict[str, Any]]
    rows: int
    unmatched: int
    conflicts: int


def read(path: Path) -> pa.Table:
    """Read a CSV or Parquet table.

    Raises
    ------
    CurationError
        When the file is absent, of another kind, or cannot be parsed.
    """
    import pyarrow.parquet

    if not path.is_file():
        raise CurationError(f"no such metadata table: {path}; check the path")
    suffix = path.suffix.lower()
    try:
        if suffix in (".csv", ".tsv"):
            table = _read_csv(path, "\t" if suffix == ".tsv" else ",")
        elif suffix == ".parquet":
            table = pyarrow.parquet.read_table(path)
        else:
            raise CurationError(f"{path.name} is not a .csv, .tsv or .parquet table")
        table.validate(full=True)
        names = ", ".join(table.column_names).replace("\n", " ")
    except UnicodeDecodeError as error:
        raise CurationError(_NOT_UTF_8.format(path)) from error
    except (pa.ArrowException, OSError, ValueError) as error:  # damaged Parquet is any of these
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CurationError(f"{path} cannot be read as a table: {reason}") from error
    if key_column(table) is None:
        wanted = ", ".join(PATH_COLUMNS + HASH_COLUMNS)
        raise CurationError(
            f"{path.name} has the columns {names}; one of them must say which image a row is "
            f"about: {wanted}"
        )
    return table


def _read_csv(path: Path, delimiter: str) -> pa.Table:
    import pyarrow.csv

    options = pyarrow.csv.ParseOptions(delimiter=delimiter)
    table = pyarrow.csv.read_csv(path, parse_options=options)
    if any(pa.types.is_binary(column.type) for column in table.schema):  # pyarrow's way to say it
        raise CurationError(_NOT_UTF_8.format(path))
    return table


def key_column(table: pa.Table) -> str | None:
    """Return the column that says which image a row is about, or None."""
    lower = {name.lower(): name for name in reversed(table.column_names)}
    for name in HASH_COLUMNS + PATH_COLUMNS:
        if name in lower:
            return str(lower[name])
    return None


def join(table: pa.Table, base: Path, locations: Iterable[Location]) -> Joined:
    """Join a metadata table to images by hash or by path.

    A path is matched as given, relative to the table's own folder `base`, relative to the source
    it was found below, and by its bare name where only one image has it. Of two rows about one
    image the first in the table counts; the other is a conflict. A column without a name (pandas
    writes its row numbers so) is passed over; see `field_name` for the others.
    """
    key = key_column(table)
    assert key is not None, "read() has checked it"
    by_hash = key.lower() in HASH_COLUMNS
    find = _by_hash(locations) if by_hash else _by_path(locations, base)
    fields = {name: field_name(name) for name in table.column_names if name not in (key, "")}
    columns: dict[str, dict[str, Any]] = {}
    unmatched = conflicts = 0
    for row in table.to_pylist():
        item_id = find(str(row[key]))
        values = {field: row[name] for name, field in fields.items()}
        if item_id is None:
            unmatched += 1
        elif columns.setdefault(item_id, values) != values:
            conflicts += 1
    return Joined(columns, table.num_rows, unmatched, conflicts)


def field_name(column: str) -> str:
    """Return the field that a column becomes: LanceDB takes no dots, and some names not at all."""
    name = column.replace(".", "_")
    return f"{name}_" if name in _TAKEN else name


def folders(locations: Iterable[Location]) -> dict[str, dict[str, Any]]:
    """Return the field `folder`: each image's folder below its source; of a URL, the host."""
    columns: dict[str, dict[str, Any]] = {}
    for location in locations:
        if location.image_id is None or location.source is None:
            continue
        folder = _folder(location.path, location.source)
        columns.setdefault(location.image_id, {FOLDER: printable(folder) or "."})
    return columns


def _folder(path: str, source: str) -> str:
    if path.startswith(WEB):
        return path.split("/")[2]
    if not path.startswith(f"{source}{os.sep}"):
        source = os.path.dirname(source)  # a list or table, which names files beside it
    return os.path.dirname(os.path.relpath(path, source))


def merge(old: pa.Table, new: Iterable[Mapping[str, Mapping[str, Any]]]) -> pa.Table:
    """Return the fields of `old` with those of `new` laid over them, sorted by item id."""
    rows: dict[str, dict[str, Any]] = {row.pop("item_id"): row for row in old.to_pylist()}
    for columns in new:
        for item_id, values in columns.items():
            rows.setdefault(item_id, {}).update(values)
    names = sorted({name for values in rows.values() for name in values})
    item_ids = sorted(rows)
    arrays = [pa.array(item_ids, pa.string())]
    arrays += [_array([rows[item_id].get(name) for item_id in item_ids]) for name in names]
    return pa.Table.from_arrays(arrays, names=["item_id", *names])


def _array(values: list[Any]) -> pa.Array:
    try:
        array = pa.array(values)
    except (
        pa.ArrowInvalid,
        pa.ArrowTypeError,
        OverflowError,
    ):  # two tables gave one field two types
        array = pa.array([None if value is None else str(value) for value in values])
    return array.cast(pa.string()) if pa.types.is_null(array.type) else array


def _by_hash(locations: Iterable[Location]) -> Any:
    known = {location.image_id for location in locations if location.image_id}

    def find(value: str) -> str | None:
        item_id = value.strip().lower()[:ID_LENGTH]
        return item_id if item_id in known else None

    return find


def _by_path(locations: Iterable[Location], base: Path) -> Any:
    exact: dict[str, str] = {}
    bare: dict[str, str | None] = {}
    for location in locations:
        if location.image_id is None:
            continue
        exact[os.path.abspath(location.path)] = location.image_id
        if location.source is not None:
            exact.setdefault(os.path.relpath(location.path, location.source), location.image_id)
        name = os.path.basename(location.path)
        same = bare.setdefault(name, location.image_id)
        if same != location.image_id:
            bare[name] = None  # two images share the name: it decides nothing

    def find(value: str) -> str | None:
        for path in (os.path.abspath(base / value), os.path.normpath(value)):
            if path in exact:
                return exact[path]
        return bare.get(os.path.basename(value))

    return find
