"""Single-path supernet: every training batch goes through one cell, drawn uniformly.

Z. Guo, X. Zhang, H. Mu, W. Heng, Z. Liu, Y. Wei, J. Sun, "Single Path One-Shot Neural Architecture Search with Uniform
Sampling", ECCV 2020, arXiv:1904.00420; and the weight-sharing half of L. Li, A. Talwalkar, "Random Search and
Reproducibility for Neural Architecture Search", UAI 2019, arXiv:1902.07638, as the benchmark's authors run it (RSPS):

    h_e ~ uniform over the O operations, for each edge e;    w ← SGD(∇_w L_train(w, h))

There is no α; the mixture is uniform and says nothing of the operations. A cell is found by scoring cells with these
weights, which is a selector's work. `rsps` is this training under its published protocol, `autodl` with 250 epochs.

Differences from the papers: one sample goes through all cells of the network, as this space has one cell; batch size,
rates and clipping are the protocol's (the SPOS paper's are those of ImageNet). The validation batch trains nothing; one
pass without gradient looks at it for the record, under another uniform cell, normalised by the batch, the running
statistics left alone. The supernet computes all operations of an edge though one counts, so a pass costs what DARTS'
does; where batch norm tracks statistics (`ucla`), those of the operations that were not sampled learn as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.space import E, O
from dartboard.benchmark.supernet import MixedNetwork
from dartboard.searchers._training import PROTOCOLS, Half, Protocol, WeightSharing, look


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Uniform single-path training has no settings but its protocol's."""

    protocol: Protocol = field(default_factory=lambda: PROTOCOLS["ucla"])


def uniform_cell(generator: torch.Generator, like: Tensor) -> Tensor:
    """(E, O) one-hot rows, each operation with probability 1/O, drawn on the CPU; dtype and device of `like`."""
    operations = torch.randint(O, (E,), generator=generator)
    rows = torch.zeros(E, O, dtype=like.dtype).scatter_(1, operations[:, None], 1.0)
    return rows.to(like.device)


class Spos(WeightSharing):
    """Uniform single-path training; see `WeightSharing` for the arguments."""

    name: ClassVar[str] = "spos"
    paper: ClassVar[str] = "Guo, Zhang, Mu, Heng, Liu, Wei, Sun 2020, arXiv:1904.00420"
    config_class = Config
    config: Config
    own_protocol: ClassVar[Mapping[str, Mapping[str, Any]]] = {"autodl": {"epochs": 250}}

    def __init__(self, supernet: MixedNetwork, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        like = next(supernet.parameters())
        self.uniform = torch.full((E, O), 1 / O, dtype=like.dtype, device=like.device)

    def mixture(self) -> Tensor:
        """(E, O): 1/O everywhere."""
        return self.uniform

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (nothing is trained here)
        """Look at the validation batch through a uniform cell."""
        cell = uniform_cell(self.generator, self.uniform)
        return look(lambda images: self.supernet(images, cell, "batch"), valid)

    def weight_step(self, train: Batch) -> Half:
        """w ← SGD(∇_w L_train(w, h))."""
        return self.descend(train, uniform_cell(self.generator, self.uniform))
