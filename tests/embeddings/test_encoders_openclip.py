"""OpenCLIP encoders: open_clip's own results, local checkpoints, the hub and its absence."""

import json
import pickle
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embeddings.encoders import DEFAULT, TextEncoder, hub, load, precision
from embeddings.encoders.openclip import OpenClip, _framing
from embeddings.encoders.torchvision_fix import import_open_clip
from embeddings.errors import CurationError

from .encoder_examples import (
    TINY_CLIP,
    RealData,
    one_nearest_accuracy,
    photograph,
    tiny_clip,
    words_clip,
)

SIZES = [(37, 201), (500, 333), (48, 48), (10, 300), (49, 96), (255, 256)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_clip(tmp_path_factory.mktemp("tiny"))


def expected_pixels(preprocess: dict[str, Any], image: Image.Image) -> np.ndarray:
    """What open_clip's own preprocess_val makes of `image`."""
    transform = import_open_clip().transform
    config = transform.PreprocessCfg(**preprocess)
    return transform.image_transform_v2(config, is_train=False)(image).numpy()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(48, 48), (40, 64)])
@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
def test_images_are_framed_as_open_clip_frames_them(
    mode: str, size: tuple[int, int], interpolation: str
) -> None:
    preprocess = {
        "size": size,
        "resize_mode": mode,
        "interpolation": interpolation,
        "fill_color": 7,
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
    }
    framing = _framing(preprocess)
    for seed, image_size in enumerate(SIZES):
        image = photograph(seed, image_size)
        found = framing.apply(image).transpose(2, 0, 1) / np.float32(255)
        np.testing.assert_array_equal(found, expected_pixels(preprocess, image), str(image_size))


@pytest.mark.data
def test_real_photographs_reach_the_model_as_from_open_clip(real_data: RealData, tiny: str) -> None:
    encoder = load(tiny, device="cpu")
    assert isinstance(encoder, OpenClip)
    files = sorted((real_data("photos_clothing") / "images").rglob("*.jpg"))[::300]
    assert len(files) > 10
    for file in files:
        with Image.open(file) as image:
            expected = expected_pixels(encoder._preprocess, image)
            found = encoder.normalised(encoder.prepare(image.convert("RGB"))[None])[0].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_saved_checkpoint_of_a_real_architecture_gives_open_clips_vectors(
    tmp_path: Path,
) -> None:
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(1)
    model = import_open_clip().create_model("ViT-S-32-alt").eval()
    path = tmp_path / "random.safetensors"
    save_file(model.state_dict(), path)
    encoder = load(f"open_clip:ViT-S-32-alt/{path}", device="cpu")
    images = [photograph(seed, (300, 260)) for seed in range(3)]
    pixels = [expected_pixels(model.visual.preprocess_cfg, image) for image in images]
    with torch.inference_mode():
        expected = model.encode_image(torch.from_numpy(np.stack(pixels)), normalize=True).numpy()
    found = encoder.encode(np.stack([encoder.prepare(image) for image in images]))
    assert (found * expected).sum(axis=1).min() >= 0.999
    told = encoder.describe()
    lowered = precision.bfloat16_pays(torch.device("cpu"))
    assert told["dtype"] == ("bfloat16" if lowered else "float32")
    assert float(told["bfloat16_cosine"]) >= 0.999
    assert encoder.encoder_id.startswith("open_clip:ViT-S-32-alt/random#")


def test_weights_that_bfloat16_would_change_stay_float32(
    monkeypatch: pytest.MonkeyPatch, tiny: str
) -> None:
    monkeypatch.setattr(precision, "bfloat16_pays", lambda device: True)
    assert load(tiny, device="cpu").describe()["dtype"] == "bfloat16"
    monkeypatch.setattr(precision, "MIN_COSINE", 1.1)
    assert load(tiny, device="cpu").describe()["dtype"] == "float32"
    monkeypatch.setattr(precision, "bfloat16_pays", lambda device: False)
    told = load(tiny, device="cpu").describe()
    assert (told["dtype"], told["bfloat16_cosine"]) == ("float32", 1.0)


def test_the_json_beside_a_checkpoint_decides_architecture_and_preprocessing(tiny: str) -> None:
    encoder = load(tiny, device="cpu")
    assert (encoder.dim, encoder.min_side) == (24, 32)
    assert encoder.encoder_id.startswith("open_clip:tiny-clip/random#")
    told = json.loads(str(encoder.describe()["preprocess"]))
    assert (told["mean"], told["std"]) == ([0.5, 0.4, 0.3], [0.2, 0.25, 0.3])
    assert encoder.encoder_id == load(tiny, device="cpu").encoder_id
    beside = Path(tiny.partition("/")[2]).with_suffix(".json")
    settings = json.loads(beside.read_text())
    beside.write_text(json.dumps({**settings, "preprocess": {"resize_mode": "squash"}}))
    other = load(tiny, device="cpu").encoder_id
    beside.write_text(json.dumps(settings))
    assert other != encoder.encoder_id


def test_a_relative_path_and_a_torch_file_load_as_well(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file

    path = Path(tiny.partition("/")[2])
    torch.save({"state_dict": load_file(path)}, path.with_name("torch.pt"))
    path.with_name("torch.json").write_text(path.with_suffix(".json").read_text())
    monkeypatch.chdir(path.parent)
    images = np.stack([np.asarray(photograph(1, (32, 32)))])
    from_torch = load("open_clip:tiny-clip/torch.pt", device="cpu").encode(images)
    from_safetensors = load("open_clip:tiny-clip/random.safetensors", device="cpu").encode(images)
    np.testing.assert_array_equal(from_torch, from_safetensors)


class Program:
    """What a hostile checkpoint holds: unpickling it would run a program."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("ran"),))


def test_a_pickle_that_is_more_than_tensors_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: str
) -> None:
    import torch

    load(tiny, device="cpu")  # so that the architecture is known
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Program()}, "zip.pt")
    Path("plain.pt").write_bytes(pickle.dumps(Program()))
    for name in ("zip.pt", "plain.pt"):
        with pytest.raises(
            CurationError, match=rf"{name} is refused: it is a pickle .*safetensors"
        ):
            load(f"open_clip:tiny-clip/{name}")
    assert not Path("ran").exists()


@pytest.mark.parametrize("name", ["cut.safetensors", "empty.safetensors", "empty.pt", "cut.pt"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, tiny: str, name: str) -> None:
    import torch

    load(tiny, device="cpu")
    whole = Path(tiny.partition("/")[2])
    if name.endswith(".pt"):
        torch.save({"a": torch.ones(1000)}, tmp_path / "whole.pt")
        whole = tmp_path / "whole.pt"
    (tmp_path / name).write_bytes(b"" if name.startswith("empty") else whole.read_bytes()[:2000])
    with pytest.raises(CurationError, match=f"{name} (does not hold the weights|is refused)"):
        load(f"open_clip:tiny-clip/{tmp_path / name}")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{", "is not JSON"),
        ('{"modell": {}}', "unknown keys modell; known: model, preprocess"),
        ('{"preprocess": {"mean": [0, 0, 0]}}', "may hold image_mean"),
        ('{"model": {"embed_dim": 3}}', "describes another tiny-clip"),
    ],
)
def test_a_json_with_a_mistake_is_refused(
    tmp_path: Path, tiny: str, settings: str, message: str
) -> None:
    load(tiny, device="cpu")
    (tmp_path / "x.safetensors").write_bytes(b"never read")
    (tmp_path / "x.json").write_text(settings)
    with pytest.raises(CurationError, match=message):
        load(f"open_clip:tiny-clip/{tmp_path / 'x.safetensors'}")


def test_an_incomplete_architecture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"never read")
    (tmp_path / "x.json").write_text('{"model": {"embed_dim": 3}}')
    with pytest.raises(CurationError, match="must hold embed_dim, vision_cfg and text_cfg"):
        load(f"open_clip:brand-new/{tmp_path / 'x.safetensors'}")


def test_a_checkpoint_of_another_architecture_is_refused(tiny: str) -> None:
    path = tiny.partition("/")[2]
    beside = Path(path).with_suffix(".json")
    kept = beside.read_text()
    wider = {**TINY_CLIP, "embed_dim": 32}
    beside.write_text(json.dumps({"model": wider}))
    with pytest.raises(CurationError, match="does not hold the weights of open_clip's wider"):
        load(f"open_clip:wider/{path}")
    beside.write_text(kept)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("open_clip:", "expected open_clip:MODEL/TAG"),
        ("open_clip:ViT-B-32", "expected open_clip:MODEL/TAG"),
        ("open_clip:ViT-B-33/openai", "no model 'ViT-B-33'; close: ViT-B-32"),
        ("open_clip:ViT-B-32/laion", "tags it knows: openai, .*laion2b_s34b_b79k"),
        ("open_clip:ViT-B-32/weights/x.pt", r"no checkpoint file weights.x\.pt"),
        ("open_clip:ViT-B-32/x.safetensors", r"no checkpoint file x\.safetensors"),
    ],
)
def test_a_name_that_leads_nowhere_says_what_would(name: str, message: str) -> None:
    with pytest.raises(CurationError, match=message):
        load(name)


def test_words_and_images_share_a_space(tiny: str) -> None:
    encoder = load(tiny, device="cpu")
    assert isinstance(encoder, TextEncoder)
    words = encoder.encode_text([f"word {number}" for number in range(70)])
    assert words.shape == (70, encoder.dim)
    np.testing.assert_allclose(np.linalg.norm(words, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_text(["word 69"])[0], words[69], atol=1e-5)
    assert encoder.encode_text([]).shape == (0, encoder.dim)


# ---- the hub ------------------------------------------------------------------------------------


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "hub"


def test_without_cache_and_hub_one_line_names_the_three_ways_on(empty_cache: Path) -> None:
    started = time.monotonic()
    with pytest.raises(CurationError) as caught:
        load(DEFAULT)
    assert time.monotonic() - started < hub.PROBE_SECONDS + 5
    message = str(caught.value)
    assert "\n" not in message
    for part in (DEFAULT, "go online once", "--encoder open_clip:ViT-B-32/PATH", "builtin"):
        assert part in message


def test_hf_hub_offline_is_obeyed(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CurationError, match=r"cannot be downloaded \(HF_HUB_OFFLINE is set\)"):
        load("fast")


def test_a_hub_that_refuses_is_a_hub_that_answers(empty_cache: Path, refusing_hub: str) -> None:
    assert hub._unreachable({"hf_hub": "a/b/"}) is not None
    assert hub._unreachable({"url": refusing_hub}) is None


@pytest.mark.parametrize("file", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_cached_weights_need_no_hub(empty_cache: Path, file: str) -> None:
    repository = empty_cache / "models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    (snapshot / file).write_bytes(b"weights")
    assert hub.weights(import_open_clip(), "ViT-B-32", "laion2b_s34b_b79k") == snapshot / file


@pytest.fixture
def refusing_hub() -> Iterator[str]:
    class Refuse(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(403)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.data
def test_the_double_finds_real_photographs_by_words_and_by_likeness(
    real_data: RealData, tmp_path: Path
) -> None:
    encoder = load(words_clip(tmp_path, real_data), device="cpu")
    assert isinstance(encoder, OpenClip)
    rows = [line.split(",") for line in labels_of(real_data)]
    wanted = {"shoes": "running shoe", "hat": "cowboy hat", "pants": "jean", "dress": "gown"}
    chosen = [row for label in wanted for row in [r for r in rows if r[1] == label][:16]]
    prepared = []
    for path, *_ in chosen:
        with Image.open(real_data("photos_clothing") / path) as image:
            prepared.append(encoder.prepare(image.convert("RGB")))
    vectors = encoder.encode(np.stack(prepared))
    labels = np.array([row[1] for row in chosen])
    words = encoder.encode_text(list(wanted.values()))
    said = np.array(list(wanted))[(vectors @ words.T).argmax(axis=1)]
    assert (said == labels).mean() >= 0.6  # chance 0.25; it knows ImageNet's words only
    assert one_nearest_accuracy(vectors, labels) >= 0.75


def labels_of(real_data: RealData) -> list[str]:
    return (real_data("photos_clothing") / "labels.csv").read_text().splitlines()[1:]
