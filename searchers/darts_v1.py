"""DARTS, first order.

H. Liu, K. Simonyan, Y. Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, arXiv:1806.09055, eq. 3, 4 and
7 with ξ = 0:

    p_e = softmax(α_e),    α ← Adam(∇_α L_val(w, α)),    w ← SGD(∇_w L_train(w, α))

Differences from the paper: none in the mathematics. The published NAS-Bench-201 code disagrees in the order of the two
halves and in what the clipped norm counts; see `Protocol.order` and `Protocol.clip_includes_architecture`. Each half
computes the gradient of its own variables only; the others would be discarded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from dartboard.benchmark.contracts import Batch
from dartboard.searchers._training import PROTOCOLS, Bilevel, Half, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """First-order DARTS has no settings but its protocol's."""

    protocol: Protocol = field(default_factory=lambda: PROTOCOLS["ucla"])


class DartsV1(Bilevel):
    """First-order DARTS; see `Bilevel` for the arguments."""

    name: ClassVar[str] = "darts-v1"
    paper: ClassVar[str] = "Liu, Simonyan, Yang 2019, arXiv:1806.09055"
    config_class = Config
    config: Config

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (first order sees no training batch)
        """α ← Adam(∇_α L_val(w, α))."""
        return self.first_order(valid, self.mixture())
