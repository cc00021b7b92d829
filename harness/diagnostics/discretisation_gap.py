"""What is lost when the mixture becomes the argmax cell: the discretisation gap, and how much of it comes back.

R. Wang, M. Cheng, X. Chen, X. Tang, C.-J. Hsieh, ICLR 2021, arXiv:2108.04392, and A. Zela et al., ICLR 2020,
arXiv:1909.09656: the supernet's accuracy falls when its mixture is made one-hot. With a(p) the accuracy of the trained
supernet under the mixture p on the whole validation half and x the argmax cell,

    gap = a(p) - a(one-hot(x))                          batch norm by the batch in both
    gap_re_estimated = a(p) - a(one-hot(x))             batch norm by its mean statistics over `recalibration` training
                                                        batches under the cell (Guo et al. 2020, arXiv:1904.00420)
    gap_tuned_k = a(p) - a(one-hot(x); weights tuned for k epochs)        k = 1 and `epochs`, batch norm by the batch

in percentage points. Tuning goes on with the search's own step at a small constant rate and fresh momentum, on a copy
of which every edge is settled, as DARTS-PT tunes. A gap that one epoch closes says little of the cell; one that stays
says that the weights were never ready for it. `tied` edges have several largest weights, of which the first operation
is taken: where all are (a uniform mixture), the cell is a convention, and so is its gap.

Differences from the papers: they report the first gap; the rates and lengths of tuning are DARTS-PT's.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dartboard.benchmark.layers import Norm
from dartboard.benchmark.space import Cell
from dartboard.benchmark.streams import derive
from dartboard.benchmark.supernet import MixedNetwork
from dartboard.harness.diagnostics._subject import Measurement, Subject
from dartboard.selectors._evaluation import score_mixtures
from dartboard.selectors._options import require_at_least, require_positive
from dartboard.selectors._tuning import Tuning
from dartboard.selectors.one_shot_best import re_estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How long and fast the cell is tuned, and on what its statistics are taken.

    Raises:
        InputError: when one is out of range.
    """

    epochs: int = 5  # of tuning
    learning_rate: float = 0.0025  # of the weights, constant
    recalibration: int = 20  # training batches

    def __post_init__(self) -> None:
        require_at_least(self, 1, "epochs", "recalibration")
        require_positive(self, "learning_rate")


def measure(subject: Subject, config: Config) -> Measurement:
    """Of the trained supernet; an interrupted tuning goes on from its last epoch."""
    trained, data = subject.trained, subject.data
    mixture = subject.mixture()
    cell = Cell.from_scores(trained.mixture)
    one_hot = torch.from_numpy(cell.one_hot()).to(mixture)
    kept = data.journal.load() if data.journal else None
    state: dict[str, Any] = {"epoch": 0, "images": 0, "gradient_images": 0, "values": {}}
    if kept is not None:
        state = copy.deepcopy({name: kept[name] for name in state})
    values = state["values"]

    def score(name: str, network: MixedNetwork, weights: Tensor, norm: Norm) -> None:
        scores = score_mixtures(network, weights[None], data.valid.in_order(data.batch_size), norm)
        values[f"accuracy_{name}"], values[f"loss_{name}"] = float(scores.accuracy[0]), float(scores.loss[0])
        state["images"] += scores.images

    if kept is None:
        values["cell"] = str(cell)
        values["tied"] = int(((trained.mixture == trained.mixture.max(1, keepdims=True)).sum(1) > 1).sum())
        score("mixture", trained.supernet, mixture, "batch")
        score("cell", trained.supernet, one_hot, "batch")
        anew = copy.deepcopy(trained.supernet)
        images = config.recalibration * data.batch_size
        batches = subject.batches(data.train, images, "statistics")
        re_estimate(anew, one_hot, batches)
        state["images"] += sum(len(labels) for _, labels in batches)
        score("re_estimated", anew, one_hot, "running")

    tuning = Tuning.of(trained, config.learning_rate)
    searcher, network = tuning.searcher, tuning.network
    for edge, operation in enumerate(cell.operations):
        network.settle(edge, operation)
    if kept is not None:
        searcher.load_state_dict(kept["searcher"])
    for epoch in range(state["epoch"], config.epochs):
        images = tuning.epoch(data, epoch, derive(subject.root, "tune"))
        state["images"] += images
        state["gradient_images"] += images
        state["epoch"] = epoch + 1
        if epoch + 1 in (1, config.epochs):
            score(f"tuned_{epoch + 1}", network.network, one_hot, "batch")
        if data.progress:
            data.progress(epoch + 1, config.epochs)
        if data.journal:
            data.journal.save({**state, "searcher": searcher.state_dict()})
    for name in ("cell", "re_estimated", "tuned_1", f"tuned_{config.epochs}"):
        values["gap" if name == "cell" else f"gap_{name}"] = values["accuracy_mixture"] - values[f"accuracy_{name}"]
    return Measurement(values, state["images"], state["gradient_images"])
