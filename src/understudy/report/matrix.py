"""Every student's loss on every teacher's held-out answers: who learned whom, and what besides.

A column holds one set of answers, so students are compared down it. ``val/loss`` is no such column:
it is on other answers in each arm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from understudy.pages.heatmap import HeatCell, matrix_figure
from understudy.pages.page import Block, Cell, Chart, Section, Table
from understudy.pages.page import Text as Words
from understudy.report.arms import BASE
from understudy.report.cells import series_of, summary_cell
from understudy.report.compare import Comparison, Row
from understudy.report.labels import LOSS_ON, number, parse_metric, spread

_NOTE = (
    "Read down a column: the same answers, other students. A student's loss on its own teacher's "
    "answers (framed) is expected to be its column's lowest, and says least about quality. "
    "Columns hold other answers and are not compared with each other. The validation loss of "
    "training (val/loss) is on other answers in each arm, so it never ranks arms."
)
_MAX_TOLD = 3
_MAX_ROWS = 30


@dataclass(frozen=True, slots=True)
class LossMatrix:
    """Rows are arms, best first, then the untuned bases; ``metrics`` are the columns' metrics."""

    teachers: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[tuple[Row, int], ...]


def loss_matrix(comparison: Comparison) -> LossMatrix | None:
    """The losses of a comparison, none where its runs measured none.

    Teachers of arms come first, in the order of the arms' ranking.
    """
    found = {
        name.part: metric
        for metric in comparison.metrics
        if (name := parse_metric(metric)).base == LOSS_ON
    }
    own = dict.fromkeys(map(teacher_of, comparison.arms))
    teachers = (*(one for one in own if one in found), *(one for one in found if one not in own))
    if not teachers:
        return None
    metrics = tuple(found[teacher] for teacher in teachers)
    rows = tuple(
        (row, series)
        for row, series in series_of(comparison)
        if (series >= 0 or row.entry.arm == BASE)
        and any(metric in row.metrics for metric in metrics)
    )
    return LossMatrix(teachers, metrics, rows)


def teacher_of(row: Row) -> str:
    """The name of the teacher whose answers an arm learned from."""
    return str(row.entry.runs[0].manifest.get("teacher"))


def matrix_sections(comparison: Comparison) -> list[Section]:
    """The matrix as a figure with numbers and as a table with intervals."""
    matrix = loss_matrix(comparison)
    if matrix is None:
        return []
    shown = matrix.rows[:_MAX_ROWS]
    title = matrix_title(comparison, matrix)
    caption = (
        "Loss in nats a token on each teacher's held-out answers. In each column the colour goes "
        "from the worst arm (none) to the best (full); a student's own teacher is framed."
    )
    if len(shown) < len(matrix.rows):
        caption += f" The first {len(shown)} of {len(matrix.rows)}; the table below has all."
    figure = matrix_figure(
        [row.name for row, _ in shown], matrix.teachers, heat_cells(matrix, shown),
        column_title="loss on the held-out answers of",
    )  # fmt: skip
    blocks: list[Block] = [
        Chart(figure, caption, title),
        _table(matrix),
        Words(_NOTE, is_muted=True),
    ]
    return [Section("matrix", "Student \N{MULTIPLICATION SIGN} teacher", title, blocks)]


def _table(matrix: LossMatrix) -> Table:
    rows = [
        [
            Cell(row.name, "" if series >= 0 else "baseline", series),
            *(summary_cell(row.metrics.get(metric)) for metric in matrix.metrics),
            Cell(_counts(row, matrix.metrics)),
        ]
        for row, series in matrix.rows
    ]
    header = ["Student", *(f"on {teacher}" for teacher in matrix.teachers), "n"]
    caption = (
        "Loss in nats a token, mean over held-out instructions of each answer's mean over its "
        "tokens, with 95 % intervals over instructions; lower is likelier."
    )
    return Table(caption, header, rows)


def _counts(row: Row, metrics: Sequence[str]) -> str:
    counts = sorted({row.metrics[metric].n for metric in metrics if metric in row.metrics})
    return " to ".join(f"{n:,}" for n in dict.fromkeys((counts[0], counts[-1])))


def heat_cells(matrix: LossMatrix, rows: Sequence[tuple[Row, int]]) -> list[list[HeatCell]]:
    """The figure's cells: coloured within each column, from the worst arm to the best."""
    ends = []
    for metric in matrix.metrics:
        of_arms = [mean for row, series in matrix.rows
                   if series >= 0 and (mean := row.mean(metric)) is not None]  # fmt: skip
        ends.append((min(of_arms, default=0.0), max(of_arms, default=0.0)))
    return [
        [
            _heat_cell(row, series, *column)
            for column in zip(matrix.teachers, matrix.metrics, ends, strict=True)
        ]
        for row, series in rows
    ]


def _heat_cell(
    row: Row, series: int, teacher: str, metric: str, ends: tuple[float, float]
) -> HeatCell:
    summary = row.metrics.get(metric)
    if summary is None or summary.mean is None:
        reason = summary.reason if summary else "not measured"
        return HeatCell("\N{EM DASH}", None, hover=f"{row.name} on {teacher}: {reason}")
    low, high = ends
    heat = (high - summary.mean) / (high - low) if high > low else 0.5
    interval = spread(summary.low, summary.high)
    hover = f"{row.name} on {teacher}: {number(summary.mean)} {interval}, n = {summary.n:,}"
    is_own = series >= 0 and teacher_of(row) == teacher
    return HeatCell(number(summary.mean), min(1.0, max(0.0, heat)), is_own, hover)


def matrix_title(comparison: Comparison, matrix: LossMatrix) -> str:
    """To which student each teacher's answers are likeliest, as sure as the numbers."""
    best = {
        teacher: ranked
        for teacher, metric in zip(matrix.teachers, matrix.metrics, strict=True)
        if (ranked := _ranked(comparison, metric))
    }
    if not best:
        return "No student has a loss on a teacher's answers"
    told = [
        f"{teacher}'s to {ranked[0].name} ({number(ranked[0].mean(LOSS_ON + teacher))}"
        f"{_doubt(comparison, ranked, LOSS_ON + teacher)})"
        for teacher, ranked in best.items()
    ]
    if len(comparison.arms) == 1:
        return f"The loss on each teacher's answers: {', '.join(told)}"
    own = sum(teacher_of(ranked[0]) == teacher for teacher, ranked in best.items())
    more = f", and {len(told) - _MAX_TOLD} more below" if len(told) > _MAX_TOLD else ""
    text = "; ".join(told[:_MAX_TOLD]) + more
    if own == len(best) > 1:
        return f"Each teacher's answers are likeliest to a student of its own: {text}"
    return f"Whose answers are likeliest to whom: {text}"


def _ranked(comparison: Comparison, metric: str) -> list[Row]:
    scored = [row for row in comparison.arms if row.mean(metric) is not None]
    return sorted(scored, key=lambda row: row.mean(metric) or 0.0)


def _doubt(comparison: Comparison, ranked: Sequence[Row], metric: str) -> str:
    """That the best is not told apart from another teacher's student, where that was tested."""
    best = ranked[0]
    for other in ranked[1:]:
        contrast = comparison.contrast(best.name, other.name, metric) or comparison.contrast(
            other.name, best.name, metric
        )
        if contrast is not None and teacher_of(other) != teacher_of(best):
            return "" if contrast.is_clear else f", not told apart from {other.name}"
    return ""
