"""Discretisation accuracy: how well the supernet does with an operation alone on its edge, after tuning to it.

R. Wang, M. Cheng, X. Chen, X. Tang, C.-J. Hsieh, "Rethinking Architecture Selection in Differentiable NAS", ICLR 2021,
arXiv:2108.04392, "discretization accuracy at convergence": there, the yardstick of an operation's strength. For each
edge and operation by itself,

    row e of the mixture becomes one-hot(o);  the search goes on for `epochs` at a small constant rate;
    s[e, o] = validation accuracy of what results,    o_e = argmax_o s[e, o]

Differences from the paper: there, the network is tuned until it converges, on a few edges picked at random; here for
`epochs` on every edge (`epochs=0`: not at all), with the search's own step, and each of the E·O tunings sees the same
batches. It costs E·O·`epochs` epochs.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import derive, split_off, stream
from dartboard.selectors._budget import Knob, epoch_images, valid_images
from dartboard.selectors._evaluation import score_mixtures, shared_batches
from dartboard.selectors._options import Configured, Judges, choose, require_at_least, require_positive
from dartboard.selectors._tuning import Tuning


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Judges):
    """How long each operation is tuned to, and what is measured then.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    epochs: int = 5  # of tuning for each edge and operation
    learning_rate: float = 0.0025  # of the weights, constant

    def __post_init__(self) -> None:
        Judges.__post_init__(self)
        require_at_least(self, 0, "epochs")
        require_positive(self, "learning_rate")


class DiscretisationAccuracy(Configured[Config]):
    """The operation that the tuned supernet does best with alone wins."""

    name: ClassVar[str] = "discretisation-accuracy"
    paper: ClassVar[str] = "Wang, Cheng, Chen, Tang, Hsieh 2021, arXiv:2108.04392"
    knobs: ClassVar[tuple[Knob, ...]] = (
        Knob("epochs", least=0, grows=False),
        Knob("batches"),
    )
    equivariant: ClassVar[bool] = True  # operations under other names: the same answer under these
    config_class = Config

    def cost(self, data: SelectionData) -> int:
        """The most images that a selection pushes."""
        config = self.config
        return E * O * (config.epochs * epoch_images(data) + valid_images(data, config.batches))

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; the scores are accuracies in percent, or minus the loss."""
        config, root = self.config, split_off(generator)
        kept = data.journal.load() if data.journal else None
        done: dict[str, Any] = {"accuracy": [], "loss": [], "images": 0, "gradient_images": 0}
        if kept is not None:
            done = copy.deepcopy(dict(kept))
        for index in range(len(done["loss"]), E * O):
            self._judge(trained, data, root, *divmod(index, O), done)
            if data.progress:
                data.progress(index + 1, E * O)
            if data.journal and config.epochs:
                data.journal.save(done)
        accuracy, loss = (np.array(done[name]).reshape(E, O) for name in ("accuracy", "loss"))
        scores = accuracy if config.criterion == "accuracy" else -loss
        return Selection(
            cell=choose(scores, exclude_none=config.exclude_none),
            scores=scores,
            images=done["images"],
            gradient_images=done["gradient_images"],
            notes={"accuracy": accuracy.tolist(), "loss": loss.tolist()},
        )

    def _judge(
        self, trained: TrainedSupernet, data: SelectionData, root: int, edge: int, operation: int, done: dict[str, Any]
    ) -> None:
        """Tune a copy to `operation` alone on `edge`, measure it, and write down what came of it."""
        config, tuning = self.config, Tuning.of(trained, self.config.learning_rate)
        tuning.network.settle(edge, operation)
        for epoch in range(config.epochs):
            images = tuning.epoch(data, epoch, derive(root, "tune"))
            done["images"] += images
            done["gradient_images"] += images
        batches = shared_batches(data, stream(root, "images"), steps=config.batches)
        scores = score_mixtures(tuning.network.network, tuning.mixture()[None], batches, config.norm)
        done["images"] += scores.images
        done["accuracy"].append(float(scores.accuracy[0]))
        done["loss"].append(float(scores.loss[0]))
