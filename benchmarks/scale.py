"""What does not grow with the dataset: memory from scan to store, and a build of nothing new.

Ten times the images must not take much more memory: only ids, paths and a queue are held. A second
build of an unchanged folder reads the listing and what is stored, and decodes nothing.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import ingest, sources
from benchmarks.measure import MIB, Size, columns
from benchmarks.sources import Absent

MEMORY_TARGET = 1.3  # peak with ten times the images, over the peak with one time
AGAIN_TARGET = 0.02  # wall of a build with nothing new, over the first one's


def run(size: Size) -> dict[str, Any]:
    return {"cases": [_memory(size), _again(size)]}


def generated(folder: Path, count: int, seed: int = 0) -> Path:
    """Write `count` small JPEGs, no two alike, sides 64 to 128 pixels, 1,000 in each folder."""
    from PIL import Image

    random = np.random.default_rng(seed)
    for number in range(count):
        if number % 1000 == 0:
            below = folder / f"{number // 1000:03d}"
            below.mkdir(parents=True)
        blots = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        sides = random.integers(64, 129, 2)
        picture = Image.fromarray(blots).resize((int(sides[0]), int(sides[1])))
        picture.save(below / f"{number:06d}.jpg", quality=80)
    return folder


def _memory(size: Size) -> dict[str, Any]:
    many = size.pick(20_000, 100_000)
    few = many // 10
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as folder:
        scratch = Path(folder)
        pictures = {count: generated(scratch / f"{count}", count) for count in (few, many)}
        runs = []
        for number, count in enumerate((few, many, few)):
            home = str(scratch / f"home{number}")
            work = {"images": str(pictures[count]), "encoder": "builtin", "home": home}
            runs.append(ingest.child("store", work, scratch)["ingest"])
    small = max(runs[0]["peak_memory_bytes"], runs[2]["peak_memory_bytes"])
    large = runs[1]["peak_memory_bytes"]
    ratio = round(large / small, 3)
    return {
        "case": f"memory of {many:,} generated images over {few:,}",
        "images": many,
        "few_peak_bytes": small,
        "many_peak_bytes": large,
        "few_grew_bytes": small - runs[0]["memory_before_bytes"],
        "many_grew_bytes": large - runs[1]["memory_before_bytes"],
        "ratio": ratio,
        "target": MEMORY_TARGET,
        "target_met": ratio <= MEMORY_TARGET,
        "told": f"peak {large / MIB:,.0f} MiB over {small / MIB:,.0f} MiB",
        "runs": runs,
    }


def _again(size: Size) -> dict[str, Any]:
    count = size.pick(6_000, 60_000)
    name = f"unchanged build of {count:,} CIFAR-10 images over the first"
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as folder:
        scratch = Path(folder)
        try:
            images = sources.cifar(scratch / "images", count)
        except Absent as reason:
            return {"case": name, "skipped": str(reason)}
        work = {"images": str(images), "encoder": "builtin", "home": str(scratch / "home")}
        first, *again = [ingest.child("build", work, scratch) for _ in range(3)]
    seconds = min(run["wall"] for run in again)
    ratio = round(seconds / first["wall"], 4)
    return {
        "case": name,
        "images": first["images"],
        "first_seconds": round(first["wall"], 2),
        "unchanged_seconds": round(seconds, 2),
        "decoded_again": sum(run["stages"].get("decode", {"items": 0})["items"] for run in again),
        "ratio": ratio,
        "target": AGAIN_TARGET,
        "target_met": ratio <= AGAIN_TARGET,
        "told": f"{seconds:.2f} s over {first['wall']:.1f} s",
        "runs": [first, *again],
    }


def table(result: dict[str, Any]) -> str:
    cases = result["cases"]
    parts = [f"  {case['case']}: skipped: {case['skipped']}" for case in cases if
             "skipped" in case]  # fmt: skip
    rows = [
        {
            "ratio": case["ratio"],
            "at most": case["target"],
            "met": "yes" if case["target_met"] else "no",
            "images": case["images"],
            "case": case["case"],
            "measured": case["told"],
        }
        for case in cases
        if "skipped" not in case
    ]
    return "\n".join(part for part in [*parts, columns(rows)] if part)
