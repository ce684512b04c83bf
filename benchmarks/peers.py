"""CPU an image from scan to store, beside what peers take for less, on the same files.

Ours decodes, hashes, counts a histogram, makes a thumbnail and a vector and stores all of it;
cleanvision checks and imagededup hashes. Each runs in a fresh process, in turn, round by round;
imports do not count, worker processes do. The peers live in an environment of their own, made here
when it is missing: nothing of this project imports them.
"""

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import ingest, sources
from benchmarks.measure import Size, columns, median
from benchmarks.sources import ROOT, Absent

PEERS = {"cleanvision": "0.3.7", "imagededup": "0.3.3.post2"}
WHAT = {
    "ours": "decode, SHA-256, histogram, thumbnail, vector (builtin), store",
    "cleanvision": "Imagelab.find_issues(): all its checks",
    "imagededup": "PHash.encode_images()",
}
CPU_TORCH = "https://download.pytorch.org/whl/cpu"


def run(size: Size) -> dict[str, Any]:
    rounds = 1 if size.quick or size.limit else 3
    with tempfile.TemporaryDirectory(prefix="bench-peers-") as folder:
        scratch = Path(folder)
        try:
            files = [file for file, _ in sources.clothing(size.pick(1000, 3781))]
        except Absent as reason:
            return {"cases": [{"case": name, "skipped": str(reason)} for name in WHAT]}
        images = sources.copied(files, scratch / "images")
        absent = _absent(scratch)
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in WHAT if name not in absent}
        for number in range(rounds):
            for name, found in runs.items():
                found.append(_measured(name, images, scratch / f"{name}{number}"))
    cases = [_case(name, runs[name], len(files)) for name in runs]
    ours = cases[0]["cpu_ms_per_image"]
    for case in cases[1:]:
        case["ours_over_it"] = round(ours / case["cpu_ms_per_image"], 3)
    skipped = [{"case": name, "skipped": reason} for name, reason in absent.items()]
    return {"images": len(files), "target": "ours / cleanvision < 1", "cases": cases + skipped}


def _case(name: str, runs: list[dict[str, Any]], images: int) -> dict[str, Any]:
    return {
        "case": name,
        "version": PEERS.get(name, "this"),
        "does": WHAT[name],
        "images": runs[-1]["images"],
        "cpu_ms_per_image": median([1000 * run["cpu"] / images for run in runs]),
        "wall_ms_per_image": median([1000 * run["wall"] / images for run in runs]),
        "images_per_cpu_second": median([images / run["cpu"] for run in runs], 1),
        "runs": runs,
    }


def table(result: dict[str, Any]) -> str:
    cases = result["cases"]
    skipped = [f"  {case['case']}: skipped: {case['skipped']}" for case in cases if
               "skipped" in case]  # fmt: skip
    rows = [
        {
            "who": case["case"],
            "images": case["images"],
            "CPU ms/img": case["cpu_ms_per_image"],
            "wall ms/img": case["wall_ms_per_image"],
            "img/CPU s": case["images_per_cpu_second"],
            "ours/it": case.get("ours_over_it", 1.0),
            "does": case["does"],
        }
        for case in cases
        if "skipped" not in case
    ]
    return "\n".join(part for part in [*skipped, columns(rows)] if part)


def _measured(name: str, images: Path, scratch: Path) -> dict[str, Any]:
    scratch.mkdir()
    if name == "ours":
        work = {"images": str(images), "encoder": "builtin", "home": str(scratch / "home")}
        found: dict[str, Any] = ingest.child("store", work, scratch)["ingest"]
        return found
    out = scratch / "measured.json"
    words = [str(_python()), str(ROOT / "benchmarks" / "peer_child.py"), name, str(images)]
    subprocess.run([*words, str(out)], cwd=scratch, stdout=sys.stderr, check=True)
    measured: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return measured


# ---- the peers' environment


def _home() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    pins = "-".join(f"{name}{number}" for name, number in PEERS.items())
    return cache / "curation-atlas-benchmarks" / f"{pins}-py{sys.version_info.minor}"


def _python() -> Path:
    return _home() / "bin" / "python"


def _absent(scratch: Path) -> dict[str, str]:
    """Make the environment where it is missing; return the peers that cannot be had, and why."""
    done = _home() / "installed.json"
    if not done.is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(_home())], check=True)
        done.write_text(json.dumps({name: _install(name) for name in PEERS}), "utf-8")
    failed = {name: why for name, why in json.loads(done.read_text("utf-8")).items() if why}
    if failed:
        done.unlink()  # the next run tries again
    return failed


def _install(name: str) -> str:
    """Install one peer, of our own versions where it shares libraries with us; say why not."""
    pip = [str(_python()), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt")]
    words = [*pip, f"{name}=={PEERS[name]}"]
    if name == "imagededup" and sys.platform == "linux":
        # without "+cpu" pip brings gigabytes of CUDA for a hash that runs on the processor
        words.append(f"torch=={version('torch').partition('+')[0]}+cpu")
    problem = ""
    for index in ([], ["--extra-index-url", CPU_TORCH]):
        told = subprocess.run([*words, *index], capture_output=True, text=True)
        if told.returncode == 0:
            return ""
        lines = [line for line in told.stderr.splitlines() if line.startswith("ERROR")]
        problem = f"pip cannot install it: {(lines or ['no reason given'])[-1]}"
    return problem
