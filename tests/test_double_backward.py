"""Second derivatives of convolution and batch norm by formulas of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.double_backward import TwiceDifferentiable
from dartboard.benchmark.layers import Norm
from dartboard.benchmark.partial import build_supernet
from dartboard.benchmark.space import E, O
from dartboard.benchmark.supernet import SupernetConfig
from dartboard.harness.bench_network import Counter

LABELS = torch.arange(3)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal, in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def within(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function with our derivatives."""

    def call(*arguments: Tensor) -> Tensor:
        with TwiceDifferentiable():
            return function(*arguments)

    return call


@pytest.mark.parametrize(
    ("kernel", "how"),
    [
        ((2, 4, 3, 3), {"padding": 1}),
        ((3, 4, 1, 1), {}),
        ((2, 4, 3, 3), {"stride": 2, "padding": 1}),
        ((2, 4, 2, 2), {"stride": (1, 2), "padding": (1, 0), "dilation": (1, 2)}),
        ((4, 1, 3, 3), {"padding": 1, "groups": 4}),
    ],
)
def test_convolutions_have_the_derivatives_of_finite_differences(kernel: tuple[int, ...], how: dict[str, int]) -> None:
    """`gradcheck` and `gradgradcheck` in float64, by x and w together and by either alone."""
    function = within(lambda x, w: F.conv2d(x, w, **how))
    x, w = numbers(1, 4, 3, 4), numbers(*kernel, seed=1)
    for arguments in ((x, w), (x.detach(), w), (x, w.detach())):
        assert torch.autograd.gradcheck(function, arguments)
        assert torch.autograd.gradgradcheck(function, arguments)


def test_batch_norm_has_the_derivatives_of_finite_differences() -> None:
    """The same by x, scale and shift, also where a scale is 0 and the variance is as small as epsilon."""
    x, scale, shift = numbers(3, 3, 1, 2), numbers(3, seed=1), numbers(3, seed=2)
    with torch.no_grad():
        scale[0] = 0
        x[:, 1] *= 0.003

    def function(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, scale, shift, True, 0.1, 1e-5)

    for arguments in ((x, scale, shift), (x, scale.detach(), shift.detach()), (x.detach(), scale, shift)):
        assert torch.autograd.gradcheck(within(function), arguments)
        # The narrow channel's curvature is 1/epsilon: a difference of 1e-6 errs there by about 1e-12/1e-5 of it.
        assert torch.autograd.gradgradcheck(within(function), arguments, atol=1e-3, rtol=1e-3)


def derivatives(
    context: AbstractContextManager[object], size: SupernetConfig, norm: Norm, mixture: Tensor
) -> Iterator[Tensor]:
    """Loss, gradients by weights and logits, their products with a vector, and the running statistics afterwards."""
    network = build_supernet(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights, logits = list(network.parameters()), mixture.clone().requires_grad_()
    with context:
        loss = F.cross_entropy(network(numbers(3, 3, 8, 8).detach(), logits, norm), LABELS)
    yield loss.detach()
    gradients = torch.autograd.grad(loss, [*weights, logits], create_graph=True)
    yield from (gradient.detach() for gradient in gradients)
    vector = [numbers(*gradient.shape, seed=5) for gradient in gradients]
    yield from torch.autograd.grad(gradients, [*weights, logits], vector, retain_graph=True)
    yield from torch.autograd.grad(gradients[:-1], [logits], vector[:-1], retain_graph=True)
    yield from torch.autograd.grad(gradients[-1:], weights, vector[-1:])
    yield from network.buffers()


@pytest.mark.parametrize("norm", ["train", "batch", "running"])
@pytest.mark.parametrize(
    "size",
    [
        SupernetConfig(channels=4, cells_per_stage=1),
        SupernetConfig(channels=16, cells_per_stage=1),  # whose backward pass makes outputs again
        SupernetConfig(channels=4, cells_per_stage=1, partial=2, edge_normalisation=True),
    ],
    ids=["plain", "remade", "partial"],
)
def test_a_supernets_products_are_pytorchs(size: SupernetConfig, norm: Norm) -> None:
    """Values, gradients, all products with second derivatives and the statistics agree in float64, to rounding."""
    soft = numbers(E, O, seed=3).detach().softmax(-1)
    hard = F.one_hot(torch.arange(E) % O, O).double()
    for mixture in (soft, hard):
        pairs = [list(derivatives(context, size, norm, mixture)) for context in (nullcontext(), TwiceDifferentiable())]
        assert len(pairs[0]) == len(pairs[1])
        for theirs, ours in zip(*pairs, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11 * float(1 + theirs.abs().max()))


def products(twice: TwiceDifferentiable | None, *, lean: bool = False) -> tuple[Tensor, Counter]:
    """The mixed product ∂²L/∂α∂w v of a supernet, and what it took to go backward through the backward pass."""
    size = SupernetConfig(channels=4, cells_per_stage=1)
    network = build_supernet(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights, logits = list(network.parameters()), numbers(E, O, seed=3)
    with twice or nullcontext():
        loss = F.cross_entropy(network(numbers(3, 3, 8, 8).detach(), logits.softmax(-1), "batch"), LABELS)
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    with Counter() as counter, twice.without_weights() if twice and lean else nullcontext():
        (product,) = torch.autograd.grad(gradients, [logits], [numbers(*g.shape, seed=5) for g in gradients])
    return product, counter


def test_going_backward_twice_moves_fewer_bytes_and_on_request_makes_no_gradient_of_weights() -> None:
    """By count, at most 0.6 of PyTorch's bytes and 2/3 of its operations; without the weights 2/3 of the products."""
    (theirs, plain), (whole, all_of_it), (ours, lean) = (
        products(None),
        products(TwiceDifferentiable()),
        products(TwiceDifferentiable(), lean=True),
    )
    for product in (whole, ours):
        torch.testing.assert_close(product, theirs, rtol=1e-10, atol=1e-12)
    assert lean.bytes_moved < 0.6 * plain.bytes_moved
    assert lean.operations < 2 / 3 * plain.operations
    # Per convolution four products of six (see `dartboard.harness.bench_searchers`); the pooling's have no weight.
    assert lean.flops / all_of_it.flops == pytest.approx(2 / 3, abs=0.02)


def test_weights_have_gradients_again_after_the_leave() -> None:
    """An error within changes nothing about that."""
    twice = TwiceDifferentiable()
    with pytest.raises(KeyError), twice.without_weights():
        raise KeyError
    x, w = numbers(1, 2, 3, 3), numbers(2, 2, 1, 1, seed=1)
    with twice:
        y = F.conv2d(x, w)
    assert torch.autograd.grad(y.sum(), [w])[0].shape == w.shape


def test_a_weight_that_was_frozen_costs_nothing_once_it_is_free_again() -> None:
    """Second derivatives of a pass through a constant weight take two products, also where it wants gradients later."""
    flops = []
    for later in (False, True):
        x, w = numbers(2, 4, 5, 5), numbers(4, 4, 3, 3, seed=1).requires_grad_(False)
        y = within(lambda x, w: F.conv2d(x, w, padding=1))(x, w)
        w.requires_grad_(later)
        (first,) = torch.autograd.grad(y.square().sum(), [x], create_graph=True)
        with Counter() as counter:
            torch.autograd.grad(first.square().sum(), [x])
        flops.append(counter.flops)
    assert flops == 2 * [2 * 2 * y.numel() * w[0].numel()]


def test_a_batch_of_one_value_a_channel_is_refused() -> None:
    """Its variance is 0, of which PyTorch's own batch norm says so in place of a result."""
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        within(lambda x: F.batch_norm(x, None, None, numbers(2), None, True))(numbers(1, 2, 1, 1))


def test_what_has_no_formula_here_is_pytorchs_own() -> None:
    """A bias, padding by name, another number of dimensions, running statistics, and arguments by name all work."""
    x, w = numbers(2, 4, 5, 5), numbers(6, 4, 3, 3, seed=1)
    bias, flat, mean = numbers(6, seed=2), numbers(5, 4), numbers(4, seed=4).detach()
    calls: list[Callable[[], Tensor]] = [
        lambda: F.conv2d(x, w, bias, padding=1),
        lambda: F.conv2d(x, w, padding="same"),
        lambda: F.conv2d(input=x, weight=w),
        lambda: F.batch_norm(flat, None, None, bias[:4], None, True),
        lambda: F.batch_norm(x, mean, mean.square() + 1, bias[:4], bias[:4], False),
        lambda: F.batch_norm(x, None, None, None, None, True),
    ]
    for call in calls:
        with TwiceDifferentiable():
            ours = call()
        assert torch.equal(ours, call())


def test_third_derivatives_are_refused() -> None:
    """They would be wrong, so a gradient of a gradient cannot be asked for one of its own."""
    x, w = numbers(1, 2, 3, 3), numbers(2, 2, 1, 1, seed=1)
    y = within(F.conv2d)(x, w).square().sum()
    (first,) = torch.autograd.grad(y, [w], create_graph=True)
    with pytest.raises(RuntimeError, match="no third derivatives"):
        torch.autograd.grad(first.sum(), [w], create_graph=True)
    scale = numbers(2, seed=2)
    y = within(lambda scale: F.batch_norm(x, None, None, scale, None, True))(scale).square().sum()
    (first,) = torch.autograd.grad(y, [scale], create_graph=True)
    with pytest.raises(RuntimeError, match="no third derivatives"):
        torch.autograd.grad(first.sum(), [scale], create_graph=True)
