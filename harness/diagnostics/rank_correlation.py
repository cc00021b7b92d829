"""Whether the weights that cells inherit from the supernet rank them as their own training does.

K. Yu, C. Sciuto, M. Jaggi, C. Musat, M. Salzmann, "Evaluating the search phase of neural architecture search", ICLR
2020, arXiv:1902.08142: weight sharing degrades the ranking. For a fixed sample of cells, with a(x) the accuracy of the
trained supernet under one-hot(x) on validation images and t(x) the table's,

    spearman = the correlation of their ranks (equals share the mean of theirs)
    kendall (τ-b) = (C - D)/√(pairs not equal in a · pairs not equal in t),    C, D: concordant, discordant pairs
    sparse_kendall = (C - D)/pairs not equal in t, with t rounded to 0.1 points first, so that differences that a single
                     training does not bear out do not count

once by accuracy and once by minus the loss, of which few are equal. `upper_spearman` is that of the truly better half:
the whole space's is easily high, as cells without a convolution are easily told. The sample is stratified by t: the
cells in the table's order, cut into as many equal parts, one drawn from each; for one table, metric and size it is
always the same, so that supernets can be compared. Batch norm normalises by the batch.

Differences from the paper: the truth is the table's. The sparse τ is after K. Yu, R. Ranftl, M. Salzmann, "How to train
your super-net", arXiv:2003.04276; that it rounds to 0.1 points is from memory and unverified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.ground_truth import GroundTruth, Metric
from dartboard.benchmark.space import SPACE_SIZE, Cell
from dartboard.benchmark.streams import stream
from dartboard.harness.diagnostics._subject import Measurement, Subject
from dartboard.selectors._evaluation import score_mixtures
from dartboard.selectors._options import require_at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How many cells, on how much.

    Raises:
        InputError: when one is out of range.
    """

    cells: int = 200  # of the 15,625
    images: int = 256  # of the validation half, rounded up to whole batches
    every: int | None = None  # also measured after every so many epochs; None: of the trained supernet only

    def __post_init__(self) -> None:
        require_at_least(self, 2, "cells")
        require_at_least(self, 1, "images", "every")
        if self.cells > SPACE_SIZE:
            raise InputError(f"cells is at most {SPACE_SIZE}; got {self.cells}")


def stratified_sample(truth: GroundTruth, metric: Metric, count: int) -> NDArray[np.int64]:
    """(count,) numbers of cells, the truly worst first: one of each of as many equal parts of the table's order."""
    order = np.argsort(truth.accuracy[metric], kind="stable")
    draws = torch.rand(count, generator=stream(0, "rank-correlation", str(metric)), dtype=torch.float64).numpy()
    places = (np.arange(count) + draws) * (SPACE_SIZE / count)
    return np.asarray(order[places.astype(np.int64)])


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,): ranks from 1, ascending; equals share the mean of theirs."""
    below, equal = (values < values[:, None]).sum(1), (values == values[:, None]).sum(1)
    return np.asarray(below + (equal + 1) / 2)


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """The correlation of ranks; None where one is constant."""
    x, y = (ranks(v) - (len(v) + 1) / 2 for v in (a, b))
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm else None


def kendall(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """τ-b; None where one is constant."""
    x, y = (np.sign(v[:, None] - v) for v in (a, b))
    norm = float(np.sqrt(np.square(x).sum() * np.square(y).sum()))
    return float((x * y).sum()) / norm if norm else None


def sparse_kendall(inherited: NDArray[np.float64], true: NDArray[np.float64], step: float = 0.1) -> float | None:
    """(C - D)/pairs whose truth, rounded to `step` points, differs; None where there is no such pair."""
    rounded = np.round(true / step)
    x, y = np.sign(inherited[:, None] - inherited), np.sign(rounded[:, None] - rounded)
    pairs = float(np.abs(y).sum())
    return float((x * y).sum()) / pairs if pairs else None


def compare(inherited: NDArray[np.float64], true: NDArray[np.float64]) -> dict[str, Any]:
    """How well `inherited` (n,), larger is better, ranks cells of the true accuracies `true` (n,)."""
    upper = true >= np.median(true)
    best = float(true[inherited.argmax()])
    return {
        "spearman": spearman(inherited, true),
        "kendall": kendall(inherited, true),
        "sparse_kendall": sparse_kendall(inherited, true),
        "upper_spearman": spearman(inherited[upper], true[upper]),
        "best_true": best,
        "regret": float(true.max()) - best,
    }


def measure(subject: Subject, config: Config) -> Measurement:
    """Of the trained supernet."""
    numbers = stratified_sample(subject.truth, subject.metric, config.cells)
    true = subject.truth.lookup(numbers, subject.metric)
    mixtures = torch.from_numpy(np.stack([Cell.from_number(number).one_hot() for number in numbers]))
    batches = subject.batches(subject.data.valid, config.images, "valid")
    scores = score_mixtures(subject.trained.supernet, mixtures.to(subject.mixture()), batches, "batch")
    values = {
        "metric": str(subject.metric),
        "cells": config.cells,
        "numbers": numbers,
        "inherited_accuracy": scores.accuracy,
        "inherited_loss": scores.loss,
        "true_accuracy": true,
        "by_accuracy": compare(scores.accuracy, true),
        "by_loss": compare(-scores.loss, true),
    }
    return Measurement(values, scores.images)
