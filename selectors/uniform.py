"""Control: a cell drawn uniformly from the space. A criterion that does not beat it reads nothing from the supernet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.space import Cell, E, O


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Nothing to set."""


class Uniform:
    """Every operation on every edge is equally likely, `none` included."""

    name: ClassVar[str] = "random"
    paper: ClassVar[str] = "control"
    control: ClassVar[str | None] = "blind"
    config_class = Config

    def __init__(self, config: Config) -> None:
        self.config = config

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:  # noqa: ARG002  (blind)
        """See `Selector.select`."""
        return Selection(cell=Cell(tuple(torch.randint(O, (E,), generator=generator).tolist())))
