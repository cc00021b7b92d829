"""Searches that train single cells, in a report: what a number of trained cells leads to, at any time of the search.

They have a part of a report to themselves. One trained cell costs more than what a whole supernet's selection does, so
no ranking holds both kinds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dartboard.results.aggregate import Summary, summarise
from dartboard.results.board import Board
from dartboard.results.document import Block, Plot, Table, Text
from dartboard.results.records import RunRecord
from dartboard.results.wording import count, listed, mean_std, metric_words, seeds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MILESTONES: Final = (1, 5, 10, 20, 50, 100, 200, 300, 500, 1000, 1500, 2000, 5000, 10_000)
"""Numbers of trained cells after which a table tells of a search; the budget is one more."""

CSV: Final = "queries.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anytime:
    """One search over its seeds: what it had come to after so many trained cells."""

    searcher: str
    seeds: tuple[int, ...]
    budget: int  # trained cells of the seed that had fewest
    accuracies: Mapping[int, Summary]  # percent, by the number of trained cells: of the best cell so far, as it queried


def accuracy_after(record: RunRecord, queries: int) -> float | None:
    """The scored accuracy of the cell that was best, by what the search was told, after so many trained cells."""
    known = [entry["accuracy"] for entry in record.trace if entry["queries"] <= queries]
    return float(known[-1]) if known else None


def anytime(records: Sequence[RunRecord]) -> list[Anytime]:
    """Every search at its milestones, in the order of the records; what failed is left out."""
    members: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.ok and record.queries:
            members.setdefault(record.searcher, []).append(record)
    found = []
    for searcher, rows in members.items():
        budget = min(record.queries or 0 for record in rows)
        points = [*(n for n in MILESTONES if n < budget), budget]
        summaries = {n: summarise(accuracy_after(record, n) for record in rows) for n in points}
        found.append(
            Anytime(
                searcher=searcher,
                seeds=tuple(record.seed for record in rows),
                budget=budget,
                accuracies={n: summary for n, summary in summaries.items() if summary is not None},
            )
        )
    return found


def query_findings(board: Board) -> list[str]:
    """In sentences, what each search came to with the cells that all of them trained."""
    searches = anytime(board.records)
    if not searches:
        return ["No search that trains cells came to one."]
    least = min(search.budget for search in searches)
    rows = [record for record in board.records if record.ok]
    told = []
    for search in searches:
        after = summarise(accuracy_after(record, least) for record in rows if record.searcher == search.searcher)
        told.append(f"{search.searcher} came to {mean_std(after)} % ({seeds(search.seeds)})")
    return [f"With {count(least, 'trained cell')} each, {listed(told)} of {metric_words(board.metric)} on average."]


def query_blocks(board: Board) -> list[Block]:
    """What a report says of the searches that train cells: a sentence, the curve, the table."""
    searches = anytime(board.records)
    if not searches:
        return [Text(text="No search that trains cells came to one.")]
    asked = sorted({str(record.notes.get("queried_metric", "?")) for record in board.records if record.ok})
    scored = f"scored by {board.metric}"
    same = asked == [board.metric]
    how = (
        f"The accuracy of the best cell so far over the number of trained cells, the mean over seeds. A search is told"
        f" {listed(asked)}; its cell is {scored}"
        + (", the very same: the table has no validation accuracy." if same else ".")
    )
    points = sorted({n for search in searches for n in search.accuracies})
    rows = tuple(
        (search.searcher, seeds(search.seeds), *(mean_std(search.accuracies.get(n)) for n in points))
        for search in searches
    )
    return [
        Text(
            text="These searches share no weights: their cost is the cells that they train, which the table stands in"
            " for. They are in no ranking with methods that train one supernet."
        ),
        Plot(
            name=f"queries-{board.slug}",
            takeaway=query_findings(board)[0],
            how=how,
            alt=f"Accuracy over trained cells of {listed(search.searcher for search in searches)}",
            tables=(CSV,),
            draw=lambda columns: [_figure(board, columns)],
        ),
        Table(
            head=("search", "seeds", *(f"{n:,}" for n in points)),
            rows=rows,
            title=f"{metric_words(board.metric)} in percent after so many trained cells, mean ± std over seeds",
        ),
    ]


def query_rows(records: Iterable[tuple[int, RunRecord]]) -> Iterable[Mapping[str, Any]]:
    """The rows of queries.csv: each better cell of each search, with the record's line."""
    for line, record in records:
        if record.queries is not None:
            for entry in record.trace:
                about = {"searcher": record.searcher, "dataset": record.dataset, "seed": record.seed}
                yield about | dict(entry) | {"metric": record.metric, "line": line}


def _figure(board: Board, columns: int) -> Figure:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    from dartboard.results.panels import best_handle, legend, panels, seed_lines, worth, worth_axis, wrap
    from dartboard.results.style import BEST_LINE, styled

    @styled
    def draw() -> Figure:
        searches = anytime(board.records)
        lines = seed_lines(range(len(searches)))
        figure, (axes,) = panels(1, width=4.6, height=2.7, left=0.4, columns=columns)
        worst = 0.0
        for place, search in enumerate(searches):
            rows = [record for record in board.records if record.ok and record.searcher == search.searcher]
            starts = sorted({e["queries"] for r in rows for e in r.trace if e["queries"] <= search.budget})
            xs = [*starts, search.budget]
            summaries = [summarise(accuracy_after(r, n) for r in rows) for n in xs]
            values = [worth(summary.mean, board.best) for summary in summaries if summary]
            worst = max(worst, *values)
            axes.step(xs, values, where="post", **lines[place], linewidth=1.5)
        if board.best is not None:
            axes.axhline(0.0, **BEST_LINE)
        label = worth_axis(axes, "y", board.metric, board.best, worst)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator([n for n in MILESTONES if n <= max(s.budget for s in searches)]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set(xlabel="trained cells", ylabel=wrap(label, 36))
        handles = [
            Line2D([], [], **lines[place], linewidth=1.5, label=search.searcher)
            for place, search in enumerate(searches)
        ]
        legend(figure, handles + best_handle(board.best))
        return figure

    return draw()
