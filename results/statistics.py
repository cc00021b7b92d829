"""Statistics for few runs: estimates with intervals, paired tests, ranks. Pure functions of numbers.

The unit is a supernet. Everything random takes a NumPy generator, and is the same for the same one.

- Interquartile mean, percentile bootstrap in strata, probability of improvement: R. Agarwal, M. Schwarzer,
  P. S. Castro, A. Courville, M. G. Bellemare, "Deep Reinforcement Learning at the Edge of the Statistical Precipice",
  NeurIPS 2021, arXiv:2108.13264 (the library rliable).
- Friedman's test with Nemenyi's critical difference: J. Demšar, "Statistical Comparisons of Classifiers over Multiple
  Data Sets", Journal of Machine Learning Research 7 (2006) 1-30.
- Holm's correction: S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
  Statistics 6 (1979) 65-70.
- Exact sign flips: R. A. Fisher's permutation test of paired differences. Wilson's interval: E. B. Wilson (1927).

Differences from rliable: every criterion chooses from the same supernets, so that probabilities of improvement can be
paired; the generator that is given is the one that is drawn from.

**How far to trust a bootstrap of few.** Over 4 normal values a percentile interval of nominally 95 % covers the mean
about 79 times in 100, over 8 values 88 times, over 16 values 92 times, over 40 values 94 times; the interquartile mean
88, 93, 94 and 95 times (4,000 simulations each; tests/test_statistics.py repeats some). So intervals of few supernets
are too short, and a report says so.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb, factorial, sqrt
from statistics import NormalDist
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dartboard.benchmark.errors import InputError

Values: TypeAlias = NDArray[np.float64]
Statistic: TypeAlias = Callable[[Values], Values]
"""(..., n) -> (...): a number made of n units; of each row where there are several."""

LEVEL: Final = 0.95
RESAMPLES: Final = 2000
ROUNDING: Final = 1e-9
"""Of their size: differences and sums that are so near to each other count as equal, for 92.3 - 92.2 is not 0.1."""

EXACT_UP_TO: Final = 16
"""Up to so many differences that are not zero, a permutation test goes through all 2ⁿ signs."""

DRAWN_SIGNS: Final = 20_000
"""Beyond, it draws so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its interval."""

    value: float
    low: float | None  # None: one unit has no interval
    high: float | None
    n: int  # units: supernets, unless said otherwise
    level: float = LEVEL

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return self.low is not None

    def above(self, bound: float) -> bool:
        """Whether the whole interval lies above `bound`."""
        return self.low is not None and self.low > bound

    def below(self, bound: float) -> bool:
        """Whether the whole interval lies below `bound`."""
        return self.high is not None and self.high < bound


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """A two-sided test that paired differences are symmetric about zero."""

    p: float
    smallest_p: float  # that any data of as many differences other than zero could have had
    n: int  # pairs
    zeros: int  # of which equal
    method: str  # "exact" or "20,000 drawn signs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Friedman's test of k treatments on the same n blocks, and Nemenyi's comparison of all pairs."""

    ranks: tuple[float, ...]  # (k,): the mean over blocks; 1 is the best
    statistic: float  # Friedman's chi-squared, corrected for ties
    p: float
    critical_difference: float  # of mean ranks, at `alpha`; equal to or more than it differs
    pairs: tuple[tuple[float, ...], ...]  # (k, k): Nemenyi's p of each pair
    cliques: tuple[tuple[int, ...], ...]  # the largest sets that are not told apart, best first; of two or more
    n: int
    k: int
    alpha: float


def generator(*names: object) -> np.random.Generator:
    """A generator for the role that `names` tell, the same on every machine."""
    return np.random.default_rng(zlib.crc32("\0".join(map(str, names)).encode()))


# Statistics of n units, along the last axis.


def mean(values: Values) -> Values:
    """(...): the mean over the last axis of (..., n)."""
    return np.asarray(values.mean(axis=-1))


def interquartile_mean(values: Values) -> Values:
    """(...): the mean of what is left of (..., n) without the ⌊n/4⌋ lowest and the ⌊n/4⌋ highest.

    As `scipy.stats.trim_mean` and rliable have it: with fewer than four values it is the mean.
    """
    ordered = np.sort(values, axis=-1)
    cut = values.shape[-1] // 4
    return np.asarray(ordered[..., cut : values.shape[-1] - cut].mean(axis=-1))


def ratio(values: Values) -> Values:
    """(...): of (2, ..., n), the sum of the first row over that of the second; 0 where that is 0."""
    above, below = values.sum(axis=-1)
    return np.asarray(np.divide(above, below, out=np.zeros_like(above), where=below != 0))


# Estimates.


def bootstrap(
    values: ArrayLike,
    statistic: Statistic,
    generator: np.random.Generator,
    *,
    strata: Sequence[object] | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Estimate:
    """A statistic of n units with its percentile interval, by resampling the units with replacement.

    Args:
        values: (n,), or (k, n) where the statistic is of k numbers a unit, which stay together.
        statistic: Called with (n,) or (k, n), then with (resamples, n) or (k, resamples, n).
        generator: What is drawn from.
        strata: n labels: units are resampled within equals, so that each resample has as many of each; among all where
            one stands alone, for a unit that is resampled within itself never varies.
        level: The share of the middle.
        resamples: How many are drawn.

    Raises:
        InputError: without values, or with one that is not finite.
    """
    array = _finite(values)
    n = array.shape[-1]
    value = float(statistic(array))
    if n < 2:
        return Estimate(value=value, low=None, high=None, n=n, level=level)
    labels = list(strata) if strata is not None else [None] * n
    if len(labels) != n:
        raise InputError(f"one stratum for each of {n} values, please; got {len(labels)}")
    if 1 in Counter(labels).values():
        labels = [None] * n
    places = np.empty((resamples, n), dtype=np.int64)
    for label in dict.fromkeys(labels):
        mine = np.array([place for place, other in enumerate(labels) if other == label])
        places[:, mine] = generator.choice(mine, size=(resamples, len(mine)))
    drawn = statistic(array[..., places])
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value=value, low=float(low), high=float(high), n=n, level=level)


def share(successes: float, n: int, *, level: float = LEVEL) -> Estimate:
    """A share of n with Wilson's interval, which has a width even where all or none succeed.

    Args:
        successes: 0 to n; halves, as for equal pairs, make the interval too wide rather than too short.
        n: At least 1.
        level: The nominal coverage.

    Raises:
        InputError: when they are no share.
    """
    if n < 1 or not 0 <= successes <= n:
        raise InputError(f"a share is of so many out of at least one; got {successes} of {n}")
    p, z = successes / n, NormalDist().inv_cdf((1 + level) / 2)
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    width = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    low = 0.0 if successes == 0 else middle - width
    high = 1.0 if successes == n else middle + width
    return Estimate(value=p, low=low, high=high, n=n, level=level)


def paired_improvement(differences: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """How often a paired difference is above zero, an equal pair counting half, with Wilson's interval.

    The paired form of Agarwal et al.'s P(X > Y) + P(X = Y) / 2: both chose from the same supernets. (A bootstrap of a
    share of 1 would have an interval without width, however few they are.)

    Raises:
        InputError: without differences, or with one that is not finite.
    """
    array = _finite(differences)
    return share(float((array > 0).sum() + 0.5 * (array == 0).sum()), len(array), level=level)


# Tests.


def permutation_test(differences: ArrayLike, generator: np.random.Generator) -> PairedTest:
    """Whether paired differences have a mean other than zero, by flipping their signs.

    Under the hypothesis each difference is as likely to have had the other sign. p is the share of all 2ⁿ choices of
    signs whose sum is at least as far from zero, so that it is never below 2 / 2ⁿ. Beyond `EXACT_UP_TO` differences
    that are not zero (a zero's sign changes nothing), `DRAWN_SIGNS` choices are drawn, and p = (1 + as far) / (1 +
    drawn).

    Raises:
        InputError: without differences, or with one that is not finite.
    """
    array = _finite(differences)
    nonzero = array[array != 0]
    n = len(nonzero)
    zeros = len(array) - n
    if n == 0:
        return PairedTest(p=1.0, smallest_p=1.0, n=len(array), zeros=zeros, method="exact")
    far = abs(nonzero.sum()) - ROUNDING * np.abs(nonzero).sum()
    if n <= EXACT_UP_TO:
        signs = 1 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
        p = float((np.abs(signs @ nonzero) >= far).mean())
        return PairedTest(p=p, smallest_p=2.0 ** (1 - n), n=len(array), zeros=zeros, method="exact")
    sums = (generator.integers(0, 2, (DRAWN_SIGNS, n)) * 2.0 - 1) @ nonzero
    p = (1 + int((np.abs(sums) >= far).sum())) / (1 + DRAWN_SIGNS)
    smallest = 1 / (1 + DRAWN_SIGNS)
    return PairedTest(p=p, smallest_p=smallest, n=len(array), zeros=zeros, method=f"{DRAWN_SIGNS:,} drawn signs")


def wilcoxon(differences: ArrayLike, generator: np.random.Generator) -> PairedTest:
    """Wilcoxon's signed-rank test: the permutation test of the differences' signed ranks, zeros left out.

    Exact with ties, too, up to `EXACT_UP_TO` differences that are not zero; equals, but for `ROUNDING`, share the mean
    of their ranks.

    Raises:
        InputError: without differences, or with one that is not finite.
    """
    from scipy.stats import rankdata

    array = _finite(differences)
    nonzero = array[array != 0]
    signed = np.zeros_like(array)
    sizes = np.abs(nonzero)
    signed[array != 0] = np.sign(nonzero) * rankdata(np.round(sizes / (ROUNDING * sizes.max(initial=1e-300))))
    return permutation_test(signed, generator)


def chance_test(percentiles: ArrayLike) -> float:
    """P that as many cells drawn at random have a mean percentile at least as high.

    A random cell's percentile is uniform, but for ties, so that the sum of n follows the law of Irwin and Hall:
    P(sum <= x) = Σ_k (-1)ᵏ C(n, k) (x - k)ⁿ / n! over k <= x. In fractions, exactly; beyond 40 by the normal law.

    Args:
        percentiles: (n,), 0 to 100.

    Raises:
        InputError: without values, or with one that is not finite.
    """
    array = _finite(percentiles) / 100
    n = len(array)
    if n > 40:
        return NormalDist(n / 2, sqrt(n / 12)).cdf(n - float(array.sum()))
    rest = n - sum(Fraction(float(value)) for value in array)  # by symmetry, P(sum >= x) = P(sum <= n - x)
    terms = ((-1) ** k * comb(n, k) * (rest - k) ** n for k in range(n + 1) if k <= rest)
    return float(sum(terms, Fraction(0)) / factorial(n))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """The p values, corrected for their number: below α, all such are true together but for a chance of α.

    p₍ᵢ₎ becomes the largest of (m - j + 1) p₍ⱼ₎ over j <= i, at most 1 (Holm 1979).
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[i]))
        corrected[i] = highest
    return tuple(corrected)


def friedman(table: ArrayLike, *, alpha: float = 0.05) -> Ranking:
    """Rank k treatments on each of n blocks, and tell which mean ranks differ (Demšar 2006).

    χ² = 12 n / (k (k + 1)) Σ_j (R_j - (k + 1) / 2)², divided by 1 - Σ (t³ - t) / (n (k³ - k)) over groups of t equals;
    the critical difference is q_α √(k (k + 1) / 6 n), with q_α the studentised range's quantile over √2.

    Args:
        table: (n, k): larger is better; no value may be missing.
        alpha: Of the critical difference.

    Raises:
        InputError: with fewer than two blocks or treatments, or a value that is not finite.
    """
    from scipy import stats

    array = _finite(table)
    if array.ndim != 2 or min(array.shape) < 2:
        raise InputError(f"ranking takes two blocks and two treatments at least; got the shape {array.shape}")
    n, k = array.shape
    ranks = stats.rankdata(-array, axis=1)  # (n, k)
    means = ranks.mean(axis=0)
    ties = sum(float((t**3 - t).sum()) for row in ranks for t in [np.unique(row, return_counts=True)[1]])
    untied = 1 - ties / (n * (k**3 - k))
    scatter = 12 * n / (k * (k + 1)) * float(np.square(means - (k + 1) / 2).sum())
    statistic = scatter / untied if untied > 0 else 0.0
    unit = np.sqrt(k * (k + 1) / (6 * n))
    apart = np.abs(means[:, None] - means[None, :]) / unit
    pairs = np.clip(stats.studentized_range.sf(apart * np.sqrt(2), k, np.inf), 0, 1)
    pairs[apart == 0] = 1.0
    critical = float(stats.studentized_range.ppf(1 - alpha, k, np.inf) / np.sqrt(2) * unit)
    return Ranking(
        ranks=tuple(means.tolist()),
        statistic=statistic,
        p=float(stats.chi2.sf(statistic, k - 1)),
        critical_difference=critical,
        pairs=tuple(tuple(row) for row in pairs.tolist()),
        cliques=_cliques(means, critical),
        n=n,
        k=k,
        alpha=alpha,
    )


def _cliques(means: Values, critical: float) -> tuple[tuple[int, ...], ...]:
    """The largest sets of neighbours in rank whose ends are closer than the critical difference."""
    order = np.argsort(means, kind="stable").tolist()
    cliques: list[tuple[int, ...]] = []
    for first in range(len(order)):
        members = [i for i in order[first:] if means[i] - means[order[first]] < critical]
        if len(members) > 1 and not any(set(members) <= set(clique) for clique in cliques):
            cliques.append(tuple(members))
    return tuple(cliques)


def _finite(values: ArrayLike) -> Values:
    array = np.asarray(values, dtype=np.float64)
    if not array.size:
        raise InputError("no values, and so nothing to say about them")
    if not np.isfinite(array).all():
        raise InputError(f"values that are not finite tell nothing: {array.tolist()}")
    return array
