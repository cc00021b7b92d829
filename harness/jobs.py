"""What an engine does by several processes at once: searches, measurements and selections of trained supernets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dartboard.harness.engine import Engine, Revisited, Search, measure_all
from dartboard.harness.grid import Grid
from dartboard.harness.plugins import Source, execute, executed
from dartboard.harness.workers import Parent, Shared, share_out
from dartboard.results.json_lines import encoded, to_json
from dartboard.results.records import RunRecord, records_path
from dartboard.results.repeats import RepeatRecord, repeats_path

Work = Callable[[int], object]
"""Does what is asked for of the search of a number (its place in `Engine.searches`)."""


class EngineApart(Engine):
    """An engine in a process of its own, whose parent writes the records."""

    def __init__(self, parent: Parent, grid: Grid, folder: Path, *, device: str, retry_failed: bool) -> None:
        super().__init__(grid, folder, device=device, listener=parent, retry_failed=retry_failed)
        self.parent = parent

    def keep(self, record: RunRecord | RepeatRecord) -> None:
        """See `Engine.keep`."""
        path = records_path(self.folder) if isinstance(record, RunRecord) else repeats_path(self.folder)
        self.parent.keep(path, encoded(to_json(record)), record.key, record.ok)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that a process needs to do what another's engine would do; it can be sent."""

    grid: Grid
    folder: Path
    device: str
    retry_failed: bool
    threads: int
    directory: Path  # where paths begin
    plugins: tuple[Source, ...]
    work: Callable[[Engine], Work]  # a module's function, or a partial one

    def __call__(self, parent: Parent) -> Work:
        """Make the engine, and what it is for.

        Raises:
            InputError: as the engine.
        """
        os.chdir(self.directory)
        torch.set_num_threads(self.threads)
        for plugin in self.plugins:
            execute(plugin)
        return self.work(
            EngineApart(parent, self.grid, self.folder, device=self.device, retry_failed=self.retry_failed)
        )


def apart(
    engine: Engine,
    work: Callable[[Engine], Work],
    searches: Iterable[tuple[int, Search]],
    jobs: int,
    kept: Callable[[Any, bool], None] | None = None,
) -> Shared:
    """Let several processes do `work` of these searches of the engine's; see `share_out`.

    Each computes on as many threads as PyTorch has here now.
    """
    recipe = Recipe(
        grid=engine.grid,
        folder=engine.folder,
        device=str(engine.device),
        retry_failed=engine.retry_failed,
        threads=torch.get_num_threads(),
        directory=Path.cwd(),
        plugins=executed(),
        work=work,
    )
    names = {number: str(search.key) for number, search in searches}
    return share_out(recipe, names, jobs=jobs, listener=engine.listener, kept=kept)


def run_apart(engine: Engine, jobs: int) -> int:
    """Run what has no record yet.

    Returns:
        How many searches were lost, since their process died.
    """
    engine.tell()
    left = ((number, search) for number, search in enumerate(engine.searches) if engine.is_left(search))
    results, lost = apart(engine, running, left, jobs, engine.count)
    engine.unmeasured += sum(results)
    return lost


def running(engine: Engine) -> Work:
    """Runs a search with its selections; tells how many supernets could not be had to be measured."""
    engine.recall()

    def work(number: int) -> int:
        before = engine.unmeasured
        engine.work(engine.searches[number])
        return engine.unmeasured - before

    return work


def revisit_apart(
    engine: Engine, work: Callable[[Engine], Work], jobs: int, kept: Callable[[Any, bool], None] | None = None
) -> Revisited:
    """`Engine.revisit` by several processes, each of whose `work` gives a `Revisited`."""
    supernets = ((number, search) for number, search in enumerate(engine.searches) if search.trains)
    results, lost = apart(engine, work, supernets, jobs, kept)
    return Revisited.total([*results, Revisited(0, lost)])


def diagnosing(engine: Engine) -> Work:
    """Measures a trained supernet."""
    return lambda number: engine.revisit_one(engine.searches[number], measure_all)


def diagnose_apart(engine: Engine, jobs: int) -> Revisited:
    """Measure the trained supernets."""
    return revisit_apart(engine, diagnosing, jobs)
