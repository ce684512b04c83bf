"""Mongo-style filters over records, and the selectors that the command line takes."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embeddings.errors import CurationError

Record = Mapping[str, Any]
Test = Callable[[Any], bool]
_MISSING = object()


@dataclass(frozen=True)
class Selector:
    """What a person typed to name items: `kind` says how to read `value`.

    ``cluster:7``, ``label:shoes``, ``flag:excluded``, ``id:<item id>[,...]``, ``@file`` with one
    item id a line, ``all``, or a JSON query such as ``{"width": {"$gt": 100}}``.
    """

    kind: str
    value: Any


def parse_selector(text: str) -> Selector:
    """Return the selector that `text` writes.

    Raises
    ------
    CurationError
        When it is none; the message shows the forms there are.
    """
    text = text.strip()
    if text == "all":
        return Selector("all", None)
    if text.startswith("{"):
        return Selector("query", parse(text))
    if text.startswith("@"):
        return Selector("id", _ids_in_file(Path(text[1:])))
    kind, colon, value = text.partition(":")
    if colon and kind == "id":
        return Selector("id", [part.strip() for part in value.split(",") if part.strip()])
    if colon and kind == "cluster" and re.fullmatch(r"-?\d{1,9}", value):
        return Selector("cluster", int(value))
    if colon and kind in ("label", "flag") and value:
        return Selector(kind, value)
    raise CurationError(
        f"{text[:80]!r} selects nothing; write cluster:7, label:NAME, flag:excluded, id:ID, @FILE "
        'with one id a line, all, or a JSON query such as {"width": {"$gt": 100}}'
    )


def _ids_in_file(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CurationError(f"cannot read ids from {path}: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def parse(text: str) -> dict[str, Any]:
    """Return the query that the JSON object `text` holds; compiled once so that errors come now."""
    try:
        query = json.loads(text)
        if not isinstance(query, dict):
            raise CurationError('a query is a JSON object such as {"width": {"$gt": 100}}')
        compile_query(query)
    except ValueError as error:
        raise CurationError(f"the query is not JSON: {error}") from error
    except RecursionError as error:
        raise CurationError("the query is nested too deeply; write a shorter one") from error
    return query


def compile_query(query: Mapping[str, Any]) -> Callable[[Record], bool]:
    """Return the test that a Mongo-style `query` writes.

    Operators: $gt $gte $lt $lte $eq $ne $in $nin $and $or $nor $not $exists $size $elemMatch, with
    dotted paths and MongoDB's reading of arrays (a condition holds when an element meets it).

    Raises
    ------
    CurationError
        For an operator that is not known: never "match all".
    """
    tests = [_clause(key, value) for key, value in query.items()]
    return lambda record: all(test(record) for test in tests)


def _clause(key: str, value: Any) -> Callable[[Record], bool]:
    if key in ("$and", "$or", "$nor"):
        return _combination(key, value)
    if key.startswith("$"):
        raise CurationError(f"unknown query operator {key!r}; known: {_known()}")
    test = _condition(value)
    return lambda record: test(_lookup(record, key))


def _combination(key: str, value: Any) -> Callable[[Record], bool]:
    if not isinstance(value, list) or not value or not all(isinstance(v, dict) for v in value):
        raise CurationError(f"{key} takes a list of queries")
    parts = [compile_query(part) for part in value]
    if key == "$and":
        return lambda record: all(part(record) for part in parts)
    if key == "$or":
        return lambda record: any(part(record) for part in parts)
    return lambda record: not any(part(record) for part in parts)


def _condition(value: Any) -> Test:
    if isinstance(value, dict) and any(name.startswith("$") for name in value):
        tests = [_operator(name, operand) for name, operand in value.items()]
        return lambda found: all(test(found) for test in tests)
    return _any_element(lambda found: _equal(found, value))


def _operator(name: str, operand: Any) -> Test:
    make = _OPERATORS.get(name)
    if make is None:
        raise CurationError(f"unknown query operator {name!r}; known: {_known()}")
    return make(operand)


def _equal(found: Any, value: Any) -> bool:
    if found is _MISSING:
        return value is None
    if isinstance(found, bool) != isinstance(value, bool):
        return False  # in MongoDB true is not 1
    return bool(found == value)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any], Test]:
    def make(operand: Any) -> Test:
        if not isinstance(operand, int | float | str) or isinstance(operand, bool):
            raise CurationError(f"only numbers and strings can be ordered, got {operand!r}")
        numeric = not isinstance(operand, str)

        def test(found: Any) -> bool:
            if isinstance(found, bool) or not isinstance(found, int | float | str):
                return False
            return (not isinstance(found, str)) == numeric and compare(found, operand)

        return _any_element(test)

    return make


def _any_element(test: Test) -> Test:
    return lambda found: test(found) or (isinstance(found, list) and any(map(test, found)))


def _in(operand: Any) -> Test:
    if not isinstance(operand, list):
        raise CurationError(f"$in and $nin take a list, got {operand!r}")
    return _any_element(lambda found: any(_equal(found, value) for value in operand))


def _exists(operand: Any) -> Test:
    return lambda found: (found is not _MISSING) == bool(operand)


def _size(operand: Any) -> Test:
    if not isinstance(operand, int) or isinstance(operand, bool) or operand < 0:
        raise CurationError(f"$size takes a whole number, got {operand!r}")
    return lambda found: isinstance(found, list) and len(found) == operand


def _element_match(operand: Any) -> Test:
    if not isinstance(operand, dict):
        raise CurationError(f"$elemMatch takes a query, got {operand!r}")
    if operand and all(name in _OPERATORS for name in operand):
        test = _condition(operand)
        return lambda found: isinstance(found, list) and any(map(test, found))
    matches = compile_query(operand)
    return lambda found: (
        isinstance(found, list)
        and any(isinstance(element, dict) and matches(element) for element in found)
    )


def _negated(make: Callable[[Any], Test]) -> Callable[[Any], Test]:
    def negate(operand: Any) -> Test:
        test = make(operand)
        return lambda found: not test(found)

    return negate


def _equals(operand: Any) -> Test:
    return _any_element(lambda found: _equal(found, operand))


def _not(operand: Any) -> Test:
    if not isinstance(operand, dict) or not any(name.startswith("$") for name in operand):
        raise CurationError('$not takes operators, such as {"$not": {"$gt": 100}}')
    return _condition(operand)


_OPERATORS: dict[str, Callable[[Any], Test]] = {
    "$eq": _equals,
    "$ne": _negated(_equals),
    "$gt": _ordered(lambda found, value: found > value),
    "$gte": _ordered(lambda found, value: found >= value),
    "$lt": _ordered(lambda found, value: found < value),
    "$lte": _ordered(lambda found, value: found <= value),
    "$in": _in,
    "$nin": _negated(_in),
    "$exists": _exists,
    "$size": _size,
    "$elemMatch": _element_match,
    "$not": _negated(_not),
}


def _known() -> str:
    return " ".join(sorted([*_OPERATORS, "$and", "$or", "$nor"]))


def _lookup(record: Any, path: str) -> Any:
    if isinstance(record, Mapping) and path in record:
        return record[path]
    head, dot, rest = path.partition(".")
    if isinstance(record, Mapping):
        if head not in record or not dot:
            return _MISSING
        return _lookup(record[head], rest)
    if isinstance(record, list):
        if head.isdigit():
            at = int(head)
            inner = record[at] if at < len(record) else _MISSING
            return _lookup(inner, rest) if dot else inner
        values = [_lookup(element, path) for element in record if isinstance(element, Mapping)]
        values = [value for value in values if value is not _MISSING]
        return values or _MISSING
    return _MISSING
