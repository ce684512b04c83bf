"""Real data and real weights; where they are not, a benchmark says so and goes on."""

import csv
import importlib.util
import os
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("CURATE_TEST_DATA", ROOT.parent / "shared" / "data")).resolve()


class Absent(Exception):
    """Why a case is skipped."""


def real(name: str) -> Path:
    folder = DATA / name
    if not folder.exists():
        raise Absent(f"real data {folder} is absent; set CURATE_TEST_DATA to where it is")
    return folder


def clothing(limit: int) -> list[tuple[Path, str]]:
    """At most `limit` photographs with their labels, every label in its share."""
    folder = real("photos_clothing")
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = [(folder / row["path"], row["label"]) for row in csv.DictReader(file)]
    return stratified(rows, limit)


def stratified(rows: list[tuple[Path, str]], limit: int) -> list[tuple[Path, str]]:
    """At most `limit` of `rows`, evenly spaced within each label."""
    if limit >= len(rows):
        return rows
    groups = defaultdict(list)
    for row in rows:
        groups[row[1]].append(row)
    share = limit / len(rows)
    return [
        group[int(at / share)] for group in groups.values() for at in range(int(len(group) * share))
    ]


def copied(files: list[Path], folder: Path) -> Path:
    """Put copies of `files` into the new `folder`; names may repeat."""
    folder.mkdir()
    for number, file in enumerate(files):
        shutil.copy(file, folder / f"{number:06d}{file.suffix}")
    return folder


def cifar(folder: Path, limit: int) -> Path:
    """Write the first `limit` JPEG files of scale_cifar10 below `folder`, 1,000 in each folder."""
    packed = np.load(real("scale_cifar10") / "cifar10_jpeg.npz")
    blob, offsets = packed["blob"], packed["offsets"]
    for number in range(min(limit, len(offsets) - 1)):
        file = folder / f"{number // 1000:02d}" / f"{number:05d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(blob[offsets[number] : offsets[number + 1]].tobytes())
    return folder


def examples() -> ModuleType:
    """The tests' own module that describes the real weights, so that both measure the same."""
    path = ROOT / "tests" / "embeddings" / "encoder_examples.py"
    spec = importlib.util.spec_from_file_location("encoder_examples", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # timm looks there for who registers a model
    spec.loader.exec_module(module)
    return module
