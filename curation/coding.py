"""How a column of a table is read for the map: as named codes, as numbers or as times."""

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embeddings.schema import Int32

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

FEW_NUMBERS = 12  # distinct whole numbers up to this many are names, such as a rating from 1 to 5
MANY_NAMES = 4096  # distinct texts beyond this many cannot be told apart by colour or in a list
UNIQUE_FROM = 50  # items from which on a text that differs nearly everywhere is none to colour by
NAME_LENGTH = 200  # characters of a name that a legend shows
_WHOLE = 2**53  # whole numbers beyond it are not exact as float64
_LEADING_ZERO = r"^[+-]?0[0-9]"  # a number of a house or a shop, not a quantity
_ZONED = r"[0-9]:[0-9]{2}.*(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"
_DIGITS = re.compile(r"([0-9]{1,15})")


def kind_of(column: pa.ChunkedArray) -> str | None:
    """Return how a column can be shown: ``"codes"``, ``"numbers"``, ``"times"``, or None for not.

    Numbers with at most 12 distinct values, all whole, are codes. Texts that are all numbers or
    all ISO 8601 dates are read as such. Texts are codes unless there are more than 4,096, or, from
    50 rows on, more distinct ones than half of the rows.
    """
    if pa.types.is_nested(column.type):
        return None
    distinct = _plain(column.unique())  # before all else: half the time of a million rows
    if distinct.null_count == len(distinct):
        return None
    if pa.types.is_boolean(distinct.type):
        return "codes"
    if pa.types.is_timestamp(distinct.type):
        return "times"
    if pa.types.is_floating(distinct.type):
        return _kind_of_numbers(_floats(distinct))
    return _kind_of_texts(distinct, len(column)) if pa.types.is_string(distinct.type) else None


def codes(column: pa.ChunkedArray) -> tuple[Int32, list[str]]:
    """Return a column as codes (n,) int32, -1 = none, and the name of each code.

    Names are in natural order: digits in them count as numbers. Texts that read alike in one
    line of 200 characters are one name.
    """
    array = _plain(column)
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.string())
    if pa.types.is_floating(array.type):
        return _whole_codes(_floats(array))
    encoded = array.dictionary_encode()
    at = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    parsed = _parsed_numbers(encoded.dictionary)
    if parsed is not None and np.isfinite(parsed).any():
        return _whole_codes(np.append(parsed, np.nan)[at])
    names = [short(name) for name in encoded.dictionary.to_pylist()]
    legend = sorted({*names} - {""}, key=natural)
    rank_of = {name: rank for rank, name in enumerate(legend)}
    ranks = np.array([rank_of.get(name, -1) for name in (*names, "")], np.int32)
    return ranks[at], legend  # the last rank answers for -1


def first_met(codes: Int32, size: int, item_nos: Int64) -> Int64:
    """Return the number of the first item that holds each of `size` codes, (size,) int64.

    `codes` (n,) are of the items `item_nos` (n,), whose numbers rise as items come and never
    change. A code that no item holds comes last.
    """
    met = np.full(size + 1, np.iinfo(np.int64).max)  # the last answers for -1
    np.minimum.at(met, codes, item_nos)
    return met[:-1]


def numbers(column: pa.ChunkedArray) -> Float64:
    """Return a column as numbers (n,) float64; NaN where there is none or it is not finite."""
    array = _plain(column)
    found = _floats(array.cast(pa.float64()))
    return np.where(np.isfinite(found), found, np.nan)


def seconds(column: pa.ChunkedArray) -> Float64:
    """Return dates and times as seconds since 1970 in UTC (n,) float64; NaN where there is none.

    A time without a zone is taken as it is written, as if it were UTC.
    """
    array = _plain(column)
    if pa.types.is_string(array.type):
        parsed = _parsed_times(array)
        if parsed is None:
            raise ValueError("the column holds texts that are no ISO 8601 dates")
        array = parsed
    micros = array.cast(pa.int64()).cast(pa.float64(), safe=False)
    return _floats(micros) / 1e6


def natural(name: str) -> tuple[Any, ...]:
    """Return what to sort a name by: case does not count, and digits count as numbers."""
    parts = _DIGITS.split(name.casefold())
    return tuple((int(part), "") if at % 2 else (-1, part) for at, part in enumerate(parts)), name


def short(name: str) -> str:
    """Return a text as one line of at most 200 characters."""
    line = " ".join(name.split())
    return line if len(line) <= NAME_LENGTH else line[: NAME_LENGTH - 1] + "…"


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """Return one array of bool, float64, timestamp[us] or string; of another type as it is."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return array.cast(pa.float64(), safe=False)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return array.cast(pa.timestamp("us", tz=getattr(kind, "tz", None)), safe=False)
    if pa.types.is_time(kind) or pa.types.is_large_string(kind):
        array = array.cast(pa.string())
    if pa.types.is_string(array.type):
        array = pc.utf8_trim_whitespace(array)
        return pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)
    return array


def _floats(array: pa.Array) -> Float64:
    """Return float64 with NaN for null."""
    found: Float64 = array.fill_null(np.nan).to_numpy(zero_copy_only=False)
    return found


def _kind_of_numbers(distinct: Float64) -> str | None:
    found = np.unique(distinct[np.isfinite(distinct)])
    if not len(found):
        return None
    whole = (np.trunc(found) == found) & (np.abs(found) < _WHOLE)
    return "codes" if len(found) <= FEW_NUMBERS and whole.all() else "numbers"


def _kind_of_texts(texts: pa.Array, rows: int) -> str | None:
    distinct = texts.unique().drop_null()  # two may have become one
    parsed = _parsed_numbers(distinct)
    kind = None if parsed is None else _kind_of_numbers(parsed)
    if kind is not None:
        return kind
    if _parsed_times(distinct) is not None:
        return "times"
    differs = rows > UNIQUE_FROM and 2 * len(distinct) > rows
    return None if differs or len(distinct) > MANY_NAMES else "codes"


def _parsed_numbers(texts: pa.Array) -> Float64 | None:
    """Return texts as numbers; None when one of them is none, or has a leading zero."""
    if pc.any(pc.match_substring_regex(texts, _LEADING_ZERO)).as_py():
        return None
    try:
        return _floats(texts.cast(pa.float64()))
    except pa.ArrowInvalid:
        return None


def _parsed_times(texts: pa.Array) -> pa.Array | None:
    """Return texts as times in UTC; None when one of them is no ISO 8601 date."""
    zoned = pc.match_substring_regex(texts, _ZONED)
    blank = pa.scalar(None, pa.string())
    utc = pa.timestamp("us", tz="UTC")
    try:
        placed = pc.if_else(zoned, texts, blank).cast(utc)
        bare = pc.if_else(zoned, blank, texts).cast(pa.timestamp("us")).cast(utc)
    except pa.ArrowInvalid:
        return None
    return pc.coalesce(placed, bare)


def _whole_codes(values: Float64) -> tuple[Int32, list[str]]:
    finite = np.isfinite(values)
    found, at = np.unique(values[finite], return_inverse=True)
    result = np.full(len(values), -1, np.int32)
    result[finite] = at
    return result, [str(int(value)) for value in found]
