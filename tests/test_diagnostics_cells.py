"""Diagnostics of gradients by cell: against finite differences, pairs written out, and what must hold exactly."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark import layers
from dartboard.benchmark.space import EDGES, NONE, POOL, SKIP, E, O
from dartboard.benchmark.streams import stream
from dartboard.benchmark.supernet import Supernet, SupernetConfig
from dartboard.harness.diagnostics import cell_agreement, operation_cost
from dartboard.harness.diagnostics._subject import cell_pass
from dartboard.harness.diagnostics._toys import measured, toy_subject
from dartboard.harness.toys import BATCH, toy_images, toy_trained


def random_mixture(cells: int, seed: int = 0) -> Tensor:
    """(cells, E, O), positive, rows summing to 1."""
    return torch.rand(cells, E, O, generator=stream(seed, "mixture"), dtype=torch.float64).softmax(-1)


def test_cell_gradients_are_finite_differences() -> None:
    """Each entry is the central difference of the loss in that one mixing weight of that one cell."""
    of = toy_subject()
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


def test_two_diagnostics_share_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one supernet, `operation-cost` after `cell-agreement` runs nothing, and says what it would have said alone."""
    of = toy_subject(trained=toy_trained(torch.float64, watched=True))
    alone = measured("operation-cost", replace(of, shared={}))
    measured("cell-agreement", of)
    monkeypatch.setattr(Supernet, "forward", None)
    shared = measured("operation-cost", of)
    assert str(shared) == str(alone)


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
    network = toy_subject().trained.supernet
    batch = next(toy_images("train", dtype=torch.float64).in_order(BATCH))
    found = cell_pass(network, random_mixture(3), batch, 3)
    wrong = found.gradients.clone()
    wrong[1, 0, SKIP] += float((found.mixtures * found.gradients).abs().max()) / float(found.mixtures[1, 0, SKIP])
    assert operation_cost.summarise(found._replace(gradients=wrong), 1)["identity_error"] > 0.3


def test_costs_are_sums_over_cells_and_predict_the_logit_of_none() -> None:
    """`none` costs nothing, costs add up over cells, and -p_none times the edge's cost is the logit's derivative."""
    of = toy_subject()
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
    of = toy_subject()
    data = replace(of.data, train=of.data.valid, batch_size=len(of.data.valid))
    plain = replace(data.valid, padding=0, padded=data.valid.images, flip=False)  # no draw but the order
    values = measured("operation-cost", replace(of, data=replace(data, train=plain, valid=plain), shared={})).values
    np.testing.assert_allclose(values["edge_cost_gap"], 0, atol=1e-12)
    assert values["train"]["loss"] == pytest.approx(values["valid"]["loss"])
