"""The uniform single-path supernet."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.space import E, O
from dartboard.harness.grid import Method
from dartboard.harness.prepare import prepare_searcher
from dartboard.harness.toys import toy_batch as batch
from dartboard.harness.toys import toy_searcher
from dartboard.searchers._catalogue import SEARCHERS
from dartboard.searchers.spos import Spos, uniform_cell


def make(**options: Any) -> Spos:
    """A fresh one in float64."""
    return toy_searcher(Spos, **options)


def test_the_cells_are_uniform_and_their_edges_independent() -> None:
    """Over 20,000 cells, each operation on each edge and each pair on two edges keep to 1/5 and 1/25."""
    generator, count = torch.Generator().manual_seed(0), 20_000
    like = torch.empty(0, dtype=torch.float64)
    cells = torch.stack([uniform_cell(generator, like) for _ in range(count)])
    assert bool((cells.sum(-1) == 1).all())
    assert bool(((cells == 0) | (cells == 1)).all())
    assert float((cells.mean(0) - 1 / O).abs().max()) < 5 * (0.2 * 0.8 / count) ** 0.5
    pairs = torch.einsum("neo,nfp->eofp", cells, cells) / count
    for e in range(E):
        for f in range(e):
            assert float((pairs[e, :, f] - 1 / O**2).abs().max()) < 6 * (0.04 * 0.96 / count) ** 0.5


@pytest.mark.parametrize("protocol", ["ucla", "autodl"])
def test_a_step_trains_the_sampled_cell_alone(protocol: str) -> None:
    """Two weight steps equal PyTorch's own SGD on the loss of the cells that the same generator draws."""
    searcher = make(protocol=protocol, order="weights-first")
    p = searcher.config.protocol
    network, twin = copy.deepcopy(searcher.supernet), torch.Generator().manual_seed(3)
    sgd = torch.optim.SGD(
        network.parameters(), lr=0.025, momentum=0.9, weight_decay=p.weight_decay, nesterov=p.nesterov
    )
    searcher.begin_epoch(0, torch.Generator().manual_seed(3))
    for seed in range(2):
        cell = F.one_hot(torch.randint(O, (E,), generator=twin), O).double()
        torch.randint(O, (E,), generator=twin)  # the cell of the look at the validation batch
        sgd.zero_grad()
        F.cross_entropy(network(batch(seed).images, cell), batch(seed).labels).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        sgd.step()
        assert searcher.step(batch(seed), batch(seed + 50)).images == 12
    for ours, theirs in zip(searcher.supernet.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-13)


def test_the_mixture_is_uniform_for_good() -> None:
    """It prefers nothing, before and after training."""
    searcher = make()
    searcher.begin_epoch(0, torch.Generator())
    searcher.step(batch(0), batch(1))
    assert torch.equal(searcher.mixture(), torch.full((E, O), 0.2, dtype=torch.float64))


def test_the_validation_batch_trains_nothing() -> None:
    """The look at it leaves weights and running statistics bit for bit as they were."""
    searcher = make()
    searcher.begin_epoch(0, torch.Generator())
    before: dict[str, Tensor] = {name: value.clone() for name, value in searcher.supernet.state_dict().items()}
    assert not searcher.architecture_step(batch(0), batch(1)).loss.requires_grad
    for name, value in searcher.supernet.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_rsps_is_the_same_training_under_its_published_protocol() -> None:
    """250 epochs of Nesterov SGD by the batch's statistics; a protocol of the user's own goes before it."""
    entry = SEARCHERS["rsps"]
    prepared = prepare_searcher(Method(label="rsps", entry=entry, options=dict(entry.options)))
    assert prepared.factory is Spos
    protocol = prepared.protocol
    assert (protocol.epochs, protocol.nesterov, protocol.track_running_stats) == (250, True, False)
