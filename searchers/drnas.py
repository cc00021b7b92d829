"""DrNAS: the mixture is drawn from a Dirichlet distribution, whose concentration is learnt.

X. Chen, R. Wang, M. Cheng, X. Tang, C.-J. Hsieh, "DrNAS: Dirichlet Neural Architecture Search", ICLR 2021,
arXiv:2006.10355. With β = ELU(α) + 1 > 0 and θ_e ~ Dir(β_e) for each edge e,

    α ← Adam(∇_α [E_θ L_val(w, θ) + λ d(β, 1)]),    w ← SGD(∇_w E_θ L_train(w, θ))

one draw of θ (E, O) for each half of a step, shared by all cells, with the pathwise gradient. The anchor d is that of
`anchor`: `l2`, λ as Adam's weight decay on α (α = 0 is β = 1); or `kl`, λ Σ_e KL(Dir(β_e) ‖ Dir(1)) in the loss and no
weight decay. λ is the protocol's `architecture_decay`: 1e-3, which suits `l2`; the authors say that `kl` wants its own.

Differences from the paper: this is the plain search that, its authors say, made their NAS-Bench-201 table; the
progressive search with partial channels is not here. β has a floor of 1e-3, below which Dirichlet's gradients lose
their digits; that the mixture is the mean β/Σβ is how the result is read, and its largest entry is α's. PyTorch draws
from a Dirichlet distribution with the global generator only: it is seeded for the draw, from the epoch's generator,
and put back.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Dirichlet

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import unknown
from dartboard.benchmark.streams import split_off
from dartboard.benchmark.supernet import MixedNetwork
from dartboard.searchers._training import (
    PROTOCOLS,
    Bilevel,
    Half,
    Protocol,
    architecture_adam,
    evaluate,
    step_with,
)

FLOOR = 1e-3  # of β


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """DrNAS.

    Raises:
        InputError: when `anchor` is not one of its choices.
    """

    protocol: Protocol = field(default_factory=lambda: PROTOCOLS["ucla"])
    anchor: Literal["l2", "kl"] = "l2"

    def __post_init__(self) -> None:
        if self.anchor not in ("l2", "kl"):
            raise unknown("anchor", str(self.anchor), ("l2", "kl"))


def concentration(alpha: Tensor) -> Tensor:
    """β (E, O) = ELU(α) + 1: α + 1 where α > 0, exp(α) elsewhere; at least `FLOOR`."""
    return (F.elu(alpha) + 1).clamp(min=FLOOR)


def divergence_from_uniform(beta: Tensor) -> Tensor:
    """(): Σ_e KL(Dir(β_e) ‖ Dir(1)) for β (E, O).

    With s = Σ_o β_o: ln Γ(s) - Σ ln Γ(β_o) - ln Γ(O) + Σ (β_o - 1)(ψ(β_o) - ψ(s)).
    """
    total = beta.sum(-1, keepdim=True)
    logs = torch.lgamma(total).sum() - torch.lgamma(beta).sum()
    count = beta.shape[-1]
    constant = len(beta) * torch.lgamma(beta.new_full((), float(count)))
    return logs - constant + ((beta - 1) * (torch.digamma(beta) - torch.digamma(total))).sum()


def draw(beta: Tensor, generator: torch.Generator) -> Tensor:
    """θ (E, O), rows ~ Dir(β_e), with the pathwise gradient to β; the global random state is as before."""
    device, seed = beta.device, split_off(generator)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)
        theta: Tensor = Dirichlet(beta, validate_args=False).rsample()
    return theta


class DrNas(Bilevel):
    """DrNAS; see `Bilevel` for the arguments."""

    name: ClassVar[str] = "drnas"
    paper: ClassVar[str] = "Chen, Wang, Cheng, Tang, Hsieh 2021, arXiv:2006.10355"
    exceptions: ClassVar[dict[str, str]] = {"meta-device": "PyTorch has no Dirichlet sampler on the meta device"}
    config_class = Config
    config: Config

    def __init__(self, supernet: MixedNetwork, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        if config.anchor == "kl":
            self.adam = architecture_adam([self.alpha], replace(config.protocol, architecture_decay=0.0))

    def mixture(self) -> Tensor:
        """(E, O): the mean β/Σβ."""
        beta = concentration(self.alpha)
        return beta / beta.sum(-1, keepdim=True)

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (first order sees no training batch)
        """α ← Adam(∇_α [L_val(w, θ) + λ d(β, 1)]), the loss returned being L_val."""
        beta = concentration(self.alpha)
        theta = draw(beta, self.generator)
        half = evaluate(lambda images: self.supernet(images, theta), valid)
        objective = half.loss
        if self.config.anchor == "kl":
            objective = objective + self.config.protocol.architecture_decay * divergence_from_uniform(beta)
        step_with(self.adam, [self.alpha], torch.autograd.grad(objective, [self.alpha]))
        return half

    def weight_step(self, train: Batch) -> Half:
        """w ← SGD(∇_w L_train(w, θ)) with a draw of its own."""
        return self.descend(train, draw(concentration(self.alpha), self.generator))
