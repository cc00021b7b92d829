"""Robust DARTS with early stopping (DARTS-ES): DARTS that ends when the validation loss bends too sharply in α.

A. Zela, T. Elsken, T. Saikia, Y. Marrakchi, T. Brox, F. Hutter, "Understanding and Robustifying Differentiable
Architecture Search", ICLR 2020, arXiv:1909.09656. DARTS with, after every second epoch t,

    H = ∇²_α L_val(w, α) + c·I (E·O, E·O), c the weight decay of α,    λ_t = largest eigenvalue of H
    λ̄_t = mean of the window of five λ that is centred on epoch t

and as soon as λ̄_t > 1.3 λ̄_s for the s that is four records before t, s at least 10, the search ends and returns the α
of epoch s. As the window is centred, epoch t + 4 is over when λ̄_t is known.

Published for the authors' spaces S1 to S4 with 50 epochs, otherwise as `ucla`; a protocol for NAS-Bench-201 was not
found. The figures and the rule are those of the released code (automl/RobustDARTS).

Differences from the released code: steps of first order, where its scripts use the second; H is that of the first
validation batch after an epoch instead of the last one in it, and batch norm's running statistics do not learn from it.
The verdict falls in the first step of the next epoch, so one more epoch trains the weights, with α already held at what
is returned; the weights are these, not those of epoch s. When a selector trains on, α is held, too. λ is found by
squaring the shifted H again and again, since factorisations wait for the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.contracts import Batch, StepResult
from dartboard.benchmark.double_backward import TwiceDifferentiable
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.supernet import MixedNetwork
from dartboard.searchers._training import Bilevel, Half, Protocol, frozen, resolve_protocol

OWN_PROTOCOL: Mapping[str, Mapping[str, Any]] = {"ucla": {"epochs": 50}}
SQUARINGS = 40
"""(1 - δ)^(2⁴⁰) is nothing for every relative gap δ that floating point can tell from 0 by more than rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """DARTS-ES.

    Raises:
        InputError: when a number is out of range.
    """

    protocol: Protocol = field(default_factory=lambda: resolve_protocol({}, OWN_PROTOCOL)[0])
    interval: int = 2  # epochs from one λ to the next
    window: int = 5  # how many λ are averaged
    delta: int = 4  # how many records back the comparison goes
    factor: float = 1.3  # by which λ̄ may grow over them
    first_epoch: int = 10  # the first epoch (from 0) whose α may be returned

    def __post_init__(self) -> None:
        for name in ("interval", "window", "delta"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is at least 1; got {getattr(self, name)}")
        if not self.factor > 0:
            raise InputError(f"factor is greater than 0; got {self.factor}")
        if self.first_epoch < 0:
            raise InputError(f"first_epoch is at least 0; got {self.first_epoch}")


def hessian(loss: Tensor, point: Tensor) -> Tensor:
    """(n, n): the second derivatives of `loss` () by the n entries of `point`, symmetrised, row by row."""
    (gradient,) = torch.autograd.grad(loss, [point], create_graph=True)
    units = torch.eye(point.numel(), dtype=point.dtype, device=point.device).view(-1, *point.shape)
    rows = [torch.autograd.grad(gradient, [point], unit, retain_graph=True)[0].flatten() for unit in units]
    matrix = torch.stack(rows)
    return (matrix + matrix.mT) / 2


def largest_eigenvalue(matrix: Tensor) -> Tensor:
    """(): of a symmetric matrix, the largest (not the largest in size); nothing in it waits for the host."""
    tiny = torch.finfo(matrix.dtype).tiny
    # No eigenvalue is larger in size than the Frobenius norm: shifted by twice that, all are positive, in their order.
    identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    power = matrix + 2 * torch.linalg.matrix_norm(matrix) * identity
    for _ in range(SQUARINGS):
        power = power / torch.linalg.matrix_norm(power).clamp(min=tiny)
        power = power @ power
    value: Tensor = (power * matrix).sum() / power.trace().clamp(min=tiny)  # `power` projects on its eigenspace
    return value


def returned_record(record: int, config: Config) -> int | None:
    """Which record's α is returned if the search ends with `record`; None while it is too early to end."""
    earlier = record - config.window // 2 - config.delta
    return earlier if earlier >= 0 and config.interval * earlier >= config.first_epoch else None


def too_sharp(eigenvalues: Tensor, record: int, config: Config) -> Tensor:
    """(), bool: whether λ̄ known with `record` is more than `factor` times the one known `delta` records before."""
    now, before = (eigenvalues[max(0, r + 1 - config.window) : r + 1].mean() for r in (record, record - config.delta))
    return now / before > config.factor


class RobustDarts(Bilevel):
    """DARTS-ES; see `Bilevel` for the arguments."""

    name: ClassVar[str] = "robust-darts"
    paper: ClassVar[str] = "Zela, Elsken, Saikia, Marrakchi, Brox, Hutter 2020, arXiv:1909.09656"
    config_class = Config
    config: Config
    own_protocol: ClassVar[Mapping[str, Mapping[str, Any]]] = OWN_PROTOCOL
    record: int | None = None  # which is due in the next step

    def __init__(self, supernet: MixedNetwork, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        records = 1 + config.protocol.epochs // config.interval
        self.eigenvalues = self.alpha.detach().new_zeros(records)
        self.history = self.alpha.detach().new_zeros(records, *self.alpha.shape)  # α at each record
        self.stopped = torch.zeros((), dtype=torch.bool, device=self.alpha.device)

    @property
    def finished(self) -> bool:
        """Whether λ̄ has grown too much."""
        return bool(self.stopped)

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """See whether a record of the epoch before is due; not where a selector trains on."""
        super().begin_epoch(epoch, generator)
        over, odd = divmod(epoch - 1, self.config.interval)
        searching = 0 < epoch < self.config.protocol.epochs and self.weights.constant_rate is None
        self.record = over if searching and not odd else None

    def step(self, train: Batch, valid: Batch) -> StepResult:
        """In the first step after a recorded epoch, look at the curvature before anything moves."""
        record, self.record = self.record, None
        if record is None:
            return super().step(train, valid)
        self.watch(record, self.curvature(valid))
        result = super().step(train, valid)
        return replace(result, images=result.images + len(valid.labels))

    def curvature(self, valid: Batch) -> Tensor:
        """λ ()."""
        with TwiceDifferentiable(), frozen(self.weights.parameters):
            loss = F.cross_entropy(self.supernet(valid.images, self.mixture(), "batch"), valid.labels)
        return largest_eigenvalue(hessian(loss, self.alpha)) + self.config.protocol.architecture_decay

    @torch.no_grad()
    def watch(self, record: int, eigenvalue: Tensor) -> None:
        """Keep λ and α, and end the search if λ̄ has grown too much: α is set back."""
        self.eigenvalues[record] = eigenvalue
        self.history[record] = self.alpha
        earlier = returned_record(record, self.config)
        if earlier is not None:
            ends = too_sharp(self.eigenvalues, record, self.config) & ~self.stopped
            self.alpha.copy_(torch.where(ends, self.history[earlier], self.alpha))
            self.stopped |= ends

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (first order sees no training batch)
        """α ← Adam(∇_α L_val(w, α)), unless the search has ended."""
        before = self.alpha.detach().clone()
        half = self.first_order(valid, self.mixture())
        with torch.no_grad():
            self.alpha.copy_(torch.where(self.stopped, before, self.alpha))
        return half

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        own = {"eigenvalues": self.eigenvalues, "history": self.history, "stopped": self.stopped}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        super().load_state_dict(state)
        for name in ("eigenvalues", "history", "stopped"):
            getattr(self, name).copy_(state[name])
