"""DARTS-: DARTS beside an auxiliary skip connection on every edge, which fades over the search.

X. Chu, X. Wang, B. Zhang, S. Lu, X. Wei, J. Yan, "DARTS-: Robustly Stepping out of Performance Collapse Without
Indicators", ICLR 2021, arXiv:2009.01027. An edge computes, with p = softmax(α) and β of the epoch,

    f(x) = β·x + Σ_o p_o o(x) = (β + p_skip)·x + Σ_{o ≠ skip} p_o o(x)

and weights and α are trained as in DARTS, both under f. β falls from 1 in the first epoch to 0 after the last, linearly
as the released script has it; `decay="cosine"` is its other curve.

As the skip operation of NAS-Bench-201 is the identity on every edge, f is the supernet itself with β added to the skip
column of its mixture: inside the search its rows sum to 1 + β. What `mixture()` tells, and what every selector sees, is
p, without the auxiliary connection; on an edge that a selector settles it is gone at once.

The released code (Meituan-AutoML/DARTS-) has no search on NAS-Bench-201; its 50 epochs are kept, otherwise as `ucla`.

Differences from the paper: none known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError, unknown
from dartboard.benchmark.space import SKIP, O
from dartboard.searchers._training import Bilevel, Half, Protocol, cosine, linear, resolve_protocol

OWN_PROTOCOL: Mapping[str, Mapping[str, Any]] = {"ucla": {"epochs": 50}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """DARTS-.

    Raises:
        InputError: when `auxiliary` is negative or `decay` is not one of its choices.
    """

    protocol: Protocol = field(default_factory=lambda: resolve_protocol({}, OWN_PROTOCOL)[0])
    auxiliary: float = 1.0  # β in the first epoch
    decay: Literal["linear", "cosine"] = "linear"

    def __post_init__(self) -> None:
        if self.auxiliary < 0:
            raise InputError(f"auxiliary is not negative; got {self.auxiliary}")
        if self.decay not in ("linear", "cosine"):
            raise unknown("decay", str(self.decay), ("linear", "cosine"))


def beta_of(epoch: int, config: Config) -> float:
    """β of `epoch` (from 0)."""
    epochs = config.protocol.epochs
    if config.decay == "cosine":
        return cosine(min(epoch, epochs), epochs, config.auxiliary, 0.0)
    return linear(epoch, epochs, config.auxiliary, 0.0)


def with_auxiliary(mixture: Tensor, beta: float) -> Tensor:
    """(E, O): β added to the weight of the skip on each edge."""
    column = torch.zeros(O, dtype=mixture.dtype, device=mixture.device)
    column[SKIP] = beta
    return mixture + column


class DartsMinus(Bilevel):
    """DARTS-; see `Bilevel` for the arguments."""

    name: ClassVar[str] = "darts-minus"
    paper: ClassVar[str] = "Chu, Wang, Zhang, Lu, Wei, Yan 2021, arXiv:2009.01027"
    config_class = Config
    config: Config
    own_protocol: ClassVar[Mapping[str, Mapping[str, Any]]] = OWN_PROTOCOL
    beta: float  # of the epoch

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Set β as well."""
        super().begin_epoch(epoch, generator)
        self.beta = beta_of(epoch, self.config)

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (first order sees no training batch)
        """α ← Adam(∇_α L_val(w, α, β))."""
        return self.first_order(valid, with_auxiliary(self.mixture(), self.beta))

    def weight_step(self, train: Batch) -> Half:
        """w ← SGD(∇_w L_train(w, α, β))."""
        return self.descend(train, with_auxiliary(self.mixture(), self.beta))
