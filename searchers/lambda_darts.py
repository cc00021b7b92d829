"""Λ-DARTS: weights trained so that the cells of the network agree on the gradient of the mixture that they share.

S. Movahedi, M. Adabinejad, A. Imani, A. Keshavarz, M. Dehghani, A. Shakery, B. N. Araabi, "Λ-DARTS: Mitigating
Performance Collapse by Harmonizing Operation Selection among Cells", ICLR 2023, arXiv:2210.07998. With p_l a copy of
p = softmax(α) for each of the M cells, g_l = ∂L_train/∂p_l (E·O,) and u_l = g_l/‖g_l‖,

    Λ = 2/(M(M-1)) Σ_{i<j} u_i·u_j,    d_l = ∂Λ/∂g_l = 2/(M(M-1)) (I - u_l u_lᵀ) Σ_k u_k / ‖g_l‖
    w ← SGD(∇_w L_train - λ_t ∇_w Λ),    α ← Adam(∇_α L_val(w, p))

as ∇_w Λ = Σ_l ∂²L_train/∂w∂p_l d_l, this is a central difference: with ε = ε₀/‖(d_1 ... d_M)‖,

    -∇_w Λ ≈ [∇_w L_train(w, p_l - εd_l) - ∇_w L_train(w, p_l + εd_l)] / 2ε

and λ_t grows linearly from 0 in the first epoch to λ in the last. Published with 100 epochs, α at 1e-4, the weights
first, otherwise as `ucla`; but the images' halves (random, in pairs) and the clipped norm (α's gradient counts) were
those of `autodl`, whose code it was made from. Here these are as in `ucla`, too.

Differences from the paper: none in the mathematics. The two shifted passes normalise by the batch and leave the running
statistics alone (there they move them); they are left out while λ_t is 0. A cell without any gradient (all its edges
settled by a selector that trains on) agrees with none and is moved by none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.supernet import Supernet
from dartboard.searchers._training import Bilevel, Half, Protocol, evaluate, linear, resolve_protocol

OWN_PROTOCOL: Mapping[str, Mapping[str, Any]] = {
    "ucla": {"architecture_learning_rate": 1e-4, "order": "weights-first"},
    "autodl": {"architecture_learning_rate": 1e-4},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Λ-DARTS.

    Raises:
        InputError: when `strength` is negative or `step` is not greater than 0.
    """

    protocol: Protocol = field(default_factory=lambda: resolve_protocol({}, OWN_PROTOCOL)[0])
    strength: float = 0.25  # λ in the last epoch; it grows from 0
    step: float = 1e-4  # ε₀ of the central difference

    def __post_init__(self) -> None:
        if self.strength < 0:
            raise InputError(f"strength is not negative; got {self.strength}")
        if not self.step > 0:
            raise InputError(f"step is greater than 0; got {self.step}")


def _directions(gradients: Tensor) -> tuple[Tensor, Tensor]:
    """u (M, n), unit rows (a row of zeros stays one), and the norms (M, 1), for gradients (M, n)."""
    norms = torch.linalg.vector_norm(gradients, dim=-1, keepdim=True)
    return gradients / norms.clamp(min=torch.finfo(norms.dtype).tiny), norms


def agreement(gradients: Tensor) -> Tensor:
    """Λ (): the mean cosine over the pairs of rows of `gradients` (M, n)."""
    units, _ = _directions(gradients)
    cells = len(units)
    pairs: Tensor = units.sum(0).square().sum() - units.square().sum()  # twice the sum over pairs
    return pairs / max(1, cells * (cells - 1))


def agreement_gradient(gradients: Tensor) -> Tensor:
    """d (M, n) = ∂Λ/∂g; 0 for a row of zeros."""
    units, norms = _directions(gradients)
    cells, total = len(units), units.sum(0)
    across = total - units * (units @ total)[:, None]
    safe = torch.where(norms > 0, norms, torch.ones_like(norms))
    moved = torch.where(norms > 0, across / safe, torch.zeros_like(across))
    return 2 / max(1, cells * (cells - 1)) * moved


class LambdaDarts(Bilevel):
    """Λ-DARTS; see `Bilevel` for the arguments."""

    name: ClassVar[str] = "lambda-darts"
    paper: ClassVar[str] = "Movahedi, Adabinejad, Imani, Keshavarz, Dehghani, Shakery, Araabi 2023, arXiv:2210.07998"
    config_class = Config
    config: Config
    own_protocol: ClassVar[Mapping[str, Mapping[str, Any]]] = OWN_PROTOCOL
    strength: float  # λ of the epoch

    def __init__(self, supernet: Supernet, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        self.cells = supernet.config.cells

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Set λ as well."""
        super().begin_epoch(epoch, generator)
        self.strength = linear(epoch, self.config.protocol.epochs - 1, 0.0, self.config.strength)

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (first order sees no training batch)
        """α ← Adam(∇_α L_val(w, p))."""
        return self.first_order(valid, self.mixture())

    def weight_step(self, train: Batch) -> Half:
        """w ← SGD(∇_w L_train - λ_t ∇_w Λ)."""
        parameters = self.weights.parameters
        each = self.mixture().repeat(self.cells, 1, 1)  # (M, E, O)
        half = evaluate(lambda images: self.supernet(images, each), train)
        *gradients, of_each, of_alpha = torch.autograd.grad(half.loss, [*parameters, each, self.alpha])
        if self.strength:
            pull = self.disagreement_gradient(train, each.detach(), of_each)
            gradients = [g + self.strength * p for g, p in zip(gradients, pull, strict=True)]
            half = half._replace(images=3 * half.images)
        self.weights.descend_along(gradients, [of_alpha])
        return half

    def disagreement_gradient(self, train: Batch, each: Tensor, of_each: Tensor) -> list[Tensor]:
        """-∇_w Λ, given the mixtures (M, E, O) and the loss's gradient there."""
        direction = agreement_gradient(of_each.flatten(1)).view_as(each)
        length = torch.linalg.vector_norm(direction)
        epsilon = self.config.step / torch.where(length > 0, length, torch.ones_like(length))
        ends = []
        for sign in (-1, 1):
            logits = self.supernet(train.images, each + sign * epsilon * direction, "batch")
            ends.append(torch.autograd.grad(F.cross_entropy(logits, train.labels), self.weights.parameters))
        return [(low - high) / (2 * epsilon) for low, high in zip(*ends, strict=True)]
