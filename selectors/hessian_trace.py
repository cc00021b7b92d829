"""Hessian trace: how strongly the validation loss is curved along each operation.

After A. Zela, T. Elsken, T. Saikia, Y. Marrakchi, T. Brox, F. Hutter, "Understanding and robustifying differentiable
architecture search", ICLR 2020, arXiv:1909.09656, who watch the largest eigenvalue of the Hessian of the validation
loss in the architecture's logits and end the search where it grows. Of the same matrix, whole (E·O, E·O),

    s[e, o] = H[(e, o), (e, o)],    H = ∂²L/∂z²,    tr H = Σ s

is what each operation contributes to the trace, and each edge keeps the largest (`keep="largest"`: what the loss is
most sensitive to) or the smallest (`keep="smallest"`: the flat direction, which discretisation hurts least).

    coordinates="logits"   z are the logits α of the mixture p = softmax(α), as there
    coordinates="weights"  z are the mixing weights p themselves; `none` has exactly 0
    coordinates="gates"    z scales each operation: p²·∂²L/∂p², twice what its removal costs to second order

Differences from the paper: there, the Hessian is an alarm during the search and chooses nothing; reading its diagonal
operation by operation is this project's own, and neither end is known to be right. H is exact (E·O products with it for
each batch, by a second backward pass); it is of the loss alone, without the logits' weight decay. The notes tell the
trace and the largest eigenvalue. With a mixture (cells, E, O), z moves the cells together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, get_args

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.space import E, O
from dartboard.selectors._budget import Knob, passes
from dartboard.selectors._evaluation import shared_batches
from dartboard.selectors._gradients import SupernetLoss, gates, logits, shifts
from dartboard.selectors._options import Configured, Looks, choose, require_one_of

Where = Literal["logits", "weights", "gates"]
Keep = Literal["largest", "smallest"]

WAYS: Final = {"logits": logits, "weights": shifts, "gates": gates}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Looks):
    """In which coordinates, and which end is kept.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    coordinates: Where = "logits"
    keep: Keep = "largest"
    exclude_none: bool = True
    batches: int | None = 8  # of the validation half; None: all

    def __post_init__(self) -> None:
        Looks.__post_init__(self)
        require_one_of(self, coordinates=get_args(Where), keep=get_args(Keep))


def hessian(loss: SupernetLoss, batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """(E·O, E·O) in float64, symmetrised: the Hessian of the mean loss over the images of all batches, in z at home.

    Raises:
        ValueError: when there is no image.
    """
    total, seen = torch.zeros(E * O, E * O, dtype=torch.float64, device=loss.origin.device), 0
    for batch in batches:
        _, z = loss.leaves()
        (gradient,) = torch.autograd.grad(loss.twice(batch, loss.theta, z), z, create_graph=True)
        rows = [torch.autograd.grad(part, z, retain_graph=True)[0].flatten() for part in gradient.flatten()]
        total += len(batch[1]) * torch.stack(rows)
        seen += len(batch[1])
    if not seen:
        raise ValueError("there is no image to take a Hessian of")
    mean: Tensor = (total + total.T) / (2 * seen)
    return mean


class HessianTrace(Configured[Config]):
    """The operation along which the loss is curved most, or least, wins."""

    name: ClassVar[str] = "hessian-trace"
    paper: ClassVar[str] = "after Zela, Elsken, Saikia, Marrakchi, Brox, Hutter 2020, arXiv:1909.09656"
    knobs: ClassVar[tuple[Knob, ...]] = (Knob("batches", grows=False),)
    equivariant: ClassVar[bool] = True  # operations under other names: the same answer under these
    config_class = Config
    cost = passes(1)

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; the scores are the diagonal of the Hessian, or minus it where the smallest is kept."""
        config, mixture = self.config, trained.searcher.mixture().detach()
        loss = SupernetLoss(trained.supernet, WAYS[config.coordinates](mixture), config.norm)
        curvature = hessian(loss, shared_batches(data, generator, steps=config.batches)).cpu()
        diagonal = curvature.diagonal().reshape(E, O).numpy()
        scores = diagonal.copy() if config.keep == "largest" else 0 - diagonal
        return Selection(
            cell=choose(scores, exclude_none=config.exclude_none),
            scores=scores,
            images=loss.images,
            gradient_images=loss.images,
            notes={"trace": float(diagonal.sum()), "largest_eigenvalue": float(torch.linalg.eigvalsh(curvature)[-1])},
        )
