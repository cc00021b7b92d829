"""One-shot best: whole cells by inherited weights, against the discrete networks themselves."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dartboard.benchmark.contracts import SelectionData
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.layers import BatchNorm
from dartboard.benchmark.reference import Network
from dartboard.benchmark.space import NONE, SPACE_SIZE, Cell, E, O
from dartboard.benchmark.streams import split_off, stream
from dartboard.harness.toys import toy_images, toy_trained
from dartboard.selectors.one_shot_best import Config, OneShotBest, evolve, random_cells, re_estimate

BATCH = 6


def toy_data() -> SelectionData:
    """The toy images in double precision."""
    train, valid = (toy_images(half, dtype=torch.float64) for half in ("train", "valid"))
    return SelectionData(train=train, valid=valid, batch_size=BATCH)


@pytest.mark.parametrize("search", ["random", "evolution"])
def test_values_are_those_of_the_discrete_networks(search: Any) -> None:
    """Each cell's loss is its own discrete network's with the inherited weights; the least is kept; images are told."""
    trained, data = toy_trained(torch.float64), toy_data()
    config = Config(cells=6, search=search, population=3, tournament=2, criterion="loss", batches=1)
    answer = OneShotBest(config).select(trained, data, stream(0, "select"))
    ((images, labels),) = data.valid.epoch(BATCH, stream(split_off(stream(0, "select")), "images"), steps=1)
    losses = {}
    for entry in answer.trace:
        network = Network.inherit(trained.supernet, Cell.parse(entry["cell"]))
        losses[entry["cell"]] = float(F.cross_entropy(network(images, "batch").detach(), labels))
        assert entry["loss"] == pytest.approx(-losses[entry["cell"]], abs=1e-10)
    assert len(losses) == 6
    assert str(answer.cell) == min(losses, key=losses.__getitem__)
    assert answer.images == 6 * BATCH


def test_re_estimated_statistics() -> None:
    """The first layer's statistics become the mean over the batches of each batch's mean and unbiased variance."""
    supernet = copy.deepcopy(toy_trained(torch.float64).supernet)
    batches = list(toy_data().train.epoch(5, stream(0, "select"), steps=2))
    re_estimate(supernet, torch.from_numpy(Cell((3,) * E).one_hot()), batches)
    outputs = [supernet.stem(images).detach() for images, _ in batches]
    mean = torch.stack([y.mean((0, 2, 3)) for y in outputs]).mean(0)
    variance = torch.stack([y.var((0, 2, 3)) for y in outputs]).mean(0)
    torch.testing.assert_close(supernet.stem_norm.running_mean, mean, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(supernet.stem_norm.running_var, variance, rtol=1e-10, atol=1e-12)


def test_re_estimated_values() -> None:
    """With re-estimated statistics, each cell's loss is its discrete network's under statistics averaged by hand."""
    trained, data = toy_trained(torch.float64), toy_data()
    config = Config(cells=2, statistics="re-estimated", criterion="loss", recalibration=2, batches=1)
    answer = OneShotBest(config).select(trained, data, stream(0, "select"))
    root = split_off(stream(0, "select"))
    train = list(data.train.epoch(BATCH, stream(root, "statistics"), steps=2))
    ((images, labels),) = data.valid.epoch(BATCH, stream(root, "images"), steps=1)
    for entry in answer.trace:
        network = Network.inherit(trained.supernet, Cell.parse(entry["cell"]))
        layers = [m for m in network.modules() if isinstance(m, BatchNorm)]
        found = []
        for batch, _ in train:
            for layer in layers:
                assert layer.running_mean is not None
                assert layer.running_var is not None
                layer.running_mean.zero_()
                layer.running_var.zero_()
            network(batch, "train")
            found.append([(10 * layer.running_mean, 10 * layer.running_var) for layer in layers])  # type: ignore[operator]  # tensors
        for layer, one, other in zip(layers, *found, strict=True):
            layer.running_mean, layer.running_var = ((a + b) / 2 for a, b in zip(one, other, strict=True))
        loss = float(F.cross_entropy(network(images, "running").detach(), labels))
        assert entry["loss"] == pytest.approx(-loss, abs=1e-9)
    assert answer.images == 2 * (sum(len(labels) for _, labels in train) + BATCH)


def test_random_cells_are_different_and_all_there() -> None:
    """All cells of an allowed set come once; without `none` none has it."""
    cells = list(random_cells(2**E, [1, 3], stream(0)))
    assert len(set(cells)) == 2**E
    assert {o for cell in cells for o in cell.operations} == {1, 3}
    assert len(set(random_cells(500, list(range(O)), stream(1)))) == 500


def test_evolution_finds_a_planted_best() -> None:
    """Towards a separable value, 500 of 15,625 cells are enough to find the best (at random: odds of 3 %)."""
    planted = Cell((1, 2, 3, 4, 3, 2))
    seen: list[Cell] = []

    def judge(cell: Cell) -> float:
        seen.append(cell)
        return sum(a == b for a, b in zip(cell.operations, planted.operations, strict=True))

    evolve(judge, list(range(O)), cells=500, population=20, tournament=5, generator=stream(0))
    assert planted in seen
    assert len(seen) == len(set(seen)) == 500
    assert NONE not in planted.operations


def test_exclude_none() -> None:
    """No cell with `none` is looked at."""
    config = Config(cells=5, search="evolution", population=2, tournament=1, exclude_none=True, batches=1)
    answer = OneShotBest(config).select(toy_trained(torch.float64), toy_data(), stream(0, "select"))
    assert all(NONE not in Cell.parse(entry["cell"]).operations for entry in answer.trace)


def test_wrong_options_are_refused() -> None:
    """More cells than there are, or a tournament of more than the population, is refused."""
    assert Config(cells=SPACE_SIZE).space == SPACE_SIZE
    with pytest.raises(InputError, match="cells is at most 4096 of the 4096"):
        Config(cells=4097, exclude_none=True)
    with pytest.raises(InputError, match="cells is at most 7812 of the 15625"):
        Config(cells=7813, search="evolution")
    with pytest.raises(InputError, match="tournament is at most the population, 3; got 5"):
        Config(population=3)
