"""Control: the best cell of the table, by validation accuracy: what perfect knowledge of the space would choose.

It is handed the table without any test column (`GroundTruth.for_selection`), so even this ceiling is not chosen by the
accuracy that is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Nothing to set."""


class Oracle:
    """The table's best cell."""

    name: ClassVar[str] = "oracle"
    paper: ClassVar[str] = "control"
    control: ClassVar[str | None] = "truth"
    config_class = Config

    def __init__(self, config: Config) -> None:
        self.config = config

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:  # noqa: ARG002  (asks the table)
        """See `Selector.select`.

        Raises:
            ValueError: when no table was handed over.
        """
        if data.truth is None:
            raise ValueError("the oracle needs the table: it is a control that declares control = 'truth'")
        metric = data.truth.default_metric()
        return Selection(cell=data.truth.best(metric), notes={"metric": str(metric)})
