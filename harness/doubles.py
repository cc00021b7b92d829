"""Doubles for tests of runs: who listens, what is kept, and an interruption at a chosen moment."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from dartboard.benchmark.catalogue import Entry
from dartboard.results.records import comparable, read_records


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, of our making."""


def interrupting(call: Callable[..., Any], at: int) -> Callable[..., Any]:
    """`call`, interrupted before its `at`-th time."""
    count = 0

    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        nonlocal count
        count += 1
        if count == at:
            raise Interrupted
        return call(*arguments, **keywords)

    return wrapped


class Silent:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bar = (0, 0)
        self.bars: list[tuple[int, int]] = []  # as each search and selection left them

    def begin(self, _: str, __: int, /) -> None:
        """Nothing is kept of what begins."""

    def advance(self, steps: int, total: int, _: str = "", /) -> None:
        """Keep the bar."""
        self.bar = (steps, total)

    def end(self, line: str) -> None:
        """Keep the line, and the bar as it is."""
        self.lines.append(line)
        self.bars.append(self.bar)

    def runs(self, _: int, __: int, /) -> None:
        """Nothing is kept of how many runs have a record."""

    def lane(self) -> Silent:
        """All searches' lines are kept together."""
        return self


class MemoryJournal:
    """A `Journal` (see `dartboard.benchmark.contracts`) in memory; what it gives back has been through a file's form.

    Args:
        interrupt_after: how many entries are saved before an interruption; None: it never comes.
    """

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.interrupt_after = interrupt_after
        self.saves = 0
        self._kept: bytes | None = None

    def load(self) -> dict[str, Any] | None:
        """See `Journal.load`."""
        if self._kept is None:
            return None
        state: dict[str, Any] = torch.load(io.BytesIO(self._kept), weights_only=True)
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """See `Journal.save`."""
        file = io.BytesIO()
        torch.save(dict(state), file)
        self._kept = file.getvalue()
        self.saves += 1
        if self.saves == self.interrupt_after:
            raise Interrupted


def unmeasured(folder: Path) -> list[dict[str, Any]]:
    """The records of a folder as two executions must have them; not the commit, which may be made in between."""
    return [{k: v for k, v in comparable(record).items() if k != "commit"} for record in read_records(folder)]


def entry_of(factory: Any, **fields: Any) -> Entry:
    """A catalogue's line for a class of a test file, with further fields."""
    place = f"{factory.__module__}:{factory.__qualname__}"
    return Entry(name=factory.name, place=place, summary="of a test", **fields)
