"""Run folders read for a report. Truth: the folders that were written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dartboard.benchmark.errors import InputError
from dartboard.results.failure_modes.thresholds import thresholds_of
from dartboard.results.records import append_record, read_header, read_records, write_header
from dartboard.results.rundata import called, read_run, read_runs
from dartboard.results.samples import sample_run

SOME = {"magnitude": None, "prior": "blind"}


def test_one_folder_is_read_as_it_is(tmp_path: Path) -> None:
    """A single folder's search methods keep their names, and its records their lines."""
    folder = sample_run(tmp_path / "a", selectors=SOME, seeds=(0,), epochs=1)
    assert read_runs([folder]) == read_run(folder)
    assert not read_run(folder).origins


def test_several_folders_keep_everything_under_their_names(tmp_path: Path) -> None:
    """Records, epochs and the grids' options of both folders are there, each under its method's name and folder."""
    folders = [sample_run(tmp_path / name, selectors=SOME, seeds=(0, 1), epochs=2) for name in ("a", "b")]
    run = read_runs(folders)
    assert {record.searcher for _, record in run.records} == {"darts [a]", "darts [b]"} == set(run.header.searchers)
    assert len(run.searches) == 4
    assert all(len(run.epochs[search]) == 2 for search in run.searches)
    for number, record in run.records:
        name, line = run.origins[number]
        original = read_records(tmp_path / name)[line - 1]
        assert record == replace(original, searcher=called(original.searcher, name))


def test_folders_of_one_name_are_told_apart_by_their_parents(tmp_path: Path) -> None:
    """x/run and y/run are called so."""
    folders = [sample_run(tmp_path / name / "run", selectors=SOME, seeds=(0,), epochs=1) for name in ("x", "y")]
    assert list(read_runs(folders).folders) == ["x/run", "y/run"]


def test_what_the_grids_set_differently_is_nobodys(tmp_path: Path) -> None:
    """Options of a selector, and thresholds, that two grids set alike are kept; where they differ neither counts."""
    folders = []
    for name, criterion, skips in (("a", "accuracy", 5), ("b", "loss", 6), ("c", "accuracy", 5)):
        folder = sample_run(tmp_path / name, selectors=SOME, seeds=(0,), epochs=1)
        header = read_header(folder)
        assert header is not None
        options = {"selectors": {"magnitude": {"criterion": criterion}}, "thresholds": {"skips": skips}}
        write_header(folder, replace(header, options=options))
        folders.append(folder)
    one, other, like = folders
    alike = read_runs([one, like]).header
    assert alike is not None
    assert (alike.options["selectors"], alike.options["thresholds"]) == (
        {"magnitude": {"criterion": "accuracy"}},
        {"skips": 5},
    )
    for mixed in ([one, other], [one, other, like]):
        run = read_runs(mixed)
        assert run.header is not None
        assert run.header.options["selectors"] == {"magnitude": {}}
        assert thresholds_of(run).skips == 4


def test_different_truths_are_not_put_side_by_side(tmp_path: Path) -> None:
    """A folder named twice, another table and another metric are refused, each with its name."""
    one = sample_run(tmp_path / "a", selectors=SOME, seeds=(0,), epochs=1)
    with pytest.raises(InputError, match="named twice"):
        read_runs([one, one])
    for name, changes, told in (
        ("b", {"table_sha256": "1" * 64, "table": "other"}, r"\(a by made-up, b by other\)"),
        ("c", {"metric": "cifar100/test/200"}, r"\(a by cifar10/test/200, c by cifar100/test/200\)"),
    ):
        other = sample_run(tmp_path / name, selectors=SOME, seeds=(0,), epochs=1)
        for record in read_records(other):
            append_record(other, replace(record, **changes))
        with pytest.raises(InputError, match=told):
            read_runs([one, other])
