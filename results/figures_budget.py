"""What a budget of images buys, as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dartboard.results.figures_choice import cost_axis
from dartboard.results.panels import (
    distinct,
    legend,
    marked,
    outer_labels,
    pages_of,
    panels,
    panels_a_page,
    worth,
    worth_axis,
    wrap,
)
from dartboard.results.repeats import BudgetPoint
from dartboard.results.style import styled


@styled
def budgets(
    points: Sequence[BudgetPoint],
    marks: Mapping[str, Mapping[str, Any]],
    *,
    metric: str,
    best: float | None,
    columns: int = 2,
) -> list[Figure]:
    """Accuracy against the images that were pushed, a line for each selector; one panel for a search method.

    Args:
        points: of one data set.
        marks: colour and marker of each selector.
        metric: of the accuracies.
        best: the table's best cell's, in percent; None: not known.
        columns: panels in a row.
    """
    controls = {point.selector for point in points if point.control is not None}
    worst = (best or 0.0) - min(point.accuracy.low for point in points)
    pages: list[Figure] = []
    for names in pages_of(distinct(point.searcher for point in points), panels_a_page(columns)):
        figure, parts = panels(len(names), width=4.6, height=2.8, left=0.4, columns=columns)
        for axes, searcher in zip(parts, names, strict=True):
            mine = [point for point in points if point.searcher == searcher]
            for selector in distinct(point.selector for point in mine):
                row = sorted((point for point in mine if point.selector == selector), key=lambda point: point.images)
                worths = [worth(point.accuracy.mean, best) for point in row]
                style = marked(marks[selector], hollow=selector in controls)
                axes.plot(
                    [p.images for p in row], worths, **style, color=marks[selector]["color"], lw=1.0, markersize=5.5
                )
            cost_axis(axes, [point.images for point in points if point.images])
            axes.set(title=wrap(searcher, 46))
        label = worth_axis(parts[0], "y", metric, best, worst)
        outer_labels(parts, x="images pushed through the supernet to select", y=wrap(label, 38), columns=columns)
        if columns > 1 or not pages:
            shown = distinct(point.selector for point in points)
            handles = [
                Line2D(
                    [],
                    [],
                    **marked(marks[name], hollow=name in controls),
                    color=marks[name]["color"],
                    label=wrap(name, 34),
                )
                for name in shown
            ]
            legend(figure, handles)
        pages.append(figure)
    return pages
