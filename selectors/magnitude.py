"""Magnitude: the operation of the largest mixing weight on each edge.

H. Liu, K. Simonyan, Y. Yang, "DARTS", ICLR 2019, arXiv:1806.09055, section 2.2: o_e = argmax_o p[e, o].

Differences from the paper: on NAS-Bench-201 the published codes let `none` win (`exclude_none=False`), while the paper
leaves it out of its own space's choice (`exclude_none=True`); no edge is pruned, since every edge of the space
carries an operation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.space import NONE, Cell
from dartboard.selectors._options import Configured


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Whether `none` may be chosen."""

    exclude_none: bool = False


class Magnitude(Configured[Config]):
    """The largest mixing weight wins."""

    name: ClassVar[str] = "magnitude"
    paper: ClassVar[str] = "Liu, Simonyan, Yang 2019, arXiv:1806.09055"
    equivariant: ClassVar[bool] = True  # operations under other names: the same answer under these
    config_class = Config

    def select(self, trained: TrainedSupernet, _data: SelectionData, _generator: torch.Generator) -> Selection:
        """See `Selector.select`; the scores are the mixing weights."""
        scores = trained.mixture.copy()
        if self.config.exclude_none:
            scores[:, NONE] = -np.inf
        return Selection(cell=Cell.from_scores(scores), scores=scores)
