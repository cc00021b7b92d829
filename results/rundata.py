"""A run folder as a report reads it: header, records and epochs, in the grid's order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """All that a report is made from."""

    name: str
    header: RunHeader | None
    records: tuple[tuple[int, RunRecord], ...]  # with their lines in records.jsonl
    epochs: Mapping[SearchKey, tuple[EpochRecord, ...]]  # of every search that has a record
    diagnostics: Mapping[SearchKey, tuple[DiagnosticRecord, ...]] = field(default_factory=dict)  # likewise

    @property
    def datasets(self) -> list[str]:
        """The data sets that were searched on, in order."""
        return list(dict.fromkeys(record.dataset for _, record in self.records))

    @property
    def searches(self) -> list[SearchKey]:
        """The trained supernets, in order."""
        return list(dict.fromkeys(record.search for _, record in self.records))

    def of(self, dataset: str) -> list[tuple[int, RunRecord]]:
        """The records of one data set."""
        return [(line, record) for line, record in self.records if record.dataset == dataset]


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
    )


def _in_grid_order(records: list[tuple[int, RunRecord]], header: RunHeader | None) -> list[tuple[int, RunRecord]]:
    """By data set, searcher, selector (controls last) and seed: as the grid names them, the others as they came."""

    def places(named: tuple[str, ...], found: list[str]) -> dict[str, int]:
        return {name: place for place, name in enumerate(dict.fromkeys([*named, *found]))}

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
