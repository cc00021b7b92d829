"""OLES: DARTS in which each operation stops training once its training gradient no longer serves the validation loss.

S. Jiang, Z. Ji, G. Zhu, C. Yuan, Y. Huang, "Operation-Level Early Stopping for Robustifying Differentiable NAS",
NeurIPS 2023. Every convolution o of every cell has its own weights w_o, and in each step

    s_o = cos(∇_{w_o} L_train, ∇_{w_o} L_val)

with the gradients that the last weight step and today's architecture step see. After M = 20 steps, the mean of an
operation's s_o is compared with a threshold: below it, w_o is frozen for good; otherwise its mean begins anew.
Everything else is first-order DARTS: operations without weights cannot overfit, and the others are kept from it.

That is `variant="paper"`. `variant="released"`, the default, is the code of PasaLab/oles, read literally: there the
gradient of L_val is added to the clipped one of L_train, which was not cleared; the cosine is taken along the output
channels and averaged over the rest of the kernel; and 21 values are summed before they are divided by 20. Its threshold
0.4 goes with that alone: two gradients at right angles and of one length have 0.71 there, and 0 by the formula above,
by which 0.4 freezes nearly everything after 20 steps (on the digits half of all operations begin below 0.13). For that
variant no threshold was found, and 0, ours, is the default: the gradients no longer agree.

Published with 50 epochs, otherwise as `ucla`.

Differences from the paper: it was read through its code and a summary. Frozen weights do not move at all, by momentum
or decay either, and do not count in the clipped norm. They stay frozen when a selector trains on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError, unknown
from dartboard.benchmark.supernet import SearchCell, Supernet
from dartboard.searchers._training import Bilevel, Half, Protocol, evaluate, resolve_protocol, step_with

OWN_PROTOCOL: Mapping[str, Mapping[str, Any]] = {"ucla": {"epochs": 50}}

Variant = Literal["paper", "released"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """OLES.

    Raises:
        InputError: when `iterations` is below 1, `threshold` is no cosine or `variant` is not one of its choices.
    """

    protocol: Protocol = field(default_factory=lambda: resolve_protocol({}, OWN_PROTOCOL)[0])
    threshold: float | None = None  # of the mean cosine; None: 0.4 for `released`, 0 for `paper`
    iterations: int = 20  # M, steps
    variant: Variant = "released"

    def __post_init__(self) -> None:
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise InputError(f"threshold is a cosine, from -1 to 1; got {self.threshold}")
        if self.iterations < 1:
            raise InputError(f"iterations is at least 1; got {self.iterations}")
        if self.variant not in ("paper", "released"):
            raise unknown("variant", str(self.variant), ("paper", "released"))

    @property
    def limit(self) -> float:
        """The threshold that holds."""
        if self.threshold is not None:
            return self.threshold
        return 0.4 if self.variant == "released" else 0.0


def similarity(train: Tensor, valid: Tensor, variant: Variant) -> Tensor:
    """s (..., k) of k operations' gradients (..., k, C, n): C output channels, n = C·kernel² weights for each.

    `paper`: of all C·n weights. `released`: of the C weights at each of the n places, with train + valid, averaged.
    """
    if variant == "paper":
        return F.cosine_similarity(train.flatten(-2), valid.flatten(-2), dim=-1)
    return F.cosine_similarity(train + valid, train, dim=-2).mean(-1)


def groups_of(supernet: Supernet) -> list[list[int]]:
    """The convolutions' places among the parameters, those of one shape and number of edges together."""
    places = {id(parameter): place for place, parameter in enumerate(supernet.parameters())}
    groups: dict[tuple[int, ...], list[int]] = {}
    for cell in supernet.modules():
        if isinstance(cell, SearchCell):
            for layer in (*cell.conv3x3, *cell.conv1x1):
                weight = layer.weight
                assert isinstance(weight, Tensor)
                groups.setdefault((cell.channels, *weight.shape), []).append(places[id(weight)])
    return list(groups.values())


class Oles(Bilevel):
    """OLES; see `Bilevel` for the arguments."""

    name: ClassVar[str] = "oles"
    paper: ClassVar[str] = "Jiang, Ji, Zhu, Yuan, Huang 2023 (NeurIPS)"
    config_class = Config
    config: Config
    own_protocol: ClassVar[Mapping[str, Mapping[str, Any]]] = OWN_PROTOCOL

    def __init__(self, supernet: Supernet, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        self.groups = groups_of(supernet)
        weights = self.by_operation([weight.detach() for weight in self.weights.parameters])
        self.gradients = [torch.zeros_like(weight) for weight in weights]  # of the last weight step
        self.sums = [weight.new_zeros(weight.shape[:2]) for weight in weights]  # of s, (cells, k)
        self.frozen = [torch.zeros_like(total, dtype=torch.bool) for total in self.sums]
        self.weight_steps = 0
        self.compared = 0  # values in each sum

    def by_operation(self, tensors: list[Tensor]) -> list[Tensor]:
        """For each group (cells, k, C, n), of tensors that are shaped like the parameters."""
        stacked = (torch.stack([tensors[place] for place in group]) for group in self.groups)
        return [each.reshape(len(each), -1, each.shape[2], each[0, 0].numel()) for each in stacked]

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (first order sees no training batch)
        """α ← Adam(∇_α L_val(w, α)), and the gradients' directions are compared."""
        half = evaluate(lambda images: self.supernet(images, self.mixture()), valid)
        of_alpha, *of_weights = torch.autograd.grad(half.loss, [self.alpha, *self.weights.parameters])
        step_with(self.adam, [self.alpha], [of_alpha])
        if self.weight_steps:
            self.compare(self.by_operation(of_weights))
        return half

    def compare(self, valid: Iterable[Tensor]) -> None:
        """Add today's s, given the gradients of L_val, and freeze what has come below the threshold after M of them."""
        released = self.config.variant == "released"
        for total, ours, theirs in zip(self.sums, self.gradients, valid, strict=True):
            total += similarity(ours, theirs, self.config.variant)
        self.compared += 1
        if self.compared < self.config.iterations + released:
            return
        for frozen, total in zip(self.frozen, self.sums, strict=True):
            frozen |= total / self.config.iterations < self.config.limit
            total.zero_()
        self.compared = 0

    @property
    def masks(self) -> dict[int, Tensor]:
        """By a convolution's place among the parameters, which of its output channels are frozen (k·C, 1, 1, 1)."""
        return {
            place: rows.repeat_interleave(weight.shape[2])[:, None, None, None]
            for group, frozen, weight in zip(self.groups, self.frozen, self.gradients, strict=True)
            for place, rows in zip(group, frozen, strict=True)
        }

    def weight_step(self, train: Batch) -> Half:
        """w ← SGD(∇_w L_train(w, α)), but for what is frozen."""
        parameters, masks = self.weights.parameters, self.masks
        half = evaluate(lambda images: self.supernet(images, self.mixture()), train)
        *gradients, of_alpha = torch.autograd.grad(half.loss, [*parameters, self.alpha])
        before = {place: parameters[place].detach().clone() for place in masks}
        for place, mask in masks.items():
            gradients[place].masked_fill_(mask, 0)
        self.weights.clip(gradients, [of_alpha])
        self.gradients = self.by_operation(gradients)  # copies: SGD may write to what it is given
        self.weights.step_along(gradients)
        with torch.no_grad():
            for place, mask in masks.items():
                parameters[place].copy_(torch.where(mask, before[place], parameters[place]))
        self.weight_steps += 1
        return half

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        own = {"gradients": self.gradients, "sums": self.sums, "frozen": self.frozen}
        return {**super().state_dict(), **own, "weight_steps": self.weight_steps, "compared": self.compared}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        super().load_state_dict(state)
        for name in ("gradients", "sums", "frozen"):
            for ours, theirs in zip(getattr(self, name), state[name], strict=True):
                ours.copy_(theirs)
        self.weight_steps, self.compared = state["weight_steps"], state["compared"]
