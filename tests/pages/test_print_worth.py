"""Printed worth of rows: a panel a teacher, one colour, and nothing extrapolated."""

from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from understudy.metrics.exchange import Exchange, Rows
from understudy.pages.print_style import COLUMN_INCHES, TEXT_INCHES, Canvas, Fonts, print_style
from understudy.pages.print_worth import draw_worth, round_values
from understudy.pages.theme import series_colour

BELOW, ABOVE = Rows(100, "<"), Rows(700, ">")
RATES = [
    Exchange(100, BELOW, BELOW, Rows(300), 9),
    Exchange(200, Rows(250), Rows(180), Rows(400), 9),
    Exchange(400, ABOVE, Rows(500), ABOVE, 9),
]


@pytest.fixture
def canvas() -> Iterator[Canvas]:
    fonts = Fonts(("DejaVu Sans",))
    with print_style(fonts):
        yield Canvas(Figure(layout="constrained"), fonts)


def xy(line: Line2D) -> list[tuple[float, float]]:
    xs, ys = (np.asarray(values, dtype=float) for values in line.get_data())
    return [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]


def marks(axes: Axes) -> list[Line2D]:
    return [line for line in axes.lines if line.get_marker() not in ("None", None)]


def ticks(axes: Axes) -> dict[str, float]:
    places = [float(place) for place in axes.get_yticks()]
    return dict(zip([text.get_text() for text in axes.get_yticklabels()], places, strict=True))


def test_what_lies_beyond_stands_where_the_axis_says_so(canvas: Canvas) -> None:
    draw_worth(canvas, {"b": RATES}, own="a", series=1)
    (axes,) = canvas.figure.axes
    places = ticks(axes)
    assert list(places) == ["100", "200", "500", "> 700", "< 100"]
    assert places["< 100"] < 100
    assert places["> 700"] > 700
    assert [(line.get_marker(), xy(line)) for line in marks(axes)] == [
        ("v", [(100, places["< 100"])]),
        ("s", [(200, 250)]),
        ("^", [(400, places["> 700"])]),
    ]
    intervals = [xy(line) for line in axes.lines if line.get_color() == series_colour(1)
                 and len(xy(line)) == 2]  # fmt: skip
    assert intervals == [
        [(100, places["< 100"]), (100, 300)],
        [(200, 180), (200, 400)],
        [(400, 500), (400, places["> 700"])],
    ]
    assert [text.get_text() for text in canvas.figure.legends[0].get_texts()] == [
        "worth, 95 % interval", "more than was measured", "fewer than was measured", "one for one"
    ]  # fmt: skip
    assert canvas.figure.get_figwidth() == COLUMN_INCHES


def test_each_other_teacher_has_a_panel_and_all_have_one_colour(canvas: Canvas) -> None:
    inside = [Exchange(100, Rows(150), Rows(120), Rows(200), 9)]
    draw_worth(canvas, {"b": RATES, "c": inside, "d": RATES, "e": inside}, own="a", series=0)
    panels = canvas.figure.axes
    assert [axes.get_title() for axes in panels] == [f"in rows of {name}" for name in "bcde"]
    assert "> 700" not in ticks(panels[1])
    colours = {line.get_markerfacecolor() for axes in panels for line in marks(axes)}
    assert colours == {series_colour(0)}
    assert canvas.figure.get_figwidth() == TEXT_INCHES


def test_the_legend_names_only_what_is_drawn(canvas: Canvas) -> None:
    draw_worth(canvas, {"b": [Exchange(100, ABOVE, ABOVE, ABOVE, 9)]}, own="a", series=0)
    (axes,) = canvas.figure.axes
    texts = [text.get_text() for text in canvas.figure.legends[0].get_texts()]
    assert texts == ["more than was measured"]
    assert "> 700" in ticks(axes)


def test_an_undefined_worth_has_no_mark(canvas: Canvas) -> None:
    rates = [RATES[1], Exchange(400, None, None, None, 0, "no item")]
    draw_worth(canvas, {"b": rates}, own="a", series=0)
    assert [xy(line) for line in marks(canvas.figure.axes[0])] == [[(200, 250)]]


def test_round_values_are_inside_and_at_least_two() -> None:
    assert round_values(250, 2000) == [500, 1000, 2000]
    assert round_values(1, 10_000) == [1, 10, 100, 1000, 10_000]
    assert round_values(268, 299) == [268, 299]
