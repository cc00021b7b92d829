"""`dartboard bench searchers`: passes counted, and the arithmetic on them; never the clock."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Final

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dartboard.benchmark.catalogue import Entry
from dartboard.benchmark.double_backward import TwiceDifferentiable
from dartboard.benchmark.errors import InputError
from dartboard.harness.bench import Settings
from dartboard.harness.bench_searchers import (
    PERIOD,
    SearcherCost,
    SearcherReport,
    Stepper,
    count_passes,
    counted,
    run_searcher_bench,
    searcher_entries,
)
from dartboard.harness.cli import main
from dartboard.harness.commands.bench import costs_as_text

TINY = Settings(channels=4, cells_per_stage=1, image_size=8, batch_size=2, rounds=2)


class Chain(nn.Module):
    """Two convolutions, before them a scale."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(3, 3, 3, padding=1, bias=False) for _ in range(2))

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        """Images to images."""
        return self.second(self.first(x * scale).tanh()).tanh()


IMAGES: Final = torch.randn(6, 3, 5, 5, generator=torch.Generator().manual_seed(0))
UNIT: Final = 6 * 25 * 2 * 81
"""Multiply-adds of a pass of `IMAGES` through a `Chain`: images x places x kernels of 3 x 3 x 3 x 3."""


def multiply_adds(network: Chain, work: Callable[[], object]) -> tuple[float, float]:
    """Of `work`, forward and backward, in passes."""
    with counted(network) as passes:
        work()
    return passes.forward / UNIT, passes.backward / UNIT


def test_passes_of_known_computations() -> None:
    """A pass is 1 forward, 1 or 2 backward, half for half a batch, as much in a copy; a grouped convolution nothing."""
    network, scale = Chain(), torch.ones((), requires_grad=True)

    def work(rows: int, weights: bool, of: Chain) -> None:
        loss = of(IMAGES[:rows], scale).square().sum()
        torch.autograd.grad(loss, [scale, *(of.parameters() if weights else ())])
        F.conv2d(IMAGES, torch.ones(3, 1, 3, 3), groups=3)

    assert multiply_adds(network, torch.no_grad()(lambda: network(IMAGES, scale))) == (1, 0)
    for rows, weights, expected in ((6, False, (1, 1)), (6, True, (1, 2)), (3, True, (0.5, 1))):
        assert multiply_adds(network, partial(work, rows, weights, network)) == expected
    assert multiply_adds(network, lambda: work(6, True, copy.deepcopy(network))) == (1, 2)


def test_only_the_convolutions_with_the_most_input_channels_count() -> None:
    """A layer of one channel before the others adds nothing."""
    network = Chain()
    before = nn.Conv2d(1, 3, 3, padding=1)
    assert multiply_adds(network, lambda: network(before(IMAGES[:, :1]), torch.ones(()))) == (1, 0)


def test_second_derivatives_take_six_passes_and_mixed_ones_four() -> None:
    """So PyTorch's own counter of FLOP says as well; of its own derivative, six."""
    scale, twice = torch.ones((), requires_grad=True), TwiceDifferentiable()
    network = Chain()
    weights = list(network.parameters())
    for within, asked, lean, expected in (
        (nullcontext(), [scale, *weights], nullcontext(), 6),
        (twice, [scale, *weights], nullcontext(), 6),
        (twice, [scale], twice.without_weights(), 4),
    ):
        with within:
            loss = network(IMAGES, scale).square().sum()
        made = torch.autograd.grad(loss, [scale, *weights], create_graph=True)
        vector = [torch.randn_like(each) for each in made]
        with counted(network) as passes, FlopCounterMode(display=False) as flops, lean:
            torch.autograd.grad(made, asked, vector)
        assert flops.get_total_flops() == 2 * expected * UNIT  # a multiply-add is two
        if within is twice:
            assert (passes.forward, passes.backward) == (0, expected * UNIT)


@pytest.mark.parametrize("entry", [pytest.param(entry, id=name) for name, entry in searcher_entries().items()])
def test_the_catalogue_declares_the_multiply_adds_that_are_made(entry: Entry) -> None:
    """A step's convolutions make, forward and backward, what its entry declares, in passes."""
    passes = count_passes(Stepper(entry, TINY))
    assert (passes.forward, passes.backward) == pytest.approx(entry.passes, rel=1e-12)


def test_steps_are_taken_until_the_work_repeats() -> None:
    """A method of whole passes takes a step a call, and one that moves alpha now and then a whole period."""
    entries = searcher_entries()
    assert [Stepper(entries[name], TINY).steps for name in ("darts-v1", "idarts")] == [1, PERIOD]


def test_a_report_is_relative_to_first_order_darts() -> None:
    """It comes first, at 1; the others' factors are quotients of seconds and passes, and nothing else is run."""
    threads = torch.get_num_threads()
    report = run_searcher_bench(TINY, ["spos"], memory=False)
    assert torch.get_num_threads() == threads
    darts, spos = report.searchers
    assert (darts.name, darts.relative_seconds, darts.relative_passes, darts.excess) == ("darts-v1", 1, 1, 1)
    assert (spos.name, spos.forward, spos.backward, spos.relative_passes) == ("spos", 2, 2, 0.8)
    assert spos.relative_seconds == spos.seconds / darts.seconds
    assert spos.excess == spos.relative_seconds / 0.8
    assert spos.low <= spos.seconds <= spos.high
    assert spos.peak_memory_mb is None
    assert json.loads(json.dumps(report.as_json()))["searchers"][1]["name"] == "spos"


def test_an_excess_beyond_the_goal_is_marked() -> None:
    """The table has a line a method, and an exclamation mark where the quotient is above 1.3."""
    cost = {"low": 0.1, "high": 0.3, "forward": 2.0, "backward": 2.25, "peak_memory_mb": 12.3}
    report = SearcherReport(
        target="searchers",
        settings=TINY,
        machine="here",
        searchers=tuple(
            SearcherCost(
                name=name, seconds=0.2, relative_seconds=2.0, relative_passes=2 / excess, excess=excess, **cost
            )
            for name, excess in (("good", 1.3), ("bad", 1.31))
        ),
    )
    *_, good, bad = costs_as_text(report)
    assert good.split() == ["good", "200.0", "100.0", "to", "300.0", "12", "2", "2.25", "1.54x", "2.00x", "1.30"]
    assert bad.split()[-1] == "1.31!"


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` holds one object for each method asked for, and the size."""
    size = ("--channels", "2", "--cells-per-stage", "1", "--image-size", "8", "--batch-size", "2", "--rounds", "1")
    with pytest.raises(SystemExit) as ended:
        main(["bench", "searchers", "--searcher", "spos", "--no-memory", "--json", *size])
    assert not ended.value.code
    printed = json.loads(capsys.readouterr().out)
    assert printed["settings"]["channels"] == 2
    assert [cost["name"] for cost in printed["searchers"]] == ["darts-v1", "spos"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["step", "--searcher", "spos"], "the target 'step' has no use for --searcher"),
        (["searchers", "--against", "reference"], "the target 'searchers' has no use for --against"),
        (["searchers", "--searcher", "spoz"], "unknown searcher that trains a supernet 'spoz'; did you mean 'spos'?"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option of another target, or a name that is no such method, ends with 2 and a line that says so."""
    with pytest.raises(SystemExit) as ended:
        main(["bench", *arguments, "--no-memory"])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_unknown_methods_are_input_errors() -> None:
    """Called from Python the message is the same."""
    with pytest.raises(InputError, match="did you mean 'gdas'"):
        run_searcher_bench(TINY, ["gdaz"])
