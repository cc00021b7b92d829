"""`dartboard bench import`: the memory of converting the benchmark's own file, as the file grows.

`dartboard table import` reads NAS-Bench-201's .pth as a stream: of each cell it keeps the means, a few numbers. How
much memory that takes is measured on generated files of the same format, with every epoch of every trial, of a quarter,
half and all of the cells asked for. Each is written one cell at a time and read in a process of its own, by nothing
else: the official API would need many times the memory (see `dartboard bench table --against official`).

The slope says what a further cell takes, and so what the published file's 15,625 would. The reader has up to 48 MiB of
a file at hand, so files smaller than that, of some 200 cells, have a slope that is none of its.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from dartboard.benchmark.space import SPACE_SIZE
from dartboard.harness.bench import Settings
from dartboard.harness.bench_table import check_cells, duration, measure_alone
from dartboard.harness.columns import columns

GOAL_MB: Final = 2048
"""What the conversion of the published file may take, in MiB."""

SHARES: Final = (4, 2, 1)
"""The files have the cells asked for, divided by each of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One file, converted once."""

    cells: int
    file_mb: float  # MiB
    seconds: float
    peak_memory_mb: float | None  # MiB, of a process that does nothing else; None where the system does not tell
    added_memory_mb: float | None  # MiB, the peak over what that process held when all it needs was imported


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What `dartboard bench import --json` prints."""

    machine: str
    points: tuple[Point, ...]  # by size

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "target": "import",
            **asdict(self),
            "slope_kb_per_cell": self.slope_kb,
            "expected_mb": self.expected_mb,
            "goal_mb": GOAL_MB,
        }

    @property
    def slope_kb(self) -> float | None:
        """KiB that the peak grows by with a further cell, from the smallest file to the largest."""
        first, last = self.points[0], self.points[-1]
        if first.peak_memory_mb is None or last.peak_memory_mb is None or first.cells == last.cells:
            return None
        return 1024 * (last.peak_memory_mb - first.peak_memory_mb) / (last.cells - first.cells)

    @property
    def expected_mb(self) -> float | None:
        """MiB at the peak of the published file's import, along that slope; never less than what was measured."""
        last, slope = self.points[-1], self.slope_kb
        if last.peak_memory_mb is None or slope is None:
            return None
        return last.peak_memory_mb + max(slope, 0.0) * (SPACE_SIZE - last.cells) / 2**10

    def as_text(self) -> list[str]:
        """A line for each file, the slope, and what it means for the published file."""
        rows: list[tuple[str, ...]] = [("cells", "file MiB", "import", "a cell", "MiB, peak", "MiB, added")]
        for p in self.points:
            memory = ("" if mb is None else f"{mb:.0f}" for mb in (p.peak_memory_mb, p.added_memory_mb))
            rows.append(
                (f"{p.cells:,}", f"{p.file_mb:.0f}", duration(p.seconds), duration(p.seconds / p.cells), *memory)
            )
        lines = [f"import of generated files of NAS-Bench-201's format; {self.machine}", *columns(rows)]
        if self.slope_kb is None or self.expected_mb is None:
            return [*lines, "no slope: memory was not measured, or all files have one size"]
        reached = "reached" if self.expected_mb <= GOAL_MB else "not reached"
        return [
            *lines,
            f"a further cell takes {self.slope_kb:.1f} KiB; the published {SPACE_SIZE:,} are expected to take"
            f" {self.expected_mb:,.0f} MiB: the goal of {GOAL_MB:,} MiB is {reached}",
        ]


def measure_import(settings: Settings, cells: int) -> ImportReport:
    """Write files of up to so many cells, one after the other, and convert each in a process of its own.

    Raises:
        InputError: when the package `nas-bench-201` is not installed, or there cannot be so many cells.
    """
    check_cells(cells, least=SHARES[0], owner="import")
    from dartboard.benchmark.tables.synthetic import write_pth

    points = []
    for share in SHARES:
        with TemporaryDirectory() as name:
            file = write_pth(cells // share, Path(name) / "NAS-Bench-201-v1_1-generated.pth")
            alone = measure_alone("convert", file, settings.clock)
            points.append(
                Point(
                    cells=cells // share,
                    file_mb=file.stat().st_size / 2**20,
                    seconds=alone.seconds,
                    peak_memory_mb=alone.peak_mb,
                    added_memory_mb=alone.added_mb,
                )
            )
    return ImportReport(machine=f"{settings.clock} time", points=tuple(points))
