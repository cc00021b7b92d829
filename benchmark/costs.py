"""Parameters and multiply-adds of NAS-Bench-201's networks, in closed form: exact integers, nothing is built.

The counting is that of the benchmark, found by fitting its columns and explained term by term. With C channels, N cells
in a stage, K classes and images of S x S, the stages have (C, S), (2C, S/2) and (4C, S/4) channels and pixels a side:

    part of the network             parameters                     multiply-adds
    stem: 3x3 from colour, BN       27 C + 2C                      27 C S²
    reduction from c/2 to c:                                       the convolutions' weights x (the new side)²
      3x3, BN, 3x3, BN, 1x1         9 c²/2 + 2c + 9 c² + 2c + c²/2
    last BN                         2 · 4C                         0
    linear                          4C K + K                       4C K + K
    a k x k on an edge, BN          N Σ over stages (k² c² + 2c)   N Σ over stages k² c² side²
    none, skip, pool on an edge     0                              0

So one multiply-add is one "FLOP", the bias of the linear layer counts as one for each class, and batch norms, ReLUs,
sums and pools count as nothing. All six edges count, live or not: a convolution that leads nowhere is paid for.

For all 15,625 cells and the three data sets this equals the columns of the benchmark's table, to the last integer.
For 204 cells the file NAS-Bench-201-v1_1 averages trials of networks of different size. Each of the 204 is, by the
benchmark's own rule for isomorphic cells, the same as a cell of another size (only half of all cells are): it looks as
if some of their trials had been taken over from such a twin. The numbers here are those of the cell as written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import CONV1X1, CONV3X3, Numbers, operation_counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Skeleton:
    """The network around the cell.

    Raises:
        InputError: when one is not positive, or `size` is no multiple of 4 (it is halved twice).
    """

    classes: int  # K
    size: int = 32  # S, pixels a side
    channels: int = 16  # C, of the first stage
    cells: int = 5  # N, in each of the three stages

    def __post_init__(self) -> None:
        if min(self.classes, self.size, self.channels, self.cells) < 1:
            raise InputError(f"classes, size, channels and cells are positive; got {self}")
        if self.size % 4:
            raise InputError(f"the image is halved twice, so its size is a multiple of 4; got {self.size}")

    @property
    def stages(self) -> tuple[tuple[int, int], ...]:
        """(channels, pixels a side) of the three stages."""
        return tuple((self.channels << stage, self.size >> stage) for stage in range(3))


SKELETONS: Final = {
    "cifar10": Skeleton(classes=10),
    "cifar100": Skeleton(classes=100),
    "imagenet16-120": Skeleton(classes=120, size=16),
}
"""The networks that the benchmark trained, by data set."""


def parameters(numbers: Numbers, skeleton: Skeleton) -> NDArray[np.int64]:
    """(...): the trainable parameters of the cells' networks.

    Raises:
        InputError: when a number is outside 0..15624, or no integer.
    """
    channels, classes = skeleton.channels, skeleton.classes
    fixed = 27 * channels + 2 * channels + sum(14 * c**2 + 4 * c for c, _ in skeleton.stages[1:])
    fixed += 2 * 4 * channels + (4 * channels + 1) * classes
    edges = {k: skeleton.cells * sum(k**2 * c**2 + 2 * c for c, _ in skeleton.stages) for k in (1, 3)}
    return _total(numbers, fixed, edges)


def multiply_adds(numbers: Numbers, skeleton: Skeleton) -> NDArray[np.int64]:
    """(...): the multiply-adds of the cells' networks for one image, as the benchmark counts them ("FLOPs").

    Raises:
        InputError: when a number is outside 0..15624, or no integer.
    """
    channels, classes = skeleton.channels, skeleton.classes
    fixed = 27 * channels * skeleton.size**2 + sum(14 * c**2 * side**2 for c, side in skeleton.stages[1:])
    fixed += (4 * channels + 1) * classes
    edges = {k: skeleton.cells * sum(k**2 * c**2 * side**2 for c, side in skeleton.stages) for k in (1, 3)}
    return _total(numbers, fixed, edges)


def _total(numbers: Numbers, fixed: int, edges: dict[int, int]) -> NDArray[np.int64]:
    """What all networks have, and for each convolution of the cell, by its size, what it adds."""
    counts = operation_counts(numbers)
    return fixed + counts[..., CONV1X1] * edges[1] + counts[..., CONV3X3] * edges[3]
