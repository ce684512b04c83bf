"""Objects and backgrounds of the generated scenes, drawn with Pillow in unit coordinates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

TILE = 256  # pixels; objects are drawn big and reduced, which smooths their edges
INK = (38, 34, 40)
CREAM = (250, 244, 228)
LINE = 5  # pixels

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]
Points = Sequence[tuple[float, float]]

COLOURS: dict[str, Colour] = {
    "red": (206, 46, 46),
    "blue": (42, 98, 200),
    "yellow": (240, 196, 44),
    "green": (52, 148, 72),
    "purple": (128, 66, 168),
    "orange": (238, 128, 34),
    "teal": (30, 158, 164),
    "pink": (238, 122, 168),
    "brown": (134, 88, 54),
    "grey": (136, 142, 150),
}
STEP = TILE // 8  # of a pattern


@dataclass(frozen=True)
class Identity:
    """One individual: an object of a class, in a colour, with a pattern."""

    class_name: str
    colour: str
    pattern: str

    @property
    def name(self) -> str:
        """E.g. ``"mug-red-stripes"``."""
        return f"{self.class_name}-{self.colour}-{self.pattern}"


@dataclass
class Pen:
    """Draws outlined shapes on a transparent tile; coordinates are 0 to 1."""

    identity: Identity
    tile: Image.Image = field(init=False)
    texture: Image.Image = field(init=False)

    def __post_init__(self) -> None:
        self.tile = Image.new("RGBA", (TILE, TILE), (0, 0, 0, 0))
        self.texture = _texture(COLOURS[self.identity.colour], self.identity.pattern)

    def ellipse(self, box: Box, fill: Colour | None = None) -> None:
        """Fill an ellipse; no colour = the identity's texture."""
        self._shape(fill, lambda d, **kw: d.ellipse(_px(box), **kw))

    def rectangle(self, box: Box, fill: Colour | None = None, radius: float = 0.0) -> None:
        """Fill a rectangle with round corners."""
        self._shape(fill, lambda d, **kw: d.rounded_rectangle(_px(box), radius * TILE, **kw))

    def polygon(self, points: Points, fill: Colour | None = None) -> None:
        """Fill a polygon."""
        corners = [(x * TILE, y * TILE) for x, y in points]
        self._shape(fill, lambda d, **kw: d.polygon(corners, **kw))

    def sector(self, box: Box, start: float, end: float, fill: Colour | None = None) -> None:
        """Fill a slice of an ellipse, degrees clockwise from the right."""
        self._shape(fill, lambda d, **kw: d.pieslice(_px(box), start, end, **kw))

    def arc(self, box: Box, start: float, end: float, fill: Colour, width: float) -> None:
        """Draw a thick arc with a dark edge."""
        draw = ImageDraw.Draw(self.tile)
        grown = (box[0] - 0.016, box[1] - 0.016, box[2] + 0.016, box[3] + 0.016)
        draw.arc(_px(grown), start - 3, end + 3, INK, round((width + 0.032) * TILE))
        draw.arc(_px(box), start, end, fill, round(width * TILE))

    def line(self, points: Points, fill: Colour = INK, width: float = 0.02) -> None:
        """Draw a line."""
        at = [(x * TILE, y * TILE) for x, y in points]
        ImageDraw.Draw(self.tile).line(at, fill, round(width * TILE), joint="curve")

    def _shape(self, fill: Colour | None, draw_on: Callable[..., None]) -> None:
        mask = Image.new("L", (TILE, TILE), 0)
        draw_on(ImageDraw.Draw(mask), fill=255)
        paint = self.texture if fill is None else Image.new("RGB", (TILE, TILE), fill)
        self.tile.paste(paint, (0, 0), mask)
        draw_on(ImageDraw.Draw(self.tile), outline=(*INK, 255), width=LINE)


def draw_object(identity: Identity) -> Image.Image:
    """Draw one identity as an RGBA tile cut to its visible part."""
    pen = Pen(identity)
    CLASSES[identity.class_name](pen)
    box = pen.tile.getchannel("A").getbbox()
    assert box is not None  # every class draws something
    return pen.tile.crop(box)


def _mug(pen: Pen) -> None:
    pen.arc((0.52, 0.36, 0.92, 0.78), -100, 100, COLOURS[pen.identity.colour], 0.07)
    pen.rectangle((0.14, 0.22, 0.68, 0.92), radius=0.09)
    pen.ellipse((0.14, 0.12, 0.68, 0.32), CREAM)
    pen.ellipse((0.19, 0.17, 0.63, 0.30), (92, 58, 36))


def _ball(pen: Pen) -> None:
    pen.ellipse((0.06, 0.06, 0.94, 0.94))
    pen.sector((0.06, 0.06, 0.94, 0.94), 250, 290, CREAM)
    pen.sector((0.06, 0.06, 0.94, 0.94), 10, 50, CREAM)
    pen.sector((0.06, 0.06, 0.94, 0.94), 130, 170, CREAM)
    pen.ellipse((0.43, 0.43, 0.57, 0.57), CREAM)


def _fish(pen: Pen) -> None:
    pen.polygon([(0.70, 0.50), (0.97, 0.24), (0.91, 0.50), (0.97, 0.76)])
    pen.polygon([(0.34, 0.32), (0.58, 0.12), (0.66, 0.34)])
    pen.ellipse((0.03, 0.26, 0.78, 0.74))
    pen.polygon([(0.40, 0.56), (0.60, 0.74), (0.60, 0.54)], CREAM)
    pen.ellipse((0.13, 0.38, 0.25, 0.50), CREAM)
    pen.ellipse((0.16, 0.41, 0.22, 0.47), INK)
    pen.line([(0.05, 0.58), (0.17, 0.60)])


def _house(pen: Pen) -> None:
    pen.rectangle((0.66, 0.08, 0.77, 0.40), (120, 70, 60))
    pen.rectangle((0.14, 0.42, 0.86, 0.95))
    pen.polygon([(0.04, 0.46), (0.50, 0.06), (0.96, 0.46)], (112, 60, 52))
    pen.rectangle((0.42, 0.62, 0.60, 0.95), (84, 56, 44))
    for x in (0.20, 0.66):
        pen.rectangle((x, 0.54, x + 0.15, 0.70), (196, 226, 240))
        pen.line([(x + 0.075, 0.54), (x + 0.075, 0.70)])


def _car(pen: Pen) -> None:
    pen.polygon([(0.22, 0.50), (0.34, 0.26), (0.68, 0.26), (0.82, 0.50)])
    pen.polygon([(0.29, 0.48), (0.37, 0.31), (0.49, 0.31), (0.49, 0.48)], (196, 226, 240))
    pen.polygon([(0.54, 0.48), (0.54, 0.31), (0.66, 0.31), (0.75, 0.48)], (196, 226, 240))
    pen.rectangle((0.03, 0.48, 0.97, 0.74), radius=0.08)
    pen.ellipse((0.90, 0.52, 0.97, 0.60), (255, 240, 150))
    for x in (0.14, 0.64):
        pen.ellipse((x, 0.62, x + 0.22, 0.84), INK)
        pen.ellipse((x + 0.06, 0.68, x + 0.16, 0.78), (190, 194, 200))


def _flower(pen: Pen) -> None:
    pen.line([(0.50, 0.45), (0.49, 0.98)], (40, 110, 50), 0.05)
    pen.polygon([(0.49, 0.86), (0.72, 0.68), (0.64, 0.86)], (64, 150, 70))
    for turn in range(6):
        angle = turn * np.pi / 3
        x, y = 0.50 + 0.21 * np.cos(angle), 0.36 + 0.21 * np.sin(angle)
        pen.ellipse((x - 0.15, y - 0.15, x + 0.15, y + 0.15))
    pen.ellipse((0.38, 0.24, 0.62, 0.48), (250, 214, 70))


def _umbrella(pen: Pen) -> None:
    pen.line([(0.50, 0.10), (0.50, 0.84)], INK, 0.035)
    pen.arc((0.50, 0.76, 0.68, 0.94), 0, 180, (134, 88, 54), 0.035)
    pen.sector((0.03, 0.08, 0.97, 1.00), 180, 360)
    for x in (0.03, 0.343, 0.657):
        pen.sector((x, 0.46, x + 0.313, 0.62), 180, 360, CREAM)


def _clock(pen: Pen) -> None:
    pen.polygon([(0.20, 0.84), (0.12, 0.98), (0.34, 0.90)], INK)
    pen.polygon([(0.80, 0.84), (0.88, 0.98), (0.66, 0.90)], INK)
    pen.ellipse((0.06, 0.05, 0.94, 0.93))
    pen.ellipse((0.20, 0.19, 0.80, 0.79), CREAM)
    for hour in range(12):
        x, y = np.cos(hour * np.pi / 6), np.sin(hour * np.pi / 6)
        pen.line([(0.5 + 0.23 * x, 0.49 + 0.23 * y), (0.5 + 0.27 * x, 0.49 + 0.27 * y)])
    pen.line([(0.5, 0.49), (0.5, 0.28)], INK, 0.03)
    pen.line([(0.5, 0.49), (0.65, 0.57)], INK, 0.03)


CLASSES: dict[str, Callable[[Pen], None]] = {
    "mug": _mug,
    "ball": _ball,
    "fish": _fish,
    "house": _house,
    "car": _car,
    "flower": _flower,
    "umbrella": _umbrella,
    "clock": _clock,
}


def identities(per_class: int) -> list[Identity]:
    """Give `per_class` individuals of every class, at most ten; no two share class and colour."""
    colours, patterns = list(COLOURS), list(PATTERNS)
    return [
        Identity(name, colours[(3 * i + row) % len(colours)], patterns[(i + row) % len(patterns)])
        for row, name in enumerate(CLASSES)
        for i in range(per_class)
    ]


def draw_background(size: tuple[int, int], chance: np.random.Generator) -> Image.Image:
    """Draw one of six kinds of pale or muted ground, with a trace of grain."""
    kind = BACKGROUNDS[int(chance.integers(len(BACKGROUNDS)))]
    image = kind(size, chance)
    grain = chance.normal(0.0, 3.0, (size[1], size[0], 1))
    pixels = np.asarray(image, np.float64) + grain
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def draw_shadow(image: Image.Image, box: Box) -> None:
    """Darken a soft ellipse under the foot of `box` (pixels)."""
    x1, _, x2, y2 = box
    height = (x2 - x1) * 0.1
    mask = Image.new("L", image.size, 0)
    ImageDraw.Draw(mask).ellipse((x1, y2 - height, x2, y2 + height), fill=90)
    image.paste((30, 28, 34), (0, 0), mask.filter(ImageFilter.GaussianBlur(3)))


def _gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    mix = np.linspace(0.0, 1.0, size[1])[:, None, None]
    column = np.array(top) * (1 - mix) + np.array(bottom) * mix
    return Image.fromarray(np.broadcast_to(column, (size[1], size[0], 3)).astype(np.uint8))


def _wall(size: tuple[int, int], chance: np.random.Generator) -> Image.Image:
    top = _muted(chance)
    return _gradient(size, top, _shade(top, 0.8))


def _table(size: tuple[int, int], chance: np.random.Generator) -> Image.Image:
    image = _wall(size, chance)
    horizon = round(size[1] * chance.uniform(0.4, 0.6))
    top = _muted(chance)
    floor = _gradient((size[0], size[1] - horizon), _shade(top, 0.9), _shade(top, 0.65))
    image.paste(floor, (0, horizon))
    return image


def _meadow(size: tuple[int, int], chance: np.random.Generator) -> Image.Image:
    image = _gradient(size, (150, 196, 232), (220, 234, 240))
    horizon = round(size[1] * chance.uniform(0.35, 0.55))
    image.paste(
        _gradient((size[0], size[1] - horizon), (138, 176, 96), (92, 138, 64)), (0, horizon)
    )
    draw = ImageDraw.Draw(image)
    for x, y in zip(*chance.uniform(0, 1, (2, 160)), strict=True):
        at = (x * size[0], horizon + 6 + y * (size[1] - horizon))
        draw.line([at, (at[0] + 2, at[1] - 5)], (70, 116, 52))
    return image


def _planks(size: tuple[int, int], chance: np.random.Generator) -> Image.Image:
    image = Image.new("RGB", size)
    draw = ImageDraw.Draw(image)
    step = size[1] // 6 + 1
    for y in range(0, size[1], step):
        tone = _shade((190, 150, 108), chance.uniform(0.82, 1.1))
        draw.rectangle((0, y, size[0], y + step), tone)
        for _ in range(5):
            at = y + chance.uniform(0, step)
            draw.line([(0, at), (size[0], at + chance.uniform(-4, 4))], _shade(tone, 0.93))
        draw.line([(0, y), (size[0], y)], _shade(tone, 0.6), 2)
    return image


def _tiles(size: tuple[int, int], chance: np.random.Generator) -> Image.Image:
    light = _muted(chance)
    image = Image.new("RGB", size, light)
    draw = ImageDraw.Draw(image)
    step = int(chance.integers(size[1] // 8, size[1] // 5))
    for row, y in enumerate(range(0, size[1], step)):
        for x in range(step * (row % 2), size[0], 2 * step):
            draw.rectangle((x, y, x + step - 1, y + step - 1), _shade(light, 0.88))
    return image


def _sky(size: tuple[int, int], chance: np.random.Generator) -> Image.Image:
    image = _gradient(size, (118, 170, 222), (214, 230, 242))
    mask = Image.new("L", size, 0)
    draw = ImageDraw.Draw(mask)
    for _ in range(int(chance.integers(3, 7))):
        x, y = chance.uniform(0, size[0]), chance.uniform(0, size[1] * 0.8)
        for dx in (-22, 0, 22):
            r = chance.uniform(10, 20)
            draw.ellipse((x + dx - 1.5 * r, y - r, x + dx + 1.5 * r, y + r), fill=190)
    image.paste((255, 255, 255), (0, 0), mask.filter(ImageFilter.GaussianBlur(5)))
    return image


BACKGROUNDS = (_wall, _table, _meadow, _planks, _tiles, _sky)


def _texture(colour: Colour, pattern: str) -> Image.Image:
    image = Image.new("RGB", (TILE, TILE), colour)
    light = _shade(colour, 0.45) if sum(colour) > 480 else CREAM
    PATTERNS[pattern](ImageDraw.Draw(image), colour, light)
    shading = _gradient((TILE, TILE), (255, 255, 255), (205, 205, 205))
    return ImageChops.multiply(image, shading)


def _plain(draw: ImageDraw.ImageDraw, colour: Colour, light: Colour) -> None:
    draw.rectangle((0, 0, TILE, TILE), colour)


def _stripes(draw: ImageDraw.ImageDraw, colour: Colour, light: Colour) -> None:
    for x in range(-TILE, TILE, STEP):
        draw.line([(x, 0), (x + TILE, TILE)], light, STEP // 3)


def _dots(draw: ImageDraw.ImageDraw, colour: Colour, light: Colour) -> None:
    for row, y in enumerate(range(0, TILE, STEP)):
        for x in range((row % 2) * STEP // 2, TILE, STEP):
            draw.ellipse((x, y, x + STEP // 2, y + STEP // 2), light)


def _checks(draw: ImageDraw.ImageDraw, colour: Colour, light: Colour) -> None:
    for row, y in enumerate(range(0, TILE, STEP)):
        for x in range((row % 2) * STEP, TILE, 2 * STEP):
            draw.rectangle((x, y, x + STEP - 1, y + STEP - 1), _shade(colour, 0.6))


PATTERNS: dict[str, Callable[[ImageDraw.ImageDraw, Colour, Colour], None]] = {
    "plain": _plain,
    "stripes": _stripes,
    "dots": _dots,
    "checks": _checks,
}


def _muted(chance: np.random.Generator) -> Colour:
    r, g, b = chance.integers(150, 235, 3)
    return int(r), int(g), int(b)


def _shade(colour: Colour, factor: float) -> Colour:
    r, g, b = (min(255, round(part * factor)) for part in colour)
    return r, g, b


def _px(box: Box) -> Box:
    x1, y1, x2, y2 = box
    return x1 * TILE, y1 * TILE, x2 * TILE, y2 * TILE
