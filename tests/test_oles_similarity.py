"""OLES similarity: cosines of the gradients of each operation's weights, from the readable network."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.contracts import SelectionData, TrainedSupernet
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.reference import ReferenceSupernet
from dartboard.benchmark.space import CONV1X1, CONV3X3, NONE, POOL, SKIP, E, O
from dartboard.benchmark.streams import split_off, stream
from dartboard.harness.toys import toy_images, toy_trained
from dartboard.selectors.oles_similarity import Config, Cosine, OlesSimilarity, similarity

BATCH = 6
CELLS = 3


def toy_data() -> SelectionData:
    """The toy images in double precision."""
    train, valid = (toy_images(half, dtype=torch.float64) for half in ("train", "valid"))
    return SelectionData(train=train, valid=valid, batch_size=BATCH)


def gradients(
    trained: TrainedSupernet, batch: tuple[Tensor, Tensor]
) -> tuple[dict[tuple[int, int, int], Tensor], float]:
    """By cell, edge and operation, the gradient of the convolution's weights; and the length of the whole gradient."""
    network = ReferenceSupernet(trained.supernet)
    images, labels = batch
    F.cross_entropy(network(images, trained.searcher.mixture().detach(), "batch"), labels).backward()
    found = {}
    cells = (block for block in network.blocks if hasattr(block, "edges"))
    for index, block in enumerate(cells):
        for edge, operations in enumerate(block.edges):
            for operation in (CONV1X1, CONV3X3):
                found[index, edge, operation] = operations[operation].convolution.weight.grad
    length = sum(float(p.grad.square().sum()) for p in network.parameters() if p.grad is not None) ** 0.5
    return found, length


def cosine_by_hand(one: Tensor, other: Tensor, cosine: Cosine) -> float:
    """For each place of an input channel's kernel the cosine over the output channels, or of all at once, in loops.

    A place without a gradient (its input channel is never positive) has 0.
    """
    left, right = one.flatten(1).T, other.flatten(1).T  # (places, C)
    if cosine == "whole":
        left, right = left.reshape(1, -1), right.reshape(1, -1)
    each = [
        float(a @ b / (a.norm() * b.norm())) if a.any() and b.any() else 0.0 for a, b in zip(left, right, strict=True)
    ]
    return sum(each) / len(each)


@pytest.mark.parametrize("cosine", ["channels", "whole"])
@pytest.mark.parametrize("accumulated", [False, True])
def test_by_hand(cosine: Cosine, accumulated: bool) -> None:
    """The score is the mean over batches and cells of the cosines of the readable network's gradients."""
    trained, data = toy_trained(torch.float64), toy_data()
    config = Config(cosine=cosine, accumulated=accumulated, batches=2)
    answer = OlesSimilarity(config).select(trained, data, stream(0, "select"))
    root = split_off(stream(0, "select"))
    train = data.train.epoch(BATCH, stream(root, "train"), steps=2)
    valid = data.valid.epoch(BATCH, stream(root, "valid"), steps=2)
    cosines: dict[tuple[int, int], list[float]] = defaultdict(list)
    for pair in zip(train, valid, strict=True):
        (one, length), (other, _) = (gradients(trained, batch) for batch in pair)
        for (_, edge, operation), left, right in ((key, one[key], other[key]) for key in one):
            kept = left * min(1.0, 5.0 / length)
            cosines[edge, operation].append(
                cosine_by_hand(kept, kept + right, cosine) if accumulated else cosine_by_hand(left, right, cosine)
            )
    expected = np.full((E, O), -1.0)
    for (edge, operation), values in cosines.items():
        assert len(values) == 2 * CELLS
        expected[edge, operation] = np.mean(values)
    np.testing.assert_allclose(answer.scores, expected, rtol=1e-7, atol=1e-10)
    assert answer.cell.operations == tuple(expected.argmax(1))
    seen = sum(min(BATCH, len(split) - start) for split in (data.train, data.valid) for start in (0, BATCH))
    assert answer.images == answer.gradient_images == seen


def test_equal_halves_are_alike() -> None:
    """Where training and validation see the same batch, every convolution has 1, and the others -1."""
    split = toy_data().train
    plain = replace(split, padded=split.images, padding=0, flip=False)
    same = SelectionData(train=plain, valid=plain, batch_size=len(plain))
    answer = OlesSimilarity(Config(cosine="whole", batches=1)).select(toy_trained(torch.float64), same, stream(0))
    assert answer.scores is not None
    np.testing.assert_allclose(answer.scores[:, [CONV1X1, CONV3X3]], 1, rtol=1e-9)
    assert (answer.scores[:, [NONE, SKIP, POOL]] == -1).all()
    assert set(answer.cell.operations) <= {CONV1X1, CONV3X3}


def test_cosines() -> None:
    """Equal, opposite and orthogonal gradients have 1, -1 and 0; a gradient of 0 has 0; lengths do not matter."""
    g = torch.randn(4, 3, 2, 2, generator=stream(1), dtype=torch.float64)
    across = torch.zeros_like(g)
    across[0], across[1] = -g[1], g[0]
    flat = torch.zeros_like(g)
    flat[:2] = g[:2]
    for cosine in ("channels", "whole"):
        assert float(similarity(g, 1e-30 * g, cosine)) == pytest.approx(1)
        assert float(similarity(g, -3 * g, cosine)) == pytest.approx(-1)
        assert float(similarity(flat, across, cosine)) == pytest.approx(0, abs=1e-15)
        assert float(similarity(g, 0 * g, cosine)) == 0


def test_standard_errors() -> None:
    """The notes have s/√n over the batches, s² with n - 1; a single batch tells of no error, not of an error of 0."""
    one = OlesSimilarity(Config(batches=1)).select(toy_trained(torch.float64), toy_data(), stream(0))
    four = OlesSimilarity(Config(batches=4)).select(toy_trained(torch.float64), toy_data(), stream(0))
    assert one.notes["standard_error"] == [[None] * O] * E
    firsts = [
        OlesSimilarity(Config(batches=n)).select(toy_trained(torch.float64), replace(toy_data(), seed=1), stream(0))
        for n in (1, 2)
    ]
    assert firsts[0].scores is not None
    assert firsts[1].scores is not None
    expected = np.abs(firsts[1].scores - firsts[0].scores)  # of two: s/√2 = |x - y|/2 = |m - x|
    np.testing.assert_allclose(np.array(firsts[1].notes["standard_error"]), expected, atol=1e-12)
    assert (np.array(four.notes["standard_error"])[:, [CONV1X1, CONV3X3]] > 0).all()


def test_wrong_options_are_refused() -> None:
    """A number or a word out of range is quoted."""
    with pytest.raises(InputError, match="batches is at least 1; got 0"):
        Config(batches=0)
    with pytest.raises(InputError, match="unknown cosine 'channel'; did you mean 'channels'"):
        Config(cosine="channel")  # type: ignore[arg-type]  # the claim
    with pytest.raises(InputError, match="unknown norm 'train'"):
        Config(norm="train")
