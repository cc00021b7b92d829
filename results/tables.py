"""The numbers behind a report as CSV files; each row names the records it was made from.

The column `lines` holds the records' lines in records.jsonl, apart by spaces. Aggregates are rounded to six decimals.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from dartboard.benchmark.space import EDGES, OPERATIONS
from dartboard.results.aggregate import Summary, chosen_cells, compare, free_edges, groups
from dartboard.results.board import Board
from dartboard.results.board_tables import board_tables
from dartboard.results.contents_criteria import criteria_tables
from dartboard.results.contents_published import comparison_rows
from dartboard.results.contents_repeats import repeats_tables
from dartboard.results.csv_files import csv_text, spread_estimate
from dartboard.results.failure_modes.verdicts import Verdict
from dartboard.results.json_lines import accuracy_field, to_json
from dartboard.results.judged import REFERENCE
from dartboard.results.query_searches import query_rows
from dartboard.results.rundata import RunData
from dartboard.results.searches import searches_rows
from dartboard.results.wording import choosers

SUMMARIES: Final = (
    *("accuracy", "regret", "percentile", "free_edges", "skips", "pools", "nones"),
    *("selection_images", "selection_seconds", "search_images"),
)
"""The fields of a `Group` that results.csv spreads into mean, standard deviation, lowest and highest."""

NESTED: Final = ("scores", "trace", "notes")
"""Fields of a record that are no single value: they stay in records.jsonl."""


def tables(
    run: RunData, boards: Sequence[Board] = (), verdicts: Mapping[str, Sequence[Verdict]] = MappingProxyType({})
) -> dict[str, str]:
    """Every table of a report that has a row, by file name; those of the failure modes' `verdicts` by board."""
    found = {
        "results.csv": csv_text(_results(run, boards)),
        "comparisons.csv": csv_text(_comparisons(run)),
        **board_tables(boards, verdicts),
        **criteria_tables(boards),
        **repeats_tables(run, boards),
        "searches.csv": csv_text(searches_rows(boards)),
        "epochs.csv": csv_text(_epochs(run)),
        "diagnostics.csv": csv_text(_diagnostics(run)),
        "cells.csv": csv_text(_cells(run)),
        "queries.csv": csv_text(query_rows(run.records)),
        "published.csv": csv_text(comparison_rows(run)),
        "records.csv": csv_text(_records(run)),
    }
    return {name: text for name, text in found.items() if text}


def _results(run: RunData, boards: Sequence[Board]) -> Iterable[Mapping[str, Any]]:
    """One row for each data set, search method and selector, over seeds."""
    middles = {(board.dataset, *key): middle for board in boards for key, middle in board.middles.items()}
    for group in groups(run.records):
        row: dict[str, Any] = {
            "searcher": group.searcher,
            "dataset": group.dataset,
            "selector": group.selector,
            "control": group.control,
            "ok": group.ok,
            "failed": group.failed,
            "metric": group.metric,
        }
        if boards:
            row |= spread_estimate("accuracy_iqm", middles.get((group.dataset, group.searcher, group.selector)))
        for name in SUMMARIES:
            row |= _spread(name, getattr(group, name))
        for metric, summary in sorted(group.accuracies.items()):
            row |= _spread(accuracy_field(metric), summary)
        yield row | {"lines": _lines(group.lines)}


def _comparisons(run: RunData) -> Iterable[Mapping[str, Any]]:
    """Every selector against magnitude on the same supernets."""
    for entry in compare(run.records, REFERENCE):
        row: dict[str, Any] = {"dataset": entry.dataset, "selector": entry.selector, "control": entry.control}
        row |= {"reference": entry.reference, "better": entry.better, "equal": entry.equal, "worse": entry.worse}
        row |= _spread("difference", entry.difference)
        yield row | {"lines": _lines(entry.lines)}


def _epochs(run: RunData) -> Iterable[Mapping[str, Any]]:
    """One row for each finished epoch: the argmax cell, its accuracies, and the mixing weights."""
    for search in run.searches:
        for epoch in run.epochs[search]:
            row = {**search._asdict(), **to_json(epoch)}
            del row["mixture"]
            row["free_edges"] = free_edges(epoch.cell)
            for (target, source), weights in zip(EDGES, epoch.mixture, strict=True):
                row |= {f"weight_{source}_{target}_{name}": w for name, w in zip(OPERATIONS, weights, strict=True)}
            yield row


def _cells(run: RunData) -> Iterable[Mapping[str, Any]]:
    """One row for each distinct cell that was chosen."""
    for entry in chosen_cells(run.records):
        yield {
            "dataset": entry.dataset,
            "cell": str(entry.cell),
            "cell_number": entry.number,
            "metric": entry.metric,
            "accuracy": entry.accuracy,
            "rank": entry.rank,
            "free_edges": free_edges(str(entry.cell)),
            "chosen_by": "; ".join(choosers(entry.choosers)),
            "lines": _lines(entry.lines),
        }


def _records(run: RunData) -> Iterable[Mapping[str, Any]]:
    """Every record, without the fields that are no single value."""
    for line, record in sorted(run.records, key=lambda row: row[0]):
        folder = dict(zip(("folder", "folder_line"), run.origins[line], strict=True)) if run.origins else {}
        yield {"line": line} | folder | {name: value for name, value in to_json(record).items() if name not in NESTED}


def _diagnostics(run: RunData) -> Iterable[Mapping[str, Any]]:
    """One row for each value of each diagnostic; lists are JSON."""
    for search in run.searches:
        for record in run.diagnostics.get(search, ()):
            row = {**search._asdict(), "diagnostic": record.name, "epoch": record.epoch, "error": record.error}
            for key, value in _flat(record.values) if not record.error else [("", None)]:
                yield row | {"value_name": key, "value": value}


def _flat(values: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", json.dumps(value) if isinstance(value, list) else value


def _spread(name: str, summary: Summary | None) -> dict[str, float | None]:
    if summary is None:
        return {f"{name}_{part}": None for part in ("mean", "std", "low", "high")}
    parts = {"mean": summary.mean, "std": summary.std, "low": summary.low, "high": summary.high}
    return {f"{name}_{part}": None if value is None else round(value, 6) for part, value in parts.items()}


def _lines(lines: Sequence[int]) -> str:
    return " ".join(map(str, lines))
