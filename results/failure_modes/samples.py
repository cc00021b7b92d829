"""Made-up cases, small enough to be judged by hand: for tests. No number here is a measurement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dartboard.benchmark.space import NONE, SKIP, Cell, E, O
from dartboard.results.diagnostics import DiagnosticRecord
from dartboard.results.failure_modes.case import Answer, Case, Found
from dartboard.results.records import EpochRecord, RunRecord

METRIC: Final = "cifar10/test/200"

BEST: Final = 95.0
"""Percent: what the made-up table's best cell has."""

STRENGTHS: Final = tuple(tuple(80.0 + o for o in range(O)) for _ in range(E))
"""(E, O): on each edge the operations are as strong as their place, the last one most."""


def choice(
    cell: Cell | None = None, *, accuracy: float = 90.0, seed: int = 0, selector: str = "magnitude", **more: Any
) -> RunRecord:
    """A choice, or a failed run where there is no cell. Its percentile is as large as its accuracy."""
    key: dict[str, Any] = {"searcher": "darts", "dataset": "digits", "seed": seed, "selector": selector}
    if cell is None:
        return RunRecord(**key, status="failed", error="boom")
    values: dict[str, Any] = {"metric": METRIC, "accuracy": accuracy, "regret": BEST - accuracy, "percentile": accuracy}
    return RunRecord(**key, status="ok", cell=str(cell), **(values | more))


def case(*runs: RunRecord, **more: Any) -> Case:
    """A case of these choices."""
    first: dict[str, Any] = {"dataset": "digits", "searcher": "darts", "metric": METRIC, "others": runs}
    return Case(**(first | {"selector": runs[0].selector if runs else None, "seed": 0, "runs": runs} | more))


def epoch(number: int, mixture: ArrayLike | None = None, accuracy: float | None = None) -> EpochRecord:
    """An epoch with these mixing weights (uniform by default), whose argmax cell has that accuracy."""
    weights = np.full((E, O), 1 / O) if mixture is None else np.asarray(mixture, dtype=np.float64)
    return EpochRecord(
        epoch=number,
        mixture=tuple(tuple(row) for row in weights.tolist()),
        cell=str(Cell.from_scores(weights)),
        accuracies={} if accuracy is None else {METRIC: accuracy},
    )


def none_at(values: Sequence[float]) -> NDArray[np.float64]:
    """(E, O): these weights of `none`, the rest of each edge on the skip."""
    mixture = np.zeros((E, O))
    mixture[:, NONE], mixture[:, SKIP] = values, 1 - np.array(values)
    return mixture


def diagnostic(name: str, at: int | None = None, error: str | None = None, **values: Any) -> DiagnosticRecord:
    """A diagnostic of the trained supernet, or as an epoch left it."""
    return DiagnosticRecord(name=name, epoch=at, values=values, error=error)


def answered(found: Found) -> tuple[Answer, float | None]:
    """The answer and its magnitude."""
    return found.answer, found.magnitude
