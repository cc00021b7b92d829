"""Selectors with one defect each: a check that lets the defect made for it pass checks nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from dartboard.benchmark.contracts import Selection, SelectionData, TrainedSupernet
from dartboard.benchmark.ground_truth import GroundTruth, Metric
from dartboard.benchmark.space import CONV3X3, Cell, E, O
from dartboard.harness import selector_checks
from dartboard.harness.doubles import entry_of
from dartboard.harness.selector_checks import SelectorCase
from dartboard.harness.verify import check_name, examine
from dartboard.selectors._evaluation import score_mixtures, without_each


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """Nothing to set."""


class Sound:
    """Leave-one-out by validation loss, without a defect."""

    name: ClassVar[str] = "sound"
    paper: ClassVar[str] = "none"
    control: ClassVar[str | None] = None
    config_class: ClassVar[Any] = Nothing

    def __init__(self, config: Any) -> None:
        self.config = config

    def scores(self, trained: TrainedSupernet, data: SelectionData) -> tuple[Any, int]:
        """(E, O) losses, and the images pushed."""
        mixture = trained.searcher.mixture().detach()
        masks = torch.cat([without_each(mixture, edge, renormalise=False) for edge in range(E)])
        result = score_mixtures(trained.supernet, masks, data.valid.in_order(data.batch_size), "batch")
        return result.loss.reshape(E, O), result.images

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:
        """The operation whose removal costs most."""
        scores, images = self.scores(trained, data)
        return Selection(cell=Cell.from_scores(scores), scores=scores, images=images)


class UndescribedSelector(Sound):
    """Its class and its entry disagree on what it is."""

    control: ClassVar[str | None] = "blind"


class LooseSelector(Sound):
    """Its configuration can change under a run."""

    @dataclass
    class config_class:  # noqa: N801  (the contract's name)
        """Not frozen."""


class SingleScores(Sound):
    """Its scores are float32."""

    def scores(self, trained: TrainedSupernet, data: SelectionData) -> tuple[Any, int]:  # noqa: D102
        scores, images = super().scores(trained, data)
        return scores.astype(np.float32), images


class UnwrittenNotes(Sound):
    """Its notes are no JSON."""

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:  # noqa: D102
        return Selection(cell=Cell((0,) * E), notes={"loss": float("nan")})


class Evaluates(Sound):
    """Puts the supernet into eval mode and leaves it there."""

    def scores(self, trained: TrainedSupernet, data: SelectionData) -> tuple[Any, int]:  # noqa: D102
        trained.supernet.eval()
        return super().scores(trained, data)


class Clears(Sound):
    """Clears the supernet's gradients."""

    def scores(self, trained: TrainedSupernet, data: SelectionData) -> tuple[Any, int]:  # noqa: D102
        trained.supernet.zero_grad()
        return super().scores(trained, data)


class Freezes(Sound):
    """Freezes one parameter."""

    def scores(self, trained: TrainedSupernet, data: SelectionData) -> tuple[Any, int]:  # noqa: D102
        trained.supernet.stem.weight.requires_grad_(False)
        return super().scores(trained, data)


class Learns(Sound):
    """Lets the running statistics learn."""

    def scores(self, trained: TrainedSupernet, data: SelectionData) -> tuple[Any, int]:  # noqa: D102
        for images, _ in data.valid.in_order(data.batch_size):
            trained.supernet(images, trained.searcher.mixture())
        return super().scores(trained, data)


class Careless(Sound):
    """Changes a weight and puts it back, but not when something fails in between."""

    def scores(self, trained: TrainedSupernet, data: SelectionData) -> tuple[Any, int]:  # noqa: D102
        weight = trained.supernet.stem.weight
        kept = weight.detach().clone()
        with torch.no_grad():
            weight.mul_(2)
        result = super().scores(trained, data)
        with torch.no_grad():
            weight.copy_(kept)
        return result


class Dice(Sound):
    """Draws from the global random state."""

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:  # noqa: D102
        return Selection(cell=Cell(tuple(torch.randint(O, (E,)).tolist())))


class DeafToNaN(Sound):
    """Takes NaN for the lowest score."""

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:  # noqa: D102
        scores = np.nan_to_num(trained.mixture, nan=-1.0)
        return Selection(cell=Cell.from_scores(scores), scores=scores)


class Prefers(Sound):
    """Claims that names do not matter, and likes what is called 3x3."""

    equivariant: ClassVar[bool] = True

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:  # noqa: D102
        return Selection(cell=Cell((CONV3X3,) * E))


class SingleOnly(Sound):
    """Looks at images in float32, whatever the supernet's dtype."""

    def scores(self, trained: TrainedSupernet, data: SelectionData) -> tuple[Any, int]:  # noqa: D102
        images, _ = next(data.valid.in_order(data.batch_size))
        trained.supernet(images.float(), trained.searcher.mixture().detach(), "batch")
        return np.zeros((E, O)), len(images)


class CheaperThanItIs(Sound):
    """Tells of half the images."""

    def scores(self, trained: TrainedSupernet, data: SelectionData) -> tuple[Any, int]:  # noqa: D102
        scores, images = super().scores(trained, data)
        return scores, images // 2


class SaysTooLittle(Sound):
    """Promises half the images that it pushes."""

    def cost(self, data: SelectionData) -> int:
        """The most images that a selection pushes, it says."""
        return E * O * len(data.valid) // 2


class ForgetsTheSeed(Sound):
    """Keeps losses under a key that everybody's losses would have, and writes to what is kept."""

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:  # noqa: D102
        scores, images = self.scores(trained, data)
        if data.cache is not None:
            scores = data.cache.kept("losses", lambda: scores)
            scores += 1
        return Selection(cell=Cell.from_scores(scores), scores=scores, images=images)


class HidesGradients(Sound):
    """Takes a gradient and does not tell."""

    def scores(self, trained: TrainedSupernet, data: SelectionData) -> tuple[Any, int]:  # noqa: D102
        images, _ = next(data.valid.in_order(data.batch_size))
        mixture = trained.searcher.mixture().detach().requires_grad_()
        torch.autograd.grad(trained.supernet(images, mixture, "batch").sum(), mixture)
        scores, pushed = super().scores(trained, data)
        return scores, pushed + len(images)


class LosesItsPlace(Sound):
    """Keeps which edge is next, and not what it found on those before."""

    def select(self, trained: TrainedSupernet, data: SelectionData, generator: torch.Generator) -> Selection:  # noqa: D102
        assert data.journal is not None or data.progress is None
        found, images = self.scores(trained, data)
        kept = data.journal.load() if data.journal else None
        scores = np.zeros((E, O))
        for edge in range(0 if kept is None else kept["edge"], E):
            scores[edge] = found[edge]
            if data.journal:
                data.journal.save({"edge": edge + 1})
        return Selection(cell=Cell.from_scores(scores), scores=scores, images=images)


class WanderingYardstick(Sound):
    """Reads the table by chance."""

    control: ClassVar[str | None] = "truth"

    def choose(self, truth: GroundTruth, metric: Metric) -> Selection:
        """Some cell."""
        return Selection(cell=Cell.from_number(int(torch.randint(15625, ()))))


SELECTOR_DEFECTS: list[tuple[str, type[Sound], str]] = [
    ("described", UndescribedSelector, "control is 'blind'"),
    ("configuration-frozen", LooseSelector, "not a frozen"),
    ("answers-a-cell", SingleScores, "scores are float32"),
    ("answers-a-cell", UnwrittenNotes, "the notes"),
    ("leaves-all-as-it-was", Evaluates, "training mode"),
    ("leaves-all-as-it-was", Clears, ".grad"),
    ("leaves-all-as-it-was", Freezes, "requires_grad"),
    ("leaves-all-as-it-was", Learns, "running_mean"),
    ("leaves-all-as-it-was-when-it-fails", Careless, "failed in its forward pass 2"),
    ("same-generator-same-answer", Dice, "differ in cell"),
    ("nan-raises", DeafToNaN, "NaN in the mixture"),
    ("permutes-with-the-operations", Prefers, "by the new names"),
    ("float32-and-float64", SingleOnly, "should be the same"),
    ("images-counted", CheaperThanItIs, "150 images, and there were 300"),
    ("images-counted", HidesGradients, "there were 6"),
    ("pushes-no-more-than-it-says", SaysTooLittle, "it says 150 images, and pushed 300"),
    ("shares-without-effect", ForgetsTheSeed, "one with kept evaluations differ in scores"),
    ("journal-resumes", LosesItsPlace, "resumed after 1"),
    ("chooses-from-the-table", WanderingYardstick, "global random state"),
]


@pytest.mark.parametrize(
    ("name", "factory", "why"),
    SELECTOR_DEFECTS,
    ids=[f"{name}-{factory.__name__}" for name, factory, _ in SELECTOR_DEFECTS],
)
def test_a_selector_with_a_defect_fails_the_check_for_it(name: str, factory: type[Sound], why: str) -> None:
    """A selector made with one defect fails the check that is there to find it."""
    checks = (*selector_checks.CHECKS, selector_checks.check_chooses_from_the_table)
    (check,) = (check for check in checks if check_name(check) == name)
    control = "truth" if factory is WanderingYardstick else None
    verdict = examine(check, SelectorCase.of(entry_of(factory, control=control)))
    assert verdict.status == "failed"
    assert why in verdict.detail


def test_every_check_is_run_and_has_a_defect_to_find() -> None:
    """No check of the module is missing from its lists, and none is without a defective method that it must find."""
    written = {check_name(value) for name, value in vars(selector_checks).items() if name.startswith("check_")}
    listed = {check_name(check) for check in (*selector_checks.CHECKS, *selector_checks.YARDSTICK_CHECKS)}
    assert written == listed == {name for name, _, _ in SELECTOR_DEFECTS}


def test_a_sound_selector_keeps_the_contract() -> None:
    """The selector that the defects are made from has none itself."""
    case = SelectorCase.of(entry_of(Sound))
    assert {examine(check, case).status for check in selector_checks.CHECKS} == {"ok", "skipped"}
