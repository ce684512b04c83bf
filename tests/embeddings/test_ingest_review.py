"""What a review of ingest found, each once more: nothing a build knows is lost to the next one."""

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from yarl import URL

from embeddings import encoders, nvjpeg
from embeddings.build import Options, build
from embeddings.dataset import create_dataset, open_dataset
from embeddings.downloads import network
from embeddings.errors import CurationError
from embeddings.files import find
from embeddings.ingest import Ingest
from embeddings.originals import Originals
from embeddings.relocate import relocate
from embeddings.stages import Timings, silent
from embeddings.store import Store

QUICK = Options(encoder="builtin", layout="pca", cluster="kmeans")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        image = PIL.Image.radial_gradient("L").rotate(20 * number).convert("RGB")
        image.save(folder / f"{number}.png")
    return folder


def store(name: str) -> Store:
    return Store(open_dataset(name).tables)


class Blind:
    """Makes no number of the image that it is told not to see."""

    encoder_id, dim, min_side, batch_size = "blind", 12, 8, 4

    def __init__(self, unseen: int) -> None:
        self.unseen = unseen

    def prepare(self, image: PIL.Image.Image) -> npt.NDArray[np.float32]:
        return np.asarray(image.resize((2, 2)), np.float32)

    def encode(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        rows = batch.reshape(len(batch), -1) + 1
        rows[: self.unseen] = np.nan
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def describe(self) -> dict[str, str | int | float]:
        return {"model": "blind"}


def ingest(name: str, encoder: encoders.Encoder, folder: Path) -> Ingest:
    run = Ingest(store(name), encoder, Timings(), progress=silent)
    run.run(list(find(folder)))
    return run


def test_what_one_encoder_cannot_use_stays_a_good_file_for_the_others(
    photos: Path, home: Path
) -> None:
    build("two", [photos], QUICK)
    run = ingest("two", Blind(1), photos)
    assert sum(run.result.unreadable.values()) == 2, "the first of each batch of 4"
    assert {row.status for row in store("two").locations()} == {"ok"}
    dataset = open_dataset("two")
    originals = Originals(store("two"), dataset.downloads)
    hashes = store("two").ids("images", "sha256")
    assert len([sha for sha in hashes if originals.read(sha)]) == 6
    assert build("two", [photos], QUICK).unchanged == 6


def test_an_image_without_a_vector_is_tried_again_by_a_better_encoder(
    photos: Path, home: Path
) -> None:
    create_dataset("later")
    assert sum(ingest("later", Blind(4), photos).result.unreadable.values()) == 6
    assert ingest("later", Blind(0), photos).result.new_vectors == 6
    assert {row.status for row in store("later").locations()} == {"ok"}


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on Linux and macOS only")
def test_names_that_are_no_utf_8_are_relocated_and_noted(photos: Path, home: Path) -> None:
    odd = photos.parent / os.fsdecode(b"caf\xe9")
    photos.rename(odd)
    (odd / "0.png").rename(odd / os.fsdecode(b"\xe9.png"))
    (odd / "notes.txt").write_text("no image")
    report = build("odd", [f"{odd}/*"], QUICK)
    assert report.images == 6 and any("passed over" in note for note in report.notes)
    moved = odd.with_name("moved")
    odd.rename(moved)
    assert relocate("odd", odd, moved).found == 6


def test_a_number_of_64_bits_is_a_field(photos: Path, home: Path) -> None:
    table = pa.table({"path": ["0.png", "1.png"], "uid": pa.array([2**64 - 1, 3], pa.uint64())})
    pyarrow.parquet.write_table(table, photos / "uids.parquet")
    options = Options(**{**QUICK.__dict__, "metadata": (photos / "uids.parquet",)})
    build("big", [photos], options)
    assert set(store("big").fields()["uid"].to_pylist()) == {str(2**64 - 1), "3", None}


def test_a_gpu_without_room_to_shrink_leaves_the_picture_to_the_cpu(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.functional, "avg_pool2d", full)
    decoder = nvjpeg.GpuDecoder(lambda files: [torch.zeros((3, 8, 8), dtype=torch.uint8)])
    assert decoder(b"a jpeg\xff\xd9", 2) is None
    assert (decoder.decoded, decoder.declined) == (0, 1)


@pytest.mark.parametrize("where", ["http://h:99999/", "http://h:abc/", "http://xn--/"])
def test_a_redirect_to_no_place_is_one_failed_url(where: str) -> None:
    with pytest.raises(network.Failure):
        network._target(URL("http://example.org/a"), where)


def test_of_two_rows_about_one_image_the_first_counts_and_nothing_says_nothing(
    photos: Path, home: Path
) -> None:
    shutil.copy(photos / "0.png", photos / "copy.png")
    (photos / "labels.csv").write_text("path,label\n0.png,kept\n")
    options = Options(**{**QUICK.__dict__, "metadata": (photos / "labels.csv",)})
    build("said", [photos], options)
    names = [f"{number}.png" for number in range(6)]
    own = pa.table(
        {
            "path": ["0.png", "copy.png", *names[1:]],
            "x": [float(n) for n in range(7)],
            "y": [float(n % 3) for n in range(7)],
            "label": pa.array([None] * 7, pa.string()),
            "shade": [f"row {n}" for n in range(7)],
        }
    )
    pyarrow.parquet.write_table(own, photos / "own.parquet")
    report = build("said", [photos / "own.parquet"], Options(encoder="builtin", cluster="kmeans"))
    assert report.images == 6
    fields = {row["item_id"]: row for row in store("said").fields().to_pylist()}
    (kept,) = [row for row in fields.values() if row["label"] == "kept"]
    assert kept["shade"] == "row 0"


def test_two_tables_about_the_same_images_are_told(photos: Path, home: Path) -> None:
    names = np.array([f"{number}.png" for number in range(6)])
    np.savez(photos / "vectors.npz", paths=names, vectors=np.eye(6, 8, dtype=np.float32))
    np.savez(photos / "clusters.npz", paths=names, clusters=np.arange(6) % 2)
    specs = [photos / "vectors.npz", photos / "clusters.npz"]
    report = build("split", specs, Options(layout="pca", cluster="kmeans"))
    assert any("6 images are told of by two sources" in note for note in report.notes)


def test_an_archive_that_moved_is_found_and_nothing_counts_as_missing(
    photos: Path, home: Path
) -> None:
    with zipfile.ZipFile(photos.parent / "old.zip", "w") as archive:
        for photo in sorted(photos.iterdir()):
            archive.write(photo, photo.name)
    build("zipped", [photos.parent / "old.zip"], QUICK)
    (photos.parent / "old.zip").rename(photos.parent / "new.zip")
    found = relocate("zipped", photos.parent / "old.zip", photos.parent / "new.zip")
    assert (found.found, found.absent, found.changed) == (6, (), ())
    assert {row.status for row in store("zipped").locations()} == {"ok", "moved"}
    report = build("zipped", [photos.parent / "new.zip"], QUICK)
    assert (report.unchanged, report.missing) == (6, 0)


def test_a_glob_of_folders_goes_any_depth_down(photos: Path, home: Path) -> None:
    deep = photos.parent / "a" / "b" / "images"
    deep.parent.mkdir(parents=True)
    photos.rename(deep)
    assert build("deep", [f"{photos.parent}/a/**/images"], QUICK).images == 6


def test_a_mistyped_encoder_is_refused_before_anything_is_fetched(home: Path) -> None:
    with pytest.raises(CurationError, match="unknown encoder 'bultin'"):
        build("web", ["http://127.0.0.1:9/never.jpg"], Options(encoder="bultin"))
    with pytest.raises(CurationError, match="unknown decoder"):
        build("web", ["http://127.0.0.1:9/never.jpg"], Options(encoder="builtin", decode="gpu"))
    assert not (home / "web").exists()


def test_an_address_with_a_password_is_refused_and_not_repeated(home: Path) -> None:
    with pytest.raises(CurationError, match="cannot be downloaded") as caught:
        build("web", ["http://bob:secret@example.org/1.jpg"], QUICK)
    assert "secret" not in str(caught.value)
