"""The report's figures. They compute nothing: each takes finished numbers and returns matplotlib figures.

Panels are search methods, rows or marks are selectors, line styles are seeds, and only operations have the
operations' colours. What does not fit on one page goes on the next.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from dartboard.benchmark.space import O
from dartboard.results.aggregate import Chosen, Group, Trajectory
from dartboard.results.drawing import draw_cell, live_edges
from dartboard.results.records import EpochRecord, RunRecord
from dartboard.results.style import (
    BEST_LINE,
    EDGE_LABELS,
    FAINT,
    INK,
    OPERATION_COLOURS,
    OPERATION_LABELS,
    OPERATION_LINES,
    PRIOR_LINE,
    SEED_LINES,
    colour_scale,
    styled,
)
from dartboard.results.wording import choosers, mean_std, metric_words

PANELS: Final = 6
"""Search methods on one page."""

CELLS: Final = 12
"""Cells on one page."""

COLUMNS: Final = 8
"""Search methods in one heat map."""

Result = TypeVar("Result")


@styled
def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, without a date or a version in it."""
    figure.savefig(path, metadata={"Software": None})


@styled
def heat_maps(groups: Sequence[Group], *, metric: str, best: float | None) -> list[Figure]:
    """The mean accuracy and regret of every selector (a row) with every search method (a column).

    All of one's failed runs make a hatched square, no run a blank one. How many seeds a square is the mean of stands in
    it, unless all are of as many. Darker is better; the scale is finer at its upper end.
    """
    searchers = list(dict.fromkeys(group.searcher for group in groups))
    selectors = list(dict.fromkeys(group.selector for group in groups))
    controls = {group.selector for group in groups if group.control}
    known = {(group.selector, group.searcher): group for group in groups}
    means = [group.accuracy.mean for group in groups if group.accuracy is not None]
    same = len({(group.ok, group.failed) for group in groups}) == 1
    norm = PowerNorm(2, min(means) - 0.05, best if best is not None else max(means) + 0.05)
    pages = []
    for names in _pages(searchers, COLUMNS):
        squares = [[known.get((selector, searcher)) for searcher in names] for selector in selectors]
        top = max(_wrap(name, 14).count("\n") for name in names)
        size = (2.9 + 1.0 * len(names), 1.0 + 0.14 * top + (0.36 if same else 0.46) * len(selectors))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        values = np.array([[g.accuracy.mean if g and g.accuracy else np.nan for g in row] for row in squares])
        texts = np.array([[_square(group, seeds=not same) for group in row] for row in squares])
        heat(axes, values, texts, norm=norm, label=_wrap(f"{metric_words(metric)} (%)", 42))
        for row, column in zip(*np.nonzero(np.isnan(values)), strict=True):
            if squares[row][column]:
                corner = (column + 0.02, row + 0.03)
                axes.add_patch(Rectangle(corner, 0.96, 0.94, hatch="////", facecolor="white", edgecolor=FAINT))
                white = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none"}
                axes.text(column + 0.5, row + 0.5, "failed", ha="center", va="center", fontsize=7, bbox=white)
        if controls and len(controls) < len(selectors):
            axes.axhline(len(selectors) - len(controls), color=INK, linewidth=1.6)
        axes.set_xticks(np.arange(len(names)) + 0.5, [_wrap(name, 14) for name in names])
        axes.set_yticks(np.arange(len(selectors)) + 0.5, [_wrap(name, 34) for name in selectors])
        pages.append(figure)
    return pages


def heat(axes: Axes, values: NDArray[np.float64], texts: NDArray[np.str_], *, norm: Normalize, label: str) -> None:
    """Draw a heat map of squares with a text in each that has a value, ticks on top, and its scale beside it."""
    import seaborn as sns

    colours = colour_scale()
    height = axes.get_window_extent().height / axes.figure.dpi  # inches
    sns.heatmap(
        values,
        ax=axes,
        mask=np.isnan(values),
        annot=texts,
        fmt="",
        annot_kws={"fontsize": 7, "linespacing": 1.15},
        norm=norm,
        cmap=colours,
        cbar_kws={"label": label, "shrink": min(1.0, 3.2 / height), "aspect": 16},
        linewidths=1.0,
        linecolor="white",
        xticklabels=False,
        yticklabels=False,
    )
    axes.grid(False)
    axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False, left=False, labelrotation=0)
    scale = axes.collections[0].colorbar
    assert scale is not None
    scale.outline.set_visible(False)
    ticks: list[float] = []
    for tick in scale.get_ticks()[::-1]:  # those at its dense end apart
        if 0 <= norm(tick) <= 1 and all(abs(norm(tick) - norm(other)) > 0.07 for other in ticks):
            ticks.append(tick)
    scale.set_ticks(ticks)
    for text in axes.texts:  # whichever of black and white is seen better
        column, row = text.get_position()
        red, green, blue, _ = colours(norm(values[int(row), int(column)]))
        light = np.array([red, green, blue]) ** 2.2 @ (0.2126, 0.7152, 0.0722)
        text.set_color("white" if light < 0.25 else INK)


def _square(group: Group | None, *, seeds: bool) -> str:
    """`92.64 ± 1.20`, `regret 1.73`, and how many seeds came to a cell."""
    if group is None or group.accuracy is None:
        return ""
    lines = [mean_std(group.accuracy)]
    if group.regret is not None:
        lines.append(f"regret {group.regret.mean:.2f}")
    if seeds:
        total = f" of {group.ok + group.failed}" if group.failed else ""
        lines.append(f"n = {group.ok}{total}")
    return "\n".join(lines)


@styled
def selections(
    records: Sequence[RunRecord],
    groups: Sequence[Group],
    marks: Mapping[str, Mapping[str, Any]],
    *,
    metric: str,
    best: float | None,
) -> list[Figure]:
    """The accuracy of every selector's cell, the same supernet's joined by a line; one panel for a search method."""
    searchers = list(dict.fromkeys(group.searcher for group in groups))
    selectors = list(dict.fromkeys(group.selector for group in groups))
    rows = {selector: row for row, selector in enumerate(selectors)}
    controls = {group.selector for group in groups if group.control}
    row_height = 0.36 if len(selectors) <= 12 else 0.27  # inches
    pages = []
    for names in _pages(searchers, PANELS):
        figure, panels = _panels(len(names), width=3.9, height=row_height * len(selectors) + 0.5, left=1.6, foot=0.75)
        for axes, searcher in zip(panels, names, strict=True):
            mine = [
                (record, rows[record.selector], record.accuracy)
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
                marked = [(accuracy, row + apart[r.seed]) for r, _, accuracy in mine if r.selector == selector]
                axes.plot(
                    [x for x, _ in marked],
                    [y for _, y in marked],
                    **_mark(marks[selector], hollow=selector in controls),
                    linestyle="none",
                    markersize=5.0,
                    zorder=3,
                )
            for group in groups:
                if group.searcher == searcher and group.accuracy is not None and group.accuracy.n > 1:
                    row = rows[group.selector]
                    axes.vlines(group.accuracy.mean, row - 0.4, row + 0.4, color=INK, linewidth=1.6, zorder=2)
            if best is not None:
                axes.axvline(best, **BEST_LINE)
            if controls and len(controls) < len(selectors):
                axes.axhline(len(selectors) - len(controls) - 0.5, color=INK, linewidth=0.8)
            axes.set(title=_wrap(searcher, 40), ylim=(len(selectors) - 0.4, -0.6))
            axes.set_yticks(range(len(selectors)), [_wrap(name, 30) for name in selectors])
            axes.xaxis.set_major_locator(MaxNLocator(6))
        _outer_labels(panels, x=f"{metric_words(metric)} (%)", y=None)
        handles = [
            Line2D([], [], color="#666666", marker="o", linestyle="none", label="one supernet (hollow: a control)"),
            Line2D([], [], color=FAINT, label="the same supernet"),
            Line2D([], [], color=INK, marker="|", markersize=10, markeredgewidth=1.6, linestyle="none", label="mean"),
        ]
        if all(group.ok < 2 for group in groups):
            handles.pop()
        _legend(figure, handles + _best_handle(best))
        pages.append(figure)
    return pages


@styled
def trajectories(runs: Sequence[Trajectory], *, metric: str, best: float | None, prior: float | None) -> list[Figure]:
    """The true accuracy of the argmax cell after each epoch, a line for each seed; one panel for a search method."""
    searchers = list(dict.fromkeys(run.search.searcher for run in runs))
    seeds = sorted({run.search.seed for run in runs})
    last = max((run.epochs[-1] for run in runs if run.epochs), default=1)
    lines = _seed_lines(seeds)
    pages = []
    for names in _pages(searchers, PANELS):
        figure, panels = _panels(len(names), width=4.6, height=2.7, left=0.4, foot=0.8, sharex=False)
        for axes, searcher in zip(panels, names, strict=True):
            for run in runs:
                if run.search.searcher == searcher:
                    style = lines[run.search.seed]
                    axes.plot(run.epochs, run.accuracies, **style, linewidth=1.5)
                    axes.plot(run.epochs[-1:], run.accuracies[-1:], color=style["color"], marker="o", markersize=4.5)
            if best is not None:
                axes.axhline(best, **BEST_LINE)
            if prior is not None:
                axes.axhline(prior, **PRIOR_LINE)
            axes.set(title=_wrap(searcher, 46))
            _epoch_axis(axes, last)
        _outer_labels(panels, x="epoch", y=_wrap(f"{metric_words(metric)} (%)", 30))
        handles = [Line2D([], [], **lines[seed], linewidth=1.5, label=f"seed {seed}") for seed in seeds]
        if len(seeds) > len(SEED_LINES):
            handles = [Line2D([], [], **lines[seeds[0]], linewidth=1.5, label=f"a seed ({len(seeds)})")]
        if prior is not None:
            handles.append(Line2D([], [], **PRIOR_LINE, label=f"the cell of prior ({prior:.2f} %)"))
        _legend(figure, handles + _best_handle(best))
        pages.append(figure)
    return pages


@styled
def mixtures(title: str, searches: Sequence[Sequence[EpochRecord]]) -> Figure:
    """The mixing weights of each edge after each epoch; every seed is a line of its operation's colour."""
    figure = Figure(figsize=(9.6, 5.6), layout="constrained")
    figure.suptitle(title, fontsize=10)
    panels = figure.subplots(2, 3, sharex=True, sharey=True)
    alpha = 1.0 if len(searches) == 1 else 0.85
    width = 1.8 if len(searches) == 1 else max(0.6, 1.5 - 0.1 * len(searches))
    for edge, axes in enumerate(panels.flat):
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
        _epoch_axis(axes, max(epochs[-1].epoch for epochs in searches))
    for axes in panels[-1]:
        axes.set_xlabel("epoch")
    for axes in panels[:, 0]:
        axes.set_ylabel("mixing weight")
    _legend(
        figure,
        [
            Line2D([], [], color=OPERATION_COLOURS[o], linestyle=OPERATION_LINES[o], linewidth=1.8, label=label)
            for o, label in OPERATION_LABELS.items()
        ],
    )
    return figure


@styled
def costs(groups: Sequence[Group], marks: Mapping[str, Mapping[str, Any]], *, metric: str) -> list[Figure]:
    """What a selector pushed through the supernet against what its cells are worth; one panel for a search method."""
    groups = [group for group in groups if group.accuracy is not None and group.selection_images is not None]
    searchers = list(dict.fromkeys(group.searcher for group in groups))
    selectors = list(dict.fromkeys(group.selector for group in groups))
    controls = {group.selector for group in groups if group.control}
    positive = [
        group.selection_images.mean for group in groups if group.selection_images and group.selection_images.mean
    ]
    pages = []
    for names in _pages(searchers, PANELS):
        legend_rows = -(-(len(selectors) + 1) // 3)
        figure, panels = _panels(len(names), width=4.6, height=2.8, left=0.4, foot=0.6 + 0.18 * legend_rows)
        for axes, searcher in zip(panels, names, strict=True):
            mine = [group for group in groups if group.searcher == searcher]
            for group in mine:
                if group.accuracy is None or group.selection_images is None:
                    continue
                cost, accuracy = group.selection_images.mean, group.accuracy
                mark = marks[group.selector]
                axes.vlines(cost, accuracy.low, accuracy.high, color=mark["color"], linewidth=1.0, alpha=0.7, zorder=1)
                axes.plot(
                    [cost],
                    [accuracy.mean],
                    **_mark(mark, hollow=group.control is not None),
                    linestyle="none",
                    markersize=6.5,
                    zorder=2,
                )
            trained = [group.search_images.mean for group in mine if group.search_images]
            if trained:
                axes.axvline(max(trained), color=INK, linestyle="-.", linewidth=0.9, zorder=0)
            costs = [*positive, *trained]
            least = 10 ** np.floor(np.log10(min(costs, default=1.0)))
            most = max(costs, default=1.0)
            axes.set_xscale("symlog", linthresh=least, linscale=0.4)
            axes.set_xlim(-0.35 * least, 2 * most)
            steps = (1, 2, 5) if most <= 100 * least else (1,)
            ticks = [step * ten for ten in least * 10.0 ** np.arange(12) for step in steps if step * ten <= 2 * most]
            axes.xaxis.set_major_locator(FixedLocator([0.0, *ticks]))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(_images))
            axes.set(title=_wrap(searcher, 46))
        _outer_labels(
            panels, x="images pushed through the supernet to select", y=_wrap(f"{metric_words(metric)} (%)", 30)
        )
        handles = [
            Line2D([], [], **_mark(marks[name], hollow=name in controls), linestyle="none", label=_wrap(name, 34))
            for name in selectors
        ]
        handles.append(Line2D([], [], color=INK, linestyle="-.", linewidth=0.9, label="images that its training took"))
        _legend(figure, handles)
        pages.append(figure)
    return pages


@styled
def cells(chosen: Sequence[Chosen]) -> list[Figure]:
    """A drawing of each chosen cell, with who chose it and what it is worth."""
    pages = []
    width, height, caption, title = 3.5, 2.85, 0.7, 0.3  # inches of a cell's block, and of the texts in it
    for some in _pages(chosen, CELLS):
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
    if not any(live_edges(entry.cell)):
        lines.insert(0, "disconnected: no path from input to output")
    return "\n".join(lines)


def _pages(items: Sequence[Result], size: int) -> Iterator[Sequence[Result]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _panels(
    n: int, *, width: float, height: float, left: float, foot: float, sharex: bool = True
) -> tuple[Figure, list[Axes]]:
    """A figure of `n` equal panels, two in a row, and `foot` inches for its legend."""
    columns = min(2, n)
    rows = -(-n // columns)
    size = (left + width * columns * (1.25 if n == 1 else 1.0), (height + 0.45) * rows + foot)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=True)
    for spare in grid.flat[n:]:
        spare.remove()
    return figure, list(grid.flat[:n])


def _epoch_axis(axes: Axes, last: int) -> None:
    axes.set_xlim(0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def _outer_labels(panels: Sequence[Axes], *, x: str, y: str | None) -> None:
    """Label the x axis of each column's last panel, which also gets its ticks, and the y axis of the first column."""
    columns = min(2, len(panels))
    for place, axes in enumerate(panels):
        if place + columns >= len(panels):
            axes.set_xlabel(x)
            axes.tick_params(labelbottom=True)
        if y is not None and place % columns == 0:
            axes.set_ylabel(y)


def _legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """A legend below the panels, in as many columns as its longest label leaves room for."""
    longest = max(len(line) for handle in handles for line in str(handle.get_label()).split("\n"))
    columns = max(1, min(len(handles), int(figure.get_figwidth() / (0.55 + 0.072 * longest))))
    rows = -(-len(handles) // columns)
    columns = -(-len(handles) // rows)
    figure.legend(handles=list(handles), loc="outside lower center", ncols=columns)


def _best_handle(best: float | None) -> list[Line2D]:
    return [] if best is None else [Line2D([], [], **BEST_LINE, label=f"best cell of the table ({best:.2f} %)")]


def _seed_lines(seeds: Sequence[int]) -> dict[int, dict[str, Any]]:
    if len(seeds) > len(SEED_LINES):
        return {seed: {"color": SEED_LINES[0]["color"], "linestyle": "-", "alpha": 0.5} for seed in seeds}
    return {seed: SEED_LINES[place] for place, seed in enumerate(seeds)}


def _mark(mark: Mapping[str, Any], *, hollow: bool) -> dict[str, Any]:
    face = "white" if hollow else mark["color"]
    return {"marker": mark["marker"], "markeredgecolor": mark["color"], "markerfacecolor": face, "markeredgewidth": 1.3}


def _images(value: float, _: int | None = None) -> str:
    """1,000 as `1k`, 1,000,000 as `1M`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _wrap(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width)) or text
