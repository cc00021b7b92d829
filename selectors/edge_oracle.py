"""Control: edge by edge the operation that is truly the strongest: what greed over edges can reach at best.

From the table's own metric, the strength of operation o on edge e is

    strength="average"  the mean accuracy of all cells with o on e
    strength="best"     the accuracy of the best of them

and each edge takes its strongest. The distance from `oracle` is what choosing edge by edge costs by itself, whatever
the criterion: `average` is the main effect, which knows of no interaction between edges. `best` gives the best cell
(only ties between cells could make it another).

It is a yardstick, not a selection: it reads the table and sees no supernet, as selectors see a supernet and no table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from dartboard.benchmark.contracts import Selection
from dartboard.benchmark.ground_truth import GroundTruth, Metric
from dartboard.benchmark.space import SPACE_SIZE
from dartboard.benchmark.strength import average_strength, best_strength, grid
from dartboard.selectors._options import Configured, choose, require_one_of

Strength = Literal["average", "best"]

MEASURES = {"average": average_strength, "best": best_strength}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What strength is.

    Raises:
        InputError: when it is not one of its choices.
    """

    strength: Strength = "average"

    def __post_init__(self) -> None:
        require_one_of(self, strength=get_args(Strength))


class EdgeOracle(Configured[Config]):
    """The truly strongest operation of each edge."""

    name: ClassVar[str] = "edge-oracle"
    paper: ClassVar[str] = "control"
    control: ClassVar[str | None] = "truth"
    config_class = Config

    def choose(self, truth: GroundTruth, metric: Metric) -> Selection:
        """See `Yardstick.choose`; the scores are the strengths, in percent."""
        scores = MEASURES[self.config.strength](grid(truth.lookup(np.arange(SPACE_SIZE), metric)))
        return Selection(cell=choose(scores, exclude_none=False), scores=scores, notes={"metric": str(metric)})
