from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dartboard.benchmark.costs import SKELETONS, parameters
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import (
    CONV1X1,
    CONV3X3,
    EDGES,
    NONE,
    OPERATIONS,
    POOL,
    SKIP,
    SPACE_SIZE,
    Cell,
    E,
    O,
    connected,
    conv_depth,
    depth,
    equivalence_classes,
    every_cell,
    live_edges,
    operation_counts,
    operations_of,
    width,
)

ALL = np.arange(SPACE_SIZE)
PATHS = ((3,), (0, 4), (1, 5), (0, 2, 5))  # of a cell, as places in EDGES: 0-3, 0-1-3, 0-2-3, 0-1-2-3
BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
STRINGS = {"|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*names) for names in itertools.product(OPERATIONS, repeat=6)}
cells = st.integers(0, SPACE_SIZE - 1).map(Cell.from_number)


def test_space_needs_only_numpy() -> None:
    """Whoever asks about a cell does not wait for torch or pandas."""
    code = "import sys, dartboard.benchmark.costs; print(sorted({'torch', 'pandas', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# --- notation -------------------------------------------------------------------------------------------------------


def test_notation_is_the_benchmarks() -> None:
    """The best cell of the benchmark reads edge by edge as its string says."""
    assert Cell.parse(BEST).operations == (CONV3X3, CONV3X3, CONV3X3, SKIP, CONV3X3, CONV1X1)


def test_round_trips_of_every_cell() -> None:
    """All 15,625 cells come back from their strings and from their numbers, in order and without repetition."""
    texts = [str(cell) for cell in every_cell()]
    assert set(texts) == STRINGS
    assert len(texts) == len(STRINGS) == 5**6
    assert [Cell.parse(text).number for text in texts] == list(range(5**6))
    assert [cell.operations for cell in every_cell()] == list(itertools.product(range(5), repeat=6))


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The string of a cell after a few edits that a careless hand or file could make."""
    text = str(draw(cells))
    pieces = [*"|~+0123 \n\t²٠", *OPERATIONS, "nor_conv_7x7", "skip", "|none~0|", "|none~1", "None"]
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.integers(0, 14)))
        text = text[:start] + draw(st.sampled_from(["", *pieces])) + text[stop:]
    return text


@given(mutated() | st.text())
def test_malformed_strings_are_refused(text: str) -> None:
    """A string is one of the 15,625 and comes back from its cell, or it is refused with one line that quotes it."""
    if text in STRINGS:
        assert str(Cell.parse(text)) == text
    else:
        with pytest.raises(InputError) as caught:
            Cell.parse(text)
        assert repr(text) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        BEST[:-1],
        BEST + "\n",
        BEST.replace("~2", "~3"),
        BEST.replace("~2", "~02"),
        BEST.replace("~0", ""),
        BEST.replace("1x1", "5x5"),
        BEST.replace("+", "|+|"),
        BEST + "+" + "|none~0|none~1|none~2|none~3|",
        "|none~0|+|none~1|none~0|+|none~0|none~1|none~2|",
    ],
)
def test_near_misses_are_refused(text: str) -> None:
    """Strings that differ from a cell's by little are refused and quoted."""
    with pytest.raises(InputError) as caught:
        Cell.parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("operations", [(), (0,) * 5, (0,) * 7, (0, 0, 0, 0, 0, 5), (-1, 0, 0, 0, 0, 0)])
def test_operations_out_of_range_are_refused(operations: tuple[int, ...]) -> None:
    """A cell has six operations of the five."""
    with pytest.raises(InputError, match=r"6 operation indices in 0\.\.4"):
        Cell(operations)


@pytest.mark.parametrize("number", [-1, SPACE_SIZE])
def test_numbers_out_of_range_are_refused(number: int) -> None:
    """A number outside the space is refused and quoted, alone or in an array."""
    with pytest.raises(InputError, match=f"got {number}"):
        Cell.from_number(number)
    with pytest.raises(InputError, match=f"got {number}"):
        operations_of(np.array([0, number]))


def test_fractions_are_no_numbers() -> None:
    """Nothing is rounded to a cell."""
    with pytest.raises(InputError, match="float64"):
        operations_of(np.array([1.5]))  # type: ignore[arg-type]  # the very mistake under test
    with pytest.raises(TypeError):
        Cell((0, 0, 0, 0, 0, 1.5))  # type: ignore[arg-type]  # the very mistake under test


def test_cells_made_from_numpy_integers_hold_pythons() -> None:
    """A cell from a table's index can be written as JSON."""
    cell = Cell.from_number(np.int64(12345))  # type: ignore[arg-type]  # what iterating over an array gives
    assert json.loads(json.dumps([cell.number, *cell.operations])) == [12345, *cell.operations]


@given(st.lists(st.lists(st.floats(allow_nan=False), min_size=O, max_size=O), min_size=E, max_size=E))
def test_cell_of_scores_has_the_first_highest(scores: list[list[float]]) -> None:
    """On each edge the first of the highest scores wins."""
    assume(all(max(row) > -math.inf for row in scores))
    assert Cell.from_scores(scores).operations == tuple(row.index(max(row)) for row in scores)


def test_scores_that_rank_nothing_are_refused() -> None:
    """NaN, an edge without an operation, or a wrong shape is refused."""
    scores = np.zeros((E, O))
    with pytest.raises(InputError, match=r"\(5, 6\)"):
        Cell.from_scores(scores.T)
    scores[2, 3] = np.nan
    with pytest.raises(InputError, match="NaN"):
        Cell.from_scores(scores)
    scores[2] = -np.inf
    with pytest.raises(InputError, match="exclude every operation of an edge"):
        Cell.from_scores(scores)


@given(cells)
def test_one_hot_is_the_inverse_of_scores(cell: Cell) -> None:
    """A cell's own indicator chooses that cell."""
    assert cell.one_hot().sum() == E
    assert Cell.from_scores(cell.one_hot()) == cell


# --- topology -------------------------------------------------------------------------------------------------------


def live_paths(operations: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The paths without `none`, from the list of all four."""
    return [path for path in PATHS if all(operations[e] != NONE for e in path)]


def test_topology_of_every_cell_by_enumerating_paths() -> None:
    """Live edges, connectedness, depths and width of all cells are those of the explicit list of the four paths."""
    live, joined, depths, conv_depths, widths = (f(ALL) for f in (live_edges, connected, depth, conv_depth, width))
    for number, operations in enumerate(itertools.product(range(5), repeat=6)):
        paths = live_paths(operations)
        edges = {EDGES[e] for path in paths for e in path}
        assert {EDGES[e] for e in np.flatnonzero(live[number])} == edges
        assert joined[number] == bool(paths)
        assert depths[number] == max(map(len, paths), default=0)
        convs = [sum(operations[e] in (CONV1X1, CONV3X3) for e in path) for path in paths]
        assert conv_depths[number] == max(convs, default=0)
        sources = [[s for t, s in edges if t == node] for node in (1, 2, 3)]
        assert widths[number] == pytest.approx(sum(s.count(0) / len(s) for s in sources if s), abs=1e-12)


def test_known_sizes_of_the_spaces_parts() -> None:
    """The parts of the space are as large as the literature's tables say: 341, 1,642 and 13,642 cells."""
    joined, convs = connected(ALL), conv_depth(ALL)
    assert (~joined).sum() == 341
    assert (joined & (convs == 0)).sum() == 1642
    assert (convs > 0).sum() == 13642


@pytest.mark.parametrize(
    ("operations", "expected_depth", "expected_width"),
    [
        ((1, 0, 1, 0, 0, 1), 3, 1),  # a chain
        ((1, 1, 0, 0, 1, 1), 2, 2),  # two paths beside each other
        ((0, 0, 0, 1, 0, 0), 1, 1),  # one edge
        ((1, 1, 1, 1, 1, 1), 3, 1 + 1 / 2 + 1 / 3),  # everything
        ((1, 1, 0, 1, 1, 1), 2, 2 + 1 / 3),  # the widest
        ((1, 1, 1, 0, 0, 0), 0, 0),  # nothing leads out
    ],
)
def test_depth_and_width_of_drawn_cells(
    operations: tuple[int, ...], expected_depth: int, expected_width: float
) -> None:
    """Depth and width are what one counts on a drawing of the cell."""
    cell = Cell(operations)
    assert cell.depth == expected_depth
    assert cell.width == pytest.approx(expected_width)


@given(st.lists(st.integers(0, SPACE_SIZE - 1), min_size=4, max_size=4))
def test_arrays_and_cells_agree(numbers: list[int]) -> None:
    """The functions of arrays keep the array's shape and say of each cell what the cell says of itself."""
    array = np.array(numbers).reshape(2, 2)
    flat = [Cell.from_number(number) for number in numbers]
    assert operations_of(array).reshape(4, E).tolist() == [list(cell.operations) for cell in flat]
    assert operation_counts(array).reshape(4, O).tolist() == [list(cell.counts.values()) for cell in flat]
    assert live_edges(array).shape == (2, 2, E)
    for function in (connected, depth, conv_depth, width):
        assert function(array).tolist() == [
            [getattr(cell, function.__name__) for cell in row] for row in (flat[:2], flat[2:])
        ]


def test_counts_name_every_operation() -> None:
    """The counts of the best cell are those of its string."""
    assert Cell.parse(BEST).counts == {name: BEST.count(name) for name in OPERATIONS}
    assert list(Cell.parse(BEST).counts) == list(OPERATIONS)


def test_no_cells_are_no_answers() -> None:
    """An empty array of numbers is answered by empty arrays."""
    nothing = np.array([], dtype=np.int64)
    assert operation_counts(nothing).shape == (0, O)
    assert depth(nothing).shape == width(nothing).shape == (0,)


# --- canonical form -------------------------------------------------------------------------------------------------


def fingerprints() -> NDArray[np.int64]:
    """(15,625, 3): what cannot differ between equivalent cells, from evaluating them, without any algebra.

    Over the integers modulo a prime, the input and pooling are random numbers, and a convolution is one of two random
    cubics a u² + b u³ for each kernel size. All 2⁶ ways to give each edge the first or second are tried; renaming
    convolutions only permutes the 64 outputs, so that the sums of their powers stay.
    """
    prime = 2**31 - 1
    rng = np.random.default_rng(0)
    x, pool = rng.integers(1, prime, 2)
    cubics = rng.integers(1, prime, (2, 2, 2))  # kernel, first or second, (a, b)
    operations = np.array(list(itertools.product(range(5), repeat=6)))[:, None]  # (cells, 1, E)
    labels = np.array(list(itertools.product(range(2), repeat=6)))[None]  # (1, 64, E)
    nodes = [np.full((SPACE_SIZE, 64), x), *(np.zeros((SPACE_SIZE, 64), dtype=np.int64) for _ in range(3))]
    for e, (target, source) in enumerate(EDGES):
        u, operation = nodes[source], operations[..., e]
        square = u * u % prime
        outputs = {SKIP: u, POOL: u * pool % prime}
        for kernel, convolution in enumerate((CONV1X1, CONV3X3)):
            a, b = cubics[kernel, labels[..., e]].transpose(2, 0, 1)
            outputs[convolution] = (a * square + b * u % prime * square) % prime
        nodes[target] = (nodes[target] + sum((operation == o) * v for o, v in outputs.items())) % prime
    out = nodes[3]
    return np.stack([power.sum(axis=1) for power in (out, out * out % prime, out * out % prime * out % prime)], axis=1)


def test_classes_are_those_found_by_evaluation() -> None:
    """Two of the 15,625 cells are called equivalent exactly when random evaluations cannot tell them apart."""
    _, found = np.unique(fingerprints(), axis=0, return_inverse=True)
    pairs = np.unique(np.stack([found.ravel(), equivalence_classes()]), axis=1)
    assert pairs.shape[1] == len(np.unique(found)) == len(np.unique(equivalence_classes())) == 5044


def relu_conv_bn(images: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """ReLU, convolution, unshifted batch norm of (batch, channels, side, side) by weights (k, k, in, out)."""
    k, side = len(weights), images.shape[-1]
    padded = np.pad(np.maximum(images, 0), ((0, 0), (0, 0), (k // 2,) * 2, (k // 2,) * 2))
    out = sum(
        np.einsum("bihw,io->bohw", padded[..., i : i + side, j : j + side], weights[i, j])
        for i in range(k)
        for j in range(k)
    )
    mean, variance = out.mean(axis=(0, 2, 3), keepdims=True), out.var(axis=(0, 2, 3), keepdims=True)
    return np.asarray((out - mean) / np.sqrt(variance + 1e-5))


def average_pool(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the pixels that there are in each 3 x 3."""
    side = images.shape[-1]
    windows = [(max(i - 1, 0), i + 2) for i in range(side)]
    return np.stack([np.stack([images[..., a:b, c:d].mean((-2, -1)) for c, d in windows], -1) for a, b in windows], -2)


def evaluate(cell: Cell, x: NDArray[np.float64], weights: dict[int, NDArray[np.float64]]) -> NDArray[np.float64]:
    """The cell on real images, `weights` by the edge's place in EDGES."""
    nodes = [x, *(np.zeros_like(x) for _ in range(3))]
    for e, (target, source) in enumerate(EDGES):
        operation = cell.operations[e]
        if operation == SKIP:
            nodes[target] = nodes[target] + nodes[source]
        elif operation == POOL:
            nodes[target] = nodes[target] + average_pool(nodes[source])
        elif operation != NONE:
            nodes[target] = nodes[target] + relu_conv_bn(nodes[source], weights[e])
    return nodes[3]


def test_canonical_cell_computes_the_same_with_real_operations() -> None:
    """With real convolutions and pools, some matching of the weights makes a cell and its canonical form equal."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 2, 4, 4))
    reducible = np.flatnonzero((equivalence_classes() != ALL) & (conv_depth(ALL) > 0))
    for number in rng.choice(reducible, 60, replace=False):
        cell = Cell.from_number(number)
        short = cell.canonical()
        weights = {
            e: rng.normal(size=(1, 1, 2, 2) if o == CONV1X1 else (3, 3, 2, 2)) for e, o in enumerate(cell.operations)
        }
        live, wanted = (
            [e for e in range(E) if live_edges(c.number)[e] and c.operations[e] in (CONV1X1, CONV3X3)]
            for c in (cell, short)
        )
        truth = evaluate(cell, x, weights)
        matchings = (
            {e: weights[f] for e, f in zip(wanted, order, strict=True)}
            for order in itertools.permutations(live)
            if all(short.operations[e] == cell.operations[f] for e, f in zip(wanted, order, strict=True))
        )
        # Rounding: sums of a few dozen terms of order one, thrice through a division by a standard deviation.
        assert any(np.allclose(evaluate(short, x, matched), truth, rtol=0, atol=1e-9) for matched in matchings), cell


@pytest.mark.parametrize(
    ("text", "formula", "canonical"),
    [
        ("|none~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|none~0|nor_conv_1x1~1|none~2|", "0", (0, 0, 0, 0, 0, 0)),
        ("|skip_connect~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|", "1x1(x)", (0, 0, 0, 2, 0, 0)),
        ("|none~0|+|skip_connect~0|none~1|+|skip_connect~0|none~1|none~2|", "x", (0, 0, 0, 1, 0, 0)),
        ("|none~0|+|skip_connect~0|none~1|+|skip_connect~0|none~1|skip_connect~2|", "x + x", (0, 1, 0, 1, 0, 1)),
        (
            "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|avg_pool_3x3~1|skip_connect~2|",
            "3x3*(x) + pool(3x3*(x))",
            (3, 0, 1, 0, 1, 4),
        ),
        (
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|avg_pool_3x3~1|skip_connect~2|",
            "3x3(x) + pool(3x3(x))",
            (0, 3, 0, 3, 0, 4),
        ),
        (
            "|nor_conv_1x1~0|+|skip_connect~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|",
            "pool(1x1(x)) + pool(x)",
            (0, 2, 0, 4, 0, 4),
        ),
    ],
)
def test_formulas_and_canonical_forms_by_hand(text: str, formula: str, canonical: tuple[int, ...]) -> None:
    """Dead parts go, skips are contracted, pools are distributed, shared convolutions stay shared."""
    cell = Cell.parse(text)
    assert cell.formula == formula
    assert cell.canonical().operations == canonical


def test_canonical_forms_are_their_own() -> None:
    """Taking the canonical form twice changes nothing, never raises the number, and leaves no dead edge."""
    classes = equivalence_classes()
    assert (classes[classes] == classes).all()
    assert (classes <= ALL).all()
    representatives = np.unique(classes)
    assert (live_edges(representatives) == (operations_of(representatives) != NONE)).all()


def test_equivalent_cells_have_equal_live_convolutions() -> None:
    """Members of a class have as many live 1x1 and 3x3 convolutions, and as long a path of them."""
    live = np.where(live_edges(ALL), operations_of(ALL), NONE)
    classes = equivalence_classes()
    for convolution in (CONV1X1, CONV3X3):
        counts = (live == convolution).sum(axis=1)
        assert (counts == counts[classes]).all()
    assert (conv_depth(ALL) == conv_depth(classes)).all()


def test_classes_cannot_be_written_to() -> None:
    """The shared array of classes is read-only."""
    with pytest.raises(ValueError, match="read-only"):
        equivalence_classes()[0] = 1


def benchmarks_rule(operations: tuple[int, ...], *, zeros: bool) -> str:
    """The benchmark's rule for isomorphic cells: an expression, in its spelling, on which the sorting hangs."""
    nodes = ["0"]
    edges = iter(operations)
    for target in (1, 2, 3):
        terms = []
        for source in range(target):
            operation = next(edges)
            if zeros and (operation == NONE or nodes[source] == "#"):
                terms.append("#")
            else:
                terms.append(nodes[source] if operation == SKIP else f"({nodes[source]})@{OPERATIONS[operation]}")
        nodes.append("+".join(sorted(terms)))
    return nodes[3]


def test_benchmarks_own_counts_of_classes() -> None:
    """By the benchmark's own rule there are 6,466 classes (D-X-Y/NATS-Bench issue 43), or 12,751 blind to zeros."""
    everything = list(itertools.product(range(5), repeat=6))
    assert len({benchmarks_rule(operations, zeros=True) for operations in everything}) == 6466
    assert len({benchmarks_rule(operations, zeros=False) for operations in everything}) == 12751


@pytest.mark.shared_data
def test_equivalent_cells_have_like_accuracies(shared_data: Path) -> None:
    """On the official table, cells of a class differ as trials of one cell do: 0.3 points of CIFAR-10, not 10."""
    import pandas as pd

    table = pd.read_csv(shared_data / "nb201_official.csv.gz")
    accuracy = table["c10_test_200"]
    classes = equivalence_classes()[[Cell.parse(text).number for text in table["arch_str"]]]
    within = accuracy - accuracy.groupby(classes).transform("mean")
    freedom = len(table) - len(np.unique(classes))
    assert (within.pow(2).sum() / freedom) ** 0.5 < 0.3
    assert accuracy.std() > 10
    joined = connected(classes)
    assert accuracy[~joined].between(9.99, 10.01).all()
    assert accuracy[joined].min() > 40


@pytest.mark.shared_data
def test_cells_of_mixed_size_have_a_twin_of_another_size(shared_data: Path) -> None:
    """Each of the 204 cells that v1_1 mixes has, by the benchmark's rule, an isomorphic cell of another size."""
    import pandas as pd

    table = pd.read_csv(shared_data / "nb201_official.csv.gz")
    mixed = {Cell.parse(text) for text in table["arch_str"][table["params_mixed_in_v1_1"] == 1]}
    assert len(mixed) == 204
    rule = {cell: benchmarks_rule(cell.operations, zeros=True) for cell in every_cell()}
    sizes: dict[str, set[int]] = {}
    for cell, name in rule.items():
        sizes.setdefault(name, set()).add(int(parameters(cell.number, SKELETONS["cifar10"])))
    assert all(len(sizes[rule[cell]]) > 1 for cell in mixed)
    assert sum(len(sizes[name]) > 1 for name in rule.values()) < 0.52 * SPACE_SIZE  # so this is no accident
