"""`dartboard bench`: time, memory and counts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from dartboard.benchmark.errors import InputError
from dartboard.harness.bench import Report, Settings, run_bench
from dartboard.harness.columns import columns
from dartboard.harness.options import given

if TYPE_CHECKING:
    from dartboard.harness.bench_growth import GrowthReport
    from dartboard.harness.bench_jobs import JobsReport
    from dartboard.harness.bench_precision import PrecisionReport
    from dartboard.harness.bench_searchers import SearcherReport


SIZES: Final = frozenset({"channels", "cells_per_stage", "image_size", "batch_size"})
NETWORKS: Final = SIZES | {"against", "rounds", "threads", "clock", "no_memory"}
TAKES: Final = {
    # the options that each target heeds, besides --json
    "supernet": NETWORKS,
    "step": NETWORKS | {"compile"},
    "select": NETWORKS | {"norm"},
    "table": {"against", "rounds", "threads", "clock"},
    "import": {"cells", "clock"},
    "images": {"image_size", "batch_size", "rounds", "threads", "clock"},
    "startup": {"rounds"},
    "searchers": SIZES | {"names", "rounds", "threads", "clock", "no_memory"},
    "growth": SIZES | {"rounds", "threads", "clock", "no_memory"},
    "precision": SIZES | {"rounds", "threads"},
    "jobs": SIZES | {"rounds", "threads", "jobs"},
}


@click.command(epilog="Example: dartboard bench step --against reference --channels 8 --cells-per-stage 1")
@click.argument("target", metavar="TARGET", type=click.Choice(list(TAKES)))
@click.option(
    "--against",
    type=click.Choice(["reference", "official"]),
    help="reference: the readable form takes part, in supernet, step, select. official: nas-bench-201's API, in table.",
)
@click.option(
    "--cells", default=200, help="Of table --against official, import: the generated file's.", show_default=True
)
@click.option(
    "--norm", type=click.Choice(["batch", "running"]), default="batch", help="Of select: whose statistics normalise."
)
@click.option("--compile", is_flag=True, help="Of step: through torch.compile, too.")
@click.option("--searcher", "names", multiple=True, metavar="NAME", help="Of searchers: only these, beside darts-v1.")
@click.option("--jobs", default=2, help="Of jobs: how many processes against one.", show_default=True)
@click.option("--channels", default=16, help="C of the supernet.", show_default=True)
@click.option("--cells-per-stage", default=5, help="N of the supernet.", show_default=True)
@click.option("--image-size", default=32, help="Pixels on a side.", show_default=True)
@click.option("--batch-size", default=64, show_default=True)
@click.option("--rounds", default=7, help="How often each variant has its turn.", show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--clock", type=click.Choice(["wall", "cpu"]), default="wall", help="cpu: the process's own time.")
@click.option("--no-memory", is_flag=True, help="Leave out peak memory, which takes a process for each variant.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    context: click.Context,
    /,
    target: str,
    against: str | None,
    cells: int,
    names: tuple[str, ...],
    jobs: int,
    no_memory: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure TARGET in rounds that take turns: medians, quartiles, ratios to the reference, and counts.

    supernet: a forward pass. step: one step of first-order DARTS. select: the 30 masks of leave-one-out on one batch.
    table: loading the embedded table, a million look-ups; against the official API, on a generated file of its format:
    load, import, queries, memory, and whether the numbers are equal. import: that import alone, of files of a quarter,
    half and all of --cells, and the memory that a further cell takes. images: ten batches. startup: two commands.
    searchers: a step of every method that trains a supernet, and its multiply-adds, over those of darts-v1.
    growth: a step at growing sizes. precision: what float32, TF32 (on CUDA) and bfloat16 do to gradients and criteria;
    its rounds are batches. jobs: a step of supernets in several processes at once (`dartboard run --jobs`) against one
    process that has all --threads.
    """
    takes = TAKES[target] | ({"cells", "no_memory"} if against == "official" else set())
    for name in options.keys() | {"against", "cells", "names", "jobs", "no_memory"}:
        if name not in takes and given(context, name):
            option = "searcher" if name == "names" else name.replace("_", "-")
            raise InputError(f"the target {target!r} has no use for --{option}: leave it out")
    if against is not None and (against == "official") != (target == "table"):
        raise InputError(f"the target {target!r} cannot be measured --against {against}: see dartboard bench --help")
    settings = Settings(**options)
    if against == "official":
        from dartboard.harness.bench_table import measure_table

        tables = measure_table(settings, cells, memory=not no_memory)
        click.echo(json.dumps(tables.as_json(), indent=2) if as_json else "\n".join(tables.as_text()))
        return
    if target == "import":
        from dartboard.harness.bench_import import measure_import

        imports = measure_import(settings, cells)
        click.echo(json.dumps(imports.as_json(), indent=2) if as_json else "\n".join(imports.as_text()))
        return
    if target == "searchers":
        from dartboard.harness.bench_searchers import run_searcher_bench

        costs = run_searcher_bench(settings, names, memory=not no_memory)
        click.echo(json.dumps(costs.as_json(), indent=2) if as_json else "\n".join(costs_as_text(costs)))
        return
    if target in ("growth", "precision", "jobs"):
        found = _grow_or_compare(target, settings, jobs, memory=not no_memory)
        click.echo(json.dumps(found.as_json(), indent=2) if as_json else "\n".join(found.as_text()))
        return
    report = run_bench(target, settings, reference=against is not None, memory=not no_memory)
    click.echo(json.dumps(report.as_json(), indent=2) if as_json else "\n".join(as_text(report)))


def _grow_or_compare(
    target: str, settings: Settings, jobs: int, *, memory: bool
) -> GrowthReport | PrecisionReport | JobsReport:
    if target == "jobs":
        from dartboard.harness.bench_jobs import measure_jobs

        return measure_jobs(settings, jobs)
    if target == "growth":
        from dartboard.harness.bench_growth import measure_growth

        return measure_growth(settings, memory=memory)
    from dartboard.harness.bench_precision import measure_precision

    return measure_precision(settings)


def as_text(report: Report) -> list[str]:
    """The report as lines of a table."""
    counted = ("operations", "waits", "GFLOP", "GB moved", "conv only ms")
    rows = [("", "median ms", "quartiles", "ratio", "first ms", "MiB", *counted)]
    for v in report.variants:
        counts = ("",) * 5
        if v.counts is not None:
            c = v.counts
            sizes = (f"{c.flops / 1e9:.1f}", f"{c.bytes_moved / 1e9:.1f}", f"{1e3 * c.convolution_seconds:.1f}")
            counts = (f"{c.operations:,}", str(c.host_waits), *sizes)
        elif v.compiled_operations is not None:
            counts = (f"{v.compiled_operations:,}", *("",) * 4)
        ratio = "" if v.ratio is None else f"{v.ratio:.2f}x"
        memory = "" if v.peak_memory_mb is None else f"{v.peak_memory_mb:.0f}"
        spread = f"{1e3 * v.low:.1f} to {1e3 * v.high:.1f}"
        rows.append((v.name, f"{1e3 * v.seconds:.1f}", spread, ratio, f"{1e3 * v.first_seconds:.1f}", memory, *counts))
    told = f", {report.settings.norm} statistics" if report.target == "select" else ""
    return [f"{report.target}: {_size(report.settings)}{told}; {report.machine}", *columns(rows)]


def costs_as_text(report: SearcherReport) -> list[str]:
    """The search methods' costs as lines of a table; an excess beyond the goal is marked."""
    from dartboard.harness.bench_searchers import GOAL

    rows = [("", "median ms", "quartiles", "MiB", "forward", "backward", "passes", "seconds", "excess")]
    for cost in report.searchers:
        memory = "" if cost.peak_memory_mb is None else f"{cost.peak_memory_mb:.0f}"
        spread = f"{1e3 * cost.low:.1f} to {1e3 * cost.high:.1f}"
        factors = (f"{cost.relative_passes:.2f}x", f"{cost.relative_seconds:.2f}x")
        excess = f"{cost.excess:.2f}{'!' if cost.excess > GOAL else ' '}"
        counts = (f"{cost.forward:.3g}", f"{cost.backward:.3g}")
        rows.append((cost.name, f"{1e3 * cost.seconds:.1f}", spread, memory, *counts, *factors, excess))
    return [
        f"a step of each searcher: {_size(report.settings)}; {report.machine}",
        f"forward, backward: multiply-adds, in units of a forward pass; passes, seconds: over those of darts-v1;"
        f" excess: seconds over passes, the goal is at most {GOAL}",
        *columns(rows),
    ]


def _size(settings: Settings) -> str:
    network = f"C={settings.channels}, N={settings.cells_per_stage}"
    return f"{network}, {settings.image_size} pixels, batch {settings.batch_size}; {settings.rounds} rounds"
