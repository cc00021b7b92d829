"""iDARTS."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError
from dartboard.harness.toys import toy_batch as batch
from dartboard.harness.toys import toy_searcher
from dartboard.searchers.darts_v2 import mixed_product_exact, virtual_step
from dartboard.searchers.idarts import Config, IDarts, implicit_hypergradient


def make(**options: Any) -> IDarts:
    """A fresh one in float64, under its published protocol."""
    return toy_searcher(IDarts, **{"protocol": "autodl", **options})


class Quadratic:
    """L_train = ½wᵀHw + wᵀBα, L_val = ½‖w - c‖² + dᵀα, with w of 7 numbers in two tensors and α of 4.

    Its best response is w*(α) = -H⁻¹Bα.
    """

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        root = normal(7, 7)
        self.h, self.b, self.c, self.d = root @ root.T + torch.eye(7), normal(7, 4), normal(7), normal(4)
        self.w, self.alpha = normal(7), normal(4).requires_grad_()

    def losses(self) -> tuple[Tensor, Tensor, list[Tensor]]:
        """L_train, L_val and the weights."""
        weights = [self.w[:3].clone().requires_grad_(), self.w[3:].clone().requires_grad_()]
        w = torch.cat(weights)
        lower = w @ self.h @ w / 2 + w @ self.b @ self.alpha
        return lower, ((w - self.c) ** 2).sum() / 2 + self.d @ self.alpha, weights

    def gradient(self, rate: float, terms: int) -> Tensor:
        """The code under test."""
        lower, upper, weights = self.losses()
        return implicit_hypergradient(lower, upper, weights, self.alpha, rate=rate, terms=terms)


@pytest.mark.parametrize("terms", [0, 1, 2, 5])
def test_the_truncated_series_is_its_dense_form(terms: int) -> None:
    """On a quadratic, g = d - γBᵀ Σ_{k≤K} (I - γH)ᵏ (w - c), by dense matrix powers."""
    q, rate = Quadratic(), 0.03
    series = sum(torch.linalg.matrix_power(torch.eye(7) - rate * q.h, k) for k in range(terms + 1))
    expected = q.d - rate * q.b.T @ series @ (q.w - q.c)
    torch.testing.assert_close(q.gradient(rate, terms), expected, rtol=1e-12, atol=1e-12)


def test_many_terms_give_the_inverse_hessian() -> None:
    """For γ = 1/‖H‖ the error falls as (1 - γλ_min)ᴷ: with K = 4000 it is d - BᵀH⁻¹(w - c)."""
    q = Quadratic()
    eigenvalues = torch.linalg.eigvalsh(q.h)
    rate = 1 / float(eigenvalues[-1])
    assert (1 - rate * float(eigenvalues[0])) ** 4000 < 1e-12
    expected = q.d - q.b.T @ torch.linalg.solve(q.h, q.w - q.c)
    torch.testing.assert_close(q.gradient(rate, 4000), expected, rtol=1e-9, atol=1e-9)


def test_at_the_best_response_it_is_the_total_derivative() -> None:
    """There, the limit equals the finite difference of α ↦ L_val(w*(α), α)."""
    q = Quadratic()

    def outer(alpha: Tensor) -> Tensor:
        w = -torch.linalg.solve(q.h, q.b @ alpha)
        return ((w - q.c) ** 2).sum() / 2 + q.d @ alpha

    alpha = q.alpha.detach()
    q.w = -torch.linalg.solve(q.h, q.b @ alpha)
    # A central difference of a quadratic is exact; what remains is rounding, 1e-16·|L|/h.
    units = 1e-3 * torch.eye(4, dtype=torch.float64)
    expected = torch.stack([(outer(alpha + u) - outer(alpha - u)) / 2e-3 for u in units])
    rate = 1 / float(torch.linalg.eigvalsh(q.h)[-1])
    torch.testing.assert_close(q.gradient(rate, 4000), expected, rtol=1e-8, atol=1e-8)


def test_with_one_term_it_is_second_order_darts_where_the_validation_slope_is_constant() -> None:
    """K = 0 differs from DARTS' unrolled step only in where ∇_w L_val is taken: for a linear L_val they are equal."""
    q, rate = Quadratic(), 0.05
    slope = q.c
    lower, _, weights = q.losses()
    upper = torch.cat(weights) @ slope + q.d @ q.alpha
    ours = implicit_hypergradient(lower, upper, weights, q.alpha, rate=rate, terms=0)

    def train_loss(weights: Any, alpha: Tensor) -> Tensor:
        w = torch.cat(list(weights))
        return w @ q.h @ w / 2 + w @ q.b @ alpha

    _, _, weights = q.losses()
    gradients = torch.autograd.grad(train_loss(weights, q.alpha.detach()), weights)
    virtual = virtual_step(weights, gradients, [None, None], rate=rate, momentum=0.9, decay=0.0)
    direct, *vector = torch.autograd.grad(torch.cat(virtual) @ slope + q.d @ q.alpha, [q.alpha, *virtual])
    darts = direct - rate * mixed_product_exact(train_loss, weights, q.alpha, vector)
    torch.testing.assert_close(ours, darts, rtol=1e-12, atol=1e-12)


def test_on_the_supernet_it_agrees_with_finite_differences_of_gradients() -> None:
    """K = 2 on the real network: every product with a second derivative redone as a central difference of gradients."""
    # Central differences of a smooth function err by h²: with h‖v‖ = 1e-5 the rounding 1e-16/1e-5 = 1e-11 per unit of
    # gradient remains; 1e-5 relative leaves room for the ReLUs' kinks that a shift crosses.
    searcher = make(neumann_rate=0.2)
    with torch.no_grad():
        searcher.alpha.copy_(torch.randn(6, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    train, valid = batch(0), batch(1)
    ours, half = searcher.hypergradient(train, valid)
    assert half.images == 12
    network, alpha = copy.deepcopy(searcher.supernet), searcher.alpha.detach().clone().requires_grad_()
    weights = list(network.parameters())

    def gradients(part: Batch, of: list[Tensor]) -> list[Tensor]:
        loss = F.cross_entropy(network(part.images, alpha.softmax(-1), "batch"), part.labels)
        return list(torch.autograd.grad(loss, of))

    def along(vector: list[Tensor], of: list[Tensor]) -> list[Tensor]:
        """The derivative of ∇_of L_train along `vector`, in the space of the weights."""
        step = 1e-5 / float(torch.cat([v.flatten() for v in vector]).norm())
        ends = []
        for sign in (1, -2):
            with torch.no_grad():
                for w, v in zip(weights, vector, strict=True):
                    w += sign * step * v
            ends.append(gradients(train, of))
        with torch.no_grad():
            for w, v in zip(weights, vector, strict=True):
                w += step * v
        return [(up - down) / (2 * step) for up, down in zip(*ends, strict=True)]

    direct, *vector = gradients(valid, [alpha, *weights])
    total = vector
    for _ in range(2):
        vector = [v - 0.2 * product for v, product in zip(vector, along(vector, weights), strict=True)]
        total = [s + v for s, v in zip(total, vector, strict=True)]
    expected = direct - 0.2 * along(total, [alpha])[0]
    assert float((expected - direct).abs().max()) > 1e-3 * float(direct.abs().max())  # the second order matters
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("protocol", ["ucla", "autodl"])
def test_the_architecture_step_leaves_the_supernet_bit_for_bit(protocol: str) -> None:
    """Weights and running statistics are the same before and after; no gradient is left behind; α has moved."""
    searcher = make(protocol=protocol, inner_steps=1)
    searcher.begin_epoch(0, torch.Generator())
    searcher.weight_step(batch(0))
    before = {name: value.clone() for name, value in searcher.supernet.state_dict().items()}
    alpha = searcher.alpha.detach().clone()
    searcher.architecture_step(batch(1), batch(2))
    assert not torch.equal(searcher.alpha, alpha)
    for name, value in searcher.supernet.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(w.grad is None for w in searcher.supernet.parameters())


def test_the_architecture_moves_after_every_t_weight_steps() -> None:
    """With T = 4, of 10 steps the 5th and the 9th move α, and these push another training batch forward."""
    searcher = make()
    searcher.begin_epoch(0, torch.Generator())
    moved, images = [], []
    for step in range(10):
        before = searcher.alpha.detach().clone()
        images.append(searcher.step(batch(step), batch(step + 50)).images)
        moved.append(not torch.equal(searcher.alpha, before))
    assert [step for step, each in enumerate(moved) if each] == [4, 8]
    assert images == [18 if step in (4, 8) else 12 for step in range(10)]


def test_the_inner_steps_are_plain_sgd_on_the_network_itself() -> None:
    """Four inner steps equal PyTorch's own Nesterov SGD with clipping, at the published 0.01."""
    searcher = make(gradient_clip=0.5)
    network, mixture = copy.deepcopy(searcher.supernet), searcher.mixture().detach()
    sgd = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)
    searcher.begin_epoch(0, torch.Generator())
    for step in range(4):
        searcher.step(batch(step), batch(step + 50))
        sgd.zero_grad()
        F.cross_entropy(network(batch(step).images, mixture), batch(step).labels).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        sgd.step()
    for ours, theirs in zip(searcher.supernet.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_impossible_numbers_are_refused() -> None:
    """Each message quotes its number."""
    for options in ({"inner_steps": 0}, {"neumann_terms": -1}, {"neumann_rate": 0.0}):
        with pytest.raises(InputError, match=f"got {next(iter(options.values()))}"):
            Config(**options)  # type: ignore[arg-type]  # mypy cannot see the one key of each
