"""Influential Magnitude with magnitude: p² times what the loss feels, through the weights, of one logit.

After M. Zhang, W. Huang, B. Yang, "Interpreting operation selection in differentiable architecture search: a
perspective from influence-directed explanations", NeurIPS 2022: "magnitude and second-order information" of its
abstract, read as the direction of deleting one operation instead of the released code's direction of all ones:

    s[e, o] = p[e, o]² · [L_αθ H⁻¹ L_θα][(e, o), (e, o)],    α logits of the mixture

and each edge keeps the largest (`keep="largest"`: influence as strength) or the smallest (`keep="smallest"`: the form
enters the re-optimised loss with a minus, so a large one means that the weights make up for the operation).

Differences from the paper: the paper's own text could not be consulted; the released code computes no such thing. With
a mixture (cells, E, O), p is the mean over the cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import split_off, stream
from dartboard.selectors._budget import Knob
from dartboard.selectors._evaluation import shared_batches
from dartboard.selectors._gradients import SupernetLoss, logits
from dartboard.selectors._implicit import Curved, conclude, derivatives, most_images, solve
from dartboard.selectors._options import Configured, require_one_of

Keep = Literal["largest", "smallest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Curved):
    """Which end is kept, and how H⁻¹ is applied.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    keep: Keep = "largest"

    def __post_init__(self) -> None:
        Curved.__post_init__(self)
        require_one_of(self, keep=get_args(Keep))


class ImAlpha(Configured[Config]):
    """The operation of the largest p² times indirect curvature wins."""

    name: ClassVar[str] = "im-alpha"
    paper: ClassVar[str] = "after Zhang, Huang, Yang 2022 (NeurIPS)"
    knobs: ClassVar[tuple[Knob, ...]] = (Knob("batches", grows=False),)
    equivariant: ClassVar[bool] = True  # operations under other names: the same answer under these
    config_class = Config

    def cost(self, data: SelectionData) -> int:
        """The most images that a selection pushes."""
        return most_images(self.config, data, passes=1, vectors=E * O)

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; the scores are s, or -s where the smallest is kept."""
        config, root = self.config, split_off(generator)
        mixture = trained.searcher.mixture().detach()
        batches = list(shared_batches(data, stream(root, "images"), steps=config.batches))
        loss = SupernetLoss(trained.searcher.supernet, logits(mixture), cache=data.cache)
        found = derivatives(loss, batches, torch.eye(E * O))
        response = solve(loss, batches, found.gradients, found.mixed, config)
        magnitude = (mixture if mixture.dim() == 2 else mixture.mean(0)).double().square()
        influence = magnitude.flatten() * (found.mixed * response).sum(1)
        return conclude(influence if config.keep == "largest" else -influence, loss, batches[0], config, root)
