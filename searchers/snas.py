"""SNAS: the mixture is a sample of the concrete distribution, one-hot in the limit.

S. Xie, H. Zheng, C. Liu, L. Lin, "SNAS: Stochastic Neural Architecture Search", ICLR 2019, arXiv:1812.09926. With
G (E, O) standard Gumbel noise and τ the temperature,

    Z = softmax((log softmax(α) + G)/τ)

mixes the cell, all entries counting forward and backward, and τ falls linearly from 10 in the first epoch to 1 in the
last. `level="bilevel"`: α on the validation half and the weights on the training half, each with a sample of its own,
as in the NAS-Bench-201 results under this name, the baseline of the DrNAS authors (`ucla`). `level="single"`: weights
and α on the training half, from one pass and one sample, as in the paper. The result is read from softmax(α).

Differences from the paper: no term for resources in the loss; τ is that of the DrNAS authors' baseline, where it would
reach 1 only after the last epoch (1.09 in the last of 100).
With `level="single"` the validation batch trains nothing; one pass without gradient looks at it for the record, under
softmax(α), normalised by the batch, the running statistics left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError, unknown
from dartboard.searchers._training import (
    PROTOCOLS,
    Bilevel,
    Half,
    Protocol,
    evaluate,
    gumbel,
    linear,
    step_with,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """SNAS.

    Raises:
        InputError: when a temperature is not greater than 0, or `level` is not one of its choices.
    """

    protocol: Protocol = field(default_factory=lambda: PROTOCOLS["ucla"])
    level: Literal["bilevel", "single"] = "bilevel"
    temperature: float = 10.0  # τ in the first epoch
    temperature_min: float = 1.0  # in the last

    def __post_init__(self) -> None:
        if self.level not in ("bilevel", "single"):
            raise unknown("level", str(self.level), ("bilevel", "single"))
        for name in ("temperature", "temperature_min"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is greater than 0; got {getattr(self, name)}")


def concrete(alpha: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """Z (E, O), rows on the simplex, differentiable in α."""
    return ((alpha.log_softmax(-1) + noise) / temperature).softmax(-1)


class Snas(Bilevel):
    """SNAS; see `Bilevel` for the arguments."""

    name: ClassVar[str] = "snas"
    paper: ClassVar[str] = "Xie, Zheng, Liu, Lin 2019, arXiv:1812.09926"
    config_class = Config
    config: Config
    temperature: float  # τ of the epoch

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Set τ as well."""
        super().begin_epoch(epoch, generator)
        config = self.config
        self.temperature = linear(epoch, config.protocol.epochs - 1, config.temperature, config.temperature_min)

    def draw(self) -> Tensor:
        """Z (E, O), anew at each call."""
        return concrete(self.alpha, gumbel(self.generator, self.alpha), self.temperature)

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (first order sees no training batch)
        """α ← Adam(∇_α L_val(w, Z)); on a single level, a look at the validation batch."""
        if self.config.level == "single":
            return self.look(valid)
        return self.first_order(valid, self.draw())

    def weight_step(self, train: Batch) -> Half:
        """w ← SGD(∇_w L_train(w, Z)); on a single level, α ← Adam(∇_α L_train(w, Z)) as well, from the same pass."""
        mixture = self.draw()
        if self.config.level == "bilevel":
            return self.descend(train, mixture)
        half = evaluate(lambda images: self.supernet(images, mixture), train)
        *of_weights, of_alpha = torch.autograd.grad(half.loss, [*self.weights.parameters, self.alpha])
        self.weights.descend_along(of_weights, [of_alpha])
        step_with(self.adam, [self.alpha], [of_alpha])
        return half
