"""A cell drawn as a graph: four nodes in a row, six edges that never cross, each with its operation's name.

Edges between neighbours are straight; 0 → 2 and 0 → 3 bow upwards, one inside the other, and 1 → 3 downwards.
An edge that the output does not depend on is pale; `none` is dotted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dartboard.benchmark.space import EDGES, NONE, Cell, live_edges
from dartboard.results.style import INK, OPERATION_COLOURS, OPERATION_LABELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NODE_LABELS: Final = ("in", "1", "2", "out")

_BOW: Final = {(2, 0): 0.75, (3, 0): 1.45, (3, 1): -0.75}

NODE_RADIUS: Final = 0.2
STEP: Final = 1.6
"""From node to node: room for a label and an arrow's head."""


def bow(target: int, source: int) -> float:
    """The height of an edge's middle, of which its arrow is a parabola; 0 is straight."""
    return _BOW.get((target, source), 0.0)


def draw_cell(axes: Axes, cell: Cell) -> None:
    """Draw a cell into `axes`, which it clears of ticks and frame."""
    from matplotlib.patches import Circle, FancyArrowPatch

    axes.set_axis_off()
    axes.set(xlim=(-0.3, 3 * STEP + 0.3), ylim=(-1.05, 1.7), aspect="equal")
    for (target, source), operation, live in zip(EDGES, cell.operations, live_edges(cell.number), strict=True):
        start, end, height = source * STEP, target * STEP, bow(target, source)
        line: dict[str, Any] = {"color": OPERATION_COLOURS[operation], "alpha": 1.0 if live else 0.4}
        axes.add_patch(
            FancyArrowPatch(
                (start, 0),
                (end, 0),
                # The middle of arc3's parabola is half of rad x length away from the chord.
                connectionstyle=f"arc3,rad={-2 * height / (end - start)}",
                arrowstyle="-|>",
                mutation_scale=9,
                linewidth=1.8 if operation != NONE else 1.1,
                linestyle=":" if operation == NONE else "-",
                shrinkA=0,
                shrinkB=0,
                patchA=Circle((start, 0), NODE_RADIUS, transform=axes.transData),
                patchB=Circle((end, 0), NODE_RADIUS, transform=axes.transData),
                zorder=1,
                **line,
            )
        )
        axes.text(
            (start + end) / 2,
            height,
            OPERATION_LABELS[operation],
            ha="center",
            va="center",
            fontsize=6.5,
            color=INK if live else "#777777",
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": line["color"], "linewidth": 0.6},
            zorder=3,
        )
    for node, label in enumerate(NODE_LABELS):
        axes.add_patch(Circle((node * STEP, 0), NODE_RADIUS, facecolor="white", edgecolor=INK, linewidth=1.0, zorder=2))
        axes.text(node * STEP, 0, label, ha="center", va="center", fontsize=6.5, color=INK, zorder=4)
