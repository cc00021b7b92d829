"""A supernet trained under the uniform mixture: architecture parameters that never move.

R. Wang, M. Cheng, X. Chen, X. Tang, C.-J. Hsieh, "Rethinking Architecture Selection in Differentiable NAS", ICLR 2021,
arXiv:2108.04392 (DARTS+PT, fix α):

    p = softmax(α₀),    w ← SGD(∇_w L_train(w, α₀))

The paper has α₀ = 0 (`init="zero"`); its code leaves α at its first draw, 1e-3·N(0, 1) (`init="released"`). Nothing is
chosen by the mixture, so this is a supernet for criteria that need no trained α.

Differences from the paper: none in the training. The validation batch trains nothing; one pass without gradient looks
at it for the record, normalised by the batch, the running statistics left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import unknown
from dartboard.benchmark.supernet import MixedNetwork
from dartboard.searchers._training import (
    PROTOCOLS,
    Half,
    Protocol,
    WeightSharing,
    initial_logits,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Training under a fixed mixture.

    Raises:
        InputError: when `init` is not one of its choices.
    """

    protocol: Protocol = field(default_factory=lambda: PROTOCOLS["ucla"])
    init: Literal["zero", "released"] = "zero"

    def __post_init__(self) -> None:
        if self.init not in ("zero", "released"):
            raise unknown("init", str(self.init), ("zero", "released"))


class FixedAlpha(WeightSharing):
    """A supernet under a fixed mixture; see `WeightSharing` for the arguments."""

    name: ClassVar[str] = "fixed-alpha"
    paper: ClassVar[str] = "Wang, Cheng, Chen, Tang, Hsieh 2021, arXiv:2108.04392"
    config_class = Config
    config: Config

    def __init__(self, supernet: MixedNetwork, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        scale = 0.0 if config.init == "zero" else 1e-3
        self.alpha = initial_logits(generator, like=next(supernet.parameters()), scale=scale).detach()  # (E, O)

    def mixture(self) -> Tensor:
        """(E, O): softmax of the fixed logits."""
        return self.alpha.softmax(-1)

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (nothing is trained here)
        """Look at the validation batch."""
        return self.look(valid)

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        return {**super().state_dict(), "alpha": self.alpha}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        super().load_state_dict(state)
        self.alpha.copy_(state["alpha"])
