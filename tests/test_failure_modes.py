"""The catalogue of failure modes: its thresholds, its documentation, and its verdicts on whole runs."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import Cell
from dartboard.benchmark.strength import average_strength, grid
from dartboard.results.failure_modes.catalogue import MODES, mode
from dartboard.results.failure_modes.cells import skip_collapse
from dartboard.results.failure_modes.samples import case, choice
from dartboard.results.failure_modes.thresholds import Thresholds, thresholds, thresholds_of
from dartboard.results.failure_modes.verdicts import tally, verdicts
from dartboard.results.records import RunHeader
from dartboard.results.rundata import RunData, read_run
from dartboard.results.samples import sample_run

LIMITS = Thresholds()


ROOT = Path(__file__).resolve().parents[1]


# Thresholds.


def test_thresholds_move_the_answer_and_the_rule() -> None:
    """With 5 skips asked for, 4 are no collapse, and the rule says 5."""
    limits = thresholds({"skips": 5, "gap": 20})
    assert (limits.skips, limits.gap, limits.nones) == (5, 20, 3)
    assert skip_collapse(case(choice(Cell((1, 1, 1, 1, 3, 3)))), limits).answer == "absent"
    assert mode("skip-collapse").rule_at(limits) == "at least 5 of 6 edges are skips"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"skip": 5}, "unknown threshold 'skip'"),
        ({"skips": 4.5}, "the threshold skips is a whole number of at least 0; got 4.5"),
        ({"gap": "much"}, "the threshold gap is a number of at least 0; got 'much'"),
        ({"gap": True}, "got True"),
        ({"lost": -1.0}, "got -1.0"),
        ({"kendall": float("nan")}, "got nan"),
        ({"alpha": 1.5}, "the threshold alpha is between 0 and 1; got 1.5"),
    ],
)
def test_what_is_no_threshold_is_refused(values: dict[str, Any], words: str) -> None:
    """A wrong name, kind or value is quoted."""
    with pytest.raises(InputError, match=re.escape(words)):
        thresholds(values)


def test_every_threshold_is_in_a_rule_or_a_docstring() -> None:
    """None is idle: each stands in a mode's rule or in its docstring, with its default there."""
    docs = " ".join(f"{entry.rule} {entry.judge.__doc__}" for entry in MODES)
    for entry in dataclasses.fields(Thresholds):
        assert f"{{{entry.name}}}" in docs or f"`{entry.name}`" in docs, entry.name
        value = f"{entry.default:g}"
        assert re.search(rf"`{entry.name}`\s+\({value}\b", docs), f"{entry.name} without its default"


def test_every_mode_has_its_source() -> None:
    """Each says what it is, from where on, and where that comes from; keys and titles are distinct."""
    assert len({entry.key for entry in MODES}) == len({entry.title for entry in MODES}) == len(MODES) == 15
    for entry in MODES:
        assert "Source:" in (entry.judge.__doc__ or ""), entry.key
        assert "Magnitude:" in (entry.judge.__doc__ or ""), entry.key
        assert entry.rule_at(LIMITS)
    with pytest.raises(InputError, match="skip-colapse"):
        mode("skip-colapse")


def test_every_mode_is_documented() -> None:
    """docs/failure-modes.md has a section for each mode, with its key, and names every threshold with its default."""
    text = (ROOT / "docs" / "failure-modes.md").read_text(encoding="utf-8")
    for entry in MODES:
        assert f"### {entry.title}" in text.lower(), entry.key
        assert f"`{entry.key}`" in text
    for threshold in dataclasses.fields(Thresholds):
        assert f"`{threshold.name} = {threshold.default:g}`" in text, threshold.name


# Runs.


def made_up(tmp_path: Path, **options: Any) -> RunData:
    """A made-up run, with such options in its header."""
    run = read_run(sample_run(tmp_path, seeds=range(3)))
    assert run.header is not None
    header: RunHeader = dataclasses.replace(run.header, options={**run.header.options, **options})
    return dataclasses.replace(run, header=header)


def test_every_case_is_judged_once(tmp_path: Path) -> None:
    """Three criteria on three supernets: nine choices, three supernets, three criteria over seeds; no control."""
    found = verdicts(made_up(tmp_path), "digits")
    cases = {entry.key: [v for v in found if v.mode == entry.key] for entry in MODES}
    sizes = {"run": 9, "supernet": 3, "seeds": 3}
    assert {key: len(rows) for key, rows in cases.items()} == {e.key: sizes[e.scope] for e in MODES}
    assert {v.selector for v in found} == {"magnitude", "magnitude-no-none", "perturbation", None}
    assert all(v.found.needs for v in found if v.answer == "unknown")
    assert all(v.found.evidence for v in found)


def test_the_grids_thresholds_count(tmp_path: Path) -> None:
    """A header that asks for no skips at all makes every cell a collapse."""
    run = made_up(tmp_path, thresholds={"skips": 0})
    assert thresholds_of(run).skips == 0
    assert {v.answer for v in verdicts(run, "digits") if v.mode == "skip-collapse"} == {"present"}


def test_the_edge_oracle_makes_strength_known(tmp_path: Path) -> None:
    """With the control's record in the run, the modes that compare with the truth can be told."""
    run = made_up(tmp_path, selectors={"truth": {"method": "edge-oracle", "strength": "average"}})
    strength = average_strength(grid(np.arange(15625.0)))
    record = choice(
        Cell((4,) * 6),
        selector="truth",
        control="truth",
        scores=tuple(map(tuple, strength.tolist())),
    )
    run = dataclasses.replace(run, records=(*run.records, (99, record)))
    found = [v for v in verdicts(run, "digits") if v.mode in ("edgewise-greed", "magnitude-not-strength")]
    assert {v.answer for v in found} <= {"present", "absent"}
    assert len(found) == 12


def test_a_tally_counts(tmp_path: Path) -> None:
    """The squares of the matrix hold each verdict once; a share has Wilson's interval over what can be told."""
    found = verdicts(made_up(tmp_path), "digits")
    squares = tally(found)
    assert sum(len(square.verdicts) for square in squares) == len(found)
    for square in squares:
        assert square.present + square.absent + square.unknown == len(square.verdicts)
        told_of = square.present + square.absent
        if mode(square.mode).scope != "seeds" and told_of:
            assert square.share is not None
            assert (square.share.value, square.share.n) == (square.present / told_of, told_of)
        else:
            assert square.share is None
    gap = next(square for square in squares if square.mode == "discretisation-gap")
    assert (gap.unknown, gap.magnitude, gap.needs) == (3, None, ("diagnostic discretisation-gap",))


def test_a_real_runs_failures_are_true() -> None:
    """studies/darts-collapse, as its README tells and its records show.

    Magnitude's cells at 3e-3 have 5, 6, 2 and 5 skips, at 1e-2 they have 5, 5, 4 and 3 (and 1, 1, 2, 0 `none`); seven
    of the eight searches lost a cell, the fourth of 1e-2 from 93.61 to 92.46 %; no criterion beats the prior; and
    leave-one-out alone is steady over seeds (93.76, 93.31, 94.29, 93.20: 0.50; 93.20, 92.93, 92.93, 92.62: 0.24).
    """
    run = read_run(ROOT / "studies" / "darts-collapse" / "run")
    squares = {(s.mode, s.searcher, s.selector): s for s in tally(verdicts(run, "cifar10-jpeg"))}
    skips = [v.found.magnitude for v in squares["skip-collapse", "darts-v1", "magnitude"].verdicts]
    fast = [v.found.magnitude for v in squares["skip-collapse", "darts-v1@1e-2", "magnitude"].verdicts]
    assert (skips, fast) == ([5, 6, 2, 5], [5, 5, 4, 3])
    nones = squares["none-takeover", "darts-v1@1e-2", "magnitude"]
    assert [v.found.magnitude for v in nones.verdicts] == [1, 1, 2, 0]
    assert nones.present == 0
    lost = [squares["lost-cell", searcher, None].present for searcher in ("darts-v1", "darts-v1@1e-2")]
    assert lost == [3, 4]
    assert squares["lost-cell", "darts-v1@1e-2", None].verdicts[3].found.magnitude == pytest.approx(1.143, abs=1e-3)
    prior = [s for (mode, *_), s in squares.items() if mode == "no-better-than-prior"]
    assert all(square.present for square in prior)
    steady = {(s.searcher, s.selector) for (mode, *_), s in squares.items() if mode == "seed-instability" and s.absent}
    assert steady == {("darts-v1", "leave-one-out"), ("darts-v1@1e-2", "leave-one-out")}
    assert squares["seed-instability", "darts-v1", "leave-one-out"].magnitude == pytest.approx(0.498, abs=1e-3)
    assert squares["seed-instability", "darts-v1@1e-2", "leave-one-out"].magnitude == pytest.approx(0.237, abs=1e-3)
    unknown = {mode for (mode, *_), s in squares.items() if s.unknown == len(s.verdicts)}
    assert unknown >= {"discretisation-gap", "sharp-minimum", "ranking-failure", "magnitude-not-strength"}
