"""Influential Magnitude by mixing weights: how much the loss feels a common rise of all mixing weights.

M. Zhang, W. Huang, B. Yang, "Interpreting operation selection in differentiable architecture search: a perspective from
influence-directed explanations", NeurIPS 2022. Its indirect second derivative, taken with respect to the mixing weights
p themselves (see `_implicit` for the derivation; H of the validation loss):

    s = L_pθ H⁻¹ L_θp 1,    IM = -s,    o_e = argmax_o IM[e, o]

Differences from the paper: its released code takes the derivatives in the logits, where L_θα 1 = 0 (`im-literal`);
in p it is not. The same N batches are used throughout, and the products are exact instead of central differences. The
paper's own text could not be consulted: that it defines the score as its released code does is unverified.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import split_off, stream
from dartboard.selectors._budget import Knob
from dartboard.selectors._evaluation import shared_batches
from dartboard.selectors._gradients import SupernetLoss, shifts
from dartboard.selectors._implicit import Curved, conclude, derivatives, mixed_product, most_images, solve
from dartboard.selectors._options import Configured

Config = Curved  # nothing of its own


class ImMix(Configured[Config]):
    """The operation of the largest IM in the mixing weights wins."""

    name: ClassVar[str] = "im-mix"
    paper: ClassVar[str] = "after Zhang, Huang, Yang 2022 (NeurIPS)"
    knobs: ClassVar[tuple[Knob, ...]] = (Knob("batches", grows=False),)
    equivariant: ClassVar[bool] = True  # operations under other names: the same answer under these
    config_class = Config

    def cost(self, data: SelectionData) -> int:
        """The most images that a selection pushes."""
        return most_images(self.config, data, passes=2, vectors=1)  # derivatives, and the product back

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; the scores are -s."""
        config, root = self.config, split_off(generator)
        mixture = trained.searcher.mixture().detach()
        batches = list(shared_batches(data, stream(root, "images"), steps=config.batches))
        loss = SupernetLoss(trained.searcher.supernet, shifts(mixture), cache=data.cache)
        found = derivatives(loss, batches, torch.ones(1, E * O))
        (response,) = solve(loss, batches, found.gradients, found.mixed, config)
        return conclude(-mixed_product(loss, batches, response), loss, batches[0], config, root)
