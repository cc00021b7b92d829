"""Selectors must leave things alone: the check that they did."""

from __future__ import annotations

import contextlib
import pickle
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dartboard.benchmark.contracts import TrainedSupernet


class Meddled(RuntimeError):  # noqa: N818  (it reads as what it is, in a record)
    """Something changed what it must leave alone."""


@contextlib.contextmanager
def untouched(trained: TrainedSupernet, who: str) -> Iterator[None]:
    """Make sure that what happens inside, failing or not, leaves the supernet and the global random state alone.

    Raises:
        Meddled: naming what was changed.
    """
    before = fingerprint(trained)
    try:
        yield
    except Exception as error:
        changed = differences(before, fingerprint(trained))
        if changed:
            told = f"{type(error).__name__}: {error}"
            raise Meddled(f"{who} failed ({told}) and left changed: {', '.join(changed[:3])}") from error
        raise
    changed = differences(before, fingerprint(trained))
    if changed:
        raise Meddled(f"{who} changed what it must leave alone: {', '.join(changed[:3])}")


@contextlib.contextmanager
def global_state_kept(who: str) -> Iterator[None]:
    """Make sure that what happens inside leaves the global random state alone.

    Raises:
        RuntimeError: naming what was changed.
    """
    before = {k: v.clone() if isinstance(v, Tensor) else v for k, v in global_random_state().items()}
    yield
    changed = differences(before, global_random_state())
    if changed:
        raise RuntimeError(f"{who} changed what it must leave alone: {', '.join(changed[:3])}")


def fingerprint(trained: TrainedSupernet) -> dict[str, Any]:
    """All that a selector must leave alone, by name."""
    facts = global_random_state() | flat(trained.searcher.state_dict())
    facts |= {"the mixture": trained.mixture.tobytes(), "the trajectory": trained.trajectory.tobytes()}
    facts["searcher.supernet"] = id(trained.searcher.supernet)
    own = {f"searcher.{k}": v for k, v in vars(trained.searcher).items() if isinstance(v, Tensor)}
    for name, tensor in [*trained.supernet.named_parameters(), *own.items()]:
        facts[f"{name}.requires_grad"] = tensor.requires_grad
        facts[f"{name}.grad"] = tensor.grad if tensor.is_leaf else None
    for name, module in trained.supernet.named_modules():
        facts[f"training mode of {name or 'the supernet'}"] = module.training
    return {k: v.clone() if isinstance(v, Tensor) else v for k, v in facts.items()}


def global_random_state() -> dict[str, Any]:
    """The states of the generators that everybody shares."""
    facts = {"torch's global random state": torch.random.get_rng_state()}
    if torch.cuda.is_initialized():
        facts |= flat(torch.cuda.get_rng_state_all(), "CUDA's global random states")
    numpys = pickle.dumps(np.random.get_state())  # noqa: NPY002  (read, not drawn from)
    return facts | {"numpy's global random state": numpys, "Python's global random state": random.getstate()}


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """The leaves of nested containers, by their dotted names."""
    if isinstance(value, Mapping):
        return {k: v for key, item in value.items() for k, v in flat(item, f"{name}.{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for index, item in enumerate(value) for k, v in flat(item, f"{name}.{index}").items()}
    return {name.removeprefix("."): value}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The names under which two flat mappings do not hold the same, bit for bit."""
    return sorted(name for name in one.keys() | other.keys() if not _same(one.get(name), other.get(name)))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)
