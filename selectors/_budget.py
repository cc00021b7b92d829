"""What a criterion costs, and how it is held to a budget of images. Not a criterion itself.

A class tells the most images that a selection pushes forward, `cost(data)`, and which fields of its configuration make
it more or less, `knobs`, the most precious first. Under a budget each knob in turn is set as high as fits while those
after it are at their least: DARTS-PT gives up batches before it gives up training between projections.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from typing import Any, NamedTuple

from dartboard.benchmark.contracts import SelectionData
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.images import ImageSplit


class OverBudget(InputError):  # noqa: N818  (it reads as what it is, in a record)
    """A criterion cannot keep to the budget."""


class Knob(NamedTuple):
    """A whole number of a configuration that sets what a selection costs."""

    field: str
    least: int = 1
    grows: bool = True  # whether a large budget sets it above what the configuration asks for


class Fitted(NamedTuple):
    """A selector within a budget."""

    selector: Any
    values: Mapping[str, int | None]  # of its knobs


def images_in(split: ImageSplit, batch_size: int, steps: int | None) -> int:
    """The images in the first `steps` batches of a split, pass after pass; None: in one pass."""
    if steps is None:
        return len(split)
    passes, rest = divmod(steps, split.steps(batch_size))
    return passes * len(split) + min(rest * batch_size, len(split))


def valid_images(data: SelectionData, steps: int | None) -> int:
    """The same of the validation half."""
    return images_in(data.valid, data.batch_size, steps)


def passes(times: int) -> Callable[[Any, SelectionData], int]:
    """The `cost` of a criterion that pushes its `batches` of the validation half so many times."""

    def cost(selector: Any, data: SelectionData) -> int:
        """The most images that a selection pushes."""
        return times * valid_images(data, selector.config.batches)

    return cost


def epoch_images(data: SelectionData) -> int:
    """The images that an epoch of the search's own training pushes; where nobody says, full batches of both halves."""
    if data.epoch_images is not None:
        return data.epoch_images
    return 2 * data.batch_size * data.train.steps(data.batch_size)


def knobs_of(selector: Any) -> tuple[Knob, ...]:
    """The knobs of a selector, or of the criterion inside a control; () where it has none."""
    knobs: tuple[Knob, ...] = getattr(getattr(selector, "criterion", selector), "knobs", ())
    return knobs


def setting(selector: Any, field: str) -> Any:
    """What a selector's configuration, or that of the criterion inside a control, says."""
    return getattr(getattr(selector, "criterion", selector).config, field)


def cost_of(selector: Any, data: SelectionData) -> int | None:
    """The most images that a selection pushes; None where the class, or that inside a control, does not tell."""
    inner = getattr(selector, "criterion", selector)
    if not hasattr(inner, "cost"):
        return None
    images: int = inner.cost(data)
    return images


def whole_of(selector: Any, knob: Knob, data: SelectionData) -> int:
    """How many units a knob is set to; where it is None, the fewest that cost as much."""
    value: int | None = setting(selector, knob.field)
    if value is not None:
        return value
    most = cost_of(selector, data)
    if most is None:
        return data.valid.steps(data.batch_size)
    return next(n for n in count(knob.least) if (cost_of(turned(selector, {knob.field: n}), data) or 0) >= most)


def turned(selector: Any, values: Mapping[str, int | None]) -> Any:
    """The selector with its knobs set to `values`.

    Raises:
        InputError: when the configuration does not allow one of them.
    """
    if hasattr(selector, "criterion"):
        outer = copy.copy(selector)
        outer.criterion = turned(selector.criterion, values)
        return outer
    return type(selector)(replace(selector.config, **values))


def fitted(selector: Any, data: SelectionData, budget: int) -> Fitted:
    """The selector with its knobs set as high as the budget lets them.

    One that does not tell its cost is left as it is; what it has pushed is known only afterwards (`check_spent`).

    Raises:
        OverBudget: when even the cheapest form pushes more than `budget` images.
    """
    if cost_of(selector, data) is None:
        return Fitted(selector, {})
    knobs = knobs_of(selector)

    def cost(values: Mapping[str, int | None]) -> int:
        return cost_of(turned(selector, values), data) or 0

    def fits(values: Mapping[str, int | None]) -> bool:
        try:
            return cost(values) <= budget
        except InputError:  # more than the configuration allows
            return False

    values: dict[str, int | None] = {knob.field: knob.least for knob in knobs}
    if cost(values) > budget:
        raise OverBudget(
            f"{selector.name} needs at least {cost(values):,} images, and the budget is {budget:,}: raise --budget"
        )
    for knob in knobs:
        wanted = setting(selector, knob.field)
        if fits(values | {knob.field: wanted}) and (
            not knob.grows or cost(values | {knob.field: knob.least + 1}) == cost(values)
        ):
            values[knob.field] = wanted
            continue
        low = knob.least  # fits
        high = max(budget if knob.grows or wanted is None else wanted, low) + 1  # does not: a unit is an image or more
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(values | {knob.field: middle}) else (low, middle)
        values[knob.field] = low
    return Fitted(turned(selector, values), values)


def check_spent(name: str, images: int, budget: int) -> None:
    """Refuse a selection that was dearer than the budget.

    Raises:
        OverBudget: telling what it pushed.
    """
    if images > budget:
        raise OverBudget(
            f"{name} pushed {images:,} images, and the budget is {budget:,}: it has no knob that makes it cheaper"
        )
