"""What several encoders need: framing in Pillow, fixed batches, unit length, digests."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from embeddings.errors import CurationError
from embeddings.schema import Float32

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
MODES = ("shortest", "longest", "squash")
STRIP = 64  # how many times longer than the frame an image may be; the crop drops the rest anyway


@dataclass(frozen=True)
class Framing:
    """How an image becomes `height` x `width` pixels.

    `mode` ``"shortest"`` scales the shortest side to `scale_to` and cuts the middle out,
    ``"longest"`` scales the longest side and fills the rest with `fill`, ``"squash"`` ignores the
    aspect ratio. `scale_to` is pixels, used when the frame is square; None means the frame's side.
    """

    height: int
    width: int
    mode: str = "shortest"
    interpolation: str = "bicubic"
    scale_to: int | None = None
    fill: int = 0

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """Size in pixels (width, height) that an image of `width` x `height` is scaled to."""
        if self.mode == "squash":
            return self.width, self.height
        if self.mode == "shortest" and self.height == self.width:
            # torchvision truncates here, and rounds nowhere: one pixel more shifts the crop.
            side, short = self.scale_to or self.width, min(width, height)
            return (
                side if width == short else int(side * width / short),
                side if height == short else int(side * height / short),
            )
        pick = max if self.mode == "longest" else min
        ratio = pick(height / self.height, width / self.width)
        return max(1, round(width / ratio)), max(1, round(height / ratio))

    def apply(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """Return `image` as (height, width, 3) uint8."""
        if self.mode == "shortest":
            image = self._without_ends(image)
        size = self.scaled(*image.size)
        if size != image.size:
            image = image.resize(size, FILTERS[self.interpolation])
        pixels = np.asarray(image.convert("RGB"))
        return self._crop(self._pad(pixels))

    def _without_ends(self, image: Image.Image) -> Image.Image:
        """Keep the middle of a strip: 2 x 20,000 pixels would be scaled to 224 x 2,240,000."""
        frame = max(self.height, self.width) / min(self.height, self.width)
        most = int(STRIP * frame * min(image.size))
        left, top = (max(0, side - most) // 2 for side in image.size)
        if not left and not top:
            return image
        return image.crop((left, top, image.width - left, image.height - top))

    def _pad(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        missing = [max(0, self.height - pixels.shape[0]), max(0, self.width - pixels.shape[1])]
        if not any(missing):
            return pixels
        around = [(m // 2, (m + 1) // 2) for m in missing] + [(0, 0)]
        return np.pad(pixels, around, constant_values=self.fill)

    def _crop(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        # round() to even, as torchvision's CenterCrop does
        top = round((pixels.shape[0] - self.height) / 2.0)
        left = round((pixels.shape[1] - self.width) / 2.0)
        cut = pixels[top : top + self.height, left : left + self.width]
        return cut.copy()  # Pillow's view is read-only, and torch warns about such arrays


def fixed_batches(
    batch: npt.NDArray[Any], size: int, forward: Callable[[npt.NDArray[Any]], Float32]
) -> Float32:
    """Run `forward` over `batch` in pieces of exactly `size` rows, the last padded with zeros.

    Matrix kernels choose their blocking by the batch's shape, so a short last batch would give
    other bits than a full one.
    """
    found = []
    for start in range(0, max(1, len(batch)), size):
        piece = np.require(batch[start : start + size], requirements=["C", "W"])
        full = piece
        if len(piece) < size:
            full = np.zeros((size, *batch.shape[1:]), batch.dtype)
            full[: len(piece)] = piece
        found.append(forward(full)[: len(piece)])
    return np.concatenate(found)


def unit_length(rows: Float32) -> Float32:
    """Scale every row of `rows` (b, d) to length 1; one without a direction becomes zeros."""
    rows = np.asarray(rows, np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    sound = np.isfinite(length) & (length > 0)
    return np.where(sound, rows / np.where(sound, length, 1), 0).astype(np.float32)


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of the bytes of `path`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest12(*parts: str) -> str:
    """12 hex digits for an encoder's id, from the digests and settings that make its vectors."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def read_settings(path: Path, allowed: set[str], example: str) -> dict[str, Any]:
    """Read the JSON object in `path`; CurationError showing `example` for anything unexpected."""
    try:
        settings = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CurationError(f"{path} is not JSON ({error}); write for example {example}") from error
    if not isinstance(settings, dict):
        raise CurationError(f"{path} must hold a JSON object, for example {example}")
    unknown = sorted(set(settings) - allowed)
    if unknown:
        raise CurationError(
            f"{path} has unknown keys {', '.join(unknown)}; known: {', '.join(sorted(allowed))}"
        )
    return settings
