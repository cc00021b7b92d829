"""Search cells compiled by torch.compile: what a cell does between its convolutions becomes a few fused loops.

    with compiled_cells(supernet):
        ...  # steps of a search

Within, a pass that is to be differentiated once goes through each search cell as one compiled function; one function
serves all cells of a stage. What the cell computes is the same, sums are rounded in another order. Passes without a
gradient, and those that are to be differentiated twice (`TwiceDifferentiable`), which compiled functions cannot be,
stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import torch
from torch import nn

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.supernet import SearchCell

VARIANTS: Final = 64
"""How many variants of a cell (its width, the batch's size, whose gradients are asked for) are compiled at most."""


@cache
def compiler(backend: str = "inductor") -> Any:
    """`SearchCell.mix` as a function that compiles itself, anew for each variant; it takes a second to load."""
    import torch._dynamo

    torch._dynamo.config.recompile_limit = VARIANTS
    return torch.compile(_mix, dynamic=False, backend=backend)


def _mix(cell: SearchCell, *arguments: Any) -> Any:
    return cell.mix(*arguments)


@contextmanager
def compiled_cells(network: nn.Module) -> Iterator[None]:
    """Within, the search cells of `network` are compiled where they can be."""
    cells = [module for module in network.modules() if isinstance(module, SearchCell)]
    try:
        for cell in cells:
            cell.compiled = compiler()
        yield
    finally:
        for cell in cells:
            cell.compiled = None


def require_compiler(device: torch.device) -> None:
    """Compile something small, as a trial.

    Raises:
        InputError: when nothing can be compiled for `device` here.
    """
    x = torch.ones(8, device=device)
    try:
        torch.compile(lambda x: torch.relu(x) + 1, dynamic=False)(x)
    except (RuntimeError, OSError, ImportError) as error:  # PyTorch's own of this kind are RuntimeErrors
        told = re.sub(r"\s+", " ", str(error)).strip()[:160]
        raise InputError(
            f"torch.compile cannot compile for {device} here ({type(error).__name__}: {told}):"
            " leave compile out, or install a C++ compiler and Python's headers"
        ) from None
