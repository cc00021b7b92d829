"""How selections that were made again scatter within a supernet, and what a budget buys: pure functions of records.

`summarise_repeats` says of each supernet and selector how far its answers scatter, its parts how they converge with the
effort, `budget_points` what accuracy a budget of images buys.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dartboard.benchmark.space import Cell
from dartboard.results.aggregate import Summary, summarise
from dartboard.results.records import RunRecord, SearchKey
from dartboard.results.repeats import RepeatKey, RepeatRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """One selector's answers for one trained supernet over its repeats."""

    search: SearchKey
    selector: str
    control: str | None
    budget: int | None
    knob: str | None
    effort: int | None
    part: int | None  # as in `RepeatKey`
    failed: int
    accuracy: Summary | None  # percent; its standard deviation is the within-supernet one
    images: float | None  # mean
    modal_cell: str | None  # the cell chosen most often (of equals, the first)
    modal_share: float | None  # of the repeats; None where there are not two
    score_std: NDArray[np.float64] | None  # (E, O), the sample's over the repeats; NaN where a score is not finite
    noise: float | None  # of the scores: see `score_noise`
    agreement: float | None  # of a part: the share of edges on which it chose what its own repeat did in the end

    @property
    def repeats(self) -> int:
        """How many came to a cell."""
        return 0 if self.accuracy is None else self.accuracy.n


def summarise_repeats(records: Sequence[RepeatRecord]) -> list[Scatter]:
    """The repeats by supernet, selector, budget and part, in order of first appearance."""
    groups: dict[tuple[Any, ...], list[RepeatRecord]] = {}
    whole = {record.key: record for record in records if record.part is None and record.ok}
    for record in records:
        groups.setdefault((record.search, record.selector, record.budget, record.part), []).append(record)
    return [_scatter(rows, whole) for rows in groups.values()]


def _scatter(rows: Sequence[RepeatRecord], whole: Mapping[RepeatKey, RepeatRecord]) -> Scatter:
    done = [record for record in rows if record.ok and record.cell is not None]
    first = done[0] if done else rows[0]
    cells = Counter(record.cell for record in done)
    modal = max(cells, key=cells.__getitem__) if cells else None
    scores = score_matrix(done)
    ends = [(record, whole.get(record.key._replace(part=None))) for record in done if record.part is not None]
    same = [_shared_edges(part.cell, end.cell) for part, end in ends if end is not None]
    return Scatter(
        search=first.search,
        selector=first.selector,
        control=first.control,
        budget=first.budget,
        knob=first.knob,
        effort=first.effort,
        part=first.part,
        failed=len(rows) - len(done),
        accuracy=summarise(record.accuracy for record in done),
        images=statistics.fmean(record.selection_images or 0 for record in done) if done else None,
        modal_cell=modal,
        modal_share=cells[modal] / len(done) if len(done) > 1 else None,
        score_std=None if scores is None or len(scores) < 2 else scores.std(axis=0, ddof=1),
        noise=None if scores is None else score_noise(scores),
        agreement=statistics.fmean(same) if same else None,
    )


def _shared_edges(one: str | None, other: str | None) -> float:
    assert one is not None
    assert other is not None
    pairs = zip(Cell.parse(one).operations, Cell.parse(other).operations, strict=True)
    return statistics.fmean(a == b for a, b in pairs)


def score_matrix(records: Iterable[RepeatRecord]) -> NDArray[np.float64] | None:
    """(repeats, E, O), NaN where a score is not finite; None where a record has no scores, or there is no record."""
    rows = [record.scores for record in records]
    if not rows or any(row is None for row in rows):
        return None
    return np.array([[[np.nan if x is None else x for x in edge] for edge in row or ()] for row in rows])


def score_noise(scores: NDArray[np.float64]) -> float | None:
    """The scores' standard deviation over repeats, as a multiple of that of their means over an edge's operations.

    What rises or falls by the same for all operations of an edge ranks nothing and counts as neither: the deviation is
    that of the residuals of a two-way layout (repeats x operations), with (r - 1)(k - 1) degrees of freedom. Both are
    root mean squares over the edges of scores (repeats, E, O); an operation with a score that is not finite is left
    out. 0: the same differences each time; 1: as much luck as difference between operations. Means of r repeats scatter
    by luck, too: scores of nothing but luck have about √r. None for one repeat, or equal means.
    """
    if len(scores) < 2:
        return None
    finite = np.asarray(np.isfinite(scores).all(axis=0))
    luck, signal = [], []
    for edge in range(scores.shape[1]):
        values = scores[:, edge, finite[edge]]  # (r, k)
        repeats, operations = values.shape
        if operations > 1:
            means = values.mean(axis=0)
            residuals = values - means - values.mean(axis=1, keepdims=True) + values.mean()
            luck.append(np.square(residuals).sum() / ((repeats - 1) * (operations - 1)))
            signal.append(means.var(ddof=1))
    return float(np.sqrt(np.mean(luck) / np.mean(signal))) if np.sum(signal) > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """One selector over the supernets of a search method: what lies within a supernet, and what between."""

    searcher: str
    dataset: str
    selector: str
    control: str | None
    budget: int | None
    knob: str | None
    part: int | None
    supernets: int
    repeats: int  # in all
    failed: int
    accuracy: Summary | None  # over supernets, of each one's mean
    within_std: float | None  # root mean square of the supernets' own standard deviations
    modal_share: float | None  # mean over supernets, as the next three
    noise: float | None
    agreement: float | None
    images: float | None


def pool(scatters: Sequence[Scatter]) -> list[Pooled]:
    """The scatters over seeds: whole selections first, then each selector's parts; by budget, the smallest first."""
    groups: dict[tuple[Any, ...], list[Scatter]] = {}
    for entry in scatters:
        key = (entry.search.searcher, entry.search.dataset, entry.selector, entry.budget, entry.part)
        groups.setdefault(key, []).append(entry)
    pooled = []
    for (searcher, dataset, selector, budget, part), rows in groups.items():
        stds = [row.accuracy.std for row in rows if row.accuracy is not None and row.accuracy.std is not None]
        pooled.append(
            Pooled(
                searcher=searcher,
                dataset=dataset,
                selector=selector,
                control=rows[0].control,
                budget=budget,
                knob=rows[0].knob,
                part=part,
                supernets=len(rows),
                repeats=sum(row.repeats for row in rows),
                failed=sum(row.failed for row in rows),
                accuracy=summarise(row.accuracy.mean if row.accuracy else None for row in rows),
                within_std=float(np.sqrt(np.mean(np.square(stds)))) if stds else None,
                modal_share=_mean(row.modal_share for row in rows),
                noise=_mean(row.noise for row in rows),
                agreement=_mean(row.agreement for row in rows),
                images=_mean(row.images for row in rows),
            )
        )
    place = {(p.searcher, p.dataset, p.selector): index for index, p in reversed(list(enumerate(pooled)))}

    def order(row: Pooled) -> tuple[bool, int, int, int]:
        return row.part is not None, place[row.searcher, row.dataset, row.selector], row.budget or 0, row.part or 0

    return sorted(pooled, key=order)


def _mean(values: Iterable[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return statistics.fmean(numbers) if numbers else None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPoint:
    """What a budget buys: one selector's accuracy over supernets, for the plot of accuracy against budget."""

    searcher: str
    dataset: str
    selector: str
    control: str | None
    budget: int | None  # None: as configured
    images: float  # that were pushed, the mean
    accuracy: Summary  # over supernets; of repeats, each supernet's mean
    failed: int  # runs that could not keep to the budget, or failed otherwise


def budget_points(records: Sequence[RunRecord], repeats: Sequence[RepeatRecord] = ()) -> list[BudgetPoint]:
    """The points of records.jsonl and of whole selections in repeats.jsonl, by selector and budget, cheapest first.

    Where both hold the same selector, searcher, data set and budget, the repeats count: they are the same from more
    batches. Yardsticks, which push nothing and read the table, are left out.
    """
    grouped: dict[tuple[str, str, str, int | None], dict[int, list[RunRecord | RepeatRecord]]] = {}
    for record in repeats:
        if record.part is None:
            key = (record.searcher, record.dataset, record.selector, record.budget)
            grouped.setdefault(key, {}).setdefault(record.seed, []).append(record)
    repeated = set(grouped)
    for run in records:
        key = (run.searcher, run.dataset, run.selector, run.selection_budget)
        if run.control != "truth" and key not in repeated:
            grouped.setdefault(key, {}).setdefault(run.seed, []).append(run)
    points = []
    for (searcher, dataset, selector, budget), supernets in grouped.items():
        done = {seed: [r for r in rows if r.ok and r.accuracy is not None] for seed, rows in supernets.items()}
        accuracy = summarise(_mean(r.accuracy for r in rows) for rows in done.values())
        if accuracy is None:
            continue
        everything = [r for rows in supernets.values() for r in rows]
        points.append(
            BudgetPoint(
                searcher=searcher,
                dataset=dataset,
                selector=selector,
                control=everything[0].control,
                budget=budget,
                images=statistics.fmean(r.selection_images or 0 for rows in done.values() for r in rows),
                accuracy=accuracy,
                failed=sum(not r.ok for r in everything),
            )
        )
    return sorted(points, key=lambda p: (p.dataset, p.searcher, p.selector, p.images))
