"""DSNAS."""

from __future__ import annotations

import itertools
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
from dartboard.searchers.dsnas import Config, Dsnas, logit_gradient


def make(**options: Any) -> Dsnas:
    """A fresh one in float64."""
    return toy_searcher(Dsnas, **options)


def test_the_gradient_is_the_cost_times_that_of_the_log_probability() -> None:
    """By autograd of Σ_e (Σ_l clamp(c)) log p_{e,s}, with and without a clamp that bites."""
    alpha, costs = normal(E, O).requires_grad_(), 3 * normal(4, E, O, seed=1)
    sampled = F.one_hot(torch.tensor([0, 1, 2, 3, 4, 2]), O).double()
    for clamp in (None, 1.0):
        cost = torch.stack([costs[:, e, s] for e, s in enumerate([0, 1, 2, 3, 4, 2])], dim=1)
        if clamp is not None:
            assert float(cost.abs().max()) > clamp
            cost = cost.clamp(-clamp, clamp)
        (expected,) = torch.autograd.grad((cost.sum(0) * (alpha.log_softmax(-1) * sampled).sum(-1)).sum(), [alpha])
        torch.testing.assert_close(logit_gradient(alpha.detach(), sampled, costs, clamp), expected)


def test_for_a_linear_loss_its_expectation_is_the_gradient_of_the_expected_loss() -> None:
    """With L = Σ c·Z, E[g_α] over all O² samples of two edges equals ∇_α Σ c·p, the score-function identity."""
    alpha, costs = normal(2, O).requires_grad_(), normal(1, 2, O, seed=1)
    (expected,) = torch.autograd.grad((costs[0] * alpha.softmax(-1)).sum(), [alpha])
    p = alpha.detach().softmax(-1)
    total = torch.zeros(2, O, dtype=torch.float64)
    for first, second in itertools.product(range(O), repeat=2):
        sampled = F.one_hot(torch.tensor([first, second]), O).double()
        total += p[0, first] * p[1, second] * logit_gradient(alpha.detach(), sampled, costs, None)
    torch.testing.assert_close(total, expected, rtol=1e-12, atol=1e-14)


def test_a_step_costs_the_sampled_operations_by_finite_differences() -> None:
    """After one step Adam has seen Σ_l c_l·(Z - p), each c a central difference of the loss in that cell's weight."""
    searcher = make(architecture_decay=0.0, cost_clamp=None)
    searcher.begin_epoch(0, torch.Generator().manual_seed(0))
    train = batch(0)
    alpha = searcher.alpha.detach().clone()
    given: list[Tensor] = []
    handle = searcher.supernet.register_forward_pre_hook(
        lambda _, arguments: given.append(arguments[1].detach().clone())
    )
    network = make().supernet
    searcher.weight_step(train)
    handle.remove()
    (each,) = given
    cells = searcher.cells
    assert each.shape == (cells, E, O)
    assert all(torch.equal(cell, each[0]) for cell in each)
    chosen = each[0].argmax(-1)
    cost = torch.zeros(E, dtype=torch.float64)
    for cell, edge in itertools.product(range(cells), range(E)):
        ends = []
        for sign in (1, -1):
            shifted = each.clone()
            shifted[cell, edge, chosen[edge]] += sign * 1e-5
            with torch.no_grad():
                ends.append(F.cross_entropy(network(train.images, shifted, "batch"), train.labels))
        cost[edge] += (ends[0] - ends[1]) / 2e-5
    expected = cost[:, None] * (each[0] - alpha.softmax(-1))
    moment = searcher.adam.state[searcher.alpha]["exp_avg"] / (1 - 0.5)
    torch.testing.assert_close(moment, expected, rtol=1e-5, atol=1e-8)


def test_the_draws_have_the_probabilities_of_the_softmax() -> None:
    """Frequencies of 5,000 draws within six standard errors."""
    searcher = make()
    searcher.begin_epoch(0, torch.Generator().manual_seed(1))
    with torch.no_grad():
        searcher.alpha.copy_(normal(E, O))
    count = 5000
    drawn = torch.stack([searcher.draw() for _ in range(count)]).mean(0)
    p = searcher.alpha.detach().softmax(-1)
    assert bool(((drawn - p).abs() < 6 * (p * (1 - p) / count).sqrt()).all())


def test_the_validation_batch_trains_nothing() -> None:
    """Two steps that differ in it alone leave the same supernet and the same logits."""
    first, second = make(), make()
    for searcher, seed in ((first, 1), (second, 2)):
        searcher.begin_epoch(0, torch.Generator().manual_seed(0))
        assert searcher.step(batch(0), batch(seed)).images == 12
    assert torch.equal(first.alpha, second.alpha)
    for name, value in first.supernet.state_dict().items():
        assert torch.equal(value, second.supernet.state_dict()[name]), name


def test_a_clamp_of_zero_is_refused() -> None:
    """The message quotes it."""
    with pytest.raises(InputError, match=r"cost_clamp is greater than 0; got 0\.0"):
        Config(cost_clamp=0.0)
