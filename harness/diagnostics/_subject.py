"""What a diagnostic is shown, and what it answers. Not a diagnostic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dartboard.benchmark.contracts import SelectionData, TrainedSupernet
from dartboard.benchmark.ground_truth import GroundTruth, Metric
from dartboard.benchmark.images import ImageSplit
from dartboard.benchmark.streams import stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A supernet, trained or as an epoch left it; to be read, and copied before it is changed.

    Unlike a selector, a diagnostic may see the table: it chooses nothing.
    """

    trained: TrainedSupernet  # its trajectory ends with the epoch that is measured
    data: SelectionData
    truth: GroundTruth
    metric: Metric  # that runs are scored by
    root: int  # of the named streams that all draws come from
    shared_root: int  # of those of the batches that several diagnostics look at
    shared: dict[str, CellPass] = field(default_factory=dict)  # of this very supernet: what they need, computed once

    @property
    def network(self) -> nn.Module:
        """The supernet."""
        return self.trained.searcher.supernet

    def mixture(self) -> Tensor:
        """(E, O) or (cells, E, O): the mixing weights, without a graph."""
        return self.trained.searcher.mixture().detach()

    def batches(self, split: ImageSplit, images: int, *role: str) -> list[tuple[Tensor, Tensor]]:
        """At least `images` images of a split (all of a smaller one), in batches augmented as the search's are."""
        size = self.data.batch_size
        steps = min(-(-images // size), split.steps(size))
        return list(split.epoch(size, stream(self.root, *role), steps=steps))

    def passes(self) -> Iterator[tuple[str, CellPass]]:
        """Of "train" and "valid": one batch and its gradients by cell, computed once for all that ask for them."""
        network = self.trained.supernet
        for half, split in (("train", self.data.train), ("valid", self.data.valid)):
            if half not in self.shared:
                (batch,) = split.epoch(self.data.batch_size, stream(self.shared_root, half), steps=1)
                self.shared[half] = cell_pass(network, self.mixture(), batch, network.config.cells)
            yield half, self.shared[half]


class Measurement(NamedTuple):
    """What came of a diagnostic."""

    values: dict[str, Any]  # JSON values or NumPy's, by the keys listed in `dartboard.results.diagnostics`
    images: int = 0  # pushed forward, gradient passes included
    gradient_images: int = 0  # images of which a gradient was taken


class CellPass(NamedTuple):
    """One batch, and the gradient of its loss by each cell's own mixture."""

    mixtures: Tensor  # (cells, E, O)
    gradients: Tensor  # (cells, E, O), ∂L/∂p of the mean cross-entropy
    logits: Tensor  # (B, classes)
    labels: Tensor  # (B,)


def cell_pass(network: nn.Module, mixture: Tensor, batch: tuple[Tensor, Tensor], cells: int) -> CellPass:
    """Differentiate the loss of a batch by the mixture of every cell, batch norm by the batch; nothing is changed."""
    images, labels = batch
    each = (mixture if mixture.dim() == 3 else mixture.expand(cells, -1, -1)).detach().clone().requires_grad_()
    logits = network(images, each, "batch")
    (gradients,) = torch.autograd.grad(nn.functional.cross_entropy(logits, labels), each)
    return CellPass(each.detach(), gradients, logits.detach(), labels)
