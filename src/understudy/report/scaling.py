"""How many rows of one teacher are worth n rows of another, where arms vary in their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from understudy.metrics.exchange import Exchange, Rows, exchange_points, exchange_rates
from understudy.report.arms import Entry, ScoreTable
from understudy.report.grid import NUM_EXAMPLES, Grid


@dataclass(frozen=True, slots=True)
class RowsWorth:
    """What each number of ``first``'s rows is worth in rows of ``second``.

    ``by_seed`` has the same from single seeds, without intervals, in the order of ``rates``.
    """

    first: str
    second: str
    metric: str
    rates: tuple[Exchange, ...]
    by_seed: Mapping[int, tuple[Rows | None, ...]]


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
            found.append(RowsWorth(first, second, grid.metric, tuple(rates), by_seed))
    return tuple(found)


_Curve = dict[int, Entry]


def _curve(grid: Grid, entries: Mapping[str, Entry], series: str) -> _Curve:
    """The arms of a series by their number of rows; arms on all rows, a number unknown, are out."""
    return {
        int(level.x): entries[grid.arms[series, level.name]]
        for level in grid.levels
        if level.x and (series, level.name) in grid.arms
    }


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
