"""Many mixtures through one supernet on the same images, without gradients, doing no work twice.

What M separate passes of `Supernet` would compute, less

    the stem, and in the first cell every node whose incoming rows an earlier mixture had (all masks of one edge share
    what lies before it); later cells see different inputs, so nothing else can be shared;
    operations whose weight is 0 (a settled edge has one operation, `none` has none);
    mixtures that differ in the weight of `none` alone, which adds nothing: they are one network.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.reference import ROWS_BY_SOURCE
from dartboard.benchmark.space import CONV1X1, CONV3X3, EDGES, NONE, POOL, SKIP
from dartboard.benchmark.supernet import (
    EPSILON,
    MOMENTUM,
    BatchNorm,
    Convolution,
    Norm,
    SearchCell,
    Supernet,
    classify,
    window_sizes,
)

Rows: TypeAlias = tuple[tuple[float, ...], ...]
"""The mixing weights of one cell on the host, edge by edge; a node's value depends on the rows before the next node."""

Present: TypeAlias = Collection[tuple[int, int]]
"""The (edge, operation) pairs that a cell needs."""

Memory: TypeAlias = dict[Rows, Tensor]
Outputs: TypeAlias = dict[tuple[int, int], Tensor]
"""By (edge, operation): what the operation makes of its source node, before its mixing weight."""


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
                    if place == 0:
                        x = _cell(block, x, rows[0], weights[0], self.first, norm, nodes, outputs)
                    else:
                        x = _cell(block, x, rows[place], weights[place], _present(rows[place]), norm, {}, {})
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
    norm: Norm,
    nodes: Memory,
    outputs: dict[Rows, Outputs],
) -> Tensor:
    """The cell's output (B, C, H, W), with the nodes and operations' outputs of earlier mixtures at hand."""
    value = x
    made: list[Outputs] = []  # of each source node
    for target in (1, 2, 3):
        before, here = (rows[: n * (n + 1) // 2] for n in (target - 1, target))
        if before not in outputs:
            outputs[before] = _operate(cell, target - 1, value, present, norm)
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


def _operate(cell: SearchCell, source: int, value: Tensor, present: Present, norm: Norm) -> Outputs:
    """The outputs of those operations on the edges leaving `source` that are in `present`."""
    edges, c = ROWS_BY_SOURCE[source], cell.channels
    outputs: Outputs = {}
    active = F.relu(value)
    for operation, convolution, layer in (
        (CONV1X1, cell.conv1x1[source], cell.norm1x1[source]),
        (CONV3X3, cell.conv3x3[source], cell.norm3x3[source]),
    ):
        assert isinstance(convolution, Convolution)
        assert isinstance(layer, BatchNorm)
        kept = [place for place, edge in enumerate(edges) if (edge, operation) in present]
        if kept:
            parts = [
                None if part is None or (norm == "batch" and part.dim() == 1) else _keep(part, kept, c)
                for part in (convolution.weight, layer.running_mean, layer.running_var)
            ]
            weight, mean, var = parts
            assert weight is not None
            y = F.conv2d(active, weight, padding=convolution.padding)
            y = F.batch_norm(y, mean, var, None, None, mean is None, MOMENTUM, EPSILON)
            outputs |= {(edges[k], operation): part for k, part in zip(kept, torch.split(y, c, dim=1), strict=True)}
    if any((edge, POOL) in present for edge in edges):
        pooled = F.conv2d(value, cell.box, padding=1, groups=c) / window_sizes(value)
        outputs |= {(edge, POOL): pooled for edge in edges}
    return outputs | {(edge, SKIP): value for edge in edges}


def _keep(part: Tensor, kept: list[int], channels: int) -> Tensor:
    """The channels of the edges at the places `kept`."""
    pieces = torch.split(part, channels)
    return part if len(kept) == len(pieces) else torch.cat([pieces[k] for k in kept])
