"""JPEGs by nvJPEG: the batching, the reduction and the way back to the CPU, on what runs here.

torchvision's CUDA operator has run nowhere yet; a test at the end runs it where there is a GPU.
"""

import io
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
import pytest
import torch

from embeddings import images, nvjpeg
from embeddings.encoders import precision
from embeddings.errors import CurationError


def jpeg(seed: int, size: tuple[int, int] = (640, 480), mode: str = "RGB") -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    buffer = io.BytesIO()
    image = PIL.Image.fromarray(coarse).resize(size, PIL.Image.Resampling.BICUBIC).convert(mode)
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


class ByPillow:
    """Decodes as torchvision does, to (3, height, width) uint8 tensors, and counts its calls."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.hold = threading.Event()
        self.hold.set()

    def __call__(self, files: Sequence[bytes]) -> list[torch.Tensor]:
        self.hold.wait(20)
        self.calls.append(len(files))
        return [self._one(data) for data in files]

    def _one(self, data: bytes) -> torch.Tensor:
        if b"no GPU takes this" in data:
            raise RuntimeError("Error decoding JPEG")
        with PIL.Image.open(io.BytesIO(data)) as image:
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def test_what_comes_in_while_the_gpu_works_is_one_batch() -> None:
    many = ByPillow()
    decoder = nvjpeg.GpuDecoder(many)
    many.hold.clear()
    files = [jpeg(seed, (64, 48)) for seed in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(decoder, data, 1) for data in files]
        while len(decoder._jobs) < 19:
            threading.Event().wait(0.01)
        many.hold.set()
        found = [answer.result() for answer in answers]
    assert many.calls == [1, 19]
    for data, image in zip(files, found, strict=True):
        with PIL.Image.open(io.BytesIO(data)) as expected:
            assert np.array_equal(np.asarray(expected), np.asarray(image))
    assert (decoder.decoded, decoder.declined) == (20, 0)


def test_one_bad_jpeg_is_left_to_the_cpu_and_spoils_no_other() -> None:
    decoder = nvjpeg.GpuDecoder(ByPillow())
    spoilt = jpeg(1)[:-2] + b"no GPU takes this" + b"\xff\xd9"
    jobs = [nvjpeg._Job(data, 1) for data in (jpeg(0), spoilt, jpeg(2))]
    assert [tensor is None for tensor in decoder._tensors(jobs)] == [False, True, False]
    assert decoder(spoilt, 1) is None
    decoded = images.decode(spoilt, jpegs=decoder)
    assert np.array_equal(np.asarray(decoded.rgb), np.asarray(images.decode(spoilt).rgb))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("min_side", [None, 128, 60])
def test_the_picture_is_the_same_but_for_rounding(mode: str, min_side: int | None) -> None:
    decoder = nvjpeg.GpuDecoder(ByPillow())
    data = jpeg(7, (1001, 763), mode)
    here, there = (images.decode(data, min_side=min_side, jpegs=jpegs) for jpegs in (None, decoder))
    assert decoder.decoded == 1
    assert (there.width, there.height, there.rgb.size) == (1001, 763, here.rgb.size)
    assert here.histogram.sum() == there.histogram.sum()
    far = np.abs(np.asarray(here.rgb, np.int16) - np.asarray(there.rgb, np.int16))
    assert far.mean() < 1.5


def test_an_orientation_is_followed_after_the_gpu_too() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    PIL.Image.open(io.BytesIO(jpeg(3, (64, 32)))).save(buffer, "JPEG", exif=exif)
    decoded = images.decode(buffer.getvalue(), jpegs=nvjpeg.GpuDecoder(ByPillow()))
    assert (decoded.width, decoded.height, decoded.rgb.size) == (32, 64, (32, 64))


@pytest.mark.parametrize("cut", [0.5, 0.9])
def test_a_jpeg_that_is_cut_off_gets_the_same_reason(cut: float) -> None:
    data, many = jpeg(4), ByPillow()
    part = data[: int(len(data) * cut)]
    reasons = []
    for jpegs in (None, nvjpeg.GpuDecoder(many)):
        with pytest.raises(images.UnreadableImage) as caught:
            images.decode(part, jpegs=jpegs)
        reasons.append(str(caught.value))
    assert reasons[0] == reasons[1] and not many.calls


def test_cmyk_is_left_to_the_cpu() -> None:
    many = ByPillow()
    images.decode(jpeg(5, mode="CMYK"), jpegs=nvjpeg.GpuDecoder(many))
    assert not many.calls


def test_a_defect_reaches_every_thread_that_waits() -> None:
    def broken(files: Sequence[bytes]) -> list[torch.Tensor]:
        raise ZeroDivisionError

    decoder = nvjpeg.GpuDecoder(broken)
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(decoder, jpeg(seed), 1) for seed in range(4)]
        assert all(isinstance(each.exception(20), ZeroDivisionError) for each in answers)


def test_without_a_gpu_the_reason_is_said() -> None:
    with pytest.raises(CurationError, match="nvJPEG needs an NVIDIA GPU"):
        nvjpeg.open_decoder(torch.device("cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_torchvision_without_the_operator_is_named() -> None:
    with pytest.raises(CurationError, match="torchvision cannot decode JPEGs on cuda"):
        nvjpeg.open_decoder(torch.device("cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_decodes_as_the_cpu_does() -> None:
    decoder = nvjpeg.open_decoder(precision.choose_device("cuda"))
    data = jpeg(8, (1001, 763))
    here, there = (
        images.decode(data, min_side=128),
        images.decode(data, min_side=128, jpegs=decoder),
    )
    far = np.abs(np.asarray(here.rgb, np.int16) - np.asarray(there.rgb, np.int16))
    assert decoder.decoded == 1 and far.mean() < 2
