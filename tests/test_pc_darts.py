"""PC-DARTS."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.partial import PartialSupernet, build_supernet, edge_weights
from dartboard.benchmark.space import E
from dartboard.benchmark.streams import stream
from dartboard.benchmark.supernet import Supernet, SupernetConfig
from dartboard.harness.grid import Method
from dartboard.harness.prepare import prepare_searcher
from dartboard.searchers._catalogue import SEARCHERS
from dartboard.searchers._training import resolve_protocol
from dartboard.searchers.darts_v1 import Config as DartsConfig
from dartboard.searchers.darts_v1 import DartsV1
from dartboard.searchers.pc_darts import Config, PcDarts
from dartboard.selectors._operations import observed


def make(**options: object) -> PcDarts:
    """A fresh one in float64, at four channels."""
    protocol, own = resolve_protocol({"epochs": 10, "batch_size": 6, "architecture_decay": 0.0, **options}, {})
    config = Config(protocol=protocol, **own)
    size = SupernetConfig(
        channels=4, cells_per_stage=1, num_classes=3, track_running_stats=config.protocol.track_running_stats
    )
    network = build_supernet(
        PcDarts.supernet_config(size, config), generator=stream(0, "supernet"), dtype=torch.float64
    )
    return PcDarts(network, config, generator=stream(0, "a"))


def batch(seed: int) -> Batch:
    """Six random images."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(6, 3, 8, 8, generator=generator, dtype=torch.float64)
    return Batch(images, torch.randint(0, 3, (6,), generator=generator))


def beta(searcher: PcDarts) -> Tensor:
    """The edges' logits (E,)."""
    network = searcher.supernet
    assert isinstance(network, PartialSupernet)
    assert network.edge_logits is not None
    return network.edge_logits


def test_alpha_and_beta_rest_while_the_weights_warm_up() -> None:
    """In the first 3 of 10 epochs neither moves by a bit and the weights do; from epoch 3 on, both do."""
    searcher = make()
    for epoch, moves in ((0, False), (2, False), (3, True), (9, True), (12, True)):
        searcher.begin_epoch(epoch, stream(1, epoch))
        before = [searcher.alpha.detach().clone(), beta(searcher).detach().clone()]
        stem = searcher.supernet.get_parameter("stem.weight").detach().clone()
        searcher.step(batch(1), batch(2))
        after = [searcher.alpha, beta(searcher)]
        assert [not torch.equal(a, b) for a, b in zip(after, before, strict=True)] == [moves, moves]
        assert not torch.equal(searcher.supernet.get_parameter("stem.weight"), stem)


def test_the_default_warm_up_is_that_of_the_authors_code() -> None:
    """15 of 50 epochs, one channel in four, as the released code has them."""
    searcher = make(epochs=50)
    warm = []
    for epoch in range(50):
        searcher.begin_epoch(epoch, stream(1, epoch))
        warm.append(searcher.warming)
    assert warm == [True] * 15 + [False] * 35
    assert searcher.config.partial == 4


def test_alpha_and_beta_follow_adam_on_the_validation_loss() -> None:
    """Adam's first step is the rate times the sign of the gradient, which finite differences in float64 agree on."""
    searcher = make(warm_up=0, architecture_learning_rate=0.01)
    searcher.begin_epoch(0, stream(1, 0))
    valid, step = batch(2), 1e-6

    @torch.no_grad()
    def loss() -> float:
        return float(F.cross_entropy(searcher.supernet(valid.images, searcher.mixture(), "batch"), valid.labels))

    checked = 0
    for parameter in (searcher.alpha, beta(searcher)):
        slopes = torch.zeros_like(parameter).detach()
        values, flat = parameter.detach().flatten(), slopes.view(-1)  # `values` shares the parameter's memory
        for index, value in enumerate(values.tolist()):
            ends = []
            for sign in (1, -1):
                values[index] = value + sign * step
                ends.append(loss())
            values[index] = value
            flat[index] = (ends[0] - ends[1]) / (2 * step)
        before = parameter.detach().clone()
        twin = make(warm_up=0, architecture_learning_rate=0.01)
        twin.load_state_dict(searcher.state_dict())
        twin.begin_epoch(0, stream(1, 0))
        twin.architecture_step(batch(1), valid)
        moved = (twin.alpha if parameter is searcher.alpha else beta(twin)).detach() - before
        # A difference of two losses near 1 is right to about 1e-16 / 1e-6 = 1e-10, and Adam adds 1e-8 to a size.
        steep = slopes.abs() > 1e-6
        expected = -0.01 * slopes / (slopes.abs() + 1e-8)
        torch.testing.assert_close(moved[steep], expected[steep], rtol=1e-3, atol=0)
        checked += int(steep.sum())
    assert checked > 20  # `none` and the one edge of node 1 have no slope


def test_the_only_edge_of_node_1_needs_no_weight() -> None:
    """Its weight is 1 whatever β is, so its β has a gradient of exactly 0, and the mixture tells nothing of β."""
    searcher = make()
    network, images = searcher.supernet, batch(1)
    mixture = searcher.mixture().detach()
    (gradient,) = torch.autograd.grad(network(images.images, mixture, "batch").square().sum(), [beta(searcher)])
    assert gradient[0] == 0
    assert bool((gradient[1:] != 0).all())
    with torch.no_grad():
        beta(searcher)[3] += 5
    assert torch.equal(searcher.mixture(), mixture)
    torch.testing.assert_close(mixture.sum(-1), torch.ones(E, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_beta_is_the_architectures_and_no_weight_of_the_network() -> None:
    """The optimiser of the weights does not know β, and β starts as a thousandth of normal numbers."""
    searcher = make()
    assert all(p is not beta(searcher) for p in searcher.weights.parameters)
    assert 0 < float(beta(searcher).detach().abs().max()) < 5e-3
    torch.testing.assert_close(
        edge_weights(beta(searcher)).detach(),
        torch.tensor([1, 1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3], dtype=torch.float64),
        rtol=0,
        atol=5e-3,
    )


def test_the_clipped_norm_counts_beta_where_it_counts_alpha() -> None:
    """Under `autodl` the weights' step is scaled by a norm over weights, alpha and beta."""
    searcher = make(protocol="autodl", gradient_clip=1e-3, weight_decay=0.0, nesterov=False, warm_up=0)
    searcher.begin_epoch(0, stream(1, 0))
    train = batch(1)
    parts = [*searcher.weights.parameters, searcher.alpha, beta(searcher)]
    loss = F.cross_entropy(searcher.supernet(train.images, searcher.mixture()), train.labels)
    gradients = torch.autograd.grad(loss, parts)
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    before = [p.detach().clone() for p in searcher.weights.parameters]
    searcher.weight_step(train)
    for parameter, was, gradient in zip(searcher.weights.parameters, before, gradients, strict=False):
        expected = was - searcher.weights.learning_rate * 1e-3 * gradient / norm
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-6, atol=1e-10)  # clipping adds 1e-6 to a norm


def test_at_k_1_without_edge_normalisation_it_is_darts() -> None:
    """With all channels, no edge weights and no warm-up it trains a plain supernet as first-order DARTS does."""
    searcher = make(partial=1, edge_normalisation=False, warm_up=0)
    assert type(searcher.supernet) is Supernet
    network = Supernet(searcher.supernet.config, generator=stream(0, "supernet"), dtype=torch.float64)
    other = DartsV1(network, DartsConfig(protocol=searcher.config.protocol), generator=stream(0, "a"))
    for step in range(3):
        for each in (searcher, other):
            each.begin_epoch(step, stream(1, step))
            each.step(batch(step), batch(step + 10))
    assert torch.equal(searcher.alpha, other.alpha)
    for ours, theirs in zip(network.parameters(), searcher.supernet.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_supernet_of_another_kind_is_refused() -> None:
    """It trains the supernet that it asks for and no other; a number of channels that K does not divide is refused."""
    searcher = make()
    plain = Supernet(SupernetConfig(channels=4), generator=torch.Generator())
    with pytest.raises(InputError, match="trains a supernet of its own kind; build it from"):
        PcDarts(plain, searcher.config, generator=stream(0, "a"))
    prepared = prepare_searcher(Method(label="mine", entry=SEARCHERS["pc-darts"], options={"partial": 3}))
    with pytest.raises(InputError, match=r"searcher mine: .* a multiple of 3 channels; got 16"):
        prepared.supernet_config(SupernetConfig())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"partial": 0}, "partial is a whole number of at least 1; got 0"),
        ({"partial": 2.0}, "partial is a whole number of at least 1; got 2.0"),
        ({"warm_up": 15}, "warm_up is a share between 0 and 1; got 15"),
    ],
)
def test_a_figure_out_of_range_is_refused(fields: dict[str, object], message: str) -> None:
    """One line quotes the value."""
    with pytest.raises(InputError, match=message):
        Config(**fields)  # type: ignore[arg-type]  # wrong on purpose


def test_operations_of_a_partial_supernet_can_be_watched() -> None:
    """`observed` computes the same, shows 24 outputs a cell of C/K channels each, and silenced ones count as masked."""
    network = build_supernet(
        replace(make().supernet.config, channels=8), generator=stream(0, "supernet"), dtype=torch.float64
    )
    images, mixture = batch(1).images, torch.rand(6, 5, dtype=torch.float64)
    shapes: list[tuple[int, ...]] = []

    def watch(cell: int, edge: int, operation: int, output: Tensor) -> Tensor:
        shapes.append(tuple(output.shape))
        return output * ((edge, operation) != (4, 3))

    masked = mixture.clone()
    masked[4, 3] = 0
    expected = network(images, masked, "batch")
    torch.testing.assert_close(observed(network, watch)(images, mixture, "batch"), expected, rtol=1e-9, atol=1e-9)
    assert shapes == [(6, c // 4, size, size) for c, size in ((8, 8), (16, 4), (32, 2)) for _ in range(24)]
