"""What criteria share that take gradients: the loss as a function of the weights and of coordinates of the mixture.

The weights are one vector θ (n,), a copy; the mixture is reached through coordinates z (E, O) with a known origin, so
that every derivative with respect to the mixture is one with respect to z:

    gates    p(z) = p·z             at z = 1: removing an operation is a step of -1
    shifts   p(z) = p + z           at z = 0: the mixing weights themselves
    logits   p(z) = softmax(ln p + z)  at z = 0: the logits, whatever produced the mixture

A mixture (cells, E, O) has the same z in every cell, so its derivatives are sums over the cells. Nothing here writes to
the network: all gradients are returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from dartboard.benchmark.contracts import Cache, Result
from dartboard.benchmark.double_backward import TwiceDifferentiable
from dartboard.benchmark.layers import Norm
from dartboard.benchmark.space import E, O
from dartboard.selectors._evaluation import kept


class Coordinates(NamedTuple):
    """A way to reach mixtures around the searcher's own."""

    origin: Tensor  # (E, O), where the mixture is the searcher's
    mixture: Callable[[Tensor], Tensor]  # z (E, O) to a mixture
    kind: str  # of way
    around: Tensor  # the searcher's own mixture


def gates(mixture: Tensor) -> Coordinates:
    """z scales each operation."""
    return Coordinates(mixture.new_ones(E, O), lambda z: mixture * z, "gates", mixture)


def shifts(mixture: Tensor) -> Coordinates:
    """z is added to the mixing weights."""
    return Coordinates(mixture.new_zeros(E, O), lambda z: mixture + z, "shifts", mixture)


def logits(mixture: Tensor) -> Coordinates:
    """z is added to logits whose softmax is the mixture.

    Raises:
        ValueError: when a mixing weight is not positive, so that no finite logit gives it.
    """
    if not bool((mixture > 0).all()):
        raise ValueError(f"a softmax gives positive weights only; the smallest one here is {float(mixture.min())}")
    return Coordinates(mixture.new_zeros(E, O), lambda z: (mixture.log() + z).softmax(-1), "logits", mixture)


class SupernetLoss:
    """The mean cross-entropy of a batch, L(θ, z).

    Args:
        network: whose weights θ starts from; its forward takes images, mixture and norm.
        coordinates: how z gives the mixture.
        norm: how batch norm normalises; not "train", which would change the network.
        cache: where derivatives at home are kept for other criteria.

    Attributes:
        theta: (n,), the weights.
        origin: (E, O), where z is at home.
        images: pushed forward so far; a gradient was taken of each.
    """

    def __init__(
        self, network: nn.Module, coordinates: Coordinates, norm: Norm = "batch", cache: Cache | None = None
    ) -> None:
        if norm == "train":
            raise ValueError("a gradient must not train the running statistics: norm is 'batch' or 'running'")
        self.network, self.norm, self.cache = network, norm, cache
        self.origin, self.mixture, self.kind, self.around = coordinates
        named = dict(network.named_parameters())
        self.names, self.shapes = list(named), [parameter.shape for parameter in named.values()]
        self.theta = torch.cat([parameter.detach().flatten() for parameter in named.values()])
        self.images = 0

    def forward(self, images: Tensor, theta: Tensor, z: Tensor) -> Tensor:
        """(B, classes) logits at weights `theta` (n,) and coordinates `z` (E, O)."""
        self.images += len(images)
        output: Tensor = functional_call(self.network, self.named(theta), (images, self.mixture(z), self.norm))
        return output

    def __call__(self, batch: tuple[Tensor, Tensor], theta: Tensor, z: Tensor) -> Tensor:
        """L (), the mean over the batch."""
        return F.cross_entropy(self.forward(batch[0], theta, z), batch[1])

    def twice(self, batch: tuple[Tensor, Tensor], theta: Tensor, z: Tensor) -> Tensor:
        """As a call, with gradients that are cheap to differentiate once more."""
        with TwiceDifferentiable():
            return self(batch, theta, z)

    def leaves(self) -> tuple[Tensor, Tensor]:
        """Fresh θ (n,) and z (E, O) to differentiate by."""
        return self.theta.clone().requires_grad_(), self.origin.clone().requires_grad_()

    def named(self, theta: Tensor) -> dict[str, Tensor]:
        """The parts of a vector (n,) by parameter."""
        parts = torch.split(theta, [shape.numel() for shape in self.shapes])
        return {name: part.view(shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}

    def kept(
        self, what: str, batches: Sequence[tuple[Tensor, Tensor]], compute: Callable[[], Result], *more: Tensor
    ) -> Result:
        """What `compute` finds of these batches at home; images pushed for it count, whoever has computed it first.

        Args:
            what: is found.
            batches: that it is of.
            compute: finds it.
            more: it depends on.
        """
        before = self.images

        def counted() -> tuple[Result, int]:
            result = compute()
            return result, self.images - before

        key: list[Tensor | str] = [what, self.kind, self.norm, self.around, *more, *chain.from_iterable(batches)]
        result, pushed = kept(self.cache, self.network, key, counted)
        self.images = before + pushed
        return result

    def gradient(self, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """∂L/∂θ (n,) and ∂L/∂z (E, O) in float64, the mean over the images of all batches.

        Raises:
            ValueError: when there is no image.
        """
        if self.cache is None:
            return self._gradient(batches)
        listed = list(batches)
        return self.kept("gradient", listed, lambda: self._gradient(listed))

    def _gradient(self, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        total_theta, total_z, seen = self.theta.double() * 0, self.origin.double() * 0, 0
        for batch in batches:
            theta, z = self.leaves()
            by_theta, by_z = torch.autograd.grad(self(batch, theta, z), (theta, z))
            total_theta += len(batch[1]) * by_theta
            total_z += len(batch[1]) * by_z
            seen += len(batch[1])
        if not seen:
            raise ValueError("there is no image to take a gradient of")
        return total_theta / seen, total_z / seen
