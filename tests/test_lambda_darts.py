"""Λ-DARTS."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import stream
from dartboard.harness.toys import toy_batch as batch
from dartboard.harness.toys import toy_numbers as normal
from dartboard.harness.toys import toy_searcher, toy_supernet
from dartboard.searchers.darts_v1 import Config as DartsConfig
from dartboard.searchers.darts_v1 import DartsV1
from dartboard.searchers.lambda_darts import Config, LambdaDarts, agreement, agreement_gradient
from dartboard.selectors._tuning import Projected


def make(**options: Any) -> LambdaDarts:
    """A fresh one in float64."""
    return toy_searcher(LambdaDarts, **{"epochs": 5, **options})


def literal(gradients: Tensor) -> Tensor:
    """Λ pair by pair, by PyTorch's own cosine."""
    pairs = [F.cosine_similarity(a, b, dim=0) for a, b in itertools.combinations(gradients, 2)]
    return torch.stack(pairs).mean()


def test_the_agreement_of_known_gradients() -> None:
    """1 for equal directions, -1 for two opposite ones, 0 for orthogonal ones; otherwise the mean cosine of pairs."""
    row = normal(1, 30)
    assert float(agreement(row * torch.tensor([[1.0], [2.0], [0.1]]))) == pytest.approx(1, abs=1e-14)
    assert float(agreement(torch.cat([row, -3 * row]))) == pytest.approx(-1, abs=1e-14)
    assert float(agreement(torch.eye(15, 30, dtype=torch.float64))) == pytest.approx(0, abs=1e-15)
    rows = normal(15, 30)
    torch.testing.assert_close(agreement(rows), literal(rows), rtol=1e-12, atol=1e-14)


def test_random_signs_agree_with_nothing() -> None:
    """For 15 rows of 30,000 random signs, Λ is within six standard errors (1/√(105·30000)) of 0."""
    signs = normal(15, 30_000).sign()
    assert abs(float(agreement(signs))) < 6 / (105 * 30_000) ** 0.5


def test_its_gradient_is_autograds() -> None:
    """d is the derivative of the literal Λ, and orthogonal to each cell's own gradient."""
    rows = normal(7, 30).requires_grad_()
    (expected,) = torch.autograd.grad(literal(rows), [rows])
    ours = agreement_gradient(rows.detach())
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-15)
    assert float((ours * rows.detach()).sum(-1).abs().max()) < 1e-14


def test_a_cell_without_gradient_neither_moves_nor_counts() -> None:
    """A row of zeros gets d = 0 and leaves the direction of the others' as it was; no NaN, all zeros included."""
    rows = normal(4, 30)
    with_zero = torch.cat([rows, torch.zeros(1, 30, dtype=torch.float64)])
    ours = agreement_gradient(with_zero)
    assert bool((ours[-1] == 0).all())
    torch.testing.assert_close(ours[:-1] * 20, agreement_gradient(rows) * 12, rtol=1e-12, atol=1e-15)
    assert bool((agreement_gradient(torch.zeros(4, 30)) == 0).all())
    assert float(agreement(torch.zeros(4, 30))) == 0


def test_the_pull_on_the_weights_is_the_exact_gradient_of_the_agreement() -> None:
    """-∇_w Λ by central difference equals two backward passes through Λ on the real network, in float64."""
    # The central difference errs by ε²‖third derivative‖ relative: ‖εd‖ = 1e-4 leaves 1e-6 or so here.
    searcher = make()
    with torch.no_grad():
        searcher.alpha.copy_(normal(E, O))
    train = batch(0)
    each = searcher.mixture().detach().repeat(searcher.cells, 1, 1).requires_grad_()
    weights = list(searcher.supernet.parameters())
    loss = F.cross_entropy(searcher.supernet(train.images, each, "batch"), train.labels)
    (of_each,) = torch.autograd.grad(loss, [each], create_graph=True)
    exact = torch.autograd.grad(-literal(of_each.flatten(1)), weights, materialize_grads=True)
    ours = searcher.disagreement_gradient(train, each.detach(), of_each.detach())
    scale = max(float(g.abs().max()) for g in exact)
    assert scale > 1e-3
    for one, other in zip(ours, exact, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * scale)


def test_a_step_along_the_pull_raises_the_agreement() -> None:
    """Λ on the batch is larger after a small step of the weights down -Λ."""
    searcher = make()
    with torch.no_grad():
        searcher.alpha.copy_(normal(E, O))
    train = batch(0)
    each = searcher.mixture().detach().repeat(searcher.cells, 1, 1).requires_grad_()

    def gradient() -> Tensor:
        loss = F.cross_entropy(searcher.supernet(train.images, each, "batch"), train.labels)
        return torch.autograd.grad(loss, [each])[0]

    before = gradient()
    pull = searcher.disagreement_gradient(train, each.detach(), before)
    with torch.no_grad():
        norm = torch.cat([p.flatten() for p in pull]).norm()
        for weight, p in zip(searcher.supernet.parameters(), pull, strict=True):
            weight -= 1e-5 * p / norm
    rise = float(agreement(gradient().flatten(1)) - agreement(before.flatten(1)))
    assert rise == pytest.approx(1e-5 * float(norm), rel=0.01)


def test_without_strength_it_is_darts_in_its_own_protocol() -> None:
    """In the first epoch λ = 0: the state is that of first-order DARTS, weights first and α at 1e-4, and as cheap."""
    ours = make()
    darts = DartsV1(
        toy_supernet(dtype=torch.float64), DartsConfig(protocol=ours.config.protocol), generator=stream(0, "a")
    )
    assert ours.config.protocol.order == "weights-first"
    assert ours.config.protocol.architecture_learning_rate == 1e-4
    for method in (ours, darts):
        method.begin_epoch(0, torch.Generator())
        assert [method.step(batch(seed), batch(seed + 50)).images for seed in range(3)] == [12, 12, 12]
    torch.testing.assert_close(ours.alpha, darts.alpha, rtol=1e-9, atol=1e-12)
    for one, other in zip(ours.supernet.parameters(), darts.supernet.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("counts", [False, True])
def test_a_weight_step_is_sgd_on_the_sum_of_both_gradients(counts: bool) -> None:
    """With λ at its end: clipped L2 norm of ∇L + λG (and α's gradient, where it counts), and one plain SGD step."""
    searcher = make(gradient_clip=0.01, clip_includes_architecture=counts)
    with torch.no_grad():
        searcher.alpha.copy_(normal(E, O))
    searcher.begin_epoch(4, torch.Generator())
    assert searcher.strength == 0.25
    network, train = copy.deepcopy(searcher.supernet), batch(0)
    alpha = searcher.alpha.detach().clone().requires_grad_()
    weights = list(network.parameters())
    loss = F.cross_entropy(network(train.images, alpha.softmax(-1), "batch"), train.labels)
    *plain, of_alpha = torch.autograd.grad(loss, [*weights, alpha])
    each = alpha.detach().softmax(-1).repeat(3, 1, 1).requires_grad_()
    loss = F.cross_entropy(network(train.images, each, "batch"), train.labels)
    (of_each,) = torch.autograd.grad(loss, [each])
    pull = searcher.disagreement_gradient(train, each.detach(), of_each)
    total = [g + 0.25 * p for g, p in zip(plain, pull, strict=True)]
    flat = torch.cat([t.flatten() for t in [*total, *([of_alpha] if counts else [])]])
    factor = min(1.0, 0.01 / float(flat.norm()))
    rate = searcher.weights.learning_rate
    half = searcher.weight_step(train)
    assert half.images == 18
    for old, new, gradient in zip(weights, searcher.supernet.parameters(), total, strict=True):
        expected = old - rate * (factor * gradient + 3e-4 * old)
        # The clipping divides by the norm plus 1e-6: 1e-6/norm relative.
        torch.testing.assert_close(new, expected, rtol=1e-6, atol=1e-9)


def test_the_shifted_passes_leave_the_running_statistics_alone() -> None:
    """After a weight step the buffers are those of one pass in training mode."""
    searcher = make()
    searcher.begin_epoch(4, torch.Generator())
    network = copy.deepcopy(searcher.supernet)
    with torch.no_grad():
        network(batch(0).images, searcher.mixture())
    searcher.weight_step(batch(0))
    for (name, one), (_, other) in zip(searcher.supernet.named_buffers(), network.named_buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12, msg=name)


def test_with_all_edges_settled_the_weights_train_on() -> None:
    """No cell has a gradient then; the step is DARTS' and everything stays finite."""
    searcher = make()
    searcher.supernet = network = Projected(searcher.supernet)
    for edge in range(E):
        network.settle(edge, 3)
    searcher.begin_epoch(4, torch.Generator())
    before = [w.detach().clone() for w in network.parameters()]
    searcher.step(batch(0), batch(1))
    assert all(bool(w.isfinite().all()) for w in network.parameters())
    assert any(not torch.equal(w, b) for w, b in zip(network.parameters(), before, strict=True))


def test_the_strength_grows_linearly_to_the_last_epoch() -> None:
    """0 at first, λ in the last epoch and ever after."""
    searcher = make(epochs=100)
    for epoch, expected in ((0, 0.0), (33, 0.25 / 3), (99, 0.25), (100, 0.25), (500, 0.25)):
        searcher.begin_epoch(epoch, torch.Generator())
        assert searcher.strength == pytest.approx(expected, rel=1e-12)


def test_wrong_numbers_are_refused() -> None:
    """A negative strength, a step of zero."""
    with pytest.raises(InputError, match=r"strength is not negative; got -1\.0"):
        Config(strength=-1.0)
    with pytest.raises(InputError, match=r"step is greater than 0; got 0\.0"):
        Config(step=0.0)
