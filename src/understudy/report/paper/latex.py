r"""LaTeX tables for a paper: booktabs rules, means over their intervals, names escaped.

Only ``\usepackage{booktabs}`` is needed; a table with Chinese names says that it needs XeLaTeX.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

_COLUMN_CHARACTERS = 48
_PAGE_CHARACTERS = 105
_HEADER_CHARACTERS = 13
_SPELLED = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "_": r"\_", "%": r"\%", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': '{"}', "`": "{`}",
    "\N{MINUS SIGN}": "$-$", "\N{EM DASH}": "---",
    "\N{EN DASH}": "--", "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}", "\N{NO-BREAK SPACE}": "~",
    "\N{NON-BREAKING HYPHEN}": "-", "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$", "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
}  # fmt: skip
_BEYOND_PDFLATEX = re.compile("[^\x00-\u00ff\u0100-\u017f]")


def escape(text: str) -> str:
    r"""The text as LaTeX prints it, in a cell's beginning too.

    >>> escape("lab_strong & 100 %")
    'lab\\_strong \\& 100\\,\\%'
    """
    single = re.sub("[^\\S\N{NO-BREAK SPACE}]+", " ", text)
    kept = (char for char in single if char.isprintable() or char == "\N{NO-BREAK SPACE}")
    dashed = re.sub("-(?=-)", "-\0", "".join(kept))
    escaped = "".join(_SPELLED.get(char, char) for char in dashed).replace("\0", "{}")
    spaced = re.sub(r"(?<=\d) \\%", r"\\,\\%", escaped)
    return re.sub(r"^[\[*]", r"{\g<0>}", spaced)  # else an argument of the line break before it


@dataclass(frozen=True, slots=True)
class TexCell:
    """A cell's text, and what stands below it in small print; both plain, escaped when written."""

    text: str
    below: str = ""


@dataclass(frozen=True, slots=True)
class TexTable:
    """A table: groups of rows with a rule between them; ``texts`` counts columns of words."""

    name: str
    caption: str
    header: Sequence[str]
    groups: Sequence[Sequence[Sequence[TexCell]]]
    texts: int = 1


def tex_table(table: TexTable) -> str:
    """The table as a LaTeX float, over both columns of the page when it is wide."""
    width = _num_characters(table)
    environment = "table*" if width > _COLUMN_CHARACTERS else "table"
    is_tight = width > _PAGE_CHARACTERS
    columns = "l" * table.texts + "r" * (len(table.header) - table.texts)
    body = "\n\\midrule\n".join(
        "\n\\addlinespace[2pt]\n".join(_row(row) for row in group)
        for group in table.groups
        if group
    )
    lines = [
        f"\\begin{{{environment}}}[tb]",
        "\\centering",
        "\\footnotesize\\setlength{\\tabcolsep}{3pt}" if is_tight else "\\small",
        f"\\caption{{{escape(table.caption)}}}",
        f"\\label{{tab:{table.name}}}",
        f"\\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        "\\toprule",
        _header(table),
        "\\midrule",
        body,
        "\\bottomrule",
        "\\end{tabular}",
        f"\\end{{{environment}}}",
    ]
    text = "\n".join(lines) + "\n"
    return f"% needs \\usepackage{{booktabs}}{_engine(text)}\n{text}"


def _engine(text: str) -> str:
    if not _BEYOND_PDFLATEX.search(text):
        return ""
    return (
        ", and for its letters XeLaTeX or LuaLaTeX with a font that has them, "
        "e.g. \\usepackage{xeCJK}"
    )


def _num_characters(table: TexTable) -> float:
    """About how wide the table is, in characters."""
    rows = [row for group in table.groups for row in group]
    widths = [
        max(
            *map(len, _wrapped(name)),
            *(max(len(row[place].text), 0.75 * len(row[place].below)) for row in rows),
        )
        for place, name in enumerate(table.header)
    ]
    return sum(widths) + 2 * len(widths)


def _wrapped(name: str) -> list[str]:
    return textwrap.wrap(name, _HEADER_CHARACTERS, break_long_words=False) or [""]


def _header(table: TexTable) -> str:
    cells = []
    for place, name in enumerate(table.header):
        side = "l" if place < table.texts else "r"
        lines = [escape(line) for line in _wrapped(name)]
        stacked = f"\\shortstack[{side}]{{" + r" \\ ".join(lines) + "}"
        cells.append(lines[0] if len(lines) == 1 else stacked)
    return " & ".join(cells) + " \\\\"


def _row(cells: Sequence[TexCell]) -> str:
    lines = [" & ".join(escape(cell.text) for cell in cells) + " \\\\"]
    if any(cell.below for cell in cells):
        small = (f"{{\\scriptsize {escape(cell.below)}}}" if cell.below else "" for cell in cells)
        lines.append(" & ".join(small) + " \\\\")
    return "\n".join(lines)
