"""Runs a grid: searches each supernet once, lets every selector choose from it, looks the cells up, writes records.

A run folder can be interrupted at any moment and goes on from the last epoch: all draws come from named streams of the
seed and the epoch's number, so nothing random needs to be kept, and on a CPU the records come out bit for bit the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dartboard.benchmark.compiled import require_compiler
from dartboard.benchmark.errors import InputError, one_line
from dartboard.benchmark.ground_truth import Metric
from dartboard.benchmark.image_halves import describe, search_halves
from dartboard.benchmark.image_sources import load_images
from dartboard.benchmark.images import ImageSplit
from dartboard.benchmark.space import Cell
from dartboard.benchmark.supernet import SupernetConfig
from dartboard.benchmark.tables.store import load_table
from dartboard.harness.checkpoints import locked
from dartboard.harness.devices import MemoryMeter, describe_device, find_device, share_of_threads
from dartboard.harness.diagnose import missing, prepare_diagnostic
from dartboard.harness.grid import Dataset, Grid
from dartboard.harness.header import merged
from dartboard.harness.prepare import (
    PreparedQuerySearch,
    PreparedSearcher,
    prepare_query_search,
    prepare_searcher,
    prepare_selector,
    settings,
)
from dartboard.harness.provenance import versions
from dartboard.harness.query_run import QueryRun
from dartboard.harness.recorded import recorded_header, with_diagnostics
from dartboard.harness.search_run import Chosen, Listener, SearchRun
from dartboard.harness.workers import check_jobs
from dartboard.results.records import (
    QUERIES,
    RunHeader,
    RunKey,
    RunRecord,
    SearchKey,
    append_record,
    finished_keys,
    read_epochs,
    read_header,
    search_folder,
    write_header,
)
from dartboard.results.repeats import RepeatRecord, append_repeat
from dartboard.searchers._training import Protocol as TrainingProtocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a grid came to."""

    ok: int
    failed: int
    unmeasured: int = 0  # supernets whose runs have their records, and that could not be had to be measured
    lost: int = 0  # searches whose process died: their runs have no record, and the same command tries them again


class Revisited(NamedTuple):
    """How many trained supernets were gone back to."""

    visited: int
    failed: int  # besides: they could not be had, or could not be dealt with

    @classmethod
    def total(cls, parts: Iterable[Revisited]) -> Revisited:
        """Of all of them."""
        counts = list(parts)
        return cls(sum(part.visited for part in counts), sum(part.failed for part in counts))


class Search(NamedTuple):
    """One search of the grid, which with its selections one process does."""

    searcher: PreparedSearcher | PreparedQuerySearch
    dataset: Dataset
    seed: int

    @property
    def key(self) -> SearchKey:
        """What tells it from every other of its folder."""
        return SearchKey(self.searcher.label, self.dataset.label, self.seed)

    @property
    def trains(self) -> bool:
        """Whether it trains a supernet, and not single cells."""
        return isinstance(self.searcher, PreparedSearcher)


class Engine:
    """One grid in one folder.

    Args:
        grid: what to run.
        folder: where to keep it; an earlier run of the same grid there goes on.
        device: `auto`, `cpu`, `cuda`, `cuda:0`, ...
        listener: told of the progress.
        retry_failed: whether runs that failed before are tried again.

    Raises:
        InputError: when an option, a table, an image set or the device cannot be used, or the folder is another grid's.
    """

    def __init__(
        self, grid: Grid, folder: Path, *, device: str, listener: Listener, retry_failed: bool = False
    ) -> None:
        self.grid, self.folder, self.listener, self.retry_failed = grid, folder, listener, retry_failed
        self.device = find_device(device)
        self.memory = MemoryMeter(self.device)
        self.dtype = {"float32": torch.float32, "float64": torch.float64}[grid.precision]
        self.truth = load_table(grid.table)
        self.given_metric = None if grid.metric is None else Metric.parse(grid.metric)
        if self.given_metric is not None:
            self.truth.lookup(Cell.from_number(0), self.given_metric)  # so that an unknown one is refused now
        self.searchers = [prepare_searcher(method) for method in grid.searchers if not method.entry.queries]
        self.query_searches = [prepare_query_search(method) for method in grid.searchers if method.entry.queries]
        self.selectors = {method.label: prepare_selector(method) for method in grid.selectors}
        if QUERIES in self.selectors:
            raise InputError(f"no selector can be called {QUERIES!r}: that is what searches without a supernet record")
        self.diagnostics = [prepare_diagnostic(asked) for asked in grid.diagnostics]
        self.images = {dataset.label: load_images(dataset.source) for dataset in grid.datasets}
        for searcher in self.searchers:  # so that an impossible size is refused before anything is trained
            searcher.supernet_config(SupernetConfig(channels=grid.channels))
            for dataset in grid.datasets:
                self.halves(dataset.label, searcher.protocol, device="meta")
        self.versions: dict[str, Any] = versions()
        self.ok: set[RunKey] = set()  # the runs that have a cell
        self.failed: set[RunKey] = set()  # the runs whose record is an error
        self.unmeasured = 0

    @cached_property
    def keys(self) -> list[RunKey]:
        """Every run of the grid, in order."""
        pairs = [(searcher.label, selector) for searcher in self.searchers for selector in self.selectors]
        pairs += [(search.label, QUERIES) for search in self.query_searches]
        return [
            RunKey(searcher, dataset.label, seed, selector)
            for dataset in self.grid.datasets
            for seed in self.grid.seeds
            for searcher, selector in pairs
        ]

    @cached_property
    def searches(self) -> list[Search]:
        """Every search of the grid, in order."""
        methods: list[PreparedSearcher | PreparedQuerySearch] = [*self.searchers, *self.query_searches]
        return [
            Search(method, dataset, seed)
            for dataset in self.grid.datasets
            for seed in self.grid.seeds
            for method in methods
        ]

    def run(self, *, jobs: int = 1) -> Outcome:
        """Run whatever has no record yet.

        Args:
            jobs: how many searches at once, each in a process of its own; 1: one after the other, in this process.

        Raises:
            InputError: when the folder's records came about otherwise, `jobs` is less than 1, or a process of its own
                cannot do what this one could.
        """
        check_jobs(jobs)
        if self.grid.compile:
            require_compiler(self.device)
        with locked(self.folder, self.listener.end), share_of_threads(jobs):
            write_header(self.folder, self.header())
            self.recall()
            lost = 0
            if jobs == 1:
                for search in self.searches:
                    self.work(search)
            else:
                from dartboard.harness.jobs import run_apart

                lost = run_apart(self, jobs)
        return Outcome(
            ok=len(self.ok.intersection(self.keys)),
            failed=len(self.failed.intersection(self.keys)),
            unmeasured=self.unmeasured,
            lost=lost,
        )

    def recall(self) -> None:
        """Read from the folder which runs have a record."""
        self.ok = finished_keys(self.folder, failed=False)
        self.failed = finished_keys(self.folder) - self.ok

    def work(self, search: Search) -> None:
        """Do what is left of a search: train, measure, select, write the records."""
        if isinstance(search.searcher, PreparedSearcher):
            self._search_and_select(search.searcher, search.dataset, search.seed)
        else:
            self._query(search.searcher, search.dataset, search.seed)

    def is_left(self, search: Search) -> bool:
        """Whether something of a search has no record yet."""
        if isinstance(search.searcher, PreparedSearcher):
            return bool(self._left(search.key)) or self._unmeasured(search.key)
        return RunKey(*search.key, QUERIES) not in self._done

    def diagnose(self, *, jobs: int = 1) -> int:
        """Measure what is asked for and has no record, of those supernets of the folder whose search is over.

        Args:
            jobs: how many supernets at once, each in a process of its own.

        Returns:
            How many supernets could not be had, or were found changed by a diagnostic; the listener is told of each.

        Raises:
            InputError: when the folder's records came about otherwise, or `jobs` is less than 1.
        """
        check_jobs(jobs)
        with locked(self.folder, self.listener.end), share_of_threads(jobs):
            old, new = recorded_header(self.folder), self.header()
            write_header(self.folder, with_diagnostics(old, new))
            if jobs == 1:
                return self.revisit(measure_all).failed
            from dartboard.harness.jobs import diagnose_apart

            return diagnose_apart(self, jobs).failed

    def revisit(self, visit: Callable[[SearchRun], None]) -> Revisited:
        """Show `visit` each search of the grid whose supernet is trained and kept; the listener is told of the others.

        One that cannot be had, or over which `visit` fails, is told of, and the next has its turn.
        """
        return Revisited.total(self.revisit_one(search, visit) for search in self.searches)

    def revisit_one(self, search: Search, visit: Callable[[SearchRun], None]) -> Revisited:
        """`revisit` one of the grid's searches."""
        if not isinstance(search.searcher, PreparedSearcher):
            return Revisited(0, 0)
        run = SearchRun(self, search.searcher, search.dataset, search.seed)  # it holds a supernet and images
        try:
            lacking = run.lacking
            if lacking is None:
                visit(run)
                return Revisited(1, 0)
            self.listener.end(f"{run.key}: {lacking}")
        except Exception as error:  # noqa: BLE001  (one supernet of many)
            self.listener.end(f"{run.key}: failed: {one_line(error)}")
            return Revisited(0, 1)
        return Revisited(0, 0)

    def _search_and_select(self, searcher: PreparedSearcher, dataset: Dataset, seed: int) -> None:
        search = SearchKey(searcher.label, dataset.label, seed)
        left = self._left(search)
        self.tell()
        if not left and not self._unmeasured(search):
            return
        run = SearchRun(self, searcher, dataset, seed)
        try:
            run.diagnose(run.search())
        except Exception as error:  # noqa: BLE001  (a failing run is a record, and the grid goes on)
            self.listener.end(f"{search}: failed: {one_line(error)}")
            for label in left:
                self._append(run, label, error=error)
            self.unmeasured += not left
            return
        for label in left:
            try:
                record = self._append(run, label, chosen=run.select(run.intact(), label))
            except Exception as error:  # noqa: BLE001  (as above; an answer that is none is an error, too)
                self.listener.end(f"{RunKey(*search, label)}: failed: {one_line(error)}")
                self._append(run, label, error=error)
            else:
                run.journal(label).remove()
                self.listener.end(f"{record.key}: {record.accuracy:.2f} %  {record.cell}")

    def _query(self, search: PreparedQuerySearch, dataset: Dataset, seed: int) -> None:
        """Run a search that trains single cells, unless it has its record."""
        run = QueryRun(self, search, dataset, seed)
        self.tell()
        if run.key in self._done:
            return
        try:
            record = self._append(run, QUERIES, chosen=Chosen(run.search(), 0.0, 0.0))
        except Exception as error:  # noqa: BLE001  (a failing run is a record, and the grid goes on)
            self.listener.end(f"{run.key}: failed: {one_line(error)}")
            self._append(run, QUERIES, error=error)
        else:
            self.listener.end(f"{record.key}: {record.accuracy:.2f} %  {record.cell}  ({record.queries} trained cells)")

    @property
    def _done(self) -> set[RunKey]:
        """The runs that are not tried (again)."""
        return self.ok if self.retry_failed else self.ok | self.failed

    def _left(self, search: SearchKey) -> list[str]:
        """The selectors that have not answered for a search."""
        done = self._done
        return [label for label in self.selectors if RunKey(*search, label) not in done]

    def _unmeasured(self, search: SearchKey) -> bool:
        """Whether a search that led to a cell lacks a diagnostic that can still be made up for."""
        folder = search_folder(self.folder, search)
        reached = any(RunKey(*search, label) in self.ok for label in self.selectors)
        return reached and any(
            missing(folder, self.diagnostics, len(read_epochs(folder)), retry_failed=self.retry_failed)
        )

    def tell(self) -> None:
        """Tell the listener how many runs have a record."""
        done = self.ok | self.failed
        self.listener.runs(len(done.intersection(self.keys)), len(self.keys))

    def _append(
        self,
        run: SearchRun | QueryRun,
        label: str,
        *,
        chosen: Chosen | None = None,
        error: Exception | None = None,
    ) -> RunRecord:
        """Write a run's record."""
        about = {} if isinstance(run, QueryRun) else self._about_supernet(run, label)
        record = RunRecord(
            searcher=run.searcher.label,
            dataset=run.dataset.label,
            seed=run.seed,
            selector=label,
            status="failed" if error else "ok",
            error=one_line(error) if error else None,
            preset=self.grid.preset,
            table=self.truth.provenance.name,
            table_sha256=self.truth.provenance.sha256,
            table_official=self.truth.provenance.official,
            device=describe_device(self.device),
            peak_memory_mb=self.memory.most_mb(),
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
            **self.versions,
            **run.facts,
            **about,
        )
        if chosen is not None:
            selection = chosen.selection
            cell, metric = selection.cell, self.metric(run.dataset.label)
            index = self.truth.official_index
            record = replace(
                record,
                cell=str(cell),
                cell_number=cell.number,
                cell_canonical=str(cell.canonical()),
                official_index=None if index is None else int(index[cell.number]),
                accuracies=self.accuracies(cell),
                metric=str(metric),
                accuracy=self.truth.lookup(cell, metric),
                regret=self.truth.regret(cell, metric),
                rank=self.truth.rank(cell, metric),
                percentile=self.truth.percentile(cell, metric),
                scores=None if selection.scores is None else rows(selection.scores),
                trace=selection.trace,
                notes=selection.notes,
                selection_images=selection.images,
                selection_gradient_images=selection.gradient_images,
                selection_seconds=chosen.seconds,
                selection_memory_mb=chosen.memory_mb,
            )
        self.keep(record)
        self.count(record.key, record.ok)
        return record

    def keep(self, record: RunRecord | RepeatRecord) -> None:
        """Add a record to its file: when this returns, a power cut cannot take it."""
        if isinstance(record, RunRecord):
            append_record(self.folder, record)
        else:
            append_repeat(self.folder, record)

    def count(self, key: RunKey, ok: bool) -> None:
        """Count a run that has its record."""
        (self.ok if ok else self.failed).add(key)
        (self.failed if ok else self.ok).discard(key)
        self.tell()

    def _about_supernet(self, run: SearchRun, label: str) -> dict[str, Any]:
        """What a record tells of a supernet and its selector."""
        return {
            "control": self.selectors[label].control,
            "selection_budget": self.grid.budget,
            "channels": self.grid.channels,
            "cells_per_stage": self.grid.cells_per_stage,
            "batch_size": run.searcher.protocol.batch_size,
        }

    def metric(self, dataset: str) -> Metric:
        """What a run on `dataset` is scored by."""
        return self.given_metric or self.truth.default_metric(dataset)

    def accuracies(self, cell: Cell) -> dict[str, float]:
        """All that the table knows of a cell, in percent by metric."""
        return {str(metric): self.truth.lookup(cell, metric) for metric in self.truth.metrics}

    def halves(
        self, dataset: str, protocol: TrainingProtocol, *, device: torch.device | str
    ) -> tuple[ImageSplit, ImageSplit]:
        """The images of a search on `dataset`: for the weights, and for the architecture."""
        images, grid = self.images[dataset], self.grid
        half = len(images.labels) // 2
        bounds = {"image_size": images.image_size, "train_images": half, "valid_images": len(images.labels) - half}
        sizes = {key: min(bound, bounds[key]) for key, bound in grid.at_most.items()} | dict(grid.images)
        return search_halves(
            images,
            split=protocol.split,
            image_size=sizes.get("image_size"),
            train_images=sizes.get("train_images"),
            valid_images=sizes.get("valid_images"),
            device=device,
            dtype=self.dtype,
        )

    def header(self) -> RunHeader:
        """What the folder's records follow from; checked against what the folder holds already."""
        grid = self.grid
        halves = {
            dataset.label: self.halves(dataset.label, searcher.protocol, device="meta")
            for dataset in grid.datasets
            for searcher in self.searchers[:1]
        }
        prepared = {searcher.label: (searcher.factory.name, searcher.config) for searcher in self.searchers}
        prepared |= {found.label: (found.search.name, found.search.config) for found in self.query_searches}
        provenance = self.truth.provenance
        header = RunHeader(
            name=grid.name,
            preset=grid.preset,
            searchers=tuple(method.label for method in grid.searchers),
            selectors=tuple(method.label for method in grid.selectors),
            datasets=tuple(dataset.label for dataset in grid.datasets),
            seeds=grid.seeds,
            search_epochs={searcher.label: searcher.protocol.epochs for searcher in self.searchers},
            options={
                "channels": grid.channels,
                "cells_per_stage": grid.cells_per_stage,
                "metric": grid.metric,
                "precision": grid.precision,
                "compile": grid.compile,
                "budget": grid.budget,
                "thresholds": dict(grid.thresholds),
                "table": grid.table,
                "sizes": {"exactly": dict(grid.images), "at_most": dict(grid.at_most)},
                "sources": {dataset.label: dataset.source for dataset in grid.datasets},
                "searchers": {method.label: settings(method, *prepared[method.label]) for method in grid.searchers},
                "selectors": {
                    method.label: settings(method, selector.name, selector.config)
                    for method, selector in zip(grid.selectors, self.selectors.values(), strict=True)
                },
                "diagnostics": {prepared.name: prepared.settings for prepared in self.diagnostics},
            },
            table={field: getattr(provenance, field) for field in provenance.__dataclass_fields__},
            images={label: describe(*pair) for label, pair in halves.items()},
            reduction=self._reduction(halves),
            device=describe_device(self.device),
            **self.versions,
        )
        return merged(header, read_header(self.folder), self.folder)

    def _reduction(self, halves: Mapping[str, tuple[ImageSplit, ImageSplit]]) -> str:
        """In plain words, how far this is from the literature's supernet."""
        if not halves:
            return "no supernet is trained"
        grid = self.grid
        parts = []
        if (grid.channels, grid.cells_per_stage) != (16, 5):
            parts.append(
                f"C={grid.channels} channels and N={grid.cells_per_stage} cells a stage"
                " instead of the benchmark's C=16 and N=5"
            )
        for label, (train, valid) in halves.items():
            images = self.images[label]
            size = f"{train.image_size}x{train.image_size} pixels"
            if train.image_size != images.image_size:
                size += f" instead of {images.image_size}x{images.image_size}"
            parts.append(f"{label}: {len(train):,} + {len(valid):,} of {len(images.labels):,} training images, {size}")
        epochs = {f"{s.protocol.epochs} ({s.label})" for s in self.searchers}
        parts.append(f"epochs: {', '.join(sorted(epochs))}")
        return "; ".join(parts)


def measure_all(run: SearchRun) -> None:
    """Measure what is asked for of a trained supernet."""
    run.diagnose(run.search())


def rows(scores: NDArray[np.float64]) -> tuple[tuple[float | None, ...], ...]:
    """Scores (E, O) as a record has them: None where they are not finite."""
    return tuple(tuple(float(x) if np.isfinite(x) else None for x in row) for row in scores)


def scored_by(engine: Engine) -> str:
    """The metrics that an engine's runs are scored by, in words."""
    return ", ".join(sorted({str(engine.metric(dataset.label)) for dataset in engine.grid.datasets}))
