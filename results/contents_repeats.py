"""The part of a report that tells of selections made again: how they scatter, converge, and what a budget buys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dartboard.results.aggregate import Summary
from dartboard.results.board import SHARING, Board
from dartboard.results.csv_files import csv_text
from dartboard.results.document import Block, Plot, Section, Table, Text
from dartboard.results.names import Names
from dartboard.results.repeats import RepeatRecord
from dartboard.results.rundata import RunData
from dartboard.results.scatter import BudgetPoint, Scatter, budget_points, pool, summarise_repeats
from dartboard.results.scatter_tables import WORDS, facts, part_table, repeat_table
from dartboard.results.style import selector_marks
from dartboard.results.wording import listed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


def budget_section(board: Board, names: Names) -> Section | None:
    """Accuracy against budget; None where no budget was set, or there is but one point of each selector."""
    points = drawn(budget_points(board.records, _of(board)))
    several = {point.selector for point in points if sum(p.selector == point.selector for p in points) > 1}
    if not any(point.budget is not None and point.selector in several for point in points):
        return None
    marks = selector_marks(list(dict.fromkeys([*board.marks, *(point.selector for point in points)])))

    def draw(columns: int) -> list[Figure]:
        from dartboard.results.figures_budget import budgets

        return budgets(points, marks, metric=board.metric, best=board.best, columns=columns)

    plot = Plot(
        name=names.free(f"budget-{board.slug}"),
        takeaway=_takeaway(points),
        how="A mark is the mean over supernets, each of them the mean over its repeats, and its bar goes from the "
        "worst of them to the best; a line joins what one selector did with its budgets, on the same supernets. Who "
        "looks at no image stands at 0, a control with a dotted line across. Where there are too many lines for one "
        "panel, those of the selectors that do best with the most images come first.",
        alt=f"Accuracy against the images that a selector was allowed to push. {board.title}",
        tables=("budgets.csv",),
        draw=draw,
    )
    return Section(title="What a budget buys", blocks=(plot,))


def drawn(points: Sequence[BudgetPoint]) -> list[BudgetPoint]:
    """The points of a picture: of a search method, those of as many supernets as the widest budget was tried on.

    A line would otherwise join means over different supernets. A selector that looks at no image has one point.
    """
    kept: dict[tuple[str, str, int | str | None], BudgetPoint] = {}
    for point in points:
        held = [p.accuracy.n for p in points if p.searcher == point.searcher and p.budget is not None and p.images]
        if not point.images or not held or point.accuracy.n == max(held):
            key = (point.searcher, point.selector, point.budget if point.images else "none")
            before = kept.get(key)
            if before is None or point.accuracy.n > before.accuracy.n:
                kept[key] = point
    return list(kept.values())


def _takeaway(points: Sequence[BudgetPoint]) -> str:
    """Which criterion is best with the smallest and with the largest budget that any was held to."""
    held = [point for point in points if point.control is None and point.budget is not None and point.images]
    ends = sorted({point.budget for point in held if point.budget is not None})
    told = []
    for budget in dict.fromkeys((ends[0], ends[-1])) if ends else ():
        first = max((point for point in held if point.budget == budget), key=lambda point: point.accuracy.mean)
        told.append(f"with {budget:,} images `{first.selector}` on {first.searcher} ({first.accuracy.mean:.2f} %)")
    if not told:
        return "No criterion was held to a budget."
    idle = max((p for p in points if p.control and not p.images), key=lambda p: p.accuracy.mean, default=None)
    beside = "" if idle is None else f" Without an image the control `{idle.selector}` has {idle.accuracy.mean:.2f} %."
    return f"The best criterion, picked after the fact: {listed(told)}.{beside}"


def repeats_tables(run: RunData, boards: Sequence[Board]) -> dict[str, str]:
    """repeats.csv and budgets.csv; {} where no selection was made again and none had a budget."""
    files = {}
    if run.repeats:
        files["repeats.csv"] = csv_text(_flat(row) for row in summarise_repeats(run.repeats))
    if run.repeats or any(record.selection_budget is not None for _, record in run.records):
        sharing = [board for board in boards if board.kind == SHARING]
        points = [point for board in sharing for point in budget_points(board.records, _of(board))]
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
