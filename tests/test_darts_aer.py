"""DARTS with an architecture entropy regulariser."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import scipy.stats
import torch
import torch.nn.functional as F

from dartboard.benchmark.space import E, O
from dartboard.harness.toys import toy_batch as batch
from dartboard.harness.toys import toy_numbers as normal
from dartboard.harness.toys import toy_searcher
from dartboard.searchers.darts_aer import DartsAer, entropy


def make(**options: Any) -> DartsAer:
    """A fresh one in float64."""
    return toy_searcher(DartsAer, **{"epochs": 4, **options})


def test_the_entropy_is_scipys() -> None:
    """In bits, averaged over the edges; log2 O for equal logits, 0 and finite for a decided row."""
    alpha = 3 * normal(E, O)
    expected = scipy.stats.entropy(alpha.softmax(-1).numpy(), base=2, axis=1).mean()
    assert float(entropy(alpha)) == pytest.approx(expected, rel=1e-12)
    assert float(entropy(torch.zeros(E, O, dtype=torch.float64))) == pytest.approx(2.321928094887362, rel=1e-15)
    decided = torch.zeros(E, O, dtype=torch.float64)
    decided[:, 1] = 2000.0
    assert float(entropy(decided)) == 0


def test_the_strength_goes_from_reward_to_penalty_along_a_cosine() -> None:
    """λ = 0.2 - 0.4·(1 + cos(πt/T))/2: -0.2 at 0, 0 halfway, +0.2 at T and ever after."""
    searcher = make(epochs=50)
    expected = {0: -0.2, 25: 0.0, 50: 0.2, 70: 0.2, 10: 0.2 - 0.2 * (1 + 0.8090169943749475)}
    for epoch, strength in expected.items():
        searcher.begin_epoch(epoch, torch.Generator())
        assert searcher.strength == pytest.approx(strength, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("epoch", [0, 1, 4])
def test_the_logits_descend_the_regularised_loss(epoch: int) -> None:
    """Steps equal PyTorch's Adam on ∇L_val + λ∇H, with ∂H/∂α_o = -p_o (log₂ p_o + H_e)/E in closed form."""
    searcher = make()
    with torch.no_grad():
        searcher.alpha.copy_(normal(E, O))
    network, alpha = copy.deepcopy(searcher.supernet), searcher.alpha.detach().clone().requires_grad_()
    adam = torch.optim.Adam([alpha], lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    searcher.begin_epoch(epoch, torch.Generator())
    strength = {0: -0.2, 1: -0.1414213562373095, 4: 0.2}[epoch]
    for seed in range(3):
        valid = batch(seed)
        loss = F.cross_entropy(network(valid.images, alpha.softmax(-1)), valid.labels)
        (gradient,) = torch.autograd.grad(loss, [alpha])
        p = alpha.detach().softmax(-1)
        each = -(p * p.log2()).sum(-1, keepdim=True)
        alpha.grad = gradient - strength * p * (p.log2() + each) / E
        adam.step()
        half = searcher.architecture_step(batch(9), valid)
        torch.testing.assert_close(half.loss.detach(), loss.detach(), rtol=1e-9, atol=0)
    torch.testing.assert_close(searcher.alpha, alpha, rtol=1e-10, atol=1e-13)
