"""The one door to open_clip: beside a CPU torch, torchvision from the registry cannot load.

The registry has only CUDA-linked torchvision builds. Beside a CPU torch the C++ operators are
absent, and `import torchvision` dies while it registers fake kernels for two of them. Declaring
their schemas lets the pure-Python part (transforms, layers) import, which is all open_clip needs;
torchvision's own nms and JPEG decode then have no kernel. With a matching build nothing happens.
"""

import importlib
import sys
import threading
from types import ModuleType
from typing import Any

_lock = threading.Lock()
_declared: list[Any] = []  # a torch Library undeclares its operators when it is collected


def import_open_clip() -> ModuleType:
    """Import open_clip, with torchvision made importable first; safe from several threads."""
    import_torchvision()
    with _lock:
        return importlib.import_module("open_clip")


def import_torchvision() -> None:
    """Import torchvision, without its operators where it does not fit torch; thread-safe."""
    with _lock:
        _import_torchvision()


def _import_torchvision() -> None:
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error) or "does not exist" not in str(error):
            raise
    else:
        return
    for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # half imported
    _declare_operators()
    importlib.import_module("torchvision")


def _declare_operators() -> None:
    from torch.library import Library

    library: Any = Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
