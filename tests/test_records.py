"""Records: what is written is what is read, whatever cuts the power. Truth: the bytes on the disk."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dartboard.benchmark.errors import InputError
from dartboard.results.json_lines import accuracy_field, accuracy_metric, from_json, to_json, write_json
from dartboard.results.records import (
    EpochRecord,
    RunHeader,
    RunKey,
    RunRecord,
    SearchKey,
    append_epoch,
    append_record,
    comparable,
    finished_keys,
    header_path,
    keep_epochs,
    numbered_records,
    read_epochs,
    read_header,
    read_records,
    records_path,
    search_folder,
    write_header,
)

RECORD = RunRecord(
    searcher="darts",
    dataset="digits",
    seed=3,
    selector="magnitude",
    status="ok",
    cell="|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    accuracies={"imagenet16-120/test/200": 47.31, "cifar10/test/200": 94.37},
    metric="cifar10/test/200",
    accuracy=94.37,
    regret=0.0,
    rank=1,
    percentile=100.0,
    scores=((0.5, None), (0.25, 1.0)),
    trace=({"edge": 2, "kept": "skip_connect"},),
    notes={"order": [1, 2]},
    search_seconds=1.5,
    selection_memory_mb=0.5,
    peak_memory_mb=3.25,
    finished_at="2026-01-01T00:00:00+00:00",
)
DOCS = Path(__file__).resolve().parents[1] / "docs" / "records.md"
EPOCH = EpochRecord(epoch=1, mixture=((0.5, 0.5), (0.1, 0.9)), cell="x", accuracies={"cifar10/test/200": 90.0})


def test_a_record_survives_the_file(tmp_path: Path) -> None:
    """A record that is appended is read back equal."""
    append_record(tmp_path, RECORD)
    assert read_records(tmp_path) == [RECORD]


def test_a_record_is_flat_json() -> None:
    """Accuracies are fields of their own, sorted, and nothing but scores, trace and notes is nested."""
    values = to_json(RECORD)
    assert values["accuracy_cifar10_test_200"] == 94.37
    assert values["accuracy_imagenet16_120_test_200"] == 47.31
    assert "accuracies" not in values
    assert {name for name, value in values.items() if isinstance(value, list | dict)} == {"scores", "trace", "notes"}
    assert [name for name in values if name.startswith("accuracy_")] == [
        "accuracy_cifar10_test_200",
        "accuracy_imagenet16_120_test_200",
    ]


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    """-inf, inf and NaN, numpy's too, are null in the file, which stays strict JSON."""
    odd = replace(
        RECORD,
        scores=np.array([[-np.inf, 1.0], [np.nan, 2.0]]),  # type: ignore[arg-type]  # what an engine would hand over
        notes={"gap": math.inf, "n": np.int64(3)},
        search_seconds=math.nan,
    )
    append_record(tmp_path, odd)
    line = records_path(tmp_path).read_text()
    values = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert values["scores"] == [[None, 1.0], [None, 2.0]]
    assert values["notes"] == {"gap": None, "n": 3}
    assert values["search_seconds"] is None


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(min_value=0, max_value=2000))
def test_a_torn_last_line_is_passed_over_and_removed(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """Wherever the last line is cut, the others are read, and an append leaves whole lines only."""
    folder = tmp_path_factory.mktemp("run")
    path = records_path(folder)
    append_record(folder, RECORD)
    whole = path.read_bytes()
    second = replace(RECORD, seed=4)
    append_record(folder, second)
    both = path.read_bytes()
    path.write_bytes(both[: min(len(whole) + cut, len(both))])
    kept = read_records(folder)
    assert kept in ([RECORD], [RECORD, second])
    assert (second in kept) == (len(whole) + cut >= len(both) - 1)  # all but the newline is a whole record
    third = replace(RECORD, seed=5)
    append_record(folder, third)
    assert read_records(folder) == [*kept, third]
    assert [json.loads(line)["seed"] for line in path.read_bytes().splitlines()] == [r.seed for r in [*kept, third]]


def test_a_malformed_middle_line_is_named(tmp_path: Path) -> None:
    """A broken line that is not the last is an error with file, line and value."""
    append_record(tmp_path, RECORD)
    good = records_path(tmp_path).read_text()
    for broken, reason in {
        "{\n": "line 2: Expecting",
        "[1]\n": r"line 2: expected a JSON object; got \[1\]",
        good.replace('"seed": 3', '"seed": "three"'): "line 2: field 'seed' cannot be \"three\"",
        good.replace('"seed": 3', '"seed": true'): "line 2: field 'seed' cannot be true",
        good.replace('"status": "ok"', '"status": "fine"'): "line 2: field 'status' cannot be \"fine\"",
        good.replace('"searcher": "darts", ', ""): r"line 2: missing field\(s\): searcher",
        good.replace('"rank"', '"rang"'): "line 2: unknown field 'rang'",
        good.replace('"schema_version": 1', '"schema_version": 2'): "line 2: schema_version is 2",
        good.replace("accuracy_cifar10_test_200", "accuracy_of"): "line 2: not an accuracy_",
    }.items():
        records_path(tmp_path).write_text(good + broken + good)
        with pytest.raises(InputError, match=reason):
            read_records(tmp_path)


def test_of_one_key_the_last_line_counts(tmp_path: Path) -> None:
    """A run that was tried again is read once, with its last outcome and that line's number."""
    failed = replace(RECORD, status="failed", error="boom")
    other = replace(RECORD, seed=9)
    for record in (failed, other, RECORD):
        append_record(tmp_path, record)
    assert numbered_records(tmp_path) == [(2, other), (3, RECORD)]


def test_finished_keys_can_leave_failures_out(tmp_path: Path) -> None:
    """A failed run is finished, unless it is asked for runs that came to a cell."""
    append_record(tmp_path, replace(RECORD, status="failed", error="boom"))
    key = RunKey("darts", "digits", 3, "magnitude")
    assert finished_keys(tmp_path) == {key}
    assert finished_keys(tmp_path, failed=False) == set()


def test_an_empty_folder_has_no_records(tmp_path: Path) -> None:
    """Where nothing was written there are no records, no epochs and no header."""
    assert read_records(tmp_path) == []
    assert read_epochs(tmp_path) == []
    assert read_header(tmp_path) is None


def test_comparable_leaves_the_measurements_out() -> None:
    """Two executions that differ in times, memory and date only are equal when compared."""
    again = replace(RECORD, search_seconds=9.0, selection_seconds=1.0, peak_memory_mb=1.0, finished_at="later")
    assert again != RECORD
    assert comparable(again) == comparable(RECORD)
    assert comparable(replace(RECORD, rank=2)) != comparable(RECORD)
    assert set(to_json(RECORD)) - set(comparable(RECORD)) == {
        "search_seconds",
        "selection_seconds",
        "selection_memory_mb",
        "peak_memory_mb",
        "finished_at",
    }


@given(
    dataset=st.sampled_from(["cifar10", "cifar10-valid", "cifar100", "imagenet16-120"]),
    split=st.sampled_from(["train", "valid", "test"]),
    epochs=st.integers(min_value=1, max_value=10**6),
)
def test_metrics_and_fields_are_inverse(dataset: str, split: str, epochs: int) -> None:
    """Each metric of the benchmark has a field of its own and comes back from it."""
    metric = f"{dataset}/{split}/{epochs}"
    assert accuracy_field(metric) == f"accuracy_{dataset.replace('-', '_')}_{split}_{epochs}"
    assert accuracy_metric(accuracy_field(metric)) == metric


@pytest.mark.parametrize("metric", ["cifar10", "cifar10/test", "cifar_10/test/200", "cifar10/test/many", "/test/200"])
def test_what_is_no_metric_is_refused(metric: str) -> None:
    """A metric that could not come back from its field is refused with its text."""
    with pytest.raises(InputError, match=metric):
        accuracy_field(metric)


def test_epochs_count_up_and_can_be_cut_back(tmp_path: Path) -> None:
    """Epochs are read in order; a checkpoint of fewer epochs drops the rest; a gap is an error."""
    for epoch in (1, 2, 3):
        append_epoch(tmp_path, replace(EPOCH, epoch=epoch))
    keep_epochs(tmp_path, 2)
    assert read_epochs(tmp_path) == [EPOCH, replace(EPOCH, epoch=2)]
    append_epoch(tmp_path, replace(EPOCH, epoch=5))
    with pytest.raises(InputError, match="line 3 should be epoch 3, and is epoch 5"):
        read_epochs(tmp_path)


def test_keeping_epochs_needs_no_file(tmp_path: Path) -> None:
    """A search that has no epochs yet has none to drop."""
    keep_epochs(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_header_survives_the_file(tmp_path: Path) -> None:
    """A header is read back equal, and a malformed one is an error with its path."""
    header = RunHeader(
        name="quick",
        preset="smoke",
        searchers=("darts",),
        selectors=("magnitude",),
        datasets=("digits",),
        seeds=(0, 1),
        search_epochs={"darts": 2},
        images={"digits": {"source": "scikit-learn"}},
    )
    write_header(tmp_path, header)
    assert read_header(tmp_path) == header
    header_path(tmp_path).write_text('{"name": 3}')
    with pytest.raises(InputError, match=r"grid\.json: field 'name' cannot be 3"):
        read_header(tmp_path)


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """A value that cannot be written leaves the old file as it was, and no other beside it."""
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_search_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """The folder's name tells searcher, data set and seed."""
    assert search_folder(tmp_path, SearchKey("darts", "digits", 3)) == tmp_path / "searches" / "darts--digits--seed3"


def test_integers_are_read_as_floats_where_floats_are_meant() -> None:
    """JSON written by hand may say 94 for 94.0."""
    values = to_json(RECORD) | {"accuracy": 94}
    accuracy = from_json(RunRecord, values).accuracy
    assert isinstance(accuracy, float)
    assert accuracy == 94.0


@pytest.mark.parametrize("kind", [RunRecord, EpochRecord, RunHeader])
def test_every_field_is_documented(kind: type[RunRecord | EpochRecord | RunHeader]) -> None:
    """docs/records.md has a table row for each field of each file."""
    rows = re.findall(r"^\| (`.+?) \|", DOCS.read_text(), flags=re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert {field.name for field in fields(kind)} - {"accuracies"} <= documented
    assert "`accuracy_<dataset>_<split>_<epochs>`" in rows


def test_results_import_neither_torch_nor_drawing_libraries() -> None:
    """Reading records, progress and baselines imports no torch, matplotlib or pandas; figures import no torch."""
    light = "import dartboard.results.report, dartboard.results.baseline, dartboard.results.progress, sys; "
    heavy = "import dartboard.results.figures_budget, dartboard.results.figures_search, dartboard.results.samples; "
    code = (
        light
        + "assert not {'torch', 'matplotlib', 'pandas', 'sklearn'} & set(sys.modules); "
        + heavy
        + "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
