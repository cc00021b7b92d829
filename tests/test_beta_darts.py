"""β-DARTS."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import E, O
from dartboard.harness.toys import toy_batch as batch
from dartboard.harness.toys import toy_numbers as normal
from dartboard.harness.toys import toy_searcher
from dartboard.searchers.beta_darts import BetaDarts, Config, beta_decay


def make(**options: Any) -> BetaDarts:
    """A fresh one in float64."""
    return toy_searcher(BetaDarts, **{"epochs": 4, **options})


def test_the_penalty_of_known_logits() -> None:
    """Zeros give log O; a constant added to all logits adds itself; large logits do not overflow."""
    zeros = torch.zeros(E, O, dtype=torch.float64)
    log_o = 1.6094379124341003
    assert float(beta_decay(zeros)) == pytest.approx(log_o, rel=1e-15)
    assert float(beta_decay(zeros + 3)) == pytest.approx(log_o + 3, rel=1e-15)
    assert float(beta_decay(zeros + 1e4)) == pytest.approx(log_o + 1e4, rel=1e-15)


def test_every_logit_decays_by_its_own_mixing_weight() -> None:
    """∇ of the penalty is softmax(α)/E, the paper's form of the decay."""
    alpha = normal(E, O).requires_grad_()
    (gradient,) = torch.autograd.grad(beta_decay(alpha), [alpha])
    exponentials = alpha.detach().exp()
    torch.testing.assert_close(gradient, exponentials / exponentials.sum(-1, keepdim=True) / E)


def test_the_strength_grows_linearly_from_0_to_50() -> None:
    """λ = 50·epoch/100, and 50 ever after."""
    searcher = make(epochs=100)
    for epoch, expected in ((0, 0.0), (1, 0.5), (50, 25.0), (99, 49.5), (100, 50.0), (500, 50.0)):
        searcher.begin_epoch(epoch, torch.Generator())
        assert searcher.strength == pytest.approx(expected, rel=1e-15)


def test_the_logits_descend_the_penalised_loss() -> None:
    """Three steps equal PyTorch's Adam on ∇L_val + λ·softmax(α)/E, at λ = 25; the loss told is L_val alone."""
    searcher = make()
    with torch.no_grad():
        searcher.alpha.copy_(normal(E, O))
    network, alpha = copy.deepcopy(searcher.supernet), searcher.alpha.detach().clone().requires_grad_()
    adam = torch.optim.Adam([alpha], lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    searcher.begin_epoch(2, torch.Generator())
    for seed in range(3):
        valid = batch(seed)
        loss = F.cross_entropy(network(valid.images, alpha.softmax(-1)), valid.labels)
        (gradient,) = torch.autograd.grad(loss, [alpha])
        alpha.grad = gradient + 25 * alpha.detach().softmax(-1) / E
        adam.step()
        half = searcher.architecture_step(batch(9), valid)
        torch.testing.assert_close(half.loss.detach(), loss.detach(), rtol=1e-9, atol=0)
    torch.testing.assert_close(searcher.alpha, alpha, rtol=1e-10, atol=1e-13)


def test_a_negative_strength_is_refused() -> None:
    """The message quotes it."""
    with pytest.raises(InputError, match=r"strength is not negative; got -1\.0"):
        Config(strength=-1.0)
