"""Which device a torch model runs on, and whether bfloat16 weights may stand for float32."""

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embeddings.errors import CurationError

if TYPE_CHECKING:
    import torch

MIN_COSINE = 0.999  # between float32 and bfloat16 vectors of the probe images


def choose_device(device: str) -> "torch.device":
    """Return the torch device for ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``."""
    import torch

    available = torch.cuda.is_available()
    if device == "auto":
        device = "cuda" if available else "cpu"
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise CurationError(f"unknown device {device!r}; expected auto, cpu, cuda or cuda:N")
    if kind == "cuda" and int(number or 0) >= (torch.cuda.device_count() if available else 0):
        raise CurationError(f"device {device!r} is not there; use --device auto or cpu")
    return torch.device(device)


def check_device(device: str) -> None:
    """Refuse a device that is not there; torch is loaded only where the machine must be asked."""
    if device not in ("auto", "cpu"):
        choose_device(device)


def bfloat16_pays(device: "torch.device") -> bool:
    """Whether `device` multiplies bfloat16 in hardware.

    Asked of the hardware and not of a stopwatch: the same input must give the same vectors
    whatever else the machine is doing. With AVX512_BF16 the gain measured is 2 to 3.5 times.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)  # Ampere; below it is emulated
    # Older releases of torch lack the probe: float32 is the safe answer there.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    fast = capabilities.get("avx512_bf16", False) or capabilities.get("amx_bf16", False)
    return bool(fast and torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def lower_precision(model: "torch.nn.Module", size: tuple[int, int]) -> float:
    """Turn the image tower of `model` to bfloat16 if its vectors stay the same.

    Returns
    -------
    float
        Smallest cosine between float32 and bfloat16 vectors over the probe images. Below
        `MIN_COSINE` the tower stays float32.
    """
    import torch
    from torch.nn.functional import cosine_similarity

    device = next(model.parameters()).device
    images = torch.from_numpy(probe_images(*size)).to(device)
    full = model.visual
    with torch.inference_mode():
        expected = model.encode_image(images).float()  # type: ignore[operator]
        model.visual = copy.deepcopy(full).to(torch.bfloat16)
        found = model.encode_image(images.bfloat16()).float()  # type: ignore[operator]
    worst = float(cosine_similarity(expected, found).min())
    if not worst >= MIN_COSINE:  # NaN too
        model.visual = full
    return worst


def probe_images(height: int, width: int) -> npt.NDArray[np.float32]:
    """Eight fixed pictures, (8, 3, height, width) float32 normalised: colour fields, stripes."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(height, width)
    random = np.random.default_rng(0)
    pictures = []
    for wave in range(8):
        angle, phase = random.uniform(0, 2 * np.pi, (2, 3, 1, 1))
        turned = np.cos(angle) * x + np.sin(angle) * y
        picture = 1.5 * np.sin(2 * np.pi * (wave + 1) * turned + phase)
        pictures.append(picture + random.normal(0, 0.2, picture.shape))
    return np.stack(pictures).astype(np.float32)
