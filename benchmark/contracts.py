"""The contracts between the floors: what a searcher is, what it leaves behind, what a selector makes of it.

Searchers and selectors never import each other; they meet here. E = 6 edges, O = 5 operations.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dartboard.benchmark.ground_truth import GroundTruth, Metric
from dartboard.benchmark.images import ImageSplit
from dartboard.benchmark.queries import Queries
from dartboard.benchmark.space import Cell
from dartboard.benchmark.supernet import MixedNetwork, Supernet


class Batch(NamedTuple):
    """Some labelled images."""

    images: Tensor  # (B, 3, H, W), float
    labels: Tensor  # (B,), int64


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What one search step saw, left on the device: nothing here makes the host wait."""

    train_loss: Tensor  # (), mean cross-entropy of the weight half
    valid_loss: Tensor  # (), mean cross-entropy of the architecture half
    train_correct: Tensor  # (), int64, images classified rightly in the weight half
    valid_correct: Tensor  # (), int64
    train_seen: int  # images of the weight half
    valid_seen: int  # images of the architecture half
    images: int  # pushed forward in the step, all passes counted


class Searcher(Protocol):
    """Trains a supernet and its architecture parameters.

    The epoch loop, the batches and the checkpoints belong to the harness:

        for epoch in range(epochs):
            if searcher.finished: break
            searcher.begin_epoch(epoch, generator)
            for train, valid in batches: searcher.step(train, valid)

    `state_dict` holds everything that the next step depends on, the supernet included; a searcher built alike and
    given that state continues bit for bit. A class may have a static `supernet_config(size, config)`, which turns the
    `SupernetConfig` of the grid's size into that of the kind that it trains; without it, the supernet is plain.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    supernet: MixedNetwork
    config: Any

    def mixture(self) -> Tensor:
        """(E, O), or (cells, E, O): today's mixing weights, without noise; each row sums to 1."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the search ended by itself, before its protocol's last epoch; asked between epochs only.

        Asking changes nothing. Once True it stays True, also in a restored copy; a selector may still train on.
        """
        ...

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Set the schedules to `epoch`; every draw of the epoch comes from `generator` (a CPU generator).

        Epochs count from 0. A selector that goes on training continues the count beyond the search's last epoch, where
        a schedule stays at its end.
        """
        ...

    def step(self, train: Batch, valid: Batch) -> StepResult:
        """One full step: weights on `train`, architecture on `valid`, in the protocol's order."""
        ...

    def restart_weight_optimizer(self, learning_rate: float) -> None:
        """From now on train weights with fresh momentum at this constant rate (fine-tuning of a trained supernet)."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything the next step depends on: tensors, numbers and containers of them only."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedSupernet:
    """What a search returns and every selector receives; to be read, and copied before it is changed.

    `searcher` is the finished method itself, so that a criterion which goes on training (DARTS-PT) goes on with the
    very step of the search: `copy.deepcopy(trained.searcher)`.
    """

    searcher: Searcher
    mixture: NDArray[np.float64]  # (E, O), the final mixing weights (their mean, where there is one for each cell)
    trajectory: NDArray[np.float64]  # (epochs, E, O), the mixing weights after each epoch

    @property
    def supernet(self) -> Supernet:
        """The trained network."""
        network = self.searcher.supernet
        assert isinstance(network, Supernet)
        return network


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionData:
    """What a selector may look at: the two halves of the search images; no test image, and no table."""

    train: ImageSplit
    valid: ImageSplit
    batch_size: int
    journal: Journal | None = None
    progress: Callable[[int, int], None] | None = None  # told (done, total) now and then by a long selection
    seed: int | None = None  # of the batches that all criteria see alike; None: each draws from its own generator
    epoch_images: int | None = None  # that an epoch of the search pushed on the average, and of tuning will; if known
    cache: Cache | None = None  # of evaluations that criteria share; None: each computes its own


class Journal(Protocol):
    """A place where a long selection keeps its progress, so that an interrupted one goes on."""

    def load(self) -> dict[str, Any] | None:
        """The last state kept, or None."""
        ...

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep `state` (as of `Searcher.state_dict`) in place of the last one, atomically."""
        ...


Result = TypeVar("Result")


class Cache(Protocol):
    """Evaluations of one trained supernet, kept so that criteria which need the same one compute it once.

    What a criterion reports of its own cost (images, gradients) is what it would have been alone.
    """

    @property
    def network(self) -> nn.Module:
        """The trained supernet; nothing is kept of any other network."""
        ...

    def kept(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """What `compute` gave for this key the first time; nobody may write to it.

        The key tells all that the result depends on: the data, the masks, batch norm's mode, the state of the weights.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A selector's answer, with what it took to find."""

    cell: Cell
    scores: NDArray[np.float64] | None = None  # (E, O), larger = keep; None where the criterion has none
    trace: tuple[Mapping[str, Any], ...] = ()  # one entry for each decision, in order; JSON values only
    images: int = 0  # images pushed forward, gradient passes included
    gradient_images: int = 0  # images of which a gradient was taken
    notes: Mapping[str, Any] = field(default_factory=dict)  # further JSON values worth keeping


class Selector(Protocol):
    """Chooses a cell from a trained supernet, which it leaves as it was, like the global random state."""

    name: ClassVar[str]
    paper: ClassVar[str]
    control: ClassVar[str | None]  # None: a criterion; "blind": a control
    config: Any

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator, /) -> Selection:
        """The cell, every draw taken from `generator` (a CPU generator)."""
        ...


class Yardstick(Protocol):
    """A control that reads the table and sees no supernet: a bound to hold selections against, not a selection."""

    name: ClassVar[str]
    paper: ClassVar[str]
    control: ClassVar[str | None]  # "truth"
    config: Any

    def choose(self, truth: GroundTruth, metric: Metric) -> Selection:
        """The cell, given the whole table and the metric that runs are scored by."""
        ...


class QuerySearch(Protocol):
    """A search that shares no weights: it trains single cells, and its cost is their number.

    It is never ranked with methods that train one supernet: a budget of some hundred trained cells buys other things.
    Its class takes a configuration alone, which has a `budget`.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    config: Any

    def search(self, queries: Queries, generator: torch.Generator) -> Selection:
        """The best cell found by asking for the accuracy of cells, and the trace of `queries`.

        Every draw is taken from `generator` (a CPU generator); the global random state stays as it is.
        """
        ...
