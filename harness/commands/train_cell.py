"""`dartboard train-cell`: one discrete cell from scratch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from dartboard.harness.options import device_option


@click.command(epilog="Example: dartboard train-cell '#7812' --dataset digits --epochs 3")
@click.argument("cell")
@click.option("--dataset", default="cifar10", show_default=True, help="Images: a name or a path.")
@click.option("--epochs", default=12, show_default=True, help="The benchmark has 12 and 200.")
@click.option("--seed", default=777, show_default=True, help="The benchmark's are 777, 888 and 999.")
@click.option(
    "--evaluate-on",
    type=click.Choice(["test", "valid"]),
    default="test",
    show_default=True,
    help="test: train on all training images, as the benchmark; valid: on their first half.",
)
@click.option("--channels", default=16, show_default=True, help="C.")
@click.option("--cells-per-stage", default=5, show_default=True, help="N.")
@click.option("--image-size", type=int, help="Scale images down to this side.")
@click.option("--train-images", type=int, help="Only so many images of the first half, with --evaluate-on valid.")
@click.option("--batch-size", default=256, show_default=True)
@click.option("--learning-rate", default=0.1, show_default=True)
@device_option
@click.option("--table", metavar="NAME|PATH", help="Table to compare with.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="runs/cells",
    show_default=True,
    help="Where the result and the checkpoint go.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object (see docs/records.md).")
def command(
    cell: str,
    dataset: str,
    seed: int,
    device: str,
    table: str | None,
    out: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Train CELL by the benchmark's recipe, and set its accuracy beside the table's.

    CELL is the benchmark's string, `#NUMBER`, or `@INDEX` in a table that holds the official index. The result is a
    file in --out; interrupted, the same command goes on from the last epoch. Exit codes: 0 all well, 1 the training
    diverged, 2 bad input, 130 interrupted.
    """
    import hashlib
    import json
    from dataclasses import asdict

    from dartboard.benchmark.image_sources import load_images
    from dartboard.benchmark.tables.store import load_table
    from dartboard.harness.checkpoints import locked
    from dartboard.harness.commands.lookup import parse_cell
    from dartboard.harness.devices import describe_device, find_device
    from dartboard.harness.progress import listening
    from dartboard.harness.provenance import versions
    from dartboard.harness.train_cell import Recipe, train_cell
    from dartboard.results.json_lines import write_json

    truth = load_table(table)
    chosen = parse_cell(cell, truth)
    images, where = load_images(dataset), find_device(device)
    recipe = Recipe(**options)
    settings = {"cell": str(chosen), "seed": seed, "dataset": images.name, "images_sha256": images.sha256}
    settings |= {"recipe": asdict(recipe)}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    stem = f"cell{chosen.number}--{images.name}--epochs{recipe.epochs}--seed{seed}--{digest}"
    name = f"cell {chosen} on {images.name}, seed {seed}"
    with listening("the same command goes on from the last epoch") as told, locked(out, told.end):
        told.begin(name, 1)
        try:
            done = train_cell(
                chosen,
                images,
                recipe,
                seed=seed,
                device=where,
                checkpoint=out / f"{stem}.pt",
                progress=told.advance,
            )
        except FloatingPointError as error:
            told.end(f"{name}: {error}")
            sys.exit(1)
    result = {
        **settings,
        **asdict(done),
        "table": truth.provenance.name,
        "table_accuracies": {str(metric): truth.lookup(chosen, metric) for metric in truth.metrics},
        "device": describe_device(where),
        **versions(),
    }
    write_json(out / f"{stem}.json", result)
    if as_json:
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
        return
    click.echo(f"{chosen}")
    click.echo(f"  {done.accuracy:.2f} % on {images.name}'s {recipe.evaluate_on} images after {recipe.epochs} epochs")
    click.echo(f"  {done.parameters:,} parameters, {done.seconds:.0f} s")
    click.echo(f"  in the table {truth.provenance.name}:")
    for metric in truth.metrics:
        click.echo(f"    {metric!s:<28} {truth.lookup(chosen, metric):7.4f} %")
    click.echo(f"  kept in {out / f'{stem}.json'}")
