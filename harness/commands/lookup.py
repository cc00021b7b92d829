"""`dartboard lookup`: what the table says of one cell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from dartboard.benchmark.errors import InputError

if TYPE_CHECKING:
    from dartboard.benchmark.ground_truth import GroundTruth, Metric
    from dartboard.benchmark.space import Cell


@click.command("lookup")
@click.argument("cell")
@click.option("--table", "choice", metavar="NAME|PATH", help="Which table; otherwise an imported official one if any.")
@click.option("--metric", "wanted", metavar="DATASET/SPLIT/EPOCHS", help="Only this one, such as cifar10/test/200.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (see docs/tables.md).")
def command(cell: str, choice: str | None, wanted: str | None, as_json: bool) -> None:
    """The true accuracies of CELL, with rank (1 is best), percentile and regret.

    CELL is the benchmark's own string, such as
    '|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|', or '#123', a
    cell's number (the base-5 rank), or '@6111', its official index where the table has one.
    """
    from dartboard.benchmark.ground_truth import Metric
    from dartboard.benchmark.tables.store import load_table

    metric = None if wanted is None else Metric.parse(wanted)
    table = load_table(choice)
    facts = describe(table, parse_cell(cell, table), table.metrics if metric is None else (metric,))
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        _tell(facts)


def parse_cell(text: str, table: GroundTruth) -> Cell:
    """The cell of an official string, of `#number` or of `@official index`.

    Raises:
        InputError: when it is none of these, or the table has no official index.
    """
    from dartboard.benchmark.space import SPACE_SIZE, Cell

    if text[:1] not in ("#", "@"):
        return Cell.parse(text)
    if not text[1:].isdecimal() or int(text[1:]) >= SPACE_SIZE:
        raise InputError(f"not a cell: {text!r}; expected {text[0]} and a number in 0..{SPACE_SIZE - 1}")
    if text[0] == "#":
        return Cell.from_number(int(text[1:]))
    if table.official_index is None:
        raise InputError(
            f"the table {table.provenance.name!r} does not know the official index, so {text!r} is no cell in it: give"
            " the cell's string, or import an official table (dartboard table import)"
        )
    return Cell.from_number(int((table.official_index == int(text[1:])).argmax()))


def describe(table: GroundTruth, cell: Cell, metrics: tuple[Metric, ...]) -> dict[str, Any]:
    """All that `lookup` prints, as JSON values."""
    import numpy as np

    from dartboard.benchmark.costs import SKELETONS, multiply_adds, parameters
    from dartboard.benchmark.space import equivalence_classes

    number = cell.number
    classes = equivalence_classes()
    costs = {
        name: {
            "parameters_m": float(table.parameters[name][number])
            if name in table.parameters
            else int(parameters(number, skeleton)) / 1e6,
            "flops_m": float(table.flops[name][number])
            if name in table.flops
            else int(multiply_adds(number, skeleton)) / 1e6,
            "training_seconds": float(table.training_seconds[name][number]) if name in table.training_seconds else None,
        }
        for name, skeleton in SKELETONS.items()
    }
    return {
        "cell": str(cell),
        "number": number,
        "official_index": None if table.official_index is None else int(table.official_index[number]),
        "canonical": str(cell.canonical()),
        "equivalent_cells": int((classes == classes[number]).sum()),
        "distinct_classes": int(np.unique(classes).size),
        "formula": cell.formula,
        "connected": cell.connected,
        "depth": cell.depth,
        "conv_depth": cell.conv_depth,
        "width": cell.width,
        "operations": cell.counts,
        "table": table.provenance.name,
        "table_title": table.provenance.title,
        "table_official": table.provenance.official,
        "table_sha256": table.provenance.sha256,
        "metrics": [
            {
                "metric": str(metric),
                "accuracy": table.lookup(cell, metric),
                "rank": table.rank(cell, metric),
                "percentile": table.percentile(cell, metric),
                "regret": table.regret(cell, metric),
            }
            for metric in metrics
        ],
        "costs": costs,
    }


def _tell(facts: dict[str, Any]) -> None:
    index = "" if facts["official_index"] is None else f", official index {facts['official_index']}"
    click.echo(f"{facts['cell']}\n  number {facts['number']}{index}")
    click.echo(f"  computes {facts['formula']}")
    click.echo(
        f"  as {facts['equivalent_cells']} of the 15,625 cells do ({facts['distinct_classes']:,} distinct functions);"
        f" the first of them is {facts['canonical']}"
    )
    click.echo(
        f"  depth {facts['depth']} ({facts['conv_depth']} convolutions), width {facts['width']:g}"
        f"{'' if facts['connected'] else '; no path leads from input to output'}"
    )
    click.echo(f"  table {facts['table']}: {facts['table_title']}")
    click.echo(f"\n  {'metric':<26} {'accuracy':>9} {'rank':>6} {'percentile':>11} {'regret':>8}")
    for row in facts["metrics"]:
        click.echo(
            f"  {row['metric']:<26} {row['accuracy']:>9.4f} {row['rank']:>6} {row['percentile']:>11.2f}"
            f" {row['regret']:>8.4f}"
        )
    click.echo(f"\n  {'network for':<26} {'parameters':>12} {'multiply-adds':>15}")
    for name, cost in facts["costs"].items():
        click.echo(f"  {name:<26} {cost['parameters_m']:>10.4f} M {cost['flops_m']:>13.4f} M")
