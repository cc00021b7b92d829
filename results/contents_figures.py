"""The figures of one board, each under its heading, with its sentence, its tables and how to read it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dartboard.results import takeaways
from dartboard.results.aggregate import Chosen, chosen_cells
from dartboard.results.blame import blame
from dartboard.results.board import SHARING, Board
from dartboard.results.contents_searches import landscapes, mixtures, rank_scatters, trajectories
from dartboard.results.document import Block, Drawn, Plot, Section, Table, Text
from dartboard.results.judged import undecided
from dartboard.results.names import Names
from dartboard.results.records import RunRecord
from dartboard.results.standings import criterion_standings
from dartboard.results.wording import (
    choosers,
    count,
    interval,
    listed,
    metric_words,
    number,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN_CELLS: Final = 120
"""At most so many distinct cells of a board are drawn and listed; cells.csv has them all."""


def figures(board: Board, names: Names) -> list[Block | None]:
    """Every figure that the records have something for, in order; None for the others."""
    done = any(record.ok for record in board.records)
    return [
        *((_selections(board, names), _blames(board, names), _ranks(board, names)) if done else ()),
        *((_distributions(board, names), _costs(board, names)) if done else ()),
        trajectories(board, names),
        landscapes(board, names),
        rank_scatters(board, names),
        mixtures(board, names),
        _cells(board, names),
    ]


def _selections(board: Board, names: Names) -> Block:
    def draw(columns: int) -> list[Figure]:
        from dartboard.results.figures_choice import selections

        return selections(
            _decided(board),
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
        f"Right is better{board.scale_words}. Controls are below the rule.",
        alt=f"What each selector's cell is worth. {board.title}",
        tables=("results.csv", "records.csv"),
        draw=draw,
    )
    return Section(title="The same supernets, every selector", blocks=(plot,))


def _decided(board: Board) -> list[RunRecord]:
    """The board's records without those whose cell is the tie-break's."""
    return [record for record in board.records if not undecided(record)]


def _blames(board: Board, names: Names) -> Block | None:
    entries = blame(board.records, board.dataset)
    if not entries or not all(entry.divisible for entry in entries) or board.kind != SHARING:
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
        name: [r.regret for r in _decided(board) if r.selector == name and r.regret is not None]
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
    known = [row for row in board.rows if (row.searcher, row.selector) in board.middles]
    if not any(row.control is None and row.accuracy and row.selection_images for row in known):
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


def _cells(board: Board, names: Names) -> Block | None:
    chosen = chosen_cells(board.numbered)
    if not chosen:
        return None
    shown = chosen[:DRAWN_CELLS]
    first = f" The first {DRAWN_CELLS} are shown; cells.csv has all." if len(chosen) > DRAWN_CELLS else ""
    words = (
        f"{count(len(chosen), 'distinct cell')} came out.{first} First come those that criteria chose most often. "
        "Pale edges do not reach the output; a dotted edge is `none`. Accuracy and rank: "
        f"{metric_words(board.metric)}."
    )

    def draw(columns: int) -> list[Figure]:  # noqa: ARG001  (for Markdown alone)
        from dartboard.results.figures_search import cells

        return cells(shown)

    plot = Plot(
        name=names.free(f"cells-{board.slug}"),
        takeaway=takeaways.most_chosen(chosen[0]),
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


def _cell_row(entry: Chosen) -> tuple[str | Drawn, ...]:
    who = choosers(entry.choosers)
    who = who if len(who) <= 6 else [*who[:6], f"and {len(who) - 6} more (cells.csv)"]
    rank = f"{entry.rank:,}" if entry.rank is not None else "-"
    return (Drawn(cell=entry.cell), str(entry.number), number(entry.accuracy), rank, "; ".join(who))
