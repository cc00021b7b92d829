"""The readable form of the networks: one operation after the other, exactly as the benchmark defines them.

`ReferenceSupernet` is the specification of `dartboard.benchmark.supernet.Supernet`, and what `dartboard bench`
measures against: the arithmetic of every published code (one ReLU-conv-BN for each edge and operation).
`Network` is the discrete network of one cell, the one that the benchmark trained.

X. Dong, Y. Yang, "NAS-Bench-201", ICLR 2020, arXiv:2001.00326.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dartboard.benchmark.layers import BatchNorm, Convolution, Norm, Reduction, initialise
from dartboard.benchmark.partial import PartialSupernet, edge_weights
from dartboard.benchmark.space import CONV1X1, CONV3X3, EDGES, NONE, POOL, SKIP, Cell, E, O
from dartboard.benchmark.supernet import (
    BY_SOURCE,
    MixedNetwork,
    SearchCell,
    Skeleton,
    Supernet,
    SupernetConfig,
    build_skeleton,
    check_mixture,
    classify,
)

KERNEL: Final = {CONV1X1: 1, CONV3X3: 3}

ROWS_BY_SOURCE: Final = tuple(tuple(e for e in BY_SOURCE if EDGES[e][1] == source) for source in range(3))
"""The rows of the edges that leave nodes 0, 1 and 2."""


class Operation(nn.Module):
    """One of the O operations on one edge.

    Args:
        index: which.
        channels: C, of input and output.
        affine: whether batch norm learns a scale and a shift (discrete networks do, supernets do not).
        track: whether batch norm keeps running statistics.
    """

    def __init__(self, index: int, channels: int, *, affine: bool, track: bool) -> None:
        super().__init__()
        self.index = index
        if index in KERNEL:
            self.convolution = Convolution(channels, channels, KERNEL[index])
            self.norm = BatchNorm(channels, affine=affine, track=track)

    def forward(self, x: Tensor, norm: Norm) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        if self.index == NONE:
            return torch.zeros_like(x)
        if self.index == SKIP:
            return x
        if self.index == POOL:
            return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        y: Tensor = self.norm(self.convolution(F.relu(x)), norm)
        return y


class ReferenceCell(nn.Module):
    """A search cell, operation by operation."""

    def __init__(self, channels: int, *, track: bool) -> None:
        super().__init__()
        self.edges = nn.ModuleList(
            nn.ModuleList(Operation(o, channels, affine=False, track=track) for o in range(O)) for _ in EDGES
        )

    def forward(self, x: Tensor, mixture: Tensor, norm: Norm) -> Tensor:
        """(B, C, H, W) through the cell, `mixture` (E, O)."""
        nodes = [x, *[torch.zeros_like(x)] * 3]
        for (target, source), operations, weights in zip(EDGES, self.edges, mixture, strict=True):
            assert isinstance(operations, nn.ModuleList)
            for operation, weight in zip(operations, weights, strict=True):
                nodes[target] = nodes[target] + weight * operation(nodes[source], norm)
        return nodes[3]


class PartialReferenceCell(ReferenceCell):
    """What `PartialCell` computes, edge by edge; the arguments are those."""

    def __init__(self, width: int, partial: int, *, track: bool) -> None:
        super().__init__(width // partial, track=track)
        self.width, self.partial = width, partial

    def forward(self, x: Tensor, mixture: Tensor, norm: Norm, edges: Tensor | None = None) -> Tensor:
        """(B, C, H, W) through the cell, `mixture` (E, O), the edges weighing `edges` (E,) or 1 each."""
        share = self.width // self.partial
        order = [group * share + place for place in range(share) for group in range(self.partial)]
        nodes = [x, *[torch.zeros_like(x)] * 3]
        rows = zip(EDGES, self.edges, mixture, mixture.new_ones(E) if edges is None else edges, strict=True)
        for (target, source), operations, weights, edge_weight in rows:
            assert isinstance(operations, nn.ModuleList)
            mixed, passing = nodes[source][:, :share], nodes[source][:, share:]
            total = torch.zeros_like(mixed)
            for operation, weight in zip(operations, weights, strict=True):
                total = total + weight * operation(mixed, norm)
            edge = torch.cat([total, passing], dim=1)[:, order]
            nodes[target] = nodes[target] + edge_weight * edge
        return nodes[3]


class ReferenceSupernet(Skeleton, MixedNetwork):
    """The search network, operation by operation, with the weights of `supernet`, partial channels or plain.

    Args:
        supernet: whose size, weights and running statistics it starts from.
    """

    edge_logits: Tensor | None  # (E,), with edge normalisation

    def __init__(self, supernet: Supernet) -> None:
        super().__init__()
        config = supernet.config
        self.config = config
        weight = supernet.stem.weight
        build_skeleton(self, config, self.make_cell)
        self.to(device=weight.device, dtype=weight.dtype)
        copy_skeleton(supernet, self)
        logits = supernet.edge_logits if isinstance(supernet, PartialSupernet) else None
        self.register_buffer("edge_logits", None if logits is None else logits.detach().clone())
        for ours, theirs in zip(self.blocks, supernet.blocks, strict=True):
            if isinstance(ours, ReferenceCell) and isinstance(theirs, SearchCell):
                for edge, parts in enumerate(edge_states(theirs)):
                    for operation, state in parts.items():
                        ours.edges[edge][operation].load_state_dict(state)  # type: ignore[index]  # a ModuleList

    def make_cell(self, channels: int) -> ReferenceCell:
        """A search cell of a stage with so many channels."""
        track = self.config.track_running_stats
        if self.config.partial == 1 and not self.config.edge_normalisation:
            return ReferenceCell(channels, track=track)
        return PartialReferenceCell(channels, self.config.partial, track=track)

    def forward(self, images: Tensor, mixture: Tensor, norm: Norm = "train") -> Tensor:
        """See `MixedNetwork.forward`."""
        check_mixture(mixture, self.config.cells)
        each = iter(mixture if mixture.dim() == 3 else [mixture] * self.config.cells)
        edges = None if self.edge_logits is None else edge_weights(self.edge_logits)
        x = self.stem_norm(self.stem(images), norm)
        for block in self.blocks:
            if isinstance(block, PartialReferenceCell):
                x = block(x, next(each), norm, edges)
            else:
                x = block(x, next(each), norm) if isinstance(block, ReferenceCell) else block(x, norm)
        return classify(x, self.head_norm, self.classifier, norm)

    def weight_gradients(self) -> dict[str, Tensor]:
        """This network's weight gradients under the names and in the shapes of `Supernet`'s parameters."""
        gradients = {n: p.grad for n, p in self.named_parameters() if ".edges." not in n and p.grad is not None}
        for index, block in enumerate(self.blocks):
            if isinstance(block, ReferenceCell):
                for operation, kernel in KERNEL.items():
                    for source, rows in enumerate(ROWS_BY_SOURCE):
                        parts = [block.edges[e][operation].convolution.weight.grad for e in rows]  # type: ignore[index]  # a ModuleList
                        gradients[f"blocks.{index}.conv{kernel}x{kernel}.{source}.weight"] = torch.cat(parts)
        return gradients


class DiscreteCell(nn.Module):
    """One cell of a discrete network: six edges, one operation each."""

    def __init__(self, cell: Cell, channels: int, *, affine: bool, track: bool) -> None:
        super().__init__()
        self.edges = nn.ModuleList(Operation(o, channels, affine=affine, track=track) for o in cell.operations)

    def forward(self, x: Tensor, norm: Norm) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        nodes = [x, *[torch.zeros_like(x)] * 3]
        for (target, source), operation in zip(EDGES, self.edges, strict=True):
            nodes[target] = nodes[target] + operation(nodes[source], norm)
        return nodes[3]


class Network(Skeleton):
    """The discrete network of a cell, as the benchmark trained it.

    Args:
        cell: the architecture.
        config: its size; the benchmark's is C = 16, N = 5.
        generator: a CPU generator for the initial weights.
        affine: whether the cells' batch norm learns a scale and a shift; the benchmark's does.
    """

    def __init__(self, cell: Cell, config: SupernetConfig, *, generator: torch.Generator, affine: bool = True) -> None:
        super().__init__()
        self.cell, self.config = cell, config
        track = config.track_running_stats
        build_skeleton(self, config, lambda channels: DiscreteCell(cell, channels, affine=affine, track=track))
        initialise(self, generator)

    @classmethod
    def inherit(cls, supernet: Supernet, cell: Cell) -> Network:
        """The discrete network of `cell` with copies of the weights and running statistics of `supernet`.

        Raises:
            ValueError: when the supernet has partial channels, whose operations are narrower than the network's.
        """
        if isinstance(supernet, PartialSupernet):
            raise ValueError("a discrete network cannot inherit the narrow operations of a partial-channel supernet")
        weight = supernet.stem.weight
        network = cls(cell, supernet.config, generator=torch.Generator(), affine=False)
        network.to(device=weight.device, dtype=weight.dtype)
        copy_skeleton(supernet, network)
        for ours, theirs in zip(network.blocks, supernet.blocks, strict=True):
            if isinstance(ours, DiscreteCell) and isinstance(theirs, SearchCell):
                states = edge_states(theirs)
                for edge, operation in enumerate(cell.operations):
                    if operation in states[edge]:
                        ours.edges[edge].load_state_dict(states[edge][operation])
        return network

    def forward(self, images: Tensor, norm: Norm = "train") -> Tensor:
        """Map (B, 3, H, W) images to (B, num_classes) logits."""
        x = self.stem_norm(self.stem(images), norm)
        for block in self.blocks:
            x = block(x, norm)
        return classify(x, self.head_norm, self.classifier, norm)


def copy_skeleton(source: Skeleton, target: Skeleton) -> None:
    """Copy the weights and statistics of everything but the cells from one network to another of the same size."""
    for name in ("stem", "stem_norm", "head_norm", "classifier"):
        getattr(target, name).load_state_dict(getattr(source, name).state_dict())
    for theirs, ours in zip(source.blocks, target.blocks, strict=True):
        if isinstance(theirs, Reduction):
            ours.load_state_dict(theirs.state_dict())


def edge_states(cell: SearchCell) -> list[dict[int, dict[str, Tensor]]]:
    """For each of the E edges and each convolution on it, the state of its `Operation`: the cell, edge by edge."""
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in EDGES]
    for operation, kernel in KERNEL.items():
        for source, rows in enumerate(ROWS_BY_SOURCE):
            convolution = getattr(cell, f"conv{kernel}x{kernel}")[source].state_dict()
            norm = getattr(cell, f"norm{kernel}x{kernel}")[source].state_dict()
            named = {f"convolution.{k}": v for k, v in convolution.items()} | {f"norm.{k}": v for k, v in norm.items()}
            for place, edge in enumerate(rows):
                part = slice(place * cell.channels, (place + 1) * cell.channels)
                states[edge][operation] = {name: value[part] for name, value in named.items()}
    return states
