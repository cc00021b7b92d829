"""Diagnostics on the disk: what is written is what is read, and a checkpoint's epoch is where they go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from dartboard.benchmark.errors import InputError
from dartboard.results.diagnostics import (
    Cost,
    DiagnosticRecord,
    append_diagnostic,
    by_epoch,
    diagnostics_path,
    keep_diagnostics,
    none_predictions,
    of_trained,
    read_costs,
    read_diagnostics,
)


def record(name: str, epoch: int | None, **values: object) -> DiagnosticRecord:
    """A record of 8 images."""
    return DiagnosticRecord(name=name, epoch=epoch, values=values, images=8, gradient_images=4, diagnostic_seconds=0.5)


def test_a_diagnostic_survives_the_file(tmp_path: Path) -> None:
    """Records that are appended are read back equal and in order; a number that is not finite is null."""
    written = [record("mixture", 1, entropy=[0.5, 1.0]), record("alpha-hessian", None, trace=2.0)]
    for one in written:
        append_diagnostic(tmp_path, one)
    assert read_diagnostics(tmp_path) == written
    append_diagnostic(tmp_path, record("landscape", None, rise=float("nan")))
    assert read_diagnostics(tmp_path)[-1].values == {"rise": None}


def test_no_file_is_no_diagnostic(tmp_path: Path) -> None:
    """A folder without the file has none, and there is nothing to drop."""
    assert read_diagnostics(tmp_path) == []
    keep_diagnostics(tmp_path, 3)
    assert not diagnostics_path(tmp_path).exists()


def test_of_one_name_and_epoch_the_last_line_counts(tmp_path: Path) -> None:
    """A diagnostic measured again takes the place of the first."""
    for value in (1, 2):
        append_diagnostic(tmp_path, record("mixture", 1, entropy=value))
    append_diagnostic(tmp_path, record("mixture", 2, entropy=3))
    assert [(r.epoch, r.values["entropy"]) for r in read_diagnostics(tmp_path)] == [(1, 2), (2, 3)]


def test_a_checkpoint_drops_what_came_after_it(tmp_path: Path) -> None:
    """Going on from epoch 1 keeps its diagnostics and those of the trained supernet, and drops epoch 2's."""
    for epoch in (1, 2, None):
        append_diagnostic(tmp_path, record("mixture", epoch))
    keep_diagnostics(tmp_path, 1)
    assert [r.epoch for r in read_diagnostics(tmp_path)] == [1, None]


def test_a_torn_last_line_is_mended(tmp_path: Path) -> None:
    """Half a line is passed over, and the next append takes its place."""
    append_diagnostic(tmp_path, record("mixture", 1))
    with diagnostics_path(tmp_path).open("a") as file:
        file.write('{"name": "mixt')
    assert len(read_diagnostics(tmp_path)) == 1
    append_diagnostic(tmp_path, record("mixture", 2))
    assert [r.epoch for r in read_diagnostics(tmp_path)] == [1, 2]


def test_a_malformed_line_is_named(tmp_path: Path) -> None:
    """A line that is no diagnostic is an error with its file and number."""
    diagnostics_path(tmp_path).write_text('{"name": "mixture"}\n')
    with pytest.raises(InputError, match=r"diagnostics\.jsonl: line 1: missing field\(s\): epoch"):
        read_diagnostics(tmp_path)


def test_values_are_found_by_name() -> None:
    """Cheap ones come by ascending epoch, dear ones alone; what failed is left out of both."""
    failed = DiagnosticRecord(name="mixture", epoch=3, error="no luck")
    records = [record("mixture", 2, x=2), record("mixture", 1, x=1), record("landscape", None, rise=1.0), failed]
    assert by_epoch(records, "mixture") == {1: {"x": 1}, 2: {"x": 2}}
    assert of_trained(records, "landscape") == {"rise": 1.0}
    assert of_trained(records, "alpha-hessian") is None


def test_costs_add_up_by_diagnostic(tmp_path: Path) -> None:
    """Images, gradient images, seconds and failures of all searches, one row a diagnostic, by hand."""
    for search in ("a", "b"):
        append_diagnostic(tmp_path / "searches" / search, record("mixture", 1))
        append_diagnostic(tmp_path / "searches" / search, record("mixture", 2))
    failed = DiagnosticRecord(name="landscape", epoch=None, diagnostic_seconds=0.25, error="no luck")
    append_diagnostic(tmp_path / "searches" / "b", failed)
    assert read_costs(tmp_path) == [
        Cost("mixture", measured=4, failed=0, images=32, gradient_images=16, seconds=2.0),
        Cost("landscape", measured=1, failed=1, images=0, gradient_images=0, seconds=0.25),
    ]
    assert read_costs(tmp_path / "searches") == []


def test_predictions_of_none_are_counted_by_hand() -> None:
    """A negative derivative foretells a rise: right, wrong, and three edges of which nothing is known."""
    logits = [[[0.0], [0.0], [None], [1.0], [0.0]], [[0.5], [0.5], [0.5], [1.0], [0.5]]]
    records = [record("mixture", epoch, logits=rows) for epoch, rows in enumerate(logits, start=1)]
    records += [record("operation-cost", k, valid={"none_gradient": [-1.0, 2.0, -1.0, -1.0, 0.0]}) for k in (1, 2)]
    assert none_predictions(records) == (1, 2)
    assert none_predictions(records[:2]) == (0, 0)
