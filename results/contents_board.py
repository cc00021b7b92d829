"""What a report shows of one board: first the matrices at a glance, then tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dartboard.results import takeaways
from dartboard.results.aggregate import COLLAPSED_SKIPS, Chosen, Group, chosen_cells, shown_metrics
from dartboard.results.blame import blame, criterion_standings
from dartboard.results.board import SHARING, Board
from dartboard.results.contents_criteria import criteria_section
from dartboard.results.contents_repeats import budget_section, repeats_section
from dartboard.results.document import Block, Drawn, Matrix, Plot, Row, Section, Square, Table, Text
from dartboard.results.names import Names
from dartboard.results.wording import (
    choosers,
    count,
    interval,
    listed,
    mean_std,
    metric_title,
    metric_words,
    number,
    seeds,
    spans,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONG: Final = 24
"""Tables of more rows are closed at first on a web page."""

DRAWN_CELLS: Final = 120
"""At most so many distinct cells of a board are drawn and listed; cells.csv has them all."""


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
                squares.append(Square(lines=("failed",), hatched=True))
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
            "has none), and the number of supernets. Deeper purple is better; hatched failed, blank was not run; "
            "controls are below the rule.",
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
    parts += [block for block in _figures(board, names) if block is not None]
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
            table = Table(head=head, rows=tuple(_result_row(group, metrics) for group in chosen), title=heading)
            words = (Text(text=_control_words(chosen)),) if wanted else ()
            parts.append(Section(title=heading, blocks=(*words, table), folded=len(chosen) > LONG))
    return parts


def _control_words(rows: Sequence[Group]) -> str:
    blind = list(dict.fromkeys(f"`{group.selector}`" for group in rows if group.control == "blind"))
    truth = list(dict.fromkeys(f"`{group.selector}`" for group in rows if group.control == "truth"))
    parts = []
    if blind:
        parts.append(f"{listed(blind)} never {'look' if len(blind) > 1 else 'looks'} at the supernet")
    if truth:
        parts.append(f"{listed(truth)} {'read' if len(truth) > 1 else 'reads'} the table instead")
    return f"Not criteria, but what a criterion is measured by: {'; '.join(parts)}."


def _result_row(group: Group, metrics: Sequence[str]) -> tuple[str, ...]:
    parts = [number(summary.mean, 1) for summary in (group.skips, group.pools, group.nones) if summary]
    free = f"{number(group.free_edges.mean, 1)} ({' + '.join(parts)})" if group.free_edges else "-"
    return (
        group.searcher,
        group.selector,
        f"{group.ok} / {group.failed}",
        *(mean_std(group.accuracies.get(metric)) for metric in metrics),
        mean_std(group.regret),
        mean_std(group.percentile),
        free,
        spans(group.lines),
    )


# Figures.


def _figures(board: Board, names: Names) -> list[Block | None]:
    done = any(record.ok for record in board.records)
    return [
        *((_selections(board, names), _blames(board, names), _ranks(board, names)) if done else ()),
        *((_distributions(board, names), _costs(board, names)) if done else ()),
        _trajectories(board, names),
        _landscapes(board, names),
        _rank_scatters(board, names),
        _mixtures(board, names),
        _cells(board, names),
    ]


def _selections(board: Board, names: Names) -> Block:
    from dartboard.results import takeaways

    def draw(columns: int) -> list[Figure]:
        from dartboard.results.figures_choice import selections

        return selections(
            board.records,
            board.rows,
            board.middles,
            board.marks,
            metric=board.metric,
            best=board.best,
            columns=columns,
        )

    plot = Plot(
        name=names.free(f"selection-{board.slug}"),
        takeaway=takeaways.selections(board),
        how="Each mark is the cell chosen from one supernet; a line joins what the criteria chose from the same one. "
        f"Right is better{_logarithmic(board)}. Controls are below the rule.",
        alt=f"What each selector's cell is worth. {board.title}",
        tables=("results.csv", "records.csv"),
        draw=draw,
    )
    return Section(title="The same supernets, every selector", blocks=(plot,))


def _logarithmic(board: Board) -> str:
    return "" if board.best is None else ", on a scale that is logarithmic beyond a tenth of a point"


def _blames(board: Board, names: Names) -> Block | None:
    entries = blame(board.records, board.dataset)
    if not entries or board.kind != SHARING:
        return None
    single = [entry for entry in entries if entry.searcher is not None]
    single = single or [replace(entry, searcher=board.searchers[0]) for entry in entries]

    def draw(columns: int) -> list[Figure]:
        from dartboard.results.figures_tests import blames

        return blames(single, columns=columns)

    plot = Plot(
        name=names.free(f"blame-{board.slug}"),
        takeaway=takeaways.blames(entries),
        how="The mean regret of each criterion, in two parts: what even the best criterion did not get out of the same "
        "supernet, and what this one lost against that best. The best is picked after the fact from all criteria, so "
        "the supernet's part is a lower bound. The whisker is the sum's 95 % interval.",
        alt=f"Regret of each criterion in the supernet's and the selection's part. {board.title}",
        tables=("blame.csv",),
        draw=draw,
    )
    return Section(title="Supernet or selection", blocks=(plot,))


def _ranks(board: Board, names: Names) -> Block | None:
    standings = criterion_standings(board.records, board.dataset, header=board.run.header)
    ranking = standings.ranking
    if not standings.rows:
        return None
    head = ("criterion", "interquartile mean (%)", "worst (%)", "mean rank", "remark")
    rows = tuple(
        (
            row.name,
            f"{row.accuracy.value:.2f} {interval(row.accuracy)}".rstrip(),
            number(row.worst),
            number(row.rank),
            "; ".join(
                [
                    *([f"not ranked: {row.reason}"] if row.reason else []),
                    *([f"another setting of {listed(row.variants)}"] if row.variants else []),
                ]
            ),
        )
        for row in standings.rows
    )
    table = Table(head=head, rows=rows, title="The criteria's ranks")
    if ranking is None:
        why = Text(text="No criterion is ranked: that takes two of them on the same two supernets or more.")
        return Section(title="The criteria ranked", blocks=(why, table))
    ranked = [row.name for row in standings.ranked]

    def draw(columns: int) -> list[Figure]:  # noqa: ARG001  (one panel)
        from dartboard.results.figures_tests import critical_differences

        return [critical_differences(board.title, ranked, ranking, board.marks)]

    plot = Plot(
        name=names.free(f"ranks-{board.slug}"),
        takeaway=takeaways.critical_differences(ranking, ranked),
        how="Mean ranks of the criteria over the same supernets, best first; a thick bar joins those that Nemenyi's "
        f"test does not tell apart at {100 * ranking.alpha:.0f} %.",
        alt=f"Mean rank of each criterion with the critical difference. {board.title}",
        tables=("standings.csv",),
        draw=draw,
    )
    return Section(title="The criteria ranked", blocks=(plot, table))


def _distributions(board: Board, names: Names) -> Block | None:
    regrets = {
        name: [r.regret for r in board.records if r.selector == name and r.regret is not None]
        for name in board.selectors
        if board.controls.get(name) != "truth"
    }
    regrets = {name: values for name, values in regrets.items() if values}
    if not regrets:
        return None

    def draw(columns: int) -> list[Figure]:
        from dartboard.results.figures_choice import distributions

        return distributions(regrets, board.space, board.marks, controls=list(board.controls), columns=columns)

    whole = " The grey is the same of all 15,625 cells: left of it is better than drawing cells blindly."
    if board.space is None:
        whole = " The whole space's is missing: the table that judged the runs is not on this machine."
    plot = Plot(
        name=names.free(f"regret-{board.slug}"),
        takeaway=takeaways.distributions(board),
        how=f"Which share of a selector's cells has at most so much regret.{whole} Dashed: a control.",
        alt=f"Distribution of regret for each selector. {board.title}",
        tables=("records.csv",),
        draw=draw,
    )
    return Section(title="Regret against the whole space", blocks=(plot,))


def _costs(board: Board, names: Names) -> Block | None:
    if not any(row.control is None and row.accuracy and row.selection_images for row in board.rows):
        return None

    def draw(columns: int) -> list[Figure]:
        from dartboard.results.figures_choice import costs

        return costs(board.rows, board.middles, board.marks, metric=board.metric, best=board.best, columns=columns)

    plot = Plot(
        name=names.free(f"cost-{board.slug}"),
        takeaway=takeaways.costs(board),
        how="A mark is the interquartile mean over seeds, its bar goes from the worst to the best seed. Cost counts "
        "the images that the selector pushed through the supernet, gradient passes included.",
        alt=f"What each selector's cells are worth against images pushed through the supernet. {board.title}",
        tables=("results.csv",),
        draw=draw,
    )
    return Section(title="What it cost", blocks=(plot,))


def _trajectories(board: Board, names: Names) -> Block:
    runs = [run for run in board.trajectories if run.epochs]
    missing = [str(run.search) for run in board.trajectories if not run.epochs]
    words = [Text(text=f"No epochs are recorded for {listed(missing)}.")] if missing else []

    def draw(columns: int) -> list[Figure]:
        from dartboard.results.figures_search import trajectories

        return trajectories(
            runs, board.collapses, metric=board.metric, best=board.best, prior=board.prior, columns=columns
        )

    plot = Plot(
        name=names.free(f"trajectory-{board.slug}"),
        takeaway=takeaways.trajectories(board),
        how="The truth about the cell with the largest mixing weight on each edge, after each epoch; up is better"
        f"{_logarithmic(board)}. A cross marks from when on the cell stays collapsed.",
        alt=f"What the argmax cell is worth after each epoch. {board.title}",
        tables=("epochs.csv",),
        draw=draw,
    )
    return Section(title="The argmax cell, epoch by epoch", blocks=(*((plot,) if runs else ()), *words))


def _landscapes(board: Board, names: Names) -> Block | None:
    found = board.diagnostic("landscape")
    if not found:
        return None

    def draw(columns: int) -> list[Figure]:
        from dartboard.results.figures_search import landscapes

        return landscapes(found, columns=columns)

    plot = Plot(
        name=names.free(f"landscape-{board.slug}"),
        takeaway=takeaways.landscapes(found),
        how="The validation loss of the trained supernet with its architecture moved along random directions.",
        alt=f"Validation loss around the trained architecture. {board.title}",
        tables=("diagnostics.csv",),
        draw=draw,
    )
    return Section(title="The landscape around the trained architecture", blocks=(plot,))


def _rank_scatters(board: Board, names: Names) -> Block | None:
    found = board.diagnostic("rank-correlation")
    if not found:
        return None

    def draw(columns: int) -> list[Figure]:
        from dartboard.results.figures_search import rank_scatters

        metric = next((str(values["metric"]) for values in found.values() if "metric" in values), board.metric)
        return rank_scatters(found, metric=metric, best=board.best if metric == board.metric else None, columns=columns)

    plot = Plot(
        name=names.free(f"ranking-{board.slug}"),
        takeaway=takeaways.rank_scatters(found),
        how="A mark is a sampled cell: its accuracy with the supernet's weights against what the table says of it.",
        alt=f"Accuracy with inherited weights against the truth. {board.title}",
        tables=("diagnostics.csv",),
        draw=draw,
    )
    return Section(title="Do inherited weights rank cells?", blocks=(plot,))


def _mixtures(board: Board, names: Names) -> Block | None:
    parts = [plot for searcher in board.searchers if (plot := mixture(board, searcher, names)) is not None]
    return Section(title="The mixing weights, edge by edge", blocks=tuple(parts)) if parts else None


def mixture(board: Board, searcher: str, names: Names) -> Plot | None:
    """The mixing weights of one search method."""
    searches = [search for search in board.searches if search.searcher == searcher and board.run.epochs[search]]
    if not searches:
        return None
    epochs = [board.run.epochs[search] for search in searches]
    lines = f"each line is a seed ({len(searches)})" if len(searches) > 1 else seeds([searches[0].seed])

    def draw(columns: int) -> list[Figure]:
        from dartboard.results.figures_search import mixtures

        return [mixtures(f"{searcher} on {board.dataset}, {lines}", epochs, columns=columns)]

    return Plot(
        name=names.free(f"mixture-{board.slug}-{searcher}"),
        takeaway=f"{searcher}: {takeaways.mixtures(epochs)}",
        how="The mixing weights of every operation on each edge after each epoch.",
        alt=f"Mixing weights of {searcher} on {board.dataset} after each epoch",
        tables=("epochs.csv",),
        draw=draw,
    )


def _cells(board: Board, names: Names) -> Block | None:
    chosen = chosen_cells(board.numbered)
    if not chosen:
        return None
    shown = chosen[:DRAWN_CELLS]
    first = f" The first {DRAWN_CELLS} are shown; cells.csv has all." if len(chosen) > DRAWN_CELLS else ""
    words = (
        f"{count(len(chosen), 'distinct cell')} came out.{first} Those of criteria come first, and of them the most "
        "often chosen. Pale edges do not reach the output; a dotted edge is `none`. Accuracy and rank: "
        f"{metric_words(board.metric)}."
    )

    def draw(columns: int) -> list[Figure]:  # noqa: ARG001  (for Markdown alone)
        from dartboard.results.figures_search import cells

        return cells(shown)

    plot = Plot(
        name=names.free(f"cells-{board.slug}"),
        takeaway=_first_cell(chosen[0]),
        how=words,
        alt=f"The cells chosen on {board.dataset}",
        tables=("cells.csv",),
        draw=draw,
    )
    head = ("cell", "number", "accuracy (%)", "rank", "chosen by")
    table = Table(head=head, rows=tuple(map(_cell_row, shown)), title="The chosen cells")
    return Section(
        title="The chosen cells",
        blocks=(
            Section(title="Drawings", blocks=(plot,), only="markdown"),
            table,
        ),
    )


def _first_cell(chosen: Chosen) -> str:
    worth = "" if chosen.accuracy is None else f": {chosen.accuracy:.2f} %"
    return f"The cell that criteria chose most often was chosen {count(len(chosen.lines), 'time')}{worth}."


def _cell_row(entry: Chosen) -> tuple[str | Drawn, ...]:
    who = choosers(entry.choosers)
    who = who if len(who) <= 6 else [*who[:6], f"and {len(who) - 6} more (cells.csv)"]
    rank = f"{entry.rank:,}" if entry.rank is not None else "-"
    return (Drawn(cell=entry.cell), str(entry.number), number(entry.accuracy), rank, "; ".join(who))
