"""A report as a document: the answer, what is seen at a glance, then everything under it, board by board."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from dartboard.results.board import SHARING, TRAINING, Board, trains_cells
from dartboard.results.contents_board import glance, sections
from dartboard.results.contents_details import by_criterion, by_method
from dartboard.results.contents_failures import matrices
from dartboard.results.contents_published import published_section
from dartboard.results.document import Block, Document, Items, Section, Table, Text
from dartboard.results.failure_modes.verdicts import Verdict
from dartboard.results.findings import findings
from dartboard.results.names import Names
from dartboard.results.query_searches import query_blocks, query_findings
from dartboard.results.records import RunHeader, RunRecord
from dartboard.results.rundata import RunData
from dartboard.results.wording import count, listed, metric_words, number, seeds

ANSWER: Final = 3
"""Sentences of the answer; the other findings stand at a glance."""

LISTED_RECORDS: Final = 500
"""At most so many records are listed in a report; records.csv has them all."""

ABOUT: Final[Mapping[str, str]] = {
    "results.csv": "every search method and selector over seeds: the heat map, the result tables, the cost figure",
    "comparisons.csv": "every selector against magnitude on the same supernets",
    "contrasts.csv": "the same with intervals and tests, without controls that read the table",
    "standings.csv": "the criteria's ranks",
    "criteria.csv": "how well every selector's scores agree with true operation strength, and a random order's",
    "repeats.csv": "how far each selector's answers scatter over repeats, supernet by supernet",
    "budgets.csv": "what each selector's budget of images buys",
    "criteria-tests.csv": "every criterion against its controls, in accuracy and in agreement",
    "blame.csv": "each criterion's regret in the supernet's and the selection's part",
    "failures.csv": "every failure mode's verdict, with its evidence",
    "searches.csv": "every search: its argmax cell on the way, when it collapsed, what an epoch took",
    "epochs.csv": "the trajectories and the mixing weights",
    "diagnostics.csv": "what was measured of the supernets besides",
    "cells.csv": "every chosen cell, and who chose it",
    "queries.csv": "every better cell of the searches that train cells",
    "published.csv": "our results beside the published ones",
    "records.csv": "every record",
}
"""The tables of a report."""


def document(
    run: RunData,
    boards: Sequence[Board],
    verdicts: Mapping[str, Sequence[Verdict]],
    told: Mapping[str, Sequence[str]],
    tables: Iterable[str],
) -> Document:
    """The report of a run.

    Args:
        run: What was recorded.
        boards: Its rankings.
        verdicts: The failure modes' answers by board.
        told: The findings by data set.
        tables: The names of the CSV files.
    """
    names = Names()
    details = []
    for board in boards:
        if board.kind == SHARING:
            details += [by_method(board, verdicts[board.slug]), by_criterion(board)]
    parts = [
        _glance(boards, told, verdicts, names),
        _setting(run),
        *_board_sections(run, boards, names),
        published_section(run),
        *(section for section in details if section is not None),
        _failures(run),
        _all_records(run),
        _files(tables),
    ]
    return Document(
        title=f"{run.name}: report",
        question=_question(run, boards),
        answer=tuple(_answer(told)) if told else (),
        notice=_notice([record for _, record in run.records]),
        sections=tuple(part for part in parts if part is not None),
    )


def findings_of(run: RunData, boards: Sequence[Board]) -> dict[str, list[str]]:
    """The findings by data set: about the weight-sharing searches, where there are any."""
    return {dataset: _findings(run, boards, dataset) for dataset in run.datasets}


def _findings(run: RunData, boards: Sequence[Board], dataset: str) -> list[str]:
    mine = {board.kind: board for board in boards if board.dataset == dataset}
    if SHARING not in mine and TRAINING in mine:
        return query_findings(mine[TRAINING])
    return findings(mine[SHARING].run if mine else run, dataset)


def _supernets(run: RunData) -> RunData:
    """The run without the searches that train cells."""
    return run.kept([row for row in run.records if not trains_cells(row[1])])


def _question(run: RunData, boards: Sequence[Board]) -> str:
    queries = len({record.searcher for _, record in run.records if trains_cells(record)})
    run = _supernets(run)
    if queries and not run.records:
        return (
            f"How far does a number of trained cells lead? {count(queries, 'search', 'searches')} without a supernet."
        )
    records = [record for _, record in run.records]
    searchers = len({record.searcher for record in records})
    criteria = len({record.selector for record in records if record.control is None})
    controls = len({record.selector for record in records if record.control})
    metrics = listed(dict.fromkeys(metric_words(board.metric) for board in boards)) if boards else ""
    judged = f", judged by {metrics}" if metrics else ""
    return (
        "Where a search ends in a poor cell, is the supernet to blame or the selection from it? "
        f"{count(searchers, 'search method')}, {count(criteria, 'criterion', 'criteria')} and "
        f"{count(controls, 'control')} on {count(len(run.searches), 'supernet')}, searched on {listed(run.datasets)}"
        f"{judged}."
    )


def _answer(told: Mapping[str, Sequence[str]]) -> list[str]:
    if len(told) == 1:
        return list(next(iter(told.values()))[:ANSWER])
    return [
        sentence if place else f"Searched on **{dataset}**: {sentence}"
        for dataset, said in told.items()
        for place, sentence in enumerate(said[:ANSWER])
    ]


def _notice(records: Sequence[RunRecord]) -> str:
    """That the truth is not the benchmark's own, where it is not."""
    names = sorted({record.table or "?" for record in records if record.table_official is False})
    if not names:
        return ""
    which = listed(f"`{name}`" for name in names)
    return f"The accuracies are not the official NAS-Bench-201 table's, but those of {which}: see below."


def _glance(
    boards: Sequence[Board],
    told: Mapping[str, Sequence[str]],
    verdicts: Mapping[str, Sequence[Verdict]],
    names: Names,
) -> Section | None:
    parts: list[Block] = []
    for board in boards:
        blocks = query_blocks(board) if board.kind == TRAINING else glance(board, names)
        if board.kind == SHARING:
            blocks += matrices(board, verdicts[board.slug], names)
            more = tuple(told[board.dataset][ANSWER:])
            blocks += [Items(items=more)] if more else []
        parts += [Section(title=board.title, blocks=tuple(blocks))] if len(boards) > 1 else blocks
    return Section(title="At a glance", blocks=tuple(parts)) if parts else None


def _board_sections(run: RunData, boards: Sequence[Board], names: Names) -> list[Section]:
    ranked = [board for board in boards if board.kind == SHARING]
    parts = [Section(title=board.title, blocks=tuple(sections(board, names))) for board in ranked]
    for dataset in run.datasets:
        if dataset not in {board.dataset for board in boards}:
            none = Text(text="No run came to a cell with a known accuracy.")
            parts.append(Section(title=f"Searched on {dataset}", blocks=(none,)))
    return parts


# What was run.


def _setting(run: RunData) -> Section:
    """In plain words, what was run on what."""
    records = [record for _, record in run.records]
    sharing = _supernets(run)
    querying = run.kept([row for row in run.records if trains_cells(row[1])])
    rows = [
        *([("Folders", listed(run.folders))] if len(run.folders) > 1 else []),
        *([("Supernets", f"{len(sharing.searches)}: {_searched(sharing)}")] if sharing.records else []),
        *([("Searches that train cells", _searched(querying))] if querying.records else []),
        ("Table", _table_words(run)),
        *((f"Images: {dataset}", _image_words(run, dataset)) for dataset in sharing.datasets),
        *([("Supernet", _supernet_words([record for _, record in sharing.records]))] if sharing.records else []),
        *([("Reduction", _reductions(run.folders.values()))] if any(run.folders.values()) else []),
        ("Preset", _distinct(record.preset for record in records)),
        *(
            (name, _distinct(getattr(record, f"{name}_version") for record in records))
            for name in ("dartboard", "torch", "numpy", "python")
        ),
        ("Commit", _distinct(record.commit for record in records)),
        ("Device", _distinct(record.device for record in records)),
    ]
    table = Table(head=("what", "as it was"), rows=tuple(rows), title="What was run")
    return Section(title="What was run", blocks=(table,), folded=True)


def _reductions(headers: Iterable[RunHeader | None]) -> str:
    return _distinct(header.reduction or "none: the literature's size" for header in headers if header)


def _searched(run: RunData) -> str:
    parts = []
    for dataset in run.datasets:
        for searcher in dict.fromkeys(search.searcher for search in run.searches if search.dataset == dataset):
            chosen = [s.seed for s in run.searches if (s.searcher, s.dataset) == (searcher, dataset)]
            parts.append(f"{searcher} on {dataset}, {seeds(chosen)}")
    return "; ".join(parts)


def _table_words(run: RunData) -> str:
    records = [record for _, record in run.records]
    names = _distinct(record.table for record in records)
    kinds = {True: "the official one", False: "**not the official one**", None: "of unknown origin"}
    kind = listed(dict.fromkeys(kinds[record.table_official] for record in records))
    facts = run.header.table if run.header else {}
    labels = {"title": "", "source": "", "version": "version ", "licence": "licence: ", "aggregation": ""}
    told = [f"{label}{facts[name]}" for name, label in labels.items() if facts.get(name)]
    sha = _distinct(record.table_sha256 and record.table_sha256[:12] for record in records)
    return "; ".join([f"{names}, {kind}", *told, f"SHA-256 {sha}"])


def _image_words(run: RunData, dataset: str) -> str:
    mine = [record for _, record in run.of(dataset)]
    halves = _distinct(
        f"{record.train_images:,} for the weights and {record.valid_images:,} for the architecture"
        for record in mine
        if record.train_images is not None and record.valid_images is not None
    )
    size = _distinct(record.image_size and f"{record.image_size}x{record.image_size} pixels" for record in mine)
    facts = run.header.images.get(dataset, {}) if run.header else {}
    told = [str(facts["source"])] if facts.get("source") else []
    original = facts.get("original_size")
    if original and all(record.image_size != original for record in mine):
        size += f" (scaled down from {original}x{original})"
    return "; ".join([halves, size, *told])


def _supernet_words(records: Sequence[RunRecord]) -> str:
    return _distinct(
        f"C={record.channels} channels, N={record.cells_per_stage} cells a stage, batches of {record.batch_size}, "
        f"{count(record.search_epochs or 0, 'epoch')}"
        for record in records
        if record.channels is not None
    )


def _distinct(values: Iterable[Any]) -> str:
    """The different values there are, or that none is known."""
    known = list(dict.fromkeys(str(value) for value in values if value is not None))
    return " / ".join(known) or "unknown"


# Every run.


def _failures(run: RunData) -> Section | None:
    failed = [(line, record) for line, record in sorted(run.records, key=lambda row: row[0]) if not record.ok]
    if not failed:
        return None
    rows = tuple((str(line), str(record.key), record.error or "-") for line, record in failed)
    more = [Text(text=f"and {len(rows) - LISTED_RECORDS} more: see records.csv.")] if len(rows) > LISTED_RECORDS else []
    table = Table(head=("line", "run", "error"), rows=rows[:LISTED_RECORDS], title="Failed runs")
    words = Text(text=f"{count(len(rows), 'run')} of {len(run.records)} failed.")
    return Section(title="Failed runs", blocks=(words, table, *more))


def _all_records(run: RunData) -> Section:
    title = "Every record"
    if len(run.records) > LISTED_RECORDS:
        words = f"{len(run.records):,} records: too many to list here; records.csv has them all."
        return Section(title=title, blocks=(Text(text=words),))
    rows = tuple(
        (
            str(line),
            record.searcher,
            record.dataset,
            str(record.seed),
            record.selector,
            record.status,
            "-" if record.cell_number is None else str(record.cell_number),
            number(record.accuracy),
            number(record.regret),
            "-" if record.rank is None else f"{record.rank:,}",
        )
        for line, record in sorted(run.records, key=lambda row: row[0])
    )
    head = ("line", "searcher", "data set", "seed", "selector", "status", "cell number", "accuracy", "regret", "rank")
    words = "The line is the record's in records.jsonl."
    if run.origins:
        words = "The line is the record's in records.csv, which tells its folder and its line there, too."
    return Section(title=title, blocks=(Text(text=words), Table(head=head, rows=rows, title=title)), folded=True)


def _files(tables: Iterable[str]) -> Section:
    items = tuple(f"[{name}]({name}): {ABOUT[name]}" for name in tables)
    return Section(title="Files", blocks=(Items(items=items),))
