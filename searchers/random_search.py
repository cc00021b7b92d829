"""Random search: cells drawn uniformly are trained, and the best of them is the answer. It shares no weights.

L. Li, A. Talwalkar, "Random Search and Reproducibility for Neural Architecture Search", UAI 2019, arXiv:1902.07638,
section 2. In units of trained cells its expected outcome is known in closed form: of n cells drawn from N without
repetition, the best is at most the i-th smallest with the probability C(i, n)/C(N, n).

Differences from the paper: no cell is drawn twice (the benchmark's script may), and the budget is a number of trained
cells, not the 12,000 s of simulated training that the benchmark's script allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from dartboard.benchmark.contracts import Selection
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.queries import Queries
from dartboard.benchmark.space import SPACE_SIZE, Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How many cells are trained.

    Raises:
        InputError: when there are not so many.
    """

    budget: int = 1500  # as many as `svge-bo` takes

    def __post_init__(self) -> None:
        if not 1 <= self.budget <= SPACE_SIZE:
            raise InputError(f"budget is a number of cells in 1..{SPACE_SIZE}; got {self.budget!r}")


class RandomSearch:
    """The best of some cells drawn uniformly."""

    name: ClassVar[str] = "random-search"
    paper: ClassVar[str] = "Li, Talwalkar 2019, arXiv:1902.07638"
    config_class = Config

    def __init__(self, config: Config) -> None:
        self.config = config

    def search(self, queries: Queries, generator: torch.Generator) -> Selection:
        """See `QuerySearch.search`."""
        for number in torch.randperm(SPACE_SIZE, generator=generator)[: queries.left].tolist():
            queries.accuracy(Cell.from_number(number))
        return Selection(cell=queries.best, trace=queries.trace)
