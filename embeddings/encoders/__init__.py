"""Encoders: pixels to unit-length vectors, one registry entry each.

`load("builtin")`, `load("fast")`, `load("open_clip:ViT-B-32/laion2b_s34b_b79k")` and
`load("onnx:model.onnx")` all return an `Encoder`. Importing this module loads no model library.
"""

import hashlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy.typing as npt

from embeddings.errors import CurationError
from embeddings.registry import Registry
from embeddings.schema import Float32

if TYPE_CHECKING:
    from PIL import Image

DEFAULT = "open_clip:ViT-B-32/laion2b_s34b_b79k"

# Names for people who do not want to choose a model. Weights with permissive licences only:
# LAION's ViT-B-32 is MIT, Google's SigLIP 2 is Apache-2.0.
PRESETS = {
    "fast": DEFAULT,
    "balanced": "open_clip:ViT-B-16-SigLIP2/webli",
    "best": "open_clip:ViT-SO400M-16-SigLIP2-384/webli",
}


@runtime_checkable
class Encoder(Protocol):
    """One model: prepares images in worker threads, encodes them in batches.

    `encoder_id` is stored with the space that it makes; `dim` is the length of a vector; `min_side`
    the shortest image side in pixels that the preparation uses (a decoder may deliver an image
    reduced to at least twice that); `batch_size` how many prepared arrays one call takes best.
    """

    encoder_id: str
    dim: int
    min_side: int
    batch_size: int

    def prepare(self, image: "Image.Image") -> npt.NDArray[Any]:
        """Turn one RGB image into an array of one fixed shape; thread-safe."""

    def encode(self, batch: npt.NDArray[Any]) -> Float32:
        """Turn stacked arrays (b, ...) into (b, dim) float32 of unit length.

        A row depends on its own image only, to the bit: a resumed run gives the same vectors.
        """

    def describe(self) -> dict[str, str | int | float]:
        """Tell what made the vectors: model, weights digest, preprocessing, device, dtype."""


@runtime_checkable
class TextEncoder(Encoder, Protocol):
    """An encoder that puts words into the same space as images."""

    def encode_text(self, texts: list[str]) -> Float32:
        """Turn `texts` into (t, dim) float32 of unit length."""


class EncoderLoader(Protocol):
    """What a registry entry is: `spec` is what stands after the first colon, or empty."""

    def __call__(self, spec: str, *, device: str) -> Encoder:
        """Return the encoder that `spec` names, on `device`."""


ENCODERS: Registry[EncoderLoader] = Registry("encoder", "curation_atlas.encoders")


def load(name: str, *, device: str = "auto") -> Encoder:
    """Return the encoder called `name`: a preset, or a registry name with an optional `:spec`.

    Parameters
    ----------
    name : str
        ``"fast"``, ``"builtin"``, ``"open_clip:MODEL/TAG"``, ``"open_clip:MODEL/PATH"``,
        ``"onnx:PATH"`` or what a plug-in registers.
    device : str
        ``"auto"`` (a CUDA device when there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Raises
    ------
    CurationError
        When the name is unknown (the known ones are listed) or its weights cannot be had.
    """
    kind, spec = kind_of(name)
    entry: Callable[..., Encoder] = ENCODERS.get(kind)
    return entry(spec, device=device)


def kind_of(name: str) -> tuple[str, str]:
    """Return the registry name of the encoder called `name`, and what stands after it.

    Raises
    ------
    CurationError
        When the name is unknown: the known ones are listed.
    """
    kind, _, spec = PRESETS.get(name, name).partition(":")
    if kind not in ENCODERS.names():
        raise CurationError(
            f"unknown encoder {name!r}; known: {', '.join(ENCODERS.names())}; "
            f"presets: {', '.join(PRESETS)}"
        )
    return kind, spec


def space_name(encoder_id: str) -> str:
    """Return a name for the space of `encoder_id` that a table may have: ``[A-Za-z0-9_.-]+``.

    Two ids never share a name: where characters are replaced a digest of the id is appended, and
    so it is where an id already looks as if it had one.
    """
    if not encoder_id:
        raise ValueError("encoder_id must not be empty")
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", encoder_id)
    if safe == encoder_id and not re.search(r"-[0-9a-f]{12}$", encoder_id):
        return encoder_id
    return f"{safe}-{hashlib.sha256(encoder_id.encode()).hexdigest()[:12]}"


__all__ = [
    "DEFAULT",
    "ENCODERS",
    "PRESETS",
    "Encoder",
    "EncoderLoader",
    "TextEncoder",
    "load",
    "space_name",
]
