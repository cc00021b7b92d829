"""How well scores tell true operation strength, as tables: for the CSV files and for a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt
from typing import Any, Final

from dartboard.benchmark.space import E, O
from dartboard.results.aggregate import Summary
from dartboard.results.criteria import (
    FIGURES,
    NOT_TOLD_APART,
    RANDOM_ORDER,
    TESTED,
    AgainstControl,
    CriterionRow,
    random_order_std,
)
from dartboard.results.wording import mean_std


def criterion_cells(rows: Iterable[CriterionRow]) -> list[dict[str, Any]]:
    """criteria.csv: one row for each selector and search method, and one for a random order."""
    rows = list(rows)
    cells = []
    for row in rows:
        told: dict[str, Any] = {
            "searcher": row.searcher or "all",
            "selector": row.selector,
            "control": row.control,
            "ok": _supernets(row),
            "failed": row.failed,
            "tied": row.tied,
            **_spread("accuracy", row.accuracy),
            **_spread("regret", row.regret),
            "rank_median": row.rank,
            "scored": row.scored,
        }
        for name in FIGURES:
            told |= _spread(name, row.figures.get(name))
        cells.append(told | _spread("selection_images", row.images))
    chance: dict[str, Any] = {"searcher": "all", "selector": RANDOM_ORDER, "control": "chance"}
    for name in FIGURES:
        chance |= {f"{name}_mean": 0.0, f"{name}_std": round(_chance_std(name), 6)}
    return [*cells, chance]


def _supernets(row: CriterionRow) -> int:
    """On how many it came to a cell, by itself or by the tie-break."""
    return row.tied + (0 if row.accuracy is None else row.accuracy.n)


def control_cells(found: Iterable[AgainstControl]) -> list[dict[str, Any]]:
    """criteria-tests.csv: one row for each comparison."""
    return [
        {
            "selector": entry.selector,
            "against": entry.against,
            "measure": entry.measure,
            "n": entry.difference.n,
            **_spread("difference", entry.difference),
            "better": entry.better,
            "equal": entry.equal,
            "worse": entry.worse,
            "p": round(entry.test.p, 6),
            "smallest_p": round(entry.test.smallest_p, 6),
            "method": entry.test.method,
            "holm_p": round(entry.corrected_p, 6),
            "verdict": entry.verdict,
        }
        for entry in found
    ]


SHOWN: Final = {
    "spearman_edges_average": "Spearman, average",
    "spearman_edges_best": "Spearman, best",
    "kendall_edges_average": "Kendall, average",
    "kendall_edges_best": "Kendall, best",
    "spearman_all_average": "Spearman, average, all 30",
}
"""The figures of agreement that a report shows, with their heads."""

AGREEMENT_WORDS: Final = (
    "How well the scores agree with the table's true operation strength (the average or the best accuracy of the cells "
    "with an operation on an edge), by rank over an edge's operations, averaged over the edges; the last column over "
    "all 30 at once. Mean ± standard deviation over supernets. Accuracy and rank leave out those on which the best "
    "scores were tied on every edge: the cell is the tie-break's. Controls are in parentheses; a random order has the "
    "deviation that a single supernet would have."
)
"""How to read `agreement_table`."""


def agreement_table(rows: Sequence[CriterionRow]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and lines for a report: by search method, best agreement first, then who has no scores; last, chance."""

    def place(row: CriterionRow) -> tuple[str, bool, float]:
        figure = row.figures.get(FIGURES[0])
        return row.searcher or "~", figure is None, 0.0 if figure is None else -figure.mean

    lines = []
    for row in sorted(rows, key=place):
        others = [f"{n} {what}" for n, what in ((row.failed, "failed"), (row.tied, "tied")) if n]
        lines.append(
            (
                row.searcher or "(all)",
                f"({row.selector})" if row.control else row.selector,
                f"{_supernets(row)} ({', '.join(others)})" if others else str(_supernets(row)),
                mean_std(row.accuracy),
                "-" if row.rank is None else f"{row.rank:,.0f}",
                *(mean_std(row.figures.get(name)) for name in SHOWN),
            )
        )
    chance = (f"0.00 ± {_chance_std(name):.2f}" for name in SHOWN)
    head = ("searcher", "selector", "supernets", "accuracy (%)", "median rank", *SHOWN.values())
    return head, [*lines, ("", f"({RANDOM_ORDER})", "-", "-", "-", *chance)]


TEST_WORDS: Final = (
    "Each criterion less each of its controls on the same supernets, and in brackets p: sign flips of the paired "
    "differences, two-sided, with Holm's correction over all comparisons in the measure; strong where p is below 0.05. "
    "What is not told apart is not shown to be equal. Every comparison: criteria-tests.csv."
)
"""How to read `control_table`."""


def control_table(found: Sequence[AgainstControl]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and lines for a report: a line for each criterion, a column for each control in each of two measures."""
    columns = {
        (entry.measure, _kind(entry.against)): None for entry in found if entry.measure in (TESTED[0], TESTED[1])
    }
    by_place = {(entry.selector, entry.measure, _kind(entry.against)): entry for entry in found}

    def told(selector: str, column: tuple[str, str]) -> str:
        entry = by_place.get((selector, *column))
        if entry is None:
            return "-"
        text = f"{entry.difference.mean:+.2f} [{entry.corrected_p:.3g}]"
        return text if entry.verdict == NOT_TOLD_APART else f"**{text}**"

    names = {TESTED[0]: "accuracy", TESTED[1]: "Spearman, average"}
    head = ("criterion", *(f"{names[measure]}: less {control}" for measure, control in columns))
    lines = [
        (selector, *(told(selector, column) for column in columns))
        for selector in dict.fromkeys(entry.selector for entry in found)
    ]
    return head, lines


def _kind(control: str) -> str:
    """A control's name, or what a criterion's own shuffled scores are called together."""
    return "its own scores shuffled" if control.startswith("shuffled") else control


def _chance_std(figure: str) -> float:
    """Of a random order, in one supernet."""
    measure, scope, _ = figure.split("_")
    return random_order_std(measure, O) / sqrt(E) if scope == "edges" else random_order_std(measure, E * O)


def _spread(name: str, summary: Summary | None) -> dict[str, float | None]:
    if summary is None:
        return {f"{name}_mean": None, f"{name}_std": None}
    return {
        f"{name}_mean": round(summary.mean, 6),
        f"{name}_std": None if summary.std is None else round(summary.std, 6),
    }
