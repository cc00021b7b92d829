"""SNIP: connection sensitivity, of operations as connections or of the weights that they have.

N. Lee, T. Ajanthan, P. Torr, "SNIP: Single-shot network pruning based on connection sensitivity", ICLR 2019,
arXiv:1810.02340: a connection with indicator c (its output is multiplied by c = 1) has sensitivity
|∂L/∂c|, normalised over all connections.

    level="operation"   the connection is an operation of an edge:  s[e, o] = |p[e, o] · ∂L/∂p[e, o]|
    level="weights"     the connections are its weights:             s[e, o] = Σ_w |w · ∂L/∂w|

Differences from the paper: there, connections are weights, at initialisation, by one training batch; here the weights
are the trained ones, and a gradient is the mean over `batches`, taken before the absolute value as there. At the level
of weights an operation without any (`none`, `skip`, `pool`) has 0 and never wins, which makes it a criterion between
convolutions only; and |Σ_w w · ∂L/∂w|, the form some codes give an operation, is 0 for a convolution before batch norm,
whose output does not depend on the scale of its weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.selectors._budget import Knob, images_in
from dartboard.selectors._evaluation import shared_batches
from dartboard.selectors._gradients import SupernetLoss, gates
from dartboard.selectors._operations import sum_by_operation
from dartboard.selectors._options import Configured, Looks, choose, require_one_of

Level = Literal["operation", "weights"]
Half = Literal["train", "valid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Looks):
    """What a connection is, and which images.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    level: Level = "operation"
    half: Half = "valid"
    batches: int | None = None  # of the half; None: all

    def __post_init__(self) -> None:
        Looks.__post_init__(self)
        require_one_of(self, level=get_args(Level), half=get_args(Half))


class Snip(Configured[Config]):
    """The most sensitive operation wins."""

    name: ClassVar[str] = "snip"
    paper: ClassVar[str] = "Lee, Ajanthan, Torr 2019, arXiv:1810.02340"
    knobs: ClassVar[tuple[Knob, ...]] = (Knob("batches"),)
    config_class = Config

    def cost(self, data: SelectionData) -> int:
        """The most images that a selection pushes."""
        half = data.train if self.config.half == "train" else data.valid
        return images_in(half, data.batch_size, self.config.batches)

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; the scores are sensitivities, which sum to 1 over all edges."""
        config = self.config
        loss = SupernetLoss(trained.supernet, gates(trained.searcher.mixture().detach()), config.norm, data.cache)
        batches = shared_batches(data, generator, steps=config.batches, half=config.half)
        by_theta, by_gate = loss.gradient(batches)
        if config.level == "operation":
            sensitivity = by_gate.abs()
        else:
            sensitivity = sum_by_operation(trained.supernet, loss.named((loss.theta * by_theta).abs()))
        scores = (sensitivity / sensitivity.sum()).cpu().numpy()
        cell = choose(scores, exclude_none=config.exclude_none)
        return Selection(cell=cell, scores=scores, images=loss.images, gradient_images=loss.images)
