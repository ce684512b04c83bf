"""The pipeline: resumable, the same twice, and every bad file a row."""

import gc
import io
import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from embeddings import dataset as datasets
from embeddings import encoders
from embeddings.build import Options, build, building
from embeddings.errors import CurationError
from embeddings.files import find
from embeddings.ingest import Ingest, ordered, workers
from embeddings.samples import scenes
from embeddings.stages import Timings, silent
from embeddings.store import Store

QUICK = Options(encoder="builtin", layout="pca", cluster="kmeans", neighbours=5)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    scenes.generate(folder / "scenes", scenes=40, seed=3)
    return folder / "scenes"


def store_of(name: str) -> Store:
    return Store(datasets.open_dataset(name).tables)


def count_files(folder: Path) -> int:
    return sum(path.suffix in (".jpg", ".png") for path in folder.rglob("*"))


def assert_every_id_once(store: Store) -> None:
    for table, column in (("images", "image_id"), ("items", "item_id"), ("locations", "path")):
        names = store.read(table, [column])[column].to_pylist()
        assert len(names) == len(set(names)), f"{table} has a row twice"


def test_a_build_makes_images_items_vectors_and_an_atlas(truth: Path) -> None:
    report = build("scenes", [truth], QUICK)
    store = store_of("scenes")
    files = count_files(truth)
    assert report.files == files
    assert store.count("locations") == files
    assert report.images == files - report.duplicates, "same bytes twice is one image"
    assert report.duplicates > 0, "the generator plants exact duplicates"
    assert store.count("items") == store.count("images") == report.new_vectors
    atlas = store.atlas(report.atlas_version)
    assert atlas.item_ids.tolist() == store.item_ids().tolist()
    assert atlas.xy.min() >= 0 and atlas.xy.max() <= 1
    stages = report.timings["stages"]
    for stage in "scan decode fingerprint thumbnail prepare encode store".split():
        assert stages[stage]["items"] > 0 and stages[stage]["seconds"] >= 0
    kept = json.loads((datasets.open_dataset("scenes").path / "last_build.json").read_text())
    assert kept["atlas_version"] == report.atlas_version


def test_the_same_input_gives_the_same_atlas(truth: Path, tmp_path: Path, monkeypatch) -> None:
    first = build("scenes", [truth], QUICK)
    kept = store_of("scenes").atlas(first.atlas_version)
    copy = tmp_path / "elsewhere"
    shutil.copytree(truth, copy)
    monkeypatch.setenv("CURATE_HOME", str(tmp_path / "other home"))
    second = build("scenes", [copy], QUICK)
    assert second.atlas_version == first.atlas_version
    again = store_of("scenes").atlas(second.atlas_version)
    assert np.array_equal(again.xy, kept.xy) and np.array_equal(again.cluster, kept.cluster)


def test_a_second_build_computes_nothing_again(truth: Path) -> None:
    first = build("scenes", [truth], QUICK)
    second = build("scenes", [truth], QUICK)
    assert second.unchanged == second.files
    assert (second.new_images, second.new_vectors) == (0, 0)
    assert second.atlas_version == first.atlas_version
    assert not {"decode", "encode", "neighbours", "project"} & second.timings["stages"].keys()
    assert len(store_of("scenes").atlas_runs()) == 1


def test_only_new_files_are_computed_when_the_folder_grows(truth: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(truth, folder)
    before = build("scenes", [folder], QUICK)
    seen = {row["image_id"]: row["first_seen"] for row in _images("scenes")}
    PIL.Image.new("RGB", (90, 70), "teal").save(folder / "new.png")
    after = build("scenes", [folder], QUICK)
    assert (after.new_images, after.new_vectors) == (1, 1)
    assert after.unchanged == before.files
    assert after.atlas_version != before.atlas_version
    later = {row["image_id"]: row["first_seen"] for row in _images("scenes")}
    assert {key: later[key] for key in seen} == seen, "first seen is never overwritten"


def _images(name: str) -> list[dict[str, str]]:
    return store_of(name).read("images", ["image_id", "first_seen"]).to_pylist()


def test_another_layout_is_a_new_version_of_the_same_vectors(truth: Path) -> None:
    first = build("scenes", [truth], QUICK)
    second = build("scenes", [truth], Options(**{**QUICK.__dict__, "dims": 3}))
    assert second.new_vectors == 0
    assert second.atlas_version != first.atlas_version
    assert store_of("scenes").atlas(second.atlas_version).dims == 3


def test_the_atlas_that_was_asked_for_last_is_the_newest(truth: Path) -> None:
    first = build("scenes", [truth], QUICK).atlas_version
    build("scenes", [truth], replace(QUICK, seed=1, cluster="dbscan"))
    again = build("scenes", [truth], QUICK)
    assert again.atlas_version == first
    assert store_of("scenes").atlas_runs()[-1]["version"] == first


def test_a_folder_that_is_no_dataset_s_name_is_passed_over(truth: Path, home: Path) -> None:
    build("scenes", [truth], QUICK)
    shutil.copytree(home / "scenes", home / "scenes (copy)")
    assert datasets.names() == ["scenes"]
    assert datasets.newest() == "scenes"


def test_metadata_and_folder_names_become_fields(truth: Path) -> None:
    table = truth / "truth.csv"
    report = build("scenes", [truth], Options(**{**QUICK.__dict__, "metadata": (table,)}))
    fields = store_of("scenes").fields()
    assert "folder" in fields.column_names
    assert fields.num_rows == report.images
    assert report.metadata[0]["unmatched"] == 0


def test_every_bad_file_is_a_row_with_its_reason_and_the_run_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        PIL.Image.new("RGB", (40 + number, 30), "olive").save(folder / f"good{number}.png")
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("I am no picture")
    whole = io.BytesIO()
    PIL.Image.effect_noise((200, 200), 60).save(whole, "PNG")
    (folder / "cut.png").write_bytes(whole.getvalue()[:900])
    report = build("mixed", [folder], QUICK)
    assert report.images == 4
    assert sum(report.unreadable.values()) == 3
    found = {Path(loc.path).name: loc for loc in store_of("mixed").locations()}
    assert found["empty.jpg"].error == "empty file (0 bytes)"
    assert "not an image" in str(found["text.jpg"].error)
    assert "damaged" in str(found["cut.png"].error)
    assert all(found[f"good{n}.png"].status == "ok" for n in range(4))
    again = build("mixed", [folder], QUICK)
    assert again.unreadable == report.unreadable, "known bad files are reported again"
    assert again.unchanged == 7


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_handful_of_images_has_an_atlas(tmp_path: Path, count: int) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(count):
        PIL.Image.new("RGB", (40, 30 + 9 * number), (80 * number, 99, 0)).save(
            folder / f"{number}.png"
        )
    for layout in ("umap", "pca"):
        report = build("few", [folder], Options(encoder="builtin", layout=layout))
        atlas = store_of("few").atlas(report.atlas_version)
        assert len(atlas) == count and np.isfinite(atlas.xy).all()


def _empty(tmp_path: Path) -> Path:
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


def _unreadable(tmp_path: Path) -> Path:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_text("no picture")
    return tmp_path / "bad"


@pytest.mark.parametrize(
    ("source", "changes", "message"),
    [
        (lambda tmp: tmp / "gone", {}, "no such file or folder"),
        (_empty, {}, "no images below"),
        (None, {"encoder": "clip"}, "unknown encoder 'clip'"),
        (None, {"layout": "mds"}, "unknown layout 'mds'; known: pca, tsne, umap"),
        (None, {"cluster": "ward"}, "unknown clusterer 'ward'"),
        (None, {"metadata": (Path("gone.csv"),)}, "no such metadata table"),
    ],
)
def test_what_cannot_be_built_is_one_line_and_nothing_is_written(
    truth: Path, tmp_path: Path, home: Path, source, changes, message: str
) -> None:
    with pytest.raises(CurationError, match=message) as caught:
        where = truth if source is None else source(tmp_path)
        build("scenes", [where], Options(**{**QUICK.__dict__, **changes}))
    assert "\n" not in str(caught.value)
    assert not home.exists() or not list(home.iterdir())


def test_a_folder_of_unreadable_files_says_why(tmp_path: Path, home: Path) -> None:
    with pytest.raises(CurationError, match="none of the 1 files can be read.*not an image"):
        build("bad", [_unreadable(tmp_path)], QUICK)
    assert "bad" not in datasets.names()


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "x" * 65, "a b", "-x"])
def test_a_name_that_cannot_be_a_folder_is_refused(truth: Path, name: str) -> None:
    with pytest.raises(CurationError, match="cannot name a dataset"):
        build(name, [truth], QUICK)


def test_a_second_build_at_once_is_refused_and_says_who_holds_it(truth: Path) -> None:
    dataset = datasets.create_dataset("scenes")
    with (
        building(dataset),
        pytest.raises(CurationError, match=f"being built by process {os.getpid()}"),
    ):
        build("scenes", [truth], QUICK)
    assert build("scenes", [truth], QUICK).images > 0


def test_a_second_encoder_adds_a_space_and_leaves_the_first_alone(truth: Path) -> None:
    build("scenes", [truth], QUICK)
    store = store_of("scenes")
    before = store.vectors("builtin")

    class Mean:
        """A real encoder, if a poor one: the mean colour of each quarter."""

        encoder_id, dim, min_side, batch_size = "mean", 12, 8, 7

        def prepare(self, image: PIL.Image.Image) -> np.ndarray:
            return np.asarray(image.resize((2, 2)), np.float32)

        def encode(self, batch: np.ndarray) -> np.ndarray:
            rows = batch.reshape(len(batch), -1) + 1
            return rows / np.linalg.norm(rows, axis=1, keepdims=True)

        def describe(self) -> dict[str, str | int | float]:
            return {"model": "mean"}

    timings = Timings()
    ingest = Ingest(store, Mean(), timings, progress=silent)
    result = ingest.run(list(find(truth)))
    assert (result.new_images, result.new_vectors) == (0, len(before))
    assert store.vectors("mean").rows.shape == (len(before), 12)
    assert np.array_equal(store.vectors("builtin").rows, before.rows)
    assert_every_id_once(store)


def test_decoding_goes_on_while_the_encoder_works(truth: Path, tmp_path: Path) -> None:
    inner = encoders.load("builtin")
    prepared, seen = threading.Semaphore(0), []

    class Waiting:
        """Encodes a batch only once images of the next one have been prepared."""

        encoder_id, dim, min_side, batch_size = "waiting", inner.dim, inner.min_side, 8

        def prepare(self, image: PIL.Image.Image) -> np.ndarray:
            prepared.release()
            return inner.prepare(image)

        def encode(self, batch: np.ndarray) -> np.ndarray:
            wanted = len(batch) + 1 if not seen else len(batch)
            last = len(batch) < self.batch_size
            seen.append(all(prepared.acquire(timeout=20) for _ in range(0 if last else wanted)))
            return inner.encode(batch)

        def describe(self) -> dict[str, str | int | float]:
            return inner.describe()

    timings = Timings()
    candidates = list(find(truth))[: 8 * 3 + 2]
    Ingest(Store(tmp_path / "tables"), Waiting(), timings, progress=silent).run(candidates)
    assert len(seen) >= 3 and all(seen)


def test_no_pixels_are_kept_while_rows_wait_to_be_written(tmp_path: Path) -> None:
    side, most = 301, []
    for number in range(120):
        tone = PIL.Image.new("L", (side, side), number)
        tone.save(tmp_path / f"{number}.png")

    def look(stage: str, done: int, total: int | None) -> None:
        if done % 20 == 0:
            held = [each for each in gc.get_objects() if isinstance(each, PIL.Image.Image)]
            most.append(sum(each.size == (side, side) for each in held))

    store, timings = Store(tmp_path / "tables"), Timings()
    candidates = list(find(tmp_path))
    Ingest(store, encoders.load("builtin"), timings, progress=look).run(candidates)
    assert store.count("images") == len(candidates) == 120
    assert max(most) <= 4 * workers()


def test_results_come_in_order_and_a_failure_ends_the_pool() -> None:
    assert list(ordered(lambda n: n * n, range(50), 4, 8)) == [n * n for n in range(50)]

    def fail(number: int) -> int:
        if number == 5:
            raise ZeroDivisionError
        return number

    with pytest.raises(ZeroDivisionError):
        list(ordered(fail, range(50), 4, 8))


def test_a_picture_without_a_usable_vector_is_a_row_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        PIL.Image.effect_noise((40, 40), 30 + 9 * number).save(folder / f"{number}.png")
    shutil.copy(folder / "3.png", folder / "twin.png")
    inner = encoders.load("builtin")

    class Spoiling(type(inner)):  # type: ignore[misc]
        """The builtin encoder, whose third and fourth vector are no vectors."""

        def encode(self, batch: np.ndarray) -> np.ndarray:
            rows = super().encode(batch).copy()
            rows[2], rows[3] = np.nan, 0.0
            return rows

    monkeypatch.setattr(encoders, "load", lambda *_, **__: Spoiling())
    report = build("spoilt", [folder], QUICK)
    assert report.images == 4
    (reason, count), *more = report.unreadable.items()
    assert "no usable vector" in reason and count == 3 and not more
    bad = {Path(row.path).name for row in store_of("spoilt").locations() if row.error}
    assert bad == {"2.png", "3.png", "twin.png"}
