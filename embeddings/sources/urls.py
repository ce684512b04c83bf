"""URLs: one by itself, or a list of them in a text file or a table; the images are downloaded.

A list is ``.txt`` or ``.urls`` (a URL per line, ``#`` begins a remark), or a table (``.csv``,
``.tsv``, ``.parquet``, ``.jsonl``) with a column `url`. The other columns become fields.
"""

import csv
import json
import math
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, NoReturn
from urllib.parse import urlsplit

from embeddings import files
from embeddings.downloads import Downloaded, download, fault
from embeddings.errors import CurationError
from embeddings.files import Brought, Candidate
from embeddings.formats import UnreadableImage, reason_group
from embeddings.metadata import field_name
from embeddings.sources import Context

RANK = 40

SURE = ("url", "image_url")  # columns that hold nothing else
MAYBE = ("image", "link")  # columns that may: their first value decides
HASHES = ("sha256", "hash")
_OTHERS = ({"status", "key"}, {"vector"}, {"embedding"}, {"x", "y"})  # another kind of source
_LINES = 1000  # looked at to see whether a text lists URLs
_LINE = 1 << 20  # characters; what is longer is neither a URL nor a row, and is read in parts
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII)  # 007 is a name
_DECIMAL = re.compile(r"-?(0|[1-9]\d*)\.\d+([eE][-+]?\d{1,2})?", re.ASCII)

Record = tuple[int, dict[str, Any]]  # line number, values by column


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a list: its line from 1, the URL as it stands there, and its other values."""

    line: int
    url: str
    fields: Mapping[str, Any] = field(default_factory=dict)


def claims(spec: str) -> bool:
    """Say whether `spec` is a URL or a file that lists URLs; reads no more than its beginning."""
    if _is_url(spec):
        return True
    try:
        path = Path(spec).expanduser()
        if path.suffix.lower() in _TEXTS:
            first = next(_texts(path, _LINES), None)
            return first is not None and fault(first.url) is None
        records = _RECORDS.get(path.suffix.lower())
        head = next(records(path), None) if records else None
        return head is not None and _column(head[1]) is not None and not _other_kind(head[1])
    except (CurationError, OSError, ValueError, RuntimeError):  # no home folder; a NUL in a name
        return False


def find(spec: str, context: Context) -> Iterator[Candidate]:
    """Yield the images behind `spec`, downloaded and kept, in the order of the list.

    A line that is no URL, and a URL that brings nothing, is a candidate whose `read` says why.

    Raises
    ------
    CurationError
        When the list cannot be read, has no column of URLs, or downloads cannot be stored.
    """
    if _is_url(spec):
        if why := fault(spec):
            raise CurationError(f"this address cannot be downloaded: {why}")
        host = urlsplit(spec).hostname or "the web"
        yield from _candidates(iter([Row(1, spec)]), host, context)
        return
    path = Path(spec).expanduser().absolute()
    yield from _candidates(parse(path), str(path), context)


def parse(path: Path) -> Iterator[Row]:
    """Yield the rows of the list at `path`, whether their URLs are any good or not.

    Raises
    ------
    CurationError
        When the file is not there, of another kind, has no column of URLs, or is damaged.
    """
    suffix = path.suffix.lower()
    if suffix not in _TEXTS and suffix not in _RECORDS:
        known = ", ".join((*_TEXTS, *_RECORDS))
        raise CurationError(f"{path.name} is no list of URLs; known are {known}")
    try:
        yield from _texts(path) if suffix in _TEXTS else _rows(path, _RECORDS[suffix](path))
    except OSError as error:
        raise CurationError(f"{path} cannot be read: {error.strerror or error}") from error


def _is_url(spec: str) -> bool:
    return files.web_address(spec) is not None


# -- from rows to candidates -----------------------------------------------------------------------


def _candidates(rows: Iterator[Row], root: str, context: Context) -> Iterator[Candidate]:
    ahead: deque[tuple[str, Row]] = deque()  # handed to the downloader and not yet come back

    def places() -> Iterator[str]:
        for row in rows:
            # a line that is no URL passes through under its place, and so keeps its turn
            place = f"{root}:{row.line}" if _fault(row) else files.web_address(row.url) or row.url
            ahead.append((place, row))
            yield place

    failed: Counter[str] = Counter()
    total = 0
    for got in download(places(), context.keep, context.limits, context.progress):
        place, row = ahead.popleft()
        while place != got.url:  # met before, so it did not come back
            place, row = ahead.popleft()
        error = _fault(row) or got.error
        total += 1
        if error is not None:
            failed[reason_group(error)] += 1
        yield _candidate(row, got, error, root)
    if failed:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in failed.most_common())
        context.note(f"{failed.total():,} of {total:,} URLs of {root} brought nothing: {reasons}")


def _candidate(row: Row, got: Downloaded, error: str | None, root: str) -> Candidate:
    url = None if _fault(row) else got.url
    fields = dict(row.fields)
    if got.path is None:
        read: Callable[[], bytes] = partial(_refuse, error or "not downloaded")
    else:
        read = partial(files.read, str(got.path))
        fields.update(_differing(fields, got.sha256 or ""))
    return Candidate(got.url, got.size, got.mtime_ns, root, Brought(read, url, fields=fields))


def _refuse(reason: str) -> NoReturn:
    raise UnreadableImage(reason)


def _fault(row: Row) -> str | None:
    why = "not a URL" if "\ufffd" in row.url else fault(row.url)
    if why == "not a URL":
        return f"not a URL (line {row.line}: {_shown(row.url)})"
    return why and f"{why} (line {row.line})"  # and not the password


def _shown(text: str) -> str:
    short = text if len(text) <= 60 else f"{text[:60]}..."
    return ascii(short).replace("(", "[").replace(")", "]")  # brackets end a reason


def _differing(fields: Mapping[str, Any], sha256: str) -> dict[str, str]:
    for name in HASHES:
        given = str(fields.get(name, "")).strip().lower()
        if re.fullmatch("[0-9a-f]{64}", given) and given != sha256:
            return {f"{name}_note": "the download differs from what the list says"}
    return {}


# -- reading lists ---------------------------------------------------------------------------------


def _open(path: Path) -> IO[str]:
    if not path.is_file():
        raise CurationError(f"no such file: {path}; check the path")
    with open(path, "rb") as file:
        head = file.read(2)
    encoding = "utf-16" if head in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return open(path, encoding=encoding, errors="replace", newline="")


def _lines(file: IO[str]) -> Iterator[str]:
    return iter(partial(file.readline, _LINE), "")


def _texts(path: Path, most: int | None = None) -> Iterator[Row]:
    with _open(path) as file:
        for number, line in enumerate(islice(_lines(file), most), start=1):
            text = line.strip()
            if text and not text.startswith("#"):
                yield Row(number, text)


def _rows(path: Path, records: Iterator[Record]) -> Iterator[Row]:
    column: str | None = None
    for number, values in records:
        column = column or _column(values)
        if column is None:
            names = ", ".join(map(str, values)) or "none"
            wanted = ", ".join((*SURE, *MAYBE))
            raise CurationError(
                f"{path.name} has the columns {names[:200]}; one of them must hold URLs: {wanted}"
            )
        url = values.get(column)
        fields = {
            field_name(_clean(name)): value
            for name, raw in values.items()
            if name not in (column, "") and (value := _value(raw)) is not None
        }
        yield Row(number, str("" if url is None else url).strip(), fields)


def _column(values: dict[str, Any]) -> str | None:
    lower = {name.strip().lower(): name for name in reversed(values)}
    for name in SURE:
        if name in lower:
            return lower[name]
    for name in MAYBE:
        if name in lower and fault(str(values[lower[name]]).strip()) is None:
            return lower[name]
    return None


def _other_kind(values: Mapping[str, Any]) -> bool:
    lower = {name.strip().lower() for name in values}
    return any(names <= lower for names in _OTHERS)


def _csv(path: Path, delimiter: str) -> Iterator[Record]:
    with _open(path) as file:
        start = file.readline(_LINE)
        file.seek(0)
        if delimiter == "," and "," not in start and ";" in start:
            delimiter = ";"  # as Excel writes it where the comma is for decimals
        reader = csv.reader(_lines(file), delimiter=delimiter)
        try:
            names = next(reader, [])
            for cells in reader:
                if cells:
                    yield reader.line_num, dict(zip(names, map(_typed, cells), strict=False))
        except csv.Error as error:
            where = f"{path}, line {reader.line_num}"
            raise CurationError(f"{where} is damaged ({error}); is a quote not closed?") from error


def _typed(cell: str) -> int | float | str | None:
    if _WHOLE.fullmatch(cell):
        return int(cell)
    return float(cell) if _DECIMAL.fullmatch(cell) else cell or None


def _json_lines(path: Path) -> Iterator[Record]:
    known: dict[str, Any] = {}
    with _open(path) as file:
        for number, line in enumerate(_lines(file), start=1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except (ValueError, RecursionError):
                values = None
            if not isinstance(values, dict):
                if not known:
                    raise CurationError(f"{path}, line {number}, is not a JSON object")
                values = dict.fromkeys(known, None) | {_column(known) or "": line.strip()}
            known = known or values
            yield number, values


def _parquet(path: Path) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet

    if not path.is_file():
        raise CurationError(f"no such file: {path}; check the path")
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            wanted = [f.name for f in schema if not pa.types.is_binary(f.type)]
            number = 0
            for batch in file.iter_batches(batch_size=1024, columns=wanted):
                for values in batch.to_pylist():
                    number += 1
                    yield number, values
    except (pa.ArrowException, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CurationError(f"{path} cannot be read as a table: {reason}") from error


_TEXTS = (".txt", ".urls")
_RECORDS: Mapping[str, Callable[[Path], Iterator[Record]]] = {
    ".csv": partial(_csv, delimiter=","),
    ".tsv": partial(_csv, delimiter="\t"),
    ".parquet": _parquet,
    ".jsonl": _json_lines,
}


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()  # half characters, from JSON


def _value(value: Any) -> Any:
    """Return what a table of fields can hold of `value`; None where that is nothing."""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, bytes):
        return None
    return _text(value)


def _text(value: Any) -> str | None:
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, dict | list):
        return _clean(str(value))
    try:
        return _clean(json.dumps(value, ensure_ascii=False, default=str))
    except (RecursionError, ValueError):
        return None
