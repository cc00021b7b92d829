"""True operation strength. Truth: closed forms of additive and product tables, brute force, pandas, known numbers."""

from __future__ import annotations

from itertools import permutations, product
from math import factorial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from dartboard.benchmark import strength as st
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.ground_truth import Metric
from dartboard.benchmark.space import SPACE_SIZE, Cell, E, O, every_cell
from dartboard.benchmark.tables.store import load_table, read_table

METRIC = Metric("cifar10", "test", 200)


@pytest.fixture(scope="module")
def effects() -> NDArray[np.float64]:
    """(E, O): what each operation adds on each edge of an additive table."""
    return np.random.default_rng(1).normal(size=(E, O))


@pytest.fixture(scope="module")
def additive(effects: NDArray[np.float64]) -> st.Grid:
    """The table 50 + the sum of the edges' effects, by a loop over the cells."""
    column = [50 + sum(effects[e, o] for e, o in enumerate(cell.operations)) for cell in every_cell()]
    return st.grid(column)


@pytest.fixture(scope="module")
def small() -> st.Grid:
    """A table without any structure: three edges with three operations each."""
    return np.random.default_rng(2).uniform(10, 95, size=(3, 3, 3))


@pytest.fixture(scope="module")
def embedded() -> st.Grid:
    """The embedded table."""
    return st.grid(load_table("analog").accuracy[METRIC])


def others_axes(edge: int) -> tuple[int, ...]:
    """The axes of the other edges."""
    return tuple(e for e in range(E) if e != edge)


def test_a_grid_is_indexed_by_operations() -> None:
    """`grid(column)[cell.operations]` is the column's value at the cell's number; another length is refused."""
    values = st.grid(np.arange(SPACE_SIZE))
    assert all(values[cell.operations] == cell.number for cell in every_cell())
    with pytest.raises(InputError, match=r"one value for each of the 15625 cells; got the shape \(3,\)"):
        st.grid([1, 2, 3])


def test_strengths_are_pandas_means_and_maxima(embedded: st.Grid) -> None:
    """Average and best strength are pandas' group means and maxima over the cells, edge by edge."""
    frame = pd.DataFrame([cell.operations for cell in every_cell()])
    frame["accuracy"] = embedded.reshape(-1)
    for edge in range(E):
        by_operation = frame.groupby(edge)["accuracy"]
        np.testing.assert_allclose(st.average_strength(embedded)[edge], by_operation.mean(), rtol=1e-12)
        np.testing.assert_array_equal(st.best_strength(embedded)[edge], by_operation.max())


def test_without_an_operation_no_cell_has_it() -> None:
    """Of the numbers 0..15624, those of the cells without `none` stay, in order."""
    kept = st.without(st.grid(np.arange(SPACE_SIZE)), 0)
    assert kept.shape == (4,) * 6
    assert kept.reshape(-1).tolist() == [cell.number for cell in every_cell() if 0 not in cell.operations]


def test_an_additive_table_has_its_effects_as_shapley_values(additive: st.Grid, effects: NDArray[np.float64]) -> None:
    """Where edges add up, an edge's share is its own effect, less the effects' mean, their largest, or `none`'s."""
    bases = {"random": effects.mean(axis=1), "best": effects.max(axis=1), "none": effects[:, 0]}
    for game in st.GAMES:
        expected = effects - bases[game][:, None]
        np.testing.assert_allclose(st.shapley_strength(additive, game), expected, atol=1e-12)
        shares = st.shapley(additive, game)
        for cell in (Cell((3, 1, 4, 1, 0, 2)), Cell((1,) * 6)):
            np.testing.assert_allclose(shares[:, *cell.operations], expected[range(E), cell.operations], atol=1e-12)


def test_an_additive_table_has_no_interactions(additive: st.Grid, effects: NDArray[np.float64]) -> None:
    """The variance of each edge alone is its effects' variance; all sets of two edges and more have none."""
    variances = st.variances(additive)
    assert len(variances) == 2**E - 1
    for edges, variance in variances.items():
        assert variance == pytest.approx(effects[edges[0]].var() if len(edges) == 1 else 0, abs=1e-20, rel=1e-12)
    np.testing.assert_allclose(st.shares_by_order(variances), [1, 0, 0, 0, 0, 0], atol=1e-15)


def test_greed_is_right_on_an_additive_table(additive: st.Grid, effects: NDArray[np.float64]) -> None:
    """The largest effect on each edge is what greed takes edge by edge and in every order, and the only optimum."""
    best = tuple(effects.argmax(axis=1))
    assert st.greedy(st.average_strength(additive)) == best
    ends = st.sequential_greedy(additive)
    assert (len(ends), set(ends.values())) == (factorial(E), {best})
    assert np.argwhere(st.edgewise_optima(additive)).tolist() == [list(best)]


def test_a_product_of_edges_is_one_interaction() -> None:
    """u(x0)·v(x2) with u and v of mean zero has the variance Var u · Var v, all of it of the pair 0, 2."""
    generator = np.random.default_rng(3)
    u, v = (x - x.mean() for x in generator.normal(size=(2, 4)))
    values = np.broadcast_to(u[:, None, None] * v, (4, 3, 4)) + 7.0
    variances = st.variances(values)
    expected = dict.fromkeys(variances, 0.0) | {(0, 2): u.var() * v.var()}
    assert variances == pytest.approx(expected, abs=1e-20, rel=1e-12)
    pairs = np.zeros((3, 3))
    pairs[0, 2] = pairs[2, 0] = 1
    np.testing.assert_allclose(st.pair_shares(variances), pairs, atol=1e-15)


def test_components_add_up_and_are_orthogonal(small: st.Grid) -> None:
    """The parts sum to the table, each has mean zero over each of its edges, and two of them have no covariance."""
    parts = st.components(small)
    np.testing.assert_allclose(sum(parts.values(), np.zeros(small.shape)), small, rtol=1e-12)
    for edges, part in parts.items():
        assert part.shape == tuple(3 if e in edges else 1 for e in range(3))
        for edge in edges:
            np.testing.assert_allclose(part.mean(axis=edge), 0, atol=1e-12)
    full = np.stack([np.broadcast_to(part, small.shape).reshape(-1) for part in parts.values()])
    gram = full @ full.T
    np.testing.assert_allclose(gram - np.diag(np.diag(gram)), 0, atol=1e-9)


@pytest.mark.parametrize("space", ["all", "without none"])
def test_variances_add_up_to_the_tables(embedded: st.Grid, space: str) -> None:
    """Over all orders the shares sum to one, and the variances to numpy's own."""
    values = embedded if space == "all" else st.without(embedded, 0)
    variances = st.variances(values)
    assert sum(variances.values()) == pytest.approx(values.var(), rel=1e-12)
    assert st.shares_by_order(variances).sum() == pytest.approx(1, rel=1e-12)
    pairs = st.pair_shares(variances)
    np.testing.assert_array_equal(pairs, pairs.T)
    assert np.trace(pairs) == pytest.approx(st.shares_by_order(variances)[0], rel=1e-12)
    assert np.triu(pairs, k=1).sum() == pytest.approx(st.shares_by_order(variances)[1], rel=1e-12)


def brute_worth(values: st.Grid, cell: tuple[int, ...], kept: frozenset[int], game: st.Rest) -> float:
    """The worth of the edges in `kept`, from a list of the cells that agree with them."""
    others = [c for c in product(range(3), repeat=3) if all(c[e] == cell[e] for e in kept)]
    if game == "none":
        return float(next(values[c] for c in others if all(c[e] == 0 for e in set(range(3)) - kept)))
    accuracies = [float(values[c]) for c in others]
    return max(accuracies) if game == "best" else sum(accuracies) / len(accuracies)


@pytest.mark.parametrize("game", st.GAMES)
def test_shapley_values_are_the_mean_over_all_orders(small: st.Grid, game: st.Rest) -> None:
    """Of a table without structure: the gain in worth as each edge joins, averaged over all orders of joining."""
    expected = np.zeros((3, *small.shape))
    for cell in product(range(3), repeat=3):
        for order in permutations(range(3)):
            for place, edge in enumerate(order):
                before, after = frozenset(order[:place]), frozenset(order[: place + 1])
                gain = brute_worth(small, cell, after, game) - brute_worth(small, cell, before, game)
                expected[edge, *cell] += gain / factorial(3)
    shares = st.shapley(small, game)
    np.testing.assert_allclose(shares, expected, atol=1e-12)
    average = [[expected[e].take(o, axis=e).mean() for o in range(3)] for e in range(3)]
    np.testing.assert_allclose(st.shapley_strength(small, game), average, atol=1e-12)


@pytest.mark.parametrize("game", st.GAMES)
def test_shapley_values_are_efficient(embedded: st.Grid, game: st.Rest) -> None:
    """In every one of 15,625 cells the shares add up to its accuracy less the mean, the best, or the empty cell's."""
    base = {"random": embedded.mean(), "best": embedded.max(), "none": embedded[(0,) * E]}[game]
    np.testing.assert_allclose(st.shapley(embedded, game).sum(axis=0), embedded - base, atol=1e-9)


def test_the_random_games_average_is_the_main_effect(embedded: st.Grid) -> None:
    """Averaged over the cells with an operation on an edge, the share is the average strength less the mean."""
    np.testing.assert_allclose(
        st.shapley_strength(embedded, "random"), st.average_strength(embedded) - embedded.mean(), atol=1e-9
    )


def test_the_random_games_shares_split_each_component_evenly(embedded: st.Grid) -> None:
    """An edge's share is the sum over the sets with it of the component divided by the set's size."""
    parts = st.components(embedded)
    for edge, share in enumerate(st.shapley(embedded, "random")):
        terms = [part / len(edges) for edges, part in parts.items() if edge in edges]
        np.testing.assert_allclose(share, sum(terms, np.zeros(embedded.shape)), atol=1e-9)


def test_an_unknown_game_is_refused(small: st.Grid) -> None:
    """The error quotes the game and names those there are."""
    with pytest.raises(InputError, match=r"'worst'.*best, none, random"):
        st.worths(small, "worst")  # type: ignore[arg-type]  # that is the claim


def test_sequential_greed_takes_the_best_mean_of_what_agrees(small: st.Grid) -> None:
    """For each of the six orders of three edges: pick by the mean over a list of the cells that still agree."""
    for order, end in st.sequential_greedy(small).items():
        fixed: dict[int, int] = {}
        for edge in order:
            means = []
            for operation in range(3):
                wanted = fixed | {edge: operation}
                agreeing = [c for c in product(range(3), repeat=3) if all(c[e] == o for e, o in wanted.items())]
                means.append(sum(small[c] for c in agreeing) / len(agreeing))
            fixed[edge] = int(np.argmax(means))
        assert end == tuple(fixed[e] for e in range(3))


def test_edgewise_optima_have_no_better_neighbour(embedded: st.Grid) -> None:
    """A cell is one exactly when none of its 24 neighbours, one edge away, is more accurate."""
    optimal = st.edgewise_optima(embedded)
    for number in np.random.default_rng(4).integers(0, SPACE_SIZE, 300).tolist() + np.flatnonzero(optimal).tolist():
        cell = Cell.from_number(number).operations
        neighbours = [(*cell[:e], o, *cell[e + 1 :]) for e in range(E) for o in range(O)]
        assert optimal[cell] == (embedded[cell] >= max(embedded[n] for n in neighbours))


def test_greed_can_be_wrong_by_everything() -> None:
    """Two edges that must agree: each is best by the mean with operation 1, and together that is the worst cell."""
    values = np.array([[0.0, 90.0, 0.0], [90.0, 1.0, 30.0], [0.0, 30.0, 50.0]])
    assert st.greedy(st.average_strength(values)) == (1, 1)
    assert st.sequential_greedy(values) == {(0, 1): (1, 0), (1, 0): (0, 1)}
    assert np.argwhere(st.edgewise_optima(values)).tolist() == [[0, 1], [1, 0], [2, 2]]


def test_rank_agreement_is_pandas_spearman() -> None:
    """With ties and without, and with one row for all: pandas' Spearman correlation; 0 where a row is constant."""
    generator = np.random.default_rng(5)
    one, other = generator.integers(0, 4, (40, O)).astype(float), generator.normal(size=(40, O))
    expected = [
        pd.DataFrame({"a": a, "b": b}).corr(method="spearman").iloc[0, 1] for a, b in zip(one, other, strict=True)
    ]
    np.testing.assert_allclose(st.rank_agreement(one, other), np.nan_to_num(expected), atol=1e-12)
    alone = np.arange(O, dtype=float)[None]
    np.testing.assert_array_equal(
        st.rank_agreement(alone, other), st.rank_agreement(np.repeat(alone, 40, axis=0), other)
    )
    assert st.rank_agreement(np.zeros((1, O)), other)[0] == 0
    excluded = np.array([[-np.inf, 0.0, 1.0, 2.0, -np.inf]])
    assert st.rank_agreement(excluded, np.array([[0.0, 5.0, 6.0, 7.0, 0.0]]))[0] == pytest.approx(1)


@pytest.mark.shared_data
def test_the_official_tables_known_numbers(shared_data: Path) -> None:
    """What was worked out before from another copy of the official table, to the digits that were noted."""
    table = read_table(shared_data / "nb201_official.csv.gz").table
    values = st.grid(table.accuracy[METRIC])
    average, best = st.average_strength(values), st.best_strength(values)
    assert (round(values.mean(), 2), round(float(np.median(values)), 2), round(values.max(), 3)) == (
        87.06,
        90.73,
        94.373,
    )
    agreement = st.rank_agreement(average, best)
    assert round(agreement.mean(), 2) == 0.66
    assert round(agreement[3], 1) == -0.1  # edge 3<-0, where the best cell has a skip
    prior = np.array([[0, 2, 3, 4, 1]], dtype=float)  # none < pool < skip < 1x1 < 3x3
    assert round(st.rank_agreement(prior, average).mean(), 2) == 0.95
    assert best[3].argmax() == 1
    bare = st.without(values, 0)
    assert (round(bare.mean(), 1), round(float(np.median(bare)), 1), round(np.percentile(bare, 5), 1)) == (
        89.4,
        91.4,
        78.5,
    )
    assert round(values[st.greedy(average)], 2) == 93.76
    assert average.shape == (E, O)
