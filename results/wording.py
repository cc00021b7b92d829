"""How a report writes numbers, names and lists: one way each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dartboard.results.aggregate import Summary
from dartboard.results.records import RunKey
from dartboard.results.statistics import Estimate


def mean_std(summary: Summary | None, digits: int = 2) -> str:
    """`92.64 ± 1.20`, `92.64` for one value, `-` for none."""
    if summary is None:
        return "-"
    spread = "" if summary.std is None else f" ± {summary.std:.{digits}f}"
    return f"{summary.mean:.{digits}f}{spread}"


def interval(estimate: Estimate | None, digits: int = 2) -> str:
    """`[91.20, 93.51]`, nothing where there is no interval."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    return f"[{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def estimated(estimate: Estimate | None, digits: int = 2) -> str:
    """`92.64 [91.20, 93.51]`, `92.64` without an interval, `-` for none."""
    if estimate is None:
        return "-"
    return f"{estimate.value:.{digits}f} {interval(estimate, digits)}".rstrip()


def number(value: float | None, digits: int = 2) -> str:
    """`92.64`, or `-` for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def count(n: int, one: str, many: str | None = None) -> str:
    """`1 seed`, `3 seeds`, `1,000 images`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def amount(value: float, _: int | None = None) -> str:
    """1,000 as `1k`, 1,000,000 as `1M`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def listed(items: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last


def metric_words(metric: str) -> str:
    """`cifar10 test accuracy after 200 epochs` for cifar10/test/200."""
    dataset, split, epochs = metric.split("/")
    return f"{dataset} {split} accuracy after {epochs} epochs"


def metric_title(metric: str) -> str:
    """`cifar10 test` for cifar10/test/200: a column's head."""
    return " ".join(metric.split("/")[:2])


def spans(numbers: Iterable[int]) -> str:
    """`0-3, 7`."""
    runs: list[list[int]] = []
    for n in sorted(set(numbers)):
        if runs and n == runs[-1][-1] + 1:
            runs[-1][1:] = [n]
        else:
            runs.append([n])
    return ", ".join("-".join(map(str, run)) for run in runs)


def seeds(numbers: Sequence[int]) -> str:
    """`seed 4`, `seeds 0-3, 7`."""
    return f"{'seed' if len(set(numbers)) == 1 else 'seeds'} {spans(numbers)}"


def choosers(keys: Sequence[RunKey]) -> list[str]:
    """Who chose a cell: `darts / magnitude (seeds 0-2)`, one entry for each searcher and selector."""
    grouped: dict[tuple[str, str], list[int]] = {}
    for key in keys:
        grouped.setdefault((key.searcher, key.selector), []).append(key.seed)
    return [f"{searcher} / {selector} ({seeds(chosen)})" for (searcher, selector), chosen in grouped.items()]


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; the caller has escaped what a user named."""
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join('---' for _ in head)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
