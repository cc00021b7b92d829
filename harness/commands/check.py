"""`dartboard check`: has a chosen cell or an accuracy moved?"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click


@click.command(epilog="Example: dartboard check runs/smoke --baseline smoke-baseline.json")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--baseline", required=True, type=click.Path(path_type=Path), help="From `dartboard baseline create`.")
@click.option(
    "--tolerance",
    type=float,
    default=0.0,
    show_default=True,
    metavar="POINTS",
    help="How many percentage points the accuracy of a cell may differ; another cell always counts.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON (see docs/records.md).")
def command(folder: Path, baseline: Path, tolerance: float, as_json: bool) -> None:
    """Compare the run folder DIR with a baseline, run by run.

    Exit codes: 0 nothing moved, 1 something did (another cell or accuracy, another table; a run that fails, is missing
    or is new), 2 bad input.
    """
    from dartboard.results.baseline import differences, expectations, read_baseline

    before, after = read_baseline(baseline), expectations(folder)
    found = differences(before, after, tolerance=tolerance)
    if as_json:
        listed = [
            {
                **entry.key._asdict(),
                "kind": entry.kind,
                "before": asdict(entry.before) if entry.before else None,
                "after": asdict(entry.after) if entry.after else None,
            }
            for entry in found
        ]
        facts = {"equal": not found, "compared": len({*before, *after}), "differences": listed}
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        for entry in found:
            click.echo(str(entry))
        total = len({*before, *after})
        click.echo(f"{len(found)} of {total} runs differ from {baseline}" if found else f"{total} runs, all as before")
    if found:
        sys.exit(1)
