"""Parts of the questions are printed where the page has them, and only those with questions."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from understudy.pages.figures import Dot, PartDots
from understudy.report.compare import Comparison, Row, compare
from understudy.report.paper.plots import plots, shown_series
from understudy.report.paper.printed_parts import num_questions, printed_parts
from understudy.report.paper.tex_tables import tex_tables
from understudy.report.parts import family_sections, question_sections
from understudy.report.read.runs import load_runs

AddRun = Callable[..., Path]


@pytest.fixture
def comparison(tmp_path: Path, add_run: AddRun) -> Comparison:
    """Two arms asked in two languages."""
    for teacher, quality in (("strong", 0.9), ("weak", 0.5)):
        add_run(tmp_path / teacher, teacher=teacher, arm=f"data=lab_{teacher}", quality=quality,
                parts=("lang:en", "lang:zh"))  # fmt: skip
    return compare(load_runs(tmp_path), num_resamples=20)


def without(comparison: Comparison, *buckets: str) -> Comparison:
    """The same where no question is in these length buckets."""
    names = {f"eval/rouge_l/{bucket}" for bucket in buckets}

    def emptied(rows: Iterable[Row]) -> tuple[Row, ...]:
        return tuple(
            replace(row, metrics={
                name: replace(one, mean=None, low=None, high=None, n=0) if name in names else one
                for name, one in row.metrics.items()
            })
            for row in rows
        )  # fmt: skip

    return replace(
        comparison, arms=emptied(comparison.arms), baselines=emptied(comparison.baselines)
    )


def test_tables_and_figures_are_those_of_the_page(comparison: Comparison) -> None:
    names = {parts.name for parts in printed_parts(comparison)}
    sections = [*family_sections(comparison), *question_sections(comparison)]
    assert names == {"buckets", *(section.key for section in sections)}
    assert {"families", "splits", "languages"} <= names
    assert names <= plots(comparison).keys()
    assert {f"{name}.tex" for name in names} <= tex_tables(comparison, 20).keys()


def test_an_empty_bucket_is_left_out(comparison: Comparison) -> None:
    (parts,) = (one for one in printed_parts(without(comparison, "3-5")) if one.name == "buckets")
    assert list(parts.labels) == ["0-2", "6-10"]
    assert num_questions(comparison, "eval/rouge_l/3-5") > 0
    assert "n 0" not in tex_tables(without(comparison, "3-5"), 20)["buckets.tex"]


def test_one_bucket_with_questions_is_no_figure_and_no_table(comparison: Comparison) -> None:
    found = without(comparison, "3-5", "6-10")
    assert "buckets" not in plots(found)
    assert "buckets.tex" not in tex_tables(found, 20)
    assert "families" in plots(found)


def test_more_arms_than_a_page_has_room_for_are_counted() -> None:
    dot = Dot("a", 0.5, 0.4, 0.6, 9)
    series = [PartDots(str(place), place, {"p": dot}) for place in (*range(14), -1, -2)]
    kept, note = shown_series(series, 7)
    assert [one.series for one in kept] == [*range(9), -1, -2]
    assert note == "the first 9 of 14 arms; metrics.csv has all"
    assert shown_series(series[:5], 7) == (series[:5], "")
