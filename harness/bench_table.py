"""`dartboard bench table --against official`: the official package's API beside our table, both on one file.

The file is in NAS-Bench-201's own format, with every epoch of every trial, and random numbers; of `cells` cells, since
the published 15,625 take gigabytes. The API loads it and answers; `dartboard table import` reads it once, and its
compact table, which always has 15,625 cells (those that the file lacks repeat its own), loads and answers from then on.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import SPACE_SIZE
from dartboard.harness.bench import CLOCKS, LOOKUPS, Clock, Settings, in_process, interleave, spread
from dartboard.harness.columns import columns
from dartboard.harness.resident import resident_mb

if TYPE_CHECKING:
    from dartboard.benchmark.ground_truth import GroundTruth

COLUMN: Final = "cifar10/test/200"
"""What the queries ask for."""

GOALS: Final[Mapping[str, float]] = {"load_seconds": 0.05, "load_mb": 50, "lookups_per_second": 1e6}
"""Of the compact table: at most, at most (added to the process), at least."""

_UNSAFE: Final = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"  # without it, today's PyTorch does not load what the API asks it to


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way of loading, or of asking."""

    name: str
    seconds: float  # median over the rounds; of a load, or of one answer
    low: float  # quartiles
    high: float
    ratio: float | None  # the API's median over this one's: how many times faster
    peak_memory_mb: float | None  # MiB, of a process that does nothing else; None where the system does not tell
    added_memory_mb: float | None  # MiB, the peak over what that process held when all it needs was imported
    memory_ratio: float | None  # what the API's process added over what this one added


@dataclass(frozen=True, slots=True, kw_only=True)
class TableReport:
    """What `dartboard bench table --against official --json` prints."""

    cells: int  # of the generated file
    file_mb: float  # MiB
    compact_mb: float
    rounds: int
    machine: str
    rows: tuple[Row, ...]
    compared: int  # numbers that the API and the compact table both gave
    equal: int  # of them, to the last bit
    largest_difference: float  # relative

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"target": "table", "against": "official", **asdict(self), "goals": self.goals()}

    def goals(self) -> dict[str, bool | None]:
        """Which of `GOALS` are reached; None: not measured."""
        by_name = {row.name: row for row in self.rows}
        load, lookups = by_name["load"], by_name["lookups"]
        added = load.added_memory_mb
        return {
            "load_seconds": load.seconds <= GOALS["load_seconds"],
            "load_mb": None if added is None else added <= GOALS["load_mb"],
            "lookups_per_second": 1 / lookups.seconds >= GOALS["lookups_per_second"],
        }

    def as_text(self) -> list[str]:
        """A table, and whether the numbers are equal and the goals reached."""
        rows: list[tuple[str, ...]] = [("", "median", "quartiles", "faster", "MiB", "added MiB", "less memory")]
        for r in self.rows:
            peak, added = ("" if mb is None else f"{mb:.0f}" for mb in (r.peak_memory_mb, r.added_memory_mb))
            spread = f"{duration(r.low)} to {duration(r.high)}"
            rows.append(
                (TITLES[r.name], duration(r.seconds), spread, _times(r.ratio), peak, added, _times(r.memory_ratio))
            )
        goals = self.goals()
        words = {True: "reached", False: "not reached", None: "not measured"}
        return [
            f"table against nas-bench-201: {self.cells:,} cells in {self.file_mb:.0f} MiB, ours {SPACE_SIZE:,} in"
            f" {self.compact_mb:.1f} MiB; {self.rounds} rounds; {self.machine}",
            *columns(rows),
            f"{self.equal:,} of {self.compared:,} numbers equal to the last bit"
            + (f", the largest relative difference {self.largest_difference:.0e}" if self.largest_difference else ""),
            f"goals: load under {1e3 * GOALS['load_seconds']:.0f} ms {words[goals['load_seconds']]}, under"
            f" {GOALS['load_mb']:.0f} MiB {words[goals['load_mb']]}; a million look-ups a second"
            f" {words[goals['lookups_per_second']]}",
        ]


TITLES: Final = {
    # the rows' names, in words; each group begins with the API
    "official-load": "API: load",
    "convert": "import, once",
    "load": "load, compact",
    "official-query": "API: one query",
    "lookup": "one look-up",
    "lookups": "of a million at once",
}
LOADS: Final = ("official-load", "convert", "load")


def measure_table(settings: Settings, cells: int, *, memory: bool = True) -> TableReport:
    """Generate a file of so many cells, and read it in both ways; `memory`: measured in processes of their own.

    Raises:
        InputError: when the package is not installed, or there cannot be so many cells.
    """
    check_cells(cells, owner="--against official")
    import torch

    from dartboard.benchmark.tables.synthetic import write_pth
    from dartboard.harness.devices import threads

    with threads(settings.threads), TemporaryDirectory() as name:
        folder = Path(name)
        file = write_pth(cells, folder / "NAS-Bench-201-v1_1-generated.pth")
        convert(file)
        alone = {name: measure_alone(name, file, settings.clock) for name in TITLES} if memory else {}
        compared, equal, largest = compare(file)
        rows = _time(file, settings, alone)
        sizes = file.stat().st_size / 2**20, _compact(file).stat().st_size / 2**20
    return TableReport(
        cells=cells,
        file_mb=sizes[0],
        compact_mb=sizes[1],
        rounds=settings.rounds,
        machine=f"torch {torch.__version__}, {settings.threads} threads, {settings.clock} time",
        rows=rows,
        compared=compared,
        equal=equal,
        largest_difference=largest,
    )


def check_cells(cells: int, *, least: int = 1, owner: str) -> None:
    """Refuse a file of so many cells where it cannot be made, or where nothing here could read it.

    Raises:
        InputError: when the package is not installed, or there cannot be so many cells.
    """
    if find_spec("nas_201_api") is None:
        raise InputError(f"{owner} needs the package nas-bench-201: pip install nas-bench-201==2.1")
    if not least <= cells <= SPACE_SIZE:
        raise InputError(f"--cells: from {least} to {SPACE_SIZE:,}; got {cells}")


def load_official(file: Path) -> Any:
    """The package's API on `file`, which PyTorch is told to trust: we wrote it."""
    from nas_201_api import NASBench201API

    before = os.environ.get(_UNSAFE)
    os.environ[_UNSAFE] = "1"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=f".*{_UNSAFE}")
            return NASBench201API(str(file), verbose=False)
    finally:
        if before is None:
            del os.environ[_UNSAFE]
        else:
            os.environ[_UNSAFE] = before


def convert(file: Path) -> GroundTruth:
    """What `dartboard table import` does; cells that the file lacks repeat its own."""
    from dataclasses import replace

    from dartboard.benchmark.ground_truth import Provenance
    from dartboard.benchmark.space import Cell
    from dartboard.benchmark.tables.assemble import assemble_cells, sha256_of
    from dartboard.benchmark.tables.official import MEAN, read_pth_cells
    from dartboard.benchmark.tables.store import save_compact

    results = read_pth_cells(file)
    found = len(results)
    lacking = sorted(set(range(SPACE_SIZE)) - {result.cell.number for result in results})
    for number in lacking:
        results.append(replace(results[len(results) % found], index=len(results), cell=Cell.from_number(number)))
    provenance = Provenance(
        name="generated",
        title="random numbers in NAS-Bench-201's format",
        source=file.name,
        version="generated",
        licence="none",
        sha256=sha256_of(file),
        aggregation=MEAN,
        official=False,
    )
    table = assemble_cells(results, provenance)
    save_compact(table, _compact(file))
    return table


def compare(file: Path) -> tuple[int, int, float]:
    """How many numbers of the compact table the API gives too, how many are equal, and the largest relative gap."""
    from dartboard.benchmark.space import Cell
    from dartboard.benchmark.tables.assemble import named_columns
    from dartboard.benchmark.tables.store import load_compact
    from dartboard.benchmark.tables.synthetic import ask_package

    api, columns = load_official(file), named_columns(load_compact(_compact(file)))
    equal, largest = 0, 0.0
    for index, text in enumerate(api.meta_archs):
        number = Cell.parse(text).number
        for name, column in columns.items():
            ours, theirs = float(column[number]), ask_package(api, index, name)
            equal += ours == theirs
            largest = max(largest, abs(ours - theirs) / max(abs(theirs), sys.float_info.min))
    return len(api.meta_archs) * len(columns), equal, largest


def _compact(file: Path) -> Path:
    return file.with_suffix(".npz")


def _work(name: str, file: Path) -> tuple[Callable[[], object], int]:
    """The work of a row, ready to be called again and again, and how many answers a call gives."""
    from dartboard.benchmark.tables.store import load_compact

    if name == "official-load":
        return (lambda: load_official(file)), 1
    if name == "convert":
        return (lambda: convert(file)), 1
    if name == "load":
        return (lambda: load_compact(_compact(file))), 1
    from dartboard.benchmark.ground_truth import Metric
    from dartboard.benchmark.space import Cell

    metric = Metric.parse(COLUMN)
    if name == "official-query":
        api = load_official(file)
        strings = list(api.meta_archs)
        split = f"{metric.split}-accuracy"
        return (
            lambda: [
                api.get_more_info(s, metric.dataset, hp=str(metric.epochs), is_random=False)[split] for s in strings
            ]
        ), len(strings)
    import numpy as np

    table = load_compact(_compact(file))
    numbers = np.random.default_rng(0).integers(0, SPACE_SIZE, LOOKUPS)
    if name == "lookup":
        strings = [str(Cell.from_number(int(number))) for number in numbers[:1000]]
        return (lambda: [table.lookup(Cell.parse(s), metric) for s in strings]), len(strings)
    return (lambda: table.lookup(numbers, metric)), LOOKUPS


def _time(file: Path, settings: Settings, alone: Mapping[str, Alone]) -> tuple[Row, ...]:
    rows = []
    for group in (LOADS, [name for name in TITLES if name not in LOADS]):
        works = {name: _work(name, file) for name in group}
        spans = interleave({name: call for name, (call, _) in works.items()}, settings.rounds, CLOCKS[settings.clock])
        seconds = {name: [span / works[name][1] for span in spans[name]] for name in group}
        theirs = group[0]
        for name in group:
            peak, added, base = (
                (alone[name].peak_mb, alone[name].added_mb, alone[theirs].added_mb) if alone else (None, None, None)
            )
            rows.append(
                Row(
                    name=name,
                    **spread(seconds[name]),
                    ratio=None if name == theirs else median(seconds[theirs]) / median(seconds[name]),
                    peak_memory_mb=peak,
                    added_memory_mb=added,
                    memory_ratio=None if name == theirs or not base or not added else base / added,
                )
            )
    return tuple(rows)


class Alone(NamedTuple):
    """What a process took that did the work of a row once, and nothing else."""

    seconds: float
    peak_mb: float | None  # MiB; None where the system does not tell
    added_mb: float | None  # MiB, of them, over what it held when all that the work needs was imported


def measure_alone(name: str, file: Path, clock: Clock) -> Alone:
    """Do the work of a row once, in a process of its own."""
    return Alone(*in_process("dartboard.harness.bench_table:print_alone", name, str(file), clock))


def print_alone(name: str, file: str, clock: Clock) -> None:
    """What the process of `measure_alone` runs."""
    needed = ["dartboard.benchmark.tables.store"]
    if name.startswith("official") or name == "convert":
        needed += ["dartboard.benchmark.tables.official", "nas_201_api"]
    for module in needed:
        import_module(module)
    before = resident_mb("VmRSS")
    start = CLOCKS[clock]()
    call, _ = _work(name, Path(file))
    call()
    seconds = CLOCKS[clock]() - start
    peak = resident_mb("VmHWM")
    print(json.dumps(Alone(seconds, peak, None if peak is None or before is None else peak - before)))


def duration(seconds: float) -> str:
    """In the unit that suits it, to three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{1e9 * seconds:.3g} ns"


def _times(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:,.0f}x" if ratio >= 10 else f"{ratio:.2g}x"
