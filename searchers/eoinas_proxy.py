"""A stand-in for EoiNAS: sampled paths, and the least important operation of every edge pruned four times.

It stands in for X. Xie, Y. Zhou, S.-Y. Kung, "Exploiting Operation Importance for Differentiable Neural Architecture
Search", 2019, arXiv:1911.10511 (IEEE TNNLS 33(11), 2022). Of that, only this is known here, from the abstracts: the
architecture weight alone is a poor indicator of an operation's importance; a new indicator takes its place; by it,
operations are pruned gradually (in the journal, by a Markov chain of high order). The indicator itself and the schedule
were not found, and no code. What follows is ours, to have the idea in a comparison; it says nothing of their method.

With A (E, O) the average of the validation accuracy over the batches in which an operation was sampled, as in GDAS, and
p = softmax(α) over the operations left on an edge,

    A ← 0.9·A + 0.1·accuracy    where sampled,    I = p̂ · Â,    v̂ = (v - min v)/(max v - min v) on each edge

and before epochs T/5, 2T/5, 3T/5 and 4T/5 of T every edge loses the operation with the lowest I, so that one is left.
Between operations with equal I, the lower p·A goes (both factors are 0 at their minimum); what was never sampled has
A = 0. Everything else is GDAS, its temperature and protocol (`autodl`, 250 epochs) included.

Differences from the paper: all of it may differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import O
from dartboard.benchmark.supernet import MixedNetwork
from dartboard.searchers._training import Bilevel, Half, Protocol, gumbel, linear, resolve_protocol
from dartboard.searchers.gdas import sample

OWN_PROTOCOL: Mapping[str, Mapping[str, Any]] = {"autodl": {"epochs": 250}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The stand-in's figures.

    Raises:
        InputError: when a temperature is not greater than 0 or `decay` is no share.
    """

    protocol: Protocol = field(default_factory=lambda: resolve_protocol({"protocol": "autodl"}, OWN_PROTOCOL)[0])
    temperature: float = 10.0  # τ in the first epoch
    temperature_min: float = 0.1  # in the last
    decay: float = 0.9  # of the average accuracy

    def __post_init__(self) -> None:
        for name in ("temperature", "temperature_min"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is greater than 0; got {getattr(self, name)}")
        if not 0 <= self.decay < 1:
            raise InputError(f"decay is at least 0 and below 1; got {self.decay}")


def stretched(values: Tensor, alive: Tensor) -> Tensor:
    """(E, O): each edge's values moved to [0, 1] over the operations that are `alive`; 1 where they are all equal."""
    low = values.masked_fill(~alive, torch.inf).amin(-1, keepdim=True)
    high = values.masked_fill(~alive, -torch.inf).amax(-1, keepdim=True)
    span = high - low
    return torch.where(span > 0, (values - low) / torch.where(span > 0, span, torch.ones_like(span)), 1.0)


def least_important(probabilities: Tensor, accuracies: Tensor, alive: Tensor) -> Tensor:
    """(E, O), bool: on each edge the operation `alive` with the lowest I = p̂·Â; of equals, that with the lowest p·A."""
    indicator = stretched(probabilities, alive) * stretched(accuracies, alive)
    lowest = indicator.masked_fill(~alive, torch.inf).amin(-1, keepdim=True)
    equals = alive & (indicator == lowest)
    chosen = (probabilities * accuracies).masked_fill(~equals, torch.inf).argmin(-1, keepdim=True)
    return torch.zeros_like(alive).scatter(-1, chosen, True)


class EoinasProxy(Bilevel):
    """The stand-in for EoiNAS; see `Bilevel` for the arguments."""

    name: ClassVar[str] = "eoinas-proxy"
    paper: ClassVar[str] = "stand-in for Xie, Zhou, Kung 2019, arXiv:1911.10511"
    config_class = Config
    config: Config
    own_protocol: ClassVar[Mapping[str, Mapping[str, Any]]] = OWN_PROTOCOL
    temperature: float  # τ of the epoch

    def __init__(self, supernet: MixedNetwork, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        self.accuracies = torch.zeros_like(self.alpha.detach())  # A, from 0 to 1
        self.sampled = torch.zeros_like(self.accuracies, dtype=torch.bool)  # at least once
        self.alive = torch.ones_like(self.sampled)
        self.prunings = 0

    @property
    def logits(self) -> Tensor:
        """(E, O): α, -∞ where pruned."""
        return self.alpha.masked_fill(~self.alive, -torch.inf)

    def mixture(self) -> Tensor:
        """(E, O): p, 0 where pruned."""
        return self.logits.softmax(-1)

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Set τ as well, and prune where it is time; not where a selector trains on."""
        super().begin_epoch(epoch, generator)
        config, epochs = self.config, self.config.protocol.epochs
        self.temperature = linear(epoch, epochs - 1, config.temperature, config.temperature_min)
        if epoch < epochs and self.weights.constant_rate is None:
            for _ in range(self.prunings, O * epoch // epochs):
                self.alive &= ~least_important(self.mixture().detach(), self.accuracies, self.alive)
                self.prunings += 1

    def draw(self) -> Tensor:
        """A cell (E, O), one-hot, of the operations left, anew at each call."""
        return sample(self.logits, gumbel(self.generator, self.alpha), self.temperature)

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (first order sees no training batch)
        """α ← Adam(∇_α L_val(w, h)), and the accuracy goes to what was sampled."""
        cell = self.draw()
        half = self.first_order(valid, cell)
        with torch.no_grad():
            accuracy, here = half.correct.to(self.accuracies.dtype) / len(valid.labels), cell > 0
            kept = self.config.decay * self.sampled.to(self.accuracies.dtype)
            self.accuracies = torch.where(here, kept * self.accuracies + (1 - kept) * accuracy, self.accuracies)
            self.sampled |= here
        return half

    def weight_step(self, train: Batch) -> Half:
        """w ← SGD(∇_w L_train(w, h))."""
        return self.descend(train, self.draw())

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        own = {"accuracies": self.accuracies, "sampled": self.sampled, "alive": self.alive, "prunings": self.prunings}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        super().load_state_dict(state)
        for name in ("accuracies", "sampled", "alive"):
            getattr(self, name).copy_(state[name])
        self.prunings = state["prunings"]
