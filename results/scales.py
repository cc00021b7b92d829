"""A heat map's squares, in words and shades: the same on a web page as in the figure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dartboard.results.aggregate import Group
from dartboard.results.statistics import Estimate
from dartboard.results.wording import interval

FINE: Final = 0.1
"""Points below the best, beyond which shades go by the logarithm: one cell at chance does not make all others alike."""

LEAST_SPAN: Final = 10.0
"""The palest square is at least so many points below the best, so that small differences do not look large."""


def shade_range(values: Collection[float], best: float | None) -> tuple[float, float]:
    """The accuracies of the palest and the darkest square."""
    top = best if best is not None else max(values)
    return min(*values, top - LEAST_SPAN), top


def depth(points: ArrayLike) -> NDArray[np.float64]:
    """How far below the best so many points are on the scale: log(1 + points / `FINE`); masked ones become NaN."""
    known = np.ma.filled(np.ma.asarray(points, dtype=np.float64), np.nan)
    return np.asarray(np.log1p(np.maximum(known, 0.0) / FINE))


def shade(value: float, values: Collection[float], best: float | None) -> float:
    """How dark the square of an accuracy is among those of all `values`, from 0 to 1."""
    low, high = shade_range(values, best)
    return float(1 - depth(high - value) / depth(high - low))


def square_lines(group: Group, middle: Estimate | None) -> tuple[str, ...]:
    """`92.64`, `[91.20, 93.51]`, and on how many supernets; `failed`, or `tied` where no scores decided."""
    runs = group.ok + group.failed
    if middle is None:
        return ("tied" if group.ok else "failed",)
    over = f"n = {middle.n}" + (f" of {runs}" if middle.n < runs else "")
    return (
        f"{middle.value:.2f}",
        interval(middle) or "one supernet",
        *([over] if middle.known or middle.n < runs else []),
    )
