"""The report of a run folder: report.md with figures (PNG) and the tables behind it (CSV), from its records alone.

The same records give the same bytes of Markdown and CSV: there is no date, no path and nothing drawn by chance in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dartboard.benchmark.errors import InputError
from dartboard.results.aggregate import (
    COLLAPSED_SKIPS,
    Chosen,
    Group,
    best_in_table,
    chosen_cells,
    groups,
    main_metric,
    shown_metrics,
    trajectory,
)
from dartboard.results.findings import REFERENCE, findings
from dartboard.results.records import RunRecord, report_folder
from dartboard.results.rundata import RunData, read_run
from dartboard.results.style import selector_marks
from dartboard.results.tables import tables
from dartboard.results.wording import (
    choosers,
    count,
    listed,
    markdown_table,
    mean_std,
    metric_title,
    metric_words,
    number,
    seeds,
    spans,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN_CELLS: Final = 120
"""At most so many distinct cells of a data set are drawn and listed; cells.csv has them all."""

LISTED_RECORDS: Final = 500
"""At most so many records are listed in report.md; records.csv has them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was written."""

    path: Path  # report.md
    figures: tuple[str, ...]  # file names beside it
    tables: tuple[str, ...]
    findings: dict[str, list[str]]  # by data set
    ok: int
    failed: int


def write_report(folder: Path, out: Path | None = None) -> Report:
    """Write the report of a run folder to `out` (by default its report/), in place of an earlier one.

    Raises:
        InputError: when nothing is recorded yet, a file in the folder is malformed, or `out` cannot be written to.
    """
    from dartboard.results.figures import save

    run = read_run(folder)
    out = out or report_folder(folder)
    text, figures = render(run)
    files = tables(run)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in _named_in(out / "report.md"):
            (out / name).unlink(missing_ok=True)
        for name, figure in figures.items():
            save(figure, out / name)
        for name, content in {**files, "report.md": text}.items():
            (out / name).write_text(content, encoding="utf-8", newline="")
    except OSError as error:
        raise InputError(f"cannot write a report to {str(out)!r}: {error.strerror}; give another --out") from None
    return Report(
        path=out / "report.md",
        figures=tuple(figures),
        tables=tuple(files),
        findings={dataset: findings(run, dataset) for dataset in run.datasets},
        ok=sum(record.ok for _, record in run.records),
        failed=sum(not record.ok for _, record in run.records),
    )


def render(run: RunData) -> tuple[str, dict[str, Figure]]:
    """The Markdown of a report, and its figures by file name."""
    figures: dict[str, Figure] = {}
    sections = [f"# {run.name}: report", _answer(run), _heat_maps(run, figures), _setting(run)]
    sections += [_dataset(run, dataset, figures) for dataset in run.datasets]
    sections += [_failures(run), _all_records(run), _files(figures, tables(run))]
    return "\n\n".join(section for section in sections if section) + "\n", figures


def _answer(run: RunData) -> str:
    lines = ["## The answer"]
    for dataset in run.datasets:
        if len(run.datasets) > 1:
            lines.append(f"Searched on **{dataset}**:")
        lines.append("\n".join(f"- {_escape(sentence)}" for sentence in findings(run, dataset)))
    table = _table_in_a_line([record for _, record in run.records])
    if table:
        lines.append(table)
    return "\n\n".join(lines)


def _heat_maps(run: RunData, figures: dict[str, Figure]) -> str:
    """Every search method with every selector at a glance, where there are several search methods."""
    from dartboard.results import figures as draw

    parts = []
    for dataset in run.datasets:
        records = [record for _, record in run.of(dataset)]
        metric = main_metric(records, dataset)
        several = len({record.searcher for record in records}) > 1
        if metric is None or not several or all(record.accuracy is None for record in records):
            continue
        rows = groups(run.of(dataset))
        pages = draw.heat_maps(rows, metric=metric, best=best_in_table(records, dataset, metric))
        words = f"Searched on {dataset}: {metric_words(metric)} of each selector (row) with each search method (column)"
        parts += _shown("heat-map-" + dataset, pages, words, figures)
        counts = {(group.ok, group.failed) for group in rows}
        n = f"over {count(counts.pop()[0], 'seed')}" if len(counts) == 1 else "over the n seeds that came to a cell"
        parts.append(
            f"{words}: the mean {n} ± standard deviation (one seed has no ±), and the mean regret in points. Darker "
            "is better; hatched squares failed, blank ones were not run; controls are below the rule. Numbers: "
            "results.csv."
        )
    return "\n\n".join(["## Every search method, every selector", *parts]) if parts else ""


def _shown(kind: str, pages: Sequence[Figure], alt: str, figures: dict[str, Figure]) -> list[str]:
    """The pages of a figure as Markdown, kept in `figures` under a name of their own."""
    links = []
    for page, figure in enumerate(pages, start=1):
        name = _file_name(f"{kind}-{page}" if len(pages) > 1 else kind, figures)
        figures[name] = figure
        links.append(f"![{alt}]({name})")
    return links


def _table_in_a_line(records: Sequence[RunRecord]) -> str:
    """That the truth is not the benchmark's own, where it is not."""
    names = sorted({record.table or "?" for record in records if record.table_official is False})
    if not names:
        return ""
    which = listed(f"`{name}`" for name in names)
    return f"**The accuracies are not the official NAS-Bench-201 table's**, but those of {which}: see below."


def _setting(run: RunData) -> str:
    """What was run, on what, in plain words."""
    records = [record for _, record in run.records]
    rows = [
        ("Supernets", f"{len(run.searches)}: {_searched(run)}"),
        ("Table", _table_words(run)),
        *((f"Images: {dataset}", _image_words(run, dataset)) for dataset in run.datasets),
        ("Supernet", _supernet_words(records)),
        *([("Reduction", run.header.reduction or "none: the literature's size")] if run.header else []),
        ("Preset", _distinct(record.preset for record in records)),
        *(
            (name, _distinct(getattr(record, f"{name}_version") for record in records))
            for name in ("dartboard", "torch", "numpy", "python")
        ),
        ("Commit", _distinct(record.commit for record in records)),
        ("Device", _distinct(record.device for record in records)),
    ]
    return "## What was run\n\n" + markdown_table(("", ""), rows)


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


def _dataset(run: RunData, dataset: str, figures: dict[str, Figure]) -> str:
    """Tables and figures of one data set's runs."""
    from dartboard.results import figures as draw

    numbered = run.of(dataset)
    records = [record for _, record in numbered]
    rows = groups(numbered)
    metric = main_metric(records, dataset)
    heading = f"## Searched on {dataset}"
    if metric is None:
        return f"{heading}\n\nNo run came to a cell with a known accuracy."
    done = any(record.ok for record in records)
    best = best_in_table(records, dataset, metric)
    prior = next((record.accuracy for record in records if record.selector == "prior" and record.ok), None)
    marks = selector_marks(list(dict.fromkeys(record.selector for _, record in run.records)))
    parts = [heading, _scored(metric, best), _results_table(rows, records)]

    def show(kind: str, pages: Sequence[Figure], alt: str) -> None:
        parts.extend(_shown(kind, pages, alt, figures))

    if done:
        parts.append(
            "### The same supernets, every selector\n\n"
            "Each mark is the cell chosen from one supernet; a line joins what "
            "the criteria chose from the same one. Controls are below the rule. Numbers: results.csv and records.csv."
        )
        pages = draw.selections(records, rows, marks, metric=metric, best=best)
        show(f"selection-{dataset}", pages, f"Accuracy of each selector's cell, searched on {dataset}")
    pages = draw.costs(rows, marks, metric=metric)
    if pages:
        parts.append(
            "### What it cost\n\n"
            "A mark is the mean over seeds, its bar goes from the worst to the best seed. Cost counts "
            "the images that the selector pushed through the supernet, gradient passes included. Numbers: results.csv."
        )
        show(f"cost-{dataset}", pages, f"Accuracy against images pushed through the supernet, searched on {dataset}")
    runs = [trajectory(search, run.epochs[search], metric) for search in run.searches if search.dataset == dataset]
    parts.append(
        "### The argmax cell, epoch by epoch\n\n"
        "The accuracy, from the table, of the cell with the largest mixing weight "
        "on each edge. Numbers: epochs.csv."
    )
    pages = draw.trajectories([entry for entry in runs if entry.epochs], metric=metric, best=best, prior=prior)
    show(f"trajectory-{dataset}", pages, f"True accuracy of the argmax cell after each epoch, searched on {dataset}")
    missing = [str(entry.search) for entry in runs if not entry.epochs]
    if missing:
        parts.append(f"No epochs are recorded for {listed(missing)}.")
    parts.append("### The mixing weights, edge by edge\n\nNumbers: epochs.csv.")
    for searcher in dict.fromkeys(s.searcher for s in run.searches if s.dataset == dataset):
        searches = [s for s in run.searches if (s.searcher, s.dataset) == (searcher, dataset) and run.epochs[s]]
        if searches:
            lines = f"each line is a seed ({len(searches)})" if len(searches) > 1 else seeds([searches[0].seed])
            figure = draw.mixtures(f"{searcher} on {dataset}, {lines}", [run.epochs[search] for search in searches])
            alt = f"Mixing weights of {searcher} on {dataset} after each epoch"
            show(f"mixture-{dataset}-{searcher}", [figure], alt)
    chosen = chosen_cells(numbered)
    if chosen:
        first = f" The first {DRAWN_CELLS} are shown; cells.csv has all." if len(chosen) > DRAWN_CELLS else ""
        parts.append(
            f"### The chosen cells\n\n{count(len(chosen), 'distinct cell')} came out.{first} Those of criteria come "
            "first, and of them the most often chosen. Pale edges do not reach the output; a dotted edge is `none`. "
            f"Accuracy and rank: {metric_words(metric)}."
        )
        show(f"cells-{dataset}", draw.cells(chosen[:DRAWN_CELLS]), f"The cells chosen on {dataset}")
        parts.append(_cells_table(chosen[:DRAWN_CELLS]))
    return "\n\n".join(part for part in parts if part)


def _scored(metric: str, best: float | None) -> str:
    known = f" The table's best cell has {best:.2f} %." if best is not None else ""
    return (
        f"Regret and percentile are by {metric_words(metric)}.{known} A percentile is the share of the other cells "
        f"that are worse. Accuracies are mean ± standard deviation (n - 1) over seeds, in percent; one seed has no ±. "
        f"A cell counts as collapsed when at least {COLLAPSED_SKIPS} of its 6 edges are skips, or none is a "
        "convolution, which is true of 6 % of all cells."
    )


def _results_table(rows: Sequence[Group], records: Sequence[RunRecord]) -> str:
    metrics = shown_metrics([record for record in records if record.ok])
    titles = [metric_title(metric) for metric in metrics]
    if len(set(titles)) < len(titles):
        titles = [f"{title}, {metric.split('/')[2]} ep." for title, metric in zip(titles, metrics, strict=True)]
    head = (
        "searcher", "selector", "seeds ok / failed", *titles, "regret (points)", "percentile",
        "edges without parameters (skip + pool + none)", "lines",
    )  # fmt: skip
    parts = []
    for heading, wanted in (("### Criteria", False), ("### Controls", True)):
        chosen = [group for group in rows if (group.control is not None) == wanted]
        if chosen:
            parts.append(heading)
            if wanted:
                parts.append(_control_words(chosen))
            parts.append(markdown_table(head, [_result_row(group, metrics) for group in chosen]))
    return "\n\n".join(parts)


def _control_words(rows: Sequence[Group]) -> str:
    blind = list(dict.fromkeys(f"`{group.selector}`" for group in rows if group.control == "blind"))
    truth = list(dict.fromkeys(f"`{group.selector}`" for group in rows if group.control == "truth"))
    parts = []
    if blind:
        parts.append(f"{listed(blind)} never {'look' if len(blind) > 1 else 'looks'} at the supernet")
    if truth:
        parts.append(f"{listed(truth)} {'read' if len(truth) > 1 else 'reads'} the table instead")
    return f"Not criteria, but what a criterion is measured by: {'; '.join(parts)}."


def _result_row(group: Group, metrics: Sequence[str]) -> tuple[str, ...]:
    parts = [number(summary.mean, 1) for summary in (group.skips, group.pools, group.nones) if summary]
    free = f"{number(group.free_edges.mean, 1)} ({' + '.join(parts)})" if group.free_edges else "-"
    name = f"*{_escape(group.selector)}*" if group.control else _escape(group.selector)
    return (
        _escape(group.searcher),
        name,
        f"{group.ok} / {group.failed}",
        *(mean_std(group.accuracies.get(metric)) for metric in metrics),
        mean_std(group.regret),
        mean_std(group.percentile),
        free,
        spans(group.lines),
    )


def _cells_table(chosen: Sequence[Chosen]) -> str:
    rows = [
        (
            f"`{_escape(str(entry.cell))}`",
            str(entry.number),
            number(entry.accuracy),
            f"{entry.rank:,}" if entry.rank is not None else "-",
            _escape("; ".join(_shortened(choosers(entry.choosers), 6))),
        )
        for entry in chosen
    ]
    return markdown_table(("cell", "number", "accuracy (%)", "rank", "chosen by"), rows)


def _shortened(names: list[str], most: int) -> list[str]:
    return names if len(names) <= most else [*names[:most], f"and {len(names) - most} more (cells.csv)"]


def _failures(run: RunData) -> str:
    failed = [(line, record) for line, record in sorted(run.records, key=lambda row: row[0]) if not record.ok]
    if not failed:
        return ""
    rows = [(str(line), _escape(str(record.key)), _escape(record.error or "-")) for line, record in failed]
    shown = rows[:LISTED_RECORDS]
    more = f"\n\nand {len(rows) - len(shown)} more: see records.csv." if len(rows) > len(shown) else ""
    return f"## Failed runs\n\n{count(len(rows), 'run')} of {len(run.records)} failed.\n\n" + (
        markdown_table(("line", "run", "error"), shown) + more
    )


def _all_records(run: RunData) -> str:
    heading = "## Every record"
    if len(run.records) > LISTED_RECORDS:
        return f"{heading}\n\n{len(run.records):,} records: too many to list here; records.csv has them all."
    rows = [
        (
            str(line),
            _escape(record.searcher),
            _escape(record.dataset),
            str(record.seed),
            _escape(record.selector),
            record.status,
            "-" if record.cell_number is None else str(record.cell_number),
            number(record.accuracy),
            number(record.regret),
            "-" if record.rank is None else f"{record.rank:,}",
        )
        for line, record in sorted(run.records, key=lambda row: row[0])
    ]
    head = ("line", "searcher", "data set", "seed", "selector", "status", "cell number", "accuracy", "regret", "rank")
    return f"{heading}\n\nThe line is the record's in records.jsonl.\n\n{markdown_table(head, rows)}"


_FILE = "- [{0}]({0})"


def _files(figures: Iterable[str], files: Iterable[str]) -> str:
    about = {
        "results.csv": "the result tables, and the cost figure",
        "comparisons.csv": f"every selector against {REFERENCE} on the same supernets",
        "epochs.csv": "the trajectories and the mixing weights",
        "cells.csv": "every chosen cell, and who chose it",
        "records.csv": "every record",
    }
    lines = [f"{_FILE.format(name)}: {about[name]}" for name in files] + [_FILE.format(name) for name in figures]
    return "## Files\n\n" + "\n".join(lines)


def _named_in(report: Path) -> list[str]:
    """The files beside an earlier report that were written with it."""
    if not report.is_file():
        return []
    return re.findall(r"^- \[([\w.-]+\.(?:png|csv))\]\(\1\)", report.read_text(encoding="utf-8"), flags=re.MULTILINE)


def _file_name(kind: str, taken: Iterable[str]) -> str:
    """A name for a figure that is safe everywhere and not yet taken."""
    stem = re.sub(r"[^A-Za-z0-9.-]+", "-", kind).strip("-.")
    names = {f"{stem}.png", *(f"{stem}_{n}.png" for n in range(2, 1000))} - set(taken)
    return min(names, key=lambda name: (len(name), name))


def _distinct(values: Iterable[Any]) -> str:
    """The different values there are, or that none is known."""
    known = list(dict.fromkeys(str(value) for value in values if value is not None))
    return " / ".join(known) or "unknown"


def _escape(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;")
