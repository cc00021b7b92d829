"""What the records of a run say, as pure functions of them: no files, no figures, no text.

A standard deviation is the sample's (n - 1), over seeds. With one seed there is none.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dartboard.benchmark.space import CONV1X1, CONV3X3, NONE, POOL, SKIP, Cell
from dartboard.results.judged import accuracy_of, undecided
from dartboard.results.records import EpochRecord, RunKey, RunRecord, SearchKey

COLLAPSED_SKIPS: Final = 4
"""A cell counts as collapsed with so many skips on its six edges, or without a convolution: 921 of 15,625 are so."""

PASSED_THROUGH: Final = 1.0
"""Percentage points that an earlier epoch's cell must have over the last one's to count as lost."""

Numbered = tuple[int, RunRecord]
"""A record with its line in records.jsonl."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Some numbers in short."""

    n: int
    mean: float
    std: float | None  # the sample's; None for one number
    low: float
    high: float


def summarise(values: Iterable[float | None]) -> Summary | None:
    """The values that are not None in short; None when there are none."""
    numbers = [value for value in values if value is not None]
    if not numbers:
        return None
    std = statistics.stdev(numbers) if len(numbers) > 1 else None
    return Summary(n=len(numbers), mean=statistics.fmean(numbers), std=std, low=min(numbers), high=max(numbers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """All seeds of one selector on one search method's supernets."""

    searcher: str
    dataset: str
    selector: str
    control: str | None
    lines: tuple[int, ...]  # the lines of its records, failed ones included
    failed: int
    accuracies: Mapping[str, Summary]  # percent, by metric
    metric: str | None  # of the next three
    accuracy: Summary | None
    regret: Summary | None
    percentile: Summary | None
    free_edges: Summary | None  # edges without parameters: the sum of the next three
    skips: Summary | None
    pools: Summary | None
    nones: Summary | None
    selection_images: Summary | None
    selection_seconds: Summary | None
    search_images: Summary | None

    @property
    def ok(self) -> int:
        """How many runs came to a cell."""
        return len(self.lines) - self.failed


def groups(records: Sequence[Numbered]) -> list[Group]:
    """The records by search method, data set and selector, in the order of their first appearance."""
    members: dict[tuple[str, str, str], list[Numbered]] = {}
    for line, record in records:
        members.setdefault((record.searcher, record.dataset, record.selector), []).append((line, record))
    return [_group(rows) for rows in members.values()]


def _group(rows: Sequence[Numbered]) -> Group:
    first = rows[0][1]
    done = [record for _, record in rows if record.ok]
    metrics = dict.fromkeys(metric for record in done for metric in record.accuracies)
    counts = [_operation_counts(record.cell) for record in done if record.cell is not None]
    return Group(
        searcher=first.searcher,
        dataset=first.dataset,
        selector=first.selector,
        control=first.control,
        lines=tuple(line for line, _ in rows),
        failed=len(rows) - len(done),
        accuracies={
            metric: summary
            for metric in metrics
            if (summary := summarise(record.accuracies.get(metric) for record in done)) is not None
        },
        metric=next((record.metric for record in done if record.metric is not None), None),
        accuracy=summarise(record.accuracy for record in done),
        regret=summarise(record.regret for record in done),
        percentile=summarise(record.percentile for record in done),
        free_edges=summarise(count[NONE] + count[SKIP] + count[POOL] for count in counts),
        skips=summarise(count[SKIP] for count in counts),
        pools=summarise(count[POOL] for count in counts),
        nones=summarise(count[NONE] for count in counts),
        selection_images=summarise(record.selection_images for record in done),
        selection_seconds=summarise(record.selection_seconds for record in done),
        search_images=summarise(record.search_images for record in done),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One selector against a reference on the same supernets, in percentage points of accuracy."""

    dataset: str
    selector: str
    reference: str
    control: str | None  # the selector's
    difference: Summary  # accuracy minus the reference's, over supernets
    better: int
    equal: int
    worse: int
    lines: tuple[int, ...]  # of the selector's records, then of the reference's


def compare(records: Sequence[Numbered], reference: str) -> list[Comparison]:
    """Every other selector against `reference`, by data set, where both came to a cell of their own."""
    by_key: dict[RunKey, Numbered] = {record.key: (line, record) for line, record in records}
    pairs: dict[tuple[str, str], list[tuple[Numbered, Numbered]]] = {}
    for line, record in records:
        other = by_key.get(record.key._replace(selector=reference))
        if record.selector == reference or other is None or None in (record.accuracy, other[1].accuracy):
            continue
        if undecided(record) or undecided(other[1]):
            continue
        if record.metric == other[1].metric:
            pairs.setdefault((record.dataset, record.selector), []).append(((line, record), other))
    comparisons = []
    for (dataset, selector), matched in pairs.items():
        gains = [accuracy_of(ours) - accuracy_of(theirs) for (_, ours), (_, theirs) in matched]
        difference = summarise(gains)
        assert difference is not None
        comparisons.append(
            Comparison(
                dataset=dataset,
                selector=selector,
                reference=reference,
                control=matched[0][0][1].control,
                difference=difference,
                better=sum(gain > 0 for gain in gains),
                equal=sum(gain == 0 for gain in gains),
                worse=sum(gain < 0 for gain in gains),
                lines=(*(line for (line, _), _ in matched), *(line for _, (line, _) in matched)),
            )
        )
    return comparisons


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A cell that was chosen, and by whom."""

    dataset: str
    cell: Cell
    accuracy: float | None
    rank: int | None
    metric: str | None
    number: int
    choosers: tuple[RunKey, ...]
    by_criteria: int  # choices of criteria, controls and tie-breaks not counted
    lines: tuple[int, ...]


def chosen_cells(records: Sequence[Numbered]) -> list[Chosen]:
    """The distinct cells of each data set: those that criteria chose most often, then anyone, then the best."""
    members: dict[tuple[str, str], list[Numbered]] = {}
    for line, record in records:
        if record.ok and record.cell is not None:
            members.setdefault((record.dataset, record.cell), []).append((line, record))
    cells = []
    for (dataset, text), rows in members.items():
        record = rows[0][1]
        cell = Cell.parse(text)
        by_criteria = sum(record.control is None and not undecided(record) for _, record in rows)
        chosen = Chosen(
            dataset=dataset,
            cell=cell,
            accuracy=record.accuracy,
            rank=record.rank,
            metric=record.metric,
            number=cell.number,
            choosers=tuple(record.key for _, record in rows),
            by_criteria=by_criteria,
            lines=tuple(line for line, _ in rows),
        )
        cells.append((-by_criteria, -len(rows), -(record.accuracy or 0.0), cell.number, chosen))
    return [chosen for *_, chosen in sorted(cells, key=lambda entry: entry[:4])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """The argmax cell of one search's mixing weights after each epoch."""

    search: SearchKey
    metric: str | None
    epochs: tuple[int, ...]  # those with a looked-up accuracy
    accuracies: tuple[float, ...]  # percent

    @property
    def lost(self) -> float | None:
        """By how many percentage points the last epoch's cell is below the best one passed through."""
        return max(self.accuracies) - self.accuracies[-1] if self.accuracies else None


def trajectory(search: SearchKey, epochs: Sequence[EpochRecord], metric: str | None) -> Trajectory:
    """The trajectory of a search's epochs, judged by `metric`."""
    known = [epoch for epoch in epochs if metric in epoch.accuracies]
    return Trajectory(
        search=search,
        metric=metric,
        epochs=tuple(epoch.epoch for epoch in known),
        accuracies=tuple(epoch.accuracies[metric] for epoch in known if metric is not None),
    )


def best_in_table(records: Iterable[RunRecord], dataset: str, metric: str | None) -> float | None:
    """The accuracy of the table's best cell, which a record tells as accuracy + regret."""
    return max(
        (
            record.accuracy + record.regret
            for record in records
            if (record.dataset, record.metric) == (dataset, metric)
            and record.accuracy is not None
            and record.regret is not None
        ),
        default=None,
    )


def main_metric(records: Iterable[RunRecord], dataset: str) -> str | None:
    """The metric that a data set's records are judged by (the first, should they differ)."""
    return next((record.metric for record in records if record.dataset == dataset and record.metric is not None), None)


def shown_metrics(records: Iterable[RunRecord]) -> list[str]:
    """The metrics worth a column: each data set's test split at its longest training, and what records are judged by.

    A data set that has no test split is shown by what it has.
    """
    records = list(records)
    longest: dict[tuple[str, str], int] = {}
    for metric in {metric for record in records for metric in record.accuracies}:
        dataset, split, epochs = metric.split("/")
        longest[dataset, split] = max(longest.get((dataset, split), 0), int(epochs))
    tested = {dataset for dataset, split in longest if split == "test"}
    shown = {f"{d}/{s}/{n}" for (d, s), n in longest.items() if s == "test" or d not in tested}
    return sorted(shown | {record.metric for record in records if record.metric is not None}, key=_metric_order)


def _metric_order(metric: str) -> tuple[int, str]:
    """The benchmark's own order of data sets."""
    known = ("cifar10-valid", "cifar10", "cifar100", "imagenet16-120")
    dataset = metric.split("/")[0]
    return (known.index(dataset) if dataset in known else len(known), metric)


def free_edges(cell: str) -> int:
    """How many of a cell's six edges have no parameters."""
    counts = _operation_counts(cell)
    return sum(counts) - counts[CONV1X1] - counts[CONV3X3]


def collapsed(cell: str) -> bool:
    """Whether a cell has `COLLAPSED_SKIPS` skips or more, or no convolution on any edge."""
    counts = _operation_counts(cell)
    return counts[SKIP] >= COLLAPSED_SKIPS or counts[CONV1X1] + counts[CONV3X3] == 0


def _operation_counts(cell: str) -> list[int]:
    operations = Cell.parse(cell).operations
    return [operations.count(o) for o in range(5)]
