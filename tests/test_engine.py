"""The engine: every run a record, interrupted anywhere and ended in the same records."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dartboard.benchmark.catalogue import Catalogue, Entry
from dartboard.benchmark.contracts import Selection
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import Cell
from dartboard.harness import checkpoints, search_run
from dartboard.harness.doubles import Interrupted, Silent, interrupting, unmeasured
from dartboard.harness.engine import Engine, Outcome
from dartboard.harness.grid import Method, Overrides, read_grid
from dartboard.harness.prepare import prepare_searcher
from dartboard.results.progress import read_progress
from dartboard.results.records import read_epochs, read_records, write_header
from dartboard.searchers._catalogue import SEARCHERS
from dartboard.searchers.darts_v1 import DartsV1
from dartboard.selectors._catalogue import SELECTORS
from dartboard.selectors.magnitude import Magnitude
from dartboard.selectors.perturbation import Perturbation

SMALL = ("images.train_images=64", "images.valid_images=64")


def engine(folder: Path, *, listener: Silent | None = None, retry: bool = False, **overrides: Any) -> Engine:
    """An engine for the smoke grid on 64 + 64 images."""
    chosen = {"searchers": ("darts-v1",), "selectors": ("magnitude", "perturbation", "random"), "seeds": "0"}
    chosen |= overrides
    chosen["settings"] = (*SMALL, *chosen.get("settings", ()))
    grid = read_grid("smoke", Overrides(**chosen), searchers=SEARCHERS, selectors=SELECTORS)
    return Engine(grid, folder, device="cpu", listener=listener or Silent(), retry_failed=retry)


def epochs(folder: Path) -> list[Any]:
    """The epochs of all searches without their seconds."""
    found = []
    for path in sorted((folder / "searches").iterdir()):
        for line in (path / "epochs.jsonl").read_text().splitlines():
            values = json.loads(line)
            values.pop("seconds")
            found.append((path.name, values))
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    assert engine(folder).run() == Outcome(ok=3, failed=0)
    return folder


def test_a_run_leaves_one_record_for_each_selector(whole: Path) -> None:
    """The records name their runs in the grid's order, and each accuracy is the table's own for the cell."""
    found = read_records(whole)
    assert [record.selector for record in found] == ["magnitude", "perturbation", "random"]
    truth = engine(whole).truth
    for record in found:
        assert record.cell is not None
        cell = Cell.parse(record.cell)
        metric = truth.default_metric("digits")
        column = truth.accuracy[metric]
        assert record.accuracy == column[cell.number]
        assert record.regret == column.max() - column[cell.number]
        assert record.rank == 1 + int((column > column[cell.number]).sum())
        assert record.cell_number == cell.number
        assert record.search_epochs == 2
        assert record.search_images == 2 * (64 + 64)
        assert (record.train_images, record.valid_images, record.image_size) == (64, 64, 8)


def test_the_argmax_cell_of_each_epoch_is_kept(whole: Path) -> None:
    """epochs.jsonl has each epoch's mixture, rows summing to 1, and the cell of its largest weights."""
    (folder,) = (whole / "searches").iterdir()
    found = read_epochs(folder)
    assert [epoch.epoch for epoch in found] == [1, 2]
    for epoch in found:
        np.testing.assert_allclose(np.sum(epoch.mixture, axis=1), 1, atol=1e-6)
        assert epoch.cell == str(Cell.from_scores(np.array(epoch.mixture)))
    assert found[-1].cell == read_records(whole)[0].cell


def test_running_again_does_nothing(whole: Path) -> None:
    """A finished folder keeps its records byte for byte."""
    before = (whole / "records.jsonl").read_bytes()
    assert engine(whole).run() == Outcome(ok=3, failed=0)
    assert (whole / "records.jsonl").read_bytes() == before


def test_the_same_grid_elsewhere_ends_in_the_same_records(whole: Path, tmp_path: Path) -> None:
    """Two executions agree bit for bit in all that was not measured by a clock."""
    engine(tmp_path).run()
    assert unmeasured(tmp_path) == unmeasured(whole)
    assert epochs(tmp_path) == epochs(whole)


def test_adding_a_selector_changes_no_other_result(whole: Path, tmp_path: Path) -> None:
    """Fewer selectors in another order, then the rest: each record is the same as when all ran at once."""
    engine(tmp_path, selectors=("random",)).run()
    engine(tmp_path, selectors=("perturbation", "magnitude")).run()
    found, expected = ({r["selector"]: r for r in unmeasured(folder)} for folder in (tmp_path, whole))
    assert found == expected


@pytest.mark.parametrize(
    ("place", "at"),
    [
        ("step", 1),
        ("step", 3),
        ("append_epoch", 1),
        ("append_epoch", 2),
        ("save_state", 1),
        ("save_state", 2),
        ("select", 1),
        ("project", 1),
        ("project", 4),
        ("journal", 2),
        ("journal", 3),
    ],
)
def test_interrupted_anywhere_it_ends_in_the_same_records(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, at: int
) -> None:
    """Ctrl-C in a step, between epoch record and checkpoint, or inside a selection changes no result."""
    with monkeypatch.context() as patch:
        if place == "step":
            patch.setattr(DartsV1, "step", interrupting(DartsV1.step, at))
        elif place == "select":
            patch.setattr(Magnitude, "select", interrupting(Magnitude.select, at))
        elif place == "project":
            patch.setattr(Perturbation, "_project", interrupting(Perturbation._project, at))
        elif place == "journal":
            patch.setattr(search_run.FileJournal, "save", interrupting(search_run.FileJournal.save, at))
        else:
            patch.setattr(search_run, place, interrupting(getattr(search_run, place), at))
        with pytest.raises(Interrupted):
            engine(tmp_path).run()
    assert engine(tmp_path).run() == Outcome(ok=3, failed=0)
    assert unmeasured(tmp_path) == unmeasured(whole)
    assert epochs(tmp_path) == epochs(whole)


class EndsEarly(DartsV1):
    """DARTS that ends after its second epoch."""

    name = "ends-early"
    epochs_begun = 0

    @property
    def finished(self) -> bool:
        """After two epochs."""
        return self.epochs_begun >= 2

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Count."""
        super().begin_epoch(epoch, generator)
        self.epochs_begun += 1

    def state_dict(self) -> dict[str, Any]:
        """With the count."""
        return super().state_dict() | {"epochs_begun": self.epochs_begun}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """With the count."""
        super().load_state_dict(state)
        self.epochs_begun = state["epochs_begun"]


def early(folder: Path, listener: Silent, *, selectors: tuple[str, ...] = ("magnitude", "perturbation")) -> Engine:
    """An engine for five epochs of `EndsEarly`."""
    entry = Entry(name="ends-early", place=f"{__name__}:EndsEarly", summary="ends after its second epoch")
    overrides = Overrides(
        searchers=("ends-early",), selectors=selectors, seeds="0", settings=(*SMALL, "search.epochs=5")
    )
    grid = read_grid("smoke", overrides, searchers=Catalogue("searcher", [entry]), selectors=SELECTORS)
    return Engine(grid, folder, device="cpu", listener=listener)


@pytest.mark.parametrize(("place", "at"), [("step", 1), ("append_epoch", 2), ("save_state", 2), ("save_state", 3)])
def test_a_search_that_ended_by_itself_stays_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, at: int
) -> None:
    """Interrupted or not, and asked for more selectors later: two epochs of five ran, and every count says two."""
    told = Silent()
    assert early(tmp_path / "whole", told).run() == Outcome(ok=2, failed=0)
    assert "2 epochs of 5, where it ended by itself, in" in told.lines[0]
    assert told.bars[0] == (4, 4)
    with monkeypatch.context() as patch:
        if place == "step":
            patch.setattr(EndsEarly, "step", interrupting(EndsEarly.step, at))
        else:
            patch.setattr(search_run, place, interrupting(getattr(search_run, place), at))
        with pytest.raises(Interrupted):
            early(tmp_path / "parts", Silent(), selectors=("magnitude",)).run()
    early(tmp_path / "parts", Silent(), selectors=("magnitude",)).run()
    early(tmp_path / "parts", Silent()).run()
    assert unmeasured(tmp_path / "parts") == unmeasured(tmp_path / "whole")
    assert epochs(tmp_path / "parts") == epochs(tmp_path / "whole")
    assert [values["epoch"] for _, values in epochs(tmp_path / "whole")] == [1, 2]
    for record in read_records(tmp_path / "whole"):
        assert (record.search_epochs, record.search_steps) == (2, 4)
    (progress,) = read_progress(tmp_path / "whole").searches
    assert (progress.epochs, progress.of_epochs, progress.left) == (2, 2, 0)


def test_a_kill_in_the_middle_and_a_torn_record_lose_nothing(whole: Path, tmp_path: Path) -> None:
    """`kill -9` of the real command, then half a line in records.jsonl: the same command ends in the same records."""
    command = [sys.executable, "-c", "from dartboard.harness.cli import main; main()", "run", "smoke"]
    command += ["--out", str(tmp_path), "--searcher", "darts-v1", "--seeds", "0", "--no-report", "--device", "cpu"]
    command += [part for name in ("magnitude", "perturbation", "random") for part in ("--selector", name)]
    command += [part for setting in SMALL for part in ("--set", setting)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    victim = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("searches/*/epochs.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    with (tmp_path / "records.jsonl").open("a") as file:
        file.write('{"searcher": "darts-v1", "sel')
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
    assert unmeasured(tmp_path) == unmeasured(whole)
    assert epochs(tmp_path) == epochs(whole)


def test_a_failing_selector_is_a_record_and_the_grid_goes_on(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error stands in the record in one line, the others are untouched, and --retry-failed mends it."""

    def broken(*arguments: Any, **keywords: Any) -> Any:
        raise RuntimeError("no\nluck")

    with monkeypatch.context() as patch:
        patch.setattr(Perturbation, "select", broken)
        assert engine(tmp_path).run() == Outcome(ok=2, failed=1)
    failed = next(record for record in read_records(tmp_path) if not record.ok)
    assert (failed.selector, failed.error, failed.cell) == ("perturbation", "RuntimeError: no luck", None)
    assert engine(tmp_path).run() == Outcome(ok=2, failed=1)
    assert engine(tmp_path, retry=True).run() == Outcome(ok=3, failed=0)
    assert {str(r) for r in unmeasured(tmp_path)} == {str(r) for r in unmeasured(whole)}


def test_a_failing_search_is_a_record_for_each_of_its_selectors(tmp_path: Path) -> None:
    """A search that diverges fails all its runs with the epoch and what to do; the other searcher's runs go on."""
    settings = ('searcher.wild.method="darts-v1"',)
    settings += ("searcher.wild.weight_learning_rate=1e300", "searcher.wild.gradient_clip=0.0")
    outcome = engine(tmp_path, searchers=("wild", "darts-v1"), selectors=("magnitude",), settings=settings).run()
    assert outcome == Outcome(ok=1, failed=1)
    failed = next(record for record in read_records(tmp_path) if not record.ok)
    assert failed.searcher == "wild"
    assert "diverged in epoch 1" in str(failed.error)
    assert "lower a learning rate" in str(failed.error)


@pytest.mark.parametrize("place", ["halves", "constructor"])
def test_a_search_that_cannot_begin_is_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Images that do not fit the device, or a method that cannot be built, fail their runs and no others."""

    def broken(*arguments: Any, **keywords: Any) -> Any:
        raise RuntimeError("out of memory")

    made = engine(tmp_path, searchers=("darts-v1", "fixed-alpha"), selectors=("magnitude",))
    if place == "constructor":
        monkeypatch.setattr(DartsV1, "__init__", broken)
        expected = Outcome(ok=1, failed=1)
    else:
        header = made.header()
        monkeypatch.setattr(made, "header", lambda: header)
        monkeypatch.setattr(made, "halves", broken)
        expected = Outcome(ok=0, failed=2)
    assert made.run() == expected
    assert read_records(tmp_path)[0].error == "RuntimeError: out of memory"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (None, "AttributeError: 'NoneType' object has no attribute 'cell'"),
        (Selection(cell=Cell.from_number(0), notes={"seen": object()}), "TypeError: "),
    ],
)
def test_an_answer_that_is_none_is_a_failed_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, error: str
) -> None:
    """A selector that answers with no selection, or with what no file can hold, fails; the next one has its turn."""
    monkeypatch.setattr(Magnitude, "select", lambda *_: answer)
    assert engine(tmp_path, selectors=("magnitude", "random")).run() == Outcome(ok=1, failed=1)
    failed, other = read_records(tmp_path)
    assert str(failed.error).startswith(error)
    assert other.ok


def test_a_selector_that_changes_the_supernet_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moving one weight, or drawing from the global random state, makes the run a failed record that says what."""

    def meddling(self: Any, trained: Any, data: Any, generator: Any) -> Selection:
        with torch.no_grad():
            trained.supernet.stem.weight[0, 0, 0, 0] += 1
        return Selection(cell=Cell.from_number(0))

    def drawing(self: Any, trained: Any, data: Any, generator: Any) -> Selection:
        torch.rand(1)
        return Selection(cell=Cell.from_number(0))

    for change, told in ((meddling, "supernet.stem.weight"), (drawing, "global random state")):
        folder = tmp_path / told.split(".")[-1].replace(" ", "-")
        with monkeypatch.context() as patch:
            patch.setattr(Magnitude, "select", change)
            assert engine(folder, selectors=("magnitude",)).run() == Outcome(ok=0, failed=1)
        assert told in str(read_records(folder)[0].error)


def test_a_selector_that_fails_over_a_changed_supernet_spoils_no_other(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It moves a weight and then fails: the selectors after it choose from the supernet as the search left it."""

    def meddling(self: Any, trained: Any, data: Any, generator: Any) -> Selection:
        with torch.no_grad():
            trained.supernet.classifier.weight.add_(1.0)
        raise ValueError("no luck")

    with monkeypatch.context() as patch:
        patch.setattr(Magnitude, "select", meddling)
        assert engine(tmp_path).run() == Outcome(ok=2, failed=1)
    failed, *others = read_records(tmp_path)
    assert str(failed.error).startswith("Meddled: ")
    assert "failed (ValueError: no luck) and left changed: supernet.classifier.weight" in str(failed.error)
    expected = [r for r in unmeasured(whole) if r["selector"] != "magnitude"]
    assert [r for r in unmeasured(tmp_path) if r["selector"] != "magnitude"] == expected
    assert len(others) == 2


def test_searches_with_other_halves_share_a_folder(tmp_path: Path) -> None:
    """GDAS cuts the images at random and DARTS in the middle: either may come first, and be selected from alone."""
    for searcher in ("darts-v1", "gdas", "darts-v1"):
        outcome = engine(tmp_path, searchers=(searcher,), selectors=("magnitude",)).run()
        assert outcome == Outcome(ok=1, failed=0)


@pytest.mark.parametrize("name", ["channels", "cells_per_stage", "metric", "precision"])
def test_a_folder_of_an_older_version_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    """Its grid.json does not tell how its records came about, so nothing is added to them."""
    first = engine(tmp_path, selectors=("magnitude",))
    header = first.header()
    options = {key: value for key, value in header.options.items() if key != name}
    write_header(tmp_path, replace(header, options=options))
    with pytest.raises(InputError, match=f"an older Dartboard, whose grid.json has no {name}: .*choose another --out"):
        first.run()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "Expecting value"),
        ("[]", "expected a JSON object; got"),
        (None, "option 'searchers' cannot be 3"),
    ],
)
def test_a_damaged_header_is_named_with_what_to_do(tmp_path: Path, text: str | None, told: str) -> None:
    """Whatever was done to grid.json, nothing runs over it, and one line says which file it is."""
    made = engine(tmp_path, selectors=("magnitude",))
    header = made.header()
    if text is None:
        write_header(tmp_path, replace(header, options={**header.options, "searchers": 3}))
    else:
        (tmp_path / "grid.json").write_text(text, encoding="utf-8")
    with pytest.raises(
        InputError, match=rf"grid\.json: {told}.*; restore it, or run the grid in another folder"
    ) as caught:
        made.run()
    assert "\n" not in str(caught.value)


def test_a_folder_of_another_grid_is_refused(whole: Path) -> None:
    """Other options of a searcher in the same folder are refused, naming what differs; nothing is written."""
    before = (whole / "records.jsonl").read_bytes()
    other = engine(whole, settings=("search.architecture_learning_rate=0.5",))
    with pytest.raises(
        InputError, match=r"records of another grid: its searcher darts-v1 is .*choose another --out"
    ) as caught:
        other.run()
    assert "is {'protocol': {'architecture_learning_rate': 0.0003}}, now" in str(caught.value)  # and nothing else
    assert (whole / "records.jsonl").read_bytes() == before


def test_thresholds_may_change_from_one_sitting_to_the_next(tmp_path: Path) -> None:
    """They are in the header for the report, change no record, and so are no other grid."""
    from dartboard.results.failure_modes.thresholds import thresholds_of
    from dartboard.results.rundata import read_run

    engine(tmp_path, selectors=("magnitude",)).run()
    before = (tmp_path / "records.jsonl").read_bytes()
    assert thresholds_of(read_run(tmp_path)).skips == 4
    engine(tmp_path, selectors=("magnitude",), settings=("thresholds.skips=5",)).run()
    assert thresholds_of(read_run(tmp_path)).skips == 5
    assert (tmp_path / "records.jsonl").read_bytes() == before


def test_without_locks_the_run_goes_on_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no locks, or a system without `flock`, is told of in one line, and the work is done."""
    unsupported = OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    for reason, error in (("Operation not supported", unsupported), ("this system has no flock", ImportError())):

        def refuse(_: Any, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(checkpoints, "_lock", refuse)
        told: list[str] = []
        with checkpoints.locked(tmp_path, told.append):
            pass
        assert told == [f"{tmp_path} cannot be locked ({reason}): let no second dartboard write there meanwhile"]


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_a_lock_that_another_holds_is_told_by_either_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """File systems over a network say that permission is denied where local ones say that they would block."""

    def refuse(_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(checkpoints, "_lock", refuse)
    with pytest.raises(InputError, match="another dartboard is running"), checkpoints.locked(tmp_path, pytest.fail):
        pass


def test_a_second_process_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    """While one engine holds the folder, another stops with a line that names it."""
    with checkpoints.locked(tmp_path, pytest.fail), pytest.raises(InputError, match="another dartboard is running in"):
        engine(tmp_path).run()


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"rubbish", "checkpoint.pt is not a checkpoint of ours"), ({"searcher": {}}, "checkpoint.pt does not fit this")],
)
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: Any, told: str) -> None:
    """A checkpoint that is not one fails its runs with the file and what to do about it; that done, they succeed."""
    folder = tmp_path / "searches" / "darts-v1--digits--seed0"
    folder.mkdir(parents=True)
    path = folder / "checkpoint.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        checkpoints.save_state(path, content)
    assert engine(tmp_path, selectors=("magnitude",)).run() == Outcome(ok=0, failed=1)
    error = str(read_records(tmp_path)[0].error)
    assert told in error
    assert error.endswith("remove it, and the same command with --retry-failed begins anew")
    path.unlink()
    assert engine(tmp_path, selectors=("magnitude",)).run() == Outcome(ok=0, failed=1)
    assert engine(tmp_path, selectors=("magnitude",), retry=True).run() == Outcome(ok=1, failed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("searcher.darts-v1.lr=1",), "unknown option of the searcher 'darts-v1' 'lr'"),
        (("search.epoch=5",), r"unknown option of the searcher 'darts-v1' 'epoch'; did you mean 'epochs'\?"),
        (("selector.magnitude.interval=1",), "unknown option of the selector 'magnitude' 'interval'"),
        (("selector.random.x=1",), "unknown option of the selector 'random' 'x'"),
        (("selector.perturbation.interval=1.5",), "selector perturbation: interval is a whole number; got 1.5"),
        (("selector.perturbation.interval=true",), "interval is a whole number; got True"),
        (("selector.magnitude.exclude_none=False",), "exclude_none is true or false; got 'False'"),
        (("selector.perturbation.interval=-1",), "selector perturbation: interval is at least 0; got -1"),
        (("search.order=sideways",), "unknown order 'sideways'"),
        (("search.epochs=0",), "epochs is at least 1; got 0"),
        (('search.epochs="many"',), "searcher darts-v1: epochs is a whole number; got 'many'"),
        (("search.track_running_stats=False",), "track_running_stats is true or false; got 'False'"),
        (("search.gradient_clip=true",), "gradient_clip is a number; got True"),
        (("search.split=nowhere.txt",), "nowhere.txt"),
        (("images.image_size=64",), "64"),
        (("images.train_images=100000",), "100000 are asked for"),
        (("metric=cifar10/tset/200",), "tset"),
    ],
)
def test_options_that_cannot_be_used_are_refused_before_anything_runs(
    tmp_path: Path, settings: tuple[str, ...], message: str
) -> None:
    """An unknown option, a bad value or an impossible size is an InputError from the constructor."""
    with pytest.raises(InputError, match=message) as caught:
        engine(tmp_path / "new", settings=settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "mps"])
def test_a_device_that_is_not_here_is_refused(tmp_path: Path, device: str) -> None:
    """The message quotes the device."""
    grid = read_grid("smoke", Overrides(), searchers=SEARCHERS, selectors=SELECTORS)
    with pytest.raises(InputError, match=repr(device)):
        Engine(grid, tmp_path, device=device, listener=Silent())


@pytest.mark.parametrize("entry", [e for e in SEARCHERS if not e.queries], ids=lambda entry: entry.name)
def test_without_options_a_method_runs_as_it_was_published(entry: Entry) -> None:
    """A grid that says nothing of a searcher trains it under its Config's own protocol, and `protocol` replaces it."""
    method = Method(label=entry.name, options={}, entry=entry)
    prepared = prepare_searcher(method)
    assert prepared.config == prepared.factory.config_class()
    autodl = prepare_searcher(replace(method, options={"protocol": "autodl"})).protocol
    assert autodl.nesterov
    assert not autodl.track_running_stats
