"""Cortex records of a dataset: imported with their images, made for the others; stages done."""

import hashlib
import http.server
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from embeddings import cortex, encoders, stageflags
from embeddings.dataset import now
from embeddings.downloads import Limits
from embeddings.errors import CurationError
from embeddings.files import Candidate
from embeddings.formats import UnreadableImage, reason_group
from embeddings.ingest import Ingest
from embeddings.originals import Originals
from embeddings.schema import Image, Item, Location
from embeddings.sources import Context, folder
from embeddings.sources import cortex as source
from embeddings.stages import Timings, silent
from embeddings.store import Store

BOX = {"classname": "cat", "conf": 0.5, "x1": 1, "y1": 0.5, "x2": 2, "y2": 3}


def png(number: int) -> bytes:
    """Return a picture of 40 x 30 pixels."""
    data = io.BytesIO()
    PIL.Image.linear_gradient("L").resize((40, 30)).rotate(7 * number).save(data, "PNG")
    return data.getvalue()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def record(data: bytes, url: str, number: int = 0, **changed: Any) -> dict[str, Any]:
    return {
        "_id": f"PT::{number:024x}",
        "url": url,
        "datetime": "2023-01-04 09:58:14.082248",
        "object_analysis_processed": "true",
        "pose_estimation_processed": "false",
        "face_analysis_processed": "false",
        "source": "commoncrawl",
        "type": "image",
        "height": 30,
        "width": 40,
        "hash": digest(data),
        "object_analysis": [[BOX]],
        "label_quality_estimation": 0.25,
    } | changed


@dataclass
class Place:
    """A dataset's tables, the folder beside them, and what its sources said."""

    home: Path
    limits: Limits = field(default_factory=Limits)
    notes: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return Store(self.home / "tables")

    @property
    def context(self) -> Context:
        keep = self.home / "downloads"
        stored = Originals(self.store, keep).read
        return Context(keep, silent, stored, self.listed.append, self.notes.append, self.limits)

    def write(self, records: Any, name: str = "records.json") -> Path:
        path = self.home / "given" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(records))
        return path

    def image(self, name: str, number: int) -> bytes:
        path = self.home / "given" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
        return path.read_bytes()

    def find(self, path: Path) -> list[Candidate]:
        return list(source.find(str(path), self.context))

    def ingest(self, candidates: list[Candidate]) -> Ingest:
        ingest = Ingest(self.store, encoders.load("builtin"), Timings(), progress=silent)
        ingest.run(candidates)
        return ingest

    def records(self) -> dict[str, dict[str, Any]]:
        made = cortex.of_images(self.store, sorted(self.store.ids("images", "image_id")))
        return {row["hash"]: row for row in made}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def why_not(candidate: Candidate) -> str:
    with pytest.raises(UnreadableImage) as refused:
        candidate.read()
    return str(refused.value)


# ---- records made of rows


def image(data: bytes, **changed: Any) -> Image:
    sha256 = digest(data)
    row = {"first_seen": "2024-02-03T04:05:06.700000+00:00", "source": "/photos"} | changed
    return Image(sha256[:32], sha256, 40, 30, len(data), "PNG", **row)


def location(data: bytes, path: str, status: str = "ok", url: str | None = None) -> Location:
    return Location(path, 1, 1, status, now(), digest(data)[:32], None, "/photos", url)


def test_an_image_that_came_without_a_record_has_one(place: Place) -> None:
    data = png(1)
    place.store.add_images([image(data)])
    place.store.add_locations([location(data, "/photos/a b.png")])
    assert json.dumps(cortex.of_image(place.store, digest(data)[:32])) == json.dumps(
        {
            "_id": f"PT::{digest(data)[:24]}",
            "url": "file:///photos/a%20b.png",
            "datetime": "2024-02-03 04:05:06.700000",
            "object_analysis_processed": "false",
            "pose_estimation_processed": "false",
            "face_analysis_processed": "false",
            "type": "image",
            "height": 30,
            "width": 40,
            "hash": digest(data),
            "object_analysis": [],
            "label_quality_estimation": None,
        }
    )


@pytest.mark.parametrize(
    ("own", "places", "url"),
    [
        ("https://a.org/1", [("/p/1", "ok", None)], "https://a.org/1"),
        (None, [("/p/1", "ok", None), ("/q/1", "ok", "https://a.org/2")], "https://a.org/2"),
        (None, [("/p/1", "missing", None), ("/q/1", "ok", None)], "file:///q/1"),
        (None, [("/p/1", "missing", None)], "file:///p/1"),
        (None, [("https://a.org/3", "ok", None)], "https://a.org/3"),
        (None, [("/p/\udcff.png", "ok", None)], "file:///p/%FF.png"),
    ],
)
def test_an_address_on_the_web_comes_before_one_of_this_machine(
    place: Place, own: str | None, places: list[Any], url: str
) -> None:
    data = png(1)
    place.store.add_images([image(data, url=own)])
    place.store.add_locations([location(data, *row) for row in places])
    assert cortex.of_image(place.store, digest(data)[:32])["url"] == url


@pytest.mark.parametrize(
    ("kept", "written"),
    [("commoncrawl", "commoncrawl"), ("/photos", None), ("C:\\photos", None), (None, None)],
)
def test_a_source_is_a_name_and_no_folder_of_this_machine(
    place: Place, kept: str | None, written: str | None
) -> None:
    data = png(1)
    place.store.add_images([image(data, source=kept, url="https://a.org/1")])
    assert cortex.of_image(place.store, digest(data)[:32]).get("source") == written


def test_records_come_in_the_order_asked_for_and_unknown_images_are_refused(place: Place) -> None:
    place.store.add_images([image(png(n), url="https://a.org/1") for n in range(4)])
    asked = [digest(png(n))[:32] for n in (3, 0, 2, 0)]
    found = [row["hash"][:32] for row in cortex.of_images(place.store, asked)]
    assert found == asked
    with pytest.raises(CurationError, match="no image 'zzz'"):
        list(cortex.of_images(place.store, ["zzz"]))


def keep(place: Place, data: bytes, *values: dict[str, Any]) -> dict[str, Any]:
    place.store.add_images([image(data)])
    place.store.add_locations([location(data, "/photos/a.png")])
    rows = [(digest(data)[:32], "/photos/a.png", json.dumps(value)) for value in values]
    cortex.Kept(place.store).add(rows, now())
    return cortex.of_image(place.store, digest(data)[:32])


def test_an_imported_record_comes_out_as_it_went_in(place: Place) -> None:
    value = record(png(1), "https://a.org/1", new={"key": [1]})
    assert json.dumps(keep(place, png(1), value)) == json.dumps(value)


def test_size_and_first_seen_are_the_true_ones_and_boxes_say_for_which_size_they_are(
    place: Place,
) -> None:
    value = record(png(1), "https://a.org/1", width=30, height=40)
    value["datetime"] = "2025-01-01 00:00:00.000000"
    made = keep(place, png(1), value)
    assert (made["width"], made["height"]) == (40, 30)
    assert made["datetime"] == "2024-02-03 04:05:06.700000", "it was here before"
    assert made["note"] == "boxes are for 30 x 40 pixels"
    assert made["object_analysis"] == [[BOX]]


def test_a_record_about_other_bytes_is_left_as_it_is_and_says_so(place: Place) -> None:
    value = record(png(2), "https://a.org/1", width=7, height=8)
    made = keep(place, png(1), value)
    assert {**made, "note": 0} == {**value, "note": 0}
    assert digest(png(1)) in made["note"] and "40 x 30 pixels" in made["note"]


def test_the_first_record_of_an_image_counts_and_of_it_the_newest_text(place: Place) -> None:
    first, second = (record(png(1), "https://a.org/1", number) for number in (1, 2))
    newer = first | {"label_quality_estimation": 1}
    assert keep(place, png(1), first, second, newer) == newer


def test_a_record_that_is_kept_already_is_not_kept_twice(place: Place) -> None:
    row = ("ab" * 16, "/photos/a.png", json.dumps(record(png(1), "https://a.org/1")))
    assert cortex.Kept(place.store).add([row, row], now()) == 1
    assert cortex.Kept(place.store).add([row], now()) == 0
    assert place.store.count("records") == 1
    with pytest.raises(CurationError, match="expected"):
        cortex.Kept(place.store).add([("ab" * 16, "/a", "[]")], now())


# ---- stages


def test_stages_are_worked_out_from_the_tables(place: Place) -> None:
    store, pictures = place.store, [png(number) for number in range(4)]
    ids = [digest(data)[:32] for data in pictures]
    store.add_images([image(data) for data in pictures])
    store.add_items([Item(ids[0], ids[0]), Item(ids[1], ids[1]), Item("crop", ids[1])], [b""] * 3)
    store.add_vectors("a_space", [ids[0], ids[1]], np.eye(2, dtype=np.float32), {})
    store.add_locations([Location("/bad.png", 0, 0, "unreadable", now(), None, "empty")])
    tricky = record(pictures[2], 'https://a.org/"object_analysis_processed": "true"')
    tricky["object_analysis_processed"] = "false"
    tricky["new"] = {"url": "a", "datetime": "b", "object_analysis_processed": "true"}
    faces = record(pictures[3], "https://a.org/\\", face_analysis_processed="true")
    rows = [(ids[2], tricky), (ids[3], faces)]
    texts = [(image_id, "/a", cortex.dumps(cortex.from_cortex(value))) for image_id, value in rows]
    cortex.Kept(store).add(texts, now())

    table = stageflags.stages(store)
    flags = {row.pop("image_id"): row for row in table.to_pylist()}
    assert list(flags) == sorted(ids)
    done = [{name for name, is_done in flags[image_id].items() if is_done} for image_id in ids]
    both = {"decoded", "fingerprinted"}
    assert done == [
        both | {"thumbnail", "embedded:a_space"},
        both | {"thumbnail"},  # one of its crops has no vector
        both,
        both | {"object_analysis", "face_analysis"},
    ]
    assert stageflags.summary(store) == {
        "decoded": (4, 5),
        "fingerprinted": (4, 4),
        "thumbnail": (2, 4),
        "embedded:a_space": (1, 4),
        "object_analysis": (1, 4),
        "face_analysis": (1, 4),
    }


def test_an_empty_dataset_has_no_stage_done(place: Place) -> None:
    assert set(stageflags.summary(place.store).values()) == {(0, 0)}


# ---- the source


def test_images_beside_the_file_come_with_their_records(place: Place) -> None:
    urls = ["sub/1.png", "./2.png", str(place.home / "given/3.png"), "4 ü.png"]
    urls[3] = (place.home / "given" / urls[3]).as_uri()
    pictures = [
        place.image(name, n) for n, name in enumerate(["sub/1.png", "2.png", "3.png", "4 ü.png"])
    ]
    values = [record(*pair, n) for n, pair in enumerate(zip(pictures, urls, strict=True))]
    found = place.find(place.write({"output": values, "length": 4}))
    assert [candidate.read() for candidate in found] == pictures
    assert {candidate.brought.source for candidate in found} == {"commoncrawl"}
    assert {candidate.brought.first_seen for candidate in found} == {
        "2023-01-04T09:58:14.082248+00:00"
    }
    assert not any(candidate.brought.fields for candidate in found)
    place.ingest(found)
    for value in values:
        made = place.records()[value["hash"]]
        assert made["url"].startswith("file:///")
        assert {**made, "url": 0} == {**value, "url": 0}


def test_an_image_that_is_not_what_its_record_says_is_kept_under_its_own_hash(
    place: Place,
) -> None:
    data = place.image("1.png", 1)
    (candidate,) = place.find(place.write([record(png(2), "1.png")]))
    assert candidate.read() == data
    assert candidate.brought.fields == {"record_hash_differs": True}


@pytest.mark.parametrize(
    "url",
    ["../outside.png", "/etc/hostname", "file:///etc/hostname", "file://far/1.png", "link.png",
     "file:///%00", "file://[/1.png", "//host/1.png"],
)  # fmt: skip
def test_a_record_never_leads_outside_the_folder_of_its_file(place: Place, url: str) -> None:
    (place.home / "outside.png").write_bytes(png(1))
    path = place.write([record(png(1), url)])
    (path.parent / "link.png").symlink_to(place.home / "outside.png")
    (candidate,) = place.find(path)
    assert "outside the folder" in why_not(candidate)


def test_bytes_that_the_dataset_knows_are_neither_sought_nor_downloaded(place: Place) -> None:
    data = place.image("photos/1.png", 1)
    place.ingest(list(folder.find(str(place.home / "given/photos"), place.context)))
    values = [
        record(data, url, n)
        for n, url in enumerate(["http://127.0.0.1:9/1.png", "gone.png", "s3://bucket/1.png"])
    ]
    found = place.find(place.write(values))
    assert [candidate.read() for candidate in found] == [data] * 3
    ingest = place.ingest(found)
    assert (ingest.result.new_images, ingest.result.duplicates) == (0, 3)
    made = place.records()[digest(data)]
    assert made["url"] == "http://127.0.0.1:9/1.png", "the first record counts"
    assert place.ingest(place.find(place.home / "given/records.json")).result.unchanged == 3
    assert place.store.count("records") == 3


def test_an_unchanged_file_gets_the_record_that_comes_later(place: Place) -> None:
    data = place.image("1.png", 1)
    place.ingest(list(folder.find(str(place.home / "given"), place.context)))
    ingest = place.ingest(place.find(place.write([record(data, "1.png", 5)])))
    assert ingest.result.unchanged == 1
    assert place.records()[digest(data)]["_id"] == f"PT::{5:024x}"


def test_a_record_that_cannot_be_used_is_a_candidate_with_its_reason(place: Place) -> None:
    good = place.image("1.png", 1)
    values = [record(good, "1.png"), {"_id": 7}, record(good, "gone.png", hash="ab" * 32)]
    path = place.write(values)
    first, broken, gone = place.find(path)
    assert first.read() == good
    assert broken.path == f"{path}/record 2"
    assert why_not(broken).startswith("its Cortex record cannot be used (_id: expected PT::")
    assert reason_group(why_not(broken)) == "its Cortex record cannot be used"
    assert why_not(gone).startswith("cannot be opened: its record names a file that is not there")
    assert place.listed == [str(path)]


def test_records_that_share_an_address_are_all_kept_and_copies_are_counted(place: Place) -> None:
    data = place.image("1.png", 1)
    values = [record(data, "1.png", number) for number in (1, 2, 2)]
    path = place.write(values)
    found = place.find(path)
    assert [candidate.path for candidate in found] == [
        str(path.parent / "1.png"), f"{path}/PT::{2:024x}",
    ]  # fmt: skip
    assert [candidate.read() for candidate in found] == [data, data]
    assert place.notes == [f"{path}: passed over as copies of another record of it: 1"]


@pytest.mark.parametrize(
    ("name", "value", "claimed"),
    [
        ("a.json", [record(b"", "a")], True),
        ("a.JSONL", record(b"", "a"), True),
        ("a.json", {"output": [], "length": 0}, True),
        ("a.json", {"images": [], "annotations": [], "categories": []}, False),
        ("a.json", [], False),
        ("a.txt", [record(b"", "a")], False),
    ],
)
def test_a_file_of_cortex_records_is_told_by_its_head(
    place: Place, name: str, value: Any, claimed: bool
) -> None:
    assert source.claims(str(place.write(value, name))) is claimed


# ---- the source and the web


@pytest.fixture
def web() -> Iterator[tuple[str, dict[str, bytes], list[str]]]:
    """A server of this machine: its address, what it serves, and what it was asked for."""
    served: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = served.get(self.path, b"")
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "image/png")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", served, asked
        server.shutdown()
        thread.join()


def test_other_images_are_downloaded_once_and_wrong_bytes_are_known_as_such(
    place: Place, web: tuple[str, dict[str, bytes], list[str]]
) -> None:
    url, served, asked = web
    place.limits = Limits(tries=1, allow=frozenset({("127.0.0.1", int(url.rpartition(":")[2]))}))
    served.update({"/1.png": png(1), "/2.png": png(2)})
    values = [record(png(n), f"{url}/{n}.png", n) for n in (1, 2, 3)]
    values[1]["hash"] = "ab" * 32
    values[0]["url"] = values[0]["url"].replace("http", "HTTP")
    path = place.write({"output": values, "length": 3})
    first, second, third = found = place.find(path)
    assert [c.path for c in found] == [f"{url}/{n}.png" for n in (1, 2, 3)]
    assert (first.read(), second.read()) == (png(1), png(2))
    assert (first.brought.fields, second.brought.fields) == ({}, {"record_hash_differs": True})
    assert "404" in why_not(third) and (third.size, third.mtime_ns) == (0, 0)
    assert place.ingest(found).result.new_images == 2
    made = place.records()
    assert made[digest(png(1))]["object_analysis"] == [[BOX]]
    assert digest(png(2)) not in made, "its record is about other bytes"
    assert digest(png(2)) in made["ab" * 32]["note"]
    again = place.ingest(place.find(path)).result
    assert (again.unchanged, asked.count("/1.png"), asked.count("/2.png")) == (2, 1, 1)
