"""GAEA."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import NONE, E, O
from dartboard.harness.toys import toy_batch as batch
from dartboard.harness.toys import toy_epoch, toy_searcher
from dartboard.searchers.gaea import Config, Gaea, entropic_gradient, exponentiated_step


def make(**options: Any) -> Gaea:
    """A fresh one in float64."""
    return toy_searcher(Gaea, **options)


def gradients(scale: float = 5) -> st.SearchStrategy[np.ndarray]:
    """(E, O)."""
    return arrays(np.float64, (E, O), elements=st.floats(-scale, scale))


@settings(max_examples=50, deadline=None)
@given(st.lists(gradients(), min_size=1, max_size=8))
def test_unclamped_steps_are_the_softmax_of_the_accumulated_gradients(each: list[np.ndarray]) -> None:
    """From the uniform start, θ_t = softmax(-η Σ g), as multiplicative updates commute with normalisation."""
    theta = torch.full((E, O), 1 / O, dtype=torch.float64)
    for gradient in each:
        theta = exponentiated_step(theta, torch.from_numpy(gradient), 0.1, smallest=0.0)
    expected = (-0.1 * torch.from_numpy(np.sum(each, axis=0))).softmax(-1)
    torch.testing.assert_close(theta, expected, rtol=1e-12, atol=1e-15)


@settings(max_examples=50, deadline=None)
@given(gradient=gradients(500), start=gradients(20))
def test_a_step_stays_on_the_simplex_and_away_from_its_border(gradient: np.ndarray, start: np.ndarray) -> None:
    """Rows sum to 1 and no entry is 0, however strong the gradient; the released operation, written out, agrees."""
    theta = torch.from_numpy(start).softmax(-1)
    moved = exponentiated_step(theta, torch.from_numpy(gradient), 0.1, smallest=1e-5)
    literal = np.maximum(theta.numpy() * np.exp(-0.1 * gradient), 1e-5)
    literal /= literal.sum(1, keepdims=True)
    np.testing.assert_allclose(moved.numpy(), literal, rtol=1e-12, atol=0)
    assert bool((moved > 0).all())
    torch.testing.assert_close(moved.sum(-1), torch.ones(E, dtype=torch.float64), rtol=1e-12, atol=0)


def test_an_excluded_operation_stays_excluded() -> None:
    """With `exclude_none`, `none` has weight exactly 0 before and after training, and the others 1/4 at first."""
    searcher = make(exclude_none=True)
    others = [o for o in range(O) if o != NONE]
    assert searcher.mixture()[:, others].detach().tolist() == [[0.25] * 4] * E
    toy_epoch(searcher, searcher.config.protocol, 0)
    assert bool((searcher.mixture()[:, NONE] == 0).all())
    assert not torch.equal(searcher.mixture()[0, others], torch.full((4,), 0.25, dtype=torch.float64))


@pytest.mark.parametrize("protocol", ["ucla", "autodl"])
def test_the_mixture_follows_the_validation_loss(protocol: str) -> None:
    """One architecture step multiplies θ by exp(-0.1·∇_θ L_val), ∇ by central differences of the loss itself."""
    searcher = make(protocol=protocol)
    valid = batch(1)

    def loss(theta: Tensor) -> float:
        with torch.no_grad():
            logits = searcher.supernet(valid.images, theta, "batch")
            return float(torch.nn.functional.cross_entropy(logits, valid.labels))

    theta = searcher.mixture().detach().clone()
    gradient = torch.zeros_like(theta)
    # Central differences err by h²·L‴/6 plus 1e-16/h: below 1e-7 here, unless a ReLU's kink is crossed.
    for index in np.ndindex(E, O):
        shift = torch.zeros_like(theta)
        shift[index] = 1e-5
        gradient[index] = (loss(theta + shift) - loss(theta - shift)) / 2e-5
    expected = theta * (-0.1 * gradient).exp()
    searcher.begin_epoch(0, torch.Generator())
    searcher.architecture_step(batch(0), valid)
    torch.testing.assert_close(
        searcher.mixture().detach(), expected / expected.sum(-1, keepdim=True), rtol=1e-6, atol=1e-9
    )


@settings(max_examples=50, deadline=None)
@given(start=gradients(), each=st.lists(gradients(), max_size=8), strength=st.floats(0, 2))
def test_the_entropic_term_draws_the_logarithms_together(
    start: np.ndarray, each: list[np.ndarray], strength: float
) -> None:
    """Unclamped, ln θ follows z ← (1 - ηλ)z - ηg from its start, but for a constant of each row: θ is its softmax."""
    theta, logs = torch.from_numpy(start).softmax(-1), torch.from_numpy(start)
    for gradient in map(torch.from_numpy, each):
        total = gradient + strength * entropic_gradient(theta)
        theta = exponentiated_step(theta, total, 0.1, smallest=0.0)
        logs = (1 - 0.1 * strength) * logs - 0.1 * gradient
    torch.testing.assert_close(theta, logs.softmax(-1), rtol=1e-10, atol=1e-14)


def test_the_entropic_gradient_is_that_of_the_divergence_from_uniform() -> None:
    """By autograd it is ∇ Σ_e KL(θ_e ‖ uniform), of four operations where `none` is excluded, which stays at 0."""
    theta = torch.randn(E, O, generator=torch.Generator().manual_seed(0), dtype=torch.float64).softmax(-1)
    theta.requires_grad_()
    for rows in (theta, theta[:, 1:]):
        even = torch.full_like(rows, 1 / rows.shape[1])
        divergence = torch.nn.functional.kl_div(even.log(), rows, reduction="sum")
        (expected,) = torch.autograd.grad(divergence, [theta])
        kept = torch.zeros_like(theta.detach())
        kept[:, -rows.shape[1] :] = rows.detach()
        torch.testing.assert_close(entropic_gradient(kept), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("entropy", "smallest"), [(0.5, 1e-5), (0.5, 0.0), (0.0, 0.05)])
def test_the_released_step_written_out(entropy: float, smallest: float) -> None:
    """The step of θ is the released code's, by autograd on loss and term together: multiply, raise, divide."""
    searcher, valid = make(entropy=entropy, smallest=smallest, exclude_none=True), batch(1)
    with torch.no_grad():
        rows = 3 * torch.randn(E, O - 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        searcher.theta[:, 1:] = rows.softmax(-1)
    theta = searcher.mixture().detach().clone().requires_grad_()
    logits = searcher.supernet(valid.images, theta, "batch")
    term = (theta[:, 1:] * (theta[:, 1:] / (1 / 4)).log()).sum()
    (torch.nn.functional.cross_entropy(logits, valid.labels) + entropy * term).backward()
    assert theta.grad is not None
    expected = (theta * (-0.1 * theta.grad).exp()).detach()[:, 1:].clamp(min=smallest)
    searcher.begin_epoch(0, torch.Generator())
    searcher.architecture_step(batch(0), valid)
    assert bool((searcher.mixture()[:, NONE] == 0).all())
    torch.testing.assert_close(
        searcher.mixture()[:, 1:].detach(), expected / expected.sum(-1, keepdim=True), rtol=1e-10, atol=1e-12
    )


def test_in_bilevel_the_halves_keep_their_places() -> None:
    """The mixture sees the validation batch, then the weights see the training batch, in every step."""
    assert seen(make(), epoch=0) == ["valid", "train"] * 3
    assert seen(make(), epoch=1) == ["valid", "train"] * 3


def test_in_erm_the_halves_change_places_every_step_and_every_epoch() -> None:
    """Over two epochs of an odd number of steps, either half trains the weights equally often."""
    assert seen(make(variant="erm"), epoch=0) == ["valid", "train", "train", "valid", "valid", "train"]
    assert seen(make(variant="erm"), epoch=1) == ["train", "valid", "valid", "train", "train", "valid"]


def seen(searcher: Gaea, epoch: int) -> list[str]:
    """The halves of which the images went through the supernet in three steps, in order."""
    order: list[str] = []
    halves = {"train": batch(0), "valid": batch(1)}

    def note(_: object, arguments: tuple[Tensor, ...]) -> None:
        order.extend(name for name, half in halves.items() if torch.equal(half.images, arguments[0]))

    searcher.supernet.register_forward_pre_hook(note)
    searcher.begin_epoch(epoch, torch.Generator())
    for _ in range(3):
        searcher.step(halves["train"], halves["valid"])
    return order


def test_the_cosine_is_twice_as_long_as_the_search() -> None:
    """The published search stops halfway down: 0.025, then 0.013 after its 25 epochs; a length of 1 ends at 0.001."""
    searcher = make(epochs=25)
    for epoch, rate in ((0, 0.025), (10, 0.001 + 0.012 * (1 + math.cos(math.pi / 5))), (25, 0.013), (60, 0.013)):
        searcher.begin_epoch(epoch, torch.Generator())
        assert searcher.weights.learning_rate == pytest.approx(rate, rel=1e-12)
    plain = make(epochs=25, cosine_length=1.0)
    plain.begin_epoch(25, torch.Generator())
    assert plain.weights.learning_rate == pytest.approx(0.001, rel=1e-12)


def test_wrong_options_are_refused() -> None:
    """A variant that is none, a cosine shorter than the search, a floor or a term out of range."""
    with pytest.raises(InputError, match="'joint'"):
        Config(variant="joint")  # type: ignore[arg-type]  # the wrong value is the point
    with pytest.raises(InputError, match=r"cosine_length is at least 1; got 0\.5"):
        Config(cosine_length=0.5)
    for smallest in (-1.0, 0.2):
        with pytest.raises(InputError, match=rf"smallest is at least 0 and below 0\.2; got {smallest}"):
            Config(smallest=smallest)
    with pytest.raises(InputError, match=r"entropy is not negative; got -1\.0"):
        Config(entropy=-1.0)
