"""Run folders as a report reads them: header, records, epochs and diagnostics, in the grid's order.

Of several folders each search method is called by its folder, too: `darts-v1 [quick]`. Records are then counted
through, from 1; `RunData.origins` tells each one's folder and line.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from dartboard.benchmark.errors import InputError
from dartboard.results.diagnostics import DiagnosticRecord, read_diagnostics
from dartboard.results.records import (
    EpochRecord,
    RunHeader,
    RunRecord,
    SearchKey,
    numbered_records,
    read_epochs,
    read_header,
    search_folder,
)
from dartboard.results.repeats import RepeatRecord, read_repeats

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """All that a report is made from."""

    name: str
    header: RunHeader | None  # of several folders, all of them together
    records: tuple[tuple[int, RunRecord], ...]  # with their lines in records.jsonl
    epochs: Mapping[SearchKey, tuple[EpochRecord, ...]]  # of every search that has a record
    diagnostics: Mapping[SearchKey, tuple[DiagnosticRecord, ...]] = field(default_factory=dict)  # likewise
    repeats: tuple[RepeatRecord, ...] = ()  # selections made again
    folders: Mapping[str, RunHeader | None] = field(default_factory=dict)  # by name, with their own headers
    origins: Mapping[int, tuple[str, int]] = field(default_factory=dict)  # of several folders: folder and line

    @property
    def datasets(self) -> list[str]:
        """The data sets that were searched on, in order."""
        return list(dict.fromkeys(record.dataset for _, record in self.records))

    @property
    def searches(self) -> list[SearchKey]:
        """The trained supernets, in order."""
        return list(dict.fromkeys(record.search for _, record in self.records))

    def kept(self, records: Sequence[tuple[int, RunRecord]]) -> RunData:
        """The same with these records alone."""
        return replace(self, records=tuple(records))

    def of(self, dataset: str) -> list[tuple[int, RunRecord]]:
        """The records of one data set."""
        return [(line, record) for line, record in self.records if record.dataset == dataset]

    def as_run(self, dataset: str) -> list[RunRecord]:
        """The records of one data set in the order of one process: by folder, seed, searcher and selector."""
        rows = self.of(dataset)
        header = self.header
        folders = places(self.folders, [])
        seeds = places(
            header.seeds if header else (), [record.seed for _, record in sorted(rows, key=lambda row: row[0])]
        )
        searchers = places(header.searchers if header else (), [record.searcher for _, record in rows])
        selectors = places(header.selectors if header else (), [record.selector for _, record in rows])

        def place(row: tuple[int, RunRecord]) -> tuple[int, ...]:
            line, record = row
            folder = folders[self.origins[line][0]] if self.origins else 0
            return folder, seeds[record.seed], searchers[record.searcher], selectors[record.selector]

        return [record for _, record in sorted(rows, key=place)]


def read_run(folder: Path) -> RunData:
    """Read a run folder.

    Raises:
        InputError: when the folder is missing, holds no record, or a file in it is malformed.
    """
    if not folder.is_dir():
        raise InputError(f"no run folder at {str(folder)!r}; make one with: dartboard run GRID --out {folder}")
    records = numbered_records(folder)
    if not records:
        raise InputError(f"nothing is recorded in {str(folder)!r} yet; run: dartboard run GRID --out {folder}")
    header = read_header(folder)
    ordered = _in_grid_order(records, header)
    searches = dict.fromkeys(record.search for _, record in ordered)
    return RunData(
        name=header.name if header else folder.resolve().name,
        header=header,
        records=tuple(ordered),
        epochs={search: tuple(read_epochs(search_folder(folder, search))) for search in searches},
        diagnostics={search: tuple(read_diagnostics(search_folder(folder, search))) for search in searches},
        repeats=tuple(_by_search(read_repeats(folder), header)),
        folders={folder.resolve().name: header},
    )


def read_runs(folders: Sequence[Path]) -> RunData:
    """Read one run folder, or several to be compared.

    Raises:
        InputError: as `read_run`; when a folder is named twice; when two were judged by different tables or metrics.
    """
    if len(folders) == 1:
        return read_run(folders[0])
    places = [folder.resolve() for folder in folders]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice is not None:
        raise InputError(f"{str(twice)!r} is named twice; name each run folder once")
    runs = {name: read_run(folder) for name, folder in zip(_names(places), folders, strict=True)}
    _same_truth(runs)
    records: list[tuple[int, RunRecord]] = []
    origins: dict[int, tuple[str, int]] = {}
    for name, run in runs.items():
        for line, record in run.records:
            records.append((len(records) + 1, replace(record, searcher=called(record.searcher, name))))
            origins[len(records)] = (name, line)
    header = _together(runs)
    return RunData(
        name=header.name,
        header=header,
        records=tuple(_in_grid_order(records, header)),
        epochs={_called(search, name): rows for name, run in runs.items() for search, rows in run.epochs.items()},
        diagnostics={
            _called(search, name): rows for name, run in runs.items() for search, rows in run.diagnostics.items()
        },
        repeats=tuple(
            replace(again, searcher=called(again.searcher, name)) for name, run in runs.items() for again in run.repeats
        ),
        folders={name: run.header for name, run in runs.items()},
        origins=origins,
    )


def called(searcher: str, folder: str) -> str:
    """What a search method is called where several folders are compared."""
    return f"{searcher} [{folder}]"


def _called(search: SearchKey, folder: str) -> SearchKey:
    return search._replace(searcher=called(search.searcher, folder))


def _names(places: Sequence[Path]) -> list[str]:
    """The folders' names, with so many of their parents' as tell them apart."""
    for parts in range(1, max(len(place.parts) for place in places) + 1):
        names = ["/".join(place.parts[-parts:]) for place in places]
        if len(set(names)) == len(names):
            break
    return names


def _same_truth(runs: Mapping[str, RunData]) -> None:
    """Refuse to put different truths side by side."""
    tables: dict[str, str] = {}
    metrics: dict[str, dict[str, str]] = {}
    for name, run in runs.items():
        for _, record in run.records:
            if record.table_sha256 is not None:
                tables.setdefault(record.table_sha256, f"{name} by {record.table}")
            if record.metric is not None:
                metrics.setdefault(record.dataset, {}).setdefault(record.metric, f"{name} by {record.metric}")
    for told in (tables, *metrics.values()):
        if len(told) > 1:
            raise InputError(f"the runs are judged differently ({', '.join(told.values())}); report them one by one")


def _together(runs: Mapping[str, RunData]) -> RunHeader:
    """One header of all: what they name, in order; of everything else, the first's.

    A selector's options and thresholds that two grids set differently are nobody's: there are none.
    """
    headers = {name: run.header for name, run in runs.items() if run.header is not None}
    name = " and ".join(runs)
    if not headers:
        return RunHeader(name=name, preset="", searchers=(), selectors=(), datasets=(), seeds=())
    first = next(iter(headers.values()))
    options = {
        called(searcher, name): told
        for name, header in headers.items()
        for searcher, told in header.options.get("searchers", {}).items()
    }
    labels = dict.fromkeys(label for header in headers.values() for label in header.options.get("selectors", {}))
    selectors = {
        label: _common([h.options.get("selectors", {}).get(label) for h in headers.values()]) for label in labels
    }
    thresholds = _common([header.options.get("thresholds", {}) for header in headers.values()])
    return replace(
        first,
        name=name,
        searchers=tuple(called(searcher, name) for name, header in headers.items() for searcher in header.searchers),
        selectors=tuple(dict.fromkeys(selector for header in headers.values() for selector in header.selectors)),
        datasets=tuple(dict.fromkeys(dataset for header in headers.values() for dataset in header.datasets)),
        seeds=tuple(sorted({seed for header in headers.values() for seed in header.seeds})),
        options={**first.options, "searchers": options, "selectors": selectors, "thresholds": thresholds},
        images={dataset: told for header in headers.values() for dataset, told in header.images.items()},
    )


def _common(told: Sequence[Mapping[str, Any] | None]) -> Mapping[str, Any]:
    """What all say that say anything; {} where two differ."""
    known = [one for one in told if one is not None]
    return known[0] if all(one == known[0] for one in known) else {}


def places(named: Iterable[Name], found: Iterable[Name]) -> dict[Name, int]:
    """What has a place by its name, and the others after it as they were found."""
    return {name: place for place, name in enumerate(dict.fromkeys([*named, *found]))}


def _by_search(repeats: list[RepeatRecord], header: RunHeader | None) -> list[RepeatRecord]:
    """By data set, seed and searcher as the grid names them; what is of one supernet stays as it came."""
    if header is None:
        return repeats
    datasets = places(header.datasets, (again.dataset for again in repeats))
    seeds = places(header.seeds, (again.seed for again in repeats))
    searchers = places(header.searchers, (again.searcher for again in repeats))
    return sorted(repeats, key=lambda again: (datasets[again.dataset], seeds[again.seed], searchers[again.searcher]))


def _in_grid_order(records: list[tuple[int, RunRecord]], header: RunHeader | None) -> list[tuple[int, RunRecord]]:
    """By data set, searcher, selector (controls last) and seed: as the grid names them, the others as they came."""
    rows = [record for _, record in records]
    datasets = places(header.datasets if header else (), [record.dataset for record in rows])
    searchers = places(header.searchers if header else (), [record.searcher for record in rows])
    selectors = places(header.selectors if header else (), [record.selector for record in rows])
    controls = {None: 0, "blind": 1, "truth": 2}
    return sorted(
        records,
        key=lambda row: (
            datasets[row[1].dataset],
            searchers[row[1].searcher],
            controls.get(row[1].control, 3),
            selectors[row[1].selector],
            row[1].seed,
        ),
    )
