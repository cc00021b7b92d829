"""The embedded default: an independent CIFAR-10 training of all cells, from the PyPI package `analog-nasbench`.

It is not the official table. For "AnalogNAS-Bench" (arXiv:2506.18495) every cell was trained once, and the package
keeps its accuracy beside those on simulated analog hardware. On which images, the package does not say; the authors'
published training script does (github.com/IBM/analog-nas, analognasbench/training_script.py): 200 epochs on all 50,000
training images, then the mean of 25 passes over CIFAR-10's 10,000 *test* images, which that script crops and flips at
random like training images. The values bear it out: all but two lie on the grid of 0.01 / 25, and the median distance
to the official test column is 0.33 points, to the validation column 3.0. So it is a test column, and no selector may
see it.
"""

from __future__ import annotations

import hashlib
import io
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any, Final

import numpy as np

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.ground_truth import GroundTruth, Provenance
from dartboard.benchmark.pickles import restricted_load
from dartboard.benchmark.space import CONV1X1, CONV3X3, NONE, POOL, SKIP, E, O
from dartboard.benchmark.tables.assemble import check_complete, of_columns

PACKAGE: Final = "analog-nasbench"
NAME: Final = "analog"

OPERATIONS: Final = (SKIP, NONE, CONV3X3, CONV1X1, POOL)
"""Ours, by the package's number."""

EDGES: Final = (0, 1, 3, 2, 4, 5)
"""The row in `EDGES` of each of the package's edges, which go by source: 0-1, 0-2, 0-3, 1-2, 1-3, 2-3."""


class _Record:
    """Stands for the package's classes: attributes, nothing else."""

    architecture: tuple[int, ...]
    baseline_accuracy: float


def embedded_bytes() -> tuple[bytes, str]:
    """The package's data file and the package's version, found without importing it.

    Raises:
        InputError: when the package is not installed.
    """
    try:
        package = distribution(PACKAGE)
        return package.locate_file("analognasbench/data.anb").read_bytes(), package.version  # type: ignore[attr-defined]  # a Path
    except (PackageNotFoundError, OSError) as error:
        raise InputError(f"the embedded table needs the package {PACKAGE}: pip install {PACKAGE}") from error


def embedded_provenance(data: bytes, version: str) -> Provenance:
    """What the embedded table is, in plain words."""
    return Provenance(
        name=NAME,
        title="an independent CIFAR-10 training of all cells (AnalogNAS-Bench), not the official table",
        source=f"PyPI package {PACKAGE}, baseline_accuracy; arXiv:2506.18495",
        version=version,
        licence="none stated; used from the package, not redistributed",
        sha256=hashlib.sha256(data).hexdigest(),
        aggregation="one training of each cell; mean of 25 passes over randomly cropped and flipped test images",
        official=False,
    )


def read_embedded(data: bytes, provenance: Provenance) -> GroundTruth:
    """The table in the package's data file.

    Raises:
        InputError: when the data are not that.
    """
    records: Any = restricted_load(
        io.BytesIO(data),
        {("analognasbench.data", "Architecture"): _Record, ("analognasbench.data", "DriftMeasurement"): _Record},
    )
    try:
        theirs = np.array(list(records), dtype=np.int64)  # (cells, E), their operations on their edges
        accuracy = np.array([record.baseline_accuracy for record in records.values()], dtype=np.float64)
        if ((theirs < 0) | (theirs >= O)).any():
            raise ValueError(f"operations are numbered from 0 to {O - 1}; got {theirs.min()} to {theirs.max()}")
        ours = np.empty_like(theirs)
        ours[:, EDGES] = np.array(OPERATIONS)[theirs]
        numbers = ours @ O ** np.arange(E - 1, -1, -1)
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(f"the data of {PACKAGE} are not laid out as in version 0.1.3: {error}") from error
    check_complete(numbers, provenance.name)
    column = np.empty_like(accuracy)
    column[numbers] = accuracy
    return of_columns({"cifar10/test/200": column}, provenance, index=None)
