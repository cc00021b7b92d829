"""Zero-Cost-PT: activation codes by brute force, synaptic flow by closed forms, and the projection by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dartboard.benchmark.contracts import SelectionData
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.layers import BatchNorm, Norm
from dartboard.benchmark.partial import build_supernet
from dartboard.benchmark.reference import ReferenceSupernet
from dartboard.benchmark.space import CONV1X1, CONV3X3, NONE, OPERATIONS, SKIP, Cell, E, O
from dartboard.benchmark.streams import split_off, stream
from dartboard.benchmark.supernet import Supernet, SupernetConfig
from dartboard.harness.toys import toy_images, toy_supernet, toy_trained
from dartboard.selectors._zero_cost import ActivationCodes, SynapticFlow, agreement, untrained
from dartboard.selectors.zero_cost_pt import Config, ZeroCostPT

BATCH = 6


def toy_data() -> SelectionData:
    """The toy images in double precision."""
    train, valid = (toy_images(half, dtype=torch.float64) for half in ("train", "valid"))
    return SelectionData(train=train, valid=valid, batch_size=BATCH)


def some_mixture() -> Tensor:
    """(E, O) of random positive weights."""
    return torch.rand(E, O, dtype=torch.float64, generator=stream(1)).softmax(-1)


def kernel_by_hand(
    network: Supernet, images: Tensor, mixture: Tensor, norm: Norm, monkeypatch: pytest.MonkeyPatch
) -> NDArray[np.float64]:
    """The bits on which each two images agree, counted one by one over all calls of ReLU in the readable network."""
    codes: list[list[Tensor]] = [[] for _ in images]
    relu = F.relu

    def recorded(values: Tensor) -> Tensor:
        for code, value in zip(codes, values, strict=True):
            code.append((value > 0).flatten())
        return relu(values)

    readable = ReferenceSupernet(network)
    with monkeypatch.context() as patched, torch.no_grad():
        patched.setattr(F, "relu", recorded)
        readable(images, mixture, norm)
    whole = [torch.cat(code) for code in codes]
    return np.array([[int((a == b).sum()) for b in whole] for a in whole], dtype=np.float64)


@pytest.mark.parametrize("norm", ["batch", "running"])
def test_kernel_is_the_hamming_matrix(norm: Norm, monkeypatch: pytest.MonkeyPatch) -> None:
    """K is the number of equal bits in the readable network, ReLU by ReLU, and the score its log-determinant."""
    network, mixture = toy_trained(torch.float64).supernet, some_mixture()
    images, _ = next(toy_data().train.epoch(BATCH, stream(2)))
    codes = ActivationCodes(network)
    expected = kernel_by_hand(network, images, mixture, norm, monkeypatch)
    np.testing.assert_array_equal(codes.kernel(images, mixture, norm).numpy(), expected)
    eigenvalues = np.linalg.eigvalsh(expected)
    assert float(codes.score(images, mixture, norm)) == pytest.approx(np.log(eigenvalues).sum(), rel=1e-9)


def test_agreement_is_dimension_minus_hamming_distance() -> None:
    """On random bits, D - d for each pair; the diagonal is D."""
    values = torch.randn(5, 3, 4, 4, generator=stream(3))
    bits = (values > 0).flatten(1)
    distance = (bits[:, None] != bits[None]).sum(-1)
    torch.testing.assert_close(agreement(values), (48 - distance).double(), rtol=0, atol=0)


def flow_of_chain(weights: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """R and w·∂R/∂w of a chain of matrices, R = 1ᵀ|W_L|...|W_1|1, written out: |W_l| times what enters and leaves."""
    positive = [w.abs() for w in weights]
    forward = [torch.ones(positive[0].shape[1], dtype=torch.float64)]
    for w in positive:
        forward.append(w @ forward[-1])
    backward = [torch.ones(positive[-1].shape[0], dtype=torch.float64)]
    for w in reversed(positive):
        backward.append(w.T @ backward[-1])
    backward.reverse()
    each = [w * backward[i + 1][:, None] * forward[i] for i, w in enumerate(positive)]
    return forward[-1].sum(), each


def test_flow_of_a_chain_of_1x1_convolutions() -> None:
    """A cell whose one path is 1x1 convolutions on one pixel row of channels is a linear network: the closed form.

    On an image of 1x1 pixels a 1x1 convolution is a matrix, a 3x3 convolution its middle, and averaging does nothing.
    The cells' first edge to the last node carries the convolution, all others `none`; reductions are linear, too.
    """
    network = toy_supernet(dtype=torch.float64)
    cell = Cell((NONE, NONE, NONE, CONV1X1, NONE, NONE))
    mixture = torch.from_numpy(cell.one_hot())
    total, flow = SynapticFlow(network).flow(torch.zeros(1, 3, 1, 1, dtype=torch.float64), mixture)

    def matrix(weight: Tensor) -> Tensor:
        middle = weight.shape[-1] // 2
        return weight.detach()[:, :, middle, middle].abs()

    c1, r1, c2, r2, c3 = network.blocks
    chain = [matrix(network.stem.weight)]
    for position, (search, reduction) in enumerate(((c1, r1), (c2, r2), (c3, None))):
        c = 2 * 2**position
        chain.append(matrix(search.conv1x1[0].weight)[2 * c : 3 * c])  # of node 0's edges the third goes to node 3
        if reduction is not None:
            residual = matrix(reduction.conv_b.weight) @ matrix(reduction.conv_a.weight)
            chain.append(residual + matrix(reduction.shortcut.weight))
    chain.append(network.classifier.weight.detach().abs())
    expected, each = flow_of_chain(chain)
    shift = network.classifier.bias.detach().abs().sum()
    torch.testing.assert_close(total, expected + shift, rtol=1e-12, atol=0)
    torch.testing.assert_close(flow["stem.weight"][:, :, 1, 1], each[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(flow["classifier.weight"], each[-1], rtol=1e-12, atol=0)
    torch.testing.assert_close(flow["blocks.0.conv1x1.0.weight"][4:, :, 0, 0], each[1], rtol=1e-12, atol=0)


def test_flow_is_conserved() -> None:
    """A layer that all paths go through carries R; the units between two reductions' convolutions give what they take.

    The readable network agrees on R, with its weights made positive and batch norm left out by hand.
    """
    network, mixture = toy_trained(torch.float64).supernet, some_mixture()
    images = torch.zeros(2, 3, 8, 8, dtype=torch.float64)
    total, flow = SynapticFlow(network).flow(images, mixture)
    readable = ReferenceSupernet(network)
    for parameter in readable.parameters():
        parameter.data.abs_()
    for module in readable.modules():
        if isinstance(module, BatchNorm):
            module.forward = lambda x, norm, scale=None: x  # type: ignore[method-assign]  # left out
    expected = readable(torch.ones(1, 3, 8, 8, dtype=torch.float64), mixture, "running").sum()
    torch.testing.assert_close(total, expected.detach(), rtol=1e-10, atol=0)
    through = total - network.classifier.bias.detach().abs().sum()
    for layer in ("stem.weight", "classifier.weight"):
        torch.testing.assert_close(flow[layer].sum(), through, rtol=1e-10, atol=0)
    for block in (1, 3):
        taken = flow[f"blocks.{block}.conv_a.weight"].sum((1, 2, 3))
        given = flow[f"blocks.{block}.conv_b.weight"].sum((0, 2, 3))
        torch.testing.assert_close(taken, given, rtol=1e-10, atol=0)
        skipped = flow[f"blocks.{block}.shortcut.weight"].sum()
        torch.testing.assert_close(given.sum() + skipped, through, rtol=1e-10, atol=0)


def test_flow_is_the_derivative_along_the_weights() -> None:
    """The score is d/dt of R with all weights of layers scaled by 1 + t, by central differences (error of order h²)."""
    network, mixture = toy_trained(torch.float64).supernet, some_mixture()
    images, h = torch.zeros(1, 3, 8, 8, dtype=torch.float64), 1e-4
    flow = SynapticFlow(network)
    score = float(flow.score(images, mixture))
    ends = []
    for factor in (1 + h, (1 - h) / (1 + h)):
        for weight in flow.weights.values():
            weight.data.mul_(factor)
        ends.append(float(flow.flow(images, mixture)[0]))
    assert score == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-5)


def test_an_untrained_network_is_as_new() -> None:
    """It is what a supernet drawn from the same generator is, and the trained one keeps its weights.

    So for a supernet with partial channels, every number of which is changed before.
    """
    config = SupernetConfig(channels=4, cells_per_stage=1, partial=2, edge_normalisation=True)
    partial = build_supernet(config, generator=stream(6))
    for value in partial.state_dict().values():
        value.add_(0.5)
    for network in (toy_trained(torch.float32).supernet, partial):
        before = {name: value.clone() for name, value in network.state_dict().items()}
        new = untrained(network, stream(5))
        fresh = build_supernet(network.config, generator=stream(5))
        assert new.state_dict().keys() == fresh.state_dict().keys()
        for name, value in fresh.state_dict().items():
            assert torch.equal(new.state_dict()[name], value), name
        for name, value in network.state_dict().items():
            assert torch.equal(before[name], value), name


@pytest.mark.parametrize("measure", ["naswot", "synflow"])
@pytest.mark.parametrize("exclude_none", [False, True])
def test_projection_by_hand(measure: Any, exclude_none: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One proposal in ascending order: each edge keeps what it scores least without, given the edges settled before."""
    trained, data = toy_trained(torch.float64), toy_data()
    config = Config(
        measure=measure,
        weights="trained",
        mixture="searcher",
        proposals=1,
        batch_size=BATCH,
        edge_order="ascending",
        exclude_none=exclude_none,
    )
    answer = ZeroCostPT(config).select(trained, data, stream(0, "select"))
    root, mixture = split_off(stream(0, "select")), trained.searcher.mixture().detach()
    batches = [images for images, _ in data.train.epoch(BATCH, stream(root, "images", 0), steps=E)]
    flow = SynapticFlow(trained.supernet)
    for edge, images in enumerate(batches):
        scores = []
        for operation in range(O):
            masked = mixture.clone()
            masked[edge, operation] = 0
            if measure == "naswot":
                kernel = kernel_by_hand(trained.supernet, images, masked, "running", monkeypatch)
                scores.append(float(np.log(np.linalg.eigvalsh(kernel)).sum()))
            else:
                scores.append(sum(float(part.sum()) for part in flow.flow(images, masked)[1].values()))
        kept = min(range(exclude_none, O), key=scores.__getitem__)
        assert answer.scores is not None
        np.testing.assert_allclose(answer.scores[edge], -np.array(scores), rtol=1e-9)
        assert answer.cell.operations[edge] == kept
        assert answer.trace[edge]["operation"] == OPERATIONS[kept]
        mixture[edge] = torch.eye(O, dtype=torch.float64)[kept]
    pushed = sum(map(len, batches)) if measure == "naswot" else E
    assert answer.images == O * pushed
    assert answer.gradient_images == (0 if measure == "naswot" else O * E)


def test_the_proposal_of_the_largest_summed_score_wins() -> None:
    """Of several different cells it is the one whose one-hot networks have the largest sum over the batches."""
    trained, data = toy_trained(torch.float64), toy_data()
    config = Config(proposals=6, batch_size=BATCH, validation_batches=3)
    answer = ZeroCostPT(config).select(trained, data, stream(4, "select"))
    root = split_off(stream(4, "select"))
    codes = ActivationCodes(untrained(trained.supernet, stream(root, "weights")))
    first, second = (data.train.epoch(BATCH, stream(root, "validation", *more)) for more in ((), ("pass", 1)))
    batches = [x for x, _ in (*first, next(second))]  # a pass has two
    sums = {}
    for proposal in answer.notes["proposals"]:
        one_hot = torch.from_numpy(Cell.parse(proposal["cell"]).one_hot())
        sums[proposal["cell"]] = sum(float(codes.score(x, one_hot, "running")) for x in batches)
        assert proposal["validation"] == pytest.approx(sums[proposal["cell"]], rel=1e-12)
    assert len(sums) > 1
    assert str(answer.cell) == max(sums, key=sums.__getitem__)
    chosen = {entry["edge"]: entry["operation"] for entry in answer.trace}
    assert [OPERATIONS[o] for o in answer.cell.operations] == [chosen[edge] for edge in range(E)]


def test_weights_and_mixture_as_asked() -> None:
    """Untrained weights do not depend on the trained ones; the trained ones and the searcher's mixture are felt."""
    common: dict[str, Any] = {"proposals": 1, "batch_size": BATCH}
    answers = {}
    for weights in ("untrained", "trained"):
        for mixture in ("uniform", "searcher"):
            config = Config(weights=weights, mixture=mixture, **common)  # type: ignore[arg-type]  # of these words
            found = []
            for scale in (1.0, -1.0):
                trained = toy_trained(torch.float64)
                with torch.no_grad():
                    trained.supernet.stem.weight.mul_(scale)
                found.append(ZeroCostPT(config).select(trained, toy_data(), stream(0, "select")).scores)
            first, second = found
            assert first is not None
            assert second is not None
            assert np.array_equal(first, second) == (weights == "untrained")
            answers[weights, mixture] = first
    assert len({scores.tobytes() for scores in answers.values()}) == 4


def test_images_that_look_alike_are_refused() -> None:
    """Where two images have one code the determinant is 0, and the message says so."""
    trained = toy_trained(torch.float64)
    codes = ActivationCodes(trained.supernet)
    images = toy_data().train.images[:1].double().repeat(2, 1, 1, 1)
    assert float(codes.score(images, some_mixture(), "running")) == -math.inf
    with torch.no_grad():
        trained.supernet.stem.weight.fill_(math.nan)
    config = Config(weights="trained", proposals=1, batch_size=BATCH)
    with pytest.raises(ValueError, match="a score is NaN, or infinite because two images look alike"):
        ZeroCostPT(config).select(trained, toy_data(), stream(0))


def test_one_cell_needs_no_validation() -> None:
    """Where all proposals are one cell, none is validated."""
    config = Config(measure="synflow", edge_order="ascending", proposals=3)
    answer = ZeroCostPT(config).select(toy_trained(), toy_data(), stream(0))
    assert [p["validation"] for p in answer.notes["proposals"]] == [None] * 3
    assert answer.images == 3 * E * O
    assert SKIP not in answer.cell.operations
    assert CONV3X3 in answer.cell.operations


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"proposals": 0}, "proposals is at least 1; got 0"),
        ({"batch_size": 0}, "batch_size is at least 1; got 0"),
        ({"validation_batches": 0}, "validation_batches is at least 1; got 0"),
        ({"measure": "naswott"}, "unknown measure 'naswott'; did you mean 'naswot'"),
        ({"weights": "train"}, "unknown weights 'train'"),
        ({"mixture": "mine"}, "unknown mixture 'mine'"),
        ({"edge_order": "up"}, "unknown edge_order 'up'"),
        ({"norm": "train"}, "unknown norm 'train'"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], told: str) -> None:
    """A number out of range and a word that is no choice are quoted."""
    with pytest.raises(InputError, match=told):
        Config(**options)
