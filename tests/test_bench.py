"""`dartboard bench`: its structure and arithmetic; never the clock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dartboard.benchmark.errors import InputError
from dartboard.harness.bench import TARGETS, Settings, count, in_process, interleave, make, quartiles, run_bench
from dartboard.harness.bench_network import Counter, network_work, published_step, repeat_convolutions
from dartboard.harness.cli import main

TINY = Settings(channels=2, cells_per_stage=1, image_size=8, batch_size=2, rounds=2)


def ticks() -> Iterator[float]:
    """A clock that shows 0, 1, 3, 6, 10, ...: the n-th span lasts n seconds."""
    now = 0.0
    for step in range(10_000):
        yield now
        now += step + 1


def test_variants_take_turns_and_the_order_turns_round() -> None:
    """After one call of each that does not count, round 0 goes a, b and round 1 goes b, a."""
    called: list[str] = []
    clock = ticks()
    seconds = interleave({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, 2, lambda: next(clock))
    assert called == ["a", "b", "a", "b", "b", "a"]
    assert seconds == {"a": [1, 7], "b": [3, 5]}


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=12))
def test_quartiles_are_numpys(values: list[float]) -> None:
    """The quartiles agree with numpy's linear interpolation."""
    assert quartiles(values) == pytest.approx(tuple(np.percentile(values, [25, 75])), rel=1e-12, abs=1e-9)


def test_counts_of_a_known_computation() -> None:
    """One convolution, one view, one product and one read: operations, multiply-adds, bytes and waits by hand."""
    x, w = torch.ones(2, 3, 8, 8), torch.ones(4, 3, 3, 3)

    def work() -> None:
        y = F.conv2d(x, w, padding=1)  # 2 * 4 * 64 outputs of 27 multiply-adds
        float((y.view(-1) * y.view(-1))[0])

    with Counter() as counter:
        work()
    outputs = 2 * 4 * 64
    assert counter.flops == 2 * 27 * outputs
    assert counter.host_waits == 1
    assert counter.operations == 3
    assert counter.bytes_moved == 4 * ((x.numel() + w.numel() + outputs) + 3 * outputs + 1)
    assert [call[0] for call in counter.convolutions] == [torch.ops.aten.convolution.default]
    assert repeat_convolutions(counter.convolutions, iter(range(100)).__next__) == 1


def test_the_fast_step_does_less_than_the_published_one() -> None:
    """At the same size it dispatches fewer than 60 % of the operations and needs fewer multiply-adds."""
    names = ("fast", "reference")
    fast, reference = (count(network_work("step", name, TINY), iter(range(100)).__next__) for name in names)
    assert fast.operations < 0.6 * reference.operations
    assert fast.flops < reference.flops
    assert fast.bytes_moved < 0.6 * reference.bytes_moved


def test_a_search_step_never_waits_for_the_device() -> None:
    """The only number that the host reads in a step of first-order DARTS is Adam's own counter, kept on the host."""
    with Counter() as step:
        network_work("step", "fast", TINY)()
    parameter = nn.Parameter(torch.ones(3))
    parameter.grad = torch.ones(3)
    adam = torch.optim.Adam([parameter])
    with Counter() as alone:
        adam.step()
    assert step.host_waits == alone.host_waits <= 1


def test_the_published_step_is_the_searchers_own_in_its_result() -> None:
    """One published step moves weights and logits as one step of the searcher does, to 1e-9 in float64."""
    from dartboard.benchmark.contracts import Batch
    from dartboard.benchmark.reference import ReferenceSupernet
    from dartboard.benchmark.supernet import Supernet, SupernetConfig
    from dartboard.searchers.darts_v1 import Config, DartsV1

    ends = []
    for published in (True, False):
        generator = torch.Generator().manual_seed(0)
        fast = Supernet(SupernetConfig(channels=2, cells_per_stage=1), generator=generator, dtype=torch.float64)
        network = ReferenceSupernet(fast)
        train, valid = (
            Batch(torch.randn(4, 3, 8, 8, generator=generator, dtype=torch.float64), torch.arange(4)) for _ in range(2)
        )
        searcher = DartsV1(network, Config(), generator=generator)
        if published:
            published_step(searcher, train, valid)
        else:
            searcher.step(train, valid)
        ends.append([searcher.alpha.detach(), *(p.detach() for p in network.parameters())])
    for ours, theirs in zip(*ends, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("target", ["supernet", "step", "select"])
def test_a_report_names_every_variant_and_its_ratio(target: str) -> None:
    """The ratio is the reference's median over the variant's; the counts are there."""
    report = run_bench(target, TINY, reference=True, memory=False)
    assert [variant.name for variant in report.variants] == [name for name in TARGETS[target] if name != "compiled"]
    reference = report.variants[-1]
    for variant in report.variants:
        assert variant.ratio == pytest.approx(reference.seconds / variant.seconds)
        assert variant.low <= variant.seconds <= variant.high
        assert variant.counts is not None
        assert variant.counts.flops > 0
    assert json.loads(json.dumps(report.as_json()))["settings"]["channels"] == 2


def test_shared_passes_need_fewer_multiply_adds_than_separate_ones() -> None:
    """Thirty masks shared cost at most 25 of 30 passes in multiply-adds."""
    shared, separate = (
        count(network_work("select", name, TINY), iter(range(100)).__next__) for name in ("shared", "separate")
    )
    assert shared.flops < 25 / 30 * separate.flops


def test_masks_are_timed_under_running_statistics_that_are_the_batchs_own() -> None:
    """With `norm="running"` every form gives one and the same answer for each mask, and it is not that of "batch"."""
    running = replace(TINY, norm="running")
    shared, separate, reference = (network_work("select", name, running)() for name in TARGETS["select"])
    by_batch = network_work("select", "separate", TINY)()
    for ours, theirs, expected, other in zip(shared, separate, reference, by_batch, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(theirs, expected, rtol=1e-3, atol=1e-4)
        assert not torch.allclose(ours, other, rtol=1e-3, atol=1e-4)


def test_memory_is_measured_in_a_process_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` has the peak memory of each variant, in MiB."""
    options = ["--channels", "1", "--cells-per-stage", "1", "--image-size", "4", "--batch-size", "2", "--rounds", "1"]
    with pytest.raises(SystemExit) as caught:
        main(["bench", "supernet", *options, "--json"])
    assert not caught.value.code
    (variant,) = json.loads(capsys.readouterr().out)["variants"]
    assert 20 < variant["peak_memory_mb"] < 10_000


@pytest.mark.parametrize("variant", TARGETS["images"])
def test_image_work_is_ten_batches(variant: str) -> None:
    """Ten batches of the size asked for."""
    batches = make("images", variant, TINY)()
    assert isinstance(batches, list)
    assert [len(images) for images, _ in batches] == [2] * 10


def test_table_work_looks_up_a_million_cells() -> None:
    """One number for each of 1,000,000 cells."""
    found = make("table", "lookup", TINY)()
    assert isinstance(found, np.ndarray)
    assert found.shape == (1_000_000,)


def test_the_text_has_a_line_for_each_variant(capsys: pytest.CaptureFixture[str]) -> None:
    """A line of what was measured, one of headings, one for each variant."""
    with pytest.raises(SystemExit):
        main(["bench", "images", "--batch-size", "2", "--image-size", "4", "--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("images: C=16, N=5, 4 pixels, batch 2; 1 rounds;")
    assert [line.split()[0] for line in lines[2:]] == ["augmented", "plain"]


def test_an_unknown_target_and_a_size_below_one_are_refused() -> None:
    """The messages quote what was given."""
    with pytest.raises(InputError, match="'steps'"):
        run_bench("steps", TINY, reference=False)
    with pytest.raises(InputError, match="batch size: at least 1; got 0"):
        Settings(batch_size=0)


def test_a_process_that_fails_ends_in_one_line() -> None:
    """Its exit code and the last that it said are told, and what to do; what it prints otherwise is read as JSON."""
    assert in_process("builtins:print", "3") == 3
    with pytest.raises(InputError, match=r"measures Killed alone ended with code 1 \(Killed\): ask for smaller sizes"):
        in_process("sys:exit", "Killed")
