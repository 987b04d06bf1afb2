"""What rows of one teacher are worth in rows of others, for a paper: a panel for each other one.

Nothing is extrapolated: what lies beyond the measured rows is a triangle on a line of its own at
the panel's edge, which the axis calls "> 2,000" or "< 250". An interval's open end runs there too.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import TYPE_CHECKING, Any

from understudy.metrics.exchange import Exchange, Rows
from understudy.pages.print_style import COLUMN_INCHES, TEXT_INCHES, Canvas, marker_style
from understudy.pages.theme import light, series_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_PANEL_INCHES = 2.2
_MAX_COLUMNS = 3
_TITLE_WIDTH = 30
_TICK_CHARACTERS = 16
_DOTTED = (0, (1, 1.5))
_TRIANGLES = {">": "^", "<": "v"}
_MEANINGS = {"": "worth, 95 % interval", ">": "more than was measured",
             "<": "fewer than was measured"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Range:
    """The rows of the other teacher that are drawn: measured ones, and the places beyond them.

    ``above`` and ``below`` are null where nothing lies there.
    """

    low: float
    high: float
    above: float | None
    below: float | None

    def place(self, rows: Rows) -> float:
        """Where a number of rows stands on the axis."""
        beyond = {">": self.above, "<": self.below}.get(rows.bound)
        return rows.count if beyond is None else beyond


def draw_worth(
    canvas: Canvas, panels: Mapping[str, Sequence[Exchange]], *, own: str, series: int
) -> None:
    """A panel for each other teacher, in the colour of the teacher whose rows are asked about.

    Args:
        canvas: Where to draw.
        panels: What rows of ``own`` are worth, by the other teacher's name.
        own: The teacher whose rows they are.
        series: The number of its curve, which gives the colour.
    """
    columns = min(len(panels), _MAX_COLUMNS)
    rows = -(-len(panels) // columns)
    canvas.size(COLUMN_INCHES if columns == 1 else TEXT_INCHES, 0.5 + _PANEL_INCHES * rows)
    grid = canvas.figure.subplots(rows, columns, squeeze=False, sharex=True)
    cells = list(grid.flat)
    for axes, (name, rates) in zip(cells, panels.items(), strict=False):
        _panel(axes, [one for one in rates if one.worth], series, is_narrow=columns > 1)
        title = textwrap.fill(f"in rows of {name}", _TITLE_WIDTH)
        axes.set_title(canvas.fonts.shown(title), fontsize=8, color=light("muted"))
    for axes in cells[len(panels) :]:
        axes.remove()
    for line in grid:
        line[0].set_ylabel("rows with the same score")
    canvas.figure.supxlabel(canvas.fonts.shown(f"rows of {own}"), fontsize=8)
    drawn = {one.worth.bound for rates in panels.values() for one in rates if one.worth}
    _legend(canvas, [bound for bound in _MEANINGS if bound in drawn], series)


def _panel(axes: Axes, rates: Sequence[Exchange], series: int, *, is_narrow: bool) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    if not rates:
        axes.text(0.5, 0.5, "undefined", transform=axes.transAxes, ha="center")
        return
    span = _range_of(rates)
    for one in rates:
        _mark(axes, one, span, series)
    sizes = [one.size for one in rates]
    low, high = max(min(sizes), span.low), min(max(sizes), span.high)
    if low < high:
        line: dict[str, Any] = {"color": light("muted"), "linewidth": 0.8, "linestyle": _DOTTED}
        axes.plot([low, high], [low, high], zorder=1, label="one for one", **line)
    for edge, beyond in ((span.high, span.above), (span.low, span.below)):
        if beyond is not None:
            axes.axhline((edge * beyond) ** 0.5, color=light("muted"), linewidth=0.5, zorder=0)
    _ticks(axes, sizes, span)
    if is_narrow and sum(len(f"{size:,}") for size in sizes) > _TICK_CHARACTERS:
        axes.tick_params(axis="x", rotation=45)


def _mark(axes: Axes, one: Exchange, span: _Range, series: int) -> None:
    """A dot, or a triangle beyond what was measured, with its interval."""
    if one.worth is None:
        return
    if one.low is not None and one.high is not None:
        ends = [span.place(one.low), span.place(one.high)]
        axes.plot([one.size] * 2, ends, color=series_colour(series), linewidth=1.2, zorder=2)
    axes.plot([one.size], [span.place(one.worth)], zorder=3, **_style(one.worth.bound, series))


def _style(bound: str, series: int) -> dict[str, Any]:
    own = marker_style(series, size=4.5)
    return own | {"marker": _TRIANGLES[bound], "markersize": 6} if bound else own


def _range_of(rates: Sequence[Exchange]) -> _Range:
    shown = [rows for one in rates for rows in (one.worth, one.low, one.high) if rows]
    counts = [rows.count for rows in shown]
    bounds = {rows.bound for rows in shown}
    low, high = min(counts), max(counts)
    if low == high:  # all beyond one side: the other side is not known
        low, high = (low / 4, high) if ">" in bounds else (low, high * 4)
    room = max(1.25, (high / low) ** 0.14)
    above, below = ">" in bounds, "<" in bounds
    return _Range(low, high, high * room if above else None, low / room if below else None)


def _ticks(axes: Axes, sizes: Sequence[int], span: _Range) -> None:
    """Sizes along x; round numbers along y, and the places beyond what was measured in words."""
    axes.minorticks_off()
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ticks = {value: f"{value:,.0f}" for value in round_values(span.low, span.high)}
    if span.above is not None:
        ticks[span.above] = f"> {span.high:,.0f}"
    if span.below is not None:
        ticks[span.below] = f"< {span.low:,.0f}"
    axes.set_yticks(list(ticks), list(ticks.values()))
    low, high = span.below or span.low, span.above or span.high
    margin = (high / low) ** 0.07
    axes.set_ylim(low / margin, high * margin)
    axes.grid(axis="y")


def round_values(low: float, high: float) -> list[float]:
    """Round numbers from ``low`` to ``high``: 1, 2 and 5 by powers of ten, else the two ends.

    >>> round_values(100, 700)
    [100.0, 200.0, 500.0]
    >>> round_values(55, 90)
    [55, 90]
    """
    powers = range(floor(log10(low)), floor(log10(high)) + 1)
    steps = (1, 2, 5) if log10(high / low) < 2.5 else (1,)
    found = [step * 10.0**power for power in powers for step in steps]
    inside = [value for value in found if low <= value <= high]
    return inside if len(inside) > 1 else [low, high]


def _legend(canvas: Canvas, bounds: Sequence[str], series: int) -> None:
    """What the marks mean; only those that are drawn."""
    from matplotlib.lines import Line2D  # noqa: PLC0415

    handles: list[Line2D] = [
        Line2D([], [], label=_MEANINGS[bound], **_style(bound, series)) for bound in bounds
    ]
    if any(line.get_label() == "one for one" for axes in canvas.figure.axes for line in axes.lines):
        handles.append(
            Line2D([], [], color=light("muted"), linewidth=0.8, linestyle=_DOTTED,
                   label="one for one")
        )  # fmt: skip
    columns = 2 if float(canvas.figure.get_figwidth()) <= COLUMN_INCHES else len(handles)
    canvas.figure.legend(handles=handles, loc="outside upper left", ncols=columns,
                         borderaxespad=0.2)  # fmt: skip
