"""Scores against true operation strength, beside controls: by hand, by brute force, and by SciPy."""

from __future__ import annotations

import csv
import io
from itertools import permutations
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import SPACE_SIZE, Cell, E, O
from dartboard.benchmark.strength import average_strength, grid
from dartboard.benchmark.tables.store import load_table
from dartboard.results.board import Board, boards
from dartboard.results.contents_criteria import criteria_section, criteria_tables
from dartboard.results.criteria import (
    FIGURES,
    RANDOM_ORDER,
    against_controls,
    agreement,
    criteria,
    random_order_std,
    rho,
    tau_b,
    true_strengths,
)
from dartboard.results.criteria_tables import agreement_table, control_cells, control_table, criterion_cells
from dartboard.results.document import Table
from dartboard.results.records import RunRecord, append_record
from dartboard.results.rundata import read_run

DRAW = np.random.default_rng(0)


def additive() -> NDArray[np.float64]:
    """A column in which every operation of every edge adds its own amount: the strengths' order is known."""
    return np.array([sum(10 * o + (e + 1) * o for e, o in enumerate(cell.operations)) for cell in cells()], dtype=float)


def cells() -> list[Cell]:
    """All cells."""
    return [Cell.from_number(number) for number in range(SPACE_SIZE)]


COLUMN = additive()
UP = tuple(tuple(float(o) for o in range(O)) for _ in range(E))  # the true order on each edge
DOWN = tuple(row[::-1] for row in UP)


def record(selector: str, seed: int, accuracy: float | None, scores: Any = None, **fields: Any) -> RunRecord:
    """A run's record."""
    given = {"searcher": "s", "dataset": "d", "status": "ok", "rank": 3, "regret": 1.0}
    return RunRecord(**(given | {"selector": selector, "seed": seed, "accuracy": accuracy, "scores": scores} | fields))


def brute_force_tau_b(a: Any, b: Any) -> float:
    """Concordant less discordant pairs over the root of the untied ones of each."""
    pairs = [(i, j) for i in range(len(a)) for j in range(i)]
    concordant = sum((a[i] - a[j]) * (b[i] - b[j]) > 0 for i, j in pairs)
    discordant = sum((a[i] - a[j]) * (b[i] - b[j]) < 0 for i, j in pairs)
    untied = [sum(x[i] != x[j] for i, j in pairs) for x in (a, b)]
    return float((concordant - discordant) / sqrt(untied[0] * untied[1]))


@pytest.mark.parametrize("n", [5, 30])
@pytest.mark.parametrize("values", [2, 4, 1000])
def test_rank_correlations_with_and_without_ties(n: int, values: int) -> None:
    """Kendall's is that of counted pairs and of SciPy, Spearman's that of SciPy."""
    for _ in range(20):
        a, b = DRAW.integers(values, size=(2, n)).tolist()
        if len(set(a)) == 1 or len(set(b)) == 1:
            assert tau_b(a, b) == rho(a, b) == 0
            continue
        assert tau_b(a, b) == pytest.approx(brute_force_tau_b(a, b), abs=1e-12)
        assert tau_b(a, b) == pytest.approx(stats.kendalltau(a, b).statistic, abs=1e-12)
        assert rho(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


def test_a_random_order_by_all_permutations() -> None:
    """Over the 120 orders of five operations the mean agreement is 0 and its deviation the closed form's."""
    for measure, correlate in (("spearman", rho), ("kendall", tau_b)):
        found = [correlate(order, range(O)) for order in permutations(range(O))]
        assert np.mean(found) == pytest.approx(0, abs=1e-12)
        assert np.std(found) == pytest.approx(random_order_std(measure, O))


def test_agreement_with_an_additive_table() -> None:
    """The true order on every edge agrees by 1, its reverse by -1, a constant by 0; over all 30 less."""
    strengths = true_strengths(COLUMN)
    assert [row.argsort().tolist() for row in strengths["average"]] == [list(range(O))] * E
    up, down, flat = (agreement(np.array(scores), strengths) for scores in (UP, DOWN, np.ones((E, O))))
    assert set(up) == set(FIGURES)
    for name in FIGURES:
        if "_edges_" in name:
            assert (up[name], down[name]) == (pytest.approx(1), pytest.approx(-1))
        assert flat[name] == 0
        assert up[name] > 0 > down[name]
    by_strength = agreement(strengths["average"], strengths)
    assert by_strength["spearman_all_average"] == by_strength["kendall_all_average"] == pytest.approx(1)


def test_a_constant_added_to_the_table_changes_nothing() -> None:
    """A column of minus the regrets serves as well."""
    scores = DRAW.random((E, O))
    one, other = (agreement(scores, true_strengths(column)) for column in (COLUMN, COLUMN - COLUMN.max()))
    assert one == other


def test_the_rows_of_criteria_by_hand() -> None:
    """Means over supernets of accuracy and agreement; failed runs count; an excluded operation ranks last."""
    excluded = tuple((None, *row[1:]) for row in UP)  # `none`, which the table ranks last, too
    records = [
        record("a", 0, 90.0, UP),
        record("a", 1, 94.0, DOWN, rank=5),
        record("a", 2, None, status="failed", error="x"),
        record("b", 0, 91.0, excluded),
        record("random", 0, 80.0, control="blind"),
        record("a", 0, 70.0, UP, searcher="t"),
    ]
    rows = {(row.searcher, row.selector): row for row in criteria(records, COLUMN)}
    assert [selector for searcher, selector in rows if searcher == "t"] == ["a"]
    assert [selector for searcher, selector in rows if searcher is None] == ["a", "b", "random"]
    mine = rows["s", "a"]
    assert mine.accuracy is not None
    assert (mine.accuracy.mean, mine.accuracy.n, mine.failed, mine.rank, mine.scored) == (92, 2, 1, 4, 2)
    assert mine.figures["spearman_edges_average"].mean == pytest.approx(0)
    assert mine.figures["spearman_edges_average"].std == pytest.approx(sqrt(2))
    assert rows["s", "b"].figures["kendall_edges_best"].mean == pytest.approx(1)
    assert rows["s", "random"].figures == {}
    together = rows[None, "a"].accuracy
    assert together is not None
    assert together.n == 3


def test_a_tie_breaks_cell_is_in_no_mean_of_accuracy() -> None:
    """Scores that are equal on every edge agree by 0 with the truth; their cell's accuracy and rank are left out."""
    flat = tuple((0.2,) * O for _ in range(E))
    rows = criteria([record("a", 0, 90.0, UP), record("a", 1, 10.0, flat, rank=15_000)], COLUMN)
    (row,) = rows
    assert row.accuracy is not None
    assert (row.accuracy.mean, row.accuracy.n, row.rank, row.tied, row.scored) == (90, 1, 3, 1, 2)
    assert row.figures["spearman_edges_average"].mean == pytest.approx(1 / 2)
    (cells, _), (_, lines) = criterion_cells(rows), agreement_table(rows)
    assert (cells["ok"], cells["tied"], cells["accuracy_mean"]) == (2, 1, 90)
    assert lines[0][2:4] == ("2 (1 tied)", "90.00")


def supernets(count: int) -> list[RunRecord]:
    """A criterion that is always right, its shuffled scores, another's, and controls."""
    records = []
    for seed in range(count):
        shuffled = tuple(tuple(DRAW.permutation(O).astype(float).tolist()) for _ in range(E))
        records += [
            record("good", seed, 90.0 + seed, UP),
            record("prior", seed, 90.0 + seed, UP, control="blind"),
            record("random", seed, 80.0, control="blind"),
            record("shuffled:good", seed, 70.0, shuffled, control="blind"),
            record("shuffled-other", seed, 70.0, shuffled, control="blind"),
            record("oracle", seed, 94.0, control="truth"),
        ]
    return records


def test_criteria_are_paired_with_their_own_controls() -> None:
    """8 supernets: 8 wins of 8 have p = 2/256 against random, equal to the prior p = 1; corrected by their number."""
    found = {(entry.measure, entry.against): entry for entry in against_controls(supernets(8), COLUMN)}
    assert {key for key in found if key[0] == "accuracy"} == {
        ("accuracy", "prior"),
        ("accuracy", "random"),
        ("accuracy", "shuffled:good"),
    }
    assert {against for measure, against in found if measure != "accuracy"} == {"prior", "shuffled:good", RANDOM_ORDER}
    beaten = found["accuracy", "random"]
    assert (beaten.better, beaten.equal, beaten.worse, beaten.test.p) == (8, 0, 0, 2 / 256)
    assert beaten.corrected_p == pytest.approx(3 * 2 / 256)
    assert beaten.verdict == "better"
    same = found["accuracy", "prior"]
    assert (same.equal, same.test.p, same.verdict) == (8, 1, "not told apart")
    chance = found["spearman_edges_average", RANDOM_ORDER]
    assert (chance.difference.mean, chance.test.p) == (pytest.approx(1), 2 / 256)


def test_only_shared_supernets_are_paired() -> None:
    """A supernet that the control failed on is left out; with three left the smallest p is 1/4."""
    records = [r for r in supernets(4) if not (r.selector == "random" and r.seed == 3)]
    (entry,) = [e for e in against_controls(records, COLUMN) if (e.measure, e.against) == ("accuracy", "random")]
    assert (entry.difference.n, entry.test.p, entry.test.smallest_p) == (3, 0.25, 0.25)
    assert entry.verdict == "not told apart"


def test_the_tables() -> None:
    """The CSV rows hold the figures and a random order; the page shows criteria, controls and verdicts."""
    records = supernets(8)
    rows, found = criteria(records, COLUMN), against_controls(records, COLUMN)
    table = {row["selector"]: row for row in criterion_cells(rows)}
    assert table["good"]["spearman_edges_average_mean"] == 1
    assert table[RANDOM_ORDER]["spearman_edges_average_std"] == round(sqrt(1 / 24), 6)
    assert table[RANDOM_ORDER]["kendall_all_best_std"] == round(sqrt(130 / (9 * 30 * 29)), 6)
    assert table["random"]["spearman_all_best_mean"] is None
    assert {row["verdict"] for row in control_cells(found)} <= {"better", "worse", "not told apart"}
    head, lines = agreement_table(rows)
    shown = {line[1]: dict(zip(head, line, strict=True)) for line in lines}
    assert shown["good"]["accuracy (%)"] == "93.50 ± 2.45"
    assert shown["good"]["Spearman, average"] == shown["(prior)"]["Kendall, best"] == "1.00 ± 0.00"
    assert shown["(random)"]["Spearman, best"] == "-"
    assert [line[1] for line in lines][-1] == "(random order)"
    head, lines = control_table(found)
    assert len(lines) == 1
    told = dict(zip(head, lines[0], strict=True))
    assert told["accuracy: less random"] == "**+13.50 [0.0234]**"
    assert told["accuracy: less prior"] == "+0.00 [1]"
    assert {"accuracy: less its own scores shuffled", "Spearman, average: less random order"} <= set(told)


def test_a_column_of_something_else_is_refused() -> None:
    """Strengths are of the whole space."""
    with pytest.raises(InputError, match="15625"):
        criteria(supernets(1), COLUMN[:5])


def board_of(folder: Path, *, sha256: str) -> Board:
    """The board of a run whose cells the embedded table judged, but for what its records say of the table."""
    table = load_table("analog")
    metric = table.default_metric("digits")
    for seed in range(2):
        for selector, cell, scores in (("a", Cell((4,) * E), UP), ("b", Cell((1,) * E), DOWN)):
            told = {"accuracies": {str(metric): table.lookup(cell, metric)}, "metric": str(metric), "cell": str(cell)}
            about = {"table": "analog", "table_sha256": sha256, "dataset": "digits", "cell_number": cell.number}
            append_record(folder, record(selector, seed, table.lookup(cell, metric), scores, **told, **about))
    (found,) = boards(read_run(folder))
    return found


def test_a_report_has_the_table_where_the_accuracies_are_at_hand(tmp_path: Path) -> None:
    """By the records' own table the section and both CSV files are there; where the table is another there are none."""
    known = board_of(tmp_path / "known", sha256=load_table("analog").provenance.sha256)
    section = criteria_section(known)
    assert section is not None
    (table,) = [block for block in section.blocks if isinstance(block, Table) and "selector" in block.head]
    assert [row[1] for row in table.rows] == ["a", "b", "(random order)"]
    files = criteria_tables([known])
    assert set(files) == {"criteria.csv", "criteria-tests.csv"}
    metric = load_table("analog").default_metric("digits")
    strength = average_strength(grid(load_table("analog").accuracy[metric]))
    expected = np.mean([stats.spearmanr(range(O), row).statistic for row in strength])
    (row,) = [r for r in csv.DictReader(io.StringIO(files["criteria.csv"])) if r["selector"] == "a"]
    assert float(row["spearman_edges_average_mean"]) == pytest.approx(expected, abs=1e-6)
    unknown = board_of(tmp_path / "unknown", sha256="0" * 64)
    assert criteria_section(unknown) is None
    assert criteria_tables([unknown]) == {}
