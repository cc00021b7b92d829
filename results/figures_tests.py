"""What the statistics say, as figures: critical differences, blame, and accuracy against budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dartboard.results.blame import Blame
from dartboard.results.panels import distinct, legend, outer_labels, pages_of, panels, panels_a_page, wrap
from dartboard.results.statistics import Ranking
from dartboard.results.style import FAINT, INK, styled

SUPERNET: str = "#882255"
SELECTION: str = "#44aa99"


@styled
def critical_differences(
    title: str, names: Sequence[str], ranking: Ranking, marks: Mapping[str, Mapping[str, Any]]
) -> Figure:
    """Mean ranks on a line, best first; a bar joins those that are not told apart.

    Args:
        title: what is ranked, on what.
        names: (k,) in the ranking's order.
        ranking: their ranks, the critical difference and the cliques.
        marks: the names' colours.
    """
    bars = 0.3 * len(ranking.cliques)
    figure = Figure(figsize=(6.4, 1.35 + 0.27 * ranking.k + bars), layout="constrained")
    axes = figure.subplots()
    axes.grid(axis="y", visible=False)
    for place, (name, rank) in enumerate(zip(names, ranking.ranks, strict=True)):
        mark = marks.get(name, {"color": INK, "marker": "o"})
        axes.plot([0.5, rank], [place, place], color=FAINT, linewidth=0.8, zorder=1)
        axes.plot([rank], [place], color=mark["color"], marker=mark["marker"], markersize=6.5, zorder=3)
    for place, clique in enumerate(ranking.cliques):
        ranks = [ranking.ranks[member] for member in clique]
        height = ranking.k + 0.1 + place
        axes.plot([min(ranks), max(ranks)], [height, height], color=INK, linewidth=4.0, solid_capstyle="butt")
    top = ranking.k + len(ranking.cliques)
    start = 1.0
    axes.errorbar(
        [start + ranking.critical_difference / 2],
        [-1.2],
        xerr=[ranking.critical_difference / 2],
        color=INK,
        capsize=4,
        linewidth=1.2,
    )
    axes.text(
        start + ranking.critical_difference + 0.1,
        -1.2,
        f"critical difference {ranking.critical_difference:.2f}",
        va="center",
        fontsize=8,
    )
    axes.set(ylim=(top - 0.4 + 0.2, -1.9), xlim=(0.5, max(ranking.k, start + 1.6 * ranking.critical_difference) + 0.5))
    labels = [f"{wrap(name, 40)}  ({rank:.2f})" for name, rank in zip(names, ranking.ranks, strict=True)]
    if ranking.cliques:
        labels.append("not told apart")
    axes.set_yticks([*range(ranking.k), *([ranking.k + 0.1] if ranking.cliques else [])], labels)
    axes.set_xlabel(f"mean rank over {ranking.n} supernets (1 is the best)")
    axes.set_title(title)
    return figure


@styled
def blames(entries: Sequence[Blame], *, columns: int = 2) -> list[Figure]:
    """The regret of each criterion in two parts, the supernet's and the selection's; one panel for a search method.

    Args:
        entries: of single search methods.
        columns: one for panels that stand alone.
    """
    searchers = distinct(entry.searcher or "" for entry in entries)
    selectors = distinct(entry.selector for entry in entries)
    most = max(max(entry.regret.value, entry.regret.high or 0.0) for entry in entries)
    pages: list[Figure] = []
    for names in pages_of(searchers, panels_a_page(columns)):
        height = 0.3 * len(selectors) + 0.5
        figure, parts = panels(len(names), width=3.9, height=height, left=1.6, columns=columns)
        for axes, searcher in zip(parts, names, strict=True):
            for entry in entries:
                if (entry.searcher or "") == searcher:
                    row = selectors.index(entry.selector)
                    axes.barh(row, entry.supernet.value, 0.66, color=SUPERNET)
                    axes.barh(row, entry.selection.value, 0.66, left=entry.supernet.value, color=SELECTION)
                    if entry.regret.low is not None and entry.regret.high is not None:
                        axes.hlines(row, entry.regret.low, entry.regret.high, color=INK, linewidth=1.2)
                        axes.vlines(
                            [entry.regret.low, entry.regret.high], row - 0.14, row + 0.14, color=INK, linewidth=1.2
                        )
            axes.set(title=wrap(searcher, 40), ylim=(len(selectors) - 0.5, -0.5))
            axes.set_xlim(0, 1.05 * most or 1.0)
            axes.grid(axis="y", visible=False)
            axes.set_yticks(range(len(selectors)), [wrap(name, 30) for name in selectors])
        outer_labels(parts, x="mean regret (points)", y=None, columns=columns)
        known = any(entry.regret.known for entry in entries)
        whisker = Line2D([], [], color=INK, linewidth=1.2, marker="|", markersize=7, label="interval of the sum")
        if columns > 1 or not pages:  # once a page
            parts_told = [
                Patch(color=SUPERNET, label="the supernet's: no criterion got it out"),
                Patch(color=SELECTION, label="the selection's: another criterion got it out"),
            ]
            legend(figure, [*parts_told, *([whisker] if known else [])])
        pages.append(figure)
    return pages
