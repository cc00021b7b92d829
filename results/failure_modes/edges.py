"""Which edges a search keeps: the shallow ones rather than the deep, or ones that it drove off before."""

from __future__ import annotations

from typing import Final

import numpy as np

from dartboard.benchmark.space import NONE, Cell, E
from dartboard.results.failure_modes.case import Case, Found, no_epochs, told
from dartboard.results.failure_modes.thresholds import Thresholds
from dartboard.results.wording import count

INPUT_EDGES: Final = (0, 1, 3)
"""The edges from the cell's input to each node; the others are inner ones."""


def shallow_wide(case: Case, limits: Thresholds) -> Found:
    """Edges from the cell's input are kept more readily than inner ones. Magnitude: by how much weight.

    The mean of 1 - p_none over the edges 0→1, 0→2, 0→3 less the mean over 1→2, 1→3, 2→3 is at least `width_preference`
    (0.1). Source: "wider beats deeper", S. Xie et al., AISTATS 2021 (read in SNAS-Series); also Y. Shu, W. Wang,
    S. Cai, arXiv:1909.09569. The threshold is [OWN].
    """
    if not case.epochs:
        return no_epochs()
    kept = 1 - np.array(case.epochs[-1].mixture)[:, NONE]
    outer, inner = float(kept[list(INPUT_EDGES)].mean()), float(np.delete(kept, INPUT_EDGES).mean())
    cell = Cell.parse(case.epochs[-1].cell)
    evidence = (
        f"the weight of operations other than none is {outer:.2f} on edges from the input, {inner:.2f} on inner ones; "
        f"the argmax cell's longest path has {count(cell.depth, 'edge')} (at most "
        f"{count(cell.conv_depth, 'convolution')} on one), its width is {cell.width:.2f}"
    )
    return told(outer - inner >= limits.width_preference, outer - inner, evidence)


def growing(case: Case, limits: Thresholds) -> Found:
    """Edges are driven off first and recovered later, instead of starting full and being pruned. Magnitude: how many.

    At least `grown_edges` (2) edges were off after some epoch and are on at the end. An edge is off when `none` has its
    largest weight, by at least `off_margin` (0.05), and on when `none` has not. The margin keeps the noise of a
    beginning near the uniform weights from being counted. Source: "growing, not pruning", S. Xie et al., AISTATS 2021
    (read in SNAS-Series). The thresholds are [OWN].
    """
    if len(case.epochs) < 2:
        return no_epochs()
    weights = np.array([epoch.mixture for epoch in case.epochs])  # (epochs, E, O)
    above = weights[:, :, NONE] - np.delete(weights, NONE, axis=2).max(axis=2)  # (epochs, E)
    off, on = above >= limits.off_margin, above[-1] < 0
    grown, most = int((off.any(axis=0) & on).sum()), int(off.sum(axis=1).argmax())
    evidence = (
        f"{grown} of {E} edges that were off are on at the end; {off[most].sum()} were off at once at most"
        + (f" (after epoch {case.epochs[most].epoch})" if off.any() else "")
        + f"; none leads on {int((~on).sum())} at the end"
    )
    return told(grown >= limits.grown_edges, grown, evidence)
