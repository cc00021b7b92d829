"""Control: a criterion's own scores, the operations of each edge permuted at random.

It keeps what the criterion's scores are (their values, edge by edge, with all their ties and outliers) and takes away
only which operation has which: what remains is what the distribution of the scores alone would give, a criterion's
correlation with the truth included. Its cell is the criterion's with the operations of each edge renamed at random, so
it is uniform over the space; the criterion's own rule for `none` goes the same way. It takes the criterion's options,
and costs what the criterion does.

`shuffled:NAME` is a name for it wherever a selector is named.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch

from dartboard.benchmark.catalogue import Entry
from dartboard.benchmark.contracts import Selection, SelectionData, Selector, TrainedSupernet
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import Cell, E, O
from dartboard.benchmark.streams import split_off, stream


def shuffled(entry: Entry) -> type[Any]:
    """The control's class for the criterion of `entry`.

    Raises:
        InputError: when that says that it gives no scores (`scored = False`).
    """
    factory = entry.load()
    if not getattr(factory, "scored", True):
        raise InputError(f"{entry.name!r} gives whole cells and no scores: nothing can be shuffled")

    class Shuffled:
        """The scores of a criterion, each edge's permuted."""

        name: ClassVar[str] = f"shuffled:{entry.name}"
        paper: ClassVar[str] = "control"
        control: ClassVar[str | None] = "blind"
        config_class = factory.config_class

        def __init__(self, config: Any) -> None:
            self.config = config
            self.criterion: Selector = factory(config)

        def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
            """See `Selector.select`; the notes keep the permutations, order[e][o] being whose score o has."""
            root = split_off(generator)
            inner = self.criterion.select(trained, data, stream(root, "criterion"))
            if inner.scores is None:
                raise ValueError(f"{entry.name!r} gave a cell without scores: nothing can be shuffled")
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

    return Shuffled
