"""β-DARTS: the logits of DARTS under a growing penalty on their log-sum-exp.

P. Ye, B. Li, Y. Li, T. Chen, J. Fan, W. Ouyang, "β-DARTS: Beta-Decay Regularization for Differentiable Architecture
Search", CVPR 2022, arXiv:2203.01665. In epoch t of T,

    α ← Adam(∇_α [L_val(w, α) + λ_t · mean_e log Σ_o exp(α_{e,o})]),    λ_t = 50·t/T

whose second gradient is λ_t/E · softmax(α): every logit decays in proportion to its own mixing weight. The weights are
trained as in DARTS.

Differences from the paper: none known; λ_t = 50·epoch/100 of the released code is read as 50 at the end of the search.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError
from dartboard.searchers._training import PROTOCOLS, Bilevel, Half, Protocol, linear


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """β-DARTS.

    Raises:
        InputError: when `strength` is negative.
    """

    protocol: Protocol = field(default_factory=lambda: PROTOCOLS["ucla"])
    strength: float = 50.0  # λ after the last epoch; it grows from 0

    def __post_init__(self) -> None:
        if self.strength < 0:
            raise InputError(f"strength is not negative; got {self.strength}")


def beta_decay(alpha: Tensor) -> Tensor:
    """(): mean over the edges of log Σ_o exp(α_{e,o}), for α (E, O)."""
    return alpha.logsumexp(-1).mean()


class BetaDarts(Bilevel):
    """β-DARTS; see `Bilevel` for the arguments."""

    name: ClassVar[str] = "beta-darts"
    paper: ClassVar[str] = "Ye, Li, Li, Chen, Fan, Ouyang 2022, arXiv:2203.01665"
    config_class = Config
    config: Config
    strength: float  # λ of the epoch

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Set λ as well."""
        super().begin_epoch(epoch, generator)
        self.strength = linear(epoch, self.config.protocol.epochs, 0.0, self.config.strength)

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (first order sees no training batch)
        """α ← Adam(∇_α [L_val + λ·decay]), the loss returned being L_val."""
        return self.first_order(valid, self.mixture(), self.strength * beta_decay(self.alpha))
