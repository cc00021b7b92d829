"""The part of a report that holds scores against the table's true operation strength."""

from __future__ import annotations

from collections.abc import Sequence

from dartboard.results.board import Board
from dartboard.results.criteria import against_controls, criteria
from dartboard.results.criteria_tables import (
    AGREEMENT_WORDS,
    TEST_WORDS,
    agreement_table,
    control_cells,
    control_table,
    criterion_cells,
)
from dartboard.results.csv_files import csv_text
from dartboard.results.document import Block, Section, Table, Text


def criteria_section(board: Board) -> Section | None:
    """Agreement of the scores with true strength, and tests against controls; None where the table is not at hand."""
    if board.space is None or not _scored(board):
        return None
    head, lines = agreement_table(criteria(board.records, -board.space))
    title = "Scores against true operation strength"
    blocks: list[Block] = [Text(text=AGREEMENT_WORDS), Table(head=head, rows=tuple(lines), title=title)]
    found = against_controls(board.records, -board.space, dataset=board.slug)
    if found:
        head, lines = control_table(found)
        tests = "Criteria against their controls"
        blocks += [Text(text=TEST_WORDS), Table(head=head, rows=tuple(lines), title=tests)]
    return Section(title=title, blocks=tuple(blocks))


def criteria_tables(boards: Sequence[Board]) -> dict[str, str]:
    """criteria.csv and criteria-tests.csv, of all boards whose table is at hand; {} where there is none."""
    known = [(board, -board.space) for board in boards if board.space is not None and _scored(board)]
    if not known:
        return {}
    rows = [{"board": b.slug} | row for b, column in known for row in criterion_cells(criteria(b.records, column))]
    tests = [
        {"board": b.slug} | row
        for b, column in known
        for row in control_cells(against_controls(b.records, column, dataset=b.slug))
    ]
    return {"criteria.csv": csv_text(rows), "criteria-tests.csv": csv_text(tests)}


def _scored(board: Board) -> bool:
    return any(record.scores is not None for record in board.records)
