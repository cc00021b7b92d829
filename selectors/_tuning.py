"""What criteria share that train on: a copy of the search in which some edges are settled, and an epoch of its steps.

Not a criterion itself. The trained supernet stays as it is; weights and architecture of the copy train on by the
search's own step, the weights at a small constant rate.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Searcher, SelectionData, TrainedSupernet
from dartboard.benchmark.epochs import EpochMeter, steps_of_epoch
from dartboard.benchmark.layers import Norm
from dartboard.benchmark.space import E, O
from dartboard.benchmark.supernet import MixedNetwork


class Projected(MixedNetwork):
    """A network of which some edges are settled: their rows of any mixture are overwritten by one-hot rows.

    The gradient of the overwritten rows is exactly 0.
    """

    settled: Tensor  # (E,), bool
    one_hot: Tensor  # (E, O)

    def __init__(self, network: MixedNetwork) -> None:
        super().__init__()
        self.network = network
        like = next(network.parameters())
        self.register_buffer("settled", torch.zeros(E, dtype=torch.bool, device=like.device))
        self.register_buffer("one_hot", torch.zeros(E, O, dtype=like.dtype, device=like.device))

    def project(self, mixture: Tensor) -> Tensor:
        """`mixture` (E, O) or (cells, E, O) with the settled rows in place."""
        return torch.where(self.settled[:, None], self.one_hot, mixture)

    def settle(self, edge: int, operation: int) -> None:
        """Let `edge` keep `operation` only."""
        self.settled[edge] = True
        self.one_hot[edge, operation] = 1

    def forward(self, images: Tensor, mixture: Tensor, norm: Norm = "train") -> Tensor:
        """See `MixedNetwork.forward`."""
        logits: Tensor = self.network(images, self.project(mixture), norm)
        return logits


class Tuning(NamedTuple):
    """A search that goes on, and the network that it trains."""

    searcher: Searcher
    network: Projected
    past: int  # epochs of the search itself

    @classmethod
    def of(cls, trained: TrainedSupernet, learning_rate: float) -> Tuning:
        """A copy of what was trained, its weights' rate constant from now on, no edge settled."""
        searcher = copy.deepcopy(trained.searcher)
        searcher.restart_weight_optimizer(learning_rate)
        searcher.supernet = network = Projected(searcher.supernet)
        return cls(searcher, network, len(trained.trajectory))

    def mixture(self) -> Tensor:
        """(E, O) or (cells, E, O): today's mixing weights, the settled rows in place."""
        return self.network.project(self.searcher.mixture().detach())

    def epoch(self, data: SelectionData, number: int, seed: int) -> int:
        """Train for the epoch `number` (from 0) after the search; the images pushed, which all count as gradients."""
        meter, protocol = EpochMeter(), self.searcher.config.protocol
        for result in steps_of_epoch(
            self.searcher, data.train, data.valid, protocol, epoch=self.past + number, seed=seed
        ):
            meter.add(result)
        return meter.result().images
