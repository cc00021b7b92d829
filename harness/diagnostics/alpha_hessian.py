"""The Hessian of the validation loss in the architecture's logits: how sharp the minimum is that the search is in.

A. Zela, T. Elsken, T. Saikia, Y. Marrakchi, T. Brox, F. Hutter, "Understanding and robustifying differentiable
architecture search", ICLR 2020, arXiv:1909.09656: a growing dominant eigenvalue goes with cells that generalise badly.
With α logits of the mixture, p = softmax(α), and w the weights as they are,

    H = ∇²_α L_val(w, softmax(α))    (E·O, E·O),    dominant = its largest eigenvalue,    trace = Σ of all

exactly, row by row through two backward passes, the mean over the images. A softmax does not feel its edge's logits
grow alike, so H has E directions n with H n = 0: `null_error` is max ‖H n‖/‖H‖ over these, rounding alone.

Differences from the paper: without the architecture's weight decay, which adds its rate to every eigenvalue; at least
`images` images instead of one batch; logits ln p for searchers whose mixture is no softmax of theirs, so that their
spectra can be compared. An operation that the search has dropped (weight 0) has no curvature.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dartboard.benchmark.space import E, O
from dartboard.harness.diagnostics._logits import logits
from dartboard.harness.diagnostics._subject import Measurement, Subject
from dartboard.selectors._gradients import SupernetLoss
from dartboard.selectors._options import require_at_least
from dartboard.selectors.hessian_trace import hessian


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """On how much, and when.

    Raises:
        InputError: when one is out of range.
    """

    images: int = 256  # of the validation half, rounded up to whole batches
    every: int | None = None  # also measured after every so many epochs; None: of the trained supernet only

    def __post_init__(self) -> None:
        require_at_least(self, 1, "images", "every")


def null_error(matrix: Tensor) -> float:
    """max ‖H n‖/‖H‖ over the unit directions in which all logits of one edge grow alike; 0 for H = 0."""
    directions = torch.eye(E, dtype=matrix.dtype, device=matrix.device).repeat_interleave(O, dim=1) / O**0.5
    size = float(matrix.norm())
    return float((directions @ matrix).norm(dim=1).max()) / size if size else 0.0


def measure(subject: Subject, config: Config) -> Measurement:
    """Of the trained supernet."""
    loss = SupernetLoss(subject.network, logits(subject.mixture()))
    matrix = hessian(loss, subject.batches(subject.data.valid, config.images, "valid"))
    eigenvalues = torch.linalg.eigvalsh(matrix).flip(0)
    values = {
        "eigenvalues": eigenvalues.cpu().numpy(),
        "dominant": float(eigenvalues[0]),
        "trace": float(matrix.trace()),
        "negative": int((eigenvalues < -1e-6 * eigenvalues.abs().max()).sum()),
        "null_error": null_error(matrix),
    }
    return Measurement(values, loss.images, loss.images)
