"""How strong each operation truly is on each edge, from a table of all cells alone: what scores should be.

The table is taken as a *grid*: an array with one axis for each edge and one place on it for each operation, so that
`values[operations]` is a cell's accuracy. All of it is exact over the whole grid and holds for grids of any number of
axes; a smaller space (`without`) is a grid like any other, save that the game `none` needs `none` in its place.

**Games.** For Shapley values (L. S. Shapley, "A Value for n-Person Games", 1953) the players are the edges of a cell x,
each of which brings the operation that x has there. The worth v_x(S) of a set S of edges is an accuracy in which S
carries x's operations; what the rest of the edges carries makes the game:

- `random`: the rest is drawn uniformly, v_x(S) is the mean. The edges' shares add up to x's accuracy less the space's
  mean. Averaged over all cells with an operation on an edge, its share is that operation's main effect: its average
  strength less the mean. So the average says nothing new; it is the shares within one cell that do.
- `best`: the rest is the best there is, v_x(S) is the maximum. The shares add up to x's accuracy less the best cell's:
  they say to which of x's edges its regret is due.
- `none`: the rest is `none`, as when edges are put into an empty cell one by one in random order. The shares add up to
  x's accuracy less the empty cell's. Of the three it is the nearest to Shapley-NAS (H. Xiao et al., "Shapley-NAS:
  Discovering Operation Contribution for Neural Architecture Search", CVPR 2022, arXiv:2206.09811), whose players are
  all 30 operations of a supernet and whose worth is the supernet's own accuracy.

**Variance.** The functional analysis of variance (W. Hoeffding, 1948; I. M. Sobol', 1993) writes the accuracy as a sum
of one function for each set of edges, f(x) = Σ_T f_T(x_T), each of mean zero over every edge in T. Over the full
factorial they are orthogonal, so that Var f = Σ_{T≠∅} Var f_T exactly: sets of one edge are main effects, of two the
interactions of pairs, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, permutations
from math import factorial
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dartboard.benchmark.errors import InputError, unknown
from dartboard.benchmark.space import NONE, SPACE_SIZE, E, O

Grid: TypeAlias = NDArray[np.float64]  # one axis for each edge, as long as there are operations
Edges: TypeAlias = tuple[int, ...]  # ascending
Rest: TypeAlias = Literal["random", "best", "none"]

GAMES: Final[tuple[Rest, ...]] = get_args(Rest)


def grid(column: ArrayLike) -> Grid:
    """(O, O, O, O, O, O): a table's column, indexed by `Cell.operations`.

    Args:
        column: (15625,), by `Cell.number`.

    Raises:
        InputError: when there are not so many values.
    """
    values = np.asarray(column, dtype=np.float64)
    if values.shape != (SPACE_SIZE,):
        raise InputError(f"a column has one value for each of the {SPACE_SIZE} cells; got the shape {values.shape}")
    return values.reshape((O,) * E)


def without(values: Grid, operation: int) -> Grid:
    """The grid of the cells that carry that operation on no edge."""
    for edge in range(values.ndim):
        values = np.delete(values, operation, axis=edge)
    return values


def average_strength(values: Grid) -> NDArray[np.float64]:
    """(edges, operations): the mean over all cells with that operation on that edge."""
    return np.stack([values.mean(axis=_but(edge, values)) for edge in range(values.ndim)])


def best_strength(values: Grid) -> NDArray[np.float64]:
    """(edges, operations): the best cell with that operation on that edge.

    The largest on each edge is the best cell's, so that to pick it is no way to search: it is to know the answer.
    (Where several cells are the best, picking edge by edge can mix them.)
    """
    return np.stack([values.max(axis=_but(edge, values)) for edge in range(values.ndim)])


def worths(values: Grid, rest: Rest) -> dict[Edges, Grid]:
    """v_x(S) for every set S of edges and every cell x, with length 1 along the edges outside S.

    Raises:
        InputError: when there is no such game.
    """
    if rest not in GAMES:
        raise unknown("game", rest, GAMES)
    games: dict[Edges, Grid] = {tuple(range(values.ndim)): values}
    for size in range(values.ndim, 0, -1):
        for edges in combinations(range(values.ndim), size):
            for edge in edges:
                fewer = tuple(other for other in edges if other != edge)
                if fewer not in games:
                    games[fewer] = _leave(games[edges], edge, rest)
    return games


def _leave(worth: Grid, edge: int, rest: Rest) -> Grid:
    """The worth once an edge has left the coalition."""
    if rest == "random":
        return np.asarray(worth.mean(axis=edge, keepdims=True))
    if rest == "best":
        return np.asarray(worth.max(axis=edge, keepdims=True))
    return worth.take([NONE], axis=edge)


def shapley(values: Grid, rest: Rest) -> NDArray[np.float64]:
    """(edges, *grid): every edge's share in every cell.

    φ_e(x) = Σ_{S ∌ e} |S|! (n - |S| - 1)! / n! · (v_x(S ∪ {e}) - v_x(S)) over the n edges, by all 2ⁿ sets.

    Raises:
        InputError: when there is no such game.
    """
    n = values.ndim
    games = worths(values, rest)
    shares = np.zeros((n, *values.shape))
    for edges, worth in games.items():
        weight = factorial(len(edges)) * factorial(n - len(edges) - 1) / factorial(n) if len(edges) < n else 0.0
        for edge in set(range(n)) - set(edges):
            shares[edge] += weight * (games[tuple(sorted((*edges, edge)))] - worth)
    return shares


def shapley_strength(values: Grid, rest: Rest) -> NDArray[np.float64]:
    """(edges, operations): an edge's share, averaged over all cells with that operation on it.

    Raises:
        InputError: when there is no such game.
    """
    return np.stack([share.mean(axis=_but(edge, values)) for edge, share in enumerate(shapley(values, rest))])


def components(values: Grid) -> dict[Edges, Grid]:
    """f_T for every set T of edges, with length 1 along the edges outside T; their sum is the grid."""
    parts: dict[Edges, Grid] = {(): values}
    for edge in range(values.ndim):
        split = {}
        for edges, part in parts.items():
            split[edges] = part.mean(axis=edge, keepdims=True)
            split[*edges, edge] = part - split[edges]
        parts = split
    return parts


def variances(values: Grid) -> dict[Edges, float]:
    """Var f_T for every set T of one edge or more, smallest sets first; their sum is the grid's variance."""
    parts = components(values)
    return {edges: float(np.square(parts[edges]).mean()) for edges in sorted(parts, key=lambda t: (len(t), t)) if edges}


def shares_by_order(shares: Mapping[Edges, float]) -> NDArray[np.float64]:
    """(edges,): how much of the variance is due to sets of 1, 2, ... edges; adds up to 1 unless nothing varies."""
    by_order = np.zeros(max(map(len, shares)))
    for edges, variance in shares.items():
        by_order[len(edges) - 1] += variance
    total = by_order.sum()
    return by_order / total if total else by_order


def pair_shares(shares: Mapping[Edges, float]) -> NDArray[np.float64]:
    """(edges, edges), symmetric: the share of each pair's interaction in the variance; main effects on the diagonal."""
    matrix = np.zeros((max(map(len, shares)),) * 2)
    for edges, variance in shares.items():
        if len(edges) <= 2:
            matrix[edges[0], edges[-1]] = matrix[edges[-1], edges[0]] = variance
    total = sum(shares.values())
    return matrix / total if total else matrix


def greedy(strength: NDArray[np.float64]) -> tuple[int, ...]:
    """The strongest operation of each edge, chosen for itself; the first of equals."""
    return tuple(int(operation) for operation in strength.argmax(axis=1))


def sequential_greedy(values: Grid) -> dict[tuple[int, ...], tuple[int, ...]]:
    """The cell that each order of the edges ends in, when they are fixed one after the other.

    Each gets the operation of the highest mean over cells that agree with what is fixed already; the first of equals.
    """
    means = worths(values, "random")
    cells = {}
    for order in permutations(range(values.ndim)):
        chosen = [0] * values.ndim  # a 0 where nothing is fixed yet: those axes have length 1
        for place, edge in enumerate(order):
            row: list[int | slice] = [*chosen]
            row[edge] = slice(None)
            chosen[edge] = int(means[tuple(sorted(order[: place + 1]))][tuple(row)].argmax())
        cells[order] = tuple(chosen)
    return cells


def edgewise_optima(values: Grid) -> NDArray[np.bool_]:
    """(*grid): the cells that no other operation on any single edge would improve: right edge by edge."""
    optimal = np.ones(values.shape, dtype=bool)
    for edge in range(values.ndim):
        optimal &= values == values.max(axis=edge, keepdims=True)
    return optimal


def rank_agreement(strengths: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """(edges,): Spearman's rank correlation of two strengths' operations on each edge; 0 where one is constant."""
    a, b = (_ranks(both) for both in np.broadcast_arrays(strengths, others))
    norms = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    agreement = np.zeros(len(norms))
    np.divide((a * b).sum(axis=1), norms, out=agreement, where=norms > 0)
    return agreement


def _ranks(strengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """(edges, operations): ranks less their mean; equals share the mean of theirs."""
    mine, others = strengths[:, :, None], strengths[:, None, :]
    return np.asarray(((mine > others).sum(axis=2) - (mine < others).sum(axis=2)) / 2)


def _but(edge: int, values: Grid) -> Edges:
    return tuple(other for other in range(values.ndim) if other != edge)
