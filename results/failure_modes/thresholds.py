"""From where on a failure mode counts as present: the defaults, and what a grid sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dartboard.benchmark.errors import InputError, unknown
from dartboard.results.rundata import RunData


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From where on a mode counts as present. A grid changes them in its section `[thresholds]`."""

    skips: int = 4  # edges, of 6
    nones: int = 3  # edges, of 6
    pools: int = 4  # edges, of 6
    width_preference: float = 0.1  # of 1: weight kept on edges from the input above that on inner edges
    grown_edges: int = 2  # edges, of 6
    off_margin: float = 0.05  # of 1: weight of none above the next largest
    gap: float = 10.0  # points of validation accuracy
    eigenvalue_ratio: float = 1.3
    eigenvalue_window: int = 5  # measurements
    eigenvalue_lag: int = 4  # measurements
    eigenvalue_after: int = 10  # epochs
    eigenvalue: float = 0.0  # 0: a single one is not judged
    agreement: float = 0.5  # Spearman's rank correlation
    spread: float = 1.0  # points: standard deviation over seeds
    lost: float = 1.0  # points of true accuracy
    kendall: float = 0.5  # Kendall's rank correlation
    right_edges: int = 5  # edges, of 6
    greed_regret: float = 0.5  # points
    starved_edges: int = 3  # edges, of 6
    alpha: float = 0.05  # level of tests


def thresholds(values: Mapping[str, Any]) -> Thresholds:
    """The thresholds that a grid's section sets, the others as they are.

    Raises:
        InputError: quoting a name that is none, or a value of the wrong kind.
    """
    defaults = {entry.name: entry.default for entry in dataclasses.fields(Thresholds)}
    for name, value in values.items():
        if name not in defaults:
            raise unknown("threshold", name, defaults)
        whole = isinstance(defaults[name], int)
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not 0 <= value < 1e9:
            kind = "a whole number" if whole else "a number"
            raise InputError(f"the threshold {name} is {kind} of at least 0; got {value!r}")
    if not 0 < values.get("alpha", 0.5) < 1:
        raise InputError(f"the threshold alpha is between 0 and 1; got {values['alpha']!r}")
    return Thresholds(**values)


def thresholds_of(run: RunData) -> Thresholds:
    """The thresholds that the run's grid set, or the defaults.

    Raises:
        InputError: when what it set is none.
    """
    told = run.header.options.get("thresholds") if run.header else None
    return thresholds(told or {})
