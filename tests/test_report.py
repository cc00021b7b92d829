"""The report, from records to files. Truth: a stored report of stored records, byte for byte; sums by hand."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import pytest
from click.testing import CliRunner

from dartboard.benchmark.errors import InputError
from dartboard.harness.cli import cli
from dartboard.results.records import (
    RunHeader,
    RunKey,
    RunRecord,
    append_record,
    read_records,
    records_path,
    search_folder,
    write_header,
)
from dartboard.results.report import write_figure, write_report
from dartboard.results.rundata import read_run
from dartboard.results.samples import SELECTORS, sample_run
from dartboard.results.wording import choosers, count, listed, mean_std, seeds

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the stored run folder."""
    out = tmp_path_factory.mktemp("report")
    write_report(GOLDEN / "report-run", out)
    return out


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", sorted(path.name for path in (GOLDEN / "report").iterdir()))
def test_stored_records_give_the_stored_report(written: Path, name: str) -> None:
    """Markdown, tables and summary come out byte for byte as stored."""
    assert (written / name).read_bytes() == (GOLDEN / "report" / name).read_bytes()


def test_every_file_of_a_report_is_named_in_it(written: Path) -> None:
    """report.md links each figure and table beside it, and nothing else; each figure is a PNG."""
    text = (written / "report.md").read_text()
    linked = set(re.findall(r"\]\(([^)]+)\)", text))
    assert linked == {path.name for path in written.iterdir()} - {"report.md"}
    assert {path.name for path in (GOLDEN / "report").iterdir()} == {
        path.name for path in written.iterdir() if path.suffix in (".csv", ".json", ".md")
    }
    for path in written.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_results_agree_with_the_records_they_name(written: Path) -> None:
    """Mean and deviation of each row are those of the accuracies on the lines that it names."""
    lines = [json.loads(line) for line in records_path(GOLDEN / "report-run").read_text().splitlines()]
    table = rows(written / "results.csv")
    assert sum(len(row["lines"].split()) for row in table) == len(lines)
    for row in table:
        named = [lines[int(line) - 1] for line in row["lines"].split()]
        assert {(n["searcher"], n["selector"]) for n in named} == {(row["searcher"], row["selector"])}
        values = [n["accuracy_cifar100_test_200"] for n in named if n["status"] == "ok"]
        assert float(row["accuracy_cifar100_test_200_mean"]) == pytest.approx(fmean(values), abs=5e-7)
        spread = row["accuracy_cifar100_test_200_std"]
        assert (float(spread) if spread else None) == (
            pytest.approx(stdev(values), abs=5e-7) if len(values) > 1 else None
        )


def test_a_report_replaces_the_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    """Figures that the new report has no more are gone; a file of the user's stays."""
    out = tmp_path / "out"
    write_report(sample_run(tmp_path / "two", searchers=("darts", "gdas"), seeds=(0,), epochs=1), out)
    (out / "mine.png").write_bytes(b"mine")
    assert (out / "mixture-digits-gdas.png").exists()
    write_report(sample_run(tmp_path / "one", seeds=(0,), epochs=1), out)
    assert not (out / "mixture-digits-gdas.png").exists()
    assert (out / "mine.png").read_bytes() == b"mine"


def test_an_unofficial_table_is_called_so_before_any_number_is_read(tmp_path: Path) -> None:
    """The answer's own section says that the table is not the official one; with the official one it does not."""
    for official in (False, True):
        folder = sample_run(tmp_path / str(official), seeds=(0,), epochs=1, official=official)
        report = write_report(folder)
        text = report.path.read_text()
        assert ("not the official NAS-Bench-201 table" in text.split("## ")[0]) != official
        assert ("not the official NAS-Bench-201 table" in report.page.read_text().split("<main>")[0]) != official
        assert ("made-up, the official one" in text) == official


def test_all_failed_is_a_report_too(tmp_path: Path) -> None:
    """Where every run failed, the report says so, names each error, and shows the epochs that were trained."""
    report = write_report(sample_run(tmp_path, seeds=(0, 1), epochs=2, fails=lambda key: True))
    assert (report.ok, report.failed) == (0, 12)
    assert report.findings["digits"] == [
        "No run came to a cell: all 12 failed, the first with: ValueError: the scores hold NaN, which ranks nothing."
    ]
    assert set(report.figures) == {"trajectory-digits.png", "mixture-digits-darts.png"}
    assert report.path.read_text().count("which ranks nothing |") == 12


def test_the_heat_map_stands_after_the_answer(tmp_path: Path) -> None:
    """The heat map of each data set stands before all other figures; where every run failed there is none."""
    both = ("darts", "gdas")
    report = write_report(sample_run(tmp_path / "two", searchers=both, seeds=(0, 1), epochs=1))
    assert report.figures[0] == "heat-map-digits.png"
    text = report.path.read_text()
    assert text.index("\n- ") < text.index("(heat-map-digits.png)") < text.index("## What was run")
    none = write_report(sample_run(tmp_path / "none", searchers=both, seeds=(0,), epochs=1, fails=lambda key: True))
    assert not any(name.startswith("heat-map") for name in none.figures)


def test_one_figure_is_made_by_the_command_beside_it(tmp_path: Path) -> None:
    """Each figure's own command writes its pages and its tables, the same bytes as in the report, and nothing else."""
    folder = sample_run(tmp_path / "run", selectors={"magnitude": None, "prior": "blind"}, seeds=(0, 1), epochs=2)
    report = write_report(folder)
    commands = re.findall(r"`dartboard report DIR --only ([^`]+)`", report.path.read_text())
    assert {f"{name}.png" for name in commands} >= {name for name in report.figures if name[-5] != "1"}
    out = tmp_path / "one"
    result = CliRunner().invoke(cli, ["report", str(folder), "--only", "selection-digits", "--out", str(out)])
    assert sorted(path.name for path in out.iterdir()) == ["records.csv", "results.csv", "selection-digits.png"]
    assert sorted(result.output.split()) == sorted(str(path) for path in out.iterdir())
    for path in out.iterdir():
        assert path.read_bytes() == (report.path.parent / path.name).read_bytes()
    with pytest.raises(InputError, match="unknown figure 'selektion-digits'"):
        write_figure(folder, "selektion-digits", out)


def test_several_run_folders_are_compared(tmp_path: Path) -> None:
    """Two folders make one report: each method is called by its folder, each record tells its line."""
    some = {"magnitude": None, "prior": "blind"}
    folders = [sample_run(tmp_path / name, selectors=some, seeds=(0, 1), epochs=1) for name in ("a", "b")]
    with pytest.raises(InputError, match="a report of several run folders needs --out"):
        write_report(folders)
    report = write_report(folders, tmp_path / "out")
    assert report.path.read_text().startswith("# a and b: report\n")
    assert report.ok == 8
    table = rows(tmp_path / "out" / "records.csv")
    assert [row["line"] for row in table] == [str(n) for n in range(1, 9)]
    assert {(row["folder"], row["searcher"]) for row in table} == {("a", "darts [a]"), ("b", "darts [b]")}
    assert {row["folder_line"] for row in table if row["folder"] == "b"} == {"1", "2", "3", "4"}


def test_missing_epochs_are_told(tmp_path: Path) -> None:
    """A search whose epochs are gone is named, and the rest is reported."""
    folder = sample_run(tmp_path, seeds=(0, 1), epochs=2)
    shutil.rmtree(folder / "searches" / "darts--digits--seed1")
    text = write_report(folder).path.read_text()
    assert "No epochs are recorded for darts on digits, seed 1." in text
    shutil.rmtree(folder / "searches")
    assert "trajectory-digits.png" not in write_report(folder).figures


def test_records_alone_are_enough(tmp_path: Path) -> None:
    """Without grid.json and epochs the report has its tables all the same, under the folder's name."""
    folder = sample_run(tmp_path / "bare", seeds=(0, 1), epochs=1)
    (folder / "grid.json").unlink()
    shutil.rmtree(folder / "searches")
    text = write_report(folder).path.read_text()
    assert text.startswith("# bare: report\n")
    assert "| darts | magnitude | 2 / 0 |" in text


def test_nothing_recorded_says_what_to_run(tmp_path: Path) -> None:
    """An empty folder, a missing one and an unwritable target are errors of the user's kind."""
    with pytest.raises(InputError, match=r"nothing is recorded in .* yet; run: dartboard run GRID --out"):
        write_report(tmp_path)
    with pytest.raises(InputError, match=r"no run folder at .*nowhere"):
        write_report(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write a report to"):
        write_report(GOLDEN / "report-run", tmp_path / "file")


def test_names_of_any_kind_are_safe(tmp_path: Path) -> None:
    """Bars, dollars and brackets in names break no table, no figure and no file name."""
    names = {"magnitude": None, "a|b(c=$1, d=$2)": None, "x<y": None, "prior": "blind"}
    folder = sample_run(tmp_path, searchers=("darts(lr=1)", "darts(lr 1)"), selectors=names, seeds=(0,), epochs=1)
    report = write_report(folder)
    assert "mixture-digits-darts-lr-1.png" in report.figures
    assert "mixture-digits-darts-lr-1_2.png" in report.figures
    text = report.path.read_text()
    assert "a\\|b(c=$1, d=$2)" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    page = report.page.read_text()
    assert "x&lt;y" in page
    assert "x<y" not in page.split("<script")[0]


def test_the_order_of_a_report_is_the_grids(tmp_path: Path) -> None:
    """However the lines came, the rows are in the grid's order, controls last."""
    folder = sample_run(tmp_path, seeds=(1, 0), epochs=1)
    records_path(folder).write_text("".join(reversed(records_path(folder).read_text().splitlines(keepends=True))))
    run = read_run(folder)
    assert [record.selector for _, record in run.records] == [name for name in SELECTORS for _ in range(2)]
    assert [record.seed for _, record in run.records] == [0, 1] * len(SELECTORS)


def test_words() -> None:
    """Numbers and lists are written in one way each."""
    assert count(1, "seed") == "1 seed"
    assert count(1200, "criterion", "criteria") == "1,200 criteria"
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert seeds([3]) == "seed 3"
    assert seeds([5, 0, 1, 2, 7]) == "seeds 0-2, 5, 7"
    assert mean_std(None) == "-"
    keys = [RunKey("darts", "digits", seed, name) for seed in (0, 1) for name in ("a", "b")]
    assert choosers(keys) == ["darts / a (seeds 0-1)", "darts / b (seeds 0-1)"]


def test_the_command_tells_the_answer(tmp_path: Path) -> None:
    """`dartboard report` prints the findings and where the report is; --json the same as JSON."""
    folder = sample_run(tmp_path / "run", seeds=(0,), epochs=1)
    plain = CliRunner().invoke(cli, ["report", str(folder), "--out", str(tmp_path / "here")])
    assert plain.exit_code == 0
    assert "Supernet or selection?" in plain.output
    assert str(tmp_path / "here" / "report.html") in plain.output
    facts = json.loads(CliRunner().invoke(cli, ["report", str(folder), "--json"]).output)
    assert Path(facts["report"]) == folder / "report" / "report.md"
    assert Path(facts["page"]) == folder / "report" / "report.html"
    assert (facts["ok"], facts["failed"]) == (6, 0)
    assert sorted(facts["tables"]) == sorted(path.name for path in (folder / "report").glob("*.csv"))


def test_status_counts_what_is_done_failed_and_left(tmp_path: Path) -> None:
    """Of 18 runs, 5 have a cell, 1 failed and 12 are left when one of three searches is over and one is half done."""
    folder = sample_run(tmp_path, epochs=4, fails=lambda key: key.selector == "perturbation")
    kept = [line for line in records_path(folder).read_text().splitlines(keepends=True) if '"seed": 0,' in line]
    records_path(folder).write_text("".join(kept))
    for seed, epochs in ((1, 2), (2, 0)):
        path = folder / "searches" / f"darts--digits--seed{seed}" / "epochs.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:epochs]))
    facts = json.loads(CliRunner().invoke(cli, ["status", str(folder), "--json"]).output)
    assert (facts["ok"], facts["failed"], facts["left"]) == (5, 1, 12)
    assert [(s["seed"], s["epochs"], s["of_epochs"], s["left"]) for s in facts["searches"]] == [
        (0, 4, 4, 0),
        (1, 2, 4, 6),
        (2, 0, 4, 6),
    ]
    plain = CliRunner().invoke(cli, ["status", str(folder)]).output
    assert re.search(r"darts +digits +1 +2 of 4 +0 +0 +6", plain)
    assert "5 of 18 runs done, 1 failed, 12 left" in plain


def test_status_counts_records_of_a_wider_grid(tmp_path: Path) -> None:
    """Records that today's grid does not ask for are shown, and nothing of them is left."""
    folder = sample_run(tmp_path, seeds=(0,), epochs=1)
    append_record(folder, replace(read_records(folder)[0], seed=7))
    facts = json.loads(CliRunner().invoke(cli, ["status", str(folder), "--json"]).output)
    assert facts["searches"][-1] == {
        "searcher": "darts",
        "dataset": "digits",
        "seed": 7,
        "epochs": 0,
        "of_epochs": 1,
        "queries": None,
        "of_queries": None,
        "ok": 1,
        "failed": 0,
        "left": 0,
    }


def test_status_counts_the_cells_of_a_search_that_trains_no_supernet(tmp_path: Path) -> None:
    """Its line tells trained cells where others tell epochs: none before its record, those it asked for after."""
    options = {"searchers": {"random-search": {"queries": True, "budget": 20}}}
    header = RunHeader(
        name="x", preset="smoke", searchers=("random-search",), selectors=(), datasets=("digits",), seeds=(0, 1),
        options=options,
    )  # fmt: skip
    write_header(tmp_path, header)
    record = RunRecord(
        searcher="random-search", dataset="digits", seed=0, selector="queries", status="ok", queries=18
    )  # fmt: skip
    append_record(tmp_path, record)
    plain = CliRunner().invoke(cli, ["status", str(tmp_path)]).output
    assert re.search(r"random-search +digits +0 +18 of 20 cells +1 +0 +0", plain)
    assert re.search(r"random-search +digits +1 +0 of 20 cells +0 +0 +1", plain)


def test_status_of_no_run_folder_is_an_error(tmp_path: Path) -> None:
    """A folder without grid.json is no run folder, and the error says how to make one."""
    result = CliRunner().invoke(cli, ["status", str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert "it has no grid.json; make one with: dartboard run" in str(result.exception)


def test_an_epoch_file_that_is_broken_is_named(tmp_path: Path) -> None:
    """A malformed epoch stops the report with its file and line."""
    folder = sample_run(tmp_path, seeds=(0,), epochs=2)
    path = search_folder(folder, read_run(folder).searches[0]) / "epochs.jsonl"
    path.write_text("{}\n" + path.read_text())
    with pytest.raises(InputError, match=r"epochs\.jsonl: line 1: missing field\(s\): epoch, mixture, cell"):
        write_report(folder)
