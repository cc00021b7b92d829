"""The regression gate: what a run chose, kept in a file, and how another run differs from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from dartboard.benchmark.errors import InputError
from dartboard.results.json_lines import from_json, write_json
from dartboard.results.records import RunKey, RunRecord
from dartboard.results.rundata import read_run

BASELINE_VERSION: Final = 1

Kind = Literal["cell", "accuracy", "metric", "table", "failed", "mended", "missing", "new"]
"""cell: another cell; accuracy: the same cell, another accuracy; metric, table: judged by another; failed: no cell any
more; mended: a cell where there was none; missing: no record any more; new: not in the baseline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a baseline holds of one run."""

    status: str  # "ok" or "failed"
    cell: str | None
    metric: str | None
    accuracy: float | None  # percent
    table_sha256: str | None

    @classmethod
    def of(cls, record: RunRecord) -> Expectation:
        """What a record leaves to be compared."""
        return cls(
            status=record.status,
            cell=record.cell,
            metric=record.metric,
            accuracy=record.accuracy,
            table_sha256=record.table_sha256,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One run that is not as the baseline has it."""

    key: RunKey
    kind: Kind
    before: Expectation | None  # None: not in the baseline
    after: Expectation | None  # None: not recorded

    def __str__(self) -> str:
        """The difference in a line."""
        before, after = self.before, self.after
        if before is None:
            return f"{self.key}: new, not in the baseline: {_outcome(after)}"
        if after is None:
            return f"{self.key}: missing, not recorded; was {_outcome(before)}"
        if self.kind == "metric":
            return f"{self.key}: judged by another metric: was {before.metric}, is {after.metric}"
        if self.kind == "table":
            tables = f"was {_short(before.table_sha256)}, is {_short(after.table_sha256)}"
            return f"{self.key}: another table (SHA-256 {tables}); cell and accuracy are the same"
        words = {
            "cell": "another cell",
            "accuracy": "another accuracy",
            "failed": "fails now",
            "mended": "failed before",
        }
        table = "" if before.table_sha256 == after.table_sha256 else " (and the table is another)"
        return f"{self.key}: {words[self.kind]}{table}\n    was {_outcome(before)}\n    is  {_outcome(after)}"


def _outcome(expectation: Expectation | None) -> str:
    if expectation is None or expectation.status != "ok":
        return "failed"
    accuracy = "unknown" if expectation.accuracy is None else f"{expectation.accuracy:.4f} %"
    return f"{expectation.cell}  {accuracy} on {expectation.metric}"


def _short(sha256: str | None) -> str:
    return sha256[:12] if sha256 else "unknown"


def expectations(folder: Path) -> dict[RunKey, Expectation]:
    """What a run folder's records leave to be compared.

    Raises:
        InputError: when nothing is recorded in it, or a file in it is malformed.
    """
    return {record.key: Expectation.of(record) for _, record in read_run(folder).records}


def write_baseline(folder: Path, path: Path) -> dict[RunKey, Expectation]:
    """Keep what a run folder chose in a file, in place of what was there.

    Raises:
        InputError: as `expectations`, and when the file cannot be written.
    """
    kept = expectations(folder)
    runs = [{**key._asdict(), **asdict(kept[key])} for key in sorted(kept)]
    try:
        write_json(path, {"baseline_version": BASELINE_VERSION, "runs": runs})
    except OSError as error:
        raise InputError(f"cannot write the baseline {str(path)!r}: {error.strerror}") from None
    return kept


def read_baseline(path: Path) -> dict[RunKey, Expectation]:
    """The inverse of `write_baseline`.

    Raises:
        InputError: when the file is missing or not a baseline.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the baseline {str(path)!r}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(
            f"{path} is no baseline: {error}; make one with: dartboard baseline create DIR --out {path}"
        ) from None
    if not isinstance(document, dict) or document.get("baseline_version") != BASELINE_VERSION:
        raise InputError(
            f"{path} is no baseline of version {BASELINE_VERSION}: make one with: dartboard baseline create"
        )
    try:
        runs = [_run(run) for run in document["runs"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: a run of the baseline is malformed: {error!r}") from None
    if len({key for key, _ in runs}) < len(runs):
        raise InputError(f"{path}: the baseline holds a run twice")
    return dict(runs)


def _run(values: Mapping[str, Any]) -> tuple[RunKey, Expectation]:
    values = dict(values)
    key = RunKey(**{name: values.pop(name) for name in RunKey._fields})
    return key, from_json(Expectation, values)


def differences(
    before: Mapping[RunKey, Expectation], after: Mapping[RunKey, Expectation], *, tolerance: float = 0.0
) -> list[Difference]:
    """Every run that is not as before, by key.

    Args:
        before: the baseline.
        after: the run.
        tolerance: how many percentage points the accuracy of the same cell may differ.

    Raises:
        InputError: when the tolerance is negative or no number.
    """
    if not tolerance >= 0:
        raise InputError(f"a tolerance is a number of percentage points, 0 or more; got {tolerance}")
    found = []
    for key in sorted({*before, *after}):
        kind = _kind(before.get(key), after.get(key), tolerance)
        if kind is not None:
            found.append(Difference(key=key, kind=kind, before=before.get(key), after=after.get(key)))
    return found


def _kind(before: Expectation | None, after: Expectation | None, tolerance: float) -> Kind | None:
    if before is None:
        return "new"
    if after is None:
        return "missing"
    if before.status != after.status:
        return "failed" if before.status == "ok" else "mended"
    if before.cell != after.cell:
        return "cell"
    if before.status == "ok" and before.metric != after.metric:
        return "metric"
    if before.accuracy != after.accuracy and (
        before.accuracy is None or after.accuracy is None or abs(before.accuracy - after.accuracy) > tolerance
    ):
        return "accuracy"
    return "table" if before.table_sha256 != after.table_sha256 else None
