"""Which choices are compared: those that came to a cell of their own; and how they are grouped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from dartboard.results.records import EpochRecord, RunRecord, SearchKey

REFERENCE: Final = "magnitude"
"""DARTS's own rule, the largest mixing weight on each edge: the others are set against it."""

BLIND: Final = ("prior", "random")
"""The controls that a criterion has to beat to have shown anything."""


def judged(records: Iterable[RunRecord], dataset: str) -> list[RunRecord]:
    """The records of one data set that came to a cell with a known regret, by the metric of the first of them.

    A criterion that was undecided is left out: its cell is that of the tie-break, not its own.
    """
    known = [r for r in records if r.dataset == dataset and r.ok and r.accuracy is not None and r.regret is not None]
    return [record for record in known if record.metric == known[0].metric and not undecided(record)]


def undecided(record: RunRecord) -> bool:
    """Whether a criterion's best score is shared on every edge, as magnitude's under a uniform mixture."""
    if record.control is not None or not record.scores:
        return False
    best = [sorted((score for score in row if score is not None), reverse=True)[:2] for row in record.scores]
    return all(len(two) == 2 and two[0] == two[1] for two in best)


def uniform(epochs: Sequence[EpochRecord]) -> bool:
    """Whether a search ended with equal mixing weights on every edge, so that its argmax cell is the tie-break's."""
    return bool(epochs) and all(len(set(row)) == 1 for row in epochs[-1].mixture)


def by_supernet(records: Iterable[RunRecord]) -> dict[SearchKey, list[RunRecord]]:
    """The records of each supernet."""
    found: dict[SearchKey, list[RunRecord]] = {}
    for record in records:
        found.setdefault(record.search, []).append(record)
    return found


def groupings(searchers: Iterable[str], each: bool) -> list[str | None]:
    """All together (None), then `each` by itself where there are several; nothing where there is none."""
    names = list(dict.fromkeys(searchers))
    return [None, *(names if each and len(names) > 1 else [])] if names else []


def accuracy_of(record: RunRecord) -> float:
    """Percent: the accuracy of a record that is known to have one."""
    assert record.accuracy is not None
    return record.accuracy


def regret_of(record: RunRecord) -> float:
    """Points: the regret of a record that is known to have one."""
    assert record.regret is not None
    return record.regret
