"""`dartboard bench growth`: how the time and memory of a first-order step grow, beside what arithmetic lets expect.

One size at a time takes the values of `AXES` around a common middle, the others stay. The slope is that of a line
through the logarithms (1: proportional, 2: quadratic); multiply-adds and bytes moved have theirs beside it, counted and
not measured. The *limit* is the share of the step that its convolutions alone take, with the same shapes and nothing
between them: what is left if everything else were free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from dartboard.harness.bench import Counts, Settings, measure_memory, run_bench
from dartboard.harness.columns import columns

AXES: Final[Mapping[str, tuple[int, ...]]] = {
    "channels": (4, 8, 16, 32),
    "cells_per_stage": (1, 2, 4),
    "image_size": (8, 16, 32),
    "batch_size": (16, 32, 64, 128),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A step at one size."""

    axis: str
    value: int
    seconds: float  # median
    peak_memory_mb: float | None  # of a process that does nothing else
    counts: Counts

    @property
    def limit(self) -> float:
        """The share of the step that its convolutions alone take."""
        return self.counts.convolution_seconds / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthReport:
    """What `dartboard bench growth --json` prints."""

    settings: Settings
    machine: str
    points: tuple[Point, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        slopes = {axis: self.slopes(axis) for axis in AXES}
        return {"target": "growth", **asdict(self), "slopes": slopes}

    def slopes(self, axis: str) -> dict[str, float]:
        """The slope of each quantity along `axis`."""
        points = [point for point in self.points if point.axis == axis]
        quantities: dict[str, Callable[[Point], float]] = {
            "seconds": lambda p: p.seconds,
            "flops": lambda p: p.counts.flops,
            "bytes": lambda p: p.counts.bytes_moved,
            "operations": lambda p: p.counts.operations,
        }
        return {name: slope([p.value for p in points], [of(p) for p in points]) for name, of in quantities.items()}

    def as_text(self) -> list[str]:
        """A table of points and one of slopes."""
        head = ("", "ms", "MiB", "GFLOP", "GB moved", "operations", "conv only", "GFLOP/s", "GB/s")
        rows: list[tuple[str, ...]] = [head]
        for p in self.points:
            c = p.counts
            memory = "" if p.peak_memory_mb is None else f"{p.peak_memory_mb:.0f}"
            counted = (f"{c.flops / 1e9:.2f}", f"{c.bytes_moved / 1e9:.2f}", f"{c.operations:,}")
            rates = (
                f"{100 * p.limit:.0f} %",
                f"{c.flops / p.seconds / 1e9:.1f}",
                f"{c.bytes_moved / p.seconds / 1e9:.1f}",
            )
            rows.append((f"{p.axis}={p.value}", f"{1e3 * p.seconds:.1f}", memory, *counted, *rates))
        slopes: list[tuple[str, ...]] = [("slope along", "time", "FLOP", "bytes", "operations")]
        slopes += [(axis, *(f"{value:.2f}" for value in self.slopes(axis).values())) for axis in AXES]
        s = self.settings
        middle = f"C={s.channels}, N={s.cells_per_stage}, {s.image_size} pixels, batch {s.batch_size}"
        return [
            f"growth of a step around {middle}; {s.rounds} rounds; {self.machine}",
            *columns(rows),
            *columns(slopes),
        ]


def slope(sizes: list[int], values: list[float]) -> float:
    """Of the least-squares line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def measure_growth(settings: Settings, *, memory: bool = True) -> GrowthReport:
    """Measure a step at each size of `AXES`, the others as in `settings`."""
    sizes = [(axis, value, _resized(settings, axis, value)) for axis, values in AXES.items() for value in values]
    # First, because a process begins with the peak of the one that started it.
    peaks = [measure_memory("step", "fast", size) if memory else None for _, _, size in sizes]
    points, machine = [], ""
    for (axis, value, size), peak in zip(sizes, peaks, strict=True):
        report = run_bench("step", size, reference=False, memory=False)
        (variant,) = report.variants
        assert variant.counts is not None
        machine = report.machine
        points.append(
            Point(axis=axis, value=value, seconds=variant.seconds, peak_memory_mb=peak, counts=variant.counts)
        )
    return GrowthReport(settings=settings, machine=machine, points=tuple(points))


def _resized(settings: Settings, axis: str, value: int) -> Settings:
    changed: dict[str, Any] = {axis: value}
    return replace(settings, **changed)
