"""What criteria share: batches, the score of several mixtures on them, and the keys of what is kept of them.

Not a criterion itself. Where the harness gives a `Cache`, an evaluation that another criterion has made of the same
supernet is not made again. Its key is made of contents: the bytes of the batches (so images, order and crops), of the
mixtures, batch norm's mode, and where and in which version every weight and buffer is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from itertools import chain, count, islice
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dartboard.benchmark.contracts import Cache, Result, SelectionData
from dartboard.benchmark.images import ImageSplit
from dartboard.benchmark.layers import Norm
from dartboard.benchmark.streams import stream
from dartboard.benchmark.supernet import MixedNetwork, Supernet
from dartboard.selectors._options import Criterion
from dartboard.selectors._passes import Passes

Batches: TypeAlias = Iterable[tuple[Tensor, Tensor]]
"""Images (B, 3, H, W) and labels (B,)."""


def shared_batches(
    data: SelectionData, own: torch.Generator, *, steps: int | None, half: Literal["train", "valid"] = "valid"
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches that a criterion looks at.

    Args:
        data: where `data.seed` is set, all criteria see the same batches of it: who looks at fewer sees the first ones.
        own: what they are drawn from otherwise.
        steps: how many; None: as many as one pass over the half has.
        half: of the search images.
    """
    split = data.valid if half == "valid" else data.train
    if data.seed is None:
        return split.epoch(data.batch_size, own, steps=steps)
    return first_batches(split, data.batch_size, partial(stream, data.seed, half), steps=steps)


def own_batches(
    split: ImageSplit, batch_size: int, root: int, *role: str | int, steps: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches that a criterion draws for a role of its own: fewer of them are the first of more, too."""
    return first_batches(
        split, batch_size, lambda number: stream(root, *role, *(("pass", number) if number else ())), steps=steps
    )


def first_batches(
    split: ImageSplit, batch_size: int, draws: Callable[[int], torch.Generator], *, steps: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """So many batches of pass after pass over `split`, or one pass; those of pass n are drawn from `draws(n)`.

    The draws of a whole pass are made at once, however many of its batches are asked for: so fewer batches are the
    first of more, crops included.
    """
    passes = (split.epoch(batch_size, draws(number)) for number in count())
    return islice(chain.from_iterable(passes), split.steps(batch_size) if steps is None else steps)


def digest(tensor: Tensor) -> bytes:
    """What tells a tensor from all others by its contents, shape and dtype; the host waits for it."""
    told = hashlib.blake2b(f"{tensor.dtype} {tuple(tensor.shape)} ".encode(), digest_size=16)
    told.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return told.digest()


def state_of(network: nn.Module) -> Hashable:
    """What changes whenever a weight or a buffer of `network` does, as long as it lives."""
    tensors = [*network.parameters(), *network.buffers()]
    return tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)


def kept(cache: Cache | None, network: nn.Module, key: Iterable[Tensor | str], compute: Callable[[], Result]) -> Result:
    """What `compute` gives, kept where there is a cache of this very network.

    Args:
        cache: where.
        network: that is evaluated.
        key: all else that the result depends on; of tensors, the contents.
        compute: evaluates it.
    """
    if cache is None or cache.network is not network:
        return compute()
    parts = (digest(part) if isinstance(part, Tensor) else part for part in key)
    return cache.kept((*parts, state_of(network)), compute)


class Scores(NamedTuple):
    """How M mixtures did."""

    accuracy: NDArray[np.float64]  # (M,), percent
    loss: NDArray[np.float64]  # (M,), mean cross-entropy
    images: int  # pushed forward, over all mixtures

    def worth(self, criterion: Criterion) -> NDArray[np.float64]:
        """(M,): the accuracy, or minus the loss; larger is better."""
        return self.accuracy if criterion == "accuracy" else -self.loss


@torch.no_grad()
def score_mixtures(
    network: MixedNetwork, mixtures: Tensor, batches: Batches, norm: Norm, cache: Cache | None = None
) -> Scores:
    """Score each of `mixtures` (M, E, O) or (M, cells, E, O) on the same batches, each batch kept in `cache`.

    The host waits once at the end, and at the beginning where the network is a plain `Supernet`, of which the mixtures
    share what they can (`Passes`).

    Raises:
        ValueError: when `norm` is "train", which would change the network, there is no image, or a loss is NaN (whose
            accuracy would look like any other).
    """
    if norm == "train":
        raise ValueError("scoring must not train the running statistics: norm is 'batch' or 'running'")
    total = torch.zeros(2, len(mixtures), dtype=torch.float64, device=mixtures.device)  # images right, loss
    seen = 0
    passes = Passes(network, mixtures) if type(network) is Supernet else None

    def one(images: Tensor, labels: Tensor) -> Tensor:
        part = torch.zeros_like(total)
        each = passes.logits(images, norm) if passes else (network(images, mixture, norm) for mixture in mixtures)
        for index, logits in enumerate(each):
            part[0, index] = (logits.argmax(-1) == labels).sum()
            part[1, index] = F.cross_entropy(logits, labels, reduction="sum")
        return part

    for batch in batches:
        seen += len(batch[1])
        total += kept(cache, network, ("scores", norm, mixtures, *batch), partial(one, *batch))
    if seen == 0:
        raise ValueError("there is no image to score on")
    total[0] *= 100
    accuracy, loss = total.div(seen).cpu().numpy()
    if np.isnan(loss).any():
        raise ValueError(f"{np.isnan(loss).sum()} of {len(loss)} mixtures have a NaN loss, which ranks nothing")
    return Scores(accuracy, loss, seen * len(mixtures))


def standard_error(samples: NDArray[np.float64]) -> list[list[float | None]]:
    """(E, O): s/√n of n independent samples (n, E, O) with mean m, s² = Σ (x - m)²/(n - 1); None where n is 1."""
    count = len(samples)
    if count == 1:
        return [[None] * len(row) for row in samples[0]]
    errors: list[list[float | None]] = (samples.std(0, ddof=1) / np.sqrt(count)).tolist()
    return errors


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
