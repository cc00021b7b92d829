"""Leave-one-out: what the supernet loses without an operation, every edge judged in the undivided supernet.

The criterion of DARTS-PT (R. Wang et al., ICLR 2021, arXiv:2108.04392) without its loop: no edge is settled before
another is judged, and nothing is trained. With a the validation accuracy (or minus the loss) of a mixture,

    o_e = argmin_o a(p with p[e, o] = 0)

Differences from the paper: there, edges are settled one at a time with training between (`perturbation`); this is what
its scores say on their own, and it costs one pass over the images for each of the E·O masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.space import E, O
from dartboard.selectors._budget import Knob, passes
from dartboard.selectors._evaluation import score_mixtures, shared_batches, without_each
from dartboard.selectors._options import Configured, Judges, choose


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Judges):
    """What is lost, and how it is measured."""

    renormalise: bool = False  # whether a masked row is scaled up to sum 1 again


class LeaveOneOut(Configured[Config]):
    """The operation whose removal hurts most wins."""

    name: ClassVar[str] = "leave-one-out"
    paper: ClassVar[str] = "after Wang, Cheng, Chen, Tang, Hsieh 2021, arXiv:2108.04392"
    knobs: ClassVar[tuple[Knob, ...]] = (Knob("batches"),)
    equivariant: ClassVar[bool] = True  # operations under other names: the same answer under these
    config_class = Config
    cost = passes(E * O)

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; scores are minus the accuracy (percent), or the loss, without the operation."""
        config, mixture = self.config, trained.searcher.mixture().detach()
        masks = torch.cat([without_each(mixture, edge, renormalise=config.renormalise) for edge in range(E)])
        batches = shared_batches(data, generator, steps=config.batches)
        result = score_mixtures(trained.supernet, masks, batches, config.norm, data.cache)
        scores = -result.worth(config.criterion).reshape(E, O)
        return Selection(cell=choose(scores, exclude_none=config.exclude_none), scores=scores, images=result.images)
