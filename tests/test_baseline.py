"""The regression gate: whatever moves is told, and nothing else. Truth: the move that the test makes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dartboard.benchmark.errors import InputError
from dartboard.harness.cli import cli
from dartboard.results.baseline import differences, expectations, read_baseline, write_baseline
from dartboard.results.records import RunKey, append_record, read_records
from dartboard.results.samples import sample_run

KEY = RunKey("darts", "digits", 0, "magnitude")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of twelve records, one of them failed."""
    return sample_run(
        tmp_path / "run", seeds=(0, 1), epochs=2, fails=lambda key: (key.seed, key.selector) == (1, "perturbation")
    )


@pytest.fixture
def baseline(folder: Path, tmp_path: Path) -> Path:
    """What that run chose."""
    path = tmp_path / "baseline.json"
    write_baseline(folder, path)
    return path


def change(folder: Path, key: RunKey = KEY, **fields: object) -> None:
    """Record one run again, with other fields."""
    record = next(record for record in read_records(folder) if record.key == key)
    append_record(folder, replace(record, **fields))  # type: ignore[arg-type]  # each test names real fields


def check(folder: Path, baseline: Path, *options: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["check", str(folder), "--baseline", str(baseline), *options])


def test_the_same_run_is_equal(folder: Path, baseline: Path) -> None:
    """A run that moved in nothing but its measurements passes, failures included."""
    change(folder, search_seconds=99.0, finished_at="another day", torch_version="9.9")
    result = check(folder, baseline)
    assert (result.exit_code, result.output) == (0, "12 runs, all as before\n")
    assert json.loads(check(folder, baseline, "--json").output) == {"equal": True, "compared": 12, "differences": []}


def test_another_cell_is_told_with_both_cells_and_accuracies(folder: Path, baseline: Path) -> None:
    """The difference names the run, the cell and accuracy that were, and those that are."""
    before = next(record for record in read_records(folder) if record.key == KEY)
    cell = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    change(folder, cell=cell, accuracy=10.0)
    result = check(folder, baseline)
    assert result.exit_code == 1
    assert result.output == (
        "darts on digits, seed 0, magnitude: another cell\n"
        f"    was {before.cell}  {before.accuracy:.4f} % on cifar10/test/200\n"
        f"    is  {cell}  10.0000 % on cifar10/test/200\n"
        f"1 of 12 runs differ from {baseline}\n"
    )
    (entry,) = json.loads(check(folder, baseline, "--json").output)["differences"]
    assert (entry["kind"], entry["selector"], entry["seed"]) == ("cell", "magnitude", 0)
    assert (entry["before"]["cell"], entry["after"]["cell"]) == (before.cell, cell)


def test_an_accuracy_may_move_within_the_tolerance_only(folder: Path, baseline: Path) -> None:
    """Without a tolerance the least move counts; with one, a smaller move does not, and another cell always does."""
    before = next(record for record in read_records(folder) if record.key == KEY)
    assert before.accuracy is not None
    change(folder, accuracy=before.accuracy + 0.05)
    assert check(folder, baseline).exit_code == 1
    assert "another accuracy" in check(folder, baseline).output
    assert check(folder, baseline, "--tolerance", "0.1").exit_code == 0
    assert check(folder, baseline, "--tolerance", "0.01").exit_code == 1
    change(folder, cell="|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    assert check(folder, baseline, "--tolerance", "100").exit_code == 1


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"status": "failed", "error": "boom", "cell": None, "accuracy": None}, "failed", "fails now"),
        ({"metric": "cifar100/test/200"}, "metric", "was cifar10/test/200, is cifar100/test/200"),
        ({"table_sha256": "1" * 64}, "table", "another table (SHA-256 was 000000000000, is 111111111111)"),
        ({"table_sha256": None}, "table", "is unknown"),
    ],
)
def test_every_kind_of_difference_is_told(
    folder: Path, baseline: Path, fields: dict[str, object], kind: str, words: str
) -> None:
    """A run that fails now, another metric and another table are differences of their own."""
    change(folder, **fields)
    (entry,) = differences(read_baseline(baseline), expectations(folder))
    assert entry.kind == kind
    assert words in str(entry)


def test_a_run_that_works_now_is_told(folder: Path, baseline: Path) -> None:
    """A run that failed in the baseline and came to a cell is a difference, too."""
    other = next(record for record in read_records(folder) if record.key == KEY)
    key = RunKey("darts", "digits", 1, "perturbation")
    change(folder, key, status="ok", error=None, cell=other.cell, accuracy=other.accuracy)
    (entry,) = differences(read_baseline(baseline), expectations(folder))
    assert (entry.key, entry.kind) == (key, "mended")
    assert "failed before" in str(entry)


def test_missing_and_new_runs_are_told(folder: Path, baseline: Path, tmp_path: Path) -> None:
    """A run that only one side has is a difference, sorted among the others."""
    append_record(folder, replace(read_records(folder)[0], seed=9))
    document = json.loads(baseline.read_text())
    gone = {**document["runs"][0], "selector": "zzz"}
    baseline.write_text(json.dumps({**document, "runs": [*document["runs"], gone]}))
    found = differences(read_baseline(baseline), expectations(folder))
    assert [(entry.key.seed, entry.key.selector, entry.kind) for entry in found] == [
        (0, "zzz", "missing"),
        (9, "magnitude", "new"),
    ]
    assert "missing, not recorded; was |" in str(found[0])
    assert "new, not in the baseline: |" in str(found[1])


def test_a_baseline_is_readable_and_sorted(folder: Path, baseline: Path) -> None:
    """The file holds cell, accuracy, metric and table of each run, sorted by key, and comes back equal."""
    document = json.loads(baseline.read_text())
    keys = [(run["searcher"], run["dataset"], run["seed"], run["selector"]) for run in document["runs"]]
    assert keys == sorted(keys)
    assert set(document["runs"][0]) == {
        *("searcher", "dataset", "seed", "selector", "status", "cell", "metric", "accuracy", "table_sha256")
    }
    assert read_baseline(baseline) == expectations(folder)


def test_the_command_creates_a_baseline(folder: Path, baseline: Path, tmp_path: Path) -> None:
    """`dartboard baseline create` writes the same file, and says how many runs of it failed."""
    path = tmp_path / "new" / "baseline.json"
    result = CliRunner().invoke(cli, ["baseline", "create", str(folder), "--out", str(path)])
    assert (result.exit_code, result.output) == (0, f"{path}: 12 runs, 1 of them failed\n")
    assert path.read_bytes() == baseline.read_bytes()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot read the baseline .*: No such file"),
        ("{", "is no baseline: Expecting"),
        ("[]", "is no baseline of version 1"),
        ('{"baseline_version": 1}', "malformed: KeyError"),
        ('{"baseline_version": 1, "runs": [{}]}', "malformed: KeyError"),
        ('{"baseline_version": 1, "runs": [7]}', "malformed: TypeError"),
        (
            '{"baseline_version": 1, "runs": [{"searcher": "s", "dataset": "d", "seed": 0, "selector": "m",'
            ' "status": "ok", "cell": "c", "metric": "m", "accuracy": "high", "table_sha256": null}]}',
            "accuracy.* cannot be .*high",
        ),
    ],
)
def test_what_is_no_baseline_is_refused(tmp_path: Path, content: str | None, reason: str) -> None:
    """A missing, broken or foreign file is an error that names it."""
    path = tmp_path / "b.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=reason):
        read_baseline(path)


def test_a_baseline_of_one_run_twice_is_refused(baseline: Path) -> None:
    """Two expectations of one run cannot both be right."""
    document = json.loads(baseline.read_text())
    baseline.write_text(json.dumps({**document, "runs": document["runs"] * 2}))
    with pytest.raises(InputError, match="holds a run twice"):
        read_baseline(baseline)


@pytest.mark.parametrize("tolerance", ["-1", "nan"])
def test_a_tolerance_is_a_number_of_points(folder: Path, baseline: Path, tolerance: str) -> None:
    """A negative tolerance, and one that is no number, would compare nothing rightly, and are refused."""
    assert isinstance(check(folder, baseline, "--tolerance", tolerance).exception, InputError)


def test_an_empty_run_is_no_baseline(tmp_path: Path) -> None:
    """Nothing recorded is an error, not an empty baseline that everything passes."""
    with pytest.raises(InputError, match="nothing is recorded"):
        write_baseline(tmp_path, tmp_path / "b.json")
