"""Languages and question sets have sections of their own, and only where there are several."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from understudy.pages.page import Chart, Folded, Section
from understudy.report.compare import Comparison, compare
from understudy.report.parts import bucket_sections, family_sections, question_sections
from understudy.report.read.runs import load_runs

AddRun = Callable[..., Path]


@pytest.fixture
def compared(tmp_path: Path, add_run: AddRun) -> Callable[[Sequence[str]], Comparison]:
    """Two arms whose questions have these parts."""

    def compared(parts: Sequence[str]) -> Comparison:
        for name, quality in (("a", 0.9), ("b", 0.4)):
            add_run(tmp_path / name, arm=f"data={name}", quality=quality, parts=parts,
                    num_questions=42)  # fmt: skip
        return compare(load_runs(tmp_path), num_resamples=50)

    return compared


def test_languages_have_a_section_with_every_metric(
    compared: Callable[[Sequence[str]], Comparison],
) -> None:
    found = compared(["lang:en", "lang:zh"])
    (section,) = question_sections(found)
    assert (section.key, section.short) == ("languages", "Languages")
    assert section.title.startswith("Exact-answer accuracy by language: a is furthest ahead of b")
    assert "English" in section.title
    assert "Chinese" in section.title
    chart, *tables = section.blocks
    assert isinstance(chart, Chart)
    assert list(chart.figure.layout.yaxis.ticktext) == ["English", "Chinese"]
    assert [table.summary for table in tables if isinstance(table, Folded)] == [
        "Exact-answer accuracy by language as a table",
        "ROUGE-L by language as a table",
        "Answer length, words by language as a table",
    ]


def test_parts_of_one_kind_do_not_mix_with_another(
    compared: Callable[[Sequence[str]], Comparison],
) -> None:
    found = compared(["lang:en", "lang:zh", "set:vicuna80", "set:user_252"])
    assert [section.key for section in question_sections(found)] == ["languages", "sets"]
    sets = _ticks(question_sections(found)[1])
    assert sets == ["user_252", "vicuna80"]
    families, splits = family_sections(found)
    assert "lang" not in " ".join([*_ticks(families), *_ticks(splits)])
    (buckets,) = bucket_sections(found)
    assert len(_ticks(buckets, "xaxis")) == 3


def test_one_language_or_set_makes_no_section(
    compared: Callable[[Sequence[str]], Comparison],
) -> None:
    assert question_sections(compared(["lang:zh", "set:vicuna80"])) == []


def _ticks(section: Section, axis: str = "yaxis") -> list[str]:
    chart = section.blocks[0]
    assert isinstance(chart, Chart)
    return list(chart.figure.layout[axis].ticktext)
