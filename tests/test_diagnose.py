"""Diagnostics in a run: asked for, resumable, with their cost, and without any effect on the search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dartboard.benchmark.errors import InputError
from dartboard.harness import search_run
from dartboard.harness.diagnostics import alpha_hessian, growth, operation_cost, rank_correlation
from dartboard.harness.diagnostics._catalogue import DIAGNOSTICS
from dartboard.harness.doubles import Interrupted, Silent, interrupting, unmeasured
from dartboard.harness.engine import Engine, Outcome
from dartboard.harness.grid import Overrides, read_grid
from dartboard.results.diagnostics import diagnostics_path, read_diagnostics
from dartboard.results.records import read_epochs, read_records
from dartboard.searchers._catalogue import SEARCHERS
from dartboard.searchers.darts_v1 import DartsV1
from dartboard.selectors._catalogue import SELECTORS

CHEAP = [diagnostic.name for diagnostic in DIAGNOSTICS if diagnostic.cheap]
DEAR = [diagnostic.name for diagnostic in DIAGNOSTICS if not diagnostic.cheap]
SMALL = (
    *("images.train_images=32", "images.valid_images=32", "search.epochs=3", "search.batch_size=16"),
    *("diagnostic.alpha-hessian.images=8", "diagnostic.landscape.images=8", "diagnostic.landscape.directions=1"),
    *("diagnostic.rank-correlation.images=8", "diagnostic.rank-correlation.cells=5"),
    "diagnostic.discretisation-gap.epochs=2",
)
SEARCH = "darts-v1--digits--seed0"
SLOW = ("alpha-hessian", "landscape")
FAST = ",".join(diagnostic.name for diagnostic in DIAGNOSTICS if diagnostic.name not in SLOW)


def engine(folder: Path, diagnostics: str | None = "all", *, retry: bool = False, **overrides: Any) -> Engine:
    """An engine for the smoke grid on 32 + 32 images, three epochs."""
    asked = (
        [] if diagnostics is None else [d.name for d in DIAGNOSTICS if d.name in diagnostics or diagnostics == "all"]
    )
    sizes = [size for size in SMALL if size.partition(".")[0] != "diagnostic" or size.split(".")[1] in asked]
    settings = (*sizes, *overrides.pop("settings", ()))
    chosen: dict[str, Any] = {"searchers": ("darts-v1",), "selectors": ("magnitude",), "seeds": "0"} | overrides
    given = Overrides(**chosen, diagnostics=diagnostics, settings=settings)
    grid = read_grid("smoke", given, searchers=SEARCHERS, selectors=SELECTORS)
    return Engine(grid, folder, device="cpu", listener=Silent(), retry_failed=retry)


def of(folder: Path) -> list[dict[str, Any]]:
    """The diagnostics in the file's order, without their seconds."""
    found = read_diagnostics(folder / "searches" / SEARCH)
    return [{"name": r.name, "epoch": r.epoch, "values": r.values, "images": r.images, "error": r.error} for r in found]


def lines(folder: Path) -> int:
    """How many lines the file has."""
    return len(diagnostics_path(folder / "searches" / SEARCH).read_text().splitlines())


def epochs(folder: Path) -> list[Any]:
    """The epochs without their seconds."""
    found = read_epochs(folder / "searches" / SEARCH)
    return [(e.epoch, e.mixture, e.train_loss, e.valid_loss, e.train_accuracy, e.valid_accuracy) for e in found]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every diagnostic, which nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    assert engine(folder).run() == Outcome(ok=1, failed=0)
    return folder


def test_each_epoch_and_the_trained_supernet_are_measured(whole: Path) -> None:
    """Cheap ones have a record for each epoch, dear ones one without; none failed, and each has its cost."""
    found = read_diagnostics(whole / "searches" / SEARCH)
    expected = [(name, epoch) for epoch in (1, 2, 3) for name in CHEAP] + [(name, None) for name in DEAR]
    assert [(r.name, r.epoch) for r in found] == expected
    assert [r.error for r in found if r.error] == []
    assert all(r.diagnostic_seconds > 0 for r in found)
    images = {r.name: (r.images, r.gradient_images) for r in found if r.epoch in (3, None)}
    assert images["mixture"] == (0, 0)
    assert images["cell-agreement"] == images["operation-cost"] == (32, 32)
    assert images["alpha-hessian"] == (16, 16)
    assert images["landscape"] == (7 * 16, 0)
    assert images["rank-correlation"] == (5 * 16, 0)


def test_the_epochs_mixtures_are_the_diagnostics(whole: Path) -> None:
    """What is measured after an epoch is that epoch's mixture, and the argmax cell is that of epochs.jsonl."""
    folder = whole / "searches" / SEARCH
    by_epoch = {(r.name, r.epoch): r.values for r in read_diagnostics(folder)}
    for epoch in read_epochs(folder):
        np.testing.assert_array_equal(by_epoch["mixture", epoch.epoch]["mixture"], epoch.mixture)
        assert by_epoch["argmax-cell", epoch.epoch]["allowed"]["cell"] == epoch.cell


def test_measuring_never_changes_the_search(whole: Path, tmp_path: Path) -> None:
    """Records, epochs and the trained supernet are bit for bit those of a run without diagnostics."""
    assert engine(tmp_path, "none").run() == Outcome(ok=1, failed=0)
    assert not diagnostics_path(tmp_path / "searches" / SEARCH).exists()
    assert unmeasured(tmp_path) == unmeasured(whole)
    assert epochs(tmp_path) == epochs(whole)
    states = [
        torch.load(folder / "searches" / SEARCH / "checkpoint.pt", weights_only=True)["searcher"]["supernet"]
        for folder in (whole, tmp_path)
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_default_is_cheap(tmp_path: Path) -> None:
    """A grid that says nothing measures the cheap ones; its own key and then the command line's word have their way."""
    assert [d.name for d in engine(tmp_path, None).diagnostics] == CHEAP
    named = engine(tmp_path, None, settings=('diagnostics=["growth", "landscape"]',))
    assert [d.name for d in named.diagnostics] == ["growth", "landscape"]
    path = tmp_path / "mine.toml"
    path.write_text('searchers = ["darts-v1"]\nselectors = ["prior"]\ndiagnostics = ["growth"]\n', encoding="utf-8")
    for word, expected in ((None, ["growth"]), ("none", []), ("mixture", ["mixture"])):
        grid = read_grid(str(path), Overrides(diagnostics=word), searchers=SEARCHERS, selectors=SELECTORS)
        assert [asked.diagnostic.name for asked in grid.diagnostics] == expected


def test_diagnostics_do_not_depend_on_each_other(whole: Path, tmp_path: Path) -> None:
    """One measured alone has the values that it has among all: each draws from a stream of its own."""
    engine(tmp_path, "operation-cost,landscape").run()
    names = ("operation-cost", "landscape")
    assert of(tmp_path) == [entry for entry in of(whole) if entry["name"] in names]


@pytest.mark.parametrize(
    ("owner", "name", "at"),
    [
        (DartsV1, "step", 4),
        (growth, "measure", 2),
        (search_run, "append_diagnostic", 8),
        (search_run, "save_state", 2),
        (search_run, "append_diagnostic", 19),
        (search_run.FileJournal, "save", 2),
        (rank_correlation, "measure", 1),
    ],
)
def test_an_interrupted_run_neither_repeats_nor_loses_a_diagnostic(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, at: int
) -> None:
    """Ctrl-C in an epoch, between two diagnostics, before the checkpoint or in a dear one: the same file in the end."""
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupting(getattr(owner, name), at))
        with pytest.raises(Interrupted):
            engine(tmp_path, FAST).run()
    assert engine(tmp_path, FAST).run() == Outcome(ok=1, failed=0)
    expected = [entry for entry in of(whole) if entry["name"] not in SLOW]
    assert of(tmp_path) == expected
    assert lines(tmp_path) == len(expected)
    assert unmeasured(tmp_path) == unmeasured(whole)


def test_what_is_missing_is_made_up_for(whole: Path, tmp_path: Path) -> None:
    """Asked for later, mixtures are measured of every epoch and supernets of the last; again, and nothing happens."""
    engine(tmp_path, "none").run()
    engine(tmp_path, "all").run()
    found = {(entry["name"], entry["epoch"]): entry for entry in of(tmp_path)}
    expected = {(entry["name"], entry["epoch"]): entry for entry in of(whole)}
    assert expected.keys() - found.keys() == {(n, e) for n in ("cell-agreement", "operation-cost") for e in (1, 2)}
    assert all(entry == expected[key] for key, entry in found.items())
    before = diagnostics_path(tmp_path / "searches" / SEARCH).read_bytes()
    engine(tmp_path, "all").run()
    assert diagnostics_path(tmp_path / "searches" / SEARCH).read_bytes() == before


def test_a_failing_diagnostic_is_a_record(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error stands in one line, the search and the others are as without it, and --retry-failed tries again."""

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no\nluck")

    with monkeypatch.context() as patch:
        patch.setattr(operation_cost, "measure", broken)
        patch.setattr(alpha_hessian, "measure", broken)
        assert engine(tmp_path).run() == Outcome(ok=1, failed=0)
    failed = [entry for entry in of(tmp_path) if entry["error"]]
    assert [(entry["name"], entry["epoch"]) for entry in failed] == [
        *(("operation-cost", epoch) for epoch in (1, 2, 3)),
        ("alpha-hessian", None),
    ]
    assert {entry["error"] for entry in failed} == {"RuntimeError: no luck"}
    assert unmeasured(tmp_path) == unmeasured(whole)
    engine(tmp_path).run()
    assert [entry for entry in of(tmp_path) if entry["error"]] == failed
    engine(tmp_path, retry=True).run()
    hessian = next(entry for entry in of(whole) if entry["name"] == "alpha-hessian")
    assert hessian in of(tmp_path)


@pytest.mark.parametrize("what", ["supernet", "random"])
def test_a_diagnostic_that_changes_the_search_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Moving a weight or drawing from the global random state fails the search by the diagnostic's name."""

    def meddling(subject: Any) -> Any:
        if what == "random":
            torch.rand(1)
        else:
            with torch.no_grad():
                subject.network.stem.weight[0, 0, 0, 0] += 1
        return {}, 0, 0

    monkeypatch.setattr(growth, "measure", meddling)
    assert engine(tmp_path, "cheap").run() == Outcome(ok=0, failed=1)
    error = str(read_records(tmp_path)[0].error)
    assert "the diagnostic growth changed what it must leave alone" in error


def test_the_header_tells_what_was_measured_and_how(whole: Path, tmp_path: Path) -> None:
    """grid.json has each diagnostic's settings; other settings in the same folder are refused."""
    import json

    options = json.loads((whole / "grid.json").read_text())["options"]["diagnostics"]
    assert options["rank-correlation"] == {"cells": 5, "images": 8, "every": None}
    assert list(options) == [*CHEAP, *DEAR]
    other = engine(whole, settings=("diagnostic.rank-correlation.cells=6",))
    with pytest.raises(InputError, match="its diagnostic rank-correlation is"):
        other.run()


@pytest.mark.parametrize(
    ("diagnostics", "settings", "message"),
    [
        ("cheep", (), "unknown diagnostic 'cheep'; did you mean 'cheap'"),
        (None, ("diagnostics=7",), "'diagnostics' has the wrong type: 7"),
        (None, ("diagnostic.growing.x=1",), "unknown diagnostic 'growing'"),
        (None, ("diagnostic.growth=1",), "holds options; got 1"),
        ("growth", ("diagnostic.growth.x=1",), "the diagnostic 'growth' has no options; got 'x'"),
        ("landscape", ("diagnostic.landscape.x=1",), "unknown option of the diagnostic 'landscape' 'x'"),
        ("landscape", ("diagnostic.landscape.radius=0.0",), "diagnostic landscape: radius is greater than 0; got 0.0"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_runs(
    tmp_path: Path, diagnostics: str | None, settings: tuple[str, ...], message: str
) -> None:
    """An unknown word, section or option ends in one line that quotes it."""
    with pytest.raises(InputError, match=message):
        engine(tmp_path / "new", diagnostics, settings=settings)
    assert not (tmp_path / "new").exists()


def test_dear_ones_can_be_measured_in_the_course_of_a_search(tmp_path: Path) -> None:
    """`every = 2` measures after epoch 2 of 3, too, and the search is as without it."""
    engine(tmp_path / "a", "alpha-hessian", settings=("diagnostic.alpha-hessian.every=2",)).run()
    assert [(entry["name"], entry["epoch"]) for entry in of(tmp_path / "a")] == [
        ("alpha-hessian", 2),
        ("alpha-hessian", None),
    ]
    engine(tmp_path / "b", "none").run()
    assert epochs(tmp_path / "a") == epochs(tmp_path / "b")


@pytest.mark.parametrize("searcher", ["drnas", "gdas", "gaea", "spos", "lambda-darts", "darts-v2"])
def test_other_search_methods_are_measured_too(tmp_path: Path, searcher: str) -> None:
    """Every diagnostic has values for searchers of other mixtures, samples and states."""
    made = engine(tmp_path, searchers=(searcher,), settings=("search.epochs=1",))
    assert made.run() == Outcome(ok=1, failed=0)
    (folder,) = (tmp_path / "searches").iterdir()
    found = read_diagnostics(folder)
    assert [(r.name, r.error) for r in found if r.error] == []
    assert [r.name for r in found] == [*CHEAP, *DEAR]
