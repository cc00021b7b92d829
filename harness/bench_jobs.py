"""`dartboard bench jobs`: several supernets at once, as in `dartboard run --jobs`, against one after the other.

Either way the same steps of first-order DARTS are taken: by one process on all threads, or by several, each with a
supernet of its own and an equal share of the threads. The ratio is how many times as many steps a second all of them
take together. Each process has taken a step before the first round, and sleeps while it is the others' turn.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, Final

import torch

from dartboard.benchmark.errors import InputError
from dartboard.harness.bench import CLOCKS, Settings, interleave, make, spread
from dartboard.harness.columns import columns
from dartboard.harness.devices import peak_memory_mb, share_of_threads, threads
from dartboard.harness.workers import Spawned, check_jobs, hire

ROUND_SECONDS: Final = 1.0
"""How long a round of one process takes at least, by which its steps are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of taking the steps of a round."""

    name: str
    processes: int
    threads: int  # of each
    seconds: float  # of a round, median
    low: float  # quartiles
    high: float
    steps_per_second: float  # of all processes together
    ratio: float  # its steps a second over those of one process
    peak_memory_mb: float | None  # of all processes together; None: the system does not tell


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsReport:
    """What `dartboard bench jobs --json` prints."""

    settings: Settings
    jobs: int
    steps: int  # of a round, by all processes together
    machine: str
    ways: tuple[Way, ...]
    ratios: tuple[float, ...]  # of each round: the seconds of one process over those of several

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"target": "jobs", **asdict(self)}

    def as_text(self) -> list[str]:
        """A table of both ways."""
        rows = [("", "ms a step", "quartiles", "steps a second", "ratio", "MiB")]
        for way in self.ways:
            low, middle, high = (1e3 * seconds / self.steps for seconds in (way.low, way.seconds, way.high))
            memory = "" if way.peak_memory_mb is None else f"{way.peak_memory_mb:.0f}"
            told = (f"{middle:.1f}", f"{low:.1f} to {high:.1f}", f"{way.steps_per_second:.2f}", f"{way.ratio:.2f}x")
            rows.append((way.name, *told, memory))
        s = self.settings
        size = f"C={s.channels}, N={s.cells_per_stage}, {s.image_size} pixels, batch {s.batch_size}"
        return [
            f"jobs: {size}; {s.rounds} rounds of {self.steps} steps; {self.machine}",
            *columns(rows),
            f"each round's ratio: {', '.join(f'{ratio:.2f}' for ratio in self.ratios)}",
        ]


class Crew:
    """Processes that take steps at the same time, each with a supernet of its own.

    Args:
        count: how many.
        threads: of each.
        settings: the supernets' size.
    """

    def __init__(self, count: int, threads: int, settings: Settings) -> None:
        self.threads = threads
        self.members: list[Spawned] = []
        with ExitStack() as unless_all_are_ready:
            unless_all_are_ready.callback(self.end)
            for _ in range(count):
                hire(self.members, partial(Spawned, take_steps, settings, threads))
            self.hear()
            unless_all_are_ready.pop_all()

    def step(self, steps: int) -> None:
        """Let each take so many steps, and wait for the last."""
        for member in self.members:
            member.send(steps)
        self.hear()

    def peak_memory_mb(self) -> float | None:
        """The sum of their peaks; they end."""
        for member in self.members:
            member.send(None)
        peaks = self.hear()
        return None if None in peaks else sum(peaks)

    def hear(self) -> list[Any]:
        """What each says.

        Raises:
            InputError: when one has died, as where the sizes that are asked for do not fit into the memory.
        """
        said = []
        for member in self.members:
            try:
                said.append(member.pipe.recv())
            except (EOFError, OSError):
                raise InputError(f"a process {member.ended()}: ask for smaller sizes, or fewer --jobs") from None
        return said

    def end(self) -> None:
        """End them at once."""
        for member in self.members:
            member.end()


def take_steps(pipe: Connection, settings: Settings, threads: int) -> None:
    """What a process of a crew runs: it takes as many steps as it is told, until it is told None."""
    torch.set_num_threads(threads)
    step = make("step", "fast", settings)
    step()
    pipe.send(None)
    while (steps := pipe.recv()) is not None:
        for _ in range(steps):
            step()
        pipe.send(None)
    pipe.send(peak_memory_mb(torch.device("cpu")))


def measure_jobs(settings: Settings, jobs: int) -> JobsReport:
    """Measure so many processes against one.

    Raises:
        InputError: when there are fewer than two, or more than threads, or one dies.
    """
    check_jobs(jobs)
    if jobs == 1:
        raise InputError("--jobs 1 is what is compared with: ask for --jobs 2 or more")
    if settings.threads < jobs:
        raise InputError(
            f"{jobs} processes have at least {jobs} threads, and one process as many; got {settings.threads}"
        )
    with threads(settings.threads), share_of_threads(jobs):
        share = torch.get_num_threads()
    names = [_named(1, settings.threads), _named(jobs, share)]
    clock, crews = CLOCKS["wall"], []
    try:
        crews = [Crew(1, settings.threads, settings)]
        crews.append(Crew(jobs, share, settings))
        one, several = crews
        began = clock()
        one.step(1)
        each = max(1, round(ROUND_SECONDS / (clock() - began) / jobs))
        calls: list[Callable[[], None]] = [partial(one.step, jobs * each), partial(several.step, each)]
        seconds = interleave(dict(zip(names, calls, strict=True)), settings.rounds, clock)
        peaks = [crew.peak_memory_mb() for crew in crews]
    finally:
        for crew in crews:
            crew.end()
    alone = median(seconds[names[0]])
    ways = tuple(
        Way(
            name=name,
            processes=len(crew.members),
            threads=crew.threads,
            **spread(seconds[name]),
            steps_per_second=jobs * each / median(seconds[name]),
            ratio=alone / median(seconds[name]),
            peak_memory_mb=peak,
        )
        for name, crew, peak in zip(names, crews, peaks, strict=True)
    )
    return JobsReport(
        settings=settings,
        jobs=jobs,
        steps=jobs * each,
        machine=f"{platform.machine()}, torch {torch.__version__}, wall time",
        ways=ways,
        ratios=tuple(first / second for first, second in zip(*seconds.values(), strict=True)),
    )


def _named(processes: int, threads: int) -> str:
    few = "process" if processes == 1 else "processes"
    return f"{processes} {few} of {threads} {'thread' if threads == 1 else 'threads'}"
