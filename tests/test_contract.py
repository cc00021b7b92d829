from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from dartboard.benchmark.catalogue import Catalogue, Entry
from dartboard.benchmark.contracts import Batch, Selection, SelectionData, StepResult, TrainedSupernet
from dartboard.benchmark.ground_truth import GroundTruth, Metric
from dartboard.benchmark.space import CONV3X3, SKIP, Cell, E, O
from dartboard.benchmark.supernet import MixedNetwork
from dartboard.harness import searcher_checks, selector_checks
from dartboard.harness.cli import main
from dartboard.harness.searcher_checks import SearcherCase
from dartboard.harness.selector_checks import SelectorCase
from dartboard.harness.verify import check_name, examine
from dartboard.searchers._catalogue import SEARCHERS
from dartboard.searchers._training import PROTOCOLS, Half, Protocol, WeightTrainer
from dartboard.searchers.darts_v1 import Config, DartsV1
from dartboard.selectors._catalogue import SELECTORS
from dartboard.selectors._evaluation import score_mixtures, without_each

Check = Callable[[Any], None]

# Every check runs on the first entry of each class. Its further entries (other options), and searchers under the other
# protocol, run those whose outcome hangs on options.
OF_OPTIONS = (
    *("step-results", "same-seed-same-trajectory", "state-round-trip", "settled-edges"),
    *("answers-a-cell", "leaves-all-as-it-was", "same-generator-same-answer", "nan-raises", "images-counted"),
    *("permutes-with-the-operations", "chooses-from-the-table"),
)


def is_variant(entry: Entry, catalogue: Catalogue) -> bool:
    """Whether an earlier entry has the same class."""
    return next(e for e in catalogue if e.place == entry.place) is not entry


def searcher_runs() -> list[Any]:
    """Every searcher, with the options to run it under and the checks to run."""
    return [
        pytest.param(entry, options, check, id=f"{entry.name}-{protocol}{check_name(check)}")
        for entry in SEARCHERS
        if not entry.queries
        for protocol, options in (("", {}), ("autodl-", {"protocol": "autodl"}))
        for check in searcher_checks.CHECKS
        if not (options or is_variant(entry, SEARCHERS)) or check_name(check) in OF_OPTIONS
    ]


def selector_runs() -> list[Any]:
    """Every selector and yardstick, with the checks to run; what a class does not claim is not run."""
    return [
        pytest.param(entry, check, id=f"{entry.name}-{check_name(check)}")
        for entry in SELECTORS
        for check in (selector_checks.YARDSTICK_CHECKS if entry.control == "truth" else selector_checks.CHECKS)
        if not is_variant(entry, SELECTORS) or check_name(check) in OF_OPTIONS
        if check is not selector_checks.check_permutes_with_the_operations or hasattr(entry.load(), "equivariant")
    ]


def require_kept(check: Check, case: SearcherCase | SelectorCase) -> None:
    """Fail, skip or mark a test as the check's verdict says."""
    verdict = examine(check, case)
    if verdict.status == "skipped":
        pytest.skip(verdict.detail)
    if verdict.status == "exception":
        pytest.xfail(verdict.detail)
    assert verdict.status == "ok", verdict.detail


@pytest.mark.parametrize(("entry", "options", "check"), searcher_runs())
def test_every_searcher_keeps_the_contract(entry: Entry, options: dict[str, Any], check: Check) -> None:
    """Each check of the contract holds for each searcher of the catalogue."""
    require_kept(check, SearcherCase.of(entry, **options))


@pytest.mark.parametrize(("entry", "check"), selector_runs())
def test_every_selector_keeps_the_contract(entry: Entry, check: Check) -> None:
    """Each check of the contract holds for each selector of the catalogue, under the preset `smoke`."""
    require_kept(check, SelectorCase.of(entry))


# Methods with one defect each. A check that lets the defect made for it pass checks nothing.


class NoPaper(DartsV1):
    """Does not say whose it is."""

    paper: ClassVar[str] = ""


class LooseConfig(DartsV1):
    """Its configuration can change under a run."""

    @dataclass
    class config_class:  # noqa: N801  (the contract's name)
        """Not frozen."""

        protocol: Protocol = PROTOCOLS["ucla"]


class OffTheSimplex(DartsV1):
    """Its rows sum to 1.01."""

    def mixture(self) -> Tensor:  # noqa: D102
        return super().mixture() * 1.01


class Noisy(DartsV1):
    """Its mixture is another each time."""

    def mixture(self) -> Tensor:  # noqa: D102
        return (self.alpha + 1e-3 * torch.randn(E, O)).softmax(-1)


class Partial(DartsV1):
    """Begins with a liking for skips."""

    def __init__(self, supernet: MixedNetwork, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        with torch.no_grad():
            self.alpha[:, SKIP] += 0.1


class TrainsACopy(DartsV1):
    """Trains another supernet than the one it was given."""

    def __init__(self, supernet: MixedNetwork, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(copy.deepcopy(supernet), config, generator=generator)


class LeavesTheWeights(DartsV1):
    """Its weights' optimiser is a copy that owns nothing (the defect of a published notebook)."""

    def __init__(self, supernet: MixedNetwork, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        self.weights = WeightTrainer(copy.deepcopy(supernet), config.protocol)

    def weight_step(self, train: Batch) -> Half:  # noqa: D102
        from dartboard.searchers._training import evaluate

        return evaluate(lambda images: self.supernet(images, self.mixture().detach()), train)


class Miscounts(DartsV1):
    """Tells of fewer images than it pushes."""

    def weight_step(self, train: Batch) -> Half:  # noqa: D102
        return super().weight_step(train)._replace(images=0)


class KeepsGraphs(DartsV1):
    """Hands out losses with their graphs."""

    def step(self, train: Batch, valid: Batch) -> StepResult:  # noqa: D102
        import dataclasses

        result = super().step(train, valid)
        return dataclasses.replace(result, train_loss=result.train_loss + 0 * self.alpha.sum())


class DrawsGlobally(DartsV1):
    """Draws from the global random state."""

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:  # noqa: D102
        super().begin_epoch(epoch, generator)
        with torch.no_grad():
            self.alpha += 1e-3 * torch.randn(E, O)


class Forgetful(DartsV1):
    """Leaves Adam's moments out of its state."""

    def state_dict(self) -> dict[str, Any]:  # noqa: D102
        return {name: value for name, value in super().state_dict().items() if name != "adam"}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: D102
        super().load_state_dict({**state, "adam": self.adam.state_dict()})


class RestartForgotten(DartsV1):
    """Its state does not tell that the weights' optimiser was restarted."""

    def state_dict(self) -> dict[str, Any]:  # noqa: D102
        state = super().state_dict()
        return state | {"weights": state["weights"] | {"constant_rate": None}}


class SharedByCopies(DartsV1):
    """Its optimiser hides in a closure, which a deep copy shares with the original."""

    def __init__(self, supernet: MixedNetwork, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        sgd = self.weights.sgd
        self.advance = lambda: sgd.step()

    def weight_step(self, train: Batch) -> Half:  # noqa: D102
        from dartboard.searchers._training import evaluate

        half = evaluate(lambda images: self.supernet(images, self.mixture().detach()), train)
        half.loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no type
        self.advance()
        self.weights.sgd.zero_grad()
        return half


class NeverRestarts(DartsV1):
    """Goes on at its own rate."""

    def restart_weight_optimizer(self, learning_rate: float) -> None:  # noqa: D102
        pass


class EndForgotten(DartsV1):
    """Ends after its first epoch, and keeps that nowhere."""

    ended = False

    @property
    def finished(self) -> bool:  # noqa: D102
        return self.ended

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:  # noqa: D102
        super().begin_epoch(epoch, generator)
        self.ended = True


class EndTakenBack(DartsV1):
    """Has ended whenever the logits' optimiser has made two steps or fewer."""

    @property
    def finished(self) -> bool:  # noqa: D102
        return any(state["step"] <= 2 for state in self.adam.state.values())


class OutOfEpochs(DartsV1):
    """Has a schedule of exactly so many epochs."""

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:  # noqa: D102
        super().begin_epoch(list(range(self.config.protocol.epochs))[epoch], generator)


class Waits(DartsV1):
    """Reads a loss on the host in every step."""

    def weight_step(self, train: Batch) -> Half:  # noqa: D102
        half = super().weight_step(train)
        return half._replace(loss=half.loss.detach() + 0 * float(half.loss.detach()))


class SinglePrecision(DartsV1):
    """Computes its mixture in float32, whatever the supernet's dtype."""

    def mixture(self) -> Tensor:  # noqa: D102
        return super().mixture().float()


class Climbs(DartsV1):
    """Goes up the loss."""

    def weight_step(self, train: Batch) -> Half:  # noqa: D102
        from dartboard.searchers._training import evaluate

        half = evaluate(lambda images: self.supernet(images, self.mixture().detach()), train)
        self.weights.descend(-half.loss)
        return half


class Hoards(DartsV1):
    """Keeps every loss."""

    def __init__(self, supernet: MixedNetwork, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        self.losses: list[Tensor] = []

    def step(self, train: Batch, valid: Batch) -> StepResult:  # noqa: D102
        result = super().step(train, valid)
        self.losses.append(result.train_loss)
        return result


class AddsUp(DartsV1):
    """Adds the losses up with their graphs: one tensor, an ever longer graph."""

    def __init__(self, supernet: MixedNetwork, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        self.total = torch.zeros(())

    def weight_step(self, train: Batch) -> Half:  # noqa: D102
        half = super().weight_step(train)
        self.total = self.total + half.loss
        return half


class Bypasses(DartsV1):
    """Keeps a way to the network of its own, past what a selector puts in place of `searcher.supernet`."""

    def __init__(self, supernet: MixedNetwork, config: Config, *, generator: torch.Generator) -> None:
        super().__init__(supernet, config, generator=generator)
        self.network = supernet

    def step(self, train: Batch, valid: Batch) -> StepResult:  # noqa: D102
        outer, self.supernet = self.supernet, self.network
        result = super().step(train, valid)
        self.supernet = outer
        return result


SEARCHER_DEFECTS: list[tuple[str, type[DartsV1], str]] = [
    ("described", NoPaper, "paper is ''"),
    ("configuration-frozen", LooseConfig, "not a frozen"),
    ("mixture-on-simplex", OffTheSimplex, "sums to 1 only within 0.01"),
    ("mixture-on-simplex", Noisy, "another when asked for again"),
    ("no-preference-at-start", Partial, "starts 0.0"),
    ("trains-the-supernet-it-is-given", TrainsACopy, "another supernet"),
    ("trains-the-supernet-it-is-given", LeavesTheWeights, "did not move stem.weight"),
    ("step-results", Miscounts, "tell of 12 images and pushed 22"),
    ("step-results", KeepsGraphs, "not a detached"),
    ("same-seed-same-trajectory", DrawsGlobally, "torch's global random state"),
    ("state-round-trip", Forgetful, "differ in alpha"),
    ("state-round-trip", RestartForgotten, "after 1 epoch(s) and a restart"),
    ("deep-copy-independent", SharedByCopies, "does not move the copy's"),
    ("restart-of-the-weights-optimiser", NeverRestarts, "a weight moved by"),
    ("epochs-beyond-the-last", OutOfEpochs, "IndexError"),
    ("finished", EndForgotten, "of a restored copy, is [True, True, False]"),
    ("finished", EndTakenBack, "and is not any more"),
    ("meta-device", Waits, "meta tensors"),
    ("float32-and-float64", SinglePrecision, "dtype"),
    ("loss-goes-down", Climbs, "the loss was"),
    ("memory-does-not-grow", Hoards, "live tensors"),
    ("memory-does-not-grow", AddsUp, "graphs of live tensors"),
    ("settled-edges", Bypasses, "does not go through"),
]


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


def entry_of(factory: type[Any], **fields: Any) -> Entry:
    """A catalogue line for a class of this file."""
    return Entry(name=factory.name, place=f"{__name__}:{factory.__name__}", summary="with a defect", **fields)


@pytest.mark.parametrize(
    ("name", "factory", "why"),
    SEARCHER_DEFECTS,
    ids=[f"{name}-{factory.__name__}" for name, factory, _ in SEARCHER_DEFECTS],
)
def test_a_searcher_with_a_defect_fails_the_check_for_it(name: str, factory: type[DartsV1], why: str) -> None:
    """A searcher made with one defect fails the check that is there to find it."""
    (check,) = (check for check in searcher_checks.CHECKS if check_name(check) == name)
    verdict = examine(check, SearcherCase.of(entry_of(factory)))
    assert verdict.status == "failed"
    assert why in verdict.detail


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
    """No check of either module is missing from its list, and none is without a defective method that it must find."""
    for module, lists, defects in (
        (searcher_checks, searcher_checks.CHECKS, SEARCHER_DEFECTS),
        (selector_checks, selector_checks.CHECKS + selector_checks.YARDSTICK_CHECKS, SELECTOR_DEFECTS),
    ):
        written = {check_name(value) for name, value in vars(module).items() if name.startswith("check_")}
        assert written == {check_name(check) for check in lists} == {name for name, _, _ in defects}


def test_a_sound_selector_keeps_the_contract() -> None:
    """The selector that the defects are made from has none itself."""
    case = SelectorCase.of(entry_of(Sound))
    assert {examine(check, case).status for check in selector_checks.CHECKS} == {"ok", "skipped"}


class Excused(OffTheSimplex):
    """Says that it leaves the simplex, and that it prefers an operation, which it does not."""

    exceptions: ClassVar[Mapping[str, str]] = {
        "mixture-on-simplex": "its rows sum to 1.01 by design",
        "no-preference-at-start": "an excuse without need",
    }


def test_a_declared_exception_is_told_and_an_idle_one_is_a_failure() -> None:
    """What a class declares it cannot keep is no failure, but a declaration that is not needed is one."""
    case = SearcherCase.of(entry_of(Excused))
    verdict = examine(searcher_checks.check_mixture_on_simplex, case)
    assert (verdict.status, verdict.detail) == ("exception", "its rows sum to 1.01 by design")
    verdict = examine(searcher_checks.check_no_preference_at_start, case)
    assert verdict.status == "failed"
    assert "but it holds" in verdict.detail


def test_verify_tells_one_line_a_check(capsys: pytest.CaptureFixture[str]) -> None:
    """`dartboard verify selector prior` prints a line for each check and ends well."""
    with pytest.raises(SystemExit) as ended:
        main(["verify", "selector", "prior"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1].rstrip(":") for line in lines] == [check_name(check) for check in selector_checks.CHECKS]
    assert {line.split()[0] for line in lines} == {"ok", "skipped"}


def test_verify_tells_yardsticks_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    """`dartboard verify selector oracle --json` is one object with a verdict for each check of yardsticks."""
    with pytest.raises(SystemExit) as ended:
        main(["verify", "selector", "oracle", "--json"])
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["name"], told["ok"]) == ("selector", "oracle", True)
    assert [check["check"] for check in told["checks"]] == [check_name(c) for c in selector_checks.YARDSTICK_CHECKS]
    assert all(check == {**check, "status": "ok", "detail": ""} for check in told["checks"])


def test_verify_refuses_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown method ends in one line with the nearest name and exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main(["verify", "searcher", "darts-v3"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("Error: unknown searcher 'darts-v3'; did you mean 'darts-v")
