"""One run of a search that trains single cells: its queries, counted, and what they led to at any time."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dartboard.benchmark.contracts import Selection
from dartboard.benchmark.queries import Queries, queried_metric
from dartboard.benchmark.space import Cell
from dartboard.benchmark.streams import stream
from dartboard.harness.grid import Dataset
from dartboard.harness.guard import global_state_kept
from dartboard.harness.prepare import PreparedQuerySearch
from dartboard.results.records import QUERIES, RunKey

if TYPE_CHECKING:
    from dartboard.harness.engine import Engine


class QueryRun:
    """One search on one data set with one seed."""

    def __init__(self, engine: Engine, searcher: PreparedQuerySearch, dataset: Dataset, seed: int) -> None:
        self.engine, self.searcher, self.dataset, self.seed = engine, searcher, dataset, seed
        self.key = RunKey(searcher.label, dataset.label, seed, QUERIES)
        self.facts: dict[str, Any] = {}

    def search(self) -> Selection:
        """Let it search; each entry of the trace gets the accuracy by which the run is scored.

        Raises:
            OverBudgetError: when it asks for more cells than its budget has.
            RuntimeError: when it changed the global random state, or answered with a cell that it did not train.
        """
        engine, search = self.engine, self.searcher.search
        scored = engine.metric(self.dataset.label)
        queries = Queries(engine.truth, queried_metric(engine.truth, scored), search.config.budget)
        engine.listener.begin(str(self.key), 1)
        started = time.perf_counter()
        with global_state_kept(str(self.key)):
            selection = search.search(queries, stream(self.seed, "queries", self.key.searcher, self.key.dataset))
        seconds = time.perf_counter() - started
        if selection.cell not in {cell for cell, _ in queries.asked}:
            raise RuntimeError(f"{self.key} answered with {selection.cell}, which it did not train")
        engine.listener.advance(1, 1)
        self.facts |= {"queries": len(queries.asked), "search_seconds": seconds}
        trace = tuple(
            {**entry, "accuracy": engine.truth.lookup(Cell.parse(entry["cell"]), scored)} for entry in queries.trace
        )
        notes = {**selection.notes, "queried_metric": str(queries.metric), "budget": queries.budget}
        return replace(selection, trace=trace, notes=notes)
