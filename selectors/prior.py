"""Control: one constant order of the operations, none < pool < skip < 1x1 < 3x3, on every edge.

It looks at nothing and always answers the cell of six 3x3 convolutions. On the benchmark's CIFAR-10 table that order
agrees with the average accuracy of the cells with an operation on an edge (Spearman 0.95, averaged over the edges), so
a criterion has to beat it before its own correlation with the table means anything.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.space import CONV1X1, CONV3X3, NONE, POOL, SKIP, Cell, E, O
from dartboard.selectors._options import Configured, Nothing

Config = Nothing
ORDER = (NONE, POOL, SKIP, CONV1X1, CONV3X3)


class Prior(Configured[Config]):
    """The constant order."""

    name: ClassVar[str] = "prior"
    paper: ClassVar[str] = "control"
    control: ClassVar[str | None] = "blind"
    config_class = Config

    def select(self, _trained: TrainedSupernet, _data: SelectionData, _generator: torch.Generator) -> Selection:
        """See `Selector.select`; an operation's score is its place in the order."""
        scores = np.empty((E, O))
        for place, operation in enumerate(ORDER):
            scores[:, operation] = place
        return Selection(cell=Cell.from_scores(scores), scores=scores)
