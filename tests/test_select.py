"""Selections made again: `dartboard select`, its records, and what they say."""

from __future__ import annotations

import csv
import gc
import io
import json
import shutil
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dartboard.benchmark.space import Cell
from dartboard.harness.checkpoints import FileJournal
from dartboard.harness.cli import main
from dartboard.harness.search_run import SearchRun
from dartboard.harness.toys import BATCH, toy_images
from dartboard.results.aggregate import summarise
from dartboard.results.board import boards
from dartboard.results.contents_repeats import budget_section, drawn, repeats_section, repeats_tables
from dartboard.results.document import Plot, Table
from dartboard.results.figures_budget import budgets
from dartboard.results.names import Names
from dartboard.results.panels import distinct, save
from dartboard.results.records import RunRecord, SearchKey, read_header, write_header
from dartboard.results.repeats import RepeatRecord, append_repeat, read_repeats, repeats_path
from dartboard.results.rundata import read_run
from dartboard.results.scatter import BudgetPoint, budget_points, pool, score_noise, summarise_repeats
from dartboard.results.scatter_tables import facts
from dartboard.results.style import selector_marks
from dartboard.selectors.leave_one_out import LeaveOneOut

ONE, OTHER = (str(Cell((a, 1, 2, 3, 4, 1))) for a in (1, 2))  # they differ on one edge of six
MEASURED = ("selection_seconds", "selection_memory_mb", "finished_at", "commit")


def repeat(number: int, accuracy: float | None, **fields: Any) -> RepeatRecord:
    """A repeat of one selector on one supernet."""
    given = {"searcher": "s", "dataset": "d", "seed": 0, "selector": "c", "cell": ONE, "selection_images": 10}
    given |= {"repeat": number, "accuracy": accuracy, "metric": "cifar10/test/200"}
    return RepeatRecord(**(given | fields))


def test_the_scatter_on_one_supernet_by_hand() -> None:
    """Of 90, 92, 94: mean 92, standard deviation 2; the cell chosen twice of three is the modal one."""
    scores = np.zeros((3, 6, 5))
    scores[:, 0, 0] = [1, 2, 3]
    rows = [
        repeat(n, a, cell=cell, scores=tuple(map(tuple, s.tolist())))
        for n, (a, cell, s) in enumerate(zip((90.0, 92.0, 94.0), (ONE, OTHER, OTHER), scores, strict=True), start=1)
    ]
    (found,) = summarise_repeats([*rows, repeat(4, None, status="failed", error="x", cell=None)])
    assert found.accuracy is not None
    assert (found.accuracy.mean, found.accuracy.std, found.repeats, found.failed) == (92, 2, 3, 1)
    assert (found.modal_cell, found.modal_share) == (OTHER, pytest.approx(2 / 3))
    assert found.score_std is not None
    assert found.score_std[0, 0] == 1
    assert found.score_std.sum() == 1
    assert found.images == 10


def test_the_noise_of_scores_by_hand() -> None:
    """Two operations with means 0 and 2 (variance 2) and deviations of sqrt(2) and 0: the ratio is sqrt(1/2)."""
    scores = np.full((2, 6, 5), np.nan)
    scores[:, 0, :2] = [[-1, 2], [1, 2]]
    assert score_noise(scores) == pytest.approx(np.sqrt(((2 + 0) / 2) / 2))
    assert score_noise(np.repeat(scores[:1], 2, axis=0)) == 0
    ranks_nothing = np.array([7.0, -3.0])[:, None, None]  # a repeat's easier images lift all operations alike
    assert score_noise(scores + ranks_nothing) == pytest.approx(np.sqrt(((2 + 0) / 2) / 2))
    assert score_noise(scores[:1]) is None
    assert score_noise(np.ones((3, 6, 5))) is None


def test_the_noise_of_nothing_but_luck() -> None:
    """Independent normal scores of r repeats have √r: over many edges, within 5 %, whatever each repeat adds to all."""
    draw = np.random.default_rng(0)
    for repeats in (2, 10):
        scores = draw.normal(size=(repeats, 3000, 5)) + 5 * draw.normal(size=(repeats, 3000, 1))
        assert score_noise(scores) == pytest.approx(np.sqrt(repeats), rel=0.05)


def test_one_repeat_has_no_commonest_cell() -> None:
    """A single answer is not a stable one; budgets stand in their order, whatever came first."""
    rows = [repeat(1, 90.0, budget=b) for b in (100, None, 20)] + [repeat(n, 90.0, seed=1, budget=20) for n in (1, 2)]
    pooled = pool(summarise_repeats(rows))
    assert [(row.budget, row.modal_share) for row in pooled] == [(None, None), (20, 1.0), (100, None)]


def test_a_part_is_held_against_the_end_of_its_own_repeat() -> None:
    """Where the part chose the final cell all edges agree, where it chose the other one 5 of 6 do."""
    rows = [repeat(n, 90.0, cell=ONE, knob="batches", effort=4) for n in (1, 2)]
    rows += [repeat(n, 91.0, cell=c, knob="batches", effort=1, part=1) for n, c in ((1, ONE), (2, OTHER))]
    whole, part = summarise_repeats(rows)
    assert whole.agreement is None
    assert part.agreement == pytest.approx((1 + 5 / 6) / 2)
    assert [row.part for row in pool([part, whole])] == [None, 1]


def test_within_and_between_supernets_by_hand() -> None:
    """Deviations of 3 and 4 within make sqrt(12.5); the means 90 and 92 deviate by sqrt(2)."""
    rows = []
    for seed, mean, std in ((0, 90.0, 3.0), (1, 92.0, 4.0)):
        rows += [repeat(n, mean + d * std / np.sqrt(2), seed=seed) for n, d in ((1, 1), (2, -1))]
    (found,) = pool(summarise_repeats(rows))
    assert found.accuracy is not None
    assert found.within_std == pytest.approx(np.sqrt(12.5))
    assert (found.accuracy.mean, found.accuracy.std) == (91, pytest.approx(np.sqrt(2)))
    assert (found.supernets, found.repeats) == (2, 4)
    json.dumps(facts(found), allow_nan=False)


def test_what_a_budget_buys() -> None:
    """Points are means over supernets of the means over repeats; repeats stand in for records, yardsticks are out."""
    given: dict[str, Any] = {"searcher": "s", "dataset": "d", "status": "ok", "selection_images": 100}
    records = [
        RunRecord(**given, selector="c", seed=0, accuracy=80.0),
        RunRecord(**given, selector="b", seed=0, accuracy=70.0),
        RunRecord(**given, selector="o", seed=0, accuracy=94.0, control="truth"),
    ]
    repeats = [repeat(n, a, budget=b) for n, a, b in ((1, 90.0, None), (2, 92.0, None), (1, 88.0, 50))]
    repeats += [repeat(1, 95.0, seed=1), repeat(1, 10.0, part=2)]
    repeats += [repeat(2, None, budget=50, status="failed", error="x", cell=None)]
    found = {(p.selector, p.budget): p for p in budget_points(records, repeats)}
    assert set(found) == {("c", None), ("c", 50), ("b", None)}
    whole = found["c", None]
    assert (whole.accuracy.mean, whole.accuracy.n) == ((91 + 95) / 2, 2)
    assert (found["c", 50].accuracy.mean, found["c", 50].failed) == (88, 1)
    assert (found["b", None].images, found["b", None].accuracy.mean) == (100, 70)


def test_repeats_are_kept_in_a_file_of_their_own(tmp_path: Path) -> None:
    """A record read back is the one written; of one key the last line counts; a torn last line is passed over."""
    first = repeat(1, None, status="failed", error="x", cell=None)
    mended = repeat(1, 90.0)
    for record in (first, repeat(2, 91.0), mended):
        append_repeat(tmp_path, record)
    assert read_repeats(tmp_path) == [repeat(2, 91.0), mended]
    with repeats_path(tmp_path).open("ab") as file:
        file.write(b'{"searcher": ')
    assert len(read_repeats(tmp_path)) == 2
    assert not (tmp_path / "records.jsonl").exists()
    assert mended.search == SearchKey("s", "d", 0)
    assert str(replace(mended, budget=1000, part=2).key) == "s on d, seed 0, c, repeat 1, budget 1,000, after 2"


def call(*arguments: str) -> int:
    """The exit code of a command line."""
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one supernet on 64 + 64 images."""
    folder = tmp_path_factory.mktemp("trained")
    sizes = ("--set", "images.train_images=64", "--set", "images.valid_images=64", "--set", "search.epochs=1")
    chosen = ("--selector", "leave-one-out", "--selector", "oracle", "--seeds", "0", "--diagnostics", "none")
    assert call("run", "smoke", "--out", str(folder), "--no-report", *sizes, *chosen) == 0
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def kept(folder: Path) -> list[dict[str, Any]]:
    """The repeats without their measurements."""
    lines = repeats_path(folder).read_text(encoding="utf-8").splitlines()
    return [{name: value for name, value in json.loads(line).items() if name not in MEASURED} for line in lines]


def test_repeats_look_at_other_batches_and_add_up(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two repeats, then a third, are three: no record of before is touched, no two have the same scores."""
    before = (folder / "records.jsonl").read_bytes()
    assert call("select", str(folder), "--repeat", "2") == 0
    assert "leave-one-out" in capsys.readouterr().out
    two = repeats_path(folder).read_bytes()
    assert call("select", str(folder), "--repeat", "2", "--json") == 0
    assert repeats_path(folder).read_bytes() == two
    told = json.loads(capsys.readouterr().out)
    assert [(row["selector"], row["repeats"], row["supernets"]) for row in told["pooled"]] == [("leave-one-out", 2, 1)]
    assert np.array(told["supernets"][0]["score_std"]).shape == (6, 5)
    assert call("select", str(folder), "--repeat", "3") == 0
    assert repeats_path(folder).read_bytes().startswith(two)
    found = read_repeats(folder)
    assert [record.repeat for record in found] == [1, 2, 3]
    assert len({record.scores for record in found}) == 3
    assert all(record.selection_images == 30 * 64 for record in found)
    assert (folder / "records.jsonl").read_bytes() == before


def test_the_same_repeats_come_out_wherever_they_are_made(folder: Path, trained: Path, tmp_path: Path) -> None:
    """At once, or whole first and parts later, or after an interruption: the same records but for the clock."""
    other = Path(shutil.copytree(trained, tmp_path / "other"))
    parts = ("--any-time", "--selector", "leave-one-out", "--selector", "random")
    assert call("select", str(folder), "--repeat", "2", *parts) == 0
    assert call("select", str(other), "--repeat", "2", "--selector", "leave-one-out") == 0
    assert call("select", str(other), "--repeat", "2", *parts) == 0
    one, two = (
        sorted(kept(f), key=lambda r: json.dumps([r[k] for k in ("selector", "repeat", "part")]))
        for f in (folder, other)
    )
    assert one == two
    assert {(r["selector"], r["part"], r["knob"], r["selection_images"]) for r in one} == {
        ("leave-one-out", 1, "batches", 30 * 32),
        ("leave-one-out", None, "batches", 30 * 64),
        ("random", None, None, 0),
    }


def test_a_report_tells_of_repeats(folder: Path) -> None:
    """A section with the tables of the terminal, and two CSV files; without repeats there is neither."""
    before = boards(read_run(folder))
    assert (repeats_section(before[0]), repeats_tables(read_run(folder), before)) == (None, {})
    assert call("select", str(folder), "--repeat", "2", "--selector", "leave-one-out", "--any-time") == 0
    run = read_run(folder)
    (board,) = boards(run)
    section = repeats_section(board)
    assert section is not None
    whole, part = (block for block in section.blocks if isinstance(block, Table))
    assert whole.rows[0][2:5] == ("leave-one-out", "-", "2 on 1")
    assert part.rows[0][4] == "batches 1"
    files = {name: list(csv.DictReader(io.StringIO(text))) for name, text in repeats_tables(run, [board]).items()}
    (scatter,) = [row for row in files["repeats.csv"] if not row["part"]]
    found = [record.accuracy for record in read_repeats(folder) if record.part is None]
    assert float(scatter["accuracy_std"]) == pytest.approx(np.std(found, ddof=1), abs=1e-6)
    (point,) = files["budgets.csv"]
    assert (point["selector"], float(point["images"]), point["budget"]) == ("leave-one-out", 30 * 64, "")


def test_budgets_make_a_curve(folder: Path) -> None:
    """Each budget is kept to, and one that is too small is a failed repeat with its line; exit code 1."""
    budgets = ("--budget", "100", "--budget", "960", "--budget", "2880")
    assert call("select", str(folder), "--repeat", "1", "--selector", "leave-one-out", *budgets) == 1
    found = {record.budget: record for record in read_repeats(folder)}
    assert {budget: record.selection_images for budget, record in found.items()} == {100: None, 960: 960, 2880: 2880}
    assert (
        found[100].error == "OverBudget: leave-one-out needs at least 960 images, and the budget is 100: raise --budget"
    )
    assert [point.budget for point in budget_points([], list(found.values()))] == [960, 2880]
    (board,) = boards(read_run(folder))
    section = budget_section(board, Names())
    assert section is not None
    (plot,) = (block for block in section.blocks if isinstance(block, Plot))
    assert "with 960 images `leave-one-out`" in plot.takeaway
    (figure,) = plot.draw(2)
    (line,) = (line for line in figure.axes[0].lines if len(line.get_xdata()) > 1 and line.get_linestyle() == "-")
    points = [point for point in budget_points(board.records, board.run.repeats) if point.selector == "leave-one-out"]
    np.testing.assert_allclose(line.get_xdata(), [960, 1920, 2880])  # the run's own, without a budget, among them
    np.testing.assert_allclose(line.get_ydata(), [(board.best or 0) - point.accuracy.mean for point in points])
    save(figure, folder / "budget.png")


def point(selector: str, budget: int | None, images: float, accuracies: list[float], **told: Any) -> BudgetPoint:
    """A point of a picture, over so many supernets."""
    accuracy = summarise(accuracies)
    assert accuracy is not None
    given: dict[str, Any] = {"searcher": "s", "dataset": "d", "control": None, "failed": 0, **told}
    return BudgetPoint(selector=selector, budget=budget, images=images, accuracy=accuracy, **given)


def test_a_line_joins_means_over_the_same_supernets() -> None:
    """Points of fewer or more supernets than the widest budget was tried on are out; without images, one is left."""
    wide, whole = point("a", 10, 10, [90.0, 91.0]), point("a", 20, 20, [90.0, 92.0])
    idle = point("i", None, 0, [80.0, 82.0, 84.0], control="blind")
    others = [
        point("a", 15, 15, [95.0]),
        point("a", None, 99, [95.0, 95.0, 95.0]),
        point("i", 10, 0, [80.0, 82.0], control="blind"),
    ]
    assert drawn([wide, *others, whole, idle]) == [wide, idle, whole]
    assert drawn([others[1]]) == [others[1]]


def test_many_lines_have_several_panels() -> None:
    """Eight lines to a panel, the best with the most images first; a control without images has a line across each."""
    rows = [point(f"c{n}", b, b, [80.0 + n, 82.0 + n]) for n in range(9) for b in (10, 20)]
    rows += [point("p", None, 0, [85.0, 85.0], control="blind"), point("m", None, 0, [84.0, 86.0])]
    marks = selector_marks(distinct(row.selector for row in rows))
    (figure,) = budgets(rows, marks, metric="cifar10/test/200", best=94.0)
    curves = [[line for line in axes.lines if len(line.get_xdata()) == 2] for axes in figure.axes]
    assert [axes.get_title() for axes in figure.axes] == ["s, 1 of 2", "s, 2 of 2"]
    first, second = ([list(line.get_ydata()) for line in lines if line.get_linestyle() == "-"] for lines in curves)
    assert first == [[94.0 - (81 + n)] * 2 for n in range(8, 0, -1)]
    assert second == [[94.0 - 81] * 2]
    for lines in curves:
        assert [list(line.get_ydata()) for line in lines if line.get_linestyle() == ":"] == [[9.0, 9.0]]
    assert len(budgets(rows, marks, metric="cifar10/test/200", best=None, columns=1)) == 2


def test_a_budget_and_a_part_of_one_size_keep_their_progress_apart(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted repeat of either finds only its own journal."""
    seen: list[str] = []

    def named(path: Path, device: object) -> FileJournal:
        seen.append(path.name)
        return FileJournal(path, device)  # type: ignore[arg-type]  # as it is given

    monkeypatch.setattr("dartboard.harness.reselect.FileJournal", named)
    arguments = ("--repeat", "1", "--selector", "leave-one-out", "--any-time")
    assert call("select", str(folder), *arguments) == 0
    assert call("select", str(folder), *arguments, "--budget", "960") == 0
    assert sorted(seen) == sorted(set(seen))
    assert "repeat--leave-one-out--1--part1.pt" in seen
    assert "repeat--leave-one-out--1--budget960.pt" in seen


@pytest.mark.parametrize("defect", ["an answer that is none", "a cost that cannot be told"])
def test_a_selector_that_fails_is_a_record_and_the_next_has_its_turn(
    folder: Path, monkeypatch: pytest.MonkeyPatch, defect: str
) -> None:
    """Whatever it does wrong, its repeats are records with their error, and the exit code is 1."""

    def broken(*_: Any) -> Any:
        raise KeyError("gone")

    chosen: tuple[str, ...] = ("--selector", "leave-one-out", "--selector", "random")
    if defect == "an answer that is none":
        monkeypatch.setattr(LeaveOneOut, "select", lambda *_: None)
    else:
        monkeypatch.setattr(LeaveOneOut, "cost", broken)
        chosen += ("--budget", "960")
    assert call("select", str(folder), "--repeat", "1", *chosen) == 1
    failed, other = read_repeats(folder)
    assert (failed.selector, failed.status, other.selector, other.status) == ("leave-one-out", "failed", "random", "ok")
    assert str(failed.error).startswith(("AttributeError: 'NoneType'", "KeyError: 'gone'"))


def test_a_run_of_yardsticks_alone_has_nothing_to_repeat(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not passed over in silence: one line says which selectors there could be."""
    header = read_header(folder)
    assert header is not None
    write_header(folder, replace(header, selectors=("oracle",)))
    assert call("select", str(folder)) == 2
    assert "read the table and nothing else" in capsys.readouterr().err


def test_a_supernet_that_cannot_be_had_is_told_and_the_next_has_its_turn(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged checkpoint is one line, without torch's advice on how to load it all the same, and exit code 1."""
    first = next(folder.glob("searches/*seed0"))
    shutil.copytree(first, folder / "searches" / "darts-v1--digits--seed1")
    torch.save({"x": Path("/")}, first / "checkpoint.pt")
    header = read_header(folder)
    assert header is not None
    write_header(folder, replace(header, seeds=(0, 1)))
    assert call("select", str(folder), "--repeat", "1", "--selector", "magnitude") == 1
    assert [(record.seed, record.status) for record in read_repeats(folder)] == [(1, "ok")]
    told = capsys.readouterr().err.splitlines()
    assert "seed 0: failed: InputError: " in told[0]
    assert "checkpoint.pt is not a checkpoint of ours (UnpicklingError: Weights only load failed): remove it" in told[0]


def test_one_supernet_is_held_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the next search is begun, the one before is gone, with its images and its supernet."""
    shutil.copytree(
        next(folder.glob("searches/*seed0")), folder / "searches" / "darts-v1--digits--seed1"
    )  # as good as one of its own
    header = read_header(folder)
    assert header is not None
    write_header(folder, replace(header, seeds=(0, 1)))
    alive: list[weakref.ref[SearchRun]] = []
    search = SearchRun.search

    def watched(self: SearchRun) -> Any:
        gc.collect()
        assert [run for run in alive if run() is not None] == []
        alive.append(weakref.ref(self))
        return search(self)

    monkeypatch.setattr(SearchRun, "search", watched)
    assert call("select", str(folder), "--repeat", "1", "--selector", "magnitude") == 0
    assert len(alive) == 2


def test_without_checkpoints_one_line_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The supernets are gone, and nothing is written."""
    next(folder.glob("searches/*/checkpoint.pt")).unlink()
    assert call("select", str(folder), "--repeat", "1") == 2
    told = capsys.readouterr().err.splitlines()
    assert "darts-v1 on digits, seed 0: it keeps no checkpoint" in told[0]
    assert "keeps no trained supernet" in told[-1]
    assert not repeats_path(folder).exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--repeat", "0"], "repeat is at least 1; got 0"),
        (["--budget", "0"], "at least 1; got 0"),
        (["--selector", "oracle"], "'oracle' reads the table"),
        (["--selector", "leave-one"], "did you mean 'leave-one-out'"),
        (["--selector", "random", "--selector", "random"], "the selector 'random' is named twice"),
        (["--searcher", "drnas"], "unknown searcher of this run 'drnas'"),
        (["--dataset", "cifar10"], "unknown data set of this run 'cifar10'"),
        (["--seeds", "7"], "unknown seed of this run '7'"),
    ],
    ids=" ".join,
)
def test_bad_input_ends_in_one_line(
    trained: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is quoted, and the exit code is 2."""
    assert call("select", str(trained), *arguments) == 2
    assert told in capsys.readouterr().err
    assert not repeats_path(trained).exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what is missing."""
    assert call("select", str(tmp_path)) == 2
    assert "is no run folder" in capsys.readouterr().err


def test_the_parts_of_a_curve_are_powers_of_two() -> None:
    """1, 2, 4 of 5 or of 8; none of one."""
    from dartboard.harness.reselect import parts
    from dartboard.selectors._budget import Knob

    assert [list(parts(Knob("batches"), whole)) for whole in (5, 8, 1)] == [[1, 2, 4], [1, 2, 4], []]
    assert list(parts(Knob("batch_size", least=2), 9)) == [2, 4, 8]


@pytest.mark.parametrize(
    ("label", "whole"), [("leave-one-out", 2), ("is-darts", 4), ("shuffled:is-darts", 4), ("perturbation", 2)]
)
def test_all_images_are_as_many_batches_as_their_half_has(label: str, whole: int) -> None:
    """Of 20 images of the weights' half and 10 of the other in batches of 6: a pass has 4, or 2."""
    from dartboard.benchmark.contracts import SelectionData
    from dartboard.harness.grid import Method
    from dartboard.harness.prepare import prepare_selector
    from dartboard.selectors._budget import knobs_of, whole_of
    from dartboard.selectors._catalogue import SELECTORS

    data = SelectionData(train=toy_images("train", count=20), valid=toy_images("valid"), batch_size=BATCH)
    entry = SELECTORS[label]
    selector = prepare_selector(Method(label=label, entry=entry, options=entry.options))
    assert whole_of(selector, knobs_of(selector)[-1], data) == whole


def test_all_selectors_may_be_asked_for(trained: Path) -> None:
    """`all` is what the run has under its own options, and the rest of the catalogue; what reads the table is not."""
    from dartboard.harness.plugins import catalogues
    from dartboard.harness.recorded import recorded_header
    from dartboard.harness.reselect import asked_selectors

    header, catalogue = recorded_header(trained), catalogues(()).selectors
    asked = asked_selectors(header, catalogue, ("all",))
    assert sorted(method.label for method in asked) == sorted(e.name for e in catalogue if e.control != "truth")
    own = asked_selectors(header, catalogue, ())
    assert asked[: len(own)] == own
