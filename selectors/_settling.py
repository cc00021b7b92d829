"""What criteria share that settle one edge after another: in which order, on what, and the cell in the end.

Not a criterion itself. An edge is settled when its row of the mixture is one-hot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from dartboard.benchmark.space import OPERATIONS, Cell, E, O

EdgeOrder = Literal["random", "ascending"]


def edge_order(order: EdgeOrder, generator: torch.Generator) -> list[int]:
    """The edges in the order of their turns; only a random one draws from `generator`."""
    return torch.randperm(E, generator=generator).tolist() if order == "random" else list(range(E))


def settle(mixture: Tensor, edge: int) -> Tensor:
    """(O, E, O) or (O, cells, E, O): `mixture` with each operation in turn alone on `edge`, at full weight."""
    settled = mixture.expand(O, *mixture.shape).clone()
    for operation in range(O):
        settled[operation, ..., edge, :] = 0
        settled[operation, ..., edge, operation] = 1
    return settled


def settled_cell(trace: Iterable[Mapping[str, Any]]) -> Cell:
    """The cell of a trace in which each edge has an entry with its `edge` and the name of its `operation`."""
    operations = {entry["edge"]: OPERATIONS.index(entry["operation"]) for entry in trace}
    return Cell(tuple(operations[edge] for edge in range(E)))
