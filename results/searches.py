"""Each trained supernet in one row: what its argmax cell was worth on the way, its collapse, what an epoch took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from dartboard.benchmark.space import Cell
from dartboard.results.board import Board, collapse_epoch
from dartboard.results.document import Drawn, Entry, Table
from dartboard.results.judged import uniform
from dartboard.results.records import EpochRecord, SearchKey
from dartboard.results.wording import number

PACE: Final = "darts-v1"
"""The search method whose epochs' time is the unit of the others'."""

PARTS: Final = (0.25, 0.5, 0.75, 1.0)
"""Of a search's epochs: after these the argmax cell's accuracy is told."""

HEADS: Final = ("after a quarter (%)", "half (%)", "three quarters (%)", "at the end (%)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """A search in short. Accuracies are percent, of the cell with the largest mixing weights."""

    search: SearchKey
    metric: str
    epochs: int
    cell: str  # after the last epoch
    tied: bool  # whether the last mixing weights are equal on every edge: nothing is then told of an argmax cell
    accuracies: tuple[float | None, ...]  # after each of `PARTS` of the epochs
    best: float | None  # of all epochs
    best_epoch: int | None
    collapsed_from: int | None  # see `board.collapse_epoch`
    supernet_accuracy: float | None  # percent, of the mixture on the validation half, in the last epoch
    epoch_seconds: float | None  # the median; a measurement
    epoch_ratio: float | None  # over that of `PACE` on the same data set and seed
    lines: tuple[int, ...]  # of its records

    @property
    def lost(self) -> float | None:
        """By how many percentage points the last cell is below the best one on the way."""
        last = self.accuracies[-1]
        return None if self.best is None or last is None else self.best - last


def searched(board: Board) -> list[Searched]:
    """The searches of a board whose epochs are recorded, in order."""
    rows = {search: epochs for search in board.searches if (epochs := board.run.epochs[search])}
    seconds = {search: _epoch_seconds(epochs) for search, epochs in rows.items()}
    found = []
    for search, epochs in rows.items():
        unit, own = seconds.get(search._replace(searcher=PACE)), seconds[search]
        tied = uniform(epochs)
        told = () if tied else epochs
        known = [(epoch.accuracies[board.metric], epoch.epoch) for epoch in told if board.metric in epoch.accuracies]
        best, best_epoch = max(known, key=lambda row: (row[0], -row[1])) if known else (None, None)
        found.append(
            Searched(
                search=search,
                metric=board.metric,
                epochs=len(epochs),
                cell=epochs[-1].cell,
                tied=tied,
                accuracies=tuple(
                    told[after(part, len(told)) - 1].accuracies.get(board.metric) if told else None for part in PARTS
                ),
                best=best,
                best_epoch=best_epoch,
                collapsed_from=collapse_epoch(told),
                supernet_accuracy=epochs[-1].valid_accuracy,
                epoch_seconds=own,
                epoch_ratio=own / unit if own is not None and unit else None,
                lines=tuple(line for line, record in board.numbered if record.search == search),
            )
        )
    return found


def after(part: float, epochs: int) -> int:
    """The epoch, from 1, that ends this part of so many epochs: the nearest, and at least the first."""
    return max(1, round(part * epochs))


def _epoch_seconds(epochs: Sequence[EpochRecord]) -> float | None:
    known = [epoch.seconds for epoch in epochs if epoch.seconds is not None]
    return median(known) if known else None


def searches_rows(boards: Sequence[Board]) -> Iterable[Mapping[str, Any]]:
    """The rows of searches.csv."""
    for board in boards:
        for row in searched(board):
            yield {
                **row.search._asdict(),
                "metric": row.metric,
                "epochs": row.epochs,
                "cell": row.cell,
                "tied": row.tied,
                **{f"accuracy_{round(100 * p)}": a for p, a in zip(PARTS, row.accuracies, strict=True)},
                "best": row.best,
                "best_epoch": row.best_epoch,
                "lost": None if row.lost is None else round(row.lost, 6),
                "collapsed_from": row.collapsed_from,
                "supernet_accuracy": row.supernet_accuracy,
                "epoch_seconds": None if row.epoch_seconds is None else round(row.epoch_seconds, 6),
                "epoch_ratio": None if row.epoch_ratio is None else round(row.epoch_ratio, 6),
                "lines": " ".join(map(str, row.lines)),
            }


def searches_table(board: Board) -> Table | None:
    """The searches of a board side by side; None where no epoch is recorded."""
    found = searched(board)
    if not found:
        return None
    timed = any(row.epoch_ratio is not None for row in found)
    head = (
        *("search method", "seed", "argmax cell", *HEADS, "best (%)", "in epoch", "collapsed from epoch"),
        *("supernet, validation (%)", "seconds an epoch", *((f"of {PACE}'s",) if timed else ())),
    )
    return Table(head=head, rows=tuple(_row(row, timed) for row in found), title="The searches side by side")


def _row(row: Searched, timed: bool) -> tuple[Entry, ...]:
    cell: Entry = "tied on every edge" if row.tied else Drawn(cell=Cell.parse(row.cell))
    return (
        row.search.searcher,
        str(row.search.seed),
        cell,
        *(number(accuracy) for accuracy in row.accuracies),
        number(row.best),
        "-" if row.best_epoch is None else str(row.best_epoch),
        "-" if row.collapsed_from is None else str(row.collapsed_from),
        number(row.supernet_accuracy),
        number(row.epoch_seconds),
        *((number(row.epoch_ratio),) if timed else ()),
    )
