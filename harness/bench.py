"""`dartboard bench`: what things cost here, by time, memory and counts, beside the readable form of the same thing.

Every measurement is a set of variants that do the same work. They take turns in rounds, the order reversed every other
round, so that whatever else the machine does falls on all of them; the ratios are within one such run. Counts
(operations, bytes, multiply-adds, waits of the host) do not depend on the machine.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final, Literal

from dartboard.benchmark.errors import InputError, unknown

Clock = Literal["wall", "cpu"]
BatchMode = Literal["batch", "running"]
CLOCKS: Final[Mapping[Clock, Callable[[], float]]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""`wall`: what a user waits. `cpu`: the process's own time over all threads, for a machine that others use too."""

TARGETS: Final = {
    # what can be measured: the variants, ours first
    "supernet": ("fast", "reference"),
    "step": ("fast", "compiled", "reference"),
    "select": ("shared", "separate", "reference"),
    "table": ("load", "lookup"),
    "images": ("augmented", "plain"),
    "startup": ("help", "list"),
}
LOOKUPS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The size of what is measured, and how.

    Raises:
        InputError: when a number is not positive.
    """

    channels: int = 16
    cells_per_stage: int = 5
    image_size: int = 32
    batch_size: int = 64
    rounds: int = 7
    threads: int = 1
    clock: Clock = "wall"
    norm: BatchMode = "batch"  # of select: by which statistics its passes normalise
    compile: bool = False  # of step: whether the fast form also takes part through torch.compile

    def __post_init__(self) -> None:
        for name in ("channels", "cells_per_stage", "image_size", "batch_size", "rounds", "threads"):
            if getattr(self, name) < 1:
                raise InputError(f"{name.replace('_', ' ')}: at least 1; got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What one call does, whatever the machine."""

    operations: int  # dispatched, views left out
    host_waits: int  # values that the host read from a tensor
    flops: int  # of convolutions and matrix products, a multiply-add being two
    bytes_moved: int  # inputs and outputs of all operations, each counted once for each use
    convolution_seconds: float  # its convolutions alone, at the same shapes; the limit of what is left to win


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way of doing the work, measured."""

    name: str
    seconds: float  # median over the rounds
    low: float  # quartiles
    high: float
    ratio: float | None  # the reference's median over this one's: how many times faster
    first_seconds: float  # of the first call, which is in no median, and in which is what has to be compiled
    peak_memory_mb: float | None  # of a process that does nothing else
    counts: Counts | None
    compiled_operations: int | None = None  # of what is compiled, which is not dispatched: see `count_compiled`


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `dartboard bench --json` prints."""

    target: str
    settings: Settings
    machine: str
    variants: tuple[Variant, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def interleave(
    variants: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of each variant in each round, after one call of each that does not count."""
    for call in variants.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds):
        for name in list(variants)[:: -1 if number % 2 else 1]:
            seconds[name].append(timed(variants[name], clock))
    return seconds


def timed(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """Seconds of one call."""
    start = clock()
    call()
    return clock() - start


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The first and third quartile, between neighbours where they fall between."""
    ordered, places = sorted(values), ((len(values) - 1) / 4, 3 * (len(values) - 1) / 4)
    low, high = (
        ordered[int(p)] + (p - int(p)) * (ordered[min(int(p) + 1, len(ordered) - 1)] - ordered[int(p)]) for p in places
    )
    return low, high


def spread(values: Sequence[float]) -> dict[str, float]:
    """Their median and quartiles as a row of a report has them."""
    low, high = quartiles(values)
    return {"seconds": median(values), "low": low, "high": high}


def run_bench(target: str, settings: Settings, *, reference: bool, memory: bool = True) -> Report:
    """Measure `target` (one of `TARGETS`).

    Args:
        target: what.
        settings: the size, and how.
        reference: whether the readable form takes part, where there is one.
        memory: whether each variant also runs in a process of its own, for its peak memory.

    Raises:
        InputError: when there is no such target.
    """
    if target not in TARGETS:
        raise unknown("target", target, TARGETS)
    import torch

    from dartboard.harness.devices import threads

    with threads(settings.threads):
        left_out = {name for name, asked in (("reference", reference), ("compiled", settings.compile)) if not asked}
        names = [name for name in TARGETS[target] if name not in left_out]
        in_torch = target in ("supernet", "step", "select")
        # First, because a process begins with the peak of the one that started it.
        peaks = {name: measure_memory(target, name, settings) for name in names} if memory and in_torch else {}
        calls = {name: make(target, name, settings) for name in names}
        clock = CLOCKS["wall" if target == "startup" else settings.clock]
        firsts = {name: timed(call, clock) for name, call in calls.items()}
        seconds = interleave(calls, settings.rounds, clock)
        medians = {name: median(values) for name, values in seconds.items()}
        variants = [
            Variant(
                name=name,
                **spread(seconds[name]),
                ratio=medians["reference"] / medians[name] if "reference" in medians else None,
                first_seconds=firsts[name],
                peak_memory_mb=peaks.get(name),
                counts=count(call, CLOCKS[settings.clock]) if in_torch and name != "compiled" else None,
                compiled_operations=count_compiled(call) if name == "compiled" else None,
            )
            for name, call in calls.items()
        ]
    machine = f"{platform.machine()}, torch {torch.__version__}, {settings.threads} threads, {settings.clock} time"
    return Report(target=target, settings=settings, machine=machine, variants=tuple(variants))


def make(target: str, variant: str, settings: Settings) -> Callable[[], object]:
    """The work itself, ready to be called again and again."""
    if target == "table":
        return _table_work(variant)
    if target == "images":
        return _image_work(variant, settings)
    if target == "startup":
        arguments = ["--help"] if variant == "help" else ["list", "searchers"]
        command = [sys.executable, "-c", "from dartboard.harness.cli import main; main()", *arguments]
        return lambda: subprocess.run(command, check=True, capture_output=True)
    if target == "searchers":
        from dartboard.harness.bench_searchers import Stepper, searcher_entries

        return Stepper(searcher_entries()[variant], settings)
    from dartboard.harness.bench_network import network_work

    return network_work(target, variant, settings)


def _table_work(variant: str) -> Callable[[], object]:
    import numpy as np

    from dartboard.benchmark.space import SPACE_SIZE
    from dartboard.benchmark.tables.store import load_embedded

    if variant == "load":
        return load_embedded
    table = load_embedded()
    cells = np.random.default_rng(0).integers(0, SPACE_SIZE, LOOKUPS)
    return lambda: table.lookup(cells, table.metrics[0])


def _image_work(variant: str, settings: Settings) -> Callable[[], object]:
    """Ten batches."""
    import torch

    from dartboard.benchmark.images import ImageSplit

    generator = torch.Generator().manual_seed(0)
    size, count = settings.image_size, 10 * settings.batch_size
    pixels = torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)
    split = ImageSplit.of(pixels, torch.zeros(count), num_classes=1, padding=4, flip=True)
    return lambda: list(split.epoch(settings.batch_size, generator, augment=variant == "augmented"))


def count(call: Callable[[], object], clock: Callable[[], float]) -> Counts:
    """Count what `call` does, and time its convolutions alone."""
    from dartboard.harness.bench_network import Counter, repeat_convolutions

    with Counter() as counter:
        call()
    return Counts(
        operations=counter.operations,
        host_waits=counter.host_waits,
        flops=counter.flops,
        bytes_moved=counter.bytes_moved,
        convolution_seconds=repeat_convolutions(counter.convolutions, clock),
    )


def count_compiled(call: Callable[[], object]) -> int:
    """How many operations `call` runs, views left out, a loop into which many were compiled being one."""
    from dartboard.harness.bench_network import run_operations

    return run_operations(call)


def in_process(call: str, *arguments: str) -> Any:
    """The JSON that a process of its own prints in which `call` ("module:function") is called with `arguments`.

    Raises:
        InputError: when it fails, as where the sizes that are asked for do not fit into the memory.
    """
    module, _, function = call.partition(":")
    code = f"import sys; from {module} import {function}; {function}(*sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        told = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise InputError(
            f"the process that measures {' '.join(arguments[:2])} alone ended with code {done.returncode} ({told}):"
            " ask for smaller sizes"
        )
    return json.loads(done.stdout)


def measure_memory(target: str, variant: str, settings: Settings) -> float | None:
    """The peak memory, in MiB, of a process that does the work twice and nothing else; None: the system does not tell.

    Raises:
        InputError: when the process fails.
    """
    peak: float | None = in_process("dartboard.harness.bench:print_peak", target, variant, json.dumps(asdict(settings)))
    return peak


def print_peak(target: str, variant: str, settings: str) -> None:
    """What the process of `measure_memory` runs."""
    import torch

    from dartboard.harness.devices import peak_memory_mb

    chosen = Settings(**json.loads(settings))
    torch.set_num_threads(chosen.threads)
    call = make(target, variant, chosen)
    call()
    call()
    print(json.dumps(peak_memory_mb(torch.device("cpu"))))
