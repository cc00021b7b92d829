"""The parts of a report. Truth: runs small enough to be worked out by hand, beside each test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dartboard.benchmark.space import Cell
from dartboard.results import takeaways
from dartboard.results.aggregate import compare
from dartboard.results.board import Board, boards
from dartboard.results.board_tables import board_tables
from dartboard.results.contents_board import sections
from dartboard.results.contents_details import by_criterion, by_method
from dartboard.results.contents_figures import figures
from dartboard.results.contents_repeats import repeats_tables
from dartboard.results.document import Block, Entry, Plot, Section, Table, Text, plots
from dartboard.results.names import Names
from dartboard.results.records import QUERIES, RunRecord, SearchKey
from dartboard.results.rundata import RunData, read_run
from dartboard.results.samples import sample_run
from dartboard.results.summary import summary

TIED = ((0.2,) * 5,) * 6
SHARP = ((0.1, 0.2, 0.3, 0.4, 0.0),) * 6


def board_of(run: RunData) -> Board:
    """The first board of a run."""
    return boards(run)[0]


def with_records(run: RunData, records: Sequence[RunRecord]) -> RunData:
    """The run with these records in place of its own."""
    return run.kept(list(enumerate(records, start=1)))


def texts(block: Block) -> list[str]:
    """Every paragraph under a block."""
    if isinstance(block, Section):
        return [text for inner in block.blocks for text in texts(inner)]
    return [block.text] if isinstance(block, Text) else []


def plot(board: Board, name: str) -> Plot:
    """The figure of a board whose name begins so."""
    blocks = tuple(block for block in figures(board, Names()) if block is not None)
    return next(found for found in plots(blocks, but="page") if found.name.startswith(name))


def test_a_gain_is_told_with_the_smallest_p_that_was_possible(tmp_path: Path) -> None:
    """Of three pairs of which one is equal two signs are left: no p below 2 / 2² = 0.5."""
    run = read_run(sample_run(tmp_path, selectors={"magnitude": None, "perturbation": None}, epochs=1))
    accuracies = {"magnitude": (80.0, 80.0, 80.0), "perturbation": (80.0, 90.0, 91.0)}
    records = [
        replace(record, accuracy=accuracies[record.selector][record.seed], regret=1.0) for _, record in run.records
    ]
    section = by_criterion(board_of(with_records(run, records)))
    assert section is not None
    assert texts(section) == ["3 pairs, 1 of them equal; no gains of so many could give a p below 0.5."]


def tied_run(tmp_path: Path) -> RunData:
    """Three supernets, on the first of which the mixture stays uniform, so that magnitude's scores decide nothing."""
    run = read_run(sample_run(tmp_path, selectors={"magnitude": None, "perturbation": None}, epochs=4))
    first = SearchKey("darts", "digits", 0)
    epochs = {
        search: tuple(replace(epoch, mixture=TIED, cell=str(Cell((0,) * 6))) for epoch in rows)
        if search == first
        else rows
        for search, rows in run.epochs.items()
    }
    records = [
        replace(record, scores=(TIED if record.seed == 0 else SHARP) if record.selector == "magnitude" else None)
        for _, record in run.records
    ]
    return replace(with_records(run, records), epochs=epochs)


def test_a_tie_breaks_cell_is_nobodys_choice(tmp_path: Path) -> None:
    """It is not in the distributions, the strips, or the pairs of a comparison; two of three supernets are left."""
    run = tied_run(tmp_path)
    board = board_of(run)
    (page,) = plot(board, "regret").draw(2)
    assert [axes.get_title() for axes in page.axes] == ["magnitude (n = 2)", "perturbation (n = 3)"]
    (page,) = plot(board, "selection").draw(2)
    marks = [line for line in page.axes[0].lines if line.get_linestyle() == "None"]
    assert [len(line.get_xdata()) for line in marks] == [2, 3]
    (entry,) = compare(run.records, "magnitude")
    assert entry.difference.n == 2


def test_a_uniform_mixture_has_no_argmax_cell(tmp_path: Path) -> None:
    """Its tie-break's cell, six times none, is no collapse, no trajectory and no largest weight, and that is said."""
    board = board_of(tied_run(tmp_path))
    first = SearchKey("darts", "digits", 0)
    assert board.tied == [first]
    assert first not in board.collapses
    assert [run.search.seed for run in board.trajectories] == [1, 2]
    assert "of 2 supernets" in takeaways.trajectories(board)
    said = [text for block in figures(board, Names()) if block is not None for text in texts(block)]
    assert "The mixing weights of darts on digits, seed 0 are equal on every edge: they have no argmax cell." in said
    told = texts(by_method(board, []))
    assert any("its mixing weights are equal on every edge" in text for text in told)
    uniform = [board.run.epochs[first]]
    assert takeaways.mixtures(uniform) == "The mixing weights are equal on every edge in the end."
    both = takeaways.mixtures([*uniform, board.run.epochs[SearchKey("darts", "digits", 1)]])
    assert both == takeaways.mixtures([board.run.epochs[SearchKey("darts", "digits", 1)]])


def test_searches_that_train_cells_have_no_blame_ranks_failures_or_budgets(tmp_path: Path) -> None:
    """There is no supernet to be blamed: their board is in none of those tables, nor in those parts of the summary."""
    run = read_run(sample_run(tmp_path, selectors={"magnitude": None}, seeds=(0, 1), epochs=2))
    template = run.records[0][1]
    budget = replace(template, selection_budget=100)
    queries = [replace(template, searcher="random-search", selector=QUERIES, seed=n, queries=9) for n in (0, 1)]
    run = with_records(run, [budget, run.records[1][1], *queries])
    run = replace(run, epochs={search: run.epochs.get(search, ()) for search in run.searches})
    found = boards(run)
    assert [board.kind for board in found] == ["weight-sharing", "trains cells"]
    verdicts = {board.slug: () for board in found}
    tables = board_tables(found, verdicts) | repeats_tables(run, found)
    assert "digits" in tables["budgets.csv"]
    assert all("trains cells" not in text and "random-search" not in text for text in tables.values())
    trained = summary(run, found, verdicts, {}).rankings[1]
    assert (trained.gains, trained.ranks, trained.blame, trained.failures) == ((), (), (), ())
    assert len(trained.results) == 1


def test_the_table_of_results_marks_what_was_tied(tmp_path: Path) -> None:
    """Where every choice of a criterion was the tie-break's its row says so; where one was not, it has its mean."""
    run = tied_run(tmp_path)
    assert [row[1] for row in rows(sections(board_of(run), Names()))] == ["magnitude", "perturbation"]
    records = [replace(r, scores=TIED) if r.selector == "magnitude" else r for _, r in run.records]
    tied = board_of(with_records(run, records))
    assert [row[1] for row in rows(sections(tied, Names()))] == [
        "magnitude (tied: the tie-break's cells)",
        "perturbation",
    ]


def rows(blocks: Sequence[Block]) -> Sequence[Sequence[Entry]]:
    """The rows of the table of criteria."""
    section = next(block for block in blocks if isinstance(block, Section) and block.title == "Criteria")
    return next(block.rows for block in section.blocks if isinstance(block, Table))
