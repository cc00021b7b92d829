"""IS-DARTS: the measure against its own long form, the removals against measurements of the readable network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dartboard.benchmark.contracts import SelectionData
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.reference import Operation, ReferenceSupernet
from dartboard.benchmark.space import NONE, E, O
from dartboard.benchmark.streams import split_off, stream
from dartboard.harness.toys import toy_images, toy_trained
from dartboard.selectors.is_darts import Config, IsDarts, importance

BATCH = 6


def toy_data(dtype: torch.dtype = torch.float64) -> SelectionData:
    """The toy images."""
    train, valid = (toy_images(half, dtype=dtype) for half in ("train", "valid"))
    return SelectionData(train=train, valid=valid, batch_size=BATCH)


def literal(output: Tensor, measure: str) -> float:
    """The definition: mean 3(y - μ)²/σ⁶ over images, positions and channels, or minus the mean σ²."""
    mu, sigma = output.mean(1, keepdim=True), output.std(1, keepdim=True)
    if measure == "variance":
        return -float((sigma**2).mean())
    return float((3 * (output - mu) ** 2 / sigma**6).mean())


def test_the_closed_form_is_the_definition() -> None:
    """3(C - 1)/C · mean σ⁻⁴ is the published mean over channels (1e-10 relative in float64)."""
    for channels in (2, 5):
        output = torch.randn(4, channels, 3, 3, generator=stream(channels), dtype=torch.float64)
        assert float(importance(output, "iim")) == pytest.approx(literal(output, "iim"), rel=1e-10)
        assert float(importance(output, "variance")) == pytest.approx(literal(output, "variance"), rel=1e-10)


def measured(mixture: Tensor, measure: str, images: Tensor) -> np.ndarray[Any, Any]:
    """(E, O): the definition on the outputs of the readable network, the mean over its cells."""
    network = ReferenceSupernet(toy_trained(torch.float64).supernet)
    values = np.zeros((E, O))

    def keep(module: Operation, _: Any, output: Tensor, edge: int) -> None:
        if module.index != NONE:
            values[edge, module.index] += literal(output.detach(), measure) / 3  # three cells

    for block in network.blocks:
        for edge, operations in enumerate(getattr(block, "edges", [])):
            for operation in operations:
                operation.register_forward_hook(lambda m, a, out, edge=edge: keep(m, a, out, edge))
    with torch.no_grad():
        network(images, mixture, "batch")
    return values


@pytest.mark.parametrize("measure", ["iim", "variance"])
@pytest.mark.parametrize("schedule", ["once", "gradual"])
def test_removals_by_hand(measure: Any, schedule: Any) -> None:
    """Round by round, the operation of the largest measure leaves its edge; `none` has left before all."""
    trained, data = toy_trained(torch.float64), toy_data()
    answer = IsDarts(Config(measure=measure, schedule=schedule, batches=1)).select(trained, data, stream(0, "select"))
    root, mixture = split_off(stream(0, "select")), trained.searcher.mixture().detach().clone()
    expected, values = np.full((E, O), -1.0), np.zeros((E, O))
    expected[:, NONE] = 0
    for number, left in enumerate((4, 3, 2), start=1):
        if schedule == "gradual" or left == 4:
            images, _ = next(data.train.epoch(BATCH, stream(root, left)))
            values = measured(mixture, measure, images)
            if left == 4:
                np.testing.assert_allclose(answer.notes[measure], values[:, 1:], rtol=1e-8)
        for edge in range(E):
            worst = max((o for o in range(O) if expected[edge, o] < 0), key=values[edge].__getitem__)
            expected[edge, worst] = number
            mixture[edge, worst] = 0
    expected[expected < 0] = 4
    np.testing.assert_array_equal(answer.scores, expected)
    assert answer.cell.operations == tuple(expected.argmax(1))
    assert answer.images == BATCH * (3 if schedule == "gradual" else 1)


def test_channels_that_do_not_vary_are_refused() -> None:
    """A NaN or an infinite measure raises."""
    trained = toy_trained(torch.float64)
    with torch.no_grad():
        for parameter in trained.supernet.parameters():
            parameter.fill_(0)
    with pytest.raises(ValueError, match="do not vary, or hold NaN"):
        IsDarts(Config(batches=1)).select(trained, toy_data(), stream(0))


def test_wrong_options_are_refused() -> None:
    """A word out of range is quoted."""
    with pytest.raises(InputError, match="unknown measure 'imm'; did you mean 'iim'"):
        Config(measure="imm")  # type: ignore[arg-type]  # the claim
