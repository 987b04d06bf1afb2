"""The example browser's script, run in a real browser: search, sort, filter, open."""

import html
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from understudy.pages.page import Answer, Column, Example, Examples, Page, Section, render

pytestmark = pytest.mark.browser

DumpDom = Callable[..., str]
COLUMNS = [Column("strong", 0), Column("weak", 1), Column("base", -1)]
STEPS = """
const log = [];
const at = (selector) => document.querySelector(selector);
const rows = () => [...document.querySelectorAll(".list > details")].map((one) => one.dataset.row);
const set = (name, value, type = "change") => {
  const control = at(`.controls [name="${name}"]`);
  if (control.type === "checkbox") control.checked = value; else control.value = value;
  control.dispatchEvent(new Event(type));
  log.push([`${name}=${value}`, rows().join(" "), at(".found").textContent]);
};
"""


def row(title: str, scores: Sequence[float | None], **other: str) -> Example:
    """An example whose answers say their author."""
    answers = [
        Answer(f"{column.name} says {title}", score, "undefined" if score is None else str(score))
        for column, score in zip(COLUMNS, scores, strict=True)
    ]
    return Example(title, [("Instruction", title)], answers, **other)


ROWS = [
    row("Apples", [0.5, 0.4, 0.9], task="b"),
    row("三原色是什么", [0.1, 0.9, 0.0], task="a", lang="zh"),
    row("pears", [None, 0.2, 0.0], task="a"),
    row("Plums <b>bold</b>", [1.0, 0.0, 0.0], task="b", split="user252"),
]


def steps_of(dump_dom: DumpDom, examples: Sequence[Example], steps: str) -> tuple[Any, str]:
    """What the steps logged, and the document after them."""
    section = Section("one", "s", "t", [Examples(COLUMNS, examples, "ROUGE-L")])
    page = render(Page("t", "s", "l", [], [section]))
    script = f"<script>{STEPS}{steps}\ndocument.body.dataset.log = JSON.stringify(log);</script>"
    dom = dump_dom(page.replace("</body>", f"{script}</body>"))
    log = re.search(r'data-log="(.*?)"', dom)
    assert log is not None, dom[-2000:]
    return json.loads(html.unescape(log[1])), dom


def test_search_sort_and_filter(dump_dom: DumpDom) -> None:
    log, _ = steps_of(dump_dom, ROWS, """
      set("query", "APPLES", "input");
      set("query", "原色", "input");
      set("query", "weak says p", "input");
      set("query", "nowhere", "input");
      set("query", "", "input");
      set("order", "gap");
      set("order", "-gap");
      set("order", "spread");
      set("order", "task");
      set("order", "drawn");
      set("b", "2");
      set("order", "drawn");
      set("task", "=a");
      set("task", "*");
      set("split", "=user252");
      set("split", "*");
      set("lang", "=zh");
      set("lang", "*");
      set("disagree", true);
    """)  # fmt: skip
    assert [(step, shown) for step, shown, _ in log] == [
        ("query=APPLES", "0"),
        ("query=原色", "1"),
        ("query=weak says p", "2 3"),
        ("query=nowhere", ""),
        ("query=", "0 1 2 3"),
        ("order=gap", "3 0 1 2"),
        ("order=-gap", "1 0 3 2"),
        ("order=spread", "3 1 0 2"),
        ("order=task", "1 2 0 3"),
        ("order=drawn", "0 1 2 3"),
        ("b=2", "3 1 0 2"),
        ("order=drawn", "0 1 2 3"),
        ("task==a", "1 2"),
        ("task=*", "0 1 2 3"),
        ("split==user252", "3"),
        ("split=*", "0 1 2 3"),
        ("lang==zh", "1"),
        ("lang=*", "0 1 2 3"),
        ("disagree=true", "1 3"),
    ]
    assert log[0][2] == "1 of 4 questions match, 1 shown"
    assert log[4][2] == "4 of 4 questions shown"


def test_an_opened_question_shows_answers_as_text_and_marks_what_was_searched(
    dump_dom: DumpDom,
) -> None:
    _, dom = steps_of(dump_dom, ROWS, """
      set("query", "bold</b>", "input");
      at("[name=open]").click();
    """)  # fmt: skip
    assert dom.count("<details") == 1
    assert "Plums &lt;b&gt;<mark>bold&lt;/b&gt;</mark>" in dom
    assert "strong says Plums &lt;b&gt;<mark>bold&lt;/b&gt;</mark></p>" in dom
    assert re.search(r'<h4><span class="score">1.0</span><span class="swatch series-0"', dom)
    assert "base</h4>" in dom


def test_chinese_is_marked_as_such(dump_dom: DumpDom) -> None:
    _, dom = steps_of(dump_dom, ROWS, """
      set("lang", "=zh");
      at(".list summary").click();
    """)  # fmt: skip
    assert '<dd lang="zh">三原色是什么</dd>' in dom
    assert '<p lang="zh">weak says 三原色是什么</p>' in dom


def test_a_match_within_an_answer_is_quoted(dump_dom: DumpDom) -> None:
    examples = [row("one", [0, 0, 0]), row("two", [1, 1, 1])]
    _, dom = steps_of(dump_dom, examples, 'set("query", "weak says one", "input");')
    assert "weak: … <span><mark>weak says one</mark></span>" in dom


def test_many_questions_are_rendered_in_parts_and_long_answers_folded(dump_dom: DumpDom) -> None:
    examples = [row(f"q{n} {'long ' * 300}", [0, 1, 0]) for n in range(75)]
    log, dom = steps_of(dump_dom, examples, """
      const more = () => { at("[name=more]").click(); log.push(rows().length); };
      log.push(rows().length); more(); more();
      log.push(at("[name=more]").hidden);
      at(".list summary").click();
    """)  # fmt: skip
    assert log == [20, 60, 75, True]
    assert dom.count('class="unfold"') == 4
    assert "more characters" in dom


def test_an_answer_unfolds_by_itself_only_to_show_a_match(dump_dom: DumpDom) -> None:
    log, dom = steps_of(dump_dom, [row(f"q {'long ' * 300}end", [0, 1, 0])], """
      const unfold = () => document.querySelectorAll(".unfold").length;
      set("query", "weak says", "input"); at("[name=open]").click();
      setTimeout(() => {
        log.push(unfold());
        at(".unfold").click(); log.push(unfold());
        set("query", "long end", "input"); at("[name=open]").click();
        setTimeout(() => {
          log.push(unfold());
          document.body.dataset.log = JSON.stringify(log);
        }, 50);
      }, 50);
    """)  # fmt: skip
    assert [entry for entry in log if isinstance(entry, int)] == [4, 3, 0]
    assert "<mark>long end</mark></p>" in dom


def test_one_arm_without_scores_has_no_needless_controls(dump_dom: DumpDom) -> None:
    section = Section("one", "s", "t", [Examples([Column("a", 0)], [Example("x", [], [None])])])
    dom = dump_dom(render(Page("t", "s", "l", [], [section])))
    assert re.findall(r'name="(\w+)"', dom.partition("<main")[2]) == [
        "query", "order", "open", "more"
    ]  # fmt: skip
    assert re.findall(r'<option value="(.*?)"', dom) == ["drawn", "task"]
