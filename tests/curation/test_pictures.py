"""One item's own image for a larger look: upright, bounded, cut out, and never fetched."""

import hashlib
import io
import socket
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from curation.viewer import answers, pictures
from curation.viewer.answers import Refused
from curation.viewer.pictures import LONGEST
from curation.workspace import Workspace
from embeddings import images
from embeddings.dataset import create_dataset, now
from embeddings.schema import Atlas, Image, Item, Location
from embeddings.store import Store

VERSION = "0123456789abcdef"
CROP = "c" * 32
BOX = (10.0, 20.0, 110.0, 70.0)


def photograph() -> bytes:
    """A picture of 2,400 x 1,000 pixels as it lies in the file, red above, to be turned upright."""
    image = PIL.Image.new("RGB", (2400, 1000), (20, 40, 200))
    image.paste((220, 20, 20), (0, 0, 2400, 500))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # its top belongs to the right
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif, quality=95)
    return buffer.getvalue()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "photo.jpg"
    file.write_bytes(photograph())
    return file


@pytest.fixture
def workspace(home: Path, photo: Path) -> Workspace:
    """Two items: a photograph, and what a box holds of it."""
    return known(photo.read_bytes(), str(photo))


def known(data: bytes, place: str) -> Workspace:
    digest = hashlib.sha256(data).hexdigest()
    store = Store(create_dataset("photos").tables)
    store.add_images([Image(digest[:32], digest, 1000, 2400, len(data), "JPEG", now())])
    store.add_items([Item(digest[:32], digest[:32]), Item(CROP, digest[:32], BOX)], [b""] * 2)
    store.add_locations([Location(place, len(data), 0, "ok", now(), digest[:32])])
    ids = np.array(sorted([digest[:32], CROP]))
    zeros: Any = np.zeros(2, np.float32)
    xy = np.zeros((2, 2), np.float32)
    atlas = Atlas(ids, xy, np.zeros(2, np.int32), zeros, zeros, VERSION, "s")
    store.save_atlas(atlas, now())
    return Workspace("photos")


def whole(workspace: Workspace) -> str:
    return next(one for one in workspace.atlas(VERSION).item_ids.tolist() if one != CROP)


def asked(workspace: Workspace, item_id: str, known: str = "") -> answers.Answer:
    return answers.answer(workspace, f"picture/{VERSION}/{item_id}", {}, b"", known)


def drawn(workspace: Workspace, item_id: str) -> PIL.Image.Image:
    answer = asked(workspace, item_id)
    assert (answer.kind, answer.cache) == (answers.JPEG, answers.ASK_AGAIN)
    return PIL.Image.open(io.BytesIO(answer.body)).convert("RGB")


def test_the_picture_is_upright_and_no_longer_than_a_screen(workspace: Workspace) -> None:
    found = drawn(workspace, whole(workspace))
    assert found.size == (round(LONGEST / 2.4), LONGEST)
    assert found.getpixel((600, 800))[0] > 180 > found.getpixel((60, 800))[0], "red to the right"


def test_of_a_crop_it_is_what_is_in_the_box_as_large_as_it_is(workspace: Workspace) -> None:
    assert drawn(workspace, CROP).size == (100, 50)


def test_who_has_it_is_not_sent_it_again_though_the_file_be_gone(
    workspace: Workspace, photo: Path
) -> None:
    tag = asked(workspace, CROP).tag
    photo.unlink()
    again = asked(workspace, CROP, tag)
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("fate", ["moved", "another", "garbled"])
def test_a_file_that_is_not_what_it_was_is_refused_in_words(
    workspace: Workspace, photo: Path, fate: str
) -> None:
    if fate == "moved":
        photo.rename(photo.with_name("elsewhere.jpg"))
    else:
        photo.write_bytes(photograph()[::-1] if fate == "garbled" else b"another picture")
    with pytest.raises(
        Refused, match=r"photo\.jpg any more, or has changed.*curate relocate"
    ) as no:
        asked(workspace, whole(workspace))
    assert no.value.status == 404 and "\n" not in str(no.value)


def test_a_picture_in_an_archive_is_shown_and_one_of_the_web_is_not_fetched(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photograph()
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        member = tarfile.TarInfo("inner/a.jpg")
        member.size = len(data)
        shard.addfile(member, io.BytesIO(data))
    inside = known(data, f"{tmp_path}/shard.tar/inner/a.jpg")
    assert drawn(inside, CROP).size == (100, 50)
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("the network was asked"))
    away = Location("https://example.org/a.jpg", 0, 0, "ok", now(), whole(inside))
    gone = Location(f"{tmp_path}/shard.tar/inner/a.jpg", 0, 0, "missing", now(), whole(inside))
    inside.store.add_locations([gone, away])
    with pytest.raises(Refused, match="not at https://example.org/a.jpg any more"):
        asked(inside, CROP)


def test_an_item_that_is_not_on_the_atlas_is_not_found(workspace: Workspace) -> None:
    with pytest.raises(Refused, match="no such item"):
        asked(workspace, "f" * 32)


@pytest.mark.parametrize("table", ["items", "images"])
def test_an_item_that_a_table_has_no_more_is_not_found(workspace: Workspace, table: str) -> None:
    item_id = whole(workspace)
    workspace.store._replace(table, workspace.store.read(table).slice(0, 0))
    with pytest.raises(Refused, match="no such item") as no:
        asked(workspace, item_id)
    assert no.value.status == 404


@pytest.mark.parametrize("first", ["moved", "another"])
def test_a_picture_is_found_in_each_folder_where_it_was_met(
    workspace: Workspace, photo: Path, first: str
) -> None:
    item_id, data = whole(workspace), photo.read_bytes()
    copies = [photo.with_name(f"{name}.jpg") for name in "abc"]
    met = [Location(str(one), len(data), 0, "ok", now(), item_id) for one in copies]
    workspace.store.add_locations(met)
    copies[1].write_bytes(data)
    for place in (photo, copies[0], copies[2]):
        if first == "moved":
            place.unlink(missing_ok=True)
        else:
            place.write_bytes(b"another picture")
    assert drawn(workspace, item_id).size == (round(LONGEST / 2.4), LONGEST)
    gone = Location(str(copies[1]), len(data), 0, "missing", now(), item_id)
    workspace.store.add_locations([gone])
    with pytest.raises(Refused, match="curate relocate"):
        asked(workspace, item_id)


@pytest.mark.parametrize("name", ["LONGEST", "QUALITY"])
def test_a_picture_made_otherwise_is_sent_to_who_has_the_old_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    tag = asked(workspace, CROP).tag
    monkeypatch.setattr(pictures, name, 60)
    assert asked(workspace, CROP, tag).status == 200


def test_two_pictures_are_made_at_once_and_each_file_is_hashed_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, sha256 = images.decode, images.sha256
    pair, inside, most, hashed = threading.Barrier(2), [], [], []

    def decoded(*data: Any, **how: Any) -> images.Decoded:
        inside.append(1)
        pair.wait(20)
        time.sleep(0.05)  # time for a third to come in
        most.append(len(inside))
        found = decode(*data, **how)
        inside.pop()
        return found

    def digest(data: bytes) -> str:
        hashed.append(1)
        return sha256(data)

    monkeypatch.setattr(images, "decode", decoded)
    monkeypatch.setattr(images, "sha256", digest)
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda _: asked(workspace, CROP).status, range(6)))
    assert (found, max(most), len(hashed)) == ([200] * 6, 2, 6)
