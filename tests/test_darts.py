from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.layers import Norm
from dartboard.benchmark.reference import ReferenceSupernet
from dartboard.benchmark.space import E, O
from dartboard.benchmark.supernet import Supernet, SupernetConfig
from dartboard.searchers import darts_v1, darts_v2
from dartboard.searchers._training import Bilevel, Protocol, resolve_protocol
from dartboard.searchers.darts_v1 import DartsV1
from dartboard.searchers.darts_v2 import (
    DartsV2,
    mixed_product_difference,
    mixed_product_exact,
    virtual_step,
)

Make = Callable[..., Bilevel]


def draw(*shape: int, seed: int = 1) -> Tensor:
    """Standard normal float64 numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batch(seed: int) -> Batch:
    """Five images of 6x6 pixels in three classes."""
    return Batch(draw(5, 3, 6, 6, seed=seed), torch.tensor([0, 1, 2, 0, 1]))


TRAIN, VALID = batch(10), batch(20)


def supernet() -> Supernet:
    """Two channels, three cells, float64, with running statistics of its own."""
    config = SupernetConfig(channels=2, cells_per_stage=1, num_classes=3)
    return Supernet(config, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def make_v1(**fields: Any) -> DartsV1:
    """First-order DARTS, with logits far from uniform."""
    return _with_logits(DartsV1(supernet(), darts_v1.Config(protocol=Protocol(**fields)), generator=torch.Generator()))


def make_v2(*, mixed_product: Any = "exact", relative_step: float = 0.01, **fields: Any) -> DartsV2:
    """Second-order DARTS, with logits far from uniform."""
    config = darts_v2.Config(protocol=Protocol(**fields), mixed_product=mixed_product, relative_step=relative_step)
    return _with_logits(DartsV2(supernet(), config, generator=torch.Generator()))


def _with_logits(searcher: Any) -> Any:
    with torch.no_grad():
        searcher.alpha.copy_(draw(E, O, seed=3))
    return searcher


def loss_of(network: nn.Module, alpha: Tensor, data: Batch, norm: Norm = "batch") -> Tensor:
    """The cross-entropy of the readable supernet: nothing of a searcher's code, nor of the fast network's."""
    logits = network(data.images, torch.exp(alpha) / torch.exp(alpha).sum(-1, keepdim=True), norm)
    return F.nll_loss(torch.log_softmax(logits, -1), data.labels)


def finite_difference(function: Callable[[Tensor], float], at: Tensor, *, step: float) -> Tensor:
    """The gradient of `function` by central differences, entry by entry."""
    gradient = torch.zeros_like(at)
    for index in np.ndindex(*at.shape):
        shift = torch.zeros_like(at)
        shift[index] = step
        gradient[index] = (function(at + shift) - function(at - shift)) / (2 * step)
    return gradient


def applied_gradient(searcher: Bilevel, before: Tensor) -> Tensor:
    """The gradient that the first architecture step gave to Adam, read back from its first moment."""
    moment: Tensor = searcher.adam.state[searcher.alpha]["exp_avg"]
    protocol = searcher.config.protocol
    return moment / (1 - protocol.architecture_betas[0]) - protocol.architecture_decay * before


def weights_of(searcher: Bilevel) -> dict[str, Tensor]:
    """Copies of the weights, by name."""
    return {name: value.detach().clone() for name, value in searcher.supernet.named_parameters()}


def buffers_of(searcher: Bilevel) -> dict[str, Tensor]:
    """Copies of the running statistics, by name."""
    return {name: value.clone() for name, value in searcher.supernet.named_buffers()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two states are equal bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# First order


def test_the_architecture_gradient_is_that_of_the_validation_loss() -> None:
    """In float64 the gradient that Adam gets equals central differences of L_val over α, at fixed weights.

    Rounding is 2e-16/1e-5 = 2e-11 times the loss (about 1), truncation 1e-10 times a sixth of the third derivative.
    """
    searcher = make_v1()
    before, network = searcher.alpha.detach().clone(), ReferenceSupernet(searcher.supernet)
    searcher.architecture_step(TRAIN, VALID)

    @torch.no_grad()
    def validation(alpha: Tensor) -> float:
        return float(loss_of(network, alpha, VALID))

    expected = finite_difference(validation, before, step=1e-5)
    torch.testing.assert_close(applied_gradient(searcher, before), expected, rtol=1e-6, atol=1e-9)


def test_the_architecture_moves_by_pytorchs_adam() -> None:
    """Three architecture steps equal three steps of an independent Adam(3e-4, (0.5, 0.999), decay 1e-3)."""
    searcher = make_v1()
    network = ReferenceSupernet(searcher.supernet)
    alpha = searcher.alpha.detach().clone().requires_grad_()
    adam = torch.optim.Adam([alpha], lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    for seed in range(3):
        searcher.architecture_step(TRAIN, batch(seed))
        adam.zero_grad()
        loss_of(network, alpha, batch(seed)).backward()
        adam.step()
        torch.testing.assert_close(searcher.alpha.detach(), alpha.detach(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("make", [make_v1, make_v2])
def test_each_half_moves_its_own_variables_only(make: Make) -> None:
    """An architecture step leaves the weights bit for bit, a weight step α and Adam's moments; no gradient stays."""
    searcher = make(clip_includes_architecture=True)
    searcher.weight_step(TRAIN)
    weights, alpha = weights_of(searcher), searcher.alpha.detach().clone()
    searcher.architecture_step(TRAIN, VALID)
    assert same(weights_of(searcher), weights)
    assert not torch.equal(searcher.alpha, alpha)
    alpha, adam = searcher.alpha.detach().clone(), dict(searcher.adam.state[searcher.alpha])
    moments = {name: value.clone() for name, value in adam.items()}
    searcher.weight_step(TRAIN)
    assert torch.equal(searcher.alpha, alpha)
    assert same(moments, searcher.adam.state[searcher.alpha])
    assert not any(torch.equal(value, weights[name]) for name, value in weights_of(searcher).items())
    assert all(parameter.grad is None for parameter in [searcher.alpha, *searcher.supernet.parameters()])


@pytest.mark.parametrize(
    ("make", "order", "expected"),
    [
        (make_v1, "architecture-first", ["valid", "train"]),
        (make_v1, "weights-first", ["train", "valid"]),
        (make_v2, "architecture-first", ["train", "valid", "train", "train"]),
        (make_v2, "weights-first", ["train", "train", "valid", "train"]),
    ],
)
def test_the_halves_come_in_the_protocols_order(make: Make, order: str, expected: list[str]) -> None:
    """The batches that pass through the supernet are those of the protocol's order, the virtual passes included."""
    searcher = make(order=order)
    passed: list[str] = []
    searcher.supernet.register_forward_pre_hook(
        lambda _, arguments: passed.append("train" if arguments[0] is TRAIN.images else "valid")
    )
    result = searcher.step(TRAIN, VALID)
    assert passed == expected
    assert result.images == 5 * len(expected)


def test_a_searcher_given_anothers_live_state_shares_nothing_with_it() -> None:
    """Two searchers, one started from the state of the other, then step alike and apart."""
    one, other = make_v1(), make_v1()
    one.step(TRAIN, VALID)
    other.load_state_dict(one.state_dict())
    one.step(TRAIN, VALID)
    assert not same(weights_of(one), weights_of(other))
    other.step(TRAIN, VALID)
    assert same(weights_of(one), weights_of(other))
    assert torch.equal(one.alpha, other.alpha)


def test_a_step_tells_what_both_halves_saw() -> None:
    """Losses and hits of a first-order step are those of the readable supernet at the time of each half."""
    searcher = make_v1()
    network, alpha = ReferenceSupernet(searcher.supernet), searcher.alpha.detach().clone()
    result = searcher.step(TRAIN, VALID)
    moved = searcher.alpha.detach()
    for data, logits_at, loss, correct in (
        (VALID, alpha, result.valid_loss, result.valid_correct),
        (TRAIN, moved, result.train_loss, result.train_correct),
    ):
        torch.testing.assert_close(loss, loss_of(network, logits_at, data).detach(), rtol=1e-10, atol=1e-10)
        hits = (network(data.images, logits_at.softmax(-1), "batch").argmax(-1) == data.labels).sum()
        assert int(correct) == int(hits)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("counted", [False, True], ids=["weights only", "with the architecture"])
@pytest.mark.parametrize("clip", [0.0, 0.5, 1e6])
def test_the_weights_follow_sgd_by_hand(nesterov: bool, counted: bool, clip: float) -> None:
    """Three weight steps equal the recursion b ← μb + g + λw, w ← w - ξb (Nesterov: ξ(g + λw + μb)), clipped by hand.

    g is the readable supernet's gradient, scaled by clip/(‖g‖ + 1e-6) where that is below 1; ‖g‖ counts ∇_α L_train
    where the protocol says so.
    """
    searcher = make_v1(
        nesterov=nesterov, clip_includes_architecture=counted, gradient_clip=clip, weight_decay=0.01, epochs=4
    )
    by_hand = supernet()
    rates = {0: 0.025, 1: 0.001 + 0.012 * (1 + 2**-0.5), 2: 0.013}
    velocity: dict[str, Tensor] = {}
    norms = []
    for epoch, rate in rates.items():
        searcher.begin_epoch(epoch, torch.Generator())
        searcher.weight_step(batch(epoch))
        network, alpha = ReferenceSupernet(by_hand), searcher.alpha.detach().clone().requires_grad_()
        loss_of(network, alpha, batch(epoch)).backward()
        assert alpha.grad is not None
        gradients = network.weight_gradients()
        squares = sum(float((g * g).sum()) for g in gradients.values()) + counted * float((alpha.grad**2).sum())
        norms.append(squares**0.5)
        scale = min(1.0, clip / (squares**0.5 + 1e-6)) if clip else 1.0
        with torch.no_grad():
            for name, weight in by_hand.named_parameters():
                direction = scale * gradients[name] + 0.01 * weight
                velocity[name] = 0.9 * velocity[name] + direction if name in velocity else direction
                weight -= rate * (direction + 0.9 * velocity[name] if nesterov else velocity[name])
    assert max(norms) > 0.5  # so that a clip at 0.5 does something
    for name, weight in by_hand.named_parameters():
        torch.testing.assert_close(weights_of(searcher)[name], weight.detach(), rtol=1e-9, atol=1e-11)


def test_a_counted_architecture_gradient_shortens_the_weights_step() -> None:
    """Where the norm counts α, a clipped step is shorter than where it does not (the two families differ)."""
    moved = []
    for counted in (False, True):
        searcher = make_v1(clip_includes_architecture=counted, gradient_clip=0.1, weight_decay=0.0)
        before = weights_of(searcher)
        searcher.weight_step(TRAIN)
        moved.append(sum(float(((v - before[n]) ** 2).sum()) for n, v in weights_of(searcher).items()) ** 0.5)
    assert moved[0] == pytest.approx(0.025 * 0.1, rel=1e-4)  # clip/(norm + 1e-6) of torch is a little less
    assert moved[1] < 0.999 * moved[0]


def test_both_passes_teach_the_running_statistics() -> None:
    """As in the published codes, the architecture pass and the weight pass each update batch norm's statistics once."""
    searcher = make_v1()
    network = ReferenceSupernet(searcher.supernet)
    searcher.step(TRAIN, VALID)
    alpha = make_v1().alpha.detach()
    loss_of(network, alpha, VALID, "train")
    loss_of(network, searcher.alpha.detach(), TRAIN, "train")
    for name in ("running_mean", "running_var"):
        ours = searcher.supernet.get_buffer(f"head_norm.{name}")
        torch.testing.assert_close(ours, network.get_buffer(f"head_norm.{name}"), rtol=1e-10, atol=1e-12)


# Second order


def test_the_virtual_step_by_hand() -> None:
    """w' = w - ξ(μm + g + λw), where a missing momentum buffer is zero; the weights themselves stay."""
    weights = [torch.tensor([1.0, -2.0], dtype=torch.float64), torch.tensor([[4.0]], dtype=torch.float64)]
    gradients = [torch.tensor([0.5, 0.25], dtype=torch.float64), torch.tensor([[-1.0]], dtype=torch.float64)]
    first, second = virtual_step(
        weights, gradients, [torch.tensor([10.0, 20.0], dtype=torch.float64), None], rate=0.1, momentum=0.9, decay=0.01
    )
    assert first.tolist() == pytest.approx([1 - 0.1 * (9 + 0.5 + 0.01), -2 - 0.1 * (18 + 0.25 - 0.02)], rel=1e-15)
    assert second.tolist() == [[pytest.approx(4 - 0.1 * (-1 + 0.04), rel=1e-15)]]
    assert (weights[0].tolist(), weights[1].tolist()) == ([1.0, -2.0], [[4.0]])
    assert first.requires_grad
    assert first.is_leaf


def quadratic(weights: int, alphas: int) -> tuple[Tensor, Tensor, Tensor]:
    """A positive definite H (n, n), and B (n, k), c (n,)."""
    root = draw(weights, weights, seed=5)
    return root @ root.T + torch.eye(weights, dtype=torch.float64), draw(weights, alphas, seed=6), draw(weights, seed=7)


@pytest.mark.parametrize("product", ["exact", "difference"])
def test_the_mixed_product_of_a_quadratic_is_its_coefficient(product: str) -> None:
    """For L = w'Hw/2 + w'Bα + c'w the mixed product with v is B'v, and a central difference of it has no error.

    Only rounding is left: 2e-16 of ∇_α L, divided by ε = 0.01/‖v‖.
    """
    h, b, c = quadratic(6, 4)
    alpha = draw(4, seed=8).requires_grad_()

    def loss(weights: Any, at: Tensor) -> Tensor:
        w = torch.cat([part.flatten() for part in weights])
        return w @ h @ w / 2 + w @ b @ at + c @ w

    weights = [draw(2, seed=9).requires_grad_(), draw(2, 2, seed=10).requires_grad_()]
    vector = [draw(2, seed=11), draw(2, 2, seed=12)]
    if product == "exact":
        found = mixed_product_exact(loss, weights, alpha, vector)
    else:
        found = mixed_product_difference(loss, weights, alpha, vector, relative_step=0.01)
    expected = b.T @ torch.cat([part.flatten() for part in vector])
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def test_the_hypergradient_of_a_quadratic_bilevel_problem() -> None:
    """With L_train as above and L_val = ‖w - Cα‖²/2, dL_val(w'(α), α)/dα = -C'r - ξB'r with r = w' - Cα."""
    h, b, c = quadratic(6, 4)
    target, alpha, w, momentum = (
        draw(6, 4, seed=13),
        draw(4, seed=8).requires_grad_(),
        draw(6, seed=9),
        draw(6, seed=14),
    )

    def train(weights: Any, at: Tensor) -> Tensor:
        return weights[0] @ h @ weights[0] / 2 + weights[0] @ b @ at + c @ weights[0]

    weights = [w.clone().requires_grad_()]
    gradients = torch.autograd.grad(train(weights, alpha.detach()), weights)
    (stepped,) = virtual_step(weights, gradients, [momentum], rate=0.1, momentum=0.9, decay=0.01)
    by_hand = w - 0.1 * (0.9 * momentum + h @ w + b @ alpha + c + 0.01 * w)
    torch.testing.assert_close(stepped.detach(), by_hand.detach(), rtol=1e-12, atol=1e-12)
    direct, vector = torch.autograd.grad(((stepped - target @ alpha) ** 2).sum() / 2, [alpha, stepped])
    found = direct - 0.1 * mixed_product_exact(train, weights, alpha, [vector])
    residual = (by_hand - target @ alpha).detach()
    torch.testing.assert_close(found, -target.T @ residual - 0.1 * b.T @ residual, rtol=1e-11, atol=1e-11)


def test_the_central_difference_has_the_error_of_its_order() -> None:
    """For L = Σ αw³ the central difference exceeds the exact product 3w²v by ε²v³, with ε = step/‖v‖."""
    alpha, w, v = draw(5, seed=1).requires_grad_(), draw(5, seed=2).requires_grad_(), draw(5, seed=3)

    def loss(weights: Any, at: Tensor) -> Tensor:
        return (at * weights[0] ** 3).sum()

    exact = mixed_product_exact(loss, [w], alpha, [v])
    torch.testing.assert_close(exact, (3 * w**2 * v).detach(), rtol=1e-13, atol=1e-13)
    for step in (0.01, 0.1, 1.0):
        found = mixed_product_difference(loss, [w], alpha, [v], relative_step=step)
        epsilon = step / v.norm()
        torch.testing.assert_close(found - exact, epsilon**2 * v**3, rtol=1e-8, atol=1e-12)


def test_the_mixed_product_equals_the_dense_hessian() -> None:
    """On a small non-linear problem the exact product equals the block of the dense Hessian times v."""
    alpha, w, v, x = draw(3, seed=1), draw(3, 4, seed=2), draw(3, 4, seed=3), draw(4, seed=4)

    def flat(both: Tensor) -> Tensor:
        return (torch.softmax(both[:3], 0) * torch.tanh(both[3:].view(3, 4) @ x)).sum() ** 2

    hessian = torch.autograd.functional.hessian(flat, torch.cat([alpha, w.flatten()]))
    found = mixed_product_exact(
        lambda weights, at: flat(torch.cat([at, weights[0].flatten()])),
        [w.requires_grad_()],
        alpha.requires_grad_(),
        [v],
    )
    torch.testing.assert_close(found, hessian[:3, 3:] @ v.flatten(), rtol=1e-10, atol=1e-12)


def unrolled_validation_loss(searcher: DartsV2) -> Callable[[Tensor], float]:
    """α → L_val(w'(α), α) by the readable supernet alone, from the searcher's present weights and momentum."""
    protocol = searcher.config.protocol
    here = ReferenceSupernet(searcher.supernet)
    momenta = {
        name: searcher.weights.sgd.state[p]["momentum_buffer"].clone()
        if p in searcher.weights.sgd.state
        else torch.zeros_like(p)
        for name, p in searcher.supernet.named_parameters()
    }
    start, rate = weights_of(searcher), searcher.weights.learning_rate

    def loss(alpha: Tensor) -> float:
        here.zero_grad()
        loss_of(here, alpha, TRAIN).backward()
        gradients = here.weight_gradients()
        there = supernet()
        with torch.no_grad():
            for name, p in there.named_parameters():
                decay = protocol.weight_decay * start[name]
                p.copy_(start[name] - rate * (protocol.weight_momentum * momenta[name] + gradients[name] + decay))
            return float(loss_of(ReferenceSupernet(there), alpha, VALID))

    return loss


@pytest.mark.parametrize("steps", [0, 2], ids=["before the first step", "with momentum"])
def test_the_hypergradient_is_the_derivative_of_the_unrolled_loss(steps: int) -> None:
    """In float64 g equals central differences of α → L_val(w'(α), α), momentum and weight decay included.

    Weights 30 times as fast and a decay of 0.1 make each term of w' count. Rounding is 2e-16/1e-5 = 2e-11 times the
    loss (about 1), truncation 1e-10 times a sixth of the third derivative.
    """
    searcher = make_v2(weight_learning_rate=0.75, weight_decay=0.1)
    for seed in range(steps):
        searcher.weight_step(batch(seed))
    gradient, half = searcher.hypergradient(TRAIN, VALID)
    unrolled = unrolled_validation_loss(searcher)
    alpha = searcher.alpha.detach().clone()
    assert float(half.loss.detach()) == pytest.approx(unrolled(alpha), rel=1e-10)
    expected = finite_difference(unrolled, alpha, step=1e-5)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-8)
    first_order = torch.autograd.grad(
        loss_of(ReferenceSupernet(searcher.supernet), searcher.alpha, VALID), searcher.alpha
    )
    assert float((gradient - first_order[0]).norm()) > 0.1 * float(gradient.norm())  # the second order counts


def test_the_finite_difference_approaches_the_exact_product() -> None:
    """Once ε‖v‖ is below the distance to the next kink of a ReLU, halving it quarters the error of the hypergradient.

    Here that is so from 3e-4 on; rounding, 2e-16/ε of ∇_α L, is 1e-9 of the gradient. At the published 0.01 the error
    of so small and fresh a network is as large as the second-order part itself, which is why `exact` exists.
    """
    exact, _ = make_v2(weight_learning_rate=0.75).hypergradient(TRAIN, VALID)
    errors = []
    for relative_step in (1e-4, 5e-5, 2.5e-5):
        rough = make_v2(mixed_product="finite-difference", relative_step=relative_step, weight_learning_rate=0.75)
        errors.append(float((rough.hypergradient(TRAIN, VALID)[0] - exact).norm() / exact.norm()))
    assert errors[0] < 1e-6
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.02)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize(("mixed_product", "images"), [("exact", 15), ("finite-difference", 20)])
def test_the_virtual_passes_leave_the_network_alone(mixed_product: str, images: int) -> None:
    """No weight, no running statistic, no momentum and no gradient moves; three or four batches are pushed."""
    searcher = make_v2(mixed_product=mixed_product)
    searcher.weight_step(TRAIN)
    weights, buffers = weights_of(searcher), buffers_of(searcher)
    momenta = {str(i): s["momentum_buffer"].clone() for i, s in enumerate(searcher.weights.sgd.state.values())}
    pushed: list[int] = []
    searcher.supernet.register_forward_pre_hook(lambda _, arguments: pushed.append(len(arguments[0])))
    _, half = searcher.hypergradient(TRAIN, VALID)
    assert same(weights_of(searcher), weights)
    assert same(buffers_of(searcher), buffers)
    assert same({str(i): s["momentum_buffer"] for i, s in enumerate(searcher.weights.sgd.state.values())}, momenta)
    assert all(parameter.grad is None for parameter in [searcher.alpha, *searcher.supernet.parameters()])
    assert half.images == sum(pushed) == images


def test_the_architecture_step_gives_adam_the_hypergradient() -> None:
    """The gradient that Adam gets is g itself."""
    searcher = make_v2()
    before = searcher.alpha.detach().clone()
    gradient, _ = make_v2().hypergradient(TRAIN, VALID)
    searcher.architecture_step(TRAIN, VALID)
    torch.testing.assert_close(applied_gradient(searcher, before), gradient, rtol=1e-9, atol=1e-12)


def test_with_a_vanishing_rate_second_order_is_first_order() -> None:
    """At ξ = 1e-12 the hypergradient is ∇_α L_val(w, α) (equation 7 with ξ = 0)."""
    searcher = make_v2(weight_learning_rate=1e-12)
    gradient, _ = searcher.hypergradient(TRAIN, VALID)
    network = ReferenceSupernet(searcher.supernet)
    (expected,) = torch.autograd.grad(loss_of(network, searcher.alpha, VALID), searcher.alpha)
    torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-11)


def test_second_order_follows_the_benchmarks_own_order() -> None:
    """AutoDL-Projects steps the weights first in its first-order code and the architecture first in its second."""
    orders = [resolve_protocol({"protocol": "autodl"}, f.own_protocol)[0].order for f in (DartsV1, DartsV2)]
    assert orders == ["weights-first", "architecture-first"]
    assert (
        resolve_protocol({"protocol": "autodl", "order": "weights-first"}, DartsV2.own_protocol)[0].order == orders[0]
    )


def test_an_unknown_mixed_product_is_refused() -> None:
    """A word that is not one of the two is refused with both."""
    with pytest.raises(InputError, match=r"unknown mixed_product 'exakt'; did you mean 'exact'\?"):
        darts_v2.Config(mixed_product="exakt")  # type: ignore[arg-type]  # the point of the test
