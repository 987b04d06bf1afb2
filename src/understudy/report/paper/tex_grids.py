"""Loss matrix, grid of arms and worth of rows as LaTeX tables, where a comparison has them."""

from __future__ import annotations

from understudy.report.compare import Comparison
from understudy.report.grid import Grid
from understudy.report.grid_sections import interval_text, rows_text
from understudy.report.labels import difference_label, metric_label, number, p_value, spread
from understudy.report.matrix import loss_matrix, teacher_of
from understudy.report.paper.latex import TexCell, TexTable
from understudy.report.paper.tex_cells import NOTHING, interval_caption, summary_tex
from understudy.report.paper.tidy_grids import grid_name
from understudy.report.phrases import capital
from understudy.report.scaling import falls_text


def grid_tex_tables(comparison: Comparison, num_resamples: int) -> list[TexTable]:
    """The tables, none where there is nothing of their kind."""
    grid = comparison.grid
    tables = _matrix(comparison, num_resamples)
    if grid is not None:
        tables.append(_cells(comparison, grid, num_resamples))
        tables += _gaps(comparison, grid, num_resamples)
    return tables + _worth(comparison)


def _matrix(comparison: Comparison, num_resamples: int) -> list[TexTable]:
    matrix = loss_matrix(comparison)
    if matrix is None or not matrix.rows:
        return []
    groups: list[list[list[TexCell]]] = [[], []]
    for row, series in matrix.rows:
        cells = [TexCell(row.name)]
        for teacher, metric in zip(matrix.teachers, matrix.metrics, strict=True):
            cell = summary_tex(row.metrics.get(metric))
            is_own = series >= 0 and teacher_of(row) == teacher
            cells.append(TexCell(f"{cell.text}*", cell.below) if is_own else cell)
        groups[series < 0].append(cells)
    caption = (
        "Loss in nats a token on each teacher's held-out answers: "
        f"{interval_caption(num_resamples, 'instructions')}. Read down a column; * is a student's "
        "own teacher. Columns hold other answers and are not compared with each other."
    )
    header = ["Student", *(f"on {teacher}" for teacher in matrix.teachers)]
    return [TexTable("loss_matrix", caption, header, groups)]


def _cells(comparison: Comparison, grid: Grid, num_resamples: int) -> TexTable:
    by_name = {row.name: row for row in comparison.arms}
    rows = []
    for level in grid.levels:
        arms = [grid.arms.get((series, level.name)) for series in grid.series]
        found = [by_name[arm].metrics.get(grid.metric) if arm else None for arm in arms]
        rows.append([TexCell(level.name), *map(summary_tex, found)])
    caption = (
        f"{capital(metric_label(grid.metric))} by {grid.axis}: {interval_caption(num_resamples)}."
    )
    return TexTable(grid_name(comparison), caption, [capital(grid.axis), *grid.series], [rows])


def _gaps(comparison: Comparison, grid: Grid, num_resamples: int) -> list[TexTable]:
    """The differences at each level and, below a rule, their changes from the first."""
    if not grid.gaps:
        return []
    gaps = [(one.level, one.first, one.second, one.difference) for one in grid.gaps]
    changes = [
        (f"{one.level} against {one.reference}", one.first, one.second, one.difference)
        for one in grid.changes
    ]
    groups = [
        [
            [
                TexCell(level),
                TexCell(difference_label(first, second)),
                TexCell(number(one.mean, signed=True), spread(one.low, one.high, signed=True)),
                TexCell(f"{one.n:,}"),
                TexCell(p_value(one.p_value)),
            ]
            for level, first, second, one in rows
        ]
        for rows in (gaps, changes)
    ]
    caption = (
        f"Paired differences in {metric_label(grid.metric)} at each {grid.axis}: "
        f"{interval_caption(num_resamples)}. Below the rule, how a difference changes from the "
        "first: over the questions that all four arms have. p is not corrected."
    )
    header = [capital(grid.axis), "Arms", "Difference", "n", "p"]
    return [TexTable(f"{grid_name(comparison)}_differences", caption, header, groups, texts=2)]


def _worth(comparison: Comparison) -> list[TexTable]:
    groups = [
        [
            [
                TexCell(f"{one.size:,} of {pair.first}"),
                TexCell(f"{rows_text(one.worth)} of {pair.second}"),
                TexCell(interval_text(one).strip() or NOTHING),
                TexCell(f"{one.n:,}"),
            ]
            for one in pair.rates
        ]
        for pair in comparison.rows_worth
    ]
    if not groups:
        return []
    caption = (
        f"What rows are worth in {metric_label(comparison.rows_worth[0].metric)}: the smallest "
        "number of the other teacher's rows with the same score, on monotone curves, linear in "
        'the logarithm of the rows; 95 % interval of a paired bootstrap over n questions; ">" and '
        '"<" are beyond the rows that were measured, where nothing is extrapolated.'
    )
    caption = f"{caption} {falls_text(comparison.rows_worth)}".rstrip()
    header = ["Rows", "Are worth", "95 % interval", "n"]
    return [TexTable("rows_worth", caption, header, groups, texts=3)]
