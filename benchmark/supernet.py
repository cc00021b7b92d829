"""The NAS-Bench-201 search network (the *supernet*), with the mixing weights as an argument.

X. Dong, Y. Yang, "NAS-Bench-201", ICLR 2020, arXiv:2001.00326, section 2 (skeleton) and the search networks of
its weight-sharing baselines. With p (E, O) the mixing weights, node i of a cell is

    x_i = Σ_{j<i} Σ_o p[e(i,j), o] · op_o^{(i,j)}(x_j),    output = x_3

and the skeleton is: stem (conv 3x3, BN) - N cells of C channels - reduction - N cells of 2C - reduction - N cells of
4C - BN, ReLU, global average, linear. C = 16, N = 5 with ten classes has 1,686,106 weights.

The mixing weights are an argument, so softmax, Dirichlet, Gumbel and masks live in the methods that use them, and a
one-hot mixture is a discrete network. This file computes all edges that leave a node together; the readable form, one
operation after the other, is `dartboard.benchmark.reference`, and a float64 test holds the two together:

    r = relu(x_j) once; one conv 3x3 and one conv 1x1 from C to kC channels for the k edges that leave node j;
    batch norm over the kC channels has the mixing weight, repeated C times, as its scale, so that the gradient of the
    mixture is batch norm's own weight gradient; one average pooling for the k edges, as a depthwise box filter.

Differences from the published code: search cells have no convolution bias (as in every repository but AutoDL-Projects
after July 2020, where it is void before batch norm).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from dartboard.benchmark.double_backward import TwiceDifferentiable
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.layers import BatchNorm, Convolution, Norm, Reduction, initialise, window_sizes
from dartboard.benchmark.space import CONV1X1, CONV3X3, EDGES, POOL, SKIP, E, O

BY_SOURCE: Final = tuple(sorted(range(E), key=lambda e: (EDGES[e][1], EDGES[e][0])))
"""Rows of the mixture in the order of their source node: 1<-0, 2<-0, 3<-0, 2<-1, 3<-1, 3<-2."""

CHANNELS_LAST_FROM: Final = 8
"""Supernets this wide keep channels last in memory: faster from here on, slower below."""

REMAKE_FROM: Final = 16
"""Supernets this wide make the 1x1 convolutions' outputs again in the backward pass in place of keeping them, which are
a third of what a step keeps; narrower ones would gain little memory and lose more time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupernetConfig:
    """The size of a supernet; the defaults are the benchmark's.

    Raises:
        InputError: when a number is not positive, or `channels` is no multiple of `partial`.
    """

    channels: int = 16  # C
    cells_per_stage: int = 5  # N
    num_classes: int = 10
    track_running_stats: bool = True  # of the search cells; the rest always tracks
    partial: int = 1  # K: one channel in K passes through the operations of an edge, the others pass by
    edge_normalisation: bool = False  # whether the edges that enter a node have weights that sum to 1

    def __post_init__(self) -> None:
        for name in ("channels", "cells_per_stage", "num_classes", "partial"):
            if getattr(self, name) < 1:
                raise InputError(f"a supernet's {name} is at least 1; got {getattr(self, name)}")
        if self.channels % self.partial:
            raise InputError(
                f"a supernet in which one channel in {self.partial} passes through the operations has a multiple of"
                f" {self.partial} channels; got {self.channels}"
            )

    @property
    def cells(self) -> int:
        """The number of search cells, 3N."""
        return 3 * self.cells_per_stage


class MixedNetwork(nn.Module, ABC):
    """A network whose edges mix operations by weights that the caller gives."""

    @abstractmethod
    def forward(self, images: Tensor, mixture: Tensor, norm: Norm = "train") -> Tensor:
        """Classify.

        Args:
            images: (B, 3, H, W).
            mixture: (E, O), or (cells, E, O) for weights of each cell's own.
            norm: see `Norm`.

        Returns:
            (B, num_classes) logits.
        """


class Skeleton(nn.Module):
    """What every network of the benchmark has (see `build_skeleton`)."""

    stem: Convolution
    stem_norm: BatchNorm
    blocks: nn.ModuleList
    head_norm: BatchNorm
    classifier: nn.Linear


class Supernet(Skeleton, MixedNetwork):
    """The search network, all edges of a node computed together.

    Args:
        config: its size, all channels of which are mixed (`build_supernet` makes the kind that a config names).
        generator: a CPU generator, from which the initial weights are drawn: PyTorch's defaults for convolutions and
            linear layers, U(-1/√fan_in, 1/√fan_in).
        device: where the weights live.
        dtype: of the weights.
    """

    def __init__(
        self,
        config: SupernetConfig,
        *,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.config = config
        self.make_layers()
        initialise(self, generator)
        self.to(device=device, dtype=dtype)
        self.lay_out()

    def make_layers(self) -> None:
        """Make the layers; their weights are drawn afterwards."""
        build_skeleton(self, self.config, self.make_cell)
        for block in self.blocks:
            if isinstance(block, SearchCell):
                block.remakes = self.config.channels >= REMAKE_FROM

    def lay_out(self) -> None:
        """Bring the convolutions' weights into the memory order in which this network computes."""
        if self.config.channels >= CHANNELS_LAST_FROM:
            for parameter in self.parameters():
                if parameter.dim() == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def make_cell(self, channels: int) -> SearchCell:
        """A search cell of a stage with so many channels."""
        return SearchCell(channels, track=self.config.track_running_stats)

    def forward(self, images: Tensor, mixture: Tensor, norm: Norm = "train") -> Tensor:
        """See `MixedNetwork.forward`."""
        check_mixture(mixture, self.config.cells)
        x = self.stem_norm(self.stem(self.arrange(images)), norm)
        each = iter(mixture) if mixture.dim() == 3 else None
        weights: tuple[SourceWeights, ...] | None = None  # of the stage, where its cells share them
        for block in self.blocks:
            if isinstance(block, SearchCell):
                if each is not None:
                    weights = self.weigh(next(each), block.channels, x)
                elif weights is None:
                    weights = self.weigh(mixture, block.channels, x)
                x = block(x, weights, norm)
            else:
                x, weights = block(x, norm), None
        return classify(x, self.head_norm, self.classifier, norm)

    def weigh(self, mixture: Tensor, channels: int, x: Tensor) -> tuple[SourceWeights, ...]:
        """The weights of a cell that mixes `channels` of its input `x` (B, C, H, W) by `mixture` (E, O)."""
        return weights_by_source(mixture, channels, x)

    def arrange(self, images: Tensor) -> Tensor:
        """The images (B, 3, H, W) in the memory order in which this network computes."""
        last = self.config.channels >= CHANNELS_LAST_FROM
        return images.contiguous(memory_format=torch.channels_last) if last else images


@dataclass(frozen=True, slots=True)
class SourceWeights:
    """The mixing weights of the k edges that leave one node, ready to use in a cell of C channels, H x W pixels."""

    conv3x3: Tensor  # (kC,)
    conv1x1: Tensor  # (kC,)
    skip: Tensor  # (k,)
    pool: Tensor  # (k,)
    per_pixel: Tensor  # (H, W): one over the number of pixels under the pooling window
    passing: Tensor | None = None  # (k,), of the channels that pass by; None: they pass whole


def weights_by_source(mixture: Tensor, channels: int, x: Tensor) -> tuple[SourceWeights, ...]:
    """Sort an (E, O) mixture by source node, for cells whose input is `x` (B, C, H, W)."""
    columns = torch.stack([mixture[e] for e in BY_SOURCE], dim=1)  # (O, E)
    wide = columns[CONV1X1 : CONV3X3 + 1].repeat_interleave(channels, dim=1)  # (2, E * C)
    conv1x1, conv3x3 = (torch.split(row, [3 * channels, 2 * channels, channels]) for row in wide.unbind())
    skip, pool = (torch.split(columns[row], [3, 2, 1]) for row in (SKIP, POOL))
    per_pixel = 1 / window_sizes(x)
    return tuple(SourceWeights(conv3x3[j], conv1x1[j], skip[j], pool[j], per_pixel) for j in range(3))


class _AddEdges(torch.autograd.Function):
    """For each of the k edges that leave a node: sofar + convolved + skip · x + pool · averaged.

    By hand because autograd would keep and add up each product on its own; its gradients are ordinary operations, so
    that it can be differentiated again.
    """

    @staticmethod
    def forward(
        ctx: Any, convolved: Tensor, x: Tensor, averaged: Tensor, skip: Tensor, pool: Tensor, *sofar: Tensor
    ) -> tuple[Tensor, ...]:
        """(B, kC, H, W), twice (B, C, H, W), twice (k,), and nothing or k times (B, C, H, W); k times (B, C, H, W)."""
        by_skip, by_pool = ctx.needs_input_grad[3:5]
        ctx.save_for_backward(x if by_skip else None, averaged if by_pool else None, skip, pool)
        ctx.had = len(sofar)
        totals = []
        for t, edge in enumerate(convolved.chunk(len(skip), dim=1)):
            total = (sofar[t] + edge).addcmul_(x, skip[t]) if sofar else torch.addcmul(edge, x, skip[t])
            totals.append(total.addcmul_(averaged, pool[t]))
        return tuple(totals)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Only what is asked for."""
        x, averaged, skip, pool = ctx.saved_tensors
        convolved, *shared = ctx.needs_input_grad[:5]
        return (
            torch.cat(gradients, dim=1) if convolved else None,
            _combine(gradients, skip) if shared[0] else None,
            _combine(gradients, pool) if shared[1] else None,
            torch.stack([(g * x).sum() for g in gradients]) if shared[2] else None,
            torch.stack([(g * averaged).sum() for g in gradients]) if shared[3] else None,
            *(gradients if ctx.had else ()),
        )


def _combine(parts: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Σ_t weights[t] · parts[t]."""
    total = parts[0] * weights[0]
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        total = total.addcmul_(part, weight)
    return total


def _remade(weight: Tensor, value: Tensor) -> saved_tensors_hooks:
    """Within, the only image that is kept for a backward pass is a 1x1 convolution of relu(value): it is made again."""

    def keep(tensor: Tensor) -> Tensor | None:
        return None if tensor.dim() == 4 else tensor

    @torch.no_grad()
    def make(kept: Tensor | None) -> Tensor:
        return F.conv2d(F.relu(value), weight) if kept is None else kept

    return saved_tensors_hooks(keep, make)


class SearchCell(nn.Module):
    """One cell with all O operations on each of its E edges.

    Args:
        channels: C, of input and output.
        track: whether batch norm keeps running statistics.
    """

    box: Tensor  # (C, 1, 3, 3) of ones: the window of the average pooling
    remakes: bool = False  # see `REMAKE_FROM`
    compiled: Callable[..., Tensor] | None = None  # what `mix` is called through, where once is differentiated enough

    def __init__(self, channels: int, *, track: bool) -> None:
        super().__init__()
        self.channels = channels
        fan_outs = [k * channels for k in (3, 2, 1)]
        self.conv3x3 = nn.ModuleList(Convolution(channels, out, 3) for out in fan_outs)
        self.conv1x1 = nn.ModuleList(Convolution(channels, out, 1) for out in fan_outs)
        self.norm3x3 = nn.ModuleList(BatchNorm(out, affine=False, track=track) for out in fan_outs)
        self.norm1x1 = nn.ModuleList(BatchNorm(out, affine=False, track=track) for out in fan_outs)
        self.register_buffer("box", torch.ones(channels, 1, 3, 3), persistent=False)

    def forward(self, x: Tensor, weights: tuple[SourceWeights, ...], norm: Norm) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        if self.compiled is None or TwiceDifferentiable.depth or not torch.is_grad_enabled():
            return self.mix(x, weights, norm)
        return self.compiled(self, x, weights, norm)

    def mix(self, x: Tensor, weights: tuple[SourceWeights, ...], norm: Norm) -> Tensor:
        """What `forward` computes."""
        totals: Sequence[Tensor] = ()  # of the nodes after `value`: the edges so far
        value = x
        for source, weight in enumerate(weights):
            value, *totals = self.leave(source, value, weight, norm, totals)
        return value

    def leave(
        self, source: int, value: Tensor, weight: SourceWeights, norm: Norm, totals: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        """The sums at the nodes after `source`, whose value is (B, C, H, W), with the edges that leave it.

        `totals` has the sums of the edges that left earlier nodes, or nothing.
        """
        # ReLU, in the form that keeps its input, which is kept anyway, and not its output.
        active = F.threshold(value, 0, 0)
        out = self.norm3x3[source](self.conv3x3[source](active), norm, weight.conv3x3)
        pointwise = self.conv1x1[source]
        assert isinstance(pointwise, Convolution)
        small = pointwise(active)
        averaged = F.conv2d(value, self.box, padding=1, groups=self.channels) * weight.per_pixel
        if torch.compiler.is_compiling():  # a compiler finds by itself what is written out below
            out = out + self.norm1x1[source](small, norm, weight.conv1x1)
            edges = out.chunk(len(weight.skip), dim=1)
            new = [e + value * s + averaged * p for e, s, p in zip(edges, weight.skip, weight.pool, strict=True)]
            return [total + edge for total, edge in zip(totals, new, strict=True)] if totals else new
        with _remade(pointwise.weight, value) if self.remakes else nullcontext():
            out.add_(self.norm1x1[source](small, norm, weight.conv1x1))
        sums: tuple[Tensor, ...] = _AddEdges.apply(out, value, averaged, weight.skip, weight.pool, *totals)  # type: ignore[no-untyped-call]  # torch has no type
        return sums


def build_skeleton(network: Skeleton, config: SupernetConfig, make_cell: Callable[[int], nn.Module]) -> None:
    """Give `network` what every network of the benchmark has; `make_cell(channels)` makes a cell of a stage."""
    c, n = config.channels, config.cells_per_stage
    network.stem = Convolution(3, c, 3)
    network.stem_norm = BatchNorm(c)
    blocks: list[nn.Module] = []
    for stage in range(3):
        if stage:
            blocks.append(Reduction(c * 2 ** (stage - 1), c * 2**stage))
        blocks.extend(make_cell(c * 2**stage) for _ in range(n))
    network.blocks = nn.ModuleList(blocks)
    network.head_norm = BatchNorm(4 * c)
    network.classifier = nn.Linear(4 * c, config.num_classes, device="meta").to_empty(device="cpu")


def classify(x: Tensor, norm_layer: BatchNorm, classifier: nn.Linear, norm: Norm) -> Tensor:
    """The head of every network: BN, ReLU, global average pooling, linear; (B, 4C, H, W) to (B, num_classes)."""
    logits: Tensor = classifier(F.relu(norm_layer(x, norm)).mean((2, 3)))
    return logits


def check_mixture(mixture: Tensor, cells: int) -> None:
    """Refuse a mixture that is neither (E, O) nor (cells, E, O).

    Raises:
        ValueError: quoting the shape.
    """
    if mixture.shape not in ((E, O), (cells, E, O)):
        raise ValueError(f"a mixture has shape ({E}, {O}) or ({cells}, {E}, {O}); got {tuple(mixture.shape)}")
