"""What criteria share: the score of several mixtures on the same images. Not a criterion itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dartboard.benchmark.supernet import MixedNetwork, Norm, Supernet
from dartboard.selectors._passes import Passes


class Scores(NamedTuple):
    """How M mixtures did."""

    accuracy: NDArray[np.float64]  # (M,), percent
    loss: NDArray[np.float64]  # (M,), mean cross-entropy
    images: int  # pushed forward, over all mixtures


@torch.no_grad()
def score_mixtures(
    network: MixedNetwork, mixtures: Tensor, batches: Iterable[tuple[Tensor, Tensor]], norm: Norm
) -> Scores:
    """Score each of `mixtures` (M, E, O) or (M, cells, E, O) on the same batches.

    The host waits once at the end, and at the beginning where the network is a plain `Supernet`, of which the mixtures
    share what they can (`Passes`).

    Raises:
        ValueError: when `norm` is "train", which would change the network, there is no image, or a loss is NaN (whose
            accuracy would look like any other).
    """
    if norm == "train":
        raise ValueError("scoring must not train the running statistics: norm is 'batch' or 'running'")
    count = len(mixtures)
    correct = torch.zeros(count, dtype=torch.float64, device=mixtures.device)
    loss = torch.zeros_like(correct)
    seen = 0
    passes = Passes(network, mixtures) if type(network) is Supernet else None
    for images, labels in batches:
        seen += len(labels)
        each = passes.logits(images, norm) if passes else (network(images, mixture, norm) for mixture in mixtures)
        for index, logits in enumerate(each):
            correct[index] += (logits.argmax(-1) == labels).sum()
            loss[index] += F.cross_entropy(logits, labels, reduction="sum")
    if seen == 0:
        raise ValueError("there is no image to score on")
    total = torch.stack([100 * correct, loss]).div(seen).cpu().numpy()
    if np.isnan(total[1]).any():
        raise ValueError(f"{np.isnan(total[1]).sum()} of {count} mixtures have a NaN loss, which ranks nothing")
    return Scores(total[0], total[1], seen * count)


def without_each(mixture: Tensor, edge: int, *, renormalise: bool) -> Tensor:
    """`mixture` with one operation of `edge` left out, for each of the O operations.

    Args:
        mixture: (E, O) or (cells, E, O).
        edge: the row.
        renormalise: whether the rest of the row is scaled up to its former sum (where nothing is left of it, it stays
            0), else it is left as it is.

    Returns:
        (O, E, O) or (O, cells, E, O).
    """
    operations = mixture.shape[-1]
    masked = mixture.expand(operations, *mixture.shape).clone()
    keep = 1 - torch.eye(operations, dtype=mixture.dtype, device=mixture.device)
    for operation in range(operations):
        row = mixture[..., edge, :] * keep[operation]
        if renormalise:
            left = row.sum(-1, keepdim=True)
            row = torch.where(left > 0, row * (mixture[..., edge, :].sum(-1, keepdim=True) / left), 0)
        masked[operation, ..., edge, :] = row
    return masked
