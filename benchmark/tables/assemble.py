"""From what a reader found to a whole table: every cell there, none twice, each column known by its name.

Readers, files of columns and our own compact file all write a column's name alike:

    DATASET/SPLIT/EPOCHS    accuracy in percent, such as cifar10/test/200
    parameters/DATASET      weights, in millions
    flops/DATASET           multiply-adds, in millions
    seconds/DATASET         the whole training at the most epochs
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.ground_truth import Column, GroundTruth, Metric, Provenance, dataset_name
from dartboard.benchmark.space import SPACE_SIZE, Cell

COSTS: Final = ("parameters", "flops", "seconds")

Progress: TypeAlias = Callable[[int, int], None]
"""Called with how many cells are done, and of how many."""


def silent(done: int, total: int) -> None:
    """Tell nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResults:
    """What a file holds of one cell."""

    index: int  # the official one
    cell: Cell
    columns: Mapping[str, float]  # by the column's name


def assemble_cells(results: Sequence[CellResults], provenance: Provenance) -> GroundTruth:
    """The table of these cells; a column that some of them lack is left out, and the provenance says so.

    Raises:
        InputError: as `assemble`.
    """
    columns: dict[str, list[float]] = {}
    for result in results:
        for name, value in result.columns.items():
            columns.setdefault(name, []).append(value)
    lacking = sorted(name for name, values in columns.items() if len(values) < len(results))
    if lacking:
        note = f"{provenance.aggregation}; left out, because some cells lack it: {', '.join(lacking)}"
        provenance = replace(provenance, aggregation=note)
    whole = {name: values for name, values in columns.items() if len(values) == len(results)}
    return assemble([r.cell for r in results], whole, provenance, index=[r.index for r in results])


def assemble(
    cells: Sequence[Cell], columns: Mapping[str, ArrayLike], provenance: Provenance, *, index: ArrayLike | None = None
) -> GroundTruth:
    """The table of these columns, each in the order of `cells`.

    Raises:
        InputError: when a cell is missing or twice there, a column's name or a value is wrong, or no accuracy is there.
    """
    numbers = np.fromiter((cell.number for cell in cells), dtype=np.int64, count=len(cells))
    check_complete(numbers, provenance.name)
    order = np.argsort(numbers)
    ordered = {name: np.asarray(values, dtype=np.float64)[order] for name, values in columns.items()}
    return of_columns(ordered, provenance, index=None if index is None else np.asarray(index, dtype=np.int64)[order])


def of_columns(
    columns: Mapping[str, Column], provenance: Provenance, *, index: NDArray[np.int64] | None
) -> GroundTruth:
    """The table of named columns that stand in the order of `Cell.number`.

    Raises:
        InputError: as `assemble`.
    """
    accuracy: dict[Metric, Column] = {}
    costs: dict[str, dict[str, Column]] = {cost: {} for cost in COSTS}
    for name, column in columns.items():
        column.setflags(write=False)
        cost, _, dataset = name.partition("/")
        known: dict[Any, Column] = costs.get(cost, accuracy)
        key = dataset_name(dataset) if cost in costs else Metric.parse(name)
        if key in known:
            raise InputError(f"the table {provenance.name!r} has two columns of one meaning: {name!r} is there already")
        known[key] = column
    if not accuracy:
        raise InputError(f"the table {provenance.name!r} holds no accuracy of all cells")
    return GroundTruth(
        provenance=provenance,
        accuracy=accuracy,
        parameters=costs["parameters"],
        flops=costs["flops"],
        training_seconds=costs["seconds"],
        official_index=index,
    )


def named_columns(table: GroundTruth) -> dict[str, Column]:
    """The inverse of `of_columns`."""
    costs = zip(COSTS, (table.parameters, table.flops, table.training_seconds), strict=True)
    return {str(metric): column for metric, column in table.accuracy.items()} | {
        f"{cost}/{dataset}": column for cost, by_dataset in costs for dataset, column in by_dataset.items()
    }


def check_complete(numbers: NDArray[np.int64], name: str) -> None:
    """Refuse when a cell's number is missing or twice there.

    Raises:
        InputError: naming one such cell.
    """
    times = np.bincount(numbers, minlength=SPACE_SIZE)
    if (times > 1).any():
        twice = int((times > 1).argmax())
        raise InputError(
            f"the table {name!r} has {int((times > 1).sum())} cells more than once, such as {Cell.from_number(twice)}"
        )
    if (times == 0).any():
        missing = int((times == 0).argmax())
        raise InputError(
            f"the table {name!r} is incomplete: it has {len(numbers):,} of the {SPACE_SIZE:,} cells;"
            f" {Cell.from_number(missing)} is missing, for example"
        )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file; of a folder, that of the lines `DIGEST  NAME` of its files in the order of their names."""
    if path.is_dir():
        lines = "".join(f"{sha256_of(file)}  {file.name}\n" for file in sorted(path.iterdir()) if file.is_file())
        return hashlib.sha256(lines.encode()).hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
