"""SNIP: sensitivities of operations and of their weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dartboard.benchmark.contracts import SelectionData
from dartboard.benchmark.reference import ReferenceSupernet
from dartboard.benchmark.space import CONV1X1, CONV3X3, E, O
from dartboard.benchmark.streams import stream
from dartboard.harness.toys import toy_images, toy_trained
from dartboard.selectors._gradients import SupernetLoss, gates
from dartboard.selectors._operations import sum_by_operation
from dartboard.selectors.first_order import Config as FirstOrderConfig
from dartboard.selectors.first_order import FirstOrder
from dartboard.selectors.snip import Config, Snip

BATCH = 6


def toy_data() -> SelectionData:
    """The toy images in double precision."""
    train, valid = (toy_images(half, dtype=torch.float64) for half in ("train", "valid"))
    return SelectionData(train=train, valid=valid, batch_size=BATCH)


def test_operations_as_connections() -> None:
    """The score is the normalised size of the gate's derivative, which the first-order criterion's is without sign."""
    trained = toy_trained(torch.float64)
    answer = Snip(Config()).select(trained, toy_data(), stream(0, "select"))
    first = FirstOrder(FirstOrderConfig(absolute=True)).select(trained, toy_data(), stream(0, "select"))
    assert answer.scores is not None
    assert first.scores is not None
    np.testing.assert_allclose(answer.scores, first.scores / first.scores.sum(), rtol=1e-12)
    assert answer.scores.sum() == pytest.approx(1)
    assert answer.images == answer.gradient_images == len(toy_data().valid)


def test_weights_as_connections() -> None:
    """On one batch, the score is Σ|w·∂L/∂w| over an operation's weights in the readable network, normalised."""
    trained = toy_trained(torch.float64)
    answer = Snip(Config(level="weights", half="train", batches=1)).select(trained, toy_data(), stream(0, "select"))
    images, labels = next(toy_data().train.epoch(BATCH, stream(0, "select"), steps=1))
    network = ReferenceSupernet(trained.supernet)
    F.cross_entropy(network(images, trained.searcher.mixture().detach(), "batch"), labels).backward()
    expected = np.zeros((E, O))
    for block in network.blocks:
        for edge, operations in enumerate(getattr(block, "edges", [])):
            for operation in (CONV1X1, CONV3X3):
                weight = operations[operation].convolution.weight
                expected[edge, operation] += float((weight * weight.grad).detach().abs().sum())
    np.testing.assert_allclose(answer.scores, expected / expected.sum(), rtol=1e-9, atol=1e-15)
    assert set(answer.cell.operations) <= {CONV1X1, CONV3X3}


def test_signed_sums_over_weights_are_empty() -> None:
    """Σ w·∂L/∂w of a convolution before batch norm is 0 but for batch norm's ε: the scale of its weights is void."""
    trained = toy_trained(torch.float64)
    loss = SupernetLoss(trained.supernet, gates(trained.searcher.mixture().detach()))
    by_theta, _ = loss.gradient(toy_data().valid.epoch(BATCH, stream(0, "select")))
    signed = sum_by_operation(trained.supernet, loss.named(loss.theta * by_theta)).abs()
    unsigned = sum_by_operation(trained.supernet, loss.named((loss.theta * by_theta).abs()))
    assert float(signed.max()) < 1e-3 * float(unsigned.max())


def test_sums_by_operation_count_each_weight_once() -> None:
    """Of all ones, the sums are the numbers of weights: C² and 9C² of each of the three stages' cells."""
    supernet = toy_trained(torch.float64).supernet
    ones = {name: torch.ones_like(p) for name, p in supernet.named_parameters()}
    counts = sum_by_operation(supernet, ones)
    squares = sum((2 * 2**stage) ** 2 for stage in range(3))  # C = 2, one cell a stage
    expected = torch.zeros(E, O, dtype=torch.float64)
    expected[:, CONV1X1], expected[:, CONV3X3] = squares, 9 * squares
    assert torch.equal(counts, expected)
