"""`dartboard list searchers`: names, papers, costs and published numbers, and no method imported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dartboard.benchmark.catalogue import Catalogue, Entry
from dartboard.harness.cli import main
from dartboard.harness.commands.list import class_attribute, cost_factor, searcher_lines
from dartboard.results.published import published_of
from dartboard.searchers._catalogue import SEARCHERS
from dartboard.selectors._catalogue import SELECTORS

PLUGIN = """
from dartboard.benchmark.catalogue import Entry
from dartboard.searchers.darts_v1 import DartsV1

SEARCHERS = [Entry(name="mine-listed", place=f"{__name__}:Mine", summary="mine")]


class Mine(DartsV1):
    paper = "Somebody 2026"
"""


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `dartboard list` prints."""
    with pytest.raises(SystemExit) as ended:
        main(["list", *arguments])
    assert not ended.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("entry", [*SEARCHERS, *SELECTORS], ids=lambda entry: entry.name)
def test_papers_are_read_without_importing(entry: Entry) -> None:
    """What is read from a file's text is the attribute of the class."""
    assert class_attribute(entry, "paper") == entry.load().paper


def test_a_paper_that_cannot_be_read_is_none() -> None:
    """No module, no class, no such attribute: None, and no error."""
    for place in ("dartboard.searchers.nowhere:X", "nowhere_at_all.x:X", "dartboard.searchers.darts_v1:Other"):
        assert class_attribute(Entry(name="x", place=place, summary="x"), "paper") is None
    assert class_attribute(SEARCHERS["darts-v1"], "summary") is None


def test_cost_factors_are_quotients_of_passes() -> None:
    """Forward and backward passes together over those of first-order DARTS; None where none are declared."""
    entries = [
        Entry(name="darts-v1", place="a:A", summary="one", passes=(2, 2)),
        Entry(name="more", place="b:B", summary="two", passes=(5, 4)),
        Entry(name="none", place="c:C", summary="three"),
    ]
    catalogue = Catalogue("searcher", entries)
    assert [cost_factor(entry, catalogue) for entry in entries] == [1, 2.25, None]


def test_every_searcher_has_year_and_cost(capsys: pytest.CaptureFixture[str]) -> None:
    """Each of ours has a paper with its year, and a cost unless it trains no supernet; the rest is as published."""
    rows = json.loads(listed(capsys, "searchers", "--json"))
    assert [row["name"] for row in rows] == [entry.name for entry in SEARCHERS]
    for row in rows:
        assert 1990 < row["year"] < 2100
        assert str(row["year"]) in row["paper"]
        assert (row["cost_factor"] is None) == (SEARCHERS[row["name"]].passes is None)
    darts = next(row for row in rows if row["name"] == "darts-v1")
    own = [number for number in darts["published"] if number["selector"] is None]
    assert [number["mean"] for number in own] == [row.mean for row in published_of("darts-v1")]
    assert {"source", "table", "evidence", "std", "n", "note", "setting", "from_memory"} <= own[0].keys()


def test_the_text_shows_where_a_number_is_from(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each table of a method: three pairs of accuracies, source and mark, a star on what is from memory."""
    lines = listed(capsys, "searchers").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("drnas "))
    assert "1.00x" in lines[start]
    assert lines[start + 1].strip() == "Chen, Wang, Cheng, Tang, Hsieh 2021, arXiv:2006.10355"
    words = lines[start + 2].split()
    assert words[:3] == ["91.55/94.36", "73.49/73.51", "46.37/46.34"]
    assert "Chen et al. 2021, DrNAS, Table 4" in lines[start + 2]
    assert "authors' README" in lines[start + 2]
    assert any("49.27*/59.84*" in line and "[mem]" in line for line in lines)


def test_a_plug_ins_searcher_needs_no_paper_and_no_cost() -> None:
    """A row without them is told as such."""
    row = {"name": "mine", "summary": "one line", "paper": None, "cost_factor": None, "published": []}
    assert [line.split() for line in searcher_lines([row])[-2:]] == [
        ["mine", "-", "one", "line"],
        ["no", "paper", "named"],
    ]


def test_the_paper_of_a_plug_ins_file_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A searcher of a user's own file stands in the list with the paper that its class names."""
    file = tmp_path / "my_listed_methods.py"
    file.write_text(PLUGIN, encoding="utf-8")
    told = listed(capsys, "searchers", "--plugin", str(file))
    assert "Somebody 2026" in told
