"""Scores whose noise exceeds their differences."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np

from dartboard.benchmark.space import E
from dartboard.results.failure_modes.case import Case, Found, cell_of, no_cell, told, untold
from dartboard.results.failure_modes.thresholds import Thresholds
from dartboard.results.records import RunRecord
from dartboard.results.style import EDGE_LABELS
from dartboard.results.wording import count


def budget_starvation(case: Case, limits: Thresholds) -> Found:
    """The scores' noise exceeds their differences. Magnitude: on how many edges it does.

    On at least `starved_edges` (3) of six edges the two best operations are not told apart at level `alpha` (0.05).
    Where the criterion records standard errors s, by a difference of less than z √(s₁² + s₂²). Where its scores are
    accuracies over the same n images, by fewer than 6 images (McNemar's exact two-sided test cannot reject then,
    however the images fall: 2 · 2⁻⁵ > 0.05); they are told apart by more than z √(2 a (1 - a) / n), a their mean,
    provided that the two are right on the same images at least as often as by chance; between the two it stays open.
    Source: [OWN].
    """
    if cell_of(case) is None:
        return no_cell(case)
    record = case.runs[0]
    if record.scores is None:
        return untold(f"{record.selector} gives operations no scores", "a criterion that scores operations")
    z = NormalDist().inv_cdf(1 - limits.alpha / 2)
    noted, images = record.notes.get("standard_error"), _judged_images(record, case.options)
    errors = None if noted is None else np.array(noted, dtype=np.float64)  # (E, O), NaN where there is none
    if errors is None and images is None:
        need = "a criterion that records standard errors (shapley), or that scores by accuracy"
        return untold(f"how noisy the scores of {record.selector} are is not recorded", need)
    starved = resolved = 0
    closest = None
    for edge, row in enumerate(record.scores):
        finite = sorted(((score, o) for o, score in enumerate(row) if score is not None), reverse=True)
        if len(finite) < 2:
            return untold(f"there are fewer than two scores on {EDGE_LABELS[edge]}", "finite scores")
        (first, best), (second, next_best) = finite[:2]
        if errors is not None:
            noise = z * np.hypot(errors[edge, best], errors[edge, next_best])
            starved += bool(first - second < noise)
            resolved += bool(first - second >= noise)  # neither where an error is not known
        elif images is not None:
            mean, differing = abs(first + second) / 200, round((first - second) / 100 * images)
            closest = differing if closest is None else min(closest, differing)
            starved += differing < fewest_alike(limits.alpha)
            resolved += bool(differing > z * np.sqrt(2 * mean * (1 - mean) * images))
    evidence = f"the two best operations are not told apart on {starved} of {E} edges"
    if closest is not None:
        evidence += f" by {images:,} images; on {resolved} they are (the closest: {count(closest, 'image')})"
    if starved < limits.starved_edges <= E - resolved:
        need = "more validation images" if errors is None else "standard errors on every edge: more samples"
        return Found(answer="unknown", magnitude=starved, evidence=evidence, needs=(need,))
    return told(starved >= limits.starved_edges, starved, evidence)


def _judged_images(record: RunRecord, options: Mapping[str, Any]) -> int | None:
    """Over how many images the scores are accuracies in percent, or None where they are something else."""
    if options.get("criterion") != "accuracy" or record.valid_images is None:
        return None
    batches = record.notes.get("within_budget", {}).get("batches", options.get("batches"))
    return record.valid_images if batches is None else min(record.valid_images, batches * (record.batch_size or 0))


def fewest_alike(alpha: float) -> int:
    """The fewest images (or signs), all in favour of one side, that an exact two-sided test rejects by."""
    n = 1
    while 2 * 0.5**n > alpha:
        n += 1
    return n
