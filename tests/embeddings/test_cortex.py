"""Cortex records: read as published, written as read, made for any image, and never crashed on."""

import json
import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embeddings import cortex
from embeddings.cortex import Broken, CortexRecord, Detection, from_cortex, to_cortex
from embeddings.errors import CurationError
from embeddings.sources import cortex as source

RealData = Callable[[str], Path]
GOOD: dict[str, Any] = {
    "_id": "PT::63b54db5e6ca4c53498bb4e5",
    "url": "https://example.org/a.png",
    "datetime": "2023-01-04 09:58:14.082248",
    "object_analysis_processed": "true",
    "pose_estimation_processed": "false",
    "face_analysis_processed": "false",
    "type": "image",
    "height": 3,
    "width": 4,
    "hash": "ab" * 32,
    "object_analysis": [[{"classname": "cat", "conf": 0.5, "x1": 1, "y1": 0.5, "x2": 2, "y2": 3}]],
    "label_quality_estimation": None,
}


def written(value: Any) -> str:
    return json.dumps(to_cortex(from_cortex(value)))


# ---- the published samples


def test_the_published_samples_come_back_to_the_letter(real_data: RealData) -> None:
    path = real_data("cortex") / "samples.json"
    samples = json.loads(path.read_text())["output"]
    assert [written(sample) for sample in samples] == [json.dumps(sample) for sample in samples]
    records = list(cortex.read(path))
    assert [json.dumps(to_cortex(r)) for r in records if isinstance(r, CortexRecord)] == [
        json.dumps(sample) for sample in samples
    ]


def test_what_the_published_samples_say_is_understood(real_data: RealData) -> None:
    scraped = list(cortex.read(real_data("cortex") / "samples.json"))[1]
    assert isinstance(scraped, CortexRecord)
    assert (scraped.source, scraped.width, scraped.height) == ("commoncrawl", 325, 234)
    assert scraped.first_seen == "2022-12-09T13:35:41.733010+00:00"
    assert scraped.stages == {
        "object_analysis": True, "pose_estimation": False, "face_analysis": False,
    }  # fmt: skip
    assert scraped.analyses[0][1] == Detection("dog", 0.8493766188621521, (68, 18, 255, 170))
    assert scraped.label_quality == 3.492028982676312e-18


def test_the_published_file_is_claimed_as_cortex(real_data: RealData) -> None:
    assert source.claims(str(real_data("cortex") / "samples.json"))


# ---- one record


def test_words_and_booleans_are_flags_and_words_are_written() -> None:
    record = from_cortex(
        GOOD | {"object_analysis_processed": True, "pose_estimation_processed": "FALSE"}
    )
    assert record.stages["object_analysis"] is True
    assert record.stages["pose_estimation"] is False
    assert to_cortex(record)["object_analysis_processed"] == "true"


def test_a_flat_list_of_detections_is_one_analysis() -> None:
    flat = GOOD["object_analysis"][0]
    assert from_cortex(GOOD | {"object_analysis": flat}) == from_cortex(GOOD)
    assert written(GOOD | {"object_analysis": flat}) == json.dumps(GOOD)


@pytest.mark.parametrize("analyses", [[], [[]], [[], []], GOOD["object_analysis"] * 3])
def test_every_analysis_is_kept_even_one_that_found_nothing(analyses: list[Any]) -> None:
    assert to_cortex(from_cortex(GOOD | {"object_analysis": analyses}))["object_analysis"] == (
        analyses
    )


def test_unknown_keys_of_records_and_detections_are_kept_after_the_known_ones() -> None:
    detection = GOOD["object_analysis"][0][0] | {"track": [1, {"a": None}]}
    value = {"zebra": 1.5, **GOOD, "object_analysis": [[detection]]}
    written_again = to_cortex(from_cortex(value))
    assert written_again == value
    assert list(written_again) == [*GOOD, "zebra"]


def test_a_record_without_a_source_gets_none_and_one_with_keeps_its_place() -> None:
    assert "source" not in to_cortex(from_cortex(GOOD))
    keys = list(to_cortex(from_cortex(GOOD | {"source": "commoncrawl"})))
    assert keys.index("source") == keys.index("type") - 1


@pytest.mark.parametrize(
    ("given_time", "moment"),
    [
        ("2023-01-04 09:58:14", "2023-01-04T09:58:14.000000+00:00"),
        ("2023-01-04T09:58:14.5Z", "2023-01-04T09:58:14.500000+00:00"),
        ("2023-01-04 09:58:14.082248+02:00", "2023-01-04T07:58:14.082248+00:00"),
    ],
)
def test_times_without_a_zone_are_utc_and_others_are_brought_there(
    given_time: str, moment: str
) -> None:
    assert from_cortex(GOOD | {"datetime": given_time}).first_seen == moment


@pytest.mark.parametrize("key", ["_id", "url", "datetime", "height", "width", "hash"])
def test_a_missing_key_is_named(key: str) -> None:
    value = {name: part for name, part in GOOD.items() if name != key}
    with pytest.raises(CurationError, match=f"^{key}: expected in every record"):
        from_cortex(value)


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("_id", "63b54db5e6ca4c53498bb4e5"), ("_id", 7), ("url", ""), ("url", "a\nb"),
        ("url", "\ud800"), ("datetime", "yesterday"), ("datetime", "2023-02-31 00:00:00"),
        ("datetime", "0001-01-01 00:00:00+05:00"), ("datetime", 1672826294), ("height", 0),
        ("width", True), ("width", 4.0), ("width", 2**31), ("hash", "ab" * 31), ("hash", None),
        ("object_analysis_processed", "yes"), ("face_analysis_processed", 1), ("type", "video"),
        ("source", 3), ("object_analysis", "cat"), ("object_analysis", [[1]]),
        ("object_analysis", [{"classname": "cat"}, []]), ("label_quality_estimation", "0.5"),
        ("label_quality_estimation", math.nan), ("label_quality_estimation", True),
        ("label_quality_estimation", 10**400),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_its_key_in_one_short_line(key: str, wrong: Any) -> None:
    with pytest.raises(CurationError) as refused:
        from_cortex(GOOD | {key: wrong})
    message = str(refused.value)
    assert message.startswith(key) and "expected" in message and ", got " in message
    assert len(message) < 200 and "\n" not in message


@pytest.mark.parametrize("wrong", [{"x1": "1"}, {"conf": math.inf}, {"classname": None}])
def test_a_detection_that_is_wrong_is_named(wrong: dict[str, Any]) -> None:
    detection = GOOD["object_analysis"][0][0] | wrong
    with pytest.raises(CurationError, match=f"^object_analysis, {next(iter(wrong))}: expected"):
        from_cortex(GOOD | {"object_analysis": [[detection]]})


def test_boxes_that_make_no_sense_are_kept_for_the_rules_to_report() -> None:
    wild = {"classname": "cat", "conf": 7, "x1": 90, "y1": -5, "x2": 1, "y2": 2.5}
    assert to_cortex(from_cortex(GOOD | {"object_analysis": [[wild]]}))["object_analysis"] == [
        [wild]
    ]


# ---- any record and any bytes

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
words = text.filter(bool)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
anything = json_values | st.floats() | st.text(max_size=5) | st.dictionaries(text, st.floats())


def extras(known: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    keys = text.filter(lambda key: key not in known)
    return st.dictionaries(keys, json_values, max_size=2)


detections = st.builds(
    Detection,
    words,
    numbers,
    st.tuples(*[numbers] * 4),
    extras(list(GOOD["object_analysis"][0][0])),
)
records = st.builds(
    CortexRecord,
    record_id=st.from_regex(r"PT::[0-9a-f]{24}", fullmatch=True),
    url=words.filter(lambda url: all(ord(c) > 31 and ord(c) != 127 for c in url)),
    first_seen=st.datetimes().map(lambda t: f"{t.isoformat(timespec='microseconds')}+00:00"),
    stages=st.fixed_dictionaries(dict.fromkeys(cortex.STAGES, st.booleans())),
    source=st.none() | words,
    width=st.integers(1, 2**31 - 1),
    height=st.integers(1, 2**31 - 1),
    sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    analyses=st.lists(st.lists(detections, max_size=2).map(tuple), max_size=2).map(tuple),
    label_quality=st.none() | numbers,
    extra=extras([*GOOD, "source"]),
)


@given(records)
def test_any_record_survives_being_written_and_read(record: CortexRecord) -> None:
    assert from_cortex(to_cortex(record)) == record
    assert cortex.loads(cortex.dumps(record)) == record
    assert cortex.dumps(cortex.loads(cortex.dumps(record))) == cortex.dumps(record)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from([*GOOD, "source", "new"]), anything), st.booleans())
def test_any_values_make_a_record_or_a_reason(values: dict[str, Any], whole: bool) -> None:
    try:
        record = from_cortex(GOOD | values if whole else values)
    except CurationError as error:
        assert "\n" not in str(error)
    else:
        cortex.dumps(record).encode()
        assert from_cortex(to_cortex(record)) == record


@given(anything)
def test_any_value_makes_a_record_or_a_reason(value: Any) -> None:
    with pytest.raises(CurationError):
        from_cortex(value)


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    at = st.integers(0, len(data))
    return st.builds(lambda i, j, new: data[:i] + new + data[j:], at, at, st.binary(max_size=6))


page = json.dumps({"output": [GOOD, GOOD], "length": 2}).encode()
lines = b"\n".join([json.dumps(GOOD).encode()] * 3)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary() | damaged(page) | damaged(lines) | json_values.map(json.dumps).map(str.encode),
    suffix=st.sampled_from([".json", ".jsonl"]),
)  # fmt: skip
def test_any_bytes_are_records_and_reasons(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"any{suffix}"
    path.write_bytes(data)
    source.claims(str(path))
    try:
        found = list(cortex.read(path))
    except CurationError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert all(isinstance(record, CortexRecord | Broken) for record in found)


# ---- files


@pytest.fixture
def given_file(tmp_path: Path) -> Callable[..., list[CortexRecord | Broken]]:
    def read(data: bytes | str, name: str = "records.json") -> list[CortexRecord | Broken]:
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return list(cortex.read(path))

    return read


@pytest.mark.parametrize(
    ("value", "count"),
    [({"output": [GOOD, GOOD], "length": 1454}, 2), ([GOOD], 1), (GOOD, 1), ([], 0)],
)
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"\r\n \n"])
@pytest.mark.parametrize("name", ["records.json", "records.jsonl"])
def test_pages_lists_and_single_records_are_read_however_they_are_laid_out(
    given_file: Any, value: Any, count: int, indent: int | None, start: bytes, name: str
) -> None:
    found = given_file(start + json.dumps(value, indent=indent).encode(), name)
    assert found == [from_cortex(GOOD)] * count


@pytest.mark.parametrize("name", ["records.json", "records.jsonl"])
def test_one_broken_line_costs_one_record(given_file: Any, name: str) -> None:
    good = json.dumps(GOOD)
    found = given_file(
        "\n".join([good, '{"_id": 3', "", good, "[]", '{"output": [7]}', good]), name
    )
    assert [f for f in found if isinstance(f, CortexRecord)] == [from_cortex(GOOD)] * 3
    broken = [f for f in found if isinstance(f, Broken)]
    assert [b.where for b in broken] == ["line 2", "line 6, record 1"]


def test_one_broken_record_of_a_page_costs_one_record(given_file: Any) -> None:
    first, second, third = given_file(json.dumps({"output": [GOOD, GOOD | {"width": "4"}, GOOD]}))
    assert second == Broken("record 2", "width: expected a whole number of pixels above 0, got '4'")
    assert first == third == from_cortex(GOOD)


HOSTILE: dict[str, str | bytes] = {
    "NaN is not a number": '{"label_quality_estimation": NaN}',
    "-Infinity is not a number": '{"x": [-Infinity]}',
    "too large a number": '{"x": 1e999}',
    "has the key '_id' twice": '{"_id": 1, "_id": 2}',
    "nested too deeply": '{"x": ' + "[" * 200_000 + "]" * 200_000 + "}",
    "not UTF-8": b'{"url": "\xff\xfe"}',
    "thousands of digits": '{"x": ' + "9" * 5000 + "}",
    "no JSON": "{'_id': 1}",
}


@pytest.mark.parametrize("reason", HOSTILE)
def test_what_is_no_json_or_twofold_is_one_broken_line_or_refuses_the_document(
    given_file: Any, reason: str
) -> None:
    bad, good = HOSTILE[reason], json.dumps(GOOD).encode()
    data = bad.encode() if isinstance(bad, str) else bad
    first, broken, last = given_file(good + b"\n" + data + b"\n" + good, "records.jsonl")
    assert first == last == from_cortex(GOOD)
    assert broken.where == "line 2" and reason in broken.reason
    with pytest.raises(CurationError, match=r"records\.json: Cortex records were expected"):
        given_file(data)


@pytest.mark.parametrize("depth", [65, 900])
def test_a_key_nested_beyond_reason_is_one_broken_record(given_file: Any, depth: int) -> None:
    text = json.dumps(GOOD)[:-1] + ', "x": ' + "[" * depth + "]" * depth + "}"
    (broken,) = given_file(text)
    assert "at most 64 lists in lists" in broken.reason


def test_half_a_character_is_refused_wherever_it_stands(given_file: Any) -> None:
    values = [GOOD | {"url": "\ud800"}, GOOD | {"new": ["\ud800"]}, GOOD | {"source": "\udc00"}]
    assert all(isinstance(record, Broken) for record in given_file(json.dumps(values)))


def test_an_endless_line_is_passed_over(given_file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embeddings.cortex.files.LINE_BYTES", 1000)
    good = json.dumps(GOOD)
    first, broken, last = given_file(f"{good}\n{'x' * 5000}\n{good}", "records.jsonl")
    assert first == last == from_cortex(GOOD)
    assert broken == Broken("line 2", "it is longer than 1,000 bytes")


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every document be too large to be read whole, and read it in pieces of seven bytes."""
    monkeypatch.setattr("embeddings.cortex.files.DOCUMENT_BYTES", 0)
    monkeypatch.setattr("embeddings.cortex.files.PIECE_BYTES", 7)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_a_large_document_is_read_piece_by_piece(
    given_file: Any, indent: int | None, start: bytes
) -> None:
    value = GOOD | {"source": "Quelle ü 写真"}
    for document in ([value, 7, value], {"output": [value, 7, value], "length": 3}):
        text = json.dumps(document, indent=indent, ensure_ascii=False)
        first, broken, last = given_file(start + text.encode())
        assert first == last == from_cortex(value)
        assert broken.where == "record 2"
    assert given_file("[ ]") == []


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    ("text", "reason"),
    [('{"length": 2, "output": []}', "one record a line"), (b"[\xff\xff]", "not UTF-8"),
     ("[1, 2", "no JSON"), ("[1, {]", "no JSON"), ("[1, ", "its end is missing")],
)  # fmt: skip
def test_a_large_document_that_is_damaged_is_refused(
    given_file: Any, text: str | bytes, reason: str
) -> None:
    with pytest.raises(CurationError, match=reason):
        given_file(text)


def test_a_large_document_is_never_held_whole(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    text = json.dumps(GOOD | {"x": "x" * 100_000})
    path.write_text('{"output": [\n' + ",\n".join([text] * 400) + '], "length": 400}')
    tracemalloc.start()
    count = sum(isinstance(record, CortexRecord) for record in cortex.read(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 400
    assert peak < 8 << 20 < path.stat().st_size, "a few pieces"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CurationError, match="No such file"):
        list(cortex.read(tmp_path / "gone.json"))
    with pytest.raises(CurationError, match="is not a file"):
        list(cortex.read(tmp_path))


def test_lines_are_read_without_holding_the_file(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes((json.dumps(GOOD).encode() + b"\n") * 4_000)
    tracemalloc.start()
    count = sum(isinstance(record, CortexRecord) for record in cortex.read(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 4_000
    assert peak < 1_000_000 < path.stat().st_size
