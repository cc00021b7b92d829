"""The CSV files of what is worked out for a board: tests, ranks, blame, failures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dartboard.results.blame import blame
from dartboard.results.board import SHARING, Board
from dartboard.results.contrasts import contrasts
from dartboard.results.csv_files import csv_text, spread_estimate
from dartboard.results.failure_modes.catalogue import mode
from dartboard.results.failure_modes.verdicts import Verdict
from dartboard.results.standings import criterion_standings


def board_tables(boards: Sequence[Board], verdicts: Mapping[str, Sequence[Verdict]]) -> dict[str, str]:
    """Each by file name, of all boards of supernets together."""
    sharing = [board for board in boards if board.kind == SHARING]
    return {
        "contrasts.csv": csv_text(row for board in sharing for row in _contrasts(board)),
        "standings.csv": csv_text(row for board in sharing for row in _standings(board)),
        "blame.csv": csv_text(row for board in sharing for row in _blame(board)),
        "failures.csv": csv_text(row for board in sharing for row in _failures(board, verdicts[board.slug])),
    }


def _contrasts(board: Board) -> Iterable[Mapping[str, Any]]:
    for entry in contrasts(board.records, board.dataset):
        yield {
            **_head(board),
            "searcher": entry.searcher,
            "selector": entry.selector,
            "control": entry.control,
            "reference": entry.reference,
            "n": entry.mean.n,
            **spread_estimate("mean", entry.mean),
            **spread_estimate("iqm", entry.middle),
            **spread_estimate("probability_of_improvement", entry.improvement),
            "better": entry.better,
            "equal": entry.equal,
            "worse": entry.worse,
            "permutation_p": round(entry.permutation.p, 6),
            "smallest_p": round(entry.permutation.smallest_p, 6),
            "wilcoxon_p": round(entry.wilcoxon.p, 6),
            "holm_p": round(entry.corrected_p, 6),
        }


def _standings(board: Board) -> Iterable[Mapping[str, Any]]:
    found = criterion_standings(board.records, board.dataset, header=board.run.header)
    for row in found.rows:
        yield {
            **_head(board),
            "selector": row.name,
            "n": row.accuracy.n,
            **spread_estimate("accuracy_iqm", row.accuracy),
            "worst": row.worst,
            "rank": None if row.rank is None else round(row.rank, 6),
            "not_ranked": row.reason,
            "variants": "; ".join(row.variants),
            "friedman_p": None if found.ranking is None else round(found.ranking.p, 6),
            "critical_difference": None if found.ranking is None else round(found.ranking.critical_difference, 6),
        }


def _blame(board: Board) -> Iterable[Mapping[str, Any]]:
    for entry in blame(board.records, board.dataset):
        yield {
            **_head(board),
            "searcher": entry.searcher,
            "selector": entry.selector,
            "n": entry.regret.n,
            **spread_estimate("regret", entry.regret),
            **spread_estimate("supernet", entry.supernet),
            **spread_estimate("selection", entry.selection),
            **spread_estimate("selection_share", entry.share),
        }


def _failures(board: Board, verdicts: Sequence[Verdict]) -> Iterable[Mapping[str, Any]]:
    for entry in verdicts:
        yield {
            **_head(board),
            "failure": entry.mode,
            "of": mode(entry.mode).scope,
            "searcher": entry.searcher,
            "selector": entry.selector,
            "seed": entry.seed,
            "answer": entry.answer,
            "magnitude": None if entry.found.magnitude is None else round(entry.found.magnitude, 6),
            "unit": mode(entry.mode).unit,
            "evidence": entry.found.evidence,
            "needs": "; ".join(entry.found.needs),
        }


def _head(board: Board) -> dict[str, Any]:
    return {"dataset": board.dataset, "kind": board.kind}
