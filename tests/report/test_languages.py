"""Arms trained in other languages are told by the language asked in, not over all together."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from understudy.report.compare import Comparison, compare
from understudy.report.findings import differences_title, lead, result_title
from understudy.report.languages import asked_languages
from understudy.report.read.runs import load_runs
from understudy.report.sections import report_page
from understudy.report.tables import print_comparison

AddRun = Callable[..., Path]


@pytest.fixture
def compared(tmp_path: Path, add_run: AddRun) -> Comparison:
    """Two arms by training language, asked in two."""
    for lang, quality in (("en", 0.9), ("zh", 0.2)):
        add_run(tmp_path / lang, arm=f"data.train_lang={lang}", quality=quality,
                parts=["lang:en", "lang:zh"], comparable={"prompts": lang})  # fmt: skip
    return compare(load_runs(tmp_path), num_resamples=300)


def test_the_lead_and_the_first_section_are_by_language(compared: Comparison) -> None:
    assert list(asked_languages(compared)) == ["English", "Chinese"]
    english, chinese = lead(compared).split("; asked in ")
    assert english.startswith("Asked in English: en .")
    assert ", zh ." in english
    assert chinese.startswith("Chinese: en .")
    assert "n = 35 questions in each language" in chinese
    first = report_page(compared, title="t", source="s").sections[0]
    assert first.key == "languages"
    assert first.title.startswith(
        "Highest exact-answer accuracy by the language asked in: en in English (."
    )
    for title in (result_title(compared), differences_title(compared)):
        assert title.startswith("Over all languages together, ")


def test_the_terminal_has_a_column_for_each_language(compared: Comparison) -> None:
    stream = io.StringIO()
    print_comparison(compared, Console(file=stream, width=80))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    header = next(line for line in text.splitlines() if line.startswith(" arm"))
    assert header.split() == ["arm", "English", "(n", "=", "35)", "Chinese", "(n", "=", "35)"]
    assert "paired differences by language asked in" in text


def test_arms_of_one_language_are_ranked_as_ever(tmp_path: Path, add_run: AddRun) -> None:
    for name, quality in (("a", 0.9), ("b", 0.2)):
        add_run(tmp_path / name, arm=f"data={name}", quality=quality,
                parts=["lang:en", "lang:zh"])  # fmt: skip
    found = compare(load_runs(tmp_path), num_resamples=300)
    assert asked_languages(found) == {}
    assert lead(found).startswith("a leads b by .")
