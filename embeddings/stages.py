"""Stages that can be named, timed and watched."""

import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

STAGES = (
    "scan",
    "download",
    "decode",
    "fingerprint",
    "thumbnail",
    "prepare",
    "encode",
    "store",
    "neighbours",
    "project",
    "cluster",
)


class Progress(Protocol):
    """Told how far a stage has come; `total` is None while it is not known."""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Show that `done` of `total` are through `stage`."""


def silent(stage: str, done: int, total: int | None) -> None:
    """Show no progress."""


@dataclass
class Timings:
    """Seconds and items of each stage, from several threads at once.

    `seconds` is the time spent inside a stage, summed over its threads: stages run beside each
    other, so they add up to more than the wall clock.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def stage(self, name: str, items: int = 1) -> Iterator[None]:
        """Time one piece of work of `items` items."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start, items)

    def add(self, name: str, seconds: float, items: int) -> None:
        """Add to a stage what was measured elsewhere."""
        with self._lock:
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
            self.items[name] = self.items.get(name, 0) + items

    def report(self) -> dict[str, Any]:
        """Return seconds, items and items per second of each stage, wall clock and peak memory."""
        stages = {
            name: {
                "seconds": round(self.seconds[name], 4),
                "items": self.items[name],
                "items_per_second": round(self.items[name] / max(self.seconds[name], 1e-9), 1),
            }
            for name in STAGES
            if name in self.seconds
        }
        return {
            "stages": stages,
            "wall_seconds": round(time.perf_counter() - self.started, 3),
            "peak_memory_bytes": peak_memory(),
        }


def peak_memory() -> int:
    """Return the most memory this process has held, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage starts at what the program held that started this one
        for line in status.read_text("utf-8", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024  # Linux counts in KiB
