"""Clocks, memory, sizes and plain tables."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

MIB = 2**20


@dataclass(frozen=True)
class Size:
    """How much to measure: all, `quick`, or at most `limit` items a case.

    `full` tries what hardly ends, `peers` installs what is large.
    """

    quick: bool = False
    limit: int | None = None
    full: bool = False
    peers: bool = False

    def pick(self, quick: int, full: int) -> int:
        """`quick` or `full` items, never more than the limit."""
        number = quick if self.quick else full
        return number if self.limit is None else min(number, self.limit)

    def words(self) -> list[str]:
        """What makes the runner choose this size."""
        limit = [] if self.limit is None else ["--limit", str(self.limit)]
        chosen = [f"--{name}" for name in ("quick", "full", "peers") if getattr(self, name)]
        return [*chosen, *limit]


class Clock:
    """Wall and CPU seconds (user and system, all threads) spent inside ``with clock:``, summed."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __enter__(self) -> Self:
        self._started = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.wall += time.perf_counter() - self._started[0]
        self.cpu += time.process_time() - self._started[1]


def timed(action: Callable[[], object], repeats: int) -> list[float]:
    """Milliseconds of each of `repeats` calls."""
    found = []
    for _ in range(repeats):
        with Clock() as clock:
            action()
        found.append(clock.wall * 1000)
    return found


def median(values: Sequence[float], digits: int = 3) -> float:
    return round(statistics.median(values), digits)


def percentile95(values: Sequence[float], digits: int = 3) -> float:
    return round(sorted(values)[max(0, -(-95 * len(values) // 100) - 1)], digits)


def peak_memory() -> int:
    """Most bytes this program held. Not getrusage: its figure starts at what the parent held."""
    status = Path("/proc/self/status").read_text("ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def columns(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of rows with the same keys, numbers to the right."""
    if not rows:
        return ""
    heads = list(rows[0])
    cells = [[_cell(row.get(head)) for head in heads] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    right = [isinstance(rows[0].get(head), int | float) for head in heads]
    return "\n".join(
        "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in [heads, *cells]
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value if value is not None else "-")
