"""What a report shows of one board: first the matrices at a glance, then tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from dartboard.results import takeaways
from dartboard.results.aggregate import COLLAPSED_SKIPS, Group, shown_metrics
from dartboard.results.board import Board
from dartboard.results.contents_criteria import criteria_section
from dartboard.results.contents_figures import figures
from dartboard.results.contents_repeats import budget_section, repeats_section
from dartboard.results.document import Block, Matrix, Plot, Row, Section, Square, Table, Text
from dartboard.results.names import Names
from dartboard.results.wording import (
    listed,
    mean_std,
    metric_title,
    metric_words,
    number,
    spans,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONG: Final = 24
"""Tables of more rows are closed at first on a web page."""


def glance(board: Board, names: Names) -> list[Block]:
    """The heat map of every search method and selector."""
    if not board.middles:
        return []
    return [heat_map(board, names)]


def heat_map(board: Board, names: Names) -> Matrix:
    """Every search method with every selector."""
    from dartboard.results.scales import shade, square_lines

    known = {(row.searcher, row.selector): row for row in board.rows}
    values = [middle.value for middle in board.middles.values()]
    rows: list[Row] = []
    ruled = False
    for selector in board.selectors:
        squares = []
        for searcher in board.searchers:
            group, middle = known.get((searcher, selector)), board.middles.get((searcher, selector))
            if group is None:
                squares.append(Square())
            elif middle is None:
                squares.append(Square(lines=square_lines(group, None), hatched=True))
            else:
                squares.append(Square(lines=square_lines(group, middle), shade=shade(middle.value, values, board.best)))
        first = selector in board.controls and not ruled
        rows.append(Row(label=selector, squares=tuple(squares), ruled=first and bool(rows)))
        ruled = ruled or first

    def draw(columns: int) -> list[Figure]:  # noqa: ARG001  (a matrix has no panels)
        from dartboard.results.figures_choice import heat_maps

        return heat_maps(board.rows, board.middles, metric=board.metric, best=board.best)

    return Matrix(
        plot=Plot(
            name=names.free(f"heat-map-{board.slug}"),
            takeaway=takeaways.heat_map(board),
            how=f"{board.title}: {metric_words(board.metric)} in percent of each selector (row) with each search "
            "method (column): the interquartile mean over supernets and its 95 % bootstrap interval (one supernet "
            "has none), and the number of supernets. Deeper purple is better, by the logarithm of what is lost to the "
            "best cell; hatched failed, or tied: its scores were equal on every edge; blank was not run; controls are "
            "below the rule.",
            alt=f"{board.title}: {metric_words(board.metric)} of each selector with each search method",
            tables=("results.csv",),
            draw=draw,
        ),
        corner="selector",
        columns=tuple(board.searchers),
        rows=tuple(rows),
    )


def sections(board: Board, names: Names) -> list[Block]:
    """Tables and figures, in order."""
    parts: list[Block] = [Text(text=_scored(board)), *_results(board)]
    parts += [block for block in figures(board, names) if block is not None]
    further = (criteria_section(board), repeats_section(board), budget_section(board, names))
    return [*parts, *(section for section in further if section is not None)]


def _scored(board: Board) -> str:
    known = f" The table's best cell has {board.best:.2f} %." if board.best is not None else ""
    return (
        f"Regret and percentile are by {metric_words(board.metric)}.{known} A percentile is the share of the other "
        "cells that are worse. Accuracies are mean ± standard deviation (n - 1) over seeds, in percent; one seed has "
        f"no ±. A cell counts as collapsed when at least {COLLAPSED_SKIPS} of its 6 edges are skips, or none is a "
        "convolution, which is true of 6 % of all cells."
    )


# Tables.


def _results(board: Board) -> list[Block]:
    metrics = shown_metrics([record for record in board.records if record.ok])
    titles = [metric_title(metric) for metric in metrics]
    if len(set(titles)) < len(titles):
        titles = [f"{title}, {metric.split('/')[2]} ep." for title, metric in zip(titles, metrics, strict=True)]
    head = (
        *("searcher", "selector", "seeds ok / failed", *titles, "regret (points)", "percentile"),
        *("edges without parameters (skip + pool + none)", "lines"),
    )
    parts: list[Block] = []
    for heading, wanted in (("Criteria", False), ("Controls", True)):
        chosen = [group for group in board.rows if (group.control is not None) == wanted]
        if chosen:
            rows = tuple(_result_row(board, group, metrics) for group in chosen)
            table = Table(head=head, rows=rows, title=heading)
            words = (Text(text=_control_words(chosen)),) if wanted else ()
            parts.append(Section(title=heading, blocks=(*words, table), folded=len(chosen) > LONG))
    return parts


def _control_words(rows: Sequence[Group]) -> str:
    blind = list(dict.fromkeys(f"`{group.selector}`" for group in rows if group.control == "blind"))
    truth = list(dict.fromkeys(f"`{group.selector}`" for group in rows if group.control == "truth"))
    parts = []
    if blind:
        parts.append(f"{listed(blind)} {'tell' if len(blind) > 1 else 'tells'} nothing of the supernet")
    if truth:
        parts.append(f"{listed(truth)} {'read' if len(truth) > 1 else 'reads'} the table instead")
    return f"Not criteria, but what a criterion is measured by: {'; '.join(parts)}."


def _result_row(board: Board, group: Group, metrics: Sequence[str]) -> tuple[str, ...]:
    tied = group.ok and (group.searcher, group.selector) not in board.middles
    parts = [number(summary.mean, 1) for summary in (group.skips, group.pools, group.nones) if summary]
    free = f"{number(group.free_edges.mean, 1)} ({' + '.join(parts)})" if group.free_edges else "-"
    return (
        group.searcher,
        f"{group.selector} (tied: the tie-break's cells)" if tied else group.selector,
        f"{group.ok} / {group.failed}",
        *(mean_std(group.accuracies.get(metric)) for metric in metrics),
        mean_std(group.regret),
        mean_std(group.percentile),
        free,
        spans(group.lines),
    )
