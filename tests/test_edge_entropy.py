"""Edge entropy: the order in which edges are settled, and DARTS-PT's rule within it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dartboard.benchmark.contracts import SelectionData
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.reference import ReferenceSupernet
from dartboard.benchmark.space import OPERATIONS, E, O
from dartboard.benchmark.streams import stream
from dartboard.harness.toys import toy_images, toy_trained
from dartboard.selectors import perturbation
from dartboard.selectors.edge_entropy import Config, EdgeEntropy, edge_entropies

BATCH = 6


def toy_data() -> SelectionData:
    """The toy images in double precision."""
    train, valid = (toy_images(half, dtype=torch.float64) for half in ("train", "valid"))
    return SelectionData(train=train, valid=valid, batch_size=BATCH)


def test_entropies() -> None:
    """A uniform row has ln O, a one-hot row 0, halves have ln 2; where each cell has its own, it is their mean."""
    rows = torch.full((E, O), 1 / O)
    rows[1] = torch.eye(O)[3]
    rows[2] = torch.tensor([0.5, 0, 0, 0.5, 0])
    expected = [math.log(O), 0, math.log(2), *[math.log(O)] * 3]
    np.testing.assert_allclose(edge_entropies(rows), expected, atol=1e-7)
    both = torch.stack([rows, torch.eye(O)[[0] * E]])
    np.testing.assert_allclose(edge_entropies(both), np.array(expected) / 2, atol=1e-7)


@pytest.mark.parametrize("first", ["certain", "uncertain"])
@pytest.mark.parametrize("criterion", ["accuracy", "loss"])
@pytest.mark.parametrize("exclude_none", [False, True])
def test_by_hand(first: Any, criterion: Any, exclude_none: bool) -> None:
    """Edge by edge in the order of -Σ p ln p, the worst removal in the readable network decides, and is settled."""
    trained, data = toy_trained(torch.float64), toy_data()
    config = Config(first=first, criterion=criterion, exclude_none=exclude_none, batches=1)
    answer = EdgeEntropy(config).select(trained, data, stream(0, "select"))
    ((images, labels),) = data.valid.epoch(BATCH, stream(0, "select"), steps=1)
    network, mixture = ReferenceSupernet(trained.supernet), trained.searcher.mixture().detach().clone()
    entropies = [-sum(float(p) * math.log(p) for p in row) for row in mixture]
    order = sorted(range(E), key=lambda e: entropies[e] if first == "certain" else -entropies[e])
    assert [entry["edge"] for entry in answer.trace] == order
    for edge, entry in zip(order, answer.trace, strict=True):
        assert entry["entropy"] == pytest.approx(entropies[edge])
        scores = []
        for operation in range(O):
            masked = mixture.clone()
            masked[edge, operation] = 0
            with torch.no_grad():
                logits = network(images, masked, "batch")
            right = int((logits.argmax(-1) == labels).sum())
            loss = float(F.cross_entropy(logits, labels))
            scores.append(-100 * right / len(labels) if criterion == "accuracy" else loss)
        assert answer.scores is not None
        np.testing.assert_allclose(answer.scores[edge], scores, rtol=1e-9)
        kept = max(range(exclude_none, O), key=answer.scores[edge].__getitem__)
        assert answer.cell.operations[edge] == kept
        assert entry["operation"] == OPERATIONS[kept]
        mixture[edge] = torch.eye(O, dtype=torch.float64)[kept]
    assert (answer.images, answer.gradient_images) == (E * O * BATCH, 0)


def test_it_is_dartspt_in_another_order() -> None:
    """Where the entropies happen to rise with the edges, it is DARTS-PT in ascending order without training.

    All images in one batch, without crops, so that both measure on the same ones whatever they draw.
    """
    trained, data = toy_trained(torch.float64), toy_data()
    p = torch.stack([(torch.arange(O, dtype=torch.float64) * (6 - e)).softmax(-1) for e in range(E)])
    trained.searcher.mixture = lambda: p  # type: ignore[method-assign]  # rising entropy
    assert (np.diff(edge_entropies(p)) > 0).all()
    valid = replace(data.valid, padded=data.valid.images, padding=0, flip=False)
    plain = SelectionData(train=data.train, valid=valid, batch_size=len(valid))
    ours = EdgeEntropy(Config(criterion="loss")).select(trained, plain, stream(0))
    pt = perturbation.Perturbation(perturbation.Config(criterion="loss", interval=0, edge_order="ascending"))
    theirs = pt.select(trained, plain, stream(0))
    assert ours.cell == theirs.cell
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-9)


def test_wrong_options_are_refused() -> None:
    """A number or a word out of range is quoted."""
    for options, told in (
        ({"batches": 0}, "batches is at least 1; got 0"),
        ({"first": "sure"}, "unknown first 'sure'"),
        ({"criterion": "acc"}, "unknown criterion 'acc'"),
        ({"norm": "train"}, "unknown norm 'train'"),
    ):
        with pytest.raises(InputError, match=told):
            Config(**options)  # type: ignore[arg-type]  # the claim
