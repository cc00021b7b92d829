"""A report's first sentences, written from the numbers.

They describe; they do not test. Each says over how many supernets it speaks, and calls a choice made after the fact
by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dartboard.results.aggregate import (
    COLLAPSED_SKIPS,
    PASSED_THROUGH,
    Comparison,
    Trajectory,
    best_in_table,
    collapsed,
    compare,
    main_metric,
    summarise,
    trajectory,
)
from dartboard.results.rundata import RunData
from dartboard.results.wording import count, listed, metric_words

REFERENCE: Final = "magnitude"
"""DARTS's own rule, the largest mixing weight on each edge: the others are set against it."""

BLIND: Final = ("prior", "random")
"""The controls that a criterion has to beat to have shown anything."""

FEW: Final = 5
"""With fewer supernets than so many, a finding says that it is an observation of single cases."""


def findings(run: RunData, dataset: str) -> list[str]:
    """Some sentences about one data set's runs, the most important first."""
    numbered = sorted(run.of(dataset), key=lambda row: row[0])
    records = [record for _, record in numbered]
    done = [record for record in records if record.ok]
    if not done:
        return [f"No run came to a cell: {_all(len(records))} failed, the first with: {records[0].error}."]
    metric = main_metric(done, dataset)
    if metric is None:
        return ["The table has no accuracy for these cells, so nothing can be said about them."]
    sentences = []
    comparisons = compare(numbered, REFERENCE)
    reference = [record for record in done if record.selector == REFERENCE and record.accuracy is not None]
    if reference:
        trajectories = [trajectory(record.search, run.epochs[record.search], metric) for record in reference]
        best = best_in_table(done, dataset, metric)
        cells = [record.cell for record in reference if record.cell]
        sentences.append(_magnitude([record.accuracy for record in reference], metric, best))
        sentences.append(_collapse(cells, trajectories))
        sentences += _against_magnitude([entry for entry in comparisons if entry.control is None])
    else:
        sentences.append(f"{REFERENCE} came to no cell here, so the criteria have nothing to be set against.")
    sentences += _against_controls(run, dataset)
    failed = len(records) - len(done)
    if failed:
        sentences.append(
            f"{count(failed, 'run')} of {len(records)} failed and {'is' if failed == 1 else 'are'} left out."
        )
    supernets = len({record.search for record in done})
    if supernets < FEW:
        cases = "one supernet: a single case" if supernets == 1 else f"{supernets} supernets: a few single cases"
        sentences.append(f"All this is from {cases}, which shows what can happen and not how often it does.")
    return sentences


def _all(n: int) -> str:
    return "the only one" if n == 1 else f"all {n}"


def _magnitude(accuracies: Sequence[float | None], metric: str, best: float | None) -> str:
    summary = summarise(accuracies)
    assert summary is not None
    over = f" on average over {summary.n} supernets" if summary.n > 1 else ""
    spread = f" ({summary.low:.2f} to {summary.high:.2f})" if summary.low < summary.high else ""
    short = f"; the table's best cell has {best:.2f} %" if best is not None else ""
    return f"{REFERENCE} came to {summary.mean:.2f} % {metric_words(metric)}{over}{spread}{short}."


def _collapse(cells: Sequence[str], trajectories: Sequence[Trajectory]) -> str:
    n = len(cells)
    bare = sum(map(collapsed, cells))
    sentence = (
        f"Its cell had collapsed (at least {COLLAPSED_SKIPS} skips, or no convolution) on {bare} of "
        f"{count(n, 'supernet')}"
    )
    losses = [loss for run in trajectories if (loss := run.lost) is not None]
    if losses:
        lost = sum(loss >= PASSED_THROUGH for loss in losses)
        sentence += (
            f"; on {lost} of {len(losses)} the search had passed through an argmax cell at least "
            f"{PASSED_THROUGH:g} point better and lost it"
        )
        sentence += f" (largest loss {max(losses):.2f} points)" if lost else ""
    return sentence + "."


def _against_magnitude(comparisons: Sequence[Comparison]) -> list[str]:
    """The best and the last criterion of those that chose from every supernet; the others are named, not ranked."""
    if not comparisons:
        return []
    most = max(entry.difference.n for entry in comparisons)
    ranked = sorted((c for c in comparisons if c.difference.n == most), key=lambda entry: -entry.difference.mean)
    partial = [f"{c.selector} ({c.difference.n} of {most})" for c in comparisons if c.difference.n < most]
    top = ranked[0]
    seen_afterwards = f", the best of {len(ranked)} other criteria, picked after the fact," if len(ranked) > 1 else ""
    sentence = f"From the same supernets {top.selector}{seen_afterwards} got {_gain(top)}"
    if len(ranked) > 1:
        sentence += f"; the last of them, {ranked[-1].selector}, got {_gain(ranked[-1])}"
    if partial:
        sentence += f"; not compared, for want of a cell from every supernet: {listed(partial)}"
    return [sentence + "."]


def _gain(entry: Comparison) -> str:
    """By how much a selector is off the reference, on how many supernets."""
    gain = entry.difference.mean
    size = f"{abs(gain):.2f} points {'more' if gain > 0 else 'less'} than" if gain else "as much as"
    if entry.difference.n == 1:
        return f"{size} {REFERENCE} ({entry.accuracy.mean:.2f} %, one supernet)"
    return (
        f"{size} {REFERENCE} ({entry.accuracy.mean:.2f} %; better on {entry.better}, equal on {entry.equal}, "
        f"worse on {entry.worse} of {entry.difference.n})"
    )


def _against_controls(run: RunData, dataset: str) -> list[str]:
    """How many criteria, of those that chose from every supernet, beat each blind control on average."""
    parts = []
    for control in BLIND:
        entries = [entry for entry in compare(run.of(dataset), control) if entry.control is None]
        theirs = summarise(record.accuracy for _, record in run.of(dataset) if record.selector == control)
        entries = [entry for entry in entries if entry.difference.n == max(e.difference.n for e in entries)]
        if entries and theirs:
            better = [entry.selector for entry in entries if entry.difference.mean > 0]
            who = f" ({listed(better)})" if 0 < len(better) <= 3 else ""
            parts.append(
                f"{len(better)} of {count(len(entries), 'criterion', 'criteria')}{who} beat {control} "
                f"({theirs.mean:.2f} %)"
            )
    return [f"Against controls that never look at a supernet: {listed(parts)}, on average."] if parts else []
