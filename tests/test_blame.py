"""Supernet or selection. Truth: regrets, shares and rescues worked out by hand, beside each test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dartboard.benchmark.space import Cell
from dartboard.results import statistics as st
from dartboard.results.blame import Blame, blame, extractions, splits
from dartboard.results.contrasts import contrasts
from dartboard.results.judged import judged, undecided
from dartboard.results.records import RunHeader, RunRecord, read_records
from dartboard.results.rescues import rescues
from dartboard.results.standings import criterion_standings

METRIC = "cifar10/test/200"
BEST = 95.0
SKIPS = Cell((1,) * 6)
CONVS = Cell((3,) * 6)
CONTROLS = {"prior": "blind", "random": "blind", "oracle": "truth"}


def chosen(
    selector: str, accuracy: float | None, *, seed: int = 0, searcher: str = "darts", cell: Cell = CONVS
) -> RunRecord:
    """A choice; None: the run failed. A percentile is the accuracy, for simplicity."""
    record = {"searcher": searcher, "dataset": "digits", "seed": seed, "selector": selector}
    control = CONTROLS.get(selector)
    if accuracy is None:
        return RunRecord(**record, status="failed", error="boom", control=control)
    return RunRecord(
        **record,
        status="ok",
        control=control,
        cell=str(cell),
        metric=METRIC,
        accuracy=accuracy,
        regret=BEST - accuracy,
        percentile=accuracy,
    )


def table(**rows: list[float | None]) -> list[RunRecord]:
    """Choices by selector, one for each seed, of as many cells as there are accuracies."""
    return [
        chosen(selector.replace("_", "-"), accuracy, seed=seed, cell=Cell.from_number(int((accuracy or 0) * 100)))
        for selector, accuracies in rows.items()
        for seed, accuracy in enumerate(accuracies)
    ]


def of(found: list[Blame], selector: str) -> Blame:
    """The blame of a selector over all search methods."""
    return next(entry for entry in found if entry.selector == selector and entry.searcher is None)


# The split.


def test_the_regret_is_split_by_hand() -> None:
    """The best is 95; magnitude takes 75, the best criterion 93: 2 points are the supernet's, 18 the selection's."""
    records = table(magnitude=[75.0], perturbation=[93.0], leave_one_out=[93.0], prior=[94.0], oracle=[95.0])
    found = {split.selector: split for split in splits(records, "digits")}
    assert set(found) == {"magnitude", "perturbation", "leave-one-out"}
    ours = found["magnitude"]
    assert (ours.regret, ours.supernet, ours.selection) == (20.0, 2.0, 18.0)
    assert (ours.best, ours.best_accuracy, ours.criteria, ours.tries) == (("perturbation", "leave-one-out"), 93.0, 3, 2)
    assert (found["perturbation"].supernet, found["perturbation"].selection) == (2.0, 0.0)


def test_controls_never_count_as_extracted() -> None:
    """Without the oracle, the prior and the random cell, all of the supernet's part stays as it is."""
    with_controls = table(magnitude=[75.0], perturbation=[90.0], prior=[94.0], random=[94.5], oracle=[95.0])
    without = table(magnitude=[75.0], perturbation=[90.0])
    assert splits(with_controls, "digits") == splits(without, "digits")
    assert splits(table(prior=[94.0], oracle=[95.0]), "digits") == []


def test_the_parts_add_up() -> None:
    """For every choice and every mean: supernet + selection = regret, and no part is negative."""
    records = table(magnitude=[75.0, 60.0, 90.0], perturbation=[93.0, 80.0, 89.0])
    for split in splits(records, "digits"):
        assert split.supernet + split.selection == pytest.approx(split.regret, abs=1e-12)
        assert min(split.supernet, split.selection) >= 0
    for entry in blame(records, "digits"):
        assert entry.supernet.value + entry.selection.value == pytest.approx(entry.regret.value, abs=1e-12)


def test_blame_by_hand() -> None:
    """Regrets 20 and 10 of which 2 and 5 are the supernets': means 15 = 3.5 + 11.5, a share of 23 / 30."""
    ours = of(blame(table(magnitude=[75.0, 85.0], perturbation=[93.0, 90.0]), "digits"), "magnitude")
    assert (ours.n, ours.regret.value, ours.supernet.value, ours.selection.value) == (2, 15.0, 3.5, 11.5)
    assert ours.share is not None
    assert ours.share.value == pytest.approx(23 / 30)
    # Two supernets have three resamples: both of one, both of the other, one of each; the ends are those of one kind.
    assert (ours.regret.low, ours.regret.high) == (10.0, 20.0)
    assert (ours.share.low, ours.share.high) == (pytest.approx(5 / 10), pytest.approx(18 / 20))


def test_one_supernet_has_no_interval() -> None:
    """A single supernet is split, and nothing is said of its spread."""
    ours = of(blame(table(magnitude=[75.0], perturbation=[93.0]), "digits"), "magnitude")
    assert (ours.regret.value, ours.regret.known, ours.share and ours.share.known) == (20.0, False, False)


def test_a_perfect_choice_has_no_share() -> None:
    """Where there is no regret there is nothing to share."""
    assert of(blame(table(magnitude=[BEST, BEST]), "digits"), "magnitude").share is None


def test_a_supernet_with_one_criterion_is_not_split() -> None:
    """Where one criterion alone came to a cell, all is extracted by definition: it is left out, if there are others."""
    records = table(magnitude=[75.0, 60.0], perturbation=[93.0, None])
    ours = of(blame(records, "digits"), "magnitude")
    assert (ours.n, ours.regret.value, ours.selection.value, ours.divisible) == (1, 20.0, 18.0, True)
    alone = of(blame(table(magnitude=[75.0, 60.0]), "digits"), "magnitude")
    assert (alone.n, alone.divisible) == (2, False)


def test_search_methods_are_strata() -> None:
    """With two equal supernets of each method every resample is the same; with one of each, methods are resampled."""
    accuracies = {"a": 75.0, "b": 85.0}
    records = [chosen("magnitude", v, searcher=s, seed=n) for s, v in accuracies.items() for n in (0, 1)]
    alone, one, _ = blame([record for record in records if record.seed == 0], "digits")
    assert not one.regret.known
    assert (alone.regret.value, alone.regret.low, alone.regret.high) == (15.0, 10.0, 20.0)
    together, first, second = blame(records, "digits")
    assert (together.searcher, first.searcher, second.searcher) == (None, "a", "b")
    assert (together.regret.value, together.regret.low, together.regret.high) == (15.0, 15.0, 15.0)


def test_failed_runs_and_other_metrics_are_left_out() -> None:
    """A failed run extracts nothing, and a record judged by another metric is not compared."""
    records = table(magnitude=[75.0, None], perturbation=[None, 93.0])
    assert [(split.search.seed, split.criteria) for split in splits(records, "digits")] == [(0, 1), (1, 1)]
    assert splits(records, "other") == []
    assert judged([], "digits") == []


def test_a_tie_on_every_edge_is_no_choice() -> None:
    """Under a uniform mixture magnitude's cell is the tie-break's: it is nobody's to blame, to rescue or to rank."""
    flat, one = ((0.2,) * 5,) * 6, ((0.2,) * 5,) * 5 + ((0.3, 0.2, 0.2, 0.2, 0.1),)
    tied = replace(chosen("magnitude", 10.0), scores=flat)
    other = replace(chosen("a", 93.0), scores=one)
    excluded = replace(chosen("b", 93.0), scores=((None, 0.2, 0.2, 0.1, 0.1),) * 6)
    assert [undecided(record) for record in (tied, other, excluded)] == [True, False, True]
    assert not undecided(replace(tied, control="blind"))
    assert [split.selector for split in splits([tied, other, excluded], "digits")] == ["a"]
    assert rescues([tied, other], "digits") == []
    assert contrasts([tied, other], "digits") == []


def test_extractions_by_hand() -> None:
    """The best of each supernet are 93 and 90; over the prior they are -1 and 0."""
    records = table(magnitude=[75.0, 90.0], perturbation=[93.0, 80.0], prior=[94.0, 90.0])
    (found,) = extractions(records, "digits")
    assert (found.accuracy.value, found.regret.value, found.n) == (91.5, 3.5, 2)
    assert found.tries == (2, 2)
    assert found.over_prior is not None
    assert found.over_prior.value == -0.5
    # Of the better of two random cells the percentile's square is uniform: 0.93² + 0.90² of two.
    assert found.luck == pytest.approx((2 - 0.93**2 - 0.90**2) ** 2 / 2, rel=1e-9)


def test_extractions_without_a_prior_say_so() -> None:
    """Where the constant control was not run, nothing is compared with it."""
    (found,) = extractions(table(magnitude=[75.0]), "digits")
    assert found.over_prior is None
    assert extractions([], "digits") == []


# Rescues.


def skips_and(accuracies: dict[str, list[tuple[float, Cell]]]) -> list[RunRecord]:
    """Choices with their cells, by selector and seed."""
    return [
        chosen(selector, accuracy, seed=seed, cell=cell)
        for selector, rows in accuracies.items()
        for seed, (accuracy, cell) in enumerate(rows)
    ]


def test_rescues_by_hand() -> None:
    """Magnitude collapses on three of four; one criterion saves one of them, another a second; one is broken.

    The third choice of `a` is no longer collapsed, and still not good (below the percentile 75).
    """
    records = skips_and(
        {
            "magnitude": [(54.3, SKIPS), (54.3, SKIPS), (54.3, SKIPS), (93.0, CONVS)],
            "a": [(93.0, CONVS), (54.3, SKIPS), (70.0, CONVS), (54.3, SKIPS)],
            "b": [(54.3, SKIPS), (80.0, CONVS), (54.3, SKIPS), (93.0, CONVS)],
            "prior": [(94.0, CONVS)] * 4,
        }
    )
    anyone, a, b = rescues(records, "digits")
    assert (anyone.selector, a.selector, b.selector) == (None, "a", "b")
    assert [len(entry.collapsed) for entry in (anyone, a, b)] == [3, 3, 3]
    assert [[s.seed for s in entry.rescued] for entry in (anyone, a, b)] == [[0, 1], [0], [1]]
    assert [[s.seed for s in entry.broken] for entry in (anyone, a, b)] == [[], [3], []]
    assert anyone.rate is not None
    assert (anyone.rate.value, anyone.rate.low) == (pytest.approx(2 / 3), pytest.approx(0.2077, abs=1e-4))


def test_without_a_collapse_there_is_no_rate() -> None:
    """Nothing to rescue has no rate, and without another criterion there is nobody to do it."""
    assert [entry.rate for entry in rescues(table(magnitude=[93.0], a=[92.0]), "digits")] == [None, None]
    assert rescues(table(magnitude=[93.0], prior=[94.0]), "digits") == []


# Contrasts.


def test_contrasts_by_hand() -> None:
    """Gains of 18, 5, 0, -1 and 3: mean 5, middle 8/3, three better; p is that of the signs, times the criteria."""
    records = table(
        magnitude=[75.0, 85.0, 90.0, 91.0, 80.0], a=[93.0, 90.0, 90.0, 90.0, 83.0], prior=[94.0] * 5, oracle=[95.0] * 5
    )
    a, prior = contrasts(records, "digits")
    assert (a.selector, a.control, prior.selector, prior.control) == ("a", None, "prior", "blind")
    assert (a.mean.value, a.middle.value, a.n) == (5.0, pytest.approx(8 / 3), 5)
    assert (a.better, a.equal, a.worse, a.improvement.value) == (3, 1, 1, 0.7)
    # Sums of ±18 ± 5 ± 1 ± 3 at least as far from 0 as 25: 27, 25 (without the 1), and both mirrored: 4 of 16.
    assert (a.permutation.p, a.permutation.zeros) == (0.25, 1)
    assert a.corrected_p == 0.25  # the only criterion


def test_holms_correction_is_over_the_criteria() -> None:
    """Two criteria: the smaller p is doubled; a control's p stays as it is."""
    records = table(magnitude=[70.0] * 5, a=[80.0, 81, 82, 83, 84], b=[69.0, 71, 72, 73, 74], prior=[90.0] * 5)
    found = {entry.selector: entry for entry in contrasts(records, "digits")}
    assert found["a"].permutation.p == 2 / 32
    assert found["a"].corrected_p == 4 / 32
    assert found["b"].corrected_p == max(found["b"].permutation.p, 4 / 32)
    assert found["prior"].corrected_p == found["prior"].permutation.p


def test_only_the_same_supernets_are_compared() -> None:
    """A supernet from which one of the two chose nothing is no pair."""
    (a,) = contrasts(table(magnitude=[70.0, 80.0], a=[80.0, None]), "digits")
    assert (a.n, a.mean.value, a.mean.known) == (1, 10.0, False)


# Standings.


def test_criteria_are_ranked_by_mean_rank() -> None:
    """On three supernets b is first twice and second once, a the other way round: mean ranks 4/3 and 5/3."""
    found = criterion_standings(table(a=[80.0, 90.0, 91.0], b=[90.0, 91.0, 90.0], prior=[99.0] * 3), "digits")
    assert [(row.name, row.rank) for row in found.rows] == [("b", pytest.approx(4 / 3)), ("a", pytest.approx(5 / 3))]
    assert found.ranking is not None
    assert found.ranking.ranks == (pytest.approx(4 / 3), pytest.approx(5 / 3))
    assert found.rows[1].worst == 80.0


def test_one_seed_is_shown_and_never_ranked() -> None:
    """A criterion with one supernet, and one without some of them, are in the rows without a rank and with a reason."""
    found = criterion_standings(
        table(a=[80.0, 90.0, 91.0], b=[90.0, 91.0, 90.0], c=[94.0, None, None], d=[94.0, None, 94.0]), "digits"
    )
    assert {row.name: row.reason for row in found.rows if row.rank is None} == {
        "c": "one supernet",
        "d": "2 of 3 supernets",
    }
    assert [row.name for row in found.ranked] == ["b", "a"]


def test_as_many_other_supernets_are_not_the_same() -> None:
    """Three seeds of each, of which two are shared: the most common three are ranked, and the reason counts shared."""
    found = criterion_standings(
        table(a=[80.0, 90.0, 91.0, None], b=[None, 91.0, 90.0, 93.0], c=[None, 92.0, 90.0, 91.0]), "digits"
    )
    assert [row.name for row in found.ranked] == ["b", "c"]
    assert {row.name: row.reason for row in found.rows if row.rank is None} == {"a": "2 of 3 supernets"}


def test_a_single_supernet_ranks_nothing() -> None:
    """With one supernet in all, no criterion is ranked."""
    found = criterion_standings(table(a=[80.0], b=[90.0]), "digits")
    assert found.ranked == ()
    assert found.ranking is None
    assert {row.reason for row in found.rows} == {"one supernet"}


def test_one_criterion_has_nothing_to_be_ranked_against() -> None:
    """A lone criterion is shown with its interval and without a rank."""
    (row,) = criterion_standings(table(a=[80.0, 90.0]), "digits").rows
    assert (row.rank, row.reason, row.accuracy.value) == (None, "nothing to rank it against", 85.0)
    assert criterion_standings([], "digits").rows == ()


def test_settings_of_one_method_are_flagged() -> None:
    """Two labels of the same method name each other, so that the best of them is seen to be picked after the fact."""
    header = RunHeader(
        name="x",
        preset="smoke",
        searchers=("darts",),
        selectors=("a", "a-fast", "b"),
        datasets=("digits",),
        seeds=(0, 1),
        options={"selectors": {"a": {"method": "a"}, "a-fast": {"method": "a"}, "b": {"method": "b"}}},
    )
    records = table(a=[80.0, 90.0], a_fast=[81.0, 89.0], b=[70.0, 70.0])
    found = {row.name: row.variants for row in criterion_standings(records, "digits", header=header).rows}
    assert found == {"a": ("a-fast",), "a-fast": ("a",), "b": ()}


# A real run.


def test_a_real_runs_blame_by_hand() -> None:
    """The eight supernets of studies/darts-collapse, whose accuracies stand in its README's table.

    Seed by seed at 3e-3 the table's best (94.373) less leave-one-out's 93.76, 93.313, 94.293, 93.197, which is the best
    extracted, leaves 0.613, 1.060, 0.080, 1.177; at 1e-2 less 93.197, 92.93, 92.93, 92.617 it leaves 1.177, 1.443,
    1.443, 1.757: 8.750 / 8 = 1.094 for the supernets. Magnitude's 76.88, 54.297, 93.83, 76.88, 70.92, 70.92, 86.313,
    92.463 make a mean regret of 94.373 - 622.503 / 8 = 16.560, so that 15.467 of it, 93.4 %, is the selection's.
    """
    records = read_records(Path(__file__).resolve().parents[1] / "studies" / "darts-collapse" / "run")
    ours = of(blame(records, "cifar10-jpeg"), "magnitude")
    assert ours.supernet.value == pytest.approx(1.094, abs=1e-3)
    assert ours.regret.value == pytest.approx(16.560, abs=1e-3)
    assert ours.selection.value == pytest.approx(15.467, abs=1e-3)
    assert ours.share is not None
    assert ours.share.value == pytest.approx(0.934, abs=1e-3)
    assert of(blame(records, "cifar10-jpeg"), "leave-one-out").selection.value == 0
    anyone = rescues(records, "cifar10-jpeg")[0]
    assert (len(anyone.collapsed), len(anyone.rescued)) == (6, 6)
    # Wilson's interval of 6 out of 6: from 1 / (1 + 1.96² / 6).
    assert anyone.rate == st.share(6, 6)
    assert anyone.rate.low == pytest.approx(1 / (1 + 1.959964**2 / 6), abs=1e-6)
    # Leave-one-out is above magnitude on all eight, and nothing is as far as all signs alike: 2 / 2⁸.
    gain = next(c for c in contrasts(records, "cifar10-jpeg") if c.selector == "leave-one-out" and c.searcher is None)
    assert (gain.better, gain.permutation.p, gain.mean.value) == (8, 2 / 256, pytest.approx(15.467, abs=1e-3))
