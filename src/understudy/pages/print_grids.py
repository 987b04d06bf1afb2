"""Figures of arms that vary in two things, for a paper: a matrix and curves over sizes.

The counterparts of pages.heatmap and ``line_figure``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from understudy.pages.figures import Line
from understudy.pages.heatmap import HeatCell
from understudy.pages.print_figures import (
    draw_interval,
    legend,
    row_inches,
    row_label,
    size_with_legend,
)
from understudy.pages.print_style import COLUMN_INCHES, TEXT_INCHES, Canvas
from understudy.pages.theme import light, series_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NARROW_COLUMNS = 4


def draw_matrix(
    canvas: Canvas,
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Sequence[Sequence[HeatCell]],
    *,
    column_title: str,
) -> None:
    """Rows by columns, each cell with its number; a cell without heat is not coloured."""
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    width = COLUMN_INCHES if len(columns) <= _NARROW_COLUMNS else TEXT_INCHES
    names = [row_label(canvas, name) for name in rows]
    canvas.size(width, 0.6 + row_inches(names) * len(rows))
    axes = canvas.figure.subplots()
    for y, row in enumerate(cells):
        for x, cell in enumerate(row):
            colour = _heat_colour(cell.heat)
            axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, color=colour, linewidth=0))
            if cell.is_marked:
                axes.add_patch(
                    Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, fill=False, edgecolor=light("ink"))
                )
            axes.text(x, y, canvas.fonts.shown(cell.text), ha="center", va="center_baseline")
    axes.set_xticks(range(len(columns)), [row_label(canvas, name) for name in columns])
    axes.set_yticks(range(len(rows)), names)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel(canvas.fonts.shown(column_title))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _heat_colour(heat: float | None) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb  # noqa: PLC0415

    ground, full = to_rgb(light("ground")), to_rgb(light("heat"))
    share = 0.0 if heat is None else heat
    red, green, blue = (a + share * (b - a) for a, b in zip(ground, full, strict=True))
    return red, green, blue


def draw_lines(
    canvas: Canvas, lines: Sequence[Line], axis_title: str, x_title: str, *, is_log: bool
) -> None:
    """A line for each series along a logarithmic axis or named places; seeds are dashes."""
    size_with_legend(canvas, COLUMN_INCHES, 2.2, [line.name for line in lines])
    axes = canvas.figure.subplots()
    for place, line in enumerate(lines):
        shift = 0.0 if len(lines) == 1 else place / (len(lines) - 1) - 0.5
        xs = [x * 1.04**shift if is_log else x + 0.12 * shift for x in line.x]
        colour = series_colour(line.series)
        axes.plot(xs, [dot.mean for dot in line.dots], color=colour, linewidth=1.0, zorder=1)
        for x, dot in zip(xs, line.dots, strict=True):
            draw_interval(axes, dot, x=x, y=dot.mean, is_upright=True)
            _seed_dashes(axes, list(dot.by_seed.values()), x, colour)
    ticks = {x: text for line in lines for x, text in zip(line.x, line.texts, strict=True)}
    _named_ticks(axes, {x: row_label(canvas, text) for x, text in ticks.items()}, is_log=is_log)
    axes.grid(axis="y")
    axes.set_xlabel(canvas.fonts.shown(x_title))
    axes.set_ylabel(canvas.fonts.shown(axis_title))
    legend(canvas, [(line.name, line.series) for line in lines])


def _seed_dashes(axes: Axes, values: Sequence[float], x: float, colour: str) -> None:
    if len(values) > 1:
        axes.plot(
            [x] * len(values), values, linestyle="none", marker="_", markersize=5,
            markeredgewidth=0.8, color=colour,
        )  # fmt: skip


def _named_ticks(axes: Axes, ticks: dict[float, str], *, is_log: bool) -> None:
    if is_log:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(list(ticks), list(ticks.values()))
