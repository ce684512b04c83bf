"""What every command prints: lines for people, or one JSON object with --json."""

import json
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
dataset = click.option("-d", "--dataset", "name", required=True, help="Name of the dataset.")


@dataclass(frozen=True)
class Trouble:
    """One line about what went wrong and how to go on."""

    message: str

    def show(self, arguments: Sequence[str]) -> int:
        """Print it where the caller looks, and return the exit code."""
        if "--json" in arguments:
            click.echo(json.dumps({"error": self.message}))
        click.echo(f"error: {' '.join(self.message.split())}", err=True)
        return 1


def show(value: dict[str, Any], text: str, use_json: bool) -> None:
    """Print `value` as one JSON object, or `text` for people."""
    if use_json:
        # ASCII: a path that is no UTF-8, or a terminal that is none, must not break the object
        click.echo(json.dumps(value, default=str))
    elif text:
        click.echo(text)


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """Return rows as aligned columns; numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]

    def line(row: Sequence[str], source: Sequence[object]) -> str:
        parts = [
            cell.rjust(width) if isinstance(value, int | float) else cell.ljust(width)
            for cell, value, width in zip(row, source, widths, strict=True)
        ]
        return "  ".join(parts).rstrip()

    lines = [line(list(header), rows[0] if rows else header)]
    return "\n".join(lines + [line(cell, row) for cell, row in zip(cells, rows, strict=True)])


class Bars:
    """Progress bars on standard error, one a stage; none when it is not a terminal."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._stage = ""
        self._stopped = False

    def stop(self, *_: object) -> None:
        """Take Ctrl+C: end now, or where a compiled library swallows that, at the next progress."""
        self._stopped = True
        raise KeyboardInterrupt

    def end_if_stopped(self) -> None:
        """Raise KeyboardInterrupt when Ctrl+C was pressed and nobody has heard it."""
        if self._stopped:
            raise KeyboardInterrupt

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Move the bar of `stage` to `done` of `total`; ends the work when Ctrl+C was pressed."""
        from tqdm import tqdm

        self.end_if_stopped()
        if stage != self._stage:
            self.close()
            self._stage = stage
            self._bar = tqdm(
                total=total, desc=stage.ljust(10), unit="img", file=sys.stderr, disable=None
            )
        if total is not None:
            self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """End the bar that is shown."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def with_bars(work: Callable[[Bars], Any]) -> Any:
    """Run `work` with progress bars that are closed whatever happens; Ctrl+C is always heard."""
    bars = Bars()
    own = threading.current_thread() is threading.main_thread()  # only it may take signals
    before = signal.signal(signal.SIGINT, bars.stop) if own else None
    try:
        found = work(bars)
        bars.end_if_stopped()
        return found
    finally:
        if own:
            signal.signal(signal.SIGINT, before)
        bars.close()
