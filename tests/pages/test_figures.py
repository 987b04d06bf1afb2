"""Figures hold the numbers that they were given, and labels that cannot be markup."""

import pytest

from understudy.pages.figures import (
    Curve,
    Dot,
    Line,
    PartDots,
    bucket_figure,
    difference_figure,
    histogram_figure,
    interval_figure,
    label_text,
    line_figure,
    loss_figure,
    parts_figure,
    row_height,
)
from understudy.pages.worth import WorthDot, worth_figure

STRONG = Dot("strong", 0.9, 0.85, 0.94, 100, 0, {1: 0.91, 2: 0.89}, ".900")
BASE = Dot("base", 0.1, None, None, 1, -1, {}, ".100")


def test_intervals_are_drawn_from_the_mean() -> None:
    figure = interval_figure([STRONG, BASE], "accuracy")
    seeds, strong, base = figure.data
    assert list(seeds.x) == [0.91, 0.89]
    assert list(strong.x) == [0.9]
    assert strong.error_x.array[0] == pytest.approx(0.04)
    assert strong.error_x.arrayminus[0] == pytest.approx(0.05)
    assert base.error_x.array is None
    assert list(figure.layout.yaxis.ticktext) == ["strong", "base"]


def test_differences_show_the_zero_line_within_their_range() -> None:
    dot = Dot("a minus b", 0.3, 0.2, 0.4, 9, -1)
    figure = difference_figure([dot], "difference")
    low, high = figure.layout.xaxis.range
    assert low < 0
    assert high > 0.4
    assert figure.layout.shapes[0].x0 == 0


def test_parts_are_rows_and_a_missing_part_has_no_dot() -> None:
    series = [
        PartDots("strong", 0, {"max": STRONG, "min": STRONG}),
        PartDots("base", -1, {"min": BASE}),
    ]
    figure = parts_figure(series, ["max", "min"], "accuracy")
    assert [len(trace.x) for trace in figure.data] == [2, 1]
    assert round(figure.data[1].y[0]) == 1


def test_buckets_are_columns_with_their_n() -> None:
    series = [PartDots("strong", 0, {"0-2": STRONG, ">10": STRONG})]
    figure = bucket_figure(series, {"0-2": 40, ">10": 1200}, "ROUGE-L", "words")
    assert list(figure.layout.xaxis.ticktext) == ["0-2<br>n = 40", "&gt;10<br>n = 1,200"]
    assert figure.data[0].error_y.array[0] == pytest.approx(0.04)


def test_curves_have_one_legend_entry_an_arm() -> None:
    curves = [Curve("strong", 0, seed, [0, 1], [2.0, 1.0]) for seed in (1, 2)]
    figure = loss_figure(curves, curves, "step")
    assert [trace.showlegend for trace in figure.data] == [True, False, False, False]


def test_labels_are_escaped_and_wrapped_but_never_cut() -> None:
    assert label_text("<a href=x>&") == "&lt;a href=x&gt;&amp;"
    long = "a" * 250 + "b" * 250
    assert label_text(long).replace("<br>", "") == long
    assert label_text(f"{'a' * 30} \N{MINUS SIGN} b") == f"{'a' * 30} \N{MINUS SIGN} b"
    pair = f"{'a' * 40} \N{MINUS SIGN} b"
    assert label_text(pair) == f"{'a' * 36}<br>aaaa<br>\N{MINUS SIGN} b"
    assert row_height(["short"]) < row_height(["short", long])
    assert label_text("one two three", 9) == "one two<br>three"
    assert label_text("") == "—"


def test_lines_have_their_intervals_seeds_and_a_logarithmic_axis() -> None:
    lines = [
        Line("strong", 0, [100, 200], [STRONG, STRONG], ["100", "200"]),
        Line("base", -1, [100], [BASE], ["100"]),
    ]
    figure = line_figure(lines, "accuracy", "rows", is_log=True)
    seeds, strong, base = figure.data
    assert list(seeds.y) == [0.91, 0.89, 0.91, 0.89]
    assert list(strong.y) == [0.9, 0.9]
    assert list(strong.x) == pytest.approx([100, 200], rel=0.05)
    assert strong.error_y.array[0] == pytest.approx(0.04)
    assert base.error_y.array[0] == 0
    assert figure.layout.xaxis.type == "log"
    assert list(figure.layout.xaxis.tickvals) == [100, 200]
    named = line_figure(lines[:1], "accuracy", "size", is_log=False)
    assert named.layout.xaxis.type == "linear"
    assert list(named.data[1].x) == [100, 200]


def test_a_worth_beyond_the_range_is_an_open_triangle() -> None:
    dots = [
        WorthDot("a in b", 0, 100, 150, 120, 200, "", "100"),
        WorthDot("a in b", 0, 200, 800, 300, 800, ">", "<200>"),
    ]
    figure = worth_figure(dots, "rows of a", "rows of b")
    (trace,) = figure.data
    assert list(trace.marker.symbol) == ["circle", "triangle-up-open"]
    assert list(trace.error_y.arrayminus) == [30, 500]
    assert list(trace.customdata) == ["100", "&lt;200&gt;"]
    (line,) = figure.layout.shapes
    assert (line.x0, line.y0, line.x1, line.y1) == (100, 100, 800, 800)


def test_a_histogram_shows_empty_places_and_starts_at_zero() -> None:
    heights = {"1": 0.0, "2": 0.25, "3": 0.75}
    figure = histogram_figure([("<a>", 0, heights), ("b", 1, heights)], "share", "rating")
    assert [list(trace.x) for trace in figure.data] == [["1", "2", "3"]] * 2
    assert list(figure.data[0].y) == [0.0, 0.25, 0.75]
    assert figure.layout.yaxis.rangemode == "tozero"
    assert "<a>" not in figure.data[0].name
