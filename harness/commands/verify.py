"""`dartboard verify`: whether a method keeps the contract."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click

from dartboard.harness.plugins import catalogues, plugin_option


@click.command(epilog="Example: dartboard verify searcher my-method --plugin my_method.py")
@click.argument("kind", metavar="KIND", type=click.Choice(["searcher", "selector"]))
@click.argument("name")
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="A JSON object with `ok` and a list of `checks`.")
def command(kind: Literal["searcher", "selector"], name: str, plugins: tuple[Path, ...], as_json: bool) -> None:
    """Run the contract's checks on the KIND (searcher or selector) called NAME, on a toy search; one line each.

    Exit codes: 0 all hold, 1 one does not, 2 bad input.
    """
    from dartboard.harness.verify import verify

    methods = catalogues(plugins)
    entry = (methods.searchers if kind == "searcher" else methods.selectors)[name]
    verdicts = []
    for verdict in verify(kind, entry):
        verdicts.append(verdict)
        if not as_json:
            click.echo(f"{verdict.status:<9}  {verdict.check}{': ' if verdict.detail else ''}{verdict.detail}")
    ok = all(verdict.status != "failed" for verdict in verdicts)
    if as_json:
        found = {"kind": kind, "name": name, "ok": ok, "checks": [asdict(verdict) for verdict in verdicts]}
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    if not ok:
        sys.exit(1)
