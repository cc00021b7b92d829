"""SmoothDARTS with adversarial smoothing (SDARTS-ADV): weights trained under the worst mixture nearby.

X. Chen, C.-J. Hsieh, "Stabilizing Differentiable Architecture Search via Perturbation-based Regularization", ICML 2020,
arXiv:2002.05283. With p₀ = softmax(α),

    w ← SGD(∇_w max_{‖p - p₀‖∞ ≤ ε} L_train(w, p)),    α ← Adam(∇_α L_val(w, p₀))

In epoch t of T, ε = 0.03 + (ε_max - 0.03)·t/T. The maximum is sought by projected ascent of the gradient's sign from a
random start, p = clip(p₀ + U(-ε, ε)), `attack_steps` = 7 times

    p ← clip(p₀ + clamp(p + (2ε/attack_steps)·sign(∇_p L_train(w, p)) - p₀, -ε, ε))

on the weights' batch, with running statistics in batch norm; if L_train(w, p) < L_train(w, p₀) then, p returns to p₀.
`clip` clamps to [0, 1] and scales each row to sum 1 (see `sdarts_rs.clip`).

Differences from the paper: `clip` is the released code's; it is not the Euclidean projection onto the simplex, and
after it an entry may be farther than ε from p₀. Search cells without running statistics (`autodl`) are attacked with
the batch's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError
from dartboard.searchers._training import PROTOCOLS, Bilevel, Half, Protocol, evaluate, straight_through
from dartboard.searchers.sdarts_rs import clip, perturb, radius_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Adversarial smoothing.

    Raises:
        InputError: when a radius is negative or there is no step.
    """

    protocol: Protocol = field(default_factory=lambda: PROTOCOLS["ucla"])
    radius: float = 0.03  # ε in the first epoch
    radius_max: float = 0.3  # where it would be after the last epoch
    attack_steps: int = 7

    def __post_init__(self) -> None:
        for name in ("radius", "radius_max"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is not negative; got {getattr(self, name)}")
        if self.attack_steps < 1:
            raise InputError(f"attack_steps is at least 1; got {self.attack_steps}")


class Attack(NamedTuple):
    """Where an attack ended."""

    mixture: Tensor  # (E, O), never with a smaller loss than at the start
    before: Tensor  # (), the loss without perturbation
    after: Tensor  # (), the loss under `mixture`


def ascend(mixture: Tensor, center: Tensor, gradient: Tensor, *, radius: float, rate: float) -> Tensor:
    """(E, O): a step of `rate` along the gradient's sign, kept within `radius` of `center`; not yet clipped."""
    return center + (mixture + rate * gradient.sign() - center).clamp(-radius, radius)


def attack(
    loss: Callable[[Tensor], Tensor], center: Tensor, *, radius: float, steps: int, generator: torch.Generator
) -> Attack:
    """Raise `loss`, a function of the mixture (E, O), near `center`; needs 2 + `steps` losses, `steps` gradients."""
    with torch.no_grad():
        before = loss(center)
    mixture = perturb(center, radius, generator)
    for _ in range(steps):
        mixture.requires_grad_()
        (gradient,) = torch.autograd.grad(loss(mixture), [mixture])
        mixture = clip(ascend(mixture.detach(), center, gradient, radius=radius, rate=2 * radius / steps))
    with torch.no_grad():
        after = loss(mixture)
    revert = after < before
    return Attack(torch.where(revert, center, mixture), before, torch.where(revert, before, after))


class SdartsAdv(Bilevel):
    """SDARTS-ADV; see `Bilevel` for the arguments."""

    name: ClassVar[str] = "sdarts-adv"
    paper: ClassVar[str] = "Chen, Hsieh 2020, arXiv:2002.05283"
    config_class = Config
    config: Config
    radius: float  # ε of the epoch

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Set ε as well."""
        super().begin_epoch(epoch, generator)
        self.radius = radius_of(epoch, self.config.protocol.epochs, self.config.radius, self.config.radius_max)

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (first order sees no training batch)
        """α ← Adam(∇_α L_val(w, p₀))."""
        return self.first_order(valid, self.mixture())

    def weight_step(self, train: Batch) -> Half:
        """w ← SGD(∇_w L_train(w, p)) at the mixture where the attack ended."""
        steps, mixture = self.config.attack_steps, self.mixture()
        found = attack(
            lambda p: evaluate(lambda images: self.supernet(images, p, "running"), train).loss,
            mixture.detach(),
            radius=self.radius,
            steps=steps,
            generator=self.generator,
        )
        half = self.descend(train, straight_through(found.mixture, mixture))
        return half._replace(images=half.images + (2 + steps) * len(train.labels))
