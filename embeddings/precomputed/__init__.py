"""Tables (.parquet, .csv, .tsv) and .npz files of vectors, places and clusters made elsewhere."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embeddings import cluster as clustering
from embeddings.errors import CurationError
from embeddings.precomputed import npz
from embeddings.precomputed.columns import Roles, roles
from embeddings.schema import NOISE, Float32, Int32

SUFFIXES = (".parquet", ".csv", ".tsv", ".npz")
ENCODER = b"encoder"  # Parquet metadata that names what made the vectors
MOST_NUMBERS = 65_536  # in one vector
MOST_BYTES = npz.MOST_BYTES
MOST_CLUSTER = 99_999  # a number above is a name: a date, say
FARTHEST = 1e30  # of a place: float32's squares end at 1e38
CLUSTER_NAME = "cluster_name"  # the field of an image whose cluster has a name
NONE = -2  # no cluster was brought; -1 is noise
BATCH = 4096  # rows unpacked at a time
BUFFER = 1 << 18  # bytes read ahead of one column: else all of it in a row group
_NOISE_NAMES = ("noise", "-1")
_WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)

T = TypeVar("T")
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Precomputed:
    """What a file brings for n images, row by row.

    `paths`, `urls` and `hashes` say which image, None where they do not. `vectors` (n, d), `places`
    (n, 2 or 3) and `clusters` (n,) are None where there is no such column; a row that has none is
    NaN, in `clusters` -2. `cluster_names` are those of named clusters. `fields` are the other
    columns, `unused` the names of those that cannot be kept.
    """

    paths: list[str | None]
    urls: list[str | None]
    hashes: list[str | None]
    vectors: Float32 | None
    places: Float64 | None
    clusters: Int32 | None
    cluster_names: list[str | None] | None
    fields: pa.Table
    unused: list[str]

    def __len__(self) -> int:
        return len(self.paths)


class _File:
    """One file: its columns, and the bulky ones batch by batch."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet

        self.path = path
        if path.suffix.lower() == ".parquet":
            self.parquet = pyarrow.parquet.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)
            self.schema, self.rows = self.parquet.schema_arrow, self.parquet.metadata.num_rows
        else:
            self.parquet = None
            self.table = npz.read(path) if path.suffix.lower() == ".npz" else _read_csv(path)
            self.schema, self.rows = self.table.schema, self.table.num_rows

    def small(self, names: list[str]) -> pa.Table:
        """Return some columns as a whole."""
        if self.parquet is None:
            return self.table.select(names)
        return self.parquet.read(columns=names).select(names)

    def batches(self, names: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
        """Yield some columns in batches; one whole one where that costs no memory."""
        if self.parquet is not None:
            for batch in self.parquet.iter_batches(BATCH, columns=list(names)):
                yield batch.select(list(names))
        else:
            whole = len(names) == 1
            size = None if whole else BATCH
            yield from self.table.select(list(names)).to_batches(max_chunksize=size)


def look(path: Path) -> Roles | None:
    """Return what the columns of a file mean, by their names and types alone; None: it is no table.

    Raises
    ------
    CurationError
        When two columns have one name, or it cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return roles(npz.names(path), ())
    if suffix in (".csv", ".tsv"):
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            line = file.readline(1 << 20).rstrip("\r\n")
        names = [name.strip('"') for name in line.split("\t" if suffix == ".tsv" else ",")]
        return roles(names, ())
    return _roles(_damage_told(path, _schema)) if suffix == ".parquet" else None


def encoder_name(path: Path) -> str | None:
    """Return what a Parquet file says made its vectors: ``encoder`` in its metadata; else None."""
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return None
    told = (_damage_told(path, _schema).metadata or {}).get(ENCODER, b"")
    return told.decode("utf-8", "replace").strip() or None


def read(path: Path) -> Precomputed:
    """Read a file that brings vectors, places or clusters of images.

    Raises
    ------
    CurationError
        When it is damaged, does not say which images its rows are about, or brings nothing that
        can be used.
    """
    if not path.is_file():
        raise CurationError(f"no such file: {path}; check the path")
    return _damage_told(path, _read)


def _damage_told(path: Path, work: Callable[[Path], T]) -> T:
    try:
        return work(path)
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CurationError(f"{path} cannot be read as a table: {why[:200]}") from error


def _schema(path: Path) -> pa.Schema:
    import pyarrow.parquet

    return pyarrow.parquet.read_schema(path)


def _read(path: Path) -> Precomputed:
    file = _File(path)
    found = _roles(file.schema)
    _refuse_useless(path, found, file)
    rest = [name for name in file.schema.names if name not in found.taken]
    kept = [name for name in rest if name and _is_flat(file.schema.field(name).type)]
    said = [name for name in (found.path, found.url, found.sha256, found.cluster) if name]
    small = file.small([*said, *kept])
    vectors = _numbers(file, found.vector, np.dtype(np.float32), "vectors")
    places = _numbers(file, found.place, np.dtype(np.float64), "places")
    numbers, names = _clusters(path, small[found.cluster]) if found.cluster else (None, None)
    fields, lost = _fields(small, kept)
    unused = [name for name in rest if name and name not in kept] + lost
    result = Precomputed(
        paths=_texts(small, found.path),
        urls=_texts(small, found.url),
        hashes=_texts(small, found.sha256),
        vectors=None if vectors is None else _checked_vectors(path, vectors),
        places=None if places is None else _checked_places(path, places),
        clusters=numbers,
        cluster_names=names,
        fields=fields,
        unused=unused,
    )
    if numbers is not None and not (numbers != NONE).any() and vectors is None and places is None:
        raise CurationError(f"{path.name}: the column {found.cluster!r} is empty; fill it")
    return result


def _refuse_useless(path: Path, found: Roles, file: _File) -> None:
    columns = ", ".join(file.schema.names)[:200] or "none"
    if not found.brings:
        raise CurationError(
            f"{path.name} has the columns {columns}; one must be a vector, a cluster, or x and y"
        )
    if found.path is None and found.url is None and found.sha256 is None:
        raise CurationError(
            f"{path.name} has the columns {columns}; one must say which image a row is about: "
            "path, url or sha256"
        )
    if not file.rows:
        raise CurationError(f"{path.name} has no rows; give one row an image")


def _roles(schema: pa.Schema) -> Roles:
    lists = [field.name for field in schema if _is_list(field.type)]
    opaque = [
        field.name for field in schema if field.name not in lists and not _is_flat(field.type)
    ]
    return roles(schema.names, lists, opaque)


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
        return False
    return _is_number(kind.value_type)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_flat(kind: pa.DataType) -> bool:
    types = pa.types
    if types.is_dictionary(kind):
        return _is_flat(kind.value_type)
    nested = types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind)
    return not nested and not types.is_fixed_size_binary(kind)


def _read_csv(path: Path) -> pa.Table:
    import pyarrow.csv as csv

    found = look(path)
    assert found is not None, "a .csv or a .tsv has columns"
    numbers = found.vector if len(found.vector) > 1 else ()
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    table = csv.read_csv(
        path,
        parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(numbers, pa.float32())),
    )
    if any(pa.types.is_binary(column.type) for column in table.schema):  # pyarrow's way to say it
        raise CurationError(f"{path} is not UTF-8; save it as UTF-8 (in Excel: CSV UTF-8)")
    return table


# ---- numbers


def _numbers(
    file: _File, columns: tuple[str, ...], dtype: np.dtype[Any], what: str
) -> npt.NDArray[Any] | None:
    """Return columns as one matrix (n, d), NaN where a row has none; a copy only where needed."""
    if not columns:
        return None
    _refuse_words(file, columns, what)
    rows: npt.NDArray[Any] | None = None
    at = 0
    for batch in file.batches(columns):
        part = _part(file.path, batch, what)
        if rows is None and part.shape[1]:
            _refuse_giant(file, part.shape[1], dtype, what)
            if len(part) == file.rows and part.dtype == dtype:
                return part
            rows = np.full((file.rows, part.shape[1]), np.nan, dtype)
        if rows is not None and part.shape[1]:
            _fill(file.path, rows[at : at + len(part)], part, what)
        at += len(part)
    if rows is None:
        raise CurationError(f"{file.path.name}: its {what} are all empty; fill {columns[0]!r}")
    return rows


def _fill(path: Path, rows: npt.NDArray[Any], part: npt.NDArray[Any], what: str) -> None:
    if part.shape[1] != rows.shape[1]:
        _refuse_ragged(path, what, rows.shape[1], part.shape[1])
    with np.errstate(over="ignore"):  # what is too big for float32 becomes infinite: not sound
        rows[:] = part


def _refuse_words(file: _File, columns: tuple[str, ...], what: str) -> None:
    for name in columns:
        kind = file.schema.field(name).type
        numeric = _is_number(kind) or pa.types.is_null(kind)
        if not numeric and not (_is_list(kind) and len(columns) == 1):
            raise CurationError(
                f"{file.path.name}: the column {name!r} must hold numbers, got {kind}; save "
                f"{what} as lists of numbers in Parquet, or a column a number"
            )


def _refuse_giant(file: _File, width: int, dtype: np.dtype[Any], what: str) -> None:
    if width > MOST_NUMBERS or file.rows * width * dtype.itemsize > MOST_BYTES:
        raise CurationError(
            f"{file.path.name}: {what} of shape ({file.rows:,}, {width:,}) are too many for one "
            f"file; at most {MOST_BYTES:,} bytes, and {MOST_NUMBERS:,} numbers in a row: split it"
        )


def _part(path: Path, batch: pa.RecordBatch, what: str) -> npt.NDArray[Any]:
    first = batch.column(0)
    if not _is_list(first.type):
        columns = [column.cast(pa.float64(), safe=False) for column in batch.columns]
        return np.stack([column.to_numpy(zero_copy_only=False) for column in columns], axis=1)
    import pyarrow.compute as pc

    lengths = pc.list_value_length(first)
    present = np.asarray(lengths.is_valid())
    widths = np.unique(np.asarray(lengths.drop_null()))
    if len(widths) > 1:
        _refuse_ragged(path, what, int(widths[0]), int(widths[-1]))
    if not len(widths) or not widths[0]:
        return np.zeros((len(first), 0))
    flat = np.asarray(first.flatten().to_numpy(zero_copy_only=False)).reshape(-1, widths[0])
    if present.all():
        return flat
    rows = np.full((len(first), widths[0]), np.nan)
    rows[present] = flat
    return rows


def _refuse_ragged(path: Path, what: str, one: int, other: int) -> None:
    raise CurationError(
        f"{path.name}: {what} must all have one length, got {one:,} and {other:,}; "
        "those of two models go into two tables"
    )


def _checked_vectors(path: Path, vectors: Float32) -> Float32:
    if vectors.shape[1] < 2:
        raise CurationError(f"{path.name}: vectors must have 2 numbers or more, got 1")
    if not sound(vectors).any():
        raise CurationError(
            f"{path.name}: none of its {len(vectors):,} vectors can be used: "
            "all are empty, not finite, or zero"
        )
    return vectors


def sound(vectors: Float32) -> npt.NDArray[np.bool_]:
    """Say which rows of (n, d) have a direction: finite and not all zero, (n,)."""
    parts = [vectors[start : start + BATCH] for start in range(0, len(vectors), BATCH)]
    found = [np.isfinite(part).all(axis=1) & part.any(axis=1) for part in parts]
    return np.concatenate(found) if found else np.zeros(0, bool)


def _checked_places(path: Path, places: Float64) -> Float64:
    if places.shape[1] not in (2, 3):
        raise CurationError(
            f"{path.name}: places must have 2 or 3 numbers, got {places.shape[1]:,}"
        )
    usable = np.asarray((np.abs(places) <= FARTHEST).all(axis=1))  # NaN is not
    if not usable.any():
        raise CurationError(
            f"{path.name}: none of its {len(places):,} places can be used: "
            "all are empty or not finite"
        )
    return np.where(usable[:, None], places, np.nan)


# ---- clusters


def _clusters(path: Path, column: pa.ChunkedArray) -> tuple[Int32, list[str | None] | None]:
    """Return numbers (n,), and names where clusters have names: the biggest is 0 then."""
    values: list[Any] = column.to_pylist()
    kinds = {type(value) for value in values if value is not None}
    if kinds == {str}:
        texts = [(value or "").strip() or None for value in values]
        if not all(_WHOLE.fullmatch(text) for text in texts if text):
            return _named(texts)
        values = [text and int(text) for text in texts]
    elif not kinds <= {int, bool, float}:
        raise CurationError(
            f"{path.name}: clusters must be whole numbers or names, got {column.type}"
        )
    numbers = _whole_numbers(path, values)
    if any(number is not None and not NOISE <= number <= MOST_CLUSTER for number in numbers):
        return _named([None if number is None else str(number) for number in numbers])
    return np.array([NONE if number is None else number for number in numbers], np.int32), None


def _whole_numbers(path: Path, values: list[Any]) -> list[int | None]:
    numbers: list[int | None] = []
    for row, value in enumerate(values, start=1):
        if value is None or value != value:  # NaN, as pandas writes a gap
            numbers.append(None)
        elif value in (float("inf"), float("-inf")) or value != int(value):
            raise CurationError(
                f"{path.name}: clusters must be whole numbers or names, got {value} in row {row:,}"
            )
        else:
            numbers.append(int(value))
    return numbers


def _named(values: list[str | None]) -> tuple[Int32, list[str | None]]:
    known = {name: code for code, name in enumerate(dict.fromkeys(values))}
    codes = [
        NOISE if name is None or name.lower() in _NOISE_NAMES else known[name] for name in values
    ]
    numbers = clustering.number_by_size(np.array(codes, np.int64))
    numbers[[name is None for name in values]] = NONE
    return numbers, values


# ---- text


def _texts(table: pa.Table, name: str | None) -> list[str | None]:
    if name is None:
        return [None] * table.num_rows
    texts: list[str | None] = table[name].cast(pa.string()).to_pylist()
    return [text.strip() or None if text is not None else None for text in texts]


def _fields(table: pa.Table, names: list[str]) -> tuple[pa.Table, list[str]]:
    """Return the columns that can be fields, times and the like as text, and those that cannot."""
    columns: dict[str, Any] = {}
    for name in names:
        column, kind = table[name], table[name].type
        plain = _is_number(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)
        try:
            columns[name] = column if plain else column.cast(pa.string())
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
            continue
    lost = [name for name in names if name not in columns]
    empty = pa.table({"": pa.nulls(table.num_rows)})  # a table without columns forgets its length
    return (pa.table(columns) if columns else empty), lost
