"""One self-contained HTML page: sections of text, tables, figures and examples.

Everything is in the file (style, script, plotly.js once), and its content policy forbids any
request, so a page opens anywhere and tells nobody. All text is escaped by the template: answers of
models may hold HTML. It follows the reader's light or dark theme, prints in light, and holds every
figure's numbers in tables as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import ClassVar

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from understudy.pages.theme import FONT, SERIES, css_variables, dark_of_light, series_glyph

_NUM_UNSCRIPTED = 6
_HAN = re.compile("[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str
    is_muted: bool = False
    kind: ClassVar[str] = "text"


@dataclass(frozen=True, slots=True)
class Notice:
    """A box that must not be missed; ``tone`` is "alert" or "note"."""

    title: str
    lines: Sequence[str]
    tone: str = "alert"
    kind: ClassVar[str] = "notice"


@dataclass(frozen=True, slots=True)
class Cell:
    """A table's cell: ``note`` stands below in small print, ``series`` paints the row's marker.

    ``series`` counts arms from 0 up and baselines from -1 down (pages.theme); None paints nothing.
    """

    text: str
    note: str = ""
    series: int | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first column names its row. ``texts`` counts the leading columns of words."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    texts: int = 1
    kind: ClassVar[str] = "table"


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure with its caption, and what it shows for those who cannot see it."""

    figure: go.Figure
    caption: str
    alt: str
    kind: ClassVar[str] = "chart"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to an example's question; ``score`` sorts, ``mark`` is how it is written."""

    text: str
    score: float | None = None
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """A question with its answers, one for each column or None; ``fields`` are what was asked."""

    title: str
    fields: Sequence[tuple[str, str]]
    answers: Sequence[Answer | None]
    task: str = ""
    split: str = ""
    lang: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """Who answered; ``series`` as in :class:`Cell`."""

    name: str
    series: int


@dataclass(frozen=True, slots=True)
class Examples:
    """Questions to search, sort and filter, their answers side by side.

    Without JavaScript the first ones are shown.
    """

    columns: Sequence[Column]
    examples: Sequence[Example]
    score_name: str = ""
    kind: ClassVar[str] = "examples"

    @property
    def data(self) -> Markup:
        """What the page's script reads."""
        return _script_json(
            {
                "score": self.score_name,
                "columns": [_column_json(one) for one in self.columns],
                "rows": [_example_json(one) for one in self.examples],
            }
        )


def _column_json(column: Column) -> dict[str, object]:
    series = column.series
    colour = f" series-{series % len(SERIES)}" if series >= 0 else ""
    return {
        "name": column.name,
        "series": series,
        "glyph": series_glyph(series),
        "swatch": f"swatch{colour}",
    }


def _example_json(example: Example) -> dict[str, object]:
    return {
        "title": example.title,
        "task": example.task,
        "split": example.split,
        "lang": example.lang,
        "fields": example.fields,
        "answers": [
            None if one is None else [one.text, one.score, one.mark] for one in example.answers
        ],
    }


@dataclass(frozen=True, slots=True)
class Folded:
    """Blocks that open on demand."""

    summary: str
    blocks: Sequence[Text | Notice | Table]
    kind: ClassVar[str] = "folded"


Block = Text | Notice | Table | Chart | Examples | Folded


@dataclass(frozen=True, slots=True)
class Section:
    """A heading that says what was found, and the blocks that show it. ``key`` is its anchor.

    ``files`` lie beside the page and hold the section's numbers; they are linked at its end.
    """

    key: str
    short: str
    title: str
    blocks: Sequence[Block]
    files: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A page; ``lead`` says its one finding, ``subtitle`` what it is about."""

    title: str
    subtitle: str
    lead: str
    notices: Sequence[Notice]
    sections: Sequence[Section]
    footer: str = ""
    lang: str = "en"


def render(page: Page) -> str:
    """The page as one HTML document, the same for the same content."""
    charts = [
        block for section in page.sections for block in section.blocks if isinstance(block, Chart)
    ]
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            figures=_script_json([_figure_json(chart.figure) for chart in charts]),
            colours=_script_json(dark_of_light()),
            plotly=Markup(_plotly_js()) if charts else "",
            style=Markup(_style()),
            script=Markup(_resource("page.js")),
            browser=Markup(_resource("browser.js")),
            num_series=len(SERIES),
            num_unscripted=_NUM_UNSCRIPTED,
            glyph=series_glyph,
            text_lang=text_lang,
        )
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("understudy.pages", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _resource(name: str) -> str:
    return files("understudy.pages").joinpath(name).read_text(encoding="utf-8")


def _style() -> str:
    themes = _resource("page.css")
    for placeholder, value in (
        ("/*light*/", css_variables(0)), ("/*dark*/", css_variables(1)), ("/*font*/", FONT),
    ):  # fmt: skip
        themes = themes.replace(placeholder, value)
    swatches = (f".series-{n} {{ color: var(--series-{n}); }}" for n in range(len(SERIES)))
    return themes + "\n".join(swatches)


def _plotly_js() -> str:
    script: str = get_plotlyjs()
    return script.replace("</script", "<\\/script")


def _figure_json(figure: go.Figure) -> dict[str, object]:
    loaded = json.loads(figure.to_json())
    loaded["layout"].pop("template", None)
    return {"data": loaded["data"], "layout": loaded["layout"]}


def text_lang(text: str) -> str:
    """The ``lang`` of a text that differs from the page's: "zh" where it has Han characters."""
    return "zh" if _HAN.search(text) else ""


def _script_json(value: object) -> Markup:
    """JSON that cannot end or open a script element, nor break a line of it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)
