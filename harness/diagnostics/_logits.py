"""The logits of a mixture, whatever searcher made it. Not a diagnostic."""

from __future__ import annotations

from torch import Tensor

from dartboard.benchmark.space import E, O
from dartboard.selectors._gradients import Coordinates


def logits(mixture: Tensor) -> Coordinates:
    """p(z) = softmax(ln p + z) at z = 0, so that z moves the logits; an operation of weight 0 keeps it, and feels none.

    Unlike the coordinates of criteria, which refuse such a mixture: a search that has dropped operations goes on with
    those that are left.
    """
    moved = mixture.log()
    return Coordinates(mixture.new_zeros(E, O), lambda z: (moved + z).softmax(-1), "logits", mixture)


def left(mixture: Tensor) -> Tensor:
    """(E, O), bool: which operations have a weight in any cell."""
    return mixture > 0 if mixture.dim() == 2 else (mixture > 0).any(0)
