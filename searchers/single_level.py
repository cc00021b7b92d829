"""DARTS on one level: weights and architecture on the same data, both from one pass.

H. Liu, K. Simonyan, Y. Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, arXiv:1806.09055, the
alternative to its bilevel optimisation in which α moves simultaneously with w, on the same data:

    (g_w, g_α) = ∇ L(w, α),    w ← SGD(g_w),    α ← Adam(g_α)

with L the loss of the weights' batch (`data="train"`: what bilevel DARTS' weights see, so that the level is all that
differs) or of the two halves' batches together (`data="both"`: all images, as in the DARTS paper).

Differences from the paper: α is trained by the protocol's Adam, as in bilevel DARTS, not by SGD. With `data="train"`
the validation batch trains nothing; one pass without gradient looks at it for the record, normalised by the batch, the
running statistics left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Batch, StepResult
from dartboard.benchmark.errors import unknown
from dartboard.searchers._training import (
    PROTOCOLS,
    Bilevel,
    Half,
    Protocol,
    evaluate,
    step_result,
    step_with,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Single-level DARTS.

    Raises:
        InputError: when `data` is not one of its choices.
    """

    protocol: Protocol = field(default_factory=lambda: PROTOCOLS["ucla"])
    data: Literal["train", "both"] = "train"

    def __post_init__(self) -> None:
        if self.data not in ("train", "both"):
            raise unknown("data", str(self.data), ("train", "both"))


class SingleLevel(Bilevel):
    """Single-level DARTS; see `Bilevel` for the arguments."""

    name: ClassVar[str] = "single-level"
    paper: ClassVar[str] = "Liu, Simonyan, Yang 2019, arXiv:1806.09055"
    config_class = Config
    config: Config

    def step(self, train: Batch, valid: Batch) -> StepResult:
        """Weights and logits move together, down one loss."""
        if self.config.data == "train":
            return step_result(self.weight_step(train), self.architecture_step(train, valid), train, valid)
        size, images = len(train.labels), torch.cat([train.images, valid.images])
        logits = self.supernet(images, self.mixture())
        lower, upper = evaluate(lambda _: logits[:size], train), evaluate(lambda _: logits[size:], valid)
        self.move((size * lower.loss + len(valid.labels) * upper.loss) / len(images))
        return step_result(lower, upper, train, valid)

    def weight_step(self, train: Batch) -> Half:
        """Both move, down the loss of `train`."""
        half = evaluate(lambda images: self.supernet(images, self.mixture()), train)
        self.move(half.loss)
        return half

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (nothing is trained here)
        """Look at the validation batch."""
        return self.look(valid)

    def move(self, loss: Tensor) -> None:
        """w ← SGD(∇_w L), α ← Adam(∇_α L)."""
        *of_weights, of_alpha = torch.autograd.grad(loss, [*self.weights.parameters, self.alpha])
        self.weights.descend_along(of_weights, [of_alpha])
        step_with(self.adam, [self.alpha], [of_alpha])
