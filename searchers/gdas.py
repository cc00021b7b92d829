"""GDAS: one operation for each edge, sampled by Gumbel-max, with the gradient of its softened weight.

X. Dong, Y. Yang, "Searching for a Robust Neural Architecture in Four GPU Hours", CVPR 2019, arXiv:1910.04465. With
G (E, O) standard Gumbel noise and τ the temperature,

    y = softmax((log softmax(α) + G)/τ),    h = one_hot(argmax y) forward, y's gradient at the sampled entries backward

and the cell is mixed by h: w ← SGD(∇_w L_train(w, h)), α ← Adam(∇_α L_val(w, h)), each half of a step with a sample of
its own, shared by all cells. τ falls linearly from 10 in the first epoch to 0.1 in the last. The result is read from
softmax(α), the probabilities of the samples.

Published under `autodl` with 250 epochs.

Differences from the paper: none in forward and gradient. The released code also adds the weights of the operations
that were not sampled, 0 each, to every entry of a node, which sends the sum of the node's gradient to their logits;
that has no meaning and is not here. The supernet computes all operations of an edge though one counts, so a pass costs
what DARTS' does; and where batch norm tracks statistics (`ucla`), those of the operations that were not sampled learn
as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError
from dartboard.searchers._training import (
    Bilevel,
    Half,
    Protocol,
    gumbel,
    linear,
    one_hot_of_largest,
    resolve_protocol,
    straight_through,
)

OWN_PROTOCOL: Mapping[str, Mapping[str, Any]] = {"autodl": {"epochs": 250}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """GDAS.

    Raises:
        InputError: when a temperature is not greater than 0.
    """

    protocol: Protocol = field(default_factory=lambda: resolve_protocol({"protocol": "autodl"}, OWN_PROTOCOL)[0])
    temperature: float = 10.0  # τ in the first epoch
    temperature_min: float = 0.1  # in the last

    def __post_init__(self) -> None:
        for name in ("temperature", "temperature_min"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is greater than 0; got {getattr(self, name)}")


def sample(alpha: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """h (E, O): one-hot rows; the gradient is that of y at the entries that are 1, and 0 at the others."""
    soft = ((alpha.log_softmax(-1) + noise) / temperature).softmax(-1)
    hard = one_hot_of_largest(soft.detach())
    return straight_through(hard, hard * soft)


class Gdas(Bilevel):
    """GDAS; see `Bilevel` for the arguments."""

    name: ClassVar[str] = "gdas"
    paper: ClassVar[str] = "Dong, Yang 2019, arXiv:1910.04465"
    config_class = Config
    config: Config
    own_protocol: ClassVar[Mapping[str, Mapping[str, Any]]] = OWN_PROTOCOL
    temperature: float  # τ of the epoch

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Set τ as well."""
        super().begin_epoch(epoch, generator)
        config = self.config
        self.temperature = linear(epoch, config.protocol.epochs - 1, config.temperature, config.temperature_min)

    def draw(self) -> Tensor:
        """h (E, O), anew at each call."""
        return sample(self.alpha, gumbel(self.generator, self.alpha), self.temperature)

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (first order sees no training batch)
        """α ← Adam(∇_α L_val(w, h))."""
        return self.first_order(valid, self.draw())

    def weight_step(self, train: Batch) -> Half:
        """w ← SGD(∇_w L_train(w, h))."""
        return self.descend(train, self.draw())
