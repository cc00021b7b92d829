"""DrNAS."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.partial import PartialCell, build_supernet
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import stream
from dartboard.benchmark.supernet import Supernet, SupernetConfig
from dartboard.harness.grid import Method
from dartboard.harness.guard import differences, flat
from dartboard.harness.prepare import prepare_searcher
from dartboard.harness.toys import toy_batch as batch
from dartboard.harness.toys import toy_searcher
from dartboard.searchers._catalogue import SEARCHERS
from dartboard.searchers._training import resolve_protocol
from dartboard.searchers.drnas import (
    FLOOR,
    Config,
    DrNas,
    concentration,
    divergence_from_uniform,
    draw,
    stage_of,
)

ALPHA = torch.tensor([-1.0, 0.0, 0.5, 1.0, 0.0], dtype=torch.float64)


def make(**options: Any) -> DrNas:
    """A fresh one in float64."""
    return toy_searcher(DrNas, **options)


def seeded(seed: int) -> torch.Generator:
    """A generator."""
    return torch.Generator().manual_seed(seed)


def test_the_concentrations_of_known_logits() -> None:
    """ELU(α) + 1 of (-1, 0, 0.5, 1, 0) is (1/e, 1, 1.5, 2, 1); α = 0 is Dir(1); far below 0 the floor holds."""
    expected = torch.tensor([0.36787944117144233, 1.0, 1.5, 2.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(concentration(ALPHA), expected, rtol=1e-15, atol=0)
    assert float(concentration(torch.tensor(-100.0))) == pytest.approx(FLOOR)


def test_the_divergence_of_known_concentrations() -> None:
    """KL(Dir(1) ‖ Dir(1)) = 0; that of the logits above is 1.3831; and PyTorch's own closed form agrees."""
    beta = concentration(ALPHA)[None]
    assert float(divergence_from_uniform(torch.ones(E, O, dtype=torch.float64))) == pytest.approx(0, abs=1e-13)
    assert float(divergence_from_uniform(beta)) == pytest.approx(1.3831, abs=5e-5)
    rows = 4 * torch.rand(E, O, generator=seeded(0), dtype=torch.float64) + 0.01
    independent = kl_divergence(Dirichlet(rows), Dirichlet(torch.ones_like(rows))).sum()
    torch.testing.assert_close(divergence_from_uniform(rows), independent, rtol=1e-12, atol=0)


def test_the_draws_have_the_moments_of_the_distribution() -> None:
    """Mean β/s and variance m(1 - m)/(s + 1), within six standard errors of 100,000 draws."""
    beta = concentration(ALPHA)
    count = 100_000
    theta = draw(beta.expand(count, O), seeded(1))
    torch.testing.assert_close(theta.sum(-1), torch.ones(count, dtype=torch.float64), rtol=1e-12, atol=0)
    total = beta.sum()
    mean = beta / total
    variance = mean * (1 - mean) / (total + 1)
    assert bool(((theta.mean(0) - mean).abs() < 6 * (variance / count).sqrt()).all())
    torch.testing.assert_close(theta.var(0), variance, rtol=0.03, atol=0)


def test_the_gradient_through_a_draw_is_that_of_the_expectation() -> None:
    """E[Σ c_o θ_o²] = Σ c_o β_o(β_o + 1)/(s(s + 1)): the mean pathwise gradient is the gradient of this closed form."""
    count = 200_000
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0], dtype=torch.float64)
    beta = concentration(ALPHA).requires_grad_()
    total = beta.sum()
    expectation = (weights * beta * (beta + 1)).sum() / (total * (total + 1))
    (expected,) = torch.autograd.grad(expectation, [beta])
    rows = beta.detach().expand(count, O).clone().requires_grad_()
    (each,) = torch.autograd.grad((weights * draw(rows, seeded(2)) ** 2).sum(), [rows])
    standard_error = each.std(0) / count**0.5
    assert bool(((each.mean(0) - expected).abs() < 6 * standard_error).all())
    assert float(standard_error.max()) < 0.01 * float(expected.abs().max())  # so that the line above says something


def test_extreme_concentrations_keep_everything_finite() -> None:
    """In float32, from the floor to 50, draws and their gradients are finite (PyTorch issue 57447)."""
    logits = torch.tensor([-100.0, -10.0, 0.0, 49.0, -3.0]).expand(2000, O).clone().requires_grad_()
    theta = draw(concentration(logits), seeded(3))
    (gradient,) = torch.autograd.grad((theta * torch.arange(5.0)).sum(), [logits])
    assert bool(theta.isfinite().all())
    assert bool(gradient.isfinite().all())


def test_a_draw_leaves_the_global_random_state_and_follows_its_generator() -> None:
    """Equal generators give equal draws whatever the global state, which is bit for bit as before; then new draws."""
    beta = concentration(ALPHA).expand(E, O)
    generator = seeded(4)
    before = torch.random.get_rng_state()
    first = draw(beta, generator)
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(99)
        assert torch.equal(draw(beta, seeded(4)), first)
    assert not torch.equal(draw(beta, generator), first)


def test_the_mixture_is_the_mean_and_its_order_is_the_logits() -> None:
    """β/Σβ is uniform at α = 0, and monotone in α."""
    searcher = make()
    with torch.no_grad():
        searcher.alpha.zero_()
    torch.testing.assert_close(
        searcher.mixture().detach(), torch.full((E, O), 0.2, dtype=torch.float64), rtol=1e-15, atol=0
    )
    with torch.no_grad():
        searcher.alpha.copy_(torch.randn(E, O, generator=seeded(5), dtype=torch.float64))
    assert torch.equal(searcher.mixture().argsort(-1), searcher.alpha.argsort(-1))


def test_each_half_of_a_step_has_a_draw_of_its_own() -> None:
    """Two passes, two different points of the simplex."""
    searcher = make()
    searcher.begin_epoch(0, seeded(6))
    seen: list[Tensor] = []
    searcher.supernet.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1].detach().clone()))
    result = searcher.step(batch(0), batch(1))
    assert len(seen) == 2
    assert result.images == 12
    assert not torch.equal(seen[0], seen[1])
    for theta in seen:
        torch.testing.assert_close(theta.sum(-1), torch.ones(E, dtype=torch.float64), rtol=1e-12, atol=0)


@pytest.mark.parametrize("anchor", ["l2", "kl"])
def test_the_anchor_pulls_by_its_own_gradient(anchor: str) -> None:
    """A step of a hand-made Adam on L_val(θ), plus λα or plus λ∇KL (by PyTorch's KL), leaves the same logits."""
    searcher = make(anchor=anchor, architecture_decay=0.5)
    with torch.no_grad():
        searcher.alpha.copy_(torch.randn(E, O, generator=seeded(7), dtype=torch.float64))
    alpha = searcher.alpha.detach().clone().requires_grad_()
    network = copy.deepcopy(searcher.supernet)
    searcher.begin_epoch(0, seeded(8))
    twin = seeded(8)
    adam = torch.optim.Adam([alpha], lr=3e-4, betas=(0.5, 0.999), weight_decay=0)
    for seed in range(3):
        beta = torch.where(alpha > 0, alpha + 1, alpha.exp())
        logits = network(batch(seed).images, draw(beta, twin))
        loss = torch.nn.functional.cross_entropy(logits, batch(seed).labels)
        if anchor == "kl":
            pull = kl_divergence(Dirichlet(beta), Dirichlet(torch.ones_like(beta))).sum()
        else:
            pull = (alpha**2).sum() / 2
        adam.zero_grad()
        (loss + 0.5 * pull).backward()
        adam.step()
        searcher.architecture_step(batch(9), batch(seed))
    torch.testing.assert_close(searcher.alpha, alpha, rtol=1e-9, atol=1e-12)


def test_an_unknown_anchor_is_refused() -> None:
    """`anchor` has two values."""
    with pytest.raises(InputError, match="'l1'"):
        Config(anchor="l1")  # type: ignore[arg-type]  # the wrong value is the point


PROGRESSIVE = {"partial": [4, 2], "keep": [5, 3], "warm_up": 0.25, "epochs": 8}


def progressive(channels: int = 4, **options: object) -> DrNas:
    """A fresh one with two stages in float64."""
    protocol, own = resolve_protocol({"batch_size": 6, **PROGRESSIVE, **options}, {})
    config = Config(protocol=protocol, **own)
    size = SupernetConfig(channels=channels, cells_per_stage=1, num_classes=3)
    network = build_supernet(DrNas.supernet_config(size, config), generator=stream(0, "s"), dtype=torch.float64)
    return DrNas(network, config, generator=stream(0, "a"))


def epoch_of(searcher: DrNas, epoch: int) -> None:
    """An epoch of one step."""
    searcher.begin_epoch(epoch, stream(2, epoch))
    searcher.step(batch(epoch), batch(epoch + 100))


def test_the_published_stages() -> None:
    """Of 100 epochs 50 have K = 4 and five operations, 50 K = 2 and three; α rests in the first ten of each."""
    entry = SEARCHERS["drnas-progressive"]
    prepared = prepare_searcher(Method(label="p", entry=entry, options=entry.options))
    assert (prepared.config.partial, prepared.config.keep) == ((4, 2), (5, 3))
    network = build_supernet(
        prepared.supernet_config(SupernetConfig(channels=4, cells_per_stage=1)), generator=torch.Generator()
    )
    searcher = prepared.factory(network, prepared.config, generator=stream(0, "a"))
    seen = []
    for epoch in range(102):
        searcher.begin_epoch(epoch, stream(2, epoch))
        seen.append((network.config.partial, searcher.left.shape[1], searcher.warming))
    first, second = [(4, 5, e < 10) for e in range(50)], [(2, 3, e < 10) for e in range(52)]
    assert seen == first + second


@pytest.mark.parametrize(("epochs", "stages"), [(2, 2), (3, 2), (7, 3), (100, 2), (5, 5)])
def test_every_epoch_belongs_to_a_stage_that_began_where_it_is_said_to(epochs: int, stages: int) -> None:
    """Stages follow one another, differ in length by one epoch at most, and count their epochs from 0."""
    told = [stage_of(epoch, epochs, stages) for epoch in range(epochs)]
    lengths = [sum(stage == s for stage, _ in told) for s in range(stages)]
    assert max(lengths) - min(lengths) <= 1
    assert told == [(s, e) for s, length in enumerate(lengths) for e in range(length)]
    assert stage_of(10 * epochs, epochs, stages)[0] == stages - 1


def test_the_operations_with_the_largest_logits_are_left_and_the_others_weigh_nothing() -> None:
    """After the second stage began three operations an edge have all the weight, and only their logits a gradient."""
    searcher = progressive()
    with torch.no_grad():
        searcher.alpha.copy_(torch.randn(E, O, generator=seeded(3), dtype=torch.float64))
    expected = searcher.alpha.detach().argsort(-1, descending=True)[:, :3].sort(-1).values
    searcher.begin_epoch(4, stream(2, 4))
    assert torch.equal(searcher.left, expected)
    kept = torch.zeros(E, O, dtype=torch.bool).scatter(1, expected, True)
    assert torch.equal(searcher.mixture() > 0, kept)
    seen: list[Tensor] = []
    searcher.supernet.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1].detach().clone()))
    searcher.warming = False
    before = searcher.alpha.detach().clone()
    searcher.step(batch(0), batch(1))
    for theta in seen:
        assert torch.equal(theta > 0, kept)
        torch.testing.assert_close(theta.sum(-1), torch.ones(E, dtype=torch.float64), rtol=1e-12, atol=0)
    moved = searcher.alpha.detach() - before
    decayed = before * ~kept  # where nothing but the weight decay has a gradient Adam follows its sign
    torch.testing.assert_close(moved[~kept], -3e-4 * decayed[~kept].sign(), rtol=1e-3, atol=1e-9)


def test_what_is_left_of_a_dirichlet_draw_and_scaled_is_a_draw_of_what_is_left() -> None:
    """Means and variances of 20,000 masked and scaled draws are those of Dir(β) of the kept operations."""
    beta = concentration(ALPHA)
    draws = Dirichlet(beta.expand(20_000, -1)).sample()[:, [1, 3, 4]]
    scaled = draws / draws.sum(-1, keepdim=True)
    own = Dirichlet(beta[[1, 3, 4]])
    # Five standard errors: of a mean √(v/n), of a variance at most √(1/n)·v·3 for numbers in [0, 1] of this spread.
    assert bool(((scaled.mean(0) - own.mean).abs() < 5 * (own.variance / 20_000).sqrt()).all())
    assert bool(((scaled.var(0) - own.variance).abs() < 15 * own.variance / 20_000**0.5).all())


def test_wider_layers_are_copies_of_channels_momentum_and_statistics_alike() -> None:
    """Each kernel of the wider layer is one of the old ones by inputs and outputs, and all else follows its output."""
    searcher = progressive(channels=8)
    epoch_of(searcher, 0)
    network = searcher.supernet
    before: list[list[Tensor]] = []
    for cell in network.blocks:
        for convolution, norm in cell.layers() if isinstance(cell, PartialCell) else ():
            searcher.weights.sgd.state[convolution.weight]["momentum_buffer"] = 2 * convolution.weight.detach()
            norm.running_mean.copy_(convolution.weight[:, 0].sum((1, 2)))
            norm.running_var.copy_(convolution.weight[:, 0].square().sum((1, 2)))
            before.append([part.clone() for part in convolution.weight.detach().split(cell.channels)])
    stem = searcher.weights.sgd.state[network.stem.weight]["momentum_buffer"].clone()
    searcher.begin_epoch(4, stream(2, 4))
    found, layers = 0, iter(before)
    for cell in network.blocks:
        for convolution, norm in cell.layers() if isinstance(cell, PartialCell) else ():
            weight, old = convolution.weight.detach(), next(layers)
            momentum = searcher.weights.sgd.state[convolution.weight]["momentum_buffer"]
            assert torch.equal(momentum, 2 * weight)
            assert momentum.stride() == weight.stride()
            for edge, part in enumerate(weight.split(cell.channels)):
                narrow = cell.channels // 2
                assert torch.equal(part[:narrow, :narrow], old[edge])
                for row in range(narrow, cell.channels):
                    assert any(torch.equal(part[row], part[other]) for other in range(narrow))
                for column in range(narrow, cell.channels):
                    assert any(torch.equal(part[:, column], part[:, other]) for other in range(narrow))
                found += 1
            assert torch.equal(norm.running_mean, weight[:, 0].sum((1, 2)))
            assert torch.equal(norm.running_var, weight[:, 0].square().sum((1, 2)))
    assert found == 3 * 2 * E
    assert torch.equal(searcher.weights.sgd.state[network.stem.weight]["momentum_buffer"], stem)


def test_it_trains_on_in_the_second_stage() -> None:
    """After the change every weight of the network moves, the new channels' included."""
    searcher = progressive()
    epoch_of(searcher, 3)
    searcher.begin_epoch(4, stream(2, 4))
    before = [p.detach().clone() for p in searcher.supernet.parameters()]
    searcher.step(batch(4), batch(5))
    still = [n for (n, p), was in zip(searcher.supernet.named_parameters(), before, strict=True) if torch.equal(p, was)]
    assert still == []


@pytest.mark.parametrize("done", [1, 3, 4, 5, 7])
def test_a_search_restored_in_any_stage_goes_on_bit_for_bit(done: int) -> None:
    """Kept after 1 to 7 of 8 epochs and loaded into a fresh one, or into a finished one, it ends in the same state."""
    first, fresh, finished = progressive(), progressive(), progressive()
    for epoch in range(8):
        epoch_of(finished, epoch)
    for epoch in range(done):
        epoch_of(first, epoch)
    kept = copy.deepcopy(first.state_dict())
    for other in (fresh, finished):
        other.load_state_dict(copy.deepcopy(kept))
    for epoch in range(done, 8):
        for searcher in (first, fresh, finished):
            epoch_of(searcher, epoch)
    states = [flat(searcher.state_dict()) for searcher in (first, fresh, finished)]
    assert differences(states[0], states[1]) == []
    assert differences(states[0], states[2]) == []


def test_one_stage_of_all_channels_and_operations_is_the_plain_search() -> None:
    """Stages that change nothing leave the plain search as it is, bit for bit."""
    plain, staged = make(), make(partial=[1, 1], keep=[5, 5])
    for epoch in range(3):
        for searcher in (plain, staged):
            searcher.begin_epoch(epoch, stream(2, epoch))
            searcher.step(batch(epoch), batch(epoch + 100))
    assert torch.equal(plain.alpha, staged.alpha)
    for ours, theirs in zip(plain.supernet.parameters(), staged.supernet.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"partial": [2, 4], "keep": [5, 3]}, r"partial is a list .* that never grow; got \(2, 4\)"),
        ({"keep": [0]}, r"keep is a list of whole numbers of at least 1"),
        ({"keep": [6]}, r"keep is at most 5; got \(6,\)"),
        ({"partial": [4, 2]}, r"partial and keep have an entry for each stage; got \(4, 2\) and \(5,\)"),
        ({"partial": [], "keep": []}, "partial is a list"),
        ({"warm_up": -0.1}, "warm_up is a share between 0 and 1; got -0.1"),
    ],
)
def test_stages_that_make_no_sense_are_refused(fields: dict[str, object], message: str) -> None:
    """One line quotes the values."""
    with pytest.raises(InputError, match=message):
        Config(**fields)  # type: ignore[arg-type]  # lists, as from a grid


def test_a_supernet_that_does_not_fit_the_stages_is_refused() -> None:
    """A plain supernet for a search with partial channels, and channels that a later stage cannot divide."""
    config = Config(partial=(4, 2), keep=(5, 3))
    with pytest.raises(InputError, match="trains a supernet of its own kind"):
        DrNas(Supernet(SupernetConfig(), generator=torch.Generator()), config, generator=stream(0, "a"))
    with pytest.raises(InputError, match="a multiple of 3 channels; got 16"):
        DrNas.supernet_config(SupernetConfig(), Config(partial=(4, 3), keep=(5, 5)))
