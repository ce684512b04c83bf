"""Growing a dataset: new files, gone files, moved files; nobody moves and nothing is lost."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from embeddings import dataset as datasets
from embeddings.add import add
from embeddings.build import Options, Report, build
from embeddings.errors import CurationError
from embeddings.relocate import relocate
from embeddings.samples import scenes
from embeddings.store import Store

QUICK = Options(encoder="builtin", layout="pca", cluster="kmeans", neighbours=5)
ADD = Options(encoder="")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    scenes.generate(tmp_path / "scenes", scenes=30, seed=5)
    return tmp_path / "scenes" / "images"


@pytest.fixture
def later(tmp_path: Path) -> Path:
    scenes.generate(tmp_path / "more", scenes=12, seed=6)
    return tmp_path / "more" / "images"


def store() -> Store:
    return Store(datasets.open_dataset("scenes").tables)


def statuses() -> dict[str, str]:
    return {Path(row.path).name: row.status for row in store().locations()}


def test_added_images_are_on_the_atlas_and_nobody_moved(photos: Path, later: Path) -> None:
    before = store_atlas(build("scenes", [photos], QUICK).atlas_version)
    report = add("scenes", [later], ADD)
    after = store_atlas(report.atlas_version)
    assert report.new_vectors > 0 and len(after) == len(before) + report.new_vectors
    assert np.array_equal(after.xy[after.rows_of(before.item_ids)], before.xy)
    assert np.isfinite(after.xy).all()
    assert store().atlas_runs()[-1]["version"] == report.atlas_version, "it is the newest"
    again = add("scenes", [later], ADD)
    assert (again.new_vectors, again.atlas_version) == (0, report.atlas_version)


def test_an_add_stands_on_the_atlas_that_another_made_just_before_it(
    photos: Path, later: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build("scenes", [photos], QUICK)
    more = tmp_path / "last"
    scenes.generate(more, scenes=8, seed=7)
    module = sys.modules[add.__module__]
    run = module.run

    def meanwhile(*arguments: Any) -> Report:
        monkeypatch.setattr(module, "run", run)
        between.append(add("scenes", [later], ADD, anew=True).atlas_version)
        return run(*arguments)

    between: list[str] = []
    monkeypatch.setattr(module, "run", meanwhile)
    after = store_atlas(add("scenes", [more / "images"], ADD).atlas_version)
    before = store_atlas(between[0])
    assert len(after) > len(before)
    assert np.array_equal(after.xy[after.rows_of(before.item_ids)], before.xy)


def store_atlas(version: str):
    return store().atlas(version)


def test_a_refit_is_a_new_version_beside_the_grown_one(photos: Path, later: Path) -> None:
    build("scenes", [photos], QUICK)
    report = add("scenes", [later], ADD, anew=True)
    runs = store().atlas_runs()
    assert [run["version"] for run in runs][-1] == report.atlas_version
    assert len(runs) == 3
    assert runs[-1]["params"]["base"] == runs[-2]["version"]


def test_files_that_are_gone_are_marked_and_their_images_stay(photos: Path, later: Path) -> None:
    build("scenes", [photos], QUICK)
    images = store().count("images")
    gone = sorted(photos.iterdir())[0]
    kept = gone.read_bytes()
    gone.unlink()
    assert add("scenes", [photos], ADD).missing == 1
    assert statuses()[gone.name] == "missing"
    assert store().count("images") == images
    assert add("scenes", [photos], ADD).missing == 0, "told once"
    gone.write_bytes(kept)
    add("scenes", [photos], ADD)
    assert statuses()[gone.name] == "ok", "it came back"


def test_moved_files_are_found_by_their_bytes(photos: Path, tmp_path: Path) -> None:
    build("scenes", [photos], QUICK)
    moved = tmp_path / "archive" / "2026"
    shutil.copytree(photos, moved)
    shutil.rmtree(photos)
    names = sorted(path.name for path in moved.iterdir())
    (moved / names[0]).unlink()
    PIL.Image.new("RGB", (9, 9)).save(moved / names[1], "PNG")
    found = relocate("scenes", photos, moved)
    assert found.found == len(names) - 2
    assert [Path(path).name for path in found.absent] == [names[0]]
    assert [Path(path).name for path in found.changed] == [names[1]]
    places = {row.path: row.status for row in store().locations()}
    assert places[str(moved / names[2])] == "ok"
    assert places[str(photos / names[2])] == "moved"
    report = build("scenes", [moved], QUICK)
    assert report.unchanged == len(names) - 2, "a later build knows them"


def test_adding_needs_a_dataset_with_an_atlas_and_its_encoder(photos: Path) -> None:
    with pytest.raises(CurationError, match="no dataset 'scenes'"):
        add("scenes", [photos], ADD)
    datasets.create_dataset("scenes")
    with pytest.raises(CurationError, match="has no atlas yet"):
        add("scenes", [photos], ADD)


def test_relocating_what_was_never_met_or_to_nowhere_is_refused(photos: Path) -> None:
    build("scenes", [photos], QUICK)
    with pytest.raises(CurationError, match="no such file or folder"):
        relocate("scenes", photos, photos / "nowhere")
    with pytest.raises(CurationError, match="was met below"):
        relocate("scenes", Path("/never/met"), photos)
