from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dartboard.benchmark.costs import SKELETONS, Skeleton, multiply_adds, parameters
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import CONV1X1, CONV3X3, SPACE_SIZE, Cell, E

COLUMNS = {"cifar10": "c10", "cifar100": "c100", "imagenet16-120": "in16"}


@pytest.mark.parametrize(
    ("text", "dataset", "weights", "flops"),
    [
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", "cifar10", 73_306, 7_783_050),
        (
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|",
            "cifar10",
            1_531_546,
            220_119_690,
        ),
        (
            "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
            "cifar100",
            135_156,
            15_653_220,
        ),
        (
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|",
            "imagenet16-120",
            809_576,
            28_495_480,
        ),
    ],
)
def test_costs_of_known_cells(text: str, dataset: str, weights: int, flops: int) -> None:
    """Parameters and multiply-adds of a few cells are those of the benchmark's table."""
    number = Cell.parse(text).number
    assert parameters(number, SKELETONS[dataset]) == weights
    assert multiply_adds(number, SKELETONS[dataset]) == flops


def layers(cell: Cell, skeleton: Skeleton) -> tuple[list[tuple[int, int, int, int]], list[int]]:
    """All convolutions of the network (in, out, kernel, side of the output) and the channels of all batch norms."""
    convolutions, norms = [], []

    def add(inputs: int, outputs: int, kernel: int, side: int, *, norm: bool = True) -> None:
        convolutions.append((inputs, outputs, kernel, side))
        norms.extend([outputs] * norm)

    channels, side = skeleton.channels, skeleton.size
    add(3, channels, 3, side)
    for stage in range(3):
        if stage:
            side //= 2
            add(channels, 2 * channels, 3, side)
            add(2 * channels, 2 * channels, 3, side)
            add(channels, 2 * channels, 1, side, norm=False)
            channels *= 2
        for _ in range(skeleton.cells):
            for operation in cell.operations:
                if operation in (CONV1X1, CONV3X3):
                    add(channels, channels, 1 if operation == CONV1X1 else 3, side)
    norms.append(channels)
    return convolutions, norms


@given(
    st.integers(0, SPACE_SIZE - 1),
    st.builds(
        Skeleton,
        classes=st.integers(1, 200),
        size=st.integers(1, 16).map(lambda quarter: 4 * quarter),
        channels=st.integers(1, 32),
        cells=st.integers(1, 6),
    ),
)
def test_costs_are_the_sum_over_layers(number: int, skeleton: Skeleton) -> None:
    """For any skeleton the closed forms are what adding up the network's layers gives."""
    convolutions, norms = layers(Cell.from_number(number), skeleton)
    linear = 4 * skeleton.channels * skeleton.classes + skeleton.classes
    weights = sum(i * o * k * k for i, o, k, _ in convolutions) + 2 * sum(norms) + linear
    flops = sum(i * o * k * k * side * side for i, o, k, side in convolutions) + linear
    assert parameters(number, skeleton) == weights
    assert multiply_adds(number, skeleton) == flops


def test_the_supernets_weights() -> None:
    """Both convolutions on every edge, their batch norms without weights, make the known 1,686,106 of the supernet."""
    plain, ones, threes = (Cell((operation,) * E).number for operation in (0, CONV1X1, CONV3X3))
    total = parameters(np.array([plain, ones, threes]), SKELETONS["cifar10"])
    edge_norms = 2 * E * 5 * 2 * (16 + 32 + 64)
    assert total[1] + total[2] - total[0] - edge_norms == 1_686_106


def test_costs_keep_the_arrays_shape() -> None:
    """An array of numbers is answered by integers of the same shape."""
    numbers = np.arange(6).reshape(2, 3)
    for function in (parameters, multiply_adds):
        answer = function(numbers, SKELETONS["cifar10"])
        assert answer.shape == (2, 3)
        assert np.issubdtype(answer.dtype, np.integer)


@pytest.mark.parametrize("number", [-1, SPACE_SIZE])
def test_numbers_out_of_range_are_refused(number: int) -> None:
    """A number outside the space is refused and quoted."""
    with pytest.raises(InputError, match=f"got {number}"):
        parameters(number, SKELETONS["cifar10"])


@pytest.mark.parametrize("wrong", [{"classes": 0}, {"channels": -1}, {"cells": 0}, {"size": 0}, {"size": 18}])
def test_impossible_skeletons_are_refused(wrong: dict[str, int]) -> None:
    """A skeleton that cannot be built is refused and its value quoted."""
    (value,) = wrong.values()
    with pytest.raises(InputError, match=str(value)):
        Skeleton(**{"classes": 10, **wrong})


@pytest.mark.shared_data
@pytest.mark.parametrize("dataset", SKELETONS)
def test_costs_of_every_cell_are_the_official_ones(shared_data: Path, dataset: str) -> None:
    """All 15,625 cells have the parameters and multiply-adds of the official table, to the last integer."""
    import pandas as pd

    table = pd.read_csv(shared_data / "nb201_official.csv.gz")
    numbers = np.array([Cell.parse(text).number for text in table["arch_str"]])
    assert len(set(numbers)) == SPACE_SIZE
    for column, function in (("params_M", parameters), ("flops_M", multiply_adds)):
        millions = table[f"{column}_{COLUMNS[dataset]}"].to_numpy()
        np.testing.assert_allclose(function(numbers, SKELETONS[dataset]), 1e6 * millions, rtol=0, atol=1e-3)
