"""The encoder that needs no download: shape, colour and texture by classical means.

Shape leads: how far each pixel's colour is from the picture's border (the boundary prior of
salient-object detection) makes a figure out of the thing in front, whatever its colour, and
histograms of its gradient directions (HOG: Dalal and Triggs 2005) over a 6 x 6 grid describe it.
A Lab histogram, uniform local binary patterns (Ojala et al. 2002) and a 4 x 4 Lab thumbnail say
the rest. Nothing is fitted: the numbers below were chosen once, see docs/encoders.md.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embeddings.encoders.support import unit_length
from embeddings.errors import CurationError
from embeddings.schema import Float32

if TYPE_CHECKING:
    from PIL import Image

SIDE = 64  # pixels of the prepared square
BORDER = 4  # pixels of its rim that stand for the background
DIRECTIONS, GRID, REACH = 12, 6, 0.5  # gradient directions; cells a side; window sigma in cells
CLIP = 0.2  # no direction may dominate its cell (Lowe 2004)
COLOURS = (4, 5, 5)  # histogram bins of L, a, b
THUMB = 4
WEIGHTS = {"shape": 1.0, "colour": 0.4, "texture": 0.3, "thumb": 0.3}
DIM = GRID * GRID * DIRECTIONS + 4 * 5 * 5 + 59 + THUMB * THUMB * 3


class Builtin:
    """639 numbers an image: 432 shape, 100 colour, 59 texture, 48 thumbnail."""

    encoder_id = "builtin"
    dim = DIM
    min_side = SIDE
    batch_size = 64

    def prepare(self, image: "Image.Image") -> npt.NDArray[np.uint8]:
        """Scale the longest side to 64 pixels and continue the rim to a square: (64, 64, 3) uint8.

        Keeping the aspect ratio was worth 2 points of accuracy over squashing, and a rim that
        goes on leaves the background's colour what it is where black bars would change it.
        """
        import cv2
        from PIL import Image

        ratio = SIDE / max(image.size)
        width, height = (max(1, round(side * ratio)) for side in image.size)
        rgb = image if image.mode == "RGB" else image.convert("RGB")
        small = rgb.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
        top, left = (SIDE - height) // 2, (SIDE - width) // 2
        around = top, SIDE - height - top, left, SIDE - width - left
        square = cv2.copyMakeBorder(np.asarray(small), *around, cv2.BORDER_REPLICATE)
        return np.asarray(square, np.uint8)

    def encode(self, batch: npt.NDArray[Any]) -> Float32:
        """(b, 64, 64, 3) uint8 to (b, 639) float32 of unit length, each image by itself."""
        rows = np.empty((len(batch), DIM), np.float32)
        for row, pixels in zip(rows, batch, strict=True):
            row[:] = _describe(pixels)
        return unit_length(rows)

    def describe(self) -> dict[str, str | int | float]:
        """Tell the parameters; `revision` changes with the numbers that it makes."""
        return {
            "model": "builtin",
            "revision": 1,
            "preprocess": f"longest side {SIDE} px, rim continued",
            "device": "cpu",
            "dtype": "float32",
            **{f"weight_{name}": weight for name, weight in WEIGHTS.items()},
        }


def load(spec: str, *, device: str) -> Builtin:
    """Registry entry: takes no specification, runs on the CPU whatever `device` says."""
    if spec:
        raise CurationError(f"encoder 'builtin' takes nothing after it, got {spec!r}")
    return Builtin()


def _describe(pixels: npt.NDArray[np.uint8]) -> Float32:
    import cv2

    scaled = pixels.astype(np.float32) / np.float32(255)
    lab = np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2Lab), np.float32) / np.float32(100)
    parts = {
        "shape": _shape(lab),
        "colour": _colour(lab),
        "texture": _texture(lab[..., 0]),
        "thumb": _thumb(lab),
    }
    weighted = [np.float32(WEIGHTS[name]) * _scaled(part) for name, part in parts.items()]
    return np.concatenate(weighted)


def _scaled(part: Float32) -> Float32:
    # A flat picture has no shape: the small number keeps it zero where a division would make noise.
    return np.asarray(part / np.float32(np.linalg.norm(part) + 1e-6), np.float32)


def _centred(part: npt.NDArray[np.floating[Any]]) -> Float32:
    return np.asarray(part - part.mean(), np.float32)


def _shape(lab: Float32) -> Float32:
    """Return gradient-direction histograms of the figure, (432,), contrast-normalised, centred."""
    import cv2

    rim = (lab[:BORDER], lab[-BORDER:], lab[:, :BORDER], lab[:, -BORDER:])
    background = np.median(np.concatenate([side.reshape(-1, 3) for side in rim]), axis=0)
    apart = (lab - background) ** 2
    # three sums of planes: numpy's own sum along so short an axis takes three times as long
    figure = np.sqrt(apart[..., 0] + apart[..., 1] + apart[..., 2])
    figure = cv2.GaussianBlur(figure, (0, 0), 1.0)
    dx = cv2.Sobel(figure, cv2.CV_32F, 1, 0, ksize=1)
    dy = cv2.Sobel(figure, cv2.CV_32F, 0, 1, ksize=1)
    cells = _cells(np.asarray(dx), np.asarray(dy))
    energy = np.asarray(
        cv2.boxFilter(
            (cells**2).sum(axis=2), -1, (3, 3), normalize=False, borderType=cv2.BORDER_REFLECT
        )
    )
    cells = cells / np.sqrt(energy + 0.01 * energy.mean() + 1e-8)[..., None]
    flat: Float32 = np.minimum(cells, np.float32(CLIP)).ravel()
    # Histograms are all positive, hence all alike; about their mean they point apart: median
    # cosine of two photographs 0.13 where it was 0.84, accuracy up by 2 points.
    return _centred(flat)


def _cells(dx: Float32, dy: Float32) -> Float32:
    """Gradient directions over Gaussian windows, (6, 6, 12); each vote shared by two bins."""
    import cv2

    length, angle = cv2.cartToPolar(dx, dy)
    place = np.asarray(angle).ravel() * np.float32(DIRECTIONS / (2 * np.pi))
    low = place.astype(np.int64)
    share = place - low
    strength = np.asarray(length).ravel()
    at = np.arange(low.size) * DIRECTIONS
    votes = np.zeros(low.size * DIRECTIONS, np.float32)
    votes[at + low % DIRECTIONS] = strength * (1 - share)
    votes[at + (low + 1) % DIRECTIONS] = strength * share
    return _pooled(votes.reshape(SIDE, SIDE, DIRECTIONS), GRID, REACH)


def _colour(lab: Float32) -> Float32:
    """Root of the Lab histogram of the picture at half size, (100,); votes shared by 8 bins."""
    import cv2

    small = np.asarray(cv2.resize(lab, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA))
    bins = np.array(COLOURS)[:, None]
    place = small.reshape(-1, 3).T.astype(np.float64, order="C")  # one row for each of L, a, b
    place *= [[1.0], [1 / 1.2], [1 / 1.2]]
    place += [[0.0], [0.5], [0.5]]
    place = np.clip(place * bins - 0.5, 0, bins - 1)
    low = np.minimum(place.astype(np.int64), bins - 2)
    high = place - low
    (l0, a0, b0), (l1, a1, b1) = 1 - high, high
    areas = (l0 * a0, l0 * a1, l1 * a0, l1 * a1)
    votes = np.stack([area * side for area in areas for side in (b0, b1)])
    total = int(bins.prod())
    steps = np.array([COLOURS[1] * COLOURS[2], COLOURS[2], 1])
    corners = np.array(list(np.ndindex(2, 2, 2))) @ steps
    # a histogram for each of the 8 corners: added up at the end, they keep the order of summing
    at = (corners + total * np.arange(8))[:, None] + (steps[:, None] * low).sum(axis=0)
    histograms = np.bincount(at.ravel(), votes.ravel(), minlength=8 * total).reshape(8, total)
    return _centred(np.sqrt(histograms.sum(axis=0) / place.shape[1]))


def _texture(lightness: Float32) -> Float32:
    """Root of the histogram of uniform local binary patterns, (59,)."""
    grey = np.rint(lightness * 255).astype(np.int16)
    middle = grey[1:-1, 1:-1] + 2  # 2 levels of noise are no texture
    codes = np.zeros(middle.shape, np.uint8)
    ring = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
    for bit, (down, right) in enumerate(ring):
        around = grey[down : down + SIDE - 2, right : right + SIDE - 2]
        codes |= (around > middle).astype(np.uint8) << bit
    histogram = np.bincount(_uniform_patterns()[codes.ravel()], minlength=59)
    return _centred(np.sqrt(histogram / codes.size))


def _thumb(lab: Float32) -> Float32:
    """Lab at 4 x 4 about middle grey, (48,); colour counts double."""
    small = (_pooled(lab, THUMB, 0.6) - [0.5, 0, 0]) * [1, 2, 2]
    return small.astype(np.float32).ravel()


def _pooled(maps: Float32, cells: int, reach: float) -> Float32:
    """Average `maps` (64, 64, c) under cells x cells Gaussian windows: (cells, cells, c)."""
    window = _window(cells, reach)
    rows = window @ maps.reshape(SIDE, -1)
    rows = rows.reshape(cells, SIDE, -1).swapaxes(0, 1).reshape(SIDE, -1)
    pooled = (window @ rows).reshape(cells, cells, -1)
    return np.asarray(pooled.swapaxes(0, 1), np.float32)


@cache
def _window(cells: int, reach: float) -> Float32:
    """Weights (cells, 64) of Gaussian windows at the cells' centres; rows sum to 1."""
    step = SIDE / cells
    centres = (np.arange(cells) + 0.5) * step
    distance = (np.arange(SIDE) + 0.5 - centres[:, None]) / (reach * step)
    window = np.exp(-0.5 * distance**2)
    return np.asarray(window / window.sum(axis=1, keepdims=True), np.float32)


@cache
def _uniform_patterns() -> npt.NDArray[np.int64]:
    """Map 256 ring codes to 58 with at most two changes around the ring, and one for the rest."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    uniform = (bits != np.roll(bits, 1, axis=1)).sum(axis=1) <= 2
    return np.where(uniform, np.cumsum(uniform) - 1, uniform.sum())
