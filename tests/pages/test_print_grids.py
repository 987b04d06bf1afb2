"""Printed matrices and curves hold the page's numbers; what is undefined has no mark."""

from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from understudy.pages.figures import Dot, Line
from understudy.pages.heatmap import HeatCell
from understudy.pages.print_grids import draw_lines, draw_matrix
from understudy.pages.print_style import COLUMN_INCHES, TEXT_INCHES, Canvas, Fonts, print_style
from understudy.pages.theme import light


def xy(line: Line2D) -> list[tuple[float, float]]:
    xs, ys = (np.asarray(values, dtype=float) for values in line.get_data())
    return [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]


@pytest.fixture
def canvas() -> Iterator[Canvas]:
    fonts = Fonts(("DejaVu Sans",))
    with print_style(fonts):
        yield Canvas(Figure(layout="constrained"), fonts)


def test_a_matrix_is_coloured_by_heat_and_framed_where_marked(canvas: Canvas) -> None:
    cells = [[HeatCell(".2", 1.0, is_marked=True), HeatCell("—", None)]]
    draw_matrix(canvas, ["a"], ["t", "u"], cells, column_title="loss on")
    (axes,) = canvas.figure.axes
    patches = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    filled = [to_hex(patch.get_facecolor()) for patch in patches if patch.get_fill()]
    assert filled == [light("heat"), light("ground")]
    assert sum(not patch.get_fill() for patch in patches) == 1
    assert [text.get_text() for text in axes.texts] == [".2", "—"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["t", "u"]
    assert canvas.figure.get_figwidth() == COLUMN_INCHES


def test_a_matrix_of_many_columns_takes_the_texts_width(canvas: Canvas) -> None:
    cells = [[HeatCell("1", 0.5)] * 9]
    draw_matrix(canvas, ["a"], list("abcdefghi"), cells, column_title="loss on")
    assert canvas.figure.get_figwidth() == TEXT_INCHES


@pytest.mark.parametrize("is_log", [True, False])
def test_curves_stand_at_their_sizes_with_seeds_and_intervals(canvas: Canvas, is_log: bool) -> None:
    dots = [Dot("s", 0.5, 0.4, 0.6, 9, 0, {1: 0.45, 2: 0.55}), Dot("s", 0.7, None, None, 9, 0)]
    lines = [Line("strong", 0, [100, 400], dots, ["100", "400"])]
    draw_lines(canvas, lines, "accuracy", "training rows", is_log=is_log)
    (axes,) = canvas.figure.axes
    curve, *rest = axes.lines
    assert xy(curve) == [(100, 0.5), (400, 0.7)]
    seeds = [one for one in rest if one.get_marker() == "_"]
    assert [y for one in seeds for _, y in xy(one)] == [0.45, 0.55]
    assert len([one for one in rest if one.get_marker() == "None"]) == 1
    assert axes.get_xscale() == ("log" if is_log else "linear")
    assert [text.get_text() for text in axes.get_xticklabels()] == ["100", "400"]
