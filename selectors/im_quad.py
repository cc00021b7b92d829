"""Influential Magnitude in its deletion form: the predicted loss after an operation is removed and the weights follow.

After M. Zhang, W. Huang, B. Yang, "Interpreting operation selection in differentiable architecture search: a
perspective from influence-directed explanations", NeurIPS 2022. Removing operation o on edge e is a step of -1 in the
gate z that scales it. To second order the validation loss, its weights re-optimised (see `_implicit`), changes by

    ΔV[e, o] = -(L_z)[e, o] + ½ [L_zz - L_zθ H⁻¹ L_θz][(e, o), (e, o)],    o_e = argmax_o ΔV[e, o]

which in the mixing weights is -p·L_p + ½p²·[L_pp - L_pθ H⁻¹ L_θp].

    terms="full"       the whole of it
    terms="indirect"   without L_zz
    terms="first"      -L_z only, as `first-order`

**Where `none` may be chosen it is, on every edge**, and that is the mathematics, not a sign. Where H is positive,
weights that follow can only help, so the indirect term is never above 0; removing `none` changes nothing, so its ΔV is
exactly 0. And the indirect term is large: F of `woodbury` has N gradients in many thousands of dimensions, in all
others it is λ, and what a mixed column v has there adds -‖v⊥‖²/2λ, in which the loss's curvature has no part. The notes
tell which part of all indirect terms that is (`damping_share`), the three terms, and the cell that the same scores give
with `none` left out (`cell_without_none`). `exclude_none=True` leaves it out; a larger `damping` brings the first-order
term back.

Differences from the paper: it scores a direction that a softmax cannot feel (`im-literal`); this is what its theory
says of removing one operation. All E·O mixed columns are exact; the notes keep the three terms of a full run. The
paper's own text could not be consulted: whether it scores removals like this is unverified.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import torch

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import split_off, stream
from dartboard.selectors._budget import Knob
from dartboard.selectors._evaluation import shared_batches
from dartboard.selectors._gradients import SupernetLoss, gates
from dartboard.selectors._implicit import Curved, conclude, damping_share, derivatives, most_images, solve
from dartboard.selectors._options import Configured, choose, require_one_of

Terms = Literal["first", "indirect", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Curved):
    """Which terms, and how H⁻¹ is applied.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    terms: Terms = "full"
    exclude_none: bool = False

    def __post_init__(self) -> None:
        Curved.__post_init__(self)
        require_one_of(self, terms=get_args(Terms))


class ImQuad(Configured[Config]):
    """The operation whose removal is predicted to cost most, the weights having followed, wins."""

    name: ClassVar[str] = "im-quad"
    paper: ClassVar[str] = "after Zhang, Huang, Yang 2022 (NeurIPS)"
    knobs: ClassVar[tuple[Knob, ...]] = (Knob("batches", grows=False),)
    equivariant: ClassVar[bool] = True  # operations under other names: the same answer under these
    config_class = Config

    def cost(self, data: SelectionData) -> int:
        """The most images that a selection pushes."""
        return most_images(self.config, data, passes=1, vectors=0 if self.config.terms == "first" else E * O)

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; the scores are ΔV, in nats."""
        config, root = self.config, split_off(generator)
        mixture = trained.searcher.mixture().detach()
        batches = list(shared_batches(data, stream(root, "images"), steps=config.batches))
        loss = SupernetLoss(trained.searcher.supernet, gates(mixture), cache=data.cache)
        found = derivatives(loss, batches, torch.eye(E * O)[: 0 if config.terms == "first" else E * O])
        change, share = {"first": 0 - found.by_z}, None
        if config.terms != "first":
            response = solve(loss, batches, found.gradients, found.mixed, config)
            change["indirect"] = -(found.mixed * response).sum(1) / 2
            if config.inverse == "woodbury":
                share = damping_share(found.gradients, found.mixed, config.damping)
        if config.terms == "full":
            change["direct"] = found.second.diagonal() / 2
        scores = sum(change.values(), torch.zeros_like(found.by_z))
        told: dict[str, Any] = {name: term.reshape(E, O).tolist() for name, term in change.items()}
        told["damping_share"] = share
        answer = conclude(scores, loss, batches[0], config, root, **told)
        assert answer.scores is not None
        without = choose(answer.scores, exclude_none=True)
        return replace(answer, notes={**answer.notes, "cell_without_none": str(without)})
