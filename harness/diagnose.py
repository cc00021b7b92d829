"""Measures supernets: the diagnostics of a grid, each a record with its cost, made so that the search never notices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dartboard.benchmark.catalogue import check_options
from dartboard.benchmark.errors import one_line
from dartboard.harness.diagnostics._catalogue import Diagnostic
from dartboard.harness.diagnostics._subject import Measurement, Subject
from dartboard.harness.grid import AskedDiagnostic
from dartboard.harness.guard import untouched
from dartboard.harness.prepare import told_of
from dartboard.results.diagnostics import DiagnosticRecord, read_diagnostics


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOptions:
    """The configuration of a diagnostic that has nothing to choose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedDiagnostic:
    """A diagnostic of the grid with its configuration, checked."""

    diagnostic: Diagnostic
    config: Any
    measure: Callable[[Subject], Measurement]  # under that configuration

    @property
    def name(self) -> str:
        """What records call it."""
        return self.diagnostic.name

    @property
    def settings(self) -> dict[str, Any]:
        """What a run's header tells of it."""
        return asdict(self.config)


def prepare_diagnostic(asked: AskedDiagnostic) -> PreparedDiagnostic:
    """Load a diagnostic and build its configuration.

    Raises:
        InputError: when an option is unknown or its value cannot be used.
    """
    module, name = asked.diagnostic.load(), asked.diagnostic.name
    kind = getattr(module, "Config", NoOptions)
    with told_of(f"diagnostic {name}"):
        config = kind(**check_options(kind, asked.options, f"the diagnostic {name!r}"))
    measure = module.measure if kind is NoOptions else partial(module.measure, config=config)
    return PreparedDiagnostic(diagnostic=asked.diagnostic, config=config, measure=measure)


def of_epoch(asked: Iterable[PreparedDiagnostic], epoch: int) -> list[PreparedDiagnostic]:
    """Those that are measured when an epoch (from 1) is over: cheap ones, and others where their `every` says so."""
    return [prepared for prepared in asked if prepared.diagnostic.cheap or _due(prepared.config, epoch)]


def _due(config: Any, epoch: int) -> bool:
    every = getattr(config, "every", None)
    return every is not None and epoch % every == 0


def missing(
    search: Path, asked: Iterable[PreparedDiagnostic], epochs: int, *, retry_failed: bool
) -> Iterator[tuple[PreparedDiagnostic, int | None]]:
    """What a finished search of `epochs` epochs has no record of and can still be measured, with its epoch.

    Of the mixture every epoch can; of the supernet only what the last epoch left, which is the trained supernet.
    """
    done = {(record.name, record.epoch) for record in read_diagnostics(search) if not (record.error and retry_failed)}
    epochs_of: dict[str, Iterable[int | None]] = {
        "mixture": range(1, epochs + 1),
        "epoch": range(epochs, epochs + 1),
        "supernet": [None],
    }
    for prepared in asked:
        for epoch in epochs_of[prepared.diagnostic.subject]:
            if (prepared.name, epoch) not in done:
                yield prepared, epoch


def measure(prepared: PreparedDiagnostic, subject: Subject, *, epoch: int | None, who: str) -> DiagnosticRecord:
    """One diagnostic's record; where it fails, the record says how.

    Args:
        prepared: what to measure.
        subject: of what.
        epoch: that the record is of; None: of the trained supernet.
        who: the search, for messages.

    Raises:
        RuntimeError: when it changed the supernet or the global random state, so that the search cannot go on.
    """
    with untouched(subject.trained, f"{who}, the diagnostic {prepared.name}"):
        started = time.perf_counter()
        try:
            values, images, gradient_images = prepared.measure(subject)
            error = None
        except Exception as reason:  # noqa: BLE001  (a failing diagnostic is a record, and the search goes on)
            values, images, gradient_images, error = {}, 0, 0, one_line(reason)
        if subject.data.valid.device.type == "cuda":
            torch.cuda.synchronize(subject.data.valid.device)
        seconds = time.perf_counter() - started
    return DiagnosticRecord(
        name=prepared.name,
        epoch=epoch,
        values=values,
        images=images,
        gradient_images=gradient_images,
        diagnostic_seconds=seconds,
        error=error,
    )
