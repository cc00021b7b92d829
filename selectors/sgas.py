"""SGAS: edges are settled one at a time, the most important and most certain first, with training between.

G. Li, G. Qian, I. C. Delgadillo, M. Müller, A. Thabet, B. Ghanem, "SGAS: Sequential Greedy Architecture Search", CVPR
2020, arXiv:1912.00195. With p the mixing weights of an edge and q = p/(1 - p_none) those of its n operations but
`none`,

    importance   I = 1 - p_none
    certainty    C = 1 - (-Σ q ln q)/ln n
    stability    S = mean over the last `history` epochs t of Σ min(q_t, q)

    criterion="1"   Î·Ĉ        criterion="2"   Î·Ĉ·Ŝ        (ˆ: scaled to 0..1 over the edges not yet settled)

and before epoch 0, interval, 2·interval, ... the edge of the largest criterion keeps argmax q; its row becomes one-hot.
Without training between (`interval=0`) the order of the edges is of no consequence, and the cell is that of magnitude
without `none`.

Differences from the paper: there, the decisions are part of the search, after 9 epochs of warm-up, and the batch grows
with each of them; here they are made from the finished supernet, which trains on with the search's own step at a small
constant rate, the batch as it was, as in DARTS-PT. It is the trajectory of the search that begins the history. An edge
whose whole weight is `none`'s has no q; it gets a uniform one, comes last and keeps the first operation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.space import NONE, OPERATIONS, Cell, E, O
from dartboard.benchmark.streams import derive, split_off
from dartboard.selectors._budget import Knob, epoch_images
from dartboard.selectors._options import Configured, require_at_least, require_one_of, require_positive
from dartboard.selectors._tuning import Projected, Tuning

Criterion = Literal["1", "2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The published procedure's figures.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    criterion: Criterion = "1"
    interval: int = 5  # epochs of training between decisions; 0: none at all
    history: int = 4  # epochs that stability looks back
    learning_rate: float = 0.0025  # of the weights, constant

    def __post_init__(self) -> None:
        require_at_least(self, 0, "interval")
        require_at_least(self, 1, "history")
        require_positive(self, "learning_rate")
        require_one_of(self, criterion=get_args(Criterion))


def without_none(mixture: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., O - 1): the shares of the operations but `none` among themselves; equal where there is nothing but it."""
    rest = np.delete(mixture, NONE, axis=-1)
    total = rest.sum(-1, keepdims=True)
    shares: NDArray[np.float64] = np.divide(rest, total, out=np.full_like(rest, 1 / (O - 1)), where=total != 0)
    return shares


def certainty(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """(...): 1 - entropy/ln n of shares (..., n); 1 for one-hot, 0 for uniform shares."""
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    certain: NDArray[np.float64] = 1 + (shares * logs).sum(-1) / np.log(shares.shape[-1])
    return certain


def stability(shares: NDArray[np.float64], past: NDArray[np.float64]) -> NDArray[np.float64]:
    """(E,): the mean intersection of shares (E, n) with those of past epochs (T, E, n); 1 where there is no past."""
    return np.minimum(past, shares).sum(-1).mean(0) if len(past) else np.ones(len(shares))


def scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values moved and scaled to 0..1; all 0 where they are equal."""
    span = np.ptp(values)
    return (values - values.min()) / span if span > 0 else np.zeros_like(values)


class Sgas(Configured[Config]):
    """The largest mixing weight but `none`'s wins, edge after edge, the supernet training between."""

    name: ClassVar[str] = "sgas"
    paper: ClassVar[str] = "Li, Qian, Delgadillo, Müller, Thabet, Ghanem 2020, arXiv:1912.00195"
    knobs: ClassVar[tuple[Knob, ...]] = (Knob("interval", least=0, grows=False),)
    config_class = Config

    def cost(self, data: SelectionData) -> int:
        """The most images that a selection pushes."""
        return self.config.interval * (E - 1) * epoch_images(data)

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """See `Selector.select`; an edge's scores are its mixing weights when its turn came."""
        config, seed = self.config, derive(split_off(generator), "tune")
        tuning = Tuning.of(trained, config.learning_rate)
        searcher, network = tuning.searcher, tuning.network
        history = [np.asarray(mixture) for mixture in trained.trajectory[:-1]]  # epochs before today's
        scores, trace, pushed = np.zeros((E, O)), [], 0
        kept = data.journal.load() if data.journal else None
        if kept is not None:
            trace, pushed = list(kept["trace"]), int(kept["images"])
            history, scores = [np.array(m) for m in kept["history"]], np.array(kept["scores"])
            searcher.load_state_dict(kept["searcher"])
        while len(trace) < E:
            mixture = _mean(searcher.mixture())
            entry = self._decide(mixture, np.array(history[-config.history :]), network)
            scores[entry["edge"]] = mixture[entry["edge"]]
            trace.append(entry)
            for epoch in range(config.interval if len(trace) < E else 0):
                history.append(_mean(searcher.mixture()))
                pushed += tuning.epoch(data, (len(trace) - 1) * config.interval + epoch, seed)
            if data.progress:
                data.progress(len(trace), E)
            if data.journal and config.interval:
                state = {"trace": trace, "images": pushed, "scores": scores.tolist()}
                past = [m.tolist() for m in history[-config.history :]]
                data.journal.save({**state, "history": past, "searcher": searcher.state_dict()})
        return Selection(
            cell=Cell.from_scores(network.one_hot.double().cpu().numpy()),
            scores=scores,
            trace=tuple(trace),
            images=pushed,
            gradient_images=pushed,
        )

    def _decide(self, mixture: NDArray[np.float64], past: NDArray[np.float64], network: Projected) -> dict[str, Any]:
        """Settle the edge whose turn it is, and say why."""
        if np.isnan(mixture).any():
            raise ValueError(f"the mixing weights hold NaN, which ranks nothing: {mixture.tolist()}")
        left = np.flatnonzero(~network.settled.cpu().numpy())
        shares = without_none(mixture)
        parts = {"importance": 1 - mixture[:, NONE], "certainty": certainty(shares)}
        if self.config.criterion == "2":
            parts["stability"] = stability(shares, without_none(past) if len(past) else past)
        worth = np.prod([scaled(part[left]) for part in parts.values()], axis=0)
        edge = int(left[worth.argmax()])
        operation = 1 + int(shares[edge].argmax())  # `none` is the first
        network.settle(edge, operation)
        told = {name: float(part[edge]) for name, part in parts.items()}
        return {"edge": edge, "operation": OPERATIONS[operation], **told}


def _mean(mixture: Tensor) -> NDArray[np.float64]:
    """(E, O): a mixture, or its mean over the cells."""
    rows = mixture.detach() if mixture.dim() == 2 else mixture.detach().mean(0)
    values: NDArray[np.float64] = rows.double().cpu().numpy()
    return values
