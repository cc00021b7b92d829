"""`dartboard report`: the report of run folders."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(epilog="Example: dartboard report runs/quick")
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where to write it.  [default: DIR/report]")
@click.option("--only", metavar="FIGURE", help="Write this figure and its tables, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (see docs/report.md).")
def command(folders: tuple[Path, ...], out: Path | None, only: str | None, as_json: bool) -> None:
    """Write the report of the run folder DIR: report.html, report.md with figures (PNG), tables (CSV), summary.json.

    Several run folders are compared in one report, which --out gives a place. It is made from the records alone, in
    place of an earlier one; a run that still goes on can be reported, too.
    """
    from dartboard.results.report import write_figure, write_report

    if only is not None:
        written = [str(path) for path in write_figure(folders, only, out)]
        click.echo(json.dumps({"files": written}, indent=2) if as_json else "\n".join(written))
        return
    report = write_report(folders, out)
    if as_json:
        facts = {
            "page": str(report.page),
            "report": str(report.path),
            "summary": str(report.summary),
            "figures": list(report.figures),
            "tables": list(report.tables),
            "findings": report.findings,
            "ok": report.ok,
            "failed": report.failed,
        }
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for dataset, sentences in report.findings.items():
        click.echo(f"Searched on {dataset}:")
        for sentence in sentences:
            click.echo(f"  - {sentence}")
    click.echo(f"{report.page} and {report.path.name} ({len(report.figures)} figures, {len(report.tables)} tables)")
