"""Exchange rates worked by hand, against scipy's isotonic regression, and their properties."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import isotonic_regression

from understudy.metrics.exchange import Exchange, Rows, exchange_rates, monotone_fit

SIZES = (100, 200, 400, 800)


def rates(strong: Sequence[float], weak: Sequence[float], num_items: int = 2) -> list[Exchange]:
    """Exchange rates of curves that every item follows, so that no resample differs."""
    first, second = (np.tile(np.asarray(each, float), (num_items, 1)) for each in (strong, weak))
    sizes = SIZES[: len(strong)], SIZES[: len(weak)]
    return exchange_rates(first, second, sizes=sizes, num_resamples=20)


def is_near(rows: Rows | None, count: float, bound: str = "") -> bool:
    """True for that many rows, to rounding."""
    return rows is not None and rows.bound == bound and rows.count == pytest.approx(count)


def test_between_two_sizes_the_score_is_linear_in_the_logarithm() -> None:
    """.3 lies half way from .2 at 100 to .4 at 200: at sqrt(100 * 200) rows."""
    found = rates([0.3, 0.5, 0.6, 0.6], [0.2, 0.4, 0.5, 0.7])
    half = [(100 * 200) ** 0.5, 400, (400 * 800) ** 0.5, (400 * 800) ** 0.5]
    assert all(is_near(one.worth, value) for one, value in zip(found, half, strict=True))
    assert [one.size for one in found] == list(SIZES)
    assert found[0].low == found[0].worth == found[0].high


def test_beyond_what_was_measured_nothing_is_extrapolated() -> None:
    found = rates([0.1, 0.2, 0.8, 0.9], [0.2, 0.4, 0.5, 0.8])
    assert [one.worth for one in found] == [
        Rows(100, "<"), Rows(100), Rows(800), Rows(800, ">")
    ]  # fmt: skip


def test_a_curve_that_falls_is_pooled_and_a_level_is_reached_at_its_start() -> None:
    """.5 and .3 become .4 and .4, which 200 rows reach; 400 rows never reach less."""
    found = rates([0.4, 0.45], [0.2, 0.5, 0.3, 0.5])
    assert is_near(found[0].worth, 200)
    assert is_near(found[1].worth, 400 * 2**0.5)


def test_a_level_curve_is_worth_one_side_or_its_first_size() -> None:
    found = rates([0.1, 0.2, 0.3], [0.2, 0.2, 0.2])
    assert [one.worth for one in found] == [Rows(100, "<"), Rows(100), Rows(400, ">")]


def test_the_interval_is_of_a_paired_bootstrap_over_items() -> None:
    """Worked with numpy's own interpolation for each of the same resamples' means."""
    rng = np.random.default_rng(5)
    hard = rng.random((60, 1))
    curves = np.array([[0.3, 0.5, 0.7], [0.2, 0.4, 0.9]])
    first, second = (np.clip(curve - hard * 0.2 + rng.normal(0, 0.1, (60, 3)), 0, 1)
                     for curve in curves)  # fmt: skip
    (one, *_) = exchange_rates(first, second, sizes=(SIZES[:3], SIZES[:3]), num_resamples=2000)
    worth = []
    for _ in range(2000):
        drawn = rng.integers(0, 60, 60)
        wanted, curve = first[drawn].mean(axis=0)[0], second[drawn].mean(axis=0)
        worth.append(np.exp(np.interp(wanted, curve, np.log(SIZES[:3]))))
    assert one.n == 60
    assert one.low is not None
    assert one.high is not None
    expected = np.quantile(worth, [0.025, 0.975])
    assert [one.low.count, one.high.count] == pytest.approx(expected, rel=0.03)
    shifted = exchange_rates(
        first + 5 * hard, second + 5 * hard, sizes=(SIZES[:3], SIZES[:3]), num_resamples=2000
    )
    assert is_near(shifted[0].high, one.high.count, one.high.bound)


def test_ends_of_an_interval_may_lie_beyond_the_range() -> None:
    first = np.arange(20.0)[:, None] % 2
    second = np.tile([0.4, 0.6], (20, 1))
    (one,) = exchange_rates(first, second, sizes=([50], [100, 200]), num_resamples=500)
    assert (one.low, one.high) == (Rows(100, "<"), Rows(200, ">"))
    assert one.worth is not None
    assert one.worth.bound == ""


def test_what_is_undefined_has_a_reason() -> None:
    nothing = np.full((3, 2), np.nan)
    found = exchange_rates(nothing, nothing, sizes=([1, 2], [1, 2]))
    assert [(one.worth, one.n, one.reason) for one in found] == [
        (None, 0, "no item has a score at every size")
    ] * 2
    (lone,) = exchange_rates(np.ones((3, 1)), np.ones((3, 1)), sizes=([1], [1]))
    assert (lone.worth, lone.reason) == (None, "one size of the other teacher makes no curve")
    (single,) = rates([0.3], [0.2, 0.4], num_items=1)
    assert (single.low, single.reason) == (None, "one item gives no interval")
    assert is_near(single.worth, (100 * 200) ** 0.5)


def test_items_without_all_scores_do_not_count() -> None:
    first = np.array([[0.3], [0.3], [np.nan]])
    second = np.array([[0.2, 0.4], [0.2, 0.4], [0.9, 0.9]])
    (one,) = exchange_rates(first, second, sizes=([10], [100, 200]), num_resamples=20)
    assert one.n == 2
    assert is_near(one.worth, (100 * 200) ** 0.5)


@pytest.mark.parametrize("sizes", [[200, 100], [100, 100], [0, 100], [100]])
def test_sizes_that_do_not_increase_are_refused(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="size"):
        exchange_rates(np.ones((3, 2)), np.ones((3, 2)), sizes=(sizes, [1, 2]))


CURVES = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 7), st.integers(1, 3)), elements=st.floats(0, 1, width=32)
)


@given(CURVES)
def test_the_monotone_fit_is_scipys(means: np.ndarray) -> None:
    expected = np.stack([isotonic_regression(column).x for column in means.T], axis=1)
    np.testing.assert_allclose(monotone_fit(means), expected, atol=1e-12)


@given(st.lists(st.floats(0.01, 1), min_size=4, max_size=4), st.integers(2, 9))
def test_identical_curves_are_worth_themselves(steps: list[float], num_items: int) -> None:
    curve = np.cumsum(steps)
    rng = np.random.default_rng(num_items)
    scores = curve + rng.normal(0, 1e-4, (num_items, 1))
    found = exchange_rates(scores, scores, sizes=(SIZES, SIZES), num_resamples=30)
    for size, one in zip(SIZES, found, strict=True):
        for rows in (one.worth, one.low, one.high):
            assert is_near(rows, size)


@given(CURVES, st.integers(0, 99))
def test_more_rows_are_never_worth_less(means: np.ndarray, seed: int) -> None:
    sizes = [100 * 2**place for place in range(len(means))]
    weak = np.random.default_rng(seed).random((2, 4))
    strong = np.tile(means[:, 0], (2, 1))
    found = exchange_rates(strong, weak, sizes=(sizes, SIZES), num_resamples=10)
    order = {"<": -1, "": 0, ">": 1}
    worth = [(order[one.worth.bound], one.worth.count) for one in found if one.worth]
    assert len(worth) == len(sizes)
    for (bound, count), (next_bound, next_count) in pairwise(worth):
        assert bound < next_bound or (bound == next_bound and count <= next_count * (1 + 1e-9))
    assert all(100 <= count <= 800 for _, count in worth)
