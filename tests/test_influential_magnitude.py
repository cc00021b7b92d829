"""Influential Magnitude: every inverse and every score against dense matrices of a small model."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dartboard.benchmark.contracts import SelectionData, TrainedSupernet
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import NONE, Cell, E, O
from dartboard.benchmark.streams import split_off, stream
from dartboard.harness.toys import toy_images, toy_trained
from dartboard.selectors import _implicit, im_alpha, im_literal, im_mix, im_quad
from dartboard.selectors._gradients import Coordinates, SupernetLoss, gates, logits, shifts

BATCH = 6
COUNT = 3  # batches
CLASSES = 3


class Tiny(nn.Module):
    """A model of 63 weights whose hidden units are the operations, scaled by the mixture."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        self.inner = nn.Parameter(torch.randn(2, E * O, generator=draw, dtype=torch.float64))
        self.bias = nn.Parameter(torch.randn(CLASSES, generator=draw, dtype=torch.float64))
        self.register_buffer("outer", torch.randn(E * O, CLASSES, generator=draw, dtype=torch.float64))

    def forward(self, images: Tensor, mixture: Tensor, norm: str = "batch") -> Tensor:
        """See `MixedNetwork.forward`; there is no norm to choose."""
        features = 0.5 * images.mean((2, 3))[:, :2]
        hidden = torch.tanh(features @ self.inner) * mixture.flatten()
        result: Tensor = hidden @ self.outer + self.bias  # type: ignore[operator]  # a buffer
        return result


@pytest.fixture
def trained() -> TrainedSupernet:
    """The small model under a random softmax mixture, as a search would leave it."""
    alpha = torch.randn(E, O, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    searcher: Any = SimpleNamespace(supernet=Tiny(), mixture=lambda: alpha.softmax(-1))
    p = alpha.softmax(-1).numpy()
    return TrainedSupernet(searcher=searcher, mixture=p, trajectory=p[None])


def data() -> SelectionData:
    """Toy images in double precision."""
    train, valid = (toy_images(half, count=18, dtype=torch.float64) for half in ("train", "valid"))
    return SelectionData(train=train, valid=valid, batch_size=BATCH)


def drawn(name: str = "images", *stage: int) -> list[tuple[Tensor, Tensor]]:
    """The batches that a selection with seed 0 draws."""
    root = split_off(stream(0, "select"))
    return list(data().valid.epoch(BATCH, stream(root, name, *stage), steps=COUNT))


class Dense:
    """All derivatives of the mean loss over some batches, as matrices, by PyTorch's own dense routines."""

    def __init__(
        self, trained: TrainedSupernet, coordinates: Coordinates, batches: list[tuple[Tensor, Tensor]]
    ) -> None:
        network = trained.searcher.supernet
        loss = SupernetLoss(network, coordinates)
        n = len(loss.theta)

        def outputs(point: Tensor, images: Tensor) -> Tensor:
            return loss.forward(images, point[:n], point[n:].view(E, O))

        def mean(point: Tensor) -> Tensor:
            return torch.stack([F.cross_entropy(outputs(point, x), y) for x, y in batches]).mean()

        point = torch.cat([loss.theta, coordinates.origin.flatten()])
        self.gradient = torch.autograd.functional.jacobian(mean, point)[n:]
        whole = torch.autograd.functional.hessian(mean, point)
        self.hessian, self.mixed, self.second = whole[:n, :n], whole[n:, :n], whole[n:, n:]  # (E·O, n)
        self.gradients = torch.stack(
            [
                torch.autograd.functional.jacobian(lambda q, x=x, y=y: F.cross_entropy(outputs(q, x), y), point)[:n]
                for x, y in batches
            ]
        )
        self.fisher = self.gradients.T @ self.gradients / len(batches)
        self.gauss_newton = torch.zeros(n, n, dtype=torch.float64)
        for x, _ in batches:
            jacobian = torch.autograd.functional.jacobian(lambda q, x=x: outputs(q, x), point)[..., :n]
            p = outputs(point, x).detach().softmax(-1)
            curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None]
            each = torch.einsum("bcn,bcd,bdm->nm", jacobian, curvature, jacobian) / len(x)
            self.gauss_newton += each / len(batches)

    def inverse(self, config: Any) -> Tensor:
        """(n, n): the matrix that `config` means by H⁻¹, dense."""
        eye = torch.eye(len(self.hessian), dtype=torch.float64)
        if config.inverse == "identity":
            return eye
        if config.inverse in ("woodbury", "sherman-morrison"):
            return torch.linalg.inv(self.fisher + config.damping * eye)
        if config.inverse == "conjugate-gradients":
            return torch.linalg.inv(self.gauss_newton + config.damping * eye)
        step = eye - config.rate * (self.hessian + config.damping * eye)
        return config.rate * sum((torch.linalg.matrix_power(step, k) for k in range(config.iterations + 1)), 0 * eye)


INVERSES: list[dict[str, Any]] = [
    {"inverse": "identity"},
    {"inverse": "woodbury", "damping": 5e-4},
    {"inverse": "neumann", "rate": 0.1, "damping": 0.01, "iterations": 5},
    {"inverse": "conjugate-gradients", "damping": 0.01, "iterations": 63},
]
by_inverse = pytest.mark.parametrize("options", INVERSES, ids=lambda o: o["inverse"])


@by_inverse
def test_inverse_products(trained: TrainedSupernet, options: dict[str, Any]) -> None:
    """Each way of applying H⁻¹ equals the dense matrix times the vectors (float64; conditioned by 1/λ: 1e-8)."""
    config = im_mix.Config(**options, batches=COUNT)
    coordinates = shifts(trained.searcher.mixture())
    loss, dense = SupernetLoss(trained.searcher.supernet, coordinates), Dense(trained, coordinates, drawn())
    vectors = torch.randn(2, len(loss.theta), generator=stream(1), dtype=torch.float64)
    found = _implicit.solve(loss, drawn(), dense.gradients, vectors, config)
    torch.testing.assert_close(found, vectors @ dense.inverse(config), rtol=1e-8, atol=1e-8)


def test_series_and_recursion_tend_to_the_inverse() -> None:
    """A long Neumann series is the inverse where it converges, and Woodbury's form is Sherman-Morrison's recursion."""
    draw = stream(2)
    root = torch.randn(12, 12, generator=draw, dtype=torch.float64)
    matrix, v = root @ root.T / 12 + torch.eye(12), torch.randn(12, generator=draw, dtype=torch.float64)
    series = _implicit.neumann(lambda x: matrix @ x, v, rate=0.2, iterations=400)
    torch.testing.assert_close(series, torch.linalg.solve(matrix, v), rtol=1e-10, atol=1e-10)
    exact = _implicit.conjugate_gradients(lambda x: matrix @ x, v, iterations=40)
    torch.testing.assert_close(exact, torch.linalg.solve(matrix, v), rtol=1e-8, atol=1e-8)
    gradients = torch.randn(5, 12, generator=draw, dtype=torch.float64)
    inverse = torch.eye(12, dtype=torch.float64) / 5e-4
    for g in gradients:  # F⁻¹ ← F⁻¹ - F⁻¹g gᵀF⁻¹/(N + gᵀF⁻¹g)
        inverse = inverse - torch.outer(inverse @ g, inverse @ g) / (5 + g @ inverse @ g)
    torch.testing.assert_close(_implicit.woodbury(gradients, v[None], 5e-4)[0], inverse @ v, rtol=1e-8, atol=1e-8)


@by_inverse
def test_mix_is_the_dense_formula(trained: TrainedSupernet, options: dict[str, Any]) -> None:
    """-L_pθ H⁻¹ L_θp 1 from dense matrices is the score; the best but `none` is the cell."""
    config = im_mix.Config(**options, batches=COUNT)
    answer = im_mix.ImMix(config).select(trained, data(), stream(0, "select"))
    dense = Dense(trained, shifts(trained.searcher.mixture()), drawn())
    expected = -(dense.mixed @ dense.inverse(config) @ dense.mixed.T).sum(1).view(E, O).numpy()
    np.testing.assert_allclose(answer.scores, expected, rtol=1e-7, atol=1e-9)
    assert answer.cell.operations == tuple(expected[:, 1:].argmax(1) + 1)


@by_inverse
@pytest.mark.parametrize("terms", ["first", "indirect", "full"])
def test_quad_is_the_dense_formula(trained: TrainedSupernet, options: dict[str, Any], terms: im_quad.Terms) -> None:
    """-p·L_p + ½p²[L_pp - L_pθ H⁻¹ L_θp] in the mixing weights, dense, is the score computed with gates."""
    config = im_quad.Config(**options, terms=terms, batches=COUNT)
    answer = im_quad.ImQuad(config).select(trained, data(), stream(0, "select"))
    p = trained.searcher.mixture()
    dense = Dense(trained, shifts(p), drawn())
    indirect = -(dense.mixed @ dense.inverse(config) @ dense.mixed.T).diagonal()
    bracket = {"first": 0, "indirect": indirect, "full": indirect + dense.second.diagonal()}[terms]
    expected = -p.flatten() * dense.gradient + p.flatten().square() * bracket / 2
    np.testing.assert_allclose(answer.scores, expected.view(E, O).numpy(), rtol=1e-7, atol=1e-9)
    assert answer.cell.operations == tuple(expected.view(E, O).argmax(1).tolist())
    total = sum(np.array(answer.notes[name]) for name in ("first", "indirect", "direct") if name in answer.notes)
    np.testing.assert_allclose(total, answer.scores)


def test_removing_never_costs_through_the_weights() -> None:
    """On the supernet the indirect term is 0 for `none` and below 0 else: with a small λ, `none` wins every edge.

    With a large λ the weights stay where they are, and the cell is that of the other two terms.
    """
    supernet, images = toy_trained(torch.float64), replace(data(), seed=1)
    stiff, loose = (
        im_quad.ImQuad(im_quad.Config(batches=1, damping=damping)).select(supernet, images, stream(0))
        for damping in (1e12, 1e-6)
    )
    for answer in (stiff, loose):
        indirect = np.array(answer.notes["indirect"])
        assert (indirect[:, NONE] == 0).all()
        assert (np.delete(indirect, NONE, axis=1) < 0).all()
        assert not np.array(answer.notes["first"])[:, NONE].any()
        assert NONE not in Cell.parse(answer.notes["cell_without_none"]).operations
    assert loose.cell.operations == (NONE,) * E
    rest = np.array(stiff.notes["first"]) + np.array(stiff.notes["direct"])
    assert stiff.cell == Cell.from_scores(rest)
    assert stiff.cell != loose.cell


def test_what_the_damping_alone_adds() -> None:
    """The share is that of the columns' parts off the gradients' span, by a dense basis; 1 where all is off it."""
    draw = stream(6)
    gradients = torch.randn(3, 20, generator=draw, dtype=torch.float64)
    vectors = torch.randn(4, 20, generator=draw, dtype=torch.float64)
    basis = torch.linalg.qr(gradients.T).Q  # (20, 3)
    outside = vectors - vectors @ basis @ basis.T
    fisher = gradients.T @ gradients / 3 + 5e-2 * torch.eye(20, dtype=torch.float64)
    whole = (vectors * torch.linalg.solve(fisher, vectors.T).T).sum()
    expected = float(outside.square().sum() / 5e-2 / whole)
    assert 0 < expected < 1
    assert _implicit.damping_share(gradients, vectors, 5e-2) == pytest.approx(expected, rel=1e-9)
    assert _implicit.damping_share(gradients, outside, 5e-2) == pytest.approx(1, rel=1e-9)
    assert _implicit.damping_share(gradients, gradients, 5e-2) == pytest.approx(0, abs=1e-9)
    assert _implicit.damping_share(gradients, 0 * vectors, 5e-2) is None


def test_quad_predicts_the_reoptimised_loss() -> None:
    """For a small gate change δ, ½δ²[L_zz - L_zθ H⁻¹ L_θz] is the change of the minimum over θ.

    The minimum is found by Newton's steps, on a loss with a term ½‖θ‖²; the error is of order δ³.
    """
    draw = stream(4)
    a = torch.randn(4, 6, generator=draw, dtype=torch.float64)
    y = torch.randn(4, generator=draw, dtype=torch.float64)

    def value(theta: Tensor, z: Tensor) -> Tensor:
        return ((a * z) @ torch.tanh(theta) - y).square().sum() / 2 + theta.square().sum() / 2

    def minimum(z: Tensor) -> Tensor:
        theta = torch.zeros(6, dtype=torch.float64)
        for _ in range(50):
            gradient = torch.autograd.functional.jacobian(lambda t: value(t, z), theta)
            hessian = torch.autograd.functional.hessian(lambda t: value(t, z), theta)
            theta = theta - torch.linalg.solve(hessian, gradient)
        return theta

    z = torch.ones(6, dtype=torch.float64)
    theta = minimum(z)
    whole = torch.autograd.functional.hessian(lambda q: value(q[:6], q[6:]), torch.cat([theta, z]))
    by_z = torch.autograd.functional.jacobian(lambda q: value(theta, q), z)
    reduced = whole[6:, 6:] - whole[6:, :6] @ torch.linalg.solve(whole[:6, :6], whole[:6, 6:])
    delta = 1e-3
    for o in range(6):
        step = z.clone()
        step[o] -= delta
        change = value(minimum(step), step) - value(theta, z)
        predicted = -delta * by_z[o] + delta**2 * reduced[o, o] / 2
        assert float(change - predicted) == pytest.approx(0, abs=50 * delta**3)
        assert abs(float(delta**2 * reduced[o, o] / 2)) > 0


@by_inverse
@pytest.mark.parametrize("keep", ["largest", "smallest"])
def test_alpha_is_the_dense_formula(trained: TrainedSupernet, options: dict[str, Any], keep: im_alpha.Keep) -> None:
    """p² times the diagonal of L_αθ H⁻¹ L_θα, dense in the logits, is the score; the other end is its negative."""
    config = im_alpha.Config(**options, keep=keep, batches=COUNT)
    answer = im_alpha.ImAlpha(config).select(trained, data(), stream(0, "select"))
    p = trained.searcher.mixture()
    dense = Dense(trained, logits(p), drawn())
    influence = p.flatten().square() * (dense.mixed @ dense.inverse(config) @ dense.mixed.T).diagonal()
    expected = (influence if keep == "largest" else -influence).view(E, O).numpy()
    np.testing.assert_allclose(answer.scores, expected, rtol=1e-7, atol=1e-12)
    assert answer.cell.operations == tuple(expected[:, 1:].argmax(1) + 1)


@pytest.mark.parametrize("inverse", ["identity", "neumann", "sherman-morrison"])
def test_literal_arithmetic(
    trained: TrainedSupernet, inverse: im_literal.Inverse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a direction that a softmax does feel in place of its logits, the released arithmetic is the dense formula.

    The logits are exchanged for shifts of p, where L_θp 1 is not 0: then central differences of length r = 1e-4 agree
    with -L_pθ H⁻¹ L_θp 1 to about r² relative to third derivatives, here 1e-5.
    """
    monkeypatch.setattr(im_literal, "logits", shifts)
    config = im_literal.Config(inverse=inverse, step=1e-4, rate=0.1, same_batches=True, damping=0.1, batches=COUNT)
    answer = im_literal.ImLiteral(config).select(trained, data(), stream(0, "select"))
    p = shifts(trained.searcher.mixture())
    if inverse == "sherman-morrison":
        direction, curvature, score = (
            Dense(trained, p, drawn(*stage)) for stage in (("direction", 0), ("curvature",), ("score", 0))
        )
        expected = -(score.mixed @ curvature.inverse(config) @ direction.mixed.sum(0))
    else:
        each = [Dense(trained, p, [batch]) for batch in drawn()]
        plain = im_mix.Config(inverse=inverse, damping=1e-300, rate=0.1, iterations=3)
        expected = -sum(d.mixed @ d.inverse(plain) @ d.mixed.sum(0) for d in each) / COUNT
    np.testing.assert_allclose(answer.scores, expected.view(E, O).numpy(), rtol=1e-5, atol=1e-7)
    assert NONE not in answer.cell.operations


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_a_softmax_does_not_feel_all_logits_at_once(dtype: torch.dtype, bound: float) -> None:
    """‖L_θα 1‖ is rounding beside ‖L_θα u‖ on the supernet, and every Influential Magnitude tells so in its notes."""
    supernet = toy_trained(dtype)
    train, valid = (toy_images(half, dtype=dtype) for half in ("train", "valid"))
    images = SelectionData(train=train, valid=valid, batch_size=BATCH)
    literal = im_literal.ImLiteral(im_literal.Config(batches=1))
    mix, alpha = im_mix.ImMix(im_mix.Config(batches=1)), im_alpha.ImAlpha(im_alpha.Config(batches=1))
    quad = im_quad.ImQuad(im_quad.Config(batches=1, terms="first"))
    for criterion in (literal, mix, quad, alpha):
        answer = criterion.select(supernet, images, stream(0, "select"))
        assert 0 <= answer.notes["softmax_invariance"] <= bound


def test_the_literal_score_on_equal_batches_is_rounding() -> None:
    """On equal batches the literal direction has no length to speak of; on different ones it is their difference."""
    supernet = toy_trained(torch.float64)
    lengths = [
        im_literal.ImLiteral(im_literal.Config(batches=1, same_batches=same))
        .select(supernet, data(), stream(0, "select"))
        .notes["direction_length"]
        for same in (True, False)
    ]
    assert lengths[0] < 1e-9 * lengths[1]


def test_the_null_direction_is_as_long(trained: TrainedSupernet) -> None:
    """`direction="noise"` keeps the length and changes the scores."""
    answers = [
        im_literal.ImLiteral(im_literal.Config(direction=direction, batches=COUNT)).select(
            trained, data(), stream(0, "select")
        )
        for direction in ("ones", "noise")
    ]
    assert answers[0].notes["direction_length"] == answers[1].notes["direction_length"]
    assert not np.array_equal(answers[0].scores, answers[1].scores)  # type: ignore[arg-type]  # both have scores


def test_scores_of_nothing_draw_the_cell(trained: TrainedSupernet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the direction has no length at all, the scores are 0 and the cells are random ones without `none`."""
    monkeypatch.setattr(im_literal, "difference", lambda side, *_: torch.zeros_like(side(0.0, 0)))
    criterion = im_literal.ImLiteral(im_literal.Config(inverse="identity", batches=1))
    answers = [criterion.select(trained, data(), stream(seed, "select")) for seed in range(3)]
    assert all(answer.scores is not None and not answer.scores.any() for answer in answers)
    assert len({answer.cell for answer in answers}) == 3
    assert not any(NONE in answer.cell.operations for answer in answers)


def test_a_vector_without_length_has_no_product() -> None:
    """The central difference along a zero vector is 0, not NaN."""
    assert torch.equal(im_literal.difference(lambda s, _: torch.ones(2) * s, 0.0, 0.01), torch.zeros(2).double())


def test_a_mixture_with_zeros_has_no_logits(trained: TrainedSupernet) -> None:
    """The control is None where no logits give the mixture, and the criterion in the gates still answers."""
    one_hot = torch.eye(O, dtype=torch.float64)[[1] * E]
    trained.searcher.mixture = lambda: one_hot  # type: ignore[method-assign]  # a searcher beyond softmax
    answer = im_quad.ImQuad(im_quad.Config(batches=1)).select(trained, data(), stream(0, "select"))
    assert answer.notes["softmax_invariance"] is None
    assert answer.images == BATCH


def test_gates_and_shifts_tell_the_same(trained: TrainedSupernet) -> None:
    """Second derivatives by gates are p² times those by shifts."""
    p = trained.searcher.mixture()
    by_gate, by_shift = Dense(trained, gates(p), drawn()), Dense(trained, shifts(p), drawn())
    scale = p.flatten()
    torch.testing.assert_close(by_gate.second, scale[:, None] * by_shift.second * scale, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("module", "options", "told"),
    [
        (im_mix, {"inverse": "woodbery"}, "did you mean 'woodbury'"),
        (im_quad, {"terms": "second"}, "unknown terms 'second'"),
        (im_alpha, {"damping": 0.0}, "damping is greater than 0; got 0.0"),
        (im_literal, {"step": -1.0}, "step is greater than 0; got -1.0"),
        (im_literal, {"batches": 0}, "batches is at least 1; got 0"),
    ],
)
def test_wrong_options_are_refused(module: Any, options: dict[str, Any], told: str) -> None:
    """A number or a word out of range is quoted."""
    with pytest.raises(InputError, match=told):
        module.Config(**options)
