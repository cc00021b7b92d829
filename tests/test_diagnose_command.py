"""`dartboard diagnose` and its like: the trained supernets of a finished run, measured later."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from dartboard.benchmark.catalogue import Entry
from dartboard.benchmark.errors import InputError
from dartboard.harness.checkpoints import save_state
from dartboard.harness.cli import cli
from dartboard.harness.commands.diagnose import cost_lines
from dartboard.harness.diagnostics import growth
from dartboard.harness.diagnostics._subject import Measurement, Subject
from dartboard.harness.grid import Method, Overrides, read_grid
from dartboard.harness.prepare import prepare_searcher, settings
from dartboard.harness.recorded import recorded_grid
from dartboard.results.diagnostics import Cost, diagnostics_path, read_diagnostics
from dartboard.results.records import RunHeader, read_header, write_header
from dartboard.searchers._catalogue import SEARCHERS
from dartboard.selectors._catalogue import SELECTORS

SEARCH = "darts-v1--digits--seed0"


def dartboard(*arguments: str) -> Result:
    """The command line, in this process."""
    return CliRunner().invoke(cli, [*arguments], catch_exceptions=False)


def run(folder: Path, *arguments: str) -> None:
    """The smoke grid on 32 + 32 images."""
    sizes = [part for key in ("train", "valid") for part in ("--set", f"images.{key}_images=32")]
    chosen = ("--searcher", "darts-v1", "--selector", "magnitude", "--no-report", "--device", "cpu")
    seeds = () if "--seeds" in arguments else ("--seeds", "0")
    assert dartboard("run", "smoke", "--out", str(folder), *chosen, *seeds, *sizes, *arguments).exit_code == 0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with the cheap diagnostics, which are the default."""
    folder = tmp_path_factory.mktemp("finished")
    run(folder)
    return folder


def test_a_finished_run_is_measured_from_its_checkpoints(finished: Path, tmp_path: Path) -> None:
    """What is measured later is what the run itself would have measured; the rest of the folder stays as it was."""
    whole = tmp_path / "whole"
    run(whole, "--diagnostics", "cheap,rank-correlation")
    kept = {name: (finished / name).read_bytes() for name in ("records.jsonl", f"searches/{SEARCH}/epochs.jsonl")}
    told = dartboard("diagnose", str(finished), "--diagnostics", "rank-correlation", "--device", "cpu", "--json")
    assert told.exit_code == 0
    rows = {row["name"]: row for row in json.loads(told.stdout)}
    assert rows["rank-correlation"]["measured"] == 1
    assert rows["rank-correlation"]["images"] == 20 * 32
    assert rows["mixture"]["measured"] == 2
    later, alike = (
        next(r for r in read_diagnostics(folder / "searches" / SEARCH) if r.name == "rank-correlation")
        for folder in (finished, whole)
    )
    assert later.values == alike.values
    assert kept == {name: (finished / name).read_bytes() for name in kept}
    header = read_header(finished)
    assert header is not None
    assert header.options["diagnostics"]["rank-correlation"] == {"cells": 20, "images": 32, "every": None}
    before = diagnostics_path(finished / "searches" / SEARCH).read_bytes()
    assert dartboard("diagnose", str(finished), "--diagnostics", "rank-correlation", "--device", "cpu").exit_code == 0
    assert diagnostics_path(finished / "searches" / SEARCH).read_bytes() == before


def test_options_of_a_diagnostic_are_set_by_its_name(tmp_path: Path) -> None:
    """`--set NAME.OPTION=VALUE` counts over the preset; other options later are refused."""
    run(tmp_path, "--diagnostics", "none")
    arguments = ("diagnose", str(tmp_path), "--diagnostics", "rank-correlation", "--device", "cpu")
    assert dartboard(*arguments, "--set", "rank-correlation.cells=7").exit_code == 0
    (record,) = read_diagnostics(tmp_path / "searches" / SEARCH)
    assert record.values["cells"] == 7
    with pytest.raises(InputError, match="its diagnostic rank-correlation is"):
        dartboard(*arguments, "--set", "rank-correlation.cells=8")


def test_what_is_there_is_shown_without_measuring(finished: Path) -> None:
    """`--diagnostics none` prints one line for each diagnostic, under its headings, and one for all."""
    before = diagnostics_path(finished / "searches" / SEARCH).read_bytes()
    told = dartboard("diagnose", str(finished), "--diagnostics", "none")
    lines = told.stdout.splitlines()
    assert lines[0].split()[:3] == ["diagnostic", "measured", "failed"]
    assert lines[1].split()[:2] == ["mixture", "2"]
    assert lines[-1].split()[0] == "all"
    assert diagnostics_path(finished / "searches" / SEARCH).read_bytes() == before


def test_the_table_of_costs_by_hand() -> None:
    """Numbers stand under their headings, thousands have commas, and the last line adds up."""
    costs = [Cost("mixture", 50, 0, 0, 0, 0.1), Cost("landscape", 2, 1, 25088, 0, 3.0)]
    assert cost_lines(costs) == [
        "diagnostic  measured  failed  images  with gradients  seconds  seconds each",
        "mixture           50       0       0               0      0.1         0.002",
        "landscape          2       1  25,088               0      3.0         1.500",
        "all               52       1  25,088               0      3.1",
    ]


def test_folders_that_cannot_be_measured_are_refused(tmp_path: Path, finished: Path) -> None:
    """A folder that is no run, one of an older version, and an unknown diagnostic each end in one line."""
    with pytest.raises(InputError, match=r"is no run folder: it has no grid\.json"):
        dartboard("diagnose", str(tmp_path))
    with pytest.raises(InputError, match="unknown diagnostic 'landscapes'; did you mean 'landscape'"):
        dartboard("diagnose", str(finished), "--diagnostics", "landscapes")
    header = read_header(finished)
    assert header is not None
    old = {name: value for name, value in header.options.items() if name != "sources"}
    write_header(tmp_path / "old", dataclasses.replace(header, options=old))
    with pytest.raises(InputError, match=r"begun by an older Dartboard, whose grid\.json has no sources"):
        dartboard("diagnose", str(tmp_path / "old"))


def test_settings_that_nothing_heeds_are_refused(finished: Path) -> None:
    """Options of a diagnostic that is not asked for, or of none at all, end in one line."""
    with pytest.raises(InputError, match="unknown diagnostic to set options of 'landscape'"):
        dartboard("diagnose", str(finished), "--diagnostics", "mixture", "--set", "landscape.images=3")
    with pytest.raises(InputError, match=r"measures nothing: --set landscape\.images=3 has no use"):
        dartboard("diagnose", str(finished), "--diagnostics", "none", "--set", "landscape.images=3")
    with pytest.raises(InputError, match=r"a setting is NAME\.OPTION=VALUE, like .*; got 'images=3'"):
        dartboard("diagnose", str(finished), "--set", "images=3")
    for option in (("--device", "cpu"), ("--jobs", "2"), ("--retry-failed",), ("--plugin", "mine.py")):
        with pytest.raises(InputError, match=f"measures nothing: {option[0]} has no use"):
            dartboard("diagnose", str(finished), "--diagnostics", "none", *option)


def test_a_checkpoint_of_another_version_is_named_and_the_others_are_measured(tmp_path: Path) -> None:
    """What it holds does not fit the searcher: one line names the file, and the next supernet has its turn."""
    run(tmp_path, "--seeds", "0-1", "--diagnostics", "none")
    path = tmp_path / "searches" / SEARCH / "checkpoint.pt"
    save_state(path, {"epoch": 2, "valid_accuracy": 50.0})
    told = dartboard("diagnose", str(tmp_path), "--diagnostics", "mixture", "--device", "cpu")
    assert told.exit_code == 1
    assert re.search(r"seed 0: failed: .*checkpoint\.pt does not fit this version of darts-v1 .*remove it", told.stderr)
    assert len(told.stderr.splitlines()) == 2
    measured = read_diagnostics(tmp_path / "searches" / SEARCH.replace("seed0", "seed1"))
    assert [record.epoch for record in measured] == [1, 2]
    sizes = [part for key in ("train", "valid") for part in ("--set", f"images.{key}_images=32")]
    chosen = ["--searcher", "darts-v1", "--selector", "magnitude", "--seeds", "0-1", "--diagnostics", "mixture", *sizes]
    again = dartboard("run", "smoke", "--out", str(tmp_path), "--no-report", "--device", "cpu", *chosen)
    assert again.exit_code == 1
    assert "1 supernets could not be measured" in again.stderr
    path.unlink()
    told = dartboard("diagnose", str(tmp_path), "--diagnostics", "mixture", "--device", "cpu")
    assert "darts-v1 on digits, seed 0: it keeps no checkpoint" in told.stderr


def test_a_diagnostic_that_changes_the_supernet_ends_in_a_line(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured later, too, it is named, and the exit code is 1."""

    def meddling(subject: Subject) -> Measurement:
        torch.rand(1)
        return Measurement({})

    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    diagnostics_path(folder / "searches" / SEARCH).unlink()
    monkeypatch.setattr(growth, "measure", meddling)
    told = dartboard("diagnose", str(folder), "--diagnostics", "growth", "--device", "cpu")
    assert told.exit_code == 1
    assert "the diagnostic growth changed what it must leave alone: torch's global random state" in told.stderr


def test_a_method_whose_plug_in_is_not_at_hand_is_named(finished: Path, tmp_path: Path) -> None:
    """A run of a plug-in's searcher or selector says which plug-in to give."""
    header = read_header(finished)
    assert header is not None
    for part, own in (("searchers", header.options["searchers"]["darts-v1"]), ("selectors", {})):
        told = {**own, "method": "mine", "origin": "the plug-in mine.py (sha256 00)"}
        methods = {**header.options[part], "mine": told}
        changed = dataclasses.replace(
            header,
            options={**header.options, part: methods},
            **{part: (*getattr(header, part), "mine")},
        )
        write_header(tmp_path / part, changed)
        with pytest.raises(InputError, match=rf"the {part[:-1]} 'mine' of this run came from the plug-in mine\.py"):
            dartboard("select", str(tmp_path / part))


def test_a_folder_without_diagnostics_says_so(tmp_path: Path) -> None:
    """Nothing is made up."""
    write_header(tmp_path, RunHeader(name="x", preset="smoke", searchers=(), selectors=(), datasets=(), seeds=()))
    assert "has no diagnostics" in dartboard("diagnose", str(tmp_path), "--diagnostics", "none").stdout


def test_the_list_shows_each_diagnostic_with_its_cost() -> None:
    """One line each under headings, and the same as JSON."""
    lines = dartboard("list", "diagnostics").stdout.splitlines()
    assert lines[0].split() == ["NAME", "WHEN", "COST", "SUMMARY"]
    rows = json.loads(dartboard("list", "diagnostics", "--json").stdout)
    assert [line.split()[0] for line in lines[1:]] == [row["name"] for row in rows]
    for line, row in zip(lines[1:], rows, strict=True):
        assert row["cost"] in line
        assert row["cheap"] == ("each epoch" in line)


@pytest.mark.parametrize("entry", [entry for entry in SEARCHERS if not entry.queries], ids=lambda entry: entry.name)
def test_a_header_brings_every_search_method_back(entry: Entry) -> None:
    """The configuration that grid.json holds, read back as JSON, is the configuration that was run."""
    grid = read_grid("smoke", Overrides(searchers=(entry.name,)), searchers=SEARCHERS, selectors=SELECTORS)
    (method,) = grid.searchers
    first = prepare_searcher(method)
    told = json.loads(json.dumps(settings(method, first.factory.name, first.config)))
    options = {
        "searchers": {entry.name: told},
        "sources": {"digits": "digits"},
        "sizes": {"exactly": {}, "at_most": dict(grid.at_most)},
        "table": None,
        "metric": None,
        "precision": "float32",
        "channels": 4,
        "cells_per_stage": 1,
    }
    header = RunHeader(
        name="x",
        preset="smoke",
        searchers=(entry.name,),
        selectors=(),
        datasets=("digits",),
        seeds=(0,),
        options=options,
    )
    again = recorded_grid(header, SEARCHERS)
    assert isinstance(again.searchers[0], Method)
    second = prepare_searcher(again.searchers[0])
    assert second.label == entry.name
    assert second.factory.__name__ == first.factory.__name__
    assert json.dumps(settings(again.searchers[0], second.factory.name, second.config)) == json.dumps(told)
    assert (again.seeds, again.at_most) == ((0,), grid.at_most)
