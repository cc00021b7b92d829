"""Fair cost: evaluations that several criteria need are made once for a supernet, and charged to each of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any, Final

import torch
from torch import Tensor, nn

from dartboard.benchmark.contracts import Result
from dartboard.harness.devices import MemoryMeter

LIMIT_MB: Final = 512.0
"""How much is kept; what comes later is computed anew each time."""


class SharedEvaluations:
    """A `Cache` (see `dartboard.benchmark.contracts`) of one supernet that also keeps what everything in it cost.

    Args:
        network: the trained supernet.
        device: where it is.
        limit_mb: of tensors, to be kept.
        clock: seconds.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        *,
        limit_mb: float = LIMIT_MB,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._network, self.device, self.limit_mb, self.clock = network, device, limit_mb, clock
        self.entries: dict[Hashable, tuple[Any, float, float | None]] = {}  # value, seconds, MiB
        self.size_mb = 0.0
        self.hits = 0
        self.begin(None)

    @property
    def network(self) -> nn.Module:
        """See `Cache.network`."""
        return self._network

    def begin(self, meter: MemoryMeter | None) -> None:
        """A selection begins, its memory measured by `meter`: what it finds here is counted from 0."""
        self.meter = meter
        self.spared_seconds = 0.0  # what the evaluations found here took when they were made
        self.spared_mb: float | None = None  # the most that one of them took

    def kept(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """See `Cache.kept`."""
        if key in self.entries:
            value, seconds, added = self.entries[key]
            self.hits += 1
            self.spared_seconds += seconds
            if added is not None:
                self.spared_mb = max(added, self.spared_mb or 0.0)
            found: Result = value
            return found
        self._wait()
        started = self.clock()
        if self.meter is None:
            result, added = compute(), None
        else:
            with self.meter.part() as part:
                result = compute()
            added = part.added_mb
        self._wait()
        seconds = self.clock() - started
        size = size_mb(result)
        if self.size_mb + size <= self.limit_mb:
            self.size_mb += size
            self.entries[key] = (result, seconds, added)
        return result

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def size_mb(value: Any) -> float:
    """MiB of the tensors in nested tuples."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size() / 2**20
    return sum(map(size_mb, value)) if isinstance(value, tuple) else 0.0
