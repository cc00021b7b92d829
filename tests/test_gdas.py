"""GDAS."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import E, O
from dartboard.harness.toys import toy_batch as batch
from dartboard.harness.toys import toy_numbers as normal
from dartboard.harness.toys import toy_searcher
from dartboard.searchers._training import gumbel, linear
from dartboard.searchers.gdas import Config, Gdas, sample


def make(**options: Any) -> Gdas:
    """A fresh one in float64, under its published protocol."""
    return toy_searcher(Gdas, **{"protocol": "autodl", "epochs": 250, **options})


def test_gumbel_noise_has_its_distribution() -> None:
    """The empirical distribution of 200,000 draws keeps to exp(-exp(-x)) within Kolmogorov's 0.1 % bound."""
    count = 200_000
    draws = gumbel(torch.Generator().manual_seed(0), torch.empty(count, dtype=torch.float64)).sort().values
    distance = ((-(-draws).exp()).exp() - torch.arange(1, count + 1) / count).abs().max()
    assert float(distance) < 1.95 / count**0.5


def test_the_samples_have_the_probabilities_of_the_softmax() -> None:
    """By Gumbel-max, whatever the temperature: frequencies within six standard errors of softmax(α)."""
    count = 100_000
    alpha = torch.tensor([-1.0, 0.0, 0.5, 1.0, 0.0], dtype=torch.float64)
    rows = alpha.expand(count, O)
    for temperature in (10.0, 0.1):
        drawn = sample(rows, gumbel(torch.Generator().manual_seed(1), rows), temperature).mean(0)
        p = alpha.softmax(-1)
        assert bool(((drawn - p).abs() < 6 * (p * (1 - p) / count).sqrt()).all())


@pytest.mark.parametrize("temperature", [10.0, 1.0, 0.1])
def test_forward_is_one_hot_and_backward_the_sampled_entry_of_the_soft_sample(temperature: float) -> None:
    """h is exactly one-hot; a cost c pulls α by c_k·∂y_k/∂α, the derivative taken by central differences of y."""
    alpha, noise, costs = normal(E, O).requires_grad_(), normal(E, O, seed=1), normal(E, O, seed=2)
    hard = sample(alpha, noise, temperature)
    assert torch.equal(hard.detach().sort(-1).values, torch.eye(O, dtype=torch.float64)[-1:].expand(E, O))
    (gradient,) = torch.autograd.grad((costs * hard).sum(), [alpha])

    def soft(logits: Tensor) -> Tensor:
        scores = (logits - logits.exp().sum(-1, keepdim=True).log() + noise) / temperature
        return scores.exp() / scores.exp().sum(-1, keepdim=True)

    chosen = soft(alpha.detach()).argmax(-1)
    assert torch.equal(hard.detach().argmax(-1), chosen)
    expected = torch.zeros(E, O, dtype=torch.float64)
    rows = torch.arange(E)
    for operation in range(O):
        shift = torch.zeros(E, O, dtype=torch.float64)
        shift[:, operation] = 1e-6
        difference = (soft(alpha.detach() + shift) - soft(alpha.detach() - shift))[rows, chosen] / 2e-6
        expected[:, operation] = costs[rows, chosen] * difference
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)


def test_the_temperature_falls_linearly_from_10_to_a_tenth() -> None:
    """τ(t) = 10 - 9.9·t/(E - 1), and 0.1 ever after; a search of one epoch has the last temperature."""
    searcher = make()
    assert Config().protocol.epochs == 250
    for epoch, expected in ((0, 10.0), (100, 10 - 9.9 * 100 / 249), (249, 0.1), (250, 0.1), (999, 0.1)):
        searcher.begin_epoch(epoch, torch.Generator())
        assert searcher.temperature == pytest.approx(expected, rel=1e-12)
    assert linear(0, 0, 10.0, 0.1) == 0.1


def test_the_halves_of_a_step_have_different_samples_in_the_published_order() -> None:
    """The weights' batch goes first, under one one-hot mixture, then the architecture's under another."""
    searcher = make()
    searcher.begin_epoch(0, torch.Generator().manual_seed(0))
    seen: list[tuple[Tensor, Tensor]] = []
    searcher.supernet.register_forward_pre_hook(lambda _, arguments: seen.append((arguments[0], arguments[1].detach())))
    train, valid = batch(0), batch(1)
    result = searcher.step(train, valid)
    assert result.images == 12
    assert [images is half.images for (images, _), half in zip(seen, (train, valid), strict=True)] == [True, True]
    assert not torch.equal(seen[0][1], seen[1][1])
    for _, mixture in seen:
        assert mixture.sum().item() == E
        assert bool(((mixture == 0) | (mixture == 1)).all())


def test_operations_that_were_not_sampled_get_no_gradient() -> None:
    """With skip sampled on every edge, no convolution of a cell moves, and every other weight does."""
    searcher = make(weight_decay=0.0, gradient_clip=0.0)
    searcher.begin_epoch(0, torch.Generator().manual_seed(0))
    with torch.no_grad():
        searcher.alpha.fill_(-50.0)
        searcher.alpha[:, 1] = 50.0
    before = {name: value.clone() for name, value in searcher.supernet.named_parameters()}
    searcher.weight_step(batch(0))
    for name, value in searcher.supernet.named_parameters():
        cell = "conv3x3" in name or "conv1x1" in name
        assert torch.equal(value, before[name]) == cell, name


def test_a_temperature_of_zero_is_refused() -> None:
    """The message quotes it."""
    with pytest.raises(InputError, match=r"temperature_min is greater than 0; got 0\.0"):
        Config(temperature_min=0.0)
