"""The supernet under a fixed mixture."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import stream
from dartboard.harness.toys import toy_batch as batch
from dartboard.harness.toys import toy_epoch, toy_searcher, toy_supernet
from dartboard.searchers._training import PROTOCOLS
from dartboard.searchers.darts_v1 import Config as DartsConfig
from dartboard.searchers.darts_v1 import DartsV1
from dartboard.searchers.fixed_alpha import Config, FixedAlpha


def make(**options: Any) -> FixedAlpha:
    """A fresh one in float64."""
    return toy_searcher(FixedAlpha, **options)


def test_the_papers_mixture_is_exactly_uniform_and_the_released_one_nearly() -> None:
    """α = 0 gives 1/O everywhere; the released start is 1e-3·N(0, 1), so within a percent of it, and not it."""
    uniform = torch.full((E, O), 1 / O, dtype=torch.float64)
    torch.testing.assert_close(make().mixture(), uniform, rtol=1e-15, atol=0)
    released = make(init="released").mixture()
    assert 0 < float((released - uniform).abs().max()) < 0.01 / O


@pytest.mark.parametrize("init", ["zero", "released"])
@pytest.mark.parametrize("protocol", ["ucla", "autodl"])
def test_alpha_never_moves_and_the_weights_do(init: str, protocol: str) -> None:
    """Three epochs leave the mixture bit for bit as it was, under either protocol."""
    searcher = make(init=init, protocol=protocol)
    mixture, weight = searcher.mixture(), searcher.supernet.state_dict()["classifier.weight"].clone()
    for epoch in range(3):
        toy_epoch(searcher, searcher.config.protocol, epoch)
    assert torch.equal(searcher.mixture(), mixture)
    assert not torch.equal(searcher.supernet.state_dict()["classifier.weight"], weight)


def test_the_weights_train_as_those_of_darts_with_frozen_logits() -> None:
    """From the same weights and the same logits, the weight step is DARTS' own, bit for bit."""
    fixed = make(init="released")
    darts = DartsV1(toy_supernet(dtype=torch.float64), DartsConfig(), generator=stream(0, "a"))
    assert torch.equal(fixed.alpha, darts.alpha)
    for method in (fixed, darts):
        method.begin_epoch(0, torch.Generator())
        method.weight_step(batch(0))
    states: list[dict[str, Tensor]] = [method.supernet.state_dict() for method in (fixed, darts)]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_the_validation_batch_changes_nothing() -> None:
    """The look at it leaves weights and running statistics bit for bit as they were."""
    searcher = make()
    searcher.begin_epoch(0, torch.Generator())
    before = {name: value.clone() for name, value in searcher.supernet.state_dict().items()}
    half = searcher.architecture_step(batch(0), batch(1))
    assert half.images == 6
    assert not half.loss.requires_grad
    for name, value in searcher.supernet.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_an_unknown_start_is_refused() -> None:
    """`init` has two values."""
    with pytest.raises(InputError, match="'one'"):
        Config(protocol=PROTOCOLS["ucla"], init="one")  # type: ignore[arg-type]  # the wrong value is the point
