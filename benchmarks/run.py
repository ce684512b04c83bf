"""Run benchmarks: ``benchmarks/run.py [--only NAME] [--quick] [--json]``."""

import argparse
import contextlib
import importlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Python puts the script's own folder first, where map.py and journal.py would shadow other modules.
sys.path[0] = str(ROOT)

from benchmarks.machine import facts, load_average  # noqa: E402
from benchmarks.measure import Size  # noqa: E402

# name -> what it measures; the module of that name has run(size) -> dict and table(result) -> str
BENCHMARKS = {
    "ingest": "the whole build: items/s and memory per stage, and against encoding alone",
    "peers": "CPU an image from scan to store, beside cleanvision and imagededup on the same files",
    "scale": "memory at 100,000 images over 10,000; a build with nothing new over the first",
    "encoders": "leave-one-out k-NN accuracy beside chance and a null control; CPU per image",
    "forecast": "how near the forecast purity of a lasso comes, before and after samples are seen",
    "journal": "append, undo, fold and register, against a JSON file rewritten in place",
    "curator": "a simulated curator: acts and seconds a label, beside one by one and by clusters",
    "map": "in Chromium: first draw, panning, lasso, label, memory, beside st.plotly_chart",
}
RESULTS = ROOT / "benchmarks" / "results"


def main(words: list[str] | None = None) -> int:
    # an end by `timeout` or `kill` must still stop the servers and browsers that were started
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = _options(words)
    size = Size(options.quick, options.limit, options.full, options.peers)
    if options.only:
        found = _one(options.only, size)
        text = _table(options.only, found)
    else:
        found = {name: _alone(name, size) for name in BENCHMARKS}
        text = "\n\n".join(_table(name, result) for name, result in found.items())
    print(json.dumps(found) if options.json else text)
    return 0


def _options(words: list[str] | None) -> argparse.Namespace:
    listed = "\n".join(f"  {name:10}{what}" for name, what in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        description="Measure, print, and save to benchmarks/results/NAME.json.",
        epilog=f"benchmarks:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", choices=BENCHMARKS, help="one benchmark; without it, all in turn")
    parser.add_argument("--quick", action="store_true", help="less data: minutes on two cores")
    parser.add_argument(
        "--full", action="store_true", help="map: Plotly at a million too, which does not answer"
    )
    parser.add_argument(
        "--peers", action="store_true", help="map: install LightlyStudio and Spotlight (4 GB) too"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, no table")
    parser.add_argument(
        "--limit", type=int, help="at most so many items a case, to try things out; not saved"
    )
    return parser.parse_args(words)


def _one(name: str, size: Size) -> dict[str, Any]:
    """Run one benchmark here; what libraries print goes to standard error."""
    before, started = facts(ROOT), time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        measured = _module(name).run(size)
    result = {
        "benchmark": name,
        "quick": size.quick,
        "limit": size.limit,
        "seconds": round(time.perf_counter() - started, 1),
        "machine": {**before, "load_average_after": load_average()},
        **measured,
    }
    if size.limit is None:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    return result


def _alone(name: str, size: Size) -> dict[str, Any]:
    """Run one benchmark in a process of its own: none inherits another's memory or warm caches."""
    words = [sys.executable, __file__, "--only", name, "--json", *size.words()]
    print(f"{name} ...", file=sys.stderr, flush=True)
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _table(name: str, result: dict[str, Any]) -> str:
    machine = result["machine"]
    before, after = (machine[f"load_average_{when}"][0] for when in ("before", "after"))
    head = (
        f"{name}: {result['seconds']} s on {machine['cores']} cores, load {before} before, "
        f"{after} after, commit {machine['commit'][:12]}{' + changes' if machine['dirty'] else ''}"
    )
    return f"{head}\n{_module(name).table(result)}"


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.{name}")


if __name__ == "__main__":
    sys.exit(main())
