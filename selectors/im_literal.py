"""Influential Magnitude as its released code computes it.

M. Zhang, W. Huang, B. Yang, "Interpreting operation selection in differentiable architecture search: a perspective from
influence-directed explanations", NeurIPS 2022; the code that went with its review. With α logits of the mixture, L the
validation loss by batches, H = L_θθ and 1 the direction of all logits at once,

    v = L_θα 1,    s = L_αθ H⁻¹ v,    IM = -s,    o_e = argmax_{o ≠ none} IM[e, o]

and both mixed products are central differences of length r:

    L_θα 1 ≈ [L_θ(α + R1) - L_θ(α - R1)]/2R, R = r/‖1‖;    L_αθ q ≈ [L_α(θ + Rq) - L_α(θ - Rq)]/2R, R = r/‖q‖

    inverse="identity"          H⁻¹v = v                                  each batch by itself, scores averaged
    inverse="neumann"           H⁻¹v = η Σ_{k ≤ K} (I - ηH)ᵏ v             each batch by itself, scores averaged
    inverse="sherman-morrison"  H⁻¹v = (λI + 1/N Σ g gᵀ)⁻¹v               v, g and the score over N fresh batches each

**The score is 0 in exact arithmetic**: a softmax does not change when all logits of an edge grow alike, so L_θα 1 = 0.
What is left is rounding (`identity`, `neumann`) or, since `sherman-morrison` takes the two sides of a difference on
different batches, the noise of drawing batches. `direction="noise"` puts a random v of the same length in its place:
where that does as well (`im-null`), the score says nothing. Where even the rounding is 0, all scores are, and the cell
is drawn at random instead of being the first operation everywhere. The notes tell ‖L_θα 1‖/‖L_θα u‖ for a random u, and
‖v‖.

Differences from the released code: H⁻¹ by Woodbury's closed form in place of a recursion that leaves its last step out
and overwrites its stored gradients; the factor η (no choice depends on it); the weights are never written to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import split_off, stream
from dartboard.selectors._budget import Knob, valid_images
from dartboard.selectors._evaluation import own_batches
from dartboard.selectors._gradients import SupernetLoss, logits
from dartboard.selectors._implicit import derivatives, hessian_product, neumann, softmax_invariance, woodbury
from dartboard.selectors._options import Configured, choose, require_at_least, require_one_of, require_positive

Inverse = Literal["identity", "neumann", "sherman-morrison"]
Direction = Literal["ones", "noise"]
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The released code's figures.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    inverse: Inverse = "sherman-morrison"
    direction: Direction = "ones"
    damping: float = 5e-4  # λ
    rate: float = 1e-3  # η of the Neumann series
    iterations: int = 3  # K of the Neumann series
    step: float = 0.01  # r
    same_batches: bool = False  # of sherman-morrison: whether both sides of a difference see the same images
    exclude_none: bool = True
    batches: int = 30  # N, of the validation half

    def __post_init__(self) -> None:
        require_at_least(self, 1, "batches", "iterations")
        require_positive(self, "damping", "rate", "step")
        require_one_of(self, inverse=get_args(Inverse), direction=get_args(Direction))


def difference(side: Callable[[float, int], Tensor], length: float, step: float) -> Tensor:
    """[side(R, 0) - side(-R, 1)]/2R with R = step/length, in float64; 0 along a vector without length."""
    if length == 0:
        return torch.zeros_like(side(0.0, 0), dtype=torch.float64)
    size = step / length
    return (side(size, 0).double() - side(-size, 1).double()) / (2 * size)


class ImLiteral(Configured[Config]):
    """The operation of the largest -s wins."""

    name: ClassVar[str] = "im-literal"
    paper: ClassVar[str] = "Zhang, Huang, Yang 2022 (NeurIPS), released code"
    knobs: ClassVar[tuple[Knob, ...]] = (Knob("batches", grows=False),)
    config_class = Config

    def cost(self, data: SelectionData) -> int:
        """The most images that a selection pushes."""
        passes = {"sherman-morrison": 5, "identity": 4, "neumann": 4 + self.config.iterations}[self.config.inverse]
        return passes * valid_images(data, self.config.batches) + valid_images(data, 1)  # the control

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; the scores are IM."""
        config, network, root = self.config, trained.searcher.supernet, split_off(generator)
        mixture = trained.searcher.mixture().detach()
        loss = SupernetLoss(network, logits(mixture))
        noise = stream(root, "noise")

        def drawn(*stage: str | int) -> list[Batch]:
            return list(own_batches(data.valid, data.batch_size, root, *stage, steps=config.batches))

        def by_theta(batch: Batch, size: float) -> Tensor:
            theta, _ = loss.leaves()
            z = loss.origin + size
            return torch.autograd.grad(loss(batch, theta, z), theta)[0]

        def by_alpha(batch: Batch, shift: Tensor) -> Tensor:
            _, z = loss.leaves()
            return torch.autograd.grad(loss(batch, loss.theta + shift.to(loss.theta), z), z)[0]

        def first(sides: tuple[Batch, Batch]) -> Tensor:  # L_θα 1
            return difference(lambda size, side: by_theta(sides[side], size), (E * O) ** 0.5, config.step)

        def second(sides: tuple[Batch, Batch], q: Tensor) -> Tensor:  # L_αθ q
            return difference(lambda size, side: by_alpha(sides[side], size * q), float(q.norm()), config.step)

        def directed(v: Tensor) -> Tensor:
            if config.direction == "ones":
                return v
            u = torch.randn(len(v), generator=noise, dtype=torch.float64).to(v)
            scaled: Tensor = u * (v.norm() / u.norm())
            return scaled

        def mean(parts: list[Tensor]) -> Tensor:
            return torch.stack(parts).mean(0)

        if config.inverse == "sherman-morrison":
            upper, lower = drawn("direction", 0), drawn("direction", 0 if config.same_batches else 1)
            v = mean([first(sides) for sides in zip(upper, lower, strict=True)])
            lengths = [float(v.norm())]
            gradients = derivatives(loss, drawn("curvature"), torch.empty(0, E * O)).gradients
            (q,) = woodbury(gradients, directed(v)[None], config.damping)
            upper, lower = drawn("score", 0), drawn("score", 0 if config.same_batches else 1)
            s = mean([second(sides, q) for sides in zip(upper, lower, strict=True)])
        else:
            lengths, parts = [], []
            for batch in drawn("images"):
                v = first((batch, batch))
                lengths.append(float(v.norm()))
                q = v = directed(v)
                if config.inverse == "neumann":
                    product = _hessian(loss, batch)
                    q = neumann(product, v, rate=config.rate, iterations=config.iterations)
                parts.append(second((batch, batch), q))
            s = mean(parts)
        scores = (0 - s).cpu().numpy()
        ranked = scores if scores.any() else torch.rand(E, O, generator=stream(root, "ties")).double().numpy()
        control = softmax_invariance(network, mixture, drawn("control")[0], stream(root, "random"))
        images = loss.images + control.images
        return Selection(
            cell=choose(ranked, exclude_none=config.exclude_none),
            scores=scores,
            images=images,
            gradient_images=images,
            notes={**control.notes, "direction_length": sum(lengths) / len(lengths)},
        )


def _hessian(loss: SupernetLoss, batch: Batch) -> Callable[[Tensor], Tensor]:
    """The product with the Hessian of one batch."""
    return lambda vector: hessian_product(loss, [batch], vector)
