"""DARTS-."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.layers import Norm
from dartboard.benchmark.reference import ReferenceCell, ReferenceSupernet
from dartboard.benchmark.space import EDGES, SKIP, E, O
from dartboard.benchmark.streams import stream
from dartboard.harness.toys import toy_batch as batch
from dartboard.harness.toys import toy_numbers as normal
from dartboard.harness.toys import toy_searcher, toy_supernet
from dartboard.searchers.darts_minus import Config, DartsMinus, beta_of, with_auxiliary
from dartboard.searchers.darts_v1 import Config as DartsConfig
from dartboard.searchers.darts_v1 import DartsV1


def make(**options: Any) -> DartsMinus:
    """A fresh one in float64."""
    return toy_searcher(DartsMinus, **{"epochs": 5, **options})


def config(**options: Any) -> Config:
    """Of 50 epochs."""
    return Config(**options)


def test_beta_falls_from_1_to_0() -> None:
    """Linearly 1, 0.5, 0.02 in epochs 0, 25 and 49 of 50, then 0 for good; as a cosine 1, 0.5 and nearly 0."""
    assert [beta_of(epoch, config()) for epoch in (0, 25, 49, 50, 500)] == pytest.approx(
        [1, 0.5, 0.02, 0, 0], abs=1e-15
    )
    curve = [beta_of(epoch, config(decay="cosine")) for epoch in (0, 25, 40, 50, 500)]
    assert curve == pytest.approx([1, 0.5, 0.09549150281252627, 0, 0], abs=1e-12)  # (1 - cos 36°)/2
    assert beta_of(0, config(auxiliary=0.3)) == 0.3


class AuxiliaryCell(ReferenceCell):
    """A cell of the readable supernet with 0.7 times its input added to the output of every edge."""

    def forward(self, x: Tensor, mixture: Tensor, norm: Norm) -> Tensor:
        """Edge by edge."""
        nodes = [x, *[torch.zeros_like(x)] * 3]
        for (target, source), operations, weights in zip(EDGES, self.edges, mixture, strict=True):
            edge = 0.7 * nodes[source]
            for operation, weight in zip(operations, weights, strict=True):  # type: ignore[call-overload]  # a ModuleList
                edge = edge + weight * operation(nodes[source], norm)
            nodes[target] = nodes[target] + edge
        return nodes[3]


def test_an_edge_gets_its_input_added_beta_times() -> None:
    """The fast supernet under the enlarged mixture is the readable one whose edges compute β·x + Σ_o p_o o(x)."""
    supernet, mixture = toy_supernet(dtype=torch.float64), normal(E, O).softmax(-1)
    expected = ReferenceSupernet(supernet)
    for block in expected.blocks:
        if isinstance(block, ReferenceCell):
            block.__class__ = AuxiliaryCell
    images = batch(0).images
    with torch.no_grad():
        torch.testing.assert_close(
            supernet(images, with_auxiliary(mixture, 0.7), "batch"),
            expected(images, mixture, "batch"),
            rtol=1e-10,
            atol=1e-12,
        )


def test_the_mixture_told_is_without_the_auxiliary_connection() -> None:
    """Both halves of a step see rows of sum 1 + β whose excess is on the skip; what is told is softmax(α)."""
    searcher = make()
    with torch.no_grad():
        searcher.alpha.copy_(normal(E, O))
    seen: list[Tensor] = []
    searcher.supernet.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1].detach().clone()))
    searcher.begin_epoch(2, torch.Generator())
    before = searcher.alpha.detach().softmax(-1)
    searcher.step(batch(0), batch(1))
    after = searcher.alpha.detach().softmax(-1)
    assert torch.equal(searcher.mixture().detach(), after)
    for mixture, plain in zip(seen, (before, after), strict=True):
        excess = torch.zeros(E, O, dtype=torch.float64)
        excess[:, SKIP] = 0.6  # 1 - 2/5
        torch.testing.assert_close(mixture - plain, excess, rtol=1e-12, atol=1e-15)


def test_without_the_auxiliary_connection_it_is_darts() -> None:
    """With β = 0, as after the search's last epoch, three steps leave the state of first-order DARTS."""
    darts = DartsV1(
        toy_supernet(dtype=torch.float64), DartsConfig(protocol=make().config.protocol), generator=stream(0, "a")
    )
    for method, epoch in ((darts, 5), (make(), 5), (make(auxiliary=0.0), 5)):
        method.begin_epoch(epoch, torch.Generator())
        for seed in range(3):
            method.step(batch(seed), batch(seed + 50))
        assert torch.equal(method.alpha, darts.alpha)
        for ours, theirs in zip(method.supernet.parameters(), darts.supernet.parameters(), strict=True):
            assert torch.equal(ours, theirs)


def test_the_logits_follow_the_gradient_under_the_auxiliary_connection() -> None:
    """One step is PyTorch's Adam on ∇_α of the loss with β·x on every edge; β itself has no gradient to give."""
    searcher = make()
    with torch.no_grad():
        searcher.alpha.copy_(normal(E, O))
    network, alpha = copy.deepcopy(searcher.supernet), searcher.alpha.detach().clone().requires_grad_()
    adam = torch.optim.Adam([alpha], lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    searcher.begin_epoch(0, torch.Generator())
    mixture = alpha.softmax(-1)
    enlarged = torch.stack([column + (index == SKIP) for index, column in enumerate(mixture.unbind(1))], dim=1)
    F.cross_entropy(network(batch(1).images, enlarged), batch(1).labels).backward()
    adam.step()
    searcher.architecture_step(batch(0), batch(1))
    torch.testing.assert_close(searcher.alpha, alpha, rtol=1e-12, atol=0)


def test_wrong_options_are_refused() -> None:
    """A negative β, an unknown curve."""
    with pytest.raises(InputError, match=r"auxiliary is not negative; got -1\.0"):
        Config(auxiliary=-1.0)
    with pytest.raises(InputError, match="unknown decay 'linaer'; did you mean 'linear'"):
        Config(decay="linaer")  # type: ignore[arg-type]  # that is the point
