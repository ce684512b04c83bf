"""What img2dataset left behind: each row of its tables is an image or a reason."""

import io
import json
import os
import tarfile
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings import files
from embeddings.errors import CurationError
from embeddings.sources import img2dataset

from .packers import Heard, jpeg, read

LAYOUTS = ("webdataset", "files")
FAILED = (
    ("failed_to_download", "HTTP Error 404: Not\nFound"),
    ("failed_to_resize", "image decoding error"),
    ("failed_to_download", None),
)


def row(shard, number, status="success", message=None):
    key = f"{shard:05d}{number:04d}"
    good = status == "success"
    return {
        "url": f"https://example.org/{key}.jpg",
        "caption": f"picture {number}" if number else None,
        "similarity": 0.25,
        "key": key,
        "status": status,
        "error_message": message,
        "width": 24 if good else None,
        "height": 24 if good else None,
        "original_width": 640 if good else None,
        "original_height": 480 if good else None,
        "exif": '{"Image Make": "x"}' if good else None,
        "sha256": "ab" * 32 if good else None,
    }


def write(folder, layout, shards=2, table=True, suffix="jpg"):
    """Write shards as img2dataset does: three images and three failures each."""
    folder.mkdir(exist_ok=True)
    for shard in range(shards):
        rows = []
        name = folder / f"{shard:05d}"
        packed = layout == "webdataset"
        if not packed:
            name.mkdir()
        for number in range(6):
            status, message = FAILED[number // 2] if number % 2 else ("success", None)
            rows.append(row(shard, number, status, message))
            if status == "success":
                _sample(packed, name, rows[-1], jpeg(10 * shard + number), suffix)
        Path(f"{name}_stats.json").write_text(json.dumps({"count": 6, "successes": 3}))
        if table:
            pq.write_table(pa.Table.from_pylist(rows), f"{name}.parquet", row_group_size=2)
    return folder


def _sample(packed, place, meta, image, suffix):
    parts = {suffix: image, "txt": (meta["caption"] or "").encode()}
    parts["json"] = json.dumps(meta, indent=4).encode()
    if not packed:
        for kind, data in parts.items():
            (place / f"{meta['key']}.{kind}").write_bytes(data)
        return
    with tarfile.open(f"{place}.tar", "a") as tar:
        for kind, data in parts.items():
            info = tarfile.TarInfo(f"{meta['key']}.{kind}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.fixture
def heard(tmp_path):
    return Heard(tmp_path / "keep")


def found(folder, heard):
    return list(img2dataset.find(str(folder), heard.context))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_row_is_an_image_or_says_why_there_is_none(tmp_path, heard, layout):
    folder = write(tmp_path / "out", layout)
    assert img2dataset.claims(str(folder))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    candidates = found(folder, heard)
    assert len(candidates) == 12
    assert {c.root for c in candidates} == {str(folder)}
    place = "00000.tar" if layout == "webdataset" else "00000"
    first, refused = candidates[:2]
    assert first.path == f"{folder}/{place}/000000000.jpg"
    assert [c.read() for c in candidates[::2]] == [
        jpeg(10 * shard + number) for shard in range(2) for number in (0, 2, 4)
    ]
    assert first.brought.url == "https://example.org/000000000.jpg"
    assert first.brought.fields == {
        "key": "000000000",
        "similarity": 0.25,
        "original_width": 640,
        "original_height": 480,
        "exif": '{"Image Make": "x"}',
        "original_sha256": "ab" * 32,
    }
    assert candidates[2].brought.fields["caption"] == "picture 2"
    assert refused.path == refused.brought.url == "https://example.org/000000001.jpg"
    assert (refused.size, refused.mtime_ns) == (0, 0)
    assert [read(c) for c in candidates[1:6:2]] == [
        "img2dataset could not download it: HTTP Error 404: Not Found",
        "img2dataset could not resize it: image decoding error",
        "img2dataset could not download it: it did not say why",
    ]
    assert (heard.listed, heard.notes) == ([str(folder)], [])
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_a_table_the_side_files_speak(tmp_path, heard, layout):
    with_table = {
        c.path: c.brought.fields for c in found(write(tmp_path / "a", layout), heard) if c.size
    }
    folder = write(tmp_path / "b", layout, table=False)
    assert img2dataset.claims(str(folder))
    candidates = found(folder, heard)
    assert len(candidates) == 6
    told = {c.path.replace("/b/", "/a/"): c.brought.fields for c in candidates}
    assert told == with_table
    assert candidates[0].brought.url == "https://example.org/000000000.jpg"
    assert heard.notes == []


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_other_formats_than_jpeg_are_met_by_key(tmp_path, heard, suffix):
    candidates = found(write(tmp_path / "out", "webdataset", suffix=suffix), heard)
    assert [c.path[-4:].strip(".") for c in candidates[::2]] == [suffix] * 6


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_image_that_the_table_promises_and_nobody_finds_has_a_reason(tmp_path, heard, layout):
    folder = write(tmp_path / "out", layout, shards=1)
    if layout == "files":
        (folder / "00000" / "000000002.jpg").unlink()
    else:
        os.truncate(folder / "00000.tar", 2048)
    reasons = [read(c) for c in found(folder, heard) if isinstance(read(c), str)]
    assert sum("not in its shard" in reason for reason in reasons) == (
        1 if layout == "files" else 2
    )
    assert sum("ends early" in reason for reason in reasons) == (layout == "webdataset")
    assert heard.listed == ([str(folder)] if layout == "files" else [])


def test_an_image_without_a_row_is_taken_too(tmp_path, heard):
    folder = write(tmp_path / "out", "files", shards=1)
    (folder / "00000" / "000009999.jpg").write_bytes(jpeg(99))
    candidates = found(folder, heard)
    assert len(candidates) == 7
    assert candidates[-1].read() == jpeg(99)


def test_a_table_that_cannot_be_read_is_noted_and_the_images_are_taken(tmp_path, heard):
    folder = write(tmp_path / "out", "webdataset", shards=1)
    table = folder / "00000.parquet"
    os.truncate(table, table.stat().st_size // 2)
    candidates = found(folder, heard)
    assert [c.read() for c in candidates] == [jpeg(0), jpeg(2), jpeg(4)]
    assert candidates[1].brought.fields["caption"] == "picture 2"
    assert "cannot be read to its end" in heard.notes[0]
    assert len(heard.notes) == 1


def test_the_numbers_of_the_first_versions_are_met_in_their_names(tmp_path, heard):
    folder = tmp_path / "out"
    (folder / "00000").mkdir(parents=True)
    (folder / "00000" / "0007.jpg").write_bytes(jpeg(7))
    rows = [{"url": "https://a.b/c", "key": 7, "status": "success"}]
    pq.write_table(pa.Table.from_pylist(rows), folder / "00000.parquet")
    (only,) = found(folder, heard)
    assert (only.read(), only.brought.url) == (jpeg(7), "https://a.b/c")


def test_folders_that_img2dataset_did_not_write_are_not_claimed(tmp_path):
    for name in ("2019/a.jpg", "00000.parquet", "00001.tar", "x_stats.json"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(jpeg(1))
    for spec in (tmp_path, tmp_path / "00001.tar", tmp_path / "absent", "", "\0"):
        assert not img2dataset.claims(str(spec))


def test_with_a_table_no_file_is_read_before_a_worker_asks(tmp_path, heard, monkeypatch):
    folder = write(tmp_path / "out", "files", shards=1)
    opened = []
    monkeypatch.setattr(files, "read", opened.append)
    candidates = found(folder, heard)
    assert (len(candidates), opened) == (6, [])
    candidates[0].read()
    assert opened == [f"{folder}/00000/000000000.jpg"]


# ---- whatever the bytes


def _specimens(layout):
    with tempfile.TemporaryDirectory() as name:
        folder = write(Path(name, "out"), layout, shards=1)
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }


SPECIMENS = {layout: _specimens(layout) for layout in LAYOUTS}


@settings(max_examples=150)
@given(layout=st.sampled_from(LAYOUTS), draw=st.data())
def test_any_damage_gives_candidates_reasons_or_one_error(tmp_path_factory, layout, draw):
    folder = tmp_path_factory.mktemp("fuzz")
    specimens = SPECIMENS[layout]
    broken = draw.draw(st.sets(st.sampled_from(sorted(specimens)), min_size=1, max_size=2))
    for name, data in specimens.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(_damaged(data, draw) if name in broken else data)
    try:
        candidates = found(folder, Heard(folder))
    except CurationError:
        return
    assert len(candidates) >= 1
    for candidate in candidates:
        assert isinstance(read(candidate), bytes | str)
        candidate.path.encode()
        pa.array(list(candidate.brought.fields.values())[:1])


def _damaged(data, draw):
    damaged = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(data)))
        piece = draw.draw(st.binary(min_size=1, max_size=8))
        damaged[at : at + len(piece)] = piece
    return bytes(damaged[: draw.draw(st.just(len(data)) | st.integers(0, len(data)))])
