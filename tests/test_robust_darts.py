"""Robust DARTS: DARTS-ES."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import stream
from dartboard.harness.toys import toy_batch as batch
from dartboard.harness.toys import toy_epoch, toy_searcher, toy_supernet
from dartboard.searchers.darts_v1 import Config as DartsConfig
from dartboard.searchers.darts_v1 import DartsV1
from dartboard.searchers.robust_darts import Config, RobustDarts, hessian, largest_eigenvalue, returned_record

QUICK = {"interval": 1, "window": 1, "delta": 1, "first_epoch": 0}  # compares each epoch with the one before


def make(**options: Any) -> RobustDarts:
    """A fresh one in float64."""
    return toy_searcher(RobustDarts, **{"epochs": 8, **options})


def symmetric(size: int, seed: int, shift: float = 0.0) -> Tensor:
    """A random symmetric matrix, its eigenvalues moved by `shift`."""
    draw = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (draw + draw.mT) / 2 + shift * torch.eye(size, dtype=torch.float64)


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 30), seed=st.integers(0, 2**31), shift=st.sampled_from([-50.0, -1.0, 0.0, 1.0, 50.0]))
def test_the_largest_eigenvalue_is_lapacks(size: int, seed: int, shift: float) -> None:
    """The largest one, also of a negative definite matrix, where it is the smallest in size."""
    matrix = symmetric(size, seed, shift)
    expected = float(np.linalg.eigvalsh(matrix.numpy())[-1])
    # Backward stable to a multiple of 1e-16 of the norm, which is below 50·√30 + 30 or so.
    assert float(largest_eigenvalue(matrix)) == pytest.approx(expected, abs=1e-12 * (1 + abs(shift)) * size)


def test_the_largest_eigenvalue_of_special_matrices() -> None:
    """Of zero 0, of a multiple of the identity the multiple, of a rank-one matrix its trace."""
    assert float(largest_eigenvalue(torch.zeros(30, 30))) == 0
    assert float(largest_eigenvalue(-3 * torch.eye(4, dtype=torch.float64))) == pytest.approx(-3, abs=1e-14)
    row = torch.arange(5.0, dtype=torch.float64)
    assert float(largest_eigenvalue(row.outer(row))) == pytest.approx(30, abs=1e-12)
    assert float(largest_eigenvalue(torch.diag(torch.tensor([2.0, 7.0, 7.0, -9.0])))) == pytest.approx(7, abs=1e-5)


def test_the_hessian_is_that_of_finite_differences() -> None:
    """On the real supernet: central differences of the gradient, and a null direction of the softmax on each edge."""
    # Relative error of a central difference: step² (1e-8) from the third derivative and 1e-16/step (1e-12) of rounding.
    searcher, valid, step = make(), batch(0), 1e-4
    with torch.no_grad():
        searcher.alpha.copy_(torch.randn(E, O, generator=torch.Generator().manual_seed(1), dtype=torch.float64))

    def loss(alpha: Tensor) -> Tensor:
        return F.cross_entropy(searcher.supernet(valid.images, alpha.softmax(-1), "batch"), valid.labels)

    ours = hessian(loss(searcher.alpha), searcher.alpha)
    rows = []
    for unit in torch.eye(E * O, dtype=torch.float64).view(-1, E, O):
        ends = []
        for sign in (1, -1):
            point = (searcher.alpha.detach() + sign * step * unit).requires_grad_()
            ends.append(torch.autograd.grad(loss(point), [point])[0])
        rows.append(((ends[0] - ends[1]) / (2 * step)).flatten())
    expected = torch.stack(rows)
    assert float(expected.abs().max()) > 1e-3
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))
    for edge in range(E):
        ones = torch.zeros(E, O, dtype=torch.float64)
        ones[edge] = 1
        assert float((ours @ ones.flatten()).abs().max()) < 1e-12
    decayed = expected.numpy() + 1e-3 * np.eye(E * O)
    assert float(searcher.curvature(valid)) == pytest.approx(
        np.linalg.eigvalsh((decayed + decayed.T) / 2)[-1], rel=1e-5
    )


def literal_stop(eigenvalues: list[float], epochs: int) -> tuple[int, int] | None:
    """(last epoch trained, epoch whose α is returned) by the published rule, told in epochs; None: never."""
    seen: list[float] = []  # after epochs 0, 2, 4, ...
    averages: dict[int, float] = {}  # by the epoch in the window's middle
    for epoch in range(0, epochs - 1, 2):
        seen.append(eigenvalues[epoch // 2])
        if len(seen) >= 3:
            averages[epoch - 4] = float(np.mean(seen[-5:]))
            if epoch - 4 - 8 >= 10 and averages[epoch - 4] / averages[epoch - 12] > 1.3:
                return epoch, epoch - 12
    return None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.1, 1.0), min_size=25, max_size=25), st.booleans())
def test_it_ends_where_the_published_rule_ends(values: list[float], rising: bool) -> None:
    """Fed with 25 eigenvalues, `watch` stops after the epoch and goes back to the α that a literal account names."""
    values = sorted(values) if rising else values
    searcher = SEARCHER
    for name in ("eigenvalues", "history", "stopped"):
        getattr(searcher, name).zero_()
    found = None
    for record, value in enumerate(values):
        with torch.no_grad():
            searcher.alpha.fill_(float(record))
        searcher.watch(record, torch.tensor(value))
        if searcher.finished:
            found = (2 * record, 2 * round(float(searcher.alpha[0, 0].detach())))
            break
    assert found == literal_stop(values, 50)


SEARCHER = make(epochs=50)


def test_the_first_epoch_that_can_end_it() -> None:
    """As published: after epoch 22 the α of epoch 10 can be returned, not before."""
    assert [returned_record(record, Config()) for record in (0, 10, 11, 12)] == [None, None, 5, 6]


def planned(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    """Let the curvatures be these, one after the other."""
    left = iter(values)
    monkeypatch.setattr(RobustDarts, "curvature", lambda self, _: torch.tensor(next(left), dtype=torch.float64))


def test_a_sharp_bend_ends_the_search_and_brings_the_architecture_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mixture becomes the one after the epoch before the bend, and the weights go on under it, in this epoch."""
    planned(monkeypatch, [1.0, 1.2, 1.6])
    searcher, mixtures = make(**QUICK, architecture_learning_rate=0.1), []
    for epoch in range(4):
        assert not searcher.finished
        before = [weight.detach().clone() for weight in searcher.supernet.parameters()]
        toy_epoch(searcher, searcher.config.protocol, epoch)
        mixtures.append(searcher.mixture().detach().clone())
        assert any(not torch.equal(w, b) for w, b in zip(searcher.supernet.parameters(), before, strict=True))
    # Records of epochs 0, 1, 2 are 1.0, 1.2 (ratio 1.2) and 1.6 (ratio 1.33): back to epoch 1.
    assert searcher.finished
    assert torch.equal(mixtures[3], mixtures[1])
    assert not torch.equal(mixtures[2], mixtures[1])


def test_what_has_ended_stays_so_while_a_selector_trains_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restored, copied and fine-tuned, α is held, no curvature is taken any more, and the weights move."""
    planned(monkeypatch, [1.0, 2.0])
    searcher = make(**QUICK)
    for epoch in range(3):
        toy_epoch(searcher, searcher.config.protocol, epoch)
    restored = make(**QUICK)
    restored.load_state_dict(searcher.state_dict())
    for one in (restored, copy.deepcopy(searcher)):
        assert one.finished
        one.restart_weight_optimizer(0.01)
        weight = next(one.supernet.parameters()).detach().clone()
        for epoch in (3, 4):
            toy_epoch(one, one.config.protocol, epoch)
        assert torch.equal(one.mixture(), searcher.mixture())
        assert not torch.equal(next(one.supernet.parameters()), weight)
        assert one.finished


def test_a_steady_curvature_leaves_darts_as_it_is() -> None:
    """Where nothing bends, the state is first-order DARTS' bit for bit; the looks cost 6 images every second epoch."""
    searcher = make(factor=1e9)
    darts = DartsV1(
        toy_supernet(dtype=torch.float64), DartsConfig(protocol=searcher.config.protocol), generator=stream(0, "a")
    )
    extra = []
    for epoch in range(4):
        results = [toy_epoch(method, searcher.config.protocol, epoch) for method in (searcher, darts)]
        extra.append([ours.images - theirs.images for ours, theirs in zip(*results, strict=True)])
    assert extra == [[0, 0], [6, 0], [0, 0], [6, 0]]
    assert torch.equal(searcher.alpha, darts.alpha)
    for ours, theirs in zip(searcher.supernet.state_dict().values(), darts.supernet.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert bool((searcher.eigenvalues[:2] > 0).all())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interval": 0}, "interval is at least 1; got 0"),
        ({"window": 0}, "window is at least 1; got 0"),
        ({"delta": 0}, "delta is at least 1; got 0"),
        ({"factor": 0.0}, r"factor is greater than 0; got 0\.0"),
        ({"first_epoch": -1}, "first_epoch is at least 0; got -1"),
    ],
)
def test_wrong_numbers_are_refused(options: dict[str, Any], message: str) -> None:
    """The message quotes them."""
    with pytest.raises(InputError, match=message):
        Config(**options)
