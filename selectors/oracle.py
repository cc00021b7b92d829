"""Control: the best cell of the table by the very metric that is reported: the ceiling, with a regret of 0.

It is a yardstick, not a selection: it reads the table and sees no supernet, as selectors see a supernet and no table.
"""

from __future__ import annotations

from typing import ClassVar

from dartboard.benchmark.contracts import Selection
from dartboard.benchmark.ground_truth import GroundTruth, Metric
from dartboard.selectors._options import Configured, Nothing

Config = Nothing


class Oracle(Configured[Config]):
    """The table's best cell."""

    name: ClassVar[str] = "oracle"
    paper: ClassVar[str] = "control"
    control: ClassVar[str | None] = "truth"
    config_class = Config

    def choose(self, truth: GroundTruth, metric: Metric) -> Selection:
        """See `Yardstick.choose`."""
        return Selection(cell=truth.best(metric), notes={"metric": str(metric)})
