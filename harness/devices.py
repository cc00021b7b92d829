"""Where tensors live: found by name, described for records."""

from __future__ import annotations

import platform
import resource
import sys

import torch

from dartboard.benchmark.errors import InputError


def find_device(choice: str) -> torch.device:
    """The device called `choice`: `auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`, ...

    Raises:
        InputError: when there is no such device here.
    """
    if choice == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(choice)
    except RuntimeError:
        raise InputError(f"unknown device {choice!r}: auto, cpu, cuda or cuda:N") from None
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise InputError(f"unknown device {choice!r}: auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= count:
        raise InputError(f"there is no device {choice!r} here ({count} CUDA devices): use --device cpu")
    return device


def describe_device(device: torch.device) -> str:
    """A device in words."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"


def peak_memory_mb(device: torch.device) -> float:
    """The most memory in use so far: of the device's tensors on CUDA, of the whole process on a CPU; in MiB."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device) / 2**20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
