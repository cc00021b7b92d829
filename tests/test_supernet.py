"""The search network: exact size, and its fast form equal to its readable one."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from dartboard.benchmark import costs
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.layers import Norm, count_weights, window_sizes
from dartboard.benchmark.partial import PartialCell, PartialSupernet, build_supernet, edge_weights
from dartboard.benchmark.reference import Network, ReferenceSupernet
from dartboard.benchmark.space import EDGES, OPERATIONS, Cell
from dartboard.benchmark.supernet import SearchCell, Supernet, SupernetConfig

NORMS: tuple[Norm, ...] = ("train", "batch", "running")


def make(channels: int = 4, cells: int = 1, *, seed: int = 0, track: bool = True, **kind: Any) -> Supernet:
    """A small supernet in float64 whose running statistics and edges' logits are not those it was born with."""
    config = SupernetConfig(channels=channels, cells_per_stage=cells, num_classes=5, track_running_stats=track, **kind)
    generator = torch.Generator().manual_seed(seed)
    network = build_supernet(config, generator=generator, dtype=torch.float64)
    if isinstance(network, PartialSupernet) and network.edge_logits is not None:
        network.edge_logits.copy_(torch.randn(6, generator=generator, dtype=torch.float64))
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            if "running" in name:
                buffer.copy_(torch.rand(buffer.shape, generator=generator, dtype=torch.float64) + 0.5)
    return network


def set_remaking(network: Supernet, remake: bool) -> None:
    """Whether the backward pass makes the 1x1 convolutions' outputs again, whatever the network's width."""
    for block in network.blocks:
        if isinstance(block, SearchCell):
            block.remakes = remake


def draw(shape: tuple[int, ...], seed: int = 1) -> Tensor:
    """Standard normal float64 numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_benchmarks_search_network_has_1686106_weights() -> None:
    """With C = 16, N = 5 and ten classes the supernet has the 1,686,106 weights that published logs print."""
    assert count_weights(Supernet(SupernetConfig(), generator=torch.Generator())) == 1_686_106


@settings(max_examples=25, deadline=None)
@given(
    channels=st.sampled_from([1, 3, 4, 8]),
    cells=st.integers(1, 2),
    track=st.booleans(),
    norm=st.sampled_from(NORMS),
    size=st.sampled_from([4, 7, 8]),
    kind=st.sampled_from(["shared", "per cell", "one-hot", "with zeros"]),
    seed=st.integers(0, 1000),
    partial=st.sampled_from([1, 1, 2, 4]),
    edge_normalisation=st.booleans(),
    remake=st.booleans(),
)
def test_the_fast_form_equals_the_readable_one(
    channels: int,
    cells: int,
    track: bool,
    norm: Norm,
    size: int,
    kind: str,
    seed: int,
    partial: int,
    edge_normalisation: bool,
    remake: bool,
) -> None:
    """Logits, gradients of images, weights, mixture and edges, and running statistics agree in float64.

    To 1e-9 of the largest entry: behind a batch norm over few pixels, rounding is magnified.
    """
    if channels % partial:
        partial = 1
    fast = make(channels, cells, track=track, seed=seed, partial=partial, edge_normalisation=edge_normalisation)
    set_remaking(fast, remake)
    readable = ReferenceSupernet(fast)
    generator = torch.Generator().manual_seed(seed)
    mixture = torch.rand(3 * cells, 6, 5, generator=generator, dtype=torch.float64)
    if kind == "one-hot":
        mixture = F.one_hot(mixture.argmax(-1), 5).double()
    elif kind == "with zeros":
        mixture = mixture * (mixture > 0.5)
    if kind != "per cell":
        mixture = mixture[0]
    results = []
    for network in (fast, readable):
        images = draw((3, 3, size, size), seed).requires_grad_()
        p = mixture.clone().requires_grad_()
        edges = torch.zeros(6, dtype=torch.float64) if not edge_normalisation else network.edge_logits
        assert isinstance(edges, Tensor)
        logits = network(images, p, norm) + 0 * edges.requires_grad_().sum()
        (logits * draw((3, 5), seed + 1)).sum().backward()
        results.append((logits.detach(), images.grad, p.grad, edges.grad))
    for ours, theirs in zip(*results, strict=True):
        assert ours is not None
        assert theirs is not None
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9 * (1 + float(theirs.abs().max())))
    expected = readable.weight_gradients()
    assert expected.keys() == {name for name, _ in fast.named_parameters()}
    for name, parameter in fast.named_parameters():
        assert parameter.grad is not None
        scale = 1e-9 * (1 + float(expected[name].abs().max()))
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-9, atol=scale)
    for name, state in ReferenceSupernet(fast).state_dict().items():
        torch.testing.assert_close(readable.state_dict()[name], state, rtol=1e-10, atol=1e-10)


def test_what_is_made_again_is_of_the_weights_that_the_pass_had() -> None:
    """Under weights put in by `functional_call`, gone in the backward pass, gradients are the same."""
    found = []
    for remake in (False, True):
        network = make(4, 1)
        set_remaking(network, remake)
        others = {name: (0.5 * p.detach()).requires_grad_() for name, p in network.named_parameters()}
        p = torch.full((6, 5), 0.2, dtype=torch.float64, requires_grad=True)
        logits = functional_call(network, others, (draw((4, 3, 8, 8)), p, "batch"))
        found.append(torch.autograd.grad(logits.square().sum(), [p, *others.values()]))
    for kept, remade in zip(*found, strict=True):
        assert torch.equal(kept, remade)


def test_wide_supernets_keep_less_for_the_backward_pass() -> None:
    """From 16 channels on, and not below, the 1x1 convolutions' outputs are made again."""
    assert [isinstance(b, SearchCell) and b.remakes for b in make(16).blocks] == [True, False, True, False, True]
    assert not any(isinstance(b, SearchCell) and b.remakes for b in make(8).blocks)


@pytest.mark.parametrize("remake", [False, True])
@pytest.mark.parametrize("partial", [1, 2])
def test_second_derivatives_equal_those_of_the_readable_form(partial: int, remake: bool) -> None:
    """The mixture's Hessian-vector product and the mixed product with the weights agree to 1e-9 in float64."""
    fast = make(4, 1, partial=partial, edge_normalisation=partial > 1)
    set_remaking(fast, remake)
    readable = ReferenceSupernet(fast)
    images, labels = draw((4, 3, 8, 8)), torch.tensor([0, 1, 2, 3])
    direction = draw((6, 5), 7)
    found = []
    for network in (fast, readable):
        p = torch.full((6, 5), 0.2, dtype=torch.float64, requires_grad=True)
        loss = F.cross_entropy(network(images, p, "batch"), labels)
        (gradient,) = torch.autograd.grad(loss, p, create_graph=True)
        curvature, stem = torch.autograd.grad((gradient * direction).sum(), [p, network.stem.weight])
        found.append((curvature, stem))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("track", [True, False])
def test_with_all_channels_a_partial_supernet_is_the_plain_one(track: bool) -> None:
    """At K = 1 logits, gradients and statistics are those of `Supernet`, bit for bit, from the same generator."""
    plain = make(4, 2, track=track)
    partial = PartialSupernet(plain.config, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert type(plain) is Supernet
    assert partial.state_dict().keys() == plain.state_dict().keys()
    partial.load_state_dict(plain.state_dict())
    results = []
    for network in (plain, partial):
        p = torch.rand(6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
        logits = network(draw((3, 3, 8, 8)), p)
        logits.square().sum().backward()
        gradients = [parameter.grad for parameter in network.parameters()]
        results.append([logits, p.grad, *gradients, *network.state_dict().values()])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*results, strict=True))


def test_edge_weights_are_the_softmax_over_the_edges_that_enter_a_node() -> None:
    """Node 1 has one edge, of weight 1; the two of node 2 and the three of node 3 each sum to 1, by their logits."""
    weights = edge_weights(torch.tensor([7.0, 0.0, np.log(3), np.log(2), np.log(3), np.log(5)], dtype=torch.float64))
    expected = torch.tensor([1, 1 / 4, 3 / 4, 2 / 10, 3 / 10, 5 / 10], dtype=torch.float64)
    torch.testing.assert_close(weights, expected, rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("partial", [2, 4])
def test_skip_alone_passes_all_channels_on_shuffled(partial: int) -> None:
    """Under `skip` on 1<-0 and 3<-1 and `none` elsewhere a cell adds up what passes by, each edge shuffled once."""
    cell = PartialCell(8, partial, track=False)
    share, x = 8 // partial, draw((2, 8, 4, 4))
    mixture = torch.zeros(6, 5, dtype=torch.float64)
    mixture[[0, 4], 1] = 1

    def edge(value: Tensor, skipped: bool) -> Tensor:
        parts = [value[:, [group * share + i]] for i in range(share) for group in range(partial)]
        for i in range(share):
            parts[i * partial] = parts[i * partial] * skipped
        return torch.cat(parts, dim=1)

    one = edge(x, True)
    two = edge(x, False) + edge(one, False)
    three = edge(x, False) + edge(one, True) + edge(two, False)
    network = make(8, 1, partial=partial)
    cell.double().load_state_dict(network.blocks[0].state_dict(), strict=False)
    got = cell(x, network.weigh(mixture, share, x), "batch")
    torch.testing.assert_close(got, three, rtol=1e-12, atol=1e-12)


def test_a_resized_supernet_has_the_shapes_of_one_born_so_and_keeps_its_parameters() -> None:
    """From K = 4 to 2 and back each parameter is the same object, and a state of a supernet of that K can be loaded."""
    network, wide = make(8, 1, partial=4), make(8, 1, partial=2, seed=1)
    assert isinstance(network, PartialSupernet)
    narrow, parameters = network.state_dict(), [id(p) for p in network.parameters()]
    network.resize(2)
    network.load_state_dict(wide.state_dict())
    assert network.config == wide.config
    images, p = draw((3, 3, 8, 8)), torch.rand(6, 5, dtype=torch.float64)
    assert torch.equal(network(images, p), wide(images, p))
    for ours, theirs in zip(network.parameters(), wide.parameters(), strict=True):
        assert ours.stride() == theirs.stride()
    network.resize(4)
    network.load_state_dict(narrow)
    assert parameters == [id(p) for p in network.parameters()]
    with pytest.raises(InputError, match="a multiple of 3 channels; got 8"):
        network.resize(3)


def test_a_discrete_network_inherits_no_narrow_operations() -> None:
    """A partial-channel supernet's operations do not fit the benchmark's network, and it says so."""
    with pytest.raises(ValueError, match="partial-channel supernet"):
        Network.inherit(make(8, 1, partial=2), Cell.from_number(0))


@pytest.mark.parametrize("norm", NORMS)
def test_a_one_hot_mixture_is_the_discrete_network(norm: Norm) -> None:
    """For 40 random cells the supernet under a one-hot mixture equals `Network` with the inherited weights."""
    supernet, images = make(4, 2), draw((3, 3, 8, 8))
    for number in np.random.default_rng(0).integers(0, 15625, 40):
        cell = Cell.from_number(int(number))
        network = Network.inherit(supernet, cell)
        mixture = torch.from_numpy(cell.one_hot())
        got, expected = network(images, norm), supernet(images, mixture, "batch" if norm == "train" else norm)
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


class PlainNetwork(nn.Module):
    """The benchmark's network from PyTorch's own layers alone, sharing no code with the project."""

    def __init__(self, cell: Cell, channels: int, cells: int, classes: int) -> None:
        super().__init__()

        def conv(a: int, b: int, k: int, stride: int = 1) -> nn.Module:
            return nn.Sequential(nn.ReLU(), nn.Conv2d(a, b, k, stride, k // 2, bias=False), nn.BatchNorm2d(b))

        def operation(name: str, c: int) -> nn.Module:
            if name.startswith("nor_conv"):
                return conv(c, c, int(name[-1]))
            if name == "avg_pool_3x3":
                return nn.AvgPool2d(3, 1, 1, count_include_pad=False)
            return nn.Identity()

        self.cell = cell
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        self.stages = nn.ModuleList()
        self.reductions = nn.ModuleList()
        self.shortcuts = nn.ModuleList()
        for stage in range(3):
            c = channels * 2**stage
            names = [OPERATIONS[o] for o in cell.operations]
            self.stages.append(nn.ModuleList(nn.ModuleList(operation(name, c) for name in names) for _ in range(cells)))
            if stage < 2:
                self.reductions.append(nn.Sequential(conv(c, 2 * c, 3, 2), conv(2 * c, 2 * c, 3)))
                self.shortcuts.append(nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(c, 2 * c, 1, bias=False)))
        self.last = nn.Sequential(nn.BatchNorm2d(4 * channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(4 * channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images to logits."""
        x = self.stem(x)
        for stage, cells in enumerate(self.stages):
            assert isinstance(cells, nn.ModuleList)
            for cell in cells:
                assert isinstance(cell, nn.ModuleList)
                nodes = [x]
                for node in (1, 2, 3):
                    value = torch.zeros_like(x)
                    for edge, (target, source) in enumerate(EDGES):
                        if target == node and self.cell.operations[edge] != 0:
                            value = value + cell[edge](nodes[source])
                    nodes.append(value)
                x = nodes[3]
            if stage < 2:
                x = self.reductions[stage](x) + self.shortcuts[stage](x)
        logits: Tensor = self.fc(self.last(x))
        return logits


@pytest.mark.parametrize("mode", ["train", "running"])
@pytest.mark.parametrize("number", [0, 7812, 15624, 9467, 4321])
def test_the_discrete_network_equals_one_of_pytorchs_own_layers(number: int, mode: Literal["train", "running"]) -> None:
    """`Network` and a network written from nn.Conv2d, nn.BatchNorm2d and nn.AvgPool2d agree in float64."""
    cell = Cell.from_number(number)
    config = SupernetConfig(channels=4, cells_per_stage=2, num_classes=7)
    ours = Network(cell, config, generator=torch.Generator().manual_seed(3)).double()
    plain = PlainNetwork(cell, 4, 2, 7).double().train(mode == "train")
    mine = [p for p in ours.parameters() if p.dim() > 1]
    theirs = {id(p): p for p in plain.parameters() if p.dim() > 1}
    by_shape: dict[tuple[int, ...], list[Tensor]] = {}
    for parameter in theirs.values():
        by_shape.setdefault(tuple(parameter.shape), []).append(parameter)
    with torch.no_grad():
        plain.stem[0].weight.copy_(ours.stem.weight)  # type: ignore[arg-type]  # a Conv2d's
        plain.fc.load_state_dict(ours.classifier.state_dict())
        place = 0
        for stage, cells in enumerate(plain.stages):
            for module in cells:  # type: ignore[attr-defined]  # a ModuleList
                for edge, operation in enumerate(module):
                    if isinstance(operation, nn.Sequential):
                        operation[1].weight.copy_(ours.blocks[place].edges[edge].convolution.weight)
                place += 1
            if stage < 2:
                block = ours.blocks[place]
                plain.reductions[stage][0][1].weight.copy_(block.conv_a.weight)  # type: ignore[index]
                plain.reductions[stage][1][1].weight.copy_(block.conv_b.weight)  # type: ignore[index]
                plain.shortcuts[stage][1].weight.copy_(block.shortcut.weight)  # type: ignore[index]
                place += 1
    images = draw((4, 3, 8, 8))
    torch.testing.assert_close(ours(images, mode), plain(images), rtol=1e-10, atol=1e-10)
    assert sum(p.numel() for p in mine) == sum(p.numel() for p in theirs.values())


@pytest.mark.parametrize("number", [0, 15624, 9467])
def test_a_discrete_network_has_the_closed_forms_number_of_weights(number: int) -> None:
    """`Network` at the benchmark's size holds exactly `costs.parameters` numbers."""
    network = Network(Cell.from_number(number), SupernetConfig(), generator=torch.Generator())
    assert count_weights(network) == int(costs.parameters(number, costs.SKELETONS["cifar10"]))


def test_window_sizes_count_the_pixels_under_each_window() -> None:
    """The divisor of the average pooling is a box filter over ones, also where the image is one pixel wide."""
    for height, width in ((1, 1), (1, 4), (2, 2), (5, 3)):
        x = torch.ones(1, 1, height, width, dtype=torch.float64)
        expected = F.conv2d(x, torch.ones(1, 1, 3, 3, dtype=torch.float64), padding=1)[0, 0]
        assert torch.equal(window_sizes(x), expected)


@pytest.mark.parametrize("norm", ["batch", "running"])
def test_only_norm_train_moves_the_running_statistics(norm: Norm) -> None:
    """`batch` and `running` leave every buffer bit for bit as it was; `train` moves them."""
    network = make()
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    network(draw((3, 3, 8, 8)), torch.full((6, 5), 0.2, dtype=torch.float64), norm)
    assert all(torch.equal(before[name], buffer) for name, buffer in network.named_buffers())
    network(draw((3, 3, 8, 8)), torch.full((6, 5), 0.2, dtype=torch.float64), "train")
    moved = [n for n, buffer in network.named_buffers() if "running" in n and torch.equal(before[n], buffer)]
    assert moved == []


def test_running_statistics_follow_batch_norms_own_rule() -> None:
    """After one training pass the stem's running mean is 0.9 times the old one and 0.1 times the batch's."""
    network, images = make(), draw((3, 3, 8, 8))
    old = network.stem_norm.running_mean
    assert old is not None
    expected = 0.9 * old + 0.1 * F.conv2d(images, network.stem.weight, padding=1).mean((0, 2, 3)).detach()
    network(images, torch.full((6, 5), 0.2, dtype=torch.float64), "train")
    assert network.stem_norm.running_mean is not None
    torch.testing.assert_close(network.stem_norm.running_mean, expected, rtol=1e-12, atol=1e-12)


def test_the_same_generator_gives_the_same_weights_and_leaves_the_global_state_alone() -> None:
    """Initial weights come from the generator alone."""
    state = torch.random.get_rng_state()
    one, other, third = make(seed=5), make(seed=5), make(seed=6)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not torch.equal(one.stem.weight, third.stem.weight)


def test_initial_weights_are_pytorchs_defaults() -> None:
    """Weights fill U(-1/√fan_in, 1/√fan_in): the bound is kept and nearly reached, as in nn.Conv2d and nn.Linear."""
    network = Supernet(SupernetConfig(), generator=torch.Generator().manual_seed(0))
    for name, parameter in network.named_parameters():
        if parameter.dim() > 1:
            bound = parameter[0].numel() ** -0.5
            largest = float(parameter.detach().abs().max())
            assert 0.95 * bound < largest <= bound, name


def test_a_mixture_of_the_wrong_shape_is_refused() -> None:
    """The message quotes the shape."""
    with pytest.raises(ValueError, match=r"got \(5, 6\)"):
        make()(draw((2, 3, 8, 8)), torch.ones(5, 6, dtype=torch.float64))


@pytest.mark.parametrize("field", ["channels", "cells_per_stage", "num_classes"])
def test_a_size_below_one_is_refused(field: str) -> None:
    """The message names the field and quotes the value."""
    with pytest.raises(InputError, match=f"{field} is at least 1; got 0"):
        SupernetConfig(**{field: 0})
