"""`dartboard truth`. Truth: published numbers, counts of cells by combinatorics, and the files read back."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.ground_truth import GroundTruth, Metric
from dartboard.benchmark.space import CONV3X3, Cell
from dartboard.benchmark.tables.store import load_table, read_table
from dartboard.harness.cli import cli
from dartboard.results.truth import PRIOR, Truth, facts, sentences, truth
from dartboard.results.truth_report import truth_tables, write_truth

METRIC = Metric("cifar10", "test", 200)


@pytest.fixture(scope="module")
def table() -> GroundTruth:
    """The embedded table."""
    return load_table("analog")


@pytest.fixture(scope="module")
def found(table: GroundTruth) -> Truth:
    """What is said of it."""
    return truth(table, METRIC)


@pytest.fixture(scope="module")
def written(found: Truth, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all the files."""
    out = tmp_path_factory.mktemp("truth")
    assert set(write_truth(found, out)) == {path.name for path in out.iterdir()}
    return out


def ask(*arguments: str) -> Any:
    """The JSON of a call."""
    result = CliRunner().invoke(cli, ["truth", "--table", "analog", *arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    return json.loads(result.output, parse_constant=pytest.fail)


def rows(text: str) -> list[dict[str, str]]:
    """The rows of a CSV."""
    return list(csv.DictReader(text.splitlines()))


def test_the_command_tells_the_findings_and_two_tables(
    found: Truth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --out it prints the sentences and the strengths, says that the table is not official, writes nothing."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["truth", "--table", "analog"], catch_exceptions=False)
    assert not list(tmp_path.iterdir())
    assert "not the official table" in result.output
    assert all(sentence in result.output for sentence in sentences(found))
    assert re.search(rf"edge 0 → 1 +{found.strengths['average'][0, 0]:.2f} ", result.output)


def test_json_is_the_same_and_names_the_files(found: Truth, tmp_path: Path) -> None:
    """--json has the facts, without NaN, and the files that --out wrote."""
    told = ask("--out", str(tmp_path / "new" / "folder"))
    assert told.pop("files") == [str(path) for path in map(Path, told_files(tmp_path / "new" / "folder"))]
    assert told == json.loads(json.dumps(facts(found)))
    assert told["metric"] == "cifar10/test/200"
    assert told["table_official"] is False
    assert np.array(told["strength"]["shapley_none"]).shape == (6, 5)


def told_files(out: Path) -> list[str]:
    """The files of `dartboard truth`, in the order in which they are named."""
    figures = ("strength.png", "variance.png", "distribution.png", "groups.png")
    tables = ("strength.csv", "variance.csv", "choices.csv", "shares.csv", "distribution.csv")
    names = ("truth.md", *figures, *tables)
    assert {path.name for path in out.iterdir()} == set(names)
    return [str(out / name) for name in names]


def test_every_file_is_linked(written: Path) -> None:
    """truth.md links each figure and table beside it, and nothing else."""
    text = (written / "truth.md").read_text()
    assert set(re.findall(r"\]\(([^)]+)\)", text)) == {path.name for path in written.iterdir()} - {"truth.md"}
    assert "It is not the official NAS-Bench-201 table." in text


def test_the_same_table_gives_the_same_bytes(found: Truth, table: GroundTruth, written: Path, tmp_path: Path) -> None:
    """Worked out and written again, Markdown and CSV are equal."""
    write_truth(truth(table, METRIC), tmp_path)
    for path in (*written.glob("*.csv"), written / "truth.md"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_the_tables_of_truth_md_are_well_formed(written: Path) -> None:
    """Every row of a Markdown table has as many columns as its head."""
    for block in re.findall(r"(?:^\|.*\n)+", (written / "truth.md").read_text(), re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_the_csv_files_hold_the_numbers(found: Truth) -> None:
    """30 strengths, 63 variances for each space that sum to one, shares that sum to accuracies."""
    files = {name: rows(text) for name, text in truth_tables(found).items()}
    assert len(files["strength.csv"]) == 30
    first = files["strength.csv"][3]
    assert (first["source"], first["target"], first["operation"]) == ("0", "1", "nor_conv_3x3")
    assert float(first["average"]) == pytest.approx(found.strengths["average"][0, CONV3X3], abs=1e-6)
    for space in ("all cells", "without none"):
        shares = [float(row["share"]) for row in files["variance.csv"] if row["space"] == space]
        assert len(shares) == 63
        assert sum(shares) == pytest.approx(1, abs=63e-6)
    best = float(found.accuracies.max())
    for row in files["shares.csv"]:
        base = {"random": found.accuracies.mean(), "best": best, "none": found.accuracies[0]}[row["game"]]
        shares = [float(value) for name, value in row.items() if name.startswith("share_")]
        assert sum(shares) == pytest.approx(float(row["accuracy"]) - base, abs=1e-5)
    sequential = [row for row in files["choices.csv"] if row["rule"] == "edge after edge"]
    assert sum(int(row["orders"]) for row in sequential) == 720
    assert all(float(row["regret"]) == pytest.approx(best - float(row["accuracy"]), abs=2e-6) for row in sequential)


def test_the_groups_are_as_large_as_counting_says(found: Truth) -> None:
    """k of six edges carry an operation in C(6, k) 4^(6-k) cells; 341 have no path, 1,642 no convolution on one."""
    sizes = {name: {spread.label: spread.cells for spread in some} for name, some in found.spreads.items()}
    for name in ("skips", "pools", "nones"):
        assert sizes[name] == {str(k): comb(6, k) * 4 ** (6 - k) for k in range(7)}
    assert sizes["convolutions"] == {str(k): comb(6, k) * 2**k * 3 ** (6 - k) for k in range(7)}
    assert sizes["convolutions on a path"]["no path"] == sizes["edges on a path"]["no path"] == 341
    assert sizes["convolutions on a path"]["0"] == 1642
    assert sizes["space"] == {"all cells": 15625, "without none": 4096}


def test_the_prior_is_the_selectors() -> None:
    """The constant order that is spoken of is the one that the control `prior` has."""
    from dartboard.selectors.prior import ORDER

    assert PRIOR == ORDER


def test_choices_are_ranked_and_looked_up(found: Truth, table: GroundTruth) -> None:
    """Ends and optima come best first, with the table's own accuracy, rank and regret."""
    for choices in (found.sequential, found.optima):
        assert [choice.rank for choice in choices] == sorted(choice.rank for choice in choices)
        for choice in choices:
            assert choice.accuracy == table.lookup(choice.cell, METRIC)
            assert choice.regret == table.regret(choice.cell, METRIC)
    assert found.best in [choice.cell for choice in found.optima]


def test_tables_without_any_order_are_told_too(table: GroundTruth, tmp_path: Path) -> None:
    """A table of one value makes all the files, without NaN and without a warning; so does one good cell among bad."""
    flat = truth(replace(table, accuracy={METRIC: np.full(15625, 50.0)}), METRIC)
    json.dumps(facts(flat), allow_nan=False)
    write_truth(flat, tmp_path)
    assert "nan" not in (tmp_path / "truth.md").read_text()
    spike = np.zeros(15625)
    spike[77] = 100.0
    found = truth(replace(table, accuracy={METRIC: spike}), METRIC)
    json.dumps(facts(found), allow_nan=False)
    assert found.best == Cell.from_number(77)
    assert {choice.accuracy for choice in (*found.edgewise, *found.sequential)} == {100.0}


def test_bad_input_is_refused(tmp_path: Path) -> None:
    """An unknown table or metric, no metric at all and an unwritable folder are errors that quote what was given."""
    (tmp_path / "file").write_text("")
    for arguments, reason in (
        (["--table", "nonesuch"], "nonesuch"),
        (["--metric", "cifar10/test"], "not a metric: 'cifar10/test'"),
        (["--metric", "cifar100/test/200"], "cifar100/test/200"),
        (["--out", str(tmp_path / "file")], "cannot write to"),
    ):
        result = CliRunner().invoke(cli, ["truth", "--table", "analog", *arguments])
        assert isinstance(result.exception, InputError)
        assert reason in str(result.exception)


@pytest.mark.shared_data
def test_the_official_tables_known_numbers(shared_data: Path) -> None:
    """Percentiles, means by skips, convolutions and depth as noted before from another copy of the official table."""
    found = truth(read_table(shared_data / "nb201_official.csv.gz").table, METRIC)
    every, bare = found.spreads["space"]
    noted = {1: 10.0, 5: 73.5, 10: 79.6, 25: 87.6, 75: 92.2, 90: 92.9, 95: 93.3, 99: 93.8}
    assert {percent: round(every.percentiles[percent], 1) for percent in noted} == noted
    means = {name: [round(spread.mean, 2) for spread in some] for name, some in found.spreads.items()}
    assert means["skips"] == [85.95, 87.56, 87.95, 86.59, 82.73, 74.95, 54.30]
    assert means["convolutions"][3:] == [90.75, 92.28, 92.86, 93.21]
    assert [round(spread.std, 2) for spread in found.spreads["convolutions"]][4:] == [1.15, 0.87, 0.60]
    assert means["convolutions on a path"] == [10.0, pytest.approx(76.4, abs=0.05), 88.98, 91.51, 92.53]
    single = {entry.rule: round(entry.accuracy, 2) for entry in found.shares}
    assert single == {
        "best": 94.37, "all conv 3×3": 93.76, "all conv 1×1": 89.37, "all skip": 54.30, "all pool 3×3": 49.02
    }  # fmt: skip
    average = found.edgewise[0]
    assert (average.rank, round(average.regret, 2)) == (166, 0.61)
    best = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
    assert str(found.best) == best
    assert round(bare.mean, 1) == 89.4
