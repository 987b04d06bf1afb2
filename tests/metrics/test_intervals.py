"""Intervals against scipy, their properties, coverage, and the cases that have none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jaxtyping import Float
from scipy.stats import bootstrap, permutation_test

from understudy.metrics.intervals import (
    Interval,
    SeedSpread,
    holm,
    mean_intervals,
    paired_differences,
    resampled_means,
    seed_spread,
)

Scores = Float[np.ndarray, "items columns"]
SCORES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 30), st.integers(1, 4)),
    elements=st.floats(0, 1, width=32),
)


def random_scores(num_items: int, num_columns: int, seed: int = 0) -> Scores:
    """Scores between 0 and 1."""
    return np.random.default_rng(seed).random((num_items, num_columns))


def mean(column: Float[np.ndarray, " items"], axis: int) -> Float[np.ndarray, " ..."]:
    """The statistic, as scipy's documentation writes it."""
    return np.asarray(column.mean(axis=axis))


def test_interval_is_that_of_scipy_on_the_items_that_count() -> None:
    """Same seed, same resamples: each column equals scipy's bootstrap of its defined scores."""
    scores = random_scores(40, 3)
    scores[5:25, 1] = np.nan
    for column, interval in zip(scores.T, mean_intervals(scores, seed=7), strict=True):
        defined = column[~np.isnan(column)]
        oracle = bootstrap(
            (defined,),
            mean,
            vectorized=True,
            n_resamples=10_000,
            method="percentile",
            rng=np.random.default_rng(7),
        ).confidence_interval
        assert interval.n == len(defined)
        assert interval.mean == pytest.approx(defined.mean(), abs=1e-12)
        assert (interval.low, interval.high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


def test_batches_do_not_change_the_interval() -> None:
    """A column long enough for many batches equals scipy's one."""
    column = random_scores(5_000, 1)
    interval = mean_intervals(column, num_resamples=1_000)[0]
    oracle = bootstrap(
        (column[:, 0],),
        mean,
        vectorized=True,
        n_resamples=1_000,
        batch=209,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert (interval.low, interval.high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


def test_columns_with_other_items_do_not_change_a_column() -> None:
    """A column's interval depends on nothing but its own defined scores."""
    scores = random_scores(50, 3)
    scores[::2, 0] = np.nan
    scores[10:, 2] = np.nan
    together = mean_intervals(scores)
    assert together[0].low == pytest.approx(mean_intervals(scores[1::2, :1])[0].low, abs=1e-12)
    assert together[2].high == pytest.approx(mean_intervals(scores[:10, 2:])[0].high, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(scores=SCORES, shift=st.floats(-5, 5), scale=st.floats(0.1, 10))
def test_intervals_move_and_stretch_with_the_scores(
    scores: Scores, shift: float, scale: float
) -> None:
    """An affine change of all scores changes mean and interval in the same way."""
    before = mean_intervals(scores, num_resamples=200)
    after = mean_intervals(scale * scores + shift, num_resamples=200)
    for old, new in zip(before, after, strict=True):
        assert old.mean is not None
        assert old.low is not None
        assert old.high is not None
        moved = [scale * value + shift for value in (old.mean, old.low, old.high)]
        assert [new.mean, new.low, new.high] == pytest.approx(moved, abs=1e-9)
        assert old.low - 1e-12 <= old.mean <= old.high + 1e-12


def test_order_of_items_does_not_matter_beyond_resampling_noise() -> None:
    """Shuffled items keep the mean and, to the noise of 10,000 draws, the interval."""
    scores = random_scores(200, 2)
    shuffled = scores[np.random.default_rng(1).permutation(200)]
    for one, other in zip(mean_intervals(scores), mean_intervals(shuffled), strict=True):
        assert one.mean == pytest.approx(other.mean, abs=1e-12)
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.003)


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, -3.7])
def test_a_constant_column_has_the_constant_as_its_interval(constant: float) -> None:
    """Exactly, without a warning: all right is [1, 1]."""
    interval = mean_intervals(np.full((7, 1), constant))[0]
    assert interval == Interval(constant, constant, constant, 7)


def test_few_items_have_no_interval_and_say_why() -> None:
    """None: no mean either. One: a mean. Two: an interval."""
    nan = np.nan
    scores = np.array([[nan, 0.5, 0.0], [nan, nan, 1.0], [nan, nan, nan]])
    assert mean_intervals(scores) == [
        Interval(None, None, None, 0, "no item has a score"),
        Interval(0.5, None, None, 1, "one item gives no interval"),
        Interval(0.5, 0.0, 1.0, 2),
    ]
    assert mean_intervals(np.empty((0, 1)))[0].reason == "no item has a score"
    assert mean_intervals(np.empty((3, 0))) == []


def test_infinite_scores_are_refused() -> None:
    """They would make every resample undefined."""
    with pytest.raises(ValueError, match="item 1 in column 0 is infinite"):
        mean_intervals(np.array([[0.0], [np.inf]]))


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """300 samples of 100 coin flips in one call: 95 % up to the percentile method's known lack."""
    flips = np.random.default_rng(3).binomial(1, 0.6, (100, 300)).astype(np.float64)
    intervals = mean_intervals(flips, num_resamples=2_000)
    covered = [
        interval.low is not None
        and interval.high is not None
        and interval.low <= 0.6 <= interval.high
        for interval in intervals
    ]
    assert 0.90 <= np.mean(covered) <= 0.985


def test_paired_difference_is_the_interval_of_the_differences() -> None:
    """Items that either side lacks do not count; a shared item effect cancels."""
    easy = random_scores(60, 1)
    first, second = easy + 0.2, easy.copy()
    second[:10] = np.nan
    first[50:] = np.nan
    difference = paired_differences(first, second)[0]
    assert difference.n == 40
    assert (difference.mean, difference.low, difference.high) == pytest.approx((0.2, 0.2, 0.2))
    assert difference.p_value == pytest.approx(1 / 10_001)


def test_differences_of_swapped_sides_are_mirrored() -> None:
    """The second arm against the first is the same claim with the other sign."""
    first, second = random_scores(80, 2, seed=1), random_scores(80, 2, seed=2)
    there, back = paired_differences(first, second), paired_differences(second, first)
    for one, other in zip(there, back, strict=True):
        assert other.mean == pytest.approx(-one.mean if one.mean is not None else None)
        assert one.p_value == other.p_value


@pytest.mark.parametrize("num_items", [2, 5, 10, 13])
def test_exact_p_value_is_that_of_scipy(num_items: int) -> None:
    """Up to 13 items every flip is counted once, by both."""
    differences = random_scores(num_items, 1, seed=num_items) - 0.4
    p_value = paired_differences(differences, np.zeros_like(differences))[0].p_value
    oracle = permutation_test(
        (differences[:, 0],), mean, permutation_type="samples", vectorized=True, n_resamples=10_000
    )
    assert p_value == pytest.approx(float(oracle.pvalue), abs=1e-12)


def test_drawn_p_value_agrees_with_scipy() -> None:
    """Beyond 13 items both draw: equal to the noise of 10,000 draws."""
    differences = random_scores(40, 1, seed=5) - 0.43
    p_value = paired_differences(differences, np.zeros_like(differences))[0].p_value
    oracle = permutation_test(
        (differences[:, 0],),
        mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=10_000,
        rng=np.random.default_rng(1),
    )
    assert 0.01 < float(oracle.pvalue) < 0.5
    assert p_value == pytest.approx(float(oracle.pvalue), abs=0.02)


def test_p_values_of_no_effect_are_uniform() -> None:
    """A share alpha of 400 null columns has a p-value below alpha, to three standard errors."""
    noise = np.random.default_rng(9).normal(size=(30, 400))
    p_values = [
        difference.p_value
        for difference in paired_differences(noise, np.zeros_like(noise), num_resamples=2_000)
    ]
    for alpha in (0.05, 0.5):
        share = np.mean([p_value is not None and p_value <= alpha for p_value in p_values])
        assert abs(share - alpha) < 3 * (alpha * (1 - alpha) / 400) ** 0.5


def test_equal_arms_differ_by_nothing() -> None:
    """Interval [0, 0] and p = 1; without common items all is null with a reason."""
    scores = random_scores(30, 1)
    same = paired_differences(scores, scores)[0]
    assert (same.mean, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    apart = paired_differences(np.array([[1.0], [np.nan]]), np.array([[np.nan], [1.0]]))[0]
    assert (apart.mean, apart.p_value, apart.n) == (None, None, 0)
    assert apart.reason == "no item has a score"


def test_holm_by_hand() -> None:
    """Ordered p times 3, 2, 1, made monotone and capped; nulls are left out of the count."""
    assert holm([0.03, None, 0.01, 0.04]) == pytest.approx([0.06, None, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([None, None]) == [None, None]
    assert holm([]) == []


def test_seed_spread_leaves_out_the_undefined() -> None:
    """One seed has extremes and no deviation; none has nothing."""
    assert seed_spread([1.0, 5.0, None, 3.0]) == SeedSpread(1.0, 5.0, 2.0, 3)
    assert seed_spread([2.0]) == SeedSpread(2.0, 2.0, None, 1)
    assert seed_spread([None]) == SeedSpread(None, None, None, 0)


def test_resampled_means_are_those_that_intervals_are_percentiles_of() -> None:
    scores = random_scores(30, 2)
    means = resampled_means(scores, num_resamples=400)
    assert means.shape == (2, 400)
    low, high = np.percentile(means, [2.5, 97.5], axis=1)
    intervals = mean_intervals(scores, num_resamples=400)
    assert [one.low for one in intervals] == pytest.approx(low)
    assert [one.high for one in intervals] == pytest.approx(high)
    for unfit in (scores[:1], np.where(scores == scores[0, 0], np.nan, scores)):
        with pytest.raises(ValueError, match="two items or more, all with finite scores"):
            resampled_means(unfit)
