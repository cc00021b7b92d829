"""The mixing weights of each edge: their logits and their entropy.

With p (E, O) the mixing weights, averaged over the network's cells where each has its own,

    logits[e, o] = ln p[e, o] - 1/O Σ_k ln p[e, k]
    entropy[e] = -Σ_o p[e, o] ln p[e, o],    relative_entropy[e] = entropy[e]/ln O

The logits are the searcher's own up to a constant for each edge where the mixture is a softmax, and defined for every
other searcher as well; an edge on which a weight is 0 has none. The relative entropy is 0 for one operation alone and 1
for the uniform mixture.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dartboard.benchmark.space import O
from dartboard.harness.diagnostics._subject import Measurement, Subject


def centred_logits(p: NDArray[np.float64]) -> list[list[float] | list[None]]:
    """(E, O): ln p less its mean over each edge; None on an edge where a weight is 0."""
    rows: list[list[float] | list[None]] = []
    for row in p:
        logs = np.log(row) if (row > 0).all() else None
        rows.append([None] * len(row) if logs is None else (logs - logs.mean()).tolist())
    return rows


def entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """(E,): of each edge, in nats; 0 ln 0 = 0."""
    logs = np.log(p, where=p > 0, out=np.zeros_like(p))
    return np.asarray(0 - (p * logs).sum(axis=-1))


def measure(subject: Subject) -> Measurement:
    """Of the last epoch of the trajectory."""
    p = subject.trained.trajectory[-1]
    of_edges = entropy(p)
    values: dict[str, Any] = {
        "mixture": p,
        "logits": centred_logits(p),
        "entropy": of_edges,
        "relative_entropy": of_edges / np.log(O),
        "mean_relative_entropy": float(of_edges.mean() / np.log(O)),
    }
    return Measurement(values)
