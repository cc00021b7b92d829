"""State on the disk: written whole or not at all, read without running anything."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from dartboard.benchmark.errors import InputError


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Keep `state` (tensors, numbers, containers) at `path` in place of what was there, atomically and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def load_state(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The inverse of `save_state`, tensors on `device`; None where there is no file.

    Raises:
        InputError: when the file is not such a state.
    """
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # noqa: BLE001  (whatever a damaged file makes of the reader)
        raise InputError(
            f"{path} is not a checkpoint of ours ({' '.join(str(error).split())}): remove it to begin anew"
        ) from None
    return state


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
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process from writing to the same run folder.

    Raises:
        InputError: when one is.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise InputError(f"cannot write to the run folder {str(folder)!r}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another dartboard is running in {folder}: wait for it, or choose another --out"
            ) from None
        yield
