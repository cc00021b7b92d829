"""Where each operation is in the supernet: its own weights, and its own output. Not a criterion."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.layers import Norm, window_sizes
from dartboard.benchmark.partial import PartialCell
from dartboard.benchmark.reference import KERNEL, ROWS_BY_SOURCE
from dartboard.benchmark.space import CONV1X1, CONV3X3, POOL, SKIP, E, O
from dartboard.benchmark.supernet import SearchCell, SourceWeights, Supernet

Watch = Callable[[int, int, int, Tensor], Tensor]
"""Called with (cell, edge, operation, output (B, C, H, W)); the tensor it returns takes the output's place.

With partial channels the output has the C/K channels that are mixed."""


class OwnPart(NamedTuple):
    """What belongs to the weights of one operation in one cell."""

    edge: int
    operation: int
    values: Tensor  # (C, C, k, k)


def by_operation(network: Supernet, values: Mapping[str, Tensor]) -> Iterator[OwnPart]:
    """`values`, which has a tensor for each parameter, by operation, cell after cell; only convolutions have any."""
    for index, block in enumerate(network.blocks):
        if isinstance(block, SearchCell):
            for operation, kernel in KERNEL.items():
                for source, rows in enumerate(ROWS_BY_SOURCE):
                    value = values[f"blocks.{index}.conv{kernel}x{kernel}.{source}.weight"]
                    for edge, part in zip(rows, torch.split(value, block.channels), strict=True):
                        yield OwnPart(edge, operation, part)


def sum_by_operation(network: Supernet, values: Mapping[str, Tensor]) -> Tensor:
    """(E, O): for each operation, the sum over its weights in all cells of `values`, which has a tensor for each.

    Operations without weights have 0.
    """
    like = next(iter(values.values()))
    total = like.new_zeros(E, O)
    for edge, operation, part in by_operation(network, values):
        total[edge, operation] += part.sum()
    return total


class ObservedCell(SearchCell):
    """A search cell that shows each operation's output, before its mixing weight, to `watch`."""

    watch: Watch
    place: int  # which of the search cells this is

    def leave(
        self, source: int, value: Tensor, weight: SourceWeights, norm: Norm, totals: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        """As `SearchCell.leave`, but for `watch`."""
        active = F.relu(value)
        conv3x3 = torch.split(self.norm3x3[source](self.conv3x3[source](active), norm), self.channels, 1)
        conv1x1 = torch.split(self.norm1x1[source](self.conv1x1[source](active), norm), self.channels, 1)
        pooled = F.conv2d(value, self.box, padding=1, groups=self.channels) / window_sizes(value)
        scales3x3, scales1x1 = (torch.split(w, self.channels) for w in (weight.conv3x3, weight.conv1x1))
        sums = list(totals) or [torch.zeros_like(value)] * len(weight.skip)
        for out, edge in enumerate(ROWS_BY_SOURCE[source]):
            for operation, output, scale in (
                (SKIP, value, weight.skip[out]),
                (CONV1X1, conv1x1[out], scales1x1[out][0]),
                (CONV3X3, conv3x3[out], scales3x3[out][0]),
                (POOL, pooled, weight.pool[out]),
            ):
                sums[out] = sums[out] + scale * self.watch(self.place, edge, operation, output)
        return sums


class ObservedPartialCell(ObservedCell, PartialCell):
    """The same of a cell with partial channels: the outputs are those of the channels that it mixes."""


def observed(supernet: Supernet, watch: Watch) -> Supernet:
    """A copy of `supernet` that computes the same and shows every operation's output (but `none`'s) to `watch`."""
    network = copy.deepcopy(supernet)
    for index, block in enumerate(network.blocks):
        if isinstance(block, SearchCell):
            place = sum(isinstance(b, SearchCell) for b in network.blocks[:index])
            block.__class__ = ObservedPartialCell if isinstance(block, PartialCell) else ObservedCell
            assert isinstance(block, ObservedCell)
            block.watch, block.place = watch, place
    return network
