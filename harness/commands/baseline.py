"""`dartboard baseline`: what a run chose, kept for `dartboard check`."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("baseline")
def command() -> None:
    """Keep a run's chosen cells and accuracies as a baseline."""


@command.command(
    short_help="Write what a run chose as a baseline.",
    epilog="Example: dartboard baseline create runs/smoke --out smoke-baseline.json",
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The baseline (JSON).")
def create(folder: Path, out: Path) -> None:
    """Write what the run folder DIR chose to --out, in place of an earlier baseline."""
    from dartboard.results.baseline import write_baseline

    kept = write_baseline(folder, out)
    failed = sum(run.status != "ok" for run in kept.values())
    note = f", {failed} of them failed" if failed else ""
    click.echo(f"{out}: {len(kept)} runs{note}")
