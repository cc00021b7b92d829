"""The figures of what a board's searches did, each under its heading: trajectories, landscapes, ranks, mixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dartboard.results import takeaways
from dartboard.results.board import Board
from dartboard.results.document import Block, Plot, Section, Text
from dartboard.results.names import Names
from dartboard.results.searches import searches_table
from dartboard.results.wording import listed, seeds

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def trajectories(board: Board, names: Names) -> Block:
    """The argmax cell of each search, epoch by epoch."""
    runs = [run for run in board.trajectories if run.epochs]
    missing = [str(run.search) for run in board.trajectories if not run.epochs]
    words = [Text(text=f"No epochs are recorded for {listed(missing)}.")] if missing else []
    if board.tied:
        who = listed(str(search) for search in board.tied)
        words.append(Text(text=f"The mixing weights of {who} are equal on every edge: they have no argmax cell."))

    def draw(columns: int) -> list[Figure]:
        from dartboard.results.figures_search import trajectories

        return trajectories(
            runs, board.collapses, metric=board.metric, best=board.best, prior=board.prior, columns=columns
        )

    plot = Plot(
        name=names.free(f"trajectory-{board.slug}"),
        takeaway=takeaways.trajectories(board),
        how="The truth about the cell with the largest mixing weight on each edge, after each epoch; up is better"
        f"{board.scale_words}. A cross marks from when on the cell stays collapsed.",
        alt=f"What the argmax cell is worth after each epoch. {board.title}",
        tables=("epochs.csv", "searches.csv"),
        draw=draw,
    )
    table = searches_table(board)
    blocks = (*((plot,) if runs else ()), *((table,) if table else ()), *words)
    return Section(title="The argmax cell, epoch by epoch", blocks=blocks)


def landscapes(board: Board, names: Names) -> Block | None:
    """The loss around the trained architectures; None where it was not measured."""
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


def rank_scatters(board: Board, names: Names) -> Block | None:
    """Inherited against true accuracy; None where it was not measured."""
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


def mixtures(board: Board, names: Names) -> Block | None:
    """The mixing weights of every search method; None where no epochs are recorded."""
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
