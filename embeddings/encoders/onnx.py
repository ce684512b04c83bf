"""Any ONNX model that makes vectors of images: ``onnx:PATH``, described by a JSON beside it."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embeddings.encoders.support import (
    FILTERS,
    MODES,
    Framing,
    digest12,
    file_sha256,
    fixed_batches,
    read_settings,
    unit_length,
)
from embeddings.errors import CurationError
from embeddings.schema import Float32

if TYPE_CHECKING:
    from PIL import Image

BATCH = 16
EXAMPLE = (
    '{"size": 224, "resize": "shortest", "resize_to": 256, "interpolation": "bilinear", '
    '"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}'
)


@dataclass(frozen=True)
class Settings:
    """What stands in the JSON: pixels become ``(pixel * scale - mean) / std`` in `layout`.

    `size` is the input's side in pixels (or [height, width]), `resize` how an image gets there
    (see `Framing`), `resize_to` the side before the crop, `channels` ``"RGB"`` or ``"BGR"``.
    `input` and `output` are names in the graph, None for the only input and the first output.
    """

    size: int | list[int]
    resize: str = "shortest"
    resize_to: int | None = None
    interpolation: str = "bicubic"
    fill: int = 0
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    channels: str = "RGB"
    layout: str = "NCHW"
    input: str | None = None
    output: str | None = None

    def framing(self) -> Framing:
        """Resize and crop."""
        height, width = [self.size] * 2 if isinstance(self.size, int) else self.size
        return Framing(
            height, width, self.resize, self.interpolation, self.resize_to, fill=self.fill
        )


class Onnx:
    """One ONNX graph in onnxruntime."""

    def __init__(self, path: Path, settings: Settings, *, device: str) -> None:
        self._settings = settings
        self._framing = settings.framing()
        self._session = _session(path, device)
        self._input = _pick(self._session.get_inputs(), settings.input, "input", path)
        self._output = _pick(self._session.get_outputs(), settings.output, "output", path).name
        self._input_dtype = _dtype(self._input, path)
        fixed = self._input.shape[0]
        self.batch_size = fixed if isinstance(fixed, int) and fixed > 0 else BATCH
        # Side of the scaled image, not of the crop: the crop is cut from it.
        self.min_side = settings.resize_to or min(self._framing.height, self._framing.width)
        self._sha256 = _sha256(path)
        digest = digest12(self._sha256, json.dumps(asdict(settings), sort_keys=True))
        self.encoder_id = f"onnx:{path.stem}#{digest}"
        self._mean = np.array(settings.mean, np.float32)
        self._std = np.array(settings.std, np.float32)
        self.dim = self._probe(path)

    def prepare(self, image: "Image.Image") -> npt.NDArray[np.uint8]:
        """Resize and crop: (height, width, 3) uint8."""
        return self._framing.apply(image)

    def encode(self, batch: npt.NDArray[Any]) -> Float32:
        """(b, height, width, 3) uint8 to (b, dim) float32 of unit length."""
        return unit_length(fixed_batches(batch, self.batch_size, self._run))

    def describe(self) -> dict[str, str | int | float]:
        """Tell graph, settings, provider and thread-independent facts of the vectors."""
        import onnxruntime

        return {
            "model": self.encoder_id.removeprefix("onnx:"),
            "weights_sha256": self._sha256,
            "preprocess": json.dumps(asdict(self._settings), sort_keys=True),
            "device": self._session.get_providers()[0],
            "dtype": np.dtype(self._input_dtype).name,
            "onnxruntime": str(onnxruntime.__version__),
        }

    def _run(self, batch: npt.NDArray[Any]) -> Float32:
        images = np.ascontiguousarray(self._normalised(batch), self._input_dtype)
        (rows,) = self._session.run([self._output], {self._input.name: images})
        return np.asarray(rows, np.float32)

    def _normalised(self, batch: npt.NDArray[Any]) -> Float32:
        """Return ``(pixel * scale - mean) / std`` of (b, height, width, 3), in the graph's layout.

        One plane at a time stays in the processor's cache: a sixth of the time of whole batches.
        """
        count, height, width, channels = batch.shape
        images = np.empty((count, channels, height, width), np.float32)
        order = (2, 1, 0) if self._settings.channels == "BGR" else (0, 1, 2)
        for pixels, planes in zip(batch, images, strict=True):
            for channel, plane in enumerate(planes):
                plane[:] = pixels[..., order[channel]]
                plane *= np.float32(self._settings.scale)
                plane -= self._mean[channel]
                plane /= self._std[channel]
        return images if self._settings.layout == "NCHW" else images.transpose(0, 2, 3, 1)

    def _probe(self, path: Path) -> int:
        from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

        grey = np.full((self.batch_size, self._framing.height, self._framing.width, 3), 127, "u1")
        try:
            rows = self._run(grey)
        except InvalidArgument as error:
            raise CurationError(
                f"{path} expects {self._input.shape}, its .json says {self._settings.layout} with "
                f"size {self._settings.size}; correct the .json"
            ) from error
        if rows.ndim != 2 or len(rows) != self.batch_size:
            raise CurationError(
                f"output {self._output!r} of {path} must have shape (batch, dim), got {rows.shape}"
                f'; name another as "output" in the .json; it has: '
                f"{', '.join(out.name for out in self._session.get_outputs())}"
            )
        return int(rows.shape[1])


def load(spec: str, *, device: str) -> Onnx:
    """Registry entry: `spec` is the path of an .onnx file; the .json beside it is required."""
    path = Path(spec).expanduser()
    if not spec or not path.is_file():
        raise CurationError(f"expected onnx:PATH of an .onnx file, got 'onnx:{spec}': no such file")
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise CurationError(
            f"{path} does not say how to prepare images for it; write {beside}, for example "
            f"{EXAMPLE}"
        )
    known = set(Settings.__dataclass_fields__)
    return Onnx(path, _checked(read_settings(beside, known, EXAMPLE), beside), device=device)


def _checked(settings: dict[str, Any], beside: Path) -> Settings:
    choices = {
        "resize": MODES,
        "interpolation": tuple(FILTERS),
        "channels": ("RGB", "BGR"),
        "layout": ("NCHW", "NHWC"),
    }
    for key, allowed in choices.items():
        if settings.get(key, allowed[0]) not in allowed:
            raise CurationError(
                f'"{key}" in {beside} must be one of {", ".join(allowed)}, got {settings[key]!r}'
            )
    problem = _wrong_number(settings)
    if problem:
        raise CurationError(f"{problem} in {beside}; for example {EXAMPLE}")
    return Settings(**settings)


def _wrong_number(settings: dict[str, Any]) -> str:
    size = settings.get("size")
    sides = size if isinstance(size, list) and len(size) == 2 else [size]
    if not all(type(side) is int and side > 0 for side in sides):
        return f'"size" must be pixels or [height, width], got {size!r}'
    to = settings.get("resize_to", 1)
    if to is not None and (type(to) is not int or to <= 0):
        return f'"resize_to" must be pixels, got {to!r}'
    for key in ("mean", "std"):
        values = settings.get(key, [1, 1, 1])
        if not isinstance(values, list) or len(values) != 3 or not all(map(_is_number, values)):
            return f'"{key}" must be three numbers, got {values!r}'
    if 0 in settings.get("std", []):
        return '"std" must not be 0'
    if not _is_number(settings.get("scale", 1)):
        return f'"scale" must be a number, got {settings["scale"]!r}'
    fill = settings.get("fill", 0)
    return (
        "" if type(fill) is int and 0 <= fill <= 255 else f'"fill" must be 0 to 255, got {fill!r}'
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _session(path: Path, device: str) -> Any:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    # Idle workers that spin steal the cores from the decoding threads beside them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=_providers(onnxruntime, device)
        )
    except (
        errors.Fail,
        errors.InvalidArgument,
        errors.InvalidGraph,
        errors.InvalidProtobuf,
        errors.NotImplemented,  # an operator that this onnxruntime does not have
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise CurationError(f"onnxruntime cannot load {path}: {reason}") from error
    if device.startswith("cuda") and session.get_providers()[0] != "CUDAExecutionProvider":
        raise CurationError(f"onnxruntime could not start {device!r} for {path}; use --device cpu")
    return session


def _providers(onnxruntime: Any, device: str) -> list[Any]:
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and not number.isdigit()):
        raise CurationError(f"unknown device {device!r}; expected auto, cpu, cuda or cuda:N")
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if kind == "cuda" and not has_cuda:
        raise CurationError(
            "this onnxruntime has no CUDA; install onnxruntime-gpu instead, or use --device cpu"
        )
    if kind == "cpu" or not has_cuda:
        return ["CPUExecutionProvider"]
    return [("CUDAExecutionProvider", {"device_id": int(number or 0)}), "CPUExecutionProvider"]


def threads() -> int:
    """How many threads one graph may use: OMP_NUM_THREADS, else the cores we may run on.

    onnxruntime by itself counts the machine's cores, and heeds neither the variable nor the share
    of the cores that this process was given.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _pick(nodes: list[Any], name: str | None, kind: str, path: Path) -> Any:
    names = [node.name for node in nodes]
    if name is None and (kind == "output" or len(nodes) == 1):
        return nodes[0]
    if name not in names:
        raise CurationError(
            f'{path} has the {kind}s {", ".join(names)}; name one as "{kind}" in its .json'
            + (f", got {name!r}" if name else "")
        )
    return nodes[names.index(name)]


def _dtype(node: Any, path: Path) -> type[np.generic]:
    known: dict[str, type[np.generic]] = {
        "tensor(float)": np.float32,
        "tensor(float16)": np.float16,
        "tensor(uint8)": np.uint8,
    }
    if node.type not in known:
        raise CurationError(f"{path} takes {node.type}; expected one of {', '.join(known)}")
    return known[node.type]


def _sha256(path: Path) -> str:
    """Digest of the graph and of the weights that large models keep in a file beside it."""
    beside = [path.with_name(path.name + end) for end in (".data", "_data")]
    parts = [file_sha256(file) for file in (path, *beside) if file.is_file()]
    return parts[0] if len(parts) == 1 else digest12(*parts)
