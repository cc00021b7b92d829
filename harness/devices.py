"""Where tensors live: found by name, described for records."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch

from dartboard.benchmark.errors import InputError
from dartboard.harness.resident import resident_mb


def find_device(choice: str) -> torch.device:
    """The device called `choice`: `auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`, ...

    From now on float32 is computed as float32: PyTorch's own default for convolutions on CUDA is TF32, of 10 bits.

    Raises:
        InputError: when there is no such device here.
    """
    _set_tf32(False)
    if choice == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(choice)
    except RuntimeError:
        raise InputError(f"unknown device {choice!r}: auto, cpu, cuda or cuda:N") from None
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type != "cuda":
        raise InputError(f"unknown device {choice!r}: auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= count:
        raise InputError(f"there is no device {choice!r} here ({count} CUDA devices): use --device cpu")
    return device


def _set_tf32(allowed: bool) -> None:
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


@contextlib.contextmanager
def tf32() -> Iterator[None]:
    """Within, convolutions and matrix products of float32 on CUDA round their inputs to TF32."""
    _set_tf32(True)
    try:
        yield
    finally:
        _set_tf32(False)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Within, PyTorch computes on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def share_of_threads(jobs: int) -> Iterator[None]:
    """Within, PyTorch computes on the threads that each of so many processes has: an equal share, at least one."""
    if jobs == 1:
        yield
    else:
        with threads(max(1, torch.get_num_threads() // jobs)):
            yield


def describe_device(device: torch.device) -> str:
    """A device in words."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"


def peak_memory_mb(device: torch.device) -> float | None:
    """The most memory in use so far: of the device's tensors on CUDA, of the whole process on a CPU; in MiB.

    None where the system does not tell (Windows).
    """
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device) / 2**20)
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


_CLEAR: Final = Path("/proc/self/clear_refs")


class MemoryMeter:
    """What something adds to the memory in use, at its peak: `with meter.part() as part: ...`, then `part.added_mb`.

    On CUDA it is the peak of the device's allocated tensors less what was allocated before. On a CPU it is the peak of
    the process's resident memory less what was resident before, which the kernel of Linux keeps and can be told to
    forget; before an outermost part, freed memory is given back to the kernel as far as the C library does that. What
    fits into memory that the process holds already is hidden, and on other systems nothing is measured: None.

    Parts may be nested: the outer one's peak counts the inner one's.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._depth = 0
        self._most: float | None = None
        self._high = 0.0  # since the part in hand began, as far as the system has forgotten it

    def most_mb(self) -> float | None:
        """The most memory in use so far, whatever parts there were; see `peak_memory_mb`."""
        now = peak_memory_mb(self.device)
        self._most = max((mb for mb in (self._most, now) if mb is not None), default=None)
        return self._most

    @contextlib.contextmanager
    def part(self) -> Iterator[MemoryPart]:
        """What happens inside."""
        part = MemoryPart()
        outer = max(self._high, self._peak() or 0.0)
        before = self._forget()
        self._high = 0.0
        self._depth += 1
        try:
            yield part
        finally:
            self._depth -= 1
            peak = self._peak()
            if before is not None and peak is not None:
                peak = max(peak, self._high)
                part.added_mb = max(0.0, peak - before)
                self._high = max(outer, peak)

    def _forget(self) -> float | None:
        """Let the peak begin anew at what is in use, which is told in MiB; None where it cannot be."""
        self.most_mb()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            return torch.cuda.memory_allocated(self.device) / 2**20
        if self._depth == 0:
            with contextlib.suppress(
                AttributeError, OSError, TypeError
            ):  # macOS has no such function, Windows no such library
                ctypes.CDLL(None).malloc_trim(0)
        try:
            _CLEAR.write_text("5", encoding="ascii")
        except OSError:
            return None
        return resident_mb("VmRSS")

    def _peak(self) -> float | None:
        """MiB, since it began anew."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return float(torch.cuda.max_memory_allocated(self.device) / 2**20)
        return resident_mb("VmHWM")


class MemoryPart:
    """What a part added; None while it lasts and where it cannot be measured."""

    added_mb: float | None = None
