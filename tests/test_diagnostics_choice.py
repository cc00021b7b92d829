"""What the argmax cell loses, and how inherited weights rank cells: against passes of their own and scipy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from dartboard.benchmark.space import SPACE_SIZE, Cell, E, O
from dartboard.harness.diagnostics import rank_correlation
from dartboard.harness.diagnostics._subject import Subject
from dartboard.harness.diagnostics._toys import measured, toy_subject, toy_truth
from dartboard.harness.doubles import Interrupted, MemoryJournal
from dartboard.harness.toys import BATCH


def accuracy(network: Any, p: Tensor, of: Subject) -> float:
    """Percent of the validation half, batch norm by the batch."""
    right = 0
    with torch.no_grad():
        for images, labels in of.data.valid.in_order(BATCH):
            right += int((network(images, p, "batch").argmax(-1) == labels).sum())
    return 100 * right / len(of.data.valid)


def test_the_gap_is_the_difference_of_two_accuracies() -> None:
    """Mixture and cell against passes of their own; each gap is the difference that its name says."""
    of = toy_subject()
    values = measured("discretisation-gap", of).values
    cell = Cell.from_scores(of.trained.mixture)
    assert values["cell"] == str(cell)
    network = of.trained.supernet
    assert values["accuracy_mixture"] == pytest.approx(accuracy(network, of.mixture(), of))
    assert values["accuracy_cell"] == pytest.approx(accuracy(network, torch.from_numpy(cell.one_hot()), of))
    assert values["gap"] == values["accuracy_mixture"] - values["accuracy_cell"]
    assert values["tied"] == 0
    for name in ("re_estimated", "tuned_1", "tuned_2"):
        assert values[f"gap_{name}"] == values["accuracy_mixture"] - values[f"accuracy_{name}"]


def test_ties_are_counted() -> None:
    """A uniform mixture has no argmax on any edge."""
    of = toy_subject()
    uniform = np.full((E, O), 1 / O)
    assert measured("discretisation-gap", replace(of, trained=replace(of.trained, mixture=uniform))).values["tied"] == E


def test_a_mixture_that_is_a_cell_has_no_gap() -> None:
    """Where all but one operation of each edge have next to no weight, nothing is lost by discretising it."""
    of = toy_subject()
    one_hot = Cell((3, 1, 2, 3, 4, 1)).one_hot()
    with torch.no_grad():
        of.trained.searcher.alpha.copy_(torch.from_numpy(100 * one_hot))  # type: ignore[attr-defined]  # DARTS has it
    values = measured("discretisation-gap", replace(of, trained=replace(of.trained, mixture=one_hot))).values
    assert values["gap"] == 0
    assert values["loss_mixture"] == pytest.approx(values["loss_cell"], abs=1e-12)


def test_tuning_lowers_the_training_loss_of_the_cell() -> None:
    """At a larger rate and with more epochs the cell fits better than before it was tuned."""
    of = toy_subject()
    same = replace(of, data=replace(of.data, valid=of.data.train))
    values = measured("discretisation-gap", same, epochs=20, learning_rate=0.05).values
    assert values["loss_tuned_20"] < values["loss_cell"]


@pytest.mark.parametrize("stop", [1, 2])
def test_an_interrupted_tuning_goes_on(stop: int) -> None:
    """Stopped after an epoch and begun again, it ends in the same values and the same cost."""
    of = toy_subject()
    whole = measured("discretisation-gap", of, epochs=3)
    halting = replace(of, data=replace(of.data, journal=MemoryJournal(stop)))
    with pytest.raises(Interrupted):
        measured("discretisation-gap", halting, epochs=3)
    assert measured("discretisation-gap", halting, epochs=3) == whole


@pytest.mark.parametrize("digits", [6, 1])
def test_correlations_are_scipys(digits: int) -> None:
    """Spearman's and Kendall's correlations with and without equals are those of an independent library."""
    rng = np.random.default_rng(digits)
    a, b = rng.normal(size=40).round(digits), rng.normal(size=40).round(digits)
    assert rank_correlation.spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
    assert rank_correlation.kendall(a, b) == pytest.approx(stats.kendalltau(a, b).statistic, abs=1e-12)
    np.testing.assert_allclose(rank_correlation.ranks(a), stats.rankdata(a))
    assert rank_correlation.kendall(a, np.zeros(40)) is None
    assert rank_correlation.spearman(np.zeros(40), b) is None


def test_the_sparse_correlation_passes_over_small_differences() -> None:
    """By hand: of three cells two have the same accuracy to 0.1, so that two pairs count, one right and one wrong."""
    true = np.array([90.01, 90.03, 91.0])
    assert rank_correlation.sparse_kendall(np.array([1.0, 3.0, 2.0]), true) == 0
    assert rank_correlation.sparse_kendall(np.array([2.0, 1.0, 3.0]), true) == 1
    assert rank_correlation.sparse_kendall(np.array([1.0, 2.0]), np.array([90.01, 90.02])) is None
    assert rank_correlation.kendall(np.array([2.0, 1.0, 3.0]), true) == pytest.approx(1 / 3)


def test_the_sample_has_one_cell_of_each_part_of_the_table() -> None:
    """Of 125 parts of 125 cells each has one, ascending by truth; it is the same whenever it is drawn."""
    metric = toy_truth().default_metric()
    sample = rank_correlation.stratified_sample(toy_truth(), metric, 125)
    order = np.argsort(toy_truth().accuracy[metric], kind="stable")
    place = np.empty(SPACE_SIZE, dtype=int)
    place[order] = np.arange(SPACE_SIZE)
    assert (place[sample] // 125).tolist() == list(range(125))
    np.testing.assert_array_equal(sample, rank_correlation.stratified_sample(toy_truth(), metric, 125))
    assert sorted(rank_correlation.stratified_sample(toy_truth(), metric, SPACE_SIZE)) == list(range(SPACE_SIZE))


def test_inherited_accuracies_are_those_of_one_hot_mixtures() -> None:
    """Each against a pass of its own, with the truth of its number; perfect weights rank perfectly."""
    of = toy_subject()
    values = measured("rank-correlation", of, cells=6, images=10).values
    batches = of.batches(of.data.valid, 10, "valid")
    for index, number in enumerate(values["numbers"]):
        one_hot = torch.from_numpy(Cell.from_number(number).one_hot())
        with torch.no_grad():
            right = sum(int((of.trained.supernet(x, one_hot, "batch").argmax(-1) == y).sum()) for x, y in batches)
        assert values["inherited_accuracy"][index] == pytest.approx(10.0 * right)
        assert values["true_accuracy"][index] == toy_truth().lookup(Cell.from_number(number), of.metric)
    perfect = rank_correlation.compare(values["true_accuracy"], values["true_accuracy"])
    assert perfect["spearman"] == pytest.approx(1)
    assert perfect["kendall"] == perfect["sparse_kendall"] == pytest.approx(1)
    assert perfect["regret"] == 0
    assert rank_correlation.compare(-values["true_accuracy"], values["true_accuracy"])["spearman"] == pytest.approx(-1)
