"""`dartboard bench table --against official`: what it compares and refuses; never the clock."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.ground_truth import Metric
from dartboard.benchmark.space import SPACE_SIZE, Cell
from dartboard.benchmark.tables.store import load_compact, save_compact
from dartboard.benchmark.tables.synthetic import make_document, save_pth
from dartboard.harness import bench_table
from dartboard.harness.bench import Settings
from dartboard.harness.bench_table import TITLES, compare, convert, load_official, measure_memory, measure_table
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
    peak, added = measure_memory("load", file)
    assert peak is not None
    assert added is not None
    size = COLUMNS * SPACE_SIZE * np.dtype(float).itemsize / 2**20
    assert size < added < size + 20
    assert added < peak


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
