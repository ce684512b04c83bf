"""Builds from every kind of source: the same images, and their bytes can be had again."""

import hashlib
import http.server
import shutil
import socketserver
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from embeddings.build import Options, build
from embeddings.dataset import open_dataset
from embeddings.downloads import Limits
from embeddings.errors import CurationError
from embeddings.originals import Originals
from embeddings.store import Store

QUICK = Options(encoder="builtin", layout="pca", cluster="kmeans", limits=Limits(private=True))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(8):
        image = PIL.Image.radial_gradient("L").rotate(20 * number).convert("RGB")
        image.save(folder / f"{number}.jpg")
    return folder


@pytest.fixture
def web(photos: Path) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(photos))  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None:
            asked.append(self.path)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


def hashes(folder: Path) -> set[str]:
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.jpg")}


def stored(name: str) -> set[str]:
    return Store(open_dataset(name).tables).ids("images", "sha256")


def originals(name: str) -> Originals:
    dataset = open_dataset(name)
    return Originals(Store(dataset.tables), dataset.downloads)


def packed(photos: Path, kind: str) -> Path:
    path = photos.parent / f"all.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for photo in sorted(photos.iterdir()):
                archive.write(photo, f"inner/{photo.name}")
    else:
        with tarfile.open(path, "w:gz" if kind.endswith("gz") else "w") as tar:
            tar.add(photos, "inner")
    return path


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_an_archive_gives_the_images_of_its_folder(photos: Path, home: Path, kind: str) -> None:
    archive = packed(photos, kind)
    before = archive.read_bytes()
    report = build("packed", [archive], QUICK)
    assert (report.images, report.unreadable) == (8, {})
    assert stored("packed") == hashes(photos)
    again = build("packed", [archive], QUICK)
    assert (again.unchanged, again.atlas_version) == (8, report.atlas_version)
    wanted = sorted(hashes(photos))
    shutil.rmtree(photos)
    read = [originals("packed").read(sha256) for sha256 in wanted]
    assert [hashlib.sha256(data or b"").hexdigest() for data in read] == wanted
    assert archive.read_bytes() == before


def test_an_archive_that_lost_a_member_or_is_gone_has_missing_files(
    photos: Path, home: Path
) -> None:
    archive = packed(photos, "zip")
    build("packed", [photos.parent / "photos" / "0.jpg", archive], QUICK)
    (photos / "7.jpg").unlink()
    packed(photos, "zip")
    assert build("packed", [archive], QUICK).missing == 1
    archive.unlink()
    report = build("packed", [photos.parent], QUICK)  # the folder that held it
    assert report.missing == 7
    assert report.images == 8, "images stay"
    known = [sha256 for sha256 in stored("packed") if originals("packed").read(sha256)]
    assert len(known) == 7, "in the folder; the eighth is nowhere any more"


def test_urls_are_downloaded_once_and_their_bytes_outlive_the_server(
    photos: Path, web: tuple[str, list[str]], home: Path, tmp_path: Path
) -> None:
    address, asked = web
    urls = tmp_path / "urls.csv"
    rows = [f"{address}/{n}.jpg,tone {n % 2}" for n in range(8)]
    urls.write_text("\n".join(["url,tone", *rows, f"{address}/gone.jpg,none"]))
    report = build("web", [urls], QUICK)
    assert report.images == 8
    assert report.unreadable == {"not found": 1}
    assert report.timings["stages"]["download"]["items"] == 9
    assert any("1 of 9 URLs" in note for note in report.notes)
    fields = Store(open_dataset("web").tables).fields()
    assert sorted(fields["tone"].to_pylist()) == ["tone 0"] * 4 + ["tone 1"] * 4
    assert len(asked) >= 9
    asked.clear()
    again = build("web", [urls], QUICK)
    assert again.unchanged == 8 and not asked
    wanted = sorted(hashes(photos))
    shutil.rmtree(photos)
    assert all(originals("web").read(sha256) for sha256 in wanted)
    images = Store(open_dataset("web").tables).read("images", ["url"])["url"].to_pylist()
    assert sorted(images) == [f"{address}/{n}.jpg" for n in range(8)]


def test_the_newest_reason_of_a_failed_url_counts(
    web: tuple[str, list[str]], home: Path, tmp_path: Path
) -> None:
    address, _ = web
    urls = tmp_path / "urls.txt"
    urls.write_text(f"{address}/0.jpg\n{address}/gone.jpg\n")
    closed = Options(**{**QUICK.__dict__, "limits": Limits()})
    with pytest.raises(CurationError, match="leads to a private address"):
        build("web", [urls], closed)
    assert not (home / "web").exists() or build("web", [urls], QUICK).images == 1
    report = build("web", [urls], QUICK)
    assert report.unreadable == {"not found": 1}
    (location,) = [
        row for row in Store(open_dataset("web").tables).locations() if row.image_id is None
    ]
    assert location.error == "not found (404)"


def test_the_same_image_from_four_kinds_of_source_is_one_image(
    photos: Path, web: tuple[str, list[str]], home: Path
) -> None:
    address, _ = web
    specs = [str(photos), f"{photos.parent}/*.zip", f"{address}/3.jpg"]
    packed(photos, "zip")
    report = build("all", specs, QUICK)
    assert (report.files, report.images, report.duplicates) == (17, 8, 9)
    rows = Store(open_dataset("all").tables).locations()
    assert len({row.path for row in rows}) == 17
    assert {row.status for row in rows} == {"ok"}


def test_a_table_beside_its_folder_says_more_than_the_folder(photos: Path, home: Path) -> None:
    table = photos.parent / "own.npz"
    names = [f"photos/{number}.jpg" for number in range(8)]
    vectors = np.eye(8, 16, dtype=np.float32)
    np.savez(table, paths=np.array(names), vectors=vectors)
    for specs in ([photos, table], [table, photos]):
        report = build(f"own{len(str(specs[0]))}", specs, Options(layout="pca", cluster="kmeans"))
        assert (report.encoder, report.images, report.encoder_busy) == ("given:own", 8, None)
        store = Store(open_dataset(report.dataset).tables)
        assert store.vectors(report.space).rows.shape == (8, 16)
        assert set(store.fields()["folder"].to_pylist()) <= {"photos", "."}


def test_a_url_s_folder_is_its_host(web: tuple[str, list[str]], home: Path, tmp_path: Path) -> None:
    address, _ = web
    (tmp_path / "urls.txt").write_text(f"{address}/0.jpg\n{address}/1.jpg\n")
    build("web", [tmp_path / "urls.txt"], QUICK)
    fields = Store(open_dataset("web").tables).fields()
    assert set(fields["folder"].to_pylist()) == {address.removeprefix("http://")}
