"""What is kept of a run, and where: the layout of a run folder, its records, and how they are read and written.

    DIR/
      grid.json        `RunHeader`: the resolved grid, and what the runs were made from
      records.jsonl    one `RunRecord` a line, appended when a selector has answered
      searches/<searcher>--<dataset>--seed<k>/
          epochs.jsonl one `EpochRecord` a line, appended when an epoch is over
          diagnostics.jsonl  what was measured of the supernet (`dartboard.results.diagnostics`)
      report/          what `dartboard report` writes

A power cut can leave a last line torn (`dartboard.results.json_lines`): its run is done again. Documented for users in
docs/records.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from dartboard.benchmark.errors import InputError
from dartboard.results.json_lines import (
    append_line,
    from_json,
    keep_lines,
    read_latest,
    read_lines,
    to_json,
    write_json,
)

SCHEMA_VERSION: Final = 1
"""Raised when a field changes its meaning or goes; a file of another version is refused."""

MEASUREMENT_SUFFIXES: Final = ("_seconds", "_mb", "_at")
"""Fields whose names end so were measured, and differ from one execution to the next; all others are bit for bit."""

QUERIES: Final = "queries"
"""The selector's place in the record of a search that trains single cells: it chooses by itself."""


class RunKey(NamedTuple):
    """What tells a run from every other of its folder."""

    searcher: str
    dataset: str
    seed: int
    selector: str

    def __str__(self) -> str:
        return f"{self.searcher} on {self.dataset}, seed {self.seed}, {self.selector}"


class SearchKey(NamedTuple):
    """What tells a trained supernet from every other of its folder."""

    searcher: str
    dataset: str
    seed: int

    def __str__(self) -> str:
        return f"{self.searcher} on {self.dataset}, seed {self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One selector's answer for one trained supernet, and all that is needed to judge it.

    Where the status is "failed", everything that was not reached is None.
    """

    # The key.
    searcher: str
    dataset: str  # the images that were searched on
    seed: int
    selector: str
    # The outcome.
    status: Literal["ok", "failed"]
    error: str | None = None  # one line; None where the status is "ok"
    control: str | None = None  # None: a criterion; "blind": a control; "truth": a control that is shown the table
    cell: str | None = None  # in the benchmark's notation
    cell_number: int | None = None  # its base-5 rank
    cell_canonical: str | None = None  # the representative of the cells that compute the same function
    official_index: int | None = None  # the benchmark's index, where the table holds it
    # The truth about the cell. `accuracies` is written flat, as accuracy_<dataset>_<split>_<epochs>.
    accuracies: Mapping[str, float] = field(default_factory=dict)  # percent, by metric: {"cifar10/test/200": 94.37}
    metric: str | None = None  # the metric of the next four, <dataset>/<split>/<epochs>
    accuracy: float | None = None  # percent
    regret: float | None = None  # percentage points below the best cell of the table
    rank: int | None = None  # 1 is the best cell
    percentile: float | None = None  # 100 is the best cell
    # How the choice came about.
    scores: tuple[tuple[float | None, ...], ...] | None = None  # (E, O), larger = keep; None: not finite
    trace: tuple[Mapping[str, Any], ...] = ()  # one entry for each decision, in order
    notes: Mapping[str, Any] = field(default_factory=dict)  # further values that the selector kept
    # Costs that are counted.
    search_epochs: int | None = None
    search_steps: int | None = None
    search_images: int | None = None  # images pushed through the supernet by the search
    queries: int | None = None  # trained cells that the search asked for; None: it trained a supernet
    selection_images: int | None = None  # images pushed forward by the selector, gradient passes included
    selection_gradient_images: int | None = None  # images of which the selector took a gradient
    selection_budget: int | None = None  # images that the selector was allowed to push; None: no bound
    # Costs that are measured.
    search_seconds: float | None = None
    selection_seconds: float | None = None
    selection_memory_mb: float | None = None  # what the selection added to the memory in use, at its peak
    peak_memory_mb: float | None = None
    # The supernet, and what it was trained on.
    channels: int | None = None
    cells_per_stage: int | None = None
    image_size: int | None = None  # pixels a side
    train_images: int | None = None  # images in the weights' half
    valid_images: int | None = None  # images in the architecture's half
    batch_size: int | None = None
    supernet_accuracy_valid: float | None = None  # percent, the trained supernet's own on the architecture's half
    # Provenance.
    table: str | None = None
    table_sha256: str | None = None
    table_official: bool | None = None
    preset: str | None = None
    dartboard_version: str | None = None
    torch_version: str | None = None
    numpy_version: str | None = None
    python_version: str | None = None
    commit: str | None = None
    device: str | None = None
    finished_at: str | None = None  # ISO 8601, UTC
    schema_version: int = SCHEMA_VERSION

    @property
    def key(self) -> RunKey:
        """What tells this record from every other of its folder."""
        return RunKey(self.searcher, self.dataset, self.seed, self.selector)

    @property
    def search(self) -> SearchKey:
        """The trained supernet that the selector was applied to."""
        return SearchKey(self.searcher, self.dataset, self.seed)

    @property
    def ok(self) -> bool:
        """Whether the run came to a cell."""
        return self.status == "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One finished epoch of a search."""

    epoch: int  # from 1
    mixture: tuple[tuple[float, ...], ...]  # (E, O), the mixing weights after the epoch
    cell: str  # their argmax, in the benchmark's notation
    accuracies: Mapping[str, float] = field(default_factory=dict)  # the cell's, as in `RunRecord`; written flat
    train_loss: float | None = None  # mean cross-entropy over the epoch's weight half; None: not finite
    valid_loss: float | None = None
    train_accuracy: float | None = None  # percent
    valid_accuracy: float | None = None
    learning_rate: float | None = None  # the weights', in this epoch
    seconds: float | None = None  # a measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHeader:
    """grid.json: what was asked for, and what it was made from."""

    name: str
    preset: str
    searchers: tuple[str, ...]
    selectors: tuple[str, ...]
    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    search_epochs: Mapping[str, int] = field(default_factory=dict)  # by searcher
    options: Mapping[str, Any] = field(default_factory=dict)  # everything else that the grid settled
    table: Mapping[str, Any] = field(default_factory=dict)  # provenance: name, official, source, version, sha256, ...
    images: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by data set: name, source, ...
    reduction: str = ""  # in plain words, what was made smaller than the literature's supernet
    dartboard_version: str | None = None
    torch_version: str | None = None
    numpy_version: str | None = None
    python_version: str | None = None
    commit: str | None = None
    device: str | None = None
    schema_version: int = SCHEMA_VERSION


# The layout.


def records_path(folder: Path) -> Path:
    """The file of a run folder's records."""
    return folder / "records.jsonl"


def header_path(folder: Path) -> Path:
    """The file of a run folder's header."""
    return folder / "grid.json"


def report_folder(folder: Path) -> Path:
    """Where a run folder's report goes."""
    return folder / "report"


def search_folder(folder: Path, search: SearchKey) -> Path:
    """Where one search keeps its epochs and its checkpoint."""
    return folder / "searches" / f"{search.searcher}--{search.dataset}--seed{search.seed}"


def comparable(record: RunRecord) -> dict[str, Any]:
    """The record as JSON without its measurements: what two executions of the same run must have in common."""
    return {name: value for name, value in to_json(record).items() if not name.endswith(MEASUREMENT_SUFFIXES)}


# Reading and writing.


def asks_queries(header: RunHeader, searcher: str) -> bool:
    """Whether the search method of this label trains single cells, and so has one record, of the selector `QUERIES`."""
    return bool(header.options.get("searchers", {}).get(searcher, {}).get("queries"))


def append_record(folder: Path, record: RunRecord) -> None:
    """Add a record to a run folder, durably: when this returns, a power cut cannot take it."""
    append_line(records_path(folder), to_json(record))


def append_epoch(search: Path, epoch: EpochRecord) -> None:
    """Add a finished epoch to a search's folder, durably."""
    append_line(search / "epochs.jsonl", to_json(epoch))


def numbered_records(folder: Path) -> list[tuple[int, RunRecord]]:
    """The records of a run folder, each with its line in records.jsonl (from 1); of one key, the last line counts.

    Raises:
        InputError: with the file and line, when a line before the last is malformed.
    """
    return read_latest(records_path(folder), RunRecord, lambda record: record.key)


def read_records(folder: Path) -> list[RunRecord]:
    """The records of a run folder in the file's order; of one key, the last line counts; [] where there is no file."""
    return [record for _, record in numbered_records(folder)]


def finished_keys(folder: Path, *, failed: bool = True) -> set[RunKey]:
    """The runs that have a record; with `failed=False` only those that came to a cell."""
    return {record.key for record in read_records(folder) if failed or record.ok}


def read_epochs(search: Path) -> list[EpochRecord]:
    """The finished epochs of a search's folder, in order; [] where there is no file.

    Raises:
        InputError: with the file and line, when a line is malformed or the epochs do not count 1, 2, 3, ...
    """
    path = search / "epochs.jsonl"
    epochs = [epoch for _, epoch in read_lines(path, EpochRecord)]
    for number, epoch in enumerate(epochs, start=1):
        if epoch.epoch != number:
            raise InputError(f"{path}: line {number} should be epoch {number}, and is epoch {epoch.epoch}")
    return epochs


def keep_epochs(search: Path, count: int) -> None:
    """Drop the epochs after the first `count`, atomically: a checkpoint of epoch `count` goes on from there."""
    keep_lines(search / "epochs.jsonl", lambda number: number <= count)


def write_header(folder: Path, header: RunHeader) -> None:
    """Write grid.json atomically, making the folder where it is missing."""
    write_json(header_path(folder), to_json(header))


def read_header(folder: Path) -> RunHeader | None:
    """The run folder's header, or None where there is none.

    Raises:
        InputError: when grid.json is malformed.
    """
    path = header_path(folder)
    if not path.is_file():
        return None
    try:
        header = from_json(RunHeader, json.loads(path.read_text(encoding="utf-8")))
        for part in ("searchers", "selectors", "diagnostics", "sources", "sizes"):
            told = header.options.get(part, {})
            if not isinstance(told, dict):
                raise InputError(f"option {part!r} cannot be {told!r:.80}")
    except ValueError as error:
        raise InputError(f"{path}: {error}; restore it, or run the grid in another folder") from None
    return header
