"""How selections scatter, as tables: for JSON, for a person, for a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any, Final

import numpy as np

from dartboard.results.aggregate import Summary
from dartboard.results.records import SearchKey
from dartboard.results.scatter import BudgetPoint, Pooled, Scatter
from dartboard.results.wording import number


def facts(row: Scatter | Pooled | BudgetPoint) -> dict[str, Any]:
    """A row in JSON's types; a number that is not finite is None."""
    values: dict[str, Any] = {}
    for entry in fields(row):
        value = getattr(row, entry.name)
        if isinstance(value, SearchKey):
            values |= value._asdict()
        elif isinstance(value, Summary):
            values[entry.name] = asdict(value)
        elif isinstance(value, np.ndarray):
            values[entry.name] = [[float(x) if np.isfinite(x) else None for x in edge] for edge in value]
        else:
            values[entry.name] = value
    return values


WORDS: Final = (
    "Accuracy in percent, the mean over supernets. Std within: between repeats on one supernet (root mean square).",
    "Std between: between the supernets' means. Modal cell: share of the repeats that chose the commonest cell.",
    "Score noise: the std over repeats of the scores' differences within an edge, as a multiple of their spread there.",
)
"""How to read the tables."""


def repeat_table(rows: Sequence[Pooled]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and lines for a person: whole selections."""
    own = ("repeats", "accuracy", "std within", "std between", "modal cell", "score noise", "images")
    lines = []
    for row in rows:
        if row.part is None:
            ran = f"{row.repeats} on {row.supernets}" + (f" ({row.failed} failed)" if row.failed else "")
            between = number(None if row.accuracy is None else row.accuracy.std)
            mean, within, modal, noise, images = _told(row)
            lines.append((*_head(row), ran, mean, within, between, modal, noise, images))
    return (*_HEAD, *own), lines


def part_table(rows: Sequence[Pooled]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and lines for a person: any-time curves."""
    own = ("after", "accuracy", "std within", "modal cell", "score noise", "edges as in the end", "images")
    lines = []
    for row in rows:
        if row.part is not None:
            mean, within, modal, noise, images = _told(row)
            after, agreed = f"{row.knob} {row.part:,}", _percent(row.agreement)
            lines.append((*_head(row), after, mean, within, modal, noise, agreed, images))
    return (*_HEAD, *own), lines


_HEAD: Final = ("searcher", "data set", "selector", "budget")


def _head(row: Pooled) -> tuple[str, ...]:
    return row.searcher, row.dataset, row.selector, "-" if row.budget is None else f"{row.budget:,}"


def _told(row: Pooled) -> tuple[str, str, str, str, str]:
    mean = number(None if row.accuracy is None else row.accuracy.mean)
    images = "-" if row.images is None else f"{row.images:,.0f}"
    return mean, number(row.within_std), _percent(row.modal_share), number(row.noise), images


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"
