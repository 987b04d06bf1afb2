"""A page is one file that asks for nothing, reads well, and draws itself in a browser."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from understudy.pages.figures import Dot, interval_figure
from understudy.pages.page import (
    Answer,
    Block,
    Cell,
    Chart,
    Example,
    Examples,
    Folded,
    Notice,
    Page,
    Section,
    Table,
    Text,
    render,
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
        Examples([Example(text, text, [(text, text)], [Answer(text, text, text, 0)])]),
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


def test_rendering_twice_gives_the_same() -> None:
    assert render(a_page()) == render(a_page())


BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in BROWSERS if (path := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("theme", [0, 1])
def test_a_browser_draws_every_figure_in_either_theme(tmp_path: Path, theme: int) -> None:
    path = tmp_path / "page.html"
    path.write_text(render(a_page()), encoding="utf-8")
    fragment = ("light", "dark")[theme]
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=15000",
        "--dump-dom", f"{path.as_uri()}#{fragment}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    dom = without_plotly(done.stdout)
    assert 'data-drawn="1"' in dom
    assert "main-svg" in dom
    red, green, blue = (int(COLOURS["ground"][theme][at : at + 2], 16) for at in (1, 3, 5))
    assert f"background: rgb({red}, {green}, {blue})" in dom
