"""Loss matrix, grid of arms and worth of rows as tidy CSV, where a comparison has them."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.metrics.exchange import Rows
from understudy.metrics.intervals import Difference
from understudy.report.compare import Comparison
from understudy.report.grid import Grid
from understudy.report.matrix import loss_matrix, teacher_of
from understudy.report.paper.tidy import Value, csv_text

_DIFFERENCE = ("mean", "low", "high", "n", "p", "reason")


def grid_name(comparison: Comparison) -> str:
    """What the grid's files are called: as the page's section is."""
    return "scaling" if comparison.rows_worth else "grid"


def csv_grids(comparison: Comparison) -> dict[str, str]:
    """File name to CSV."""
    found = _matrix(comparison)
    grid, name = comparison.grid, grid_name(comparison)
    if grid is not None:
        found |= {
            f"{name}.csv": _cells(comparison, grid),
            f"{name}_differences.csv": _gaps(grid),
            f"{name}_changes.csv": _changes(grid),
        }
    return found | ({"rows_worth.csv": _worth(comparison)} if comparison.rows_worth else {})


def _matrix(comparison: Comparison) -> dict[str, str]:
    matrix = loss_matrix(comparison)
    if matrix is None:
        return {}
    header = ["student", "role", "teacher", "is_own", "mean", "low", "high", "n", "reason"]
    rows: list[Sequence[Value]] = []
    for row, series in matrix.rows:
        for teacher, metric in zip(matrix.teachers, matrix.metrics, strict=True):
            one = row.metrics.get(metric)
            is_own = series >= 0 and teacher_of(row) == teacher
            head = [row.name, "arm" if series >= 0 else "baseline", teacher, is_own]
            tail = (
                [None, None, None, 0, "not measured"]
                if one is None
                else [one.mean, one.low, one.high, one.n, one.reason]
            )
            rows.append([*head, *tail])
    return {"loss_matrix.csv": csv_text(header, rows)}


def _cells(comparison: Comparison, grid: Grid) -> str:
    by_name = {row.name: row for row in comparison.arms}
    rows: list[Sequence[Value]] = []
    for level in grid.levels:
        for series in grid.series:
            arm = grid.arms.get((series, level.name))
            one = by_name[arm].metrics.get(grid.metric) if arm else None
            head = [series, level.name, level.x, arm, grid.metric]
            tail = [one.mean, one.low, one.high, one.n] if one else [None, None, None, 0]
            rows.append([*head, *tail])
    header = ["series", "level", "x", "arm", "metric", "mean", "low", "high", "n"]
    return csv_text(header, rows)


def _gaps(grid: Grid) -> str:
    places = {level.name: level.x for level in grid.levels}
    rows: list[Sequence[Value]] = [
        [
            one.first,
            one.second,
            one.level,
            places[one.level],
            grid.metric,
            *_numbers(one.difference),
        ]
        for one in grid.gaps
    ]
    return csv_text(["arm", "against", "level", "x", "metric", *_DIFFERENCE], rows)


def _changes(grid: Grid) -> str:
    rows: list[Sequence[Value]] = [
        [one.first, one.second, one.level, one.reference, grid.metric, *_numbers(one.difference)]
        for one in grid.changes
    ]
    return csv_text(["arm", "against", "level", "reference", "metric", *_DIFFERENCE], rows)


def _numbers(one: Difference) -> list[Value]:
    return [one.mean, one.low, one.high, one.n, one.p_value, one.reason]


def _worth(comparison: Comparison) -> str:
    header = ["arm", "against", "metric", "rows", "worth", "worth_bound", "low", "low_bound",
              "high", "high_bound", "n", "reason"]  # fmt: skip
    rows: list[Sequence[Value]] = [
        [pair.first, pair.second, pair.metric, one.size,
         *_rows(one.worth), *_rows(one.low), *_rows(one.high), one.n, one.reason]
        for pair in comparison.rows_worth
        for one in pair.rates
    ]  # fmt: skip
    return csv_text(header, rows)


def _rows(rows: Rows | None) -> tuple[float | None, str]:
    return (None, "") if rows is None else (rows.count, rows.bound)
