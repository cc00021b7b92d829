"""summary.json. Truth: the tables beside it, and the reader's own refusals."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from dartboard.benchmark.errors import InputError
from dartboard.results import summary as module
from dartboard.results.report import write_report
from dartboard.results.samples import sample_run
from dartboard.results.summary import Summary, read_summary, summary_text

DOCS = Path(__file__).parent.parent / "docs" / "report.md"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The summary of a run with a failure."""
    some = {"magnitude": None, "perturbation": None, "prior": "blind"}
    folder = tmp_path_factory.mktemp("run")
    sample_run(folder, selectors=some, seeds=(0, 1, 2), epochs=2, fails=lambda key: key[2:] == (1, "perturbation"))
    return write_report(folder).summary


def test_what_is_written_is_read(path: Path) -> None:
    """The typed reader gives back what makes the same file."""
    assert summary_text(read_summary(path)) == path.read_text()


def test_its_numbers_are_the_tables(path: Path) -> None:
    """Interquartile means, runs, blame and failures are those of results.csv, blame.csv and failures.csv."""
    found = read_summary(path)
    (ranking,) = found.rankings
    assert (found.ok, found.failed, ranking.supernets) == (8, 1, 3)

    def rows(name: str) -> list[dict[str, str]]:
        with (path.parent / name).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    for result, row in zip(ranking.results, rows("results.csv"), strict=True):
        assert (result.selector, str(result.ok), str(result.failed)) == (row["selector"], row["ok"], row["failed"])
        assert result.accuracy is not None
        assert result.accuracy.value == float(row["accuracy_iqm"])
    for part, row in zip(ranking.blame, rows("blame.csv"), strict=True):
        assert part.supernet.value + part.selection.value == pytest.approx(part.regret.value, abs=2e-6)
        assert part.regret.value == float(row["regret"])
    answers = [row["answer"] for row in rows("failures.csv")]
    assert sum(entry.present for entry in ranking.failures) == answers.count("present")
    assert sum(entry.unknown for entry in ranking.failures) == answers.count("unknown")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda values: values.update(schema_version=99), "not a dartboard-summary of version 1"),
        (lambda values: values.pop("rankings"), r"missing field\(s\): rankings"),
        (lambda values: values.update(more=1), "unknown field 'more'"),
        (lambda values: values["rankings"][0].update(supernets="3"), 'field .supernets. cannot be "3"'),
        (lambda values: values["rankings"][0]["results"][0].update(ok=None), "field 'ok' cannot be null"),
    ],
)
def test_another_file_is_refused(path: Path, tmp_path: Path, change: object, told: str) -> None:
    """A file of another version, or with a field missing, unknown or of another type, is an error that names it."""
    values = json.loads(path.read_text())
    change(values)
    other = tmp_path / "summary.json"
    other.write_text(json.dumps(values))
    with pytest.raises(InputError, match=told):
        read_summary(other)


def test_every_field_is_documented() -> None:
    """docs/report.md names each field of each object of the file."""
    documented = set(re.findall(r"`(\w+)`", DOCS.read_text()))
    kinds = [
        getattr(module, name)
        for name in ("Summary", "Ranking", "Result", "Gain", "Rank", "Blamed", "Failure", "Interval")
    ]
    assert kinds[0] is Summary
    for kind in kinds:
        assert {entry.name for entry in fields(kind)} <= documented
