"""Shapley values of all operations, by random permutations, on the finished supernet.

H. Xiao et al., "Shapley-NAS: Discovering Operation Contribution for Neural Architecture Search", CVPR 2022,
arXiv:2206.09811. The players are the E·O operations; the worth v(S) of a set S is the supernet's accuracy
(or minus its loss) with the mixing weights outside S set to 0. For permutation j, players leave one after the other:

    φ_j[i] = v(those that stay when i goes, and i) - v(those that stay when i goes)
    s[i]   = mean_j φ_j[i] - std_j φ_j[i]        (`score="mean"`: without the deviation)

and a permutation ends where the accuracy falls below `truncation` times the full supernet's; who has not left by then
has 0 in it. `truncation=0` with `score="mean"` is the unbiased estimate of the Shapley values: in each permutation the
φ_j add up to v(all) - v(none).

Differences from the paper: there, the values are added to the logits after each epoch of the search, with momentum;
here they are estimated once and each edge takes the largest (the published normalisation does not change which that
is). Batch norm normalises by the batch throughout; the published code changes its mode from epoch to epoch. `none` is a
player without effect, φ = 0 exactly, that would beat every operation with mean < std: it is left out of the choice by
default, and the notes tell which cell it would give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.layers import Norm
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import split_off, stream
from dartboard.selectors._budget import Knob, images_in
from dartboard.selectors._evaluation import Scores, score_mixtures, standard_error
from dartboard.selectors._options import Configured, choose, require_at_least, require_one_of

Value = Literal["accuracy", "loss"]
Score = Literal["mean-minus-std", "mean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The published estimate's figures.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    samples: int = 10  # permutations
    batch_size: int = 1024  # validation images for each of them, in one batch; fewer where there are fewer
    value: Value = "accuracy"
    score: Score = "mean-minus-std"
    truncation: float = 0.5  # of the full supernet's accuracy; 0: none
    renormalise: bool = False  # whether what stays on an edge is scaled up to the edge's former sum
    norm: Norm = "batch"  # how batch norm normalises
    exclude_none: bool = True

    def __post_init__(self) -> None:
        require_at_least(self, 1, "samples", "batch_size")
        if not 0 <= self.truncation < 1:
            raise InputError(f"truncation is in [0, 1); got {self.truncation}")
        require_one_of(self, value=get_args(Value), score=get_args(Score), norm=("batch", "running"))


def kept(mixture: Tensor, keep: Tensor, *, renormalise: bool) -> Tensor:
    """`mixture` with what is not kept set to 0.

    Args:
        mixture: (E, O) or (cells, E, O).
        keep: (M, E, O), of 0 and 1.
        renormalise: whether the rest of a row is scaled up to its former sum; a row of which nothing is left stays 0.

    Returns:
        (M, E, O) or (M, cells, E, O).
    """
    masked = mixture * keep.view(len(keep), *[1] * (mixture.dim() - 2), E, O)
    if renormalise:
        left = masked.sum(-1, keepdim=True)
        masked = masked * torch.where(left > 0, mixture.sum(-1, keepdim=True) / left, 0.0)
    return masked


def permutation_marginals(
    order: Sequence[int], evaluate: Callable[[NDArray[np.float64]], Scores], *, value: Value, truncation: float
) -> tuple[NDArray[np.float64], int]:
    """What each player's leaving costs, in one order of leaving.

    Args:
        order: indices of players; those not in it always stay.
        evaluate: the scores of coalitions (M, E·O), of 0 and 1.
        value: what worth is.
        truncation: where to end, as a share of the full accuracy; 0: with the last player.

    Returns:
        The costs (E·O,), 0 for who has not left, and how many have.
    """
    coalitions = np.ones((len(order) + 1, E * O))
    for place, player in enumerate(order, start=1):
        coalitions[place:, player] = 0
    together = 1 if truncation else len(coalitions)  # without an early end, all at once
    marginals, values, least = np.zeros(E * O), [], 0.0
    for start in range(0, len(coalitions), together):
        scores = evaluate(coalitions[start : start + together])
        values += list(scores.accuracy if value == "accuracy" else -scores.loss)
        if not start:
            least = truncation * float(scores.accuracy[0])
        if scores.accuracy[-1] < least:
            break
    marginals[list(order[: len(values) - 1])] = -np.diff(values)
    return marginals, len(values) - 1


class Shapley(Configured[Config]):
    """The operation of the largest Shapley value wins."""

    name: ClassVar[str] = "shapley"
    paper: ClassVar[str] = "Xiao, Wang, Zhu, Zhou, Lu 2022, arXiv:2206.09811"
    knobs: ClassVar[tuple[Knob, ...]] = (
        Knob("batch_size", grows=False),
        Knob("samples"),
    )
    config_class = Config

    def cost(self, data: SelectionData) -> int:
        """The most images that a selection pushes."""
        coalitions = E * O + 1
        return self.config.samples * coalitions * images_in(data.valid, self.config.batch_size, 1)

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; the scores are the estimates, in percent or in nats.

        The notes tell the standard errors of the means over permutations, the deviation not yet taken off.
        """
        config, mixture, root = self.config, trained.searcher.mixture().detach(), split_off(generator)
        images, samples, trace = 0, np.zeros((config.samples, E * O)), []
        left: set[int] = set()
        for index in range(config.samples):
            (batch,) = data.valid.epoch(config.batch_size, stream(root, "images", index), steps=1)

            def evaluate(coalitions: NDArray[np.float64], batch: tuple[Tensor, Tensor] = batch) -> Scores:
                nonlocal images
                keep = torch.from_numpy(coalitions).to(mixture).view(-1, E, O)
                masks = kept(mixture, keep, renormalise=config.renormalise)
                scores = score_mixtures(trained.supernet, masks, [batch], config.norm)
                images += scores.images
                return scores

            order = torch.randperm(E * O, generator=stream(root, "order", index)).tolist()
            samples[index], visited = permutation_marginals(
                order, evaluate, value=config.value, truncation=config.truncation
            )
            left |= set(order[:visited])
            trace.append({"order": order, "visited": visited})
            if data.progress:
                data.progress(index + 1, config.samples)
        deviation = samples.std(0)
        scores = (samples.mean(0) - (deviation if config.score == "mean-minus-std" else 0)).reshape(E, O)
        return Selection(
            cell=choose(scores, exclude_none=config.exclude_none),
            scores=scores,
            trace=tuple(trace),
            images=images,
            notes={
                "cell_with_none": str(choose(scores, exclude_none=False)),
                "standard_error": standard_error(samples.reshape(-1, E, O)),
                "never_left": E * O - len(left),
            },
        )
