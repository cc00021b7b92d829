"""Which failures there were: a matrix of the criteria's choices, one of the supernets, and what counts as each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dartboard.results.board import Board
from dartboard.results.document import Block, Matrix, Plot, Row, Section, Square, Table, Text
from dartboard.results.failure_modes.case import Mode
from dartboard.results.failure_modes.catalogue import MODES
from dartboard.results.failure_modes.thresholds import thresholds_of
from dartboard.results.failure_modes.verdicts import Verdict
from dartboard.results.names import Names
from dartboard.results.wording import count, listed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def matrices(board: Board, verdicts: Sequence[Verdict], names: Names) -> list[Block]:
    """The failures of choices by criterion, and those of supernets by search method."""
    of_choices = [mode for mode in MODES if mode.scope != "supernet"]
    of_supernets = [mode for mode in MODES if mode.scope == "supernet"]
    criteria = [name for name in board.selectors if name not in board.controls]
    choices = _matrix(
        verdicts,
        of_choices,
        criteria,
        lambda verdict: verdict.selector,
        plot=_plot(
            names.free(f"failures-{board.slug}"),
            _takeaway(verdicts, of_choices, "choice"),
            f"{board.title}: on how many supernets a criterion's choice failed in each way, of those where it can be "
            "told; the last columns count search methods. Deeper is more often; hatched cannot be told yet.",
        ),
        corner="criterion",
    )
    supernets = _matrix(
        verdicts,
        of_supernets,
        board.searchers,
        lambda verdict: verdict.searcher,
        plot=_plot(
            names.free(f"failures-supernets-{board.slug}"),
            _takeaway(verdicts, of_supernets, "supernet"),
            f"{board.title}: how many of a search method's supernets failed in each way, whoever chooses from them, of "
            "those where it can be told.",
        ),
        corner="search method",
    )
    found: list[Block] = [matrix for matrix in (choices, supernets) if matrix.rows]
    return [*found, _meanings(board, verdicts)]


def _plot(name: str, takeaway: str, how: str) -> Plot:
    def draw(columns: int) -> list[Figure]:  # noqa: ARG001  (in Markdown it is a table)
        return []

    return Plot(name=name, takeaway=takeaway, how=how, alt="Failure modes", tables=("failures.csv",), draw=draw)


def _matrix(
    verdicts: Sequence[Verdict],
    modes: Sequence[Mode],
    names: Sequence[str],
    name_of: Callable[[Verdict], str | None],
    *,
    plot: Plot,
    corner: str,
) -> Matrix:
    rows = []
    for name in names:
        squares = [_square([v for v in verdicts if v.mode == mode.key and name_of(v) == name]) for mode in modes]
        rows.append(Row(label=name, squares=tuple(squares)))
    return Matrix(plot=plot, corner=corner, columns=tuple(mode.title for mode in modes), rows=tuple(rows))


def _square(verdicts: Sequence[Verdict]) -> Square:
    answers = [verdict.answer for verdict in verdicts]
    present, told = answers.count("present"), len(answers) - answers.count("unknown")
    if not answers:
        return Square()
    if not told:
        needs = dict.fromkeys(need for verdict in verdicts for need in verdict.found.needs)
        return Square(lines=("?",), hatched=True, about="cannot be told: " + (listed(needs) if needs else "not known"))
    evidence = "; ".join(dict.fromkeys(v.found.evidence for v in verdicts if v.answer == "present"))
    shade = present / told if present else None
    return Square(lines=(f"{present} of {told}",), shade=shade, tone="bad", about=evidence[:400])


def _takeaway(verdicts: Sequence[Verdict], modes: Sequence[Mode], unit: str) -> str:
    shares: dict[str, tuple[int, int]] = {}
    unknown, partly = [], set()
    for mode in modes:
        if mode.scope == "seeds":
            continue
        answers = [verdict.answer for verdict in verdicts if verdict.mode == mode.key]
        told = len(answers) - answers.count("unknown")
        if told:
            shares[mode.title] = (answers.count("present"), told)
            partly |= {mode.title} if told < len(answers) / 2 else set()
        elif answers:
            unknown.append(mode.title)
    ordered = sorted(shares, key=lambda title: -shares[title][0] / shares[title][1])
    seen = [
        f"{title} ({n:,} of {'the ' if title in partly else ''}{count(told, unit)}"
        f"{' of which it can be told' if title in partly else ''})"
        for title in ordered
        for n, told in [shares[title]]
        if n
    ]
    if not shares:
        return f"Of no {unit} can a failure be told."
    first = f"No {unit} failed in a known way"
    if seen:
        which = "failures of {}s are" if len(seen) > 1 else "failure of {}s is"
        first = f"The most frequent {which.format(unit)} {listed(seen[:3])}"
    missing = f"; {listed(unknown)} cannot be told from what was measured" if unknown else ""
    return f"{first}{missing}."


def _meanings(board: Board, verdicts: Sequence[Verdict]) -> Section:
    limits = thresholds_of(board.run)
    rows = []
    for mode in MODES:
        mine = [verdict for verdict in verdicts if verdict.mode == mode.key]
        answers = [verdict.answer for verdict in mine]
        needs = dict.fromkeys(need for verdict in mine for need in verdict.found.needs)
        rows.append(
            (
                mode.title,
                {"run": "a choice", "supernet": "a supernet", "seeds": "all seeds of a criterion"}[mode.scope],
                mode.rule_at(limits),
                *(str(answers.count(answer)) for answer in ("present", "absent", "unknown")),
                "; ".join(needs),
            )
        )
    head = ("failure", "of", "present where", "present", "absent", "unknown", "what would tell it")
    words = Text(
        text="The thresholds are the grid's (docs/failure-modes.md); all are project choices unless said there."
    )
    table = Table(head=head, rows=tuple(rows), title="What counts as each failure")
    return Section(title="What counts as each failure", blocks=(words, table), folded=True)
