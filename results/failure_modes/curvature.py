"""A validation loss that is sharply curved in the architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from dartboard.results.diagnostics import by_epoch, of_trained
from dartboard.results.failure_modes.case import Case, Found, measured, told
from dartboard.results.failure_modes.thresholds import Thresholds

NO_SCALE: Final = (
    "diagnostic alpha-hessian in the course of the search (every = 1)",
    "a threshold eigenvalue for its size",
)
"""What would tell whether a single eigenvalue is large: either."""


def sharp_minimum(case: Case, limits: Thresholds) -> Found:
    """The validation loss is sharply curved in the architecture: by λ, its Hessian's dominant eigenvalue in the logits.

    Where λ was measured in the course of the search, DARTS-ES's rule: smoothed by a local mean of `eigenvalue_window`
    (5) measurements, λ̄(t) / λ̄(t - `eigenvalue_lag` (4)) exceeds `eigenvalue_ratio` (1.3) after epoch
    `eigenvalue_after` (10), or rises above 0 from 0 or below. Magnitude: the largest such ratio, where there is one.
    Where λ was measured at the end only, it has no scale of its own: the answer is unknown, with λ as its magnitude,
    unless the grid sets `eigenvalue` (0), from where on a single λ counts as sharp.

    Source: A. Zela et al., RobustDARTS, ICLR 2020 (rule and logs read). The ends of their logs on the space S1 are 0.39
    to 1.06 with little weight decay, 0.16 to 0.34 with much. That scale is of that supernet, of its size, losses and
    normalisation. Of this space, at 8 channels, N = 1, 16x16 pixels and 50 epochs ([OWN], measured, one each): darts-v1
    ends at 0.50 with a good cell and at 1.30 and 1.77 with collapsed ones, the uniform mixture at 0.65 to 1.29; 0.4
    would tell all of them to be sharp. Set `eigenvalue` by supernets of one size that are known to be good and bad.
    """
    over_time = by_epoch(case.diagnostics, "alpha-hessian").items()
    series = {epoch: float(values["dominant"]) for epoch, values in over_time if values.get("dominant") is not None}
    if len(series) > limits.eigenvalue_lag and max(series) > limits.eigenvalue_after:
        ratio, when = _steepest(series, limits)
        over = f"{limits.eigenvalue_lag} measurements before (at epoch {when}; {len(series)} measurements)"
        if ratio == float("inf"):
            return told(True, None, f"the smoothed dominant eigenvalue is above 0, and was 0 or below {over}")
        evidence = f"the smoothed dominant eigenvalue is at most {ratio:.2f} times that of {over}"
        return told(ratio > limits.eigenvalue_ratio, ratio, evidence)
    values, why = measured(case, "alpha-hessian")
    largest = values.get("dominant")
    if largest is None:
        return why
    evidence = f"the dominant eigenvalue is {largest:.3g} at the end"
    if values.get("trace") is not None:
        evidence += f", the trace {values['trace']:.3g}"
    drop = (of_trained(case.diagnostics, "landscape") or {}).get("accuracy_drop")
    if drop is not None:
        evidence += f"; along random directions the accuracy falls by {drop:.1f} points at the largest radius"
    if not limits.eigenvalue:
        return Found(answer="unknown", magnitude=largest, evidence=evidence, needs=NO_SCALE)
    return told(largest >= limits.eigenvalue, largest, evidence)


def _steepest(series: Mapping[int, float], limits: Thresholds) -> tuple[float, int]:
    """The largest λ̄(t) / λ̄(t - lag) after the warm-up, and its epoch; infinite where it rises from 0 or below."""
    epochs, raw = list(series), list(series.values())
    half, lag = limits.eigenvalue_window // 2, limits.eigenvalue_lag
    smooth = [float(np.mean(raw[max(0, t - half) : t + half + 1])) for t in range(len(raw))]
    return max(
        (smooth[t] / smooth[t - lag] if smooth[t - lag] > 0 else float("inf") if smooth[t] > 0 else 0.0, epochs[t])
        for t in range(lag, len(raw))
        if epochs[t] > limits.eigenvalue_after
    )
