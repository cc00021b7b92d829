"""What the searches did, as figures: trajectories, mixing weights, landscapes, ranks, and the chosen cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dartboard.benchmark.space import O
from dartboard.results.aggregate import Chosen, Trajectory
from dartboard.results.drawing import draw_cell
from dartboard.results.panels import (
    best_handle,
    distinct,
    epoch_axis,
    legend,
    outer_labels,
    pages_of,
    panels,
    panels_a_page,
    seed_lines,
    worth,
    worth_axis,
    wrap,
)
from dartboard.results.records import EpochRecord, SearchKey
from dartboard.results.style import (
    BEST_LINE,
    EDGE_LABELS,
    INK,
    OPERATION_COLOURS,
    OPERATION_LABELS,
    OPERATION_LINES,
    PRIOR_LINE,
    SEED_LINES,
    styled,
)
from dartboard.results.wording import choosers

CELLS: Final = 12
"""Cells on one page."""


@styled
def trajectories(
    runs: Sequence[Trajectory],
    collapses: Mapping[SearchKey, int | None],
    *,
    metric: str,
    best: float | None,
    prior: float | None,
    columns: int = 2,
) -> list[Figure]:
    """What the argmax cell is worth after each epoch, a line for each seed; one panel for a search method.

    A cross marks the epoch from which on a search's cell stays collapsed.
    """
    searchers = distinct(run.search.searcher for run in runs)
    seeds = sorted({run.search.seed for run in runs})
    last = max((run.epochs[-1] for run in runs if run.epochs), default=1)
    worst = (best or 0.0) - min((accuracy for run in runs for accuracy in run.accuracies), default=0.0)
    lines = seed_lines(seeds)

    pages: list[Figure] = []
    for names in pages_of(searchers, panels_a_page(columns)):
        figure, parts = panels(len(names), width=4.6, height=2.7, left=0.4, columns=columns, sharex=False)
        for axes, searcher in zip(parts, names, strict=True):
            for run in runs:
                if run.search.searcher == searcher:
                    style = lines[run.search.seed]
                    values = [worth(accuracy, best) for accuracy in run.accuracies]
                    axes.plot(run.epochs, values, **style, linewidth=1.5)
                    axes.plot(run.epochs[-1:], values[-1:], color=style["color"], marker="o", markersize=4.5)
                    start = collapses.get(run.search)
                    if start in run.epochs:
                        place = run.epochs.index(start)
                        axes.plot([start], [values[place]], **_cross(style["color"]))
            if best is not None:
                axes.axhline(worth(best, best), **BEST_LINE)
            if prior is not None:
                axes.axhline(worth(prior, best), **PRIOR_LINE)
            axes.set(title=wrap(searcher, 46))
            epoch_axis(axes, last)
        label = worth_axis(parts[0], "y", metric, best, worst)
        outer_labels(parts, x="epoch", y=wrap(label, 36), columns=columns)
        handles = [Line2D([], [], **lines[seed], linewidth=1.5, label=f"seed {seed}") for seed in seeds]
        if len(seeds) > len(SEED_LINES):
            handles = [Line2D([], [], **lines[seeds[0]], linewidth=1.5, label=f"a seed ({len(seeds)})")]
        if any(start is not None for start in collapses.values()):
            handles.append(Line2D([], [], **_cross(INK), label="collapsed from here on"))
        if prior is not None:
            handles.append(Line2D([], [], **PRIOR_LINE, label=f"the cell of prior ({prior:.2f} %)"))
        if columns > 1 or not pages:  # once a page
            legend(figure, handles + best_handle(best))
        pages.append(figure)
    return pages


def _cross(colour: str) -> dict[str, Any]:
    return {
        "marker": "X",
        "markersize": 8.5,
        "color": colour,
        "markeredgecolor": "white",
        "linestyle": "none",
        "zorder": 4,
    }


@styled
def mixtures(title: str, searches: Sequence[Sequence[EpochRecord]], *, columns: int = 3) -> Figure:
    """The mixing weights of each edge after each epoch; every seed is a line of its operation's colour."""
    wide = 2 if columns == 1 else 3
    figure = Figure(figsize=(9.6, 5.3) if wide == 3 else (6.0, 6.9), layout="constrained")
    figure.suptitle(title, fontsize=10)
    parts = figure.subplots(6 // wide, wide, sharex=True, sharey=True)
    alpha = 1.0 if len(searches) == 1 else 0.85
    width = 1.8 if len(searches) == 1 else max(0.6, 1.5 - 0.1 * len(searches))
    for edge, axes in enumerate(parts.flat):
        for epochs in searches:
            weights = np.array([epoch.mixture[edge] for epoch in epochs])  # (epochs, O)
            for operation in range(O):
                axes.plot(
                    [epoch.epoch for epoch in epochs],
                    weights[:, operation],
                    color=OPERATION_COLOURS[operation],
                    linestyle=OPERATION_LINES[operation],
                    linewidth=width,
                    alpha=alpha,
                    marker="." if len(epochs) == 1 else None,
                )
        axes.set(title=EDGE_LABELS[edge], ylim=(-0.02, 1.02))
        epoch_axis(axes, max(epochs[-1].epoch for epochs in searches))
    for axes in parts[-1]:
        axes.set_xlabel("epoch")
    for axes in parts[:, 0]:
        axes.set_ylabel("mixing weight")
    legend(
        figure,
        [
            Line2D([], [], color=OPERATION_COLOURS[o], linestyle=OPERATION_LINES[o], linewidth=1.8, label=label)
            for o, label in OPERATION_LABELS.items()
        ],
    )
    return figure


@styled
def landscapes(found: Mapping[SearchKey, Mapping[str, Any]], *, columns: int = 2) -> list[Figure]:
    """The validation loss along random directions from the trained architecture; one panel for a search method.

    Args:
        found: the values of the diagnostic `landscape` of each supernet.
        columns: one for panels that stand alone.
    """
    searchers = distinct(search.searcher for search in found)
    seeds = sorted({search.seed for search in found})
    lines = seed_lines(seeds)
    pages: list[Figure] = []
    for names in pages_of(searchers, panels_a_page(columns)):
        figure, parts = panels(len(names), width=4.2, height=2.6, left=0.4, columns=columns)
        for axes, searcher in zip(parts, names, strict=True):
            for search, values in found.items():
                if search.searcher == searcher:
                    loss = np.array(values["loss"], dtype=np.float64)  # (directions, R)
                    style = lines[search.seed]
                    axes.plot(values["radii"], loss.T, color=style["color"], linewidth=0.7, alpha=0.3)
                    axes.plot(values["radii"], loss.mean(axis=0), **{**style, "alpha": 1.0}, linewidth=1.8)
            axes.set_title(wrap(searcher, 46))
        outer_labels(
            parts,
            x="distance from the trained architecture\n(length in logit space)",
            y="validation loss (nats)",
            columns=columns,
        )
        handles = [Line2D([], [], **lines[seed], linewidth=1.8, label=f"seed {seed}, mean") for seed in seeds]
        if len(seeds) > len(SEED_LINES):
            handles = [Line2D([], [], **lines[seeds[0]], linewidth=1.8, label=f"mean of a seed ({len(seeds)})")]
        handles.append(Line2D([], [], color="#777777", linewidth=0.7, label="one direction"))
        if columns > 1 or not pages:
            legend(figure, handles)
        pages.append(figure)
    return pages


@styled
def rank_scatters(
    found: Mapping[SearchKey, Mapping[str, Any]], *, metric: str, best: float | None = None, columns: int = 2
) -> list[Figure]:
    """Accuracy with inherited weights against the table's, for a sample of cells; one panel for a supernet.

    Args:
        found: the values of the diagnostic `rank-correlation` of each supernet.
        metric: of the true accuracies.
        best: the table's best cell's, in percent, from which regrets are; None: accuracies are shown.
        columns: one for panels that stand alone.
    """
    truths = [true for values in found.values() for true in values["true_accuracy"] if true is not None]
    worst = (best or 0.0) - min(truths, default=0.0)
    pages: list[Figure] = []
    for searches in pages_of(list(found), panels_a_page(columns)):
        figure, parts = panels(len(searches), width=3.6, height=2.6, left=0.4, columns=columns)
        for axes, search in zip(parts, searches, strict=True):
            values = found[search]
            known = [
                (ours, true)
                for ours, true in zip(values["inherited_accuracy"], values["true_accuracy"], strict=True)
                if ours is not None and true is not None
            ]
            axes.plot(
                [ours for ours, _ in known],
                [worth(true, best) for _, true in known],
                linestyle="none",
                marker="o",
                markersize=3.5,
                color=SEED_LINES[0]["color"],
                alpha=0.6,
                markeredgewidth=0,
            )
            tau = values["by_accuracy"]["kendall"]
            told = "" if tau is None else f"\nKendall's τ = {tau:.2f}, {len(known)} cells"
            axes.set_title(f"{wrap(search.searcher, 34)}, seed {search.seed}{told}", fontsize=9)
        label = worth_axis(parts[0], "y", metric, best, worst)
        outer_labels(
            parts,
            x="validation accuracy with inherited weights (%)",
            y=wrap(label, 36),
            columns=columns,
        )
        pages.append(figure)
    return pages


@styled
def cells(chosen: Sequence[Chosen]) -> list[Figure]:
    """A drawing of each chosen cell, with who chose it and what it is worth."""
    pages: list[Figure] = []
    width, height, caption, title = 3.5, 2.85, 0.7, 0.3  # inches of a cell's block, and of the texts in it
    for some in pages_of(chosen, CELLS):
        columns = min(3, len(some))
        rows = -(-len(some) // columns)
        figure = Figure(figsize=(width * columns, height * rows))
        for place, entry in enumerate(some):
            row, column = divmod(place, columns)
            bottom = (rows - 1 - row) / rows
            axes = figure.add_axes(
                (
                    (column + 0.02) / columns,
                    bottom + caption / (height * rows),
                    0.96 / columns,
                    (height - caption - title) / (height * rows),
                )
            )
            draw_cell(axes, entry.cell)
            axes.set_title(_worth(entry), fontsize=9, fontweight="bold", pad=3)
            axes.text(
                0.5, -0.01, _who(entry), ha="center", va="top", fontsize=7.5, transform=axes.transAxes, linespacing=1.25
            )
        pages.append(figure)
    return pages


def _worth(entry: Chosen) -> str:
    if entry.accuracy is None:
        return f"cell {entry.number}"
    rank = "" if entry.rank is None else f", rank {entry.rank:,}"
    return f"{entry.accuracy:.2f} %{rank}"


def _who(entry: Chosen) -> str:
    names = choosers(entry.choosers)
    lines = [name if len(name) <= 56 else f"{name[:36]}…{name[-19:]}" for name in names[:3]]
    if len(names) > 3:
        lines.append(f"and {len(names) - 3} more")
    if not entry.cell.connected:
        lines.insert(0, "disconnected: no path from input to output")
    return "\n".join(lines)
