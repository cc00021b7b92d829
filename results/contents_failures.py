"""Which failures there were: a matrix of the criteria's choices, one of the supernets, and what counts as each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    choices = _matrix(
        verdicts,
        [mode for mode in MODES if mode.scope != "supernet"],
        {name: [v for v in verdicts if v.selector == name] for name in board.selectors if name not in board.controls},
        unit="choice",
        name=names.free(f"failures-{board.slug}"),
        how=f"{board.title}: on how many supernets a criterion's choice failed in each way, of those where it can be "
        "told; the last columns count search methods. Deeper is more often; hatched cannot be told yet.",
        corner="criterion",
    )
    supernets = _matrix(
        verdicts,
        [mode for mode in MODES if mode.scope == "supernet"],
        {name: [v for v in verdicts if v.searcher == name] for name in board.searchers},
        unit="supernet",
        name=names.free(f"failures-supernets-{board.slug}"),
        how=f"{board.title}: how many of a search method's supernets failed in each way, whoever chooses from them, of "
        "those where it can be told.",
        corner="search method",
    )
    return [*(matrix for matrix in (choices, supernets) if matrix.rows), _meanings(board, verdicts)]


def _matrix(
    verdicts: Sequence[Verdict],
    modes: Sequence[Mode],
    verdicts_by_row: Mapping[str, Sequence[Verdict]],
    *,
    unit: str,
    name: str,
    how: str,
    corner: str,
) -> Matrix:
    def draw(columns: int) -> list[Figure]:  # noqa: ARG001  (in Markdown it is a table)
        return []

    return Matrix(
        plot=Plot(
            name=name,
            takeaway=_takeaway(verdicts, modes, unit),
            how=how,
            alt="Failure modes",
            tables=("failures.csv",),
            draw=draw,
        ),
        corner=corner,
        columns=tuple(mode.title for mode in modes),
        rows=tuple(
            Row(label=label, squares=tuple(_square([v for v in mine if v.mode == mode.key]) for mode in modes))
            for label, mine in verdicts_by_row.items()
        ),
    )


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
