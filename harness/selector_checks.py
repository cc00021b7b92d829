"""What holds for every selector, and for every yardstick: small named checks on a supernet trained in seconds."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from dartboard.benchmark.catalogue import Entry
from dartboard.benchmark.contracts import Cache, Journal, Selection, SelectionData, Selector, TrainedSupernet, Yardstick
from dartboard.benchmark.ground_truth import GroundTruth, Metric, Provenance
from dartboard.benchmark.space import SPACE_SIZE, Cell, E, O
from dartboard.benchmark.streams import stream
from dartboard.harness.doubles import Interrupted, MemoryJournal
from dartboard.harness.grid import Method
from dartboard.harness.guard import differences, fingerprint, global_random_state
from dartboard.harness.prepare import prepare_selector
from dartboard.harness.presets import PRESETS
from dartboard.harness.shared import SharedEvaluations
from dartboard.harness.toys import BATCH, TORCH_DTYPES, toy_images, toy_trained
from dartboard.harness.verify import NotClaimed, check_configuration_frozen, check_described, require
from dartboard.searchers.darts_v1 import DartsV1
from dartboard.selectors._budget import knobs_of, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectorCase:
    """A selector or yardstick on the toy problem, under the options of the preset `smoke`."""

    entry: Entry
    factory: Any
    options: Mapping[str, Any]

    @classmethod
    def of(cls, entry: Entry, **options: Any) -> SelectorCase:
        """The case of a catalogue's entry, with options over the preset's and the entry's.

        Raises:
            InputError: when it cannot be loaded or configured.
        """
        merged = {**PRESETS["smoke"].selectors.get((entry.of or entry).name, {}), **entry.options, **options}
        prepare_selector(Method(label=entry.name, entry=entry, options=merged))
        return cls(entry=entry, factory=entry.load(), options=merged)

    def build(self) -> Any:
        """A fresh selector, or yardstick."""
        return prepare_selector(Method(label=self.entry.name, entry=self.entry, options=self.options))

    def select(
        self,
        trained: TrainedSupernet,
        *,
        seed: int = 0,
        journal: Journal | None = None,
        progress: Callable[[int, int], None] | None = None,
        common: int | None = None,
        cache: Cache | None = None,
    ) -> Selection:
        """What it chooses from `trained` on the toy images; `common` seeds the batches that all criteria see."""
        data = replace(toy_data(trained), journal=journal, progress=progress, seed=common, cache=cache)
        selector: Selector = self.build()
        return selector.select(trained, data, stream(seed, "select"))


def toy_data(trained: TrainedSupernet) -> SelectionData:
    """The toy images in the dtype of the supernet, two batches of each half."""
    dtype = next(trained.supernet.parameters()).dtype
    train, valid = (toy_images(half, dtype=dtype) for half in ("train", "valid"))
    return SelectionData(train=train, valid=valid, batch_size=BATCH)


def check_answers_a_cell(case: SelectorCase) -> None:
    """The answer is a cell of the space, with well-formed scores, trace, notes and progress."""
    told: list[tuple[int, int]] = []
    answer = case.select(toy_trained(), progress=lambda done, total: told.append((done, total)))
    _require_well_formed(answer)
    require(all(0 <= done <= total for done, total in told), f"progress went {told}")
    require(told == sorted(told), f"progress went back: {told}")


def check_leaves_all_as_it_was(case: SelectorCase) -> None:
    """Weights, buffers, optimisers, `requires_grad`, `.grad`, mode and global random state stay, bit for bit."""
    trained = toy_trained()
    for parameter in trained.supernet.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)  # so that one who clears gradients is seen
    before = fingerprint(trained)
    case.select(trained)
    _require_untouched(before, trained, "the selection")


def check_leaves_all_as_it_was_when_it_fails(case: SelectorCase) -> None:
    """The same when the 2nd, 8th or 35th forward pass ends in an error."""
    for passes in (2, 8, 35):
        trained = toy_trained(watched=True)
        left = iter(range(passes - 1, -1, -1))

        def fail(_: nn.Module, __: Any, left: Iterator[int] = left) -> None:
            if next(left, None) == 0:
                raise _Planted

        trained.supernet.register_forward_pre_hook(fail)
        before = fingerprint(trained)
        with contextlib.suppress(_Planted):
            case.select(trained)
        _require_untouched(before, trained, f"a selection that failed in its forward pass {passes}")


def check_same_generator_same_answer(case: SelectorCase) -> None:
    """Equal generators give equal answers bit for bit, whatever the global random state."""
    state = torch.random.get_rng_state()
    try:
        answers = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            answers.append(case.select(toy_trained()))
    finally:
        torch.random.set_rng_state(state)
    _require_equal(answers[0], answers[1], "two selections with equal generators")


def check_nan_raises(case: SelectorCase) -> None:
    """Where a NaN in the weights or in the mixture touches the scores, `ValueError` is raised, never a cell chosen."""
    clean = case.select(toy_trained())
    for part in ("weights", "mixture"):
        trained = toy_trained()
        searcher = trained.searcher
        assert isinstance(searcher, DartsV1)
        with torch.no_grad():
            for parameter in trained.supernet.parameters() if part == "weights" else [searcher.alpha]:
                parameter.fill_(np.nan)
        if part == "mixture":
            trained = replace(trained, mixture=trained.mixture * np.nan, trajectory=trained.trajectory * np.nan)
        try:
            answer = case.select(trained)
        except ValueError:
            continue
        same = answer.cell == clean.cell and _equal(answer.scores, clean.scores)
        require(same, f"with NaN in the {part} it chose {answer.cell} and said nothing")


def check_permutes_with_the_operations(case: SelectorCase) -> None:
    """With the operations but `none` renamed, the same answer by the new names: a class claims `equivariant = True`."""
    if not getattr(case.factory, "equivariant", False):
        raise NotClaimed("the class does not claim equivariant = True")
    plain = toy_trained(torch.float64, watched=True)
    answer = case.select(plain)
    if answer.scores is not None:
        best = answer.scores.max(axis=1, keepdims=True)
        ties = np.flatnonzero((answer.scores == best).sum(axis=1) > 1)
        if ties.size:
            raise NotClaimed(f"scores tie on edge {ties[0]}, where the first operation wins whatever its name")
    order = [0, 3, 4, 2, 1]  # column o of the renamed mixture is column order[o] of the plain one
    renamed = case.select(_renamed(plain, order))
    expected = Cell(tuple(order.index(o) for o in answer.cell.operations))
    require(renamed.cell == expected, f"it chose {renamed.cell}, by the new names it should be {expected}")
    if answer.scores is not None and renamed.scores is not None:
        # Softmax and the sum over operations round in another order: 1e-15 a step, magnified by training.
        close = np.allclose(renamed.scores, answer.scores[:, order], rtol=1e-6, atol=1e-9)
        require(close, "the scores are others under other names")


def check_float32_and_float64(case: SelectorCase) -> None:
    """It answers from supernets of both dtypes."""
    for dtype in TORCH_DTYPES:
        _require_well_formed(case.select(toy_trained(dtype)))


def check_images_counted(case: SelectorCase) -> None:
    """The images told are those pushed through the supernet, and through its gradient."""
    trained = toy_trained(watched=True)
    pushed = {"images": 0, "gradient_images": 0}

    def count(_: nn.Module, arguments: tuple[Any, ...], logits: Tensor) -> None:
        pushed["images"] += len(arguments[0])
        uncounted = [len(arguments[0])]

        def count_gradient(_: Tensor) -> None:
            if uncounted:  # once for a forward pass
                pushed["gradient_images"] += uncounted.pop()

        if logits.requires_grad:
            logits.register_hook(count_gradient)

    trained.supernet.register_forward_hook(count)
    answer = case.select(trained)
    for name, true in pushed.items():
        told = getattr(answer, name)
        require(told == true, f"it tells of {told} {name.replace('_', ' ')}, and there were {true}")


def check_pushes_no_more_than_it_says(case: SelectorCase) -> None:
    """Where a class tells what a selection costs, it pushes no more images; its knobs are of its configuration."""
    selector, trained = case.build(), toy_trained()
    if not hasattr(selector, "cost") and not hasattr(getattr(selector, "criterion", None), "cost"):
        raise NotClaimed("the class does not tell its cost: a budget is checked afterwards only")
    for knob in knobs_of(selector):
        value = setting(selector, knob.field)
        require(value is None or type(value) is int, f"its knob {knob.field!r} is {value!r}, no whole number")
    said: int = getattr(selector, "criterion", selector).cost(toy_data(trained))
    images = case.select(trained).images
    require(images <= said, f"it says {said} images, and pushed {images}")


def check_shares_without_effect(case: SelectorCase) -> None:
    """With evaluations kept for other criteria, or by itself before, it answers and costs the same, bit for bit."""
    trained = toy_trained()
    alone = case.select(trained, common=1)
    cache = SharedEvaluations(trained.supernet, torch.device("cpu"))
    for _ in range(2):
        shared = case.select(trained, common=1, cache=cache)
        _require_equal(alone, shared, "a selection alone and one with kept evaluations")
        if not cache.entries:  # it keeps none and will find none
            break


def check_journal_resumes(case: SelectorCase) -> None:
    """Interrupted after the first or the last entry of its journal, it ends in the same answer bit for bit."""
    whole = MemoryJournal()
    expected = case.select(toy_trained(), journal=whole)
    for saves in {1, whole.saves} if whole.saves else ():
        journal = MemoryJournal(interrupt_after=saves)
        with contextlib.suppress(Interrupted):
            case.select(toy_trained(), journal=journal)
        journal.interrupt_after = None
        resumed = case.select(toy_trained(), journal=journal)
        _require_equal(expected, resumed, f"a whole selection and one resumed after {saves} entries")


CHECKS: Final = (
    check_described,
    check_configuration_frozen,
    check_answers_a_cell,
    check_leaves_all_as_it_was,
    check_leaves_all_as_it_was_when_it_fails,
    check_same_generator_same_answer,
    check_nan_raises,
    check_permutes_with_the_operations,
    check_float32_and_float64,
    check_images_counted,
    check_pushes_no_more_than_it_says,
    check_shares_without_effect,
    check_journal_resumes,
)
"""For selectors, in the order in which they are run."""


def check_chooses_from_the_table(case: SelectorCase) -> None:
    """A yardstick answers a cell from the table alone, the same each time, and leaves the global random state alone."""
    metric = Metric("cifar10", "test", 200)
    accuracy = torch.rand(SPACE_SIZE, generator=stream(0, "table"), dtype=torch.float64).numpy() * 100
    provenance = Provenance(
        name="toy", title="toy", source="toy", version="0", licence="", sha256="", aggregation="", official=False
    )
    truth = GroundTruth(provenance=provenance, accuracy={metric: accuracy})
    before = global_random_state()
    yardsticks: list[Yardstick] = [case.build() for _ in range(2)]
    answers = [yardstick.choose(truth, metric) for yardstick in yardsticks]
    changed = differences(before, global_random_state())
    require(not changed, f"it changed {', '.join(changed)}")
    _require_well_formed(answers[0])
    _require_equal(answers[0], answers[1], "two answers from the same table")


YARDSTICK_CHECKS: Final = (check_described, check_configuration_frozen, check_chooses_from_the_table)
"""For yardsticks, in the order in which they are run."""


class _Planted(Exception):  # noqa: N818  (an error of our making)
    """What fails a forward pass."""


def _renamed(trained: TrainedSupernet, order: list[int]) -> TrainedSupernet:
    """`trained` with its operations renamed: column o of every mixture is what column order[o] was."""
    inverse = [order.index(o) for o in range(O)]

    def translate(_: nn.Module, arguments: tuple[Any, ...], named: Any) -> tuple[tuple[Any, ...], Any]:
        images, mixture, *rest = arguments
        return (images, mixture[..., inverse], *rest), named

    trained.supernet.register_forward_pre_hook(translate, with_kwargs=True)
    searcher = trained.searcher
    assert isinstance(searcher, DartsV1)
    with torch.no_grad():
        searcher.alpha.copy_(searcher.alpha[:, order].clone())
        for moment in ("exp_avg", "exp_avg_sq"):
            value = searcher.adam.state[searcher.alpha][moment]
            value.copy_(value[:, order].clone())
    return replace(trained, mixture=trained.mixture[:, order], trajectory=trained.trajectory[:, :, order])


def _require_untouched(before: dict[str, Any], trained: TrainedSupernet, what: str) -> None:
    changed = differences(before, fingerprint(trained))
    require(not changed, f"{what} changed {', '.join(changed[:3])}")


def _require_well_formed(answer: Selection) -> None:
    require(isinstance(answer.cell, Cell), f"the answer is no cell: {answer.cell!r}")
    if answer.scores is not None:
        require(answer.scores.shape == (E, O), f"the scores have shape {answer.scores.shape}")
        require(answer.scores.dtype == np.float64, f"the scores are {answer.scores.dtype}")
        require(not np.isnan(answer.scores).any(), "the scores hold NaN")
    for name in ("images", "gradient_images"):
        value = getattr(answer, name)
        require(type(value) is int and value >= 0, f"{name} is {value!r}")
    for name in ("trace", "notes"):
        try:
            json.dumps(getattr(answer, name), allow_nan=False)
        except (TypeError, ValueError) as error:
            require(False, f"the {name} has other values than JSON's: {error}")


def _require_equal(one: Selection, other: Selection, what: str) -> None:
    for name in ("cell", "trace", "images", "gradient_images", "notes"):
        require(getattr(one, name) == getattr(other, name), f"{what} differ in {name}")
    require(_equal(one.scores, other.scores), f"{what} differ in scores")


def _equal(one: Any, other: Any) -> bool:
    return other is None if one is None else other is not None and np.array_equal(one, other)
