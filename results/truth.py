"""What a table alone says: how strong each operation is, how edges interact, how far greed gets.

The mathematics is in dartboard.benchmark.strength; here it is put to a table, and told in sentences and as JSON.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dartboard.benchmark import strength as st
from dartboard.benchmark.ground_truth import GroundTruth, Metric, Provenance
from dartboard.benchmark.space import (
    CONV1X1,
    CONV3X3,
    EDGES,
    NONE,
    OPERATIONS,
    POOL,
    SKIP,
    SPACE_SIZE,
    Cell,
    E,
    connected,
    conv_depth,
    depth,
    operation_counts,
)
from dartboard.results.style import EDGE_LABELS, OPERATION_LABELS
from dartboard.results.wording import count, listed, metric_words

STRENGTHS: Final = {
    "average": "the mean over all cells that have it",
    "best": "the best cell that has it",
    "shapley_none": "what it adds to an empty cell (Shapley value)",
    "shapley_best": "its share in the regret (Shapley value)",
}
"""The four strengths of an operation on an edge, in plain words; all in percent or points, larger is better."""

PRIOR: Final = (NONE, POOL, SKIP, CONV1X1, CONV3X3)
"""The constant order that is said to go a long way, weakest first; that of the control `prior`."""

SPACES: Final = ("all cells", "without none")
PERCENTILES: Final = (1, 5, 10, 25, 50, 75, 90, 95, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The accuracies of some cells, in percent; all of them, so that the deviation divides by their number."""

    label: str
    cells: int
    mean: float
    std: float
    low: float
    percentiles: Mapping[int, float]
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A cell that a rule comes to."""

    rule: str
    cell: Cell
    accuracy: float  # percent
    regret: float  # points
    rank: int
    orders: int | None = None  # of the 720 orders of the edges, how many end here


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What one cell's accuracy is made of, by the games of `dartboard.benchmark.strength`."""

    rule: str
    cell: Cell
    accuracy: float
    games: Mapping[str, NDArray[np.float64]]  # (E,) each


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """All that is said of one column of a table."""

    table: Provenance
    metric: Metric
    accuracies: NDArray[np.float64]  # (15625,), by cell number
    best: Cell
    strengths: Mapping[str, NDArray[np.float64]]  # (E, O) each, by STRENGTHS
    agreement: Mapping[tuple[str, str], NDArray[np.float64]]  # (E,): Spearman's rank correlation over operations
    variances: Mapping[str, Mapping[st.Edges, float]]  # by SPACES
    edgewise: tuple[Choice, ...]  # the strongest of each edge, by each strength
    sequential: tuple[Choice, ...]  # edge after edge, the best end first
    optima: tuple[Choice, ...]  # no single edge can be improved, the best first
    spreads: Mapping[str, tuple[Spread, ...]]
    shares: tuple[Shares, ...]


def truth(table: GroundTruth, metric: Metric) -> Truth:
    """Work it all out for one metric; exact, over all cells, in well under a second.

    Raises:
        InputError: when the table has no such metric.
    """
    best = table.best(metric)
    column = table.accuracy[metric]
    ranks = table.rank(np.arange(SPACE_SIZE), metric)
    values = st.grid(column)
    shares = {game: st.shapley(values, game) for game in st.GAMES}  # (E, *grid)
    strengths = {
        "average": st.average_strength(values),
        "best": st.best_strength(values),
        "shapley_none": st.shapley_strength(values, "none"),
        "shapley_best": st.shapley_strength(values, "best"),
    }
    prior = np.argsort(PRIOR).astype(np.float64)[None]  # (1, O): each operation's place in the order

    def chosen(rule: str, cell: Cell, orders: int | None = None) -> Choice:
        return Choice(
            rule=rule,
            cell=cell,
            accuracy=float(column[cell.number]),
            regret=float(column.max() - column[cell.number]),
            rank=int(ranks[cell.number]),
            orders=orders,
        )

    edgewise = tuple(chosen(f"edge by edge, {name}", Cell(st.greedy(strength))) for name, strength in strengths.items())
    ends = Counter(st.sequential_greedy(values).values())
    optima = np.argwhere(st.edgewise_optima(values))
    told = {best: "best"} | {Cell((o,) * E): f"all {OPERATION_LABELS[o]}" for o in (CONV3X3, CONV1X1, SKIP, POOL)}
    told.setdefault(edgewise[0].cell, "edge by edge")
    return Truth(
        table=table.provenance,
        metric=metric,
        accuracies=column,
        best=best,
        strengths=strengths,
        agreement={
            ("average", "best"): st.rank_agreement(strengths["average"], strengths["best"]),
            ("prior", "average"): st.rank_agreement(prior, strengths["average"]),
            ("prior", "best"): st.rank_agreement(prior, strengths["best"]),
        },
        variances={SPACES[0]: st.variances(values), SPACES[1]: st.variances(st.without(values, NONE))},
        edgewise=edgewise,
        sequential=_ranked(chosen("edge after edge", Cell(cell), orders) for cell, orders in ends.items()),
        optima=_ranked(chosen("right edge by edge", Cell(tuple(cell))) for cell in optima.tolist()),
        spreads=_spreads(column),
        shares=tuple(
            Shares(
                rule=rule,
                cell=cell,
                accuracy=float(column[cell.number]),
                games={game: share.reshape(E, -1)[:, cell.number] for game, share in shares.items()},
            )
            for cell, rule in told.items()
        ),
    )


def _ranked(choices: Iterable[Choice]) -> tuple[Choice, ...]:
    return tuple(sorted(choices, key=lambda choice: (choice.rank, -(choice.orders or 0), choice.cell)))


def _spreads(column: NDArray[np.float64]) -> dict[str, tuple[Spread, ...]]:
    """The accuracies of all cells, and by what is in a cell."""
    numbers = np.arange(SPACE_SIZE)
    counts = operation_counts(numbers)
    cut = np.where(connected(numbers), 0, -1)  # -1: no path at all
    groupings = {
        "skips": counts[:, SKIP],
        "convolutions": counts[:, CONV1X1] + counts[:, CONV3X3],
        "pools": counts[:, POOL],
        "nones": counts[:, NONE],
        "convolutions on a path": conv_depth(numbers) + cut,
        "edges on a path": depth(numbers) + cut,
    }
    spaces = (_spread(SPACES[0], column), _spread(SPACES[1], column[counts[:, NONE] == 0]))
    return {"space": spaces} | {
        name: tuple(
            _spread("no path" if value < 0 else str(value), column[labels == value]) for value in np.unique(labels)
        )
        for name, labels in groupings.items()
    }


def _spread(label: str, accuracies: NDArray[np.float64]) -> Spread:
    return Spread(
        label=label,
        cells=len(accuracies),
        mean=float(accuracies.mean()),
        std=float(accuracies.std()),
        low=float(accuracies.min()),
        percentiles=dict(zip(PERCENTILES, np.percentile(accuracies, PERCENTILES).tolist(), strict=True)),
        high=float(accuracies.max()),
    )


def sentences(found: Truth) -> list[str]:
    """What it comes to, in sentences written from the numbers."""
    every, some = found.spreads["space"]
    means, bests = found.strengths["average"], found.strengths["best"]
    agreement = {pair: float(r.mean()) for pair, r in found.agreement.items()}
    least = int(found.agreement["average", "best"].argmin())
    greed, first, last, trap = found.edgewise[0], found.sequential[0], found.sequential[-1], found.optima[-1]
    orders = [choice.orders or 0 for choice in found.sequential]
    found_best = sum(n for n, choice in zip(orders, found.sequential, strict=True) if not choice.regret)
    one, two, more = zip(*(_orders(found.variances[space]) for space in SPACES), strict=True)
    pairs = 100 * np.triu(st.pair_shares(found.variances[SPACES[0]]), k=1)
    pair = [EDGE_LABELS[edge] for edge in divmod(int(pairs.argmax()), E)]
    return [
        f"The best cell has {found.accuracies.max():.2f} % {metric_words(str(found.metric))}. A random cell has "
        f"{every.mean:.2f} % on average (median {every.percentiles[50]:.2f} %), one without none {some.mean:.2f} % "
        f"(median {some.percentiles[50]:.2f} %).",
        f"By the mean of the cells that have it, the strongest operation is {_strongest(means)}; by the best cell that "
        f"has it, {_strongest(bests)}. The two orders agree by a rank correlation of "
        f"{agreement['average', 'best']:.2f} on average over edges, least on {EDGE_LABELS[least]} "
        f"({found.agreement['average', 'best'][least]:.2f}).",
        f"The constant order {' < '.join(OPERATION_LABELS[o] for o in PRIOR)} agrees with the means by "
        f"{agreement['prior', 'average']:.2f} and with the bests by {agreement['prior', 'best']:.2f}: a criterion has "
        "to exceed that to have shown anything.",
        f"Greed edge by edge, by the means, comes to {greed.accuracy:.2f} % (rank {greed.rank:,}), {greed.regret:.2f} "
        f"points below the best. Edge after edge, by the means given the edges before, it ends in "
        f"{count(len(orders), 'cell')} from {last.accuracy:.2f} to {first.accuracy:.2f} %, depending on the order; "
        f"{found_best} of {sum(orders)} orders end in a best cell.",
        f"{count(len(found.optima), 'cell')} cannot be improved on any single edge. The worst of them has "
        f"{trap.accuracy:.2f} %: to be right on each edge alone can still cost {trap.regret:.2f} points.",
        f"Of the variance between cells {one[0]:.0f} % is due to single edges, {two[0]:.0f} % to pairs and "
        f"{more[0]:.0f} % to more edges at once; among the cells without none {one[1]:.0f}, {two[1]:.0f} and "
        f"{more[1]:.0f} %. The strongest pair is {listed(pair)} ({pairs.max():.1f} %).",
    ]


def _orders(variances: Mapping[st.Edges, float]) -> tuple[float, float, float]:
    """The shares, in percent, of one edge, of two, and of more in the variance."""
    one, two, *more = (100 * st.shares_by_order(variances)).tolist()
    return one, two, sum(more)


def _strongest(strength: NDArray[np.float64]) -> str:
    """Which operation is the largest on how many edges; equals are named together."""
    winners = [
        " or ".join(OPERATION_LABELS[o] for o in np.flatnonzero(np.isclose(row, row.max(), rtol=0, atol=1e-9)).tolist())
        for row in strength
    ]
    return listed(f"{name} on {n} of {E} edges" for name, n in Counter(winners).most_common())


def facts(found: Truth) -> dict[str, Any]:
    """All of it as JSON values (docs/truth.md)."""

    def choice(entry: Choice) -> dict[str, Any]:
        return asdict(entry) | {"cell": str(entry.cell)}

    return {
        "table": found.table.name,
        "table_official": found.table.official,
        "table_sha256": found.table.sha256,
        "metric": str(found.metric),
        "best_cell": str(found.best),
        "best_accuracy": float(found.accuracies.max()),
        "edges": [f"{source}-{target}" for target, source in EDGES],
        "operations": list(OPERATIONS),
        "strength": {name: strength.tolist() for name, strength in found.strengths.items()},
        "agreement": {f"{one}_{other}": values.tolist() for (one, other), values in found.agreement.items()},
        "variance": {
            space: {
                "total": sum(variances.values()),
                "share_by_order": st.shares_by_order(variances).tolist(),
                "share_of_pairs": st.pair_shares(variances).tolist(),
            }
            for space, variances in found.variances.items()
        },
        "edge_by_edge": [choice(entry) for entry in found.edgewise],
        "edge_after_edge": [choice(entry) for entry in found.sequential],
        "right_edge_by_edge": [choice(entry) for entry in found.optima],
        "shares": [
            {"rule": entry.rule, "cell": str(entry.cell), "accuracy": entry.accuracy}
            | {game: share.tolist() for game, share in entry.games.items()}
            for entry in found.shares
        ],
        "distribution": {name: [asdict(spread) for spread in spreads] for name, spreads in found.spreads.items()},
        "findings": sentences(found),
    }
