"""`dartboard bench searchers`: passes counted, and the arithmetic on them; never the clock."""

from __future__ import annotations

import copy
import json

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dartboard.benchmark.catalogue import Entry
from dartboard.benchmark.errors import InputError
from dartboard.harness.bench import Settings
from dartboard.harness.bench_searchers import (
    PERIOD,
    Passes,
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


class Classifier(nn.Module):
    """One linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.layer(x).tanh()


def test_passes_of_known_computations() -> None:
    """Passes forward and backward, halves of batches, copies and Hessian-vector products count as they should."""
    network = Classifier()
    weights = list(network.parameters())
    x, labels = torch.randn(6, 3), torch.zeros(6, dtype=torch.int64)

    def loss(rows: int = 6, of: nn.Module = network) -> Tensor:
        return F.cross_entropy(of(x[:rows]), labels[:rows])

    def product() -> None:
        gradient = torch.autograd.grad(loss(), weights, create_graph=True)
        torch.autograd.grad(sum((g * g.detach()).sum() for g in gradient), weights)

    with counted(network, batch=6) as passes:
        with torch.no_grad():
            loss()
        assert passes == Passes(forward=1, backward=0)
        loss().backward()
        assert passes == Passes(forward=2, backward=1)
        loss(3).backward()
        assert passes == Passes(forward=2.5, backward=1.5)
        product()
        assert passes == Passes(forward=3.5, backward=4.5)
        loss(of=copy.deepcopy(network)).backward()
        assert passes == Passes(forward=4.5, backward=5.5)
    loss().backward()
    assert passes == Passes(forward=4.5, backward=5.5)


@pytest.mark.parametrize("entry", [pytest.param(entry, id=name) for name, entry in searcher_entries().items()])
def test_the_catalogue_declares_the_passes_that_are_taken(entry: Entry) -> None:
    """A step of the method makes, on average, the forward and backward passes that its entry declares."""
    passes = count_passes(Stepper(entry, TINY))
    assert (passes.forward, passes.backward) == pytest.approx(entry.passes)


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
    assert (spos.name, spos.forward, spos.backward, spos.relative_passes) == ("spos", 2, 1, 0.75)
    assert spos.relative_seconds == spos.seconds / darts.seconds
    assert spos.excess == spos.relative_seconds / 0.75
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
