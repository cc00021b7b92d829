"""The report of run folders: report.html, report.md with figures (PNG), the tables behind them (CSV) and summary.json.

It is made from the records alone, but for the whole space's distribution of regret, which is the table's. The same
records give the same bytes of everything but the figures: there is no date, no path and nothing drawn by chance in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dartboard.benchmark.errors import InputError, unknown
from dartboard.results.document import Document, Plot, plots
from dartboard.results.records import report_folder
from dartboard.results.rundata import RunData, read_runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was written."""

    path: Path  # report.md
    page: Path  # report.html
    summary: Path  # summary.json
    figures: tuple[str, ...]  # file names beside it
    tables: tuple[str, ...]
    findings: dict[str, list[str]]  # by data set
    ok: int
    failed: int


def write_report(folders: Path | Sequence[Path], out: Path | None = None) -> Report:
    """Write the report of a run folder, or of several, in place of an earlier one.

    Args:
        folders: Of the runs.
        out: Where to; by default the one folder's report/.

    Raises:
        InputError: when nothing is recorded yet, a file in a folder is malformed, runs were judged by different tables,
            several have no `out`, or `out` cannot be written to.
    """
    from dartboard.results.html import html
    from dartboard.results.markdown import markdown
    from dartboard.results.panels import save

    run, out = _read(folders, out)
    contents = _contents(run)
    pages: dict[str, list[str]] = {}
    drawn: dict[str, Figure] = {}
    for plot in plots(contents.document.sections, but="page"):
        names = _drawn(plot)
        pages[plot.name] = list(names)
        drawn |= names
    files = {
        **contents.tables,
        "summary.json": contents.summary,
        "report.md": markdown(contents.document, pages, ["report.html", "summary.json", *drawn]),
        "report.html": html(contents.document, contents.tables),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in _named_in(out / "report.md"):
            (out / name).unlink(missing_ok=True)
        for name, figure in drawn.items():
            save(figure, out / name)
        for name, content in files.items():
            (out / name).write_text(content, encoding="utf-8", newline="")
    except OSError as error:
        raise _unwritable(out, error) from None
    return Report(
        path=out / "report.md",
        page=out / "report.html",
        summary=out / "summary.json",
        figures=tuple(drawn),
        tables=tuple(contents.tables),
        findings=dict(contents.findings),
        ok=sum(record.ok for _, record in run.records),
        failed=sum(not record.ok for _, record in run.records),
    )


def write_figure(folders: Path | Sequence[Path], name: str, out: Path | None = None) -> list[Path]:
    """Write one figure of a report, and the tables that hold its numbers, and nothing else.

    Raises:
        InputError: as `write_report`; when the report has no such figure.
    """
    from dartboard.results.panels import save

    run, out = _read(folders, out)
    contents = _contents(run)
    known = {plot.name: plot for plot in plots(contents.document.sections, but="page")}
    if name not in known:
        raise unknown("figure", name, known)
    drawn = _drawn(known[name])
    try:
        out.mkdir(parents=True, exist_ok=True)
        for file, figure in drawn.items():
            save(figure, out / file)
        for file in known[name].tables:
            (out / file).write_text(contents.tables[file], encoding="utf-8", newline="")
    except OSError as error:
        raise _unwritable(out, error) from None
    return [out / file for file in (*drawn, *known[name].tables)]


def _read(folders: Path | Sequence[Path], out: Path | None) -> tuple[RunData, Path]:
    folders = [folders] if isinstance(folders, Path) else list(folders)
    if len(folders) > 1 and out is None:
        raise InputError("a report of several run folders needs --out: no one of them is its place")
    return read_runs(folders), out or report_folder(folders[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contents:
    document: Document
    tables: Mapping[str, str]
    summary: str
    findings: Mapping[str, list[str]]


def _contents(run: RunData) -> _Contents:
    from dartboard.results.board import SHARING, boards
    from dartboard.results.contents import document, findings_of
    from dartboard.results.failure_modes.verdicts import verdicts
    from dartboard.results.summary import summary, summary_text
    from dartboard.results.tables import tables

    found = boards(run)
    judged = {b.slug: verdicts(b.run, b.dataset) if b.kind == SHARING else [] for b in found}
    told = findings_of(run, found)
    files = tables(run, found, judged)
    return _Contents(
        document=document(run, found, judged, told, files),
        tables=files,
        summary=summary_text(summary(run, found, judged, told)),
        findings=told,
    )


def _drawn(plot: Plot) -> dict[str, Figure]:
    """The pages of a figure by file name."""
    pages = plot.draw(2)
    return {f"{plot.name}-{n}.png" if len(pages) > 1 else f"{plot.name}.png": page for n, page in enumerate(pages, 1)}


def _unwritable(out: Path, error: OSError) -> InputError:
    return InputError(f"cannot write a report to {str(out)!r}: {error.strerror}; give another --out")


def _named_in(report: Path) -> list[str]:
    """The files beside an earlier report that were written with it."""
    if not report.is_file():
        return []
    text = report.read_text(encoding="utf-8")
    return re.findall(r"^- \[([\w.-]+\.(?:png|csv|json|html))\]\(\1\)", text, flags=re.MULTILINE)
