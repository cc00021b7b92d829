"""IS-DARTS: operations are removed by how steeply their outputs' channels are distributed.

H. He, L. Liu, H. Zhang, N. Zheng, "IS-DARTS: stabilizing DARTS through precise measurement on candidate importance",
AAAI 2024, arXiv:2312.12648, and its code. With y the output of an operation, μ and σ the mean and (unbiased) deviation
over the C channels at one position of one image, the information-based importance measure is

    IIM = mean_{images, positions, channels} 3(y - μ)²/σ⁶ = 3(C - 1)/C · mean_{images, positions} σ⁻⁴

averaged over the cells; the second form holds since Σ_c (y - μ)² = (C - 1)σ². Of each edge the operation of the
*largest* IIM is removed, `none` (σ = 0) first, then the scores are taken again, until one is left.

    measure="iim"        as above: it is the smallest variance anywhere that decides
    measure="variance"   its ablation: -mean σ² in place of IIM, so that the smallest mean variance goes
    schedule="gradual"   scores are taken again after each round of removals; "once": the first scores decide

Differences from the paper: there, the supernet has no mixing weights and trains for two epochs between removals; here
they are the searcher's, and nothing is trained. A removed operation leaves the others' weights as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.layers import Norm
from dartboard.benchmark.space import NONE, Cell, E, O
from dartboard.benchmark.streams import split_off
from dartboard.benchmark.supernet import SearchCell
from dartboard.selectors._budget import Knob, images_in
from dartboard.selectors._evaluation import own_batches
from dartboard.selectors._operations import observed
from dartboard.selectors._options import Configured, require_at_least, require_one_of

Measure = Literal["iim", "variance"]
Schedule = Literal["gradual", "once"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is measured, how often, and on which images.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    measure: Measure = "iim"
    schedule: Schedule = "gradual"
    norm: Norm = "batch"  # how batch norm normalises
    batches: int | None = None  # of the weights' half, for each round; None: all

    def __post_init__(self) -> None:
        require_at_least(self, 1, "batches")
        require_one_of(self, measure=get_args(Measure), schedule=get_args(Schedule), norm=("batch", "running"))


def importance(output: Tensor, measure: Measure) -> Tensor:
    """(): the IIM of an output (B, C, H, W), or minus its mean variance over the channels; in float64."""
    variance = output.double().var(1)  # (B, H, W)
    if measure == "variance":
        return -variance.mean()
    channels = output.shape[1]
    scaled: Tensor = variance.pow(-2).mean() * (3 * (channels - 1) / channels)
    return scaled


class IsDarts(Configured[Config]):
    """The operation that outlives the others wins."""

    name: ClassVar[str] = "is-darts"
    paper: ClassVar[str] = "He, Liu, Zhang, Zheng 2024, arXiv:2312.12648"
    knobs: ClassVar[tuple[Knob, ...]] = (Knob("batches"),)
    config_class = Config

    def cost(self, data: SelectionData) -> int:
        """The most images that a selection pushes."""
        rounds = O - 2 if self.config.schedule == "gradual" else 1
        return rounds * images_in(data.train, data.batch_size, self.config.batches)

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; a score is the round in which an operation was removed, the last one's the largest.

        The notes keep the first measurement, `none` left out.
        """
        config, root, images = self.config, split_off(generator), 0
        mixture = trained.searcher.mixture().detach().clone()
        scores, present = np.zeros((E, O)), np.ones((E, O), dtype=bool)
        present[:, NONE] = False
        measured = first = np.zeros((E, O))
        for left in range(O - 1, 1, -1):  # 4, 3, 2 are left of an edge
            if config.schedule == "gradual" or left == O - 1:
                batches = own_batches(data.train, data.batch_size, root, left, steps=config.batches)
                measured, seen = self._measure(trained, mixture, batches)
                images += seen
                first = measured if left == O - 1 else first
            gone = np.where(present, measured, -np.inf).argmax(1)
            for edge, operation in enumerate(gone):
                mixture[..., edge, operation] = 0
                present[edge, operation] = False
                scores[edge, operation] = O - left
            if data.progress:
                data.progress(O - left, O - 2)
        scores[present] = O - 1
        told = [[float(x) for o, x in enumerate(row) if o != NONE] for row in first]
        return Selection(cell=Cell.from_scores(scores), scores=scores, images=images, notes={config.measure: told})

    def _measure(
        self, trained: TrainedSupernet, mixture: Tensor, batches: Iterator[tuple[Tensor, Tensor]]
    ) -> tuple[NDArray[np.float64], int]:
        """The measure of each operation (E, O), 0 for `none`, and how many images were pushed for it."""
        config, seen, size = self.config, 0, 0
        total = mixture.new_zeros(E, O, dtype=torch.float64)

        def watch(_cell: int, edge: int, operation: int, output: Tensor) -> Tensor:
            total[edge, operation] += size * importance(output, config.measure)
            return output

        if any(block.channels == 1 for block in trained.supernet.blocks if isinstance(block, SearchCell)):
            raise ValueError("is-darts compares channels, and in this supernet an operation has a single one")
        network = observed(trained.supernet, watch)
        with torch.no_grad():
            for images, _ in batches:
                size = len(images)
                seen += size
                network(images, mixture, config.norm)
        values = (total / (seen * network.config.cells)).cpu().numpy()
        if not np.isfinite(values).all():
            raise ValueError(
                f"an operation's channels do not vary, or hold NaN, which ranks nothing: {values.tolist()}"
            )
        return values, seen
