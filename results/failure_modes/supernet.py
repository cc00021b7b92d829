"""What the supernet's own accuracy is worth: for its argmax cell, and for the order of cells."""

from __future__ import annotations

from dartboard.results.failure_modes.case import Case, Found, measured, told
from dartboard.results.failure_modes.thresholds import Thresholds
from dartboard.results.wording import listed


def discretisation_gap(case: Case, limits: Thresholds) -> Found:
    """The supernet's validation accuracy falls when it becomes its own cell. Magnitude: by how many points.

    Accuracy under the mixture less accuracy of the same weights under the one-hot argmax, both by batch statistics, is
    at least `gap` (10 points). Source: DARTS-PT's logs (read; 4 seeds): 86 to 87 % before, 38 to 43 % with all six
    edges discretised and an epoch of tuning after each. The threshold is [OWN].
    """
    values, why = measured(case, "discretisation-gap")
    gap = values.get("gap")
    if gap is None:
        return why
    later = {
        "re_estimated": "with new batch-norm statistics",
        "tuned_1": "after 1 epoch of tuning",
        "tuned_5": "after 5",
    }
    parts = [f"{part:.1f} {words}" for key, words in later.items() if (part := values.get(f"gap_{key}")) is not None]
    evidence = (
        f"{values['accuracy_mixture']:.1f} % under the mixture, {values['accuracy_cell']:.1f} % as its argmax cell: a "
        f"gap of {gap:.1f} points" + (f" ({listed(parts)})" if parts else "")
    )
    return told(gap >= limits.gap, gap, evidence)


def ranking_failure(case: Case, limits: Thresholds) -> Found:
    """Inherited weights do not rank cells. Magnitude: Kendall's τ-b.

    Between a sample's accuracy with the supernet's weights and its true accuracy it is below `kendall` (0.5). Source:
    Yu et al. 2020, "Evaluating the search phase" (quoted). The threshold is [OWN]: networks that were never trained
    reach 0.54 on CIFAR-10 by the zero-cost score synflow (quoted in RZ-NAS), so that a supernet below 0.5 ranks no
    better than no training at all.
    """
    values, why = measured(case, "rank-correlation")
    by_accuracy = values.get("by_accuracy") or {}
    tau = by_accuracy.get("kendall")
    if tau is None:
        return why
    evidence = f"Kendall {tau:.2f} over {values['cells']} cells"
    if by_accuracy.get("upper_spearman") is not None:
        evidence += f", Spearman {by_accuracy['upper_spearman']:.2f} over the truly better half"
    if by_accuracy.get("regret") is not None:
        evidence += f"; the cell ranked first is {by_accuracy['regret']:.2f} points below the sample's best"
    return told(tau < limits.kendall, tau, evidence)
