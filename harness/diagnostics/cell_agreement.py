"""Whether the cells of the network agree on how the mixture that they share should move.

S. Movahedi et al., "Λ-DARTS", ICLR 2023, arXiv:2210.07998. With p_l a copy of the mixture for each of the M cells and
g_l = ∂L/∂p_l (E·O,),

    Λ = 2/(M(M-1)) Σ_{i<j} cos(g_i, g_j)

1 where all cells ask for the same, about 0 where they ask for unrelated things. A searcher follows Σ_l g_l: where the
cells disagree, those with the longest gradients (see `norms`, by depth) decide for all. `cosines` are those of each
cell with the mean of all directions; `argmin` is the operation that a step along each cell's gradient would raise most,
edge by edge.

Differences from the paper: measured on a held-out batch as well; batch norm normalises by the batch and its running
statistics stay as they are.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from dartboard.harness.diagnostics._subject import Measurement, Subject
from dartboard.searchers.lambda_darts import agreement


def summarise(gradients: Tensor) -> dict[str, Any]:
    """What the gradients (cells, E, O) of the cells have in common."""
    flat = gradients.double().flatten(1)
    directions = F.normalize(flat, dim=1)
    return {
        "agreement": float(agreement(flat)),
        "norms": flat.norm(dim=1).cpu().numpy(),
        "cosines": (directions @ F.normalize(directions.mean(0), dim=0)).cpu().numpy(),
        "argmin": gradients.argmin(dim=-1).cpu().numpy(),
    }


def measure(subject: Subject) -> Measurement:
    """On one batch of each half, at which `operation-cost` looks, too."""
    values: dict[str, Any] = {}
    seen = 0
    for half, found in subject.passes():
        values[half] = summarise(found.gradients)
        seen += len(found.labels)
    return Measurement(values, seen, seen)
