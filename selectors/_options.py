"""What criteria share about their options: checks, and the choice of a cell once there are scores. Not a criterion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dartboard.benchmark.errors import InputError, unknown
from dartboard.benchmark.space import NONE, Cell


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
    """The cell of the highest finite score on each edge.

    Args:
        scores: (E, O), larger = keep.
        exclude_none: whether `none` is out of the question.

    Raises:
        ValueError: when a score is NaN or infinite.
    """
    if not np.isfinite(scores).all():
        raise ValueError(f"the scores hold NaN or infinity, which rank nothing: {scores.tolist()}")
    allowed = scores.copy()
    if exclude_none:
        allowed[:, NONE] = -np.inf
    return Cell.from_scores(allowed)
