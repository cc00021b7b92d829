"""The sentences over the figures. Truth: numbers small enough to be worked out by hand, beside each test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dartboard.benchmark.space import Cell
from dartboard.results import takeaways
from dartboard.results.blame import blame
from dartboard.results.board import Board, boards, collapse_epoch, space_regrets
from dartboard.results.records import EpochRecord, RunKey, SearchKey, append_record, read_records
from dartboard.results.report import write_figure
from dartboard.results.rundata import read_run
from dartboard.results.samples import SELECTORS, sample_run
from dartboard.results.statistics import friedman

COLLAPSED = str(Cell((1,) * 6))
SOUND = str(Cell((3,) * 6))


def board_with(tmp_path: Path, accuracies: dict[str, list[float | None]]) -> Board:
    """A board of these accuracies by selector, one for each seed; None is a failure. The best cell has 95 %."""
    count = max(map(len, accuracies.values()))
    names = {name: SELECTORS.get(name) for name in accuracies}
    folder = sample_run(tmp_path / "run", selectors=names, seeds=range(count), epochs=2)
    template = {record.key: record for record in read_records(folder)}
    for selector, values in accuracies.items():
        for seed, value in enumerate(values):
            record = template[RunKey("darts", "digits", seed, selector)]
            if value is None:
                append_record(folder, replace(record, status="failed", error="boom", cell=None, accuracy=None))
            else:
                append_record(
                    folder, replace(record, accuracy=value, regret=95.0 - value, percentile=90.0 if value > 80 else 9.0)
                )
    (board,) = boards(read_run(folder))
    return board


def test_the_heat_maps_sentence_names_the_best_square_as_picked_afterwards(tmp_path: Path) -> None:
    """Of magnitude (60 and 80: 70) and perturbation (90 twice), perturbation is told, and of how many."""
    board = board_with(tmp_path, {"magnitude": [60.0, 80.0], "perturbation": [90.0, 90.0], "prior": [94.0, 94.0]})
    assert takeaways.heat_map(board) == (
        "perturbation with darts, the best of 2 squares, picked after the fact, has 90.00 % [90.00, 90.00] over "
        "2 supernets; magnitude has 70.00 % [60.00, 80.00] on the same search method."
    )


def test_a_square_of_one_supernet_does_not_win_over_several(tmp_path: Path) -> None:
    """A criterion with a cell from one supernet only is not called the best."""
    board = board_with(tmp_path, {"magnitude": [60.0, 80.0], "perturbation": [94.0, None]})
    assert takeaways.heat_map(board).startswith("magnitude with darts has 70.00 %")


def test_the_strips_sentence_counts_supernets(tmp_path: Path) -> None:
    """Gains of 30 and 10 over magnitude: on both supernets, 20 in the median, 30 at most; controls do not count."""
    accuracies = {"magnitude": [60.0, 80.0], "perturbation": [90.0, 90.0], "oracle": [95.0, 95.0]}
    assert takeaways.selections(board_with(tmp_path / "a", dict(accuracies))) == (
        "On 2 of 2 supernets some other criterion chose a better cell than magnitude: in the median 20.00 points "
        "better, 30.00 at most."
    )
    worse = board_with(tmp_path / "b", {"magnitude": [60.0], "perturbation": [50.0]})
    assert takeaways.selections(worse) == ("On the one supernet no other criterion chose a better cell than magnitude.")
    alone = board_with(tmp_path / "c", {"magnitude": [60.0]})
    assert takeaways.selections(alone).startswith("There is no supernet on which magnitude and another criterion")


def test_the_costs_sentence_names_the_cheapest_near_the_best(tmp_path: Path) -> None:
    """Magnitude costs nothing; within a point of the best it is told, else the best itself."""
    near = board_with(tmp_path / "a", {"magnitude": [89.5, 89.5], "perturbation": [90.0, 90.0]})
    assert "magnitude is the cheapest: 89.50 % for 0 images." in takeaways.costs(near)
    far = board_with(tmp_path / "b", {"magnitude": [60.0, 60.0], "perturbation": [90.0, 90.0]})
    assert takeaways.costs(far).startswith(
        "perturbation has the best cells, 90.00 %, and no cheaper criterion comes within one point of it"
    )


def test_a_search_that_pushed_no_image_is_no_measure_of_a_cost(tmp_path: Path) -> None:
    """Where nothing was trained, the cost is told in images alone, and the figure has no line for the training."""
    folder = sample_run(tmp_path / "run", selectors={"perturbation": None}, epochs=0)
    (board,) = boards(read_run(folder))
    assert takeaways.costs(board).endswith("images.")
    assert write_figure(folder, f"cost-{board.slug}", tmp_path / "out")


def test_the_distributions_sentence_counts_cells_below_the_median(tmp_path: Path) -> None:
    """One of two cells of magnitude is below the median, none of perturbation's."""
    board = board_with(tmp_path, {"magnitude": [60.0, 90.0], "perturbation": [90.0, 90.0]})
    assert takeaways.distributions(board) == (
        "Below the space's median cell are 1 of 2 cells of magnitude and 0 of 2 cells of perturbation (the fewest)."
    )


def test_blame_is_told_in_its_parts(tmp_path: Path) -> None:
    """Magnitude's regrets 35 and 15 (25 on average), of which 30 and 10 (20) are the selection's: 80 percent."""
    board = board_with(tmp_path, {"magnitude": [60.0, 80.0], "perturbation": [90.0, 90.0]})
    said = takeaways.blames(blame(board.records, "digits"))
    assert "magnitude's mean regret of 25.00 [15.00, 35.00] points, 20.00 are the selection's (80 % of it)" in said
    assert said.endswith("and 5.00 no criterion got out of the supernet.")


def test_one_criterion_alone_is_not_split(tmp_path: Path) -> None:
    """Regrets of 35 and 15 with nobody beside it: 25 points, of which no part is the supernet's or the selection's."""
    board = board_with(tmp_path, {"magnitude": [60.0, 80.0], "prior": [94.0, 94.0]})
    assert takeaways.blames(blame(board.records, "digits")) == (
        "magnitude is the only criterion, so that its regret of 25.00 [15.00, 35.00] has no parts."
    )


def test_what_was_not_lost_has_no_size(tmp_path: Path) -> None:
    """After a single epoch nothing can have been lost, and no number of points is told."""
    (board,) = boards(read_run(sample_run(tmp_path, selectors={"magnitude": None}, seeds=(0,), epochs=1)))
    assert takeaways.trajectories(board).endswith("at least 1 point better than its last one.")


def test_ranks_are_claimed_only_where_the_test_tells_them_apart() -> None:
    """Three treatments in the same order on ten blocks are told apart; on two blocks nothing is."""
    names = ["a", "b", "c"]
    clear = takeaways.critical_differences(friedman([[3.0, 2.0, 1.0]] * 10), names)
    assert clear.startswith("a ranks first on average (1.00 of 3) over 10 supernets; it is told apart from c ")
    assert "no order is claimed" in takeaways.critical_differences(friedman([[3.0, 2.0, 1.0]] * 2), names)


def epoch(number: int, cell: str) -> EpochRecord:
    """An epoch whose argmax is that cell."""
    return EpochRecord(epoch=number, mixture=((0.1, 0.3, 0.2, 0.2, 0.2),) * 6, cell=cell)


@pytest.mark.parametrize(
    ("cells", "start"),
    [
        ([], None),
        ([SOUND, SOUND], None),
        ([COLLAPSED, SOUND], None),
        ([SOUND, COLLAPSED, COLLAPSED], 2),
        ([COLLAPSED, SOUND, COLLAPSED], 3),
        ([COLLAPSED], 1),
    ],
)
def test_a_collapse_begins_where_it_stays(cells: list[str], start: int | None) -> None:
    """The epoch from which on every cell has collapsed; a passing collapse does not count."""
    assert collapse_epoch([epoch(n, cell) for n, cell in enumerate(cells, start=1)]) == start


def test_mixtures_are_told_by_the_last_argmax() -> None:
    """Six skips on one supernet and six 3x3 convolutions on another: three edges each on average."""
    assert takeaways.mixtures([[epoch(1, COLLAPSED)], [epoch(1, SOUND)]]) == (
        "Of the six edges the last epoch's largest weight is that of skip on 3 and conv 3×3 on 3, on average over "
        "2 supernets."
    )


def test_landscapes_and_ranks_are_told_by_their_medians() -> None:
    """Rises 0.1, 0.2 and 0.6 have the median 0.2; τ of -0.1 and 0.3 the median 0.1."""
    keys = [SearchKey("darts", "digits", seed) for seed in range(3)]
    rises = {key: {"rise": rise, "radii": [-2.0, 2.0]} for key, rise in zip(keys, (0.6, 0.1, 0.2), strict=True)}
    assert takeaways.landscapes(rises) == (
        "At a distance of 2 the validation loss is +0.200 nats off its value at the trained architecture (median over "
        "3 supernets; +0.100 to +0.600)."
    )
    taus = {key: {"by_accuracy": {"kendall": tau}} for key, tau in zip(keys, (0.3, -0.1, None), strict=True)}
    assert "Kendall's τ = 0.10 " in takeaways.rank_scatters(taus)
    assert "median over 2 supernets, -0.10 to 0.30" in takeaways.rank_scatters(taus)


def test_the_whole_space_is_shown_only_of_the_very_table(tmp_path: Path) -> None:
    """The embedded table gives 15,625 regrets from 0 on; another SHA-256, or a table that is not here, gives none."""
    from dartboard.benchmark.tables.store import load_table

    record = read_records(sample_run(tmp_path, selectors={"magnitude": None}, seeds=(0,), epochs=1))[0]
    table = load_table("analog").provenance
    here = replace(record, table=table.name, table_sha256=table.sha256)
    found = space_regrets([here], "cifar10/test/200")
    assert found is not None
    assert (found.shape, found.min()) == ((15_625,), 0.0)
    assert space_regrets([replace(here, table_sha256="0" * 64)], "cifar10/test/200") is None
    assert space_regrets([record], "cifar10/test/200") is None
