"""SmoothDARTS, adversarial smoothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import E, O
from dartboard.harness.toys import toy_batch as batch
from dartboard.harness.toys import toy_searcher
from dartboard.searchers.sdarts_adv import Config, SdartsAdv, ascend, attack


def make(**options: Any) -> SdartsAdv:
    """A fresh one in float64."""
    return toy_searcher(SdartsAdv, **options)


def logits(scale: float = 10) -> st.SearchStrategy[np.ndarray]:
    """Logits (E, O)."""
    return arrays(np.float64, (E, O), elements=st.floats(-scale, scale))


@settings(max_examples=50, deadline=None)
@given(center=logits(), start=logits(), gradient=logits(), radius=st.floats(0.001, 0.5))
def test_a_step_of_the_ascent_stays_in_the_box(
    center: np.ndarray, start: np.ndarray, gradient: np.ndarray, radius: float
) -> None:
    """Before it is clipped, |p - p₀| ≤ ε in every entry, from wherever it came."""
    middle, here = torch.from_numpy(center).softmax(-1), torch.from_numpy(start).softmax(-1)
    there = ascend(here, middle, torch.from_numpy(gradient), radius=radius, rate=2 * radius / 7)
    assert float((there - middle).abs().max()) <= radius * (1 + 1e-12) + 1e-15


def test_a_step_moves_by_the_rate_along_the_sign() -> None:
    """Inside the box each entry moves by exactly the rate, and not at all where the gradient is 0."""
    center = torch.full((E, O), 0.2, dtype=torch.float64)
    gradient = torch.zeros(E, O, dtype=torch.float64)
    gradient[0, 1], gradient[2, 3] = 1e-9, -7.0
    moved = ascend(center, center, gradient, radius=0.3, rate=0.01) - center
    torch.testing.assert_close(moved, 0.01 * gradient.sign(), rtol=1e-12, atol=1e-15)


@settings(max_examples=25, deadline=None)
@given(
    center=logits(3), slope=logits(3), curve=st.floats(-20, 20), radius=st.floats(0.01, 0.3), seed=st.integers(0, 99)
)
def test_an_attack_never_ends_below_its_start(
    center: np.ndarray, slope: np.ndarray, curve: float, radius: float, seed: int
) -> None:
    """On quadratics of any curvature the loss is at least that of p₀, and told truly; the mixture is on the simplex."""
    middle, gradient = torch.from_numpy(center).softmax(-1), torch.from_numpy(slope)

    def loss(mixture: Tensor) -> Tensor:
        return (gradient * mixture).sum() + curve * ((mixture - middle) ** 2).sum()

    found = attack(loss, middle, radius=radius, steps=7, generator=torch.Generator().manual_seed(seed))
    assert float(found.after) >= float(found.before)
    assert float(loss(found.mixture)) == float(found.after)
    assert bool((found.mixture >= 0).all())
    torch.testing.assert_close(found.mixture.sum(-1), torch.ones(E, dtype=torch.float64), rtol=1e-12, atol=0)


def test_where_every_step_lowers_the_loss_the_attack_returns_to_its_start() -> None:
    """With a peak at p₀ nothing nearby has a larger loss: the mixture is p₀ bit for bit."""
    center = torch.full((E, O), 0.2, dtype=torch.float64)
    found = attack(
        lambda p: -((p - center) ** 2).sum(), center, radius=0.1, steps=7, generator=torch.Generator().manual_seed(0)
    )
    assert torch.equal(found.mixture, center)
    assert float(found.after) == 0


def test_the_attack_is_the_released_loop_on_a_linear_loss() -> None:
    """Written out in NumPy: a random start, seven times sign, box, clamp and division, from the same draw."""
    center = np.full((E, O), 0.2)
    slope = np.where(np.arange(O) == 2, 1.0, -1.0) * np.ones((E, 1))
    radius = 0.3
    draw = torch.rand(E, O, generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()

    def literal_clip(rows: np.ndarray) -> np.ndarray:
        clamped = np.clip(rows, 0, 1)
        assert (clamped.sum(1) > 0).all()  # so that the rescue of a row of zeros is not needed here
        return clamped / clamped.sum(1, keepdims=True)

    rows = literal_clip(center + (2 * draw - 1) * radius)
    for _ in range(7):
        rows = rows + 2 * radius / 7 * np.sign(slope)
        rows = literal_clip(center + np.clip(rows - center, -radius, radius))
    weights = torch.from_numpy(slope)
    found = attack(
        lambda p: (weights * p).sum(),
        torch.from_numpy(center),
        radius=radius,
        steps=7,
        generator=torch.Generator().manual_seed(0),
    )
    np.testing.assert_allclose(found.mixture.numpy(), rows, rtol=1e-12, atol=1e-15)
    assert float(found.after) > float(found.before)


def test_the_attack_touches_no_buffer_and_no_weight() -> None:
    """All passes but the two that train use the running statistics, and these move only by those two."""
    searcher = make()
    searcher.begin_epoch(0, torch.Generator().manual_seed(0))
    norms: list[str] = []
    states: list[dict[str, Tensor]] = []

    def note(_: object, arguments: tuple[object, ...]) -> None:
        norms.append(str(arguments[2]) if len(arguments) > 2 else "train")
        states.append({name: value.clone() for name, value in searcher.supernet.state_dict().items()})

    searcher.supernet.register_forward_pre_hook(note)
    result = searcher.step(batch(0), batch(1))
    assert norms == ["train", *["running"] * 9, "train"]
    assert result.images == 6 * len(norms)
    for state in states[2:]:
        for name, value in state.items():
            assert torch.equal(value, states[1][name]), name


def test_the_weights_descend_at_a_mixture_of_no_smaller_training_loss() -> None:
    """The mixture of the weight step has, with running statistics, at least the loss of softmax(α)."""
    searcher = make(radius=0.2)
    searcher.begin_epoch(0, torch.Generator().manual_seed(0))
    train = batch(0)
    seen: list[Tensor] = []
    searcher.supernet.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1].detach().clone()))
    searcher.architecture_step(train, batch(1))
    seen.clear()
    network_before = {name: value.clone() for name, value in searcher.supernet.state_dict().items()}
    searcher.weight_step(train)
    start, end = seen[0], seen[-1]
    searcher.supernet.load_state_dict(network_before)
    with torch.no_grad():
        losses = [
            torch.nn.functional.cross_entropy(searcher.supernet(train.images, p, "running"), train.labels)
            for p in (start, end)
        ]
    assert torch.equal(start, searcher.mixture().detach())
    assert losses[1] > losses[0]


def test_an_attack_without_steps_is_refused() -> None:
    """The message quotes the number."""
    with pytest.raises(InputError, match="attack_steps is at least 1; got 0"):
        Config(attack_steps=0)
