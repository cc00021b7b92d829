"""OLES."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.reference import ReferenceCell, ReferenceSupernet
from dartboard.benchmark.space import CONV1X1, CONV3X3, E
from dartboard.benchmark.streams import stream
from dartboard.benchmark.supernet import Supernet, SupernetConfig
from dartboard.harness.toys import CLASSES, toy_epoch, toy_searcher, toy_supernet
from dartboard.harness.toys import toy_batch as batch
from dartboard.harness.toys import toy_numbers as normal
from dartboard.searchers.darts_v1 import Config as DartsConfig
from dartboard.searchers.darts_v1 import DartsV1
from dartboard.searchers.oles import Config, Oles, similarity

CELLS = 3


def make(**options: Any) -> Oles:
    """A fresh one in float64."""
    return toy_searcher(Oles, **{"epochs": 4, **options})


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of two vectors; 0 where one is 0 (behind a dead ReLU)."""
    return float(a @ b / np.sqrt((a @ a) * (b @ b))) if a.any() and b.any() else 0.0


def test_the_papers_similarity_is_the_cosine_of_all_weights() -> None:
    """Operation by operation, by NumPy; 1 with itself, -1 with its opposite, whatever the lengths."""
    train, valid = normal(2, 3, 4, 18), normal(2, 3, 4, 18, seed=1)
    ours = similarity(train, valid, "paper")
    for cell in range(2):
        for edge in range(3):
            expected = cosine(train[cell, edge].numpy().ravel(), valid[cell, edge].numpy().ravel())
            assert float(ours[cell, edge]) == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(similarity(train, 3 * train, "paper"), torch.ones(2, 3, dtype=torch.float64))
    torch.testing.assert_close(similarity(train, -train, "paper"), -torch.ones(2, 3, dtype=torch.float64))


def test_the_released_similarity_is_by_output_channels_and_with_the_gradient_not_cleared() -> None:
    """At each place of the kernel the cosine over the output channels of train + valid with train, then their mean."""
    train, valid = normal(1, 2, 4, 18), normal(1, 2, 4, 18, seed=1)
    ours = similarity(train, valid, "released")
    for edge in range(2):
        one, other = train[0, edge].numpy(), (train + valid)[0, edge].numpy()
        expected = np.mean([cosine(one[:, place], other[:, place]) for place in range(18)])
        assert float(ours[0, edge]) == pytest.approx(expected, rel=1e-12)


def literal_similarities(searcher: Oles, train: Batch, valid: Batch, variant: str, clip: float) -> np.ndarray:
    """s (cells, E, 2) of 1x1 and 3x3, on the readable supernet, where each operation has a module of its own."""
    network, mixture = ReferenceSupernet(searcher.supernet), searcher.mixture().detach()  # type: ignore[arg-type]
    cells = [block for block in network.blocks if isinstance(block, ReferenceCell)]
    found = []
    for data in (train, valid):
        network.zero_grad()
        F.cross_entropy(network(data.images, mixture, "batch"), data.labels).backward()
        factor = 1.0
        if data is train:
            norm = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]).norm()
            factor = min(1.0, clip / float(norm))
        found.append(
            [
                [
                    [factor * cell.edges[edge][o].convolution.weight.grad.numpy() for o in (CONV1X1, CONV3X3)]  # type: ignore[index, union-attr]
                    for edge in range(E)
                ]
                for cell in cells
            ]
        )
    result = np.empty((len(cells), E, 2))
    for cell in range(len(cells)):
        for edge in range(E):
            for kernel in range(2):
                a, b = found[0][cell][edge][kernel], found[1][cell][edge][kernel]
                if variant == "paper":
                    result[cell, edge, kernel] = cosine(a.ravel(), b.ravel())
                else:
                    a, b = a.reshape(len(a), -1), (a + b).reshape(len(a), -1)
                    result[cell, edge, kernel] = np.mean([cosine(a[:, i], b[:, i]) for i in range(a.shape[1])])
    return result


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_it_compares_the_operations_gradients(variant: str) -> None:
    """After one comparison, the sums are what the readable supernet's own modules have, the training part clipped."""
    # The learning rate is nearly 0, so that both gradients are taken at the same weights; the clipping divides by the
    # norm + 1e-6, of 0.5 or more: 1e-5 relative at most.
    searcher = make(variant=variant, gradient_clip=0.1, weight_learning_rate=1e-12, weight_learning_rate_min=0.0)
    searcher.begin_epoch(0, torch.Generator())
    expected = literal_similarities(searcher, batch(0), batch(1), variant, 0.1)
    searcher.weight_step(batch(0))
    searcher.architecture_step(batch(0), batch(1))
    ours = sorted(float(x) for total in searcher.sums for x in total.flatten())
    assert ours == pytest.approx(sorted(expected.ravel()), rel=1e-4, abs=1e-6)
    assert len(ours) == CELLS * E * 2


@pytest.mark.parametrize("decay", [0.0, 5e-4])
def test_nesterov_momentum_does_not_get_into_the_gradients_that_are_kept(decay: float) -> None:
    """After two steps under `autodl` they are the second step's own, whether the weights decay or not."""
    searcher = make(protocol="autodl", weight_decay=decay)
    searcher.begin_epoch(0, torch.Generator())
    searcher.weight_step(batch(0))
    network = copy.deepcopy(searcher.supernet)
    loss = F.cross_entropy(network(batch(1).images, searcher.mixture().detach()), batch(1).labels)
    own = searcher.by_operation(list(torch.autograd.grad(loss, list(network.parameters()))))
    searcher.weight_step(batch(1))
    for ours, expected in zip(searcher.gradients, own, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("variant", "steps"), [("paper", 5), ("released", 6)])
def test_it_freezes_below_the_threshold_after_m_steps(variant: str, steps: int) -> None:
    """Means of M values, or the released 21 values over 20, are compared once, and begin anew."""
    searcher = make(variant=variant, iterations=5, threshold=0.4)
    pairs = [(value, other) for value in (0.5, 0.3) for other in (0.5, 0.3)]
    for step in range(1, steps + 1):
        valid = []
        for gradient in searcher.gradients:
            gradient.copy_(normal(*gradient.shape, seed=step))
            valid.append(gradient.clone())
        # Every cosine is 1 here; 1 is counted, and then taken down to the planned value.
        searcher.compare(valid)
        if searcher.compared:
            for total in searcher.sums:
                total -= 1
                for cell, edge in np.ndindex(*total.shape):
                    total[cell, edge] += pairs[(cell + edge) % 4][0] if step % 2 else pairs[(cell + edge) % 4][1]
    assert searcher.compared == 0
    last = 1.0  # of the last step, which is not taken down
    for frozen in searcher.frozen:
        for cell, edge in np.ndindex(*frozen.shape):
            odd, even = pairs[(cell + edge) % 4]
            values = [odd if step % 2 else even for step in range(1, steps)] + [last]
            assert bool(frozen[cell, edge]) == (sum(values) / 5 < 0.4)
    assert all(bool((total == 0).all()) for total in searcher.sums)


def test_what_is_frozen_never_moves_again() -> None:
    """With a threshold of 1 all convolutions of the cells freeze, and stand still; the rest of the network trains."""
    searcher = make(threshold=1.0, iterations=1, variant="paper")
    toy_epoch(searcher, searcher.config.protocol, 0)
    assert all(bool(frozen.all()) for frozen in searcher.frozen)
    before = {name: weight.detach().clone() for name, weight in searcher.supernet.named_parameters()}
    twin = copy.deepcopy(searcher)
    restored = make(threshold=1.0, iterations=1, variant="paper")
    restored.load_state_dict(searcher.state_dict())
    for one in (searcher, twin, restored):
        for epoch in (1, 2):
            toy_epoch(one, one.config.protocol, epoch)
        for name, weight in one.supernet.named_parameters():
            in_cell = ".conv3x3." in name or ".conv1x1." in name
            assert torch.equal(weight, before[name]) == in_cell, name


def test_one_frozen_operation_stands_still_alone() -> None:
    """Only the output channels of the frozen operation keep their weights, among all of the same layer."""
    size = SupernetConfig(channels=2, cells_per_stage=2, num_classes=CLASSES)
    supernet = Supernet(size, generator=stream(0, "supernet"), dtype=torch.float64)
    searcher = Oles(supernet, make(threshold=-1.0).config, generator=stream(0, "a"))
    assert [len(group) for group in searcher.groups] == [2] * 18
    searcher.frozen[0][1, 0] = True  # second cell of its group, first edge
    place = searcher.groups[0][1]
    width = searcher.gradients[0].shape[2]
    before = [weight.detach().clone() for weight in searcher.weights.parameters]
    toy_epoch(searcher, searcher.config.protocol, 0)
    for index, (weight, old) in enumerate(zip(searcher.weights.parameters, before, strict=True)):
        moved = (weight != old).flatten(1).any(1) if weight.dim() > 1 else weight != old
        if index == place:
            assert not bool(moved[:width].any())
            assert bool(moved[width:].all())
        else:
            assert bool(moved.any())


def test_what_is_frozen_does_not_count_in_the_clipped_norm() -> None:
    """A step with all of one layer frozen is SGD on the gradient clipped by the norm of the others."""
    searcher = make(gradient_clip=0.01, threshold=-1.0)
    searcher.frozen[0][:] = True
    searcher.begin_epoch(0, torch.Generator())
    network = copy.deepcopy(searcher.supernet)
    weights = list(network.parameters())
    loss = F.cross_entropy(network(batch(0).images, searcher.mixture().detach(), "batch"), batch(0).labels)
    gradients = torch.autograd.grad(loss, weights)
    held = set(searcher.groups[0])
    norm = torch.cat([g.flatten() for place, g in enumerate(gradients) if place not in held]).norm()
    searcher.weight_step(batch(0))
    for place, (new, old, gradient) in enumerate(zip(searcher.supernet.parameters(), weights, gradients, strict=True)):
        expected = old if place in held else old - 0.025 * (0.01 / norm * gradient + 3e-4 * old)
        torch.testing.assert_close(new, expected, rtol=1e-6, atol=1e-8)


def test_before_anything_freezes_it_is_darts() -> None:
    """With a threshold that no cosine is below, the state is that of first-order DARTS, by as many images."""
    searcher = make(threshold=-1.0, iterations=1, variant="paper")
    darts = DartsV1(
        toy_supernet(dtype=torch.float64), DartsConfig(protocol=searcher.config.protocol), generator=stream(0, "a")
    )
    for method in (searcher, darts):
        results = [result for epoch in range(2) for result in toy_epoch(method, searcher.config.protocol, epoch)]
        assert [result.images for result in results] == [12, 10, 12, 10]
    assert not any(bool(frozen.any()) for frozen in searcher.frozen)
    torch.testing.assert_close(searcher.alpha, darts.alpha, rtol=1e-9, atol=1e-12)
    for ours, theirs in zip(searcher.supernet.parameters(), darts.supernet.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_the_threshold_goes_with_the_variant() -> None:
    """The released code's 0.4 with its own cosine, 0 with the plain one, and what is given before either."""
    assert Config().limit == 0.4
    assert Config(variant="paper").limit == 0.0
    assert Config(variant="paper", threshold=0.3).limit == 0.3
    assert Config(threshold=0.0).limit == 0.0


def test_gradients_at_right_angles() -> None:
    """Of one length, they have a similarity of 0 by the plain cosine and of 1/√2 by the released one."""
    train, valid = torch.zeros(1, 1, 2, 3, dtype=torch.float64), torch.zeros(1, 1, 2, 3, dtype=torch.float64)
    train[..., 0, :], valid[..., 1, :] = 1, 1
    assert float(similarity(train, valid, "paper")) == 0
    assert float(similarity(train, valid, "released")) == pytest.approx(2**-0.5, rel=1e-12)


def test_wrong_options_are_refused() -> None:
    """A threshold that is no cosine, no iterations, an unknown variant."""
    with pytest.raises(InputError, match=r"threshold is a cosine, from -1 to 1; got 1\.5"):
        Config(threshold=1.5)
    with pytest.raises(InputError, match="iterations is at least 1; got 0"):
        Config(iterations=0)
    with pytest.raises(InputError, match="unknown variant 'papr'; did you mean 'paper'"):
        Config(variant="papr")  # type: ignore[arg-type]  # that is the point
