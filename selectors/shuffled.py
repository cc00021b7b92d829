"""Control: a criterion's own scores, the operations of each edge permuted at random.

It keeps what the criterion's scores are (their values, edge by edge, with all their ties and outliers) and takes away
only which operation has which: what remains is what the distribution of the scores alone would give, a criterion's
correlation with the truth included. Its cell is the criterion's with the operations of each edge renamed at random, so
it is uniform over the space; the criterion's own rule for `none` goes the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch

from dartboard.benchmark.catalogue import check_options
from dartboard.benchmark.contracts import Selection, SelectionData, Selector, TrainedSupernet
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import Cell, E, O
from dartboard.benchmark.streams import split_off, stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Whose scores."""

    criterion: str = "magnitude"  # its name in the catalogue
    options: Mapping[str, Any] = field(default_factory=dict)  # of that criterion, over those of its name


class Shuffled:
    """The scores of another criterion, each edge's permuted.

    Raises:
        InputError: when there is no such criterion, it is a control, or it has no such options.
    """

    name: ClassVar[str] = "shuffled"
    paper: ClassVar[str] = "control"
    control: ClassVar[str | None] = "blind"
    config_class = Config

    def __init__(self, config: Config) -> None:
        from dartboard.selectors._catalogue import SELECTORS

        self.config = config
        entry = SELECTORS[config.criterion]
        if entry.control is not None:
            raise InputError(f"only a criterion's scores can be shuffled, and {entry.name!r} is a control")
        factory = entry.load()
        options = check_options(factory.config_class, {**entry.options, **config.options}, f"criterion {entry.name!r}")
        self.criterion: Selector = factory(factory.config_class(**options))

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; the notes keep the permutations, column o of row e being the score that o now has."""
        root = split_off(generator)
        inner = self.criterion.select(trained, replace(data, journal=None), stream(root, "criterion"))
        if inner.scores is None:
            raise ValueError(f"{self.config.criterion!r} gives whole cells and no scores: nothing can be shuffled")
        draws = stream(root, "permutations")
        order = torch.stack([torch.randperm(O, generator=draws) for _ in range(E)]).numpy()
        chosen = [int(np.flatnonzero(row == o)[0]) for row, o in zip(order, inner.cell.operations, strict=True)]
        return Selection(
            cell=Cell(tuple(chosen)),
            scores=np.take_along_axis(inner.scores, order, axis=1),
            images=inner.images,
            gradient_images=inner.gradient_images,
            notes={"permutations": order.tolist(), "unshuffled_cell": str(inner.cell)},
        )
