"""`dartboard truth`: how strong each operation truly is, from a table alone."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("truth", epilog="Example: dartboard truth --out runs/truth")
@click.option("--table", "choice", metavar="NAME|PATH", help="Which table; otherwise an imported official one if any.")
@click.option(
    "--metric", "wanted", metavar="DATASET/SPLIT/EPOCHS", help="Which accuracy.  [default: what runs are scored by]"
)
@click.option("--out", type=click.Path(path_type=Path), help="Write truth.md, its figures (PNG) and tables (CSV) here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (see docs/truth.md).")
def command(choice: str | None, wanted: str | None, out: Path | None, as_json: bool) -> None:
    """How strong each operation is on each edge, how edges interact, and how far greed gets: from the table alone.

    Average and best accuracy given an operation on an edge, exact Shapley values, the analysis of variance over all
    15,625 cells, edge-wise greedy choices, and the distribution of the space.
    """
    from dartboard.benchmark.ground_truth import Metric
    from dartboard.benchmark.tables.store import load_table
    from dartboard.results.truth import STRENGTHS, facts, sentences, truth
    from dartboard.results.truth_report import write_truth

    metric = None if wanted is None else Metric.parse(wanted)
    table = load_table(choice)
    found = truth(table, metric or table.default_metric())
    files = [] if out is None else [str(out / name) for name in write_truth(found, out)]
    if as_json:
        click.echo(json.dumps(facts(found) | {"files": files}, indent=2, ensure_ascii=False))
        return
    click.echo(f"{found.table.name}: {found.table.title}")
    for sentence in sentences(found):
        click.echo(f"  - {sentence}")
    for name in ("average", "best"):
        click.echo(f"\n{_matrix(STRENGTHS[name], found.strengths[name].tolist())}")
    for file in files:
        click.echo(file)


def _matrix(words: str, rows: list[list[float]]) -> str:
    """A strength as a table of text."""
    from dartboard.results.style import EDGE_LABELS, OPERATION_LABELS

    lines = ["".join([f"  {words:<38}", *(f"{label:>10}" for label in OPERATION_LABELS.values())])]
    lines += [
        "".join([f"  {edge:<38}", *(f"{x:>10.2f}" for x in row)]) for edge, row in zip(EDGE_LABELS, rows, strict=True)
    ]
    return "\n".join(lines)
