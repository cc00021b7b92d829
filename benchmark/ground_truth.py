"""The true accuracy of every cell, as columns: look-up, rank, percentile, regret and the best.

A table holds one column for each metric, and each column one value for each of the 15,625 cells, in the order of
`Cell.number`. Where the columns come from is the business of `dartboard.benchmark.tables`; here they are only asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from dartboard.benchmark.errors import InputError, unknown
from dartboard.benchmark.space import SPACE_SIZE, Cell

DATASETS: Final = ("cifar10-valid", "cifar10", "cifar100", "imagenet16-120")
"""What the networks were trained on: `cifar10-valid` is half of CIFAR-10's training images, `cifar10` all of them."""

SPLITS: Final = ("train", "valid", "test")

Column: TypeAlias = NDArray[np.float64]  # (15625,), by cell number
Cells: TypeAlias = Sequence[Cell] | NDArray[np.integer]


class Metric(NamedTuple):
    """One column: accuracy of networks trained on `dataset` for `epochs` epochs, on the images of `split`."""

    dataset: str
    split: str
    epochs: int

    @classmethod
    def parse(cls, text: str) -> Metric:
        """The inverse of `str`; the official spelling `ImageNet16-120` is understood.

        Raises:
            InputError: quoting `text`, when it is not DATASET/SPLIT/EPOCHS.
        """
        parts = text.split("/")
        if len(parts) != 3 or re.fullmatch("[1-9][0-9]{0,8}", parts[2]) is None:
            raise InputError(f"not a metric: {text!r}; expected DATASET/SPLIT/EPOCHS, such as cifar10/test/200")
        return cls(dataset_name(parts[0]), _known("split", parts[1], SPLITS), int(parts[2]))

    def __str__(self) -> str:
        return f"{self.dataset}/{self.split}/{self.epochs}"


def dataset_name(text: str) -> str:
    """Our name of one of the benchmark's data sets, from any spelling of upper and lower case.

    Raises:
        InputError: when there is no such data set.
    """
    return _known("data set", text.lower(), DATASETS)


def _known(kind: str, name: str, names: Sequence[str]) -> str:
    if name not in names:
        raise unknown(kind, name, names)
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a table comes from and what its numbers are."""

    name: str  # the short name that `--table` takes
    title: str  # in plain words, for the head of a report
    source: str  # the file or package it was read from, and whose work it is
    version: str
    licence: str
    sha256: str  # of the source
    aggregation: str  # how several trials became one number
    official: bool  # the benchmark's own numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundTruth:
    """A table of all 15,625 cells.

    Wherever `cells` are asked for, a `Cell` gives a number, and a sequence of cells or an integer array of cell numbers
    (any shape) gives an array of the same shape.

    Raises:
        InputError: when a column has not one finite value for each cell, or an accuracy is outside 0..100.
    """

    provenance: Provenance
    accuracy: Mapping[Metric, Column]  # percent
    parameters: Mapping[str, Column] = field(default_factory=dict)  # by data set, in millions
    flops: Mapping[str, Column] = field(default_factory=dict)  # by data set, multiply-adds in millions
    training_seconds: Mapping[str, Column] = field(default_factory=dict)  # by data set, at the most epochs, whole run
    official_index: NDArray[np.int64] | None = None  # (15625,), the benchmark's own index of each cell

    def __post_init__(self) -> None:
        for metric, column in self.accuracy.items():
            _check(str(metric), column, most=100)
        for cost in ("parameters", "flops", "training_seconds"):
            for dataset, column in getattr(self, cost).items():
                _check(f"{cost}/{dataset}", column, most=np.inf)
        index = self.official_index
        if index is not None and not np.array_equal(np.sort(index), np.arange(SPACE_SIZE)):
            raise InputError(f"the official indices are not each of 0..{SPACE_SIZE - 1} once")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The columns there are, in order."""
        return tuple(sorted(self.accuracy))

    def default_metric(self, dataset: str | None = None) -> Metric:
        """What a run is scored by: the test accuracy at most epochs on `dataset` if it is here, else on CIFAR-10.

        A table without test accuracies scores by validation accuracy.

        Raises:
            InputError: when it has neither.
        """
        for split in ("test", "valid"):
            for name in (dataset, "cifar10", "cifar10-valid"):
                epochs = [metric.epochs for metric in self.accuracy if metric[:2] == (name, split)]
                if name and epochs:
                    return Metric(name, split, max(epochs))
        others = ", ".join(map(str, self.metrics))
        raise InputError(
            f"the table {self.provenance.name!r} has nothing of {dataset or 'cifar10'} to score by:"
            f" name a metric of {others}"
        )

    @overload
    def lookup(self, cells: Cell, metric: Metric) -> float: ...
    @overload
    def lookup(self, cells: Cells, metric: Metric) -> NDArray[np.float64]: ...
    def lookup(self, cells: Cell | Cells, metric: Metric) -> float | NDArray[np.float64]:
        """The accuracy in percent."""
        column = self._column(metric)
        return float(column[cells.number]) if isinstance(cells, Cell) else column[_numbers(cells)]

    @overload
    def rank(self, cells: Cell, metric: Metric) -> int: ...
    @overload
    def rank(self, cells: Cells, metric: Metric) -> NDArray[np.int64]: ...
    def rank(self, cells: Cell | Cells, metric: Metric) -> int | NDArray[np.int64]:
        """1 for the best cell; cells of equal accuracy share the best of their ranks."""
        ascending = np.sort(self._column(metric))
        better = SPACE_SIZE - np.searchsorted(ascending, self.lookup(cells, metric), side="right")
        return int(better) + 1 if isinstance(cells, Cell) else better + 1

    @overload
    def percentile(self, cells: Cell, metric: Metric) -> float: ...
    @overload
    def percentile(self, cells: Cells, metric: Metric) -> NDArray[np.float64]: ...
    def percentile(self, cells: Cell | Cells, metric: Metric) -> float | NDArray[np.float64]:
        """The share of the other cells that have a lower accuracy, in percent: 100 for a sole best, 0 for the worst."""
        worse = np.searchsorted(np.sort(self._column(metric)), self.lookup(cells, metric), side="left")
        share = 100.0 * worse / (SPACE_SIZE - 1)
        return float(share) if isinstance(cells, Cell) else np.asarray(share)

    @overload
    def regret(self, cells: Cell, metric: Metric) -> float: ...
    @overload
    def regret(self, cells: Cells, metric: Metric) -> NDArray[np.float64]: ...
    def regret(self, cells: Cell | Cells, metric: Metric) -> float | NDArray[np.float64]:
        """The best cell's accuracy less this one's, in percentage points."""
        best = float(self._column(metric).max())
        return best - self.lookup(cells, metric)

    def best(self, metric: Metric) -> Cell:
        """The cell of the highest accuracy; of several, the one of the lowest official index, or else number."""
        column = self._column(metric)
        best = np.flatnonzero(column == column.max())
        return Cell.from_number(
            int(best[0] if self.official_index is None else best[self.official_index[best].argmin()])
        )

    def _column(self, metric: Metric) -> Column:
        if metric not in self.accuracy:
            raise unknown(f"metric in the table {self.provenance.name!r}", str(metric), map(str, self.accuracy))
        return self.accuracy[metric]


def _check(name: str, column: Column, *, most: float) -> None:
    """One finite value in 0..most for each cell."""
    if column.shape != (SPACE_SIZE,):
        raise InputError(f"column {name} has shape {column.shape}; a table has {SPACE_SIZE} cells")
    bad = ~(np.isfinite(column) & (column >= 0) & (column <= most))
    if bad.any():
        number = int(bad.argmax())
        raise InputError(
            f"column {name} holds {column[number]} for the cell {Cell.from_number(number)} ({int(bad.sum())} such"
            f" cells); expected a number in 0..{most:g}"
        )


def _numbers(cells: Cells) -> NDArray[np.integer]:
    """The cells' numbers, same shape."""
    if not isinstance(cells, np.ndarray):
        return np.fromiter((cell.number for cell in cells), dtype=np.int64, count=len(cells))
    if not np.issubdtype(cells.dtype, np.integer):
        raise InputError(f"cells are given as an array of their integer numbers; got one of {cells.dtype}")
    if cells.size and not 0 <= int(cells.min()) <= int(cells.max()) < SPACE_SIZE:
        raise InputError(f"a cell's number is in 0..{SPACE_SIZE - 1}; got {cells.min()}..{cells.max()}")
    return cells
