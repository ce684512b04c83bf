"""Thumbnails: their size, what they look like, and what they leave behind."""

import io

import numpy as np
import PIL.Image
import pytest

from embeddings import images, thumbnails


def opened(data: bytes) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(data))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((256, 192), (128, 96)),
        ((500, 375), (128, 96)),
        ((129, 128), (128, 127)),
        ((128, 5), (128, 5)),
        ((1, 1), (1, 1)),
        ((4000, 3), (128, 1)),
        ((3, 4000), (1, 128)),
    ],
)
def test_the_longest_side_is_at_most_128_pixels(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert opened(thumbnails.make(PIL.Image.new("RGB", size, "navy"))).size == expected


@pytest.mark.parametrize("side", [130, 192, 256, 300, 383, 500, 1000])
def test_a_thumbnail_looks_like_a_careful_reduction(side: int) -> None:
    y, x = np.mgrid[0:side, 0:side] / side
    waves = np.stack([np.sin(40 * x), np.sin(33 * y), np.sin(25 * (x + y))], axis=2)
    image = PIL.Image.fromarray((127.5 + 120 * waves).astype(np.uint8))
    careful = np.asarray(image.resize((128, 128), PIL.Image.Resampling.LANCZOS), float)
    found = np.asarray(opened(thumbnails.make(image)), float)
    # luminance: JPEG itself halves the resolution of colour
    weights = [0.299, 0.587, 0.114]
    assert np.abs((found - careful) @ weights).mean() < 5


def test_making_a_thumbnail_leaves_the_image_as_it_was() -> None:
    image = PIL.Image.effect_noise((300, 200), 60).convert("RGB")
    before = image.tobytes()
    thumbnails.make(image)
    assert (image.size, image.tobytes()) == ((300, 200), before)


def test_the_comment_of_a_photograph_is_not_copied_into_its_thumbnail() -> None:
    for side in (90, 400):
        buffer = io.BytesIO()
        picture = PIL.Image.new("RGB", (side, side), "olive")
        picture.save(buffer, "JPEG", comment=b"taken at home " * 4000)
        decoded = images.decode(buffer.getvalue(), min_side=128)
        thumbnail = thumbnails.make(decoded.rgb)
        assert len(thumbnail) < 5000 and b"at home" not in thumbnail


@pytest.mark.parametrize(("cell", "columns"), [(64, 16), (128, 8)])
def test_a_sheet_has_its_pictures_in_order_and_grey_where_there_is_none(
    cell: int, columns: int
) -> None:
    colours = ["red", "lime", "blue", "yellow"]
    made = [thumbnails.make(PIL.Image.new("RGB", (128, 90), colour)) for colour in colours]
    wanted = [made[at % 4] if at % 5 else None for at in range(columns + 3)]
    sheet = opened(thumbnails.sheet(wanted, cell)).convert("RGB")
    assert sheet.size == (1024, 2 * cell)
    for at in range(columns + 3):
        left, top = at % columns * cell, at // columns * cell
        seen = np.asarray(sheet.crop((left + 4, top + 4, left + cell - 4, top + cell - 4)), float)
        colour = PIL.Image.new("RGB", (1, 1), colours[at % 4] if at % 5 else (128, 128, 128))
        assert np.abs(seen - np.asarray(colour)).mean() < 12, at
    assert opened(thumbnails.sheet([], cell)).size == (1024, cell)
