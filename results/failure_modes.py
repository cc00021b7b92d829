"""The catalogue of failure modes: what can go wrong between a search and a good cell, and whether it did.

A mode is a small pure function of a `Case` (one choice of a criterion, one supernet, or all seeds of a criterion) and
of `Thresholds`. It answers `present`, `absent` or `unknown`; an unknown one names what to ask for. Each has its
formula, threshold and source in its docstring; docs/failure-modes.md has them for readers. p (E, O) are the mixing
weights.

Of sources, "read" marks what was read in a method's code or logs, "quoted" what was read in a text about it, and
"[OWN]" what is the project's own choice. Accuracies of the official table are CIFAR-10's, test, 200 epochs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist, median, stdev
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dartboard.benchmark.errors import InputError, unknown
from dartboard.benchmark.space import (
    CONV1X1,
    CONV3X3,
    NONE,
    OPERATIONS,
    POOL,
    SKIP,
    Cell,
    E,
    live_edges,
)
from dartboard.benchmark.strength import rank_agreement
from dartboard.results import statistics as st
from dartboard.results.aggregate import main_metric, trajectory
from dartboard.results.blame import REFERENCE, judged, undecided, uniform
from dartboard.results.diagnostics import DiagnosticRecord, by_epoch, of_trained
from dartboard.results.records import EpochRecord, RunRecord, SearchKey
from dartboard.results.rundata import RunData
from dartboard.results.statistics import Estimate
from dartboard.results.style import EDGE_LABELS
from dartboard.results.wording import count, listed

Answer: TypeAlias = Literal["present", "absent", "unknown"]
Scope: TypeAlias = Literal["run", "supernet", "seeds"]

INPUT_EDGES: Final = (0, 1, 3)
"""The edges from the cell's input to each node; the others are inner ones."""

PRIOR_ORDER: Final = (NONE, POOL, SKIP, CONV1X1, CONV3X3)
"""The constant order of the control `prior`, weakest first."""

NO_MIXTURE: Final = ("the mixing weights are equal, and rank nothing", "a search that moves its mixture")
NO_SCALE: Final = (
    "diagnostic alpha-hessian in the course of the search (every = 1)",
    "a threshold eigenvalue for its size",
)
NO_STRENGTH: Final = ("which operation is truly the strongest on an edge is not recorded", "selector edge-oracle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From where on a mode counts as present. A grid changes them in its section `[thresholds]`."""

    skips: int = 4  # edges, of 6
    nones: int = 3  # edges, of 6
    pools: int = 4  # edges, of 6
    width_preference: float = 0.1  # of 1: weight kept on edges from the input above that on inner edges
    grown_edges: int = 2  # edges, of 6
    off_margin: float = 0.05  # of 1: weight of none above the next largest
    gap: float = 10.0  # points of validation accuracy
    eigenvalue_ratio: float = 1.3
    eigenvalue_window: int = 5  # measurements
    eigenvalue_lag: int = 4  # measurements
    eigenvalue_after: int = 10  # epochs
    eigenvalue: float = 0.0  # 0: a single one is not judged
    agreement: float = 0.5  # Spearman's rank correlation
    spread: float = 1.0  # points: standard deviation over seeds
    lost: float = 1.0  # points of true accuracy
    kendall: float = 0.5  # Kendall's rank correlation
    right_edges: int = 5  # edges, of 6
    greed_regret: float = 0.5  # points
    starved_edges: int = 3  # edges, of 6
    alpha: float = 0.05  # level of tests


def thresholds(values: Mapping[str, Any]) -> Thresholds:
    """The thresholds that a grid's section sets, the others as they are.

    Raises:
        InputError: quoting a name that is none, or a value of the wrong kind.
    """
    defaults = {entry.name: entry.default for entry in dataclasses.fields(Thresholds)}
    for name, value in values.items():
        if name not in defaults:
            raise unknown("threshold", name, defaults)
        whole = isinstance(defaults[name], int)
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not 0 <= value < 1e9:
            kind = "a whole number" if whole else "a number"
            raise InputError(f"the threshold {name} is {kind} of at least 0; got {value!r}")
    if not 0 < values.get("alpha", 0.5) < 1:
        raise InputError(f"the threshold alpha is between 0 and 1; got {values['alpha']!r}")
    return Thresholds(**values)


def thresholds_of(run: RunData) -> Thresholds:
    """The thresholds that the run's grid set, or the defaults.

    Raises:
        InputError: when what it set is none.
    """
    told = run.header.options.get("thresholds") if run.header else None
    return thresholds(told or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a mode is asked about, and all that is known of it."""

    dataset: str
    searcher: str
    selector: str | None = None  # None where the scope is a supernet
    seed: int | None = None  # None where the scope is all seeds
    runs: tuple[RunRecord, ...] = ()  # of the selector: one choice, or all seeds'; of a supernet: every choice from it
    others: tuple[RunRecord, ...] = ()  # all of the data set's that came to a cell with a known regret
    epochs: tuple[EpochRecord, ...] = ()  # of the supernet
    diagnostics: tuple[DiagnosticRecord, ...] = ()  # of the supernet
    options: Mapping[str, Any] = field(default_factory=dict)  # the selector's
    strength: tuple[tuple[float, ...], ...] | None = None  # (E, O), percent: mean accuracy with an operation on an edge
    metric: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A mode's answer."""

    answer: Answer
    evidence: str  # a sentence with its numbers
    magnitude: float | None = None  # in the mode's unit
    needs: tuple[str, ...] = ()  # what to ask for, where the answer is unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """A way to fail."""

    key: str
    title: str
    scope: Scope
    rule: str  # from where on it is present, with the thresholds' names in braces
    unit: str  # of the magnitude
    judge: Callable[[Case, Thresholds], Found]

    def rule_at(self, limits: Thresholds) -> str:
        """The rule with the thresholds that count."""
        return self.rule.format(**dataclasses.asdict(limits))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A mode's answer about one case."""

    mode: str
    dataset: str
    searcher: str
    selector: str | None
    seed: int | None
    found: Found

    @property
    def answer(self) -> Answer:
        """Whether it is present."""
        return self.found.answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """A mode's answers about all cases of a search method and selector: a square of the failure matrix."""

    mode: str
    dataset: str
    searcher: str
    selector: str | None
    present: int
    absent: int
    unknown: int
    share: (
        Estimate | None
    )  # of the cases that can be told: Wilson's interval; None where none can, or all seeds are one
    magnitude: float | None  # the median of those known
    needs: tuple[str, ...]
    verdicts: tuple[Verdict, ...]


def _told(present: bool, magnitude: float, evidence: str) -> Found:
    return Found(answer="present" if present else "absent", magnitude=magnitude, evidence=evidence)


def _untold(evidence: str, *needs: str) -> Found:
    return Found(answer="unknown", evidence=evidence, needs=needs)


# One choice of a criterion.


def skip_collapse(case: Case, limits: Thresholds) -> Found:
    """The cell is made of skips: their number on the six edges is at least `skips` (4). Magnitude: that number.

    Source: that DARTS ends in skips on NAS-Bench-201 is known as issue 58 of AutoDL-Projects. The threshold is [OWN]:
    in the official table the mean accuracy by number of skips is 86.6 % at 3, 82.7 at 4, 75.0 at 5 and 54.3 at 6; 1.7 %
    of all cells have 4 or more.
    """
    return _carries(case, SKIP, limits.skips)


def none_takeover(case: Case, limits: Thresholds) -> Found:
    """Edges are not selected at all: the number of `none` on the six edges is at least `nones` (3). Magnitude: it.

    Source: S. Xie et al., AISTATS 2021 ("no edge survives in bi-level training", read in their code, SNAS-Series). The
    threshold is [OWN]: in the official table the mean accuracy by number of `none` is 87.9 % at 2, 74.6 at 3 and 45.3
    at 4; 9.9 % of all cells have 3 or more, so that one such cell may be chance.
    """
    return _carries(case, NONE, limits.nones)


def pooling_takeover(case: Case, limits: Thresholds) -> Found:
    """The cell is made of poolings: their number on the six edges is at least `pools` (4). Magnitude: that number.

    Source: [OWN], by the same measure as skips: in the official table the mean accuracy by number of poolings is 83.1 %
    at 3, 76.8 at 4, 65.8 at 5 and 49.0 at 6; 1.7 % of all cells have 4 or more.
    """
    return _carries(case, POOL, limits.pools)


def _carries(case: Case, operation: int, least: int) -> Found:
    """Whether so many edges carry an operation."""
    cell = _cell(case)
    if cell is None:
        return _failed(case)
    n, name = cell.operations.count(operation), OPERATIONS[operation]
    others = [f"{k} {other}" for other, k in cell.counts.items() if k and other != name]
    evidence = f"{n} of {E} edges carry {name}" + (f", the others {listed(others)}" if others else "")
    if case.selector == REFERENCE and case.epochs:
        had = [Cell.parse(epoch.cell).operations.count(operation) >= least for epoch in case.epochs]
        if any(had):
            first = case.epochs[had.index(True)].epoch
            evidence += (
                f"; the argmax cell had {least} or more after {sum(had)} of {len(had)} epochs, first after {first}"
            )
    return _told(n >= least, n, evidence)


def disconnection(case: Case, limits: Thresholds) -> Found:  # noqa: ARG001  (there is no threshold in it)
    """No path without `none` leads from the cell's input to its output. Magnitude: the edges that are on no path.

    Source: the space itself; 341 of the 15,625 cells are so, and at chance level (10.0 %) in the official table.
    """
    cell = _cell(case)
    if cell is None:
        return _failed(case)
    dead = E - int(live_edges(cell.number).sum())
    path = "a path leads" if cell.connected else "no path leads"
    return _told(not cell.connected, dead, f"{path} from input to output; {dead} of {E} edges are on none")


def edgewise_greed(case: Case, limits: Thresholds) -> Found:
    """Each edge right alone, the cell wrong. Magnitude: the regret in points.

    At least `right_edges` (5) of the six carry the truly strongest operation, and the regret is still at least
    `greed_regret` (0.5 points). True strength is the mean accuracy of all cells with the operation on the edge, as the
    control `edge-oracle` records it. Source: [OWN]; the strongest operation of each edge together make a cell 0.61
    points below the best in the official table, which the threshold is just under.
    """
    cell = _cell(case)
    if cell is None or case.runs[0].regret is None:
        return _failed(case)
    if case.strength is None:
        return _untold(*NO_STRENGTH)
    strongest = np.array(case.strength).argmax(axis=1)
    right, regret = int((strongest == np.array(cell.operations)).sum()), case.runs[0].regret
    evidence = f"{right} of {E} edges carry the truly strongest operation, and the cell is {regret:.2f} points off"
    if right < limits.right_edges and regret >= limits.greed_regret:
        evidence += ": single edges are wrong already"
    return _told(right >= limits.right_edges and regret >= limits.greed_regret, regret, evidence)


def budget_starvation(case: Case, limits: Thresholds) -> Found:
    """The scores' noise exceeds their differences. Magnitude: on how many edges it surely does.

    On at least `starved_edges` (3) of six edges the two best operations are not told apart at level `alpha` (0.05).
    Where the criterion records standard errors s, by a difference of less than z √(s₁² + s₂²). Where its scores are
    accuracies over the same n images, by fewer than 6 images (McNemar's exact two-sided test cannot reject then,
    however the images fall: 2 · 2⁻⁵ > 0.05); they are told apart for sure by more than z √(2 a (1 - a) / n), a their
    mean; between the two it stays open. Source: [OWN].
    """
    if _cell(case) is None:
        return _failed(case)
    record = case.runs[0]
    if record.scores is None:
        return _untold(f"{record.selector} gives operations no scores", "a criterion that scores operations")
    z = NormalDist().inv_cdf(1 - limits.alpha / 2)
    told, images = record.notes.get("standard_error"), _judged_images(record, case.options)
    errors = None if told is None else np.array(told, dtype=np.float64)  # (E, O), NaN where there is none
    if errors is None and images is None:
        need = "a criterion that records standard errors (shapley), or that scores by accuracy"
        return _untold(f"how noisy the scores of {record.selector} are is not recorded", need)
    starved = resolved = 0
    closest = None
    for edge, row in enumerate(record.scores):
        finite = sorted(((score, o) for o, score in enumerate(row) if score is not None), reverse=True)
        if len(finite) < 2:
            return _untold(f"there are fewer than two scores on {EDGE_LABELS[edge]}", "finite scores")
        (first, best), (second, next_best) = finite[:2]
        if errors is not None:
            noise = z * np.hypot(errors[edge, best], errors[edge, next_best])
            starved += bool(first - second < noise)
            resolved += bool(first - second >= noise)
        elif images is not None:
            mean, differing = abs(first + second) / 200, round((first - second) / 100 * images)
            closest = differing if closest is None else min(closest, differing)
            starved += differing < _fewest_alike(limits.alpha)
            resolved += bool(differing > z * np.sqrt(2 * mean * (1 - mean) * images))
    evidence = f"the two best operations are not told apart on {starved} of {E} edges"
    if closest is not None:
        evidence += f" by {images:,} images; on {resolved} they surely are (the closest: {count(closest, 'image')})"
    if starved < limits.starved_edges <= E - resolved:
        return Found(answer="unknown", magnitude=starved, evidence=evidence, needs=("more validation images",))
    return _told(starved >= limits.starved_edges, starved, evidence)


def _judged_images(record: RunRecord, options: Mapping[str, Any]) -> int | None:
    """Over how many images the scores are accuracies in percent, or None where they are something else."""
    if options.get("criterion") != "accuracy" or record.valid_images is None:
        return None
    batches = record.notes.get("within_budget", {}).get("batches", options.get("batches"))
    return record.valid_images if batches is None else min(record.valid_images, batches * (record.batch_size or 0))


def _fewest_alike(alpha: float) -> int:
    """The fewest images (or signs), all in favour of one side, that an exact two-sided test rejects by."""
    n = 1
    while 2 * 0.5**n > alpha:
        n += 1
    return n


# One supernet.


def shallow_wide(case: Case, limits: Thresholds) -> Found:
    """Edges from the cell's input are kept more readily than inner ones. Magnitude: by how much weight.

    The mean of 1 - p_none over the edges 0→1, 0→2, 0→3 less the mean over 1→2, 1→3, 2→3 is at least `width_preference`
    (0.1). Source: "wider beats deeper", S. Xie et al., AISTATS 2021 (read in SNAS-Series); also Y. Shu, W. Wang,
    S. Cai, arXiv:1909.09569. The threshold is [OWN].
    """
    if not case.epochs:
        return _no_epochs()
    kept = 1 - np.array(case.epochs[-1].mixture)[:, NONE]
    outer, inner = float(kept[list(INPUT_EDGES)].mean()), float(np.delete(kept, INPUT_EDGES).mean())
    cell = Cell.parse(case.epochs[-1].cell)
    evidence = (
        f"the weight of operations other than none is {outer:.2f} on edges from the input, {inner:.2f} on inner ones; "
        f"the argmax cell's longest path has {count(cell.depth, 'edge')} (at most "
        f"{count(cell.conv_depth, 'convolution')} on one), its width is {cell.width:.2f}"
    )
    return _told(outer - inner >= limits.width_preference, outer - inner, evidence)


def growing(case: Case, limits: Thresholds) -> Found:
    """Edges are driven off first and recovered later, instead of starting full and being pruned. Magnitude: how many.

    At least `grown_edges` (2) edges were off after some epoch and are on at the end. An edge is off when `none` has its
    largest weight, by at least `off_margin` (0.05), and on when `none` has not. The margin keeps the noise of a
    beginning near the uniform weights from being counted. Source: "growing, not pruning", S. Xie et al., AISTATS 2021
    (read in SNAS-Series). The thresholds are [OWN].
    """
    if len(case.epochs) < 2:
        return _no_epochs()
    weights = np.array([epoch.mixture for epoch in case.epochs])  # (epochs, E, O)
    above = weights[:, :, NONE] - np.delete(weights, NONE, axis=2).max(axis=2)  # (epochs, E)
    off, on = above >= limits.off_margin, above[-1] < 0
    grown, most = int((off.any(axis=0) & on).sum()), int(off.sum(axis=1).argmax())
    evidence = (
        f"{grown} of {E} edges that were off are on at the end; {off[most].sum()} were off at once at most"
        + (f" (after epoch {case.epochs[most].epoch})" if off.any() else "")
        + f"; none leads on {int((~on).sum())} at the end"
    )
    return _told(grown >= limits.grown_edges, grown, evidence)


def discretisation_gap(case: Case, limits: Thresholds) -> Found:
    """The supernet's validation accuracy falls when it becomes its own cell. Magnitude: by how many points.

    Accuracy under the mixture less accuracy of the same weights under the one-hot argmax, both by batch statistics, is
    at least `gap` (10 points). Source: DARTS-PT's logs (read; 4 seeds): 86 to 87 % before, 38 to 43 % with all six
    edges discretised and an epoch of tuning after each. The threshold is [OWN].
    """
    values, why = _measured(case, "discretisation-gap")
    gap = values.get("gap")
    if gap is None:
        return why
    later = {
        "re_estimated": "with new batch-norm statistics",
        "tuned_1": "after 1 epoch of tuning",
        "tuned_5": "after 5",
    }
    told = [f"{part:.1f} {words}" for key, words in later.items() if (part := values.get(f"gap_{key}")) is not None]
    evidence = (
        f"{values['accuracy_mixture']:.1f} % under the mixture, {values['accuracy_cell']:.1f} % as its argmax cell: a "
        f"gap of {gap:.1f} points" + (f" ({listed(told)})" if told else "")
    )
    return _told(gap >= limits.gap, gap, evidence)


def sharp_minimum(case: Case, limits: Thresholds) -> Found:
    """The validation loss is sharply curved in the architecture: by λ, its Hessian's dominant eigenvalue in the logits.

    Where λ was measured in the course of the search, DARTS-ES's rule: smoothed by a local mean of `eigenvalue_window`
    (5) measurements, λ̄(t) / λ̄(t - `eigenvalue_lag` (4)) exceeds `eigenvalue_ratio` (1.3) after epoch
    `eigenvalue_after` (10). Magnitude: the largest such ratio. Where λ was measured at the end only, it has no scale of
    its own: the answer is unknown, with λ as its magnitude, unless the grid sets `eigenvalue` (0), from where on a
    single λ counts as sharp.

    Source: A. Zela et al., RobustDARTS, ICLR 2020 (rule and logs read). The ends of their logs on the space S1 are 0.39
    to 1.06 with little weight decay, 0.16 to 0.34 with much. That scale is of that supernet, of its size, losses and
    normalisation. Of this space, at 8 channels, N = 1, 16x16 pixels and 50 epochs ([OWN], measured, one each): darts-v1
    ends at 0.50 with a good cell and at 1.30 and 1.77 with collapsed ones, the uniform mixture at 0.65 to 1.29; 0.4
    would tell all of them to be sharp. Set `eigenvalue` by supernets of one size that are known to be good and bad.
    """
    measured = by_epoch(case.diagnostics, "alpha-hessian").items()
    series = {epoch: float(values["dominant"]) for epoch, values in measured if values.get("dominant") is not None}
    if len(series) > limits.eigenvalue_lag and max(series) > limits.eigenvalue_after:
        ratio, when = _steepest(series, limits)
        evidence = (
            f"the smoothed dominant eigenvalue is at most {ratio:.2f} times that of {limits.eigenvalue_lag} "
            f"measurements before (at epoch {when}; {len(series)} measurements)"
        )
        return _told(ratio > limits.eigenvalue_ratio, ratio, evidence)
    values, why = _measured(case, "alpha-hessian")
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
    return _told(largest >= limits.eigenvalue, largest, evidence)


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


def magnitude_not_strength(case: Case, limits: Thresholds) -> Found:
    """Mixing weights do not rank operations as the truth does. Magnitude: Spearman's correlation, the edges' mean.

    The correlation over the operations of an edge between p and true strength, averaged over the edges, is below
    `agreement` (0.5). True strength is the mean accuracy of all cells with the operation on the edge (control
    `edge-oracle`). Source: Wang, Cheng, Chen, Tang, Hsieh 2021, arXiv:2108.04392 (quoted), who compare magnitude with
    the supernet's own accuracy after discretising, which is not the table's. The threshold is [OWN]; the constant prior
    reaches 0.95.
    """
    if not case.epochs:
        return _no_epochs()
    if case.strength is None:
        return _untold(*NO_STRENGTH)
    weights, strength = np.array(case.epochs[-1].mixture), np.array(case.strength)
    if uniform(case.epochs):
        return _untold(*NO_MIXTURE)
    each = rank_agreement(weights, strength)
    prior = rank_agreement(np.argsort(PRIOR_ORDER)[None].astype(np.float64), strength)
    right, mean = int((weights.argmax(axis=1) == strength.argmax(axis=1)).sum()), float(each.mean())
    evidence = (
        f"Spearman {mean:.2f} on average over the edges ({each.min():.2f} to {each.max():.2f}) between mixing weights "
        f"and true strength, where the constant prior has {prior.mean():.2f}; the largest weight is the truly "
        f"strongest operation's on {right} of {E}"
    )
    return _told(mean < limits.agreement, mean, evidence)


def lost_cell(case: Case, limits: Thresholds) -> Found:
    """The right cell was passed through and lost. Magnitude: by how many points of true accuracy.

    The best argmax cell of any epoch is at least `lost` (1 point) above the last epoch's. Source: [OWN]; that rankings
    change between adjacent epochs is reported for weight sharing (Zhang et al. 2020, quoted).
    """
    path = trajectory(SearchKey(case.searcher, case.dataset, case.seed or 0), case.epochs, case.metric)
    if path.lost is None:
        return _no_epochs()
    if uniform(case.epochs):
        return _untold(*NO_MIXTURE)
    best, falls = int(np.argmax(path.accuracies)), -np.diff(path.accuracies)
    evidence = f"{path.accuracies[best]:.2f} % after epoch {path.epochs[best]}, {path.accuracies[-1]:.2f} % at the end"
    if len(falls) and falls.max() > 0:
        at = int(falls.argmax())
        evidence += f"; steepest fall {falls[at]:.2f} points, from epoch {path.epochs[at]} to {path.epochs[at + 1]}"
    return _told(path.lost >= limits.lost, path.lost, evidence)


def ranking_failure(case: Case, limits: Thresholds) -> Found:
    """Inherited weights do not rank cells. Magnitude: Kendall's τ-b.

    Between a sample's accuracy with the supernet's weights and its true accuracy it is below `kendall` (0.5). Source:
    Yu et al. 2020, "Evaluating the search phase" (quoted). The threshold is [OWN]: networks that were never trained
    reach 0.54 on CIFAR-10 by the zero-cost score synflow (quoted in RZ-NAS), so that a supernet below 0.5 ranks no
    better than no training at all.
    """
    values, why = _measured(case, "rank-correlation")
    by_accuracy = values.get("by_accuracy") or {}
    tau = by_accuracy.get("kendall")
    if tau is None:
        return why
    evidence = f"Kendall {tau:.2f} over {values['cells']} cells"
    if by_accuracy.get("upper_spearman") is not None:
        evidence += f", Spearman {by_accuracy['upper_spearman']:.2f} over the truly better half"
    if by_accuracy.get("regret") is not None:
        evidence += f"; the cell ranked first is {by_accuracy['regret']:.2f} points below the sample's best"
    return _told(tau < limits.kendall, tau, evidence)


# All seeds of a criterion.


def no_better_than_prior(case: Case, limits: Thresholds) -> Found:
    """The criterion is not better than a constant, or than chance. Magnitude: the mean gain in points.

    Its mean gain over the control `prior` on the same supernets is not above zero, or could be zero by the exact test
    of sign flips (`statistics.permutation_test`, level `alpha`, 0.05); or random cells would have a mean percentile as
    high with a probability above `alpha`, exactly, by the sum of n uniform numbers (`statistics.chance_test`). A gain
    above zero on so few supernets that no test could tell it from zero (five or fewer at 0.05) is left open: neither
    better nor no better is shown. (A bootstrap interval of so few is too short to decide it: of two supernets, it lies
    above zero in a quarter of cases without any gain.) Source: [OWN], after Yu et al. 2020, "Evaluating the search
    phase" (quoted).
    """
    done = _decided(case)
    if len(done) < 2:
        return _untold(f"{count(len(done), 'supernet')} cannot tell it from chance", "two seeds or more")
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
        return _untold(f"{luck}; not compared with the constant prior", "selector prior")
    role = st.generator("prior", case.dataset, case.searcher, case.selector)
    gain = st.bootstrap(gains, st.mean, role, level=1 - limits.alpha)
    test = st.permutation_test(gains, role)
    evidence = (
        f"{gain.value:+.2f} points over the constant prior ({gain.low:+.2f} to {gain.high:+.2f}; sign flips p = "
        f"{test.p:.2g}) on {count(len(gains), 'supernet')}; {luck}"
    )
    if gain.value > 0 and p <= limits.alpha < test.smallest_p:
        evidence += f"; so few that no p below {test.smallest_p:.2g} is possible"
        return Found(
            answer="unknown",
            magnitude=gain.value,
            evidence=evidence,
            needs=(f"{_fewest_alike(limits.alpha)} seeds or more",),
        )
    return _told(gain.value <= 0 or test.p > limits.alpha or p > limits.alpha, gain.value, evidence)


def seed_instability(case: Case, limits: Thresholds) -> Found:
    """Another seed, another result. Magnitude: the standard deviation of true accuracy over seeds (n - 1), in points.

    It is at least `spread` (1 point). Source: [OWN]; in the official table the accuracies of cells with four
    convolutions have a standard deviation of 1.15 points, with five of 0.87 and with six of 0.60, so that a method that
    just avoids collapse stays about there.
    """
    done = _decided(case)
    accuracies = [record.accuracy for record in done if record.accuracy is not None]
    if len(accuracies) < 2:
        return _untold(f"{count(len(accuracies), 'seed')} came to a cell", "two seeds or more")
    evidence = (
        f"{min(accuracies):.2f} to {max(accuracies):.2f} % over {len(accuracies)} seeds, standard deviation "
        f"{stdev(accuracies):.2f} points, {count(len({record.cell for record in done}), 'distinct cell')}"
    )
    return _told(stdev(accuracies) >= limits.spread, stdev(accuracies), evidence)


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
        title="growing, not pruning",
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


def verdicts(run: RunData, dataset: str, limits: Thresholds | None = None) -> list[Verdict]:
    """Every mode's answer about every case of one data set: criteria only, controls are not accused.

    Args:
        run: What was recorded.
        dataset: The images that were searched on.
        limits: Those of the run's grid by default.
    """
    limits = limits or thresholds_of(run)
    cases = {scope: _cases(run, dataset, scope) for scope in ("run", "supernet", "seeds")}
    return [
        Verdict(
            mode=entry.key,
            dataset=dataset,
            searcher=case.searcher,
            selector=case.selector,
            seed=case.seed,
            found=entry.judge(case, limits),
        )
        for entry in MODES
        for case in cases[entry.scope]
    ]


def _cases(run: RunData, dataset: str, scope: str) -> list[Case]:
    records = [record for _, record in run.of(dataset)]
    known = tuple(judged(records, dataset))
    metric = main_metric(records, dataset)
    strength = _true_strength(run, known)
    options = run.header.options.get("selectors", {}) if run.header else {}

    def case(of: RunRecord, runs: Iterable[RunRecord], *, selector: str | None, seed: int | None) -> Case:
        return Case(
            dataset=dataset,
            searcher=of.searcher,
            selector=selector,
            seed=seed,
            runs=tuple(runs),
            others=known,
            epochs=run.epochs.get(of.search, ()) if seed is not None else (),
            diagnostics=run.diagnostics.get(of.search, ()) if seed is not None else (),
            options=options.get(selector, {}),
            strength=strength,
            metric=metric,
        )

    criteria = [record for record in records if record.control is None]
    if scope == "run":
        return [case(record, [record], selector=record.selector, seed=record.seed) for record in criteria]
    if scope == "supernet":
        first = {record.search: record for record in reversed(records)}
        searches = [search for search in run.searches if search.dataset == dataset]
        return [
            case(first[search], (r for r in records if r.search == search), selector=None, seed=search.seed)
            for search in searches
        ]
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for record in criteria:
        groups.setdefault((record.searcher, record.selector), []).append(record)
    return [case(rows[0], rows, selector=selector, seed=None) for (_, selector), rows in groups.items()]


def _true_strength(run: RunData, known: Sequence[RunRecord]) -> tuple[tuple[float, ...], ...] | None:
    """What the control `edge-oracle` recorded of the table: mean accuracies by edge and operation."""
    options = run.header.options.get("selectors", {}) if run.header else {}
    for record in known:
        told = options.get(record.selector, {})
        average = told.get("strength", "average") == "average"
        if record.control == "truth" and average and told.get("method", record.selector) == "edge-oracle":
            scores = record.scores
            if scores is not None and all(score is not None for row in scores for score in row):
                return tuple(tuple(score or 0.0 for score in row) for row in scores)
    return None


def tally(found: Iterable[Verdict]) -> list[Tally]:
    """The verdicts by mode, search method and selector, in order of appearance."""
    groups: dict[tuple[str, str, str, str | None], list[Verdict]] = {}
    for verdict in found:
        key = (verdict.mode, verdict.dataset, verdict.searcher, verdict.selector)
        groups.setdefault(key, []).append(verdict)
    return [_tally(rows) for rows in groups.values()]


def _tally(rows: Sequence[Verdict]) -> Tally:
    first = rows[0]
    answers = [row.answer for row in rows]
    present, absent = answers.count("present"), answers.count("absent")
    magnitudes = [row.found.magnitude for row in rows if row.found.magnitude is not None]
    counted = mode(first.mode).scope != "seeds" and present + absent > 0
    return Tally(
        mode=first.mode,
        dataset=first.dataset,
        searcher=first.searcher,
        selector=first.selector,
        present=present,
        absent=absent,
        unknown=answers.count("unknown"),
        share=st.share(present, present + absent) if counted else None,
        magnitude=median(magnitudes) if magnitudes else None,
        needs=tuple(dict.fromkeys(need for row in rows for need in row.found.needs)),
        verdicts=tuple(rows),
    )


# Shared.


def _cell(case: Case) -> Cell | None:
    decided = _decided(case)
    return Cell.parse(decided[0].cell) if decided and decided[0].cell else None


def _decided(case: Case) -> list[RunRecord]:
    """The choices that came to a cell with an accuracy, by scores that decide."""
    return [record for record in case.runs if record.ok and record.accuracy is not None and not undecided(record)]


def _failed(case: Case) -> Found:
    if any(undecided(record) for record in case.runs):
        return _untold(
            "the best scores are equal on every edge, so that the cell is the tie-break's", "a criterion that decides"
        )
    error = next((record.error for record in case.runs if record.error), "it left no record")
    return _untold(f"the run came to no cell: {error}", "the run again (--retry-failed)")


def _no_epochs() -> Found:
    return _untold("too few epochs are recorded, or without accuracies", "a search of two epochs or more")


def _measured(case: Case, name: str) -> tuple[Mapping[str, Any], Found]:
    """A diagnostic of the trained supernet, or else of the last epoch; and what to answer where it is missing."""
    values = of_trained(case.diagnostics, name)
    if values is None:
        values = next(reversed(by_epoch(case.diagnostics, name).values()), None)
    if values is not None:
        return values, _untold(f"{name} was measured, and came to no number", f"diagnostic {name}")
    error = next((r.error for r in case.diagnostics if r.name == name and r.error), None)
    why = f"{name} failed: {error}" if error else f"{name} was not measured"
    return {}, _untold(why, f"diagnostic {name}")


def strength_agreement(
    scores: Sequence[Sequence[float | None]], strength: Sequence[Sequence[float]]
) -> NDArray[np.float64]:
    """(E,): Spearman's correlation of scores with true strength on each edge; a missing score is the lowest."""
    array = np.array([[-np.inf if score is None else score for score in row] for row in scores], dtype=np.float64)
    return rank_agreement(array, np.asarray(strength, dtype=np.float64))
