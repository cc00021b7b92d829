"""Shapley-NAS: the logits follow the operations' Shapley values for the validation accuracy, not a gradient.

H. Xiao, Z. Wang, Z. Zhu, J. Zhou, J. Lu, "Shapley-NAS: Discovering Operation Contribution for Neural Architecture
Search", CVPR 2022, arXiv:2206.09811. The players are the E·O mixing weights. A sample removes them, set to 0, in a
random order π, and a player's value in it is the accuracy (percent) that goes with it; once less than half of the
accuracy before any removal is left, the sample ends, and the players not reached have 0. From M = 10 samples,

    φ = mean - standard deviation over the samples (E, O),    φ̂ = (φ - mean φ)/std φ
    s ← 0.8·s + 0.2·φ̂,    α ← α + 0.1·s,    once an epoch

in the second half of the epochs; in the first half, the warm-up, only the weights train, under the initial α.

The figures are those of the released code (Euphoria16/Shapley-NAS), which has the DARTS space only: 50 epochs, batches
of 256, SGD from 0.1 to 0, otherwise as `ucla`; partial channels are left out. `variant="paper"` has unit lengths
instead, s ← 0.8·s + 0.2·φ/‖φ‖, α ← α + 0.1·s/‖s‖: the paper's form as it is remembered, not verified.

Differences from the released code: a sample's 1,024 images are four validation batches of the epoch's first steps,
between which the weights train; batch norm normalises by the batch (there by what the epoch before left it in). α is
set anew with each of these batches, from all samples so far, so that a short epoch moves it, too. A step of those 40
makes 31 forward passes more than others; no sample is cut short in time, only in value. Where a selector trains on, α
is held. As published, nothing renormalises a row, so that `none` always contributes 0: more than an
operation whose samples scatter by more than their mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError, unknown
from dartboard.benchmark.space import E, O
from dartboard.benchmark.supernet import MixedNetwork
from dartboard.searchers._training import (
    Half,
    Protocol,
    WeightSharing,
    initial_logits,
    resolve_protocol,
)

_RELEASED = {"epochs": 50, "batch_size": 256, "weight_learning_rate": 0.1, "weight_learning_rate_min": 0.0}
OWN_PROTOCOL: Mapping[str, Mapping[str, Any]] = {"ucla": _RELEASED}

Variant = Literal["paper", "released"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Shapley-NAS.

    Raises:
        InputError: when a number is out of range or `variant` is not one of its choices.
    """

    protocol: Protocol = field(default_factory=lambda: resolve_protocol({}, OWN_PROTOCOL)[0])
    warm_up: float = 0.5  # share of the epochs in which only the weights train
    samples: int = 10  # M
    batches: int = 4  # of the validation half for each sample
    truncation: float = 0.5  # share of the full accuracy below which a sample ends; 0: never
    momentum: float = 0.8
    step_size: float = 0.1
    variant: Variant = "released"

    def __post_init__(self) -> None:
        for name in ("warm_up", "truncation", "momentum"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is from 0 to 1; got {getattr(self, name)}")
        for name in ("samples", "batches"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is at least 1; got {getattr(self, name)}")
        if not self.step_size > 0:
            raise InputError(f"step_size is greater than 0; got {self.step_size}")
        if self.variant not in ("paper", "released"):
            raise unknown("variant", str(self.variant), ("paper", "released"))


def coalitions(permutation: Tensor) -> Tensor:
    """(n + 1, n): 1 for the players still there, before any removal and after each, in the order of `permutation`."""
    place = permutation.argsort()  # when each player goes
    return (place >= torch.arange(len(permutation) + 1, device=place.device)[:, None]).double()


def contributions(accuracies: Tensor, permutations: Tensor, truncation: float) -> Tensor:
    """(M, n): each player's value in each sample.

    Args:
        accuracies: (M, n + 1), before any removal and after each.
        permutations: (M, n), the players in the order of their removal.
        truncation: the share of the first accuracy below which all later players have 0.
    """
    above = accuracies[:, 1:-1] >= truncation * accuracies[:, :1]
    reached = torch.cat([torch.ones_like(above[:, :1]), above.cumprod(dim=1).bool()], dim=1)
    marginal = torch.where(reached, accuracies[:, :-1] - accuracies[:, 1:], 0.0)
    return torch.zeros_like(marginal).scatter(1, permutations, marginal)


def next_momentum(momentum: Tensor, values: Tensor, config: Config) -> Tensor:
    """s (E, O) after samples with the values (M, E·O)."""
    phi = (values.mean(0) - values.std(0, correction=0)).view_as(momentum)
    if config.variant == "paper":
        direction = _divided(phi, torch.linalg.vector_norm(phi))
    else:
        direction = _divided(phi - phi.mean(), phi.std())
    return config.momentum * momentum + (1 - config.momentum) * direction


def _divided(tensor: Tensor, size: Tensor) -> Tensor:
    return tensor / torch.where(size > 0, size, torch.ones_like(size))


class ShapleyNas(WeightSharing):
    """Shapley-NAS; see `WeightSharing` for the arguments."""

    name: ClassVar[str] = "shapley-nas"
    paper: ClassVar[str] = "Xiao, Wang, Zhu, Zhou, Lu 2022, arXiv:2206.09811"
    config_class = Config
    config: Config
    own_protocol: ClassVar[Mapping[str, Mapping[str, Any]]] = OWN_PROTOCOL
    batches_left: int = 0  # to measure in this epoch
    before: tuple[Tensor, Tensor]  # α and s as the epoch found them

    def __init__(self, supernet: MixedNetwork, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        like = next(supernet.parameters())
        self.alpha = initial_logits(generator, like=like).detach()
        self.momentum = initial_logits(generator, like=like).detach()

    def mixture(self) -> Tensor:
        """(E, O): softmax of the logits."""
        return self.alpha.softmax(-1)

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Draw the permutations of an epoch that moves α."""
        super().begin_epoch(epoch, generator)
        config, epochs = self.config, self.config.protocol.epochs
        searching = int(config.warm_up * epochs) <= epoch < epochs and self.weights.constant_rate is None
        self.batches_left = config.samples * config.batches if searching else 0
        if searching:
            self.before = self.alpha.clone(), self.momentum.clone()
            drawn = [torch.randperm(E * O, generator=generator) for _ in range(config.samples)]
            self.permutations = torch.stack(drawn).to(self.alpha.device)
            self.correct = self.alpha.new_zeros(config.samples, E * O + 1)
            self.seen = self.alpha.new_zeros(config.samples, 1)

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (no training batch is needed)
        """Look at the validation batch; in the epoch's first steps, under every coalition of a sample."""
        half = self.look(valid)
        if self.batches_left:
            half = half._replace(images=half.images + self.measure(valid))
            self.batches_left -= 1
        return half

    @torch.no_grad()
    def measure(self, valid: Batch) -> int:
        """Go on with the sample at hand on one batch, and set α by all so far; the images pushed."""
        config, (alpha, momentum) = self.config, self.before
        sample = config.samples - 1 - (self.batches_left - 1) // config.batches
        kept = coalitions(self.permutations[sample]).to(alpha.dtype).view(-1, E, O)
        for place, mask in enumerate(kept):
            logits = self.supernet(valid.images, alpha.softmax(-1) * mask, "batch")
            self.correct[sample, place] += (logits.argmax(-1) == valid.labels).sum()
        self.seen[sample] += len(valid.labels)

        accuracies = 100 * self.correct[: sample + 1] / self.seen[: sample + 1]
        values = contributions(accuracies, self.permutations[: sample + 1], config.truncation)
        self.momentum = next_momentum(momentum, values, config)
        size = torch.linalg.vector_norm(self.momentum) if config.variant == "paper" else torch.ones_like(alpha[0, 0])
        self.alpha = alpha + config.step_size * _divided(self.momentum, size)
        return len(kept) * len(valid.labels)

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`; between epochs no sample is under way."""
        return {**super().state_dict(), "alpha": self.alpha, "momentum": self.momentum}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        super().load_state_dict(state)
        self.alpha.copy_(state["alpha"])
        self.momentum.copy_(state["momentum"])
