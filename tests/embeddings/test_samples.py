"""The samples: same bytes from the same seed, and every planted fact is true of the files."""

import hashlib
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embeddings import CurationError
from embeddings.samples.digits import render
from embeddings.samples.scenes import generate
from embeddings.samples.truth import Truth, read_truth

SCENES = 60
AMOUNTS = {"exact": 0.1, "near": 0.2, "outliers": 0.2, "drifted": 0.3, "wrong": 0.1}


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    folder = tmp_path_factory.mktemp("samples") / "scenes"
    return folder, generate(folder, scenes=SCENES, **AMOUNTS)


def pixels(folder: Path, path: str) -> np.ndarray:
    return np.asarray(Image.open(folder / path).convert("RGB"), np.float64)


def test_digits_are_rendered_once_with_their_labels(tmp_path):
    folder = render(tmp_path / "digits")
    lines = (folder / "labels.csv").read_text().splitlines()
    assert lines[:2] == ["path,digit", "digit_0000.png,0"]
    assert len(lines) == 1798
    image = Image.open(folder / "digit_0000.png")
    assert (image.size, image.mode) == ((64, 64), "L")
    assert np.asarray(image).std() > 50  # a light digit on a dark ground, not a solid block
    assert np.median(np.asarray(image)) < 64
    changed = (folder / "labels.csv").stat().st_mtime_ns
    assert render(folder) == folder
    assert (folder / "labels.csv").stat().st_mtime_ns == changed
    assert digest(render(tmp_path / "again")) == digest(folder)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == [
        "again",
        "digits",
    ]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    for make in (render, generate):
        with pytest.raises(CurationError, match="absent or empty"):
            make(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(scenes, tmp_path):
    folder, _ = scenes
    generate(tmp_path / "again", scenes=SCENES, **AMOUNTS)
    assert digest(tmp_path / "again") == digest(folder)
    generate(tmp_path / "other", scenes=3, seed=1)
    assert digest(tmp_path / "other")["images/img_00000.jpg"] not in digest(folder).values()


def test_scenes_that_are_there_are_read_and_another_recipe_is_refused(scenes):
    folder, truth = scenes
    before = (folder / "truth.csv").stat().st_mtime_ns
    again = generate(folder, scenes=SCENES, **AMOUNTS)
    assert (folder / "truth.csv").stat().st_mtime_ns == before
    for name in ("path", "kind", "of", "how", "label", "given_label", "identity", "xyxy"):
        np.testing.assert_array_equal(getattr(again, name), getattr(truth, name))
    with pytest.raises(CurationError, match="absent or empty"):
        generate(folder, scenes=SCENES, seed=2, **AMOUNTS)


def test_everything_asked_for_is_planted(scenes):
    folder, truth = scenes
    assert Counter(truth.kind.tolist()) == {
        "scene": 60,
        "exact_duplicate": 6,
        "near_duplicate": 12,
        "outlier": 12,
        "drift": 18,
    }
    near = Counter(truth.how[truth.rows("near_duplicate")].tolist())
    assert near == {"jpeg": 3, "resize": 3, "crop": 3, "flip": 3}
    odd = Counter(truth.how[truth.rows("outlier")].tolist())
    assert odd == {"noise": 3, "card": 3, "blank": 3, "blur": 3}
    assert truth.wrong.sum() == 6
    assert (truth.kind[truth.wrong] == "scene").all()
    assert len(list((folder / "images").iterdir())) == len(truth)


def test_exactly_the_planted_duplicates_are_the_same_bytes(scenes):
    folder, truth = scenes
    same = {}
    for path in truth.path.tolist():
        same.setdefault((folder / path).read_bytes(), []).append(path)
    found = {tuple(paths) for paths in same.values() if len(paths) > 1}
    rows = truth.rows("exact_duplicate")
    assert found == {(str(truth.of[row]), str(truth.path[row])) for row in rows}


def test_boxes_lie_inside_their_image_and_hold_something(scenes):
    folder, truth = scenes
    for row in np.unique(truth.box_image):
        image = pixels(folder, truth.path[row])
        height, width = image.shape[:2]
        for x1, y1, x2, y2 in truth.xyxy[truth.box_image == row]:
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
            assert image[int(y1) : int(y2), int(x1) : int(x2)].std() > 15


def test_no_box_is_drawn_over_another_and_outliers_have_none(scenes):
    _, truth = scenes
    assert not np.isin(truth.rows("outlier"), truth.box_image).any()
    assert (truth.label[truth.rows("outlier")] == "").all()
    for row in truth.rows("scene"):
        boxes = truth.xyxy[truth.box_image == row]
        for i, a in enumerate(boxes):
            for b in boxes[i + 1 :]:
                assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]


def test_the_label_is_the_class_of_the_biggest_box(scenes):
    _, truth = scenes
    for row in np.unique(truth.box_image):
        mine = np.flatnonzero(truth.box_image == row)
        size = np.ptp(truth.xyxy[mine].reshape(-1, 2, 2), axis=1).prod(axis=1)
        best = mine[size.argmax()]
        if truth.how[row] != "crop":  # what is cut off can make another box the biggest
            assert truth.box_class[best] == truth.label[row]
            assert truth.box_identity[best] == truth.identity[row]
        assert truth.identity[row].startswith(truth.label[row])


@pytest.mark.parametrize("how", ["jpeg", "resize", "crop", "flip"])
def test_near_duplicates_are_their_original_undone(scenes, how):
    folder, truth = scenes
    row = truth.rows("near_duplicate", how)[0]
    copy, original = pixels(folder, truth.path[row]), pixels(folder, truth.of[row])
    height, width = original.shape[:2]
    if how == "flip":
        copy = copy[:, ::-1]
    elif how == "crop":
        original = original[height // 16 : -(height // 16), width // 16 : -(width // 16)]
    elif how == "resize":
        assert copy.shape == (height * 3 // 5, width * 3 // 5, 3)
        copy = np.asarray(Image.fromarray(copy.astype(np.uint8)).resize((width, height)))
    assert 0 < np.abs(copy - original).mean() < 8
    source = int(np.flatnonzero(truth.path == truth.of[row])[0])
    assert (truth.box_image == row).sum() <= (truth.box_image == source).sum()


def test_the_drifted_batch_is_darker_and_mixed_otherwise(scenes):
    folder, truth = scenes
    light = {
        kind: np.mean([pixels(folder, truth.path[row]).mean() for row in truth.rows(kind)])
        for kind in ("scene", "drift")
    }
    assert light["drift"] < 0.7 * light["scene"]
    common = {
        kind: np.isin(truth.label[truth.rows(kind)], ["mug", "ball", "fish"]).mean()
        for kind in ("scene", "drift")
    }
    assert common["drift"] < common["scene"]
    lines = (folder / "labels.csv").read_text().splitlines()
    assert sum(line.endswith(",drift") for line in lines) == 18


def test_the_boxes_are_valid_coco(scenes):
    folder, truth = scenes
    coco = json.loads((folder / "boxes.json").read_text())
    assert len(coco["annotations"]) == len(truth.box_image)
    assert len(coco["categories"]) == 8
    for entry in coco["images"]:
        with Image.open(folder / entry["file_name"]) as image:
            assert image.size == (entry["width"], entry["height"])
    ids = {entry["id"] for entry in coco["images"]}
    assert {box["image_id"] for box in coco["annotations"]} <= ids
    again, info = read_truth(folder)
    np.testing.assert_array_equal(again.box_identity, truth.box_identity)
    assert info["scenes"] == SCENES


def test_individuals_of_a_class_differ_in_colour(scenes):
    _, truth = scenes
    people = {str(name) for name in truth.box_identity}
    assert len(people) > 20
    assert len({tuple(name.split("-")[:2]) for name in people}) == len(people)


def test_a_recipe_that_makes_no_sense_is_refused(tmp_path):
    with pytest.raises(CurationError, match="scenes must be at least 1"):
        generate(tmp_path / "none", scenes=0)
    with pytest.raises(CurationError, match="per_class must be 1 to 10, got 11"):
        generate(tmp_path / "many", per_class=11)


def test_a_render_that_dies_leaves_nothing_behind(tmp_path, monkeypatch):
    def full_disk(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(io, "BytesIO", full_disk)
    with pytest.raises(OSError, match="No space"):
        generate(tmp_path / "scenes", scenes=2)
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == []
