"""Discretisation accuracy: each operation alone on its edge, before and after tuning to it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dartboard.benchmark.contracts import Batch, SelectionData
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import derive, split_off, stream
from dartboard.harness.presets import PRESETS
from dartboard.harness.toys import toy_images, toy_trained
from dartboard.selectors.discretisation_accuracy import Config, DiscretisationAccuracy

BATCH = 6


def toy_data() -> SelectionData:
    """The toy images in double precision."""
    train, valid = (toy_images(half, dtype=torch.float64) for half in ("train", "valid"))
    return SelectionData(train=train, valid=valid, batch_size=BATCH)


def alone(mixture: torch.Tensor, edge: int, operation: int) -> torch.Tensor:
    """The mixture with one operation alone on an edge."""
    return torch.stack(
        [F.one_hot(torch.tensor(operation), O).to(row) if e == edge else row for e, row in enumerate(mixture)]
    )


def test_without_tuning() -> None:
    """With no tuning, a score is minus the loss of the supernet as it is, with the operation alone on the edge."""
    trained, data = toy_trained(torch.float64), toy_data()
    config = Config(epochs=0, criterion="loss", batches=1)
    answer = DiscretisationAccuracy(config).select(trained, data, stream(0, "select"))
    root = split_off(stream(0, "select"))
    ((images, labels),) = data.valid.epoch(BATCH, stream(root, "images"), steps=1)
    mixture, expected = trained.searcher.mixture().detach(), np.zeros((E, O))
    for edge in range(E):
        for operation in range(O):
            logits = trained.supernet(images, alone(mixture, edge, operation), "batch").detach()
            expected[edge, operation] = -float(F.cross_entropy(logits, labels))
    np.testing.assert_allclose(answer.scores, expected, atol=1e-10)
    assert answer.cell.operations == tuple(expected.argmax(1))
    assert (answer.images, answer.gradient_images) == (E * O * BATCH, 0)


def test_tuning_by_hand() -> None:
    """One epoch of tuning is one of plain SGD steps on the discretised supernet, its other edges searching on.

    By hand: a first-order search with momentum from zero at the constant rate, gradients clipped at 5, decay 3e-4;
    the architecture's step by the copied Adam. Compared for two operations of one edge.
    """
    trained, data = toy_trained(torch.float64), toy_data()
    config = Config(epochs=1, criterion="loss", learning_rate=0.01, batches=1)
    answer = DiscretisationAccuracy(config).select(trained, data, stream(0, "select"))
    assert answer.scores is not None
    root = split_off(stream(0, "select"))
    seed, epoch = derive(root, "tune"), len(trained.trajectory)
    for edge, operation in ((2, 3), (4, 0)):
        searcher: Any = copy.deepcopy(trained.searcher)
        parameters = list(searcher.supernet.parameters())
        sgd = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=3e-4)
        steps = data.train.steps(BATCH)
        lower = data.train.epoch(BATCH, stream(seed, "train", epoch), steps=steps)
        upper = data.valid.epoch(BATCH, stream(seed, "valid", epoch), order="fresh", steps=steps)
        for train, valid in zip(lower, upper, strict=True):
            train, valid = Batch(*train), Batch(*valid)
            mixture = alone(searcher.alpha.softmax(-1), edge, operation)
            loss = F.cross_entropy(searcher.supernet(valid.images, mixture), valid.labels)
            searcher.alpha.grad = torch.autograd.grad(loss, searcher.alpha)[0]
            searcher.adam.step()
            mixture = alone(searcher.alpha.softmax(-1).detach(), edge, operation)
            loss = F.cross_entropy(searcher.supernet(train.images, mixture), train.labels)
            sgd.zero_grad()
            loss.backward(inputs=parameters)
            torch.nn.utils.clip_grad_norm_(parameters, 5)
            sgd.step()
        ((images, labels),) = data.valid.epoch(BATCH, stream(root, "images"), steps=1)
        logits = searcher.supernet(images, alone(searcher.alpha.softmax(-1), edge, operation), "batch").detach()
        assert answer.scores[edge, operation] == pytest.approx(-float(F.cross_entropy(logits, labels)), abs=1e-9)


def test_wrong_options_are_refused() -> None:
    """A negative number of epochs and an unknown word are quoted."""
    with pytest.raises(InputError, match="epochs is at least 0; got -1"):
        Config(epochs=-1)
    with pytest.raises(InputError, match="learning_rate is greater than 0; got 0"):
        Config(learning_rate=0)
    with pytest.raises(InputError, match="unknown criterion 'acc'"):
        Config(criterion="acc")  # type: ignore[arg-type]  # the claim


def test_a_laptop_tunes_less_than_it_searches() -> None:
    """Under the preset `laptop` all tunings together have fewer epochs than the search, whose steps they repeat."""
    laptop = PRESETS["laptop"]
    config = Config(**laptop.selectors["discretisation-accuracy"])
    assert 1 <= config.epochs * E * O < laptop.search["epochs"]
    assert config.batches is None  # all images, as in the method's own defaults
