"""Figures as SVG inside a web page: texts stay texts, and known colours become variables that a dark page sets anew."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Final

from dartboard.benchmark.space import EDGES, Cell, live_edges
from dartboard.results.drawing import NODE_LABELS, STEP, bow
from dartboard.results.style import COLOURS, OPERATION_LABELS, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACROSS: Final = 60
UP: Final = 46
"""Pixels of a cell's drawing for one of its units."""

_DECIMALS: Final = re.compile(r"(\d\.\d\d)\d+")
"""What a place on a screen does not need."""


@styled
def inline_svg(figure: Figure, name: str, alt: str) -> str:
    """A figure as an `<svg>` element, the same text each time; `name` keeps its ids apart from other figures'."""
    import matplotlib as mpl

    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": name, "savefig.transparent": True})
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    svg = re.sub(r"#[0-9a-f]{6}(?=[;\"])", lambda match: _variable(match.group()), svg)
    svg = re.sub(r' (?:d|x|y|transform)="[^"]*"', lambda match: _DECIMALS.sub(r"\1", match.group()), svg)
    width, height = (round(size * 96) for size in figure.get_size_inches())
    head = f'<svg class="plot" role="img" aria-label="{_attribute(alt)}" width="{width}" height="{height}" '
    svg = re.sub(r'<svg [^>]*?(viewBox="[^"]+")[^>]*>', lambda match: f"{head}{match.group(1)}>", svg, count=1)
    return re.sub(r"\s*\n\s*", "\n", svg).strip().replace("xlink:href", "href")


def _variable(colour: str) -> str:
    return f"var(--k{colour[1:]})" if colour in COLOURS else colour


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def cell_symbol(cell: Cell) -> str:
    """A cell's drawing as a `<symbol>` of the id `cell-<number>`; operations are the classes o0 to o4."""
    parts = []
    for (target, source), operation, live in zip(EDGES, cell.operations, live_edges(cell.number), strict=True):
        start, end, height = source * STEP, target * STEP, bow(target, source)
        x, y = _scaled((start + end) / 2, height)
        label = OPERATION_LABELS[operation]
        half = 3.3 * len(label) + 3
        parts.append(
            f'<g class="o{operation}{"" if live else " idle"}">'
            f'<path d="{_arc(start, end, height)}" marker-end="url(#head{operation})"/>'
            f'<rect x="{x - half:.1f}" y="{y - 8:.1f}" width="{2 * half:.1f}" height="16" rx="4"/>'
            f'<text x="{x:.1f}" y="{y + 3.8:.1f}">{label}</text></g>'
        )
    for node, label in enumerate(NODE_LABELS):
        x, y = _scaled(node * STEP, 0)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="10"/><text x="{x:.1f}" y="{y + 3.8:.1f}">{label}</text>')
    return f'<symbol id="cell-{cell.number}" viewBox="0 0 318 126">{"".join(parts)}</symbol>'


def cell_use(cell: Cell) -> str:
    """A drawing of a cell whose symbol stands elsewhere in the page."""
    words = " ".join(
        f"{source} to {target}: {OPERATION_LABELS[operation]};"
        for (target, source), operation in zip(EDGES, cell.operations, strict=True)
    )
    return (
        f'<svg class="cell" role="img" aria-label="{words.rstrip(";")}" viewBox="0 0 318 126">'
        f'<use href="#cell-{cell.number}"/></svg>'
    )


def arrow_heads() -> str:
    """The heads of the arrows, one for each operation, once a page."""
    return "".join(
        f'<marker id="head{operation}" class="o{operation}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8Z"/></marker>'
        for operation in OPERATION_LABELS
    )


def _scaled(x: float, y: float) -> tuple[float, float]:
    """Of the drawing's units, y upwards, in pixels from the upper left corner."""
    return 15 + ACROSS * x, 80 - UP * y


def _arc(start: float, end: float, height: float) -> str:
    """A parabola through (middle, height), cut off at the nodes' rims."""
    (x0, y0), (x1, y1) = _scaled(start, 0), _scaled(end, 0)
    rim = 10.0
    if not height:
        return f"M{x0 + rim:.1f} {y0:.1f}L{x1 - rim:.1f} {y1:.1f}"
    xm, ym = (x0 + x1) / 2, y0 - 2 * UP * height  # the control point of the quadratic curve
    slope = ((xm - x0) ** 2 + (ym - y0) ** 2) ** 0.5
    dx, dy = rim * (xm - x0) / slope, rim * (ym - y0) / slope
    return f"M{x0 + dx:.1f} {y0 + dy:.1f}Q{xm:.1f} {ym:.1f} {x1 - dx:.1f} {y1 + dy:.1f}"
