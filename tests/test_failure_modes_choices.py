"""Failure modes of one choice. Truth: cases small enough to be judged by hand, beside each test."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import pytest
import scipy.stats

from dartboard.benchmark.space import Cell, E, O
from dartboard.results.failure_modes.catalogue import MODES
from dartboard.results.failure_modes.cells import disconnection, none_takeover, pooling_takeover, skip_collapse
from dartboard.results.failure_modes.instability import lost_cell
from dartboard.results.failure_modes.samples import STRENGTHS, answered, case, choice, epoch, none_at
from dartboard.results.failure_modes.starvation import budget_starvation, fewest_alike
from dartboard.results.failure_modes.strength import edgewise_greed, magnitude_not_strength
from dartboard.results.failure_modes.thresholds import Thresholds
from dartboard.results.records import RunRecord

LIMITS = Thresholds()


@pytest.mark.parametrize(
    ("judge", "operation", "least"),
    [(skip_collapse, 1, 4), (none_takeover, 0, 3), (pooling_takeover, 4, 4)],
)
def test_an_operation_takes_over_from_its_threshold_on(judge: Any, operation: int, least: int) -> None:
    """With one edge fewer than the threshold it is absent, with as many it is present, and the number is told."""
    for n in range(E + 1):
        found = judge(case(choice(Cell((operation,) * n + (3,) * (E - n)))), LIMITS)
        assert answered(found) == ("present" if n >= least else "absent", n)
        assert found.evidence.startswith(f"{n} of 6 edges carry ")


def test_a_collapse_tells_since_when() -> None:
    """Of magnitude, it is said after how many epochs the argmax cell had collapsed already, and since which."""
    skips = none_at([0.0] * 6)
    path = (epoch(1), epoch(2, skips), epoch(3), epoch(4, skips))
    found = skip_collapse(case(choice(Cell((1,) * 6)), epochs=path), LIMITS)
    assert found.evidence == (
        "6 of 6 edges carry skip_connect; the argmax cell had 4 or more after 2 of 4 epochs, first after 2"
    )


def test_a_failed_run_cannot_be_judged() -> None:
    """Without a cell, the modes of single choices are unknown, with the run's error and what to do."""
    for entry in MODES:
        if entry.scope == "run":
            found = entry.judge(case(choice()), LIMITS)
            assert (found.answer, found.evidence) == ("unknown", "the run came to no cell: boom")
            assert found.needs == ("the run again (--retry-failed)",)


def test_a_cell_that_no_table_knows_is_not_a_failed_run() -> None:
    """Where the run came to a cell whose accuracy, or regret, is not known, just that is said."""
    unknown = choice(Cell((3,) * 6), accuracy=90.0, regret=None)
    found = edgewise_greed(case(unknown, strength=STRENGTHS), LIMITS)
    assert (found.answer, found.evidence) == ("unknown", "the table has no accuracy or regret for its cell")
    nothing = replace(unknown, accuracy=None)
    assert skip_collapse(case(nothing), LIMITS).evidence == found.evidence


def test_a_tie_is_no_choice() -> None:
    """Where the best scores are equal on every edge the cell is the tie-break's: the modes of choices are unknown."""
    tied = choice(Cell((0,) * 6), scores=((0.2,) * 5,) * 6)
    for entry in MODES:
        if entry.scope != "supernet":
            assert entry.judge(case(tied), LIMITS).answer == "unknown", entry.key
    assert "tie-break" in none_takeover(case(tied), LIMITS).evidence
    for judge in (magnitude_not_strength, lost_cell):
        found = judge(case(epochs=(epoch(1, accuracy=10.0),), strength=STRENGTHS), LIMITS)
        assert (found.answer, found.needs) == ("unknown", ("a search that moves its mixture",))


def test_disconnection_is_a_matter_of_paths() -> None:
    """With none on all three edges into the output nothing is live; with none elsewhere a path is left."""
    cut = disconnection(case(choice(Cell((3, 3, 3, 0, 0, 0)))), LIMITS)
    assert answered(cut) == ("present", 6)
    left = disconnection(case(choice(Cell((0, 0, 0, 3, 3, 3)))), LIMITS)
    assert answered(left) == ("absent", 5)


# What is truly strong.


@pytest.mark.parametrize(
    ("right", "accuracy", "expected"),
    [(6, 94.0, "present"), (5, 94.5, "present"), (4, 70.0, "absent"), (6, 94.6, "absent")],
)
def test_greed_takes_right_edges_and_a_wrong_cell(right: int, accuracy: float, expected: str) -> None:
    """Five of six truly strongest operations and half a point of regret make it present; either alone does not."""
    cell = Cell((4,) * right + (0,) * (E - right))
    found = edgewise_greed(case(choice(cell, accuracy=accuracy), strength=STRENGTHS), LIMITS)
    assert answered(found) == (expected, pytest.approx(95.0 - accuracy))
    assert found.evidence.startswith(f"{right} of 6 edges")


def test_without_a_true_strength_its_control_is_asked_for() -> None:
    """Both modes that compare with the truth name the control that records it."""
    for found in (
        edgewise_greed(case(choice(Cell((3,) * 6))), LIMITS),
        magnitude_not_strength(case(epochs=(epoch(1),)), LIMITS),
    ):
        assert (found.answer, found.needs) == ("unknown", ("selector edge-oracle",))


# Starvation.


def scored(first: float, second: float, edges: int = E, **more: Any) -> RunRecord:
    """Scores of which the best two of so many edges are these, and of the others 20 points apart."""
    near, far = (second, first, 0.0, 0.0, 0.0), (first, first - 20, 0.0, 0.0, 0.0)
    return choice(Cell((3,) * 6), scores=(near,) * edges + (far,) * (E - edges), **more)


def test_noise_is_compared_with_the_recorded_errors() -> None:
    """Standard errors of 3 and 4 make 5 of noise: a difference of 9.7 is below 1.96 * 5, one of 9.9 is above."""
    errors = [[3.0, 4.0, 0.0, 0.0, 0.0]] * E
    for difference, expected in ((9.7, "present"), (9.9, "absent")):
        record = scored(50.0, 50.0 - difference, notes={"standard_error": errors})
        assert budget_starvation(case(record), LIMITS).answer == expected


@pytest.mark.parametrize(("edges", "expected"), [(6, "present"), (3, "present"), (2, "absent")])
def test_five_images_are_too_few(edges: int, expected: str) -> None:
    """Scores that are accuracies over 1,000 images and differ by 5 of them are not told apart, on enough edges."""
    record = scored(60.5, 60.0, edges=edges, valid_images=1000)
    found = budget_starvation(case(record, options={"criterion": "accuracy"}), LIMITS)
    assert answered(found) == (expected, edges)
    assert "by 1,000 images" in found.evidence


def test_between_sure_and_starved_it_stays_open() -> None:
    """20 of 1,000 images are more than 6 and less than 1.96 √(2 · 0.6 · 0.4 · 1000) = 43: it cannot be told."""
    record = scored(62.0, 60.0, valid_images=1000)
    found = budget_starvation(case(record, options={"criterion": "accuracy"}), LIMITS)
    assert (found.answer, found.needs) == ("unknown", ("more validation images",))
    apart = budget_starvation(case(scored(65.0, 60.0, valid_images=1000), options={"criterion": "accuracy"}), LIMITS)
    assert answered(apart) == ("absent", 0)


def test_the_images_of_some_batches_count() -> None:
    """Of 1,000 images in batches of 10, of which 20 were used, 5 points are 10 images of 200."""
    record = scored(65.0, 60.0, valid_images=1000, batch_size=10)
    found = budget_starvation(case(record, options={"criterion": "accuracy", "batches": 20}), LIMITS)
    assert "by 200 images" in found.evidence
    assert "closest: 10 images" in found.evidence
    within = dataclasses.replace(record, notes={"within_budget": {"batches": 10}})
    assert "by 100 images" in budget_starvation(case(within, options={"criterion": "accuracy"}), LIMITS).evidence


def test_an_error_that_is_not_known_leaves_its_edge_open() -> None:
    """Without standard errors on four edges (one sample has none), two starved edges may be six: errors are missing."""
    known, unknown = [3.0, 4.0, 0.0, 0.0, 0.0], [None] * O
    record = scored(50.0, 49.0, notes={"standard_error": [known] * 2 + [unknown] * 4})
    found = budget_starvation(case(record), LIMITS)
    assert (found.answer, found.magnitude) == ("unknown", 2)
    assert found.needs == ("standard errors on every edge: more samples",)
    apart = scored(50.0, 30.0, notes={"standard_error": [known] * 4 + [unknown] * 2})
    assert answered(budget_starvation(case(apart), LIMITS)) == ("absent", 0)


def test_scores_of_unknown_noise_cannot_be_judged() -> None:
    """Without scores, errors or images it is unknown, and said what would help."""
    assert budget_starvation(case(choice(Cell((3,) * 6))), LIMITS).needs == ("a criterion that scores operations",)
    assert "standard errors" in budget_starvation(case(scored(1.0, 0.9)), LIMITS).needs[0]


def test_mcnemars_test_needs_six_images() -> None:
    """SciPy's exact binomial test of 5 out of 5 has p = 0.0625, of 6 out of 6 it is 0.03125."""
    assert fewest_alike(0.05) == 6
    assert scipy.stats.binomtest(5, 5).pvalue > 0.05 >= scipy.stats.binomtest(6, 6).pvalue
