"""The searches side by side. Truth: three small searches, worked out by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from dartboard.benchmark.space import Cell
from dartboard.results.board import boards
from dartboard.results.records import (
    EpochRecord,
    RunRecord,
    SearchKey,
    append_epoch,
    append_record,
    search_folder,
)
from dartboard.results.report import write_report
from dartboard.results.rundata import read_run
from dartboard.results.searches import after, searched, searches_table

METRIC = "cifar10/test/200"
SKIPS, CONVS = str(Cell((1,) * 6)), str(Cell((3,) * 6))
ACCURACIES = (90.0, 93.5, 92.0, 93.5, 91.0, 80.0, 54.25, 54.3)


def folder(path: Path) -> Path:
    """A run of three searches: one that collapses in its sixth epoch, one twice as slow, one that never moves."""
    searches = {
        "darts-v1": [(SKIPS if e >= 6 else CONVS, ACCURACIES[e - 1], 2.0 + e % 2) for e in range(1, 9)],
        "slow": [(CONVS, 93.0, 5.0), (CONVS, 93.0, 5.0)],
        "still": [(SKIPS, 54.3, 1.0)],
    }
    for line, (searcher, epochs) in enumerate(searches.items()):
        key = SearchKey(searcher=searcher, dataset="digits", seed=0)
        append_record(
            path,
            RunRecord(
                searcher=searcher,
                dataset="digits",
                seed=0,
                selector="magnitude",
                status="ok",
                cell=CONVS,
                accuracies={METRIC: 90.0 + line},
                metric=METRIC,
                accuracy=90.0 + line,
                regret=4.0 - line,
            ),
        )
        for epoch, (cell, accuracy, seconds) in enumerate(epochs, start=1):
            row = (0.2,) * 5 if searcher == "still" else (0.1, 0.3, 0.2, 0.2, 0.2)
            append_epoch(
                search_folder(path, key),
                EpochRecord(
                    epoch=epoch,
                    mixture=(row,) * 6,
                    cell=cell,
                    accuracies={METRIC: accuracy},
                    valid_accuracy=40.0 + epoch,
                    seconds=seconds,
                ),
            )
    return path


def test_searches_are_summed_up_as_by_hand(tmp_path: Path) -> None:
    """Worth after each quarter, the first best epoch, the collapse and the median seconds are those of the epochs."""
    (board,) = boards(read_run(folder(tmp_path)))
    darts, slow, still = searched(board)
    assert darts.accuracies == (93.5, 93.5, 80.0, 54.3)  # after epochs 2, 4, 6 and 8
    assert (darts.best, darts.best_epoch, darts.collapsed_from, darts.epochs) == (93.5, 2, 6, 8)
    assert darts.lost == pytest.approx(39.2)
    assert (darts.epoch_seconds, darts.epoch_ratio, darts.supernet_accuracy) == (2.5, 1.0, 48.0)
    assert (slow.accuracies, slow.best_epoch, slow.collapsed_from) == ((93.0,) * 4, 1, None)
    assert (slow.epoch_seconds, slow.epoch_ratio) == (5.0, 2.0)
    assert still.tied
    assert (still.accuracies, still.best, still.lost, still.collapsed_from) == ((None,) * 4, None, None, None)


def test_without_the_reference_there_is_no_ratio(tmp_path: Path) -> None:
    """Seconds stand alone where `darts-v1` was not run, and the table has no column for their ratio."""
    run = read_run(folder(tmp_path))
    (board,) = boards(run.kept([row for row in run.records if row[1].searcher == "slow"]))
    assert [row.epoch_ratio for row in searched(board)] == [None]
    table = searches_table(board)
    assert table is not None
    assert table.head[-1] == "seconds an epoch"
    assert {len(row) for row in table.rows} == {len(table.head)}


@pytest.mark.parametrize(("part", "epochs", "expected"), [(0.25, 1, 1), (0.25, 50, 12), (0.75, 50, 38), (1.0, 7, 7)])
def test_a_part_ends_with_the_nearest_epoch(part: float, epochs: int, expected: int) -> None:
    """A quarter of 50 epochs ends with the 12th; of one epoch, with that one."""
    assert after(part, epochs) == expected


def test_the_report_has_a_row_for_each_search(tmp_path: Path) -> None:
    """searches.csv has the three searches, and each names its records' lines."""
    write_report(folder(tmp_path / "run"), tmp_path / "report")
    with (tmp_path / "report" / "searches.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["searcher"], row["accuracy_75"], row["tied"], row["lines"]) for row in rows] == [
        ("darts-v1", "80.0", "False", "1"),
        ("slow", "93.0", "False", "2"),
        ("still", "", "True", "3"),
    ]
