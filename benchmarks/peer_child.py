"""One peer over one folder: run by the peers' own Python, which has nothing of ours installed.

``peer_child.py cleanvision FOLDER OUT`` writes CPU and wall seconds, imports left out, as JSON.
"""

import importlib
import importlib.util
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FIX = Path(__file__).resolve().parent.parent / "embeddings" / "encoders" / "torchvision_fix.py"


def cleanvision(folder: str) -> Callable[[], int]:
    """Every check of cleanvision's: dark, light, blurry, odd sizes, exact and near duplicates."""
    library = importlib.import_module("cleanvision")

    def check() -> int:
        lab = library.Imagelab(data_path=folder)
        lab.find_issues()
        return len(lab.issues)

    return check


def imagededup(folder: str) -> Callable[[], int]:
    """Perceptual hashes of all images, the first half of finding duplicates."""
    spec = importlib.util.spec_from_file_location("torchvision_fix", FIX)
    assert spec is not None and spec.loader is not None
    fix = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fix)
    fix._import_torchvision()  # beside a CPU torch the registry's torchvision cannot load by itself
    hasher = importlib.import_module("imagededup.methods").PHash(verbose=False)
    return lambda: len(hasher.encode_images(image_dir=folder, recursive=True))


def cpu() -> float:
    """User and system seconds of this process and of the workers it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def main(peer: str, folder: str, out: str) -> None:
    """Measure one peer once."""
    action = {"cleanvision": cleanvision, "imagededup": imagededup}[peer](folder)
    before, started = cpu(), time.perf_counter()
    images = action()
    measured: dict[str, Any] = {"images": images, "cpu": cpu() - before}
    measured["wall"] = time.perf_counter() - started
    Path(out).write_text(json.dumps(measured), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
