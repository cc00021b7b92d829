"""Diagnostics of the mixture alone: each by hand, by its closed form, or by brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from dartboard.benchmark.space import EDGES, NONE, OPERATIONS, POOL, SKIP, Cell, E, O
from dartboard.harness.diagnostics import growth, mixture
from dartboard.harness.diagnostics._toys import measured, toy_truth, with_trajectory


def test_entropy_is_its_closed_form() -> None:
    """Uniform: ln O; one operation: 0; two halves: ln 2; the logits of a softmax are its own, centred."""
    p = np.full((E, O), 1 / O)
    p[1] = np.eye(O)[3]
    p[2] = [0.5, 0, 0.5, 0, 0]
    alpha = np.arange(O) / 3.0
    p[3] = np.exp(alpha) / np.exp(alpha).sum()
    values = measured("mixture", with_trajectory(p)).values
    np.testing.assert_allclose(values["entropy"][:3], [np.log(O), 0, np.log(2)], atol=1e-15)
    assert values["relative_entropy"][0] == pytest.approx(1)
    np.testing.assert_allclose(values["logits"][3], alpha - alpha.mean(), atol=1e-14)
    assert values["logits"][1] == [None] * O
    np.testing.assert_allclose(values["entropy"], stats.entropy(p, axis=1), atol=1e-14)
    assert mixture.entropy(p).shape == (E,)


def test_the_argmax_cell_is_looked_up() -> None:
    """The cell of the largest weights, with and without `none`, has the table's accuracy and the space's depth."""
    p = np.full((E, O), 0.1)
    p[:, NONE] = 0.6
    p[:, 3] = 0.2
    values = measured("argmax-cell", with_trajectory(p)).values
    empty, full = Cell((NONE,) * E), Cell((3,) * E)
    column = toy_truth().accuracy[toy_truth().default_metric()]
    assert values["allowed"]["cell"] == str(empty)
    assert not values["allowed"]["connected"]
    assert values["no_none"]["accuracy"] == column[full.number]
    assert values["no_none"]["regret"] == pytest.approx(column.max() - column[full.number])
    assert (values["no_none"]["depth"], values["no_none"]["conv_depth"], values["no_none"]["width"]) == (
        3,
        3,
        pytest.approx(11 / 6),
    )
    assert values["no_none"]["counts"]["nor_conv_3x3"] == E


def test_shares_and_counts_of_operations() -> None:
    """Shares add up to 1, counts to E, both by hand."""
    p = np.eye(O)[[NONE, NONE, SKIP, SKIP, SKIP, POOL]] * 0.8 + 0.04
    values = measured("operations", with_trajectory(p)).values
    assert values["edges"] == dict(zip(OPERATIONS, (2, 3, 0, 0, 1), strict=True))
    assert values["share"]["skip_connect"] == pytest.approx((3 * 0.84 + 3 * 0.04) / 6)
    assert sum(values["share"].values()) == pytest.approx(1)
    np.testing.assert_allclose(values["none"], [0.84, 0.84, 0.04, 0.04, 0.04, 0.04])


def test_growth_events_by_hand() -> None:
    """Off, on, off, on of one edge is two recoveries and three flips; an edge always on has none."""
    off, on = np.eye(O)[NONE] * 0.5 + 0.1, np.eye(O)[SKIP] * 0.5 + 0.1
    epochs = [[off, on, off, off, on, on], [on, on, off, off, off, on], [off, on, off, off, off, on]]
    epochs.append([on, on, off, on, off, on])
    of = with_trajectory(*(np.stack(edges) for edges in epochs))
    values = measured("growth", of).values
    assert values["on"].tolist() == [True, True, False, True, False, True]
    assert values["turned_on"].tolist() == [0, 3]
    assert values["turned_off"].tolist() == []
    assert values["first_on"] == [2, 1, None, 4, 1, 1]
    assert values["recovered"].tolist() == [2, 0, 0, 1, 0, 0]
    assert values["flips"].tolist() == [3, 0, 0, 1, 1, 0]
    first = measured("growth", with_trajectory(np.stack(epochs[0]))).values
    assert (first["turned_on"], first["turned_off"], sum(first["flips"])) == ([], [], 0)


def test_expected_shapes_are_brute_force_sums() -> None:
    """Expected depth, depth in convolutions and width are the sums over all cells of probability times value."""
    rng = np.random.default_rng(0)
    p = np.zeros((E, O))
    choices = [rng.choice(O, 3, replace=False) for _ in range(E)]
    for row, places in zip(p, choices, strict=True):
        row[places] = rng.dirichlet(np.ones(3))
    values = measured("growth", with_trajectory(p)).values
    totals = {"depth": 0.0, "conv_depth": 0.0, "width": 0.0}
    likely = growth.cell_probabilities(p)
    for operations in itertools.product(*choices):
        cell, chance = Cell(operations), float(np.prod([p[e, o] for e, o in enumerate(operations)]))
        assert likely[cell.number] == pytest.approx(chance, rel=1e-12)
        for name in totals:
            totals[name] += chance * getattr(cell, name)
    assert likely.sum() == pytest.approx(1)
    for name, total in totals.items():
        assert values[f"expected_{name}"] == pytest.approx(total, rel=1e-12)
    one_hot = measured("growth", with_trajectory(Cell((3,) * E).one_hot())).values
    assert (one_hot["expected_depth"], one_hot["expected_width"]) == (3, pytest.approx(11 / 6))


def test_width_preference_by_hand() -> None:
    """Edges from the input all kept, the others all `none`: 1; the other way round: -1."""
    wide = np.stack([np.eye(O)[SKIP if source == 0 else NONE] for _, source in EDGES])
    deep = np.stack([np.eye(O)[NONE if source == 0 else SKIP] for _, source in EDGES])
    assert measured("growth", with_trajectory(wide)).values["width_preference"] == 1
    assert measured("growth", with_trajectory(deep)).values["width_preference"] == -1
