"""SNAS."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import E, O
from dartboard.harness.toys import toy_batch as batch
from dartboard.harness.toys import toy_numbers as normal
from dartboard.harness.toys import toy_searcher
from dartboard.searchers._training import gumbel
from dartboard.searchers.snas import Config, Snas, concrete


def make(**options: Any) -> Snas:
    """A fresh one in float64."""
    return toy_searcher(Snas, **options)


@pytest.mark.parametrize("temperature", [10.0, 1.0, 0.3])
def test_the_sample_is_differentiable_in_the_logits(temperature: float) -> None:
    """With frozen noise its gradient passes PyTorch's own check against finite differences, in float64."""
    noise = normal(E, O, seed=1)
    assert torch.autograd.gradcheck(lambda alpha: concrete(alpha, noise, temperature), normal(E, O).requires_grad_())


def test_the_sample_is_pytorchs_relaxed_one_hot_categorical() -> None:
    """Mean and second moment of 100,000 draws agree with those of PyTorch's own distribution."""
    count, temperature = 100_000, 0.7
    logits = torch.tensor([-1.0, 0.0, 0.5, 1.0, 0.0], dtype=torch.float64)
    rows = logits.expand(count, O)
    ours = concrete(rows, gumbel(torch.Generator().manual_seed(2), rows), temperature)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        theirs = torch.distributions.RelaxedOneHotCategorical(
            torch.tensor(temperature, dtype=torch.float64), logits=logits
        ).sample((count,))
    for power in (1, 2):
        one, other = ours**power, theirs**power
        error = ((one.var(0) + other.var(0)) / count).sqrt()
        assert bool(((one.mean(0) - other.mean(0)).abs() < 6 * error).all())


def test_the_limits_of_the_temperature() -> None:
    """τ → ∞ gives the uniform mixture, τ → 0 a one-hot row at the largest of log p + G."""
    alpha, noise = normal(E, O), normal(E, O, seed=1)
    hot = concrete(alpha, noise, 1e9)
    torch.testing.assert_close(hot, torch.full_like(hot, 1 / O), rtol=1e-7, atol=0)
    cold = concrete(alpha, noise, 1e-4)
    expected = F.one_hot((alpha + noise).argmax(-1), O).double()
    torch.testing.assert_close(cold, expected, rtol=0, atol=1e-12)


def test_the_temperature_falls_linearly_from_10_to_1() -> None:
    """As in the baseline of the DrNAS authors, and 1 ever after."""
    searcher = make(epochs=100)
    for epoch, expected in ((0, 10.0), (33, 7.0), (99, 1.0), (100, 1.0), (999, 1.0)):
        searcher.begin_epoch(epoch, torch.Generator())
        assert searcher.temperature == pytest.approx(expected, rel=1e-12)


def test_on_a_single_level_one_pass_trains_both() -> None:
    """Two steps equal PyTorch's SGD and Adam on one loss under the same noise; the validation batch trains nothing."""
    searcher = make(level="single", gradient_clip=0.0)
    network, alpha = copy.deepcopy(searcher.supernet), searcher.alpha.detach().clone().requires_grad_()
    searcher.begin_epoch(0, torch.Generator().manual_seed(4))
    twin = torch.Generator().manual_seed(4)
    sgd = torch.optim.SGD(network.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)
    adam = torch.optim.Adam([alpha], lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    for seed in range(2):
        mixture = ((alpha.log_softmax(-1) + gumbel(twin, alpha)) / 10).softmax(-1)
        sgd.zero_grad()
        adam.zero_grad()
        F.cross_entropy(network(batch(seed).images, mixture), batch(seed).labels).backward()
        sgd.step()
        adam.step()
        result = searcher.step(batch(seed), batch(seed + 50))
        assert result.images == 12
    torch.testing.assert_close(searcher.alpha, alpha, rtol=1e-9, atol=1e-12)
    for ours, theirs in zip(searcher.supernet.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_on_two_levels_each_half_has_a_sample_of_its_own() -> None:
    """The architecture's batch first, as in `ucla`; different mixtures on the simplex."""
    searcher = make()
    searcher.begin_epoch(0, torch.Generator().manual_seed(0))
    seen: list[tuple[Tensor, Tensor]] = []
    searcher.supernet.register_forward_pre_hook(lambda _, arguments: seen.append((arguments[0], arguments[1].detach())))
    train, valid = batch(0), batch(1)
    searcher.step(train, valid)
    assert [images is half.images for (images, _), half in zip(seen, (valid, train), strict=True)] == [True, True]
    assert not torch.equal(seen[0][1], seen[1][1])
    for _, mixture in seen:
        torch.testing.assert_close(mixture.sum(-1), torch.ones(E, dtype=torch.float64), rtol=1e-12, atol=0)


def test_wrong_options_are_refused() -> None:
    """A level that is none, a temperature of zero."""
    with pytest.raises(InputError, match="'both'"):
        Config(level="both")  # type: ignore[arg-type]  # the wrong value is the point
    with pytest.raises(InputError, match=r"temperature is greater than 0; got 0\.0"):
        Config(temperature=0.0)
