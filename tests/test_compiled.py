"""Compiled search cells: the same numbers as the readable form, only where they can be had, and told of in records."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark import compiled
from dartboard.benchmark.compiled import compiled_cells, compiler, require_compiler
from dartboard.benchmark.double_backward import TwiceDifferentiable
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.partial import build_supernet
from dartboard.benchmark.reference import ReferenceSupernet
from dartboard.benchmark.supernet import MixedNetwork, SearchCell, Supernet, SupernetConfig
from dartboard.harness.bench import Settings, run_bench
from dartboard.harness.doubles import Silent, unmeasured
from dartboard.harness.engine import Engine, Outcome
from dartboard.harness.grid import Overrides, read_grid
from dartboard.harness.searcher_checks import SearcherCase
from dartboard.results.records import read_header
from dartboard.searchers._catalogue import SEARCHERS
from dartboard.selectors._catalogue import SELECTORS

pytestmark = [
    # PyTorch's own tracer looks at the `.grad` of tensors that have none, and means to hide the warning of it; and its
    # compiler's code uses what PyTorch has deprecated.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning"),
]


@cache
def tracer() -> Any:
    """The tracing half of torch.compile: what it makes of a cell is run by PyTorch, and needs no C++ compiler."""
    return compiler("aot_eager")


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[SearchCell]:
    """Cells are traced and no more; those that were."""
    went: list[SearchCell] = []

    def run(cell: SearchCell, *arguments: Any) -> Tensor:
        went.append(cell)
        out: Tensor = tracer()(cell, *arguments)
        return out

    monkeypatch.setattr(compiled, "compiler", lambda: run)
    return went


@pytest.fixture
def real() -> None:
    """Skips where nothing can be compiled."""
    try:
        require_compiler(torch.device("cpu"))
    except InputError as error:
        pytest.skip(str(error))


def make(channels: int = 4, cells: int = 1, **kind: Any) -> Supernet:
    """A small supernet in float64."""
    config = SupernetConfig(channels=channels, cells_per_stage=cells, num_classes=5, **kind)
    return build_supernet(config, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def outcome(network: MixedNetwork, mixture: Tensor) -> list[Tensor]:
    """Logits, the gradients of images, mixture and weights, and the buffers after a pass that trains these."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 3, 8, 8, generator=generator, dtype=torch.float64).requires_grad_()
    p = mixture.clone().requires_grad_()
    logits = network(images, p, "train")
    loss = F.cross_entropy(logits, torch.arange(4))
    gradients = torch.autograd.grad(loss, [images, p, *network.parameters()])
    return [logits.detach(), *gradients, *(buffer.clone() for buffer in network.buffers())]


def mixture(*cells: int) -> Tensor:
    """(E, O), or (cells, E, O), of positive weights and zeros."""
    drawn = torch.rand(*cells, 6, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return drawn * (drawn > 0.2)


@pytest.mark.parametrize(
    ("kind", "cells"),
    [({}, ()), ({"cells": 2}, (6,)), ({"channels": 8}, ()), ({"partial": 2, "edge_normalisation": True}, ())],
)
def test_traced_cells_equal_the_readable_ones(traced: list[SearchCell], kind: dict[str, Any], cells: Any) -> None:
    """In float64, to 1e-10: logits, all gradients, running statistics; also per-cell mixtures, partial channels."""
    network = make(**kind)
    plain = outcome(copy.deepcopy(network), mixture(*cells))
    readable = outcome(ReferenceSupernet(copy.deepcopy(network)), mixture(*cells))[:3]  # its weights: other shapes
    with compiled_cells(network):
        found = outcome(network, mixture(*cells))
    assert len(traced) == network.config.cells
    for ours, theirs in zip([*found, *found[:3]], [*plain, *readable], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_compiled_cells_equal_those_that_are_not(real: None) -> None:
    """Through the real compiler, in float64, to 1e-10: logits, every gradient, every running statistic."""
    network = make(channels=8)
    expected = outcome(copy.deepcopy(network), mixture())
    with compiled_cells(network):
        found = outcome(network, mixture())
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_passes_without_gradient_or_to_be_differentiated_twice_stay_as_they_are(traced: list[SearchCell]) -> None:
    """Within the block neither goes through a compiled function, and second derivatives are bit for bit the same."""
    network = make()
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def second() -> Tensor:
        p = mixture().requires_grad_()
        with TwiceDifferentiable():
            loss = F.cross_entropy(network(images, p, "batch"), torch.arange(4))
            (first,) = torch.autograd.grad(loss, p, create_graph=True)
        (product,) = torch.autograd.grad(first.square().sum(), p)
        return product

    expected = second()
    with torch.no_grad():
        logits = network(images, mixture(), "batch")
        with compiled_cells(network):
            assert torch.equal(network(images, mixture(), "batch"), logits)
    with compiled_cells(network):
        assert torch.equal(second(), expected)
    assert traced == []


@pytest.mark.parametrize("name", [entry.name for entry in SEARCHERS if not entry.queries])
def test_every_search_method_trains_the_same_through_compiled_cells(name: str, traced: list[SearchCell]) -> None:
    """Two epochs in float64 end in the same mixtures, weights and statistics, to 1e-7."""
    case, ends = SearcherCase.of(SEARCHERS[name]), []
    for compiling in (True, False):
        searcher = case.build(dtype=torch.float64)
        with compiled_cells(searcher.supernet) if compiling else nullcontext():
            trajectory = case.train(searcher, [0, 1])
        ends.append([*trajectory, *searcher.supernet.state_dict().values()])
    assert traced
    for ours, theirs in zip(*ends, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-7)


def test_after_the_block_nothing_is_compiled(traced: list[SearchCell]) -> None:
    """Also where it ends by an error; and a copy made afterwards is as any other."""
    network = make()
    with pytest.raises(ZeroDivisionError), compiled_cells(network):
        raise ZeroDivisionError
    outcome(copy.deepcopy(network), mixture())
    outcome(network, mixture())
    assert traced == []


def test_where_nothing_can_be_compiled_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the device, what the compiler said, on one line, and the way out."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("Failed to find C++ compiler.\n  Please specify one")

    monkeypatch.setattr(torch, "compile", refuse)
    expected = r"for cpu here \(RuntimeError: Failed to find C\+\+ compiler\. Please"
    with pytest.raises(InputError, match=expected) as told:
        require_compiler(torch.device("cpu"))
    assert "\n" not in str(told.value)
    assert "leave compile out" in str(told.value)


def engine(folder: Path, *, compiling: bool, **overrides: Any) -> Engine:
    """An engine for the smoke grid, which is in float64, on 64 + 64 images."""
    chosen = {"searchers": ("darts-v1",), "selectors": ("magnitude", "leave-one-out"), "seeds": "0"} | overrides
    settings = ("images.train_images=64", "images.valid_images=64")
    asked = Overrides(**chosen, settings=settings, compile=compiling)
    grid = read_grid("smoke", asked, searchers=SEARCHERS, selectors=SELECTORS)
    return Engine(grid, folder, device="cpu", listener=Silent())


def test_a_compiled_search_chooses_as_any_other_and_says_what_it_was(
    traced: list[SearchCell], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In float64 the cells are the same; grid.json tells; and the folder takes no run that is not compiled."""
    monkeypatch.setattr("dartboard.harness.engine.require_compiler", lambda _: None)
    for name, compiling in (("compiled", True), ("plain", False)):
        assert engine(tmp_path / name, compiling=compiling).run() == Outcome(ok=2, failed=0)
    assert traced
    ours, theirs = (unmeasured(tmp_path / name) for name in ("compiled", "plain"))
    assert [record["cell"] for record in ours] == [record["cell"] for record in theirs]
    header = read_header(tmp_path / "compiled")
    assert header is not None
    assert header.options["compile"] is True
    with pytest.raises(InputError, match="its compile is True, now it is False"):
        engine(tmp_path / "compiled", compiling=False, seeds="1").run()


def test_a_grid_that_trains_no_supernet_has_nothing_to_compile() -> None:
    """An option that nothing would heed is refused."""
    with pytest.raises(InputError, match="compile has no use: no supernet is trained"):
        read_grid(
            "smoke", Overrides(searchers=("random-search",), compile=True), searchers=SEARCHERS, selectors=SELECTORS
        )


def test_the_compiled_step_takes_part_where_it_is_asked_for(
    traced: list[SearchCell], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`bench step --compile` has three variants; the compiled one is not counted, and its first call compiles."""
    monkeypatch.setattr("dartboard.harness.bench_network.require_compiler", lambda _: None)
    settings = Settings(channels=2, cells_per_stage=1, image_size=8, batch_size=4, rounds=1, compile=True)
    report = run_bench("step", settings, reference=True, memory=False)
    assert [variant.name for variant in report.variants] == ["fast", "compiled", "reference"]
    ours = report.variants[1]
    assert ours.counts is None
    assert ours.compiled_operations
    assert ours.ratio is not None
    assert ours.first_seconds > ours.seconds
    assert traced
