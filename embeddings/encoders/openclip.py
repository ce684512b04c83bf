"""OpenCLIP models: ``open_clip:MODEL/TAG`` from the hub, ``open_clip:MODEL/PATH`` from a file."""

import difflib
import json
import pickle
import tempfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embeddings.encoders import hub, precision
from embeddings.encoders.support import (
    Framing,
    digest12,
    file_sha256,
    fixed_batches,
    read_settings,
    unit_length,
)
from embeddings.encoders.torchvision_fix import import_open_clip
from embeddings.errors import CurationError
from embeddings.schema import Float32

if TYPE_CHECKING:
    import torch
    from PIL import Image

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
SETTINGS = {"model", "preprocess"}
# open_clip's names for what a checkpoint's JSON may say about preprocessing
PREPROCESS = {
    "image_mean": "mean",
    "image_std": "std",
    "interpolation": "interpolation",
    "resize_mode": "resize_mode",
    "fill_color": "fill_color",
}
EXAMPLE = '{"preprocess": {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}}'
TEXTS_AT_ONCE = 64


class OpenClip:
    """One OpenCLIP model on one device: images and words into the same space.

    Parameters
    ----------
    model : torch.nn.Module
        From `open_clip.create_model`, in eval mode; moved to `device` once, here.
    """

    def __init__(
        self, model: "torch.nn.Module", name: str, encoder_id: str, sha256: str, device: str
    ) -> None:
        self.encoder_id = encoder_id
        self._device = precision.choose_device(device)
        self._model = model.eval().to(self._device)
        self._name = name
        self._sha256 = sha256
        self._preprocess: dict[str, Any] = model.visual.preprocess_cfg  # type: ignore
        self._framing = _framing(self._preprocess)
        self.min_side = min(self._framing.height, self._framing.width)
        self.batch_size = 128 if self._device.type == "cuda" else 32
        self._cosine = 1.0
        if precision.bfloat16_pays(self._device):
            size = self._framing.height, self._framing.width
            self._cosine = precision.lower_precision(self._model, size)
        self._dtype = next(self._model.visual.parameters()).dtype  # type: ignore
        self._tokenizer: Any = None
        self._mean = self._channels("mean")
        self._std = self._channels("std")
        self.dim = self.encode(np.zeros((1, *self._shape()), np.uint8)).shape[1]

    def prepare(self, image: "Image.Image") -> npt.NDArray[np.uint8]:
        """Resize and crop as open_clip's own preprocessing does: (height, width, 3) uint8."""
        return self._framing.apply(image)

    def encode(self, batch: npt.NDArray[Any]) -> Float32:
        """(b, height, width, 3) uint8 to (b, dim) float32 of unit length."""
        return unit_length(fixed_batches(batch, self.batch_size, self._forward))

    def encode_text(self, texts: list[str]) -> Float32:
        """Turn `texts` into (t, dim) float32 of unit length; the text tower stays float32."""
        import torch

        if self._tokenizer is None:
            self._tokenizer = _tokenizer(self._name)
        found = [np.zeros((0, self.dim), np.float32)]
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            tokens = self._tokenizer(texts[start : start + TEXTS_AT_ONCE]).to(self._device)
            with torch.inference_mode():
                rows = self._model.encode_text(tokens)  # type: ignore[operator]
            found.append(unit_length(rows.float().cpu().numpy()))
        return np.concatenate(found)

    def describe(self) -> dict[str, str | int | float]:
        """Tell model, weights, preprocessing, device, dtype and what bfloat16 cost."""
        import torch

        open_clip = import_open_clip()
        return {
            "model": self._name,
            "weights_sha256": self._sha256,
            "preprocess": json.dumps(self._preprocess, sort_keys=True),
            "device": str(self._device),
            "dtype": str(self._dtype).removeprefix("torch."),
            "bfloat16_cosine": round(self._cosine, 6),
            "torch": str(torch.__version__),
            "open_clip": str(open_clip.__version__),
        }

    def normalised(self, batch: npt.NDArray[Any]) -> "torch.Tensor":
        """Move (b, height, width, 3) uint8 to the device as normalised (b, 3, height, width)."""
        import torch

        pixels = torch.from_numpy(batch)
        if self._device.type == "cuda":
            pixels = pixels.pin_memory()
        pixels = pixels.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
        scaled = pixels.contiguous().to(torch.float32).div(255)
        return scaled.sub_(self._mean).div_(self._std)

    def _forward(self, batch: npt.NDArray[Any]) -> Float32:
        import torch

        with torch.inference_mode():
            images = self.normalised(batch).to(self._dtype)
            rows = self._model.encode_image(images)  # type: ignore[operator]
            return np.asarray(rows.float().cpu().numpy(), np.float32)

    def _shape(self) -> tuple[int, int, int]:
        return self._framing.height, self._framing.width, 3

    def _channels(self, key: str) -> "torch.Tensor":
        import torch

        values = torch.tensor(self._preprocess[key], dtype=torch.float32, device=self._device)
        return values.expand(3).reshape(1, 3, 1, 1)


def load(spec: str, *, device: str) -> OpenClip:
    """Registry entry: `spec` is ``MODEL/TAG`` or ``MODEL/PATH`` of a local checkpoint."""
    name, slash, source = spec.partition("/")
    if not (name and slash and source):
        raise CurationError(
            f"expected open_clip:MODEL/TAG or open_clip:MODEL/PATH, got 'open_clip:{spec}'"
        )
    open_clip = import_open_clip()
    if source in open_clip.list_pretrained_tags_by_model(name):
        return _from_tag(open_clip, name, source, device)
    path = Path(source).expanduser()
    if path.is_file():
        return _from_file(open_clip, name, path, device)
    if path.suffix in SUFFIXES or "/" in source:
        raise CurationError(f"there is no checkpoint file {path}; check the path")
    _known(open_clip, name)
    tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
    raise CurationError(f"open_clip has no weights {source!r} for {name}; tags it knows: {tags}")


def _from_tag(open_clip: ModuleType, name: str, tag: str, device: str) -> OpenClip:
    path = hub.weights(open_clip, name, tag)
    source = open_clip.get_pretrained_cfg(name, tag)
    # open_clip only warns when weights were trained with another activation than MODEL's default,
    # and then makes worse vectors.
    model = _create(
        open_clip, name, path, source, force_quick_gelu=bool(source.get("quick_gelu", False))
    )
    return OpenClip(model, name, f"open_clip:{name}/{tag}", file_sha256(path), device)


def _from_file(open_clip: ModuleType, name: str, path: Path, device: str) -> OpenClip:
    beside = path.with_suffix(".json")
    settings = read_settings(beside, SETTINGS, EXAMPLE) if beside.is_file() else {}
    if "model" in settings:
        _register(open_clip, name, settings["model"], beside)
    _known(open_clip, name)
    model = _create(open_clip, name, path, _overrides(settings.get("preprocess", {}), beside))
    sha256 = file_sha256(path)
    digest = digest12(sha256, json.dumps(settings, sort_keys=True)) if settings else sha256[:12]
    return OpenClip(model, name, f"open_clip:{name}/{path.stem}#{digest}", sha256, device)


def _create(
    open_clip: ModuleType, name: str, path: Path, preprocess: dict[str, Any], **options: Any
) -> "torch.nn.Module":
    from safetensors import SafetensorError

    try:
        model: torch.nn.Module = open_clip.create_model(
            name,
            pretrained=str(path),
            force_preprocess_cfg=preprocess,
            weights_only=True,
            **options,
        )
    except pickle.UnpicklingError as error:
        raise CurationError(
            f"{path} is refused: it is a pickle that holds more than tensors, and loading such a "
            f"file can run any program; save its state_dict with safetensors.torch.save_file"
        ) from error
    except (RuntimeError, SafetensorError, EOFError) as error:
        lines = " ".join(str(error).split())
        raise CurationError(
            f"{path} does not hold the weights of open_clip's {name}: {lines[:200] or 'no data'}"
        ) from error
    return model


def _known(open_clip: ModuleType, name: str) -> None:
    names = open_clip.list_models()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=5, cutoff=0.4)
        raise CurationError(
            f"open_clip knows no model {name!r}; close: {', '.join(close) or 'none'}; a checkpoint "
            f'of another architecture needs its "model" in a .json file beside it'
        )


def _register(open_clip: ModuleType, name: str, config: Any, beside: Path) -> None:
    """Make open_clip know `name`; a name never changes its meaning within a process."""
    known = open_clip.get_model_config(name)
    if known is not None:
        if known != config:
            raise CurationError(
                f"{beside} describes another {name} than open_clip does; give it another name"
            )
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{name}.json")  # open_clip takes the model's name from the file's
        file.write_text(json.dumps(config), "utf-8")
        open_clip.add_model_config(file)
    if open_clip.get_model_config(name) is None:
        raise CurationError(
            f'"model" in {beside} must hold embed_dim, vision_cfg and text_cfg, as in open_clip\'s '
            f"model_configs"
        )


def _overrides(preprocess: Any, beside: Path) -> dict[str, Any]:
    if not isinstance(preprocess, dict) or not set(preprocess) <= set(PREPROCESS):
        raise CurationError(
            f'"preprocess" in {beside} may hold {", ".join(PREPROCESS)}; for example {EXAMPLE}'
        )
    return {PREPROCESS[key]: value for key, value in preprocess.items()}


def _framing(preprocess: dict[str, Any]) -> Framing:
    size = preprocess["size"]
    height, width = (size, size) if isinstance(size, int) else size
    mode, interpolation = preprocess["resize_mode"], preprocess["interpolation"]
    if mode == "shortest" and height != width:
        interpolation = "bicubic"  # open_clip's own choice for frames that are not square
    # open_clip offers "random" for training, and means bicubic by it here
    interpolation = "bilinear" if interpolation == "bilinear" else "bicubic"
    fill = preprocess["fill_color"] if mode == "longest" else 0
    return Framing(height, width, mode, interpolation, fill=fill)


def _tokenizer(name: str) -> Any:
    open_clip = import_open_clip()
    try:
        return open_clip.get_tokenizer(name)
    except ModuleNotFoundError as error:
        raise CurationError(
            f"searching by words with {name} needs the module {error.name!r}: pip install "
            f"{error.name}; images are encoded without it"
        ) from error
    except OSError as error:
        raise CurationError(
            f"the vocabulary of {name} is neither in the cache nor to be downloaded; go online "
            f"once, or choose a model with OpenCLIP's own, e.g. --encoder fast"
        ) from error
