"""DARTS, first order.

H. Liu, K. Simonyan, Y. Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, arXiv:1806.09055, eq. 3, 4 and
7 with ξ = 0:

    p_e = softmax(α_e),    α ← Adam(∇_α L_val(w, α)),    w ← SGD(∇_w L_train(w, α))

Differences from the paper: none in the mathematics. The published NAS-Bench-201 code disagrees in the order of the two
halves and in what the clipped norm counts; see `Protocol.order` and `Protocol.clip_includes_architecture`. Each half
computes the gradient of its own variables only; the others would be discarded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Batch, StepResult
from dartboard.benchmark.supernet import MixedNetwork
from dartboard.searchers._training import (
    PROTOCOLS,
    Protocol,
    WeightTrainer,
    architecture_adam,
    cross_entropy,
    initial_logits,
    step_with,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """First-order DARTS has no settings but its protocol's."""

    protocol: Protocol = field(default_factory=lambda: PROTOCOLS["ucla"])


class DartsV1:
    """First-order DARTS.

    Args:
        supernet: the network to train.
        config: the protocol.
        generator: a CPU generator for the initial logits.
    """

    name: ClassVar[str] = "darts-v1"
    paper: ClassVar[str] = "Liu, Simonyan, Yang 2019, arXiv:1806.09055"
    Config = Config
    own_protocol: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __init__(self, supernet: MixedNetwork, config: Config, *, generator: torch.Generator) -> None:
        self.supernet, self.config = supernet, config
        self.alpha = initial_logits(generator, like=next(supernet.parameters()))  # (E, O)
        self.adam = architecture_adam([self.alpha], config.protocol)
        self.weights = WeightTrainer(supernet, config.protocol)

    def mixture(self) -> Tensor:
        """(E, O): softmax of the logits."""
        return self.alpha.softmax(-1)

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:  # noqa: ARG002  (it draws nothing)
        """Set the weights' learning rate."""
        self.weights.begin_epoch(epoch)

    def step(self, train: Batch, valid: Batch) -> StepResult:
        """One architecture step and one weight step, in the protocol's order."""
        if self.config.protocol.order == "architecture-first":
            valid_loss, valid_correct = self._architecture_step(valid)
            train_loss, train_correct = self._weight_step(train)
        else:
            train_loss, train_correct = self._weight_step(train)
            valid_loss, valid_correct = self._architecture_step(valid)
        return StepResult(
            train_loss=train_loss,
            valid_loss=valid_loss,
            train_correct=train_correct,
            valid_correct=valid_correct,
            images=len(train.labels) + len(valid.labels),
        )

    def _architecture_step(self, valid: Batch) -> tuple[Tensor, Tensor]:
        loss, correct = cross_entropy(self.supernet, valid, self.mixture())
        step_with(self.adam, [self.alpha], torch.autograd.grad(loss, [self.alpha]))
        return loss.detach(), correct

    def _weight_step(self, train: Batch) -> tuple[Tensor, Tensor]:
        counted = self.config.protocol.clip_includes_architecture
        mixture = self.mixture() if counted else self.mixture().detach()
        loss, correct = cross_entropy(self.supernet, train, mixture)
        self.weights.descend(loss, architecture=[self.alpha])
        return loss.detach(), correct

    def restart_weight_optimizer(self, learning_rate: float) -> None:
        """See `Searcher.restart_weight_optimizer`."""
        self.weights.restart(learning_rate)

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        return {
            "supernet": self.supernet.state_dict(),
            "alpha": self.alpha.detach(),
            "adam": self.adam.state_dict(),
            "weights": self.weights.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        self.supernet.load_state_dict(state["supernet"])
        with torch.no_grad():
            self.alpha.copy_(state["alpha"])
        self.adam.load_state_dict(state["adam"])
        self.weights.load_state_dict(state["weights"])
