"""The work of `dartboard bench searchers`: the step of every method that trains a supernet, timed, its passes counted.

A method's *cost* is what a step multiplies and adds in the convolutions that have weights, in units of the *pass*: one
batch once forward through the supernet. It is a count, the same on every machine. Its *cost factor* is the cost over
that of first-order DARTS, 5; what a step takes beyond it, its *excess*, is the method's own arithmetic, or a defect.

A convolution y = w * x is linear in x and in w, and so is each of its derivatives: as many multiply-adds as y. With
g = ∂L/∂y, the convolutions of

    a pass forward                           y = w * x                                      1
    a backward pass, by the mixture alone    g_x = w' * g                                   1
    a backward pass, by the weights          g_x, and g_w = x ⋆ g                           2

A Hessian-vector product goes backward through that last backward pass and then through the forward pass. With v what
arrives at g_w and u at g_x, g gets w * u + v * x (2), x gets v' * g (1) and w gets u ⋆ g (1); then x and w have what a
backward pass gives them (2):

    a product with ∂²L/∂w∂w                                                                 6
    a mixed product, ∂²L/∂α∂w, which asks nothing of w                                      4

so three and two times a plain backward pass. First-order DARTS is 2 forward and 1 + 2 backward. A network's first
layers are spared a part of this, as nobody asks for the gradient of the images: at one cell a stage, 3 % of a backward
pass by the weights and 17 % of one by the mixture alone. So the convolutions that are counted are those with the most
input channels, in the last stage, and the count is that of networks of many cells, whatever the size. Not in it: what
wide supernets make again (`REMAKE_FROM`), all that is no convolution, and what a method does once an epoch. Second
derivatives count in the form of `TwiceDifferentiable`; in PyTorch's own, kernels and images change places.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, Final

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dartboard.benchmark.catalogue import Entry
from dartboard.benchmark.contracts import Batch, Searcher
from dartboard.benchmark.errors import unknown
from dartboard.benchmark.partial import build_supernet
from dartboard.benchmark.streams import stream
from dartboard.benchmark.supernet import SupernetConfig
from dartboard.harness.bench import CLOCKS, Settings, interleave, measure_memory, spread
from dartboard.harness.devices import threads
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
    """What a step multiplies and adds, in units of a pass."""

    forward: float = 0.0  # in forward passes
    backward: float = 0.0  # in everything else


@dataclass(frozen=True, slots=True, kw_only=True)
class SearcherCost:
    """What a method's step costs."""

    name: str
    seconds: float  # of a step, median over the rounds
    low: float  # quartiles
    high: float
    forward: float  # in passes, of a step
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
    with threads(settings.threads):
        # First, because a process begins with the peak of the one that started it.
        peaks = {name: measure_memory("searchers", name, settings) for name in chosen} if memory else {}
        steppers = {name: Stepper(entries[name], settings) for name in chosen}
        small = replace(settings, image_size=8, batch_size=2)  # as many passes, and quicker
        passes = {name: count_passes(Stepper(entries[name], small)) for name in chosen}
        taken = interleave(steppers, settings.rounds, CLOCKS[settings.clock])
    seconds = {name: [value / steppers[name].steps for value in values] for name, values in taken.items()}
    costs = []
    for name in chosen:
        slower = median(seconds[name]) / median(seconds[BASELINE])
        more = _total(passes[name]) / _total(passes[BASELINE])
        costs.append(
            SearcherCost(
                name=name,
                **spread(seconds[name]),
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
    """A step's cost, once the epoch's first call is over: the mean over the steps of one call."""
    network, images = stepper.searcher.supernet, stepper.train.images
    stepper()
    with counted(network) as one, torch.no_grad():
        network(images, stepper.searcher.mixture(), "batch")
    with counted(network) as passes:
        stepper()
    unit = one.forward * stepper.steps
    return Passes(forward=passes.forward / unit, backward=passes.backward / unit)


@contextmanager
def counted(network: nn.Module) -> Iterator[Passes]:
    """Count multiply-adds, forward where `network` or a copy of it is at work, else backward.

    Those of the convolutions with the most input channels; the numbers are there at the end.
    """
    passes, within = Passes(), [0]

    def enter(*_: Any) -> None:
        within[0] += 1

    def leave(*_: Any) -> None:
        within[0] -= 1

    handles = network.register_forward_pre_hook(enter), network.register_forward_hook(leave)
    try:
        with _Products(within) as products:
            yield passes
    finally:
        for handle in handles:
            handle.remove()
    passes.forward, passes.backward = (
        counts[max([*products.forward, *products.backward])] for counts in (products.forward, products.backward)
    )


class _Products(TorchDispatchMode):
    """Adds up multiply-adds by the number of input channels; not of grouped convolutions: the pooling is one."""

    def __init__(self, within: list[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types here
        self.within = within
        self.forward, self.backward = Counter[int](), Counter[int]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do one operation, and count it."""
        made = func(*args, **(kwargs or {}))
        counts = self.forward if self.within[0] else self.backward
        if func is torch.ops.aten.convolution.default and args[-1] == 1:
            counts[args[1].shape[1]] += made.numel() * args[1][0].numel()
        elif func is torch.ops.aten.convolution_backward.default and args[-2] == 1:
            counts[args[2].shape[1]] += args[0].numel() * args[2][0].numel() * sum(args[-1][:2])
        return made
