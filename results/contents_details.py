"""Down to the single choice, for the web page: every search method, every supernet, every criterion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dartboard.benchmark.space import Cell
from dartboard.results.aggregate import trajectory
from dartboard.results.board import Board
from dartboard.results.contrasts import contrasts
from dartboard.results.document import Block, Drawn, Entry, Section, Table, Text
from dartboard.results.failure_modes.catalogue import mode
from dartboard.results.failure_modes.verdicts import Verdict
from dartboard.results.judged import uniform
from dartboard.results.records import RunRecord, SearchKey
from dartboard.results.wording import amount, count, estimated, listed, number, seeds

MOST_ROWS: Final = 3000
"""With more choices than so many, a page does not show each one; records.csv has them all."""


def by_method(board: Board, verdicts: Sequence[Verdict]) -> Section:
    """A part for each search method, with one for each of its supernets."""
    parts = []
    for searcher in board.searchers:
        searches = [search for search in board.searches if search.searcher == searcher]
        told = f"{count(len(searches), 'supernet')}, {seeds([search.seed for search in searches])}"
        blocks: tuple[Block, ...] = (_criteria_of(board, searcher),)
        if len(board.records) <= MOST_ROWS:
            blocks += tuple(_supernet(board, search, verdicts) for search in searches)
        parts.append(Section(title=f"{searcher}: {told}", blocks=blocks, folded=True))
    return Section(title=f"Method by method: {_lower(board.title)}", blocks=tuple(parts), only="page")


def _lower(title: str) -> str:
    return title[:1].lower() + title[1:]


def _criteria_of(board: Board, searcher: str) -> Table:
    rows = []
    for group in board.rows:
        if group.searcher == searcher:
            middle = board.middles.get((searcher, group.selector))
            rows.append(
                (
                    group.selector + (f" ({group.control} control)" if group.control else ""),
                    estimated(middle),
                    number(group.regret.mean if group.regret else None),
                    number(group.accuracy.low if group.accuracy else None),
                    number(group.accuracy.high if group.accuracy else None),
                    f"{group.ok} / {group.failed}",
                    amount(round(group.selection_images.mean)) if group.selection_images else "-",
                    number(group.selection_seconds.mean if group.selection_seconds else None, 1),
                )
            )
    head = (
        *("selector", "interquartile mean (%) [95 %]", "mean regret", "worst (%)", "best (%)"),
        *("seeds ok / failed", "images", "seconds"),
    )
    return Table(head=head, rows=tuple(rows), title=f"{searcher}: every selector")


def _supernet(board: Board, search: SearchKey, verdicts: Sequence[Verdict]) -> Section:
    records = [record for record in board.records if record.search == search]
    mine = [v for v in verdicts if (v.searcher, v.seed) == (search.searcher, search.seed)]
    facts = [_supernet_facts(board, search, records)]
    seen = [
        f"**{mode(v.mode).title}**: {v.found.evidence}" for v in mine if v.selector is None and v.answer == "present"
    ]
    facts += ["Failures of the supernet: " + "; ".join(seen) + "."] if seen else []
    head = ("selector", "cell", "accuracy (%)", "regret", "rank", "failures of the choice")
    rows = tuple(_choice(record, mine) for record in records)
    return Section(
        title=f"seed {search.seed}: {_range(records)}",
        blocks=(*(Text(text=fact) for fact in facts), Table(head=head, rows=rows, title=f"{search}: every choice")),
        folded=True,
    )


def _range(records: Sequence[RunRecord]) -> str:
    known = [r.accuracy for r in records if r.accuracy is not None and r.control is None]
    if not known:
        return "no criterion came to a cell"
    return f"{min(known):.2f} %" if len(set(known)) == 1 else f"{min(known):.2f} to {max(known):.2f} % by criterion"


def _supernet_facts(board: Board, search: SearchKey, records: Sequence[RunRecord]) -> str:
    epochs = board.run.epochs[search]
    run = trajectory(search, epochs, board.metric)
    first = records[0]
    parts = []
    if first.supernet_accuracy_valid is not None:
        parts.append(f"validation accuracy of the mixture {first.supernet_accuracy_valid:.2f} %")
    if first.search_images is not None:
        parts.append(f"{amount(first.search_images)} images pushed through it in {first.search_epochs} epochs")
    if uniform(epochs):
        parts.append("its mixing weights are equal on every edge, so that they have no argmax cell")
    elif run.accuracies:
        parts.append(f"the argmax cell ends at {run.accuracies[-1]:.2f} %, having been at {max(run.accuracies):.2f} %")
    start = board.collapses.get(search)
    if start is not None:
        parts.append(f"collapsed from epoch {start} on")
    return f"{'; '.join(parts)[:1].upper()}{'; '.join(parts)[1:]}." if parts else "Nothing more is recorded of it."


def _choice(record: RunRecord, verdicts: Sequence[Verdict]) -> tuple[Entry, ...]:
    name = record.selector + (f" ({record.control} control)" if record.control else "")
    if not record.ok or record.cell is None:
        return (name, record.error or "failed", "-", "-", "-", "")
    seen = [v for v in verdicts if v.selector == record.selector and v.answer == "present"]
    return (
        name,
        Drawn(cell=Cell.parse(record.cell)),
        number(record.accuracy),
        number(record.regret),
        f"{record.rank:,}" if record.rank is not None else "-",
        listed(mode(v.mode).title for v in seen) if seen else "",
    )


def by_criterion(board: Board) -> Section | None:
    """Every criterion against magnitude, over all search methods and with each."""
    entries = contrasts(board.records, board.dataset)
    if not entries:
        return None
    selectors = list(dict.fromkeys(entry.selector for entry in entries))
    head = (
        *("supernets of", "mean gain (points) [95 %]", "better", "equal", "worse"),
        *("probability of a better cell [95 %]", "p, exact permutations", "p after Holm"),
    )
    parts = []
    for selector in selectors:
        mine = [entry for entry in entries if entry.selector == selector]
        rows = tuple(
            (
                entry.searcher or "all search methods",
                estimated(entry.mean),
                *(str(n) for n in (entry.better, entry.equal, entry.worse)),
                estimated(entry.improvement),
                f"{entry.permutation.p:.3g}",
                f"{entry.corrected_p:.3g}",
            )
            for entry in mine
        )
        test = mine[0].permutation
        words = f"{count(test.n, 'pair')}, {test.zeros} of them equal; no gains of so many could give a p below "
        words += f"{test.smallest_p:.2g}."
        control = f" ({mine[0].control} control)" if mine[0].control else ""
        parts.append(
            Section(
                title=f"{selector}{control}: {estimated(mine[0].mean)} points over {mine[0].reference}",
                blocks=(Text(text=words), Table(head=head, rows=rows, title=f"{selector} against {mine[0].reference}")),
                folded=True,
            )
        )
    return Section(title=f"Criterion by criterion: {_lower(board.title)}", blocks=tuple(parts), only="page")
