"""One picture for each workload: a bar for each system, its spread as a line."""

from __future__ import annotations

from html import escape
from math import ceil, floor, log10
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.found import Rounds, kind

__all__ = ["draw", "picture"]

WIDTH, LABEL, VALUE = 860, 270, 90
"""Of the picture, of the names before the bars, of the figures behind them (pixels)."""
BAR, GAP, HEAD, FOOT = 18, 8, 48, 30
COLOURS = {"greenq": "#1a7f4b", "peer": "#7a8794", "yardstick": "#d0a44c"}
WIDE = 30.0
"""The highest bar is so many times the lowest where a scale of powers of ten begins."""


def draw(run: dict[str, Any], to: Path) -> list[Path]:
    """Write the pictures of a run.

    Parameters:
        to: the directory; made if it is not there.

    Returns:
        What was written.
    """
    to.mkdir(parents=True, exist_ok=True)
    drawn = []
    for workload in run["workloads"]:
        if any(workload["rounds"].values()):
            path = to / f"{workload['name']}.svg"
            path.write_text(picture(workload))
            drawn.append(path)
    return drawn


class _Scale:
    """Where a figure ends: evenly, or by powers of ten where systems are far apart."""

    def __init__(self, values: list[float]) -> None:
        highest, lowest = max(values), min(values)
        self.wide = lowest > 0 and highest / lowest > WIDE
        self._low = floor(log10(lowest)) if self.wide else 0.0
        self._high = ceil(log10(highest) + 1e-9) if self.wide else highest or 1.0
        self._length = WIDTH - LABEL - VALUE

    def __call__(self, value: float) -> float:
        if self.wide:
            part = (log10(value) - self._low) / (self._high - self._low) if value > 0 else 0.0
        else:
            part = value / self._high
        return LABEL + max(0.0, min(1.0, part)) * self._length

    @property
    def marks(self) -> list[float]:
        """The figures that lines are drawn at."""
        if self.wide:
            return [10.0**power for power in range(int(self._low), int(self._high) + 1)]
        step = 10.0 ** floor(log10(self._high))
        step = next(size for size in (step / 5, step / 2, step, 2 * step) if self._high / size <= 6)
        return [step * number for number in range(int(self._high / step) + 1)]


def picture(workload: dict[str, Any]) -> str:
    """Draw one workload, as it stands in a run, as SVG."""
    figure = workload["compared"]
    rounds: dict[str, Rounds] = workload["rounds"]
    taken = {name: [f[figure] for f in figures if figure in f] for name, figures in rounds.items()}
    taken = {name: values for name, values in taken.items() if values}
    names = sorted(taken, key=lambda name: median(taken[name]), reverse=workload["higher"])
    ideal = workload["ideal"]
    scale = _Scale([value for values in taken.values() for value in values] + ([ideal] if ideal else []))
    bottom = HEAD + len(names) * (BAR + GAP)
    title = f"{workload['title']} ({'more' if workload['higher'] else 'less'} is better)"
    if scale.wide:
        title += ", powers of ten"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + FOOT}" role="img" '
        f'font-family="sans-serif" font-size="12"><title>{escape(title)}</title>',
        f'<rect width="{WIDTH}" height="{bottom + FOOT}" fill="#ffffff"/>',
        f'<text x="8" y="24" font-size="15" fill="#222222">{escape(title)}</text>',
    ]
    lines += [_mark(scale(value), bottom, _short(value)) for value in scale.marks]
    if ideal:
        lines.append(_ideal(scale(ideal), bottom))
    for number, name in enumerate(names):
        lines += _bar(name, taken[name], scale, HEAD + number * (BAR + GAP))
    return "\n".join([*lines, "</svg>\n"])


def _mark(x: float, bottom: int, text: str) -> str:
    return (
        f'<path d="M{x:.1f} {HEAD - 6}V{bottom}" stroke="#dddddd"/>'
        f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" fill="#555555">{text}</text>'
    )


def _ideal(x: float, bottom: int) -> str:
    return (
        f'<path d="M{x:.1f} {HEAD - 6}V{bottom}" stroke="#b03030" stroke-dasharray="4 3"/>'
        f'<text x="{x:.1f}" y="{HEAD - 8}" text-anchor="middle" fill="#b03030">ideal</text>'
    )


def _bar(name: str, values: list[float], scale: _Scale, y: int) -> list[str]:
    middle = median(values)
    end, low, high = scale(middle), scale(min(values)), scale(max(values))
    centre = y + BAR / 2
    return [
        f'<text x="{LABEL - 8}" y="{centre + 4}" text-anchor="end" fill="#222222">{escape(name)}</text>',
        f'<rect x="{LABEL}" y="{y}" width="{max(1.0, end - LABEL):.1f}" height="{BAR}" '
        f'fill="{COLOURS[kind(name)]}"/>',
        f'<path d="M{low:.1f} {centre}H{high:.1f}" stroke="#222222"/>',
        f'<text x="{max(end, high) + 6:.1f}" y="{centre + 4}" fill="#222222">{_short(middle)}</text>',
    ]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
