"""The figures show what they were given. Truth: the data handed in, and matplotlib's own record of what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from dartboard.benchmark.space import E, O
from dartboard.benchmark.tables.store import load_table
from dartboard.results import takeaways
from dartboard.results.aggregate import Trajectory
from dartboard.results.blame import blame
from dartboard.results.board import Board, boards
from dartboard.results.figures_choice import costs, distributions, heat_maps, selections
from dartboard.results.figures_search import landscapes, mixtures, rank_scatters, trajectories
from dartboard.results.figures_tests import blames, critical_differences
from dartboard.results.panels import save
from dartboard.results.records import EpochRecord, SearchKey, append_record, read_records
from dartboard.results.rundata import RunData, read_run
from dartboard.results.samples import SELECTORS, sample_run
from dartboard.results.scales import shade
from dartboard.results.statistics import friedman
from dartboard.results.style import OPERATION_COLOURS, colour_scale, selector_marks, shade_colour
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


def board_of(run: RunData) -> Board:
    """The board of a run of one data set."""
    (board,) = boards(run)
    return board


def strips(board: Board, columns: int = 2) -> list[Figure]:
    """The strips of a board."""
    return selections(
        board.records,
        board.rows,
        board.middles,
        board.marks,
        metric=METRIC,
        best=board.best,
        columns=columns,
    )


def heat_of(board: Board) -> list[Figure]:
    """The heat maps of a board."""
    return heat_maps(board.rows, board.middles, metric=METRIC, best=board.best)


def cost_of(board: Board) -> list[Figure]:
    """The cost figures of a board."""
    return costs(board.rows, board.middles, board.marks, metric=METRIC, best=board.best)


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


def test_heat_maps_name_middle_interval_and_failures(run: RunData) -> None:
    """A square has its group's interquartile mean (of three: the mean), its interval and n, in its row and column."""
    board = board_of(run)
    (figure,) = heat_of(board)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["darts", "darts-second-\norder"]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(SELECTORS)
    found = squares(axes)
    for row, selector in enumerate(SELECTORS):
        for column, searcher in enumerate(("darts", "darts-second-order")):
            mine = [r for r in board.records if (r.searcher, r.selector) == (searcher, selector)]
            values = [r.accuracy for r in mine if r.accuracy is not None]
            middle, interval, seeds = found[row, column].split("\n")
            assert middle == f"{fmean(values):.2f}"
            low, high = (float(end) for end in interval.strip("[]").split(", "))
            assert min(values) - 0.005 <= low <= fmean(values) <= high + 0.005 <= max(values) + 0.01
            assert seeds == ("n = 3" if len(values) == 3 else "n = 2 of 3")
    assert "of 3" in found[2, 0]
    assert_readable(figure)


def test_heat_maps_hatch_what_failed_and_leave_blank_what_was_not_run(run: RunData) -> None:
    """A square of nothing but failures is hatched and says so; one without a run has no text and no hatch."""
    board = board_of(run)
    rows = [g for g in board.rows if (g.searcher, g.selector) != ("darts-second-order", "magnitude")]
    lost = ("darts", "perturbation")
    rows = [replace(g, failed=len(g.lines)) if (g.searcher, g.selector) == lost else g for g in rows]
    middles = {key: m for key, m in board.middles.items() if key != lost}
    middles.pop(("darts-second-order", "magnitude"))
    (figure,) = heat_maps(rows, middles, metric=METRIC, best=94.37)
    found = squares(figure.axes[0])
    assert found[2, 0] == "failed"
    assert (0, 1) not in found
    FigureCanvasAgg(figure).draw()
    assert figure.axes[0].collections[0].get_facecolor()[1][3] == 0  # nothing is drawn there
    assert [patch.get_hatch() for patch in figure.axes[0].patches] == ["////"]


def test_heat_maps_of_one_seed_claim_no_interval(tmp_path: Path) -> None:
    """A square of one supernet says so; a darker square is a better one."""
    board = board_of(read_run(sample_run(tmp_path, searchers=("darts", "gdas"), epochs=1, seeds=(0,))))
    (figure,) = heat_of(board)
    axes = figure.axes[0]
    assert all(text.endswith("\none supernet") for text in squares(axes).values())
    FigureCanvasAgg(figure).draw()
    shades = np.asarray(axes.collections[0].get_facecolor())[:, :3].sum(axis=1)
    means = [g.accuracy.mean for name in SELECTORS for g in board.rows if g.selector == name and g.accuracy]
    assert (np.diff(shades[np.argsort(means)]) <= 1e-9).all()


def test_one_cell_at_chance_leaves_good_ones_apart() -> None:
    """Of a best cell of 94.37 %, 94, 91 and 88 % are each a tenth of the scale apart beside 10 %, which is palest."""
    values = [10.0, 88.0, 91.0, 94.0]
    shades = [shade(value, values, 94.37) for value in values]
    assert shades[0] == 0.0
    assert (np.diff(shades) > 0.09).all()
    assert shade(94.37, values, 94.37) == 1.0
    assert shade(93.0, [93.0, 94.0], 94.0) > 0.4  # a point is not much, whatever the other squares have
    assert shade(60.0, [60.0], None) == 1.0


def test_a_figures_shades_are_the_pages(run: RunData) -> None:
    """The figure's colour scale puts each square where `shade` does, and names accuracies of the scale beside it."""
    board = board_of(run)
    (figure,) = heat_of(board)
    mesh = figure.axes[0].collections[0]
    values = [middle.value for middle in board.middles.values()]
    places = np.asarray(mesh.norm(np.array(values)))
    assert places == pytest.approx([shade(value, values, board.best) for value in values])
    assert np.asarray(mesh.norm.inverse(places)) == pytest.approx(np.array(values))
    FigureCanvasAgg(figure).draw()
    labels = [text.get_text() for text in mesh.colorbar.ax.get_yticklabels()]
    assert f"{board.best:.2f}" in labels
    assert len(labels) >= 4


def test_a_square_whose_scores_were_equal_is_no_result(tmp_path: Path) -> None:
    """Scores that are equal on every edge leave the tie-break's cell: `tied`, and out of means and sentences."""
    folder = sample_run(tmp_path, searchers=("darts",), epochs=1, seeds=(0, 1))
    for record in read_records(folder):
        if record.selector == "magnitude":
            append_record(folder, replace(record, scores=((0.2,) * 5,) * 6))
    board = board_of(read_run(folder))
    assert ("darts", "magnitude") not in board.middles
    (figure,) = heat_of(board)
    assert squares(figure.axes[0])[0, 0] == "tied"
    assert "magnitude" not in takeaways.heat_map(board)
    assert cost_of(board)


def test_a_square_is_as_dark_on_a_page_as_in_the_figure() -> None:
    """The shades of a web page are those of matplotlib's scale, to within a 255th, and the writing's colour agrees."""
    colours = colour_scale()
    for place in np.linspace(0, 1, 41):
        colour, ink = shade_colour(float(place))
        assert np.abs(np.array(to_rgb(colour)) - np.array(colours(float(place))[:3])).max() < 2 / 255
        light = np.array(to_rgb(colour)) ** 2.2 @ (0.2126, 0.7152, 0.0722)
        assert (ink == "#ffffff") == (light < 0.25)


def test_selections_show_each_record_once(run: RunData) -> None:
    """A panel has one mark for each of its method's cells, at its regret, and names every selector."""
    board = board_of(run)
    (figure,) = strips(board)
    assert [axes.get_title() for axes in figure.axes] == ["darts", "darts-second-order"]
    for axes in figure.axes:
        known = [r for r in board.records if r.searcher == axes.get_title() and r.accuracy is not None]
        regrets = sorted(max(94.37 - (r.accuracy or 0), 0) for r in known)
        marks = [line for line in axes.lines if line.get_linestyle() == "None"]
        assert sorted(float(x) for line in marks for x in np.asarray(line.get_xdata())) == pytest.approx(regrets)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(SELECTORS)
    assert figure.axes[0].get_xlabel().replace("\n", " ") == "regret (points of cifar10 test accuracy after 200 epochs)"
    assert figure.axes[0].xaxis_inverted()
    assert_readable(figure)


def test_selections_without_a_best_cell_show_accuracies(run: RunData) -> None:
    """Where the table's best cell is not known, the axis is accuracy."""
    board = board_of(run)
    (figure,) = selections(board.records, board.rows, board.middles, board.marks, metric=METRIC, best=None)
    accuracies = sorted(r.accuracy for r in board.records if r.searcher == "darts" and r.accuracy is not None)
    marks = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    assert sorted(float(x) for line in marks for x in np.asarray(line.get_xdata())) == accuracies
    assert figure.axes[0].get_xlabel().replace("\n", " ") == "cifar10 test accuracy after 200 epochs (%)"


def test_selections_join_the_criteria_of_one_supernet(run: RunData) -> None:
    """There is one joining line for each seed, through its criteria's cells and no control's."""
    board = board_of(run)
    (figure,) = selections(board.records, board.rows, board.middles, board.marks, metric=METRIC, best=None)
    lines = [line for line in figure.axes[0].lines if line.get_linestyle() == "-" and len(line.get_xydata()) in (2, 3)]
    joins = [line for line in lines if to_hex(line.get_color()) == "#b5b5b5"]
    expected = [
        [r.accuracy for r in board.records if (r.searcher, r.seed, r.control) == ("darts", seed, None) and r.ok]
        for seed in range(3)
    ]
    assert [list(np.asarray(line.get_xdata())) for line in joins] == expected


def test_one_seed_has_no_mean(tmp_path: Path) -> None:
    """With one seed the figure shows the cell and claims no mean."""
    (figure,) = strips(board_of(read_run(sample_run(tmp_path, seeds=(4,)))))
    assert "interquartile mean" not in [text.get_text() for text in figure.legends[0].get_texts()]
    assert not figure.axes[0].collections


@pytest.mark.parametrize("columns", [1, 2])
def test_trajectories_have_a_line_for_each_seed_both_references_and_the_collapse(columns: int) -> None:
    """Three seeds give three lines of regret, an end mark each, both references' lines, and one cross."""
    runs = [
        Trajectory(
            search=SearchKey("darts", "digits", seed),
            metric=METRIC,
            epochs=(1, 2, 3),
            accuracies=(90.0, 92.0 - seed, 60.0),
        )
        for seed in range(3)
    ]
    collapses = {run.search: 3 if run.search.seed == 1 else None for run in runs}
    (figure,) = trajectories(runs, collapses, metric=METRIC, best=95.0, prior=93.0, columns=columns)
    (axes,) = figure.axes
    curves = [list(np.asarray(line.get_ydata())) for line in axes.lines if len(line.get_xydata()) == 3]
    assert curves == [[5.0, 3.0 + seed, 35.0] for seed in range(3)]
    flat = [float(np.asarray(line.get_ydata())[0]) for line in axes.lines if list(line.get_xdata()) == [0, 1]]
    assert flat == [0.0, 2.0]
    crosses = [line for line in axes.lines if line.get_marker() == "X"]
    assert [tuple(line.get_xydata()[0]) for line in crosses] == [(3.0, 35.0)]
    assert axes.get_xlabel() == "epoch"
    assert axes.get_ylabel().replace("\n", " ") == "regret (points of cifar10 test accuracy after 200 epochs)"
    assert axes.yaxis_inverted()
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        *("seed 0", "seed 1", "seed 2", "collapsed from here on"),
        *("the cell of prior (93.00 %)", "best cell of the table (95.00 %)"),
    ]
    assert_readable(figure)


def test_distributions_are_the_empirical_ones() -> None:
    """Regrets 1, 2, 2 and 9 give steps of 25, 50 and 25 percent at 1, 2 and 9; the space's steps lie behind."""
    marks = selector_marks(["a", "b"])
    space = np.array([0.0, 1.0, 5.0, 10.0])
    (figure,) = distributions({"a": [2.0, 9.0, 1.0, 2.0], "b": [0.5]}, space, marks, controls=["b"])
    line = figure.axes[0].lines[0]
    steps = list(zip(line.get_xdata(), line.get_ydata(), strict=True))[1:-1]
    assert steps == [(1.0, 25.0), (2.0, 50.0), (2.0, 75.0), (9.0, 100.0)]
    assert len(figure.axes[0].collections) == 1
    assert figure.axes[1].lines[0].get_linestyle() != "-"
    assert_readable(figure)
    alone = distributions({"a": [2.0], "b": [0.5]}, None, marks, columns=1)
    assert [len(page.axes) for page in alone] == [1, 1]
    assert not alone[0].axes[0].collections


def test_landscapes_show_every_direction_and_their_mean() -> None:
    """Two directions give two thin lines and one line of their mean."""
    values = {"radii": [-1.0, 0.0, 1.0], "loss": [[2.0, 1.0, 2.0], [4.0, 1.0, 2.0]], "rise": 1.5}
    (figure,) = landscapes({SearchKey("darts", "digits", 0): values})
    curves = [list(np.asarray(line.get_ydata())) for line in figure.axes[0].lines]
    assert curves == [[2.0, 1.0, 2.0], [4.0, 1.0, 2.0], [3.0, 1.0, 2.0]]
    assert_readable(figure)


def test_rank_scatters_have_a_mark_for_each_known_cell() -> None:
    """A cell whose inherited accuracy is not finite is left out; the title has τ and the number of cells."""
    values = {
        "metric": METRIC,
        "inherited_accuracy": [10.0, None, 30.0],
        "true_accuracy": [80.0, 90.0, 91.0],
        "by_accuracy": {"kendall": 1.0},
    }
    (figure,) = rank_scatters({SearchKey("darts", "digits", seed): values for seed in range(2)}, metric=METRIC)
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[10.0, 80.0], [30.0, 91.0]]
    assert figure.axes[0].get_title().endswith("τ = 1.00, 2 cells")
    (regrets,) = rank_scatters({SearchKey("darts", "digits", 0): values}, metric=METRIC, best=95.0)
    assert regrets.axes[0].lines[0].get_xydata().tolist() == [[10.0, 15.0], [30.0, 4.0]]
    assert_readable(figure)


def test_critical_differences_put_each_name_at_its_rank() -> None:
    """Three criteria on five supernets: marks at the mean ranks 1, 2 and 3, and a bar for each clique."""
    ranking = friedman([[3.0, 2.0, 1.0]] * 5)
    figure = critical_differences("criteria", ["a", "b", "c"], ranking, selector_marks(["a", "b", "c"]))
    axes = figure.axes[0]
    marks = [
        line
        for line in axes.lines
        if line.get_marker() not in ("None", "", None, "|", "_") and len(line.get_xydata()) == 1
    ]
    assert [line.get_xdata()[0] for line in marks[:3]] == [1.0, 2.0, 3.0]
    bars = [line for line in axes.lines if line.get_linewidth() == 4.0]
    assert len(bars) == len(ranking.cliques)
    assert_readable(figure)


def test_blames_add_up_to_the_regret(run: RunData) -> None:
    """A bar's two parts end at the criterion's mean regret."""
    board = board_of(run)
    entries = [entry for entry in blame(board.records, "digits") if entry.searcher is not None]
    (figure,) = blames(entries)
    for axes in figure.axes:
        mine = [entry for entry in entries if entry.searcher == axes.get_title()]
        ends = sorted(patch.get_x() + patch.get_width() for patch in axes.patches[1::2])
        assert ends == pytest.approx(sorted(entry.regret.value for entry in mine))
    assert_readable(figure)


def test_mixtures_have_six_panels_of_five_colours(run: RunData) -> None:
    """Each edge has its panel; each operation its colour, one line for each seed, with the recorded weights."""
    searches = [run.epochs[search] for search in run.searches if search.searcher == "darts"]
    figure = mixtures("darts on digits", searches)
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
    figure = mixtures("darts", [(epoch,)])
    assert all(line.get_marker() == "." for axes in figure.axes for line in axes.lines)
    FigureCanvasAgg(figure).draw()
    assert [label.get_text() for label in shown_ticks(figure.axes[-1])] == ["1"]


def test_costs_put_a_free_selector_at_zero(run: RunData) -> None:
    """A mark stands at (mean images, mean regret); what costs nothing stands at 0, on the axis."""
    board = board_of(run)
    (figure,) = cost_of(board)
    for axes in figure.axes:
        expected = {
            (group.selection_images.mean, round(max(94.37 - group.accuracy.mean, 0), 6))
            for group in board.rows
            if group.searcher == axes.get_title() and group.selection_images and group.accuracy
        }
        assert {(x, round(y, 6)) for x, y in bare(axes)} == expected
        assert axes.get_xlim()[0] < 0
    assert "images" in figure.axes[0].get_xlabel()
    assert_readable(figure)


def test_selectors_that_all_cost_nothing_can_be_drawn(tmp_path: Path) -> None:
    """A run of magnitude and controls alone has a cost figure, too."""
    free = {"magnitude": None, "prior": "blind"}
    (figure,) = cost_of(board_of(read_run(sample_run(tmp_path, selectors=free))))
    assert_readable(figure)


def test_many_methods_and_selectors_fill_pages_and_stay_readable(tmp_path: Path) -> None:
    """Eight methods by 25 selectors with long names: a page of six panels and one of two, no texts overlapping."""
    names = {**SELECTORS, **{f"a-rather-long-criterion-name(order=random, tune={n})": None for n in range(19)}}
    folder = sample_run(tmp_path, searchers=[f"method-{n}" for n in range(8)], selectors=names, seeds=(0,), epochs=2)
    board = board_of(read_run(folder))
    assert len({tuple(sorted(mark.items())) for mark in board.marks.values()}) == 25
    pages: Sequence[Figure] = strips(board)
    assert [len(page.axes) for page in pages] == [6, 2]
    assert_readable(pages[0])
    assert [len(page.axes) for page in strips(board, columns=1)] == [1] * 8
    assert_readable(cost_of(board)[-1])
    (heat,) = heat_of(board)
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
    board = board_of(run)
    with mpl.rc_context({"font.size": 30.0, "axes.facecolor": "red"}):
        before = dict(mpl.rcParams)
        (odd,) = strips(board)
        save(odd, tmp_path / "odd.png")
        assert dict(mpl.rcParams) == before
    (plain,) = strips(board)
    save(plain, tmp_path / "plain.png")
    assert (tmp_path / "odd.png").read_bytes() == (tmp_path / "plain.png").read_bytes()
    with Image.open(tmp_path / "plain.png") as image:
        assert set(image.info) <= {"dpi"}
