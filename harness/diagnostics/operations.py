"""How much of the mixture each operation has, and on how many edges it is the largest.

    share[o] = 1/E Σ_e p[e, o],    edges[o] = the number of edges e with argmax p[e] = o,    none[e] = p[e, none]

Skip domination, the take-over of `none` and the take-over of pooling begin here, long before the cell is chosen.
"""

from __future__ import annotations

from dartboard.benchmark.space import NONE, OPERATIONS, Cell
from dartboard.harness.diagnostics._subject import Measurement, Subject


def measure(subject: Subject) -> Measurement:
    """Of the last epoch of the trajectory."""
    p = subject.trained.trajectory[-1]
    share = dict(zip(OPERATIONS, p.mean(axis=0).tolist(), strict=True))
    return Measurement({"share": share, "edges": Cell.from_scores(p).counts, "none": p[:, NONE]})
