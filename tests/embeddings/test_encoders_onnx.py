"""ONNX encoders: the JSON's promises, number by number, and real weights on real photographs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embeddings.encoders import load
from embeddings.encoders.onnx import threads
from embeddings.errors import CurationError

from .encoder_examples import (
    RealData,
    flatten_onnx,
    mobilenet_onnx,
    one_nearest_accuracy,
    photograph,
)


def graph(folder: Path, settings: Any, shape: Any = ("n", 3, 4, 4), type_code: int = 1) -> str:
    path = flatten_onnx(folder / "flat.onnx", shape, type_code=type_code)
    path.with_suffix(".json").write_text(
        settings if isinstance(settings, str) else json.dumps(settings)
    )
    return f"onnx:{path}"


def unit(values: np.ndarray) -> np.ndarray:
    flat = values.reshape(len(values), -1).astype(np.float64)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def test_pixels_are_scaled_shifted_and_laid_out_as_the_json_says(tmp_path: Path) -> None:
    settings = {"size": 4, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.25, 1.0], "channels": "BGR"}
    encoder = load(graph(tmp_path, settings))
    pixels = np.asarray(photograph(1, (4, 4)))
    expected = (pixels[:, :, ::-1] / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.25, 1.0]
    found = encoder.encode(np.stack([encoder.prepare(Image.fromarray(pixels))]))
    np.testing.assert_allclose(found, unit(expected.transpose(2, 0, 1)[None]), atol=1e-6)


def test_channels_may_come_last_and_sides_may_differ(tmp_path: Path) -> None:
    settings = {"size": [2, 6], "resize": "squash", "layout": "NHWC", "scale": 1}
    encoder = load(graph(tmp_path, settings, ("n", 2, 6, 3)))
    image = photograph(2, (6, 2))
    found = encoder.encode(np.stack([encoder.prepare(image)]))
    np.testing.assert_allclose(found, unit(np.asarray(image)[None]), atol=1e-6)


def test_the_side_before_the_crop_decides_what_is_cut_away(tmp_path: Path) -> None:
    settings = {"size": 4, "resize_to": 8, "interpolation": "nearest"}
    encoder = load(graph(tmp_path, settings))
    image = photograph(3, (8, 8))
    np.testing.assert_array_equal(encoder.prepare(image), np.asarray(image)[2:6, 2:6])
    assert encoder.min_side == 8


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_every_level_of_every_channel_is_normalised_exactly(
    tmp_path: Path, layout: str, channels: str
) -> None:
    settings = {
        "size": [16, 16],
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "layout": layout,
        "channels": channels,
    }
    shape = ("n", 3, 16, 16) if layout == "NCHW" else ("n", 16, 16, 3)
    encoder = load(graph(tmp_path, settings, shape))
    levels = np.stack([np.roll(np.arange(256), turn) for turn in (0, 85, 170)], axis=-1)
    batch = levels.astype(np.uint8).reshape(1, 16, 16, 3)
    mean, std = (np.array(settings[key], np.float32) for key in ("mean", "std"))
    ordered = batch[..., ::-1] if channels == "BGR" else batch
    expected = (ordered.astype(np.float32) * np.float32(1 / 255) - mean) / std
    if layout == "NCHW":
        expected = expected.transpose(0, 3, 1, 2)
    found = encoder._normalised(batch)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("batch", [1, 5])
def test_a_graph_with_a_fixed_batch_is_fed_just_that(tmp_path: Path, batch: int) -> None:
    encoder = load(graph(tmp_path, {"size": 4}, (batch, 3, 4, 4)))
    assert encoder.batch_size == batch
    images = np.stack([np.asarray(photograph(seed, (4, 4))) for seed in range(7)])
    expected = unit(images.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(encoder.encode(images), expected, atol=1e-6)


@pytest.mark.parametrize(("type_code", "name"), [(2, "uint8"), (10, "float16")])
def test_graphs_may_take_other_numbers_than_float32(
    tmp_path: Path, type_code: int, name: str
) -> None:
    encoder = load(graph(tmp_path, {"size": 4, "scale": 1}, type_code=type_code))
    images = np.stack([np.asarray(photograph(5, (4, 4)))])
    found = encoder.encode(images)
    np.testing.assert_allclose(found, unit(images.transpose(0, 3, 1, 2)), atol=1e-4)
    assert encoder.describe()["dtype"] == name


def test_the_id_changes_with_the_weights_and_with_the_json_and_with_nothing_else(
    tmp_path: Path,
) -> None:
    def encoder_id(folder: str, **settings: Any) -> str:
        (tmp_path / folder).mkdir()
        return load(graph(tmp_path / folder, {"size": 4, **settings})).encoder_id

    first = encoder_id("a")
    assert first.startswith("onnx:flat#")
    assert encoder_id("b") == first
    assert encoder_id("c", resize_to=None) == first
    assert encoder_id("d", interpolation="bilinear") != first
    (tmp_path / "e").mkdir()
    assert load(graph(tmp_path / "e", {"size": 4}, ("m", 3, 4, 4))).encoder_id != first


def test_without_its_json_the_error_shows_what_to_write(tmp_path: Path) -> None:
    path = flatten_onnx(tmp_path / "model.onnx", ("n", 3, 4, 4))
    with pytest.raises(
        CurationError, match=r"write .*model\.json, for example \{\"size\": 224"
    ) as e:
        load(f"onnx:{path}")
    example = str(e.value).partition("for example ")[2]
    path.with_suffix(".json").write_text(example)
    with pytest.raises(CurationError, match=r"expects .*size 224; correct the \.json"):
        load(f"onnx:{path}")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "must hold a JSON object"),
        ({}, '"size" must be pixels'),
        ({"size": 0}, '"size" must be pixels'),
        ({"size": [4, 4, 3]}, '"size" must be pixels'),
        ({"size": True}, '"size" must be pixels'),
        ({"size": 4, "resize_to": "8"}, '"resize_to" must be pixels'),
        ({"size": 4, "resize": "stretch"}, "one of shortest, longest, squash, got 'stretch'"),
        ({"size": 4, "interpolation": "cubic"}, "one of nearest, bilinear, bicubic, lanczos"),
        ({"size": 4, "layout": "CHW"}, "one of NCHW, NHWC"),
        ({"size": 4, "mean": 0.5}, '"mean" must be three numbers'),
        ({"size": 4, "std": [1, 0, 1]}, '"std" must not be 0'),
        ({"size": 4, "scale": None}, '"scale" must be a number'),
        ({"size": 4, "fill": "black"}, '"fill" must be 0 to 255'),
        ({"size": 4, "means": [0, 0, 0]}, "unknown keys means"),
        ({"size": 5}, r"correct the \.json"),
        ({"size": 4, "layout": "NHWC"}, r"correct the \.json"),
        ({"size": 4, "input": "image"}, "has the inputs pixels.*got 'image'"),
        ({"size": 4, "output": "logits"}, "has the outputs flat.*got 'logits'"),
    ],
)
def test_a_json_with_a_mistake_is_refused_with_the_remedy(
    tmp_path: Path, settings: Any, message: str
) -> None:
    with pytest.raises(CurationError, match=message):
        load(graph(tmp_path, settings))


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    for content in (b"hello", b""):
        (tmp_path / "bad.onnx").write_bytes(content)
        (tmp_path / "bad.json").write_text('{"size": 4}')
        with pytest.raises(CurationError, match=r"onnxruntime cannot load .*bad\.onnx"):
            load(f"onnx:{tmp_path / 'bad.onnx'}")
    with pytest.raises(CurationError, match="no such file"):
        load("onnx:absent.onnx")


def test_the_threads_asked_for_are_the_threads_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads() == 3
    for unusable in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", unusable)
        assert threads() >= 1


@pytest.mark.data
def test_real_weights_tell_real_photographs_apart(real_data: RealData, tmp_path: Path) -> None:
    encoder = load(mobilenet_onnx(tmp_path, real_data), device="cpu")
    assert encoder.dim == 1280
    folder = real_data("photos_clothing")
    rows = [line.split(",") for line in (folder / "labels.csv").read_text().splitlines()[1:]]
    rows = sorted(rows, key=lambda row: row[1])[:: len(rows) // 400][:400]
    prepared = []
    for path, *_ in rows:
        with Image.open(folder / path) as image:
            prepared.append(encoder.prepare(image.convert("RGB")))
    labels = np.array([label for _, label, *_ in rows])
    accuracy = one_nearest_accuracy(encoder.encode(np.stack(prepared)), labels)
    assert accuracy >= 0.55  # 0.798 on all 3,781 photographs; always saying t-shirt 0.245
