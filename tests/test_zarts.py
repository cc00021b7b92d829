"""ZARTS."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import multivariate_normal
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import E, O
from dartboard.harness import searcher_checks
from dartboard.harness.guard import differences, flat
from dartboard.harness.searcher_checks import SearcherCase
from dartboard.harness.toys import toy_batch as batch
from dartboard.harness.toys import toy_searcher
from dartboard.harness.verify import examine
from dartboard.searchers._catalogue import SEARCHERS
from dartboard.searchers._training import Protocol, WeightTrainer
from dartboard.searchers.zarts import (
    Config,
    Zarts,
    best,
    excursion,
    guided,
    guided_step,
    log_density,
    mixed,
    normal,
    random_search_gradient,
    shrinking,
)

VARIANTS = ["mgs", "rs", "gld"]


def make(**options: Any) -> Zarts:
    """A fresh one in float64 that moves α from the first epoch on."""
    return toy_searcher(Zarts, **{"epochs": 4, "warm_up": 0.0, "inner_steps": 2, **options})


def seeded(seed: int = 0) -> torch.Generator:
    """A generator."""
    return torch.Generator().manual_seed(seed)


class Quadratic:
    """f(α) = ½αᵀHα + bᵀα of three numbers."""

    def __init__(self) -> None:
        root = torch.randn(3, 3, generator=seeded(), dtype=torch.float64)
        self.h = root @ root.T + torch.eye(3)
        self.b, self.alpha = torch.randn(2, 3, generator=seeded(1), dtype=torch.float64)

    def __call__(self, points: Tensor) -> Tensor:
        """(n,) for points (n, 3)."""
        return torch.einsum("ni,ij,nj->n", points, self.h, points) / 2 + points @ self.b

    @property
    def gradient(self) -> Tensor:
        """At α."""
        return self.h @ self.alpha + self.b


def test_mgs_weights_are_the_softmax_of_minus_the_losses() -> None:
    """Losses of 0, τ log 2 and τ log 5 give weights 10/17, 5/17, 2/17; equal ones the mean; τ near 0 the best move."""
    moves = torch.eye(3, dtype=torch.float64)
    losses = 0.01 * torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64).log()
    expected = torch.tensor([10, 5, 2], dtype=torch.float64) / 17
    torch.testing.assert_close(guided_step(moves, losses, 0.01), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(guided_step(moves, losses + 7, 0.01), expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(guided_step(moves, torch.ones(3).double(), 0.01), moves.mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(guided_step(moves, losses, 1e-6), moves[0], rtol=0, atol=1e-12)


def test_mgs_steps_are_those_of_a_tilted_normal_distribution_on_a_quadratic() -> None:
    """With u ~ N(m, σ²I) the weighted mean tends to (I/σ² + H/τ)⁻¹(m/σ² - ∇f/τ): the mean of N·exp(-f/τ)."""
    f, deviation, temperature, count = Quadratic(), 0.3, 0.5, 200_000
    start = torch.tensor([0.2, -0.1, 0.3], dtype=torch.float64)
    moves = guided(-start, deviation, 0.0, count, seeded(2))
    losses = f(f.alpha + moves)
    precision = torch.eye(3) / deviation**2 + f.h / temperature
    expected = torch.linalg.solve(precision, start / deviation**2 - f.gradient / temperature)
    # The standard error of a self-normalised mean: √(Σ c²(u - mean)²), of the weights themselves.
    weights = (-losses / temperature).softmax(0)
    error = (weights[:, None].square() * (moves - expected).square()).sum(0).sqrt()
    assert bool((error < 0.01).all())
    assert bool(((guided_step(moves, losses, temperature) - expected).abs() < 5 * error).all())


def test_mgs_moves_lie_around_minus_the_gradient() -> None:
    """Their mean is -(1 - λ)g, their variance σ²((1 - λ)² + λ²); without noise they are -(1 - λ)g exactly."""
    gradient = torch.tensor([[1.0, -2.0], [0.5, 0.0]], dtype=torch.float64)
    moves = guided(gradient, 0.1, 0.25, 50_000, seeded(3))
    variance = 0.01 * (0.75**2 + 0.25**2)
    # Five standard errors of a mean and of a normal variance.
    assert float((moves.mean(0) + 0.75 * gradient).abs().max()) < 5 * (variance / 50_000) ** 0.5
    assert float((moves.var(0) - variance).abs().max()) < 5 * variance * (2 / 50_000) ** 0.5
    assert torch.equal(guided(gradient, 0.0, 0.25, 2, seeded(3)), torch.stack([-0.75 * gradient] * 2))


def densities(moves: Tensor, gradient: Tensor, deviation: float, blend: float) -> np.ndarray:
    """(N,): q by SciPy."""
    parts = [multivariate_normal(mean=m.numpy(), cov=deviation**2) for m in (-gradient, torch.zeros_like(gradient))]
    near, far = (np.atleast_1d(part.pdf(moves.numpy())) for part in parts)
    return (1 - blend) * near + blend * far


@pytest.mark.parametrize("blend", [0.0, 0.3, 1.0])
def test_the_papers_moves_come_from_the_mixture_and_their_density_is_its(blend: float) -> None:
    """Mean -(1 - λ)g, covariance σ²I + λ(1 - λ)ggᵀ; ln q is SciPy's up to one constant."""
    gradient, deviation, count = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), 0.4, 40_000
    moves = mixed(gradient, deviation, blend, count, seeded(3))
    variance = deviation**2 * torch.eye(3) + blend * (1 - blend) * torch.outer(gradient, gradient)
    # Five standard errors of a mean; of a product of centred entries, with a fourth moment below 30 here.
    assert float((moves.mean(0) + (1 - blend) * gradient).abs().max()) < 5 * (float(variance.max()) / count) ** 0.5
    assert float((moves.T.cov() - variance).abs().max()) < 5 * (30 / count) ** 0.5
    ours = log_density(moves[:50], gradient, deviation, blend).numpy()
    theirs = np.log(densities(moves[:50], gradient, deviation, blend))
    np.testing.assert_allclose(ours - ours[0], theirs - theirs[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("blend", [0.05, 0.5])
def test_in_the_papers_form_mgs_finds_the_mean_of_the_tempered_loss_wherever_it_draws(blend: float) -> None:
    """On a quadratic the mean of exp(-f(α + u)/τ) is the way to the least f, -H⁻¹∇f; without ln q it is not found."""
    f, deviation, temperature, count = Quadratic(), 0.8, 0.2, 200_000
    gradient, truth = torch.tensor([0.3, -0.2, 0.4], dtype=torch.float64), -torch.linalg.solve(f.h, f.gradient)
    moves = mixed(gradient, deviation, blend, count, seeded(2))
    losses, logs = f(f.alpha + moves), log_density(moves, gradient, deviation, blend)
    weights = (-losses / temperature - logs).softmax(0)
    error = (weights[:, None].square() * (moves - truth).square()).sum(0).sqrt()  # of a self-normalised mean
    assert bool((error < 0.02).all())
    assert bool(((guided_step(moves, losses, temperature, logs) - truth).abs() < 5 * error).all())
    assert bool(((guided_step(moves, losses, temperature) - truth).abs() > 5 * error).any())


def test_an_update_in_the_papers_form_written_out() -> None:
    """α moves by Σ c u with c ∝ exp(-f/τ)/q(u), q by SciPy, for losses that are given; at σ = 0 by -g."""
    searcher = make(form="paper", radius=0.1, blend=0.25, temperature=0.5, samples=6)
    searcher.begin_epoch(0, seeded(8))
    for seed in range(2):
        searcher.step(batch(seed), batch(seed + 10))
    alpha = searcher.alpha.detach().clone()
    logits = searcher.supernet(batch(6).images, searcher.mixture(), "batch")
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, batch(6).labels), [searcher.alpha])
    asked: list[Tensor] = []

    def outcome(point: Tensor, _: Batch) -> Tensor:
        asked.append(point)
        return point.square().sum() + 100

    searcher.outcome = outcome  # type: ignore[method-assign]  # losses that are known
    searcher.architecture_step(batch(5), batch(6))
    moves = (torch.stack(asked) - alpha).flatten(1)
    losses = np.array([float(point.square().sum()) for point in asked])
    weights = np.exp(-losses / 0.5) / densities(moves, gradient.flatten(), 0.1, 0.25)
    expected = (weights / weights.sum()) @ moves.numpy()
    np.testing.assert_allclose((searcher.alpha.detach() - alpha).flatten().numpy(), expected, rtol=1e-6, atol=1e-9)
    still = make(form="paper", blend=0.0)
    still.begin_epoch(99, seeded())  # a selector trains on
    (gradient,) = torch.autograd.grad((loss := (still.alpha * 3).sum()), [still.alpha], retain_graph=True)
    expected = (still.alpha - gradient).detach().numpy()
    np.testing.assert_allclose(still.guided(loss, lambda point: point.sum()).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("radius", [1e-3, 1.0])
def test_rs_is_exact_on_a_quadratic_over_a_symmetric_design(radius: float) -> None:
    """Over ±√n eᵢ, whose second moment is I and third 0, the estimate is the gradient, whatever μ is."""
    f = Quadratic()
    moves = 3**0.5 * torch.cat([torch.eye(3), -torch.eye(3)]).double()
    found = random_search_gradient(moves, f(f.alpha + radius * moves), f(f.alpha[None])[0], radius)
    torch.testing.assert_close(found, f.gradient, rtol=1e-9, atol=1e-9)


def test_rs_is_the_gradient_on_average() -> None:
    """Over 100,000 normal directions, to five standard errors."""
    f = Quadratic()
    moves = normal(seeded(4), 100_000, f.alpha)
    losses, base = f(f.alpha + 0.1 * moves), f(f.alpha[None])[0]
    each = ((losses - base) / 0.1)[:, None] * moves
    error = each.std(0) / 100_000**0.5
    found = random_search_gradient(moves, losses, base, 0.1)
    assert bool(((found - f.gradient).abs() < 5 * error).all())


def test_gld_moves_halve_in_length_and_have_no_preferred_direction() -> None:
    """Lengths are R, R/2, R/4, R/8 to rounding; over many draws the mean direction is 0 to five standard errors."""
    like = torch.zeros(E, O, dtype=torch.float64)
    moves = shrinking(like, 0.2, 4, seeded(5))
    lengths = torch.linalg.vector_norm(moves.flatten(1), dim=1)
    torch.testing.assert_close(lengths, 0.2 * torch.tensor([1, 0.5, 0.25, 0.125]).double(), rtol=1e-12, atol=0)
    many = torch.cat([shrinking(like[0], 1.0, 1, seeded(seed)) for seed in range(4000)])
    assert float(many.mean(0).abs().max()) < 5 * (1 / O / 4000) ** 0.5  # a coordinate's variance is 1/n


def test_gld_takes_the_best_point_and_stays_where_none_is_better() -> None:
    """The first smallest loss wins; NaN never does."""
    points = torch.arange(4, dtype=torch.float64)[:, None, None].expand(4, E, O)
    nan = float("nan")
    for losses, place in (([3, 1, 2, 1], 1), ([1, 1, 2, 3], 0), ([2, nan, 1, nan], 2), ([nan] * 4, 0)):
        assert torch.equal(best(points, torch.tensor(losses, dtype=torch.float64)), points[place])


def test_gld_descends_a_quadratic_and_sees_only_the_order_of_losses() -> None:
    """f never rises, comes to within 1e-3 of its least value, and exp(f) leads along the very same points."""
    f, generator = Quadratic(), seeded(6)
    least = float(f(-torch.linalg.solve(f.h, f.b)[None])[0])
    alpha, values = f.alpha, [float(f(f.alpha[None])[0])]
    for _ in range(400):
        points = torch.cat([alpha[None], alpha + shrinking(alpha, 1.0, 8, generator)])
        alpha = best(points, f(points))
        assert torch.equal(alpha, best(points, f(points).exp()))
        values.append(float(f(alpha[None])[0]))
    assert values == sorted(values, reverse=True)
    assert values[-1] - least < 1e-3


@pytest.mark.parametrize("before", [0, 2])
def test_an_excursion_leaves_no_trace(before: int) -> None:
    """Weights and momentum are as they were, bit for bit, also where there was no momentum yet, and after an error."""
    layer = torch.nn.Linear(3, 2)
    trainer = WeightTrainer(layer, Protocol())
    images = torch.ones(1, 3)
    for _ in range(before):
        trainer.descend(layer(images).square().sum())
    state, weights = copy.deepcopy(trainer.state_dict()), [p.detach().clone() for p in layer.parameters()]

    def wander() -> None:
        with excursion(trainer):
            for _ in range(3):
                trainer.descend(layer(images).square().sum())
            assert not torch.equal(next(layer.parameters()), weights[0])
            raise KeyError

    with pytest.raises(KeyError):
        wander()
    assert differences(flat(state), flat(trainer.state_dict())) == []
    assert all(torch.equal(p, was) for p, was in zip(layer.parameters(), weights, strict=True))


def test_f_is_the_validation_loss_after_m_steps_of_hand_made_sgd() -> None:
    """PyTorch's own SGD and clipping on a copy, momentum included, end at the same loss."""
    searcher = make(gradient_clip=0.5)
    searcher.begin_epoch(0, seeded())
    for seed in range(2):
        searcher.weight_step(batch(seed))
    network = copy.deepcopy(searcher.supernet)
    sgd = torch.optim.SGD(network.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)
    sgd.load_state_dict(copy.deepcopy(searcher.weights.sgd.state_dict()))
    alpha = torch.randn(E, O, generator=seeded(7), dtype=torch.float64)
    for seed in range(2):
        sgd.zero_grad()
        F.cross_entropy(network(batch(seed).images, alpha.softmax(-1), "batch"), batch(seed).labels).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        sgd.step()
    with torch.no_grad():
        expected = F.cross_entropy(network(batch(9).images, alpha.softmax(-1), "batch"), batch(9).labels)
    torch.testing.assert_close(searcher.outcome(alpha, batch(9)), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_update_moves_alpha_and_nothing_else(variant: str) -> None:
    """Weights, momentum and running statistics are bit for bit as before."""
    searcher = make(variant=variant, radius=0.5)
    searcher.begin_epoch(0, seeded())
    for seed in range(2):
        searcher.step(batch(seed), batch(seed + 10))
    before = copy.deepcopy(searcher.state_dict())
    searcher.architecture_step(batch(5), batch(6))
    changed = differences(flat(before), flat(searcher.state_dict()))
    assert changed == ["alpha"] or (variant == "gld" and changed == [])


@pytest.mark.parametrize("variant", VARIANTS)
def test_alpha_moves_after_every_m_weight_steps_of_an_epoch(variant: str) -> None:
    """With M = 2 it moves in the third and fifth step of each epoch, an odd one beyond a period being forgotten."""
    searcher = make(variant=variant, radius=0.01)
    calls: list[tuple[int, int]] = []
    outcome: Callable[[Tensor, Batch], Tensor] = searcher.outcome

    def watched(alpha: Tensor, valid: Batch) -> Tensor:
        calls.append((step, len(searcher.seen)))
        return outcome(alpha, valid)

    searcher.outcome = watched  # type: ignore[method-assign]  # to see when it is asked
    step = 0
    for epoch in range(2):
        searcher.begin_epoch(epoch, seeded(epoch))
        for _ in range(6):
            searcher.step(batch(step), batch(step + 100))
            step += 1
    each = 4 if variant == "mgs" else 5
    assert calls == [(s, 2) for s in (2, 4, 8, 10) for _ in range(each)]


def test_without_noise_mgs_is_a_gradient_step_of_rate_one() -> None:
    """With σ and λ at 0, or all but 0, α moves by -∇_α L_val(θ, α), the gradient without any unrolling."""
    searcher = make(radius=1e-14, blend=0.0)
    searcher.begin_epoch(0, seeded())
    for seed in range(2):
        searcher.step(batch(seed), batch(seed + 10))
    alpha = searcher.alpha.detach().clone().requires_grad_()
    loss = F.cross_entropy(searcher.supernet(batch(6).images, alpha.softmax(-1), "batch"), batch(6).labels)
    (gradient,) = torch.autograd.grad(loss, [alpha])
    searcher.architecture_step(batch(5), batch(6))
    torch.testing.assert_close(searcher.alpha.detach(), alpha.detach() - gradient, rtol=1e-9, atol=1e-12)


def test_rs_moves_down_the_total_derivative_through_the_weights() -> None:
    """With many directions the step correlates with the finite-difference gradient of f itself, M steps included."""
    searcher = make(variant="rs", samples=200, radius=1e-6, inner_steps=1)
    searcher.begin_epoch(0, seeded())
    searcher.step(batch(0), batch(10))
    alpha = searcher.alpha.detach().clone()
    truth = torch.zeros(E, O, dtype=torch.float64)
    for edge in range(E):
        for operation in range(O):
            shift = torch.zeros(E, O, dtype=torch.float64)
            shift[edge, operation] = 1e-6
            ends = [searcher.outcome(alpha + sign * shift, batch(6)) for sign in (1, -1)]
            truth[edge, operation] = (ends[0] - ends[1]) / 2e-6
    searcher.architecture_step(batch(5), batch(6))
    moved = searcher.alpha.detach() - alpha
    # Of N normal directions in n dimensions the cosine is about √(N/(N + n)) = 0.93.
    assert float(F.cosine_similarity(-moved.flatten(), truth.flatten(), dim=0)) > 0.8


def test_gld_never_raises_f() -> None:
    """By the batches of the update, f of the new α is at most f of the old one."""
    searcher = make(variant="gld", radius=2.0)
    searcher.begin_epoch(0, seeded())
    for seed in range(2):
        searcher.step(batch(seed), batch(seed + 10))
    seen, before = searcher.seen, searcher.outcome(searcher.alpha.detach(), batch(6))
    searcher.architecture_step(batch(5), batch(6))
    searcher.seen = seen
    assert float(searcher.outcome(searcher.alpha.detach(), batch(6))) <= float(before)


def test_alpha_rests_in_the_first_fifth_and_sigma_falls_along_a_cosine() -> None:
    """Of 50 epochs ten warm up; σ is 0.025 in the eleventh, half of it halfway, 0 after the last; μ and R stay."""
    for variant, first in (("mgs", 0.025), ("rs", 0.025), ("gld", 0.2)):
        searcher = make(variant=variant, epochs=50, warm_up=0.2)
        warming, radii = [], []
        for epoch in range(60):
            searcher.begin_epoch(epoch, seeded(epoch))
            warming.append(searcher.warming)
            radii.append(searcher.radius)
        assert warming == [True] * 10 + [False] * 50
        if variant == "mgs":
            assert [radii[e] for e in (10, 30, 50, 59)] == pytest.approx([first, first / 2, 0, 0], abs=1e-17)
        else:
            assert radii == [first] * 60
    assert Config().protocol.epochs == 50
    assert (Config().inner_steps, Config().samples, Config().warm_up) == (10, 4, 0.2)


def test_nothing_is_remembered_while_alpha_rests() -> None:
    """In the warm-up the weights move and α does not, however many steps there are."""
    searcher = make(epochs=2, warm_up=0.5)
    searcher.begin_epoch(0, seeded())
    before = searcher.alpha.detach().clone()
    for step in range(5):
        searcher.step(batch(step), batch(step + 10))
    assert torch.equal(searcher.alpha, before)
    assert searcher.seen == []


@pytest.mark.parametrize(
    ("variant", "name"),
    [
        *((variant, name) for variant in VARIANTS for name in ("step_results", "same_seed_same_trajectory")),
        *((variant, "meta_device") for variant in VARIANTS),
        ("mgs", "state_round_trip"),
        ("mgs", "memory_does_not_grow"),
    ],
)
def test_the_contract_holds_where_alpha_moves_in_every_step(variant: str, name: str) -> None:
    """With M = 1, as the toy epochs of the catalogue's own checks are too short for an update."""
    case = SearcherCase.of(SEARCHERS[f"zarts-{variant}"], inner_steps=1)
    verdict = examine(getattr(searcher_checks, f"check_{name}"), case)
    assert (verdict.status, verdict.detail) == ("ok", "")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"variant": "mgd"}, "unknown variant 'mgd'; did you mean 'mgs'"),
        ({"samples": 0}, "samples is at least 1; got 0"),
        ({"inner_steps": 0}, "inner_steps is at least 1; got 0"),
        ({"radius": 0.0}, "radius is greater than 0; got 0.0"),
        ({"blend": 2.0}, "blend is at most 1; got 2.0"),
        (
            {"variant": "gld", "temperature": 1.0},
            "temperature belongs to the variant 'mgs', and this is 'gld'; got 1.0",
        ),
        ({"rate": 1.0}, "rate belongs to the variant 'rs', and this is 'mgs'; got 1.0"),
        ({"form": "papers"}, "unknown form 'papers'; did you mean 'paper'"),
        ({"form": "paper", "variant": "rs"}, "form belongs to the variant 'mgs', and this is 'rs'; got 'paper'"),
        ({"warm_up": 10}, "warm_up is a share between 0 and 1; got 10"),
    ],
)
def test_a_figure_that_makes_no_sense_is_refused(fields: dict[str, Any], message: str) -> None:
    """One line quotes it."""
    with pytest.raises(InputError) as refused:
        Config(**fields)
    assert str(refused.value).startswith(message)
