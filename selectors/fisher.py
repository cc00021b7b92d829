"""Fisher: the second-order estimate of what removing an operation costs, with the Fisher information as curvature.

L. Theis, I. Korshunova, A. Tejani, F. Huszár, "Faster gaze prediction with dense networks and Fisher pruning", 2018,
arXiv:1801.05787, for channels; J. Turner et al., "BlockSwap", ICLR 2020, arXiv:1906.04113, summed
over a block. With a gate z = 1 upon the output y of operation o on edge e, for image n of N,

    s[e, o] = 1/(2N) Σ_n (∂ℓ_n/∂z[e, o])²,    ∂ℓ_n/∂z = Σ_cells <p[e, o]·y_n, ∂ℓ/∂(p[e, o]·y_n)>

Differences from the papers: what is pruned is an operation with its one gate in all cells, not a channel, so the sum
over places, channels and cells is taken before the square. With `norm="batch"` the images of a batch share their
statistics, and ∂ℓ/∂y_n is, as in both papers, the derivative of the whole batch's loss by what image n shows; with
`norm="running"` it is the image's own gradient exactly. `none` has 0 and never wins where another has more.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.space import E, O
from dartboard.selectors._budget import Knob, passes
from dartboard.selectors._evaluation import shared_batches
from dartboard.selectors._operations import observed
from dartboard.selectors._options import Configured, Looks, choose

Config = Looks  # nothing of its own


class Fisher(Configured[Config]):
    """The operation with the most Fisher information wins."""

    name: ClassVar[str] = "fisher"
    paper: ClassVar[str] = "Theis, Korshunova, Tejani, Huszár 2018, arXiv:1801.05787; Turner et al. 2020"
    knobs: ClassVar[tuple[Knob, ...]] = (Knob("batches"),)
    config_class = Config
    cost = passes(1)

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; the scores are half the mean squares of the gates' gradients."""
        config, mixture = self.config, trained.searcher.mixture().detach()
        gate: list[Tensor] = []  # (B, E, O), of the batch in hand

        def gated(_cell: int, edge: int, operation: int, output: Tensor) -> Tensor:
            return output * gate[-1][:, edge, operation, None, None, None]

        network = observed(trained.supernet, gated).requires_grad_(False)
        total, seen = mixture.new_zeros(E, O, dtype=torch.float64), 0
        for images, labels in shared_batches(data, generator, steps=config.batches):
            gate[:] = [mixture.new_ones(len(labels), E, O).requires_grad_()]
            loss = F.cross_entropy(network(images, mixture, config.norm), labels, reduction="sum")
            total += torch.autograd.grad(loss, gate)[0].double().square().sum(0)
            seen += len(labels)
        scores = (total / (2 * seen)).cpu().numpy()
        cell = choose(scores, exclude_none=config.exclude_none)
        return Selection(cell=cell, scores=scores, images=seen, gradient_images=seen)
