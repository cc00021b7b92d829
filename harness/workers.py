"""Several things at once, each in a process of its own, which ends with this one whatever becomes of it.

Processes are spawned, not forked: what holds threads or a GPU cannot be forked. A terminal's Ctrl-C reaches this
process alone. One that dies is told of, and a fresh one does what else there is to do. Into a file that several of them
have lines for this process alone writes: the others send a line, and go on when it is on the disk.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from dartboard.benchmark.errors import InputError, one_line
from dartboard.results.json_lines import append_encoded

if TYPE_CHECKING:
    from dartboard.harness.search_run import Listener

EVERY: Final = 0.2
"""Seconds between two messages on a step that is done; what came of an epoch is always told."""

PATIENCE: Final = 60.0
"""Seconds that a process has to end by itself when it has nothing left to do."""

REMEDY: Final = "the same command tries it again (with fewer --jobs, where memory was short)"
UNBEGUN: Final = (
    'ask for fewer --jobs where memory is short; a script asks for several below `if __name__ == "__main__":`'
)

Make = Callable[["Parent"], Callable[[int], object]]
"""What a process is given, which it can be sent: called there, it makes what does the thing of a number."""


Member = TypeVar("Member", bound="Spawned")


def check_jobs(jobs: int) -> None:
    """Refuse fewer processes than one.

    Raises:
        InputError: quoting the number.
    """
    if jobs < 1:
        raise InputError(f"jobs is a number of processes, at least 1; got {jobs}")


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Within, Ctrl-C waits; a process that begins here never hears of it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Spawned:
    """A process of our own, and this end of the pipe to it; see `hire`.

    Args:
        target: a module's function; it gets the other end first.
        arguments: what it gets besides.
    """

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_begin, args=(target, theirs, *arguments))
        self.process.start()
        theirs.close()

    def send(self, message: object) -> None:
        """Send it; that it did not arrive is found when the answer is waited for."""
        with contextlib.suppress(OSError):
            self.pipe.send(message)

    def ended(self) -> str:
        """Wait for its end, which is there or near; how it came, in words."""
        self.process.join(PATIENCE)
        self.end()
        code = self.process.exitcode or 0
        if code >= 0:
            return f"ended with exit code {code}"
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
        return f"was ended by signal {-code}"

    def end(self) -> None:
        """End it at once: whatever it writes is whole at any moment, or counts for nothing."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def hire(crew: list[Member], make: Callable[[], Member]) -> None:
    """Add a process to those that have to be ended; Ctrl-C finds it there, and never reaches it."""
    if os.name == "posix":
        resource_tracker.ensure_running()  # else it begins with the process, and lets Ctrl-C through
    with _interrupts_held():
        crew.append(make())


def _begin(target: Callable[..., None], pipe: Connection, *arguments: object) -> None:
    """What a process runs: the target, until that or the process that began it has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    target(pipe, *arguments)


class Parent:
    """The process that began this one, as this one sees it: it listens (`Listener`), and keeps lines."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._told = 0.0

    def begin(self, what: str, steps: int, /) -> None:
        """See `Listener.begin`."""
        self.send("begin", what, steps)
        self._told = time.monotonic()

    def advance(self, steps: int, total: int, note: str = "", /) -> None:
        """See `Listener.advance`."""
        if note or steps >= total or time.monotonic() - self._told >= EVERY:
            self.send("advance", steps, total, note)
            self._told = time.monotonic()

    def end(self, line: str) -> None:
        """See `Listener.end`."""
        self.send("end", line)

    def runs(self, done: int, total: int, /) -> None:
        """Nothing: the parent counts them itself."""

    def lane(self) -> Parent:
        """See `Listener.lane`."""
        return self

    def keep(self, path: Path, line: bytes, key: Hashable, ok: bool) -> None:
        """Add a line to a file, which counts as a run of this key: when this returns, it is on the disk."""
        self.ask("keep", path, line, key, ok)

    def ask(self, *message: object) -> Any:
        """Send a message and wait for the answer."""
        self.send(*message)
        try:
            return self._pipe.recv()
        except (EOFError, OSError):
            os._exit(1)

    def send(self, *message: object) -> None:
        """Send a message. Where nobody is there to get it, this process ends: nothing is written after."""
        try:
            self._pipe.send(message)
        except OSError:
            os._exit(1)


def _serve(pipe: Connection, make: Make) -> None:
    """Do the things whose numbers the parent sends, one after the other."""
    parent = Parent(pipe)
    try:
        work = make(parent)
        number = parent.ask("ready")
        while number is not None:
            number = parent.ask("done", work(number))
    except Exception as error:  # noqa: BLE001  (raised again in the parent)
        parent.send("raised", _portable(error))


def _portable(error: Exception) -> Exception:
    """The error as it can be sent, with where it came from."""
    told = f"In a process of its own:\n{traceback.format_exc()}"
    try:
        same: Exception = pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001  (whatever somebody's exception makes of being copied)
        same = RuntimeError(one_line(error))
    same.add_note(told)
    return same


class Shared(NamedTuple):
    """What came of things that were done by several processes."""

    results: list[Any]  # in the order in which they were done
    lost: int  # things whose process died


class _Worker(Spawned):
    """A process that does one thing after the other, and the listener of its thing at hand."""

    def __init__(self, make: Make, lane: Listener) -> None:
        super().__init__(_serve, make)
        self.lane = lane
        self.number: int | None = None  # of the thing at hand; None: it is not ready yet, or has finished
        self.finished = False

    def give(self, number: int | None) -> None:
        """Let it do the next thing; None: there is none, and it may end."""
        self.number, self.finished = number, number is None
        self.send(number)

    def heard(self) -> tuple[Any, ...] | None:
        """What it says; None: it has ended."""
        try:
            return self.pipe.recv() if self.pipe.poll() else None
        except (EOFError, OSError):
            return None


def share_out(
    make: Make,
    names: Mapping[int, str],
    *,
    jobs: int,
    listener: Listener,
    kept: Callable[[Any, bool], None] | None = None,
) -> Shared:
    """Do things by so many processes at once, or fewer where there are not so many things.

    They are begun in order, each by whichever process is free. Where a process dies over one, the listener is told, and
    a fresh process goes on with the next.

    Args:
        make: from which each process makes what it does its things with.
        names: the things by number: what the listener is told of each.
        jobs: how many processes at most.
        listener: who is told how they go on.
        kept: called with the key of each line that is on the disk, and whether its run came to a cell.

    Raises:
        InputError: when a process ends before it can begin.
        Exception: what a process raised.
    """
    waiting = deque(names)
    results: list[Any] = []
    lost = 0
    crew: list[_Worker] = []
    try:
        for _ in range(min(jobs, len(names))):
            hire(crew, partial(_Worker, make, listener.lane()))
        while crew:
            found = wait([end for worker in crew for end in (worker.pipe, worker.process.sentinel)])
            for worker in [w for w in crew if w.pipe in found or w.process.sentinel in found]:
                match worker.heard():
                    case ("begin", what, steps):
                        worker.lane.begin(what, steps)
                    case ("advance", steps, total, note):
                        worker.lane.advance(steps, total, note)
                    case ("end", line):
                        worker.lane.end(line)
                    case ("keep", path, line, key, ok):
                        append_encoded(path, line)
                        if kept is not None:
                            kept(key, ok)
                        worker.send(True)
                    case ("done", result):
                        results.append(result)
                        worker.give(waiting.popleft() if waiting else None)
                    case ("ready",):
                        worker.give(waiting.popleft() if waiting else None)
                    case ("raised", error):
                        raise error
                    case _:
                        crew.remove(worker)
                        how = worker.ended()
                        if worker.number is not None:
                            lost += 1
                            worker.lane.end(f"{names[worker.number]}: lost, its process {how}; {REMEDY}")
                            if waiting:
                                hire(crew, partial(_Worker, make, worker.lane))
                        elif not worker.finished:
                            raise InputError(f"a process {how} before it could begin; {UNBEGUN}")
    finally:
        with _interrupts_held():
            for worker in crew:
                worker.end()
    return Shared(results, lost)
