"""What a budget of images buys, as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

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
from dartboard.results.scatter import BudgetPoint
from dartboard.results.style import styled

CURVES: Final = 8
"""Lines in one panel."""

Curves = Mapping[str, Sequence[BudgetPoint]]


def _shares(points: Sequence[BudgetPoint], searcher: str) -> list[tuple[str, Curves]]:
    """The panels of a search method: title and points by selector, cheapest first, those without images in all."""
    rows: dict[str, list[BudgetPoint]] = {}
    for point in sorted(points, key=lambda point: point.images):
        if point.searcher == searcher:
            rows.setdefault(point.selector, []).append(point)
    idle = {selector: row for selector, row in rows.items() if not row[-1].images}
    curved = [selector for selector in rows if selector not in idle]
    curved.sort(key=lambda selector: -rows[selector][-1].accuracy.mean)
    groups = list(pages_of(curved, CURVES)) or [()]
    titles = [f"{searcher}, {n} of {len(groups)}" if len(groups) > 1 else searcher for n in range(1, len(groups) + 1)]
    return [
        (title, {selector: rows[selector] for selector in group} | idle)
        for title, group in zip(titles, groups, strict=True)
    ]


@styled
def budgets(
    points: Sequence[BudgetPoint],
    marks: Mapping[str, Mapping[str, Any]],
    *,
    metric: str,
    best: float | None,
    columns: int = 2,
) -> list[Figure]:
    """Accuracy against the images that were pushed, a line for each selector, few lines in a panel.

    A search method's panels begin with the selectors that do best with the most images. Who looks at no image stands at
    0 in each of them, a control with a dotted line across.

    Args:
        points: of one data set; of a selector without images, one.
        marks: colour and marker of each selector.
        metric: of the accuracies.
        best: the table's best cell's, in percent; None: not known.
        columns: panels in a row.
    """
    controls = {point.selector for point in points if point.control is not None}
    worst = (best or 0.0) - min(point.accuracy.low for point in points)
    pages: list[Figure] = []
    shares = [share for searcher in distinct(point.searcher for point in points) for share in _shares(points, searcher)]
    for page in pages_of(shares, panels_a_page(columns)):
        figure, parts = panels(len(page), width=4.6, height=2.8, left=0.4, columns=columns)
        for axes, (title, curves) in zip(parts, page, strict=True):
            for selector, row in curves.items():
                colour, images = marks[selector]["color"], [point.images for point in row]
                worths = [worth(point.accuracy.mean, best) for point in row]
                ends = ([worth(end, best) for end in (p.accuracy.low, p.accuracy.high)] for p in row)
                axes.vlines(images, *zip(*ends, strict=True), color=colour, lw=0.8, alpha=0.5)
                style = marked(marks[selector], hollow=selector in controls)
                axes.plot(images, worths, **style, color=colour, lw=1.0, markersize=5.5)
                if selector in controls and not images[-1]:
                    axes.axhline(worths[-1], color=colour, lw=0.9, ls=":", zorder=1)
            cost_axis(axes, [point.images for point in points if point.images])
            axes.set(title=wrap(title, 46))
        label = worth_axis(parts[0], "y", metric, best, worst)
        outer_labels(parts, x="images pushed through the supernet to select", y=wrap(label, 38), columns=columns)
        if columns > 1 or not pages or len(shares) > len(distinct(point.searcher for point in points)):
            shown = distinct(selector for _, curves in page for selector in curves)
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
