"""The drawing of a cell: right, and readable. Truth: the drawn texts' own boxes."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch

from dartboard.benchmark.space import NONE, Cell, O
from dartboard.results.aggregate import Chosen
from dartboard.results.drawing import draw_cell
from dartboard.results.figures_search import cells
from dartboard.results.records import RunKey
from dartboard.results.style import OPERATION_COLOURS, OPERATION_LABELS


def chosen(cell: Cell, *keys: RunKey) -> Chosen:
    """A chosen cell for a figure."""
    return Chosen(
        dataset="digits",
        cell=cell,
        accuracy=93.83,
        rank=121,
        metric="cifar10/test/200",
        number=cell.number,
        choosers=keys or (RunKey("darts", "digits", 0, "magnitude"),),
        by_criteria=1,
        lines=(1,),
    )


@pytest.mark.parametrize("operation", range(O))
def test_every_edge_is_drawn_in_its_operations_colour_with_its_name(operation: int) -> None:
    """A cell of one operation has six arrows of its colour, six labels of its name, and four nodes."""
    axes = Figure().add_subplot()
    draw_cell(axes, Cell((operation,) * 6))
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    assert {to_hex(arrow.get_edgecolor()) for arrow in arrows} == {OPERATION_COLOURS[operation]}
    assert [text.get_text() for text in axes.texts].count(OPERATION_LABELS[operation]) == len(arrows) == 6
    assert sum(isinstance(patch, Circle) for patch in axes.patches) == 4


def test_an_edge_that_does_nothing_is_pale() -> None:
    """Behind a node that nothing reaches, an edge is drawn paler than one that the output depends on."""
    axes = Figure().add_subplot()
    draw_cell(axes, Cell((NONE, 3, 3, 3, 3, 3)))  # node 1 receives nothing: edges 1 → 2 and 1 → 3 are dead
    alphas = [patch.get_alpha() for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    assert [alpha == 1.0 for alpha in alphas] == [False, True, False, True, False, True]


@pytest.mark.parametrize(
    "operations", [(3,) * 6, (4,) * 6, (2, 4, 3, 2, 4, 3), (0,) * 6, *product((1, 3), repeat=6)][:12]
)
def test_no_texts_of_a_drawing_overlap(operations: tuple[int, ...]) -> None:
    """Labels, nodes, title and caption keep apart, also with three long names and a dozen choosers."""
    keys = [RunKey("a-searcher", "digits", seed, f"quite-a-long-criterion-name-{seed // 2}") for seed in range(12)]
    (figure,) = cells([chosen(Cell(operations), *keys)] * 4)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [text for axes in figure.axes for text in (*axes.texts, axes.title)]
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts if text.get_text()]
    assert len(boxes) == 4 * (6 + 4 + 2)
    for (one, box), (other, its) in combinations(boxes, 2):
        assert not box.overlaps(its), f"{one!r} overlaps {other!r}"
    width, height = canvas.get_width_height()
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= width, text
        assert box.y1 <= height, text


def test_no_arrow_runs_through_a_label_of_another_edge() -> None:
    """Each arrow's path stays out of every label but its own."""
    (figure,) = cells([chosen(Cell((3,) * 6))])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    labels = [text for text in axes.texts if text.get_text() == OPERATION_LABELS[3]]
    for own, arrow in enumerate(arrows):
        path = arrow.get_path().interpolated(1)
        points = axes.transData.transform(np.concatenate([np.asarray(p) for p in path.to_polygons(closed_only=False)]))
        for place, label in enumerate(labels):
            box = label.get_window_extent(canvas.get_renderer())
            if place != own:
                assert not any(box.contains(x, y) for x, y in points)


def test_a_disconnected_cell_says_so() -> None:
    """A cell without a path from input to output has it in its caption, and is drawn all the same."""
    (figure,) = cells([chosen(Cell((0, 0, 3, 0, 3, 3)))])
    captions = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert any("disconnected" in caption for caption in captions)


def test_many_cells_fill_pages() -> None:
    """Twenty-five cells take three pages, each cell once."""
    pages = cells([chosen(Cell.from_number(number)) for number in range(25)])
    assert [len(page.axes) for page in pages] == [12, 12, 1]
