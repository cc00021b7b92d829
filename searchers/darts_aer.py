"""DARTS with an architecture entropy regulariser, which first rewards and then punishes an undecided mixture.

K. Jing, L. Chen, J. Xu, "An architecture entropy regularizer for differentiable neural architecture search", Neural
Networks 158, 2023. With p = softmax(α), in epoch t of T,

    α ← Adam(∇_α [L_val(w, α) + λ_t · mean_e H_e]),    H_e = -Σ_o p_{e,o} log₂ p_{e,o}
    λ_t = λ_end - (λ_end - λ_start)·(1 + cos(πt/T))/2

from λ_start = -0.2 (exploration) to λ_end = +0.2 (decision). λ_start = λ_end is a constant sign, 0 is DARTS. The
weights are trained as in DARTS. Published under `autodl`.

Differences from the paper: first-order DARTS only (the released code also has it for second order and for GDAS).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.searchers._training import PROTOCOLS, Bilevel, Half, Protocol, cosine


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """DARTS-AER."""

    protocol: Protocol = field(default_factory=lambda: PROTOCOLS["autodl"])
    strength_start: float = -0.2  # λ in the first epoch
    strength_end: float = 0.2  # λ after the last epoch


def entropy(alpha: Tensor) -> Tensor:
    """(): mean over the edges of the mixture's entropy in bits, for α (E, O)."""
    logs = alpha.log_softmax(-1)
    return -(logs.exp() * logs).sum(-1).mean() / math.log(2)


class DartsAer(Bilevel):
    """DARTS-AER; see `Bilevel` for the arguments."""

    name: ClassVar[str] = "darts-aer"
    paper: ClassVar[str] = "Jing, Chen, Xu 2023, Neural Networks 158"
    config_class = Config
    config: Config
    strength: float  # λ of the epoch

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Set λ as well."""
        super().begin_epoch(epoch, generator)
        config, epochs = self.config, self.config.protocol.epochs
        self.strength = cosine(min(epoch, epochs), epochs, config.strength_start, config.strength_end)

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (first order sees no training batch)
        """α ← Adam(∇_α [L_val + λ·H]), the loss returned being L_val."""
        return self.first_order(valid, self.mixture(), self.strength * entropy(self.alpha))
