"""`dartboard list`: what there is to choose from."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from dartboard.benchmark.catalogue import Catalogue, Entry
from dartboard.benchmark.errors import InputError
from dartboard.harness.plugins import catalogues, plugin_option

if TYPE_CHECKING:
    from dartboard.results.published import Published

Row = dict[str, Any]


def _methods(kind: str, plugins: Sequence[Path]) -> list[Row]:
    found = catalogues(plugins)
    if kind == "searchers":
        return [_searcher(entry, found.searchers) for entry in found.searchers]
    rows = [_named(entry) | {"control": entry.control} for entry in found.selectors]
    families: list[Row] = [
        {"name": f"{family.prefix}:NAME", "summary": family.summary, "origin": None, "control": "blind"}
        for family in found.selectors.families
    ]
    return [*(row for row in rows if not row["origin"]), *families, *(row for row in rows if row["origin"])]


def _named(entry: Entry) -> Row:
    return {"name": entry.name, "summary": entry.summary, "origin": entry.origin}


def _searcher(entry: Entry, searchers: Catalogue) -> Row:
    """A search method's row, without importing the method: its paper is read from the text of its file."""
    from dartboard.results.published import read_published

    paper = class_attribute(entry, "paper")
    year = re.search(r"\b(?:19|20)\d\d\b", paper or "")
    rows = [_published(row) for row in read_published() if row.method == entry.name]
    return _named(entry) | {
        "paper": paper,
        "year": int(year[0]) if year else None,
        "passes": None if entry.passes is None else dict(zip(("forward", "backward"), entry.passes, strict=True)),
        "cost_factor": cost_factor(entry, searchers),
        "published": rows,
    }


def _published(row: Published) -> Row:
    return asdict(row) | {"metric": row.metric, "from_memory": row.from_memory}


def cost_factor(entry: Entry, searchers: Catalogue) -> float | None:
    """A step's multiply-adds over those of first-order DARTS; None where a method declares none."""
    baseline = searchers["darts-v1"].passes
    return None if entry.passes is None or baseline is None else sum(entry.passes) / sum(baseline)


def class_attribute(entry: Entry, name: str) -> str | None:
    """A string that the class of `entry` sets in its body, read without importing it; None where there is none.

    Where a function makes the class, it is the one in the function.
    """
    module, _, kind = entry.place.partition(":")
    try:
        spec = None if module in sys.modules else find_spec(module)  # a plug-in's file is loaded, and has no spec
        path = Path(spec.origin) if spec and spec.origin else Path(sys.modules[module].__file__ or "")
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (ImportError, OSError, ValueError, SyntaxError, KeyError):
        return None
    named = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef | ast.FunctionDef) and n.name == kind]
    classes = (n for part in named for n in ast.walk(part) if isinstance(n, ast.ClassDef))
    for line in (line for found in classes for line in found.body):
        targets = [line.target] if isinstance(line, ast.AnnAssign) else getattr(line, "targets", [])
        value = getattr(line, "value", None)
        if any(isinstance(t, ast.Name) and t.id == name for t in targets) and isinstance(value, ast.Constant):
            return str(value.value)
    return None


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


def _diagnostics() -> list[Row]:
    from dartboard.harness.diagnostics._catalogue import DIAGNOSTICS

    when = {"mixture": "each epoch", "epoch": "each epoch", "supernet": "on request"}
    return [
        {"name": d.name, "when": when[d.subject], "cost": d.cost, "summary": d.summary, "cheap": d.cheap}
        for d in DIAGNOSTICS
    ]


METHODS: Final = ("searchers", "selectors")

KINDS: Final[Mapping[str, Callable[[], list[Row]]]] = {
    "datasets": _datasets,
    "presets": _presets,
    "tables": _tables,
    "grids": _grids,
    "diagnostics": _diagnostics,
}


@click.command()
@click.argument("kind", metavar="KIND", type=click.Choice([*METHODS, *KINDS]))
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="A JSON list of objects with `name`, `summary` and more.")
def command(kind: str, plugins: tuple[Path, ...], as_json: bool) -> None:
    """List all of one KIND: searchers, selectors, datasets, presets, tables, grids or diagnostics; one a line."""
    if plugins and kind not in METHODS:
        raise InputError(f"--plugin brings searchers and selectors; it goes with those, not with {kind!r}")
    rows = _methods(kind, plugins) if kind in METHODS else KINDS[kind]()
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif kind == "searchers":
        click.echo("\n".join(searcher_lines(rows)))
    else:
        columns = ("name", "when", "cost", "summary") if kind == "diagnostics" else ("name", "summary")
        if kind == "diagnostics":
            rows.insert(0, {column: column.upper() for column in columns})
        widths = [max(len(row[column]) for row in rows) for column in columns]
        for row in rows:
            click.echo("  ".join(f"{row[c]:<{width}}" for c, width in zip(columns, widths, strict=True)).rstrip())


COLUMNS: Final = [
    (dataset, split) for dataset in ("cifar10", "cifar100", "imagenet16-120") for split in ("valid", "test")
]
HEAD: Final = """\
NAME  COST  SUMMARY: the cost is a step's multiply-adds over those of darts-v1.
Published accuracies in %: CIFAR-10, CIFAR-100, ImageNet16-120, each validation / test; a * is from memory, unverified.
Of cells that another selector chose, and with all they came from: --json."""


def searcher_lines(rows: Iterable[Row]) -> list[str]:
    """Each search method with its paper and its published numbers, in lines of text."""
    rows = list(rows)
    width = max(len(row["name"]) for row in rows)
    lines = [HEAD]
    for row in rows:
        cost = "    -" if row["cost_factor"] is None else f"{row['cost_factor']:4.2f}x"
        lines.append(f"{row['name']:<{width}}  {cost}  {row['summary']}")
        lines.append(f"    {row['paper'] or 'no paper named'}")
        tables: dict[tuple[str, ...], dict[tuple[str, str], Row]] = {}
        for number in row["published"]:
            if number["selector"] is None:
                key = (number["variant"], number["source"], number["table"])
                tables.setdefault(key, {})[number["dataset"], number["split"]] = number
        lines += [_published_line(words, numbers) for words, numbers in tables.items()]
    return lines


def _published_line(words: tuple[str, ...], numbers: Mapping[tuple[str, str], Row]) -> str:
    """`39.77/54.30 15.03/15.61 16.43/16.32  Dong, Yang 2020, NAS-Bench-201, Table 5 [2nd]; running statistics`."""
    values = [_value(numbers.get(column)) for column in COLUMNS]
    variant, *cited = words
    marks = "/".join(dict.fromkeys(number["evidence"] for number in numbers.values()))
    pairs = (f"{valid}/{test}" for valid, test in zip(values[::2], values[1::2], strict=True))
    source = ", ".join(word for word in cited if word)
    return f"    {' '.join(f'{pair:<13}' for pair in pairs)} {source} {marks}" + (f"; {variant}" if variant else "")


def _value(number: Row | None) -> str:
    return "-" if number is None else f"{number['mean']:.2f}{'*' if number['from_memory'] else ''}"
