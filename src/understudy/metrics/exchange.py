"""How many rows of one teacher are worth n rows of another, from scores at a few sizes of each.

A student's score as a function of the number of rows is taken to be monotone: each teacher's mean
scores are replaced by their isotonic (least squares, non-decreasing) fit. Between two measured
sizes the score is linear in the logarithm of the size. The equivalent of n strong rows is the
smallest number of weak rows whose score reaches the strong score at n. Beyond the measured sizes
nothing is extrapolated: the answer is then "more than the largest" or "fewer than the smallest".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from understudy.metrics.intervals import CONFIDENCE, NUM_RESAMPLES, Scores, resampled_means

_ROUNDING = 1e-12
"""Fits that are equal by theory differ by rounding; a score this close is reached."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A number of rows, or a side of the measured range on which it lies.

    ``bound`` is "" for an equality, ">" for more than ``count``, "<" for fewer than ``count``.
    """

    count: float
    bound: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What ``size`` rows of the first teacher are worth in rows of the second, over ``n`` items.

    ``low`` and ``high`` are the 95 % percentile interval of the paired bootstrap over items; each
    may lie beyond the measured range. What is null has a ``reason``.
    """

    size: int
    worth: Rows | None
    low: Rows | None
    high: Rows | None
    n: int
    reason: str = ""


def exchange_rates(
    first: Scores,
    second: Scores,
    *,
    sizes: tuple[Sequence[int], Sequence[int]],
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> list[Exchange]:
    """What each of the first teacher's sizes is worth in rows of the second.

    Args:
        first: Scores of the first teacher's students, a column for each of its sizes.
        second: The same items' scores of the second teacher's students.
        sizes: The numbers of rows of both, increasing.
        num_resamples: Resamples of the items; all columns see the same ones.
        seed: Of the resamples.

    Raises:
        ValueError: Sizes do not increase, are not positive, or do not match the columns.
    """
    own, other = _checked_sizes(sizes, first, second)
    joined = _complete(first, second)
    points = exchange_points(first, second, sizes=sizes)
    reason = _why_undefined(len(joined), len(other))
    if reason:
        return [
            Exchange(size, point, None, None, len(joined), reason)
            for size, point in zip(sizes[0], points, strict=True)
        ]
    means = resampled_means(joined, num_resamples=num_resamples, seed=seed)
    lows, highs = _ends(_worth(means, own, other))
    return [
        Exchange(size, point, _rows(low, other), _rows(high, other), len(joined))
        for size, point, low, high in zip(sizes[0], points, lows, highs, strict=True)
    ]


def exchange_points(
    first: Scores, second: Scores, *, sizes: tuple[Sequence[int], Sequence[int]]
) -> list[Rows | None]:
    """The values of :func:`exchange_rates` without their intervals, null where undefined."""
    own, other = _checked_sizes(sizes, first, second)
    joined = _complete(first, second)
    if len(joined) == 0 or len(other) < 2:
        return [None] * len(own)
    return [_rows(one, other) for one in _worth(joined.mean(axis=0)[:, None], own, other)[:, 0]]


def _complete(first: Scores, second: Scores) -> Scores:
    """The scores of both, of the items that have every one."""
    joined: Scores = np.concatenate([first, second], axis=1)
    is_complete = ~np.isnan(joined).any(axis=1)
    return np.asarray(joined[is_complete])


def monotone_fit(
    means: Float[np.ndarray, "sizes curves"],
) -> Float[np.ndarray, "sizes curves"]:
    """The least-squares non-decreasing fit of each column, all sizes with equal weight.

    By the min-max formula of isotonic regression (Robertson, Wright and Dykstra 1988, section 1.4),
    for all columns at once: at k, the largest over i <= k of the smallest over j >= k of the mean
    of i to j.
    """
    num_sizes = len(means)
    sums = np.concatenate([np.zeros_like(means[:1]), means.cumsum(axis=0)])
    fit = np.full_like(means, -np.inf)
    for start in range(num_sizes):
        smallest = np.full_like(means[0], np.inf)
        for end in reversed(range(start, num_sizes)):
            average = (sums[end + 1] - sums[start]) / (end + 1 - start)
            smallest = np.minimum(smallest, average)
            fit[end] = np.maximum(fit[end], smallest)
    return fit


def _checked_sizes(
    sizes: tuple[Sequence[int], Sequence[int]], first: Scores, second: Scores
) -> tuple[Float[np.ndarray, " sizes"], Float[np.ndarray, " others"]]:
    return _checked(sizes[0], first), _checked(sizes[1], second)


def _checked(sizes: Sequence[int], scores: Scores) -> Float[np.ndarray, " sizes"]:
    if len(sizes) != scores.shape[1]:
        raise ValueError(f"{len(sizes)} sizes for {scores.shape[1]} columns of scores")
    if min(sizes, default=0) < 1 or any(one >= other for one, other in pairwise(sizes)):
        raise ValueError(f"sizes must be positive and increase, got {list(sizes)}")
    return np.asarray(sizes, dtype=np.float64)


def _why_undefined(num_items: int, num_sizes: int) -> str:
    if num_items == 0:
        return "no item has a score at every size"
    if num_sizes < 2:
        return "one size of the other teacher makes no curve"
    return "" if num_items > 1 else "one item gives no interval"


def _worth(
    means: Float[np.ndarray, "columns curves"],
    own: Float[np.ndarray, " sizes"],
    other: Float[np.ndarray, " others"],
) -> Float[np.ndarray, "sizes curves"]:
    """Rows of the other teacher; minus or plus infinity on either side of what was measured."""
    wanted = monotone_fit(means[: len(own)])
    curve = monotone_fit(means[len(own) :])
    slack = _ROUNDING * np.maximum(1.0, np.abs(means).max(axis=0))
    found = np.full_like(wanted, np.inf)
    logs = np.log(other)
    for upper in reversed(range(1, len(other))):
        low, high = curve[upper - 1], curve[upper]
        rise = np.where(high > low, high - low, 1.0)
        share = np.clip((wanted - low) / rise, 0.0, 1.0)
        between = np.exp(logs[upper - 1] + share * (logs[upper] - logs[upper - 1]))
        between = np.where(wanted >= high - slack, other[upper], between)
        found = np.where(wanted <= high + slack, between, found)
    found = np.where(wanted <= curve[0] + slack, other[0], found)
    return np.where(wanted < curve[0] - slack, -np.inf, found)


def _ends(
    worth: Float[np.ndarray, "sizes resamples"],
) -> tuple[Float[np.ndarray, " sizes"], Float[np.ndarray, " sizes"]]:
    """Both percentiles, each an observed value, since infinities cannot be averaged."""
    tail = (1 - CONFIDENCE) / 2
    return (
        np.quantile(worth, tail, axis=1, method="lower"),
        np.quantile(worth, 1 - tail, axis=1, method="higher"),
    )


def _rows(value: float, other: Float[np.ndarray, " others"]) -> Rows:
    if np.isinf(value):
        return Rows(float(other[-1]), ">") if value > 0 else Rows(float(other[0]), "<")
    return Rows(float(value))
