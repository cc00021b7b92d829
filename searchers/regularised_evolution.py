"""Regularised evolution: the best of a few cells of the population has a child, and the oldest cell dies.

E. Real, A. Aggarwal, Y. Huang, Q. V. Le, "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019,
arXiv:1802.01548, algorithm 1. It shares no weights. P cells drawn uniformly are trained; then, until the budget is
spent: S cells are drawn from the population, with repetition; the best has a child, itself but for one edge, whose
operation becomes another; the child is trained and joins the population, and the oldest leaves it.

P = 10 and S = 3 are those of the benchmark authors' scripts (AutoDL-Projects, scripts-search/algos/R-EA.sh); the
paper's own, for another space, are not used.

Differences from the paper: a mutation always changes the operation of one edge, as in the benchmark's scripts; there
are no hidden states to rewire. The budget is a number of trained cells, not the 12,000 s of simulated training that
those scripts allow, and a cell that comes up again is trained, and counted, again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import ClassVar

import torch

from dartboard.benchmark.contracts import Selection
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.queries import Queries
from dartboard.benchmark.space import SPACE_SIZE, Cell, E, O


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Sizes of population and tournament.

    Raises:
        InputError: when a number is not positive.
    """

    budget: int = 1500  # trained cells, as many as `svge-bo` takes
    population: int = 10  # P
    sample: int = 3  # S

    def __post_init__(self) -> None:
        for name in ("budget", "population", "sample"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is at least 1; got {getattr(self, name)!r}")


def draw(high: int, generator: torch.Generator) -> int:
    """An integer of 0..high - 1."""
    return int(torch.randint(high, (), generator=generator))


def mutated(cell: Cell, generator: torch.Generator) -> Cell:
    """The cell with another operation on one edge; each of the E·(O - 1) children is as likely as any other."""
    edge, shift = draw(E, generator), 1 + draw(O - 1, generator)
    operations = list(cell.operations)
    operations[edge] = (operations[edge] + shift) % O
    return Cell(tuple(operations))


class RegularisedEvolution:
    """Evolution in which age, not quality, decides who dies."""

    name: ClassVar[str] = "regularised-evolution"
    paper: ClassVar[str] = "Real, Aggarwal, Huang, Le 2019, arXiv:1802.01548"
    config_class = Config

    def __init__(self, config: Config) -> None:
        self.config = config

    def search(self, queries: Queries, generator: torch.Generator) -> Selection:
        """See `QuerySearch.search`."""
        config = self.config
        population: deque[tuple[Cell, float]] = deque(maxlen=config.population)  # the oldest first; a full one drops it
        while queries.left:
            if len(population) < config.population:
                cell = Cell.from_number(draw(SPACE_SIZE, generator))
            else:
                rivals = [population[draw(len(population), generator)] for _ in range(config.sample)]
                cell = mutated(max(rivals, key=lambda pair: pair[1])[0], generator)
            population.append((cell, queries.accuracy(cell)))
        return Selection(cell=queries.best, trace=queries.trace)
