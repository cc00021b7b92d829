"""The search network with partial channels.

Y. Xu et al., "PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search", ICLR 2020,
arXiv:1907.05737. Operations are mixed on the first C/K channels of each edge only; the others pass by, and K groups of
channels are shuffled:

    f_e(x) = shuffle_K(Σ_o p[e, o] · op_o^e(x[:C/K]), x[C/K:]),    x_i = Σ_{j<i} w_{e(i,j)} f_{e(i,j)}(x_j)

with w = 1, or, with edge normalisation, the softmax of the edges' logits over the edges that enter node i.
`PartialSupernet` scales the mixture by w, sums the edges that enter a node, and shuffles each node once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.layers import BatchNorm, Convolution, Norm
from dartboard.benchmark.space import E
from dartboard.benchmark.supernet import BY_SOURCE, SearchCell, SourceWeights, Supernet, SupernetConfig


class PartialSupernet(Supernet):
    """The search network of which a part of the channels is mixed; the arguments are those of `Supernet`.

    The mixture's rows are the operations' weights, as in `Supernet`; the edges' weights are the network's own state, so
    that a mask of an operation leaves the edge and what passes by as they are. At K = 1 without edge normalisation it
    computes what `Supernet` does.
    """

    edge_logits: Tensor | None  # (E,), with edge normalisation; no parameter: it belongs to the architecture

    def make_layers(self) -> None:
        """As `Supernet.make_layers`, with the edges' logits, all 0."""
        super().make_layers()
        self.register_buffer("edge_logits", torch.zeros(E) if self.config.edge_normalisation else None)

    def make_cell(self, channels: int) -> SearchCell:
        """A search cell of a stage with so many channels, of which it mixes a part."""
        return PartialCell(channels, self.config.partial, track=self.config.track_running_stats)

    def weigh(self, mixture: Tensor, channels: int, x: Tensor) -> tuple[SourceWeights, ...]:
        """As `Supernet.weigh`, with the edges' weights, if they have any."""
        if self.edge_logits is None:
            return super().weigh(mixture, channels, x)
        edges = edge_weights(self.edge_logits)
        weights = super().weigh(mixture * edges[:, None], channels, x)
        passing = torch.split(torch.stack([edges[e] for e in BY_SOURCE]), [3, 2, 1])
        return tuple(replace(weight, passing=part) for weight, part in zip(weights, passing, strict=True))

    def resize(self, partial: int) -> None:
        """Let one channel in `partial` pass through the operations.

        The parameters remain the same objects; where their number of channels changes, all is 0 (running variances 1)
        until somebody fills them.

        Raises:
            InputError: when the number of channels is no multiple of `partial`.
        """
        if partial == self.config.partial:
            return
        self.config = replace(self.config, partial=partial)
        for block in self.blocks:
            if isinstance(block, PartialCell):
                block.resize(partial)
        self.lay_out()


class PartialCell(SearchCell):
    """A cell that mixes the first C/K channels of each edge, lets the others pass by, and shuffles.

    Args:
        width: C, of input and output.
        partial: K.
        track: whether batch norm keeps running statistics.
    """

    def __init__(self, width: int, partial: int, *, track: bool) -> None:
        super().__init__(width // partial, track=track)
        self.partial = partial

    def mix(self, x: Tensor, weights: tuple[SourceWeights, ...], norm: Norm) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        if self.partial == 1:
            return super().mix(x, weights, norm)
        totals: Sequence[Tensor] = ()  # of the nodes after `value`: the mixed channels of the edges so far
        passed: list[Tensor] = []  # and the others
        value = x
        for source, weight in enumerate(weights):
            mixed, other = torch.split(value, [self.channels, value.shape[1] - self.channels], dim=1)
            # A copy: what reads it again and again is faster where it is dense.
            first, *totals = self.leave(source, mixed.clone(), weight, norm, totals)
            beside = [other] * len(weight.skip) if weight.passing is None else [other * w for w in weight.passing]
            passed = [sofar + edge for sofar, edge in zip(passed, beside, strict=True)] if passed else beside
            value = F.channel_shuffle(torch.cat([first, passed.pop(0)], dim=1), self.partial)
        return value

    def layers(self) -> Iterator[tuple[Convolution, BatchNorm]]:
        """The convolutions, each of k edges at once, with their batch norms."""
        for convolutions, norms in ((self.conv3x3, self.norm3x3), (self.conv1x1, self.norm1x1)):
            for convolution, norm in zip(convolutions, norms, strict=True):
                assert isinstance(convolution, Convolution)
                assert isinstance(norm, BatchNorm)
                yield convolution, norm

    def resize(self, partial: int) -> None:
        """See `PartialSupernet.resize`."""
        before, self.channels = self.channels, self.channels * self.partial // partial
        self.partial = partial
        for convolution, norm in self.layers():
            weight = convolution.weight
            edges = len(weight) // before
            weight.data = weight.new_zeros(edges * self.channels, self.channels, *weight.shape[2:])
            if norm.running_mean is not None:
                norm.running_mean = weight.new_zeros(edges * self.channels)
                norm.running_var = weight.new_ones(edges * self.channels)
        self.box = self.box.new_ones(self.channels, 1, 3, 3)


def build_supernet(
    config: SupernetConfig,
    *,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Supernet:
    """The supernet that `config` describes, partial channels or plain; the arguments are those of `Supernet`."""
    plain = config.partial == 1 and not config.edge_normalisation
    return (Supernet if plain else PartialSupernet)(config, generator=generator, device=device, dtype=dtype)


def edge_weights(logits: Tensor) -> Tensor:
    """(E,) weights of the edges, of logits (E,): the softmax over the edges that enter the same node."""
    return torch.cat([part.softmax(0) for part in torch.split(logits, [1, 2, 3])])
