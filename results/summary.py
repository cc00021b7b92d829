"""summary.json: a report's numbers for machines. Each class is one JSON object, field by field (docs/report.md)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from dartboard.benchmark.errors import InputError
from dartboard.results.blame import blame
from dartboard.results.board import SHARING, Board
from dartboard.results.contrasts import contrasts
from dartboard.results.failure_modes.catalogue import mode
from dartboard.results.failure_modes.verdicts import Verdict, tally
from dartboard.results.json_lines import from_json
from dartboard.results.rundata import RunData
from dartboard.results.standings import criterion_standings
from dartboard.results.statistics import Estimate

SCHEMA: Final = "dartboard-summary"

SCHEMA_VERSION: Final = 1
"""Raised when a field changes its meaning or goes; a file of another version is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A number with its interval over supernets."""

    value: float
    low: float | None  # null: one supernet has no interval
    high: float | None
    n: int  # supernets
    level: float  # of the interval, 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One selector with one search method: a square of the heat map."""

    searcher: str
    selector: str
    control: str | None  # null: a criterion; "blind", "truth": a control
    ok: int
    failed: int
    accuracy: Interval | None  # percent: interquartile mean over supernets; null where every run failed
    accuracy_mean: float | None
    regret_mean: float | None  # points
    percentile_mean: float | None
    selection_images_mean: float | None
    search_images_mean: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A selector against the reference on the same supernets, in points of accuracy."""

    searcher: str | None  # null: of all search methods
    selector: str
    control: str | None
    reference: str
    mean: Interval
    improvement: Interval  # probability of a better cell
    better: int
    equal: int
    worse: int
    p: float  # exact permutation test, two-sided
    corrected_p: float  # after Holm


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """A criterion's place on the same supernets."""

    selector: str
    accuracy: Interval  # percent: interquartile mean
    rank: float | None  # null: not ranked
    reason: str  # why not


@dataclass(frozen=True, slots=True, kw_only=True)
class Blamed:
    """A criterion's mean regret in two parts, in points."""

    searcher: str | None  # null: of all search methods
    selector: str
    regret: Interval
    supernet: Interval
    selection: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How often a failure mode was present."""

    failure: str
    of: str  # "run", "supernet" or "seeds"
    searcher: str
    selector: str | None  # null: of supernets
    present: int
    absent: int
    unknown: int
    magnitude: float | None  # median of those known
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """One ranking: runs that may be compared."""

    dataset: str
    kind: str  # "weight-sharing" or "trains cells"
    metric: str  # <dataset>/<split>/<epochs>
    best_accuracy: float | None  # percent, of the table's best cell
    supernets: int
    results: tuple[Result, ...]
    gains: tuple[Gain, ...]
    ranks: tuple[Rank, ...]
    friedman_p: float | None
    critical_difference: float | None
    blame: tuple[Blamed, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The whole file."""

    schema: Literal["dartboard-summary"]
    schema_version: int = SCHEMA_VERSION
    name: str
    folders: tuple[str, ...]
    table: tuple[str, ...]
    table_official: bool
    ok: int
    failed: int
    findings: Mapping[str, tuple[str, ...]]  # sentences by data set
    rankings: tuple[Ranking, ...]


def summary(
    run: RunData,
    boards: Sequence[Board],
    verdicts: Mapping[str, Sequence[Verdict]],
    findings: Mapping[str, Sequence[str]],
) -> Summary:
    """What a report says, in numbers."""
    records = [record for _, record in run.records]
    return Summary(
        schema=SCHEMA,
        name=run.name,
        folders=tuple(run.folders),
        table=tuple(dict.fromkeys(record.table for record in records if record.table is not None)),
        table_official=all(record.table_official is True for record in records),
        ok=sum(record.ok for record in records),
        failed=sum(not record.ok for record in records),
        findings={dataset: tuple(said) for dataset, said in findings.items()},
        rankings=tuple(_ranking(board, verdicts[board.slug]) for board in boards),
    )


def _ranking(board: Board, verdicts: Sequence[Verdict]) -> Ranking:
    records = board.records if board.kind == SHARING else []  # without a supernet, there is nothing to choose from it
    standings = criterion_standings(records, board.dataset, header=board.run.header)
    return Ranking(
        dataset=board.dataset,
        kind=board.kind,
        metric=board.metric,
        best_accuracy=_rounded(board.best),
        supernets=len(board.searches),
        results=tuple(
            Result(
                searcher=row.searcher,
                selector=row.selector,
                control=row.control,
                ok=row.ok,
                failed=row.failed,
                accuracy=_interval(board.middles.get((row.searcher, row.selector))),
                accuracy_mean=_rounded(row.accuracy.mean if row.accuracy else None),
                regret_mean=_rounded(row.regret.mean if row.regret else None),
                percentile_mean=_rounded(row.percentile.mean if row.percentile else None),
                selection_images_mean=_rounded(row.selection_images.mean if row.selection_images else None),
                search_images_mean=_rounded(row.search_images.mean if row.search_images else None),
            )
            for row in board.rows
        ),
        gains=tuple(
            Gain(
                searcher=entry.searcher,
                selector=entry.selector,
                control=entry.control,
                reference=entry.reference,
                mean=_known(entry.mean),
                improvement=_known(entry.improvement),
                better=entry.better,
                equal=entry.equal,
                worse=entry.worse,
                p=round(entry.permutation.p, 6),
                corrected_p=round(entry.corrected_p, 6),
            )
            for entry in contrasts(records, board.dataset)
        ),
        ranks=tuple(
            Rank(selector=row.name, accuracy=_known(row.accuracy), rank=_rounded(row.rank), reason=row.reason)
            for row in standings.rows
        ),
        friedman_p=_rounded(standings.ranking.p if standings.ranking else None),
        critical_difference=_rounded(standings.ranking.critical_difference if standings.ranking else None),
        blame=tuple(
            Blamed(
                searcher=entry.searcher,
                selector=entry.selector,
                regret=_known(entry.regret),
                supernet=_known(entry.supernet),
                selection=_known(entry.selection),
            )
            for entry in blame(records, board.dataset)
        ),
        failures=tuple(
            Failure(
                failure=entry.mode,
                of=mode(entry.mode).scope,
                searcher=entry.searcher,
                selector=entry.selector,
                present=entry.present,
                absent=entry.absent,
                unknown=entry.unknown,
                magnitude=_rounded(entry.magnitude),
                unit=mode(entry.mode).unit,
            )
            for entry in tally(verdicts)
        ),
    )


def _interval(estimate: Estimate | None) -> Interval | None:
    return None if estimate is None else _known(estimate)


def _known(estimate: Estimate) -> Interval:
    return Interval(
        value=round(estimate.value, 6),
        low=_rounded(estimate.low),
        high=_rounded(estimate.high),
        n=estimate.n,
        level=estimate.level,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)


# The file.


def summary_text(values: Summary) -> str:
    """The file's content."""
    return json.dumps(dataclasses.asdict(values), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_summary(path: Path) -> Summary:
    """The inverse of `summary_text`, from a file.

    Raises:
        InputError: when it is of another schema or version, or a field is missing, unknown or of another type.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    told = (values.get("schema"), values.get("schema_version")) if isinstance(values, dict) else None
    if told != (SCHEMA, SCHEMA_VERSION):
        raise InputError(f"{path}: not a {SCHEMA} of version {SCHEMA_VERSION}")
    try:
        return from_json(Summary, values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
