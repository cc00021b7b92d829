"""OLES similarity: how far an operation's weights are pulled the same way by training and validation images.

S. Jiang, Z. Ji, G. Zhu, C. Yuan, Y. Huang, "Operation-level early stopping for robustifying differentiable NAS",
NeurIPS 2023, and its code. With g the gradient of an operation's weights (C, C, k, k) in one cell, on a batch of either
half, the similarity is the cosine over the first dimension, averaged over the others, the cells and the batches:

    s[e, o] = mean_{batches, cells, places} cos(g_train, g_valid)

A small one says that the operation overfits; where its running mean over 20 steps falls below 0.4, the paper trains
its weights no more. Here it is a criterion of choice: the most similar operation is kept.

    cosine="channels"  as above; "whole": the cosine of all the weights of an operation in a cell at once
    accumulated=False  the two gradients apart; True: as in the code, where the training gradient (clipped to length 5)
                       is still in place when the validation gradient is added to it: g_train + g_valid for g_valid

Differences from the paper, of which the code was read and not the text: both gradients are taken at the same, final
weights, and an operation's similarities in the cells are averaged, not compared one by one. An operation without
weights (`none`, `skip`, `pool`) cannot overfit and has no similarity; it gets -1 and never wins, which makes it a
criterion between convolutions only, as `snip-weights`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.layers import Norm
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import split_off, stream
from dartboard.selectors._budget import Knob, images_in, valid_images
from dartboard.selectors._evaluation import shared_batches, standard_error
from dartboard.selectors._gradients import SupernetLoss, gates
from dartboard.selectors._operations import by_operation
from dartboard.selectors._options import Configured, choose, require_at_least, require_one_of

Cosine = Literal["channels", "whole"]

CLIP = 5.0  # of the published code's weight step


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is compared, and on how many batches.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    cosine: Cosine = "channels"
    accumulated: bool = False  # whether the validation gradient still holds the training gradient
    norm: Norm = "batch"  # how batch norm normalises
    batches: int = 20  # of each half

    def __post_init__(self) -> None:
        require_at_least(self, 1, "batches")
        require_one_of(self, cosine=get_args(Cosine), norm=("batch", "running"))


def similarity(one: Tensor, other: Tensor, cosine: Cosine) -> Tensor:
    """(): the cosine of two gradients (C, ...); where one of them is 0, it is 0."""
    if cosine == "whole":
        one, other = one.flatten(), other.flatten()
    tiny = torch.finfo(one.dtype).tiny
    mean: Tensor = (F.normalize(one, dim=0, eps=tiny) * F.normalize(other, dim=0, eps=tiny)).sum(0).mean()
    return mean


class OlesSimilarity(Configured[Config]):
    """The convolution whose training and validation gradients agree most wins."""

    name: ClassVar[str] = "oles-similarity"
    paper: ClassVar[str] = "after Jiang, Ji, Zhu, Yuan, Huang 2023 (NeurIPS)"
    knobs: ClassVar[tuple[Knob, ...]] = (Knob("batches"),)
    config_class = Config

    def cost(self, data: SelectionData) -> int:
        """The most images that a selection pushes."""
        train = images_in(data.train, data.batch_size, self.config.batches)
        return train + valid_images(data, self.config.batches)

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; the scores are cosines, and the notes tell their standard errors over the batches."""
        config, root, network = self.config, split_off(generator), trained.supernet
        loss = SupernetLoss(network, gates(trained.searcher.mixture().detach()), config.norm, data.cache)
        train = shared_batches(data, stream(root, "train"), steps=config.batches, half="train")
        valid = shared_batches(data, stream(root, "valid"), steps=config.batches)
        each = torch.zeros(config.batches, E, O, dtype=torch.float64, device=loss.theta.device)
        for cosines, training, validation in zip(each, train, valid, strict=True):
            one, other = loss.gradient([training])[0], loss.gradient([validation])[0]
            if config.accumulated:
                one = one * (CLIP / one.norm()).clamp(max=1)
                other = one + other
            pairs = zip(by_operation(network, loss.named(one)), by_operation(network, loss.named(other)), strict=True)
            for (edge, operation, left), (_, _, right) in pairs:
                cosines[edge, operation] += similarity(left, right, config.cosine) / network.config.cells
        free = torch.ones(E, O, dtype=torch.bool)
        for edge, operation, _ in by_operation(network, loss.named(loss.theta)):
            free[edge, operation] = False
        scores = each.mean(0).cpu().masked_fill(free, -1.0).numpy()
        return Selection(
            cell=choose(scores, exclude_none=True),
            scores=scores,
            images=loss.images,
            gradient_images=loss.images,
            notes={"standard_error": standard_error(each.cpu().numpy())},
        )
