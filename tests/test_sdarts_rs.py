"""SmoothDARTS, random smoothing."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import stream
from dartboard.harness.toys import toy_batch as batch
from dartboard.harness.toys import toy_searcher, toy_supernet
from dartboard.searchers.darts_v1 import Config as DartsConfig
from dartboard.searchers.darts_v1 import DartsV1
from dartboard.searchers.sdarts_rs import Config, SdartsRs, clip, perturb, radius_of


def make(**options: Any) -> SdartsRs:
    """A fresh one in float64."""
    return toy_searcher(SdartsRs, **options)


def test_the_radius_grows_linearly_and_stays_at_its_end() -> None:
    """0.03 in epoch 0, 0.165 halfway, below 0.3 in the last epoch, 0.3 ever after."""
    assert radius_of(0, 100, 0.03, 0.3) == 0.03
    assert radius_of(50, 100, 0.03, 0.3) == pytest.approx(0.165, abs=1e-15)
    assert radius_of(99, 100, 0.03, 0.3) == pytest.approx(0.2973, abs=1e-15)
    assert radius_of(100, 100, 0.03, 0.3) == radius_of(1000, 100, 0.03, 0.3) == pytest.approx(0.3, abs=1e-15)


def literal_clip(rows: np.ndarray) -> np.ndarray:
    """The released operator, row by row, in NumPy."""
    result = np.empty_like(rows)
    for index, row in enumerate(rows):
        clamped = np.clip(row, 0, 1)
        if clamped.sum() == 0:
            clamped[np.argmax(row)] = 1
        result[index] = clamped / clamped.sum()
    return result


@settings(max_examples=100, deadline=None)
@given(arrays(np.float64, (E, O), elements=st.floats(-2, 2, allow_subnormal=False)))
def test_clip_is_the_released_operator(rows: np.ndarray) -> None:
    """It clamps, saves a row of zeros by its largest entry, and divides by the sum."""
    np.testing.assert_allclose(clip(torch.from_numpy(rows)).numpy(), literal_clip(rows), rtol=1e-14, atol=0)


def test_clip_leaves_the_simplex_alone_and_saves_negative_rows() -> None:
    """A point of the simplex is a fixed point; a row without a positive entry becomes one-hot at its largest."""
    rows = torch.eye(O, dtype=torch.float64)
    assert torch.equal(clip(rows), rows)
    negative = torch.tensor([[-3.0, -1.0, -2.0, -1.5, -9.0]])
    assert clip(negative).tolist() == [[0.0, 1.0, 0.0, 0.0, 0.0]]


@settings(max_examples=50, deadline=None)
@given(
    logits=arrays(np.float64, (E, O), elements=st.floats(-10, 10)),
    radius=st.floats(0, 0.5),
    seed=st.integers(0, 2**31),
)
def test_a_perturbed_mixture_is_on_the_simplex(logits: np.ndarray, radius: float, seed: int) -> None:
    """Whatever the mixture and ε, the rows are not negative and sum to 1."""
    mixture = torch.from_numpy(logits).softmax(-1)
    rows = perturb(mixture, radius, torch.Generator().manual_seed(seed))
    assert bool((rows >= 0).all())
    torch.testing.assert_close(rows.sum(-1), torch.ones(E, dtype=torch.float64), rtol=1e-12, atol=0)


def test_the_noise_before_clipping_is_uniform_in_the_box() -> None:
    """Far from the border clip only scales, so the drawn δ can be read off: within ±ε, with a uniform's variance."""
    # Every entry is 1/5 and ε = 0.05: no entry is clamped, and p + δ = (1 + Σδ)·clip(p + δ) for an unknown Σδ per row.
    # Differences of entries are free of the common 1/5; their variance is 2ε²/3 after scaling back by the row's sum,
    # which is 1 to within 0.25 and, averaged, 1 to first order.
    mixture = torch.full((4000, O), 1 / O, dtype=torch.float64)
    rows = perturb(mixture, 0.05, torch.Generator().manual_seed(0))
    differences = rows[:, 0] - rows[:, 1]
    # δ₀ - δ₁ ∈ (-0.1, 0.1), divided by a sum of at least 0.75.
    assert float(differences.abs().max()) < 0.1 / 0.75
    # Relative standard error of a variance of 4000: below 3 %; the scaling adds E[s⁻²] - 1 ≈ 3·5ε²/3 = 1.3 %.
    assert float(differences.var()) == pytest.approx(2 * 0.05**2 / 3, rel=0.12)


def test_without_noise_it_is_first_order_darts() -> None:
    """With ε = 0 three steps leave the state of DARTS, but for the rounding of a division by a row's sum."""
    smooth = make(radius=0.0, radius_max=0.0)
    darts = DartsV1(
        toy_supernet(dtype=torch.float64), DartsConfig(protocol=smooth.config.protocol), generator=stream(0, "a")
    )
    for method in (smooth, darts):
        method.begin_epoch(0, torch.Generator().manual_seed(0))
        for seed in range(3):
            method.step(batch(seed), batch(seed + 100))
    torch.testing.assert_close(smooth.alpha, darts.alpha, rtol=1e-9, atol=1e-12)
    for ours, theirs in zip(smooth.supernet.parameters(), darts.supernet.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("counts", [False, True])
def test_the_weights_see_the_perturbed_mixture_and_the_logits_the_plain_one(counts: bool) -> None:
    """In a step the supernet is given softmax(α) with the validation batch, clip(p + δ) with the training batch."""
    searcher = make(clip_includes_architecture=counts)
    searcher.begin_epoch(0, torch.Generator().manual_seed(5))
    seen: list[torch.Tensor] = []
    searcher.supernet.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1].detach().clone()))
    plain = searcher.mixture().detach()
    searcher.step(batch(0), batch(1))
    assert torch.equal(seen[0], plain)
    expected = perturb(searcher.mixture().detach(), 0.03, torch.Generator().manual_seed(5))
    assert torch.equal(seen[1], expected)
    assert len(seen) == 2


def test_each_step_draws_anew_and_a_copy_draws_alike() -> None:
    """Successive draws differ; a deep copy, generator included, goes on with the very draws of the original."""
    searcher = make()
    searcher.begin_epoch(1, torch.Generator().manual_seed(5))
    twin = copy.deepcopy(searcher)
    assert searcher.radius == pytest.approx(0.12)
    draws = [perturb(s.mixture(), s.radius, s.generator) for s in (searcher, twin, searcher)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_a_negative_radius_is_refused() -> None:
    """The message quotes it."""
    with pytest.raises(InputError, match=r"not negative; got -0\.1"):
        Config(radius_max=-0.1)
