"""`dartboard select`: selectors applied again to the trained supernets of a run folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dartboard.harness.columns import columns
from dartboard.harness.options import device_option, jobs_option, retry_option
from dartboard.harness.plugins import catalogues, plugin_option

if TYPE_CHECKING:
    from dartboard.results.scatter import Pooled


@click.command(epilog="Example: dartboard select runs/quick --repeat 10 --selector leave-one-out --any-time")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--repeat", "repeats", default=10, show_default=True, help="How often, each time on other batches.")
@click.option(
    "--selector",
    "selectors",
    multiple=True,
    metavar="NAME",
    help="Only this one, of the run or a new one, or all; repeatable.",
)
@click.option(
    "--searcher", "searchers", multiple=True, metavar="NAME", help="Only supernets of this one; may be repeated."
)
@click.option(
    "--dataset", "datasets", multiple=True, metavar="NAME", help="Only supernets searched on this one; repeatable."
)
@click.option("--seeds", help="Only supernets of these seeds, like 0-3 or 0,2,5.")
@click.option(
    "--budget",
    "budgets",
    type=int,
    multiple=True,
    metavar="IMAGES",
    help="Images that each selector may push, in place of the run's; may be repeated, for a curve.",
)
@click.option("--any-time", is_flag=True, help="Also after 1, 2, 4, ... batches (samples, cells) of each selector.")
@device_option
@jobs_option("Supernets")
@plugin_option
@retry_option("the repeats")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (see docs/selection.md).")
def command(
    folder: Path,
    repeats: int,
    selectors: tuple[str, ...],
    searchers: tuple[str, ...],
    datasets: tuple[str, ...],
    seeds: str | None,
    budgets: tuple[int, ...],
    any_time: bool,
    device: str,
    jobs: int,
    plugins: tuple[Path, ...],
    retry_failed: bool,
    as_json: bool,
) -> None:
    """Apply selectors again to the trained supernets of the run folder DIR, and say how far their answers scatter.

    The records go to DIR/repeats.jsonl; records.jsonl stays as it is. Interrupted, the same command goes on; with a
    larger --repeat it adds to what is there. Exit codes: 0 all well, 1 some repeats failed, 2 bad input, 130
    interrupted.
    """
    from dartboard.harness.engine import Engine
    from dartboard.harness.progress import listening
    from dartboard.harness.recorded import recorded_grid, recorded_header
    from dartboard.harness.reselect import Plan, Reselection, asked_keys, asked_selectors, check_plan, narrowed
    from dartboard.results.records import SearchKey
    from dartboard.results.repeats import read_repeats
    from dartboard.results.scatter import pool, summarise_repeats
    from dartboard.results.scatter_tables import facts

    header, methods = recorded_header(folder), catalogues(plugins)
    plan = Plan(repeats=repeats, budgets=budgets or (header.options.get("budget"),), any_time=any_time)
    check_plan(plan)
    chosen = asked_selectors(header, methods.selectors, selectors)
    grid = recorded_grid(header, methods.searchers, selectors=chosen)
    grid = narrowed(grid, searchers=searchers, datasets=datasets, seeds=seeds)
    with listening() as told:
        again = Reselection(Engine(grid, folder, device=device, listener=told, retry_failed=retry_failed), plan)
        lost = again.run(jobs=jobs)
    labels = [method.label for method in chosen]
    wanted = set(asked_keys(again.ok | again.failed, plan, labels))
    searches = [SearchKey(s.label, d.label, seed) for d in grid.datasets for seed in grid.seeds for s in grid.searchers]
    places = {search: place for place, search in enumerate(searches)}
    records = [record for record in read_repeats(folder) if record.key in wanted and record.search in places]
    records.sort(key=lambda record: places[record.search])
    scatters = summarise_repeats(records)
    if as_json:
        told_of = {"pooled": [facts(row) for row in pool(scatters)], "supernets": [facts(row) for row in scatters]}
        click.echo(json.dumps(told_of, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        click.echo("\n".join(table(pool(scatters))))
    if lost or any(not record.ok for record in records):
        sys.exit(1)


def table(rows: Sequence[Pooled]) -> list[str]:
    """What was found as lines of text: whole selections, then what the parts of them give, then how to read it."""
    from dartboard.results.scatter_tables import WORDS, part_table, repeat_table

    lines: list[str] = []
    for title, (head, cells) in (("", repeat_table(rows)), ("The same repeats, stopped earlier", part_table(rows))):
        if not cells:
            continue
        lines += ["", title] if title else []
        lines += columns([head, *cells], left=3)
    return [*lines, "", *WORDS]
