"""Beam perturbation: one state is the greedy loop, all states are the best of everything."""

from __future__ import annotations

import itertools
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.contracts import SelectionData
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import NONE, E, O
from dartboard.benchmark.streams import split_off, stream
from dartboard.harness.toys import toy_images, toy_trained
from dartboard.selectors.beam_perturbation import BeamPerturbation, Config

BATCH = 6


def toy_data() -> SelectionData:
    """The toy images in double precision."""
    train, valid = (toy_images(half, dtype=torch.float64) for half in ("train", "valid"))
    return SelectionData(train=train, valid=valid, batch_size=BATCH)


class Losses:
    """The loss of a mixture on the one batch that a selection with seed 0 sees."""

    def __init__(self) -> None:
        self.trained = toy_trained(torch.float64)
        ((self.images, self.labels),) = toy_data().valid.epoch(
            BATCH, stream(split_off(stream(0, "select")), "images"), steps=1
        )

    def __call__(self, mixture: Tensor) -> float:
        """The mean cross-entropy."""
        return float(F.cross_entropy(self.trained.supernet(self.images, mixture, "batch").detach(), self.labels))

    @property
    def mixture(self) -> Tensor:
        """The searcher's."""
        return self.trained.searcher.mixture().detach()


def changed(mixture: Tensor, edge: int, operation: int, *, alone: bool) -> Tensor:
    """The mixture without one operation, or with it alone at full weight on its edge."""
    other = mixture.clone()
    if alone:
        other[edge] = 0
    other[edge, operation] = 1 if alone else 0
    return other


def select(**options: Any) -> Any:
    """The answer under some options, by loss, edges in order, one batch."""
    config = Config(criterion="loss", edge_order="ascending", batches=1, **options)
    return BeamPerturbation(config).select(toy_trained(torch.float64), toy_data(), stream(0, "select"))


def test_width_one_is_the_greedy_projection() -> None:
    """With one state, every edge keeps what hurts most to remove, given the edges settled before it."""
    losses = Losses()
    mixture, expected = losses.mixture, []
    for edge in range(E):
        without = [losses(changed(mixture, edge, o, alone=False)) for o in range(O)]
        expected.append(max(range(O), key=without.__getitem__))
        mixture = changed(mixture, edge, expected[-1], alone=True)
    answer = select(width=1)
    assert answer.cell.operations == tuple(expected)
    assert answer.images == E * (O + 1) * BATCH


@pytest.mark.parametrize("rank", ["drop", "projected"])
def test_two_edges_by_brute_force(rank: Any) -> None:
    """A beam that holds all 25 settlings of two edges ranks them as brute force over them does."""
    losses = Losses()
    values = {}
    for first, second in product(range(O), repeat=2):
        start, middle = losses.mixture, changed(losses.mixture, 0, first, alone=True)
        if rank == "drop":
            value = losses(changed(start, 0, first, alone=False)) - losses(start)
            value += losses(changed(middle, 1, second, alone=False)) - losses(middle)
        else:
            value = -losses(changed(middle, 1, second, alone=True))
        values[first, second] = value
    beam = select(width=O * O, rank=rank).trace[1]["beam"]
    found = {(entry["settled"][0][1], entry["settled"][1][1]): entry["value"] for entry in beam}
    assert found == pytest.approx(values, abs=1e-10)
    assert [entry["value"] for entry in beam] == sorted((entry["value"] for entry in beam), reverse=True)


def test_a_wider_beam_is_no_worse_at_the_end_of_two_edges() -> None:
    """After the second edge the best of a wider beam is at least the best of a narrower one."""
    best = [select(width=width).trace[1]["beam"][0]["value"] for width in (1, 3, O)]
    for narrower, wider in itertools.pairwise(best):
        assert wider >= narrower - 1e-12  # float64's rounding: masks that are scored together share what they compute


def test_projected_value_is_the_cells() -> None:
    """By what is left, the final value is minus the loss of the chosen cell itself."""
    losses, answer = Losses(), select(width=2, rank="projected", exclude_none=True)
    assert answer.notes["value"] == pytest.approx(-losses(torch.from_numpy(answer.cell.one_hot())), abs=1e-10)
    assert NONE not in answer.cell.operations
    assert answer.images == (O + 5 * 2 * O) * BATCH


def test_wrong_options_are_refused() -> None:
    """A number or a word out of range is quoted."""
    with pytest.raises(InputError, match="width is at least 1; got 0"):
        Config(width=0)
    with pytest.raises(InputError, match="unknown rank 'drops'; did you mean 'drop'"):
        Config(rank="drops")  # type: ignore[arg-type]  # the claim
