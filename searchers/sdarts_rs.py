"""SmoothDARTS with random smoothing (SDARTS-RS): weights trained under a randomly perturbed mixture.

X. Chen, C.-J. Hsieh, "Stabilizing Differentiable Architecture Search via Perturbation-based Regularization", ICML 2020,
arXiv:2002.05283. With p = softmax(α),

    w ← SGD(∇_w E_{δ ~ U(-ε, ε)} L_train(w, clip(p + δ))),    α ← Adam(∇_α L_val(w, p))

one draw of δ (E, O) for each step. In epoch t of T, ε = 0.03 + (ε_max - 0.03)·t/T. `clip` clamps to [0, 1] and scales
each row to sum 1; a row of zeros first gets a 1 where it was largest.

Differences from the paper: `clip` is the released code's; it is not the Euclidean projection onto the simplex, and
after it an entry may be farther than ε from where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError
from dartboard.searchers._training import (
    PROTOCOLS,
    Bilevel,
    Half,
    Protocol,
    one_hot_of_largest,
    straight_through,
    uniform,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Random smoothing.

    Raises:
        InputError: when a radius is negative.
    """

    protocol: Protocol = field(default_factory=lambda: PROTOCOLS["ucla"])
    radius: float = 0.03  # ε in the first epoch
    radius_max: float = 0.3  # where it would be after the last epoch

    def __post_init__(self) -> None:
        for name in ("radius", "radius_max"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is not negative; got {getattr(self, name)}")


def radius_of(epoch: int, epochs: int, first: float, last: float) -> float:
    """ε of `epoch` (from 0): linear from `first` to `last`, which it has after the last epoch and keeps."""
    return first + (last - first) * min(epoch, epochs) / epochs


def clip(rows: Tensor) -> Tensor:
    """(E, O): clamp to [0, 1], then scale each row to sum 1; a row without a positive entry becomes one-hot."""
    kept = rows.clamp(0, 1)
    kept = torch.where(kept.sum(-1, keepdim=True) > 0, kept, one_hot_of_largest(rows))
    return kept / kept.sum(-1, keepdim=True)


def perturb(mixture: Tensor, radius: float, generator: torch.Generator) -> Tensor:
    """(E, O): clip(p + U(-ε, ε)), drawn on the CPU."""
    return clip(mixture + radius * (2 * uniform(generator, mixture) - 1))


class SdartsRs(Bilevel):
    """SDARTS-RS; see `Bilevel` for the arguments."""

    name: ClassVar[str] = "sdarts-rs"
    paper: ClassVar[str] = "Chen, Hsieh 2020, arXiv:2002.05283"
    config_class = Config
    config: Config
    radius: float  # ε of the epoch

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Set ε as well."""
        super().begin_epoch(epoch, generator)
        self.radius = radius_of(epoch, self.config.protocol.epochs, self.config.radius, self.config.radius_max)

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (first order sees no training batch)
        """α ← Adam(∇_α L_val(w, p))."""
        return self.first_order(valid, self.mixture())

    def weight_step(self, train: Batch) -> Half:
        """w ← SGD(∇_w L_train(w, clip(p + δ)))."""
        mixture = self.mixture()
        return self.descend(train, straight_through(perturb(mixture.detach(), self.radius, self.generator), mixture))
