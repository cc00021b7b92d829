"""First order: its prediction is the derivative of what leave-one-out measures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dartboard.benchmark.contracts import SelectionData, TrainedSupernet
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.layers import Norm
from dartboard.benchmark.space import NONE, E, O
from dartboard.benchmark.streams import stream
from dartboard.harness.toys import toy_images, toy_trained
from dartboard.selectors._gradients import SupernetLoss, gates, logits, shifts
from dartboard.selectors.first_order import Config, FirstOrder

BATCH = 6


def toy_data() -> SelectionData:
    """The toy images in double precision."""
    train, valid = (toy_images(half, dtype=torch.float64) for half in ("train", "valid"))
    return SelectionData(train=train, valid=valid, batch_size=BATCH)


def loss_at(trained: TrainedSupernet, mixture: Tensor, norm: Norm = "batch", steps: int | None = None) -> float:
    """The mean loss of a mixture over the batches that a selection with seed 0 sees."""
    total = seen = 0.0
    with torch.no_grad():
        for images, labels in toy_data().valid.epoch(BATCH, stream(0, "select"), steps=steps):
            total += float(F.cross_entropy(trained.supernet(images, mixture, norm), labels, reduction="sum"))
            seen += len(labels)
    return total / seen


def nudges() -> Iterator[tuple[int, int]]:
    """Each edge and operation."""
    return ((e, o) for e in range(E) for o in range(O))


def by_differences(trained: TrainedSupernet, mixture: Tensor, **how: object) -> NDArray[np.float64]:
    """-p ∂L/∂p by central differences of relative step h = 1e-5: the error is of order h² = 1e-10."""
    h, scores = 1e-5, np.zeros((E, O))
    for e, o in nudges():
        ends = []
        for sign in (1, -1):
            moved = mixture.clone()
            moved[..., e, o] *= 1 + sign * h
            ends.append(loss_at(trained, moved, **how))  # type: ignore[arg-type]  # passed on
        scores[e, o] = -(ends[0] - ends[1]) / (2 * h)
    return scores


@pytest.mark.parametrize(("norm", "batches"), [("batch", None), ("running", 2)])
def test_scores_are_derivatives(norm: Norm, batches: int | None) -> None:
    """Each score is minus p times the derivative of the mean loss, by finite differences, and gives the cell."""
    trained = toy_trained(torch.float64)
    answer = FirstOrder(Config(norm=norm, batches=batches)).select(trained, toy_data(), stream(0, "select"))
    mixture = trained.searcher.mixture().detach()
    expected = by_differences(trained, mixture, norm=norm, steps=batches)
    assert answer.scores is not None
    np.testing.assert_allclose(answer.scores, expected, atol=1e-8)
    assert answer.cell.operations == tuple(expected.argmax(1))
    assert (answer.scores[:, NONE] == 0).all()
    seen = sum(len(labels) for _, labels in toy_data().valid.epoch(BATCH, stream(0, "select"), steps=batches))
    assert answer.images == answer.gradient_images == seen


def test_options_of_the_choice() -> None:
    """`absolute` takes the size of the effect; `exclude_none` keeps `none` out although it scores 0."""
    trained = toy_trained(torch.float64)
    plain, size = (
        FirstOrder(Config(absolute=a)).select(trained, toy_data(), stream(0, "select")) for a in (False, True)
    )
    assert plain.scores is not None
    assert size.scores is not None
    np.testing.assert_array_equal(size.scores, np.abs(plain.scores))
    without = FirstOrder(Config(exclude_none=True)).select(trained, toy_data(), stream(0, "select"))
    assert without.cell.operations == tuple(plain.scores[:, 1:].argmax(1) + 1)


def test_one_mixture_per_cell() -> None:
    """With a mixture of each cell's own, the score is the sum over the cells."""
    trained = toy_trained(torch.float64)
    cells = trained.supernet.config.cells
    spread = trained.searcher.mixture().detach() * torch.linspace(0.5, 1.5, cells, dtype=torch.float64)[:, None, None]
    trained.searcher.mixture = lambda: spread  # type: ignore[method-assign]  # a searcher with one mixture per cell
    answer = FirstOrder(Config(batches=1)).select(trained, toy_data(), stream(0, "select"))
    assert answer.scores is not None
    np.testing.assert_allclose(answer.scores, by_differences(trained, spread, steps=1), atol=1e-8)


def test_wrong_options_are_refused() -> None:
    """A number or a word out of range is quoted."""
    with pytest.raises(InputError, match="batches is at least 1; got 0"):
        Config(batches=0)
    with pytest.raises(InputError, match="unknown norm 'train'"):
        Config(norm="train")


def test_coordinates_meet_at_the_mixture() -> None:
    """All coordinates give the searcher's mixture at their origin, and their derivatives obey the chain rule there.

    With g = ∂L/∂p: by gates p·g, by shifts g, by logits p·(g - Σ p·g).
    """
    trained = toy_trained(torch.float64)
    p = trained.searcher.mixture().detach()
    batch = next(toy_data().valid.epoch(BATCH, stream(0, "select")))
    found = {}
    for coordinates in (gates, shifts, logits):
        torch.testing.assert_close(coordinates(p).mixture(coordinates(p).origin), p, rtol=1e-14, atol=0)
        found[coordinates] = SupernetLoss(trained.supernet, coordinates(p)).gradient([batch])[1]
    g = found[shifts]
    torch.testing.assert_close(found[gates], p * g, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found[logits], p * (g - (p * g).sum(-1, keepdim=True)), rtol=1e-10, atol=1e-12)


def test_logits_need_positive_weights() -> None:
    """A mixture with a zero has no logits, and the message says so."""
    with pytest.raises(ValueError, match="softmax gives positive weights only"):
        logits(torch.eye(O)[[0] * E])


def test_a_training_norm_is_refused() -> None:
    """A gradient never trains running statistics."""
    trained = toy_trained()
    with pytest.raises(ValueError, match="must not train"):
        SupernetLoss(trained.supernet, gates(trained.searcher.mixture().detach()), "train")


def test_without_images_there_is_no_gradient() -> None:
    """No batch at all is refused."""
    trained = toy_trained()
    with pytest.raises(ValueError, match="no image"):
        SupernetLoss(trained.supernet, gates(trained.searcher.mixture().detach())).gradient([])


def test_nan_is_never_chosen_from() -> None:
    """A NaN in the mixture raises."""
    trained = toy_trained()
    broken = replace(trained)
    with torch.no_grad():
        broken.searcher.alpha[2, 1] = float("nan")  # type: ignore[attr-defined]  # DARTS has logits
    with pytest.raises(ValueError, match="NaN"):
        FirstOrder(Config()).select(broken, replace(toy_data(), valid=toy_images("valid")), stream(0, "select"))
