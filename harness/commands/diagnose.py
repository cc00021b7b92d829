"""`dartboard diagnose`: measures the trained supernets of a run folder, and shows what measuring cost."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dartboard.benchmark.errors import InputError
from dartboard.harness.columns import columns
from dartboard.harness.options import device_option, given, jobs_option, retry_option
from dartboard.harness.plugins import catalogues, plugin_option

if TYPE_CHECKING:
    from dartboard.results.diagnostics import Cost


@click.command(epilog="Example: dartboard diagnose runs/quick --diagnostics alpha-hessian,rank-correlation")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--diagnostics",
    default="all",
    show_default=True,
    metavar="WHICH",
    help="cheap, all, none (only show what is there), or names between commas (`dartboard list diagnostics`).",
)
@click.option("--set", "settings", multiple=True, metavar="NAME.OPTION=VALUE", help="Like rank-correlation.cells=1000.")
@device_option
@jobs_option("Supernets")
@plugin_option
@retry_option("the diagnostics")
@click.option("--json", "as_json", is_flag=True, help="Print the table of costs as JSON.")
@click.pass_context
def command(
    context: click.Context,
    /,
    folder: Path,
    diagnostics: str,
    settings: tuple[str, ...],
    device: str,
    jobs: int,
    plugins: tuple[Path, ...],
    retry_failed: bool,
    as_json: bool,
) -> None:
    """Measure the trained supernets of the run folder DIR from their checkpoints, then print a table of all costs.

    What has a record already is not measured again. Of the mixing weights every epoch can be made up for; of the
    supernets only what is left of them, the last epoch. Interrupted, the same command goes on. Exit codes: 0 all well,
    1 something failed, 2 bad input, 130 interrupted.
    """
    from dartboard.harness.diagnostics._catalogue import choose
    from dartboard.harness.recorded import recorded_header
    from dartboard.results.diagnostics import read_costs

    header, failed = recorded_header(folder), 0
    if not choose(diagnostics):
        options = {"device": "device", "jobs": "jobs", "plugins": "plugin", "retry_failed": "retry-failed"}
        for name, option in options.items():
            if given(context, name):
                raise InputError(f"--diagnostics none measures nothing: --{option} has no use")
        if settings:
            raise InputError(f"--diagnostics none measures nothing: --set {settings[0]} has no use")
    else:
        from dartboard.harness.engine import Engine
        from dartboard.harness.grid import ask_diagnostics
        from dartboard.harness.progress import listening
        from dartboard.harness.recorded import recorded_grid

        asked = ask_diagnostics(diagnostics, settings, header.preset)
        grid = recorded_grid(header, catalogues(plugins).searchers, diagnostics=asked)
        with listening() as told:
            engine = Engine(grid, folder, device=device, listener=told, retry_failed=retry_failed)
            failed = engine.diagnose(jobs=jobs)
    costs = read_costs(folder)
    if as_json:
        click.echo(json.dumps([cost._asdict() for cost in costs], indent=2))
    elif costs:
        click.echo("\n".join(cost_lines(costs)))
    else:
        click.echo(f"{folder} has no diagnostics")
    if failed or any(cost.failed for cost in costs):
        sys.exit(1)


def cost_lines(costs: Sequence[Cost]) -> list[str]:
    """The table of costs, one line for each diagnostic and one for all."""
    rows: list[tuple[str, ...]] = [
        ("diagnostic", "measured", "failed", "images", "with gradients", "seconds", "seconds each")
    ]
    for cost in costs:
        each = f"{cost.seconds / cost.measured:.3f}"
        counts = (cost.measured, cost.failed, cost.images, cost.gradient_images)
        rows.append((cost.name, *(f"{count:,}" for count in counts), f"{cost.seconds:.1f}", each))
    images, gradient_images = sum(c.images for c in costs), sum(c.gradient_images for c in costs)
    measured, failed = sum(c.measured for c in costs), sum(c.failed for c in costs)
    seconds = f"{sum(c.seconds for c in costs):.1f}"
    rows.append(("all", f"{measured:,}", f"{failed:,}", f"{images:,}", f"{gradient_images:,}", seconds, ""))
    return columns(rows, left=1)
