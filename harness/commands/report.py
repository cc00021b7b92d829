"""`dartboard report`: a run folder's report."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(epilog="Example: dartboard report runs/quick")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where to write it.  [default: DIR/report]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (see docs/report.md).")
def command(folder: Path, out: Path | None, as_json: bool) -> None:
    """Write the report of the run folder DIR: report.md, its figures (PNG) and its tables (CSV).

    It is made from the records alone, in place of an earlier one; a run that still goes on can be reported, too.
    """
    from dartboard.results.report import write_report

    report = write_report(folder, out)
    if as_json:
        facts = {
            "report": str(report.path),
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
    click.echo(f"{report.path} ({len(report.figures)} figures, {len(report.tables)} tables)")
