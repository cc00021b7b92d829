"""Hessian trace: the matrix by finite differences, and what each end of its diagonal chooses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.contracts import SelectionData
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.layers import Norm
from dartboard.benchmark.space import NONE, E, O
from dartboard.benchmark.streams import stream
from dartboard.harness.toys import toy_images, toy_trained
from dartboard.selectors import im_quad
from dartboard.selectors._gradients import SupernetLoss
from dartboard.selectors.hessian_trace import WAYS, Config, HessianTrace, Where, hessian

BATCH = 6


def toy_data() -> SelectionData:
    """The toy images in double precision."""
    train, valid = (toy_images(half, dtype=torch.float64) for half in ("train", "valid"))
    return SelectionData(train=train, valid=valid, batch_size=BATCH)


def moved(mixture: Tensor, where: Where, z: Tensor) -> Tensor:
    """The mixture at coordinates z from home, written out."""
    if where == "logits":
        return (mixture.log() + z).softmax(-1)
    return mixture + z if where == "weights" else mixture * (1 + z)


@pytest.mark.parametrize("where", ["logits", "weights", "gates"])
@pytest.mark.parametrize(("norm", "batches"), [("batch", None), ("running", 1)])
def test_hessian_by_finite_differences(where: Where, norm: Norm, batches: int | None) -> None:
    """The dense Hessian by central differences of first derivatives, step h = 1e-5: the error is of order h² = 1e-10.

    The differences' rounding is about 1e-16/h = 1e-11 of the gradient; the ReLU kinks within h are the rest.
    """
    trained = toy_trained(torch.float64)
    mixture, h = trained.searcher.mixture().detach(), 1e-5
    seen = list(toy_data().valid.epoch(BATCH, stream(0, "select"), steps=batches))
    count = sum(len(labels) for _, labels in seen)

    def gradient(z: Tensor) -> Tensor:
        z = z.clone().requires_grad_()
        total = torch.zeros((), dtype=torch.float64)
        for images, labels in seen:
            logits = trained.supernet(images, moved(mixture, where, z), norm)
            total = total + F.cross_entropy(logits, labels, reduction="sum")
        return torch.autograd.grad(total / count, z)[0].flatten()

    dense = torch.empty(E * O, E * O, dtype=torch.float64)
    for row in range(E * O):
        step = torch.zeros(E * O, dtype=torch.float64)
        step[row] = h
        dense[row] = (gradient(step.view(E, O)) - gradient(-step.view(E, O))) / (2 * h)
    found = hessian(SupernetLoss(trained.supernet, WAYS[where](mixture), norm), seen)
    torch.testing.assert_close(found, dense, rtol=1e-5, atol=1e-6)

    config = Config(coordinates=where, norm=norm, batches=batches)
    answer = HessianTrace(config).select(trained, toy_data(), stream(0, "select"))
    diagonal = dense.diagonal().view(E, O).numpy()
    np.testing.assert_allclose(answer.scores, diagonal, rtol=1e-5, atol=1e-6)
    assert answer.notes["trace"] == pytest.approx(float(dense.trace()), rel=1e-5, abs=1e-6)
    largest = float(torch.linalg.eigvalsh((dense + dense.T) / 2)[-1])
    assert answer.notes["largest_eigenvalue"] == pytest.approx(largest, rel=1e-5, abs=1e-6)
    assert answer.cell.operations == tuple(diagonal[:, 1:].argmax(1) + 1)
    assert answer.images == answer.gradient_images == count


def test_a_softmax_has_flat_directions() -> None:
    """In the logits the all-ones direction of each edge is in the kernel, so at least E eigenvalues are 0."""
    trained = toy_trained(torch.float64)
    loss = SupernetLoss(trained.supernet, WAYS["logits"](trained.searcher.mixture().detach()))
    found = hessian(loss, toy_data().valid.in_order(BATCH))
    for edge in range(E):
        ones = torch.zeros(E, O, dtype=torch.float64)
        ones[edge] = 1
        assert float((found @ ones.flatten()).norm()) < 1e-10 * float(found.norm())


def test_each_end_and_none() -> None:
    """The smallest is the largest of the negative; `none` has 0 in the mixing weights, and wins where it may."""
    trained, data = toy_trained(torch.float64), toy_data()
    largest, smallest = (
        HessianTrace(Config(keep=keep, coordinates="weights")).select(trained, data, stream(0, "select"))
        for keep in ("largest", "smallest")
    )
    assert largest.scores is not None
    assert smallest.scores is not None
    np.testing.assert_array_equal(largest.scores, -smallest.scores)
    assert (largest.scores[:, NONE] == 0).all()
    assert smallest.cell.operations == tuple(largest.scores[:, 1:].argmin(1) + 1)
    free = HessianTrace(Config(keep="smallest", coordinates="weights", exclude_none=False))
    assert free.select(trained, data, stream(0, "select")).cell.operations == tuple(largest.scores.argmin(1))


def test_gates_are_the_direct_term_of_the_deletion_form() -> None:
    """In the gates the diagonal is twice the term that `im-quad` calls direct."""
    trained, data = toy_trained(torch.float64), toy_data()
    plain = replace(data.valid, padded=data.valid.images, padding=0, flip=False)  # so that both see the same images
    data = replace(data, valid=plain, batch_size=len(plain))
    answer = HessianTrace(Config(coordinates="gates")).select(trained, data, stream(0))
    quad = im_quad.ImQuad(im_quad.Config(batches=1)).select(trained, data, stream(0))
    assert answer.scores is not None
    np.testing.assert_allclose(answer.scores, 2 * np.array(quad.notes["direct"]), rtol=1e-8, atol=1e-12)


def test_wrong_options_are_refused() -> None:
    """A number or a word out of range is quoted; so is a mixture that no logits give, and a batch that is none."""
    for options, told in (
        ({"batches": 0}, "batches is at least 1; got 0"),
        ({"coordinates": "logit"}, "unknown coordinates 'logit'; did you mean 'logits'"),
        ({"keep": "most"}, "unknown keep 'most'"),
        ({"norm": "train"}, "unknown norm 'train'"),
    ):
        with pytest.raises(InputError, match=told):
            Config(**options)  # type: ignore[arg-type]  # the claim
    trained = toy_trained()
    trained.searcher.mixture = lambda: torch.eye(O)[[0] * E]  # type: ignore[method-assign]  # a one-hot mixture
    with pytest.raises(ValueError, match="softmax gives positive weights only"):
        HessianTrace(Config()).select(trained, toy_data(), stream(0))
    with pytest.raises(ValueError, match="no image"):
        hessian(SupernetLoss(trained.supernet, WAYS["gates"](trained.searcher.mixture())), [])
