"""PC-DARTS: a part of the channels is mixed, and each node weighs its incoming edges by weights that are learnt.

Y. Xu, L. Xie, X. Zhang, X. Chen, G.-J. Qi, Q. Tian, H. Xiong, "PC-DARTS: Partial Channel Connections for
Memory-Efficient Architecture Search", ICLR 2020, arXiv:1907.05737. With p = softmax(α) and w_e the softmax of β over
the edges that enter the same node,

    f_e(x) = shuffle_K(Σ_o p[e, o] · op_o^e(x[:C/K]), x[C/K:]),    x_i = Σ_{j<i} w_{e(i,j)} f_{e(i,j)}(x_j)
    w ← SGD(∇_w L_train),    (α, β) ← Adam(∇ L_val(w, α, β))

and α and β do not move in the first epochs (15 of 50), while the weights warm up.

`mixture()` is p alone, with rows that sum to 1. In the paper β chooses edges; a cell of NAS-Bench-201 keeps all six,
and w_e·p[e] has p[e]'s order, so β prefers no operation of an edge to another. It is part of the supernet (its buffer
`edge_logits`, in its state): what a selector masks or settles leaves the edge's weight and the channels that pass by
as they are.

Differences from the paper: none known in the mathematics. The authors have published no search on NAS-Bench-201. K, β
and the warm-up's share of the epochs are those of their code for the DARTS space, where α and β move at 6e-4 beside
batches of 256; here all else is the protocol's. The operations are the benchmark's: its pooling has no batch norm.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.partial import PartialSupernet
from dartboard.benchmark.space import E
from dartboard.benchmark.supernet import Supernet, SupernetConfig
from dartboard.searchers._training import PROTOCOLS, Bilevel, Half, Protocol, architecture_adam


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """PC-DARTS.

    Raises:
        InputError: when a number is out of range.
    """

    protocol: Protocol = field(default_factory=lambda: PROTOCOLS["ucla"])
    partial: int = 4  # K: one channel in K passes through the operations
    edge_normalisation: bool = True
    warm_up: float = 0.3  # share of the epochs before α and β move

    def __post_init__(self) -> None:
        if not isinstance(self.partial, int) or self.partial < 1:
            raise InputError(f"partial is a whole number of at least 1; got {self.partial!r}")
        if not 0 <= self.warm_up <= 1:
            raise InputError(f"warm_up is a share between 0 and 1; got {self.warm_up}")


class PcDarts(Bilevel):
    """PC-DARTS; see `Bilevel` for the arguments, the supernet being one of `supernet_config`'s kind."""

    name: ClassVar[str] = "pc-darts"
    paper: ClassVar[str] = "Xu, Xie, Zhang, Chen, Qi, Tian, Xiong 2020, arXiv:1907.05737"
    config_class = Config
    config: Config
    warming: bool  # whether α and β rest in this epoch

    def __init__(self, supernet: Supernet, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        if self.supernet_config(supernet.config, config) != supernet.config:
            raise InputError("pc-darts trains a supernet of its own kind; build it from PcDarts.supernet_config")
        if isinstance(supernet, PartialSupernet) and supernet.edge_logits is not None:
            beta = supernet.edge_logits
            beta.copy_(1e-3 * torch.randn(E, generator=generator, dtype=torch.float64))
            self.architecture.append(beta.requires_grad_())
        self.adam = architecture_adam(self.architecture, config.protocol)

    @staticmethod
    def supernet_config(size: SupernetConfig, config: Config) -> SupernetConfig:
        """The supernet that it trains, of this size.

        Raises:
            InputError: when the number of channels is no multiple of K.
        """
        return replace(size, partial=config.partial, edge_normalisation=config.edge_normalisation)

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """See whether α and β move."""
        super().begin_epoch(epoch, generator)
        self.warming = epoch < round(self.config.warm_up * self.config.protocol.epochs)

    def architecture_step(self, train: Batch, valid: Batch) -> Half:  # noqa: ARG002  (first order sees no training batch)
        """(α, β) ← Adam(∇ L_val(w, α, β)), or a look at the validation batch while the weights warm up."""
        if self.warming:
            return self.look(valid)
        return self.first_order(valid, self.mixture())
