"""Searchers with one defect each: a check that lets the defect made for it pass checks nothing."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from dartboard.benchmark.contracts import Batch, StepResult
from dartboard.benchmark.space import SKIP, E, O
from dartboard.benchmark.supernet import MixedNetwork
from dartboard.harness import searcher_checks
from dartboard.harness.doubles import entry_of
from dartboard.harness.searcher_checks import SearcherCase
from dartboard.harness.verify import check_name, examine
from dartboard.searchers._training import PROTOCOLS, Half, Protocol, WeightTrainer
from dartboard.searchers.darts_v1 import Config, DartsV1


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
        half.loss.backward()
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


def test_every_check_is_run_and_has_a_defect_to_find() -> None:
    """No check of the module is missing from its list, and none is without a defective method that it must find."""
    written = {check_name(value) for name, value in vars(searcher_checks).items() if name.startswith("check_")}
    listed = {check_name(check) for check in searcher_checks.CHECKS}
    assert written == listed == {name for name, _, _ in SEARCHER_DEFECTS}


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
