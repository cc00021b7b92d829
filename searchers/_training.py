"""What the search methods share: the two protocols of the literature, and plain steps that a method puts together.

Not a method itself. The figures of both protocols are those of the published repositories: `ucla` is the family of
DARTS-PT, DrNAS and SmoothDARTS; `autodl` is AutoDL-Projects, the benchmark authors' own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError, unknown
from dartboard.benchmark.space import E, O
from dartboard.benchmark.supernet import MixedNetwork, Norm


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
            if getattr(self, name) < 1:
                raise InputError(f"{name} is at least 1; got {getattr(self, name)}")
        for name in ("weight_decay", "gradient_clip", "architecture_decay", "weight_learning_rate_min"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is not negative; got {getattr(self, name)}")
        for name in ("weight_learning_rate", "architecture_learning_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is greater than 0; got {getattr(self, name)}")
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


def resolve_protocol(options: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]]) -> tuple[Protocol, dict[str, Any]]:
    """Build the protocol that `options` describe.

    Args:
        options: field values by name, with `protocol` naming the preset to start from (default `ucla`).
        own: for each preset, the fields in which the method departs from it.

    Returns:
        The protocol, and the options that are not its fields (the method's own).
    """
    rest = dict(options)
    name = str(rest.pop("protocol", "ucla"))
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    known = {field.name for field in fields(Protocol)}
    given = {key: rest.pop(key) for key in list(rest) if key in known}
    if "architecture_betas" in given:
        given["architecture_betas"] = tuple(given["architecture_betas"])
    return replace(PROTOCOLS[name], **{**own.get(name, {}), **given}), rest


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


def cosine(epoch: int, epochs: int, high: float, low: float) -> float:
    """The learning rate of `epoch` (from 0): low + (high - low)(1 + cos(π·epoch/epochs))/2."""
    return low + (high - low) * (1 + math.cos(math.pi * epoch / epochs)) / 2


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
            self.parameters, lr=rate, momentum=p.weight_momentum, weight_decay=p.weight_decay, nesterov=p.nesterov
        )

    @property
    def learning_rate(self) -> float:
        """Today's rate."""
        return float(self.sgd.param_groups[0]["lr"])

    def begin_epoch(self, epoch: int) -> None:
        """Set the rate for `epoch` (from 0)."""
        p = self.protocol
        rate = cosine(epoch, p.epochs, p.weight_learning_rate, p.weight_learning_rate_min)
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
        loss.backward(inputs=[*self.parameters, *counted])  # type: ignore[no-untyped-call]
        if self.protocol.gradient_clip:
            nn.utils.clip_grad_norm_([*self.parameters, *counted], self.protocol.gradient_clip)
        self.sgd.step()
        self.sgd.zero_grad(set_to_none=True)
        for parameter in counted:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's state and the constant rate, if any."""
        return {"sgd": self.sgd.state_dict(), "constant_rate": self.constant_rate}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.constant_rate = state["constant_rate"]
        self.sgd.load_state_dict(state["sgd"])


def step_with(optimizer: torch.optim.Optimizer, parameters: list[Tensor], gradients: Iterable[Tensor]) -> None:
    """One step of `optimizer` with the given gradients, which it does not keep."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def cross_entropy(
    network: MixedNetwork, batch: Batch, mixture: Tensor, norm: Norm = "train"
) -> tuple[Tensor, Tensor]:
    """The mean cross-entropy (), and the number of images classified rightly ()."""
    logits = network(batch.images, mixture, norm)
    return F.cross_entropy(logits, batch.labels), (logits.detach().argmax(-1) == batch.labels).sum()
