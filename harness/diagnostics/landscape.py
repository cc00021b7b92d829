"""How fast the validation loss rises around the mixture that the search ended in.

X. Chen, C.-J. Hsieh, "Stabilizing differentiable architecture search via perturbation-based regularization", ICML 2020,
arXiv:2002.05283, draw the validation accuracy around the architecture found along random directions. With α logits of
the mixture and d random unit vectors in which no edge's logits grow alike (which no softmax feels),

    L(r, d) = L_val(w, softmax(α + r·d))    for r in ±radius/4, ±radius/2, ±radius and 0
    rise = mean over d and both signs of L(radius, d) - L(0),    worst_rise = the largest of them
    curvature[d] = [L(h, d) - 2 L(0) + L(-h, d)]/h², h = radius/4:    tends to dᵀHd of `alpha-hessian` as h goes to 0

all on the same images, batch norm by the batch. A network of rectifiers is smooth only piece by piece: what its kinks
add to the curvature over a finite radius stands here, and not in the Hessian. An adversary would find worse directions
than chance does.

Differences from the paper: there, figures of two directions; the radii and the summary are ours. Logits ln p for
searchers whose mixture is no softmax of theirs; operations that the search has dropped (weight 0) stay out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import stream
from dartboard.harness.diagnostics._logits import left, logits
from dartboard.harness.diagnostics._subject import Measurement, Subject
from dartboard.selectors._evaluation import score_mixtures
from dartboard.selectors._options import require_at_least, require_positive

STEPS: Final = (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0)  # of the radius
HERE: Final = STEPS.index(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How far, in how many directions, on how much.

    Raises:
        InputError: when one is out of range.
    """

    radius: float = 1.0  # of the logits, Euclidean
    directions: int = 8
    images: int = 256  # of the validation half, rounded up to whole batches
    every: int | None = None  # also measured after every so many epochs; None: of the trained supernet only

    def __post_init__(self) -> None:
        require_at_least(self, 1, "directions", "images", "every")
        require_positive(self, "radius")


def random_directions(count: int, felt: Tensor, generator: torch.Generator) -> Tensor:
    """(count, E, O), float64: uniform on the unit sphere of those that add up to 0 on every edge.

    Args:
        count: how many.
        felt: (E, O), bool, on the CPU: operations that are left; the others have 0.
        generator: a CPU generator.

    Raises:
        ValueError: when no edge has two operations left.
    """
    if not bool((felt.sum(-1) > 1).any()):
        raise ValueError("no edge has two operations left: there is no direction to move in")
    draws = torch.randn(count, E, O, generator=generator, dtype=torch.float64) * felt
    draws = (draws - draws.sum(-1, keepdim=True) / felt.sum(-1, keepdim=True).clamp(min=1)) * felt
    directions: Tensor = draws / draws.flatten(1).norm(dim=1)[:, None, None]
    return directions


def measure(subject: Subject, config: Config) -> Measurement:
    """Of the trained supernet."""
    mixture = subject.mixture()
    around = logits(mixture).mixture
    radii = [config.radius * step for step in STEPS]
    felt = left(mixture).cpu()
    directions = random_directions(config.directions, felt, stream(subject.root, "directions")).to(mixture)
    # The middle is the same for all: it is scored once, first.
    moved = [around(r * d) for d in directions for r in radii if r]
    batches = subject.batches(subject.data.valid, config.images, "valid")
    scores = score_mixtures(subject.trained.supernet, torch.stack([mixture, *moved]), batches, "batch")
    parts = []
    for flat in (scores.loss, scores.accuracy):
        rows = flat[1:].reshape(config.directions, len(radii) - 1).tolist()
        parts.append([[*row[:HERE], float(flat[0]), *row[HERE:]] for row in rows])
    loss, accuracy = (torch.tensor(part, dtype=torch.float64) for part in parts)  # (directions, radii)
    rises = loss[:, [0, -1]] - loss[:, [HERE]]
    near = loss[:, HERE - 1] + loss[:, HERE + 1] - 2 * loss[:, HERE]
    values = {
        "radii": radii,
        "loss": loss.numpy(),
        "accuracy": accuracy.numpy(),
        "loss_here": float(scores.loss[0]),
        "accuracy_here": float(scores.accuracy[0]),
        "rise": float(rises.mean()),
        "worst_rise": float(rises.max()),
        "accuracy_drop": float((accuracy[:, [HERE]] - accuracy[:, [0, -1]]).mean()),
        "curvature": (near / radii[HERE + 1] ** 2).numpy(),
    }
    return Measurement(values, scores.images)
