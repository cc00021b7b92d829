"""Leave-one-out: what the supernet loses without an operation, every edge judged in the undivided supernet.

The criterion of DARTS-PT (R. Wang et al., ICLR 2021, arXiv:2108.04392) without its loop: no edge is settled before
another is judged, and nothing is trained. With a the validation accuracy (or minus the loss) of a mixture,

    o_e = argmin_o a(p with p[e, o] = 0)

Differences from the paper: there, edges are settled one at a time with training between (`perturbation`); this is what
its scores say on their own, and it costs one pass over the images for each of the E·O masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import torch

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.errors import InputError, unknown
from dartboard.benchmark.space import NONE, Cell, E, O
from dartboard.benchmark.supernet import Norm
from dartboard.selectors._budget import Knob, valid_images
from dartboard.selectors._evaluation import score_mixtures, shared_batches, without_each

Criterion = Literal["accuracy", "loss"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is lost, and how it is measured.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    criterion: Criterion = "accuracy"
    renormalise: bool = False  # whether a masked row is scaled up to sum 1 again
    norm: Norm = "batch"  # how batch norm normalises under a mask
    exclude_none: bool = False
    batches: int | None = None  # of the validation half; None: all

    def __post_init__(self) -> None:
        if self.batches is not None and self.batches < 1:
            raise InputError(f"batches is at least 1; got {self.batches}")
        for name, choices in (("criterion", get_args(Criterion)), ("norm", ("batch", "running"))):
            if getattr(self, name) not in choices:
                raise unknown(name, str(getattr(self, name)), choices)


class LeaveOneOut:
    """The operation whose removal hurts most wins."""

    name: ClassVar[str] = "leave-one-out"
    paper: ClassVar[str] = "after Wang, Cheng, Chen, Tang, Hsieh 2021, arXiv:2108.04392"
    control: ClassVar[str | None] = None
    knobs: ClassVar[tuple[Knob, ...]] = (Knob("batches"),)
    equivariant: ClassVar[bool] = True  # operations under other names: the same answer under these
    config_class = Config

    def __init__(self, config: Config) -> None:
        self.config = config

    def cost(self, data: SelectionData) -> int:
        """The most images that a selection pushes."""
        return E * O * valid_images(data, self.config.batches)

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; scores are minus the accuracy (percent), or the loss, without the operation."""
        config, mixture = self.config, trained.searcher.mixture().detach()
        masks = torch.cat([without_each(mixture, edge, renormalise=config.renormalise) for edge in range(E)])
        batches = shared_batches(data, generator, steps=config.batches)
        result = score_mixtures(trained.supernet, masks, batches, config.norm, data.cache)
        scores = (-result.accuracy if config.criterion == "accuracy" else result.loss).reshape(E, O)
        allowed = scores.copy()
        if config.exclude_none:
            allowed[:, NONE] = -np.inf
        return Selection(cell=Cell.from_scores(allowed), scores=scores, images=result.images)
