"""Choices and mixing weights beside the true strength of operations, as the control `edge-oracle` records it."""

from __future__ import annotations

from typing import Final

import numpy as np

from dartboard.benchmark.space import E
from dartboard.benchmark.strength import rank_agreement
from dartboard.results.failure_modes.case import NO_MIXTURE, Case, Found, cell_of, no_cell, no_epochs, told, untold
from dartboard.results.failure_modes.thresholds import Thresholds
from dartboard.results.judged import uniform
from dartboard.results.truth import PRIOR

NO_STRENGTH: Final = ("which operation is truly the strongest on an edge is not recorded", "selector edge-oracle")
"""Why choices cannot be set against the truth, and what to ask for."""


def edgewise_greed(case: Case, limits: Thresholds) -> Found:
    """Each edge right alone, the cell wrong. Magnitude: the regret in points.

    At least `right_edges` (5) of the six carry the truly strongest operation, and the regret is still at least
    `greed_regret` (0.5 points). True strength is the mean accuracy of all cells with the operation on the edge, as the
    control `edge-oracle` records it. Source: [OWN]; the strongest operation of each edge together make a cell 0.61
    points below the best in the official table, which the threshold is just under.
    """
    cell = cell_of(case)
    if cell is None or case.runs[0].regret is None:
        return no_cell(case)
    if case.strength is None:
        return untold(*NO_STRENGTH)
    strongest = np.array(case.strength).argmax(axis=1)
    right, regret = int((strongest == np.array(cell.operations)).sum()), case.runs[0].regret
    evidence = f"{right} of {E} edges carry the truly strongest operation, and the cell is {regret:.2f} points off"
    if right < limits.right_edges and regret >= limits.greed_regret:
        evidence += ": single edges are wrong already"
    return told(right >= limits.right_edges and regret >= limits.greed_regret, regret, evidence)


def magnitude_not_strength(case: Case, limits: Thresholds) -> Found:
    """Mixing weights do not rank operations as the truth does. Magnitude: Spearman's correlation, the edges' mean.

    The correlation over the operations of an edge between p and true strength, averaged over the edges, is below
    `agreement` (0.5). True strength is the mean accuracy of all cells with the operation on the edge (control
    `edge-oracle`). Source: Wang, Cheng, Chen, Tang, Hsieh 2021, arXiv:2108.04392 (quoted), who compare magnitude with
    the supernet's own accuracy after discretising, which is not the table's. The threshold is [OWN]; the constant prior
    reaches 0.95.
    """
    if not case.epochs:
        return no_epochs()
    if case.strength is None:
        return untold(*NO_STRENGTH)
    weights, strength = np.array(case.epochs[-1].mixture), np.array(case.strength)
    if uniform(case.epochs):
        return untold(*NO_MIXTURE)
    each = rank_agreement(weights, strength)
    prior = rank_agreement(np.argsort(PRIOR)[None].astype(np.float64), strength)
    right, mean = int((weights.argmax(axis=1) == strength.argmax(axis=1)).sum()), float(each.mean())
    evidence = (
        f"Spearman {mean:.2f} on average over the edges ({each.min():.2f} to {each.max():.2f}) between mixing weights "
        f"and true strength, where the constant prior has {prior.mean():.2f}; the largest weight is the truly "
        f"strongest operation's on {right} of {E}"
    )
    return told(mean < limits.agreement, mean, evidence)
