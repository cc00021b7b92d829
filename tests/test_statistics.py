"""Statistics for few runs. Truth: closed forms, brute force over resamples, simulation, SciPy and scikit-posthocs."""

from __future__ import annotations

from itertools import product
from math import sqrt

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as some

from dartboard.benchmark.errors import InputError
from dartboard.results import statistics as st


def rng(seed: int = 0) -> np.random.Generator:
    """A generator."""
    return np.random.default_rng(seed)


# Means.


def test_the_interquartile_mean_by_hand() -> None:
    """Of 1, 2, 3, 4, 5, 6, 7, 100 the two lowest and the two highest go, and 3, 4, 5, 6 have the mean 4.5."""
    assert st.interquartile_mean(np.array([100.0, 1, 2, 3, 4, 5, 6, 7])) == 4.5


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 13])
def test_the_interquartile_mean_is_scipys(n: int) -> None:
    """It is SciPy's mean trimmed by a quarter at each end, row by row."""
    values = rng(n).normal(size=(5, n))
    np.testing.assert_allclose(
        st.interquartile_mean(values), scipy.stats.trim_mean(values, 0.25, axis=1), rtol=1e-13, atol=1e-15
    )


def test_a_ratio_is_of_sums() -> None:
    """(1 + 2) / (2 + 4), not the mean of the ratios; nothing over nothing is 0."""
    assert st.ratio(np.array([[1.0, 2.0], [2.0, 4.0]])) == 0.5
    assert st.ratio(np.zeros((2, 3))) == 0


# The bootstrap.


def test_the_interval_is_that_of_all_resamples() -> None:
    """Of three values there are 27 resamples; the percentiles of many drawn ones are those of all 27.

    The 10th percentile is among the means of 1/3 (ranks 2 to 4 of 27), the 90th among those of 11/3 (24 to 26).
    """
    values = [0.0, 1.0, 5.0]
    means = sorted(np.mean(sample) for sample in product(values, repeat=3))
    found = st.bootstrap(values, st.mean, rng(), level=0.80, resamples=100_000)
    low, high = np.quantile(means, [0.1, 0.9], method="inverted_cdf")
    assert (found.value, found.low, found.high, found.n) == (2.0, pytest.approx(low), pytest.approx(high), 3)


def test_strata_are_resampled_within() -> None:
    """With two of one kind and two of another there are 3 * 3 resamples, each of which has two of each kind."""
    seen = set()

    def spy(values: st.Values) -> st.Values:
        seen.update(tuple(sorted(row)) for row in np.atleast_2d(values).tolist())
        return np.asarray(values.mean(axis=-1))

    st.bootstrap([1.0, 2.0, 8.0, 9.0], spy, rng(), strata=["a", "a", "b", "b"])
    assert seen == {(a, b, c, d) for a, b in ((1, 1), (1, 2), (2, 2)) for c, d in ((8, 8), (8, 9), (9, 9))}


def test_a_unit_that_stands_alone_still_varies() -> None:
    """One seed of each of four methods has the interval of four units, not one without width."""
    values = [1.0, 2.0, 9.0, 4.0]
    for strata in (["a", "b", "c", "d"], ["a", "a", "b", "b2"]):
        assert st.bootstrap(values, st.mean, rng(), strata=strata) == st.bootstrap(values, st.mean, rng())


def test_several_numbers_of_a_unit_stay_together() -> None:
    """A ratio of proportional rows has an interval without width, however it is resampled."""
    found = st.bootstrap([[1.0, 2.0, 3.0, 7.0], [2.0, 4.0, 6.0, 14.0]], st.ratio, rng())
    assert (found.value, found.low, found.high, found.n) == (0.5, pytest.approx(0.5), pytest.approx(0.5), 4)


def test_the_bootstrap_draws_from_its_generator_alone() -> None:
    """The same generator gives the same interval, another one another, and NumPy's global state is left alone."""
    values = rng(1).normal(size=10)
    before = np.random.get_state()[1].copy()  # noqa: NPY002  (the global state is what must not move)
    first, same, other = (st.bootstrap(values, st.mean, rng(seed)) for seed in (3, 3, 4))
    assert first == same
    assert (first.low, first.high) != (other.low, other.high)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_the_bootstrap_agrees_with_scipys() -> None:
    """SciPy's percentile interval of the same values is the same but for the draws."""
    values = rng(2).exponential(size=30)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=rng(5)
    ).confidence_interval
    ours = st.bootstrap(values, st.mean, rng(6), resamples=20_000)
    # A percentile of 20,000 resamples has a standard error of sqrt(0.025 * 0.975 / 20000) / density, about 0.004 here.
    assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=0.03), pytest.approx(theirs.high, abs=0.03))


@pytest.mark.parametrize(("n", "expected"), [(4, 0.79), (16, 0.92), (40, 0.94)])
def test_the_coverage_is_as_documented(n: int, expected: float) -> None:
    """Percentile intervals of nominally 95 % cover the mean of n normal values as often as the docstring says.

    800 simulations: a standard error of at most 0.0144; four of them are allowed.
    """
    generator = rng(n)
    found = [st.bootstrap(generator.normal(size=n), st.mean, generator, resamples=300) for _ in range(800)]
    covered = np.mean([(e.low or 0) <= 0 <= (e.high or 0) for e in found])
    assert covered == pytest.approx(expected, abs=4 * sqrt(expected * (1 - expected) / 800))


def test_one_value_has_no_interval() -> None:
    """One supernet has a number and no interval, and lies neither above nor below anything."""
    alone = st.bootstrap([93.0], st.mean, rng())
    assert (alone.value, alone.low, alone.high, alone.n, alone.known) == (93.0, None, None, 1, False)
    assert not alone.above(0)
    assert not alone.below(100)


def test_equal_values_have_an_interval_without_width() -> None:
    """However a constant is resampled, it stays one."""
    found = st.bootstrap([5.0, 5.0, 5.0], st.interquartile_mean, rng())
    assert (found.low, found.high) == (5.0, 5.0)
    assert found.above(4.9)
    assert not found.above(5.0)
    assert found.below(5.1)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_what_is_no_number_is_refused(values: list[float]) -> None:
    """Nothing, NaN and infinity have no statistics."""
    with pytest.raises(InputError):
        st.bootstrap(values, st.mean, rng())
    with pytest.raises(InputError):
        st.permutation_test(values, rng())


def test_strata_must_match() -> None:
    """Labels of another number are quoted."""
    with pytest.raises(InputError, match="got 1"):
        st.bootstrap([1.0, 2.0], st.mean, rng(), strata=["a"])


def test_a_name_is_a_generator() -> None:
    """The same names give the same draws, others give others."""
    assert st.generator("a", 1).random() == st.generator("a", 1).random()
    assert st.generator("a", 1).random() != st.generator("a1").random()


# Improvement.


def test_a_paired_improvement_counts_equals_half() -> None:
    """Of four differences two are above zero and one is zero: 2.5 / 4; a few wins are no certainty."""
    assert st.paired_improvement([1.0, 2.0, 0.0, -1.0]).value == 0.625
    every = st.paired_improvement([1.0, 2.0, 3.0, 4.0])
    assert (every.value, every.high) == (1.0, 1.0)
    assert every.low == pytest.approx(0.5101, abs=1e-4)  # 1 / (1 + 1.96² / 4)


@given(n=some.integers(1, 60), part=some.floats(0, 1), level=some.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=60, deadline=None)
def test_the_interval_of_a_share_is_scipys(n: int, part: float, level: float) -> None:
    """Wilson's interval is that of SciPy's binomial test."""
    k = round(part * n)
    ours = st.share(k, n, level=level)
    theirs = scipy.stats.binomtest(k, n).proportion_ci(confidence_level=level, method="wilson")
    assert ours.value == k / n
    assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=1e-12), pytest.approx(theirs.high, abs=1e-12))


@pytest.mark.parametrize(("k", "n"), [(1, 0), (-1, 3), (4, 3)])
def test_what_is_no_share_is_refused(k: int, n: int) -> None:
    """More than all, less than none, and a share of nothing."""
    with pytest.raises(InputError, match=f"got {k} of {n}"):
        st.share(k, n)


# Tests.


@given(some.lists(some.integers(-6, 6).map(float), min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
def test_the_permutation_test_is_that_of_all_signs(differences: list[float]) -> None:
    """p is the share of all sign choices whose mean is at least as far from zero, zeros and ties included."""
    sizes = [abs(value) for value in differences]
    sums = [abs(sum(s * v for s, v in zip(signs, sizes, strict=True))) for signs in product((1, -1), repeat=len(sizes))]
    expected = np.mean([value >= abs(sum(differences)) - 1e-9 for value in sums])
    found = st.permutation_test(differences, rng())
    assert found.p == pytest.approx(expected, abs=1e-12)
    assert found.method == "exact"
    assert found.zeros == differences.count(0.0)
    assert found.p >= found.smallest_p


def test_the_permutation_test_is_scipys() -> None:
    """SciPy's permutation test of paired samples has the same p."""
    ours, theirs = rng(7).normal(0.5, 1, 10), rng(8).normal(size=10)
    expected = scipy.stats.permutation_test(
        (ours, theirs),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    assert st.permutation_test(ours - theirs, rng()).p == pytest.approx(expected.pvalue, rel=1e-12)


def test_four_supernets_cannot_be_significant() -> None:
    """With four differences no p is below 2 / 2⁴, however large they are."""
    found = st.permutation_test([9.0, 90.0, 900.0, 1.0], rng())
    assert (found.p, found.smallest_p) == (0.125, 0.125)


def test_beyond_sixteen_signs_are_drawn() -> None:
    """Of 40 differences p is drawn, and within the error of 20,000 draws that of the normal law."""
    differences = rng(9).normal(0.3, 1, 40)
    found = st.permutation_test(differences, rng())
    z = abs(differences.sum()) / sqrt(np.square(differences).sum())
    assert found.method == "20,000 drawn signs"
    assert found.smallest_p == pytest.approx(1 / 20_001)
    # The normal law is off by O(1/n); the draws by sqrt(0.25 / 20,000) = 0.0035 at most.
    assert found.p == pytest.approx(2 * scipy.stats.norm.sf(z), abs=0.015)
    assert found == st.permutation_test(differences, rng())


def test_rounding_tells_no_sums_and_no_ranks_apart() -> None:
    """Differences of accuracies are tenths but for rounding: p is that of the whole numbers of tenths.

    Of -3, 5, -2, -3, 7 and -4 tenths the sum is 0, which no choice of signs is nearer to: p = 1.
    """
    rng = st.generator("unused")
    ours, theirs = (62.05, 17.56, 79.74, 75.82, 30.81, 83.22), (62.35, 17.06, 79.94, 76.12, 30.11, 83.62)
    assert st.permutation_test(np.subtract(ours, theirs), rng).p == 1.0
    tenths = np.array([3, -1, 4, 1, -5, 9, 2, -6, 5, 3])
    bases = np.array([90.1, 54.3, 10.0, 71.17, 93.76, 33.3, 47.31, 84.07, 60.6, 12.34])
    differences = bases + tenths / 10 - bases
    signs = np.array(list(product((-1, 1), repeat=len(tenths))))
    twice_ranks = (2 * np.sign(tenths) * scipy.stats.rankdata(np.abs(tenths))).astype(int)
    for test, whole in ((st.permutation_test, tenths), (st.wilcoxon, twice_ranks)):
        assert test(differences, rng).p == (np.abs(signs @ whole) >= abs(whole.sum())).mean()


def test_wilcoxons_test_is_scipys() -> None:
    """Without ties it is SciPy's exact test; zeros are left out, as its default has it."""
    differences = np.array([1.2, -0.3, 2.5, 0.7, -0.1, 3.1, 0.9, 1.7])
    expected = scipy.stats.wilcoxon(differences, method="exact").pvalue
    assert st.wilcoxon(differences, rng()).p == pytest.approx(expected, rel=1e-12)
    assert st.wilcoxon([*differences, 0.0], rng()).p == pytest.approx(expected, rel=1e-12)
    assert st.wilcoxon([*differences, 0.0], rng()).zeros == 1


def test_wilcoxons_test_with_ties_by_hand() -> None:
    """Of 1, 1 and -1 all ranks are 2; of the 8 signed sums ±2 ± 2 ± 2 all are at least 2 from zero, as ours is."""
    assert st.wilcoxon([1.0, 1.0, -1.0], rng()).p == 1.0


def test_only_equal_pairs_tell_nothing() -> None:
    """If all differences are zero, p is 1."""
    for test in (st.permutation_test, st.wilcoxon):
        found = test([0.0, 0.0], rng())
        assert (found.p, found.smallest_p, found.n, found.zeros) == (1.0, 1.0, 2, 2)


def test_random_cells_are_told_by_the_law_of_irwin_and_hall() -> None:
    """A percentile of 80 has the chance 0.2; two that add up to 170 have the triangle's (2 - 1.7)² / 2."""
    assert st.chance_test([80.0]) == pytest.approx(0.2, rel=1e-12)
    assert st.chance_test([75.0, 95.0]) == pytest.approx(0.3**2 / 2, rel=1e-12)
    assert st.chance_test([50.0] * 7) == pytest.approx(0.5, rel=1e-12)
    assert st.chance_test([100.0] * 5) == 0.0
    assert st.chance_test([0.0] * 5) == 1.0


def test_the_chance_of_many_is_continued_by_the_normal_law() -> None:
    """At 40 percentiles the exact law is within 0.001 of the normal one that is used beyond."""
    percentiles = np.linspace(20, 95, 40)
    normal = scipy.stats.norm.sf(percentiles.sum() / 100, 20, sqrt(40 / 12))
    assert st.chance_test(percentiles) == pytest.approx(normal, abs=1e-3)
    assert st.chance_test([*percentiles, 57.0]) == pytest.approx(
        scipy.stats.norm.sf((percentiles.sum() + 57) / 100, 20.5, sqrt(41 / 12)), rel=1e-9
    )


def test_holms_correction_by_hand() -> None:
    """Of 0.01, 0.04, 0.03: 3 * 0.01, then 2 * 0.03, and 0.04 may not be below that; it never exceeds 1."""
    assert st.holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert st.holm([0.7, 0.6]) == (1.0, 1.0)
    assert st.holm([]) == ()


# Ranks.


def test_friedmans_test_is_scipys_with_ties() -> None:
    """The statistic and its p are SciPy's, for a table with ties; the best has the lowest mean rank."""
    table = rng(11).integers(0, 4, (9, 5)).astype(float)
    table[:, 2] += 3
    found = st.friedman(table)
    expected = scipy.stats.friedmanchisquare(*table.T)
    assert (found.statistic, found.p) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))
    assert min(found.ranks) == found.ranks[2]
    assert sum(found.ranks) == pytest.approx(15)


def test_nemenyis_test_is_that_of_scikit_posthocs() -> None:
    """The p of every pair is that of the independent library."""
    posthocs = pytest.importorskip("scikit_posthocs")
    table = rng(12).normal(size=(8, 6))
    np.testing.assert_allclose(st.friedman(table).pairs, posthocs.posthoc_nemenyi_friedman(table).to_numpy(), atol=1e-9)


@pytest.mark.parametrize(
    ("k", "alpha", "q"), [(2, 0.05, 1.960), (3, 0.05, 2.344), (5, 0.05, 2.728), (10, 0.05, 3.164), (5, 0.10, 2.460)]
)
def test_the_critical_difference_is_the_published_one(k: int, alpha: float, q: float) -> None:
    """Over √(k (k + 1) / 6 n) it is the critical value in the tables of Nemenyi's test."""
    found = st.friedman(rng(k).normal(size=(7, k)), alpha=alpha)
    unit = sqrt(k * (k + 1) / 42)
    # The published tables differ from the quantile by up to 0.001: they are computed from rounded ones.
    assert found.critical_difference == pytest.approx(q * unit, abs=1e-3 * unit + 1e-9)


def test_cliques_are_the_largest_sets_not_told_apart() -> None:
    """On 12 blocks, always ranked alike, four treatments 1 apart and a critical difference of 1.35 make three pairs."""
    found = st.friedman(np.tile([1.0, 4.0, 2.0, 3.0], (12, 1)))
    assert found.ranks == (4.0, 1.0, 3.0, 2.0)
    assert found.critical_difference == pytest.approx(2.569 * sqrt(4 * 5 / 72), abs=1e-3)
    assert found.cliques == ((1, 3), (3, 2), (2, 0))


def test_a_table_of_equals_is_no_difference() -> None:
    """If all treatments are always equal, they share the middle rank, p is 1, and all are one clique."""
    found = st.friedman(np.full((3, 4), 90.0))
    assert found.ranks == (2.5,) * 4
    assert (found.statistic, found.p) == (0.0, 1.0)
    assert found.cliques == ((0, 1, 2, 3),)
    assert {p for row in found.pairs for p in row} == {1.0}


def test_ranking_takes_two_and_two() -> None:
    """One block or one treatment is refused."""
    for table in (np.ones((1, 3)), np.ones((3, 1)), np.ones(3)):
        with pytest.raises(InputError, match="two blocks"):
            st.friedman(table)
