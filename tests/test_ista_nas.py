"""ISTA-NAS."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso
from torch import Tensor

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import E, O
from dartboard.harness.toys import toy_batch as batch
from dartboard.harness.toys import toy_epoch, toy_searcher
from dartboard.searchers.ista_nas import Config, IstaNas, recover


def make(**options: Any) -> IstaNas:
    """A fresh one in float64."""
    return toy_searcher(IstaNas, **{"epochs": 4, **options})


def problem(seed: int, m: int, n: int, scale: float) -> tuple[Tensor, Tensor]:
    """A random A (m, n) and b (m,)."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.rand(m, n, generator=generator, dtype=torch.float64)
    return matrix, scale * torch.randn(m, generator=generator, dtype=torch.float64)


def objective(matrix: Tensor, code: Tensor, x: np.ndarray, sparsity: float) -> float:
    """½‖A x - b‖² + ρ‖x‖₁."""
    rest = matrix.numpy() @ x - code.numpy()
    return float(rest @ rest / 2 + sparsity * np.abs(x).sum())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), m=st.integers(1, 5), ratio=st.sampled_from([0.01, 0.1, 0.5]))
def test_recovery_is_scikit_learns_lasso(seed: int, m: int, ratio: float) -> None:
    """Its solution, where coordinate descent converges; never a worse objective where that gives up."""
    matrix, code = problem(seed, m, O, 1.0)
    sparsity = ratio * float((matrix.T @ code).abs().max())  # at 1 the solution is 0
    ours = recover(matrix, code, sparsity).numpy()
    # scikit-learn divides the squares by the number of rows.
    solver = Lasso(alpha=sparsity / m, fit_intercept=False, tol=1e-12, max_iter=20_000)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ConvergenceWarning)
        theirs = solver.fit(matrix.numpy(), code.numpy()).coef_
    least = objective(matrix, code, theirs, sparsity)
    assert objective(matrix, code, ours, sparsity) <= least * (1 + 1e-9)
    if not told:
        assert objective(matrix, code, ours, sparsity) == pytest.approx(least, rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), m=st.integers(1, 5), scale=st.sampled_from([1e-3, 0.1, 1.0]))
def test_recovery_at_the_published_sparsity_meets_the_optimality_conditions(seed: int, m: int, scale: float) -> None:
    """A_jᵀ(b - A x) is ρ·sign(x_j) where x_j is not 0, and at most ρ in size elsewhere: necessary and sufficient."""
    matrix, code = problem(seed, m, O, scale)
    x = recover(matrix, code, 1e-5)
    slack = matrix.T @ (code - matrix @ x)
    # The equations are solved to 1e-16 times their condition, the square of A's; 1e-3·ρ is far above it for most draws.
    condition = float(torch.linalg.cond(matrix)) ** 2
    tolerance = 1e-8 + 1e-15 * condition * scale
    on = x != 0
    assert int(on.sum()) <= m
    torch.testing.assert_close(slack[on], 1e-5 * x[on].sign(), rtol=0, atol=tolerance)
    assert float(slack.abs().max()) <= 1e-5 + tolerance


def test_many_problems_are_solved_as_one_by_one() -> None:
    """(E, m, O) and (E, m): each edge has its own solution; a code below the threshold recovers to 0."""
    pairs = [problem(seed, 3, O, 0.1) for seed in range(E)]
    matrices, codes = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    together = recover(matrices, codes, 1e-3)
    for row, (matrix, code) in zip(together, pairs, strict=True):
        torch.testing.assert_close(row, recover(matrix, code, 1e-3), rtol=1e-12, atol=0)
    assert bool((recover(matrices, 1e-9 * codes, 1e-3) == 0).all())


def test_one_operation_is_in_the_network_with_the_gradient_of_its_weight() -> None:
    """Forward one-hot at the code's largest entry; ∂L/∂b is A's column there times the loss's slope in that weight."""
    searcher = make()
    with torch.no_grad():
        searcher.compressed.copy_(torch.stack([problem(seed, 3, O, 1.0)[1] for seed in range(E)]))
    searcher.begin_epoch(0, torch.Generator())
    x = recover(searcher.matrices, searcher.compressed.detach(), 1e-5)
    chosen = x.abs().argmax(-1)
    mixture = searcher.weigh(searcher.support)
    assert torch.equal(mixture.detach(), F.one_hot(chosen, O).double())
    logits = searcher.supernet(batch(0).images, mixture, "batch")
    (ours,) = torch.autograd.grad(F.cross_entropy(logits, batch(0).labels), [searcher.compressed])
    free = F.one_hot(chosen, O).double().requires_grad_()
    loss = F.cross_entropy(searcher.supernet(batch(0).images, free, "batch"), batch(0).labels)
    (slope,) = torch.autograd.grad(loss, [free])
    expected = torch.stack([searcher.matrices[e, :, o] * slope[e, o] for e, o in enumerate(chosen.tolist())])
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-14)


def test_the_released_weight_is_the_code_where_that_explains_b() -> None:
    """w = Aᵀb - (AᵀA - I)x̂ on S: x̂ where b = A x̂, and x̂ + a·(b - A x̂) otherwise, by the dense formula."""
    searcher = make(weights="code")
    with torch.no_grad():
        searcher.compressed.copy_(torch.stack([problem(seed, 3, O, 1.0)[1] for seed in range(E)]))
    searcher.begin_epoch(0, torch.Generator())
    kept = searcher.support * searcher.code
    ours = searcher.weigh(searcher.support).detach()
    for edge in range(E):
        a, b, x = searcher.matrices[edge], searcher.compressed[edge].detach(), kept[edge]
        dense = a.T @ b - (a.T @ a - torch.eye(O, dtype=torch.float64)).T @ x
        torch.testing.assert_close(ours[edge], searcher.support[edge] * dense, rtol=1e-12, atol=1e-14)
    with torch.no_grad():
        searcher.compressed.copy_((searcher.matrices @ kept[..., None])[..., 0])
    torch.testing.assert_close(searcher.weigh(searcher.support).detach(), kept, rtol=1e-12, atol=1e-14)


def test_the_code_follows_adam_on_the_validation_loss() -> None:
    """One step is PyTorch's Adam at 6e-4 on b's gradient under the operations of the epoch."""
    searcher = make()
    searcher.begin_epoch(0, torch.Generator())
    network, b = copy.deepcopy(searcher.supernet), searcher.compressed.detach().clone().requires_grad_()
    adam = torch.optim.Adam([b], lr=6e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    free = searcher.support.clone().requires_grad_()
    loss = F.cross_entropy(network(batch(1).images, free, "batch"), batch(1).labels)
    (slope,) = torch.autograd.grad(loss, [free])
    b.grad = (searcher.matrices @ (searcher.support * slope)[..., None])[..., 0]
    adam.step()
    searcher.architecture_step(batch(0), batch(1))
    torch.testing.assert_close(searcher.compressed, b, rtol=1e-9, atol=1e-12)


def test_both_halves_see_the_epochs_operations_and_only_those_train() -> None:
    """All passes of an epoch are under the same one-hot rows; convolutions that are not in S keep their direction."""
    searcher = make(weight_decay=0.0)
    seen: list[Tensor] = []
    searcher.supernet.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1].detach().clone()))
    before = {name: weight.detach().clone() for name, weight in searcher.supernet.named_parameters()}
    toy_epoch(searcher, searcher.config.protocol, 0)
    assert all(torch.equal(mixture, searcher.support) for mixture in seen)
    operation = int(searcher.support[0].argmax())  # of edge 1<-0, the first k of the layer of node 0
    for kernel, place in ((1, 2), (3, 3)):
        name = f"blocks.0.conv{kernel}x{kernel}.0.weight"
        after = dict(searcher.supernet.named_parameters())[name]
        assert torch.equal(after[:2], before[name][:2]) == (operation != place)


def test_exploring_edges_train_other_operations() -> None:
    """With certainty every row of the weight half is drawn anew, uniformly; the architecture half keeps S."""
    searcher = make(explore=1.0)
    seen: list[Tensor] = []
    searcher.supernet.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1].detach().clone()))
    searcher.begin_epoch(0, torch.Generator().manual_seed(1))
    for seed in range(60):
        searcher.step(batch(seed), batch(seed + 100))
    upper, lower = seen[::2], torch.stack(seen[1::2])
    assert all(torch.equal(mixture, searcher.support) for mixture in upper)
    assert bool(((lower == 0) | (lower == 1)).all())
    # 360 draws of 1/5 each: 72 expected, standard deviation 7.6; five of them on either side.
    counts = lower.sum((0, 1))
    assert bool(((counts > 34) & (counts < 110)).all())
    assert bool((lower.sum(-1) == 1).all())


def test_the_mixture_told_is_in_the_order_of_the_codes() -> None:
    """Its largest entry is the operation of the next epoch, and it does not change in the asking."""
    searcher = make(architecture_learning_rate=0.1)
    for epoch in range(3):
        toy_epoch(searcher, searcher.config.protocol, epoch)
        told = searcher.mixture()
        searcher.begin_epoch(epoch + 1, torch.Generator())
        assert torch.equal(told.argmax(-1), searcher.support.argmax(-1))
        x = recover(searcher.matrices, searcher.compressed.detach(), 1e-5).abs()
        torch.testing.assert_close(told, x.exp() / x.exp().sum(-1, keepdim=True), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimension": 0}, "dimension is from 1 to 5; got 0"),
        ({"dimension": 6}, "dimension is from 1 to 5; got 6"),
        ({"sparsity": 0.0}, r"sparsity is greater than 0; got 0\.0"),
        ({"explore": 1.5}, r"explore is from 0 to 1; got 1\.5"),
        ({"weights": "cod"}, "unknown weights 'cod'; did you mean 'code'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    """The message quotes them."""
    with pytest.raises(InputError, match=message):
        Config(**options)
