"""Encoders small enough for tests: a tiny ONNX graph, a tiny OpenCLIP model, real weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WEIGHTS = "weights_mobilenetv2"
RealData = Callable[[str], Path]

# An OpenCLIP architecture of 0.3 million parameters, most of them the text tower's vocabulary.
TINY_CLIP = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}
TINY_PREPROCESS = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3]}


def photograph(seed: int, size: tuple[int, int] = (90, 60)) -> Image.Image:
    """Noise upon colour fields: sharp and soft edges, every channel different."""
    random = np.random.default_rng(seed)
    field = random.integers(0, 256, (5, 4, 3), np.uint8)
    soft = np.asarray(Image.fromarray(field).resize(size, Image.Resampling.BICUBIC), np.int16)
    noisy = soft + random.integers(-30, 31, soft.shape, np.int16)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def one_nearest_accuracy(vectors: np.ndarray, labels: np.ndarray) -> float:
    """Leave-one-out accuracy of the nearest neighbour by cosine."""
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -2)
    return float((labels[similarity.argmax(axis=1)] == labels).mean())


def flatten_onnx(path: Path, shape: tuple[int | str, ...], *, type_code: int = 1) -> Path:
    """Write an ONNX graph that only flattens its input, so that every number can be predicted.

    `type_code` is ONNX's element type: 1 float32, 2 uint8, 10 float16.
    """
    text = str.encode

    def message(*fields: tuple[int, bytes | int]) -> bytes:
        wire = b""
        for number, value in fields:
            if isinstance(value, int):
                wire += _varint(number << 3) + _varint(value)
            else:
                wire += _varint(number << 3 | 2) + _varint(len(value)) + value
        return wire

    def value_info(name: str, dims: tuple[int | str, ...]) -> bytes:
        dim = [message((1, d) if isinstance(d, int) else (2, text(d))) for d in dims]
        tensor = message((1, type_code), (2, message(*((1, d) for d in dim))))
        return message((1, text(name)), (2, message((1, tensor))))

    node = message((1, b"pixels"), (2, b"flat"), (4, b"Flatten"))
    graph = message(
        (1, node),
        (2, b"g"),
        (11, value_info("pixels", shape)),
        (12, value_info("flat", ("n", "d"))),
    )
    path.write_bytes(message((1, 8), (7, graph), (8, message((2, 13)))))
    return path


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def tiny_onnx(folder: Path, **settings: Any) -> str:
    path = flatten_onnx(folder / "tiny.onnx", ("n", 3, 6, 4))
    path.with_suffix(".json").write_text(json.dumps({"size": [6, 4], **settings}))
    return f"onnx:{path}"


def tiny_clip(folder: Path, name: str = "tiny-clip") -> str:
    """Save a random tiny model with its .json, and return the encoder name that loads it."""
    import torch
    from safetensors.torch import save_file

    from embeddings.encoders.torchvision_fix import import_open_clip

    open_clip = import_open_clip()
    config = folder / f"{name}.json"
    config.write_text(json.dumps(TINY_CLIP))
    open_clip.add_model_config(config)
    torch.manual_seed(0)
    save_file(open_clip.create_model(name).state_dict(), folder / "random.safetensors")
    beside = {"model": TINY_CLIP, "preprocess": TINY_PREPROCESS}
    (folder / "random.json").write_text(json.dumps(beside))
    return f"open_clip:{name}/{folder / 'random.safetensors'}"


def mobilenet_onnx(folder: Path, real_data: RealData) -> str:
    """Put the real ONNX weights and the JSON that describes them into `folder`."""
    path = folder / "mobilenetv2_in1k.onnx"
    path.symlink_to(real_data(WEIGHTS) / path.name)
    settings = {
        "size": 224,
        "resize": "shortest",
        "resize_to": 256,
        "interpolation": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "output": "embedding",
    }
    path.with_suffix(".json").write_text(json.dumps(settings))
    return f"onnx:{path}"


def words_clip(folder: Path, real_data: RealData) -> str:
    """Put the OpenCLIP double (see SOURCE.md: it knows ImageNet's words only) into `folder`."""
    from embeddings.encoders.torchvision_fix import import_open_clip

    import_open_clip()
    from timm.models import is_model, register_model
    from timm.models.efficientnet import mobilenetv2_100

    if not is_model("mobilenetv2_100_tf"):

        @register_model
        def mobilenetv2_100_tf(pretrained: bool = False, **options: Any) -> Any:
            return mobilenetv2_100(pretrained=False, pad_type="same", **options)

    source = real_data(WEIGHTS)
    path = folder / "mnv2_in1k_words.safetensors"
    path.symlink_to(source / path.name)
    half = [0.5, 0.5, 0.5]
    settings = {
        "model": json.loads((source / "mnv2-in1k-words.json").read_text()),
        "preprocess": {"image_mean": half, "image_std": half},
    }
    path.with_suffix(".json").write_text(json.dumps(settings))
    return f"open_clip:mnv2-in1k-words/{path}"
