"""Zero-Cost-PT: edge by edge the operation whose removal lowers a training-free score of the network most.

L. Xiang, Ł. Dudziak, M. S. Abdelfattah, T. Chau, N. D. Lane, H. Wen, "Zero-cost operation scoring in differentiable
architecture search", AAAI 2023, arXiv:2106.06799, and its code. With S the score of a network (`_zero_cost`: NASWOT's
log-determinant, or the synaptic flow) and every edge mixing its operations alike, p = 1/O, for each of `proposals`:

    pick an edge e at random among those that still mix; take one batch of images
    e keeps argmin_o S(p with p[e, o] = 0), its row becomes one-hot; the other weights stay as they are

and of the proposed cells the one of the largest S, summed over `validation_batches`, is the answer. It is a rule for an
*untrained* network; `weights="trained"` and `mixture="searcher"` ask the same of what a search leaves behind.

Differences from the paper: the proposed cells are validated as one-hot mixtures of the same network; the edges mix
exactly alike, where the code has logits drawn from 1e-3·N(0, 1); a score that is NaN or infinite is refused, where the
code passes over NaN. As in the code, batch norm uses its running statistics, those of an untrained network. Removing
`none` changes nothing, so it wins an edge on which every other removal *raises* the score; as in the code, it may
(`exclude_none=True`: it may not).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.layers import Norm
from dartboard.benchmark.space import OPERATIONS, Cell, E, O
from dartboard.benchmark.streams import split_off, stream
from dartboard.benchmark.supernet import Supernet
from dartboard.selectors._budget import Knob, images_in
from dartboard.selectors._evaluation import own_batches, without_each
from dartboard.selectors._options import Configured, require_at_least, require_one_of, strongest
from dartboard.selectors._settling import EdgeOrder, edge_order, settle, settled_cell
from dartboard.selectors._zero_cost import ActivationCodes, SynapticFlow, untrained

Measure = Literal["naswot", "synflow"]
Weights = Literal["untrained", "trained"]
Mixture = Literal["uniform", "searcher"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The published figures.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    measure: Measure = "naswot"
    weights: Weights = "untrained"
    mixture: Mixture = "uniform"  # or the searcher's own
    proposals: int = 10
    batch_size: int = 256  # images of the weights' half that a NASWOT kernel is of; synflow sees none
    validation_batches: int = 100  # for each proposed cell; of synflow, always 1
    edge_order: EdgeOrder = "random"
    norm: Norm = "running"  # how batch norm normalises for NASWOT; running statistics of an untrained net do nothing
    exclude_none: bool = False

    def __post_init__(self) -> None:
        require_at_least(self, 1, "proposals", "batch_size", "validation_batches")
        require_one_of(
            self,
            measure=get_args(Measure),
            weights=get_args(Weights),
            mixture=get_args(Mixture),
            edge_order=get_args(EdgeOrder),
            norm=("batch", "running"),
        )


class Proposal(NamedTuple):
    """A cell, and how it came about."""

    cell: Cell
    scores: NDArray[np.float64]  # (E, O), minus the network's score without the operation, in the edge's turn
    trace: tuple[dict[str, Any], ...]


class ZeroCostPT(Configured[Config]):
    """The operation without which the network scores least wins, edge after edge."""

    name: ClassVar[str] = "zero-cost-pt"
    paper: ClassVar[str] = "Xiang, Dudziak, Abdelfattah, Chau, Lane, Wen 2023 (AAAI), arXiv:2106.06799"
    knobs: ClassVar[tuple[Knob, ...]] = (
        Knob("batch_size", least=2, grows=False),
        Knob("proposals", grows=False),
        Knob("validation_batches", grows=False),
    )
    equivariant: ClassVar[bool] = True  # operations under other names: the same answer under these
    config_class = Config

    def cost(self, data: SelectionData) -> int:
        """The most images that a selection pushes."""
        config = self.config
        proposing, validating = E, 1  # synaptic flow has one image of its own
        if config.measure == "naswot":
            proposing = images_in(data.train, config.batch_size, E)
            validating = images_in(data.train, config.batch_size, config.validation_batches)
        return config.proposals * (O * proposing + (validating if config.proposals > 1 else 0))

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; scores and trace are the chosen proposal's, and the notes tell of all proposals."""
        config, root = self.config, split_off(generator)
        network = trained.supernet
        if config.weights == "untrained":
            network = untrained(network, stream(root, "weights"))
        mixture = trained.searcher.mixture().detach()
        if config.mixture == "uniform":
            mixture = torch.full_like(mixture, 1 / O)
        measure = _Measure(network, config)

        proposals, values = [], {}
        for index in range(config.proposals):
            order = edge_order(config.edge_order, stream(root, "edges", index))
            batches = data.train.epoch(config.batch_size, stream(root, "images", index), steps=E)
            proposals.append(self._propose(mixture, order, [images for images, _ in batches], measure))
            if data.progress:
                data.progress(index + 1, config.proposals + 1)
        cells = list(dict.fromkeys(proposal.cell for proposal in proposals))
        if len(cells) > 1:
            one_hot = torch.stack([torch.from_numpy(cell.one_hot()).to(mixture) for cell in cells])
            steps = config.validation_batches if config.measure == "naswot" else 1
            batches = own_batches(data.train, config.batch_size, root, "validation", steps=steps)
            sums = sum(measure(one_hot, images) for images, _ in batches)
            values = dict(zip(cells, np.asarray(sums).tolist(), strict=True))
        best = max(proposals, key=lambda proposal: values.get(proposal.cell, 0))
        return Selection(
            cell=best.cell,
            scores=best.scores,
            trace=best.trace,
            images=measure.images,
            gradient_images=measure.gradient_images,
            notes={"proposals": [{"cell": str(p.cell), "validation": values.get(p.cell)} for p in proposals]},
        )

    def _propose(self, mixture: Tensor, order: list[int], batches: list[Tensor], measure: _Measure) -> Proposal:
        """Settle the edges in this order, each by a batch of its own."""
        scores, trace = np.zeros((E, O)), []
        for edge, images in zip(order, batches, strict=True):
            without = measure(without_each(mixture, edge, renormalise=False), images)
            scores[edge] = -without
            operation = strongest(scores[edge], exclude_none=self.config.exclude_none)
            mixture = settle(mixture, edge)[operation]
            trace.append({"edge": edge, "operation": OPERATIONS[operation], "score_without": without.tolist()})
        return Proposal(settled_cell(trace), scores, tuple(trace))


class _Measure:
    """The score of a network under several mixtures, with what it costs."""

    def __init__(self, network: Supernet, config: Config) -> None:
        self.images = self.gradient_images = 0
        self.norm = config.norm
        self.codes = ActivationCodes(network) if config.measure == "naswot" else None
        self.flow = None if self.codes else SynapticFlow(network)

    def __call__(self, mixtures: Tensor, images: Tensor) -> NDArray[np.float64]:
        """(M,) of mixtures (M, ..., E, O); the host waits once.

        Raises:
            ValueError: when one is NaN or infinite.
        """
        if self.codes:
            self.images += len(images) * len(mixtures)
            scores = [self.codes.score(images, mixture, self.norm) for mixture in mixtures]
        else:
            assert self.flow
            self.images += len(mixtures)
            self.gradient_images += len(mixtures)
            scores = [self.flow.score(images, mixture) for mixture in mixtures]
        values: NDArray[np.float64] = torch.stack(scores).cpu().numpy()
        if not all(map(math.isfinite, values)):
            raise ValueError(
                f"a score is NaN, or infinite because two images look alike to the network: {values.tolist()}"
            )
        return values
