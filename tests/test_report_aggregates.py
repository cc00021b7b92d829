"""What records say in sum. Truth: statistics computed by hand, beside each test."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import pytest

from dartboard.benchmark.space import Cell, every_cell
from dartboard.results.aggregate import (
    Trajectory,
    best_in_table,
    chosen_cells,
    collapsed,
    compare,
    free_edges,
    groups,
    main_metric,
    shown_metrics,
    summarise,
    trajectory,
)
from dartboard.results.records import EpochRecord, RunRecord, SearchKey
from dartboard.results.takeaways import most_chosen

METRIC = "cifar10/test/200"
SKIPS = str(Cell((1,) * 6))
CONVS = str(Cell((3,) * 6))
MIXED = str(Cell((0, 1, 2, 3, 4, 1)))  # none, two skips, a pool, two convolutions


def record(
    selector: str, seed: int, accuracy: float | None, cell: str = CONVS, control: str | None = None
) -> RunRecord:
    """A record of one supernet, ok unless the accuracy is None."""
    if accuracy is None:
        return RunRecord(
            searcher="darts",
            dataset="digits",
            seed=seed,
            selector=selector,
            status="failed",
            error="boom",
            metric=METRIC,
        )
    return RunRecord(
        searcher="darts",
        dataset="digits",
        seed=seed,
        selector=selector,
        control=control,
        status="ok",
        cell=cell,
        accuracies={METRIC: accuracy},
        metric=METRIC,
        accuracy=accuracy,
        regret=95.0 - accuracy,
        rank=round(1000 - 10 * accuracy),
        percentile=accuracy,
        selection_images=100 * seed,
    )


def numbered(*records: RunRecord) -> list[tuple[int, RunRecord]]:
    """The records with lines 1, 2, ..."""
    return list(enumerate(records, start=1))


def test_a_summary_is_the_textbook_one() -> None:
    """Of 90, 92 and 97 the mean is 93 and the sample's variance (9 + 1 + 16) / 2; None is left out."""
    summary = summarise([90.0, None, 92.0, 97.0])
    assert summary is not None
    assert (summary.n, summary.mean, summary.low, summary.high) == (3, 93.0, 90.0, 97.0)
    assert summary.std == pytest.approx(sqrt(13), rel=1e-15)


def test_one_number_has_no_spread_and_none_no_summary() -> None:
    """One seed has a mean and no standard deviation; no seed has nothing."""
    summary = summarise([90.0])
    assert summary is not None
    assert (summary.n, summary.mean, summary.std) == (1, 90.0, None)
    assert summarise([None]) is None


def test_a_group_counts_failures_and_averages_the_rest() -> None:
    """Two seeds of 90 and 94 % and a failed third: mean 92, std sqrt(8), regret 3, images 50, all three lines kept."""
    (group,) = groups(numbered(record("m", 0, 90.0, SKIPS), record("m", 1, 94.0, MIXED), record("m", 2, None)))
    assert (group.ok, group.failed, group.lines) == (2, 1, (1, 2, 3))
    assert group.accuracy is not None
    assert (group.accuracy.mean, group.accuracy.std) == (92.0, pytest.approx(sqrt(8)))
    assert group.accuracies == {METRIC: group.accuracy}
    assert group.regret is not None
    assert group.regret.mean == 3.0
    assert group.percentile is not None
    assert group.percentile.mean == 92.0
    assert group.selection_images is not None
    assert group.selection_images.mean == 50.0
    means = [part.mean for part in (group.free_edges, group.skips, group.pools, group.nones) if part is not None]
    assert means == [(6 + 4) / 2, (6 + 2) / 2, 0.5, 0.5]


def test_a_group_of_failures_has_no_numbers() -> None:
    """Where all failed, every summary is None."""
    (group,) = groups(numbered(record("m", 0, None)))
    assert (group.ok, group.failed, group.accuracy, group.free_edges, dict(group.accuracies)) == (0, 1, None, None, {})


def test_selectors_are_compared_on_the_same_supernets_only() -> None:
    """Gains of +4, 0 and -1 on three shared supernets: mean 1, one each way; a supernet that one lacks is left out."""
    rows = numbered(
        *(record("magnitude", seed, accuracy) for seed, accuracy in enumerate([90.0, 91.0, 92.0, 50.0])),
        *(record("new", seed, accuracy) for seed, accuracy in enumerate([94.0, 91.0, 91.0, None])),
    )
    (entry,) = compare(rows, "magnitude")
    assert (entry.difference.n, entry.difference.mean, entry.difference.std) == (3, 1.0, pytest.approx(sqrt(7)))
    assert (entry.better, entry.equal, entry.worse) == (1, 1, 1)
    assert entry.lines == (5, 6, 7, 1, 2, 3)


def test_records_of_different_metrics_are_not_compared() -> None:
    """An accuracy on CIFAR-100 is never subtracted from one on CIFAR-10."""
    other = replace(record("new", 0, 70.0), metric="cifar100/test/200")
    assert compare(numbered(record("magnitude", 0, 90.0), other), "magnitude") == []


def test_chosen_cells_are_distinct_and_criteria_come_first() -> None:
    """A criterion's cell comes before a control's; of criteria's, the most often chosen one first."""
    rows = numbered(
        record("oracle", 0, 95.0, CONVS, "truth"),
        record("oracle", 1, 95.0, CONVS, "truth"),
        record("a", 0, 60.0, SKIPS),
        record("b", 0, 60.0, SKIPS),
        record("a", 1, 80.0, MIXED),
        record("b", 1, None),
    )
    cells = chosen_cells(rows)
    assert [str(entry.cell) for entry in cells] == [SKIPS, MIXED, CONVS]
    assert [entry.lines for entry in cells] == [(3, 4), (5,), (1, 2)]
    assert [key.selector for key in cells[0].choosers] == ["a", "b"]


def test_choices_of_controls_and_of_tie_breaks_make_no_cell_the_most_often_chosen() -> None:
    """Two criteria's choices count more than one's beside three controls', and a tie-break's choice is nobody's."""
    tied = replace(record("c", 0, 60.0, SKIPS), scores=((0.2,) * 5,) * 6)
    controls = [record("prior", seed, 95.0, CONVS, "blind") for seed in range(3)]
    cells = chosen_cells(numbered(*controls, record("a", 0, 95.0, CONVS), tied, record("a", 1, 80.0, MIXED)))
    assert [(str(entry.cell), entry.by_criteria) for entry in cells] == [(CONVS, 1), (MIXED, 1), (SKIPS, 0)]
    assert most_chosen(cells[0]) == "The cell that criteria chose most often they chose 1 time: 95.00 %."
    assert most_chosen(cells[2]) == "No criterion chose a cell of its own."
    more = chosen_cells(
        numbered(*controls, *(record(name, 0, 80.0, MIXED) for name in "ab"), record("d", 0, 95.0, CONVS))
    )
    assert [(str(entry.cell), entry.by_criteria) for entry in more] == [(MIXED, 2), (CONVS, 1)]


@pytest.mark.parametrize(
    ("operations", "free", "gone"),
    [
        ((1,) * 6, 6, True),
        ((3,) * 6, 0, False),
        ((2,) * 6, 0, False),
        ((1, 1, 4, 2, 3, 1), 4, False),  # three skips and two convolutions
        ((1, 1, 1, 1, 3, 3), 4, True),  # four skips
        ((0, 4, 4, 0, 4, 1), 6, True),  # no convolution
        ((0, 4, 4, 0, 4, 2), 5, False),
    ],
)
def test_edges_without_parameters_are_counted(operations: tuple[int, ...], free: int, gone: bool) -> None:
    """none, skip and pool have no parameters; four skips make a collapsed cell, and so does no convolution."""
    cell = str(Cell(operations))
    assert free_edges(cell) == free
    assert collapsed(cell) == gone


def test_collapse_is_rare_by_chance() -> None:
    """6 % of all cells are collapsed: 3^6 without a convolution, and of those with four or more skips the rest."""
    skips = 15 * 4**2 + 6 * 4 + 1  # of the cells with four or more skips ...
    bare = 15 * 2**2 + 6 * 2 + 1  # ... those without a convolution
    assert sum(collapsed(str(cell)) for cell in every_cell()) == 3**6 + skips - bare == 921


def test_a_trajectory_tells_what_was_lost() -> None:
    """Having passed through 93 % and ended at 60 %, a search has lost 33 points; unknown epochs are left out."""
    search = SearchKey("darts", "digits", 0)
    epochs = [
        EpochRecord(epoch=n, mixture=(), cell=cell, accuracies=accuracies)
        for n, cell, accuracies in [(1, CONVS, {METRIC: 93.0}), (2, MIXED, {}), (3, SKIPS, {METRIC: 60.0})]
    ]
    run = trajectory(search, epochs, METRIC)
    expected = Trajectory(search=search, metric=METRIC, epochs=(1, 3), accuracies=(93.0, 60.0))
    assert run == expected
    assert run.lost == 33.0
    assert trajectory(search, [], METRIC).lost is None
    assert trajectory(search, epochs, None).epochs == ()


def test_the_tables_best_follows_from_any_record() -> None:
    """accuracy + regret is the best cell's accuracy; where no record has both, it is unknown."""
    assert best_in_table([record("m", 0, 90.0), record("m", 1, None)], "digits", METRIC) == 95.0
    assert best_in_table([record("m", 1, None)], "digits", METRIC) is None
    assert main_metric([record("m", 1, None)], "digits") == METRIC


def test_shown_metrics_are_the_test_columns_in_the_benchmarks_order() -> None:
    """Of each data set the test split at its longest training, and what records are judged by."""
    accuracies = dict.fromkeys(
        [
            "imagenet16-120/test/200",
            "cifar10/test/12",
            "cifar10/test/200",
            "cifar10/train/200",
            "cifar10-valid/valid/12",
        ],
        1.0,
    )
    judged = replace(record("m", 0, 90.0), accuracies=accuracies, metric="cifar10/test/12")
    assert shown_metrics([judged]) == [
        "cifar10-valid/valid/12",
        "cifar10/test/12",
        "cifar10/test/200",
        "imagenet16-120/test/200",
    ]
