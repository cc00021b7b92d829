"""What is kept of a run, and where: the layout of a run folder, its records, and how they are read and written.

    DIR/
      grid.json        `RunHeader`: the resolved grid, and what the runs were made from
      records.jsonl    one `RunRecord` a line, appended when a selector has answered
      searches/<searcher>--<dataset>--seed<k>/
          epochs.jsonl one `EpochRecord` a line, appended when an epoch is over
          diagnostics.jsonl  what was measured of the supernet (`dartboard.results.diagnostics`)
      report/          what `dartboard report` writes

A line is appended whole and synchronised to the disk. A power cut can leave a last line torn: readers pass over it and
the next append removes it, so that its run is done again. Documented for users in docs/records.md.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar

from dartboard.benchmark.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SCHEMA_VERSION: Final = 1
"""Raised when a field changes its meaning or goes; a file of another version is refused."""

MEASUREMENT_SUFFIXES: Final = ("_seconds", "_mb", "_at")
"""Fields whose names end so were measured, and differ from one execution to the next; all others are bit for bit."""

QUERIES: Final = "queries"
"""The selector's place in the record of a search that trains single cells: it chooses by itself."""

ACCURACY_PREFIX: Final = "accuracy_"


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


Row = TypeVar("Row", bound="DataclassInstance")


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


# Accuracies: "cifar10/test/200" in the code, accuracy_cifar10_test_200 in the files.

_METRIC = re.compile(r"([a-z0-9-]+)/([a-z]+)/(\d+)")
_FIELD = re.compile(ACCURACY_PREFIX + r"([a-z0-9_]+)_([a-z]+)_(\d+)")


def accuracy_field(metric: str) -> str:
    """The flat field of a metric: `accuracy_field("imagenet16-120/test/200") == "accuracy_imagenet16_120_test_200"`."""
    match = _METRIC.fullmatch(metric)
    if match is None:
        raise InputError(f"a metric is <dataset>/<split>/<epochs>, like cifar10/test/200; got {metric!r}")
    dataset, split, epochs = match.groups()
    return f"{ACCURACY_PREFIX}{dataset.replace('-', '_')}_{split}_{epochs}"


def accuracy_metric(name: str) -> str:
    """The inverse of `accuracy_field`."""
    match = _FIELD.fullmatch(name)
    if match is None:
        raise InputError(f"not an accuracy_<dataset>_<split>_<epochs> field: {name!r}")
    dataset, split, epochs = match.groups()
    return f"{dataset.replace('_', '-')}/{split}/{epochs}"


# To and from JSON.


def to_json(row: DataclassInstance) -> dict[str, Any]:
    """The flat JSON object of a record; a number that is not finite becomes None."""
    values: dict[str, Any] = {}
    for entry in dataclasses.fields(row):
        value = getattr(row, entry.name)
        if entry.name == "accuracies":
            values |= {accuracy_field(metric): _plain(value[metric]) for metric in sorted(value)}
        else:
            values[entry.name] = _plain(value)
    return values


def from_json(kind: type[Row], values: object) -> Row:
    """The inverse of `to_json`.

    Raises:
        InputError: when a field is missing, unknown or of the wrong type, or the schema is of another version.
    """
    if not isinstance(values, dict):
        raise InputError(f"expected a JSON object; got {_excerpt(values)}")
    version = values.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise InputError(f"schema_version is {version!r}; this dartboard reads version {SCHEMA_VERSION}")
    hints = typing.get_type_hints(kind)
    entries = {entry.name: entry for entry in dataclasses.fields(kind)}
    given: dict[str, Any] = {}
    accuracies: dict[str, float] = {}
    for name, value in values.items():
        if name.startswith(ACCURACY_PREFIX) and "accuracies" in entries:
            accuracies[accuracy_metric(name)] = _typed(name, value, float)
        elif name not in entries or name == "accuracies":
            raise InputError(f"unknown field {name!r}")
        else:
            given[name] = _typed(name, value, hints[name])
    if "accuracies" in entries:
        given["accuracies"] = accuracies
    missing = [
        name
        for name, entry in entries.items()
        if name not in given and entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InputError(f"missing field(s): {', '.join(missing)}")
    return kind(**given)


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
    latest: dict[RunKey, tuple[int, RunRecord]] = {}
    for number, record in read_lines(records_path(folder), RunRecord):
        latest.pop(record.key, None)
        latest[record.key] = (number, record)
    return list(latest.values())


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


def keep_lines(path: Path, keep: Callable[[int], bool]) -> None:
    """Drop the lines of a file for which `keep(number from 1)` is false, and a torn last one, atomically."""
    if path.exists():
        numbered = enumerate(_whole_lines(path.read_bytes()), start=1)
        _replace(path, b"".join(line + b"\n" for number, line in numbered if keep(number)))


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
        return from_json(RunHeader, json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def write_json(path: Path, value: object) -> None:
    """Write `value` as readable JSON in place of what was there, atomically and durably."""
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    _replace(path, text.encode() + b"\n")


def append_line(path: Path, values: dict[str, Any]) -> None:
    """Add a line of JSON to a file, durably, making the file and its folder where they are missing."""
    line = json.dumps(values, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("ab") as file:
        if not new:
            _mend(path, file.fileno())
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    if new:
        _sync_folder(path.parent)


def _mend(path: Path, descriptor: int) -> None:
    """Cut a torn last line off, and end with a newline a whole one that lacks it."""
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        tail = content[content.rfind(b"\n") + 1 :]
        if _is_json(tail):
            os.write(descriptor, b"\n")
        else:
            os.ftruncate(descriptor, len(content) - len(tail))


def _whole_lines(content: bytes) -> list[bytes]:
    """The lines of a file but for a torn last one."""
    lines = content.split(b"\n")
    tail = lines.pop()
    return [*lines, tail] if _is_json(tail) else lines


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def read_lines(path: Path, kind: type[Row]) -> list[tuple[int, Row]]:
    """The records in a file of JSON lines, each with its line's number (from 1); [] where there is no file.

    Raises:
        InputError: with the file and line, when a line before the last is malformed.
    """
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(_whole_lines(path.read_bytes()), start=1):
        try:
            rows.append((number, from_json(kind, json.loads(line))))
        except ValueError as error:
            raise InputError(f"{path}: line {number}: {error}") from None
    return rows


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(value: Any) -> Any:
    """`value` in JSON's own types; numpy's scalars and arrays are understood without importing it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Collection) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _typed(name: str, value: Any, hint: Any) -> Any:
    """`value` as the type that a field declares; JSON's lists become tuples."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        if value is None and types.NoneType in arguments:
            return None
        (hint,) = (argument for argument in arguments if argument is not types.NoneType)
        return _typed(name, value, hint)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list):
        return tuple(_typed(name, item, arguments[0]) for item in value)
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, dict):
        return {key: item if arguments[1] is Any else _typed(name, item, arguments[1]) for key, item in value.items()}
    if hint is float and type(value) in (int, float):
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise InputError(f"field {name!r} cannot be {_excerpt(value)}")


def _excerpt(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
