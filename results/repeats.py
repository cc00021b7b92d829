"""Selections made again: the same trained supernets, other batches. What of a criterion's answer is luck?

    DIR/repeats.jsonl    one `RepeatRecord` a line, beside records.jsonl and never mixed with it

`dartboard.results.scatter` says what they come to. Documented for users in docs/selection.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from dartboard.results.json_lines import append_line, read_latest, to_json
from dartboard.results.records import SCHEMA_VERSION, SearchKey


class RepeatKey(NamedTuple):
    """What tells a repeat from every other of its folder."""

    searcher: str
    dataset: str
    seed: int
    selector: str
    repeat: int
    budget: int | None
    part: int | None  # what the knob of an any-time curve was set to; None: the whole selection

    def __str__(self) -> str:
        told = f"{self.searcher} on {self.dataset}, seed {self.seed}, {self.selector}, repeat {self.repeat}"
        told += "" if self.budget is None else f", budget {self.budget:,}"
        return told if self.part is None else f"{told}, after {self.part}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatRecord:
    """One selector's answer for one trained supernet on batches of its own."""

    # The key.
    searcher: str
    dataset: str
    seed: int
    selector: str
    repeat: int  # from 1
    budget: int | None = None  # images that the selector was allowed to push; None: no bound
    part: int | None = None  # what the knob was set to, for an any-time curve; None: the whole selection
    # The outcome.
    status: Literal["ok", "failed"] = "ok"
    error: str | None = None  # one line
    control: str | None = None  # as in a `RunRecord`
    knob: str | None = None  # the field of the configuration that sets the effort
    effort: int | None = None  # what it was set to; None: no such knob, or one pass over the images
    cell: str | None = None
    cell_number: int | None = None
    metric: str | None = None
    accuracy: float | None = None  # percent
    regret: float | None = None
    rank: int | None = None
    scores: tuple[tuple[float | None, ...], ...] | None = None  # (E, O)
    # Costs.
    selection_images: int | None = None
    selection_gradient_images: int | None = None
    selection_seconds: float | None = None
    selection_memory_mb: float | None = None
    # Provenance.
    table_sha256: str | None = None
    dartboard_version: str | None = None
    torch_version: str | None = None
    commit: str | None = None
    device: str | None = None
    finished_at: str | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def key(self) -> RepeatKey:
        """What tells this repeat from every other of its folder."""
        return RepeatKey(
            self.searcher, self.dataset, self.seed, self.selector, self.repeat, self.budget, self.part
        )  # fmt: skip

    @property
    def search(self) -> SearchKey:
        """The trained supernet."""
        return SearchKey(self.searcher, self.dataset, self.seed)

    @property
    def ok(self) -> bool:
        """Whether it came to a cell."""
        return self.status == "ok"


def repeats_path(folder: Path) -> Path:
    """The file of a run folder's repeats."""
    return folder / "repeats.jsonl"


def append_repeat(folder: Path, record: RepeatRecord) -> None:
    """Add a repeat to a run folder, durably."""
    append_line(repeats_path(folder), to_json(record))


def read_repeats(folder: Path) -> list[RepeatRecord]:
    """The repeats of a run folder in the file's order; of one key, the last line counts; [] where there is no file.

    Raises:
        InputError: with the file and line, when a line before the last is malformed.
    """
    return [record for _, record in read_latest(repeats_path(folder), RepeatRecord, lambda record: record.key)]
