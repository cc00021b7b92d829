"""`dartboard list`: what there is to choose from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from dartboard.benchmark.errors import InputError
from dartboard.harness.plugins import catalogues, plugin_option

Row = dict[str, Any]


def _methods(kind: str, plugins: Sequence[Path]) -> list[Row]:

    rows = []
    for entry in getattr(catalogues(plugins), kind):
        row = {"name": entry.name, "summary": entry.summary, "origin": entry.origin}
        rows.append(row if kind == "searchers" else row | {"control": entry.control})
    return rows


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


METHODS: Final = ("searchers", "selectors")

KINDS: Final[Mapping[str, Callable[[], list[Row]]]] = {
    "datasets": _datasets,
    "presets": _presets,
    "tables": _tables,
    "grids": _grids,
}


@click.command()
@click.argument("kind", type=click.Choice([*METHODS, *KINDS]))
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="A JSON list of objects with `name`, `summary` and more.")
def command(kind: str, plugins: tuple[Path, ...], as_json: bool) -> None:
    """List all of one KIND, one a line."""
    if plugins and kind not in METHODS:
        raise InputError(f"--plugin brings searchers and selectors; it goes with those, not with {kind!r}")
    rows = _methods(kind, plugins) if kind in METHODS else KINDS[kind]()
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        click.echo(f"{row['name']:<{width}}  {row['summary']}")
