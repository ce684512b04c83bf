"""Scenes of our own, drawn from a seed, with every trap of a real collection planted and known."""

import io
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from embeddings.errors import CurationError
from embeddings.samples.drawing import (
    CLASSES,
    Box,
    Identity,
    draw_background,
    draw_object,
    draw_shadow,
    identities,
)
from embeddings.samples.folder import whole_folder
from embeddings.samples.truth import Truth, read_truth, write_truth

OBJECT_SIDE = (0.28, 0.55)  # of the image's shorter side
TRIES = 20  # to find room for an object beside the others
QUALITY = 92
NEAR = ("jpeg", "resize", "crop", "flip")
ODD = ("noise", "card", "blank", "blur")
CARD = ("white", "yellow", "cyan", "green", "magenta", "red", "blue")


@dataclass(frozen=True)
class Recipe:
    """How much of everything: shares are of `scenes`, and what they make comes on top."""

    scenes: int = 200
    seed: int = 0
    width: int = 320
    height: int = 240
    per_class: int = 4
    exact: float = 0.04
    near: float = 0.08
    outliers: float = 0.04
    drifted: float = 0.15
    wrong: float = 0.05

    def __post_init__(self) -> None:
        if self.scenes < 1 or min(self.width, self.height) < 64:
            raise CurationError(
                f"scenes must be at least 1 and sides 64 pixels, got {self.scenes} of "
                f"{self.width} x {self.height}"
            )
        if not 1 <= self.per_class <= 10:
            raise CurationError(f"per_class must be 1 to 10, got {self.per_class}")

    def count(self, share: float) -> int:
        """How many images a share of the scenes is."""
        return round(self.scenes * share)


@dataclass(frozen=True)
class _Scene:
    """One image with its objects, the biggest first."""

    data: bytes
    size: tuple[int, int]
    boxes: tuple[tuple[Box, Identity], ...]
    kind: str = "scene"
    of: int = -1
    how: str = ""


def generate(folder: Path, *, scenes: int = 200, seed: int = 0, **amounts: Any) -> Truth:
    """Draw scenes of mugs, balls, fish, houses, cars, flowers, umbrellas and clocks.

    Writes ``images/*.jpg``, ``labels.csv`` (path, label, batch: what a curator is given, a known
    share of it wrong), ``boxes.json`` (COCO) and ``truth.csv``. The same recipe gives the same
    bytes; a folder that already holds it is read, not drawn again.

    Parameters
    ----------
    folder : Path
        Absent or empty, or made before with the same recipe.
    scenes, seed, **amounts
        See `Recipe`.

    Raises
    ------
    CurationError
        When `folder` holds something else, or an amount makes no sense.
    """
    recipe = Recipe(scenes=scenes, seed=seed, **amounts)
    if (folder / "truth.csv").is_file():
        truth, made_with = read_truth(folder)
        if made_with == asdict(recipe):
            return truth
    with whole_folder(folder) as fresh:
        drawn = _draw_all(recipe)
        truth = _truth(drawn, recipe)
        (fresh / "images").mkdir()
        for path, scene in zip(truth.path.tolist(), drawn, strict=True):
            (fresh / path).write_bytes(scene.data)
        write_truth(fresh, truth, [scene.size for scene in drawn], asdict(recipe))
    return truth


def _draw_all(recipe: Recipe) -> list[_Scene]:
    """Every image in the order of the files: scenes, then what is planted."""
    people = identities(recipe.per_class)
    tiles = {person.name: draw_object(person) for person in people}
    mix = np.repeat(np.linspace(2.0, 0.5, len(CLASSES)), recipe.per_class)
    plain = [
        _scene(recipe, people, tiles, mix, _chance(recipe, 0, row)) for row in range(recipe.scenes)
    ]
    chance = _chance(recipe, 1, 0)
    exact = recipe.count(recipe.exact)
    chosen = chance.permutation(recipe.scenes)[: exact + recipe.count(recipe.near)].tolist()
    drawn = list(plain)
    for row in chosen[:exact]:
        drawn.append(replace(plain[row], kind="exact_duplicate", of=row))
    for number, row in enumerate(chosen[exact:]):
        drawn.append(_near_duplicate(plain[row], row, NEAR[number % len(NEAR)]))
    for number in range(recipe.count(recipe.outliers)):
        chance = _chance(recipe, 2, number)
        drawn.append(_outlier(recipe, ODD[number % len(ODD)], plain, chance))
    for number in range(recipe.count(recipe.drifted)):
        # The mix of classes is turned round: what was rare is common.
        scene = _scene(recipe, people, tiles, mix[::-1], _chance(recipe, 3, number))
        drawn.append(_drifted(scene))
    return drawn


def _scene(
    recipe: Recipe,
    people: list[Identity],
    tiles: dict[str, Image.Image],
    mix: np.ndarray[Any, Any],
    chance: np.random.Generator,
) -> _Scene:
    """One to four objects that do not overlap on a ground."""
    image = draw_background((recipe.width, recipe.height), chance)
    boxes: list[tuple[Box, Identity]] = []
    for _ in range(int(chance.choice([1, 2, 3, 4], p=[0.4, 0.3, 0.2, 0.1]))):
        person = people[int(chance.choice(len(people), p=mix / mix.sum()))]
        tile = _posed(tiles[person.name], min(image.size), chance)
        corner = _room_for(tile.size, image.size, [box for box, _ in boxes], chance)
        if corner is not None:
            boxes.append((_paste(image, tile, corner), person))
    boxes.sort(key=lambda entry: -_area(entry[0]))
    return _Scene(_jpeg(image), image.size, tuple(boxes))


def _posed(tile: Image.Image, side: int, chance: np.random.Generator) -> Image.Image:
    """Turn a little, scale, light; cut to the visible part again."""
    turned = tile.rotate(chance.uniform(-14, 14), Image.Resampling.BICUBIC, expand=True)
    scale = side * chance.uniform(*OBJECT_SIDE) / max(turned.size)
    size = (max(1, round(turned.width * scale)), max(1, round(turned.height * scale)))
    small = turned.resize(size, Image.Resampling.LANCZOS)
    lit = ImageEnhance.Brightness(small).enhance(chance.uniform(0.85, 1.12))
    lit.putalpha(small.getchannel("A"))
    return lit.crop(_visible(lit))


def _visible(tile: Image.Image) -> tuple[int, int, int, int]:
    """Where a tile is more than half opaque: what a careful annotator would draw."""
    box = tile.getchannel("A").point(lambda alpha: 255 * (alpha > 127)).getbbox()
    assert box is not None  # objects are at least 17 pixels long
    return box


def _room_for(
    size: tuple[int, int], within: tuple[int, int], taken: list[Box], chance: np.random.Generator
) -> tuple[int, int] | None:
    for _ in range(TRIES):
        x = int(chance.integers(0, within[0] - size[0] + 1))
        y = int(chance.integers(0, within[1] - size[1] + 1))
        box = (x, y, x + size[0], y + size[1])
        if not any(_overlap(box, other) for other in taken):
            return x, y
    return None


def _paste(image: Image.Image, tile: Image.Image, corner: tuple[int, int]) -> Box:
    x, y = corner
    box = (float(x), float(y), float(x + tile.width), float(y + tile.height))
    draw_shadow(image, box)
    image.paste(tile, corner, tile)
    return box


def _near_duplicate(scene: _Scene, row: int, how: str) -> _Scene:
    """Make the same picture again as it comes back from a chat, an editor or a mirror."""
    image = Image.open(io.BytesIO(scene.data))
    width, height = image.size
    if how == "jpeg":
        return replace(scene, data=_jpeg(image, 35), kind="near_duplicate", of=row, how=how)
    if how == "flip":
        changed = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        moved = [((width - b[2], b[1], width - b[0], b[3]), who) for b, who in scene.boxes]
    elif how == "resize":
        changed = image.resize((width * 3 // 5, height * 3 // 5), Image.Resampling.LANCZOS)
        fx, fy = changed.width / width, changed.height / height
        moved = [((b[0] * fx, b[1] * fy, b[2] * fx, b[3] * fy), who) for b, who in scene.boxes]
    else:
        dx, dy = width // 16, height // 16
        changed = image.crop((dx, dy, width - dx, height - dy))
        moved = [(_cut(b, dx, dy, changed.size), who) for b, who in scene.boxes]
    kept = tuple((box, who) for box, who in moved if _area(box) > 0)
    return _Scene(_jpeg(changed), changed.size, kept, "near_duplicate", row, how)


def _outlier(recipe: Recipe, how: str, plain: list[_Scene], chance: np.random.Generator) -> _Scene:
    """Draw a picture that belongs to nothing: no boxes, no label."""
    size = (recipe.width, recipe.height)
    if how == "noise":
        image = Image.fromarray(chance.integers(0, 256, (*size[::-1], 3), np.uint8))
    elif how == "card":
        image = _grainy(_card(size), chance)
    elif how == "blank":
        tone = int(chance.choice([8, 128, 246]))
        image = _grainy(Image.new("RGB", size, (tone, tone, tone)), chance)
    else:
        source = plain[int(chance.integers(len(plain)))]
        image = Image.open(io.BytesIO(source.data)).filter(ImageFilter.GaussianBlur(size[0] / 16))
        image = _grainy(image, chance)
    return _Scene(_jpeg(image), size, (), "outlier", -1, how)


def _card(size: tuple[int, int]) -> Image.Image:
    image = Image.new("RGB", size, "black")
    draw = ImageDraw.Draw(image)
    step = size[0] / len(CARD)
    for number, colour in enumerate(CARD):
        draw.rectangle((number * step, 0, (number + 1) * step, size[1] * 0.75), colour)
        tone = round(255 * number / (len(CARD) - 1))
        draw.rectangle((number * step, size[1] * 0.75, (number + 1) * step, size[1]), (tone,) * 3)
    return image


def _grainy(image: Image.Image, chance: np.random.Generator) -> Image.Image:
    """Add a sensor's noise, so that no two are the same bytes by accident."""
    grain = chance.normal(0.0, 2.0, (image.height, image.width, 1))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def _drifted(scene: _Scene) -> _Scene:
    """Another camera: darker, every hue turned."""
    hue, saturation, value = Image.open(io.BytesIO(scene.data)).convert("HSV").split()
    turned = hue.point(lambda h: (h + 22) % 256)
    dark = value.point(lambda v: v * 0.55)
    image = Image.merge("HSV", (turned, saturation, dark)).convert("RGB")
    return replace(scene, data=_jpeg(image), kind="drift")


def _truth(drawn: list[_Scene], recipe: Recipe) -> Truth:
    paths = [f"images/img_{number:05d}.jpg" for number in range(len(drawn))]
    label = np.array([_main(scene).class_name if scene.boxes else "" for scene in drawn])
    given = label.copy()
    chance = _chance(recipe, 4, 0)
    names = list(CLASSES)
    for row in chance.permutation(recipe.scenes)[: recipe.count(recipe.wrong)]:
        others = [name for name in names if name != label[row]]
        given[row] = others[int(chance.integers(len(others)))]
    boxes = [(row, box, who) for row, scene in enumerate(drawn) for box, who in scene.boxes]
    return Truth(
        path=np.array(paths),
        kind=np.array([scene.kind for scene in drawn]),
        of=np.array([paths[scene.of] if scene.of >= 0 else "" for scene in drawn]),
        how=np.array([scene.how for scene in drawn]),
        label=label,
        given_label=given,
        identity=np.array([_main(scene).name if scene.boxes else "" for scene in drawn]),
        box_image=np.array([row for row, _, _ in boxes], np.int32),
        xyxy=np.array([box for _, box, _ in boxes], np.float32).reshape(-1, 4),
        box_class=np.array([who.class_name for _, _, who in boxes]),
        box_identity=np.array([who.name for _, _, who in boxes]),
    )


def _main(scene: _Scene) -> Identity:
    return scene.boxes[0][1]


def _chance(recipe: Recipe, *stream: int) -> np.random.Generator:
    """Chance of its own for every image: a longer run begins with the same scenes."""
    return np.random.default_rng([recipe.seed, *stream])


def _jpeg(image: Image.Image, quality: int = QUALITY) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _cut(box: Box, dx: int, dy: int, size: tuple[int, int]) -> Box:
    x1, y1, x2, y2 = box
    width, height = size
    return (
        min(max(x1 - dx, 0.0), width),
        min(max(y1 - dy, 0.0), height),
        min(max(x2 - dx, 0.0), width),
        min(max(y2 - dy, 0.0), height),
    )


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
