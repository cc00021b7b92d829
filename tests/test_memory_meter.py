"""What a part of the program adds to the memory in use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dartboard.harness import devices, resident
from dartboard.harness.devices import MemoryMeter, peak_memory_mb

CPU = torch.device("cpu")
MIB = 2**20
needs_linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the kernel keeps no such peak")


@needs_linux
def test_a_part_adds_what_it_allocates() -> None:
    """64 MiB written and let go inside are 64 MiB at the peak (allocator included), though none is left."""
    meter = MemoryMeter(CPU)
    with meter.part() as part:
        held = torch.ones(64 * MIB // 4)
        assert part.added_mb is None
        del held
    assert part.added_mb == pytest.approx(64, abs=2)
    with meter.part() as nothing:
        pass
    assert nothing.added_mb == pytest.approx(0, abs=1)


@needs_linux
def test_an_outer_part_counts_the_inner_ones() -> None:
    """32 MiB outside and 64 inside are 96 for the outer part; a smaller part that follows hides none of them."""
    meter = MemoryMeter(CPU)
    with meter.part() as outer:
        held = torch.ones(32 * MIB // 4)
        with meter.part() as inner:
            more = torch.ones(64 * MIB // 4)
        del more
        with meter.part() as later:
            less = torch.ones(16 * MIB // 4)
        del held, less
    assert inner.added_mb == pytest.approx(64, abs=2)
    assert later.added_mb == pytest.approx(16, abs=2)
    assert outer.added_mb == pytest.approx(96, abs=3)


@needs_linux
def test_the_most_so_far_outlives_the_parts() -> None:
    """The process's peak is not forgotten when a part makes the kernel begin anew."""
    meter = MemoryMeter(CPU)
    held = torch.ones(128 * MIB // 4)
    del held
    before = peak_memory_mb(CPU)
    with meter.part():
        pass
    assert meter.most_mb() >= before - 1


def test_where_there_is_no_measure_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a system without these files a part has no number, and nothing fails."""
    monkeypatch.setattr(resident, "STATUS", tmp_path / "none")
    monkeypatch.setattr(devices, "_CLEAR", tmp_path / "no" / "none")
    meter = MemoryMeter(CPU)
    with meter.part() as part:
        pass
    assert part.added_mb is None
    assert meter.most_mb() > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_the_devices_tensors_count() -> None:
    """A tensor of 8 MiB made and dropped inside adds 8 MiB."""
    device = torch.device("cuda")
    with MemoryMeter(device).part() as part:
        torch.ones(2 * MIB, device=device)
    assert part.added_mb == 8
