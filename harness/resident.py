"""The memory that this process holds, asked of the kernel; without PyTorch, whose own memory is most of a process's."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

STATUS: Final = Path("/proc/self/status")


def resident_mb(field: Literal["VmRSS", "VmHWM"]) -> float | None:
    """Resident memory now (`VmRSS`) or at its peak (`VmHWM`), in MiB; None where the system does not tell."""
    try:
        lines = STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 2**10 for line in lines if line.startswith(f"{field}:")), None)
