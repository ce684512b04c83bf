"""Queries: MongoDB's meaning, and an unknown operator is never "match all"."""

from pathlib import Path
from typing import Any

import pytest

from curation.query import Selector, compile_query, parse, parse_selector
from embeddings.errors import CurationError

CAT = {"classname": "cat", "conf": 0.98}
RECORDS: list[dict[str, Any]] = [
    {"n": 0, "width": 1200, "object_analysis": [[CAT]], "tags": ["a", "b"], "ok": True},
    {"n": 1, "width": 80, "object_analysis": [[CAT, {"classname": "dog"}]], "tags": []},
    {"n": 2, "width": 1200, "object_analysis": [[{"classname": "dog"}]], "tags": ["b"], "ok": None},
    {"n": 3, "width": None, "object_analysis": [], "deep": {"er": {"x": 5}}, "field.split": "test"},
]
ARTICLE = {
    "object_analysis": {"$elemMatch": {"$elemMatch": {"classname": "cat"}}},
    "width": {"$gt": 100},
}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [0, 1, 2, 3]),
        (ARTICLE, [0]),
        ({"width": 1200}, [0, 2]),
        ({"width": {"$ne": 1200}}, [1, 3]),
        ({"width": {"$gte": 80, "$lt": 1200}}, [1]),
        ({"width": {"$lte": 80}}, [1]),
        ({"width": None}, [3]),
        ({"ok": None}, [1, 2, 3]),
        ({"ok": {"$exists": True}}, [0, 2]),
        ({"ok": {"$exists": False}}, [1, 3]),
        ({"ok": 1}, []),
        ({"tags": "b"}, [0, 2]),
        ({"tags": {"$in": ["a", "z"]}}, [0]),
        ({"tags": {"$nin": ["b"]}}, [1, 3]),
        ({"tags": {"$size": 0}}, [1]),
        ({"tags": ["a", "b"]}, [0]),
        ({"tags": {"$elemMatch": {"$gt": "a"}}}, [0, 2]),
        ({"deep.er.x": 5}, [3]),
        ({"field.split": "test"}, [3]),
        ({"object_analysis.0.0.classname": "cat"}, [0, 1]),
        ({"width": {"$not": {"$gt": 100}}}, [1, 3]),
        ({"$or": [{"n": 1}, {"width": None}]}, [1, 3]),
        ({"$and": [{"width": 1200}, {"n": {"$gt": 0}}]}, [2]),
        ({"$nor": [{"n": 1}, {"n": 2}]}, [0, 3]),
        ({"width": {"$gt": "100"}}, []),
    ],
)
def test_a_query_means_what_mongodb_says(query: dict[str, Any], expected: list[int]) -> None:
    matches = compile_query(query)
    assert [record["n"] for record in RECORDS if matches(record)] == expected


@pytest.mark.parametrize(
    "query",
    [
        {"width": {"$regex": "1"}},
        {"$where": "1"},
        {"width": {"$not": {"$near": 1}}},
        {"width": {"$gt": 1, "x": 2}},
        {"$or": {}},
        {"$or": []},
        {"tags": {"$in": "b"}},
        {"tags": {"$size": -1}},
        {"width": {"$gt": [1]}},
        {"width": {"$not": 5}},
        {"a": {"$elemMatch": {"$elemMatch": {"$bad": 1}}}},
    ],
)
def test_what_is_no_query_is_an_error_before_any_record_is_looked_at(query: dict[str, Any]) -> None:
    with pytest.raises(CurationError):
        compile_query(query)


@pytest.mark.parametrize("text", ["", "[1]", "{", '"x"', '{"a": {"$foo": 1}}'])
def test_text_that_is_no_query_is_refused(text: str) -> None:
    with pytest.raises(CurationError):
        parse(text)


def test_selectors_are_read(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("aa\n\n bb \n")
    assert parse_selector("cluster:-1") == Selector("cluster", -1)
    assert parse_selector("label:t-shirt: red") == Selector("label", "t-shirt: red")
    assert parse_selector("id:aa, bb") == Selector("id", ["aa", "bb"])
    assert parse_selector(f"@{tmp_path / 'ids.txt'}") == Selector("id", ["aa", "bb"])
    assert parse_selector('{"n": 1}') == Selector("query", {"n": 1})
    assert parse_selector("all") == Selector("all", None)


@pytest.mark.parametrize("text", ["", "cluster:x", "cluster:", "shoes", "label:", "@/no/such/file"])
def test_what_is_no_selector_is_refused_with_the_forms_there_are(text: str) -> None:
    with pytest.raises(CurationError, match="selects nothing|cannot read ids"):
        parse_selector(text)
