"""Arms that vary in two things: their grid, the gap at each level, and how it changes."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from understudy.metrics.exchange import Exchange, Rows
from understudy.metrics.intervals import paired_differences
from understudy.pages.page import Chart, Folded, Table, Text
from understudy.report.build import report_json
from understudy.report.compare import Comparison, compare
from understudy.report.findings import lead
from understudy.report.grid import Grid
from understudy.report.grid_sections import grid_sections, rows_text, worth_line, worth_title
from understudy.report.read.runs import RunSet, load_runs
from understudy.report.scaling import RowsWorth, falls_text
from understudy.report.sections import report_page

AddRun = Callable[..., Path]
Cells = Mapping[str, tuple[float, dict[str, object]]]


@pytest.fixture
def compared(tmp_path: Path, add_run: AddRun) -> Callable[..., Comparison]:
    """The comparison of arms: overrides to quality and other changes."""

    def compared(cells: Cells, *, seeds: int = 1, num_questions: int = 70) -> Comparison:
        for number, (arm, (quality, changes)) in enumerate(cells.items()):
            for seed in range(seeds):
                add_run(tmp_path / f"{number}-{seed}", arm=arm, quality=quality, seed=seed,
                        num_questions=num_questions, **changes)  # fmt: skip
        return compare(load_runs(tmp_path), num_resamples=300)

    return compared


def lengths() -> Cells:
    """A strong teacher's lead that shrinks where answers are matched in length."""
    matched: dict[str, object] = {"comparable": {"prompts": "m"}, "budget": {"examples": 5000}}
    return {
        "data=strong": (0.95, {}),
        "data=weak": (0.3, {}),
        "data=strong,data.max_length_ratio=2": (0.7, matched),
        "data=weak,data.max_length_ratio=2": (0.3, matched),
        "data=strong,data.max_length_ratio=1.5": (0.5, matched),
        "data=weak,data.max_length_ratio=1.5": (0.3, matched),
    }


def rows_of(numbers: tuple[int, ...] = (100, 200, 400)) -> Cells:
    """Two teachers by numbers of rows, scores rising with them."""
    return {
        f"data={teacher},data.num_examples={number}": (
            base + 0.12 * place,
            {"comparable": {"prompts": str(number)}, "budget": {"examples": number}},
        )
        for teacher, base in (("strong", 0.5), ("weak", 0.3))
        for place, number in enumerate(numbers)
    }


def grid_of(found: Comparison) -> Grid:
    """The grid, which must be there."""
    assert found.grid is not None
    return found.grid


def scores(found: Comparison, name: str) -> dict[str, float]:
    """An arm's scores on the headline."""
    (row,) = (row for row in found.arms if row.name == name)
    return row.entry.mean_scores(found.headline or "")


def test_a_grid_is_told_from_the_overrides(compared: Callable[..., Comparison]) -> None:
    grid = grid_of(compared(lengths()))
    assert (grid.axis, grid.series) == ("length limit", ("strong", "weak"))
    assert [level.name for level in grid.levels] == ["no limit", "2", "1.5"]
    assert grid.arms["strong", "2"] == "strong, ratio ≤ 2"
    assert not grid.is_numeric
    assert [(gap.first, gap.second, gap.level) for gap in grid.gaps] == [
        ("strong", "weak", level) for level in ("no limit", "2", "1.5")
    ]  # fmt: skip


def test_gaps_are_the_differences_and_changes_theirs(compared: Callable[..., Comparison]) -> None:
    found = compared(lengths(), seeds=2)
    grid = grid_of(found)
    plain, *_, strict = grid.gaps
    contrast = found.contrast("strong", "weak", found.headline or "")
    assert contrast is not None
    assert plain.difference.mean == pytest.approx(contrast.mean)
    assert plain.difference.low == pytest.approx(contrast.low)
    assert plain.by_seed == pytest.approx(contrast.by_seed)
    change = grid.changes[-1]
    assert (change.level, change.reference) == ("1.5", "no limit")
    assert (plain.difference.mean, strict.difference.mean) != (None, None)
    assert change.difference.mean == pytest.approx(
        (strict.difference.mean or 0) - (plain.difference.mean or 0)
    )
    by_arm = [scores(found, name) for name in (
        "strong, ratio ≤ 1.5", "weak, ratio ≤ 1.5", "strong", "weak"
    )]  # fmt: skip
    a, b, c, d = (np.array([[one[item]] for item in sorted(one)]) for one in by_arm)
    (expected,) = paired_differences(a - b, c - d, num_resamples=300)
    assert change.difference == expected


def test_no_change_where_a_series_may_not_be_compared_with_itself(
    compared: Callable[..., Comparison],
) -> None:
    large = {"comparable": {"base_model": "large", "recipe": "fast"}}
    small = {"comparable": {"recipe": "slow"}}
    found = compared({
        "data=strong": (0.9, small), "data=weak": (0.4, small),
        "data=strong,model=large": (0.9, large), "data=weak,model=large": (0.6, large),
    }, num_questions=14)  # fmt: skip
    assert len(found.refused) == 4
    grid = grid_of(found)
    assert [gap.difference.mean is None for gap in grid.gaps] == [False, False]
    (change,) = grid.changes
    assert (change.difference.mean, change.difference.p_value) == (None, None)
    first = grid.arms["strong", "large"], grid.arms["strong", "default model"]
    assert change.difference.reason == f"{first[0]} and {first[1]} are not compared"
    content = json.loads(json.dumps(report_json(found), allow_nan=False))
    assert content["grid"]["changes"][0]["difference"]["mean"] is None
    (section,) = grid_sections(found)
    assert "are not compared" in section.title


def test_a_cell_that_did_not_finish_leaves_the_rest(compared: Callable[..., Comparison]) -> None:
    cells = dict(lengths())
    del cells["data=weak,data.max_length_ratio=2"]
    grid = grid_of(compared(cells, num_questions=14))
    assert [gap.level for gap in grid.gaps] == ["no limit", "1.5"]
    assert ("weak", "2") not in grid.arms


def test_sizes_are_ordered_by_parameters_where_they_are_known(
    compared: Callable[..., Comparison],
) -> None:
    cells: Cells = {
        f"data={teacher},model={model}": (
            quality, {"comparable": {"base_model": model}, "extra": {"num_parameters": size}}
        )
        for teacher, quality in (("strong", 0.9), ("weak", 0.4))
        for model, size in (("tiny", 10_000), ("average", 90_000), ("big", 500_000))
    }  # fmt: skip
    grid = grid_of(compared(cells, num_questions=14))
    assert [(level.name, level.x) for level in grid.levels] == [
        ("tiny", 10_000), ("average", 90_000), ("big", 500_000)
    ]  # fmt: skip
    assert (grid.axis, grid.is_numeric) == ("base model", True)


def test_languages_have_names_and_all_of_them_come_first(
    compared: Callable[..., Comparison],
) -> None:
    cells: Cells = {
        f"data={teacher}{lang}": (0.5, {"comparable": {"prompts": lang}})
        for teacher in ("a", "b")
        for lang in ("", ",data.train_lang=zh", ",data.train_lang=en")
    }
    grid = grid_of(compared(cells, num_questions=14))
    assert [level.name for level in grid.levels] == ["every language", "Chinese", "English"]


@pytest.mark.parametrize(
    "cells",
    [
        {"data=a": (0.5, {}), "data=b": (0.6, {})},
        {"data=a,model=x": (0.5, {"comparable": {"base_model": "x"}}), "data=a,model=y": (0.6, {})},
        {"data=a": (0.5, {}), "data=b,model=x": (0.6, {"comparable": {"base_model": "x"}})},
    ],
)
def test_one_thing_that_varies_or_an_uncrossed_pair_is_no_grid(
    compared: Callable[..., Comparison], cells: Cells
) -> None:
    found = compared(cells, num_questions=14)
    assert found.grid is None
    assert grid_sections(found) == []


def test_an_arm_that_may_not_be_compared_does_not_hide_the_grid(
    compared: Callable[..., Comparison],
) -> None:
    cells = {**lengths(), "data=fifth,prompt=other": (0.5, {"comparable": {"template": "other"}})}
    found = compared(cells, num_questions=14)
    assert grid_of(found).series == ("strong", "weak")
    assert len(found.refused) == 6


def test_the_section_says_how_the_gap_changes(compared: Callable[..., Comparison]) -> None:
    found = compared(lengths(), seeds=2)
    (section,) = grid_sections(found)
    assert (section.key, section.short) == ("grid", "Length limit")
    assert section.title.startswith("strong \N{MINUS SIGN} weak is +.")
    assert "with no limit and +." in section.title
    assert "at a limit of 1.5: it changes by \N{MINUS SIGN}." in section.title
    lines, gaps, table, changes, _ = section.blocks
    assert isinstance(lines, Chart)
    assert [len(trace.x) for trace in lines.figure.data] == [6, 3, 6, 3]
    assert isinstance(gaps, Chart)
    assert isinstance(table, Table)
    assert isinstance(changes, Table)
    assert [row[0].text for row in changes.rows] == ["2 against no limit", "1.5 against no limit"]
    share = changes.rows[-1][-1].text
    before, *_, after = (gap.difference.mean or 0 for gap in grid_of(found).gaps)
    assert share == f"{after / before:.0%}".replace("%", " %")
    text = lead(found)
    assert text.startswith("With no limit, strong leads weak by .")
    assert "; at a limit of 1.5, " in text
    assert "; it changes by \N{MINUS SIGN}." in text


def test_rows_are_worth_what_the_curves_say(compared: Callable[..., Comparison]) -> None:
    found = compared(rows_of(), seeds=2)
    grid = grid_of(found)
    assert [level.x for level in grid.levels] == [100, 200, 400]
    (pair,) = found.rows_worth
    assert (pair.first, pair.second) == ("strong", "weak")
    assert [one.size for one in pair.rates] == [100, 200, 400]
    means = {name: fmean(scores(found, name).values()) for name in (
        "strong, 100 rows", *(f"weak, {n} rows" for n in (100, 200, 400))
    )}  # fmt: skip
    wanted, *curve = means.values()
    assert curve == sorted(curve)
    expected = np.exp(np.interp(wanted, curve, np.log([100, 200, 400])))
    worth = pair.rates[0].worth
    assert worth is not None
    assert worth.bound == ("" if curve[0] <= wanted <= curve[-1] else ">")
    assert worth.count == pytest.approx(expected)
    assert pair.rates[-1].worth == Rows(400, ">")
    assert sorted(pair.by_seed) == [0, 1]
    (section,) = grid_sections(found)
    assert (section.key, section.short) == ("scaling", "Rows")
    assert section.title == worth_title(found.rows_worth)


def test_one_teachers_rows_make_a_curve_and_no_exchange(
    compared: Callable[..., Comparison],
) -> None:
    cells = {arm: cell for arm, cell in rows_of().items() if "strong" in arm}
    found = compared(cells, num_questions=14)
    assert grid_of(found).series == ("strong",)
    assert found.rows_worth == ()
    (section,) = grid_sections(found)
    assert section.title == "Exact-answer accuracy by training rows"


def test_teachers_that_may_not_be_compared_have_no_exchange(
    compared: Callable[..., Comparison],
) -> None:
    cells = {
        arm: (quality, changes | ({"comparable": {"prompts": "other"}} if "weak" in arm else {}))
        for arm, (quality, changes) in rows_of().items()
    }
    assert compared(cells, num_questions=14).rows_worth == ()


def test_sizes_of_other_recipes_have_no_exchange(compared: Callable[..., Comparison]) -> None:
    cells = {
        arm: (quality, {"comparable": {"prompts": arm[-3:], "recipe": arm[-3:]},
                        "budget": changes["budget"]})
        for arm, (quality, changes) in rows_of().items()
    }  # fmt: skip
    found = compared(cells, num_questions=14)
    assert len(grid_of(found).gaps) == 3
    assert all(one.is_refused for one in grid_of(found).changes)
    assert found.rows_worth == ()


def worth_of(*worths: Rows | None) -> RowsWorth:
    """Rates of 100, 200, ... rows."""
    rates = tuple(
        Exchange(100 * 2**place, rows, rows, Rows(800, ">") if rows else None, 9,
                 "" if rows else "no")
        for place, rows in enumerate(worths)
    )  # fmt: skip
    return RowsWorth("a", "b", "eval/rouge_l", rates, {})


@pytest.mark.parametrize(
    ("worths", "title"),
    [
        ((Rows(150), Rows(301.6), Rows(800, ">")),
         "200 rows of a are worth 302 rows of b [302, > 800]"),
        ((Rows(800, ">"), Rows(800, ">")), "Even 800 rows of b fall short of 100 rows of a"),
        ((Rows(100, "<"),),
         "What rows of a are worth in rows of b is not told: 100 are worth anything "
         "[< 100, > 800]"),
        ((None,), "What rows of a are worth in rows of b is undefined"),
    ],
)  # fmt: skip
def test_what_rows_are_worth_in_words(worths: tuple[Rows | None, ...], title: str) -> None:
    assert worth_title([worth_of(*worths)]) == title


@pytest.mark.parametrize(
    ("worth", "low", "high", "title"),
    [
        (Rows(700, ">"), Rows(100, "<"), Rows(700, ">"),
         "What rows of a are worth in rows of b is not told: 100 are worth anything "
         "[< 100, > 700]"),
        (Rows(700, ">"), Rows(500), Rows(700, ">"),
         "100 rows of a are worth more than 700 rows of b [500, > 700]"),
        (Rows(700, ">"), Rows(700, ">"), Rows(700, ">"),
         "Even 700 rows of b fall short of 100 rows of a"),
        (Rows(700, ">"), None, None,
         "100 rows of a are worth more than 700 rows of b (no interval)"),
    ],
)  # fmt: skip
def test_a_title_claims_no_more_than_the_interval(
    worth: Rows, low: Rows | None, high: Rows | None, title: str
) -> None:
    rate = Exchange(100, worth, low, high, 9)
    assert worth_title([RowsWorth("a", "b", "eval/rouge_l", (rate,), {})]) == title


def test_a_curve_that_falls_is_named_beside_what_rows_are_worth(
    compared: Callable[..., Comparison],
) -> None:
    cells: dict[str, tuple[float, dict[str, object]]] = dict(rows_of())
    fallen = "data=weak,data.num_examples=400"
    cells[fallen] = (0.05, cells[fallen][1])
    found = compared(cells, seeds=2)
    (pair,) = found.rows_worth
    (fall,) = pair.falls
    assert (fall.series, fall.smaller, fall.larger) == ("weak", 200, 400)
    means = [fmean(scores(found, f"weak, {size} rows").values()) for size in (200, 400)]
    assert fall.difference.mean == pytest.approx(means[1] - means[0])
    assert fall.is_told
    text = falls_text(found.rows_worth)
    assert text.startswith("The score of weak falls from 200 to 400 rows (\N{MINUS SIGN}.")
    assert text.endswith("], more than by noise); its curve is taken as level there.")
    assert worth_line(pair).endswith(f". {text}")
    (section,) = grid_sections(found)
    assert Text(text) in section.blocks
    assert report_json(found)["rows_worth"][0]["falls"][0]["smaller"] == 200


def test_rows_in_words() -> None:
    assert [rows_text(rows) for rows in (Rows(7612.3), Rows(99.6), Rows(250, "<"), None)] == [
        "7,610", "100", "fewer than 250", "—"
    ]  # fmt: skip
    line = worth_line(worth_of(Rows(150), Rows(800, ">")))
    assert line == (
        "rows of a in rows of b: 100 = 150 [150, > 800]; 200 = more than 800 [> 800, > 800]"
    )
    open_line = worth_line(worth_of(Rows(100, "<")))
    assert open_line.endswith("100 = fewer than 100 [< 100, > 800], not told")


def test_report_json_holds_the_grid(compared: Callable[..., Comparison]) -> None:
    found = compared(rows_of(), num_questions=14)
    content = json.loads(json.dumps(report_json(found), allow_nan=False))
    assert len(content["not_asked"]) == 6
    assert content["not_asked"][0]["axes"] == ["budget", "teacher"]
    assert content["grid"]["series"] == ["strong", "weak"]
    assert content["grid"]["arms"][1][0] == "weak, 100 rows"
    assert len(content["grid"]["gaps"]) == 3
    (pair,) = content["rows_worth"]
    assert [one["size"] for one in pair["rates"]] == [100, 200, 400]
    assert report_json(compare(RunSet()))["grid"] is None


def test_many_pairs_of_a_grid_are_folded(compared: Callable[..., Comparison]) -> None:
    found = compared(rows_of((100, 200, 400, 800)), num_questions=14)
    page = report_page(found, title="t", source="s")
    (section,) = (section for section in page.sections if section.key == "differences")
    assert len(found.arms) == 8
    assert [type(block) for block in section.blocks] == [Folded, Folded]
    assert "All 16 pairs of arms" in str(section.blocks[0])
