"""DSNAS: discrete cells, sampled; the logits follow the cost of what was sampled. One level, one pass.

S. Hu, S. Xie, H. Zheng, C. Liu, J. Shi, X. Liu, D. Lin, "DSNAS: Direct Neural Architecture Search without Parameter
Retraining", CVPR 2020, arXiv:2002.09128. With Z (E, O) one-hot rows drawn from p = softmax(α), shared by all cells, and
c_{l,e} = ∂L_train/∂Z_{l,e,s} the cost of the sampled operation s on edge e of cell l,

    g_α[e] = (Σ_l clamp(c_{l,e}, ±5)) ∇_α log p_{e,s},    α ← Adam(g_α),    w ← SGD(∇_w L_train(w, Z))

both from the same pass over the same batch. The expectation of g_α without the clamp is the gradient of SNAS in the
limit of temperature 0. The result is read from p.

Differences from the paper: the clamp is that of the authors' analysis code, on cells that share their logits
(`cost_clamp`, None for none); the network of their ImageNet search, its early freezing of blocks and its term for
operations are not here, and the optimisers are the protocol's. The validation batch trains nothing; one pass without
gradient looks at it for the record, under p, normalised by the batch, the running statistics left alone. The supernet
computes all operations of an edge though one counts, so a pass costs what DARTS' does; where batch norm tracks
statistics, those of the operations that were not sampled learn as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.supernet import Supernet
from dartboard.searchers._training import (
    PROTOCOLS,
    Bilevel,
    Half,
    Protocol,
    evaluate,
    gumbel,
    one_hot_of_largest,
    step_with,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """DSNAS.

    Raises:
        InputError: when `cost_clamp` is not greater than 0.
    """

    protocol: Protocol = field(default_factory=lambda: PROTOCOLS["ucla"])
    cost_clamp: float | None = 5.0  # of the cost of one cell's edge; None: no clamp

    def __post_init__(self) -> None:
        if self.cost_clamp is not None and not self.cost_clamp > 0:
            raise InputError(f"cost_clamp is greater than 0; got {self.cost_clamp}")


def logit_gradient(alpha: Tensor, sampled: Tensor, costs: Tensor, clamp: float | None) -> Tensor:
    """g_α (E, O), as ∇_α log p_s = Z - p.

    Args:
        alpha: (E, O).
        sampled: (E, O), one-hot rows.
        costs: (cells, E, O), ∂L/∂Z, read at the sampled entries.
        clamp: of each cell's cost.
    """
    cost = (costs * sampled).sum(-1)  # (cells, E)
    if clamp is not None:
        cost = cost.clamp(-clamp, clamp)
    return cost.sum(0)[:, None] * (sampled - alpha.softmax(-1))


class Dsnas(Bilevel):
    """DSNAS; see `Bilevel` for the arguments."""

    name: ClassVar[str] = "dsnas"
    paper: ClassVar[str] = "Hu, Xie, Zheng, Liu, Shi, Liu, Lin 2020, arXiv:2002.09128"
    config_class = Config
    config: Config

    def __init__(self, supernet: Supernet, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        self.cells = supernet.config.cells

    def draw(self) -> Tensor:
        """Z (E, O), anew at each call: Gumbel-max draws from p."""
        alpha = self.alpha.detach()
        return one_hot_of_largest(alpha.log_softmax(-1) + gumbel(self.generator, alpha))

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (nothing is trained here)
        """Look at the validation batch."""
        return self.look(valid)

    def weight_step(self, train: Batch) -> Half:
        """Weights and logits, from one pass over the training batch."""
        sampled = self.draw()
        each = sampled.repeat(self.cells, 1, 1).requires_grad_()  # (cells, E, O)
        half = evaluate(lambda images: self.supernet(images, each), train)
        *of_weights, costs = torch.autograd.grad(half.loss, [*self.weights.parameters, each])
        of_alpha = logit_gradient(self.alpha.detach(), sampled, costs, self.config.cost_clamp)
        self.weights.descend_along(of_weights, [of_alpha])
        step_with(self.adam, [self.alpha], [of_alpha])
        return half
