"""What a search that trains single cells may ask: their accuracy, one cell at a time, up to a budget.

A trained cell is the currency in which such searches are compared. The table stands in for the training, so an answer
costs nothing here and is counted all the same, a cell that is asked for again included: its training would have to be
paid for again, or remembered, and remembering is the search's own business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.ground_truth import GroundTruth, Metric
from dartboard.benchmark.space import Cell


class OverBudgetError(RuntimeError):
    """A search asked for more cells than it may."""


class Queries:
    """The accuracy of trained cells, counted.

    Args:
        truth: the table.
        metric: what is asked for.
        budget: how many cells may be asked for.

    Raises:
        InputError: when the budget is not at least 1, or the table has no such metric.
    """

    def __init__(self, truth: GroundTruth, metric: Metric, budget: int) -> None:
        if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
            raise InputError(f"budget is a whole number of trained cells, at least 1; got {budget!r}")
        truth.lookup(Cell.from_number(0), metric)  # so that an unknown one is refused now
        self._truth, self.metric, self.budget = truth, metric, budget
        self.asked: list[tuple[Cell, float]] = []  # in order, with the answers in percent

    @property
    def left(self) -> int:
        """How many cells may still be asked for."""
        return self.budget - len(self.asked)

    def accuracy(self, cell: Cell) -> float:
        """The accuracy in percent of the trained cell; it counts.

        Raises:
            OverBudgetError: when no query is left.
        """
        if self.left < 1:
            raise OverBudgetError(f"all {self.budget} trained cells of the budget are asked for")
        answer = self._truth.lookup(cell, self.metric)
        self.asked.append((cell, answer))
        return answer

    @property
    def best(self) -> Cell:
        """The cell of the highest answer, the first of them.

        Raises:
            ValueError: when nothing was asked for.
        """
        return max(self.asked, key=lambda pair: pair[1])[0]

    @property
    def trace(self) -> tuple[Mapping[str, Any], ...]:
        """The search at any time: an entry for each query that answered better than all before; JSON values only."""
        entries: list[Mapping[str, Any]] = []
        for number, (cell, answer) in enumerate(self.asked, start=1):
            if not entries or answer > entries[-1]["queried"]:
                entries.append({"queries": number, "cell": str(cell), "queried": answer})
        return tuple(entries)


def queried_metric(truth: GroundTruth, scored: Metric) -> Metric:
    """What a search may ask for when its answer is scored by `scored`: the validation accuracy of the same data.

    CIFAR-10's is that of `cifar10-valid`. A table without it answers with the very metric that the answer is scored by.
    """
    dataset = "cifar10-valid" if scored.dataset == "cifar10" else scored.dataset
    valid = Metric(dataset, "valid", scored.epochs)
    return valid if valid in truth.accuracy else scored
