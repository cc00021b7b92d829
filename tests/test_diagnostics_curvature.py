"""The Hessian in the logits and the landscape: against differences of gradients, and against each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.reference import ReferenceSupernet
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import stream
from dartboard.benchmark.supernet import Supernet
from dartboard.harness.diagnostics import alpha_hessian, landscape
from dartboard.harness.diagnostics._logits import logits
from dartboard.harness.diagnostics._toys import measured, toy_subject
from dartboard.harness.toys import BATCH
from dartboard.selectors._gradients import SupernetLoss
from dartboard.selectors.hessian_trace import hessian

ALL = torch.ones(E, O, dtype=torch.bool)


def loss_of_logits(network: Supernet, batch: tuple[Tensor, Tensor], p: Tensor) -> Callable[[Tensor], Tensor]:
    """L(α) around the logits of `p`."""
    return lambda z: F.cross_entropy(network(batch[0], (p.log() + z.view(E, O)).softmax(-1), "batch"), batch[1])


def test_the_hessian_is_the_difference_of_gradients_through_the_readable_network() -> None:
    """Rows against central differences of first derivatives, taken through the readable supernet."""
    of = toy_subject()
    network, p = of.trained.supernet, of.mixture()
    batches = of.batches(of.data.valid, 10, "valid")
    assert [len(labels) for _, labels in batches] == [6, 4]
    matrix = hessian(SupernetLoss(network, logits(p)), batches)
    torch.testing.assert_close(matrix, matrix.T)
    readable = ReferenceSupernet(network)

    def gradient(z: Tensor) -> Tensor:
        z = z.clone().requires_grad_()
        total = sum(
            len(y) * F.cross_entropy(readable(x, (p.log() + z.view(E, O)).softmax(-1), "batch"), y) for x, y in batches
        )
        assert isinstance(total, Tensor)
        return torch.autograd.grad(total / 10, z)[0]

    h = 1e-5
    for k in (1, 8, 17, 29):
        step = torch.zeros(E * O, dtype=torch.float64)
        step[k] = h
        # Central differences err by h² times a third derivative of order 1, and by 1e-16/h of rounding.
        torch.testing.assert_close(matrix[k], (gradient(step) - gradient(-step)) / (2 * h), atol=1e-8, rtol=1e-5)


def test_eigenvalues_and_trace_belong_together() -> None:
    """The eigenvalues add up to the trace, the first is the largest, and at least E of them are 0."""
    values = measured("alpha-hessian", toy_subject()).values
    eigenvalues = values["eigenvalues"]
    assert eigenvalues.sum() == pytest.approx(values["trace"])
    assert values["dominant"] == eigenvalues.max()
    assert (np.abs(eigenvalues) < 1e-9 * np.abs(eigenvalues).max()).sum() >= E
    assert values["null_error"] < 1e-12
    assert values["negative"] == (eigenvalues < -1e-6 * np.abs(eigenvalues).max()).sum()


def test_a_direction_that_a_softmax_feels_is_no_null_direction() -> None:
    """The identity does not vanish on any direction; a zero matrix does on all."""
    assert alpha_hessian.null_error(torch.eye(E * O, dtype=torch.float64)) == pytest.approx(1 / (E * O) ** 0.5)
    assert alpha_hessian.null_error(torch.zeros(E * O, E * O)) == 0


def test_an_operation_that_was_dropped_has_no_curvature() -> None:
    """With weights of 0 the Hessian is 0 in what was dropped, and differences of gradients in what is left."""
    of = toy_subject()
    network = of.trained.supernet
    p = of.mixture() * torch.tensor([0.0, 1, 1, 0, 1])
    p[3] = torch.eye(O, dtype=torch.float64)[2]
    p = p / p.sum(-1, keepdim=True)
    batches = of.batches(of.data.valid, BATCH, "valid")
    matrix = hessian(SupernetLoss(network, logits(p)), batches)
    gone = torch.where(p.flatten() == 0)[0]
    assert matrix[gone].abs().max() == 0
    assert matrix[3 * O : 4 * O].abs().max() == 0
    h, step = 1e-5, torch.zeros(E, O, dtype=torch.float64)
    step[5, 1] = h
    ends = []
    for sign in (1, -1):
        moved = p * (sign * step).exp()
        z = torch.zeros(E, O, dtype=torch.float64, requires_grad=True)
        weights = moved * z.exp()
        loss = F.cross_entropy(network(batches[0][0], weights / weights.sum(-1, keepdim=True), "batch"), batches[0][1])
        ends.append(torch.autograd.grad(loss, z)[0].flatten())
    torch.testing.assert_close(matrix[5 * O + 1], (ends[0] - ends[1]) / (2 * h), atol=1e-8, rtol=1e-5)


def test_directions_leave_dropped_operations_alone() -> None:
    """They have 0 there, add up to 0 on each edge, have length 1, and are none where each edge has one operation."""
    felt = ALL.clone()
    felt[:, 0] = False
    felt[2] = torch.eye(O, dtype=torch.bool)[1]
    d = landscape.random_directions(4, felt, stream(0, "d"))
    assert d[:, ~felt].abs().max() == 0
    assert d[:, 2].abs().max() == 0
    torch.testing.assert_close(d.sum(-1), torch.zeros(4, E, dtype=torch.float64))
    torch.testing.assert_close(d.flatten(1).norm(dim=1), torch.ones(4, dtype=torch.float64))
    with pytest.raises(ValueError, match="no edge has two operations left"):
        landscape.random_directions(1, torch.eye(O, dtype=torch.bool)[[1] * E], stream(0, "d"))


def test_the_landscapes_directions_are_felt_and_of_length_1() -> None:
    """Unit length, no edge's logits move alike, and the same generator draws the same."""
    d = landscape.random_directions(5, ALL, stream(0, "d"))
    torch.testing.assert_close(d.flatten(1).norm(dim=1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(d.sum(-1), torch.zeros(5, E, dtype=torch.float64))
    assert torch.equal(d, landscape.random_directions(5, ALL, stream(0, "d")))


def test_the_landscape_is_the_loss_at_moved_logits() -> None:
    """Every loss against a pass of its own, the middle against the mixture's; rise and drop follow from them."""
    of = toy_subject()
    values = measured("landscape", of, directions=2, radius=0.5).values
    directions = landscape.random_directions(2, ALL, stream(of.root, "directions"))
    (batch,) = of.batches(of.data.valid, BATCH, "valid")
    loss = loss_of_logits(of.trained.supernet, batch, of.mixture())
    assert values["radii"] == [-0.5, -0.25, -0.125, 0, 0.125, 0.25, 0.5]
    with torch.no_grad():
        for d, row in zip(directions, values["loss"], strict=True):
            expected = [float(loss(r * d.flatten())) for r in values["radii"]]
            np.testing.assert_allclose(row, expected, rtol=1e-12)
    ends = values["loss"][:, [0, -1]]
    assert values["rise"] == pytest.approx(ends.mean() - values["loss_here"])
    assert values["worst_rise"] == pytest.approx(ends.max() - values["loss_here"])


def test_the_landscapes_curvature_tends_to_the_hessians() -> None:
    """With a small radius the second difference along d is dᵀHd of the exact Hessian on the same images."""
    of = toy_subject()
    values = measured("landscape", of, directions=3, radius=4e-5).values
    d = landscape.random_directions(3, ALL, stream(of.root, "directions")).flatten(1)
    batches = of.batches(of.data.valid, BATCH, "valid")
    matrix = hessian(SupernetLoss(of.trained.supernet, logits(of.mixture())), batches)
    # h = 1e-5, so small that no rectifier turns on or off in between: 1e-16/h² of rounding.
    np.testing.assert_allclose(values["curvature"], ((d @ matrix) * d).sum(1).numpy(), atol=1e-5)
