"""Scoring many mixtures at once: equal to one plain pass for each."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dartboard.benchmark.reference import ReferenceSupernet
from dartboard.benchmark.supernet import Supernet, SupernetConfig
from dartboard.selectors._evaluation import score_mixtures, without_each
from dartboard.selectors._passes import Passes


def make(channels: int, cells: int, *, track: bool, seed: int = 0) -> Supernet:
    """A small float64 supernet whose running statistics are not those it was born with."""
    config = SupernetConfig(channels=channels, cells_per_stage=cells, num_classes=5, track_running_stats=track)
    generator = torch.Generator().manual_seed(seed)
    network = Supernet(config, generator=generator, dtype=torch.float64)
    for name, buffer in network.named_buffers():
        drawn = torch.rand(buffer.shape, generator=generator, dtype=torch.float64)
        if "running_mean" in name:
            buffer.copy_(0.2 * (drawn - 0.5))  # small, or nothing passes the last ReLU
        elif "running_var" in name:
            buffer.copy_(drawn + 0.1)
    return network


def draw(kind: str, cells: int, seed: int) -> Tensor:
    """Mixtures of one kind; several of them are equal in their first rows."""
    generator = torch.Generator().manual_seed(seed)
    mixture = torch.rand(3 * cells, 6, 5, generator=generator, dtype=torch.float64).softmax(-1)
    if kind == "per cell":
        return torch.cat([without_each(mixture, edge, renormalise=True) for edge in (0, 3)])
    single = mixture[0]
    if kind == "masks":
        return torch.cat([without_each(single, edge, renormalise=False) for edge in range(6)])
    one_hot = F.one_hot(single.argmax(-1), 5).double()
    if kind == "settled":
        settled = torch.where(torch.tensor([True, False, True, True, True, True])[:, None], one_hot, single)
        return torch.cat([one_hot[None], without_each(settled, 1, renormalise=False)])
    return torch.stack([torch.zeros(6, 5, dtype=torch.float64), F.one_hot(torch.zeros(6).long(), 5).double()])


@settings(max_examples=25, deadline=None)
@given(
    channels=st.sampled_from([2, 8]),
    cells=st.integers(1, 2),
    track=st.booleans(),
    norm=st.sampled_from(["batch", "running"]),
    kind=st.sampled_from(["masks", "per cell", "settled", "nothing"]),
    seed=st.integers(0, 1000),
)
def test_shared_passes_equal_one_readable_pass_for_each_mixture(
    channels: int, cells: int, track: bool, norm: Literal["batch", "running"], kind: str, seed: int
) -> None:
    """Logits agree with the readable form's to 1e-10 in float64, and no buffer moves."""
    network = make(channels, cells, track=track, seed=seed)
    readable = ReferenceSupernet(network)
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    mixtures = draw(kind, cells, seed)
    images = torch.randn(3, 3, 6, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = list(Passes(network, mixtures).logits(images, norm))
    assert len(found) == len(mixtures)
    for logits, mixture in zip(found, mixtures, strict=True):
        torch.testing.assert_close(logits, readable(images, mixture, norm), rtol=1e-10, atol=1e-10)
    assert all(torch.equal(before[name], buffer) for name, buffer in network.named_buffers())


def test_scores_of_a_supernet_are_those_of_its_readable_form() -> None:
    """Accuracy, loss and images of all 30 masks agree over two batches, whichever way they are computed."""
    network = make(4, 1, track=True)
    generator = torch.Generator().manual_seed(3)
    batches = [
        (torch.randn(n, 3, 8, 8, generator=generator, dtype=torch.float64), torch.randint(0, 5, (n,))) for n in (6, 4)
    ]
    masks = draw("masks", 1, 0)
    ours, theirs = (score_mixtures(n, masks, batches, "batch") for n in (network, ReferenceSupernet(network)))
    assert ours.accuracy.tolist() == theirs.accuracy.tolist()
    assert ours.loss == pytest.approx(theirs.loss, abs=1e-10)
    assert ours.images == theirs.images == 300


def test_masks_of_none_cost_one_pass_and_masks_of_one_edge_share_the_first_cell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 30 masks 25 are different networks; a one-hot mixture convolves once for each convolution it keeps."""
    counted: list[int] = []
    plain = F.conv2d

    def counting(x: Tensor, weight: Tensor, *arguments: Tensor, **options: int) -> Tensor:
        counted.append(len(weight) if options.get("groups", 1) == 1 else 0)
        return plain(x, weight, *arguments, **options)  # type: ignore[arg-type]

    network = make(2, 1, track=True)
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    skeleton = 2 + (4 + 4 + 4) + (8 + 8 + 8)  # channels made by the stem and the reductions
    monkeypatch.setattr(F, "conv2d", counting)
    list(Passes(network, draw("masks", 1, 0)).logits(images, "batch"))
    # First cell: node 0 once, node 1 for 5 rows into it, node 2 for the 5 and for 2 * 4 more masks of its own rows.
    first = 2 * (3 * 2) + 5 * 2 * (2 * 2) + 13 * 2 * 2
    later = sum(2 * c * 6 * 25 - c * (1 + 1) * 6 for c in (4, 8))  # each mask of a convolution saves that one
    assert sum(counted) == 2 + 25 * (skeleton - 2) + first + later
    counted.clear()
    cell = torch.zeros(6, 5, dtype=torch.float64)
    cell[torch.arange(6), torch.tensor([1, 4, 2, 0, 3, 1])] = 1
    list(Passes(network, cell[None]).logits(images, "running"))
    assert sum(counted) == skeleton + (2 + 2) * (1 + 2 + 4)
