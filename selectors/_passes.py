"""Many mixtures through one supernet on the same images, without gradients, doing no work twice.

What M separate passes of `Supernet` would compute, less

    the stem, and in the first cell every node whose incoming rows an earlier mixture had (all masks of one edge share
    what lies before it); later cells see different inputs, so nothing else can be shared;
    operations whose weight is 0 (a settled edge has one operation, `none` has none);
    mixtures that differ in the weight of `none` alone, which adds nothing: they are one network;
    under running statistics, the norms, which fold into the convolutions before them, and in later cells the 1x1
    convolution of an edge that has a 3x3 one: it is a 3x3 one with zeros around, and the edge's convolutions are one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dartboard.benchmark.layers import EPSILON, MOMENTUM, BatchNorm, Convolution, Norm, window_sizes
from dartboard.benchmark.reference import ROWS_BY_SOURCE
from dartboard.benchmark.space import CONV1X1, CONV3X3, EDGES, NONE, POOL, SKIP
from dartboard.benchmark.supernet import SearchCell, Supernet, classify

Rows: TypeAlias = tuple[tuple[float, ...], ...]
"""The mixing weights of one cell on the host, edge by edge; a node's value depends on the rows before the next node."""

Present: TypeAlias = Collection[tuple[int, int]]
"""The (edge, operation) pairs that a cell needs."""

Memory: TypeAlias = dict[Rows, Tensor]
Outputs: TypeAlias = dict[tuple[int, int], Tensor]
"""By (edge, operation): what the operation makes of its source node, before its mixing weight."""


class Affine(NamedTuple):
    """A convolution and the norm after it, folded into one."""

    weight: Tensor  # (kC, C, 1, 1) or (kC, C, 3, 3), for the k edges that leave a node
    bias: Tensor  # (kC,)


class Folded(NamedTuple):
    """The convolutions of the k edges that leave one node, under running statistics."""

    conv1x1: Affine
    conv3x3: Affine
    padded: Tensor  # the weight of conv1x1, with zeros around


class Passes:
    """The passes of `mixtures` through `network`; the host reads the mixtures once, here.

    Args:
        network: plain, as the harness trains it.
        mixtures: (M, E, O) or (M, cells, E, O).
    """

    def __init__(self, network: Supernet, mixtures: Tensor) -> None:
        self.network = network
        weights = mixtures.detach().clone()
        weights[..., NONE] = 0
        if weights.dim() == 3:
            weights = weights[:, None].expand(-1, network.config.cells, -1, -1)
        self.weights = weights  # (M, cells, E, O)
        self.rows: list[tuple[Rows, ...]] = [
            tuple(tuple(tuple(row) for row in cell) for cell in mixture) for mixture in weights.cpu().tolist()
        ]
        self.first = {pair for mixture in self.rows for pair in _present(mixture[0])}

    @torch.no_grad()
    def logits(self, images: Tensor, norm: Norm) -> Iterator[Tensor]:
        """M times (B, num_classes); `norm` is "batch" or "running"."""
        network = self.network
        folded = {
            block: _fold(block) if norm == "running" and network.config.track_running_stats else None
            for block in network.blocks
            if isinstance(block, SearchCell)
        }
        stem = network.stem_norm(network.stem(network.arrange(images)), norm)
        nodes: Memory = {}
        outputs: dict[Rows, Outputs] = {}
        done: dict[tuple[Rows, ...], Tensor] = {}
        for rows, weights in zip(self.rows, self.weights, strict=True):
            if rows not in done:
                x, place = stem, 0
                for block in network.blocks:
                    if not isinstance(block, SearchCell):
                        x = block(x, norm)
                        continue
                    parts = folded[block]
                    if place == 0:
                        x = _cell(block, x, rows[0], weights[0], self.first, parts, nodes, outputs)
                    elif parts is None:
                        x = _cell(block, x, rows[place], weights[place], _present(rows[place]), None, {}, {})
                    else:
                        x = _joined_cell(block, x, rows[place], weights[place], parts)
                    place += 1
                done[rows] = classify(x, network.head_norm, network.classifier, norm)
            yield done[rows]


def _present(rows: Rows) -> set[tuple[int, int]]:
    return {(e, o) for e, row in enumerate(rows) for o, weight in enumerate(row) if weight != 0}


def _cell(
    cell: SearchCell,
    x: Tensor,
    rows: Rows,
    weights: Tensor,
    present: Present,
    folded: Sequence[Folded] | None,
    nodes: Memory,
    outputs: dict[Rows, Outputs],
) -> Tensor:
    """The cell's output (B, C, H, W), with the nodes and operations' outputs of earlier mixtures at hand."""
    value = x
    made: list[Outputs] = []  # of each source node
    for target in (1, 2, 3):
        before, here = (rows[: n * (n + 1) // 2] for n in (target - 1, target))
        if before not in outputs:
            outputs[before] = _operate(cell, target - 1, value, present, None if folded is None else folded[target - 1])
        made.append(outputs[before])
        if here not in nodes:
            nodes[here] = total = torch.zeros_like(x)
            for source in range(target):
                edge = EDGES.index((target, source))
                for operation, weight in enumerate(rows[edge]):
                    if weight:
                        total.addcmul_(made[source][edge, operation], weights[edge, operation])
        value = nodes[here]
    return value


def _operate(cell: SearchCell, source: int, value: Tensor, present: Present, folded: Folded | None) -> Outputs:
    """The outputs of those operations on the edges leaving `source` that are in `present`."""
    edges, c = ROWS_BY_SOURCE[source], cell.channels
    outputs: Outputs = {}
    active = F.relu(value)
    for operation, convolution in ((CONV1X1, cell.conv1x1[source]), (CONV3X3, cell.conv3x3[source])):
        assert isinstance(convolution, Convolution)
        kept = [place for place, edge in enumerate(edges) if (edge, operation) in present]
        if kept:
            if folded is None:
                y = F.conv2d(active, _keep(convolution.weight, kept, c), padding=convolution.padding)
                y = F.batch_norm(y, None, None, None, None, True, MOMENTUM, EPSILON)
            else:
                weight, bias = folded.conv1x1 if operation == CONV1X1 else folded.conv3x3
                y = F.conv2d(active, _keep(weight, kept, c), _keep(bias, kept, c), padding=convolution.padding)
            outputs |= {(edges[k], operation): part for k, part in zip(kept, torch.split(y, c, dim=1), strict=True)}
    if any((edge, POOL) in present for edge in edges):
        pooled = _pool(cell, value)
        outputs |= {(edge, POOL): pooled for edge in edges}
    return outputs | {(edge, SKIP): value for edge in edges}


def _joined_cell(cell: SearchCell, x: Tensor, rows: Rows, weights: Tensor, folded: Sequence[Folded]) -> Tensor:
    """The cell's output (B, C, H, W) under running statistics: the convolutions of an edge are one."""
    totals = [torch.zeros_like(x) for _ in range(3)]  # of nodes 1, 2, 3
    value = x
    for source, parts in enumerate(folded):
        edges = ROWS_BY_SOURCE[source]
        active = F.relu(value)
        large = [edge for edge in edges if rows[edge][CONV3X3]]
        small = [edge for edge in edges if rows[edge][CONV1X1] and edge not in large]
        for kept in (large, small):
            if kept:
                weight, bias = _join(parts, [edges.index(edge) for edge in kept], weights[kept], whole=kept is large)
                y = F.conv2d(active, weight, bias, padding=weight.shape[-1] // 2)
                for edge, part in zip(kept, torch.split(y, cell.channels, dim=1), strict=True):
                    totals[EDGES[edge][0] - 1].add_(part)
        pooled = _pool(cell, value) if any(rows[edge][POOL] for edge in edges) else None
        for edge in edges:
            total = totals[EDGES[edge][0] - 1]
            if rows[edge][SKIP]:
                total.addcmul_(value, weights[edge, SKIP])
            if rows[edge][POOL] and pooled is not None:
                total.addcmul_(pooled, weights[edge, POOL])
        value = totals[source]
    return value


def _join(folded: Folded, kept: list[int], weights: Tensor, *, whole: bool) -> Affine:
    """The edges at the places `kept`, mixed by `weights` (len(kept), O): 1x1 and 3x3 in one, or the 1x1 alone."""
    c = folded.conv1x1.weight.shape[1]
    by_small, by_large = (weights[:, operation].repeat_interleave(c) for operation in (CONV1X1, CONV3X3))
    bias = _keep(folded.conv1x1.bias, kept, c) * by_small
    if not whole:
        return Affine(_keep(folded.conv1x1.weight, kept, c) * by_small[:, None, None, None], bias)
    weight = _keep(folded.conv3x3.weight, kept, c) * by_large[:, None, None, None]
    return Affine(
        weight.addcmul_(_keep(folded.padded, kept, c), by_small[:, None, None, None]),
        bias.addcmul_(_keep(folded.conv3x3.bias, kept, c), by_large),
    )


def _fold(cell: SearchCell) -> list[Folded]:
    """The cell's convolutions and their norms by running statistics, source by source."""
    folded = []
    for source in range(3):
        small = _fold_norm(cell.conv1x1[source], cell.norm1x1[source])
        large = _fold_norm(cell.conv3x3[source], cell.norm3x3[source])
        folded.append(Folded(small, large, F.pad(small.weight, (1, 1, 1, 1))))
    return folded


def _fold_norm(convolution: nn.Module, layer: nn.Module) -> Affine:
    assert isinstance(convolution, Convolution)
    assert isinstance(layer, BatchNorm)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    scale = (layer.running_var + EPSILON).rsqrt()
    return Affine(convolution.weight * scale[:, None, None, None], -layer.running_mean * scale)


def _pool(cell: SearchCell, value: Tensor) -> Tensor:
    return F.conv2d(value, cell.box, padding=1, groups=cell.channels) / window_sizes(value)


def _keep(part: Tensor, kept: list[int], channels: int) -> Tensor:
    """The channels of the edges at the places `kept`."""
    pieces = torch.split(part, channels)
    return part if len(kept) == len(pieces) else torch.cat([pieces[k] for k in kept])
