"""One discrete cell from scratch, by the benchmark's recipe: so that ground truth can be checked, not only believed.

X. Dong, Y. Yang, "NAS-Bench-201", ICLR 2020, arXiv:2001.00326, section 2.2: SGD with Nesterov momentum 0.9, weight
decay 5e-4, learning rate 0.1 going to 0 by a cosine over the epochs, batch 256, random flip and crop, C = 16, N = 5.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.image_halves import search_halves, whole_split
from dartboard.benchmark.image_sets import ImageSet
from dartboard.benchmark.images import ImageSplit
from dartboard.benchmark.layers import count_weights
from dartboard.benchmark.reference import Network
from dartboard.benchmark.space import Cell
from dartboard.benchmark.streams import stream
from dartboard.benchmark.supernet import SupernetConfig
from dartboard.harness.checkpoints import fitting, load_state, save_state
from dartboard.searchers._training import cosine


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a cell is trained; the defaults are the benchmark's, but for the number of epochs (there 12 or 200).

    Raises:
        InputError: when a number is out of range.
    """

    epochs: int = 12
    batch_size: int = 256
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    channels: int = 16
    cells_per_stage: int = 5
    image_size: int | None = None  # None: as the data set has it
    train_images: int | None = None  # only the first so many; None: all
    evaluate_on: Literal["test", "valid"] = "test"  # test: train on all training images; valid: on their first half

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is at least 1; got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate is greater than 0; got {self.learning_rate}")
        if self.evaluate_on not in ("test", "valid"):
            raise InputError(f"evaluate_on is test or valid; got {self.evaluate_on!r}")
        if self.evaluate_on == "test" and self.train_images is not None:
            raise InputError(
                "train_images goes with evaluate_on valid: the benchmark's test accuracy trains on all images"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedCell:
    """What came of it."""

    accuracy: float  # percent, on the images that were held out
    loss: float  # mean cross-entropy on them
    train_accuracy: float  # percent, over the last epoch, augmented, while it was trained
    parameters: int
    seconds: float  # of training, over all sittings


def train_cell(
    cell: Cell,
    images: ImageSet,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path,
    progress: Callable[[int, int, str], None],
) -> TrainedCell:
    """Train `cell` on `images`; an interrupted training goes on from `checkpoint`.

    Args:
        cell: the architecture.
        images: where to train and to measure.
        recipe: how.
        seed: of the initial weights, the batches and the crops.
        device: where.
        checkpoint: a file to keep the state in after each epoch.
        progress: told (steps done, steps in all, what came of the last epoch).

    Raises:
        InputError: when the data set lacks the images asked for.
        FloatingPointError: when the training diverges.
    """
    train, held_out = _splits(images, recipe, device)
    config = SupernetConfig(
        channels=recipe.channels, cells_per_stage=recipe.cells_per_stage, num_classes=images.num_classes
    )
    network = Network(cell, config, generator=stream(seed, "cell")).to(device)
    sgd = torch.optim.SGD(
        network.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )
    state: dict[str, Any] = {"epoch": 0, "seconds": 0.0, "train_accuracy": 0.0}
    remedy = "remove it, and the same command begins anew"
    kept = load_state(checkpoint, device, remedy=remedy)
    if kept is not None:
        with fitting(checkpoint, "train-cell", remedy=remedy):
            network.load_state_dict(kept["network"])
            sgd.load_state_dict(kept["sgd"])
            state = {name: kept[name] for name in state}
    steps = train.steps(recipe.batch_size)
    for epoch in range(state["epoch"], recipe.epochs):
        started = time.perf_counter()
        sgd.param_groups[0]["lr"] = cosine(epoch, recipe.epochs, recipe.learning_rate, 0.0)
        seen, losses, correct = 0, [], []
        for step, (batch, labels) in enumerate(train.epoch(recipe.batch_size, stream(seed, "train", epoch)), start=1):
            logits = network(batch)
            loss = F.cross_entropy(logits, labels)
            sgd.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            sgd.step()
            seen += len(labels)
            losses.append(loss.detach())
            correct.append((logits.detach().argmax(-1) == labels).sum())
            progress(epoch * steps + step, recipe.epochs * steps, "")
        if not bool(torch.stack(losses).isfinite().all()):
            raise FloatingPointError(f"the training diverged in epoch {epoch + 1}: lower the learning rate")
        state["epoch"] = epoch + 1
        state["seconds"] += time.perf_counter() - started
        state["train_accuracy"] = 100 * int(torch.stack(correct).sum()) / seen
        save_state(checkpoint, {**state, "network": network.state_dict(), "sgd": sgd.state_dict()})
        note = f"epoch {epoch + 1}/{recipe.epochs}: training accuracy {state['train_accuracy']:.2f} %"
        progress((epoch + 1) * steps, recipe.epochs * steps, note)
    accuracy, mean_loss = measure(network, held_out, recipe.batch_size)
    return TrainedCell(
        accuracy=accuracy,
        loss=mean_loss,
        train_accuracy=state["train_accuracy"],
        parameters=count_weights(network),
        seconds=state["seconds"],
    )


@torch.no_grad()
def measure(network: Network, images: ImageSplit, batch_size: int) -> tuple[float, float]:
    """Accuracy in percent and mean cross-entropy, by the running statistics, without augmentation."""
    correct = torch.zeros((), dtype=torch.int64, device=images.device)
    loss = torch.zeros((), device=images.device)
    for batch, labels in images.in_order(batch_size):
        logits = network(batch, "running")
        correct += (logits.argmax(-1) == labels).sum()
        loss += F.cross_entropy(logits, labels, reduction="sum")
    return 100 * int(correct) / len(images), float(loss) / len(images)


def _splits(images: ImageSet, recipe: Recipe, device: torch.device) -> tuple[ImageSplit, ImageSplit]:
    if recipe.evaluate_on == "test":
        size = recipe.image_size
        return (
            whole_split(images, "train", image_size=size, device=device),
            whole_split(images, "test", image_size=size, device=device),
        )
    return search_halves(images, train_images=recipe.train_images, image_size=recipe.image_size, device=device)
