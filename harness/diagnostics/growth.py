"""Whether edges grow or are pruned, and whether the search prefers width or depth.

S. Xie, S. Hu, X. Ren, C. Chen, L. Lin, "Understanding the wiring evolution in differentiable neural architecture
search", AISTATS 2021, arXiv:2009.01272, tell of three patterns: edges are first driven to `none` and some recovered
later (growing, not pruning); edges from the cell's input are kept more readily (wider, not deeper); with the
architecture trained on held-out images none survives. With p the mixing weights,

    edge e is on in an epoch    ⇔ argmax_o p[e, o] is not `none`
    width_preference = mean of 1 - p[e, none] over the three edges from the cell's input
                       less that over the three edges between the other nodes
    expected_depth = Σ_x Π_e p[e, x_e] · depth(x) over all cells x, exactly

and likewise the expected depth in convolutions and the expected width. Differences from the paper: there the patterns
are read from figures; the measures are ours.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dartboard.benchmark.space import EDGES, NONE, SPACE_SIZE, conv_depth, depth, width
from dartboard.harness.diagnostics._subject import Measurement, Subject

FROM_INPUT: Final = [e for e, (_, source) in enumerate(EDGES) if source == 0]
INNER: Final = [e for e, (_, source) in enumerate(EDGES) if source != 0]


@lru_cache(maxsize=1)
def _shapes() -> NDArray[np.float64]:
    """(3, 15625): depth, depth in convolutions and width of every cell, by number."""
    numbers = np.arange(SPACE_SIZE)
    return np.stack([depth(numbers).astype(np.float64), conv_depth(numbers).astype(np.float64), width(numbers)])


def cell_probabilities(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """(15625,): how likely each cell is, by number, when each edge's operation is drawn from its row of `p` (E, O)."""
    likely = np.ones(1)
    for row in p:
        likely = np.outer(likely, row).ravel()
    return likely


def events(on: NDArray[np.bool_]) -> dict[str, Any]:
    """What became of the edges, given whether each was on after each epoch (epochs, E)."""
    before, after = on[:-1], on[1:]
    turned_on, turned_off = ~before & after, before & ~after
    last = len(on) > 1
    return {
        "on": on[-1],
        "turned_on": np.flatnonzero(turned_on[-1]) if last else [],
        "turned_off": np.flatnonzero(turned_off[-1]) if last else [],
        "first_on": [int(edge.argmax()) + 1 if edge.any() else None for edge in on.T],
        "recovered": turned_on.sum(axis=0),
        "flips": (before != after).sum(axis=0),
    }


def measure(subject: Subject) -> Measurement:
    """Of the trajectory so far."""
    trajectory = subject.trained.trajectory
    kept = 1 - trajectory[-1][:, NONE]
    expected = _shapes() @ cell_probabilities(trajectory[-1])
    of_input, of_inner = float(kept[FROM_INPUT].mean()), float(kept[INNER].mean())
    values = events(trajectory.argmax(axis=-1) != NONE) | {
        "input_weight": of_input,
        "inner_weight": of_inner,
        "width_preference": of_input - of_inner,
        **dict(zip(("expected_depth", "expected_conv_depth", "expected_width"), expected.tolist(), strict=True)),
    }
    return Measurement(values)
