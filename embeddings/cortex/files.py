"""Files of Cortex records, read piece by piece: pages, lists, single records, one record a line."""

import codecs
import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from embeddings.cortex.record import CortexRecord, from_cortex, shortened
from embeddings.errors import CurationError

LINE_BYTES = 16 << 20  # the longest line that is read as one record
DOCUMENT_BYTES = 32 << 20  # the largest file that is read whole: about 250 MB of Python objects
PIECE_BYTES = 1 << 20
OPENING_CHARACTERS = 1 << 16
_OPENING = re.compile(r'\s*(\{\s*"output"\s*:\s*)?\[')
_BETWEEN = re.compile(r"\s*,?\s*")
_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class Broken:
    """A record that cannot be used: where it stands in its file, and why."""

    where: str
    reason: str


class _NotJson(Exception):
    """Text that is no JSON, or JSON that says one thing twice; the message completes "it is"."""


def loads(text: str) -> CortexRecord:
    """Return the record that a JSON text holds; CurationError says what is wrong with it."""
    try:
        return from_cortex(_parse(text))
    except _NotJson as error:
        raise CurationError(f"a Cortex record was expected, but it is {error}") from error


def read(path: Path) -> Iterator[CortexRecord | Broken]:
    """Yield the records of a file: a page, a list, one record, or one record a line.

    Lines are read one by one, whatever the file's size. A record that cannot be used is yielded as
    `Broken` and the rest goes on.

    Raises
    ------
    CurationError
        When the file cannot be opened, or as a whole is no JSON or nothing of Cortex's.
    """
    if path.exists() and not path.is_file():  # a pipe would wait for a writer for ever
        raise CurationError(f"{path} is not a file; give a file of Cortex records")
    try:
        with path.open("rb") as file:
            if _by_line(file, path.suffix.lower()):
                yield from _read_lines(file)
            else:
                yield from _read_document(file, path)
    except OSError as error:
        why = error.strerror or error
        raise CurationError(f"{path} cannot be read: {why}; check the path") from error


def _by_line(file: BinaryIO, suffix: str) -> bool:
    """Say whether there is one record a line; leaves the file at its beginning."""
    first = b"\n"
    while first and not _strip(first):
        first = file.readline(LINE_BYTES)
    more = file.read(1 << 16)
    while more and not more.strip():
        more = file.read(1 << 16)
    file.seek(0)
    if suffix in _LINES:
        return _strip(first) != b"{" and not _strip(first).startswith(b"[")
    if not more or not first.endswith(b"\n") or not _strip(first).startswith(b"{"):
        return False
    try:
        _parse(first)
    except _NotJson:  # it goes on on the next line
        return False
    return True


def _strip(line: bytes) -> bytes:
    return line.removeprefix(b"\xef\xbb\xbf").strip()


def _read_lines(file: BinaryIO) -> Iterator[CortexRecord | Broken]:
    number = 0
    while line := file.readline(LINE_BYTES + 1):
        number += 1
        where = f"line {number:,}"
        if len(line) > LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(LINE_BYTES)
            yield Broken(where, f"it is longer than {LINE_BYTES:,} bytes")
        elif _strip(line):
            yield from _read_line(line, where)


def _read_line(line: bytes, where: str) -> Iterator[CortexRecord | Broken]:
    try:
        value = _parse(line)
    except _NotJson as error:
        yield Broken(where, f"it is {error}")
        return
    page = _page(value)
    if page is None:
        yield _record(value, where)
    else:
        yield from _records(page, lambda number: f"{where}, record {number:,}")


def _read_document(file: BinaryIO, path: Path) -> Iterator[CortexRecord | Broken]:
    try:
        if os.fstat(file.fileno()).st_size > DOCUMENT_BYTES:
            yield from _records(_Pieces(file).values(), lambda number: f"record {number:,}")
            return
        value = _parse(file.read())
    except _NotJson as error:
        raise CurationError(f"{path}: Cortex records were expected, but it is {error}") from error
    page = _page(value)
    if page is not None:
        yield from _records(page, lambda number: f"record {number:,}")
    elif isinstance(value, dict) and "_id" in value:
        yield _record(value, "record 1")
    else:
        raise CurationError(
            f'{path}: expected {{"output": [records], "length": n}}, a list of records or one '
            f"record, got {shortened(value)}"
        )


def _page(value: Any) -> list[Any] | None:
    if isinstance(value, dict) and "_id" not in value:
        value = value.get("output")
    return value if isinstance(value, list) else None


def _records(values: Iterable[Any], where: Callable[[int], str]) -> Iterator[CortexRecord | Broken]:
    for number, value in enumerate(values, start=1):
        yield _record(value, where(number))


def _record(value: Any, where: str) -> CortexRecord | Broken:
    try:
        return from_cortex(value)
    except CurationError as error:
        return Broken(where, str(error))


class _Pieces:
    """A page or list too large to be held, read value by value."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._at = "", 0

    def values(self) -> Iterator[Any]:
        """Yield what the outer list holds."""
        opening = None
        while self._more():
            opening = _OPENING.match(self._text)
            if opening is not None or len(self._text) > OPENING_CHARACTERS:
                break
        if opening is None:
            raise _NotJson("too large to be read whole; save it with one record a line (.jsonl)")
        self._at = opening.end()
        while not self._ended():
            yield self._value()

    def _ended(self) -> bool:
        """Go to the next value; say whether the list ends before it."""
        while True:
            found = _BETWEEN.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text):
                return self._text[self._at] == "]"
            if not self._more():
                raise _NotJson("no JSON (its end is missing)")

    def _value(self) -> Any:
        while True:
            try:
                with _reasons():
                    value, end = _DECODER.raw_decode(self._text, self._at)
            except _NotJson:  # the rest of it may not have been read yet
                if len(self._text) - self._at > LINE_BYTES or not self._more():
                    raise
                continue
            self._at = end
            return value

    def _more(self) -> bool:
        piece = self._file.read(PIECE_BYTES)
        with _reasons():
            self._text = self._text[self._at :] + self._decode.decode(piece, final=not piece)
        self._at = 0
        return bool(piece)


def _parse(data: str | bytes) -> Any:
    with _reasons():
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        return _DECODER.decode(text.removeprefix("\ufeff"))


@contextmanager
def _reasons() -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise _NotJson("not UTF-8; save it as UTF-8") from error
    except RecursionError as error:
        raise _NotJson("nested too deeply") from error
    except json.JSONDecodeError as error:
        raise _NotJson(f"no JSON ({error.msg}, line {error.lineno:,})") from error
    except ValueError as error:  # a whole number of more than 4,300 digits
        raise _NotJson("no JSON that can be read: a number has thousands of digits") from error


def _no_constant(word: str) -> NoReturn:
    raise _NotJson(f"no JSON: {word} is not a number")


def _float(text: str) -> float:
    if math.isinf(number := float(text)):
        raise _NotJson(f"no JSON that can be read: {text[:20]} is too large a number")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise _NotJson(f"ambiguous: an object has the key {shortened(twice)} twice")
    return made


_DECODER = json.JSONDecoder(
    parse_constant=_no_constant, parse_float=_float, object_pairs_hook=_object
)
