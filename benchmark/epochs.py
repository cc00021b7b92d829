"""One epoch of a search: the loop that the harness and every fine-tuning selector share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch

from dartboard.benchmark.contracts import Batch, Searcher, StepResult
from dartboard.benchmark.images import ImageSplit, Order
from dartboard.benchmark.streams import stream


class BatchProtocol(Protocol):
    """The part of a method's protocol that the loop reads."""

    @property
    def batch_size(self) -> int:
        """Images in a batch, of each half."""
        ...

    @property
    def train_order(self) -> Order:
        """How the weights' batches are drawn."""
        ...

    @property
    def valid_order(self) -> Order:
        """How the architecture's batches are drawn."""
        ...


def steps_of_epoch(
    searcher: Searcher, train: ImageSplit, valid: ImageSplit, protocol: BatchProtocol, *, epoch: int, seed: int
) -> Iterator[StepResult]:
    """Run epoch `epoch` (from 0) step by step; every draw comes from `seed` and the epoch's number.

    An epoch has as many steps as the weights' half has batches.
    """
    size = protocol.batch_size
    steps = train.steps(size)
    searcher.begin_epoch(epoch, stream(seed, "method", epoch))
    lower = train.epoch(size, stream(seed, "train", epoch), order=protocol.train_order, steps=steps)
    upper = valid.epoch(size, stream(seed, "valid", epoch), order=protocol.valid_order, steps=steps)
    for weights_batch, architecture_batch in zip(lower, upper, strict=True):
        yield searcher.step(Batch(*weights_batch), Batch(*architecture_batch))


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochResult:
    """Means over an epoch."""

    train_loss: float  # mean cross-entropy of the weight halves
    valid_loss: float  # mean cross-entropy of the architecture halves
    train_accuracy: float  # percent
    valid_accuracy: float  # percent
    steps: int
    images: int  # pushed forward, all passes counted


class EpochMeter:
    """Adds up what the steps saw, on the device; the host waits for it only in `result`."""

    def __init__(self) -> None:
        self._results: list[StepResult] = []

    def add(self, result: StepResult) -> None:
        """Count one step in."""
        self._results.append(result)

    def result(self) -> EpochResult:
        """The means over the steps so far; each image weighs the same."""
        results = self._results
        train_seen, valid_seen = sum(r.train_seen for r in results), sum(r.valid_seen for r in results)
        sums = torch.stack(
            [
                torch.stack([r.train_loss.double() * r.train_seen for r in results]).sum(),
                torch.stack([r.valid_loss.double() * r.valid_seen for r in results]).sum(),
                torch.stack([r.train_correct for r in results]).sum().double(),
                torch.stack([r.valid_correct for r in results]).sum().double(),
            ]
        ).tolist()
        return EpochResult(
            train_loss=sums[0] / train_seen,
            valid_loss=sums[1] / valid_seen,
            train_accuracy=100 * sums[2] / train_seen,
            valid_accuracy=100 * sums[3] / valid_seen,
            steps=len(results),
            images=sum(r.images for r in results),
        )
