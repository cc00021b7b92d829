"""`dartboard status`: how far a run folder is."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dartboard.harness.columns import columns


@click.command(epilog="Example: dartboard status runs/quick")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON (see docs/records.md).")
def command(folder: Path, as_json: bool) -> None:
    """Say how far the run folder DIR is: epochs (or trained cells) of each search; selectors done, failed and left."""
    from dartboard.results.progress import read_progress

    progress = read_progress(folder)
    if as_json:
        searches = [
            {
                **entry.search._asdict(),
                "epochs": entry.epochs,
                "of_epochs": entry.of_epochs,
                "queries": entry.queries,
                "of_queries": entry.of_queries,
                "ok": entry.ok,
                "failed": entry.failed,
                "left": entry.left,
            }
            for entry in progress.searches
        ]
        facts = {"name": progress.name, "ok": progress.ok, "failed": progress.failed, "left": progress.left}
        click.echo(json.dumps({**facts, "searches": searches}, indent=2, ensure_ascii=False))
        return
    rows = [("searcher", "data set", "seed", "epochs", "ok", "failed", "left")]
    for entry in progress.searches:
        done, most, what = entry.epochs, entry.of_epochs, ""
        if entry.queries is not None:
            done, most, what = entry.queries, entry.of_queries, " cells"
        epochs = f"{done} of {'?' if most is None else most}{what}"
        search = entry.search
        counts = (str(entry.ok), str(entry.failed), str(entry.left))
        rows.append((search.searcher, search.dataset, str(search.seed), epochs, *counts))
    click.echo("\n".join(columns(rows, left=2)))
    total = progress.ok + progress.failed + progress.left
    click.echo(f"{progress.name}: {progress.ok} of {total} runs done, {progress.failed} failed, {progress.left} left")
