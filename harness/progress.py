"""How a grid goes on, told to a person: bars with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Bars:
    """Bars on a terminal: one for all runs, one for the search or selection at hand, or for each of those at once.

    Args:
        beside: bars that are on the terminal already, for one more search.
    """

    def __init__(self, beside: Bars | None = None) -> None:
        self._progress: Progress = self._made() if beside is None else beside._progress
        self._all: TaskID = self._progress.add_task("all runs", total=None, note="") if beside is None else beside._all
        self._one = self._progress.add_task("", total=None, note="", visible=False)

    @staticmethod
    def _made() -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            console=Console(stderr=True),
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def begin(self, what: str, steps: int, /) -> None:
        """See `Listener.begin`."""
        self._progress.reset(self._one, description=what, total=steps, visible=True, note="")

    def advance(self, steps: int, total: int, note: str = "", /) -> None:
        """See `Listener.advance`."""
        self._progress.update(self._one, completed=steps, total=total)
        if note:
            self._progress.update(self._one, note=note)

    def end(self, line: str) -> None:
        """See `Listener.end`."""
        self._progress.console.print(line, highlight=False, markup=False)

    def runs(self, done: int, total: int, /) -> None:
        """See `Listener.runs`."""
        self._progress.update(self._all, completed=done, total=total)

    def lane(self) -> Bars:
        """See `Listener.lane`."""
        return Bars(self)


class Lines:
    """One line for each thing that is over, and one every `every` seconds while something is not."""

    def __init__(self, every: float = 30.0) -> None:
        self.every = every
        self._what, self._told, self._note = "", time.monotonic(), ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def begin(self, what: str, _: int, /) -> None:
        """See `Listener.begin`."""
        self._what, self._told, self._note = what, time.monotonic(), ""

    def advance(self, steps: int, total: int, note: str = "", /) -> None:
        """See `Listener.advance`."""
        self._note = note or self._note
        if time.monotonic() - self._told >= self.every:
            self._told = time.monotonic()
            self._print(f"{self._what}: {steps}/{total} {self._note}".rstrip())

    def end(self, line: str) -> None:
        """See `Listener.end`."""
        self._print(line)

    def runs(self, done: int, total: int, /) -> None:
        """See `Listener.runs`."""

    def lane(self) -> Lines:
        """See `Listener.lane`."""
        return Lines(self.every)

    @staticmethod
    def _print(line: str) -> None:
        print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)


@contextmanager
def listening(remedy: str = "the same command goes on") -> Iterator[Bars | Lines]:
    """Bars where standard error is a terminal, else lines.

    Within, Ctrl-C ends in a line that says how to go on, and exit code 130.

    Args:
        remedy: how to go on.
    """
    with Bars() if sys.stderr.isatty() else Lines() as told:
        try:
            yield told
        except KeyboardInterrupt:
            told.end(f"interrupted; {remedy}")
            sys.exit(130)
