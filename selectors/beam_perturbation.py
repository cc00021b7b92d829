"""Beam perturbation: DARTS-PT's projection, edge by edge, with the k best partial cells kept in place of one.

After R. Wang et al., "Rethinking architecture selection in differentiable NAS", ICLR 2021, arXiv:2108.04392,
Algorithm 1 without its training between projections. A state s is the mixture with some edges settled (their rows are
one-hot). With a(·) the validation accuracy (or minus the loss), settling the next edge e on operation o is worth

    rank="drop"       value(s) + a(s) - a(s without o on e)    what its removal would cost, added up over the edges
    rank="projected"  a(s with o alone on e)                   what is left of the supernet

and of all settlings of all k states the k largest go on; after the last edge the largest is the answer. With k = 1 and
"drop" it is `perturbation` with `interval=0`.

Differences from the paper: the beam; no training; every mask is measured on the same images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.space import NONE, Cell, E, O
from dartboard.benchmark.streams import split_off, stream
from dartboard.selectors._budget import Knob, valid_images
from dartboard.selectors._evaluation import score_mixtures, shared_batches, without_each
from dartboard.selectors._options import Configured, Judges, require_at_least, require_one_of
from dartboard.selectors._settling import EdgeOrder, edge_order, settle

Rank = Literal["drop", "projected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Judges):
    """The width of the beam, and what a settling is worth.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    width: int = 3  # k
    rank: Rank = "drop"
    edge_order: EdgeOrder = "random"
    batches: int | None = 16  # of the validation half; None: all

    def __post_init__(self) -> None:
        Judges.__post_init__(self)
        require_at_least(self, 1, "width")
        require_one_of(self, rank=get_args(Rank), edge_order=get_args(EdgeOrder))


class State(NamedTuple):
    """A partial cell."""

    value: float
    settled: tuple[tuple[int, int], ...]  # (edge, operation), in the order of settling
    mixture: Tensor  # (E, O) or (cells, E, O), the settled rows one-hot


class BeamPerturbation(Configured[Config]):
    """The best cell of a beam search over projections wins."""

    name: ClassVar[str] = "beam-perturbation"
    paper: ClassVar[str] = "after Wang, Cheng, Chen, Tang, Hsieh 2021, arXiv:2108.04392"
    knobs: ClassVar[tuple[Knob, ...]] = (Knob("batches"),)
    scored: ClassVar[bool] = False
    config_class = Config

    def cost(self, data: SelectionData) -> int:
        """The most images that a selection pushes."""
        config, beam, mixtures = self.config, 1, 0
        for _ in range(E):
            mixtures += beam * (O + 1 if config.rank == "drop" else O)
            beam = min(config.width, beam * (O - 1 if config.exclude_none else O))
        return mixtures * valid_images(data, config.batches)

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; there are no scores, and the trace tells the beam after each edge."""
        config, root, images = self.config, split_off(generator), 0
        order = edge_order(config.edge_order, stream(root, "edges"))
        batches = list(shared_batches(data, stream(root, "images"), steps=config.batches))
        beam, trace = [State(0.0, (), trained.searcher.mixture().detach())], []
        for place, edge in enumerate(order):
            projected = [settle(state.mixture, edge) for state in beam]  # each (O, ..., E, O)
            if config.rank == "drop":
                masks = [
                    torch.cat([state.mixture[None], without_each(state.mixture, edge, renormalise=False)])
                    for state in beam
                ]
            else:
                masks = projected
            result = score_mixtures(trained.supernet, torch.cat(masks), batches, config.norm, data.cache)
            images += result.images
            worth = result.worth(config.criterion).reshape(len(beam), -1)
            reached = []
            for state, nexts, row in zip(beam, projected, worth, strict=True):
                values = state.value + row[0] - row[1:] if config.rank == "drop" else row
                reached += [
                    State(float(values[o]), (*state.settled, (edge, o)), nexts[o])
                    for o in range(O)
                    if not (config.exclude_none and o == NONE)
                ]
            beam = sorted(reached, key=lambda state: -state.value)[: config.width]
            told = [{"settled": [list(pair) for pair in state.settled], "value": state.value} for state in beam]
            trace.append({"edge": edge, "beam": told})
            if data.progress:
                data.progress(place + 1, E)
        operations = dict(beam[0].settled)
        return Selection(
            cell=Cell(tuple(operations[edge] for edge in range(E))),
            trace=tuple(trace),
            images=images,
            notes={"value": beam[0].value},
        )
