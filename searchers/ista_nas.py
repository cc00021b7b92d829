"""ISTA-NAS: the logits are a sparse code, trained compressed; only what its recovery keeps is in the network.

Y. Yang, H. Li, S. You, F. Wang, C. Qian, Z. Lin, "ISTA-NAS: Efficient and Consistent Neural Architecture Search by
Sparse Coding", NeurIPS 2020, arXiv:2010.06176, the two-stage search. For each edge, with a fixed random A (m, O) of
entries U[0, 1], the trained variable is b (m,), which stands for a code x (O,) with b ≈ A x. Before every epoch

    x = argmin_x ½‖A x - b‖² + ρ‖x‖₁,    S = the largest |x_o|,    x̂ = x on S, 0 elsewhere

and within it the operation in S is alone on the edge, with the weight w = Aᵀb - (AᵀA - I) x̂ on S, which is x̂ where
b = A x̂: b ← Adam(∇_b L_val), w ← SGD(∇ L_train).

There is no published protocol for NAS-Bench-201. The figures are those of the released script (iboing/ISTA-NAS, DARTS
space): 50 epochs, batches of 256, SGD from 0.1, b at 6e-4, otherwise as `ucla`.

Differences from the released code: it codes the inputs of a node together and keeps two, with m = 7; a cell of
NAS-Bench-201 keeps one operation on each edge, so an edge is a code of its own here, with m = 3 for five operations.
The weight of the operation in S is 1 forward and w's backward (`weights="code"` has w in both): nothing in this space
normalises a node, and codes begin at 1e-3, which after a few cells is no signal. Recovery is exact, over every support
of at most m operations, instead of by a solver; ISTA itself needs more than 10,000 steps where A is badly conditioned.
An operation that was never in S was never trained, as published; `explore` lets an edge take another in a weight step.
What `mixture()` tells is softmax(|x|), in the order of the codes but not sparse; the network never mixes by it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError, unknown
from dartboard.benchmark.space import E, O
from dartboard.benchmark.supernet import MixedNetwork
from dartboard.searchers._training import (
    Half,
    Protocol,
    WeightSharing,
    architecture_adam,
    evaluate,
    one_hot_of_largest,
    resolve_protocol,
    step_with,
    straight_through,
    uniform,
)

_RELEASED = {"epochs": 50, "batch_size": 256, "weight_learning_rate": 0.1, "architecture_learning_rate": 6e-4}
OWN_PROTOCOL: Mapping[str, Mapping[str, Any]] = {"ucla": _RELEASED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """ISTA-NAS.

    Raises:
        InputError: when a number is out of range or `weights` is not one of its choices.
    """

    protocol: Protocol = field(default_factory=lambda: resolve_protocol({}, OWN_PROTOCOL)[0])
    dimension: int = 3  # m, of an edge's code; below O it compresses
    sparsity: float = 1e-5  # ρ
    weights: Literal["one", "code"] = "one"  # what the operation in S is multiplied by
    explore: float = 0.0  # with which probability an edge trains a uniformly drawn operation instead

    def __post_init__(self) -> None:
        if not 1 <= self.dimension <= O:
            raise InputError(f"dimension is from 1 to {O}; got {self.dimension}")
        if not self.sparsity > 0:
            raise InputError(f"sparsity is greater than 0; got {self.sparsity}")
        if not 0 <= self.explore <= 1:
            raise InputError(f"explore is from 0 to 1; got {self.explore}")
        if self.weights not in ("one", "code"):
            raise unknown("weights", str(self.weights), ("one", "code"))


def recover(matrices: Tensor, codes: Tensor, sparsity: float) -> Tensor:
    """x (..., n): for A (..., m, n) and b (..., m), the LASSO's solution, exact.

    Some solution has at most m entries other than 0, in independent columns. With their signs σ it solves the linear
    equations A_SᵀA_S x_S = A_Sᵀb - ρσ; so it is the best of all points that do, for every S and σ.
    """
    m, n = matrices.shape[-2:]
    every = [signs for signs in product((-1.0, 0.0, 1.0), repeat=n) if sum(map(abs, signs)) <= m]
    signs = torch.tensor(every, dtype=torch.float64).to(codes.device)[:, *[None] * codes.dim(), :]  # (P, ..., 1, n)
    a, b = matrices.double(), codes.double()[..., None]
    inside = signs.mT.abs()  # (P, ..., n, 1)
    gram = inside * (a.mT @ a) * inside.mT + torch.diag_embed(1 - inside[..., 0])
    points, _ = torch.linalg.solve_ex(gram, inside * (a.mT @ b) - sparsity * signs.mT)  # (P, ..., n, 1)
    objective = (a @ points - b).square().sum((-1, -2)) / 2 + sparsity * points.abs().sum((-1, -2))
    best = objective.nan_to_num(nan=torch.inf).argmin(0)  # (...)
    index = best[None, ..., None].expand(1, *codes.shape[:-1], n)
    solution: Tensor = points[..., 0].gather(0, index)[0].to(codes.dtype)
    return solution


class IstaNas(WeightSharing):
    """ISTA-NAS; see `WeightSharing` for the arguments."""

    name: ClassVar[str] = "ista-nas"
    paper: ClassVar[str] = "Yang, Li, You, Wang, Qian, Lin 2020, arXiv:2010.06176"
    config_class = Config
    config: Config
    own_protocol: ClassVar[Mapping[str, Mapping[str, Any]]] = OWN_PROTOCOL
    code: Tensor  # x (E, O) of the epoch
    support: Tensor  # (E, O), one-hot: S of the epoch

    def __init__(self, supernet: MixedNetwork, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        like = next(supernet.parameters())
        self.matrices = uniform(generator, like.new_empty(E, config.dimension, O))  # A
        start = 1e-3 * torch.randn(E, config.dimension, generator=generator, dtype=torch.float64)
        self.compressed = nn.Parameter(start.to(dtype=like.dtype).to(like.device))  # b (E, m)
        self.architecture = [self.compressed]
        self.adam = architecture_adam(self.architecture, config.protocol)

    @torch.no_grad()
    def recovered(self) -> Tensor:
        """x (E, O) of today's b."""
        return recover(self.matrices, self.compressed, self.config.sparsity)

    def mixture(self) -> Tensor:
        """(E, O): softmax of the code's absolute values."""
        return self.recovered().abs().softmax(-1)

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Recover the codes, and with them the operations of the epoch."""
        super().begin_epoch(epoch, generator)
        self.code = self.recovered()
        self.support = one_hot_of_largest(self.code.abs())

    def weigh(self, support: Tensor) -> Tensor:
        """(E, O): the weights of the network with the operations `support` (E, O), one-hot; their graph leads to b."""
        raw = support * (self.matrices.mT @ self.compressed[..., None])[..., 0]
        if self.config.weights == "one":
            return straight_through(support, raw)
        kept = support * self.support * self.code  # x̂
        return raw - kept * (self.matrices.square().sum(-2) - 1)

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (first order sees no training batch)
        """b ← Adam(∇_b L_val)."""
        half = evaluate(lambda images: self.supernet(images, self.weigh(self.support)), valid)
        step_with(self.adam, [self.compressed], torch.autograd.grad(half.loss, [self.compressed]))
        return half

    def weight_step(self, train: Batch) -> Half:
        """w ← SGD(∇_w L_train), on the operations of the epoch or, now and then, others."""
        support = self.support
        if self.config.explore:
            elsewhere = uniform(self.generator, support[:, :1]) < self.config.explore
            support = torch.where(elsewhere, one_hot_of_largest(uniform(self.generator, support)), support)
        return self.descend(train, self.weigh(support))

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        own = {"matrices": self.matrices, "compressed": self.compressed.detach(), "adam": self.adam.state_dict()}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        super().load_state_dict(state)
        self.matrices.copy_(state["matrices"])
        with torch.no_grad():
            self.compressed.copy_(state["compressed"])
        self.adam.load_state_dict(copy.deepcopy(state["adam"]))
