"""`dartboard run`: a grid of supernets, selectors and look-ups."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from dartboard.harness.options import device_option, jobs_option, retry_option
from dartboard.harness.plugins import catalogues, plugin_option


@click.command(epilog="Example: dartboard run quick --seeds 0-3 --out runs/mine")
@click.argument("grid")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Run folder.  [default: runs/GRID]")
@device_option
@click.option("--preset", metavar="NAME", help="Size in place of the grid's: smoke, laptop or paper.")
@click.option("--seeds", help="Seeds in place of the grid's, like 0-3 or 0,2,5.")
@click.option(
    "--searcher", "searchers", multiple=True, metavar="NAME", help="Searcher in place of the grid's; may be repeated."
)
@click.option(
    "--selector", "selectors", multiple=True, metavar="NAME", help="Selector in place of the grid's; may be repeated."
)
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    metavar="NAME|PATH",
    help="Data set in place of the grid's; may be repeated.",
)
@click.option(
    "--budget",
    type=int,
    metavar="IMAGES",
    help="Images that each selector may push, in place of the grid's.",
)
@click.option("--table", metavar="NAME|PATH", help="Table to look cells up in, in place of the grid's.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A grid key, like search.epochs=5; may be repeated."
)
@click.option(
    "--diagnostics",
    metavar="WHICH",
    help="What to measure of the supernets besides: cheap (each epoch), all, none, or names between commas"
    " (`dartboard list diagnostics`); in place of the grid's.  [default: cheap]",
)
@click.option(
    "--compile/--no-compile",
    default=None,
    help="Whether to train through torch.compile, in place of the grid's: faster from some minutes a search on.",
)
@jobs_option("Supernets")
@plugin_option
@retry_option("the runs")
@click.option("--report/--no-report", default=True, show_default=True, help="Write the report at the end.")
def command(
    grid: str,
    out: Path | None,
    device: str,
    jobs: int,
    plugins: tuple[Path, ...],
    retry_failed: bool,
    report: bool,
    **chosen: Any,
) -> None:
    """Run GRID: a name that `dartboard list grids` shows, or a TOML file.

    Each supernet is trained once; every selector chooses from it; each cell is looked up. Interrupted, the same command
    goes on from the last epoch. Exit codes: 0 all well, 1 some runs failed, 2 bad input, 130 interrupted.
    """
    from dartboard.harness.engine import Engine, scored_by
    from dartboard.harness.grid import Overrides, read_grid
    from dartboard.harness.progress import listening
    from dartboard.results.diagnostics import read_costs

    methods = catalogues(plugins)
    resolved = read_grid(grid, Overrides(**chosen), searchers=methods.searchers, selectors=methods.selectors)
    folder = out or Path("runs") / resolved.name
    with listening(f"the same command goes on from the last epoch in {folder}") as told:
        engine = Engine(resolved, folder, device=device, listener=told, retry_failed=retry_failed)
        told.end(f"table: {engine.truth.provenance.title}; scored by {scored_by(engine)}")
        outcome = engine.run(jobs=jobs)
    click.echo(f"{outcome.ok} runs are in {folder / 'records.jsonl'}", err=True)
    costs = read_costs(folder)
    if costs:
        taken = sum(cost.seconds for cost in costs)
        spent = f"{len(costs)} diagnostics took {taken:.1f} s"
        click.echo(f"{spent} (each: `dartboard diagnose {folder} --diagnostics none`)", err=True)
    if report and outcome.ok:
        from dartboard.results.report import write_report

        written = write_report(folder)
        for sentence in (line for lines in written.findings.values() for line in lines):
            click.echo(f"- {sentence}", err=True)
        click.echo(f"The report: {written.page}", err=True)
    if outcome.unmeasured:
        click.echo(f"{outcome.unmeasured} supernets could not be measured, for the reasons above", err=True)
    if outcome.failed:
        click.echo(
            f"{outcome.failed} runs failed: their records tell why, and --retry-failed tries them again", err=True
        )
    if outcome.lost:
        click.echo(f"{outcome.lost} searches lost their process, and the same command tries them again", err=True)
    if outcome.failed or outcome.unmeasured or outcome.lost:
        sys.exit(1)
