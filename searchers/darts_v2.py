"""DARTS, second order (unrolled).

H. Liu, K. Simonyan, Y. Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, arXiv:1806.09055, eq. 7 and 8.
With ξ the weights' learning rate, m the momentum buffer, μ the momentum and λ the weight decay,

    w' = w - ξ (μ m + ∇_w L_train(w, α) + λ w)
    v  = ∇_{w'} L_val(w', α)
    g  = ∇_α L_val(w', α) - ξ ∇²_{α,w} L_train(w, α) v

and α ← Adam(g); then the ordinary weight step on the same training batch. The mixed product is the central difference
[∇_α L_train(w + εv, α) - ∇_α L_train(w - εv, α)] / 2ε with ε = 0.01/‖v‖, or exact (`mixed_product="exact"`).

Differences from the published code: the virtual passes normalise by the batch and leave the running statistics alone
(there the ±ε passes move them); the weights are never overwritten, so they need not be restored; the norm of the
weights does not count α.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.func import functional_call

from dartboard.benchmark.contracts import Batch, StepResult
from dartboard.benchmark.errors import unknown
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

Loss = Callable[[list[Tensor], Tensor], Tensor]
"""A loss () as a function of the weights and of α."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Second-order DARTS.

    Raises:
        InputError: when `mixed_product` is not one of its choices.
    """

    protocol: Protocol = field(default_factory=lambda: PROTOCOLS["ucla"])
    mixed_product: Literal["finite-difference", "exact"] = "finite-difference"
    relative_step: float = 0.01  # ε‖v‖ of the finite difference

    def __post_init__(self) -> None:
        if self.mixed_product not in ("finite-difference", "exact"):
            raise unknown("mixed_product", str(self.mixed_product), ("finite-difference", "exact"))


def virtual_step(
    weights: list[Tensor],
    gradients: list[Tensor],
    momenta: list[Tensor | None],
    *,
    rate: float,
    momentum: float,
    decay: float,
) -> list[Tensor]:
    """w' = w - ξ(μm + ∇L + λw), new tensors; a momentum of None is zero (before the first step)."""
    stepped = []
    for w, g, m in zip(weights, gradients, momenta, strict=True):
        direction = g + decay * w.detach()
        if m is not None:
            direction = direction + momentum * m
        stepped.append((w.detach() - rate * direction).requires_grad_())
    return stepped


def mixed_product_exact(loss: Loss, weights: list[Tensor], alpha: Tensor, vector: list[Tensor]) -> Tensor:
    """∇²_{α,w} L · v, in the shape of α, by two backward passes."""
    gradients = torch.autograd.grad(loss(weights, alpha), weights, create_graph=True)
    inner = torch.stack([(g * v).sum() for g, v in zip(gradients, vector, strict=True)]).sum()
    return torch.autograd.grad(inner, alpha)[0]


def mixed_product_difference(
    loss: Loss, weights: list[Tensor], alpha: Tensor, vector: list[Tensor], *, relative_step: float
) -> Tensor:
    """∇²_{α,w} L · v, in the shape of α, by a central difference along v with step `relative_step`/‖v‖."""
    epsilon = relative_step / torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(v) for v in vector]))
    ends = []
    for sign in (1, -1):
        shifted = [w.detach() + sign * epsilon * v for w, v in zip(weights, vector, strict=True)]
        ends.append(torch.autograd.grad(loss(shifted, alpha), alpha)[0])
    return (ends[0] - ends[1]) / (2 * epsilon)


class DartsV2:
    """Second-order DARTS.

    Args:
        supernet: the network to train.
        config: the protocol and how the mixed product is taken.
        generator: a CPU generator for the initial logits.
    """

    name: ClassVar[str] = "darts-v2"
    paper: ClassVar[str] = "Liu, Simonyan, Yang 2019, arXiv:1806.09055"
    Config = Config
    # AutoDL-Projects steps the architecture first here, unlike in its first-order code.
    own_protocol: ClassVar[Mapping[str, Mapping[str, Any]]] = {"autodl": {"order": "architecture-first"}}

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
            valid_loss, valid_correct = self._architecture_step(train, valid)
            train_loss, train_correct = self._weight_step(train)
        else:
            train_loss, train_correct = self._weight_step(train)
            valid_loss, valid_correct = self._architecture_step(train, valid)
        shared = 4 if self.config.mixed_product == "finite-difference" else 3
        return StepResult(
            train_loss=train_loss,
            valid_loss=valid_loss,
            train_correct=train_correct,
            valid_correct=valid_correct,
            images=shared * len(train.labels) + len(valid.labels),
        )

    def hypergradient(self, train: Batch, valid: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """g (E, O) as the module's docstring has it; with it L_val(w', α) () and the number of images it got right ()."""
        p, trainer = self.config.protocol, self.weights
        names = [name for name, _ in self.supernet.named_parameters()]

        def evaluate(batch: Batch, weights: list[Tensor], alpha: Tensor) -> tuple[Tensor, Tensor]:
            def network(*arguments: Any) -> Tensor:
                logits: Tensor = functional_call(self.supernet, dict(zip(names, weights, strict=True)), arguments)
                return logits

            return cross_entropy(network, batch, alpha.softmax(-1), "batch")

        def train_loss(weights: list[Tensor], alpha: Tensor) -> Tensor:
            return evaluate(train, weights, alpha)[0]

        weights = trainer.parameters
        gradients = list(torch.autograd.grad(train_loss(weights, self.alpha.detach()), weights))
        momenta = [trainer.sgd.state.get(w, {}).get("momentum_buffer") for w in weights]
        rate = trainer.learning_rate
        virtual = virtual_step(
            weights, gradients, momenta, rate=rate, momentum=p.weight_momentum, decay=p.weight_decay
        )
        loss, correct = evaluate(valid, virtual, self.alpha)
        direct, *vector = torch.autograd.grad(loss, [self.alpha, *virtual])
        if self.config.mixed_product == "exact":
            mixed = mixed_product_exact(train_loss, weights, self.alpha, vector)
        else:
            mixed = mixed_product_difference(
                train_loss, weights, self.alpha, vector, relative_step=self.config.relative_step
            )
        return direct - rate * mixed, loss.detach(), correct

    def _architecture_step(self, train: Batch, valid: Batch) -> tuple[Tensor, Tensor]:
        gradient, loss, correct = self.hypergradient(train, valid)
        step_with(self.adam, [self.alpha], [gradient])
        return loss, correct

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
