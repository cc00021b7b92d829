"""The grid of a run folder, from its header alone: to go back to its trained supernets without the grid's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dartboard.benchmark.catalogue import Catalogue, Entry
from dartboard.benchmark.errors import InputError, unknown
from dartboard.harness.grid import AskedDiagnostic, Dataset, Grid, Method
from dartboard.harness.header import FIXED
from dartboard.results.records import RunHeader, read_header


def recorded_header(folder: Path) -> RunHeader:
    """The header of a run folder.

    Raises:
        InputError: when there is none, or it is malformed.
    """
    header = read_header(folder)
    if header is None:
        raise InputError(f"{str(folder)!r} is no run folder: it has no grid.json; `dartboard run` makes one")
    return header


def recorded_grid(
    header: RunHeader,
    searchers: Catalogue,
    *,
    selectors: tuple[Method, ...] = (),
    diagnostics: tuple[AskedDiagnostic, ...] = (),
) -> Grid:
    """The grid that the supernets of a run folder came from.

    Args:
        header: the folder's.
        searchers: where its search methods are found.
        selectors: to apply to them.
        diagnostics: to measure of them.

    Raises:
        InputError: when a method is not there, or the header is of a version that did not yet hold what is needed.
    """
    options = header.options
    lacking = [name for name in ("table", "sizes", "sources") if name not in options]
    fixed = [name for name in (*FIXED, "searchers") if name not in options]
    fixed += [
        f"{part} of the searcher {label}"
        for label, told in options.get("searchers", {}).items()
        for part in ("method", "protocol")
        if part not in told and not told.get("queries")
    ]
    if fixed:
        raise InputError(
            f"the run {header.name!r} was begun by an older Dartboard, whose grid.json has no {', '.join(fixed)}:"
            " its supernets cannot be built again; run the grid anew in another --out"
        )
    if lacking:
        raise InputError(
            f"the run {header.name!r} was begun by an older Dartboard, whose grid.json has no {', '.join(lacking)}:"
            " `dartboard run GRID --out` the same folder first"
        )
    return Grid(
        name=header.name,
        preset=header.preset,
        searchers=tuple(
            _method(label, told, searchers) for label, told in options["searchers"].items() if not told.get("queries")
        ),
        selectors=selectors,
        datasets=tuple(Dataset(label=label, source=source) for label, source in options["sources"].items()),
        seeds=header.seeds,
        table=options["table"],
        metric=options["metric"],
        precision=options["precision"],
        compile=options.get("compile", False),
        channels=options["channels"],
        cells_per_stage=options["cells_per_stage"],
        images=options["sizes"]["exactly"],
        at_most=options["sizes"]["at_most"],
        diagnostics=diagnostics,
        budget=options.get("budget"),
    )


def with_diagnostics(old: RunHeader, new: RunHeader) -> RunHeader:
    """The header `old` with the settings of the diagnostics of `new`; nothing else was run."""
    return replace(old, options={**old.options, "diagnostics": new.options["diagnostics"]})


def _method(label: str, told: Mapping[str, Any], catalogue: Catalogue) -> Method:
    """A search method as the header tells of it: every field of its configuration is an option."""
    own = {name: value for name, value in told.items() if name not in ("method", "origin", "protocol")}
    entry = _entry(label, told["method"], told.get("origin"), catalogue)
    return Method(label=label, entry=entry, options={**told["protocol"], **own})


def missing_plugin(kind: str, label: str, origin: str) -> InputError:
    """The error for a method of a plug-in that is not at hand."""
    return InputError(
        f"the {kind} {label!r} of this run came from {origin}: give it by --plugin, or install its package"
    )


def _entry(label: str, name: str, origin: str | None, catalogue: Catalogue) -> Entry:
    """The catalogue's entry of the class called `name`: the label's own, if it is, or else the first."""
    likely = sorted(catalogue, key=lambda entry: (entry.name != label, entry.name != name))
    if origin is not None and all(entry.origin is None for entry in likely):
        raise missing_plugin("searcher", label, origin)
    for entry in likely:
        if not entry.queries and getattr(entry.load(), "name", None) == name:
            return entry
    if origin is not None:
        raise missing_plugin("searcher", label, origin)
    raise unknown("searcher", name, [entry.name for entry in likely])
