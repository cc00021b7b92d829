"""A search of seconds: the images, the supernets and the trained supernet on which the contract is checked."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Batch, Searcher, StepResult, TrainedSupernet
from dartboard.benchmark.epochs import BatchProtocol, steps_of_epoch
from dartboard.benchmark.images import ImageSplit
from dartboard.benchmark.partial import build_supernet
from dartboard.benchmark.streams import stream
from dartboard.benchmark.supernet import Supernet, SupernetConfig
from dartboard.searchers._training import WeightSharing, resolve_protocol
from dartboard.searchers.darts_v1 import Config, DartsV1

CLASSES = 3
BATCH = 6
OPTIONS = {"epochs": 3, "batch_size": BATCH}  # of every toy search
TORCH_DTYPES = (torch.float32, torch.float64)
Method = TypeVar("Method", bound=WeightSharing)


def toy_images(
    half: str, *, count: int = 10, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> ImageSplit:
    """Images of 8x8 pixels, each class brighter in a colour of its own; `count` is no multiple of `BATCH`."""
    labels = torch.arange(count) % CLASSES
    pixels = torch.randint(0, 160, (count, 3, 8, 8), generator=stream(0, half))
    pixels[torch.arange(count), labels] += 90
    return ImageSplit.of(
        pixels.to(torch.uint8), labels, num_classes=CLASSES, padding=1, flip=True, device=device, dtype=dtype
    )


def toy_supernet(
    *,
    track: bool = True,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    like: SupernetConfig | None = None,
) -> Supernet:
    """A supernet of three cells and two channels, or as many as the kind of supernet `like` needs."""
    kind = SupernetConfig() if like is None else like
    config = replace(
        kind, channels=max(2, kind.partial), cells_per_stage=1, num_classes=CLASSES, track_running_stats=track
    )
    return build_supernet(config, generator=stream(seed, "supernet"), dtype=dtype, device=device)


def toy_searcher(method: type[Method], **options: Any) -> Method:
    """A fresh search by `method` in float64, with these options in place of those of every toy search."""
    protocol, own = resolve_protocol({**OPTIONS, **options}, method.own_protocol)
    config = method.config_class(protocol=protocol, **own)
    return method(toy_supernet(dtype=torch.float64), config, generator=stream(0, "a"))


def toy_numbers(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def toy_batch(seed: int) -> Batch:
    """`BATCH` images of noise in float64, as many of each class."""
    return Batch(toy_numbers(BATCH, 3, 8, 8, seed=seed), torch.arange(BATCH) % CLASSES)


def toy_epoch(searcher: Searcher, protocol: BatchProtocol, epoch: int, *, seed: int = 0) -> list[StepResult]:
    """One epoch of a search on the toy images, in the dtype and on the device of the searcher's supernet."""
    like = next(searcher.supernet.parameters())
    train, valid = (toy_images(half, dtype=like.dtype, device=like.device) for half in ("train", "valid"))
    return list(steps_of_epoch(searcher, train, valid, protocol, epoch=epoch, seed=seed))


@lru_cache(maxsize=len(TORCH_DTYPES))
def _trained(dtype: torch.dtype) -> TrainedSupernet:
    protocol, _ = resolve_protocol({**OPTIONS, "architecture_learning_rate": 0.1}, {})
    searcher = DartsV1(toy_supernet(dtype=dtype), Config(protocol=protocol), generator=stream(0, "architecture"))
    trajectory = []
    for epoch in range(protocol.epochs):
        toy_epoch(searcher, protocol, epoch)
        trajectory.append(searcher.mixture().detach().double())
    return TrainedSupernet(
        searcher=searcher, mixture=trajectory[-1].numpy(), trajectory=torch.stack(trajectory).numpy()
    )


class WatchedSupernet(Supernet):
    """A supernet of which every pass goes whole through `forward`, where hooks see it: no plain `Supernet` any more."""


def toy_trained(dtype: torch.dtype = torch.float32, *, watched: bool = False) -> TrainedSupernet:
    """A supernet trained by first-order DARTS, the caller's own; `watched` to see its passes by hooks."""
    trained = copy.deepcopy(_trained(dtype))
    if watched:
        trained.supernet.__class__ = WatchedSupernet
    return trained
