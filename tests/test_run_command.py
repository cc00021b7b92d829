"""`dartboard run` and `dartboard train-cell` as a person calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dartboard.harness.cli import main
from dartboard.harness.engine import Engine

SMALL = ["--set", "images.train_images=64", "--set", "images.valid_images=64", "--seeds", "0"]
ONE = ["--searcher", "darts-v1", "--selector", "magnitude", *SMALL]


def call(*arguments: str) -> int:
    """The exit code of a command line."""
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


def test_a_run_exits_with_0_and_leaves_records_and_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The smoke grid writes grid.json, records.jsonl and report.md, and says where they are."""
    assert call("run", "smoke", "--out", str(tmp_path / "out"), *ONE) == 0
    told = capsys.readouterr().err
    assert "not the official table" in told
    assert str(tmp_path / "out" / "report" / "report.html") in told
    record = json.loads((tmp_path / "out" / "records.jsonl").read_text())
    assert (record["searcher"], record["selector"], record["status"]) == ("darts-v1", "magnitude", "ok")
    assert (tmp_path / "out" / "report" / "report.md").is_file()


def test_a_failed_run_exits_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a selector fails the others are kept and the exit code is 1."""
    from dartboard.selectors.prior import Prior

    def broken(*arguments: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(Prior, "select", broken)
    assert call("run", "smoke", "--out", str(tmp_path), *ONE, "--selector", "prior", "--no-report") == 1
    lines = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["ok", "failed"]


def test_an_interrupted_run_exits_with_130_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C ends in one line and no traceback."""

    def interrupt(self: Engine, *, jobs: int) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "run", interrupt)
    assert call("run", "smoke", "--out", str(tmp_path), *ONE) == 130
    assert "the same command goes on from the last epoch" in capsys.readouterr().err


def test_ctrl_c_ends_every_command_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that has nothing to go on with ends in one line, too."""
    from dartboard.harness import grid

    def interrupt() -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(grid, "builtin_grids", interrupt)
    assert call("list", "grids") == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_what_the_file_system_refuses_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk or a folder that may not be read ends with exit code 2 and the path, without a traceback."""
    from dartboard.harness import grid

    def refuse() -> Any:
        raise PermissionError(13, "Permission denied", "grids/mine.toml")

    monkeypatch.setattr(grid, "builtin_grids", refuse)
    assert call("list", "grids") == 2
    assert capsys.readouterr().err == "Error: Permission denied: 'grids/mine.toml'\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "nosuch"], "unknown grid 'nosuch'"),
        (["run", "smoke", "--preset", "papr"], "unknown preset 'papr'; did you mean 'paper'"),
        (["run", "smoke", "--seeds", "x"], "got 'x'"),
        (["run", "smoke", "--searcher", "dart"], "unknown searcher 'dart'"),
        (["run", "smoke", "--selector", "oracl"], "did you mean 'oracle'"),
        (["run", "smoke", "--dataset", "cifar11"], "'cifar11'"),
        (["run", "smoke", "--dataset", "missing.npz"], "missing.npz"),
        (["run", "smoke", "--table", "nosuch"], "'nosuch'"),
        (["run", "smoke", "--device", "tpu"], "'tpu'"),
        (["run", "smoke", "--set", "seeds"], "got 'seeds'"),
        (["train-cell", "|none~0|"], "'|none~0|'"),
        (["train-cell", "#99999"], "99999"),
        (["train-cell", "#1", "--dataset", "digits", "--epochs", "0"], "epochs is at least 1; got 0"),
        (["train-cell", "#1", "--dataset", "digits", "--learning-rate", "0"], "greater than 0; got 0.0"),
        (["train-cell", "#1", "--dataset", "digits", "--train-images", "5"], "goes with evaluate_on valid"),
        (["lookup", "|a~0|+|b~0|c~1|+|d~0|e~1|f~2|"], "'a' in '|a~0|"),
        (["data", "info", "digts"], "did you mean 'digits'"),
        (["report", "nowhere"], "nowhere"),
        (["status", "nowhere"], "nowhere"),
        (["check", "nowhere", "--baseline", "none.json"], "no"),
    ],
    ids=" ".join,
)
def test_bad_input_ends_in_one_line_and_exit_code_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The value stands in the message, which is one line, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("Error: ")
    assert told in lines[0]
    assert list(tmp_path.rglob("records.jsonl")) == []


def test_a_cell_is_trained_resumed_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three epochs on digits beat chance threefold; two sittings end in the very numbers of one."""
    common = ["--dataset", "digits", "--channels", "4", "--cells-per-stage", "1", "--batch-size", "64", "--json"]
    assert call("train-cell", "#9467", "--epochs", "3", "--out", str(tmp_path / "one"), *common) == 0
    one = json.loads(capsys.readouterr().out)
    assert one["accuracy"] > 30
    assert one["cell"].startswith("|nor_conv_3x3~0|+")
    assert call("train-cell", "#9467", "--epochs", "3", "--out", str(tmp_path / "two"), *common) == 0
    two = json.loads(capsys.readouterr().out)
    assert {k: v for k, v in one.items() if k != "seconds"} == {k: v for k, v in two.items() if k != "seconds"}
    files = sorted(path.suffix for path in (tmp_path / "one").iterdir() if path.is_file() and path.name != ".lock")
    assert files == [".json", ".pt"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"rubbish", "is not a checkpoint of ours"),
        ({"epoch": 1}, "does not fit this version of train-cell (KeyError: "),
    ],
)
def test_a_damaged_checkpoint_of_a_training_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, content: Any, told: str
) -> None:
    """One line says which file it is and what to do; there is no record, so that no --retry-failed is needed."""
    from dartboard.harness import checkpoints, train_cell

    def damaged(path: Path, device: Any, *, remedy: str) -> Any:
        checkpoints.save_state(path, content) if isinstance(content, dict) else path.write_bytes(content)
        return checkpoints.load_state(path, device, remedy=remedy)

    monkeypatch.setattr(train_cell, "load_state", damaged)
    arguments = ["--dataset", "digits", "--channels", "4", "--cells-per-stage", "1", "--out", str(tmp_path)]
    assert call("train-cell", "#9467", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Error: {tmp_path}/cell9467--digits--")
    assert told in line
    assert line.endswith("remove it, and the same command begins anew")


def test_an_interrupted_training_goes_on_from_its_last_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C after the first epoch, then the same command: the accuracy is that of an uninterrupted training."""
    from dartboard.harness import train_cell

    arguments = ["train-cell", "#9467", "--dataset", "digits", "--channels", "4", "--cells-per-stage", "1"]
    arguments += ["--batch-size", "64", "--epochs", "2", "--json"]
    assert call(*arguments, "--out", str(tmp_path / "whole")) == 0
    whole = json.loads(capsys.readouterr().out)
    save = train_cell.save_state

    def save_and_stop(path: Path, state: Any) -> None:
        save(path, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_cell, "save_state", save_and_stop)
        assert call(*arguments, "--out", str(tmp_path / "cut")) == 130
    capsys.readouterr()
    assert call(*arguments, "--out", str(tmp_path / "cut")) == 0
    resumed = json.loads(capsys.readouterr().out)
    assert (resumed["accuracy"], resumed["loss"]) == (whole["accuracy"], whole["loss"])
