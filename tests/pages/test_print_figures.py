"""Printed figures hold the page's numbers, in words that the machine's fonts have."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from understudy.pages.figures import Curve, Dot, PartDots
from understudy.pages.print_figures import (
    draw_buckets,
    draw_intervals,
    draw_losses,
    draw_parts,
)
from understudy.pages.print_style import (
    COLUMN_INCHES,
    MARKERS,
    TEXT_INCHES,
    Canvas,
    Fonts,
    find_fonts,
    marker_style,
    print_style,
    write_figure,
)
from understudy.pages.theme import BASELINE_SYMBOLS, COLOURS, SERIES, SYMBOLS

STRONG = Dot("_strong $a$ <b>", 0.9, 0.85, 0.94, 100, 0, {1: 0.91, 2: 0.89}, ".900")
BASE = Dot("base", 0.1, None, None, 1, -1, {}, ".100")
BUNDLED = "DejaVu Sans"


@pytest.fixture
def canvas() -> Iterator[Canvas]:
    fonts = Fonts((BUNDLED,))
    with print_style(fonts):
        yield Canvas(Figure(layout="constrained"), fonts)


def lines(axes: Axes, *, with_marker: bool) -> list[Line2D]:
    return [one for one in axes.lines if (one.get_marker() not in ("None", "|")) == with_marker]


def xs(line: Line2D) -> list[float]:
    return [float(x) for x in np.asarray(line.get_xdata(), dtype=float)]


def ys(line: Line2D) -> list[float]:
    return [float(y) for y in np.asarray(line.get_ydata(), dtype=float)]


def points(axes: Axes) -> list[tuple[float, float]]:
    found = lines(axes, with_marker=True)
    return [(xs(one)[0], ys(one)[0]) for one in found]


def test_means_intervals_and_seeds_are_those_given(canvas: Canvas) -> None:
    draw_intervals(canvas, [STRONG, BASE], "accuracy")
    (axes,) = canvas.figure.axes
    assert points(axes) == [(0.9, 0.0), (0.1, 1.0)]
    (interval,) = lines(axes, with_marker=False)[:1]
    assert xs(interval) == [0.85, 0.94]
    (seeds,) = [one for one in axes.lines if one.get_marker() == "|"]
    assert xs(seeds) == [0.91, 0.89]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["_strong $a$ <b>", "base"]
    assert axes.get_xlabel() == "accuracy"
    assert canvas.figure.get_figwidth() == COLUMN_INCHES


def test_an_undefined_interval_has_no_line(canvas: Canvas) -> None:
    draw_intervals(canvas, [BASE], "accuracy")
    assert lines(canvas.figure.axes[0], with_marker=False) == []


def test_a_long_name_is_whole_and_its_row_higher(canvas: Canvas) -> None:
    name = "lab_medium num_examples=400 max_length_ratio=1.25 prompt=chat_template"
    draw_intervals(canvas, [STRONG, Dot(name, 0.3, 0.2, 0.4, 9, 1)], "accuracy")
    (axes,) = canvas.figure.axes
    label = axes.get_yticklabels()[1].get_text()
    assert "".join(label.split()) == name.replace(" ", "")
    long = canvas.figure.get_figheight()
    canvas.figure.clear()
    draw_intervals(canvas, [STRONG, BASE], "accuracy")
    assert long > canvas.figure.get_figheight()


def test_an_undefined_bucket_is_a_gap_and_no_zero(canvas: Canvas) -> None:
    series = [
        PartDots("s", 0, {"0-2": STRONG, ">10": STRONG}),
        PartDots("_base", -1, {"3-5": BASE}),
    ]
    counts = {"0-2": 40, "3-5": 0, ">10": 1200}
    draw_buckets(canvas, series, counts, axis_title="ROUGE-L", part_title="words")
    (axes,) = canvas.figure.axes
    assert [round(x) for x, _ in points(axes)] == [0, 2, 1]
    joined = [one for one in lines(axes, with_marker=False) if len(xs(one)) == 3]
    assert np.isnan(ys(joined[0])).tolist() == [False, True, False]
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert labels == ["0-2\nn = 40", "3-5\nn = 0", ">10\nn = 1,200"]
    (legend,) = canvas.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["s", "_base"]


def test_parts_are_rows(canvas: Canvas) -> None:
    series = [PartDots("s", 0, {"max": STRONG, "min": STRONG}), PartDots("b", -1, {"min": BASE})]
    draw_parts(canvas, series, ["max", "min"], "accuracy")
    assert [round(y) for _, y in points(canvas.figure.axes[0])] == [0, 1, 1]


def test_losses_have_a_line_a_seed_and_an_entry_an_arm(canvas: Canvas) -> None:
    curves = [Curve("strong", 0, seed, [0, 1], [2.0, float(seed)]) for seed in (1, 2)]
    draw_losses(canvas, curves, curves[:1], "step")
    train, val = canvas.figure.axes
    assert [ys(one) for one in train.lines] == [[2.0, 1.0], [2.0, 2.0]]
    assert len(val.lines) == 1
    assert [text.get_text() for text in canvas.figure.legends[0].get_texts()] == ["strong"]
    assert canvas.figure.get_figwidth() == TEXT_INCHES


def test_arms_look_as_on_the_page() -> None:
    assert set(MARKERS) == {*SYMBOLS, *BASELINE_SYMBOLS}
    arm, baseline = marker_style(1, size=4), marker_style(-1, size=4)
    assert (arm["marker"], arm["markerfacecolor"]) == ("s", SERIES[1][0])
    assert baseline["markerfacecolor"] == COLOURS["ground"][0]
    assert baseline["markeredgecolor"] == COLOURS["baseline"][0]


def test_a_letter_that_no_font_has_is_a_square_and_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fonts = Fonts((BUNDLED,))
    dots = [Dot("强教师 a", 0.5, 0.4, 0.6, 9, 0), Dot("强 b", 0.5, 0.4, 0.6, 9, 1)]
    write_figure(tmp_path, "result", lambda canvas: draw_intervals(canvas, dots, "x"), fonts)
    fonts.warn()
    assert fonts.shown("强a b\n") == "\N{WHITE SQUARE}a b\n"
    (record,) = caplog.records
    assert "师 强 教" in record.getMessage()
    assert "fonts-noto-cjk" in record.getMessage()


def test_words_that_all_fonts_have_need_no_chinese_one(caplog: pytest.LogCaptureFixture) -> None:
    fonts = find_fonts(["lab_strong", "é \N{MINUS SIGN} …"])
    assert fonts.families[-1] == BUNDLED
    fonts.warn()
    assert caplog.records == []


def test_a_chinese_font_is_found_where_one_is_installed() -> None:
    fonts = find_fonts(["强教师"])
    if fonts.families[-1] == BUNDLED:
        pytest.skip("no Chinese font on this machine")
    assert fonts.shown("强教师 a") == "强教师 a"


def settings() -> dict[str, object]:
    """matplotlib's settings; reading the backend would choose one."""
    return {key: value for key, value in mpl.rcParams.copy().items() if key != "backend"}


@pytest.fixture
def draw() -> Callable[[Canvas], None]:
    return lambda canvas: draw_intervals(canvas, [STRONG, BASE], "accuracy")


def test_files_are_the_same_twice_and_hold_no_type_3_font(
    tmp_path: Path, draw: Callable[[Canvas], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    before = settings()
    written = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        paths = write_figure(tmp_path / name, "result", draw, find_fonts(["a"]))
        written.append([path.read_bytes() for path in paths])
    assert written[0] == written[1]
    pdf, svg = written[0]
    assert pdf.startswith(b"%PDF")
    assert b"/Type3" not in pdf
    assert b"/FontFile2" in pdf
    assert b"<dc:date>" not in svg
    assert settings() == before
    assert logging.getLogger("fontTools").level == logging.NOTSET
    assert caplog.records == []
