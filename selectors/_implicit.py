"""Second derivatives in the weights θ and the mixture's coordinates z, and products with an inverse Hessian.

At weights θ*(z) that minimise a loss L, moving z moves the weights by -H⁻¹ L_θz, H = L_θθ; so V(z) = L(θ*(z), z) has

    V_z = L_z,    V_zz = L_zz - L_zθ H⁻¹ L_θz        (the implicit function theorem)

H⁻¹ is never formed. With g_i (n,) the gradient of batch i of N and λ the damping:

    identity              v
    woodbury              F = λI + 1/N Σ_i g_i g_iᵀ,  F⁻¹v = (v - G(NλI + GᵀG)⁻¹Gᵀv)/λ: exact, one N x N solve
    neumann               η Σ_{k ≤ K} (I - η(H + λI))ᵏ v, which tends to (H + λI)⁻¹v where 0 < H + λI < 2/η
    conjugate-gradients   K steps towards (B + λI)⁻¹v, B the Gauss-Newton matrix: H without the curvature of the logits,
                          never negative, as the method needs

All products are exact, by two backward passes. Dot products are taken in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dartboard.benchmark.contracts import Selection, SelectionData
from dartboard.benchmark.double_backward import TwiceDifferentiable
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import stream
from dartboard.selectors._budget import valid_images
from dartboard.selectors._gradients import SupernetLoss, logits
from dartboard.selectors._options import choose, require_at_least, require_one_of, require_positive

Inverse = Literal["identity", "woodbury", "neumann", "conjugate-gradients"]

Batches = Sequence[tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curved:
    """How H⁻¹ is applied, and on which images: what the criteria with exact products have in common.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    inverse: Inverse = "woodbury"
    damping: float = 5e-4  # λ
    rate: float = 1e-3  # η of the Neumann series
    iterations: int = 20  # of the Neumann series, of conjugate gradients
    exclude_none: bool = True
    batches: int = 30  # N, of the validation half

    def __post_init__(self) -> None:
        require_one_of(self, inverse=get_args(Inverse))
        require_positive(self, "damping", "rate")
        require_at_least(self, 1, "iterations", "batches")


class Derivatives(NamedTuple):
    """What a list of batches says of L(θ, z), in float64; the mean over images but where it says otherwise."""

    by_z: Tensor  # (E·O,), L_z
    gradients: Tensor  # (N, n), L_θ of each batch
    mixed: Tensor  # (k, n), L_θz d for each direction d
    second: Tensor  # (k, E·O), L_zz d for each direction d


def derivatives(loss: SupernetLoss, batches: Batches, directions: Tensor) -> Derivatives:
    """First derivatives, and second ones along `directions` (k, E·O) of z: one forward pass for each batch."""
    return loss.kept("derivatives", batches, lambda: _derivatives(loss, batches, directions), directions)


def _derivatives(loss: SupernetLoss, batches: Batches, directions: Tensor) -> Derivatives:
    k, n = len(directions), len(loss.theta)
    like = loss.theta.double()
    by_z, gradients = like.new_zeros(E * O), like.new_empty(len(batches), n)
    mixed, second = like.new_zeros(k, n), like.new_zeros(k, E * O)
    seen = sum(len(labels) for _, labels in batches)
    for index, batch in enumerate(batches):
        share = len(batch[1]) / seen
        theta, z = loss.leaves()
        value = (loss.twice if k else loss)(batch, theta, z)
        first_theta, first_z = torch.autograd.grad(value, (theta, z), create_graph=k > 0)
        gradients[index] = first_theta.detach()
        by_z += share * first_z.detach().flatten()
        for row, direction in enumerate(directions):
            inner = first_z.flatten() @ direction.to(first_z)
            parts = torch.autograd.grad(inner, (theta, z), retain_graph=row + 1 < k)
            mixed[row] += share * parts[0]
            second[row] += share * parts[1].flatten()
    return Derivatives(by_z, gradients, mixed, second)


def mixed_product(loss: SupernetLoss, batches: Batches, vector: Tensor) -> Tensor:
    """(E·O,): L_zθ · vector (n,), the mean over images."""
    total, seen = vector.new_zeros(E * O), 0
    for batch in batches:
        theta, z = loss.leaves()
        with TwiceDifferentiable() as twice:
            value = loss(batch, theta, z)
        (by_theta,) = torch.autograd.grad(value, theta, create_graph=True)
        with twice.without_weights():
            (product,) = torch.autograd.grad(by_theta @ vector.to(by_theta), z)
        total += len(batch[1]) * product.flatten()
        seen += len(batch[1])
    mean: Tensor = total / seen
    return mean


def hessian_product(loss: SupernetLoss, batches: Batches, vector: Tensor) -> Tensor:
    """(n,): L_θθ · vector, the mean over images."""
    total, seen = torch.zeros_like(vector), 0
    for batch in batches:
        theta, z = loss.leaves()
        (by_theta,) = torch.autograd.grad(loss.twice(batch, theta, z.detach()), theta, create_graph=True)
        total += len(batch[1]) * torch.autograd.grad(by_theta @ vector.to(by_theta), theta)[0]
        seen += len(batch[1])
    return total / seen


def gauss_newton_product(loss: SupernetLoss, batches: Batches, vector: Tensor) -> Tensor:
    """(n,): JᵀSJ · vector, the mean over images; J the logits' Jacobian, S the cross-entropy's Hessian in them."""
    total, seen = torch.zeros_like(vector), 0
    for images, labels in batches:
        theta, z = loss.leaves()
        output = loss.forward(images, theta, z.detach())
        seed = torch.zeros_like(output, requires_grad=True)
        (pulled,) = torch.autograd.grad(output, theta, seed, create_graph=True)  # Jᵀ seed, linear in the seed
        (pushed,) = torch.autograd.grad(pulled @ vector.to(pulled), seed, retain_graph=True)  # J vector
        p = output.detach().softmax(-1)
        curved = p * (pushed - (p * pushed).sum(-1, keepdim=True))
        total += torch.autograd.grad(output, theta, curved)[0]
        seen += len(labels)
    return total / seen


def woodbury(gradients: Tensor, vectors: Tensor, damping: float) -> Tensor:
    """(k, n): F⁻¹ of each of `vectors` (k, n), with F from `gradients` (N, n)."""
    count = len(gradients)
    gram = gradients @ gradients.T + count * damping * torch.eye(count).to(gradients)
    inner = torch.linalg.solve(gram, gradients @ vectors.T)
    products: Tensor = (vectors - inner.T @ gradients) / damping
    return products


def damping_share(gradients: Tensor, vectors: Tensor, damping: float) -> float | None:
    """How much of Σ vᵀF⁻¹v over `vectors` (k, n) comes from λ alone; None where that is 0.

    Off the span of the gradients (N, n), F is λI: a part v⊥ of v that lies there adds ‖v⊥‖²/λ, whatever the loss is.
    """
    whole = float((vectors * woodbury(gradients, vectors, damping)).sum())
    inner = gradients @ vectors.T  # (N, k)
    within = torch.linalg.pinv(gradients @ gradients.T, hermitian=True) @ inner
    outside = float((vectors.square().sum() - (inner * within).sum()).clamp(min=0))  # Σ ‖v⊥‖²
    return outside / damping / whole if whole else None


def neumann(product: Callable[[Tensor], Tensor], vector: Tensor, *, rate: float, iterations: int) -> Tensor:
    """(n,): η Σ_{k ≤ iterations} (I - ηA)ᵏ vector, `product` being that with A."""
    term = total = vector
    for _ in range(iterations):
        term = term - rate * product(term)
        total = total + term
    series: Tensor = rate * total
    return series


def conjugate_gradients(
    product: Callable[[Tensor], Tensor], vector: Tensor, *, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    """(n,): towards A⁻¹ vector for a positive definite A; ends early when the residual is `tolerance` of the vector."""
    x, residual = torch.zeros_like(vector), vector.clone()
    direction, square = residual, residual @ residual
    for _ in range(iterations):
        if not square > (tolerance**2) * (vector @ vector):
            break
        image = product(direction)
        step = square / (direction @ image)
        x = x + step * direction
        residual = residual - step * image
        square, before = residual @ residual, square
        direction = residual + (square / before) * direction
    return x


def solve(loss: SupernetLoss, batches: Batches, gradients: Tensor, vectors: Tensor, config: Curved) -> Tensor:
    """(k, n): the inverse that `config` asks for, applied to each of `vectors` (k, n).

    Args:
        loss: L(θ, z).
        batches: whose curvature is taken.
        gradients: (N, n), of each batch.
        vectors: to be multiplied.
        config: of `Curved`.
    """
    if config.inverse == "identity":
        return vectors
    if config.inverse == "woodbury":
        return woodbury(gradients, vectors, config.damping)
    curvature = hessian_product if config.inverse == "neumann" else gauss_newton_product

    def product(vector: Tensor) -> Tensor:
        damped: Tensor = curvature(loss, batches, vector) + config.damping * vector
        return damped

    if config.inverse == "neumann":
        rows = [neumann(product, v, rate=config.rate, iterations=config.iterations) for v in vectors]
    else:
        rows = [conjugate_gradients(product, v, iterations=config.iterations) for v in vectors]
    return torch.stack(rows)


def solve_passes(config: Curved, vectors: int) -> int:
    """How often at most `solve` pushes its batches, for so many vectors."""
    return 0 if config.inverse in ("identity", "woodbury") else vectors * config.iterations


class Invariance(NamedTuple):
    """The control that comes with every Influential Magnitude."""

    notes: dict[str, float | None]
    images: int  # pushed forward; a gradient was taken of each


def softmax_invariance(
    network: nn.Module, mixture: Tensor, batch: tuple[Tensor, Tensor], generator: torch.Generator
) -> Invariance:
    """‖L_θα 1‖/‖L_θα v‖ for a random v of the length of 1, α being logits of the mixture.

    A softmax does not change when all logits of an edge grow alike, so this is 0 but for rounding: a score made of
    L_θα 1 is made of rounding or of sampling noise. None where a mixing weight is 0, which no logits give.
    """
    if not bool((mixture > 0).all()):
        return Invariance({"softmax_invariance": None}, 0)
    loss = SupernetLoss(network, logits(mixture))
    ones = torch.ones(E * O, dtype=torch.float64)
    noise = torch.randn(E * O, generator=generator, dtype=torch.float64)
    directions = torch.stack([ones, F.normalize(noise, dim=0) * ones.norm()])
    lengths = derivatives(loss, [batch], directions).mixed.norm(dim=1).tolist()
    return Invariance({"softmax_invariance": lengths[0] / lengths[1] if lengths[1] else None}, loss.images)


def most_images(config: Curved, data: SelectionData, *, passes: int, vectors: int) -> int:
    """The most images that a selection pushes: some passes, H⁻¹ of so many vectors, and the control's batch."""
    total = passes + solve_passes(config, vectors)
    return total * valid_images(data, config.batches) + valid_images(data, 1)


def conclude(
    scores: Tensor, loss: SupernetLoss, batch: tuple[Tensor, Tensor], config: Curved, root: int, **notes: Any
) -> Selection:
    """The answer by `scores` (E·O,), with the control on `batch` and all images that were pushed through `loss`."""
    control = softmax_invariance(loss.network, loss.around, batch, stream(root, "control"))
    told, images = scores.reshape(E, O).cpu().numpy(), loss.images + control.images
    return Selection(
        cell=choose(told, exclude_none=config.exclude_none),
        scores=told,
        images=images,
        gradient_images=images,
        notes={**control.notes, **notes},
    )
