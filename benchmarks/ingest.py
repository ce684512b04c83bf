"""The whole build, each in a fresh process, against the same encoder with nothing to wait for.

Rounds are interleaved, encode-only, build, encode-only, build ..., so that what else the machine
does falls on both. Each build's rate is divided by the mean of the two encode-only rates around it.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import sources
from benchmarks.measure import MIB, Clock, Size, columns, median, peak_memory
from benchmarks.sources import Absent

ROOT = Path(__file__).resolve().parent.parent
ARRAYS = 512  # prepared arrays to encode over and over: 77 MB at 224 pixels


@dataclass(frozen=True)
class Case:
    """`images` makes the folder to build (scratch folder -> folder), `encoder` its encoder."""

    name: str
    images: Callable[[Path], Path]
    encoder: Callable[[Path], str]
    rounds: int
    seconds: float


def run(size: Size) -> dict[str, Any]:
    return {"cases": [_case(case) for case in _cases(size)]}


def _cases(size: Size) -> list[Case]:
    rounds, seconds = (1, 4.0) if size.quick or size.limit else (2, 8.0)

    def photographs(quick: int) -> Callable[[Path], Path]:
        limit = size.pick(quick, 3781)
        return lambda scratch: (
            sources.real("photos_clothing") / "images"
            if limit >= 3781
            else sources.copied([file for file, _ in sources.clothing(limit)], scratch / "images")
        )

    small = size.pick(6_000, 60_000)
    return [
        Case("clothing/builtin", photographs(3781), _builtin, rounds, seconds),
        Case("clothing/onnx-mobilenetv2", photographs(1000), _mobilenet, rounds, seconds),
        Case(
            "cifar10/builtin",
            lambda scratch: sources.cifar(scratch / "images", small),
            _builtin,
            1,
            seconds,
        ),
    ]


def _builtin(scratch: Path) -> str:
    return "builtin"


def _mobilenet(scratch: Path) -> str:
    weights = scratch / "weights"
    weights.mkdir()
    name: str = sources.examples().mobilenet_onnx(weights, sources.real)
    return name


def _case(case: Case) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-ingest-") as folder:
        scratch = Path(folder)
        try:
            images, encoder = case.images(scratch), case.encoder(scratch)
        except Absent as reason:
            return {"case": case.name, "skipped": str(reason)}
        work = {"images": str(images), "encoder": encoder, "seconds": case.seconds}
        encodes = [_child("encode", work, scratch)]
        builds = []
        for number in range(case.rounds):
            work["home"] = str(scratch / f"home{number}")
            builds.append(_child("build", work, scratch))
            encodes.append(_child("encode", work, scratch))
        unchanged = _child("build", work, scratch)  # the last home once more
    return {"case": case.name, "encoder": builds[-1]["encoder"]} | _summary(
        builds, encodes, unchanged
    )


def _summary(
    builds: list[dict[str, Any]], encodes: list[dict[str, Any]], unchanged: dict[str, Any]
) -> dict[str, Any]:
    images = builds[-1]["images"]
    rates = [run["images"] / run["wall"] for run in encodes]
    around = [(left + right) / 2 for left, right in itertools.pairwise(rates)]
    ingests = [run["images"] / run["ingest"]["wall"] for run in builds]
    encode_cpu = median([run["cpu"] / run["images"] for run in encodes], 6)
    ingest_cpu = median([run["ingest"]["cpu"] / run["images"] for run in builds], 6)
    return {
        "images": images,
        "ingest_images_per_second": median(ingests, 1),
        "encode_only_images_per_second": median(rates, 1),
        "ingest_over_encode_only": median(
            [rate / alone for rate, alone in zip(ingests, around, strict=True)]
        ),
        "ingest_cpu_seconds_per_image": ingest_cpu,
        "encode_only_cpu_seconds_per_image": encode_cpu,
        "encode_share_of_ingest_cpu": round(encode_cpu / ingest_cpu, 3),
        "build_wall_over_encode_only_wall": median(
            [run["wall"] * alone / images for run, alone in zip(builds, around, strict=True)]
        ),
        "build_seconds": median([run["wall"] for run in builds]),
        "unchanged_build_seconds": round(unchanged["wall"], 3),
        "unchanged_over_first": round(unchanged["wall"] / builds[-1]["wall"], 4),
        "peak_memory_bytes": max(run["peak_memory_bytes"] for run in builds),
        "ingest_peak_memory_bytes": max(run["ingest"]["peak_memory_bytes"] for run in builds),
        "memory_before_ingest_bytes": builds[-1]["ingest"]["memory_before_bytes"],
        "stages": builds[-1]["stages"],
        "runs": {"encode_only": encodes, "build": builds, "unchanged": unchanged},
    }


def table(result: dict[str, Any]) -> str:
    found = [case for case in result["cases"] if "skipped" not in case]
    parts = [f"  {case['case']}: skipped: {case['skipped']}" for case in result["cases"] if
             "skipped" in case]  # fmt: skip
    summary = [
        {
            "case": case["case"],
            "images": case["images"],
            "ingest img/s": case["ingest_images_per_second"],
            "encode-only img/s": case["encode_only_images_per_second"],
            "ratio": case["ingest_over_encode_only"],
            "ingest CPU ms/img": 1000 * case["ingest_cpu_seconds_per_image"],
            "encode CPU ms/img": 1000 * case["encode_only_cpu_seconds_per_image"],
            "build s": case["build_seconds"],
            "build/encode": case["build_wall_over_encode_only_wall"],
            "again/first": case["unchanged_over_first"],
            "ingest MiB": case["ingest_peak_memory_bytes"] // MIB,
            "peak MiB": case["peak_memory_bytes"] // MIB,
        }
        for case in found
    ]
    stages = [
        {
            "case": case["case"],
            "stage": name,
            "items": stage["items"],
            "seconds": stage["seconds"],
            "items/s": stage["items_per_second"],
        }
        for case in found
        for name, stage in case["stages"].items()
    ]
    return "\n".join(part for part in [*parts, columns(summary), columns(stages)] if part)


# ---- in a process of its own


def _child(action: str, work: dict[str, Any], scratch: Path) -> dict[str, Any]:
    out = scratch / "measured.json"
    env = {**os.environ, "CURATE_HOME": work.get("home", str(scratch / "unused"))}
    words = [sys.executable, "-m", "benchmarks.ingest", action, json.dumps(work), str(out)]
    subprocess.run(words, cwd=ROOT, env=env, stdout=sys.stderr, check=True)
    found: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return {**found, "load_average": round(os.getloadavg()[0], 2)}


def _encode_only(work: dict[str, Any]) -> dict[str, Any]:
    """Encode prepared arrays, batches and threads as in a build, nothing else under way."""
    import numpy as np

    from embeddings import encoders, images, thumbnails

    encoder = encoders.load(work["encoder"])
    need = max(encoder.min_side, thumbnails.SIDE)
    files = [candidate.path for candidate in images.find(Path(work["images"]))]
    chosen = files[:: max(1, len(files) // ARRAYS)][:ARRAYS]
    arrays = [
        encoder.prepare(images.decode(images.read(file), min_side=need).rgb) for file in chosen
    ]
    step, clock, done = encoder.batch_size, Clock(), 0
    encoder.encode(np.stack(arrays[:step]))  # the first call imports and allocates
    while clock.wall < work["seconds"]:
        for start in range(0, len(arrays), step):
            with clock:
                encoder.encode(np.stack(arrays[start : start + step]))
        done += len(arrays)
    return {"images": done, "wall": clock.wall, "cpu": clock.cpu}


def _build(work: dict[str, Any]) -> dict[str, Any]:
    """Build, with a clock around scan to store; loading the encoder does not count there."""
    from embeddings import build, ingest

    part, memory = Clock(), {}

    class Watched(ingest.Ingest):
        def run(self, candidates: Any) -> Any:
            memory["memory_before_bytes"] = peak_memory()
            with part:
                result = super().run(candidates)
            memory["peak_memory_bytes"] = peak_memory()
            return result

    def scan(*arguments: Any) -> Any:
        with part:
            return ingest.scan(*arguments)

    build.Ingest, build.scan = Watched, scan  # type: ignore[misc, assignment]
    with Clock() as whole:
        options = build.Options(encoder=work["encoder"])
        report = build.build("bench", [Path(work["images"])], options)
    return {
        "encoder": report.encoder,
        "images": report.new_images,
        "files": report.files,
        "unreadable": sum(report.unreadable.values()),
        "clusters": report.clusters,
        "wall": whole.wall,
        "cpu": whole.cpu,
        "peak_memory_bytes": peak_memory(),
        "ingest": {"wall": part.wall, "cpu": part.cpu, **memory},
        "stages": report.timings["stages"],
    }


if __name__ == "__main__":
    measured = {"encode": _encode_only, "build": _build}[sys.argv[1]](json.loads(sys.argv[2]))
    Path(sys.argv[3]).write_text(json.dumps(measured), "utf-8")
