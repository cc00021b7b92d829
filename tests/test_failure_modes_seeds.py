"""Failure modes of all seeds of a criterion. Truth: cases small enough to be judged by hand."""

from __future__ import annotations

import pytest

from dartboard.benchmark.space import Cell
from dartboard.results.failure_modes.case import Case
from dartboard.results.failure_modes.catalogue import MODES
from dartboard.results.failure_modes.chance import no_better_than_prior
from dartboard.results.failure_modes.instability import seed_instability
from dartboard.results.failure_modes.samples import answered, case, choice
from dartboard.results.failure_modes.thresholds import Thresholds

LIMITS = Thresholds()


def over_seeds(accuracies: list[float], prior: float | None = None) -> Case:
    """A criterion over seeds, and the prior on the same supernets."""
    mine = [choice(Cell((3,) * 6), accuracy=a, seed=seed, selector="a") for seed, a in enumerate(accuracies)]
    control = {"selector": "prior", "control": "blind"}
    theirs = [choice(Cell((3,) * 6), accuracy=prior, seed=r.seed, **control) for r in mine] if prior is not None else []
    return case(*mine, others=(*mine, *theirs), seed=None)


def test_a_gain_over_the_prior_takes_an_exact_test() -> None:
    """Six gains of 1 to 2 are better than the constant (p = 2 / 2⁶); as many of -1 to 3 are not shown to be."""
    better = no_better_than_prior(over_seeds([93.0, 93.5, 94.0, 93.2, 93.0, 93.6], 92.0), LIMITS)
    assert answered(better) == ("absent", pytest.approx(8.3 / 6))
    assert "+1.38 points over the constant prior (" in better.evidence
    assert "sign flips p = 0.031)" in better.evidence
    mixed = no_better_than_prior(over_seeds([91.0, 95.0, 91.0, 92.5, 91.0, 93.0], 92.0), LIMITS)
    assert answered(mixed) == ("present", pytest.approx(0.25))


def test_a_gain_on_few_supernets_is_neither_shown_nor_denied() -> None:
    """Two gains of one sign happen in a quarter of cases by chance alone; no gain, or a loss, is no better as it is."""
    few = no_better_than_prior(over_seeds([93.0, 94.0], 92.0), LIMITS)
    assert (answered(few), few.needs) == (("unknown", pytest.approx(1.5)), ("6 seeds or more",))
    assert few.evidence.endswith("no p below 0.5 is possible")
    assert answered(no_better_than_prior(over_seeds([91.0, 92.5], 92.0), LIMITS)) == ("present", pytest.approx(-0.25))
    assert answered(no_better_than_prior(over_seeds([92.0, 92.0], 92.0), LIMITS)) == ("present", 0.0)


def test_equal_pairs_do_not_count_as_supernets_that_tell() -> None:
    """Of eight supernets two gain and six are equal: no p below 1 / 2 is possible, and eight seeds were not enough."""
    found = no_better_than_prior(over_seeds([93.0, 94.0, *[92.0] * 6], 92.0), LIMITS)
    assert (found.answer, found.needs) == ("unknown", ("more seeds: 6 with another accuracy than the prior's",))
    assert found.evidence.endswith("so few differ that no p below 0.5 is possible")


def test_percentiles_of_chance_are_no_better_than_chance() -> None:
    """Percentiles around 50 beat a bad constant, and could be random cells': present by chance alone."""
    found = no_better_than_prior(over_seeds([48.0, 52.0, 50.0], 40.0), LIMITS)
    assert answered(found) == ("present", pytest.approx(10.0))
    assert "with probability 0.5)" in found.evidence
    without = no_better_than_prior(over_seeds([48.0, 52.0, 50.0]), LIMITS)
    assert answered(without) == ("present", None)


def test_one_seed_tells_nothing_of_seeds() -> None:
    """With one seed both modes over seeds are unknown; without the prior, it is asked for."""
    for entry in MODES:
        if entry.scope == "seeds":
            found = entry.judge(over_seeds([93.0], 92.0), LIMITS)
            assert (found.answer, found.needs) == ("unknown", ("two seeds or more",))
    assert no_better_than_prior(over_seeds([93.0, 94.0]), LIMITS).needs == ("selector prior",)


def test_the_spread_over_seeds_is_the_samples() -> None:
    """90, 92 and 97 have the standard deviation √13, 90.0 and 90.5 one of 0.35."""
    found = seed_instability(over_seeds([90.0, 92.0, 97.0]), LIMITS)
    assert answered(found) == ("present", pytest.approx(13**0.5))
    assert answered(seed_instability(over_seeds([90.0, 90.5]), LIMITS)) == ("absent", pytest.approx(0.5 / 2**0.5))
