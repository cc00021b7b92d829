"""A criterion that is no better than a constant, or than random cells."""

from __future__ import annotations

import numpy as np

from dartboard.results import statistics as st
from dartboard.results.failure_modes.case import Case, Found, decided, told, untold
from dartboard.results.failure_modes.starvation import fewest_alike
from dartboard.results.failure_modes.thresholds import Thresholds
from dartboard.results.wording import count


def no_better_than_prior(case: Case, limits: Thresholds) -> Found:
    """The criterion is not better than a constant, or than chance. Magnitude: the mean gain in points.

    Its mean gain over the control `prior` on the same supernets is not above zero, or could be zero by the exact test
    of sign flips (`statistics.permutation_test`, level `alpha`, 0.05); or random cells would have a mean percentile as
    high with a probability above `alpha`, exactly, by the sum of n uniform numbers (`statistics.chance_test`). A gain
    above zero on so few supernets, equal ones not counted, that no test could tell it from zero (five or fewer at 0.05)
    is left open: neither better nor no better is shown. (A bootstrap interval of so few is too short to decide it: of
    two supernets, it lies above zero in a quarter of cases without any gain.) Source: [OWN], after Yu et al. 2020,
    "Evaluating the search phase" (quoted).
    """
    done = decided(case)
    if len(done) < 2:
        return untold(f"{count(len(done), 'supernet')} cannot tell it from chance", "two seeds or more")
    percentiles = [record.percentile for record in done if record.percentile is not None]
    p = st.chance_test(percentiles) if percentiles else 0.0
    luck = "no percentile is recorded"
    if percentiles:
        luck = f"mean percentile {np.mean(percentiles):.1f} (random cells have one as high with probability {p:.2g})"
    priors = {r.search: r.accuracy for r in case.others if r.selector == "prior" and r.control}
    pairs = [(record.accuracy, priors.get(record.search)) for record in done]
    gains = [ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None]
    if len(gains) < 2:
        if p > limits.alpha:
            return Found(answer="present", evidence=luck)
        return untold(f"{luck}; not compared with the constant prior", "selector prior")
    role = st.generator("prior", case.dataset, case.searcher, case.selector)
    gain = st.bootstrap(gains, st.mean, role, level=1 - limits.alpha)
    test = st.permutation_test(gains, role)
    evidence = (
        f"{gain.value:+.2f} points over the constant prior ({gain.low:+.2f} to {gain.high:+.2f}; sign flips p = "
        f"{test.p:.2g}) on {count(len(gains), 'supernet')}; {luck}"
    )
    if gain.value > 0 and p <= limits.alpha < test.smallest_p:
        few, fewest = "so few differ" if test.zeros else "so few", fewest_alike(limits.alpha)
        need = f"{fewest} seeds or more"
        if len(gains) >= fewest:
            need = f"more seeds: {fewest} with another accuracy than the prior's"
        evidence += f"; {few} that no p below {test.smallest_p:.2g} is possible"
        return Found(answer="unknown", magnitude=gain.value, evidence=evidence, needs=(need,))
    return told(gain.value <= 0 or test.p > limits.alpha or p > limits.alpha, gain.value, evidence)
