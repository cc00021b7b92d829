"""How well the scores of criteria tell true operation strength, beside what controls would: pure functions of records.

True strength is the table's alone (`benchmark/strength.py`): the average and the best accuracy of all cells with an
operation on an edge. Agreement is by rank, since scores have units of their own:

    edges   Spearman's rho or Kendall's tau-b over the 5 operations of an edge, averaged over the 6 edges
    all     the same over all 30 at once, which also asks whether scores compare between edges

Where all scores (or strengths) are equal the agreement is 0; a score that is not finite, of an excluded operation,
ranks last. Over pairs i, j,

    tau-b = Σ sign(a_i - a_j) sign(b_i - b_j) / sqrt(Σ sign(a_i - a_j)² · Σ sign(b_i - b_j)²)

(M. G. Kendall, "The treatment of ties in ranking problems", Biometrika 33, 1945).

A criterion is held against its controls on the same supernets, pair by pair: `prior` (a constant order), `random` and
its kin (which have no scores), the criterion's own scores shuffled, and a *random order*, whose agreement is 0 on the
average.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dartboard.benchmark.strength import average_strength, best_strength, grid, rank_agreement
from dartboard.results.aggregate import Summary, summarise
from dartboard.results.judged import undecided
from dartboard.results.records import RunRecord
from dartboard.results.statistics import PairedTest, generator, holm, permutation_test

Matrix = NDArray[np.float64]  # (E, O)

TRUTHS: Final = ("average", "best")
MEASURES: Final = ("spearman", "kendall")
FIGURES: Final = tuple(
    f"{measure}_{scope}_{truth}" for truth in TRUTHS for scope in ("edges", "all") for measure in MEASURES
)
"""The eight figures of agreement, like `spearman_edges_average`."""

TESTED: Final = ("accuracy", "spearman_edges_average", "spearman_edges_best")
"""What criteria are held against their controls in."""

RANDOM_ORDER: Final = "random order"
SIGNIFICANT: Final = 0.05
NOT_TOLD_APART: Final = "not told apart"


def true_strengths(column: ArrayLike) -> dict[str, Matrix]:
    """The average and the best accuracy of each operation on each edge, by the names of `TRUTHS`.

    Args:
        column: (15625,), accuracies by `Cell.number`; a constant added to all changes no rank.

    Raises:
        InputError: when there are not so many values.
    """
    values = grid(column)
    return {"average": average_strength(values), "best": best_strength(values)}


def tau_b(a: ArrayLike, b: ArrayLike) -> float:
    """Kendall's tau-b of two lists; 0 where one of them is constant."""
    first, second = (np.greater.outer(x, x) * 1.0 - np.less.outer(x, x) for x in (a, b))
    norm = sqrt(float(np.square(first).sum() * np.square(second).sum()))
    return float((first * second).sum()) / norm if norm else 0.0


def rho(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's rank correlation of two lists; 0 where one of them is constant."""
    return float(rank_agreement(np.asarray(a)[None], np.asarray(b)[None])[0])


def agreement(scores: Matrix, strengths: Mapping[str, Matrix]) -> dict[str, float]:
    """All of `FIGURES` for scores (E, O)."""
    found = {}
    for truth in TRUTHS:
        strength = strengths[truth]
        for measure, correlate in (("spearman", rho), ("kendall", tau_b)):
            edges = [correlate(mine, true) for mine, true in zip(scores, strength, strict=True)]
            found[f"{measure}_edges_{truth}"] = statistics.fmean(edges)
            found[f"{measure}_all_{truth}"] = correlate(scores.ravel(), strength.ravel())
    return found


def random_order_std(measure: str, n: int) -> float:
    """The standard deviation of the agreement of n things in random order with an order without ties.

    1/sqrt(n - 1) of Spearman's rho, sqrt(2(2n + 5)/(9n(n - 1))) of Kendall's tau.
    """
    return sqrt(1 / (n - 1)) if measure == "spearman" else sqrt(2 * (2 * n + 5) / (9 * n * (n - 1)))


def score_array(record: RunRecord) -> Matrix | None:
    """(E, O), minus infinity where a score is not finite; None where the record has none."""
    if record.scores is None:
        return None
    return np.array([[-np.inf if x is None else x for x in row] for row in record.scores])


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionRow:
    """One selector over the supernets of a search method."""

    searcher: str | None  # None: all of them together
    selector: str
    control: str | None
    failed: int
    tied: int  # supernets on which its best scores were equal on every edge: the cell is the tie-break's
    accuracy: Summary | None  # percent; not of ties, as the next two
    regret: Summary | None  # percentage points
    rank: float | None  # the median; 1 is the best cell
    scored: int  # runs with scores
    figures: Mapping[str, Summary]  # by the names of `FIGURES`; {} without scores
    images: Summary | None  # pushed by a selection


def criteria(records: Sequence[RunRecord], column: ArrayLike) -> list[CriterionRow]:
    """Every selector, by search method; then over all methods where there are several. A selector's failed runs count.

    Args:
        records: of one data set and one metric.
        column: (15625,), the accuracies that judged them, perhaps but for a constant.

    Raises:
        InputError: when the column is none of the whole space.
    """
    strengths = true_strengths(column)
    groups: dict[tuple[str | None, str], list[RunRecord]] = {}
    for record in records:
        groups.setdefault((record.searcher, record.selector), []).append(record)
    if len({record.searcher for record in records}) > 1:
        for record in records:
            groups.setdefault((None, record.selector), []).append(record)
    return [_criterion(searcher, selector, rows, strengths) for (searcher, selector), rows in groups.items()]


def _criterion(
    searcher: str | None, selector: str, rows: Sequence[RunRecord], strengths: Mapping[str, Matrix]
) -> CriterionRow:
    done = [record for record in rows if record.ok]
    chosen = [record for record in done if not undecided(record)]
    ranks = [record.rank for record in chosen if record.rank is not None]
    found = [agreement(scores, strengths) for record in done if (scores := score_array(record)) is not None]
    figures = {name: summarise(each[name] for each in found) for name in FIGURES}
    return CriterionRow(
        searcher=searcher,
        selector=selector,
        control=rows[0].control,
        failed=len(rows) - len(done),
        tied=len(done) - len(chosen),
        accuracy=summarise(record.accuracy for record in chosen),
        regret=summarise(record.regret for record in chosen),
        rank=statistics.median(ranks) if ranks else None,
        scored=len(found),
        figures={name: summary for name, summary in figures.items() if summary is not None},
        images=summarise(record.selection_images for record in done),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainstControl:
    """A criterion against one of its controls on the same supernets."""

    selector: str
    against: str  # a control, or `RANDOM_ORDER`
    measure: str  # of `TESTED`
    difference: Summary  # the criterion's minus the control's
    better: int
    equal: int
    worse: int
    test: PairedTest
    corrected_p: float  # Holm's, over all comparisons in this measure

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `not told apart`."""
        if self.corrected_p >= SIGNIFICANT:
            return NOT_TOLD_APART
        return "better" if self.difference.mean > 0 else "worse"


def against_controls(records: Sequence[RunRecord], column: ArrayLike, *, dataset: str = "") -> list[AgainstControl]:
    """Every criterion against each of its controls in each measure; Holm's correction within a measure.

    Args:
        records: of one data set and one metric.
        column: as `criteria`'s.
        dataset: a name for the stream that signs are drawn from where there are too many to go through.

    Raises:
        InputError: when the column is none of the whole space.
    """
    strengths = true_strengths(column)
    values: dict[str, dict[str, dict[Any, float]]] = {}  # by measure, selector and supernet
    for record in records:
        if not record.ok:
            continue
        scores = score_array(record)
        told = {} if scores is None else agreement(scores, strengths)
        for measure in TESTED:
            value = told.get(measure)
            if measure == "accuracy" and not undecided(record):  # a tie-break's cell is not the criterion's
                value = record.accuracy
            if value is not None:
                values.setdefault(measure, {}).setdefault(record.selector, {})[record.search] = value
    kinds = {record.selector: record.control for record in records}
    found = []
    for measure in TESTED:
        mine = values.get(measure, {})
        rows = []
        for selector in (name for name in kinds if kinds[name] is None and name in mine):
            for control in (name for name in kinds if kinds[name] == "blind" and name in mine):
                if _controls(control, selector):
                    shared = [search for search in mine[selector] if search in mine[control]]
                    rows.append((selector, control, [mine[selector][s] - mine[control][s] for s in shared]))
            if measure != "accuracy":
                rows.append((selector, RANDOM_ORDER, list(mine[selector].values())))
        rows = [row for row in rows if row[2]]
        tests = [permutation_test(d, generator("criteria", dataset, measure, s, c)) for s, c, d in rows]
        for (selector, control, differences), test, p in zip(rows, tests, holm([t.p for t in tests]), strict=True):
            difference = summarise(differences)
            assert difference is not None
            found.append(
                AgainstControl(
                    selector=selector,
                    against=control,
                    measure=measure,
                    difference=difference,
                    better=sum(d > 0 for d in differences),
                    equal=sum(d == 0 for d in differences),
                    worse=sum(d < 0 for d in differences),
                    test=test,
                    corrected_p=p,
                )
            )
    return found


def _controls(control: str, selector: str) -> bool:
    """Whether a control is one of this criterion: of another's shuffled scores it is not."""
    shuffled = control.removeprefix("shuffled").lstrip(":-") if control.startswith("shuffled") else selector
    return shuffled == selector
