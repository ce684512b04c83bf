"""Decoding: every kind of file is an image that is right, or a reason that one can read."""

import hashlib
import io
import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from embeddings import images, thumbnails
from embeddings.errors import CurationError
from embeddings.images import UnreadableImage


def encoded(image: PIL.Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(width: int = 60, height: int = 40) -> PIL.Image.Image:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.stack([x * 4 % 256, y * 6 % 256, (x + y) * 2 % 256], axis=2)
    return PIL.Image.fromarray(pixels.astype(np.uint8))


def test_the_id_is_the_beginning_of_the_sha256_of_the_bytes() -> None:
    data = encoded(gradient())
    decoded = images.decode(data)
    assert decoded.sha256 == hashlib.sha256(data).hexdigest()
    assert decoded.image_id == decoded.sha256[:32]
    assert decoded.bytes == len(data)


def test_the_histogram_sums_to_the_number_of_pixels_in_every_channel() -> None:
    decoded = images.decode(encoded(gradient()))
    assert decoded.histogram.sum(axis=1).tolist() == [2400, 2400, 2400]
    red = np.asarray(gradient())[:, :, 0]
    assert decoded.histogram[0].tolist() == np.bincount(red.ravel(), minlength=256).tolist()


def test_a_reduced_decode_keeps_the_size_and_the_sum_of_the_histogram() -> None:
    photo = gradient(1600, 1203)
    decoded = images.decode(encoded(photo, "JPEG"), min_side=100)
    assert (decoded.width, decoded.height) == (1600, 1203)
    assert 200 <= min(decoded.rgb.size) < 1203
    assert decoded.histogram.sum(axis=1).tolist() == [1600 * 1203] * 3


def test_an_exif_rotation_is_applied_and_the_size_is_the_upright_one() -> None:
    photo = gradient(60, 40)
    photo.paste((255, 0, 0), (0, 0, 12, 12))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the camera was held turned: show it turned 90 degrees clockwise
    decoded = images.decode(encoded(photo, "JPEG", exif=exif, quality=95))
    assert (decoded.width, decoded.height) == (40, 60)
    assert decoded.rgb.size == (40, 60)
    red, green, _ = decoded.rgb.getpixel((36, 4))
    assert red > 200 and green < 60, "the red corner must come to the upper right"


def test_the_time_a_photograph_was_taken_is_read() -> None:
    exif = PIL.Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2023:01:04 09:58:14"
    decoded = images.decode(encoded(gradient(), "JPEG", exif=exif))
    assert decoded.taken_at == "2023-01-04T09:58:14"


def test_sixteen_bit_values_are_rescaled_not_clipped() -> None:
    values = np.array([[0, 2560, 32768, 65535]], np.uint16)
    decoded = images.decode(encoded(PIL.Image.fromarray(values)))
    assert [decoded.rgb.getpixel((x, 0))[0] for x in range(4)] == [0, 10, 128, 255]


def test_transparency_lies_on_white() -> None:
    image = PIL.Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    assert images.decode(encoded(image)).rgb.getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "CMYK", "RGB", "RGBA", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    kind = "TIFF" if mode == "CMYK" else "PNG"
    image = gradient().convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = PIL.Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    decoded = images.decode(encoded(image, kind))
    assert decoded.rgb.mode == "RGB"
    assert decoded.rgb.size == (60, 40)


def test_an_animation_gives_its_first_frame_and_says_so() -> None:
    frames = [PIL.Image.new("RGB", (8, 8), color) for color in ("red", "green", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    decoded = images.decode(data)
    assert decoded.note == "first of 3 frames"
    assert decoded.rgb.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"this is a text", "not an image"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 40, "not an image"),
        (encoded(gradient(), "PNG")[:90], "damaged"),
        (encoded(gradient(400, 400), "JPEG")[:900], "damaged"),
    ],
)
def test_what_cannot_be_decoded_has_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason):
        images.decode(data)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the damage
@pytest.mark.parametrize("kind", ["AVIF", "DDS", "PNG", "TIFF", "WEBP"])
def test_no_damage_ends_a_run(kind: str) -> None:
    sound = encoded(gradient(24, 16), kind)
    chance = np.random.default_rng(0)
    unreadable = 0
    for _ in range(150):
        data = bytearray(sound)
        for at in chance.integers(0, min(len(data), 400), 4):
            data[at] = int(chance.choice([0, 1, 128, 255]))
        try:
            images.decode(bytes(data))
        except UnreadableImage:
            unreadable += 1
    assert unreadable


def test_a_small_file_of_very_many_pixels_is_refused_before_it_is_decoded() -> None:
    bomb = encoded(PIL.Image.new("1", (9400, 9400)), "PNG")
    assert len(bomb) < 20_000
    with pytest.raises(UnreadableImage, match="bomb"):
        images.decode(bomb)


def test_an_empty_file_and_a_vanished_one_have_a_reason(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    with pytest.raises(UnreadableImage, match="empty file"):
        images.read(str(empty))
    with pytest.raises(UnreadableImage, match="cannot be opened"):
        images.read(str(tmp_path / "gone.jpg"))


def test_finding_is_in_order_and_passes_over_what_is_no_image(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "sub/c.webp", ".hidden.jpg", "notes.txt", "labels.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"text")
    (tmp_path / "no_suffix").write_bytes(encoded(gradient()))
    found = [Path(c.path).relative_to(tmp_path).as_posix() for c in images.find(tmp_path)]
    assert found == ["a.PNG", "b.jpg", "no_suffix", "sub/c.webp"]


def test_a_loop_of_links_is_walked_once(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(gradient()))
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(list(images.find(tmp_path))) == 1


def test_a_name_that_is_not_utf8_is_found_and_can_be_shown(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(raw)).write_bytes(encoded(gradient()))
    (candidate,) = images.find(tmp_path)
    assert os.fsencode(candidate.path) == raw
    assert images.printable(candidate.path).endswith("caf\\xe9.png")


def test_a_missing_source_and_one_that_is_no_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CurationError, match="no such file or folder"):
        list(images.find(tmp_path / "gone"))
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(CurationError, match="not an image"):
        list(images.find(tmp_path / "notes.txt"))


def test_a_thumbnail_is_a_jpeg_of_at_most_128_pixels() -> None:
    small = PIL.Image.open(io.BytesIO(thumbnails.make(gradient(600, 300))))
    assert small.format == "JPEG"
    assert small.size == (128, 64)


def test_a_sheet_has_its_cells_in_order_and_grey_where_there_is_none() -> None:
    colors = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    cells = [thumbnails.make(PIL.Image.new("RGB", (90, 60), color)) for color in colors]
    sheet = PIL.Image.open(io.BytesIO(thumbnails.sheet([*cells, None] + cells * 5)))
    assert sheet.size == (1024, 128)
    for number, color in [(0, 0), (1, 1), (2, 2), (16, 0)]:
        x, y = number % 16 * 64 + 32, number // 16 * 64 + 32
        assert int(np.argmax(sheet.getpixel((x, y)))) == color
    grey = sheet.getpixel((3 * 64 + 32, 32))
    assert max(grey) - min(grey) <= 4 and 110 < grey[0] < 150
