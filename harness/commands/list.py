"""`dartboard list`: what there is to choose from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import click

Row = dict[str, Any]


def _searchers() -> list[Row]:
    from dartboard.searchers._catalogue import SEARCHERS

    return [{"name": entry.name, "summary": entry.summary} for entry in SEARCHERS]


def _selectors() -> list[Row]:
    from dartboard.selectors._catalogue import SELECTORS

    return [{"name": entry.name, "summary": entry.summary, "control": entry.control} for entry in SELECTORS]


def _datasets() -> list[Row]:
    from dartboard.benchmark.image_sources import available_images

    return [
        {"name": images.name, "summary": f"{images.summary} ({'here' if images.present else 'not here'})"}
        | {"present": images.present}
        for images in available_images()
    ]


def _presets() -> list[Row]:
    from dartboard.harness.presets import PRESETS

    return [{"name": name, "summary": preset.summary} for name, preset in PRESETS.items()]


def _tables() -> list[Row]:
    from dartboard.benchmark.tables.store import available_tables

    return [{"name": table.name, "summary": table.title, "official": table.official} for table in available_tables()]


def _grids() -> list[Row]:
    from dartboard.harness.grid import builtin_grids

    rows = []
    for name, text in builtin_grids().items():
        comments = [line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#")]
        rows.append({"name": name, "summary": comments[0] if comments else ""})
    return rows


KINDS: Final[Mapping[str, Callable[[], list[Row]]]] = {
    "searchers": _searchers,
    "selectors": _selectors,
    "datasets": _datasets,
    "presets": _presets,
    "tables": _tables,
    "grids": _grids,
}


@click.command()
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.option("--json", "as_json", is_flag=True, help="A JSON list of objects with `name`, `summary` and more.")
def command(kind: str, as_json: bool) -> None:
    """List all of one KIND, one a line."""
    rows = KINDS[kind]()
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        click.echo(f"{row['name']:<{width}}  {row['summary']}")
