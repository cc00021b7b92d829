"""What the selectors chose, as figures: the heat map, the strips, the costs and the distributions of regret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import ArrayLike

from dartboard.results.aggregate import Group
from dartboard.results.panels import (
    REGRET_TICKS,
    best_handle,
    distinct,
    heat,
    legend,
    marked,
    outer_labels,
    pages_of,
    panels,
    panels_a_page,
    regret_axis,
    worth,
    worth_axis,
    wrap,
)
from dartboard.results.records import RunRecord
from dartboard.results.scales import FINE, depth, shade_range, square_lines
from dartboard.results.statistics import Estimate
from dartboard.results.style import BEST_LINE, FAINT, INK, styled
from dartboard.results.wording import amount, metric_words

SPACE_STEPS: Final = 400
"""Steps that the whole space's distribution is drawn with."""

COLUMNS: Final = 8
"""Search methods in one heat map."""


@styled
def heat_maps(
    groups: Sequence[Group], middles: Mapping[tuple[str, str], Estimate], *, metric: str, best: float | None
) -> list[Figure]:
    """The interquartile mean and interval of every selector (a row) with every search method (a column), and its n.

    A square without an accuracy is hatched and says why, one without a run is blank. Darker is better, by the logarithm
    of what is lost to the best cell (`scales.shade`).
    """
    searchers = distinct(group.searcher for group in groups)
    selectors = distinct(group.selector for group in groups)
    controls = {group.selector for group in groups if group.control}
    known = {(group.selector, group.searcher): group for group in groups}
    low, high = shade_range([middle.value for middle in middles.values()], best)
    norm = FuncNorm((lambda value: -depth(high - value), lambda place: high - FINE * np.expm1(-place)), low, high)
    ticks = [high - regret for regret in REGRET_TICKS if high - regret >= low]
    pages: list[Figure] = []
    for names in pages_of(searchers, COLUMNS):
        squares = [[known.get((selector, searcher)) for searcher in names] for selector in selectors]
        top = max(wrap(name, 14).count("\n") for name in names)
        size = (2.9 + 1.05 * len(names), 1.0 + 0.14 * top + 0.46 * len(selectors))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        found = [[middles.get((searcher, selector)) for searcher in names] for selector in selectors]
        values = np.array([[middle.value if middle else np.nan for middle in row] for row in found])
        texts = np.array(
            [
                ["\n".join(square_lines(g, m)) if g else "" for g, m in zip(row, other, strict=True)]
                for row, other in zip(squares, found, strict=True)
            ]
        )
        heat(axes, values, texts, norm=norm, label=wrap(f"{metric_words(metric)} (%)", 42), ticks=ticks)
        for row, column in zip(*np.nonzero(np.isnan(values)), strict=True):
            square = squares[row][column]
            if square is not None:
                corner = (column + 0.02, row + 0.03)
                axes.add_patch(Rectangle(corner, 0.96, 0.94, hatch="////", facecolor="white", edgecolor=FAINT))
                white = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none"}
                (word,) = square_lines(square, None)
                axes.text(column + 0.5, row + 0.5, word, ha="center", va="center", fontsize=7, bbox=white)
        if controls and len(controls) < len(selectors):
            axes.axhline(len(selectors) - len(controls), color=INK, linewidth=1.6)
        axes.set_xticks(np.arange(len(names)) + 0.5, [wrap(name, 14) for name in names])
        axes.set_yticks(np.arange(len(selectors)) + 0.5, [wrap(name, 34) for name in selectors])
        pages.append(figure)
    return pages


@styled
def selections(
    records: Sequence[RunRecord],
    groups: Sequence[Group],
    middles: Mapping[tuple[str, str], Estimate],
    marks: Mapping[str, Mapping[str, Any]],
    *,
    metric: str,
    best: float | None,
    columns: int = 2,
) -> list[Figure]:
    """What every selector's cell is worth, the same supernet's joined by a line; one panel for a search method."""
    searchers = distinct(group.searcher for group in groups)
    selectors = distinct(group.selector for group in groups)
    rows = {selector: row for row, selector in enumerate(selectors)}
    controls = {group.selector for group in groups if group.control}
    row_height = 0.36 if len(selectors) <= 12 else 0.27  # inches
    known = [record.accuracy for record in records if record.accuracy is not None]
    worst = (best or 0.0) - min(known, default=0.0)

    pages: list[Figure] = []
    for names in pages_of(searchers, panels_a_page(columns)):
        height = row_height * len(selectors) + 0.5
        figure, parts = panels(len(names), width=3.9, height=height, left=1.6, columns=columns)
        for axes, searcher in zip(parts, names, strict=True):
            mine = [
                (record, rows[record.selector], worth(record.accuracy, best))
                for record in records
                if record.searcher == searcher and record.accuracy is not None
            ]
            seeds = list(dict.fromkeys(record.seed for record, _, _ in mine))
            apart = {seed: 0.56 * (place + 0.5) / len(seeds) - 0.28 for place, seed in enumerate(seeds)}
            for seed in seeds:
                joined = sorted((row, x) for record, row, x in mine if record.seed == seed and not record.control)
                heights = [row + apart[seed] for row, _ in joined]
                axes.plot([x for _, x in joined], heights, color=FAINT, linewidth=0.8, zorder=1)
            for selector, row in rows.items():
                placed = [(x, row + apart[r.seed]) for r, _, x in mine if r.selector == selector]
                axes.plot(
                    [x for x, _ in placed],
                    [y for _, y in placed],
                    **marked(marks[selector], hollow=selector in controls),
                    linestyle="none",
                    markersize=5.0,
                    zorder=3,
                )
                middle = middles.get((searcher, selector))
                if middle is not None and middle.n > 1:
                    axes.vlines(worth(middle.value, best), row - 0.4, row + 0.4, color=INK, linewidth=1.6, zorder=2)
            if best is not None:
                axes.axvline(worth(best, best), **BEST_LINE)
            if controls and len(controls) < len(selectors):
                axes.axhline(len(selectors) - len(controls) - 0.5, color=INK, linewidth=0.8)
            axes.set(title=wrap(searcher, 40), ylim=(len(selectors) - 0.4, -0.6))
            axes.set_yticks(range(len(selectors)), [wrap(name, 30) for name in selectors])
        label = worth_axis(parts[0], "x", metric, best, worst)
        outer_labels(parts, x=wrap(label, 52), y=None, columns=columns)
        handles = [
            Line2D([], [], color="#666666", marker="o", linestyle="none", label="one supernet (hollow: a control)"),
            Line2D([], [], color=FAINT, label="the same supernet"),
        ]
        if any(middle.n > 1 for middle in middles.values()):
            style: dict[str, Any] = {"marker": "|", "markersize": 10, "markeredgewidth": 1.6, "linestyle": "none"}
            handles.append(Line2D([], [], color=INK, **style, label="interquartile mean"))
        if columns > 1 or not pages:  # once a page
            legend(figure, handles + best_handle(best))
        pages.append(figure)
    return pages


@styled
def costs(
    groups: Sequence[Group],
    middles: Mapping[tuple[str, str], Estimate],
    marks: Mapping[str, Mapping[str, Any]],
    *,
    metric: str,
    best: float | None,
    columns: int = 2,
) -> list[Figure]:
    """What a selector pushed through the supernet against what its cells are worth; one panel for a search method."""
    groups = [group for group in groups if (group.searcher, group.selector) in middles and group.selection_images]
    searchers = distinct(group.searcher for group in groups)
    selectors = distinct(group.selector for group in groups)
    controls = {group.selector for group in groups if group.control}
    positive = [
        group.selection_images.mean for group in groups if group.selection_images and group.selection_images.mean
    ]
    worst = (best or 0.0) - min((group.accuracy.low for group in groups if group.accuracy), default=0.0)

    pages: list[Figure] = []
    for names in pages_of(searchers, panels_a_page(columns)):
        figure, parts = panels(len(names), width=4.6, height=2.8, left=0.4, columns=columns)
        for axes, searcher in zip(parts, names, strict=True):
            mine = [group for group in groups if group.searcher == searcher]
            for group in mine:
                if group.accuracy is None or group.selection_images is None:
                    continue
                cost, mark = group.selection_images.mean, marks[group.selector]
                ends = worth(group.accuracy.low, best), worth(group.accuracy.high, best)
                axes.vlines(cost, *ends, color=mark["color"], linewidth=1.0, alpha=0.7, zorder=1)
                axes.plot(
                    [cost],
                    [worth(middles[searcher, group.selector].value, best)],
                    **marked(mark, hollow=group.control is not None),
                    linestyle="none",
                    markersize=6.5,
                    zorder=2,
                )
            trained = [group.search_images.mean for group in mine if group.search_images and group.search_images.mean]
            if trained:
                axes.axvline(max(trained), color=INK, linestyle="-.", linewidth=0.9, zorder=0)
            cost_axis(axes, [*positive, *trained])
            axes.set(title=wrap(searcher, 46))
        label = worth_axis(parts[0], "y", metric, best, worst)
        outer_labels(parts, x="images pushed through the supernet to select", y=wrap(label, 38), columns=columns)
        handles = [
            Line2D([], [], **marked(marks[name], hollow=name in controls), linestyle="none", label=wrap(name, 34))
            for name in selectors
        ]
        handles.append(Line2D([], [], color=INK, linestyle="-.", linewidth=0.9, label="images that its training took"))
        if columns > 1 or not pages:
            legend(figure, handles)
        pages.append(figure)
    return pages


def cost_axis(axes: Any, costs: Sequence[float]) -> None:
    """From nothing to the dearest, logarithmic from the cheapest on."""
    least = 10 ** np.floor(np.log10(min(costs, default=1.0)))
    most = max(costs, default=1.0)
    axes.set_xscale("symlog", linthresh=least, linscale=0.4)
    axes.set_xlim(-0.35 * least, 2 * most)
    steps = (1, 2, 5) if most <= 50 * least else (1,)
    ticks = [step * ten for ten in least * 10.0 ** np.arange(12) for step in steps if step * ten <= 2 * most]
    axes.xaxis.set_major_locator(FixedLocator([0.0, *ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(amount))


@styled
def distributions(
    regrets: Mapping[str, Sequence[float]],
    space: ArrayLike | None,
    marks: Mapping[str, Mapping[str, Any]],
    *,
    controls: Sequence[str] = (),
    columns: int = 2,
) -> list[Figure]:
    """Which share of a selector's cells lies at most so far below the best one, over the same of the whole space.

    Args:
        regrets: by selector, of every supernet, in points.
        space: (cells,) the regrets of all cells of the table, or None where it is not at hand.
        marks: the selectors' colours.
        controls: selectors that are drawn dashed.
        columns: one for panels that stand alone.
    """
    worst = max((regret for some in regrets.values() for regret in some), default=1.0)
    whole = None if space is None else np.sort(np.asarray(space, dtype=np.float64))
    pages: list[Figure] = []
    for names in pages_of(list(regrets), 1 if columns == 1 else 12):
        wide = min(4, len(names))
        rows = -(-len(names) // wide)
        size = (0.4 + 2.55 * wide, 0.35 + 1.95 * rows) if columns > 1 else (2.9, 2.2)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, wide, squeeze=False, sharex=True, sharey=True)
        for spare in grid.flat[len(names) :]:
            spare.remove()
        for axes, name in zip(grid.flat, names, strict=False):
            if whole is not None:
                places = np.unique(np.linspace(0, len(whole) - 1, SPACE_STEPS).round().astype(int))
                shares = 100 * (places + 1) / len(whole)
                axes.fill_between(whole[places], shares, step="post", color=FAINT, alpha=0.45, linewidth=0)
            ours = np.sort(np.maximum(regrets[name], 0.0))
            reached = 100 * np.arange(len(ours) + 1) / len(ours)
            line = (0, (4, 1.5)) if name in controls else "-"
            ends = [-0.02, *ours, 2 * max(worst, 1.0)]
            axes.step(ends, [*reached, 100.0], where="post", color=marks[name]["color"], linewidth=1.8, linestyle=line)
            axes.set_title(f"{wrap(name, 30)} (n = {len(ours)})", fontsize=8.5)
            axes.set_ylim(-3, 103)
            axes.set_yticks((0, 25, 50, 75, 100))
        regret_axis(grid.flat[0], "x", worst)
        for axes in grid[:, 0]:
            axes.set_ylabel("cells (%)")
        for place, axes in enumerate(grid.flat[: len(names)]):
            if place + wide >= len(names):
                axes.set_xlabel("regret, at most (points)")
                axes.tick_params(labelbottom=True)
        pages.append(figure)
    return pages
