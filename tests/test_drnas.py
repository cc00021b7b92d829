"""DrNAS."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import stream
from dartboard.harness.toys import toy_supernet
from dartboard.searchers._training import resolve_protocol
from dartboard.searchers.drnas import FLOOR, Config, DrNas, concentration, divergence_from_uniform, draw

ALPHA = torch.tensor([-1.0, 0.0, 0.5, 1.0, 0.0], dtype=torch.float64)


def make(**options: object) -> DrNas:
    """A fresh one in float64."""
    protocol, own = resolve_protocol({"epochs": 3, "batch_size": 6, **options}, {})
    return DrNas(toy_supernet(dtype=torch.float64), Config(protocol=protocol, **own), generator=stream(0, "a"))


def batch(seed: int) -> Batch:
    """Six random images."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(6, 3, 8, 8, generator=generator, dtype=torch.float64)
    return Batch(images, torch.arange(6) % 3)


def seeded(seed: int) -> torch.Generator:
    """A generator."""
    return torch.Generator().manual_seed(seed)


def test_the_concentrations_of_known_logits() -> None:
    """ELU(α) + 1 of (-1, 0, 0.5, 1, 0) is (1/e, 1, 1.5, 2, 1); α = 0 is Dir(1); far below 0 the floor holds."""
    expected = torch.tensor([0.36787944117144233, 1.0, 1.5, 2.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(concentration(ALPHA), expected, rtol=1e-15, atol=0)
    assert float(concentration(torch.tensor(-100.0))) == pytest.approx(FLOOR)


def test_the_divergence_of_known_concentrations() -> None:
    """KL(Dir(1) ‖ Dir(1)) = 0; that of the logits above is 1.3831; and PyTorch's own closed form agrees."""
    beta = concentration(ALPHA)[None]
    assert float(divergence_from_uniform(torch.ones(E, O, dtype=torch.float64))) == pytest.approx(0, abs=1e-13)
    assert float(divergence_from_uniform(beta)) == pytest.approx(1.3831, abs=5e-5)
    rows = 4 * torch.rand(E, O, generator=seeded(0), dtype=torch.float64) + 0.01
    independent = kl_divergence(Dirichlet(rows), Dirichlet(torch.ones_like(rows))).sum()
    torch.testing.assert_close(divergence_from_uniform(rows), independent, rtol=1e-12, atol=0)


def test_the_draws_have_the_moments_of_the_distribution() -> None:
    """Mean β/s and variance m(1 - m)/(s + 1), within six standard errors of 100,000 draws."""
    beta = concentration(ALPHA)
    count = 100_000
    theta = draw(beta.expand(count, O), seeded(1))
    torch.testing.assert_close(theta.sum(-1), torch.ones(count, dtype=torch.float64), rtol=1e-12, atol=0)
    total = beta.sum()
    mean = beta / total
    variance = mean * (1 - mean) / (total + 1)
    assert bool(((theta.mean(0) - mean).abs() < 6 * (variance / count).sqrt()).all())
    torch.testing.assert_close(theta.var(0), variance, rtol=0.03, atol=0)


def test_the_gradient_through_a_draw_is_that_of_the_expectation() -> None:
    """E[Σ c_o θ_o²] = Σ c_o β_o(β_o + 1)/(s(s + 1)): the mean pathwise gradient is the gradient of this closed form."""
    count = 200_000
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0], dtype=torch.float64)
    beta = concentration(ALPHA).requires_grad_()
    total = beta.sum()
    expectation = (weights * beta * (beta + 1)).sum() / (total * (total + 1))
    (expected,) = torch.autograd.grad(expectation, [beta])
    rows = beta.detach().expand(count, O).clone().requires_grad_()
    (each,) = torch.autograd.grad((weights * draw(rows, seeded(2)) ** 2).sum(), [rows])
    standard_error = each.std(0) / count**0.5
    assert bool(((each.mean(0) - expected).abs() < 6 * standard_error).all())
    assert float(standard_error.max()) < 0.01 * float(expected.abs().max())  # so that the line above says something


def test_extreme_concentrations_keep_everything_finite() -> None:
    """In float32, from the floor to 50, draws and their gradients are finite (PyTorch issue 57447)."""
    logits = torch.tensor([-100.0, -10.0, 0.0, 49.0, -3.0]).expand(2000, O).clone().requires_grad_()
    theta = draw(concentration(logits), seeded(3))
    (gradient,) = torch.autograd.grad((theta * torch.arange(5.0)).sum(), [logits])
    assert bool(theta.isfinite().all())
    assert bool(gradient.isfinite().all())


def test_a_draw_leaves_the_global_random_state_and_follows_its_generator() -> None:
    """Equal generators give equal draws whatever the global state, which is bit for bit as before; then new draws."""
    beta = concentration(ALPHA).expand(E, O)
    generator = seeded(4)
    before = torch.random.get_rng_state()
    first = draw(beta, generator)
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(99)
        assert torch.equal(draw(beta, seeded(4)), first)
    assert not torch.equal(draw(beta, generator), first)


def test_the_mixture_is_the_mean_and_its_order_is_the_logits() -> None:
    """β/Σβ is uniform at α = 0, and monotone in α."""
    searcher = make()
    with torch.no_grad():
        searcher.alpha.zero_()
    torch.testing.assert_close(
        searcher.mixture().detach(), torch.full((E, O), 0.2, dtype=torch.float64), rtol=1e-15, atol=0
    )
    with torch.no_grad():
        searcher.alpha.copy_(torch.randn(E, O, generator=seeded(5), dtype=torch.float64))
    assert torch.equal(searcher.mixture().argsort(-1), searcher.alpha.argsort(-1))


def test_each_half_of_a_step_has_a_draw_of_its_own() -> None:
    """Two passes, two different points of the simplex."""
    searcher = make()
    searcher.begin_epoch(0, seeded(6))
    seen: list[Tensor] = []
    searcher.supernet.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1].detach().clone()))
    result = searcher.step(batch(0), batch(1))
    assert len(seen) == 2
    assert result.images == 12
    assert not torch.equal(seen[0], seen[1])
    for theta in seen:
        torch.testing.assert_close(theta.sum(-1), torch.ones(E, dtype=torch.float64), rtol=1e-12, atol=0)


@pytest.mark.parametrize("anchor", ["l2", "kl"])
def test_the_anchor_pulls_by_its_own_gradient(anchor: str) -> None:
    """A step of a hand-made Adam on L_val(θ), plus λα or plus λ∇KL (by PyTorch's KL), leaves the same logits."""
    searcher = make(anchor=anchor, architecture_decay=0.5)
    with torch.no_grad():
        searcher.alpha.copy_(torch.randn(E, O, generator=seeded(7), dtype=torch.float64))
    alpha = searcher.alpha.detach().clone().requires_grad_()
    network = copy.deepcopy(searcher.supernet)
    searcher.begin_epoch(0, seeded(8))
    twin = seeded(8)
    adam = torch.optim.Adam([alpha], lr=3e-4, betas=(0.5, 0.999), weight_decay=0)
    for seed in range(3):
        beta = torch.where(alpha > 0, alpha + 1, alpha.exp())
        logits = network(batch(seed).images, draw(beta, twin))
        loss = torch.nn.functional.cross_entropy(logits, batch(seed).labels)
        if anchor == "kl":
            pull = kl_divergence(Dirichlet(beta), Dirichlet(torch.ones_like(beta))).sum()
        else:
            pull = (alpha**2).sum() / 2
        adam.zero_grad()
        (loss + 0.5 * pull).backward()
        adam.step()
        searcher.architecture_step(batch(9), batch(seed))
    torch.testing.assert_close(searcher.alpha, alpha, rtol=1e-9, atol=1e-12)


def test_an_unknown_anchor_is_refused() -> None:
    """`anchor` has two values."""
    with pytest.raises(InputError, match="'l1'"):
        Config(anchor="l1")  # type: ignore[arg-type]  # the wrong value is the point
