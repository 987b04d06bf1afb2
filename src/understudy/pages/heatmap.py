"""A matrix of numbers, coloured, as a figure.

The strongest colour still lets the ink be read, in the light theme and in the dark one.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from understudy.pages.figures import label_text, row_height
from understudy.pages.theme import figure_layout, light

_LABEL_WIDTH = 22


@dataclass(frozen=True, slots=True)
class HeatCell:
    """A value with its text; ``heat`` from 0 to 1 colours it, ``is_marked`` frames it."""

    text: str
    heat: float | None
    is_marked: bool = False
    hover: str = ""


def matrix_figure(
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Sequence[Sequence[HeatCell]],
    *,
    column_title: str,
) -> go.Figure:
    """Rows by columns, each cell with its number; the stronger the colour, the greater its heat."""
    figure = go.Figure(
        go.Heatmap(
            z=[[cell.heat for cell in row] for row in cells],
            text=[[html.escape(cell.text) for cell in row] for row in cells],
            customdata=[[html.escape(cell.hover) for cell in row] for row in cells],
            texttemplate="%{text}", textfont={"color": light("ink"), "size": 15},
            hovertemplate="%{customdata}<extra></extra>", hoverongaps=False,
            colorscale=[[0, light("ground")], [1, light("heat")]], zmin=0, zmax=1,
            showscale=False, xgap=2, ygap=2,
        )
    )  # fmt: skip
    for y, row in enumerate(cells):
        for x, cell in enumerate(row):
            if cell.is_marked:
                figure.add_shape(
                    type="rect", x0=x - 0.48, x1=x + 0.48, y0=y - 0.46, y1=y + 0.46,
                    line={"color": light("ink"), "width": 2},
                )  # fmt: skip
    layout = figure_layout(height=120 + row_height(rows, _LABEL_WIDTH) * len(rows))
    figure.update_layout(**layout | {"margin": {"l": 10, "r": 24, "t": 14, "b": 10, "pad": 4}})
    _category_axis(figure.update_xaxes, columns, side="top", title_text=column_title)
    _category_axis(figure.update_yaxes, rows, range=[len(rows) - 0.5, -0.5])
    return figure


def _category_axis(update: Callable[..., object], names: Sequence[str], **own: object) -> None:
    ticks = {
        "tickvals": list(range(len(names))),
        "ticktext": [label_text(name, _LABEL_WIDTH) for name in names],
        "showgrid": False,
        "zeroline": False,
    }
    update(**ticks | own)
