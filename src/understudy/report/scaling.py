"""How many rows of one teacher are worth n rows of another, where arms vary in their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from understudy.metrics.exchange import Exchange, Rows, exchange_points, exchange_rates
from understudy.metrics.intervals import Difference, Scores, paired_differences
from understudy.report.arms import Entry, ScoreTable
from understudy.report.grid import NUM_EXAMPLES, Grid
from understudy.report.labels import number, spread

_ROUNDING = 1e-12
"""Scores that are equal by theory differ by rounding; a fall this small is none."""


@dataclass(frozen=True, slots=True)
class Fall:
    """A mean score of ``series`` that is lower at ``larger`` rows than at ``smaller``, the next.

    ``difference`` is the score at ``larger`` minus that at ``smaller``. The exchange of rows is
    read off a fit that is level there.
    """

    series: str
    smaller: int
    larger: int
    difference: Difference

    @property
    def is_told(self) -> bool:
        """True when the interval lies below 0."""
        return self.difference.high is not None and self.difference.high < 0


@dataclass(frozen=True, slots=True)
class RowsWorth:
    """What each number of ``first``'s rows is worth in rows of ``second``.

    ``by_seed`` has the same from single seeds, without intervals, in the order of ``rates``.
    ``falls`` are the places where either curve goes down.
    """

    first: str
    second: str
    metric: str
    rates: tuple[Exchange, ...]
    by_seed: Mapping[int, tuple[Rows | None, ...]]
    falls: tuple[Fall, ...] = ()


def rows_worth(
    grid: Grid | None, entries: Sequence[Entry], table: ScoreTable, *, num_resamples: int
) -> tuple[RowsWorth, ...]:
    """The best series of a grid of row numbers against each other one.

    None where rows are not what varies, or where arms of equal size, or of one series, may not be
    compared: what keeps them apart would be taken for rows.
    """
    if grid is None or grid.keys != (NUM_EXAMPLES,):
        return ()
    by_name = {entry.name: entry for entry in entries}
    refused = {(one.first, one.second) for one in grid.changes if one.is_refused}
    found = []
    for first, second in dict.fromkeys((gap.first, gap.second) for gap in grid.gaps):
        if first == grid.series[0] and (first, second) not in refused:
            own, other = (_curve(grid, by_name, series) for series in (first, second))
            scores = [table.columns((one, grid.metric) for one in each.values())
                      for each in (own, other)]  # fmt: skip
            sizes = list(own), list(other)
            rates = exchange_rates(*scores, sizes=sizes, num_resamples=num_resamples)
            by_seed = _points_by_seed(own, other, table, grid.metric)
            falls = _falls((first, second), scores, sizes, num_resamples)
            found.append(RowsWorth(first, second, grid.metric, tuple(rates), by_seed, falls))
    return tuple(found)


def falls_text(pairs: Sequence[RowsWorth]) -> str:
    """Where a curve goes down with more rows, in a sentence each; "" where none does."""
    falls = dict.fromkeys(fall for pair in pairs for fall in pair.falls)
    return " ".join(map(_fall_text, falls))


def _fall_text(fall: Fall) -> str:
    one = fall.difference
    size = f"{number(one.mean, signed=True)} {spread(one.low, one.high, signed=True)}".rstrip()
    where = f"The score of {fall.series} falls from {fall.smaller:,} to {fall.larger:,} rows"
    told = "more than by noise" if fall.is_told else "not told apart from noise"
    return f"{where} ({size}, {told}); its curve is taken as level there."


_Curve = dict[int, Entry]


def _curve(grid: Grid, entries: Mapping[str, Entry], series: str) -> _Curve:
    """The arms of a series by their number of rows; arms on all rows, a number unknown, are out."""
    return {
        int(level.x): entries[grid.arms[series, level.name]]
        for level in grid.levels
        if level.x and (series, level.name) in grid.arms
    }


def _falls(
    names: tuple[str, str],
    scores: Sequence[Scores],
    sizes: tuple[Sequence[int], Sequence[int]],
    num_resamples: int,
) -> tuple[Fall, ...]:
    """Where a curve goes down, over the items that the exchange is computed on."""
    is_complete = ~np.isnan(np.concatenate(scores, axis=1)).any(axis=1)
    falls = []
    for name, columns, own in zip(names, scores, sizes, strict=True):
        values = columns[is_complete]
        steps = paired_differences(values[:, 1:], values[:, :-1], num_resamples=num_resamples)
        falls += [
            Fall(name, smaller, larger, step)
            for smaller, larger, step in zip(own, own[1:], steps, strict=False)
            if step.mean is not None and step.mean < -_ROUNDING
        ]
    return tuple(falls)


def _points_by_seed(
    own: _Curve, other: _Curve, table: ScoreTable, metric: str
) -> dict[int, tuple[Rows | None, ...]]:
    """The same from each seed that every arm of both curves has."""
    common = set.intersection(*(set(entry.seeds) for entry in (*own.values(), *other.values())))
    sizes = list(own), list(other)
    return {
        seed: tuple(
            exchange_points(
                *(table.columns_of_seed(each.values(), metric, seed) for each in (own, other)),
                sizes=sizes,
            )
        )
        for seed in sorted(common)
    }
