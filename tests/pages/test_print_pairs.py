"""Printed differences: whole names, the numbers beside them, the line of no difference."""

from collections.abc import Iterator

import pytest
from matplotlib.figure import Figure

from understudy.pages.figures import Dot
from understudy.pages.print_pairs import PairGroup, draw_differences, pair_lines
from understudy.pages.print_style import COLUMN_INCHES, TEXT_INCHES, Canvas, Fonts, print_style

MINUS = "\N{MINUS SIGN}"
SHORT = Dot(f"a {MINUS} b", 0.3, 0.2, 0.4, 9, -1, {1: 0.25, 2: 0.35}, "+.300")
LONG_ARMS = ("lab_medium num_examples=400", "lab_medium num_examples=700")
LONG = Dot(f" {MINUS} ".join(LONG_ARMS), -0.1, None, None, 9, -1, {}, f"{MINUS}.100")


@pytest.fixture
def canvas() -> Iterator[Canvas]:
    fonts = Fonts(("DejaVu Sans",))
    with print_style(fonts):
        yield Canvas(Figure(layout="constrained"), fonts)


def test_rows_stand_under_their_headings_with_numbers_beside(canvas: Canvas) -> None:
    draw_differences(canvas, [PairGroup("At 100 rows", [SHORT]), PairGroup("Other", [SHORT])], "d")
    (axes,) = canvas.figure.axes
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["At 100 rows", SHORT.name, "Other", SHORT.name]
    assert [text.get_text() for text in axes.texts] == ["+.300", "+.300"]
    assert {text.get_position()[0] for text in axes.texts} == {1.02}
    places = [float(place) for place in axes.get_yticks()]
    assert places == sorted(places)
    assert [text.get_position()[1] for text in axes.texts] == [places[1], places[3]]
    dots = [line for line in axes.lines if line.get_marker() not in ("None", "|")]
    assert [list(line.get_xdata()) for line in dots] == [[0.3], [0.3]]  # type: ignore[arg-type]  # plain lists
    assert list(axes.lines[0].get_xdata()) == [0, 0]  # type: ignore[arg-type]  # plain lists
    assert axes.get_xlim()[0] < 0
    assert canvas.figure.get_figwidth() == COLUMN_INCHES


def test_long_names_take_the_pages_width_and_stay_whole(canvas: Canvas) -> None:
    draw_differences(canvas, [PairGroup("", [LONG, SHORT])], "difference", "2 of 9 pairs")
    (axes,) = canvas.figure.axes
    assert canvas.figure.get_figwidth() == TEXT_INCHES
    assert axes.get_yticklabels()[0].get_text() == f"{LONG_ARMS[0]}\n{MINUS} {LONG_ARMS[1]}"
    assert axes.get_xlabel() == "difference\n2 of 9 pairs"


def test_a_name_without_a_place_to_break_is_wrapped_and_whole() -> None:
    text = pair_lines(f"{'x' * 50} {MINUS} b", 44)
    assert text == f"{'x' * 44}\n{'x' * 6}\n{MINUS} b"


@pytest.mark.parametrize("count", [1, 24])
def test_a_figure_fits_a_page(canvas: Canvas, count: int) -> None:
    draw_differences(canvas, [PairGroup("heading", [LONG] * count)], "difference")
    assert canvas.figure.get_figheight() < 10
