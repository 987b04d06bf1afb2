"""Colours of pages and figures, in light and dark, and the layout that all figures share.

Figures are built in the light colours, so that they export as they are; the page maps each of them
to its dark twin when the reader's theme asks for it. Arm colours follow Okabe and Ito's palette for
colour-blind readers, darkened or lightened to at least 3:1 against the ground; symbols differ too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SERIES = (
    ("#0067a8", "#63b8f0"),
    ("#c44e00", "#ff9a5c"),
    ("#00785a", "#3fd0a4"),
    ("#9a4590", "#e6a0d4"),
    ("#7d6200", "#ecc44a"),
    ("#3f48b5", "#a9b1ff"),
    ("#ad1240", "#ff8aa5"),
    ("#4d5b66", "#b4c2cd"),
)
"""(light, dark) of each arm's colour; more arms start again with another symbol."""

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "star", "x")
GLYPHS = "●■◆▲▼✚★✖"
"""The same symbols in text."""

BASELINE_SYMBOLS = (
    "circle", "diamond", "square", "triangle-up", "triangle-down", "pentagon", "star", "hexagon",
)  # fmt: skip
"""Drawn hollow, see :func:`series_marker`."""

BASELINE_GLYPHS = "○◇□△▽⬠☆⬡"

COLOURS: Mapping[str, tuple[str, str]] = {
    "ground": ("#ffffff", "#15181d"),
    "panel": ("#f5f6f8", "#1e232a"),
    "ink": ("#1b1f24", "#e8eaed"),
    "muted": ("#565e68", "#a9b1bb"),
    "line": ("#d5d9de", "#3a424c"),
    "grid": ("#e6e9ec", "#2a3038"),
    "baseline": ("#6b7480", "#98a2ad"),
    "accent": ("#0b5cad", "#7cc0ff"),
    "alert": ("#a3161a", "#ff9c96"),
    "alert-ground": ("#fdeeee", "#3a1d1e"),
    "note-ground": ("#eef4fb", "#1b2a3a"),
    "heat": ("#a3c9ea", "#24527e"),
    "found": ("#ffe08a", "#6b5300"),
}
"""(light, dark) of each named colour; ``--NAME`` in the page's style."""

FONT = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Helvetica Neue", Arial, '
    '"PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "Noto Sans CJK SC", '
    '"Source Han Sans SC", sans-serif'
)
"""Fonts that systems have, with Chinese, Japanese and Korean ones; none is downloaded."""


def light(name: str) -> str:
    """The light value of a named colour, which figures are built in."""
    return COLOURS[name][0]


def series_colour(series: int) -> str:
    """An arm's light colour by its number; baselines, counted from -1 down, are grey."""
    return light("baseline") if series < 0 else SERIES[series % len(SERIES)][0]


def series_marker(series: int, *, size: int) -> dict[str, Any]:
    """A series' marker in a figure: filled for arms, hollow for baselines."""
    place = _symbol_place(series)
    if series >= 0:
        return {"symbol": SYMBOLS[place], "color": series_colour(series), "size": size}
    line = {"color": series_colour(series), "width": 1.8}
    return {
        "symbol": BASELINE_SYMBOLS[place], "color": light("ground"), "size": size, "line": line,
    }  # fmt: skip


def series_glyph(series: int) -> str:
    """The marker of :func:`series_marker` as a character."""
    place = _symbol_place(series)
    return BASELINE_GLYPHS[place] if series < 0 else GLYPHS[place]


def _symbol_place(series: int) -> int:
    """Arms whose colours repeat are shifted by one symbol for each time around."""
    if series < 0:
        return (-1 - series) % len(BASELINE_SYMBOLS)
    return (series + series // len(SERIES)) % len(SYMBOLS)


def dark_of_light() -> dict[str, str]:
    """Every light colour's dark twin, for the page's theme switch."""
    return dict([*COLOURS.values(), *SERIES])


def css_variables(theme: int) -> str:
    """The declarations of all colours; ``theme`` is 0 for light and 1 for dark."""
    named = {name: values[theme] for name, values in COLOURS.items()}
    named |= {f"series-{number}": values[theme] for number, values in enumerate(SERIES)}
    return " ".join(f"--{name}: {value};" for name, value in named.items())


def figure_layout(*, height: int) -> dict[str, Any]:
    """What all figures share: fonts, grounds, grids, margins that grow with their labels."""
    axis = {
        "gridcolor": light("grid"),
        "linecolor": light("line"),
        "zerolinecolor": light("line"),
        "tickcolor": light("line"),
        "automargin": True,
        "title": {"standoff": 10},
    }
    return {
        "height": height,
        "font": {"family": FONT, "size": 14, "color": light("ink")},
        "paper_bgcolor": light("ground"),
        "plot_bgcolor": light("ground"),
        "modebar": {
            "bgcolor": light("ground"), "color": light("muted"), "activecolor": light("ink"),
        },
        "margin": {"l": 10, "r": 24, "t": 40, "b": 10, "pad": 4},
        "hoverlabel": {
            "font": {"family": FONT, "size": 13, "color": light("ink")},
            "bgcolor": light("panel"),
            "bordercolor": light("line"),
            "align": "left",
        },
        "legend": {
            "orientation": "h", "x": 0, "xanchor": "left", "y": 1.0, "yanchor": "bottom",
            "font": {"size": 14}, "itemsizing": "constant",
        },
        "xaxis": axis,
        "yaxis": axis,
    }  # fmt: skip
