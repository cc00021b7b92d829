"""iDARTS: the hypergradient by the implicit function theorem, its inverse Hessian as a truncated Neumann series.

M. Zhang, S. Su, S. Pan, X. Chang, E. Abbasnejad, R. Haffari, "iDARTS: Differentiable Architecture Search with
Stochastic Implicit Gradients", ICML 2021, arXiv:2106.10784, Algorithm 1. After every T weight steps, at the weights
that they reached,

    g = ∇_α L_val(w, α) - γ ∂²_{αw} L_train(w, α) Σ_{k=0}^{K} (I - γ ∂²_{ww} L_train)ᵏ ∇_w L_val(w, α)

and α ← Adam(g). γ Σ_k (I - γH)ᵏ tends to H⁻¹ where γ‖H‖ < 1. Everything of second order is on one training batch that
no weight step has seen yet, and exact: Hessian-vector products and the mixed product by a second backward pass (see
`dartboard.benchmark.double_backward`).
γ is the weights' learning rate (`neumann_rate=None`) or a number of its own.

A step of the search is one weight step; every T-th, from the (T+1)-th step of an epoch on, first moves α, with the
step's own two batches (so its training batch is fresh, as long as the protocol's order is architecture-first). In
other steps the validation batch is only looked at, for the record.

Differences from the paper: none known in the formulas; the published notebook cannot be followed (its inner optimiser
holds copies of the weights and never moves the network; its finite difference puts the weights back along another
vector than it took them away, a hidden step down the validation loss). Here the weights are trained by their real
optimiser, and the architecture step reads them and writes none. The finite difference of the mixed product there is
exact here. As there, L_train has no weight decay in it. The passes of the architecture step normalise by the batch and
leave the running statistics alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.double_backward import TwiceDifferentiable
from dartboard.benchmark.errors import InputError
from dartboard.searchers._training import Bilevel, Half, Protocol, evaluate, resolve_protocol, step_with

OWN_PROTOCOL: Mapping[str, Mapping[str, Any]] = {
    "autodl": {
        "epochs": 30,
        "order": "architecture-first",
        "weight_learning_rate": 0.01,
        "clip_includes_architecture": False,
    }
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """iDARTS; its published protocol is `autodl` with 30 epochs at 0.01.

    Raises:
        InputError: when a number is out of range.
    """

    protocol: Protocol = field(default_factory=lambda: resolve_protocol({"protocol": "autodl"}, OWN_PROTOCOL)[0])
    inner_steps: int = 4  # T
    neumann_terms: int = 2  # K: the series has K + 1 terms
    neumann_rate: float | None = None  # γ; None: the weights' learning rate

    def __post_init__(self) -> None:
        if self.inner_steps < 1:
            raise InputError(f"inner_steps is at least 1; got {self.inner_steps}")
        if self.neumann_terms < 0:
            raise InputError(f"neumann_terms is not negative; got {self.neumann_terms}")
        if self.neumann_rate is not None and not self.neumann_rate > 0:
            raise InputError(f"neumann_rate is greater than 0; got {self.neumann_rate}")


def implicit_hypergradient(
    train_loss: Tensor,
    valid_loss: Tensor,
    weights: Sequence[Tensor],
    alpha: Tensor,
    *,
    rate: float,
    terms: int,
    last: AbstractContextManager[None] | None = None,
) -> Tensor:
    """g, in the shape of α, from two losses () whose graphs reach the weights and α.

    The last backward pass, which alone asks for no gradient of a weight, is made within `last`.
    """
    direct, *vector = torch.autograd.grad(valid_loss, [alpha, *weights])
    gradients = torch.autograd.grad(train_loss, weights, create_graph=True)
    total = [v.clone() for v in vector]
    for _ in range(terms):
        products = torch.autograd.grad(gradients, weights, vector, retain_graph=True)
        vector = [v - rate * product for v, product in zip(vector, products, strict=True)]
        total = [s + v for s, v in zip(total, vector, strict=True)]
    with last or nullcontext():
        (mixed,) = torch.autograd.grad(gradients, [alpha], total)
    return direct - rate * mixed


class IDarts(Bilevel):
    """iDARTS; see `Bilevel` for the arguments."""

    name: ClassVar[str] = "idarts"
    paper: ClassVar[str] = "Zhang, Su, Pan, Chang, Abbasnejad, Haffari 2021, arXiv:2106.10784"
    config_class = Config
    config: Config
    own_protocol: ClassVar[Mapping[str, Mapping[str, Any]]] = OWN_PROTOCOL
    inner_done: int = 0  # weight steps since the architecture last moved, or since the epoch began

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Begin to count inner steps."""
        super().begin_epoch(epoch, generator)
        self.inner_done = 0

    def architecture_step(self, train: Batch, valid: Batch) -> Half:
        """α ← Adam(g) if T weight steps were made; else a look at the validation batch."""
        if self.inner_done < self.config.inner_steps:
            return self.look(valid)
        self.inner_done = 0
        gradient, half = self.hypergradient(train, valid)
        step_with(self.adam, [self.alpha], [gradient])
        return half

    def hypergradient(self, train: Batch, valid: Batch) -> tuple[Tensor, Half]:
        """g (E, O) as the module's docstring has it, and L_val(w, α)."""

        def forward(images: Tensor) -> Tensor:
            logits: Tensor = self.supernet(images, self.mixture(), "batch")
            return logits

        upper, twice = evaluate(forward, valid), TwiceDifferentiable()
        with twice:
            lower = evaluate(forward, train)
        gradient = implicit_hypergradient(
            lower.loss,
            upper.loss,
            self.weights.parameters,
            self.alpha,
            rate=self.config.neumann_rate or self.weights.learning_rate,
            terms=self.config.neumann_terms,
            last=twice.without_weights(),
        )
        return gradient, upper._replace(images=upper.images + lower.images)

    def weight_step(self, train: Batch) -> Half:
        """One of the T inner steps, by the real optimiser."""
        self.inner_done += 1
        return super().weight_step(train)
