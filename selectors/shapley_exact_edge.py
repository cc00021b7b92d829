"""Shapley values within an edge, exactly: all coalitions of its operations, the other edges undivided.

L. S. Shapley, "A value for n-person games", 1953, for the game that H. Xiao et al. (CVPR 2022, arXiv:2206.09811) play
with all edges at once. On edge e the players are its n operations, and v(S) is the supernet's accuracy (or minus its
loss) with the mixing weights of the edge's other operations set to 0:

    φ[e, o] = Σ_{S ∌ o} |S|!(n - 1 - |S|)!/n! · (v(S ∪ {o}) - v(S)),    Σ_o φ[e, o] = v(all) - v(∅)

`none` changes nothing by leaving: it is a null player, φ = 0, and the others' values are those of the game without it.
So 2⁴ coalitions an edge say what 2⁵ would.

Differences from the paper: there, 30 operations of all edges are the players and permutations are sampled (`shapley`);
here nothing is sampled but the images, and each edge is a game of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.space import NONE, E, O
from dartboard.selectors._budget import Knob, passes
from dartboard.selectors._evaluation import score_mixtures, shared_batches
from dartboard.selectors._options import Configured, Looks, choose, require_one_of

Value = Literal["accuracy", "loss"]

PLAYERS = tuple(operation for operation in range(O) if operation != NONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Looks):
    """What worth is, and on which images.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    value: Value = "accuracy"
    batches: int | None = 16  # of the validation half; None: all

    def __post_init__(self) -> None:
        Looks.__post_init__(self)
        require_one_of(self, value=get_args(Value))


def exact_shapley(worth: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., n): the Shapley values of n players.

    Args:
        worth: (..., 2^n), of each coalition; bit i of its index says whether player i is in it.
    """
    n = int(worth.shape[-1]).bit_length() - 1
    coalitions = np.arange(2**n)
    size = np.array([int(c).bit_count() for c in coalitions])
    weight = np.array([factorial(s) * factorial(n - 1 - s) / factorial(n) for s in range(n)])
    values = []
    for player in range(n):
        outside = coalitions[coalitions >> player & 1 == 0]
        gain = worth[..., outside | 1 << player] - worth[..., outside]
        values.append((gain * weight[size[outside]]).sum(-1))
    return np.stack(values, -1)


class ShapleyExactEdge(Configured[Config]):
    """The operation of the largest Shapley value in its edge's own game wins."""

    name: ClassVar[str] = "shapley-exact-edge"
    paper: ClassVar[str] = "after Xiao, Wang, Zhu, Zhou, Lu 2022, arXiv:2206.09811"
    knobs: ClassVar[tuple[Knob, ...]] = (Knob("batches"),)
    equivariant: ClassVar[bool] = True  # operations under other names: the same answer under these
    config_class = Config
    cost = passes(E * 2 ** len(PLAYERS))

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; the scores are the Shapley values, in percent or in nats."""
        config, mixture = self.config, trained.searcher.mixture().detach()
        count = 2 ** len(PLAYERS)
        masks = mixture.expand(E, count, *mixture.shape).clone()  # (E, 2^n, ..., E, O)
        for coalition in range(count):
            for bit, operation in enumerate(PLAYERS):
                if not coalition >> bit & 1:
                    for edge in range(E):
                        masks[edge, coalition, ..., edge, operation] = 0
        batches = shared_batches(data, generator, steps=config.batches)
        result = score_mixtures(trained.supernet, masks.flatten(0, 1), batches, config.norm, data.cache)
        worth = (result.accuracy if config.value == "accuracy" else -result.loss).reshape(E, count)
        scores = np.zeros((E, O))
        scores[:, PLAYERS] = exact_shapley(worth)
        cell = choose(scores, exclude_none=config.exclude_none)
        return Selection(cell=cell, scores=scores, images=result.images)
