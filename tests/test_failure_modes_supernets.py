"""Failure modes of one supernet. Truth: cases small enough to be judged by hand, beside each test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats

from dartboard.benchmark.space import E, O
from dartboard.results.failure_modes.case import Case
from dartboard.results.failure_modes.curvature import NO_SCALE, sharp_minimum
from dartboard.results.failure_modes.edges import growing, shallow_wide
from dartboard.results.failure_modes.instability import lost_cell
from dartboard.results.failure_modes.samples import STRENGTHS, answered, case, diagnostic, epoch, none_at
from dartboard.results.failure_modes.strength import magnitude_not_strength
from dartboard.results.failure_modes.supernet import discretisation_gap, ranking_failure
from dartboard.results.failure_modes.thresholds import Thresholds, thresholds

LIMITS = Thresholds()


# The mixture.


def test_wide_is_the_weight_on_input_edges() -> None:
    """With 0.1 of none on edges 0, 1 and 3 and 0.25 on the others, edges from the input weigh 0.15 more."""
    none = [0.1, 0.1, 0.25, 0.1, 0.25, 0.25]
    found = shallow_wide(case(epochs=(epoch(1), epoch(2, none_at(none)))), LIMITS)
    assert answered(found) == ("present", pytest.approx(0.15))
    swapped = shallow_wide(case(epochs=(epoch(1, none_at([0.35 - value for value in none])),)), LIMITS)
    assert answered(swapped) == ("absent", pytest.approx(-0.15))


def test_growing_is_to_be_off_and_then_on() -> None:
    """Two edges off in the middle and on at the end are grown; off to the end, or by less than the margin, are not."""
    start, middle = [0.1] * 6, [0.7, 0.7, 0.7, 0.52, 0.1, 0.1]
    end = [0.1, 0.1, 0.7, 0.1, 0.1, 0.1]
    path = tuple(epoch(i, none_at(none)) for i, none in enumerate((start, middle, end), start=1))
    found = growing(case(epochs=path), LIMITS)
    assert answered(found) == ("present", 2)
    assert found.evidence == (
        "2 of 6 edges that were off are on at the end; 3 were off at once at most (after epoch 2); none leads on 1 at "
        "the end"
    )


def test_pruning_is_not_growing() -> None:
    """Edges that start on and end off have not grown."""
    path = (epoch(1, none_at([0.1] * 6)), epoch(2, none_at([0.9] * 6)))
    assert answered(growing(case(epochs=path), LIMITS)) == ("absent", 0)


def test_magnitude_against_strength_is_spearmans() -> None:
    """The magnitude is the mean over edges of SciPy's rank correlation with the true strength."""
    rng = np.random.default_rng(0)
    weights, strength = rng.dirichlet(np.ones(O), E), rng.normal(85, 5, (E, O))
    expected = np.mean([scipy.stats.spearmanr(a, b).statistic for a, b in zip(weights, strength, strict=True)])
    found = magnitude_not_strength(
        case(epochs=(epoch(1, weights),), strength=tuple(map(tuple, strength.tolist()))), LIMITS
    )
    assert answered(found) == ("present" if expected < 0.5 else "absent", pytest.approx(expected, abs=1e-12))


def test_weights_in_the_order_of_strength_are_strength() -> None:
    """Weights that grow with the operation's place agree fully with the strengths above; reversed, not at all."""
    weights = np.tile(np.arange(1, O + 1) / 15, (E, 1))
    agrees = magnitude_not_strength(case(epochs=(epoch(1, weights),), strength=STRENGTHS), LIMITS)
    assert answered(agrees) == ("absent", pytest.approx(1.0))
    assert agrees.evidence.endswith("operation's on 6 of 6")
    reverse = magnitude_not_strength(case(epochs=(epoch(1, weights[:, ::-1]),), strength=STRENGTHS), LIMITS)
    assert answered(reverse) == ("present", pytest.approx(-1.0))


def test_a_cell_is_lost_from_one_point_on() -> None:
    """After 80, 94 and 90 %, 4 points are lost; after 90, 90.9 and 90 %, 0.9 are not counted."""

    def path(*accuracies: float) -> Case:
        skips = none_at([0.0] * 6)
        return case(epochs=tuple(epoch(i, skips, accuracy=a) for i, a in enumerate(accuracies, start=1)))

    found = lost_cell(path(80.0, 94.0, 90.0), LIMITS)
    assert answered(found) == ("present", 4.0)
    assert found.evidence == "94.00 % after epoch 2, 90.00 % at the end; steepest fall 4.00 points, from epoch 2 to 3"
    assert answered(lost_cell(path(90.0, 90.9, 90.0), LIMITS)) == ("absent", pytest.approx(0.9))
    assert lost_cell(case(epochs=(epoch(1, none_at([0.0] * 6)),)), LIMITS).answer == "unknown"


# Diagnostics.


def test_the_gap_is_the_diagnostics() -> None:
    """A gap of 12 points is present, of 8 absent; what tuning makes of it is told where it was measured."""
    values = {
        "accuracy_mixture": 60.0,
        "accuracy_cell": 48.0,
        "gap": 12.0,
        "gap_tuned_1": 4.0,
        "gap_re_estimated": None,
    }
    found = discretisation_gap(case(diagnostics=(diagnostic("discretisation-gap", **values),)), LIMITS)
    assert answered(found) == ("present", 12.0)
    assert found.evidence == (
        "60.0 % under the mixture, 48.0 % as its argmax cell: a gap of 12.0 points (4.0 after 1 epoch of tuning)"
    )
    values |= {"accuracy_cell": 52.0, "gap": 8.0}
    smaller = discretisation_gap(case(diagnostics=(diagnostic("discretisation-gap", **values),)), LIMITS)
    assert answered(smaller) == ("absent", 8.0)


@pytest.mark.parametrize("judge", [discretisation_gap, sharp_minimum, ranking_failure])
def test_a_missing_diagnostic_is_named(judge: Any) -> None:
    """Not measured, failed, or without a number: unknown, with the diagnostic to ask for."""
    name = {discretisation_gap: "discretisation-gap", sharp_minimum: "alpha-hessian"}.get(judge, "rank-correlation")
    missing = judge(case(), LIMITS)
    assert (missing.answer, missing.needs) == ("unknown", (f"diagnostic {name}",))
    assert missing.evidence == f"{name} was not measured"
    failed = judge(case(diagnostics=(diagnostic(name, error="out of memory"),)), LIMITS)
    assert failed.evidence == f"{name} failed: out of memory"
    empty = judge(case(diagnostics=(diagnostic(name),)), LIMITS)
    assert (empty.answer, empty.evidence) == ("unknown", f"{name} was measured, and came to no number")


def test_the_last_epochs_measurement_stands_in_for_the_trained_supernets() -> None:
    """A dear diagnostic that was taken in the course of the search only is judged by its last time."""
    first, last = ({"accuracy_mixture": 60.0, "accuracy_cell": 60.0 - gap, "gap": gap} for gap in (2.0, 15.0))
    records = (diagnostic("discretisation-gap", at=5, **first), diagnostic("discretisation-gap", at=10, **last))
    assert answered(discretisation_gap(case(diagnostics=records), LIMITS)) == ("present", 15.0)


def test_a_single_eigenvalue_is_judged_by_the_grids_threshold_alone() -> None:
    """At the end alone, 0.5 is sharp and 0.3 is not where the grid says 0.4; without, either is shown and left open."""
    for largest, expected in ((0.5, "present"), (0.3, "absent")):
        record = diagnostic("alpha-hessian", dominant=largest, trace=1.0)
        landscape = diagnostic("landscape", accuracy_drop=7.5)
        open_ = sharp_minimum(case(diagnostics=(record, landscape)), LIMITS)
        assert answered(open_) == ("unknown", largest)
        assert open_.needs == NO_SCALE
        found = sharp_minimum(case(diagnostics=(record, landscape)), thresholds({"eigenvalue": 0.4}))
        assert answered(found) == (expected, largest)
        assert open_.evidence == found.evidence
        assert found.evidence.endswith("the accuracy falls by 7.5 points at the largest radius")


def test_eigenvalues_over_time_follow_darts_es() -> None:
    """Measured every 2 epochs, 1 up to epoch 20 and 2 from 22 on: smoothed over 5 it doubles within 4, and stays so.

    λ̄ is 1 up to the tenth value less two, then 1.2, 1.4, 1.6, 1.8, 2: over four of them it grows to 1.8 / 1.
    """
    series = tuple(diagnostic("alpha-hessian", at=2 * t, dominant=1.0 if t <= 10 else 2.0) for t in range(1, 21))
    found = sharp_minimum(case(diagnostics=series), LIMITS)
    assert answered(found) == ("present", pytest.approx(1.8))
    assert "(at epoch 24; 20 measurements)" in found.evidence
    flat = tuple(diagnostic("alpha-hessian", at=2 * t, dominant=1.0) for t in range(1, 21))
    assert answered(sharp_minimum(case(diagnostics=flat), LIMITS)) == ("absent", pytest.approx(1.0))


def test_a_rise_in_the_warm_up_does_not_count() -> None:
    """What rises before epoch 10 and then stays is not sharp by DARTS-ES's rule."""
    series = tuple(diagnostic("alpha-hessian", at=t, dominant=1.0 if t <= 2 else 2.0) for t in range(1, 31))
    found = sharp_minimum(case(diagnostics=series), LIMITS)
    assert answered(found) == ("absent", pytest.approx(1.0))


def test_a_landscape_that_curves_down_throughout_does_not_become_sharp() -> None:
    """Eigenvalues of 0 and below have no ratio: they are no rise, until one is above 0."""
    series = tuple(diagnostic("alpha-hessian", at=t, dominant=-0.1) for t in range(1, 21))
    assert answered(sharp_minimum(case(diagnostics=series), LIMITS)) == ("absent", 0.0)
    rising = (*series, *(diagnostic("alpha-hessian", at=t, dominant=1.0) for t in range(21, 31)))
    found = sharp_minimum(case(diagnostics=rising), LIMITS)
    assert answered(found) == ("present", None)
    assert "is above 0, and was 0 or below 4 measurements before" in found.evidence


def test_ranking_fails_below_the_zero_cost_scores() -> None:
    """Kendall 0.4 is present, 0.6 absent, with the cells it was taken over."""
    for tau, expected in ((0.4, "present"), (0.6, "absent")):
        by = {"kendall": tau, "upper_spearman": 0.1, "regret": 2.0}
        found = ranking_failure(case(diagnostics=(diagnostic("rank-correlation", cells=200, by_accuracy=by),)), LIMITS)
        assert answered(found) == (expected, tau)
        assert found.evidence.startswith(f"Kendall {tau:.2f} over 200 cells, Spearman 0.10 over the truly better half")
