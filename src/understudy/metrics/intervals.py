"""Intervals for headline numbers: paired bootstrap, paired sign-flip test, Holm, spread over seeds.

The unit is the item (a question); a column is what was measured on it (a metric of an arm). Items
that a column does not concern are NaN there. All columns that concern the same items see the same
resamples, so a difference of two columns is paired. A percentile bootstrap,
10,000 resamples, 95 %, fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import bootstrap

NUM_RESAMPLES = 10_000
CONFIDENCE = 0.95
_BATCH_ELEMENTS = 1 << 20
"""Drawn indices held at a time: about 50 MB with what is computed from them."""

Scores = Float[np.ndarray, "items columns"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over ``n`` items with its 95 % interval; what is null has a ``reason``."""

    mean: float | None
    low: float | None
    high: float | None
    n: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of a paired difference over the ``n`` items that both sides concern.

    ``p_value`` is two-sided, of the sign-flip test, before any correction.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    p_value: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """Extremes and standard deviation (ddof 1) of one value over ``n`` seeds."""

    low: float | None
    high: float | None
    sd: float | None
    n: int


def mean_intervals(
    scores: Scores, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> list[Interval]:
    """The mean of each column over the items it concerns, with a percentile bootstrap interval.

    ``scipy.stats.bootstrap`` resamples the concerned items jointly for all columns that concern the
    same ones. A constant column has the interval [c, c]; one item gives a mean and no interval.

    Raises:
        ValueError: A score is infinite.
    """
    _refuse_infinite(scores)
    lows, highs = (np.full(scores.shape[1], np.nan) for _ in range(2))
    for columns, values in _columns_by_items(scores):
        if len(values) > 1:
            lows[columns], highs[columns] = _percentile_bootstrap(values, num_resamples, seed)
    return [_interval(*column) for column in zip(scores.T, lows, highs, strict=True)]


def paired_differences(
    first: Scores, second: Scores, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> list[Difference]:
    """Column by column, ``first - second`` over the items that both concern.

    The interval is that of :func:`mean_intervals`. The p-value is the two-sided sign-flip
    permutation test of the mean difference: exact when all 2^n flips are at most ``num_resamples``,
    otherwise (1 + hits) / (1 + draws). In law it is scipy's ``permutation_test(...,
    permutation_type="samples")``; one matrix of signs serves all columns, which that cannot do.

    Raises:
        ValueError: A score is infinite.
    """
    differences = first - second
    intervals = mean_intervals(differences, num_resamples=num_resamples, seed=seed)
    p_values = np.full(differences.shape[1], np.nan)
    for columns, values in _columns_by_items(differences):
        if len(values) > 1:
            p_values[columns] = _sign_flip_p_values(values, num_resamples, seed)
    return [
        Difference(
            mean=interval.mean,
            low=interval.low,
            high=interval.high,
            n=interval.n,
            p_value=_number(p_value),
            reason=interval.reason,
        )
        for interval, p_value in zip(intervals, p_values, strict=True)
    ]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjusted p-values, in order; a null is no test and stays null.

    >>> holm([0.01, None, 0.04])
    [0.02, None, 0.04]
    """
    known = [(value, place) for place, value in enumerate(p_values) if value is not None]
    adjusted: list[float | None] = [None] * len(p_values)
    reached = 0.0
    for rank, (value, place) in enumerate(sorted(known)):
        reached = max(reached, min(1.0, (len(known) - rank) * value))
        adjusted[place] = reached
    return adjusted


def seed_spread(values: Sequence[float | None]) -> SeedSpread:
    """The spread of a metric over seeds; null values (undefined in that run) do not count.

    >>> seed_spread([0.5, 0.75, None])
    SeedSpread(low=0.5, high=0.75, sd=0.1767766952966369, n=2)
    """
    known = [value for value in values if value is not None]
    if not known:
        return SeedSpread(None, None, None, 0)
    sd = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return SeedSpread(min(known), max(known), sd, len(known))


def _refuse_infinite(scores: Scores) -> None:
    if np.isinf(scores).any():
        item, column = np.argwhere(np.isinf(scores))[0].tolist()
        raise ValueError(f"the score of item {item} in column {column} is infinite")


def _columns_by_items(scores: Scores) -> Iterable[tuple[Int[np.ndarray, " group"], Scores]]:
    """Column numbers that concern the same items, with the scores of those items only."""
    is_concerned = ~np.isnan(scores)
    patterns, group_of = np.unique(is_concerned, axis=1, return_inverse=True)
    for group, pattern in enumerate(patterns.T):
        columns = np.flatnonzero(group_of == group)
        yield columns, scores[np.ix_(pattern, columns)]


def _interval(column: Float[np.ndarray, " items"], low: np.floating, high: np.floating) -> Interval:
    values = column[~np.isnan(column)]
    if len(values) == 0:
        return Interval(None, None, None, 0, "no item has a score")
    origin = float(values.min())
    mean = origin + float((values - origin).mean())
    if len(values) == 1:
        return Interval(mean, None, None, 1, "one item gives no interval")
    return Interval(mean, float(low), float(high), len(values))


def _percentile_bootstrap(
    values: Scores, num_resamples: int, seed: int
) -> tuple[Float[np.ndarray, " columns"], Float[np.ndarray, " columns"]]:
    """Both ends of each column's interval, counted from its lowest score: constants are exact."""
    origin = values.min(axis=0)
    low, high, _ = _bootstrap(values - origin, num_resamples, seed)
    return origin + low, origin + high


def resampled_means(
    values: Scores, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Float[np.ndarray, "columns resamples"]:
    """Column means over the resamples of :func:`mean_intervals`; every item has every score.

    Raises:
        ValueError: A score is not finite, or there are fewer than two items.
    """
    if len(values) < 2 or not np.isfinite(values).all():
        raise ValueError("resampled means need two items or more, all with finite scores")
    origin = values.min(axis=0)
    *_, means = _bootstrap(values - origin, num_resamples, seed)
    return np.asarray(origin[:, None] + means)


def _bootstrap(
    values: Scores, num_resamples: int, seed: int
) -> tuple[
    Float[np.ndarray, " columns"],
    Float[np.ndarray, " columns"],
    Float[np.ndarray, "columns resamples"],
]:
    """Both ends of each column's interval, and the means that they are percentiles of."""
    result = bootstrap(
        (np.arange(len(values)),),
        _mean_of_drawn(values),
        vectorized=True,
        n_resamples=num_resamples,
        batch=max(1, _BATCH_ELEMENTS // len(values)),
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high, means = (
        np.asarray(each) for each in (*result.confidence_interval, result.bootstrap_distribution)
    )
    return low, high, means


def _mean_of_drawn(values: Scores) -> Callable[..., Float[np.ndarray, "columns resamples"]]:
    """The statistic: column means of the drawn items, as counts times values, in one product."""
    num_items = len(values)

    def mean_of_drawn(
        drawn: Int[np.ndarray, "resamples items"], axis: int
    ) -> Float[np.ndarray, "columns resamples"]:
        del axis  # the last, by the order of the arguments' shapes
        rows = num_items * np.arange(len(drawn))[:, None]
        counts = np.bincount((drawn + rows).ravel(), minlength=drawn.size)
        return values.T @ counts.reshape(drawn.shape).astype(np.float64).T / num_items

    return mean_of_drawn


def _sign_flip_p_values(
    differences: Scores, num_resamples: int, seed: int
) -> Float[np.ndarray, " columns"]:
    num_items = len(differences)
    observed = np.abs(differences.sum(axis=0))
    # Sums that are equal by theory differ by rounding; they count as reached (scipy does the same).
    reached = observed - 1e-12 * np.abs(differences).sum(axis=0)
    num_hits = np.zeros(differences.shape[1], dtype=np.int64)
    num_draws = 0
    for signs in _sign_batches(num_items, num_resamples, seed):
        num_hits += (np.abs(signs @ differences) >= reached).sum(axis=0)
        num_draws += len(signs)
    is_exact = 2**num_items <= num_resamples
    return num_hits / num_draws if is_exact else (num_hits + 1) / (num_draws + 1)


def _sign_batches(
    num_items: int, num_resamples: int, seed: int
) -> Iterable[Float[np.ndarray, "flips items"]]:
    """Rows of +1 and -1: every combination once where there are few, else random ones."""
    if 2**num_items <= num_resamples:
        bits = np.arange(2**num_items)[:, None] >> np.arange(num_items) & 1
        yield 1.0 - 2.0 * bits
        return
    generator = np.random.default_rng(seed)
    batch = max(1, _BATCH_ELEMENTS // num_items)
    for start in range(0, num_resamples, batch):
        num_flips = min(batch, num_resamples - start)
        yield 1.0 - 2.0 * generator.integers(0, 2, (num_flips, num_items), dtype=np.int8)


def _number(value: np.floating) -> float | None:
    return None if np.isnan(value) else float(value)
