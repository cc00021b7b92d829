"""A cell that is made of one operation, or leads nowhere."""

from __future__ import annotations

from dartboard.benchmark.space import NONE, OPERATIONS, POOL, SKIP, Cell, E, live_edges
from dartboard.results.failure_modes.case import Case, Found, cell_of, no_cell, told
from dartboard.results.failure_modes.thresholds import Thresholds
from dartboard.results.judged import REFERENCE
from dartboard.results.wording import listed


def skip_collapse(case: Case, limits: Thresholds) -> Found:
    """The cell is made of skips: their number on the six edges is at least `skips` (4). Magnitude: that number.

    Source: that DARTS ends in skips on NAS-Bench-201 is known as issue 58 of AutoDL-Projects. The threshold is [OWN]:
    in the official table the mean accuracy by number of skips is 86.6 % at 3, 82.7 at 4, 75.0 at 5 and 54.3 at 6; 1.7 %
    of all cells have 4 or more.
    """
    return _carries(case, SKIP, limits.skips)


def none_takeover(case: Case, limits: Thresholds) -> Found:
    """Edges are not selected at all: the number of `none` on the six edges is at least `nones` (3). Magnitude: it.

    Source: S. Xie et al., AISTATS 2021 ("no edge survives in bi-level training", read in their code, SNAS-Series). The
    threshold is [OWN]: in the official table the mean accuracy by number of `none` is 87.9 % at 2, 74.6 at 3 and 45.3
    at 4; 9.9 % of all cells have 3 or more, so that one such cell may be chance.
    """
    return _carries(case, NONE, limits.nones)


def pooling_takeover(case: Case, limits: Thresholds) -> Found:
    """The cell is made of poolings: their number on the six edges is at least `pools` (4). Magnitude: that number.

    Source: [OWN], by the same measure as skips: in the official table the mean accuracy by number of poolings is 83.1 %
    at 3, 76.8 at 4, 65.8 at 5 and 49.0 at 6; 1.7 % of all cells have 4 or more.
    """
    return _carries(case, POOL, limits.pools)


def _carries(case: Case, operation: int, least: int) -> Found:
    """Whether so many edges carry an operation."""
    cell = cell_of(case)
    if cell is None:
        return no_cell(case)
    n, name = cell.operations.count(operation), OPERATIONS[operation]
    others = [f"{k} {other}" for other, k in cell.counts.items() if k and other != name]
    evidence = f"{n} of {E} edges carry {name}" + (f", the others {listed(others)}" if others else "")
    if case.selector == REFERENCE and case.epochs:
        had = [Cell.parse(epoch.cell).operations.count(operation) >= least for epoch in case.epochs]
        if any(had):
            first = case.epochs[had.index(True)].epoch
            evidence += (
                f"; the argmax cell had {least} or more after {sum(had)} of {len(had)} epochs, first after {first}"
            )
    return told(n >= least, n, evidence)


def disconnection(case: Case, limits: Thresholds) -> Found:  # noqa: ARG001  (there is no threshold in it)
    """No path without `none` leads from the cell's input to its output. Magnitude: the edges that are on no path.

    Source: the space itself; 341 of the 15,625 cells are so, and at chance level (10.0 %) in the official table.
    """
    cell = cell_of(case)
    if cell is None:
        return no_cell(case)
    dead = E - int(live_edges(cell.number).sum())
    path = "a path leads" if cell.connected else "no path leads"
    return told(not cell.connected, dead, f"{path} from input to output; {dead} of {E} edges are on none")
