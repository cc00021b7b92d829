"""`--jobs`: several searches at once, each in a process of its own, and the records of one process."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dartboard.benchmark.errors import InputError
from dartboard.harness.cli import main
from dartboard.harness.devices import share_of_threads, threads
from dartboard.harness.doubles import Silent, unmeasured
from dartboard.harness.engine import Engine, Outcome
from dartboard.harness.grid import Overrides, read_grid
from dartboard.harness.plugins import catalogues
from dartboard.harness.progress import Bars, Lines
from dartboard.harness.workers import Shared, share_out
from dartboard.results import report
from dartboard.results.records import read_header, read_records, records_path
from dartboard.results.repeats import RepeatRecord, append_repeat, read_repeats, repeats_path
from dartboard.results.rundata import read_run
from dartboard.results.samples import sample_run

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")

# Things that need no PyTorch, so that their processes begin at once.

TOY = """
import os, signal, sys, time
from functools import partial
from pathlib import Path

def plain(parent):
    parent.end(f"begun by {os.getpid()}")
    return lambda number: (number, os.getpid())

def rough(parent):
    def work(number):
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 2:
            sys.exit(3)
        return number
    return work

def raising(parent):
    def work(number):
        raise KeyError("of ours")
    return work

def unfit(parent):
    os._exit(7)

def keeping(parent, folder):
    def work(number):
        parent.keep(Path(folder) / "lines", b"%d\\n" % number, ("key", number), number != 1)
        return (Path(folder) / "lines").read_text().split().count(str(number))
    return work

def chatting(parent):
    def work(number):
        parent.begin("it", 10_000)
        for step in range(1, 10_001):
            parent.advance(step, 10_000, "half" if step == 5_000 else "")
    return work

def endless(parent):
    parent.end(str(os.getpid()))
    return lambda number: time.sleep(600)
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module `TOY`, which processes of its own can import, too."""
    (tmp_path / "toy_work.py").write_text(TOY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    import toy_work

    yield toy_work
    del sys.modules["toy_work"]


def named(count: int) -> dict[int, str]:
    """So many things."""
    return {number: f"thing {number}" for number in range(count)}


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and not only what it left for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """What the condition gives as soon as it is something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)
    return found


def test_there_are_no_more_processes_than_things(toy: Any) -> None:
    """Of eight processes two are made for two things, and one process does three things in order."""
    listener = Silent()
    results, lost = share_out(toy.plain, named(2), jobs=8, listener=listener)
    assert lost == 0
    assert sorted(number for number, _ in results) == [0, 1]
    assert len(listener.lines) == 2
    results, _ = share_out(toy.plain, {5: "e", 7: "g", 6: "f"}, jobs=1, listener=listener)
    assert [number for number, _ in results] == [5, 7, 6]
    assert len({pid for _, pid in results}) == 1
    assert share_out(toy.plain, {}, jobs=3, listener=listener) == Shared([], 0)


def test_a_process_that_dies_is_told_of_and_another_goes_on(toy: Any) -> None:
    """A line names the thing and the signal or exit code, and what to do; every other thing is done."""
    listener = Silent()
    results, lost = share_out(toy.rough, named(5), jobs=2, listener=listener)
    assert sorted(results) == [0, 3, 4]
    assert lost == 2
    told = "the same command tries it again (with fewer --jobs, where memory was short)"
    assert sorted(listener.lines) == [
        f"thing 1: lost, its process was ended by SIGKILL; {told}",
        f"thing 2: lost, its process ended with exit code 3; {told}",
    ]


def test_what_a_process_raises_is_raised_here_with_where_it_was(toy: Any) -> None:
    """A defect of ours comes with the process's own traceback."""
    with pytest.raises(KeyError, match="of ours") as caught:
        share_out(toy.raising, named(2), jobs=2, listener=Silent())
    (note,) = caught.value.__notes__
    assert 'toy_work.py", line ' in note


def test_a_process_that_cannot_begin_is_bad_input(toy: Any) -> None:
    """One line gives its exit code, and the two likely reasons."""
    with pytest.raises(InputError, match="a process ended with exit code 7 before it could begin; ask for fewer") as e:
        share_out(toy.unfit, named(3), jobs=2, listener=Silent())
    assert 'if __name__ == "__main__"' in str(e.value)


def test_a_line_is_on_the_disk_when_the_process_goes_on(toy: Any, tmp_path: Path) -> None:
    """Each process finds its line in the file at once; the lines' keys are told here."""
    kept: list[Any] = []
    make = toy.partial(toy.keeping, folder=str(tmp_path))
    listener = Silent()
    results, _ = share_out(make, named(3), jobs=2, listener=listener, kept=lambda *told: kept.append(told))
    assert results == [1, 1, 1]
    assert sorted(kept) == [(("key", 0), True), (("key", 1), False), (("key", 2), True)]
    assert sorted((tmp_path / "lines").read_text().split()) == ["0", "1", "2"]


class Counting(Silent):
    """Keeps every step that it is told of."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[int, str]] = []

    def advance(self, steps: int, total: int, note: str = "", /) -> None:
        """Keep it."""
        self.told.append((steps, note))

    def lane(self) -> Counting:
        """All are kept together."""
        return self


def test_few_steps_are_told_and_every_note(toy: Any) -> None:
    """Of 10,000 steps the last and the one with a note are told, and of the others some five a second."""
    listener = Counting()
    began = time.monotonic()
    share_out(toy.chatting, named(1), jobs=2, listener=listener)
    assert (5_000, "half") in listener.told
    assert listener.told[-1][0] == 10_000
    assert len(listener.told) <= 3 + 5 * (time.monotonic() - began)


@linux
def test_an_interruption_ends_all_processes(toy: Any) -> None:
    """Ctrl-C, here as the listener's, leaves no process behind."""
    pids: list[int] = []

    class Interrupting(Silent):
        def end(self, line: str) -> None:
            pids.append(int(line))
            if len(pids) == 2:
                raise KeyboardInterrupt

        def lane(self) -> Interrupting:
            return self

    with pytest.raises(KeyboardInterrupt):
        share_out(toy.endless, named(2), jobs=2, listener=Interrupting())
    assert not any(is_alive(pid) for pid in pids)


def test_each_search_has_a_bar_of_its_own() -> None:
    """A terminal shows one bar for all runs and one for each search at hand; lines go on being lines."""
    bars = Bars()
    one, two = bars.lane(), bars.lane()
    one.begin("one", 10)
    two.begin("two", 20)
    one.advance(3, 10)
    bars.runs(1, 2)
    shown = [(task.description, task.completed, task.total) for task in bars._progress.tasks if task.visible]
    assert shown == [("all runs", 1, 2), ("one", 3, 10), ("two", 0, 20)]
    lines = Lines(every=7)
    assert lines.lane() is not lines
    assert lines.lane().every == 7


def test_processes_share_the_threads() -> None:
    """Each has its whole part of them, and at least one; one process keeps its own."""
    with threads(5):
        for jobs, share in ((1, 5), (2, 2), (3, 1), (9, 1)):
            with share_of_threads(jobs):
                assert torch.get_num_threads() == share
        assert torch.get_num_threads() == 5


@pytest.mark.parametrize("jobs", ["0", "-2"])
@pytest.mark.parametrize("command", ["run smoke", "select DIR", "diagnose DIR"])
def test_fewer_processes_than_one_are_refused(command: str, jobs: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line quotes the number."""
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--jobs", jobs])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"Error: jobs is a number of processes, at least 1; got {jobs}\n"


# The order of lines.


def test_a_report_says_the_same_whatever_the_order_of_the_lines(tmp_path: Path) -> None:
    """From shuffled records: the same sentences, summary and tables, but for the lines that these name."""
    first = sample_run(tmp_path / "a" / "run", searchers=("darts", "gdas"), fails=lambda key: key.seed == 1)
    some = RepeatRecord(searcher="darts", dataset="digits", seed=0, selector="magnitude", repeat=1)
    some = replace(some, cell=read_records(first)[0].cell, accuracy=80.0)
    for seed in (0, 1, 2):
        for repeat in (1, 2):
            append_repeat(first, replace(some, seed=seed, repeat=repeat, accuracy=80.0 + 3 * seed + repeat))
    second = tmp_path / "b" / "run"
    shutil.copytree(first, second)
    records = records_path(second).read_text(encoding="utf-8").splitlines(keepends=True)
    random.Random(1).shuffle(records)
    records_path(second).write_text("".join(records), encoding="utf-8")
    repeats = repeats_path(second).read_text(encoding="utf-8").splitlines(keepends=True)
    moved = repeats[2:] + repeats[:2]  # one supernet's stay in order: one process writes them
    repeats_path(second).write_text("".join(moved), encoding="utf-8")
    one, other = (report._contents(read_run(folder)) for folder in (first, second))
    assert read_run(first).repeats == read_run(second).repeats
    assert one.findings == other.findings
    assert one.summary == other.summary
    assert one.tables.keys() == other.tables.keys()
    for name in one.tables:
        rows, turned = (
            [without_lines(row) for row in csv.DictReader(io.StringIO(c.tables[name]))] for c in (one, other)
        )
        if name == "records.csv":  # one row for each line
            rows, turned = sorted(rows, key=str), sorted(turned, key=str)
        assert rows == turned, name


def without_lines(row: dict[str, str]) -> dict[str, str]:
    """A row of a table without the numbers of the lines that it is from."""
    return {key: value for key, value in row.items() if key not in ("line", "lines")}


# Supernets.

SMALL = ("images.train_images=64", "images.valid_images=64")

PLUGIN = '''
import multiprocessing, os, signal
from pathlib import Path
from dartboard.benchmark.catalogue import Entry
from dartboard.searchers.darts_v1 import DartsV1

class Deadly(DartsV1):
    """Takes its process with it, the first time."""
    name = "deadly"

    def __init__(self, *arguments, **keywords):
        mark = Path(__file__).with_name("died")
        if multiprocessing.parent_process() is not None and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        super().__init__(*arguments, **keywords)

SEARCHERS = [Entry(name="deadly", place=f"{__name__}:Deadly", summary="of a test")]
'''


def engine(folder: Path, *, plugins: tuple[Path, ...] = (), listener: Silent | None = None, **overrides: Any) -> Engine:
    """An engine for the smoke grid on 64 + 64 images."""
    chosen = {"searchers": ("darts-v1", "random-search"), "selectors": ("magnitude", "perturbation"), "seeds": "0-1"}
    chosen |= {"table": "analog", **overrides}
    chosen["settings"] = (*SMALL, *chosen.get("settings", ()))
    methods = catalogues(plugins)
    grid = read_grid("smoke", Overrides(**chosen), searchers=methods.searchers, selectors=methods.selectors)
    return Engine(grid, folder, device="cpu", listener=listener or Silent())


def by_key(folder: Path) -> dict[str, dict[str, Any]]:
    """The records of a folder as two executions must have them, whatever their order."""
    found = unmeasured(folder)
    return {" ".join(str(r[name]) for name in ("searcher", "dataset", "seed", "selector")): r for r in found}


def searched(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The epochs and diagnostics of a folder without what was measured."""
    return {
        str(path.relative_to(folder)): [
            {k: v for k, v in json.loads(line).items() if not k.endswith("seconds")}
            for line in path.read_text(encoding="utf-8").splitlines()
        ]
        for path in sorted(folder.glob("searches/*/*.jsonl"))
    }


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process on one thread, one of whose searches fails."""
    folder = tmp_path_factory.mktemp("single")
    with threads(1):
        assert failing(folder).run() == Outcome(ok=6, failed=4)
    return folder


def failing(folder: Path, listener: Silent | None = None) -> Engine:
    """The runs of `engine`, and those of a search that diverges."""
    wild = ('searcher.wild.method="darts-v1"', "searcher.wild.weight_learning_rate=1e300")
    settings = (*wild, "searcher.wild.gradient_clip=0.0")
    return engine(folder, listener=listener, searchers=("darts-v1", "wild", "random-search"), settings=settings)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Silent]:
    """The same run by two processes, of a thread each, with what was told."""
    folder, listener = tmp_path_factory.mktemp("several"), Silent()
    with threads(2):
        assert failing(folder, listener).run(jobs=2) == Outcome(ok=6, failed=4)
    return folder, listener


def test_two_processes_leave_the_records_of_one(single: Path, several: tuple[Path, Silent]) -> None:
    """Bit for bit on the same number of threads: records (failed ones, too), epochs, diagnostics and header."""
    folder, _ = several
    assert by_key(folder) == by_key(single)
    assert searched(folder) == searched(single)
    assert {path.name for path in folder.iterdir()} == {path.name for path in single.iterdir()}
    one, other = read_header(single), read_header(folder)
    assert one == other
    assert other is not None
    assert other.device == read_records(folder)[0].device
    assert str(other.device).endswith("1 threads)")


def test_two_processes_tell_what_one_does(several: tuple[Path, Silent]) -> None:
    """Each run and each failure has its line, once."""
    _, listener = several
    assert sum("seed 0, magnitude: " in line for line in listener.lines) == 1
    assert sum("seed 1, queries: " in line for line in listener.lines) == 1
    assert sum(line.startswith("wild on digits, seed 1: failed: FloatingPointError") for line in listener.lines) == 1
    assert len(listener.lines) == 2 * (1 + 2) + 2 + 2  # darts-v1's searches and selections, failures, queries


def test_what_is_there_is_not_done_again(several: tuple[Path, Silent], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every run has its record no process is made."""
    folder, _ = several
    before = records_path(folder).read_bytes()
    monkeypatch.setattr("dartboard.harness.workers._Worker", None)
    assert failing(folder).run(jobs=2) == Outcome(ok=6, failed=4)
    assert records_path(folder).read_bytes() == before


def test_a_lost_search_has_no_record_and_is_tried_again(tmp_path: Path) -> None:
    """The process of a plug-in file's searcher is killed: a line says so, the rest has its records, then it, too."""
    plugin = tmp_path / "deadly_methods.py"
    plugin.write_text(PLUGIN, encoding="utf-8")
    listener, asked = Silent(), {"searchers": ("deadly", "random-search"), "selectors": ("magnitude",), "seeds": "0"}
    with threads(2):
        first = engine(tmp_path / "run", plugins=(plugin,), listener=listener, **asked)
        plugin.write_text(PLUGIN + "# changed, which the run does not notice\n", encoding="utf-8")
        assert first.run(jobs=2) == Outcome(ok=1, failed=0, lost=1)
        assert [record.searcher for record in read_records(tmp_path / "run")] == ["random-search"]
        (line,) = [line for line in listener.lines if "lost" in line]
        assert line.startswith("deadly on digits, seed 0: lost, its process was ended by SIGKILL; the same command")
        assert first.run() == Outcome(ok=2, failed=0)


def test_a_process_whose_engine_cannot_be_built_ends_the_run(tmp_path: Path) -> None:
    """What it lacks, here a pack that has gone since, is one InputError, and nothing is recorded."""
    pack = tmp_path / "mine.npz"
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (256, 8, 8, 3), dtype=np.uint8), np.arange(256) % 10
    np.savez(pack, train_images=images, train_y=labels)
    ours = engine(tmp_path / "run", datasets=(str(pack),), searchers=("darts-v1",))
    pack.unlink()
    with pytest.raises(InputError, match=r"mine\.npz"):
        ours.run(jobs=2)
    assert not records_path(tmp_path / "run").exists()


def children(pid: int) -> list[int]:
    """The processes that a command has spawned for searches."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and "spawn_main" in (path / "cmdline").read_text():
                found.append(int(path.name))
        except OSError:
            continue
    return found


def written(folder: Path) -> dict[str, tuple[int, int]]:
    """The size and time of every file."""
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


@linux
def test_ctrl_c_and_a_killed_command_lose_nothing(tmp_path: Path, single: Path) -> None:
    """Ctrl-C: 130, one line, no traceback; kill -9: no process is left that writes; then the same records as ever."""
    folder = tmp_path / "run"
    # What a shell runs in the background ignores Ctrl-C, and so would all that it runs.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heeding}; from dartboard.harness.cli import main; main()"
    command = [sys.executable, "-c", code, "run", "smoke", "--jobs", "2"]
    command += ["--out", str(folder), "--device", "cpu", "--table", "analog", "--no-report", "--seeds", "0-1"]
    command += [part for name in ("darts-v1", "random-search") for part in ("--searcher", name)]
    command += [part for name in ("magnitude", "perturbation") for part in ("--selector", name)]
    command += [part for setting in SMALL for part in ("--set", setting)]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}

    def begin() -> subprocess.Popen[str]:
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)

    run = begin()
    until(lambda: list(folder.glob("searches/*/epochs.jsonl")))
    workers = children(run.pid)
    os.killpg(run.pid, signal.SIGINT)
    told = run.communicate(timeout=60)[1]
    assert run.returncode == 130
    assert told.splitlines()[-1].endswith(f"interrupted; the same command goes on from the last epoch in {folder}")
    assert "Traceback" not in told
    assert len(workers) == 2
    assert not any(is_alive(pid) for pid in workers)

    before = written(folder / "searches")
    run = begin()
    until(lambda: written(folder / "searches") != before)
    workers = children(run.pid)
    run.kill()
    assert run.wait() == -signal.SIGKILL
    until(lambda: not any(is_alive(pid) for pid in workers), 20)
    assert run.communicate()[1].count("Traceback") == 0
    before = written(folder)
    time.sleep(0.2)
    assert written(folder) == before
    with threads(1):
        assert engine(folder).run() == Outcome(ok=6, failed=0)
    expected = {key: record for key, record in by_key(single).items() if not key.startswith("wild")}
    assert by_key(folder) == expected


def test_selections_and_diagnostics_by_two_processes(several: tuple[Path, Silent], tmp_path: Path) -> None:
    """`select --jobs 2` and `diagnose --jobs 2` leave what one process leaves."""
    folder, _ = several
    left: list[Any] = []
    for jobs in ("1", "2"):
        copy = tmp_path / jobs
        shutil.copytree(folder, copy)
        chosen = ["--searcher", "darts-v1", "--selector", "magnitude", "--selector", "first-order", "--seeds", "0"]
        for command in (
            ["select", str(copy), "--repeat", "2", *chosen],
            ["diagnose", str(copy), "--diagnostics", "rank-correlation"],
        ):
            with threads(int(jobs)), pytest.raises(SystemExit) as ended:
                main([*command, "--device", "cpu", "--jobs", jobs])
            assert ended.value.code == 0
        repeats = [
            {k: v for k, v in json.loads(line).items() if not k.endswith(("_seconds", "_mb", "_at"))}
            for line in repeats_path(copy).read_text(encoding="utf-8").splitlines()
        ]
        left.append((sorted(repeats, key=str), searched(copy)))
        assert len(read_repeats(copy)) == 2 * 2
    assert left[0] == left[1]
