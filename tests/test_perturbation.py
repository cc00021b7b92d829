from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.images import ImageSplit
from dartboard.benchmark.reference import Network, ReferenceSupernet
from dartboard.benchmark.space import NONE, OPERATIONS, E, O
from dartboard.harness.checkpoints import FileJournal
from dartboard.harness.toys import OPTIONS, toy_images, toy_supernet, toy_trained
from dartboard.searchers._training import resolve_protocol
from dartboard.searchers.darts_v1 import Config as DartsConfig
from dartboard.searchers.darts_v1 import DartsV1
from dartboard.selectors._evaluation import without_each
from dartboard.selectors._tuning import Projected
from dartboard.selectors.perturbation import Config, Perturbation, projection_epochs

IMAGES = 12


def plain(half: str) -> ImageSplit:
    """Toy images that no crop and no flip changes, float64."""
    split = toy_images(half, count=IMAGES, dtype=torch.float64)
    return ImageSplit.of(split.images, split.labels, num_classes=split.num_classes, dtype=torch.float64)


def whole(split: ImageSplit) -> tuple[Tensor, Tensor]:
    """All images of a split and their labels."""
    ((images, labels),) = split.in_order(len(split))
    return images, labels


def select(trained: TrainedSupernet | None = None, *, seed: int = 0, **fields: Any) -> Selection:
    """What the criterion answers; all validation images are one batch, the same for batch norm in any order."""
    data = SelectionData(train=plain("train"), valid=plain("valid"), batch_size=IMAGES)
    trained = trained or toy_trained(torch.float64)
    return Perturbation(Config(**fields)).select(trained, data, torch.Generator().manual_seed(seed))


def masked(mixture: Tensor, edge: int, operation: int, *, renormalise: bool) -> Tensor:
    """A copy of `mixture` without one operation, entry by entry."""
    result = mixture.clone()
    result[edge, operation] = 0
    if renormalise:
        for o in range(O):
            result[edge, o] = result[edge, o] / (1 - mixture[edge, operation])
    return result


def by_hand(order: list[int], *, criterion: str, renormalise: bool, exclude_none: bool) -> tuple[list[int], Any]:
    """The projection without training, by the readable supernet: operations by edge, and the scores of each turn."""
    trained = toy_trained(torch.float64)
    network = ReferenceSupernet(trained.supernet)
    images, labels = whole(plain("valid"))
    mixture = torch.from_numpy(trained.mixture)
    scores: NDArray[np.float64] = np.zeros((E, O))
    for edge in order:
        for operation in range(O):
            with torch.no_grad():
                logits = network(images, masked(mixture, edge, operation, renormalise=renormalise), "batch")
            hits = int((logits.argmax(-1) == labels).sum())
            loss = -float(torch.log_softmax(logits, -1)[range(IMAGES), labels].sum()) / IMAGES
            scores[edge, operation] = -100 * hits / IMAGES if criterion == "accuracy" else loss
        candidates = list(range(1, O)) if exclude_none else list(range(O))
        kept = max(candidates, key=lambda o: (scores[edge, o], -o))
        mixture[edge] = torch.eye(O, dtype=torch.float64)[kept]
    return [int(row.argmax()) for row in mixture], scores


@pytest.mark.parametrize("criterion", ["accuracy", "loss"])
@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize("exclude_none", [False, True])
def test_projection_without_training_equals_brute_force(criterion: Any, renormalise: bool, exclude_none: bool) -> None:
    """With interval 0, cell, order of decisions and scores are those of masks evaluated one by one by hand."""
    answer = select(
        interval=0, edge_order="ascending", criterion=criterion, renormalise=renormalise, exclude_none=exclude_none
    )
    operations, scores = by_hand(
        list(range(E)), criterion=criterion, renormalise=renormalise, exclude_none=exclude_none
    )
    assert list(answer.cell.operations) == operations
    assert answer.scores is not None
    np.testing.assert_allclose(answer.scores, scores, rtol=1e-9, atol=1e-12)
    assert [entry["edge"] for entry in answer.trace] == list(range(E))
    assert [entry["operation"] for entry in answer.trace] == [OPERATIONS[o] for o in operations]
    assert (answer.images, answer.gradient_images) == ((E * O + 1) * IMAGES, 0)


def test_a_random_order_settles_edges_in_the_order_of_its_trace() -> None:
    """In whichever order the edges come, each is judged with those before it settled."""
    answer = select(interval=0, criterion="loss", seed=4)
    order = [entry["edge"] for entry in answer.trace]
    assert sorted(order) == list(range(E))
    assert order != list(range(E))
    operations, scores = by_hand(order, criterion="loss", renormalise=False, exclude_none=False)
    assert list(answer.cell.operations) == operations
    assert answer.scores is not None
    np.testing.assert_allclose(answer.scores, scores, rtol=1e-9, atol=1e-12)


def test_every_edge_comes_first_equally_often() -> None:
    """Over 120 generators the first edges fit a uniform draw: chi-square below 20.5, its 99.9 % point (5 degrees)."""
    trained = toy_trained(torch.float64)
    firsts = [select(trained, interval=0, criterion="magnitude", seed=seed).trace[0]["edge"] for seed in range(120)]
    assert sum((firsts.count(edge) - 20) ** 2 / 20 for edge in range(E)) < 20.5


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (5, {0: 1, 5: 1, 10: 1, 15: 1, 20: 1, 24: 1}),  # the published 25 epochs
        (1, {0: 1, 1: 1, 2: 1, 3: 1, 4: 2}),
        (2, {0: 1, 2: 1, 4: 1, 6: 1, 8: 1, 9: 1}),
        (0, {0: 6}),
    ],
)
def test_the_epochs_of_projection(interval: int, expected: dict[int, int]) -> None:
    """Projections come before the epochs 0, 5, 10, 15, 20 and 24 for interval 5, six in all for any interval."""
    assert projection_epochs(interval) == expected
    assert sum(projection_epochs(interval).values()) == E


class Recorded(DartsV1):
    """First-order DARTS that writes down what its epochs were begun with."""

    begun: ClassVar[list[tuple[int, float, bool]]] = []  # epoch, rate of the weights, whether momentum was fresh

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:  # noqa: D102
        super().begin_epoch(epoch, generator)
        self.begun.append((epoch, self.weights.learning_rate, not self.weights.sgd.state))


def recorded() -> TrainedSupernet:
    """A supernet of two epochs, untrained."""
    protocol, _ = resolve_protocol(OPTIONS, {})
    searcher = Recorded(
        toy_supernet(dtype=torch.float64), DartsConfig(protocol=protocol), generator=torch.Generator().manual_seed(0)
    )
    mixture = searcher.mixture().detach().numpy()
    return TrainedSupernet(searcher=searcher, mixture=mixture, trajectory=np.stack([mixture] * 2))


def test_the_published_procedure_trains_25_epochs_at_a_small_constant_rate() -> None:
    """Projections in epochs 0, 5, 10, 15, 20, 24; 25 epochs, counted on from the search, at 0.0025, momentum fresh."""
    Recorded.begun.clear()
    told: list[tuple[int, int]] = []
    data = SelectionData(
        train=plain("train"),
        valid=plain("valid"),
        batch_size=6,
        progress=lambda done, total: told.append((done, total)),
    )
    answer = Perturbation(Config()).select(recorded(), data, torch.Generator().manual_seed(0))
    assert [entry["epoch"] for entry in answer.trace] == [0, 5, 10, 15, 20, 24]
    assert [epoch for epoch, _, _ in Recorded.begun] == list(range(2, 27))
    assert {rate for _, rate, _ in Recorded.begun} == {0.0025}
    assert [fresh for _, _, fresh in Recorded.begun] == [True] + 24 * [False]
    assert told == [(done, 25) for done in range(1, 26)]
    # 6 x 5 masks and the final network see all validation images once; each epoch, both halves.
    assert answer.gradient_images == 25 * 2 * IMAGES
    assert answer.images == (6 * 5 + 1) * IMAGES + 25 * 2 * IMAGES


def test_settled_rows_are_one_hot_with_a_gradient_of_exactly_zero() -> None:
    """Of shared and of each cell's own mixing weights alike, the settled rows are overwritten and the rest pass."""
    network = Projected(toy_supernet(dtype=torch.float64))
    network.settle(2, 3)
    network.settle(3, NONE)
    images, labels = whole(plain("valid"))
    for shape in ((E, O), (3, E, O)):
        mixture = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
        projected = network.project(mixture)
        one_hot = torch.eye(O, dtype=torch.float64)[[3, NONE]]
        assert torch.equal(projected[..., [2, 3], :], one_hot.expand((*shape[:-2], 2, O)))
        free = [0, 1, 4, 5]
        assert torch.equal(projected[..., free, :], mixture[..., free, :])
        (gradient,) = torch.autograd.grad(F.cross_entropy(network(images, mixture), labels), mixture)
        assert torch.equal(gradient[..., [2, 3], :], torch.zeros((*shape[:-2], 2, O), dtype=torch.float64))
        assert bool((gradient[..., free, 1:] != 0).all())


@pytest.mark.parametrize("cells", [(), (3,)])
def test_a_mask_takes_its_weight_and_no_more(cells: tuple[int, ...]) -> None:
    """Zeroed, a row keeps the mass 1 - p_o; renormalised, the mass 1 in the old proportions; other rows stay."""
    generator = torch.Generator().manual_seed(0)
    mixture = torch.randn((*cells, E, O), dtype=torch.float64, generator=generator).softmax(-1)
    zeroed, scaled = (without_each(mixture, 4, renormalise=renormalise) for renormalise in (False, True))
    assert zeroed.shape == scaled.shape == (O, *cells, E, O)
    for o in range(O):
        torch.testing.assert_close(zeroed[o, ..., 4, :].sum(-1), 1 - mixture[..., 4, o], rtol=1e-14, atol=1e-15)
        torch.testing.assert_close(scaled[o, ..., 4, :].sum(-1), torch.ones(cells).double(), rtol=1e-14, atol=1e-15)
        others = [k for k in range(O) if k != o]
        assert torch.equal(zeroed[o, ..., 4, others], mixture[..., 4, others])
        factor = 1 / (1 - mixture[..., 4, o : o + 1])
        torch.testing.assert_close(scaled[o, ..., 4, others], mixture[..., 4, others] * factor, rtol=1e-14, atol=1e-15)
        for masks in (zeroed, scaled):
            assert bool((masks[o, ..., 4, o] == 0).all())
            assert torch.equal(masks[o, ..., [0, 1, 2, 3, 5], :], mixture[..., [0, 1, 2, 3, 5], :])


def test_a_mask_that_leaves_nothing_stays_nothing() -> None:
    """Without its only operation, a row is zero, renormalised or not, and never NaN."""
    mixture = torch.eye(O)[torch.tensor([0, 1, 2, 3, 4, 1])]
    for renormalise in (False, True):
        masks = without_each(mixture, 1, renormalise=renormalise)
        assert torch.equal(masks[1][1], torch.zeros(O))
        assert torch.equal(masks[2], mixture)


@pytest.mark.parametrize("same_batches", [True, False])
def test_the_masks_of_an_edge_see_the_same_images(same_batches: bool) -> None:
    """With `same_batches` five masks see the same crops, batch for batch; without, crops of their own each."""
    trained = toy_trained(watched=True)
    seen: list[Tensor] = []
    trained.supernet.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    data = SelectionData(train=toy_images("train"), valid=toy_images("valid", count=12), batch_size=6)
    config = Config(interval=0, same_batches=same_batches)
    Perturbation(config).select(trained, data, torch.Generator().manual_seed(0))
    first_edge = seen[: 2 * O]  # two batches for each mask
    if same_batches:
        passes = [first_edge[:O], first_edge[O:]]
        assert all(torch.equal(images, batch[0]) for batch in passes for images in batch)
        assert not torch.equal(passes[0][0], passes[1][0])
    else:
        assert not any(torch.equal(first_edge[i], first_edge[j]) for i in range(2 * O) for j in range(i))


def test_batches_bounds_the_images_of_a_mask() -> None:
    """`batches=1` shows one batch to each mask; the final network sees all images."""
    data = SelectionData(train=plain("train"), valid=plain("valid"), batch_size=5)
    answer = Perturbation(Config(interval=0, batches=1)).select(toy_trained(torch.float64), data, torch.Generator())
    assert answer.images == E * O * 5 + IMAGES


class Interrupted(FileJournal):
    """A journal on the disk, and a power cut after some entries."""

    left = 0

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep the state; perhaps it is the last thing done."""
        super().save(state)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("criterion", ["accuracy", "magnitude"])
def test_interrupted_after_any_epoch_it_ends_in_the_same_answer(criterion: Any, tmp_path: Path) -> None:
    """Cut off after the first, third or last of its 5 epochs, or after every one, it answers the same bit for bit."""

    def run(journal: FileJournal | None) -> Selection:
        data = SelectionData(train=toy_images("train"), valid=toy_images("valid"), batch_size=6, journal=journal)
        return Perturbation(Config(interval=1, criterion=criterion)).select(
            toy_trained(), data, torch.Generator().manual_seed(3)
        )

    expected = run(None)
    for cuts in ([1], [3], [5], [1, 1, 1, 1, 1]):
        journal = Interrupted(tmp_path / "journal.pt", torch.device("cpu"))
        for journal.left in cuts:
            with pytest.raises(KeyboardInterrupt):
                run(journal)
        found = run(journal)
        for name in ("cell", "trace", "images", "gradient_images", "notes"):
            assert getattr(found, name) == getattr(expected, name), (cuts, name)
        assert found.scores is not None
        assert expected.scores is not None
        assert np.array_equal(found.scores, expected.scores)
        journal.remove()


def test_the_magnitude_criterion_keeps_the_largest_weight() -> None:
    """PT-Mag without training is the argmax of the mixture, with the mixing weights as scores."""
    trained = toy_trained(torch.float64)
    answer = select(trained, interval=0, criterion="magnitude")
    assert list(answer.cell.operations) == trained.mixture.argmax(axis=1).tolist()
    assert answer.scores is not None
    np.testing.assert_allclose(answer.scores, trained.mixture, rtol=1e-12)


def test_the_magnitude_criterion_reads_the_mixture_of_its_own_turn() -> None:
    """Between projections the logits train on: later rows of the scores are no longer the search's."""
    trained = toy_trained(torch.float64)
    answer = select(trained, interval=1, criterion="magnitude", seed=1)
    assert answer.scores is not None
    order = [entry["edge"] for entry in answer.trace]
    np.testing.assert_allclose(answer.scores[order[0]], trained.mixture[order[0]], rtol=1e-12)
    assert np.abs(answer.scores[order[1:]] - trained.mixture[order[1:]]).max(axis=1).min() > 1e-6


def test_none_can_be_left_out() -> None:
    """Where `none` has the largest weight everywhere, `exclude_none` keeps the second largest."""
    trained = toy_trained(torch.float64)
    searcher = trained.searcher
    assert isinstance(searcher, DartsV1)
    with torch.no_grad():
        searcher.alpha[:, NONE] = 10
    assert set(select(trained, interval=0, criterion="magnitude").cell.operations) == {NONE}
    answer = select(trained, interval=0, criterion="magnitude", exclude_none=True)
    assert list(answer.cell.operations) == (1 + searcher.alpha.detach()[:, 1:].argmax(-1)).tolist()


@pytest.mark.parametrize("criterion", ["accuracy", "loss"])
def test_the_first_operation_wins_a_tie(criterion: Any) -> None:
    """With a classifier of zeros no mask changes anything, and every edge keeps operation 0."""
    trained = toy_trained(torch.float64)
    with torch.no_grad():
        trained.supernet.classifier.weight.zero_()
    answer = select(trained, interval=0, criterion=criterion)
    assert answer.cell.operations == (0,) * E
    assert answer.scores is not None
    assert (answer.scores == answer.scores[:, :1]).all()


def test_nan_is_refused_in_one_line() -> None:
    """A mixture of NaN raises `ValueError` naming the edge, a network of NaN one that tells of the loss."""
    trained = toy_trained(torch.float64)
    searcher = trained.searcher
    assert isinstance(searcher, DartsV1)
    with torch.no_grad():
        trained.supernet.stem.weight.fill_(np.nan)
    for criterion in ("accuracy", "loss"):
        with pytest.raises(ValueError, match="5 of 5 mixtures have a NaN loss, which ranks nothing"):
            select(trained, interval=0, criterion=criterion)
    with torch.no_grad():
        searcher.alpha.fill_(np.nan)
    with pytest.raises(ValueError, match="an edge's scores hold NaN or infinity, which rank nothing"):
        select(trained, interval=0, criterion="magnitude")


def test_the_notes_tell_of_the_discrete_network() -> None:
    """The final accuracy and loss are those of the chosen cell's own network with the supernet's weights."""
    trained = toy_trained(torch.float64)
    answer = select(trained, interval=0, criterion="loss")
    images, labels = whole(plain("valid"))
    logits = Network.inherit(trained.supernet, answer.cell)(images, "running").detach()
    hits = int((logits.argmax(-1) == labels).sum())
    assert answer.notes["discrete_valid_accuracy"] == pytest.approx(100 * hits / IMAGES, rel=1e-12)
    assert answer.notes["discrete_valid_loss"] == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-9)


def test_masks_do_not_teach_the_running_statistics() -> None:
    """Whatever the masks see, the weights and statistics at the end of interval 0 are those of the search."""
    trained = toy_trained(torch.float64)
    before = {name: value.clone() for name, value in trained.supernet.state_dict().items()}
    select(trained, interval=0)
    assert all(torch.equal(value, before[name]) for name, value in trained.supernet.state_dict().items())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"interval": -1}, "interval is at least 0; got -1"),
        ({"learning_rate": 0}, "learning_rate is greater than 0; got 0"),
        ({"batches": 0}, "batches is at least 1; got 0"),
        ({"criterion": "acuracy"}, "unknown criterion 'acuracy'; did you mean 'accuracy'?"),
        ({"edge_order": "descending"}, "unknown edge_order 'descending'; did you mean 'ascending'?"),
        ({"norm": "train"}, "unknown norm 'train'"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(fields: dict[str, Any], message: str) -> None:
    """A figure outside its range or an unknown word is refused in one line that quotes it."""
    with pytest.raises(InputError) as refused:
        Config(**fields)
    assert str(refused.value).startswith(message)


def test_the_defaults_are_the_published_figures() -> None:
    """Accuracy, interval 5, rate 0.0025, random order, zeroed masks, batch statistics, `none` allowed, all batches."""
    published = {
        "criterion": "accuracy",
        "interval": 5,
        "learning_rate": 0.0025,
        "edge_order": "random",
        "renormalise": False,
        "same_batches": True,  # the declared difference
        "norm": "batch",
        "exclude_none": False,
        "batches": None,
    }
    assert dataclasses.asdict(Config()) == published
