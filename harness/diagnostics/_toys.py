"""A supernet to be measured in seconds, and measuring it. Not a diagnostic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from dartboard.benchmark.contracts import SelectionData, TrainedSupernet
from dartboard.benchmark.ground_truth import GroundTruth
from dartboard.benchmark.tables.store import load_table
from dartboard.harness.diagnose import prepare_diagnostic
from dartboard.harness.diagnostics._catalogue import choose
from dartboard.harness.diagnostics._subject import Measurement, Subject
from dartboard.harness.grid import AskedDiagnostic
from dartboard.harness.toys import BATCH, toy_images, toy_trained

SMALL: Final[Mapping[str, Mapping[str, Any]]] = {
    "alpha-hessian": {"images": BATCH},
    "landscape": {"images": BATCH, "directions": 2},
    "discretisation-gap": {"epochs": 2},
    "rank-correlation": {"images": BATCH, "cells": 12},
}
"""The options of diagnostics on the toy."""


@lru_cache(maxsize=1)
def toy_truth() -> GroundTruth:
    """The embedded table."""
    return load_table("analog")


def toy_subject(dtype: torch.dtype = torch.float64, **changes: Any) -> Subject:
    """The toy supernet, the caller's own, to be measured; with other fields where the caller says so."""
    train, valid = (toy_images(half, dtype=dtype) for half in ("train", "valid"))
    truth = toy_truth()
    subject = Subject(
        trained=toy_trained(dtype),
        data=SelectionData(train=train, valid=valid, batch_size=BATCH),
        truth=truth,
        metric=truth.default_metric(),
        root=7,
        shared_root=7,
    )
    return replace(subject, **changes)


def with_trajectory(*mixtures: NDArray[np.float64]) -> Subject:
    """A subject whose epochs had these mixtures (E, O)."""
    subject = toy_subject()
    trained = TrainedSupernet(searcher=subject.trained.searcher, mixture=mixtures[-1], trajectory=np.stack(mixtures))
    return replace(subject, trained=trained)


def measured(name: str, subject: Subject, **options: Any) -> Measurement:
    """What a diagnostic says, under the options of `SMALL` and these."""
    (diagnostic,) = choose(name)
    asked = AskedDiagnostic(diagnostic=diagnostic, options={**SMALL.get(name, {}), **options})
    return prepare_diagnostic(asked).measure(subject)
