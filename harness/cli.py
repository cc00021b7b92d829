"""The command line: `dartboard COMMAND`. Each command is a file of `commands/`, imported only when it is called."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Final

import click

from dartboard.benchmark.errors import InputError

COMMANDS: Final = {
    # name: one line for `dartboard --help`; the command itself is commands/<name>.py (`-` read as `_`), or in FILES
    "run": "Train supernets, apply every selector, look up every cell: a grid of runs.",
    "select": "Apply selectors again to a run's supernets, on other batches: how far do answers scatter?",
    "status": "How far a run folder is.",
    "diagnose": "Measure a run folder's trained supernets, and show what measuring cost.",
    "report": "Write a run folder's report from its records.",
    "list": "What there is: searchers, selectors, diagnostics, datasets, presets, tables, grids.",
    "lookup": "The true accuracies of a cell.",
    "truth": "How strong each operation truly is on each edge, from a table alone.",
    "table": "Import a benchmark table, or tell of one.",
    "data": "Fetch a data set of images, or tell of one.",
    "train-cell": "Train one discrete cell from scratch by the benchmark's recipe.",
    "baseline": "Keep a run's chosen cells and accuracies as a baseline.",
    "bench": "Measure time, memory and counts, beside the readable form.",
    "verify": "Check that a searcher or selector, perhaps your own, keeps the contract.",
    "check": "Compare a run with a baseline; exit 1 where something moved.",
}

FILES: Final = {"select": "select_again"}  # where the command's own name is that of a module of the standard library


class _Lazy(click.Group):
    """A group that imports a command when it is called, so that `--help` imports nothing heavy."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  (as above)
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"dartboard.harness.commands.{FILES.get(cmd_name, cmd_name.replace('-', '_'))}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; where it does not say itself how to go on after Ctrl-C, one line does for it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  (as above)
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dartboard")
def cli() -> None:
    """Dartboard: when differentiable architecture search fails, was it the supernet or the selection?"""


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; bad input, and what the file system refuses, end in one line on stderr and exit code 2.

    Exit codes: 0 all well, 1 some runs failed or a check found a difference (or nobody reads the output any more),
    2 bad input, 130 interrupted.
    """
    try:
        return cli.main(args=arguments, prog_name="dartboard")
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.strerror is None:
            raise
        where = "" if error.filename is None else f": {str(error.filename)!r}"
        print(f"Error: {error.strerror}{where}", file=sys.stderr)
        sys.exit(2)
