"""SGAS: its three measures in closed form, its order of edges, its training."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pytest
import torch

from dartboard.benchmark.contracts import SelectionData
from dartboard.benchmark.epochs import steps_of_epoch
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import NONE, OPERATIONS, SKIP, E, O
from dartboard.benchmark.streams import derive, split_off, stream
from dartboard.harness.toys import toy_images, toy_trained
from dartboard.selectors import magnitude
from dartboard.selectors._tuning import Projected
from dartboard.selectors.sgas import Config, Sgas, certainty, scaled, stability, without_none


def toy_data() -> SelectionData:
    """The toy images in double precision."""
    train, valid = (toy_images(half, dtype=torch.float64) for half in ("train", "valid"))
    return SelectionData(train=train, valid=valid, batch_size=6)


def test_measures_in_closed_form() -> None:
    """Shares without `none`; entropy of one-hot, uniform and two equal shares; the overlap of two histograms."""
    np.testing.assert_allclose(without_none(np.array([0.5, 0.25, 0.125, 0.125, 0])), [0.5, 0.25, 0.25, 0])
    shares = np.array([[1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(certainty(shares), [1, 0, 1 - log(2) / log(4)], atol=1e-15)
    past = np.stack([shares, shares[::-1]])  # overlap with itself 1; of first and last 0.5; of the middle 1
    np.testing.assert_allclose(stability(shares, past), [0.75, 1, 0.75])
    np.testing.assert_array_equal(stability(shares, past[:0]), [1, 1, 1])
    np.testing.assert_allclose(scaled(np.array([2.0, 4.0, 3.0])), [0, 1, 0.5])
    np.testing.assert_array_equal(scaled(np.array([2.0, 2.0])), [0, 0])


@pytest.mark.parametrize("criterion", ["1", "2"])
def test_without_training_it_is_magnitude(criterion: Any) -> None:
    """With no training between, the cell is that of magnitude without `none`, and nothing is pushed."""
    trained = toy_trained(torch.float64)
    answer = Sgas(Config(interval=0, criterion=criterion)).select(trained, toy_data(), stream(0))
    plain = magnitude.Magnitude(magnitude.Config(exclude_none=True)).select(trained, toy_data(), stream(0))
    assert answer.cell == plain.cell
    assert NONE not in answer.cell.operations
    assert (answer.images, answer.gradient_images) == (0, 0)
    assert sorted(entry["edge"] for entry in answer.trace) == list(range(E))


@pytest.mark.parametrize("criterion", ["1", "2"])
def test_the_order_of_edges(criterion: Any) -> None:
    """The first edge has the largest product of measures, each scaled over all edges; the next, over the rest."""
    trained = toy_trained(torch.float64)
    answer = Sgas(Config(interval=0, criterion=criterion, history=1)).select(trained, toy_data(), stream(0))
    p, before = trained.mixture, trained.trajectory[-2]
    left = list(range(E))
    for entry in answer.trace:
        worth = {}
        measures = []
        for e in left:
            q, past = p[e, 1:] / p[e, 1:].sum(), before[e, 1:] / before[e, 1:].sum()
            entropy = -sum(x * log(x) for x in q)
            row = [1 - p[e, 0], 1 - entropy / log(4)]
            measures.append(row + ([sum(min(a, b) for a, b in zip(q, past, strict=True))] if criterion == "2" else []))
        columns = list(zip(*measures, strict=True))
        for place, e in enumerate(left):
            worth[e] = 1.0
            for column in columns:
                span = max(column) - min(column)
                worth[e] *= (column[place] - min(column)) / span if span else 0
        assert entry["edge"] == max(left, key=worth.__getitem__)
        assert entry["operation"] == OPERATIONS[1 + int(p[entry["edge"], 1:].argmax())]
        left.remove(entry["edge"])


def test_training_between_decisions() -> None:
    """After each decision but the last, the search's own step trains for `interval` epochs under the settled edges."""
    trained, data = toy_trained(torch.float64), toy_data()
    answer = Sgas(Config(interval=2, learning_rate=0.01)).select(trained, data, stream(5))
    seed = derive(split_off(stream(5)), "tune")
    searcher: Any = copy.deepcopy(trained.searcher)
    searcher.restart_weight_optimizer(0.01)
    searcher.supernet = network = Projected(searcher.supernet)
    images, epoch = 0, len(trained.trajectory)
    for entry in answer.trace:
        rows = searcher.mixture().detach().numpy()
        assert answer.scores is not None
        np.testing.assert_array_equal(answer.scores[entry["edge"]], rows[entry["edge"]])
        network.settle(entry["edge"], OPERATIONS.index(entry["operation"]))
        for _ in range(2 if entry is not answer.trace[-1] else 0):
            protocol = searcher.config.protocol
            steps = steps_of_epoch(searcher, data.train, data.valid, protocol, epoch=epoch, seed=seed)
            images += sum(step.images for step in steps)
            epoch += 1
    assert answer.images == answer.gradient_images == images > 0
    assert answer.cell.operations == tuple(network.one_hot.argmax(1).tolist())


def test_an_edge_with_nothing_but_none() -> None:
    """Where `none` has all the weight there are no shares of the others: the edge comes last, and nothing is NaN.

    A sparse mixture (ISTA-NAS) has such rows; the other edges keep their largest weight, the certain ones first.
    """
    rows = torch.eye(O, dtype=torch.float64)[[NONE] * E]
    for edge in range(1, E):
        rows[edge] = torch.tensor([0.1, 0.5 + edge / 50, 0.1, 0.1, 0.2 - edge / 50], dtype=torch.float64)
    np.testing.assert_array_equal(without_none(rows.numpy())[0], [0.25] * 4)
    trained = toy_trained(torch.float64)
    trained.searcher.mixture = lambda: rows  # type: ignore[method-assign]  # a searcher beyond softmax
    trained = replace(trained, mixture=rows.numpy(), trajectory=rows.numpy()[None].repeat(3, 0))
    for criterion in ("1", "2"):
        answer = Sgas(Config(interval=0, criterion=criterion)).select(trained, toy_data(), stream(0))
        assert answer.trace[-1]["edge"] == 0 or criterion == "2"  # there, all edges are equally stable: all worth 0
        assert answer.cell.operations[1:] == (SKIP,) * (E - 1)
        json.dumps(answer.trace, allow_nan=False)


def test_wrong_options_are_refused() -> None:
    """A number or a word out of range is quoted."""
    with pytest.raises(InputError, match="interval is at least 0; got -1"):
        Config(interval=-1)
    with pytest.raises(InputError, match="history is at least 1; got 0"):
        Config(history=0)
    with pytest.raises(InputError, match="unknown criterion '3'"):
        Config(criterion="3")  # type: ignore[arg-type]  # the claim
