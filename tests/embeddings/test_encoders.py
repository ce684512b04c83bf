"""What every encoder keeps to, and how encoders are found by name."""

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from embeddings.encoders import DEFAULT, ENCODERS, PRESETS, Encoder, load, space_name
from embeddings.encoders.support import Framing
from embeddings.errors import CurationError

from .encoder_examples import photograph, tiny_clip, tiny_onnx

# One small instance of every registry entry. A new encoder adds a line and gets the tests below.
EXAMPLES: dict[str, Callable[[Path], str]] = {
    "builtin": lambda folder: "builtin",
    "onnx": tiny_onnx,
    "open_clip": tiny_clip,
}


@pytest.fixture(scope="module", params=ENCODERS.names())
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    assert request.param in EXAMPLES, f"add a small {request.param!r} encoder to EXAMPLES"
    return load(EXAMPLES[request.param](tmp_path_factory.mktemp(request.param)), device="cpu")


def test_an_encoder_has_the_parts_of_the_protocol(encoder: Encoder) -> None:
    assert isinstance(encoder, Encoder)
    assert encoder.encoder_id.partition(":")[0] in ENCODERS.names()
    assert min(encoder.dim, encoder.min_side, encoder.batch_size) >= 1


@pytest.mark.parametrize("frame", [(32, 32), (16, 64)])
def test_a_thin_strip_is_cut_before_it_is_scaled(
    frame: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    scaled: list[int] = []
    resize = PIL.Image.Image.resize

    def watched(image: PIL.Image.Image, size: tuple[int, int], *rest: Any) -> PIL.Image.Image:
        scaled.append(max(size))
        return resize(image, size, *rest)

    monkeypatch.setattr(PIL.Image.Image, "resize", watched)
    pixels = np.zeros((2, 20_000, 3), np.uint8)
    pixels[:, 9_000:11_000] = 200  # the middle, which is all that the frame shows
    for strip in (pixels, pixels.transpose(1, 0, 2)):
        framed = Framing(*frame).apply(PIL.Image.fromarray(strip))
        assert framed.shape == (*frame, 3) and (framed == 200).all()
    assert scaled and max(scaled) <= 64 * 4 * 64


@pytest.mark.parametrize("size", [(64, 64), (200, 31), (31, 200), (1, 1), (3, 900), (1000, 700)])
def test_every_image_is_prepared_to_one_shape(encoder: Encoder, size: tuple[int, int]) -> None:
    usual = encoder.prepare(photograph(0))
    prepared = encoder.prepare(photograph(1, size))
    assert (prepared.shape, prepared.dtype) == (usual.shape, usual.dtype)


def test_preparing_leaves_the_image_as_it_was_and_is_safe_in_threads(encoder: Encoder) -> None:
    images = [photograph(seed, (120 + seed, 80)) for seed in range(12)]
    before = [image.tobytes() for image in images]
    alone = [encoder.prepare(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(encoder.prepare, images))
    np.testing.assert_array_equal(together, alone)
    assert [image.tobytes() for image in images] == before


def test_vectors_have_unit_length_and_differ_between_images(encoder: Encoder) -> None:
    batch = np.stack([encoder.prepare(photograph(seed)) for seed in range(6)])
    vectors = encoder.encode(batch)
    assert vectors.shape == (6, encoder.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    off_diagonal = (vectors @ vectors.T)[~np.eye(6, dtype=bool)]
    assert off_diagonal.max() < 0.99999


def test_a_vector_depends_on_its_own_image_only_to_the_bit(encoder: Encoder) -> None:
    n = encoder.batch_size + 3
    batch = np.stack([encoder.prepare(photograph(seed % 9, (70, 50 + seed))) for seed in range(n)])
    vectors = encoder.encode(batch)
    np.testing.assert_array_equal(encoder.encode(batch), vectors)
    np.testing.assert_array_equal(encoder.encode(batch[2:3]), vectors[2:3])
    np.testing.assert_array_equal(encoder.encode(batch[::-1]), vectors[::-1])
    np.testing.assert_array_equal(encoder.encode(batch[5:]), vectors[5:])


def test_no_images_give_no_vectors(encoder: Encoder) -> None:
    none = np.stack([encoder.prepare(photograph(0))])[:0]
    assert encoder.encode(none).shape == (0, encoder.dim)


def test_a_flat_picture_has_a_vector(encoder: Encoder) -> None:
    from PIL import Image

    flat = [Image.new("RGB", (50, 40), colour) for colour in ("black", "white", "grey")]
    if encoder.encoder_id.startswith("onnx:"):
        flat = flat[1:]  # the example is the identity: black is the zero vector, which is refused
    vectors = encoder.encode(np.stack([encoder.prepare(image) for image in flat]))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_description_is_flat_and_can_be_stored(encoder: Encoder) -> None:
    told = encoder.describe()
    assert {"model", "preprocess", "device", "dtype"} <= set(told)
    assert all(type(value) in (str, int, float) for value in told.values())
    assert json.loads(json.dumps(told)) == told


def test_an_unknown_encoder_is_refused_with_the_known_ones() -> None:
    with pytest.raises(CurationError, match=r"unknown encoder 'resnet'.*builtin, onnx.*balanced"):
        load("resnet")


def test_an_unknown_device_is_refused(encoder: Encoder, tmp_path: Path) -> None:
    kind = encoder.encoder_id.partition(":")[0]
    if kind == "builtin":
        pytest.skip("the builtin encoder always runs on the CPU")
    for device, why in (("tpu", "unknown device"), ("cuda:77", "(?i)cuda")):
        with pytest.raises(CurationError, match=why):
            load(EXAMPLES[kind](tmp_path), device=device)


def test_builtin_takes_no_specification() -> None:
    with pytest.raises(CurationError, match="takes nothing after it, got 'large'"):
        load("builtin:large")


def test_presets_name_weights_that_open_clip_knows() -> None:
    from embeddings.encoders.torchvision_fix import import_open_clip

    open_clip = import_open_clip()
    assert list(PRESETS) == ["fast", "balanced", "best"]
    for name in {DEFAULT, *PRESETS.values()}:
        model, tag = name.removeprefix("open_clip:").split("/")
        assert tag in open_clip.list_pretrained_tags_by_model(model), name


def test_space_names_are_safe_and_never_shared() -> None:
    ids = ["builtin", DEFAULT, DEFAULT.replace("/", ":"), DEFAULT.replace("/", "_"), "a/b", "a_b"]
    ids += [space_name(one) for one in ids if space_name(one) != one]
    names = [space_name(one) for one in ids]
    assert len(set(names)) == len(ids)
    assert all(set(name) <= set("-._" + _letters()) for name in names)
    assert space_name("builtin") == "builtin"
    assert space_name("a/b").startswith("a_b-")
    with pytest.raises(ValueError, match="must not be empty"):
        space_name("")


def _letters() -> str:
    import string

    return string.ascii_letters + string.digits


def test_importing_the_encoders_loads_no_model_library() -> None:
    code = (
        "import sys, embeddings.encoders as e; e.ENCODERS.names(); e.space_name('a:b');"
        "print([m for m in ('torch', 'torchvision', 'cv2', 'onnxruntime', 'open_clip', 'timm')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_open_clip_can_be_imported_whatever_torchvision_was_built_for() -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor;"
        "from embeddings.encoders.torchvision_fix import import_open_clip as door;"
        "a, b = ThreadPoolExecutor(2).map(lambda _: door(), range(2));"
        "import torch, torchvision.transforms.functional as f;"
        "assert a is b is door();"
        "print('ViT-B-32' in a.list_models(), f.resize(torch.ones(3, 4, 4), [2, 2]).shape[-1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "2"], done.stderr


def test_a_vector_without_a_direction_becomes_zeros_and_its_neighbours_keep_theirs() -> None:
    from embeddings.encoders.support import unit_length

    rows = np.array([[3, 4], [0, 0], [np.nan, 1], [np.inf, 1]], np.float32)
    found = unit_length(rows)
    assert np.allclose(found, [[0.6, 0.8], [0, 0], [0, 0], [0, 0]])
