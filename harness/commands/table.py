"""`dartboard table`: read a benchmark table once and keep it compact, and tell of one."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dartboard.benchmark.errors import InputError

if TYPE_CHECKING:
    from dartboard.benchmark.ground_truth import GroundTruth
    from dartboard.benchmark.tables.assemble import Progress


@click.group("table")
def command() -> None:
    """Import a benchmark table, or tell of one."""


@command.command("import", short_help="Read a table's file once and keep it in the cache.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="The name under which to keep it; otherwise from the file.")
@click.option("--columns", metavar="THEIRS=OURS,...", help="For CSV and Parquet: the file's columns by our names.")
@click.option("--variant", help="Of the merged NAS-Bench-201 CSV: v1_1 (the default) or nats.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (see docs/tables.md).")
def import_(file: Path, name: str | None, columns: str | None, variant: str | None, as_json: bool) -> None:
    """Read FILE once and keep it in the cache, where `run` and `lookup` find it.

    FILE is NAS-Bench-201-v1_*.pth, NATS-Bench's topology folder or file, a .csv, .csv.gz or .parquet with one row for
    each cell, or a compact .npz. docs/tables.md names the columns.
    """
    from dartboard.benchmark.tables.store import import_table, read_table

    mapping = None if columns is None else dict(_pair(part) for part in columns.split(","))
    with _progress() as progress:
        read = read_table(file, columns=mapping, variant=variant, progress=progress)
    table = import_table(read.table, name=name)
    if as_json:
        click.echo(json.dumps(_facts(table) | {"unused_columns": list(read.unused)}, indent=2, ensure_ascii=False))
        return
    _tell(table)
    if read.unused:
        click.echo(f"  not used      {', '.join(read.unused)}")


@command.command(short_help="Tell of a table, its metrics and their best cells.")
@click.argument("choice", metavar="[NAME|PATH]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON (see docs/tables.md).")
def info(choice: str | None, as_json: bool) -> None:
    """Tell of a table; without a name, of the one that `run` and `lookup` would use."""
    from dartboard.benchmark.tables.store import load_table

    with _progress() as progress:
        table = load_table(choice, progress=progress)
    if as_json:
        click.echo(json.dumps(_facts(table), indent=2, ensure_ascii=False))
    else:
        _tell(table)


def _pair(text: str) -> tuple[str, str]:
    theirs, equals, ours = text.partition("=")
    if not equals or not theirs or not ours:
        raise InputError(f"--columns takes THEIRS=OURS,...; {text!r} is not that")
    return theirs, ours


def _facts(table: GroundTruth) -> dict[str, Any]:
    metrics = []
    for metric in table.metrics:
        best = table.best(metric)
        metrics.append(
            {
                "metric": str(metric),
                "mean": float(table.accuracy[metric].mean()),
                "best": table.lookup(best, metric),
                "best_cell": str(best),
                "best_official_index": None if table.official_index is None else int(table.official_index[best.number]),
            }
        )
    try:
        default = str(table.default_metric())
    except InputError:  # a table of another data set only
        default = None
    return asdict(table.provenance) | {
        "default_metric": default,
        "official_index": table.official_index is not None,
        "parameters": sorted(table.parameters),
        "flops": sorted(table.flops),
        "training_seconds": sorted(table.training_seconds),
        "metrics": metrics,
    }


def _tell(table: GroundTruth) -> None:
    facts = _facts(table)
    click.echo(f"{facts['name']}: {facts['title']}")
    for key in ("source", "version", "licence", "aggregation", "sha256"):
        click.echo(f"  {key:<13} {facts[key]}")
    click.echo(f"  {'official':<13} {'yes' if facts['official'] else 'no'}")
    click.echo(
        f"  {'costs':<13} " + "; ".join(f"{k}: {', '.join(facts[k]) or 'none'}" for k in ("parameters", "flops"))
    )
    click.echo(f"  {'scored by':<13} {facts['default_metric'] or 'what --metric says'}")
    click.echo(f"\n  {'metric':<26} {'mean':>7} {'best':>9}  best cell")
    for row in facts["metrics"]:
        index = "" if row["best_official_index"] is None else f" (index {row['best_official_index']})"
        click.echo(f"  {row['metric']:<26} {row['mean']:>7.3f} {row['best']:>9.4f}  {row['best_cell']}{index}")


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal, a line every 30 seconds elsewhere; on stderr, and nothing for what is read at once."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("cells"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("cells", total=None, visible=False)
            yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)
        return
    told = time.monotonic()

    def line(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told > 30:
            told = time.monotonic()
            print(f"{done:,} of {total:,} cells read", file=sys.stderr, flush=True)

    yield line
