"""Differences of pairs for a paper: rows under headings, the numbers in a column of their own.

Names are never cut: what tells two arms apart may stand in the middle. Where they are long, the
figure takes the width of the page.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from understudy.pages.figures import Dot
from understudy.pages.print_figures import draw_interval, draw_seeds
from understudy.pages.print_style import COLUMN_INCHES, TEXT_INCHES, Canvas
from understudy.pages.theme import light

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINE_INCHES = 0.125
_GAP_INCHES = 0.11
_FRAME_INCHES = 0.5
_COLUMN_WIDTH = 20
_TEXT_WIDTH = 44
_MAX_NARROW = 12
_MINUS = "\N{MINUS SIGN}"
_DOTTED = (0, (1, 1.5))


@dataclass(frozen=True, slots=True)
class PairGroup:
    """Differences below a heading, "" for none; a dot's ``text`` is its number in words."""

    heading: str
    dots: Sequence[Dot]


def draw_differences(
    canvas: Canvas, groups: Sequence[PairGroup], axis_title: str, note: str = ""
) -> None:
    """A row for each pair, with the line of no difference; ``note`` says what is left out."""
    is_wide = takes_page_width(groups)
    width = _TEXT_WIDTH if is_wide else _COLUMN_WIDTH
    rows = _rows(groups, width)
    title = textwrap.fill(axis_title, 80 if is_wide else 30)
    extra = title.count("\n") + bool(note)
    height = rows[-1].y + rows[-1].height / 2 + _FRAME_INCHES + _LINE_INCHES * extra
    canvas.size(TEXT_INCHES if is_wide else COLUMN_INCHES, height)
    axes = canvas.figure.subplots()
    axes.axvline(0, color=light("ink"), linewidth=0.8, linestyle=_DOTTED, zorder=1)
    _draw_rows(canvas, axes, rows)
    axes.set_ylim(rows[-1].y + rows[-1].height / 2, 0)
    axes.margins(x=0.06)
    axes.grid(axis="x")
    axes.set_xlabel(canvas.fonts.shown("\n".join(filter(None, (title, note)))))


def takes_page_width(groups: Sequence[PairGroup]) -> bool:
    """True when names are too long, or pairs too many, for a column of the page."""
    names = [dot.name for group in groups for dot in group.dots]
    return len(names) > _MAX_NARROW or any(len(name) > 2 * _COLUMN_WIDTH for name in names)


@dataclass(frozen=True, slots=True)
class _Row:
    """A heading, or a difference, at ``y`` inches below the top of the axes."""

    label: str
    dot: Dot | None
    y: float
    height: float


def _rows(groups: Sequence[PairGroup], width: int) -> list[_Row]:
    rows: list[_Row] = []
    top = 0.0
    for group in groups:
        labels: list[tuple[str, Dot | None]] = [(pair_lines(one.name, width), one)
                                                for one in group.dots]  # fmt: skip
        if group.heading:
            labels.insert(0, (textwrap.fill(group.heading, width), None))
        for label, dot in labels:
            height = _LINE_INCHES * (label.count("\n") + 1) + _GAP_INCHES
            rows.append(_Row(label, dot, top + height / 2, height))
            top += height
    return rows


def _draw_rows(canvas: Canvas, axes: Axes, rows: Sequence[_Row]) -> None:
    side = axes.get_yaxis_transform()
    for row in rows:
        if row.dot is None:
            continue
        draw_interval(axes, row.dot, x=row.dot.mean, y=row.y)
        draw_seeds(axes, row.dot, row.y + 0.09)
        axes.text(1.02, row.y, canvas.fonts.shown(row.dot.text), transform=side, ha="left",
                  va="center_baseline", fontsize=7)  # fmt: skip
    axes.set_yticks([row.y for row in rows], [canvas.fonts.shown(row.label) for row in rows])
    axes.tick_params(axis="y", length=0)
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if row.dot is None else "normal")


def pair_lines(name: str, width: int) -> str:
    """A difference's name, whole: on one line where it fits, else each arm on lines of its own."""
    if len(name) <= width:
        return name
    first, sign, second = name.partition(f" {_MINUS} ")
    arms = (first, f"{_MINUS} {second}") if sign else (name,)
    return "\n".join(textwrap.fill(arm, width, break_long_words=True) for arm in arms)
