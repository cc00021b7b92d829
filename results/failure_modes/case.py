"""What a failure mode is: a small pure function of a `Case` and of `Thresholds`; and what the modes share.

It answers `present`, `absent` or `unknown`; an unknown one names what to ask for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from dartboard.benchmark.space import Cell
from dartboard.results.diagnostics import DiagnosticRecord, by_epoch, of_trained
from dartboard.results.failure_modes.thresholds import Thresholds
from dartboard.results.judged import undecided
from dartboard.results.records import EpochRecord, RunRecord

Answer: TypeAlias = Literal["present", "absent", "unknown"]
Scope: TypeAlias = Literal["run", "supernet", "seeds"]

NO_MIXTURE: Final = ("the mixing weights are equal, and rank nothing", "a search that moves its mixture")
"""Why a mixture cannot be judged, and what to ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a mode is asked about, and all that is known of it."""

    dataset: str
    searcher: str
    selector: str | None = None  # None where the scope is a supernet
    seed: int | None = None  # None where the scope is all seeds
    runs: tuple[RunRecord, ...] = ()  # of the selector: one choice, or all seeds'; of a supernet: every choice from it
    others: tuple[RunRecord, ...] = ()  # all of the data set's that came to a cell with a known regret
    epochs: tuple[EpochRecord, ...] = ()  # of the supernet
    diagnostics: tuple[DiagnosticRecord, ...] = ()  # of the supernet
    options: Mapping[str, Any] = field(default_factory=dict)  # the selector's
    strength: tuple[tuple[float, ...], ...] | None = None  # (E, O), percent: mean accuracy with an operation on an edge
    metric: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A mode's answer."""

    answer: Answer
    evidence: str  # a sentence with its numbers
    magnitude: float | None = None  # in the mode's unit
    needs: tuple[str, ...] = ()  # what to ask for, where the answer is unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """A way to fail."""

    key: str
    title: str
    scope: Scope
    rule: str  # from where on it is present, with the thresholds' names in braces
    unit: str  # of the magnitude
    judge: Callable[[Case, Thresholds], Found]

    def rule_at(self, limits: Thresholds) -> str:
        """The rule with the thresholds that count."""
        return self.rule.format(**dataclasses.asdict(limits))


# How modes answer.


def told(present: bool, magnitude: float | None, evidence: str) -> Found:
    """Present or absent."""
    return Found(answer="present" if present else "absent", magnitude=magnitude, evidence=evidence)


def untold(evidence: str, *needs: str) -> Found:
    """Unknown, for lack of what it needs."""
    return Found(answer="unknown", evidence=evidence, needs=needs)


# What they look at.


def cell_of(case: Case) -> Cell | None:
    """The cell of a single choice; None where it came to none, or by no scores that decide."""
    chosen = decided(case)
    return Cell.parse(chosen[0].cell) if chosen and chosen[0].cell else None


def decided(case: Case) -> list[RunRecord]:
    """The choices that came to a cell with an accuracy, by scores that decide."""
    return [record for record in case.runs if record.ok and record.accuracy is not None and not undecided(record)]


def no_cell(case: Case) -> Found:
    """The answer where the run came to no cell of its own, or to one of which nothing is known."""
    if any(undecided(record) for record in case.runs):
        return untold(
            "the best scores are equal on every edge, so that the cell is the tie-break's", "a criterion that decides"
        )
    if any(record.ok for record in case.runs):
        return untold("the table has no accuracy or regret for its cell", "a table that has both")
    error = next((record.error for record in case.runs if record.error), "it left no record")
    return untold(f"the run came to no cell: {error}", "the run again (--retry-failed)")


def no_epochs() -> Found:
    """The answer where the search left too few epochs."""
    return untold("too few epochs are recorded, or without accuracies", "a search of two epochs or more")


def measured(case: Case, name: str) -> tuple[Mapping[str, Any], Found]:
    """A diagnostic of the trained supernet, or else of the last epoch; and what to answer where it is missing."""
    values = of_trained(case.diagnostics, name)
    if values is None:
        values = next(reversed(by_epoch(case.diagnostics, name).values()), None)
    if values is not None:
        return values, untold(f"{name} was measured, and came to no number", f"diagnostic {name}")
    error = next((r.error for r in case.diagnostics if r.name == name and r.error), None)
    why = f"{name} failed: {error}" if error else f"{name} was not measured"
    return {}, untold(why, f"diagnostic {name}")
