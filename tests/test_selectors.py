from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.ground_truth import GroundTruth, Metric, Provenance
from dartboard.benchmark.images import ImageSplit
from dartboard.benchmark.reference import ReferenceSupernet
from dartboard.benchmark.space import CONV3X3, NONE, SPACE_SIZE, Cell, E, O, operations_of
from dartboard.harness.grid import Method
from dartboard.harness.prepare import prepare_selector
from dartboard.harness.toys import toy_images, toy_trained
from dartboard.searchers.darts_v1 import DartsV1
from dartboard.selectors import leave_one_out, magnitude, oracle, prior, uniform
from dartboard.selectors._catalogue import SELECTORS
from dartboard.selectors._evaluation import score_mixtures
from dartboard.selectors.leave_one_out import LeaveOneOut
from dartboard.selectors.magnitude import Magnitude
from dartboard.selectors.oracle import Oracle
from dartboard.selectors.prior import Prior
from dartboard.selectors.uniform import Uniform

IMAGES = 12


def data(batch_size: int = IMAGES) -> SelectionData:
    """Toy images that no crop and no flip changes, float64; by default all in one batch."""
    halves = []
    for half in ("train", "valid"):
        split = toy_images(half, count=IMAGES, dtype=torch.float64)
        halves.append(ImageSplit.of(split.images, split.labels, num_classes=split.num_classes, dtype=torch.float64))
    return SelectionData(train=halves[0], valid=halves[1], batch_size=batch_size)


def with_mixture(mixture: NDArray[np.float64]) -> TrainedSupernet:
    """A trained supernet with this mixture (E, O)."""
    trained = toy_trained(torch.float64)
    return TrainedSupernet(searcher=trained.searcher, mixture=mixture, trajectory=mixture[None])


def leave_out(trained: TrainedSupernet, **fields: Any) -> Selection:
    """What leave-one-out answers."""
    return LeaveOneOut(leave_one_out.Config(**fields)).select(trained, data(), torch.Generator())


def brute_force(trained: TrainedSupernet, *, criterion: str, renormalise: bool, norm: Any) -> NDArray[np.float64]:
    """(E, O): the score of each mask, evaluated one by one by the readable supernet."""
    network = ReferenceSupernet(trained.supernet)
    ((images, labels),) = data().valid.in_order(IMAGES)
    scores = np.zeros((E, O))
    for edge, operation in np.ndindex(E, O):
        mixture = torch.from_numpy(trained.mixture.copy())
        mixture[edge, operation] = 0
        if renormalise:
            mixture[edge] /= mixture[edge].sum()
        with torch.no_grad():
            log_p = torch.log_softmax(network(images, mixture, norm), -1)
        hits = int((log_p.argmax(-1) == labels).sum())
        loss = -float(log_p[range(IMAGES), labels].mean())
        scores[edge, operation] = -100 * hits / IMAGES if criterion == "accuracy" else loss
    return scores


@pytest.mark.parametrize("criterion", ["accuracy", "loss"])
@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize("norm", ["batch", "running"])
def test_leave_one_out_equals_brute_force(criterion: Any, renormalise: bool, norm: Any) -> None:
    """In float64 all 30 scores are those of the masks evaluated by hand, and each edge keeps its first best."""
    trained = toy_trained(torch.float64)
    answer = leave_out(trained, criterion=criterion, renormalise=renormalise, norm=norm)
    expected = brute_force(trained, criterion=criterion, renormalise=renormalise, norm=norm)
    assert answer.scores is not None
    np.testing.assert_allclose(answer.scores, expected, rtol=1e-9, atol=1e-12)
    best = [max(range(O), key=lambda o, row=row: (row[o], -o)) for row in expected]  # type: ignore[misc]  # a lambda
    assert list(answer.cell.operations) == best
    assert (answer.images, answer.gradient_images) == (E * O * IMAGES, 0)


def test_leave_one_out_uses_each_cells_own_mixture() -> None:
    """Where the searcher has weights for each cell, the mask is laid on all cells at once."""
    trained = toy_trained(torch.float64)
    searcher = trained.searcher
    assert isinstance(searcher, DartsV1)
    own = torch.rand(3, E, O, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).softmax(-1)
    searcher.mixture = lambda: own  # type: ignore[method-assign]  # a searcher with weights for each cell
    answer = leave_out(trained, criterion="loss")
    network = ReferenceSupernet(trained.supernet)
    ((images, labels),) = data().valid.in_order(IMAGES)
    masked = own.clone()
    masked[:, 4, 3] = 0
    with torch.no_grad():
        loss = -float(torch.log_softmax(network(images, masked, "batch"), -1)[range(IMAGES), labels].mean())
    assert answer.scores is not None
    assert answer.scores[4, 3] == pytest.approx(loss, rel=1e-9)


def test_leave_one_out_can_leave_none_out_of_the_choice() -> None:
    """With `exclude_none` the scores stay and the best of the four others is kept."""
    trained = toy_trained(torch.float64)
    free, bound = (leave_out(trained, exclude_none=exclude) for exclude in (False, True))
    assert free.scores is not None
    assert bound.scores is not None
    assert np.array_equal(free.scores, bound.scores)
    assert list(bound.cell.operations) == (1 + bound.scores[:, 1:].argmax(axis=1)).tolist()
    assert NONE in free.cell.operations  # so that the option is seen to do something


def test_leave_one_out_counts_its_batches() -> None:
    """`batches=1` of batches of five shows five images to each of the 30 masks."""
    answer = LeaveOneOut(leave_one_out.Config(batches=1)).select(toy_trained(torch.float64), data(5), torch.Generator())
    assert answer.images == E * O * 5


def test_score_mixtures_weighs_each_image_the_same() -> None:
    """Batches of 5, 5 and 2 images come to the accuracy and loss of all twelve at once, by the running statistics."""
    trained = toy_trained(torch.float64)
    mixtures = torch.from_numpy(np.stack([trained.mixture, np.full((E, O), 0.2)]))
    parts = score_mixtures(trained.supernet, mixtures, data().valid.in_order(5), "running")
    at_once = score_mixtures(trained.supernet, mixtures, data().valid.in_order(IMAGES), "running")
    np.testing.assert_allclose(parts.accuracy, at_once.accuracy, rtol=1e-12)
    np.testing.assert_allclose(parts.loss, at_once.loss, rtol=1e-12)
    assert parts.images == at_once.images == 2 * IMAGES


def test_score_mixtures_refuses_what_would_mislead() -> None:
    """Training the statistics, no image at all, and NaN logits, whose accuracy would look like any other."""
    trained = toy_trained(torch.float64)
    mixtures = torch.from_numpy(trained.mixture)[None]
    with pytest.raises(ValueError, match="must not train the running statistics"):
        score_mixtures(trained.supernet, mixtures, data().valid.in_order(5), "train")
    with pytest.raises(ValueError, match="there is no image"):
        score_mixtures(trained.supernet, mixtures, iter(()), "batch")
    both = torch.cat([mixtures, mixtures * np.nan])
    with pytest.raises(ValueError, match="1 of 2 mixtures have a NaN loss"):
        score_mixtures(trained.supernet, both, data().valid.in_order(5), "batch")


def test_magnitude_keeps_the_largest_weight() -> None:
    """The argmax of each row, the first where two are equal; the scores are the weights themselves."""
    mixture = np.full((E, O), 0.2)
    mixture[1] = [0.1, 0.1, 0.1, 0.6, 0.1]
    mixture[2] = [0.4, 0.3, 0.1, 0.1, 0.1]
    mixture[3] = [0.0, 0.1, 0.4, 0.1, 0.4]
    answer = Magnitude(magnitude.Config()).select(with_mixture(mixture), data(), torch.Generator())
    assert answer.cell.operations == (0, 3, 0, 2, 0, 0)
    assert answer.scores is not None
    assert np.array_equal(answer.scores, mixture)
    assert (answer.images, answer.gradient_images) == (0, 0)


def test_magnitude_without_none_keeps_the_largest_of_the_rest() -> None:
    """`magnitude-no-none` of the catalogue takes `none` out of the choice and leaves the supernet's mixture alone."""
    entry = SELECTORS["magnitude-no-none"]
    selector = prepare_selector(Method(label=entry.name, entry=entry, options=entry.options))
    mixture = np.tile([0.4, 0.1, 0.1, 0.3, 0.1], (E, 1))
    trained = with_mixture(mixture)
    answer = selector.select(trained, data(), torch.Generator())  # type: ignore[union-attr]  # it is no yardstick
    assert answer.cell.operations == (CONV3X3,) * E
    assert trained.mixture[0, NONE] == 0.4


def test_prior_answers_six_convolutions_and_its_order() -> None:
    """The constant order none < pool < skip < 1x1 < 3x3 answers the cell of six 3x3, whatever the supernet."""
    answer = Prior(prior.Config()).select(toy_trained(), data(), torch.Generator())
    assert str(answer.cell) == (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    )
    assert answer.scores is not None
    assert answer.scores.argsort(axis=1).tolist() == [[0, 4, 1, 2, 3]] * E


@pytest.mark.shared_data
def test_the_prior_agrees_with_the_official_table(shared_data: Path) -> None:
    """With the mean CIFAR-10 accuracy of the cells with an operation on an edge: Spearman 0.95, averaged over edges."""
    import pandas as pd

    from dartboard.benchmark.tables.columns import read_columns

    truth, _ = read_columns(shared_data / "nb201_official.csv.gz")
    accuracy = truth.accuracy[Metric("cifar10", "test", 200)]
    operations = operations_of(np.arange(SPACE_SIZE))  # (15625, E)
    means = np.array([[accuracy[operations[:, e] == o].mean() for o in range(O)] for e in range(E)])
    scores = Prior(prior.Config()).select(toy_trained(), data(), torch.Generator()).scores
    assert scores is not None
    by_edge = [pd.Series(s).corr(pd.Series(m), method="spearman") for s, m in zip(scores, means, strict=True)]
    assert np.mean(by_edge) == pytest.approx(0.95, abs=1e-9)


def test_random_is_uniform_over_the_space() -> None:
    """4,000 cells: each edge's operations fit 1/5 (chi-square below the 99.9 % point, 51.2 at 24 degrees in all)."""
    generator = torch.Generator().manual_seed(0)
    trained, images = toy_trained(), data()
    drawn = [Uniform(uniform.Config()).select(trained, images, generator).cell for _ in range(4000)]
    operations = np.array([cell.operations for cell in drawn])
    counts = np.array([[(operations[:, e] == o).sum() for o in range(O)] for e in range(E)])
    assert ((counts - 800) ** 2 / 800).sum() < 51.2
    # Independent edges: 4,000 draws with replacement from 15,625 are 3,529.0 different ones on average, ±19.
    assert len(set(drawn)) == pytest.approx(3529, abs=80)


def table(**columns: NDArray[np.float64]) -> GroundTruth:
    """A made-up table with these test columns at 200 epochs."""
    provenance = Provenance(
        name="toy", title="toy", source="toy", version="0", licence="", sha256="", aggregation="", official=False
    )
    accuracy = {Metric(dataset, "test", 200): column for dataset, column in columns.items()}
    return GroundTruth(provenance=provenance, accuracy=accuracy)


def test_the_oracle_is_the_best_cell_of_the_metric_asked_for() -> None:
    """Over the whole table no cell is better by that metric, whatever another one says."""
    generator = np.random.default_rng(0)
    truth = table(cifar10=100 * generator.random(SPACE_SIZE), cifar100=100 * generator.random(SPACE_SIZE))
    chosen = set()
    for dataset in ("cifar10", "cifar100"):
        metric = Metric(dataset, "test", 200)
        answer = Oracle(oracle.Config()).choose(truth, metric)
        best = max(range(SPACE_SIZE), key=lambda number: float(truth.accuracy[metric][number]))
        assert answer.cell == Cell.from_number(best)
        assert truth.regret(answer.cell, metric) == 0
        assert answer.notes == {"metric": f"{dataset}/test/200"}
        chosen.add(answer.cell)
    assert len(chosen) == 2


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("leave-one-out", {"batches": 0}, "selector mine: batches is at least 1; got 0"),
        ("leave-one-out", {"criterion": "los"}, "selector mine: unknown criterion 'los'; did you mean 'loss'?"),
        ("leave-one-out", {"norm": "train"}, "selector mine: unknown norm 'train'"),
        (
            "magnitude",
            {"exclude_nothing": True},
            "unknown option of the selector 'mine' 'exclude_nothing'; did you mean",
        ),
        ("prior", {"seed": 3}, "the selector 'mine' has no options; got 'seed'"),
    ],
)
def test_options_that_do_not_fit_a_selector_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    """An unknown option, an unknown value and a figure out of range are told with the method's label."""
    with pytest.raises(InputError) as refused:
        prepare_selector(Method(label="mine", entry=SELECTORS[name], options=options))
    assert message in str(refused.value)
