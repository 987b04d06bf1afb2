"""LaTeX tables compile, whatever the names of arms are."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.report.paper.latex import TexCell, TexTable, escape, tex_table

NASTY = '[x] *a_b & 50 % $\\alpha^{2}~ # <b>|"`--- {{ \n] \x00\x1b — … é \N{MINUS SIGN}1'


LEGAL = r"\\[{}$&#_%,]|\\[a-z]+\{\}|\$[^$]+\$|\{[\"`\[*]\}|\{\}|~"


def a_table(name: str, num_columns: int = 3) -> TexTable:
    row = [TexCell(name), *[TexCell(".500", "[.400, .600]")] * (num_columns - 1)]
    return TexTable("t", name, [name] * num_columns, [[row, row], [row], []])


@given(st.text())
def test_braces_balance_and_nothing_special_is_left(text: str) -> None:
    escaped = escape(text)
    plain = re.sub(LEGAL, "", escaped)
    assert not set('\\{}$&#_%^~<>|"`\n\0') & set(plain)
    assert not escaped.startswith(("[", "*"))


def test_common_names_stay_readable() -> None:
    assert escape("lab_strong") == r"lab\_strong"
    assert escape("[.166, .197]") == "{[}.166, .197]"
    assert escape("95 % of 3 -- 4") == r"95\,\% of 3 -{}- 4"
    assert escape("\N{MINUS SIGN}.031") == "$-$.031"


def test_groups_are_ruled_apart_and_intervals_stand_below() -> None:
    text = tex_table(a_table("arm"))
    assert text.count(r"\midrule") == 2
    assert text.count(r"{\scriptsize {[}.400, .600]}") == 6
    assert text.startswith("% needs \\usepackage{booktabs}\n\\begin{table}[tb]\n")
    assert r"\label{tab:t}" in text


def test_wide_tables_take_both_columns_and_long_headings_two_lines() -> None:
    assert r"\begin{table*}" in tex_table(a_table("arm", 8))
    assert r"\shortstack[r]{exact answer \\ accuracy}" in tex_table(
        a_table("exact answer accuracy")
    )


def test_chinese_names_say_which_engine_they_need() -> None:
    assert "XeLaTeX" in tex_table(a_table("强教师")).splitlines()[0]
    assert "XeLaTeX" not in tex_table(a_table("é — …"))


def compiled(folder: Path, *tables: str) -> str:
    """What pdflatex says of a two-column document with the tables."""
    engine = shutil.which("pdflatex")
    if engine is None:
        pytest.skip("no pdflatex on this machine")
    document = "\\documentclass[twocolumn]{article}\\usepackage{booktabs}\\begin{document}\n"
    text = document + "\n".join(tables) + "\n\\end{document}\n"
    (folder / "all.tex").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [engine, "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=folder, capture_output=True, text=True, errors="replace", timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


def test_nasty_names_compile(tmp_path: Path) -> None:
    assert "Output written" in compiled(tmp_path, tex_table(a_table(NASTY)))
