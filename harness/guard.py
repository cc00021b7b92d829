"""Selectors must leave things alone: the check that they did."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dartboard.benchmark.contracts import TrainedSupernet


@contextlib.contextmanager
def untouched(trained: TrainedSupernet, who: str) -> Iterator[None]:
    """Make sure that what happens inside leaves the trained supernet and the global random state alone.

    Raises:
        RuntimeError: naming what was changed.
    """
    before = _fingerprint(trained)
    yield
    after = _fingerprint(trained)
    changed = sorted(name for name in before.keys() | after.keys() if not _same(before.get(name), after.get(name)))
    if changed:
        raise RuntimeError(f"{who} changed what it must leave alone: {', '.join(changed[:3])}")


def _fingerprint(trained: TrainedSupernet) -> dict[str, Any]:
    facts: dict[str, Any] = {"the global random state": torch.random.get_rng_state()}
    facts |= {"numpy's global random state": str(np.random.get_state())}  # noqa: NPY002  (read, not drawn from)
    facts |= _flat(trained.searcher.state_dict(), "")
    for name, parameter in trained.supernet.named_parameters():
        facts[f"{name}.requires_grad"] = parameter.requires_grad
        facts[f"{name}.grad"] = parameter.grad
    facts["training mode"] = trained.supernet.training
    return {k: v.clone() if isinstance(v, Tensor) else v for k, v in facts.items()}


def _flat(value: Any, name: str) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {k: v for key, item in value.items() for k, v in _flat(item, f"{name}.{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for index, item in enumerate(value) for k, v in _flat(item, f"{name}.{index}").items()}
    return {name.removeprefix("."): value}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)
