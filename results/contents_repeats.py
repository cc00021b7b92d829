"""The part of a report that tells of selections made again: how they scatter, converge, and what a budget buys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dartboard.results.aggregate import Summary
from dartboard.results.board import Board
from dartboard.results.csv_files import csv_text
from dartboard.results.document import Block, Section, Table, Text
from dartboard.results.repeats import (
    WORDS,
    BudgetPoint,
    RepeatRecord,
    Scatter,
    budget_points,
    facts,
    part_table,
    pool,
    repeat_table,
    summarise_repeats,
)
from dartboard.results.rundata import RunData


def repeats_section(board: Board) -> Section | None:
    """How far the board's choices scatter on other batches; None where none was made again."""
    rows = pool(summarise_repeats(_of(board)))
    if not rows:
        return None
    title = "The same supernets, other batches"
    blocks: list[Block] = [Text(text=" ".join(WORDS))]
    for name, (head, lines) in ((title, repeat_table(rows)), ("Stopped earlier", part_table(rows))):
        if lines:
            blocks.append(Table(head=head, rows=tuple(lines), title=name))
    return Section(title=title, blocks=tuple(blocks))


def repeats_tables(run: RunData, boards: Sequence[Board]) -> dict[str, str]:
    """repeats.csv and budgets.csv; {} where no selection was made again and none had a budget."""
    files = {}
    if run.repeats:
        files["repeats.csv"] = csv_text(_flat(row) for row in summarise_repeats(run.repeats))
    if run.repeats or any(record.selection_budget is not None for _, record in run.records):
        points = [point for board in boards for point in budget_points(board.records, _of(board))]
        files["budgets.csv"] = csv_text(map(_flat, points))
    return files


def _of(board: Board) -> list[RepeatRecord]:
    searches = set(board.searches)
    return [record for record in board.run.repeats if record.search in searches]


def _flat(row: Scatter | BudgetPoint) -> dict[str, Any]:
    """A row of a CSV file: a summary becomes its mean and deviation, a matrix its mean."""
    cells: dict[str, Any] = {}
    for name, value in facts(row).items():
        summary = getattr(row, name, None)
        if isinstance(summary, Summary):
            cells |= {f"{name}_n": summary.n, f"{name}_mean": _round(summary.mean), f"{name}_std": _round(summary.std)}
        elif name == "score_std":
            known = [x for edge in value or () for x in edge if x is not None]
            cells["score_std_mean"] = _round(sum(known) / len(known)) if known else None
        else:
            cells[name] = _round(value) if isinstance(value, float) else value
    return cells


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
