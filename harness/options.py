"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

device_option: Final = click.option(
    "--device", default="auto", show_default=True, help="auto (a GPU where there is one), cpu, cuda or cuda:N."
)


def retry_option(what: str) -> Callable[[Any], Any]:
    """`--retry-failed` for what a command tries."""
    return click.option("--retry-failed", is_flag=True, help=f"Try again {what} that failed before.")


def _checked(_: click.Context, __: click.Parameter, jobs: int) -> int:
    from dartboard.harness.workers import check_jobs

    check_jobs(jobs)
    return jobs


def jobs_option(what: str) -> Callable[[Any], Any]:
    """`--jobs` for what a command can do several of at once."""
    return click.option(
        "--jobs",
        default=1,
        show_default=True,
        metavar="N",
        callback=_checked,
        help=f"{what} at once, each in a process of its own, which have the memory of N and share the CPU's threads.",
    )


def given(context: click.Context, name: str) -> bool:
    """Whether the user wrote this option (its parameter's name), and did not leave it at its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
