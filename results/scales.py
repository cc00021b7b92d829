"""A heat map's squares, in words and shades: the same on a web page as in the figure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from dartboard.results.aggregate import Group
from dartboard.results.statistics import Estimate
from dartboard.results.wording import interval

SHADE_POWER: Final = 2
"""Of the scale, which is finer at its upper end."""


def shade_range(values: Collection[float], best: float | None) -> tuple[float, float]:
    """The accuracies of the palest and the darkest square."""
    return min(values) - 0.05, best if best is not None else max(values) + 0.05


def shade(value: float, values: Collection[float], best: float | None) -> float:
    """How dark the square of an accuracy is among those of all `values`, from 0 to 1."""
    low, high = shade_range(values, best)
    return float(((value - low) / (high - low)) ** SHADE_POWER)


def square_lines(group: Group, middle: Estimate | None) -> tuple[str, ...]:
    """`92.64`, `[91.20, 93.51]`, and on how many supernets."""
    if middle is None:
        return ("failed",)
    runs = f"n = {group.ok}" + (f" of {group.ok + group.failed}" if group.failed else "")
    return (
        f"{middle.value:.2f}",
        interval(middle) or "one supernet",
        *([runs] if middle.known or group.failed else []),
    )
