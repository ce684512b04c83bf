"""Curves of acts against coverage and accuracy, as an SVG that any browser shows."""

from html import escape
from typing import Any

WIDE, HIGH = 420, 240
LEFT, TOP, GAP = 60, 50, 80
COLOURS = {0.0: "#1f77b4", 0.02: "#d62728"}


def picture(cases: list[dict[str, Any]]) -> str:
    """Two panels a data set: how far, and how right, by acts per item; one line a run."""
    parts = []
    for at, case in enumerate(cases):
        top = TOP + at * (HIGH + GAP)
        runs = [run for run in case["runs"] if run.get("curve")]
        most = max((run["curve"][-1]["acts"] for run in runs), default=1) / case["items"]
        for panel, (name, low) in enumerate((("coverage", 0.0), ("accuracy", 0.95))):
            left = LEFT + panel * (WIDE + GAP)
            title = f"{case['case']}: {name} by acts an item"
            parts.append(_panel(left, top, title, low, most))
            parts += [_line(run, case["items"], name, low, most, left, top) for run in runs]
    width, height = LEFT + 2 * (WIDE + GAP), TOP + len(cases) * (HIGH + GAP)
    key = "".join(
        f'<text x="{LEFT + at * 160}" y="20" fill="{colour}">'
        f"{'no slips' if not slips else f'{slips:.0%} slips'}</text>"
        for at, (slips, colour) in enumerate(COLOURS.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="13">'
        f'<rect width="{width}" height="{height}" fill="white"/>{key}{"".join(parts)}</svg>\n'
    )


def _panel(left: int, top: int, title: str, low: float, most: float) -> str:
    lines = [f'<text x="{left}" y="{top - 8}">{escape(title)}</text>']
    for step in range(5):
        share = step / 4
        y, x = top + HIGH * (1 - share), left + WIDE * share
        lines.append(f'<path d="M{left} {y:.1f}h{WIDE}" stroke="#ddd"/>')
        lines.append(
            f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{low + (1 - low) * share:.4g}</text>"
        )
        lines.append(
            f'<text x="{x:.1f}" y="{top + HIGH + 16}" text-anchor="middle">'
            f"{most * share:.3g}</text>"
        )
    return "".join(lines)


def _line(
    run: dict[str, Any], items: int, name: str, low: float, most: float, left: int, top: int
) -> str:
    points = " ".join(
        f"{left + WIDE * point['acts'] / items / most:.1f},"
        f"{top + HIGH * (1 - (max(point[name], low) - low) / (1 - low)):.1f}"
        for point in run["curve"]
    )
    colour = COLOURS.get(run["slips"], "#333")
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.2"/>'
