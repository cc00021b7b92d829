"""The catalogue of failure modes: what can go wrong between a search and a good cell. One line for each.

Each mode is a function in the file of its subject (`cells`, `starvation`, `strength`, `edges`, `supernet`, `curvature`,
`instability`, `chance`), with its formula, threshold and source in its docstring; docs/failure-modes.md has them for
readers. `case` says what a mode is given and answers, `thresholds` from where on it is present, and `verdicts` asks all
of them about a run. To add one: write its function, and add its entry here and its section there.

Of sources, "read" marks what was read in a method's code or logs, "quoted" what was read in a text about it, and
"[OWN]" what is the project's own choice. Accuracies of the official table are CIFAR-10's, test, 200 epochs; p (E, O)
are the mixing weights.
"""

from __future__ import annotations

from typing import Final

from dartboard.benchmark.errors import unknown
from dartboard.results.failure_modes.case import Mode
from dartboard.results.failure_modes.cells import disconnection, none_takeover, pooling_takeover, skip_collapse
from dartboard.results.failure_modes.chance import no_better_than_prior
from dartboard.results.failure_modes.curvature import sharp_minimum
from dartboard.results.failure_modes.edges import growing, shallow_wide
from dartboard.results.failure_modes.instability import lost_cell, seed_instability
from dartboard.results.failure_modes.starvation import budget_starvation
from dartboard.results.failure_modes.strength import edgewise_greed, magnitude_not_strength
from dartboard.results.failure_modes.supernet import discretisation_gap, ranking_failure

MODES: Final[tuple[Mode, ...]] = (
    Mode(
        key="skip-collapse",
        title="skip collapse",
        scope="run",
        rule="at least {skips} of 6 edges are skips",
        unit="skips",
        judge=skip_collapse,
    ),
    Mode(
        key="none-takeover",
        title="none take-over",
        scope="run",
        rule="at least {nones} of 6 edges are none",
        unit="edges",
        judge=none_takeover,
    ),
    Mode(
        key="pooling-takeover",
        title="pooling take-over",
        scope="run",
        rule="at least {pools} of 6 edges are poolings",
        unit="poolings",
        judge=pooling_takeover,
    ),
    Mode(
        key="disconnection",
        title="disconnection",
        scope="run",
        rule="no path without none leads from input to output",
        unit="dead edges",
        judge=disconnection,
    ),
    Mode(
        key="edgewise-greed",
        title="edge-wise greed",
        scope="run",
        rule="at least {right_edges} of 6 edges carry the truly strongest operation, and the regret is at least "
        "{greed_regret} points",
        unit="points of regret",
        judge=edgewise_greed,
    ),
    Mode(
        key="budget-starvation",
        title="budget starvation",
        scope="run",
        rule="on at least {starved_edges} of 6 edges the two best operations are not told apart at level {alpha}",
        unit="edges",
        judge=budget_starvation,
    ),
    Mode(
        key="shallow-wide",
        title="shallow-wide bias",
        scope="supernet",
        rule="operations on edges from the input weigh at least {width_preference} more than those on inner edges",
        unit="weight",
        judge=shallow_wide,
    ),
    Mode(
        key="growing",
        title="growing rather than pruning",
        scope="supernet",
        rule="at least {grown_edges} edges on which none once led by {off_margin} are on at the end",
        unit="edges",
        judge=growing,
    ),
    Mode(
        key="discretisation-gap",
        title="discretisation gap",
        scope="supernet",
        rule="the validation accuracy falls by at least {gap} points from the mixture to its argmax cell",
        unit="points",
        judge=discretisation_gap,
    ),
    Mode(
        key="sharp-minimum",
        title="sharp minimum",
        scope="supernet",
        rule="the dominant eigenvalue rises more than {eigenvalue_ratio}-fold over {eigenvalue_lag} measurements, or, "
        "measured once, is at least {eigenvalue} (0: not judged)",
        unit="ratio or eigenvalue",
        judge=sharp_minimum,
    ),
    Mode(
        key="magnitude-not-strength",
        title="magnitude is not strength",
        scope="supernet",
        rule="Spearman's correlation of mixing weight and true strength is below {agreement} on average over the edges",
        unit="Spearman's ρ",
        judge=magnitude_not_strength,
    ),
    Mode(
        key="lost-cell",
        title="instability over epochs",
        scope="supernet",
        rule="an argmax cell at least {lost} points better was passed through and lost",
        unit="points",
        judge=lost_cell,
    ),
    Mode(
        key="ranking-failure",
        title="ranking failure of the supernet",
        scope="supernet",
        rule="Kendall's correlation of inherited and true accuracy is below {kendall}",
        unit="Kendall's τ",
        judge=ranking_failure,
    ),
    Mode(
        key="no-better-than-prior",
        title="no better than prior or chance",
        scope="seeds",
        rule="the mean gain over the constant prior is not above zero, or could be zero, or random cells could be as "
        "good (level {alpha}); a gain on too few supernets for any test stays open",
        unit="points over the prior",
        judge=no_better_than_prior,
    ),
    Mode(
        key="seed-instability",
        title="instability over seeds",
        scope="seeds",
        rule="the standard deviation over seeds is at least {spread} points",
        unit="points",
        judge=seed_instability,
    ),
)
"""Every mode, those of single choices first."""


def mode(key: str) -> Mode:
    """The mode of that key.

    Raises:
        InputError: when there is none.
    """
    known = {entry.key: entry for entry in MODES}
    if key not in known:
        raise unknown("failure mode", key, known)
    return known[key]
