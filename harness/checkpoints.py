"""State on the disk: written whole or not at all, read without running anything."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

import torch

from dartboard.benchmark.errors import InputError, one_line

RETRY: Final = "remove it, and the same command with --retry-failed begins anew"
"""What to do about a file whose error stands in a record: without the option, the record is taken as it is."""


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Keep `state` (tensors, numbers, containers) at `path`: after a power cut there is the old one or this, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def load_state(path: Path, device: torch.device, *, remedy: str = RETRY) -> dict[str, Any] | None:
    """The inverse of `save_state`, tensors on `device`; None where there is no file.

    Args:
        path: of the file.
        device: where the tensors go.
        remedy: what to do about a damaged file, for the message.

    Raises:
        InputError: when the file is not such a state.
    """
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # noqa: BLE001  (whatever a damaged file makes of the reader)
        told = one_line(error).partition(". ")[0]  # torch goes on at length, and on how to load it all the same
        raise InputError(f"{path} is not a checkpoint of ours ({told}): {remedy}") from None
    return state


@contextlib.contextmanager
def fitting(path: Path, owner: str, *, remedy: str = RETRY) -> Iterator[None]:
    """Name the file, whose state is given back inside, where `owner` cannot take it.

    Raises:
        InputError: when it cannot.
    """
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} does not fit this version of {owner} ({one_line(error)}): {remedy}") from None


class FileJournal:
    """Where a selection keeps its progress; see `dartboard.benchmark.contracts.Journal`."""

    def __init__(self, path: Path, device: torch.device) -> None:
        self.path, self.device = path, device

    def load(self) -> dict[str, Any] | None:
        """The last state kept, or None."""
        return load_state(self.path, self.device)

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep `state` in place of the last one."""
        save_state(self.path, state)

    def remove(self) -> None:
        """Forget it: the selection has its record."""
        self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Keep a second process from writing to the same run folder, as far as system and file system can.

    Where they have no locks the work goes on and the user is told: many clusters' file systems have none, a lock file
    of our own would outlive a `kill -9` and stop the run that should go on, and two processes in one folder are a
    mistake that the line warns of.

    Args:
        folder: made where it is missing.
        tell: told a line where there is no lock.

    Raises:
        InputError: when another process has the lock, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise InputError(f"cannot write to the run folder {str(folder)!r}: {error.strerror}") from None
    with file:
        try:
            _lock(file)
        except (ImportError, OSError) as error:
            if isinstance(error, OSError) and error.errno in (errno.EAGAIN, errno.EACCES):
                raise InputError(f"another dartboard is running in {folder}: wait for it to end") from None
            reason = error.strerror if isinstance(error, OSError) else "this system has no flock"
            tell(f"{folder} cannot be locked ({reason}): let no second dartboard write there meanwhile")
        yield


def _lock(file: IO[str]) -> None:
    """Take the lock of an open file, which ends with the process.

    Raises:
        ImportError: when the system has no such locks.
        OSError: when the file system has none, or another process has the lock.
    """
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
