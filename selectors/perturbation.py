"""Perturbation-based selection, DARTS-PT.

R. Wang, M. Cheng, X. Chen, X. Tang, C.-J. Hsieh, "Rethinking Architecture Selection in Differentiable NAS", ICLR 2021,
arXiv:2108.04392, Algorithm 1, as its authors run it on NAS-Bench-201. With T = interval · (E - 1) epochs, before
epoch t = 0, interval, 2·interval, ... and T - 1:

    pick an edge e at random among those that still mix
    a_o = validation accuracy with the mixing weight of operation o on e set to 0, for each o
    e keeps argmin_o a_o: the operation whose removal hurts most; its row of the mixture becomes one-hot

and every epoch trains weights and architecture on, with the search's own step, at a small constant learning rate.
`interval=0` projects all edges one after the other without training.

Differences from the published code: the O accuracies of an edge are taken on the same batches and crops
(`same_batches`), so that they differ by the mask alone; batch norm normalises by the batch as there, but the running
statistics do not learn from masked networks. `criterion="magnitude"` is the paper's ablation DARTS+PT-Mag, the same
loop with the largest mixing weight in place of the perturbation.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.space import OPERATIONS, Cell, E, O
from dartboard.benchmark.streams import derive, split_off, stream
from dartboard.benchmark.supernet import MixedNetwork
from dartboard.selectors._budget import Knob, epoch_images, valid_images
from dartboard.selectors._evaluation import own_batches, score_mixtures, without_each
from dartboard.selectors._options import (
    Configured,
    Looks,
    require_at_least,
    require_one_of,
    require_positive,
    strongest,
)
from dartboard.selectors._settling import EdgeOrder, edge_order
from dartboard.selectors._tuning import Projected, Tuning

Criterion = Literal["accuracy", "loss", "magnitude"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Looks):
    """The published procedure's figures.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    criterion: Criterion = "accuracy"
    interval: int = 5  # epochs of training between projections; 0: none at all
    learning_rate: float = 0.0025  # of the weights, constant
    edge_order: EdgeOrder = "random"
    renormalise: bool = False  # whether a masked row is scaled up to sum 1 again
    same_batches: bool = True  # whether the masks of an edge see the same batches and crops

    def __post_init__(self) -> None:
        Looks.__post_init__(self)
        require_at_least(self, 0, "interval")
        require_positive(self, "learning_rate")
        require_one_of(self, criterion=get_args(Criterion), edge_order=get_args(EdgeOrder))


def projection_epochs(interval: int) -> dict[int, int]:
    """For each epoch before which edges are projected, how many: {0: 1, 5: 1, ..., 20: 1, 24: 1} for interval 5."""
    if interval == 0:
        return {0: E}
    last = interval * (E - 1) - 1
    due = [*range(0, last + 1, interval), last]
    return {epoch: due.count(epoch) for epoch in due}


class Perturbation(Configured[Config]):
    """DARTS-PT and its ablations."""

    name: ClassVar[str] = "perturbation"
    paper: ClassVar[str] = "Wang, Cheng, Chen, Tang, Hsieh 2021, arXiv:2108.04392"
    knobs: ClassVar[tuple[Knob, ...]] = (
        Knob("interval", least=0, grows=False),
        Knob("batches"),
    )
    equivariant: ClassVar[bool] = True  # operations under other names: the same answer under these
    config_class = Config

    def cost(self, data: SelectionData) -> int:
        """The most images that a selection pushes."""
        config = self.config
        masks = 0 if config.criterion == "magnitude" else E * O * valid_images(data, config.batches)
        return config.interval * (E - 1) * epoch_images(data) + masks + len(data.valid)

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; an edge's scores are those of its own turn, larger where removal hurts more."""
        config, root = self.config, split_off(generator)
        tuning = Tuning.of(trained, config.learning_rate)
        searcher, network = tuning.searcher, tuning.network
        order = edge_order(config.edge_order, stream(root, "edges"))
        schedule, epochs = projection_epochs(config.interval), max(1, config.interval * (E - 1))

        progress = _Progress()
        kept = data.journal.load() if data.journal else None
        if kept is not None:
            progress = _Progress.read(kept)
            searcher.load_state_dict(kept["searcher"])
        for epoch in range(progress.epoch, epochs):
            for _ in range(schedule.get(epoch, 0)):
                self._project(order[len(progress.trace)], network, tuning.mixture(), data, root, progress)
            if config.interval:
                images = tuning.epoch(data, epoch, derive(root, "tune"))
                progress.images += images
                progress.gradient_images += images
            progress.epoch = epoch + 1
            if data.progress:
                data.progress(progress.epoch, epochs)
            if data.journal and config.interval:
                data.journal.save({**progress.state(), "searcher": searcher.state_dict()})
        final = score_mixtures(
            network.network, network.one_hot[None], data.valid.in_order(data.batch_size), norm="running"
        )
        return Selection(
            cell=Cell.from_scores(network.one_hot.double().cpu().numpy()),
            scores=np.array(progress.scores),
            trace=tuple(progress.trace),
            images=progress.images + final.images,
            gradient_images=progress.gradient_images,
            notes={"discrete_valid_accuracy": float(final.accuracy[0]), "discrete_valid_loss": float(final.loss[0])},
        )

    def _project(
        self,
        edge: int,
        network: Projected,
        mixture: Tensor,
        data: SelectionData,
        root: int,
        progress: _Progress,
    ) -> None:
        """Settle `edge` of today's `mixture`, and write down why."""
        entry: dict[str, Any] = {"edge": edge, "epoch": progress.epoch}
        if self.config.criterion == "magnitude":
            rows = mixture if mixture.dim() == 2 else mixture.mean(0)
            scores = rows[edge].double().cpu().numpy()
        else:
            masks = without_each(mixture, edge, renormalise=self.config.renormalise)
            accuracy, loss = self._score(network.network, masks, data, derive(root, "masks", edge), progress)
            scores = -accuracy if self.config.criterion == "accuracy" else loss
            entry |= {"accuracy_without": accuracy.tolist(), "loss_without": loss.tolist()}
        operation = strongest(scores, exclude_none=self.config.exclude_none)
        network.settle(edge, operation)
        progress.scores[edge] = scores.tolist()
        progress.trace.append(entry | {"operation": OPERATIONS[operation]})

    def _score(
        self, network: MixedNetwork, masks: Tensor, data: SelectionData, seed: int, progress: _Progress
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Accuracy (O,) in percent and loss (O,) under each mask."""
        groups = [masks] if self.config.same_batches else [mask[None] for mask in masks]
        parts = []
        for index, group in enumerate(groups):
            batches = own_batches(data.valid, data.batch_size, seed, index, steps=self.config.batches)
            parts.append(score_mixtures(network, group, batches, self.config.norm))
        progress.images += sum(part.images for part in parts)
        return np.concatenate([part.accuracy for part in parts]), np.concatenate([part.loss for part in parts])


class _Progress:
    """How far a selection is: what the journal keeps beside the searcher's state."""

    def __init__(self) -> None:
        self.epoch = 0
        self.images = 0
        self.gradient_images = 0
        self.scores: list[list[float]] = [[0.0] * O for _ in range(E)]
        self.trace: list[dict[str, Any]] = []

    def state(self) -> dict[str, Any]:
        """As plain containers."""
        return dict(vars(self))

    @classmethod
    def read(cls, state: Mapping[str, Any]) -> _Progress:
        """The inverse of `state`."""
        progress = cls()
        for name in vars(progress):
            setattr(progress, name, copy.deepcopy(state[name]))
        return progress
