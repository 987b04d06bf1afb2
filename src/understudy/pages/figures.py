"""The figures of a comparison, from plain values: dots with intervals, differences, curves, parts.

Built with plotly in the light colours (pages.theme); every figure says its unit on the axis.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from understudy.pages.theme import figure_layout, light, series_colour, series_marker

_ROW_HEIGHT = 46
_LABEL_WIDTH = 36
_MINUS = "\N{MINUS SIGN}"
_GROUP_SPAN = 0.64


@dataclass(frozen=True, slots=True)
class Dot:
    """A mean with its interval; ``series`` numbers the arm, a baseline from -1 down.

    ``by_seed`` are the values of single runs, ``text`` stands above the dot.
    """

    name: str
    mean: float
    low: float | None
    high: float | None
    n: int
    series: int = -1
    by_seed: Mapping[int, float] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """One run's values along training."""

    name: str
    series: int
    seed: int
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, slots=True)
class PartDots:
    """One arm's or baseline's dots by part (a task family, a length bucket)."""

    name: str
    series: int
    dots: Mapping[str, Dot]


@dataclass(frozen=True, slots=True)
class Line:
    """Dots joined along x; ``texts`` name their places."""

    name: str
    series: int
    x: Sequence[float]
    dots: Sequence[Dot]
    texts: Sequence[str]


def interval_figure(dots: Sequence[Dot], axis_title: str) -> go.Figure:
    """A row for each arm: its mean and interval, the seeds as ticks, baselines in grey."""
    return _dot_rows(dots, axis_title)


def difference_figure(dots: Sequence[Dot], axis_title: str) -> go.Figure:
    """A row for each pair, with the line of no difference. Rows are grey: a pair is no arm."""
    figure = _dot_rows(dots, axis_title)
    figure.add_vline(x=0, line={"color": light("ink"), "width": 1.5, "dash": "dot"})
    ends = [
        value
        for dot in dots
        for value in (0.0, dot.mean, dot.low, dot.high, *dot.by_seed.values())
        if value is not None
    ]
    room = 0.06 * (max(ends) - min(ends) or 1.0)
    figure.update_xaxes(range=[min(ends) - room, max(ends) + room], tickformat="~g")
    return figure


def _dot_rows(dots: Sequence[Dot], axis_title: str) -> go.Figure:
    figure = go.Figure()
    for row, dot in enumerate(dots):
        _add_seed_ticks(figure, dot, row)
        _add_dot(figure, dot, x=dot.mean, y=row)
    figure.update_layout(
        **figure_layout(height=110 + row_height(dot.name for dot in dots) * len(dots))
        | {"margin": _tight_top()},
        showlegend=False,
    )
    figure.update_yaxes(
        tickvals=list(range(len(dots))),
        ticktext=[label_text(dot.name) for dot in dots],
        range=[len(dots) - 0.45, -0.75],
        showgrid=False,
        zeroline=False,
    )
    figure.update_xaxes(title_text=axis_title, zeroline=False)
    return figure


def _tight_top() -> dict[str, int]:
    return {"l": 10, "r": 24, "t": 14, "b": 10, "pad": 4}


def _add_dot(figure: go.Figure, dot: Dot, *, x: float, y: float) -> None:
    colour = series_colour(dot.series)
    figure.add_trace(
        go.Scatter(
            x=[x], y=[y], mode="markers+text", name=html.escape(dot.name),
            marker=series_marker(dot.series, size=11),
            error_x=_error_bar(dot, colour),
            text=[dot.text], textposition="top center", textfont={"size": 13}, cliponaxis=False,
            hovertemplate=_hover(dot),
        )
    )  # fmt: skip


def _error_bar(dot: Dot, colour: str) -> dict[str, object] | None:
    if dot.low is None or dot.high is None:
        return None
    return {
        "type": "data", "symmetric": False, "color": colour, "thickness": 2.5, "width": 5,
        "array": [max(0.0, dot.high - dot.mean)], "arrayminus": [max(0.0, dot.mean - dot.low)],
    }  # fmt: skip


def _add_seed_ticks(figure: go.Figure, dot: Dot, row: int) -> None:
    if len(dot.by_seed) < 2:
        return
    figure.add_trace(
        go.Scatter(
            x=list(dot.by_seed.values()), y=[row + 0.27] * len(dot.by_seed), mode="markers",
            marker={"color": series_colour(dot.series), "size": 10, "symbol": "line-ns-open",
                    "line": {"width": 2}},
            customdata=list(dot.by_seed), name=html.escape(dot.name),
            hovertemplate="seed %{customdata}: %{x:.3f}<extra>%{fullData.name}</extra>",
        )
    )  # fmt: skip


def _hover(dot: Dot) -> str:
    interval = "no interval"
    if dot.low is not None and dot.high is not None:
        interval = f"95 % interval {dot.low:.3f} to {dot.high:.3f}"
    name = html.escape(dot.name)
    return f"<b>{name}</b><br>{dot.mean:.3f}, {interval}<br>n = {dot.n}<extra></extra>"


def label_text(name: str, width: int = _LABEL_WIDTH) -> str:
    """A name as a figure's label: escaped, on as many lines as it needs, never cut."""
    lines = label_lines(name, width)
    return "<br>".join(html.escape(line, quote=False) for line in lines) or "—"


def label_lines(name: str, width: int = _LABEL_WIDTH) -> list[str]:
    """The lines of a label; the second arm of a difference starts one of its own."""
    first, minus, second = name.partition(f" {_MINUS} ")
    parts = [first, f"{_MINUS} {second}"] if minus and len(name) > width else [name]
    return (
        [
            line
            for part in parts
            for line in textwrap.wrap(part, width, break_long_words=True) or [""]
        ]
        if name.strip()
        else []
    )


def row_height(names: Iterable[str], width: int = _LABEL_WIDTH) -> int:
    """The height of a row that holds the longest of its labels."""
    return max(
        _ROW_HEIGHT, 10 + 18 * max((len(label_lines(name, width)) for name in names), default=1)
    )


@dataclass(frozen=True, slots=True)
class LossWords:
    """What a figure of training calls its panel on the right and its axis of values."""

    validation: str = "validation, each arm on its own teacher's answers"
    values: str = "nats per supervised token"


OF_STUDENTS = LossWords()


def loss_figure(
    train: Sequence[Curve], val: Sequence[Curve], x_title: str, words: LossWords = OF_STUDENTS
) -> go.Figure:
    """Training beside validation: a thin line a seed, a colour an arm, one axis of values."""
    figure = make_subplots(
        cols=2, shared_yaxes=True, horizontal_spacing=0.05,
        subplot_titles=("training (smoothed)", words.validation),
    )  # fmt: skip
    named: set[str] = set()
    for column, curves, mode in ((1, train, "lines"), (2, val, "lines+markers")):
        for curve in curves:
            figure.add_trace(
                _line(curve, mode, is_named=curve.name not in named), row=1, col=column
            )
            named.add(curve.name)
    layout = figure_layout(height=430)
    axis = layout.pop("xaxis")
    del layout["yaxis"]
    figure.update_layout(**layout | {"margin": {**layout["margin"], "t": 84}})
    figure.update_layout(legend_y=1.1)
    figure.update_xaxes(**axis, title_text=x_title, zeroline=False)
    figure.update_yaxes(**axis, zeroline=False)
    figure.update_yaxes(title_text=words.values, col=1)
    figure.update_annotations(font={"size": 14, "color": light("muted")})
    return figure


def _line(curve: Curve, mode: str, *, is_named: bool) -> go.Scatter:
    colour = series_colour(curve.series)
    return go.Scatter(
        x=list(curve.x), y=list(curve.y), mode=mode, name=label_text(curve.name, 40),
        legendgroup=curve.name, showlegend=is_named,
        line={"color": colour, "width": 1.6},
        marker=series_marker(curve.series, size=7),
        hovertemplate=f"seed {curve.seed}: %{{y:.3f}} at %{{x:,}}<extra>%{{fullData.name}}</extra>",
    )  # fmt: skip


def parts_figure(series: Sequence[PartDots], parts: Sequence[str], axis_title: str) -> go.Figure:
    """A row for each part, in it a dot with its interval for each arm and baseline."""
    figure = go.Figure()
    for place, one in enumerate(series):
        shift = _shift(place, len(series))
        shown = [(row, one.dots[part]) for row, part in enumerate(parts) if part in one.dots]
        figure.add_trace(
            _part_trace(
                one,
                [dot for _, dot in shown],
                x=[dot.mean for _, dot in shown],
                y=[row + shift for row, _ in shown],
                error="error_x",
            )
        )
    height = 120 + len(parts) * max(_ROW_HEIGHT, 14 * len(series) + 14)
    figure.update_layout(**figure_layout(height=height), showlegend=True)
    figure.update_yaxes(
        tickvals=list(range(len(parts))),
        ticktext=[label_text(part) for part in parts],
        range=[len(parts) - 0.5, -0.5],
        showgrid=False,
        zeroline=False,
    )
    for border in range(1, len(parts)):
        figure.add_hline(y=border - 0.5, line={"color": light("grid"), "width": 1})
    figure.update_xaxes(title_text=axis_title, zeroline=False)
    return figure


def bucket_figure(
    series: Sequence[PartDots], counts: Mapping[str, int], axis_title: str, part_title: str
) -> go.Figure:
    """Ordered parts along x, joined by a line for each arm; ``counts`` has each part's n."""
    figure = go.Figure()
    parts = list(counts)
    for place, one in enumerate(series):
        shift = _shift(place, len(series)) * 0.5
        shown = [(column, one.dots[part]) for column, part in enumerate(parts) if part in one.dots]
        trace = _part_trace(
            one,
            [dot for _, dot in shown],
            x=[column + shift for column, _ in shown],
            y=[dot.mean for _, dot in shown],
            error="error_y",
        )
        trace.mode = "lines+markers"
        trace.line = {"color": series_colour(one.series), "width": 1, "dash": "dot"}
        figure.add_trace(trace)
    figure.update_layout(**figure_layout(height=440), showlegend=True)
    figure.update_xaxes(
        tickvals=list(range(len(parts))),
        ticktext=[f"{html.escape(part)}<br>n = {counts[part]:,}" for part in parts],
        range=[-0.5, len(parts) - 0.5],
        title_text=part_title,
        showgrid=False,
        zeroline=False,
    )
    figure.update_yaxes(title_text=axis_title, zeroline=False)
    return figure


def histogram_figure(
    series: Sequence[tuple[str, int, Mapping[str, float]]], axis_title: str, x_title: str
) -> go.Figure:
    """Bars side by side over named places; each series is its name, number and heights."""
    figure = go.Figure()
    for name, number, heights in series:
        figure.add_trace(
            go.Bar(
                x=list(heights), y=list(heights.values()), name=label_text(name, 40),
                marker={"color": series_colour(number), "line": {"width": 0}},
                hovertemplate=f"{html.escape(name)}: %{{y:.1%}} are %{{x}}<extra></extra>",
            )
        )  # fmt: skip
    figure.update_layout(**figure_layout(height=380), showlegend=True, barmode="group", bargap=0.25)
    figure.update_xaxes(title_text=x_title, type="category", showgrid=False, zeroline=False)
    figure.update_yaxes(title_text=axis_title, rangemode="tozero", tickformat=".0%")
    return figure


def _shift(place: int, count: int) -> float:
    """Where the ``place``-th of ``count`` dots stands around its row, in rows."""
    return 0.0 if count == 1 else _GROUP_SPAN * (place / (count - 1) - 0.5)


def _part_trace(
    one: PartDots, dots: Sequence[Dot], *, x: Sequence[float], y: Sequence[float], error: str
) -> go.Scatter:
    """``error`` is the axis of the intervals: error_x or error_y."""
    colour = series_colour(one.series)
    bars = {
        "type": "data", "symmetric": False, "color": colour, "thickness": 1.8, "width": 3,
        "array": [0.0 if dot.high is None else max(0.0, dot.high - dot.mean) for dot in dots],
        "arrayminus": [0.0 if dot.low is None else max(0.0, dot.mean - dot.low) for dot in dots],
    }  # fmt: skip
    return go.Scatter(
        x=list(x), y=list(y), mode="markers", name=label_text(one.name, 40),
        marker=series_marker(one.series, size=9),
        customdata=[_hover(dot).removesuffix("<extra></extra>") for dot in dots],
        hovertemplate="%{customdata}<extra></extra>",
        **{error: bars},
    )  # fmt: skip


def line_figure(lines: Sequence[Line], axis_title: str, x_title: str, *, is_log: bool) -> go.Figure:
    """A line for each series along a logarithmic axis or named places; seeds are dashes."""
    figure = go.Figure()
    for place, line in enumerate(lines):
        shift = _shift(place, len(lines))
        x = [value * 1.06**shift if is_log else value + 0.2 * shift for value in line.x]
        _add_seed_dashes(figure, line, x)
        trace = _part_trace(
            PartDots(line.name, line.series, {}), line.dots,
            x=x, y=[dot.mean for dot in line.dots], error="error_y",
        )  # fmt: skip
        trace.mode = "lines+markers"
        trace.line = {"color": series_colour(line.series), "width": 1.8}
        figure.add_trace(trace)
    ticks = {value: text for line in lines for value, text in zip(line.x, line.texts, strict=True)}
    figure.update_layout(**figure_layout(height=460), showlegend=True)
    figure.update_xaxes(
        type="log" if is_log else "linear",
        tickvals=list(ticks), ticktext=[label_text(text, 22) for text in ticks.values()],
        title_text=x_title, zeroline=False,
    )  # fmt: skip
    figure.update_yaxes(title_text=axis_title, zeroline=False)
    return figure


def _add_seed_dashes(figure: go.Figure, line: Line, x: Sequence[float]) -> None:
    seeds = [
        (place, seed, value)
        for place, dot in zip(x, line.dots, strict=True)
        if len(dot.by_seed) > 1
        for seed, value in dot.by_seed.items()
    ]
    if not seeds:
        return
    figure.add_trace(
        go.Scatter(
            x=[place for place, _, _ in seeds], y=[value for _, _, value in seeds], mode="markers",
            marker={"color": series_colour(line.series), "size": 9, "symbol": "line-ew-open",
                    "line": {"width": 1.5}},
            customdata=[seed for _, seed, _ in seeds], showlegend=False,
            name=label_text(line.name, 40),
            hovertemplate="seed %{customdata}: %{y:.3f}<extra>%{fullData.name}</extra>",
        )
    )  # fmt: skip
