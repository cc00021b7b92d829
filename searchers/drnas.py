"""DrNAS: the mixture is drawn from a Dirichlet distribution, whose concentration is learnt.

X. Chen, R. Wang, M. Cheng, X. Tang, C.-J. Hsieh, "DrNAS: Dirichlet Neural Architecture Search", ICLR 2021,
arXiv:2006.10355. With β = ELU(α) + 1 > 0 and θ_e ~ Dir(β_e) for each edge e,

    α ← Adam(∇_α [E_θ L_val(w, θ) + λ d(β, 1)]),    w ← SGD(∇_w E_θ L_train(w, θ))

one draw of θ (E, O) for each half of a step, shared by all cells, with the pathwise gradient. The anchor d is that of
`anchor`: `l2`, λ as Adam's weight decay on α (α = 0 is β = 1); or `kl`, λ Σ_e KL(Dir(β_e) ‖ Dir(1)) in the loss and no
weight decay. λ is the protocol's `architecture_decay`: 1e-3, which suits `l2`; the authors say that `kl` wants its own.

By default this is the plain search that, its authors say, made their NAS-Bench-201 table. The progressive search has
stages of equal length, each with a K and a number of operations: one channel in K passes through the operations of an
edge (see `dartboard.benchmark.partial`), of which only those with the largest α are left. Where a stage with a smaller
K begins, the convolutions of C/K channels become those of C/K' by copies of channels drawn at random, inputs and
outputs each for themselves, running statistics and momentum alike; nothing is rescaled, so the network computes
something else. In the first fifth of each stage α rests. Published: K = 4, then 2; five operations, then three.

Differences from the paper: β has a floor of 1e-3, below which Dirichlet's gradients lose
their digits; that the mixture is the mean β/Σβ is how the result is read, and its largest entry is α's. PyTorch draws
from a Dirichlet distribution with the global generator only: it is seeded for the draw, from the epoch's generator,
and put back. Of an edge's operations the released code draws all and scales those that are left to sum 1; here θ is
drawn from the Dirichlet distribution of those that are left, which is the distribution of that; so is the anchor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Dirichlet

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError, unknown
from dartboard.benchmark.partial import PartialCell, PartialSupernet
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import split_off
from dartboard.benchmark.supernet import Supernet, SupernetConfig
from dartboard.searchers._training import (
    PROTOCOLS,
    Bilevel,
    Half,
    Protocol,
    architecture_adam,
)

FLOOR = 1e-3  # of β


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """DrNAS; `partial` and `keep` have an entry for each stage.

    Raises:
        InputError: when `anchor` is not one of its choices, or the stages make no sense.
    """

    protocol: Protocol = field(default_factory=lambda: PROTOCOLS["ucla"])
    anchor: Literal["l2", "kl"] = "l2"
    partial: tuple[int, ...] = (1,)  # K: one channel in K passes through the operations
    keep: tuple[int, ...] = (O,)  # operations left of each edge
    warm_up: float = 0.0  # share of each stage's epochs in which α rests

    def __post_init__(self) -> None:
        if self.anchor not in ("l2", "kl"):
            raise unknown("anchor", str(self.anchor), ("l2", "kl"))
        for name, largest in (("partial", None), ("keep", O)):
            numbers = tuple(getattr(self, name))
            object.__setattr__(self, name, numbers)  # a list, where it comes from a grid
            sound = bool(numbers) and all(isinstance(n, int) and n >= 1 for n in numbers)
            if not sound or list(numbers) != sorted(numbers, reverse=True):
                raise InputError(f"{name} is a list of whole numbers of at least 1 that never grow; got {numbers}")
            if largest is not None and numbers[0] > largest:
                raise InputError(f"{name} is at most {largest}; got {numbers}")
        if len(self.partial) != len(self.keep):
            raise InputError(f"partial and keep have an entry for each stage; got {self.partial} and {self.keep}")
        if not 0 <= self.warm_up <= 1:
            raise InputError(f"warm_up is a share between 0 and 1; got {self.warm_up}")


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


def stage_of(epoch: int, epochs: int, stages: int) -> tuple[int, int]:
    """The stage of `epoch` (from 0) and the epochs since it began; the last stage goes on beyond the last epoch."""
    stage = min(epoch * stages // epochs, stages - 1)
    return stage, epoch - -(-stage * epochs // stages)


def strongest(alpha: Tensor, left: Tensor, keep: int) -> Tensor:
    """(E, keep): the operations with the largest α (E, O) among those `left` (E, n), in ascending order."""
    best = alpha.gather(-1, left).topk(keep, dim=-1).indices
    return left.gather(-1, best).sort(dim=-1).values


def spread(rows: Tensor, left: Tensor) -> Tensor:
    """(E, O): the entries of `rows` (E, n) at the operations `left` (E, n), 0 elsewhere."""
    return rows.new_zeros(len(rows), O).scatter(-1, left, rows)


def copies(channels: int, more: int, edges: int, generator: torch.Generator) -> Tensor:
    """(edges, more): for each channel of the wider layer the channel it is a copy of; the first ones are themselves."""
    own = torch.arange(channels).expand(edges, channels)
    return torch.cat([own, torch.randint(channels, (edges, more - channels), generator=generator)], dim=1)


@torch.no_grad()
def widen(network: PartialSupernet, partial: int, sgd: torch.optim.SGD, generator: torch.Generator) -> None:
    """Let one channel in `partial` pass through the operations, more than before; what is new is copied, at random."""
    growth = network.config.partial / partial
    wider = []
    for cell in (block for block in network.blocks if isinstance(block, PartialCell)):
        for convolution, norm in cell.layers():
            weight, channels = convolution.weight, cell.channels
            edges, more = len(weight) // channels, round(growth * channels)
            inputs, outputs = (copies(channels, more, edges, generator).to(weight.device) for _ in range(2))
            columns = inputs.repeat_interleave(more, dim=0)  # (edges·more, more)
            rows = (outputs + channels * torch.arange(edges, device=weight.device)[:, None]).flatten()
            momentum = sgd.state.get(weight, {}).get("momentum_buffer")
            kernels = [None if part is None else part[rows[:, None], columns] for part in (weight, momentum)]
            statistics = [None if part is None else part[rows] for part in (norm.running_mean, norm.running_var)]
            wider.append((convolution, norm, kernels, statistics))
    network.resize(partial)
    for convolution, norm, (weights, momenta), statistics in wider:
        assert weights is not None
        convolution.weight.copy_(weights)
        norm.running_mean, norm.running_var = statistics
        if momenta is not None:
            sgd.state[convolution.weight]["momentum_buffer"] = torch.empty_like(convolution.weight).copy_(momenta)


class DrNas(Bilevel):
    """DrNAS; see `Bilevel` for the arguments."""

    name: ClassVar[str] = "drnas"
    paper: ClassVar[str] = "Chen, Wang, Cheng, Tang, Hsieh 2021, arXiv:2006.10355"
    exceptions: ClassVar[dict[str, str]] = {"meta-device": "PyTorch has no Dirichlet sampler on the meta device"}
    config_class = Config
    config: Config

    def __init__(self, supernet: Supernet, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        if self.supernet_config(supernet.config, config) != supernet.config:
            raise InputError("drnas trains a supernet of its own kind; build it from DrNas.supernet_config")
        self.network = supernet  # `supernet`, whatever a selector wraps it in
        self.stage, self.warming = 0, False
        self.left = torch.arange(O, device=self.alpha.device).repeat(E, 1)
        self.left = strongest(self.alpha, self.left, config.keep[0])
        if config.anchor == "kl":
            self.adam = architecture_adam([self.alpha], replace(config.protocol, architecture_decay=0.0))

    @staticmethod
    def supernet_config(size: SupernetConfig, config: Config) -> SupernetConfig:
        """The supernet that it trains first, of this size.

        Raises:
            InputError: when the number of channels is no multiple of the K of a stage.
        """
        each = [replace(size, partial=partial) for partial in config.partial]
        return each[0]

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Go on to the next stage if it is its turn, and see whether α rests."""
        super().begin_epoch(epoch, generator)
        epochs, stages = self.config.protocol.epochs, len(self.config.partial)
        stage, since = stage_of(epoch, epochs, stages)
        while self.stage < stage and self.weights.constant_rate is None:  # not where a selector trains on
            self.advance()
        self.warming = since < round(self.config.warm_up * epochs / stages)

    def advance(self) -> None:
        """Begin the next stage: fewer operations of each edge are left, more channels pass through them."""
        self.stage += 1
        self.left = strongest(self.alpha.detach(), self.left, self.config.keep[self.stage])
        partial = self.config.partial[self.stage]
        if partial != self.network.config.partial:
            assert isinstance(self.network, PartialSupernet)
            widen(self.network, partial, self.weights.sgd, self.generator)

    def beta(self) -> Tensor:
        """(E, n): the concentrations of the operations that are left."""
        return concentration(self.alpha).gather(-1, self.left)

    def mixture(self) -> Tensor:
        """(E, O): the mean β/Σβ."""
        beta = self.beta()
        return spread(beta / beta.sum(-1, keepdim=True), self.left)

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (first order sees no training batch)
        """α ← Adam(∇_α [L_val(w, θ) + λ d(β, 1)]), the loss returned being L_val; a look while α rests."""
        if self.warming:
            return self.look(valid)
        beta = self.beta()
        theta = spread(draw(beta, self.generator), self.left)
        if self.config.anchor == "l2":
            return self.first_order(valid, theta)
        return self.first_order(valid, theta, self.config.protocol.architecture_decay * divergence_from_uniform(beta))

    def weight_step(self, train: Batch) -> Half:
        """w ← SGD(∇_w L_train(w, θ)) with a draw of its own."""
        return self.descend(train, spread(draw(self.beta(), self.generator), self.left))

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        return {**super().state_dict(), "stage": self.stage, "left": self.left}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        self.stage, self.left = state["stage"], state["left"].to(self.alpha.device)
        if isinstance(self.network, PartialSupernet):
            self.network.resize(self.config.partial[self.stage])
        super().load_state_dict(state)
