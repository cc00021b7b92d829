"""The cell that the largest mixing weights name, and what is true of it.

    cell = argmax_o p[e, o] of each edge e,    `none` allowed, and not

with its accuracy and regret by the table, its depth (Y. Shu, W. Wang, S. Cai, ICLR 2020, arXiv:1909.09569: edges on the
longest path from input to output), depth in convolutions and width (see `dartboard.benchmark.space`). Where the cell of
one epoch is better than that of the last, the search passed through it and lost it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dartboard.benchmark.ground_truth import GroundTruth, Metric
from dartboard.benchmark.space import NONE, Cell
from dartboard.harness.diagnostics._subject import Measurement, Subject


def facts(cell: Cell, truth: GroundTruth, metric: Metric) -> dict[str, Any]:
    """What is recorded of a cell."""
    return {
        "cell": str(cell),
        "accuracy": truth.lookup(cell, metric),
        "regret": truth.regret(cell, metric),
        "depth": cell.depth,
        "conv_depth": cell.conv_depth,
        "width": cell.width,
        "connected": cell.connected,
        "counts": cell.counts,
    }


def measure(subject: Subject) -> Measurement:
    """Of the last epoch of the trajectory."""
    p = subject.trained.trajectory[-1]
    without = p.copy()
    without[:, NONE] = -np.inf
    cells = {"allowed": Cell.from_scores(p), "no_none": Cell.from_scores(without)}
    told = {name: facts(cell, subject.truth, subject.metric) for name, cell in cells.items()}
    return Measurement({"metric": str(subject.metric), **told})
