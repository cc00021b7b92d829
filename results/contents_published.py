"""Our results beside the published ones, and whether the two may be held together at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from dartboard.results.aggregate import summarise
from dartboard.results.document import Section, Table, Text
from dartboard.results.published import Published, published_of
from dartboard.results.published_comparison import Ours, Verdict, compare, ours
from dartboard.results.rundata import RunData
from dartboard.results.wording import mean_std, metric_words

CSV: Final = "published.csv"


def comparisons(run: RunData) -> list[tuple[Ours, Published, Verdict]]:
    """Everything that we measured and that is published, in the order of the records; [] without a header."""
    if run.header is None:
        return []
    records = [record for _, record in run.records]
    return [
        (mine, theirs, compare(theirs, mine))
        for mine in ours(records, run.header)
        for theirs in published_of(mine.method, mine.selector)
        if theirs.metric in mine.accuracies
    ]


def published_section(run: RunData) -> Section | None:
    """The published numbers of what was run, by the metrics that the runs are judged by; None where there is none."""
    judged = {record.metric for _, record in run.records}
    shown = [entry for entry in comparisons(run) if entry[1].metric in judged]
    if not shown:
        return None
    rows = tuple(
        (
            f"{mine.method} / {mine.selector}",
            metric_words(theirs.metric),
            _theirs(theirs),
            theirs.cited + (f"; {theirs.variant}" if theirs.variant else ""),
            mean_std(summarise(mine.accuracies[theirs.metric])),
            str(len(mine.accuracies[theirs.metric])),
            "-" if verdict.difference is None else f"{verdict.difference:+.2f}",
            verdict.word,
            "; ".join(verdict.reasons),
        )
        for mine, theirs, verdict in shown
    )
    how = (
        "In percent; the difference is ours less theirs, in points. A mark tells how sure a published number is:"
        " `[mem]` and `[MEM]` are from memory, unverified; `[2nd]` and `[V-text]` are quoted by others. Two numbers"
        " agree or differ only where they come of one protocol, we have two seeds and they print a spread: then 0"
        " does or does not lie in Welch's 95 % interval of the difference. Without their spread ours alone can show"
        " that they agree."
    )
    head = ("search / selector", "metric", "published", "by", "here", "seeds", "difference", "verdict", "why")
    table = Table(head=head, rows=rows, title="Our results beside the published ones")
    return Section(title="Beside the published numbers", blocks=(Text(text=how), table), folded=True)


def comparison_rows(run: RunData) -> Iterable[Mapping[str, Any]]:
    """The rows of published.csv: by every metric."""
    for mine, theirs, verdict in comparisons(run):
        summary = summarise(mine.accuracies[theirs.metric])
        yield {
            "method": mine.method,
            "selector": mine.selector,
            "metric": theirs.metric,
            "published": theirs.mean,
            "published_std": theirs.std,
            "published_n": theirs.n,
            "source": theirs.cited,
            "variant": theirs.variant,
            "from_memory": theirs.from_memory,
            "note": theirs.note,
            "here": None if summary is None else round(summary.mean, 6),
            "here_std": None if summary is None or summary.std is None else round(summary.std, 6),
            "here_n": None if summary is None else summary.n,
            "difference": None if verdict.difference is None else round(verdict.difference, 6),
            "verdict": verdict.word,
            "reasons": "; ".join(verdict.reasons),
        }


def _theirs(row: Published) -> str:
    spread = "" if row.std is None else f" ± {row.std:.2f}"
    return f"{row.mean:.2f}{spread}" + (" (unverified)" if row.from_memory else "")
