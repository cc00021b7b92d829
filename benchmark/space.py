"""The NAS-Bench-201 cell space: what a cell is, how it is written, and what can be said of it without training.

X. Dong, Y. Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020,
arXiv:2001.00326.

A cell is a complete directed graph over nodes 0..3; node 0 is the input, node 3 the output, and each of the
E = 6 edges carries one of O = 5 operations. A node is the sum of its incoming edges.

Functions of `numbers` take one `Cell.number` or an array of any shape (...), as the columns of a table are indexed, and
answer for all of them at once. An edge is *live* when it lies on a path from input to output that holds no `none`.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dartboard.benchmark.errors import InputError

OPERATIONS: Final = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The O = 5 operations, in the benchmark's order: the columns of every (E, O) array."""

EDGES: Final = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
"""The E = 6 edges as (target, source), in the benchmark's order: the rows of every (E, O) array."""

E: Final = len(EDGES)
O: Final = len(OPERATIONS)  # noqa: E741  (the papers' own letter)
SPACE_SIZE: Final[int] = O**E  # 15,625

NONE, SKIP, CONV1X1, CONV3X3, POOL = range(O)

Numbers: TypeAlias = int | NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One architecture of the space: an operation index for each edge, in the order of `EDGES`.

    Raises:
        InputError: when there are not six indices, or one is outside 0..4.
        TypeError: when one is no integer.
    """

    operations: tuple[int, ...]

    def __post_init__(self) -> None:
        # NumPy's integers become Python's, which every writer of JSON knows.
        object.__setattr__(self, "operations", tuple(operator.index(o) for o in self.operations))
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
                    known = ", ".join(OPERATIONS)
                    raise InputError(f"not a NAS-Bench-201 cell: {name!r} in {text!r} is no operation; one of {known}")
                operations.append(OPERATIONS.index(name))
        return cls(tuple(operations))

    @classmethod
    def from_number(cls, number: int) -> Cell:
        """The inverse of `number`.

        Raises:
            InputError: when `number` is outside 0..15624.
        """
        number = operator.index(number)
        if not 0 <= number < SPACE_SIZE:
            raise InputError(f"a cell's number is in 0..{SPACE_SIZE - 1}; got {number}")
        return cls(tuple(number // O ** (E - 1 - e) % O for e in range(E)))

    @classmethod
    def from_scores(cls, scores: NDArray[np.floating] | Sequence[Sequence[float]]) -> Cell:
        """The cell of the highest score on each edge; the first operation wins a tie.

        Args:
            scores: (E, O), larger is better; -inf excludes an operation.

        Raises:
            InputError: when a score is NaN, all of an edge are -inf, or the shape is not (E, O).
        """
        array = np.asarray(scores, dtype=np.float64)
        if array.shape != (E, O):
            raise InputError(f"scores have shape ({E}, {O}); got {array.shape}")
        if np.isnan(array).any():
            raise InputError(f"scores hold NaN, which ranks nothing: {array.tolist()}")
        if np.isneginf(array).all(axis=1).any():
            raise InputError(f"scores exclude every operation of an edge: {array.tolist()}")
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

    @property
    def counts(self) -> dict[str, int]:
        """How many edges carry each operation, live or not; all five names, in the benchmark's order."""
        return {name: self.operations.count(operation) for operation, name in enumerate(OPERATIONS)}

    @property
    def connected(self) -> bool:
        """Whether any live edge leads from input to output; without one the network's output is constant."""
        return bool(connected(self.number))

    @property
    def depth(self) -> int:
        """The number of edges on the longest live path, skips included (see `depth`)."""
        return int(depth(self.number))

    @property
    def conv_depth(self) -> int:
        """The greatest number of convolutions on a live path."""
        return int(conv_depth(self.number))

    @property
    def width(self) -> float:
        """How much of the cell is fed by the input directly (see `width`)."""
        return float(width(self.number))

    @property
    def formula(self) -> str:
        """The function of the cell, written out; two cells are equivalent exactly when their formulas are equal.

        `3x3(x) + pool(1x1*(x)) + 1x1*(x)`: every convolution written is one of its own, except that those with a
        star are one and the same, used twice. Parts that do not count are gone, a skip is its input, a pool of a sum
        is the sum of pools, and sums are sorted. `0` is a cell without a live path. See `equivalence_classes`.
        """
        to_1, to_2, from_1_to_2, to_3, from_1_to_3, from_2_to_3 = self.operations
        x = ("x",)
        # Only node 1 has two ways out, and so only its convolution can be used twice.
        star = "*" if NONE not in (from_1_to_2, from_1_to_3, from_2_to_3) else ""
        node_1 = _apply(to_1, x, star)
        node_2 = _apply(to_2, x) + _apply(from_1_to_2, node_1)
        return _sum(_apply(to_3, x) + _apply(from_1_to_3, node_1) + _apply(from_2_to_3, node_2)) or "0"

    def canonical(self) -> Cell:
        """The equivalent cell of the smallest number (see `equivalence_classes`)."""
        return Cell.from_number(equivalence_classes()[self.number])

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


def operations_of(numbers: Numbers) -> NDArray[np.int64]:
    """(..., E): the operation index of every edge.

    Raises:
        InputError: when a number is outside 0..15624, or no integer.
    """
    array = np.asarray(numbers)
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"a cell's number is an integer; got an array of {array.dtype}")
    outside = array[(array < 0) | (array >= SPACE_SIZE)]
    if outside.size:
        raise InputError(f"a cell's number is in 0..{SPACE_SIZE - 1}; got {outside[0]}")
    operations: NDArray[np.int64] = array[..., None].astype(np.int64) // O ** np.arange(E - 1, -1, -1) % O
    return operations


def operation_counts(numbers: Numbers) -> NDArray[np.int64]:
    """(..., O): how many edges carry each operation, live or not."""
    counts: NDArray[np.int64] = (operations_of(numbers)[..., None] == np.arange(O)).sum(axis=-2)
    return counts


def live_edges(numbers: Numbers) -> NDArray[np.bool_]:
    """(..., E): whether each edge lies on a path from input to output that holds no `none`."""
    present = operations_of(numbers) != NONE
    reached = np.zeros((*present.shape[:-1], 4), dtype=bool)  # from the input
    useful = np.zeros_like(reached)  # for the output
    reached[..., 0] = useful[..., 3] = True
    for e, (target, source) in enumerate(EDGES):  # by ascending target
        reached[..., target] |= present[..., e] & reached[..., source]
    for e, (target, source) in reversed(list(enumerate(EDGES))):
        useful[..., source] |= present[..., e] & useful[..., target]
    targets, sources = np.array(EDGES).T
    live: NDArray[np.bool_] = present & reached[..., sources] & useful[..., targets]
    return live


def connected(numbers: Numbers) -> NDArray[np.bool_]:
    """(...): whether a live path exists; 341 of the 15,625 cells have none."""
    return np.asarray(live_edges(numbers).any(axis=-1))


def depth(numbers: Numbers) -> NDArray[np.int64]:
    """(...): the number of edges on the longest live path, skips included; 0 without a live path.

    Y. Shu, W. Wang, S. Cai, "Understanding Architectures Learnt by Cell-based Neural Architecture Search", ICLR 2020,
    arXiv:1909.09569, define the depth of a cell as "the number of connections along the longest path from input nodes
    to the output node".
    """
    return _longest_path(numbers, counted=(SKIP, CONV1X1, CONV3X3, POOL))


def conv_depth(numbers: Numbers) -> NDArray[np.int64]:
    """(...): the greatest number of convolutions on a live path; 0 without a live path."""
    return _longest_path(numbers, counted=(CONV1X1, CONV3X3))


def width(numbers: Numbers) -> NDArray[np.float64]:
    """(...): over the nodes 1..3, the sum of the share of the input among a node's live sources, from 0 to 7/3.

    A chain has width 1, two parallel paths by the nodes 1 and 2 have 2, the complete graph has 1 + 1/2 + 1/3. Shu, Wang
    and Cai (see `depth`) define the width as "the total width of the intermediate nodes that are connected to the input
    nodes". Adapted: a node here counts by its share, in units of its channels, and the output node counts too, because
    here it sums operations as an intermediate node does, where theirs only concatenates.
    """
    live = live_edges(numbers)
    total = np.zeros(live.shape[:-1])
    for node in (1, 2, 3):
        incoming = [e for e, (target, _) in enumerate(EDGES) if target == node]  # the first comes from the input
        total += live[..., incoming[0]] / np.maximum(live[..., incoming].sum(axis=-1), 1)
    return total


@lru_cache(maxsize=1)
def equivalence_classes() -> NDArray[np.int64]:
    """(15,625,), read-only: for each cell, the smallest number among the cells equivalent to it; 5,044 are distinct.

    Two cells are equivalent when their live convolutions can be matched, each with one of the same size, so that with
    matched weights both compute the same function of the input, whatever the weights. Such cells train alike, too. What
    is used of the operations:

    - `none` is 0, a skip is the identity, and average pooling (a mean over the pixels there are) is linear, so that
      the pool of a sum is the sum of pools; sums do not depend on order.
    - A convolution (ReLU, convolution, batch norm) of 0 is 0. That is exact in the supernet, whose batch norms have no
      shift; in the benchmark's trained networks such a dead convolution could learn a constant for each channel.
    - Nothing else is known of a convolution. So x + x is not x, and although batch norm takes a factor away again,
      1x1(x + x) is not 1x1(x): they differ by batch norm's epsilon. One convolution used twice is not two convolutions
      with weights of their own, and two parallel 1x1 are not one.

    The benchmark's own rule (`to_unique_str` in D-X-Y/AutoDL-Projects) finds 6,466 classes, or 12,751 where it does not
    look at `none`. It is neither finer nor coarser: it keeps a zero summand apart from no summand, does not sort anew a
    sum that a skip carries into another, and does not use that pooling is linear; but it takes one convolution used
    twice for two.
    """
    smallest: dict[str, int] = {}
    classes = np.array([smallest.setdefault(cell.formula, number) for number, cell in enumerate(every_cell())])
    classes.setflags(write=False)
    return classes


def _sum(terms: tuple[str, ...]) -> str:
    return " + ".join(sorted(terms))


def _apply(operation: int, terms: tuple[str, ...], star: str = "") -> tuple[str, ...]:
    """The summands of an operation's output, given those of its input."""
    if operation == NONE or not terms:
        return ()
    if operation == SKIP:
        return terms
    if operation == POOL:
        return tuple(f"pool({term})" for term in terms)
    return (f"{'1x1' if operation == CONV1X1 else '3x3'}{star}({_sum(terms)})",)


def _longest_path(numbers: Numbers, counted: tuple[int, ...]) -> NDArray[np.int64]:
    """(...): the most edges with an operation of `counted` on a live path; 0 without a live path."""
    operations = operations_of(numbers)
    unreachable = -2 * E  # stays below zero, whatever is added to it on the way
    length = np.array([unreachable if o == NONE else int(o in counted) for o in range(O)])[operations]  # (..., E)
    longest = np.full((*operations.shape[:-1], 4), unreachable)
    longest[..., 0] = 0
    for e, (target, source) in enumerate(EDGES):
        longest[..., target] = np.maximum(longest[..., target], longest[..., source] + length[..., e])
    return np.maximum(longest[..., 3], 0)
