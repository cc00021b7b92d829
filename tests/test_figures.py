"""The figures show what they were given. Truth: the data handed in, and matplotlib's own record of what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from dartboard.benchmark.space import E, O
from dartboard.benchmark.tables.store import load_table
from dartboard.results import figures
from dartboard.results.aggregate import Group, Trajectory, groups
from dartboard.results.records import EpochRecord, RunRecord, SearchKey
from dartboard.results.rundata import RunData, read_run
from dartboard.results.samples import SELECTORS, sample_run
from dartboard.results.style import OPERATION_COLOURS, selector_marks
from dartboard.results.truth import truth
from dartboard.results.truth_figures import truth_figures

METRIC = "cifar10/test/200"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    """Two search methods, three seeds, one failed run."""
    return read_run(
        sample_run(
            tmp_path_factory.mktemp("run"),
            searchers=("darts", "darts-second-order"),
            fails=lambda key: (key.seed, key.selector, key.searcher) == (1, "perturbation", "darts"),
        )
    )


def drawn(run: RunData) -> tuple[list[RunRecord], list[Group]]:
    """What the figures take of a run."""
    return [record for _, record in run.records], groups(run.records)


def bare(axes: Axes) -> list[tuple[float, ...]]:
    """The points of the lines that are nothing but one mark."""
    return [tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() not in ("None", None, "")]


def shown_ticks(axes: Axes) -> list[Text]:
    """The tick labels that are seen: switched on, and inside the panel's limits."""
    labels = []
    for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        for tick in axis.get_major_ticks():
            if min(limits) <= tick.get_loc() <= max(limits) and tick.label1.get_visible():
                labels.append(tick.label1)
            if min(limits) <= tick.get_loc() <= max(limits) and tick.label2.get_visible():
                labels.append(tick.label2)  # a heat map's columns are named on top
    return labels


def assert_readable(figure: Figure) -> None:
    """No two tick labels, titles, axis labels or legend entries overlap, and none leaves the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [text for legend in figure.legends for text in legend.get_texts()]
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *shown_ticks(axes), *axes.texts]
    width, height = canvas.get_width_height()
    inside = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts if text.get_text()]
    assert inside
    for name, box in inside:
        assert min(box.x0, box.y0) >= -1, name
        assert box.x1 <= width + 1, name
        assert box.y1 <= height + 1, name
    corners = np.array([box.shrunk(0.98, 0.9).extents for _, box in inside])  # (texts, 4): x0, y0, x1, y1
    low, high = corners[:, None, :2], corners[None, :, 2:]
    overlap = (low < high).all(axis=2) & (low < high).all(axis=2).T
    pairs = [(inside[i][0], inside[j][0]) for i, j in np.argwhere(np.triu(overlap, k=1))]
    assert not pairs


def squares(axes: Axes) -> dict[tuple[int, int], str]:
    """The text of each square of a heat map, by row and column."""
    return {(int(text.get_position()[1]), int(text.get_position()[0])): text.get_text() for text in axes.texts}


def test_heat_maps_name_mean_regret_and_failures(run: RunData) -> None:
    """A square has its group's mean, deviation, regret and n: three rows and two columns looked up in the records."""
    records, rows = drawn(run)
    (figure,) = figures.heat_maps(rows, metric=METRIC, best=94.37)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["darts", "darts-second-\norder"]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(SELECTORS)
    found = squares(axes)
    for row, selector in enumerate(SELECTORS):
        for column, searcher in enumerate(("darts", "darts-second-order")):
            mine = [r for r in records if (r.searcher, r.selector) == (searcher, selector)]
            values = [r.accuracy for r in mine if r.accuracy is not None]
            regret = fmean(r.regret for r in mine if r.regret is not None)
            seeds = "n = 3" if len(values) == 3 else "n = 2 of 3"
            assert found[row, column] == f"{fmean(values):.2f} ± {stdev(values):.2f}\nregret {regret:.2f}\n{seeds}"
    assert "of 3" in found[2, 0]
    assert_readable(figure)


def test_heat_maps_hatch_what_failed_and_leave_blank_what_was_not_run(run: RunData) -> None:
    """A square of nothing but failures is hatched and says so; one without a run has no text and no hatch."""
    _, rows = drawn(run)
    failed = next(g for g in rows if (g.searcher, g.selector) == ("darts", "perturbation"))
    rows[rows.index(failed)] = replace(failed, accuracy=None, regret=None, failed=len(failed.lines))
    rows = [g for g in rows if (g.searcher, g.selector) != ("darts-second-order", "magnitude")]
    (figure,) = figures.heat_maps(rows, metric=METRIC, best=94.37)
    found = squares(figure.axes[0])
    assert found[2, 0] == "failed"
    assert (0, 1) not in found
    assert [patch.get_hatch() for patch in figure.axes[0].patches] == ["////"]


def test_heat_maps_say_n_once_where_it_is_the_same(tmp_path: Path) -> None:
    """Where every square is of as many seeds, no square repeats it; a darker square is a better one."""
    _, rows = drawn(read_run(sample_run(tmp_path, searchers=("darts", "gdas"), epochs=1)))
    (figure,) = figures.heat_maps(rows, metric=METRIC, best=94.37)
    axes = figure.axes[0]
    assert all(text.count("\n") == 1 for text in squares(axes).values())
    FigureCanvasAgg(figure).draw()
    shades = np.asarray(axes.collections[0].get_facecolor())[:, :3].sum(axis=1)
    means = [g.accuracy.mean for name in SELECTORS for g in rows if g.selector == name and g.accuracy]
    assert (np.diff(shades[np.argsort(means)]) <= 1e-9).all()


def test_selections_show_each_record_once(run: RunData) -> None:
    """A panel has one mark for each of its method's cells, at its accuracy, and names every selector."""
    records, rows = drawn(run)
    (figure,) = figures.selections(records, rows, selector_marks(list(SELECTORS)), metric=METRIC, best=94.37)
    assert [axes.get_title() for axes in figure.axes] == ["darts", "darts-second-order"]
    for axes in figure.axes:
        accuracies = sorted(r.accuracy for r in records if r.searcher == axes.get_title() and r.accuracy is not None)
        marks = [line for line in axes.lines if line.get_linestyle() == "None"]
        assert sorted(float(x) for line in marks for x in np.asarray(line.get_xdata())) == accuracies
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(SELECTORS)
    assert figure.axes[0].get_xlabel() == "cifar10 test accuracy after 200 epochs (%)"
    assert_readable(figure)


def test_selections_join_the_criteria_of_one_supernet(run: RunData) -> None:
    """There is one joining line for each seed, through its criteria's cells and no control's."""
    records, rows = drawn(run)
    (figure,) = figures.selections(records, rows, selector_marks(list(SELECTORS)), metric=METRIC, best=None)
    lines = [line for line in figure.axes[0].lines if line.get_linestyle() == "-" and len(line.get_xydata()) in (2, 3)]
    joins = [line for line in lines if to_hex(line.get_color()) == "#b5b5b5"]
    expected = [
        [r.accuracy for r in records if (r.searcher, r.seed, r.control) == ("darts", seed, None) and r.ok]
        for seed in range(3)
    ]
    assert [list(np.asarray(line.get_xdata())) for line in joins] == expected


def test_one_seed_has_no_mean(tmp_path: Path) -> None:
    """With one seed the figure shows the cell and claims no mean."""
    records, rows = drawn(read_run(sample_run(tmp_path, seeds=(4,))))
    (figure,) = figures.selections(records, rows, selector_marks(list(SELECTORS)), metric=METRIC, best=94.37)
    assert "mean" not in [text.get_text() for text in figure.legends[0].get_texts()]
    assert not figure.axes[0].collections


def test_trajectories_have_a_line_for_each_seed_and_both_references() -> None:
    """Three seeds give three lines with their own points, an end mark each, the best cell's line and the prior's."""
    runs = [
        Trajectory(
            search=SearchKey("darts", "digits", seed),
            metric=METRIC,
            epochs=(1, 2, 3),
            accuracies=(90.0, 92.0 - seed, 60.0),
            free_edges=(0, 0, 6),
        )
        for seed in range(3)
    ]
    (figure,) = figures.trajectories(runs, metric=METRIC, best=94.37, prior=93.2)
    (axes,) = figure.axes
    curves = [list(np.asarray(line.get_ydata())) for line in axes.lines if len(line.get_xydata()) == 3]
    assert curves == [[90.0, 92.0 - seed, 60.0] for seed in range(3)]
    flat = [float(np.asarray(line.get_ydata())[0]) for line in axes.lines if list(line.get_xdata()) == [0, 1]]
    assert flat == [94.37, 93.2]
    assert axes.get_xlabel() == "epoch"
    assert axes.get_ylabel().replace("\n", " ") == "cifar10 test accuracy after 200 epochs (%)"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["seed 0", "seed 1", "seed 2", "the cell of prior (93.20 %)", "best cell of the table (94.37 %)"]
    assert_readable(figure)


def test_mixtures_have_six_panels_of_five_colours(run: RunData) -> None:
    """Each edge has its panel; each operation its colour, one line for each seed, with the recorded weights."""
    searches = [run.epochs[search] for search in run.searches if search.searcher == "darts"]
    figure = figures.mixtures("darts on digits", searches)
    assert len(figure.axes) == E
    for edge, axes in enumerate(figure.axes):
        assert len(axes.lines) == 3 * O
        for place, line in enumerate(axes.lines):
            seed, operation = divmod(place, O)
            assert to_hex(line.get_color()) == OPERATION_COLOURS[operation]
            assert list(line.get_ydata()) == [epoch.mixture[edge][operation] for epoch in searches[seed]]
        assert axes.get_ylim() == (-0.02, 1.02)
    assert figure.axes[0].get_ylabel() == "mixing weight"
    assert_readable(figure)


def test_one_epoch_can_be_drawn() -> None:
    """A search of a single epoch has visible points, and whole epochs on its axis."""
    epoch = EpochRecord(epoch=1, mixture=((0.2,) * O,) * E, cell="x", accuracies={METRIC: 90.0})
    figure = figures.mixtures("darts", [(epoch,)])
    assert all(line.get_marker() == "." for axes in figure.axes for line in axes.lines)
    FigureCanvasAgg(figure).draw()
    assert [label.get_text() for label in shown_ticks(figure.axes[-1])] == ["1"]


def test_costs_put_a_free_selector_at_zero(run: RunData) -> None:
    """A mark stands at (mean images, mean accuracy); what costs nothing stands at 0, on the axis."""
    _, rows = drawn(run)
    (figure,) = figures.costs(rows, selector_marks(list(SELECTORS)), metric=METRIC)
    for axes in figure.axes:
        expected = {
            (group.selection_images.mean, group.accuracy.mean)
            for group in rows
            if group.searcher == axes.get_title() and group.selection_images and group.accuracy
        }
        assert set(bare(axes)) == expected
        assert axes.get_xlim()[0] < 0
    assert "images" in figure.axes[0].get_xlabel()
    assert_readable(figure)


def test_selectors_that_all_cost_nothing_can_be_drawn(tmp_path: Path) -> None:
    """A run of magnitude and controls alone has a cost figure, too."""
    free = {"magnitude": None, "prior": "blind"}
    _, rows = drawn(read_run(sample_run(tmp_path, selectors=free)))
    (figure,) = figures.costs(rows, selector_marks(list(free)), metric=METRIC)
    assert_readable(figure)


def test_many_methods_and_selectors_fill_pages_and_stay_readable(tmp_path: Path) -> None:
    """Eight methods by 25 selectors with long names: a page of six panels and one of two, no texts overlapping."""
    names = {**SELECTORS, **{f"a-rather-long-criterion-name(order=random, tune={n})": None for n in range(19)}}
    folder = sample_run(tmp_path, searchers=[f"method-{n}" for n in range(8)], selectors=names, seeds=(0,), epochs=2)
    records, rows = drawn(read_run(folder))
    marks = selector_marks(list(names))
    assert len({tuple(sorted(mark.items())) for mark in marks.values()}) == 25
    pages: Sequence[Figure] = figures.selections(records, rows, marks, metric=METRIC, best=94.37)
    assert [len(page.axes) for page in pages] == [6, 2]
    assert_readable(pages[0])
    assert_readable(figures.costs(rows, marks, metric=METRIC)[-1])
    (heat,) = figures.heat_maps(rows, metric=METRIC, best=94.37)
    assert len(squares(heat.axes[0])) == 8 * 25
    assert_readable(heat)


def test_truths_figures_show_the_tables_numbers() -> None:
    """Each of the four is readable; the squares hold the strengths, the boxes the medians."""
    table = load_table("analog")
    found = truth(table, table.default_metric())
    drawn = truth_figures(found)
    for axes, strength in zip(drawn["strength.png"].axes[:4], found.strengths.values(), strict=True):
        assert squares(axes) == {(e, o): f"{strength[e, o]:.2f}" for e in range(E) for o in range(O)}
    assert len(squares(drawn["variance.png"].axes[0])) == 21  # six edges and fifteen pairs
    (below,) = (axes for axes in drawn["groups.png"].axes if axes.get_title() == "by the number of skips")
    medians = [line for line in below.lines if line.get_linewidth() == 1.6]
    best = float(found.accuracies.max())
    assert [float(np.asarray(line.get_ydata())[0]) for line in medians] == [
        best - spread.percentiles[50] for spread in found.spreads["skips"]
    ]
    for figure in drawn.values():
        assert_readable(figure)


def test_drawing_leaves_matplotlibs_settings_alone(run: RunData, tmp_path: Path) -> None:
    """A user's own rcParams neither change nor are changed; the file has no date, and is the same each time."""
    records, rows = drawn(run)
    with mpl.rc_context({"font.size": 30.0, "axes.facecolor": "red"}):
        before = dict(mpl.rcParams)
        (odd,) = figures.selections(records, rows, selector_marks(list(SELECTORS)), metric=METRIC, best=94.37)
        figures.save(odd, tmp_path / "odd.png")
        assert dict(mpl.rcParams) == before
    (plain,) = figures.selections(records, rows, selector_marks(list(SELECTORS)), metric=METRIC, best=94.37)
    figures.save(plain, tmp_path / "plain.png")
    assert (tmp_path / "odd.png").read_bytes() == (tmp_path / "plain.png").read_bytes()
    with Image.open(tmp_path / "plain.png") as image:
        assert set(image.info) <= {"dpi"}
