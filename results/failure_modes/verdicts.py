"""Every failure mode's answer about every case of a run, and how often each was present."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from dartboard.results import statistics as st
from dartboard.results.aggregate import main_metric
from dartboard.results.failure_modes.case import Answer, Case, Found
from dartboard.results.failure_modes.catalogue import MODES, mode
from dartboard.results.failure_modes.thresholds import Thresholds, thresholds_of
from dartboard.results.judged import judged
from dartboard.results.records import RunRecord
from dartboard.results.rundata import RunData
from dartboard.results.statistics import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A mode's answer about one case."""

    mode: str
    dataset: str
    searcher: str
    selector: str | None
    seed: int | None
    found: Found

    @property
    def answer(self) -> Answer:
        """Whether it is present."""
        return self.found.answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """A mode's answers about all cases of a search method and selector: a square of the failure matrix."""

    mode: str
    dataset: str
    searcher: str
    selector: str | None
    present: int
    absent: int
    unknown: int
    share: Estimate | None  # of the cases that can be told, Wilson's; None where none can, or a case is all seeds
    magnitude: float | None  # the median of those known
    needs: tuple[str, ...]
    verdicts: tuple[Verdict, ...]


def verdicts(run: RunData, dataset: str, limits: Thresholds | None = None) -> list[Verdict]:
    """Every mode's answer about every case of one data set: criteria only, controls are not accused.

    Args:
        run: What was recorded.
        dataset: The images that were searched on.
        limits: Those of the run's grid by default.
    """
    limits = limits or thresholds_of(run)
    cases = {scope: _cases(run, dataset, scope) for scope in ("run", "supernet", "seeds")}
    return [
        Verdict(
            mode=entry.key,
            dataset=dataset,
            searcher=case.searcher,
            selector=case.selector,
            seed=case.seed,
            found=entry.judge(case, limits),
        )
        for entry in MODES
        for case in cases[entry.scope]
    ]


def _cases(run: RunData, dataset: str, scope: str) -> list[Case]:
    records = [record for _, record in run.of(dataset)]
    known = tuple(judged(records, dataset))
    metric = main_metric(records, dataset)
    strength = _true_strength(run, known)
    options = run.header.options.get("selectors", {}) if run.header else {}

    def case(of: RunRecord, runs: Iterable[RunRecord], *, selector: str | None, seed: int | None) -> Case:
        return Case(
            dataset=dataset,
            searcher=of.searcher,
            selector=selector,
            seed=seed,
            runs=tuple(runs),
            others=known,
            epochs=run.epochs.get(of.search, ()) if seed is not None else (),
            diagnostics=run.diagnostics.get(of.search, ()) if seed is not None else (),
            options=options.get(selector, {}),
            strength=strength,
            metric=metric,
        )

    criteria = [record for record in records if record.control is None]
    if scope == "run":
        return [case(record, [record], selector=record.selector, seed=record.seed) for record in criteria]
    if scope == "supernet":
        first = {record.search: record for record in reversed(records)}
        searches = [search for search in run.searches if search.dataset == dataset]
        return [
            case(first[search], (r for r in records if r.search == search), selector=None, seed=search.seed)
            for search in searches
        ]
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for record in criteria:
        groups.setdefault((record.searcher, record.selector), []).append(record)
    return [case(rows[0], rows, selector=selector, seed=None) for (_, selector), rows in groups.items()]


def _true_strength(run: RunData, known: Sequence[RunRecord]) -> tuple[tuple[float, ...], ...] | None:
    """What the control `edge-oracle` recorded of the table: mean accuracies by edge and operation."""
    options = run.header.options.get("selectors", {}) if run.header else {}
    for record in known:
        told = options.get(record.selector, {})
        average = told.get("strength", "average") == "average"
        if record.control == "truth" and average and told.get("method", record.selector) == "edge-oracle":
            scores = record.scores
            if scores is not None and all(score is not None for row in scores for score in row):
                return tuple(tuple(score or 0.0 for score in row) for row in scores)
    return None


def tally(found: Iterable[Verdict]) -> list[Tally]:
    """The verdicts by mode, search method and selector, in order of appearance."""
    groups: dict[tuple[str, str, str, str | None], list[Verdict]] = {}
    for verdict in found:
        key = (verdict.mode, verdict.dataset, verdict.searcher, verdict.selector)
        groups.setdefault(key, []).append(verdict)
    return [_tally(rows) for rows in groups.values()]


def _tally(rows: Sequence[Verdict]) -> Tally:
    first = rows[0]
    answers = [row.answer for row in rows]
    present, absent = answers.count("present"), answers.count("absent")
    magnitudes = [row.found.magnitude for row in rows if row.found.magnitude is not None]
    counted = mode(first.mode).scope != "seeds" and present + absent > 0
    return Tally(
        mode=first.mode,
        dataset=first.dataset,
        searcher=first.searcher,
        selector=first.selector,
        present=present,
        absent=absent,
        unknown=answers.count("unknown"),
        share=st.share(present, present + absent) if counted else None,
        magnitude=median(magnitudes) if magnitudes else None,
        needs=tuple(dict.fromkeys(need for row in rows for need in row.found.needs)),
        verdicts=tuple(rows),
    )
