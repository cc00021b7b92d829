"""GAEA: the mixture lives on the simplex itself and moves by exponentiated gradient.

L. Li, M. Khodak, M.-F. Balcan, A. Talwalkar, "Geometry-Aware Gradient Algorithms for Neural Architecture Search",
ICLR 2021, arXiv:2004.07802, GAEA DARTS. With θ_e on the simplex of the operations, uniform at the start,

    θ ← θ ⊙ exp(-η ∇_θ L(w, θ)),  entries below 1e-5 raised to it,  rows divided by their sums;    then w ← SGD(∇_w L)

The floor of 1e-5 is the released code's (liamcli/gaea_release; `smallest`, 0 for none). That code can also hold θ
undecided by the entropic term λ Σ_{e,o} θ_{e,o} ln(n θ_{e,o}), n the operations of an edge, added to L in the step of
θ (`entropy` = λ, there the weight decay): without floor it draws the logarithms of θ together by the factor 1 - ηλ in
each step. λ is 0 in the published runs, and here.

`variant="bilevel"`: θ on the validation half, w on the training half. `variant="erm"` (single level): both are trained
on all images, each on batches of its own; here the two halves change places in every other step, so that over two
epochs each image trains the weights and the mixture about equally often.

The published NAS-Bench-201 runs have η = 0.1, the plain `ucla` protocol for the weights, stop after 25 epochs of a
cosine of 50 (`cosine_length=2`), and exclude `none` (`exclude_none=True`, not the default here, so that all methods
choose among the same operations); they used 24 channels, which is the supernet's matter, not the method's.

Differences from the paper: an epoch is a pass over one half in either variant (the published ERM's is over all images,
twice as long), and what the released code has beside GAEA DARTS (learnt weights of edges, rates that adapt, GAEA GDAS)
is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from dartboard.benchmark.contracts import Batch, StepResult
from dartboard.benchmark.errors import InputError, unknown
from dartboard.benchmark.space import NONE, E, O
from dartboard.benchmark.supernet import MixedNetwork
from dartboard.searchers._training import (
    Half,
    Protocol,
    WeightSharing,
    evaluate,
    resolve_protocol,
)

OWN_PROTOCOL: Mapping[str, Mapping[str, Any]] = {
    "ucla": {"epochs": 25, "architecture_learning_rate": 0.1},
    "autodl": {"architecture_learning_rate": 0.1},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """GAEA DARTS; η is the protocol's `architecture_learning_rate`.

    Raises:
        InputError: when `variant` is not one of its choices, a number is out of range, or the cosine would end before
            the search.
    """

    protocol: Protocol = field(default_factory=lambda: resolve_protocol({}, OWN_PROTOCOL)[0])
    variant: Literal["bilevel", "erm"] = "bilevel"
    exclude_none: bool = False  # whether `none` has weight 0 throughout
    cosine_length: float = 2.0  # the weights' cosine, as a multiple of the search
    smallest: float = 1e-5  # to which smaller mixing weights are raised, before a row is divided by its sum
    entropy: float = 0.0  # λ of the entropic term

    def __post_init__(self) -> None:
        if self.variant not in ("bilevel", "erm"):
            raise unknown("variant", str(self.variant), ("bilevel", "erm"))
        if not self.cosine_length >= 1:
            raise InputError(f"cosine_length is at least 1; got {self.cosine_length}")
        if not 0 <= self.smallest < 1 / O:
            raise InputError(f"smallest is at least 0 and below {1 / O}; got {self.smallest}")
        if not self.entropy >= 0:
            raise InputError(f"entropy is not negative; got {self.entropy}")


def entropic_gradient(theta: Tensor) -> Tensor:
    """(E, O): the gradient of Σ θ ln(n θ), 1 + ln(n θ), with n the entries of a row above 0; 0 at the others."""
    inside = theta > 0
    count = inside.sum(-1, keepdim=True)
    return torch.where(inside, 1 + (count * torch.where(inside, theta, 1.0)).log(), 0.0)


def exponentiated_step(theta: Tensor, gradient: Tensor, rate: float, *, smallest: float) -> Tensor:
    """θ (E, O) after a step; entries that are exactly 0 stay so."""
    moved = (theta * (-rate * gradient).exp()).clamp(min=smallest)
    moved = torch.where(theta > 0, moved, theta)
    return moved / moved.sum(-1, keepdim=True)


class Gaea(WeightSharing):
    """GAEA DARTS; see `WeightSharing` for the arguments."""

    name: ClassVar[str] = "gaea"
    paper: ClassVar[str] = "Li, Khodak, Balcan, Talwalkar 2021, arXiv:2004.07802"
    config_class = Config
    config: Config
    own_protocol: ClassVar[Mapping[str, Mapping[str, Any]]] = OWN_PROTOCOL
    exchanged: bool = False  # whether the halves change places in the next step of `erm`

    def __init__(self, supernet: MixedNetwork, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        like = next(supernet.parameters())
        theta = torch.ones(E, O, dtype=like.dtype, device=like.device)
        theta[:, NONE] = float(not config.exclude_none)
        self.theta = nn.Parameter(theta / theta.sum(-1, keepdim=True))  # (E, O)
        self.architecture = [self.theta]

    def mixture(self) -> Tensor:
        """(E, O): θ itself."""
        return self.theta.view_as(self.theta)

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Set the weights' learning rate by the longer cosine."""
        super().begin_epoch(epoch, generator)
        self.weights.begin_epoch(epoch, length=self.config.cosine_length)
        self.exchanged = epoch % 2 == 1

    def step(self, train: Batch, valid: Batch) -> StepResult:
        """One step of θ and one of the weights; see the module's docstring for `erm`."""
        if self.config.variant == "erm":
            if self.exchanged:
                train, valid = valid, train
            self.exchanged = not self.exchanged
        return super().step(train, valid)

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (first order sees no training batch)
        """The exponentiated step on the loss of `valid`."""
        half = evaluate(lambda images: self.supernet(images, self.mixture()), valid)
        (gradient,) = torch.autograd.grad(half.loss, [self.theta])
        config = self.config
        with torch.no_grad():
            if config.entropy:
                gradient = gradient + config.entropy * entropic_gradient(self.theta)
            rate = config.protocol.architecture_learning_rate
            self.theta.copy_(exponentiated_step(self.theta, gradient, rate, smallest=config.smallest))
        return half

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        return {**super().state_dict(), "theta": self.theta.detach()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        super().load_state_dict(state)
        with torch.no_grad():
            self.theta.copy_(state["theta"])
