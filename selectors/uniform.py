"""Control: a cell drawn uniformly from the space, or from the cells of some operations only.

A criterion that does not beat it reads nothing from the supernet. The fair control of a criterion that never chooses an
operation draws without that operation: random cells without `none` are a good deal better than random cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.errors import InputError, unknown
from dartboard.benchmark.space import OPERATIONS, Cell, E
from dartboard.selectors._options import Configured


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is drawn from.

    Raises:
        InputError: when an operation is unknown or named twice, or there is none.
    """

    operations: Sequence[str] = OPERATIONS  # by name

    def __post_init__(self) -> None:
        if isinstance(self.operations, str) or not self.operations:
            raise InputError(f"operations is a list of at least one name; got {self.operations!r}")
        for name in self.operations:
            if name not in OPERATIONS:
                raise unknown("operation", str(name), OPERATIONS)
        if len(set(self.operations)) < len(self.operations):
            raise InputError(f"operations names one of them twice: {', '.join(self.operations)}")


class Uniform(Configured[Config]):
    """Every operation drawn from is equally likely on every edge; by default all, `none` included."""

    name: ClassVar[str] = "random"
    paper: ClassVar[str] = "control"
    control: ClassVar[str | None] = "blind"
    config_class = Config

    def select(self, _trained: TrainedSupernet, _data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`."""
        drawn = [OPERATIONS.index(name) for name in self.config.operations]
        places = torch.randint(len(drawn), (E,), generator=generator).tolist()
        return Selection(cell=Cell(tuple(drawn[place] for place in places)))
