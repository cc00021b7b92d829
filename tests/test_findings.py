"""The first sentences of a report. Truth: what a reader works out from the handful of numbers beside each test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dartboard.benchmark.space import Cell
from dartboard.results.findings import findings
from dartboard.results.records import EpochRecord, RunRecord
from dartboard.results.rundata import RunData, read_run

METRIC = "cifar10/test/200"
SKIPS = Cell((1,) * 6)
CONVS = Cell((3,) * 6)
CONTROLS = {"prior": "blind", "random": "blind", "oracle": "truth"}


def run(*, epochs: list[float] | None = None, **rows: list[float | None]) -> RunData:
    """A run whose table's best cell has 95 %; a cell below 60 % is all skips; None is a failed run."""
    records = []
    for label, accuracies in rows.items():
        selector = label.replace("_", "-")
        for seed, accuracy in enumerate(accuracies):
            key = {"searcher": "darts", "dataset": "digits", "seed": seed, "selector": selector}
            if accuracy is None:
                records.append(RunRecord(**key, status="failed", error="boom", control=CONTROLS.get(selector)))
                continue
            cell = SKIPS if accuracy < 60 else Cell.from_number(11718 + int(10 * (accuracy - 90)))
            records.append(
                RunRecord(
                    **key,
                    status="ok",
                    control=CONTROLS.get(selector),
                    cell=str(cell),
                    metric=METRIC,
                    accuracy=accuracy,
                    regret=95.0 - accuracy,
                    percentile=accuracy,
                )
            )
    mixture = ((0.1, 0.1, 0.1, 0.6, 0.1),) * 6
    path = tuple(
        EpochRecord(epoch=epoch, mixture=mixture, cell=str(CONVS), accuracies={METRIC: accuracy})
        for epoch, accuracy in enumerate(epochs or [], start=1)
    )
    numbered = tuple(enumerate(records, start=1))
    return RunData(name="x", header=None, records=numbered, epochs={r.search: path for r in records})


def test_the_selection_is_blamed_where_its_whole_interval_is() -> None:
    """Regrets of 40 on five supernets, of which 2 are the supernet's: 95 % of it, always.

    The better of two random cells has a percentile p with p² uniform: 0.93² is 0.1351 below 1, five times 0.6755, and
    the chance of five numbers so near 1 is 0.6755⁵ / 5! = 0.0012.
    """
    said = findings(run(magnitude=[55.0] * 5, perturbation=[93.0] * 5, prior=[94.0] * 5), "digits")
    assert said[0] == (
        "Supernet or selection? The selection: magnitude loses 40.00 points (40.00 to 40.00) to the table's best cell "
        "(95.00 % cifar10 test accuracy after 200 epochs) on 5 supernets; 95 % (95 to 95) of it is the selection's, "
        "for some criterion, picked after the fact for each supernet, found so much better a cell in it, and 2.00 "
        "points (2.00 to 2.00) are beyond all 2 criteria, means over 5 supernets with 95 % intervals. The constant "
        "prior, which looks at no supernet, is 39.00 points (+39.00 to +39.00) above magnitude, too."
    )
    assert said[1] == (
        "magnitude's cell had collapsed (at least 4 skips, or no convolution) on 5 of 5 supernets; another criterion, "
        "picked after the fact, chose a good cell from each of these, 100 % (57 to 100): perturbation 5 of 5."
    )
    assert said[2] == (
        "That the supernets know more than a constant is not shown: the best cell that any criterion chose, picked "
        "after the fact for each supernet out of 2 distinct cells, is 1.00 points (-1.00 to -1.00) below the constant "
        "prior's, means over 5 supernets with 95 % intervals; perturbation, the best ranked criterion, is 1.00 "
        "points (-1.00 to -1.00) below it; the best of as many random cells would be as good with a probability "
        "p = 0.0012."
    )


def test_the_supernet_is_blamed_where_nothing_better_was_extracted() -> None:
    """Regrets of 5, of which the best other criterion saves 0.5."""
    said = findings(run(magnitude=[90.0] * 6, perturbation=[90.5] * 6), "digits")
    assert said[0].startswith(
        "Supernet or selection? The supernet, as far as these criteria can tell: magnitude loses 5.00"
    )
    assert "10 % (10 to 10) of it is the selection's" in said[0]
    assert "so that there was nothing to rescue" in said[1]
    assert "cannot be told: the constant control prior was not run" in said[2]


def test_neither_is_blamed_where_the_interval_holds_both() -> None:
    """On half of the supernets all of the regret is the selection's, on the others all is the supernet's."""
    said = findings(run(magnitude=[90.0] * 6, perturbation=[95.0, 90.0] * 3), "digits")
    assert said[0].startswith("Supernet or selection? Not clearly either: ")


def test_few_supernets_are_spoken_of_with_care() -> None:
    """Two supernets show what they show, one cannot tell; both are called single cases at the end."""
    two = findings(run(magnitude=[70.0, 70.0], perturbation=[93.0, 93.0]), "digits")
    assert two[0].startswith("Supernet or selection? As far as 2 supernets show, the selection: ")
    assert two[-1] == (
        "All this is from 2 supernets: a few single cases, which shows what can happen and not how often it does."
    )
    one = findings(run(magnitude=[70.0], perturbation=[93.0]), "digits")
    assert one[0].startswith("Supernet or selection? One supernet cannot tell: magnitude loses 25.00 points to ")
    assert "92 % of it is the selection's" in one[0]
    assert "interval" not in " ".join(one)
    assert one[-1].startswith("All this is from one supernet: a single case")
    assert not any("single case" in sentence for sentence in findings(run(magnitude=[9.0] * 5), "digits"))


def test_more_than_a_constant_takes_a_single_criterion() -> None:
    """The best of two criteria is always above the prior, and neither is by itself: nothing is shown by picking.

    Over eight supernets one criterion a point above it on each is: p = 2 / 2⁸, over two criteria twice that.
    """
    picked = findings(run(a=[95.0, 90.0] * 4, b=[90.0, 95.0] * 4, prior=[94.0] * 8), "digits")[2]
    assert picked.startswith("That the supernets know more than a constant is not shown: ")
    assert "is 1.00 points (+1.00 to +1.00) above the constant prior's" in picked
    assert "; a, one of 2 that rank best, is 1.50 points (" in picked
    shown = findings(run(a=[95.0] * 8, b=[90.0] * 8, prior=[94.0] * 8), "digits")[2]
    assert shown.startswith("The supernets know more than a constant, as a shows: ")


def test_the_best_criterion_is_said_to_be_picked_afterwards() -> None:
    """Gains of 10 on five supernets have p = 2 / 2⁵, which over two criteria is 0.12."""
    said = " ".join(findings(run(magnitude=[80.0] * 5, a=[90.0] * 5, b=[80.0] * 5), "digits"))
    assert (
        "From the same supernets a, the best of 2 other criteria by rank, picked after the fact, got a cell 10.00 "
        "points (+10.00 to +10.00) above magnitude's (better on 5, equal on 0, worse on 0 of 5; p = 0.062, and "
        "no lower than 0.062 is possible); the last of them, b, got a cell as good (+0.00 to +0.00) as magnitude's"
    ) in said


def test_a_criterion_that_failed_somewhere_is_not_ranked() -> None:
    """One good cell out of three supernets does not make the best criterion."""
    said = findings(run(magnitude=[60.0, 70.0, 80.0], lucky=[94.0, None, None], steady=[60.0, 70.0, 80.0]), "digits")
    assert "Not ranked: lucky (one supernet)." in said
    assert "2 runs of 9 failed and are left out." in said
    assert any(s.startswith("From the same supernets steady got a cell as good") for s in said)


def test_collapses_that_nobody_could_rescue_are_not_counted() -> None:
    """Magnitude collapses on three supernets, from two of which another criterion chose; the criteria are 1 to 2."""
    said = findings(run(magnitude=[55.0, 55.0, 55.0], perturbation=[93.0, 55.0, None]), "digits")
    assert "on 2 of 2 supernets from which another criterion chose, too; another criterion" in said[1]
    assert said[0].startswith("Supernet or selection? As far as 2 supernets show, ")
    assert "are beyond all 2 criteria" in said[0]
    more = findings(run(magnitude=[55.0] * 2, perturbation=[93.0] * 2, other=[90.0, None]), "digits")
    assert "are beyond all 2 to 3 criteria" in more[0]


def test_what_a_criterion_breaks_is_told() -> None:
    """Magnitude's cell is good on both supernets, and another criterion's collapses on one of them."""
    said = findings(run(magnitude=[93.0, 93.0], perturbation=[55.0, 93.0]), "digits")
    assert said[1].endswith("nothing to rescue. Where magnitude's cell was good, others collapsed: perturbation on 1.")


def test_ties_are_left_out_and_said() -> None:
    """A search whose mixture stays uniform has no largest weight: its magnitude is named, and not counted."""
    whole = run(magnitude=[10.0, 10.0], a=[93.0, 93.0])
    flat = tuple(
        (i, replace(r, scores=((0.2,) * 5,) * 6) if r.selector == "magnitude" else r) for i, r in whole.records
    )
    said = findings(replace(whole, records=flat), "digits")
    assert said[0].startswith("magnitude came to no cell of its own here")
    tie = "Left out, for the best scores are equal on every edge and tell nothing: magnitude with darts (2 supernets)."
    assert tie in said
    only = findings(replace(whole, records=flat[:2]), "digits")
    assert only == [tie]


def test_lost_cells_are_counted() -> None:
    """Epochs at 80, 94 and 90 % have lost 4 points; at 90, 90.5 and 90 less than one."""
    lost = findings(run(epochs=[80.0, 94.0, 90.0], magnitude=[90.0, 90.0]), "digits")
    assert any(s.startswith("On 2 of 2 supernets the search had passed through") and "4.00 points" in s for s in lost)
    kept = findings(run(epochs=[90.0, 90.5, 90.0], magnitude=[90.0, 90.0]), "digits")
    assert any(s.startswith("On 0 of 2 supernets the search had passed through") for s in kept)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ({"perturbation": [90.0]}, "magnitude came to no cell of its own here"),
        ({"magnitude": [90.0, 91.0]}, "Supernet or selection cannot be told, for magnitude is the only criterion: "),
        ({"magnitude": [95.0, 95.0], "a": [94.0, 94.0]}, "Nothing was lost: magnitude chose the table's best cell"),
        ({"magnitude": [None]}, "No run came to a cell: the only one failed, the first with: boom."),
        ({"prior": [94.0]}, "magnitude came to no cell of its own here"),
        (
            {"magnitude": [90.0, None], "a": [None, 91.0], "b": [None, 92.0]},
            "Supernet or selection cannot be told: from no supernet did magnitude and another criterion choose.",
        ),
    ],
)
def test_what_cannot_be_compared_is_said(rows: dict[str, list[float | None]], sentence: str) -> None:
    """A run without the reference, without others, without regret or without cells says so."""
    assert findings(run(**rows), "digits")[0].startswith(sentence)


def test_controls_alone_tell_nothing_of_the_supernets() -> None:
    """The prior was run, and there is no criterion to be compared with it."""
    assert findings(run(prior=[94.0]), "digits")[2] == (
        "Whether the supernets know more than a constant cannot be told: no criterion came to a cell of its own."
    )


def test_a_real_runs_sentences_are_true() -> None:
    """studies/darts-collapse: its README's table by hand has 6 of 8 collapsed, all six rescued by leave-one-out.

    Leave-one-out is the best extracted on each, so that both means below the prior, 93.76, are the same: of 93.76,
    93.313, 94.293, 93.197, 93.197, 92.93, 92.93 and 92.617, which have the mean 93.28.
    """
    folder = Path(__file__).resolve().parents[1] / "studies" / "darts-collapse" / "run"
    whose, rescued, known, *_ = findings(read_run(folder), "cifar10-jpeg")
    assert whose.startswith("Supernet or selection? The selection: magnitude loses 16.56 points (")
    assert "; 93 % (" in whose
    assert ", and 1.09 points (" in whose
    assert (
        "on 6 of 8 supernets; another criterion, picked after the fact, chose a good cell from each of these, 100 %"
        in rescued
    )
    assert rescued.endswith("leave-one-out 6 of 6, perturbation 4 of 6 and perturbation-loss 1 of 3.")
    assert known.startswith("That the supernets know more than a constant is not shown: ")
    assert known.count("0.48 points (") == 2
