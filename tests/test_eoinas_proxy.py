"""The stand-in for EoiNAS."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import stream
from dartboard.harness.toys import toy_batch as batch
from dartboard.harness.toys import toy_epoch, toy_searcher, toy_supernet
from dartboard.searchers.eoinas_proxy import Config, EoinasProxy, least_important, stretched
from dartboard.searchers.gdas import Config as GdasConfig
from dartboard.searchers.gdas import Gdas


def make(**options: Any) -> EoinasProxy:
    """A fresh one in float64."""
    return toy_searcher(EoinasProxy, **{"epochs": 10, **options})


def random_case(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """p and A (E, O), and at least two operations alive on every edge."""
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.rand(E, O, generator=generator, dtype=torch.float64)
    accuracies = torch.randint(0, 7, (E, O), generator=generator).double() / 6  # with equals
    alive = torch.rand(E, O, generator=generator) < 0.5
    alive[:, [1, 3]] = True
    return probabilities, accuracies, alive


def literal(p: np.ndarray, a: np.ndarray, alive: np.ndarray) -> int:
    """The operation that one edge loses, told in a few loops."""
    left = [o for o in range(O) if alive[o]]

    def unit(values: np.ndarray, o: int) -> float:
        low, high = min(values[i] for i in left), max(values[i] for i in left)
        return 1.0 if high == low else float((values[o] - low) / (high - low))

    return min(left, key=lambda o: (unit(p, o) * unit(a, o), p[o] * a[o]))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31))
def test_every_edge_loses_its_least_important_operation(seed: int) -> None:
    """By a literal account, edge by edge; never one that is gone already."""
    p, a, alive = random_case(seed)
    lost = least_important(p, a, alive)
    assert bool((lost.sum(-1) == 1).all())
    for edge in range(E):
        expected = literal(p[edge].numpy(), a[edge].numpy(), alive[edge].numpy())
        assert bool(lost[edge, expected])


def test_stretched_values_run_from_0_to_1_over_what_is_left() -> None:
    """The gone are not looked at; equal values are all 1; of two left that disagree, the lower product goes."""
    values = torch.tensor([[9.0, 2.0, 4.0, 3.0, -9.0], [5.0, 5.0, 5.0, 5.0, 0.0]])
    alive = torch.tensor([[False, True, True, True, False], [True, True, True, True, False]])
    assert stretched(values, alive)[0, 1:4].tolist() == [0.0, 1.0, 0.5]
    assert stretched(values, alive)[1, :4].tolist() == [1.0] * 4
    p, a = torch.tensor([[0.6, 0.4]]), torch.tensor([[0.5, 0.8]])  # products 0.30 and 0.32
    assert least_important(p, a, torch.ones(1, 2, dtype=torch.bool)).tolist() == [[True, False]]


def test_an_accuracy_goes_to_what_was_sampled() -> None:
    """The first is kept whole, each further one counts a tenth; what was not sampled keeps what it has."""
    searcher = make()
    searcher.begin_epoch(0, torch.Generator().manual_seed(0))
    cells: list[Tensor] = []
    searcher.supernet.register_forward_pre_hook(lambda _, arguments: cells.append(arguments[1].detach().clone()))
    expected: dict[tuple[int, int], float] = {}
    for seed in range(25):
        half = searcher.architecture_step(batch(0), batch(seed))
        accuracy = int(half.correct) / 6
        for edge, operation in cells[-1].nonzero().tolist():
            before = expected.get((edge, operation))
            expected[edge, operation] = accuracy if before is None else 0.9 * before + 0.1 * accuracy
    table = np.zeros((E, O))
    for place, value in expected.items():
        table[place] = value
    np.testing.assert_allclose(searcher.accuracies.numpy(), table, rtol=1e-12, atol=1e-15)
    assert len(expected) > E
    assert bool((searcher.sampled == (searcher.accuracies > 0)).all()) or 0.0 in expected.values()


def test_one_operation_is_pruned_before_every_fifth_of_the_search() -> None:
    """Of 10 epochs, before those with the numbers 2, 4, 6 and 8: five operations an edge, four, ..., one."""
    searcher, left = make(), []
    for epoch in range(10):
        expected = least_important(searcher.mixture().detach(), searcher.accuracies, searcher.alive)
        before = searcher.alive.clone()
        toy_epoch(searcher, searcher.config.protocol, epoch)
        if epoch in (2, 4, 6, 8):
            assert torch.equal(searcher.alive, before & ~expected)
        else:
            assert torch.equal(searcher.alive, before)
        left.append(set(searcher.alive.sum(-1).tolist()))
    assert left == [{5}, {5}, {4}, {4}, {3}, {3}, {2}, {2}, {1}, {1}]
    assert torch.equal(searcher.mixture().detach(), searcher.alive.double())


def test_what_is_pruned_is_never_sampled_again_and_weighs_nothing() -> None:
    """After two prunings all cells are of what is left, p sums to 1 over it, and no gradient is NaN."""
    searcher = make()
    for epoch in range(5):
        toy_epoch(searcher, searcher.config.protocol, epoch)
    assert int(searcher.alive.sum()) == 3 * E
    for _ in range(50):
        assert bool((searcher.draw().detach()[~searcher.alive] == 0).all())
    mixture = searcher.mixture().detach()
    assert bool((mixture[~searcher.alive] == 0).all())
    torch.testing.assert_close(mixture.sum(-1), torch.ones(E, dtype=torch.float64))
    assert bool(searcher.alpha.isfinite().all())


def test_a_selector_that_trains_on_prunes_nothing() -> None:
    """A short search leaves more than one operation, and so it stays; the state keeps what is gone."""
    searcher = make(epochs=2)
    for epoch in range(2):
        toy_epoch(searcher, searcher.config.protocol, epoch)
    assert int(searcher.alive.sum()) == 3 * E  # at half of the search, two fifths are past
    restored, tuned = make(epochs=2), copy.deepcopy(searcher)
    restored.load_state_dict(copy.deepcopy(searcher.state_dict()))
    tuned.restart_weight_optimizer(0.01)
    for one in (searcher, restored, tuned):
        toy_epoch(one, one.config.protocol, 2)
        assert int(one.alive.sum()) == 3 * E
    assert torch.equal(searcher.alpha, restored.alpha)


def test_before_the_first_pruning_it_is_gdas() -> None:
    """With the same draws, the states are equal bit for bit."""
    searcher = make()
    gdas = Gdas(
        toy_supernet(dtype=torch.float64), GdasConfig(protocol=searcher.config.protocol), generator=stream(0, "a")
    )
    for method in (searcher, gdas):
        for epoch in range(2):
            toy_epoch(method, searcher.config.protocol, epoch)
    assert torch.equal(searcher.alpha, gdas.alpha)
    for ours, theirs in zip(searcher.supernet.parameters(), gdas.supernet.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_it_says_that_it_is_a_stand_in() -> None:
    """Name, paper and documentation do; no one can take it for the published method."""
    assert EoinasProxy.name.endswith("-proxy")
    assert EoinasProxy.paper.startswith("stand-in for ")
    assert "stand-in" in (EoinasProxy.__doc__ or "")


def test_wrong_numbers_are_refused() -> None:
    """A temperature of zero, a decay of one."""
    with pytest.raises(InputError, match=r"temperature is greater than 0; got 0\.0"):
        Config(temperature=0.0)
    with pytest.raises(InputError, match=r"decay is at least 0 and below 1; got 1\.0"):
        Config(decay=1.0)
