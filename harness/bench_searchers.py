"""The work of `dartboard bench searchers`: the step of every method that trains a supernet, timed, its passes counted.

A pass is one batch through the network, forward or backward. A method's *cost factor* is its passes in a step over
those of first-order DARTS (two forward, two backward). It is a count, the same on every machine; what a step takes
beyond it, its *excess*, is the method's own arithmetic, or a defect. What a method does once an epoch is in neither.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, Final

import torch
from torch import Tensor, nn

from dartboard.benchmark.catalogue import Entry
from dartboard.benchmark.contracts import Batch, Searcher
from dartboard.benchmark.errors import unknown
from dartboard.benchmark.partial import build_supernet
from dartboard.benchmark.streams import stream
from dartboard.benchmark.supernet import SupernetConfig
from dartboard.harness.bench import CLOCKS, Settings, interleave, measure_memory, quartiles
from dartboard.harness.grid import Method
from dartboard.harness.plugins import catalogues
from dartboard.harness.prepare import PreparedSearcher, prepare_searcher

BASELINE: Final = "darts-v1"

GOAL: Final = 1.3
"""An excess beyond this is a defect to find, or to explain."""

PERIOD: Final = 20
"""Steps in which every method does all that it does: one moves alpha every 4th step, another every 10th."""

EPOCHS: Final = 50
"""Of the search that the steps are taken from: from its last epoch, where no method warms up any more."""


@dataclass(slots=True)
class Passes:
    """Passes of a batch through a network."""

    forward: float = 0.0
    backward: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SearcherCost:
    """What a method's step costs."""

    name: str
    seconds: float  # of a step, median over the rounds
    low: float  # quartiles
    high: float
    forward: float  # passes of a step
    backward: float
    relative_seconds: float  # over those of `BASELINE`
    relative_passes: float
    excess: float  # the quotient of these two
    peak_memory_mb: float | None  # of a process that does nothing else


@dataclass(frozen=True, slots=True, kw_only=True)
class SearcherReport:
    """What `dartboard bench searchers --json` prints."""

    target: str
    settings: Settings
    machine: str
    searchers: tuple[SearcherCost, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def searcher_entries() -> dict[str, Entry]:
    """The methods that train a supernet, by name."""
    return {entry.name: entry for entry in catalogues().searchers if entry.passes is not None}


def run_searcher_bench(settings: Settings, names: Sequence[str] = (), *, memory: bool = True) -> SearcherReport:
    """Measure the methods of these names, or all, beside first-order DARTS.

    Args:
        settings: the size, and how.
        names: of the catalogue; none: all.
        memory: whether each method also runs in a process of its own, for its peak memory.

    Raises:
        InputError: when a method is unknown.
    """
    entries = searcher_entries()
    for name in names:
        if name not in entries:
            raise unknown("searcher that trains a supernet", name, entries)
    chosen = [BASELINE, *(name for name in (names or entries) if name != BASELINE)]
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        # First, because a process begins with the peak of the one that started it.
        peaks = {name: measure_memory("searchers", name, settings) for name in chosen} if memory else {}
        steppers = {name: Stepper(entries[name], settings) for name in chosen}
        small = replace(settings, image_size=8, batch_size=2)  # as many passes, and quicker
        passes = {name: count_passes(Stepper(entries[name], small)) for name in chosen}
        taken = interleave(steppers, settings.rounds, CLOCKS[settings.clock])
    finally:
        torch.set_num_threads(threads)
    seconds = {name: [value / steppers[name].steps for value in values] for name, values in taken.items()}
    costs = []
    for name in chosen:
        low, high = quartiles(seconds[name])
        slower = median(seconds[name]) / median(seconds[BASELINE])
        more = _total(passes[name]) / _total(passes[BASELINE])
        costs.append(
            SearcherCost(
                name=name,
                seconds=median(seconds[name]),
                low=low,
                high=high,
                forward=passes[name].forward,
                backward=passes[name].backward,
                relative_seconds=slower,
                relative_passes=more,
                excess=slower / more,
                peak_memory_mb=peaks.get(name),
            )
        )
    machine = f"{platform.machine()}, torch {torch.__version__}, {settings.threads} threads, {settings.clock} time"
    return SearcherReport(target="searchers", settings=settings, machine=machine, searchers=tuple(costs))


def _total(passes: Passes) -> float:
    return passes.forward + passes.backward


class Stepper:
    """A method on made-up images, in the last epoch of its search; a call takes as many steps as its work repeats in.

    Args:
        entry: the method.
        settings: the size of supernet and batches.
    """

    def __init__(self, entry: Entry, settings: Settings) -> None:
        options = {**entry.options, "epochs": EPOCHS, "batch_size": settings.batch_size}
        prepared: PreparedSearcher = prepare_searcher(Method(label=entry.name, entry=entry, options=options))
        config = SupernetConfig(
            channels=settings.channels,
            cells_per_stage=settings.cells_per_stage,
            track_running_stats=prepared.protocol.track_running_stats,
        )
        supernet = build_supernet(prepared.supernet_config(config), generator=stream(0, "supernet"))
        self.searcher: Searcher = prepared.factory(supernet, prepared.config, generator=stream(0, "architecture"))
        self.searcher.begin_epoch(EPOCHS - 1, stream(0, "epoch"))
        shape = (settings.batch_size, 3, settings.image_size, settings.image_size)
        generator = stream(0, "images")
        self.train, self.valid = (
            Batch(torch.randn(shape, generator=generator), torch.randint(0, 10, shape[:1], generator=generator))
            for _ in range(2)
        )
        self.steps = 1 if entry.passes is not None and all(float(n).is_integer() for n in entry.passes) else PERIOD

    def __call__(self) -> None:
        """The steps."""
        for _ in range(self.steps):
            self.searcher.step(self.train, self.valid)


def count_passes(stepper: Stepper) -> Passes:
    """A step's passes, once the epoch's first call is over: the mean over the steps of one call."""
    stepper()
    with counted(stepper.searcher.supernet, len(stepper.train.labels)) as passes:
        stepper()
    return Passes(forward=passes.forward / stepper.steps, backward=passes.backward / stepper.steps)


@contextmanager
def counted(network: nn.Module, batch: int) -> Iterator[Passes]:
    """Count the passes of `network`, and of its copies made meanwhile, in units of `batch` images.

    A backward pass is counted where the gradient leaves the logits. Of a gradient's own gradient (a Hessian-vector
    product) two are: one through the backward pass, one through the forward pass.
    """
    passes = Passes()

    def watch(logits: Tensor, share: float) -> None:
        def seen(gradient: Tensor) -> None:
            passes.backward += share
            if gradient.requires_grad:
                watch(gradient, share)

        if logits.requires_grad:
            logits.register_hook(seen)  # type: ignore[no-untyped-call]  # torch has no type

    def after(_: nn.Module, __: Any, logits: Tensor) -> None:
        share = len(logits) / batch
        passes.forward += share
        watch(logits, share)

    handle = network.register_forward_hook(after)
    try:
        yield passes
    finally:
        handle.remove()
