"""ZARTS: α moves by what trained weights make of α nearby, without a derivative through the weights.

X. Wang, W. Guo, J. Su, X. Yang, J. Yan, "ZARTS: On Zero-order Optimization for Neural Architecture Search", NeurIPS
2022, arXiv:2110.04743. With θ_M(α) the weights after M more steps on L_train(·, α) from where they are,

    f(α) = L_val(θ_M(α), α)

and, once for every M weight steps, with u_i drawn for i = 1..N and a, b standard normal, one of

    mgs    u_i = (1-λ)(-∇_α L_val(θ, α) + σa) + λσb,    α ← α + Σ_i c_i u_i,    c = softmax(-f(α + u)/τ)
    rs     u_i = a,    α ← α - ξ/N Σ_i [f(α + μu_i) - f(α)]/μ · u_i
    gld    u_i of length R/2ⁱ⁻¹ in a random direction,    α ← the best of α, α + u_1, ..., α + u_N by f

All f of an update are of the same M training batches, those that the weights saw last, and of the same validation
batch. After each the weights and their momentum are put back bit for bit; batch norm normalises by the batch, and its
running statistics do not learn. `mixture()` is softmax(α). An update comes before the (M+1)-th step of an epoch, the
(2M+1)-th, and so on (as long as the protocol's order is architecture-first); in other steps the validation batch is
only looked at, for the record. α rests in the first fifth of the epochs; then σ falls from `radius` along a cosine.

Published for the DARTS space with 50 epochs, otherwise as `ucla`; a search on NAS-Bench-201 was not found.

The u_i of MGS are a proposal, from which c estimates the mean of p(u) ∝ exp(-f(α + u)/τ); for that, c_i is to be
divided by the proposal's density. `form="released"` is the code: it divides by a density plus 1e-4, which as coded is a
constant in all but name (its main term is about e⁻¹⁵ for 30 logits), so that c is the softmax above, and its u_i blends
two normal draws. `form="paper"` is what this stands for, the mixture of the two and its density,

    u_i ~ q = (1-λ) N(-∇_α L_val(θ, α), σ²) + λ N(0, σ²),    c = softmax(-f(α + u)/τ - ln q(u))

where ln q of 30 logits varies by √15 from draw to draw, so that of four draws one often has most of the weight.

Differences from the paper: it was read through its released code, which has MGS alone, and a description. In the code
the weights that it trains for f are not those that it then judges (the optimiser holds others), their batches are of
the half that α is judged on, and σ is an epoch behind; none of this is here. RS and GLD are from the formulas; their
figures here are our own: as many draws as MGS, steps of about its length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError, unknown
from dartboard.benchmark.supernet import MixedNetwork
from dartboard.searchers._training import (
    Half,
    Protocol,
    WeightSharing,
    WeightTrainer,
    evaluate,
    initial_logits,
    look,
    resolve_protocol,
)

OWN_PROTOCOL: Mapping[str, Mapping[str, Any]] = {"ucla": {"epochs": 50}}

Variant = Literal["mgs", "rs", "gld"]
Form = Literal["released", "paper"]

RADIUS: Mapping[str, float] = {"mgs": 0.025, "rs": 0.025, "gld": 0.2}
"""σ, μ and R; `mgs` as published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """ZARTS; a figure that is None has the value beside it, and belongs to the variant named there alone.

    Raises:
        InputError: when a number is out of range or another variant's, or a word is not one of its choices.
    """

    protocol: Protocol = field(default_factory=lambda: resolve_protocol({}, OWN_PROTOCOL)[0])
    variant: Variant = "mgs"
    inner_steps: int = 10  # M
    samples: int = 4  # N
    warm_up: float = 0.2  # share of the epochs before α moves
    radius: float | None = None  # σ of mgs, 0.025; μ of rs, 0.025; R of gld, 0.2
    temperature: float | None = None  # τ of mgs, 0.01
    blend: float | None = None  # λ of mgs, 0.001
    rate: float | None = None  # ξ of rs, 1
    form: Form = "released"  # of mgs: whether the draws' density counts

    def __post_init__(self) -> None:
        for name, choices in (("variant", get_args(Variant)), ("form", get_args(Form))):
            if getattr(self, name) not in choices:
                raise unknown(name, str(getattr(self, name)), choices)
        if self.form != "released" and self.variant != "mgs":
            raise InputError(f"form belongs to the variant 'mgs', and this is {self.variant!r}; got {self.form!r}")
        for name in ("inner_steps", "samples"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is at least 1; got {getattr(self, name)}")
        for name, owner in (("radius", self.variant), ("temperature", "mgs"), ("blend", "mgs"), ("rate", "rs")):
            value = getattr(self, name)
            if value is not None and owner != self.variant:
                raise InputError(f"{name} belongs to the variant {owner!r}, and this is {self.variant!r}; got {value}")
            if value is not None and not (value > 0 or (name == "blend" and value == 0)):
                raise InputError(f"{name} is greater than 0; got {value}")
        if self.blend is not None and self.blend > 1:
            raise InputError(f"blend is at most 1; got {self.blend}")
        if not 0 <= self.warm_up <= 1:
            raise InputError(f"warm_up is a share between 0 and 1; got {self.warm_up}")


def normal(generator: torch.Generator, samples: int, like: Tensor) -> Tensor:
    """(N, ...): N times standard normal numbers in the shape, dtype and device of `like`; drawn on the CPU."""
    draw = torch.randn(samples, *like.shape, generator=generator, dtype=torch.float64)
    return draw.to(dtype=like.dtype).to(like.device)


def guided(gradient: Tensor, deviation: float, blend: float, samples: int, generator: torch.Generator) -> Tensor:
    """(N, E, O): the u_i of MGS around -`gradient` (E, O)."""
    own, other = (deviation * normal(generator, samples, gradient) for _ in range(2))
    return (1 - blend) * (own - gradient) + blend * other


def mixed(gradient: Tensor, deviation: float, blend: float, samples: int, generator: torch.Generator) -> Tensor:
    """(N, E, O): u_i ~ q, around 0 with the probability `blend`, else around -`gradient` (E, O)."""
    noise = deviation * normal(generator, samples, gradient)
    around = torch.rand(samples, generator=generator, dtype=torch.float64) >= blend
    return noise - around.to(gradient.device).view(-1, *[1] * gradient.dim()) * gradient


def log_density(moves: Tensor, gradient: Tensor, deviation: float, blend: float) -> Tensor:
    """(N,): ln q(u), but for a constant, for u (N, E, O)."""
    near, far = ((each / deviation).square().flatten(1).sum(1) / 2 for each in (moves + gradient, moves))
    shares = [math.log(share) if share else -math.inf for share in (1 - blend, blend)]
    return torch.logaddexp(shares[0] - near, shares[1] - far)


def guided_step(moves: Tensor, losses: Tensor, temperature: float, log_density: Tensor | None = None) -> Tensor:
    """(E, O): Σ_i c_i u_i of MGS, for u (N, E, O), f(α + u) (N,) and ln q(u) (N,), which None leaves out."""
    logs = -losses / temperature if log_density is None else -losses / temperature - log_density
    step: Tensor = torch.tensordot(logs.softmax(0), moves, dims=1)
    return step


def random_search_gradient(moves: Tensor, losses: Tensor, base: Tensor, radius: float) -> Tensor:
    """(E, O): 1/N Σ_i [f(α + μu_i) - f(α)]/μ · u_i of RS, for u (N, E, O), f(α + μu) (N,) and f(α) ()."""
    total: Tensor = torch.tensordot((losses - base) / radius, moves, dims=1)
    return total / len(moves)


def shrinking(like: Tensor, radius: float, samples: int, generator: torch.Generator) -> Tensor:
    """(N, E, O): the u_i of GLD, uniform on spheres of radius R, R/2, R/4, ..."""
    directions = normal(generator, samples, like).flatten(1)
    units: Tensor = directions / torch.linalg.vector_norm(directions, dim=1, keepdim=True)
    radii = radius * torch.pow(0.5, torch.arange(samples, dtype=like.dtype, device=like.device))
    return (radii[:, None] * units).view(samples, *like.shape)


def best(points: Tensor, losses: Tensor) -> Tensor:
    """(E, O): of `points` (n, E, O) the first with the smallest of `losses` (n,); NaN counts as infinite."""
    place = torch.where(losses.isnan(), torch.inf, losses).argmin(0, keepdim=True)
    return points.index_select(0, place).squeeze(0)


@contextmanager
def excursion(trainer: WeightTrainer) -> Iterator[None]:
    """Put the weights and their momentum back, bit for bit, after what happens inside."""
    states = trainer.sgd.state
    weights = [parameter.detach().clone() for parameter in trainer.parameters]
    momenta = [states.get(parameter, {}).get("momentum_buffer") for parameter in trainer.parameters]
    kept = [None if momentum is None else momentum.clone() for momentum in momenta]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, weight, momentum in zip(trainer.parameters, weights, kept, strict=True):
                parameter.copy_(weight)
                if momentum is None:
                    states.pop(parameter, None)
                else:
                    states[parameter]["momentum_buffer"] = momentum


class Zarts(WeightSharing):
    """ZARTS; see `WeightSharing` for the arguments."""

    name: ClassVar[str] = "zarts"
    paper: ClassVar[str] = "Wang, Guo, Su, Yang, Yan 2022, arXiv:2110.04743"
    config_class = Config
    config: Config
    own_protocol: ClassVar[Mapping[str, Mapping[str, Any]]] = OWN_PROTOCOL

    def __init__(self, supernet: MixedNetwork, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        self.alpha = initial_logits(generator, like=next(supernet.parameters()))  # (E, O)
        self.architecture = [self.alpha]
        self.seen: list[Batch] = []  # by the weights, since α last moved or the epoch began
        self.warming = False
        self.radius = 0.0

    def mixture(self) -> Tensor:
        """(E, O): softmax of the logits."""
        return self.alpha.softmax(-1)

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Set the radius, see whether α rests, and begin to count weight steps."""
        super().begin_epoch(epoch, generator)
        config, epochs = self.config, self.config.protocol.epochs
        rest = round(config.warm_up * epochs)
        self.warming, self.seen = epoch < rest, []
        self.radius = RADIUS[config.variant] if config.radius is None else config.radius
        if config.variant == "mgs":
            done = min(max(0, epoch - rest) / max(1, epochs - rest), 1.0)
            self.radius *= (1 + math.cos(math.pi * done)) / 2

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (its batches are those seen before)
        """An update of α if M weight steps were made; else a look at the validation batch."""
        if len(self.seen) < self.config.inner_steps:
            return self.look(valid)
        see = evaluate if self.config.variant == "mgs" else look  # only it takes a gradient
        half = see(lambda images: self.supernet(images, self.mixture(), "batch"), valid)
        pushed = len(valid.labels) + sum(len(batch.labels) for batch in self.seen)  # of one f
        outcomes: list[Tensor] = []

        def outcome(alpha: Tensor) -> Tensor:
            outcomes.append(self.outcome(alpha, valid))
            return outcomes[-1]

        moved = {"mgs": self.guided, "rs": self.random_search, "gld": self.gradientless}[self.config.variant]
        after = moved(half.loss, outcome)
        with torch.no_grad():
            self.alpha.copy_(after)
        self.seen = []
        return half._replace(images=half.images + len(outcomes) * pushed)

    def outcome(self, alpha: Tensor, valid: Batch) -> Tensor:
        """f(α) ()."""
        mixture = alpha.softmax(-1)

        def forward(images: Tensor) -> Tensor:
            logits: Tensor = self.supernet(images, mixture, "batch")
            return logits

        with excursion(self.weights):
            for batch in self.seen:
                self.weights.descend(evaluate(forward, batch).loss)
            return look(forward, valid).loss

    def guided(self, loss: Tensor, outcome: Callable[[Tensor], Tensor]) -> Tensor:
        """α after a step of MGS; `loss` is L_val(θ, α), with its graph."""
        config, alpha = self.config, self.alpha.detach()
        temperature = 0.01 if config.temperature is None else config.temperature
        blend = 1e-3 if config.blend is None else config.blend
        (gradient,) = torch.autograd.grad(loss, [self.alpha])
        weighed = config.form == "paper"
        moves = (mixed if weighed else guided)(gradient, self.radius, blend, config.samples, self.generator)
        losses = torch.stack([outcome(alpha + move) for move in moves])
        if weighed and self.radius:  # which is 0 where a selector trains on: then there is no density
            return alpha + guided_step(moves, losses, temperature, log_density(moves, gradient, self.radius, blend))
        return alpha + guided_step(moves, losses, temperature)

    def random_search(self, loss: Tensor, outcome: Callable[[Tensor], Tensor]) -> Tensor:  # noqa: ARG002  (needs no gradient)
        """α after a step of RS."""
        alpha, rate = self.alpha.detach(), 1.0 if self.config.rate is None else self.config.rate
        moves = normal(self.generator, self.config.samples, alpha)
        base = outcome(alpha)
        losses = torch.stack([outcome(alpha + self.radius * move) for move in moves])
        return alpha - rate * random_search_gradient(moves, losses, base, self.radius)

    def gradientless(self, loss: Tensor, outcome: Callable[[Tensor], Tensor]) -> Tensor:  # noqa: ARG002  (needs no gradient)
        """α after a step of GLD."""
        alpha = self.alpha.detach()
        moves = shrinking(alpha, self.radius, self.config.samples, self.generator)
        points = torch.cat([alpha[None], alpha + moves])
        return best(points, torch.stack([outcome(point) for point in points]))

    def weight_step(self, train: Batch) -> Half:
        """w ← SGD(∇_w L_train(w, α)); the batch is remembered for f."""
        half = super().weight_step(train)
        if not self.warming:
            self.seen.append(train)
        return half

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        return {**super().state_dict(), "alpha": self.alpha.detach()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        super().load_state_dict(state)
        with torch.no_grad():
            self.alpha.copy_(state["alpha"])
