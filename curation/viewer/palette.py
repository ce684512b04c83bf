"""Colours for codes and values: stable, safe for colour-blind eyes, readable on light and dark."""

import colorsys
import zlib
from collections.abc import Sequence
from functools import cache

# The coloured eight of Petroff's ten-colour sequence (M. A. Petroff, "Accessible Color Sequences
# for Data Visualization", arXiv:2107.02270, 2021), which was optimised under simulated protanopia,
# deuteranopia and tritanopia. Its two greys are left out: grey means noise or no label here.
PETROFF = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#92dadd",
)
NONE_COLOR = "#9aa0a6"  # noise, no label
GOLDEN_RATIO = 0.618033988749895
FIRST_HUE = 0.36  # the walk begins in the greens, which Petroff's eight leave free
LIGHTNESS = (0.40, 0.62, 0.50)  # neighbours of the walk differ in lightness as well as in hue


def color(code: int) -> str:
    """Return the colour of a code as ``#rrggbb``; the same code has the same colour for ever."""
    if code < 0:
        return NONE_COLOR
    if code < len(PETROFF):
        return PETROFF[code]
    step = code - len(PETROFF)
    hue = (FIRST_HUE + step * GOLDEN_RATIO) % 1.0
    channels = colorsys.hls_to_rgb(hue, LIGHTNESS[step % len(LIGHTNESS)], 0.55)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in channels)


def numbers(names: Sequence[str]) -> list[int]:
    """Return the number of the colour of each name, all different; `names` are oldest first.

    Each wants the one of the eight that its letters choose, whichever names there are beside it;
    where an older one has it, the next that is free. Later ones are counted on. So a name that
    comes last changes no other's colour, and one that comes between changes few.
    """
    first: dict[int, str] = {}
    for name in names[: len(PETROFF)]:
        number = zlib.crc32(name.encode()) % len(PETROFF)
        while number in first:
            number = (number + 1) % len(PETROFF)
        first[number] = name
    return [*first, *range(len(first), len(names))]


@cache
def ramp(steps: int = 32) -> tuple[str, ...]:
    """Return colours from low to high as ``#rrggbb``: viridis, lightness rising in even steps.

    Viridis (N. Smith and S. van der Walt, 2015) was made to be read in grey and with each kind of
    colour blindness.
    """
    from plotly.colors import sample_colorscale, sequential

    at = [step / (steps - 1) for step in range(steps)]
    found = sample_colorscale(sequential.Viridis, at, colortype="tuple")
    return tuple("#" + "".join(f"{round(255 * one):02x}" for one in rgb) for rgb in found)
