"""What the search methods share: the two protocols of the literature, and plain steps that a method puts together.

Not a method itself. The figures of both protocols are those of the published repositories: `ucla` is the family of
DARTS-PT, DrNAS and SmoothDARTS; `autodl` is AutoDL-Projects, the benchmark authors' own. In one thing that family is
not of one mind, and `ucla` is DARTS-PT: the code of DrNAS, SmoothDARTS and β-DARTS has α among the network's
parameters, so that its gradient of the train loss counts in the clipped norm (`clip_includes_architecture`).
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Final, Literal, NamedTuple
from typing import Protocol as TypingProtocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dartboard.benchmark.catalogue import check_options
from dartboard.benchmark.contracts import Batch, StepResult
from dartboard.benchmark.errors import InputError, unknown
from dartboard.benchmark.space import E, O
from dartboard.benchmark.supernet import MixedNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How a supernet is trained, apart from what is a method's own; the defaults are `ucla`'s.

    Raises:
        InputError: when a number is outside its range or a word is not one of its choices.
    """

    epochs: int = 100
    batch_size: int = 64
    order: Literal["architecture-first", "weights-first"] = "architecture-first"  # within a step
    weight_learning_rate: float = 0.025
    weight_learning_rate_min: float = 0.001  # where the cosine would end after the last epoch
    weight_momentum: float = 0.9
    weight_decay: float = 3e-4
    nesterov: bool = False
    gradient_clip: float = 5.0  # L2 norm of the weights' gradient; 0 clips nothing
    clip_includes_architecture: bool = False  # whether that norm counts the architecture's gradient of the train loss
    architecture_learning_rate: float = 3e-4
    architecture_betas: tuple[float, float] = (0.5, 0.999)
    architecture_decay: float = 1e-3
    track_running_stats: bool = True  # of the search cells' batch norm
    split: str = "contiguous"  # the two halves of the images: contiguous, random, or the path of a split file
    train_order: Literal["epoch", "fresh", "paired"] = "epoch"
    valid_order: Literal["epoch", "fresh", "paired"] = "fresh"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if not isinstance(getattr(self, name), int):
                raise InputError(f"{name} is a whole number; got {getattr(self, name)!r}")
            if getattr(self, name) < 1:
                raise InputError(f"{name} is at least 1; got {getattr(self, name)}")
        for name in ("weight_decay", "gradient_clip", "architecture_decay", "weight_learning_rate_min"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is not negative; got {getattr(self, name)}")
        for name in ("weight_learning_rate", "architecture_learning_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is greater than 0; got {getattr(self, name)}")
        if not 0 <= self.weight_momentum < 1:
            raise InputError(f"weight_momentum is at least 0 and below 1; got {self.weight_momentum}")
        if len(self.architecture_betas) != 2 or not all(0 <= beta < 1 for beta in self.architecture_betas):
            raise InputError(
                f"architecture_betas are two numbers, at least 0 and below 1; got {self.architecture_betas}"
            )
        if self.nesterov and not self.weight_momentum > 0:
            raise InputError(f"nesterov needs a weight_momentum greater than 0; got {self.weight_momentum}")
        for name, choices in (
            ("order", ("architecture-first", "weights-first")),
            ("train_order", ("epoch", "fresh", "paired")),
            ("valid_order", ("epoch", "fresh", "paired")),
        ):
            if getattr(self, name) not in choices:
                raise unknown(name, str(getattr(self, name)), choices)


PROTOCOLS: Final[Mapping[str, Protocol]] = {
    "ucla": Protocol(),
    "autodl": Protocol(
        epochs=50,
        order="weights-first",
        weight_decay=5e-4,
        nesterov=True,
        clip_includes_architecture=True,
        track_running_stats=False,
        split="random",
        valid_order="paired",
    ),
}


def resolve_protocol(
    options: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]], *, default: Protocol | None = None
) -> tuple[Protocol, dict[str, Any]]:
    """Build the protocol that `options` describe.

    Args:
        options: field values by name, with `protocol` naming the preset to start from.
        own: for each preset, the fields in which the method departs from it.
        default: where `options` name no preset, the protocol to start from; None: `ucla`.

    Returns:
        The protocol, and the options that are not its fields (the method's own).

    Raises:
        InputError: when there is no such protocol, or one of its fields has a value of another type or out of range.
    """
    rest = dict(options)
    name = str(rest.pop("protocol", "ucla"))
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    base = replace(PROTOCOLS[name], **own.get(name, {}))
    if default is not None and "protocol" not in options:
        base = default
    known = {field.name for field in fields(Protocol)}
    given = {key: rest.pop(key) for key in list(rest) if key in known}
    if "architecture_betas" in given:
        given["architecture_betas"] = tuple(given["architecture_betas"])
    return replace(base, **check_options(Protocol, given, "the protocol")), rest


def initial_logits(generator: torch.Generator, like: Tensor, *, scale: float = 1e-3) -> nn.Parameter:
    """(E, O) logits `scale`·N(0, 1), as every repository starts, in the dtype and on the device of `like`."""
    draw = torch.randn(E, O, generator=generator, dtype=torch.float64)
    return nn.Parameter((scale * draw).to(dtype=like.dtype).to(like.device))


def architecture_adam(parameters: Iterable[Tensor], protocol: Protocol) -> torch.optim.Adam:
    """Adam as the protocol has it for the architecture parameters."""
    return torch.optim.Adam(
        list(parameters),
        lr=protocol.architecture_learning_rate,
        betas=protocol.architecture_betas,
        weight_decay=protocol.architecture_decay,
    )


def cosine(epoch: int, epochs: float, high: float, low: float) -> float:
    """The learning rate of `epoch` (from 0): low + (high - low)(1 + cos(π·epoch/epochs))/2."""
    return low + (high - low) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def linear(epoch: int, last_epoch: int, first: float, last: float) -> float:
    """A schedule from `first` in epoch 0 to `last` in `last_epoch`, where it stays."""
    return first + (last - first) * min(epoch / last_epoch, 1.0) if last_epoch > 0 else last


class WeightTrainer:
    """The supernet's weights under SGD with momentum, a cosine schedule by epoch, and gradient clipping.

    Args:
        network: whose parameters it trains.
        protocol: rates, momentum, decay, clipping.
    """

    def __init__(self, network: nn.Module, protocol: Protocol) -> None:
        self.protocol = protocol
        self.parameters = list(network.parameters())
        self.constant_rate: float | None = None
        self.sgd = self._fresh(protocol.weight_learning_rate)

    def _fresh(self, rate: float) -> torch.optim.SGD:
        p = self.protocol
        return torch.optim.SGD(
            self.parameters,
            lr=rate,
            momentum=p.weight_momentum,
            weight_decay=p.weight_decay,
            nesterov=p.nesterov,
            foreach=True,
        )

    @property
    def learning_rate(self) -> float:
        """Today's rate."""
        return float(self.sgd.param_groups[0]["lr"])

    def begin_epoch(self, epoch: int, *, length: float = 1.0) -> None:
        """Set the rate for `epoch` (from 0), on a cosine `length` times as long as the search."""
        p = self.protocol
        rate = cosine(min(epoch, p.epochs), length * p.epochs, p.weight_learning_rate, p.weight_learning_rate_min)
        self.sgd.param_groups[0]["lr"] = rate if self.constant_rate is None else self.constant_rate

    def restart(self, learning_rate: float) -> None:
        """Fresh momentum, and from now on this constant rate."""
        self.constant_rate = learning_rate
        self.sgd = self._fresh(learning_rate)

    def descend(self, loss: Tensor, architecture: Iterable[Tensor] = ()) -> None:
        """One SGD step on `loss`; the gradients of `architecture` count in the clipped norm and are then dropped."""
        self.sgd.zero_grad(set_to_none=True)
        counted = list(architecture) if self.protocol.clip_includes_architecture else []
        for parameter in counted:
            parameter.grad = None
        loss.backward(inputs=[*self.parameters, *counted])
        if self.protocol.gradient_clip:
            nn.utils.clip_grad_norm_([*self.parameters, *counted], self.protocol.gradient_clip)
        self.sgd.step()
        self.sgd.zero_grad(set_to_none=True)
        for parameter in counted:
            parameter.grad = None

    def descend_along(self, gradients: Iterable[Tensor], architecture: Iterable[Tensor] = ()) -> None:
        """One SGD step along given gradients of the weights; those of the `architecture` count in the clipped norm.

        Afterwards the gradients hold anything.
        """
        given = [gradient.detach() for gradient in gradients]
        self.clip(given, architecture)
        self.step_along(given)

    def clip(self, gradients: list[Tensor], architecture: Iterable[Tensor] = ()) -> None:
        """Clip given gradients of the weights in place; those of the `architecture` count in the norm."""
        if self.protocol.gradient_clip:
            counted = list(architecture) if self.protocol.clip_includes_architecture else []
            norm = nn.utils.get_total_norm([*gradients, *counted])
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = gradient
            nn.utils.clip_grads_with_norm_(self.parameters, self.protocol.gradient_clip, norm)

    def step_along(self, gradients: Iterable[Tensor]) -> None:
        """One SGD step along given gradients as they are; afterwards they hold anything."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.sgd.step()
        self.sgd.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's state and the constant rate, if any."""
        return {"sgd": self.sgd.state_dict(), "constant_rate": self.constant_rate}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.constant_rate = state["constant_rate"]
        self.sgd.load_state_dict(copy.deepcopy(state["sgd"]))  # which would keep the tensors that it is given


def step_with(optimizer: torch.optim.Optimizer, parameters: list[Tensor], gradients: Iterable[Tensor]) -> None:
    """One step of `optimizer` with the given gradients, which it does not keep."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


class Half(NamedTuple):
    """What one half of a step saw."""

    loss: Tensor  # (), mean cross-entropy
    correct: Tensor  # (), int64, images classified rightly
    images: int  # pushed forward, all passes counted


def evaluate(forward: Callable[[Tensor], Tensor], batch: Batch) -> Half:
    """The cross-entropy of the logits (B, classes) that `forward` makes of the images; it still has its graph."""
    logits = forward(batch.images)
    correct = (logits.detach().argmax(-1) == batch.labels).sum()
    return Half(F.cross_entropy(logits, batch.labels), correct, len(batch.labels))


@contextmanager
def frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """A pass made within keeps nothing for the gradients of `parameters`."""
    given = list(parameters)
    try:
        for parameter in given:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in given:
            parameter.requires_grad_(True)


@torch.no_grad()
def look(forward: Callable[[Tensor], Tensor], batch: Batch) -> Half:
    """As `evaluate`, without a graph: for a batch that trains nothing and is seen for the record only."""
    return evaluate(forward, batch)


def straight_through(value: Tensor, soft: Tensor) -> Tensor:
    """Exactly `value` forward, the gradient of `soft` backward."""
    return value.detach() + (soft - soft.detach())


def one_hot_of_largest(rows: Tensor) -> Tensor:
    """(..., O): 1 at each row's first largest entry, 0 elsewhere."""
    return torch.zeros_like(rows).scatter(-1, rows.argmax(-1, keepdim=True), 1.0)


def uniform(generator: torch.Generator, like: Tensor) -> Tensor:
    """U[0, 1) in the shape, dtype and device of `like`; drawn on the CPU in float64: everywhere the same numbers."""
    draw = torch.rand(like.shape, generator=generator, dtype=torch.float64)
    return draw.to(dtype=like.dtype).to(like.device)


def gumbel(generator: torch.Generator, like: Tensor) -> Tensor:
    """-log(-log U), standard Gumbel, in the shape, dtype and device of `like`; always finite."""
    draw = torch.rand(like.shape, generator=generator, dtype=torch.float64).clamp_(min=torch.finfo(torch.float64).tiny)
    return (-(-draw.log()).log()).to(dtype=like.dtype).to(like.device)


class MethodConfig(TypingProtocol):
    """What a method's configuration has at least."""

    @property
    def protocol(self) -> Protocol:
        """How the supernet is trained."""
        ...


class WeightSharing(ABC):
    """The parts of a method that trains a supernet: not a method, only what all of them would repeat.

    A method gives `mixture` and the architecture's half of a step, and overrides what else is its own.

    Args:
        supernet: the network to train.
        config: the method's configuration.
        generator: a CPU generator for what the method draws at its start.
    """

    config_class: ClassVar[Any]  # of its configuration
    own_protocol: ClassVar[Mapping[str, Mapping[str, Any]]] = {}  # where the method departs from a protocol

    def __init__(self, supernet: MixedNetwork, config: MethodConfig, *, generator: torch.Generator) -> None:
        self.supernet, self.config, self.generator = supernet, config, generator
        self.weights = WeightTrainer(supernet, config.protocol)
        self.architecture: list[Tensor] = []  # what the method trains beside the weights by gradients

    @abstractmethod
    def mixture(self) -> Tensor:
        """See `Searcher.mixture`."""

    @abstractmethod
    def architecture_step(self, train: Batch, valid: Batch) -> Half:
        """Move the architecture; the loss returned is that of `valid`."""

    def weight_step(self, train: Batch) -> Half:
        """Move the weights down the loss of `train` under today's mixture; the loss returned is that of `train`."""
        return self.descend(train, self.mixture())

    def descend(self, train: Batch, mixture: Tensor) -> Half:
        """Move the weights down the loss of `train` under `mixture`; its graph matters to the clipped norm only."""
        if not self.config.protocol.clip_includes_architecture:
            mixture = mixture.detach()
        half = evaluate(lambda images: self.supernet(images, mixture), train)
        self.weights.descend(half.loss, architecture=self.architecture)
        return half

    def look(self, valid: Batch) -> Half:
        """For the record: `valid` under today's mixture, normalised by the batch, which no running statistic sees."""
        return look(lambda images: self.supernet(images, self.mixture(), "batch"), valid)

    @property
    def finished(self) -> bool:
        """See `Searcher.finished`."""
        return False

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Set the weights' learning rate, and the generator of the epoch's draws."""
        self.generator = generator
        self.weights.begin_epoch(epoch)

    def step(self, train: Batch, valid: Batch) -> StepResult:
        """One architecture step and one weight step, in the protocol's order."""
        if self.config.protocol.order == "architecture-first":
            upper = self.architecture_step(train, valid)
            lower = self.weight_step(train)
        else:
            lower = self.weight_step(train)
            upper = self.architecture_step(train, valid)
        return step_result(lower, upper, train, valid)

    def restart_weight_optimizer(self, learning_rate: float) -> None:
        """See `Searcher.restart_weight_optimizer`."""
        self.weights.restart(learning_rate)

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        return {"supernet": self.supernet.state_dict(), "weights": self.weights.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        self.supernet.load_state_dict(state["supernet"])
        self.weights.load_state_dict(state["weights"])


class Bilevel(WeightSharing):
    """The parts of a method with one (E, O) matrix of logits under Adam: not a method, either.

    A method gives `architecture_step` (often `first_order`), and overrides what else is its own. The arguments are
    those of `WeightSharing`; the initial logits are drawn from `generator`.
    """

    def __init__(self, supernet: MixedNetwork, config: MethodConfig, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        self.alpha = initial_logits(generator, like=next(supernet.parameters()))  # (E, O)
        self.architecture = [self.alpha]  # all that Adam moves
        self.adam = architecture_adam(self.architecture, config.protocol)

    def mixture(self) -> Tensor:
        """(E, O): softmax of the logits."""
        return self.alpha.softmax(-1)

    def first_order(self, valid: Batch, mixture: Tensor, penalty: Tensor | None = None) -> Half:
        """α ← Adam(∇_α [L_val(w, mixture) + penalty]), `mixture` having its graph back to the logits; L_val is told."""
        with frozen(self.weights.parameters):
            half = evaluate(lambda images: self.supernet(images, mixture), valid)
        objective = half.loss if penalty is None else half.loss + penalty
        step_with(self.adam, self.architecture, torch.autograd.grad(objective, self.architecture))
        return half

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        return {**super().state_dict(), "alpha": self.alpha.detach(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        super().load_state_dict(state)
        with torch.no_grad():
            self.alpha.copy_(state["alpha"])
        self.adam.load_state_dict(copy.deepcopy(state["adam"]))


def step_result(lower: Half, upper: Half, train: Batch, valid: Batch) -> StepResult:
    """What a step saw, of its half on `train` (`lower`) and its half on `valid` (`upper`)."""
    return StepResult(
        train_loss=lower.loss.detach(),
        valid_loss=upper.loss.detach(),
        train_correct=lower.correct,
        valid_correct=upper.correct,
        train_seen=len(train.labels),
        valid_seen=len(valid.labels),
        images=lower.images + upper.images,
    )
