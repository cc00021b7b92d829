"""Shapley-NAS."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import stream
from dartboard.harness.toys import toy_epoch, toy_supernet
from dartboard.searchers._training import resolve_protocol
from dartboard.searchers.shapley_nas import Config, ShapleyNas, coalitions, contributions, next_momentum


def make(**options: Any) -> ShapleyNas:
    """A fresh one in float64, of four epochs, that measures one batch a sample."""
    given_options = {"epochs": 4, "batch_size": 6, "samples": 2, "batches": 1, **options}
    protocol, own = resolve_protocol(given_options, ShapleyNas.own_protocol)
    return ShapleyNas(toy_supernet(dtype=torch.float64), Config(protocol=protocol, **own), generator=stream(0, "a"))


def batch(seed: int, size: int = 6) -> Batch:
    """Random images."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 3, 8, 8, generator=generator, dtype=torch.float64)
    return Batch(images, torch.arange(size) % 3)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal float64 numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_coalitions_lose_one_player_after_the_other() -> None:
    """Of three players removed as 2, 0, 1: all, without 2, without 2 and 0, none."""
    expected = [[1, 1, 1], [1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert coalitions(torch.tensor([2, 0, 1])).tolist() == expected


def values_of(game: dict[frozenset[int], float], permutations: list[tuple[int, ...]], truncation: float) -> Tensor:
    """The contributions in a game that is given by the accuracy of each coalition."""
    everybody = frozenset(permutations[0])
    accuracies = [[game[everybody - set(order[:gone])] for gone in range(len(order) + 1)] for order in permutations]
    return contributions(torch.tensor(accuracies, dtype=torch.float64), torch.tensor(permutations), truncation)


def test_all_permutations_give_the_shapley_values() -> None:
    """Averaged over all 24 orders of four players they are the exact values, by the formula over subsets."""
    players, draw = range(4), np.random.default_rng(0)
    subsets = [frozenset(s) for size in range(5) for s in itertools.combinations(players, size)]
    game = {subset: float(draw.uniform(0, 100)) for subset in subsets}
    ours = values_of(game, list(itertools.permutations(players)), 0.0).mean(0)
    for player in players:
        expected = sum(
            math.factorial(len(s)) * math.factorial(3 - len(s)) / 24 * (game[s | {player}] - game[s])
            for s in subsets
            if player not in s
        )
        assert float(ours[player]) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=9, max_size=9), st.permutations(range(8)))
def test_without_truncation_a_sample_shares_out_the_whole_accuracy(accuracies: list[float], order: list[int]) -> None:
    """Efficiency: the players' values in a sample sum to the accuracy of all less that of none."""
    values = contributions(torch.tensor([accuracies], dtype=torch.float64), torch.tensor([order]), 0.0)
    assert float(values.sum()) == pytest.approx(accuracies[0] - accuracies[-1], abs=1e-11)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=9, max_size=9), st.permutations(range(8)), st.sampled_from([0.0, 0.5, 0.9]))
def test_a_sample_ends_where_the_published_loop_breaks(accuracies: list[float], order: list[int], share: float) -> None:
    """Player by player: the loss of accuracy, until what is left is below the share of what there was."""
    expected, now = [0.0] * 8, accuracies[0]
    for player, left in zip(order, accuracies[1:], strict=True):
        expected[player] = now - left
        now = left
        if now < share * accuracies[0]:
            break
    values = contributions(torch.tensor([accuracies], dtype=torch.float64), torch.tensor([order]), share)
    assert values[0].tolist() == expected


def test_the_momentum_as_released() -> None:
    """φ = mean - population deviation of the samples, standardised by its sample deviation, a fifth of s."""
    values, momentum = normal(10, E * O), normal(E, O, seed=1)
    raw = values.numpy()
    phi = (raw.mean(0) - raw.std(0)).reshape(E, O)
    expected = 0.8 * momentum.numpy() + 0.2 * (phi - phi.mean()) / phi.std(ddof=1)
    np.testing.assert_allclose(next_momentum(momentum, values, Config()).numpy(), expected, rtol=1e-12, atol=1e-14)


def test_the_momentum_of_unit_lengths() -> None:
    """The other variant takes φ by its length; equal values for all leave the momentum to fade in both."""
    values, momentum = normal(10, E * O), normal(E, O, seed=1)
    raw = values.numpy()
    phi = (raw.mean(0) - raw.std(0)).reshape(E, O)
    ours = next_momentum(momentum, values, Config(variant="paper"))
    np.testing.assert_allclose(ours.numpy(), 0.8 * momentum.numpy() + 0.2 * phi / np.linalg.norm(phi), rtol=1e-12)
    for config in (Config(), Config(variant="paper")):
        torch.testing.assert_close(next_momentum(momentum, torch.zeros(3, E * O), config), 0.8 * momentum)


def literal_accuracies(searcher: ShapleyNas, mixture: Tensor, order: list[int], valid: Batch) -> list[float]:
    """Percent right before any removal and after each, one mask after the other."""
    weights, found = mixture.clone(), []
    with torch.no_grad():
        for player in [None, *order]:
            if player is not None:
                weights[player // O, player % O] = 0
            logits = searcher.supernet(valid.images, weights, "batch")
            found.append(100 * float((logits.argmax(-1) == valid.labels).double().mean()))
    return found


@pytest.mark.parametrize("variant", ["released", "paper"])
def test_an_epoch_moves_the_logits_by_its_samples(variant: str) -> None:
    """After the epoch's measurements α is its start + 0.1·s, of accuracies that are taken one removal at a time."""
    searcher = make(variant=variant, weight_learning_rate=1e-12)  # the weights stand still between the batches
    with torch.no_grad():
        searcher.alpha.copy_(normal(E, O))
    alpha, momentum = searcher.alpha.clone(), searcher.momentum.clone()
    searcher.begin_epoch(2, torch.Generator().manual_seed(3))
    draws = torch.Generator().manual_seed(3)
    orders = [torch.randperm(E * O, generator=draws).tolist() for _ in range(2)]
    pairs = [batch(10, 18), batch(11, 18)]
    results = [searcher.step(batch(seed), valid) for seed, valid in enumerate(pairs)]
    assert [result.images for result in results] == [6 + 18 * 32] * 2
    assert searcher.step(batch(5), pairs[0]).images == 6 + 18
    mixture = alpha.softmax(-1)
    values = torch.stack(
        [
            contributions(
                torch.tensor([literal_accuracies(searcher, mixture, order, valid)], dtype=torch.float64),
                torch.tensor([order]),
                0.5,
            )[0]
            for order, valid in zip(orders, pairs, strict=True)
        ]
    )
    assert float(values.abs().max()) > 0
    expected = next_momentum(momentum, values, searcher.config)
    torch.testing.assert_close(searcher.momentum, expected, rtol=1e-10, atol=1e-12)
    step = expected / expected.norm() if variant == "paper" else expected
    torch.testing.assert_close(searcher.alpha, alpha + 0.1 * step, rtol=1e-10, atol=1e-12)


def test_a_samples_batches_are_pooled() -> None:
    """With two batches a sample, its accuracies are of all their images; the sample at hand counts with what it has."""
    searcher = make(batches=2, samples=2, weight_learning_rate=1e-12)
    alpha, momentum = searcher.alpha.clone(), searcher.momentum.clone()
    searcher.begin_epoch(2, torch.Generator().manual_seed(3))
    order = torch.randperm(E * O, generator=torch.Generator().manual_seed(3)).tolist()
    small, large = batch(10, 6), batch(11, 18)
    for valid in (small, large):
        searcher.step(batch(0), valid)
    parts = [literal_accuracies(searcher, alpha.softmax(-1), order, valid) for valid in (small, large)]
    pooled = [(6 * a + 18 * b) / 24 for a, b in zip(*parts, strict=True)]  # batch norm keeps the batches apart
    values = contributions(torch.tensor([pooled], dtype=torch.float64), torch.tensor([order]), 0.5)
    expected = next_momentum(momentum, values, searcher.config)
    torch.testing.assert_close(searcher.momentum, expected, rtol=1e-9, atol=1e-12)


def test_the_warm_up_and_a_selector_leave_the_logits_alone() -> None:
    """In the first half of the epochs, beyond the last, and after a restart, α stays bit for bit; weights train."""
    searcher = make(weight_learning_rate_min=0.001)
    alpha = searcher.alpha.clone()
    for epoch in (0, 1):
        toy_epoch(searcher, searcher.config.protocol, epoch)
        assert torch.equal(searcher.alpha, alpha)
    toy_epoch(searcher, searcher.config.protocol, 2)
    moved = searcher.alpha.clone()
    assert not torch.equal(moved, alpha)
    tuned = copy.deepcopy(searcher)
    tuned.restart_weight_optimizer(0.01)
    for one, epoch in ((tuned, 3), (searcher, 4)):
        weight = next(one.supernet.parameters()).detach().clone()
        toy_epoch(one, one.config.protocol, epoch)
        assert torch.equal(one.alpha, moved)
        assert not torch.equal(next(one.supernet.parameters()), weight)


def test_the_operation_none_contributes_nothing() -> None:
    """As nothing renormalises a row, its removal changes no accuracy: φ of `none` is 0 in every sample."""
    searcher = make()
    with torch.no_grad():
        searcher.alpha.copy_(normal(E, O))
    for seed in range(3):
        order = torch.randperm(E * O, generator=torch.Generator().manual_seed(seed)).tolist()
        accuracies = literal_accuracies(searcher, searcher.mixture(), order, batch(seed, 18))
        values = contributions(torch.tensor([accuracies], dtype=torch.float64), torch.tensor([order]), 0.0)
        assert bool((values.view(E, O)[:, 0] == 0).all())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warm_up": 1.5}, r"warm_up is from 0 to 1; got 1\.5"),
        ({"truncation": -0.1}, r"truncation is from 0 to 1; got -0\.1"),
        ({"momentum": 2.0}, r"momentum is from 0 to 1; got 2\.0"),
        ({"samples": 0}, "samples is at least 1; got 0"),
        ({"batches": 0}, "batches is at least 1; got 0"),
        ({"step_size": 0.0}, r"step_size is greater than 0; got 0\.0"),
        ({"variant": "papr"}, "unknown variant 'papr'; did you mean 'paper'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    """The message quotes them."""
    with pytest.raises(InputError, match=message):
        Config(**options)
