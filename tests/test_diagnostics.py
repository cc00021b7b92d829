"""Diagnostics: each against closed forms, brute force, finite differences or an independent library, in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from dartboard.benchmark import layers
from dartboard.benchmark.contracts import SelectionData, TrainedSupernet
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.ground_truth import GroundTruth
from dartboard.benchmark.reference import ReferenceSupernet
from dartboard.benchmark.space import EDGES, NONE, OPERATIONS, POOL, SKIP, SPACE_SIZE, Cell, E, O
from dartboard.benchmark.streams import stream
from dartboard.benchmark.supernet import Supernet, SupernetConfig
from dartboard.benchmark.tables.store import load_table
from dartboard.harness.diagnostics import (
    alpha_hessian,
    cell_agreement,
    discretisation_gap,
    growth,
    landscape,
    mixture,
    operation_cost,
    rank_correlation,
)
from dartboard.harness.diagnostics._catalogue import DIAGNOSTICS, choose
from dartboard.harness.diagnostics._logits import logits
from dartboard.harness.diagnostics._subject import Measurement, Subject, cell_pass
from dartboard.harness.guard import untouched
from dartboard.harness.toys import BATCH, toy_images, toy_trained
from dartboard.selectors._gradients import SupernetLoss

DOCS = Path(__file__).resolve().parents[1] / "docs" / "diagnostics.md"
ALL = torch.ones(E, O, dtype=torch.bool)
SMALL: dict[str, dict[str, Any]] = {
    "alpha-hessian": {"images": BATCH},
    "landscape": {"images": BATCH, "directions": 2},
    "discretisation-gap": {"epochs": 2},
    "rank-correlation": {"images": BATCH, "cells": 12},
}


@lru_cache(maxsize=1)
def truth() -> GroundTruth:
    """The embedded table."""
    return load_table("analog")


def subject(dtype: torch.dtype = torch.float64, **changes: Any) -> Subject:
    """The toy supernet, to be measured."""
    trained = toy_trained(dtype)
    train, valid = (toy_images(half, dtype=dtype) for half in ("train", "valid"))
    data = SelectionData(train=train, valid=valid, batch_size=BATCH)
    return replace(
        Subject(trained=trained, data=data, truth=truth(), metric=truth().default_metric(), root=7, shared_root=7),
        **changes,
    )


def measured(name: str, of: Subject, **options: Any) -> Measurement:
    """What a diagnostic says."""
    (diagnostic,) = choose(name)
    module = diagnostic.load()
    found: Measurement = module.measure(of, module.Config(**{**SMALL.get(name, {}), **options}))
    return found


NAMES = [diagnostic.name for diagnostic in DIAGNOSTICS]


@pytest.mark.parametrize("name", NAMES)
def test_measuring_changes_nothing_and_repeats(name: str) -> None:
    """The supernet, gradients, modes and the global random state stay as they were; the same root, the same answer."""
    of = subject()
    with untouched(of.trained, name):
        first = measured(name, of)
    assert str(first.values) == str(measured(name, of).values)
    other = measured(name, replace(of, root=8, shared_root=8, shared={}))
    if name in ("cell-agreement", "operation-cost", "alpha-hessian", "landscape", "rank-correlation"):
        assert str(other.values) != str(first.values)


@pytest.mark.parametrize("name", NAMES)
def test_a_cost_is_what_went_through(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The images counted are those that the network's first layer saw, gradient images among them."""
    trained = toy_trained(torch.float64, watched=True)
    seen = 0
    original = Supernet.forward

    def counting(self: Any, images: Tensor, *arguments: Any) -> Tensor:
        nonlocal seen
        seen += len(images)
        return original(self, images, *arguments)

    monkeypatch.setattr(Supernet, "forward", counting)
    found = measured(name, subject(trained=trained))
    assert found.images == seen
    assert 0 <= found.gradient_images <= found.images


@pytest.mark.parametrize("name", ["cell-agreement", "operation-cost", "alpha-hessian", "landscape", "rank-correlation"])
def test_a_mixture_of_each_cells_own_can_be_measured(name: str) -> None:
    """Weights (cells, E, O) equal in all cells give the values of the shared weights."""
    of = subject()
    each = subject()
    shared = each.trained.searcher.mixture().detach()
    each.trained.searcher.mixture = lambda: shared.repeat(3, 1, 1)  # type: ignore[method-assign]  # the toy's own copy
    np.testing.assert_equal(str(rounded(measured(name, of).values)), str(rounded(measured(name, each).values)))


def rounded(value: Any) -> Any:
    """Nested values as lists, to 9 digits."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items() if key not in ("null_error", "eigenvalues")}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return round(value, 9) + 0.0 if isinstance(value, float) else value


# The mixture.


def with_trajectory(*mixtures: NDArray[np.float64]) -> Subject:
    """A subject whose epochs had these mixtures."""
    of = subject()
    trained = TrainedSupernet(searcher=of.trained.searcher, mixture=mixtures[-1], trajectory=np.stack(mixtures))
    return replace(of, trained=trained)


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
    column = truth().accuracy[truth().default_metric()]
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


# Growth.


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


# Gradients by cell.


def random_mixture(cells: int, seed: int = 0) -> Tensor:
    """(cells, E, O), positive, rows summing to 1."""
    return torch.rand(cells, E, O, generator=stream(seed, "mixture"), dtype=torch.float64).softmax(-1)


def test_cell_gradients_are_finite_differences() -> None:
    """Each entry is the central difference of the loss in that one mixing weight of that one cell."""
    of = subject()
    network, batch = of.trained.supernet, of.batches(of.data.valid, 1, "x")[0]
    p = random_mixture(network.config.cells)
    found = cell_pass(network, p, batch, network.config.cells)

    def loss(weights: Tensor) -> float:
        with torch.no_grad():
            return float(F.cross_entropy(network(batch[0], weights, "batch"), batch[1]))

    h = 1e-6
    for place in ((0, 0, 1), (1, 3, 2), (2, 5, 3), (2, 1, 4), (0, 4, 0)):
        step = torch.zeros_like(p)
        step[place] = h
        # Third derivatives are of the order of 1, so that the error is h² plus 1e-16/h of rounding.
        assert float(found.gradients[place]) == pytest.approx((loss(p + step) - loss(p - step)) / (2 * h), abs=1e-8)


def test_agreement_is_the_mean_cosine_of_pairs() -> None:
    """Against the pairs written out; equal gradients agree wholly, opposed ones in two cells by -1."""
    gradients = torch.randn(4, E, O, generator=stream(0, "gradients"), dtype=torch.float64)
    values = cell_agreement.summarise(gradients)
    pairs = [
        float(F.cosine_similarity(a.flatten(), b.flatten(), dim=0)) for a, b in itertools.combinations(gradients, 2)
    ]
    assert values["agreement"] == pytest.approx(np.mean(pairs), abs=1e-14)
    np.testing.assert_allclose(values["norms"], gradients.flatten(1).norm(dim=1).numpy(), rtol=1e-14)
    assert cell_agreement.summarise(gradients[:1].repeat(3, 1, 1))["agreement"] == pytest.approx(1)
    assert cell_agreement.summarise(torch.stack([gradients[0], -gradients[0]]))["agreement"] == pytest.approx(-1)
    assert values["argmin"].shape == (4, E)


# Costs and their identities.


def sharp_network(cells_per_stage: int, monkeypatch: pytest.MonkeyPatch) -> Supernet:
    """A supernet whose batch norm adds next to nothing to the variance."""
    monkeypatch.setattr(layers, "EPSILON", 1e-13)
    config = SupernetConfig(channels=4, cells_per_stage=cells_per_stage, num_classes=3)
    return Supernet(config, generator=stream(0, "net"), dtype=torch.float64)


@pytest.mark.parametrize("cells_per_stage", [1, 2])
def test_cost_identities_hold(cells_per_stage: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node's in-cost is its out-cost by skip and pool, and 0 in the last node, to 1e-6 where epsilon is tiny."""
    network = sharp_network(cells_per_stage, monkeypatch)
    cells = network.config.cells
    batch = next(toy_images("train", dtype=torch.float64).in_order(BATCH))
    found = cell_pass(network, random_mixture(cells), batch, cells)
    values = operation_cost.summarise(found, cells_per_stage)
    assert values["identity_error"] < 1e-6
    shares = found.mixtures * found.gradients
    assert len(operation_cost.identity_violations(shares, cells_per_stage)) == 2 * cells + 3 * (cells_per_stage - 1) + 1
    scale = float(shares.abs().max())
    assert float(shares[-1, 3:].sum().abs()) < 1e-6 * scale
    assert float(shares[0, 0].sum().abs()) > 1e-3 * scale  # so that there is something to be equal
    for cell in range(cells):
        for node in (1, 2):
            entering = sum(float(shares[cell, e].sum()) for e, (target, _) in enumerate(EDGES) if target == node)
            leaving = sum(
                float(shares[cell, e, o]) for e, (_, source) in enumerate(EDGES) if source == node for o in (SKIP, POOL)
            )
            assert entering == pytest.approx(leaving, abs=1e-6 * scale)


def test_a_violated_identity_is_seen() -> None:
    """A skip's cost moved by the largest cost makes an error of 1."""
    network = subject().trained.supernet
    batch = next(toy_images("train", dtype=torch.float64).in_order(BATCH))
    found = cell_pass(network, random_mixture(3), batch, 3)
    wrong = found.gradients.clone()
    wrong[1, 0, SKIP] += float((found.mixtures * found.gradients).abs().max()) / float(found.mixtures[1, 0, SKIP])
    assert operation_cost.summarise(found._replace(gradients=wrong), 1)["identity_error"] > 0.3


def test_costs_are_sums_over_cells_and_predict_the_logit_of_none() -> None:
    """`none` costs nothing, costs add up over cells, and -p_none times the edge's cost is the logit's derivative."""
    of = subject()
    network, batch = of.trained.supernet, of.batches(of.data.valid, 1, "valid")[0]
    alpha = torch.randn(E, O, generator=stream(1, "alpha"), dtype=torch.float64).requires_grad_()
    loss = F.cross_entropy(network(batch[0], alpha.softmax(-1), "batch"), batch[1])
    (by_alpha,) = torch.autograd.grad(loss, alpha)
    found = cell_pass(network, alpha.softmax(-1), batch, 3)
    values = operation_cost.summarise(found, 1)
    np.testing.assert_allclose(values["none_gradient"], by_alpha[:, NONE].numpy(), atol=1e-14)
    assert np.abs(values["cost"][:, NONE]).max() == 0
    p = alpha.detach().softmax(-1).numpy()
    np.testing.assert_allclose(values["edge_cost"], (p * values["cost"]).sum(-1), atol=1e-14)
    np.testing.assert_allclose(values["by_cell"].sum(0), values["edge_cost"], atol=1e-14)


def test_loss_less_entropy_is_the_gap_of_logits() -> None:
    """L - H = Σ_k π_k z_k - z_y on every image, so also in the mean; right and wrong images add up to all."""
    z = torch.randn(20, 4, generator=stream(0, "z"), dtype=torch.float64) * 3
    labels = torch.arange(20) % 4
    values = operation_cost.predictions(z, labels)
    gap = (z.softmax(-1) * z).sum(-1) - z[torch.arange(20), labels]
    assert values["excess"] == pytest.approx(float(gap.mean()), abs=1e-14)
    assert values["loss"] == pytest.approx(float(F.cross_entropy(z, labels)))
    right, wrong = values["right"], values["wrong"]
    assert right["images"] + wrong["images"] == 20
    assert right["images"] == int((z.argmax(-1) == labels).sum())
    assert (right["images"] * right["loss"] + wrong["images"] * wrong["loss"]) / 20 == pytest.approx(values["loss"])
    assert operation_cost.predictions(z, z.argmax(-1))["wrong"] == {"images": 0, "loss": None, "entropy": None}


def test_costs_of_both_halves_are_of_the_same_weights() -> None:
    """Where both halves are the same images in one batch, the gap between them is 0."""
    of = subject()
    data = replace(of.data, train=of.data.valid, batch_size=len(of.data.valid))
    plain = replace(data.valid, padding=0, padded=data.valid.images, flip=False)  # no draw but the order
    values = measured("operation-cost", replace(of, data=replace(data, train=plain, valid=plain), shared={})).values
    np.testing.assert_allclose(values["edge_cost_gap"], 0, atol=1e-12)
    assert values["train"]["loss"] == pytest.approx(values["valid"]["loss"])


# The Hessian and the landscape.


def loss_of_logits(network: Supernet, batch: tuple[Tensor, Tensor], p: Tensor) -> Callable[[Tensor], Tensor]:
    """L(α) around the logits of `p`."""
    return lambda z: F.cross_entropy(network(batch[0], (p.log() + z.view(E, O)).softmax(-1), "batch"), batch[1])


def test_the_hessian_is_the_difference_of_gradients_through_the_readable_network() -> None:
    """Rows against central differences of first derivatives, taken through the readable supernet."""
    of = subject()
    network, p = of.trained.supernet, of.mixture()
    batches = of.batches(of.data.valid, 10, "valid")
    assert [len(labels) for _, labels in batches] == [6, 4]
    matrix = alpha_hessian.hessian(SupernetLoss(network, logits(p)), batches)
    torch.testing.assert_close(matrix, matrix.T)
    readable = ReferenceSupernet(network)

    def gradient(z: Tensor) -> Tensor:
        z = z.clone().requires_grad_()
        total = sum(
            len(y) * F.cross_entropy(readable(x, (p.log() + z.view(E, O)).softmax(-1), "batch"), y) for x, y in batches
        )
        assert isinstance(total, Tensor)
        return torch.autograd.grad(total / 10, z)[0]

    h = 1e-5
    for k in (1, 8, 17, 29):
        step = torch.zeros(E * O, dtype=torch.float64)
        step[k] = h
        # Central differences err by h² times a third derivative of order 1, and by 1e-16/h of rounding.
        torch.testing.assert_close(matrix[k], (gradient(step) - gradient(-step)) / (2 * h), atol=1e-8, rtol=1e-5)


def test_eigenvalues_and_trace_belong_together() -> None:
    """The eigenvalues add up to the trace, the first is the largest, and at least E of them are 0."""
    values = measured("alpha-hessian", subject()).values
    eigenvalues = values["eigenvalues"]
    assert eigenvalues.sum() == pytest.approx(values["trace"])
    assert values["dominant"] == eigenvalues.max()
    assert (np.abs(eigenvalues) < 1e-9 * np.abs(eigenvalues).max()).sum() >= E
    assert values["null_error"] < 1e-12
    assert values["negative"] == (eigenvalues < -1e-6 * np.abs(eigenvalues).max()).sum()


def test_a_direction_that_a_softmax_feels_is_no_null_direction() -> None:
    """The identity does not vanish on any direction; a zero matrix does on all."""
    assert alpha_hessian.null_error(torch.eye(E * O, dtype=torch.float64)) == pytest.approx(1 / (E * O) ** 0.5)
    assert alpha_hessian.null_error(torch.zeros(E * O, E * O)) == 0


def test_an_operation_that_was_dropped_has_no_curvature() -> None:
    """With weights of 0 the Hessian is 0 in what was dropped, and differences of gradients in what is left."""
    of = subject()
    network = of.trained.supernet
    p = of.mixture() * torch.tensor([0.0, 1, 1, 0, 1])
    p[3] = torch.eye(O, dtype=torch.float64)[2]
    p = p / p.sum(-1, keepdim=True)
    batches = of.batches(of.data.valid, BATCH, "valid")
    matrix = alpha_hessian.hessian(SupernetLoss(network, logits(p)), batches)
    gone = torch.where(p.flatten() == 0)[0]
    assert matrix[gone].abs().max() == 0
    assert matrix[3 * O : 4 * O].abs().max() == 0
    h, step = 1e-5, torch.zeros(E, O, dtype=torch.float64)
    step[5, 1] = h
    ends = []
    for sign in (1, -1):
        moved = p * (sign * step).exp()
        z = torch.zeros(E, O, dtype=torch.float64, requires_grad=True)
        weights = moved * z.exp()
        loss = F.cross_entropy(network(batches[0][0], weights / weights.sum(-1, keepdim=True), "batch"), batches[0][1])
        ends.append(torch.autograd.grad(loss, z)[0].flatten())
    torch.testing.assert_close(matrix[5 * O + 1], (ends[0] - ends[1]) / (2 * h), atol=1e-8, rtol=1e-5)


def test_directions_leave_dropped_operations_alone() -> None:
    """They have 0 there, add up to 0 on each edge, have length 1, and are none where each edge has one operation."""
    felt = ALL.clone()
    felt[:, 0] = False
    felt[2] = torch.eye(O, dtype=torch.bool)[1]
    d = landscape.random_directions(4, felt, stream(0, "d"))
    assert d[:, ~felt].abs().max() == 0
    assert d[:, 2].abs().max() == 0
    torch.testing.assert_close(d.sum(-1), torch.zeros(4, E, dtype=torch.float64))
    torch.testing.assert_close(d.flatten(1).norm(dim=1), torch.ones(4, dtype=torch.float64))
    with pytest.raises(ValueError, match="no edge has two operations left"):
        landscape.random_directions(1, torch.eye(O, dtype=torch.bool)[[1] * E], stream(0, "d"))


def test_the_landscapes_directions_are_felt_and_of_length_1() -> None:
    """Unit length, no edge's logits move alike, and the same generator draws the same."""
    d = landscape.random_directions(5, ALL, stream(0, "d"))
    torch.testing.assert_close(d.flatten(1).norm(dim=1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(d.sum(-1), torch.zeros(5, E, dtype=torch.float64))
    assert torch.equal(d, landscape.random_directions(5, ALL, stream(0, "d")))


def test_the_landscape_is_the_loss_at_moved_logits() -> None:
    """Every loss against a pass of its own, the middle against the mixture's; rise and drop follow from them."""
    of = subject()
    values = measured("landscape", of, directions=2, radius=0.5).values
    directions = landscape.random_directions(2, ALL, stream(of.root, "directions"))
    (batch,) = of.batches(of.data.valid, BATCH, "valid")
    loss = loss_of_logits(of.trained.supernet, batch, of.mixture())
    assert values["radii"] == [-0.5, -0.25, -0.125, 0, 0.125, 0.25, 0.5]
    with torch.no_grad():
        for d, row in zip(directions, values["loss"], strict=True):
            expected = [float(loss(r * d.flatten())) for r in values["radii"]]
            np.testing.assert_allclose(row, expected, rtol=1e-12)
    ends = values["loss"][:, [0, -1]]
    assert values["rise"] == pytest.approx(ends.mean() - values["loss_here"])
    assert values["worst_rise"] == pytest.approx(ends.max() - values["loss_here"])


def test_the_landscapes_curvature_tends_to_the_hessians() -> None:
    """With a small radius the second difference along d is dᵀHd of the exact Hessian on the same images."""
    of = subject()
    values = measured("landscape", of, directions=3, radius=4e-5).values
    d = landscape.random_directions(3, ALL, stream(of.root, "directions")).flatten(1)
    batches = of.batches(of.data.valid, BATCH, "valid")
    matrix = alpha_hessian.hessian(SupernetLoss(of.trained.supernet, logits(of.mixture())), batches)
    # h = 1e-5, so small that no rectifier turns on or off in between: 1e-16/h² of rounding.
    np.testing.assert_allclose(values["curvature"], ((d @ matrix) * d).sum(1).numpy(), atol=1e-5)


# Discretisation.


def accuracy(network: Any, p: Tensor, of: Subject) -> float:
    """Percent of the validation half, batch norm by the batch."""
    right = 0
    with torch.no_grad():
        for images, labels in of.data.valid.in_order(BATCH):
            right += int((network(images, p, "batch").argmax(-1) == labels).sum())
    return 100 * right / len(of.data.valid)


def test_the_gap_is_the_difference_of_two_accuracies() -> None:
    """Mixture and cell against passes of their own; each gap is the difference that its name says."""
    of = subject()
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
    of = subject()
    uniform = np.full((E, O), 1 / O)
    assert measured("discretisation-gap", replace(of, trained=replace(of.trained, mixture=uniform))).values["tied"] == E


def test_two_diagnostics_share_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one supernet, `operation-cost` after `cell-agreement` runs nothing, and says what it would have said alone."""
    of = subject(trained=toy_trained(torch.float64, watched=True))
    alone = measured("operation-cost", replace(of, shared={}))
    measured("cell-agreement", of)
    monkeypatch.setattr(Supernet, "forward", None)
    shared = measured("operation-cost", of)
    assert str(shared) == str(alone)


def test_a_mixture_that_is_a_cell_has_no_gap() -> None:
    """Where all but one operation of each edge have next to no weight, nothing is lost by discretising it."""
    of = subject()
    one_hot = Cell((3, 1, 2, 3, 4, 1)).one_hot()
    with torch.no_grad():
        of.trained.searcher.alpha.copy_(torch.from_numpy(100 * one_hot))  # type: ignore[attr-defined]  # DARTS has it
    values = measured("discretisation-gap", replace(of, trained=replace(of.trained, mixture=one_hot))).values
    assert values["gap"] == 0
    assert values["loss_mixture"] == pytest.approx(values["loss_cell"], abs=1e-12)


def test_tuning_lowers_the_training_loss_of_the_cell() -> None:
    """At a larger rate and with more epochs the cell fits better than before it was tuned."""
    of = subject()
    same = replace(of, data=replace(of.data, valid=of.data.train))
    values = measured("discretisation-gap", same, epochs=20, learning_rate=0.05).values
    assert values["loss_tuned_20"] < values["loss_cell"]


class Notebook:
    """A journal in memory, which stops the run after some entries."""

    def __init__(self, stop: int) -> None:
        self.state: dict[str, Any] | None = None
        self.stop = stop

    def load(self) -> dict[str, Any] | None:
        """The last state."""
        return self.state

    def save(self, state: Any) -> None:
        """Keep a copy, and stop."""
        import copy

        self.state = copy.deepcopy(dict(state))
        self.stop -= 1
        if not self.stop:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stop", [1, 2])
def test_an_interrupted_tuning_goes_on(stop: int) -> None:
    """Stopped after an epoch and begun again, it ends in the same values and the same cost."""
    of = subject()
    whole = measured("discretisation-gap", of, epochs=3)
    notebook = Notebook(stop)
    halting = replace(of, data=replace(of.data, journal=notebook))
    with pytest.raises(KeyboardInterrupt):
        measured("discretisation-gap", halting, epochs=3)
    assert measured("discretisation-gap", halting, epochs=3) == whole


# Ranking.


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
    metric = truth().default_metric()
    sample = rank_correlation.stratified_sample(truth(), metric, 125)
    order = np.argsort(truth().accuracy[metric], kind="stable")
    place = np.empty(SPACE_SIZE, dtype=int)
    place[order] = np.arange(SPACE_SIZE)
    assert (place[sample] // 125).tolist() == list(range(125))
    np.testing.assert_array_equal(sample, rank_correlation.stratified_sample(truth(), metric, 125))
    assert sorted(rank_correlation.stratified_sample(truth(), metric, SPACE_SIZE)) == list(range(SPACE_SIZE))


def test_inherited_accuracies_are_those_of_one_hot_mixtures() -> None:
    """Each against a pass of its own, with the truth of its number; perfect weights rank perfectly."""
    of = subject()
    values = measured("rank-correlation", of, cells=6, images=10).values
    batches = of.batches(of.data.valid, 10, "valid")
    for index, number in enumerate(values["numbers"]):
        one_hot = torch.from_numpy(Cell.from_number(number).one_hot())
        with torch.no_grad():
            right = sum(int((of.trained.supernet(x, one_hot, "batch").argmax(-1) == y).sum()) for x, y in batches)
        assert values["inherited_accuracy"][index] == pytest.approx(10.0 * right)
        assert values["true_accuracy"][index] == truth().lookup(Cell.from_number(number), of.metric)
    perfect = rank_correlation.compare(values["true_accuracy"], values["true_accuracy"])
    assert perfect["spearman"] == pytest.approx(1)
    assert perfect["kendall"] == perfect["sparse_kendall"] == pytest.approx(1)
    assert perfect["regret"] == 0
    assert rank_correlation.compare(-values["true_accuracy"], values["true_accuracy"])["spearman"] == pytest.approx(-1)


# The catalogue.


def test_words_name_diagnostics() -> None:
    """`cheap`, `all`, `none` and names, between commas or in a list, in the catalogue's order and none twice."""
    assert [d.name for d in choose("all")] == NAMES
    assert [d.name for d in choose("cheap")] == NAMES[:6]
    assert choose("none") == ()
    assert [d.name for d in choose("landscape, mixture,landscape")] == ["mixture", "landscape"]
    assert [d.name for d in choose(["cheap", "alpha-hessian"])] == [*NAMES[:6], "alpha-hessian"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("cheep", "unknown diagnostic 'cheep'; did you mean 'cheap'"),
        ("mixtures", "unknown diagnostic 'mixtures'; did you mean 'mixture'"),
        ("none,cheap", "diagnostics are `cheap`, `all`, `none` or names; got 'none,cheap'"),
        ([], "got \\[\\]"),
        ([3], "unknown diagnostic '3'"),
    ],
)
def test_words_that_name_none_are_refused(asked: Any, message: str) -> None:
    """A typo, `none` among others and an empty list end in a line that quotes them."""
    with pytest.raises(InputError, match=message):
        choose(asked)


def test_every_file_is_in_the_catalogue_and_in_the_documentation() -> None:
    """One file, one line in the catalogue and one section in docs/diagnostics.md for each, and no other."""
    folder = Path(__file__).resolve().parents[1] / "harness" / "diagnostics"
    files = {path.stem.replace("_", "-") for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert files == set(NAMES)
    text = DOCS.read_text(encoding="utf-8")
    assert [name for name in NAMES if f"### `{name}`" not in text] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_keys_of_the_values_are_documented(name: str) -> None:
    """Every key of a diagnostic's values stands in the docstring of results/diagnostics.py."""
    import dartboard.results.diagnostics as records

    assert records.__doc__ is not None
    options = {"epochs": 5} if name == "discretisation-gap" else {}

    def keys(values: Any) -> set[str]:
        inside = {k for value in values.values() if isinstance(value, dict) for k in keys(value)}
        return set(values) | inside

    for key in keys(measured(name, subject(), **options).values) - set(OPERATIONS):
        assert key in records.__doc__, key


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (alpha_hessian, {"images": 0}, "images is at least 1; got 0"),
        (landscape, {"radius": 0.0}, "radius is greater than 0; got 0.0"),
        (landscape, {"directions": 0}, "directions is at least 1; got 0"),
        (discretisation_gap, {"epochs": 0}, "epochs is at least 1; got 0"),
        (discretisation_gap, {"learning_rate": -1}, "learning_rate is greater than 0; got -1"),
        (rank_correlation, {"cells": 1}, "cells is at least 2; got 1"),
        (rank_correlation, {"cells": 20000}, "cells is at most 15625; got 20000"),
    ],
)
def test_options_out_of_range_are_refused(module: Any, options: dict[str, Any], message: str) -> None:
    """Each is quoted."""
    with pytest.raises(InputError, match=message):
        module.Config(**options)
