"""`dartboard bench jobs`: who steps when, and the arithmetic; never the clock."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from dartboard.benchmark.errors import InputError
from dartboard.harness import bench_jobs
from dartboard.harness.bench import CLOCKS, Settings
from dartboard.harness.bench_jobs import Crew, measure_jobs
from dartboard.harness.commands.bench import command

TINY = Settings(channels=2, cells_per_stage=1, image_size=8, batch_size=2, rounds=3, threads=4)


def test_several_take_as_many_steps_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a step takes 0.1 s alone and 0.125 s beside another's, two processes are 1.6 times as fast."""
    now, asked = [0.0], []

    class Fake(Crew):
        def __init__(self, count: int, threads: int, settings: Settings) -> None:
            self.threads, self.members, self.count = threads, [], count  # the members are in `count` alone

        def step(self, steps: int) -> None:
            asked.append((self.count, self.threads, steps))
            now[0] += steps * (0.1 if self.count == 1 else 0.125)

        def peak_memory_mb(self) -> float | None:
            return 100.0 * self.count

    monkeypatch.setattr(bench_jobs, "Crew", Fake)
    monkeypatch.setitem(CLOCKS, "wall", lambda: now[0])  # type: ignore[arg-type]  # a dict, for us
    report = measure_jobs(TINY, 2)
    assert asked[:3] == [(1, 4, 1), (1, 4, 10), (2, 2, 5)]  # a step to count by, then a call that does not count
    assert report.steps == 10
    one, two = report.ways
    assert (one.name, two.name) == ("1 process of 4 threads", "2 processes of 2 threads")
    assert (one.steps_per_second, two.steps_per_second) == pytest.approx((10, 16))
    assert (one.ratio, two.ratio) == pytest.approx((1, 1.6))
    assert report.ratios == pytest.approx((1.6,) * 3)
    assert (one.peak_memory_mb, two.peak_memory_mb) == (100, 200)
    told = report.as_text()
    assert told[0].startswith("jobs: C=2, N=1, 8 pixels, batch 2; 3 rounds of 10 steps; ")
    assert told[3].split()[-6:] == ["62.5", "to", "62.5", "16.00", "1.60x", "200"]
    assert json.loads(json.dumps(report.as_json()))["target"] == "jobs"


def test_a_crew_steps_and_tells_its_memory() -> None:
    """Two processes of a thread each take two steps, tell what they hold together, and are gone."""
    crew = Crew(2, 1, TINY)
    try:
        crew.step(2)
        assert (crew.peak_memory_mb() or 100) >= 100
        assert [member.ended() for member in crew.members] == ["ended with exit code 0"] * 2
    finally:
        crew.end()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["jobs", "--jobs", "1"], "--jobs 1 is what is compared with"),
        (["jobs", "--jobs", "0"], "at least 1; got 0"),
        (["jobs", "--jobs", "3", "--threads", "2"], "3 processes have at least 3 threads, .*; got 2"),
        (["jobs", "--clock", "cpu"], "no use for --clock"),
        (["step", "--jobs", "3"], "no use for --jobs"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_compared_is_refused(arguments: list[str], told: str) -> None:
    """One line, before any process begins."""
    with pytest.raises(InputError, match=told):
        CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)
