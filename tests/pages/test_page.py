"""A page is one file that asks for nothing, reads well, and draws itself in a browser."""

import json
import re
from collections.abc import Callable

import pytest

from understudy.pages.figures import Dot, interval_figure
from understudy.pages.page import (
    Answer,
    Block,
    Cell,
    Chart,
    Column,
    Example,
    Examples,
    Folded,
    Notice,
    Page,
    Section,
    Table,
    Text,
    render,
    text_lang,
)
from understudy.pages.theme import COLOURS

ATTACK = "</p></script><script>alert(1)</script> & \"'"


def a_page(text: str = "words") -> Page:
    """A page with one block of each kind."""
    table = Table(
        text, ["Arm", "mean"], [[Cell(text, text, 0), Cell(".9")], [Cell("b", "", -1), Cell("")]]
    )
    blocks: list[Block] = [
        Text(text),
        Notice(text, [text, text]),
        table,
        Chart(interval_figure([Dot(text, 0.5, 0.4, 0.6, 9, 0)], text), text, text),
        Examples([Column(text, 0)], [Example(text, [(text, text)], [Answer(text, 0.5, text)])]),
        Folded(text, [Text(text, is_muted=True), Notice(text, [text]), table]),
    ]
    return Page(text, text, text, [Notice(text, [])], [Section("one", text, text, blocks)], text)


def without_plotly(html: str) -> str:
    """The page without the scripts that it runs."""
    return re.sub(r"<script>.*?</script>", "", html, flags=re.S)


def test_all_text_is_escaped() -> None:
    html = render(a_page(ATTACK))
    assert "alert(1)</script>" not in html
    assert "</p></script>" not in html
    assert html.count("&lt;script&gt;alert(1)") >= 20


def test_nothing_is_asked_for_outside_the_file() -> None:
    html = without_plotly(render(a_page()))
    assert "//" not in html.replace("/*", "")
    assert re.findall(r'(?:src|href)="([^"]*)"', html) == ["#main", "#one"]
    assert "default-src 'none'" in html


def test_plotly_is_in_the_file_once_and_only_where_there_is_a_figure() -> None:
    assert render(a_page()).count("plotly.js v") == 1
    assert "plotly.js v" not in render(Page("t", "s", "l", [], []))


def test_readers_of_all_kinds_are_served() -> None:
    html = without_plotly(render(a_page()))
    assert '<html lang="en">' in html
    assert "<title>words</title>" in html
    assert html.count('<th scope="col"') == 4
    assert html.count('<th scope="row"') == 4
    assert html.count("<caption>") == 2
    assert 'role="img" aria-label="words"' in html
    assert "<figcaption>words</figcaption>" in html
    assert 'href="#main">Skip to the results' in html
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html
    assert "<noscript>" in html


def test_examples_are_data_for_the_script_that_cannot_end_it() -> None:
    text = f"{ATTACK}\u2028三原色"
    block = Examples(
        [Column("a", 9), Column("base", -1)],
        [Example(text, [("Instruction", text)], [Answer(text, 0.5, ".500"), None], "t", "s", "zh")],
        "ROUGE-L",
    )
    assert not set("<>&\u2028") & set(block.data)
    loaded = json.loads(block.data)
    assert loaded["score"] == "ROUGE-L"
    assert [one["swatch"] for one in loaded["columns"]] == ["swatch series-1", "swatch"]
    assert loaded["rows"] == [
        {"title": text, "task": "t", "split": "s", "lang": "zh",
         "fields": [["Instruction", text]], "answers": [[text, 0.5, ".500"], None]}
    ]  # fmt: skip


def test_the_first_examples_are_there_without_a_script() -> None:
    examples = [Example(f"问{n}", [("Input", "x")], [Answer(f"答{n}")]) for n in range(9)]
    section = Section("one", "s", "t", [Examples([Column("a", 0)], examples)])
    html = without_plotly(render(Page("t", "s", "l", [], [section])))
    body = html.partition('<script type="application/json"')[0]
    assert [f"答{n}" in body for n in range(9)] == [True] * 6 + [False] * 3
    assert '<p lang="zh">答0</p>' in body
    assert "The first 6 of 9 questions" in body


def test_texts_with_han_characters_are_chinese() -> None:
    assert [text_lang(text) for text in ("三", "a 三", "abc", "é", "")] == ["zh", "zh", "", "", ""]


def test_rendering_twice_gives_the_same() -> None:
    assert render(a_page()) == render(a_page())


@pytest.mark.browser
@pytest.mark.parametrize("theme", [0, 1])
def test_a_browser_draws_every_figure_in_either_theme(
    dump_dom: Callable[..., str], theme: int
) -> None:
    dom = dump_dom(render(a_page()), ("light", "dark")[theme])
    assert 'data-drawn="1"' in dom
    assert "main-svg" in dom
    red, green, blue = (int(COLOURS["ground"][theme][at : at + 2], 16) for at in (1, 3, 5))
    assert f"background: rgb({red}, {green}, {blue})" in dom
