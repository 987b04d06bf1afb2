"""What arms were given and left out: marked where it was equal, counted where it was wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.pages.page import Table
from understudy.report.compare import Comparison, compare
from understudy.report.held import budget_table, dropped_table, dropped_text
from understudy.report.read.runs import load_runs

AddRun = Callable[..., Path]


@pytest.fixture
def languages(tmp_path: Path, add_run: AddRun) -> Comparison:
    """Two arms on 140 English rows, one on 280 of both languages."""
    for name, lang, rows in (("a", "en", 140), ("b", "en", 140), ("a", "mixed", 280)):
        add_run(tmp_path / f"{name}-{lang}", arm=f"data={name},data.train_lang={lang}",
                num_questions=14, comparable={"prompts": lang}, budget={"examples": rows},
                dropped={"empty_output": 2, "other_language": 280 - rows,
                         "beyond_num_examples": 1000})  # fmt: skip
    return compare(load_runs(tmp_path), num_resamples=50)


def starred(table: Table) -> set[str]:
    """The arms with an amount that is marked as held equal."""
    return {row[0].text for row in table.rows if any(cell.note for cell in row[1:])}


def test_held_equal_is_what_all_compared_arms_had(languages: Comparison) -> None:
    names = {row.name: row.entry.arm for row in languages.arms}
    (equal,) = starred(budget_table(languages))
    assert names[equal] == "data=b,data.train_lang=en"  # never compared with the 280
    assert len({one.arm for one in languages.differences} | {one.against for one in
               languages.differences}) == 3  # fmt: skip


def test_a_note_says_the_amounts_where_arms_ask(languages: Comparison) -> None:
    (note,) = (note for note in languages.notes if "same number of examples" in note)
    assert "140 (" in note
    assert "280 (" in note
    assert note.startswith("Arms that are compared did not all have the same number of examples")


def test_arms_of_one_size_are_all_marked_and_need_no_note(sweep: Path) -> None:
    found = compare(load_runs(sweep), num_resamples=50)
    assert starred(budget_table(found)) == {row.name for row in found.arms}
    assert found.notes == ("lab_weak gave one and the same answer to 42 of 70 questions: its "
                           "scores say little about the others.",)  # fmt: skip


def test_rows_left_out_by_choice_are_not_dropped(languages: Comparison) -> None:
    assert [dropped_text(row) for row in languages.arms] == ["2", "2", "2"]
    table = dropped_table(languages)
    assert table.header == ["Arm", "empty output", "All dropped", "beyond num examples",
                            "other language"]  # fmt: skip
    assert sorted(row[-1].text for row in table.rows) == ["0", "140", "140"]
    assert {row[2].text for row in table.rows} == {"2"}
    assert "left out by choice" in table.caption
