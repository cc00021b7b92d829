"""`dartboard bench table --against official`: what it compares and refuses; never the clock."""

from __future__ import annotations

import json
import os
import weakref
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.ground_truth import Metric
from dartboard.benchmark.space import SPACE_SIZE, Cell
from dartboard.benchmark.tables import synthetic
from dartboard.benchmark.tables.store import load_compact, save_compact
from dartboard.benchmark.tables.synthetic import make_document, save_pth, write_pth
from dartboard.harness import bench_table
from dartboard.harness.bench import Settings
from dartboard.harness.bench_import import GOAL_MB, ImportReport, Point, measure_import
from dartboard.harness.bench_table import TITLES, compare, convert, load_official, measure_alone, measure_table
from dartboard.harness.cli import main

TINY = Settings(rounds=1)
COLUMNS = 2 * 11 + 3 * 4  # train and test on four data sets, validation on three, twice; three costs on each


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of two cells, and its compact table beside it."""
    path = save_pth(make_document(2), tmp_path_factory.mktemp("table") / "x.pth", legacy=True)
    convert(path)
    return path


def test_a_report_has_each_row_its_ratio_and_equal_numbers() -> None:
    """Every number of two cells is equal; the ratio is the API's median over the row's; memory was not asked for."""
    report = measure_table(TINY, 2, memory=False)
    assert (report.compared, report.equal, report.largest_difference) == (2 * COLUMNS, 2 * COLUMNS, 0)
    rows = {row.name: row for row in report.rows}
    assert list(rows) == list(TITLES)
    for name, row in rows.items():
        base = rows["official-load" if name in bench_table.LOADS else "official-query"]
        assert row.ratio == (None if row is base else pytest.approx(base.seconds / row.seconds))
        assert row.low <= row.seconds <= row.high
        assert row.added_memory_mb is None
    assert report.goals()["load_mb"] is None
    assert f"{2 * COLUMNS} of {2 * COLUMNS} numbers equal to the last bit" in report.as_text()[-2]


def test_the_converted_table_has_all_cells_and_those_of_the_file_are_the_apis(file: Path) -> None:
    """15,625 values of each column; the two cells' own are what the API answers."""
    table, api = load_compact(file.with_suffix(".npz")), load_official(file)
    assert table.accuracy[Metric("cifar10", "test", 200)].shape == (SPACE_SIZE,)
    for text in api.meta_archs:
        theirs = api.get_more_info(text, "cifar100", hp="12", is_random=False)["valid-accuracy"]
        assert table.lookup(Cell.parse(text), Metric("cifar100", "valid", 12)) == theirs


def test_a_wrong_number_is_found(file: Path, tmp_path: Path) -> None:
    """One value of one cell made a half greater is one unequal number, of relative difference 1/2."""
    other = tmp_path / "x.pth"
    other.symlink_to(file)
    table = load_compact(file.with_suffix(".npz"))
    number = Cell.parse(load_official(file).meta_archs[1]).number
    column = table.parameters["cifar10"].copy()
    column[number] *= 1.5
    save_compact(replace(table, parameters={**table.parameters, "cifar10": column}), tmp_path / "x.npz")
    compared, equal, largest = compare(other)
    assert (compared, equal) == (2 * COLUMNS, 2 * COLUMNS - 1)
    assert largest == pytest.approx(0.5)


def test_pytorch_is_as_strict_as_before(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that lets the API load its file is afterwards what it was."""
    name = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    monkeypatch.delenv(name, raising=False)
    load_official(file)
    assert name not in os.environ
    monkeypatch.setenv(name, "0")
    load_official(file)
    assert os.environ[name] == "0"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process's memory")
def test_loading_the_compact_table_takes_little_memory(file: Path) -> None:
    """A process of its own holds the table's columns, and not much more than them."""
    _, peak, added = measure_alone("load", file, "wall")
    assert peak is not None
    assert added is not None
    size = COLUMNS * SPACE_SIZE * np.dtype(float).itemsize / 2**20
    assert size < added < size + 20
    assert added < peak


def test_a_file_written_cell_by_cell_is_torchs_to_the_last_byte(tmp_path: Path) -> None:
    """What is written in the memory of one cell is what torch.save writes of the whole document."""
    whole = save_pth(make_document(3), tmp_path / "whole.pth", legacy=True)
    assert write_pth(3, tmp_path / "parts.pth").read_bytes() == whole.read_bytes()


def test_writing_cell_by_cell_keeps_no_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a cell is made, at most the first one and the one before it are still in memory."""
    alive: list[weakref.ref[Any]] = []
    most = 0

    def make(index: int, cell: str) -> dict[str, Any]:
        nonlocal most
        most = max(most, sum(ref() is not None for ref in alive))
        states = OrderedDict(full=cell, less=index)
        alive.append(weakref.ref(states))
        return states

    monkeypatch.setattr(synthetic, "make_states", make)
    write_pth(50, tmp_path / "x.pth")
    assert len(alive) == 50
    assert most <= 2


def test_the_import_is_measured_on_three_sizes() -> None:
    """A quarter, half and all of the cells, each in a process of its own; the file grows in proportion."""
    report = measure_import(TINY, 8)
    assert [point.cells for point in report.points] == [2, 4, 8]
    assert report.points[2].file_mb == pytest.approx(4 * report.points[0].file_mb, rel=0.5)
    for point in report.points:
        assert point.seconds > 0
        if point.peak_memory_mb is not None:
            assert point.added_memory_mb is not None
            assert 0 < point.added_memory_mb < point.peak_memory_mb


@pytest.mark.parametrize(
    ("growth_mb", "slope_kb", "expected_mb", "goal"),
    [
        (100, 102.4, 500 + 0.1 * (SPACE_SIZE - 2000), "reached"),
        (200, 204.8, 600 + 0.2 * (SPACE_SIZE - 2000), "not reached"),
        (-10, -10.24, 390, "reached"),
    ],
)
def test_the_slope_tells_what_the_published_file_takes(
    growth_mb: int, slope_kb: float, expected_mb: float, goal: str
) -> None:
    """From 1,000 to 2,000 cells by hand; a file never takes less than a smaller one did."""
    report = ImportReport(
        machine="made",
        points=tuple(
            Point(cells=cells, file_mb=1, seconds=1, peak_memory_mb=peak, added_memory_mb=1)
            for cells, peak in ((1000, 400), (2000, 400 + growth_mb))
        ),
    )
    assert report.slope_kb == pytest.approx(slope_kb)
    assert report.expected_mb == pytest.approx(expected_mb)
    assert report.as_text()[-1].endswith(f"the goal of {GOAL_MB:,} MiB is {goal}")
    assert report.as_json()["expected_mb"] == report.expected_mb


def test_where_memory_is_not_told_there_is_no_slope() -> None:
    """The times are there all the same."""
    point = Point(cells=4, file_mb=1, seconds=2, peak_memory_mb=None, added_memory_mb=None)
    report = ImportReport(machine="made", points=(point, replace(point, cells=8)))
    assert report.as_json()["expected_mb"] is None
    assert report.as_text()[-1].startswith("no slope")


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the package."""
    monkeypatch.setattr(bench_table, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install nas-bench-201"):
        measure_table(TINY, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table", "--against", "reference"], "'table' cannot be measured --against reference"),
        (["step", "--against", "official"], "'step' cannot be measured --against official"),
        (["table", "--cells", "5"], "'table' has no use for --cells"),
        (["table", "--no-memory"], "'table' has no use for --no-memory"),
        (["table", "--against", "official", "--channels", "4"], "'table' has no use for --channels"),
        (["table", "--against", "official", "--cells", "0"], "--cells: from 1 to 15,625; got 0"),
        (["import", "--cells", "3"], "--cells: from 4 to 15,625; got 3"),
        (["import", "--rounds", "3"], "'import' has no use for --rounds"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One clear line, and the exit status of a user's error."""
    with pytest.raises(SystemExit) as caught:
        main(["bench", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_json_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` has the rows, the comparison and the goals."""
    with pytest.raises(SystemExit) as caught:
        main(["bench", "table", "--against", "official", "--cells", "1", "--rounds", "1", "--no-memory", "--json"])
    assert not caught.value.code
    found = json.loads(capsys.readouterr().out)
    assert found["equal"] == found["compared"] == COLUMNS
    assert {row["name"] for row in found["rows"]} == set(TITLES)
    assert set(found["goals"]) == set(bench_table.GOALS)
