"""What criteria share about their options: checks, and the choice of a cell once there are scores. Not a criterion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from dartboard.benchmark.errors import InputError, unknown
from dartboard.benchmark.layers import Norm
from dartboard.benchmark.space import NONE, Cell

ConfigT = TypeVar("ConfigT")

Criterion = Literal["accuracy", "loss"]


class Configured(Generic[ConfigT]):
    """What a criterion begins as: a configuration, and no control."""

    control: ClassVar[str | None] = None
    scored: ClassVar[bool] = True  # whether its answers have scores

    def __init__(self, config: ConfigT) -> None:
        self.config = config


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """What criteria have in common that look at images of the validation half without training on them.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    norm: Norm = "batch"  # how batch norm normalises
    exclude_none: bool = False  # whether `none` is out of the question
    batches: int | None = None  # of the validation half; None: all

    def __post_init__(self) -> None:
        require_at_least(self, 1, "batches")
        require_one_of(self, norm=("batch", "running"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judges(Looks):
    """What criteria have in common that judge by the supernet's accuracy, or by its loss.

    Raises:
        InputError: when a number is out of range or a word is not one of its choices.
    """

    criterion: Criterion = "accuracy"

    def __post_init__(self) -> None:
        Looks.__post_init__(self)
        require_one_of(self, criterion=get_args(Criterion))


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """Nothing to set."""


def require_at_least(config: Any, least: float, *names: str) -> None:
    """Refuse a field below `least`; one that is None is not set.

    Raises:
        InputError: quoting it.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and not value >= least:
            raise InputError(f"{name} is at least {least}; got {value}")


def require_positive(config: Any, *names: str) -> None:
    """Refuse a field that is not greater than 0.

    Raises:
        InputError: quoting it.
    """
    for name in names:
        if not getattr(config, name) > 0:
            raise InputError(f"{name} is greater than 0; got {getattr(config, name)}")


def require_one_of(config: Any, **choices: Sequence[str]) -> None:
    """Refuse a field whose value is not one of its choices.

    Raises:
        InputError: with the nearest choice.
    """
    for name, known in choices.items():
        if getattr(config, name) not in known:
            raise unknown(name, str(getattr(config, name)), known)


def choose(scores: NDArray[np.float64], *, exclude_none: bool) -> Cell:
    """The cell of the strongest operation on each edge; see `strongest`, scores being (E, O)."""
    return Cell(tuple(strongest(row, exclude_none=exclude_none) for row in scores))


def strongest(scores: NDArray[np.float64], *, exclude_none: bool) -> int:
    """The operation of the highest finite score on an edge; the first one wins a tie.

    Args:
        scores: (O,), larger = keep.
        exclude_none: whether `none` is out of the question.

    Raises:
        ValueError: when a score is NaN or infinite.
    """
    if not np.isfinite(scores).all():
        raise ValueError(f"an edge's scores hold NaN or infinity, which rank nothing: {scores.tolist()}")
    allowed = scores.copy()
    if exclude_none:
        allowed[NONE] = -np.inf
    return int(allowed.argmax())
