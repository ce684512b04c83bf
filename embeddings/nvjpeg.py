"""JPEGs decoded on an NVIDIA GPU by nvJPEG, through torchvision: those of many threads in one call.

What it cannot decode the CPU does, so a build comes out the same way with the same reasons. Its
pixels differ from the CPU's in the last bits.
"""

import io
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image

from embeddings.errors import CurationError

if TYPE_CHECKING:
    import torch

    DecodeMany = Callable[[Sequence[bytes]], Sequence[torch.Tensor]]

BATCH = 32  # JPEGs in one call; nvJPEG has several engines, and works on single ones in turn
THREADS = 4  # decoding threads a core: they wait for the GPU most of the time
_END = b"\xff\xd9"  # nvJPEG gives no error for a file that is cut off


@dataclass(frozen=True)
class _Job:
    data: bytes
    factor: int
    answer: "Future[PIL.Image.Image | None]" = field(default_factory=Future)


class GpuDecoder:
    """Decodes JPEGs for many threads: one calls the GPU, with all that came in meanwhile.

    Parameters
    ----------
    decode_many : callable
        Bytes of JPEGs -> one tensor (3, height, width) uint8 each; RuntimeError when any is bad.

    Attributes
    ----------
    decoded, declined : int
        How many JPEGs the GPU decoded, and how many it left to the CPU.
    """

    def __init__(self, decode_many: "DecodeMany") -> None:
        self.decoded = self.declined = 0
        self._decode_many = decode_many
        self._jobs: list[_Job] = []
        self._list, self._turn = threading.Lock(), threading.Lock()

    def __call__(self, data: bytes, factor: int) -> PIL.Image.Image | None:
        """Return a JPEG as RGB reduced `factor` times; None when the CPU must decode it."""
        if not data.endswith(_END):
            return None
        job = _Job(data, factor)
        with self._list:
            self._jobs.append(job)
        while not job.answer.done():
            with self._turn:
                self._next_batch()
        return job.answer.result()

    def _next_batch(self) -> None:
        with self._list:
            batch, self._jobs = self._jobs[:BATCH], self._jobs[BATCH:]
        try:
            for job, pixels in zip(batch, self._tensors(batch), strict=True):
                image = None if pixels is None else _image(pixels, job.factor)
                self.decoded += image is not None
                self.declined += image is None
                job.answer.set_result(image)
        except BaseException as error:
            for job in batch:
                if not job.answer.done():
                    job.answer.set_exception(error)
            raise

    def _tensors(self, jobs: list[_Job]) -> "Sequence[torch.Tensor | None]":
        if not jobs:
            return []
        try:
            return self._decode_many([job.data for job in jobs])
        except RuntimeError:  # torchvision's only error: one of them is bad, or memory is short
            if len(jobs) == 1:
                return [None]
            half = len(jobs) // 2
            return [*self._tensors(jobs[:half]), *self._tensors(jobs[half:])]


def open_decoder(device: "torch.device") -> GpuDecoder:
    """Return a decoder on `device`, after it has decoded a probe.

    Raises
    ------
    CurationError
        When there is no nvJPEG: the message says why.
    """
    import torch

    from embeddings.encoders.torchvision_fix import import_torchvision

    if device.type != "cuda":
        raise CurationError("nvJPEG needs an NVIDIA GPU, and this build runs on cpu; leave it away")
    import_torchvision()
    from torchvision.io import ImageReadMode, decode_jpeg

    def decode_many(files: Sequence[bytes]) -> "Sequence[torch.Tensor]":
        inputs = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in files]
        found: list[torch.Tensor] = decode_jpeg(inputs, mode=ImageReadMode.RGB, device=device)
        return found

    try:
        decode_many([_probe()])
    except (RuntimeError, AttributeError) as error:  # no kernel, or no operator at all
        reason = str(error).splitlines()[0]
        raise CurationError(
            f"torchvision cannot decode JPEGs on {device} ({reason}); install the torchvision that "
            "belongs to your torch and CUDA, or leave --decode away"
        ) from error
    return GpuDecoder(decode_many)


def _image(pixels: "torch.Tensor", factor: int) -> PIL.Image.Image | None:
    try:
        return _reduced(pixels, factor)
    except RuntimeError:  # the GPU's memory is short: no fault of the file, and the CPU has room
        return None


def _reduced(pixels: "torch.Tensor", factor: int) -> PIL.Image.Image:
    """Return (3, height, width) uint8 as an image, each `factor` x `factor` pixels averaged."""
    import torch

    if factor > 1:
        mean = torch.nn.functional.avg_pool2d(
            pixels[None].float(), factor, ceil_mode=True, count_include_pad=False
        )
        pixels = mean[0].round_().clamp_(0, 255).to(torch.uint8)
    rows = np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy())
    return PIL.Image.fromarray(rows)


def _probe() -> bytes:
    buffer = io.BytesIO()
    PIL.Image.linear_gradient("L").convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()
