"""Edge entropy: the most certain edge is settled first, and the others are judged with it in place.

The entropy of an edge's mixing weights, H_e = -Σ_o p[e, o] ln p[e, o], says how decided the search is there (L. Li,
M. Khodak, M.-F. Balcan, A. Talwalkar, "Geometry-aware gradient algorithms for neural architecture search", ICLR 2021,
arXiv:2004.07802, watch its mean; SGAS makes its certainty of it, see `sgas`). One number for an edge ranks no operation
within it: this is a rule of *order*, which needs another rule for the operation. That is DARTS-PT's (R. Wang et al.,
ICLR 2021, arXiv:2108.04392): with a the validation accuracy (or minus the loss) of a mixture,

    for e in order of rising H_e (`first="certain"`) or falling H_e (`first="uncertain"`):
        e keeps argmin_o a(p with p[e, o] = 0), and its row becomes one-hot

Differences from the papers: there, the entropy chooses nothing (GAEA), or chooses the edge while the largest weight
chooses the operation (SGAS), and DARTS-PT settles edges at random and trains between. Here nothing is trained, so that
the entropies do not change on the way, and every mask of an edge is measured on the same images. Compared with
`leave-one-out`, which judges all edges in the undivided supernet, and with `perturbation` at `interval=0`, which
settles them at random, it tells what the order is worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.space import OPERATIONS, E, O
from dartboard.selectors._budget import Knob, passes
from dartboard.selectors._evaluation import score_mixtures, shared_batches, without_each
from dartboard.selectors._options import Configured, Judges, require_one_of, strongest
from dartboard.selectors._settling import settle, settled_cell

First = Literal["certain", "uncertain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Judges):
    """Which end of the order is first, and how operations are judged.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    first: First = "certain"

    def __post_init__(self) -> None:
        Judges.__post_init__(self)
        require_one_of(self, first=get_args(First))


def edge_entropies(mixture: Tensor) -> NDArray[np.float64]:
    """(E,), in nats, of mixing weights (E, O); the mean over the cells of (cells, E, O)."""
    entropies = torch.special.entr(mixture.double()).sum(-1).cpu()
    values: NDArray[np.float64] = (entropies if entropies.dim() == 1 else entropies.mean(0)).numpy()
    return values


class EdgeEntropy(Configured[Config]):
    """The operation whose removal hurts most wins, the most certain edges being settled first."""

    name: ClassVar[str] = "edge-entropy"
    paper: ClassVar[str] = "after Wang et al. 2021, arXiv:2108.04392, and Li et al. 2021, arXiv:2004.07802"
    knobs: ClassVar[tuple[Knob, ...]] = (Knob("batches"),)
    equivariant: ClassVar[bool] = True  # operations under other names: the same answer under these
    config_class = Config
    cost = passes(E * O)

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; an edge's scores are those of its own turn, larger where removal hurts more."""
        config, mixture = self.config, trained.searcher.mixture().detach()
        batches = list(shared_batches(data, generator, steps=config.batches))
        entropies = edge_entropies(mixture)
        if np.isnan(entropies).any():
            raise ValueError(f"the mixing weights hold NaN, which ranks nothing: {entropies.tolist()}")
        scores, trace, images = np.zeros((E, O)), list[dict[str, Any]](), 0
        for edge in np.argsort(entropies if config.first == "certain" else -entropies, kind="stable").tolist():
            masks = without_each(mixture, edge, renormalise=False)
            result = score_mixtures(trained.supernet, masks, batches, config.norm, data.cache)
            images += result.images
            scores[edge] = -result.worth(config.criterion)
            operation = strongest(scores[edge], exclude_none=config.exclude_none)
            mixture = settle(mixture, edge)[operation]
            trace.append({"edge": edge, "entropy": float(entropies[edge]), "operation": OPERATIONS[operation]})
            if data.progress:
                data.progress(len(trace), E)
        return Selection(cell=settled_cell(trace), scores=scores, trace=tuple(trace), images=images)
