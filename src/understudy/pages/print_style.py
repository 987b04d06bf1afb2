"""The look and the files of printed figures: sizes of a two-column paper, fonts, fixed bytes.

Figures are drawn with matplotlib without pyplot, so nothing of it outlives a call. Fonts are
embedded as TrueType (type 42), which conferences ask for. The same figure gives the same bytes on
one machine; fonts that it lacks make the difference on another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from understudy.pages.theme import light, series_marker

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN_INCHES = 3.25
TEXT_INCHES = 6.75
FORMATS = ("pdf", "svg")
_LATIN = ("Arial", "Liberation Sans", "Arimo")
_FALLBACK = "DejaVu Sans"
_CJK = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "PingFang SC",
    "Hiragino Sans GB", "Heiti SC", "Microsoft YaHei", "SimHei", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei", "Droid Sans Fallback", "Arial Unicode MS",
)  # fmt: skip
_CJK_FILES = ("cjk", "hansans", "notosanssc", "pingfang", "heiti", "msyh", "simhei", "wqy")
_MISSING = "\N{WHITE SQUARE}"
_METADATA: dict[str, dict[str, str | None]] = {
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
}
MARKERS = {
    "circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "triangle-down": "v",
    "cross": "P", "star": "*", "x": "X", "pentagon": "p", "hexagon": "h",
}  # fmt: skip
"""The page's symbols as matplotlib has them."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fonts:
    """The installed font families to set words in, best first, and what none of them has."""

    families: tuple[str, ...]
    missing: set[str] = field(default_factory=set)

    def shown(self, text: str) -> str:
        """The text, with a square for every character that no font has; those are remembered."""
        absent = {char for char in text if not (char.isspace() or self._covers(char))}
        self.missing.update(absent)
        return "".join(_MISSING if char in absent else char for char in text)

    def _covers(self, char: str) -> bool:
        from matplotlib.font_manager import FontProperties, findfont, get_font  # noqa: PLC0415

        return any(
            get_font(findfont(FontProperties(family=[name]))).get_char_index(ord(char))
            for name in self.families
        )

    def warn(self) -> None:
        """Logs one warning when words needed a font that is not installed."""
        if self.missing:
            logger.warning(
                "no installed font has %s: a square stands for each in the PDF and SVG figures; "
                "install Noto Sans CJK SC (apt install fonts-noto-cjk) and build the report again",
                " ".join(sorted(self.missing)[:12]),
            )


def find_fonts(words: Iterable[str]) -> Fonts:
    """The fonts for ``words``: Latin ones, and a Chinese one where a word needs it."""
    from matplotlib.font_manager import fontManager  # noqa: PLC0415

    def first_of(names: Iterable[str]) -> tuple[str, ...]:
        installed = {entry.name for entry in fontManager.ttflist}
        return tuple(name for name in names if name in installed)[:1]

    latin = Fonts((*first_of(_LATIN), _FALLBACK))
    for word in words:
        latin.shown(word)
    if not latin.missing:
        return latin
    if not first_of(_CJK):
        _register_new_fonts()
    return Fonts((*latin.families, *first_of(_CJK)))


def _register_new_fonts() -> None:
    """Registers Chinese fonts that came to the machine after matplotlib listed its fonts."""
    from matplotlib.font_manager import findSystemFonts, fontManager  # noqa: PLC0415

    known = {entry.fname for entry in fontManager.ttflist}
    for path in sorted(findSystemFonts()):
        if path not in known and any(hint in Path(path).stem.lower() for hint in _CJK_FILES):
            fontManager.addfont(path)


@dataclass(frozen=True)
class Canvas:
    """A figure to draw on, and the fonts that its words are set in."""

    figure: Figure
    fonts: Fonts

    def size(self, width: float, height: float) -> None:
        """Sets the size in inches."""
        self.figure.set_size_inches(width, height)


Draw = Callable[[Canvas], None]
"""Draws one figure, its size included."""


def write_figure(folder: Path, name: str, draw: Draw, fonts: Fonts) -> list[Path]:
    """Draws a figure and writes it into ``folder`` in each of :data:`FORMATS`."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    paths = []
    with print_style(fonts):
        canvas = Canvas(Figure(layout="constrained"), fonts)
        draw(canvas)
        for kind in FORMATS:
            path = folder / f"{name}.{kind}"
            canvas.figure.savefig(path, format=kind, metadata=_METADATA[kind])
            canvas.figure.set_layout_engine("none")  # it has laid out; once is enough
            paths.append(path)
    return paths


@contextmanager
def print_style(fonts: Fonts) -> Iterator[None]:
    """The settings of printed figures; matplotlib's and fontTools' own are put back at the end."""
    from matplotlib import rc_context  # noqa: PLC0415

    subsetting = logging.getLogger("fontTools")
    level = subsetting.level
    subsetting.setLevel(logging.WARNING)
    try:
        with rc_context(cast(Any, _settings(fonts))):  # the stubs want a literal of every key
            yield
    finally:
        subsetting.setLevel(level)


def _settings(fonts: Fonts) -> dict[str, Any]:
    ink, line = light("ink"), light("muted")
    return {
        "font.family": list(fonts.families), "font.size": 8, "axes.labelsize": 8,
        "xtick.labelsize": 7.5, "ytick.labelsize": 7.5, "legend.fontsize": 7.5,
        "legend.frameon": False, "legend.handlelength": 1.4, "legend.columnspacing": 1.2,
        "text.color": ink, "axes.labelcolor": ink, "xtick.color": ink, "ytick.color": ink,
        "axes.edgecolor": line, "axes.linewidth": 0.6, "axes.axisbelow": True,
        "axes.spines.top": False, "axes.spines.right": False,
        "axes.grid": False, "grid.color": light("grid"), "grid.linewidth": 0.5,
        "xtick.major.width": 0.6, "ytick.major.width": 0.6,
        "xtick.major.size": 2.5, "ytick.major.size": 2.5,
        "figure.constrained_layout.h_pad": 0.02, "figure.constrained_layout.w_pad": 0.02,
        "text.parse_math": False, "axes.formatter.use_mathtext": False,
        "pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "understudy",
    }  # fmt: skip


def marker_style(series: int, *, size: float) -> dict[str, Any]:
    """A series' marker as matplotlib's keywords: filled for arms, hollow for baselines."""
    marker = series_marker(series, size=0)
    edge = marker.get("line", {}).get("color", marker["color"])
    symbol = MARKERS[marker["symbol"]]
    return {
        "marker": symbol, "markersize": size * (1.4 if symbol == "*" else 1.0),
        "markerfacecolor": marker["color"], "markeredgecolor": edge,
        "markeredgewidth": 0.9, "linestyle": "none",
    }  # fmt: skip
