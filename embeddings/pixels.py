"""Whatever the channels of a decoded picture are, as upright 8-bit RGB."""

from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

ALPHA_BACKGROUND = (255, 255, 255)
_TURNS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}  # by the EXIF orientation: what sets the picture upright


def upright(image: PIL.Image.Image, orientation: Any) -> PIL.Image.Image:
    """Return `image` turned as its EXIF orientation asks; what is none of 2 to 8 asks nothing."""
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def sideways(orientation: Any) -> bool:
    """Whether an EXIF orientation exchanges width and height."""
    return isinstance(orientation, int) and orientation in (5, 6, 7, 8)


def to_rgb(image: PIL.Image.Image, data: bytes) -> tuple[PIL.Image.Image, str | None]:
    """Return a loaded image as RGB of its own, and what had to be assumed, if anything.

    Parameters
    ----------
    image : PIL.Image.Image
        Loaded, of any mode.
    data : bytes
        The file it comes from: a PNG's transparent colour is told in the file's own depth.
    """
    key = image.info.get("transparency")
    if image.mode.startswith("I") or image.mode == "F":
        return _rescale(image, key)
    if image.mode == "RGB" and isinstance(key, tuple):
        deep = data[:4] == b"\x89PNG" and data[24] == 16
        return _paper(image, [value >> 8 if deep else value for value in key]), None
    if image.mode == "RGB":
        # of its own: looking for further frames would replace these pixels; a JPEG has none
        return image if image.format == "JPEG" else image.copy(), None
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or key is not None:
        rgba = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
        paper = PIL.Image.new("RGBA", rgba.size, (*ALPHA_BACKGROUND, 255))
        return PIL.Image.alpha_composite(paper, rgba).convert("RGB"), None
    return image.convert("RGB"), None


def _paper(image: PIL.Image.Image, key: list[int]) -> PIL.Image.Image:
    values = np.array(image)
    values[(values == np.array(key)).all(axis=2)] = ALPHA_BACKGROUND
    return PIL.Image.fromarray(values)


def _rescale(image: PIL.Image.Image, key: Any) -> tuple[PIL.Image.Image, str | None]:
    # Pillow clips 16-bit values at 255: 2560 and 65535 would both be white
    values: npt.NDArray[Any] = np.asarray(image)
    values = values.astype(np.float32 if image.mode.startswith("I;16") else np.float64)
    clear = values == key if isinstance(key, int) else None
    known = np.isfinite(values)
    low = float(values.min(where=known, initial=np.inf)) if known.any() else 0.0
    high = float(values.max(where=known, initial=-np.inf)) if known.any() else 0.0
    bottom, top, note = _range(image.mode, low, high)
    if not known.all():
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
        note = "values that are no numbers shown as black" if note is None else note
    values = (values - bottom) * (255.0 / (top - bottom))
    grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    if clear is not None:
        grey[clear] = ALPHA_BACKGROUND[0]
    return PIL.Image.fromarray(grey).convert("RGB"), note


def _range(mode: str, low: float, high: float) -> tuple[float, float, str | None]:
    # which values are black and white: the smallest usual range that holds all of them
    if mode.startswith("I;16"):
        return 0.0, 65535.0, None
    if low >= 0 and high <= 65535:
        if mode == "F" and high <= 1:
            return 0.0, 1.0, None
        return 0.0, 255.0 if high <= 255 else 65535.0, None
    high = high if high > low else low + 1.0 + abs(low)
    return low, high, f"values from {low:g} to {high:g} shown as black to white"


def histogram(rgb: PIL.Image.Image, pixels: int) -> npt.NDArray[np.int64]:
    """Return counts (3, 256) that sum to `pixels` in each channel, scaled up when reduced."""
    counts = np.array(rgb.histogram(), np.int64).reshape(3, 256)
    seen = rgb.width * rgb.height
    if seen == pixels:
        return counts
    # largest remainders, so that every channel sums to exactly `pixels`
    exact = counts * (pixels / seen)
    whole: npt.NDArray[np.int64] = np.floor(exact).astype(np.int64)
    for channel in range(3):
        short = pixels - int(whole[channel].sum())
        order = np.argsort(-(exact[channel] - whole[channel]), kind="stable")[:short]
        whole[channel, order] += 1
    return whole
