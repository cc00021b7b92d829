"""One-shot best: whole cells, judged by the weights that they inherit, the best of many kept.

L. Li, A. Talwalkar, "Random search and reproducibility for neural architecture search", UAI 2019, arXiv:1902.07638 (the
best of n random cells); Z. Guo et al., "Single path one-shot neural architecture search with uniform sampling", ECCV
2020, arXiv:1904.00420, section 3.4 (batch norm's statistics are taken anew for each cell; evolution in place of random
draws). The network of a cell is the supernet under its one-hot mixture:

    cell = argmax over the n cells seen of a(one-hot(cell))

    search="random"      n cells drawn uniformly, none twice
    search="evolution"   regularised evolution (E. Real et al., AAAI 2019, arXiv:1802.01548): `population` random
                         cells; then always the best of `tournament` members drawn has one edge changed, and the child
                         takes the place of the oldest member, until n different cells have been seen

    statistics="batch"         batch norm normalises by the batch
    statistics="re-estimated"  by the mean statistics over `recalibration` training batches under the cell, on a copy

Differences from the papers: all cells are judged on the same validation images; the evolution is Real's and not Guo's,
and a cell seen before costs nothing again.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.layers import MOMENTUM, BatchNorm
from dartboard.benchmark.space import NONE, SPACE_SIZE, Cell, E, O
from dartboard.benchmark.streams import split_off, stream
from dartboard.benchmark.supernet import MixedNetwork
from dartboard.selectors._budget import Knob, images_in, valid_images
from dartboard.selectors._evaluation import score_mixtures, shared_batches
from dartboard.selectors._options import Configured, require_at_least, require_one_of

Search = Literal["random", "evolution"]
Statistics = Literal["batch", "re-estimated"]
Criterion = Literal["accuracy", "loss"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How many cells, found how, judged on what.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    cells: int = 100  # n
    search: Search = "random"
    population: int = 20  # of the evolution
    tournament: int = 5  # of the evolution
    criterion: Criterion = "accuracy"
    statistics: Statistics = "batch"
    recalibration: int = 20  # training batches for a cell's statistics
    exclude_none: bool = False  # whether no cell with `none` is looked at
    batches: int | None = 8  # of the validation half; None: all

    def __post_init__(self) -> None:
        require_at_least(self, 1, "cells", "population", "tournament", "recalibration", "batches")
        require_one_of(self, search=get_args(Search), criterion=get_args(Criterion), statistics=get_args(Statistics))
        most = self.space if self.search == "random" else self.space // 2  # an evolution may never reach the rest
        if self.cells > most:
            raise InputError(f"cells is at most {most} of the {self.space} there are; got {self.cells}")
        if self.tournament > self.population:
            raise InputError(f"tournament is at most the population, {self.population}; got {self.tournament}")

    @property
    def space(self) -> int:
        """How many cells there are to look at."""
        return int((O - 1) ** E) if self.exclude_none else SPACE_SIZE


def random_cells(count: int, allowed: list[int], generator: torch.Generator) -> Iterator[Cell]:
    """`count` different cells of the operations `allowed`, each equally likely."""
    n = len(allowed)
    for rank in torch.randperm(n**E, generator=generator)[:count].tolist():
        yield Cell(tuple(allowed[rank // n**e % n] for e in range(E)))


def evolve(
    judge: Callable[[Cell], float],
    allowed: list[int],
    *,
    cells: int,
    population: int,
    tournament: int,
    generator: torch.Generator,
) -> None:
    """Show `judge` the cells of a regularised evolution towards its largest value, `cells` different ones in all."""
    values: dict[Cell, float] = {}
    members: deque[Cell] = deque()
    for cell in random_cells(min(population, cells), allowed, generator):
        values[cell] = judge(cell)
        members.append(cell)
    while len(values) < cells:
        rivals = torch.randperm(len(members), generator=generator)[:tournament].tolist()
        operations = list(max((members[rival] for rival in rivals), key=values.__getitem__).operations)
        edge = int(torch.randint(E, (), generator=generator))
        others = [operation for operation in allowed if operation != operations[edge]]
        operations[edge] = others[int(torch.randint(len(others), (), generator=generator))]
        child = Cell(tuple(operations))
        if child not in values:
            values[child] = judge(child)
        members.append(child)
        members.popleft()


@torch.no_grad()
def re_estimate(network: MixedNetwork, mixture: Tensor, batches: list[tuple[Tensor, Tensor]]) -> None:
    """Set batch norm's running statistics to their means over `batches` under `mixture`; all batches weigh the same."""
    layers = [m for m in network.modules() if isinstance(m, BatchNorm) and m.running_mean is not None]
    buffers = [buffer for layer in layers for buffer in (layer.running_mean, layer.running_var) if buffer is not None]
    sums = [torch.zeros_like(buffer) for buffer in buffers]
    for images, _ in batches:
        for buffer in buffers:
            buffer.zero_()
        network(images, mixture, "train")  # from 0, the running statistics become MOMENTUM times the batch's
        for total, buffer in zip(sums, buffers, strict=True):
            total += buffer / MOMENTUM
    for total, buffer in zip(sums, buffers, strict=True):
        buffer.copy_(total / len(batches))


class OneShotBest(Configured[Config]):
    """The best whole cell seen wins."""

    name: ClassVar[str] = "one-shot-best"
    paper: ClassVar[str] = "Li, Talwalkar 2019, arXiv:1902.07638; Guo et al. 2020, arXiv:1904.00420"
    knobs: ClassVar[tuple[Knob, ...]] = (
        Knob("recalibration", grows=False),
        Knob("batches", grows=False),
        Knob("cells"),
    )
    scored: ClassVar[bool] = False
    config_class = Config

    def cost(self, data: SelectionData) -> int:
        """The most images that a selection pushes."""
        config, images = self.config, valid_images(data, self.config.batches)
        if config.statistics == "re-estimated":
            images += images_in(data.train, data.batch_size, config.recalibration)
        return config.cells * images

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; there are no scores, and the trace tells each cell with its value."""
        config, root = self.config, split_off(generator)
        like = trained.searcher.mixture().detach()
        valid = list(shared_batches(data, stream(root, "images"), steps=config.batches))
        network, train = trained.supernet, []
        if config.statistics == "re-estimated":
            network = copy.deepcopy(network)
            own = stream(root, "statistics")
            train = list(shared_batches(data, own, steps=config.recalibration, half="train"))
        norm: Literal["running", "batch"] = "running" if train else "batch"
        seen: dict[Cell, float] = {}
        images = 0

        def judge(cell: Cell) -> float:
            nonlocal images
            one_hot = torch.from_numpy(cell.one_hot()).to(like)
            if train:
                re_estimate(network, one_hot, train)
                images += sum(len(labels) for _, labels in train)
            scores = score_mixtures(network, one_hot[None], valid, norm)
            images += scores.images
            seen[cell] = float(scores.accuracy[0] if config.criterion == "accuracy" else -scores.loss[0])
            if data.progress:
                data.progress(len(seen), config.cells)
            return seen[cell]

        allowed = [o for o in range(O) if not (config.exclude_none and o == NONE)]
        draws = stream(root, "cells")
        if config.search == "random":
            for cell in random_cells(config.cells, allowed, draws):
                judge(cell)
        else:
            evolve(
                judge,
                allowed,
                cells=config.cells,
                population=config.population,
                tournament=config.tournament,
                generator=draws,
            )
        best = max(seen, key=seen.__getitem__)
        trace = tuple({"cell": str(cell), config.criterion: value} for cell, value in seen.items())
        return Selection(cell=best, trace=trace, images=images, notes={"value": seen[best]})
