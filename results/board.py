"""One ranking of a report: the runs on one data set that may stand side by side, and what its figures take of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dartboard.benchmark.errors import InputError
from dartboard.results import statistics as st
from dartboard.results.aggregate import Group, Trajectory, best_in_table, collapsed, groups, main_metric, trajectory
from dartboard.results.diagnostics import of_trained
from dartboard.results.judged import undecided, uniform
from dartboard.results.records import QUERIES, EpochRecord, RunRecord, SearchKey
from dartboard.results.rundata import RunData
from dartboard.results.statistics import Estimate
from dartboard.results.style import selector_marks

SHARING: Final = "weight-sharing"
TRAINING: Final = "trains cells"
"""The two kinds of search, which never share a ranking: one cell that is trained costs more than a whole supernet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What is compared with one another."""

    run: RunData  # with this board's records alone
    dataset: str
    kind: str  # SHARING or TRAINING
    title: str
    slug: str  # in the names of its figures
    metric: str
    best: float | None  # percent, of the table's best cell
    rows: tuple[Group, ...]
    middles: Mapping[tuple[str, str], Estimate]  # interquartile mean of accuracy by searcher and selector; not of ties
    marks: Mapping[str, Mapping[str, Any]]  # by selector
    space: NDArray[np.float64] | None  # (cells,) the regrets of the whole space, where the table is at hand

    @property
    def numbered(self) -> tuple[tuple[int, RunRecord], ...]:
        """The records with their numbers."""
        return self.run.records

    @property
    def records(self) -> list[RunRecord]:
        """The records."""
        return [record for _, record in self.run.records]

    @property
    def searches(self) -> list[SearchKey]:
        """The searches, in order."""
        return self.run.searches

    @property
    def searchers(self) -> list[str]:
        """The search methods, in order."""
        return list(dict.fromkeys(record.searcher for record in self.records))

    @property
    def selectors(self) -> list[str]:
        """The selectors, in order; controls last."""
        return list(dict.fromkeys(record.selector for record in self.records))

    @property
    def controls(self) -> dict[str, str]:
        """The selectors that are controls, with their kind."""
        return {record.selector: record.control for record in self.records if record.control}

    @property
    def prior(self) -> float | None:
        """The accuracy of the constant prior's cell, where it was run."""
        found = (record.accuracy for record in self.records if record.selector == "prior" and record.ok)
        return next(found, None)

    @property
    def tied(self) -> list[SearchKey]:
        """The searches that ended with equal mixing weights on every edge: their argmax cell is the tie-break's."""
        return [search for search in self.searches if uniform(self.run.epochs[search])]

    @property
    def trajectories(self) -> list[Trajectory]:
        """The argmax cells of every search that is not tied, epoch by epoch."""
        tied = self.tied
        return [trajectory(s, self.run.epochs[s], self.metric) for s in self.searches if s not in tied]

    @property
    def collapses(self) -> dict[SearchKey, int | None]:
        """From which epoch on the argmax cell stays collapsed, of each search that is not tied."""
        return {run.search: collapse_epoch(self.run.epochs[run.search]) for run in self.trajectories}

    @property
    def scale_words(self) -> str:
        """What is said of the scale that its accuracies are drawn on."""
        return "" if self.best is None else ", on a scale that is logarithmic beyond a tenth of a point"

    def diagnostic(self, name: str) -> dict[SearchKey, Mapping[str, Any]]:
        """The values of a diagnostic of the trained supernets, where it was measured."""
        found = {search: of_trained(self.run.diagnostics.get(search, ()), name) for search in self.searches}
        return {search: values for search, values in found.items() if values is not None}


def boards(run: RunData) -> list[Board]:
    """The boards of a run, data set by data set; what came to no cell with a known accuracy has none."""
    marks = selector_marks(list(dict.fromkeys(record.selector for _, record in run.records)))
    found = []
    for dataset in run.datasets:
        kinds = {SHARING: run.kept([row for row in run.of(dataset) if not trains_cells(row[1])])}
        kinds[TRAINING] = run.kept([row for row in run.of(dataset) if trains_cells(row[1])])
        for kind, part in kinds.items():
            records = [record for _, record in part.records]
            metric = main_metric(records, dataset)
            if metric is None:
                continue
            trains = kind == TRAINING
            rows = tuple(groups(part.records))
            found.append(
                Board(
                    run=part,
                    dataset=dataset,
                    kind=kind,
                    title=f"Searches that train cells, on {dataset}" if trains else f"Searched on {dataset}",
                    slug=f"{dataset}-trained" if trains else dataset,
                    metric=metric,
                    best=best_in_table(records, dataset, metric),
                    rows=rows,
                    middles=_middles(records, dataset),
                    marks=marks,
                    space=space_regrets(records, metric),
                )
            )
    return found


def trains_cells(record: RunRecord) -> bool:
    """Whether the record's search trained cells one by one instead of a supernet."""
    return record.selector == QUERIES


def _middles(records: Sequence[RunRecord], dataset: str) -> dict[tuple[str, str], Estimate]:
    accuracies: dict[tuple[str, str], list[float]] = {}
    for record in records:
        if record.accuracy is not None and not undecided(record):  # a tie-break's cell is not the criterion's
            accuracies.setdefault((record.searcher, record.selector), []).append(record.accuracy)
    return {
        key: st.bootstrap(values, st.interquartile_mean, st.generator("board", dataset, *key))
        for key, values in accuracies.items()
    }


def collapse_epoch(epochs: Sequence[EpochRecord]) -> int | None:
    """The epoch from which on the argmax cell stays collapsed to the end; None where the last one has not collapsed."""
    start = None
    for epoch in epochs:
        if not collapsed(epoch.cell):
            start = None
        elif start is None:
            start = epoch.epoch
    return start


def space_regrets(records: Sequence[RunRecord], metric: str) -> NDArray[np.float64] | None:
    """(cells,): the regrets of all cells in the table that judged the records; None where it is not at hand."""
    from dartboard.benchmark.ground_truth import Metric
    from dartboard.benchmark.tables.store import load_table

    known = {(record.table, record.table_sha256) for record in records if record.table and record.table_sha256}
    if len(known) != 1:
        return None
    ((name, sha),) = known
    try:
        table = load_table(name)
        column = table.accuracy.get(Metric.parse(metric))
    except InputError:
        return None
    if column is None or table.provenance.sha256 != sha:
        return None
    return np.asarray(column.max() - column, dtype=np.float64)
