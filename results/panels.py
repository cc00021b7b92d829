"""What the report's figures have in common: panels, axes, legends, marks. Figures compute nothing but places of marks.

Panels are search methods, rows or marks are selectors, line styles are seeds, and only operations have the
operations' colours. A function that takes `columns` draws pages of several panels, so many in a row; with one column
each page is one panel, as a web page has them side by side.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from dartboard.results.style import BEST_LINE, INK, SEED_LINES, colour_scale, styled
from dartboard.results.wording import metric_words

PANELS: Final = 6
"""Panels on one page."""

REGRET_TICKS: Final = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
"""Of an axis of regrets, in points."""

Result = TypeVar("Result")


@styled
def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, without a date or a version in it."""
    figure.savefig(path, metadata={"Software": None})


def heat(
    axes: Axes,
    values: NDArray[np.float64],
    texts: NDArray[np.str_],
    *,
    norm: Normalize,
    label: str,
    ticks: Sequence[float] | None = None,
) -> None:
    """Draw a heat map of squares with a text in each that has a value, ticks on top, and its scale beside it.

    Of the scale's `ticks` (its own by default, from above), the earlier ones crowd out the later.
    """
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
    apart: list[float] = []
    for tick in scale.get_ticks()[::-1] if ticks is None else ticks:
        if 0 <= norm(tick) <= 1 and all(abs(norm(tick) - norm(other)) > 0.07 for other in apart):
            apart.append(tick)
    scale.set_ticks(apart, labels=None if ticks is None else [f"{tick:.2f}" for tick in apart])
    scale.minorticks_off()
    for text in axes.texts:  # whichever of black and white is seen better
        column, row = text.get_position()
        red, green, blue, _ = colours(norm(values[int(row), int(column)]))
        light = np.array([red, green, blue]) ** 2.2 @ (0.2126, 0.7152, 0.0722)
        text.set_color("white" if light < 0.25 else INK)


def pages_of(items: Sequence[Result], size: int) -> Iterator[Sequence[Result]]:
    """The items, so many at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))


def panels_a_page(columns: int) -> int:
    """One where panels stand alone, else as many as fit."""
    return 1 if columns == 1 else PANELS


def panels(
    n: int, *, width: float, height: float, left: float, columns: int = 2, sharex: bool = True
) -> tuple[Figure, list[Axes]]:
    """A figure of `n` equal panels, `columns` in a row."""
    wide = columns > 1  # alone on a page
    columns = min(columns, n)
    rows = -(-n // columns)
    size = (left + width * columns * (1.25 if n == 1 and wide else 1.0), (height + 0.45) * rows + 0.35)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=True)
    for spare in grid.flat[n:]:
        spare.remove()
    return figure, list(grid.flat[:n])


def epoch_axis(axes: Axes, last: int) -> None:
    """Whole epochs from 1 to `last`."""
    axes.set_xlim(0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def regret_axis(axes: Axes, which: str, worst: float, *, linear: float = 0.1) -> None:
    """Points below the best cell: linear up to `linear`, logarithmic beyond, up to `worst`."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    scale = axes.set_xscale if which == "x" else axes.set_yscale
    limits = axes.set_xlim if which == "x" else axes.set_ylim
    scale("symlog", linthresh=linear, linscale=0.4)
    most = max(worst, 2 * linear)
    limits(-0.2 * linear, 1.15 * most)
    axis.set_major_locator(FixedLocator([tick for tick in REGRET_TICKS if tick <= most and not 0 < tick < linear]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def worth(accuracy: float, best: float | None) -> float:
    """Where an accuracy stands on a `worth_axis`: its regret where the best cell is known, else as it is."""
    return accuracy if best is None else max(best - accuracy, 0.0)


def worth_axis(axes: Axes, which: str, metric: str, best: float | None, worst: float) -> str:
    """Set up the axis of what cells are worth, better ones right or up, and return its label.

    Where the table's best cell is known, the axis has the regrets up to `worst`, else the accuracies.
    """
    if best is None:
        axis = axes.xaxis if which == "x" else axes.yaxis
        axis.set_major_locator(MaxNLocator(6))
        return f"{metric_words(metric)} (%)"
    regret_axis(axes, which, worst)
    if which == "x":
        axes.invert_xaxis()
    else:
        axes.invert_yaxis()
    return f"regret (points of {metric_words(metric)})"


def outer_labels(axes: Sequence[Axes], *, x: str, y: str | None, columns: int = 2) -> None:
    """Label the x axis of each column's last panel, which also gets its ticks, and the y axis of the first column."""
    columns = min(columns, len(axes))
    for place, panel in enumerate(axes):
        if place + columns >= len(axes):
            panel.set_xlabel(x)
            panel.tick_params(labelbottom=True)
        if y is not None and place % columns == 0:
            panel.set_ylabel(y)


def legend(figure: Figure, handles: Sequence[Line2D | Patch]) -> None:
    """A legend below the panels, for which the figure grows, in as many columns as its longest label leaves."""
    labels = [str(handle.get_label()) for handle in handles]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    columns = max(1, min(len(labels), int(figure.get_figwidth() / (0.55 + 0.072 * longest))))
    rows = -(-len(labels) // columns)
    lines = max(label.count("\n") for label in labels) + 1
    figure.set_figheight(figure.get_figheight() + 0.1 + 0.18 * rows * (1 + 0.7 * (lines - 1)))
    figure.legend(handles=list(handles), loc="outside lower center", ncols=-(-len(labels) // rows))


def best_handle(best: float | None) -> list[Line2D]:
    """The legend's entry of the best cell's line, where there is one."""
    return [] if best is None else [Line2D([], [], **BEST_LINE, label=f"best cell of the table ({best:.2f} %)")]


def seed_lines(seeds: Sequence[int]) -> dict[int, dict[str, Any]]:
    """A line of its own for each seed, or one for all where they are too many."""
    if len(seeds) > len(SEED_LINES):
        return {seed: {"color": SEED_LINES[0]["color"], "linestyle": "-", "alpha": 0.5} for seed in seeds}
    return {seed: SEED_LINES[place] for place, seed in enumerate(seeds)}


def marked(mark: Mapping[str, Any], *, hollow: bool) -> dict[str, Any]:
    """A selector's mark; a control's is hollow."""
    face = "white" if hollow else mark["color"]
    return {"marker": mark["marker"], "markeredgecolor": mark["color"], "markerfacecolor": face, "markeredgewidth": 1.3}


def wrap(text: str, width: int) -> str:
    """The text in lines of at most `width` characters, where it has places to break."""
    return "\n".join(textwrap.wrap(text, width)) or text


def distinct(names: Iterable[str]) -> list[str]:
    """Each name once, in order."""
    return list(dict.fromkeys(names))
