"""Archives as a source: which members are images, and what WebDataset's side files say of them."""

import json
import os
import random
import tracemalloc

import pytest

from embeddings.sources import archive

from .packers import Heard, jpeg, read, tar, zipped


@pytest.fixture
def heard(tmp_path):
    return Heard(tmp_path / "keep")


def found(path, heard):
    return list(archive.find(str(path), heard.context))


def test_an_archive_of_photographs_is_a_source(tmp_path, heard):
    content = [("b/1.jpg", jpeg(1)), ("readme.md", b"no"), ("noname", jpeg(2)), ("x.jpg", b"text")]
    path = tar(tmp_path / "a.tar", content)
    candidates = found(path, heard)
    assert [c.path for c in candidates] == [f"{path}/{n}" for n in ("b/1.jpg", "noname", "x.jpg")]
    assert [c.read() for c in candidates] == [jpeg(1), jpeg(2), b"text"]
    assert {(c.root, c.mtime_ns) for c in candidates} == {(str(path), path.stat().st_mtime_ns)}
    assert [c.size for c in candidates] == [len(jpeg(1)), len(jpeg(2)), 4]
    assert (heard.listed, heard.notes) == ([str(path)], [])


@pytest.mark.parametrize("order", [("jpg", "json", "txt", "cls"), ("cls", "json", "txt", "jpg")])
@pytest.mark.parametrize("write", [tar, zipped])
def test_webdatasets_side_files_become_fields_before_or_after_the_image(
    tmp_path, heard, order, write
):
    record = {
        "url": "https://example.org/a.jpg",
        "sha256": "ab" * 32,
        "license": "CC0",
        "score": 0.5,
        "a.b": 1,
        "nested": {"k": [1, "é"]},
        "none": None,
        "huge": 10**30,
        "half": "\ud800",
        "item_id": "mine",
        "ok": True,
        "nan": float("nan"),
    }
    group = {"jpg": jpeg(1), "json": json.dumps(record).encode(), "txt": b" Ein Hut\n"}
    group["cls"] = b"7"
    content = [(f"s/0{n}.{kind}", group[kind]) for n in range(2) for kind in order]
    first, second = found(write(tmp_path / "a.tar", content), heard)
    assert first.brought.url == second.brought.url == "https://example.org/a.jpg"
    assert first.brought.fields == {
        "caption": "Ein Hut",
        "cls": 7,
        "original_sha256": "ab" * 32,
        "license": "CC0",
        "score": 0.5,
        "a_b": 1,
        "nested": '{"k": [1, "é"]}',
        "huge": str(10**30),
        "half": "?",
        "item_id_": "mine",
        "ok": True,
    }
    assert second.brought.fields == first.brought.fields


def test_a_side_file_speaks_for_its_own_group_only(tmp_path, heard):
    content = [("1.jpg", jpeg(1)), ("1.txt", b"one"), ("2.jpg", jpeg(2)), ("d/3.left.jpg", jpeg(3))]
    content += [("d/3.right.jpg", jpeg(4)), ("d/3.txt", b"three"), ("3.jpg", jpeg(5))]
    candidates = found(tar(tmp_path / "a.tar", content), heard)
    captions = [c.brought.fields.get("caption") for c in candidates]
    assert captions == ["one", None, "three", "three", None]


@pytest.mark.parametrize("order", [("json", "txt"), ("txt", "json")])
def test_a_caption_of_its_own_counts_before_the_one_in_the_json(tmp_path, heard, order):
    said = {"json": b'{"caption": "in the JSON"}', "txt": b"its own"}
    content = [("a.jpg", jpeg(1)), *((f"a.{kind}", said[kind]) for kind in order)]
    (only,) = found(tar(tmp_path / "a.tar", content), heard)
    assert only.brought.fields == {"caption": "its own"}


def test_side_files_that_say_nothing_are_noted_and_the_image_is_taken(tmp_path, heard):
    bad = [b"[1]", b"{", b"\xff\xfe", b"[" * 100_000, b"9" * 5000]
    content = []
    for number, data in enumerate(bad):
        content += [(f"{number}.json", data), (f"{number}.jpg", jpeg(number))]
    content += [("e.txt", b""), ("e.json", b""), ("e.jpg", jpeg(9))]
    content += [("l.txt", b"x" * (archive.MOST_BYTES + 1)), ("l.jpg", jpeg(10))]
    path = tar(tmp_path / "a.tar", content)
    candidates = found(path, heard)
    assert len(candidates) == len(bad) + 2
    assert all(c.brought.fields == {} for c in candidates)
    assert heard.notes == [
        f"{path}: 1 side files passed over: longer than 4 MB",
        f"{path}: 5 side files passed over: not a JSON object",
    ]


def test_what_is_cut_off_is_one_candidate_and_the_archive_is_not_listed_to_its_end(tmp_path, heard):
    path = tar(tmp_path / "a.tar", [(f"{n}.jpg", jpeg(n)) for n in range(5)])
    os.truncate(path, 3000)
    *_, rest = found(path, heard)
    assert rest.path == f"{path}/the rest of the archive"
    assert (rest.size, rest.mtime_ns) == (3000, path.stat().st_mtime_ns)
    assert "ends early" in read(rest)
    assert heard.listed == []


def test_candidates_hold_no_bytes(tmp_path, heard):
    content = ((f"{n}.jpg", random.Random(n).randbytes(100_000)) for n in range(200))
    path = tar(tmp_path / "a.tar", content)
    tracemalloc.start()
    candidates = found(path, heard)
    assert len(candidates) == 200
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()
