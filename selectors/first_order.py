"""First order: what the loss would rise by without an operation, by its first derivative alone.

With L the validation loss and the *cost* c = ∂L/∂p of an operation (S. Xie et al., "Understanding the wiring evolution
in differentiable neural architecture search", AISTATS 2021, arXiv:2009.01272), removing the operation is a
step of -p[e, o] in its mixing weight, so

    o_e = argmax_o s[e, o],    s[e, o] = -p[e, o] · c[e, o] ≈ L(without o on e) - L

`none` has s = 0 exactly: it wins an edge whose every operation is predicted to do harm. `absolute=True` takes |s|, the
size of the effect instead of its direction.

Differences from the paper: there, the cost explains how the search moves; here it is used to choose. It is the first
term of the Taylor series of what `leave-one-out` with `criterion="loss"` measures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.selectors._budget import Knob, passes
from dartboard.selectors._evaluation import shared_batches
from dartboard.selectors._gradients import SupernetLoss, gates
from dartboard.selectors._options import Configured, Looks, choose


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Looks):
    """Which images, and whether a fall of the loss counts like a rise.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    absolute: bool = False


class FirstOrder(Configured[Config]):
    """The operation whose removal is predicted to raise the loss most wins."""

    name: ClassVar[str] = "first-order"
    paper: ClassVar[str] = "after Xie, Hu, Ren, Chen, Lin 2021, arXiv:2009.01272"
    knobs: ClassVar[tuple[Knob, ...]] = (Knob("batches"),)
    equivariant: ClassVar[bool] = True  # operations under other names: the same answer under these
    config_class = Config
    cost = passes(1)

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; the scores are the predicted rises of the loss."""
        config = self.config
        loss = SupernetLoss(trained.supernet, gates(trained.searcher.mixture().detach()), config.norm, data.cache)
        _, by_gate = loss.gradient(shared_batches(data, generator, steps=config.batches))
        scores = (by_gate.abs() if config.absolute else 0 - by_gate).cpu().numpy()
        cell = choose(scores, exclude_none=config.exclude_none)
        return Selection(cell=cell, scores=scores, images=loss.images, gradient_images=loss.images)
