"""The NAS-Bench-201 cell space: what a cell is, how it is written, and what can be said of it without training.

X. Dong, Y. Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020,
arXiv:2001.00326.

A cell is a complete directed graph over nodes 0..3; node 0 is the input, node 3 the output, and each of the
E = 6 edges carries one of O = 5 operations. A node is the sum of its incoming edges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dartboard.benchmark.errors import InputError

OPERATIONS: Final = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The O = 5 operations, in the benchmark's order: the columns of every (E, O) array."""

EDGES: Final = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
"""The E = 6 edges as (target, source), in the benchmark's order: the rows of every (E, O) array."""

E: Final = len(EDGES)
O: Final = len(OPERATIONS)  # noqa: E741  (the papers' own letter)
SPACE_SIZE: Final = O**E  # 15,625

NONE, SKIP, CONV1X1, CONV3X3, POOL = range(O)


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One architecture of the space: an operation index for each edge, in the order of `EDGES`.

    Raises:
        InputError: when there are not six indices, or one is outside 0..4.
    """

    operations: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.operations) != E or any(not 0 <= o < O for o in self.operations):
            raise InputError(f"a cell has {E} operation indices in 0..{O - 1}, one per edge; got {self.operations!r}")

    @classmethod
    def parse(cls, text: str) -> Cell:
        """Read the benchmark's own notation, `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`.

        Raises:
            InputError: quoting `text`, when it is not exactly that.
        """
        expected = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
        groups = text.split("+")
        if len(groups) != 3:
            raise InputError(f"not a NAS-Bench-201 cell: {text!r} has {len(groups)} node(s); expected {expected}")
        operations = []
        for target, group in enumerate(groups, start=1):
            inputs = group[1:-1].split("|") if len(group) >= 2 and group[0] == group[-1] == "|" else []
            if len(inputs) != target:
                raise InputError(f"not a NAS-Bench-201 cell: {group!r} in {text!r}; expected {expected}")
            for source, part in enumerate(inputs):
                name, tilde, node = part.partition("~")
                if not tilde or node != str(source):
                    raise InputError(f"not a NAS-Bench-201 cell: {part!r} in {text!r} should end in '~{source}'")
                if name not in OPERATIONS:
                    raise InputError(
                        f"not a NAS-Bench-201 cell: unknown operation {name!r} in {text!r}; one of {', '.join(OPERATIONS)}"
                    )
                operations.append(OPERATIONS.index(name))
        return cls(tuple(operations))

    @classmethod
    def from_number(cls, number: int) -> Cell:
        """The inverse of `number`.

        Raises:
            InputError: when `number` is outside 0..15624.
        """
        if not 0 <= number < SPACE_SIZE:
            raise InputError(f"a cell's number is in 0..{SPACE_SIZE - 1}; got {number}")
        return cls(tuple(number // O ** (E - 1 - e) % O for e in range(E)))

    @classmethod
    def from_scores(cls, scores: NDArray[np.floating] | Sequence[Sequence[float]]) -> Cell:
        """The cell of the highest score on each edge; the first operation wins a tie.

        Args:
            scores: (E, O), larger is better; -inf excludes an operation.

        Raises:
            InputError: when a score is NaN or the shape is not (E, O).
        """
        array = np.asarray(scores, dtype=np.float64)
        if array.shape != (E, O):
            raise InputError(f"scores have shape ({E}, {O}); got {array.shape}")
        if np.isnan(array).any():
            raise InputError(f"scores hold NaN, which ranks nothing: {array.tolist()}")
        return cls(tuple(int(o) for o in array.argmax(axis=1)))

    @property
    def number(self) -> int:
        """The base-5 rank in 0..15624, edge 1<-0 most significant. It is not the benchmark's official index."""
        rank = 0
        for operation in self.operations:
            rank = rank * O + operation
        return rank

    def one_hot(self) -> NDArray[np.float64]:
        """(E, O): 1 where an edge carries an operation, else 0."""
        return np.eye(O)[list(self.operations)]

    def __str__(self) -> str:
        groups = []
        for target in range(1, 4):
            parts = (
                f"{OPERATIONS[operation]}~{source}"
                for (node, source), operation in zip(EDGES, self.operations, strict=True)
                if node == target
            )
            groups.append("|" + "|".join(parts) + "|")
        return "+".join(groups)


def every_cell() -> Iterator[Cell]:
    """All 15,625 cells, by ascending `number`."""
    return (Cell.from_number(number) for number in range(SPACE_SIZE))
